//! Event Notifications v1: sources, topics, destinations, subscriptions as documents; a
//! notification's way through them to a job run, with a log of every delivery; the Periodic Timer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::clock::{millis, now};
use crate::filters::Filter;
use crate::http::{Answer, Ask, Ending, Routes, front, reply};
use crate::journal::Service;
use crate::problems::{Problem, bad, not_found};
use crate::store::{Delivery, DeliveryOutcome, Store, Things, Wish, new_id, object};

pub(crate) const ROUTES: Routes = &[
    ("GET /event-notifications/v1/instances/{instance_id}/{kind}", list),
    ("POST /event-notifications/v1/instances/{instance_id}/{kind}", create),
    ("GET /event-notifications/v1/instances/{instance_id}/{kind}/{id}", read),
    ("DELETE /event-notifications/v1/instances/{instance_id}/{kind}/{id}", delete),
];

/// Type of the source that sends events at set times. IBM documents no word for it.
const TIMER: &str = "periodic_timer";

/// Of a rule: the times of the Periodic Timer. The two other filters do not count then.
const SCHEDULE: &str = "event_schedule_filter";

/// After the first attempt of a delivery.
const RETRIES: u32 = 3;

/// The collections, and what exists at start: the destination that every instance has, mail from
/// IBM's address.
pub(crate) fn fill(store: &mut Store) {
    for kind in ["sources", "topics", "destinations", "subscriptions"] {
        store.events.insert(kind.into(), Things::new());
    }
    let mail = json!({ "name": "IBM Cloud Email service", "description": "", "type": "smtp_ibm" });
    insert(store, "destinations", &new_id(), mail);
}

/// A thing that no client makes.
pub(crate) fn insert(store: &mut Store, kind: &str, id: &str, thing: Value) {
    let mut thing = object(thing);
    thing.insert("id".into(), id.into());
    thing.insert("updated_at".into(), millis(now()).into());
    things(store, kind).insert(id.into(), thing);
}

fn things<'s>(store: &'s mut Store, kind: &str) -> &'s mut Things {
    store.events.get_mut(kind).expect("made at start")
}

/// The collection that is asked for, if the caller may ask.
fn kind<'a>(store: &Store, ask: &'a Ask) -> Result<&'a str, Problem> {
    store.admit(ask, Wish::ManageEvents)?;
    let kind = ask.path[1].as_str();
    let known = store.events.contains_key(kind);
    known.then_some(kind).ok_or_else(|| not_found("The path"))
}

/// The thing that is asked for.
fn found(store: &Store, ask: &Ask) -> Result<Map<String, Value>, Problem> {
    let found = store.events[kind(store, ask)?].get(&ask.path[2]);
    found.cloned().ok_or_else(|| not_found("The resource"))
}

fn list(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let kind = kind(store, ask)?;
    let number = |name: &str, usual| {
        let given = ask.query.get(name).and_then(|text| text.parse().ok());
        given.unwrap_or(usual)
    };
    let (offset, limit) = (number("offset", 0), number("limit", 10).min(100));
    let listed = |thing| document(store, kind, thing, Form::Listed);
    let mut all: Vec<_> = store.events[kind].values().map(listed).collect();
    let count = all.len();
    // IBM documents no order
    all.sort_by_key(|one| one["name"].to_string());
    let page: Value = all.into_iter().skip(offset).take(limit).collect();
    let body = json!({ "total_count": count, "offset": offset, "limit": limit, kind: page });
    reply(200, body)
}

fn create(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let kind = kind(store, ask)?;
    let thing = add(store, kind, ask.body.clone()).map_err(bad)?;
    reply(201, document(store, kind, &thing, Form::Created))
}

fn read(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    let thing = found(store, ask)?;
    reply(200, document(store, &ask.path[1], &thing, Form::Read))
}

fn delete(_: &Arc<Cloud>, store: &mut Store, ask: &Ask) -> Answer {
    found(store, ask)?;
    remove(store, &ask.path[1], &ask.path[2]);
    reply(204, Value::Null)
}

/// With what hangs on it: subscriptions go with their topic or destination, the rules of every topic
/// with their source.
pub(crate) fn remove(store: &mut Store, kind: &str, id: &str) {
    things(store, kind).remove(id);
    let end = match kind {
        "destinations" => "destination_id",
        "topics" => "topic_id",
        _ => "",
    };
    things(store, "subscriptions")
        .retain(|_, subscription| subscription.get(end).is_none_or(|found| found != id));
    if kind == "sources" {
        for topic in things(store, "topics").values_mut() {
            if let Some(sources) = topic.get_mut("sources").and_then(Value::as_array_mut) {
                sources.retain(|source| source["id"] != id);
            }
        }
    }
}

