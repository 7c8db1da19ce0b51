//! What is fit to serve, as truth tables.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::*;
use crate::sync::samples::now;

const DAY: i64 = 24 * 60 * 60;

/// `ecdsa-with-SHA256` and `sha256WithRSAEncryption`.
const STRONG: [&[u8]; 2] = [
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
];

type Change = fn(&mut CertificateParams);

/// Begin and end, in seconds from now.
fn lasting(params: &mut CertificateParams, begin: i64, end: i64) {
    let time = |seconds| {
        rcgen::date_time_ymd(1970, 1, 1)
            + Duration::from_secs(now().as_secs().checked_add_signed(seconds).unwrap())
    };
    (params.not_before, params.not_after) = (time(begin), time(end));
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    lasting(&mut params, -100 * DAY, 100 * DAY);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn file(name: &str) -> String {
    let directory = env!("CARGO_MANIFEST_DIR");
    std::fs::read_to_string(format!("{directory}/tests/certificates/{name}.pem")).unwrap()
}

/// A CA with this name.
fn issuer(name: &str, key: KeyPair) -> Issuer<'static, KeyPair> {
    Issuer::new(named(name), key)
}

/// The certificate of a CA with this name.
fn ca(name: &str, key: &KeyPair, issuer: &Issuer<'_, KeyPair>, change: Change) -> String {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(vec![9].into());
    change(&mut params);
    params.signed_by(key, issuer).unwrap().pem()
}

/// The certificate of a shop.
fn shop(key: &KeyPair, issuer: &Issuer<'_, KeyPair>, serial: u8, change: Change) -> String {
    let mut params = named("shop");
    params.serial_number = Some(vec![serial].into());
    params.subject_alt_names = CertificateParams::new(["shop.example.com".to_owned()])
        .unwrap()
        .subject_alt_names;
    change(&mut params);
    params.signed_by(key, issuer).unwrap().pem()
}

/// The certificates of a text, DER.
fn ders(text: &str) -> Vec<Vec<u8>> {
    let certificates = pem::certificates(text).into_iter();
    certificates.map(|c| c.unwrap().der.to_vec()).collect()
}

/// The same with another signature algorithm: with the last number of its identifier.
fn signed_with(last: u8, certificate: &str) -> String {
    let mut der = ders(certificate).remove(0);
    for at in 0..der.len() {
        for algorithm in STRONG {
            if der[at..].starts_with(algorithm) {
                der[at + algorithm.len() - 1] = last;
            }
        }
    }
    pem::write("CERTIFICATE", &der).to_string()
}

const fn same(_: &mut CertificateParams) {}

