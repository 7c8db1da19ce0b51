//! Step 4, replace: compare with what is deployed, rehearse, write, confirm; again after a conflict
//! or an unclear answer.
//!
//! The entity tag is always read before the certificate. If anybody writes in between, the PUT fails
//! and both are read again: so no interleaving of runs and rotations leaves an older certificate
//! behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cert::certificate::{Certificate, chain_sha256, rfc3339};
use crate::error::{Error, Reason};
use crate::ibm::api_error::{ApiError, Fate};
use crate::ibm::code_engine::TlsSecret;
use crate::ibm::secrets_manager::Version;
use crate::progress::Stage;
use crate::report::{Action, Leaf, Outcome};
use crate::sync::Run;
use crate::sync::assemble::Bundle;
use crate::sync::compare::{Comparison, Decision, compare, expires_soon, faults};
use crate::sync::deployed::{Deployed, read_deployed};
use crate::sync::validate::Task;
use crate::workers::pause;

/// How often a target is read, decided and written.
const MOST_ATTEMPTS: u32 = 5;
/// The shortest wait after a write of unknown fate, times the number of the attempt.
const AFTER_DOUBT: Duration = Duration::from_secs(1);
/// The longest wait that a service may ask for after such a write.
const LONGEST_DOUBT: Duration = Duration::from_secs(30);
/// What comes after an undo: the current version is still there.
const AFTER_UNDO: &str = "the next event or daily run deploys the current version again, unless the target is on hold: set HOLD=true (in TARGETS: \"hold\") until Secrets Manager holds a good version";
/// An event arrives within minutes: what a scheduled run finds older than this, in seconds, was missed.
const MISSED: u64 = 10 * 60;

/// A target whose TLS secret holds this certificate, and whose effect is to be seen.
pub(crate) struct UpToDate<'a> {
    pub(crate) task: &'a Task,
    pub(crate) leaf: Arc<Certificate>,
    /// The SHA-256 digest of the whole chain, lower-case hex.
    pub(crate) chain_sha256: String,
    /// The write, if this run did it.
    pub(crate) replaced: Option<Replaced>,
}

/// A write of this run.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// SHA-256 of the leaf that was deployed before, lower-case hex, if it could be read.
    pub(crate) leaf: Option<String>,
    /// When the write was confirmed.
    pub(crate) at: Instant,
}

/// Brings one target up to date, given what was read of the TLS secret first, and of its certificate
/// second; settles its outcome. `None`: there is no effect to be seen.
pub(crate) fn replace<'a>(
    run: &Run<'_>,
    task: &'a Task,
    deployed: Deployed,
    current: &Result<Bundle, Error>,
) -> Option<UpToDate<'a>> {
    let mut failures = Failures::default();
    let mut read = current.clone().map(|bundle| (deployed, bundle));
    loop {
        let (deployed, bundle) = match read {
            Ok(read) => read,
            Err(error) => {
                fail(run, task, &failures.in_doubt(error));
                return None;
            }
        };
        let completed = bundle.completed(&deployed.certificates, run.now);
        let bundle = completed.unwrap_or(bundle);
        let attempt =
            Attempt { run, task, deployed: &deployed, bundle: &bundle, failures: &failures };
        attempt.tell();
        let failure = match attempt.run() {
            Ok((action, findings)) => return attempt.settle(action, findings),
            Err(failure) => failure,
        };
        read = failures.add(failure, deployed).and_then(|wait| {
            pause(wait);
            // what is deployed first, the certificate second
            let deployed = read_deployed(run, &task.target.tls_secret)?;
            Ok((deployed, run.fetch_and_assemble(&task.secret)?))
        });
    }
}

/// The target could not be brought up to date: settles what is known of it.
pub(crate) fn fail(run: &Run<'_>, task: &Task, error: &Error) {
    settle(run, task, 0, |known| failed(task, known, error));
}

fn failed(task: &Task, known: Outcome, error: &Error) -> Outcome {
    if error.reason == Reason::NotIssued && task.just_created {
        let finding = error.clone().hint("another event follows when it is");
        let mut outcome = known.failed(&finding);
        outcome.action = Action::Ignored;
        outcome.findings.push(finding);
        return outcome;
    }
    let name = task.target.tls_secret.name.to_string();
    if error.message.contains(&name) {
        return known.failed(error);
    }
    known.failed(&error.clone().context(format_args!("TLS secret {name}")))
}

/// Whatever happens to the run from now on, this is what became of the target, apart from so many effects
/// that are still to be seen.
fn settle(run: &Run<'_>, task: &Task, effects: usize, outcome: impl FnOnce(Outcome) -> Outcome) {
    const PUBLIC: &str = "the token came from IAM's public endpoint, because the private one could not be reached; set IAM_URL to choose one explicitly";
    run.progress.settle(task.position, effects, |known| {
        let mut outcome = outcome(known);
        if run.iam.used_public() {
            outcome.findings.push(Reason::IamPublic.error(PUBLIC));
        }
        outcome
    });
}

