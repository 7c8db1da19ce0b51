//! Code Engine v2: routes and wire of projects, secrets, config maps, apps, jobs, job runs and
//! domain mappings.
//!
//! Not here: the processes behind job runs (`job_runs`), TLS of domain mappings (`domains`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::clock::{millis, now};
use crate::iam;
use crate::problems::code_engine as problem;
use crate::store::{Identity, Kind, Project, Resource, Store, Wish};
use crate::{Cloud, EntityTags};

pub(crate) mod apps;
mod projects;
pub(crate) mod rules;
mod runs;

type Answer = Result<Response, Response>;

impl Kind {
    const ALL: [Self; 5] = [
        Self::App,
        Self::ConfigMap,
        Self::DomainMapping,
        Self::Job,
        Self::Secret,
    ];

    /// The path segment, and the name of the array in lists.
    fn collection(self) -> &'static str {
        match self {
            Self::App => "apps",
            Self::ConfigMap => "config_maps",
            Self::DomainMapping => "domain_mappings",
            Self::Job => "jobs",
            Self::Secret => "secrets",
        }
    }
}

/// The region in front of the path, if there was one; an extension of the request.
#[derive(Clone)]
struct Region(String);

/// `/{region}/v2/…` -> `/v2/…` and the region: one base URL with `{region}` in it can address
/// every region, where IBM has a host name each.
pub(crate) fn take_region_off(request: &mut Request) {
    let path_and_query = request.uri().path_and_query().map(ToString::to_string);
    let Some((region, rest)) = path_and_query
        .as_deref()
        .and_then(|text| text.strip_prefix('/')?.split_once('/'))
    else {
        return;
    };
    if !rest.starts_with("v2/") || region == "v2" || region == "api" {
        return;
    }
    let Ok(uri) = format!("/{rest}").parse::<Uri>() else {
        return;
    };
    request.extensions_mut().insert(Region(region.to_owned()));
    *request.uri_mut() = uri;
}

pub(crate) fn routes(cloud: Arc<Cloud>) -> Router {
    let mut router = Router::new()
        .route("/v2/projects", get(projects::list))
        .route("/v2/projects/{project_id}", get(projects::read))
        .route(
            "/v2/projects/{project_id}/job_runs",
            get(runs::list).post(runs::submit),
        )
        .route(
            "/v2/projects/{project_id}/job_runs/{name}",
            get(runs::read).delete(runs::delete),
        );
    for kind in Kind::ALL {
        let all = format!("/v2/projects/{{project_id}}/{}", kind.collection());
        let one = format!("{all}/{{name}}");
        let door = Door {
            cloud: cloud.clone(),
            kind,
        };
        let one_routes = match kind {
            Kind::Secret | Kind::ConfigMap => get(read).delete(delete).put(change),
            _ => get(read).delete(delete).patch(change),
        };
        router = router
            .route(&all, get(list).post(create).with_state(door.clone()))
            .route(&one, one_routes.with_state(door));
    }
    router
        .fallback(async || problem(404, "path_not_found", "Path not found."))
        .method_not_allowed_fallback(async || {
            problem(405, "method_not_allowed", "Method not allowed.")
        })
        .with_state(cloud)
}

/// Who asks, and in which region.
struct Caller {
    headers: HeaderMap,
    region: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let region = parts.extensions.get().map(|Region(name)| name.clone());
        Ok(Self {
            headers: parts.headers.clone(),
            region,
        })
    }
}

/// The handlers of one kind.
#[derive(Clone)]
struct Door {
    cloud: Arc<Cloud>,
    kind: Kind,
}

fn answered(result: Answer) -> Response {
    result.unwrap_or_else(|problem| problem)
}

