use std::time::Duration;

use local_cloud::{CertificateSpec, FaultKind, LocalCloud, Options, SecretType, route};
use serde_json::json;

use crate::harness::{Run, Scene, Start, TLS_SECRET, fields, spec_for};

/// Deployed like this, rotated to something else.
fn changed(old: CertificateSpec, change: impl FnOnce(&mut CertificateSpec)) -> Scene {
    let scene = Scene::of(old);
    rotated(&scene, change);
    scene
}

/// Secrets Manager holds something else from now on.
pub(crate) fn rotated(scene: &Scene, change: impl FnOnce(&mut CertificateSpec)) {
    scene.cloud.change_spec(&scene.secret, change);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.cloud.clear_journal();
}

/// Deployed with some names, rotated to others.
fn renamed(old: &[&str], new: &[&str]) -> Scene {
    changed(spec_for(old), |spec| spec.names = spec_for(new).names)
}

pub(crate) fn lasting(not_before_days: i64, not_after_days: i64) -> CertificateSpec {
    CertificateSpec { not_before_days, not_after_days, ..CertificateSpec::default() }
}

/// Secrets Manager holds a leaf of a CA that nobody here has heard of, and nothing of its chain.
fn lose_the_chain(scene: &Scene) {
    let elsewhere = LocalCloud::start(Options::default()).unwrap();
    let leaf = CertificateSpec { bundle_certs: false, ..CertificateSpec::default() };
    let mut material = elsewhere.authority().issue(&leaf, None).unwrap();
    material.intermediate = None;
    scene.cloud.change_material(&scene.secret, |current| *current = material);
}

/// Somebody deploys another certificate manually.
fn deploy_by_hand(scene: &Scene, spec: &CertificateSpec) {
    let issued = scene.cloud.authority().issue(spec, None).unwrap();
    let (certificate, key) = (issued.certificate.unwrap(), issued.private_key.unwrap());
    let project = &scene.world.project_id;
    scene.cloud.put_tls_secret(project, TLS_SECRET, &certificate, &key);
}

#[track_caller]
pub(crate) fn found(run: &Run, code: &str) -> String {
    let findings = &run.target().findings;
    let finding = findings.iter().find(|finding| finding.code == code);
    let finding = finding.unwrap_or_else(|| panic!("no {code} in {run:#?}"));
    finding.message.clone()
}

#[test]
fn a_publicly_trusted_certificate_is_not_replaced_by_another_kind() {
    let scene = changed(CertificateSpec::default(), |spec| spec.stamps = false);
    let run = scene.run();
    let message = &run.refused(8, "less-trusted").message;
    assert!(message.contains("issue it by a public CA"), "{message}");
    // back to one with stamps: all is well
    rotated(&scene, |spec| spec.stamps = true);
    scene.run().expect(0, "replaced");
}

#[test]
fn a_lost_intermediate_is_taken_over_from_the_deployed_chain() {
    let imported =
        CertificateSpec { secret_type: SecretType::ImportedCert, ..CertificateSpec::default() };
    let scene = changed(imported, |spec| spec.with_intermediate = false);
    // and what was completed once is up to date the next time
    for action in ["replaced", "unchanged"] {
        let run = scene.run();
        run.expect(0, action);
        found(&run, "chain-completed");
        assert_eq!(scene.cloud.served("shop.example.com").unwrap().chain_len, 2);
    }
}

#[test]
fn a_chain_that_is_lost_for_good_is_refused() {
    let scene = Scene::new();
    lose_the_chain(&scene);
    let run = scene.run();
    let message = &run.refused(8, "chain-shorter").message;
    assert!(message.contains("1 intermediate"), "{message}");
    let gap = found(&run, "chain-gap");
    assert!(gap.contains("<- ") && gap.contains("is missing"), "{gap}");
}

