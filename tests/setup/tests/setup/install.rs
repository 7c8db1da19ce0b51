//! Installations: fresh, again, with the documents' gaps filled in each way, and their variants.

use ibmcloud_stand_in::{JOB, TLS_SECRET, root};
use local_cloud::Trigger;
use serde_json::json;

use crate::harness::{Here, OPTIONS};
use crate::table::assert_as_in_the_table;

/// From a placeholder to the certificate; by an event, and by the daily run if the event was lost.
#[test]
fn a_fresh_installation_follows_each_rotation() {
    let here = Here::new();
    let done = here
        .setup(&OPTIONS[..2])
        .expect(0)
        .counts(&[("already there", 0), ("done ", 17)]);
    let role = "the role SmTlsSecretUpdater is enough";
    let done = done.says(&["would_replace", "replaced", "confirmed", role, "Installed."]);
    assert!(
        !done.stdout.contains(r#"{"level""#),
        "a raw report:\n{done}"
    );
    assert!(here.is_current());
    here.assert_follows();
    let runs = here.runs(Trigger::EventNotifications);
    let [run] = runs.as_slice() else {
        panic!("not one run: {:#?}", here.cloud.deliveries())
    };
    assert_eq!(
        (&*run.job_name, &*run.status, run.attempts.len()),
        (JOB, "completed", 1)
    );
    let profile = here.account().profiles[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (id, environment) = (&here.world.instance_id, &run.attempts[0].environment);
    for (name, value) in [
        (
            "SECRETS_MANAGER_URL",
            &*format!("https://{id}.private.eu-de.secrets-manager.appdomain.cloud"),
        ),
        ("IAM_PROFILE_ID", &profile),
        ("SECRET_ID", &here.secret),
        ("TLS_SECRET_NAME", TLS_SECRET),
        ("PROJECT_ID", &here.world.project_id),
        ("CE_PROJECT_ID", &here.job_project),
    ] {
        assert_eq!(
            environment.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    here.cloud.rotate_quietly(&[&here.secret]);
    assert!(!here.is_current());
    here.cloud
        .fire_cron_subscription(&here.job_project, &format!("{JOB}-reconcile"));
    assert_eq!(here.runs(Trigger::Cron)[0].status, "completed");
    assert!(here.is_current());
}

/// Whose, on what, to do what: nothing else. (With the custom role: where the installation is stopped at each
/// step.)
#[test]
fn with_the_role_writer_all_that_is_made_is_in_the_table() {
    let here = Here::new();
    here.setup(&[&OPTIONS[..], &["--writer"]].concat())
        .expect(0);
    let (group, project) = (&here.world.secret_group_id, &here.world.project_id);
    assert_as_in_the_table(&here, "one_certificate", true, &[group], &[project], "");
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
        here.setup(&OPTIONS[2..]).expect(0);
        assert!(here.is_current(), "{odd:?}");
        let before = here.everything();
        let done = here
            .setup(&OPTIONS[2..])
            .expect(0)
            .counts(&[("already there", 17)]);
        assert_eq!(done.made(), 0, "{odd:?}\n{done}");
        assert_eq!(
            done.stdout.contains("unchanged"),
            !odd.contains("no-logs"),
            "{done}"
        );
        assert_eq!(before, here.everything());
        here.teardown(&["--yes"]).expect(0);
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
        command.env(
            format!("SETUP_{}", pair[0][2..].replace('-', "_").to_uppercase()),
            pair[1],
        );
    }
    let done = here
        .run(
            command.arg(root().join("scripts/setup.sh")).arg("--plan"),
            "",
        )
        .expect(0);
    let group = here.world.secret_group_id.as_str();
    let done = done.says(&[
        "SecretsReader",
        group,
        "SmTlsSecretUpdater",
        TLS_SECRET,
        "Viewer,Writer",
    ]);
    assert!(done.stdout.lines().all(|line| line.len() <= 80), "{done}");
    assert!(!done.stdout.contains("act with the permissions"), "{done}");
    done.counts(&[("  exists ", 0)]);
    assert_eq!((before, 0), (here.everything(), here.account().changes));
    here.setup(&OPTIONS[2..]).expect(0);
    let before = here.everything();
    let done = here.setup(&[&["--plan"], &OPTIONS[2..]].concat()).expect(0);
    done.counts(&[("  exists ", 17), ("  new ", 0)]);
    assert_eq!(before, here.everything());
}

/// Not every customer at the same minute: the time comes from the project's id.
#[test]
fn the_time_of_the_daily_run_comes_from_the_project() {
    let here = Here::new();
    let schedule = |project: &str| {
        let line = format!(
            "cd {}; . scripts/lib/job.sh; spread_schedule {project}",
            root().display()
        );
        here.shell(&line).expect(0).stdout
    };
    assert_eq!(schedule("one"), schedule("one"));
    assert_ne!(schedule("one"), schedule("two"));
}

/// Given the id of the group, Secrets Manager is not called: a private one cannot be reached from here, and
/// leaves one step to someone on its network.
#[test]
fn a_private_instance() {
    let here = Here::new();
    here.account().reached = "neither";
    here.setup(&[]).ends(2, "--group-id (and --secret-id)");
    let calls = here.account().calls.len();
    let ids = [
        "--secret-id",
        &here.secret,
        "--group-id",
        &here.world.secret_group_id,
    ];
    let setup = || here.setup_without(&["--certificate"], &ids);
    let crn = here.world.event_notifications_instance_crn.as_str();
    let done = setup()
        .expect(1)
        .says(&["notifications-registration-create", crn]);
    done.counts(&[("to be done", 1)]);
    assert!(
        here.account().calls[calls..]
            .iter()
            .all(|(words, _)| words[0] != "secrets-manager")
    );
    // all but topic and subscription works already
    assert!(here.is_current());
    here.register();
    setup().expect(0);
    here.assert_follows();

    let on_its_network = Here::new();
    on_its_network.account().reached = "private";
    on_its_network.setup(&[]).expect(0);
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
    let size = "{ cpu: 125m, memory: 250M, ephemeral-storage: 400M }";
    assert_eq!(
        json!([job["scale_cpu_limit"], job["scale_memory_limit"]]),
        json!(["0.125", "0.25G"])
    );
    for line in [
        format!("arraySpec: {}", job["scale_array_spec"]),
        format!("retryLimit: {}", job["scale_retry_limit"]),
        format!("maxExecutionTime: {}", job["scale_max_execution_time"]),
        format!("requests: {size}"),
        format!("limits: {size}"),
        format!("- configMapRef: {{ name: {JOB}-config }}"),
    ] {
        assert!(yaml.contains(&line), "{line}");
    }
    let (_, data) = yaml.split_once("\ndata:\n").unwrap();
    let (data, _) = data.split_once("\n---").unwrap();
    let told = data.lines().filter_map(|line| line.trim().split_once(": "));
    let mut told: Vec<_> = told.map(|(key, _)| key).collect();
    let mut names: Vec<_> = map.as_object().unwrap().keys().collect();
    told.sort_unstable();
    names.sort_unstable();
    assert_eq!(told, names);
}
