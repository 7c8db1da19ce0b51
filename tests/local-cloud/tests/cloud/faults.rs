use std::time::Duration;

use local_cloud::{Fault, FaultKind, Options, Quoted, Service, route};
use serde_json::{Value, json};

use crate::client::{Answer, Stage, tls};

const PATIENCE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(1);
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nnever stored\n-----END PRIVATE KEY-----\n";

fn put_under(stage: &Stage, kind: FaultKind) -> Answer {
    let fault = Fault::on(route::REPLACE_TLS_SECRET, kind);
    let guard = stage.cloud.fault(fault);
    let answer = stage.put("*");
    assert_eq!(guard.struck(), 1);
    answer
}

/// The kind, the status that a client sees (0: none), whether the PUT was done.
#[test]
fn a_fault_strikes_before_or_after_the_effect() {
    let stage = Stage::new(Options::default());
    let elsewhere = FaultKind::Redirect("http://127.0.0.1:1/".into());
    let page =
        FaultKind::Answer { status: 418, content_type: "text/plain".into(), body: "no".into() };
    let drip = FaultKind::Drip { bytes: 200, every: EVERY };
    for (kind, status, done) in [
        (FaultKind::Status(503), 503, false),
        (FaultKind::StatusAfter(500), 500, true),
        (FaultKind::StatusRetryAfter(429, "2".into()), 429, false),
        (FaultKind::StatusTransactionId(503, "t".into()), 503, false),
        (FaultKind::ResetBefore, 0, false),
        (FaultKind::ResetAfter, 0, true),
        (FaultKind::Truncated, 200, true),
        (FaultKind::NotJson, 200, false),
        (FaultKind::Huge(3_000_000), 200, false),
        (FaultKind::Echo(400), 400, false),
        (elsewhere, 307, false),
        (page, 418, false),
        (FaultKind::Delay(EVERY), 200, true),
        (drip, 200, true),
    ] {
        let (name, before) = (format!("{kind:?}"), stage.writes());
        let broken = status == 0 || matches!(kind, FaultKind::Truncated);
        let answer = put_under(&stage, kind);
        let seen = (answer.status, answer.broken, stage.writes() > before);
        assert_eq!(seen, (status, broken, done), "{name}");
        assert_eq!(stage.put("*").status, 200, "lifted");
    }
    let unanswered = stage.cloud.journal().into_iter();
    let unanswered = unanswered.filter(|entry| entry.status.is_none());
    assert_eq!(unanswered.count(), 2);
}

#[test]
fn headers_and_fields_that_come_go_or_change() {
    let stage = Stage::new(Options::default());
    let refused = put_under(&stage, FaultKind::StatusRetryAfter(429, "2".into()));
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert!(refused.json()["trace"].is_string() && refused.header("x-transaction-id").is_some());
    let refused = put_under(&stage, FaultKind::StatusTransactionId(503, "t-1".into()));
    assert_eq!(refused.header("x-transaction-id"), Some("t-1"));
    assert_eq!(refused.json().get("trace"), None);
    let names = vec!["etag".to_owned(), "entity_tag".to_owned()];
    let bare = put_under(&stage, FaultKind::Without(names));
    assert_eq!((bare.header("etag"), bare.json().get("entity_tag")), (None, None));
    let odd = json!({ "format": null, "region": ["x"] });
    let odd = FaultKind::Override(odd.as_object().unwrap().clone());
    let odd = put_under(&stage, odd).json();
    let seen = json!([odd["format"], odd["region"], odd["name"]]);
    assert_eq!(seen, json!([null, ["x"], "shop-tls"]));
}

#[test]
fn times_skip_and_scope() {
    let stage = Stage::new(Options::default());
    let statuses = |fault: Fault| {
        let _guard = stage.cloud.fault(fault);
        [(); 4].map(|()| stage.put("*").status)
    };
    let kind = || FaultKind::Status(500);
    let fault = Fault::on(route::REPLACE_TLS_SECRET, kind()).skip(1);
    assert_eq!(statuses(fault.times(2)), [200, 500, 500, 200]);
    let anywhere = || Fault::anywhere(Service::CodeEngine, kind());
    for (fault, strikes) in [
        (Fault::anywhere(Service::SecretsManager, kind()), false),
        (anywhere(), true),
        (anywhere().path_contains("xyz"), false),
        (anywhere().path_contains("shop-tls"), true),
        (anywhere().host("localhost"), false),
        (anywhere().host("127.0.0.1"), true),
        // one request per connection: no second one
        (Fault::anywhere(Service::CodeEngine, FaultKind::CloseSecond), false),
    ] {
        let name = format!("{fault:?}");
        let status = if strikes { 500 } else { 200 };
        assert_eq!(statuses(fault), [status; 4], "{name}");
    }
}