/// A new thing, checked as over HTTP.
pub(crate) fn add(
    store: &mut Store,
    kind: &str,
    mut body: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    check(store, kind, &body)?;
    let id = if kind == "sources" { new_id() + ":api" } else { new_id() };
    body.insert("id".into(), id.as_str().into());
    body.insert("created_at".into(), millis(now()).into());
    identify_rules(&mut body);
    if kind == "sources" {
        body.insert("type".into(), "api".into());
        body.entry("enabled").or_insert(true.into());
    }
    insert(store, kind, &id, body.into());
    Ok(store.events[kind][&id].clone())
}

fn check(store: &Store, kind: &str, body: &Map<String, Value>) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let body = Value::Object(body.clone());
    let known = |kind: &str, id: &Value| {
        let known = store.events[kind].contains_key(id.as_str().unwrap_or_default());
        known.then_some(()).ok_or_else(|| format!("there is none of the {kind} with id {id}"))
    };
    if text(&body["name"]).is_empty() {
        return Err("name is missing".into());
    }
    match kind {
        "topics" => {
            for source in body["sources"].as_array().into_iter().flatten() {
                known("sources", &source["id"])?;
                let timer = store.events["sources"][&text(&source["id"])]["type"] == TIMER;
                for rule in source["rules"].as_array().into_iter().flatten() {
                    let schedule = text(&rule[SCHEDULE]["expression"]);
                    if timer && schedule.split_whitespace().count() != 5 {
                        return Err(format!("{SCHEDULE}.expression needs five fields"));
                    }
                    for name in ["event_type_filter", "notification_filter"] {
                        let filter = Filter::parse(&text(&rule[name]));
                        filter.map_err(|why| format!("{name}: {why}"))?;
                    }
                }
            }
        }
        "destinations" => {
            let params = &body["config"]["params"];
            if (text(&body["type"]).as_str(), text(&params["type"]).as_str()) != ("ibmce", "job") {
                return Err("only type ibmce with params.type job".into());
            }
            for name in ["project_crn", "job_name"] {
                if text(&params[name]).is_empty() {
                    return Err(format!("config.params.{name} is missing"));
                }
            }
        }
        "subscriptions" => {
            known("topics", &body["topic_id"])?;
            known("destinations", &body["destination_id"])?;
        }
        _ => {}
    }
    Ok(())
}

/// Rules of a topic get what Event Notifications adds to them.
fn identify_rules(thing: &mut Map<String, Value>) {
    let sources = thing.get_mut("sources").and_then(Value::as_array_mut);
    for source in sources.into_iter().flatten() {
        let rules = source.get_mut("rules").and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
            rule.entry("enabled").or_insert(true.into());
            rule.entry("id").or_insert_with(|| new_id().into());
            rule.entry("updated_at").or_insert_with(|| millis(now()).into());
        }
    }
}

/// The three answers about one thing.
#[derive(Clone, Copy)]
enum Form {
    Created,
    Listed,
    Read,
}

/// The thing as IBM shows it in this form, with the counts and names of what hangs together.
fn document(store: &Store, kind: &str, thing: &Map<String, Value>, form: Form) -> Value {
    let mut body = thing.clone();
    body.entry("description").or_insert("".into());
    let id = &thing["id"];
    let name_of = |kind: &str, id: &Value, what: &str| {
        let found = store.events[kind].get(id.as_str().unwrap_or_default());
        found.map_or(Value::Null, |found| found[what].clone())
    };
    let listed = |thing: &Map<String, Value>| -> Vec<Value> {
        let sources = thing.get("sources").and_then(Value::as_array);
        sources.cloned().unwrap_or_default()
    };
    let subscribed = |field: &str| -> Vec<&Map<String, Value>> {
        let all = store.events["subscriptions"].values();
        all.filter(|subscription| subscription[field] == *id).collect()
    };
    let names = |all: &[&Map<String, Value>]| -> Vec<Value> {
        all.iter().map(|one| one["name"].clone()).collect()
    };
    let more = match kind {
        "sources" => {
            let topics = store.events["topics"].values();
            let hears = |topic: &&Map<String, Value>| {
                listed(topic).iter().any(|source| source["id"] == *id)
            };
            let topics: Vec<_> = topics.filter(hears).collect();
            json!({ "topic_count": topics.len(), "topic_names": names(&topics) })
        }
        "topics" => {
            let mut sources = listed(thing);
            for source in &mut sources {
                source["name"] = name_of("sources", &source["id"], "name");
            }
            let names: Vec<_> = sources.iter().map(|source| source["name"].clone()).collect();
            let subscribed = subscribed("topic_id");
            json!({
                "source_count": names.len(),
                "sources": sources,
                "sources_names": names,
                "subscription_count": subscribed.len(),
                "subscriptions": subscribed,
            })
        }
        "destinations" => {
            let names = names(&subscribed("destination_id"));
            json!({
                "collect_failed_events": false,
                "subscription_count": names.len(),
                "subscription_names": names,
            })
        }
        _ => json!({
            "destination_name": name_of("destinations", &thing["destination_id"], "name"),
            "destination_type": name_of("destinations", &thing["destination_id"], "type"),
            "topic_name": name_of("topics", &thing["topic_id"], "name"),
        }),
    };
    body.extend(object(more));
    let hidden = match (kind, form) {
        ("sources", Form::Created) => "topic_count topic_names type updated_at",
        ("sources", Form::Listed) => "created_at topic_names",
        ("topics", Form::Created) => {
            "source_count sources sources_names subscription_count subscriptions updated_at"
        }
        ("topics", Form::Listed) => "created_at sources subscriptions updated_at",
        ("topics", Form::Read) => "created_at sources_names",
        ("destinations", Form::Created) => "subscription_count subscription_names updated_at",
        ("destinations", Form::Listed) => "config created_at",
        ("subscriptions", Form::Listed) => "attributes created_at",
        _ => "created_at",
    };
    body.retain(|name, _| !hidden.split(' ').any(|hidden| hidden == name));
    Value::Object(body)
}

