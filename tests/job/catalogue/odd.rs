//! Odd forms of keys and certificates that servers load, and that other programs stumbled over: the
//! files of `tests/certificates/cases`, which say what each of them is.

use super::pki::{Cert, stored};
use super::{Case, Form, case};

pub(super) fn cases() -> Vec<Case> {
    [
        keys(),
        labels(),
        names_of_issuers(),
        critical_extensions(),
        strangers(),
        weak_signatures(),
        look_alikes(),
        encodings(),
        envoy(),
        identifiers(),
        other_lines(),
    ]
    .concat()
}

fn file(path: &str) -> String {
    stored(&format!("cases/{path}.pem"))
}

/// The PEM block of a key file, without the line that says that it protects nothing: no output may
/// hold any of what goes in as a key.
fn key(name: &str) -> String {
    let text = file(&format!("keys/{name}"));
    text[text.find("-----BEGIN").unwrap()..].to_owned()
}

/// A certificate below the plain root; its key is `keys/p256`.
fn cert(path: &str) -> Cert {
    Cert {
        label: path.to_owned(),
        pem: file(path),
        key: key("p256"),
        anchor: file("chain/root"),
    }
}

fn plain() -> [Cert; 2] {
    [cert("chain/leaf-p256"), cert("chain/intermediate")]
}

fn keys() -> Vec<Case> {
    let issuer = cert("chain/intermediate");
    [
        ("p256", "p256-sec1-without-params"),
        ("p256", "p256-sec1-without-public"),
        ("p256", "p256-pkcs8-without-public"),
        ("p256", "p256-sec1-under-PRIVATE-KEY"),
        ("p256", "p256-compressed-public"),
        ("p256", "p256-tab-after-begin"),
        ("p256-short-private", "p256-short-private"),
        ("ed25519", "ed25519-pkcs8-v2"),
        ("ed25519", "ed25519-pkcs8-v2-old-spelling"),
        ("rsa2048", "rsa2048-pkcs8-without-null"),
        ("rsa2048", "rsa2048-pkcs1-under-PRIVATE-KEY"),
        ("rsa2048", "rsa2048-pkcs8-under-RSA-PRIVATE-KEY"),
        ("rsa2048-exponent-3", "rsa2048-exponent-3"),
        ("rsa2048-unequal-primes", "rsa2048-unequal-primes"),
        ("rsa2056", "rsa2056"),
        ("rsa3000", "rsa3000"),
    ]
    .into_iter()
    .map(|(leaf, key_file)| {
        let leaf = cert(&format!("chain/leaf-{leaf}"));
        case(format!("odd key: {key_file}"), &leaf)
            .given([&leaf, &issuer])
            .key(key(key_file))
            .serves([&leaf, &issuer])
    })
    .collect()
}

/// What is read is written as CERTIFICATE, without the trust settings.
fn labels() -> Vec<Case> {
    let [leaf, issuer] = plain();
    [
        ("labels/leaf-x509", &issuer),
        ("labels/leaf-tab-after-begin", &issuer),
        ("labels/intermediate-x509", &leaf),
        ("labels/intermediate-trusted", &leaf),
        ("labels/intermediate-trusted-settings", &leaf),
    ]
    .into_iter()
    .map(|(odd, other)| {
        case(format!("odd label: {odd}"), &leaf)
            .given([other])
            .text(file(odd))
            .serves([&leaf, &issuer])
    })
    .collect()
}

/// RFC 5280 section 7.1: a PrintableString here, a UTF8String there.
fn names_of_issuers() -> Vec<Case> {
    let [leaf, issuer] =
        ["names/leaf-issuer-printable", "names/intermediate-utf8"].map(|path| Cert {
            anchor: file("names/root"),
            ..cert(path)
        });
    vec![
        case("the issuer's name in another string type", &leaf)
            .given([&leaf, &issuer])
            .serves([&leaf, &issuer])
            .finding(&LIMIT),
    ]
}

/// What the rehearsal cannot check, and clients can.
const LIMIT: [&str; 1] = ["chain-unverified"];