/// Token, policy, project, region: in this order.
fn admit(
    cloud: &Cloud,
    store: &Store,
    caller: &Caller,
    wish: Wish<'_>,
) -> Result<Identity, Response> {
    let Some(identity) = iam::identity(store, &caller.headers) else {
        return Err(problem(
            401,
            "unauthorized",
            "The token is missing, invalid or expired.",
        ));
    };
    let (Wish::SeeProject(id)
    | Wish::ReadEntities(id)
    | Wish::UpdateEntities(id)
    | Wish::WriteProject(id)) = wish
    else {
        return Err(problem(403, "forbidden", "Not a wish about projects."));
    };
    let region = caller.region.as_ref().unwrap_or(&cloud.options.region);
    if store
        .projects
        .get(id)
        .is_none_or(|project| project.region != *region)
    {
        return Err(not_found());
    }
    if !store.permits(&identity, wish) {
        return Err(problem(
            403,
            "forbidden",
            "You are not authorized to perform this action.",
        ));
    }
    Ok(identity)
}

fn not_found() -> Response {
    problem(404, "resource_not_found", "Resource not found.")
}

// --- secrets, config maps, apps, jobs, domain mappings ---

async fn list(
    State(Door { cloud, kind }): State<Door>,
    caller: Caller,
    Path(project_id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::ReadEntities(&project_id))?;
        let project = &store.projects[&project_id];
        let format = query.get("format").map(String::as_str);
        let all: Vec<_> = project
            .resources
            .iter()
            .filter(|((found, _), _)| *found == kind)
            .filter(|(_, resource)| format.is_none() || resource.text("format") == format)
            .map(|((_, name), resource)| {
                let mut document = document(&cloud, project, kind, name, resource);
                if let Some(fields) = document.as_object_mut()
                    && kind == Kind::Secret
                    && !cloud.options.data_in_lists
                {
                    fields.remove("data");
                }
                (name.clone(), document)
            })
            .collect();
        page(&cloud, &project_id, kind.collection(), &query, all)
    }))
}

/// `limit`, `start` and `next` as all lists of Code Engine have them; `start` is opaque (here the
/// last name of the page before).
fn page(
    cloud: &Cloud,
    project_id: &str,
    collection: &str,
    query: &BTreeMap<String, String>,
    all: Vec<(String, Value)>,
) -> Answer {
    let limit = match query.get("limit").map(|text| text.parse::<usize>()) {
        None => 100,
        Some(Ok(limit @ 1..=100)) => limit,
        Some(_) => return Err(problem(400, "bad_request", "limit must be 1 to 100.")),
    };
    let after = query
        .get("start")
        .and_then(|start| start.strip_prefix("after-"));
    let mut rest = all
        .into_iter()
        .filter(|(name, _)| after.is_none_or(|a| name.as_str() > a));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let url = format!(
        "{}/v2/projects/{project_id}/{collection}",
        cloud.addresses.code_engine()
    );
    let mut body = json!({ "first": { "href": format!("{url}?limit={limit}") }, "limit": limit });
    if let (Some((last, _)), Some(_)) = (page.last(), rest.next()) {
        let start = format!("after-{last}");
        body["next"] =
            json!({ "href": format!("{url}?limit={limit}&start={start}"), "start": start });
    }
    body[collection] = page.into_iter().map(|(_, document)| document).collect();
    Ok(Json(body).into_response())
}

async fn create(
    State(Door { cloud, kind }): State<Door>,
    caller: Caller,
    Path(project_id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::WriteProject(&project_id))?;
        let name = body
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        put_new(&cloud, store, &project_id, kind, &name, body)
            .map_err(|(status, code, why)| problem(status, code, &why))?;
        Ok(one(
            &cloud,
            store,
            &project_id,
            kind,
            &name,
            StatusCode::CREATED,
        ))
    }))
}

