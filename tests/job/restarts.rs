use std::thread;

use local_cloud::{AppFate, CertificateSpec, Fault, FaultKind, Options, route};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Run, Scene, Start, TLS_SECRET};

const VARIABLE: &str = "TLS_SECRET_SHA256_SHOP_TLS";

fn environment_of(secret: &str) -> Value {
    json!({ "run_env_variables": [
        { "type": "literal", "name": "COLOUR", "value": "blue" },
        { "type": "secret_full_reference", "reference": secret, "prefix": "TLS_" },
    ] })
}

/// A scene with apps that read the TLS secret as environment.
fn with_apps(names: &[&str]) -> Scene {
    with_apps_and(Options::default(), names)
}

fn with_apps_and(options: Options, names: &[&str]) -> Scene {
    let scene = Scene::with(options, CertificateSpec::default());
    for name in names {
        let project = &scene.world.project_id;
        scene
            .cloud
            .create_app(project, name, environment_of(TLS_SECRET));
    }
    scene
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
    let project = &scene.world.project_id;
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
    scene.cloud.create_app(project, "shop", fields);
    let before = scene.cloud.app(project, "shop").unwrap();

    restarting(&scene, "shop").run().expect(0, "replaced");

    let mut after = scene.cloud.app(project, "shop").unwrap();
    let note = variable(&scene, "shop", VARIABLE).unwrap();
    let mut expected = before.clone();
    let variables = expected["run_env_variables"].as_array_mut().unwrap();
    variables.remove(1);
    variables.push(json!({ "type": "literal", "name": VARIABLE, "value": note }));
    // what a new revision changes by itself
    for field in [
        "entity_tag",
        "status",
        "status_details",
        "x_not_in_the_documents",
    ] {
        expected[field] = Value::Null;
        after[field] = Value::Null;
    }
    assert_eq!(after, expected);
}

/// Environment and `sub_path` are copies from the start; other mounted files and domain mappings
/// refresh by themselves.
#[test]
fn auto_takes_the_apps_that_keep_a_copy() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    let mount = |fields: Value| {
        let mut mount = json!({ "type": "secret", "mount_path": "/tls", "reference": TLS_SECRET });
        mount
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        json!({ "run_volume_mounts": [mount] })
    };
    scene
        .cloud
        .create_app(project, "by-environment", environment_of(TLS_SECRET));
    scene.cloud.create_app(
        project,
        "by-key",
        json!({ "run_env_variables": [
            { "type": "secret_key_reference", "name": "KEY", "reference": TLS_SECRET, "key": "tls_key" }
        ] }),
    );
    scene.cloud.create_app(
        project,
        "by-sub-path",
        mount(json!({ "sub_path": "tls_cert" })),
    );
    scene
        .cloud
        .create_app(project, "by-mount", mount(json!({})));
    scene
        .cloud
        .create_app(project, "of-another", environment_of("blog-tls"));
    scene.cloud.create_app(project, "by-mapping", json!({}));

    let run = restarting(&scene, "auto").run();

    run.expect(0, "replaced");
    let mut apps = restarted(&run).to_vec();
    apps.sort();
    assert_eq!(apps, ["by-environment", "by-key", "by-sub-path"]);
    for untouched in ["by-mount", "of-another", "by-mapping"] {
        assert_eq!(revisions(&scene, untouched), 1, "{untouched}");
    }
}

#[test]
fn a_revision_that_takes_its_time_is_waited_for() {
    let scene = with_apps(&["shop"]);
    let project = &scene.world.project_id;
    scene
        .cloud
        .set_app_fate(project, "shop", AppFate::ReadyAfterReads(2));
    let run = restarting(&scene, "shop").run();
    run.expect(0, "replaced");
    assert_eq!(restarted(&run), ["shop"]);
}

/// Right after a change the status may still be that of the revision before.
#[test]
fn a_status_that_lags_behind_the_change_is_no_sign_of_readiness() {
    for status in ["failed", "warning"] {
        let options = Options {
            revisions_lag: true,
            failed_app_status: status.to_owned(),
            ..Options::default()
        };
        let scene = with_apps_and(options, &["shop"]);
        let project = &scene.world.project_id;
        scene.cloud.set_app_fate(project, "shop", AppFate::Failed);
        let run = restarting(&scene, "shop").run();
        assert_eq!(run.refused(10, "app-not-restarted").action, "replaced");
        scene.cloud.set_app_fate(project, "shop", AppFate::Ready);
        restarting(&scene, "shop").run().expect(0, "unchanged");
    }
}

#[test]
fn the_first_app_that_fails_stops_the_rest_and_the_next_run_finishes() {
    let scene = with_apps(&["a", "b", "c"]);
    let project = &scene.world.project_id;
    scene.cloud.set_app_fate(project, "b", AppFate::Failed);

    let run = restarting(&scene, "a,b,c").run();

    let target = run.refused(10, "app-not-restarted");
    assert_eq!(target.action, "replaced");
    assert_eq!(target.restarted, ["a"]);
    assert!(target.message.contains("app b"), "{run:#?}");
    assert!(
        target.message.contains("not restarted either: c"),
        "{run:#?}"
    );
    assert!(run.report.retryable);
    assert_eq!(revisions(&scene, "c"), 1);

    scene.cloud.set_app_fate(project, "b", AppFate::Ready);
    let run = restarting(&scene, "a,b,c").run();
    let target = run.expect(0, "unchanged");
    assert_eq!(target.restarted, ["b", "c"]);
    assert_eq!(revisions(&scene, "a"), 2);
}

