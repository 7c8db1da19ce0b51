use local_cloud::CertificateSpec;
use serde_json::{Value, json};

use crate::harness::{Scene, Target, payload};

/// A rotation's event with changes.
fn rotated(scene: &Scene, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(&scene.payload("rotated-public.json")).unwrap();
    change(&mut event);
    event.to_string()
}

/// Runs that were stopped at the event asked nobody for anything.
#[track_caller]
fn nobody_was_asked(scene: &Scene) {
    assert_eq!(scene.asked(), Vec::<String>::new());
}

/// The forms themselves are a truth table of `validate`.
#[test]
fn an_event_arrives_with_its_trigger_and_its_id() {
    let scene = Scene::new();
    let whole = scene.payload("rotated-public.json");
    let id = Some("5a90d3e7-8c14-4b26-a7f9-31e6d0c45b82");
    let data = serde_json::from_str::<Value>(&whole).unwrap()["data"].to_string();
    for (variable, event, id) in [
        ("ibmendata", whole.clone(), id),
        ("IBMENDATA", whole.clone(), id),
        ("ibmendata", json!(whole).to_string(), id),
        ("ibmendata", scene.payload("rotated-public-uuid.json"), id),
        ("ibmendata", data, None),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        // the first of several triggers wins
        let start = scene.start().env("CE_TYPE", "dev.knative.sources.ping");
        let run = start.env(variable, event).run();
        run.expect(0, "replaced");
        assert_eq!(run.report.trigger.as_deref(), Some("event-notifications"));
        assert_eq!(run.report.event_id.as_deref(), id);
    }
}

#[test]
fn the_environments_of_the_fact_sheets_are_told_apart() {
    for (file, trigger) in [
        ("env-en.json", "event-notifications"),
        ("env-kafka.json", "kafka"),
        ("env-cron.json", "cron"),
        ("env-manual.json", "manual"),
    ] {
        let scene = Scene::new();
        let environment: Value = serde_json::from_str(&payload(file)).unwrap();
        let mut start = scene.start();
        for (name, value) in environment.as_object().unwrap() {
            start = start.env(name, scene.localized(value.as_str().unwrap()));
        }
        let run = start.run();
        run.expect(0, "replaced");
        assert_eq!(run.report.trigger.as_deref(), Some(trigger), "{file}");
    }
}

#[test]
fn of_several_secrets_each_configured_one_is_handled_once_and_the_others_are_named() {
    let scene = Scene::new();
    let mut event: Value = serde_json::from_str(&scene.payload("rotated-many.json")).unwrap();
    let secrets = event["data"]["secrets"].as_array_mut().unwrap();
    secrets.push(json!({ "secret_id": scene.secret }));
    let run = scene.run_event(&event.to_string());
    assert_eq!(run.status, 0, "{run:#?}");
    let targets = run.report.targets.iter();
    let told: Vec<_> = targets.map(|t| (&*t.action, t.reason.as_deref())).collect();
    let ignored = ("ignored", Some("event-ignored"));
    assert_eq!(told, [("replaced", None), ignored, ignored]);
    let name = run.report.targets[2].secret_name.as_deref();
    assert_eq!(name, Some("other-team-cert"));
    assert_eq!(scene.writes().len(), 1);
}

#[test]
fn what_is_not_for_us_is_ignored_by_name() {
    let scene = Scene::new();
    for (event, named) in [
        // as it stands in the file: of another instance
        (payload("sm-test-event.json"), "test event"),
        (payload("test-destination.json"), "test event"),
        (scene.payload("expiring-many.json"), "about_to_expire"),
    ] {
        let run = scene.run_event(&event);
        run.expect(0, "ignored");
        let message = &run.refused(0, "event-ignored").message;
        assert!(message.contains(named), "{message}");
    }
    nobody_was_asked(&scene);
}

/// One for each reason; the others are rows of `validate`.
#[test]
fn what_cannot_be_read_or_is_of_another_instance_is_rejected() {
    let scene = Scene::new();
    for (variable, event, reason) in [
        ("ibmendata", String::new(), "event-invalid"),
        // 64 KiB is what Event Notifications takes
        ("ibmendata", " ".repeat(64 * 1024 + 1), "event-invalid"),
        ("CE_DATA", "hello".to_owned(), "event-invalid"),
        ("ibmendata", payload("rotated-public.json"), "event-foreign"),
    ] {
        let kafka = scene.start().env("CE_TYPE", "dev.knative.kafka.event");
        let run = kafka.env(variable, event).run();
        run.rejected(3, reason);
        assert!(!run.report.retryable);
    }
    nobody_was_asked(&scene);
    let start = scene.start().without("SECRETS_MANAGER_INSTANCE_ID");
    let run = start.env("ibmendata", scene.payload("rotated-public.json"));
    let log = run.run().log;
    assert!(log.contains("set SECRETS_MANAGER_INSTANCE_ID"), "{log}");
}

