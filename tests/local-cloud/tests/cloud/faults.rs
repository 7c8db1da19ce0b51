use std::time::Duration;

use local_cloud::{Fault, FaultKind, Options, Quoted, Service, route};
use serde_json::{Value, json};

use crate::client::{Answer, Stage, tls};

const PATIENCE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(1);
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nnever stored\n-----END PRIVATE KEY-----\n";

fn put_under(stage: &Stage, kind: FaultKind) -> Answer {
    let guard = stage
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, kind));
    let answer = stage.put("*");
    assert_eq!(guard.struck(), 1);
    answer
}

/// The kind, the status that a client sees (0: none), whether the PUT was done.
#[test]
fn a_fault_strikes_before_or_after_the_effect() {
    let stage = Stage::new(Options::default());
    let elsewhere = FaultKind::Redirect("http://127.0.0.1:1/".into());
    let page = FaultKind::Answer {
        status: 418,
        content_type: "text/plain".into(),
        body: "no".into(),
    };
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
        (
            FaultKind::Drip {
                bytes: 200,
                every: EVERY,
            },
            200,
            true,
        ),
    ] {
        let (name, before) = (format!("{kind:?}"), stage.writes());
        let broken = status == 0 || matches!(kind, FaultKind::Truncated);
        let answer = put_under(&stage, kind);
        let seen = (answer.status, answer.broken, stage.writes() > before);
        assert_eq!(seen, (status, broken, done), "{name}");
        assert_eq!(stage.put("*").status, 200, "lifted");
    }
    let unanswered = stage
        .cloud
        .journal()
        .into_iter()
        .filter(|entry| entry.status.is_none());
    assert_eq!(unanswered.count(), 2);
}

#[test]
fn headers_and_fields_that_come_go_or_change() {
    let stage = Stage::new(Options::default());
    let refused = put_under(&stage, FaultKind::StatusRetryAfter(429, "2".into()));
    assert_eq!(refused.header("retry-after").as_deref(), Some("2"));
    assert!(refused.json()["trace"].is_string() && refused.header("x-transaction-id").is_some());
    let refused = put_under(&stage, FaultKind::StatusTransactionId(503, "t-1".into()));
    assert_eq!(refused.header("x-transaction-id").as_deref(), Some("t-1"));
    assert_eq!(refused.json().get("trace"), None);
    let names = vec!["etag".to_owned(), "entity_tag".to_owned()];
    let bare = put_under(&stage, FaultKind::Without(names));
    assert_eq!(
        (bare.header("etag"), bare.json().get("entity_tag")),
        (None, None)
    );
    let odd = json!({ "format": null, "region": ["x"] });
    let odd = put_under(
        &stage,
        FaultKind::Override(odd.as_object().unwrap().clone()),
    )
    .json();
    assert_eq!(
        (&odd["format"], &odd["region"]),
        (&Value::Null, &json!(["x"]))
    );
    assert!(odd["name"] == "shop-tls");
}

#[test]
fn times_skip_and_scope() {
    let stage = Stage::new(Options::default());
    let statuses = |fault: Fault| {
        let _guard = stage.cloud.fault(fault);
        [(); 4].map(|()| stage.put("*").status)
    };
    let kind = || FaultKind::Status(500);
    let fault = Fault::on(route::REPLACE_TLS_SECRET, kind())
        .skip(1)
        .times(2);
    assert_eq!(statuses(fault), [200, 500, 500, 200]);
    for (fault, strikes) in [
        (Fault::anywhere(Service::SecretsManager, kind()), false),
        (Fault::anywhere(Service::CodeEngine, kind()), true),
        (
            Fault::anywhere(Service::CodeEngine, kind()).path_contains("xyz"),
            false,
        ),
        (
            Fault::anywhere(Service::CodeEngine, kind()).path_contains("shop-tls"),
            true,
        ),
        (
            Fault::anywhere(Service::CodeEngine, kind()).host("localhost"),
            false,
        ),
        (
            Fault::anywhere(Service::CodeEngine, kind()).host("127.0.0.1"),
            true,
        ),
        // one request per connection: no second one
        (
            Fault::anywhere(Service::CodeEngine, FaultKind::CloseSecond),
            false,
        ),
    ] {
        let name = format!("{fault:?}");
        let expected = if strikes { [500; 4] } else { [200; 4] };
        assert_eq!(statuses(fault), expected, "{name}");
    }
}

