//! The one table of variables: name, older names, default, meaning and parser, a row each.
//! [`Settings::read`] reads every value once; `--help` and docs/configuration.md show the same rows.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use anyhow::{Context, Error, Result};
use log::LevelFilter;
use rustls_pki_types::CertificateDer;
use strsim::osa_distance;

use crate::config::values::{self, Entries, Name, Parser};
use crate::config::{DEADLINE, Format, Probe, RestartApps};
use crate::error::Reason;
use crate::ibm::client::read_roots;
use crate::ibm::ids::{Region, SecretId, Uuid};
use crate::ibm::secrets_manager::Version;
use crate::secret::Secret;
use crate::text::sanitized;

/// Where the compute resource token is: Code Engine's path first, then the defaults of IBM's SDKs.
const TOKEN_FILES: [&str; 3] = [
    "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token",
    "/var/run/secrets/tokens/vault-token",
    "/var/run/secrets/tokens/sa-token",
];

/// A row of the table, as people know it.
pub struct Variable {
    /// Its name.
    pub name: Name,
    /// Other names that work: deprecated ones, with a warning, and the lower-case form of some.
    pub older: &'static [Name],
    /// The default, in words.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// `what` is done to what, or only `how`. A misspelt name is refused, or only reported.
    pub(super) decides: &'static str,
}

