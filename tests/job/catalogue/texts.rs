//! PEM texts (RFC 7468): what is put up with, and what is not. A block that is damaged is never
//! passed over in silence: it could be the very certificate that is needed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sm_tls_sync::cert::pem;

use super::pki::{Cert, Subject, stored};
use super::{Case, Form, case, sound, unsound};

/// A text -> the same, damaged.
type Damage = fn(&str) -> String;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
const END: &str = "-----END CERTIFICATE-----\n";
const PKCS7: &str = "-----BEGIN PKCS7-----\nMAMGAQA=\n-----END PKCS7-----\n";

pub(super) fn cases() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let issuer = Subject::new("Root").sign(&ca.ca());
    let leaf = ca.sign(&shop.leaf());
    [
        accepted(&leaf, &issuer),
        damaged(&leaf, &issuer),
        missing(&leaf, &issuer),
        too_many(&leaf, &issuer),
    ]
    .concat()
}

fn accepted(leaf: &Cert, issuer: &Cert) -> Vec<Case> {
    let forms: [(&str, Form); 4] = [
        ("CRLF", |texts| texts.concat().replace('\n', "\r\n")),
        ("glued blocks", |texts| {
            texts.concat().replace("\n-----B", "-----B")
        }),
        ("text before blocks", |texts| {
            texts
                .concat()
                .replace("-----BEGIN", "subject=CN = Café\nissuer=CN = x\n-----BEGIN")
        }),
        ("bodies of one line", |texts| {
            let bodies = texts.iter().map(|text| BASE64_STANDARD.encode(der(text)));
            bodies.map(|body| format!("{BEGIN}{body}\n{END}")).collect()
        }),
    ];
    let forms = forms.map(|(form, put)| sound(format!("text: {form}"), [leaf, issuer]).form(put));
    let others = [
        (
            "CERTIFICATE REQUEST",
            leaf.pem.replace(" CERTIFICATE-", " CERTIFICATE REQUEST-"),
        ),
        ("no block", "see the wiki for the other half\n".to_owned()),
    ];
    let others = others.map(|(what, text)| {
        sound(
            format!("text: {what} beside the certificates"),
            [leaf, issuer],
        )
        .text(text)
    });
    [&forms[..], &others].concat()
}

/// Whichever of the two certificates it is; the unit tests of PEM have the rest.
fn damaged(leaf: &Cert, issuer: &Cert) -> Vec<Case> {
    let damages: [(&str, Damage); 3] = [
        ("no base64", |pem| pem.replacen("MI", "M*", 1)),
        ("no END line", |pem| pem.replace(END, "")),
        ("no DER in it", |_| block(b"not a certificate")),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (damage, apply) in damages {
        for (whose, first, second) in [
            ("leaf", apply(&leaf.pem), issuer.pem.clone()),
            ("issuer", leaf.pem.clone(), apply(&issuer.pem)),
        ] {
            let case = case(format!("damaged {whose}: {damage}"), leaf);
            cases.push(case.text(first).text(second).refused("pem-unreadable"));
        }
    }
    let bytes_behind = block(&[&der(&leaf.pem)[..], &[0, 0]].concat());
    let key = leaf.key.replace("-----END PRIVATE KEY-----\n", "");
    cases.extend([
        case("damaged, and not needed: bytes behind the DER", leaf)
            .given([issuer])
            .text(bytes_behind)
            .serves([leaf, issuer]),
        sound(
            "damaged, and not needed: a key without END line",
            [leaf, issuer],
        )
        .text(key),
        unsound(
            "damaged: a byte order mark",
            [leaf, issuer],
            "pem-unreadable",
        )
        .form(|texts| format!("\u{feff}{}", texts.concat())),
    ]);
    cases
}

/// Nothing in it is a certificate as PEM, or it is one under another label.
fn missing(leaf: &Cert, issuer: &Cert) -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("an empty text", String::new()),
        (
            "base64 without BEGIN and END",
            BASE64_STANDARD.encode(der(&leaf.pem)),
        ),
        ("only a private key", leaf.key.clone()),
        ("a block PKCS7 that is one", PKCS7.to_owned()),
    ]
    .into_iter()
    .map(|(what, text)| {
        let case = case(format!("no certificate: {what}"), leaf);
        case.text(text).refused("pem-unreadable")
    })
    .collect();
    // trust settings follow the certificate
    let trusted = stored("leaf-trusted.pem");
    cases.extend([
        case("a TRUSTED CERTIFICATE of another key", leaf)
            .text(trusted.clone())
            .refused("key-mismatch"),
        case(
            "a TRUSTED CERTIFICATE alone, beside an unreadable block",
            leaf,
        )
        .key(stored("p256.pem"))
        .text(trusted)
        .text(PKCS7)
        .refused("pem-unreadable"),
        case("a leaf labelled CERT", leaf)
            .text(leaf.pem.replace(" CERTIFICATE-", " CERT-"))
            .given([issuer])
            .serves([leaf, issuer]),
    ]);
    cases
}

/// More than any real chain has, wherever they stand.
fn too_many(leaf: &Cert, issuer: &Cert) -> Vec<Case> {
    let stranger = Subject::new("Stranger");
    let crowd: Vec<Cert> = (0..70).map(|_| stranger.sign(&stranger.ca())).collect();
    vec![
        case("more than 64 certificates", leaf)
            .given([leaf, issuer])
            .given(&crowd)
            .refused("pem-unreadable"),
    ]
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(body).unwrap()
}

fn block(der: &[u8]) -> String {
    pem::write("CERTIFICATE", der).to_string()
}
