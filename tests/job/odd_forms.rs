//! Odd forms of keys and certificates that are deployed: the files of `tests/certificates/cases`. As
//! they come in, [`crate::catalogue`] has them.

use local_cloud::Material;

use crate::harness::{Run, Scene, TLS_SECRET};

fn file(path: &str) -> String {
    let path = format!(
        "{}/tests/certificates/cases/{path}.pem",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn files(paths: &[&str]) -> String {
    paths.iter().map(|path| file(path)).collect()
}

/// The PEM block of a key file, without the line that says that it protects nothing: no output may
/// hold any of what goes in as a key.
fn key_block(path: &str) -> String {
    let text = file(path);
    text[text.find("-----BEGIN").unwrap()..].to_owned()
}

/// Secrets Manager holds these texts now.
fn given(scene: &Scene, certificates: &[&str], key: &str) {
    let material = Material {
        certificate: Some(files(certificates)),
        private_key: Some(key_block(key)),
        ..Material::default()
    };
    scene
        .cloud
        .change_material(&scene.secret, |current| *current = material);
}

/// The TLS secret holds these texts now.
fn deployed(scene: &Scene, certificate: &str, key: &str) {
    scene
        .cloud
        .put_tls_secret(&scene.world.project_id, TLS_SECRET, certificate, key);
}

#[track_caller]
fn finds(run: &Run, code: &str) {
    let findings = &run.target().findings;
    assert!(
        findings.iter().any(|f| f.code == code),
        "{code}: {findings:#?}"
    );
}

/// Leaf, key as it comes in, and the same key in a good form.
const KEYS: [(&str, &str, &str); 12] = [
    ("p256", "p256-sec1-without-params", "p256"),
    ("p256", "p256-sec1-without-public", "p256"),
    ("p256", "p256-pkcs8-without-public", "p256"),
    ("p256", "p256-sec1-under-PRIVATE-KEY", "p256"),
    ("p256", "p256-compressed-public", "p256"),
    ("p256", "p256-tab-after-begin", "p256"),
    ("ed25519", "ed25519-pkcs8-v2", "ed25519"),
    ("ed25519", "ed25519-pkcs8-v2-old-spelling", "ed25519"),
    ("rsa2048", "rsa2048-pkcs8-without-null", "rsa2048"),
    ("rsa2048", "rsa2048-pkcs1-under-PRIVATE-KEY", "rsa2048"),
    ("rsa2048", "rsa2048-pkcs8-under-RSA-PRIVATE-KEY", "rsa2048"),
    ("rsa3000", "rsa3000", "rsa3000"),
];

/// Comparing public keys is not enough: while the deployed form does not load, nothing is in line. (A
/// tab after the dashes loads everywhere.)
#[test]
fn a_deployed_key_that_servers_do_not_load_is_replaced_by_itself_in_a_good_form() {
    let scene = Scene::new();
    for (leaf, odd, good) in KEYS
        .into_iter()
        .filter(|(_, odd, good)| odd != good && !odd.ends_with("-tab-after-begin"))
    {
        for held in [good, odd] {
            let leaf = format!("chain/leaf-{leaf}");
            let chain = [&leaf, "chain/intermediate"];
            deployed(&scene, &files(&chain), &key_block(&format!("keys/{odd}")));
            given(&scene, &chain, &format!("keys/{held}"));
            scene.run().expect(0, "replaced");
            let written = scene.tls_secret();
            assert!(
                written.tls_key == key_block(&format!("keys/{good}")),
                "{odd}"
            );
            scene.run().expect(0, "unchanged");
        }
    }
}

/// What servers serve sets the bar, whether its form is ours or not.
fn odd_deployed() -> Vec<(&'static str, String, String)> {
    let mut odd: Vec<_> = [
        "plain",
        "stranger-at-the-end",
        "tab-after-begin",
        "comment-says-begin",
        "x509-labels",
        "trusted-leaf",
    ]
    .into_iter()
    .map(|name| {
        (
            name,
            file(&format!("deployed/{name}")),
            key_block("keys/p256"),
        )
    })
    .collect();
    odd.push((
        "a key without its public half",
        file("deployed/plain"),
        key_block("keys/p256-pkcs8-without-public"),
    ));
    odd.push((
        "RSA of 3000 bits",
        files(&["chain/leaf-rsa3000", "chain/intermediate"]),
        key_block("keys/rsa3000"),
    ));
    odd
}

#[test]
fn an_odd_deployed_secret_sets_the_bar() {
    let scene = Scene::new();
    scene
        .cloud
        .map_domain(&scene.world.project_id, "www.shop.example.com", TLS_SECRET);
    for (name, certificate, key) in odd_deployed() {
        println!("{name}");
        for (leaf, reason) in [
            ("chain/leaf-p256-one-name", "names-lost"),
            ("chain/leaf-p256-older", "older"),
        ] {
            deployed(&scene, &certificate, &key);
            given(&scene, &[leaf, "chain/intermediate"], "keys/p256");
            scene.run().refused(8, reason);
        }
        // its issuer is deployed
        given(&scene, &["chain/leaf-p256"], "keys/p256");
        let run = scene.run();
        // written, if what is deployed is not the same in a form that everything loads
        assert_eq!(run.status, 0, "{}", run.target().message);
        finds(&run, "chain-completed");
        if run.target().action == "replaced" {
            let written = scene.tls_secret().tls_cert;
            assert_eq!(written, files(&["chain/leaf-p256", "chain/intermediate"]));
        }
    }
}

#[test]
fn an_odd_deployed_secret_is_renewed() {
    let scene = Scene::new();
    for (name, certificate, key) in odd_deployed() {
        println!("{name}");
        deployed(&scene, &certificate, &key);
        given(
            &scene,
            &["chain/leaf-rsa2048", "chain/intermediate"],
            "keys/rsa2048",
        );
        scene.run().expect(0, "replaced");
    }
}

#[test]
fn a_deployed_leaf_sets_the_bar_whatever_its_key_and_names_look_like() {
    let scene = Scene::new();
    scene
        .cloud
        .map_domain(&scene.world.project_id, "www.shop.example.com", TLS_SECRET);
    for before in [
        ["points/leaf-compressed", "points/intermediate"].as_slice(),
        // it bears the name of its CA, and is not signed by itself
        &["same-name/leaf"],
    ] {
        for (leaf, reason) in [
            ("chain/leaf-p256-one-name", "names-lost"),
            ("chain/leaf-p256-older", "older"),
        ] {
            deployed(&scene, &files(before), &key_block("keys/p256"));
            given(&scene, &[leaf, "chain/intermediate"], "keys/p256");
            scene.run().refused(8, reason);
        }
    }
}

/// Whoever uses it copes with it: a refusal must not become the outage.
#[test]
fn what_envoy_does_not_load_is_written_over_the_same_only() {
    let scene = Scene::new();
    let chain = |kind: &str| {
        [
            format!("envoy/leaf-{kind}"),
            "envoy/intermediate".to_owned(),
        ]
    };
    for kind in ["must-staple", "ec-key-agreement"] {
        let chain = chain(kind);
        let chain = [chain[0].as_str(), chain[1].as_str()];
        for other in ["placeholder".to_owned(), file("deployed/plain")] {
            deployed(&scene, &other, &key_block("keys/p256"));
            given(&scene, &chain, "keys/p256");
            scene.run().refused(6, "unfit");
        }
        // another chain with the same fault
        let before = files(&[chain[0], "chain/root"]);
        deployed(&scene, &before, &key_block("keys/p256"));
        let run = scene.run();
        run.expect(0, "replaced");
        finds(&run, "unfit");
        let run = scene.run();
        run.expect(0, "unchanged");
        finds(&run, "unfit");
    }
}

/// The authority key identifier of the leaf names the older of two certificates of one CA: OpenSSL takes no
/// other.
#[test]
fn a_deployed_chain_that_fits_is_not_replaced_by_one_that_does_not() {
    let scene = Scene::new();
    let [fits, does_not] = ["intermediate-older", "intermediate-newer-other-id"].map(|issuer| {
        [
            "key-ids/leaf-names-key-id".to_owned(),
            format!("key-ids/{issuer}"),
        ]
    });
    let [fits, does_not] = [&fits, &does_not].map(|chain| [chain[0].as_str(), chain[1].as_str()]);
    let key = key_block("keys/p256");
    deployed(&scene, &files(&fits), &key);
    given(&scene, &does_not, "keys/p256");
    let run = scene.run();
    run.expect(0, "unchanged");
    finds(&run, "chain-completed");
    assert_eq!(scene.tls_secret().tls_cert, files(&fits));

    deployed(&scene, &files(&does_not), &key);
    let run = scene.run();
    run.expect(0, "unchanged");
    finds(&run, "chain-gap");
    given(&scene, &fits, "keys/p256");
    scene.run().expect(0, "replaced");
    assert_eq!(scene.tls_secret().tls_cert, files(&fits));
}

/// No domain mapping uses the TLS secret: nothing excuses a name that is really lost.
#[test]
fn names_that_no_client_can_ask_for_are_never_lost() {
    const UNMAPPED: &str = "unmapped";
    let mut scene = Scene::new();
    let project = scene.world.project_id.clone();
    scene.watch(&project, UNMAPPED);
    scene.cloud.deploy(&scene.secret, &project, UNMAPPED);
    let renewed = |before: &str, leaf: &str| {
        let before = files(&[before, "chain/intermediate"]);
        scene
            .cloud
            .put_tls_secret(&project, UNMAPPED, &before, &key_block("keys/p256"));
        given(&scene, &[leaf, "chain/intermediate"], "keys/p256");
        scene.start().env("TLS_SECRET_NAME", UNMAPPED).run()
    };
    renewed("unusable/leaf-with-them", "chain/leaf-p256").expect(0, "replaced");
    for (before, leaf, lost) in [
        (
            "unusable/leaf-with-them",
            "chain/leaf-p256-one-name",
            "www.shop.example.com",
        ),
        (
            "unusable/leaf-with-dmarc",
            "chain/leaf-p256",
            "_dmarc.example.com",
        ),
        ("unusable/leaf-with-address", "chain/leaf-p256", "192.0.2.7"),
    ] {
        let run = renewed(before, leaf);
        let target = run.refused(8, "names-lost");
        let told = format!("no longer covers {lost};");
        assert!(target.message.contains(&told), "{}", target.message);
    }
}
