//! The cases, one a line: name, certificates, private key, verdict.
//!
//! A certificate is a line of the maker, or after `@` a file of `tests/certificates` (with a folder:
//! of its `cases`). The key is that of the first certificate unless a file is named; of files in
//! folders it is `keys/p256`. The verdict: the certificates that are served by their positions, then
//! the codes of findings; or why it is refused.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sm_tls_sync::cert::pem;

use super::{Case, Form, case};

/// Which chain goes with the leaf: the longest path of verified signatures whose certificates are all
/// valid now, without self-signed roots; of twins the newest. The unit tests of chains have the rest.
const CHAINS: &str = "
one intermediate | shop < CA; CA < Root | | 1 2
six intermediates | shop < A; A < B; B < C; C < D; D < E; E < F; F < Root | | 1 2 3 4 5 6 7
identifiers of keys | shop < CA names-id; CA < Root names-id | | 1 2
the root included | shop < CA; CA < Root; Root < Root | | 1 2
the root included, directly above | shop < Root; Root < Root | | 1
the issuer missing, the ones above included | shop < CA; Upper < Root; Root < Root | | 1 chain-gap
the upper intermediate missing | shop < CA; CA < Upper; Root < Root | | 1 2
a namesake instead of the issuer | shop < CA; CA:other < Root | | 1 chain-gap
an upper CA that allows no CA | shop < CA; CA < Upper; Upper < Root cas-below:0 | | 1 2
a CA and a leaf that are strangers | shop < CA; CA < Root; X < X; other < X | | 1 2
the issuer may not sign | shop < CA; CA < Root signs-lists; Root < Root | | unfit
another root of that name | shop < CA; CA < Root; Root:other < Root:other | | 1 2 chain-gap
Generation Y, RSA | shop < YR1:rsa-2048.pem; YR1:rsa-2048.pem < YR:rsa-3072.pem; YR:rsa-3072.pem < X1:rsa-4096.pem | | 1 2 3
Generation Y, a withdrawn cross-sign | shop < YR1; YR1 < YR; YR < X1; YR < X1 older; YR < YR | | 1 2 3
Generation Y, all at once | shop < YE1; YE1 < YE; YE < X2; X2 < X1; X2 < X1 expired; X1 < X1; X2 < X2; YE < YE | | 1 2 3 4
the longest path, though it begins with an older one | shop < CA; CA < Old older; Old < New; CA < New | | 1 2 3
a root's new key | shop < Root:new names-id; Root:new < Root:old names-id; Root:old < Root:old | | 1 2
an expired root, as on 30 May 2020 | shop < Old; Old < New; Old < Old expired | | 1 2
RSA 8192 in the chain | @chain-rsa-8192 | | 1 2
an intermediate signed with ECDSA-SHA512 | @chain-ecdsa-sha512 | | 1 2 3
a leaf signed by a CA on P-521 | @chain-p521 | | 1 2
an intermediate signed with SHA-1 | @chain-sha1 | | weak-signature
ECDSA-SHA224 | @chain-ecdsa-sha224 | | 1 2 chain-unverified
ECDSA-SHA224, beside a namesake | @chain-ecdsa-sha224; @foreign-ecdsa-sha224 | | 1 2 chain-unverified
the issuer's name in another string type | @names/leaf-issuer-printable; @names/intermediate-utf8 | | 1 2 chain-unverified
its issuer by serial number | @key-ids/leaf-names-older-by-serial; @key-ids/intermediate-older; @key-ids/intermediate-newer | | 1 2
its issuer by key | @key-ids/leaf-names-key-id; @key-ids/intermediate-older; @key-ids/intermediate-newer-other-id | | 1 2
an issuer that is not there | @key-ids/leaf-names-key-id; @key-ids/intermediate-newer-other-id | | 1 2 chain-gap
the name of its CA | @same-name/leaf; @same-name/root | | 1
ML-DSA at the top | @post-quantum/leaf-of-intermediate-ec; @post-quantum/intermediate-ec | | 1 2 chain-unverified
ML-DSA in the middle | @post-quantum/leaf-of-intermediate-mldsa65; @post-quantum/intermediate-mldsa65; @post-quantum/root-mldsa65 | | 1 2 chain-unverified
";

