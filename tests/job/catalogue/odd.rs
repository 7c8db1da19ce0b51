//! Odd forms of keys and certificates that servers load, and that other programs stumbled over: the
//! files of `tests/certificates/cases`, which say what each of them is.

use super::pki::{Cert, stored};
use super::{Case, Form, case, sound, unsound};

pub(super) fn cases() -> Vec<Case> {
    [
        keys(),
        labels(),
        limits(),
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
        sound(format!("odd key: {key_file}"), [&leaf, &issuer]).key(key(key_file))
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
        let case = case(format!("odd label: {odd}"), &leaf).given([other]);
        case.text(file(odd)).serves([&leaf, &issuer])
    })
    .collect()
}

/// What the rehearsal cannot check, and clients can.
const LIMIT: [&str; 1] = ["chain-unverified"];

fn limits() -> Vec<Case> {
    // RFC 5280 section 7.1: a PrintableString here, a UTF8String there
    let spelled = ["leaf-issuer-printable", "intermediate-utf8"].map(|name| below("names", name));
    let of = |kind: &str| {
        ["leaf", "intermediate"].map(|which| cert(&format!("critical/{which}-{kind}")))
    };
    let own = [cert("critical/leaf-own-policy"), cert("chain/intermediate")];
    let broken = [
        cert("critical/leaf-directory-name-broken"),
        of("directory-name")[1].clone(),
    ];
    vec![
        sound("the issuer's name in another string type", &spelled).finding(&LIMIT),
        sound("critical: any policy", &of("any-policy")).finding(&LIMIT),
        sound("critical: a directory name", &of("directory-name")).finding(&LIMIT),
        sound("critical: excluded addresses", &of("excluded-addresses")).finding(&LIMIT),
        sound("critical: a policy of the leaf", &own).finding(&LIMIT),
        unsound("critical, broken: a directory name", &broken, "unfit"),
        unsound(
            "critical, broken: names elsewhere",
            &of("elsewhere"),
            "unfit",
        ),
        unsound(
            "critical: nobody knows it",
            &of("unknown-extension"),
            "unfit",
        ),
    ]
}

/// Certificates that strict readers refuse, where the chain does not need them, and where it does.
fn strangers() -> Vec<Case> {
    let [leaf, issuer] = plain();
    let mut cases: Vec<Case> = [
        "serial-22-bytes",
        "serial-36-bytes",
        "san-utf8",
        "utctime-offset",
        "utctime-without-seconds",
        "true-as-01",
        "path-length-300",
        "x400-address",
        "subject-universal-string",
        "no-certificate",
    ]
    .into_iter()
    .map(|kind| {
        let stranger = file(&format!("strangers/{kind}"));
        sound(format!("odd stranger: {kind}"), [&leaf, &issuer]).text(stranger)
    })
    .collect();
    let unreadable = file("strangers/no-certificate");
    let long_serial = ["leaf-of-that-issuer", "issuer-serial-22-bytes"];
    let long_serial = long_serial.map(|name| cert(&format!("strangers/{name}")));
    cases.extend([
        unsound(
            "an unreadable block, and no issuer",
            [&leaf],
            "pem-unreadable",
        )
        .text(unreadable),
        unsound(
            "an issuer's serial number is too long",
            &long_serial,
            "unfit",
        ),
    ]);
    cases
}

fn weak_signatures() -> Vec<Case> {
    let [leaf, issuer] = plain();
    let root = cert("weak/root-sha1");
    let below = Cert {
        anchor: root.pem.clone(),
        ..cert("weak/leaf-of-root-sha1")
    };
    let mut cases = vec![
        sound("signed with SHA-1: the root, which is not sent", [&below]).given([&root]),
        sound("signed with SHA-1: a stranger", [&leaf, &issuer]).given([&root]),
    ];
    cases.extend(
        [
            ["weak/leaf-sha1", "weak/intermediate"],
            ["weak/leaf-ecdsa-sha1", "chain/intermediate"],
            ["weak/leaf-of-intermediate-sha1", "weak/intermediate-sha1"],
            ["same-name/leaf-sha1", "same-name/root-rsa"],
        ]
        .map(|chain| {
            let name = format!("signed with SHA-1: {}", chain[0]);
            unsound(name, &chain.map(cert), "weak-signature")
        }),
    );
    cases
}

/// Newer than the issuer, of its name, and with a key that cannot have made the signature.
fn look_alikes() -> Vec<Case> {
    let [leaf, issuer] = plain();
    ["ed25519", "rsa2048"]
        .map(|kind| {
            let namesake = cert(&format!("namesakes/intermediate-{kind}"));
            let name = format!("a newer look-alike of the issuer: {kind}");
            sound(name, [&leaf, &issuer]).given([&namesake])
        })
        .to_vec()
}

/// A text that looks like PEM to people; the unit tests of PEM have more.
fn encodings() -> Vec<Case> {
    let utf_16: Form = |texts| texts.concat().chars().flat_map(|c| [c, '\0']).collect();
    let [leaf, issuer] = plain();
    vec![unsound("odd text: UTF-16", [&leaf, &issuer], "pem-unreadable").form(utf_16)]
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
    let of = |leaf: &str| [leaf, "intermediate"].map(|name| below("envoy", name));
    let rsa = of("leaf-rsa-key-encipherment");
    let empty = [
        cert("chain/leaf-empty-common-name"),
        cert("chain/intermediate"),
    ];
    let small = ["leaf", "intermediate-rsa1024"].map(|name| below("small-ca", name));
    vec![
        unsound("fault: must-staple", &of("leaf-must-staple"), "unfit"),
        unsound(
            "fault: EC key agreement",
            &of("leaf-ec-key-agreement"),
            "unfit",
        ),
        unsound("fault: an empty common name", &empty, "unfit"),
        unsound("fault: a CA with RSA of 1024 bits", &small, "unfit"),
        sound("RSA that can only decipher", &rsa)
            .key(key("rsa2048"))
            .finding(&["unfit"]),
    ]
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
        sound(
            "the leaf names its issuer by serial number",
            [&by_serial, &older],
        )
        .given([&newer]),
        sound("the leaf names its issuer by key", [&by_key, &older]).given([&other_id]),
        sound(
            "the leaf names its issuer by key: both have it",
            [&by_key, &newer],
        )
        .given([&older]),
        sound(
            "the leaf names an issuer that is not there",
            [&by_key, &other_id],
        )
        .finding(&["chain-gap"]),
    ]
}

/// Other certificates with a root of their own.
fn other_lines() -> Vec<Case> {
    let points = ["leaf-compressed", "intermediate"].map(|name| below("points", name));
    let namesake = below("same-name", "leaf");
    let mut cases = vec![
        sound("a compressed point", &points),
        sound("named as its CA", [&namesake]).given([&cert("same-name/root")]),
    ];
    let root = cert("post-quantum/root-mldsa65");
    for kind in ["ec", "mldsa65"] {
        let chain = ["leaf-of-intermediate", "intermediate"].map(|name| Cert {
            anchor: root.pem.clone(),
            ..cert(&format!("post-quantum/{name}-{kind}"))
        });
        for root in [None, Some(&root)] {
            let name = format!("ML-DSA above {kind}, root: {}", root.is_some());
            cases.push(sound(name, &chain).given(root).finding(&LIMIT));
        }
    }
    cases
}
