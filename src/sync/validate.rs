//! Step 1, validate: which event is it, is it ours, which secrets and targets does it concern?
//!
//! Belongs here: the forms of an event that are accepted, and whether one is believed. Does not:
//! credentials or requests; nothing here touches the network. An event is only a hint that
//! something changed: it can name a secret, and never an address, a target or a certificate.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::config::{Config, RestartApps, Target, Trigger};
use crate::error::{Error, Finding, Reason, error};
use crate::ibm::code_engine::TlsSecretRef;
use crate::ibm::events::{EVENT_NOTIFICATIONS, Notification, SECRETS_MANAGER};
use crate::ibm::ids::{Crn, SecretId, Uuid};
use crate::report::{Action, Outcome};
use crate::text::sanitized;

/// The largest event: Event Notifications takes no larger one.
const LARGEST_EVENT: usize = 64 * 1024;
/// How deep JSON texts may be wrapped in JSON texts.
const DEEPEST_WRAPPING: usize = 3;
/// `CE_TYPE` of a Kafka subscription.
const KAFKA: &str = "dev.knative.kafka.event";
/// The secret types that are certificates.
pub const CERTIFICATE_TYPES: [&str; 3] = ["public_cert", "imported_cert", "private_cert"];

/// What the run is to do.
#[derive(Debug, Default)]
pub struct Order {
    /// The targets to bring in line, in their configured order.
    pub pairs: Vec<Pair>,
    /// What is settled already: entries of the event that are rejected or do not concern us.
    pub settled: Vec<Outcome>,
}

/// A secret and the TLS secret that it feeds.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The secret in Secrets Manager.
    pub secret: Uuid,
    /// The TLS secret.
    pub place: TlsSecretRef,
    /// Only the event says that this secret feeds this TLS secret: its certificate must cover the
    /// names of the deployed one.
    pub named_by_event: bool,
    /// The event says that the secret was just created: its order may still be pending.
    pub just_created: bool,
    /// The apps that must restart to take it.
    pub restart_apps: RestartApps,
    /// Decide and report, write nothing.
    pub hold: bool,
}

impl Pair {
    /// An outcome that names both.
    #[must_use]
    pub fn outcome(&self, action: Action) -> Outcome {
        Outcome {
            secret_id: Some(self.secret.to_string()),
            project_id: Some(self.place.project.id.to_string()),
            tls_secret: Some(self.place.name.to_string()),
            ..Outcome::new(action, "")
        }
    }
}

/// The word for the trigger, and the id of the event where it can be read.
#[must_use]
pub fn describe(trigger: &Trigger) -> (&'static str, Option<String>) {
    match trigger {
        Trigger::EventNotifications(text) => {
            let id = unwrapped(text)
                .ok()
                .and_then(|event| Some(sanitized(event.get("id")?.as_str()?)));
            ("event-notifications", id)
        }
        Trigger::Subscription { event_type, id, .. } => {
            let word = match event_type.as_deref() {
                _ if trigger.is_cron() => "cron",
                Some(KAFKA) => "kafka",
                _ => "subscription",
            };
            (word, id.as_deref().map(sanitized))
        }
        Trigger::Manual => ("manual", None),
    }
}

/// Decides what the run is to do.
///
/// # Errors
/// [`Reason::EventUnreadable`], [`Reason::EventInvalid`], [`Reason::EventForeign`],
/// [`Reason::EventAmbiguous`]; [`Reason::Configuration`] if there is neither an event nor a
/// configured secret.
pub fn validate(config: &Config) -> Result<Order, Error> {
    match &config.trigger {
        Trigger::Manual => reconcile(config),
        cron if cron.is_cron() => reconcile(config),
        Trigger::Subscription {
            event_type, data, ..
        } => match event_type.as_deref() {
            Some(KAFKA) | None => event(data, config),
            Some(other) => Ok(ignore(
                Reason::EventIgnored,
                format!(
                    "events of CE_TYPE {} do not concern this job",
                    sanitized(other)
                ),
            )),
        },
        Trigger::EventNotifications(text) => event(text, config),
    }
}

