//! Code Engine v2: routes and documents of projects, secrets, config maps, apps, jobs, job runs and
//! domain mappings.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::clock::{millis, now};
use crate::http::{Answer, Ask, Reply, Routes, reply};
use crate::job_runs::{self, RunRequest, Trigger};
use crate::problems::{Problem, bad, no};
use crate::store::{Action, Identity, Kind, Project, Resource, Store, Wish, new_id, object};
use crate::world::REGION;

pub(crate) mod apps;
pub(crate) mod rules;

pub(crate) const ROUTES: Routes = &[
    ("GET /v2/projects/{project_id}", read_project),
    ("GET /v2/projects/{project_id}/job_runs", runs),
    ("POST /v2/projects/{project_id}/job_runs", submit),
    ("GET /v2/projects/{project_id}/job_runs/{name}", run),
    ("DELETE /v2/projects/{project_id}/job_runs/{name}", delete_run),
    ("GET /v2/projects/{project_id}/{kind}", list),
    ("POST /v2/projects/{project_id}/{kind}", create),
    ("GET /v2/projects/{project_id}/{kind}/{name}", read),
    ("PUT /v2/projects/{project_id}/{kind}/{name}", change),
    ("PATCH /v2/projects/{project_id}/{kind}/{name}", change),
    ("DELETE /v2/projects/{project_id}/{kind}/{name}", delete),
];

/// The path segment, also the name of the array in lists; how many a project may have; and whether
/// PUT replaces it, or PATCH merges into it.
const KINDS: [(Kind, &str, usize, bool); 5] = [
    (Kind::App, "apps", 40, false),
    (Kind::ConfigMap, "config_maps", 100, true),
    (Kind::DomainMapping, "domain_mappings", 80, false),
    (Kind::Job, "jobs", 100, false),
    (Kind::Secret, "secrets", 100, true),
];

impl Kind {
    fn row(self) -> (Self, &'static str, usize, bool) {
        let row = KINDS.iter().find(|row| row.0 == self);
        *row.expect("every kind is in the table")
    }

    fn of(segment: &str) -> Result<Self, Problem> {
        let row = KINDS.iter().find(|row| row.1 == segment);
        row.map(|row| row.0).ok_or_else(|| Problem::of(404))
    }
}

pub(crate) fn missing() -> Problem {
    no(404, "resource_not_found", "Resource not found.")
}

/// The project of the path: token, project with its region, policy, in this order. `None`: to create
/// or delete in it.
fn admit<'s>(
    store: &'s mut Store,
    ask: &Ask,
    action: Option<Action>,
) -> Result<(&'s mut Project, Identity), Problem> {
    let who = store.holder(ask)?;
    let id = &ask.path[0];
    let region = ask.region.as_deref().unwrap_or(REGION);
    let found = store.projects.get(id);
    let found = found.filter(|project| project.region == region);
    found.ok_or_else(missing)?;
    store.allow(&who, Wish::InProject(action, id))?;
    Ok((store.projects.get_mut(id).expect("found above"), who))
}

// --- projects: people make them elsewhere ---

fn read_project(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, Some(Action::ReadProject))?;
    reply(200, project_document(cloud, project))
}

fn project_document(cloud: &Cloud, project: &Project) -> Value {
    json!({
        "account_id": cloud.world.account_id,
        "created_at": millis(project.created_at),
        "crn": cloud.world.crn_of(project),
        "href": format!("{}/v2/projects/{}", cloud.addresses.code_engine, project.id),
        "id": project.id,
        "name": project.name,
        "region": project.region,
        "resource_group_id": cloud.world.account_id,
        "resource_type": "project_v2",
        "status": "active",
    })
}

// --- secrets, config maps, apps, jobs, domain mappings ---

fn list(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, Some(Action::ReadEntities))?;
    let kind = Kind::of(&ask.path[1])?;
    let format = ask.query.get("format").map(String::as_str);
    let all = project.resources.iter().filter(|((found, _), resource)| {
        *found == kind && (format.is_none() || resource.text("format") == format)
    });
    let all = all.map(|((_, name), resource)| {
        let mut document = document(cloud, project, kind, name, resource);
        if kind == Kind::Secret && !cloud.options.data_in_lists {
            document.remove("data");
        }
        (name.clone(), document.into())
    });
    page(cloud, ask, &ask.path[1], all.collect())
}

