//! Installations: fresh, again, with the documents' gaps filled in each way, and their variants.

use std::collections::BTreeSet;

use ibmcloud_stand_in::{JOB, TLS_SECRET, root};
use local_cloud::Trigger;
use serde_json::json;

use crate::harness::{Here, OPTIONS};
use crate::table::assert_as_in_the_table;

/// From a placeholder to the certificate; by an event, and by the daily run if the event was lost.
#[test]
fn a_fresh_installation_follows_each_rotation() {
    let here = Here::new();
    let said =
        "would_replace | replaced | confirmed | the role SmTlsSecretUpdater is enough | Installed.";
    let done = here.setup(&OPTIONS[..2]).ends(0, said);
    let done = done.counts(&[("already there", 0), ("done ", 17)]);
    let raw = done.stdout.contains(r#"{"level""#);
    assert!(!raw, "a raw report:\n{done}");
    assert!(here.is_current());
    here.assert_follows();
    let runs = here.runs(Trigger::EventNotifications);
    let [run] = runs.as_slice() else { panic!("not one run: {:#?}", here.cloud.deliveries()) };
    assert_eq!((&*run.job_name, &*run.status), (JOB, "completed"));
    assert_eq!(run.attempts.len(), 1);
    here.cloud.rotate_quietly(&[&here.secret]);
    assert!(!here.is_current());
    let daily = format!("{JOB}-reconcile");
    here.cloud.fire_cron_subscription(&here.job_project, &daily);
    assert_eq!(here.runs(Trigger::Cron)[0].status, "completed");
    assert!(here.is_current());
}

/// Whose, on what, to do what: nothing else. (With the custom role: where the installation is stopped at each
/// step.)
#[test]
fn with_the_role_writer_all_that_is_made_is_in_the_table() {
    let here = Here::new();
    here.setup(&[&OPTIONS[..], &["--writer"]].concat()).well();
    let (group, project) = (&here.world.secret_group_id, &here.world.project_id);
    assert_as_in_the_table(&here, "one_certificate", &[group], &[project], "");
}

/// Each way to fill a gap of IBM's documents, at least once.
#[test]
fn a_second_run_changes_nothing_and_all_can_be_removed() {
    for odd in [
        "",
        "nothing-found-is-empty failed-run-exits-0 v2 notices empty-null late-logs",
        "wrapped-lists policies-opaque notices empty-sentence slow-access v2 no-logs",
        "wrapped-lists policies-v2 nothing-found-is-empty empty-not-found odd-tables no-logs",
    ] {
        let here = Here::odd(odd);
        here.setup(&OPTIONS[2..]).well();
        assert!(here.is_current(), "{odd:?}");
        let before = here.everything();
        let done = here.setup(&OPTIONS[2..]).well().counts(&[("already there", 17)]);
        let has_log = done.stdout.contains("unchanged");
        assert_eq!((done.made(), has_log), (0, !odd.contains("no-logs")), "{odd:?}\n{done}");
        assert_eq!(before, here.everything());
        here.teardown(&["--yes"]).well();
        here.assert_gone();
    }
}

/// The inputs may come from the environment.
#[test]
fn a_plan_changes_nothing_and_says_what_exists_already() {
    let here = Here::new();
    let before = here.everything();
    let mut command = here.command("bash");
    for pair in here.inputs().chunks(2) {
        let name = pair[0][2..].replace('-', "_").to_uppercase();
        command.env(format!("SETUP_{name}"), pair[1]);
    }
    let done = here.run(command.arg(root().join("scripts/setup.sh")).arg("--plan"), "");
    let group = &here.world.secret_group_id;
    let planned =
        format!("SecretsReader | {group} | SmTlsSecretUpdater | {TLS_SECRET} | Viewer,Writer");
    let done = done.ends(0, &planned).counts(&[("  exists ", 0)]);
    assert!(done.stdout.lines().all(|line| line.len() <= 80), "{done}");
    assert!(!done.stdout.contains("act with the permissions"), "{done}");
    assert_eq!((before, 0), (here.everything(), here.account().changes));
    here.setup(&OPTIONS[2..]).well();
    let before = here.everything();
    let done = here.setup(&[&["--plan"], &OPTIONS[2..]].concat()).well();
    done.counts(&[("  exists ", 17), ("  new ", 0)]);
    assert_eq!(before, here.everything());
}

/// Not every customer at the same minute: the time comes from the project's id.
#[test]
fn the_time_of_the_daily_run_comes_from_the_project() {
    let here = Here::new();
    let script = format!("cd {}; . scripts/lib/job.sh; ", root().display());
    let script = format!("{script}spread_schedule");
    let schedule = |project| here.shell(&format!("{script} {project}")).stdout;
    assert_eq!(schedule("one"), schedule("one"));
    assert_ne!(schedule("one"), schedule("two"));
}

/// Given the id of the group, Secrets Manager is not called: a private one cannot be reached from here, and
/// leaves one step to someone on its network.
#[test]
fn a_private_instance() {
    let here = Here::odd("private");
    here.setup(&[]).ends(2, "--group-id (and --secret-id)");
    let calls = here.account().calls.len();
    let group = here.world.secret_group_id.as_str();
    let ids = ["--secret-id", &here.secret, "--group-id", group];
    let setup = || here.setup_without(&["--certificate"], &ids);
    let crn = &here.world.event_notifications_instance_crn;
    let left = format!("notifications-registration-create | {crn}");
    setup().ends(1, &left).counts(&[("to be done", 1)]);
    let account = here.account();
    let mut calls = account.calls[calls..].iter();
    assert!(calls.all(|(words, _)| words[0] != "secrets-manager"));
    drop(account);
    // all but topic and subscription works already
    assert!(here.is_current());
    here.register();
    setup().well();
    here.assert_follows();

    let on_its_network = Here::odd("private on-the-private-network");
    on_its_network.setup(&[]).well();
    on_its_network.assert_follows();
}

#[test]
fn one_project_for_all_works_and_setup_says_what_that_means() {
    let here = Here::new();
    let done = here.setup(&["--job-project", &here.world.project_name]);
    done.ends(0, "act with the permissions");
    assert!(here.is_current());
}

/// job.yaml describes the same job.
#[test]
fn job_yaml_is_the_job_that_setup_makes() {
    let yaml = std::fs::read_to_string(root().join("job.yaml")).unwrap();
    let made = Here::installed().everything()["cert-sync"].take();
    let (job, map) = (&made["jobs"][0], &made["config_maps"][0]["data"]);
    let size = json!([job["scale_cpu_limit"], job["scale_memory_limit"]]);
    assert_eq!(size, json!(["0.125", "0.25G"]));
    for line in [
        format!("arraySpec: {}", job["scale_array_spec"]),
        format!("retryLimit: {}", job["scale_retry_limit"]),
        format!("maxExecutionTime: {}", job["scale_max_execution_time"]),
        "requests: { cpu: 125m, memory: 250M, ephemeral-storage: 400M }".to_owned(),
        "limits: { cpu: 125m, memory: 250M, ephemeral-storage: 400M }".to_owned(),
        format!("- configMapRef: {{ name: {JOB}-config }}"),
    ] {
        assert!(yaml.contains(&line), "{line}");
    }
    let (_, data) = yaml.split_once("\ndata:\n").unwrap();
    let (data, _) = data.split_once("\n---").unwrap();
    let told = data.lines().filter_map(|line| line.trim().split_once(": "));
    let told: BTreeSet<_> = told.map(|(key, _)| key).collect();
    let names = map.as_object().unwrap().keys().map(String::as_str);
    assert_eq!(told, names.collect());
}
