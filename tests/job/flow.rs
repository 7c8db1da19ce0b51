use local_cloud::{EntityTags, JobSettings, Service, TimerEvent, Trigger, route};

use crate::harness::{JOB, Run, Scene, TLS_SECRET, run_alone, spec_for};

const RECONCILE: &str = r#"{"action":"reconcile"}"#;

fn trigger(run: &Run) -> &str {
    run.report.trigger.as_deref().unwrap()
}

/// The whole story: SM rotates, EN filters and delivers, CE starts the job, the job replaces, a TLS
/// client sees it.
#[test]
fn a_rotation_is_served_after_the_job_run_that_its_event_starts() {
    for secret_id_as_crn in [true, false] {
        let scene = Scene::with(|options| options.secret_id_as_crn = secret_id_as_crn);
        scene.install();
        let before = scene.served();

        scene.cloud.rotate(&[&scene.secret]);

        let runs = scene.cloud.job_runs(&scene.world.project_id);
        assert_eq!(runs.len(), 1, "{runs:#?}");
        assert_eq!(runs[0].trigger, Trigger::EventNotifications);
        let (run, processes) = scene.finished(&runs[0].name);
        assert_eq!(run.status, "completed", "{run:#?}");
        let target = processes[0].expect(0, "replaced");
        assert_eq!(target.from.as_ref().unwrap().serial, before);
        assert_eq!(target.to.as_ref().unwrap().serial, scene.serial());
        assert_ne!(before, scene.serial());
        assert_eq!(scene.served(), scene.serial());
        assert_eq!(trigger(&processes[0]), "event-notifications");
    }
}

#[test]
fn four_calls_in_this_order_over_one_connection_per_host() {
    let scene = Scene::with(|_| {});
    let tag = scene.tls_secret().entity_tag;
    scene.run().expect(0, "replaced");
    let four =
        [route::TOKEN, route::READ_TLS_SECRET, route::READ_SECRET, route::REPLACE_TLS_SECRET];
    assert_eq!(scene.asked(), four);
    let journal = scene.cloud.journal();
    for service in [Service::Iam, Service::SecretsManager, Service::CodeEngine] {
        let of_service = journal.iter().filter(|entry| entry.service == service);
        let mut connections: Vec<_> = of_service.map(|entry| entry.connection.unwrap()).collect();
        connections.dedup();
        assert_eq!(connections.len(), 1, "{journal:#?}");
    }
    assert_eq!(journal[3].if_match, Some(tag));
    for call in [&journal[1], &journal[3]] {
        assert!(call.query.contains("version=2025-07-10"), "{call:#?}");
    }
}

#[test]
fn a_second_run_for_the_same_event_changes_nothing() {
    let scene = Scene::new();
    let event = scene.payload("rotated-public.json");
    scene.run_event(&event).expect(0, "replaced");
    let after_first = scene.tls_secret();
    scene.cloud.clear_journal();
    scene.run_event(&event).expect(0, "unchanged");
    let three = [route::TOKEN, route::READ_TLS_SECRET, route::READ_SECRET];
    assert_eq!(scene.asked(), three);
    assert!(scene.tls_secret() == after_first);
}

#[test]
fn the_entity_tag_of_the_body_goes_back_whatever_the_header_says() {
    for entity_tags in [
        EntityTags::Bare,
        EntityTags::Quoted,
        EntityTags::Weak,
        EntityTags::Weakened,
        EntityTags::EmptyHeader,
    ] {
        let scene = Scene::with(|options| options.entity_tags = entity_tags);
        let tag = scene.tls_secret().entity_tag;
        scene.run().expect(0, "replaced");
        assert_eq!(scene.writes()[0].if_match, Some(tag));
    }
}

#[test]
fn by_hand_by_cron_and_by_kafka() {
    let scene = Scene::new();
    scene.install();
    let event = scene.payload("rotated-public-uuid.json");
    let kafka = || scene.cloud.fire_kafka(&scene.world.project_id, JOB, &event);
    let starts: [(&str, &dyn Fn() -> String); 4] = [
        ("manual", &|| scene.submit(&[])),
        ("cron", &|| scene.cron(RECONCILE)),
        ("cron", &|| scene.cron("")),
        ("kafka", &kafka),
    ];
    for (word, start) in starts {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let (run, processes) = scene.finished(&start());
        assert_eq!(run.status, "completed");
        processes[0].expect(0, "replaced");
        assert_eq!(trigger(&processes[0]), word);
        assert_eq!(scene.served(), scene.serial());
    }
}

/// Whatever the Periodic Timer of Event Notifications sends: its form is not documented.
#[test]
fn the_periodic_timer_brings_every_target_up_to_date() {
    let scene = Scene::new();
    let (cloud, project) = (&scene.cloud, &scene.world.project_id);
    scene.create_job(&JobSettings::default());
    cloud.subscribe_job_to_timer(project, JOB, "17 3 * * *");
    for shape in TimerEvent::ALL {
        cloud.rotate_quietly(&[&scene.secret]);
        cloud.fire_timer_as(shape);
        let last = format!("{:?}", cloud.deliveries().last().unwrap().outcome);
        let runs = cloud.job_runs(project);
        let run = runs.iter().find(|run| last.contains(&run.name)).unwrap();
        let processes = scene.finished(&run.name).1;
        processes[0].expect(0, "replaced");
        assert_eq!(trigger(&processes[0]), "wake-up", "{shape:?}");
    }
}

