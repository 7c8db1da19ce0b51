//! `sm-tls-sync` copies a renewed TLS certificate from IBM Cloud Secrets Manager into the TLS secret
//! of a Code Engine project. Each rotation starts one process, which does four steps in this order:
//!
//! ```text
//! trigger                     job run (one process, exits)                          effect
//! ibmendata | CE_DATA | env -> validate -> fetch -> assemble -> replace -> verify -> report -> exit status
//!                                  |         |                     |          |
//!             which secrets, which targets   |                     |          +-- restart apps that cached the old
//!                                            |                     |              copy; TLS handshake with each domain
//!                                            |                     +-- compare with what was deployed, PUT If-Match
//!                                            +-- token (IAM), deployed secret and its tag (CE),
//!                                                then the certificate (SM)
//! ```
//!
//! The event is only a hint; Secrets Manager is the truth. The entity tag is read before the
//! certificate, so that no interleaving of runs and rotations leaves an older certificate behind.
//!
//! Where things are:
//!
//! | a line about ... | is in |
//! |---|---|
//! | one X.509 certificate, names, PEM, keys, the chain, the rehearsal | [`cert`]: pure |
//! | `If-Match`, `"format": "tls"`, `intermediate`, error bodies | [`ibm`]: one file per service |
//! | retries after 429 or a broken connection (reads only) | `ibm/client.rs` |
//! | which event, which targets | `sync/validate.rs` |
//! | whether the secret is an active certificate with its key | `sync/fetch.rs` |
//! | leaf, chain and key that are fit to serve | `sync/assemble.rs` |
//! | never worse than what is deployed | `sync/compare.rs`: pure |
//! | new attempts after 412 or a lost answer, at most five | `sync/replace.rs` |
//! | the command that grants what is missing | `ibm/grantee.rs` |
//! | is it served, what does it mean if not | `effect.rs`, `effect/probe.rs` |
//! | when is an app up to date with a certificate | `effect/restart.rs` |
//! | which permission is proved by which answer | `check.rs` |
//! | which certificate belongs to which TLS secret | `discover.rs` |
//! | variables, defaults | [`config`] |
//! | exit statuses, reason codes | [`error`] |
//! | SIGTERM, DEADLINE, printing | `main.rs`: the watchdog |
//! | what is known of each target when the time is over, which writes may begin | [`progress`] |
//! | name look-ups, once per host | `ibm/names.rs` |
//! | eight targets at a time | `workers.rs` |
//! | secrets in memory; what may be shown of outside text | `secret.rs`, `text.rs` |
//! | the forms of the report | [`report`] |

mod check;
pub mod config;
mod discover;
mod effect;
pub mod error;
pub mod progress;
pub mod report;
mod workers;

// public for the fuzz targets and the property tests only
pub mod cert;
pub mod ibm;
pub mod secret;
pub mod sync;
pub mod text;

use std::time::Instant;

use rustls_pki_types::UnixTime;

use crate::config::Config;
use crate::error::Error;
use crate::ibm::client::Http;
use crate::ibm::code_engine::CodeEngine;
use crate::ibm::iam::Iam;
use crate::ibm::secrets_manager::SecretsManager;
use crate::progress::Progress;
use crate::report::{Action, Leaf, Outcome, Report};
use crate::sync::Run;
use crate::sync::deployed::read_deployed;
use crate::sync::replace::{UpToDate, fail, replace};
use crate::sync::validate::{Task, Trigger, validate};

/// Targets that go through the steps together: enough to keep all threads busy, few enough for a
/// bounded memory, and for progress in every run that its deadline cuts.
const CHUNK: usize = 24;

