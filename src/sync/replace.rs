//! Step 4, replace: compare with what is deployed, rehearse, write, confirm; again after a conflict
//! or an unclear answer.
//!
//! The entity tag is always read before the certificate. If anybody writes in between, the PUT fails
//! and both are read again: so no interleaving of runs and rotations leaves an older certificate
//! behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, rfc3339};
use crate::error::{Error, Reason, error};
use crate::ibm::client::{ApiError, Fate};
use crate::ibm::code_engine::TlsSecret;
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::Version;
use crate::progress::Stage;
use crate::report::{Action, Leaf, Outcome};
use crate::sync::Run;
use crate::sync::assemble::{Bundle, assemble};
use crate::sync::compare::{Comparison, Decision, Facts, compare, expires_soon, faults};
use crate::sync::deployed::{Deployed, read_deployed};
use crate::sync::fetch::fetch;
use crate::sync::validate::Task;

/// How often a target is read, decided and written.
const MOST_ATTEMPTS: u32 = 5;
/// The shortest wait after a write of unknown fate, times the number of the attempt.
const AFTER_DOUBT: Duration = Duration::from_secs(1);
/// The longest wait that a service may ask for after such a write.
const LONGEST_DOUBT: Duration = Duration::from_secs(30);
/// An event arrives within minutes: what a scheduled run finds older than this, in seconds, was missed.
const MISSED: u64 = 10 * 60;

/// What happened to one target.
pub(crate) struct Target<'a> {
    /// The position among the targets of the run.
    pub(crate) position: usize,
    pub(crate) task: &'a Task,
    pub(crate) outcome: Outcome,
    /// What the TLS secret holds, if it is up to date.
    pub(crate) synced: Option<Arc<Synced>>,
}

/// What a TLS secret holds that is up to date.
#[derive(Debug)]
pub(crate) struct Synced {
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

impl<'a> Target<'a> {
    /// A target that could not be processed.
    pub(crate) fn failed(position: usize, task: &'a Task, error: &Error) -> Self {
        Self {
            position,
            task,
            outcome: task.outcome(Action::Failed).failed(error),
            synced: None,
        }
    }
}

/// Steps 2 and 3: the certificate as it is now (or was before, for an undo), fit to serve.
///
/// # Errors
/// Those of [`fetch`] and [`assemble`].
pub(crate) fn fetch_and_assemble(
    run: &Run<'_>,
    secret: &Uuid,
    version: Version,
    now: UnixTime,
) -> Result<Bundle, Error> {
    let material = fetch(&run.secrets_manager, secret, version)?;
    assemble(&material, now).map_err(|error| {
        error.context(format_args!(
            "the certificate {} ({secret}) is not fit to serve",
            material.name
        ))
    })
}

/// Brings one target up to date, given what was read of the TLS secret first, and of its certificate
/// second.
pub(crate) fn replace<'a>(
    run: &Run<'_>,
    position: usize,
    task: &'a Task,
    mut deployed: Deployed,
    current: &Result<Bundle, Error>,
) -> Target<'a> {
    let first = match current {
        Ok(current) => current,
        Err(error) => return unfit(position, task, &deployed, error),
    };
    let mut renewed: Option<Bundle> = None;
    let mut failures = Failures::default();
    loop {
        let bundle = renewed.as_ref().unwrap_or(first);
        let completed = bundle.completed(&deployed.certificates, run.now);
        let attempt = Attempt {
            run,
            position,
            task,
            deployed: &deployed,
            bundle: completed.as_ref().unwrap_or(bundle),
            number: failures.count() + 1,
            doubt: failures.unclear > 0,
        };
        attempt.tell();
        let failure = match attempt.run() {
            Ok((action, findings)) => return attempt.target(action, findings),
            Err(failure) => failure,
        };
        let again = failures.add(failure, run.left()).and_then(|wait| {
            run.pause(wait)
                .and_then(|()| read_both(run, task))
                .map_err(|error| failures.in_doubt(error))
        });
        match again {
            Ok((now_deployed, now_current)) => {
                deployed = now_deployed;
                renewed = Some(now_current);
            }
            Err(error) => return attempt.failed(&error),
        }
    }
}

/// What is deployed first, the certificate second.
fn read_both(run: &Run<'_>, task: &Task) -> Result<(Deployed, Bundle), Error> {
    let deployed = read_deployed(run, &task.tls_secret)?;
    let current = fetch_and_assemble(run, &task.secret, run.config.version, run.now)?;
    Ok((deployed, current))
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
    conflicts: u32,
    unclear: u32,
}

impl Failures {
    const fn count(&self) -> u32 {
        self.conflicts + self.unclear
    }

