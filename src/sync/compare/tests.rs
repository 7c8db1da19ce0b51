//! The rules of the comparison as truth tables.

use std::cell::Cell;

use rustls_pki_types::CertificateDer;

use super::*;
use crate::cert::samples::{NOW, maker, stored};
use crate::sync::samples::{Issued, RENEWED, SHOP, Spec, bundle, deployed, issue};

/// Servers may read it.
const UNREADABLE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A comparison and the answers to its questions.
struct Case {
    old: Deployed,
    new: Bundle,
    domains: Result<Vec<&'static str>, Reason>,
    previous: Result<Option<&'static str>, Reason>,
    named_by_event: bool,
    undo: bool,
    force: Vec<Reason>,
    roots: Vec<CertificateDer<'static>>,
}

impl Case {
    fn of(old: &Spec, new: &Spec) -> Self {
        let issued = issue(old);
        Self::with(
            deployed(format!("{}{}", issued.leaf, issued.issuer), &issued.key),
            bundle(&issue(new), true),
        )
    }

    fn with(old: Deployed, new: Bundle) -> Self {
        Self {
            old,
            new,
            domains: Ok(Vec::new()),
            previous: Ok(None),
            named_by_event: false,
            undo: false,
            force: Vec::new(),
            roots: Vec::new(),
        }
    }

    /// The decision, and the questions that were asked.
    fn decision(&self) -> (Result<Decision, Error>, &'static str) {
        let asked = Cell::new((0, 0));
        let error = |reason: Reason| reason.error("no answer");
        let domains = || {
            asked.set((asked.get().0 + 1, asked.get().1));
            let domains = self.domains.as_ref().map_err(|reason| error(*reason))?;
            Ok(domains.iter().map(|domain| ServerName::dns(domain)).collect())
        };
        let previous_serial = || {
            asked.set((asked.get().0, asked.get().1 + 1));
            let serial = self.previous.as_ref().map_err(|reason| error(*reason))?;
            Ok(serial.map(str::to_owned))
        };
        let decision = compare(&Comparison {
            deployed: &self.old,
            bundle: &self.new,
            named_by_event: self.named_by_event,
            undo: self.undo,
            force: &self.force,
            further_roots: &self.roots,
            now: NOW,
            domains: &domains,
            previous_serial: &previous_serial,
        });
        let asked = match asked.get() {
            (0, 0) => "nothing",
            (1, 0) => "domains",
            (0, 1) => "previous",
            _ => "more",
        };
        (decision, asked)
    }

    /// `keep`, `write` with the codes of its findings, or `refuse` with its reason; and the
    /// questions that were asked.
    fn decide(&self) -> (String, String) {
        let (decision, asked) = self.decision();
        let decision = match decision {
            Ok(Decision::Keep) => "keep".to_owned(),
            Err(error) => format!("refuse {}", error.reason),
            Ok(Decision::Write(findings)) => {
                findings.iter().fold("write".to_owned(), |text, f| format!("{text} {}", f.reason))
            }
        };
        (decision, asked.to_owned())
    }

    /// What the report says about it.
    fn message(&self) -> String {
        match self.decision().0 {
            Ok(Decision::Keep) => String::new(),
            Err(error) => error.to_string(),
            Ok(Decision::Write(findings)) => {
                let messages: Vec<&str> = findings.iter().map(|f| f.message.as_str()).collect();
                messages.join("\n")
            }
        }
    }

    #[track_caller]
    fn expect(&self, decision: &str, asked: &str) {
        assert_eq!(self.decide(), (decision.to_owned(), asked.to_owned()));
    }
}

#[test]
fn a_renewal_is_written_without_a_question() {
    Case::of(&SHOP, &RENEWED).expect("write", "nothing");
}

