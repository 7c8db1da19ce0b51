use std::collections::BTreeMap;
use std::time::Duration;

use local_cloud::{
    CertificateSpec, DeliveryOutcome, Fault, FaultKind, JobSettings, Options, SecretType,
    TimerEvent, Trigger, route,
};
use serde_json::{Value, json};

use crate::client::Stage;

const SOON: Duration = Duration::from_secs(60);
const JOB: &str = "sm-tls-sync";
const PRINT: &str = "printf %s \"$ibmendata\"";

fn subscribed(stage: &Stage) {
    let settings = JobSettings::default();
    stage
        .cloud
        .create_job(&stage.project, JOB, &BTreeMap::new(), &settings);
    stage.cloud.subscribe_job(&stage.project, JOB);
}

/// What the job of the last delivery was given.
fn printed(stage: &Stage) -> Value {
    let delivery = stage.cloud.deliveries().pop().unwrap();
    let DeliveryOutcome::Delivered {
        job_run: Some(name),
    } = delivery.outcome
    else {
        panic!("{delivery:?}")
    };
    let run = stage
        .cloud
        .wait_job_run(&stage.project, &name, SOON)
        .unwrap();
    assert_eq!(run.trigger, Trigger::EventNotifications);
    serde_json::from_str(&run.attempts[0].stdout).unwrap()
}

/// The event of a rotation.
pub(crate) fn rotated(stage: &Stage, ids: &[&str]) -> Value {
    subscribed(stage);
    stage.cloud.rotate(ids);
    printed(stage)
}

#[test]
fn one_event_per_type_with_all_its_secrets() {
    let stage = Stage::running(PRINT, Options::default());
    let issue = |name: &str, secret_type| {
        stage.cloud.issue(CertificateSpec {
            name: name.into(),
            secret_type,
            ..CertificateSpec::default()
        })
    };
    let a = issue("a", SecretType::PublicCert);
    let b = issue("b", SecretType::PrivateCert);
    let event = rotated(&stage, &[&stage.secret, &a, &b]);
    // in the order of the types
    assert_eq!(
        (
            &event["data"]["secret_type"],
            stage.cloud.deliveries().len()
        ),
        (&json!("public_cert"), 2)
    );
    assert_eq!(
        event["type"],
        "com.ibm.cloud.secrets-manager.secret_rotated"
    );
    assert_eq!(
        event["ibmendefaultshort"],
        "Your 2 public certificate secrets were rotated"
    );
    assert_eq!(event["source"], stage.cloud.world().instance_crn);
    let secret = &event["data"]["secrets"][1];
    assert!(
        secret["secret_id"]
            .as_str()
            .unwrap()
            .ends_with(&format!(":secret:{a}"))
    );
    assert_eq!(secret["domains"], "shop.example.com, www.shop.example.com");
    assert_eq!(
        secret["serial_number"].as_str(),
        stage.cloud.serial(&a).as_deref()
    );
    // a creation matches no topic
    issue("c", SecretType::PublicCert);
    let last = stage.cloud.deliveries().pop().unwrap();
    assert_eq!(last.outcome, DeliveryOutcome::NoTopicMatched);
}

#[test]
fn deliveries_are_tried_four_times() {
    let stage = Stage::running(PRINT, Options::default());
    subscribed(&stage);
    let fault = Fault::on(route::SUBMIT_JOB_RUN, FaultKind::Status(503)).times(2);
    let _guard = stage.cloud.fault(fault);
    stage.cloud.rotate(&[&stage.secret]);
    assert_eq!(stage.cloud.deliveries().pop().unwrap().attempts, 3);
    let failed = |why: &str| {
        let delivery = stage.cloud.deliveries().pop().unwrap();
        let DeliveryOutcome::Failed { reason } = delivery.outcome else {
            panic!("{delivery:?}")
        };
        assert!(reason.contains(why) && delivery.attempts == 4, "{reason}");
    };
    // more than a job run may hold
    let many = |n: i32| {
        stage.cloud.issue(CertificateSpec {
            name: format!("s{n}"),
            ..CertificateSpec::default()
        })
    };
    let ids: Vec<_> = (0..40).map(many).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    stage.cloud.rotate(&ids);
    failed("10240");
    stage.cloud.authorize_event_notifications(false);
    stage.cloud.rotate(&[&stage.secret]);
    failed("403");
}