// --- a notification's way ---

/// Takes one notification through topics and subscriptions to its destinations; returns when the
/// last delivery is over.
pub(crate) async fn publish(cloud: &Arc<Cloud>, mut notification: Value) {
    notification["notification_id"] = new_id().into();
    let source = notification["ibmensourceid"].as_str();
    let source = source.unwrap_or_default().to_owned();
    let fits = |rule: &Value| {
        let filters = ["event_type_filter", "notification_filter"];
        let lets_through = |name| {
            let filter = Filter::parse(rule[name].as_str().unwrap_or_default());
            filter.is_ok_and(|filter| filter.matches(&notification))
        };
        rule[SCHEDULE].is_null() && filters.into_iter().all(lets_through)
    };
    deliver(cloud, &source, &notification, fits).await;
}

/// To the destinations of every topic that has an enabled rule for this source that fits; the rules
/// are alternatives.
async fn deliver(
    cloud: &Arc<Cloud>,
    source: &str,
    notification: &Value,
    fits: impl Fn(&Value) -> bool,
) {
    let text = |field: &str| notification[field].as_str().unwrap_or_default().to_owned();
    let log = |topic: &Value, destination: &Value, outcome, attempts| {
        let delivery = Delivery {
            notification_id: text("notification_id"),
            event_type: text("type"),
            topic: topic.as_str().map(str::to_owned),
            destination: destination.as_str().map(str::to_owned),
            outcome,
            attempts,
        };
        cloud.update(|store| store.deliveries.push(delivery));
    };
    let hears = |topic: &&Map<String, Value>| {
        let sources = topic.get("sources").and_then(Value::as_array);
        let sources = sources.into_iter().flatten();
        let sources = sources.filter(|found| found["id"] == source);
        let mut rules = sources.flat_map(|found| found["rules"].as_array().into_iter().flatten());
        rules.any(|rule| rule["enabled"] != false && fits(rule))
    };
    let ways: Vec<(Value, Vec<Map<String, Value>>)> = cloud.update(|store| {
        let topics = store.events["topics"].values().filter(hears);
        let ways = topics.map(|topic| {
            let subscribed = store.events["subscriptions"].values();
            let subscribed = subscribed.filter(|one| one["topic_id"] == topic["id"]);
            let destinations = &store.events["destinations"];
            let end = |one: &Map<String, Value>| {
                let end = destinations.get(one["destination_id"].as_str()?);
                end.cloned()
            };
            let ends = subscribed.filter_map(end);
            (topic["name"].clone(), ends.collect())
        });
        ways.collect()
    });
    if ways.is_empty() {
        let outcome = DeliveryOutcome::NoTopicMatched;
        log(&Value::Null, &Value::Null, outcome, 0);
    }
    for (topic, ends) in ways {
        if ends.is_empty() {
            log(&topic, &Value::Null, DeliveryOutcome::NoSubscription, 0);
        }
        for end in ends {
            let (outcome, attempts) = patiently(cloud, &end, notification).await;
            log(&topic, &end["name"], outcome, attempts);
        }
    }
}

