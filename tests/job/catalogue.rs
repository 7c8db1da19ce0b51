//! The catalogue of hard certificates: what Secrets Manager may hand out, and what is made of it.
//!
//! The tables are the specification, one case a paragraph: [`chains`], [`leaves`], [`keys`],
//! [`texts`], [`odd`]. A case is a list of PEM texts and a private key, and the verdict: the certificates that
//! are served, in their order, with the codes of the findings; or the reason of the refusal.
//!
//! Each case is judged four times: in up to eight orders and in each field that its texts may come in
//! ([`orders`]), by foreign judges: clients that verify it and servers that load it ([`judges`]), and
//! by the program as a whole ([`sweep`]).

/// Which chain goes with the leaf.
mod chains;
#[path = "../interop/src/envoy.rs"]
#[allow(dead_code, reason = "the interop test needs the rest of it")]
mod envoy;
/// TLS clients and servers that are not ours.
mod judges;
/// Private keys: forms, kinds, damage.
mod keys;
/// Which certificate is the leaf, and whether it is fit to serve.
mod leaves;
/// Odd forms that servers load.
mod odd;
/// The same texts in other orders and fields.
mod orders;
/// Keys, CAs and what they sign.
mod pki;
/// The real binary against the local cloud.
mod sweep;
/// PEM texts: what is put up with, and what is not.
mod texts;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sm_tls_sync::error::{ExitStatus, Reason};

use pki::Cert;

/// All cases. Keys and certificates are new in each run of the tests.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    [
        chains::cases(),
        leaves::cases(),
        keys::cases(),
        texts::cases(),
        odd::cases(),
    ]
    .concat()
});

/// Something that Secrets Manager may hand out, and what is to become of it.
#[derive(Clone)]
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

#[derive(Clone)]
enum Verdict {
    /// These certificates are served, leaf first, with findings of these codes.
    Serves(Vec<Cert>, Vec<&'static str>),
    /// It is refused for this reason.
    Refused(&'static str),
}

/// Texts -> one text.
type Form = fn(&[String]) -> String;

/// The beginning of a case: a name, and the leaf whose private key comes along.
fn case(name: impl Into<String>, leaf: &Cert) -> Case {
    Case {
        name: name.into(),
        texts: Vec::new(),
        form: |texts| texts.concat(),
        key: leaf.key.clone(),
        verdict: Verdict::Refused("no verdict yet"),
    }
}

/// All of these certificates are served, leaf first.
fn sound<'a>(name: impl Into<String>, chain: impl IntoIterator<Item = &'a Cert>) -> Case {
    let chain: Vec<&Cert> = chain.into_iter().collect();
    case(name, chain[0]).given(chain.clone()).serves(chain)
}

/// Certificates, leaf first, that are refused for this reason.
fn unsound<'a>(
    name: impl Into<String>,
    chain: impl IntoIterator<Item = &'a Cert>,
    reason: &'static str,
) -> Case {
    let chain: Vec<&Cert> = chain.into_iter().collect();
    case(name, chain[0]).given(chain).refused(reason)
}

impl Case {
    /// These certificates come along.
    fn given<'a>(mut self, certificates: impl IntoIterator<Item = &'a Cert>) -> Self {
        let texts = certificates.into_iter().map(|c| c.pem.clone());
        self.texts.extend(texts);
        self
    }

    /// This text comes along.
    fn text(mut self, text: impl Into<String>) -> Self {
        self.texts.push(text.into());
        self
    }

    /// Another text in the field `private_key`.
    fn key(mut self, text: impl Into<String>) -> Self {
        self.key = text.into();
        self
    }

    /// The texts of a field are put together like this.
    fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// The verdict: these are served, leaf first.
    fn serves<'a>(mut self, chain: impl IntoIterator<Item = &'a Cert>) -> Self {
        self.verdict = Verdict::Serves(chain.into_iter().cloned().collect(), Vec::new());
        self
    }

    /// And there are findings of these codes, in this order.
    fn finding(mut self, codes: &[&'static str]) -> Self {
        if let Verdict::Serves(_, findings) = &mut self.verdict {
            findings.extend(codes);
        }
        self
    }

    /// The verdict: refused for this reason.
    fn refused(mut self, reason: &'static str) -> Self {
        self.verdict = Verdict::Refused(reason);
        self
    }

    /// What no output may contain. Not what the texts stand for: a message may show a serial number.
    fn bodies(&self) -> Vec<String> {
        let body = |text: &String| {
            text.lines()
                .filter(|line| !line.starts_with("-----"))
                .collect()
        };
        self.texts.iter().map(body).collect()
    }
}

/// Fails with all that went wrong, so that one run shows the whole.
#[track_caller]
fn none(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_catalogue_is_large_and_every_reason_to_refuse_material_stands_in_it() {
    let names: BTreeSet<&str> = CASES.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), CASES.len(), "two cases share a name");
    assert!(names.len() >= 60, "{}", names.len());

    // what is told by the fields of the secret, before anything is assembled, or after it
    let of_others = [
        "wrong-type",
        "not-issued",
        "not-active",
        "not-active",
        "key-missing",
    ];
    let expected: BTreeSet<&str> = Reason::ALL
        .iter()
        .filter(|(reason, _)| reason.exit_status() == Some(ExitStatus::Certificate))
        .map(|(reason, _)| reason.word())
        .filter(|word| !of_others.contains(word))
        .collect();
    let found: BTreeSet<&str> = CASES
        .iter()
        .filter_map(|case| match case.verdict {
            Verdict::Refused(reason) => Some(reason),
            Verdict::Serves(..) => None,
        })
        .collect();
    assert_eq!(found, expected);
}
