//! What becomes of a target, and what an answer to a write means, as truth tables. Nothing is sent:
//! the run is over.

use super::*;
use crate::config::Config;
use crate::ibm::api_error::TokenError;
use crate::secret::Secret;
use crate::sync::deployed::Serves;
use crate::sync::samples::{
    Issued, RENEWED, SHOP, Spec, bundle, deployed, issue, now, task, without_calls,
};

/// A target, and what the run knows of it.
struct Case {
    task: Task,
    deployed: Deployed,
    bundle: Bundle,
    version: Version,
    dry_run: bool,
    /// Seconds before the run.
    changed: Option<u64>,
}

fn of(issued: &Issued) -> Deployed {
    deployed(format!("{}{}", issued.leaf, issued.issuer), &issued.key)
}

impl Case {
    /// [`SHOP`] is deployed, and this is new.
    fn new(new: &Spec) -> Self {
        Self {
            task: task(),
            deployed: of(&issue(&SHOP)),
            bundle: bundle(&issue(new), true),
            version: Version::Current,
            dry_run: false,
            changed: None,
        }
    }

    fn attempt<R>(&self, work: impl FnOnce(&Attempt<'_, '_>) -> R) -> R {
        self.attempt_in_doubt(false, work)
    }

    fn attempt_in_doubt<R>(&self, doubt: bool, work: impl FnOnce(&Attempt<'_, '_>) -> R) -> R {
        let change = |config: &mut Config| {
            config.version = self.version;
            config.dry_run = self.dry_run;
        };
        without_calls(change, |run| {
            work(&Attempt {
                run,
                position: 0,
                task: &self.task,
                deployed: &self.deployed,
                bundle: &self.bundle,
                updated_at: self.changed.map(|seconds| {
                    UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs() - seconds))
                }),
                number: 3,
                doubt,
            })
        })
    }

    /// Action and reason of an attempt; `true`: an earlier write may have taken effect.
    fn run(&self, doubt: bool) -> (Action, Option<Reason>) {
        self.attempt_in_doubt(doubt, |attempt| match attempt.run() {
            Ok(target) => (target.outcome.action, target.outcome.reason),
            Err(unconfirmed) => panic!("{}", unconfirmed.cause),
        })
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn unconfirmed(reason: Reason, wait: Option<Duration>) -> Unconfirmed {
    Unconfirmed {
        reason,
        cause: format!("because of {reason}"),
        wait,
    }
}

#[test]
fn how_long_to_wait_before_the_next_attempt() {
    let conflict = || unconfirmed(Reason::WriteConflict, None);
    let unclear = |wait| unconfirmed(Reason::CodeEngineUnavailable, wait);
    let left = seconds(20);
    let mut failures = Failures::default();
    assert_eq!((failures.attempts(), failures.doubt), (0, false));
    assert_eq!(failures.add(conflict(), left), Some(seconds(0)));
    assert_eq!((failures.attempts(), failures.doubt), (1, false));
    assert_eq!(failures.add(unclear(None), left), Some(seconds(2)));
    assert_eq!((failures.attempts(), failures.doubt), (2, true));
    assert_eq!(failures.add(conflict(), left), Some(seconds(0)));
    assert_eq!((failures.attempts(), failures.doubt), (3, true));
    assert_eq!(failures.add(unclear(None), left), Some(seconds(4)));
    assert_eq!(failures.add(unclear(None), left), None);
    assert_eq!(failures.attempts(), 5);

    // what the service asks for, neither less than the shortest wait nor more than what is left
    for (asked, expected) in [
        (None, 1),
        (Some(0), 1),
        (Some(1), 1),
        (Some(2), 2),
        (Some(19), 19),
        (Some(20), 1),
        (Some(21), 1),
    ] {
        let wait = Failures::default().add(unclear(asked.map(seconds)), left);
        assert_eq!(wait, Some(seconds(expected)), "{asked:?}");
    }
    // the fifth is the last
    let mut failures = Failures::default();
    let waits = [(); 5].map(|()| failures.add(conflict(), left));
    assert_eq!(
        waits.map(|wait| wait.is_some()),
        [true, true, true, true, false]
    );
}

#[test]
fn the_last_attempt_decides_the_reason() {
    let conflict = Reason::WriteConflict;
    let unclear = Reason::CodeEngineUnavailable;
    for (reasons, counts) in [
        (
            [conflict; 5],
            "gave up after 5 attempts: 5 conflicts with other writers (last: because of write-conflict)",
        ),
        (
            [unclear; 5],
            "gave up after 5 attempts: 5 writes without a clear answer (last: because of code-engine-unavailable)",
        ),
        (
            [unclear, conflict, conflict, conflict, unclear],
            "3 conflicts with other writers, 2 writes without a clear answer (last: because of code-engine-unavailable)",
        ),
        (
            [unclear, unclear, unclear, unclear, conflict],
            "1 conflicts with other writers, 4 writes without a clear answer (last: because of write-conflict)",
        ),
    ] {
        let mut failures = Failures::default();
        for reason in reasons {
            failures.add(unconfirmed(reason, None), seconds(20));
        }
        let error = failures.give_up(&task());
        assert_eq!(error.reason, reasons[4]);
        let text = error.to_string();
        assert!(
            text.starts_with("cannot replace TLS secret shop-tls: "),
            "{text}"
        );
        assert!(text.ends_with(counts), "{text}");
    }
}

#[test]
fn an_event_is_missed_after_ten_minutes() {
    let placeholder = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["shop.example.com".to_owned()]).unwrap();
        deployed(
            params.self_signed(&key).unwrap().pem(),
            &key.serialize_pem(),
        )
    };
    let shop = || of(&issue(&SHOP));
    let unreadable = || deployed(String::new(), "");
    for (scheduled, changed, before, expected) in [
        (true, Some(599), shop(), None),
        (true, Some(600), shop(), None),
        (true, Some(601), shop(), Some("for 10 minutes")),
        (true, Some(660), shop(), Some("for 11 minutes")),
        (true, None, shop(), None),
        (false, Some(660), shop(), None),
        (true, Some(660), placeholder(), None),
        (true, Some(660), unreadable(), None),
    ] {
        let case = Case {
            task: Task {
                scheduled,
                ..task()
            },
            changed,
            deployed: before,
            ..Case::new(&RENEWED)
        };
        let finding = case.attempt(|attempt| attempt.missed_event());
        assert_eq!(
            finding.is_some(),
            expected.is_some(),
            "{scheduled} {changed:?}"
        );
        if let (Some(finding), Some(expected)) = (finding, expected) {
            assert_eq!(finding.reason, Reason::EventMissed);
            assert!(finding.message.contains(expected), "{}", finding.message);
        }
    }
}