/// Why an attempt did not bring the target up to date.
#[derive(Debug)]
enum Failure {
    /// Another attempt would end the same way.
    Final(Error),
    /// Somebody else wrote meanwhile; the write had no effect.
    Conflict(String),
    /// The write may have taken effect: the reason if no attempt is left, the cause, and the wait that
    /// the service asked for.
    Unclear(Reason, String, Option<Duration>),
}

/// The attempts of one target that were not the last.
#[derive(Default)]
struct Failures {
    count: u32,
    /// What the last write that may have taken effect was to replace.
    before: Option<Deployed>,
}

impl Failures {
    /// Counts one more, which met what was `deployed`, and returns how long to wait before the next.
    ///
    /// # Errors
    /// There is no next one. What kept the last one from succeeding decides the reason.
    fn add(&mut self, failure: Failure, deployed: Deployed) -> Result<Duration, Error> {
        self.count += 1;
        let gave_up = format!("gave up after {MOST_ATTEMPTS} attempts, the last one: ");
        match failure {
            Failure::Final(error) => Err(error),
            Failure::Conflict(_) if self.count < MOST_ATTEMPTS => Ok(Duration::ZERO),
            Failure::Conflict(cause) => Err(Reason::WriteConflict.error(gave_up + &cause)),
            Failure::Unclear(reason, cause, asked) => {
                log::warn!("{cause}; reading the TLS secret again to find out");
                self.before = Some(deployed);
                if self.count == MOST_ATTEMPTS {
                    return Err(reason.error(gave_up + &cause));
                }
                let asked = asked.filter(|asked| *asked < LONGEST_DOUBT);
                Ok(asked.unwrap_or_default().max(AFTER_DOUBT * self.count))
            }
        }
    }

    /// What is not known if `error` ends the attempts.
    fn in_doubt(&self, error: Error) -> Error {
        const UNKNOWN: &str = "a write had no clear answer, so it is unknown whether the TLS secret holds the new certificate; the next run finds out";
        match self.before {
            Some(_) => error.hint(UNKNOWN),
            None => error,
        }
    }
}

/// One attempt to bring a target up to date.
struct Attempt<'a, 'b> {
    run: &'b Run<'b>,
    task: &'a Task,
    deployed: &'b Deployed,
    bundle: &'b Bundle,
    /// The attempts before.
    failures: &'b Failures,
}

