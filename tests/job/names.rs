use local_cloud::{Fault, FaultKind, route};

use crate::harness::{Scene, Start};
use crate::safety::{found, renamed};

/// The same certificate in a TLS secret that no domain mapping uses.
fn unmapped(scene: &Scene) -> Start<'_> {
    let old = scene.tls_secret();
    let project = &scene.world.project_id;
    scene
        .cloud
        .put_tls_secret(project, "unmapped", &old.tls_cert, &old.tls_key);
    scene.start().env("TLS_SECRET_NAME", "unmapped")
}

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
fn a_retired_name_is_given_up_only_if_domain_mappings_show_that_none_needs_it() {
    let old = &["shop.example.com", "old.example.com"];
    let scene = renamed(old, &["shop.example.com"]);
    // without any mapping nobody can tell
    let run = unmapped(&scene).run();
    let message = &run.refused(8, "names-lost").message;
    assert!(message.contains("no domain mapping uses"), "{message}");

    let fault = Fault::on(route::LIST_DOMAIN_MAPPINGS, FaultKind::Status(403));
    let fault = scene.cloud.fault(fault);
    let run = scene.run();
    let message = &run.refused(8, "names-lost").message;
    for told in ["is unknown", "403"] {
        assert!(message.contains(told), "{message}");
    }
    drop(fault);

    scene.cloud.clear_journal();
    let run = scene.run();
    run.expect(0, "replaced");
    assert!(found(&run, "names-lost").contains("old.example.com"));
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 1);
}

#[test]
fn names_are_compared_as_clients_do() {
    let old = &["a.example.com", "XN--STRAE-OQA.EXAMPLE.COM", "192.0.2.1"];
    for (new, covered) in [
        (&["192.0.2.1", "*.example.com"][..], true),
        (&["*.example.com"], false),
    ] {
        let scene = renamed(old, new);
        let run = unmapped(&scene).run();
        match covered {
            true => _ = run.expect(0, "replaced"),
            false => _ = run.refused(8, "names-lost"),
        }
        let asked = scene.times_asked(route::LIST_DOMAIN_MAPPINGS);
        assert_eq!(asked == 0, covered, "{new:?}");
    }
}

#[test]
fn every_page_of_the_mappings_is_read() {
    let old = &["shop.example.com", "old.example.com"];
    let scene = renamed(old, &["old.example.com"]);
    let body = r#"{"domain_mappings":[],"limit":100,"next":{"start":"b3Bh cXVl"}}"#.to_owned();
    let first = FaultKind::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body,
    };
    let first = Fault::on(route::LIST_DOMAIN_MAPPINGS, first).times(1);
    let _first = scene.cloud.fault(first);
    let run = scene.run();
    // the mapping is on the second page
    let message = &run.refused(8, "names-lost").message;
    assert!(message.contains("need shop.example.com"), "{message}");
    let journal = scene.cloud.journal();
    let last = journal.last().unwrap();
    assert!(last.query.contains("start=b3Bh%20cXVl"), "{last:?}");
}