fn material(certificates: &[(&'static str, &str)], key: &str) -> Material {
    let certificates = certificates.iter();
    Material {
        name: "shop".to_owned(),
        certificates: certificates
            .map(|(field, text)| (*field, (*text).to_owned()))
            .collect(),
        key: Secret::from(key.to_owned()),
        updated_at: None,
    }
}

/// All certificates in one text.
fn assembled(text: &str, key: &KeyPair) -> Result<Bundle, Error> {
    assemble(&material(&[("text", text)], &key.serialize_pem()), now())
}

/// The serial numbers of the chain, then what was found; or the reason.
fn told(bundle: &Result<Bundle, Error>) -> String {
    let bundle = match bundle {
        Ok(bundle) => bundle,
        Err(error) => return error.reason.to_string(),
    };
    let serials = bundle.chain().map(|c| c.serial.clone());
    let codes = bundle.findings.iter().map(|f| f.reason.to_string());
    let faults = bundle.faults.iter().map(|fault| format!("{fault:?}"));
    serials
        .chain(faults)
        .chain(codes)
        .collect::<Vec<_>>()
        .join(" ")
}

fn finding(bundle: &Bundle, code: Reason) -> &str {
    let mut findings = bundle.findings.iter();
    &findings
        .find(|finding| finding.reason == code)
        .unwrap()
        .message
}

const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

#[test]
fn what_is_left_out_or_missing_is_found() {
    let (root, key, ca_key) = (issuer("Root", new_key()), new_key(), new_key());
    let above = ca("CA", &ca_key, &root, same);
    let leaf = shop(&key, &issuer("CA", ca_key), 1, same);
    let stranger = ca("Stranger", &new_key(), &root, same);
    for (certificates, expected) in [
        (&[leaf.as_str(), &above][..], "01 09"),
        (&[&above, &leaf], "01 09"),
        (&[&leaf, &leaf, &above, &above], "01 09"),
        (&[&leaf], "01 chain-gap"),
        (&[&leaf, &stranger], "01 chain-gap"),
        (&[&leaf, &stranger, &above], "01 09"),
        (&[BROKEN, &leaf, &above], "01 09"),
        (&[&leaf, &above, &stranger, BROKEN], "01 09"),
        // it may be what is missing
        (&[&leaf, BROKEN], "pem-unreadable"),
        (&[&above, BROKEN], "pem-unreadable"),
        (&[BROKEN], "pem-unreadable"),
        (&[&above], "key-mismatch"),
        (&[&above, &stranger], "key-mismatch"),
        (&[""], "pem-unreadable"),
        (&[], "pem-unreadable"),
    ] {
        let texts: Vec<_> = certificates.iter().map(|text| ("list", *text)).collect();
        let list = assemble(&material(&texts, &key.serialize_pem()), now());
        let text = assembled(&certificates.concat(), &key);
        assert_eq!(
            (told(&list), told(&text)),
            (expected.to_owned(), expected.to_owned())
        );
    }

    let whole =
        |others: &[&str]| assembled(&[&[leaf.as_str()], others].concat().concat(), &key).unwrap();
    assert_eq!(
        finding(&whole(&[]), Reason::ChainGap),
        "the issuer of the certificate is missing, many clients will not trust the server:\n\
         CN=shop (serial 01)\n  <- CN=CA is missing"
    );
    let error = assemble(&material(&[], &key.serialize_pem()), now()).unwrap_err();
    assert!(error.to_string().contains("(fields: nothing)"), "{error}");
}

#[test]
fn an_unreadable_block_is_named_by_its_field() {
    let (key, root) = (new_key(), issuer("Root", new_key()));
    let leaf = shop(&key, &root, 1, same);
    // one field is a list, and its entries count from 0
    let unreadable = [
        ("intermediate", BROKEN),
        ("ca_chain", BROKEN),
        ("ca_chain", ""),
        ("ca_chain", BROKEN),
    ];
    let all = [&[("certificate", leaf.as_str())], &unreadable[..]].concat();
    let error = assemble(&material(&all, &key.serialize_pem()), now()).unwrap_err();
    let text = error.to_string();
    let fields: Vec<&str> = text
        .split_once('(')
        .unwrap()
        .1
        .split(" | ")
        .filter_map(|unreadable| unreadable.split_once(": ").map(|(field, _)| field))
        .collect();
    assert_eq!(fields, ["intermediate", "ca_chain[0]", "ca_chain[2]"]);
}

#[test]
fn there_are_limits_to_the_certificates() {
    let (key, root) = (new_key(), issuer("Root", new_key()));
    let leaf = shop(&key, &root, 1, same);
    let stranger_key = new_key();
    let strangers = |count: u8| -> String {
        let stranger = |serial| {
            let mut params = named("Stranger");
            params.serial_number = Some(vec![serial].into());
            params.self_signed(&stranger_key).unwrap().pem()
        };
        (1..=count).map(stranger).collect()
    };
    let limit = u8::try_from(MOST_CERTIFICATES).unwrap();
    for (text, expected) in [
        (strangers(limit - 1), "01 chain-gap"),
        (strangers(limit), "pem-unreadable"),
        (BROKEN.repeat(MOST_CERTIFICATES), "an issuer is missing"),
        (
            BROKEN.repeat(MOST_CERTIFICATES + 1),
            "there are more than 64",
        ),
    ] {
        let text = format!("{leaf}{text}");
        let result = assembled(&text, &key);
        let found = match &result {
            Err(error) => format!("{} {error}", told(&result)),
            Ok(_) => told(&result),
        };
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn the_key_chooses_the_newest_leaf_that_is_fit() {
    let (root, key) = (issuer("Root", new_key()), new_key());
    let leaf = |serial, change| shop(&key, &root, serial, change);
    let newest = leaf(1, |p| lasting(p, -DAY, DAY));
    let older = leaf(2, |p| lasting(p, -2 * DAY, DAY));
    let oldest = leaf(3, |p| lasting(p, -3 * DAY, DAY));
    let early = leaf(4, |p| lasting(p, 1, DAY));
    let expired = leaf(5, |p| lasting(p, -DAY, -1));
    let other = shop(&new_key(), &root, 6, same);
    for (certificates, expected) in [
        ([&newest, &older, &oldest], "01 chain-gap"),
        ([&other, &older, &oldest], "02 chain-gap"),
        ([&early, &older, &oldest], "02 chain-gap"),
        ([&early, &expired, &oldest], "03 chain-gap"),
        ([&early, &expired, &other], "not-yet-valid"),
        ([&expired, &expired, &other], "expired"),
        ([&other, &other, &other], "key-mismatch"),
    ] {
        for order in [[0, 1, 2], [2, 1, 0]] {
            let text = order.map(|at| certificates[at].as_str()).concat();
            let result = assembled(&text, &key);
            assert_eq!(told(&result), expected);
        }
    }
    // equally new: the order makes no difference
    let (a, b) = (leaf(7, same), leaf(8, same));
    let chosen = [format!("{a}{b}"), format!("{b}{a}")].map(|text| told(&assembled(&text, &key)));
    assert_eq!(chosen[0], chosen[1]);
    // a broken block may be the one
    let text = format!("{other}{BROKEN}");
    let error = assembled(&text, &key).unwrap_err();
    assert!(
        error.to_string().contains("belongs to none of the others"),
        "{error}"
    );
}

#[test]
fn a_certificate_that_clients_refuse_is_not_served() {
    let (root, key) = (issuer("Root", new_key()), new_key());
    let rows: [(Change, &str, &str); _] = [
        (same, "01 chain-gap", ""),
        (|p| lasting(p, 0, DAY), "01 chain-gap", ""),
        (|p| lasting(p, -DAY, 0), "01 chain-gap", ""),
        (
            |p| lasting(p, 1, DAY),
            "not-yet-valid",
            "becomes valid at 2026-07-27T00:00:01Z",
        ),
        (
            |p| lasting(p, -DAY, -1),
            "expired",
            "expired at 2026-07-26T23:59:59Z",
        ),
        (
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "unfit",
            "is that of a CA",
        ),
        (
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "unfit",
            "extended key usage",
        ),
        (
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            "01 chain-gap",
            "",
        ),
        (
            |p| p.key_usages = vec![KeyUsagePurpose::CrlSign],
            "01 NoDigitalSignature chain-gap",
            "",
        ),
        (
            |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            "01 chain-gap",
            "",
        ),
        (|p| p.subject_alt_names.clear(), "unfit", "names no server"),
        (
            |p| p.serial_number = Some(vec![1; 21].into()),
            "unfit",
            "has a serial number of more than 20 bytes",
        ),
    ];
    for (change, expected, message) in rows {
        let leaf = shop(&key, &root, 1, change);
        let result = assembled(&leaf, &key);
        assert_eq!(told(&result), expected);
        let error = result.err().map(|error| error.to_string());
        assert!(error.unwrap_or_default().contains(message), "{message}");
    }
}

#[test]
fn a_weak_signature_counts_only_below_an_issuer() {
    let rsa = file("rsa-2048");
    let rsa_key = || KeyPair::from_pem(&rsa).unwrap();
    for (issuer_name, last, expected) in [
        ("CA", 0x0b, "01 chain-gap"),
        ("CA", 0x05, "weak-signature"),
        ("shop", 0x0b, "01"),
        // the signature of a self-signed certificate is not verified
        ("shop", 0x05, "01"),
    ] {
        let leaf = shop(&rsa_key(), &issuer(issuer_name, rsa_key()), 1, same);
        let leaf = signed_with(last, &leaf);
        let result = assemble(&material(&[("text", &leaf)], &rsa), now());
        assert_eq!(told(&result), expected, "{issuer_name} {last}");
    }
}

#[test]
fn a_key_that_cannot_be_used_says_what_to_do() {
    let leaf = shop(&new_key(), &issuer("Root", new_key()), 1, same);
    let cut = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    for (key, message, hint) in [
        ("", "there is no PEM block of a private key", None),
        (cut, "(the certificates are for CN=shop: ECDSA P-256)", None),
        (
            &file("p256-encrypted"),
            "the key is encrypted",
            Some("with an unencrypted key"),
        ),
        (
            &file("rsa-1024"),
            "no whole key that servers take",
            Some("use RSA of 2048 to 8192 bits"),
        ),
    ] {
        let error = assemble(&material(&[("text", &leaf)], key), now()).unwrap_err();
        assert_eq!(error.reason, Reason::KeyUnusable);
        let cause = error.message;
        assert!(cause.contains(message), "{cause}");
        assert!(hint.is_none_or(|hint| cause.contains(hint)), "{cause}");
    }
}

#[test]
fn a_bundle_is_written_leaf_first() {
    let (key, ca_key) = (new_key(), new_key());
    let above = ca("CA", &ca_key, &issuer("Root", new_key()), same);
    let ca = issuer("CA", ca_key);
    let leaf = shop(&key, &ca, 1, same);
    let bundle = |text: &str| assembled(text, &key).unwrap();
    for (text, chain, top) in [
        (format!("{above}{leaf}"), format!("{leaf}{above}"), "09"),
        (leaf.clone(), leaf.clone(), "01"),
    ] {
        let bundle = bundle(&text);
        assert_eq!(ders(&bundle.certificate_pem()), ders(&chain));
        assert_eq!(bundle.top().serial, top);
        let digest = digest(&SHA256, &ders(&chain).concat());
        let hex: String = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(bundle.chain_sha256(), hex);
    }

    // the handshake is made with what is given
    let first = bundle(&format!("{leaf}{above}"));
    assert!(
        first
            .rehearse(&first.certificate_pem(), now())
            .unwrap()
            .is_empty()
    );
    let other = shop(&new_key(), &ca, 2, same);
    let error = first
        .rehearse(&format!("{other}{above}"), now())
        .unwrap_err();
    assert_eq!(error.reason, Reason::Unfit);
}

#[test]
fn missing_issuers_are_taken_from_what_is_deployed() {
    let (key, ca_key, other_key) = (new_key(), new_key(), new_key());
    let root = issuer("Root", new_key());
    let above = ca("CA", &ca_key, &root, same);
    let expired = ca("CA", &ca_key, &root, |p| lasting(p, -2 * DAY, -DAY));
    let no_ca = ca("CA", &ca_key, &root, |p| p.is_ca = IsCa::ExplicitNoCa);
    // its issuer has another key
    let other = ca("Other", &other_key, &root, same);
    let below_other = ca("CA", &ca_key, &issuer("Other", new_key()), same);
    let stranger = ca("Stranger", &new_key(), &root, same);
    let leaf = shop(&key, &issuer("CA", ca_key), 1, same);
    let unverifiable = signed_with(0x01, &leaf);
    let (with_issuer, with_stranger) = (format!("{leaf}{above}"), format!("{leaf}{stranger}"));
    for (new, deployed, expected) in [
        (&leaf, &[&above][..], "01 09 chain-completed"),
        (&leaf, &[&stranger, &above], "01 09 chain-completed"),
        (&with_stranger, &[&above], "01 09 chain-completed"),
        // nothing is missing, or nothing fits
        (&with_issuer, &[&above], "none"),
        (&leaf, &[], "none"),
        (&leaf, &[&stranger], "none"),
        (&leaf, &[&expired], "none"),
        (&leaf, &[&no_ca], "none"),
        // that would be no whole chain, and that one nobody verified
        (&leaf, &[&below_other, &other], "none"),
        (&leaf, &[&below_other], "01 09 chain-completed"),
        (&unverifiable, &[&above], "none"),
    ] {
        let bundle = assembled(new, &key).unwrap();
        let deployed: Vec<Certificate> = deployed
            .iter()
            .flat_map(|text| pem::certificates(text))
            .map(Result::unwrap)
            .collect();
        let completed = bundle.completed(&deployed, now());
        let found = match completed {
            None => "none".to_owned(),
            Some(completed) => {
                assert!(completed.gap.is_none() && completed.verified);
                told(&Ok(completed))
            }
        };
        assert_eq!(found, expected);
    }
}

/// These files of `tests/certificates/cases` and a key, and what is told half a year later.
fn told_of(files: &[&str], key: &str) -> String {
    let texts: Vec<String> = files
        .iter()
        .map(|name| file(&format!("cases/{name}")))
        .collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|text| ("list", text.as_str())).collect();
    let later = UnixTime::since_unix_epoch(Duration::from_secs(1_812_000_000));
    let bundle = match assemble(
        &material(&texts, &file(&format!("cases/keys/{key}"))),
        later,
    ) {
        Ok(bundle) => bundle,
        Err(error) => return error.reason.to_string(),
    };
    let faults = bundle.faults.iter().map(|fault| format!("{fault:?}"));
    let codes = bundle.findings.iter().map(|f| f.reason.to_string());
    let count = bundle.intermediates.len();
    let told: Vec<String> = faults.chain(codes).collect();
    format!("{count} {}", told.join(" "))
}

#[test]
fn what_is_no_reason_to_refuse_is_a_finding_or_a_fault() {
    let envoy = "envoy/intermediate";
    for (files, key, expected) in [
        (
            &["envoy/leaf-must-staple", envoy][..],
            "p256",
            "1 MustStaple",
        ),
        (
            &["envoy/leaf-ec-key-agreement", envoy],
            "p256",
            "1 NoDigitalSignature",
        ),
        (
            &["envoy/leaf-rsa-key-encipherment", envoy],
            "rsa2048",
            "1 unfit",
        ),
        (
            &["small-ca/leaf", "small-ca/intermediate-rsa1024"],
            "p256",
            "1 SmallCaKey chain-unverified",
        ),
        (
            &["points/leaf-compressed", "points/intermediate"],
            "p256",
            "1 ",
        ),
        (
            &[
                "key-ids/leaf-names-key-id",
                "key-ids/intermediate-newer-other-id",
            ],
            "p256",
            "1 chain-gap",
        ),
        (
            &["key-ids/leaf-names-key-id", "key-ids/intermediate-older"],
            "p256",
            "1 ",
        ),
        // the root signs with ML-DSA, or the intermediate does
        (
            &[
                "post-quantum/leaf-of-intermediate-ec",
                "post-quantum/intermediate-ec",
            ],
            "p256",
            "1 chain-unverified",
        ),
        (
            &[
                "post-quantum/leaf-of-intermediate-ec",
                "post-quantum/intermediate-ec",
                "post-quantum/root-mldsa65",
            ],
            "p256",
            "1 chain-unverified",
        ),
        (
            &[
                "post-quantum/leaf-of-intermediate-mldsa65",
                "post-quantum/intermediate-mldsa65",
            ],
            "p256",
            "1 chain-unverified",
        ),
        // the server bears the name of its CA
        (&["same-name/leaf", "same-name/root"], "p256", "0 "),
        (&["same-name/leaf"], "p256", "0 chain-gap"),
        (
            &["same-name/leaf-sha1", "same-name/root-rsa"],
            "p256",
            "weak-signature",
        ),
        (
            &["weak/leaf-of-intermediate-sha1", "weak/intermediate-sha1"],
            "p256",
            "weak-signature",
        ),
    ] {
        assert_eq!(told_of(files, key), expected, "{files:?}");
    }
}

/// For the same leaf the deployed chain stays in three cases; else the new one is written.
#[test]
fn the_deployed_chain_of_the_same_leaf_stays_if_the_new_one_is_worse() {
    let ids = [
        "key-ids/leaf-names-key-id",
        "key-ids/intermediate-older",
        "key-ids/intermediate-newer-other-id",
    ];
    let ends = [
        "ends-first/leaf",
        "ends-first/intermediate-lasts",
        "ends-first/intermediate-ends-first",
    ];
    let other = ["chain/leaf-p256", "chain/intermediate"];
    let texts = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| file(&format!("cases/{name}")))
            .collect()
    };
    let key = file("cases/keys/p256");
    // half a year, and a year but two hours, after they were made
    let (half, year) = (1_812_000_000, 1_827_450_000 - 2 * 60 * 60);
    for (new, old, at, expected) in [
        // the identifier
        (
            &[ids[0], ids[2]][..],
            &[ids[0], ids[1]][..],
            half,
            "older chain-completed",
        ),
        (&[ids[0], ids[1]], &[ids[0], ids[2]], half, "none"),
        (&[ids[0], ids[2]], &[ids[0], ids[2]], half, "none"),
        // the first end
        (
            &[ends[0], ends[2]],
            &[ends[0], ends[1]],
            year,
            "older chain-completed",
        ),
        (&[ends[0], ends[2]], &[ends[0], ends[1]], half, "none"),
        (&[ends[0], ends[1]], &[ends[0], ends[2]], year, "none"),
        // a gap
        (&[ids[0]], &[ids[0], ids[1]], half, "older chain-completed"),
        // another leaf: only a gap is closed
        (&[ids[0], ids[2]], &[other[0], ids[1]], half, "none"),
        (
            &other[..1],
            &[ids[0], other[1]],
            half,
            "other chain-completed",
        ),
    ] {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let given = texts(new);
        let given: Vec<(&str, &str)> = given.iter().map(|text| ("list", text.as_str())).collect();
        let bundle = assemble(&material(&given, &key), now).unwrap();
        let deployed = texts(old).concat();
        let deployed: Vec<Certificate> = pem::certificates(&deployed)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let found = bundle.completed(&deployed, now).map(|completed| {
            assert_eq!(
                ders(&completed.certificate_pem())[1..],
                ders(&texts(&old[1..]).concat())
            );
            let which = if old[0] == new[0] { "older" } else { "other" };
            let codes: Vec<String> = completed
                .findings
                .iter()
                .map(|f| f.reason.to_string())
                .collect();
            format!("{which} {}", codes.join(" "))
        });
        assert_eq!(
            found.as_deref().unwrap_or("none"),
            expected,
            "{new:?} over {old:?} at {at}"
        );
    }
}
