use local_cloud::{CertificateSpec, Fault, FaultKind, Options, Policy, Role, route};
use serde_json::json;

use crate::harness::{Run, Scene, TLS_SECRET, writer};

fn finding<'a>(run: &'a Run, code: &str) -> &'a str {
    let found = run.target().findings.iter().find(|f| f.code == code);
    let found = found.unwrap_or_else(|| panic!("no finding {code}: {run:#?}"));
    &found.message
}

/// Hold, undo, repair, release.
#[test]
fn a_bad_rotation_is_undone_and_stays_undone_until_it_is_released() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let good = scene.serial();
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let bad = scene.serial();
    scene.run().expect(0, "replaced");
    assert_eq!(scene.served(), bad);

    let hold = || scene.start().env("HOLD", "true");
    let run = hold().env("SECRET_VERSION", "previous").run();
    let target = run.expect(0, "replaced");
    assert_eq!(target.to.as_ref().unwrap().serial, good);
    assert_eq!(scene.served(), good);
    let told = finding(&run, "undone");
    assert!(told.contains("on hold") && told.contains(&bad), "{run:#?}");

    // a further event does not put the bad one back
    let event = scene.payload("rotated-public.json");
    let run = hold().env("ibmendata", &event).run();
    run.expect(0, "would_replace");
    finding(&run, "held");
    assert_eq!(scene.served(), good);

    // repaired
    scene.cloud.rotate_quietly(&[&scene.secret]);
    hold().run().expect(0, "would_replace");
    // released
    scene.run().expect(0, "replaced");
    assert_eq!(scene.served(), scene.serial());
}

#[test]
fn an_undo_without_a_hold_says_what_the_next_event_does() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let undo = || scene.start().env("SECRET_VERSION", "previous");
    let run = undo().arg("--dry-run").run();
    run.expect(0, "would_replace");
    assert!(finding(&run, "undone").contains(&scene.serial()));
    let run = undo().run();
    run.expect(0, "replaced");
    let told = finding(&run, "undone");
    assert!(told.contains(&scene.serial()), "{run:#?}");
    assert!(told.contains("HOLD=true"), "{run:#?}");
    undo().run().expect(0, "unchanged");
    scene.run().expect(0, "replaced");
}

#[test]
fn an_undo_says_what_the_next_run_would_do() {
    type Change = fn(&Scene);
    let cases: [(Change, &str); 4] = [
        (|_| {}, "would deploy the current version again (serial "),
        (
            |scene| {
                scene.cloud.change_material(&scene.secret, |material| {
                    material.certificate = Some("none".to_owned());
                });
            },
            "would change nothing: the certificate ",
        ),
        (
            |scene| {
                let material = scene.cloud.material(&scene.secret);
                scene.cloud.put_material(&scene.secret, material);
            },
            "would change nothing: it is the same certificate",
        ),
        (
            |scene| {
                scene.cloud.change_spec(&scene.secret, |spec| {
                    spec.names = vec!["other.example.com".to_owned()];
                });
                scene.cloud.rotate_quietly(&[&scene.secret]);
            },
            "would be refused: ",
        ),
    ];
    for (change, expected) in cases {
        let scene = Scene::new();
        change(&scene);
        let run = scene.start().env("SECRET_VERSION", "previous").run();
        assert_eq!(run.status, 0, "{run:#?}");
        let told = finding(&run, "undone");
        assert!(told.contains(&format!("daily run {expected}")), "{told}");
    }
}

/// An older certificate is what an undo wants.
#[test]
fn an_older_certificate_is_no_reason_to_refuse_an_undo() {
    let scene = Scene::of(CertificateSpec {
        not_before_days: -30,
        not_after_days: 60,
        ..CertificateSpec::default()
    });
    let newer = |spec: &mut CertificateSpec| {
        spec.not_before_days = -1;
        spec.not_after_days = 89;
    };
    scene.cloud.change_spec(&scene.secret, newer);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.run().expect(0, "replaced");
    let undo = || scene.start().env("SECRET_VERSION", "previous");
    let run = undo().run();
    run.expect(0, "replaced");
    finding(&run, "older");
}

/// All other rules hold.
#[test]
fn lost_names_refuse_an_undo_unless_forced() {
    let scene = Scene::new();
    let more = |spec: &mut CertificateSpec| spec.names.push("more.example.com".to_owned());
    scene.cloud.change_spec(&scene.secret, more);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.run().expect(0, "replaced");
    let project = &scene.world.project_id;
    scene
        .cloud
        .map_domain(project, "more.example.com", TLS_SECRET);
    let undo = || scene.start().env("SECRET_VERSION", "previous");
    undo().run().refused(8, "names-lost");
    undo()
        .env("FORCE", "names-lost")
        .run()
        .expect(0, "replaced");
}

