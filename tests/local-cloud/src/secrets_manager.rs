//! Secrets Manager v2: routes, and what creation and rotation do. Both send the real events
//! (`events`).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::authority::{CertificateSpec, Material, SecretType};
use crate::clock::now;
use crate::event_notifications;
use crate::events::{self, Happened};
use crate::http::{Answer, Ask, Routes, reply};
use crate::problems::{Problem, bad, no, not_found};
use crate::store::{Secret, Store, Version, Wish, new_id};

mod wire;

pub(crate) use wire::crn;
use wire::{described, group, version_described, version_with_payload, with_payload};

pub(crate) const ROUTES: Routes = &[
    ("GET /api/v2/secrets", list),
    ("POST /api/v2/secrets", create),
    ("GET /api/v2/secrets/{id}", read),
    ("DELETE /api/v2/secrets/{id}", delete),
    ("GET /api/v2/secrets/{id}/metadata", metadata),
    ("GET /api/v2/secrets/{id}/versions", versions),
    ("POST /api/v2/secrets/{id}/versions", create_version),
    ("GET /api/v2/secrets/{id}/versions/{version}", read_version),
    ("GET /api/v2/secrets/{id}/versions/{version}/metadata", version_metadata),
    ("POST /api/v2/secret_groups", create_group),
    ("POST /api/v2/notifications/registration", register),
    ("GET /api/v2/notifications/registration", registration),
    ("DELETE /api/v2/notifications/registration", unregister),
    ("GET /api/v2/notifications/registration/test", test_event),
];

/// What of a secret somebody wants to see.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Metadata,
    Payload,
}

/// The secret, if the caller may see this part of it; seeing the payload leaves marks.
fn find<'s>(store: &'s mut Store, ask: &Ask, part: Part) -> Result<&'s mut Secret, Problem> {
    let id = &ask.path[0];
    let who = store.admit(ask, Wish::KnowInstance)?;
    if uuid::Uuid::try_parse(id).is_err() {
        return Err(bad("The secret id is not a UUID."));
    }
    let secret = store.secrets.get(id);
    let secret = secret.ok_or_else(|| not_found("The secret"))?;
    let group = &secret.secret_group_id;
    let wish = match part {
        Part::Metadata => Wish::ReadMetadata(group),
        Part::Payload => Wish::ReadPayload(group),
    };
    store.allow(&who, wish)?;
    let secret = store.secrets.get_mut(id).expect("found above");
    if part == Part::Payload {
        secret.retrieved_at = Some(now());
    }
    Ok(secret)
}

fn read(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let secret = find(store, ask, Part::Payload)?;
    secret.versions.last_mut().expect("a version").downloaded = true;
    reply(200, with_payload(cloud, secret).into())
}

fn metadata(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let secret = find(store, ask, Part::Metadata)?;
    reply(200, described(cloud, secret).into())
}

fn versions(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let secret = find(store, ask, Part::Metadata)?;
    let all = (0..secret.versions.len()).map(|index| version_described(cloud, secret, index));
    let all: Vec<_> = all.collect();
    reply(200, json!({ "total_count": all.len(), "versions": all }))
}

fn read_version(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let secret = find(store, ask, Part::Payload)?;
    let index = version_index(secret, &ask.path[1])?;
    secret.versions[index].downloaded = true;
    reply(200, version_with_payload(cloud, secret, index).into())
}

fn version_metadata(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let secret = find(store, ask, Part::Metadata)?;
    let index = version_index(secret, &ask.path[1])?;
    reply(200, version_described(cloud, secret, index).into())
}

/// `current`, `previous` or an id.
fn version_index(secret: &Secret, version: &str) -> Result<usize, Problem> {
    let found = match version {
        "current" => secret.versions.len().checked_sub(1),
        "previous" => secret.versions.len().checked_sub(2),
        id => secret.versions.iter().position(|version| version.id == id),
    };
    found.ok_or_else(|| not_found("The version of the secret"))
}

