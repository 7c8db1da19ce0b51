//! Private keys: PKCS#8, PKCS#1, SEC1; RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 and P-521,
//! Ed25519.

use super::pki::{Subject, ed25519, p384, stored, stored_chain, stored_key};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [kinds(), forms(), misplaced(), unusable()].concat()
}

fn kinds() -> Vec<Case> {
    let ca = Subject::new("CA");
    let issuer = Subject::new("Root").sign(&ca.ca());
    [
        ("P-384", p384()),
        ("Ed25519", ed25519()),
        // without the public key, as most programs write it (RFC 8410 section 7)
        ("Ed25519 by OpenSSL", stored_key("ed25519.pem")),
        ("P-256 by OpenSSL", stored_key("p256.pem")),
        ("RSA 2048", stored_key("rsa-2048.pem")),
        ("RSA 3072", stored_key("rsa-3072.pem")),
        ("RSA 4096", stored_key("rsa-4096.pem")),
        ("RSA 8192", stored_key("rsa-8192.pem")),
        ("P-521", stored_key("p521.pem")),
    ]
    .into_iter()
    .map(|(kind, key)| {
        let leaf = ca.sign(&Subject::with_key("shop.example.com", key).leaf());
        case(format!("key: {kind}"), &leaf)
            .given([&leaf, &issuer])
            .serves([&leaf, &issuer])
    })
    .collect()
}

/// The same key in other forms, and with text around it.
fn forms() -> Vec<Case> {
    let ca = Subject::new("CA");
    let issuer = Subject::new("Root").sign(&ca.ca());
    let of = |file: &str| {
        let shop = Subject::with_key("shop.example.com", stored_key(file));
        ca.sign(&shop.leaf())
    };
    let (rsa, p256, p384) = (of("rsa-2048.pem"), of("p256.pem"), of("p384.pem"));
    let pkcs8 = stored("p256.pem");
    [
        ("PKCS#1", &rsa, stored("rsa-2048-pkcs1.pem")),
        ("SEC1", &p256, stored("p256-sec1.pem")),
        ("SEC1 on P-384", &p384, stored("p384-sec1.pem")),
        (
            "SEC1 behind EC PARAMETERS",
            &p256,
            stored("p256-sec1-parameters.pem"),
        ),
        ("CRLF", &p256, pkcs8.replace('\n', "\r\n")),
        ("no line end at its end", &p256, pkcs8.trim_end().to_owned()),
        (
            "attributes before it",
            &p256,
            format!(
                "Bag Attributes\n    friendlyName: shop\nKey Attributes: <No Attributes>\n{pkcs8}"
            ),
        ),
        ("twice the same", &p256, pkcs8.repeat(2)),
        (
            "certificates behind it",
            &p256,
            format!("{pkcs8}{}{}", p256.pem, issuer.pem),
        ),
    ]
    .into_iter()
    .map(|(form, leaf, key)| {
        case(format!("key: {form}"), leaf)
            .given([leaf, &issuer])
            .key(key)
            .serves([leaf, &issuer])
    })
    .collect()
}

/// A key among the certificates, as somebody pasted it or as Vault's `pem_bundle` holds it: it never
/// ends in the chain, which everybody may read.
fn misplaced() -> Vec<Case> {
    let ca = Subject::new("CA");
    let issuer = Subject::new("Root").sign(&ca.ca());
    let shop = Subject::with_key("shop.example.com", stored_key("p256.pem"));
    let leaf = ca.sign(&shop.leaf());
    [
        ("the key", stored("p256.pem")),
        ("the key as SEC1", stored("p256-sec1-parameters.pem")),
        ("another key", stored("rsa-2048.pem")),
        ("the encrypted key", stored("p256-encrypted.pem")),
        (
            "the encrypted key, older form",
            stored("p256-proc-type.pem"),
        ),
    ]
    .into_iter()
    .map(|(what, text)| {
        case(format!("{what} among the certificates"), &leaf)
            .given([&leaf, &issuer])
            .text(text)
            .serves([&leaf, &issuer])
    })
    .collect()
}

/// The unit tests of keys have the rest.
fn unusable() -> Vec<Case> {
    let ca = Subject::new("CA");
    let issuer = Subject::new("Root").sign(&ca.ca());
    let leaf = ca.sign(&Subject::with_key("shop.example.com", stored_key("p256.pem")).leaf());
    let other = Subject::new("other.example.com").root().key;
    let rsa = stored("rsa-2048.pem");
    let texts = [
        ("encrypted", stored("p256-encrypted.pem")),
        ("none, only certificates", leaf.pem.clone()),
        ("two different ones", format!("{}{other}", leaf.key)),
        ("cut in the middle", rsa[..rsa.len() / 2].to_owned()),
        ("\\n as two characters", leaf.key.replace('\n', "\\n")),
    ];
    let mut cases: Vec<Case> = texts
        .into_iter()
        .map(|(what, text)| {
            case(format!("key: {what}"), &leaf)
                .given([&leaf, &issuer])
                .key(text)
                .refused("key-unusable")
        })
        .collect();
    cases.extend(["rsa-1024", "rsa-pss", "secp256k1", "ed448"].map(|kind| {
        let chain = stored_chain(&format!("leaf-{kind}.pem"), &format!("{kind}.pem"));
        case(format!("key: unsupported, {kind}"), &chain[0])
            .given(&chain)
            .refused("key-unusable")
    }));
    cases.extend([
        case("key: of another certificate", &leaf)
            .given([&leaf, &issuer])
            .key(&other)
            .refused("key-mismatch"),
        case("key: of a certificate that is missing", &leaf)
            .given([&issuer])
            .refused("key-mismatch"),
    ]);
    cases
}
