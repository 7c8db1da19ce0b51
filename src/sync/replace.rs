//! Step 4, replace: compare with what is deployed, decide, rehearse, write, confirm.
//!
//! Belongs here: whether the TLS secret is written, and what an answer that leaves it open means.
//! Does not: how the request looks (`ibm/code_engine.rs`), nor the rules of the comparison
//! (`replace/decide.rs`).
//!
//! The entity tag is always read before the certificate. If anybody writes in between, the write
//! fails and both are looked at again: so no interleaving of runs and rotations leaves an older
//! certificate behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, rfc3339};
use crate::cert::roots::Roots;
use crate::error::{Error, Finding, Reason, error};
use crate::ibm::client::Fate;
use crate::ibm::code_engine::{CodeEngine, TlsSecretRef};
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::{SecretsManager, Version};
use crate::report::{Action, InLine, Leaf, Outcome, Replaced};
use crate::stop::Stop;
use crate::sync::assemble::{Bundle, assemble};
use crate::sync::compare::{Case, Decision, Evidence, Question, decide, standing};
use crate::sync::deployed::{self, Deployed};
use crate::sync::fetch::{Fetched, fetch};
use crate::sync::refusals::{self, Grantee};
use crate::sync::validate::Pair;

/// How often a target is looked at and decided.
const MOST_ATTEMPTS: u32 = 5;
/// The wait after a write whose fate is unknown, times the number of the attempt.
const AFTER_DOUBT: Duration = Duration::from_secs(1);
/// The longest wait that a service may ask for after such a write.
const LONGEST_DOUBT: Duration = Duration::from_secs(30);
/// An event brings a rotation within minutes: what a cron run finds older than this was missed.
const MISSED: u64 = 10 * 60;

/// What the steps need of the world.
pub struct World<'a> {
    /// Where certificates come from.
    pub secrets_manager: SecretsManager<'a>,
    /// Where they go.
    pub code_engine: CodeEngine<'a>,
    /// What to grant where a right is missing.
    pub grantee: &'a Grantee,
    /// The roots that clients know.
    pub roots: &'a Roots,
    /// How long it may take.
    pub stop: &'a Stop,
    /// The time at which certificates are judged.
    pub now: UnixTime,
    /// Decide, but do not write.
    pub dry_run: bool,
    /// Which version of the certificate to deploy.
    pub version: Version,
    /// The rules to overrule.
    pub force: &'a [Reason],
    /// Whether a schedule started this run.
    pub by_cron: bool,
}

/// The certificate as Secrets Manager holds it now.
#[derive(Debug)]
pub struct Current {
    /// Fit to serve.
    pub bundle: Bundle,
    updated_at: Option<UnixTime>,
}

impl World<'_> {
    /// What is deployed.
    ///
    /// # Errors
    /// Exit status 7; 4, if there is no token.
    pub fn look(&self, place: &TlsSecretRef) -> Result<Deployed, Error> {
        deployed::look(&self.code_engine, place, self.grantee)
    }

    /// Steps 2 and 3: the certificate as it is now (or was before, if that is asked for), fit to
    /// serve.
    ///
    /// # Errors
    /// Those of [`fetch`] and [`assemble`].
    pub fn current(&self, secret: &Uuid) -> Result<Current, Error> {
        self.fit(secret, self.version)
    }

    fn fit(&self, secret: &Uuid, version: Version) -> Result<Current, Error> {
        let Fetched {
            material,
            updated_at,
        } = fetch(&self.secrets_manager, secret, version, self.grantee)?;
        let bundle = assemble(&material, self.now).map_err(|mut error| {
            error.cause = error.cause.context(format!(
                "the certificate {} ({secret}) is not fit to serve",
                material.name
            ));
            error
        })?;
        Ok(Current { bundle, updated_at })
    }

    /// Decides, and asks for what the decision needs: nothing in the usual case.
    fn decide(
        &self,
        pair: &Pair,
        deployed: &Deployed,
        bundle: &Bundle,
        version: Version,
    ) -> Decision {
        let case = Case {
            deployed,
            bundle,
            named_by_event: pair.named_by_event,
            undo: version == Version::Previous,
            force: self.force,
            roots: self.roots,
            now: self.now,
        };
        let mut evidence = Evidence::default();
        loop {
            match decide(&case, &evidence) {
                Decision::Ask(Question::Domains) if evidence.domains.is_none() => {
                    let mappings = self.code_engine.domain_mappings(&pair.place.project);
                    evidence.domains = Some(
                        mappings
                            .map(|mut mappings| {
                                mappings.retain(|mapping| mapping.uses(&pair.place.name));
                                mappings.into_iter().map(|mapping| mapping.name).collect()
                            })
                            .map_err(|failure| failure.to_string()),
                    );
                }
                Decision::Ask(Question::PreviousSerial) if evidence.previous_serial.is_none() => {
                    let version = self
                        .secrets_manager
                        .version(&pair.secret, Version::Previous);
                    evidence.previous_serial = Some(
                        version
                            .map(|version| version.serial_number)
                            .map_err(|failure| failure.to_string()),
                    );
                }
                decision => return decision,
            }
        }
    }

    /// What an undo leaves to come: the current version is still there.
    fn after_undo(&self, pair: &Pair, undone: &Bundle) -> Finding {
        let deployed = Deployed::like(undone);
        let next = match self.fit(&pair.secret, Version::Current) {
            Err(error) => format!("would change nothing: {error}"),
            Ok(Current { bundle, .. }) => {
                let completed = bundle.completed(&deployed.certificates, self.now);
                let bundle = completed.as_ref().unwrap_or(&bundle);
                let leaf = &bundle.leaf;
                match self.decide(pair, &deployed, bundle, Version::Current) {
                    Decision::Keep => "would change nothing: it is the same certificate".to_owned(),
                    Decision::Refuse(error) => format!("would be refused: {error}"),
                    Decision::Write(_) | Decision::Ask(_) => format!(
                        "would write the current version again (serial {}, valid until {})",
                        leaf.serial,
                        rfc3339(leaf.not_after)
                    ),
                }
            }
        };
        let message = if pair.hold {
            format!(
                "the target is on hold; once it is released, the next event or daily run {next}"
            )
        } else {
            format!(
                "the next event or daily run {next}; HOLD=true (in TARGETS: \"hold\") keeps the job from writing until Secrets Manager is repaired"
            )
        };
        Finding::new(Reason::Undone, message)
    }
}