/// A project keeps 120 revisions: an app that fails for good must not use them up.
#[test]
fn an_app_that_fails_for_good_is_tried_nine_times_per_certificate() {
    let scene = with_apps(&["shop"]);
    let project = &scene.world.project_id;
    scene.cloud.set_app_fate(project, "shop", AppFate::Failed);
    for _ in 0..12 {
        restarting(&scene, "shop")
            .run()
            .reason_is("app-not-restarted");
    }
    assert_eq!(revisions(&scene, "shop"), 1 + 9);
}

#[test]
fn an_app_that_never_becomes_ready_ends_with_the_time() {
    let scene = with_apps(&["shop", "blog"]);
    let project = &scene.world.project_id;
    scene
        .cloud
        .set_app_fate(project, "shop", AppFate::Deploying);
    // long enough for the write, on a busy machine too: only the app never gets ready
    let run = restarting(&scene, "shop,blog").env("DEADLINE", "6").run();
    let target = run.refused(10, "interrupted");
    assert_eq!(target.action, "replaced");
    assert!(
        target.message.contains("not restarted either: blog"),
        "{run:#?}"
    );

    // the next run waits for the same revision: equal, but not ready
    scene.cloud.set_app_fate(project, "shop", AppFate::Ready);
    restarting(&scene, "shop,blog").run().expect(0, "unchanged");
    assert_eq!(revisions(&scene, "shop"), 2);
}

#[test]
fn two_runs_at_once_restart_an_app_once() {
    for fate in [AppFate::Ready, AppFate::ReadyAfterReads(3)] {
        let scene = with_apps(&["shop", "blog"]);
        let project = &scene.world.project_id;
        for app in ["shop", "blog"] {
            scene.cloud.set_app_fate(project, app, fate);
        }
        // both have read the app before either changes it
        let guard = scene
            .cloud
            .fault(Fault::on(route::PATCH_APP, FaultKind::Hold).times(2));
        thread::scope(|scope| {
            let runs: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| restarting(&scene, "shop,blog").run_beside_others()))
                .collect();
            guard.wait_parked(2, PATIENCE).unwrap();
            guard.release();
            let runs: Vec<Run> = runs.into_iter().map(|run| run.join().unwrap()).collect();
            assert!(runs.iter().all(|run| run.status == 0), "{runs:#?}");
            // the one that restarted an app says so, and no other
            let mut apps: Vec<&String> = runs.iter().flat_map(restarted).collect();
            apps.sort_unstable();
            assert_eq!(apps, ["blog", "shop"], "{fate:?}");
        });
        for app in ["shop", "blog"] {
            assert_eq!(revisions(&scene, app), 2, "{app}, {fate:?}");
        }
    }
}

/// Two secrets of one app: one change, and no going back and forth.
#[test]
fn an_app_with_two_secrets_is_restarted_once_for_both() {
    let mut scene = with_apps(&["shop"]);
    let project = scene.world.project_id.clone();
    let blog = scene.cloud.issue(CertificateSpec {
        name: "blog".to_owned(),
        names: vec!["blog.example.com".to_owned()],
        ..CertificateSpec::default()
    });
    scene.cloud.deploy(&blog, &project, "blog-tls");
    scene.cloud.rotate_quietly(&[&blog]);
    scene.watch(&project, "blog-tls");
    let targets = json!([
        { "secret_id": scene.secret, "tls_secret": TLS_SECRET, "restart_apps": ["shop"] },
        { "secret_id": blog, "tls_secret": "blog-tls", "restart_apps": "shop" },
    ]);
    let run = || scene.start().targets(&targets).run();
    let first = run();
    assert_eq!(first.status, 0, "{first:#?}");
    assert!(first.report.targets.iter().all(|t| t.restarted == ["shop"]));
    assert_eq!(revisions(&scene, "shop"), 2);
    assert!(variable(&scene, "shop", VARIABLE).is_some());
    assert!(variable(&scene, "shop", "TLS_SECRET_SHA256_BLOG_TLS").is_some());
    run();
    assert_eq!(revisions(&scene, "shop"), 2);
}

