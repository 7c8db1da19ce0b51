use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};
use sm_tls_sync::config::Config;
use sm_tls_sync::error::Error;
use sm_tls_sync::sync::validate::{Plan, Trigger, validate};

use super::{config, judge};

/// Bodies of events, one by one, out of tests/payloads: the files themselves, and the variables of
/// the files that are whole environments.
static BODIES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/payloads");
    let mut bodies = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let variables = ["ibmendata", "CE_DATA"].map(|name| file.get(name).and_then(Value::as_str));
        bodies.extend(
            variables
                .into_iter()
                .flatten()
                .filter_map(|text| serde_json::from_str(text).ok()),
        );
        bodies.push(file);
    }
    // the order of a folder is its own
    bodies.sort_by_cached_key(Value::to_string);
    bodies
});

/// A notification that two targets of the job are about, and its pairs.
static ROTATED: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../payloads/rotated-many.json");
    serde_json::from_str(text).unwrap()
});

/// What an event cannot change.
const IRRELEVANT: [&str; 16] = [
    "/id",
    "/notification_id",
    "/time",
    "/specversion",
    "/datacontenttype",
    "/ibmendefaultshort",
    "/ibmendefaultlong",
    "/ibmenseverity",
    "/subject",
    "/data/source_service",
    "/data/source_instance_api_public_url",
    "/data/source_instance_api_private_url",
    "/data/source_instance_dashboard_url",
    "/data/secrets/0/secret_name",
    "/data/secrets/0/domains",
    "/data/secrets/1/secret_group_id",
];

/// The two ways to configure a job, and the three ways to hand it an event.
#[derive(Clone, Copy, Debug)]
struct Job {
    many: bool,
    door: &'static str,
}

fn job() -> impl Strategy<Value = Job> {
    let doors = select(vec!["ibmendata", "IbmEnData", "CE_DATA", "kafka"]);
    (any::<bool>(), doors).prop_map(|(many, door)| Job { many, door })
}

