//! Step 1, validate: what started the run, is it ours, which secrets and targets does it concern?
//!
//! Nothing here touches the network. An event is only a hint that something changed: it can name a
//! secret, and never an address, a target or a certificate.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::config::{Config, Settings, Target};
use crate::error::{Error, Reason, error};
use crate::ibm::ids::{SecretId, Uuid, crn};
use crate::ibm::secrets_manager::CERTIFICATE_TYPES;
use crate::report::{Action, Outcome};
use crate::text::sanitized;

/// The largest event: Event Notifications accepts no larger one.
const LARGEST_EVENT: usize = 64 * 1024;
/// How often JSON may be a string in JSON.
const DEEPEST_WRAPPING: usize = 2;
/// `CE_TYPE` of a cron subscription (Code Engine, subscription-cron).
const CRON: &str = "dev.knative.sources.ping";
/// `CE_TYPE` of a Kafka subscription (Code Engine, subscription-kafka).
const KAFKA: &str = "dev.knative.kafka.event";
/// Before the name of each event type of Secrets Manager.
const SECRETS_MANAGER: &str = "com.ibm.cloud.secrets-manager.";
/// The type of the event that the *Test* button of a destination sends.
const DESTINATION_TEST: &str = "com.ibm.cloud.event-notifications.destination:test";

/// What started the run, read once.
#[derive(Debug)]
pub struct Trigger {
    /// The word in the report: `event-notifications`, `wake-up`, `cron`, `kafka`, `subscription` or
    /// `manual`.
    pub word: &'static str,
    /// The id of the event, fit for a message.
    pub id: Option<String>,
    /// The places that name the Secrets Manager instance: `source`, `ibmensourceid`,
    /// `data.source_instance_crn`, as far as they are there.
    sources: Vec<String>,
    asks: Result<Asks, Error>,
}

/// The work that a trigger asks for.
#[derive(Debug)]
enum Asks {
    /// Bring every target up to date.
    Everything,
    /// Bring the targets of these secrets up to date.
    Secrets(Named),
    /// Nothing, and why.
    Nothing(String),
}

/// `data` of `secret_rotated` and `secret_created`, as it stands.
#[derive(Debug)]
struct Named {
    just_created: bool,
    secret_type: Option<String>,
    secrets: Vec<Value>,
}

/// The work of this run.
#[derive(Debug, Default)]
pub struct Plan {
    /// The targets to bring up to date, in their configured order.
    pub tasks: Vec<Task>,
    /// What is decided already: entries of the event that are rejected or do not concern us.
    pub settled: Vec<Outcome>,
}

/// One target of the run: a TLS secret, and the secret in Secrets Manager to copy from.
#[derive(Clone, Debug)]
pub struct Task {
    /// The secret in Secrets Manager.
    pub secret: Uuid,
    /// Where it goes, and how.
    pub target: Target,
    /// The position among the targets of the run.
    pub position: usize,
    /// The event says that the secret was just created: its order may still be pending.
    pub just_created: bool,
    /// A schedule started the run: what it has to write, an event should have brought.
    pub scheduled: bool,
}

impl Task {
    fn new(secret: &Uuid, target: &Target) -> Self {
        Self {
            secret: secret.clone(),
            target: target.clone(),
            position: 0,
            just_created: false,
            scheduled: false,
        }
    }

    /// `SECRET_ID` is not set, so only the event says that the two belong together: the certificate
    /// must cover the names of the deployed one.
    #[must_use]
    pub const fn named_by_event(&self) -> bool {
        self.target.secret.is_none()
    }

    /// An outcome that identifies the target.
    pub(crate) fn outcome(&self, action: Action) -> Outcome {
        let place = &self.target.tls_secret;
        Outcome {
            secret_id: Some(self.secret.to_string()),
            project_id: Some(place.project.id.to_string()),
            tls_secret: Some(place.name.to_string()),
            ..Outcome::new(action, "")
        }
    }
}

