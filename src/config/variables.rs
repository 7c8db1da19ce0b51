//! The one table of variables: name, older names, default, meaning and parser, a row each.
//! [`Given::read`] reads every value once; `--help` and docs/configuration.md show the same rows.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use log::LevelFilter;
use rustls_pki_types::CertificateDer;

use crate::config::targets::{Entry, entries, entries_of_file};
use crate::config::values::{
    api_key, base_url, boolean, deadline, flag, force, format, iam_url, instance, log_level,
    one_line, probe, probe_address, proxy, restart_apps, roots, secrets_manager_url, version,
};
use crate::config::{Format, Probe, RestartApps};
use crate::error::Reason;
use crate::ibm::ids::{SecretId, TlsSecretName, Uuid};
use crate::ibm::proxy::NoProxy;
use crate::ibm::secrets_manager::Version;
use crate::secret::Secret;

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
}

/// What the environment says of one variable.
pub(super) struct Value<T> {
    pub(super) name: &'static str,
    /// Whether it is set, understood or not.
    pub(super) given: bool,
    /// What it means, if it was understood.
    pub(super) value: Option<T>,
}

macro_rules! variables {
    ($($field:ident: $type:ty = $parser:expr, $name:literal $(or $older:literal)?, $default:literal, $meaning:literal;)*) => {
        /// Every variable that the job reads, apart from those that Code Engine injects.
        pub const VARIABLES: &[Variable] = &[
            $(Variable { name: $name, older: &[$($older)?], default: $default, meaning: $meaning },)*
        ];

        /// What the environment says, variable by variable. [`crate::config::Config`] is what it
        /// means together.
        pub struct Given<'a> {
            pub(super) environment: &'a BTreeMap<String, String>,
            pub(super) notes: Notes,
            $(pub(super) $field: Value<$type>,)*
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

variables! {
    secrets_manager_url: String = secrets_manager_url, "SECRETS_MANAGER_URL" or "SM_ENDPOINT",
        "required",
        "endpoint of the Secrets Manager instance; the private one is recommended";
    instance: Uuid = instance, "SECRETS_MANAGER_INSTANCE_ID",
        "first label of that host, if it is a UUID",
        "the instance that events must come from";
    profile_id: String = one_line, "IAM_PROFILE_ID",
        "required in Code Engine: one of the three",
        "trusted profile to assume, by ID";
    profile_name: String = one_line, "IAM_PROFILE_NAME" or "TRUSTED_PROFILE_NAME",
        "",
        "trusted profile to assume, by name";
    profile_crn: String = one_line, "IAM_PROFILE_CRN",
        "",
        "trusted profile to assume, by CRN";
    tls_secret: TlsSecretName = TlsSecretName::parse, "TLS_SECRET_NAME" or "CE_SECRET",
        "required unless TARGETS or TARGETS_FILE is set",
        "the Code Engine TLS secret to replace (one target)";
    secret: SecretId = SecretId::parse, "SECRET_ID",
        "the one certificate that the event names",
        "with TLS_SECRET_NAME: the Secrets Manager secret to copy from; with TARGETS: limits this run to that secret";
    targets: Vec<anyhow::Result<Entry>> = entries, "TARGETS",
        "",
        "many targets, as a JSON array of {\"secret_id\", \"tls_secret\", \"project_id\"?, \"region\"?, \"restart_apps\"?, \"hold\"?}; at most 128 KiB, the kernel's limit for one variable";
    targets_file: Vec<anyhow::Result<Entry>> = entries_of_file, "TARGETS_FILE",
        "",
        "instead of TARGETS: a file with the same JSON, such as a mounted configmap; for more than about 600 targets";
    code_engine_url: String = base_url, "CODE_ENGINE_URL",
        "own region: CE_API_BASE_URL, which Code Engine injects; others: https://api.{region}.codeengine.cloud.ibm.com",
        "API base URL for all targets; may contain {region}";
    project: Uuid = Uuid::parse, "PROJECT_ID",
        "CE_PROJECT_ID, which Code Engine injects",
        "default project of the targets";
    iam_url: String = iam_url, "IAM_URL",
        "https://private.iam.cloud.ibm.com; if that cannot be reached, https://iam.cloud.ibm.com with the finding iam-public",
        "IAM endpoint; if set, no fallback is tried";
    token_file: PathBuf = |path| Ok(PathBuf::from(path)), "CR_TOKEN_FILENAME",
        "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token, then the other defaults of IBM's SDKs",
        "file with the compute resource token";
    api_key: Secret = api_key, "IBMCLOUD_API_KEY" or "IAM_API_KEY",
        "",
        "instead of a profile, for runs outside Code Engine";
    dry_run: bool = boolean, "DRY_RUN",
        "false",
        "decide and report, write nothing; same exit status as the real run (as --dry-run)";
    hold: bool = boolean, "HOLD",
        "false",
        "with TLS_SECRET_NAME, like \"hold\" of a target: decide and report, write nothing until it is released";
    version: Version = version, "SECRET_VERSION",
        "current",
        "previous undoes a rotation; manual runs only, with SECRET_ID; ignores HOLD";
    force: Vec<Reason> = force, "FORCE",
        "none",
        "refusal reasons to override, comma-separated: names-lost, less-trusted, chain-shorter, older; manual runs only, with SECRET_ID; otherwise ignored with a finding";
    restart_apps: RestartApps = restart_apps, "RESTART_APPS",
        "none",
        "with TLS_SECRET_NAME, like \"restart_apps\" of a target: apps to restart, comma-separated; auto: those that read the secret as environment variables or by sub_path";
    probe: Probe = probe, "PROBE",
        "warn",
        "check afterwards what the domain mappings serve: warn, require (exit status 10 if one serves another certificate) or off";
    probe_address: (String, u16) = probe_address, "PROBE_ADDRESS",
        "the cname_target of the mapping, port 443",
        "host[:port] to connect to instead";
    check: bool = boolean, "CHECK",
        "false",
        "check every permission separately, change nothing (as --check)";
    discover: bool = boolean, "DISCOVER",
        "false",
        "list the TLS secrets and the certificates that match them, change nothing (as --discover)";
    deadline: u64 = deadline, "DEADLINE",
        "120",
        "seconds for the whole run; caps every other time limit";
    output: Format = format, "OUTPUT",
        "text if standard output is a terminal, else json",
        "form of the report: json or text (as --output)";
    log_level: LevelFilter = log_level, "LOG_LEVEL",
        "info",
        "error, warn, info or debug";
    log_format: Format = format, "LOG_FORMAT",
        "json in Code Engine, else text",
        "json or text";
    no_color: bool = flag, "NO_COLOR",
        "colors only if standard output is a terminal",
        "if set, the text report has no colors";
    proxy: ureq::Proxy = proxy, "HTTPS_PROXY" or "https_proxy",
        "none",
        "proxy for HTTPS: http://[user:password@]host[:port]";
    no_proxy: NoProxy = NoProxy::parse, "NO_PROXY" or "no_proxy",
        "none",
        "hosts, domains, host:port and CIDR blocks to reach without the proxy, comma-separated";
    further_roots: Vec<CertificateDer<'static>> = roots, "SSL_CERT_FILE",
        "built-in public roots only",
        "additional trusted roots (PEM file)";
}

/// More problems than this are only counted.
const SHOWN_PROBLEMS: usize = 50;

/// What is wrong, and what is deprecated.
#[derive(Default)]
pub(super) struct Notes {
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
    ) -> Value<T> {
        let mut set = std::iter::once(&name).chain(older).filter_map(|name| {
            let text = environment.get(*name)?;
            (!text.is_empty()).then_some((*name, text))
        });
        let Some((used, text)) = set.next() else {
            return Value {
                name,
                given: false,
                value: None,
            };
        };
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
        Value {
            name,
            given: true,
            value: parse(text).map_err(|e| self.problem(used, e)).ok(),
        }
    }

    pub(super) fn problem(&mut self, name: impl Display, what: impl Display) {
        self.problems.push(format!("{name}: {what:#}"));
    }

    /// All problems in one sentence; `None` if there are none.
    pub(super) fn summary(&self) -> Option<String> {
        let shown = self
            .problems
            .get(..SHOWN_PROBLEMS)
            .unwrap_or(&self.problems);
        let text = shown.join("; ");
        match self.problems.len() - shown.len() {
            _ if shown.is_empty() => None,
            0 => Some(text),
            more => Some(format!("{text}; and {more} more problems")),
        }
    }
}
