//! The text of a report, as people read it.

use std::time::Duration;

use super::*;
use crate::error::{Error, Reason};
use crate::report::{Heading, Served};

/// 2026-03-01T00:00:00Z.
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_772_323_200));
const PROJECT: &str = "5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b";
const ELSEWHERE: &str = "99999999-7b3d-4e68-90af-1c2d3e4f5a6b";
const SECRET: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";

fn leaf(serial: &str, hours: i64) -> Leaf {
    let end = NOW.as_secs().saturating_add_signed(hours * 3600);
    Leaf {
        serial: serial.to_owned(),
        not_after: Date(UnixTime::since_unix_epoch(Duration::from_secs(end))),
        sha256: "0".repeat(64),
        names: vec!["shop.example.com".to_owned()],
    }
}

fn target(tls_secret: &str, action: Action) -> Outcome {
    Outcome {
        secret_id: Some(SECRET.to_owned()),
        secret_name: Some("shop".to_owned()),
        project_id: Some(PROJECT.to_owned()),
        tls_secret: Some(tls_secret.to_owned()),
        to: Some(leaf("02:bb", 24)),
        ..Outcome::new(action, "")
    }
}

fn noted(mut outcome: Outcome) -> Outcome {
    outcome.findings.push(Reason::Held.error("the target is on hold"));
    outcome
}

fn printed(result: Result<Report, Error>, dry_run: bool) -> String {
    let heading = Heading { dry_run, ..Heading::default() };
    text(&Report::new(heading, result, 1234), false, NOW)
}

#[test]
fn a_target_shows_all_that_is_known_of_it() {
    let served =
        |domain: &str, state, after_ms| Served { domain: domain.to_owned(), state, after_ms };
    let mut replaced = Outcome {
        from: Some(leaf("01:aa", -1)),
        to: Some(leaf("02:bb", 90 * 24)),
        served: vec![
            served("shop.example.com", State::New, Some(2500)),
            served("www.shop.example.com", State::Old, Some(60_000)),
            served("api.shop.example.com", State::Other, None),
            served("old.shop.example.com", State::Unreachable, None),
        ],
        restarted: vec!["web".to_owned(), "worker".to_owned()],
        ..target("shop-tls", Action::Replaced)
    };
    replaced.findings.push(Reason::NotServed.error("www.shop.example.com serves another one"));
    let elsewhere = Reason::IamPublic.error("the token came from elsewhere");
    replaced.findings.push(elsewhere.command("ibmcloud login --sso"));
    assert_eq!(
        printed(Ok(vec![replaced].into()), false),
        format!(
            "\
shop-tls: replaced
  certificate  shop {SECRET}
  held         until 2026-02-28 (expired), serial 01:aa
  holds        until 2026-05-30 (90 days), serial 02:bb
  names        shop.example.com
  served       shop.example.com: this certificate, 2.5 s after the write
  served       www.shop.example.com: the previous certificate
  served       api.shop.example.com: another certificate
  served       old.shop.example.com: unreachable
  restarted    web, worker
  finding      not-served: www.shop.example.com serves another one
  finding      iam-public: the token came from elsewhere
    ibmcloud login --sso

1 replaced, in 1.2 s, exit status 0"
        )
    );
}

/// The reason is not repeated as a finding; only with several projects each is named.
#[test]
fn failed_targets_come_last_and_those_with_findings_before_them() {
    let error = Reason::NamesLost
        .error("it loses www.shop.example.com")
        .command("ibmcloud ce jobrun submit --job sync");
    let mut refused = target("refused-tls", Action::Refused).failed(&error);
    refused.to = None;
    refused.findings.push(error);
    let held = noted(Outcome {
        project_id: Some(ELSEWHERE.to_owned()),
        to: Some(leaf("02:bb", 1)),
        ..target("held-tls", Action::WouldReplace)
    });
    let ignored = Outcome::default().failed(&Reason::EventIgnored.error("it has no name"));
    let targets = vec![refused, held, target("shop-tls", Action::Unchanged), ignored];
    assert_eq!(
        printed(Ok(targets.into()), true),
        format!(
            "\
shop-tls: unchanged
  project      {PROJECT}
  certificate  shop {SECRET}
  holds        until 2026-03-02 (1 day), serial 02:bb
  names        shop.example.com

held-tls: would be replaced
  project      {ELSEWHERE}
  certificate  shop {SECRET}
  would hold   until 2026-03-01 (less than a day), serial 02:bb
  names        shop.example.com
  finding      held: the target is on hold

event: ignored
  note         event-ignored: it has no name

refused-tls: refused
  project      {PROJECT}
  certificate  shop {SECRET}
  error        names-lost: it loses www.shop.example.com
    ibmcloud ce jobrun submit --job sync

dry run: 1 would be replaced, 1 unchanged, 1 refused, 1 ignored, in 1.2 s, exit
status 8"
        )
    );
}

