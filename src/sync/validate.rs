//! Step 1, validate: which event is it, is it ours, which secrets and targets does it concern?
//!
//! Belongs here: the accepted forms of an event, and whether one is believed. Does not: credentials
//! or requests; nothing here touches the network. An event is only a hint that something changed: it
//! can name a secret, and never an address, a target or a certificate.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::config::{Config, RestartApps, Target, Trigger};
use crate::error::{Error, Reason, error};
use crate::ibm::code_engine::TlsSecretRef;
use crate::ibm::events::{EVENT_NOTIFICATIONS, Notification, SECRETS_MANAGER};
use crate::ibm::ids::{Crn, SecretId, Uuid};
use crate::ibm::secrets_manager::CERTIFICATE_TYPES;
use crate::report::{Action, Outcome};
use crate::text::sanitized;

/// The largest event: Event Notifications accepts no larger one.
const LARGEST_EVENT: usize = 64 * 1024;
/// How often a text is decoded in search of the object: JSON may be a string in JSON, and that once more.
const DEEPEST_WRAPPING: usize = 3;
/// `CE_TYPE` of a Kafka subscription.
const KAFKA: &str = "dev.knative.kafka.event";
/// What the run is to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The targets to bring in line, in their configured order.
    pub tasks: Vec<Task>,
    /// What is decided already: entries of the event that are rejected or do not concern us.
    pub settled: Vec<Outcome>,
}

/// One target of the run: a TLS secret, and the secret in Secrets Manager to copy from.
#[derive(Clone, Debug)]
pub struct Task {
    /// The secret in Secrets Manager.
    pub secret: Uuid,
    /// The TLS secret in Code Engine.
    pub tls_secret: TlsSecretRef,
    /// Only the event says that the two belong together: the certificate must cover the names of the
    /// deployed one.
    pub named_by_event: bool,
    /// The event says that the secret was just created: its order may still be pending.
    pub just_created: bool,
    /// The apps to restart.
    pub restart_apps: RestartApps,
    /// Decide and report, write nothing.
    pub hold: bool,
    /// A schedule started the run: then what it has to write, an event should have brought.
    pub scheduled: bool,
}

impl Task {
    fn new(secret: Uuid, target: &Target, just_created: bool, scheduled: bool) -> Self {
        Self {
            secret,
            tls_secret: target.tls_secret.clone(),
            named_by_event: target.secret.is_none(),
            just_created,
            restart_apps: target.restart_apps.clone(),
            hold: target.hold,
            scheduled,
        }
    }

    /// An outcome that identifies the target.
    pub(crate) fn outcome(&self, action: Action) -> Outcome {
        Outcome {
            secret_id: Some(self.secret.to_string()),
            project_id: Some(self.tls_secret.project.id.to_string()),
            tls_secret: Some(self.tls_secret.name.to_string()),
            ..Outcome::new(action, "")
        }
    }
}

