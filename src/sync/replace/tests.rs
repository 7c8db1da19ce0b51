//! What becomes of a target, and what an answer to a write means, as truth tables. Nothing is sent:
//! there is no token.

use super::*;
use crate::cert::samples::{NOW, maker};
use crate::config::Config;
use crate::sync::deployed::Serves;
use crate::sync::samples::{
    Issued, RENEWED, SHOP, Spec, bundle, deployed, issue, task, tls_secret, without_calls,
};

/// A target, and what the run knows of it.
struct Case {
    task: Task,
    deployed: Deployed,
    bundle: Bundle,
    version: Version,
    dry_run: bool,
    force: Vec<Reason>,
}

fn of(issued: &Issued) -> Deployed {
    deployed(format!("{}{}", issued.leaf, issued.issuer), &issued.key)
}

/// [`SHOP`].
fn old() -> Deployed {
    of(&issue(&SHOP))
}

impl Case {
    /// [`SHOP`] is deployed, and this is new.
    fn new(new: &Spec) -> Self {
        Self {
            task: task(),
            deployed: old(),
            bundle: bundle(&issue(new), true),
            version: Version::Current,
            dry_run: false,
            force: Vec::new(),
        }
    }

    fn attempt<R>(&self, work: impl FnOnce(&Attempt<'_, '_>) -> R) -> R {
        self.attempt_in_doubt(false, work)
    }

    fn attempt_in_doubt<R>(&self, doubt: bool, work: impl FnOnce(&Attempt<'_, '_>) -> R) -> R {
        let change = |config: &mut Config| {
            config.settings.version = self.version;
            config.settings.dry_run = self.dry_run;
            config.settings.force.clone_from(&self.force);
        };
        without_calls(change, |run| {
            let before = doubt.then(old);
            let failures = Failures { count: 2, before };
            let known = self.task.outcome(Action::Failed);
            run.progress.plan(vec![known], Vec::new());
            work(&Attempt {
                run,
                task: &self.task,
                deployed: &self.deployed,
                bundle: &self.bundle,
                failures: &failures,
            })
        })
    }