/// A new resource, checked as over HTTP. An error is status, code, reason.
pub(crate) fn put_new(
    cloud: &Cloud,
    store: &mut Store,
    project_id: &str,
    kind: Kind,
    name: &str,
    mut fields: Map<String, Value>,
) -> Result<(), (u16, &'static str, String)> {
    let tag = store.next_tag();
    let project = store
        .projects
        .get_mut(project_id)
        .expect("admitted under the same lock");
    fields.remove("name");
    rules::name(kind, name)?;
    rules::fields(project, kind, name, &fields)?;
    if project.get(kind, name).is_some() {
        let why = format!("A resource with the name {name} already exists.");
        return Err((409, "resource_already_exists", why));
    }
    let count = project
        .resources
        .keys()
        .filter(|(found, _)| *found == kind)
        .count();
    if count >= rules::quota(kind) {
        return Err((
            403,
            "quota_exceeded",
            format!("Quota of {} exceeded.", kind.collection()),
        ));
    }
    rules::fill(cloud, project, kind, name, &mut fields);
    if kind == Kind::App {
        let revisions = apps::Revisions::first();
        revisions.show(&cloud.options, name, &mut fields);
        let project = store.projects.get_mut(project_id).expect("as above");
        project.revisions.insert(name.to_owned(), revisions);
    }
    remember(store, &fields);
    let project = store.projects.get_mut(project_id).expect("as above");
    project
        .resources
        .insert((kind, name.to_owned()), Resource::new(tag, fields));
    Ok(())
}

async fn read(
    State(Door { cloud, kind }): State<Door>,
    caller: Caller,
    Path((project_id, name)): Path<(String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::ReadEntities(&project_id))?;
        if store.projects[&project_id].get(kind, &name).is_none() {
            return Err(not_found());
        }
        if kind == Kind::App {
            app_is_read(&cloud, store, &project_id, &name);
        }
        Ok(one(&cloud, store, &project_id, kind, &name, StatusCode::OK))
    }))
}

/// A revision may have become ready in the meantime.
fn app_is_read(cloud: &Cloud, store: &mut Store, project_id: &str, name: &str) {
    let tag = store.next_tag();
    let project = store.projects.get_mut(project_id);
    let project = project.expect("found under the same lock");
    let revisions = project.revisions.get_mut(name).expect("of every app");
    if revisions.take_unseen() {
        return;
    }
    revisions.read();
    let app = project.resources.get_mut(&(Kind::App, name.to_owned()));
    let app = app.expect("found under the same lock");
    let before = app.fields["status_details"].clone();
    revisions.show(&cloud.options, name, &mut app.fields);
    if before != app.fields["status_details"] && cloud.options.status_moves_tag {
        app.entity_tag = tag;
    }
}

/// PUT replaces `data` of secrets and config maps; PATCH merges into the others (RFC 7396).
async fn change(
    State(Door { cloud, kind }): State<Door>,
    caller: Caller,
    Path((project_id, name)): Path<(String, String)>,
    Json(body): Json<Map<String, Value>>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::UpdateEntities(&project_id))?;
        let Some(found) = store.projects[&project_id].get(kind, &name) else {
            return Err(not_found());
        };
        if_match(&cloud, &caller.headers, found)?;
        if found.text("generated_by") == Some("system") {
            let why = "A secret that is generated by the system cannot be changed.";
            return Err(problem(403, "forbidden", why));
        }
        replace(&cloud, store, &project_id, kind, &name, body)
            .map_err(|(status, code, why)| problem(status, code, &why))?;
        Ok(one(&cloud, store, &project_id, kind, &name, StatusCode::OK))
    }))
}

/// `*` matches any tag.
fn if_match(cloud: &Cloud, headers: &HeaderMap, found: &Resource) -> Result<(), Response> {
    let Some(given) = headers.get(header::IF_MATCH) else {
        let why = "The If-Match header is missing.";
        return Err(problem(
            cloud.options.missing_if_match_status,
            "precondition_required",
            why,
        ));
    };
    let given = String::from_utf8_lossy(given.as_bytes());
    if given == "*" || cloud.options.entity_tags.takes(&given, &found.entity_tag) {
        return Ok(());
    }
    let why = "The entity tag does not match the current one.";
    Err(problem(
        cloud.options.conflict_status,
        "precondition_failed",
        why,
    ))
}

