//! PEM texts (RFC 7468): what is put up with, and what is not. A block that is damaged is never
//! passed over in silence: it could be the very certificate that is needed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::pki::{Cert, Subject, stored};
use super::{Case, Form, case};

/// A text -> the same, damaged.
type Damage = fn(&str) -> String;

const END: &str = "-----END CERTIFICATE-----\n";

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
    let forms: [(&str, Form); 11] = [
        ("CRLF", |texts| texts.concat().replace('\n', "\r\n")),
        ("CR alone", |texts| texts.concat().replace('\n', "\r")),
        ("CRLF and LF", |texts| {
            texts.join("\n").replacen('\n', "\r\n", 5)
        }),
        ("no line end at the end", |texts| {
            texts.concat().trim_end().to_owned()
        }),
        ("glued blocks", |texts| {
            texts.iter().map(|text| text.trim_end()).collect()
        }),
        ("empty lines between blocks", |texts| {
            format!("\n\n{}\n\n", texts.join("\n\n"))
        }),
        ("text between blocks", |texts| {
            let explained = texts.iter().enumerate();
            explained
                .map(|(n, text)| format!("subject=CN = Café {n}\nissuer=CN = x\n{text}"))
                .collect()
        }),
        ("text as openssl x509 -text prints it", |texts| {
            let printed = "Certificate:\n    Data:\n        Version: 3 (0x2)\n";
            texts
                .iter()
                .map(|text| format!("{printed}{text}"))
                .collect()
        }),
        ("spaces at the ends of lines", |texts| {
            texts.concat().replace('\n', " \n")
        }),
        ("bodies of one line", |texts| rewrapped(texts, usize::MAX)),
        ("bodies in lines of 76 characters", |texts| {
            rewrapped(texts, 76)
        }),
    ];
    let forms = forms.into_iter().map(|(form, put)| {
        case(format!("text: {form}"), leaf)
            .given([leaf, issuer])
            .form(put)
            .serves([leaf, issuer])
    });
    let request = leaf.pem.replace(" CERTIFICATE-", " CERTIFICATE REQUEST-");
    let others = [
        ("a block EC PARAMETERS", {
            let key = stored("p256-sec1-parameters.pem");
            key.replace(&stored("p256-sec1.pem"), "")
        }),
        ("a block CERTIFICATE REQUEST", request),
        (
            "a text without any block",
            "see the wiki for the other half\n".to_owned(),
        ),
    ]
    .map(|(what, text)| {
        case(format!("text: {what} beside the certificates"), leaf)
            .given([leaf, issuer])
            .text(text)
            .serves([leaf, issuer])
    });
    forms.chain(others).collect()
}

/// Whichever of the two certificates it is; the unit tests of PEM have the rest.
fn damaged(leaf: &Cert, issuer: &Cert) -> Vec<Case> {
    let damages: [(&str, Damage); 6] = [
        ("no base64", |pem| pem.replacen("MI", "M*", 1)),
        ("a line lost", |pem| {
            let lines: Vec<&str> = pem.lines().collect();
            [&lines[..3], &lines[4..]].concat().join("\n") + "\n"
        }),
        ("no END line", |pem| pem.replace(END, "")),
        ("no body", |_| format!("-----BEGIN CERTIFICATE-----\n{END}")),
        ("no DER in it", |_| block(b"not a certificate")),
        ("\\n as two characters", |pem| {
            pem.replace('\n', "\\n") + "\n"
        }),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (damage, apply) in damages {
        for (whose, first, second) in [
            ("leaf", apply(&leaf.pem), issuer.pem.clone()),
            ("issuer", leaf.pem.clone(), apply(&issuer.pem)),
        ] {
            cases.push(
                case(format!("damaged {whose}: {damage}"), leaf)
                    .text(first)
                    .text(second)
                    .refused("pem-unreadable"),
            );
        }
    }
    let bytes_behind = block(&[&der(&leaf.pem)[..], &[0, 0]].concat());
    let key = leaf.key.replace("-----END PRIVATE KEY-----\n", "");
    cases.extend([
        case("damaged, and not needed: bytes behind the DER", leaf)
            .given([issuer])
            .text(bytes_behind)
            .serves([leaf, issuer]),
        case("damaged, and not needed: a key without END line", leaf)
            .given([leaf, issuer])
            .text(key)
            .serves([leaf, issuer]),
        case("damaged: a byte order mark before the first block", leaf)
            .given([leaf, issuer])
            .form(|texts| format!("\u{feff}{}", texts.concat()))
            .refused("pem-unreadable"),
    ]);
    cases
}

/// Nothing in it is a certificate as PEM, or it is one under another label.
fn missing(leaf: &Cert, issuer: &Cert) -> Vec<Case> {
    let relabelled = |label: &str| leaf.pem.replace(" CERTIFICATE-", &format!(" {label}-"));
    let mut cases: Vec<Case> = [
        ("an empty text", String::new()),
        ("only text", "it comes by courier on Monday".to_owned()),
        (
            "base64 without BEGIN and END",
            BASE64_STANDARD.encode(der(&leaf.pem)),
        ),
        ("only a private key", leaf.key.clone()),
    ]
    .into_iter()
    .map(|(what, text)| {
        case(format!("no certificate: {what}"), leaf)
            .text(text)
            .refused("pem-unreadable")
    })
    .collect();
    // trust settings follow the certificate
    let trusted = stored("leaf-trusted.pem");
    let with_settings = Cert {
        key: stored("p256.pem"),
        ..leaf.clone()
    };
    cases.extend([
        case("a block PKCS7 that is one", leaf)
            .text(block_of("PKCS7", &[0x30, 3, 6, 1, 0]))
            .refused("pem-unreadable"),
        case("a TRUSTED CERTIFICATE of another key", leaf)
            .text(trusted.clone())
            .refused("key-mismatch"),
        case(
            "a TRUSTED CERTIFICATE without its issuer, beside an unreadable block",
            &with_settings,
        )
        .text(trusted)
        .text(block_of("PKCS7", &[0x30, 3, 6, 1, 0]))
        .refused("pem-unreadable"),
        case("a leaf labelled TRUSTED CERTIFICATE", leaf)
            .given([issuer])
            .text(relabelled("TRUSTED CERTIFICATE"))
            .serves([leaf, issuer]),
        case("a leaf labelled CERT", leaf)
            .given([issuer])
            .text(relabelled("CERT"))
            .serves([leaf, issuer]),
    ]);
    cases
}

/// More than any real chain has, wherever they stand.
fn too_many(leaf: &Cert, issuer: &Cert) -> Vec<Case> {
    let stranger = Subject::new("Stranger");
    let crowd: Vec<Cert> = (0..70)
        .map(|n| stranger.sign(&stranger.ca().label(&format!("stranger {n}"))))
        .collect();
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
    wrapped(&BASE64_STANDARD.encode(der), 64)
}

fn block_of(label: &str, der: &[u8]) -> String {
    block(der).replace("CERTIFICATE", label)
}

fn rewrapped(texts: &[String], width: usize) -> String {
    texts
        .iter()
        .map(|text| wrapped(&BASE64_STANDARD.encode(der(text)), width))
        .collect()
}

fn wrapped(body: &str, width: usize) -> String {
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(width)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n{END}", lines.join("\n"))
}
