//! `sm-tls-sync` brings a renewed TLS certificate from IBM Cloud Secrets Manager into the TLS secret
//! of a Code Engine project. One process per rotation; four steps in this order:
//!
//! ```text
//! trigger                     job run (one process, exits)                        effect
//! ibmendata | CE_DATA | env -> validate -> fetch -> assemble -> replace -> served? -> report -> exit status
//!                                 |         |                     |           |
//!            which secrets, which targets   |                     |           +-- apps that must restart, what
//!                                           |                     |               a TLS client sees
//!                                           |                     +-- compare with the tag and certificate
//!                                           |                         seen first, PUT If-Match
//!                                           +-- token (IAM), what is deployed and its tag (CE),
//!                                               then what is true (SM)
//! ```
//!
//! The event is only a hint; Secrets Manager is the truth. The entity tag is read before the
//! certificate, so that no interleaving of runs and rotations leaves an older one behind.
//!
//! Where does a line live?
//!
//! | a line that says ... | lives in |
//! |---|---|
//! | `If-Match`, `"format": "tls"`, `intermediate` | [`ibm`]: one door per service, wire only |
//! | again after 429 or a broken connection (reads only) | [`ibm::client`] |
//! | again after 412, at most five times | [`sync::replace`]: not a repetition, a new decision |
//! | how long at most | the constant beside its use; waiting itself in [`stop`] |
//! | base64 in JSON in JSON | [`sync::validate`] |
//! | does `*.a.example` cover `b.a.example` | [`cert`] |
//! | a CA must not be the leaf | [`sync::assemble`] |
//! | not fewer names than deployed | [`sync::replace`], in `replace/decide.rs` |
//! | would a TLS client take these bytes | [`cert::handshake`] |
//! | is it in effect, and what does it mean if not | [`effect`] |
//! | which certificate does a TLS client see | [`effect::probe`] |
//! | when is an app in line with a certificate | [`effect::restart`] |
//! | which right is proved by which answer | [`check`] |
//! | 120 s, `https://private...` | [`config`] |
//! | exit 6, `key-mismatch` | [`error`] |

pub mod cert;
pub mod check;
pub mod config;
pub mod effect;
pub mod error;
pub mod ibm;
pub mod report;
pub mod secret;
pub mod stop;
pub mod sync;
pub mod text;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls_pki_types::UnixTime;

use crate::cert::roots::Roots;
use crate::config::{Config, Mode, Target, Trigger};
use crate::effect::{Effect, take_effect};
use crate::error::{Error, Reason};
use crate::ibm::client::Http;
use crate::ibm::code_engine::CodeEngine;
use crate::ibm::iam::Iam;
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::SecretsManager;
use crate::report::{Action, Outcome, Results};
use crate::stop::Stop;
use crate::sync::replace::World;
use crate::sync::validate::{Order, Pair};
use crate::sync::{replace, validate};

/// Does the run: what the trigger asks for, target by target.
///
/// # Errors
/// What stops the run before any target is looked at.
pub fn run(config: Config, stop: &Arc<Stop>, now: UnixTime) -> Result<Results, Error> {
    let check = config.mode == Mode::Check;
    let Order { pairs, settled } = if check {
        Order::default()
    } else {
        validate::validate(&config)?
    };
    if pairs.is_empty() && !check {
        return Ok(settled.into());
    }
    let to_check: Vec<Target> = if check {
        validate::relevant(&config).cloned().collect()
    } else {
        Vec::new()
    };
    let by_hand = matches!(config.trigger, Trigger::Manual) && config.one_secret;
    let force_ignored = !config.force.is_empty() && !by_hand;
    let http = Http::new(&config.further_roots, config.proxy, Arc::clone(stop), now);
    let iam = Iam::new(
        &http,
        stop,
        config.iam,
        config.credentials,
        config.grantee.clone(),
    );
    let world = World {
        secrets_manager: SecretsManager::new(&iam, &config.secrets_manager),
        code_engine: CodeEngine::new(&iam),
        grantee: &config.grantee,
        roots: &Roots::new(config.further_roots),
        stop,
        now,
        dry_run: config.dry_run,
        version: config.version,
        force: if by_hand { &config.force } else { &[] },
        by_cron: config.trigger.is_cron(),
    };
    if check {
        return Ok(Results {
            targets: Vec::new(),
            checks: check::check(&world, &iam, &to_check, config.foreign_secret.as_ref()),
        });
    }
    let mut outcomes = bring_in_line(&world, &pairs);
    if !config.dry_run {
        let effect = Effect {
            probe: config.probe,
            address: config.probe_address,
        };
        take_effect(&world, &effect, &pairs, &mut outcomes);
    }
    for outcome in &mut outcomes {
        if iam.used_public() {
            outcome.find(
                Reason::IamPublic,
                "the token came from IAM's public address: the private one did not work; give IAM_URL to settle it",
            );
        }
        if force_ignored {
            outcome.find(
                Reason::ForceIgnored,
                "FORCE counts only in a run by hand with SECRET_ID: it was ignored",
            );
        }
    }
    outcomes.extend(settled);
    Ok(outcomes.into())
}

/// Three waves: look at all that is deployed, fetch and assemble each secret once, replace.
fn bring_in_line(world: &World<'_>, pairs: &[Pair]) -> Vec<Outcome> {
    let deployed = workers::each(pairs.iter().collect(), |pair: &Pair| {
        world.look(&pair.place)
    });
    let mut secrets: Vec<Uuid> = Vec::new();
    for (pair, deployed) in pairs.iter().zip(&deployed) {
        if deployed.is_ok() && !secrets.contains(&pair.secret) {
            secrets.push(pair.secret.clone());
        }
    }
    let certificates: BTreeMap<Uuid, _> = secrets
        .iter()
        .cloned()
        .zip(workers::each(secrets.iter().collect(), |secret: &Uuid| {
            world.current(secret)
        }))
        .collect();
    let outcomes = workers::each(pairs.iter().zip(deployed).collect(), |(pair, deployed)| {
        Ok(replace::replace(
            world,
            pair,
            deployed,
            certificates.get(&pair.secret),
        ))
    });
    pairs
        .iter()
        .zip(outcomes)
        .map(|(pair, outcome)| {
            outcome.unwrap_or_else(|error| pair.outcome(Action::Failed).failed(&error))
        })
        .collect()
}