    /// Action of an attempt, or why it failed; `doubt`: an earlier write may have taken effect.
    fn run(&self, doubt: bool) -> Result<Action, Reason> {
        self.attempt_in_doubt(doubt, |attempt| match attempt.run() {
            Ok((action, _)) => Ok(action),
            Err(Failure::Final(error)) => Err(error.reason),
            Err(failure) => panic!("{failure:?}"),
        })
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn how_long_to_wait_before_the_next_attempt() {
    let conflict = || Failure::Conflict("somebody wrote".to_owned());
    let unclear = |asked: Option<u64>| {
        let reason = Reason::CodeEngineUnavailable;
        Failure::Unclear(reason, "no answer".to_owned(), asked.map(seconds))
    };
    let mut failures = Failures::default();
    for (failure, count, in_doubt, wait) in [
        (conflict(), 1, false, 0),
        (unclear(None), 2, true, 2),
        (conflict(), 3, true, 0),
        (unclear(None), 4, true, 4),
    ] {
        assert_eq!(failures.add(failure, old()).unwrap(), seconds(wait));
        let told = failures.in_doubt(Reason::Interrupted.error("no")).message;
        assert_eq!(failures.count, count);
        assert_eq!(told.contains("it is unknown whether"), in_doubt, "{count}");
    }
    // what the service asks for, neither less than the shortest wait nor half a minute
    for (asked, expected) in [(None, 1), (Some(0), 1), (Some(2), 2), (Some(29), 29), (Some(30), 1)]
    {
        let wait = Failures::default().add(unclear(asked), old());
        assert_eq!(wait.unwrap(), seconds(expected), "{asked:?}");
    }
}

#[test]
fn the_fifth_attempt_is_the_last_and_decides_the_reason() {
    let failure = |unclear| match unclear {
        true => Failure::Unclear(Reason::CodeEngineUnavailable, "503".to_owned(), None),
        false => Failure::Conflict("412".to_owned()),
    };
    for (first, last, reason, told) in [
        (false, false, Reason::WriteConflict, "the last one: 412"),
        (
            false,
            true,
            Reason::CodeEngineUnavailable,
            "the last one: 503; a write had no clear answer, so it is unknown",
        ),
        (true, false, Reason::WriteConflict, "the last one: 412"),
    ] {
        let mut failures = Failures::default();
        for _ in 0..4 {
            assert!(failures.add(failure(first), old()).is_ok());
        }
        let error = failures.add(failure(last), old());
        let error = failures.in_doubt(error.unwrap_err());
        assert_eq!(error.reason, reason);
        assert!(error.message.contains(told), "{error}");
    }
    let refused = Failure::Final(Reason::Older.error("no"));
    let error = Failures::default().add(refused, old()).unwrap_err();
    assert_eq!(error.reason, Reason::Older);
}

#[test]
fn an_event_is_missed_after_ten_minutes() {
    let placeholder = || {
        let placeholder = maker().make("shop < shop");
        deployed(placeholder.pem, &placeholder.key)
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
        let mut case =
            Case { task: Task { scheduled, ..task() }, deployed: before, ..Case::new(&RENEWED) };
        case.bundle.updated_at = changed.map(|seconds| {
            rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(
                NOW.as_secs() - seconds,
            ))
        });
        let finding = case.attempt(|attempt| attempt.missed_event());
        assert_eq!(finding.is_some(), expected.is_some(), "{scheduled} {changed:?}");
        if let (Some(finding), Some(expected)) = (finding, expected) {
            assert_eq!(finding.reason, Reason::EventMissed);
            assert!(finding.message.contains(expected), "{}", finding.message);
        }
    }
}

#[test]
fn what_becomes_of_a_target() {
    let older = Spec { valid: (-20, 70), serial: 2, ..SHOP };
    let renewed = || Case::new(&RENEWED);
    let would = Ok(Action::WouldReplace);
    // it would be written, but nothing is sent without an entity tag
    let written = Err(Reason::Defect);
    for (hold, dry_run, version, expected) in [
        (false, false, Version::Current, written),
        (false, true, Version::Current, would),
        (true, false, Version::Current, would),
        (true, true, Version::Current, would),
        // an undo ignores a hold
        (true, false, Version::Previous, written),
        (true, true, Version::Previous, would),
    ] {
        let mut case = Case { dry_run, version, ..renewed() };
        case.task.target.hold = hold;
        assert_eq!(case.run(false), expected, "{hold} {dry_run} {version:?}");
        assert_eq!(
            case.attempt(|attempt| attempt.run.holds(attempt.task)),
            hold && version == Version::Current
        );
    }
    let one_name = Spec { names: &["shop.example.com"], ..RENEWED };
    // no name may be lost, and nobody can be asked for mappings
    assert_eq!(Case::new(&one_name).run(false), Err(Reason::NamesLost));
    // nor may it be older, except for an undo
    let refused = Err(Reason::Older);
    for (version, expected) in [(Version::Current, refused), (Version::Previous, would)] {
        let case = Case { dry_run: true, version, ..Case::new(&older) };
        assert_eq!(case.run(false), expected, "{version:?}");
    }

    // an earlier write may have taken effect
    let issued = issue(&RENEWED);
    let same = |key: &str| Case {
        deployed: deployed(format!("{}{}", issued.leaf, issued.issuer), key),
        bundle: bundle(&issued, true),
        ..renewed()
    };
    let unchanged = Ok(Action::Unchanged);
    let replaced = Ok(Action::Replaced);
    let key = bundle(&issued, true).key_pem;
    assert_eq!(same(key.expose()).run(false), unchanged);
    assert_eq!(same(key.expose()).run(true), replaced);
    assert_eq!(same("").run(false), written);
    assert_eq!(same("").run(true), replaced);
    assert_eq!(renewed().run(true), written);
    // then what it replaced is what was there before, and not what is there now
    for (doubt, expected) in [(false, "02"), (true, "01")] {
        let case = same(key.expose());
        let (leaf, from) = case.attempt_in_doubt(doubt, |attempt| {
            let before = attempt.settle(Action::Replaced, Vec::new()).unwrap().replaced;
            attempt.run.progress.seen(0);
            let outcome = attempt.run.progress.outcomes().targets.remove(0);
            (before.unwrap().leaf, serde_json::to_value(outcome.from).unwrap())
        });
        assert_eq!(from["serial"], expected);
        assert_eq!(from["sha256"], leaf.unwrap());
    }
}

#[test]
fn what_an_answer_to_the_write_means() {
    let (old, new) = (issue(&SHOP), issue(&RENEWED));
    let shown = |issued: &Issued, key: &str| {
        let chain = format!("{}{}", issued.leaf, issued.issuer);
        Ok(Some(tls_secret(chain, key)))
    };
    let status = |status| {
        Err(ApiError {
            retry_after: Some(seconds(7)),
            ..ApiError::answered(status, format!("{status} as answered"))
        })
    };
    let unanswered = || Err(ApiError { temporary: true, ..ApiError::unexpected("no answer") });
    let (refused, conflict) = (Reason::CodeEngineRefused, Reason::WriteConflict);
    let (forbidden, down) = (Reason::CodeEngineForbidden, Reason::CodeEngineUnavailable);
    // done; look again for this reason, after this wait; or failed for this reason
    let again = |reason, wait: Option<u64>| Err((reason, wait.map(seconds), true));
    let last = |reason| Err((reason, None, false));
    for (answer, expected) in [
        (shown(&new, &new.key), Ok(())),
        (shown(&new, "********"), Ok(())),
        (shown(&old, &old.key), again(refused, None)),
        (shown(&new, &old.key), again(refused, None)),
        (shown(&old, "********"), again(refused, None)),
        (Ok(None), again(refused, None)),
        (status(409), again(conflict, None)),
        (status(412), again(conflict, None)),
        (status(408), again(down, Some(7))),
        (status(429), again(down, Some(7))),
        (status(500), again(down, Some(7))),
        (status(503), again(down, Some(7))),
        (unanswered(), again(down, None)),
        (Err(ApiError::unexpected("odd")), again(down, None)),
        (status(400), last(refused)),
        (status(401), last(forbidden)),
        (status(403), last(forbidden)),
        (status(404), last(Reason::TlsSecretMissing)),
        (Err(ApiError::from(Reason::IamRefused.error("no"))), last(Reason::IamRefused)),
    ] {
        let case = Case { bundle: bundle(&new, true), ..Case::new(&RENEWED) };
        let text = format!("{answer:?}");
        let found = case.attempt(|attempt| attempt.meaning(answer));
        let found = found.map_err(|failure| match failure {
            Failure::Final(error) => (error.reason, None, false),
            Failure::Conflict(_) => (conflict, None, true),
            Failure::Unclear(reason, _, wait) => (reason, wait, true),
        });
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
                "ibmcloud ce jobrun submit --job sync --env SECRET_ID=2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852 --env FORCE=older --env OUTPUT=text",
            ),
        ),
        (Reason::Older, true, None),
        (Reason::Interrupted, false, None),
        (Reason::Interrupted, true, None),
    ] {
        let mut case = Case::new(&RENEWED);
        if named_by_event {
            case.task.target.secret = None;
        }
        let error = case.attempt(|attempt| attempt.with_force(reason.error("no")));
        assert_eq!(error.command.as_deref(), expected, "{reason} {named_by_event}");
    }
    // for the same version, and with what is overridden already
    let undo = Case { version: Version::Previous, ..Case::new(&RENEWED) };
    let undo = Case { force: vec![Reason::NamesLost], ..undo };
    let error = undo.attempt(|attempt| attempt.with_force(Reason::Older.error("no")));
    let both = " --env FORCE=names-lost,older --env SECRET_VERSION=previous --env OUTPUT";
    assert!(error.command.as_ref().unwrap().contains(both), "{error:?}");
    // an attempt that is refused shows it
    let private = Spec { public: false, ..RENEWED };
    let public = issue(&Spec { public: true, ..SHOP });
    let case = Case { deployed: of(&public), ..Case::new(&private) };
    let failure = case.attempt(|attempt| attempt.run().unwrap_err());
    let Failure::Final(error) = failure else { panic!("{failure:?}") };
    assert_eq!(error.reason, Reason::LessTrusted);
    assert!(error.command.unwrap().contains("FORCE=less-trusted "));
}

