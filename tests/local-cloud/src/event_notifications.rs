//! Event Notifications v1: sources, topics, destinations, subscriptions; a notification's way
//! through them, with a log of every delivery.
//!
//! Not here: filters (`filters`), the last hop (`delivery`), what Secrets Manager sends (`events`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::clock::{millis, now};
use crate::delivery;
use crate::filters::Filter;
use crate::iam;
use crate::problems::event_notifications as problem;
use crate::store::{Delivery, DeliveryOutcome, Store, Wish, new_id};

mod wire;

use wire::{Form, document, identify_rules};

type Answer = Result<Response, Response>;
type Things = BTreeMap<String, Map<String, Value>>;

/// Type of the source that sends events at set times. IBM documents no word for it.
pub(crate) const TIMER: &str = "periodic_timer";

/// Of a rule: the times of the Periodic Timer. The two other filters do not count then.
const SCHEDULE: &str = "event_schedule_filter";

/// Bytes of one notification.
const NOTIFICATION_LIMIT: usize = 64 * 1024;

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Collection {
    Destinations,
    Sources,
    Subscriptions,
    Topics,
}

impl Collection {
    const ALL: [Self; 4] = [
        Self::Destinations,
        Self::Sources,
        Self::Subscriptions,
        Self::Topics,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Destinations => "destinations",
            Self::Sources => "sources",
            Self::Subscriptions => "subscriptions",
            Self::Topics => "topics",
        }
    }

    fn of(self, store: &mut Store) -> &mut Things {
        match self {
            Self::Destinations => &mut store.destinations,
            Self::Sources => &mut store.sources,
            Self::Subscriptions => &mut store.subscriptions,
            Self::Topics => &mut store.topics,
        }
    }
}

/// The handlers of one collection.
#[derive(Clone)]
struct Door {
    cloud: Arc<Cloud>,
    collection: Collection,
}

pub(crate) fn routes(cloud: Arc<Cloud>) -> Router {
    let mut api = Router::new()
        .route("/notifications", post(notify))
        .route("/destinations/{id}/test", post(test_destination))
        .with_state(cloud.clone());
    for collection in Collection::ALL {
        let door = Door {
            cloud: cloud.clone(),
            collection,
        };
        let all = format!("/{}", collection.as_str());
        api = api
            .route(&all, get(list).post(create).with_state(door.clone()))
            .route(
                &format!("{all}/{{id}}"),
                get(read)
                    .patch(update)
                    .put(update)
                    .delete(delete)
                    .with_state(door),
            );
    }
    Router::new()
        .nest("/event-notifications/v1/instances/{instance_id}", api)
        .fallback(async || problem(404, "not_found", "The path does not exist"))
        .method_not_allowed_fallback(async || problem(405, "bad_request", "Method not allowed"))
        .layer(axum::middleware::from_fn_with_state(cloud, admit))
}

/// Token and policy, for every route.
async fn admit(
    State(cloud): State<Arc<Cloud>>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let refusal = cloud.update(|store| match iam::identity(store, request.headers()) {
        None => Some(problem(
            401,
            "unauthorized",
            "The token is missing, invalid or expired",
        )),
        Some(who) if store.permits(&who, Wish::ManageEvents) => None,
        Some(_) => Some(problem(
            403,
            "forbidden",
            "The identity has no policy for this action",
        )),
    });
    match refusal {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

fn answered(result: Answer) -> Response {
    result.unwrap_or_else(|problem| problem)
}

fn not_found(what: Collection) -> Response {
    problem(
        404,
        "not_found",
        &format!("There is no such thing in {}", what.as_str()),
    )
}

/// A body, as JSON or as the form of several parts in which IBM's SDKs send destinations (they can
/// carry certificate files).
struct Fields(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bad = |why: String| problem(400, "bad_request", &why);
        let content_type = request.headers().get(header::CONTENT_TYPE);
        if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"multipart/")) {
            let body = Json::from_request(request, state).await;
            return body
                .map(|Json(body)| Self(body))
                .map_err(|error| bad(error.body_text()));
        }
        let mut parts = Multipart::from_request(request, state)
            .await
            .map_err(|error| bad(error.body_text()))?;
        let mut body = Map::new();
        while let Some(part) = parts
            .next_field()
            .await
            .map_err(|error| bad(error.body_text()))?
        {
            let name = part.name().unwrap_or_default().to_owned();
            let text = part.text().await.map_err(|error| bad(error.body_text()))?;
            // `config` is JSON, names and texts are not.
            body.insert(
                name,
                serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
            );
        }
        Ok(Self(body))
    }
}