    /// Counts one more, and returns how long to wait before the next attempt.
    ///
    /// # Errors
    /// There is no next one. What kept the last one from succeeding decides the reason.
    fn add(&mut self, failure: Failure, left: Duration) -> Result<Duration, Error> {
        let (reason, cause, wait) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Conflict(cause) => {
                self.conflicts += 1;
                (Reason::WriteConflict, cause, Duration::ZERO)
            }
            Failure::Unclear(reason, cause, asked) => {
                log::warn!("{cause}; reading the TLS secret again to find out");
                self.unclear += 1;
                let least = AFTER_DOUBT * self.count();
                // a wait beyond the end of the run would only keep it from finding out
                let asked = asked.filter(|asked| *asked < left.min(LONGEST_DOUBT));
                (reason, cause, asked.unwrap_or_default().max(least))
            }
        };
        if self.count() < MOST_ATTEMPTS {
            return Ok(wait);
        }
        let mut counts = Vec::new();
        if self.conflicts > 0 {
            counts.push(format!("{} conflicts with other writers", self.conflicts));
        }
        if self.unclear > 0 {
            counts.push(format!("{} writes without a clear answer", self.unclear));
        }
        let counts = counts.join(", ");
        let error = error!(
            reason,
            "gave up after {MOST_ATTEMPTS} attempts: {counts} (last: {cause})"
        );
        Err(match reason {
            Reason::WriteConflict => error,
            _ => self.in_doubt(error),
        })
    }

    /// What is not known if `error` ends the attempts.
    fn in_doubt(&self, error: Error) -> Error {
        match self.unclear {
            0 => error,
            _ => error.hint(
                "a write had no clear answer, so it is unknown whether the TLS secret holds the new certificate; the next run finds out",
            ),
        }
    }
}

/// One attempt to bring a target up to date.
struct Attempt<'a, 'b> {
    run: &'b Run<'b>,
    position: usize,
    task: &'a Task,
    deployed: &'b Deployed,
    bundle: &'b Bundle,
    number: u32,
    /// Whether an earlier write may have taken effect, so that "up to date" means that it did.
    doubt: bool,
}

impl<'a> Attempt<'a, '_> {
    /// Compares, rehearses, writes and confirms.
    fn run(&self) -> Result<(Action, Vec<Error>), Failure> {
        if self.doubt && self.deployed.shows(self.bundle) {
            return Ok((Action::Replaced, self.missed_event().into_iter().collect()));
        }
        let mut findings = match decide(self.run, self.task, self.deployed, self.bundle) {
            Decision::Keep => return Ok((Action::Unchanged, Vec::new())),
            Decision::Refuse(error) => return Err(Failure::Final(self.with_force(error))),
            Decision::Write(findings) => findings,
        };
        let certificate_pem = self.bundle.certificate_pem();
        let limits = self.bundle.rehearse(&certificate_pem, self.run.now);
        findings.extend(limits.map_err(Failure::Final)?);
        if self.run.config.dry_run || self.held() {
            return Ok((Action::WouldReplace, findings));
        }
        self.write(&certificate_pem)?;
        findings.extend(self.missed_event());
        Ok((Action::Replaced, findings))
    }

    /// What a run that ends now can say of the target.
    fn tell(&self) {
        let mut known = self.target(Action::Failed, Vec::new()).outcome;
        known.message.clear();
        let progress = self.run.progress;
        progress.know(self.position, |outcome| *outcome = known);
        progress.step(self.position, "comparing with what is deployed");
    }

    /// An undo ignores a hold.
    fn held(&self) -> bool {
        self.task.hold && self.run.config.version == Version::Current
    }

    /// Sends the PUT.
    fn write(&self, certificate_pem: &str) -> Result<(), Failure> {
        let reference = &self.task.tls_secret;
        // what is deployed was read with one
        let entity_tag = self.deployed.entity_tag.as_ref();
        let entity_tag = entity_tag.ok_or_else(|| Failure::Final(Error::defect()))?;
        self.run.progress.begin_write(self.position);
        let key = &self.bundle.key_pem;
        let code_engine = &self.run.code_engine;
        let answer = code_engine.replace(reference, entity_tag, certificate_pem, key);
        let meaning = self.meaning(answer);
        let stage = match &meaning {
            Ok(()) => Stage::Written,
            Err(Failure::Unclear(..)) => Stage::InDoubt,
            Err(_) if self.doubt => Stage::InDoubt,
            Err(_) => Stage::Open,
        };
        self.run.progress.answered(self.position, stage);
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
        Err(match failure.fate() {
            Fate::Conflict => Failure::Conflict(failure.to_string()),
            Fate::Unknown(wait) => {
                Failure::Unclear(Reason::CodeEngineUnavailable, failure.to_string(), wait)
            }
            Fate::Rejected => {
                let place = &self.task.tls_secret;
                Failure::Final(self.run.code_engine.refused("replace", failure, place))
            }
        })
    }

    /// A scheduled run had to write what an event should have brought. A placeholder is replaced by
    /// whichever run comes first.
    fn missed_event(&self) -> Option<Error> {
        let now = self.run.now.as_secs();
        let age = now.saturating_sub(self.bundle.updated_at?.as_secs());
        let placeholder = self.deployed.leaf().is_none_or(Certificate::self_signed);
        (self.task.scheduled && !placeholder && age > MISSED).then(|| {
            Error::new(
                Reason::EventMissed,
                format!(
                    "this certificate has been in Secrets Manager for {} minutes but no event arrived: check the log of Event \
                     Notifications, its topic, destination and subscription, and the job runs of that time",
                    age / 60
                ),
            )
        })
    }

    fn failed(&self, error: &Error) -> Target<'a> {
        let target = self.target(Action::Failed, Vec::new());
        let mut outcome = target.outcome.failed(error);
        let name = self.task.tls_secret.name.to_string();
        if !outcome.message.contains(&name) {
            outcome.message = format!("TLS secret {name}: {}", outcome.message);
        }
        Target { outcome, ..target }
    }

    /// The command that overrides a refusal.
    fn with_force(&self, error: Error) -> Error {
        if !Reason::FORCEABLE.contains(&error.reason) || self.task.named_by_event {
            return error;
        }
        let variables = format!(
            "--env SECRET_ID={} --env FORCE={}",
            self.task.secret, error.reason
        );
        error.command(self.run.config.grantee.run(&variables))
    }

    fn target(&self, action: Action, further: Vec<Error>) -> Target<'a> {
        let Self {
            position,
            task,
            bundle,
            deployed,
            run,
            ..
        } = self;
        let leaf = &bundle.leaf;
        let mut findings = bundle.findings.clone();
        findings.extend(expires_soon(bundle, run.now));
        findings.extend(faults(deployed, bundle, run.now).unwrap_or_default());
        findings.extend(further);
        if self.held() {
            findings.push(Error::new(
                Reason::Held,
                "the target is on hold: nothing is written until it is released",
            ));
        }
        if run.config.version == Version::Previous && action != Action::Failed {
            findings.push(after_undo(task.hold));
        }
        let replaced = || Replaced {
            leaf: deployed.leaf().map(Certificate::sha256),
            at: Instant::now(),
        };
        let (verb, in_line) = match action {
            Action::Replaced => ("now holds", Some(Some(replaced()))),
            Action::Unchanged => ("already holds", Some(None)),
            _ => ("would be updated to", None),
        };
        Target {
            position: *position,
            task,
            outcome: Outcome {
                secret_name: Some(bundle.name.clone()),
                from: deployed.leaf().map(Leaf::from),
                to: Some(Leaf::from(&**leaf)),
                findings,
                attempts: Some(self.number),
                message: format!(
                    "TLS secret {} {verb} certificate {} (serial {}, valid until {}, {} certificates)",
                    task.tls_secret.name,
                    bundle.name,
                    leaf.serial,
                    rfc3339(leaf.not_after),
                    1 + bundle.intermediates.len()
                ),
                ..task.outcome(action)
            },
            synced: in_line.map(|replaced| {
                Arc::new(Synced {
                    leaf: Arc::clone(leaf),
                    chain_sha256: bundle.chain_sha256(),
                    replaced,
                })
            }),
        }
    }
}

