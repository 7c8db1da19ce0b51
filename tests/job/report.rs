use local_cloud::{CertificateSpec, Options};

use crate::harness::Scene;

#[test]
fn the_report_names_secret_target_and_both_leaves() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let before = scene.served();
    let run = scene.run();
    let target = run.expect(0, "replaced");
    assert_eq!(target.secret_id.as_deref(), Some(scene.secret.as_str()));
    assert_eq!(target.secret_name.as_deref(), Some("shop-example-com"));
    assert_eq!(
        target.project_id.as_deref(),
        Some(scene.world.project_id.as_str())
    );
    assert_eq!(target.tls_secret.as_deref(), Some("shop-tls"));
    assert_eq!(target.attempts, Some(1));
    let (from, to) = (target.from.as_ref().unwrap(), target.to.as_ref().unwrap());
    assert_eq!((&from.serial, &to.serial), (&before, &scene.serial()));
    assert_eq!(to.names, ["shop.example.com", "www.shop.example.com"]);
    assert_eq!(to.sha256.len(), 64);
    assert_ne!(from.sha256, to.sha256);
    assert!(
        to.not_after.ends_with('Z') && to.not_after.starts_with("20"),
        "{}",
        to.not_after
    );
    assert!(target.message.contains(&to.serial) && target.message.contains(&to.not_after));
    assert_eq!(run.report.message, target.message);
    assert_eq!(run.report.trigger.as_deref(), Some("manual"));
    assert!(!run.report.retryable && run.report.duration_ms < 60_000);
}

#[test]
fn more_than_twenty_names_are_cut_with_their_count() {
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.example.com")).collect();
    let scene = Scene::of(CertificateSpec {
        names,
        ..CertificateSpec::default()
    });
    let run = scene.run();
    let names = &run.expect(0, "replaced").to.as_ref().unwrap().names;
    assert_eq!(names.len(), 21);
    assert_eq!(names[20], "... and 80 more");
}

/// Code Engine guesses the level of any line that is no JSON object from words like "error" in it.
#[test]
fn in_code_engine_every_log_line_is_json_with_level_and_message() {
    let scene = Scene::new();
    let in_code_engine = || scene.start().env("CE_JOBRUN", "sm-tls-sync-x7k2p");
    let run = in_code_engine().run();
    assert!(!run.log.is_empty());
    for line in run.log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["level", "message"]);
        assert!(["error", "warn", "info", "debug"].contains(&line["level"].as_str().unwrap()));
    }
    let run = in_code_engine().env("LOG_FORMAT", "text").run();
    assert!(!run.log.contains('{'), "{}", run.log);
    // elsewhere it is text with times in UTC
    let run = scene.run();
    assert!(
        run.log
            .lines()
            .all(|line| line.starts_with("20") && line.contains('Z')),
        "{}",
        run.log
    );
    let run = scene.start().env("LOG_FORMAT", "json").run();
    assert!(
        run.log.lines().all(|line| line.starts_with('{')),
        "{}",
        run.log
    );
}

/// Job runs that events started vanish after ten minutes; the log stays.
#[test]
fn the_first_log_line_tells_version_trigger_and_event() {
    let scene = Scene::new();
    let run = scene.run_event(&scene.payload("rotated-public.json"));
    let first = run.log.lines().next().unwrap();
    for part in [
        env!("CARGO_PKG_VERSION"),
        "event-notifications",
        "5a90d3e7-8c14-4b26-a7f9-31e6d0c45b82",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
}

#[test]
fn the_log_level_is_obeyed() {
    let scene = Scene::new();
    let run = scene.start().env("LOG_LEVEL", "error").run();
    assert_eq!(run.log, "");
}