/// Whether Secrets Manager went back on purpose is asked only there: without an answer nothing is
/// replaced.
#[test]
fn a_newer_certificate_that_was_deployed_by_hand_stays() {
    let scene = changed(CertificateSpec::default(), |spec| spec.not_before_days = -10);
    deploy_by_hand(&scene, &lasting(0, 120));
    let run = scene.run();
    let message = &run.refused(8, "older").message;
    assert!(message.contains("somebody deployed it manually"), "{message}");
    assert_eq!(scene.times_asked(route::READ_VERSION_METADATA), 1);
    // 404: it was never rotated
    for (status, told) in
        [(403, "the previous version is unknown: "), (404, "somebody deployed it manually")]
    {
        let _fault = scene.fault(route::READ_VERSION_METADATA, FaultKind::Status(status));
        let run = scene.run();
        let message = &run.refused(8, "older").message;
        assert!(message.contains(told), "{message}");
    }
    // the end of the run is no answer either, and no refusal
    let silent = scene.fault(route::READ_VERSION_METADATA, FaultKind::Silent);
    let run = scene.start().env("DEADLINE", "3").run();
    run.refused(9, "interrupted");
    assert_eq!(silent.struck(), 1, "{run:#?}");
}

#[test]
fn a_version_that_was_restored_on_purpose_is_deployed() {
    let scene = Scene::of(lasting(-10, 80));
    let first = scene.cloud.material(&scene.secret);
    rotated(&scene, |spec| *spec = lasting(0, 90));
    scene.run().expect(0, "replaced");
    // restored: a new version with the older content
    scene.cloud.put_material(&scene.secret, first);
    let run = scene.run();
    run.expect(0, "replaced");
    assert!(found(&run, "older").contains("went back on purpose"));
    assert_eq!(scene.served(), scene.serial());
}

#[test]
fn force_overrules_by_hand_and_names_what_it_overruled() {
    let scene = renamed(&["shop.example.com"], &["other.example.com"]);
    // a dry run exits as the real one would
    let dry_run = scene.start().arg("--dry-run").run();
    dry_run.refused(8, "names-lost");
    let forced = |force: &str| scene.start().env("FORCE", force).run();
    // another rule's word does not help
    forced("older").refused(8, "names-lost");
    forced("expired").rejected(2, "configuration");
    let run = forced("older, names-lost");
    run.expect(0, "replaced");
    assert!(found(&run, "names-lost").contains("FORCE"));
}

#[test]
fn a_cron_run_that_has_to_write_what_is_old_says_that_an_event_was_missed() {
    let scene = Scene::new();
    scene.cloud.age(&scene.secret, Duration::from_secs(11 * 60));
    let start = scene.start().env("CE_TYPE", "dev.knative.sources.ping");
    let run = start.run();
    run.expect(0, "replaced");
    assert!(found(&run, "event-missed").contains("11 minutes"));
}

/// The same certificate in a TLS secret that no domain mapping uses.
fn unmapped(scene: &Scene) -> Start<'_> {
    let old = scene.tls_secret();
    let project = &scene.world.project_id;
    scene.cloud.put_tls_secret(project, "unmapped", &old.tls_cert, &old.tls_key);
    scene.start().env("TLS_SECRET_NAME", "unmapped")
}

#[test]
fn a_retired_name_is_given_up_only_if_domain_mappings_show_that_none_needs_it() {
    let old = &["shop.example.com", "old.example.com"];
    let scene = renamed(old, &["shop.example.com"]);
    // without any mapping nobody can tell
    let run = unmapped(&scene).run();
    let message = &run.refused(8, "names-lost").message;
    assert!(message.contains("no domain mapping uses"), "{message}");

    let fault = scene.fault(route::LIST_DOMAIN_MAPPINGS, FaultKind::Status(403));
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
fn every_page_of_the_mappings_is_read() {
    let old = &["shop.example.com", "old.example.com"];
    let scene = renamed(old, &["old.example.com"]);
    let empty = json!({ "domain_mappings": [], "next": { "start": "b3Bh cXVl" } });
    let _first = scene.fault_once(route::LIST_DOMAIN_MAPPINGS, fields(empty));
    let run = scene.run();
    // the mapping is on the second page
    let message = &run.refused(8, "names-lost").message;
    assert!(message.contains("need shop.example.com"), "{message}");
    assert!(!run.report.retryable);
    let journal = scene.cloud.journal();
    let last = journal.last().unwrap();
    assert!(last.query.contains("start=b3Bh%20cXVl"), "{last:?}");
}
