//! Events, and what they make the run do, as truth tables.

use serde_json::json;

use super::*;
use crate::ibm::ids::AppName;
use crate::sync::samples;

const SHOP: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";
const BLOG: &str = "9b3a57d1-0c6e-4f82-8a4d-17e5c2f9063b";
const OTHER: &str = "c41e0f7a-5d28-4963-b1fa-80d93e6c7245";
const INSTANCE: &str = "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31";
const SOURCE: &str = "crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31::";
const OTHER_INSTANCE: &str = "crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:0d9f6b2e-71c4-4a58-b3e7-6c2d81f05a94::";
/// The id of our instance, in another service.
const OTHER_SERVICE: &str = "crn:v1:bluemix:public:kms:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31::";
const ROTATED: &str = "com.ibm.cloud.secrets-manager.secret_rotated";
const PROJECT: &str = "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4";

/// The variables of a configuration.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Two targets.
const TARGETS: (&str, &str) = (
    "TARGETS",
    r#"[{"secret_id":"2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852","tls_secret":"shop-tls"},
        {"secret_id":"9b3a57d1-0c6e-4f82-8a4d-17e5c2f9063b","tls_secret":"blog-tls","hold":true,"restart_apps":["blog"]}]"#,
);
const TWO: Variables<'_> = &[TARGETS, ("SECRETS_MANAGER_INSTANCE_ID", INSTANCE)];
/// One target, and its secret.
const ONE: Variables<'_> = &[
    ("TLS_SECRET_NAME", "shop-tls"),
    ("SECRET_ID", SHOP),
    ("SECRETS_MANAGER_INSTANCE_ID", INSTANCE),
];
/// One target, whose secret only the event names.
const OPEN: Variables<'_> =
    &[("TLS_SECRET_NAME", "shop-tls"), ("SECRETS_MANAGER_INSTANCE_ID", INSTANCE)];
/// Two targets, and nothing says which instance is ours.
const ANY_INSTANCE: Variables<'_> = &[TARGETS];

fn config(variables: Variables<'_>, trigger: Variables<'_>) -> Config {
    samples::config(variables.iter().chain(trigger).copied())
}

fn judged(config: &Config) -> Result<Plan, Error> {
    validate(config, Trigger::read(&config.settings))
}

/// The plan in words, or the reason and the text of the error.
fn plan(variables: Variables<'_>, trigger: Variables<'_>) -> Result<String, (Reason, String)> {
    let plan = judged(&config(variables, trigger)).map_err(|e| (e.reason, e.to_string()))?;
    let name = |id: &str| match id {
        SHOP => "shop".to_owned(),
        BLOG => "blog".to_owned(),
        OTHER => "other".to_owned(),
        id => id.to_owned(),
    };
    let mut words = Vec::new();
    if plan.tasks.iter().any(|task| task.scheduled) {
        words.push("scheduled".to_owned());
    }
    for task in &plan.tasks {
        let secret = name(&task.secret.to_string());
        let mut text = format!("{secret} to {}", task.target.tls_secret.name);
        for (flag, word) in
            [(task.just_created, "created"), (task.target.secret.is_none(), "named by the event")]
        {
            if flag {
                text = format!("{text} ({word})");
            }
        }
        words.push(text);
    }
    for outcome in &plan.settled {
        let mut text = format!("{:?} {}", outcome.action, outcome.reason.unwrap());
        let parts = [
            outcome.secret_id.as_deref().map(name),
            outcome.secret_name.clone(),
            (!outcome.findings.is_empty()).then(|| "with a finding".to_owned()),
        ];
        for part in parts.into_iter().flatten() {
            text = format!("{text} {part}");
        }
        words.push(text);
    }
    Ok(words.join(", "))
}

#[track_caller]
fn expect(variables: Variables<'_>, event: &str, expected: &str) {
    let found = match plan(variables, &[("ibmendata", event)]) {
        Ok(plan) => plan,
        Err((reason, _)) => format!("error {reason}"),
    };
    assert_eq!(found, expected, "{variables:?} {event}");
}

