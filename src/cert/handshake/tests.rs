//! What a rehearsal finds, as tables.

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, GeneralSubtree,
    NameConstraints,
};

use super::*;
use crate::cert::samples::{NOW, maker, stored};

/// A chain, and the leaf's key, both PEM.
type Chain = (String, String);

/// The leaf of this line, and its issuer with a change.
fn issued(leaf: &str, change: impl FnOnce(&mut CertificateParams)) -> Chain {
    let mut maker = maker();
    let leaf = maker.make(leaf);
    let issuer = maker.make_with("CA < CA", change);
    (leaf.pem + &issuer.pem, leaf.key)
}

/// A sound chain for these names.
fn chain(names: &[&str]) -> Chain {
    issued(&format!("shop < CA names:{}", names.join(",")), |_| {})
}

/// Whether something could not be checked; an error, if a client would refuse it.
fn limited((pem, key): &Chain, verified: bool) -> Result<bool, ()> {
    let ended = rehearse(pem, key, verified, NOW);
    ended.map(|limit| limit.is_some()).map_err(drop)
}

#[test]
fn names_are_asked_for_as_clients_do() {
    let many = |last: &'static str, count: usize| -> Vec<String> {
        let names = (1..count).map(|n| format!("n{n}.example.com"));
        names.chain([last.to_owned()]).collect()
    };
    let shop = |name: &str| vec!["shop.example.com".to_owned(), name.to_owned()];
    for (names, told) in [
        (shop("*.example.com"), None),
        // nobody asks for these
        (shop("shop.example.com:443"), None),
        (shop("*"), None),
        // the library does not find it, and is asked for a hundred names
        (shop("*.com"), Some("not every client finds *.com")),
        (many("*.com", 100), Some("not every client finds *.com")),
        (many("*.com", 101), None),
    ] {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (pem, key) = chain(&names);
        let found = rehearse(&pem, &key, true, NOW).unwrap();
        assert_eq!(found.as_deref(), told, "{:?}", names.last());
    }
}

/// What was verified before is verified again by the library, and nothing else is.
#[test]
fn the_path_is_verified_where_there_is_one() {
    let sound = chain(&["shop.example.com"]);
    let foreign = issued("shop < CA:other", |_| {});
    let alone = maker().make("shop < CA");
    for (chain, verified, expected) in [
        (&sound, true, Ok(false)),
        (&sound, false, Ok(false)),
        (&foreign, true, Err(())),
        // a signature that this program cannot verify: clients may
        (&foreign, false, Ok(false)),
        (&(alone.pem, alone.key), true, Ok(false)),
    ] {
        assert_eq!(limited(chain, verified), expected);
    }
}

#[test]
fn what_the_library_cannot_check_is_a_finding() {
    let critical = |oid: &[u64]| {
        // certificate policies: one, 1.2.3
        let mut extension =
            CustomExtension::from_oid_content(oid, vec![0x30, 6, 0x30, 4, 6, 2, 0x2a, 3]);
        extension.set_criticality(true);
        extension
    };
    let policies = critical(&[2, 5, 29, 32]);
    let unknown = critical(&[1, 2, 3, 4]);
    for (extensions, expected) in [
        (vec![], Ok(false)),
        (vec![policies.clone()], Ok(true)),
        // no client takes it
        (vec![unknown.clone()], Err(())),
        (vec![policies, unknown], Err(())),
    ] {
        let mut maker = maker();
        let put = |params: &mut CertificateParams| params.custom_extensions = extensions;
        let leaf = maker.make_with("shop < CA", put);
        let chain = leaf.pem + &maker.make("CA < CA").pem;
        assert_eq!(limited(&(chain, leaf.key), true), expected);
    }

    // the same name in another string type
    let spelled = |params: &mut CertificateParams| {
        params.distinguished_name = DistinguishedName::new();
        let name = DnValue::PrintableString("CA".try_into().unwrap());
        params.distinguished_name.push(DnType::CommonName, name);
    };
    let chain = issued("shop < CA", spelled);
    assert_eq!(limited(&chain, true), Ok(true));
}

#[test]
fn what_an_issuer_does_not_allow_fails() {
    let dns = |base: &str| GeneralSubtree::DnsName(base.to_owned());
    let many: Vec<String> = (0..501).map(|n| format!("n{n}.example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let subject = GeneralSubtree::DirectoryName(DistinguishedName::new());
    // whether there is a finding, or the end of the error
    for (names, permitted, expected) in [
        (&["shop.example.com"][..], vec![dns("example.com")], Ok(false)),
        (&["shop.example.net"], vec![dns("example.com")], Err("do not allow shop.example.net")),
        (&many, vec![dns("example.com"); 500], Err("are too many to compare")),
        // the library refuses all below such a constraint
        (&["shop.example.com"], vec![subject], Ok(true)),
    ] {
        let permitted =
            NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() };
        let line = format!("shop < CA names:{}", names.join(","));
        let (pem, key) = issued(&line, |ca| ca.name_constraints = Some(permitted));
        match (rehearse(&pem, &key, true, NOW), expected) {
            (Ok(finding), Ok(is_found)) => assert_eq!(finding.is_some(), is_found),
            (Err(error), Err(end)) => {
                let message = error.to_string();
                assert!(message.contains("the name constraints of "), "{message}");
                assert!(message.ends_with(&format!(" {end}")), "{message}");
            }
            (ended, expected) => panic!("{ended:?}, not {expected:?}"),
        }
    }
}

#[test]
fn another_key_fails_and_another_spelling_does_not() {
    let (pem, _) = chain(&["shop.example.com"]);
    let other = maker().make("A < A").key;
    let error = rehearse(&pem, &other, true, NOW).unwrap_err();
    assert!(error.to_string().contains("the private key does not fit it"), "{error}");

    let file = |name: &str| stored(&format!("cases/{name}"));
    let compressed = file("points/leaf-compressed") + &file("points/intermediate");
    let finding = rehearse(&compressed, &file("keys/p256"), true, NOW);
    assert!(finding.unwrap().is_none());
}

#[test]
fn no_usable_name_and_no_certificate_fail() {
    for pem in [chain(&["*"]).0, "nothing".to_owned()] {
        let key = maker().make("A < A").key;
        assert!(rehearse(&pem, &key, true, NOW).is_err());
    }
}