/// Does the run. What is known of it meanwhile is in `progress`; it must end at `end`.
///
/// # Errors
/// What ends the run before any target is processed.
pub fn run(
    config: &Config,
    trigger: Trigger,
    progress: &Progress,
    end: Instant,
    now: UnixTime,
) -> Result<Report, Error> {
    let settings = &config.settings;
    let http = Http::new(&settings.further_roots, settings.proxy.clone(), end);
    let iam = Iam::new(&http, settings.iam.as_deref(), &config.grantee);
    // nothing is sent before the first call
    let run = Run {
        config,
        secrets_manager: SecretsManager::new(&iam, &settings.secrets_manager),
        code_engine: CodeEngine { iam: &iam },
        iam: &iam,
        progress,
        now,
    };
    match (settings.check, settings.discover) {
        (true, _) => Ok(check::check(&run)),
        (_, true) => discover::discover(&run),
        _ => synchronize(&run, trigger),
    }
}

/// What the trigger asks for, target by target.
fn synchronize(run: &Run<'_>, trigger: Trigger) -> Result<Report, Error> {
    let plan = validate(run.config, trigger)?;
    let open = plan.tasks.iter().map(|task| task.outcome(Action::Failed));
    run.progress.plan(open.collect(), plan.settled);
    // runs begin at different targets: if the deadline always cuts them, each gets its turn
    let mut tasks: Vec<&Task> = plan.tasks.iter().collect();
    let begin = beginning(tasks.len(), run.now);
    tasks.rotate_left(begin);
    let chunks = tasks.chunks(CHUNK);
    let up_to_date = chunks.flat_map(|chunk| bring_up_to_date(run, chunk));
    let mut up_to_date: Vec<UpToDate<'_>> = up_to_date.collect();
    up_to_date.sort_by_key(|target| target.task.position);
    effect::verify(run, &up_to_date);
    Ok(run.progress.outcomes())
}

/// Where to start among `count` targets: at another chunk each second, so that an interrupted run does
/// not always skip the same targets.
fn beginning(count: usize, now: UnixTime) -> usize {
    // multiplying by the golden ratio spreads neighbouring seconds (Knuth, TAOCP 6.4)
    let spread = now.as_secs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let chunks = count.div_ceil(CHUNK);
    usize::try_from(spread).unwrap_or_default() % chunks.max(1) * CHUNK
}

/// What is deployed first, the certificates second (each secret once), replace third.
/// Returns the targets whose effect is to be seen.
fn bring_up_to_date<'a>(run: &Run<'_>, tasks: &[&'a Task]) -> Vec<UpToDate<'a>> {
    let deployed = workers::each(tasks.to_vec(), |task| {
        run.progress.step(task.position, "reading what is deployed");
        let deployed = read_deployed(run, &task.target.tls_secret)
            .inspect_err(|error| fail(run, task, error))?;
        run.progress.step(task.position, "reading its certificate");
        let from = deployed.leaf().map(Leaf::from);
        let know = |outcome: &mut Outcome| outcome.from = from;
        run.progress.know(task.position, know);
        Ok((task, deployed))
    });
    let deployed: Vec<_> = deployed.into_iter().filter_map(Result::ok).collect();
    let secrets = deployed.iter().map(|(task, _)| &task.secret);
    let fetched = workers::once(secrets, |secret| run.fetch_and_assemble(secret));
    let replaced = workers::each(deployed, |(task, deployed)| {
        let current = fetched.get(&task.secret).ok_or_else(Error::defect)?;
        Ok(replace(run, task, deployed, current))
    });
    let done = replaced.into_iter().filter_map(Result::ok);
    done.flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_run_begins_with_any_chunk() {
        for (count, expected) in [
            (0, &[0][..]),
            (1, &[0]),
            (24, &[0]),
            (25, &[0, 24]),
            (48, &[0, 24]),
            (100, &[0, 24, 48, 72, 96]),
        ] {
            let seconds = 1_795_000_000..1_795_000_060;
            let times =
                seconds.map(|second| UnixTime::since_unix_epoch(Duration::from_secs(second)));
            let found: BTreeSet<usize> = times.map(|time| beginning(count, time)).collect();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{count} targets");
        }
    }
}
