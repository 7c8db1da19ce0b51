//! The HTTP face of job runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{Caller, admit, answered, not_found, page, problem};
use crate::Cloud;
use crate::job_runs::{self, RunRequest, Trigger};
use crate::store::{Identity, Wish};

pub(super) async fn submit(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(project_id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Response {
    answered(cloud.update(|store| {
        let who = admit(&cloud, store, &caller, Wish::WriteProject(&project_id))?;
        let trigger = match who {
            Identity::EventNotifications => Trigger::EventNotifications,
            _ => Trigger::Api,
        };
        let request = RunRequest {
            body,
            event: BTreeMap::new(),
            trigger,
        };
        let name = job_runs::submit(&cloud, store, &project_id, request)
            .map_err(|(status, code, why)| problem(status, code, &why))?;
        let run = &store.projects[&project_id].job_runs[&name];
        Ok((StatusCode::ACCEPTED, Json(run.document(&cloud))).into_response())
    }))
}

pub(super) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(project_id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::ReadEntities(&project_id))?;
        let job = query.get("job_name");
        let all = store.projects[&project_id]
            .job_runs
            .iter()
            .filter(|(_, run)| job.is_none_or(|job| *job == run.job_name))
            .map(|(name, run)| (name.clone(), run.document(&cloud)))
            .collect();
        page(&cloud, &project_id, "job_runs", &query, all)
    }))
}

pub(super) async fn read(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((project_id, name)): Path<(String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::ReadEntities(&project_id))?;
        let run = store.projects[&project_id]
            .job_runs
            .get(&name)
            .ok_or_else(not_found)?;
        Ok(Json(run.document(&cloud)).into_response())
    }))
}

pub(super) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((project_id, name)): Path<(String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::WriteProject(&project_id))?;
        let project = store
            .projects
            .get_mut(&project_id)
            .expect("admitted under the same lock");
        let run = project.job_runs.remove(&name).ok_or_else(not_found)?;
        run.stop();
        Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response())
    }))
}
