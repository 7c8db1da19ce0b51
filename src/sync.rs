//! The four steps: validate, fetch, assemble, replace, and what they share.

pub mod assemble;
pub(crate) mod compare;
pub(crate) mod deployed;
pub mod fetch;
pub(crate) mod refusals;
pub(crate) mod replace;
#[cfg(test)]
pub(crate) mod samples;
pub mod validate;

use std::sync::Arc;

use rustls_pki_types::UnixTime;

use crate::cert::roots::Roots;
use crate::config::Config;
use crate::ibm::code_engine::CodeEngine;
use crate::ibm::iam::Iam;
use crate::ibm::secrets_manager::SecretsManager;
use crate::progress::Progress;
use crate::stop::Stop;

/// What every step of a run works with.
pub(crate) struct Run<'a> {
    /// What the environment asks for.
    pub(crate) config: &'a Config,
    /// Tokens.
    pub(crate) iam: &'a Iam<'a>,
    /// Where certificates come from.
    pub(crate) secrets_manager: SecretsManager<'a>,
    /// Where TLS secrets are.
    pub(crate) code_engine: CodeEngine<'a>,
    /// What has been decided so far, and which writes are in flight.
    pub(crate) progress: &'a Progress,
    /// When the run must end.
    pub(crate) stop: &'a Arc<Stop>,
    /// The roots that clients know.
    pub(crate) roots: Roots,
    /// The time at which certificates are judged: the start of the run.
    pub(crate) now: UnixTime,
}
