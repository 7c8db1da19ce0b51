//! What was seen at the domains, and what it means, as truth tables.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;
use crate::cert::certificate::rfc3339;
use crate::cert::certificates;
use crate::report::Action;
use crate::sync::replace::Replaced;
use crate::sync::samples::{SHOP, config, issue, now, task};
use crate::sync::validate::Task;

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
        also_in: None,
        version: None,
        stopped: None,
    }
}

/// The outcome of a target, with what the report adds to it, in a run that began at `start`.
fn applied(report: DomainReport, start: Instant, level: Probe, synced: &Synced) -> Outcome {
    let stop = Stop::new(start, 120, Arc::new(AtomicBool::new(false)));
    let mut outcome = Outcome::new(Action::Replaced, "now holds");
    report.apply(&stop, now(), level, synced, &mut outcome);
    outcome
}

fn codes(findings: &[Finding]) -> Vec<Reason> {
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn what_the_domains_serve_decides_whether_it_is_in_effect() {
    use Reason::{
        DomainUnreachable as Unreachable, EffectUnknown, MappingsUnreadable as Unlisted, NotServed,
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
        (&[], true, true, warn, Some(EffectUnknown), &[Unlisted]),
        (
            &[New, Old],
            false,
            true,
            warn,
            Some(EffectUnknown),
            &[NotServed],
        ),
        (
            &[dead],
            false,
            true,
            require,
            Some(EffectUnknown),
            &[Unreachable],
        ),
    ] {
        let seen = states
            .iter()
            .map(|state| domain(SHOP_DOMAIN, *state, start, &synced));
        let report = DomainReport {
            unlisted: unlisted.then(|| "no answer".to_owned()),
            stopped: stopped.then(|| "interrupted".to_owned()),
            ..report_of(seen.collect())
        };
        let outcome = applied(report, start, level, &synced);
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
        unlisted: Some("no answer".to_owned()),
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
            "cannot list the domain mappings of the project: no answer",
            "a.example serves the previous certificate (as seen), c.example serves another certificate (as seen)",
            "no TLS handshake with d.example (as seen), e.example (as seen)",
        ]
    );
    assert!(report_of(Vec::new()).failures().is_empty());
}

#[test]
fn from_the_rotation_to_the_first_handshake() {
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    let synced = synced(Some(after(1_000)));
    let created = rfc3339(UnixTime::since_unix_epoch(Duration::from_secs(
        now().as_secs() - 100,
    )));
    let version = |serial: Option<&str>, created: Option<&str>| {
        Some(VersionMetadata {
            serial_number: serial.map(str::to_owned),
            created_at: created.map(str::to_owned),
        })
    };
    let same = || version(Some("01"), Some(&created));
    for (version, states, expected) in [
        // the earlier one of two
        (same(), [State::New, State::New], Some(107)),
        (same(), [State::Old, State::New], Some(109)),
        (same(), [State::Old, State::Unreachable], None),
        (
            version(Some("02"), Some(&created)),
            [State::New, State::New],
            None,
        ),
        (
            version(None, Some(&created)),
            [State::New, State::New],
            None,
        ),
        (version(Some("01"), None), [State::New, State::New], None),
        (
            version(Some("01"), Some("today")),
            [State::New, State::New],
            None,
        ),
        // another clock than ours
        (
            version(Some("01"), Some("2030-01-01T00:00:00Z")),
            [State::New, State::New],
            Some(0),
        ),
        (None, [State::New, State::New], None),
    ] {
        let domains = vec![
            domain(SHOP_DOMAIN, states[0], after(7_000), &synced),
            domain(SHOP_DOMAIN, states[1], after(9_250), &synced),
        ];
        let report = DomainReport {
            version,
            ..report_of(domains)
        };
        let outcome = applied(report, start, Probe::Warn, &synced);
        assert_eq!(outcome.rotation_to_served_s, expected, "{states:?}");
        // since the write
        let times = outcome.served.iter().map(|served| served.after_ms);
        assert_eq!(times.collect::<Vec<_>>(), [Some(6_000), Some(8_250)]);
    }
}

#[test]
fn a_rotation_is_timed_if_this_run_wrote_it_and_a_client_saw_it() {
    let start = Instant::now();
    let (written, unchanged) = (synced(Some(start)), synced(None));
    for (states, synced, expected) in [
        (&[State::New][..], &written, true),
        (&[State::Old, State::New], &written, true),
        (
            &[State::Old, State::Other, State::Unreachable],
            &written,
            false,
        ),
        (&[], &written, false),
        (&[State::New], &unchanged, false),
    ] {
        let domains = states
            .iter()
            .map(|state| domain(SHOP_DOMAIN, *state, start, synced));
        let report = report_of(domains.collect());
        assert_eq!(report.is_new_since_this_run(), expected, "{states:?}");
    }
    let seen = served(&domain("*.Shop.example.com", State::New, start, &unchanged));
    assert_eq!(
        (seen.domain.as_str(), seen.after_ms),
        ("*.Shop.example.com", None)
    );
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
        let outcome = applied(report_of(domains), start, Probe::Require, &synced);
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
            assert_eq!(finding.code, Reason::KeyNotForIngress);
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
            let outcome = applied(report_of(domains), start, Probe::Warn, &synced);
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
        assert_eq!(report.unlisted, None);
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

    let unlisted = listed(Err("no answer".to_owned()));
    let report = report(&target, synced, &unlisted, &config([one]));
    assert_eq!(report.unlisted.as_deref(), Some("no answer"));
    assert!(report.domains.is_empty());
}

#[test]
fn one_certificate_in_several_projects_of_a_region() {
    const BLOG: &str = "9b3a57d1-0c6e-4f82-8a4d-17e5c2f9063b";
    let here = task();
    let with = |change: fn(&mut Task)| {
        let mut task = task();
        task.tls_secret.project.id = Uuid::parse(BLOG).unwrap();
        change(&mut task);
        task
    };
    let there = with(|_| {});
    let other_secret = with(|task| task.secret = Uuid::parse(BLOG).unwrap());
    let other_region = with(|task| task.tls_secret.project.base = "https://us.example".to_owned());
    let same_project = task();
    let start = Instant::now();
    let synced = synced(None);
    for (other, domains, expected) in [
        (&there, [1, 1], true),
        (&there, [1, 0], false),
        (&there, [0, 1], false),
        (&there, [0, 0], false),
        (&other_secret, [1, 1], false),
        (&other_region, [1, 1], false),
        (&same_project, [1, 1], false),
    ] {
        let target = |task| Target {
            task,
            outcome: Outcome::new(Action::Unchanged, ""),
            synced: None,
        };
        let reports = domains.map(|count| {
            let domains = (0..count).map(|_| domain(SHOP_DOMAIN, State::New, start, &synced));
            report_of(domains.collect())
        });
        let (first, second) = (target(&here), target(other));
        let found = also_in(&[&first, &second], &reports);
        let project = |task: &Task| expected.then(|| task.tls_secret.project.id.clone());
        assert_eq!(found, [project(other), project(&here)], "{domains:?}");
    }
    let report = DomainReport {
        also_in: Some(there.tls_secret.project.id.clone()),
        ..report_of(Vec::new())
    };
    let outcome = applied(report, start, Probe::Require, &synced);
    assert_eq!(codes(&outcome.findings), [Reason::SeveralProjects]);
    assert!(outcome.findings[0].message.contains(BLOG));
    assert_eq!(outcome.reason, None);
}
