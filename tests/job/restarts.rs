use local_cloud::{AppFate, Fault, FaultKind, Options, route};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Run, Running, Scene, Start, TLS_SECRET, fields, spec_for};

const VARIABLE: &str = "TLS_SECRET_SHA256_SHOP_TLS";

fn environment_of(secret: &str) -> Value {
    json!({ "run_env_variables": [
        { "type": "literal", "name": "COLOUR", "value": "blue" },
        { "type": "secret_full_reference", "reference": secret, "prefix": "TLS_" },
    ] })
}

/// A scene with apps that read the TLS secret as environment.
fn with_apps(names: &[&str]) -> Scene {
    with_apps_and(|_| {}, names)
}

fn with_apps_and(choose: impl FnOnce(&mut Options), names: &[&str]) -> Scene {
    let scene = Scene::with(choose);
    for name in names {
        create(&scene, name, environment_of(TLS_SECRET));
    }
    scene
}

fn create(scene: &Scene, app: &str, fields: Value) {
    let project = &scene.world.project_id;
    scene.cloud.create_app(project, app, fields);
}

fn meets(scene: &Scene, app: &str, fate: AppFate) {
    let project = &scene.world.project_id;
    scene.cloud.set_app_fate(project, app, fate);
}

fn restarting<'a>(scene: &'a Scene, apps: &str) -> Start<'a> {
    scene.start().env("RESTART_APPS", apps)
}

fn revisions(scene: &Scene, app: &str) -> u32 {
    scene.cloud.app_revisions(&scene.world.project_id, app)
}

fn variable(scene: &Scene, app: &str, name: &str) -> Option<String> {
    let app = scene.cloud.app(&scene.world.project_id, app)?;
    let variables = app["run_env_variables"].as_array()?;
    let found = variables.iter().find(|v| v["name"] == name)?;
    assert_eq!(found["type"], "literal");
    Some(found["value"].as_str()?.to_owned())
}

fn restarted(run: &Run) -> &[String] {
    &run.target().restarted
}

/// One more TLS secret with this certificate, not rotated yet; and two targets with these apps.
fn second_secret(scene: &mut Scene, secret: &str, name: &str, apps: [&str; 2]) -> Value {
    let project = scene.world.project_id.clone();
    scene.cloud.deploy(secret, &project, name);
    scene.cloud.rotate_quietly(&[secret]);
    scene.watch(&project, name);
    json!([
        { "secret_id": scene.secret, "tls_secret": TLS_SECRET, "restart_apps": apps[0] },
        { "secret_id": secret, "tls_secret": name, "restart_apps": apps[1] },
    ])
}

#[test]
fn an_app_is_restarted_once_per_certificate() {
    let scene = with_apps(&["shop"]);
    let run = restarting(&scene, "shop").run();
    run.expect(0, "replaced");
    assert_eq!(restarted(&run), ["shop"]);
    let first = variable(&scene, "shop", VARIABLE).unwrap();
    assert_eq!((first.len(), revisions(&scene, "shop")), (64, 2));

    let run = restarting(&scene, "shop").run();
    run.expect(0, "unchanged");
    assert!(restarted(&run).is_empty(), "{run:#?}");
    assert_eq!(revisions(&scene, "shop"), 2);

    scene.cloud.rotate_quietly(&[&scene.secret]);
    restarting(&scene, "shop").run().expect(0, "replaced");
    assert_ne!(variable(&scene, "shop", VARIABLE).unwrap(), first);
    assert_eq!(revisions(&scene, "shop"), 3);
}

