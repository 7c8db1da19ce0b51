//! Bytes as the event of a run: `Config::parse`, then `validate`.
//!
//! The first byte says which variable they arrive in. tests/payloads is a corpus as it stands, since
//! the first byte of a JSON object counts as `ibmendata`. At its start the target puts the forms that
//! no file there has into the corpus, the first directory among its arguments.
#![no_main]

#[allow(dead_code, reason = "this target needs the half that judges events")]
#[path = "../../job/properties/judge.rs"]
mod judge;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sm_tls_sync::config::{Config, Settings};
use sm_tls_sync::sync::validate::{Trigger, validate};

/// A job with targets; the secrets are those of tests/payloads.
const ENVIRONMENT: [(&str, &str); 5] = [
    (
        "SECRETS_MANAGER_URL",
        "https://7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31.eu-de.secrets-manager.appdomain.cloud",
    ),
    ("IAM_PROFILE_ID", "Profile-1"),
    ("CE_REGION", "eu-de"),
    ("PROJECT_ID", "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"),
    (
        "TARGETS",
        r#"[{"secret_id": "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", "tls_secret": "shop"},
            {"secret_id": "c41e0f7a-5d28-4963-b1fa-80d93e6c7245", "tls_secret": "mail"}]"#,
    ),
];

fn write_seeds() {
    let mut arguments = std::env::args().skip(1);
    let Some(corpus) = arguments.find(|argument| Path::new(argument).is_dir()) else {
        return;
    };
    let text = include_str!("../../payloads/rotated-many.json");
    let event: Value = serde_json::from_str(text).expect("a payload is JSON");
    let data = event["data"].to_string();
    let with = |key: &str, value: Value| {
        let mut event = event.clone();
        event.as_object_mut().map(|event| event.remove("data"));
        event[key] = value;
        event.to_string()
    };
    let forms = [
        data.clone(),
        json!(text).to_string(),
        format!("k{text}"),
        format!("s{text}"),
        with("data", json!(data)),
        with("data_base64", json!(BASE64_STANDARD.encode(&data))),
    ];
    for (position, form) in forms.iter().enumerate() {
        std::fs::write(Path::new(&corpus).join(format!("seed-{position}")), form)
            .expect("the corpus can be written to");
    }
}

fuzz_target!(init: write_seeds(), |bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut environment: BTreeMap<String, String> = ENVIRONMENT
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut put = |name: &str, value: &str| environment.insert(name.to_owned(), value.to_owned());
    match bytes.first() {
        Some(b'k') => {
            put("CE_TYPE", "dev.knative.kafka.event");
            put("CE_ID", &text);
            put("CE_DATA", &text[1..]);
        }
        Some(b't') => {
            put("CE_TYPE", &text);
        }
        Some(b's') => {
            // one target, and only the event names its secret
            put("ibmendata", &text[1..]);
            put("TLS_SECRET_NAME", "shop");
            environment.remove("TARGETS");
        }
        _ => {
            put("ibmendata", &text);
        }
    }
    let (settings, notes) = Settings::read(&environment);
    let config = Config::new(settings, notes).expect("the environment is sound");
    judge::order(&config, &validate(&config, Trigger::read(&config.settings)));
});
