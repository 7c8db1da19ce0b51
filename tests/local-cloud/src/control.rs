//! Management, on its own port and never mixed with the imitated APIs: what scripts, benchmarks, IBM's
//! SDKs' tests and people need of the library, as JSON over HTTP.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::{json as answer, segments};
use crate::store::lock;
use crate::{CloudHandle, FaultGuard, Policy, Role};

/// The faults that are switched on, by number.
type Guards = Mutex<BTreeMap<u64, FaultGuard>>;

/// One operation: its answer, none for a path that does not exist. An error is a 400.
fn operate(
    cloud: &CloudHandle,
    guards: &Guards,
    method: &str,
    path: &[String],
    body: Value,
) -> anyhow::Result<Option<Value>> {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let text = |field: &str| body[field].as_str().unwrap_or_default();
    Ok(Some(match (method, path.as_slice()) {
        ("GET", ["world"]) => json!(cloud.world()),
        ("GET", ["urls"]) => json!({
            "iam": cloud.iam_url(),
            "secrets_manager": cloud.secrets_manager_url(),
            "event_notifications": cloud.event_notifications_url(),
            "code_engine": cloud.code_engine_url(),
            "edge": cloud.edge(),
            "ca_file": cloud.ca_file(),
        }),
        ("GET", ["state"]) => cloud.state(),
        // Secrets Manager
        ("POST", ["secrets"]) => json!({ "id": cloud.issue(read(body)?) }),
        ("GET", ["secrets", id, "material"]) => json!(cloud.material(id)),
        ("PUT", ["secrets", id, "material"]) => json!(cloud.put_material(id, read(body)?)),
        ("POST", ["rotate"]) => {
            let ids: Vec<String> = read(body["secret_ids"].clone())?;
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            match body["quietly"] == true {
                true => json!(cloud.rotate_quietly(&ids)),
                false => json!(cloud.rotate(&ids)),
            }
        }
        // Code Engine
        ("POST", ["projects"]) => {
            let project_id = cloud.create_project(text("name"), text("region"));
            let (id, role) = (project_id.clone(), Role::Writer);
            cloud.grant(Policy::CodeEngine { role, project_id });
            json!({ "id": id })
        }
        ("GET", ["projects", project, "tls_secrets", name]) => {
            json!(cloud.tls_secret(project, name))
        }
        ("PUT", ["projects", project, "tls_secrets", name]) => {
            json!(cloud.put_tls_secret(project, name, text("tls_cert"), text("tls_key")))
        }
        ("PUT", ["projects", project, "domains", domain]) => {
            json!(cloud.map_domain_with(project, domain, body))
        }
        ("GET", ["projects", project, "job_runs"]) => json!(cloud.job_runs(project)),
        // IAM
        ("GET", ["policies"]) => json!(cloud.policies()),
        ("PUT", ["policies"]) => json!(cloud.set_policies(read(body)?)),
        // Event Notifications
        ("GET", ["deliveries"]) => json!(cloud.deliveries()),
        ("PUT", ["projects", project, "jobs", job, "timer"]) => {
            let schedule: String = read(body)?;
            json!(cloud.subscribe_job_to_timer(project, job, &schedule))
        }
        ("POST", ["timer"]) => json!(cloud.fire_timer()),
        // faults and journal
        ("POST", ["faults"]) => {
            let guard = cloud.fault(read(body)?);
            let mut guards = lock(guards);
            let id = guards.last_key_value().map_or(1, |(last, _)| last + 1);
            guards.insert(id, guard);
            json!({ "id": id })
        }
        ("DELETE", ["faults"]) => json!(lock(guards).clear()),
        ("GET", ["journal"]) => json!(cloud.journal()),
        ("DELETE", ["journal"]) => json!(cloud.clear_journal()),
        _ => return Ok(None),
    }))
}

fn read<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(value)?)
}

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The handler of the control port.
pub(crate) fn answers(
    cloud: CloudHandle,
) -> impl Fn(Request) -> Answering + Clone + Send + Sync + 'static {
    let guards = Arc::<Guards>::default();
    move |request| Box::pin(answered(cloud.clone(), guards.clone(), request))
}

/// The library blocks, and panics on a wrong id, which is a 400 here.
async fn answered(cloud: CloudHandle, guards: Arc<Guards>, request: Request) -> Response {
    let method = request.method().to_string();
    let path = segments(request.uri());
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let operation = move || {
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body)?,
        };
        operate(&cloud, &guards, &method, &path, body)
    };
    let why = match tokio::task::spawn_blocking(operation).await {
        Ok(Ok(Some(Value::Null))) => return answer(204, &Value::Null),
        Ok(Ok(Some(value))) => return answer(200, &value),
        Ok(Ok(None)) => return answer(404, &json!({ "error": "no such operation" })),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => {
            let panic = panic.into_panic();
            let why = panic.downcast_ref::<String>();
            why.map_or_else(|| "wrong id?".to_owned(), String::clone)
        }
    };
    answer(400, &json!({ "error": why }))
}