macro_rules! variables {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (injected { $($injected:ident: $its_type:ty = $its_parser:expr, $its_name:literal;)* }
     $($(#[doc = $meaning:literal])+ $kind:ident $field:ident: $type:ty $([$value:expr])? = $parser:expr, $name:literal $(or $older:literal)?, $default:literal;)*) => {
        /// Every variable that the job reads, apart from those that Code Engine injects.
        pub const VARIABLES: &[Variable] = &[
            $(Variable { name: $name, older: &[$($older)?], default: $default, meaning: concat!($($meaning),+).trim_ascii_start(), decides: stringify!($kind) },)*
        ];

        /// What each variable says; its default if it is not set, or was not understood.
        pub struct Settings {
            $(#[doc = $its_name] pub $injected: $its_type,)*
            $(#[doc = $name] pub $field: $type,)*
        }

        impl Settings {
            /// Reads each variable once. What is wrong with them, [`crate::config::Config::new`] reports.
            pub fn read(environment: &BTreeMap<String, String>) -> (Self, Notes<'_>) {
                let mut notes = Notes { environment, set: Vec::new(), problems: Vec::new(), warnings: Vec::new() };
                let settings = Self {
                    $($injected: notes.injected($its_name, $its_parser).map_or_else(Default::default, Into::into),)*
                    $($field: notes.value($name, &[$($older)?], $parser).map_or_else(|| variables!(@default $($value)?), Into::into),)*
                };
                (settings, notes)
            }
        }
    };
}

// A comment is what the variable means, as `--help` and the docs show it.
// `what`: decides what is done to what; `how`: only how the job works and what it shows
variables! {
    injected {
        in_code_engine: bool = |_| Ok(true), "CE_JOBRUN";
        own_project: Option<Uuid> = Uuid::parse, "CE_PROJECT_ID";
        own_region: Option<Region> = Region::parse, "CE_REGION";
        own_url: Option<String> = |text| values::service_url(text, &["/v2"]), "CE_API_BASE_URL";
        job: Option<String> = values::any, "CE_JOB";
        array_size: usize = |text| Ok(text.parse::<usize>()?), "JOB_ARRAY_SIZE";
        array_index: Option<usize> = |text| Ok(text.parse::<usize>()?), "JOB_INDEX";
        notification: Option<String> = values::any, "ibmendata";
        event_type: Option<String> = values::any, "CE_TYPE";
        event_id: Option<String> = values::any, "CE_ID";
        event_data: Option<String> = values::any, "CE_DATA";
    }

    /// endpoint of the Secrets Manager instance; the private one is recommended
    what secrets_manager: String = |text| values::service_url(text, &["/api/v2", "/api"]), "SECRETS_MANAGER_URL" or "SM_ENDPOINT", "required";
    /// the instance that events must come from
    what instance: Option<Uuid> = values::instance, "SECRETS_MANAGER_INSTANCE_ID", "first label of that host, if it is a UUID";
    /// trusted profile to assume, by ID or CRN
    how profile_id: Option<String> = values::one_line, "IAM_PROFILE_ID" or "IAM_PROFILE_CRN", "required in Code Engine: set exactly one of IAM_PROFILE_ID, IAM_PROFILE_NAME";
    /// trusted profile to assume, by name
    how profile_name: Option<String> = values::one_line, "IAM_PROFILE_NAME" or "TRUSTED_PROFILE_NAME", "";
    /// the Code Engine TLS secret to replace (one target)
    what tls_secret: Option<Entries> = values::single, "TLS_SECRET_NAME" or "CE_SECRET", "required unless TARGETS or TARGETS_FILE is set";
    /// with TLS_SECRET_NAME: the Secrets Manager secret to copy from; with TARGETS: limits this run
    /// to that secret
    what secret: Option<SecretId> = SecretId::parse, "SECRET_ID", "the one certificate that the event names";
    /// many targets, as a JSON array of {"secret_id", "tls_secret", "project_id"?, "region"?,
    /// "restart_apps"?, "hold"?}; at most 128 KiB, the kernel's limit for one variable
    what targets: Option<Entries> = values::array, "TARGETS", "";
    /// instead of TARGETS: a file with the same JSON, such as a mounted configmap; for more than
    /// about 700 targets
    what targets_file: Option<Entries> = values::file, "TARGETS_FILE", "";
    /// API base URL for all targets; may contain {region}
    what code_engine_url: Option<String> = |text| Ok(values::base_url(text)?.trim_end_matches("/v2").to_owned()), "CODE_ENGINE_URL", "own region: CE_API_BASE_URL, which Code Engine injects; others: https://api.{region}.codeengine.cloud.ibm.com";
    /// default project of the targets
    what project: Option<Uuid> = Uuid::parse, "PROJECT_ID", "CE_PROJECT_ID, which Code Engine injects";
    /// IAM endpoint; if set, no fallback is tried
    how iam: Option<String> = |text| values::service_url(text, &["/identity/token"]), "IAM_URL", "https://private.iam.cloud.ibm.com; if that cannot be reached, https://iam.cloud.ibm.com with the finding iam-public";
    /// file with the compute resource token
    how token_files: Vec<PathBuf> [TOKEN_FILES.map(PathBuf::from).to_vec()] = |path| Ok(vec![PathBuf::from(path)]), "CR_TOKEN_FILENAME", "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token, then the other defaults of IBM's SDKs";
    /// instead of a profile, for runs outside Code Engine
    how api_key: Option<Secret> = values::api_key, "IBMCLOUD_API_KEY" or "IAM_API_KEY", "";
    /// decide and report, write nothing; same exit status as the real run (as --dry-run)
    what dry_run: bool = values::boolean, "DRY_RUN", "false";
    /// for every target, like "hold" of one: decide and report, write nothing until it is released
    what hold: bool = values::boolean, "HOLD", "false";
    /// previous undoes a rotation; manual runs only, with SECRET_ID; ignores HOLD
    what version: Version = |text| values::choice(text, &[("current", Version::Current), ("previous", Version::Previous)]), "SECRET_VERSION", "current";
    /// refusal reasons to override, comma-separated: names-lost, less-trusted, chain-shorter,
    /// older; manual runs only, with SECRET_ID; otherwise ignored with a warning
    what force: Vec<Reason> = |text| values::words(text).map(|word| values::choice(word, &Reason::FORCEABLE.map(|reason| (reason.word(), reason)))).collect::<Result<Vec<Reason>>>(), "FORCE", "none";
    /// apps to restart, comma-separated; auto: those that read the secret as environment variables
    /// or by sub_path. With several targets only auto, for each target without "restart_apps"
    what restart_apps: RestartApps = values::restart_apps, "RESTART_APPS", "none";
    /// check afterwards what the domain mappings serve: warn, require (exit status 10 if one is
    /// not seen to serve the certificate) or off
    what probe: Probe [Probe::Warn] = |text| values::choice(text, &[("warn", Probe::Warn), ("require", Probe::Require), ("off", Probe::Off)]), "PROBE", "warn";
    /// probe this host[:port] instead of the cname_target
    what probe_address: Option<(String, u16)> = values::probe_address, "PROBE_ADDRESS", "the cname_target of the mapping, port 443";
    /// check every permission separately, change nothing (as --check)
    what check: bool = values::boolean, "CHECK", "false";
    /// list the TLS secrets and the certificates that match them, change nothing (as --discover)
    what discover: bool = values::boolean, "DISCOVER", "false";
    /// seconds for the whole run; caps every other time limit
    what deadline: u64 [DEADLINE] = values::deadline, "DEADLINE", "120";
    /// form of the report: json or text (as --output)
    how output: Option<Format> = |text| values::choice(text, &[("json", Format::Json), ("text", Format::Text)]), "OUTPUT", "text on a terminal and for check and discover, else json";
    /// error, warn, info or debug
    how log_level: LevelFilter [LevelFilter::Info] = |text| values::choice(text, &[("error", LevelFilter::Error), ("warn", LevelFilter::Warn), ("info", LevelFilter::Info), ("debug", LevelFilter::Debug)]), "LOG_LEVEL", "info";
    /// if set, the text report has no colors
    how no_color: bool = |_| Ok(true), "NO_COLOR", "colors only if standard output is a terminal";
    /// proxy for HTTPS: http://[user:password@]host[:port]
    how proxy: Option<ureq::Proxy> = values::proxy, "HTTPS_PROXY" or "https_proxy", "none";
    /// hosts and domains to reach without the proxy, comma-separated; entries with a port and CIDR
    /// blocks are ignored with a warning
    how no_proxy: (Vec<String>, usize) = values::direct_hosts, "NO_PROXY" or "no_proxy", "none";
    /// additional trusted roots (PEM file)
    how further_roots: Vec<CertificateDer<'static>> = |path| read_roots(&values::text_of_file(path)?), "SSL_CERT_FILE", "built-in public roots only";
}

/// Names near ours that mean something else, and that systems and tools set: the platforms of
/// container builds and of Rust, Go's module proxy, Xcode's folder, IBM's tools.
const OTHERS: &str = "GOPROXY HTTP_PROXY IBM_CLOUD_API_KEY PROJECT_DIR TARGET TARGETOS TARGET_OS";

/// The environment while it is read, and what was found.
pub struct Notes<'a> {
    environment: &'a BTreeMap<String, String>,
    /// The variables that are set, understood or not.
    set: Vec<Name>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Notes<'a> {
    /// The value under its name or an older one.
    fn value<T>(&mut self, name: Name, older: &[Name], parse: Parser<T>) -> Option<T> {
        let is_set = |name: &&str| self.text(name).is_some();
        let older = older.iter().copied().find(is_set);
        let used = Some(name).filter(is_set).or(older)?;
        self.set.push(name);
        // the lower-case form of a name is not deprecated
        if let Some(older) = older.filter(|older| !older.eq_ignore_ascii_case(name)) {
            match used == name {
                true => self.problem(format!(
                    "{older}: is the deprecated name of {name}, which is also set"
                )),
                false => self.warn(format!("{older} is deprecated: use {name}")),
            }
        }
        let parsed = parse(self.text(used)?).context(used);
        parsed.map_err(|e| self.problem(e)).ok()
    }

    /// The text of a variable; an empty one counts as not set.
    fn text(&self, name: &str) -> Option<&'a str> {
        let text = self.environment.get(name)?;
        (!text.is_empty()).then_some(text)
    }

    /// A variable that Code Engine sets. It is not judged, but ignored if it makes no sense.
    fn injected<T>(&self, name: &str, parse: Parser<T>) -> Option<T> {
        let mut variables = self.environment.iter();
        // Event Notifications writes its own in lower case; nothing says that it always will
        let (_, text) = variables.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        parse(text).ok()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.set.contains(&name)
    }

    /// Looks for misspelt names. What decides must not be without effect.
    pub(super) fn misspelt(&mut self) {
        for name in self.environment.keys() {
            let right = meant(name).filter(|right| self.text(right.name).is_none());
            if let Some(right) = right.filter(|_| self.text(name).is_some()) {
                let what = format!("{}: did you mean {}?", sanitized(name), right.name);
                match right.decides {
                    "what" => self.problem(what),
                    _ => self.warn(what),
                }
            }
        }
    }

    /// Something is wrong with a variable: `NAME: what`.
    pub(super) fn problem(&mut self, what: impl Display) {
        self.problems.push(format!("{what:#}"));
    }

    pub(super) fn warn(&mut self, what: impl Into<String>) {
        self.warnings.push(what.into());
    }

    /// The one of these variables that is set. It is a problem if there are several, or none where one
    /// is required.
    pub(super) fn one_of(&mut self, names: [Name; 3], required: Option<Error>) -> Option<Name> {
        let set: Vec<Name> = names.into_iter().filter(|name| self.is_set(name)).collect();
        match (set.as_slice(), required) {
            ([name], _) => return Some(name),
            ([], None) => {}
            ([], Some(required)) => self.problem(required),
            _ => self.problem(format!("{}: set only one of these", set.join(", "))),
        }
        None
    }
}

/// The variable that is meant by a name that is none of ours: equal but for `_` and case, one edit away,
/// or two if the right name has more than six letters.
pub(super) fn meant(name: &str) -> Option<&'static Variable> {
    let ours = |v: &Variable| v.name == name || v.older.contains(&name);
    let known = OTHERS.split(' ').any(|other| other == name) || VARIABLES.iter().any(ours);
    let letters = |name: &str| name.replace('_', "").to_ascii_uppercase();
    let mut variables = VARIABLES.iter().filter(|_| !known);
    variables.find(|variable| {
        let right = letters(variable.name);
        let most = if right.len() > 6 { 2 } else { 1 };
        right == letters(name) || osa_distance(name, variable.name) <= most
    })
}
