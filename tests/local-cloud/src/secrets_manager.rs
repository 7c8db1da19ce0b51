//! Secrets Manager v2: routes and wire. Rotation and creation send the real events (`events`).
//!
//! Not here: how certificates are made (`authority`), versions and states (`store`).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::Cloud;
use crate::authority::{CertificateSpec, Material, SecretType};
use crate::clock::now;
use crate::event_notifications::{self, Collection};
use crate::events::{self, Happened};
use crate::iam;
use crate::problems::secrets_manager as problem;
use crate::store::{Group, Identity, Secret, Store, Wish, new_id};

mod list;
mod versions;
mod wire;

pub(crate) use versions::{add, remember, rotate};
use wire::{
    described, group_described, managed_csr, material_fields, shown, version_described,
    version_with_payload,
};

type Answer = Result<Response, Response>;

pub(crate) fn routes(cloud: Arc<Cloud>) -> Router {
    let api = Router::new()
        .route("/secrets", get(list::list).post(create))
        .route("/secrets/{id}", get(read).delete(delete))
        .route("/secrets/{id}/metadata", get(metadata))
        .route("/secrets/{id}/versions", get(versions).post(create_version))
        .route("/secrets/{id}/versions/{version}", get(read_version))
        .route(
            "/secrets/{id}/versions/{version}/metadata",
            get(version_metadata),
        )
        .route("/secret_groups", get(groups).post(create_group))
        .route("/secret_groups/{id}", get(group))
        .route(
            "/secret_groups/{id}/secret_types/{secret_type}/secrets/{name}",
            get(read_by_name),
        )
        .route(
            "/notifications/registration",
            post(register).get(registration).delete(unregister),
        )
        .route("/notifications/registration/test", get(test_event));
    Router::new()
        .nest("/api/v2", api)
        .fallback(async || problem(404, "not_found", "The path does not exist"))
        .method_not_allowed_fallback(async || {
            problem(405, "method_not_allowed", "Method not allowed")
        })
        .with_state(cloud)
}

// --- who may ---

fn holder(store: &Store, headers: &HeaderMap) -> Result<Identity, Response> {
    iam::identity(store, headers).ok_or_else(|| {
        problem(
            401,
            "unauthorized",
            "The token is missing, invalid or expired",
        )
    })
}

fn allow(store: &Store, identity: &Identity, wish: Wish<'_>) -> Result<(), Response> {
    if store.permits(identity, wish) {
        return Ok(());
    }
    Err(problem(
        403,
        "forbidden",
        "The identity has no policy for this action",
    ))
}

/// May the identity do anything at all here?
fn instance(store: &Store, identity: &Identity) -> Result<(), Response> {
    if store.knows_instance(identity) {
        return Ok(());
    }
    Err(problem(
        403,
        "forbidden",
        "The identity has no policy on this instance",
    ))
}

/// What of a secret somebody wants to see.
enum Part {
    Metadata,
    Payload,
}

/// The secret, if the identity may see this part of it.
fn find<'s>(
    store: &'s Store,
    headers: &HeaderMap,
    id: &str,
    part: Part,
) -> Result<&'s Secret, Response> {
    let identity = holder(store, headers)?;
    instance(store, &identity)?;
    if uuid::Uuid::try_parse(id).is_err() {
        return Err(problem(400, "bad_request", "The secret id is not a UUID"));
    }
    let Some(secret) = store.secrets.get(id) else {
        return Err(problem(404, "not_found", "Secret was not found"));
    };
    let group = &secret.secret_group_id;
    let wish = match part {
        Part::Metadata => Wish::ReadMetadata(group),
        Part::Payload => Wish::ReadPayload(group),
    };
    allow(store, &identity, wish)?;
    Ok(secret)
}

fn manage(store: &Store, headers: &HeaderMap) -> Result<Identity, Response> {
    let identity = holder(store, headers)?;
    allow(store, &identity, Wish::ManageSecrets)?;
    Ok(identity)
}

fn answered(result: Answer) -> Response {
    result.unwrap_or_else(|problem| problem)
}

// --- reading ---

async fn read(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    answered(cloud.update(|store| {
        find(store, &headers, &id, Part::Payload)?;
        payload(&cloud, store, &id)
    }))
}

