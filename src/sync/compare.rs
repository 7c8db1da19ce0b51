//! Never worse than what serves: whether the new certificate may take the place of the deployed one.
//!
//! Belongs here: the rules, pure: what is not known is asked for with [`Decision::Ask`], and the
//! caller comes again with the [`Evidence`]. Does not: getting it (`replace.rs`).
//!
//! A refusal must not become the outage: in the last days of the deployed certificate, what may be
//! mere tidying up is written with a finding.

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, rfc3339, same_serial};
use crate::cert::names::{self, ServerName};
use crate::cert::roots::Roots;
use crate::error::{Error, Finding, Reason, error};
use crate::sync::assemble::Bundle;
use crate::sync::deployed::Deployed;

const DAY: u64 = 24 * 60 * 60;
/// Before the end of the deployed certificate: lost names and a shorter chain no longer stop.
const LAST_DAYS: u64 = 3 * DAY;
/// Secrets Manager renews public certificates from 31 days before their end, and tries daily: with
/// fewer days left a week of attempts has failed.
const PUBLIC_TOO_LATE: u64 = 24 * DAY;
/// Others are late in the last fifth of their life, at most in its last two weeks.
const OTHERS_TOO_LATE: u64 = 14 * DAY;
/// Names in a message.
const SHOWN_NAMES: usize = 20;

/// What is compared.
pub(crate) struct Case<'a> {
    pub(crate) deployed: &'a Deployed,
    pub(crate) bundle: &'a Bundle,
    /// Only the event says that the two belong together.
    pub(crate) named_by_event: bool,
    /// The previous version was asked for.
    pub(crate) undo: bool,
    /// The rules that a person overrules.
    pub(crate) force: &'a [Reason],
    pub(crate) roots: &'a Roots,
    pub(crate) now: UnixTime,
}

/// What was asked for, if it was; the text says why there is no answer.
#[derive(Default)]
pub(crate) struct Evidence {
    /// The domains that are served with the TLS secret.
    pub(crate) domains: Option<Result<Vec<String>, String>>,
    /// The serial number of the version before the current one.
    pub(crate) previous_serial: Option<Result<Option<String>, String>>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is in line.
    Keep,
    /// Write, and say this.
    Write(Vec<Finding>),
    /// Leave it.
    Refuse(Error),
    /// Come again with this.
    Ask(Question),
}

/// What a rule needs to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Question {
    /// Which domains are served with the TLS secret?
    Domains,
    /// Which serial number had the version before?
    PreviousSerial,
}

