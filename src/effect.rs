//! After the four steps: is what the TLS secrets hold in effect?
//!
//! Belongs here: what is looked at, and what that means for the report. Does not: handshakes
//! (`probe.rs`) and restarts (`restart.rs`).
//!
//! All of it comes after the last write. Nothing here undoes a write, or makes a failure of Code
//! Engine out of it: at most it is written, but not in effect.

pub mod probe;
pub mod restart;

use std::collections::BTreeMap;

use crate::cert::certificate::{Certificate, parse_rfc3339, same_serial};
use crate::cert::key::KeyKind;
use crate::cert::names::ServerName;
use crate::config::{HTTPS, Probe};
use crate::effect::probe::{Look, Seen, probe};
use crate::effect::restart::{Restarted, Wish, restart};
use crate::error::Reason;
use crate::ibm::code_engine::{DomainMapping, TlsSecretRef};
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::{Version, VersionMetadata};
use crate::report::{InLine, Outcome, Served, State};
use crate::sync::replace::World;
use crate::sync::validate::Pair;
use crate::text::sanitized;
use crate::workers;

/// What to look at, and how.
pub struct Effect {
    /// What a domain that does not serve the certificate means.
    pub probe: Probe,
    /// Host and port to connect to instead of what a domain mapping says.
    pub address: Option<(String, u16)>,
}

/// A pair whose TLS secret is in line, and the position of its outcome.
struct Done<'a> {
    position: usize,
    pair: &'a Pair,
    in_line: InLine,
}

/// Restarts apps and looks at domains, side by side, for each pair whose TLS secret is in line.
/// `outcomes` are those of `pairs`, in their order.
pub fn take_effect(world: &World<'_>, effect: &Effect, pairs: &[Pair], outcomes: &mut [Outcome]) {
    let done: Vec<Done<'_>> = outcomes
        .iter_mut()
        .zip(pairs)
        .enumerate()
        .filter_map(|(position, (outcome, pair))| {
            Some(Done {
                position,
                pair,
                in_line: outcome.in_line.take()?,
            })
        })
        .collect();
    enum Task {
        Restart,
        Look,
    }
    enum Found {
        Restarted(Vec<(usize, Restarted)>),
        Looked(Vec<Looked>),
    }
    let results = workers::each(vec![Task::Restart, Task::Look], |task| {
        Ok(match task {
            Task::Restart => Found::Restarted(restart_apps(world, &done)),
            Task::Look if effect.probe == Probe::Off => Found::Looked(Vec::new()),
            Task::Look => Found::Looked(look(world, effect, &done)),
        })
    });
    for result in results {
        match result {
            Ok(Found::Restarted(restarted)) => {
                for (position, restarted) in restarted {
                    if let Some(outcome) = outcomes.get_mut(position) {
                        tell_restarts(outcome, restarted);
                    }
                }
            }
            Ok(Found::Looked(looked)) => {
                for (done, looked) in done.iter().zip(looked) {
                    if let Some(outcome) = outcomes.get_mut(done.position) {
                        tell_domains(world, effect.probe, outcome, done, looked);
                    }
                }
            }
            Err(error) => {
                for done in &done {
                    if let Some(outcome) = outcomes.get_mut(done.position) {
                        outcome.not_in_effect(error.reason, &error.to_string());
                    }
                }
            }
        }
    }
}

