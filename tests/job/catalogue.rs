//! The catalogue of hard certificates: what Secrets Manager may hand out, and what is made of it.
//! [`rows`] has the cases.
//!
//! Each case is judged four times: in up to eight orders and in each field that its texts may come in
//! ([`orders`]), by foreign judges: clients that verify it and servers that load it ([`judges`]), and
//! by the program as a whole ([`sweep`]).

#[path = "../interop/src/envoy.rs"]
#[allow(dead_code, reason = "the interop test needs the rest of it")]
mod envoy;
/// TLS clients and servers that are not ours.
mod judges;
/// The same texts in other orders and fields.
mod orders;
/// The tables.
mod rows;
/// The real binary against the local cloud.
mod sweep;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rustls_pki_types::UnixTime;
use sm_tls_sync::error::{ExitStatus, Reason};

use crate::maker::{Maker, stored};

/// All cases. Keys and certificates are new in each run of the tests.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(rows::cases);

/// Something that Secrets Manager may hand out, and what is to become of it.
struct Case {
    name: String,
    /// The texts of all certificate fields together; mostly one certificate each.
    texts: Vec<String>,
    /// How the texts of one field are put together.
    form: Form,
    /// The text of the field `private_key`.
    key: String,
    verdict: Verdict,
}

enum Verdict {
    /// These certificates are served, leaf first, with findings of these codes.
    Serves(Vec<Text>, Vec<String>),
    /// It is refused for this reason.
    Refused(String),
}

/// Texts -> one text.
type Form = fn(&[String]) -> String;

/// A text that is mostly a certificate.
#[derive(Clone)]
struct Text {
    pem: String,
    key: String,
    /// PEM: whoever trusts these trusts it.
    anchors: String,
}

/// A file as the tables name it.
pub(crate) fn file(name: &str) -> String {
    let folder = if name.contains('/') { "cases/" } else { "" };
    stored(&format!("{folder}{name}.pem"))
}

/// A private key without the line that says that it protects nothing: no output may hold any of what
/// goes in as a key.
pub(crate) fn key(name: &str) -> String {
    let text = file(name);
    text[text.find("-----BEGIN").unwrap()..].to_owned()
}

/// All stored roots: OpenSSL trusts them as a client trusts the world's.
static ROOTS: LazyLock<String> = LazyLock::new(|| {
    let folders = "chain envoy key-ids names points same-name small-ca";
    let roots = folders.split(' ').map(|folder| format!("{folder}/root"));
    let others = ["root", "post-quantum/root-mldsa65", "weak/root-sha1"];
    let roots = roots.chain(others.map(str::to_owned));
    roots.map(|name| file(&name)).collect()
});

/// What an entry of a table stands for; a file may hold several certificates.
fn texts(maker: &mut Maker, entry: &str) -> Vec<Text> {
    const END: &str = "-----END CERTIFICATE-----\n";
    if let Some(name) = entry.strip_prefix('@') {
        let key = key(if name.contains('/') { "keys/p256" } else { "p256" });
        let text =
            |pem: &str| Text { pem: pem.to_owned(), key: key.clone(), anchors: ROOTS.clone() };
        return file(name).split_inclusive(END).map(text).collect();
    }
    let made = maker.make(entry);
    let (subject, issuer) = entry.split_once(" < ").unwrap();
    let issuer = issuer.split(' ').next().unwrap();
    let anchors = match subject == issuer {
        true => made.pem.clone(),
        false => maker.make(&format!("{issuer} < {issuer}")).pem,
    };
    let (pem, key) = (made.pem, made.key);
    vec![Text { pem, key, anchors }]
}

/// A row of a table.
fn case(row: &str) -> Case {
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let [name, entries, key_file, verdict] = cells[..] else { panic!("{row}") };
    let mut maker = Maker::new(UnixTime::now());
    let given: Vec<Text> = entries.split("; ").flat_map(|entry| texts(&mut maker, entry)).collect();
    let (mut chain, mut codes) = (Vec::new(), Vec::new());
    for word in verdict.split(' ') {
        match word.parse::<usize>() {
            Ok(position) => chain.push(given[position - 1].clone()),
            Err(_) if word.starts_with('@') => chain.extend(texts(&mut maker, word)),
            Err(_) => codes.push(word.to_owned()),
        }
    }
    Case {
        name: name.to_owned(),
        form: |texts| texts.concat(),
        key: match key_file {
            "" => given[0].key.clone(),
            name => key(name),
        },
        texts: given.into_iter().map(|text| text.pem).collect(),
        verdict: match chain.is_empty() {
            true => Verdict::Refused(codes.remove(0)),
            false => Verdict::Serves(chain, codes),
        },
    }
}

impl Case {
    /// What no output may contain. Not what the texts stand for: a message may show a serial number.
    fn bodies(&self) -> Vec<String> {
        let body = |text: &String| {
            let lines = text.lines().filter(|line| !line.starts_with("-----"));
            lines.collect()
        };
        self.texts.iter().map(body).collect()
    }
}

/// Fails with all that went wrong, so that one run shows the whole.
#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_reason_to_refuse_material_stands_in_the_catalogue() {
    let names: BTreeSet<&str> = CASES.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), CASES.len(), "two cases share a name");

    // what is told by the fields of the secret, before anything is assembled
    let of_others = ["wrong-type", "not-issued", "not-active", "key-missing"];
    let expected: BTreeSet<&str> = Reason::ALL
        .iter()
        .filter(|(reason, _)| reason.exit_status() == Some(ExitStatus::Certificate))
        .map(|(reason, _)| reason.word())
        .filter(|word| !of_others.contains(word))
        .collect();
    let refused = CASES.iter().filter_map(|case| match &case.verdict {
        Verdict::Refused(reason) => Some(reason.as_str()),
        Verdict::Serves(..) => None,
    });
    assert_eq!(refused.collect::<BTreeSet<&str>>(), expected);
}
