//! Projects: read only, people make them elsewhere.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Caller, admit, answered, problem};
use crate::clock::millis;
use crate::store::{Project, Store, Wish};
use crate::{Cloud, iam};

pub(super) async fn list(State(cloud): State<Arc<Cloud>>, headers: HeaderMap) -> Response {
    answered(cloud.update(|store| {
        let Some(identity) = iam::identity(store, &headers) else {
            return Err(problem(
                401,
                "unauthorized",
                "The token is missing, invalid or expired.",
            ));
        };
        let seen: Vec<_> = store
            .projects
            .values()
            .filter(|project| store.permits(&identity, Wish::SeeProject(&project.id)))
            .map(|project| document(&cloud, store, project))
            .collect();
        Ok(Json(json!({ "limit": 100, "projects": seen })).into_response())
    }))
}

pub(super) async fn read(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::SeeProject(&id))?;
        Ok(Json(document(&cloud, store, &store.projects[&id])).into_response())
    }))
}

fn document(cloud: &Cloud, store: &Store, project: &Project) -> Value {
    json!({
        "account_id": store.account_id,
        "created_at": millis(project.created_at),
        "crn": store.project_crn(project),
        "href": format!("{}/v2/projects/{}", cloud.addresses.code_engine(), project.id),
        "id": project.id,
        "name": project.name,
        "region": project.region,
        "resource_group_id": store.resource_group_id,
        "resource_type": "project_v2",
        "status": "active",
    })
}
