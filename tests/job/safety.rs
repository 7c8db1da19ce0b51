use std::time::Duration;

use local_cloud::{
    CertificateSpec, Fault, FaultKind, LocalCloud, Material, Options, SecretType, route,
};

use crate::harness::{JOB, Run, Scene, TLS_SECRET};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Deployed with some names, rotated to others.
pub(crate) fn renamed(old: &[&str], new: &[&str]) -> Scene {
    let scene = Scene::of(CertificateSpec {
        names: names(old),
        ..CertificateSpec::default()
    });
    scene
        .cloud
        .change_spec(&scene.secret, |spec| spec.names = names(new));
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.cloud.clear_journal();
    scene
}

/// The material of a CA that nobody here has heard of.
fn stranger(spec: &CertificateSpec) -> Material {
    let elsewhere = LocalCloud::start(Options::default()).unwrap();
    elsewhere.authority().issue(spec, None).unwrap()
}

/// Secrets Manager holds a leaf of an unknown CA, and nothing of its chain.
fn lose_the_chain(scene: &Scene) {
    let mut material = stranger(&CertificateSpec {
        bundle_certs: false,
        ..CertificateSpec::default()
    });
    material.intermediate = None;
    scene
        .cloud
        .change_material(&scene.secret, |current| *current = material);
}

#[track_caller]
pub(crate) fn found(run: &Run, code: &str) -> String {
    let findings = &run.target().findings;
    let finding = findings.iter().find(|finding| finding.code == code);
    finding
        .unwrap_or_else(|| panic!("no {code} in {run:#?}"))
        .message
        .clone()
}

/// A refusal must not become the outage.
#[test]
fn in_the_last_three_days_lost_names_and_a_shorter_chain_no_longer_stop() {
    let spec = CertificateSpec {
        names: names(&["shop.example.com", "old.example.com"]),
        not_before_days: -80,
        not_after_days: 2,
        ..CertificateSpec::default()
    };
    let scene = Scene::of(spec);
    scene.cloud.change_spec(&scene.secret, |spec| {
        spec.names = names(&["old.example.com"]);
        spec.not_before_days = 0;
        spec.not_after_days = 90;
    });
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.cloud.clear_journal();
    let run = scene.run();
    run.expect(0, "replaced");
    assert!(found(&run, "names-lost").contains("replaced anyway"));
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 0);

    let spec = CertificateSpec {
        not_before_days: -80,
        not_after_days: 2,
        ..CertificateSpec::default()
    };
    let scene = Scene::of(spec);
    lose_the_chain(&scene);
    let run = scene.run();
    run.expect(0, "replaced");
    found(&run, "chain-shorter");
}

#[test]
fn a_publicly_trusted_certificate_is_not_replaced_by_another_kind() {
    let scene = Scene::new();
    scene
        .cloud
        .change_spec(&scene.secret, |spec| spec.stamps = false);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let run = scene.run();
    assert!(
        run.refused(8, "less-trusted")
            .message
            .contains("issue it by a public CA")
    );
    // back to one with stamps: all is well
    scene
        .cloud
        .change_spec(&scene.secret, |spec| spec.stamps = true);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.run().expect(0, "replaced");
}

#[test]
fn a_private_certificate_may_become_public_and_stay_private() {
    for stamps in [true, false] {
        let scene = Scene::of(CertificateSpec {
            stamps: false,
            ..CertificateSpec::default()
        });
        scene
            .cloud
            .change_spec(&scene.secret, |spec| spec.stamps = stamps);
        scene.cloud.rotate_quietly(&[&scene.secret]);
        scene.run().expect(0, "replaced");
    }
}

#[test]
fn a_lost_intermediate_is_taken_over_from_the_deployed_chain() {
    let scene = Scene::of(CertificateSpec {
        secret_type: SecretType::ImportedCert,
        ..CertificateSpec::default()
    });
    scene
        .cloud
        .change_spec(&scene.secret, |spec| spec.with_intermediate = false);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let run = scene.run();
    run.expect(0, "replaced");
    found(&run, "chain-completed");
    assert_eq!(scene.cloud.served("shop.example.com").unwrap().chain_len, 2);
    // and what was completed once is in line the next time
    let run = scene.run();
    run.expect(0, "unchanged");
    found(&run, "chain-completed");
}

