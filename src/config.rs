//! The environment of the run -> [`Config`].
//!
//! Belongs here: the table of variables (which `--help` and the README's table are held to), their
//! defaults, and what contradicts what. Does not: reading the process environment (`main.rs`), nor
//! judging the event (`validate.rs`).
//!
//! All problems are found before the first request and told in one message.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use log::LevelFilter;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use ureq::ProxyProtocol;
use ureq::http::Uri;

use crate::error::{Error, Kind, Reason, error};
use crate::ibm::code_engine::Place;
use crate::ibm::http::read_roots;
use crate::ibm::iam::{Credentials, Endpoint};
use crate::ibm::ids::{Crn, Region, SecretId, TlsSecretName, Uuid};
use crate::ibm::rights::Rights;
use crate::printable::printable;
use crate::secret::Secret;

/// A variable of the environment, as people know it.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Names that work too, with a warning: those of the original and of IBM's sample.
    pub aliases: &'static [&'static str],
    /// The default, in words.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// Every variable that the job reads, beside those that Code Engine injects.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "SECRETS_MANAGER_URL",
        aliases: &["SM_ENDPOINT"],
        default: "required",
        meaning: "endpoint of the Secrets Manager instance, the private one recommended",
    },
    Variable {
        name: "SECRETS_MANAGER_INSTANCE_ID",
        aliases: &[],
        default: "the first label of that host, where it is one",
        meaning: "the instance that events must come from",
    },
    Variable {
        name: "IAM_PROFILE_ID",
        aliases: &[],
        default: "one of the three is required in Code Engine",
        meaning: "trusted profile to assume, by id",
    },
    Variable {
        name: "IAM_PROFILE_NAME",
        aliases: &["TRUSTED_PROFILE_NAME"],
        default: "",
        meaning: "trusted profile to assume, by name",
    },
    Variable {
        name: "IAM_PROFILE_CRN",
        aliases: &[],
        default: "",
        meaning: "trusted profile to assume, by CRN",
    },
    Variable {
        name: "TLS_SECRET_NAME",
        aliases: &["CE_SECRET"],
        default: "this or TARGETS",
        meaning: "the Code Engine TLS secret to replace (one target)",
    },
    Variable {
        name: "SECRET_ID",
        aliases: &[],
        default: "the one certificate that the event names",
        meaning: "with TLS_SECRET_NAME: the Secrets Manager secret that feeds it; with TARGETS: narrows this run to it",
    },
    Variable {
        name: "TARGETS",
        aliases: &[],
        default: "this or TLS_SECRET_NAME",
        meaning: "JSON array for many targets: {\"secret_id\", \"tls_secret\", \"project_id\"?, \"region\"?}",
    },
    Variable {
        name: "CODE_ENGINE_URL",
        aliases: &[],
        default: "own region: CE_API_BASE_URL, which Code Engine injects; others: https://api.{region}.codeengine.cloud.ibm.com",
        meaning: "API base for all targets; may hold {region}",
    },
    Variable {
        name: "PROJECT_ID",
        aliases: &[],
        default: "CE_PROJECT_ID, which Code Engine injects",
        meaning: "default project of the targets",
    },
    Variable {
        name: "IAM_URL",
        aliases: &[],
        default: "https://private.iam.cloud.ibm.com; if that cannot be reached, https://iam.cloud.ibm.com with the finding iam-public",
        meaning: "token service; given, it is used and nothing else",
    },
    Variable {
        name: "CR_TOKEN_FILENAME",
        aliases: &[],
        default: "Code Engine's path, then the other defaults of IBM's SDKs",
        meaning: "file of the compute resource token",
    },
    Variable {
        name: "IBMCLOUD_API_KEY",
        aliases: &["IAM_API_KEY"],
        default: "",
        meaning: "instead of a profile, for runs outside Code Engine",
    },
    Variable {
        name: "DRY_RUN",
        aliases: &[],
        default: "false",
        meaning: "decide and report, write nothing; exit as the real run would (as --dry-run)",
    },
    Variable {
        name: "FORCE",
        aliases: &[],
        default: "none",
        meaning: "reasons of refusal to overrule, comma-separated: names-lost, less-trusted, chain-shorter, older; by hand only, with SECRET_ID; elsewhere ignored with a finding",
    },
    Variable {
        name: "DEADLINE",
        aliases: &[],
        default: "120",
        meaning: "seconds for the whole run; caps every other time limit",
    },
    Variable {
        name: "LOG_LEVEL",
        aliases: &[],
        default: "info",
        meaning: "error, warn, info or debug",
    },
    Variable {
        name: "LOG_FORMAT",
        aliases: &[],
        default: "json in Code Engine, else text",
        meaning: "json or text",
    },
    Variable {
        name: "HTTPS_PROXY",
        aliases: &[],
        default: "none",
        meaning: "proxy for HTTPS: http://[user:password@]host[:port] (also in lower case)",
    },
    Variable {
        name: "NO_PROXY",
        aliases: &[],
        default: "none",
        meaning: "hosts and domains to reach without the proxy, comma-separated (also in lower case)",
    },
    Variable {
        name: "SSL_CERT_FILE",
        aliases: &[],
        default: "built-in public roots only",
        meaning: "further roots to trust (PEM)",
    },
];