async fn list(State(Door { cloud, collection }): State<Door>) -> Response {
    cloud.update(|store| {
        let things: Vec<_> = collection.of(store).values().cloned().collect();
        let all: Vec<_> = things
            .iter()
            .map(|thing| document(store, collection, thing, Form::Listed))
            .collect();
        let mut body = json!({ "total_count": all.len(), "offset": 0, "limit": 100 });
        body[collection.as_str()] = all.into();
        Json(body).into_response()
    })
}

async fn create(State(Door { cloud, collection }): State<Door>, Fields(body): Fields) -> Response {
    answered(cloud.update(|store| match add(store, collection, body) {
        Ok(thing) => {
            let body = document(store, collection, &thing, Form::Created);
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        Err(why) => Err(problem(400, "bad_request", &why)),
    }))
}

/// Checked as over HTTP.
pub(crate) fn add(
    store: &mut Store,
    collection: Collection,
    mut body: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    check(store, collection, &body)?;
    let id = match collection {
        Collection::Sources => format!("{}:api", new_id()),
        _ => new_id(),
    };
    body.insert("id".into(), id.as_str().into());
    body.insert("created_at".into(), millis(now()).into());
    body.insert("updated_at".into(), millis(now()).into());
    identify_rules(&mut body);
    if collection == Collection::Sources {
        body.insert("type".into(), "api".into());
        body.entry("enabled").or_insert(true.into());
    }
    collection.of(store).insert(id, body.clone());
    Ok(body)
}

fn check(store: &Store, collection: Collection, body: &Map<String, Value>) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let field = |name: &str| text(body.get(name).unwrap_or(&Value::Null));
    if field("name").is_empty() {
        return Err("name is missing".into());
    }
    match collection {
        Collection::Sources => Ok(()),
        Collection::Topics => {
            for source in body
                .get("sources")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let Some(found) = store.sources.get(&text(&source["id"])) else {
                    return Err(format!("there is no source {}", source["id"]));
                };
                for rule in source["rules"].as_array().into_iter().flatten() {
                    let schedule = text(&rule[SCHEDULE]["expression"]);
                    if found["type"] == TIMER && schedule.split_whitespace().count() != 5 {
                        return Err(format!("{SCHEDULE}.expression needs five fields"));
                    }
                    for name in ["event_type_filter", "notification_filter"] {
                        filter(rule, name).map_err(|why| format!("{name}: {why}"))?;
                    }
                }
            }
            Ok(())
        }
        Collection::Destinations => {
            let params = body.get("config").map(|config| config["params"].clone());
            let params = params.unwrap_or_default();
            let needed: &[&str] = match (field("type").as_str(), text(&params["type"]).as_str()) {
                ("ibmce", "job") => &["project_crn", "job_name"],
                ("ibmce", "application") => &["url", "verb"],
                _ => return Err("only type ibmce with params.type job or application".into()),
            };
            match needed.iter().find(|name| text(&params[**name]).is_empty()) {
                Some(name) => Err(format!("config.params.{name} is missing")),
                None => Ok(()),
            }
        }
        Collection::Subscriptions => {
            if !store.topics.contains_key(&field("topic_id")) {
                return Err(format!("there is no topic {}", field("topic_id")));
            }
            if !store.destinations.contains_key(&field("destination_id")) {
                return Err(format!(
                    "there is no destination {}",
                    field("destination_id")
                ));
            }
            Ok(())
        }
    }
}

