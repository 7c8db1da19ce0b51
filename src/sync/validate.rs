//! Step 1, validate: what started the run, is it ours, which secrets and targets does it concern?
//!
//! Nothing here touches the network. An event is only a hint that something changed: it can name a
//! secret, and never an address, a target or a certificate.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::config::{Config, Settings, Target};
use crate::error::{Error, Reason};
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
    /// Bring the targets of the secrets in this `data` up to date, which were just created or rotated.
    Secrets { just_created: bool, data: Value },
    /// Nothing, and why.
    Nothing(String),
}

/// The work of this run.
#[derive(Debug)]
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

/// The secrets and targets of the tasks, and what is decided already.
type Found = (Vec<(Uuid, Target)>, Vec<Outcome>);

impl Task {
    /// An outcome that identifies the target.
    pub(crate) fn outcome(&self, action: Action) -> Outcome {
        let place = &self.target.tls_secret;
        Outcome {
            secret_id: Some(self.secret.to_string()),
            project_id: Some(place.project.id.to_string()),
            tls_secret: Some(place.name.to_string()),
            action,
            ..Outcome::default()
        }
    }
}

impl Trigger {
    /// Reads what Code Engine handed over. The first that is present wins.
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
        let event = &object(text, DEEPEST_WRAPPING)?;
        let data = data_of(event);
        let inner = |key: &str| data.as_ref().ok()?[key].as_str();
        let sources = [event["source"].as_str(), event["ibmensourceid"].as_str()];
        let sources = sources.into_iter().chain([inner("source_instance_crn")]);
        self.sources = sources.flatten().map(str::to_owned).collect();
        let id = event["id"].as_str().map(sanitized);
        self.id = self.id.take().or(id);
        let event_type = event["type"].as_str();
        let name = match event_type {
            Some(text) => text.strip_prefix(SECRETS_MANAGER),
            // `data` alone
            None => inner("event_type"),
        };
        let nothing = |why: &str| Ok(Asks::Nothing(why.to_owned()));
        // some types have a subtype
        match name.and_then(|name| name.split(':').next()) {
            Some(name @ ("secret_rotated" | "secret_created")) => {
                Ok(Asks::Secrets { just_created: name == "secret_created", data: data? })
            }
            Some("test_event") => nothing("test event of Secrets Manager acknowledged"),
            Some(name) => {
                let name = sanitized(name);
                nothing(&format!("events of type {name} do not concern this job"))
            }
            None if event_type == Some(DESTINATION_TEST) => {
                nothing("test event of the destination in Event Notifications acknowledged")
            }
            None => Ok(Asks::Everything),
        }
    }
}

/// The JSON object in `text`, also if it is a string in JSON.
fn object(text: &str, wrapping: usize) -> Result<Value, Error> {
    let size = text.len();
    let what = match serde_json::from_str(text) {
        _ if size > LARGEST_EVENT => {
            format!("has {size} bytes, at most {LARGEST_EVENT} are accepted")
        }
        Ok(Value::String(inner)) if wrapping > 0 => return object(&inner, wrapping - 1),
        Ok(object @ Value::Object(_)) => return Ok(object),
        Ok(_) => "is JSON, but not an object".to_owned(),
        Err(e) => {
            let (kind, line, column) = (e.classify(), e.line(), e.column());
            format!("is not JSON: {kind:?} error at line {line} column {column}")
        }
    };
    let hint = "make sure that the subscription in Event Notifications has no template";
    let error = Reason::EventInvalid.error(format!("the event {what}"));
    Err(error.hint(hint))
}

/// The event's `data`, in whichever form; without an envelope the event is `data` itself.
fn data_of(event: &Value) -> Result<Value, Error> {
    let what = match (&event["data"], &event["data_base64"]) {
        (data @ Value::Object(_), _) => return Ok(data.clone()),
        (Value::String(text), _) => return object(text, DEEPEST_WRAPPING),
        // CloudEvents JSON format, section 3.1.1
        (Value::Null, Value::String(text)) => {
            let bytes = BASE64_STANDARD.decode(text).ok();
            match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(text) => return object(&text, DEEPEST_WRAPPING),
                None => "is not base64 of a text",
            }
        }
        (Value::Null, Value::Null) if event["type"].is_null() => return Ok(event.clone()),
        _ => "is missing, or not an object",
    };
    Err(Reason::EventInvalid.error(format!("data of the event {what}")))
}

/// Decides the work of the run, and keeps this instance's share of it if the job run is an array.
///
/// # Errors
/// [`Reason::EventInvalid`], [`Reason::EventForeign`], [`Reason::EventAmbiguous`];
/// [`Reason::Configuration`] if there is neither an event nor a configured secret.
pub fn validate(config: &Config, trigger: Trigger) -> Result<Plan, Error> {
    let settings = &config.settings;
    let instance = instance(&trigger.sources, settings.instance.as_ref());
    let asks = trigger.asks?;
    let scheduled = matches!(asks, Asks::Everything) && trigger.word != "manual";
    let just_created = matches!(asks, Asks::Secrets { just_created: true, .. });
    let (found, mut settled) = match asks {
        Asks::Nothing(why) => ignored(why),
        Asks::Everything => {
            instance?;
            reconcile(config, trigger.word)?
        }
        Asks::Secrets { data, .. } => {
            let instance = instance?.ok_or_else(|| {
                let what = "the event does not say which Secrets Manager instance it comes from";
                Reason::EventForeign.error(what)
            })?;
            if settings.instance.is_none() {
                log::warn!("cannot verify the event source: set SECRETS_MANAGER_INSTANCE_ID");
            }
            sync(&data, &instance, config)?
        }
    };
    if !settings.takes(0) {
        // each instance sees the whole event: one of them reports what is wrong with it
        settled.clear();
    }
    let own = found.into_iter().enumerate();
    let own = own.filter(|(number, _)| settings.takes(*number));
    let task = |(position, (_, (secret, target)))| Task {
        secret,
        target,
        position,
        just_created,
        scheduled,
    };
    let tasks = own.enumerate().map(task).collect();
    Ok(Plan { tasks, settled })
}

