use std::time::Duration;

use local_cloud::{Action, CronSubscription, JobSettings, Link, Options, Policy, Trigger};
use serde_json::{Value, json};

use crate::client::{ask_token, get, owner_token, script, send, start, start_with, write};

/// A control call with a JSON body.
fn control(url: &str, method: &str, body: &Value) -> u16 {
    let json = [("Content-Type", "application/json")];
    send(method, url, &json, &body.to_string()).status
}

/// A role that only changes: reads and replaces, neither creates nor deletes nor starts runs.
#[test]
fn a_profile_with_a_role_that_only_changes() {
    let cloud = start();
    let world = cloud.world();
    let id = "Profile-11111111-2222-4333-8444-555555555555";
    let link = Link {
        crn: world.project_crn.clone(),
        component_type: "job".into(),
        component_name: "own".into(),
    };
    let policy = Policy::CodeEngineCustom {
        actions: Action::ALL_OF_THE_JOB.to_vec(),
        project_id: world.project_id.clone(),
    };
    let body = json!({ "name": "own", "links": [link], "policies": [policy] });
    let url = format!("{}/profiles/{id}", cloud.control_url());
    assert_eq!(control(&url, "PUT", &body), 200);
    assert_eq!(cloud.profile_access(id), Some((vec![link], vec![policy])));

    let file = cloud.cr_token_file(&world.project_id, "job", "own", time::Duration::days(1));
    let cr_token = std::fs::read_to_string(file).unwrap();
    let form = format!(
        "grant_type=urn:ibm:params:oauth:grant-type:cr-token&cr_token={cr_token}&profile_id={id}"
    );
    let token = ask_token(&cloud, &form).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    cloud.put_tls_secret(&world.project_id, "shop-tls", "a", "b");
    let base = format!(
        "{}/v2/projects/{}",
        cloud.code_engine_url(),
        world.project_id
    );
    let secret = format!("{base}/secrets/shop-tls");
    assert_eq!(get(&secret, &token).status, 200);
    let new = json!({ "format": "tls", "data": { "tls_cert": "c", "tls_key": "d" } });
    assert_eq!(write("PUT", &secret, &token, Some("*"), &new).status, 200);
    let another =
        json!({ "name": "b", "format": "tls", "data": { "tls_cert": "c", "tls_key": "d" } });
    for (method, url) in [
        ("POST", format!("{base}/secrets")),
        ("POST", format!("{base}/job_runs")),
        ("DELETE", secret.clone()),
    ] {
        assert_eq!(
            write(method, &url, &token, None, &another).status,
            403,
            "{method} {url}"
        );
    }
    assert_eq!(control(&url, "DELETE", &Value::Null), 200);
    assert_eq!(ask_token(&cloud, &form).status, 400);
}

#[test]
fn a_cron_subscription_starts_its_job_with_its_data() {
    let program = script("printf %s \"$CE_DATA\"");
    let cloud = start_with(Options {
        job_program: Some(program.path.clone()),
        ..Options::default()
    });
    let project = cloud.world().project_id;
    cloud.create_job(
        &project,
        "own",
        &Default::default(),
        &JobSettings::default(),
    );
    let url = format!(
        "{}/projects/{project}/cron_subscriptions/daily",
        cloud.control_url()
    );
    let cron = CronSubscription {
        job: "own".into(),
        schedule: "17 3 * * *".into(),
        time_zone: "UTC".into(),
        data: "every day".into(),
    };
    assert_eq!(control(&url, "PUT", &json!(cron)), 200);
    assert_eq!(
        cloud.cron_subscriptions(&project),
        [("daily".to_owned(), cron)]
    );
    let run = cloud.fire_cron_subscription(&project, "daily");
    let run = cloud
        .wait_job_run(&project, &run, Duration::from_secs(60))
        .unwrap();
    assert_eq!(
        (run.trigger, run.attempts[0].stdout.as_str()),
        (Trigger::Cron, "every day")
    );
    assert_eq!(control(&url, "DELETE", &Value::Null), 204);
    assert_eq!(control(&url, "DELETE", &Value::Null), 404);
}

/// Subscriptions go with their topic; the rules of a source with the source.
#[test]
fn what_hangs_on_a_thing_goes_with_it() {
    let cloud = start();
    let world = cloud.world();
    cloud.create_job(
        &world.project_id,
        "own",
        &Default::default(),
        &JobSettings::default(),
    );
    cloud.subscribe_job(&world.project_id, "own");
    let owner = owner_token(&cloud);
    let base = format!(
        "{}/v1/instances/{}",
        cloud.event_notifications_url(),
        world.event_notifications_instance_id
    );
    let all = |name: &str| get(&format!("{base}/{name}"), &owner).json()[name].clone();
    let topic = all("topics")[0]["id"].as_str().unwrap().to_owned();
    let url = format!("{base}/topics/{topic}");
    let rules = || {
        get(&url, &owner).json()["sources"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        (rules(), all("subscriptions").as_array().unwrap().len()),
        (1, 1)
    );
    let registration = format!(
        "{}/api/v2/notifications/registration",
        cloud.secrets_manager_url()
    );
    assert_eq!(
        write("DELETE", &registration, &owner, None, &Value::Null).status,
        204
    );
    assert_eq!((rules(), all("sources")), (0, json!([])));
    assert_eq!(
        write("DELETE", &url, &owner, None, &Value::Null).status,
        204
    );
    assert_eq!(all("subscriptions"), json!([]));
}