#[test]
fn what_becomes_of_a_target() {
    let older = Spec {
        valid: (-20, 70),
        serial: 2,
        ..SHOP
    };
    let renewed = || Case::new(&RENEWED);
    let would = (Action::WouldReplace, None);
    // it would be written, but the run is over
    let written = (Action::Failed, Some(Reason::Interrupted));
    for (hold, dry_run, version, expected) in [
        (false, false, Version::Current, written),
        (false, true, Version::Current, would),
        (true, false, Version::Current, would),
        (true, true, Version::Current, would),
        // an undo ignores a hold
        (true, false, Version::Previous, written),
        (true, true, Version::Previous, would),
    ] {
        let mut case = Case {
            dry_run,
            version,
            ..renewed()
        };
        case.task.hold = hold;
        assert_eq!(case.run(false), expected, "{hold} {dry_run} {version}");
        assert_eq!(
            case.attempt(|attempt| attempt.held()),
            hold && version == Version::Current
        );
    }
    let one_name = Spec {
        names: &["shop.example.com"],
        ..RENEWED
    };
    // no name may be lost, and nobody can be asked: the run is over
    assert_eq!(Case::new(&one_name).run(false), written);
    // nor may it be older, except for an undo
    for (version, expected) in [(Version::Current, written), (Version::Previous, would)] {
        let case = Case {
            dry_run: true,
            version,
            ..Case::new(&older)
        };
        assert_eq!(case.run(false), expected, "{version}");
    }

    // an earlier write may have taken effect
    let issued = issue(&RENEWED);
    let same = |key: &str| Case {
        deployed: deployed(format!("{}{}", issued.leaf, issued.issuer), key),
        bundle: bundle(&issued, true),
        ..renewed()
    };
    let unchanged = (Action::Unchanged, None);
    let replaced = (Action::Replaced, None);
    let key = bundle(&issued, true).key_pem;
    assert_eq!(same(key.expose()).run(false), unchanged);
    assert_eq!(same(key.expose()).run(true), replaced);
    assert_eq!(same("").run(false), written);
    assert_eq!(same("").run(true), replaced);
    assert_eq!(renewed().run(true), written);
}