/// The word for the trigger, and the ID of the event where it can be read.
#[must_use]
pub fn describe(trigger: &Trigger) -> (&'static str, Option<String>) {
    match trigger {
        Trigger::EventNotifications(text) => {
            let Ok(event) = unwrapped(text) else {
                return ("event-notifications", None);
            };
            let id = event.get("id").and_then(Value::as_str).map(sanitized);
            let kind = with_notification(&event, |notification| kind(&notification));
            match kind {
                Ok(EventKind::WakeUp) => ("wake-up", id),
                _ => ("event-notifications", id),
            }
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

/// Decides what the run is to do, and keeps this instance's share of it if the job run is an array.
///
/// # Errors
/// [`Reason::EventInvalid`], [`Reason::EventInvalid`], [`Reason::EventForeign`],
/// [`Reason::EventAmbiguous`]; [`Reason::Configuration`] if there is neither an event nor a
/// configured secret.
pub fn validate(config: &Config) -> Result<Plan, Error> {
    let mut plan = match &config.trigger {
        Trigger::Manual => reconcile(config, false),
        cron if cron.is_cron() => reconcile(config, true),
        Trigger::Subscription {
            event_type, data, ..
        } => match event_type.as_deref() {
            Some(KAFKA) | None => event(data, config),
            Some(other) => Ok(ignored(format!(
                "events of CE_TYPE {} do not concern this job",
                sanitized(other)
            ))),
        },
        Trigger::EventNotifications(text) => event(text, config),
    }?;
    let share = config.share;
    let mut position = 0..;
    plan.tasks.retain(|_| {
        position
            .next()
            .is_some_and(|n| n % share.size == share.index)
    });
    if share.index > 0 {
        // each instance sees the whole event: one of them reports what is wrong with it
        plan.settled.clear();
    }
    Ok(plan)
}

/// Every configured target that this run is about.
fn reconcile(config: &Config, scheduled: bool) -> Result<Plan, Error> {
    let tasks = selected(config)
        .map(|target| {
            let secret = target.secret.clone().ok_or_else(|| {
                error!(
                    Reason::Configuration,
                    "SECRET_ID is required when there is no event: nothing else says which certificate belongs in {}",
                    target.tls_secret.name
                )
            })?;
            Ok(Task::new(secret, target, false, scheduled))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Plan {
        tasks,
        settled: Vec::new(),
    })
}

/// The targets selected by `SECRET_ID`, or all.
pub(crate) fn selected(config: &Config) -> impl Iterator<Item = &Target> {
    config.targets.iter().filter(|target| {
        config.only_secret.is_none() || target.secret.as_ref() == config.only_secret.as_ref()
    })
}

/// An event that does not concern us.
fn ignored(message: String) -> Plan {
    Plan {
        settled: vec![Outcome::ignored(Reason::EventIgnored, message)],
        ..Plan::default()
    }
}

fn event(text: &str, config: &Config) -> Result<Plan, Error> {
    with_notification(&unwrapped(text)?, |notification| {
        match kind(&notification)? {
            EventKind::Sync { just_created } => {
                let source = source(&notification, config.instance.as_ref())?;
                sync(&notification, &source, just_created, config)
            }
            EventKind::WakeUp => {
                log::info!(
                    "the event is not from Secrets Manager ({}): taken as a wake-up call, every target is reconciled",
                    sanitized(notification.event_type.unwrap_or("no type"))
                );
                reject_other_instances(&notification, config.instance.as_ref())?;
                reconcile(config, true)
            }
            EventKind::Other(message) => Ok(ignored(message)),
        }
    })
}

/// Takes the envelope and its `data` apart, whichever of the accepted forms they have.
fn with_notification<R>(
    event: &Value,
    work: impl FnOnce(Notification<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let foreign = event
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|text| !text.starts_with(SECRETS_MANAGER));
    let wrapped;
    let data = match (event.get("data"), event.get("data_base64")) {
        // another source may send any text
        (Some(data), _) if foreign => Some(data),
        (None, Some(_)) if foreign => None,
        (Some(Value::String(text)), _) => {
            wrapped = unwrapped(text)?;
            Some(&wrapped)
        }
        (Some(data), _) => Some(data),
        (None, Some(Value::String(text))) => {
            wrapped = unwrapped(&decoded(text)?)?;
            Some(&wrapped)
        }
        // no envelope: this is `data` alone
        _ if event.get("type").is_none() => return work(Notification::of(None, Some(event))),
        _ => None,
    };
    work(Notification::of(Some(event), data))
}

/// The JSON object in `text`, also if it is encoded as a string in JSON.
fn unwrapped(text: &str) -> Result<Value, Error> {
    if text.len() > LARGEST_EVENT {
        return Err(error!(
            Reason::EventInvalid,
            "the event has {} bytes, at most {LARGEST_EVENT} are accepted",
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
                    Reason::EventInvalid,
                    "the event is not JSON: {:?} error at line {} column {}",
                    e.classify(),
                    e.line(),
                    e.column()
                ));
            }
        }
    }
    Err(error!(
        Reason::EventInvalid,
        "the event is JSON, but not an object"
    ))
}

/// The text of `data_base64` (CloudEvents JSON format, section 3.1.1).
fn decoded(text: &str) -> Result<String, Error> {
    BASE64_STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            error!(
                Reason::EventInvalid,
                "data_base64 of the event is not base64 of a text"
            )
        })
}

