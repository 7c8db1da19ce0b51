//! Odd forms of keys and certificates that are deployed: the files of `tests/certificates/cases`. As
//! they come in, [`crate::catalogue`] has them.

use local_cloud::Material;

use crate::catalogue;
use crate::harness::{Scene, TLS_SECRET};
use crate::safety::found;

const ISSUER: &str = "chain/intermediate";

fn files(paths: &[&str]) -> String {
    paths.iter().map(|path| catalogue::file(path)).collect()
}

fn key(name: &str) -> String {
    catalogue::key(&format!("keys/{name}"))
}

/// Secrets Manager holds these certificates and this key now.
fn given(scene: &Scene, certificates: &[&str], key_name: &str) {
    let material = Material {
        certificate: Some(files(certificates)),
        private_key: Some(key(key_name)),
        ..Material::default()
    };
    scene.cloud.change_material(&scene.secret, |current| *current = material);
}

/// The TLS secret holds these certificates and this key now.
fn deployed(scene: &Scene, certificates: &[&str], key_name: &str) {
    let (project, chain) = (&scene.world.project_id, files(certificates));
    scene.cloud.put_tls_secret(project, TLS_SECRET, &chain, &key(key_name));
}

/// Comparing public keys is not enough: while the deployed form does not load, nothing is up to date.
#[test]
fn a_deployed_key_that_servers_do_not_load_is_replaced_by_itself_in_a_good_form() {
    let scene = Scene::new();
    for (good, odd) in [
        ("p256", "p256-sec1-without-public"),
        ("p256", "p256-compressed-public"),
        ("ed25519", "ed25519-pkcs8-v2"),
        ("rsa2048", "rsa2048-pkcs1-under-PRIVATE-KEY"),
    ] {
        for held in [good, odd] {
            let leaf = format!("chain/leaf-{good}");
            deployed(&scene, &[&leaf, ISSUER], odd);
            given(&scene, &[&leaf, ISSUER], held);
            scene.run().expect(0, "replaced");
            assert!(scene.tls_secret().tls_key == key(good), "{odd}");
            scene.run().expect(0, "unchanged");
        }
    }
}

/// Whatever the form, and whatever the leaf's key and name look like.
#[test]
fn what_servers_serve_sets_the_bar() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    scene.cloud.map_domain(project, "www.shop.example.com", TLS_SECRET);
    for (certificates, key) in [
        (&["deployed/plain"][..], "p256"),
        (&["deployed/stranger-at-the-end"], "p256"),
        (&["deployed/tab-after-begin"], "p256"),
        (&["deployed/comment-says-begin"], "p256"),
        (&["deployed/x509-labels"], "p256"),
        (&["deployed/trusted-leaf"], "p256"),
        (&["deployed/plain"], "p256-pkcs8-without-public"),
        (&["chain/leaf-rsa3000", ISSUER], "rsa3000"),
        (&["points/leaf-compressed", "points/intermediate"], "p256"),
        // it bears the name of its CA, and is not signed by itself
        (&["same-name/leaf"], "p256"),
    ] {
        deployed(&scene, certificates, key);
        for (leaf, reason) in
            [("chain/leaf-p256-one-name", "names-lost"), ("chain/leaf-p256-older", "older")]
        {
            given(&scene, &[leaf, ISSUER], "p256");
            scene.run().refused(8, reason);
        }
        // of the same CA: a leaf alone gets the chain that is deployed
        if certificates[0].starts_with("deployed/") || certificates.contains(&ISSUER) {
            given(&scene, &["chain/leaf-rsa2048"], "rsa2048");
            let run = scene.run();
            run.expect(0, "replaced");
            found(&run, "chain-completed");
            assert_eq!(scene.tls_secret().tls_cert, files(&["chain/leaf-rsa2048", ISSUER]));
            deployed(&scene, certificates, key);
        }
        // the others are newer than what could renew them
        if certificates[0].starts_with("deployed/") {
            given(&scene, &["chain/leaf-rsa2048", ISSUER], "rsa2048");
            scene.run().expect(0, "replaced");
        }
    }
}

/// Whoever uses it copes with it: a refusal must not become the outage.
#[test]
fn what_envoy_does_not_load_is_written_over_the_same_only() {
    let scene = Scene::new();
    for leaf in ["envoy/leaf-must-staple", "envoy/leaf-ec-key-agreement"] {
        given(&scene, &[leaf, "envoy/intermediate"], "p256");
        deployed(&scene, &["deployed/plain"], "p256");
        scene.run().refused(6, "unfit");
        // another chain with the same fault
        deployed(&scene, &[leaf, "chain/root"], "p256");
        for action in ["replaced", "unchanged"] {
            let run = scene.run();
            run.expect(0, action);
            found(&run, "unfit");
        }
    }
}

/// The authority key identifier of the leaf names the older of two certificates of one CA: OpenSSL takes no
/// other.
#[test]
fn a_deployed_chain_that_fits_is_not_replaced_by_one_that_does_not() {
    let scene = Scene::new();
    let fits = ["key-ids/leaf-names-key-id", "key-ids/intermediate-older"];
    let does_not = [fits[0], "key-ids/intermediate-newer-other-id"];
    given(&scene, &does_not, "p256");
    for (before, finding) in [(&fits, "chain-completed"), (&does_not, "chain-gap")] {
        deployed(&scene, before, "p256");
        let run = scene.run();
        run.expect(0, "unchanged");
        found(&run, finding);
        assert_eq!(scene.tls_secret().tls_cert, files(before));
    }
    given(&scene, &fits, "p256");
    scene.run().expect(0, "replaced");
    assert_eq!(scene.tls_secret().tls_cert, files(&fits));
}

/// No domain mapping uses the TLS secret: nothing excuses a name that is really lost.
#[test]
fn names_that_no_client_can_ask_for_are_never_lost() {
    let scene = Scene::with(|_| {});
    let project = &scene.world.project_id;
    scene.cloud.map_domain(project, "shop.example.com", "another-tls");
    for (before, leaf, lost) in [
        ("with-them", "p256", None),
        ("with-them", "p256-one-name", Some("www.shop.example.com")),
        ("with-dmarc", "p256", Some("_dmarc.example.com")),
        ("with-address", "p256", Some("192.0.2.7")),
    ] {
        let before = format!("unusable/leaf-{before}");
        deployed(&scene, &[&before, ISSUER], "p256");
        given(&scene, &[&format!("chain/leaf-{leaf}"), ISSUER], "p256");
        let run = scene.run();
        let Some(lost) = lost else {
            run.expect(0, "replaced");
            continue;
        };
        let message = &run.refused(8, "names-lost").message;
        let told = format!("no longer covers {lost};");
        assert!(message.contains(&told), "{message}");
    }
}
