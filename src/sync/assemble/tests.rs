//! What is fit to serve, as truth tables.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::UnixTime;

use super::*;
use crate::cert::certificate::chain_sha256;
use crate::cert::samples::{Cert, NOW, maker, stored as file};

/// The certificates of a text, DER.
fn ders(text: &str) -> Vec<Vec<u8>> {
    let certificates = Certificate::all_in(text).into_iter();
    certificates.map(|c| c.unwrap().der.to_vec()).collect()
}

fn material(certificates: &[(&'static str, &str)], key: &str) -> Material {
    let certificates = certificates.iter();
    Material {
        name: "shop".to_owned(),
        certificates: certificates
            .map(|(field, text)| ((*field).to_owned(), (*text).to_owned()))
            .collect(),
        key: Secret::new(key.to_owned()),
        updated_at: None,
    }
}

/// All certificates in one text.
fn assembled(text: &str, key: &str) -> Result<Bundle, Error> {
    assemble(&material(&[("text", text)], key), NOW)
}

/// The serial numbers of the chain, then what was found; or the reason.
fn told(bundle: &Result<Bundle, Error>) -> String {
    let bundle = match bundle {
        Ok(bundle) => bundle,
        Err(error) => return error.reason.to_string(),
    };
    let serials = bundle.chain().map(|c| c.serial.clone());
    let codes = bundle.findings.iter().map(|f| f.reason.to_string());
    let faults = bundle.faults.iter().map(|fault| (*fault).to_owned());
    serials.chain(faults).chain(codes).collect::<Vec<_>>().join(" ")
}

fn finding(bundle: &Bundle, code: Reason) -> &str {
    let mut findings = bundle.findings.iter();
    &findings.find(|finding| finding.reason == code).unwrap().message
}

const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

#[test]
fn what_is_left_out_or_missing_is_found() {
    let mut maker = maker();
    let Cert { pem: leaf, key, .. } = maker.make("shop < CA");
    let above = maker.make("CA < Root serial:9").pem;
    let stranger = maker.make("Stranger < Root").pem;
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
        let list = assemble(&material(&texts, &key), NOW);
        let text = assembled(&certificates.concat(), &key);
        assert_eq!((told(&list), told(&text)), (expected.to_owned(), expected.to_owned()));
    }

    let whole =
        |others: &[&str]| assembled(&[&[leaf.as_str()], others].concat().concat(), &key).unwrap();
    assert_eq!(
        finding(&whole(&[]), Reason::ChainGap),
        "the issuer of the certificate is missing, many clients will not trust the server:\n\
         CN=shop (serial 01)\n  <- CN=CA is missing"
    );
    let error = assemble(&material(&[], &key), NOW).unwrap_err();
    assert!(error.to_string().contains("(fields: \"\")"), "{error}");
}

#[test]
fn an_unreadable_block_is_named_by_its_field() {
    let Cert { pem: leaf, key, .. } = maker().make("shop < Root");
    let unreadable = [
        ("intermediate", BROKEN),
        ("ca_chain[0]", BROKEN),
        ("ca_chain[1]", ""),
        ("ca_chain[2]", BROKEN),
    ];
    let all = [&[("certificate", leaf.as_str())], &unreadable[..]].concat();
    let error = assemble(&material(&all, &key), NOW).unwrap_err();
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
    let mut maker = maker();
    let Cert { pem: leaf, key, .. } = maker.make("shop < Root");
    let mut strangers = |count| -> String {
        let stranger = |_| maker.make("Stranger < Stranger").pem;
        (0..count).map(stranger).collect()
    };
    for (text, expected) in [
        (strangers(MOST_CERTIFICATES - 1), "01 chain-gap"),
        (strangers(MOST_CERTIFICATES), "pem-unreadable"),
        // the same one counts once
        (leaf.repeat(MOST_CERTIFICATES), "01 chain-gap"),
        (BROKEN.repeat(MOST_CERTIFICATES), "an issuer is missing"),
        (BROKEN.repeat(MOST_CERTIFICATES + 1), "there are more than 64"),
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
    let mut maker = maker();
    let key = maker.make("shop < Root").key;
    let mut leaf = |words: &str| maker.make(&format!("shop < Root {words}")).pem;
    let newest = leaf("serial:1 since:-1d");
    let older = leaf("serial:2 since:-2d");
    let oldest = leaf("serial:3 since:-3d");
    let early = leaf("serial:4 early");
    let expired = leaf("serial:5 since:-1d expired");
    let (a, b) = (leaf("serial:7"), leaf("serial:8"));
    let other = maker.make("shop:other < Root").pem;
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
    let chosen = [format!("{a}{b}"), format!("{b}{a}")].map(|text| told(&assembled(&text, &key)));
    assert_eq!(chosen[0], chosen[1]);
    // a broken block may be the one
    let text = format!("{other}{BROKEN}");
    let error = assembled(&text, &key).unwrap_err();
    assert!(error.to_string().contains("belongs to none of the others"), "{error}");
}

#[test]
fn a_certificate_that_clients_refuse_is_not_served() {
    for (words, expected, message) in [
        ("", "01 chain-gap", ""),
        ("since:0s", "01 chain-gap", ""),
        ("until:0s", "01 chain-gap", ""),
        ("early", "not-yet-valid", "becomes valid at 2027-07-01T00:00:01Z"),
        ("expired", "expired", "expired at 2027-06-30T23:59:59Z"),
        ("ca", "unfit", "is a CA certificate"),
        ("for-clients", "unfit", "extended key usage"),
        ("for-servers", "01 chain-gap", ""),
        (
            "signs-lists",
            "01 lacks digitalSignature in its key usage: Envoy refuses it chain-gap",
            "",
        ),
        ("signs", "01 chain-gap", ""),
        ("names:", "unfit", "has no DNS name or IP address"),
        ("long-serial", "unfit", "has a serial number of more than 20 bytes"),
    ] {
        let Cert { pem, key, .. } = maker().make(&format!("shop < Root {words}"));
        let result = assembled(&pem, &key);
        assert_eq!(told(&result), expected);
        let error = result.err().map(|error| error.to_string());
        assert!(error.unwrap_or_default().contains(message), "{message}");
    }
}

#[test]
fn a_weak_signature_counts_only_below_an_issuer() {
    for (line, expected) in [
        ("shop:rsa-2048.pem < CA:rsa-2048.pem", "01 chain-gap"),
        ("shop:rsa-2048.pem < CA:rsa-2048.pem sha1", "weak-signature"),
        ("shop:rsa-2048.pem < shop:rsa-2048.pem", "01"),
        // the signature of a self-signed certificate is not verified
        ("shop:rsa-2048.pem < shop:rsa-2048.pem sha1", "01"),
    ] {
        let Cert { pem, key, .. } = maker().make(line);
        assert_eq!(told(&assembled(&pem, &key)), expected, "{line}");
    }
}

#[test]
fn a_key_that_cannot_be_used_says_what_to_do() {
    let leaf = maker().make("shop < Root").pem;
    let cut = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    for (key, message, hint) in [
        ("", "there is no PEM block of a private key", None),
        (cut, "(the certificates are for CN=shop: ECDSA P-256)", None),
        (&file("p256-encrypted"), "the key is encrypted", Some("with an unencrypted key")),
        (&file("rsa-1024"), "no whole key that servers take", Some("use RSA of 2048 to 8192 bits")),
    ] {
        let error = assemble(&material(&[("text", &leaf)], key), NOW).unwrap_err();
        assert_eq!(error.reason, Reason::KeyUnusable);
        let cause = error.message;
        assert!(cause.contains(message), "{cause}");
        assert!(hint.is_none_or(|hint| cause.contains(hint)), "{cause}");
    }
}

#[test]
fn a_bundle_is_written_leaf_first() {
    let mut maker = maker();
    let Cert { pem: leaf, key, .. } = maker.make("shop < CA");
    let above = maker.make("CA < Root serial:9").pem;
    let other = maker.make("shop:other < CA").pem;
    let nameless = maker.make("shop < CA names:https://shop.example.com").pem;
    let bundle = |text: &str| assembled(text, &key).unwrap();
    for (text, chain, top) in [
        (format!("{above}{leaf}"), format!("{leaf}{above}"), "09"),
        (leaf.clone(), leaf.clone(), "01"),
    ] {
        let bundle = bundle(&text);
        assert_eq!(ders(&bundle.certificate_pem()), ders(&chain));
        assert_eq!(bundle.chain().last().unwrap().serial, top);
        let digest = digest(&SHA256, &ders(&chain).concat());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(chain_sha256(bundle.chain()), hex);
    }

    // the handshake is made with what is given
    let first = bundle(&format!("{leaf}{above}"));
    let finding = first.rehearse(&first.certificate_pem(), NOW).unwrap();
    assert!(finding.is_none());
    let error = first.rehearse(&format!("{other}{above}"), NOW).unwrap_err();
    assert_eq!(error.reason, Reason::Unfit);
    let nameless = bundle(&format!("{nameless}{above}"));
    let error = nameless.rehearse(&nameless.certificate_pem(), NOW).unwrap_err();
    assert!(error.message.contains("no TLS client can ask for any of its names"), "{error}");
}

#[test]
fn missing_issuers_are_taken_from_what_is_deployed() {
    let mut maker = maker();
    let Cert { pem: leaf, key, .. } = maker.make("shop < CA");
    let mut ca = |line: &str| maker.make(&format!("{line} serial:9")).pem;
    let above = ca("CA < Root");
    let expired = ca("CA < Root expired");
    let no_ca = ca("CA < Root no-ca");
    // its issuer has another key
    let other = ca("Other < Root");
    let below_other = ca("CA < Other:another");
    let stranger = ca("Stranger < Root");
    let unverifiable = maker.make("shop < CA unverifiable").pem;
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
            .flat_map(|text| Certificate::all_in(text))
            .map(Result::unwrap)
            .collect();
        let completed = bundle.completed(&deployed, NOW);
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

/// These files of `tests/certificates/cases` and a key, and what is told.
fn told_of(files: &[&str], key: &str) -> String {
    let texts: Vec<String> = files.iter().map(|name| file(&format!("cases/{name}"))).collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|text| ("list", text.as_str())).collect();
    let bundle = match assemble(&material(&texts, &file(&format!("cases/keys/{key}"))), NOW) {
        Ok(bundle) => bundle,
        Err(error) => return error.reason.to_string(),
    };
    let faults = bundle.faults.iter().map(|fault| (*fault).to_owned());
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
            "1 is must-staple (OCSP), so that Envoy does not load it",
        ),
        (
            &["envoy/leaf-ec-key-agreement", envoy],
            "p256",
            "1 lacks digitalSignature in its key usage: Envoy refuses it",
        ),
        (&["envoy/leaf-rsa-key-encipherment", envoy], "rsa2048", "1 unfit"),
        (
            &["small-ca/leaf", "small-ca/intermediate-rsa1024"],
            "p256",
            "1 has a CA with an RSA key below 2048 bits, which clients refuse chain-unverified",
        ),
        (&["points/leaf-compressed", "points/intermediate"], "p256", "1 "),
        (
            &["key-ids/leaf-names-key-id", "key-ids/intermediate-newer-other-id"],
            "p256",
            "1 chain-gap",
        ),
        (&["key-ids/leaf-names-key-id", "key-ids/intermediate-older"], "p256", "1 "),
        // the root signs with ML-DSA, or the intermediate does
        (
            &["post-quantum/leaf-of-intermediate-ec", "post-quantum/intermediate-ec"],
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
            &["post-quantum/leaf-of-intermediate-mldsa65", "post-quantum/intermediate-mldsa65"],
            "p256",
            "1 chain-unverified",
        ),
        // the server bears the name of its CA
        (&["same-name/leaf", "same-name/root"], "p256", "0 "),
        (&["same-name/leaf"], "p256", "0 chain-gap"),
        (&["same-name/leaf-sha1", "same-name/root-rsa"], "p256", "weak-signature"),
        (&["weak/leaf-of-intermediate-sha1", "weak/intermediate-sha1"], "p256", "weak-signature"),
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
    let ends =
        ["ends-first/leaf", "ends-first/intermediate-lasts", "ends-first/intermediate-ends-first"];
    let other = ["chain/leaf-p256", "chain/intermediate"];
    let texts = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| file(&format!("cases/{name}"))).collect()
    };
    let key = file("cases/keys/p256");
    // half a year, and a year but two hours, after they were made
    let (half, year) = (1_812_000_000, 1_827_450_000 - 2 * 60 * 60);
    for (new, old, at, expected) in [
        // the identifier
        (&[ids[0], ids[2]][..], &[ids[0], ids[1]][..], half, "older chain-completed"),
        (&[ids[0], ids[1]], &[ids[0], ids[2]], half, "none"),
        (&[ids[0], ids[2]], &[ids[0], ids[2]], half, "none"),
        // the first end
        (&[ends[0], ends[2]], &[ends[0], ends[1]], year, "older chain-completed"),
        (&[ends[0], ends[2]], &[ends[0], ends[1]], half, "none"),
        (&[ends[0], ends[1]], &[ends[0], ends[2]], year, "none"),
        // a gap
        (&[ids[0]], &[ids[0], ids[1]], half, "older chain-completed"),
        // another leaf: only a gap is closed
        (&[ids[0], ids[2]], &[other[0], ids[1]], half, "none"),
        (&other[..1], &[ids[0], other[1]], half, "other chain-completed"),
    ] {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let given = texts(new);
        let given: Vec<(&str, &str)> = given.iter().map(|text| ("list", text.as_str())).collect();
        let bundle = assemble(&material(&given, &key), now).unwrap();
        let deployed = texts(old).concat();
        let deployed: Vec<Certificate> =
            Certificate::all_in(&deployed).into_iter().map(Result::unwrap).collect();
        let found = bundle.completed(&deployed, now).map(|completed| {
            assert_eq!(ders(&completed.certificate_pem())[1..], ders(&texts(&old[1..]).concat()));
            let which = if old[0] == new[0] { "older" } else { "other" };
            let codes: Vec<String> =
                completed.findings.iter().map(|f| f.reason.to_string()).collect();
            format!("{which} {}", codes.join(" "))
        });
        assert_eq!(found.as_deref().unwrap_or("none"), expected, "{new:?} over {old:?} at {at}");
    }
}