fn critical_extensions() -> Vec<Case> {
    let mut cases: Vec<Case> = ["any-policy", "directory-name", "excluded-addresses"]
        .into_iter()
        .map(|kind| {
            let [leaf, issuer] =
                ["leaf", "intermediate"].map(|which| cert(&format!("critical/{which}-{kind}")));
            case(format!("critical extension of the issuer: {kind}"), &leaf)
                .given([&leaf, &issuer])
                .serves([&leaf, &issuer])
                .finding(&LIMIT)
        })
        .collect();
    let [_, issuer] = plain();
    let leaf = cert("critical/leaf-own-policy");
    cases.push(
        case("critical extension of the leaf: a policy", &leaf)
            .given([&leaf, &issuer])
            .serves([&leaf, &issuer])
            .finding(&LIMIT),
    );
    let unknown = [
        "critical/leaf-unknown-extension",
        "critical/intermediate-unknown-extension",
    ]
    .map(cert);
    for (leaf, kind) in [
        ("directory-name-broken", "directory-name"),
        ("elsewhere", "elsewhere"),
    ] {
        let [leaf, issuer] = [format!("leaf-{leaf}"), format!("intermediate-{kind}")]
            .map(|name| cert(&format!("critical/{name}")));
        cases.push(
            case(
                format!("a constraint of the issuer is broken: {kind}"),
                &leaf,
            )
            .given([&leaf, &issuer])
            .refused("unfit"),
        );
    }
    cases.push(
        case(
            "critical extension of the issuer: nobody knows it",
            &unknown[0],
        )
        .given(&unknown)
        .refused("unfit"),
    );
    cases
}

/// Certificates that strict readers refuse, where the chain does not need them, and where it does.
fn strangers() -> Vec<Case> {
    let [leaf, issuer] = plain();
    let readable = [
        "serial-22-bytes",
        "serial-36-bytes",
        "san-utf8",
        "utctime-offset",
        "utctime-without-seconds",
        "true-as-01",
        "path-length-300",
        "x400-address",
        "subject-universal-string",
    ];
    let mut cases: Vec<Case> = readable
        .into_iter()
        .chain(["no-certificate"])
        .map(|kind| {
            case(format!("odd stranger: {kind}"), &leaf)
                .given([&leaf, &issuer])
                .text(file(&format!("strangers/{kind}")))
                .serves([&leaf, &issuer])
        })
        .collect();
    cases.push(
        case("an unreadable block, and the issuer is missing", &leaf)
            .given([&leaf])
            .text(file("strangers/no-certificate"))
            .refused("pem-unreadable"),
    );
    let [odd_leaf, odd_issuer] = [
        "strangers/leaf-of-that-issuer",
        "strangers/issuer-serial-22-bytes",
    ]
    .map(cert);
    cases.push(
        case("an issuer whose serial number is too long", &odd_leaf)
            .given([&odd_leaf, &odd_issuer])
            .refused("unfit"),
    );
    cases
}

fn weak_signatures() -> Vec<Case> {
    let chain = |leaf: &str, issuer: &str| [cert(leaf), cert(issuer)];
    let mut cases: Vec<Case> = [
        ("leaf, RSA", chain("weak/leaf-sha1", "weak/intermediate")),
        (
            "leaf, ECDSA",
            chain("weak/leaf-ecdsa-sha1", "chain/intermediate"),
        ),
        (
            "intermediate",
            chain("weak/leaf-of-intermediate-sha1", "weak/intermediate-sha1"),
        ),
    ]
    .into_iter()
    .map(|(which, chain)| {
        case(format!("signed with SHA-1: {which}"), &chain[0])
            .given(&chain)
            .refused("weak-signature")
    })
    .collect();
    let root = cert("weak/root-sha1");
    let below = Cert {
        anchor: root.pem.clone(),
        ..cert("weak/leaf-of-root-sha1")
    };
    cases.push(
        case("signed with SHA-1: the root, which is not sent", &below)
            .given([&below, &root])
            .serves([&below]),
    );
    let [leaf, issuer] = plain();
    cases.push(
        case("signed with SHA-1: a stranger", &leaf)
            .given([&leaf, &issuer, &root])
            .serves([&leaf, &issuer]),
    );
    cases
}

/// Newer than the issuer, of its name, and with a key that cannot have made the signature.
fn look_alikes() -> Vec<Case> {
    let [leaf, issuer] = plain();
    ["ed25519", "rsa2048"]
        .into_iter()
        .map(|kind| {
            case(format!("a newer look-alike of the issuer: {kind}"), &leaf)
                .given([
                    &leaf,
                    &issuer,
                    &cert(&format!("namesakes/intermediate-{kind}")),
                ])
                .serves([&leaf, &issuer])
        })
        .collect()
}