/// Before the effect or after it; until it is released, or until its guard goes.
#[test]
fn hold_parks() {
    let stage = Stage::new(Options::default());
    for (kind, done) in [(FaultKind::Hold, false), (FaultKind::HoldAnswer, true)] {
        let before = stage.writes();
        let guard = stage
            .cloud
            .fault(Fault::on(route::REPLACE_TLS_SECRET, kind));
        std::thread::scope(|scope| {
            let put = scope.spawn(|| stage.put("*").status);
            guard.wait_parked(1, PATIENCE).unwrap();
            assert_eq!(stage.writes() > before, done);
            if done {
                drop(guard);
            } else {
                guard.release();
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

/// A service, a request to it, and what of it must be quoted, its secret first.
type Row<'a> = (Service, &'a dyn Fn() -> Answer, &'a [&'a str]);

#[test]
fn every_text_of_an_echoed_error_quotes_the_request() {
    let stage = Stage::new(Options::default());
    let mut body = tls("the certificate");
    body["data"]["tls_key"] = KEY.into();
    let put = || stage.conditional("PUT", "/secrets/a", "7", &body);
    let form = format!("grant_type=x&apikey={}", stage.cloud.world().api_key);
    let token = stage.token();
    let rows: [Row<'_>; 3] = [
        (Service::Iam, &|| stage.ask_token(&form), &[&form[20..]]),
        (
            Service::SecretsManager,
            &|| stage.secrets_manager("secrets?limit=7"),
            &[token, "?limit=7"],
        ),
        (
            Service::CodeEngine,
            &put,
            &[KEY, token, "if-match: 7", "the certificate"],
        ),
    ];
    for (service, ask, quoted) in rows {
        let _guard = stage
            .cloud
            .fault(Fault::anywhere(service, FaultKind::Echo(401)));
        let answer = ask();
        assert_eq!(answer.status, 401, "{service:?}");
        let body = answer.json();
        assert!(texts(&body).len() >= 5, "{body}");
        for text in texts(&body) {
            assert!(quoted.iter().all(|part| text.contains(part)), "{text}");
        }
        // who keeps only the beginning has a secret already
        assert!(texts(&body)[0].starts_with(quoted[0]), "{body}");
        assert!(answer.header("x-transaction-id").is_some());
    }
    assert!(
        stage
            .cloud
            .secrets_in_use()
            .iter()
            .any(|secret| secret == KEY)
    );
    assert_eq!(put().status, 404, "lifted");
}

#[test]
fn a_good_answer_holds_a_secret_where_none_belongs() {
    let stage = Stage::new(Options::default());
    stage
        .cloud
        .map_domain(&stage.project, "shop.example.com", "shop-tls");
    let key = stage.cloud.material(&stage.secret).private_key.unwrap();
    let certificate = || stage.secrets_manager(&format!("secrets/{}", stage.secret));
    let mappings = || stage.code_engine("GET", "/domain_mappings", &Value::Null);
    let token = stage.token();
    type Ask<'a> = &'a dyn Fn() -> Answer;
    let (certificate, mappings): (Ask<'_>, Ask<'_>) = (&certificate, &mappings);
    // a list shows no key: there it is the token again
    for (route, ask, field, pointer, key) in [
        (
            route::READ_SECRET,
            certificate,
            "state",
            "/state",
            key.as_str(),
        ),
        (
            route::READ_SECRET,
            certificate,
            "not_there",
            "/not_there",
            &key,
        ),
        (
            route::LIST_DOMAIN_MAPPINGS,
            mappings,
            "tls_secret",
            "/domain_mappings/0/tls_secret",
            token,
        ),
    ] {
        for (secret, expected) in [(Quoted::Token, token), (Quoted::Key, key)] {
            let fields = vec![field.to_owned()];
            let kind = FaultKind::EchoIn { fields, secret };
            let _guard = stage.cloud.fault(Fault::on(route, kind));
            assert_eq!(
                ask().json().pointer(pointer),
                Some(&json!(expected)),
                "{field}"
            );
        }
    }
}
