//! The environment of the run, in two stages: [`Settings`] is what it says, variable by
//! variable; [`Config`] is what it means together. All problems are found before the first request.

mod help;
mod targets;
#[cfg(test)]
mod tests;
mod together;
mod values;
mod variables;

use std::collections::BTreeMap;

pub use crate::config::help::help;
pub use crate::config::variables::{Notes, Settings, VARIABLES, Variable};
use crate::error::{Error, Reason, error};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::grantee::Grantee;
use crate::ibm::iam::{Credentials, Endpoint};
use crate::ibm::ids::{AppName, Region, Uuid};
pub use crate::report::Format;

/// Default of `DEADLINE`, in seconds.
pub const DEADLINE: u64 = 120;
/// The port of domain mappings.
pub const HTTPS: u16 = 443;
/// IAM inside IBM's network.
const PRIVATE_IAM: &str = "https://private.iam.cloud.ibm.com";
/// IAM on the internet.
const PUBLIC_IAM: &str = "https://iam.cloud.ibm.com";

/// What the environment means.
pub struct Config {
    /// What each variable says.
    pub settings: Settings,
    /// What proves who we are.
    pub credentials: Credentials,
    /// Whom to grant a missing permission.
    pub grantee: Grantee,
    /// The targets, in their order.
    pub targets: Vec<Target>,
    /// The projects of the targets, and the default one, each once, with the region that a target
    /// names for it.
    pub projects: Vec<(Project, Option<Region>)>,
    /// What is worth a warning: deprecated names, misspelt ones, settings without effect.
    pub warnings: Vec<String>,
}

/// A TLS secret and the certificate to copy into it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The secret in Secrets Manager; `None`: the event names it.
    pub secret: Option<Uuid>,
    /// The TLS secret in Code Engine.
    pub tls_secret: TlsSecretRef,
    /// The region of its project, if the target names it.
    pub region: Option<Region>,
    /// The apps to restart for it.
    pub restart_apps: RestartApps,
    /// Decide and report, write nothing.
    pub hold: bool,
}

/// The apps to restart for a new certificate.
#[derive(Clone, Debug, Default)]
pub struct RestartApps {
    /// Those that keep a copy of the TLS secret from their start.
    pub auto: bool,
    /// These, in this order.
    pub names: Vec<AppName>,
}

impl RestartApps {
    /// Whether nothing is to be restarted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.auto && self.names.is_empty()
    }
}

/// What a domain that does not serve the certificate means.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Probe {
    /// A finding.
    #[default]
    Warn,
    /// Exit status 10.
    Require,
    /// Not checked.
    Off,
}

impl Settings {
    /// The form of the report, unless standard output decides it.
    #[must_use]
    pub fn output(&self) -> Option<Format> {
        let for_people = self.check || self.discover;
        self.output.or_else(|| for_people.then_some(Format::Text))
    }

    /// Whether the target at this position is for this instance of a job run. In an array each takes
    /// every `array_size`-th one.
    #[must_use]
    pub fn takes(&self, position: usize) -> bool {
        self.array_size == 0 || Some(position % self.array_size) == self.array_index
    }

    /// Whether no event started the run.
    #[must_use]
    pub const fn manual(&self) -> bool {
        let subscription = self.event_type.is_some() || self.event_data.is_some();
        self.notification.is_none() && !subscription
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            base: PRIVATE_IAM.to_owned(),
            fallback: Some(PUBLIC_IAM.to_owned()),
        }
    }
}

impl Config {
    /// Reads the environment: both stages.
    ///
    /// # Errors
    /// As [`Config::new`].
    pub fn parse(environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let (settings, notes) = Settings::read(environment);
        Self::new(settings, notes)
    }

    /// Works out what the variables mean together.
    ///
    /// # Errors
    /// [`Reason::Configuration`], with everything that is wrong.
    pub fn new(mut settings: Settings, mut notes: Notes<'_>) -> Result<Self, Error> {
        notes.misspelt();
        settings.judge(&mut notes);
        settings.find_instance(&mut notes);
        settings.pass_by_proxy(&mut notes);
        let grantee = settings.grantee();
        let credentials = settings.credentials(&mut notes);
        let targets = settings.targets(&mut notes);
        let projects = settings.projects(&targets);
        if let Some(problems) = notes.summary() {
            let error = error!(Reason::Configuration, "invalid configuration: {problems}");
            return Err(error.hint("sm-tls-sync --help explains each variable"));
        }
        Ok(Self {
            settings,
            credentials,
            grantee,
            targets,
            projects,
            warnings: notes.warnings,
        })
    }
}