/// Texts that look like PEM to people.
fn encodings() -> Vec<Case> {
    let [leaf, issuer] = plain();
    let forms: [(&str, Form); 4] = [
        ("UTF-16", |texts| {
            texts.concat().chars().flat_map(|c| [c, '\0']).collect()
        }),
        ("UTF-16 with its mark", |texts| {
            let text = texts.concat();
            std::iter::once('\u{feff}')
                .chain(text.chars().flat_map(|c| ['\0', c]))
                .collect()
        }),
        ("en dashes", |texts| {
            texts.concat().replace("-----", "–––––")
        }),
        ("em dashes of a word processor", |texts| {
            texts.concat().replace("-----", "——-")
        }),
    ];
    forms
        .into_iter()
        .map(|(what, form)| {
            case(format!("odd text: {what}"), &leaf)
                .given([&leaf, &issuer])
                .form(form)
                .refused("pem-unreadable")
        })
        .collect()
}

/// A certificate of a folder that has a root of its own.
fn below(folder: &str, name: &str) -> Cert {
    Cert {
        anchor: file(&format!("{folder}/root")),
        ..cert(&format!("{folder}/{name}"))
    }
}

/// What Envoy does not load, and what strict clients do not take.
fn envoy() -> Vec<Case> {
    let envoy = |name: &str| below("envoy", name);
    let issuer = envoy("intermediate");
    let small = ["leaf", "intermediate-rsa1024"].map(|name| below("small-ca", name));
    let mut cases: Vec<Case> = ["must-staple", "ec-key-agreement"]
        .into_iter()
        .map(|kind| {
            let leaf = envoy(&format!("leaf-{kind}"));
            case(format!("fault: {kind}"), &leaf)
                .given([&leaf, &issuer])
                .refused("unfit")
        })
        .collect();
    let empty = cert("chain/leaf-empty-common-name");
    let rsa = envoy("leaf-rsa-key-encipherment");
    cases.extend([
        case("fault: an empty common name", &empty)
            .given([&empty, &cert("chain/intermediate")])
            .refused("unfit"),
        case("fault: a CA with RSA of 1024 bits", &small[0])
            .given(&small)
            .refused("unfit"),
        case("RSA that can only decipher", &rsa)
            .given([&rsa, &issuer])
            .key(key("rsa2048"))
            .serves([&rsa, &issuer])
            .finding(&["unfit"]),
    ]);
    cases
}

/// Two certificates of one CA: OpenSSL takes only the one that the leaf names.
fn identifiers() -> Vec<Case> {
    let [by_key, by_serial, older, newer, other_id] = [
        "leaf-names-key-id",
        "leaf-names-older-by-serial",
        "intermediate-older",
        "intermediate-newer",
        "intermediate-newer-other-id",
    ]
    .map(|name| below("key-ids", name));
    vec![
        case("the leaf names its issuer by serial number", &by_serial)
            .given([&by_serial, &older, &newer])
            .serves([&by_serial, &older]),
        case("the leaf names its issuer by key", &by_key)
            .given([&by_key, &older, &other_id])
            .serves([&by_key, &older]),
        case("the leaf names its issuer by key: both have it", &by_key)
            .given([&by_key, &older, &newer])
            .serves([&by_key, &newer]),
        case("the leaf names an issuer that is not there", &by_key)
            .given([&by_key, &other_id])
            .serves([&by_key, &other_id])
            .finding(&["chain-gap"]),
    ]
}

/// Other certificates with a root of their own.
fn other_lines() -> Vec<Case> {
    let points = ["leaf-compressed", "intermediate"].map(|name| below("points", name));
    let named =
        |leaf: &str, root: &str| [leaf, root].map(|name| cert(&format!("same-name/{name}")));
    let [sound, root] = named("leaf", "root");
    let sound = Cert {
        anchor: root.pem.clone(),
        ..sound
    };
    let sha1 = named("leaf-sha1", "root-rsa");
    let mut cases = vec![
        case("a compressed point", &points[0])
            .given(&points)
            .serves(&points),
        case("named as its CA", &sound)
            .given([&sound, &root])
            .serves([&sound]),
        case("named as its CA, signed with SHA-1", &sha1[0])
            .given(&sha1)
            .refused("weak-signature"),
    ];
    let root = cert("post-quantum/root-mldsa65");
    for kind in ["ec", "mldsa65"] {
        let chain = ["leaf-of-intermediate", "intermediate"].map(|name| Cert {
            anchor: root.pem.clone(),
            ..cert(&format!("post-quantum/{name}-{kind}"))
        });
        for with_root in [true, false] {
            let what = if with_root {
                "the root included"
            } else {
                "without the root"
            };
            cases.push(
                case(format!("ML-DSA above {kind}, {what}"), &chain[0])
                    .given(&chain)
                    .given(with_root.then_some(&root))
                    .serves(&chain)
                    .finding(&["chain-unverified"]),
            );
        }
    }
    cases
}
