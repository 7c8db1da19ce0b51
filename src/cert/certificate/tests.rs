//! What is read from certificates, as truth tables.

use rcgen::{CertificateParams, CustomExtension, SigningKey as _};

use super::*;
use crate::cert::samples::{certificates, maker, stored};

fn file(name: &str) -> Certificate {
    certificates(&[name]).remove(0)
}

#[test]
fn every_built_in_root_is_readable_and_signed_by_itself() {
    for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let root = Certificate::from_der(der).unwrap();
        assert!(root.is_ca && root.self_signed(), "{}", root.subject);
        assert_eq!(root.oddity, None, "{}", root.subject);
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

/// An extension by the dotted text of its identifier.
fn extension(id: &str, critical: bool, content: &[u8]) -> CustomExtension {
    let id: Vec<u64> = id.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut extension = CustomExtension::from_oid_content(&id, content.to_vec());
    extension.set_criticality(critical);
    extension
}

fn issued(change: impl FnOnce(&mut CertificateParams)) -> anyhow::Result<Certificate> {
    Certificate::from_der(&maker().make_with("a < a", change).der)
}

/// What is told about a certificate, or why it is none.
fn said(certificate: anyhow::Result<Certificate>) -> String {
    let certificate = match certificate {
        Ok(certificate) => certificate,
        Err(why) => return why.to_string(),
    };
    let said = &certificate.said;
    let flags = [
        (said.unknown_critical, "unknown critical"),
        (said.critical_policies, "critical policies"),
        (certificate.has_stamps, "stamps"),
        (said.not_for_servers, "not for servers"),
        (!certificate.permits(KeyUsage::key_cert_sign), "signs no certificates"),
    ];
    let flags = flags.iter().filter(|(is, _)| *is).map(|(_, text)| (*text).to_owned());
    let faults = certificate.faults().into_iter().map(str::to_owned);
    let told: Vec<String> = flags.chain(faults).chain(certificate.oddity.clone()).collect();
    told.join(", ")
}

#[test]
fn what_an_extension_says() {
    const NULL: &[u8] = &[5, 0];
    const STAMPS: &str = "1.3.6.1.4.1.11129.2.4.2";
    let usage = |bits| vec![0x03, 0x02, 0x00, bits];
    let purpose = |id: &[u8]| tlv(0x30, &tlv(6, id));
    let server_auth = purpose(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
    // anyExtendedKeyUsage: 2.5.29.37.0
    let any = purpose(&[0x55, 0x1d, 37, 0]);
    for (id, critical, content, expected) in [
        ("1.2.3", false, NULL, ""),
        ("1.2.3", true, NULL, "unknown critical"),
        // identifiers of keys, and stamps, must not be critical
        ("2.5.29.14", false, &[4, 1, 7], ""),
        ("2.5.29.14", true, &[4, 1, 7], "unknown critical"),
        ("2.5.29.35", true, &[0x30, 0], "unknown critical"),
        (STAMPS, false, NULL, "stamps"),
        (STAMPS, true, NULL, "unknown critical, stamps"),
        ("2.5.29.32", false, NULL, ""),
        ("2.5.29.32", true, NULL, "critical policies"),
        ("2.5.29.33", true, NULL, "critical policies"),
        ("2.5.29.36", true, NULL, "critical policies"),
        ("2.5.29.54", true, NULL, "critical policies"),
        ("2.5.29.15", true, &usage(0x84), ""),
        ("2.5.29.15", true, &usage(0x80), "signs no certificates"),
        (
            "2.5.29.15",
            true,
            &usage(0x20),
            "signs no certificates, lacks digitalSignature in its key usage: Envoy refuses it",
        ),
        ("2.5.29.15", true, &usage(0x04), NO_SIGNATURE),
        ("2.5.29.37", false, &server_auth, ""),
        ("2.5.29.37", false, &any, "not for servers"),
        ("1.3.6.1.5.5.7.1.24", false, &tlv(0x30, &[2, 1, 5]), MUST_STAPLE),
        ("1.3.6.1.5.5.7.1.24", false, &tlv(0x30, &[2, 1, 17, 2, 1, 5]), MUST_STAPLE),
        ("1.3.6.1.5.5.7.1.24", false, &tlv(0x30, &[2, 1, 17]), ""),
        // what OpenSSL refuses to read
        ("2.5.29.14", false, NULL, "its key identifier is unreadable"),
        ("2.5.29.14", false, &[0x0c, 1, 7], "its key identifier is unreadable"),
        ("2.5.29.35", false, NULL, "its key identifier is unreadable"),
        ("2.5.29.19", true, NULL, "has an unreadable extension 2.5.29.19"),
    ] {
        let extension = extension(id, critical, content);
        let found = said(issued(|params| params.custom_extensions.push(extension)));
        assert_eq!(found, expected, "{id} {content:02x?}");
    }
}

#[test]
fn what_keeps_envoy_from_loading_it() {
    for (name, faults) in [
        ("cases/chain/leaf-p256", &[][..]),
        ("cases/chain/leaf-empty-common-name", &[EMPTY_COMMON_NAME]),
        ("leaf-rsa-1024", &[SMALL_KEY]),
        ("cases/weak/intermediate", &[]),
        ("cases/envoy/leaf-must-staple", &[MUST_STAPLE]),
        ("cases/envoy/leaf-ec-key-agreement", &[NO_SIGNATURE]),
        ("cases/envoy/leaf-rsa-key-encipherment", &[]),
        ("cases/small-ca/intermediate-rsa1024", &[SMALL_CA_KEY]),
    ] {
        let certificate = file(name);
        assert_eq!(certificate.faults(), faults, "{name}");
        let only_deciphers = certificate.only_deciphers() && !certificate.is_ca;
        assert_eq!(only_deciphers, name.contains("rsa-key"), "{name}");
    }
}

#[test]
fn what_is_odd_or_no_certificate() {
    let with_serial = |serial: &[u8]| {
        let serial = serial.to_vec();
        said(issued(|params| params.serial_number = Some(serial.into())))
    };
    let signed = issued(|params| params.serial_number = Some(vec![0x9a, 1].into()));
    assert_eq!(signed.unwrap().serial, "9a:01");
    assert_eq!(with_serial(&[1; 20]), "");
    assert_eq!(with_serial(&[1; 21]), "has a serial number of more than 20 bytes");
    // the same serial number with superfluous zeros, or ones
    let sound =
        issued(|params| params.serial_number = Some(vec![0x12, 0x34, 0x56].into())).unwrap();
    let patched = |from: &[u8], to: &[u8]| {
        let mut der = sound.der.to_vec();
        let at = der.windows(from.len()).rposition(|bytes| bytes == from).unwrap();
        der[at..at + to.len()].copy_from_slice(to);
        said(Certificate::from_der(&der))
    };
    let serial = [2, 3, 0x12, 0x34, 0x56];
    assert_eq!(patched(&serial, &[2, 3, 0, 0, 1]), "its serial is damaged");
    assert_eq!(patched(&serial, &[2, 3, 0, 0x7f, 1]), "its serial is damaged");
    assert_eq!(patched(&serial, &[2, 3, 0xff, 0x80, 1]), "its serial is damaged");
    assert_eq!(patched(&serial, &[2, 3, 0, 0x80, 1]), "");
    // ecdsa-with-SHA256, of which the last one is beside the signature
    let id = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    assert_eq!(
        patched(&id, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]),
        "names two different signature algorithms"
    );
    let large = [&[0x30, 0x83, 1, 0, 0][..], &[0; LARGEST]].concat();
    for (der, told) in [
        (&[][..], "not an X.509 certificate"),
        (&[0x30, 0], "not an X.509 certificate"),
        (&large, "it has 64 KiB, expected at most 64"),
    ] {
        assert_eq!(said(Certificate::from_der(der)), told);
    }
    for odd in ["utctime-offset", "utctime-without-seconds"] {
        let odd = file(&format!("cases/strangers/{odd}"));
        assert_eq!(odd.oddity.as_deref(), Some("has a date that is not in the form YYMMDDHHMMSSZ"));
        assert!(odd.not_after.as_secs() - odd.not_before.as_secs() > 19 * 365 * 86_400);
    }
}

#[test]
fn self_signed_is_what_its_own_key_signed() {
    for (line, expected) in [
        ("A < A", true),
        // the same name, another key
        ("A < A:other", false),
        ("A < B:A", false),
        // nobody knows
        ("A < A unverifiable", true),
        ("A < A:other unverifiable", true),
        ("A < B:A unverifiable", false),
    ] {
        let found = maker().make(line).read().self_signed();
        assert_eq!(found, expected, "{line}");
    }
    // a leaf that has the name of its CA
    assert!(!file("cases/same-name/leaf").self_signed());
    assert!(!file("cases/same-name/leaf-sha1").self_signed());
    assert!(file("cases/same-name/root").self_signed());
    assert!(file("cases/post-quantum/root-mldsa65").self_signed());
    assert!(file("cases/weak/root-sha1").self_signed());
}

/// What the probe asks of a server, in each version of TLS.
#[test]
fn a_signature_proves_that_its_key_is_that_of_the_leaf() {
    use SignatureScheme as Scheme;
    for (key, scheme) in [
        ("p256.pem", Scheme::ECDSA_NISTP256_SHA256),
        ("p384.pem", Scheme::ECDSA_NISTP384_SHA384),
        ("ed25519.pem", Scheme::ED25519),
    ] {
        let mut maker = maker();
        let leaf = maker.make(&format!("a:{key} < CA")).read();
        let other = maker.make("b < CA").read();
        let signature = maker.key(key).sign(b"message").unwrap();
        assert!(leaf.proves(scheme, b"message", &signature));
        assert!(!leaf.proves(scheme, b"other", &signature));
        assert!(!other.proves(scheme, b"message", &signature));
        assert!(!leaf.proves(Scheme::RSA_PSS_SHA256, b"message", &signature));
    }
}

#[test]
fn weak_digests() {
    let oid = |text: &str| {
        let parsed = x509_parser::asn1_rs::Oid::from(
            &text.split('.').map(|arc| arc.parse().unwrap()).collect::<Vec<u64>>(),
        )
        .unwrap();
        tlv(6, parsed.as_bytes())
    };
    let algorithm = |id: &str, parameters: &[u8]| tlv(0x30, &[&oid(id), parameters].concat());
    let pss = |digest: &str| {
        let parameters = tlv(0x30, &tlv(0xa0, &algorithm(digest, &[])));
        algorithm("1.2.840.113549.1.1.10", &parameters)
    };
    for (weak, algorithm) in [
        (Some("MD5"), algorithm("1.2.840.113549.1.1.4", &[5, 0])),
        (Some("SHA-1"), algorithm("1.2.840.113549.1.1.5", &[5, 0])),
        (Some("MD5"), algorithm("1.3.14.3.2.3", &[])),
        (Some("SHA-1"), algorithm("1.3.14.3.2.29", &[])),
        (Some("SHA-1"), algorithm("1.2.840.10045.4.1", &[])),
        (Some("SHA-1"), algorithm("1.2.840.10040.4.3", &[])),
        (Some("SHA-1"), algorithm("1.2.840.113549.1.1.10", &[])),
        (Some("SHA-1"), algorithm("1.2.840.113549.1.1.10", &[0x30, 0])),
        (Some("SHA-1"), pss("1.3.14.3.2.26")),
        (Some("MD5"), pss("1.2.840.113549.2.5")),
        (None, pss("2.16.840.1.101.3.4.2.1")),
        (None, algorithm("1.2.840.113549.1.1.11", &[5, 0])),
        (None, algorithm("1.2.840.113549.1.1.14", &[5, 0])),
        (None, algorithm("1.2.840.10045.4.3.2", &[])),
        (None, algorithm("1.3.101.112", &[])),
    ] {
        let (_, identifier) = AlgorithmIdentifier::from_der(&algorithm).unwrap();
        assert_eq!(weak_digest(&identifier), weak, "{algorithm:02x?}");
    }
}

#[test]
fn names_are_equal_whatever_their_spelling() {
    let name_of = |tag: u8, text: &[u8]| {
        let attribute = tlv(0x30, &[tlv(6, &[0x55, 4, 3]), tlv(tag, text)].concat());
        let der = tlv(0x30, &tlv(0x31, &attribute));
        let (_, read) = X509Name::from_der(&der).unwrap();
        (distinguished_name(&read), super::text(&read))
    };
    let (same, shown) = name_of(0x13, b"Example CA");
    assert_eq!(shown, "CN=Example CA");
    for (tag, text) in [
        (0x0c, &b"Example CA"[..]),
        (0x0c, b"EXAMPLE ca"),
        (0x13, b"  Example   CA "),
        (0x14, b"Example CA"),
        (0x1e, b"\0E\0x\0a\0m\0p\0l\0e\0 \0C\0A"),
    ] {
        assert_eq!(name_of(tag, text).0, same, "{tag:#x} {text:?}");
    }
    for (tag, text) in [(0x13, &b"ExampleCA"[..]), (0x0c, b"Example CB"), (4, b"Example CA")] {
        assert_ne!(name_of(tag, text).0, same, "{tag:#x} {text:?}");
    }
    // of what is unreadable only the same bytes are equal
    assert_ne!(name_of(0x14, &[0xe4]).0, name_of(0x14, &[0xe5]).0);
    assert_eq!(name_of(0x14, &[0xe4]), name_of(0x14, &[0xe4]));
}

#[test]
fn a_certificate_without_a_subject_has_its_first_name() {
    let nameless = issued(|params| params.distinguished_name = rcgen::DistinguishedName::new());
    let nameless = nameless.unwrap();
    assert_eq!(nameless.subject, nameless.names[0].to_string());
}

/// OpenSSL's own form has trust settings behind the certificate; elsewhere nothing may follow it.
#[test]
fn what_follows_a_certificate_in_its_block_is_not_overlooked() {
    let trusted = stored("leaf-trusted");
    let found =
        |text: &str| Certificate::all_in(text).iter().map(Result::is_ok).collect::<Vec<_>>();
    assert_eq!(found(&trusted), [true]);
    assert_eq!(found(&trusted.replace("TRUSTED CERT", "CERT")), [true, false]);
}

#[test]
fn names_are_dns_names_and_addresses() {
    let names = maker().make("shop < CA names:shop.example.com,10.0.0.1").read().names;
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["shop.example.com", "10.0.0.1"]);
}