/// Without its authorization Event Notifications can start nothing: the delivery is dropped. And a batch
/// of more than about a dozen secrets makes an event that no job run can carry.
#[test]
fn a_lost_event_is_repaired_by_the_next_reconcile() {
    let scene = Scene::new();
    scene.install();
    let mut ids = vec![scene.secret.clone()];
    ids.extend((0..40).map(|n| {
        let name = format!("n{n}.batch.example.com");
        scene.cloud.issue(spec_for(&[name]))
    }));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for (authorized, rotated) in [(true, &ids[..]), (false, &ids[..1])] {
        scene.cloud.authorize_event_notifications(authorized);
        scene.cloud.rotate(rotated);
        assert_ne!(scene.served(), scene.serial());
        let runs = scene.cloud.job_runs(&scene.world.project_id);
        assert!(runs.iter().all(|run| run.trigger == Trigger::Cron), "{runs:#?}");
        scene.finished(&scene.cron(RECONCILE)).1[0].expect(0, "replaced");
        assert_eq!(scene.served(), scene.serial());
    }
}

#[test]
fn a_dry_run_tells_what_it_would_do_and_writes_nothing() {
    let scene = Scene::new();
    let before = scene.tls_secret();
    for start in [scene.start().arg("--dry-run"), scene.start().env("DRY_RUN", "true")] {
        let run = start.run();
        let target = run.expect(0, "would_replace");
        assert!(run.report.dry_run);
        assert_eq!(target.to.as_ref().unwrap().serial, scene.serial());
    }
    assert!(scene.tls_secret() == before);
    assert!(scene.writes().is_empty());
}

/// Also over plain `http:` to loopback.
#[test]
fn a_profile_is_given_by_id_name_or_crn_and_outside_of_code_engine_an_api_key_will_do() {
    let scene = Scene::with(|options| options.https = false);
    for (name, value) in [
        ("IAM_PROFILE_NAME", &scene.world.profile_name),
        ("IAM_PROFILE_ID", &scene.world.profile_crn),
        ("IAM_PROFILE_ID", &scene.world.profile_id),
        ("IBMCLOUD_API_KEY", &scene.world.api_key),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let start = scene.start().without("IAM_PROFILE_ID").env(name, value);
        start.run().expect(0, "replaced");
    }
}

/// The job's own settings in a config map, as the README recommends: they do not count against the
/// 10 KiB of a job run.
#[test]
fn the_configuration_may_come_from_a_config_map() {
    let scene = Scene::new();
    let (cloud, project) = (&scene.cloud, &scene.world.project_id);
    cloud.put_config_map(project, "sm-tls-sync", &scene.job_environment());
    let settings =
        JobSettings { config_map: Some("sm-tls-sync".to_owned()), ..JobSettings::default() };
    cloud.create_job(project, JOB, &Default::default(), &settings);
    scene.finished(&scene.submit(&[])).1[0].expect(0, "replaced");
}

/// A failing job run is started again, up to its retry limit; the outcome is in its exit status.
#[test]
fn code_engine_sees_the_exit_status_and_tries_again() {
    let scene = Scene::new();
    scene.create_job(&JobSettings { retry_limit: 2, ..JobSettings::default() });
    let (run, processes) = scene.finished(&scene.submit(&[("DEADLINE", "never")]));
    assert_eq!(run.status, "failed");
    let reason = run.last_failure_reason.as_deref();
    assert_eq!(reason, Some("ContainerExitedCode2"));
    let statuses: Vec<i32> = processes.iter().map(|p| p.status).collect();
    assert_eq!(statuses, [2, 2, 2]);
}

#[test]
fn without_trusted_profiles_on_the_job_there_is_no_token() {
    let scene = Scene::new();
    scene.create_job(&JobSettings { token_enabled: false, ..JobSettings::default() });
    let (_, processes) = scene.finished(&scene.submit(&[]));
    let target = processes[0].refused(4, "token-missing");
    let command = target.command.as_deref().unwrap_or_default();
    assert!(command.contains("--trusted-profiles-enabled"), "{command}");
}

#[test]
fn only_a_tls_secret_of_a_user_that_is_there_is_replaced() {
    let scene = Scene::new();
    let (cloud, project) = (&scene.cloud, &scene.world.project_id);
    let data = serde_json::json!({ "tls_cert": "x", "tls_key": "y" });
    cloud.put_secret(project, "generic", "generic", "user", data.clone());
    cloud.put_secret(project, "system", "tls", "system", data);
    for (name, reason, command) in [
        ("not-there", "tls-secret-missing", "ibmcloud ce secret create"),
        ("generic", "tls-secret-unsuitable", ""),
        ("system", "tls-secret-unsuitable", ""),
    ] {
        let run = scene.start().env("TLS_SECRET_NAME", name).run();
        let target = run.refused(7, reason);
        let told = target.command.as_deref().unwrap_or_default();
        assert!(told.starts_with(command), "{told}");
    }
    assert!(scene.writes().is_empty());
    // what is not a certificate is replaced
    cloud.put_tls_secret(project, TLS_SECRET, "placeholder", "none");
    let run = scene.run();
    assert!(run.expect(0, "replaced").from.is_none());
    assert_eq!(run.target().findings[0].code, "deployed-unreadable");
}

#[test]
fn without_any_configuration_there_is_a_version_and_a_refusal() {
    let version = format!("sm-tls-sync {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(Scene::new().start().arg("--version").printed(), (0, version));
    run_alone(&[]).rejected(2, "configuration");
}