async fn read_by_name(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path((group, secret_type, name)): Path<(String, String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        holder(store, &headers)?;
        let named = store.secrets.values().find(|secret| {
            secret.name == name
                && secret.secret_type.as_str() == secret_type
                && store
                    .secret_groups
                    .get(&secret.secret_group_id)
                    .is_some_and(|g| g.name == group)
        });
        let Some(id) = named.map(|secret| secret.id.clone()) else {
            return Err(problem(404, "not_found", "Secret was not found"));
        };
        find(store, &headers, &id, Part::Payload)?;
        payload(&cloud, store, &id)
    }))
}

/// Marks the current version as read and hands it out.
fn payload(cloud: &Cloud, store: &mut Store, id: &str) -> Answer {
    let secret = store
        .secrets
        .get_mut(id)
        .expect("found under the same lock");
    secret.retrieved_at = Some(now());
    if let Some(current) = secret.versions.last_mut() {
        current.downloaded = true;
    }
    let secret = &store.secrets[id];
    let mut body = described(cloud, store, secret);
    if let Some(material) = shown(secret).and_then(|version| version.material.as_ref()) {
        body.extend(material_fields(secret.secret_type, material));
        body.extend(managed_csr(material).map(|csr| ("managed_csr".to_owned(), csr)));
    }
    Ok(Json(body).into_response())
}

async fn metadata(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    answered(cloud.update(|store| {
        let secret = find(store, &headers, &id, Part::Metadata)?;
        Ok(Json(described(&cloud, store, secret)).into_response())
    }))
}

async fn versions(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    answered(cloud.update(|store| {
        let secret = find(store, &headers, &id, Part::Metadata)?;
        let all: Vec<_> = (0..secret.versions.len())
            .map(|index| version_described(&cloud, secret, index))
            .collect();
        Ok(Json(json!({ "total_count": all.len(), "versions": all })).into_response())
    }))
}

async fn read_version(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path((id, version)): Path<(String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        let secret = find(store, &headers, &id, Part::Payload)?;
        let index = version_index(secret, &version)?;
        let secret = store
            .secrets
            .get_mut(&id)
            .expect("found under the same lock");
        secret.retrieved_at = Some(now());
        secret.versions[index].downloaded = true;
        Ok(Json(version_with_payload(&cloud, secret, index)).into_response())
    }))
}

async fn version_metadata(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path((id, version)): Path<(String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        let secret = find(store, &headers, &id, Part::Metadata)?;
        let index = version_index(secret, &version)?;
        Ok(Json(version_described(&cloud, secret, index)).into_response())
    }))
}

fn version_index(secret: &Secret, version: &str) -> Result<usize, Response> {
    secret
        .version_index(version)
        .ok_or_else(|| problem(404, "not_found", "Version of the secret was not found"))
}

async fn groups(State(cloud): State<Arc<Cloud>>, headers: HeaderMap) -> Response {
    answered(cloud.update(|store| {
        holder(store, &headers)?;
        let all: Vec<_> = store
            .secret_groups
            .iter()
            .map(|(id, group)| group_described(id, group))
            .collect();
        Ok(Json(json!({ "total_count": all.len(), "secret_groups": all })).into_response())
    }))
}

async fn group(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    answered(cloud.update(|store| {
        holder(store, &headers)?;
        match store.secret_groups.get(&id) {
            Some(group) => Ok(Json(group_described(&id, group)).into_response()),
            None => Err(problem(404, "not_found", "Secret group was not found")),
        }
    }))
}

// --- changing ---

async fn create_group(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    answered(cloud.update(|store| {
        let identity = manage(store, &headers)?;
        let Some(name) = body["name"].as_str() else {
            return Err(problem(400, "bad_request", "name is missing"));
        };
        let id = new_id();
        let group = Group {
            name: name.to_owned(),
            created_at: now(),
            created_by: identity.iam_id(),
        };
        let body = group_described(&id, &group);
        store.secret_groups.insert(id, group);
        Ok((StatusCode::CREATED, Json(body)).into_response())
    }))
}

