//! Which certificate is the leaf, and whether it is fit to serve: the newest of those that belong to
//! the private key and that a TLS client would take as a server's.

use rcgen::ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};

use super::pki::{Cert, Subject};
use super::{Case, sound, unsound};

pub(super) fn cases() -> Vec<Case> {
    [names(), usage(), dates(), several()].concat()
}

/// The subject alternative name extension (RFC 5280 section 4.2.1.6).
fn names() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let issuer = Subject::new("Root").sign(&ca.ca());
    let named = |names: &[&str]| ca.sign(&shop.leaf().names(names.iter().copied()));
    let hosts: Vec<String> = (0..100).map(|n| format!("host-{n}.example.com")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let longest = format!("{}.com", ["a".repeat(49).as_str(); 5].join("."));
    let mut cases: Vec<Case> = [
        (
            "a wildcard and its parent",
            &["*.example.com", "example.com"][..],
        ),
        ("an IPv4 address", &["192.0.2.7"]),
        ("an IPv6 address", &["2001:db8::7"]),
        ("an internationalized name", &["*.xn--bcher-kva.example"]),
        ("a name with an underscore", &["my_shop.example.com"]),
        ("a name in upper case", &["Shop.EXAMPLE.com"]),
        ("a name of one label", &["localhost"]),
        ("a name of 253 characters", &[&longest]),
        ("a hundred names", &hosts),
    ]
    .map(|(name, names)| sound(name, [&named(names), &issuer]))
    .to_vec();
    cases.push(unsound(
        "a common name alone",
        [&named(&[]), &issuer],
        "unfit",
    ));
    cases
}

/// Basic constraints and extended key usage (RFC 5280 sections 4.2.1.9 and 4.2.1.12).
fn usage() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let root = Subject::new("Root");
    let issuer = root.sign(&ca.ca());
    let with = |purposes: &[_]| ca.sign(&shop.leaf().purposes(purposes));
    let (both, none) = (with(&[ClientAuth, ServerAuth]), with(&[]));
    let (client, any) = (with(&[ClientAuth]), with(&[Any]));
    let with_ca_bit = ca.sign(&shop.leaf().ca_bit(true));
    // the client trusts this very certificate
    let own = |leaf: Cert| Cert {
        anchor: leaf.pem.clone(),
        ..leaf
    };
    let self_signed = own(shop.sign(&shop.leaf()));
    let self_signed_ca = own(shop.sign(&shop.leaf().ca_bit(true)));
    let own_key = ca.sign(&ca.renamed("shop.example.com").leaf());
    vec![
        sound("for servers and clients", [&both, &issuer]),
        sound("no extended key usage", [&none, &issuer]),
        unsound("for clients only", [&client, &issuer], "unfit"),
        // a CA may say so of itself (RFC 5280 section 4.2.1.12); TLS clients ask for serverAuth
        unsound("any extended key usage", [&any, &issuer], "unfit"),
        unsound("a leaf with the CA bit", [&with_ca_bit, &issuer], "unfit"),
        unsound(
            "the key of the CA, no leaf",
            [&issuer, &root.root()],
            "unfit",
        ),
        sound("self-signed", [&self_signed]),
        unsound("self-signed, with the CA bit", [&self_signed_ca], "unfit"),
        sound("a leaf with its CA's key", [&own_key, &issuer]),
    ]
}

fn dates() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let issuer = Subject::new("Root").sign(&ca.ca());
    let with = |from, until| ca.sign(&shop.leaf().valid(from, until));
    let (expired, coming, short, long) =
        (with(-90, -1), with(1, 90), with(0, 1), with(-1000, 36_500));
    vec![
        unsound("expired", [&expired, &issuer], "expired"),
        unsound("not valid yet", [&coming, &issuer], "not-yet-valid"),
        sound("valid since now, for a day", [&short, &issuer]),
        // beyond 2049 the date is a GeneralizedTime (RFC 5280 section 4.1.2.5)
        sound("valid for a hundred years", [&long, &issuer]),
    ]
}

/// Several certificates belong to the key: renewed with the same key, the old ones still there.
fn several() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let issuer = Subject::new("Root").sign(&ca.ca());
    let draft = |from, until| shop.leaf().valid(from, until);
    let new = ca.sign(&draft(-1, 89));
    let old = ca.sign(&draft(-60, 30));
    let expired = ca.sign(&draft(-120, -30));
    let coming = ca.sign(&draft(1, 90));
    let for_clients = ca.sign(&draft(0, 90).purposes(&[ClientAuth]));
    let placeholder = shop.sign(&draft(-2, 89));
    let other_leaf = ca.sign(&Subject::new("other.example.com").leaf());
    let [newest, older] = [[&new, &issuer], [&old, &issuer]];
    vec![
        sound("the same key: the newest", newest).given([&old, &expired]),
        sound("the same key: one is not valid yet", older).given([&coming]),
        sound("the same key: the newest is for clients", older).given([&for_clients]),
        sound("the same key: an older placeholder", newest).given([&placeholder]),
        // the newest says why
        unsound(
            "the same key: none is fit",
            [&expired, &issuer],
            "not-yet-valid",
        )
        .given([&coming]),
        sound("two leaves: the one with the key", newest).given([&other_leaf]),
    ]
}
