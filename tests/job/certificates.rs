use local_cloud::{CertificateSpec, KeyKind, Material, SecretType};

use crate::harness::{Scene, TLS_SECRET};

fn spec(secret_type: SecretType) -> CertificateSpec {
    CertificateSpec {
        secret_type,
        ..CertificateSpec::default()
    }
}

fn blocks(pem: &str) -> Vec<&str> {
    pem.split_inclusive("-----END CERTIFICATE-----\n").collect()
}

#[test]
fn each_certificate_type_is_deployed_with_its_chain() {
    for (spec, length) in [
        (spec(SecretType::PublicCert), 2),
        (
            CertificateSpec {
                bundle_certs: false,
                ..spec(SecretType::PublicCert)
            },
            2,
        ),
        (spec(SecretType::ImportedCert), 2),
        (
            CertificateSpec {
                managed_csr: true,
                ..spec(SecretType::ImportedCert)
            },
            2,
        ),
        (spec(SecretType::PrivateCert), 2),
        (
            CertificateSpec {
                key: KeyKind::P384,
                ..spec(SecretType::PublicCert)
            },
            2,
        ),
        (
            CertificateSpec {
                key: KeyKind::Ed25519,
                ..spec(SecretType::PublicCert)
            },
            2,
        ),
        (
            CertificateSpec {
                rotate_keys: false,
                ..spec(SecretType::PublicCert)
            },
            2,
        ),
    ] {
        let scene = Scene::of(spec);
        let run = scene.run();
        let target = run.expect(0, "replaced");
        assert!(target.findings.is_empty(), "{target:#?}");
        let deployed = scene.tls_secret();
        assert_eq!(blocks(&deployed.tls_cert).len(), length);
        assert!(deployed.tls_cert.ends_with("-----END CERTIFICATE-----\n"));
        let served = scene.cloud.served("shop.example.com").unwrap();
        assert_eq!((served.serial, served.chain_len), (scene.serial(), length));
        scene.run().expect(0, "unchanged");
    }
}

/// Renewed with the same key, which is the default of many CAs' clients: still a new certificate.
#[test]
fn the_same_key_is_no_reason_to_keep_the_old_certificate() {
    let scene = Scene::of(CertificateSpec {
        rotate_keys: false,
        ..CertificateSpec::default()
    });
    let before = scene.tls_secret();
    scene.run().expect(0, "replaced");
    let after = scene.tls_secret();
    assert!(before.tls_key == after.tls_key && before.tls_cert != after.tls_cert);
}

#[test]
fn the_same_material_in_any_order_and_form_gives_the_same_bytes() {
    let scene = Scene::new();
    let Material {
        certificate,
        private_key,
        ..
    } = scene.cloud.material(&scene.secret);
    let whole = certificate.unwrap();
    let bundle = blocks(&whole);
    let (leaf, intermediate) = (bundle[0], bundle[1]);
    let key = private_key.unwrap();
    scene.run().expect(0, "replaced");
    let expected = scene.tls_secret();

    let text = |certificate: String, intermediate: Option<String>| Material {
        certificate: Some(certificate),
        intermediate,
        private_key: Some(key.clone()),
        ..Material::default()
    };
    for material in [
        text(leaf.to_owned(), Some(intermediate.to_owned())),
        text(format!("{intermediate}{leaf}"), None),
        text(
            format!("{leaf}{leaf}{intermediate}{intermediate}"),
            Some(whole.clone()),
        ),
        text(whole.replace('\n', "\r\n"), None),
        text(whole.trim_end().to_owned(), None),
        text(format!("subject=x\n{leaf}\nissuer=y\n{intermediate}"), None),
        text(format!("{}{intermediate}", leaf.trim_end()), None),
        // as Vault's pem_bundle gives it: the key stands among the certificates
        text(format!("{key}{whole}"), None),
        Material {
            issuing_ca: Some(intermediate.to_owned()),
            ..text(leaf.to_owned(), None)
        },
        Material {
            ca_chain: Some(vec![intermediate.to_owned(), leaf.to_owned()]),
            ..text(leaf.to_owned(), None)
        },
    ] {
        scene
            .cloud
            .put_tls_secret(&scene.world.project_id, TLS_SECRET, "placeholder", "none");
        scene
            .cloud
            .change_material(&scene.secret, |current| *current = material);
        scene.run().expect(0, "replaced");
        let deployed = scene.tls_secret();
        assert_eq!(deployed.tls_cert, expected.tls_cert);
        assert!(deployed.tls_key == expected.tls_key);
        assert!(!deployed.tls_cert.contains("PRIVATE"));
    }
}