#[test]
fn what_an_answer_to_the_write_means() {
    let (old, new) = (issue(&SHOP), issue(&RENEWED));
    let shown = |issued: &Issued, key: &str| {
        Ok(Some(TlsSecret {
            name: None,
            project_id: None,
            format: "tls".to_owned(),
            generated_by: None,
            certificate: format!("{}{}", issued.leaf, issued.issuer),
            key: Secret::from(key.to_owned()),
            entity_tag: None,
        }))
    };
    let status = |status| {
        Err(ApiError::Status {
            status,
            code: None,
            text: format!("{status} as answered"),
            retry_after: Some(seconds(7)),
        })
    };
    let stopped = |fate| {
        let error = error!(Reason::Interrupted, "interrupted");
        Err(ApiError::Stopped { error, fate })
    };
    let unanswered = || {
        Err(ApiError::Unanswered {
            cause: "no answer".to_owned(),
            unreachable: false,
            temporary: true,
        })
    };
    let (refused, conflict) = (Reason::CodeEngineRefused, Reason::WriteConflict);
    let (forbidden, down) = (Reason::CodeEngineForbidden, Reason::CodeEngineUnavailable);
    // done; look again for this reason, after this wait; or failed for this reason
    let done = Ok(None);
    let again = |reason, wait: Option<u64>| Ok(Some((reason, wait.map(seconds))));
    for (answer, expected) in [
        (shown(&new, &new.key), done),
        (shown(&new, "********"), done),
        (shown(&old, &old.key), again(refused, None)),
        (shown(&new, &old.key), again(refused, None)),
        (shown(&old, "********"), again(refused, None)),
        (Ok(None), again(refused, None)),
        (status(409), again(conflict, None)),
        (status(412), again(conflict, None)),
        (status(408), again(down, Some(7))),
        (status(429), again(down, Some(7))),
        (status(500), again(down, Some(7))),
        (status(501), again(down, Some(7))),
        (status(503), again(down, Some(7))),
        (unanswered(), again(down, None)),
        (
            Err(ApiError::Unexpected(anyhow::anyhow!("odd"))),
            again(down, None),
        ),
        (status(400), Err(refused)),
        (status(401), Err(forbidden)),
        (status(403), Err(forbidden)),
        (status(404), Err(Reason::TlsSecretMissing)),
        (
            Err(ApiError::NoToken(TokenError::Refused("no".to_owned()))),
            Err(Reason::IamRefused),
        ),
        (stopped(Fate::Rejected), Err(Reason::Interrupted)),
        (stopped(Fate::Unknown(None)), Err(Reason::Interrupted)),
    ] {
        let case = Case {
            bundle: bundle(&new, true),
            ..Case::new(&RENEWED)
        };
        let text = format!("{answer:?}");
        let found = case.attempt(|attempt| attempt.judge(answer));
        let found = found
            .map(|unconfirmed| unconfirmed.map(|u| (u.reason, u.wait)))
            .map_err(|error| error.reason);
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_refusal_that_can_be_overridden_has_the_command() {
    for (reason, named_by_event, expected) in [
        (
            Reason::Older,
            false,
            Some(
                "ibmcloud ce jobrun submit --job sync --env SECRET_ID=2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852 --env FORCE=older",
            ),
        ),
        (Reason::Older, true, None),
        (Reason::Interrupted, false, None),
        (Reason::Interrupted, true, None),
    ] {
        let mut case = Case::new(&RENEWED);
        case.task.named_by_event = named_by_event;
        let error = case.attempt(|attempt| attempt.with_force(error!(reason, "no")));
        assert_eq!(
            error.command.as_deref(),
            expected,
            "{reason} {named_by_event}"
        );
    }
    // an attempt that is refused shows it
    let private = Spec {
        public: false,
        ..RENEWED
    };
    let public = issue(&Spec {
        public: true,
        ..SHOP
    });
    let case = Case {
        deployed: of(&public),
        ..Case::new(&private)
    };
    let outcome = case.attempt(|attempt| attempt.run().ok().unwrap().outcome);
    assert_eq!(outcome.action, Action::Refused);
    assert_eq!(outcome.reason, Some(Reason::LessTrusted));
    assert!(outcome.command.unwrap().ends_with("FORCE=less-trusted"));
}

#[test]
fn the_report_of_a_target() {
    let case = Case::new(&RENEWED);
    let sha256 = |deployed: &Deployed| deployed.leaf().map(Certificate::sha256);
    for (action, in_line, written) in [
        (Action::Replaced, true, true),
        (Action::Unchanged, true, false),
        (Action::WouldReplace, false, false),
        (Action::Failed, false, false),
    ] {
        let finding = Error::new(Reason::Older, "forced");
        let Target {
            outcome, synced, ..
        } = case.attempt(|attempt| {
            let target = attempt.target(action, "now holds", vec![finding]);
            Target {
                position: 0,
                task: &case.task,
                outcome: target.outcome,
                synced: target.synced,
            }
        });
        assert_eq!(outcome.action, action);
        assert_eq!(outcome.secret_name.as_deref(), Some("shop"));
        assert_eq!(outcome.tls_secret.as_deref(), Some("shop-tls"));
        assert_eq!(outcome.attempts, Some(3));
        assert_eq!(outcome.findings[0].reason, Reason::Older);
        assert_eq!(outcome.findings.len(), 1);
        assert!(outcome.message.starts_with(
            "TLS secret shop-tls now holds certificate shop (serial 02, valid until "
        ));
        assert!(outcome.message.ends_with(", 2 certificates)"));
        assert!(outcome.from.is_some() && outcome.to.is_some());
        assert_eq!(synced.is_some(), in_line, "{action:?}");
        let replaced = synced.and_then(|synced| {
            assert_eq!(synced.leaf.der, case.bundle.leaf.der);
            assert_eq!(synced.chain_sha256, case.bundle.chain_sha256());
            Some(synced.replaced.as_ref()?.leaf.clone())
        });
        assert_eq!(
            replaced,
            written.then(|| sha256(&case.deployed)),
            "{action:?}"
        );
    }
}

#[test]
fn a_failure_names_the_tls_secret_once() {
    let case = Case::new(&RENEWED);
    for (text, expected) in [
        ("no", "TLS secret shop-tls: no"),
        ("shop-tls is missing", "shop-tls is missing"),
    ] {
        let error = error!(Reason::TlsSecretMissing, "{text}");
        let outcome = case.attempt(|attempt| attempt.failed(&error).outcome);
        assert_eq!(outcome.message, expected);
        assert_eq!(outcome.reason, Some(Reason::TlsSecretMissing));
        assert_eq!(outcome.action, Action::Failed);
        assert!(outcome.from.is_some() && outcome.to.is_some());
    }
}

#[test]
fn a_hold_and_an_undo_are_findings() {
    let would = "the next event or daily run would change nothing: interrupted by SIGTERM";
    for (hold, version, action, expected) in [
        (false, Version::Current, Action::WouldReplace, None),
        (
            true,
            Version::Current,
            Action::WouldReplace,
            Some((Reason::Held, "is on hold")),
        ),
        (false, Version::Previous, Action::Failed, None),
        (
            false,
            Version::Previous,
            Action::Replaced,
            Some((Reason::Undone, "set HOLD=true")),
        ),
        (
            true,
            Version::Previous,
            Action::Replaced,
            Some((Reason::Undone, "once it is released")),
        ),
    ] {
        let mut case = Case {
            version,
            ..Case::new(&RENEWED)
        };
        case.task.hold = hold;
        let findings = case.attempt(|attempt| {
            attempt
                .target(action, "now holds", Vec::new())
                .outcome
                .findings
        });
        let found = findings.first().map(|finding| finding.reason);
        assert_eq!(
            found,
            expected.map(|(code, _)| code),
            "{hold} {version} {action:?}"
        );
        if let (Some(finding), Some((code, text))) = (findings.first(), expected) {
            assert!(finding.message.contains(text), "{}", finding.message);
            assert_eq!(finding.message.contains(would), code == Reason::Undone);
        }
    }
}

#[test]
fn a_pending_order_is_no_failure_if_the_secret_was_just_created() {
    for (reason, just_created, action, findings) in [
        (Reason::NotIssued, true, Action::Ignored, 1),
        (Reason::NotIssued, false, Action::Refused, 0),
        (Reason::Expired, true, Action::Refused, 0),
        (Reason::SecretMissing, true, Action::Failed, 0),
    ] {
        let mut task = task();
        task.just_created = just_created;
        let Target {
            outcome, synced, ..
        } = unfit(0, &task, &of(&issue(&SHOP)), &error!(reason, "no"));
        assert_eq!(outcome.action, action, "{reason} {just_created}");
        assert_eq!(outcome.reason, Some(reason));
        assert_eq!(outcome.tls_secret.as_deref(), Some("shop-tls"));
        assert!(outcome.message.starts_with("no"), "{}", outcome.message);
        assert_eq!(
            outcome.message.contains("another event follows"),
            findings == 1
        );
        assert_eq!(outcome.findings.len(), findings);
        assert!(outcome.from.is_some() && synced.is_none());
    }
}

#[test]
fn the_first_attempt_is_the_first() {
    let task = task();
    let current = Ok(Current {
        bundle: bundle(&issue(&RENEWED), true),
        updated_at: None,
    });
    without_calls(
        |config| config.dry_run = true,
        |run| {
            let deployed = of(&issue(&SHOP));
            assert!(matches!(deployed.serves(now()), Serves::Yes(_)));
            let target = replace(run, 0, &task, deployed, &current);
            assert_eq!(target.outcome.action, Action::WouldReplace);
            assert_eq!(target.outcome.attempts, Some(1));
            let missing = Err(error!(Reason::SecretMissing, "no"));
            let target = replace(run, 0, &task, of(&issue(&SHOP)), &missing);
            assert_eq!(target.outcome.reason, Some(Reason::SecretMissing));
        },
    );
}