impl Trigger {
    /// Reads what Code Engine handed over. The first that is present wins.
    #[must_use]
    pub fn read(settings: &Settings) -> Self {
        let data = settings.event_data.as_deref();
        let kind = settings.event_type.as_deref();
        let (word, text) = match (settings.notification.as_deref(), kind) {
            (Some(text), _) => ("event-notifications", Some(text)),
            (None, Some(CRON)) => ("cron", None),
            (None, Some(KAFKA)) => ("kafka", Some(data.unwrap_or_default())),
            (None, Some(_)) => ("subscription", None),
            (None, None) if data.is_some() => ("subscription", data),
            (None, None) => ("manual", None),
        };
        let mut trigger = Self {
            word,
            id: settings.event_id.as_deref().map(sanitized),
            sources: Vec::new(),
            asks: Ok(Asks::Everything),
        };
        if let Some(text) = text {
            trigger.asks = trigger.notification(text);
        }
        if word == "event-notifications" && matches!(trigger.asks, Ok(Asks::Everything)) {
            trigger.word = "wake-up";
        }
        trigger
    }

    /// A notification of Event Notifications (a CloudEvent), or only its `data`. The envelope's type
    /// decides. What Secrets Manager did not send is a wake-up call: the form of Event Notifications'
    /// Periodic Timer is not documented, and a reconcile can do no harm.
    fn notification(&mut self, text: &str) -> Result<Asks, Error> {
        let mut event = object(text, DEEPEST_WRAPPING)?;
        let of_event = |key| string(&event, key).map(str::to_owned);
        let event_type = of_event("type");
        self.sources.extend(of_event("source"));
        self.sources.extend(of_event("ibmensourceid"));
        self.id = self
            .id
            .take()
            .or_else(|| of_event("id").as_deref().map(sanitized));
        let data = data_of(&mut event);
        let inner = |key| string(data.as_ref().ok()?, key).map(str::to_owned);
        self.sources.extend(inner("source_instance_crn"));
        let name = match &event_type {
            Some(text) => text.strip_prefix(SECRETS_MANAGER).map(str::to_owned),
            // `data` alone
            None => inner("event_type"),
        };
        // some types have a subtype
        match name.as_deref().and_then(|name| name.split(':').next()) {
            Some(name @ ("secret_rotated" | "secret_created")) => {
                let secret_type = inner("secret_type");
                match data?.remove("secrets") {
                    Some(Value::Array(secrets)) if !secrets.is_empty() => {
                        Ok(Asks::Secrets(Named {
                            just_created: name == "secret_created",
                            secret_type,
                            secrets,
                        }))
                    }
                    _ => Err(error!(
                        Reason::EventInvalid,
                        "data.secrets of the event is not a list of secrets"
                    )),
                }
            }
            Some("test_event") => Ok(Asks::Nothing(
                "test event of Secrets Manager acknowledged".to_owned(),
            )),
            Some(name) => Ok(Asks::Nothing(format!(
                "events of type {} do not concern this job",
                sanitized(name)
            ))),
            None if event_type.as_deref() == Some(DESTINATION_TEST) => Ok(Asks::Nothing(
                "test event of the destination in Event Notifications acknowledged".to_owned(),
            )),
            None => Ok(Asks::Everything),
        }
    }
}

fn string<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

/// The JSON object in `text`, also if it is a string in JSON.
fn object(text: &str, wrapping: usize) -> Result<Map<String, Value>, Error> {
    let invalid = |what: String| {
        error!(Reason::EventInvalid, "the event {what}")
            .hint("make sure that the subscription in Event Notifications has no template")
    };
    if text.len() > LARGEST_EVENT {
        return Err(invalid(format!(
            "has {} bytes, at most {LARGEST_EVENT} are accepted",
            text.len()
        )));
    }
    match serde_json::from_str(text) {
        Ok(Value::String(inner)) if wrapping > 0 => object(&inner, wrapping - 1),
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid("is JSON, but not an object".to_owned())),
        Err(e) => Err(invalid(format!(
            "is not JSON: {:?} error at line {} column {}",
            e.classify(),
            e.line(),
            e.column()
        ))),
    }
}

