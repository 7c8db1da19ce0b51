use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use local_cloud::{CertificateSpec, Options};
use serde_json::{Value, json};

use crate::harness::{Scene, payload};

/// A rotation's event with changes.
fn changed(scene: &Scene, file: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(&scene.payload(file)).unwrap();
    change(&mut event);
    event.to_string()
}

fn rotated(scene: &Scene, change: impl FnOnce(&mut Value)) -> String {
    changed(scene, "rotated-public.json", change)
}

/// Runs that were stopped at the event asked nobody for anything.
#[track_caller]
fn nobody_was_asked(scene: &Scene) {
    assert_eq!(scene.asked(), Vec::<String>::new());
}

#[test]
fn every_accepted_form_of_the_body_does_the_same() {
    let scene = Scene::new();
    let whole: Value = serde_json::from_str(&scene.payload("rotated-public.json")).unwrap();
    let data = whole["data"].clone();
    let without_data = |key: &str, value: Value| {
        let mut event = whole.clone();
        event.as_object_mut().unwrap().remove("data");
        event[key] = value;
        event.to_string()
    };
    let forms = [
        ("pretty-printed", scene.payload("rotated-public.json")),
        ("bare id", scene.payload("rotated-public-uuid.json")),
        ("compact", whole.to_string()),
        ("data alone", data.to_string()),
        ("text in a text", json!(whole.to_string()).to_string()),
        (
            "data alone, as a text in a text",
            json!(data.to_string()).to_string(),
        ),
        (
            "data as a text",
            without_data("data", json!(data.to_string())),
        ),
        (
            "data_base64",
            without_data(
                "data_base64",
                json!(BASE64_STANDARD.encode(data.to_string())),
            ),
        ),
    ];
    for (form, event) in forms {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let run = scene.run_event(&event);
        assert_eq!(
            (form, run.expect(0, "replaced").action.as_str()),
            (form, "replaced")
        );
        assert_eq!(run.report.trigger.as_deref(), Some("event-notifications"));
        let id = form.starts_with("data alone").then_some(None);
        assert_eq!(
            run.report.event_id.as_deref(),
            id.unwrap_or(Some("5a90d3e7-8c14-4b26-a7f9-31e6d0c45b82")),
            "{form}"
        );
    }
}