#[test]
fn everything_else_of_the_app_stays_as_it_is() {
    let scene = Scene::new();
    let fields = json!({
        "image_reference": "registry.example.com/shop:7",
        "run_arguments": ["--serve"],
        "run_env_variables": [
            { "type": "literal", "name": "COLOUR", "value": "blue" },
            { "type": "literal", "name": VARIABLE, "value": "of an older certificate" },
            { "type": "secret_key_reference", "name": "KEY", "reference": TLS_SECRET, "key": "tls_key" },
            { "type": "config_map_full_reference", "reference": "shop-config", "prefix": "X_" },
        ],
        "run_volume_mounts": [
            { "type": "secret", "mount_path": "/tls", "reference": TLS_SECRET },
        ],
        "scale_min_instances": 2,
    });
    create(&scene, "shop", fields);
    let app = || scene.cloud.app(&scene.world.project_id, "shop").unwrap();
    let mut expected = app();
    restarting(&scene, "shop").run().expect(0, "replaced");
    let mut after = app();
    let note = variable(&scene, "shop", VARIABLE).unwrap();
    let variables = expected["run_env_variables"].as_array_mut().unwrap();
    variables.remove(1);
    variables.push(json!({ "type": "literal", "name": VARIABLE, "value": note }));
    // what a new revision changes by itself
    for field in ["entity_tag", "status", "status_details", "x_not_in_the_documents"] {
        expected[field] = Value::Null;
        after[field] = Value::Null;
    }
    assert_eq!(after, expected);
}

/// Environment and `sub_path` are copies from the start; other mounted files and domain mappings
/// refresh by themselves. One list serves all targets of the project; an app that is named as well is restarted once.
#[test]
fn auto_takes_the_apps_that_keep_a_copy() {
    let mut scene = Scene::with(|_| {});
    let secret = scene.secret.clone();
    let targets = second_secret(&mut scene, &secret, "second-tls", ["by-key,auto", "auto"]);
    let mount = json!({ "type": "secret", "mount_path": "/tls", "reference": TLS_SECRET });
    let mut by_sub_path = mount.clone();
    by_sub_path["sub_path"] = json!("tls_cert");
    let key = json!({ "type": "secret_key_reference", "name": "KEY", "reference": TLS_SECRET, "key": "tls_key" });
    for (name, fields) in [
        ("by-environment", environment_of(TLS_SECRET)),
        ("by-key", json!({ "run_env_variables": [key] })),
        ("by-mapping", json!({})),
        ("by-mount", json!({ "run_volume_mounts": [mount] })),
        ("by-sub-path", json!({ "run_volume_mounts": [by_sub_path] })),
        ("of-another", environment_of("blog-tls")),
        ("of-second", environment_of("second-tls")),
    ] {
        create(&scene, name, fields);
    }
    let run = scene.start().targets(&targets).run();
    assert_eq!(run.status, 0, "{run:#?}");
    let mut restarted = run.report.targets[0].restarted.clone();
    restarted.sort();
    assert_eq!(restarted, ["by-environment", "by-key", "by-sub-path"]);
    assert_eq!(run.report.targets[1].restarted, ["of-second"]);
    for untouched in ["by-mount", "of-another", "by-mapping"] {
        assert_eq!(revisions(&scene, untouched), 1, "{untouched}");
    }
    assert_eq!(scene.times_asked(route::LIST_APPS), 1);
}

/// Right after a change the status may still be that of the revision before.
#[test]
fn a_status_that_lags_behind_the_change_is_no_sign_of_readiness() {
    for status in ["failed", "warning"] {
        let scene = with_apps_and(
            |options| {
                options.revisions_lag = true;
                options.failed_app_status = status.to_owned();
            },
            &["shop"],
        );
        meets(&scene, "shop", AppFate::Failed);
        let run = restarting(&scene, "shop").run();
        assert_eq!(run.refused(10, "app-not-restarted").action, "replaced");
        meets(&scene, "shop", AppFate::Ready);
        restarting(&scene, "shop").run().expect(0, "unchanged");
    }
}

#[test]
fn the_first_app_that_fails_stops_the_rest_and_the_next_run_finishes() {
    let scene = with_apps(&["a", "b", "c"]);
    meets(&scene, "b", AppFate::Failed);
    let run = restarting(&scene, "a,b,c").run();
    let target = run.refused(10, "app-not-restarted");
    assert_eq!(target.action, "replaced");
    assert_eq!(target.restarted, ["a"]);
    for told in ["app b", "not restarted either: c"] {
        assert!(target.message.contains(told), "{run:#?}");
    }
    assert!(run.report.retryable);
    assert_eq!(revisions(&scene, "c"), 1);

    meets(&scene, "b", AppFate::Ready);
    let run = restarting(&scene, "a,b,c").run();
    let target = run.expect(0, "unchanged");
    assert_eq!(target.restarted, ["b", "c"]);
    assert_eq!(revisions(&scene, "a"), 2);
}

