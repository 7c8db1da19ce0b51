//! Private keys: PKCS#8, PKCS#1, SEC1; RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 and P-521,
//! Ed25519.

use super::pki::{Subject, ed25519, p384, stored, stored_chain, stored_key};
use super::{Case, sound, unsound};

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
        sound(format!("key: {kind}"), [&leaf, &issuer])
    })
    .collect()
}

/// The same key in other forms, and with text around it; the unit tests of keys have the rest.
fn forms() -> Vec<Case> {
    let ca = Subject::new("CA");
    let issuer = Subject::new("Root").sign(&ca.ca());
    let of = |file: &str| {
        let shop = Subject::with_key("shop.example.com", stored_key(file));
        ca.sign(&shop.leaf())
    };
    let (rsa, p256, p384) = (of("rsa-2048.pem"), of("p256.pem"), of("p384.pem"));
    let attributes = "Bag Attributes\n    friendlyName: shop\n";
    [
        ("PKCS#1", &rsa, stored("rsa-2048-pkcs1.pem")),
        ("SEC1 on P-384", &p384, stored("p384-sec1.pem")),
        ("EC PARAMETERS", &p256, stored("p256-sec1-parameters.pem")),
        ("CRLF", &p256, p256.key.replace('\n', "\r\n")),
        ("attributes", &p256, format!("{attributes}{}", p256.key)),
        (
            "a certificate, too",
            &p256,
            format!("{}{}", p256.key, p256.pem),
        ),
    ]
    .map(|(form, leaf, key)| sound(format!("key: {form}"), [leaf, &issuer]).key(key))
    .to_vec()
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
        ("another key", stored("rsa-2048.pem")),
        ("the encrypted key", stored("p256-encrypted.pem")),
    ]
    .map(|(what, text)| {
        sound(format!("{what} among the certificates"), [&leaf, &issuer]).text(text)
    })
    .to_vec()
}

/// The unit tests of keys have the rest.
fn unusable() -> Vec<Case> {
    let ca = Subject::new("CA");
    let issuer = Subject::new("Root").sign(&ca.ca());
    let leaf = ca.sign(&Subject::with_key("shop.example.com", stored_key("p256.pem")).leaf());
    let other = Subject::new("other.example.com").root().key;
    let mut cases = [
        ("encrypted", stored("p256-encrypted.pem")),
        ("none, only certificates", leaf.pem.clone()),
        ("two different ones", format!("{}{other}", leaf.key)),
    ]
    .map(|(what, text)| unsound(format!("key: {what}"), [&leaf, &issuer], "key-unusable").key(text))
    .to_vec();
    cases.extend(["rsa-1024", "rsa-pss", "secp256k1", "ed448"].map(|kind| {
        let chain = stored_chain(&format!("leaf-{kind}.pem"), &format!("{kind}.pem"));
        unsound(format!("key: unsupported, {kind}"), &chain, "key-unusable")
    }));
    cases.push(unsound("key: of another one", [&leaf, &issuer], "key-mismatch").key(other));
    cases
}