#[test]
fn a_chain_that_is_lost_for_good_is_refused() {
    let scene = Scene::new();
    lose_the_chain(&scene);
    let run = scene.run();
    let target = run.refused(8, "chain-shorter");
    assert!(
        target.message.contains("1 intermediate"),
        "{}",
        target.message
    );
    let gap = found(&run, "chain-gap");
    assert!(gap.contains("<- ") && gap.contains("is missing"), "{gap}");
}

#[test]
fn a_newer_certificate_that_was_deployed_by_hand_stays() {
    let scene = Scene::new();
    let newer = CertificateSpec {
        not_before_days: 0,
        not_after_days: 120,
        ..CertificateSpec::default()
    };
    scene
        .cloud
        .change_spec(&scene.secret, |spec| spec.not_before_days = -10);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let by_hand = scene.cloud.authority().issue(&newer, None).unwrap();
    scene.cloud.put_tls_secret(
        &scene.world.project_id,
        TLS_SECRET,
        by_hand.certificate.as_ref().unwrap(),
        by_hand.private_key.as_ref().unwrap(),
    );
    let run = scene.run();
    let target = run.refused(8, "older");
    assert!(
        target.message.contains("somebody deployed it manually"),
        "{}",
        target.message
    );
    assert_eq!(scene.times_asked(route::READ_VERSION_METADATA), 1);
}

#[test]
fn a_version_that_was_restored_on_purpose_is_deployed() {
    let scene = Scene::of(CertificateSpec {
        not_before_days: -10,
        not_after_days: 80,
        ..CertificateSpec::default()
    });
    let first = scene.cloud.material(&scene.secret);
    scene.cloud.change_spec(&scene.secret, |spec| {
        spec.not_before_days = 0;
        spec.not_after_days = 90;
    });
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.run().expect(0, "replaced");
    // restored: a new version with the older content
    scene.cloud.put_material(&scene.secret, first);
    let run = scene.run();
    run.expect(0, "replaced");
    assert!(found(&run, "older").contains("went back on purpose"));
    assert_eq!(scene.served(), scene.serial());
}

#[test]
fn what_serves_nobody_sets_no_bar() {
    let project = |scene: &Scene| scene.world.project_id.clone();
    let other = ["other.example.com"];
    // self-signed placeholder, as an installation makes it
    let scene = renamed(&["shop.example.com"], &["shop.example.com"]);
    let placeholder = rcgen::generate_simple_self_signed(names(&other)).unwrap();
    scene.cloud.put_tls_secret(
        &project(&scene),
        TLS_SECRET,
        &placeholder.cert.pem(),
        &placeholder.signing_key.serialize_pem(),
    );
    scene.run().expect(0, "replaced");

    // expired
    let expired = CertificateSpec {
        names: names(&other),
        not_before_days: -90,
        not_after_days: -1,
        ..CertificateSpec::default()
    };
    let expired = scene.cloud.authority().issue(&expired, None).unwrap();
    let (certificate, key) = (expired.certificate.unwrap(), expired.private_key.unwrap());
    scene
        .cloud
        .put_tls_secret(&project(&scene), TLS_SECRET, &certificate, &key);
    scene.run().expect(0, "replaced");

    // a key that does not match
    let valid = CertificateSpec {
        names: names(&other),
        ..CertificateSpec::default()
    };
    let valid = scene
        .cloud
        .authority()
        .issue(&valid, None)
        .unwrap()
        .certificate
        .unwrap();
    scene
        .cloud
        .put_tls_secret(&project(&scene), TLS_SECRET, &valid, &key);
    scene.run().expect(0, "replaced");
    assert_eq!(scene.times_asked(route::LIST_DOMAIN_MAPPINGS), 0);
}

