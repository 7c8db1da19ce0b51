//! `scripts/alerts`: the queries are held against reports of real runs. The scripts that load them are
//! tested in `tests/setup`.

use local_cloud::{CertificateSpec, JobSettings};
use serde_json::{Value, json};

use crate::harness::{JOB, Scene};

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/alerts");
const DEFINITIONS: [&str; 4] = ["no-good-run", "run-failed", "expires-soon", "replaced"];

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
        (_, [first, rest @ ..]) => value.get(first).map_or(vec![], |found| values(found, rest)),
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
    scene.cron(r#"{"action":"reconcile"}"#)
}

#[test]
fn a_good_reconcile_is_one_and_nothing_else_is() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    assert_eq!(hits(&scene, &cron(&scene)), ["no-good-run", "replaced"]);
    assert_eq!(hits(&scene, &cron(&scene)), ["no-good-run"], "unchanged");
    assert!(hits(&scene, &scene.submit(&[])).is_empty(), "by hand");
    let event = [
        ("CE_TYPE", "dev.knative.sources.ping"),
        ("CE_DATA", "{}"),
        ("CE_SOURCE", "x"),
        ("CE_ID", "1"),
        ("DRY_RUN", "true"),
    ];
    assert!(hits(&scene, &scene.submit(&event)).is_empty(), "dry run");
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
    let due = ["no-good-run", "expires-soon", "replaced"];
    assert_eq!(hits(&scene, &cron(&scene)), due);
    assert_eq!(hits(&scene, &cron(&scene)), due[..2], "unchanged");
}
