use local_cloud::Link;

use crate::client::{ask_token, get, start, token};

const CR: &str = "grant_type=urn:ibm:params:oauth:grant-type:cr-token";

#[test]
fn a_token_by_profile_id_name_or_crn() {
    let cloud = start();
    let world = cloud.world();
    let cr_token = std::fs::read_to_string(&world.cr_token_file).unwrap();
    for profile in [
        format!("profile_id={}", world.profile_id),
        format!("profile_name={}", world.profile_name),
        format!("profile_crn={}", world.profile_crn.replace('/', "%2F")),
    ] {
        let answer = ask_token(&cloud, &format!("{CR}&cr_token={cr_token}&{profile}"));
        let body = answer.json();
        assert_eq!(answer.status, 200, "{profile}: {body}");
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 3600);
        assert_eq!(body["refresh_token"], "not_supported");
    }
}

#[test]
fn refusals_have_ibms_codes() {
    let cloud = start();
    let world = cloud.world();
    let cr_token = std::fs::read_to_string(&world.cr_token_file).unwrap();
    let day = time::Duration::days(1);
    let read = |file| std::fs::read_to_string(file).unwrap();
    let other = read(cloud.cr_token_file(&world.project_id, "job", "other", day));
    let old = read(cloud.cr_token_file(&world.project_id, "job", "sm-tls-sync", -day));
    let id = &world.profile_id;
    for (form, status, code) in [
        (
            format!("{CR}&cr_token={other}&profile_id={id}"),
            400,
            "BXNIM0398E",
        ),
        (
            format!("{CR}&cr_token={cr_token}&profile_id=Profile-x"),
            400,
            "BXNIM0398E",
        ),
        (
            format!("{CR}&cr_token={old}&profile_id={id}"),
            401,
            "BXNIM0106E",
        ),
        (
            format!("{CR}&cr_token=a.b.c&profile_id={id}"),
            400,
            "BXNIM0407E",
        ),
        (format!("{CR}&cr_token={cr_token}"), 400, "BXNIM0109E"),
        (format!("{CR}&profile_id={id}"), 400, "BXNIM0109E"),
        (
            "grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey=x".into(),
            400,
            "BXNIM0415E",
        ),
        ("grant_type=password".into(), 400, "BXNIM0020E"),
        (String::new(), 400, "BXNIM0109E"),
    ] {
        let answer = ask_token(&cloud, &form);
        assert_eq!(
            (answer.status, answer.json()["errorCode"].as_str()),
            (status, Some(code))
        );
        assert!(answer.json()["context"]["requestId"].is_string());
    }
}

#[test]
fn links_can_go_and_come() {
    let cloud = start();
    let world = cloud.world();
    let cr_token = std::fs::read_to_string(&world.cr_token_file).unwrap();
    let form = format!("{CR}&cr_token={cr_token}&profile_id={}", world.profile_id);
    cloud.set_links(Vec::new());
    assert_eq!(ask_token(&cloud, &form).json()["errorCode"], "BXNIM0398E");
    cloud.set_links(vec![Link {
        crn: world.project_crn,
        component_type: "job".into(),
        component_name: "sm-tls-sync".into(),
    }]);
    assert_eq!(ask_token(&cloud, &form).status, 200);
}

#[test]
fn revoked_and_expired_tokens_are_401() {
    let cloud = start();
    let url = format!(
        "{}/v2/projects/{}/secrets",
        cloud.code_engine_url(),
        cloud.world().project_id
    );
    let first = token(&cloud);
    assert_eq!(get(&url, &first).status, 200);
    cloud.revoke_tokens();
    assert_eq!(get(&url, &first).status, 401);
    assert_eq!(get(&url, &token(&cloud)).status, 200);
    cloud.set_token_lifetime(0);
    assert_eq!(get(&url, &token(&cloud)).status, 401);
}

#[test]
fn another_projects_job_can_be_trusted() {
    let cloud = start();
    let far = cloud.create_project("far", "us-south");
    let file = cloud.cr_token_file(&far, "job", "sync", time::Duration::HOUR);
    let cr_token = std::fs::read_to_string(file).unwrap();
    let form = format!("{CR}&cr_token={cr_token}&profile_name=sm-tls-sync");
    assert_eq!(ask_token(&cloud, &form).status, 400);
    cloud.trust_job(&far, "sync");
    let token = ask_token(&cloud, &form).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let url = format!(
        "{}/us-south/v2/projects/{far}/secrets",
        cloud.code_engine_url()
    );
    assert_eq!(get(&url, &token).status, 200);
}