/// A lost answer: the app is looked at again, not changed twice.
#[test]
fn a_change_whose_answer_is_lost_is_not_repeated_blindly() {
    for kind in [FaultKind::ResetAfter, FaultKind::StatusAfter(500)] {
        let scene = with_apps(&["shop"]);
        let _guard = scene
            .cloud
            .fault(Fault::on(route::PATCH_APP, kind.clone()).times(1));
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
        let options = Options {
            conflict_status,
            ..Options::default()
        };
        let scene = with_apps_and(options, &["shop"]);
        let project = &scene.world.project_id;
        let guard = scene
            .cloud
            .fault(Fault::on(route::PATCH_APP, FaultKind::Hold).times(1));
        thread::scope(|scope| {
            let run = scope.spawn(|| restarting(&scene, "shop").run());
            guard.wait_parked(1, PATIENCE).unwrap();
            let theirs = json!({ "run_env_variables": [
                { "type": "literal", "name": "COLOUR", "value": "red" }
            ] });
            scene.cloud.create_app(project, "shop", theirs);
            guard.release();
            run.join().unwrap().expect(0, "replaced");
        });
        assert_eq!(variable(&scene, "shop", "COLOUR").as_deref(), Some("red"));
        assert!(variable(&scene, "shop", VARIABLE).is_some());
    }
}

/// The write is good whatever becomes of the apps.
#[test]
fn an_app_that_cannot_be_had_is_status_10() {
    let scene = with_apps(&["shop"]);
    let run = restarting(&scene, "no-such-app,shop").run();
    let target = run.refused(10, "app-not-restarted");
    assert_eq!(target.action, "replaced");
    assert!(target.message.contains("no-such-app"), "{run:#?}");
    let hint = "check the names in RESTART_APPS or restart_apps";
    assert!(target.message.contains(hint), "{run:#?}");
    assert!(
        target.message.contains("not restarted either: shop"),
        "{run:#?}"
    );
    for fault in [route::LIST_APPS, route::READ_APP, route::PATCH_APP] {
        let scene = with_apps(&["shop"]);
        let _guard = scene.cloud.fault(Fault::on(fault, FaultKind::Status(403)));
        let run = restarting(&scene, "auto").run();
        let target = run.refused(10, "app-not-restarted");
        assert_eq!(target.action, "replaced");
        assert!(!target.message.contains(hint), "{run:#?}");
        let command = run.target().command.as_deref().unwrap_or_default();
        assert!(command.starts_with("ibmcloud iam"), "{run:#?}");
    }
}

/// A list that cannot be had concerns every target of the project.
#[test]
fn without_the_list_of_apps_no_target_with_auto_is_in_effect() {
    let mut scene = with_apps(&["shop"]);
    let project = scene.world.project_id.clone();
    scene.cloud.deploy(&scene.secret, &project, "second-tls");
    scene.watch(&project, "second-tls");
    let targets = json!([
        { "secret_id": scene.secret, "tls_secret": TLS_SECRET, "restart_apps": "auto" },
        { "secret_id": scene.secret, "tls_secret": "second-tls", "restart_apps": "auto" },
    ]);
    let _guard = scene
        .cloud
        .fault(Fault::on(route::LIST_APPS, FaultKind::Status(403)));
    let run = scene.start().targets(&targets).run();
    assert_eq!(run.status, 10, "{run:#?}");
    for target in &run.report.targets {
        assert_eq!(target.reason.as_deref(), Some("app-not-restarted"));
    }
}

#[test]
fn a_dry_run_and_a_hold_restart_nothing() {
    let scene = with_apps(&["shop"]);
    scene.run().expect(0, "replaced");
    restarting(&scene, "shop")
        .arg("--dry-run")
        .run()
        .expect(0, "unchanged");
    restarting(&scene, "shop")
        .env("HOLD", "true")
        .run()
        .expect(0, "unchanged");
    assert_eq!(revisions(&scene, "shop"), 1);
}

#[test]
fn the_apps_of_a_project_are_listed_once_for_all_its_targets() {
    let mut scene = with_apps(&["shop"]);
    let project = scene.world.project_id.clone();
    scene.cloud.deploy(&scene.secret, &project, "second-tls");
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.watch(&project, "second-tls");
    let second = environment_of("second-tls");
    scene.cloud.create_app(&project, "blog", second);
    let targets = json!([
        { "secret_id": scene.secret, "tls_secret": TLS_SECRET, "restart_apps": "auto" },
        { "secret_id": scene.secret, "tls_secret": "second-tls", "restart_apps": "auto" },
    ]);
    let run = scene.start().targets(&targets).run();
    assert_eq!(run.status, 0, "{run:#?}");
    let restarted: Vec<_> = run.report.targets.iter().map(|t| &t.restarted).collect();
    assert_eq!(restarted, [&["shop"], &["blog"]]);
    assert_eq!(scene.times_asked(route::LIST_APPS), 1);
}

/// The certificate is written, and nobody knows what became of the app.
#[test]
fn a_run_that_ends_while_an_app_is_read_does_not_know_its_state() {
    let scene = with_apps(&["shop"]);
    let _silent = scene
        .cloud
        .fault(Fault::on(route::READ_APP, FaultKind::Silent));
    // long enough for the write, on a busy machine too
    let run = restarting(&scene, "shop").env("DEADLINE", "6").run();
    let target = run.refused(10, "interrupted");
    assert_eq!(target.action, "replaced");
    let told = "cannot read app shop: DEADLINE (6 s) exceeded";
    assert!(target.message.contains(told), "{run:#?}");
    assert!(run.report.retryable);
}