#[test]
fn force_overrules_by_hand_and_names_what_it_overruled() {
    let scene = renamed(&["shop.example.com"], &["other.example.com"]);
    scene.start().run().refused(8, "names-lost");
    // another rule's word does not help
    scene
        .start()
        .env("FORCE", "older")
        .run()
        .refused(8, "names-lost");
    let run = scene.start().env("FORCE", "older, names-lost").run();
    run.expect(0, "replaced");
    assert!(found(&run, "names-lost").contains("FORCE"));
    scene
        .start()
        .env("FORCE", "expired")
        .run()
        .rejected(2, "configuration");
}

#[test]
fn force_is_ignored_where_it_could_stay_on_by_mistake() {
    let scene = renamed(&["shop.example.com"], &["other.example.com"]);
    let event = scene.payload("rotated-public.json");
    let cron = || scene.start().env("CE_TYPE", "dev.knative.sources.ping");
    for start in [scene.start().env("ibmendata", event), cron()] {
        let run = start.env("FORCE", "names-lost").run();
        run.refused(8, "names-lost");
        assert!(run.log.contains("FORCE is ignored"), "{run:#?}");
    }
    // many targets, none chosen
    let targets = format!(
        r#"[{{"secret_id":"{}","tls_secret":"{TLS_SECRET}"}}]"#,
        scene.secret
    );
    let many = || {
        scene
            .start()
            .without("TLS_SECRET_NAME")
            .env("TARGETS", targets.clone())
    };
    let run = many().without("SECRET_ID").env("FORCE", "names-lost").run();
    run.refused(8, "names-lost");
    assert!(run.log.contains("FORCE is ignored"), "{run:#?}");
    many()
        .env("FORCE", "names-lost")
        .run()
        .expect(0, "replaced");
}

#[test]
fn a_dry_run_exits_as_the_real_one_would() {
    let scene = renamed(&["shop.example.com"], &["other.example.com"]);
    let run = scene.start().arg("--dry-run").run();
    run.refused(8, "names-lost");
    let scene = Scene::new();
    let run = scene.start().arg("--dry-run").run();
    let target = run.expect(0, "would_replace");
    assert!(
        target.message.contains("2 certificates"),
        "{}",
        target.message
    );
}

#[test]
fn a_certificate_near_its_end_is_a_finding_on_every_run() {
    let late = |days, stamps, life: i64| {
        let spec = CertificateSpec {
            not_before_days: days - life,
            not_after_days: days,
            stamps,
            ..CertificateSpec::default()
        };
        let scene = Scene::of(spec);
        scene.run().expect(0, "replaced");
        let run = scene.run();
        run.expect(0, "unchanged");
        run.target()
            .findings
            .iter()
            .any(|finding| finding.code == "expires-soon")
    };
    assert!(late(22, true, 90));
    assert!(!late(25, true, 90));
}

#[test]
fn a_cron_run_that_has_to_write_what_is_old_says_that_an_event_was_missed() {
    let scene = Scene::new();
    let cron = || {
        scene
            .start()
            .env("CE_TYPE", "dev.knative.sources.ping")
            .run()
    };
    scene.cloud.age(&scene.secret, Duration::from_secs(11 * 60));
    let run = cron();
    run.expect(0, "replaced");
    assert!(found(&run, "event-missed").contains("11 minutes"));

    // fresh: its event may still be under way
    scene.cloud.rotate_quietly(&[&scene.secret]);
    assert!(cron().expect(0, "replaced").findings.is_empty());

    // by hand, or by an event, nothing was missed
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.cloud.age(&scene.secret, Duration::from_secs(11 * 60));
    assert!(scene.run().expect(0, "replaced").findings.is_empty());
}

