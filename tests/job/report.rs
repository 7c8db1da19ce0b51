use std::time::Duration;

use local_cloud::{FaultKind, route};
use serde_json::Value;

use crate::harness::{PROGRAM, Scene, writer};
use crate::safety::rotated;

#[test]
fn the_report_names_secret_target_and_both_leaves() {
    let scene = Scene::with(|_| {});
    let more = (0..98).map(|n| format!("n{n}.example.com"));
    rotated(&scene, |spec| spec.names.extend(more));
    let before = scene.tls_secret();
    let run = scene.run();
    let target = run.expect(0, "replaced");
    assert_ne!(before.tls_cert, scene.tls_secret().tls_cert);
    assert_eq!(target.secret_id.as_deref(), Some(scene.secret.as_str()));
    assert!(target.secret_name.is_some() && target.attempts == Some(1));
    let project = scene.world.project_id.as_str();
    assert_eq!(target.project_id.as_deref(), Some(project));
    assert_eq!(target.tls_secret.as_deref(), Some("shop-tls"));
    let (from, to) = (target.from.as_ref().unwrap(), target.to.as_ref().unwrap());
    assert_eq!(to.serial, scene.serial());
    assert!(from.serial != to.serial && from.sha256 != to.sha256 && to.sha256.len() == 64);
    // more than twenty names are cut
    assert_eq!((to.names.len(), &*to.names[20]), (21, "... and 80 more"));
    assert!(to.not_after.ends_with('Z') && to.not_after.starts_with("20"));
    assert!(target.message.contains(&to.serial) && target.message.contains(&to.not_after));
    assert_eq!(run.report.message, target.message);
    assert_eq!(run.report.trigger.as_deref(), Some("manual"));
    assert!(!run.report.retryable && run.report.duration_ms < 60_000);
}

/// Code Engine guesses the level of a line that is not a JSON object from words like "error" in it. A
/// short report loses nothing: every target has a line with its whole outcome. Job runs that events
/// started vanish after ten minutes; the log stays, and its first line says what started the run.
#[test]
fn in_code_engine_every_log_line_is_json_with_level_and_message() {
    let scene = Scene::new();
    let start = scene.start().env("CE_JOBRUN", "sm-tls-sync-x7k2p");
    let start = start.env("ibmendata", scene.payload("rotated-public.json"));
    let output = start.command(PROGRAM).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let mut fields = line.as_object().unwrap().keys();
        assert!(fields.all(|field| ["level", "message", "target"].contains(&field.as_str())));
        assert!(["error", "warn", "info", "debug"].contains(&line["level"].as_str().unwrap()));
    }
    let targets: Vec<_> = lines.iter().filter(|line| line.get("target").is_some()).collect();
    assert_eq!(targets.len(), 1, "{log}");
    assert_eq!(targets[0]["target"], report["targets"][0]);
    assert_eq!(targets[0]["message"], report["targets"][0]["message"]);
    let first = lines[0]["message"].as_str().unwrap();
    let event = "5a90d3e7-8c14-4b26-a7f9-31e6d0c45b82";
    for part in [env!("CARGO_PKG_VERSION"), "event-notifications", event] {
        assert!(first.contains(part), "{part} in {first}");
    }
    // elsewhere it is text with times in UTC
    let run = scene.run();
    let utc = |line: &str| line.starts_with("20") && line.contains('Z');
    assert!(run.log.lines().all(utc), "{}", run.log);
    let run = scene.start().env("LOG_LEVEL", "error").run();
    assert_eq!(run.log, "");
}

#[test]
fn as_text_the_report_is_for_people() {
    let scene = Scene::new();
    let run = || scene.start().env("OUTPUT", "text").env("PROBE", "warn");
    let (status, text) = run().printed();
    assert_eq!(status, 0, "{text}");
    let line = |label: &str| {
        let prefix = format!("  {label:13}");
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("{label} in\n{text}"))
    };
    assert!(text.starts_with("shop-tls: replaced\n"), "{text}");
    assert!(line("certificate").contains(&scene.secret));
    assert!(line("holds").starts_with("until 20") && line("holds").contains(" days), serial"));
    assert!(line("held").starts_with("until 20"));
    assert_eq!(line("names"), "shop.example.com, www.shop.example.com");
    assert!(line("served").starts_with("shop.example.com: this certificate, "));
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("1 replaced, in ") && last.ends_with(", exit status 0"));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'));

    let (_, text) = run().printed();
    assert!(text.starts_with("shop-tls: unchanged\n"), "{text}");
    assert!(!text.contains("\n  held"), "{text}");

    let (status, text) = run().env("SECRET_ID", ABSENT).arg("--dry-run").printed();
    assert_eq!(status, 5, "{text}");
    assert!(text.contains("\n  error        secret-missing: "), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("dry run: 1 failed, in "), "{text}");
}

const ABSENT: &str = "00000000-1111-4222-8333-444444444444";

/// Commands are whole, on lines of their own.
#[test]
fn as_text_the_checks_are_a_table_with_commands() {
    let scene = Scene::new();
    scene.cloud.set_policies(vec![writer(&scene.world.project_id)]);
    let run = || scene.start().arg("--check");
    let report = run().run().report;
    let failed = report.checks.iter().find(|check| check.state == "red");
    let command = failed.unwrap().command.as_ref().unwrap();
    let (status, text) = run().without("OUTPUT").printed();
    assert_eq!(status, 5, "{text}");
    assert!(text.contains(&format!("\n    {command}\n")), "{text}");
    assert!(text.contains("\n  secret           FAILED  "), "{text}");
    assert!(text.contains("\n  tls-secret       ok      "), "{text}");
    let summary = "\nchecks: 1 failed: secret; 2 not tested: certificate, covered; 6 passed, in ";
    assert!(text.contains(summary), "{text}");
    let long = |line: &&str| line.chars().count() > 80 && !line.contains(command);
    assert_eq!(text.lines().find(long), None);
}

#[test]
fn a_terminal_gets_text_with_colors_unless_it_wants_none() {
    let scene = Scene::new();
    let start = || scene.start().without("OUTPUT");
    let text = start().on_a_terminal();
    assert!(text.contains("\u{1b}[1mshop-tls\u{1b}[0m: "), "{text}");
    let text = start().env("NO_COLOR", "1").on_a_terminal();
    assert!(text.contains("shop-tls: unchanged") && !text.contains('\u{1b}'));
    let text = scene.start().env("OUTPUT", "json").on_a_terminal();
    assert!(text.contains(r#"{"level":"info","#), "{text}");
}

/// After two seconds a terminal shows what the run waits for; the line is gone before the report.
#[test]
fn a_terminal_shows_what_a_long_run_waits_for() {
    let scene = Scene::new();
    let slow = FaultKind::Delay(Duration::from_millis(2500));
    let _slow = scene.fault(route::READ_SECRET, slow);
    for (start, line, report) in [
        (scene.start(), "shop-tls: reading its certificate", "holds "),
        (scene.start().arg("--check"), "reading certificates", "is fit to serve"),
    ] {
        let text = start.on_a_terminal();
        let (_, after) = text.rsplit_once(&format!("0 of 1 done; {line}")).expect(&text);
        assert!(after.starts_with("\r\u{1b}[K"), "{text:?}");
        assert!(after.contains(report), "{text:?}");
    }
    // never in a pipe
    let run = scene.run();
    assert!(!run.log.contains("of 1 done"), "{run:#?}");
}