/// Seconds for the whole run, unless said otherwise.
pub const DEADLINE: u64 = 120;
/// The token service inside IBM's network.
const PRIVATE_IAM: &str = "https://private.iam.cloud.ibm.com";
const PUBLIC_IAM: &str = "https://iam.cloud.ibm.com";
const CODE_ENGINE: &str = "https://api.{region}.codeengine.cloud.ibm.com";
/// Where the compute resource token is: Code Engine's path first, then what IBM's SDKs try.
const TOKEN_FILES: [&str; 3] = [
    "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token",
    "/var/run/secrets/tokens/vault-token",
    "/var/run/secrets/tokens/sa-token",
];
/// The reasons that `FORCE` overrules.
const OVERRULABLE: [Reason; 4] = [
    Reason::NamesLost,
    Reason::LessTrusted,
    Reason::ChainShorter,
    Reason::Older,
];
/// Code Engine's longest run (Code Engine limits).
const LONGEST_DEADLINE: u64 = 86_400;

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
    pub rights: Rights,
    /// The targets, in their order.
    pub targets: Vec<Target>,
    /// The only secret that this run is about, among many targets.
    pub narrowed: Option<Uuid>,
    /// Whether `SECRET_ID` is given.
    pub one_secret: bool,
    /// The share of this instance in the job run's array.
    pub share: Share,
    /// Decide and report, write nothing.
    pub dry_run: bool,
    /// The rules to overrule.
    pub force: Vec<Reason>,
    /// Seconds for the whole run.
    pub deadline: u64,
    /// Roots to trust beside the built-in ones.
    pub further_roots: Vec<CertificateDer<'static>>,
    /// The proxy for HTTPS.
    pub proxy: Option<ureq::Proxy>,
    /// Names that worked, but have a successor.
    pub warnings: Vec<String>,
}

