//! After the last write: restarts the apps that cached the old certificate, and looks at what the
//! domains serve.
//!
//! None of this rolls back a write, or turns it into a failure of Code Engine: at worst the certificate
//! is written, but not yet served.

mod probe;
mod restart;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cert::certificate::Certificate;
use crate::cert::key::{Curve, KeyKind};
use crate::cert::names::ServerName;
use crate::config::Probe;
use crate::effect::probe::{Domain, probe};
use crate::effect::restart::restart_apps;
use crate::error::{Error, Reason, error};
use crate::ibm::code_engine::Project;
use crate::report::{Outcome, State};
use crate::sync::replace::{Synced, Target};
use crate::sync::validate::Task;
use crate::sync::{Run, refusals};
use crate::text::sanitized;
use crate::workers;

/// Domains in a message.
const SHOWN_DOMAINS: usize = 10;

/// A target whose TLS secret is up to date.
struct UpToDate<'a> {
    position: usize,
    task: &'a Task,
    synced: &'a Synced,
    outcome: Mutex<&'a mut Outcome>,
}

impl<'a> UpToDate<'a> {
    fn outcome(&self) -> MutexGuard<'_, &'a mut Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn project(&self) -> &'a Project {
        &self.task.tls_secret.project
    }

    /// It is written, but not yet served.
    fn not_served(&self, error: &Error) {
        let mut outcome = self.outcome();
        outcome.not_in_effect(error.reason, &error.message);
        if outcome.command.is_none() {
            outcome.command.clone_from(&error.command);
        }
    }
}

/// Restarts apps and probes domains, side by side, for each target whose TLS secret is up to date.
pub(crate) fn verify(run: &Run<'_>, targets: &mut [Target<'_>]) {
    let up_to_date = |target| {
        let Target {
            position,
            task,
            outcome,
            synced,
        }: &mut Target<'_> = target;
        let (synced, outcome) = (synced.as_deref()?, Mutex::new(outcome));
        Some(UpToDate {
            position: *position,
            task,
            synced,
            outcome,
        })
    };
    let targets: Vec<UpToDate<'_>> = targets.iter_mut().filter_map(up_to_date).collect();
    let probe = || match run.config.probe {
        Probe::Off => {}
        level @ (Probe::Warn | Probe::Require) => probe_domains(run, level, &targets),
    };
    let nothing_to_restart = targets.iter().all(|t| t.task.restart_apps.is_empty());
    let (restarted, probed) = if nothing_to_restart {
        // the usual case needs no further thread, and the memory that it takes
        (Ok(()), workers::guarded(probe))
    } else {
        workers::both(|| restart_apps(run, &targets), probe)
    };
    if let Err(defect) = restarted.and(probed) {
        for target in &targets {
            target.not_served(&defect);
        }
    }
}

/// One list of mappings per project, then all handshakes side by side.
fn probe_domains(run: &Run<'_>, level: Probe, targets: &[UpToDate<'_>]) {
    let projects: HashSet<&Project> = targets.iter().map(UpToDate::project).collect();
    let lists = workers::each(projects.iter().copied().collect(), |project| {
        run.code_engine.domain_mappings(project).map_err(|failure| {
            let what = format!("cannot list the domain mappings of project {}", project.id);
            refusals::code_engine(&what, failure, &project.id, &run.config.grantee)
        })
    });
    let lists: HashMap<&Project, _> = projects.into_iter().zip(lists).collect();
    let mut probed: Vec<(&UpToDate<'_>, Vec<Domain<'_>>)> = Vec::new();
    for target in targets {
        match lists.get(target.project()) {
            Some(Ok(mappings)) => {
                let used = mappings.of(&target.task.tls_secret.name);
                let address = run.config.probe_address.as_ref();
                let domains = used
                    .iter()
                    .map(|mapping| Domain::new(mapping, address, target.synced));
                probed.push((target, domains.collect()));
            }
            Some(Err(error)) => unseen(level, error.clone(), &mut target.outcome()),
            None => {}
        }
    }
    let stopped = probe(probed.iter_mut().flat_map(|(_, domains)| domains), run.stop);
    for (target, domains) in probed {
        conclude(level, &target.synced.leaf, &domains, &mut target.outcome());
        if let Some(why) = &stopped
            && domains.iter().any(|domain| domain.state != State::New)
        {
            target.not_served(
                &why.clone()
                    .context("the run ended before it could confirm what is served"),
            );
        }
    }
}

/// Writes into the outcome what was seen.
fn conclude(level: Probe, leaf: &Certificate, domains: &[Domain<'_>], outcome: &mut Outcome) {
    outcome.served = domains.iter().map(Domain::served).collect();
    let name = |domain: &Domain<'_>| sanitized(domain.name);
    let list = |concerned: fn(State) -> bool, text: &dyn Fn(&Domain<'_>) -> String| {
        let concerned = domains.iter().filter(|domain| concerned(domain.state));
        shown(concerned.map(text).collect())
    };
    let uncovered = domains
        .iter()
        .filter(|domain| !leaf.covers(&ServerName::Dns(domain.name.to_ascii_lowercase())));
    outcome
        .findings
        .extend(ingress_limit(leaf).filter(|_| !domains.is_empty()));
    outcome
        .findings
        .extend(shown(uncovered.map(name).collect()).map(|list| {
        error!(
            Reason::DomainNotCovered,
            "the certificate does not cover the domain mappings {list}: issue it with these names"
        )
    }));
    if let Some(list) = list(
        |state| matches!(state, State::Old | State::Other),
        &|domain| {
            let which = match domain.state {
                State::Old => "the previous",
                _ => "another",
            };
            format!(
                "{} serves {which} certificate ({})",
                name(domain),
                domain.text
            )
        },
    ) {
        unseen(level, Error::new(Reason::NotServed, list), outcome);
    }
    if let Some(list) = list(|state| state == State::Unreachable, &|domain| {
        format!("{} ({})", name(domain), domain.text)
    }) {
        let error = error!(Reason::DomainUnreachable, "no TLS handshake with {list}");
        unseen(level, error, outcome);
    }
}

/// The certificate was not seen where it should be.
fn unseen(level: Probe, finding: Error, outcome: &mut Outcome) {
    if level == Probe::Require || finding.reason == Reason::Interrupted {
        outcome.not_in_effect(finding.reason, &finding.message);
    }
    outcome.findings.push(finding);
}

/// What ingress proxies or browsers refuse though it is valid: tried with Envoy 1.36 to 1.40, and
/// envoyproxy/envoy#10855.
fn ingress_limit(leaf: &Certificate) -> Option<Error> {
    let kind = leaf.key_kind();
    let who = match kind {
        KeyKind::Ecdsa(Curve::P384 | Curve::P521) => "Envoy before 1.33 refuses",
        KeyKind::Ed25519 => "browsers refuse",
        _ => return None,
    };
    Some(error!(
        Reason::KeyNotForIngress,
        "domain mappings use this certificate, and {who} its key ({kind}): issue it with RSA of at least 2048 bits or ECDSA P-256"
    ))
}

/// The items as text, the first of many only; `None` if there are none.
fn shown(mut items: Vec<String>) -> Option<String> {
    if let Some(more @ 1..) = items.len().checked_sub(SHOWN_DOMAINS) {
        items.truncate(SHOWN_DOMAINS);
        items.push(format!("and {more} more"));
    }
    (!items.is_empty()).then(|| items.join(", "))
}

#[cfg(test)]
mod tests;
