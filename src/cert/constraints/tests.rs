//! What CAs allow, as truth tables.

use rcgen::{CertificateParams, DnType, GeneralSubtree, NameConstraints, SanType};

use super::*;
use crate::cert::certificate::Certificate;
use crate::cert::samples::maker;

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

fn certificate(line: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    maker().make_with(line, change).read()
}

/// The constraints of a CA as its certificate says them.
fn constraints(permitted: &[&str], excluded: &[&str]) -> Constraints {
    let subtrees = |texts: &[&str]| texts.iter().map(|text| subtree(text)).collect();
    let ca = certificate("CA < CA", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(permitted),
            excluded_subtrees: subtrees(excluded),
        });
    });
    ca.said.constraints
}

/// What of a certificate with this subject and these names is not allowed.
fn refused(constraints: &Constraints, levels: &str, names: &[&str]) -> String {
    let below = certificate("shop < CA", |params| {
        params.distinguished_name = subject(levels);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
    });
    let refusal = constraints.refusal(&below.subject_name, &below.names);
    let refused = refusal.as_deref().unwrap_or_default();
    let refused = refused.strip_prefix("do not allow ").unwrap_or(refused);
    let refused = refused.strip_prefix("the ").unwrap_or(refused);
    let subject = refused.strip_suffix(" of a certificate below it");
    subject.unwrap_or(refused).to_owned()
}

#[test]
fn names_within_and_outside_of_a_base() {
    for (base, within, outside) in [
        (
            "dns example.com",
            &["example.com", "a.example.com", "a.b.example.com", "*.example.com"][..],
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
    ] {
        let (permitted, excluded) = (constraints(&[base], &[]), constraints(&[], &[base]));
        for (names, is_within) in [(within, true), (outside, false)] {
            for name in names {
                // in lower case
                let asked = name.to_lowercase();
                let refusal = |refused| {
                    if refused { asked.clone() } else { String::new() }
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
        (&["dns a.example", "dns b.example"][..], &[][..], &["b.example"][..], ""),
        (&["dns a.example", "dns b.example"], &[], &["c.example"], "c.example"),
        (&[], &["dns a.example", "dns b.example"], &["b.example"], "b.example"),
        (&["dns a.example"], &["dns x.a.example"], &["y.a.example"], ""),
        (&["dns a.example"], &["dns x.a.example"], &["y.a.example", "x.a.example"], "x.a.example"),
        // the first one is named
        (&[], &["dns a.example"], &["b.example", "2.a.example", "1.a.example"], "2.a.example"),
        // one of the names of a wildcard is excluded, or only one of them is permitted
        (&[], &["dns a.example"], &["*.example"], "*.example"),
        (&[], &["dns x.a.example"], &["*.a.example"], "*.a.example"),
        (&[], &["dns y.x.a.example"], &["*.a.example"], ""),
        (&[], &["dns .x.a.example"], &["*.a.example"], ""),
        (&["dns x.a.example"], &[], &["*.a.example"], "*.a.example"),
        // a constraint is about its own kind only
        (&["dns a.example"], &[], &["192.0.2.1"], ""),
        (&["ip 192.0.2.0/24"], &[], &["b.example"], ""),
        (&["subject O"], &["mail a.example"], &["a.example", "192.0.2.1"], ""),
        (&["mail a.example", "dns "], &[], &["b.example"], ""),
        (&["dns a.example", "ip 192.0.2.0/24"], &[], &["a.example", "192.0.2.1"], ""),
        (
            &["dns a.example", "ip 192.0.2.0/24"],
            &[],
            &["a.example", "192.0.3.1"],
            // left to the library
            "",
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
        (&["subject Shop", "subject Other"], &[], "Other/www", &[], ""),
        (&[], &["subject Shop"], "Shop/www", &[], "subject"),
        (&[], &["subject Shop"], "Other", &[], ""),
        // of an empty subject nothing is asked
        (&["subject Shop"], &[], "", &["a.example"], ""),
        (&[], &["subject "], "", &["a.example"], ""),
        (&["dns a.example"], &[], "Shop", &["a.example"], ""),
        // the subject comes first
        (&["subject Shop", "dns a.example"], &[], "Other", &["b.example"], "subject"),
        (&["subject Shop", "dns a.example"], &[], "Shop", &["b.example"], "b.example"),
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
    for (bases, names, expected) in
        [(500, 500, ""), (500, 501, "are too many to compare"), (250_001, 0, "")]
    {
        let constraints = Constraints {
            permitted: vec![Base::Dns("a.example".to_owned()); bases - 1],
            excluded: vec![Base::Other],
        };
        let below = certificate("shop < CA", |params| {
            let name = SanType::DnsName("a.example".try_into().unwrap());
            params.subject_alt_names = vec![name; names];
        });
        let refusal = constraints.refusal(&below.subject_name, &below.names).unwrap_or_default();
        assert_eq!(refusal, expected, "{bases} {names}");
    }
}