/// A TLS secret and what feeds it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The secret in Secrets Manager; none: the event names it.
    pub secret: Option<Uuid>,
    /// The TLS secret in Code Engine.
    pub place: Place,
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
        let one_secret = secret.is_some();
        let (targets, narrowed) = reader.targets(secret, instance.as_ref());
        let dry_run = reader.value("DRY_RUN", boolean).unwrap_or(false);
        let force = reader.value("FORCE", force).unwrap_or_default();
        let deadline = reader.value("DEADLINE", deadline).unwrap_or(DEADLINE);
        reader.value("LOG_LEVEL", log_level);
        reader.value("LOG_FORMAT", log_format);
        let further_roots = reader
            .value("SSL_CERT_FILE", |path| {
                read_roots(&fs::read_to_string(path).with_context(|| printable(path))?)
            })
            .unwrap_or_default();
        let proxy = reader.proxy();
        let share = reader.share();

        match (secrets_manager, credentials) {
            (Some(secrets_manager), Some(credentials)) if reader.problems.is_empty() => Ok(Self {
                rights: Rights {
                    profile: match &credentials {
                        Credentials::Profile { profile, .. } => Some(profile.clone()),
                        Credentials::ApiKey(_) => None,
                    },
                    instance: instance.clone(),
                    region: injected(environment, "CE_REGION")
                        .and_then(|text| Region::parse(text).ok()),
                },
                trigger: Trigger::of(environment),
                secrets_manager,
                instance,
                iam,
                credentials,
                targets,
                narrowed,
                one_secret,
                share,
                dry_run,
                force,
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

/// Takes values out of the environment and collects what is wrong with them. The parsers do not
/// name the variable: that is done here, once.
struct Reader<'a> {
    environment: &'a BTreeMap<String, String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// The value under its name or an older one; an empty one counts as absent.
    fn raw(&mut self, name: &str) -> Option<(&'static str, &'a str)> {
        let variable = VARIABLES.iter().find(|variable| variable.name == name)?;
        let environment = self.environment;
        let mut given = std::iter::once(&variable.name)
            .chain(variable.aliases)
            .filter_map(|name| {
                let value = environment.get(*name)?;
                (!value.is_empty()).then_some((*name, value.as_str()))
            });
        let (used, value) = given.next()?;
        if let Some((other, _)) = given.next() {
            self.problem(
                other,
                "is the older name of another variable that is given too",
            );
        }
        if used != variable.name {
            self.warnings.push(format!(
                "{used} works, but its name is now {}",
                variable.name
            ));
        }
        Some((used, value))
    }

    fn value<T>(&mut self, name: &str, parse: impl Fn(&'a str) -> anyhow::Result<T>) -> Option<T> {
        let (used, text) = self.raw(name)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(e) => {
                self.problem(used, e);
                None
            }
        }
    }

    fn required<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&'a str) -> anyhow::Result<T>,
    ) -> Option<T> {
        if self.raw(name).is_none() {
            self.problem(name, "is missing");
        }
        self.value(name, parse)
    }

    fn problem(&mut self, name: &str, what: impl Display) {
        let problem = format!("{name}: {what:#}");
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn instance(&mut self, secrets_manager: Option<&str>) -> Option<Uuid> {
        let given = self.value("SECRETS_MANAGER_INSTANCE_ID", |text| {
            if text.starts_with("crn:") {
                return Uuid::parse(&Crn::parse(text)?.instance);
            }
            Uuid::parse(text)
        });
        let host = secrets_manager
            .and_then(|base| Some(base.split_once("://")?.1))
            .and_then(|host| Uuid::parse(host.split('.').next()?).ok());
        if let (Some(given), Some(host)) = (&given, &host)
            && given != host
        {
            self.problem(
                "SECRETS_MANAGER_INSTANCE_ID",
                format!("{given} is not the instance of SECRETS_MANAGER_URL, {host}"),
            );
        }
        given.or(host)
    }

    fn credentials(&mut self) -> Option<Credentials> {
        let printable_text = |text: &'a str| {
            ensure!(
                !text.chars().any(char::is_control),
                "expected one line without control characters"
            );
            Ok(text.to_owned())
        };
        let profiles: Vec<(&'static str, &'static str, String)> = [
            ("IAM_PROFILE_ID", "profile_id"),
            ("IAM_PROFILE_NAME", "profile_name"),
            ("IAM_PROFILE_CRN", "profile_crn"),
        ]
        .into_iter()
        .filter_map(|(name, field)| Some((name, field, self.value(name, printable_text)?)))
        .collect();
        let api_key = self.value("IBMCLOUD_API_KEY", |text| {
            ensure!(
                text.bytes().all(|b| b.is_ascii_graphic()),
                "expected printable characters without spaces"
            );
            Ok(Secret::from(text.to_owned()))
        });
        let token_files = self
            .value("CR_TOKEN_FILENAME", |text| Ok(vec![PathBuf::from(text)]))
            .unwrap_or_else(|| TOKEN_FILES.map(PathBuf::from).to_vec());

        let in_code_engine = self.environment.contains_key("CE_JOBRUN");
        match (profiles.as_slice(), api_key) {
            ([(_, field, profile)], None) => Some(Credentials::Profile {
                field,
                profile: profile.clone(),
                token_files,
            }),
            ([], Some(key)) if !in_code_engine => Some(Credentials::ApiKey(key)),
            ([], Some(_)) => {
                self.problem(
                    "IBMCLOUD_API_KEY",
                    "is for runs outside Code Engine; a job assumes a trusted profile: give IAM_PROFILE_ID",
                );
                None
            }
            ([], None) => {
                self.problem(
                    "IAM_PROFILE_ID",
                    "is missing (or IAM_PROFILE_NAME, IAM_PROFILE_CRN; outside Code Engine IBMCLOUD_API_KEY)",
                );
                None
            }
            (several, key) => {
                let mut names: Vec<&str> = several.iter().map(|(name, ..)| *name).collect();
                names.extend(key.map(|_| "IBMCLOUD_API_KEY"));
                self.problem(&names.join(", "), "give one of them, not several");
                None
            }
        }
    }

    /// The targets, and the secret that narrows the run among `TARGETS`.
    fn targets(
        &mut self,
        secret: Option<Uuid>,
        instance: Option<&Uuid>,
    ) -> (Vec<Target>, Option<Uuid>) {
        let places = Places {
            given: self.value("CODE_ENGINE_URL", base_url),
            own: injected(self.environment, "CE_API_BASE_URL").and_then(|text| {
                let base = base_url(text).ok()?;
                Some(base.strip_suffix("/v2").unwrap_or(&base).to_owned())
            }),
            own_region: injected(self.environment, "CE_REGION")
                .and_then(|text| Region::parse(text).ok()),
            project: self.value("PROJECT_ID", Uuid::parse).or_else(|| {
                injected(self.environment, "CE_PROJECT_ID").and_then(|text| Uuid::parse(text).ok())
            }),
        };
        let single = self.value("TLS_SECRET_NAME", |text| {
            places.place(TlsSecretName::parse(text)?, None, None)
        });
        let has_single = self.raw("TLS_SECRET_NAME").is_some();
        let many = self.raw("TARGETS").map(|(_, text)| text);
        match (single, many) {
            (_, Some(_)) if has_single => {
                self.problem("TLS_SECRET_NAME, TARGETS", "give one of them, not both");
                (Vec::new(), None)
            }
            (Some(place), None) => (vec![Target { secret, place }], None),
            (None, None) => {
                if !has_single {
                    self.problem("TLS_SECRET_NAME", "is missing (or TARGETS)");
                }
                (Vec::new(), None)
            }
            (_, Some(text)) => {
                let targets = self.many(text, instance, &places);
                if let Some(secret) = &secret
                    && !targets.is_empty()
                    && !targets.iter().any(|t| t.secret.as_ref() == Some(secret))
                {
                    self.problem("SECRET_ID", format!("no target names {secret}"));
                }
                (targets, secret)
            }
        }
    }

    fn many(&mut self, text: &str, instance: Option<&Uuid>, places: &Places) -> Vec<Target> {
        let entries: Vec<Entry> = match serde_json::from_str(text) {
            Ok(entries) => entries,
            Err(e) => {
                self.problem("TARGETS", format!("expected a JSON array of targets: {e}"));
                return Vec::new();
            }
        };
        if entries.is_empty() {
            self.problem("TARGETS", "the array is empty");
        }
        let mut targets: Vec<Target> = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            match entry.target(instance, places) {
                Ok(target) if targets.iter().any(|other| other.place == target.place) => {
                    self.problem(
                        &format!("TARGETS[{position}]"),
                        format!("the TLS secret {} has a target already", target.place.name),
                    );
                }
                Ok(target) => targets.push(target),
                Err(e) => self.problem(&format!("TARGETS[{position}]"), e),
            }
        }
        targets
    }

    /// The convention of curl and others: both spellings count, an entry covers its subdomains.
    fn proxy(&mut self) -> Option<ureq::Proxy> {
        let environment = self.environment;
        let given = |upper: &str, lower: &str| {
            let value = environment.get(upper).or_else(|| environment.get(lower))?;
            (!value.is_empty()).then_some(value)
        };
        let url = given("HTTPS_PROXY", "https_proxy")?;
        // its text can hold a password: never shown
        let Ok(proxy) = ureq::Proxy::new(url) else {
            self.problem("HTTPS_PROXY", "expected http://host:port");
            return None;
        };
        if !matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) {
            self.problem("HTTPS_PROXY", "expected an HTTP proxy, http://host:port");
            return None;
        }
        let mut builder = ureq::Proxy::builder(proxy.protocol())
            .host(proxy.host())
            .port(proxy.port());
        if let Some(username) = proxy.username() {
            builder = builder.username(username);
        }
        if let Some(password) = proxy.password() {
            builder = builder.password(password);
        }
        let entries = given("NO_PROXY", "no_proxy").map_or("", String::as_str);
        for entry in entries
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            builder = builder.no_proxy(entry);
            if !entry.starts_with(['.', '*']) {
                builder = builder.no_proxy(&format!(".{entry}"));
            }
        }
        builder.build().ok()
    }

    /// Code Engine injects both variables; without them the run is the whole array.
    fn share(&mut self) -> Share {
        let number = |name: &str| injected(self.environment, name).map(str::parse::<usize>);
        let size = number("JOB_ARRAY_SIZE").and_then(Result::ok).unwrap_or(1);
        if size <= 1 {
            return Share { index: 0, size: 1 };
        }
        match number("JOB_INDEX") {
            Some(Ok(index)) if index < size => Share { index, size },
            _ => {
                self.problem(
                    "JOB_INDEX",
                    format!("expected an index below JOB_ARRAY_SIZE ({size}): give the job a gapless array such as 0-{}", size - 1),
                );
                Share { index: 0, size }
            }
        }
    }
}