/// The event's `data`, in whichever form; without an envelope the event is `data` itself.
fn data_of(event: &mut Map<String, Value>) -> Result<Map<String, Value>, Error> {
    let invalid = |what| error!(Reason::EventInvalid, "data of the event {what}");
    match (event.remove("data"), event.remove("data_base64")) {
        (Some(Value::Object(data)), _) => Ok(data),
        (Some(Value::String(text)), _) => object(&text, DEEPEST_WRAPPING),
        // CloudEvents JSON format, section 3.1.1
        (None, Some(Value::String(text))) => {
            let bytes = BASE64_STANDARD.decode(text).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| invalid("is not base64 of a text"))?;
            object(&text, DEEPEST_WRAPPING)
        }
        (None, None) if !event.contains_key("type") => Ok(std::mem::take(event)),
        _ => Err(invalid("is missing, or not an object")),
    }
}

/// Decides the work of the run, and keeps this instance's share of it if the job run is an array.
///
/// # Errors
/// [`Reason::EventInvalid`], [`Reason::EventForeign`], [`Reason::EventAmbiguous`];
/// [`Reason::Configuration`] if there is neither an event nor a configured secret.
pub fn validate(config: &Config, trigger: Trigger) -> Result<Plan, Error> {
    let Trigger {
        word,
        sources,
        asks,
        ..
    } = trigger;
    let ours = config.settings.instance.as_ref();
    let mut plan = match asks? {
        Asks::Nothing(why) => ignored(why),
        Asks::Everything => {
            instance(&sources, ours)?;
            reconcile(config, word)?
        }
        Asks::Secrets(named) => {
            let instance = instance(&sources, ours)?.ok_or_else(|| {
                error!(
                    Reason::EventForeign,
                    "the event does not say which Secrets Manager instance it comes from"
                )
            })?;
            if ours.is_none() {
                log::warn!("cannot verify the event source: set SECRETS_MANAGER_INSTANCE_ID");
            }
            sync(&named, &instance, config)?
        }
    };
    let mut positions = 0..;
    let mut takes = |_: &Task| positions.next().is_some_and(|n| config.settings.takes(n));
    plan.tasks.retain(&mut takes);
    if !config.settings.takes(0) {
        // each instance sees the whole event: one of them reports what is wrong with it
        plan.settled.clear();
    }
    for (position, task) in plan.tasks.iter_mut().enumerate() {
        task.position = position;
    }
    Ok(plan)
}

fn ignored(why: String) -> Plan {
    Plan {
        tasks: Vec::new(),
        settled: vec![Outcome::ignored(Reason::EventIgnored, why)],
    }
}

/// Every configured target that this run is about.
fn reconcile(config: &Config, word: &str) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    for target in selected(config) {
        match &target.secret {
            Some(secret) => plan.tasks.push(Task {
                scheduled: word != "manual",
                ..Task::new(secret, target)
            }),
            None => {
                let name = &target.tls_secret.name;
                let why = format!(
                    "SECRET_ID is unset, so only an event says which certificate goes into {name}: set SECRET_ID"
                );
                if word == "manual" {
                    return Err(error!(Reason::Configuration, "{why}"));
                }
                log::warn!("{why}");
                return Ok(ignored(why));
            }
        }
    }
    Ok(plan)
}

/// The targets selected by `SECRET_ID`, or all.
pub(crate) fn selected(config: &Config) -> impl Iterator<Item = &Target> {
    let only = config.settings.secret.as_ref().map(|secret| &secret.id);
    let selected = move |target: &&Target| only.is_none() || target.secret.as_ref() == only;
    config.targets.iter().filter(selected)
}