/// The apps of all TLS secrets that may be written.
fn restart_apps(world: &World<'_>, done: &[Done<'_>]) -> Vec<(usize, Restarted)> {
    let (positions, wishes): (Vec<usize>, Vec<Wish<'_>>) = done
        .iter()
        .filter(|done| !done.pair.restart_apps.is_empty())
        // an undo passes a hold, and its apps must take it
        .filter(|done| !done.pair.hold || world.version == Version::Previous)
        .map(|done| {
            let wish = Wish {
                place: &done.pair.place,
                chain_sha256: &done.in_line.chain_sha256,
                apps: &done.pair.restart_apps,
            };
            (done.position, wish)
        })
        .unzip();
    let restarted = restart(&world.code_engine, world.grantee, world.stop, &wishes);
    positions.into_iter().zip(restarted).collect()
}

fn tell_restarts(outcome: &mut Outcome, restarted: Restarted) {
    outcome.restarted = restarted.apps;
    if let Some(error) = restarted.failure {
        outcome.not_in_effect(error.reason, &error.to_string());
    }
}

/// What was found out about the domains of one TLS secret.
#[derive(Default)]
struct Looked {
    /// Why the domain mappings are not known.
    unreadable: Option<String>,
    /// Each domain, and what was seen there.
    domains: Vec<(String, Seen)>,
    /// Another project of the region where domains use the same certificate.
    also_in: Option<Uuid>,
    /// The version, if a rotation is to be timed.
    version: Option<VersionMetadata>,
    /// Why nobody looked to the end.
    stopped: Option<String>,
}

/// One list per project, then all handshakes side by side.
fn look(world: &World<'_>, effect: &Effect, done: &[Done<'_>]) -> Vec<Looked> {
    let lists = Lists::read(world, done);
    let used: Vec<Vec<&DomainMapping>> = done.iter().map(|done| lists.used_by(done.pair)).collect();
    let looks: Vec<Look<'_>> = done
        .iter()
        .zip(&used)
        .flat_map(|(done, mappings)| {
            mappings.iter().map(|mapping| Look {
                domain: &mapping.name,
                address: effect.address.clone().or_else(|| {
                    let host = mapping.cname_target.clone().filter(|host| !host.is_empty());
                    host.map(|host| (host, HTTPS))
                }),
                new: &done.in_line.leaf,
                replaced: done.in_line.replaced.as_ref(),
            })
        })
        .collect();
    let (seen, stopped) = probe(&looks, world.stop);
    // after the end of the run, lists are not read either
    let stopped = stopped
        .or_else(|| world.stop.check().err())
        .map(|error| error.to_string());

    let mut seen = seen.into_iter();
    let mut looked: Vec<Looked> = done
        .iter()
        .zip(&used)
        .map(|(Done { pair, .. }, mappings)| {
            let names = mappings.iter().map(|mapping| sanitized(&mapping.name));
            let elsewhere = done.iter().zip(&used).find(|(other, others)| {
                let (here, there) = (&pair.place, &other.pair.place);
                let same_region =
                    here.project.base == there.project.base && here.project.id != there.project.id;
                same_region && other.pair.secret == pair.secret && !others.is_empty()
            });
            Looked {
                unreadable: lists.unreadable(pair),
                domains: names.zip(seen.by_ref()).collect(),
                also_in: elsewhere
                    .filter(|_| !mappings.is_empty())
                    .map(|(other, _)| other.pair.place.project.id.clone()),
                version: None,
                stopped: stopped.clone(),
            }
        })
        .collect();
    time_rotations(world, done, &mut looked);
    looked
}

/// The domain mappings of each project that a TLS secret stands in.
struct Lists<'a>(Vec<(&'a TlsSecretRef, Result<Vec<DomainMapping>, String>)>);

impl<'a> Lists<'a> {
    fn read(world: &World<'_>, done: &'a [Done<'_>]) -> Self {
        let mut projects: Vec<&TlsSecretRef> = Vec::new();
        for Done { pair, .. } in done {
            if !projects
                .iter()
                .any(|place| place.project == pair.place.project)
            {
                projects.push(&pair.place);
            }
        }
        let lists = workers::each(projects.clone(), |place| {
            Ok(world.code_engine.domain_mappings(&place.project))
        });
        let lists = lists.into_iter().map(|list| match list {
            Ok(list) => list.map_err(|failure| failure.to_string()),
            Err(error) => Err(error.to_string()),
        });
        Self(projects.into_iter().zip(lists).collect())
    }

    fn of(&self, pair: &Pair) -> Option<&Result<Vec<DomainMapping>, String>> {
        let list = self
            .0
            .iter()
            .find(|(place, _)| place.project == pair.place.project);
        list.map(|(_, list)| list)
    }

    fn used_by(&self, pair: &Pair) -> Vec<&DomainMapping> {
        let list = self.of(pair).and_then(|list| list.as_ref().ok());
        list.into_iter()
            .flatten()
            .filter(|mapping| mapping.uses(&pair.place.name))
            .collect()
    }

    fn unreadable(&self, pair: &Pair) -> Option<String> {
        self.of(pair)?.as_ref().err().cloned()
    }
}

/// Reads when the version was created, where this run wrote it and a client saw it. That nobody
/// knows is no finding: it is a figure, not a state.
fn time_rotations(world: &World<'_>, done: &[Done<'_>], looked: &mut [Looked]) {
    let timed = |(done, looked): &(&Done<'_>, &mut Looked)| {
        let is_new = |(_, seen): &(String, Seen)| seen.state == State::New;
        world.version == Version::Current
            && done.in_line.replaced.is_some()
            && looked.domains.iter().any(is_new)
    };
    let mut versions: BTreeMap<&Uuid, Option<VersionMetadata>> = BTreeMap::new();
    for (done, _) in done.iter().zip(looked.iter_mut()).filter(timed) {
        versions.insert(&done.pair.secret, None);
    }
    let secrets: Vec<&Uuid> = versions.keys().copied().collect();
    let answers = workers::each(secrets.clone(), |secret| {
        Ok(world.secrets_manager.version(secret, Version::Current))
    });
    for (secret, answer) in secrets.into_iter().zip(answers) {
        match answer {
            Ok(Ok(version)) => {
                versions.insert(secret, Some(version));
            }
            Ok(Err(failure)) => log::debug!("the rotation cannot be timed: {failure}"),
            Err(error) => log::debug!("the rotation cannot be timed: {error}"),
        }
    }
    for (done, looked) in done.iter().zip(looked.iter_mut()).filter(timed) {
        looked.version = versions.get(&done.pair.secret).cloned().flatten();
    }
}