/// One object of `TARGETS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    secret_id: String,
    tls_secret: String,
    project_id: Option<String>,
    region: Option<String>,
}

impl Entry {
    fn target(&self, instance: Option<&Uuid>, places: &Places) -> anyhow::Result<Target> {
        let secret = secret_id(&self.secret_id, instance).map_err(|e| e.context("secret_id"))?;
        let name = TlsSecretName::parse(&self.tls_secret).map_err(|e| e.context("tls_secret"))?;
        let project = self.project_id.as_deref().map(Uuid::parse).transpose();
        let region = self.region.as_deref().map(Region::parse).transpose();
        Ok(Target {
            secret: Some(secret),
            place: places.place(
                name,
                project.map_err(|e| e.context("project_id"))?,
                region.map_err(|e| e.context("region"))?,
            )?,
        })
    }
}

/// What a target does not say itself.
struct Places {
    given: Option<String>,
    own: Option<String>,
    own_region: Option<Region>,
    project: Option<Uuid>,
}

impl Places {
    fn place(
        &self,
        name: TlsSecretName,
        project: Option<Uuid>,
        region: Option<Region>,
    ) -> anyhow::Result<Place> {
        let project_id = project
            .or_else(|| self.project.clone())
            .ok_or_else(|| anyhow!("no project: give PROJECT_ID"))?;
        let elsewhere = region.is_some() && region != self.own_region;
        let pattern = match (&self.given, &self.own) {
            (Some(given), _) => given,
            (None, Some(own)) if !elsewhere => own,
            _ => CODE_ENGINE,
        };
        let base = match region.as_ref().or(self.own_region.as_ref()) {
            Some(region) => pattern.replace("{region}", &region.to_string()),
            None if pattern.contains("{region}") => {
                bail!("no region: give CODE_ENGINE_URL, or a region to the target")
            }
            None => pattern.to_owned(),
        };
        Ok(Place {
            base,
            project_id,
            name,
        })
    }
}