/// Every configured target that this run is about and that is this instance's share.
fn reconcile(config: &Config) -> Result<Order, Error> {
    let share = config.share;
    let pairs = relevant(config)
        .enumerate()
        .filter(|(position, _)| position % share.size == share.index)
        .map(|(_, target)| {
            let secret = target.secret.clone().ok_or_else(|| {
                error!(
                    Reason::Configuration,
                    "SECRET_ID: is missing; without an event nothing else names the secret that feeds {}",
                    target.place.name
                )
            })?;
            Ok(pair(secret, target, false))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Order {
        pairs,
        settled: Vec::new(),
    })
}

/// The targets that this run is about.
pub fn relevant(config: &Config) -> impl Iterator<Item = &Target> {
    config.targets.iter().filter(|target| {
        config.narrowed.is_none() || target.secret.as_ref() == config.narrowed.as_ref()
    })
}

fn pair(secret: Uuid, target: &Target, just_created: bool) -> Pair {
    Pair {
        secret,
        place: target.place.clone(),
        named_by_event: target.secret.is_none(),
        just_created,
        restart_apps: target.restart_apps.clone(),
        hold: target.hold,
    }
}

/// What is not for us; an event that contradicts itself is worth a look.
fn ignore(reason: Reason, message: String) -> Order {
    let mut outcome = Outcome::ignored(reason, message.clone());
    if reason == Reason::EventContradictory {
        outcome.findings.push(Finding::new(reason, message));
    }
    Order {
        pairs: Vec::new(),
        settled: vec![outcome],
    }
}

fn event(text: &str, config: &Config) -> Result<Order, Error> {
    let event = unwrapped(text)?;
    let wrapped;
    let notification = match (event.get("data"), event.get("data_base64")) {
        (Some(Value::String(text)), _) => {
            wrapped = unwrapped(text)?;
            Notification::of(Some(&event), Some(&wrapped))
        }
        (Some(data), _) => Notification::of(Some(&event), Some(data)),
        (None, Some(Value::String(text))) => {
            wrapped = unwrapped(&decode(text)?)?;
            Notification::of(Some(&event), Some(&wrapped))
        }
        // no envelope: this is `data` alone
        _ if event.get("type").is_none() => Notification::of(None, Some(&event)),
        _ => Notification::of(Some(&event), None),
    };
    match kind(&notification)? {
        Kind::Sync { just_created } => {
            let source = source(&notification, config.instance.as_ref())?;
            sync(&notification, &source, just_created, config)
        }
        Kind::Other(reason, message) => Ok(ignore(reason, message)),
    }
}

/// The JSON object in `text`, out of as many JSON texts as it is wrapped in.
fn unwrapped(text: &str) -> Result<Value, Error> {
    if text.len() > LARGEST_EVENT {
        return Err(error!(
            Reason::EventUnreadable,
            "the event is larger than {LARGEST_EVENT} bytes: {} bytes",
            text.len()
        ));
    }
    let mut text = text.to_owned();
    for _ in 0..DEEPEST_WRAPPING {
        match serde_json::from_str(&text) {
            Ok(Value::String(inner)) => text = inner,
            Ok(object @ Value::Object(_)) => return Ok(object),
            Ok(_) => break,
            Err(e) => {
                return Err(error!(
                    Reason::EventUnreadable,
                    "the event is not JSON: {:?} error in line {}, column {}",
                    e.classify(),
                    e.line(),
                    e.column()
                ));
            }
        }
    }
    Err(error!(
        Reason::EventUnreadable,
        "the event is JSON, but not an object"
    ))
}

/// The text of `data_base64` (CloudEvents JSON format, section 3.1.1).
fn decode(text: &str) -> Result<String, Error> {
    BASE64_STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            error!(
                Reason::EventUnreadable,
                "data_base64 of the event is not the base64 of a text"
            )
        })
}

enum Kind {
    /// The secrets that it names may have a new certificate.
    Sync { just_created: bool },
    /// It does not concern us, and why.
    Other(Reason, String),
}

/// Which of Secrets Manager's types the event is of. The envelope's type has a prefix and may have
/// a subtype, that of `data` has neither.
fn kind(notification: &Notification<'_>) -> Result<Kind, Error> {
    let other = |message: String| Ok(Kind::Other(Reason::EventIgnored, message));
    let long = notification.event_type.map(|text| {
        text.strip_prefix(SECRETS_MANAGER)
            .map(|name| name.split(':').next().unwrap_or(name))
            .ok_or(text)
    });
    let name = match (long, notification.short_type) {
        (Some(Err(text)), _) if text.starts_with(EVENT_NOTIFICATIONS) => {
            return other(format!(
                "test event {} of Event Notifications acknowledged",
                sanitized(text)
            ));
        }
        (Some(Err(text)), _) => {
            return other(format!(
                "events of type {} do not concern this job",
                sanitized(text)
            ));
        }
        (Some(Ok(name)), Some(short)) if name != short => {
            return Ok(Kind::Other(
                Reason::EventContradictory,
                format!(
                    "the event calls itself {} in type and {} in data.event_type: nothing is done",
                    sanitized(name),
                    sanitized(short)
                ),
            ));
        }
        (Some(Ok(name)), _) | (None, Some(name)) => name,
        (None, None) => {
            return Err(error!(
                Reason::EventInvalid,
                "the event has neither type nor data.event_type"
            )
            .hint("attach no template to the subscription in Event Notifications"));
        }
    };
    match (name, notification.secret_type) {
        ("test_event", _) => other("test event of Secrets Manager acknowledged".to_owned()),
        ("secret_rotated" | "secret_created", Some(secret_type))
            if !CERTIFICATE_TYPES.contains(&secret_type) =>
        {
            other(format!(
                "{name} of secret type {} does not concern this job",
                sanitized(secret_type)
            ))
        }
        ("secret_rotated", _) => Ok(Kind::Sync {
            just_created: false,
        }),
        ("secret_created", _) => Ok(Kind::Sync { just_created: true }),
        _ => other(format!(
            "events of type {} do not concern this job",
            sanitized(name)
        )),
    }
}

