//! What a rehearsal finds, as tables.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    GeneralSubtree, IsCa, Issuer, KeyPair, NameConstraints,
};

use super::*;

const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_790_812_800));

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

fn ca() -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca
}

/// A leaf and its issuer as PEM, and the leaf's key. `signer`: the issuer as the leaf names it.
fn issued(leaf: &CertificateParams, ca: &CertificateParams, signer: Signer) -> (String, KeyPair) {
    let ca_key = KeyPair::generate().unwrap();
    let issuer = ca.self_signed(&ca_key).unwrap().pem();
    let (named, signing_key) = match signer {
        Signer::Itself => (ca.clone(), ca_key),
        Signer::OtherSpelling(name) => {
            let mut named = ca.clone();
            named.distinguished_name = name;
            (named, ca_key)
        }
        Signer::OtherKey => (ca.clone(), KeyPair::generate().unwrap()),
    };
    let key = KeyPair::generate().unwrap();
    let leaf = leaf
        .signed_by(&key, &Issuer::new(named, signing_key))
        .unwrap();
    (leaf.pem() + &issuer, key)
}

enum Signer {
    Itself,
    OtherSpelling(DistinguishedName),
    OtherKey,
}

/// A sound chain for these names.
fn chain(names: &[&str]) -> (String, KeyPair) {
    issued(&leaf(names), &ca(), Signer::Itself)
}

/// The same below an issuer that permits these subtrees only.
fn constrained_chain(names: &[&str], permitted: Vec<GeneralSubtree>) -> (String, KeyPair) {
    let mut ca = ca();
    ca.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: Vec::new(),
    });
    issued(&leaf(names), &ca, Signer::Itself)
}

fn codes((pem, key): &(String, KeyPair), verified: bool) -> Result<Vec<Reason>, Reason> {
    let ended = rehearse(pem, &key.serialize_pem(), verified, NOW);
    ended
        .map(|findings| findings.iter().map(|f| f.reason).collect())
        .map_err(|error| error.reason)
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
        let findings = rehearse(&pem, &key.serialize_pem(), true, NOW).unwrap();
        let told = told.map(|told| (Reason::ChainUnverified, told));
        let found = findings.first().map(|f| (f.reason, f.message.as_str()));
        assert_eq!(found, told, "{:?}", names.last());
    }
}

/// What was verified before is verified again by the library, and nothing else is.
#[test]
fn the_path_is_verified_where_there_is_one() {
    let names = &["shop.example.com"];
    let sound = chain(names);
    let foreign = issued(&leaf(names), &ca(), Signer::OtherKey);
    let alone = |(pem, key): &(String, KeyPair)| {
        let end = pem.find("-----END").unwrap();
        let leaf = &pem[..end + "-----END CERTIFICATE-----\n".len()];
        let key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
        (leaf.to_owned(), key)
    };
    for (chain, verified, expected) in [
        (&sound, true, Ok(vec![])),
        (&sound, false, Ok(vec![])),
        (&foreign, true, Err(Reason::Unfit)),
        // a signature that this program cannot verify: clients may
        (&foreign, false, Ok(vec![])),
        (&alone(&sound), true, Ok(vec![])),
    ] {
        assert_eq!(codes(chain, verified), expected);
    }
}

#[test]
fn what_the_library_cannot_check_is_a_finding() {
    let names = &["shop.example.com"];
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
        (vec![], Ok(vec![])),
        (vec![policies.clone()], Ok(vec![Reason::ChainUnverified])),
        // no client takes it
        (vec![unknown.clone()], Err(Reason::Unfit)),
        (vec![policies, unknown], Err(Reason::Unfit)),
    ] {
        let mut params = leaf(names);
        params.custom_extensions = extensions;
        assert_eq!(
            codes(&issued(&params, &ca(), Signer::Itself), true),
            expected
        );
    }

    let spelled = |value: DnValue| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, value);
        name
    };
    let mut ca = ca();
    ca.distinguished_name = spelled(DnValue::Utf8String("Issuer".to_owned()));
    let other = spelled(DnValue::PrintableString("Issuer".try_into().unwrap()));
    let chain = issued(&leaf(names), &ca, Signer::OtherSpelling(other));
    assert_eq!(codes(&chain, true), Ok(vec![Reason::ChainUnverified]));
}

#[test]
fn what_an_issuer_does_not_allow_fails() {
    let dns = |base: &str| GeneralSubtree::DnsName(base.to_owned());
    let many: Vec<String> = (0..501).map(|n| format!("n{n}.example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let subject = GeneralSubtree::DirectoryName(DistinguishedName::new());
    // how many findings, or the end of the error
    for (names, permitted, expected) in [
        (&["shop.example.com"][..], vec![dns("example.com")], Ok(0)),
        (
            &["shop.example.net"],
            vec![dns("example.com")],
            Err("do not allow shop.example.net"),
        ),
        (
            &many,
            vec![dns("example.com"); 500],
            Err("are too many to compare"),
        ),
        // the library refuses all below such a constraint
        (&["shop.example.com"], vec![subject], Ok(1)),
    ] {
        let (pem, key) = constrained_chain(names, permitted);
        match (rehearse(&pem, &key.serialize_pem(), true, NOW), expected) {
            (Ok(findings), Ok(count)) => assert_eq!(findings.len(), count),
            (Err(error), Err(end)) => {
                assert_eq!(error.reason, Reason::Unfit);
                let message = error.to_string();
                assert!(message.contains("the name constraints of "), "{message}");
                assert!(message.contains(&format!(" {end}; ")), "{message}");
            }
            (ended, expected) => panic!("{ended:?}, not {expected:?}"),
        }
    }
}

#[test]
fn another_key_fails_and_another_spelling_does_not() {
    let (pem, _) = chain(&["shop.example.com"]);
    let other = KeyPair::generate().unwrap().serialize_pem();
    let error = rehearse(&pem, &other, true, NOW).unwrap_err();
    assert_eq!(error.reason, Reason::Unfit);
    assert!(
        error
            .to_string()
            .contains("the private key does not fit it"),
        "{error}"
    );

    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/cases");
        std::fs::read_to_string(format!("{folder}/{name}.pem")).unwrap()
    };
    let later = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_900_000_000));
    let compressed = file("points/leaf-compressed") + &file("points/intermediate");
    assert!(
        rehearse(&compressed, &file("keys/p256"), true, later)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn no_usable_name_and_no_certificate_fail() {
    for pem in [chain(&["*"]).0, "nothing".to_owned()] {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let error = rehearse(&pem, &key, true, NOW).unwrap_err();
        assert_eq!(error.reason, Reason::Unfit);
    }
}
