use local_cloud::{AppFate, EntityTags, Options, TimerEvent};
use serde_json::{Value, json};

use crate::client::{Answer, Stage};
use crate::events::{PRINT, rotated};

fn read(stage: &Stage) -> Answer {
    stage.code_engine("GET", "/secrets/shop-tls", &Value::Null)
}

/// The tag in the body.
fn tag(stage: &Stage) -> String {
    read(stage).json()["entity_tag"].as_str().unwrap().to_owned()
}

/// The form, the header for the tag 7, does the header's text match?
#[test]
fn the_form_of_the_entity_tag() {
    for (entity_tags, header, header_matches) in [
        (EntityTags::Bare, Some("7"), true),
        (EntityTags::Quoted, Some("\"7\""), true),
        (EntityTags::Weak, Some("W/\"7\""), true),
        (EntityTags::Weakened, Some("W/\"7\""), false),
        // an empty tag is no tag
        (EntityTags::EmptyHeader, Some(""), false),
        (EntityTags::BodyOnly, None, false),
    ] {
        let stage = Stage::new(Options { entity_tags, ..Options::default() });
        let (answer, now) = (read(&stage), tag(&stage));
        let given = answer.header("etag");
        assert_eq!(given, header.map(|header| header.replace('7', &now)).as_deref());
        assert_eq!(stage.put("8").status, 412);
        let matches = given.is_some_and(|given| stage.put(given).status == 200);
        assert_eq!(matches, header_matches, "{entity_tags:?}");
        let now = tag(&stage);
        let statuses = [&now, &now, "*"].map(|tag| stage.put(tag).status);
        assert_eq!(statuses, [200, 412, 200], "{entity_tags:?}: the tag is used up");
    }
}

#[test]
fn statuses_tags_lists_and_optional_fields() {
    for usual in [true, false] {
        let (stale, missing) = if usual { (412, 428) } else { (409, 400) };
        let stage = Stage::new(Options {
            conflict_status: stale,
            missing_if_match_status: missing,
            digit_tags: usual,
            data_in_lists: usual,
            optional_fields: usual,
            slow_bodies: !usual,
            ..Options::default()
        });
        assert_eq!(stage.put("\"x\"").status, stale);
        assert_eq!(stage.put("").status, missing);
        let tag = tag(&stage);
        assert_eq!(tag.chars().all(|c| c.is_ascii_digit()), usual, "{tag}");
        let documented = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-';
        assert!(tag.chars().all(documented), "{tag}");
        let listed = stage.code_engine("GET", "/secrets", &Value::Null).json();
        assert_eq!(listed["secrets"][0]["data"].is_object(), usual);
        let secret = format!("secrets/{}", stage.secret);
        let version = format!("{secret}/versions/current");
        for (path, optional) in [(secret, "name"), (version, "alias")] {
            let body = stage.secrets_manager(&path).json();
            assert_eq!(body[optional].is_string(), usual, "{body}");
            assert!(body["certificate"].is_string() && body["serial_number"].is_string());
        }
    }
}

/// What an app shows: status, numbers of the created and of the ready revision.
fn status(app: &Value) -> String {
    let details = &app["status_details"];
    let revisions = ["latest_created_revision", "latest_ready_revision"];
    let revisions =
        revisions.map(|which| details[which].as_str().unwrap().trim_start_matches("shop-0000"));
    format!("{} {}", app["status"].as_str().unwrap(), revisions.join(" "))
}

#[test]
fn revisions_of_apps() {
    for lag in [false, true] {
        let failed_app_status = if lag { "warning" } else { "failed" };
        let stage = Stage::new(Options {
            revisions_lag: lag,
            noop_patch_makes_revision: lag,
            status_moves_tag: lag,
            failed_app_status: failed_app_status.into(),
            ..Options::default()
        });
        let (cloud, project) = (&stage.cloud, &stage.project);
        cloud.create_app(project, "shop", json!({}));
        cloud.set_app_fate(project, "shop", AppFate::ReadyAfterReads(0));
        let read = || stage.code_engine("GET", "/apps/shop", &Value::Null).json();
        let patch = |body: Value| stage.code_engine("PATCH", "/apps/shop", &body);
        let user = |id: u32| patch(json!({ "run_as_user": id })).json();
        let patched = user(1);
        if lag {
            assert_eq!([status(&patched), status(&read())], ["ready 1 1"; 2]);
        } else {
            assert_eq!(status(&patched), "deploying 2 1");
        }
        let ready = read();
        assert_eq!(status(&ready), "ready 2 2");
        assert_eq!(ready["entity_tag"] != patched["entity_tag"], lag);
        user(1);
        assert_eq!(cloud.app_revisions(project, "shop"), if lag { 3 } else { 2 });
        cloud.set_app_fate(project, "shop", AppFate::Failed);
        user(2);
        let failed = [read(), read()];
        assert_eq!(failed[usize::from(lag)]["status"], failed_app_status);
        // arrays are replaced whole, null removes, and only the template can be patched
        assert_eq!(patch(json!({ "status": "ready" })).status, 400);
        let variables = json!([{ "type": "literal", "name": "A", "value": "1" }]);
        let body = json!({ "run_env_variables": variables, "scale_min_instances": null });
        let after = patch(body).json();
        assert_eq!(after["run_env_variables"], variables);
        assert_eq!((after.get("scale_min_instances"), &after["run_as_user"]), (None, &json!(2)));
    }
}

#[test]
fn a_seed_chooses_and_the_same_seed_chooses_the_same() {
    let choices = |seed: u64| format!("{:?}", Options::hostile(seed));
    assert_eq!(choices(4711), choices(4711));
    let form = |n: u64| Options::hostile(n << 13).entity_tags;
    assert!((0..6).all(|n| (0..n).all(|m| form(m) != form(n))));
    let timers = [0, 1 << 16].map(|seed| Options::hostile(seed).timer_event);
    assert_eq!(timers, [TimerEvent::CloudEvent, TimerEvent::BareData]);
    for bit in [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12] {
        assert_ne!(choices(1 << bit), choices(0), "{bit}");
    }
    // and events name secrets without a CRN
    let stage = Stage::running(PRINT, Options { secret_id_as_crn: false, ..Options::default() });
    let event = rotated(&stage, &[&stage.secret]);
    assert_eq!(event["data"]["secrets"][0]["secret_id"], stage.secret);
}
