//! Never worse than what serves: may the new certificate take the place of the deployed one? Pure: what
//! only some rules need to know comes from two closures, which are called only then.

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, Fault, rfc3339, same_serial};
use crate::cert::chain::too_late;
use crate::cert::names::{ServerName, lost, needed};
use crate::cert::roots::Roots;
use crate::error::{Error, Reason, error};
use crate::sync::assemble::Bundle;
use crate::sync::deployed::{Deployed, Serves};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
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

/// What some rules need to know, asked for only then.
pub(crate) struct Facts<'a> {
    /// The domains that are served with the TLS secret.
    pub(crate) domains: &'a dyn Fn() -> Result<Vec<String>, Error>,
    /// The serial number of the version before the current one.
    pub(crate) previous_serial: &'a dyn Fn() -> Result<Option<String>, Error>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The TLS secret is up to date.
    Keep,
    /// Replace it, and report this.
    Write(Vec<Error>),
    /// Leave it unchanged.
    Refuse(Error),
}

/// A rule that the new certificate breaks.
struct Broken {
    reason: Reason,
    message: String,
    way_out: &'static str,
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
    if let Err(refusal) = faults(case.deployed, case.bundle, case.now) {
        return Decision::Refuse(refusal);
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
    // rules whose ways out need no request come first
    let rules = [less_trusted, chain_shorter, names_lost, older];
    let broken = rules.iter().filter_map(|rule| rule(case, baseline));
    let findings = broken.map(|broken| way_out(case, baseline, facts, broken));
    match findings.collect() {
        Ok(findings) => Decision::Write(findings),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// Whether a broken rule is only a finding: a person overrides it, a refusal would become the outage, or
/// nobody needs what is lost.
fn way_out(
    case: &Comparison<'_>,
    baseline: &Certificate,
    facts: &Facts<'_>,
    broken: Broken,
) -> Result<Error, Error> {
    let Broken {
        reason,
        message,
        way_out,
    } = broken;
    let finding = |message| Ok(Error::new(reason, message));
    let refusal = |message: String| {
        Err(error!(reason, "{message}").hint(format_args!(
            "{way_out}; or override this check once, manually"
        )))
    };
    if case.force.contains(&reason) {
        return finding(format!("overridden by FORCE: {message}"));
    }
    match reason {
        Reason::NamesLost | Reason::ChainShorter if in_its_last_days(baseline, case.now) => {
            finding(format!(
                "{message}; replaced anyway: the deployed certificate expires at {}",
                rfc3339(baseline.not_after)
            ))
        }
        Reason::NamesLost => match (facts.domains)() {
            Err(error) => refusal(format!(
                "{message}; whether a domain mapping needs one of them is unknown: {error}"
            )),
            Ok(domains) if domains.is_empty() => refusal(format!(
                "{message}; no domain mapping uses this TLS secret, so whether anyone needs them is unknown"
            )),
            Ok(domains) => {
                let domains: Vec<ServerName> = domains
                    .iter()
                    .map(|domain| ServerName::dns(domain))
                    .collect();
                let new = &case.bundle.leaf.names;
                let needed = needed(&domains, &lost(&baseline.names, new), new);
                match needed.as_slice() {
                    [] => finding(format!("{message}; no domain mapping needs them")),
                    needed => refusal(format!("{message}; domain mappings need {}", list(needed))),
                }
            }
        },
        // Secrets Manager may have gone back on purpose, or somebody deployed a newer certificate
        // manually in an emergency
        Reason::Older if case.undo => {
            finding(format!("{message}: the previous version was asked for"))
        }
        Reason::Older => match (facts.previous_serial)() {
            Ok(Some(serial)) if same_serial(&serial, &baseline.serial) => finding(format!(
                "{message}; that was the previous version: Secrets Manager went back on purpose"
            )),
            Ok(_) => refusal(format!(
                "{message}, which was not the previous version: somebody deployed it manually"
            )),
            Err(error) => refusal(format!(
                "{message}; the previous version is unknown: {error}"
            )),
        },
        _ => refusal(message),
    }
}

/// Only an event says that this certificate goes here: then it must cover every name of the
/// deployed one, expired or not.
fn not_covered(case: &Comparison<'_>) -> Option<Error> {
    let deployed = case.deployed.leaf();
    let lost = deployed.map(|leaf| lost(&leaf.names, &case.bundle.leaf.names));
    let why = match lost.as_deref() {
        Some([]) => return None,
        Some(lost) => format!("it does not cover {}", list(lost)),
        None => "the TLS secret holds no readable certificate to compare it with".to_owned(),
    };
    let name = &case.bundle.name;
    Some(
        error!(
            Reason::NamesLost,
            "SECRET_ID is unset, so only the event says that {name} goes here, and {why}"
        )
        .hint("set SECRET_ID, so that no event decides which certificate this is"),
    )
}

/// The deployed leaf is publicly trusted, the new one is not.
fn less_trusted(case: &Comparison<'_>, baseline: &Certificate) -> Option<Broken> {
    let new = &case.bundle.leaf;
    let deployed = is_public(baseline, &case.deployed.certificates);
    (deployed && !is_public(new, &case.bundle.intermediates)).then(|| Broken {
        reason: Reason::LessTrusted,
        message: format!(
            "the deployed certificate (serial {}, issued by {}) is publicly trusted, the new one (serial {}, issued by {}) is not",
            baseline.serial, baseline.issuer, new.serial, new.issuer
        ),
        way_out: "issue it by a public CA; a staging CA is for tests",
    })
}

/// SCTs (Certificate Transparency) are what only a publicly trusted CA has a reason to embed, and
/// unlike a built-in root store they do not age. Let's Encrypt's staging CAs say what they are.
fn is_public(leaf: &Certificate, chain: &[Certificate]) -> bool {
    leaf.has_stamps
        && !std::iter::once(leaf)
            .chain(chain)
            .any(|c| c.issuer.contains("(STAGING)"))
}

/// The deployed leaf has intermediates, and the new chain has a gap below every known root. The deployed
/// chain completes the new one before (`Bundle::completed`), if it can.
fn chain_shorter(case: &Comparison<'_>, _: &Certificate) -> Option<Broken> {
    let bundle = case.bundle;
    let deployed = case.deployed.certificates.get(1..).unwrap_or_default();
    let has_gap = bundle.gap.is_some() && !case.roots.reached_by(bundle.top());
    // what is missing above a certificate that is deployed is missing there, too
    let is_deployed = deployed.iter().any(|c| c.der == bundle.top().der);
    (has_gap && !deployed.is_empty() && !is_deployed).then(|| Broken {
        reason: Reason::ChainShorter,
        message: format!(
            "the deployed certificate has {} intermediate certificates, the new one (serial {}, issued by {}) has {}, and no known root signed the last of its chain",
            deployed.len(),
            bundle.leaf.serial,
            bundle.leaf.issuer,
            bundle.intermediates.len()
        ),
        way_out: "import it again together with its intermediate certificates",
    })
}

/// A name is no longer covered.
fn names_lost(case: &Comparison<'_>, baseline: &Certificate) -> Option<Broken> {
    let new = &case.bundle.leaf.names;
    let (lost_names, gained) = (lost(&baseline.names, new), lost(new, &baseline.names));
    if lost_names.is_empty() {
        return None;
    }
    let mut message = format!("the new certificate no longer covers {}", list(&lost_names));
    if !gained.is_empty() {
        message.push_str(&format!(", and newly covers {}", list(&gained)));
    }
    Some(Broken {
        reason: Reason::NamesLost,
        message,
        way_out: "issue it with all names, or delete the domain mappings that need them",
    })
}

/// Both dates are earlier.
fn older(case: &Comparison<'_>, baseline: &Certificate) -> Option<Broken> {
    let new = &case.bundle.leaf;
    (new.not_before < baseline.not_before && new.not_after < baseline.not_after).then(|| Broken {
        reason: Reason::Older,
        message: format!(
            "the new certificate (serial {}, {} to {}) is older than the deployed one (serial {}, {} to {})",
            new.serial,
            rfc3339(new.not_before),
            rfc3339(new.not_after),
            baseline.serial,
            rfc3339(baseline.not_before),
            rfc3339(baseline.not_after)
        ),
        way_out: "rotate it in Secrets Manager, or import there what was deployed manually",
    })
}

/// A tenth of the lifetime, but long enough for a daily run to meet it, and short enough that the names
/// of a short-lived certificate are guarded for most of its life.
fn in_its_last_days(baseline: &Certificate, now: UnixTime) -> bool {
    let lifetime = lifetime(baseline);
    let last_days = (lifetime / 10)
        .max((25 * HOUR).min(lifetime / 4))
        .min(3 * DAY);
    baseline.not_after.as_secs().saturating_sub(now.as_secs()) < last_days
}

fn lifetime(certificate: &Certificate) -> u64 {
    let begin = certificate.not_before.as_secs();
    certificate.not_after.as_secs().saturating_sub(begin)
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

/// What keeps Envoy or strict clients from using the new certificate: a refusal, unless what is
/// deployed serves with the same fault. Whoever uses it copes with it, and a refusal must not become
/// the outage.
pub(crate) fn faults(
    deployed: &Deployed,
    bundle: &Bundle,
    now: UnixTime,
) -> Result<Vec<Error>, Error> {
    let known: Vec<Fault> = match deployed.serves(now) {
        Serves::Yes(_) => deployed
            .certificates
            .iter()
            .flat_map(Certificate::faults)
            .collect(),
        Serves::No | Serves::CannotTell => Vec::new(),
    };
    let sentence = |fault| format!("the certificate {} {fault}", bundle.leaf.subject);
    let way_out = "issue or import another certificate";
    let faults = bundle
        .faults
        .iter()
        .map(|fault| match known.contains(fault) {
            true => Ok(Error::new(
                Reason::Unfit,
                format!(
                    "{}; the deployed one does so, too: {way_out}",
                    sentence(fault)
                ),
            )),
            false => Err(error!(Reason::Unfit, "{}", sentence(fault)).hint(way_out)),
        });
    faults.collect()
}

/// That the first end in the chain is near, whether or not the TLS secret is replaced.
pub(crate) fn expires_soon(bundle: &Bundle, now: UnixTime) -> Option<Error> {
    let first = bundle
        .chain()
        .min_by_key(|certificate| certificate.not_after)?;
    let left = first.not_after.as_secs().saturating_sub(now.as_secs());
    if left >= too_late(&bundle.leaf, is_public(&bundle.leaf, &bundle.intermediates)) {
        return None;
    }
    let (which, next) = match first.der == bundle.leaf.der {
        true => (
            "the certificate in Secrets Manager".to_owned(),
            "it should have been renewed: check its state there",
        ),
        false => (
            format!("the intermediate certificate {}", first.subject),
            "import or renew the certificate with a current one",
        ),
    };
    Some(error!(
        Reason::ExpiresSoon,
        "{which} expires at {} ({} days left); {next}",
        rfc3339(first.not_after),
        left / DAY
    ))
}

#[cfg(test)]
mod tests;
