//! What Code Engine demands of each kind of resource, and what it fills in itself.

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::job_runs::OBJECT_LIMIT;
use crate::problems::{Problem, bad, no};
use crate::store::{Kind, Project, object};

const FORMATS: &str =
    "basic_auth generic hmac_auth other registry service_access service_operator ssh_auth tls";

/// Characters of all values in `data`.
const DATA_LIMIT: usize = 1_048_576;

/// What a PATCH of an app may name, beside all that begins with `scale_`: IBM's patch model.
const PATCHABLE: [&str; 13] = [
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

pub(super) fn name(kind: Kind, name: &str) -> Result<(), Problem> {
    const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    let form = match kind {
        Kind::App | Kind::Job => format!("^{LABEL}$"),
        // A mapping may be of a wildcard name here, so that one edge serves many names.
        Kind::DomainMapping => format!(r"^(\*\.)?{LABEL}(\.{LABEL})*$"),
        Kind::ConfigMap | Kind::Secret => format!(r"^{LABEL}(\.{LABEL})*$"),
    };
    let is_label = matches!(kind, Kind::App | Kind::Job);
    let most = if is_label { 63 } else { 253 };
    let fits = name.len() <= most && Regex::new(&form).expect("a constant").is_match(name);
    fits.then_some(()).ok_or_else(|| bad(format!("The name {name:?} is not valid.")))
}

pub(super) fn fields(
    project: &Project,
    kind: Kind,
    name: &str,
    fields: &Map<String, Value>,
) -> Result<(), Problem> {
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let needed = |held: bool, what: &str| {
        held.then_some(()).ok_or_else(|| bad(format!("{what} is missing or not valid.")))
    };
    match kind {
        Kind::ConfigMap => data(fields),
        Kind::Secret => {
            let format = text("format").unwrap_or_default();
            needed(FORMATS.split(' ').any(|one| one == format), "format")?;
            data(fields)?;
            let held = |key: &str| fields["data"][key].as_str().is_some_and(|v| !v.is_empty());
            let whole = held("tls_cert") && held("tls_key");
            needed(format != "tls" || whole, "tls_cert or tls_key in data")
        }
        Kind::App => needed(text("image_reference").is_some(), "image_reference"),
        Kind::Job => {
            needed(text("image_reference").is_some(), "image_reference")?;
            let size = name.len() + Value::Object(fields.clone()).to_string().len();
            let why = format!("The job has {size} bytes, {OBJECT_LIMIT} are allowed.");
            let fits = size <= OBJECT_LIMIT;
            fits.then_some(()).ok_or_else(|| no(400, "resource_too_large", why))
        }
        // The platform's own: of no secret of the project.
        Kind::DomainMapping if fields.get("user_managed") == Some(&json!(false)) => Ok(()),
        Kind::DomainMapping => {
            let secret = text("tls_secret").unwrap_or_default();
            let found = project.get(Kind::Secret, secret);
            let format = found.and_then(|found| found.text("format"));
            needed(format == Some("tls"), &format!("The TLS secret {secret:?}"))?;
            let component = fields.get("component").map(|one| &one["name"]);
            needed(component.is_some_and(Value::is_string), "component")
        }
    }
}

fn data(fields: &Map<String, Value>) -> Result<(), Problem> {
    let data = fields.get("data").and_then(Value::as_object);
    let mut total = 0;
    for (key, value) in data.ok_or_else(|| bad("data is missing."))? {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if key.is_empty() || key.len() > 253 || !key.chars().all(fits) || !value.is_string() {
            return Err(bad(format!("{key:?} in data, or its value, is not valid.")));
        }
        total += value.as_str().map_or(0, str::len);
    }
    let fits = total <= DATA_LIMIT;
    fits.then_some(()).ok_or_else(|| bad(format!("data has more than {DATA_LIMIT} characters.")))
}

/// Defaults, and what only Code Engine knows.
pub(super) fn fill(
    cloud: &Cloud,
    project: &Project,
    kind: Kind,
    name: &str,
    fields: &mut Map<String, Value>,
) {
    let mut filled = object(match kind {
        Kind::Secret => json!({ "generated_by": "user" }),
        Kind::ConfigMap => json!({}),
        Kind::App | Kind::Job => json!({
            "run_arguments": [],
            "run_commands": [],
            "run_env_variables": [],
            "run_service_account": "default",
            "run_volume_mounts": [],
            "scale_cpu_limit": "1",
            "scale_ephemeral_storage_limit": "400M",
            "scale_memory_limit": "4G",
        }),
        Kind::DomainMapping => json!({
            "cname_target": "127.0.0.1",
            "status": "ready",
            "status_details": { "reason": "ready" },
            "user_managed": true,
            "visibility": "custom",
            // Not IBM's: where this cloud really serves it.
            "x_edge": cloud.addresses.edge.to_string(),
        }),
    });
    filled.extend(object(match kind {
        Kind::App => json!({
            "managed_domain_mappings": "local_public",
            "scale_max_instances": 10,
            "scale_min_instances": 0,
            "scale_request_timeout": 300,
        }),
        Kind::Job => json!({
            "run_compute_resource_token_enabled": false,
            "run_mode": "task",
            "scale_array_spec": "0",
            "scale_max_execution_time": 7200,
            "scale_retry_limit": 3,
        }),
        _ => json!({}),
    }));
    for (field, value) in filled {
        fields.entry(field).or_insert(value);
    }
    if matches!(kind, Kind::App | Kind::Job) {
        // Told apart from the user's variables since 2024-05-13.
        let computed = computed_variables(cloud, project, kind, name);
        fields.insert("computed_env_variables".into(), computed);
    }
}

/// The variables that Code Engine gives a program by itself; the list of an app and that of a job
/// have the lengths that IBM's own tests expect.
pub(crate) fn computed_variables(
    cloud: &Cloud,
    project: &Project,
    kind: Kind,
    name: &str,
) -> Value {
    let domain = format!("{}.codeengine.appdomain.cloud", project.region);
    let all = [
        ("CE_API_BASE_URL", cloud.addresses.code_engine.as_str()),
        ("CE_APP", name),
        ("CE_DOMAIN", &domain),
        ("CE_PROJECT_ID", &project.id),
        ("CE_REGION", &project.region),
        ("CE_SUBDOMAIN", &project.subdomain),
    ];
    let literal = |(name, value)| json!({ "type": "literal", "name": name, "value": value });
    let of_job = if kind == Kind::App { 0 } else { 3 };
    all.into_iter().skip(of_job).map(literal).collect()
}

pub(super) fn patchable(kind: Kind, patch: &Map<String, Value>) -> Result<(), Problem> {
    let fits = |name: &str| match kind {
        Kind::App => name.starts_with("scale_") || PATCHABLE.contains(&name),
        Kind::DomainMapping => ["component", "tls_secret"].contains(&name),
        Kind::ConfigMap | Kind::Job | Kind::Secret => true,
    };
    match patch.keys().find(|name| !fits(name)) {
        None => Ok(()),
        Some(name) => Err(bad(format!("{name} cannot be changed."))),
    }
}