#[test]
fn the_name_of_the_variable_may_be_in_any_case() {
    let scene = Scene::new();
    let run = scene
        .start()
        .env("IBMENDATA", scene.payload("rotated-public.json"))
        .run();
    run.expect(0, "replaced");
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
fn of_several_triggers_event_notifications_wins() {
    let scene = Scene::new();
    let run = scene
        .start()
        .env("ibmendata", scene.payload("rotated-public.json"))
        .env("CE_TYPE", "dev.knative.sources.ping")
        .env("CE_DATA", "{}")
        .run();
    run.expect(0, "replaced");
    assert_eq!(run.report.trigger.as_deref(), Some("event-notifications"));
}

#[test]
fn all_three_certificate_types_are_synced() {
    for (file, id) in [
        (
            "rotated-imported.json",
            "61d70b3c-e8f4-45a9-92c6-3f5b8a1e0d47",
        ),
        (
            "rotated-private.json",
            "d8295ac6-13f0-4e7b-a6d4-95b0c7e2138f",
        ),
        ("created.json", "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852"),
    ] {
        let scene = Scene::new();
        let event = scene.localized(&payload(file).replace(id, &scene.secret));
        scene.run_event(&event).expect(0, "replaced");
    }
}

#[test]
fn of_several_secrets_each_configured_one_is_handled_and_the_others_are_named() {
    let scene = Scene::new();
    let run = scene.run_event(&scene.payload("rotated-many.json"));
    assert_eq!(run.status, 0, "{run:#?}");
    let told: Vec<_> = run
        .report
        .targets
        .iter()
        .map(|t| {
            (
                t.secret_id.as_deref().unwrap(),
                t.action.as_str(),
                t.reason.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (scene.secret.as_str(), "replaced", None),
            (
                "9b3a57d1-0c6e-4f82-8a4d-17e5c2f9063b",
                "ignored",
                Some("event-ignored")
            ),
            (
                "c41e0f7a-5d28-4963-b1fa-80d93e6c7245",
                "ignored",
                Some("event-ignored")
            ),
        ]
    );
    assert_eq!(
        run.report.targets[2].secret_name.as_deref(),
        Some("other-team-cert")
    );
    assert_eq!(scene.writes().len(), 1);
}

#[test]
fn a_secret_that_stands_twice_in_the_event_is_written_once() {
    let scene = Scene::new();
    let event = rotated(&scene, |event| {
        let mut again = event["data"]["secrets"][0].clone();
        again["secret_id"] = json!(scene.secret);
        event["data"]["secrets"].as_array_mut().unwrap().push(again);
    });
    scene.run_event(&event).expect(0, "replaced");
    assert_eq!(scene.writes().len(), 1);
}

#[test]
fn what_is_not_for_us_is_ignored_by_name() {
    let scene = Scene::new();
    let event_type = |text: &'static str| {
        rotated(&scene, |event| {
            event["type"] = json!(text);
            event["data"].as_object_mut().unwrap().remove("event_type");
        })
    };
    for (event, named) in [
        (scene.payload("sm-test-event.json"), "test event"),
        (scene.payload("test-destination.json"), "destination:test"),
        (
            scene.payload("rotation-failed.json"),
            "secret_rotation_failed",
        ),
        (
            scene.payload("expiring-many.json"),
            "secret_about_to_expire",
        ),
        (
            event_type("com.ibm.cloud.secrets-manager.secret_expired"),
            "secret_expired",
        ),
        (
            event_type("com.ibm.cloud.secrets-manager.Secret_Rotated"),
            "Secret_Rotated",
        ),
        (
            rotated(&scene, |event| {
                event["data"]["secret_type"] = json!("arbitrary");
                let other = "00000000-1111-4222-8333-444444444444";
                event["data"]["secrets"] = json!([{ "secret_id": other }]);
            }),
            "arbitrary",
        ),
    ] {
        let run = scene.run_event(&event);
        let target = run.expect(0, "ignored");
        assert_eq!(target.reason.as_deref(), Some("event-ignored"));
        assert!(
            target.message.contains(named),
            "{named}: {}",
            target.message
        );
    }
    nobody_was_asked(&scene);
}

#[test]
fn test_events_are_acknowledged_whatever_their_source() {
    let scene = Scene::new();
    for file in ["sm-test-event.json", "test-destination.json"] {
        // as it stands in the file: another instance
        scene.run_event(&payload(file)).expect(0, "ignored");
    }
    nobody_was_asked(&scene);
}

#[test]
fn an_event_that_contradicts_itself_changes_nothing() {
    let scene = Scene::new();
    let event = rotated(&scene, |event| {
        event["data"]["event_type"] = json!("secret_expired")
    });
    let run = scene.run_event(&event);
    assert_eq!(
        run.expect(0, "ignored").reason.as_deref(),
        Some("event-ignored")
    );
    nobody_was_asked(&scene);
}

#[test]
fn other_subscriptions_are_ignored() {
    let scene = Scene::new();
    let run = scene
        .start()
        .env("CE_TYPE", "com.ibm.cloud.cos.document.write")
        .env("CE_DATA", "{}")
        .run();
    let target = run.expect(0, "ignored");
    assert!(
        target.message.contains("com.ibm.cloud.cos.document.write"),
        "{}",
        target.message
    );
    nobody_was_asked(&scene);
}

#[test]
fn what_cannot_be_read_is_rejected() {
    let scene = Scene::new();
    let deep = (0..5).fold(scene.payload("rotated-public.json"), |text, _| {
        json!(text).to_string()
    });
    for event in [
        "",
        "   ",
        "not json",
        "{\"data\":",
        "[]",
        "\"text\"",
        "null",
        "17",
        r#"{"type":"com.ibm.cloud.secrets-manager.secret_rotated","data_base64":"?"}"#,
        r#"{"type":"com.ibm.cloud.secrets-manager.secret_rotated","data":"not json"}"#,
        &deep,
    ] {
        let run = scene.run_event(event);
        run.rejected(3, "event-invalid");
        assert!(!run.report.retryable);
    }
    nobody_was_asked(&scene);
}

/// 64 KiB is what Event Notifications takes.
#[test]
fn the_largest_event_passes_and_the_first_larger_one_does_not() {
    let scene = Scene::new();
    let event = rotated(&scene, |_| {});
    let padded = |length: usize| event.clone() + &" ".repeat(length - event.len());
    scene.run_event(&padded(64 * 1024)).expect(0, "replaced");
    scene.cloud.clear_journal();
    scene
        .run_event(&padded(64 * 1024 + 1))
        .rejected(3, "event-invalid");
    nobody_was_asked(&scene);
}

#[test]
fn a_message_on_kafka_may_be_anything() {
    let scene = Scene::new();
    for data in ["", "hello", "[]"] {
        let run = scene
            .start()
            .env("CE_TYPE", "dev.knative.kafka.event")
            .env("CE_DATA", data)
            .run();
        assert_eq!(run.status, 3, "{run:#?}");
    }
    nobody_was_asked(&scene);
}

/// An entry's type is part of the hint, like everything in an event.
#[test]
fn a_configured_target_is_processed_whatever_type_the_event_names() {
    let scene = Scene::new();
    let event = rotated(&scene, |event| {
        event["data"]["secret_type"] = json!("arbitrary")
    });
    scene.run_event(&event).expect(0, "replaced");
}

#[test]
fn an_event_without_a_type_or_without_secrets_is_rejected() {
    let scene = Scene::new();
    let secrets = |value: Value| rotated(&scene, |event| event["data"]["secrets"] = value);
    for event in [
        r#"{"specversion":"1.0","data":{"secrets":[]}}"#.to_owned(),
        r#"{"data":{"source_instance_crn":"x"}}"#.to_owned(),
        secrets(Value::Null),
        secrets(json!([])),
        secrets(json!({})),
        secrets(json!("x")),
        rotated(&scene, |event| {
            event["data"].as_object_mut().unwrap().remove("secrets");
        }),
    ] {
        scene.run_event(&event).rejected(3, "event-invalid");
    }
    nobody_was_asked(&scene);
}

#[test]
fn an_event_of_another_instance_is_rejected() {
    let scene = Scene::new();
    let other = scene.world.instance_crn.replace(
        &scene.world.instance_id,
        "00000000-1111-4222-8333-444444444444",
    );
    let with = |place: &str, crn: &str| {
        rotated(&scene, |event| {
            *event.pointer_mut(place).unwrap() = json!(crn)
        })
    };
    for event in [
        // all three places name it
        payload("rotated-public.json"),
        with("/source", &other),
        with("/ibmensourceid", &other),
        with("/data/source_instance_crn", &other),
        with(
            "/source",
            &scene.world.instance_crn.replace("secrets-manager", "kms"),
        ),
        with(
            "/source",
            &scene.world.instance_crn.replace("eu-de", "us-south"),
        ),
        with("/source", "https://attacker.example"),
        with("/source", ""),
        rotated(&scene, |event| {
            event
                .as_object_mut()
                .unwrap()
                .retain(|key, _| key == "type" || key == "data");
            event["data"]
                .as_object_mut()
                .unwrap()
                .remove("source_instance_crn");
        }),
    ] {
        scene.run_event(&event).rejected(3, "event-foreign");
    }
    nobody_was_asked(&scene);
}

#[test]
fn an_unknown_own_instance_is_said_and_the_sources_must_agree_among_themselves() {
    let scene = Scene::new();
    let start = || scene.start().without("SECRETS_MANAGER_INSTANCE_ID");
    let run = start()
        .env("ibmendata", scene.payload("rotated-public.json"))
        .run();
    run.expect(0, "replaced");
    assert!(
        run.log.contains("SECRETS_MANAGER_INSTANCE_ID"),
        "{}",
        run.log
    );
    let event = rotated(&scene, |event| {
        event["source"] = json!(scene.world.event_notifications_instance_crn);
    });
    start()
        .env("ibmendata", event)
        .run()
        .rejected(3, "event-foreign");
}

#[test]
fn a_bad_entry_is_rejected_and_the_others_are_handled() {
    let foreign = |text: &str, with: &str| text.replace("secrets-manager:eu-de", with);
    let mut seen = 0;
    for bad in [
        json!({}),
        json!(null),
        json!({ "secret_id": 5 }),
        json!({ "secret_id": "" }),
        json!({ "secret_id": "2F6C8E90-4B1D-4D7A-9E35-C0A71B64D852" }),
        json!({ "secret_id": " 2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852" }),
        json!({ "secret_id": "../../../secret_groups" }),
        json!({ "secret_id": "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852/versions" }),
        json!({ "secret_id": "2f6c8e90%2f..-4b1d-4d7a-9e35-c0a71b64d852" }),
        json!({ "secret_id": "crn:v1:bluemix:public:secrets-manager:eu-de:a/1:2:secret:3" }),
    ] {
        let scene = Scene::new();
        let event = rotated(&scene, |event| {
            event["data"]["secrets"]
                .as_array_mut()
                .unwrap()
                .insert(0, bad.clone());
        });
        let run = scene.run_event(&event);
        assert_eq!(run.status, 3, "{bad}: {run:#?}");
        let [good, rejected] = run.report.targets.as_slice() else {
            panic!("{run:#?}")
        };
        assert_eq!(good.action, "replaced");
        assert_eq!(
            (rejected.action.as_str(), rejected.reason.as_deref()),
            ("refused", Some("event-invalid"))
        );
        assert_eq!(scene.served(), scene.serial());
        seen += 1;
    }
    assert_eq!(seen, 10);

    let scene = Scene::new();
    for with in ["secrets-manager:us-south", "kms:eu-de"] {
        let event = rotated(&scene, |event| {
            let id = event["data"]["secrets"][0]["secret_id"].as_str().unwrap();
            event["data"]["secrets"][0]["secret_id"] = json!(foreign(id, with));
        });
        let run = scene.run_event(&event);
        assert_eq!(
            (run.status, run.target().action.as_str()),
            (3, "refused"),
            "{run:#?}"
        );
    }
    nobody_was_asked(&scene);
}

#[test]
fn unknown_keys_and_severities_do_not_matter() {
    let scene = Scene::new();
    let event = rotated(&scene, |event| {
        event["ibmenseverity"] = json!("LOW");
        event["subject"] = json!("x");
        event["ibmenmailto"] = json!(["x"]);
        event["instance_crn"] = json!(7);
        event["data"]["unknown"] = json!({ "deep": [1, 2, 3] });
        event["data"]["secrets"][0]["unknown"] = json!(null);
        event.as_object_mut().unwrap().remove("notification_id");
    });
    scene.run_event(&event).expect(0, "replaced");
}

/// The event is only a hint: addresses in it are never called.
#[test]
fn urls_in_the_event_are_never_used() {
    let scene = Scene::new();
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}/api", elsewhere.local_addr().unwrap());
    let event = rotated(&scene, |event| {
        for key in [
            "source_instance_api_private_url",
            "source_instance_api_public_url",
        ] {
            event["data"][key] = json!(url);
        }
    });
    scene.run_event(&event).expect(0, "replaced");
    assert!(elsewhere.accept().is_err(), "somebody called {url}");
}

