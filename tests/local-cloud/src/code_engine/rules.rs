//! What Code Engine demands of each kind of resource, and what it fills in itself.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::job_runs::OBJECT_LIMIT;
use crate::store::{Kind, Project};

type Refused = (u16, &'static str, String);

const FORMATS: [&str; 9] = [
    "basic_auth",
    "generic",
    "hmac_auth",
    "other",
    "registry",
    "service_access",
    "service_operator",
    "ssh_auth",
    "tls",
];

/// Characters of one value in `data`.
const VALUE_LIMIT: usize = 1_048_576;

fn refused(why: impl Into<String>) -> Refused {
    (400, "bad_request", why.into())
}

pub(super) fn quota(kind: Kind) -> usize {
    match kind {
        Kind::App => 40,
        Kind::DomainMapping => 80,
        Kind::ConfigMap | Kind::Job | Kind::Secret => 100,
    }
}

pub(super) fn name(kind: Kind, name: &str) -> Result<(), Refused> {
    static DOTTED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").unwrap()
    });
    static PLAIN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").unwrap());
    let fits = match kind {
        Kind::App | Kind::Job => name.len() <= 63 && PLAIN.is_match(name),
        // A mapping may be of a wildcard name here, so that one edge serves many names.
        Kind::DomainMapping => DOTTED.is_match(name.strip_prefix("*.").unwrap_or(name)),
        Kind::ConfigMap | Kind::Secret => name.len() <= 253 && DOTTED.is_match(name),
    };
    if fits {
        Ok(())
    } else {
        Err(refused(format!("The name {name:?} is not valid.")))
    }
}

pub(super) fn fields(
    project: &Project,
    kind: Kind,
    name: &str,
    fields: &Map<String, Value>,
) -> Result<(), Refused> {
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    match kind {
        Kind::Secret => {
            let format = text("format").unwrap_or_default();
            if !FORMATS.contains(&format) {
                return Err(refused("format is missing or not known."));
            }
            data(fields)?;
            let held = |key: &str| fields["data"][key].as_str().is_some_and(|v| !v.is_empty());
            if format == "tls" && !(held("tls_cert") && held("tls_key")) {
                return Err(refused("data of a tls secret needs tls_cert and tls_key."));
            }
            Ok(())
        }
        Kind::ConfigMap => data(fields),
        Kind::Job => {
            if text("image_reference").is_none() {
                return Err(refused("image_reference is missing."));
            }
            let size = name.len() + Value::Object(fields.clone()).to_string().len();
            if size > OBJECT_LIMIT {
                let why = format!("The job has {size} bytes, {OBJECT_LIMIT} are allowed.");
                return Err((400, "resource_too_large", why));
            }
            Ok(())
        }
        Kind::App => {
            let image = text("image_reference").map(drop);
            image.ok_or_else(|| refused("image_reference is missing."))
        }
        // The platform's own: of no secret of the project.
        Kind::DomainMapping if fields.get("user_managed") == Some(&json!(false)) => Ok(()),
        Kind::DomainMapping => {
            let secret = text("tls_secret").unwrap_or_default();
            let found = project.get(Kind::Secret, secret);
            if found.and_then(|found| found.text("format")) != Some("tls") {
                return Err(refused(format!("There is no TLS secret {secret:?}.")));
            }
            if fields
                .get("component")
                .is_none_or(|component| !component["name"].is_string())
            {
                return Err(refused("component is missing."));
            }
            Ok(())
        }
    }
}

fn data(fields: &Map<String, Value>) -> Result<(), Refused> {
    let Some(data) = fields.get("data").and_then(Value::as_object) else {
        return Err(refused("data is missing."));
    };
    let mut total = 0;
    for (key, value) in data {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if key.is_empty() || key.len() > 253 || !key.chars().all(fits) {
            return Err(refused(format!("The key {key:?} in data is not valid.")));
        }
        let Some(value) = value.as_str() else {
            return Err(refused(format!(
                "The value of {key} in data is not a string."
            )));
        };
        total += value.len();
        if value.len() > VALUE_LIMIT || total > VALUE_LIMIT {
            return Err(refused(format!(
                "data has more than {VALUE_LIMIT} characters."
            )));
        }
    }
    Ok(())
}

