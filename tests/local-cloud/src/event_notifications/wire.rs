//! Which fields a source, topic, destination or subscription shows: each form of an answer has its
//! own, and the counts and names of what hangs together are made here.

use serde_json::{Map, Value, json};

use super::Collection;
use crate::clock::{millis, now};
use crate::store::{Store, new_id};

/// The three answers about one thing.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Form {
    Created,
    Listed,
    Read,
}

/// Rules of a topic get what Event Notifications adds to them.
pub(super) fn identify_rules(thing: &mut Map<String, Value>) {
    let sources = thing.get_mut("sources").and_then(Value::as_array_mut);
    for source in sources.into_iter().flatten() {
        let rules = source.get_mut("rules").and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
            rule.entry("enabled").or_insert(true.into());
            rule.entry("id").or_insert_with(|| new_id().into());
            rule.entry("updated_at")
                .or_insert_with(|| millis(now()).into());
        }
    }
}

/// The thing as IBM shows it in this form.
pub(super) fn document(
    store: &Store,
    collection: Collection,
    thing: &Map<String, Value>,
    form: Form,
) -> Value {
    let mut body = thing.clone();
    body.entry("description").or_insert("".into());
    let id = &thing["id"];
    let subscriptions = |field: &str| -> Vec<&Value> {
        store
            .subscriptions
            .values()
            .filter(|subscription| subscription[field] == *id)
            .map(|subscription| &subscription["name"])
            .collect()
    };
    let sources = |topic: &Map<String, Value>| -> Vec<Value> {
        topic
            .get("sources")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let more = match collection {
        Collection::Sources => {
            let topics: Vec<_> = store
                .topics
                .values()
                .filter(|topic| sources(topic).iter().any(|source| source["id"] == *id))
                .map(|topic| &topic["name"])
                .collect();
            json!({ "topic_count": topics.len(), "topic_names": topics })
        }
        Collection::Topics => {
            let mut sources = sources(thing);
            for source in &mut sources {
                let id = source["id"].as_str().unwrap_or_default();
                source["name"] = store
                    .sources
                    .get(id)
                    .map_or(Value::Null, |s| s["name"].clone());
            }
            let names: Vec<_> = sources
                .iter()
                .map(|source| source["name"].clone())
                .collect();
            let subscribed = store
                .subscriptions
                .values()
                .filter(|s| s["topic_id"] == *id);
            json!({
                "source_count": names.len(),
                "sources": sources,
                "sources_names": names,
                "subscription_count": subscriptions("topic_id").len(),
                "subscriptions": subscribed.collect::<Vec<_>>(),
            })
        }
        Collection::Destinations => {
            let names = subscriptions("destination_id");
            json!({
                "collect_failed_events": false,
                "subscription_count": names.len(),
                "subscription_names": names,
            })
        }
        Collection::Subscriptions => {
            let of = |things: &super::Things, field: &str, what: &str| {
                let found = things.get(thing[field].as_str().unwrap_or_default());
                found.map_or(Value::Null, |found| found[what].clone())
            };
            json!({
                "destination_name": of(&store.destinations, "destination_id", "name"),
                "destination_type": of(&store.destinations, "destination_id", "type"),
                "topic_name": of(&store.topics, "topic_id", "name"),
            })
        }
    };
    if let Value::Object(more) = more {
        body.extend(more);
    }
    let hidden: &[&str] = match (collection, form) {
        (Collection::Sources, Form::Created) => {
            &["topic_count", "topic_names", "type", "updated_at"]
        }
        (Collection::Sources, Form::Listed) => &["created_at", "topic_names"],
        (Collection::Topics, Form::Created) => &[
            "source_count",
            "sources",
            "sources_names",
            "subscription_count",
            "subscriptions",
            "updated_at",
        ],
        (Collection::Topics, Form::Listed) => {
            &["created_at", "sources", "subscriptions", "updated_at"]
        }
        (Collection::Topics, Form::Read) => &["created_at", "sources_names"],
        (Collection::Destinations, Form::Created) => {
            &["subscription_count", "subscription_names", "updated_at"]
        }
        (Collection::Destinations, Form::Listed) => &["config", "created_at"],
        (Collection::Subscriptions, Form::Listed) => &["attributes", "created_at"],
        (_, Form::Created | Form::Read) => &["created_at"],
    };
    body.retain(|name, _| !hidden.contains(&name.as_str()));
    Value::Object(body)
}