#[test]
fn only_by_hand_and_for_one_secret() {
    let scene = Scene::new();
    let event = scene.payload("rotated-public.json");
    let undo = || scene.start().env("SECRET_VERSION", "previous");
    undo()
        .env("ibmendata", event)
        .run()
        .rejected(2, "configuration");
    undo()
        .env("CE_TYPE", "dev.knative.sources.ping")
        .run()
        .rejected(2, "configuration");
    undo()
        .without("SECRET_ID")
        .run()
        .rejected(2, "configuration");
    scene
        .start()
        .env("SECRET_VERSION", "3")
        .run()
        .rejected(2, "configuration");
    assert!(scene.asked().is_empty());
}

#[test]
fn without_a_previous_version_there_is_nothing_to_undo() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let fresh = scene.cloud.issue(CertificateSpec {
        name: "fresh".to_owned(),
        ..CertificateSpec::default()
    });
    let run = scene
        .start()
        .env("SECRET_ID", fresh)
        .env("SECRET_VERSION", "previous")
        .run();
    let target = run.refused(5, "secret-missing");
    assert!(target.message.contains("previous version"), "{run:#?}");
    assert_eq!(scene.times_asked(route::READ_VERSION), 1);
}

#[test]
fn one_of_many_targets_is_on_hold() {
    let mut scene = Scene::new();
    let project = scene.world.project_id.clone();
    scene.cloud.deploy(&scene.secret, &project, "held-tls");
    scene.watch(&project, "held-tls");
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let targets = json!([
        { "secret_id": scene.secret, "tls_secret": TLS_SECRET },
        { "secret_id": scene.secret, "tls_secret": "held-tls", "hold": true },
    ]);
    let run = scene.start().targets(&targets).run();
    assert_eq!(run.status, 0, "{run:#?}");
    let actions: Vec<&str> = run
        .report
        .targets
        .iter()
        .map(|t| t.action.as_str())
        .collect();
    assert_eq!(actions, ["replaced", "would_replace"]);
}

/// What no right to the payload of versions means: nothing is undone, and the message says which.
#[test]
fn an_undo_needs_the_right_to_read_the_secret() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let project = scene.world.project_id.clone();
    scene.cloud.set_policies(vec![
        writer(&project),
        Policy::SecretsManager {
            role: Role::Reader,
            secret_group_id: None,
        },
    ]);
    let run = scene.start().env("SECRET_VERSION", "previous").run();
    run.refused(5, "secret-forbidden");
}

#[test]
fn a_previous_version_that_cannot_be_read_changes_nothing() {
    for (status, reason) in [
        (400, "secrets-manager-refused"),
        (403, "secret-forbidden"),
        (404, "secret-missing"),
        (503, "secrets-manager-unavailable"),
    ] {
        let scene = Scene::new();
        scene.run().expect(0, "replaced");
        let _fault = scene
            .cloud
            .fault(Fault::on(route::READ_VERSION, FaultKind::Status(status)));
        let start = scene.start().env("SECRET_VERSION", "previous");
        let run = start.env("DEADLINE", "4").run();
        let target = run.refused(5, reason);
        assert!(target.message.contains(&scene.secret), "{run:#?}");
        assert_eq!(run.report.retryable, status == 503);
    }
}

/// What the report of an undo says about the next normal run.
fn after_undo(scene: &Scene) -> String {
    let run = scene.start().env("SECRET_VERSION", "previous").run();
    assert_eq!(run.status, 0, "{run:#?}");
    finding(&run, "undone").to_owned()
}

#[test]
fn an_undo_says_that_the_current_version_cannot_be_read() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let fault = Fault::on(route::READ_SECRET, FaultKind::Status(400));
    let _guard = scene.cloud.fault(fault);
    let told = after_undo(&scene);
    assert!(
        told.contains("run would change nothing: cannot read secret"),
        "{told}"
    );
}

#[test]
fn an_undo_says_that_the_current_version_would_be_refused() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let project = &scene.world.project_id;
    let domain = "www.shop.example.com";
    scene.cloud.map_domain(project, domain, TLS_SECRET);
    scene
        .cloud
        .change_spec(&scene.secret, |spec| spec.names.truncate(1));
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let told = after_undo(&scene);
    assert!(told.contains("run would be refused: "), "{told}");
    assert!(told.contains(domain), "{told}");
    scene.run().refused(8, "names-lost");
}

#[test]
fn an_undo_says_that_the_current_version_is_the_same_certificate() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let again = scene.cloud.material(&scene.secret);
    scene.cloud.put_material(&scene.secret, again);
    let told = after_undo(&scene);
    let expected = "run would change nothing: it is the same certificate";
    assert!(told.contains(expected), "{told}");
    scene.run().expect(0, "unchanged");
}
