//! What was seen at the domains, and what it means, as truth tables.

use std::time::Instant;

use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;
use crate::cert::certificates;
use crate::report::Action;
use crate::sync::replace::Replaced;
use crate::sync::samples::{SHOP, config, issue, task};

const SHOP_DOMAIN: &str = "shop.example.com";

fn certificate(pem: &str) -> Certificate {
    certificates::from_pem(pem).remove(0).unwrap()
}

/// What the TLS secret holds; `written`: since when, if this run wrote it.
fn synced(written: Option<Instant>) -> Arc<Synced> {
    Arc::new(Synced {
        leaf: Arc::new(certificate(&issue(&SHOP).leaf)),
        chain_sha256: String::new(),
        replaced: written.map(|at| Replaced { leaf: None, at }),
    })
}

fn domain(name: &str, state: State, at: Instant, synced: &Arc<Synced>) -> Domain {
    let mut domain = Domain::new(name, None, Arc::clone(synced));
    domain.seen.state = state;
    domain.seen.at = at;
    domain.seen.text = "as seen".to_owned();
    domain
}

fn report_of(domains: Vec<Domain>) -> DomainReport {
    DomainReport {
        domains,
        unlisted: None,
        stopped: None,
    }
}

/// The outcome of a target, with what the report adds to it.
fn applied(report: DomainReport, level: Probe, synced: &Synced) -> Outcome {
    let mut outcome = Outcome::new(Action::Replaced, "now holds");
    report.apply(level, synced, &mut outcome);
    outcome
}

fn no_answer() -> Error {
    Error::new(Reason::CodeEngineUnavailable, "no answer")
}

fn codes(findings: &[Error]) -> Vec<Reason> {
    findings.iter().map(|finding| finding.reason).collect()
}

#[test]
fn what_the_domains_serve_decides_whether_it_is_in_effect() {
    use Reason::{
        CodeEngineUnavailable as Unlisted, DomainUnreachable as Unreachable, Interrupted, NotServed,
    };
    use State::{New, Old, Other};
    let start = Instant::now();
    let synced = synced(Some(start));
    let dead = State::Unreachable;
    let (warn, require) = (Probe::Warn, Probe::Require);
    for (states, unlisted, stopped, level, reason, findings) in [
        (&[New][..], false, false, require, None, &[][..]),
        (&[], false, false, require, None, &[]),
        (&[Old], false, false, warn, None, &[NotServed]),
        (&[Old], false, false, require, Some(NotServed), &[NotServed]),
        (
            &[Other, New],
            false,
            false,
            require,
            Some(NotServed),
            &[NotServed],
        ),
        (&[dead], false, false, warn, None, &[Unreachable]),
        (
            &[dead],
            false,
            false,
            require,
            Some(Unreachable),
            &[Unreachable],
        ),
        (
            &[dead, Old],
            false,
            false,
            require,
            Some(NotServed),
            &[NotServed, Unreachable],
        ),
        (&[], true, false, warn, None, &[Unlisted]),
        (&[], true, false, require, Some(Unlisted), &[Unlisted]),
        // an early end matters if it left something open
        (&[New], false, true, require, None, &[]),
        (&[], false, true, warn, None, &[]),
        (&[], true, true, warn, Some(Interrupted), &[Unlisted]),
        (
            &[New, Old],
            false,
            true,
            warn,
            Some(Interrupted),
            &[NotServed],
        ),
        (
            &[dead],
            false,
            true,
            require,
            Some(Interrupted),
            &[Unreachable],
        ),
    ] {
        let seen = states
            .iter()
            .map(|state| domain(SHOP_DOMAIN, *state, start, &synced));
        let report = DomainReport {
            unlisted: unlisted.then(no_answer),
            stopped: stopped.then(|| "interrupted".to_owned()),
            ..report_of(seen.collect())
        };
        let outcome = applied(report, level, &synced);
        let row = format!("{states:?} {unlisted} {stopped} {level:?}");
        assert_eq!(outcome.reason, reason, "{row}");
        assert_eq!(codes(&outcome.findings), findings, "{row}");
        assert_eq!(outcome.action, Action::Replaced);
        assert_eq!(outcome.message.contains("; "), reason.is_some(), "{row}");
        let served = outcome.served.iter().map(|served| served.state);
        assert_eq!(served.collect::<Vec<_>>(), states, "{row}");
    }
}