/// Brings one target in line, given what was seen of it and then of its certificate (none: the
/// target could not be looked at).
pub fn replace(
    world: &World<'_>,
    pair: &Pair,
    deployed: Result<Deployed, Error>,
    current: Option<&Result<Current, Error>>,
) -> Outcome {
    let (mut deployed, first) = match (deployed, current) {
        (Err(error), _) => return pair.outcome(Action::Failed).failed(&error),
        (Ok(deployed), Some(Ok(current))) => (deployed, current),
        (Ok(deployed), Some(Err(error))) => return unfit(pair, &deployed, error),
        (Ok(_), None) => {
            let error = error!(Reason::Defect, "the secret {} was not fetched", pair.secret);
            return pair.outcome(Action::Failed).failed(&error);
        }
    };
    // an undo is what a hold waits for
    let held = pair.hold && world.version == Version::Current;
    let mut renewed: Option<Current> = None;
    let mut attempts = 1;
    // whether a write was sent whose fate is unknown: then "in line" means that it took effect
    let mut in_doubt = false;
    loop {
        let Current { bundle, updated_at } = renewed.as_ref().unwrap_or(first);
        let completed = bundle.completed(&deployed.certificates, world.now);
        let bundle = completed.as_ref().unwrap_or(bundle);
        let told = |action, verb: &str, further: Vec<Finding>| {
            let mut findings = bundle.findings.clone();
            findings.extend(standing(bundle, world.roots, world.now));
            findings.extend(further);
            if held {
                findings.push(Finding::new(
                    Reason::Held,
                    "the target is on hold: nothing is written until it is released".to_owned(),
                ));
            }
            if world.version == Version::Previous && action != Action::Failed {
                findings.push(world.after_undo(pair, bundle));
            }
            Outcome {
                in_line: matches!(action, Action::Replaced | Action::Unchanged).then(|| InLine {
                    leaf: Arc::clone(&bundle.leaf),
                    chain_sha256: bundle.chain_sha256(),
                    replaced: (action == Action::Replaced).then(|| Replaced {
                        leaf: deployed.leaf().map(Certificate::sha256),
                        at: Instant::now(),
                    }),
                }),
                secret_name: Some(bundle.name.clone()),
                from: deployed.leaf().map(Leaf::from),
                to: Some(Leaf::from(&*bundle.leaf)),
                findings,
                attempts: Some(attempts),
                message: format!(
                    "TLS secret {} {verb} certificate {} (serial {}, valid until {}, {} certificates)",
                    pair.place.name,
                    bundle.name,
                    bundle.leaf.serial,
                    rfc3339(bundle.leaf.not_after),
                    1 + bundle.intermediates.len()
                ),
                ..pair.outcome(action)
            }
        };
        let failed = |error: &Error| {
            let mut outcome = told(Action::Failed, "", Vec::new()).failed(error);
            outcome.message = format!("TLS secret {}: {}", pair.place.name, outcome.message);
            outcome
        };
        let replaced = |mut findings: Vec<Finding>| {
            findings.extend(missed(world, deployed.leaf(), *updated_at));
            told(Action::Replaced, "now holds", findings)
        };
        let mut findings = match world.decide(pair, &deployed, bundle, world.version) {
            Decision::Keep if in_doubt => return replaced(Vec::new()),
            Decision::Keep => return told(Action::Unchanged, "already holds", Vec::new()),
            Decision::Refuse(error) => return failed(&error),
            Decision::Write(findings) => findings,
            Decision::Ask(question) => {
                return failed(&error!(Reason::Defect, "{question:?} was asked twice"));
            }
        };
        let certificate_pem = bundle.certificate_pem();
        match bundle.rehearse(&certificate_pem, world.now) {
            Ok(unusable) => findings.extend(unusable),
            Err(error) => return failed(&error),
        }
        if world.dry_run || held {
            return told(Action::WouldReplace, "would get", findings);
        }
        let wait = match write(world, pair, &deployed, bundle, &certificate_pem) {
            Written::Confirmed => return replaced(findings),
            Written::Failed(error) => return failed(&error),
            Written::Conflict => Duration::ZERO,
            Written::Unknown(cause, wait) => {
                log::warn!(
                    "{}: {cause}: looking whether it was replaced",
                    pair.place.name
                );
                in_doubt = true;
                // a wait beyond the run's end would only keep it from finding out
                wait.filter(|asked| *asked < world.stop.left(LONGEST_DOUBT))
                    .unwrap_or(AFTER_DOUBT * attempts)
            }
        };
        if attempts == MOST_ATTEMPTS {
            return failed(&error!(
                Reason::WriteConflict,
                "it could not be replaced in {MOST_ATTEMPTS} attempts: each time others changed it, or the answer was lost"
            ));
        }
        let again = world.stop.wait(wait).and_then(|()| {
            let deployed = world.look(&pair.place)?;
            Ok((deployed, world.current(&pair.secret)?))
        });
        match again {
            Ok((now_deployed, now_current)) => {
                deployed = now_deployed;
                renewed = Some(now_current);
            }
            Err(error) => return failed(&error),
        }
        attempts += 1;
    }
}