/// Which certificate is the leaf, and whether it is fit to serve. The unit tests of `assemble` have the
/// rest.
const LEAVES: &str = "
a wildcard and its parent | shop < CA names:*.example.com,example.com; CA < Root | | 1 2
addresses | shop < CA names:192.0.2.7,2001:db8::7; CA < Root | | 1 2
an internationalized name | shop < CA names:*.xn--bcher-kva.example; CA < Root | | 1 2
a name with an underscore | shop < CA names:my_shop.example.com; CA < Root | | 1 2
a name in upper case | shop < CA names:Shop.EXAMPLE.com; CA < Root | | 1 2
a name of one label | shop < CA names:localhost; CA < Root | | 1 2
a common name alone | shop < CA names:; CA < Root | | unfit
for servers and clients | shop < CA for-clients for-servers; CA < Root | | 1 2
for anything | shop < CA for-any; CA < Root | | unfit
the key of the CA, no leaf | CA < Root; Root < Root | | unfit
self-signed | shop < shop | | 1
self-signed, with the CA bit | shop < shop ca | | unfit
a leaf with its CA's key | shop:CA < CA; CA < Root | | 1 2
expired | shop < CA expired; CA < Root | | expired
not valid yet | shop < CA since:1d; CA < Root | | not-yet-valid
valid for a hundred years | shop < CA until:36500d; CA < Root | | 1 2
renewed with the same key | shop < CA; CA < Root; shop < CA older; shop < CA since:1d; shop < CA since:-1d for-clients | | 1 2
a stranger's serial number of 22 bytes | @chain/leaf-p256; @chain/intermediate; @strangers/serial-22-bytes | | 1 2
an issuer's serial number of 22 bytes | @strangers/leaf-of-that-issuer; @strangers/issuer-serial-22-bytes | | unfit
a compressed point | @points/leaf-compressed; @points/intermediate | | 1 2
must-staple | @envoy/leaf-must-staple; @envoy/intermediate | | unfit
EC key agreement | @envoy/leaf-ec-key-agreement; @envoy/intermediate | | unfit
an empty common name | @chain/leaf-empty-common-name; @chain/intermediate | | unfit
a CA with RSA of 1024 bits | @small-ca/leaf; @small-ca/intermediate-rsa1024 | | unfit
RSA that can only decipher | @envoy/leaf-rsa-key-encipherment; @envoy/intermediate | keys/rsa2048 | 1 2 unfit
critical: any policy | @critical/leaf-any-policy; @critical/intermediate-any-policy | | 1 2 chain-unverified
critical: a directory name | @critical/leaf-directory-name; @critical/intermediate-directory-name | | 1 2 chain-unverified
critical: excluded addresses | @critical/leaf-excluded-addresses; @critical/intermediate-excluded-addresses | | 1 2 chain-unverified
critical: a policy of the leaf | @critical/leaf-own-policy; @chain/intermediate | | 1 2 chain-unverified
critical: a directory name that is broken | @critical/leaf-directory-name-broken; @critical/intermediate-directory-name | | unfit
critical: names elsewhere | @critical/leaf-elsewhere; @critical/intermediate-elsewhere | | unfit
critical: nobody knows it | @critical/leaf-unknown-extension; @critical/intermediate-unknown-extension | | unfit
SHA-1: the root, which is not sent | @weak/leaf-of-root-sha1; @weak/root-sha1 | | 1
SHA-1: a stranger | @chain/leaf-p256; @chain/intermediate; @weak/root-sha1 | | 1 2
SHA-1: a leaf, RSA | @weak/leaf-sha1; @weak/intermediate | | weak-signature
SHA-1: a leaf, ECDSA | @weak/leaf-ecdsa-sha1; @chain/intermediate | | weak-signature
SHA-1: an intermediate | @weak/leaf-of-intermediate-sha1; @weak/intermediate-sha1 | | weak-signature
SHA-1: a leaf with the name of its CA | @same-name/leaf-sha1; @same-name/root-rsa | | weak-signature
";

/// The unit tests of keys and of PEM have the rest. A key among the certificates never ends in the
/// chain, which everybody may read. What is read is written as CERTIFICATE, without trust settings.
const TEXTS: &str = "
PKCS#1 | shop:rsa-2048.pem < CA; CA < Root | rsa-2048-pkcs1 | 1 2
SEC1 on P-384 | shop:p384.pem < CA; CA < Root | p384-sec1 | 1 2
EC PARAMETERS | shop:p256.pem < CA; CA < Root | p256-sec1-parameters | 1 2
a key among the certificates | shop:p256.pem < CA; CA < Root; @p256; @rsa-2048; @p256-encrypted | | 1 2
encrypted | shop < CA; CA < Root | p256-encrypted | key-unusable
of another certificate | shop < CA; CA < Root | p256 | key-mismatch
TRUSTED CERTIFICATE, of another key | @leaf-trusted | rsa-2048 | key-mismatch
labels/leaf-x509 | @labels/leaf-x509; @chain/intermediate | | @chain/leaf-p256 2
labels/leaf-tab-after-begin | @labels/leaf-tab-after-begin; @chain/intermediate | | @chain/leaf-p256 2
labels/intermediate-x509 | @chain/leaf-p256; @labels/intermediate-x509 | | 1 @chain/intermediate
labels/intermediate-trusted | @chain/leaf-p256; @labels/intermediate-trusted | | 1 @chain/intermediate
labels/intermediate-trusted-settings | @chain/leaf-p256; @labels/intermediate-trusted-settings | | 1 @chain/intermediate
an unreadable block, and no issuer | @chain/leaf-p256; @strangers/no-certificate | | pem-unreadable
";