/// Before the effect or after it; until it is released, or until its guard goes.
#[test]
fn hold_parks() {
    let stage = Stage::new(Options::default());
    for (kind, done) in [(FaultKind::Hold, false), (FaultKind::HoldAnswer, true)] {
        let before = stage.writes();
        let fault = Fault::on(route::REPLACE_TLS_SECRET, kind);
        let guard = stage.cloud.fault(fault);
        std::thread::scope(|scope| {
            let put = scope.spawn(|| stage.put("*").status);
            guard.wait_parked(1, PATIENCE).unwrap();
            assert_eq!(stage.writes() > before, done);
            match done {
                true => drop(guard),
                false => guard.release(),
            }
            assert_eq!(put.join().unwrap(), 200);
        });
    }
}

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
fn every_text_of_an_echoed_error_quotes_the_request() {
    let stage = Stage::new(Options::default());
    let mut body = tls("the certificate");
    body["data"]["tls_key"] = KEY.into();
    let put = || stage.conditional("PUT", "/secrets/a", "7", &body);
    let form = format!("grant_type=x&apikey={}", stage.cloud.world().api_key);
    let token = stage.token.as_str();
    // what must be quoted, its secret first
    let quoted: [&[&str]; 3] =
        [&[&form[20..]], &[token, "?limit=7"], &[KEY, token, "if-match: 7", "the certificate"]];
    let services = [Service::Iam, Service::SecretsManager, Service::CodeEngine];
    for (service, quoted) in services.into_iter().zip(quoted) {
        let fault = Fault::anywhere(service, FaultKind::Echo(401));
        let _guard = stage.cloud.fault(fault);
        let answer = match service {
            Service::Iam => stage.ask_token(&form),
            Service::SecretsManager => stage.secrets_manager("secrets?limit=7"),
            _ => put(),
        };
        assert!(answer.status == 401 && answer.header("x-transaction-id").is_some());
        let body = answer.json();
        assert!(texts(&body).len() >= 5, "{body}");
        for text in texts(&body) {
            assert!(quoted.iter().all(|part| text.contains(part)), "{text}");
        }
        // who keeps only the beginning has a secret already
        assert!(texts(&body)[0].starts_with(quoted[0]), "{body}");
    }
    assert!(stage.cloud.secrets_in_use().contains(&KEY.to_owned()));
    assert_eq!(put().status, 404, "lifted");
}

#[test]
fn a_good_answer_holds_a_secret_where_none_belongs() {
    let stage = Stage::new(Options::default());
    stage.cloud.map_domain(&stage.project, "shop.example.com", "shop-tls");
    let key = stage.cloud.material(&stage.secret).private_key.unwrap();
    let (secret, domains) = (route::READ_SECRET, route::LIST_DOMAIN_MAPPINGS);
    let (key, token) = (key.as_str(), stage.token.as_str());
    for (route, field, quoted, pointer, shown) in [
        (secret, "state", Quoted::Token, "/state", token),
        (secret, "state", Quoted::Key, "/state", key),
        (secret, "not_there", Quoted::Key, "/not_there", key),
        // a list shows no key: there it is the token again
        (domains, "tls_secret", Quoted::Key, "/domain_mappings/0/tls_secret", token),
    ] {
        let fields = vec![field.to_owned()];
        let fault = Fault::on(route, FaultKind::EchoIn { fields, secret: quoted });
        let _guard = stage.cloud.fault(fault);
        let answer = match route == secret {
            true => stage.secrets_manager(&format!("secrets/{}", stage.secret)),
            false => stage.code_engine("GET", "/domain_mappings", &Value::Null),
        };
        assert_eq!(answer.json().pointer(pointer), Some(&json!(shown)), "{field}");
    }
}