/// The whole chain counts, not only the leaf.
#[test]
fn a_chain_that_changed_under_the_same_leaf_is_written() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let deployed = scene.tls_secret();
    let leaf: String = deployed
        .tls_cert
        .split_inclusive("-----END CERTIFICATE-----\n")
        .take(1)
        .collect();
    scene.cloud.put_tls_secret(
        &scene.world.project_id,
        TLS_SECRET,
        &leaf,
        &deployed.tls_key,
    );
    scene.run().expect(0, "replaced");
    assert_eq!(scene.tls_secret().tls_cert, deployed.tls_cert);
}

/// The form of the text does not count.
#[test]
fn another_form_of_the_same_pem_is_in_line() {
    let scene = Scene::new();
    scene.run().expect(0, "replaced");
    let deployed = scene.tls_secret();
    let crlf = |text: &str| text.replace('\n', "\r\n");
    scene.cloud.put_tls_secret(
        &scene.world.project_id,
        TLS_SECRET,
        &crlf(&deployed.tls_cert),
        &crlf(&deployed.tls_key),
    );
    scene.run().expect(0, "unchanged");
}

#[test]
fn a_refusal_is_seen_by_code_engine_as_exit_status_8() {
    let scene = renamed(&["shop.example.com"], &["other.example.com"]);
    scene.create_job(&local_cloud::JobSettings::default());
    let run = scene.cloud.fire_cron(&scene.world.project_id, JOB, "");
    let (run, _) = scene.finished(&run);
    assert_eq!(
        run.last_failure_reason.as_deref(),
        Some("ContainerExitedCode8")
    );
}

/// Let's Encrypt's staging CA embeds stamps too, and says what it is.
#[test]
fn a_certificate_of_a_staging_ca_does_not_replace_a_public_one() {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    };

    let scene = Scene::new();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.distinguished_name
        .push(DnType::CommonName, "(STAGING) Riddling Rhubarb R12");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.clone().self_signed(&ca_key).unwrap().pem();
    let mut leaf =
        CertificateParams::new(names(&["shop.example.com", "www.shop.example.com"])).unwrap();
    let stamps = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
    leaf.custom_extensions
        .push(CustomExtension::from_oid_content(stamps, vec![4, 2, 0, 0]));
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, &ca_key)).unwrap();
    scene.cloud.change_material(&scene.secret, |current| {
        *current = Material {
            certificate: Some(leaf.pem()),
            intermediate: Some(ca_pem),
            private_key: Some(key.serialize_pem()),
            ..Material::default()
        };
    });
    let run = scene.run();
    let message = &run.refused(8, "less-trusted").message;
    assert!(message.contains("(STAGING)"), "{message}");
}

/// Whether Secrets Manager went back on purpose is asked only there: without an answer nothing is
/// replaced.
#[test]
fn an_older_certificate_is_refused_if_the_previous_version_cannot_be_asked_for() {
    let scene = Scene::new();
    let newer = CertificateSpec {
        not_before_days: 0,
        not_after_days: 120,
        ..CertificateSpec::default()
    };
    let earlier = |spec: &mut CertificateSpec| spec.not_before_days = -10;
    scene.cloud.change_spec(&scene.secret, earlier);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let by_hand = scene.cloud.authority().issue(&newer, None).unwrap();
    let (certificate, key) = (by_hand.certificate.unwrap(), by_hand.private_key.unwrap());
    let project = &scene.world.project_id;
    scene
        .cloud
        .put_tls_secret(project, TLS_SECRET, &certificate, &key);
    for status in [400, 403, 404] {
        let fault = Fault::on(route::READ_VERSION_METADATA, FaultKind::Status(status));
        let _fault = scene.cloud.fault(fault);
        let run = scene.run();
        let told = &run.refused(8, "older").message;
        assert!(told.contains("the previous version is unknown: "), "{told}");
    }
    // the end of the run is no answer either, and no refusal
    let silent = Fault::on(route::READ_VERSION_METADATA, FaultKind::Silent);
    let _silent = scene.cloud.fault(silent);
    scene
        .start()
        .env("DEADLINE", "3")
        .run()
        .refused(9, "interrupted");
}
