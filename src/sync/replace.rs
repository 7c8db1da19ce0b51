//! Step 4, replace: compare with what is deployed, rehearse, write, confirm.
//!
//! Belongs here: whether the TLS secret is written, and what an unclear answer means. Does not: how
//! the request looks (`ibm/code_engine.rs`), nor the rules of the comparison (`compare.rs`).
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
use crate::sync::assemble::{Bundle, assemble};
use crate::sync::compare::{Comparison, Decision, Facts, compare, expires_soon, faults};
use crate::sync::deployed::{Deployed, read_deployed};
use crate::sync::fetch::{Fetched, fetch};
use crate::sync::validate::Task;
use crate::sync::{Run, refusals};

/// How often a target is read, decided and written.
const MOST_ATTEMPTS: u32 = 5;
/// The shortest wait after a write of unknown fate, times the number of the attempt.
const AFTER_DOUBT: Duration = Duration::from_secs(1);
/// The longest wait that a service may ask for after such a write.
const LONGEST_DOUBT: Duration = Duration::from_secs(30);
/// An event arrives within minutes: what a scheduled run finds older than this, in seconds, was missed.
const MISSED: u64 = 10 * 60;

/// The certificate as Secrets Manager holds it now, fit to serve.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) bundle: Bundle,
    updated_at: Option<UnixTime>,
}

/// What happened to one target.
pub(crate) struct Target<'a> {
    /// The position among the targets of the run.
    pub(crate) position: usize,
    pub(crate) task: &'a Task,
    pub(crate) outcome: Outcome,
    /// What the TLS secret holds, if it is in line.
    pub(crate) synced: Option<Arc<Synced>>,
}

/// What a TLS secret holds that is in line.
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
) -> Result<Current, Error> {
    let Fetched {
        material,
        updated_at,
    } = fetch(&run.secrets_manager, secret, version, &run.config.grantee)?;
    let bundle = assemble(&material, now).map_err(|error| {
        error.context(format_args!(
            "the certificate {} ({secret}) is not fit to serve",
            material.name
        ))
    })?;
    Ok(Current { bundle, updated_at })
}

