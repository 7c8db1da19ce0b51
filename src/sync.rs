//! The four steps: validate, fetch, assemble, replace, and what they share.

pub mod assemble;
pub(crate) mod compare;
pub(crate) mod deployed;
pub mod fetch;
pub(crate) mod replace;
#[cfg(test)]
pub(crate) mod samples;
pub mod validate;

use rustls_pki_types::UnixTime;

use crate::cert::names::ServerName;
use crate::config::{Config, Probe};
use crate::error::Error;
use crate::ibm::code_engine::{CodeEngine, TlsSecretRef};
use crate::ibm::iam::Iam;
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::{SecretsManager, Version};
use crate::progress::Progress;
use crate::sync::assemble::{Bundle, assemble};
use crate::sync::fetch::fetch;
use crate::sync::validate::Task;
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
    /// The time at which certificates are judged: the start of the run.
    pub(crate) now: UnixTime,
}

impl Run<'_> {
    /// Steps 2 and 3: the certificate as it is now (or was before, for an undo), fit to serve.
    ///
    /// # Errors
    /// Those of [`fetch()`] and [`assemble()`].
    pub(crate) fn fetch_and_assemble(&self, secret: &Uuid) -> Result<Bundle, Error> {
        let material = fetch(&self.secrets_manager, secret, self.config.settings.version)?;
        let name = &material.name;
        let what = format!("the certificate {name} ({secret}) is not fit to serve");
        assemble(&material, self.now).map_err(|error| error.context(what))
    }

    /// The domains that are served with a TLS secret.
    ///
    /// # Errors
    /// Those of the list of domain mappings.
    pub(crate) fn domains(&self, place: &TlsSecretRef) -> Result<Vec<ServerName>, Error> {
        let mappings = self.code_engine.domain_mappings(&place.project)?;
        let used = mappings.iter().filter(|mapping| mapping.uses(&place.name));
        Ok(used.map(|mapping| ServerName::dns(&mapping.name)).collect())
    }

    /// [`workers::each`], for work that is not for targets of the run: `what` is shown on a terminal.
    pub(crate) fn each<T: Send, R: Send>(
        &self,
        what: &str,
        items: Vec<T>,
        work: impl Fn(T) -> Result<R, Error> + Sync,
    ) -> Vec<Result<R, Error>> {
        self.progress.begin(what, items.len());
        workers::each(items, |item| {
            let result = work(item);
            self.progress.advance();
            result
        })
    }

    /// Whether nothing is written to the target. An undo ignores a hold.
    pub(crate) fn holds(&self, task: &Task) -> bool {
        task.target.hold && self.config.settings.version == Version::Current
    }

    /// Whether apps are restarted for the target.
    pub(crate) fn restarts(&self, task: &Task) -> bool {
        !task.target.restart_apps.is_empty() && !self.holds(task)
    }

    /// How many kinds of effects are to be seen once the target is up to date: restarts, domains.
    pub(crate) fn effects(&self, task: &Task) -> usize {
        let effects = [self.restarts(task), self.config.settings.probe != Probe::Off];
        let wanted = effects.iter().filter(|wanted| **wanted && !self.config.settings.dry_run);
        wanted.count()
    }
}