#[test]
fn a_bad_entry_is_rejected_and_the_others_are_handled() {
    let scene = Scene::new();
    let event = rotated(&scene, |event| {
        let secrets = event["data"]["secrets"].as_array_mut().unwrap();
        secrets.insert(0, json!({ "secret_id": "../../../secret_groups" }));
    });
    let run = scene.run_event(&event);
    assert_eq!(run.status, 3, "{run:#?}");
    let told = |t: &Target| (t.action.clone(), t.reason.clone().unwrap_or_default());
    let told: Vec<_> = run.report.targets.iter().map(told).collect();
    let expected = [("replaced", ""), ("refused", "event-invalid")];
    assert_eq!(told, expected.map(|(a, r)| (a.to_owned(), r.to_owned())));
    assert_eq!(scene.served(), scene.serial());
}

#[test]
fn every_other_event_is_a_wake_up_call() {
    let scene = Scene::new();
    let ibmendata = |event: Value| ("ibmendata", event.to_string(), "wake-up");
    for (variable, value, trigger) in [
        ibmendata(json!({ "type": "com.example.other", "data": "tick" })),
        ibmendata(json!({ "ibmensourceid": scene.world.event_notifications_instance_crn })),
        ibmendata(json!({})),
        (
            "CE_TYPE",
            "com.ibm.cloud.cos.document.write".to_owned(),
            "subscription",
        ),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let run = scene.start().env(variable, value.clone()).run();
        run.expect(0, "replaced");
        assert_eq!(run.report.trigger.as_deref(), Some(trigger), "{value}");
    }
}

#[test]
fn without_secret_id_the_event_names_the_secret_if_it_is_the_only_one() {
    let scene = Scene::new();
    let start = || scene.start().without("SECRET_ID");
    let event = |file| start().env("ibmendata", scene.payload(file)).run();
    let run = event("rotated-public.json");
    run.expect(0, "replaced");
    assert!(run.log.contains("SECRET_ID is unset"), "{}", run.log);
    event("rotated-many.json").rejected(3, "event-ambiguous");
    // nothing names a secret: a schedule has nothing to do, a person made a mistake
    scene.cloud.clear_journal();
    for (variable, value) in [
        ("ibmendata", r#"{"type":"com.example.other"}"#),
        ("CE_TYPE", "dev.knative.sources.ping"),
    ] {
        let run = start().env(variable, value).run();
        run.expect(0, "ignored");
        assert!(run.log.contains("SECRET_ID is unset"), "{}", run.log);
    }
    start().run().rejected(2, "configuration");
    nobody_was_asked(&scene);
}

/// The deployed certificate counts even when it cannot be read: it cannot vouch for another.
#[test]
fn without_secret_id_a_certificate_for_other_names_is_refused() {
    let scene = Scene::new();
    let other = scene.cloud.issue(CertificateSpec {
        names: vec!["blog.example.com".to_owned()],
        ..CertificateSpec::default()
    });
    let event = scene.payload("rotated-public.json");
    let event = event.replace(&scene.secret, &other);
    let start = || scene.start().without("SECRET_ID").env("ibmendata", &event);
    let run = start().run();
    let message = &run.refused(8, "names-lost").message;
    assert!(message.contains("shop.example.com"), "{message}");
    let project = &scene.world.project_id;
    scene
        .cloud
        .put_tls_secret(project, "shop-tls", "placeholder", "none");
    start().run().refused(8, "names-lost");
}

/// The event is only a hint: addresses in it are never called.
#[test]
fn urls_in_the_event_are_never_used() {
    let scene = Scene::new();
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}/api", elsewhere.local_addr().unwrap());
    let event = rotated(&scene, |event| {
        event["data"]["source_instance_api_private_url"] = json!(url);
        event["data"]["source_instance_api_public_url"] = json!(url);
    });
    scene.run_event(&event).expect(0, "replaced");
    assert!(elsewhere.accept().is_err(), "somebody called {url}");
}

#[test]
fn text_from_the_event_cannot_forge_log_lines() {
    let scene = Scene::new();
    let event = rotated(&scene, |event| {
        event["id"] = json!("x\n{\"level\":\"info\",\"message\":\"all is well\"}");
        event["type"] = json!("com.ibm.cloud.secrets-manager.\u{1b}[2J\nforged");
    });
    for code_engine in [true, false] {
        let mut start = scene.start().env("ibmendata", event.clone());
        if code_engine {
            start = start.env("CE_JOBRUN", "run-1");
        }
        let run = start.run();
        let forged = "{\"level\":\"info\",\"message\":\"all";
        assert!(!run.log.lines().any(|line| line.starts_with(forged)));
        assert!(!run.log.contains('\u{1b}'), "{}", run.log);
        assert!(!run.target().message.contains(['\u{1b}', '\n']));
    }
}

#[test]
fn a_created_secret_whose_order_is_pending_is_no_failure() {
    let scene = Scene::new();
    scene.cloud.set_state(&scene.secret, 0);
    let run = scene.run_event(&scene.payload("created.json"));
    let target = run.expect(0, "ignored");
    assert_eq!(target.findings[0].code, "not-issued");
    // for a rotation it is one, and another attempt may succeed
    let run = scene.run_event(&scene.payload("rotated-public.json"));
    run.refused(6, "not-issued");
    assert!(run.report.retryable);
}