/// Brings one target in line, given what was read of the TLS secret first, and of its certificate
/// second.
pub(crate) fn replace<'a>(
    run: &Run<'_>,
    position: usize,
    task: &'a Task,
    mut deployed: Deployed,
    current: &Result<Current, Error>,
) -> Target<'a> {
    let first = match current {
        Ok(current) => current,
        Err(error) => return unfit(position, task, &deployed, error),
    };
    let mut renewed: Option<Current> = None;
    let mut failures = Failures::default();
    loop {
        let Current { bundle, updated_at } = renewed.as_ref().unwrap_or(first);
        let completed = bundle.completed(&deployed.certificates, run.now);
        let attempt = Attempt {
            run,
            position,
            task,
            deployed: &deployed,
            bundle: completed.as_ref().unwrap_or(bundle),
            updated_at: *updated_at,
            number: failures.attempts() + 1,
            doubt: failures.doubt,
        };
        attempt.tell();
        let wait = match attempt.run() {
            Ok(target) => return target,
            Err(failure) => match failures.add(failure, run.stop.left(LONGEST_DOUBT)) {
                Some(wait) => wait,
                None => return attempt.failed(&failures.give_up(task)),
            },
        };
        let again = run.stop.wait(wait).and_then(|()| {
            let deployed = read_deployed(run, &task.tls_secret)?;
            let current = fetch_and_assemble(run, &task.secret, run.config.version, run.now)?;
            Ok((deployed, current))
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

/// One attempt to bring a target in line.
struct Attempt<'a, 'b> {
    run: &'b Run<'b>,
    position: usize,
    task: &'a Task,
    deployed: &'b Deployed,
    bundle: &'b Bundle,
    /// When the secret was last changed.
    updated_at: Option<UnixTime>,
    number: u32,
    /// Whether an earlier write may have taken effect, so that "in line" means that it did.
    doubt: bool,
}

impl<'a> Attempt<'a, '_> {
    /// # Errors
    /// The write was not confirmed: read and decide again.
    fn run(&self) -> Result<Target<'a>, Unconfirmed> {
        if self.doubt && self.deployed.shows(self.bundle) {
            return Ok(self.replaced(Vec::new()));
        }
        let mut findings = match self.decide() {
            Decision::Keep => {
                return Ok(self.target(Action::Unchanged, "already holds", Vec::new()));
            }
            Decision::Refuse(error) => return Ok(self.failed(&self.with_force(error))),
            Decision::Write(findings) => findings,
        };
        let certificate_pem = self.bundle.certificate_pem();
        match self.bundle.rehearse(&certificate_pem, self.run.now) {
            Ok(limits) => findings.extend(limits),
            Err(error) => return Ok(self.failed(&error)),
        }
        if self.run.config.dry_run || self.held() {
            let would = "would be updated to";
            return Ok(self.target(Action::WouldReplace, would, findings));
        }
        match self.write(&certificate_pem) {
            Ok(None) => Ok(self.replaced(findings)),
            Ok(Some(unconfirmed)) => Err(unconfirmed),
            Err(error) => Ok(self.failed(&error)),
        }
    }

    /// What a run that ends now can say of the target.
    fn tell(&self) {
        let known = self.target(Action::Failed, "", Vec::new()).outcome;
        self.run.progress.know(self.position, |outcome| {
            *outcome = Outcome {
                message: String::new(),
                findings: Vec::new(),
                ..known
            };
        });
        self.run
            .progress
            .step(self.position, "comparing and writing");
    }

    fn decide(&self) -> Decision {
        decide(
            self.run,
            self.task,
            self.deployed,
            self.bundle,
            self.run.config.version,
        )
    }

    /// An undo ignores a hold.
    fn held(&self) -> bool {
        self.task.hold && self.run.config.version == Version::Current
    }

    /// Sends the PUT. `None` if the answer shows that it took effect.
    fn write(&self, certificate_pem: &str) -> Result<Option<Unconfirmed>, Error> {
        self.run.stop.check()?;
        let reference = &self.task.tls_secret;
        // what is deployed was read with one
        let entity_tag = self.deployed.entity_tag.as_ref();
        let entity_tag = entity_tag.ok_or_else(Error::defect)?;
        self.run.progress.begin_write(self.position);
        let answer = self.run.code_engine.replace(
            reference,
            entity_tag,
            certificate_pem,
            &self.bundle.key_pem,
        );
        let judged = self.judge(answer);
        let stage = match &judged {
            Ok(None) => Stage::Written,
            Ok(Some(unconfirmed)) if unconfirmed.reason != Reason::WriteConflict => Stage::InDoubt,
            _ if self.doubt => Stage::InDoubt,
            _ => Stage::Open,
        };
        self.run.progress.answered(self.position, stage);
        judged
    }

    /// What the answer to the PUT means.
    fn judge(
        &self,
        answer: Result<Option<TlsSecret>, ApiError>,
    ) -> Result<Option<Unconfirmed>, Error> {
        let failure = match answer {
            Ok(answer) => {
                let shown = answer.map(Deployed::of);
                if shown.is_some_and(|shown| shown.shows(self.bundle)) {
                    return Ok(None);
                }
                return Ok(Some(Unconfirmed {
                    reason: Reason::CodeEngineRefused,
                    cause: "the answer to the write does not show the new certificate".to_owned(),
                    wait: None,
                }));
            }
            Err(failure) => failure,
        };
        let (reason, wait) = match failure.fate() {
            Fate::Conflict => (Reason::WriteConflict, None),
            Fate::Unknown(wait) if !matches!(failure, ApiError::Stopped { .. }) => {
                (Reason::CodeEngineUnavailable, wait)
            }
            Fate::Unknown(_) | Fate::Rejected => {
                let (place, grantee) = (&self.task.tls_secret, &self.run.config.grantee);
                return Err(refusals::tls_secret("replace", failure, place, grantee));
            }
        };
        Ok(Some(Unconfirmed {
            reason,
            cause: failure.to_string(),
            wait,
        }))
    }

    fn replaced(&self, mut findings: Vec<Error>) -> Target<'a> {
        findings.extend(self.missed_event());
        self.target(Action::Replaced, "now holds", findings)
    }

    /// A scheduled run had to write what an event should have brought. A placeholder is replaced by
    /// whichever run comes first.
    fn missed_event(&self) -> Option<Error> {
        let now = self.run.now.as_secs();
        let age = now.saturating_sub(self.updated_at?.as_secs());
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
        let target = self.target(Action::Failed, "", Vec::new());
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

    fn target(&self, action: Action, verb: &str, further: Vec<Error>) -> Target<'a> {
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
            findings.push(after_undo(self.run, task, bundle));
        }
        let in_line = matches!(action, Action::Replaced | Action::Unchanged);
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
            synced: in_line.then(|| {
                Arc::new(Synced {
                    leaf: Arc::clone(leaf),
                    chain_sha256: bundle.chain_sha256(),
                    replaced: (action == Action::Replaced).then(|| Replaced {
                        leaf: deployed.leaf().map(Certificate::sha256),
                        at: Instant::now(),
                    }),
                })
            }),
        }
    }
}

