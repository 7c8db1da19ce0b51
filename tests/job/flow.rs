use std::collections::BTreeMap;

use local_cloud::{
    CertificateSpec, EntityTags, JobSettings, LocalCloud, Options, Service, Trigger, route,
};

use crate::harness::{JOB, PATIENCE, PROGRAM, Run, Scene, TLS_SECRET};

/// The whole story: SM rotates, EN filters and delivers, CE starts the job, the job replaces, a TLS
/// client sees it.
#[test]
fn a_rotation_is_served_after_the_job_run_that_its_event_starts() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    scene.cloud.subscribe_job(&scene.world.project_id, JOB);
    let before = scene.served();

    scene.cloud.rotate(&[&scene.secret]);

    let runs = scene.cloud.job_runs(&scene.world.project_id);
    let [run] = runs.as_slice() else {
        panic!("not one run: {runs:#?}")
    };
    assert_eq!(run.trigger, Trigger::EventNotifications);
    let (run, processes) = scene.finished(&run.name);
    assert_eq!(run.status, "completed", "{run:#?}");
    let target = processes[0].expect(0, "replaced");
    assert_eq!(target.from.as_ref().unwrap().serial, before);
    assert_eq!(target.to.as_ref().unwrap().serial, scene.serial());
    assert_ne!(before, scene.serial());
    assert_eq!(scene.served(), scene.serial());
    assert_eq!(
        processes[0].report.trigger.as_deref(),
        Some("event-notifications")
    );
}

#[test]
fn four_calls_in_this_order_over_one_connection_per_host() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let tag = scene.tls_secret().entity_tag;

    scene.run().expect(0, "replaced");

    assert_eq!(
        scene.asked(),
        [
            route::TOKEN,
            route::READ_TLS_SECRET,
            route::READ_SECRET,
            route::REPLACE_TLS_SECRET
        ]
    );
    let journal = scene.cloud.journal();
    let connection = |service| {
        let mut of_service: Vec<_> = journal
            .iter()
            .filter(|entry| entry.service == service)
            .map(|entry| entry.connection.unwrap())
            .collect();
        of_service.dedup();
        of_service.len()
    };
    for service in [Service::Iam, Service::SecretsManager, Service::CodeEngine] {
        assert_eq!(connection(service), 1, "{journal:#?}");
    }
    let write = journal.last().unwrap();
    assert_eq!(write.if_match.as_deref(), Some(tag.as_str()));
    assert!(
        journal[1].query.contains("version=2025-07-10"),
        "{journal:#?}"
    );
    assert!(write.query.contains("version=2025-07-10"), "{journal:#?}");
}

#[test]
fn a_second_run_for_the_same_event_changes_nothing() {
    let scene = Scene::new();
    let event = scene.payload("rotated-public.json");
    scene.run_event(&event).expect(0, "replaced");
    let after_first = scene.tls_secret();
    scene.cloud.clear_journal();

    scene.run_event(&event).expect(0, "unchanged");

    assert_eq!(
        scene.asked(),
        [route::TOKEN, route::READ_TLS_SECRET, route::READ_SECRET]
    );
    assert!(scene.tls_secret() == after_first);
}

#[test]
fn the_entity_tag_of_the_body_goes_back_whatever_the_header_says() {
    for entity_tags in [EntityTags::Bare, EntityTags::Quoted, EntityTags::Weak] {
        let options = Options {
            entity_tags,
            ..Options::default()
        };
        let scene = Scene::with(options, CertificateSpec::default());
        let tag = scene.tls_secret().entity_tag;
        scene.run().expect(0, "replaced");
        let write = scene.writes().pop().unwrap();
        assert_eq!(write.if_match, Some(tag));
    }
}

#[test]
fn by_hand_by_cron_and_by_kafka() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    let project = &scene.world.project_id;
    let event = scene.payload("rotated-public-uuid.json");
    let none = BTreeMap::new();
    let starts: [(&str, &dyn Fn() -> String); 4] = [
        ("manual", &|| {
            scene.cloud.submit_job_run(project, JOB, &none, &[])
        }),
        ("cron", &|| {
            scene
                .cloud
                .fire_cron(project, JOB, r#"{"action":"reconcile"}"#)
        }),
        ("cron", &|| scene.cloud.fire_cron(project, JOB, "")),
        ("kafka", &|| scene.cloud.fire_kafka(project, JOB, &event)),
    ];
    for (trigger, start) in starts {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let (run, processes) = scene.finished(&start());
        assert_eq!(run.status, "completed");
        processes[0].expect(0, "replaced");
        assert_eq!(processes[0].report.trigger.as_deref(), Some(trigger));
        assert_eq!(scene.served(), scene.serial());
    }
}

