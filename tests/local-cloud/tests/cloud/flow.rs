use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use local_cloud::{
    CertificateSpec, DeliveryOutcome, Fault, FaultKind, JobSettings, LocalCloud, Options,
    SecretType, Trigger, route,
};
use serde_json::{Value, json};

use crate::client::{Answer, owner_token, script, start, start_with, write};

const SOON: Duration = Duration::from_secs(60);
const JOB: &str = "sm-tls-sync";

/// A cloud whose job prints its event.
fn subscribed(options: Options) -> (LocalCloud, crate::client::Script) {
    let program = script("printf %s \"$ibmendata\"");
    let cloud = start_with(Options {
        job_program: Some(program.path.clone()),
        ..options
    });
    let project = cloud.world().project_id;
    cloud.create_job(&project, JOB, &BTreeMap::new(), &JobSettings::default());
    cloud.subscribe_job(&project, JOB);
    (cloud, program)
}

/// Asks Event Notifications, as the owner of the account, for something new.
fn post(cloud: &LocalCloud, what: &str, body: &Value) -> Answer {
    let world = cloud.world();
    let url = format!(
        "{}/v1/instances/{}/{what}",
        cloud.event_notifications_url(),
        world.event_notifications_instance_id
    );
    write("POST", &url, &owner_token(cloud), None, body)
}

/// Makes it; the id of the answer.
fn add(cloud: &LocalCloud, what: &str, body: Value) -> Value {
    let answer = post(cloud, what, &body);
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()["id"].clone()
}

fn events(cloud: &LocalCloud) -> Vec<Value> {
    let project = cloud.world().project_id;
    let delivered = cloud
        .deliveries()
        .into_iter()
        .filter_map(|delivery| match delivery.outcome {
            DeliveryOutcome::Delivered { job_run } => job_run,
            _ => None,
        });
    delivered
        .map(|name| {
            let run = cloud.wait_job_run(&project, &name, SOON).unwrap();
            assert_eq!(run.trigger, Trigger::EventNotifications);
            serde_json::from_str(&run.attempts[0].stdout).unwrap()
        })
        .collect()
}

#[test]
fn one_event_per_type_with_all_its_secrets() {
    let (cloud, _program) = subscribed(Options::default());
    let spec = |name: &str, secret_type| CertificateSpec {
        name: name.into(),
        secret_type,
        ..CertificateSpec::default()
    };
    let a = cloud.issue(spec("a", SecretType::PublicCert));
    let b = cloud.issue(spec("b", SecretType::PublicCert));
    let c = cloud.issue(spec("c", SecretType::PrivateCert));
    cloud.rotate(&[&a, &b, &c]);
    let events = events(&cloud);
    assert_eq!(events.len(), 2);
    let event = events
        .iter()
        .find(|e| e["data"]["secret_type"] == "public_cert")
        .unwrap();
    assert_eq!(
        event["type"],
        "com.ibm.cloud.secrets-manager.secret_rotated"
    );
    assert_eq!(
        event["ibmendefaultshort"],
        "Your 2 public certificate secrets were rotated"
    );
    assert_eq!(event["source"], cloud.world().instance_crn);
    assert!(event["notification_id"].is_string());
    let secrets = event["data"]["secrets"].as_array().unwrap();
    assert_eq!(secrets.len(), 2);
    assert!(
        secrets[0]["secret_id"]
            .as_str()
            .unwrap()
            .ends_with(&format!(":secret:{a}"))
    );
    assert_eq!(
        secrets[0]["domains"],
        "shop.example.com, www.shop.example.com"
    );
    assert_eq!(
        secrets[0]["serial_number"].as_str(),
        cloud.serial(&a).as_deref()
    );
    // The three creations matched no topic.
    let unmatched = cloud
        .deliveries()
        .iter()
        .filter(|d| d.outcome == DeliveryOutcome::NoTopicMatched)
        .count();
    assert_eq!(unmatched, 3);
}

#[test]
fn bare_ids_by_a_knob() {
    let (cloud, _program) = subscribed(Options {
        secret_id_as_crn: false,
        ..Options::default()
    });
    let id = cloud.issue(CertificateSpec::default());
    cloud.rotate(&[&id]);
    assert_eq!(events(&cloud)[0]["data"]["secrets"][0]["secret_id"], id);
}

#[test]
fn too_many_secrets_start_no_run() {
    let (cloud, _program) = subscribed(Options::default());
    let ids: Vec<_> = (0..40)
        .map(|n| {
            cloud.issue(CertificateSpec {
                name: format!("s{n}"),
                ..Default::default()
            })
        })
        .collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    cloud.rotate(&ids);
    let delivery = cloud.deliveries().pop().unwrap();
    assert_eq!(delivery.attempts, 4);
    assert!(
        matches!(delivery.outcome, DeliveryOutcome::Failed { reason } if reason.contains("10240"))
    );
    assert!(cloud.job_runs(&cloud.world().project_id).is_empty());
}

