//! What CAs allow, as truth tables.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, KeyPair, NameConstraints,
    SanType,
};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::cert::certificate::Certificate;

/// A subject of these organizational levels, from the top.
fn subject(levels: &str) -> rcgen::DistinguishedName {
    let kinds = [DnType::OrganizationName, DnType::CommonName];
    let mut name = rcgen::DistinguishedName::new();
    for (kind, level) in kinds.into_iter().zip(levels.split_terminator('/')) {
        name.push(kind, level);
    }
    name
}

fn subtree(text: &str) -> GeneralSubtree {
    let (kind, base) = text.split_once(' ').unwrap();
    match kind {
        "dns" => GeneralSubtree::DnsName(base.to_owned()),
        "ip" => GeneralSubtree::IpAddress(base.parse().unwrap()),
        "subject" => GeneralSubtree::DirectoryName(subject(base)),
        "mail" => GeneralSubtree::Rfc822Name(base.to_owned()),
        kind => panic!("{kind}"),
    }
}

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    Certificate::from_der(CertificateDer::from(certificate.der().to_vec())).unwrap()
}

/// The constraints of a CA as its certificate says them.
fn constraints(permitted: &[&str], excluded: &[&str]) -> Constraints {
    let subtrees = |texts: &[&str]| texts.iter().map(|text| subtree(text)).collect();
    let ca = certificate(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(permitted),
            excluded_subtrees: subtrees(excluded),
        });
    });
    ca.constraints.unwrap()
}

/// What of a certificate with this subject and these names is not allowed.
fn refused(constraints: &Constraints, levels: &str, names: &[&str]) -> String {
    let below = certificate(|params| {
        params.distinguished_name = subject(levels);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
    });
    match constraints.refusal(&below.subject, &below.names) {
        None => String::new(),
        Some(Refusal::TooMany) => "too many".to_owned(),
        Some(Refusal::Subject) => "subject".to_owned(),
        Some(Refusal::Name(name)) => name.to_string(),
    }
}

#[test]
fn names_within_and_outside_of_a_base() {
    for (base, within, outside) in [
        (
            "dns example.com",
            &[
                "example.com",
                "a.example.com",
                "a.b.example.com",
                "*.example.com",
            ][..],
            &["badexample.com", "com", "example.org"][..],
        ),
        ("dns EXAMPLE.com", &["Example.COM"], &["example.org"]),
        // with a dot there must be a label before it, as TLS clients see it
        (
            "dns .example.com",
            &["a.example.com", "a.b.example.com", "*.example.com"],
            &["example.com", "badexample.com", "example.org"],
        ),
        ("dns ", &["example.com", "com", "*.example.com"], &[]),
        (
            "ip 192.0.2.0/24",
            &["192.0.2.0", "192.0.2.255"],
            &["192.0.3.0", "193.0.2.0", "2001:db8::1", "::c000:200"],
        ),
        (
            "ip 192.0.2.7/32",
            &["192.0.2.7"],
            &["192.0.2.6", "192.0.2.8"],
        ),
        // bits beyond the mask make no difference
        ("ip 192.0.2.77/24", &["192.0.2.1"], &["192.0.3.77"]),
        ("ip 0.0.0.0/0", &["192.0.2.1"], &["2001:db8::1"]),
        (
            "ip 2001:db8::/32",
            &["2001:db8::1", "2001:db8:ffff::"],
            &["2001:db9::1", "192.0.2.1"],
        ),
        ("ip ::/0", &["2001:db8::1"], &["192.0.2.1"]),
    ] {
        let (permitted, excluded) = (constraints(&[base], &[]), constraints(&[], &[base]));
        for (names, is_within) in [(within, true), (outside, false)] {
            for name in names {
                // in lower case
                let asked = name.to_lowercase();
                let refusal = |refused| {
                    if refused {
                        asked.clone()
                    } else {
                        String::new()
                    }
                };
                assert_eq!(
                    refused(&permitted, "", &[name]),
                    refusal(!is_within),
                    "{base} permitted: {name}"
                );
                assert_eq!(
                    refused(&excluded, "", &[name]),
                    refusal(is_within),
                    "{base} excluded: {name}"
                );
            }
        }
    }
}

#[test]
fn several_constraints_and_names() {
    for (permitted, excluded, names, expected) in [
        // one that permits it is enough, and so is one that excludes it
        (
            &["dns a.example", "dns b.example"][..],
            &[][..],
            &["b.example"][..],
            "",
        ),
        (
            &["dns a.example", "dns b.example"],
            &[],
            &["c.example"],
            "c.example",
        ),
        (
            &[],
            &["dns a.example", "dns b.example"],
            &["b.example"],
            "b.example",
        ),
        (
            &["dns a.example"],
            &["dns x.a.example"],
            &["y.a.example"],
            "",
        ),
        (
            &["dns a.example"],
            &["dns x.a.example"],
            &["y.a.example", "x.a.example"],
            "x.a.example",
        ),
        // the first one is named
        (
            &[],
            &["dns a.example"],
            &["b.example", "2.a.example", "1.a.example"],
            "2.a.example",
        ),
        // one of the names of a wildcard is excluded, or only one of them is permitted
        (&[], &["dns a.example"], &["*.example"], "*.example"),
        (&[], &["dns x.a.example"], &["*.a.example"], "*.a.example"),
        (&[], &["dns y.x.a.example"], &["*.a.example"], ""),
        (&[], &["dns .x.a.example"], &["*.a.example"], ""),
        (&["dns x.a.example"], &[], &["*.a.example"], "*.a.example"),
        // a constraint is about its own kind only
        (&["dns a.example"], &[], &["192.0.2.1"], ""),
        (&["ip 192.0.2.0/24"], &[], &["b.example"], ""),
        (
            &["subject O"],
            &["mail a.example"],
            &["a.example", "192.0.2.1"],
            "",
        ),
        (&["mail a.example", "dns "], &[], &["b.example"], ""),
        (
            &["dns a.example", "ip 192.0.2.0/24"],
            &[],
            &["a.example", "192.0.2.1"],
            "",
        ),
        (
            &["dns a.example", "ip 192.0.2.0/24"],
            &[],
            &["a.example", "192.0.3.1"],
            "192.0.3.1",
        ),
    ] {
        let constraints = constraints(permitted, excluded);
        assert_eq!(
            refused(&constraints, "", names),
            expected,
            "{permitted:?} {excluded:?} {names:?}"
        );
    }
}

