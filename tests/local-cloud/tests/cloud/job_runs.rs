use std::collections::BTreeMap;
use std::time::Duration;

use local_cloud::{JobRun, JobSettings, LocalCloud, Options};
use serde_json::json;

use crate::client::{Script, get, owner_token, script, start_with, write};

const SOON: Duration = Duration::from_secs(60);

fn cloud_with(program: &Script) -> LocalCloud {
    start_with(Options {
        job_program: Some(program.path.clone()),
        ..Options::default()
    })
}

/// The same with a job, and its project.
fn cloud_with_job(program: &Script) -> (LocalCloud, String) {
    let cloud = cloud_with(program);
    let project = cloud.world().project_id;
    let settings = JobSettings::default();
    cloud.create_job(&project, "sm-tls-sync", &BTreeMap::new(), &settings);
    (cloud, project)
}

fn run(cloud: &LocalCloud, settings: &JobSettings) -> JobRun {
    let project = cloud.world().project_id;
    let environment =
        BTreeMap::from([("OF_JOB".into(), "1".into()), ("BOTH".into(), "job".into())]);
    cloud.create_job(&project, "sm-tls-sync", &environment, settings);
    let more = BTreeMap::from([("BOTH".into(), "run".into())]);
    let name = cloud.submit_job_run(&project, "sm-tls-sync", &more, &[]);
    cloud.wait_job_run(&project, &name, SOON).unwrap()
}

/// The names in `payloads/env-manual.json` of the fact sheets, and no others.
#[test]
fn the_environment_is_code_engines() {
    let program = script("/usr/bin/env; cat \"$CR_TOKEN_FILENAME\" >&2");
    let cloud = cloud_with(&program);
    let run = run(&cloud, &JobSettings::default());
    assert_eq!(run.status, "completed");
    let attempt = &run.attempts[0];
    let names: Vec<_> = attempt.environment.keys().map(String::as_str).collect();
    let expected = [
        "BOTH",
        "CE_API_BASE_URL",
        "CE_DOMAIN",
        "CE_JOB",
        "CE_JOBRUN",
        "CE_PROJECT_ID",
        "CE_REGION",
        "CE_SUBDOMAIN",
        "CR_TOKEN_FILENAME",
        "HOME",
        "HOSTNAME",
        "JOB_ARRAY_SIZE",
        "JOB_INDEX",
        "JOB_INDEX_RETRY_COUNT",
        "JOB_MODE",
        "JOB_RETRY_LIMIT",
        "OF_JOB",
        "PATH",
        "PWD",
    ];
    assert_eq!(names, expected);
    assert_eq!(attempt.environment["BOTH"], "run");
    assert_eq!(attempt.environment["HOSTNAME"], format!("{}-0-0", run.name));
    for (name, value) in &attempt.environment {
        assert!(
            attempt.stdout.contains(&format!("{name}={value}\n")),
            "{name}"
        );
    }
    assert_eq!(attempt.stderr.matches('.').count(), 2);
    assert!(cloud.secrets_in_use().contains(&attempt.stderr));
}

#[test]
fn no_token_unless_enabled() {
    let program = script("test -z \"$CR_TOKEN_FILENAME\"");
    let cloud = cloud_with(&program);
    let run = run(
        &cloud,
        &JobSettings {
            token_enabled: false,
            ..JobSettings::default()
        },
    );
    assert_eq!(run.status, "completed");
}

#[test]
fn a_failure_is_tried_again_up_to_the_limit() {
    let program = script("test \"$JOB_INDEX_RETRY_COUNT\" = \"$SUCCEEDS_AT\" || exit 7");
    let cloud = cloud_with(&program);
    let settings = JobSettings {
        retry_limit: 2,
        ..JobSettings::default()
    };
    let failed = run(&cloud, &settings);
    let codes: Vec<_> = failed
        .attempts
        .iter()
        .map(|a| (a.retry, a.exit_code))
        .collect();
    assert_eq!(codes, [(0, Some(7)), (1, Some(7)), (2, Some(7))]);
    assert_eq!(
        failed.last_failure_reason.as_deref(),
        Some("ContainerExitedCode7")
    );
    let project = cloud.world().project_id;
    let at_second = BTreeMap::from([("SUCCEEDS_AT".into(), "1".into())]);
    let name = cloud.submit_job_run(&project, "sm-tls-sync", &at_second, &[]);
    let second = cloud.wait_job_run(&project, &name, SOON).unwrap();
    assert_eq!(
        (second.status.as_str(), second.attempts.len()),
        ("completed", 2)
    );
    let url = format!(
        "{}/v2/projects/{project}/job_runs/{name}",
        cloud.code_engine_url()
    );
    let document = get(&url, &owner_token(&cloud)).json();
    assert_eq!(
        document["status_details"]["indices_details"]["0"]["retries"],
        1
    );
}

