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

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, parse_rfc3339, same_serial};
use crate::cert::key::{Curve, KeyKind};
use crate::cert::names::ServerName;
use crate::config::{Config, HTTPS, Probe};
use crate::effect::probe::{Domain, probe};
use crate::effect::restart::{Restarted, restart_apps};
use crate::error::{Finding, Reason, error};
use crate::ibm::code_engine::{DomainMapping, Project};
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::{Version, VersionMetadata};
use crate::report::{Outcome, Served, State};
use crate::stop::Stop;
use crate::sync::replace::{Synced, Target};
use crate::sync::{Policy, Services};
use crate::text::sanitized;
use crate::workers;

/// Domains in a message.
const SHOWN_DOMAINS: usize = 10;

/// Restarts apps and probes domains, side by side, for each target whose TLS secret is in line.
pub(crate) fn verify(
    services: &Services<'_>,
    policy: &Policy<'_>,
    config: &Config,
    targets: &mut [Target<'_>],
) {
    let in_line: Vec<&Target<'_>> = targets.iter().filter(|t| t.synced.is_some()).collect();
    let probe = || match config.probe {
        Probe::Off => Vec::new(),
        Probe::Warn | Probe::Require => probe_domains(services, policy, config, &in_line),
    };
    let nothing_to_restart = in_line.iter().all(|t| t.task.restart_apps.is_empty());
    let (restarted, reports) = if nothing_to_restart {
        // the usual case needs no further thread, and the memory that it takes
        (Ok(Vec::new()), workers::guarded(probe))
    } else {
        workers::both(|| restart_apps(services, policy, &in_line), probe)
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
            report.apply(services.stop, policy.now, config.probe, synced, outcome);
        }
    }
}

/// What was found out about the domains of one TLS secret.
struct DomainReport {
    domains: Vec<Domain>,
    /// Why the domain mappings are not known.
    unlisted: Option<String>,
    /// Another project of the region where domains use the same certificate.
    also_in: Option<Uuid>,
    /// The version, if a rotation is to be timed.
    version: Option<VersionMetadata>,
    /// Why probing ended early.
    stopped: Option<String>,
}

/// The domain mappings of each project, or why they could not be listed.
type Mappings<'a> = BTreeMap<(&'a str, &'a Uuid), Result<Vec<DomainMapping>, String>>;

/// One list per project, then all handshakes side by side.
fn probe_domains(
    services: &Services<'_>,
    policy: &Policy<'_>,
    config: &Config,
    targets: &[&Target<'_>],
) -> Vec<DomainReport> {
    let mappings = list_mappings(services, targets);
    let mut reports: Vec<DomainReport> = targets
        .iter()
        .filter_map(|target| {
            let synced = target.synced.as_ref()?;
            Some(report(target, synced, &mappings, config))
        })
        .collect();
    let also_in = also_in(targets, &reports);
    let all = reports.iter_mut().flat_map(|report| &mut report.domains);
    let stopped = probe(all.collect(), services.stop)
        // after the end of the run, lists are not read either
        .or_else(|| services.stop.check().err())
        .map(|error| error.to_string());
    for (report, also_in) in reports.iter_mut().zip(also_in) {
        report.also_in = also_in;
        report.stopped.clone_from(&stopped);
    }
    if policy.version == Version::Current {
        time_rotations(services, targets, &mut reports);
    }
    reports
}

fn list_mappings<'a>(services: &Services<'_>, targets: &[&'a Target<'a>]) -> Mappings<'a> {
    let projects: BTreeMap<_, &Project> = targets
        .iter()
        .map(|target| {
            let project = &target.task.tls_secret.project;
            ((project.base.as_str(), &project.id), project)
        })
        .collect();
    let lists = workers::each(projects.values().copied().collect(), |project| {
        let list = services.code_engine.domain_mappings(project);
        list.map_err(|failure| error!(Reason::MappingsUnreadable, "{failure}"))
    });
    let lists = lists
        .into_iter()
        .map(|list| list.map_err(|error| error.to_string()));
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
        also_in: None,
        version: None,
        stopped: None,
    }
}

