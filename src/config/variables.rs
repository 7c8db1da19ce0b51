//! The one table of variables: name, older names, default, meaning and parser, a row each.
//! [`Settings::read`] reads every value once; `--help` and docs/configuration.md show the same rows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use log::LevelFilter;
use rustls_pki_types::CertificateDer;
use strsim::osa_distance;

use crate::config::values::{
    DirectHosts, Entries, Parser, any, api_key, array, base_url, boolean, choice, deadline,
    direct_hosts, file, instance, one_line, probe_address, proxy, restart_apps, roots, service_url,
    single, words,
};
use crate::config::{DEADLINE, Format, Probe, RestartApps};
use crate::error::Reason;
use crate::ibm::iam::Endpoint;
use crate::ibm::ids::{Region, SecretId, Uuid};
use crate::ibm::secrets_manager::Version;
use crate::secret::Secret;
use crate::text::sanitized;

/// A row of the table, as people know it.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Other names that work: deprecated ones, with a warning, and the lower-case form of some.
    pub older: &'static [&'static str],
    /// The default, in words.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Whether it decides what is done to what: then a misspelt name is refused, not only reported.
    pub(super) decides: bool,
}

macro_rules! variables {
    (@decides what) => { true };
    (@decides how) => { false };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (injected { $($injected:ident: $its_type:ty = $its_parser:expr, $its_name:literal;)* }
     $($kind:ident $field:ident: $type:ty $([$value:expr])? = $parser:expr, $name:literal $(or $older:literal)?, $default:literal, $meaning:literal;)*) => {
        /// Every variable that the job reads, apart from those that Code Engine injects.
        pub const VARIABLES: &[Variable] = &[
            $(Variable { name: $name, older: &[$($older)?], default: $default, meaning: $meaning, decides: variables!(@decides $kind) },)*
        ];

        /// What each variable says; its default if it is not set, or was not understood.
        pub struct Settings {
            $(#[doc = $its_name] pub $injected: $its_type,)*
            $(#[doc = $meaning] pub $field: $type,)*
        }

        impl Settings {
            /// Reads each variable once. What is wrong with them, [`crate::config::Config::new`] reports.
            #[must_use]
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

// `what`: decides what is done to what; `how`: only how the job works and what it shows
variables! {
    injected {
        in_code_engine: bool = |_| Ok(true), "CE_JOBRUN";
        own_project: Option<Uuid> = Uuid::parse, "CE_PROJECT_ID";
        own_region: Option<Region> = Region::parse, "CE_REGION";
        own_url: Option<String> = |text| service_url(text, &["/v2"]), "CE_API_BASE_URL";
        job: Option<String> = any, "CE_JOB";
        array_size: usize = |text| Ok(text.parse::<usize>()?), "JOB_ARRAY_SIZE";
        array_index: Option<usize> = |text| Ok(text.parse::<usize>()?), "JOB_INDEX";
        notification: Option<String> = any, "ibmendata";
        event_type: Option<String> = any, "CE_TYPE";
        event_id: Option<String> = any, "CE_ID";
        event_data: Option<String> = any, "CE_DATA";
    }

    what secrets_manager: String = |text| service_url(text, &["/api/v2", "/api"]), "SECRETS_MANAGER_URL" or "SM_ENDPOINT", "required",
        "endpoint of the Secrets Manager instance; the private one is recommended";
    what instance: Option<Uuid> = instance, "SECRETS_MANAGER_INSTANCE_ID", "first label of that host, if it is a UUID",
        "the instance that events must come from";
    how profile_id: Option<String> = one_line, "IAM_PROFILE_ID" or "IAM_PROFILE_CRN", "required in Code Engine: set exactly one of IAM_PROFILE_ID, IAM_PROFILE_NAME",
        "trusted profile to assume, by ID or CRN";
    how profile_name: Option<String> = one_line, "IAM_PROFILE_NAME" or "TRUSTED_PROFILE_NAME", "",
        "trusted profile to assume, by name";
    what tls_secret: Option<Entries> = single, "TLS_SECRET_NAME" or "CE_SECRET", "required unless TARGETS or TARGETS_FILE is set",
        "the Code Engine TLS secret to replace (one target)";
    what secret: Option<SecretId> = SecretId::parse, "SECRET_ID", "the one certificate that the event names",
        "with TLS_SECRET_NAME: the Secrets Manager secret to copy from; with TARGETS: limits this run to that secret";
    what targets: Option<Entries> = array, "TARGETS", "",
        "many targets, as a JSON array of {\"secret_id\", \"tls_secret\", \"project_id\"?, \"region\"?, \"restart_apps\"?, \"hold\"?}; at most 128 KiB, the kernel's limit for one variable";
    what targets_file: Option<Entries> = file, "TARGETS_FILE", "",
        "instead of TARGETS: a file with the same JSON, such as a mounted configmap; for more than about 600 targets";
    what code_engine_url: Option<String> = base_url, "CODE_ENGINE_URL", "own region: CE_API_BASE_URL, which Code Engine injects; others: https://api.{region}.codeengine.cloud.ibm.com",
        "API base URL for all targets; may contain {region}";
    what project: Option<Uuid> = Uuid::parse, "PROJECT_ID", "CE_PROJECT_ID, which Code Engine injects",
        "default project of the targets";
    how iam: Endpoint = |text| service_url(text, &["/identity/token"]).map(|base| Endpoint { base, fallback: None }), "IAM_URL", "https://private.iam.cloud.ibm.com; if that cannot be reached, https://iam.cloud.ibm.com with the finding iam-public",
        "IAM endpoint; if set, no fallback is tried";
    how token_file: Option<PathBuf> = |path| Ok(PathBuf::from(path)), "CR_TOKEN_FILENAME", "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token, then the other defaults of IBM's SDKs",
        "file with the compute resource token";
    how api_key: Option<Secret> = api_key, "IBMCLOUD_API_KEY" or "IAM_API_KEY", "",
        "instead of a profile, for runs outside Code Engine";
    what dry_run: bool = boolean, "DRY_RUN", "false",
        "decide and report, write nothing; same exit status as the real run (as --dry-run)";
    what hold: bool = boolean, "HOLD", "false",
        "for every target, like \"hold\" of one: decide and report, write nothing until it is released";
    what version: Version = |text| choice(text, &[("current", Version::Current), ("previous", Version::Previous)]), "SECRET_VERSION", "current",
        "previous undoes a rotation; manual runs only, with SECRET_ID; ignores HOLD";
    what force: Vec<Reason> = |text| words(text).map(|word| choice(word, &Reason::FORCEABLE.map(|reason| (reason.word(), reason)))).collect::<anyhow::Result<Vec<Reason>>>(), "FORCE", "none",
        "refusal reasons to override, comma-separated: names-lost, less-trusted, chain-shorter, older; manual runs only, with SECRET_ID; otherwise ignored with a warning";
    what restart_apps: RestartApps = restart_apps, "RESTART_APPS", "none",
        "apps to restart, comma-separated; auto: those that read the secret as environment variables or by sub_path. With several targets only auto, for each target without \"restart_apps\"";
    what probe: Probe = |text| choice(text, &[("warn", Probe::Warn), ("require", Probe::Require), ("off", Probe::Off)]), "PROBE", "warn",
        "check afterwards what the domain mappings serve: warn, require (exit status 10 if one serves another certificate) or off";
    what probe_address: Option<(String, u16)> = probe_address, "PROBE_ADDRESS", "the cname_target of the mapping, port 443",
        "probe this host[:port] instead of the cname_target";
    what check: bool = boolean, "CHECK", "false",
        "check every permission separately, change nothing (as --check)";
    what discover: bool = boolean, "DISCOVER", "false",
        "list the TLS secrets and the certificates that match them, change nothing (as --discover)";
    what deadline: u64 [DEADLINE] = deadline, "DEADLINE", "120",
        "seconds for the whole run; caps every other time limit";
    how output: Option<Format> = |text| choice(text, &[("json", Format::Json), ("text", Format::Text)]), "OUTPUT", "text on a terminal and for check and discover, else json",
        "form of the report: json or text (as --output)";
    how log_level: LevelFilter [LevelFilter::Info] = |text| choice(text, &[("error", LevelFilter::Error), ("warn", LevelFilter::Warn), ("info", LevelFilter::Info), ("debug", LevelFilter::Debug)]), "LOG_LEVEL", "info",
        "error, warn, info or debug";
    how no_color: bool = |_| Ok(true), "NO_COLOR", "colors only if standard output is a terminal",
        "if set, the text report has no colors";
    how proxy: Option<ureq::Proxy> = proxy, "HTTPS_PROXY" or "https_proxy", "none",
        "proxy for HTTPS: http://[user:password@]host[:port]";
    how no_proxy: DirectHosts = direct_hosts, "NO_PROXY" or "no_proxy", "none",
        "hosts and domains to reach without the proxy, comma-separated; entries with a port and CIDR blocks are ignored with a warning";
    how further_roots: Vec<CertificateDer<'static>> = roots, "SSL_CERT_FILE", "built-in public roots only",
        "additional trusted roots (PEM file)";
}

/// Names near ours that mean something else, and that systems and tools set: the platforms of
/// container builds and of Rust, Go's module proxy, Xcode's folder, IBM's tools.
const OF_OTHERS: &str =
    "GOPROXY HTTP_PROXY IBM_CLOUD_API_KEY PROJECT_DIR TARGET TARGETOS TARGET_OS";

/// More problems than this are only counted.
const SHOWN_PROBLEMS: usize = 50;

/// The environment while it is read, and what was found.
pub struct Notes<'a> {
    environment: &'a BTreeMap<String, String>,
    /// The variables that are set, understood or not.
    set: Vec<&'static str>,
    problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Notes<'a> {
    /// The value under its name or an older one.
    fn value<T>(
        &mut self,
        name: &'static str,
        older: &[&'static str],
        parse: Parser<T>,
    ) -> Option<T> {
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
        let parsed = parse(self.text(used)?).map_err(|e| format!("{used}: {e:#}"));
        parsed.map_err(|problem| self.problem(problem)).ok()
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
            let Some(right) = right.filter(|_| self.text(name).is_some()) else {
                continue;
            };
            let what = format!("{}: did you mean {}?", sanitized(name), right.name);
            match right.decides {
                true => self.problem(what),
                false => self.warn(what),
            }
        }
    }

    /// Something is wrong with a variable: `NAME: what`.
    pub(super) fn problem(&mut self, what: impl Into<String>) {
        self.problems.push(what.into());
    }

    pub(super) fn warn(&mut self, what: impl Into<String>) {
        self.warnings.push(what.into());
    }

    /// The one of these variables that is set. It is a problem if there are several, or none where one
    /// is required.
    pub(super) fn one_of(
        &mut self,
        names: &[&'static str],
        required: Option<String>,
    ) -> Option<&'static str> {
        let set = names.iter().copied().filter(|name| self.is_set(name));
        let set: Vec<&str> = set.collect();
        match (set.as_slice(), required) {
            ([name], _) => return Some(*name),
            ([], required) => self.problems.extend(required),
            _ => self.problem(format!("{}: set only one of these", set.join(", "))),
        }
        None
    }

    /// All problems in one sentence; `None` if there are none.
    pub(super) fn summary(&mut self) -> Option<String> {
        let more = self.problems.len().saturating_sub(SHOWN_PROBLEMS);
        self.problems.truncate(SHOWN_PROBLEMS);
        if more > 0 {
            self.problem(format!("and {more} more problems"));
        }
        (!self.problems.is_empty()).then(|| self.problems.join("; "))
    }
}

/// The variable that is meant by a name that is none of ours: equal but for `_` and case, one edit away,
/// or two if the right name has more than six letters.
pub(super) fn meant(name: &str) -> Option<&'static Variable> {
    let ours = |v: &Variable| v.name == name || v.older.contains(&name);
    if OF_OTHERS.split(' ').any(|other| other == name) || VARIABLES.iter().any(ours) {
        return None;
    }
    let letters = |name: &str| name.replace('_', "").to_ascii_uppercase();
    VARIABLES.iter().find(|variable| {
        let right = letters(variable.name);
        let most = if right.len() > 6 { 2 } else { 1 };
        right == letters(name) || osa_distance(name, variable.name) <= most
    })
}