impl Job {
    fn judged(self, event: &str) -> Result<Plan, Error> {
        let mut environment = BTreeMap::from(
            [
                ("SECRETS_MANAGER_URL", "https://7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31.eu-de.secrets-manager.appdomain.cloud"),
                ("IAM_PROFILE_ID", "Profile-1"),
                ("CE_REGION", "eu-de"),
                ("PROJECT_ID", "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let (name, targets) = if self.many {
            let targets = json!([
                {"secret_id": "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", "tls_secret": "shop"},
                {"secret_id": "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", "tls_secret": "shop-again"},
                {"secret_id": "c41e0f7a-5d28-4963-b1fa-80d93e6c7245", "tls_secret": "mail"},
                {"secret_id": "61d70b3c-e8f4-45a9-92c6-3f5b8a1e0d47", "tls_secret": "files"},
            ]);
            ("TARGETS", targets.to_string())
        } else {
            ("TLS_SECRET_NAME", "shop".to_owned())
        };
        environment.insert(name.to_owned(), targets);
        if self.door == "kafka" {
            environment.insert("CE_TYPE".to_owned(), "dev.knative.kafka.event".to_owned());
            environment.insert("CE_ID".to_owned(), event.to_owned());
            environment.insert("CE_DATA".to_owned(), event.to_owned());
        } else {
            environment.insert(self.door.to_owned(), event.to_owned());
        }
        let config = Config::parse(&environment).unwrap();
        let result = validate(&config, Trigger::read(&config.event));
        judge::order(&config, &result);
        result
    }

    fn pairs(self, event: &str) -> String {
        format!("{:?}", self.judged(event).unwrap().tasks)
    }
}

/// Texts that somebody could hope to smuggle somewhere, and texts that nobody thought of.
fn evil_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{61c}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{feff}]{1,20}",
        "(\\.\\./|%2f|%2e|[?#@:/;&=]|https://evil\\.example/|2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852){1,4}",
        (1_usize..20_000).prop_map(|length| "\u{1b}".repeat(length)),
        select(vec![
            "com.ibm.cloud.secrets-manager.secret_rotated:auto",
            "com.ibm.cloud.secrets-manager.secret_created",
            "com.ibm.cloud.event-notifications.\u{1b}",
            "secret_rotated",
            "public_cert",
            "crn:v1:::secrets-manager::::secret:../../x",
        ])
        .prop_map(str::to_owned),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        evil_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let key = prop_oneof![
            select(vec![
                "data",
                "data_base64",
                "type",
                "source",
                "secrets",
                "secret_id",
                "event_type"
            ])
            .prop_map(str::to_owned),
            evil_text(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// One change at one place of an event.
#[derive(Clone, Debug)]
enum Change {
    Remove,
    Replace(Value),
    /// The same as a text, as what stands in that text, or in an array.
    Retype(u8),
    Duplicate,
    Nest(usize),
    Append(String),
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let change = prop_oneof![
        Just(Change::Remove),
        json_value().prop_map(Change::Replace),
        (0_u8..3).prop_map(Change::Retype),
        Just(Change::Duplicate),
        (1_usize..300).prop_map(Change::Nest),
        evil_text().prop_map(Change::Append),
    ];
    (any::<Index>(), change)
}

impl Change {
    fn apply(&self, event: &mut Value, at: Index) {
        let mut paths = Vec::new();
        pointers(event, "", &mut paths);
        let path = at.get(&paths).clone();
        let Some((parent, key)) = path.rsplit_once('/') else {
            return;
        };
        let old = event.pointer(&path).cloned().unwrap_or_default();
        let new = match self {
            Self::Remove | Self::Duplicate => old.clone(),
            Self::Replace(value) => value.clone(),
            Self::Retype(0) => Value::from(old.to_string()),
            Self::Retype(1) => json!([old]),
            Self::Retype(_) => match &old {
                Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(42)),
                _ => Value::Null,
            },
            Self::Nest(depth) => (0..*depth).fold(old.clone(), |inner, _| json!([inner])),
            Self::Append(text) => Value::from(format!("{}{text}", old.as_str().unwrap_or(""))),
        };
        match (self, event.pointer_mut(parent)) {
            (Self::Remove, Some(Value::Object(object))) => drop(object.remove(key)),
            (Self::Remove, Some(Value::Array(array))) => drop(array.remove(key.parse().unwrap())),
            (Self::Duplicate, Some(Value::Array(array))) => array.push(new),
            _ => *event.pointer_mut(&path).unwrap() = new,
        }
    }
}

/// JSON pointers (RFC 6901) of all that is in `value`, itself included.
fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    let escape = |key: &String| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(object) => {
            for (key, inner) in object.iter().filter(|(key, _)| escape(key) == **key) {
                pointers(inner, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(array) => {
            for (position, inner) in array.iter().enumerate() {
                pointers(inner, &format!("{path}/{position}"), found);
            }
        }
        _ => {}
    }
}

/// How an event arrives.
#[derive(Clone, Debug)]
enum Wrapping {
    Texts(usize),
    DataAlone,
    DataAsText,
    DataBase64,
    /// A second value under the same name, before or after the true one.
    Twice(String, Value),
}

fn wrapping() -> impl Strategy<Value = Wrapping> {
    prop_oneof![
        4 => (0_usize..5).prop_map(Wrapping::Texts),
        1 => Just(Wrapping::DataAlone),
        1 => Just(Wrapping::DataAsText),
        1 => Just(Wrapping::DataBase64),
        1 => (select(vec!["data", "type", "source"]), json_value())
            .prop_map(|(name, value)| Wrapping::Twice(name.to_owned(), value)),
    ]
}

impl Wrapping {
    fn of(&self, event: &Value) -> String {
        let mut event = event.clone();
        let data = event.get("data").cloned().unwrap_or_default().to_string();
        match (self, event.as_object_mut()) {
            (Self::Texts(depth), _) => {
                return (0..*depth).fold(event.to_string(), |text, _| json!(text).to_string());
            }
            (Self::DataAlone, _) => return data,
            (Self::DataAsText, Some(object)) => drop(object.insert("data".to_owned(), data.into())),
            (Self::DataBase64, Some(object)) => {
                object.remove("data");
                let data = BASE64_STANDARD.encode(data);
                object.insert("data_base64".to_owned(), data.into());
            }
            (Self::Twice(name, value), Some(_)) => {
                let rest = event.to_string();
                return format!("{{{}:{value},{}", json!(name), &rest[1..]);
            }
            (_, None) => {}
        }
        event.to_string()
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn any_text_is_judged_without_harm(job in job(), text in prop_oneof![".*", evil_text()]) {
        let _ = job.judged(&text);
    }

    #[test]
    fn any_bytes_are_judged_without_harm(job in job(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = job.judged(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_json_is_judged_without_harm(job in job(), value in json_value(), wrapping in wrapping()) {
        let _ = job.judged(&wrapping.of(&value));
    }

    #[test]
    fn a_changed_event_is_judged_without_harm(
        job in job(),
        body in select(&BODIES[..]),
        changes in prop::collection::vec(change(), 0..4),
        wrapping in wrapping(),
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        let mut event = body;
        for (at, change) in &changes {
            change.apply(&mut event, *at);
        }
        let mut text = wrapping.of(&event);
        if let Some(cut) = cut {
            let cut = cut.index(text.len());
            text = text.chars().take(cut).collect();
        }
        let _ = job.judged(&text);
    }

    #[test]
    fn what_does_not_matter_does_not_change_the_pairs(
        at in select(&IRRELEVANT[..]),
        value in json_value(),
        unknown in evil_text(),
        wrapping in (0_usize..3).prop_map(Wrapping::Texts),
    ) {
        let job = Job { many: true, door: "ibmendata" };
        let before = job.pairs(&ROTATED.to_string());
        prop_assert!(before.contains("shop-again") && before.contains("mail"));
        let mut event = ROTATED.clone();
        let (parent, key) = at.rsplit_once('/').unwrap();
        for (key, value) in [(key, value.clone()), (&format!("x{unknown}"), value)] {
            event.pointer_mut(parent).unwrap()[key] = value;
        }
        let text = wrapping.of(&event);
        // a longer one is refused before it is read
        prop_assume!(text.len() <= 64 * 1024);
        prop_assert_eq!(before, job.pairs(&text));
    }
}