#[test]
fn text_from_the_event_cannot_forge_log_lines() {
    let scene = Scene::new();
    let event = rotated(&scene, |event| {
        event["id"] = json!("x\n{\"level\":\"info\",\"message\":\"all is well\"}");
        event["type"] = json!("com.example.\u{1b}[2J\nforged");
    });
    for format in ["json", "text"] {
        let run = scene
            .start()
            .env("ibmendata", event.clone())
            .env("LOG_FORMAT", format)
            .run();
        assert!(
            !run.log
                .lines()
                .any(|line| line.starts_with("{\"level\":\"info\",\"message\":\"all")),
            "{}",
            run.log
        );
        assert!(!run.log.contains('\u{1b}') && !run.target().message.contains('\u{1b}'));
        assert!(!run.target().message.contains('\n'));
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

#[test]
fn events_name_secrets_by_crn_or_by_bare_id() {
    for secret_id_as_crn in [true, false] {
        let scene = Scene::with(
            Options {
                secret_id_as_crn,
                ..Options::default()
            },
            CertificateSpec::default(),
        );
        scene.create_job(&local_cloud::JobSettings::default());
        scene
            .cloud
            .subscribe_job(&scene.world.project_id, crate::harness::JOB);
        scene.cloud.rotate(&[&scene.secret]);
        let run = scene.cloud.job_runs(&scene.world.project_id).pop().unwrap();
        scene.finished(&run.name).1[0].expect(0, "replaced");
    }
}