async fn create(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let created = cloud.update(|store| {
        let identity = manage(store, &headers)?;
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let Some(secret_type) = SecretType::parse(&text("secret_type")) else {
            return Err(problem(
                400,
                "bad_request",
                "secret_type is missing or not known here",
            ));
        };
        let mut names = vec![text("common_name")];
        names.extend(
            body["alt_names"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|name| name.as_str().unwrap_or_default().to_owned()),
        );
        names.retain(|name| !name.is_empty());
        names.dedup();
        let spec = CertificateSpec {
            secret_type,
            name: text("name"),
            names,
            bundle_certs: body["bundle_certs"].as_bool().unwrap_or(true),
            rotate_keys: body["rotation"]["rotate_keys"].as_bool().unwrap_or(false),
            secret_group_id: Some(body["secret_group_id"].as_str().unwrap_or("default").into()),
            ..CertificateSpec::default()
        };
        let supplied = supplied(&body);
        let id = add(&cloud, store, &spec, supplied, &identity.iam_id())
            .map_err(|(status, why)| problem(status, "secrets-manager.05047E", &why))?;
        Ok(id)
    });
    match created {
        Err(problem) => problem,
        Ok(id) => {
            events::send_later(&cloud, Happened::Created, &[&id]);
            let body = cloud.update(|store| described(&cloud, store, &store.secrets[&id]));
            (StatusCode::CREATED, Json(body)).into_response()
        }
    }
}

async fn delete(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    answered(cloud.update(|store| {
        manage(store, &headers)?;
        find(store, &headers, &id, Part::Metadata)?;
        store.secrets.remove(&id);
        Ok(StatusCode::NO_CONTENT.into_response())
    }))
}

async fn create_version(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Option<Json<Value>>,
) -> Response {
    let rotated = cloud.update(|store| {
        manage(store, &headers)?;
        let secret = find(store, &headers, &id, Part::Metadata)?;
        let body = body.map_or(Value::Null, |Json(body)| body);
        let supplied = supplied(&body);
        let own = matches!(
            secret.secret_type,
            SecretType::PublicCert | SecretType::PrivateCert
        );
        if !own && supplied.is_none() {
            return Err(problem(
                400,
                "bad_request",
                "the new version's content is missing",
            ));
        }
        rotate(&cloud, store, &id, if own { None } else { supplied }, false)
            .map_err(|why| problem(400, "bad_request", &why))?;
        let secret = &store.secrets[&id];
        let body = version_with_payload(&cloud, secret, secret.versions.len() - 1);
        Ok((StatusCode::CREATED, Json(body)).into_response())
    });
    if rotated.is_ok() {
        events::send_later(&cloud, Happened::Rotated, &[&id]);
    }
    answered(rotated)
}

fn supplied(body: &Value) -> Option<Material> {
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let material = Material {
        certificate: text("certificate"),
        intermediate: text("intermediate"),
        private_key: text("private_key"),
        payload: text("payload"),
        ..Material::default()
    };
    (material.certificate.is_some() || material.payload.is_some()).then_some(material)
}

// --- notifications ---

async fn register(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    answered(cloud.update(|store| {
        manage(store, &headers)?;
        let crn = body["event_notifications_instance_crn"]
            .as_str()
            .unwrap_or_default();
        if crn != store.en_instance_crn {
            return Err(problem(
                400,
                "bad_request",
                "There is no such Event Notifications instance",
            ));
        }
        events::register(store);
        let body = json!({ "event_notifications_instance_crn": crn });
        Ok((StatusCode::CREATED, Json(body)).into_response())
    }))
}

async fn registration(State(cloud): State<Arc<Cloud>>, headers: HeaderMap) -> Response {
    answered(cloud.update(|store| {
        holder(store, &headers)?;
        match &store.registration {
            Some(crn) => {
                Ok(Json(json!({ "event_notifications_instance_crn": crn })).into_response())
            }
            None => Err(problem(
                404,
                "not_found",
                "Event Notifications is not registered",
            )),
        }
    }))
}

async fn unregister(State(cloud): State<Arc<Cloud>>, headers: HeaderMap) -> Response {
    answered(cloud.update(|store| {
        manage(store, &headers)?;
        store.registration = None;
        let source = store.instance_crn.clone();
        if store.sources.remove(&source).is_some() {
            event_notifications::forget(store, Collection::Sources, &source);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    }))
}

async fn test_event(State(cloud): State<Arc<Cloud>>, headers: HeaderMap) -> Response {
    let sent = cloud.update(|store| {
        manage(store, &headers)?;
        if store.registration.is_none() {
            return Err(problem(
                404,
                "not_found",
                "Event Notifications is not registered",
            ));
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    });
    if sent.is_ok() {
        events::send_later(&cloud, Happened::Tested, &[]);
    }
    answered(sent)
}
