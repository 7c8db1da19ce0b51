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
pub(crate) const PRINT: &str = "printf %s \"$ibmendata\"";

fn subscribed(stage: &Stage) {
    let (cloud, settings) = (&stage.cloud, JobSettings::default());
    cloud.create_job(&stage.project, JOB, &BTreeMap::new(), &settings);
    cloud.subscribe_job(&stage.project, JOB);
}

/// What the job of the last delivery was given.
fn printed(stage: &Stage) -> Value {
    let delivery = stage.cloud.deliveries().pop().unwrap();
    let DeliveryOutcome::Delivered { job_run: Some(name) } = delivery.outcome else {
        panic!("{delivery:?}")
    };
    let run = stage.cloud.wait_job_run(&stage.project, &name, SOON);
    let run = run.unwrap();
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
        let name = name.into();
        stage.cloud.issue(CertificateSpec { name, secret_type, ..CertificateSpec::default() })
    };
    let a = issue("a", SecretType::PublicCert);
    let b = issue("b", SecretType::PrivateCert);
    // in the order of the types
    let event = rotated(&stage, &[&stage.secret, &a, &b]);
    assert_eq!(stage.cloud.deliveries().len(), 2);
    assert_eq!(event["data"]["secret_type"], "public_cert");
    assert_eq!(event["type"], "com.ibm.cloud.secrets-manager.secret_rotated");
    assert_eq!(event["ibmendefaultshort"], "Your 2 public certificate secrets were rotated");
    assert_eq!(event["source"], stage.cloud.world().instance_crn);
    let secret = &event["data"]["secrets"][1];
    let id = secret["secret_id"].as_str().unwrap();
    assert!(id.ends_with(&format!(":secret:{a}")), "{id}");
    assert_eq!(secret["domains"], "shop.example.com, www.shop.example.com");
    assert_eq!(secret["serial_number"].as_str(), stage.cloud.serial(&a).as_deref());
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
        let DeliveryOutcome::Failed { reason } = delivery.outcome else { panic!("{delivery:?}") };
        assert!(reason.contains(why) && delivery.attempts == 4, "{reason}");
    };
    // more than a job run may hold
    let many = |n: i32| {
        let name = format!("s{n}");
        stage.cloud.issue(CertificateSpec { name, ..CertificateSpec::default() })
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
    let rules = include_str!("../../../../scripts/alerts/email-rules.json");
    let rules: Value = serde_json::from_str(rules).unwrap();
    // the free plan's limit
    assert!(rules.as_array().unwrap().len() <= 2);
    let add = |what: &str, body: Value| stage.events("POST", what, &body).json()["id"].clone();
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
    let said = "secret_rotation_failed secret_rotation_blocked secret_expired secret_revoked secret_about_to_expire \
                secret_about_to_expire:in_30_days secret_about_to_expire:in_10_days secret_about_to_expire:in_1_day \
                secret_about_to_expire:in_1_days secret_about_to_expire:in_0_days";
    for event_type in said.split(' ') {
        let certificates = ["public_cert", "imported_cert", "private_cert"];
        let all = certificates.iter().all(|kind| heard(event_type, kind));
        assert!(all && !heard(event_type, "arbitrary"), "{event_type}");
    }
    let silent = "secret_rotated secret_created test_event secret_deletion_blocked \
                  secret_about_to_expire:in_90_days secret_about_to_expire:in_60_days";
    for event_type in silent.split(' ') {
        assert!(!heard(event_type, "public_cert"), "{event_type}");
    }
}

/// Rotations and schedules pass each other by; the shape of the timer's event is a knob.
#[test]
fn the_periodic_timer_gives_the_job_one_of_two_shapes() {
    for timer_event in [TimerEvent::CloudEvent, TimerEvent::BareData] {
        let stage = Stage::running(PRINT, Options { timer_event, ..Options::default() });
        subscribed(&stage);
        let cloud = &stage.cloud;
        cloud.subscribe_job_to_timer(&stage.project, JOB, "17 3 * * *");
        cloud.fire_timer();
        let event = printed(&stage);
        let data = match timer_event {
            TimerEvent::CloudEvent => {
                assert_eq!(event["source"], cloud.world().event_notifications_instance_crn);
                assert_eq!(event["type"], "com.ibm.cloud.event-notifications.periodic-timer");
                &event["data"]
            }
            TimerEvent::BareData => &event,
        };
        assert_eq!((&data["schedule"], data.get("type")), (&json!("17 3 * * *"), None));
        cloud.rotate(&[&stage.secret]);
        let deliveries = cloud.deliveries().into_iter();
        let topics: Vec<_> = deliveries.map(|delivery| delivery.topic.unwrap()).collect();
        assert_eq!(topics, ["schedule for sm-tls-sync", "rotated certificates for sm-tls-sync"]);
        // a rule of the timer needs a schedule
        let sources = stage.events("GET", "sources", &Value::Null).json()["sources"].clone();
        let mut sources = sources.as_array().unwrap().iter();
        let timer = sources.find(|source| source["type"] == "periodic_timer");
        let timer = &timer.unwrap()["id"];
        for rule in [
            json!({ "event_schedule_filter": { "expression": "daily" } }),
            json!({ "event_type_filter": "$.*" }),
        ] {
            let topic = json!({ "name": "daily", "sources": [{ "id": timer, "rules": [rule] }] });
            assert_eq!(stage.events("POST", "topics", &topic).status, 400, "{topic}");
        }
    }
}
