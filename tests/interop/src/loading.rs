//! Which certificates and keys Envoy loads. The job's rules and findings rest on this table, so each
//! installed Envoy must still agree with it, in both directions.

use std::fs;

use anyhow::{Context as _, bail, ensure};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519, date_time_ymd};

use crate::clients::words;
use crate::envoy::Envoy;
use crate::{bounded, succeed};

/// Row by row what every version does that `DIFFERENCES` does not name: it loads the pair (no text),
/// or refuses it with these words. A row that `make` does not know is a kind of key for OpenSSL.
const TABLE: &[(&str, &str)] = &[
    ("rsa:1024", "RSA certificates with 2048-bit or larger"),
    ("rsa:2048", ""),
    ("rsa:3000", ""),
    ("rsa:4096", ""),
    ("ec -pkeyopt ec_paramgen_curve:P-256", ""),
    ("ec -pkeyopt ec_paramgen_curve:P-384", ""),
    ("ec -pkeyopt ec_paramgen_curve:P-521", ""),
    ("ed25519", ""),
    ("no subject", ""),
    ("an empty common name", "empty subject CN"),
    ("a leaf that has expired", ""),
    // signed with SHA-1
    ("rsa:2048 -sha1", ""),
    ("SEC1 without the curve", "DECODE_ERROR"),
    ("PKCS#1 labelled PRIVATE KEY", "DECODE_ERROR"),
    ("RSA PKCS#8 without NULL", "DECODE_ERROR"),
    ("Ed25519 PKCS#8 version 2", "SEQUENCE_LENGTH_MISMATCH"),
];

/// Version, row, what that version does instead; why is in front of it.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    // its BoringSSL has another parser for PKCS#8, with its own messages
    ("1.36.2", "PKCS#1 labelled PRIVATE KEY", "WRONG_TAG"),
    ("1.36.2", "Ed25519 PKCS#8 version 2", "WRONG_TAG"),
];

/// A certificate and its key, as PEM.
type Pair = (String, String);

fn make(row: &str) -> anyhow::Result<Pair> {
    match row {
        "no subject" => leaf(|leaf| leaf.distinguished_name = DistinguishedName::new()),
        "an empty common name" => leaf(|leaf| leaf.distinguished_name.push(DnType::CommonName, "")),
        "a leaf that has expired" => leaf(|leaf| leaf.not_after = date_time_ymd(2000, 1, 1)),
        "SEC1 without the curve" => sec1_without_curve(),
        "PKCS#1 labelled PRIVATE KEY" => pkcs1_labelled_private_key(),
        "RSA PKCS#8 without NULL" => pkcs8_without_null(),
        "Ed25519 PKCS#8 version 2" => pkcs8_version_2(),
        kind => openssl(kind),
    }
}

pub(crate) fn check(envoys: &[Envoy]) -> anyhow::Result<()> {
    if envoys.is_empty() {
        return Ok(());
    }
    let mut wrong = Vec::new();
    for (row, usual) in TABLE {
        let (certificate, key) = make(row).with_context(|| (*row).to_owned())?;
        for envoy in envoys {
            let result = envoy.loads(&[(&certificate, &key)])?.remove(0);
            let mut differences = DIFFERENCES.iter();
            let differs = differences.find(|one| one.0 == envoy.version && one.1 == *row);
            let expected = differs.map_or(usual, |(_, _, words)| words);
            match result {
                Ok(()) if expected.is_empty() => {}
                Err(text) if !expected.is_empty() && text.contains(expected) => {}
                other => wrong.push(format!("- Envoy {}: {row}: {other:?}", envoy.version)),
            }
        }
    }
    let what = "Envoy differs from the table in loading.rs. Check the job's findings, then name the version there \
                with the reason";
    ensure!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    for envoy in envoys {
        let (version, kinds) = (&envoy.version, TABLE.len());
        println!("Envoy {version}: {kinds} kinds of certificates and keys judged");
    }
    Ok(())
}

/// OpenSSL makes what rcgen does not: RSA of any size, Ed25519 as PKCS#8 version 1.
fn openssl(kind: &str) -> anyhow::Result<Pair> {
    let folder = tempfile::tempdir()?;
    let [certificate, key] = ["certificate", "key"].map(|name| folder.path().join(name));
    let mut command = bounded("openssl");
    command.args(words("req -x509 -noenc -subj /CN=shop.example.com -newkey"));
    command.args(words(kind)).arg("-keyout").arg(&key);
    succeed(command.arg("-out").arg(&certificate))?;
    Ok((fs::read_to_string(certificate)?, fs::read_to_string(key)?))
}

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> anyhow::Result<Pair> {
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(["shop.example.com".to_owned()])?;
    change(&mut leaf);
    Ok((leaf.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// What is inside of PKCS#8: there the curve is named outside.
fn sec1_without_curve() -> anyhow::Result<Pair> {
    let (certificate, key) = leaf(|_| ())?;
    let der = pem::parse(key)?.into_contents();
    // behind version, algorithm and the header of the octet string
    let inner = der.get(29..).context("a key of P-256")?;
    Ok((certificate, encoded("EC PRIVATE KEY", inner.to_vec())))
}

fn pkcs1_labelled_private_key() -> anyhow::Result<Pair> {
    let (certificate, key) = openssl("rsa:2048")?;
    let der = pem::parse(key)?.into_contents();
    let inner = der.get(26..).context("a key of RSA 2048")?;
    Ok((certificate, encoded("PRIVATE KEY", inner.to_vec())))
}

fn pkcs8_without_null() -> anyhow::Result<Pair> {
    let (certificate, key) = openssl("rsa:2048")?;
    let der = pem::parse(key)?.into_contents();
    // SEQUENCE, version, SEQUENCE { rsaEncryption, NULL }, the rest
    let [0x30, 0x82, high, low, 2, 1, 0, 0x30, 13, rest @ ..] = der.as_slice() else {
        bail!("not the PKCS#8 of an RSA key");
    };
    let (algorithm, rest) = rest.split_at(11);
    let key = rest.strip_prefix(&[5, 0]).context("no NULL")?;
    let length = u16::from_be_bytes([*high, *low]) - 2;
    let [high, low] = length.to_be_bytes();
    let head = [0x30, 0x82, high, low, 2, 1, 0, 0x30, 11];
    let der = [&head, algorithm, key].concat();
    Ok((certificate, encoded("PRIVATE KEY", der)))
}

fn pkcs8_version_2() -> anyhow::Result<Pair> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let version_2 = key.serialized_der().starts_with(&[0x30, 0x51, 2, 1, 1]);
    ensure!(version_2, "rcgen makes another version now");
    let leaf = CertificateParams::new(["shop.example.com".to_owned()])?;
    Ok((leaf.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn encoded(label: &str, der: Vec<u8>) -> String {
    pem::encode(&pem::Pem::new(label, der))
}
