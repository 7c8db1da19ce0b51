//! Installations: fresh, again, with the documents' gaps filled in each way, and their variants.

use ibmcloud_stand_in::{Door, JOB, TLS_SECRET, root};
use local_cloud::Trigger;
use serde_json::json;

use crate::harness::Here;
use crate::table::assert_as_in_the_table;

/// From a placeholder to the certificate; by an event, and by the daily run if the event was lost.
#[test]
fn a_fresh_installation_follows_each_rotation() {
    let here = Here::new();
    let done = here.setup(&["--schedule", "17 3 * * *"]).expect(0);
    assert_eq!(
        (done.steps("already there").len(), done.steps("done ").len()),
        (0, 17),
        "{done}"
    );
    let done = done.says(&[
        "would_replace",
        "replaced",
        "confirmed",
        "the role SmTlsSecretUpdater is enough",
        "Installed.",
    ]);
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
        (
            run.job_name.as_str(),
            run.status.as_str(),
            run.attempts.len()
        ),
        (JOB, "completed", 1)
    );
    let world = &here.world;
    let url = format!(
        "https://{}.private.eu-de.secrets-manager.appdomain.cloud",
        world.instance_id
    );
    let profile = here.account().profiles[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (name, value) in [
        ("SECRETS_MANAGER_URL", url.as_str()),
        ("IAM_PROFILE_ID", &profile),
        ("SECRET_ID", &here.secret),
        ("TLS_SECRET_NAME", TLS_SECRET),
        ("PROJECT_ID", &world.project_id),
        ("CE_PROJECT_ID", &here.job_project),
    ] {
        assert_eq!(
            run.attempts[0].environment.get(name).map(String::as_str),
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

/// Whose, on what, to do what: nothing else.
#[test]
fn all_that_is_made_is_in_the_table_and_the_rights_are_the_least() {
    for writer in [false, true] {
        let here = Here::new();
        let more: &[&str] = if writer { &["--writer"] } else { &[] };
        here.setup(
            &[
                &[
                    "--schedule",
                    "17 3 * * *",
                    "--alert-email",
                    "ops@example.com",
                ],
                more,
            ]
            .concat(),
        )
        .expect(0);
        let (groups, projects) = (
            [here.world.secret_group_id.as_str()],
            [here.world.project_id.as_str()],
        );
        assert_as_in_the_table(&here, "one_certificate", writer, &groups, &projects, "");
    }
}

/// Each way to fill a gap of IBM's documents, at least once.
#[test]
fn a_second_run_changes_nothing_and_all_can_be_removed() {
    for odd in [
        &[][..],
        &[
            "nothing-found-is-empty",
            "failed-run-exits-0",
            "v2",
            "notices",
            "empty-null",
            "late-logs",
        ],
        &[
            "wrapped-lists",
            "policies-opaque",
            "notices",
            "empty-sentence",
            "slow-access",
            "v2",
            "no-logs",
        ],
        &[
            "wrapped-lists",
            "policies-v2",
            "nothing-found-is-empty",
            "empty-not-found",
            "odd-tables",
            "no-logs",
        ],
    ] {
        let here = Here::odd(odd);
        let mail = ["--alert-email", "ops@example.com"];
        here.setup(&mail).expect(0);
        assert!(here.is_current(), "{odd:?}");
        let before = here.account().everything();
        let done = here.setup(&mail).expect(0);
        assert_eq!(
            (done.steps("already there").len(), done.made().len()),
            (17, 0),
            "{odd:?}\n{done}"
        );
        assert_eq!(
            done.stdout.contains("unchanged"),
            !odd.contains(&"no-logs"),
            "{done}"
        );
        assert_eq!(before, here.account().everything());
        here.teardown(&["--yes"]).expect(0);
        here.assert_gone();
    }
}

#[test]
fn a_plan_changes_nothing_and_says_what_exists_already() {
    let here = Here::new();
    let before = here.state();
    let done = here.setup(&["--plan"]).expect(0);
    let group = here.world.secret_group_id.clone();
    let done = done.says(&[
        "SecretsReader",
        &group,
        "SmTlsSecretUpdater",
        TLS_SECRET,
        "Viewer,Writer",
    ]);
    assert!(done.stdout.lines().all(|line| line.len() <= 80), "{done}");
    assert_eq!(done.steps("  exists ").len(), 0, "{done}");
    assert_eq!(before, here.state());
    here.setup(&["--alert-email", "ops@example.com"]).expect(0);
    let before = here.account().everything();
    let done = here
        .setup(&["--plan", "--alert-email", "ops@example.com"])
        .expect(0);
    assert_eq!(done.steps("  exists ").len(), 17, "{done}");
    assert_eq!(done.steps("  new ").len(), 0, "{done}");
    assert_eq!(before, here.account().everything());
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
        here.run(here.command("bash").args(["-c", &line]), "")
            .expect(0)
            .stdout
    };
    assert_eq!(schedule("one"), schedule("one"));
    assert_ne!(schedule("one"), schedule("two"));
}

#[test]
fn inputs_may_come_from_the_environment() {
    let here = Here::new();
    let mut command = here.command("bash");
    for pair in here.inputs().chunks(2) {
        command.env(
            format!("SETUP_{}", pair[0][2..].replace('-', "_").to_uppercase()),
            pair[1],
        );
    }
    here.run(
        command.arg(root().join("scripts/setup.sh")).arg("--yes"),
        "",
    )
    .expect(0);
    assert!(here.is_current());
}

/// Given the id of the group, Secrets Manager is not called: a private one cannot be reached from here, and
/// leaves one step to someone on its network.
#[test]
fn a_private_instance() {
    let here = Here::new();
    here.account().reached = "neither";
    here.setup(&[])
        .expect(2)
        .says(&["--group-id (and --secret-id)"]);
    let calls = here.account().calls.len();
    let (secret, group) = (here.secret.clone(), here.world.secret_group_id.clone());
    let setup = || {
        here.setup_without(
            &["--certificate"],
            &["--secret-id", &secret, "--group-id", &group],
        )
    };
    let done = setup().expect(1).says(&[
        "notifications-registration-create",
        &here.world.event_notifications_instance_crn,
    ]);
    assert_eq!(done.steps("to be done").len(), 1, "{done}");
    assert!(
        here.account().calls[calls..]
            .iter()
            .all(|(words, _)| words[0] != "secrets-manager")
    );
    // all but topic and subscription works already
    assert!(here.is_current());
    let body =
        json!({ "event_notifications_instance_crn": here.world.event_notifications_instance_crn });
    here.account()
        .call(
            Door::SecretsManager,
            "POST",
            "notifications/registration",
            Some(&body),
        )
        .unwrap();
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
    let project = here.world.project_name.clone();
    here.setup(&["--job-project", &project])
        .expect(0)
        .says(&["act with the permissions"]);
    assert!(here.is_current());
    let done = Here::new().setup(&["--plan"]).expect(0);
    assert!(!done.stdout.contains("act with the permissions"), "{done}");
}

/// job.yaml describes the same job.
#[test]
fn job_yaml_is_the_job_that_setup_makes() {
    let yaml = std::fs::read_to_string(root().join("job.yaml")).unwrap();
    let here = Here::installed();
    let (job, map) = (
        here.of("cert-sync", "jobs")[0].clone(),
        here.of("cert-sync", "config_maps")[0].clone(),
    );
    let size = "{ cpu: 125m, memory: 250M, ephemeral-storage: 400M }";
    assert_eq!(
        (&job["scale_cpu_limit"], &job["scale_memory_limit"]),
        (&json!("0.125"), &json!("0.25G"))
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
    let data = yaml
        .split("\ndata:\n")
        .nth(1)
        .unwrap()
        .split("\n---")
        .next()
        .unwrap();
    let mut told: Vec<_> = data
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(key, _)| key)
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        map["data"].as_object().unwrap().keys().collect::<Vec<_>>()
    );
}
