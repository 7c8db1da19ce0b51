use local_cloud::{AppFate, LocalCloud, Options};
use serde_json::{Value, json};

use crate::client::{Answer, get, start, start_with, token, write};

struct App {
    cloud: LocalCloud,
    url: String,
    token: String,
}

/// An app that reads a TLS secret in every way there is.
fn app(options: Options) -> App {
    let cloud = start_with(options);
    let project = cloud.world().project_id;
    cloud.create_app(
        &project,
        "shop",
        json!({
            "run_env_variables": [
                { "type": "secret_full_reference", "reference": "shop-tls" },
                { "type": "secret_key_reference", "name": "KEY", "reference": "shop-tls", "key": "tls.key" },
            ],
            "run_volume_mounts": [
                { "type": "secret", "mount_path": "/tls", "reference": "shop-tls" },
                { "type": "secret", "mount_path": "/one", "reference": "shop-tls", "sub_path": "tls.crt" },
            ],
            "scale_min_instances": 2,
        }),
    );
    let url = format!(
        "{}/v2/projects/{project}/apps/shop",
        cloud.code_engine_url()
    );
    let token = token(&cloud);
    App { cloud, url, token }
}

impl App {
    fn read(&self) -> Value {
        get(&self.url, &self.token).json()
    }

    fn patch(&self, tag: &str, patch: &Value) -> Answer {
        write("PATCH", &self.url, &self.token, Some(tag), patch)
    }

    /// A change that makes a revision.
    fn change(&self, value: &str) -> Value {
        let variables = json!([{ "type": "literal", "name": "DIGEST", "value": value }]);
        let patched = self.patch("*", &json!({ "run_env_variables": variables }));
        assert_eq!(patched.status, 200, "{}", patched.json());
        patched.json()
    }

    fn fate(&self, fate: AppFate) {
        let project = self.cloud.world().project_id;
        self.cloud.set_app_fate(&project, "shop", fate);
    }

    fn revisions(&self) -> u32 {
        let project = self.cloud.world().project_id;
        self.cloud.app_revisions(&project, "shop")
    }
}

/// `status`, reason, number of the latest created and of the latest ready revision.
fn status(app: &Value) -> (String, String, u32, u32) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let number = |field: &str| {
        let revision = text(&app["status_details"][field]);
        revision.strip_prefix("shop-").unwrap().parse().unwrap()
    };
    (
        text(&app["status"]),
        text(&app["status_details"]["reason"]),
        number("latest_created_revision"),
        number("latest_ready_revision"),
    )
}

fn is(word: &str, reason: &str, created: u32, ready: u32) -> (String, String, u32, u32) {
    (word.into(), reason.into(), created, ready)
}

#[test]
fn arrays_are_replaced_whole_and_the_rest_stays() {
    let app = app(Options::default());
    let before = app.read();
    let tag = before["entity_tag"].as_str().unwrap();
    let variables = json!([{ "type": "literal", "name": "A", "value": "1" }]);
    let patched = app.patch(tag, &json!({ "run_env_variables": variables }));
    let after = patched.json();
    assert_eq!(after["run_env_variables"], variables);
    assert_eq!(after["run_volume_mounts"], before["run_volume_mounts"]);
    assert_eq!(after["scale_min_instances"], 2);
    assert_eq!(app.patch(tag, &json!({})).status, 412, "the tag is used up");
    let headless = write("PATCH", &app.url, &app.token, None, &json!({}));
    assert_eq!(headless.status, 428);
    let removed = app.patch("*", &json!({ "scale_min_instances": null }));
    assert!(removed.json().get("scale_min_instances").is_none());
}

#[test]
fn only_fields_of_the_template_are_patchable() {
    let app = app(Options::default());
    let computed = app.read()["computed_env_variables"].clone();
    assert_eq!(computed.as_array().unwrap().len(), 6);
    for patch in [
        json!({ "computed_env_variables": [] }),
        json!({ "status": "ready" }),
        json!({ "name": "other" }),
        json!({ "run_env_variables": [], "nothing": 1 }),
    ] {
        assert_eq!(app.patch("*", &patch).status, 400, "{patch}");
    }
    assert_eq!(app.revisions(), 1);
    assert_eq!(app.read()["computed_env_variables"], computed);
    let all = app.patch("*", &json!({ "run_as_user": 1100, "scale_cpu_limit": "1" }));
    assert_eq!((all.status, app.revisions()), (200, 2));
}