/// The finding that an event should have brought this, if a schedule did. A placeholder is replaced
/// by whoever comes first.
fn missed(
    world: &World<'_>,
    before: Option<&Certificate>,
    updated_at: Option<UnixTime>,
) -> Option<Finding> {
    let age = world.now.as_secs().saturating_sub(updated_at?.as_secs());
    let placeholder = before.is_none_or(Certificate::self_issued);
    (world.by_cron && !placeholder && age > MISSED).then(|| Finding::new(Reason::EventMissed, format!(
            "this certificate is in Secrets Manager for {} minutes, and no event brought it: look at the log of Event Notifications, \
             its topic, destination and subscription, and at the job runs of that time",
            age / 60
        )))
}

/// The outcome for a certificate that is not to be had or not fit to serve.
fn unfit(pair: &Pair, deployed: &Deployed, error: &Error) -> Outcome {
    let outcome = Outcome {
        from: deployed.leaf().map(Leaf::from),
        ..pair.outcome(Action::Ignored)
    };
    if error.reason != Reason::NotIssued || !pair.just_created {
        return outcome.failed(error);
    }
    let message = format!("{error}; another event comes when it is");
    Outcome {
        reason: Some(Reason::NotIssued),
        message: message.clone(),
        findings: vec![Finding::new(Reason::NotIssued, message)],
        ..outcome
    }
}

/// What became of a write.
enum Written {
    Confirmed,
    /// Somebody else wrote since we looked.
    Conflict,
    /// Only a look can tell; wait so long before.
    Unknown(String, Option<Duration>),
    Failed(Error),
}

fn write(
    world: &World<'_>,
    pair: &Pair,
    deployed: &Deployed,
    bundle: &Bundle,
    certificate_pem: &str,
) -> Written {
    if let Err(error) = world.stop.check() {
        return Written::Failed(error);
    }
    let answer = world.code_engine.replace(
        &pair.place,
        &deployed.entity_tag,
        certificate_pem,
        &bundle.key_pem,
    );
    let failure = match answer {
        Ok(Some(secret)) if Deployed::of(&secret, String::new()).holds(bundle) => {
            return Written::Confirmed;
        }
        Ok(_) => {
            let cause = "the answer to the write does not confirm it".to_owned();
            return Written::Unknown(cause, None);
        }
        Err(failure) => failure,
    };
    match failure.fate() {
        Fate::Conflict => Written::Conflict,
        Fate::Unknown(wait) => Written::Unknown(failure.to_string(), wait),
        Fate::Rejected => Written::Failed(refusals::tls_secret(
            "replace",
            failure,
            &pair.place,
            world.grantee,
        )),
    }
}
