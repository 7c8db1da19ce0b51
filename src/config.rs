//! The environment of the run -> [`Config`].
//!
//! Belongs here: the variables, their defaults, and what contradicts what. Does not: reading the process environment (`main.rs`), nor
//! judging the event (`validate.rs`).
//!
//! All problems are found before the first request and told in one message.

mod reader;
mod targets;
mod values;
mod variables;

use std::collections::BTreeMap;

use anyhow::Context;
use log::LevelFilter;
use rustls_pki_types::CertificateDer;

use crate::config::reader::Reader;
use crate::config::values::{
    base_url, boolean, deadline, force, injected, log_format, log_level, probe, probe_address,
    secret_id, version, without_path,
};
pub use crate::config::variables::{VARIABLES, Variable, help};
use crate::error::{Error, Reason, error};
use crate::ibm::client::read_roots;
use crate::ibm::code_engine::TlsSecretRef;
use crate::ibm::iam::{Credentials, Endpoint};
use crate::ibm::ids::{AppName, Region, Uuid};
use crate::ibm::proxy::Proxy;
use crate::ibm::secrets_manager::Version;
use crate::secret::read_file;
use crate::sync::refusals::Grantee;
use crate::text::sanitized;

/// Seconds for the whole run, unless said otherwise.
pub const DEADLINE: u64 = 120;
/// The largest file of trusted roots: those of an operating system have about 250 KB.
const LARGEST_ROOTS: usize = 4 * 1024 * 1024;
/// Where domain mappings serve, unless said otherwise.
pub const HTTPS: u16 = 443;
/// The token service inside IBM's network.
const PRIVATE_IAM: &str = "https://private.iam.cloud.ibm.com";
/// The token service for the world.
const PUBLIC_IAM: &str = "https://iam.cloud.ibm.com";

/// What the environment means.
#[derive(Debug)]
pub struct Config {
    /// What started the run.
    pub trigger: Trigger,
    /// Base URL of the Secrets Manager instance, without `/api`.
    pub secrets_manager: String,
    /// The instance that events must come from, if it is known.
    pub instance: Option<Uuid>,
    /// Where tokens come from.
    pub iam: Endpoint,
    /// What proves who we are.
    pub credentials: Credentials,
    /// Whose rights to name when one is missing.
    pub grantee: Grantee,
    /// The targets, in their order.
    pub targets: Vec<Target>,
    /// The only secret that this run is about, among many targets.
    pub only_secret: Option<Uuid>,
    /// Whether `SECRET_ID` is given.
    pub secret_id_given: bool,
    /// The share of this instance in the job run's array.
    pub share: Share,
    /// Decide and report, write nothing.
    pub dry_run: bool,
    /// Which version of the certificate to deploy.
    pub version: Version,
    /// The rules to overrule.
    pub force: Vec<Reason>,
    /// Whether to look at what is served.
    pub probe: Probe,
    /// Host and port to connect to instead of what a domain mapping says.
    pub probe_address: Option<(String, u16)>,
    /// Try the rights, change nothing.
    pub check: bool,
    /// A secret that must not be readable.
    pub unreadable_secret: Option<Uuid>,
    /// Seconds for the whole run.
    pub deadline: u64,
    /// Roots to trust beside the built-in ones.
    pub further_roots: Vec<CertificateDer<'static>>,
    /// The proxy for HTTPS.
    pub proxy: Option<Proxy>,
    /// Names that worked, but have a successor.
    pub warnings: Vec<String>,
}

/// A TLS secret and what feeds it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The secret in Secrets Manager; none: the event names it.
    pub secret: Option<Uuid>,
    /// The TLS secret in Code Engine.
    pub tls_secret: TlsSecretRef,
    /// The apps that must restart to take it.
    pub restart_apps: RestartApps,
    /// Decide and report, write nothing.
    pub hold: bool,
}

impl Target {
    /// Whether the apps of both would note two certificates in one variable.
    fn same_variable(&self, other: &Self) -> bool {
        let variable = |target: &Self| target.tls_secret.name.fingerprint_variable();
        !self.restart_apps.is_empty()
            && !other.restart_apps.is_empty()
            && self.tls_secret.project == other.tls_secret.project
            && variable(self) == variable(other)
    }
}

/// The apps that must restart to take a new certificate.
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
    /// Nobody looks.
    Off,
}

