//! The four steps: validate, fetch, assemble, replace, and what they share.

pub mod assemble;
pub(crate) mod compare;
pub(crate) mod deployed;
pub mod fetch;
pub(crate) mod replace;
#[cfg(test)]
pub(crate) mod samples;
pub mod validate;

use std::time::{Duration, Instant};

use rustls_pki_types::UnixTime;

use crate::cert::roots::Roots;
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::ibm::code_engine::CodeEngine;
use crate::ibm::iam::Iam;
use crate::ibm::secrets_manager::SecretsManager;
use crate::progress::Progress;
use crate::workers;

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
    pub(crate) end: Instant,
    /// The roots that clients know.
    pub(crate) roots: Roots,
    /// The time at which certificates are judged: the start of the run.
    pub(crate) now: UnixTime,
}

impl Run<'_> {
    /// Waits for `duration`. Nobody waits for what the deadline would cut: what is known says more
    /// than the interruption.
    ///
    /// # Errors
    /// [`Reason::Interrupted`] if the run must end before that.
    pub(crate) fn pause(&self, duration: Duration) -> Result<(), Error> {
        if self.left() <= duration {
            let told = format!("DEADLINE ({} s) exceeded", self.config.deadline);
            return Err(Error::new(Reason::Interrupted, told));
        }
        workers::pause(duration);
        Ok(())
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}
