use local_cloud::{Action, CertificateSpec, LocalCloud, Policy, Role};
use serde_json::json;

use crate::client::{get, start, token, write};

/// Status of: the project, a list, a secret's PUT, its creation, its removal.
fn statuses(cloud: &LocalCloud, policy: Policy) -> [u16; 5] {
    let project = cloud.world().project_id;
    cloud.put_tls_secret(&project, "shop-tls", "a", "b");
    cloud.set_policies(vec![policy]);
    let base = format!("{}/v2/projects/{project}", cloud.code_engine_url());
    let token = token(cloud);
    let body = json!({
        "name": "new", "format": "tls", "data": { "tls_cert": "a", "tls_key": "b" },
    });
    let change =
        |method, path: &str| write(method, &format!("{base}{path}"), &token, Some("*"), &body);
    [
        get(&base, &token).status,
        get(&format!("{base}/domain_mappings"), &token).status,
        change("PUT", "/secrets/shop-tls").status,
        change("POST", "/secrets").status,
        change("DELETE", "/secrets/shop-tls").status,
    ]
}

#[test]
fn roles_and_actions_of_code_engine() {
    use Action::{ReadEntities, ReadProject, UpdateEntities};
    let cloud = start();
    let project_id = cloud.world().project_id;
    let role = |role| Policy::CodeEngine {
        role,
        project_id: project_id.clone(),
    };
    let custom = |actions: &[Action]| Policy::CodeEngineCustom {
        actions: actions.to_vec(),
        project_id: project_id.clone(),
    };
    for (policy, expected) in [
        (role(Role::Writer), [200, 200, 200, 201, 202]),
        (role(Role::Reader), [200, 200, 403, 403, 403]),
        (
            custom(&[ReadProject, ReadEntities, UpdateEntities]),
            [200, 200, 200, 403, 403],
        ),
        (
            custom(&[ReadEntities, UpdateEntities]),
            [403, 200, 200, 403, 403],
        ),
        (
            custom(&[ReadProject, UpdateEntities]),
            [200, 403, 200, 403, 403],
        ),
        (
            custom(&[ReadProject, ReadEntities]),
            [200, 200, 403, 403, 403],
        ),
    ] {
        let name = format!("{policy:?}");
        assert_eq!(statuses(&cloud, policy), expected, "{name}");
    }
    let elsewhere = Policy::CodeEngineCustom {
        actions: vec![ReadEntities, UpdateEntities],
        project_id: cloud.create_project("other", "eu-de"),
    };
    assert_eq!(statuses(&cloud, elsewhere), [403; 5]);
}

#[test]
fn one_right_taken_away_leaves_the_others() {
    let cloud = start();
    let world = cloud.world();
    let id = cloud.issue(CertificateSpec::default());
    cloud.deploy(&id, &world.project_id, "shop-tls");
    let secret = format!("{}/api/v2/secrets/{id}", cloud.secrets_manager_url());
    let deployed = format!(
        "{}/v2/projects/{}/secrets/shop-tls",
        cloud.code_engine_url(),
        world.project_id
    );
    let token = token(&cloud);
    let statuses = || [&secret, &deployed].map(|url| get(url, &token).status);
    assert_eq!(statuses(), [200, 200]);
    let [reads_secrets, writes_project] = cloud.policies().try_into().unwrap();
    cloud.revoke(&reads_secrets);
    assert_eq!(statuses(), [403, 200]);
    cloud.grant(reads_secrets);
    cloud.revoke(&writes_project);
    assert_eq!(statuses(), [200, 403]);
}