enum EventKind {
    /// The secrets that it names may have a new certificate.
    Sync { just_created: bool },
    /// Another source woke us up. Event Notifications' Periodic Timer does that; the form of its event
    /// is not documented, and a reconcile can do no harm.
    WakeUp,
    /// It does not concern us, and why.
    Other(String),
}

/// Which event of Secrets Manager it is, if it is one. The envelope's type has a prefix and may have
/// a subtype, the type in `data` has neither.
fn kind(notification: &Notification<'_>) -> Result<EventKind, Error> {
    let other = |message: String| Ok(EventKind::Other(message));
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
        (Some(Err(_)), _) => return Ok(EventKind::WakeUp),
        (Some(Ok(name)), Some(short)) if name != short => {
            return Ok(EventKind::Other(format!(
                "the event's type ({}) contradicts data.event_type ({}); ignored",
                sanitized(name),
                sanitized(short)
            )));
        }
        (Some(Ok(name)), _) | (None, Some(name)) => name,
        (None, None) if notification.sources.is_empty() && notification.secrets.is_none() => {
            return Ok(EventKind::WakeUp);
        }
        (None, None) => {
            return Err(error!(
                Reason::EventInvalid,
                "the event has neither type nor data.event_type"
            )
            .hint("make sure that the subscription in Event Notifications has no template"));
        }
    };
    match name {
        "test_event" => other("test event of Secrets Manager acknowledged".to_owned()),
        "secret_rotated" => Ok(EventKind::Sync {
            just_created: false,
        }),
        "secret_created" => Ok(EventKind::Sync { just_created: true }),
        _ => other(format!(
            "events of type {} do not concern this job",
            sanitized(name)
        )),
    }
}

