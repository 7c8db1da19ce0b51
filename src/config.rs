//! The environment of the run, in two stages: [`Settings`] is what it says, variable by
//! variable; [`Config`] is what it means together. All problems are found before the first request.

mod help;
#[cfg(test)]
mod tests;
mod together;
mod values;
mod variables;

pub use crate::config::help::help;
pub use crate::config::variables::{Notes, Settings, VARIABLES, Variable};
use crate::error::{Error, Reason};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::grantee::Grantee;
use crate::ibm::ids::{AppName, Region, Uuid};
pub use crate::report::Format;
use crate::text::first_of_many;

/// Default of `DEADLINE`, in seconds.
pub const DEADLINE: u64 = 120;
/// The port of domain mappings.
pub const HTTPS: u16 = 443;
/// More problems than this are only counted.
const SHOWN_PROBLEMS: usize = 50;

/// What the environment means.
pub struct Config {
    /// What each variable says.
    pub settings: Settings,
    /// Who we are, and whom to grant a missing permission.
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
    pub const fn is_empty(&self) -> bool {
        !self.auto && self.names.is_empty()
    }
}

/// What a domain that does not serve the certificate means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// A finding.
    Warn,
    /// Exit status 10.
    Require,
    /// Not checked.
    Off,
}

impl Settings {
    /// The form of the report, unless standard output decides it.
    pub fn output(&self) -> Option<Format> {
        let for_people = self.check || self.discover;
        self.output.or_else(|| for_people.then_some(Format::Text))
    }

    /// Whether the target at this position is for this instance of a job run. In an array each takes
    /// every `array_size`-th one.
    pub fn takes(&self, position: usize) -> bool {
        self.array_size <= 1 || Some(position % self.array_size) == self.array_index
    }
}

impl Config {
    /// Works out what the variables mean together.
    ///
    /// # Errors
    /// [`Reason::Configuration`], with everything that is wrong.
    pub fn new(mut settings: Settings, mut notes: Notes<'_>) -> Result<Self, Error> {
        notes.misspelt();
        settings.judge(&mut notes);
        settings.find_instance(&mut notes);
        settings.pass_by_proxy(&mut notes);
        let grantee = settings.grantee(&mut notes);
        let targets = settings.targets(&mut notes);
        let projects = settings.projects(&targets);
        if !notes.problems.is_empty() {
            let problems = first_of_many(&notes.problems, SHOWN_PROBLEMS).join("; ");
            let error = Reason::Configuration.error(format!("invalid configuration: {problems}"));
            return Err(error.hint("sm-tls-sync --help explains each variable"));
        }
        Ok(Self { settings, grantee, targets, projects, warnings: notes.warnings })
    }
}