impl<'a> Attempt<'a, '_> {
    /// What a write of an earlier attempt replaced, if it took effect.
    fn replaced(&self) -> Option<&Deployed> {
        let before = self.failures.before.as_ref();
        before.filter(|_| self.deployed.shows(self.bundle))
    }

    /// What was deployed before the run wrote anything.
    fn before(&self) -> &Deployed {
        self.replaced().unwrap_or(self.deployed)
    }

    /// Compares, rehearses, writes and confirms.
    fn run(&self) -> Result<(Action, Vec<Error>), Failure> {
        // what is done cannot be refused
        if self.replaced().is_some() {
            return Ok((Action::Replaced, self.missed_event().into_iter().collect()));
        }
        let refused = |error| Failure::Final(self.with_force(error));
        let decision = self.decide().map_err(refused)?;
        let Decision::Write(mut findings) = decision else {
            return Ok((Action::Unchanged, Vec::new()));
        };
        let certificate_pem = self.bundle.certificate_pem();
        let limit = self.bundle.rehearse(&certificate_pem, self.run.now);
        findings.extend(limit.map_err(Failure::Final)?);
        if self.run.config.settings.dry_run || self.run.holds(self.task) {
            return Ok((Action::WouldReplace, findings));
        }
        self.write(&certificate_pem)?;
        findings.extend(self.missed_event());
        Ok((Action::Replaced, findings))
    }

    /// Compares; asks for further facts only if the comparison does, which is seldom.
    fn decide(&self) -> Result<Decision, Error> {
        let Self { run, task, .. } = self;
        compare(&Comparison {
            deployed: self.deployed,
            bundle: self.bundle,
            named_by_event: task.target.secret.is_none(),
            undo: run.config.settings.version == Version::Previous,
            force: &run.config.settings.force,
            further_roots: &run.config.settings.further_roots,
            now: run.now,
            domains: &|| run.domains(&task.target.tls_secret),
            previous_serial: &|| run.secrets_manager.previous_serial(&task.secret),
        })
    }

    /// What a run that ends now can say of the target.
    fn tell(&self) {
        let mut known = self.outcome(Action::Failed, Vec::new());
        known.message.clear();
        let (progress, position) = (self.run.progress, self.task.position);
        progress.know(position, |outcome| *outcome = known);
        progress.step(position, "comparing with what is deployed");
    }

    /// Sends the PUT.
    fn write(&self, certificate_pem: &str) -> Result<(), Failure> {
        // a TLS secret without one is refused when it is read
        let entity_tag = self.deployed.entity_tag.as_ref();
        let entity_tag = entity_tag.ok_or_else(|| Failure::Final(Error::defect()))?;
        let (run, task, key) = (self.run, self.task, &self.bundle.key_pem);
        run.progress.begin_write(task.position);
        let (place, code_engine) = (&task.target.tls_secret, &run.code_engine);
        let answer = code_engine.replace(place, entity_tag, certificate_pem, key);
        let meaning = self.meaning(answer);
        let stage = match &meaning {
            Ok(()) => Stage::Written,
            Err(Failure::Unclear(..)) => Stage::InDoubt,
            Err(_) if self.failures.before.is_some() => Stage::InDoubt,
            Err(_) => Stage::Open,
        };
        run.progress.answered(task.position, stage);
        meaning
    }

    /// What the answer to the PUT means.
    fn meaning(&self, answer: Result<Option<TlsSecret>, ApiError>) -> Result<(), Failure> {
        let failure = match answer {
            Ok(answer) => {
                let shown = answer.map(Deployed::of);
                if shown.is_some_and(|shown| shown.shows(self.bundle)) {
                    return Ok(());
                }
                let cause = "the answer to the write does not show the new certificate".to_owned();
                return Err(Failure::Unclear(Reason::CodeEngineRefused, cause, None));
            }
            Err(failure) => failure,
        };
        let cause = failure.to_string();
        Err(match failure.fate() {
            Fate::Conflict => Failure::Conflict(cause),
            Fate::Unknown(wait) => Failure::Unclear(Reason::CodeEngineUnavailable, cause, wait),
            Fate::Rejected => {
                let place = &self.task.target.tls_secret;
                Failure::Final(self.run.code_engine.refused("replace", failure, place))
            }
        })
    }

    /// A scheduled run had to write what an event should have brought. A placeholder is replaced by
    /// whichever run comes first.
    fn missed_event(&self) -> Option<Error> {
        let now = self.run.now.as_secs();
        let age = now.saturating_sub(self.bundle.updated_at?.as_secs());
        let placeholder = self.before().leaf().is_none_or(Certificate::self_signed);
        (self.task.scheduled && !placeholder && age > MISSED).then(|| {
            Reason::EventMissed.error(format!(
                "this certificate has been in Secrets Manager for {} minutes but no run deployed it: check the log of Event Notifications, its topic, destination and subscription, and the job runs of that time", age / 60
            ))
        })
    }

    /// The command that overrides a refusal.
    fn with_force(&self, error: Error) -> Error {
        let (secret, settings) = (&self.task.secret, &self.run.config.settings);
        if !Reason::FORCEABLE.contains(&error.reason) || self.task.target.secret.is_none() {
            return error;
        }
        // with what is overridden already, and for the same version
        let forced = settings.force.iter().chain([&error.reason]);
        let reasons: Vec<String> = forced.map(ToString::to_string).collect();
        let version = match settings.version {
            Version::Current => "",
            Version::Previous => " --env SECRET_VERSION=previous",
        };
        let reasons = reasons.join(",");
        let variables = format!("--env SECRET_ID={secret} --env FORCE={reasons}{version}");
        error.command(self.run.config.grantee.run(&variables))
    }

    /// The TLS secret is up to date, or would be.
    fn settle(&self, action: Action, findings: Vec<Error>) -> Option<UpToDate<'a>> {
        let (run, task, bundle) = (self.run, self.task, self.bundle);
        let replaced = (action == Action::Replaced).then(|| Replaced {
            leaf: self.before().leaf().map(Certificate::sha256),
            at: Instant::now(),
        });
        let effects = match action {
            Action::Replaced | Action::Unchanged => run.effects(task),
            _ => 0,
        };
        settle(run, task, effects, |_| self.outcome(action, findings));
        (effects > 0).then(|| UpToDate {
            task,
            leaf: Arc::clone(&bundle.leaf),
            chain_sha256: chain_sha256(bundle.chain()),
            replaced,
        })
    }

    fn outcome(&self, action: Action, further: Vec<Error>) -> Outcome {
        let (run, task, bundle, deployed) = (self.run, self.task, self.bundle, self.before());
        let mut findings = bundle.findings.clone();
        findings.extend(expires_soon(bundle, run.now));
        findings.extend(faults(deployed, bundle, run.now).unwrap_or_default());
        findings.extend(further);
        if run.holds(task) {
            let held = "the target is on hold: nothing is written until it is released";
            findings.push(Reason::Held.error(held));
        }
        if run.config.settings.version == Version::Previous && action != Action::Failed {
            findings.push(Reason::Undone.error(AFTER_UNDO));
        }
        let verb = match action {
            Action::Replaced => "now holds",
            Action::Unchanged => "already holds",
            _ => "would be updated to",
        };
        let (place, leaf) = (&task.target.tls_secret.name, &*bundle.leaf);
        let (name, serial, end) = (&bundle.name, &leaf.serial, rfc3339(leaf.not_after));
        let count = 1 + bundle.intermediates.len();
        Outcome {
            secret_name: Some(bundle.name.clone()),
            from: deployed.leaf().map(Leaf::from),
            to: Some(Leaf::from(leaf)),
            findings,
            attempts: Some(self.failures.count + 1),
            message: format!(
                "TLS secret {place} {verb} certificate {name} (serial {serial}, valid until {end}, {count} certificates)"
            ),
            ..task.outcome(action)
        }
    }
}

#[cfg(test)]
mod tests;
