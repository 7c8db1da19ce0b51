use serde_json::{Value, json};

use crate::harness::{Scene, TLS_SECRET, payload};

/// A rotation's event with changes.
fn rotated(scene: &Scene, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(&scene.payload("rotated-public.json")).unwrap();
    change(&mut event);
    event.to_string()
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
    assert!(scene.asked().is_empty(), "{:?}", scene.asked());
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
    assert!(scene.asked().is_empty(), "{:?}", scene.asked());
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
    let reasons = run.report.targets.iter().map(|t| t.reason.as_deref());
    assert_eq!(reasons.collect::<Vec<_>>(), [None, Some("event-invalid")]);
    assert_eq!(run.actions(), ["replaced", "refused"]);
    assert_eq!(scene.served(), scene.serial());
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
    for (variable, value) in
        [("ibmendata", r#"{"type":"com.example.other"}"#), ("CE_TYPE", "dev.knative.sources.ping")]
    {
        let run = start().env(variable, value).run();
        run.expect(0, "ignored");
        assert!(run.log.contains("SECRET_ID is unset"), "{}", run.log);
    }
    start().run().rejected(2, "configuration");
    assert!(scene.asked().is_empty(), "{:?}", scene.asked());
}

/// What is deployed cannot be read, so it cannot vouch for what the event names.
#[test]
fn without_secret_id_a_certificate_that_nothing_vouches_for_is_refused() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    scene.cloud.put_tls_secret(project, TLS_SECRET, "placeholder", "none");
    let start = scene.start().without("SECRET_ID");
    let event = scene.payload("rotated-public.json");
    let run = start.env("ibmendata", event).run();
    let message = &run.refused(8, "names-lost").message;
    assert!(message.contains("SECRET_ID is unset"), "{message}");
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
    for code_engine in ["run-1", ""] {
        let start = scene.start().env("ibmendata", event.clone());
        let run = start.env("CE_JOBRUN", code_engine).run();
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
