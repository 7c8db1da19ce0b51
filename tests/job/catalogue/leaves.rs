//! Which certificate is the leaf, and whether it is fit to serve: the newest of those that belong to
//! the private key and that a TLS client would take as a server's.

use rcgen::ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};

use super::pki::{Cert, Subject};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [names(), usage(), dates(), several()].concat()
}

/// The subject alternative name extension (RFC 5280 section 4.2.1.6).
fn names() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let issuer = Subject::new("Root").sign(&ca.ca());
    let named = |names: &[&str]| ca.sign(&shop.leaf().names(names.iter().copied()));
    let hundred = ca.sign(
        &shop
            .leaf()
            .names((0..100).map(|n| format!("host-{n}.example.com"))),
    );
    let mut cases: Vec<Case> = [
        (
            "a wildcard and its parent",
            named(&["*.example.com", "example.com"]),
        ),
        ("an IPv4 address", named(&["192.0.2.7"])),
        ("an IPv6 address", named(&["2001:db8::7"])),
        (
            "an internationalized name",
            named(&["xn--bcher-kva.example", "*.xn--bcher-kva.example"]),
        ),
        ("a name with an underscore", named(&["my_shop.example.com"])),
        ("a name in upper case", named(&["Shop.EXAMPLE.com"])),
        ("a name of one label", named(&["localhost"])),
        ("a name of 253 characters", {
            let label = "a".repeat(49);
            named(&[&format!("{label}.{label}.{label}.{label}.{label}.com")[..253]])
        }),
        ("a hundred names", hundred),
    ]
    .into_iter()
    .map(|(name, leaf)| {
        case(name, &leaf)
            .given([&leaf, &issuer])
            .serves([&leaf, &issuer])
    })
    .collect();
    let nameless = named(&[]);
    cases.push(
        case("a common name alone", &nameless)
            .given([&nameless, &issuer])
            .refused("unfit"),
    );
    cases
}

/// Basic constraints and extended key usage (RFC 5280 sections 4.2.1.9 and 4.2.1.12).
fn usage() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let root = Subject::new("Root");
    let issuer = root.sign(&ca.ca());
    let with = |purposes: &[_]| ca.sign(&shop.leaf().purposes(purposes));
    let (both, none, client, any) = (
        with(&[ClientAuth, ServerAuth]),
        with(&[]),
        with(&[ClientAuth]),
        with(&[Any]),
    );
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
        case("for servers and clients", &both)
            .given([&both, &issuer])
            .serves([&both, &issuer]),
        case("no extended key usage", &none)
            .given([&none, &issuer])
            .serves([&none, &issuer]),
        case("for clients only", &client)
            .given([&client, &issuer])
            .refused("unfit"),
        // a CA may say so of itself (RFC 5280 section 4.2.1.12); TLS clients ask for serverAuth
        case("any extended key usage", &any)
            .given([&any, &issuer])
            .refused("unfit"),
        case("a leaf with the CA bit", &with_ca_bit)
            .given([&with_ca_bit, &issuer])
            .refused("unfit"),
        case("the key of the CA, without a leaf", &issuer)
            .given([&issuer, &root.root()])
            .refused("unfit"),
        case("self-signed", &self_signed)
            .given([&self_signed])
            .serves([&self_signed]),
        case("self-signed, with the CA bit", &self_signed_ca)
            .given([&self_signed_ca])
            .refused("unfit"),
        case("a leaf with its CA's key", &own_key)
            .given([&own_key, &issuer])
            .serves([&own_key, &issuer]),
    ]
}

fn dates() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let issuer = Subject::new("Root").sign(&ca.ca());
    let with = |from, until| ca.sign(&shop.leaf().valid(from, until));
    let (expired, coming, short, long) =
        (with(-90, -1), with(1, 90), with(0, 1), with(-1000, 36_500));
    vec![
        case("expired", &expired)
            .given([&expired, &issuer])
            .refused("expired"),
        case("not valid yet", &coming)
            .given([&coming, &issuer])
            .refused("not-yet-valid"),
        case("valid since now, for a day", &short)
            .given([&short, &issuer])
            .serves([&short, &issuer]),
        // beyond 2049 the date is a GeneralizedTime (RFC 5280 section 4.1.2.5)
        case("valid for a hundred years", &long)
            .given([&long, &issuer])
            .serves([&long, &issuer]),
    ]
}

/// Several certificates belong to the key: renewed with the same key, the old ones still there.
fn several() -> Vec<Case> {
    let (ca, shop) = (Subject::new("CA"), Subject::new("shop.example.com"));
    let issuer = Subject::new("Root").sign(&ca.ca());
    let draft = |from, until, label: &str| shop.leaf().valid(from, until).label(label);
    let new = ca.sign(&draft(-1, 89, "new"));
    let old = ca.sign(&draft(-60, 30, "old"));
    let expired = ca.sign(&draft(-120, -30, "expired"));
    let coming = ca.sign(&draft(1, 90, "coming"));
    let for_clients = ca.sign(&draft(0, 90, "for clients").purposes(&[ClientAuth]));
    let placeholder = shop.sign(&draft(-2, 89, "placeholder"));
    let other_leaf = ca.sign(&Subject::new("other.example.com").leaf());
    vec![
        case("the same key: the newest", &new)
            .given([&old, &new, &issuer, &expired])
            .serves([&new, &issuer]),
        case("the same key: the newest is not valid yet", &new)
            .given([&coming, &old, &issuer])
            .serves([&old, &issuer]),
        case("the same key: the newest is for clients", &new)
            .given([&for_clients, &old, &issuer])
            .serves([&old, &issuer]),
        case("the same key: a self-signed placeholder is older", &new)
            .given([&placeholder, &new, &issuer])
            .serves([&new, &issuer]),
        case("the same key: none is fit, and the newest says why", &new)
            .given([&expired, &coming, &issuer])
            .refused("not-yet-valid"),
        case("two leaves: the one with the key", &new)
            .given([&other_leaf, &new, &issuer])
            .serves([&new, &issuer]),
    ]
}
