use local_cloud::{CertificateSpec, Fault, FaultKind, LocalCloud, Quoted, Service, route};
use serde_json::{Value, json};

use crate::client::{Answer, ask_token, get, owner_token, start, token, write};

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nnever stored\n-----END PRIVATE KEY-----\n";

/// A service, a request to it, and what of it must be quoted, its secret first.
type Row<'a> = (Service, &'a dyn Fn() -> Answer, &'a [&'a str]);

/// All texts of a document.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::String(text) => vec![text],
        _ => Vec::new(),
    }
}

#[test]
fn every_text_of_an_error_quotes_the_request() {
    let cloud = start();
    let token = token(&cloud);
    let owner = owner_token(&cloud);
    let cr_token = std::fs::read_to_string(cloud.world().cr_token_file).unwrap();
    let api_key = cloud.world().api_key;
    let project = cloud.world().project_id;
    let put = |cloud: &LocalCloud| {
        let url = format!(
            "{}/v2/projects/{project}/secrets/a",
            cloud.code_engine_url()
        );
        let data = json!({ "tls_cert": "the certificate", "tls_key": KEY });
        let body = json!({ "format": "tls", "data": data });
        write("PUT", &url, &token, Some("7"), &body)
    };
    let read = |base: String, path: &str| get(&format!("{base}{path}"), &token);
    let events = format!(
        "/v1/instances/{}/topics",
        cloud.world().event_notifications_instance_id
    );
    let rows: [Row<'_>; 6] = [
        (
            Service::Iam,
            &|| ask_token(&cloud, &format!("grant_type=cr&cr_token={cr_token}")),
            &[&cr_token],
        ),
        (
            Service::Iam,
            &|| ask_token(&cloud, &format!("apikey={api_key}")),
            &[&api_key],
        ),
        (
            Service::SecretsManager,
            &|| read(cloud.secrets_manager_url(), "/api/v2/secrets?limit=7"),
            &[&token, "?limit=7"],
        ),
        (
            Service::EventNotifications,
            &|| {
                get(
                    &format!("{}{events}", cloud.event_notifications_url()),
                    &owner,
                )
            },
            &[&owner],
        ),
        (
            Service::CodeEngine,
            &|| read(cloud.code_engine_url(), "/eu-de/v2/projects"),
            &[&token, "/eu-de/v2/projects"],
        ),
        (
            Service::CodeEngine,
            &|| put(&cloud),
            &[KEY, &token, "if-match: 7", "the certificate"],
        ),
    ];
    for (service, ask, quoted) in rows {
        for status in [400, 401, 500] {
            let fault = Fault::anywhere(service, FaultKind::Echo(status));
            let _guard = cloud.fault(fault);
            let answer = ask();
            assert_eq!(answer.status, status, "{service:?}");
            let body = answer.json();
            let (named, code) = match service {
                Service::Iam => ("errorMessage", &body["errorCode"]),
                _ => ("trace", &body["errors"][0]["code"]),
            };
            assert!(body[named].is_string() && code.is_string(), "{body}");
            assert!(texts(&body).len() >= 5, "{body}");
            for text in texts(&body) {
                assert!(quoted.iter().all(|part| text.contains(part)), "{text}");
            }
            // who keeps only the beginning has a secret already
            assert!(texts(&body)[0].starts_with(quoted[0]), "{body}");
            assert!(answer.header("x-transaction-id").is_some());
        }
    }
    assert!(cloud.secrets_in_use().iter().any(|secret| secret == KEY));
    assert_eq!(put(&cloud).status, 404, "lifted");
}

#[test]
fn a_good_answer_holds_a_secret_where_none_belongs() {
    let cloud = start();
    let id = cloud.issue(CertificateSpec::default());
    let project = cloud.world().project_id;
    cloud.deploy(&id, &project, "shop-tls");
    cloud.map_domain(&project, "shop.example.com", "shop-tls");
    let token = token(&cloud);
    let key = cloud.material(&id).private_key.unwrap();
    let certificate = format!("{}/api/v2/secrets/{id}", cloud.secrets_manager_url());
    let tls_secret = format!(
        "{}/v2/projects/{project}/secrets/shop-tls",
        cloud.code_engine_url()
    );
    let mappings = format!(
        "{}/v2/projects/{project}/domain_mappings",
        cloud.code_engine_url()
    );
    for (route, url, field, pointer) in [
        (route::READ_SECRET, &certificate, "name", "/name"),
        (
            route::READ_SECRET,
            &certificate,
            "secret_type",
            "/secret_type",
        ),
        (route::READ_SECRET, &certificate, "state", "/state"),
        (
            route::READ_TLS_SECRET,
            &tls_secret,
            "entity_tag",
            "/entity_tag",
        ),
        (route::READ_TLS_SECRET, &tls_secret, "format", "/format"),
        (
            route::READ_TLS_SECRET,
            &tls_secret,
            "not_there",
            "/not_there",
        ),
        (
            route::LIST_DOMAIN_MAPPINGS,
            &mappings,
            "tls_secret",
            "/domain_mappings/0/tls_secret",
        ),
    ] {
        // a list shows no key: there it is the token again
        let key = if url == &mappings { &token } else { &key };
        for (secret, expected) in [(Quoted::Token, &token), (Quoted::Key, key)] {
            let fields = vec![field.to_owned()];
            let kind = FaultKind::EchoIn { fields, secret };
            let _guard = cloud.fault(Fault::on(route, kind));
            let answer = get(url, &token);
            assert_eq!(answer.status, 200);
            let body = answer.json();
            assert_eq!(
                body.pointer(pointer),
                Some(&json!(expected)),
                "{field} of {route}"
            );
        }
    }
    let fields = vec!["token_type".to_owned()];
    let kind = FaultKind::EchoIn {
        fields,
        secret: Quoted::Token,
    };
    let _guard = cloud.fault(Fault::on(route::TOKEN, kind));
    let form = format!(
        "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={}",
        cloud.world().api_key
    );
    let body = ask_token(&cloud, &form).json();
    assert_eq!(body["token_type"], body["access_token"]);
}
