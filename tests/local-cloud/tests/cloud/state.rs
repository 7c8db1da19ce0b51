use local_cloud::{CertificateSpec, LocalCloud, Policy, Role, Serving};
use serde_json::json;

use crate::client::{get, start, token, write};

fn filled() -> (LocalCloud, String) {
    let cloud = start();
    let project = cloud.world().project_id;
    let id = cloud.issue(CertificateSpec::default());
    cloud.rotate_quietly(&[&id]);
    cloud.deploy(&id, &project, "shop-tls");
    cloud.map_domain(&project, "shop.example.com", "shop-tls");
    cloud.create_app(&project, "shop", json!({}));
    (cloud, id)
}

#[test]
fn reading_changes_nothing() {
    let (cloud, id) = filled();
    let before = cloud.state();
    let token = token(&cloud);
    let project = cloud.world().project_id;
    let ce = format!("{}/v2/projects/{project}", cloud.code_engine_url());
    let sm = format!("{}/api/v2/secrets/{id}", cloud.secrets_manager_url());
    for url in [
        format!("{ce}/secrets/shop-tls"),
        format!("{ce}/secrets"),
        format!("{ce}/apps/shop"),
        format!("{ce}/domain_mappings"),
        sm.clone(),
        format!("{sm}/metadata"),
        format!("{sm}/versions/previous"),
        format!("{sm}/versions/current/metadata"),
    ] {
        assert_eq!(get(&url, &token).status, 200, "{url}");
    }
    let stale = json!({ "format": "tls", "data": { "tls_cert": "a", "tls_key": "b" } });
    let url = format!("{ce}/secrets/shop-tls");
    let refused = write("PUT", &url, &token, Some("\"stale\""), &stale);
    assert_eq!(refused.status, 412);
    cloud.served("shop.example.com").unwrap();
    assert_eq!(cloud.state(), before);
}

#[test]
fn every_change_shows() {
    let (cloud, id) = filled();
    let project = cloud.world().project_id;
    let (cloud, id, project) = (&cloud, id.as_str(), project.as_str());
    let same = cloud.tls_secret(project, "shop-tls").unwrap();
    let reader = Policy::SecretsManager {
        role: Role::Reader,
        secret_group_id: None,
    };
    let again = || cloud.put_tls_secret(project, "shop-tls", &same.tls_cert, &same.tls_key);
    let changes: [(&str, &dyn Fn()); 8] = [
        ("a version", &|| cloud.rotate_quietly(&[id])),
        ("a state", &|| cloud.set_state(id, 3)),
        ("no key", &|| {
            cloud.change_material(id, |m| m.private_key = None);
        }),
        ("the same bytes again", &again),
        ("a mapping", &|| {
            cloud.map_domain(project, "a.example.com", "shop-tls");
        }),
        ("its target", &|| {
            cloud.set_cname_target(project, "a.example.com", "other");
        }),
        ("a policy", &|| cloud.grant(reader.clone())),
        ("a link", &|| cloud.set_links(Vec::new())),
    ];
    for (what, change) in changes {
        let before = cloud.state();
        change();
        assert_ne!(cloud.state(), before, "{what}");
    }
}

#[test]
fn no_key_and_no_certificate_in_it() {
    let (cloud, _) = filled();
    let project = cloud.world().project_id;
    cloud.set_serving(&project, "shop.example.com", Serving::Never);
    let text = cloud.state().to_string();
    assert!(!text.contains("-----BEGIN"), "{text}");
    for secret in cloud.secrets_in_use() {
        assert!(!text.contains(&secret));
    }
}