/// `scripts/alerts/email-rules.json`: what people hear of by e-mail, and what not.
#[test]
fn the_rules_of_the_alert_topic() {
    let stage = Stage::new(Options::default());
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let rules = std::fs::read_to_string(format!("{root}/scripts/alerts/email-rules.json")).unwrap();
    let rules: Value = serde_json::from_str(&rules).unwrap();
    // the free plan's limit
    assert!(rules.as_array().unwrap().len() <= 2);
    let add = |what: &str, body: Value| {
        let answer = stage.events("POST", what, &body);
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()["id"].clone()
    };
    let source = add("sources", json!({ "name": "sm" }));
    let sources = json!([{ "id": source, "rules": rules }]);
    add("topics", json!({ "name": "warnings", "sources": sources }));
    let heard = |event_type: &str, secret_type: &str| {
        stage.cloud.publish(json!({
            "type": format!("com.ibm.cloud.secrets-manager.{event_type}"),
            "ibmensourceid": source,
            "data": { "secret_type": secret_type },
        }));
        // there is no subscription: it ends at the topic
        stage.cloud.deliveries().pop().unwrap().outcome == DeliveryOutcome::NoSubscription
    };
    for event_type in [
        "secret_rotation_failed",
        "secret_rotation_blocked",
        "secret_expired",
        "secret_revoked",
        "secret_about_to_expire",
        "secret_about_to_expire:in_30_days",
        "secret_about_to_expire:in_10_days",
        "secret_about_to_expire:in_1_day",
        "secret_about_to_expire:in_1_days",
        "secret_about_to_expire:in_0_days",
    ] {
        for secret_type in ["public_cert", "imported_cert", "private_cert"] {
            assert!(heard(event_type, secret_type), "{event_type} {secret_type}");
        }
        assert!(!heard(event_type, "arbitrary"), "{event_type}");
    }
    for event_type in [
        "secret_rotated",
        "secret_created",
        "test_event",
        "secret_deletion_blocked",
        "secret_about_to_expire:in_90_days",
        "secret_about_to_expire:in_60_days",
    ] {
        assert!(!heard(event_type, "public_cert"), "{event_type}");
    }
}

/// Rotations and schedules pass each other by; the shape of the timer's event is a knob.
#[test]
fn the_periodic_timer_gives_the_job_one_of_two_shapes() {
    for timer_event in [TimerEvent::CloudEvent, TimerEvent::BareData] {
        let stage = Stage::running(
            PRINT,
            Options {
                timer_event,
                ..Options::default()
            },
        );
        subscribed(&stage);
        stage
            .cloud
            .subscribe_job_to_timer(&stage.project, JOB, "17 3 * * *");
        stage.cloud.fire_timer();
        let event = printed(&stage);
        let data = match timer_event {
            TimerEvent::CloudEvent => {
                let world = stage.cloud.world();
                assert_eq!(event["source"], world.event_notifications_instance_crn);
                let expected = "com.ibm.cloud.event-notifications.periodic-timer";
                assert_eq!(event["type"], expected);
                &event["data"]
            }
            TimerEvent::BareData => &event,
        };
        assert_eq!(
            (&data["schedule"], data.get("type")),
            (&json!("17 3 * * *"), None)
        );
        stage.cloud.rotate(&[&stage.secret]);
        let topics = stage
            .cloud
            .deliveries()
            .into_iter()
            .map(|delivery| delivery.topic.unwrap());
        let topics: Vec<_> = topics.collect();
        assert_eq!(
            topics,
            [
                "schedule for sm-tls-sync",
                "rotated certificates for sm-tls-sync"
            ]
        );
        // a rule of the timer needs a schedule
        let sources = stage.events("GET", "sources", &Value::Null).json()["sources"].clone();
        let mut sources = sources.as_array().unwrap().iter();
        let timer = sources
            .find(|source| source["type"] == "periodic_timer")
            .unwrap();
        for (rule, status) in [
            (
                json!({ "event_schedule_filter": { "expression": "0 4 * * *" } }),
                201,
            ),
            (
                json!({ "event_schedule_filter": { "expression": "daily" } }),
                400,
            ),
            (json!({ "event_type_filter": "$.*" }), 400),
        ] {
            let sources = json!([{ "id": timer["id"], "rules": [rule] }]);
            let topic = json!({ "name": "daily", "sources": sources });
            assert_eq!(
                stage.events("POST", "topics", &topic).status,
                status,
                "{topic}"
            );
        }
    }
}

/// Subscriptions go with their topic; the rules of a source with the source.
#[test]
fn what_hangs_on_a_thing_goes_with_it() {
    let stage = Stage::new(Options::default());
    subscribed(&stage);
    let all = |kind: &str| stage.events("GET", kind, &Value::Null).json()[kind].clone();
    let topic = format!("topics/{}", all("topics")[0]["id"].as_str().unwrap());
    let rules = || {
        let topic = stage.events("GET", &topic, &Value::Null).json();
        topic["sources"].as_array().unwrap().len()
    };
    assert_eq!(
        (rules(), all("subscriptions").as_array().unwrap().len()),
        (1, 1)
    );
    let source = all("sources")[0]["id"].as_str().unwrap().to_owned();
    let source = format!("sources/{}", source.replace('/', "%2F"));
    assert_eq!(stage.events("DELETE", &source, &Value::Null).status, 204);
    assert_eq!((rules(), all("sources")), (0, json!([])));
    assert_eq!(stage.events("DELETE", &topic, &Value::Null).status, 204);
    assert_eq!(all("subscriptions"), json!([]));
}