/// `limit`, `start` and `next` as all lists of Code Engine have them; `start` is opaque (here the
/// last name of the page before).
fn page(cloud: &Cloud, ask: &Ask, collection: &str, all: Vec<(String, Value)>) -> Answer {
    let limit = match ask.query.get("limit").map(|text| text.parse::<usize>()) {
        None => 100,
        Some(Ok(limit @ 1..=100)) => limit,
        Some(_) => return Err(bad("limit must be 1 to 100.")),
    };
    let start = ask.query.get("start");
    let after = start.and_then(|start| start.strip_prefix("after-"));
    let later = |(name, _): &(String, Value)| after.is_none_or(|after| name.as_str() > after);
    let mut rest = all.into_iter().filter(later);
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let (base, project_id) = (&cloud.addresses.code_engine, &ask.path[0]);
    let url = format!("{base}/v2/projects/{project_id}/{collection}");
    let mut body = json!({ "first": { "href": format!("{url}?limit={limit}") }, "limit": limit });
    if let (Some((last, _)), Some(_)) = (page.last(), rest.next()) {
        let start = format!("after-{last}");
        let href = format!("{url}?limit={limit}&start={start}");
        body["next"] = json!({ "href": href, "start": start });
    }
    body[collection] = page.into_iter().map(|(_, document)| document).collect();
    reply(200, body)
}

fn create(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, None)?;
    let kind = Kind::of(&ask.path[1])?;
    put_new(cloud, project, kind, ask.text("name"), ask.body.clone())?;
    one(cloud, project, kind, ask.text("name"), 201)
}

/// A new resource, checked as over HTTP.
pub(crate) fn put_new(
    cloud: &Cloud,
    project: &mut Project,
    kind: Kind,
    name: &str,
    mut fields: Map<String, Value>,
) -> Result<(), Problem> {
    fields.remove("name");
    rules::name(kind, name)?;
    rules::fields(project, kind, name, &fields)?;
    if project.get(kind, name).is_some() {
        let why = format!("A resource with the name {name} already exists.");
        return Err(no(409, "resource_already_exists", why));
    }
    let (_, collection, quota, _) = kind.row();
    let held = project.resources.keys().filter(|(found, _)| *found == kind);
    if held.count() >= quota {
        let why = format!("Quota of {collection} exceeded.");
        return Err(no(403, "quota_exceeded", why));
    }
    rules::fill(cloud, project, kind, name, &mut fields);
    remember(cloud, &fields);
    let mut resource = Resource {
        id: new_id(),
        entity_tag: cloud.next_tag(),
        created_at: now(),
        writes: 1,
        fields,
        revisions: apps::Revisions::first(),
    };
    if kind == Kind::App {
        let (revisions, fields) = (&resource.revisions, &mut resource.fields);
        revisions.show(&cloud.options, name, fields);
    }
    project.resources.insert((kind, name.to_owned()), resource);
    Ok(())
}

fn read(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, Some(Action::ReadEntities))?;
    let (kind, name) = (Kind::of(&ask.path[1])?, &ask.path[2]);
    let found = project.get_mut(kind, name).ok_or_else(missing)?;
    // a revision may have become ready in the meantime
    if kind == Kind::App && !found.revisions.take_unseen() {
        found.revisions.read();
        let before = found.fields["status_details"].clone();
        let (revisions, fields) = (&found.revisions, &mut found.fields);
        revisions.show(&cloud.options, name, fields);
        if before != found.fields["status_details"] && cloud.options.status_moves_tag {
            found.entity_tag = cloud.next_tag();
        }
    }
    one(cloud, project, kind, name, 200)
}

