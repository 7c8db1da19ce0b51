//! The one table of variables: name, older names, default, meaning and parser, a row each.
//! [`Given::read`] reads every value once; `--help` and docs/configuration.md show the same rows.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use log::LevelFilter;
use rustls_pki_types::CertificateDer;
use strsim::osa_distance;

use crate::config::targets::{Entries, array, file, single};
use crate::config::values::{
    DirectHosts, api_key, base_url, boolean, choice, deadline, direct_hosts, instance, one_line,
    probe_address, proxy, restart_apps, roots, service_url, words,
};
use crate::config::{Format, Probe, RestartApps};
use crate::error::Reason;
use crate::ibm::ids::{SecretId, Uuid};
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
    ($($kind:ident $field:ident: $type:ty = $parser:expr, $name:literal $(or $older:literal)?, $default:literal, $meaning:literal;)*) => {
        /// Every variable that the job reads, apart from those that Code Engine injects.
        pub const VARIABLES: &[Variable] = &[
            $(Variable { name: $name, older: &[$($older)?], default: $default, meaning: $meaning, decides: variables!(@decides $kind) },)*
        ];

        /// What the environment says, variable by variable, as far as it was understood.
        /// [`crate::config::Config`] is what it means together.
        pub struct Given<'a> {
            pub(super) environment: &'a BTreeMap<String, String>,
            pub(super) notes: Notes,
            $(pub(super) $field: Option<$type>,)*
        }

        impl<'a> Given<'a> {
            /// Reads each variable once. What is wrong with them, [`crate::config::Config::new`] reports.
            #[must_use]
            pub fn read(environment: &'a BTreeMap<String, String>) -> Self {
                let mut notes = Notes::default();
                Self {
                    environment,
                    $($field: notes.value(environment, $name, &[$($older)?], $parser),)*
                    notes,
                }
            }
        }
    };
}