#[test]
fn a_lost_event_is_repaired_by_the_next_reconcile() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    scene.cloud.subscribe_job(&scene.world.project_id, JOB);
    // without its authorization Event Notifications can start nothing: the delivery is dropped
    scene.cloud.authorize_event_notifications(false);
    scene.cloud.rotate(&[&scene.secret]);
    assert!(scene.cloud.job_runs(&scene.world.project_id).is_empty());
    assert_ne!(scene.served(), scene.serial());

    let run = scene
        .cloud
        .fire_cron(&scene.world.project_id, JOB, r#"{"action":"reconcile"}"#);
    let (_, processes) = scene.finished(&run);

    processes[0].expect(0, "replaced");
    assert_eq!(scene.served(), scene.serial());
}

/// A batch of more than about a dozen secrets makes an event that no job run can carry.
#[test]
fn an_event_too_large_for_a_job_run_is_repaired_too() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    scene.cloud.subscribe_job(&scene.world.project_id, JOB);
    let mut ids = vec![scene.secret.clone()];
    for n in 0..40 {
        let names = vec![format!("n{n}.batch.example.com")];
        ids.push(scene.cloud.issue(CertificateSpec {
            names,
            ..CertificateSpec::default()
        }));
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    scene.cloud.rotate(&ids);
    assert!(scene.cloud.job_runs(&scene.world.project_id).is_empty());

    let run = scene.cloud.fire_cron(&scene.world.project_id, JOB, "");
    scene.finished(&run).1[0].expect(0, "replaced");
    assert_eq!(scene.served(), scene.serial());
}

#[test]
fn a_dry_run_tells_what_it_would_do_and_writes_nothing() {
    let scene = Scene::new();
    let before = scene.tls_secret();
    for run in [
        scene.start().arg("--dry-run").run(),
        scene.start().env("DRY_RUN", "true").run(),
    ] {
        let target = run.expect(0, "would_replace");
        assert!(run.report.dry_run);
        assert_eq!(target.to.as_ref().unwrap().serial, scene.serial());
    }
    assert!(scene.tls_secret() == before);
    assert!(scene.writes().is_empty());
}

#[test]
fn it_works_over_plain_http_to_loopback_and_with_an_api_key() {
    let options = Options {
        https: false,
        ..Options::default()
    };
    let scene = Scene::with(options, CertificateSpec::default());
    let run = scene
        .start()
        .without("IAM_PROFILE_ID")
        .env("IBMCLOUD_API_KEY", &scene.world.api_key)
        .run();
    run.expect(0, "replaced");
}

#[test]
fn a_profile_may_be_given_by_id_name_or_crn() {
    let scene = Scene::new();
    for (name, value) in [
        ("IAM_PROFILE_NAME", &scene.world.profile_name),
        ("IAM_PROFILE_ID", &scene.world.profile_crn),
        ("IAM_PROFILE_ID", &scene.world.profile_id),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        scene
            .start()
            .without("IAM_PROFILE_ID")
            .env(name, value)
            .run()
            .expect(0, "replaced");
    }
}

/// The job's own settings in a config map, as the README recommends: they do not count against the
/// 10 KiB of a job run.
#[test]
fn the_configuration_may_come_from_a_config_map() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    scene
        .cloud
        .put_config_map(project, "sm-tls-sync", &scene.job_environment());
    let settings = JobSettings {
        config_map: Some("sm-tls-sync".to_owned()),
        ..JobSettings::default()
    };
    scene
        .cloud
        .create_job(project, JOB, &BTreeMap::new(), &settings);
    let run = scene
        .cloud
        .submit_job_run(project, JOB, &BTreeMap::new(), &[]);
    scene.finished(&run).1[0].expect(0, "replaced");
}

