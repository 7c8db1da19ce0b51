//! Every form of a key, and what cannot be used.

use super::*;
use crate::cert::certificates;

fn text(name: &str) -> String {
    let path = format!(
        "{}/tests/certificates/{name}.pem",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).unwrap()
}

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
        (
            "cases/keys/ed25519",
            &["ed25519-pkcs8-v2", "ed25519-pkcs8-v2-old-spelling"],
        ),
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
        .arg(format!(
            "{}/tests/certificates/p384.pem",
            env!("CARGO_MANIFEST_DIR")
        ))
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
    let pem = |parts: &[&[u8]]| {
        let block = der::value(der::SEQUENCE, parts);
        pem::write("PRIVATE KEY", &block).to_string()
    };
    // an RSA key begins with the version and has eight more numbers, a DSA key has five
    let numbers = |version: u8, count: usize| {
        let mut numbers = vec![der::unsigned(&[version])];
        numbers.resize(count + 1, der::unsigned(&[0x80; 256]));
        pem(&numbers
            .iter()
            .map(|number| number.as_slice())
            .collect::<Vec<_>>())
    };
    let no_key = || KeyError::Malformed("the block does not hold a whole private key");
    for (text, error) in [
        (text("p256-encrypted"), KeyError::Encrypted),
        (text("p256-proc-type"), KeyError::Encrypted),
        (text("rsa-2048-proc-type"), KeyError::Encrypted),
        (text("root"), KeyError::Missing),
        ("see the safe in room 7".to_owned(), KeyError::Missing),
        (two.clone(), KeyError::Several(2)),
        (two + &text("p256"), KeyError::Several(2)),
        (
            text("p256") + &text("p384") + &text("p521"),
            KeyError::Several(3),
        ),
        // the content counts, not the label
        (
            text("p256-encrypted").replace("ENCRYPTED ", ""),
            KeyError::Encrypted,
        ),
        (
            broken,
            KeyError::Damaged("a PEM block is not base64".to_owned()),
        ),
        (numbers(0, 0), no_key()),
        (numbers(0, 1), no_key()),
        (numbers(0, 5), no_key()),
        (numbers(0, 7), no_key()),
        (numbers(0, 9), no_key()),
        (pem(&[&[der::OID, 0], &[der::OID, 0]]), no_key()),
        (
            numbers(1, 9),
            KeyError::Malformed("RSA of more than two primes is not supported"),
        ),
        (
            numbers(0, 8),
            KeyError::Malformed("the numbers of the key do not fit together"),
        ),
        (
            text("rsa-1024"),
            KeyError::Unsupported(KeyKind::Rsa { bits: 1024 }),
        ),
        (
            text("secp256k1"),
            KeyError::Unsupported(KeyKind::Ecdsa(Curve::Other)),
        ),
        (text("ed448"), KeyError::Unsupported(KeyKind::Ed448)),
        (
            text("rsa-pss"),
            KeyError::Unsupported(KeyKind::Other("1.2.840.113549.1.1.10".to_owned())),
        ),
    ] {
        assert_eq!(PrivateKey::from_pem(&text).unwrap_err(), error);
    }
}

#[test]
fn an_error_says_what_was_found_and_what_was_expected() {
    for (error, shown) in [
        (KeyError::Encrypted, "the key is encrypted"),
        (KeyError::Missing, "there is no PEM block of a private key"),
        (
            KeyError::Several(2),
            "there are 2 different keys, expected one",
        ),
        (
            KeyError::Damaged("a PEM block is not base64".to_owned()),
            "a PEM block is not base64",
        ),
        (KeyError::Malformed("not a whole key"), "not a whole key"),
        (
            KeyError::Unsupported(KeyKind::Rsa { bits: 1024 }),
            "RSA 1024: servers take RSA of 2048 to 8192 bits",
        ),
        (
            KeyError::Unsupported(KeyKind::Ed448),
            "Ed448 is not supported",
        ),
        (
            KeyError::Unsupported(KeyKind::Ecdsa(Curve::Other)),
            "ECDSA on another curve is not supported",
        ),
        (
            KeyError::Unsupported(KeyKind::Other("1.2.3".to_owned())),
            "a key of algorithm 1.2.3 is not supported",
        ),
    ] {
        assert_eq!(error.to_string(), shown);
    }
}

#[test]
fn debugging_shows_the_kind_of_a_key_and_nothing_of_it() {
    assert_eq!(format!("{:?}", read("p384")), "PrivateKey(ECDSA P-384)");
}

#[test]
fn the_key_of_a_certificate() {
    for (name, kind) in [
        ("leaf-ed448", "Ed448"),
        ("leaf-rsa-1024", "RSA 1024"),
        ("leaf-rsa-pss", "a key of algorithm 1.2.840.113549.1.1.10"),
        ("leaf-secp256k1", "ECDSA on another curve"),
        ("chain-p521", "ECDSA P-521"),
        ("chain-rsa-8192", "RSA 8192"),
    ] {
        // of a chain, the issuer's
        let certificate = certificates::from_pem(&text(name)).pop().unwrap().unwrap();
        assert_eq!(certificate.public_key.kind.to_string(), kind, "{name}");
    }
}

#[test]
fn leading_zero_bits_do_not_count() {
    for (number, bits) in [
        (&[][..], 0),
        (&[1], 1),
        (&[0x7f], 7),
        (&[0x80], 8),
        (&[1, 0], 9),
        (&[0xff, 0, 0], 24),
    ] {
        assert_eq!(bit_length(number), bits, "{number:?}");
    }
}

#[test]
fn the_public_half_decides_the_curve_if_it_is_there() {
    // its first byte says in which form it is, and how many bytes follow
    let public = |form: u8, length: usize| Some([vec![form], vec![7; length]].concat());
    for (public, private, curve) in [
        (None, 1, Curve::P256),
        (None, 32, Curve::P256),
        (None, 33, Curve::P384),
        (None, 48, Curve::P384),
        (None, 49, Curve::P521),
        (None, 66, Curve::P521),
        (None, 67, Curve::Other),
        (Some(Vec::new()), 48, Curve::P384),
        // a private value may begin with many zeros
        (public(4, 64), 31, Curve::P256),
        (public(4, 96), 31, Curve::P384),
        (public(4, 132), 31, Curve::P521),
        (public(4, 134), 31, Curve::Other),
        (public(2, 48), 31, Curve::P384),
        (public(3, 66), 31, Curve::P521),
        // a form that no other has
        (public(5, 66), 31, Curve::P256),
    ] {
        let found = curve_of_size(public.as_deref(), &vec![1; private]);
        assert_eq!(found, curve, "{public:?} {private}");
    }
}
