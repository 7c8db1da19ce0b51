//! What people do through the `ibmcloud` command and no imitated API has: trusted profiles, the
//! authorization of Event Notifications, cron subscriptions, the end of a job run.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, blocking};
use crate::{CronSubscription, Link, Policy};

/// Longer than any job run may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    name: String,
    links: Vec<Link>,
    policies: Vec<Policy>,
}

pub(super) fn of_account() -> Router<Desk> {
    Router::new()
        .route("/profiles/{id}", put(put_profile).delete(delete_profile))
        .route("/event_notifications_authorized", put(authorize))
}

/// Below `/projects/{project_id}`.
pub(super) fn in_project() -> Router<Desk> {
    Router::new()
        .route("/cron_subscriptions", get(crons))
        .route(
            "/cron_subscriptions/{name}",
            put(put_cron).delete(delete_cron),
        )
        .route("/job_runs/{name}/end", get(end))
}

async fn put_profile(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Json(profile): Json<Profile>,
) -> Response {
    let Profile {
        name,
        links,
        policies,
    } = profile;
    blocking(move || desk.cloud.put_profile(&id, &name, links, policies)).await
}

async fn delete_profile(State(desk): State<Desk>, Path(id): Path<String>) -> Response {
    blocking(move || desk.cloud.delete_profile(&id)).await
}

async fn authorize(State(desk): State<Desk>, Json(authorized): Json<bool>) -> Response {
    blocking(move || desk.cloud.authorize_event_notifications(authorized)).await
}

async fn crons(State(desk): State<Desk>, Path(project): Path<String>) -> Response {
    blocking(move || {
        let crons = desk.cloud.cron_subscriptions(&project).into_iter();
        let named = crons.map(|(name, cron)| json!({ "name": name, "subscription": cron }));
        named.collect::<Vec<Value>>()
    })
    .await
}

async fn put_cron(
    State(desk): State<Desk>,
    Path((project, name)): Path<(String, String)>,
    Json(cron): Json<CronSubscription>,
) -> Response {
    blocking(move || desk.cloud.put_cron_subscription(&project, &name, cron)).await
}

async fn delete_cron(
    State(desk): State<Desk>,
    Path((project, name)): Path<(String, String)>,
) -> StatusCode {
    let deleted = move || desk.cloud.delete_cron_subscription(&project, &name);
    match tokio::task::spawn_blocking(deleted).await {
        Ok(true) => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    }
}

/// Answers when the run has ended.
async fn end(State(desk): State<Desk>, Path((project, name)): Path<(String, String)>) -> Response {
    let ended = move || desk.cloud.wait_job_run(&project, &name, PATIENCE);
    match tokio::task::spawn_blocking(ended).await {
        Ok(Ok(run)) => Json(run).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
