use std::time::Duration;

use local_cloud::{CertificateSpec, JobSettings, LocalCloud, Options, TimerEvent, Trigger};
use serde_json::{Value, json};

use crate::client::{get, owner_token, script, start_with, write};

/// A cloud whose job prints what it was given.
fn scheduled() -> (LocalCloud, crate::client::Script) {
    let program = script(r#"printf %s "$ibmendata""#);
    let cloud = start_with(Options {
        job_program: Some(program.path.clone()),
        ..Options::default()
    });
    let project = cloud.world().project_id;
    cloud.create_job(
        &project,
        "job",
        &cloud.job_environment(),
        &JobSettings::default(),
    );
    (cloud, program)
}

#[test]
fn the_timer_delivers_any_shape_to_the_job() {
    let (cloud, _program) = scheduled();
    let project = cloud.world().project_id;
    cloud.subscribe_job_to_timer(&project, "job", "17 3 * * *");
    for shape in TimerEvent::ALL {
        let before = cloud.job_runs(&project).len();
        cloud.fire_timer_as(shape);
        let runs = cloud
            .wait_job_runs(&project, Duration::from_secs(60))
            .unwrap();
        assert_eq!(runs.len(), before + 1, "{shape:?}");
        let delivery = cloud.deliveries().pop().unwrap();
        let run = runs
            .iter()
            .find(|run| delivery.outcome == delivered(&run.name))
            .unwrap();
        assert!(run.trigger == Trigger::EventNotifications);
        let event: Value = serde_json::from_str(&run.attempts[0].stdout).unwrap();
        let secrets_manager = event["source"] == json!(cloud.world().instance_crn);
        assert!(!secrets_manager);
        let (type_, data) = (
            event["type"].is_string(),
            event["data"].get("schedule").is_some(),
        );
        let expected = match shape {
            TimerEvent::BareData => (false, false),
            TimerEvent::CloudEvent => (true, true),
            TimerEvent::CloudEventWithoutData => (true, false),
            TimerEvent::Empty => (false, false),
        };
        assert_eq!((type_, data), expected, "{event}");
        assert_eq!(event == json!({}), shape == TimerEvent::Empty);
    }
}

fn delivered(name: &str) -> local_cloud::DeliveryOutcome {
    let job_run = Some(name.to_owned());
    local_cloud::DeliveryOutcome::Delivered { job_run }
}

/// Rotations and schedules pass each other by.
#[test]
fn a_schedule_hears_only_the_timer() {
    let (cloud, _program) = scheduled();
    let project = cloud.world().project_id;
    cloud.subscribe_job_to_timer(&project, "job", "17 3 * * *");
    cloud.subscribe_job(&project, "job");
    let id = cloud.issue(CertificateSpec::default());
    let heard = |act: &dyn Fn()| {
        let before = cloud.deliveries().len();
        act();
        let topics = cloud.deliveries().split_off(before);
        topics
            .into_iter()
            .filter_map(|delivery| delivery.topic)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        heard(&|| cloud.rotate(&[&id])),
        ["rotated certificates for job"]
    );
    assert_eq!(heard(&|| cloud.fire_timer()), ["schedule for job"]);
}

#[test]
fn a_seed_chooses_the_shape() {
    let shapes: Vec<_> = (0..4_u64)
        .map(|n| Options::hostile(n << 16).timer_event)
        .collect();
    assert_eq!(shapes, TimerEvent::ALL);
    assert_eq!(Options::default().timer_event, TimerEvent::CloudEvent);
}

/// By HTTP: the timer is a source, and a topic's rule needs a schedule.
#[test]
fn rules_of_the_timer_are_schedules() {
    let (cloud, _program) = scheduled();
    let source = cloud.enable_timer();
    assert_eq!(cloud.enable_timer(), source, "once");
    let owner = owner_token(&cloud);
    let instance = cloud.world().event_notifications_instance_id;
    let base = format!(
        "{}/v1/instances/{instance}",
        cloud.event_notifications_url()
    );
    let found = get(&format!("{base}/sources/{source}"), &owner).json();
    assert_eq!(found["enabled"], true);
    let topic = |rule: Value| {
        let sources = json!([{ "id": source, "rules": [rule] }]);
        let body = json!({ "name": "daily", "sources": sources });
        write("POST", &format!("{base}/topics"), &owner, None, &body).status
    };
    for (rule, status) in [
        (
            json!({ "event_schedule_filter": { "expression": "17 3 * * *" } }),
            201,
        ),
        (
            json!({ "event_schedule_filter": { "expression": "daily" } }),
            400,
        ),
        (json!({ "event_type_filter": "$.*" }), 400),
    ] {
        assert_eq!(topic(rule.clone()), status, "{rule}");
    }
    let control = cloud.control_url();
    let project = cloud.world().project_id;
    let job = format!("{control}/projects/{project}/jobs/job/timer");
    assert_eq!(
        write("PUT", &job, "", None, &json!("0 4 * * *")).status,
        200
    );
    let fired = write(
        "POST",
        &format!("{control}/timer"),
        "",
        None,
        &json!("bare_data"),
    );
    assert_eq!(fired.status, 200);
    assert_eq!(
        cloud.deliveries().len(),
        2,
        "the topic by HTTP has no subscription"
    );
}
