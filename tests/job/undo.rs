use local_cloud::{CertificateSpec, FaultKind, route};

use crate::harness::{Scene, Start, TLS_SECRET};
use crate::safety::{found, lasting, rotated};

fn undo(scene: &Scene) -> Start<'_> {
    scene.start().env("SECRET_VERSION", "previous")
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

    let run = undo(&scene).env("HOLD", "true").run();
    let target = run.expect(0, "replaced");
    assert_eq!(target.to.as_ref().unwrap().serial, good);
    assert_eq!(scene.served(), good);
    assert!(found(&run, "undone").contains("on hold"), "{run:#?}");

    // a further event does not put the bad one back
    let event = scene.payload("rotated-public.json");
    let hold = || scene.start().env("HOLD", "true");
    let run = hold().env("ibmendata", &event).run();
    run.expect(0, "would_replace");
    found(&run, "held");
    assert_eq!(scene.served(), good);

    // repaired
    scene.cloud.rotate_quietly(&[&scene.secret]);
    hold().run().expect(0, "would_replace");
    // released
    scene.run().expect(0, "replaced");
    assert_eq!(scene.served(), scene.serial());
}

#[test]
fn an_undo_without_a_hold_says_that_the_next_event_ends_it() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let run = undo(&scene).arg("--dry-run").run();
    run.expect(0, "would_replace");
    found(&run, "undone");
    let run = undo(&scene).run();
    run.expect(0, "replaced");
    assert!(found(&run, "undone").contains("HOLD=true"), "{run:#?}");
    undo(&scene).run().expect(0, "unchanged");
    scene.run().expect(0, "replaced");
}

/// An older certificate is what an undo wants; all other rules hold.
#[test]
fn an_undo_may_go_back_and_must_not_lose_names_unless_forced() {
    let scene = Scene::of(lasting(-30, 60));
    rotated(&scene, |spec| *spec = lasting(-1, 89));
    scene.run().expect(0, "replaced");
    let run = undo(&scene).run();
    run.expect(0, "replaced");
    found(&run, "older");

    rotated(&scene, |spec| spec.names.push("more.example.com".to_owned()));
    scene.run().expect(0, "replaced");
    let (cloud, project) = (&scene.cloud, &scene.world.project_id);
    cloud.map_domain(project, "more.example.com", TLS_SECRET);
    undo(&scene).run().refused(8, "names-lost");
    let run = undo(&scene).env("FORCE", "names-lost").run();
    run.expect(0, "replaced");
}

#[test]
fn without_a_previous_version_there_is_nothing_to_undo() {
    let scene = Scene::with(|_| {});
    let fresh = scene
        .cloud
        .issue(CertificateSpec { name: "fresh".to_owned(), ..CertificateSpec::default() });
    let run = undo(&scene).env("SECRET_ID", &fresh).run();
    let message = &run.refused(5, "secret-missing").message;
    assert!(message.contains("previous version"), "{message}");
    assert_eq!(scene.times_asked(route::READ_VERSION), 1);
    // nor where it must not be read
    let _fault = scene.fault(route::READ_VERSION, FaultKind::Status(403));
    let run = undo(&scene).run();
    let message = &run.refused(5, "secret-forbidden").message;
    assert!(message.contains(&scene.secret), "{message}");
    assert!(!run.report.retryable);
}
