//! Afterwards: is what the TLS secrets hold in effect?
//!
//! Belongs here: what is examined, and what that means for the report. Does not: handshakes
//! (`effect/probe.rs`) and restarts (`effect/restart.rs`).
//!
//! All of it comes after the last write. Nothing here undoes a write, or turns it into a failure of
//! Code Engine: at worst the certificate is written, but not in effect.

mod probe;
mod restart;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cert::certificate::Certificate;
use crate::cert::key::{Curve, KeyKind};
use crate::cert::names::ServerName;
use crate::config::{Config, HTTPS, Probe};
use crate::effect::probe::{Domain, probe};
use crate::effect::restart::{Restarted, restart_apps};
use crate::error::{Error, Reason};
use crate::ibm::code_engine::{DomainMapping, Project};
use crate::ibm::ids::Uuid;
use crate::report::{Outcome, Served, State};
use crate::sync::replace::{Synced, Target};
use crate::sync::{Run, refusals};
use crate::text::sanitized;
use crate::workers;

/// Domains in a message.
const SHOWN_DOMAINS: usize = 10;

/// Restarts apps and probes domains, side by side, for each target whose TLS secret is in line.
pub(crate) fn verify(run: &Run<'_>, targets: &mut [Target<'_>]) {
    let in_line: Vec<&Target<'_>> = targets.iter().filter(|t| t.synced.is_some()).collect();
    let probe = || match run.config.probe {
        Probe::Off => Vec::new(),
        Probe::Warn | Probe::Require => probe_domains(run, &in_line),
    };
    let nothing_to_restart = in_line.iter().all(|t| t.task.restart_apps.is_empty());
    let (restarted, reports) = if nothing_to_restart {
        // the usual case needs no further thread, and the memory that it takes
        (Ok(Vec::new()), workers::guarded(probe))
    } else {
        workers::both(|| restart_apps(run, &in_line), probe)
    };
    let defect = restarted.as_ref().err().or_else(|| reports.as_ref().err());
    if let Some(error) = defect {
        let message = error.to_string();
        for target in targets.iter_mut().filter(|t| t.synced.is_some()) {
            target.outcome.not_in_effect(Reason::Defect, &message);
        }
    }
    let (mut restarted, mut reports) = (
        restarted.unwrap_or_default().into_iter(),
        reports.unwrap_or_default().into_iter(),
    );
    for Target {
        outcome, synced, ..
    } in targets
    {
        let Some(synced) = synced else { continue };
        if let Some(Restarted { apps, failure }) = restarted.next() {
            outcome.restarted = apps;
            if let Some(error) = failure {
                outcome.not_in_effect(error.reason, &error.to_string());
                outcome.command = outcome.command.take().or(error.command);
            }
        }
        if let Some(report) = reports.next() {
            report.apply(run.config.probe, synced, outcome);
        }
    }
}

/// What was found out about the domains of one TLS secret.
struct DomainReport {
    domains: Vec<Domain>,
    /// Why the domain mappings are not known.
    unlisted: Option<Error>,
    /// Why probing ended early.
    stopped: Option<String>,
}

/// The domain mappings of each project, or why they could not be listed.
type Mappings<'a> = BTreeMap<(&'a str, &'a Uuid), Result<Vec<DomainMapping>, Error>>;

/// One list per project, then all handshakes side by side.
fn probe_domains(run: &Run<'_>, targets: &[&Target<'_>]) -> Vec<DomainReport> {
    let mappings = list_mappings(run, targets);
    let mut reports: Vec<DomainReport> = targets
        .iter()
        .filter_map(|target| {
            let synced = target.synced.as_ref()?;
            Some(report(target, synced, &mappings, run.config))
        })
        .collect();
    let all = reports.iter_mut().flat_map(|report| &mut report.domains);
    let stopped = probe(all.collect(), run.stop)
        // after the end of the run, lists are not read either
        .or_else(|| run.stop.check().err())
        .map(|error| error.to_string());
    for report in &mut reports {
        report.stopped.clone_from(&stopped);
    }
    reports
}

fn list_mappings<'a>(run: &Run<'_>, targets: &[&'a Target<'a>]) -> Mappings<'a> {
    let projects: BTreeMap<_, &Project> = targets
        .iter()
        .map(|target| {
            let project = &target.task.tls_secret.project;
            ((project.base.as_str(), &project.id), project)
        })
        .collect();
    let lists = workers::each(projects.values().copied().collect(), |project| {
        let list = run.code_engine.domain_mappings(project);
        list.map_err(|failure| {
            let what = format!("cannot list the domain mappings of project {}", project.id);
            refusals::code_engine(&what, failure, &project.id, &run.config.grantee)
        })
    });
    projects.into_keys().zip(lists).collect()
}