fn tell_domains(
    world: &World<'_>,
    level: Probe,
    outcome: &mut Outcome,
    done: &Done<'_>,
    looked: Looked,
) {
    let leaf = &done.in_line.leaf;
    let replaced = done.in_line.replaced.as_ref();
    let mut failures: Vec<(Reason, String)> = Vec::new();
    if let Some(why) = looked.unreadable {
        failures.push((
            Reason::MappingsUnreadable,
            format!("the domain mappings of the project could not be listed: {why}"),
        ));
    }
    if let Some(project) = looked.also_in {
        outcome.find(
            Reason::SeveralProjects,
            format!(
                "domain mappings of project {project} in the same region use this certificate, too: IBM's documents contradict each other on whether that works"
            ),
        );
    }
    if !looked.domains.is_empty() && ingress_refuses(leaf) {
        outcome.find(
            Reason::KeyNotForIngress,
            format!(
                "domain mappings use this certificate, and ingress proxies refuse its key ({}): issue it with RSA of at least 2048 bits or ECDSA P-256",
                leaf.key_kind()
            ),
        );
    }
    let first = looked
        .domains
        .iter()
        .filter(|(_, seen)| seen.state == State::New);
    let first = first.map(|(_, seen)| world.stop.age(seen.at)).min();
    let unfinished = looked
        .domains
        .iter()
        .any(|(_, seen)| seen.state != State::New);
    for (domain, seen) in looked.domains {
        if !leaf.covers(&ServerName::Dns(domain.to_ascii_lowercase())) {
            outcome.find(
                Reason::DomainNotCovered,
                format!("the certificate does not cover the domain mapping {domain}: issue it with this name"),
            );
        }
        match seen.state {
            State::New => {}
            State::Unreachable => failures.push((
                Reason::DomainUnreachable,
                format!("no TLS handshake with {domain}: {}", seen.text),
            )),
            State::Old | State::Other => {
                let which = if seen.state == State::Old {
                    "the certificate before"
                } else {
                    "another certificate"
                };
                failures.push((
                    Reason::NotServed,
                    format!("{domain} serves {which} ({})", seen.text),
                ));
            }
        }
        let after = replaced.map(|replaced| seen.at.saturating_duration_since(replaced.at));
        outcome.served.push(Served {
            domain,
            state: seen.state,
            after_ms: after.and_then(|after| u64::try_from(after.as_millis()).ok()),
        });
    }
    outcome.rotation_to_served_s = looked.version.zip(first).and_then(|(version, first)| {
        let serial = version.serial_number?;
        let created = parse_rfc3339(version.created_at.as_deref()?)?;
        let served = world.now.as_secs() + first.as_secs();
        same_serial(&serial, &leaf.serial).then(|| served.saturating_sub(created.as_secs()))
    });
    if let Some(why) = looked.stopped
        && (unfinished || !failures.is_empty())
    {
        outcome.not_in_effect(
            Reason::EffectUnknown,
            &format!("whether it is served was not seen to the end: {why}"),
        );
    }
    for (reason, message) in failures {
        if level == Probe::Require {
            outcome.not_in_effect(reason, &message);
        }
        outcome.find(reason, message);
    }
}

/// What proxies of Envoy's kind do not take: RSA below 2048 bits, Ed25519 and Ed448.
const fn ingress_refuses(leaf: &Certificate) -> bool {
    match leaf.key_kind() {
        KeyKind::Rsa { bits } => *bits < 2048,
        KeyKind::Ed25519 | KeyKind::Ed448 => true,
        KeyKind::Ecdsa(_) | KeyKind::Other(_) => false,
    }
}