/// What started the run, as Code Engine hands it over.
#[derive(Debug)]
pub enum Trigger {
    /// `ibmendata`: a notification of Event Notifications.
    EventNotifications(String),
    /// `CE_DATA` and kin: an event subscription of Code Engine.
    Subscription {
        /// `CE_TYPE`.
        event_type: Option<String>,
        /// `CE_ID`.
        id: Option<String>,
        /// `CE_DATA`.
        data: String,
    },
    /// No event: by hand.
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

/// How the log looks: needed before the rest of the environment is judged, so a wrong value means
/// the default here, and is told by [`Config::parse`].
#[derive(Clone, Copy, Debug)]
pub struct Logging {
    /// The least level that is shown.
    pub level: LevelFilter,
    /// JSON lines, or text.
    pub json: bool,
}

impl Logging {
    /// Takes what can be understood.
    #[must_use]
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| environment.get(name).map(String::as_str);
        Self {
            level: value("LOG_LEVEL")
                .and_then(|text| log_level(text).ok())
                .unwrap_or(LevelFilter::Info),
            json: value("LOG_FORMAT")
                .and_then(|text| log_format(text).ok())
                .unwrap_or_else(|| environment.contains_key("CE_JOBRUN")),
        }
    }
}

impl Config {
    /// Reads the environment. Which variables there are says [`VARIABLES`].
    ///
    /// # Errors
    /// [`Reason::Configuration`], with everything that is wrong.
    pub fn parse(environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut reader = Reader {
            environment,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let secrets_manager = reader.required("SECRETS_MANAGER_URL", |text| {
            let base = base_url(text)?;
            let base = base.strip_suffix("/v2").unwrap_or(&base);
            without_path(base.strip_suffix("/api").unwrap_or(base))
        });
        let instance = reader.instance(secrets_manager.as_deref());
        let iam = reader
            .value("IAM_URL", |text| {
                let base = base_url(text)?;
                without_path(base.strip_suffix("/identity/token").unwrap_or(&base))
            })
            .map_or_else(
                || Endpoint::PrivateThenPublic(PRIVATE_IAM.to_owned(), PUBLIC_IAM.to_owned()),
                Endpoint::Given,
            );
        let credentials = reader.credentials();
        let secret = reader.value("SECRET_ID", |text| secret_id(text, instance.as_ref()));
        let secret_id_given = secret.is_some();
        let (targets, only_secret) = reader.targets(secret, instance.as_ref());
        let dry_run = reader.value("DRY_RUN", boolean).unwrap_or(false);
        let force = reader.value("FORCE", force).unwrap_or_default();
        let version = reader.value("SECRET_VERSION", version).unwrap_or_default();
        let trigger = Trigger::of(environment);
        if version == Version::Previous && !(matches!(trigger, Trigger::Manual) && secret_id_given)
        {
            reader.problem(
                "SECRET_VERSION",
                "previous is for a run by hand with SECRET_ID only",
            );
        }
        let probe = reader.value("PROBE", probe).unwrap_or_default();
        let probe_address = reader.value("PROBE_ADDRESS", probe_address);
        let check = reader.value("CHECK", boolean).unwrap_or(false);
        let unreadable_secret = reader.value("CHECK_FOREIGN_SECRET_ID", |text| {
            secret_id(text, instance.as_ref())
        });
        let deadline = reader.value("DEADLINE", deadline).unwrap_or(DEADLINE);
        reader.value("LOG_LEVEL", log_level);
        reader.value("LOG_FORMAT", log_format);
        let further_roots = reader
            .value("SSL_CERT_FILE", |path| {
                read_roots(
                    &read_file(path.as_ref(), LARGEST_ROOTS).with_context(|| sanitized(path))?,
                )
            })
            .unwrap_or_default();
        let proxy = reader.proxy();
        let share = reader.share();

        match (secrets_manager, credentials) {
            (Some(secrets_manager), Some(credentials)) if reader.problems.is_empty() => Ok(Self {
                grantee: Grantee {
                    profile: match &credentials {
                        Credentials::Profile { profile, .. } => Some(profile.clone()),
                        Credentials::ApiKey(_) => None,
                    },
                    instance: instance.clone(),
                    secrets_manager: secrets_manager.replace(".private.", "."),
                    region: injected(environment, "CE_REGION")
                        .and_then(|text| Region::parse(text).ok()),
                    job: injected(environment, "CE_JOB").map(str::to_owned),
                },
                trigger,
                secrets_manager,
                instance,
                iam,
                credentials,
                targets,
                only_secret,
                secret_id_given,
                share,
                dry_run,
                version,
                force,
                probe,
                probe_address,
                check,
                unreadable_secret,
                deadline,
                further_roots,
                proxy,
                warnings: reader.warnings,
            }),
            _ => Err(error!(
                Reason::Configuration,
                "the environment of the run is wrong: {}",
                reader.problems.join("; ")
            )
            .hint("sm-tls-sync --help explains each variable")),
        }
    }
}

/// `CE_TYPE` of a cron subscription (Code Engine, subscription-cron).
const CRON: &str = "dev.knative.sources.ping";

impl Trigger {
    /// Whether a schedule started the run.
    #[must_use]
    pub fn is_cron(&self) -> bool {
        matches!(self, Self::Subscription { event_type, .. } if event_type.as_deref() == Some(CRON))
    }

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
