//! The notifications of Secrets Manager, in the shape of IBM's documents: one per event type and
//! secret type, with up to a hundred secrets in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::Cloud;
use crate::clock::{millis, now, seconds};
use crate::event_notifications::{insert, publish};
use crate::secrets_manager::crn;
use crate::store::{Secret, Store, new_id};
use crate::world::OWNER;

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
pub(crate) fn register(cloud: &Cloud, store: &mut Store) {
    store.registered = true;
    let source = json!({
        "name": "secrets-manager",
        "description": "Secrets Manager",
        "enabled": true,
        "type": "resource",
        "topic_count": 0,
    });
    insert(store, "sources", &cloud.world.instance_crn, source);
}

/// Sends and returns when Event Notifications has finished with it. Nothing, if not registered.
pub(crate) async fn send(cloud: &Arc<Cloud>, happened: Happened, ids: &[String]) {
    let notifications = cloud.update(|store| match store.registered {
        true => notifications(cloud, store, happened, ids),
        false => Vec::new(),
    });
    for notification in notifications {
        publish(cloud, notification).await;
    }
}

/// As IBM does it: the call that changed the secret has its answer long before.
pub(crate) fn send_later(cloud: &Arc<Cloud>, happened: Happened, ids: &[&str]) {
    let ids: Vec<_> = ids.iter().map(|&id| id.to_owned()).collect();
    let (cloud, runtime) = (cloud.clone(), cloud.runtime.clone());
    runtime.spawn(async move { send(&cloud, happened, &ids).await });
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
        let (kind, secrets) = ("test_secret_type", vec![invented]);
        return vec![envelope(cloud, happened, kind, secrets, (short, long))];
    }
    let mut by_type: BTreeMap<&str, Vec<&Secret>> = BTreeMap::new();
    for secret in ids.iter().filter_map(|id| store.secrets.get(id)) {
        let secret_type = secret.secret_type.as_str();
        by_type.entry(secret_type).or_default().push(secret);
    }
    let mut all = Vec::new();
    for (secret_type, secrets) in by_type {
        for batch in secrets.chunks(BATCH) {
            let entries = batch.iter().map(|secret| entry(cloud, happened, secret));
            let entries = entries.collect();
            let names: Vec<_> = batch.iter().map(|secret| secret.name.as_str()).collect();
            let texts = texts(happened, secret_type, &names);
            all.push(envelope(cloud, happened, secret_type, entries, texts));
        }
    }
    all
}

fn entry(cloud: &Cloud, happened: Happened, secret: &Secret) -> Value {
    let version = secret.current();
    let by_itself = happened == Happened::Rotated && version.auto_rotated;
    let id = match cloud.options.secret_id_as_crn {
        true => crn(cloud, &secret.id),
        false => secret.id.clone(),
    };
    let mut entry = json!({
        "event_time": seconds(version.created_at),
        "event_triggered_by": if by_itself { "SecretsManager" } else { OWNER },
        "secret_group_id": secret.secret_group_id,
        "secret_id": id,
        "secret_name": secret.name,
    });
    if let Some(names) = version.facts.get("alt_names").and_then(Value::as_array) {
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        entry["domains"] = names.join(", ").into();
        entry["serial_number"] = version.facts["serial_number"].clone();
    }
    entry
}

/// Subject and sentence for people.
fn texts(happened: Happened, secret_type: &str, names: &[&str]) -> (String, String) {
    let kind = secret_type.replace("_cert", " certificate");
    let done = happened.event_type().trim_start_matches("secret_");
    let (count, were, s) = match names.len() {
        1 => (String::new(), "was", ""),
        count => (format!("{count} "), "were", "s"),
    };
    let (number, names) = (names.len(), names.join(", "));
    let short = format!("Your {count}{kind} secret{s} {were} {done}");
    let long = format!("You have {number} {kind} secret{s} that {were} {done}: {names}.");
    (short, long)
}

fn envelope(
    cloud: &Cloud,
    happened: Happened,
    secret_type: &str,
    secrets: Vec<Value>,
    (short, long): (String, String),
) -> Value {
    let world = &cloud.world;
    let (crn, instance, region) = (&world.instance_crn, &world.instance_id, &world.region);
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