/// Metadata of the secrets that the caller may see, as the SDK's parameters choose them.
fn list(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let who = store.admit(ask, Wish::KnowInstance)?;
    let number = |name: &str, default: usize| {
        let parsed = ask.query.get(name).map_or(Ok(default), |text| text.parse());
        parsed.map_err(|_| bad(format!("{name} is not a number.")))
    };
    let (limit, offset) = (number("limit", 200)?, number("offset", 0)?);
    if !(1..=1000).contains(&limit) {
        return Err(bad("limit must be 1 to 1000."));
    }
    let among = |name: &str, value: &str| {
        let list = ask.query.get(name);
        list.is_none_or(|list| list.split(',').any(|one| one == value))
    };
    let search = ask.query.get("search").map_or("", String::as_str);
    let chosen = |secret: &&Secret| {
        let (group, secret_type) = (&secret.secret_group_id, secret.secret_type.as_str());
        store.permits(&who, Wish::ReadMetadata(group))
            && among("groups", group)
            && among("secret_types", secret_type)
            && (secret.id.contains(search) || secret.name.contains(search))
    };
    let found = store.secrets.values().filter(chosen);
    let mut found: Vec<_> = found.map(|secret| described(cloud, secret)).collect();
    if let Some(sort) = ask.query.get("sort") {
        let field = sort.trim_start_matches('-');
        let known = "created_at expiration_date id name secret_type updated_at";
        if !known.split(' ').any(|one| one == field) {
            return Err(bad(format!("sort by {field} is not possible.")));
        }
        found.sort_by_key(|s| s.get(field).and_then(Value::as_str).map(str::to_owned));
        if sort.starts_with('-') {
            found.reverse();
        }
    }
    let base = &cloud.addresses.secrets_manager;
    let href = |offset: usize| json!({ "href": format!("{base}/api/v2/secrets?limit={limit}&offset={offset}") });
    let total = found.len();
    let page: Vec<_> = found.into_iter().skip(offset).take(limit).collect();
    let mut body = json!({
        "total_count": total,
        "limit": limit,
        "offset": offset,
        "first": href(0),
        "last": href(total.saturating_sub(1) / limit * limit),
        "secrets": page,
    });
    if offset + limit < total {
        body["next"] = href(offset + limit);
    }
    if offset > 0 {
        body["previous"] = href(offset.saturating_sub(limit));
    }
    reply(200, body)
}

fn create_group(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.admit(ask, Wish::ManageSecrets)?;
    let (id, name) = (new_id(), ask.text("name"));
    store.secret_groups.insert(id.clone(), name.to_owned());
    reply(201, group(&id, name))
}

fn create(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.admit(ask, Wish::ManageSecrets)?;
    let secret_type = ask.body.get("secret_type").cloned().unwrap_or_default();
    let secret_type = serde_json::from_value::<SecretType>(secret_type);
    let secret_type = secret_type.map_err(|_| bad("secret_type is missing or not known here."))?;
    let alt_names = ask.body.get("alt_names").and_then(Value::as_array);
    let alt_names = alt_names.into_iter().flatten().filter_map(Value::as_str);
    let common_name = [ask.text("common_name")].into_iter();
    let mut names: Vec<_> = common_name.chain(alt_names).collect();
    names.retain(|name| !name.is_empty());
    names.dedup();
    let group = match ask.text("secret_group_id") {
        "" => "default",
        group => group,
    };
    let spec = CertificateSpec {
        secret_type,
        name: ask.text("name").to_owned(),
        names: names.into_iter().map(str::to_owned).collect(),
        secret_group_id: Some(group.to_owned()),
        ..CertificateSpec::default()
    };
    let id = add(cloud, store, &spec, supplied(&ask.body))?;
    events::send_later(cloud, Happened::Created, &[&id]);
    reply(201, described(cloud, &store.secrets[&id]).into())
}

fn delete(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.admit(ask, Wish::ManageSecrets)?;
    find(store, ask, Part::Metadata)?;
    store.secrets.remove(&ask.path[0]);
    reply(204, Value::Null)
}

fn create_version(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.admit(ask, Wish::ManageSecrets)?;
    let id = &ask.path[0];
    let secret = find(store, ask, Part::Metadata)?;
    let supplied = match secret.secret_type {
        SecretType::PublicCert | SecretType::PrivateCert => None,
        _ => Some(supplied(&ask.body).ok_or_else(|| bad("The version's content is missing."))?),
    };
    rotate(cloud, store, id, supplied, false).map_err(bad)?;
    events::send_later(cloud, Happened::Rotated, &[id]);
    let secret = &store.secrets[id];
    let last = secret.versions.len() - 1;
    reply(201, version_with_payload(cloud, secret, last).into())
}