#[test]
fn an_array_is_several_processes() {
    let program = script("test \"$JOB_INDEX\" != 3 && echo \"$JOB_INDEX of $JOB_ARRAY_SIZE\"");
    let cloud = cloud_with(&program);
    let run = run(
        &cloud,
        &JobSettings {
            array_spec: "0-1,3".into(),
            ..JobSettings::default()
        },
    );
    let mut lines: Vec<_> = run
        .attempts
        .iter()
        .map(|attempt| attempt.stdout.as_str())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["", "0 of 3\n", "1 of 3\n"]);
    assert_eq!(run.status, "failed");
}

#[test]
fn the_time_limit_counts_over_all_retries() {
    let program = script("trap 'echo terminated; exit 9' TERM; sleep 60 & wait");
    let cloud = cloud_with(&program);
    let settings = JobSettings {
        max_execution_time: 1,
        retry_limit: 3,
        ..JobSettings::default()
    };
    let run = run(&cloud, &settings);
    assert_eq!(
        (run.attempts.len(), run.attempts[0].exit_code),
        (1, Some(9))
    );
    assert_eq!(run.attempts[0].stdout, "terminated\n");
    assert_eq!(
        run.last_failure_reason.as_deref(),
        Some("MaxExecutionTimeExceeded")
    );
}

#[test]
fn a_cloud_that_ends_ends_its_processes() {
    let program = script("trap '' TERM; echo $$ > \"$PID_FILE\"; sleep 60");
    let cloud = cloud_with(&program);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let project = cloud.world().project_id;
    let environment = BTreeMap::from([("PID_FILE".into(), file.display().to_string())]);
    cloud.create_job(
        &project,
        "sm-tls-sync",
        &environment,
        &JobSettings::default(),
    );
    cloud.submit_job_run(&project, "sm-tls-sync", &BTreeMap::new(), &[]);
    let pid = loop {
        match std::fs::read_to_string(&file) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => std::thread::yield_now(),
        }
    };
    drop(cloud);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn ten_kibibytes_and_no_more() {
    let program = script("true");
    let (cloud, project) = cloud_with_job(&program);
    let url = format!("{}/v2/projects/{project}/job_runs", cloud.code_engine_url());
    let owner = owner_token(&cloud);
    let submit = |bytes: usize| {
        let variable =
            json!({ "type": "literal", "name": "ibmendata", "value": "x".repeat(bytes) });
        let body = json!({ "job_name": "sm-tls-sync", "run_env_variables": [variable] });
        write("POST", &url, &owner, None, &body)
    };
    assert_eq!(submit(9_500).status, 202);
    assert_eq!(submit(10_300).status, 400);
}

#[test]
fn cron_and_kafka_bring_their_variables() {
    let program = script("echo \"$CE_TYPE $CE_DATA\"");
    let (cloud, project) = cloud_with_job(&program);
    let said = |name: String| {
        cloud.wait_job_run(&project, &name, SOON).unwrap().attempts[0]
            .stdout
            .clone()
    };
    let cron = cloud.fire_cron(&project, "sm-tls-sync", r#"{"action": "reconcile"}"#);
    assert_eq!(
        said(cron),
        "dev.knative.sources.ping {\"action\": \"reconcile\"}\n"
    );
    let kafka = cloud.fire_kafka(&project, "sm-tls-sync", "anything");
    assert_eq!(said(kafka), "dev.knative.kafka.event anything\n");
}