#[test]
fn ready_at_once_late_never_or_failed() {
    let app = app(Options::default());
    assert_eq!(status(&app.read()), is("ready", "ready", 1, 1));
    assert_eq!(status(&app.change("a")), is("ready", "ready", 2, 2));
    app.fate(AppFate::ReadyAfterReads(2));
    assert_eq!(status(&app.change("b")), is("deploying", "deploying", 3, 2));
    for _ in 0..2 {
        assert_eq!(status(&app.read()), is("deploying", "deploying", 3, 2));
    }
    assert_eq!(status(&app.read()), is("ready", "ready", 3, 3));
    app.fate(AppFate::Deploying);
    app.change("c");
    for _ in 0..5 {
        assert_eq!(status(&app.read()), is("deploying", "deploying", 4, 3));
    }
    // the one under way, too
    app.fate(AppFate::Failed);
    let failed = is("failed", "ready_but_latest_revision_failed", 4, 3);
    assert_eq!(status(&app.read()), failed);
    app.fate(AppFate::Ready);
    assert_eq!(status(&app.read()), failed, "what failed stays failed");
    assert_eq!(status(&app.change("d")), is("ready", "ready", 5, 5));
    assert_eq!(app.revisions(), 5);
}

#[test]
fn a_patch_without_effect_by_a_knob() {
    for (noop_patch_makes_revision, revisions) in [(false, 2), (true, 3)] {
        let app = app(Options {
            noop_patch_makes_revision,
            ..Options::default()
        });
        let first = app.change("a")["entity_tag"].clone();
        assert_ne!(app.change("a")["entity_tag"], first);
        assert_eq!(app.revisions(), revisions);
    }
}

#[test]
fn the_status_lags_by_a_knob() {
    let app = app(Options {
        revisions_lag: true,
        ..Options::default()
    });
    let patched = app.change("a");
    assert_eq!(status(&patched), is("ready", "ready", 1, 1));
    assert_eq!(patched["run_env_variables"][0]["value"], "a");
    assert_eq!(status(&app.read()), is("ready", "ready", 1, 1));
    assert_eq!(status(&app.read()), is("ready", "ready", 2, 2));
}

#[test]
fn the_tag_moves_with_the_status_by_a_knob() {
    for status_moves_tag in [false, true] {
        let app = app(Options {
            status_moves_tag,
            ..Options::default()
        });
        app.fate(AppFate::ReadyAfterReads(0));
        let patched = app.change("a")["entity_tag"].clone();
        let ready = app.read();
        assert_eq!(ready["status"], "ready");
        assert_eq!(ready["entity_tag"] != patched, status_moves_tag);
        assert_eq!(app.read()["entity_tag"], ready["entity_tag"]);
    }
}

#[test]
fn failed_may_be_called_warning() {
    let app = app(Options {
        failed_app_status: "warning".into(),
        ..Options::default()
    });
    app.fate(AppFate::Failed);
    let failed = is("warning", "ready_but_latest_revision_failed", 2, 1);
    assert_eq!(status(&app.change("a")), failed);
}

#[test]
fn apps_in_pages_and_as_the_library_sees_them() {
    let cloud = start();
    let project = cloud.world().project_id;
    for name in ["a", "b", "c"] {
        cloud.create_app(&project, name, json!({}));
    }
    cloud.set_app_fate(&project, "c", AppFate::ReadyAfterReads(1));
    let url = format!("{}/v2/projects/{project}/apps", cloud.code_engine_url());
    let token = token(&cloud);
    let page = get(&format!("{url}?limit=2"), &token).json();
    let names = |page: &Value| {
        let apps = page["apps"].as_array().unwrap().clone();
        apps.iter()
            .map(|app| app["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&page), ["a", "b"]);
    let start = page["next"]["start"].as_str().unwrap();
    let rest = get(&format!("{url}?limit=2&start={start}"), &token).json();
    assert_eq!((names(&rest), rest.get("next")), (vec![json!("c")], None));
    // neither a list nor the library's look is a read
    let c = format!("{url}/c");
    write("PATCH", &c, &token, Some("*"), &json!({ "run_as_user": 1 }));
    for _ in 0..3 {
        let seen = cloud.app(&project, "c").unwrap();
        assert_eq!(seen["status"], "deploying");
        assert_eq!(seen["resource_type"], "app_v2");
        assert_eq!(get(&url, &token).json()["apps"][2]["status"], "deploying");
    }
    assert_eq!(get(&c, &token).json()["status"], "deploying");
    assert_eq!(get(&c, &token).json()["status"], "ready");
}
