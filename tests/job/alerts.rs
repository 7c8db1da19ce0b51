//! `scripts/alerts`: the queries are held against reports of real runs, the scripts against a
//! stand-in for the `ibmcloud` command that keeps what it is asked.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use local_cloud::{CertificateSpec, Environment, JobSettings};
use serde_json::{Value, json};

use crate::harness::{JOB, Scene};

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/alerts");
const DEFINITIONS: [&str; 3] = ["no-good-run", "run-failed", "expires-soon"];

fn definition(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{ALERTS}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}.json: {e}"))
}

fn query(name: &str) -> String {
    let definition = definition(name);
    let filter = ["logs_threshold", "logs_immediate"]
        .iter()
        .find_map(|kind| definition.get(kind))
        .unwrap_or_else(|| panic!("{name}.json has no condition"));
    let query = &filter["logs_filter"]["simple_filter"]["lucene_query"];
    query.as_str().unwrap().to_owned()
}

/// All values at a path; an array stands for each of its elements.
fn values<'a>(value: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    match (value, path) {
        (Value::Array(all), _) => all.iter().flat_map(|one| values(one, path)).collect(),
        (_, []) => vec![value],
        (_, [first, rest @ ..]) => value
            .get(first)
            .map(|found| values(found, rest))
            .unwrap_or_default(),
    }
}

/// The part of Lucene that our queries are made of: terms joined by AND.
fn matches(query: &str, line: &Value) -> bool {
    query.split(" AND ").all(|term| {
        let (field, wanted) = term.split_once(':').unwrap();
        let mut path: Vec<&str> = field.split('.').collect();
        path.retain(|part| !["keyword", "numeric"].contains(part));
        values(line, &path).into_iter().any(|found| match wanted {
            "[1 TO *]" => found.as_i64().unwrap() >= 1,
            _ => *found == serde_json::from_str::<Value>(wanted).unwrap(),
        })
    })
}

/// The alerts that the report of a job run sets off, or, for `no-good-run`, satisfies.
fn hits(scene: &Scene, run: &str) -> Vec<&'static str> {
    let (run, _) = scene.finished(run);
    let report: Value = serde_json::from_str(&run.attempts[0].stdout).unwrap();
    let line = json!({ "codeengine": { "component": JOB }, "message": report });
    let hit = |name: &&str| matches(&query(name), &line);
    DEFINITIONS.into_iter().filter(hit).collect()
}

fn cron(scene: &Scene) -> String {
    let data = r#"{"action":"reconcile"}"#;
    scene.cloud.fire_cron(&scene.world.project_id, JOB, data)
}

#[test]
fn a_good_reconcile_is_one_and_nothing_else_is() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    assert_eq!(hits(&scene, &cron(&scene)), ["no-good-run"], "replaced");
    assert_eq!(hits(&scene, &cron(&scene)), ["no-good-run"], "unchanged");
    let by_hand = |variables: &[(&str, &str)]| {
        let variables: Environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let project = &scene.world.project_id;
        scene.cloud.submit_job_run(project, JOB, &variables, &[])
    };
    assert!(hits(&scene, &by_hand(&[])).is_empty(), "by hand");
    let event = [
        ("CE_TYPE", "dev.knative.sources.ping"),
        ("CE_DATA", "{}"),
        ("CE_SOURCE", "x"),
        ("CE_ID", "1"),
        ("DRY_RUN", "true"),
    ];
    assert!(hits(&scene, &by_hand(&event)).is_empty(), "dry run");
}

#[test]
fn a_failed_run() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    scene.cloud.set_state(&scene.secret, 3);
    assert_eq!(hits(&scene, &cron(&scene)), ["run-failed"]);
}

#[test]
fn a_certificate_near_its_end() {
    let scene = Scene::of(CertificateSpec {
        not_before_days: -80,
        not_after_days: 10,
        ..CertificateSpec::default()
    });
    scene.create_job(&JobSettings::default());
    assert_eq!(hits(&scene, &cron(&scene)), ["no-good-run", "expires-soon"]);
}

/// Answers lists from the files of its folder, and keeps each call as a line of JSON.
const IBMCLOUD: &str = r#"#!/usr/bin/env bash
set -euo pipefail
here=$(dirname "$0")
jq -cn --args '$ARGS.positional' -- "$@" >> "$here/calls"
if [[ "$2" == *-create ]]; then
  echo '{"id": "new", "external_id": 7}'
else
  cat "$here/$2.json"
fi
"#;

/// The stand-in, with empty lists.
fn ibmcloud() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ibmcloud");
    std::fs::write(&program, IBMCLOUD).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mail = json!({ "id": "mail", "type": "smtp_ibm", "name": "IBM Cloud Email service" });
    holds(folder.path(), "destinations", json!([mail]));
    for list in [
        "topics",
        "subscriptions",
        "outgoing-webhooks",
        "alert-definitions",
    ] {
        holds(folder.path(), list, json!([]));
    }
    folder
}

