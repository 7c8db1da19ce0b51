use local_cloud::{CertificateSpec, FaultKind, JobSettings, KeyKind, Serving, route};
use serde_json::json;

use crate::harness::{PATIENCE, Run, Scene, Start, TLS_SECRET, fields, spec_for};
use crate::safety::lasting;

const DOMAIN: &str = "shop.example.com";
const FOUR_CALLS: [&str; 4] =
    [route::TOKEN, route::READ_TLS_SECRET, route::READ_SECRET, route::REPLACE_TLS_SECRET];

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
    let served = run.target().served.iter();
    served.map(|s| (&*s.domain, &*s.state)).collect()
}

fn codes(run: &Run) -> Vec<&str> {
    run.target().findings.iter().map(|f| &*f.code).collect()
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
    let sent = scene.cloud.edge_bytes(DOMAIN);
    assert_eq!(sent, bytes, "more than a handshake");
}

#[test]
fn a_key_that_an_ingress_may_refuse_is_a_finding() {
    let scene = Scene::of(CertificateSpec { key: KeyKind::P384, ..CertificateSpec::default() });
    let run = probing(&scene).run();
    run.expect(0, "replaced");
    assert_eq!(codes(&run), ["key-not-for-ingress"]);
}

/// What comes before the write is what it was; all else comes after.
#[test]
fn the_four_calls_stay_first_and_the_same() {
    let scene = Scene::with(|_| {});
    let reads = json!({ "type": "secret_full_reference", "reference": TLS_SECRET });
    let app = json!({ "run_env_variables": [reads] });
    scene.cloud.create_app(&scene.world.project_id, "shop", app);
    let run = probing(&scene).env("RESTART_APPS", "auto").run();
    run.expect(0, "replaced");
    let asked = scene.asked();
    assert_eq!(asked[..4], FOUR_CALLS);
    for later in [route::PATCH_APP, route::LIST_DOMAIN_MAPPINGS] {
        assert!(asked.iter().any(|route| route == later), "{asked:?}");
    }
}

#[test]
fn off_and_a_dry_run_look_at_nothing() {
    let scene = Scene::with(|_| {});
    let dry = || probing(&scene).arg("--dry-run").run();
    dry().expect(0, "would_replace");
    scene.cloud.clear_journal();
    let run = probing(&scene).env("PROBE", "off").run();
    run.expect(0, "replaced");
    assert!(states(&run).is_empty());
    assert_eq!(scene.asked(), FOUR_CALLS);
    dry().expect(0, "unchanged");
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 0);
    assert_eq!(scene.cloud.handshakes(DOMAIN), 0);
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

/// Without a write an old certificate is looked at once, and a domain without an answer twice. Nor is
/// somebody an answer who has the certificate without its key.
#[test]
fn a_domain_that_does_not_serve_it_is_a_finding_or_status_10() {
    let old = ("old", "not-served", 1);
    let unreachable = ("unreachable", "domain-unreachable", 2);
    for (serving, (state, code, handshakes), probe, status) in [
        (Serving::Never, old, "warn", 0),
        (Serving::Never, old, "require", 10),
        (Serving::Unreachable, unreachable, "warn", 0),
        (Serving::Unreachable, unreachable, "require", 10),
        (Serving::Silent, unreachable, "warn", 0),
        (Serving::WrongKey, unreachable, "warn", 0),
    ] {
        let scene = scene(serving);
        scene.run().expect(0, "replaced");
        let run = probing(&scene).env("PROBE", probe).run();
        let target = run.expect(status, "unchanged");
        assert_eq!(states(&run), [(DOMAIN, state)]);
        assert_eq!(codes(&run), [code]);
        let reason = (status == 10).then_some(code);
        assert_eq!(target.reason.as_deref(), reason);
        assert_eq!(run.report.retryable, status == 10);
        assert_eq!(target.served[0].after_ms, None);
        assert_eq!(scene.cloud.handshakes(DOMAIN), handshakes);
    }
}