// `what`: decides what is done to what; `how`: only how the job works and what it shows
variables! {
    what secrets_manager_url: String = |text| service_url(text, &["/api/v2", "/api"]), "SECRETS_MANAGER_URL" or "SM_ENDPOINT", "required",
        "endpoint of the Secrets Manager instance; the private one is recommended";
    what instance: Uuid = instance, "SECRETS_MANAGER_INSTANCE_ID", "first label of that host, if it is a UUID",
        "the instance that events must come from";
    how profile_id: String = one_line, "IAM_PROFILE_ID" or "IAM_PROFILE_CRN", "required in Code Engine: set exactly one of IAM_PROFILE_ID, IAM_PROFILE_NAME",
        "trusted profile to assume, by ID or CRN";
    how profile_name: String = one_line, "IAM_PROFILE_NAME" or "TRUSTED_PROFILE_NAME", "",
        "trusted profile to assume, by name";
    what tls_secret: Entries = single, "TLS_SECRET_NAME" or "CE_SECRET", "required unless TARGETS or TARGETS_FILE is set",
        "the Code Engine TLS secret to replace (one target)";
    what secret: SecretId = SecretId::parse, "SECRET_ID", "the one certificate that the event names",
        "with TLS_SECRET_NAME: the Secrets Manager secret to copy from; with TARGETS: limits this run to that secret";
    what targets: Entries = array, "TARGETS", "",
        "many targets, as a JSON array of {\"secret_id\", \"tls_secret\", \"project_id\"?, \"region\"?, \"restart_apps\"?, \"hold\"?}; at most 128 KiB, the kernel's limit for one variable";
    what targets_file: Entries = file, "TARGETS_FILE", "",
        "instead of TARGETS: a file with the same JSON, such as a mounted configmap; for more than about 600 targets";
    what code_engine_url: String = base_url, "CODE_ENGINE_URL", "own region: CE_API_BASE_URL, which Code Engine injects; others: https://api.{region}.codeengine.cloud.ibm.com",
        "API base URL for all targets; may contain {region}";
    what project: Uuid = Uuid::parse, "PROJECT_ID", "CE_PROJECT_ID, which Code Engine injects",
        "default project of the targets";
    how iam_url: String = |text| service_url(text, &["/identity/token"]), "IAM_URL", "https://private.iam.cloud.ibm.com; if that cannot be reached, https://iam.cloud.ibm.com with the finding iam-public",
        "IAM endpoint; if set, no fallback is tried";
    how token_file: PathBuf = |path| Ok(PathBuf::from(path)), "CR_TOKEN_FILENAME", "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token, then the other defaults of IBM's SDKs",
        "file with the compute resource token";
    how api_key: Secret = api_key, "IBMCLOUD_API_KEY" or "IAM_API_KEY", "",
        "instead of a profile, for runs outside Code Engine";
    what dry_run: bool = boolean, "DRY_RUN", "false",
        "decide and report, write nothing; same exit status as the real run (as --dry-run)";
    what hold: bool = boolean, "HOLD", "false",
        "for every target, like \"hold\" of one: decide and report, write nothing until it is released";
    what version: Version = |text| choice(text, &[("current", Version::Current), ("previous", Version::Previous)]), "SECRET_VERSION", "current",
        "previous undoes a rotation; manual runs only, with SECRET_ID; ignores HOLD";
    what force: Vec<Reason> = |text| words(text).map(|word| choice(word, &Reason::FORCEABLE.map(|reason| (reason.word(), reason)))).collect(), "FORCE", "none",
        "refusal reasons to override, comma-separated: names-lost, less-trusted, chain-shorter, older; manual runs only, with SECRET_ID; otherwise ignored with a warning";
    what restart_apps: RestartApps = restart_apps, "RESTART_APPS", "none",
        "apps to restart, comma-separated; auto: those that read the secret as environment variables or by sub_path. With several targets only auto, for each target without \"restart_apps\"";
    what probe: Probe = |text| choice(text, &[("warn", Probe::Warn), ("require", Probe::Require), ("off", Probe::Off)]), "PROBE", "warn",
        "check afterwards what the domain mappings serve: warn, require (exit status 10 if one serves another certificate) or off";
    what probe_address: (String, u16) = probe_address, "PROBE_ADDRESS", "the cname_target of the mapping, port 443",
        "probe this host[:port] instead of the cname_target";
    what check: bool = boolean, "CHECK", "false",
        "check every permission separately, change nothing (as --check)";
    what discover: bool = boolean, "DISCOVER", "false",
        "list the TLS secrets and the certificates that match them, change nothing (as --discover)";
    what deadline: u64 = deadline, "DEADLINE", "120",
        "seconds for the whole run; caps every other time limit";
    how output: Format = |text| choice(text, &[("json", Format::Json), ("text", Format::Text)]), "OUTPUT", "text on a terminal and for check and discover, else json",
        "form of the report: json or text (as --output)";
    how log_level: LevelFilter = |text| choice(text, &[("error", LevelFilter::Error), ("warn", LevelFilter::Warn), ("info", LevelFilter::Info), ("debug", LevelFilter::Debug)]), "LOG_LEVEL", "info",
        "error, warn, info or debug";
    how no_color: () = |_| Ok(()), "NO_COLOR", "colors only if standard output is a terminal",
        "if set, the text report has no colors";
    how proxy: ureq::Proxy = proxy, "HTTPS_PROXY" or "https_proxy", "none",
        "proxy for HTTPS: http://[user:password@]host[:port]";
    how no_proxy: DirectHosts = direct_hosts, "NO_PROXY" or "no_proxy", "none",
        "hosts and domains to reach without the proxy, comma-separated; entries with a port and CIDR blocks are ignored with a warning";
    how further_roots: Vec<CertificateDer<'static>> = roots, "SSL_CERT_FILE", "built-in public roots only",
        "additional trusted roots (PEM file)";
}

