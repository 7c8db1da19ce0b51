use local_cloud::{
    CertificateSpec, Fault, FaultKind, JobSettings, KeyKind, Options, SecretType, Serving, route,
};
use serde_json::json;

use crate::harness::{JOB, PATIENCE, Run, Scene, Start, TLS_SECRET};

const DOMAIN: &str = "shop.example.com";
const FOUR_CALLS: [&str; 4] = [
    route::TOKEN,
    route::READ_TLS_SECRET,
    route::READ_SECRET,
    route::REPLACE_TLS_SECRET,
];

/// A scene whose domain takes the new certificate like this.
fn scene(serving: Serving) -> Scene {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    scene.cloud.set_serving(project, DOMAIN, serving);
    scene
}

/// A run as it is installed by default: it looks at the domains.
fn probing(scene: &Scene) -> Start<'_> {
    scene.start().without("PROBE")
}

fn states(run: &Run) -> Vec<(&str, &str)> {
    let served = &run.target().served;
    served
        .iter()
        .map(|served| (served.domain.as_str(), served.state.as_str()))
        .collect()
}

fn codes(run: &Run) -> Vec<&str> {
    let findings = &run.target().findings;
    findings.iter().map(|f| f.code.as_str()).collect()
}

#[test]
fn a_rotation_ends_when_a_tls_client_sees_it() {
    let scene = Scene::new();
    let bytes = scene.cloud.edge_bytes(DOMAIN);

    let run = probing(&scene).run();

    let target = run.expect(0, "replaced");
    assert_eq!(states(&run), [(DOMAIN, "new")]);
    assert!(codes(&run).is_empty(), "{run:#?}");
    assert!(target.served[0].after_ms.is_some());
    assert_eq!(scene.cloud.handshakes(DOMAIN), 1);
    assert_eq!(
        scene.cloud.edge_bytes(DOMAIN),
        bytes,
        "more than a handshake"
    );
}

/// What comes before the write is what it was; all else comes after.
#[test]
fn the_four_calls_stay_first_and_the_same() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    scene.cloud.create_app(
        &scene.world.project_id,
        "shop",
        json!({ "run_env_variables": [
            { "type": "secret_full_reference", "reference": TLS_SECRET }
        ] }),
    );
    probing(&scene)
        .env("RESTART_APPS", "auto")
        .run()
        .expect(0, "replaced");
    let asked = scene.asked();
    assert_eq!(asked[..4], FOUR_CALLS);
    let mut after = asked[4..].to_vec();
    after.sort();
    after.dedup();
    assert_eq!(
        after,
        [
            route::LIST_APPS,
            route::READ_APP,
            route::LIST_DOMAIN_MAPPINGS,
            route::PATCH_APP,
        ]
    );
}

#[test]
fn off_looks_at_nothing() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let run = probing(&scene).env("PROBE", "off").run();
    run.expect(0, "replaced");
    assert!(states(&run).is_empty());
    assert_eq!(scene.asked(), FOUR_CALLS);
    assert_eq!(scene.cloud.handshakes(DOMAIN), 0);
}

#[test]
fn a_dry_run_looks_at_nothing() {
    let scene = Scene::new();
    let run = probing(&scene).arg("--dry-run").run();
    run.expect(0, "would_replace");
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 0);
    scene.run().expect(0, "replaced");
    let run = probing(&scene).arg("--dry-run").run();
    run.expect(0, "unchanged");
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 0);
}

#[test]
fn an_ingress_that_takes_it_late_is_waited_for() {
    let scene = scene(Serving::AfterHandshakes(2));

    let run = probing(&scene).run();

    run.expect(0, "replaced");
    assert_eq!(states(&run), [(DOMAIN, "new")]);
    assert!(codes(&run).is_empty(), "{run:#?}");
    assert_eq!(scene.cloud.handshakes(DOMAIN), 3);
}

#[test]
fn an_ingress_that_never_takes_it_is_a_finding_or_status_10() {
    for (probe, status) in [("warn", 0), ("require", 10)] {
        let scene = scene(Serving::Never);
        // in line already: one look, no waiting
        scene.run().expect(0, "replaced");

        let run = probing(&scene).env("PROBE", probe).run();

        let target = run.expect(status, "unchanged");
        assert_eq!(states(&run), [(DOMAIN, "old")]);
        assert_eq!(codes(&run), ["not-served"]);
        let reason = (status == 10).then_some("not-served");
        assert_eq!(target.reason.as_deref(), reason);
        assert_eq!(run.report.retryable, status == 10);
        assert_eq!(target.served[0].after_ms, None);
    }
}

/// The time for waiting is the run's: what it wrote stays, and the status says that nobody saw it.
#[test]
fn time_that_runs_out_after_the_write_is_status_10() {
    let scene = scene(Serving::Never);

    let run = probing(&scene).env("DEADLINE", "6").run();

    run.refused(10, "interrupted");
    assert_eq!(run.target().action, "replaced");
    assert_eq!(states(&run), [(DOMAIN, "old")]);
    assert_eq!(scene.tls_secret().writes, 2);
    assert!(run.report.retryable);
}