/// The time for waiting is the run's: what it wrote stays, and the status says that nobody saw it.
#[test]
fn time_that_runs_out_after_the_write_is_status_10() {
    let scene = scene(Serving::Never);
    let run = probing(&scene).env("DEADLINE", "6").run();
    let target = run.refused(10, "interrupted");
    assert_eq!(target.action, "replaced");
    assert_eq!(states(&run), [(DOMAIN, "old")]);
    assert_eq!(scene.tls_secret().writes, 2);
    assert!(run.report.retryable);
}

#[test]
fn sigterm_after_the_write_is_status_10() {
    let scene = Scene::new();
    scene.create_job(&JobSettings::default());
    let (cloud, project) = (&scene.cloud, &scene.world.project_id);
    let parked = scene.fault_once(route::LIST_DOMAIN_MAPPINGS, FaultKind::Hold);
    let name = scene.submit(&[("PROBE", "warn")]);
    parked.wait_parked(1, PATIENCE).unwrap();
    cloud.stop_job_run(project, &name);
    cloud.set_serving(project, DOMAIN, Serving::Unreachable);
    parked.release();
    let (_, processes) = scene.finished(&name);
    let target = processes[0].refused(10, "interrupted");
    assert_eq!(target.action, "replaced");
    assert!(processes[0].report.retryable);
}

/// The probe trusts nothing and nobody: a certificate that has expired is read like any other.
#[test]
fn a_domain_that_serves_an_expired_certificate() {
    let scene = Scene::new();
    let (cloud, project) = (&scene.cloud, &scene.world.project_id);
    let served = cloud.authority().issue(&lasting(-90, -1), None).unwrap();
    let (certificate, key) = (served.certificate.unwrap(), served.private_key.unwrap());
    cloud.serve_instead(project, DOMAIN, &certificate, &key);
    scene.run().expect(0, "replaced");
    let run = probing(&scene).run();
    run.expect(0, "unchanged");
    assert_eq!(states(&run), [(DOMAIN, "old")]);
}

#[test]
fn all_user_managed_domains_of_the_tls_secret_and_no_others() {
    let scene = Scene::of(spec_for(&[DOMAIN, "*.shop.example.com"]));
    let project = &scene.world.project_id;
    let map = |domain: &str, secret: &str| scene.cloud.map_domain(project, domain, secret);
    map("*.shop.example.com", TLS_SECRET);
    // a project has at most 80
    for n in 1..76 {
        map(&format!("n{n}.shop.example.com"), TLS_SECRET);
    }
    map("uncovered.example.com", TLS_SECRET);
    scene.cloud.deploy(&scene.secret, project, "blog-tls");
    map("blog.example.com", "blog-tls");
    let platform = json!({ "tls_secret": TLS_SECRET, "user_managed": false });
    scene.cloud.map_domain_with(project, "shop.platform.example.com", platform);
    for action in ["replaced", "unchanged"] {
        let run = probing(&scene).run();
        run.expect(0, action);
        let seen = states(&run);
        assert_eq!(seen.len(), 78, "{run:#?}");
        assert!(seen.contains(&("*.shop.example.com", "new")), "{run:#?}");
        assert!(seen.iter().all(|(_, state)| *state == "new"), "{run:#?}");
        assert_eq!(codes(&run), ["domain-not-covered"], "{run:#?}");
    }
}

/// A good write stays a good write: at most it is not known whether it is served.
#[test]
fn a_list_that_cannot_be_read_is_no_failure_of_code_engine() {
    let endless = fields(json!({ "next": { "start": "again" } }));
    for (kind, code) in [
        (FaultKind::Status(403), "code-engine-forbidden"),
        (FaultKind::NotJson, "code-engine-refused"),
        (endless, "code-engine-refused"),
    ] {
        let scene = Scene::with(|_| {});
        let _guard = scene.fault(route::LIST_DOMAIN_MAPPINGS, kind);
        for (probe, status, action) in [("warn", 0, "replaced"), ("require", 10, "unchanged")] {
            let run = probing(&scene).env("PROBE", probe).run();
            run.expect(status, action);
            assert_eq!(codes(&run), [code], "{run:#?}");
            // pages without end are given up
            assert!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS) <= 40);
        }
    }
}