/// The kinds of keys.
const KINDS: &str = "ed25519 p256 p384 p521 rsa-2048 rsa-3072 rsa-4096 rsa-8192";

/// Odd forms of keys that other programs stumbled over, each after the leaf that it belongs to.
const ODD_KEYS: &str = "
p256: p256-sec1-without-params p256-sec1-without-public p256-pkcs8-without-public p256-compressed-public
p256: p256-sec1-under-PRIVATE-KEY p256-tab-after-begin
p256-short-private: p256-short-private
ed25519: ed25519-pkcs8-v2 ed25519-pkcs8-v2-old-spelling
rsa2048: rsa2048-pkcs8-without-null rsa2048-pkcs1-under-PRIVATE-KEY rsa2048-pkcs8-under-RSA-PRIVATE-KEY
rsa2048-exponent-3: rsa2048-exponent-3
rsa2048-unequal-primes: rsa2048-unequal-primes
rsa2056: rsa2056
rsa3000: rsa3000
";

/// Certificates that strict readers refuse, where the chain does not need them.
const STRANGERS: &str = "no-certificate path-length-300 san-utf8 serial-36-bytes
    subject-universal-string true-as-01 utctime-offset utctime-without-seconds x400-address";

pub(super) fn cases() -> Vec<Case> {
    let rows = [CHAINS, LEAVES, TEXTS].map(|table| table.trim().lines());
    let mut cases: Vec<Case> = rows.into_iter().flatten().map(case).collect();
    for kind in KINDS.split(' ') {
        let row = format!("key: {kind} | shop:{kind}.pem < CA; CA < Root | | 1 2");
        cases.push(case(&row));
    }
    let odd_keys = ODD_KEYS.trim().lines();
    for (leaf, keys) in odd_keys.map(|line| line.split_once(": ").unwrap()) {
        cases.extend(keys.split(' ').map(|key| {
            let chain = format!("@chain/leaf-{leaf}; @chain/intermediate");
            case(&format!("key: {key} | {chain} | keys/{key} | 1 2"))
        }));
    }
    for stranger in STRANGERS.split_whitespace() {
        let chain = "@chain/leaf-p256; @chain/intermediate";
        let row = format!("stranger: {stranger} | {chain}; @strangers/{stranger} | | 1 2");
        cases.push(case(&row));
    }
    cases.extend(texts());
    cases
}

/// PEM texts (RFC 7468) that no line of a table can say. A block that is damaged is never passed over
/// in silence: it could be the very certificate that is needed.
fn texts() -> Vec<Case> {
    let sound = |name: &str| case(&format!("{name} | shop < CA; CA < Root | | 1 2"));
    let refused = |name: &str, text: fn(&str) -> String| {
        let mut case = case(&format!("{name} | shop < CA; CA < Root | | pem-unreadable"));
        case.texts[0] = text(&case.texts[0]);
        case
    };
    let beside = |name: &str, text: fn(&str) -> String| {
        let mut case = sound(name);
        let text = text(&case.texts[0]);
        case.texts.push(text);
        case
    };
    let forms: [(&str, Form); 4] = [
        ("CRLF", |texts| texts.concat().replace('\n', "\r\n")),
        ("glued blocks", |texts| texts.concat().replace("\n-----B", "-----B")),
        ("text before blocks", |texts| {
            let before = "subject=CN = Café\nissuer=CN = x\n-----BEGIN";
            texts.concat().replace("-----BEGIN", before)
        }),
        ("bodies of one line", |texts| {
            let lines = texts.concat().replace('\n', "");
            lines.replace("E-----", "E-----\n").replace("-----END", "\n-----END")
        }),
    ];
    let forms = forms.map(|(name, form)| Case { form, ..sound(name) });
    let others = [
        refused("no base64", |pem| pem.replacen("MI", "M*", 1)),
        refused("no certificate in it", |_| block(b"not a certificate")),
        refused("a byte order mark", |pem| format!("\u{feff}{pem}")),
        beside("a request", |pem| pem.replace("CERTIFICATE", "CERTIFICATE REQUEST")),
        beside("a key without END", |_| {
            super::key("p256").replace("-----END PRIVATE KEY-----\n", "")
        }),
        beside("no block", |_| "see the wiki for the other half\n".to_owned()),
        beside("bytes behind the DER", |pem| block(&[&der(pem)[..], &[0, 0]].concat())),
    ];
    let mut label = sound("a leaf labelled CERT");
    label.texts[0] = label.texts[0].replace("CERTIFICATE", "CERT");
    forms.into_iter().chain(others).chain([label]).collect()
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(body).unwrap()
}

fn block(der: &[u8]) -> String {
    pem::write("CERTIFICATE", der).to_string()
}