/// PUT replaces `data` of secrets and config maps; PATCH merges into the others (RFC 7396).
fn change(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, Some(Action::UpdateEntities))?;
    let (kind, name) = (Kind::of(&ask.path[1])?, &ask.path[2]);
    let replaces = kind.row().3;
    if replaces != (ask.method == "PUT") {
        return Err(Problem::of(405));
    }
    let found = project.get(kind, name).ok_or_else(missing)?;
    let options = &cloud.options;
    let Some(given) = ask.headers.get("if-match") else {
        let (status, why) = (options.missing_if_match_status, "The If-Match header is missing.");
        return Err(no(status, "precondition_required", why));
    };
    let given = String::from_utf8_lossy(given.as_bytes());
    if !options.entity_tags.takes(&given, &found.entity_tag) {
        let why = "The entity tag does not match the current one.";
        return Err(no(options.conflict_status, "precondition_failed", why));
    }
    if found.text("generated_by") == Some("system") {
        let why = "A secret that is generated by the system cannot be changed.";
        return Err(no(403, "forbidden", why));
    }
    let mut fields = found.fields.clone();
    if replaces {
        if ask.body.get("format") != fields.get("format") {
            return Err(bad("The format of a secret cannot be changed."));
        }
        let data = ask.body.get("data").cloned().unwrap_or_default();
        fields.insert("data".into(), data);
    } else {
        rules::patchable(kind, &ask.body)?;
        merge(&mut fields, ask.body.clone());
    }
    rules::fields(project, kind, name, &fields)?;
    remember(cloud, &fields);
    let found = project.get_mut(kind, name).expect("found above");
    let noop = apps::template(&found.fields) == apps::template(&fields);
    if kind == Kind::App && (!noop || options.noop_patch_makes_revision) {
        found.revisions.next(options.revisions_lag);
        found.revisions.show(options, name, &mut fields);
    }
    found.fields = fields;
    found.entity_tag = cloud.next_tag();
    found.writes += 1;
    one(cloud, project, kind, name, 200)
}

/// RFC 7396: objects merge, `null` removes, everything else (arrays too) replaces.
fn merge(into: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (into.get_mut(&name), value) {
            (_, Value::Null) => drop(into.remove(&name)),
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

fn delete(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, None)?;
    let key = (Kind::of(&ask.path[1])?, ask.path[2].clone());
    project.resources.remove(&key).ok_or_else(missing)?;
    reply(202, json!({}))
}

/// Private keys go onto the list for leak searches.
pub(crate) fn remember(cloud: &Cloud, fields: &Map<String, Value>) {
    if let Some(key) = fields.get("data").and_then(|data| data["tls_key"].as_str()) {
        cloud.remember(key);
    }
}

fn one(cloud: &Cloud, project: &Project, kind: Kind, name: &str, status: u16) -> Answer {
    let resource = project.get(kind, name).ok_or_else(missing)?;
    Ok(Reply {
        status,
        body: document(cloud, project, kind, name, resource).into(),
        tag: cloud.options.entity_tags.in_header(&resource.entity_tag),
    })
}

/// A resource as the API shows it.
pub(crate) fn document(
    cloud: &Cloud,
    project: &Project,
    kind: Kind,
    name: &str,
    resource: &Resource,
) -> Map<String, Value> {
    let (_, collection, ..) = kind.row();
    let resource_type = match kind {
        Kind::Secret => format!("secret_{}_v2", resource.text("format").unwrap_or("generic")),
        _ => collection.trim_end_matches('s').to_owned() + "_v2",
    };
    let (base, id) = (&cloud.addresses.code_engine, &project.id);
    let mut body = resource.fields.clone();
    body.extend(object(json!({
        "created_at": millis(resource.created_at),
        "entity_tag": resource.entity_tag,
        "href": format!("{base}/v2/projects/{id}/{collection}/{name}"),
        "id": resource.id,
        "name": name,
        "project_id": id,
        "region": project.region,
        "resource_type": resource_type,
        // IBM adds fields over time.
        "x_not_in_the_documents": [now().unix_timestamp()],
    })));
    body
}

// --- job runs ---

fn submit(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (_, who) = admit(store, ask, None)?;
    let request = RunRequest {
        body: ask.body.clone(),
        event: Default::default(),
        trigger: match who {
            Identity::EventNotifications => Trigger::EventNotifications,
            _ => Trigger::Api,
        },
    };
    let name = job_runs::submit(cloud, store, &ask.path[0], request)?;
    let run = &store.projects[&ask.path[0]].job_runs[&name];
    reply(202, run.document(cloud))
}

fn runs(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, Some(Action::ReadEntities))?;
    let job = ask.query.get("job_name");
    let all = project.job_runs.iter();
    let all = all.filter(|(_, run)| job.is_none_or(|job| *job == run.public.job_name));
    let all = all.map(|(name, run)| (name.clone(), run.document(cloud)));
    page(cloud, ask, "job_runs", all.collect())
}

fn run(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, Some(Action::ReadEntities))?;
    let run = project.job_runs.get(&ask.path[1]).ok_or_else(missing)?;
    reply(200, run.document(cloud))
}

fn delete_run(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let (project, _) = admit(store, ask, None)?;
    let run = project.job_runs.remove(&ask.path[1]).ok_or_else(missing)?;
    run.stop.send_replace(true);
    reply(202, json!({}))
}
