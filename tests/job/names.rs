use local_cloud::{Fault, FaultKind, route};

use crate::safety::{found, renamed};

#[test]
fn a_name_that_a_domain_mapping_needs_must_not_be_lost() {
    // the scene maps shop.example.com
    let scene = renamed(
        &["shop.example.com", "old.example.com"],
        &["old.example.com", "new.example.com"],
    );
    let run = scene.run();
    let target = run.refused(8, "names-lost");
    assert_eq!(target.action, "refused");
    for told in [
        "no longer covers shop.example.com",
        "newly covers new.example.com",
        "need shop.example.com",
    ] {
        assert!(target.message.contains(told), "{told}: {}", target.message);
    }
    assert!(!run.report.retryable);
}

#[test]
fn a_retired_name_that_no_domain_mapping_needs_does_not_stop_a_rotation() {
    let scene = renamed(
        &["shop.example.com", "old.example.com"],
        &["shop.example.com"],
    );
    let run = scene.run();
    run.expect(0, "replaced");
    assert!(found(&run, "names-lost").contains("old.example.com"));
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 1);
}

#[test]
fn without_any_domain_mapping_nobody_can_tell_whether_a_name_is_needed() {
    let scene = renamed(
        &["shop.example.com", "old.example.com"],
        &["shop.example.com"],
    );
    let project = &scene.world.project_id;
    scene.cloud.deploy(&scene.secret, project, "unmapped");
    let old = scene.tls_secret();
    scene
        .cloud
        .put_tls_secret(project, "unmapped", &old.tls_cert, &old.tls_key);
    let run = scene.start().env("TLS_SECRET_NAME", "unmapped").run();
    assert!(
        run.refused(8, "names-lost")
            .message
            .contains("no domain mapping uses")
    );
}

#[test]
fn names_are_compared_as_clients_do() {
    for (old, new) in [
        (
            &["a.example.com", "b.example.com"][..],
            &["*.example.com"][..],
        ),
        (&["*.example.com"], &["*.example.com", "example.com"]),
        (
            &["xn--strae-oqa.example.com"],
            &["XN--STRAE-OQA.EXAMPLE.COM"],
        ),
        (
            &["192.0.2.1", "a.example.com"],
            &["a.example.com", "192.0.2.1", "2001:db8::1"],
        ),
    ] {
        let scene = renamed(old, new);
        scene.run().expect(0, "replaced");
        assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 0, "{old:?}");
    }
    for (old, new) in [
        (
            &["a.example.com", "*.example.com"][..],
            &["a.example.com"][..],
        ),
        (&["*.example.com", "example.com"], &["*.example.com"]),
        (&["a.b.example.com"], &["*.example.com"]),
        (&["192.0.2.1", "a.example.com"], &["a.example.com"]),
        (
            &["2001:db8::1", "a.example.com"],
            &["a.example.com", "192.0.2.1"],
        ),
        (&["xn--strae-oqa.example.com"], &["strae.example.com"]),
    ] {
        let scene = renamed(old, new);
        let project = &scene.world.project_id;
        let old_secret = scene.tls_secret();
        // no mapping uses this one
        scene.cloud.put_tls_secret(
            project,
            "unmapped",
            &old_secret.tls_cert,
            &old_secret.tls_key,
        );
        let run = scene.start().env("TLS_SECRET_NAME", "unmapped").run();
        run.refused(8, "names-lost");
    }
}

#[test]
fn if_the_mappings_cannot_be_listed_lost_names_are_refused() {
    let scene = renamed(
        &["shop.example.com", "old.example.com"],
        &["shop.example.com"],
    );
    let _fault = scene.cloud.fault(Fault::on(
        route::LIST_DOMAIN_MAPPINGS,
        FaultKind::Status(403),
    ));
    let run = scene.run();
    let message = &run.refused(8, "names-lost").message;
    assert!(
        message.contains("is unknown") && message.contains("403"),
        "{message}"
    );
}

#[test]
fn every_page_of_the_mappings_is_read() {
    let scene = renamed(
        &["shop.example.com", "old.example.com"],
        &["old.example.com"],
    );
    let body = r#"{"domain_mappings":[],"limit":100,"next":{"start":"b3Bh cXVl"}}"#.to_owned();
    let content_type = "application/json".to_owned();
    let _first = scene.cloud.fault(
        Fault::on(
            route::LIST_DOMAIN_MAPPINGS,
            FaultKind::Answer {
                status: 200,
                content_type,
                body,
            },
        )
        .times(1),
    );
    let run = scene.run();
    // the mapping stands on the second page
    assert!(
        run.refused(8, "names-lost")
            .message
            .contains("need shop.example.com"),
        "{run:#?}"
    );
    let journal = scene.cloud.journal();
    let last = journal.last().unwrap();
    assert!(last.query.contains("start=b3Bh%20cXVl"), "{last:?}");
}
