use std::time::{Duration, Instant};

use local_cloud::{CertificateSpec, Fault, FaultKind, LocalCloud, Service, route};
use serde_json::{Value, json};

use crate::client::{Answer, get, start, token, write};

struct Stage {
    cloud: LocalCloud,
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
    Stage { cloud, url, token }
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

#[test]
fn statuses_before_and_after_the_effect() {
    let stage = stage();
    let (answer, written) = stage.put_under(FaultKind::Status(503));
    assert_eq!((answer.status, written), (503, false));
    assert_eq!(answer.json()["status_code"], 503);
    let (answer, written) = stage.put_under(FaultKind::StatusAfter(500));
    assert_eq!((answer.status, written), (500, true));
    let (answer, _) = stage.put_under(FaultKind::StatusRetryAfter(429, "2".into()));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("2".into()))
    );
}

#[test]
fn resets_before_and_after_the_effect() {
    let stage = stage();
    let (answer, written) = stage.put_under(FaultKind::ResetBefore);
    assert_eq!((answer.broken, answer.status, written), (true, 0, false));
    let (answer, written) = stage.put_under(FaultKind::ResetAfter);
    assert_eq!((answer.broken, answer.status, written), (true, 0, true));
    let reset = stage
        .cloud
        .journal()
        .iter()
        .filter(|entry| entry.status.is_none())
        .count();
    assert_eq!(reset, 2);
}

#[test]
fn bodies_that_are_cut_foreign_huge_or_elsewhere() {
    let stage = stage();
    let (answer, written) = stage.put_under(FaultKind::Truncated);
    assert_eq!((answer.status, answer.broken, written), (200, true, true));
    let (answer, written) = stage.put_under(FaultKind::NotJson);
    assert_eq!(
        (answer.header("content-type"), written),
        (Some("text/html".into()), false)
    );
    let (answer, _) = stage.put_under(FaultKind::Huge(3_000_000));
    assert!(answer.body.len() > 3_000_000);
    assert!(serde_json::from_slice::<Value>(&answer.body).is_ok());
    let (answer, _) = stage.put_under(FaultKind::Redirect("http://127.0.0.1:1/".into()));
    assert_eq!(
        (answer.status, answer.header("location").is_some()),
        (307, true)
    );
    let names = vec!["etag".to_owned(), "entity_tag".to_owned()];
    let (answer, written) = stage.put_under(FaultKind::Without(names));
    assert_eq!(
        (
            answer.header("etag"),
            answer.json().get("entity_tag"),
            written
        ),
        (None, None, true)
    );
    assert_eq!(answer.json()["format"], "tls");
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
        guard.wait_parked(1, Duration::from_secs(5)).unwrap();
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
        guard.wait_parked(1, Duration::from_secs(5)).unwrap();
        assert_eq!(stage.writes(), 3);
        drop(guard);
        assert_eq!(put.join().unwrap(), 200);
    });
}
