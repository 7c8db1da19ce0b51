//! Management, on its own port and never mixed with the imitated APIs: the library's operations
//! as JSON over HTTP, for shells and people.
//!
//! Not here: what the operations do (`library`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::seconds;
use crate::store::lock;
use crate::{
    AppFate, CertificateSpec, CloudHandle, Environment, Fault, FaultGuard, Material, Policy, Role,
    Serving, TimerEvent, TlsSecret,
};

mod management;

#[derive(Clone)]
struct Desk {
    cloud: CloudHandle,
    guards: Arc<Mutex<BTreeMap<u64, FaultGuard>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    secret_ids: Vec<String>,
    /// No event.
    #[serde(default)]
    quietly: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Start {
    environment: Environment,
    arguments: Vec<String>,
}

pub(crate) fn routes(cloud: CloudHandle) -> Router {
    let project = Router::new()
        .route("/tls_secrets/{name}", get(tls_secret).put(put_tls_secret))
        .route("/tls_secrets/{name}/entity_tag", put(set_entity_tag))
        .route("/domains/{domain}", put(map_domain))
        .route("/domains/{domain}/serving", put(set_serving))
        .route("/domains/{domain}/instead", put(serve_instead))
        .route("/domains/{domain}/cname_target", put(set_cname_target))
        .route("/apps/{app}", get(app).put(create_app))
        .route("/apps/{app}/fate", put(set_app_fate))
        .route("/job_runs", get(job_runs))
        .route("/jobs/{job}/runs", post(submit))
        .route("/jobs/{job}/cron", post(cron))
        .route("/jobs/{job}/kafka", post(kafka))
        .route("/jobs/{job}/notification", post(notification))
        .route("/jobs/{job}/timer", put(subscribe_to_timer));
    Router::new()
        .route(
            "/world",
            get(async |State(desk): State<Desk>| Json(desk.cloud.world())),
        )
        .route(
            "/environment",
            get(async |State(desk): State<Desk>| Json(desk.cloud.environment())),
        )
        .route("/urls", get(urls))
        .route("/projects", post(create_project))
        .route("/secrets", post(issue))
        .route("/secrets/{id}/material", get(material).put(put_material))
        .route("/secrets/{id}/state", put(set_state))
        .route("/secrets/{id}/version_age", put(age_version))
        .route("/rotate", post(rotate))
        .route("/timer", post(fire_timer))
        .route("/served/{domain}", get(served))
        .route("/clients/{domain}", get(clients))
        .route(
            "/state",
            get(async |State(desk): State<Desk>| Json(desk.cloud.state())),
        )
        .route("/policies", get(policies).put(set_policies))
        .route(
            "/deliveries",
            get(async |State(desk): State<Desk>| Json(desk.cloud.deliveries())),
        )
        .route("/journal", get(journal).delete(clear_journal))
        .route("/faults", post(set_fault).delete(clear_faults))
        .route("/faults/{id}", delete(clear_fault))
        .nest(
            "/projects/{project_id}",
            project.merge(management::in_project()),
        )
        .merge(management::of_account())
        .with_state(Desk {
            cloud,
            guards: Arc::default(),
        })
}

/// Runs a blocking operation of the library. It panics on a wrong id, which is a 400 here.
async fn blocking<R: Serialize + Send + 'static>(
    operation: impl FnOnce() -> R + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(operation).await {
        Ok(result) => Json(result).into_response(),
        Err(panic) => {
            let panic = panic.into_panic();
            let why = panic
                .downcast_ref::<String>()
                .map_or("wrong id?", String::as_str);
            (StatusCode::BAD_REQUEST, Json(json!({ "error": why }))).into_response()
        }
    }
}

async fn urls(State(Desk { cloud, .. }): State<Desk>) -> Response {
    let urls = json!({
        "iam": cloud.iam_url(),
        "secrets_manager": cloud.secrets_manager_url(),
        "event_notifications": cloud.event_notifications_url(),
        "code_engine": cloud.code_engine_url(),
        "edge": cloud.edge(),
        "ca_file": cloud.ca_file(),
    });
    Json(urls).into_response()
}

async fn issue(State(desk): State<Desk>, Json(spec): Json<CertificateSpec>) -> Response {
    blocking(move || json!({ "id": desk.cloud.issue(spec) })).await
}