#[test]
fn without_names_of_revisions_the_status_counts() {
    let scene = with_apps(&["shop"]);
    let unnamed = || fields(json!({ "status_details": {} }));
    let _faults = [route::READ_APP, route::PATCH_APP].map(|route| scene.fault(route, unnamed()));
    let run = restarting(&scene, "shop").run();
    assert_eq!(run.expect(0, "replaced").restarted, ["shop"]);
}

/// A project keeps 120 revisions: an app that fails for good must not use them up.
#[test]
fn an_app_that_fails_for_good_is_tried_nine_times_per_certificate() {
    let scene = with_apps(&["shop"]);
    meets(&scene, "shop", AppFate::Failed);
    for _ in 0..11 {
        let run = restarting(&scene, "shop").run();
        let target = run.target();
        assert_eq!(target.reason.as_deref(), Some("app-not-restarted"));
        assert!(!target.message.contains("not restarted either"), "{}", target.message);
    }
    assert_eq!(revisions(&scene, "shop"), 1 + 9);
}

/// What is known by then is not called in question.
#[test]
fn an_app_that_never_becomes_ready_ends_with_the_time() {
    let mut scene = with_apps(&["blog", "shop"]);
    let secret = scene.secret.clone();
    let targets = second_secret(&mut scene, &secret, "second-tls", ["blog", "shop"]);
    meets(&scene, "shop", AppFate::Deploying);
    let start = || scene.start().targets(&targets);
    // long enough for the writes, on a busy machine too: only the app never gets ready
    let run = start().env("DEADLINE", "6").run();
    assert_eq!(run.status, 10, "{run:#?}");
    assert!(run.report.retryable);
    let [blog, shop] = run.report.targets.as_slice() else { panic!("{run:#?}") };
    assert_eq!((&*blog.action, &*shop.action), ("replaced", "replaced"));
    assert_eq!(blog.reason, None, "{run:#?}");
    assert_eq!(blog.restarted, ["blog"]);
    assert_eq!(shop.reason.as_deref(), Some("interrupted"));
    assert!(shop.message.contains("restarting app shop"), "{run:#?}");

    // the next run waits for the same revision: equal, but not ready
    meets(&scene, "shop", AppFate::Ready);
    assert_eq!(start().run().status, 0);
    assert_eq!(revisions(&scene, "shop"), 2);
}

#[test]
fn two_runs_at_once_restart_an_app_once() {
    for fate in [AppFate::Ready, AppFate::ReadyAfterReads(3)] {
        let scene = with_apps(&["shop", "blog"]);
        for app in ["shop", "blog"] {
            meets(&scene, app, fate);
        }
        // both have read the app before either changes it
        let guard = Fault::on(route::PATCH_APP, FaultKind::Hold).times(2);
        let guard = scene.cloud.fault(guard);
        let running = [(); 2].map(|()| restarting(&scene, "shop,blog").spawn());
        guard.wait_parked(2, PATIENCE).unwrap();
        guard.release();
        let runs = running.map(Running::finished);
        assert!(runs.iter().all(|run| run.status == 0), "{runs:#?}");
        // the one that restarted an app says so, and no other
        let mut apps: Vec<&String> = runs.iter().flat_map(restarted).collect();
        apps.sort_unstable();
        assert_eq!(apps, ["blog", "shop"], "{fate:?}");
        for app in ["shop", "blog"] {
            assert_eq!(revisions(&scene, app), 2, "{app}, {fate:?}");
        }
    }
}

/// Two secrets of one app: one change, and no going back and forth.
#[test]
fn an_app_with_two_secrets_is_restarted_once_for_both() {
    let mut scene = with_apps(&["shop"]);
    let blog = scene.cloud.issue(spec_for(&["blog.example.com"]));
    let targets = second_secret(&mut scene, &blog, "blog-tls", ["auto", "shop"]);
    for (round, action) in ["replaced", "unchanged"].into_iter().enumerate() {
        let run = scene.start().targets(&targets).run();
        assert_eq!(run.status, 0, "{run:#?}");
        for target in &run.report.targets {
            assert_eq!(target.action, action);
            assert_eq!(target.restarted.is_empty(), round == 1, "{run:#?}");
        }
        assert_eq!(revisions(&scene, "shop"), 2);
    }
    for variable_name in [VARIABLE, "TLS_SECRET_SHA256_BLOG_TLS"] {
        assert!(variable(&scene, "shop", variable_name).is_some());
    }
    assert_eq!(scene.times_asked(route::PATCH_APP), 1);
}