async fn read(
    State(Door { cloud, collection }): State<Door>,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    answered(cloud.update(|store| {
        let thing = collection
            .of(store)
            .get(&id)
            .cloned()
            .ok_or_else(|| not_found(collection))?;
        Ok(Json(document(store, collection, &thing, Form::Read)).into_response())
    }))
}

async fn update(
    State(Door { cloud, collection }): State<Door>,
    Path((_, id)): Path<(String, String)>,
    Fields(body): Fields,
) -> Response {
    answered(cloud.update(|store| {
        let Some(thing) = collection.of(store).get(&id) else {
            return Err(not_found(collection));
        };
        let mut thing = thing.clone();
        thing.extend(body);
        thing.insert("id".into(), id.as_str().into());
        check(store, collection, &thing).map_err(|why| problem(400, "bad_request", &why))?;
        identify_rules(&mut thing);
        thing.insert("updated_at".into(), millis(now()).into());
        collection.of(store).insert(id, thing.clone());
        Ok(Json(document(store, collection, &thing, Form::Read)).into_response())
    }))
}

async fn delete(
    State(Door { cloud, collection }): State<Door>,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    answered(
        cloud.update(|store| match collection.of(store).remove(&id) {
            Some(_) => {
                forget(store, collection, &id);
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            None => Err(not_found(collection)),
        }),
    )
}

/// The destination that every instance has: mail from IBM's address.
pub(crate) fn built_in_mail() -> Map<String, Value> {
    Map::from_iter([
        ("id".to_owned(), new_id().into()),
        ("name".to_owned(), "IBM Cloud Email service".into()),
        ("description".to_owned(), "".into()),
        ("type".to_owned(), "smtp_ibm".into()),
        ("updated_at".to_owned(), millis(now()).into()),
    ])
}

/// What goes with a thing that is gone: subscriptions with their topic or destination, the rules of
/// every topic with their source.
pub(crate) fn forget(store: &mut Store, collection: Collection, id: &str) {
    let end = match collection {
        Collection::Destinations => "destination_id",
        Collection::Topics => "topic_id",
        Collection::Subscriptions => return,
        Collection::Sources => {
            for topic in store.topics.values_mut() {
                if let Some(sources) = topic.get_mut("sources").and_then(Value::as_array_mut) {
                    sources.retain(|source| source["id"] != *id);
                }
            }
            return;
        }
    };
    store
        .subscriptions
        .retain(|_, subscription| subscription[end] != *id);
}

/// What an API source sends.
async fn notify(State(cloud): State<Arc<Cloud>>, Json(body): Json<Value>) -> Response {
    let source = body["ibmensourceid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if !cloud.update(|store| store.sources.contains_key(&source)) {
        return problem(400, "bad_request", "ibmensourceid is missing or no source");
    }
    if body.to_string().len() > NOTIFICATION_LIMIT {
        return problem(413, "bad_request", "The notification has more than 64 KB");
    }
    let id = new_id();
    let mut notification = body;
    notification["notification_id"] = id.as_str().into();
    tokio::spawn(async move { publish(&cloud, notification).await });
    (StatusCode::ACCEPTED, Json(json!({ "notification_id": id }))).into_response()
}

/// One real invocation with a notification that names Event Notifications as its source.
async fn test_destination(
    State(cloud): State<Arc<Cloud>>,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    let found = cloud.update(|store| {
        let crn = store.en_instance_crn.clone();
        store
            .destinations
            .get(&id)
            .cloned()
            .map(|destination| (destination, crn))
    });
    let Some((destination, crn)) = found else {
        return not_found(Collection::Destinations);
    };
    let notification = json!({
        "data": { "message": "Test notification for a destination" },
        "datacontenttype": "application/json",
        "ibmendefaultlong": "This is a test notification that was sent to check the configuration of a destination.",
        "ibmendefaultshort": "Test notification",
        "ibmenseverity": "LOW",
        "ibmensourceid": crn,
        "id": new_id(),
        "source": crn,
        "specversion": "1.0",
        "time": millis(now()),
        "type": "com.ibm.cloud.event-notifications.destination:test",
    });
    match delivery::once(&cloud, &destination, &notification).await {
        Ok(_) => Json(json!({ "status": "success" })).into_response(),
        Err(failure) => Json(json!({ "status": "failed", "message": failure.why })).into_response(),
    }
}

/// Takes one notification through topics and subscriptions to its destinations; returns when the
/// last delivery is over.
pub(crate) async fn publish(cloud: &Arc<Cloud>, mut notification: Value) {
    if notification["notification_id"].is_null() {
        notification["notification_id"] = new_id().into();
    }
    let source = notification["ibmensourceid"].clone();
    let fits = |rule: &Value| {
        rule[SCHEDULE].is_null()
            && ["event_type_filter", "notification_filter"]
                .iter()
                .all(|name| filter(rule, name).is_ok_and(|filter| filter.matches(&notification)))
    };
    deliver(cloud, source.as_str(), &notification, fits).await;
}

/// The Periodic Timer comes due for every schedule; nothing of `event` says which source it is.
pub(crate) async fn tick(cloud: &Arc<Cloud>, timer: &str, event: Value) {
    deliver(cloud, Some(timer), &event, |rule| !rule[SCHEDULE].is_null()).await;
}

/// To the destinations of every topic that has an enabled rule for this source that fits.
async fn deliver(
    cloud: &Arc<Cloud>,
    source: Option<&str>,
    notification: &Value,
    fits: impl Fn(&Value) -> bool,
) {
    let text = |field: &str| notification[field].as_str().unwrap_or_default().to_owned();
    let log = |topic: Option<&str>, destination: Option<&str>, outcome, attempts| {
        let delivery = Delivery {
            notification_id: text("notification_id"),
            event_type: text("type"),
            topic: topic.map(str::to_owned),
            destination: destination.map(str::to_owned),
            outcome,
            attempts,
        };
        cloud.update(|store| store.deliveries.push(delivery));
    };
    let (topics, ways) = cloud.update(|store| {
        let topics: Vec<_> = store
            .topics
            .values()
            .filter(|topic| {
                let mut rules = rules(topic, source);
                rules.any(|rule| rule["enabled"].as_bool().unwrap_or(true) && fits(rule))
            })
            .cloned()
            .collect();
        let ways: Vec<_> = topics.iter().map(|topic| ways(store, topic)).collect();
        (topics, ways)
    });
    if topics.is_empty() {
        log(None, None, DeliveryOutcome::NoTopicMatched, 0);
    }
    for (topic, ways) in topics.iter().zip(ways) {
        let topic = topic["name"].as_str();
        if ways.is_empty() {
            log(topic, None, DeliveryOutcome::NoSubscription, 0);
        }
        for destination in ways {
            let (outcome, attempts) = delivery::deliver(cloud, &destination, notification).await;
            log(topic, destination["name"].as_str(), outcome, attempts);
        }
    }
}

/// The rules of a topic for one source; they are alternatives.
fn rules<'t>(
    topic: &'t Map<String, Value>,
    source: Option<&str>,
) -> impl Iterator<Item = &'t Value> {
    let sources = topic.get("sources").and_then(Value::as_array);
    let of_source = move |found: &&Value| found["id"].as_str() == source;
    let sources = sources.into_iter().flatten().filter(of_source);
    sources.flat_map(|found| found["rules"].as_array().into_iter().flatten())
}

fn filter(rule: &Value, name: &str) -> Result<Filter, String> {
    let text = rule[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or("$.*");
    if text.len() > 255 {
        return Err("more than 255 characters".into());
    }
    Filter::parse(text)
}

/// The destinations that subscribe to a topic.
fn ways(store: &Store, topic: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let subscribed = store
        .subscriptions
        .values()
        .filter(|s| s["topic_id"] == topic["id"]);
    subscribed
        .filter_map(|s| {
            store
                .destinations
                .get(s["destination_id"].as_str()?)
                .cloned()
        })
        .collect()
}