#[test]
fn a_finding_names_the_domains_and_what_they_serve() {
    let start = Instant::now();
    let synced = synced(None);
    let domain = |name, state| domain(name, state, start, &synced);
    let report = DomainReport {
        unlisted: Some(no_answer()),
        ..report_of(vec![
            domain("a.example", State::Old),
            domain("b.example", State::New),
            domain("c.example", State::Other),
            domain("d.example", State::Unreachable),
            domain("e.example", State::Unreachable),
        ])
    };
    let findings = report.failures();
    let texts: Vec<&str> = findings.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        texts,
        [
            "no answer",
            "a.example serves the previous certificate (as seen), c.example serves another certificate (as seen)",
            "no TLS handshake with d.example (as seen), e.example (as seen)",
        ]
    );
    assert!(report_of(Vec::new()).failures().is_empty());
}

#[test]
fn the_time_since_the_write_is_reported() {
    let start = Instant::now();
    let at = start + std::time::Duration::from_millis(6_000);
    for (written, expected) in [(Some(start), Some(6_000)), (None, None)] {
        let seen = served(&domain(
            "*.Shop.example.com",
            State::New,
            at,
            &synced(written),
        ));
        assert_eq!(
            (seen.domain.as_str(), seen.after_ms),
            ("*.Shop.example.com", expected)
        );
    }
}

#[test]
fn domains_that_the_certificate_does_not_cover() {
    let start = Instant::now();
    let synced = synced(None);
    for (domains, expected) in [
        (&[][..], None),
        (&[SHOP_DOMAIN, "WWW.Shop.Example.com"], None),
        (
            &[SHOP_DOMAIN, "blog.example.com"],
            Some("mappings blog.example.com: "),
        ),
        (
            &["example.com", "*.example.com"],
            Some("mappings example.com, *.example.com: "),
        ),
    ] {
        let domains = domains
            .iter()
            .map(|name| domain(name, State::New, start, &synced));
        let domains: Vec<Domain> = domains.collect();
        let finding = not_covered(&synced.leaf, &domains);
        assert_eq!(finding.is_some(), expected.is_some(), "{finding:?}");
        let outcome = applied(report_of(domains), Probe::Require, &synced);
        if let (Some(finding), Some(expected)) = (finding, expected) {
            assert!(finding.message.contains(expected), "{}", finding.message);
            assert_eq!(codes(&outcome.findings), [Reason::DomainNotCovered]);
        }
        assert_eq!(outcome.reason, None);
    }
}

#[test]
fn ten_items_are_shown_and_the_rest_is_counted() {
    let items = |count: usize| (1..=count).map(|n| n.to_string()).collect::<Vec<String>>();
    for (count, expected) in [
        (0, None),
        (1, Some("1")),
        (2, Some("1, 2")),
        (10, Some("1, 2, 3, 4, 5, 6, 7, 8, 9, 10")),
        (11, Some("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and 1 more")),
        (30, Some("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and 20 more")),
    ] {
        assert_eq!(shown(items(count)).as_deref(), expected);
    }
}

