use local_cloud::{AppFate, CertificateSpec, EntityTags, Options, TimerEvent};
use serde_json::{Value, json};

use crate::client::{Answer, Stage};

fn read(stage: &Stage) -> Answer {
    stage.code_engine("GET", "/secrets/shop-tls", &Value::Null)
}

/// The form, the header around the tag, is `entity_tag` in the body, does the header's text match?
#[test]
fn the_form_of_the_entity_tag() {
    for (entity_tags, header, header_matches) in [
        (EntityTags::Bare, Some(""), true),
        (EntityTags::Quoted, Some("\""), true),
        (EntityTags::Weak, Some("W/\""), true),
        (EntityTags::Weakened, Some("W/\""), false),
        (EntityTags::EmptyHeader, None, true),
        (EntityTags::BodyOnly, None, false),
    ] {
        let stage = Stage::new(Options {
            entity_tags,
            ..Options::default()
        });
        let answer = read(&stage);
        let tag = answer.json()["entity_tag"].as_str().unwrap().to_owned();
        let quote = if header.unwrap_or_default().is_empty() {
            ""
        } else {
            "\""
        };
        let expected = header.map(|before| format!("{before}{tag}{quote}"));
        let given = answer.header("etag");
        let empty = (entity_tags == EntityTags::EmptyHeader).then(String::new);
        assert_eq!(given, expected.or(empty), "{entity_tags:?}");
        assert_eq!(stage.put("8").status, 412);
        // an empty tag is no tag
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            assert_eq!(
                stage.put(&given).status == 200,
                header_matches,
                "{entity_tags:?}"
            );
        }
        let tag = read(&stage).json()["entity_tag"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(stage.put(&tag).status, 200, "{entity_tags:?}");
        assert_eq!(stage.put(&tag).status, 412, "the tag is used up");
        assert_eq!(stage.put("*").status, 200);
    }
}

#[test]
fn statuses_tags_lists_and_optional_fields() {
    for usual in [true, false] {
        let stage = Stage::new(Options {
            conflict_status: if usual { 412 } else { 409 },
            missing_if_match_status: if usual { 428 } else { 400 },
            digit_tags: usual,
            data_in_lists: usual,
            optional_fields: usual,
            slow_bodies: !usual,
            ..Options::default()
        });
        assert_eq!(stage.put("\"x\"").status, if usual { 412 } else { 409 });
        assert_eq!(stage.put("").status, if usual { 428 } else { 400 });
        let tag = read(&stage).json()["entity_tag"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(tag.chars().all(|c| c.is_ascii_digit()), usual, "{tag}");
        let documented = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-';
        assert!(tag.chars().all(documented), "{tag}");
        let listed = stage.code_engine("GET", "/secrets", &Value::Null).json();
        assert_eq!(listed["secrets"][0]["data"].is_object(), usual);
        let secret = format!("secrets/{}", stage.secret);
        let versions = format!("{secret}/versions/current");
        for (path, optional) in [(secret, "name"), (versions, "alias")] {
            let body = stage.secrets_manager(&path).json();
            assert_eq!(body[optional].is_string(), usual, "{body}");
            assert!(body["certificate"].is_string() && body["serial_number"].is_string());
        }
    }
}

/// An app with a revision after its first, and what it shows: status, created, ready.
fn changed(options: Options, fate: AppFate) -> (Stage, Value) {
    let stage = Stage::new(options);
    stage.cloud.create_app(&stage.project, "shop", json!({}));
    stage.cloud.set_app_fate(&stage.project, "shop", fate);
    let patched = stage.code_engine("PATCH", "/apps/shop", &json!({ "run_as_user": 1 }));
    assert_eq!(patched.status, 200);
    (stage, patched.json())
}

fn status(app: &Value) -> (&str, &str, &str) {
    let revision = |which: &str| {
        let name = app["status_details"][which].as_str().unwrap();
        name.strip_prefix("shop-0000").unwrap()
    };
    let word = app["status"].as_str().unwrap();
    (
        word,
        revision("latest_created_revision"),
        revision("latest_ready_revision"),
    )
}

#[test]
fn revisions_of_apps() {
    for lag in [false, true] {
        let (stage, patched) = changed(
            Options {
                revisions_lag: lag,
                noop_patch_makes_revision: lag,
                status_moves_tag: lag,
                failed_app_status: if lag { "warning" } else { "failed" }.into(),
                ..Options::default()
            },
            AppFate::ReadyAfterReads(0),
        );
        let read = || stage.code_engine("GET", "/apps/shop", &Value::Null).json();
        let patch = |body: Value| stage.code_engine("PATCH", "/apps/shop", &body);
        if lag {
            assert_eq!(status(&patched), ("ready", "1", "1"));
            assert_eq!(status(&read()), ("ready", "1", "1"));
        } else {
            assert_eq!(status(&patched), ("deploying", "2", "1"));
        }
        let ready = read();
        assert_eq!(status(&ready), ("ready", "2", "2"));
        assert_eq!(ready["entity_tag"] != patched["entity_tag"], lag);
        patch(json!({ "run_as_user": 1 }));
        let revisions = stage.cloud.app_revisions(&stage.project, "shop");
        assert_eq!(revisions, if lag { 3 } else { 2 });
        stage
            .cloud
            .set_app_fate(&stage.project, "shop", AppFate::Failed);
        patch(json!({ "run_as_user": 2 }));
        let failed = read();
        let failed = if lag { read() } else { failed };
        assert_eq!(status(&failed).0, if lag { "warning" } else { "failed" });
        // arrays are replaced whole, null removes, and only the template can be patched
        assert_eq!(patch(json!({ "status": "ready" })).status, 400);
        let variables = json!([{ "type": "literal", "name": "A", "value": "1" }]);
        let body = json!({ "run_env_variables": variables, "scale_min_instances": null });
        let after = patch(body).json();
        assert_eq!(after["run_env_variables"], variables);
        assert_eq!(
            (after.get("scale_min_instances"), &after["run_as_user"]),
            (None, &json!(2))
        );
    }
}

#[test]
fn a_seed_chooses_and_the_same_seed_chooses_the_same() {
    let choices = |seed: u64| format!("{:?}", Options::hostile(seed));
    assert_eq!(choices(4711), choices(4711));
    let forms: Vec<_> = (0..6)
        .map(|n| Options::hostile(n << 13).entity_tags)
        .collect();
    assert!(
        forms
            .iter()
            .enumerate()
            .all(|(n, form)| !forms[..n].contains(form))
    );
    let timers = [0, 1 << 16].map(|seed| Options::hostile(seed).timer_event);
    assert_eq!(timers, [TimerEvent::CloudEvent, TimerEvent::BareData]);
    for bit in [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12] {
        assert_ne!(choices(1 << bit), choices(0), "{bit}");
    }
    // and events name secrets without a CRN
    let stage = Stage::running(
        "printf %s \"$ibmendata\"",
        Options {
            secret_id_as_crn: false,
            ..Options::default()
        },
    );
    stage.cloud.issue(CertificateSpec {
        name: "other".into(),
        ..CertificateSpec::default()
    });
    let event = crate::events::rotated(&stage, &[&stage.secret]);
    assert_eq!(event["data"]["secrets"][0]["secret_id"], stage.secret);
}
