//! Every form of a key, and what cannot be used.

use super::*;
use crate::cert::samples::{certificates, stored as text};

fn read(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&text(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn every_form_of_a_key_is_written_in_one() {
    for (good, forms) in [
        (
            "cases/keys/p256",
            &[
                "p256-sec1-without-params",
                "p256-sec1-without-public",
                "p256-pkcs8-without-public",
                "p256-sec1-under-PRIVATE-KEY",
                "p256-compressed-public",
                "p256-tab-after-begin",
            ][..],
        ),
        ("cases/keys/ed25519", &["ed25519-pkcs8-v2", "ed25519-pkcs8-v2-old-spelling"]),
        (
            "cases/keys/rsa2048",
            &[
                "rsa2048-pkcs8-without-null",
                "rsa2048-pkcs1-under-PRIVATE-KEY",
                "rsa2048-pkcs8-under-RSA-PRIVATE-KEY",
            ],
        ),
    ] {
        let written = read(good).to_pem();
        assert!(text(good).ends_with(written.as_str()), "{good}");
        for form in forms {
            let key = read(&format!("cases/keys/{form}"));
            assert!(key.to_pem() == written, "{form}");
        }
    }
    // parameters of a block of their own, and the same key twice
    let twice = text("p256-sec1-parameters") + &text("p256");
    assert!(PrivateKey::from_pem(&twice).unwrap().to_pem() == read("p256").to_pem());
    // certificates around it, readable or not
    let damaged = text("root").replace("MI", "M*");
    let among = damaged + &text("p256") + &text("root");
    assert!(PrivateKey::from_pem(&among).unwrap().to_pem() == read("p256").to_pem());
}

#[test]
fn a_curve_that_is_spelled_out_is_named() {
    let output = std::process::Command::new("openssl")
        .args(["ec", "-param_enc", "explicit", "-in"])
        .arg(format!("{}/tests/certificates/p384.pem", env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    let explicit = String::from_utf8(output.stdout).unwrap();
    let key = PrivateKey::from_pem(&explicit).unwrap();
    assert!(key.to_pem() == read("p384").to_pem());
}

#[test]
fn kinds_and_sizes() {
    for (name, kind) in [
        ("cases/keys/rsa2056", "RSA 2056"),
        ("cases/keys/rsa2048-exponent-3", "RSA 2048"),
        ("cases/keys/rsa2048-unequal-primes", "RSA 2048"),
        ("cases/keys/p256-short-private", "ECDSA P-256"),
        ("rsa-8192", "RSA 8192"),
        ("p384", "ECDSA P-384"),
        ("p521", "ECDSA P-521"),
        ("ed25519", "Ed25519"),
    ] {
        assert_eq!(read(name).public.kind.to_string(), kind, "{name}");
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    let broken = text("p256").replace("MI", "M*");
    let two = text("p256") + &text("p384");
    let encrypted = "the key is encrypted: import the certificate with";
    let no_key = "the block holds no whole key that servers take: use RSA of 2048";
    let block = |der: &[u8]| pem::write("PRIVATE KEY", der).to_string();
    for (text, told) in [
        (text("p256-encrypted"), encrypted),
        (text("p256-proc-type"), encrypted),
        (text("rsa-2048-proc-type"), encrypted),
        // the content counts, not the label
        (text("p256-encrypted").replace("ENCRYPTED ", ""), encrypted),
        (text("root"), "there is no PEM block of a private key"),
        ("see the safe in room 7".to_owned(), "there is no PEM block of a private key"),
        (two.clone(), "there are 2 different keys, expected one"),
        (two.clone() + &text("p256"), "there are 2 different keys, expected one"),
        (two + &text("p521"), "there are 3 different keys, expected one"),
        (broken, "a PEM block is not base64"),
        (block(&[0x30, 0]), no_key),
        (block(&[0x30, 6, 2, 1, 0, 2, 1, 1]), no_key),
        (block(&[0x30, 6, 2, 1, 1, 4, 1, 0]), no_key),
        (text("rsa-1024"), no_key),
        (text("secp256k1"), no_key),
        (text("ed448"), no_key),
        (text("rsa-pss"), no_key),
    ] {
        let error = PrivateKey::from_pem(&text).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn debugging_shows_the_kind_of_a_key_and_nothing_of_it() {
    let shown = format!("{:?}", read("p384"));
    assert!(shown.ends_with("pkcs8: Pkcs8V1Der }"), "{shown}");
}

#[test]
fn the_key_of_a_certificate() {
    for (name, kind) in [
        ("leaf-ed448", "a key of algorithm 1.3.101.113"),
        ("leaf-rsa-1024", "RSA 1024"),
        ("leaf-rsa-pss", "a key of algorithm 1.2.840.113549.1.1.10"),
        ("leaf-secp256k1", "a key of algorithm 1.3.132.0.10"),
        ("chain-p521", "ECDSA P-521"),
        ("chain-rsa-8192", "RSA 8192"),
        ("cases/chain/leaf-rsa2056", "RSA 2056"),
    ] {
        // of a chain, the issuer's
        let certificate = certificates(&[name]).pop().unwrap();
        assert_eq!(certificate.public_key.kind.to_string(), kind, "{name}");
    }
}

#[test]
fn keys_are_compared_as_keys() {
    let key =
        |first: u8, rest: &[u8]| PublicKey::new(KeyKind::Ecdsa(256), &[&[first], rest].concat());
    let (x, odd, even) = ([7; 32], [9; 32], [8; 32]);
    let whole = |y: &[u8; 32]| key(4, &[x, *y].concat());
    assert_eq!(whole(&odd), key(3, &x));
    assert_eq!(whole(&even), key(2, &x));
    assert_ne!(whole(&odd), key(2, &x));
    assert_ne!(whole(&odd), key(3, &[8; 32]));
    assert_ne!(whole(&odd), PublicKey::new(KeyKind::Ecdsa(384), &[&[3], &x[..]].concat()));
    // a point of no form at all stays what it is
    assert_ne!(key(5, &x), key(4, &x));
}