/// A variable that Code Engine sets; we do not judge it, but do without where it makes no sense.
fn injected<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str)
}

/// An absolute URL without query, fragment, user and closing slash. Plain HTTP is for loopback only.
fn base_url(text: &str) -> anyhow::Result<String> {
    let text = text.trim_end_matches('/');
    // `{region}` is no part of a URL until it is replaced
    let uri: Uri = text.replace("{region}", "region").parse().map_err(|_| {
        anyhow!(
            "expected a URL such as https://host, found {}",
            printable(text)
        )
    })?;
    let host = uri.host().unwrap_or_default();
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if loopback => {}
        Some("http") => bail!("http:// is refused except to loopback: give https://"),
        _ => bail!(
            "expected a URL that begins with https://, found {}",
            printable(text)
        ),
    }
    ensure!(
        uri.query().is_none()
            && !text.contains(['#', '?'])
            && !uri.authority().is_some_and(|a| a.as_str().contains('@')),
        "expected a URL without user, query and fragment"
    );
    Ok(text.to_owned())
}

fn without_path(base: &str) -> anyhow::Result<String> {
    let base = base.trim_end_matches('/');
    let path = base
        .split_once("://")
        .is_none_or(|(_, rest)| rest.contains('/'));
    ensure!(
        !path,
        "expected no path beyond the documented one, found {}",
        printable(base)
    );
    Ok(base.to_owned())
}

