//! The environment of the run, in two stages: [`Given`] is what it says, variable by variable;
//! [`Config`] is what it means together. All problems are found before the first request.

mod help;
mod targets;
#[cfg(test)]
mod tests;
mod together;
mod values;
mod variables;

use std::collections::BTreeMap;

use log::LevelFilter;
use rustls_pki_types::CertificateDer;

pub use crate::config::help::help;
pub use crate::config::variables::{Given, VARIABLES, Variable};
use crate::error::{Error, Reason, error};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::grantee::Grantee;
use crate::ibm::iam::{Credentials, Endpoint};
use crate::ibm::ids::{AppName, Region, Uuid};
use crate::ibm::secrets_manager::Version;
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
#[derive(Debug)]
pub struct Config {
    /// What to do.
    pub mode: Mode,
    /// What started the run.
    pub event: Event,
    /// Base URL of the Secrets Manager instance, without `/api`.
    pub secrets_manager: String,
    /// The instance that events must come from, if it is known.
    pub instance: Option<Uuid>,
    /// Where tokens come from.
    pub iam: Endpoint,
    /// What proves who we are.
    pub credentials: Credentials,
    /// Whom to grant a missing permission.
    pub grantee: Grantee,
    /// The targets, in their order.
    pub targets: Vec<Target>,
    /// The projects of the targets, and the default one, each once, with the region that a target
    /// names for it.
    pub projects: Vec<(Project, Option<Region>)>,
    /// With many targets: the only secret that this run is about.
    pub only_secret: Option<Uuid>,
    /// The share of this instance in the job run's array.
    pub share: Share,
    /// Decide and report, write nothing.
    pub dry_run: bool,
    /// Which version of the certificate to deploy.
    pub version: Version,
    /// The refusal reasons to override; none but in a manual run with `SECRET_ID`.
    pub force: Vec<Reason>,
    /// Whether to check what is served.
    pub probe: Probe,
    /// Host and port to connect to instead of a mapping's `cname_target`.
    pub probe_address: Option<(String, u16)>,
    /// Seconds for the whole run.
    pub deadline: u64,
    /// Roots to trust in addition to the built-in ones.
    pub further_roots: Vec<CertificateDer<'static>>,
    /// The proxy for HTTPS.
    pub proxy: Option<ureq::Proxy>,
    /// What is worth a warning: deprecated names, misspelt ones, settings without effect.
    pub warnings: Vec<String>,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Process the targets.
    Run,
    /// Check every permission, change nothing.
    Check,
    /// List what could be a target, change nothing.
    Discover,
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

/// What started the run, as Code Engine hands it over.
#[derive(Debug)]
pub enum Event {
    /// `ibmendata`: a notification of Event Notifications.
    EventNotifications(String),
    /// `CE_DATA` and others: an event subscription of Code Engine.
    Subscription {
        /// `CE_TYPE`.
        event_type: Option<String>,
        /// `CE_ID`.
        id: Option<String>,
        /// `CE_DATA`.
        data: String,
    },
    /// No event: a manual run.
    Manual,
}

/// The share of one instance of an array job: every `size`-th target from `index` on.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// `JOB_INDEX`.
    pub index: usize,
    /// `JOB_ARRAY_SIZE`.
    pub size: usize,
}

/// Log settings.
#[derive(Clone, Copy, Debug)]
pub struct Logging {
    /// The least severe level that is shown.
    pub level: LevelFilter,
    /// JSON lines, or text.
    pub format: Format,
}

/// Read before validation: a wrong value means the default here, and is a problem in
/// [`Config::new`].
impl Given<'_> {
    /// Log settings.
    #[must_use]
    pub fn logging(&self) -> Logging {
        Logging {
            level: self.log_level.unwrap_or(LevelFilter::Info),
            format: match self.in_code_engine() {
                true => Format::Json,
                false => Format::Text,
            },
        }
    }

    /// The form of the report, unless standard output decides it.
    #[must_use]
    pub fn output(&self) -> Option<Format> {
        let for_people = [self.check, self.discover].contains(&Some(true));
        self.output.or_else(|| for_people.then_some(Format::Text))
    }

    /// Seconds for the whole run.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.deadline.unwrap_or(DEADLINE)
    }

    /// Whether a terminal may get colors.
    #[must_use]
    pub const fn colors(&self) -> bool {
        self.no_color.is_none()
    }

    fn in_code_engine(&self) -> bool {
        self.environment.contains_key("CE_JOBRUN")
    }

    /// A variable that Code Engine sets. It is not judged, but ignored if it makes no sense.
    fn injected<T>(&self, name: &str, parse: impl Fn(&str) -> anyhow::Result<T>) -> Option<T> {
        parse(self.environment.get(name)?).ok()
    }
}

impl Config {
    /// Reads the environment: both stages.
    ///
    /// # Errors
    /// As [`Config::new`].
    pub fn parse(environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        Self::new(Given::read(environment))
    }

    /// Works out what the variables mean together.
    ///
    /// # Errors
    /// [`Reason::Configuration`], with everything that is wrong.
    pub fn new(mut given: Given<'_>) -> Result<Self, Error> {
        if !given.notes.is_set("SECRETS_MANAGER_URL") {
            given.notes.problem("SECRETS_MANAGER_URL", "is required");
        }
        given.notes.misspelt(given.environment);
        let mode = given.mode();
        let event = Event::of(given.environment);
        let instance = given.instance();
        let credentials = given.credentials();
        let version = given.version(&event);
        let force = given.force(&event);
        let only_secret = given.secret(instance.as_ref());
        let single = given.notes.is_set("TLS_SECRET_NAME");
        let targets = given.targets(mode, only_secret.as_ref(), instance.as_ref());
        let projects = given.projects(&targets, mode);
        let share = given.share();
        let proxy = given.proxy();
        let grantee = given.grantee(credentials.as_ref(), instance.clone());
        let problems = given.notes.summary();
        match (given.secrets_manager_url, credentials, problems) {
            (Some(secrets_manager), Some(credentials), None) => Ok(Self {
                grantee,
                mode,
                event,
                secrets_manager,
                instance,
                iam: Endpoint {
                    fallback: given.iam_url.is_none().then(|| PUBLIC_IAM.to_owned()),
                    base: given.iam_url.unwrap_or_else(|| PRIVATE_IAM.to_owned()),
                },
                credentials,
                targets,
                projects,
                only_secret: only_secret.filter(|_| !single),
                share,
                dry_run: given.dry_run.unwrap_or(false),
                version,
                force,
                probe: given.probe.unwrap_or_default(),
                probe_address: given.probe_address,
                deadline: given.deadline.unwrap_or(DEADLINE),
                further_roots: given.further_roots.unwrap_or_default(),
                proxy,
                warnings: given.notes.warnings,
            }),
            (_, _, problems) => Err(error!(
                Reason::Configuration,
                "invalid configuration: {}",
                problems.unwrap_or_default()
            )
            .hint("sm-tls-sync --help explains each variable")),
        }
    }
}

impl Event {
    /// The first that is present wins.
    fn of(environment: &BTreeMap<String, String>) -> Self {
        // Event Notifications writes it in lower case; nothing says that it always will
        let notification = environment
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("ibmendata"));
        if let Some((_, text)) = notification {
            return Self::EventNotifications(text.clone());
        }
        let get = |name: &str| environment.get(name).cloned();
        match (get("CE_TYPE"), get("CE_DATA")) {
            (None, None) => Self::Manual,
            (event_type, data) => Self::Subscription {
                event_type,
                id: get("CE_ID"),
                data: data.unwrap_or_default(),
            },
        }
    }
}