#[test]
fn the_report_of_a_target() {
    let case = Case::new(&RENEWED);
    for (action, verb, written) in [
        (Action::Replaced, "now holds", Some(true)),
        (Action::Unchanged, "already holds", Some(false)),
        (Action::WouldReplace, "would be updated to", None),
    ] {
        let finding = Reason::Older.error("forced");
        let outcome = case.attempt(|attempt| {
            let up_to_date = attempt.settle(action, vec![finding]);
            assert_eq!(up_to_date.is_some(), written.is_some(), "{action:?}");
            if let Some(UpToDate { leaf, chain_sha256, replaced, .. }) = up_to_date {
                assert_eq!(leaf.der, case.bundle.leaf.der);
                assert_eq!(chain_sha256, super::chain_sha256(case.bundle.chain()));
                let before = replaced.map(|replaced| replaced.leaf);
                let expected = case.deployed.leaf().map(Certificate::sha256);
                assert_eq!(before, (written == Some(true)).then_some(expected));
                attempt.run.progress.seen(0);
            }
            attempt.run.progress.outcomes().targets.remove(0)
        });
        assert_eq!(outcome.action, action);
        assert_eq!(outcome.secret_name.as_deref(), Some("shop"));
        assert_eq!(outcome.tls_secret.as_deref(), Some("shop-tls"));
        assert_eq!(outcome.attempts, Some(3));
        assert_eq!(outcome.findings[0].reason, Reason::Older);
        assert_eq!(outcome.findings.len(), 1);
        let told = format!("TLS secret shop-tls {verb} certificate shop (serial 02, valid until ");
        assert!(outcome.message.starts_with(&told), "{}", outcome.message);
        assert!(outcome.message.ends_with(", 2 certificates)"));
        assert!(outcome.from.is_some() && outcome.to.is_some());
    }
}