#[test]
fn directory_names_are_about_the_subject() {
    for (permitted, excluded, levels, names, expected) in [
        (&["subject Shop"][..], &[][..], "Shop", &[][..], ""),
        (&["subject Shop"], &[], "Shop/www", &[], ""),
        (&["subject Shop/www"], &[], "Shop", &[], "subject"),
        (&["subject Shop"], &[], "Other", &[], "subject"),
        (
            &["subject Shop", "subject Other"],
            &[],
            "Other/www",
            &[],
            "",
        ),
        (&[], &["subject Shop"], "Shop/www", &[], "subject"),
        (&[], &["subject Shop"], "Other", &[], ""),
        // of an empty subject nothing is asked
        (&["subject Shop"], &[], "", &["a.example"], ""),
        (&[], &["subject "], "", &["a.example"], ""),
        (&["dns a.example"], &[], "Shop", &["a.example"], ""),
        // the subject comes first
        (
            &["subject Shop", "dns a.example"],
            &[],
            "Other",
            &["b.example"],
            "subject",
        ),
        (
            &["subject Shop", "dns a.example"],
            &[],
            "Shop",
            &["b.example"],
            "b.example",
        ),
    ] {
        let constraints = constraints(permitted, excluded);
        assert_eq!(
            refused(&constraints, levels, names),
            expected,
            "{permitted:?} {excluded:?} {levels} {names:?}"
        );
    }
}

#[test]
fn what_the_tls_library_checks_itself() {
    for (permitted, excluded, plain) in [
        (&["dns a.example"][..], &["ip 192.0.2.0/24"][..], true),
        (&["subject Shop"], &[], false),
        (&["dns a.example"], &["subject Shop"], false),
        (&["mail a.example", "dns a.example"], &[], false),
    ] {
        let constraints = constraints(permitted, excluded);
        assert_eq!(constraints.is_plain(), plain, "{permitted:?} {excluded:?}");
    }
}

#[test]
fn there_are_limits_to_what_is_compared() {
    let names = |count| vec![ServerName::dns("a.example"); count];
    let nobody = DistinguishedName::read(&[]).unwrap();
    for (permitted, excluded, names, expected) in [
        // 250000 comparisons, then 500 more
        (499, 1, names(500), true),
        (499, 1, names(501), false),
        (500, 0, names(501), false),
        (0, 250_001, names(1), false),
        (0, 250_001, names(0), true),
    ] {
        let constraints = Constraints {
            permitted: vec![Base::Dns("a.example".to_owned()); permitted],
            excluded: vec![Base::Other; excluded],
        };
        let refusal = constraints.refusal(&nobody, &names);
        let count = names.len();
        assert_eq!(
            refusal.is_none(),
            expected,
            "{permitted} {excluded} {count}"
        );
        assert!(matches!(refusal, None | Some(Refusal::TooMany)));
    }
}

#[test]
fn constraints_are_readable_as_a_whole_or_not_at_all() {
    let sequence = |parts: &[&[u8]]| der::value(der::SEQUENCE, parts).to_vec();
    let dns = sequence(&[&der::value(0x82, &[b"a.example"])]);
    let permitted = |subtrees: &[&[u8]]| der::value(tagged(0), subtrees).to_vec();
    let excluded = |subtrees: &[&[u8]]| der::value(tagged(1), subtrees).to_vec();
    // a directory name without the name, and one whose levels are no sets
    let nothing = sequence(&[&der::value(0xa4, &[])]);
    let no_name = sequence(&[&der::value(0xa4, &[&sequence(&[&dns])])]);
    for (parts, counts) in [
        (vec![], Some((0, 0))),
        (permitted(&[&dns, &dns]), Some((2, 0))),
        (excluded(&[&dns]), Some((0, 1))),
        (
            [permitted(&[&dns]), excluded(&[&dns, &dns])].concat(),
            Some((1, 2)),
        ),
        (permitted(&[&dns, &sequence(&[])]), None),
        (excluded(&[&nothing]), None),
        (excluded(&[&dns, &no_name]), None),
    ] {
        let read = Constraints::read(Reader(&parts));
        let read = read.map(|read| (read.permitted.len(), read.excluded.len()));
        assert_eq!(read, counts, "{parts:02x?}");
    }
}
