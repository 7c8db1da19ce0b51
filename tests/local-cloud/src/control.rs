//! Management, on its own port and never mixed with the imitated APIs: what scripts, the setup
//! tests' stand-in and people need of the library, as JSON over HTTP.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::{fitted, json as answer, segments};
use crate::store::{Profile, lock};
use crate::{CloudHandle, FaultGuard, Policy, Role};

/// Longer than any job run may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The faults that are switched on, by number.
type Guards = Mutex<BTreeMap<u64, FaultGuard>>;

struct Desk {
    cloud: CloudHandle,
    guards: Guards,
}

/// The path's parameters, the body; what is wrong is a 400.
type Operation = fn(&Desk, &[String], Value) -> anyhow::Result<Value>;

const OPERATIONS: &[(&str, Operation)] = &[
    ("GET /world", |desk, _, _| Ok(json!(desk.cloud.world()))),
    ("GET /urls", |Desk { cloud, .. }, _, _| {
        Ok(json!({
            "iam": cloud.iam_url(),
            "secrets_manager": cloud.secrets_manager_url(),
            "event_notifications": cloud.event_notifications_url(),
            "code_engine": cloud.code_engine_url(),
            "edge": cloud.edge(),
            "ca_file": cloud.ca_file(),
        }))
    }),
    ("GET /state", |desk, _, _| Ok(desk.cloud.state())),
    // Secrets Manager
    ("POST /secrets", |desk, _, spec| {
        Ok(json!({ "id": desk.cloud.issue(read(spec)?) }))
    }),
    ("GET /secrets/{id}/material", |desk, path, _| {
        Ok(json!(desk.cloud.material(&path[0])))
    }),
    ("PUT /secrets/{id}/material", |desk, path, material| {
        desk.cloud.put_material(&path[0], read(material)?);
        Ok(Value::Null)
    }),
    ("POST /rotate", |desk, _, rotation| {
        let ids: Vec<String> = read(rotation["secret_ids"].clone())?;
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        match rotation["quietly"] == true {
            true => desk.cloud.rotate_quietly(&ids),
            false => desk.cloud.rotate(&ids),
        }
        Ok(Value::Null)
    }),
    // Code Engine
    ("POST /projects", |Desk { cloud, .. }, _, new| {
        let text = |field: &str| new[field].as_str().unwrap_or_default();
        let project_id = cloud.create_project(text("name"), text("region"));
        let id = json!({ "id": project_id });
        let role = Role::Writer;
        cloud.grant(Policy::CodeEngine { role, project_id });
        Ok(id)
    }),
    (
        "GET /projects/{project_id}/tls_secrets/{name}",
        |desk, path, _| Ok(json!(desk.cloud.tls_secret(&path[0], &path[1]))),
    ),
    (
        "PUT /projects/{project_id}/tls_secrets/{name}",
        |desk, path, secret| {
            let text = |field: &str| secret[field].as_str().unwrap_or_default();
            desk.cloud
                .put_tls_secret(&path[0], &path[1], text("tls_cert"), text("tls_key"));
            Ok(Value::Null)
        },
    ),
    (
        "PUT /projects/{project_id}/domains/{domain}",
        |desk, path, fields| {
            desk.cloud.map_domain_with(&path[0], &path[1], fields);
            Ok(Value::Null)
        },
    ),
    ("GET /projects/{project_id}/job_runs", |desk, path, _| {
        Ok(json!(desk.cloud.job_runs(&path[0])))
    }),
    // answers when the run has ended
    (
        "GET /projects/{project_id}/job_runs/{name}/end",
        |desk, path, _| {
            Ok(json!(
                desk.cloud.wait_job_run(&path[0], &path[1], PATIENCE)?
            ))
        },
    ),
    (
        "GET /projects/{project_id}/cron_subscriptions",
        |desk, path, _| {
            let all = desk.cloud.cron_subscriptions(&path[0]).into_iter();
            Ok(all
                .map(|(name, cron)| json!({ "name": name, "subscription": cron }))
                .collect())
        },
    ),
    (
        "PUT /projects/{project_id}/cron_subscriptions/{name}",
        |desk, path, cron| {
            desk.cloud
                .put_cron_subscription(&path[0], &path[1], read(cron)?);
            Ok(Value::Null)
        },
    ),
    (
        "DELETE /projects/{project_id}/cron_subscriptions/{name}",
        |desk, path, _| {
            let deleted = desk.cloud.delete_cron_subscription(&path[0], &path[1]);
            anyhow::ensure!(deleted, NOT_FOUND);
            Ok(Value::Null)
        },
    ),
    // IAM
    ("GET /policies", |desk, _, _| {
        Ok(json!(desk.cloud.policies()))
    }),
    ("PUT /policies", |desk, _, policies| {
        desk.cloud.set_policies(read(policies)?);
        Ok(Value::Null)
    }),
    ("PUT /profiles/{id}", |desk, path, profile| {
        let profile: Profile = read(profile)?;
        desk.cloud
            .put_profile(&path[0], &profile.name, profile.links, profile.policies);
        Ok(Value::Null)
    }),
    ("DELETE /profiles/{id}", |desk, path, _| {
        desk.cloud.delete_profile(&path[0]);
        Ok(Value::Null)
    }),
    (
        "PUT /event_notifications_authorized",
        |desk, _, authorized| {
            desk.cloud.authorize_event_notifications(read(authorized)?);
            Ok(Value::Null)
        },
    ),
    // Event Notifications
    ("GET /deliveries", |desk, _, _| {
        Ok(json!(desk.cloud.deliveries()))
    }),
    (
        "PUT /projects/{project_id}/jobs/{job}/timer",
        |desk, path, schedule| {
            let schedule: String = read(schedule)?;
            desk.cloud
                .subscribe_job_to_timer(&path[0], &path[1], &schedule);
            Ok(Value::Null)
        },
    ),
    ("POST /timer", |desk, _, _| {
        desk.cloud.fire_timer();
        Ok(Value::Null)
    }),
    // faults and journal
    ("POST /faults", |desk, _, fault| {
        let guard = desk.cloud.fault(read(fault)?);
        let mut guards = lock(&desk.guards);
        let id = guards.last_key_value().map_or(1, |(last, _)| last + 1);
        guards.insert(id, guard);
        Ok(json!({ "id": id }))
    }),
    ("DELETE /faults", |desk, _, _| {
        lock(&desk.guards).clear();
        Ok(Value::Null)
    }),
    ("GET /journal", |desk, _, _| Ok(json!(desk.cloud.journal()))),
    ("DELETE /journal", |desk, _, _| {
        desk.cloud.clear_journal();
        Ok(Value::Null)
    }),
];