/// The text of the only outcome, or of the error.
fn message(variables: Variables<'_>, event: &str) -> String {
    match judged(&config(variables, &[("ibmendata", event)])) {
        Ok(plan) => plan.settled[0].message.clone(),
        Err(error) => error.to_string(),
    }
}

/// An event of Secrets Manager about these secrets.
fn of(secrets: &Value) -> Value {
    json!({
        "id": "e-1",
        "type": ROTATED,
        "source": SOURCE,
        "data": {
            "event_type": "secret_rotated",
            "secret_type": "public_cert",
            "source_instance_crn": SOURCE,
            "secrets": secrets,
        },
    })
}

fn rotated() -> Value {
    of(&json!([{"secret_id": SHOP, "secret_name": "shop-example-com"}]))
}

fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut event = rotated();
    change(&mut event);
    event.to_string()
}

#[test]
fn the_sample_events() {
    const MANY: &str = include_str!("../../../tests/payloads/rotated-many.json");
    const PUBLIC: &str = include_str!("../../../tests/payloads/rotated-public.json");
    const BARE_ID: &str = include_str!("../../../tests/payloads/rotated-public-uuid.json");
    const CREATED: &str = include_str!("../../../tests/payloads/created.json");
    const FAILED: &str = include_str!("../../../tests/payloads/rotation-failed.json");
    const EXPIRING: &str = include_str!("../../../tests/payloads/expiring-many.json");
    const TEST: &str = include_str!("../../../tests/payloads/sm-test-event.json");
    const DESTINATION: &str = include_str!("../../../tests/payloads/test-destination.json");
    const OTHER_SECRET: &str = "Ignored event-ignored other other-team-cert";
    for (variables, event, expected) in [
        (TWO, PUBLIC, "shop to shop-tls"),
        (TWO, BARE_ID, "shop to shop-tls"),
        (ONE, PUBLIC, "shop to shop-tls"),
        (OPEN, PUBLIC, "shop to shop-tls (named by the event)"),
        (ANY_INSTANCE, PUBLIC, "shop to shop-tls"),
        (TWO, MANY, &format!("shop to shop-tls, blog to blog-tls, {OTHER_SECRET}")),
        (
            ONE,
            MANY,
            &format!(
                "shop to shop-tls, Ignored event-ignored blog blog-example-com, {OTHER_SECRET}"
            ),
        ),
        (OPEN, MANY, "error event-ambiguous"),
        (TWO, CREATED, "shop to shop-tls (created)"),
        (OPEN, CREATED, "shop to shop-tls (created) (named by the event)"),
        (TWO, FAILED, "Ignored event-ignored"),
        (TWO, EXPIRING, "Ignored event-ignored"),
        (TWO, TEST, "Ignored event-ignored"),
        (TWO, DESTINATION, "Ignored event-ignored"),
    ] {
        expect(variables, event, expected);
    }
    for (event, expected) in [
        (FAILED, "events of type secret_rotation_failed do not"),
        (EXPIRING, "events of type secret_about_to_expire do not"),
        (TEST, "test event of Secrets Manager acknowledged"),
        (DESTINATION, "test event of the destination in Event Notifications acknowledged"),
    ] {
        let message = message(TWO, event);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn what_started_the_run() {
    let event = rotated().to_string();
    let wake_up = json!({"id": "w-1", "type": "com.example.timer"}).to_string();
    let without_id = json!({"type": ROTATED}).to_string();
    let kafka = ("CE_TYPE", "dev.knative.kafka.event");
    let cron = ("CE_TYPE", "dev.knative.sources.ping");
    let all = "shop to shop-tls, blog to blog-tls";
    let scheduled = format!("scheduled, {all}");
    for (trigger, word, id, expected) in [
        (&[][..], "manual", None, all),
        (&[("ibmendata", &*event)], "event-notifications", Some("e-1"), "shop to shop-tls"),
        (&[("ibmendata", &wake_up)], "wake-up", Some("w-1"), &scheduled),
        (&[("ibmendata", &without_id)], "event-notifications", None, "error event-invalid"),
        (&[("ibmendata", "{")], "event-notifications", None, "error event-invalid"),
        (&[cron, ("CE_ID", "c-1"), ("CE_DATA", "{}")], "cron", Some("c-1"), &scheduled),
        (&[kafka, ("CE_ID", "k-1"), ("CE_DATA", &event)], "kafka", Some("k-1"), "shop to shop-tls"),
        (&[kafka], "kafka", None, "error event-invalid"),
        (&[("CE_DATA", &event)], "subscription", Some("e-1"), "shop to shop-tls"),
        (&[("CE_TYPE", "com.example"), ("CE_DATA", &event)], "subscription", None, &scheduled),
    ] {
        let read = Trigger::read(&config(TWO, trigger).settings);
        assert_eq!((read.word, read.id.as_deref()), (word, id), "{trigger:?}");
        let found = plan(TWO, trigger).unwrap_or_else(|(reason, _)| format!("error {reason}"));
        assert_eq!(found, expected, "{trigger:?}");
    }
    // nothing names a secret: a person made a mistake, a schedule has nothing to do
    let (reason, text) = plan(OPEN, &[]).unwrap_err();
    assert_eq!(reason, Reason::Configuration);
    assert!(text.contains("shop-tls"), "{text}");
    for trigger in [&[cron][..], &[("ibmendata", &*wake_up)]] {
        assert_eq!(plan(OPEN, trigger).unwrap(), "Ignored event-ignored");
    }
}

#[test]
fn the_accepted_forms() {
    let event = rotated();
    let data = event["data"].to_string();
    let base64 = |text: &str| BASE64_STANDARD.encode(text);
    let as_text = |text: &str| json!(text).to_string();
    let with = |key: &str, value: &Value| {
        changed(|event| {
            event.as_object_mut().unwrap().remove("data");
            event[key] = value.clone();
        })
    };
    let fine = "shop to shop-tls";
    let unreadable = "error event-invalid";
    for (event, expected) in [
        (event.to_string(), fine),
        (data.clone(), fine),
        (with("data", &json!(data)), fine),
        (with("data", &json!(as_text(&data))), fine),
        (with("data_base64", &json!(base64(&data))), fine),
        (with("data_base64", &json!(base64(&as_text(&data)))), fine),
        // a text in a text, and once more
        (as_text(&event.to_string()), fine),
        (as_text(&as_text(&event.to_string())), fine),
        (as_text(&as_text(&as_text(&event.to_string()))), unreadable),
        (with("data", &json!("hello")), unreadable),
        (with("data_base64", &json!("?")), unreadable),
        (with("data_base64", &json!(BASE64_STANDARD.encode([0xff]))), unreadable),
        (with("data_base64", &json!(17)), "error event-invalid"),
        (with("more", &json!(17)), "error event-invalid"),
        (String::new(), unreadable),
        ("hello".to_owned(), unreadable),
        ("[]".to_owned(), unreadable),
        ("17".to_owned(), unreadable),
        ("\"hello\"".to_owned(), unreadable),
    ] {
        expect(TWO, &event, expected);
    }
    for (event, expected) in [
        (
            "[]".to_owned(),
            "the event is JSON, but not an object; make sure that the subscription in Event Notifications has no template",
        ),
        (
            as_text("17"),
            "the event is JSON, but not an object; make sure that the subscription in Event Notifications has no template",
        ),
        (
            "{}}".to_owned(),
            "the event is not JSON: Syntax error at line 1 column 3; make sure that the subscription in Event Notifications has no template",
        ),
        (with("data_base64", &json!("?")), "data of the event is not base64 of a text"),
    ] {
        assert_eq!(message(TWO, &event), expected);
    }
}

#[test]
fn the_largest_event_has_64_kib() {
    let event = rotated().to_string();
    let padded = |length: usize| event.clone() + &" ".repeat(length - event.len());
    expect(TWO, &padded(65_536), "shop to shop-tls");
    expect(TWO, &padded(65_537), "error event-invalid");
}

#[test]
fn the_type_of_the_envelope_decides() {
    let typed = |long: Option<&str>, short: Option<&str>| {
        changed(|event| {
            event["type"] = json!(long);
            event["data"]["event_type"] = json!(short);
        })
    };
    let (all, shop) = ("scheduled, shop to shop-tls, blog to blog-tls", "shop to shop-tls");
    let (created, ignored) = ("shop to shop-tls (created)", "Ignored event-ignored");
    let (is_rotated, is_created) = (Some("secret_rotated"), Some("secret_created"));
    for (long, short, expected) in [
        (None, is_rotated, shop),
        (None, is_created, created),
        (None, Some("test_event"), ignored),
        (None, None, all),
        (is_rotated, None, shop),
        (Some("secret_rotated:now"), None, shop),
        (Some("secret_created:now"), is_rotated, created),
        (is_rotated, Some("secret_deleted"), shop),
        (Some("secret_deleted"), is_rotated, ignored),
        (Some("Secret_Rotated"), is_rotated, ignored),
        (Some("test_event"), is_rotated, ignored),
    ] {
        let long = long.map(|name| format!("{SECRETS_MANAGER}{name}"));
        expect(TWO, &typed(long.as_deref(), short), expected);
    }
    let event_notifications = "com.ibm.cloud.event-notifications.";
    for (name, expected) in [
        ("destination:test", ignored),
        ("destination:test2", all),
        ("destination", all),
        ("periodic-timer", all),
    ] {
        expect(TWO, &typed(Some(&format!("{event_notifications}{name}")), None), expected);
    }
    for event in [
        json!({"source_instance_crn": SOURCE}),
        json!({"secrets": []}),
        json!({"data": 17}),
        json!({"action": "reconcile"}),
        json!({}),
    ] {
        expect(TWO, &event.to_string(), all);
    }
}

#[test]
fn an_event_must_come_from_our_instance() {
    let elsewhere = &*SOURCE.replace("eu-de", "us-south");
    let (ours, other, service) = (Some(SOURCE), Some(OTHER_INSTANCE), Some(OTHER_SERVICE));
    let (fine, foreign) = ("shop to shop-tls", "error event-foreign");
    for (variables, [source, id, inner], expected) in [
        (TWO, [ours, None, None], fine),
        (TWO, [None, ours, None], fine),
        (TWO, [None, None, ours], fine),
        (TWO, [ours, ours, ours], fine),
        (TWO, [None, None, None], foreign),
        (TWO, [other, None, None], foreign),
        (TWO, [other, None, ours], foreign),
        (TWO, [ours, other, None], foreign),
        (TWO, [ours, None, other], foreign),
        // the instance counts, wherever it is said to be
        (TWO, [ours, Some(elsewhere), None], fine),
        (TWO, [service, None, None], foreign),
        (TWO, [service, service, service], foreign),
        (TWO, [Some("secrets-manager"), None, None], foreign),
        (TWO, [ours, Some("secrets-manager"), None], fine),
        (TWO, [ours, service, None], fine),
        // an unknown instance is believed, if the event does not contradict itself
        (ANY_INSTANCE, [other, None, other], fine),
        (ANY_INSTANCE, [other, None, ours], foreign),
        (ANY_INSTANCE, [service, None, service], foreign),
    ] {
        let event = changed(|event| {
            event["source"] = json!(source);
            event["ibmensourceid"] = json!(id);
            event["data"]["source_instance_crn"] = json!(inner);
        });
        expect(variables, &event, expected);
    }
    let other = changed(|event| {
        event["source"] = json!(OTHER_INSTANCE);
        event["data"]["source_instance_crn"] = json!(OTHER_INSTANCE);
    });
    let message = message(TWO, &other);
    for part in [
        "comes from Secrets Manager instance 0d9f6b2e-71c4-4a58-b3e7-6c2d81f05a94",
        "expected 7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31",
        "check the source of the topic",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_wake_up_call_may_be_anything_but_of_another_instance() {
    let all = "scheduled, shop to shop-tls, blog to blog-tls";
    let foreign = "error event-foreign";
    let timer = "com.example.timer";
    for (variables, event, expected) in [
        (TWO, json!({"type": timer}), all),
        (TWO, json!({"type": timer, "source": "timer"}), all),
        (TWO, json!({"type": timer, "source": SOURCE}), all),
        (TWO, json!({"type": timer, "source": OTHER_SERVICE}), all),
        (TWO, json!({"type": timer, "source": "crn:v1:bluemix:public:kms:eu-de:a/1:2::"}), all),
        (TWO, json!({"type": timer, "source": OTHER_INSTANCE}), foreign),
        (TWO, json!({"type": timer, "data": {"source_instance_crn": OTHER_INSTANCE}}), foreign),
        (ANY_INSTANCE, json!({"type": timer, "source": OTHER_INSTANCE}), all),
        // whatever else it contains
        (TWO, json!({"type": timer, "data": "hello"}), all),
        (TWO, json!({"type": timer, "data_base64": "?"}), all),
        (TWO, json!({"type": timer, "data": {"secrets": [{"secret_id": SHOP}]}}), all),
    ] {
        expect(variables, &event.to_string(), expected);
    }
}

#[test]
fn the_entries_of_an_event() {
    let shop = json!({"secret_id": SHOP, "secret_name": "shop"});
    let other = json!({"secret_id": OTHER, "secret_name": "other"});
    let crn = |instance: &str, secret: &str| {
        let instance = instance.strip_suffix("::").unwrap();
        json!({"secret_id": format!("{instance}:secret:{secret}"), "secret_name": "shop"})
    };
    let invalid = "error event-invalid";
    for (variables, secrets, expected) in [
        (TWO, json!([shop]), "shop to shop-tls"),
        (TWO, json!([crn(SOURCE, SHOP)]), "shop to shop-tls"),
        (TWO, json!([]), invalid),
        (TWO, json!({}), invalid),
        (TWO, json!(null), invalid),
        // each secret once, in whatever form
        (TWO, json!([shop, shop]), "shop to shop-tls"),
        (TWO, json!([shop, crn(SOURCE, SHOP)]), "shop to shop-tls"),
        (TWO, json!([other, other]), "Ignored event-ignored other other"),
        (OPEN, json!([shop, crn(SOURCE, SHOP)]), "shop to shop-tls (named by the event)"),
        (OPEN, json!([other]), "other to shop-tls (named by the event)"),
        (OPEN, json!([shop, other]), "error event-ambiguous"),
        // one bad entry does not spoil the others
        (
            TWO,
            json!([{"secret_name": "bad"}, shop, other]),
            "shop to shop-tls, Refused event-invalid bad, Ignored event-ignored other other",
        ),
        (TWO, json!([shop, {"secret_id": "../x"}]), "shop to shop-tls, Refused event-invalid"),
        (TWO, json!([crn(OTHER_INSTANCE, SHOP)]), "Refused event-foreign shop"),
        (TWO, json!([crn(OTHER_SERVICE, SHOP)]), "Refused event-invalid shop"),
        (TWO, json!(["hello"]), "Refused event-invalid"),
        // but nobody knows what it would have named
        (OPEN, json!([shop, {"secret_name": "bad"}]), "error event-ambiguous"),
        (OPEN, json!([{"secret_name": "bad"}]), "error event-ambiguous"),
    ] {
        expect(variables, &of(&secrets).to_string(), expected);
    }
    let second = of(&json!([{"secret_id": SHOP}, {"secret_id": 17}])).to_string();
    assert_eq!(message(TWO, &second), "data.secrets[1] of the event: secret_id is missing");
    let several = of(&json!([shop, other, other])).to_string();
    assert!(message(OPEN, &several).contains("it has 3 entries"));
}

#[test]
fn the_type_of_the_secrets_is_only_a_hint() {
    for (variables, secret_type, secret, expected) in [
        (TWO, json!("private_cert"), SHOP, "shop to shop-tls"),
        (TWO, json!("imported_cert"), OTHER, "Ignored event-ignored other"),
        (TWO, json!(null), OTHER, "Ignored event-ignored other"),
        (TWO, json!("kv"), SHOP, "shop to shop-tls"),
        (TWO, json!("kv"), OTHER, "Ignored event-ignored other"),
        (OPEN, json!("kv"), OTHER, "Ignored event-ignored other"),
        (OPEN, json!("imported_cert"), OTHER, "other to shop-tls (named by the event)"),
        (OPEN, json!(null), OTHER, "other to shop-tls (named by the event)"),
    ] {
        let mut event = of(&json!([{"secret_id": secret}]));
        event["data"]["secret_type"] = secret_type;
        expect(variables, &event.to_string(), expected);
    }
}

#[test]
fn secret_id_selects_among_the_targets() {
    let many = of(&json!([{"secret_id": SHOP}, {"secret_id": BLOG}])).to_string();
    let wake_up = json!({"type": "com.example.timer"}).to_string();
    let only_blog = &[TWO, &[("SECRET_ID", BLOG)]].concat();
    for (trigger, expected) in [
        (&[][..], "blog to blog-tls"),
        (&[("ibmendata", &*wake_up)], "scheduled, blog to blog-tls"),
        (&[("ibmendata", &*many)], "blog to blog-tls, Ignored event-ignored shop"),
    ] {
        assert_eq!(plan(only_blog, trigger).unwrap(), expected);
    }
}

#[test]
fn an_instance_of_an_array_takes_its_share() {
    let names = ["a", "b", "c", "d", "e"];
    let target = |name: &&str| json!({"secret_id": SHOP.replace("2f", &format!("{name}0")), "tls_secret": name});
    let targets: Vec<Value> = names.iter().map(target).collect();
    let targets = json!(targets).to_string();
    for (index, size, expected) in [
        ("0", "1", &["a", "b", "c", "d", "e"][..]),
        ("0", "2", &["a", "c", "e"]),
        ("1", "2", &["b", "d"]),
        ("2", "3", &["c"]),
        ("6", "7", &[]),
    ] {
        let config =
            config(&[("TARGETS", &targets), ("JOB_INDEX", index), ("JOB_ARRAY_SIZE", size)], &[]);
        let plan = judged(&config).unwrap();
        let places = plan.tasks.iter().map(|t| t.target.tls_secret.name.to_string());
        assert_eq!(places.collect::<Vec<_>>(), expected, "{index} of {size}");
    }
    // the first instance reports what is wrong with the event
    let event = of(&json!([{"secret_id": SHOP}, {"secret_id": BLOG}, {"secret_id": OTHER}]));
    for (index, expected) in [
        ("0", "shop to shop-tls, Ignored event-ignored other"),
        ("1", "blog to blog-tls"),
        ("2", ""),
    ] {
        let share = &[TWO, &[("JOB_INDEX", index), ("JOB_ARRAY_SIZE", "3")]].concat();
        expect(share, &event.to_string(), expected);
    }
}

#[test]
fn a_task_takes_over_what_its_target_says() {
    let plan = judged(&config(TWO, &[])).unwrap();
    let [shop, blog] = plan.tasks.as_slice() else { panic!("{plan:?}") };
    assert_eq!((shop.target.hold, blog.target.hold), (false, true));
    assert!(shop.target.restart_apps.is_empty());
    assert_eq!(blog.target.restart_apps.names, [AppName::parse("blog").unwrap()]);

    let outcome = blog.outcome(Action::Unchanged);
    assert_eq!(outcome.action, Action::Unchanged);
    assert_eq!(outcome.secret_id.as_deref(), Some(BLOG));
    assert_eq!(outcome.project_id.as_deref(), Some(PROJECT));
    assert_eq!(outcome.tls_secret.as_deref(), Some("blog-tls"));
}
