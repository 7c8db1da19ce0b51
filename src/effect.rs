//! After the last write: restarts the apps that cached the old certificate, and looks at what the
//! domains serve.
//!
//! None of this rolls back a write, or turns it into a failure of Code Engine: at worst the certificate
//! is written, but not yet served.

mod probe;
mod restart;

use std::time::{Duration, Instant};

use crate::cert::certificate::Certificate;
use crate::cert::key::KeyKind;
use crate::cert::names::ServerName;
use crate::config::Probe;
use crate::effect::probe::{Domain, probe};
use crate::effect::restart::restart_apps;
use crate::error::{Error, Reason};
use crate::ibm::code_engine::TlsSecretRef;
use crate::report::{Outcome, State};
use crate::sync::Run;
use crate::sync::replace::UpToDate;
use crate::text::{first_of_many, sanitized};
use crate::workers;

/// Domains in a message.
const SHOWN_DOMAINS: usize = 10;
/// After a write: how long to wait for the new certificate.
const PATIENCE: Duration = Duration::from_secs(60);

/// Restarts apps and probes domains, side by side.
pub(crate) fn verify(run: &Run<'_>, targets: &[UpToDate<'_>]) {
    for target in targets {
        let position = target.task.position;
        run.progress.step(position, "waiting for apps and domains");
    }
    let restart = || restart_apps(run, targets);
    let probe = || probe_domains(run, targets);
    let mut works: Vec<&(dyn Fn() + Sync)> = Vec::new();
    if targets.iter().any(|target| run.restarts(target.task)) {
        works.push(&restart);
    }
    if run.config.settings.probe != Probe::Off {
        works.push(&probe);
    }
    workers::each(works, |work| {
        work();
        Ok(())
    });
}

/// One list of mappings per project, then all handshakes side by side, again and again where something
/// was written and is not served yet.
fn probe_domains(run: &Run<'_>, targets: &[UpToDate<'_>]) {
    let places = targets.iter().map(|target| &target.task.target.tls_secret);
    let projects = places.clone().map(|place| &place.project);
    let lists = workers::once(projects, |project| run.code_engine.domain_mappings(project));
    let level = run.config.settings.probe;
    let mut open: Vec<(&UpToDate<'_>, Vec<Domain<'_>>)> = Vec::new();
    for (target, TlsSecretRef { project, name }) in targets.iter().zip(places) {
        let domains = match lists.get(project) {
            Some(Ok(mappings)) => {
                let instead = run.config.settings.probe_address.as_ref();
                let used = mappings.iter().filter(|mapping| mapping.uses(name));
                let probed = used.map(|mapping| Domain::new(mapping, instead, target));
                probed.collect()
            }
            Some(Err(error)) => {
                let unseen = |outcome: &mut Outcome| unseen(level, error.clone(), outcome);
                run.progress.know(target.task.position, unseen);
                Vec::new()
            }
            None => Vec::new(),
        };
        open.push((target, domains));
    }
    let begin = Instant::now();
    let mut wait = Duration::from_millis(500);
    loop {
        let domains = open.iter_mut().flat_map(|(_, domains)| domains);
        probe(domains.filter(|domain| domain.goes_on()).collect());
        let is_last = is_last(begin.elapsed(), wait);
        open.retain(|(target, domains)| {
            let goes_on = !is_last && domains.iter().any(Domain::goes_on);
            let position = target.task.position;
            run.progress.know(position, |outcome| {
                outcome.served = domains.iter().map(Domain::served).collect();
                if !goes_on {
                    conclude(level, &target.leaf, domains, outcome);
                }
            });
            if !goes_on {
                run.progress.seen(position);
            }
            goes_on
        });
        let domains = open.iter().flat_map(|(_, domains)| domains);
        let waiting: Vec<_> = domains.filter(|domain| domain.goes_on()).collect();
        let waiting = match waiting.as_slice() {
            [] => return,
            [only] => sanitized(only.name),
            several => format!("{} domains", several.len()),
        };
        log::info!("waiting for {waiting} to serve the new certificate");
        pause(&mut wait);
    }
}

/// Whether one more wait, so long after the first round, is longer than anybody waits.
fn is_last(elapsed: Duration, wait: Duration) -> bool {
    elapsed + wait > PATIENCE
}

/// Waits, and longer the next time.
fn pause(wait: &mut Duration) {
    const LONGEST: Duration = Duration::from_secs(4);
    workers::pause(*wait);
    *wait = (*wait * 2).min(LONGEST);
}

/// What was seen, as findings.
fn conclude(level: Probe, leaf: &Certificate, domains: &[Domain<'_>], outcome: &mut Outcome) {
    let limit = ingress_limit(leaf).filter(|_| !domains.is_empty());
    outcome.findings.extend(limit);
    let name = |domain: &Domain<'_>| sanitized(domain.name);
    let is_covered = |domain: &&Domain<'_>| leaf.covers(&ServerName::dns(domain.name));
    let uncovered = domains.iter().filter(|domain| !is_covered(domain));
    let uncovered: Vec<String> = uncovered.map(name).collect();
    if let Some(list) = shown(&uncovered) {
        let what = format!(
            "the certificate does not cover the domain mappings {list}: issue it with these names"
        );
        outcome.findings.push(Reason::DomainNotCovered.error(what));
    }
    let (mut others, mut unreachable) = (Vec::new(), Vec::new());
    for domain in domains {
        let (name, text) = (name(domain), &domain.text);
        match domain.state {
            State::New => {}
            State::Old => others.push(format!("{name} serves the previous certificate ({text})")),
            State::Other => others.push(format!("{name} serves another certificate ({text})")),
            State::Unreachable => unreachable.push(format!("{name} ({text})")),
        }
    }
    if let Some(list) = shown(&others) {
        unseen(level, Reason::NotServed.error(list), outcome);
    }
    if let Some(list) = shown(&unreachable) {
        let error = Reason::DomainUnreachable.error(format!("no TLS handshake with {list}"));
        unseen(level, error, outcome);
    }
}

/// The certificate was not seen where it should be.
fn unseen(level: Probe, finding: Error, outcome: &mut Outcome) {
    if level == Probe::Require {
        outcome.not_in_effect(finding.reason, &finding.message);
    }
    outcome.findings.push(finding);
}

/// What ingress proxies or browsers refuse though it is valid: tried with Envoy 1.36 to 1.40, and
/// envoyproxy/envoy#10855.
fn ingress_limit(leaf: &Certificate) -> Option<Error> {
    let kind = &leaf.public_key.kind;
    let who = match kind {
        KeyKind::Ecdsa(384 | 521) => "Envoy before 1.33 refuses",
        KeyKind::Ed25519 => "browsers refuse",
        _ => return None,
    };
    Some(Reason::KeyNotForIngress.error(format!(
        "domain mappings use this certificate, and {who} its key ({kind}): issue it with RSA of at least 2048 bits or ECDSA P-256"
    )))
}

/// The items as text, the first of many only; `None` if there are none.
fn shown(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| first_of_many(items, SHOWN_DOMAINS).join(", "))
}

#[cfg(test)]
mod tests;