/// A failing job run is started again, up to its retry limit; the outcome is in its exit status.
#[test]
fn code_engine_sees_the_exit_status_and_tries_again() {
    let scene = Scene::new();
    scene.create_job(&JobSettings {
        retry_limit: 2,
        ..JobSettings::default()
    });
    let environment = BTreeMap::from([("DEADLINE".to_owned(), "never".to_owned())]);
    let name = scene
        .cloud
        .submit_job_run(&scene.world.project_id, JOB, &environment, &[]);
    let (run, processes) = scene.finished(&name);
    assert_eq!(run.status, "failed");
    assert_eq!(
        run.last_failure_reason.as_deref(),
        Some("ContainerExitedCode2")
    );
    assert_eq!(
        processes.iter().map(|p| p.status).collect::<Vec<_>>(),
        [2, 2, 2]
    );
}

/// The stand-in, too, is only as good as what it refuses: without trusted profiles there is no token.
#[test]
fn without_trusted_profiles_on_the_job_there_is_no_token() {
    let scene = Scene::new();
    scene.create_job(&JobSettings {
        token_enabled: false,
        ..JobSettings::default()
    });
    let run = scene
        .cloud
        .submit_job_run(&scene.world.project_id, JOB, &BTreeMap::new(), &[]);
    let (_, processes) = scene.finished(&run);
    let target = processes[0].refused(4, "token-missing");
    let command = target.command.as_deref().unwrap_or_default();
    assert!(command.contains("--trusted-profiles-enabled"), "{command}");
}

#[test]
fn a_missing_tls_secret_is_explained() {
    let scene = Scene::new();
    let run = scene.start().env("TLS_SECRET_NAME", "not-there").run();
    let target = run.refused(7, "tls-secret-missing");
    let command = target.command.as_deref().unwrap_or_default();
    assert!(
        command.starts_with("ibmcloud ce secret create"),
        "{command}"
    );
}

#[test]
fn only_tls_secrets_of_users_are_replaced() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    let data = serde_json::json!({ "tls_cert": "x", "tls_key": "y" });
    scene
        .cloud
        .put_secret(project, "generic", "generic", "user", data.clone());
    scene
        .cloud
        .put_secret(project, "system", "tls", "system", data);
    for name in ["generic", "system"] {
        scene
            .start()
            .env("TLS_SECRET_NAME", name)
            .run()
            .refused(7, "tls-secret-unsuitable");
    }
    assert!(scene.writes().is_empty());
}

#[test]
fn a_placeholder_that_is_no_certificate_is_replaced() {
    let scene = Scene::new();
    scene
        .cloud
        .put_tls_secret(&scene.world.project_id, TLS_SECRET, "placeholder", "none");
    let run = scene.run();
    assert!(run.expect(0, "replaced").from.is_none());
    assert_eq!(scene.served(), scene.serial());
}

/// Two clouds at once do not see each other: ports are the system's.
#[test]
fn two_local_clouds_side_by_side() {
    let (one, other) = (Scene::new(), Scene::new());
    one.run().expect(0, "replaced");
    other.run().expect(0, "replaced");
    assert_ne!(one.served(), other.served());
}

/// Without a job program the local cloud says so, as Code Engine does for a missing entry point.
#[test]
fn the_local_cloud_reports_a_missing_program() {
    let cloud = LocalCloud::start(Options::default()).unwrap();
    let project = cloud.world().project_id;
    cloud.create_job(&project, JOB, &BTreeMap::new(), &JobSettings::default());
    let name = cloud.submit_job_run(&project, JOB, &BTreeMap::new(), &[]);
    let run = cloud.wait_job_run(&project, &name, PATIENCE).unwrap();
    assert_eq!(
        run.last_failure_reason.as_deref(),
        Some("ExecutableNotFound")
    );
}

#[test]
fn help_and_version() {
    let print = |argument: &str| {
        let output = std::process::Command::new(PROGRAM)
            .env_clear()
            .arg(argument)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    // lines are wrapped
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&print("--help"));
    for variable in sm_tls_sync::config::VARIABLES {
        assert!(help.contains(variable.name), "{}", variable.name);
        assert!(help.contains(&words(variable.meaning)), "{}", variable.name);
    }
    assert_eq!(
        print("--version"),
        format!("sm-tls-sync {}\n", env!("CARGO_PKG_VERSION"))
    );
    let output = std::process::Command::new(PROGRAM)
        .env_clear()
        .arg("--hlep")
        .output()
        .unwrap();
    Run::checked(
        output.status.code(),
        &String::from_utf8(output.stdout).unwrap(),
        "",
        &[],
    )
    .rejected(2, "configuration");
}