#[test]
fn deliveries_are_tried_again() {
    let (cloud, _program) = subscribed(Options::default());
    let id = cloud.issue(CertificateSpec::default());
    let guard = cloud.fault(Fault::on(route::SUBMIT_JOB_RUN, FaultKind::Status(503)).times(2));
    cloud.rotate(&[&id]);
    assert_eq!(guard.struck(), 2);
    assert_eq!(cloud.deliveries().pop().unwrap().attempts, 3);
    cloud.authorize_event_notifications(false);
    cloud.rotate(&[&id]);
    let outcome = cloud.deliveries().pop().unwrap().outcome;
    assert!(matches!(outcome, DeliveryOutcome::Failed { reason } if reason.contains("403")));
}

#[test]
fn an_application_gets_the_notification_as_body() {
    let cloud = start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let source = add(
        &cloud,
        "sources",
        json!({ "name": "own", "description": "" }),
    );
    let rules = json!([{ "enabled": true, "event_type_filter": "$.type == 'hello'" }]);
    let topic = add(
        &cloud,
        "topics",
        json!({ "name": "t", "sources": [{ "id": source, "rules": rules }] }),
    );
    let params = json!({ "type": "application", "url": url, "verb": "post", "custom_headers": { "X-Own": "1" } });
    let destination = add(
        &cloud,
        "destinations",
        json!({ "name": "d", "type": "ibmce", "config": { "params": params } }),
    );
    add(
        &cloud,
        "subscriptions",
        json!({ "name": "s", "topic_id": topic, "destination_id": destination }),
    );
    let bad = json!({ "name": "t", "sources": [{ "id": source, "rules": [{ "event_type_filter": "$.type ==" }] }] });
    assert_eq!(post(&cloud, "topics", &bad).status, 400);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        let mut bytes = [0; 4096];
        while !request.contains("\"hello\"") {
            let read = match stream.read(&mut bytes) {
                // a signal, for example the end of a child process
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            request += &String::from_utf8_lossy(&bytes[..read]);
        }
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .unwrap();
        request
    });
    cloud.publish(json!({ "type": "hello", "ibmensourceid": source }));
    let request = server.join().unwrap();
    assert!(
        request.starts_with("POST /hook") && request.contains("x-own: 1"),
        "{request}"
    );
    let outcome = cloud.deliveries().pop().unwrap().outcome;
    assert_eq!(outcome, DeliveryOutcome::Delivered { job_run: None });
}

/// `scripts/alerts/email-rules.json`: what people hear of by e-mail, and what not.
#[test]
fn the_rules_of_the_alert_topic() {
    let cloud = start();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let rules = std::fs::read_to_string(format!("{root}/scripts/alerts/email-rules.json")).unwrap();
    let rules: Value = serde_json::from_str(&rules).unwrap();
    // the free plan's limit
    assert!(rules.as_array().unwrap().len() <= 2);
    let source = add(
        &cloud,
        "sources",
        json!({ "name": "sm", "description": "" }),
    );
    add(
        &cloud,
        "topics",
        json!({ "name": "warnings", "sources": [{ "id": source, "rules": rules }] }),
    );
    let heard = |event_type: &str, secret_type: &str| {
        cloud.publish(json!({
            "type": format!("com.ibm.cloud.secrets-manager.{event_type}"),
            "ibmensourceid": source,
            "data": { "secret_type": secret_type },
        }));
        // there is no subscription: it ends at the topic
        cloud.deliveries().pop().unwrap().outcome == DeliveryOutcome::NoSubscription
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

#[test]
fn the_edge_serves_what_the_secret_holds_now() {
    let cloud = LocalCloud::start(Options::default()).unwrap();
    let project = cloud.world().project_id;
    let id = cloud.issue(CertificateSpec::default());
    cloud.deploy(&id, &project, "shop-tls");
    cloud.map_domain(&project, "shop.example.com", "shop-tls");
    cloud.map_domain(&project, "*.shop.example.com", "shop-tls");
    let serial = |domain: &str| cloud.served(domain).map(|served| served.serial).ok();
    let before = serial("shop.example.com");
    assert_eq!(before, cloud.serial(&id));
    assert_eq!(serial("any.shop.example.com"), before);
    assert_eq!(serial("other.example.com"), None);
    cloud.rotate_quietly(&[&id]);
    assert_eq!(serial("shop.example.com"), before);
    cloud.deploy(&id, &project, "shop-tls");
    assert_eq!(serial("shop.example.com"), cloud.serial(&id));
    assert_eq!(cloud.served("shop.example.com").unwrap().chain_len, 2);
}

#[test]
fn nothing_is_left_at_the_end() {
    let cloud = start();
    let files = [cloud.ca_file(), cloud.world().cr_token_file];
    let _clone = std::ops::Deref::deref(&cloud).clone();
    drop(cloud);
    assert!(files.iter().all(|file| !file.exists()));
}
