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
            "status": "ready",
            "status_details": {
                "latest_created_revision": revision(name, 1),
                "latest_ready_revision": revision(name, 1),
                "reason": "ready",
            },
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
    if matches!(kind, Kind::App | Kind::Job) {
        fields.insert("computed_env_variables".into(), computed_variables(project));
    }
}

/// Told apart from the user's variables since 2024-05-13.
pub(crate) fn computed_variables(project: &Project) -> Value {
    json!([
        { "type": "literal", "name": "CE_PROJECT_ID", "value": project.id },
        { "type": "literal", "name": "CE_REGION", "value": project.region },
        { "type": "literal", "name": "CE_SUBDOMAIN", "value": project.subdomain },
    ])
}

fn revision(app: &str, number: u64) -> String {
    format!("{app}-{number:05}")
}

/// A change of anything but our own fields makes a revision. It is ready at once, unless the app
/// carries `x_next_revision` (set by the library): `failed` or `deploying`.
pub(super) fn next_revision(
    app: &str,
    before: &Map<String, Value>,
    after: &mut Map<String, Value>,
) {
    let template = |fields: &Map<String, Value>| {
        let mut fields = fields.clone();
        fields.retain(|name, _| !name.starts_with("status") && !name.starts_with("x_"));
        fields
    };
    if template(before) == template(after) {
        return;
    }
    let created = before["status_details"]["latest_created_revision"]
        .as_str()
        .unwrap_or_default();
    let number = created
        .rsplit('-')
        .next()
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or(0);
    let new = revision(app, number + 1);
    let fate = before
        .get("x_next_revision")
        .and_then(Value::as_str)
        .unwrap_or("ready")
        .to_owned();
    let ready = if fate == "ready" {
        Value::from(new.as_str())
    } else {
        before["status_details"]["latest_ready_revision"].clone()
    };
    after.insert("status".into(), fate.as_str().into());
    let reason = if fate == "failed" {
        "no_revision_ready"
    } else {
        fate.as_str()
    };
    after.insert(
        "status_details".into(),
        json!({
            "latest_created_revision": new,
            "latest_ready_revision": ready,
            "reason": reason,
        }),
    );
}