#[test]
fn a_missing_issuer_is_a_finding() {
    let scene = Scene::of(CertificateSpec {
        with_intermediate: false,
        ..spec(SecretType::ImportedCert)
    });
    let run = scene.run();
    let target = run.expect(0, "replaced");
    assert_eq!(target.findings[0].code, "chain-gap");
    assert_eq!(run.report.level, "warn");
}

#[test]
fn what_is_not_fit_to_serve_is_refused_and_the_tls_secret_untouched() {
    let refused = |reason: &str, change: &dyn Fn(&Scene)| {
        let scene = Scene::new();
        change(&scene);
        let run = scene.run();
        let target = run.refused(6, reason);
        assert_eq!(target.action, "refused");
        assert!(target.from.is_some(), "{target:#?}");
        assert!(scene.writes().is_empty());
    };
    let material = |change: fn(&Scene, &mut Material)| {
        move |scene: &Scene| {
            let mut material = scene.cloud.material(&scene.secret);
            change(scene, &mut material);
            scene
                .cloud
                .change_material(&scene.secret, |current| *current = material);
        }
    };
    let issued = |change: fn(&mut CertificateSpec)| {
        move |scene: &Scene| {
            scene.cloud.change_spec(&scene.secret, change);
            scene.cloud.rotate_quietly(&[&scene.secret]);
        }
    };
    refused("key-missing", &material(|_, m| m.private_key = None));
    refused(
        "key-missing",
        &material(|_, m| m.private_key = Some(String::new())),
    );
    refused(
        "key-unusable",
        &material(|_, m| m.private_key = Some("no key".to_owned())),
    );
    refused(
        "key-unusable",
        &material(|_, m| {
            m.private_key = m
                .private_key
                .take()
                .map(|key| key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
        }),
    );
    refused(
        "key-unusable",
        &material(|_, m| {
            m.private_key = m.private_key.take().map(|key| key.replace('\n', "\\n"));
        }),
    );
    refused(
        "key-mismatch",
        &material(|scene, m| {
            let other = scene.cloud.issue(CertificateSpec {
                name: "other".to_owned(),
                ..CertificateSpec::default()
            });
            m.private_key = scene.cloud.material(&other).private_key;
        }),
    );
    refused(
        "pem-unreadable",
        &material(|_, m| {
            m.certificate = None;
            m.intermediate = None;
        }),
    );
    refused(
        "pem-unreadable",
        &material(|_, m| {
            m.certificate = m.certificate.take().map(|text| text.replace("MII", "M*I"));
        }),
    );
    refused(
        "expired",
        &issued(|spec| {
            spec.not_before_days = -90;
            spec.not_after_days = -1;
        }),
    );
    refused("not-yet-valid", &issued(|spec| spec.not_before_days = 2));
    refused("not-active", &|scene| {
        scene.cloud.set_state(&scene.secret, 3)
    });
    refused("not-active", &|scene| {
        scene.cloud.set_state(&scene.secret, 5)
    });
}

#[test]
fn a_secret_that_is_no_certificate_is_refused() {
    let scene = Scene::new();
    let arbitrary = scene.cloud.issue(spec(SecretType::Arbitrary));
    let run = scene.start().env("SECRET_ID", &arbitrary).run();
    let target = run.refused(6, "wrong-type");
    assert!(target.message.contains("arbitrary"), "{}", target.message);
}

#[test]
fn an_import_without_its_key_says_how_to_mend_it() {
    let scene = Scene::new();
    let imported = scene.cloud.issue(CertificateSpec {
        with_private_key: false,
        ..spec(SecretType::ImportedCert)
    });
    let run = scene.start().env("SECRET_ID", &imported).run();
    let target = run.refused(6, "key-missing");
    assert!(
        target
            .message
            .contains("import it again together with its key"),
        "{}",
        target.message
    );
}
