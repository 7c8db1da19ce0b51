//! The whole state as one JSON value, for comparing before and after.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};

use crate::CloudHandle;
use crate::clock::nanos;
use crate::store::{Kind, Project, Secret};

impl CloudHandle {
    /// All that the four services hold, keys and certificates as digests. Not in it, because reading
    /// moves them: Secrets Manager's read marks (`downloaded`, `retrieved_at`), access tokens,
    /// journal, faults, the edge's counters.
    pub fn state(&self) -> Value {
        self.cloud.update(|store| {
            json!({
                "code_engine": store.projects.values().map(project).collect::<Value>(),
                "event_notifications": [store.en_authorized, store.deliveries, store.events],
                "iam": store.profiles,
                "secrets_manager": {
                    "registered": store.registered,
                    "secret_groups": store.secret_groups,
                    "secrets": store.secrets.values().map(secret).collect::<Value>(),
                },
            })
        })
    }
}

fn project(project: &Project) -> Value {
    let resources = project.resources.iter().map(|((kind, name), resource)| {
        let mut fields = resource.fields.clone();
        if *kind == Kind::Secret {
            let data = digest(&fields.get("data"));
            fields.insert("data".into(), data);
        }
        let (kind, at) = (format!("{kind:?}"), nanos(resource.created_at));
        json!([kind, name, resource.id, resource.entity_tag, at, fields])
    });
    let (resources, runs) = (resources.collect::<Value>(), project.job_runs.keys());
    let (id, name, runs) = (&project.id, &project.name, runs.collect::<Vec<_>>());
    json!([id, name, project.region, resources, runs])
}

fn secret(secret: &Secret) -> Value {
    let versions = secret.versions.iter().map(|version| {
        let (at, digest) = (nanos(version.created_at), digest(&version.material));
        json!([version.id, at, digest])
    });
    let (id, name, group) = (&secret.id, &secret.name, &secret.secret_group_id);
    let (kind, state, at) = (secret.secret_type, secret.state, nanos(secret.updated_at));
    let versions = versions.collect::<Value>();
    json!([id, name, group, kind, state, at, versions])
}

/// Tells apart; keeps nothing secret.
fn digest(value: &impl serde::Serialize) -> Value {
    let mut hasher = DefaultHasher::new();
    json!(value).to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish()).into()
}