async fn material(State(desk): State<Desk>, Path(id): Path<String>) -> Response {
    blocking(move || desk.cloud.material(&id)).await
}

async fn put_material(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Json(material): Json<Material>,
) -> Response {
    blocking(move || desk.cloud.put_material(&id, material)).await
}

async fn set_state(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Json(state): Json<u8>,
) -> Response {
    blocking(move || desk.cloud.set_state(&id, state)).await
}

async fn rotate(State(desk): State<Desk>, Json(rotation): Json<Rotation>) -> Response {
    blocking(move || {
        let ids: Vec<_> = rotation.secret_ids.iter().map(String::as_str).collect();
        if rotation.quietly {
            desk.cloud.rotate_quietly(&ids)
        } else {
            desk.cloud.rotate(&ids)
        }
        let serials: BTreeMap<_, _> = ids
            .iter()
            .map(|id| ((*id).to_owned(), desk.cloud.serial(id)))
            .collect();
        json!({ "serial_numbers": serials })
    })
    .await
}

async fn served(State(desk): State<Desk>, Path(domain): Path<String>) -> Response {
    blocking(move || match desk.cloud.served(&domain) {
        Ok(served) => json!({
            "serial": served.serial,
            "not_after": seconds(served.not_after),
            "chain_len": served.chain_len,
        }),
        Err(error) => json!({ "error": format!("{error:#}") }),
    })
    .await
}

async fn journal(State(desk): State<Desk>) -> Response {
    Json(desk.cloud.journal()).into_response()
}

async fn clear_journal(State(desk): State<Desk>) -> StatusCode {
    desk.cloud.clear_journal();
    StatusCode::NO_CONTENT
}

async fn set_fault(State(desk): State<Desk>, Json(fault): Json<Fault>) -> Response {
    let guard = desk.cloud.fault(fault);
    let mut guards = lock(&desk.guards);
    let id = guards.last_key_value().map_or(1, |(last, _)| last + 1);
    guards.insert(id, guard);
    Json(json!({ "id": id })).into_response()
}