/// For each target, another project of the region where domains use the same certificate.
fn also_in(targets: &[&Target<'_>], reports: &[DomainReport]) -> Vec<Option<Uuid>> {
    targets
        .iter()
        .zip(reports)
        .map(|(target, report)| {
            let mut others = targets.iter().zip(reports);
            let other = others.find(|(other, others)| {
                let (here, there) = (
                    &target.task.tls_secret.project,
                    &other.task.tls_secret.project,
                );
                here.base == there.base
                    && here.id != there.id
                    && other.task.secret == target.task.secret
                    && !others.domains.is_empty()
            });
            other
                .filter(|_| !report.domains.is_empty())
                .map(|(other, _)| other.task.tls_secret.project.id.clone())
        })
        .collect()
}

/// Reads when the version was created, where this run wrote it and a client saw it. A failure to time
/// it is not reported: it is a metric only.
fn time_rotations(services: &Services<'_>, targets: &[&Target<'_>], reports: &mut [DomainReport]) {
    let mut versions: BTreeMap<&Uuid, Option<VersionMetadata>> = targets
        .iter()
        .zip(&*reports)
        .filter(|(_, report)| report.is_new_since_this_run())
        .map(|(target, _)| (&target.task.secret, None))
        .collect();
    let secrets: Vec<&Uuid> = versions.keys().copied().collect();
    let answers = workers::each(secrets, |secret| {
        let version = services.secrets_manager.version(secret, Version::Current);
        Ok(version
            .inspect_err(|failure| log::debug!("cannot time the rotation: {failure}"))
            .ok())
    });
    for (version, answer) in versions.values_mut().zip(answers) {
        *version = answer.ok().flatten();
    }
    for (target, report) in targets.iter().zip(reports) {
        if report.is_new_since_this_run() {
            report.version = versions.get(&target.task.secret).cloned().flatten();
        }
    }
}

impl DomainReport {
    fn is_new_since_this_run(&self) -> bool {
        let is_new =
            |domain: &Domain| domain.seen.state == State::New && domain.synced.replaced.is_some();
        self.domains.iter().any(is_new)
    }

    /// Writes what was seen into the outcome.
    fn apply(
        self,
        stop: &Stop,
        now: UnixTime,
        level: Probe,
        synced: &Synced,
        outcome: &mut Outcome,
    ) {
        let leaf = &synced.leaf;
        if let Some(project) = &self.also_in {
            outcome.find(
                Reason::SeveralProjects,
                format!(
                    "domain mappings of project {project} in the same region use this certificate too; IBM's documents contradict each other on whether that works"
                ),
            );
        }
        if !self.domains.is_empty() {
            outcome.findings.extend(ingress_limits(leaf));
            outcome.findings.extend(not_covered(leaf, &self.domains));
        }
        let first_new = self
            .domains
            .iter()
            .filter(|domain| domain.seen.state == State::New)
            .map(|domain| stop.age(domain.seen.at))
            .min();
        outcome.rotation_to_served_s =
            self.version
                .as_ref()
                .zip(first_new)
                .and_then(|(version, first)| {
                    let created = parse_rfc3339(version.created_at.as_deref()?)?;
                    let served = now.as_secs() + first.as_secs();
                    same_serial(version.serial_number.as_deref()?, &leaf.serial)
                        .then(|| served.saturating_sub(created.as_secs()))
                });
        let failures = self.failures();
        let unfinished = self
            .domains
            .iter()
            .any(|domain| domain.seen.state != State::New);
        if let Some(why) = self.stopped
            && (unfinished || !failures.is_empty())
        {
            outcome.not_in_effect(
                Reason::EffectUnknown,
                &format!("the run ended before it could confirm what is served: {why}"),
            );
        }
        for finding in failures {
            if level == Probe::Require {
                outcome.not_in_effect(finding.code, &finding.message);
            }
            outcome.findings.push(finding);
        }
        outcome.served = self.domains.iter().map(served).collect();
    }

    /// One finding per kind of failure, with the domains that it concerns.
    fn failures(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(why) = &self.unlisted {
            findings.push(Finding::new(
                Reason::MappingsUnreadable,
                format!("cannot list the domain mappings of the project: {why}"),
            ));
        }
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
            findings.push(Finding::new(Reason::NotServed, list));
        }
        if let Some(list) = list(&[State::Unreachable], |domain| {
            format!("{} ({})", sanitized(&domain.name), domain.seen.text)
        }) {
            let message = format!("no TLS handshake with {list}");
            findings.push(Finding::new(Reason::DomainUnreachable, message));
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

fn not_covered(leaf: &Certificate, domains: &[Domain]) -> Option<Finding> {
    let uncovered = domains
        .iter()
        .filter(|domain| !leaf.covers(&ServerName::Dns(domain.name.to_ascii_lowercase())))
        .map(|domain| sanitized(&domain.name));
    let list = shown(uncovered.collect())?;
    Some(Finding::new(
        Reason::DomainNotCovered,
        format!(
            "the certificate does not cover the domain mappings {list}: issue it with these names"
        ),
    ))
}

/// What proxies or browsers refuse though it is valid: tried with Envoy 1.36 to 1.40, and
/// envoyproxy/envoy#10855.
fn ingress_limits(leaf: &Certificate) -> Option<Finding> {
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
        Finding::new(Reason::KeyNotForIngress, message)
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
