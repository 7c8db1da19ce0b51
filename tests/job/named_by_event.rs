use local_cloud::CertificateSpec;

use crate::harness::Scene;

#[test]
fn without_secret_id_the_event_names_the_secret_if_it_is_the_only_one() {
    let scene = Scene::new();
    let start = || scene.start().without("SECRET_ID");
    let run = start()
        .env("ibmendata", scene.payload("rotated-public.json"))
        .run();
    run.expect(0, "replaced");
    assert!(run.log.contains("SECRET_ID is not set"), "{}", run.log);

    start()
        .env("ibmendata", scene.payload("rotated-many.json"))
        .run()
        .rejected(3, "event-ambiguous");
    // no event: nothing names a secret
    start().run().rejected(2, "configuration");
}

#[test]
fn without_secret_id_a_certificate_for_other_names_is_refused() {
    let scene = Scene::new();
    let names = vec!["blog.example.com".to_owned()];
    let other = scene.cloud.issue(CertificateSpec {
        names,
        ..CertificateSpec::default()
    });
    let event = scene
        .payload("rotated-public.json")
        .replace(&scene.secret, &other);
    let run = scene
        .start()
        .without("SECRET_ID")
        .env("ibmendata", event.clone())
        .run();
    let target = run.refused(8, "names-lost");
    assert!(
        target.message.contains("shop.example.com"),
        "{}",
        target.message
    );

    // the deployed one counts even when it has expired, and one that cannot be read cannot vouch
    scene
        .cloud
        .put_tls_secret(&scene.world.project_id, "shop-tls", "placeholder", "none");
    let run = scene
        .start()
        .without("SECRET_ID")
        .env("ibmendata", event)
        .run();
    run.refused(8, "names-lost");
}