/// A write that may have taken effect, or that failed because somebody else wrote.
struct Unconfirmed {
    /// Why, if no further attempt is left. [`Reason::WriteConflict`]: it had no effect.
    reason: Reason,
    cause: String,
    /// How long the service asked us to wait.
    wait: Option<Duration>,
}

/// The writes that were not confirmed.
#[derive(Default)]
struct Failures {
    conflicts: u32,
    unclear: u32,
    /// Whether a write was sent whose fate is unknown.
    doubt: bool,
    last: Option<Unconfirmed>,
}

impl Failures {
    const fn attempts(&self) -> u32 {
        self.conflicts + self.unclear
    }

    /// Counts one more, and returns how long to wait before the next attempt; `None` after the last.
    fn add(&mut self, failure: Unconfirmed, left: Duration) -> Option<Duration> {
        let wait = if failure.reason == Reason::WriteConflict {
            self.conflicts += 1;
            Duration::ZERO
        } else {
            log::warn!(
                "{}; reading the TLS secret again to find out",
                failure.cause
            );
            self.unclear += 1;
            self.doubt = true;
            let least = AFTER_DOUBT * self.attempts();
            // a wait beyond the end of the run would only keep it from finding out
            let asked = failure.wait.filter(|asked| *asked < left);
            asked.map_or(least, |asked| asked.max(least))
        };
        self.last = Some(failure);
        (self.attempts() < MOST_ATTEMPTS).then_some(wait)
    }

    /// What kept the last attempt from succeeding decides the reason.
    fn give_up(&self, task: &Task) -> Error {
        let last = self.last.as_ref();
        let cause = last.map_or("", |last| last.cause.as_str());
        let reason = last.map_or(Reason::WriteConflict, |last| last.reason);
        let mut counts = Vec::new();
        if self.conflicts > 0 {
            counts.push(format!("{} conflicts with other writers", self.conflicts));
        }
        if self.unclear > 0 {
            counts.push(format!("{} writes without a clear answer", self.unclear));
        }
        error!(
            reason,
            "cannot replace TLS secret {}: gave up after {} attempts: {} (last: {cause})",
            task.tls_secret.name,
            self.attempts(),
            counts.join(", ")
        )
    }
}

/// Compares, and fetches the facts that the comparison asks for: none in the usual case.
fn decide(
    run: &Run<'_>,
    task: &Task,
    deployed: &Deployed,
    bundle: &Bundle,
    version: Version,
) -> Decision {
    let domains = || {
        let project = &task.tls_secret.project;
        let mappings = run
            .code_engine
            .domain_mappings(project)
            .map_err(|failure| {
                let what = format!("cannot list the domain mappings of project {}", project.id);
                refusals::code_engine(&what, failure, &project.id, &run.config.grantee)
            })?;
        let used = mappings.of(&task.tls_secret.name).iter();
        Ok(used.map(|mapping| mapping.name.clone()).collect())
    };
    let previous_serial = || {
        let previous = Version::Previous;
        let version = run.secrets_manager.version(&task.secret, previous);
        version
            .map(|version| version.serial_number)
            .map_err(|failure| {
                refusals::secret(failure, &task.secret, previous, &run.config.grantee)
            })
    };
    let case = Comparison {
        deployed,
        bundle,
        named_by_event: task.named_by_event,
        undo: version == Version::Previous,
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

/// What the next normal run would do after an undo: the current version is still there.
fn after_undo(run: &Run<'_>, task: &Task, undone: &Bundle) -> Error {
    let deployed = Deployed::like(undone);
    let current = fetch_and_assemble(run, &task.secret, Version::Current, run.now);
    let next = match current {
        Err(error) => format!("would change nothing: {error}"),
        Ok(Current { bundle, .. }) => {
            let completed = bundle.completed(&deployed.certificates, run.now);
            let bundle = completed.as_ref().unwrap_or(&bundle);
            match decide(run, task, &deployed, bundle, Version::Current) {
                Decision::Keep => "would change nothing: it is the same certificate".to_owned(),
                Decision::Refuse(error) => format!("would be refused: {error}"),
                Decision::Write(_) => format!(
                    "would deploy the current version again (serial {}, valid until {})",
                    bundle.leaf.serial,
                    rfc3339(bundle.leaf.not_after)
                ),
            }
        }
    };
    let message = if task.hold {
        format!("the target is on hold; once it is released, the next event or daily run {next}")
    } else {
        format!(
            "the next event or daily run {next}; set HOLD=true (in TARGETS: \"hold\") to keep the job from writing until Secrets Manager is repaired"
        )
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
