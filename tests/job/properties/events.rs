use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};
use sm_tls_sync::config::{Config, Settings};
use sm_tls_sync::error::Error;
use sm_tls_sync::sync::validate::{Plan, Trigger, validate};

use super::{config, judge};

/// The bodies of tests/payloads.
static BODIES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/payloads");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let json = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let mut bodies: Vec<Value> = json
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    // the order of a folder is its own
    bodies.sort_by_cached_key(Value::to_string);
    bodies
});

/// What an event cannot change.
const IRRELEVANT: [&str; 7] = [
    "/id",
    "/time",
    "/subject",
    "/ibmendefaultlong",
    "/data/source_instance_api_public_url",
    "/data/secrets/0/domains",
    "/data/secrets/1/secret_name",
];

/// A job with one target or several, which gets its event by this variable.
fn judged(door: &str, many: bool, event: &str) -> Result<Plan, Error> {
    let targets = json!([
        {"secret_id": "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", "tls_secret": "shop"},
        {"secret_id": "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", "tls_secret": "shop-again"},
        {"secret_id": "c41e0f7a-5d28-4963-b1fa-80d93e6c7245", "tls_secret": "mail"},
    ])
    .to_string();
    let mut environment = BTreeMap::from(
        [
            ("SECRETS_MANAGER_URL", "https://7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31.eu-de.secrets-manager.appdomain.cloud"),
            ("IAM_PROFILE_ID", "Profile-1"),
            ("CE_REGION", "eu-de"),
            ("PROJECT_ID", "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"),
            if many { ("TARGETS", &*targets) } else { ("TLS_SECRET_NAME", "shop") },
            (door, event),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    if door == "CE_DATA" {
        environment.insert("CE_TYPE".to_owned(), "dev.knative.kafka.event".to_owned());
        environment.insert("CE_ID".to_owned(), event.to_owned());
    }
    let (settings, notes) = Settings::read(&environment);
    let config = Config::new(settings, notes).unwrap();
    let result = validate(&config, Trigger::read(&config.settings));
    judge::order(&config, &result);
    result
}

fn door() -> impl Strategy<Value = &'static str> {
    select(vec!["ibmendata", "CE_DATA"])
}

/// Texts that somebody could hope to smuggle somewhere, and texts that nobody thought of.
fn evil_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{61c}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{feff}]{1,20}",
        "(\\.\\./|%2f|%2e|[?#@:/;&=]|https://evil\\.example/|2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852){1,4}",
        "(com\\.ibm\\.cloud\\.(secrets-manager|event-notifications)\\.)?secret_(rotated|created)[\u{1b}:a]?",
        (1_usize..20_000).prop_map(|length| "\u{1b}".repeat(length)),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        evil_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let key = "data|data_base64|type|source|secrets|secret_id|event_type|\\PC{0,9}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Changes each value in `value`, itself included.
fn each(value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    change(value);
    match value {
        Value::Object(object) => object.values_mut().for_each(|v| each(v, change)),
        Value::Array(array) => array.iter_mut().for_each(|v| each(v, change)),
        _ => {}
    }
}

/// Another value at one place of an event; the old one may be in it.
fn changed(event: &mut Value, at: Index, new: &Value, how: u8) {
    let mut count = 0_usize;
    each(event, &mut |_| count += 1);
    let at = at.index(count);
    let mut position = 0_usize;
    each(event, &mut |old| {
        if position == at {
            *old = match how {
                0 => new.clone(),
                1 => Value::from(old.to_string()),
                2 => json!([old, old, new]),
                3 => (0..200).fold(old.clone(), |inner, _| json!([inner])),
                _ => Value::from(format!("{}{new}", old.as_str().unwrap_or_default())),
            };
        }
        position += 1;
    });
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn any_text_and_any_json_is_judged_without_harm(
        door in door(),
        many in any::<bool>(),
        text in prop_oneof![".*", evil_text(), json_value().prop_map(|value| value.to_string())],
    ) {
        let _ = judged(door, many, &text);
    }

    #[test]
    fn a_changed_event_is_judged_without_harm(
        (door, many) in (door(), any::<bool>()),
        body in select(&BODIES[..]),
        changes in prop::collection::vec((any::<Index>(), json_value(), 0_u8..5), 0..4),
        texts in 0_usize..4,
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        let mut event = body;
        for (at, new, how) in &changes {
            changed(&mut event, *at, new, *how);
        }
        let mut text = (0..texts).fold(event.to_string(), |text, _| json!(text).to_string());
        if let Some(cut) = cut {
            let cut = cut.index(text.len());
            text = text.chars().take(cut).collect();
        }
        let _ = judged(door, many, &text);
    }

    #[test]
    fn what_does_not_matter_does_not_change_the_pairs(
        at in select(&IRRELEVANT[..]),
        value in json_value(),
        unknown in evil_text(),
    ) {
        let pairs = |event: &str| format!("{:?}", judged("ibmendata", true, event).unwrap().tasks);
        let text = include_str!("../../payloads/rotated-many.json");
        let before = pairs(text);
        prop_assert!(before.contains("shop-again") && before.contains("mail"));
        let mut event: Value = serde_json::from_str(text).unwrap();
        let (parent, key) = at.rsplit_once('/').unwrap();
        for (key, value) in [(key, value.clone()), (&format!("x{unknown}"), value)] {
            event.pointer_mut(parent).unwrap()[key] = value;
        }
        let text = event.to_string();
        // a longer one is refused before it is read
        prop_assume!(text.len() <= 64 * 1024);
        prop_assert_eq!(before, pairs(&text));
    }
}