fn replace(
    cloud: &Cloud,
    store: &mut Store,
    project_id: &str,
    kind: Kind,
    name: &str,
    body: Map<String, Value>,
) -> Result<(), (u16, &'static str, String)> {
    let tag = store.next_tag();
    let project = store
        .projects
        .get_mut(project_id)
        .expect("admitted under the same lock");
    let found = project.get(kind, name).expect("found under the same lock");
    let before = found.fields.clone();
    let mut fields = before.clone();
    match kind {
        Kind::Secret | Kind::ConfigMap => {
            if body.get("format") != fields.get("format") {
                let why = "The format of a secret cannot be changed.".to_owned();
                return Err((400, "bad_request", why));
            }
            let data = body.get("data").cloned().unwrap_or(Value::Null);
            fields.insert("data".into(), data);
        }
        _ => {
            rules::patchable(kind, &body)?;
            merge(&mut fields, body);
        }
    }
    rules::fields(project, kind, name, &fields)?;
    let noop = apps::template(&before) == apps::template(&fields);
    if kind == Kind::App && (!noop || cloud.options.noop_patch_makes_revision) {
        let project = store.projects.get_mut(project_id).expect("as above");
        let revisions = project.revisions.get_mut(name).expect("of every app");
        revisions.next(cloud.options.revisions_lag);
        revisions.show(&cloud.options, name, &mut fields);
    }
    remember(store, &fields);
    let project = store.projects.get_mut(project_id).expect("as above");
    let found = project.get_mut(kind, name).expect("as above");
    found.fields = fields;
    found.entity_tag = tag;
    found.writes += 1;
    Ok(())
}

/// RFC 7396: objects merge, `null` removes, everything else (arrays too) replaces.
fn merge(into: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (into.get_mut(&name), value) {
            (_, Value::Null) => {
                into.remove(&name);
            }
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

async fn delete(
    State(Door { cloud, kind }): State<Door>,
    caller: Caller,
    Path((project_id, name)): Path<(String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        admit(&cloud, store, &caller, Wish::WriteProject(&project_id))?;
        let project = store
            .projects
            .get_mut(&project_id)
            .expect("admitted under the same lock");
        if kind == Kind::App {
            project.revisions.remove(&name);
        }
        match project.resources.remove(&(kind, name)) {
            Some(_) => Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response()),
            None => Err(not_found()),
        }
    }))
}

/// Private keys go onto the list for leak searches.
pub(crate) fn remember(store: &mut Store, fields: &Map<String, Value>) {
    if let Some(key) = fields.get("data").and_then(|data| data["tls_key"].as_str()) {
        store.remember(key);
    }
}

fn one(
    cloud: &Cloud,
    store: &Store,
    project_id: &str,
    kind: Kind,
    name: &str,
    status: StatusCode,
) -> Response {
    let project = &store.projects[project_id];
    let resource = project.get(kind, name).expect("found under the same lock");
    let mut response =
        (status, Json(document(cloud, project, kind, name, resource))).into_response();
    let tag = cloud.options.entity_tags.in_header(&resource.entity_tag);
    // bytes: a test may have set a tag that is not ASCII; one with control characters has no header
    if let Some(Ok(tag)) = tag.map(|tag| HeaderValue::from_bytes(tag.as_bytes())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// A resource as the API shows it.
pub(crate) fn document(
    cloud: &Cloud,
    project: &Project,
    kind: Kind,
    name: &str,
    resource: &Resource,
) -> Value {
    let resource_type = match kind {
        Kind::App => "app_v2".to_owned(),
        Kind::ConfigMap => "config_map_v2".to_owned(),
        Kind::DomainMapping => "domain_mapping_v2".to_owned(),
        Kind::Job => "job_v2".to_owned(),
        Kind::Secret => format!("secret_{}_v2", resource.text("format").unwrap_or("generic")),
    };
    let collection = kind.collection();
    let mut body = resource.fields.clone();
    let own = json!({
        "created_at": millis(resource.created_at),
        "entity_tag": resource.entity_tag,
        "href": format!(
            "{}/v2/projects/{}/{collection}/{name}",
            cloud.addresses.code_engine(),
            project.id
        ),
        "id": resource.id,
        "name": name,
        "project_id": project.id,
        "region": project.region,
        "resource_type": resource_type,
        // IBM adds fields over time.
        "x_not_in_the_documents": [now().unix_timestamp()],
    });
    if let Value::Object(own) = own {
        body.extend(own);
    }
    if cloud.options.entity_tags == EntityTags::HeaderOnly {
        body.remove("entity_tag");
    }
    Value::Object(body)
}
