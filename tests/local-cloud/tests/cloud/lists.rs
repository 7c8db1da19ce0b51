use std::collections::BTreeSet;

use local_cloud::{CertificateSpec, LocalCloud, Options, Policy, Role, SecretType};
use serde_json::{Value, json};

use crate::client::{get, owner_token, start, start_with, token};

/// Five TLS secrets and one generic one, five certificates and one in another group.
fn stocked(options: Options) -> LocalCloud {
    let cloud = start_with(options);
    let project = cloud.world().project_id;
    for number in 0..5 {
        cloud.put_tls_secret(&project, &format!("tls-{number}"), "a", "b");
        cloud.issue(CertificateSpec {
            name: format!("shop-{number}"),
            secret_type: [SecretType::PublicCert, SecretType::PrivateCert][number % 2],
            ..Default::default()
        });
    }
    cloud.put_secret(&project, "settings", "generic", "user", json!({ "a": "b" }));
    cloud.issue(CertificateSpec {
        name: "foreign".into(),
        secret_group_id: Some(cloud.world().foreign_secret_group_id),
        ..Default::default()
    });
    cloud
}

fn names(items: &[Value]) -> BTreeSet<&str> {
    let names: BTreeSet<_> = items
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), items.len(), "each once");
    names
}

/// All pages of a list, by `next.start` (Code Engine) or by `offset` (Secrets Manager).
fn all(url: &str, token: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut more = String::new();
    loop {
        let page = get(&format!("{url}limit={limit}{more}"), token).json();
        let found = page["secrets"].as_array().unwrap().clone();
        assert!(found.len() <= limit);
        items.extend(found);
        more = match (&page["next"]["start"], &page["next"]["href"]) {
            (Value::String(start), _) => format!("&start={start}"),
            (_, Value::String(_)) => format!("&offset={}", items.len()),
            _ => return items,
        };
    }
}

#[test]
fn code_engine_lists_secrets_in_pages() {
    for data_in_lists in [true, false] {
        let cloud = stocked(Options {
            data_in_lists,
            ..Options::default()
        });
        let project = cloud.world().project_id;
        let url = format!("{}/v2/projects/{project}/secrets?", cloud.code_engine_url());
        let token = token(&cloud);
        for limit in [1, 2, 5, 6, 100] {
            assert_eq!(names(&all(&url, &token, limit)).len(), 6);
            let tls = all(&format!("{url}format=tls&"), &token, limit);
            let expected = ["tls-0", "tls-1", "tls-2", "tls-3", "tls-4"];
            assert_eq!(names(&tls), expected.into(), "{limit}");
            assert!(tls.iter().all(|item| item["format"] == "tls"));
            assert!(
                tls.iter()
                    .all(|item| item["data"].is_object() == data_in_lists)
            );
        }
        assert_eq!(get(&format!("{url}limit=101"), &token).status, 400);
        cloud.set_policies(Vec::new());
        assert_eq!(get(&url, &token).status, 403);
    }
}

#[test]
fn secrets_manager_lists_secrets_in_pages_and_by_filters() {
    let cloud = stocked(Options::default());
    let url = format!("{}/api/v2/secrets?", cloud.secrets_manager_url());
    let owner = owner_token(&cloud);
    let world = cloud.world();
    let own = world.secret_group_id;
    let foreign = world.foreign_secret_group_id;
    let public = ["shop-0", "shop-2", "shop-4"];
    for (filter, expected) in [
        (
            "search=shop-".to_owned(),
            vec!["shop-0", "shop-1", "shop-2", "shop-3", "shop-4"],
        ),
        ("search=private_".to_owned(), vec!["shop-1", "shop-3"]),
        ("search=nothing".to_owned(), vec![]),
        (
            format!("secret_types=public_cert&groups={own}"),
            public.to_vec(),
        ),
        (
            format!("secret_types=public_cert&groups={own},{foreign}"),
            [&public[..], &["foreign"]].concat(),
        ),
        (format!("groups={foreign}"), vec!["foreign"]),
        ("secret_types=arbitrary,imported_cert".to_owned(), vec![]),
        ("groups=default".to_owned(), vec![]),
    ] {
        for limit in [1, 2, 3, 1000] {
            let found = all(&format!("{url}{filter}&"), &owner, limit);
            assert_eq!(
                names(&found),
                expected.iter().copied().collect(),
                "{filter}"
            );
            for item in &found {
                for payload in ["certificate", "intermediate", "private_key", "ca_chain"] {
                    assert!(item.get(payload).is_none(), "{payload}");
                }
                assert!(item["serial_number"].is_string());
            }
        }
    }
    for (sort, first) in [("name", "foreign"), ("-name", "shop-4")] {
        let found = all(&format!("{url}sort={sort}&"), &owner, 2);
        assert_eq!(found[0]["name"], first, "{sort}");
    }
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "offset=-1",
        "sort=colour",
    ] {
        assert_eq!(get(&format!("{url}{bad}"), &owner).status, 400, "{bad}");
    }
}

/// How many secrets are listed; 403 without any right on the instance.
#[test]
fn a_list_shows_what_the_caller_may_see() {
    let cloud = stocked(Options::default());
    let url = format!("{}/api/v2/secrets", cloud.secrets_manager_url());
    let token = token(&cloud);
    let on = |role, group: Option<String>| Policy::SecretsManager {
        role,
        secret_group_id: group,
    };
    let world = cloud.world();
    let (own, foreign) = (world.secret_group_id, world.foreign_secret_group_id);
    for (policies, expected) in [
        (vec![on(Role::SecretsReader, None)], Some(6)),
        (vec![on(Role::Reader, None)], Some(6)),
        (vec![on(Role::Reader, Some(own.clone()))], Some(5)),
        (vec![on(Role::Reader, Some(foreign.clone()))], Some(1)),
        (
            vec![on(Role::Reader, Some(own)), on(Role::Reader, Some(foreign))],
            Some(6),
        ),
        (vec![on(Role::Reader, Some("default".into()))], Some(0)),
        (vec![], None),
    ] {
        let name = format!("{policies:?}");
        cloud.set_policies(policies);
        let answer = get(&url, &token);
        let total = answer.json()["total_count"].as_u64();
        assert_eq!(
            (answer.status == 200, total),
            (expected.is_some(), expected),
            "{name}"
        );
    }
    let other = start();
    let unknown = format!("{}/api/v2/secrets", other.secrets_manager_url());
    assert_eq!(get(&unknown, &token).status, 401);
}
