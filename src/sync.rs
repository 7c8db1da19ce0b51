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
use crate::config::Grantee;
use crate::error::Reason;
use crate::ibm::code_engine::CodeEngine;
use crate::ibm::iam::Iam;
use crate::ibm::secrets_manager::{SecretsManager, Version};
use crate::stop::Stop;

/// The services that a run calls, and what limits its calls.
pub(crate) struct Services<'a> {
    pub(crate) iam: &'a Iam<'a>,
    pub(crate) secrets_manager: SecretsManager<'a>,
    pub(crate) code_engine: CodeEngine<'a>,
    /// Whom to grant what is missing.
    pub(crate) grantee: &'a Grantee,
    /// When the run must end.
    pub(crate) stop: &'a Arc<Stop>,
}

/// What holds for every target of a run.
pub(crate) struct Policy<'a> {
    /// The time at which certificates are judged.
    pub(crate) now: UnixTime,
    /// The roots that clients know.
    pub(crate) roots: &'a Roots,
    /// Which version of the certificate to deploy.
    pub(crate) version: Version,
    /// The refusal reasons to override.
    pub(crate) force: &'a [Reason],
    /// Decide and report, write nothing.
    pub(crate) dry_run: bool,
    /// Whether a schedule started the run.
    pub(crate) scheduled: bool,
}