fn ignored(why: String) -> Found {
    let ignored = Reason::EventIgnored.error(why);
    (Vec::new(), vec![Outcome::default().failed(&ignored)])
}

/// Every configured target that this run is about.
fn reconcile(config: &Config, word: &str) -> Result<Found, Error> {
    let mut found = Vec::new();
    for target in selected(config) {
        let Some(secret) = &target.secret else {
            let name = &target.tls_secret.name;
            let why = format!(
                "SECRET_ID is unset, so only an event says which certificate goes into {name}: set SECRET_ID"
            );
            if word == "manual" {
                return Err(Reason::Configuration.error(why));
            }
            log::warn!("{why}");
            return Ok(ignored(why));
        };
        found.push((secret.clone(), target.clone()));
    }
    Ok((found, Vec::new()))
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
    let crns = sources.iter().filter_map(|text| crn(text).ok());
    let crns = crns.filter(|[service, ..]| *service == "secrets-manager");
    let named: Vec<String> = crns.map(|[_, instance, ..]| instance.to_owned()).collect();
    let expected = ours.map(ToString::to_string);
    let expected = expected.or_else(|| named.first().cloned());
    let foreign = |named: &&String| Some(*named) != expected.as_ref();
    if let (Some(other), Some(expected)) = (named.iter().find(foreign), &expected) {
        let (other, expected) = (sanitized(other), sanitized(expected));
        let what =
            format!("the event comes from Secrets Manager instance {other}, expected {expected}");
        let hint =
            "check the source of the topic in Event Notifications, and SECRETS_MANAGER_INSTANCE_ID";
        return Err(Reason::EventForeign.error(what).hint(hint));
    }
    Ok(named.into_iter().next())
}

/// Finds the configured targets of the event's secrets.
fn sync(data: &Value, instance: &str, config: &Config) -> Result<Found, Error> {
    let secrets = data["secrets"].as_array();
    let secrets = secrets.filter(|secrets| !secrets.is_empty());
    let what = "data.secrets of the event is not a list of secrets";
    let secrets = secrets.ok_or_else(|| Reason::EventInvalid.error(what))?;
    // a hint as everything in an event: a configured target is processed whatever it says
    let secret_type = data["secret_type"].as_str();
    let other_type = secret_type.filter(|secret_type| !CERTIFICATE_TYPES.contains(secret_type));
    let (mut found, mut settled) = (Vec::new(), Vec::new());
    // each secret once, with its name, and whether a target uses it
    let mut entries: Vec<(Uuid, Option<String>, bool)> = Vec::new();
    for (position, entry) in secrets.iter().enumerate() {
        let secret_name = entry["secret_name"].as_str().map(sanitized);
        match secret_of(entry["secret_id"].as_str(), instance) {
            Ok(secret) if entries.iter().any(|(other, ..)| *other == secret) => {}
            Ok(secret) => entries.push((secret, secret_name, false)),
            Err(error) => {
                let error = error.context(format_args!("data.secrets[{position}] of the event"));
                let mut outcome = Outcome::default().failed(&error);
                outcome.secret_name = secret_name;
                settled.push(outcome);
            }
        }
    }
    for target in selected(config) {
        let entry = match (&target.secret, entries.as_mut_slice()) {
            (Some(secret), entries) => entries.iter_mut().find(|(named, ..)| named == secret),
            (None, _) if other_type.is_some() => None,
            (None, [only]) if settled.is_empty() => {
                let (name, secret) = (&target.tls_secret.name, &only.0);
                log::warn!(
                    "SECRET_ID is unset, so the event decides what goes into {name}: {secret}; set SECRET_ID"
                );
                Some(only)
            }
            (None, _) => {
                let count = secrets.len();
                let what = format!(
                    "SECRET_ID is unset, so the event must name exactly one secret, one of this instance; it has {count} entries"
                );
                let hint = "set SECRET_ID, or TARGETS for several";
                return Err(Reason::EventAmbiguous.error(what).hint(hint));
            }
        };
        if let Some((secret, _, used)) = entry {
            found.push((secret.clone(), target.clone()));
            *used = true;
        }
    }
    for (secret, secret_name, _) in entries.into_iter().filter(|(.., used)| !used) {
        let why = match other_type.map(sanitized) {
            Some(other) => format!("secrets of type {other} do not concern this job"),
            None => format!("no target of this job names the secret {secret}"),
        };
        let mut outcome = Outcome::default().failed(&Reason::EventIgnored.error(why));
        (outcome.secret_id, outcome.secret_name) = (Some(secret.to_string()), secret_name);
        settled.push(outcome);
    }
    Ok((found, settled))
}

/// The id in an entry of `data.secrets`: a bare id, or a secret CRN of the event's own instance.
fn secret_of(text: Option<&str>, instance: &str) -> Result<Uuid, Error> {
    let text = text.ok_or_else(|| Reason::EventInvalid.error("secret_id is missing"))?;
    let secret = SecretId::parse(text).map_err(|e| Reason::EventInvalid.error(format!("{e:#}")))?;
    match &secret.instance {
        Some(own) if own != instance => {
            let (own, other) = (sanitized(own), sanitized(instance));
            let what = format!(
                "the secret belongs to Secrets Manager instance {own}, the event comes from {other}"
            );
            Err(Reason::EventForeign.error(what))
        }
        _ => Ok(secret.id),
    }
}

#[cfg(test)]
mod tests;
