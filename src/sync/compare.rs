//! Never worse than what serves: may the new certificate take the place of the deployed one?
//!
//! Belongs here: the rules, as pure functions. What only some of them need to know comes from two
//! closures, which are called only then. Does not: requests (`replace.rs`).
//!
//! A refusal must not become the outage: in the last days of the deployed certificate, lost names and
//! a shorter chain are only findings.

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, rfc3339, same_serial};
use crate::cert::names::{ServerName, lost, needed};
use crate::cert::roots::Roots;
use crate::error::{Error, ExitStatus, Finding, Reason, error};
use crate::sync::assemble::Bundle;
use crate::sync::deployed::{Deployed, Serves};

const DAY: u64 = 24 * 60 * 60;
/// Before the end of the deployed certificate: lost names and a shorter chain no longer block the
/// replacement.
const LAST_DAYS: u64 = 3 * DAY;
/// Secrets Manager renews public certificates from 31 days before their end, and tries daily: with
/// fewer days left a week of attempts has failed.
const PUBLIC_TOO_LATE: u64 = 24 * DAY;
/// Others are late in the last fifth of their lifetime, at most in its last two weeks.
const OTHERS_TOO_LATE: u64 = 14 * DAY;
/// Names in a message.
const SHOWN_NAMES: usize = 20;
/// The reasons that `FORCE` overrides: those that compare, never those that reject a certificate.
pub(crate) const FORCEABLE: [Reason; 4] = [
    Reason::NamesLost,
    Reason::LessTrusted,
    Reason::ChainShorter,
    Reason::Older,
];

/// What is compared.
pub(crate) struct Comparison<'a> {
    pub(crate) deployed: &'a Deployed,
    pub(crate) bundle: &'a Bundle,
    /// Only the event says that the two belong together.
    pub(crate) named_by_event: bool,
    /// The previous version was asked for.
    pub(crate) undo: bool,
    /// The reasons that a person overrides.
    pub(crate) force: &'a [Reason],
    pub(crate) roots: &'a Roots,
    pub(crate) now: UnixTime,
}

/// What some rules need to know, fetched when one asks. An error of exit status 9 ends the run; any
/// other means that the question stays open.
pub(crate) struct Facts<'a> {
    /// The domains that are served with the TLS secret.
    pub(crate) domains: &'a dyn Fn() -> Result<Vec<String>, Error>,
    /// The serial number of the version before the current one.
    pub(crate) previous_serial: &'a dyn Fn() -> Result<Option<String>, Error>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The TLS secret is in line.
    Keep,
    /// Replace it, and report this.
    Write(Vec<Finding>),
    /// Leave it unchanged.
    Refuse(Error),
}

