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
use crate::error::{Error, ExitStatus, Reason, error};
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
    Write(Vec<Error>),
    /// Leave it unchanged.
    Refuse(Error),
}

/// What one rule says.
enum Verdict {
    Pass,
    Error(String),
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
            return Decision::Write(vec![Error::new(
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
            Verdict::Error(message) => findings.push(Error::new(reason, message)),
            Verdict::Refuse(message, _) if forced => findings.push(Error::new(
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
        return Verdict::Error(format!("{message}; {}", last_days(baseline)));
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
        return Verdict::Error(format!("{message}; {}", last_days(baseline)));
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
        return Verdict::Error(format!("{message}; no domain mapping needs them"));
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
        return Verdict::Error(format!("{message}: the previous version was asked for"));
    }
    let way_out = "rotate it in Secrets Manager, or import there what was deployed manually";
    if forced {
        return Verdict::Refuse(message, way_out);
    }
    match (facts.previous_serial)() {
        Ok(Some(serial)) if same_serial(&serial, &baseline.serial) => Verdict::Error(format!(
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
    error.exit_status() == ExitStatus::Interrupted
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
pub(crate) fn permanent_findings(bundle: &Bundle, now: UnixTime) -> Vec<Error> {
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
        findings.push(Error::new(
            Reason::ExpiresSoon,
            format!(
                "the certificate in Secrets Manager expires at {} ({} days left) and should have been renewed: check its state there",
                rfc3339(leaf.not_after),
                left / DAY
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests;