/// The Secrets Manager instance that the event comes from, if it names one: any place may name something
/// else, but no other instance.
fn instance(sources: &[String], ours: Option<&Uuid>) -> Result<Option<String>, Error> {
    let mut found: Option<String> = None;
    let crns = sources.iter().filter_map(|text| crn(text).ok());
    for [_, instance, ..] in crns.filter(|[service, ..]| *service == "secrets-manager") {
        let ours = ours.map(ToString::to_string).or_else(|| found.clone());
        if ours.as_ref().is_some_and(|ours| ours != instance) {
            return Err(error!(
                Reason::EventForeign,
                "the event comes from Secrets Manager instance {}, expected {}",
                sanitized(instance),
                sanitized(&ours.unwrap_or_default())
            )
            .hint("check the source of the topic in Event Notifications, and SECRETS_MANAGER_INSTANCE_ID"));
        }
        found = Some(instance.to_owned());
    }
    Ok(found)
}

/// Finds the configured targets of the event's secrets.
fn sync(named: &Named, instance: &str, config: &Config) -> Result<Plan, Error> {
    // a hint as everything in an event: a configured target is processed whatever it says
    let other_type = named
        .secret_type
        .as_deref()
        .filter(|secret_type| !CERTIFICATE_TYPES.contains(secret_type));
    let mut plan = Plan::default();
    // each secret once, with its name
    let mut entries: Vec<(Uuid, Option<String>)> = Vec::new();
    for (position, entry) in named.secrets.iter().enumerate() {
        let text = |key| entry.get(key).and_then(Value::as_str);
        let secret_name = text("secret_name").map(sanitized);
        match secret_of(text("secret_id"), instance) {
            Ok(secret) if entries.iter().any(|(other, _)| *other == secret) => {}
            Ok(secret) => entries.push((secret, secret_name)),
            Err(error) => {
                let error = error.context(format_args!("data.secrets[{position}] of the event"));
                plan.settled.push(Outcome {
                    secret_name,
                    ..Outcome::ignored(error.reason, "").failed(&error)
                });
            }
        }
    }
    let mut used = BTreeSet::new();
    for target in selected(config) {
        let secret = match (&target.secret, entries.as_slice()) {
            (Some(secret), _) if entries.iter().any(|(named, _)| named == secret) => secret,
            (Some(_), _) => continue,
            (None, _) if other_type.is_some() => continue,
            (None, [(only, _)]) if plan.settled.is_empty() => {
                log::warn!(
                    "SECRET_ID is unset, so the event decides what goes into {}: {only}; set SECRET_ID",
                    target.tls_secret.name
                );
                only
            }
            (None, _) => {
                return Err(error!(
                    Reason::EventAmbiguous,
                    "SECRET_ID is unset, and the event names {} secrets instead of exactly one",
                    named.secrets.len()
                )
                .hint("set SECRET_ID, or TARGETS for several"));
            }
        };
        used.insert(secret.clone());
        plan.tasks.push(Task {
            just_created: named.just_created,
            ..Task::new(secret, target)
        });
    }
    for (secret, secret_name) in entries {
        if !used.contains(&secret) {
            let why = match other_type {
                Some(other) => format!(
                    "secrets of type {} do not concern this job",
                    sanitized(other)
                ),
                None => format!("no target of this job names the secret {secret}"),
            };
            plan.settled.push(Outcome {
                secret_id: Some(secret.to_string()),
                secret_name,
                ..Outcome::ignored(Reason::EventIgnored, why)
            });
        }
    }
    Ok(plan)
}

/// The id in an entry of `data.secrets`: a bare id, or a secret CRN of the event's own instance.
fn secret_of(text: Option<&str>, instance: &str) -> Result<Uuid, Error> {
    let text = text.ok_or_else(|| error!(Reason::EventInvalid, "secret_id is missing"))?;
    let secret = SecretId::parse(text).map_err(|e| error!(Reason::EventInvalid, "{e:#}"))?;
    match &secret.instance {
        Some(of) if of != instance => Err(error!(
            Reason::EventForeign,
            "the secret belongs to Secrets Manager instance {}, the event comes from {}",
            sanitized(of),
            sanitized(instance)
        )),
        _ => Ok(secret.id),
    }
}

#[cfg(test)]
mod tests;