/// Tries, and tries again; says what became of it and how often it tried.
async fn patiently(
    cloud: &Arc<Cloud>,
    destination: &Map<String, Value>,
    notification: &Value,
) -> (DeliveryOutcome, u32) {
    // Built in; e-mails go nowhere here.
    if destination["type"] == "smtp_ibm" {
        return (DeliveryOutcome::Delivered { job_run: None }, 1);
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        match start_job(cloud, &destination["config"]["params"], notification).await {
            Ok(name) => {
                let job_run = Some(name);
                return (DeliveryOutcome::Delivered { job_run }, attempts);
            }
            Err((reason, _)) if attempts > RETRIES => {
                return (DeliveryOutcome::Failed { reason }, attempts);
            }
            Err((_, retry_after)) => {
                let pause = Duration::from_millis(10) * 2_u32.pow(attempts - 1);
                tokio::time::sleep(retry_after.map_or(pause, Duration::from_secs)).await;
            }
        }
    }
}

/// Code Engine's *create job run*, through its routes, journal and faults, but without a socket: the
/// name of the run, or why not and after how many seconds to try again.
async fn start_job(
    cloud: &Arc<Cloud>,
    params: &Value,
    notification: &Value,
) -> Result<String, (String, Option<u64>)> {
    let failed = |why: &str| (why.to_owned(), None);
    let crn = params["project_crn"].as_str().unwrap_or_default();
    let mut crn = crn.split(':').skip(5).step_by(2);
    let [region, project] = [(); 2].map(|()| crn.next().unwrap_or_default());
    let text = notification.to_string();
    let variable = json!({ "type": "literal", "name": "ibmendata", "value": text });
    let body = json!({ "job_name": params["job_name"], "run_env_variables": [variable] });
    let token = &cloud.world.event_notifications_token;
    let path = format!("/{region}/v2/projects/{project}/job_runs?version=2025-07-10");
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .map_err(|_| failed("project_crn does not give a valid path"))?;
    let answer = Box::pin(front(cloud, Service::CodeEngine, request));
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
    let response = answer.map_err(|_| failed("no answer within 10 s"))?;
    if response.extensions().get::<Ending>().is_some() {
        return Err(failed("Code Engine: connection ended"));
    }
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|after| after.to_str().ok()?.parse().ok());
    let body = to_bytes(response.into_body(), usize::MAX).await;
    let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    if status.is_success() {
        return Ok(body["name"].as_str().unwrap_or_default().to_owned());
    }
    let message = body["errors"][0]["message"].as_str().unwrap_or_default();
    let why = format!("Code Engine: {}: {message}", status.as_u16());
    Err((why, retry_after))
}

// --- the Periodic Timer ---

/// What a job gets as `ibmendata` when the timer comes due. IBM documents no shape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimerEvent {
    /// Only a `data` object, without anything around it.
    BareData,
    /// A CloudEvent of a source and type of its own.
    CloudEvent,
}

impl TimerEvent {
    /// Both shapes.
    pub const ALL: [Self; 2] = [Self::CloudEvent, Self::BareData];
}

/// Switches the timer on as a source; returns the source's id.
pub(crate) fn enable_timer(store: &mut Store) -> String {
    if let Some(id) = timer(store) {
        return id;
    }
    let id = new_id() + ":timer";
    let source =
        json!({ "name": "Periodic Timer", "description": "", "enabled": true, "type": TIMER });
    insert(store, "sources", &id, source);
    id
}

fn timer(store: &Store) -> Option<String> {
    let mut sources = store.events["sources"].iter();
    let (id, _) = sources.find(|(_, source)| source["type"] == TIMER)?;
    Some(id.clone())
}

/// The timer comes due: every topic with a schedule of it gets one event.
pub(crate) async fn tick(cloud: &Arc<Cloud>, shape: TimerEvent) {
    let source = cloud.update(|store| timer(store).expect("the timer is switched on"));
    let time = millis(now());
    let data = json!({ "schedule": "17 3 * * *", "time": time });
    let event = match shape {
        TimerEvent::BareData => data,
        TimerEvent::CloudEvent => json!({
            "data": data,
            "datacontenttype": "application/json",
            "ibmendefaultlong": "The schedule of the periodic timer came due.",
            "ibmendefaultshort": "Periodic timer",
            "ibmenseverity": "LOW",
            "ibmensourceid": source,
            "id": new_id(),
            "source": cloud.world.event_notifications_instance_crn,
            "specversion": "1.0",
            "time": time,
            "type": "com.ibm.cloud.event-notifications.periodic-timer",
        }),
    };
    deliver(cloud, &source, &event, |rule| !rule[SCHEDULE].is_null()).await;
}