fn holds(folder: &Path, list: &str, things: Value) {
    let body = json!({ list.replace('-', "_"): things, "limit": 10 });
    std::fs::write(folder.join(format!("{list}.json")), body.to_string()).unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the scripts find bash and jq where we do"
)]
fn script(name: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    Command::new(format!("{ALERTS}/{name}"))
        .env_clear()
        .env("PATH", path)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// The calls that create something, as argument lists; forgets them.
fn creations(folder: &Path) -> Vec<Vec<String>> {
    let calls = std::fs::read_to_string(folder.join("calls")).unwrap();
    std::fs::remove_file(folder.join("calls")).unwrap();
    let calls = calls
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    calls
        .filter(|call: &Vec<String>| call[1].ends_with("-create"))
        .collect()
}

#[track_caller]
fn argument<'a>(call: &'a [String], flag: &str) -> &'a str {
    let at = call.iter().position(|argument| argument == flag);
    &call[at.unwrap_or_else(|| panic!("{flag} is missing: {call:?}")) + 1]
}

#[test]
fn the_email_script_creates_what_is_missing() {
    let folder = ibmcloud();
    let folder = folder.path();
    let variables = [
        ("EN_GUID", "en"),
        ("SM_CRN", "crn:sm"),
        ("LOGS_CRN", "crn:logs"),
        ("MAIL_TO", "a@example.com, b@example.com"),
    ];
    let output = script("email", folder, &variables);
    assert!(output.status.success(), "{output:?}");
    let calls = creations(folder);
    let kinds: Vec<_> = calls.iter().map(|call| call[1].as_str()).collect();
    let kind = ["topic-create", "subscription-create"];
    assert_eq!(kinds, [kind, kind].concat());
    let sources: Value = serde_json::from_str(argument(&calls[0], "--sources")).unwrap();
    assert_eq!(
        sources,
        json!([{ "id": "crn:sm", "rules": definition("email-rules") }])
    );
    assert_eq!(argument(&calls[1], "--topic-id"), "new");
    assert_eq!(argument(&calls[1], "--destination-id"), "mail");
    let attributes: Value = serde_json::from_str(argument(&calls[1], "--attributes")).unwrap();
    assert_eq!(
        attributes["invited"],
        json!(["a@example.com", "b@example.com"])
    );
    assert!(argument(&calls[2], "--sources").contains("crn:logs"));
    for list in ["topics", "subscriptions"] {
        let names = ["certificate-warnings", "sm-tls-sync-alerts"];
        let things = names.map(|name| json!({ "id": name, "name": name }));
        holds(folder, list, json!(things));
    }
    let again = script("email", folder, &variables);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(creations(folder), Vec::<Vec<String>>::new());
}

#[test]
fn the_logs_script_connects_and_loads_all_three() {
    let folder = ibmcloud();
    let folder = folder.path();
    let variables = [
        ("LOGS_URL", "https://logs.example.com"),
        ("LOGS_CRN", "crn:logs"),
        ("EN_GUID", "en"),
        ("EN_REGION", "eu-de"),
        ("JOB", "certificates"),
    ];
    let output = script("logs", folder, &variables);
    assert!(output.status.success(), "{output:?}");
    let calls = creations(folder);
    assert_eq!(calls[0][1], "outgoing-webhook-create");
    let loaded: Vec<Value> = calls[1..]
        .iter()
        .map(|call| serde_json::from_str(argument(call, "--prototype")).unwrap())
        .collect();
    assert_eq!(loaded.len(), DEFINITIONS.len());
    for (loaded, name) in loaded.iter().zip(DEFINITIONS) {
        let text = loaded.to_string();
        let ours = r#"codeengine.component.keyword:\"certificates\""#;
        assert!(text.contains(ours), "{text}");
        let webhook = &loaded["notification_group"]["webhooks"][0];
        assert_eq!(webhook["integration"]["integration_id"], 7);
        assert_eq!(loaded["description"], definition(name)["description"]);
    }
    holds(folder, "alert-definitions", json!(loaded));
    let integration = json!({ "name": "certificates to Event Notifications", "external_id": 7 });
    holds(folder, "outgoing-webhooks", json!([integration]));
    let again = script("logs", folder, &variables);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(creations(folder), Vec::<Vec<String>>::new());
}

#[test]
fn a_missing_variable_is_named_before_anything_is_done() {
    let folder = ibmcloud();
    for (name, variable) in [("logs", "LOGS_URL"), ("email", "EN_GUID")] {
        let output = script(name, folder.path(), &[]);
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(variable), "{message}");
        assert!(!folder.path().join("calls").exists());
    }
}