/// Defaults, and what only Code Engine knows.
pub(super) fn fill(
    cloud: &Cloud,
    project: &Project,
    kind: Kind,
    name: &str,
    fields: &mut Map<String, Value>,
) {
    let filled = match kind {
        Kind::Secret => json!({ "generated_by": "user" }),
        Kind::ConfigMap => json!({}),
        Kind::App => json!({
            "managed_domain_mappings": "local_public",
            "run_arguments": [],
            "run_commands": [],
            "run_env_variables": [],
            "run_service_account": "default",
            "run_volume_mounts": [],
            "scale_cpu_limit": "1",
            "scale_ephemeral_storage_limit": "400M",
            "scale_max_instances": 10,
            "scale_memory_limit": "4G",
            "scale_min_instances": 0,
            "scale_request_timeout": 300,
        }),
        Kind::Job => json!({
            "run_arguments": [],
            "run_commands": [],
            "run_compute_resource_token_enabled": false,
            "run_env_variables": [],
            "run_mode": "task",
            "run_service_account": "default",
            "run_volume_mounts": [],
            "scale_array_spec": "0",
            "scale_cpu_limit": "1",
            "scale_memory_limit": "4G",
            "scale_ephemeral_storage_limit": "400M",
            "scale_max_execution_time": 7200,
            "scale_retry_limit": 3,
        }),
        Kind::DomainMapping => json!({
            "cname_target": cloud.options.cname_target,
            "status": "ready",
            "status_details": { "reason": "ready" },
            "user_managed": true,
            "visibility": "custom",
            // Not IBM's: where this cloud really serves it.
            "x_edge": cloud.addresses.edge.to_string(),
        }),
    };
    if let Value::Object(filled) = filled {
        for (field, value) in filled {
            fields.entry(field).or_insert(value);
        }
    }
    let computed = computed_variables(cloud, project, kind, name);
    if !computed.is_empty() {
        // Told apart from the user's variables since 2024-05-13.
        fields.insert("computed_env_variables".into(), computed.into());
    }
}

/// The variables that Code Engine gives a program by itself; the list of an app and that of a job
/// have the lengths that IBM's own tests expect.
pub(crate) fn computed_variables(
    cloud: &Cloud,
    project: &Project,
    kind: Kind,
    name: &str,
) -> Vec<Value> {
    let region = project.region.as_str();
    let common = [
        ("CE_PROJECT_ID", project.id.clone()),
        ("CE_REGION", region.to_owned()),
        ("CE_SUBDOMAIN", project.subdomain.clone()),
    ];
    let of_apps = [
        ("CE_API_BASE_URL", cloud.addresses.code_engine()),
        ("CE_APP", name.to_owned()),
        ("CE_DOMAIN", format!("{region}.codeengine.appdomain.cloud")),
    ];
    let variables = match kind {
        Kind::App => [of_apps, common].concat(),
        Kind::Job => common.to_vec(),
        Kind::ConfigMap | Kind::DomainMapping | Kind::Secret => Vec::new(),
    };
    let literal = |(name, value)| json!({ "type": "literal", "name": name, "value": value });
    variables.into_iter().map(literal).collect()
}

/// The fields that a PATCH may name: those of IBM's patch models, where that matters here.
pub(super) fn patchable(kind: Kind, patch: &Map<String, Value>) -> Result<(), Refused> {
    let fits = |name: &str| match kind {
        Kind::App => {
            const FIELDS: [&str; 13] = [
                "image_port",
                "image_reference",
                "image_secret",
                "managed_domain_mappings",
                "probe_liveness",
                "probe_readiness",
                "run_arguments",
                "run_as_user",
                "run_commands",
                "run_compute_resource_token_enabled",
                "run_env_variables",
                "run_service_account",
                "run_volume_mounts",
            ];
            FIELDS.contains(&name) || name.starts_with("scale_")
        }
        Kind::DomainMapping => ["component", "tls_secret"].contains(&name),
        Kind::ConfigMap | Kind::Job | Kind::Secret => true,
    };
    match patch.keys().find(|name| !fits(name)) {
        None => Ok(()),
        Some(name) => Err(refused(format!("{name} cannot be changed."))),
    }
}