/// Names near ours that mean something else, and that systems and tools set: the platforms of
/// container builds and of Rust, Go's module proxy, Xcode's folder, IBM's tools.
const OF_OTHERS: [&str; 7] = [
    "GOPROXY",
    "HTTP_PROXY",
    "IBM_CLOUD_API_KEY",
    "PROJECT_DIR",
    "TARGET",
    "TARGETOS",
    "TARGET_OS",
];

/// More problems than this are only counted.
const SHOWN_PROBLEMS: usize = 50;

/// What was found while reading.
#[derive(Default)]
pub(super) struct Notes {
    /// The variables that are set, understood or not.
    set: Vec<&'static str>,
    problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Notes {
    /// The value under its name or an older one; an empty one counts as not set.
    fn value<'a, T>(
        &mut self,
        environment: &'a BTreeMap<String, String>,
        name: &'static str,
        older: &[&'static str],
        parse: impl Fn(&'a str) -> anyhow::Result<T>,
    ) -> Option<T> {
        let names = std::iter::once(&name).chain(older);
        let mut set = names.filter_map(|name| Some((*name, set(environment, name)?)));
        let (used, text) = set.next()?;
        self.set.push(name);
        // the lower-case form of a name is not deprecated
        let deprecated = |used: &str| !used.eq_ignore_ascii_case(name);
        if deprecated(used) {
            self.warnings
                .push(format!("{used} is deprecated: use {name}"));
        }
        if let Some((other, _)) = set.find(|(other, _)| deprecated(other)) {
            let what = format!("is the deprecated name of {name}, which is also set");
            self.problem(other, what);
        }
        parse(text).map_err(|e| self.problem(used, e)).ok()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.set.contains(&name)
    }

    /// Looks for misspelt names. What decides must not be without effect.
    pub(super) fn misspelt(&mut self, environment: &BTreeMap<String, String>) {
        for name in environment
            .keys()
            .filter(|name| set(environment, name).is_some())
        {
            let Some(right) = meant(name).filter(|v| set(environment, v.name).is_none()) else {
                continue;
            };
            let (name, what) = (sanitized(name), format!("did you mean {}?", right.name));
            match right.decides {
                true => self.problem(name, what),
                false => self.warnings.push(format!("{name}: {what}")),
            }
        }
    }

    pub(super) fn problem(&mut self, name: impl Display, what: impl Display) {
        self.problems.push(format!("{name}: {what:#}"));
    }

    /// Those of these variables that are set; it is a problem if they are several.
    pub(super) fn at_most_one(&mut self, names: &[&'static str]) -> Vec<&'static str> {
        let set = names.iter().copied().filter(|name| self.is_set(name));
        let set: Vec<&str> = set.collect();
        if set.len() > 1 {
            self.problem(set.join(", "), "set only one of these");
        }
        set
    }

    /// All problems in one sentence; `None` if there are none.
    pub(super) fn summary(&mut self) -> Option<String> {
        let more = self.problems.len().saturating_sub(SHOWN_PROBLEMS);
        self.problems.truncate(SHOWN_PROBLEMS);
        if more > 0 {
            self.problems.push(format!("and {more} more problems"));
        }
        (!self.problems.is_empty()).then(|| self.problems.join("; "))
    }
}

fn set<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
    environment.get(name).filter(|text| !text.is_empty())
}

/// The variable that is meant by a name that is none of ours: equal but for `_` and case, one edit away,
/// or two if the right name has more than six letters.
pub(super) fn meant(name: &str) -> Option<&'static Variable> {
    let ours = |v: &Variable| v.name == name || v.older.contains(&name);
    if OF_OTHERS.contains(&name) || VARIABLES.iter().any(ours) {
        return None;
    }
    let letters = |name: &str| name.replace('_', "").to_ascii_uppercase();
    VARIABLES.iter().find(|variable| {
        let right = letters(variable.name);
        let most = if right.len() > 6 { 2 } else { 1 };
        right == letters(name) || osa_distance(name, variable.name) <= most
    })
}