#[test]
fn an_issuer_may_be_named_by_its_serial_number() {
    let file = |name: &str| certificates(&[&format!("cases/key-ids/{name}")]).remove(0);
    let leaf = file("leaf-names-older-by-serial");
    let fits =
        ["intermediate-older", "intermediate-newer"].map(|name| leaf.fits_issuer(&file(name)));
    assert_eq!(fits, [true, false]);
}

#[test]
fn serial_numbers_are_compared_as_numbers() {
    assert!(same_serial("04:1a:2b", "4:1A:2b"));
    assert!(same_serial("00:04:1a", "04:1a"));
    assert!(!same_serial("04:1a", "41:a0"));
    assert!(!same_serial("41:0a", "04:10:0a"));
}

#[test]
fn a_time_prints_as_rfc_3339() {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(1_785_153_600));
    assert_eq!(rfc3339(time), "2026-07-27T12:00:00Z");
    assert_eq!(parse_rfc3339("2026-07-27T12:00:00Z"), Some(time));
    assert_eq!(parse_rfc3339("2026-07-27T12:00:00.123Z"), Some(time));
    for nonsense in ["2026-07-27T12:00:00+02:00", "2026-07-27T25:00:00Z", "soon", "soonZ", ""] {
        assert_eq!(parse_rfc3339(nonsense), None, "{nonsense}");
    }
    let far = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    assert!(rfc3339(far).starts_with("second "));
}
