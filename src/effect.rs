//! After the last write: restarts the apps that cached the old certificate, and looks at what the
//! domains serve.
//!
//! None of this rolls back a write, or turns it into a failure of Code Engine: at worst the certificate
//! is written, but not yet served.

mod probe;
mod restart;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cert::certificate::Certificate;
use crate::cert::key::{Curve, KeyKind};
use crate::cert::names::ServerName;
use crate::config::Probe;
use crate::effect::probe::{Domain, client, probe};
use crate::effect::restart::restart_apps;
use crate::error::{Error, Reason, error};
use crate::ibm::code_engine::Project;
use crate::ibm::secrets_manager::Version;
use crate::report::{Outcome, State};
use crate::sync::Run;
use crate::sync::replace::{Synced, Target};
use crate::sync::validate::Task;
use crate::text::sanitized;
use crate::workers;

/// Domains in a message.
const SHOWN_DOMAINS: usize = 10;
/// After a write: how long to wait for the new certificate.
const PATIENCE: Duration = Duration::from_secs(60);

/// A target whose TLS secret is up to date, and whose effect is to be seen.
pub(crate) struct UpToDate<'a> {
    pub(crate) position: usize,
    task: &'a Task,
    synced: Arc<Synced>,
    /// Whether apps are restarted for it.
    restarts: bool,
    /// What is still to be done: its restarts, its probe.
    open: AtomicUsize,
}

impl<'a> UpToDate<'a> {
    /// `None`: there is nothing to restart and to probe.
    pub(crate) fn of(run: &Run<'_>, target: &Target<'a>) -> Option<Self> {
        let synced = target.synced.clone().filter(|_| !run.config.dry_run)?;
        let task = target.task;
        // an undo ignores a hold, and its apps must take it
        let held = task.hold && run.config.version == Version::Current;
        let restarts = !task.restart_apps.is_empty() && !held;
        let open = usize::from(restarts) + usize::from(run.config.probe != Probe::Off);
        (open > 0).then_some(Self {
            position: target.position,
            task,
            synced,
            restarts,
            open: open.into(),
        })
    }

    fn project(&self) -> &'a Project {
        &self.task.tls_secret.project
    }

    /// It is written, but not yet served.
    fn not_served(&self, run: &Run<'_>, error: &Error) {
        run.progress.know(self.position, |outcome| {
            outcome.not_in_effect(error.reason, &error.message);
            if outcome.command.is_none() {
                outcome.command.clone_from(&error.command);
            }
        });
    }

    /// Its restarts or its probe are done.
    fn done(&self, run: &Run<'_>) {
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            run.progress.seen(self.position);
        }
    }
}

/// Restarts apps and probes domains, side by side.
pub(crate) fn verify(run: &Run<'_>, targets: &[UpToDate<'_>]) {
    for target in targets {
        let step = "waiting for apps and domains";
        run.progress.step(target.position, step);
    }
    let probe = || match run.config.probe {
        Probe::Off => {}
        level @ (Probe::Warn | Probe::Require) => probe_domains(run, level, targets),
    };
    let (restarted, probed) = if targets.iter().any(|target| target.restarts) {
        workers::both(|| restart_apps(run, targets), probe)
    } else {
        // the usual case needs no further thread, and the memory that it takes
        (Ok(()), workers::guarded(probe))
    };
    if let Err(defect) = restarted.and(probed) {
        let undone = |target: &&UpToDate<'_>| target.open.load(Ordering::Relaxed) > 0;
        for target in targets.iter().filter(undone) {
            target.not_served(run, &defect);
        }
    }
}

/// One list of mappings per project, then all handshakes side by side, again and again where something
/// was written and is not served yet.
fn probe_domains(run: &Run<'_>, level: Probe, targets: &[UpToDate<'_>]) {
    let projects: HashSet<&Project> = targets.iter().map(UpToDate::project).collect();
    let lists = workers::each(projects.iter().copied().collect(), |project| {
        run.code_engine.domain_mappings(project)
    });
    let lists: HashMap<&Project, _> = projects.into_iter().zip(lists).collect();
    let mut open: Vec<(&UpToDate<'_>, Vec<Domain<'_>>)> = Vec::new();
    for target in targets {
        let mut domains = Vec::new();
        match lists.get(target.project()) {
            Some(Ok(mappings)) => {
                let used = mappings.of(&target.task.tls_secret.name).iter();
                let instead = run.config.probe_address.as_ref();
                domains.extend(used.map(|mapping| Domain::new(mapping, instead, &target.synced)));
            }
            Some(Err(error)) => run.progress.know(target.position, |outcome| {
                unseen(level, error.clone(), outcome);
            }),
            None => {}
        }
        open.push((target, domains));
    }
    let client = client();
    let begin = Instant::now();
    let mut wait = Duration::from_millis(500);
    loop {
        let domains = open.iter_mut().flat_map(|(_, domains)| domains);
        probe(&client, domains.filter(|domain| domain.goes_on()).collect());
        let is_last = is_last(begin.elapsed(), wait);
        open.retain(|(target, domains)| {
            let goes_on = !is_last && domains.iter().any(Domain::goes_on);
            run.progress.know(target.position, |outcome| {
                outcome.served = domains.iter().map(Domain::served).collect();
                if !goes_on {
                    conclude(level, &target.synced.leaf, domains, outcome);
                }
            });
            if !goes_on {
                target.done(run);
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
    if level == Probe::Require {
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