/// The domains of a target, not probed yet.
fn report(
    target: &Target<'_>,
    synced: &Arc<Synced>,
    mappings: &Mappings<'_>,
    config: &Config,
) -> DomainReport {
    let reference = &target.task.tls_secret;
    let project = &reference.project;
    let listed = mappings.get(&(project.base.as_str(), &project.id));
    let used = listed
        .and_then(|list| list.as_ref().ok())
        .into_iter()
        .flatten()
        .filter(|mapping| mapping.uses(&reference.name));
    let domains = used.map(|mapping| {
        let cname_target = mapping
            .cname_target
            .as_ref()
            .filter(|host| !host.is_empty());
        let address = config
            .probe_address
            .clone()
            .or_else(|| Some((cname_target?.clone(), HTTPS)));
        Domain::new(&mapping.name, address, Arc::clone(synced))
    });
    DomainReport {
        domains: domains.collect(),
        unlisted: listed.and_then(|list| list.as_ref().err()).cloned(),
        stopped: None,
    }
}

impl DomainReport {
    /// Writes what was seen into the outcome.
    fn apply(self, level: Probe, synced: &Synced, outcome: &mut Outcome) {
        let leaf = &synced.leaf;
        if !self.domains.is_empty() {
            outcome.findings.extend(ingress_limits(leaf));
            outcome.findings.extend(not_covered(leaf, &self.domains));
        }
        let failures = self.failures();
        let unfinished = self
            .domains
            .iter()
            .any(|domain| domain.seen.state != State::New);
        if let Some(why) = self.stopped
            && (unfinished || !failures.is_empty())
        {
            outcome.not_in_effect(
                Reason::Interrupted,
                &format!("the run ended before it could confirm what is served: {why}"),
            );
        }
        for finding in failures {
            if level == Probe::Require {
                outcome.not_in_effect(finding.reason, &finding.message);
            }
            outcome.findings.push(finding);
        }
        outcome.served = self.domains.iter().map(served).collect();
    }

    /// One finding per kind of failure, with the domains that it concerns.
    fn failures(&self) -> Vec<Error> {
        let mut findings = Vec::new();
        findings.extend(self.unlisted.clone());
        let list = |states: &[State], text: fn(&Domain) -> String| {
            let concerned = self
                .domains
                .iter()
                .filter(|domain| states.contains(&domain.seen.state));
            shown(concerned.map(text).collect())
        };
        if let Some(list) = list(&[State::Old, State::Other], |domain| {
            let which = match domain.seen.state {
                State::Old => "the previous certificate",
                _ => "another certificate",
            };
            let Domain { name, seen, .. } = domain;
            format!("{} serves {which} ({})", sanitized(name), seen.text)
        }) {
            findings.push(Error::new(Reason::NotServed, list));
        }
        if let Some(list) = list(&[State::Unreachable], |domain| {
            format!("{} ({})", sanitized(&domain.name), domain.seen.text)
        }) {
            let message = format!("no TLS handshake with {list}");
            findings.push(Error::new(Reason::DomainUnreachable, message));
        }
        findings
    }
}

fn served(domain: &Domain) -> Served {
    let replaced = domain.synced.replaced.as_ref();
    let after = replaced.map(|replaced| domain.seen.at.saturating_duration_since(replaced.at));
    Served {
        domain: sanitized(&domain.name),
        state: domain.seen.state,
        after_ms: after.and_then(|after| u64::try_from(after.as_millis()).ok()),
    }
}

fn not_covered(leaf: &Certificate, domains: &[Domain]) -> Option<Error> {
    let uncovered = domains
        .iter()
        .filter(|domain| !leaf.covers(&ServerName::Dns(domain.name.to_ascii_lowercase())))
        .map(|domain| sanitized(&domain.name));
    let list = shown(uncovered.collect())?;
    Some(Error::new(
        Reason::DomainNotCovered,
        format!(
            "the certificate does not cover the domain mappings {list}: issue it with these names"
        ),
    ))
}

/// What proxies or browsers refuse though it is valid: tried with Envoy 1.36 to 1.40, and
/// envoyproxy/envoy#10855.
fn ingress_limits(leaf: &Certificate) -> Option<Error> {
    let kind = leaf.key_kind();
    let key = match kind {
        KeyKind::Rsa { bits: ..2048 } => Some("every Envoy refuses"),
        KeyKind::Ecdsa(Curve::P384 | Curve::P521) => Some("Envoy before 1.33 refuses"),
        KeyKind::Ed25519 | KeyKind::Ed448 => Some("browsers refuse"),
        _ => None,
    };
    let key = key.map(|who| {
        format!("{who} its key ({kind}): issue it with RSA of at least 2048 bits or ECDSA P-256")
    });
    let common_name = leaf.empty_common_name.then(|| {
        "every Envoy refuses its empty common name: issue it with one, or without a subject"
            .to_owned()
    });
    let limits: Vec<String> = key.into_iter().chain(common_name).collect();
    (!limits.is_empty()).then(|| {
        let limits = limits.join("; ");
        let message = format!("domain mappings use this certificate, and {limits}");
        Error::new(Reason::KeyNotForIngress, message)
    })
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
