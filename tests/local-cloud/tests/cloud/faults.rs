use std::time::{Duration, Instant};

use local_cloud::{CertificateSpec, Fault, FaultKind, LocalCloud, Service, route};
use serde_json::{Map, Value, json};

use crate::client::{Answer, get, start, token, write};

struct Stage {
    cloud: LocalCloud,
    /// Of the certificate in Secrets Manager.
    secret_url: String,
    /// Of the TLS secret.
    url: String,
    token: String,
}

fn stage() -> Stage {
    let cloud = start();
    let id = cloud.issue(CertificateSpec::default());
    let project = cloud.world().project_id;
    cloud.deploy(&id, &project, "shop-tls");
    let url = format!(
        "{}/v2/projects/{project}/secrets/shop-tls",
        cloud.code_engine_url()
    );
    let token = token(&cloud);
    Stage {
        secret_url: format!("{}/api/v2/secrets/{id}", cloud.secrets_manager_url()),
        cloud,
        url,
        token,
    }
}

impl Stage {
    fn put(&self) -> Answer {
        let body = json!({ "format": "tls", "data": { "tls_cert": "new", "tls_key": "new" } });
        write("PUT", &self.url, &self.token, Some("*"), &body)
    }

    fn get(&self) -> Answer {
        get(&self.url, &self.token)
    }

    fn writes(&self) -> u64 {
        self.cloud
            .tls_secret(&self.cloud.world().project_id, "shop-tls")
            .unwrap()
            .writes
    }

    /// The answer to a PUT under a fault, and whether it was written.
    fn put_under(&self, kind: FaultKind) -> (Answer, bool) {
        let before = self.writes();
        let guard = self.cloud.fault(Fault::on(route::REPLACE_TLS_SECRET, kind));
        let answer = self.put();
        assert_eq!(guard.struck(), 1);
        drop(guard);
        let written = self.writes() > before;
        assert_eq!(self.put().status, 200, "lifted");
        (answer, written)
    }
}

/// The kind, the status that a client sees (0: none), whether the PUT was done.
#[test]
fn a_fault_strikes_before_or_after_the_effect() {
    let stage = stage();
    for (kind, status, done) in [
        (FaultKind::Status(503), 503, false),
        (FaultKind::StatusAfter(500), 500, true),
        (FaultKind::StatusRetryAfter(429, "2".into()), 429, false),
        (
            FaultKind::StatusTransactionId(503, "t-1".into()),
            503,
            false,
        ),
        (FaultKind::ResetBefore, 0, false),
        (FaultKind::ResetAfter, 0, true),
        (FaultKind::Truncated, 200, true),
        (FaultKind::NotJson, 200, false),
        (FaultKind::Echo(400), 400, false),
        (
            FaultKind::Redirect("http://127.0.0.1:1/".into()),
            307,
            false,
        ),
        (FaultKind::Override(Map::new()), 200, true),
        (FaultKind::Without(vec!["etag".into()]), 200, true),
    ] {
        let name = format!("{kind:?}");
        let broken = status == 0 || matches!(kind, FaultKind::Truncated);
        let (answer, written) = stage.put_under(kind);
        let seen = (answer.status, answer.broken, written);
        assert_eq!(seen, (status, broken, done), "{name}");
    }
    let unanswered = stage.cloud.journal().into_iter();
    assert_eq!(unanswered.filter(|entry| entry.status.is_none()).count(), 2);
}

#[test]
fn an_error_has_a_trace_in_the_body_or_in_a_header() {
    let stage = stage();
    let (answer, _) = stage.put_under(FaultKind::Status(503));
    assert_eq!(answer.json()["status_code"], 503);
    assert!(answer.json()["trace"].is_string());
    assert!(answer.header("x-transaction-id").is_some(), "in addition");
    let (answer, _) = stage.put_under(FaultKind::StatusTransactionId(503, "t-1".into()));
    let header = answer.header("X-Transaction-Id");
    assert_eq!(
        (header.as_deref(), answer.json().get("trace")),
        (Some("t-1"), None)
    );
    let (answer, _) = stage.put_under(FaultKind::StatusRetryAfter(429, "2".into()));
    assert_eq!(answer.header("retry-after").as_deref(), Some("2"));
}

#[test]
fn bodies_that_are_foreign_or_huge() {
    let stage = stage();
    let (answer, _) = stage.put_under(FaultKind::NotJson);
    assert_eq!(answer.header("content-type").as_deref(), Some("text/html"));
    let (answer, _) = stage.put_under(FaultKind::Huge(3_000_000));
    assert!(answer.body.len() > 3_000_000);
    assert!(serde_json::from_slice::<Value>(&answer.body).is_ok());
}

#[test]
fn fields_that_are_missing_or_of_another_type() {
    let stage = stage();
    let names = vec!["etag".to_owned(), "entity_tag".to_owned()];
    let (answer, _) = stage.put_under(FaultKind::Without(names));
    let body = answer.json();
    assert_eq!(
        (answer.header("etag"), body.get("entity_tag")),
        (None, None)
    );
    assert_eq!(body["format"], "tls");

    let odd = json!({ "state": "active", "ca_chain": [null], "revocation_time_seconds": 0.0 });
    let odd = odd.as_object().unwrap();
    let fault = Fault::on(route::READ_SECRET, FaultKind::Override(odd.clone()));
    let _guard = stage.cloud.fault(fault);
    let body = get(&stage.secret_url, &stage.token).json();
    for (name, value) in odd {
        assert_eq!(body[name], *value, "{name}");
    }
    assert_eq!(body["secret_type"], "public_cert");
}

#[test]
fn slow_answers() {
    let stage = stage();
    let began = Instant::now();
    let pause = Duration::from_millis(60);
    let (answer, _) = stage.put_under(FaultKind::Delay(pause));
    assert!(began.elapsed() >= pause && answer.status == 200);
    let began = Instant::now();
    let every = Duration::from_millis(20);
    let (answer, _) = stage.put_under(FaultKind::Drip { bytes: 200, every });
    assert!(began.elapsed() >= every * 2);
    assert_eq!(answer.json()["format"], "tls");
}

#[test]
fn times_skip_and_scope() {
    let stage = stage();
    let kind = || FaultKind::Status(500);
    let guard = stage
        .cloud
        .fault(Fault::on(route::READ_TLS_SECRET, kind()).skip(1).times(2));
    let statuses: Vec<_> = (0..4).map(|_| stage.get().status).collect();
    assert_eq!(statuses, [200, 500, 500, 200]);
    drop(guard);
    let _elsewhere = stage
        .cloud
        .fault(Fault::anywhere(Service::SecretsManager, kind()));
    let _other = stage
        .cloud
        .fault(Fault::anywhere(Service::CodeEngine, kind()).path_contains("xyz"));
    assert_eq!(stage.get().status, 200);
}

#[test]
fn hold_parks_until_released() {
    let stage = stage();
    let guard = stage
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, FaultKind::Hold));
    std::thread::scope(|scope| {
        let put = scope.spawn(|| stage.put().status);
        guard.wait_parked(1, Duration::from_secs(60)).unwrap();
        assert_eq!(stage.writes(), 1);
        guard.release();
        assert_eq!(put.join().unwrap(), 200);
    });
    drop(guard);
    let guard = stage
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, FaultKind::HoldAnswer));
    std::thread::scope(|scope| {
        let put = scope.spawn(|| stage.put().status);
        guard.wait_parked(1, Duration::from_secs(60)).unwrap();
        assert_eq!(stage.writes(), 3);
        drop(guard);
        assert_eq!(put.join().unwrap(), 200);
    });
}