const NOT_FOUND: &str = "there is no such thing";

fn read<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(value)?)
}

/// The handler of the control port.
pub(crate) fn answers(
    cloud: CloudHandle,
) -> impl Fn(Request<Body>) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let guards = Guards::default();
    let desk = std::sync::Arc::new(Desk { cloud, guards });
    move |request| {
        let desk = desk.clone();
        Box::pin(async move { operate(desk, request).await })
    }
}

/// The library blocks, and panics on a wrong id, which is a 400 here.
async fn operate(desk: std::sync::Arc<Desk>, request: Request<Body>) -> Response {
    let path = segments(request.uri());
    let found = OPERATIONS.iter().find_map(|(route, operation)| {
        let (method, template) = route.split_once(' ')?;
        let held = fitted(template, &path)?;
        (method == request.method()).then_some((operation, held))
    });
    let Some((operation, held)) = found else {
        return answer(404, &json!({ "error": NOT_FOUND }));
    };
    let body = to_bytes(request.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    let body = match body.is_empty() {
        true => Ok(Value::Null),
        false => serde_json::from_slice(&body),
    };
    let done = tokio::task::spawn_blocking(move || operation(&desk, &held, body?)).await;
    match done {
        Ok(Ok(Value::Null)) => answer(204, &Value::Null),
        Ok(Ok(value)) => answer(200, &value),
        Ok(Err(error)) => {
            let why = format!("{error:#}");
            answer(
                if why == NOT_FOUND { 404 } else { 400 },
                &json!({ "error": why }),
            )
        }
        Err(panic) => {
            let panic = panic.into_panic();
            let why = panic
                .downcast_ref::<String>()
                .map_or("wrong id?", String::as_str);
            answer(400, &json!({ "error": why }))
        }
    }
}