/// A lost answer: the app is looked at again, not changed twice.
#[test]
fn a_change_whose_answer_is_lost_is_not_repeated_blindly() {
    for kind in [FaultKind::ResetAfter, FaultKind::StatusAfter(500)] {
        let scene = with_apps(&["shop"]);
        let _guard = scene.fault_once(route::PATCH_APP, kind.clone());
        let run = restarting(&scene, "shop").run();
        run.expect(0, "replaced");
        assert_eq!(restarted(&run), ["shop"], "{kind:?}");
        assert_eq!(revisions(&scene, "shop"), 2);
        assert_eq!(scene.times_asked(route::PATCH_APP), 1);
    }
}

#[test]
fn an_app_that_somebody_else_changes_meanwhile_is_read_again() {
    for conflict_status in [412, 409] {
        let scene = with_apps_and(|options| options.conflict_status = conflict_status, &["shop"]);
        let guard = scene.fault_once(route::PATCH_APP, FaultKind::Hold);
        let running = restarting(&scene, "shop").spawn();
        guard.wait_parked(1, PATIENCE).unwrap();
        let theirs = json!({ "type": "literal", "name": "COLOUR", "value": "red" });
        create(&scene, "shop", json!({ "run_env_variables": [theirs] }));
        guard.release();
        running.finished().expect(0, "replaced");
        assert_eq!(variable(&scene, "shop", "COLOUR").as_deref(), Some("red"));
        assert!(variable(&scene, "shop", VARIABLE).is_some());
    }
}

/// The write is good whatever becomes of the apps.
#[test]
fn an_app_that_cannot_be_had_is_status_10() {
    const HINT: &str = "check the names in RESTART_APPS or restart_apps";
    let scene = with_apps(&["shop"]);
    let run = restarting(&scene, "no-such-app,shop").run();
    let target = run.refused(10, "app-not-restarted");
    assert_eq!(target.action, "replaced");
    for told in ["no-such-app", HINT, "not restarted either: shop"] {
        assert!(target.message.contains(told), "{run:#?}");
    }
    for (route, status) in [
        (route::LIST_APPS, 403),
        (route::READ_APP, 403),
        (route::PATCH_APP, 403),
        (route::PATCH_APP, 412),
    ] {
        let mut scene = with_apps(&["shop"]);
        let secret = scene.secret.clone();
        let targets = second_secret(&mut scene, &secret, "second-tls", ["auto", "auto"]);
        create(&scene, "blog", environment_of("second-tls"));
        let _guard = scene.fault(route, FaultKind::Status(status));
        let run = scene.start().targets(&targets).run();
        assert_eq!(run.status, 10, "{run:#?}");
        for target in &run.report.targets {
            assert_eq!(target.action, "replaced");
            assert_eq!(target.reason.as_deref(), Some("app-not-restarted"));
            // the last error is named
            assert!(target.message.contains(&status.to_string()), "{run:#?}");
            assert!(!target.message.contains(HINT), "{run:#?}");
            let command = target.command.as_deref().unwrap_or_default();
            let granting = command.starts_with("ibmcloud iam");
            assert_eq!(granting, status == 403, "{run:#?}");
        }
        let attempts = if status == 412 { 5 } else { 1 };
        assert_eq!(scene.times_asked(route), attempts, "{route}");
    }
}

#[test]
fn a_dry_run_and_a_hold_restart_nothing() {
    let scene = with_apps(&["shop"]);
    scene.run().expect(0, "replaced");
    let start = || restarting(&scene, "shop");
    start().arg("--dry-run").run().expect(0, "unchanged");
    start().env("HOLD", "true").run().expect(0, "unchanged");
    assert_eq!(revisions(&scene, "shop"), 1);
}