/// A self-signed certificate with this key.
fn with_key(key: &KeyPair, common_name: Option<&str>) -> Certificate {
    let mut params = CertificateParams::new(vec![SHOP_DOMAIN.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    certificate(&params.self_signed(key).unwrap().pem())
}

#[test]
fn what_an_ingress_or_a_browser_refuses() {
    let generate = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let p256 = generate(&rcgen::PKCS_ECDSA_P256_SHA256);
    let p384 = generate(&rcgen::PKCS_ECDSA_P384_SHA384);
    let p521 = generate(&rcgen::PKCS_ECDSA_P521_SHA512);
    let ed25519 = generate(&rcgen::PKCS_ED25519);
    let rsa_2048 = include_str!("../../tests/certificates/rsa-2048.pem");
    let rsa_2048 = KeyPair::from_pem(rsa_2048).unwrap();
    let rsa_1024 = include_str!("../../tests/certificates/leaf-rsa-1024.pem");
    let ed448 = include_str!("../../tests/certificates/leaf-ed448.pem");
    let secp256k1 = include_str!("../../tests/certificates/leaf-secp256k1.pem");
    let name = Some("shop");
    let common_name = "every Envoy refuses its empty common name";
    for (leaf, expected) in [
        (with_key(&p256, name), &[][..]),
        (with_key(&p256, None), &[]),
        (with_key(&rsa_2048, name), &[]),
        (certificate(secp256k1), &[]),
        (
            certificate(rsa_1024),
            &["every Envoy refuses its key (RSA 1024)"],
        ),
        (
            with_key(&p384, name),
            &["Envoy before 1.33 refuses its key"],
        ),
        (
            with_key(&p521, name),
            &["Envoy before 1.33 refuses its key"],
        ),
        (with_key(&ed25519, name), &["browsers refuse its key"]),
        (certificate(ed448), &["browsers refuse its key"]),
        (with_key(&p256, Some("")), &[common_name]),
        (
            with_key(&p384, Some("")),
            &["Envoy before 1.33 refuses its key", common_name],
        ),
    ] {
        let kind = leaf.key_kind().to_string();
        let finding = ingress_limits(&leaf);
        assert_eq!(
            finding.is_some(),
            !expected.is_empty(),
            "{kind}: {finding:?}"
        );
        let message = finding.map(|finding| {
            assert_eq!(finding.reason, Reason::KeyNotForIngress);
            finding.message
        });
        let message = message.unwrap_or_default();
        for text in expected {
            assert!(message.contains(text), "{kind}: {message}");
        }
        // only what domains use is a matter of an ingress
        let start = Instant::now();
        let synced = Arc::new(Synced {
            leaf: Arc::new(leaf),
            chain_sha256: String::new(),
            replaced: None,
        });
        for (domains, concerned) in [
            (vec![domain(SHOP_DOMAIN, State::New, start, &synced)], true),
            (Vec::new(), false),
        ] {
            let outcome = applied(report_of(domains), Probe::Warn, &synced);
            let found = codes(&outcome.findings).contains(&Reason::KeyNotForIngress);
            assert_eq!(found, concerned && !expected.is_empty(), "{kind}");
        }
    }
}

#[test]
fn the_domains_of_a_target_and_where_to_connect() {
    let task = task();
    let target = Target {
        task: &task,
        outcome: task.outcome(Action::Unchanged),
        synced: Some(synced(None)),
    };
    let mapping = |name: &str, secret: &str, cname_target: Option<&str>| DomainMapping {
        name: name.to_owned(),
        tls_secret: Some(secret.to_owned()),
        user_managed: true,
        cname_target: cname_target.map(str::to_owned),
    };
    let project = &task.tls_secret.project;
    let listed = |list| Mappings::from([((project.base.as_str(), &project.id), list)]);
    let mappings = listed(Ok(vec![
        mapping("a.example", "shop-tls", Some("ingress.example")),
        mapping("b.example", "blog-tls", Some("ingress.example")),
        mapping("c.example", "shop-tls", Some("")),
        mapping("d.example", "shop-tls", None),
    ]));
    let one = ("TLS_SECRET_NAME", "shop-tls");
    let synced = target.synced.as_ref().unwrap();
    let found = |config: &Config| -> Vec<(String, Option<(String, u16)>)> {
        let report = report(&target, synced, &mappings, config);
        assert!(report.unlisted.is_none());
        let domains = report.domains.into_iter();
        domains.map(|d| (d.name, d.address)).collect()
    };
    let to = |host: &str, port| Some((host.to_owned(), port));
    assert_eq!(
        found(&config([one])),
        [
            ("a.example".to_owned(), to("ingress.example", 443)),
            ("c.example".to_owned(), None),
            ("d.example".to_owned(), None),
        ]
    );
    let elsewhere = found(&config([one, ("PROBE_ADDRESS", "127.0.0.1:8443")]));
    assert!(
        elsewhere
            .iter()
            .all(|(_, address)| *address == to("127.0.0.1", 8443))
    );

    let unlisted = listed(Err(no_answer()));
    let report = report(&target, synced, &unlisted, &config([one]));
    assert!(report.unlisted.is_some());
    assert!(report.domains.is_empty());
}