/// A stop after the write: it stays written, and the status says that nobody saw the effect.
#[test]
fn sigterm_after_the_write_is_status_10() {
    let scene = Scene::new();
    let mut environment = scene.job_environment();
    environment.remove("PROBE");
    let project = &scene.world.project_id;
    scene
        .cloud
        .create_job(project, JOB, &environment, &JobSettings::default());
    let parked = scene
        .cloud
        .fault(Fault::on(route::LIST_DOMAIN_MAPPINGS, FaultKind::Hold).times(1));
    let name = scene
        .cloud
        .submit_job_run(project, JOB, &Default::default(), &[]);
    parked.wait_parked(1, PATIENCE).unwrap();
    scene.cloud.stop_job_run(project, &name);
    scene
        .cloud
        .set_serving(project, DOMAIN, Serving::Unreachable);
    parked.release();
    let (_, processes) = scene.finished(&name);
    let target = processes[0].refused(10, "interrupted");
    assert_eq!(target.action, "replaced");
    assert!(processes[0].report.retryable);
}

/// The probe trusts nothing and nobody: an expired certificate is read like any other.
#[test]
fn another_certificate_is_told_from_an_older_one_that_has_expired() {
    let elsewhere = CertificateSpec {
        names: vec!["elsewhere.example.net".to_owned()],
        ..CertificateSpec::default()
    };
    let expired = CertificateSpec {
        not_before_days: -90,
        not_after_days: -1,
        ..CertificateSpec::default()
    };
    for (served, state) in [(elsewhere, "other"), (expired, "old")] {
        let scene = Scene::new();
        let served = scene.cloud.authority().issue(&served, None).unwrap();
        let (certificate, key) = (served.certificate.unwrap(), served.private_key.unwrap());
        scene
            .cloud
            .serve_instead(&scene.world.project_id, DOMAIN, &certificate, &key);
        scene.run().expect(0, "replaced");

        let run = probing(&scene).run();

        run.expect(0, "unchanged");
        assert_eq!(states(&run), [(DOMAIN, state)]);
        assert_eq!(codes(&run), ["not-served"]);
    }
}

/// Nor is somebody an answer who has the certificate without its key.
#[test]
fn a_domain_without_an_answer_gets_two_tries() {
    for (serving, probe, status) in [
        (Serving::Unreachable, "warn", 0),
        (Serving::Unreachable, "require", 10),
        (Serving::Silent, "warn", 0),
        (Serving::WrongKey, "warn", 0),
    ] {
        let scene = scene(serving);

        let run = probing(&scene).env("PROBE", probe).run();

        run.expect(status, "replaced");
        assert_eq!(states(&run), [(DOMAIN, "unreachable")]);
        assert_eq!(codes(&run), ["domain-unreachable"]);
        assert_eq!(scene.cloud.handshakes(DOMAIN), 2);
    }
}

#[test]
fn the_cname_target_is_where_a_domain_is_looked_for() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    // nothing listens there on port 443
    scene.cloud.set_cname_target(project, DOMAIN, "127.0.0.1");
    let run = probing(&scene).without("PROBE_ADDRESS").run();
    run.expect(0, "replaced");
    assert_eq!(states(&run), [(DOMAIN, "unreachable")]);
    assert_eq!(scene.cloud.handshakes(DOMAIN), 0);
}

#[test]
fn all_user_managed_domains_of_the_tls_secret_and_no_others() {
    let scene = Scene::of(CertificateSpec {
        names: vec![DOMAIN.to_owned(), "*.shop.example.com".to_owned()],
        ..CertificateSpec::default()
    });
    let project = &scene.world.project_id;
    scene
        .cloud
        .map_domain(project, "*.shop.example.com", TLS_SECRET);
    scene.cloud.deploy(&scene.secret, project, "blog-tls");
    scene
        .cloud
        .map_domain(project, "blog.example.com", "blog-tls");
    scene.cloud.map_domain_with(
        project,
        "shop.platform.example.com",
        json!({ "tls_secret": TLS_SECRET, "user_managed": false }),
    );

    let run = probing(&scene).run();

    run.expect(0, "replaced");
    let mut seen = states(&run);
    seen.sort_unstable();
    assert_eq!(seen, [("*.shop.example.com", "new"), (DOMAIN, "new")]);
    assert!(codes(&run).is_empty(), "{run:#?}");
}

#[test]
fn eighty_domains_are_looked_at_side_by_side() {
    let scene = Scene::of(CertificateSpec {
        names: vec![DOMAIN.to_owned(), "*.shop.example.com".to_owned()],
        ..CertificateSpec::default()
    });
    let project = &scene.world.project_id;
    for n in 1..80 {
        let domain = format!("n{n}.shop.example.com");
        scene.cloud.map_domain(project, &domain, TLS_SECRET);
    }
    let run = probing(&scene).run();
    run.expect(0, "replaced");
    assert_eq!(run.target().served.len(), 80);
    assert!(states(&run).iter().all(|(_, state)| *state == "new"));
}