/// Compares, and fetches the facts that the comparison asks for: none in the usual case.
fn decide(run: &Run<'_>, task: &Task, deployed: &Deployed, bundle: &Bundle) -> Decision {
    let domains = || {
        let project = &task.tls_secret.project;
        let mappings = run.code_engine.domain_mappings(project)?;
        let used = mappings.of(&task.tls_secret.name).iter();
        Ok(used.map(|mapping| mapping.name.clone()).collect())
    };
    let previous_serial = || run.secrets_manager.serial(&task.secret, Version::Previous);
    let case = Comparison {
        deployed,
        bundle,
        named_by_event: task.named_by_event,
        undo: run.config.version == Version::Previous,
        force: &run.config.force,
        roots: &run.roots,
        now: run.now,
    };
    compare(
        &case,
        &Facts {
            domains: &domains,
            previous_serial: &previous_serial,
        },
    )
}

/// What comes after an undo: the current version is still there.
fn after_undo(hold: bool) -> Error {
    const NEXT: &str =
        "the next event or daily run deploys the current version again, unless a rule refuses it";
    let message = match hold {
        true => format!("the target is on hold; once it is released, {NEXT}"),
        false => format!(
            "{NEXT}; set HOLD=true (in TARGETS: \"hold\") until Secrets Manager holds a good version"
        ),
    };
    Error::new(Reason::Undone, message)
}

/// The certificate could not be fetched, or is not fit to serve.
fn unfit<'a>(position: usize, task: &'a Task, deployed: &Deployed, error: &Error) -> Target<'a> {
    let outcome = Outcome {
        from: deployed.leaf().map(Leaf::from),
        ..task.outcome(Action::Ignored)
    };
    let outcome = if error.reason == Reason::NotIssued && task.just_created {
        let message = format!("{error}; another event follows when it is");
        Outcome {
            reason: Some(Reason::NotIssued),
            message: message.clone(),
            findings: vec![Error::new(Reason::NotIssued, message)],
            ..outcome
        }
    } else {
        outcome.failed(error)
    };
    Target {
        position,
        task,
        outcome,
        synced: None,
    }
}

#[cfg(test)]
mod tests;
