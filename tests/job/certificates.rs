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
    let scene = Scene::of(CertificateSpec { rotate_keys: false, ..CertificateSpec::default() });
    let before = scene.tls_secret();
    scene.run().expect(0, "replaced");
    let after = scene.tls_secret();
    assert!(before.tls_key == after.tls_key && before.tls_cert != after.tls_cert);
}

/// What the fields of the secret tell, before its texts are read: the catalogue has the rest.
#[test]
fn what_is_no_active_certificate_with_its_key_is_refused() {
    let scene = Scene::new();
    let import = "import it again together with its key";
    let (public, imported) = (SecretType::PublicCert, SecretType::ImportedCert);
    for (reason, secret_type, with_private_key, state, told) in [
        ("wrong-type", SecretType::Arbitrary, true, 1, "arbitrary"),
        ("key-missing", imported, false, 1, import),
        ("not-active", public, true, 3, "state 3, deactivated"),
    ] {
        let secret = scene.cloud.issue(CertificateSpec {
            name: reason.to_owned(),
            secret_type,
            with_private_key,
            ..CertificateSpec::default()
        });
        scene.cloud.set_state(&secret, state);
        let run = scene.start().env("SECRET_ID", &secret).run();
        let target = run.refused(6, reason);
        assert!(target.message.contains(told), "{}", target.message);
        assert!(target.from.is_some() && scene.writes().is_empty());
    }
}
