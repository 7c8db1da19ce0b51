//! Every route of the four calls under every fault, once and for good: exit status, number of
//! writes, what the TLS secret holds in the end. (That nothing leaks, and that a failure leaves the
//! TLS secret as it was, the harness asserts after each run.)

use std::time::Duration;

use local_cloud::{Fault, FaultKind, route};
use serde_json::json;

use crate::harness::{Scene, fields, side_by_side};

/// What the TLS secret must hold in the end, and how the run must exit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expect {
    /// Replaced with the new certificate, status 0, after so many writes were sent.
    Replaced(usize),
    /// Untouched, this status and reason.
    Failed(i32, &'static str),
}

use Expect::{Failed, Replaced};

/// The outcome by route and fault; `for_good` if it is never lifted.
fn expected(route: &str, kind: &FaultKind, for_good: bool) -> Expect {
    let (exit, unavailable, refused, forbidden) = match route {
        route::TOKEN => (4, "iam-unavailable", "iam-refused", "iam-refused"),
        route::READ_SECRET => {
            (5, "secrets-manager-unavailable", "secrets-manager-refused", "secret-forbidden")
        }
        _ => (7, "code-engine-unavailable", "code-engine-refused", "code-engine-forbidden"),
    };
    let missing = match route {
        route::TOKEN => "iam-refused",
        route::READ_SECRET => "secret-missing",
        _ => "tls-secret-missing",
    };
    if route == route::REPLACE_TLS_SECRET {
        return match kind {
            FaultKind::Status(400) | FaultKind::Redirect(_) => Failed(exit, refused),
            FaultKind::Status(403) => Failed(exit, forbidden),
            FaultKind::Status(404) => Failed(exit, missing),
            // a token that is renewed once
            FaultKind::Status(401) if for_good => Failed(exit, forbidden),
            FaultKind::Status(401) => Replaced(2),
            FaultKind::Delay(_) | FaultKind::Drip { .. } => Replaced(1),
            // done: the next look sees it up to date
            FaultKind::ResetAfter
            | FaultKind::StatusAfter(_)
            | FaultKind::Truncated
            | FaultKind::Override(_)
            | FaultKind::Without(_) => Replaced(1),
            FaultKind::Status(409 | 412) if for_good => Failed(exit, "write-conflict"),
            // answered well, but with something else
            FaultKind::NotJson if for_good => Failed(exit, refused),
            _ if for_good => Failed(exit, unavailable),
            _ => Replaced(2),
        };
    }
    match kind {
        FaultKind::Delay(_) | FaultKind::Drip { .. } => Replaced(1),
        FaultKind::Status(400)
        | FaultKind::Redirect(_)
        | FaultKind::NotJson
        | FaultKind::Huge(_) => Failed(exit, refused),
        FaultKind::Status(401) if route == route::TOKEN => Failed(exit, refused),
        FaultKind::Status(401) if !for_good => Replaced(1),
        FaultKind::Status(401 | 403) => Failed(exit, forbidden),
        FaultKind::Status(404) => Failed(exit, missing),
        FaultKind::Status(409 | 412 | 501) => Failed(exit, refused),
        _ if for_good => Failed(exit, unavailable),
        _ => Replaced(1),
    }
}

fn faults() -> Vec<FaultKind> {
    let mut faults: Vec<FaultKind> =
        [400, 401, 403, 404, 408, 409, 412, 429, 500, 501, 502, 503, 504]
            .map(FaultKind::Status)
            .into();
    faults.extend([429, 500, 503].map(FaultKind::StatusAfter));
    faults.extend([
        FaultKind::StatusRetryAfter(429, "1".to_owned()),
        FaultKind::StatusRetryAfter(503, "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        FaultKind::Delay(Duration::from_millis(50)),
        FaultKind::Drip { bytes: 200, every: Duration::from_millis(5) },
        FaultKind::Huge(3 * 1024 * 1024),
        FaultKind::NotJson,
        FaultKind::Redirect("https://attacker.example/".to_owned()),
        FaultKind::ResetAfter,
        FaultKind::ResetBefore,
        FaultKind::Truncated,
    ]);
    faults
}

#[test]
fn every_route_under_every_fault() {
    let routes =
        [route::TOKEN, route::READ_TLS_SECRET, route::READ_SECRET, route::REPLACE_TLS_SECRET];
    // done, but the answer shows something else, or nothing
    let other = json!({ "data": { "tls_cert": "other", "tls_key": "other" } });
    let shows = [fields(other), FaultKind::Without(vec!["data".to_owned()])];
    let cases: Vec<_> = routes
        .into_iter()
        .flat_map(|route| faults().into_iter().map(move |kind| (route, kind)))
        .chain(shows.map(|kind| (route::REPLACE_TLS_SECRET, kind)))
        .flat_map(|(route, kind)| [(route, kind.clone(), false), (route, kind, true)])
        .collect();
    assert_eq!(cases.len(), 4 * 26 * 2 + 2 * 2);
    side_by_side(cases, |(route, kind, for_good)| check(route, &kind, for_good));
}

fn check(route: &str, kind: &FaultKind, for_good: bool) {
    let case = format!("{route} under {kind:?}, for good: {for_good}");
    let scene = Scene::new();
    let before = scene.served();
    let fault = Fault::on(route, kind.clone());
    let guard = scene.cloud.fault(if for_good { fault } else { fault.times(1) });
    // a short life for what never ends; enough for five attempts to write
    let deadline = if route == route::REPLACE_TLS_SECRET { "20" } else { "7" };
    let run = scene.start().env("DEADLINE", deadline).run_beside_others();
    assert!(guard.struck() > 0, "{case}: the fault never struck");
    let target = run.target();
    match expected(route, kind, for_good) {
        Replaced(writes) => {
            assert_eq!((run.status, target.action.as_str()), (0, "replaced"), "{case}: {run:#?}");
            assert_eq!(scene.writes().len(), writes, "{case}");
            assert_eq!(scene.served(), scene.serial(), "{case}");
        }
        Failed(status, reason) => {
            assert_eq!(
                (run.status, target.reason.as_deref()),
                (status, Some(reason)),
                "{case}: {run:#?}"
            );
            assert_eq!(scene.served(), before, "{case}");
            let temporary =
                ["-unavailable", "write-conflict"].iter().any(|end| reason.ends_with(end));
            assert_eq!(run.report.retryable, temporary, "{case}");
            if reason == "write-conflict" {
                assert_eq!((target.attempts, guard.struck()), (Some(5), 5), "{case}");
            }
            // what no repetition cures is not repeated
            if matches!(kind, FaultKind::Status(400 | 403 | 404)) {
                assert_eq!(guard.struck(), 1, "{case}");
            }
        }
    }
}
