//! IBM Cloud Event Notifications: what a notification of Secrets Manager looks like (a CloudEvent).
//!
//! Belongs here: field names and type strings. Does not: which forms are accepted, and whether an
//! event is believed (`validate.rs`).

use serde_json::Value;

/// Before the name of each event type of Secrets Manager.
pub const SECRETS_MANAGER: &str = "com.ibm.cloud.secrets-manager.";
/// Before the name of each event type of Event Notifications itself, as its test of a destination.
pub const EVENT_NOTIFICATIONS: &str = "com.ibm.cloud.event-notifications.";

/// A notification, or only its `data`: each part as it stands, none believed.
#[derive(Debug, Default)]
pub struct Notification<'a> {
    /// `type`: prefix, name, and `:subtype` for some.
    pub event_type: Option<&'a str>,
    /// The places that name the Secrets Manager instance: `source`, `ibmensourceid`,
    /// `data.source_instance_crn`, as far as they are there.
    pub sources: Vec<&'a str>,
    /// `data.event_type`: the name alone.
    pub short_type: Option<&'a str>,
    /// `data.secret_type`.
    pub secret_type: Option<&'a str>,
    /// `data.secrets`.
    pub secrets: Option<&'a Value>,
}

impl<'a> Notification<'a> {
    /// Takes the parts from a notification and its `data`.
    #[must_use]
    pub fn of(envelope: Option<&'a Value>, data: Option<&'a Value>) -> Self {
        let text = |object: Option<&'a Value>, key: &str| object?.get(key)?.as_str();
        Self {
            event_type: text(envelope, "type"),
            sources: [
                text(envelope, "source"),
                text(envelope, "ibmensourceid"),
                text(data, "source_instance_crn"),
            ]
            .into_iter()
            .flatten()
            .collect(),
            short_type: text(data, "event_type"),
            secret_type: text(data, "secret_type"),
            secrets: data.and_then(|data| data.get("secrets")),
        }
    }
}