type Rule = fn(&Case<'_>, &Certificate, &Evidence) -> Verdict;

/// What one rule says.
enum Verdict {
    Pass,
    Finding(String),
    Refuse(String, &'static str),
    Ask(Question),
}

/// Compares and decides.
pub(crate) fn decide(case: &Case<'_>, evidence: &Evidence) -> Decision {
    if case.deployed.holds(case.bundle) {
        return Decision::Keep;
    }
    if case.named_by_event
        && let Some(refusal) = not_covered(case)
    {
        return Decision::Refuse(refusal);
    }
    let Some(bar) = case.deployed.bar(case.now) else {
        return Decision::Write(Vec::new());
    };
    let mut findings = Vec::new();
    // those that ask nobody come first
    let rules: [(Reason, Rule); 4] = [
        (Reason::LessTrusted, less_trusted),
        (Reason::ChainShorter, chain_shorter),
        (Reason::NamesLost, names_lost),
        (Reason::Older, older),
    ];
    for (reason, rule) in rules {
        let forced = case.force.contains(&reason);
        match rule(case, bar, evidence) {
            Verdict::Pass => {}
            Verdict::Finding(message) => findings.push(Finding::new(reason, message)),
            // nobody has to be asked about what a person has decided
            Verdict::Ask(_) if forced => {
                findings.push(Finding::new(reason, "overruled by FORCE".to_owned()))
            }
            Verdict::Ask(question) => return Decision::Ask(question),
            Verdict::Refuse(message, _) if forced => findings.push(Finding::new(
                reason,
                format!("overruled by FORCE: {message}"),
            )),
            Verdict::Refuse(message, way_out) => {
                let hint = format!(
                    "{way_out}; or overrule it by hand: ibmcloud ce jobrun submit --job JOB --env SECRET_ID=... --env FORCE={reason}"
                );
                return Decision::Refuse(error!(reason, "{message}").hint(hint));
            }
        }
    }
    Decision::Write(findings)
}

/// Only an event says that this certificate belongs here: then it must cover every name of the
/// deployed one, expired or not.
fn not_covered(case: &Case<'_>) -> Option<Error> {
    const GIVE: &str = "give SECRET_ID, so that no event decides which certificate this is";
    let name = &case.bundle.name;
    let Some(leaf) = case.deployed.leaf() else {
        return Some(
            error!(
                Reason::NamesLost,
                "only the event says that {name} belongs here, and there is no readable certificate to compare it with"
            )
            .hint(GIVE),
        );
    };
    let lost = lost(leaf, &case.bundle.leaf);
    (!lost.is_empty()).then(|| {
        error!(
            Reason::NamesLost,
            "only the event says that {name} belongs here, and it does not cover {}",
            list(&lost)
        )
        .hint(GIVE)
    })
}

/// The deployed leaf is publicly trusted, the new one is not.
fn less_trusted(case: &Case<'_>, bar: &Certificate, _: &Evidence) -> Verdict {
    let deployed = public(bar, &case.deployed.certificates);
    let new = public(&case.bundle.leaf, &case.bundle.intermediates);
    if !deployed || new {
        return Verdict::Pass;
    }
    Verdict::Refuse(
        format!(
            "the deployed certificate (serial {}, issued by {}) is publicly trusted, the new one (serial {}, issued by {}) is not",
            bar.serial, bar.issuer_text, case.bundle.leaf.serial, case.bundle.leaf.issuer_text
        ),
        "issue it by a public CA; a staging CA is for tests",
    )
}

/// Certificate-transparency stamps are what only a publicly trusted CA has a reason to embed, and
/// unlike a built-in root store they do not age. Let's Encrypt's staging CAs say what they are.
fn public(leaf: &Certificate, chain: &[Certificate]) -> bool {
    leaf.has_stamps
        && !std::iter::once(leaf)
            .chain(chain)
            .any(|c| c.issuer_text.contains("(STAGING)"))
}

/// The new chain is none, though the deployed leaf came with one.
fn chain_shorter(case: &Case<'_>, bar: &Certificate, _: &Evidence) -> Verdict {
    let bundle = case.bundle;
    if !bundle.intermediates.is_empty()
        || case.deployed.certificates.len() < 2
        || bundle.gap.is_none()
        || case.roots.reached_by(&bundle.leaf)
    {
        return Verdict::Pass;
    }
    let message = format!(
        "the deployed certificate comes with {} intermediate certificates, the new one (serial {}, issued by {}) with none, and no known root signed it",
        case.deployed.certificates.len() - 1,
        bundle.leaf.serial,
        bundle.leaf.issuer_text
    );
    if in_its_last_days(bar, case.now) {
        return Verdict::Finding(format!("{message}; {}", last_days(bar)));
    }
    Verdict::Refuse(
        message,
        "import it again together with its intermediate certificates",
    )
}

/// A name is no longer covered. A retired name must not stop a rotation: only one that a domain
/// mapping needs does.
fn names_lost(case: &Case<'_>, bar: &Certificate, evidence: &Evidence) -> Verdict {
    let new = &case.bundle.leaf;
    let lost = lost(bar, new);
    if lost.is_empty() {
        return Verdict::Pass;
    }
    let gained = names::lost(&new.names, &bar.names);
    let mut message = format!("the new certificate no longer covers {}", list(&lost));
    if !gained.is_empty() {
        message.push_str(&format!(", and newly covers {}", list(&gained)));
    }
    if in_its_last_days(bar, case.now) {
        return Verdict::Finding(format!("{message}; {}", last_days(bar)));
    }
    let way_out = "issue it with all names";
    match &evidence.domains {
        None => Verdict::Ask(Question::Domains),
        Some(Err(why)) => Verdict::Refuse(
            format!(
                "{message}; whether a domain mapping needs one of them could not be asked: {why}"
            ),
            way_out,
        ),
        Some(Ok(domains)) if domains.is_empty() => Verdict::Refuse(
            format!(
                "{message}; no domain mapping uses this TLS secret, so nothing says that nobody needs them"
            ),
            way_out,
        ),
        Some(Ok(domains)) => {
            let needed: Vec<ServerName> = domains
                .iter()
                .map(|domain| ServerName::Dns(domain.to_ascii_lowercase()))
                .filter(|domain| !new.covers(domain) && lost.iter().any(|name| name.covers(domain)))
                .collect();
            if needed.is_empty() {
                return Verdict::Finding(format!("{message}; no domain mapping needs them"));
            }
            let needed: Vec<&ServerName> = needed.iter().collect();
            Verdict::Refuse(
                format!("{message}; domain mappings need {}", list(&needed)),
                "issue it with these names, or delete the domain mappings",
            )
        }
    }
}

/// Both dates are earlier. Secrets Manager may have gone back on purpose (a version was restored),
/// or somebody deployed a newer certificate by hand in an emergency: the previous version tells.
fn older(case: &Case<'_>, bar: &Certificate, evidence: &Evidence) -> Verdict {
    let new = &case.bundle.leaf;
    if new.not_before >= bar.not_before || new.not_after >= bar.not_after {
        return Verdict::Pass;
    }
    let message = format!(
        "the new certificate (serial {}, {} to {}) is older than the deployed one (serial {}, {} to {})",
        new.serial,
        rfc3339(new.not_before),
        rfc3339(new.not_after),
        bar.serial,
        rfc3339(bar.not_before),
        rfc3339(bar.not_after)
    );
    if case.undo {
        return Verdict::Finding(format!("{message}: the previous version was asked for"));
    }
    let way_out = "rotate it in Secrets Manager, or import there what was deployed by hand";
    match &evidence.previous_serial {
        None => Verdict::Ask(Question::PreviousSerial),
        Some(Ok(Some(serial))) if same_serial(serial, &bar.serial) => Verdict::Finding(format!(
            "{message}; that was the previous version: Secrets Manager went back on purpose"
        )),
        Some(Ok(_)) => Verdict::Refuse(
            format!("{message}, which was not the previous version: somebody deployed it by hand"),
            way_out,
        ),
        Some(Err(why)) => Verdict::Refuse(
            format!("{message}; the previous version could not be asked: {why}"),
            way_out,
        ),
    }
}

fn in_its_last_days(bar: &Certificate, now: UnixTime) -> bool {
    bar.not_after.as_secs().saturating_sub(now.as_secs()) < LAST_DAYS
}

fn last_days(bar: &Certificate) -> String {
    format!(
        "written all the same, since the deployed one ends at {}",
        rfc3339(bar.not_after)
    )
}

fn lost<'a>(old: &'a Certificate, new: &Certificate) -> Vec<&'a ServerName> {
    names::lost(&old.names, &new.names)
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

/// What is worth a look on every run, whatever is done.
pub(crate) fn standing(bundle: &Bundle, roots: &Roots, now: UnixTime) -> Vec<Finding> {
    let leaf = &bundle.leaf;
    let is_public = public(leaf, &bundle.intermediates);
    let mut findings = Vec::new();
    let left = leaf.not_after.as_secs().saturating_sub(now.as_secs());
    let life = leaf
        .not_after
        .as_secs()
        .saturating_sub(leaf.not_before.as_secs());
    let too_late = if is_public {
        PUBLIC_TOO_LATE
    } else {
        OTHERS_TOO_LATE.min(life / 5)
    };
    if left < too_late {
        let days = left / DAY;
        findings.push(Finding::new(Reason::ExpiresSoon, format!(
                "the certificate in Secrets Manager ends at {} ({days} days left) and should have been renewed: look at its state there",
                rfc3339(leaf.not_after)
            )));
    }
    if is_public && !roots.reached_by(bundle.top()) {
        findings.push(Finding::new(
            Reason::UnknownRoot,
            format!(
                "the chain ends with {}, issued by {}, which is none of {}",
                bundle.top().subject_text,
                bundle.top().issuer_text,
                roots.age()
            ),
        ));
    }
    findings
}