fn secret_id(text: &str, instance: Option<&Uuid>) -> anyhow::Result<Uuid> {
    let secret = SecretId::parse(text)?;
    if let (Some(crn), Some(instance)) = (&secret.crn, instance) {
        ensure!(
            crn.instance == instance.to_string(),
            "the secret belongs to {crn}, not to instance {instance}"
        );
    }
    Ok(secret.id)
}

fn boolean(text: &str) -> anyhow::Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => bail!("expected true or false, found {}", printable(text)),
    }
}

/// Only what compares with the deployed certificate can be overruled, never what is unfit.
fn force(text: &str) -> anyhow::Result<Vec<Reason>> {
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words
        .map(|word| {
            OVERRULABLE
                .into_iter()
                .find(|reason| reason.word() == word)
                .ok_or_else(|| {
                    let known = OVERRULABLE.map(Reason::word).join(", ");
                    anyhow!("expected some of {known}, found {}", printable(word))
                })
        })
        .collect()
}

fn deadline(text: &str) -> anyhow::Result<u64> {
    text.parse()
        .ok()
        .filter(|seconds| (1..=LONGEST_DEADLINE).contains(seconds))
        .ok_or_else(|| {
            anyhow!(
                "expected seconds from 1 to {LONGEST_DEADLINE}, found {}",
                printable(text)
            )
        })
}

fn log_level(text: &str) -> anyhow::Result<LevelFilter> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        _ => bail!(
            "expected error, warn, info or debug, found {}",
            printable(text)
        ),
    }
}

fn log_format(text: &str) -> anyhow::Result<bool> {
    match text {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => bail!("expected json or text, found {}", printable(text)),
    }
}

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "sm-tls-sync brings a renewed TLS certificate from IBM Cloud Secrets Manager into the TLS secret\n\
         of a Code Engine project. It runs as a Code Engine job and takes its work from the environment:\n\
         ibmendata (Event Notifications), CE_DATA (event subscriptions of Code Engine), or neither\n\
         (brings every target in line).\n\n\
         Usage: sm-tls-sync [--dry-run | --help | --version]\n\n\
         Environment:\n",
    );
    for variable in VARIABLES {
        text.push_str(&format!(
            "  {}\n      {}\n",
            variable.name, variable.meaning
        ));
        if !variable.default.is_empty() {
            text.push_str(&format!("      default: {}\n", variable.default));
        }
        if !variable.aliases.is_empty() {
            text.push_str(&format!(
                "      older name: {}\n",
                variable.aliases.join(", ")
            ));
        }
    }
    text.push_str(
        "\nThe log goes to standard error, the report (one line of JSON) to standard output.\n\n\
         Exit status:\n   0  every target is in line, or the event does not concern us\n",
    );
    for (kind, meaning) in Kind::ALL {
        text.push_str(&format!("{:>4}  {meaning}\n", kind.status()));
    }
    text.truncate(text.trim_end().len());
    text
}