async fn clear_fault(State(desk): State<Desk>, Path(id): Path<u64>) -> StatusCode {
    match lock(&desk.guards).remove(&id) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

async fn clear_faults(State(desk): State<Desk>) -> StatusCode {
    lock(&desk.guards).clear();
    StatusCode::NO_CONTENT
}

async fn tls_secret(
    State(desk): State<Desk>,
    Path((project, name)): Path<(String, String)>,
) -> Response {
    match desk.cloud.tls_secret(&project, &name) {
        Some(secret) => Json(secret).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn put_tls_secret(
    State(desk): State<Desk>,
    Path((project, name)): Path<(String, String)>,
    Json(secret): Json<Value>,
) -> Response {
    blocking(move || {
        let text = |field: &str| secret[field].as_str().unwrap_or_default().to_owned();
        desk.cloud
            .put_tls_secret(&project, &name, &text("tls_cert"), &text("tls_key"));
        desk.cloud
            .tls_secret(&project, &name)
            .map(|secret: TlsSecret| secret.entity_tag)
    })
    .await
}

async fn set_entity_tag(
    State(desk): State<Desk>,
    Path((project, name)): Path<(String, String)>,
    Json(tag): Json<String>,
) -> Response {
    blocking(move || desk.cloud.set_entity_tag(&project, &name, &tag)).await
}

async fn map_domain(
    State(desk): State<Desk>,
    Path((project, domain)): Path<(String, String)>,
    Json(secret_or_fields): Json<Value>,
) -> Response {
    blocking(move || match secret_or_fields {
        Value::String(tls_secret) => desk.cloud.map_domain(&project, &domain, &tls_secret),
        fields => desk.cloud.map_domain_with(&project, &domain, fields),
    })
    .await
}

async fn set_serving(
    State(desk): State<Desk>,
    Path((project, domain)): Path<(String, String)>,
    Json(serving): Json<Serving>,
) -> Response {
    blocking(move || desk.cloud.set_serving(&project, &domain, serving)).await
}

async fn serve_instead(
    State(desk): State<Desk>,
    Path((project, domain)): Path<(String, String)>,
    Json(secret): Json<Value>,
) -> Response {
    blocking(move || {
        let text = |field: &str| secret[field].as_str().unwrap_or_default().to_owned();
        desk.cloud
            .serve_instead(&project, &domain, &text("tls_cert"), &text("tls_key"));
    })
    .await
}

async fn set_cname_target(
    State(desk): State<Desk>,
    Path((project, domain)): Path<(String, String)>,
    Json(target): Json<String>,
) -> Response {
    blocking(move || desk.cloud.set_cname_target(&project, &domain, &target)).await
}

async fn clients(State(desk): State<Desk>, Path(domain): Path<String>) -> Response {
    blocking(move || {
        json!({
            "handshakes": desk.cloud.handshakes(&domain),
            "bytes": desk.cloud.edge_bytes(&domain),
        })
    })
    .await
}

async fn app(State(desk): State<Desk>, Path((project, name)): Path<(String, String)>) -> Response {
    match desk.cloud.app(&project, &name) {
        Some(app) => Json(app).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn create_app(
    State(desk): State<Desk>,
    Path((project, name)): Path<(String, String)>,
    Json(fields): Json<Value>,
) -> Response {
    blocking(move || desk.cloud.create_app(&project, &name, fields)).await
}

async fn set_app_fate(
    State(desk): State<Desk>,
    Path((project, name)): Path<(String, String)>,
    Json(fate): Json<AppFate>,
) -> Response {
    blocking(move || desk.cloud.set_app_fate(&project, &name, fate)).await
}

async fn policies(State(desk): State<Desk>) -> Response {
    Json(desk.cloud.policies()).into_response()
}

async fn set_policies(State(desk): State<Desk>, Json(policies): Json<Vec<Policy>>) -> Response {
    blocking(move || desk.cloud.set_policies(policies)).await
}

/// A project that the ready profile may write.
#[derive(Deserialize)]
struct NewProject {
    name: String,
    region: String,
}

async fn create_project(State(desk): State<Desk>, Json(new): Json<NewProject>) -> Response {
    blocking(move || {
        let project_id = desk.cloud.create_project(&new.name, &new.region);
        desk.cloud.grant(Policy::CodeEngine {
            role: Role::Writer,
            project_id: project_id.clone(),
        });
        json!({ "id": project_id })
    })
    .await
}

async fn age_version(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Json(seconds): Json<u64>,
) -> Response {
    blocking(move || desk.cloud.age_version(&id, Duration::from_secs(seconds))).await
}

async fn job_runs(State(desk): State<Desk>, Path(project): Path<String>) -> Response {
    blocking(move || desk.cloud.job_runs(&project)).await
}

async fn submit(
    State(desk): State<Desk>,
    Path((project, job)): Path<(String, String)>,
    start: Option<Json<Start>>,
) -> Response {
    let Json(start) = start.unwrap_or_default();
    blocking(move || {
        let arguments: Vec<_> = start.arguments.iter().map(String::as_str).collect();
        let name = desk
            .cloud
            .submit_job_run(&project, &job, &start.environment, &arguments);
        json!({ "name": name })
    })
    .await
}

async fn cron(
    State(desk): State<Desk>,
    Path((project, job)): Path<(String, String)>,
    data: String,
) -> Response {
    blocking(move || json!({ "name": desk.cloud.fire_cron(&project, &job, &data) })).await
}

async fn kafka(
    State(desk): State<Desk>,
    Path((project, job)): Path<(String, String)>,
    message: String,
) -> Response {
    blocking(move || json!({ "name": desk.cloud.fire_kafka(&project, &job, &message) })).await
}

async fn notification(
    State(desk): State<Desk>,
    Path((project, job)): Path<(String, String)>,
    text: String,
) -> Response {
    blocking(move || json!({ "name": desk.cloud.fire_notification(&project, &job, &text) })).await
}

async fn subscribe_to_timer(
    State(desk): State<Desk>,
    Path((project, job)): Path<(String, String)>,
    Json(schedule): Json<String>,
) -> Response {
    blocking(move || desk.cloud.subscribe_job_to_timer(&project, &job, &schedule)).await
}

async fn fire_timer(State(desk): State<Desk>, shape: Option<Json<TimerEvent>>) -> Response {
    blocking(move || match shape {
        Some(Json(shape)) => desk.cloud.fire_timer_as(shape),
        None => desk.cloud.fire_timer(),
    })
    .await
}