#[test]
fn a_failure_names_the_tls_secret_once() {
    for (text, expected) in
        [("no", "TLS secret shop-tls: no"), ("shop-tls is missing", "shop-tls is missing")]
    {
        let error = Reason::TlsSecretMissing.error(text);
        let known = Outcome { attempts: Some(2), ..Outcome::default() };
        let outcome = failed(&task(), known, &error);
        assert_eq!(outcome.message, expected);
        assert_eq!(outcome.reason, Some(Reason::TlsSecretMissing));
        assert_eq!(outcome.action, Action::Failed);
        assert_eq!(outcome.attempts, Some(2));
    }
}

#[test]
fn a_hold_and_an_undo_are_findings() {
    let next = "the next event or daily run deploys the current version again";
    for (hold, version, action, expected) in [
        (false, Version::Current, Action::WouldReplace, None),
        (true, Version::Current, Action::WouldReplace, Some((Reason::Held, "is on hold"))),
        (false, Version::Previous, Action::Failed, None),
        (false, Version::Previous, Action::Replaced, Some((Reason::Undone, "set HOLD=true"))),
        (true, Version::Previous, Action::Replaced, Some((Reason::Undone, "set HOLD=true"))),
    ] {
        let mut case = Case { version, ..Case::new(&RENEWED) };
        case.task.target.hold = hold;
        let findings = case.attempt(|attempt| attempt.outcome(action, Vec::new()).findings);
        let found = findings.first().map(|finding| finding.reason);
        assert_eq!(found, expected.map(|(code, _)| code), "{hold} {version:?} {action:?}");
        if let (Some(finding), Some((code, text))) = (findings.first(), expected) {
            assert!(finding.message.contains(text), "{}", finding.message);
            assert_eq!(finding.message.contains(next), code == Reason::Undone);
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
        let known = task.outcome(Action::Failed);
        let outcome = failed(&task, known, &reason.error("no"));
        assert_eq!(outcome.action, action, "{reason} {just_created}");
        assert_eq!(outcome.reason, Some(reason));
        assert_eq!(outcome.tls_secret.as_deref(), Some("shop-tls"));
        assert_eq!(outcome.message.contains("another event follows"), findings == 1);
        assert_eq!(outcome.findings.len(), findings);
    }
}

#[test]
fn the_first_attempt_is_the_first() {
    let task = task();
    let current = Ok(bundle(&issue(&RENEWED), true));
    without_calls(
        |config| config.settings.dry_run = true,
        |run| {
            let deployed = of(&issue(&SHOP));
            assert!(matches!(deployed.serves(NOW), Serves::Yes(_)));
            let replaced = |deployed, current: &Result<Bundle, Error>| {
                let known = task.outcome(Action::Failed);
                run.progress.plan(vec![known], Vec::new());
                assert!(replace(run, &task, deployed, current).is_none());
                run.progress.outcomes().targets.remove(0)
            };
            let outcome = replaced(deployed, &current);
            assert_eq!(outcome.action, Action::WouldReplace);
            assert_eq!(outcome.attempts, Some(1));
            let missing = Err(Reason::SecretMissing.error("no"));
            let outcome = replaced(of(&issue(&SHOP)), &missing);
            assert_eq!(outcome.reason, Some(Reason::SecretMissing));
        },
    );
}
