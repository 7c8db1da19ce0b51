//! The whole state as one JSON value, for comparing before and after.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value, json};

use crate::CloudHandle;
use crate::clock::nanos;
use crate::store::{Kind, Profile, Project, Secret, Store, Version};

impl CloudHandle {
    /// All that the four services hold, keys and certificates as digests. Not in it, because reading
    /// moves them: Secrets Manager's read marks (`downloaded`, `retrieved_at`), access tokens,
    /// journal, faults, the edge's counters.
    pub fn state(&self) -> Value {
        self.cloud.update(|store| {
            json!({
                "code_engine": store.projects.values().map(project).collect::<Value>(),
                "event_notifications": {
                    "authorized": store.en_authorized,
                    "deliveries": store.deliveries,
                    "destinations": store.destinations,
                    "sources": store.sources,
                    "subscriptions": store.subscriptions,
                    "topics": store.topics,
                },
                "iam": store.profiles.values().map(profile).collect::<Value>(),
                "secrets_manager": secrets_manager(store),
            })
        })
    }
}

fn project(project: &Project) -> Value {
    let resources: Map<String, Value> = project
        .resources
        .iter()
        .map(|((kind, name), resource)| {
            let mut fields = resource.fields.clone();
            if *kind == Kind::Secret
                && let Some(data) = fields.get_mut("data")
            {
                *data = digest(&data.to_string()).into();
            }
            let state = json!({
                "created_at": nanos(resource.created_at),
                "entity_tag": resource.entity_tag,
                "fields": fields,
                "id": resource.id,
            });
            (format!("{kind:?} {name}"), state)
        })
        .collect();
    json!({
        "id": project.id,
        "job_runs": project.job_runs.keys().collect::<Vec<_>>(),
        "name": project.name,
        "region": project.region,
        "resources": resources,
    })
}

fn profile(profile: &Profile) -> Value {
    json!({ "id": profile.id, "links": profile.links, "policies": profile.policies })
}

fn secrets_manager(store: &Store) -> Value {
    json!({
        "registration": store.registration,
        "secret_groups": store.secret_groups,
        "secrets": store.secrets.values().map(secret).collect::<Value>(),
    })
}

fn secret(secret: &Secret) -> Value {
    json!({
        "description": secret.description,
        "id": secret.id,
        "labels": secret.labels,
        "name": secret.name,
        "secret_group_id": secret.secret_group_id,
        "secret_type": secret.secret_type,
        "state": secret.state,
        "updated_at": nanos(secret.updated_at),
        "versions": secret.versions.iter().map(version).collect::<Value>(),
    })
}

fn version(version: &Version) -> Value {
    let material = version.material.as_ref().map(|material| json!(material));
    json!({
        "created_at": nanos(version.created_at),
        "id": version.id,
        "material": material.map(|material| digest(&material.to_string())),
    })
}

/// Tells apart; keeps nothing secret.
fn digest(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
