//! The table of variables, which `--help` prints and the README's table is held to.

use crate::error::ExitStatus;

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
        meaning: "JSON array for many targets: {\"secret_id\", \"tls_secret\", \"project_id\"?, \"region\"?, \"restart_apps\"?, \"hold\"?}",
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
        name: "HOLD",
        aliases: &[],
        default: "false",
        meaning: "with TLS_SECRET_NAME, as \"hold\" of a target: decide and report, write nothing until it is released",
    },
    Variable {
        name: "SECRET_VERSION",
        aliases: &[],
        default: "current",
        meaning: "previous undoes a rotation: by hand only, with SECRET_ID; passes a hold",
    },
    Variable {
        name: "FORCE",
        aliases: &[],
        default: "none",
        meaning: "reasons of refusal to overrule, comma-separated: names-lost, less-trusted, chain-shorter, older; by hand only, with SECRET_ID; elsewhere ignored with a finding",
    },
    Variable {
        name: "RESTART_APPS",
        aliases: &[],
        default: "none",
        meaning: "with TLS_SECRET_NAME, as \"restart_apps\" of a target: apps to restart, comma-separated; auto: those that read the secret as environment or by sub_path",
    },
    Variable {
        name: "PROBE",
        aliases: &[],
        default: "warn",
        meaning: "look at the domain mappings afterwards, as a TLS client: warn, require (status 10 if one does not serve the certificate) or off",
    },
    Variable {
        name: "PROBE_ADDRESS",
        aliases: &[],
        default: "the cname_target of the mapping, 443",
        meaning: "host[:port] to connect to instead",
    },
    Variable {
        name: "CHECK",
        aliases: &[],
        default: "false",
        meaning: "try every right by itself, change nothing (as --check)",
    },
    Variable {
        name: "CHECK_FOREIGN_SECRET_ID",
        aliases: &[],
        default: "not tested",
        meaning: "for --check: a secret of another group, which must not be readable",
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

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "sm-tls-sync brings a renewed TLS certificate from IBM Cloud Secrets Manager into the TLS secret\n\
         of a Code Engine project. It runs as a Code Engine job and takes its work from the environment:\n\
         ibmendata (Event Notifications), CE_DATA (event subscriptions of Code Engine), or neither\n\
         (brings every target in line).\n\n\
         Usage: sm-tls-sync [--dry-run | --check | --help | --version]\n\n\
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
    for (kind, meaning) in ExitStatus::ALL {
        text.push_str(&format!("{:>4}  {meaning}\n", kind.status()));
    }
    text.truncate(text.trim_end().len());
    text
}