/// What one rule says.
enum Verdict {
    Pass,
    Finding(String),
    /// Why not, and what to do about it.
    Refuse(String, &'static str),
    /// The run is over.
    Stopped(Error),
}

/// Compares and decides.
pub(crate) fn compare(case: &Comparison<'_>, facts: &Facts<'_>) -> Decision {
    if case.deployed.is_same(case.bundle) {
        // the same certificate in a form that some servers do not load: writing it cannot be worse
        return match case.deployed.is_canonical(case.bundle) {
            true => Decision::Keep,
            false => Decision::Write(Vec::new()),
        };
    }
    if case.named_by_event
        && let Some(refusal) = not_covered(case)
    {
        return Decision::Refuse(refusal);
    }
    let baseline = match case.deployed.serves(case.now) {
        Serves::Yes(leaf) => leaf,
        Serves::No => return Decision::Write(Vec::new()),
        Serves::CannotTell => {
            return Decision::Write(vec![Finding::new(
                Reason::DeployedUnreadable,
                "the TLS secret held no readable certificate, so the new one could not be compared with it",
            )]);
        }
    };
    // rules that need no request come first
    let rules: [(Reason, Rule); 4] = [
        (Reason::LessTrusted, less_trusted),
        (Reason::ChainShorter, chain_shorter),
        (Reason::NamesLost, names_lost),
        (Reason::Older, older),
    ];
    let mut findings = Vec::new();
    for (reason, rule) in rules {
        let forced = case.force.contains(&reason);
        match rule(case, baseline, facts, forced) {
            Verdict::Pass => {}
            Verdict::Finding(message) => findings.push(Finding::new(reason, message)),
            Verdict::Refuse(message, _) if forced => findings.push(Finding::new(
                reason,
                format!("overridden by FORCE: {message}"),
            )),
            Verdict::Refuse(message, way_out) => {
                return Decision::Refuse(
                    error!(reason, "{message}")
                        .hint(format!("{way_out}; or override this check once, manually")),
                );
            }
            Verdict::Stopped(error) => return Decision::Refuse(error),
        }
    }
    Decision::Write(findings)
}

/// The last argument says that the reason is forced: then no question is worth a request.
type Rule = fn(&Comparison<'_>, &Certificate, &Facts<'_>, bool) -> Verdict;

/// Only an event says that this certificate belongs here: then it must cover every name of the
/// deployed one, expired or not.
fn not_covered(case: &Comparison<'_>) -> Option<Error> {
    const SET: &str = "set SECRET_ID, so that no event decides which certificate this is";
    let name = &case.bundle.name;
    let Some(leaf) = case.deployed.leaf() else {
        return Some(
            error!(
                Reason::NamesLost,
                "only the event says that {name} belongs here, and the TLS secret holds no readable certificate to compare it with"
            )
            .hint(SET),
        );
    };
    let lost = lost(&leaf.names, &case.bundle.leaf.names);
    (!lost.is_empty()).then(|| {
        error!(
            Reason::NamesLost,
            "only the event says that {name} belongs here, and it does not cover {}",
            list(&lost)
        )
        .hint(SET)
    })
}

/// The deployed leaf is publicly trusted, the new one is not.
fn less_trusted(case: &Comparison<'_>, baseline: &Certificate, _: &Facts<'_>, _: bool) -> Verdict {
    let deployed = is_public(baseline, &case.deployed.certificates);
    let new = is_public(&case.bundle.leaf, &case.bundle.intermediates);
    if !deployed || new {
        return Verdict::Pass;
    }
    Verdict::Refuse(
        format!(
            "the deployed certificate (serial {}, issued by {}) is publicly trusted, the new one (serial {}, issued by {}) is not",
            baseline.serial,
            baseline.issuer_text,
            case.bundle.leaf.serial,
            case.bundle.leaf.issuer_text
        ),
        "issue it by a public CA; a staging CA is for tests",
    )
}

/// SCTs (Certificate Transparency) are what only a publicly trusted CA has a reason to embed, and
/// unlike a built-in root store they do not age. Let's Encrypt's staging CAs say what they are.
fn is_public(leaf: &Certificate, chain: &[Certificate]) -> bool {
    leaf.has_stamps
        && !std::iter::once(leaf)
            .chain(chain)
            .any(|c| c.issuer_text.contains("(STAGING)"))
}

/// The new chain has a gap, and fewer intermediates than the deployed one.
fn chain_shorter(case: &Comparison<'_>, baseline: &Certificate, _: &Facts<'_>, _: bool) -> Verdict {
    let bundle = case.bundle;
    let deployed = case.deployed.certificates.len().saturating_sub(1);
    if bundle.intermediates.len() >= deployed
        || bundle.gap.is_none()
        || case.roots.reached_by(bundle.top())
    {
        return Verdict::Pass;
    }
    let message = format!(
        "the deployed certificate has {deployed} intermediate certificates, the new one (serial {}, issued by {}) has {}, and no known root signed the last of its chain",
        bundle.leaf.serial,
        bundle.leaf.issuer_text,
        bundle.intermediates.len()
    );
    if in_its_last_days(baseline, case.now) {
        return Verdict::Finding(format!("{message}; {}", last_days(baseline)));
    }
    Verdict::Refuse(
        message,
        "import it again together with its intermediate certificates",
    )
}

/// A name is no longer covered. A retired name must not stop a rotation, only one that a domain
/// mapping needs.
fn names_lost(
    case: &Comparison<'_>,
    baseline: &Certificate,
    facts: &Facts<'_>,
    forced: bool,
) -> Verdict {
    let new = &case.bundle.leaf;
    let lost_names = lost(&baseline.names, &new.names);
    if lost_names.is_empty() {
        return Verdict::Pass;
    }
    let gained = lost(&new.names, &baseline.names);
    let mut message = format!("the new certificate no longer covers {}", list(&lost_names));
    if !gained.is_empty() {
        message.push_str(&format!(", and newly covers {}", list(&gained)));
    }
    if in_its_last_days(baseline, case.now) {
        return Verdict::Finding(format!("{message}; {}", last_days(baseline)));
    }
    let way_out = "issue it with all names";
    if forced {
        return Verdict::Refuse(message, way_out);
    }
    let domains = match (facts.domains)() {
        Ok(domains) => domains,
        Err(error) if is_over(&error) => return Verdict::Stopped(error),
        Err(error) => {
            return Verdict::Refuse(
                format!(
                    "{message}; whether a domain mapping needs one of them is unknown: {error}"
                ),
                way_out,
            );
        }
    };
    if domains.is_empty() {
        return Verdict::Refuse(
            format!(
                "{message}; no domain mapping uses this TLS secret, so whether anyone needs them is unknown"
            ),
            way_out,
        );
    }
    let domains: Vec<ServerName> = domains.iter().map(|d| ServerName::dns(d)).collect();
    let needed = needed(&domains, &lost_names, &new.names);
    if needed.is_empty() {
        return Verdict::Finding(format!("{message}; no domain mapping needs them"));
    }
    Verdict::Refuse(
        format!("{message}; domain mappings need {}", list(&needed)),
        "issue it with these names, or delete the domain mappings",
    )
}

/// Both dates are earlier. Secrets Manager may have gone back on purpose (a version was restored),
/// or somebody deployed a newer certificate manually in an emergency: the previous version shows
/// which.
fn older(
    case: &Comparison<'_>,
    baseline: &Certificate,
    facts: &Facts<'_>,
    forced: bool,
) -> Verdict {
    let new = &case.bundle.leaf;
    if new.not_before >= baseline.not_before || new.not_after >= baseline.not_after {
        return Verdict::Pass;
    }
    let message = format!(
        "the new certificate (serial {}, {} to {}) is older than the deployed one (serial {}, {} to {})",
        new.serial,
        rfc3339(new.not_before),
        rfc3339(new.not_after),
        baseline.serial,
        rfc3339(baseline.not_before),
        rfc3339(baseline.not_after)
    );
    if case.undo {
        return Verdict::Finding(format!("{message}: the previous version was asked for"));
    }
    let way_out = "rotate it in Secrets Manager, or import there what was deployed manually";
    if forced {
        return Verdict::Refuse(message, way_out);
    }
    match (facts.previous_serial)() {
        Ok(Some(serial)) if same_serial(&serial, &baseline.serial) => Verdict::Finding(format!(
            "{message}; that was the previous version: Secrets Manager went back on purpose"
        )),
        Ok(_) => Verdict::Refuse(
            format!("{message}, which was not the previous version: somebody deployed it manually"),
            way_out,
        ),
        Err(error) if is_over(&error) => Verdict::Stopped(error),
        Err(error) => Verdict::Refuse(
            format!("{message}; the previous version is unknown: {error}"),
            way_out,
        ),
    }
}

fn is_over(error: &Error) -> bool {
    error.exit_status() == ExitStatus::Stopped
}

fn in_its_last_days(baseline: &Certificate, now: UnixTime) -> bool {
    baseline.not_after.as_secs().saturating_sub(now.as_secs()) < LAST_DAYS
}

fn last_days(baseline: &Certificate) -> String {
    format!(
        "replaced anyway: the deployed certificate expires at {}",
        rfc3339(baseline.not_after)
    )
}

fn list(names: &[&ServerName]) -> String {
    let mut shown: Vec<String> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(ToString::to_string)
        .collect();
    if let Some(more @ 1..) = names.len().checked_sub(SHOWN_NAMES) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// Findings that apply whether or not the TLS secret is replaced.
pub(crate) fn permanent_findings(bundle: &Bundle, roots: &Roots, now: UnixTime) -> Vec<Finding> {
    let leaf = &bundle.leaf;
    let is_public = is_public(leaf, &bundle.intermediates);
    let mut findings = Vec::new();
    let left = leaf.not_after.as_secs().saturating_sub(now.as_secs());
    let lifetime = leaf
        .not_after
        .as_secs()
        .saturating_sub(leaf.not_before.as_secs());
    let too_late = if is_public {
        PUBLIC_TOO_LATE
    } else {
        OTHERS_TOO_LATE.min(lifetime / 5)
    };
    if left < too_late {
        findings.push(Finding::new(
            Reason::ExpiresSoon,
            format!(
                "the certificate in Secrets Manager expires at {} ({} days left) and should have been renewed: check its state there",
                rfc3339(leaf.not_after),
                left / DAY
            ),
        ));
    }
    if is_public && !roots.reached_by(bundle.top()) {
        findings.push(Finding::new(
            Reason::UnknownRoot,
            format!(
                "the chain ends with {}, issued by {}, which is not among {}",
                bundle.top().subject_text,
                bundle.top().issuer_text,
                roots.age()
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    };
    use rustls_pki_types::CertificateDer;

    use super::*;
    use crate::cert::pem;
    use crate::ibm::code_engine::TlsSecret;
    use crate::secret::Secret;
    use crate::sync::assemble::assemble;
    use crate::sync::fetch::Material;

    /// 2026-07-27, in days since the Unix epoch.
    const TODAY: i64 = 20_661;

    fn since_the_epoch(day: i64) -> Duration {
        Duration::from_secs(u64::try_from(day).unwrap() * DAY)
    }

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(since_the_epoch(TODAY))
    }

    /// Begin and end, in days from today.
    fn lasting(params: &mut CertificateParams, (begin, end): (i64, i64)) {
        let day = |day| rcgen::date_time_ymd(1970, 1, 1) + since_the_epoch(TODAY + day);
        (params.not_before, params.not_after) = (day(begin), day(end));
    }

    /// A certificate to be issued.
    #[derive(Clone)]
    struct Spec {
        names: &'static [&'static str],
        /// Days before and after today.
        valid: (i64, i64),
        public: bool,
        issuer: &'static str,
        serial: u8,
    }

    const SHOP: Spec = Spec {
        names: &["shop.example.com", "www.shop.example.com"],
        valid: (-10, 80),
        public: false,
        issuer: "Issuing CA",
        serial: 1,
    };

    struct Issued {
        leaf: String,
        issuer: String,
        key: String,
    }

    /// One CA for all: a leaf with its issuer, both in PEM.
    fn issue(spec: &Spec) -> Issued {
        let key = KeyPair::generate().unwrap();
        let issuer_key = KeyPair::generate().unwrap();
        let mut issuer = CertificateParams::default();
        issuer
            .distinguished_name
            .push(DnType::CommonName, spec.issuer);
        issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        lasting(&mut issuer, (-1000, 1000));
        // signed by a root that is not part of the material
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, "Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = Issuer::new(root, root_key);
        let issuer_pem = issuer.signed_by(&issuer_key, &root).unwrap();

        let names: Vec<String> = spec.names.iter().map(|name| (*name).to_owned()).collect();
        let mut leaf = CertificateParams::new(names).unwrap();
        leaf.serial_number = Some(vec![spec.serial].into());
        lasting(&mut leaf, spec.valid);
        if spec.public {
            let scts = CustomExtension::from_oid_content(
                &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2],
                vec![4, 2, 0, 0],
            );
            leaf.custom_extensions.push(scts);
        }
        let issuer = Issuer::new(issuer, issuer_key);
        Issued {
            leaf: leaf.signed_by(&key, &issuer).unwrap().pem(),
            issuer: issuer_pem.pem(),
            key: key.serialize_pem(),
        }
    }

    fn bundle(issued: &Issued, with_issuer: bool) -> Bundle {
        let mut certificates = vec![("certificate", issued.leaf.clone())];
        if with_issuer {
            certificates.push(("intermediate", issued.issuer.clone()));
        }
        let material = Material {
            name: "shop".to_owned(),
            certificates,
            key: Secret::from(issued.key.clone()),
        };
        assemble(&material, now()).unwrap()
    }

    fn deployed(certificate: String, key: &str) -> Deployed {
        Deployed::of(TlsSecret {
            name: None,
            project_id: None,
            format: "tls".to_owned(),
            generated_by: None,
            certificate,
            key: Secret::from(key.to_owned()),
            entity_tag: None,
        })
    }

    /// A comparison and the answers to its questions.
    struct Case {
        old: Deployed,
        new: Bundle,
        domains: Result<Vec<&'static str>, Reason>,
        previous: Result<Option<&'static str>, Reason>,
        named_by_event: bool,
        undo: bool,
        force: Vec<Reason>,
        roots: Roots,
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
                roots: Roots::new(Vec::new()),
            }
        }

        /// `keep`, `write` with the codes of its findings, or `refuse` with its reason; and the
        /// questions that were asked.
        fn decide(&self) -> (String, String) {
            let asked = Cell::new((0, 0));
            let error = |reason| Error::new(reason, anyhow::anyhow!("no answer"));
            let domains = || {
                asked.set((asked.get().0 + 1, asked.get().1));
                let domains = self.domains.as_ref().map_err(|reason| error(*reason))?;
                Ok(domains.iter().map(|domain| (*domain).to_owned()).collect())
            };
            let previous_serial = || {
                asked.set((asked.get().0, asked.get().1 + 1));
                let serial = self.previous.as_ref().map_err(|reason| error(*reason))?;
                Ok(serial.map(str::to_owned))
            };
            let decision = compare(
                &Comparison {
                    deployed: &self.old,
                    bundle: &self.new,
                    named_by_event: self.named_by_event,
                    undo: self.undo,
                    force: &self.force,
                    roots: &self.roots,
                    now: now(),
                },
                &Facts {
                    domains: &domains,
                    previous_serial: &previous_serial,
                },
            );
            let decision = match decision {
                Decision::Keep => "keep".to_owned(),
                Decision::Refuse(error) => format!("refuse {}", error.reason),
                Decision::Write(findings) => findings
                    .iter()
                    .fold("write".to_owned(), |text, f| format!("{text} {}", f.code)),
            };
            let asked = match asked.get() {
                (0, 0) => "nothing",
                (1, 0) => "domains",
                (0, 1) => "previous",
                _ => "more",
            };
            (decision, asked.to_owned())
        }

        #[track_caller]
        fn expect(&self, decision: &str, asked: &str) {
            assert_eq!(self.decide(), (decision.to_owned(), asked.to_owned()));
        }
    }