#[test]
fn the_same_certificate_is_kept_only_in_a_form_that_everything_loads() {
    let issued = issue(&SHOP);
    let new = || bundle(&issued, true);
    let chain = new().certificate_pem();
    let key = new().key_pem.expose().to_owned();
    for (certificate, key, expected) in [
        (chain.clone(), key.clone(), "keep"),
        (chain.replace('\n', "\r\n"), key.clone(), "keep"),
        (chain.trim_end().to_owned(), key.clone(), "keep"),
        (format!("a comment\n{chain}"), key.clone(), "write"),
        (chain.replace("CERTIFICATE", "X509 CERTIFICATE"), key.clone(), "write"),
        (chain.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE-----\t"), key.clone(), "keep"),
        (chain.clone(), format!("a comment\n{key}"), "write"),
        // what cannot be read is not needed
        (format!("{chain}{UNREADABLE}"), key.clone(), "write"),
        // a hidden key cannot be told
        (chain.clone(), String::new(), "write"),
    ] {
        Case::with(deployed(certificate, &key), new()).expect(expected, "nothing");
    }
    let commented = deployed(format!("a comment\n{}", issued.leaf), &key);
    Case::with(commented, bundle(&issued, false)).expect("write", "nothing");
    // it may be the issuer that the new one lacks
    let longer = deployed(format!("{}{UNREADABLE}", issued.leaf), &key);
    Case::with(longer, bundle(&issued, false)).expect("keep", "nothing");
}

#[test]
fn what_does_not_serve_sets_no_baseline() {
    let one_name = Spec { names: &["shop.example.com"], ..RENEWED };
    let old = issue(&SHOP);
    let other = issue(&SHOP);
    let chain = format!("{}{}", old.leaf, old.issuer);
    let expired = issue(&Spec { valid: (-90, -1), ..SHOP });
    let early = issue(&Spec { valid: (1, 90), ..SHOP });
    for (certificate, key, expected) in [
        // it serves, as far as can be told
        (chain.clone(), old.key.as_str(), "refuse names-lost"),
        (chain.clone(), "", "refuse names-lost"),
        (chain.clone(), "********", "refuse names-lost"),
        (
            chain.clone(),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "refuse names-lost",
        ),
        (
            format!("{chain}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            old.key.as_str(),
            "refuse names-lost",
        ),
        // it does not
        (chain.clone(), other.key.as_str(), "write"),
        (expired.leaf, expired.key.as_str(), "write"),
        (early.leaf, early.key.as_str(), "write"),
        // nobody can tell
        (String::new(), old.key.as_str(), "write deployed-unreadable"),
        ("********".to_owned(), "********", "write deployed-unreadable"),
        (
            format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{chain}"),
            old.key.as_str(),
            "write deployed-unreadable",
        ),
    ] {
        let case = Case::with(deployed(certificate, key), bundle(&issue(&one_name), true));
        assert_eq!(case.decide().0, expected);
    }
}

#[test]
fn names_that_are_lost() {
    let case = |old, new, domains: Result<Vec<&'static str>, Reason>| Case {
        domains,
        ..Case::of(&Spec { names: old, ..SHOP }, &Spec { names: new, ..RENEWED })
    };
    let old = &["a.example.com", "b.example.com"];
    let new = &["b.example.com", "c.example.com"];
    case(old, new, Ok(vec![])).expect("refuse names-lost", "domains");
    case(old, new, Ok(vec!["a.example.com"])).expect("refuse names-lost", "domains");
    case(old, new, Ok(vec!["A.Example.com"])).expect("refuse names-lost", "domains");
    case(old, new, Ok(vec!["b.example.com"])).expect("write names-lost", "domains");
    // neither certificate covers it: the new one does not lose it
    case(old, new, Ok(vec!["d.example.com"])).expect("write names-lost", "domains");
    // a wildcard mapping needs every name below it
    case(old, new, Ok(vec!["*.example.com"])).expect("refuse names-lost", "domains");
    case(old, new, Ok(vec!["*.example.org"])).expect("write names-lost", "domains");
    case(&["*.example.com"], &["a.example.com"], Ok(vec!["b.example.com"]))
        .expect("refuse names-lost", "domains");
    case(&["*.example.com"], &["a.example.com"], Ok(vec!["a.example.com"]))
        .expect("write names-lost", "domains");
    case(old, &["*.example.com"], Ok(vec![])).expect("write", "nothing");
    case(old, new, Err(Reason::CodeEngineForbidden)).expect("refuse names-lost", "domains");
    let forced =
        Case { force: vec![Reason::NamesLost], ..case(old, new, Ok(vec!["a.example.com"])) };
    forced.expect("write names-lost", "nothing");
    let other_force =
        Case { force: vec![Reason::Older], ..case(old, new, Ok(vec!["a.example.com"])) };
    other_force.expect("refuse names-lost", "domains");
}

#[test]
fn what_is_said_about_lost_names() {
    let two = &["a.example.com", "b.example.com"];
    let ending = (-87, 2);
    let override_it = "or override this check once, manually";
    let lost = "the new certificate no longer covers a.example.com";
    for (valid, new, domains, force, expected) in [
        (
            SHOP.valid,
            &["b.example.com"][..],
            Ok(vec![]),
            vec![],
            format!(
                "{lost}; no domain mapping uses this TLS secret, so whether anyone needs them is unknown; issue it with all names, or delete the domain mappings that need them; {override_it}"
            ),
        ),
        (
            SHOP.valid,
            &["b.example.com", "c.example.com"],
            Ok(vec!["a.example.com", "b.example.com"]),
            vec![],
            format!(
                "{lost}, and newly covers c.example.com; domain mappings need a.example.com; issue it with all names, or delete the domain mappings that need them; {override_it}"
            ),
        ),
        (
            SHOP.valid,
            &["b.example.com"],
            Ok(vec!["b.example.com"]),
            vec![],
            format!("{lost}; no domain mapping needs them"),
        ),
        (
            SHOP.valid,
            &["b.example.com"],
            Err(Reason::CodeEngineForbidden),
            vec![],
            format!(
                "{lost}; whether a domain mapping needs one of them is unknown: no answer; issue it with all names, or delete the domain mappings that need them; {override_it}"
            ),
        ),
        (
            SHOP.valid,
            &["b.example.com"],
            Ok(vec![]),
            vec![Reason::NamesLost],
            format!("overridden by FORCE: {lost}"),
        ),
        (
            ending,
            &["b.example.com"],
            Ok(vec![]),
            vec![],
            format!(
                "{lost}; replaced anyway: the deployed certificate expires at 2027-07-03T00:00:00Z"
            ),
        ),
    ] {
        let old = Spec { names: two, valid, ..SHOP };
        let new = Spec { names: new, ..RENEWED };
        let case = Case { domains, force, ..Case::of(&old, &new) };
        assert_eq!(case.message(), expected);
    }
}

#[test]
fn a_message_shows_twenty_names() {
    let names: Vec<ServerName> = (1..=22).map(|n| ServerName::dns(&format!("n{n}"))).collect();
    let shown = |count| list(&names.iter().take(count).collect::<Vec<_>>());
    assert_eq!(shown(0), "");
    assert_eq!(shown(2), "n1, n2");
    for (count, end) in
        [(20, ", n19, n20"), (21, ", n19, n20, ... and 1 more"), (22, ", n19, n20, ... and 2 more")]
    {
        assert!(shown(count).ends_with(end), "{}", shown(count));
    }
}

/// Lifetime and what is left of it, in hours: a tenth, at least 25 hours or a quarter, at most three days.
#[test]
fn in_the_last_days_lost_names_are_a_finding() {
    let new = issue(&Spec { names: &["shop.example.com"], ..RENEWED });
    for (lifetime, left, last) in [
        (90 * 24, 72, false),
        (90 * 24, 71, true),
        (45 * 24, 72, false),
        (45 * 24, 71, true),
        // a tenth
        (20 * 24, 48, false),
        (20 * 24, 47, true),
        // a daily run meets 25 hours
        (160, 71, false),
        (160, 25, false),
        (160, 24, true),
        // a quarter
        (48, 12, false),
        (48, 11, true),
    ] {
        let issued = issue(&Spec { hours: Some((left - lifetime, left)), ..SHOP });
        let old = deployed(format!("{}{}", issued.leaf, issued.issuer), &issued.key);
        let case = Case::with(old, bundle(&new, true));
        let expected = match last {
            true => ("write names-lost", "nothing"),
            false => ("refuse names-lost", "domains"),
        };
        let (decision, asked) = case.decide();
        let found = (&*decision, &*asked);
        assert_eq!(found, expected, "{left} of {lifetime} hours");
    }
}

#[test]
fn a_public_certificate_stays_public() {
    let (private, public) = (SHOP, Spec { public: true, ..SHOP });
    let staging = Spec { issuer: "(STAGING)_Pretend_CA", ..public.clone() };
    let renewed = |spec: &Spec| Spec { valid: RENEWED.valid, serial: 2, ..spec.clone() };
    for (old, new, expected) in [
        (&public, &private, "refuse less-trusted"),
        (&public, &staging, "refuse less-trusted"),
        (&public, &public, "write"),
        (&private, &public, "write"),
        (&private, &private, "write"),
        (&staging, &private, "write"),
    ] {
        Case::of(old, &renewed(new)).expect(expected, "nothing");
    }
    let forced = Case { force: vec![Reason::LessTrusted], ..Case::of(&public, &renewed(&private)) };
    forced.expect("write less-trusted", "nothing");
    // what is overridden is this rule, and no other
    let one_name = Spec { names: &["shop.example.com"], ..renewed(&private) };
    for (new, force, expected) in [
        (&renewed(&private), vec![Reason::ChainShorter], "refuse less-trusted"),
        (&one_name, vec![Reason::LessTrusted], "refuse names-lost"),
        (&one_name, vec![Reason::LessTrusted, Reason::NamesLost], "write less-trusted names-lost"),
    ] {
        let case = Case { force, ..Case::of(&public, new) };
        assert_eq!(case.decide().0, expected);
    }
    // nor do the last days of the deployed certificate excuse it
    let ending = Spec { valid: (-88, 2), ..public };
    Case::of(&ending, &renewed(&private)).expect("refuse less-trusted", "nothing");
}

#[test]
fn a_chain_must_not_get_shorter() {
    let old = issue(&SHOP);
    let new = issue(&RENEWED);
    let with_chain = || deployed(format!("{}{}", old.leaf, old.issuer), &old.key);
    let alone = || deployed(old.leaf.clone(), &old.key);
    let shorter = Case::with(with_chain(), bundle(&new, false));
    shorter.expect("refuse chain-shorter", "nothing");
    let way_out = "; import it again together with its intermediate certificates; or override";
    assert!(shorter.message().contains(way_out), "{}", shorter.message());
    Case::with(with_chain(), bundle(&new, true)).expect("write", "nothing");
    Case::with(alone(), bundle(&new, false)).expect("write", "nothing");
    let unreadable = deployed(format!("{}{UNREADABLE}", old.leaf), &old.key);
    Case::with(unreadable, bundle(&new, false)).expect("refuse chain-shorter", "nothing");
    let forced =
        Case { force: vec![Reason::ChainShorter], ..Case::with(with_chain(), bundle(&new, false)) };
    forced.expect("write chain-shorter", "nothing");
    let other_force =
        Case { force: vec![Reason::LessTrusted], ..Case::with(with_chain(), bundle(&new, false)) };
    other_force.expect("refuse chain-shorter", "nothing");
    // fewer, and no gap
    let longer = deployed(format!("{}{}{}", old.leaf, old.issuer, new.issuer), &old.key);
    Case::with(longer, bundle(&new, true)).expect("write", "nothing");
    // what is missing is missing above the deployed chain, too
    let foreign = maker().make("Root < Root").pem;
    let issuer = format!("{}{foreign}", new.issuer);
    let damaged = Issued { leaf: new.leaf.clone(), issuer, key: new.key.clone() };
    let damaged = || bundle(&damaged, true);
    Case::with(with_chain(), damaged()).expect("refuse chain-shorter", "nothing");
    let same_issuer = deployed(format!("{}{}", old.leaf, new.issuer), &old.key);
    Case::with(same_issuer, damaged()).expect("write", "nothing");
    // its issuer is known as a root
    let issuer = Certificate::all_in(&new.issuer).remove(0).unwrap();
    let known: CertificateDer<'static> = issuer.der.clone();
    let known = Case { roots: vec![known], ..Case::with(with_chain(), bundle(&new, false)) };
    known.expect("write", "nothing");
    // in the last days of the deployed certificate
    let ending = issue(&Spec { valid: (-88, 2), ..SHOP });
    let ending = deployed(format!("{}{}", ending.leaf, ending.issuer), &ending.key);
    let ending = Case::with(ending, bundle(&new, false));
    ending.expect("write chain-shorter", "nothing");
    let message = ending.message();
    assert!(
        message.ends_with(
            "; replaced anyway: the deployed certificate expires at 2027-07-03T00:00:00Z"
        ),
        "{message}"
    );
}

#[test]
fn older_means_both_dates() {
    let valid = |valid| Spec { valid, serial: 2, ..SHOP };
    for (new, expected, asked) in [
        ((-20, 70), "refuse older", "previous"),
        ((-20, 80), "write", "nothing"),
        ((-20, 90), "write", "nothing"),
        ((-10, 70), "write", "nothing"),
        ((-5, 70), "write", "nothing"),
        ((-5, 90), "write", "nothing"),
    ] {
        Case::of(&SHOP, &valid(new)).expect(expected, asked);
    }
    // the last days of the deployed certificate are no excuse
    let ending = Spec { valid: (-88, 2), ..SHOP };
    Case::of(&ending, &valid((-89, 1))).expect("refuse older", "previous");
    let older = || Case::of(&SHOP, &valid((-20, 70)));
    let previous = |previous| Case { previous, ..older() };
    // Secrets Manager's own notation of serial number 1
    previous(Ok(Some("01"))).expect("write older", "previous");
    previous(Ok(Some("02"))).expect("refuse older", "previous");
    previous(Ok(None)).expect("refuse older", "previous");
    previous(Err(Reason::SecretsManagerUnavailable)).expect("refuse older", "previous");
    let undo = Case { undo: true, ..older() };
    undo.expect("write older", "nothing");
    let forced = Case { force: vec![Reason::Older], ..older() };
    forced.expect("write older", "nothing");
}

#[test]
fn a_certificate_that_only_the_event_names_must_cover_everything() {
    let named = |case: Case| Case { named_by_event: true, ..case };
    named(Case::of(&SHOP, &RENEWED)).expect("write", "nothing");
    let one_name = Spec { names: &["shop.example.com"], ..RENEWED };
    named(Case::of(&SHOP, &one_name)).expect("refuse names-lost", "nothing");
    let expired = Spec { valid: (-90, -1), ..SHOP };
    named(Case::of(&expired, &one_name)).expect("refuse names-lost", "nothing");
    let unreadable = Case::with(deployed(String::new(), ""), bundle(&issue(&SHOP), true));
    named(unreadable).expect("refuse names-lost", "nothing");
}

/// A quarter of the leaf's lifetime, at most 24 days if it is public, otherwise 14. Times in hours.
#[test]
fn an_end_that_is_near_is_a_finding() {
    let day = 24;
    for (public, lifetime, left, soon) in [
        (false, 90 * day, 14 * day, false),
        (false, 90 * day, 14 * day - 1, true),
        (false, 20 * day, 5 * day, false),
        (false, 20 * day, 5 * day - 1, true),
        (true, 200 * day, 24 * day, false),
        (true, 200 * day, 24 * day - 1, true),
        (true, 160, 159, false),
        (true, 160, 40, false),
        (true, 160, 39, true),
    ] {
        let spec = Spec { public, hours: Some((left - lifetime, left)), ..SHOP };
        let found = expires_soon(&bundle(&issue(&spec), true), NOW);
        assert_eq!(found.is_some(), soon, "{public} {left} of {lifetime} hours");
    }
    // the first end in the chain counts, whose ever it is
    let mut maker = maker();
    let leaf = maker.make("shop < CA until:10d");
    for (issuer, told) in [
        (
            "CA < Root until:9d",
            "the intermediate certificate CN=CA expires at 2027-07-10T00:00:00Z (9 days left)",
        ),
        (
            "CA < Root until:11d",
            "the certificate in Secrets Manager expires at 2027-07-11T00:00:00Z (10 days left)",
        ),
    ] {
        let issuer = maker.make(issuer).pem;
        let issued = Issued { leaf: leaf.pem.clone(), issuer, key: leaf.key.clone() };
        let found = expires_soon(&bundle(&issued, true), NOW).unwrap();
        assert!(found.message.starts_with(told), "{}", found.message);
    }
}

/// A certificate with a fault is refused, unless the deployed one serves with the same.
#[test]
fn a_fault_is_excused_by_the_same_one_deployed() {
    use crate::secret::Secret;
    use crate::sync::assemble::assemble;
    use crate::sync::fetch::Material;
    let file = |name: &str| stored(&format!("cases/{name}"));
    let key = file("keys/p256");
    let chain = |name: &str| file(name) + &file("envoy/intermediate");
    let (staple, usage) = (chain("envoy/leaf-must-staple"), chain("envoy/leaf-ec-key-agreement"));
    let sound = file("deployed/plain");
    let small_ca = file("small-ca/leaf") + &file("small-ca/intermediate-rsa1024");
    for (new, old, expected) in [
        (&staple, String::new(), "refuse"),
        (&staple, sound.clone(), "refuse"),
        (&staple, usage.clone(), "refuse"),
        (&staple, staple.clone(), "find"),
        (&usage, usage.clone(), "find"),
        (&sound, staple.clone(), "pass"),
        (&small_ca, sound.clone(), "refuse"),
        (&small_ca, small_ca.clone(), "find"),
    ] {
        let material = Material {
            name: "shop".to_owned(),
            certificates: vec![("certificate".to_owned(), new.clone())],
            key: Secret::new(key.clone()),
            updated_at: None,
        };
        let bundle = assemble(&material, NOW).unwrap();
        let deployed = |key: &str| deployed(old.clone(), key);
        let found = |key: &str| match faults(&deployed(key), &bundle, NOW) {
            Err(error) => {
                assert_eq!(error.reason, Reason::Unfit);
                "refuse"
            }
            Ok(findings) if findings.is_empty() => "pass",
            Ok(findings) => {
                assert_eq!(findings[0].reason, Reason::Unfit);
                "find"
            }
        };
        assert_eq!(found(&key), expected, "{:?} over {old}", bundle.faults);
        // the comparison asks first
        let decision = compare(&Comparison {
            deployed: &deployed(&key),
            bundle: &bundle,
            named_by_event: false,
            undo: false,
            force: &Reason::FORCEABLE,
            further_roots: &[],
            now: NOW,
            domains: &|| Ok(Vec::new()),
            previous_serial: &|| Ok(None),
        });
        let refused = decision.is_err_and(|error| error.reason == Reason::Unfit);
        assert_eq!(refused, expected == "refuse", "{old}");
        // what does not serve excuses nothing
        let other = file("keys/rsa2048");
        assert_eq!(found(&other) == "pass", expected == "pass");
    }
}
