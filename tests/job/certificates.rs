use local_cloud::{CertificateSpec, KeyKind, SecretType};

use crate::harness::Scene;

#[test]
fn each_certificate_type_is_deployed_with_its_chain() {
    let changes: [fn(&mut CertificateSpec); 7] = [
        |_| {},
        |spec| spec.bundle_certs = false,
        |spec| spec.secret_type = SecretType::ImportedCert,
        |spec| (spec.secret_type, spec.managed_csr) = (SecretType::ImportedCert, true),
        |spec| spec.secret_type = SecretType::PrivateCert,
        |spec| spec.key = KeyKind::P384,
        |spec| spec.key = KeyKind::Ed25519,
    ];
    for change in changes {
        let mut spec = CertificateSpec::default();
        change(&mut spec);
        let scene = Scene::of(spec);
        let run = scene.run();
        let target = run.expect(0, "replaced");
        assert!(target.findings.is_empty(), "{target:#?}");
        let served = scene.cloud.served("shop.example.com").unwrap();
        assert_eq!((served.serial, served.chain_len), (scene.serial(), 2));
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

/// What the fields of the secret tell, before its texts are read: the catalogue has the rest.
#[test]
fn what_is_no_active_certificate_with_its_key_is_refused_and_the_tls_secret_untouched() {
    for (reason, state, without_key) in [
        ("key-missing", None, Some(None)),
        ("key-missing", None, Some(Some(String::new()))),
        ("not-active", Some(3), None),
        ("not-active", Some(5), None),
    ] {
        let scene = Scene::new();
        if let Some(state) = state {
            scene.cloud.set_state(&scene.secret, state);
        }
        if let Some(key) = without_key {
            scene
                .cloud
                .change_material(&scene.secret, |material| material.private_key = key);
        }
        let run = scene.run();
        let target = run.refused(6, reason);
        assert!(target.from.is_some(), "{target:#?}");
        assert!(scene.writes().is_empty());
    }
}

#[test]
fn a_secret_of_another_type_or_without_its_key_says_what_to_do() {
    for (spec, reason, told) in [
        (
            CertificateSpec {
                secret_type: SecretType::Arbitrary,
                ..CertificateSpec::default()
            },
            "wrong-type",
            "arbitrary",
        ),
        (
            CertificateSpec {
                secret_type: SecretType::ImportedCert,
                with_private_key: false,
                ..CertificateSpec::default()
            },
            "key-missing",
            "import it again together with its key",
        ),
    ] {
        let scene = Scene::new();
        let secret = scene.cloud.issue(spec);
        let run = scene.start().env("SECRET_ID", &secret).run();
        let target = run.refused(6, reason);
        assert!(target.message.contains(told), "{}", target.message);
    }
}