/// The Secrets Manager instance that the event comes from: every place that names it must name
/// the same, and ours.
fn source(notification: &Notification<'_>, ours: Option<&Uuid>) -> Result<Crn, Error> {
    let mut crns = notification.sources.iter().map(|text| {
        Crn::parse(text).map_err(|e| {
            Error::new(
                Reason::EventForeign,
                e.context("the source of the event is no Secrets Manager instance"),
            )
        })
    });
    let Some(first) = crns.next().transpose()? else {
        return Err(error!(
            Reason::EventForeign,
            "the event does not say which Secrets Manager instance it comes from"
        ));
    };
    for crn in crns {
        let crn = crn?;
        if !crn.same_instance(&first) {
            return Err(error!(
                Reason::EventForeign,
                "the event names two sources: {first}, and {crn}"
            ));
        }
    }
    if first.service != "secrets-manager" {
        return Err(error!(
            Reason::EventForeign,
            "the source of the event is no Secrets Manager instance: {first}"
        ));
    }
    match ours {
        Some(ours) if first.instance != ours.to_string() => Err(error!(
            Reason::EventForeign,
            "the event comes from {first}, this job is configured for instance {ours}"
        )
        .hint(
            "check the source of the topic in Event Notifications, and SECRETS_MANAGER_INSTANCE_ID",
        )),
        Some(_) => Ok(first),
        None => {
            log::warn!(
                "the event's source is not checked: SECRETS_MANAGER_INSTANCE_ID is not given, and SECRETS_MANAGER_URL does not show it"
            );
            Ok(first)
        }
    }
}

/// Pairs the secrets of the event with the configured targets.
fn sync(
    notification: &Notification<'_>,
    source: &Crn,
    just_created: bool,
    config: &Config,
) -> Result<Order, Error> {
    let entries = match notification.secrets {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        _ => {
            return Err(error!(
                Reason::EventInvalid,
                "data.secrets of the event is not a list of secrets"
            ));
        }
    };
    let mut named: Vec<(Uuid, Option<String>)> = Vec::new();
    let mut settled = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let name = entry
            .get("secret_name")
            .and_then(Value::as_str)
            .map(sanitized);
        match secret_of(entry, source) {
            Ok(secret) if named.iter().any(|(other, _)| *other == secret) => {}
            Ok(secret) => named.push((secret, name)),
            Err(mut error) => {
                error.cause = error
                    .cause
                    .context(format!("data.secrets[{position}] of the event"));
                settled.push(Outcome {
                    secret_name: name,
                    ..Outcome::ignored(error.reason, "").failed(&error)
                });
            }
        }
    }

    let mut pairs = Vec::new();
    let mut used = BTreeSet::new();
    for target in relevant(config) {
        let secret = match (&target.secret, named.as_slice(), settled.as_slice()) {
            (Some(secret), ..) if named.iter().any(|(other, _)| other == secret) => secret,
            (Some(_), ..) => continue,
            (None, [(only, _)], []) => {
                log::warn!(
                    "SECRET_ID is not given: the event alone says that {only} feeds {}; give SECRET_ID",
                    target.place.name
                );
                only
            }
            (None, ..) => {
                return Err(error!(
                    Reason::EventAmbiguous,
                    "SECRET_ID is not given, and the event names {} secrets instead of exactly one",
                    entries.len()
                )
                .hint("give SECRET_ID, or TARGETS for several"));
            }
        };
        used.insert(secret.clone());
        pairs.push(pair(secret.clone(), target, just_created));
    }
    settled.extend(
        named
            .into_iter()
            .filter(|(id, _)| !used.contains(id))
            .map(|(id, name)| Outcome {
                secret_id: Some(id.to_string()),
                secret_name: name,
                ..Outcome::ignored(
                    Reason::NotConfigured,
                    format!("no target of this job names the secret {id}"),
                )
            }),
    );
    Ok(Order { pairs, settled })
}

/// The id of an entry of `data.secrets`: a bare id or a full secret CRN of the event's own source.
fn secret_of(entry: &Value, source: &Crn) -> Result<Uuid, Error> {
    let text = entry
        .get("secret_id")
        .and_then(Value::as_str)
        .ok_or_else(|| error!(Reason::EventInvalid, "there is no secret_id"))?;
    let secret = SecretId::parse(text).map_err(|e| Error::new(Reason::EventInvalid, e))?;
    match &secret.crn {
        Some(crn) if !crn.same_instance(source) => Err(error!(
            Reason::EventForeign,
            "the secret belongs to {crn}, the event comes from {source}"
        )),
        _ => Ok(secret.id),
    }
}
