//! What was seen at the domains, and what it means, as truth tables.

use std::sync::Arc;

use super::*;
use crate::cert::samples::maker;
use crate::ibm::code_engine::DomainMapping;
use crate::report::Action;
use crate::sync::samples::task;

/// What is written about these domains.
fn concluded(level: Probe, leaf: Certificate, seen: &[(&str, State)]) -> Outcome {
    let task = task();
    let target =
        UpToDate { task: &task, leaf: Arc::new(leaf), chain_sha256: String::new(), replaced: None };
    let mappings: Vec<DomainMapping> = seen
        .iter()
        .map(|(name, _)| DomainMapping { name: (*name).to_owned(), ..DomainMapping::default() })
        .collect();
    let domains: Vec<Domain<'_>> = mappings
        .iter()
        .zip(seen)
        .map(|(mapping, (_, state))| {
            let mut domain = Domain::new(mapping, None, &target);
            (domain.state, domain.text) = (*state, "as seen".to_owned());
            domain
        })
        .collect();
    let mut outcome = Outcome::new(Action::Replaced, "now holds");
    conclude(level, &target.leaf, &domains, &mut outcome);
    outcome
}

fn shop() -> Certificate {
    maker().make("shop < CA names:shop.example.com,www.shop.example.com").read()
}

fn codes(outcome: &Outcome) -> Vec<Reason> {
    outcome.findings.iter().map(|f| f.reason).collect()
}

#[test]
fn what_the_domains_serve_decides_whether_it_is_served() {
    use Reason::{DomainUnreachable, NotServed};
    use State::{New, Old, Other, Unreachable};
    for (states, findings) in [
        (&[][..], &[][..]),
        (&[New], &[]),
        (&[Old], &[NotServed]),
        (&[Other, New], &[NotServed]),
        (&[Unreachable], &[DomainUnreachable]),
        (&[Unreachable, Old], &[NotServed, DomainUnreachable]),
    ] {
        let seen: Vec<_> = states.iter().map(|s| ("shop.example.com", *s)).collect();
        for level in [Probe::Warn, Probe::Require] {
            let outcome = concluded(level, shop(), &seen);
            let first = findings.first().copied();
            let reason = first.filter(|_| level == Probe::Require);
            assert_eq!(outcome.reason, reason, "{states:?} {level:?}");
            assert_eq!(codes(&outcome), findings, "{states:?}");
            assert_eq!(outcome.action, Action::Replaced);
        }
    }
}

#[test]
fn a_finding_names_the_domains_and_what_they_serve() {
    let seen = [
        ("shop.example.com", State::Old),
        ("*.Shop.example.com", State::New),
        ("WWW.Shop.Example.com", State::Other),
        ("d.example", State::Unreachable),
        ("e.example", State::Unreachable),
    ];
    let outcome = concluded(Probe::Warn, shop(), &seen);
    let texts: Vec<&str> = outcome.findings.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        texts,
        [
            "the certificate does not cover the domain mappings *.Shop.example.com, d.example, e.example: issue it with these names",
            "shop.example.com serves the previous certificate (as seen), WWW.Shop.Example.com serves another certificate (as seen)",
            "no TLS handshake with d.example (as seen), e.example (as seen)",
        ]
    );
    assert_eq!(codes(&outcome)[0], Reason::DomainNotCovered);
}

#[test]
fn ten_items_are_shown_and_the_rest_is_counted() {
    let items = |count: usize| (1..=count).map(|n| n.to_string()).collect::<Vec<String>>();
    for (count, expected) in [
        (0, None),
        (1, Some("1")),
        (10, Some("1, 2, 3, 4, 5, 6, 7, 8, 9, 10")),
        (11, Some("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... and 1 more")),
        (30, Some("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... and 20 more")),
    ] {
        assert_eq!(shown(&items(count)).as_deref(), expected);
    }
}

#[test]
fn what_an_ingress_or_a_browser_refuses_is_a_finding_if_a_domain_uses_it() {
    let (envoy, browsers) = ("Envoy before 1.33 refuses", "browsers refuse");
    for (key, expected) in [
        ("p256", None),
        ("rsa-2048", None),
        ("p384", Some(envoy)),
        ("p521", Some(envoy)),
        ("ed25519", Some(browsers)),
    ] {
        let leaf = maker().make(&format!("shop:{key}.pem < CA")).read();
        let kind = leaf.public_key.kind.to_string();
        assert!(codes(&concluded(Probe::Require, leaf.clone(), &[])).is_empty());
        let domain = (&*leaf.names[0].to_string(), State::New);
        let outcome = concluded(Probe::Require, leaf, &[domain]);
        assert_eq!(outcome.reason, None);
        let told = outcome.findings.first().map(|finding| {
            assert_eq!(finding.reason, Reason::KeyNotForIngress);
            finding.message.as_str()
        });
        assert_eq!(told.is_some(), expected.is_some(), "{kind}: {told:?}");
        let (told, expected) = (told.unwrap_or_default(), expected.unwrap_or_default());
        assert!(told.contains(expected), "{kind}: {told}");
    }
}

#[test]
fn a_minute_is_waited_and_no_longer() {
    for (elapsed, wait, last) in
        [(0, 500, false), (56_000, 4_000, false), (56_001, 4_000, true), (59_999, 4_000, true)]
    {
        let (elapsed, wait) = (Duration::from_millis(elapsed), Duration::from_millis(wait));
        assert_eq!(is_last(elapsed, wait), last, "{elapsed:?} {wait:?}");
    }
}

#[test]
fn each_wait_is_twice_as_long() {
    let mut wait = Duration::from_millis(1);
    for expected in [2, 4, 8] {
        pause(&mut wait);
        assert_eq!(wait, Duration::from_millis(expected));
    }
}