#[test]
fn of_many_targets_those_that_are_fine_have_one_line_each() {
    let fine = |count| (0..count).map(|n| target(&format!("tls-{n}"), Action::Unchanged));
    let page = printed(Ok(fine(12).collect::<Vec<_>>().into()), false);
    assert_eq!(page.matches("\n  names  ").count(), 12, "{page}");
    let mut targets: Vec<Outcome> = fine(2).collect();
    targets.push(noted(target("held-tls", Action::Unchanged)));
    targets.push(Outcome {
        project_id: Some(ELSEWHERE.to_owned()),
        ..target("a-name-that-is-longer-than-any-column", Action::Replaced)
    });
    targets
        .extend((0..10).map(|_| Outcome::default().failed(&Reason::EventIgnored.error("no name"))));
    let page = printed(Ok(targets.into()), false);
    let (lines, blocks) = page.split_once("\n\nheld-tls: unchanged\n").unwrap();
    assert_eq!(
        lines,
        format!(
            "\
Project {PROJECT}

tls-0  unchanged  until 2026-03-02 (1 day)
tls-1  unchanged  until 2026-03-02 (1 day)

Project {ELSEWHERE}

a-name-that-is-longer-than-any-column
  replaced   until 2026-03-02 (1 day)"
        )
    );
    assert_eq!(blocks.matches("event: ignored\n  note ").count(), 10, "{blocks}");
}

#[test]
fn a_failure_before_all_targets_has_a_line_for_each_problem() {
    let error = Reason::Configuration.error(
            "SECRET_ID: expected an ID; TLS_SECRET_NAME is required unless TARGETS is set; DEADLINE: expected seconds",
        )
        .command("ibmcloud ce job get --name sync");
    assert_eq!(
        printed(Err(error), false),
        "  error        configuration
    SECRET_ID: expected an ID
    TLS_SECRET_NAME is required unless TARGETS is set
    DEADLINE: expected seconds
    ibmcloud ce job get --name sync

failed, in 1.2 s, exit status 2"
    );
}

#[test]
fn each_outcome_has_its_color() {
    let failed = target("x", Action::Unchanged).failed(&Reason::SecretMissing.error("x"));
    for (target, color, of_summary) in [
        (target("x", Action::Replaced), GREEN, GREEN),
        (target("x", Action::Unchanged), GREEN, GREEN),
        (target("x", Action::WouldReplace), YELLOW, GREEN),
        (target("x", Action::Ignored), YELLOW, GREEN),
        (noted(target("x", Action::Unchanged)), GREEN, YELLOW),
        (failed, RED, RED),
    ] {
        let word = word(target.action);
        let report = Report::new(Heading::default(), Ok(vec![target].into()), 1);
        let page = text(&report, true, NOW);
        let title = format!("\u{1b}[1mx\u{1b}[0m: \u{1b}[{color}m{word}\u{1b}[0m\n");
        assert!(page.starts_with(&title), "{page:?}");
        let summary = format!("\u{1b}[{of_summary}m1 {word}\u{1b}[0m, in 1 ms, exit");
        assert!(page.contains(&summary), "{page:?}");
        let finding = page.contains("\u{1b}[33mfinding      \u{1b}[0mheld: ");
        assert_eq!(finding, of_summary == YELLOW, "{page:?}");
    }
}

#[test]
fn the_table_of_tls_secrets_shows_names_whole() {
    let discovered = |tls_secret: &str, secret_name: &str| Discovered {
        project_id: PROJECT.to_owned(),
        tls_secret: tls_secret.to_owned(),
        not_after: Some(Date(NOW)),
        names: Vec::new(),
        domains: None,
        matches: None,
        candidates: vec![CertificateRef {
            secret_id: SECRET.to_owned(),
            secret_name: secret_name.to_owned(),
            secret_type: "public_cert".to_owned(),
            not_after: None,
        }],
    };
    let results = Report {
        discovery: Some(Discovery {
            discovered: vec![
                discovered("shop-tls", "shop"),
                discovered("shop-example-com-certificate-tls", "shop"),
                discovered("blog-tls", "blog-example-com-imported-from-the-old-registry-of-ours"),
            ],
            proposed_targets: Vec::new(),
            unused_certificates: None,
        }),
        ..Report::default()
    };
    assert_eq!(
        printed(Ok(results), false),
        format!(
            "\
Project {PROJECT}

TLS secret  until       match       certificate
shop-tls    2026-03-01  not known   shop
shop-example-com-certificate-tls
            2026-03-01  not known   shop
blog-tls    2026-03-01  not known\x20
    blog-example-com-imported-from-the-old-registry-of-ours

3 TLS secrets, in 1.2 s, exit status 0"
        )
    );
}

#[test]
fn a_duration_is_as_exact_as_it_is_interesting() {
    let shown = [0, 999, 1000, 61_590].map(seconds);
    assert_eq!(shown, ["0 ms", "999 ms", "1.0 s", "61.5 s"]);
}
