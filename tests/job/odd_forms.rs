//! Odd forms of keys and certificates, as they come in and as they are deployed: the files of
//! `tests/certificates/cases`, each kind with what must happen.

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

fn placeholder(scene: &Scene) {
    deployed(scene, "placeholder", "none");
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

#[test]
fn a_key_in_any_form_is_written_in_one_that_every_server_loads() {
    let scene = Scene::new();
    for (leaf, odd, good) in KEYS {
        placeholder(&scene);
        let leaf = format!("chain/leaf-{leaf}");
        given(
            &scene,
            &[&leaf, "chain/intermediate"],
            &format!("keys/{odd}"),
        );
        scene.run().expect(0, "replaced");
        let written = scene.tls_secret();
        assert!(
            written.tls_key == key_block(&format!("keys/{good}")),
            "{odd}"
        );
        scene.run().expect(0, "unchanged");
    }
}

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

#[test]
fn a_weak_signature_of_what_would_be_sent_is_refused() {
    let scene = Scene::new();
    for chain in [
        ["weak/leaf-sha1", "weak/intermediate"],
        ["weak/leaf-ecdsa-sha1", "chain/intermediate"],
        ["weak/leaf-of-intermediate-sha1", "weak/intermediate-sha1"],
    ] {
        placeholder(&scene);
        given(&scene, &chain, "keys/p256");
        scene.run().refused(6, "weak-signature");
    }
    given(
        &scene,
        &["weak/leaf-of-root-sha1", "weak/root-sha1"],
        "keys/p256",
    );
    scene.run().expect(0, "replaced");
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

/// Accepted whole over a placeholder and over a chain: certificates as they come in, and as they are
/// written.
#[track_caller]
fn comes_in(given_now: &[&str], written: &[&str]) -> Vec<Run> {
    let scene = Scene::new();
    let over_chain = (file("deployed/plain"), key_block("keys/p256"));
    let befores = [("placeholder".to_owned(), "none".to_owned()), over_chain];
    befores
        .into_iter()
        .map(|(certificate, key)| {
            deployed(&scene, &certificate, &key);
            given(&scene, given_now, "keys/p256");
            let run = scene.run();
            assert_eq!(run.status, 0, "{given_now:?}: {}", run.target().message);
            assert_eq!(scene.tls_secret().tls_cert, files(written), "{given_now:?}");
            run
        })
        .collect()
}

#[test]
fn the_issuer_may_write_its_name_in_another_string_type() {
    let chain = ["names/leaf-issuer-printable", "names/intermediate-utf8"];
    comes_in(&chain, &chain);
}

#[test]
fn certificates_under_other_labels_are_read() {
    let plain = ["chain/leaf-p256", "chain/intermediate"];
    for given in [
        ["labels/leaf-x509", "chain/intermediate"],
        ["labels/leaf-tab-after-begin", "chain/intermediate"],
        ["chain/leaf-p256", "labels/intermediate-x509"],
        ["chain/leaf-p256", "labels/intermediate-trusted"],
        ["chain/leaf-p256", "labels/intermediate-trusted-settings"],
    ] {
        comes_in(&given, &plain);
    }
}

#[test]
fn critical_extensions_that_clients_know_are_accepted() {
    for kind in ["any-policy", "directory-name", "excluded-addresses"] {
        let chain = [
            format!("critical/leaf-{kind}"),
            format!("critical/intermediate-{kind}"),
        ];
        let chain = [chain[0].as_str(), chain[1].as_str()];
        for run in comes_in(&chain, &chain) {
            finds(&run, "chain-unverified");
        }
    }
    let chain = ["critical/leaf-own-policy", "chain/intermediate"];
    comes_in(&chain, &chain);
}

#[test]
fn a_broken_constraint_or_an_unknown_critical_extension_is_refused() {
    let scene = Scene::new();
    for (leaf, issuer, reason) in [
        (
            "critical/leaf-directory-name-broken",
            "critical/intermediate-directory-name",
            "unfit",
        ),
        (
            "critical/leaf-elsewhere",
            "critical/intermediate-elsewhere",
            "unfit",
        ),
        (
            "critical/leaf-unknown-extension",
            "critical/intermediate-unknown-extension",
            "unfit",
        ),
    ] {
        placeholder(&scene);
        given(&scene, &[leaf, issuer], "keys/p256");
        scene.run().refused(6, reason);
    }
}

#[test]
fn a_stranger_that_strict_readers_refuse_is_left_out_with_a_log_line() {
    let plain = ["chain/leaf-p256", "chain/intermediate"];
    for stranger in [
        "serial-22-bytes",
        "serial-36-bytes",
        "san-utf8",
        "utctime-offset",
        "utctime-without-seconds",
        "true-as-01",
        "path-length-300",
        "x400-address",
        "subject-universal-string",
        "no-certificate",
    ] {
        let stranger = format!("strangers/{stranger}");
        for run in comes_in(&[plain[0], plain[1], &stranger], &plain) {
            assert!(run.log.contains("left out"), "{run:#?}");
        }
    }
}

#[test]
fn an_unreadable_block_where_the_chain_has_a_gap_is_refused() {
    let scene = Scene::new();
    for (certificates, reason) in [
        (
            ["chain/leaf-p256", "strangers/no-certificate"],
            "pem-unreadable",
        ),
        (
            [
                "strangers/leaf-of-that-issuer",
                "strangers/issuer-serial-22-bytes",
            ],
            "unfit",
        ),
    ] {
        for (certificate, key) in [
            ("placeholder".to_owned(), "none".to_owned()),
            (file("deployed/plain"), key_block("keys/p256")),
        ] {
            deployed(&scene, &certificate, &key);
            given(&scene, &certificates, "keys/p256");
            scene.run().refused(6, reason);
        }
    }
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

#[test]
fn texts_that_only_look_like_pem_are_unreadable_and_no_mismatch() {
    let scene = Scene::new();
    let plain = files(&["chain/leaf-p256", "chain/intermediate"]);
    let utf_16: String = plain.chars().flat_map(|c| [c, '\0']).collect();
    for text in [utf_16, plain.replace("-----", "–––––")] {
        placeholder(&scene);
        let material = Material {
            certificate: Some(text),
            private_key: Some(key_block("keys/p256")),
            ..Material::default()
        };
        scene
            .cloud
            .change_material(&scene.secret, |current| *current = material);
        let run = scene.run();
        let target = run.refused(6, "pem-unreadable");
        assert!(
            target.message.contains("certificate: PEM block 1"),
            "{}",
            target.message
        );
    }
}

/// The field is named, and the entry of a list.
#[test]
fn an_unreadable_block_is_told_with_its_field() {
    let scene = Scene::new();
    placeholder(&scene);
    let broken = file("chain/intermediate").replace("MII", "M*I");
    let material = Material {
        certificate: Some(file("chain/leaf-p256")),
        ca_chain: Some(vec![file("chain/root"), broken]),
        private_key: Some(key_block("keys/p256")),
        ..Material::default()
    };
    scene
        .cloud
        .change_material(&scene.secret, |current| *current = material);
    let run = scene.run();
    let target = run.refused(6, "pem-unreadable");
    let told = "ca_chain[1]: PEM block 1 (CERTIFICATE) is not base64";
    assert!(target.message.contains(told), "{}", target.message);
}

#[test]
fn a_key_that_cannot_be_used_is_told_with_its_cause() {
    let scene = Scene::new();
    let stored = |name: &str| {
        let path = format!(
            "{}/tests/certificates/{name}.pem",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    };
    for (key, told) in [
        (stored("p256-encrypted"), "the key is encrypted"),
        (
            stored("rsa-1024"),
            "RSA 1024: servers take RSA of 2048 to 8192 bits",
        ),
        (stored("ed448"), "Ed448 is not supported"),
        (
            stored("secp256k1"),
            "ECDSA on another curve is not supported",
        ),
        (
            file("chain/leaf-p256"),
            "there is no PEM block of a private key",
        ),
    ] {
        let material = Material {
            certificate: Some(files(&["chain/leaf-p256", "chain/intermediate"])),
            private_key: Some(key),
            ..Material::default()
        };
        scene
            .cloud
            .change_material(&scene.secret, |current| *current = material);
        let run = scene.run();
        let target = run.refused(6, "key-unusable");
        assert!(
            target.message.contains("private_key: "),
            "{}",
            target.message
        );
        assert!(target.message.contains(told), "{told}: {}", target.message);
    }
}