/// What a caller brings instead of what this cloud issues.
fn supplied(body: &Map<String, Value>) -> Option<Material> {
    let text = |field: &str| body.get(field)?.as_str().map(str::to_owned);
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

fn register(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.admit(ask, Wish::ManageSecrets)?;
    let crn = ask.text("event_notifications_instance_crn");
    if crn != cloud.world.event_notifications_instance_crn {
        return Err(bad("There is no such Event Notifications instance."));
    }
    events::register(cloud, store);
    reply(201, json!({ "event_notifications_instance_crn": crn }))
}

fn registration(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.holder(ask)?;
    require_registration(store)?;
    let crn = &cloud.world.event_notifications_instance_crn;
    reply(200, json!({ "event_notifications_instance_crn": crn }))
}

fn require_registration(store: &Store) -> Result<(), Problem> {
    let why = || no(404, "not_found", "Event Notifications is not registered.");
    store.registered.then_some(()).ok_or_else(why)
}

fn unregister(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.admit(ask, Wish::ManageSecrets)?;
    store.registered = false;
    event_notifications::remove(store, "sources", &cloud.world.instance_crn);
    reply(204, Value::Null)
}

fn test_event(cloud: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    store.admit(ask, Wish::ManageSecrets)?;
    require_registration(store)?;
    events::send_later(cloud, Happened::Tested, &[]);
    reply(204, Value::Null)
}

// --- creation and rotation, whoever asks ---

/// A new secret with its first version; its id.
pub(crate) fn add(
    cloud: &Cloud,
    store: &mut Store,
    spec: &CertificateSpec,
    supplied: Option<Material>,
) -> Result<String, Problem> {
    let refused = |status: u16, why: String| no(status, "secrets-manager.05047E", why);
    let name = if spec.name.is_empty() {
        let first = spec.names.first().map_or("secret", String::as_str);
        first.replace('*', "wildcard").replace('.', "-")
    } else {
        spec.name.clone()
    };
    let taken = |s: &Secret| s.name == name && s.secret_type == spec.secret_type;
    if store.secrets.values().any(taken) {
        let why = format!("A secret with the name {name} already exists");
        return Err(refused(409, why));
    }
    let usual = &cloud.world.secret_group_id;
    let group = spec.secret_group_id.as_ref().unwrap_or(usual);
    if !store.secret_groups.contains_key(group) {
        return Err(refused(404, format!("There is no secret group {group}")));
    }
    let material = match supplied {
        Some(material) => material,
        None => {
            let issued = cloud.authority.issue(spec, None);
            issued.map_err(|error| refused(400, format!("{error:#}")))?
        }
    };
    remember(cloud, &material);
    let id = new_id();
    let mut secret = Secret {
        id: id.clone(),
        name,
        secret_type: spec.secret_type,
        secret_group_id: group.clone(),
        state: 1,
        created_at: now(),
        updated_at: now(),
        retrieved_at: None,
        spec: spec.clone(),
        versions: Vec::new(),
    };
    secret.push(Version::new(material, false));
    store.secrets.insert(id.clone(), secret);
    Ok(id)
}

/// A new version: issued as the secret's spec says, or supplied.
pub(crate) fn rotate(
    cloud: &Cloud,
    store: &mut Store,
    id: &str,
    supplied: Option<Material>,
    auto_rotated: bool,
) -> Result<(), String> {
    let secret = store.secrets.get_mut(id).ok_or_else(|| format!("no secret {id}"))?;
    let material = match supplied {
        Some(material) => material,
        None => {
            let kept = secret.current().material.as_ref().filter(|_| !secret.spec.rotate_keys);
            let key = kept.and_then(Material::key);
            let issued = cloud.authority.issue(&secret.spec, key);
            issued.map_err(|error| format!("{error:#}"))?
        }
    };
    remember(cloud, &material);
    secret.push(Version::new(material, auto_rotated));
    secret.state = 1;
    Ok(())
}

/// Keys go onto the list for leak searches.
pub(crate) fn remember(cloud: &Cloud, material: &Material) {
    for key in material.key().into_iter().chain(material.payload.as_deref()) {
        cloud.remember(key);
    }
}