#[test]
fn a_domain_that_the_certificate_does_not_cover_is_a_finding_on_every_run() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    scene
        .cloud
        .map_domain(project, "blog.example.com", TLS_SECRET);
    for action in ["replaced", "unchanged"] {
        let run = probing(&scene).run();
        run.expect(0, action);
        assert_eq!(codes(&run), ["domain-not-covered"], "{run:#?}");
    }
}

#[test]
fn a_key_that_ingress_proxies_refuse_is_a_finding_if_a_domain_uses_it() {
    for (mapped, expected) in [(true, vec!["key-not-for-ingress"]), (false, Vec::new())] {
        let scene = Scene::of(CertificateSpec {
            key: KeyKind::Ed25519,
            ..CertificateSpec::default()
        });
        let start = probing(&scene);
        let start = if mapped {
            start
        } else {
            let project = &scene.world.project_id;
            scene
                .cloud
                .put_tls_secret(project, "unmapped", "none", "none");
            start.env("TLS_SECRET_NAME", "unmapped")
        };
        let run = start.run();
        run.expect(0, "replaced");
        let ingress: Vec<&str> = codes(&run)
            .into_iter()
            .filter(|code| *code == "key-not-for-ingress")
            .collect();
        assert_eq!(ingress, expected, "{run:#?}");
    }
}

/// A good write stays a good write: at most it is not known to be in effect.
#[test]
fn a_list_that_cannot_be_read_is_no_failure_of_code_engine() {
    for (probe, status) in [("warn", 0), ("require", 10)] {
        for (kind, code) in [
            (FaultKind::Status(403), "code-engine-forbidden"),
            (FaultKind::NotJson, "code-engine-refused"),
        ] {
            let scene = Scene::new();
            let fault = Fault::on(route::LIST_DOMAIN_MAPPINGS, kind.clone());
            let _guard = scene.cloud.fault(fault);
            let run = probing(&scene).env("PROBE", probe).run();
            run.expect(status, "replaced");
            assert_eq!(codes(&run), [code], "{run:#?}");
        }
    }
}

/// The installed job, started by the event, with a private certificate that apps mount.
#[test]
fn the_report_of_an_event_tells_what_is_served() {
    let scene = Scene::of(CertificateSpec {
        secret_type: SecretType::PrivateCert,
        ..CertificateSpec::default()
    });
    let mut environment = scene.job_environment();
    environment.remove("PROBE");
    let project = &scene.world.project_id;
    scene
        .cloud
        .create_job(project, JOB, &environment, &JobSettings::default());
    scene.cloud.subscribe_job(project, JOB);
    scene.cloud.rotate(&[&scene.secret]);
    let name = scene.cloud.job_runs(project)[0].name.clone();
    let (_, processes) = scene.finished(&name);
    processes[0].expect(0, "replaced");
    assert_eq!(states(&processes[0]), [(DOMAIN, "new")]);
}

#[test]
fn a_list_of_domain_mappings_without_end_is_given_up() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let fields = json!({ "next": { "start": "again" } });
    let endless = FaultKind::Override(fields.as_object().unwrap().clone());
    let _endless = scene
        .cloud
        .fault(Fault::on(route::LIST_DOMAIN_MAPPINGS, endless));
    let run = probing(&scene).run();
    let target = run.expect(0, "replaced");
    assert_eq!(codes(&run), ["code-engine-refused"]);
    let told = &target.findings[0].message;
    assert!(
        told.contains("domain_mappings has more than 20 pages"),
        "{told}"
    );
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 20);
}

/// The log says for whom the run waits, the report names the first ten.
#[test]
fn many_domains_that_serve_something_else_are_counted() {
    let scene = Scene::of(CertificateSpec {
        names: vec![DOMAIN.to_owned(), "*.shop.example.com".to_owned()],
        ..CertificateSpec::default()
    });
    let project = &scene.world.project_id;
    scene.cloud.set_serving(project, DOMAIN, Serving::Never);
    for n in 1..13 {
        let domain = format!("n{n}.shop.example.com");
        scene.cloud.map_domain(project, &domain, TLS_SECRET);
        scene.cloud.set_serving(project, &domain, Serving::Never);
    }
    let run = probing(&scene).env("DEADLINE", "6").run();
    run.refused(10, "interrupted");
    let told = "waiting for 13 domains to serve the new certificate";
    assert!(run.log.contains(told), "{}", run.log);
    assert_eq!(codes(&run), ["not-served"]);
    let told = &run.target().findings[0].message;
    assert_eq!(told.matches(" serves ").count(), 10, "{told}");
    assert!(told.ends_with(", and 3 more"), "{told}");
}