    const RENEWED: Spec = Spec {
        valid: (-1, 89),
        serial: 2,
        ..SHOP
    };

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
            (
                chain.replace("CERTIFICATE", "X509 CERTIFICATE"),
                key.clone(),
                "write",
            ),
            (
                chain.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE-----\t"),
                key.clone(),
                "keep",
            ),
            (chain.clone(), format!("a comment\n{key}"), "write"),
            // a hidden key cannot be told
            (chain.clone(), String::new(), "write"),
        ] {
            Case::with(deployed(certificate, &key), new()).expect(expected, "nothing");
        }
    }

    #[test]
    fn what_does_not_serve_sets_no_baseline() {
        let one_name = Spec {
            names: &["shop.example.com"],
            ..RENEWED
        };
        let old = issue(&SHOP);
        let other = issue(&SHOP);
        let chain = format!("{}{}", old.leaf, old.issuer);
        let expired = issue(&Spec {
            valid: (-90, -1),
            ..SHOP
        });
        let early = issue(&Spec {
            valid: (1, 90),
            ..SHOP
        });
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
            (
                "********".to_owned(),
                "********",
                "write deployed-unreadable",
            ),
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
            ..Case::of(
                &Spec { names: old, ..SHOP },
                &Spec {
                    names: new,
                    ..RENEWED
                },
            )
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
        case(
            &["*.example.com"],
            &["a.example.com"],
            Ok(vec!["b.example.com"]),
        )
        .expect("refuse names-lost", "domains");
        case(
            &["*.example.com"],
            &["a.example.com"],
            Ok(vec!["a.example.com"]),
        )
        .expect("write names-lost", "domains");
        case(old, &["*.example.com"], Ok(vec![])).expect("write", "nothing");
        case(old, new, Err(Reason::CodeEngineForbidden)).expect("refuse names-lost", "domains");
        case(old, new, Err(Reason::DeadlineReached)).expect("refuse deadline-reached", "domains");
        let forced = Case {
            force: vec![Reason::NamesLost],
            ..case(old, new, Ok(vec!["a.example.com"]))
        };
        forced.expect("write names-lost", "nothing");
        let other_force = Case {
            force: vec![Reason::Older],
            ..case(old, new, Ok(vec!["a.example.com"]))
        };
        other_force.expect("refuse names-lost", "domains");
    }

    #[test]
    fn in_the_last_three_days_lost_names_are_a_finding() {
        for (days, expected) in [(3, "refuse names-lost"), (2, "write names-lost")] {
            let old = Spec {
                valid: (-87, days),
                ..SHOP
            };
            let new = Spec {
                names: &["shop.example.com"],
                ..RENEWED
            };
            assert_eq!(Case::of(&old, &new).decide().0, expected, "{days} days");
        }
    }

    #[test]
    fn a_public_certificate_stays_public() {
        let (private, public) = (
            SHOP,
            Spec {
                public: true,
                ..SHOP
            },
        );
        let staging = Spec {
            issuer: "(STAGING) Pretend CA",
            ..public.clone()
        };
        let renewed = |spec: &Spec| Spec {
            valid: RENEWED.valid,
            serial: 2,
            ..spec.clone()
        };
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
        let forced = Case {
            force: vec![Reason::LessTrusted],
            ..Case::of(&public, &renewed(&private))
        };
        forced.expect("write less-trusted", "nothing");
    }

    #[test]
    fn a_chain_must_not_get_shorter() {
        let old = issue(&SHOP);
        let new = issue(&RENEWED);
        let with_chain = || deployed(format!("{}{}", old.leaf, old.issuer), &old.key);
        let alone = || deployed(old.leaf.clone(), &old.key);
        Case::with(with_chain(), bundle(&new, false)).expect("refuse chain-shorter", "nothing");
        Case::with(with_chain(), bundle(&new, true)).expect("write", "nothing");
        Case::with(alone(), bundle(&new, false)).expect("write", "nothing");
        let forced = Case {
            force: vec![Reason::ChainShorter],
            ..Case::with(with_chain(), bundle(&new, false))
        };
        forced.expect("write chain-shorter", "nothing");
        // its issuer is known as a root
        let issuer = pem::certificates(&new.issuer).remove(0).unwrap();
        let known: CertificateDer<'static> = issuer.der.clone();
        let known = Case {
            roots: Roots::new(vec![known]),
            ..Case::with(with_chain(), bundle(&new, false))
        };
        known.expect("write", "nothing");
        // in the last days of the deployed certificate
        let ending = issue(&Spec {
            valid: (-88, 2),
            ..SHOP
        });
        let ending = deployed(format!("{}{}", ending.leaf, ending.issuer), &ending.key);
        Case::with(ending, bundle(&new, false)).expect("write chain-shorter", "nothing");
    }

    #[test]
    fn older_means_both_dates() {
        let valid = |valid| Spec {
            valid,
            serial: 2,
            ..SHOP
        };
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
        let older = || Case::of(&SHOP, &valid((-20, 70)));
        let previous = |previous| Case {
            previous,
            ..older()
        };
        // Secrets Manager's own notation of serial number 1
        previous(Ok(Some("01"))).expect("write older", "previous");
        previous(Ok(Some("02"))).expect("refuse older", "previous");
        previous(Ok(None)).expect("refuse older", "previous");
        previous(Err(Reason::SecretsManagerUnavailable)).expect("refuse older", "previous");
        previous(Err(Reason::Terminated)).expect("refuse terminated", "previous");
        let undo = Case {
            undo: true,
            ..older()
        };
        undo.expect("write older", "nothing");
        let forced = Case {
            force: vec![Reason::Older],
            ..older()
        };
        forced.expect("write older", "nothing");
    }

    #[test]
    fn a_certificate_that_only_the_event_names_must_cover_everything() {
        let named = |case: Case| Case {
            named_by_event: true,
            ..case
        };
        named(Case::of(&SHOP, &RENEWED)).expect("write", "nothing");
        let one_name = Spec {
            names: &["shop.example.com"],
            ..RENEWED
        };
        named(Case::of(&SHOP, &one_name)).expect("refuse names-lost", "nothing");
        let expired = Spec {
            valid: (-90, -1),
            ..SHOP
        };
        named(Case::of(&expired, &one_name)).expect("refuse names-lost", "nothing");
        let unreadable = Case::with(deployed(String::new(), ""), bundle(&issue(&SHOP), true));
        named(unreadable).expect("refuse names-lost", "nothing");
    }

    #[test]
    fn an_end_that_is_near_is_a_finding() {
        for (public, valid, expected) in [
            (false, (-76, 14), None),
            (false, (-76, 13), Some(Reason::ExpiresSoon)),
            // a fifth of 20 days
            (false, (-16, 4), None),
            (false, (-17, 3), Some(Reason::ExpiresSoon)),
            (true, (-66, 24), None),
            (true, (-66, 23), Some(Reason::ExpiresSoon)),
        ] {
            let bundle = bundle(
                &issue(&Spec {
                    public,
                    valid,
                    ..SHOP
                }),
                true,
            );
            let codes = permanent_findings(&bundle, &Roots::new(Vec::new()), now());
            let codes = codes.iter().map(|finding| finding.code);
            // no root of these certificates is known
            let codes: Vec<Reason> = codes.filter(|code| *code != Reason::UnknownRoot).collect();
            assert_eq!(codes.first().copied(), expected, "{public} {valid:?}");
        }
    }

    #[test]
    fn only_a_public_chain_must_reach_a_known_root() {
        let codes = |public, roots| {
            let issued = issue(&Spec { public, ..SHOP });
            let issuer = pem::certificates(&issued.issuer).remove(0).unwrap();
            let roots = Roots::new(match roots {
                true => vec![issuer.der.clone()],
                false => Vec::new(),
            });
            // its issuer is not part of it
            let bundle = bundle(&issued, false);
            let findings = permanent_findings(&bundle, &roots, now());
            findings.first().map(|finding| finding.code)
        };
        assert_eq!(codes(true, false), Some(Reason::UnknownRoot));
        assert_eq!(codes(true, true), None);
        assert_eq!(codes(false, false), None);
    }
}
