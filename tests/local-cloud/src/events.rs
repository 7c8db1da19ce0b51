//! The notifications of Secrets Manager, in the shape of IBM's documents: one per event type and
//! secret type, with up to a hundred secrets in it.
//!
//! Not here: where they go (`event_notifications`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::Cloud;
use crate::clock::{millis, now, seconds};
use crate::event_notifications;
use crate::store::{Secret, Store, new_id};

/// Secrets in one notification.
const BATCH: usize = 100;

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Happened {
    Created,
    Rotated,
    Tested,
}

impl Happened {
    fn event_type(self) -> &'static str {
        match self {
            Self::Created => "secret_created",
            Self::Rotated => "secret_rotated",
            Self::Tested => "test_event",
        }
    }
}

/// Connects this instance to Event Notifications, where it becomes a source.
pub(crate) fn register(store: &mut Store) {
    let crn = store.instance_crn.clone();
    store.registration = Some(store.en_instance_crn.clone());
    let source = json!({
        "id": crn,
        "name": "secrets-manager",
        "description": "Secrets Manager",
        "enabled": true,
        "type": "resource",
        "updated_at": millis(now()),
        "topic_count": 0,
    });
    if let Value::Object(source) = source {
        store.sources.insert(crn, source);
    }
}

/// Sends and returns when Event Notifications has finished with it. Nothing, if not registered.
pub(crate) async fn send(cloud: &Arc<Cloud>, happened: Happened, ids: &[String]) {
    let notifications = cloud.update(|store| {
        if store.registration.is_none() {
            Vec::new()
        } else {
            notifications(cloud, store, happened, ids)
        }
    });
    for notification in notifications {
        event_notifications::publish(cloud, notification).await;
    }
}

/// As IBM does it: the call that changed the secret has its answer long before.
pub(crate) fn send_later(cloud: &Arc<Cloud>, happened: Happened, ids: &[&str]) {
    let ids: Vec<_> = ids.iter().map(|&id| id.to_owned()).collect();
    let cloud = cloud.clone();
    cloud
        .runtime
        .clone()
        .spawn(async move { send(&cloud, happened, &ids).await });
}

fn notifications(cloud: &Cloud, store: &Store, happened: Happened, ids: &[String]) -> Vec<Value> {
    if happened == Happened::Tested {
        let invented = json!({
            "event_time": seconds(now()),
            "secret_group_id": "default",
            "secret_id": "00000000-1111-4222-8333-444444444444",
            "secret_name": "test_secret_name",
        });
        let short = "Test notification from Secrets Manager".to_owned();
        let long = "This is a test notification from your Secrets Manager instance.".to_owned();
        return vec![envelope(
            store,
            happened,
            "test_secret_type",
            vec![invented],
            short,
            long,
        )];
    }
    let mut by_type: BTreeMap<&str, Vec<&Secret>> = BTreeMap::new();
    for secret in ids.iter().filter_map(|id| store.secrets.get(id)) {
        by_type
            .entry(secret.secret_type.as_str())
            .or_default()
            .push(secret);
    }
    let mut all = Vec::new();
    for (secret_type, secrets) in by_type {
        for batch in secrets.chunks(BATCH) {
            let entries = batch
                .iter()
                .map(|secret| entry(cloud, store, happened, secret))
                .collect();
            let names: Vec<_> = batch.iter().map(|secret| secret.name.as_str()).collect();
            let (short, long) = texts(happened, secret_type, &names);
            all.push(envelope(store, happened, secret_type, entries, short, long));
        }
    }
    all
}

fn entry(cloud: &Cloud, store: &Store, happened: Happened, secret: &Secret) -> Value {
    let version = secret.current();
    let by_itself = version.is_some_and(|version| version.auto_rotated);
    let by = if happened == Happened::Rotated && by_itself {
        "SecretsManager"
    } else {
        "IBMid-550000A1B2"
    };
    let mut entry = json!({
        "event_time": seconds(version.map_or(secret.created_at, |version| version.created_at)),
        "event_triggered_by": by,
        "secret_group_id": secret.secret_group_id,
        "secret_id": if cloud.options.secret_id_as_crn {
            store.secret_crn(&secret.id)
        } else {
            secret.id.clone()
        },
        "secret_name": secret.name,
    });
    if let Some(facts) = version.and_then(|version| version.facts.as_ref()) {
        entry["domains"] = facts.alt_names.join(", ").into();
        entry["serial_number"] = facts.serial_number.as_str().into();
    }
    entry
}

/// Subject and sentence for people.
fn texts(happened: Happened, secret_type: &str, names: &[&str]) -> (String, String) {
    let kind = secret_type.replace("_cert", " certificate");
    let done = if happened == Happened::Created {
        "created"
    } else {
        "rotated"
    };
    let (count, were, s) = match names.len() {
        1 => (String::new(), "was", ""),
        count => (format!("{count} "), "were", "s"),
    };
    (
        format!("Your {count}{kind} secret{s} {were} {done}"),
        format!(
            "You have {} {kind} secret{s} that {were} {done}: {}.",
            names.len(),
            names.join(", ")
        ),
    )
}

fn envelope(
    store: &Store,
    happened: Happened,
    secret_type: &str,
    secrets: Vec<Value>,
    short: String,
    long: String,
) -> Value {
    let crn = &store.instance_crn;
    let (instance, region) = (&store.instance_id, &store.instance_region);
    let encoded = crn.replace(':', "%3A").replace('/', "%2F");
    json!({
        "data": {
            "event_type": happened.event_type(),
            "secret_type": secret_type,
            "secrets": secrets,
            "source_instance_api_private_url":
                format!("https://{instance}.private.{region}.secrets-manager.appdomain.cloud/api"),
            "source_instance_api_public_url":
                format!("https://{instance}.{region}.secrets-manager.appdomain.cloud/api"),
            "source_instance_crn": crn,
            "source_instance_dashboard_url":
                format!("https://cloud.ibm.com/services/secrets-manager/{encoded}"),
            "source_service": "SecretsManager",
        },
        "datacontenttype": "application/json",
        "ibmendefaultlong": long,
        "ibmendefaultshort": short,
        "ibmenseverity": "low",
        "ibmensourceid": crn,
        "id": new_id(),
        "source": crn,
        "specversion": "1.0",
        "time": millis(now()),
        "type": format!("com.ibm.cloud.secrets-manager.{}", happened.event_type()),
    })
}
