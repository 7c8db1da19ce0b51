//! What is read from certificates, as truth tables.

use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::*;

#[test]
fn every_built_in_root_is_readable_and_signed_by_itself() {
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let root = Certificate::from_der(der.clone()).unwrap();
        assert!(root.is_ca && root.self_issued(), "{}", root.subject_text);
        assert_eq!(root.oddity, None, "{}", root.subject_text);
        assert_ne!(
            root.signed_by(&root, algorithms),
            Signature::Foreign,
            "{}",
            root.subject_text
        );
    }
}

/// An extension by the dotted text of its identifier.
fn extension(id: &str, critical: bool, content: &[u8]) -> CustomExtension {
    let id: Vec<u64> = id.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut extension = CustomExtension::from_oid_content(&id, content.to_vec());
    extension.set_criticality(critical);
    extension
}

fn issued(extensions: Vec<CustomExtension>) -> Certificate {
    let mut params = CertificateParams::default();
    params.custom_extensions = extensions;
    let key = KeyPair::generate().unwrap();
    Certificate::from_der(params.self_signed(&key).unwrap().der().clone()).unwrap()
}

#[test]
fn what_an_extension_says() {
    const NULL: &[u8] = &[5, 0];
    let usage = |bits| vec![0x03, 0x02, 0x00, bits];
    let purpose = |id: &[u8]| der::value(der::SEQUENCE, &[&der::value(der::OID, &[id])]);
    let server_auth = purpose(SERVER_AUTH);
    // anyExtendedKeyUsage: 2.5.29.37.0
    let any = purpose(&[0x55, 0x1d, 37, 0]);
    let said = |certificate: &Certificate| {
        let flags = [
            (certificate.unknown_critical, "unknown critical"),
            (certificate.critical_policies, "critical policies"),
            (certificate.has_stamps, "stamps"),
            (!certificate.key_serves, "does not serve"),
            (!certificate.key_signs_certificates, "signs no certificates"),
            (!certificate.for_servers, "not for servers"),
        ];
        let flags = flags.iter().filter(|(is, _)| *is).map(|(_, text)| *text);
        let flags = flags.chain(certificate.oddity.as_deref());
        flags.collect::<Vec<_>>().join(", ")
    };
    for (id, critical, content, expected) in [
        ("1.2.3", false, NULL, ""),
        ("1.2.3", true, NULL, "unknown critical"),
        // identifiers of keys, and stamps, must not be critical
        ("2.5.29.14", false, &[4, 1, 7], ""),
        ("2.5.29.14", true, &[4, 1, 7], "unknown critical"),
        ("2.5.29.35", true, &[0x30, 0], "unknown critical"),
        ("1.3.6.1.4.1.11129.2.4.2", false, NULL, "stamps"),
        (
            "1.3.6.1.4.1.11129.2.4.2",
            true,
            NULL,
            "unknown critical, stamps",
        ),
        ("2.5.29.32", false, NULL, ""),
        ("2.5.29.32", true, NULL, "critical policies"),
        ("2.5.29.33", true, NULL, "critical policies"),
        ("2.5.29.36", true, NULL, "critical policies"),
        ("2.5.29.54", true, NULL, "critical policies"),
        ("2.5.29.15", true, &usage(0x80), "signs no certificates"),
        ("2.5.29.15", true, &usage(0x20), "signs no certificates"),
        ("2.5.29.15", true, &usage(0x08), "signs no certificates"),
        ("2.5.29.15", true, &usage(0x84), ""),
        ("2.5.29.15", true, &usage(0x04), "does not serve"),
        (
            "2.5.29.15",
            true,
            &usage(0x42),
            "does not serve, signs no certificates",
        ),
        ("2.5.29.37", false, &server_auth, ""),
        ("2.5.29.37", false, &any, "not for servers"),
        (
            "2.5.29.14",
            false,
            NULL,
            "has an unreadable extension 2.5.29.14",
        ),
        (
            "2.5.29.19",
            true,
            NULL,
            "has an unreadable extension 2.5.29.19",
        ),
    ] {
        let certificate = issued(vec![extension(id, critical, content)]);
        assert_eq!(said(&certificate), expected, "{id} {content:?}");
    }
    let one = extension("1.2.3", false, NULL);
    let twice = issued(vec![one.clone(), extension("1.2.4", false, NULL), one]);
    assert_eq!(said(&twice), "has the extension 1.2.3 twice");
}

#[test]
fn what_is_odd_or_no_certificate() {
    let sound = issued(Vec::new());
    assert_eq!(sound.oddity, None);
    // ecdsa-with-SHA256, of which the last one is beside the signature
    let id = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let mut der = sound.der.to_vec();
    let at = der
        .windows(id.len())
        .rposition(|bytes| bytes == id)
        .unwrap();
    der[at + id.len() - 1] = 3;
    let odd = Certificate::from_der(der.into()).unwrap();
    assert_eq!(
        odd.oddity.as_deref(),
        Some("names two different signature algorithms")
    );
    for (der, told) in [
        (Vec::new(), "not an X.509 certificate"),
        (vec![0x30, 0], "not an X.509 certificate"),
        (
            der::value(der::SEQUENCE, &[&vec![0; LARGEST]]).to_vec(),
            "a certificate of 64 KiB, expected at most 64",
        ),
    ] {
        let error = Certificate::from_der(der.into()).unwrap_err();
        assert!(format!("{error:#}").starts_with(told), "{error:#}");
    }
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
    assert_eq!(parse_rfc3339("2026-07-27T12:00:00+02:00"), None);
    assert_eq!(parse_rfc3339("soon"), None);
}

#[test]
fn times_as_certificates_write_them() {
    let read = |tag: u8, text: &str| {
        let bytes = der::value(tag, &[text.as_bytes()]);
        let (time, strict) = time(Reader(&bytes).next()?)?;
        Some((rfc3339(time), strict))
    };
    let (utc, generalized) = (0x17, 0x18);
    let noon = |strict| Some(("2026-07-27T12:00:00Z".to_owned(), strict));
    assert_eq!(read(utc, "260727120000Z"), noon(true));
    assert_eq!(read(generalized, "20260727120000Z"), noon(true));
    assert_eq!(read(utc, "2607271200Z"), noon(false));
    assert_eq!(read(utc, "260727120000+0000"), noon(false));
    assert_eq!(read(utc, "260727143000+0230"), noon(false));
    assert_eq!(read(utc, "260727093000-0230"), noon(false));
    assert_eq!(read(generalized, "20260727120000.5Z"), noon(false));
    assert_eq!(
        read(utc, "490101000000Z").unwrap().0,
        "2049-01-01T00:00:00Z"
    );
    assert_eq!(
        read(utc, "500101000000Z").unwrap().0,
        "1970-01-01T00:00:00Z"
    );
    assert_eq!(
        read(generalized, "99991231235959Z").unwrap().0,
        "9999-12-31T23:59:59Z"
    );
    for nonsense in [
        "",
        "2607",
        "261327120000Z",
        "260727120000X",
        "26é727120000Z",
    ] {
        assert_eq!(read(utc, nonsense), None, "{nonsense}");
    }
    assert_eq!(read(der::INTEGER, "260727120000Z"), None);
}