/// The Secrets Manager instance that the event comes from: every place that names it must name the
/// same, and ours.
fn source(notification: &Notification<'_>, ours: Option<&Uuid>) -> Result<Crn, Error> {
    let mut crns = notification.sources.iter().map(|text| {
        Crn::parse(text).map_err(|e| {
            error!(
                Reason::EventForeign,
                "the source of the event is not a Secrets Manager instance: {e:#}"
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
            "the source of the event is not a Secrets Manager instance: {first}"
        ));
    }
    match ours {
        Some(ours) if first.instance != ours.to_string() => Err(foreign(&first, ours)),
        Some(_) => Ok(first),
        None => {
            log::warn!("cannot verify the event source: set SECRETS_MANAGER_INSTANCE_ID");
            Ok(first)
        }
    }
}

/// A wake-up call may come from anywhere, but not claim to come from somebody else's instance.
fn reject_other_instances(
    notification: &Notification<'_>,
    ours: Option<&Uuid>,
) -> Result<(), Error> {
    let crns = notification
        .sources
        .iter()
        .filter_map(|text| Crn::parse(text).ok());
    for crn in crns.filter(|crn| crn.service == "secrets-manager") {
        if let Some(ours) = ours
            && crn.instance != ours.to_string()
        {
            return Err(foreign(&crn, ours));
        }
    }
    Ok(())
}

fn foreign(source: &Crn, ours: &Uuid) -> Error {
    error!(
        Reason::EventForeign,
        "the event comes from {source}, this job is configured for instance {ours}"
    )
    .hint("check the source of the topic in Event Notifications, and SECRETS_MANAGER_INSTANCE_ID")
}

/// An entry of `data.secrets`.
struct Entry {
    secret: Uuid,
    name: Option<String>,
}

/// Finds the configured targets of the event's secrets.
fn sync(
    notification: &Notification<'_>,
    source: &Crn,
    just_created: bool,
    config: &Config,
) -> Result<Plan, Error> {
    let values = match notification.secrets {
        Some(Value::Array(values)) if !values.is_empty() => values,
        _ => {
            return Err(error!(
                Reason::EventInvalid,
                "data.secrets of the event is not a list of secrets"
            ));
        }
    };
    // a hint as everything in an event: a configured target is processed whatever it says
    let other_type = notification
        .secret_type
        .filter(|secret_type| !CERTIFICATE_TYPES.contains(secret_type));
    let (entries, mut settled) = entries(values, source);
    let mut tasks = Vec::new();
    let mut used = BTreeSet::new();
    for target in selected(config) {
        let secret = match (&target.secret, entries.as_slice()) {
            (Some(secret), _) if entries.iter().any(|entry| entry.secret == *secret) => secret,
            (Some(_), _) => continue,
            (None, _) if other_type.is_some() => continue,
            (None, [only]) if settled.is_empty() => {
                log::warn!(
                    "SECRET_ID is not set: only the event says that {} belongs in {}; set SECRET_ID",
                    only.secret,
                    target.tls_secret.name
                );
                &only.secret
            }
            (None, _) => {
                return Err(error!(
                    Reason::EventAmbiguous,
                    "SECRET_ID is not set, and the event names {} secrets instead of exactly one",
                    values.len()
                )
                .hint("set SECRET_ID, or TARGETS for several"));
            }
        };
        used.insert(secret.clone());
        tasks.push(Task::new(secret.clone(), target, just_created, false));
    }
    settled.extend(
        entries
            .into_iter()
            .filter(|entry| !used.contains(&entry.secret))
            .map(|entry| not_configured(entry, other_type)),
    );
    Ok(Plan { tasks, settled })
}

/// Each secret of the event once, and an outcome for each entry that cannot be read.
fn entries(values: &[Value], source: &Crn) -> (Vec<Entry>, Vec<Outcome>) {
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut rejected = Vec::new();
    for (position, value) in values.iter().enumerate() {
        let name = value
            .get("secret_name")
            .and_then(Value::as_str)
            .map(sanitized);
        match secret_of(value, source) {
            Ok(secret) => {
                if seen.insert(secret.clone()) {
                    entries.push(Entry { secret, name });
                }
            }
            Err(error) => {
                let error = error.context(format_args!("data.secrets[{position}] of the event"));
                rejected.push(Outcome {
                    secret_name: name,
                    ..Outcome::ignored(error.reason, "").failed(&error)
                });
            }
        }
    }
    (entries, rejected)
}

fn not_configured(entry: Entry, other_type: Option<&str>) -> Outcome {
    let id = entry.secret.to_string();
    let (reason, message) = match other_type {
        Some(secret_type) => (
            Reason::EventIgnored,
            format!(
                "secrets of type {} do not concern this job",
                sanitized(secret_type)
            ),
        ),
        None => (
            Reason::EventIgnored,
            format!("no target of this job names the secret {id}"),
        ),
    };
    Outcome {
        secret_id: Some(id),
        secret_name: entry.name,
        ..Outcome::ignored(reason, message)
    }
}

/// The ID in an entry of `data.secrets`: a bare ID, or a full secret CRN of the event's own source.
fn secret_of(entry: &Value, source: &Crn) -> Result<Uuid, Error> {
    let text = entry
        .get("secret_id")
        .and_then(Value::as_str)
        .ok_or_else(|| error!(Reason::EventInvalid, "secret_id is missing"))?;
    let secret = SecretId::parse(text).map_err(|e| error!(Reason::EventInvalid, "{e:#}"))?;
    match &secret.crn {
        Some(crn) if !crn.same_instance(source) => Err(error!(
            Reason::EventForeign,
            "the secret belongs to {crn}, the event comes from {source}"
        )),
        _ => Ok(secret.id),
    }
}

#[cfg(test)]
mod tests;
