//! Never worse than what serves: may the new certificate take the place of the deployed one? Pure: what
//! only some rules need to know comes from two closures, which are called only then.

use rustls_pki_types::{CertificateDer, UnixTime};

use crate::cert::certificate::{Certificate, Fault, rfc3339, same_serial};
use crate::cert::chain::{reaches_root, too_late};
use crate::cert::names::{ServerName, lost, needed};
use crate::error::{Error, Reason};
use crate::sync::assemble::Bundle;
use crate::sync::deployed::{Deployed, Serves};
use crate::text::first_of_many;

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
    /// Roots that clients know, in addition to the built-in ones.
    pub(crate) further_roots: &'a [CertificateDer<'static>],
    pub(crate) now: UnixTime,
    /// The domains that are served with the TLS secret.
    pub(crate) domains: &'a dyn Fn() -> Result<Vec<ServerName>, Error>,
    /// The serial number of the version before the current one.
    pub(crate) previous_serial: &'a dyn Fn() -> Result<Option<String>, Error>,
}

/// What to do, unless it is refused.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The TLS secret is up to date.
    Keep,
    /// Replace it, and report this.
    Write(Vec<Error>),
}

/// Compares and decides.
///
/// # Errors
/// Why the TLS secret must stay as it is.
pub(crate) fn compare(case: &Comparison<'_>) -> Result<Decision, Error> {
    if case.deployed.is_same(case.bundle) {
        // the same certificate in a form that some servers do not load: writing it cannot be worse,
        // unless the issuer that is missing is in a block that only we cannot read
        let may_be_longer = case.bundle.gap.is_some() && case.deployed.unreadable > 0;
        if may_be_longer || case.deployed.is_canonical(case.bundle) {
            return Ok(Decision::Keep);
        }
        return Ok(Decision::Write(Vec::new()));
    }
    faults(case.deployed, case.bundle, case.now)?;
    if case.named_by_event {
        covered(case)?;
    }
    let baseline = match case.deployed.serves(case.now) {
        Serves::Yes(leaf) => leaf,
        Serves::No => return Ok(Decision::Write(Vec::new())),
        Serves::CannotTell => {
            let finding = Reason::DeployedUnreadable.error(
                "the TLS secret held no readable certificate, so the new one could not be compared with it",
            );
            return Ok(Decision::Write(vec![finding]));
        }
    };
    // rules whose ways out need no request come first
    let rules = [less_trusted, chain_shorter, names_lost, older];
    let broken = rules.iter().filter_map(|rule| rule(case, baseline));
    let findings: Result<_, _> = broken.map(|broken| judge(case, baseline, broken)).collect();
    Ok(Decision::Write(findings?))
}

/// Whether a broken rule is only a finding: a person overrides it, a refusal would become the outage, or
/// nobody needs what is lost.
fn judge(case: &Comparison<'_>, baseline: &Certificate, broken: Error) -> Result<Error, Error> {
    let reason = broken.reason;
    if case.force.contains(&reason) {
        return Ok(broken.context("overridden by FORCE"));
    }
    let excuse = match reason {
        Reason::NamesLost | Reason::ChainShorter if in_its_last_days(baseline, case.now) => {
            let end = rfc3339(baseline.not_after);
            Ok(format!("replaced anyway: the deployed certificate expires at {end}"))
        }
        Reason::NamesLost => nobody_needs(case, baseline).map_err(|why| {
            format!("{why}; issue it with all names, or delete the domain mappings that need them")
        }),
        Reason::Older => went_back(case, baseline).map_err(|why| {
            format!(
                "{why}; rotate it in Secrets Manager, or import there what was deployed manually"
            )
        }),
        Reason::ChainShorter => {
            Err("import it again together with its intermediate certificates".to_owned())
        }
        _ => Err("issue it by a public CA; a staging CA is for tests".to_owned()),
    };
    match excuse {
        Ok(excuse) => Ok(broken.hint(excuse)),
        Err(why) => Err(broken.hint(why).hint("or override this check once, manually")),
    }
}

/// Whether domain mappings use the TLS secret, and none of them needs a name that is lost; or why not.
fn nobody_needs(case: &Comparison<'_>, baseline: &Certificate) -> Result<String, String> {
    let unknown = "whether a domain mapping needs one of them is unknown";
    let domains = (case.domains)().map_err(|error| format!("{unknown}: {error}"))?;
    if domains.is_empty() {
        return Err(
            "no domain mapping uses this TLS secret, so whether anyone needs them is unknown"
                .to_owned(),
        );
    }
    let new = &case.bundle.leaf.names;
    match needed(&domains, &lost(&baseline.names, new), new).as_slice() {
        [] => Ok("no domain mapping needs them".to_owned()),
        needed => Err(format!("domain mappings need {}", list(needed))),
    }
}

/// Whether Secrets Manager went back on purpose, or why not: somebody may have deployed a newer certificate
/// manually in an emergency.
fn went_back(case: &Comparison<'_>, baseline: &Certificate) -> Result<String, String> {
    if case.undo {
        return Ok("the previous version was asked for".to_owned());
    }
    let serial = (case.previous_serial)();
    let serial = serial.map_err(|error| format!("the previous version is unknown: {error}"))?;
    if serial.is_some_and(|serial| same_serial(&serial, &baseline.serial)) {
        return Ok("that was the previous version: Secrets Manager went back on purpose".to_owned());
    }
    Err("that was not the previous version: somebody deployed it manually".to_owned())
}

/// The event alone decides which certificate is deployed: then it must cover every name of the
/// deployed one, expired or not.
fn covered(case: &Comparison<'_>) -> Result<(), Error> {
    let deployed = case.deployed.leaf();
    let lost = deployed.map(|leaf| lost(&leaf.names, &case.bundle.leaf.names));
    let why = match lost.as_deref() {
        Some([]) => return Ok(()),
        Some(lost) => format!("it does not cover {}", list(lost)),
        None => "the TLS secret holds no readable certificate to compare it with".to_owned(),
    };
    let name = &case.bundle.name;
    let told =
        format!("SECRET_ID is unset, so the event alone decides that {name} goes here, and {why}");
    let way_out = "set SECRET_ID, so that no event decides which certificate this is";
    Err(Reason::NamesLost.error(told).hint(way_out))
}

/// The deployed leaf is publicly trusted, the new one is not.
fn less_trusted(case: &Comparison<'_>, baseline: &Certificate) -> Option<Error> {
    let new = &case.bundle.leaf;
    let deployed = is_public(baseline, &case.deployed.certificates);
    (deployed && !is_public(new, &case.bundle.intermediates)).then(|| {
        let shown = |c: &Certificate| format!("(serial {}, issued by {})", c.serial, c.issuer);
        let (old, new) = (shown(baseline), shown(new));
        Reason::LessTrusted.error(format!(
            "the deployed certificate {old} is publicly trusted, the new one {new} is not"
        ))
    })
}

/// SCTs (Certificate Transparency) are what only a publicly trusted CA has a reason to embed, and
/// unlike a built-in root store they do not age. Let's Encrypt's staging CAs say what they are.
fn is_public(leaf: &Certificate, chain: &[Certificate]) -> bool {
    let mut all = std::iter::once(leaf).chain(chain);
    leaf.has_stamps && !all.any(|c| c.issuer.contains("(STAGING)"))
}

/// The deployed leaf has intermediates, and the new chain has a gap below every known root. The deployed
/// chain completes the new one before (`Bundle::completed`), if it can.
fn chain_shorter(case: &Comparison<'_>, _: &Certificate) -> Option<Error> {
    let bundle = case.bundle;
    let deployed = case.deployed.certificates.get(1..).unwrap_or_default();
    let count = deployed.len() + case.deployed.unreadable;
    let top = bundle.chain().last().unwrap_or(&bundle.leaf);
    let has_gap = bundle.gap.is_some() && !reaches_root(top, case.further_roots);
    // what is missing above a certificate that is deployed is missing there, too
    let is_deployed = deployed.iter().any(|c| c.der == top.der);
    (has_gap && count > 0 && !is_deployed).then(|| {
        Reason::ChainShorter.error(format!(
            "the deployed certificate has {count} intermediate certificates, the new one (serial {}, issued by {}) has {}, and no known root signed the last of its chain", bundle.leaf.serial, bundle.leaf.issuer, bundle.intermediates.len()
        ))
    })
}

/// A name is no longer covered.
fn names_lost(case: &Comparison<'_>, baseline: &Certificate) -> Option<Error> {
    let new = &case.bundle.leaf.names;
    let (lost, gained) = (lost(&baseline.names, new), lost(new, &baseline.names));
    let mut told = format!("the new certificate no longer covers {}", list(&lost));
    if !gained.is_empty() {
        told.push_str(&format!(", and newly covers {}", list(&gained)));
    }
    (!lost.is_empty()).then(|| Reason::NamesLost.error(told))
}

/// Both dates are earlier.
fn older(case: &Comparison<'_>, baseline: &Certificate) -> Option<Error> {
    let new = &case.bundle.leaf;
    let shown = |leaf: &Certificate| {
        let (begin, end) = (rfc3339(leaf.not_before), rfc3339(leaf.not_after));
        format!("(serial {}, {begin} to {end})", leaf.serial)
    };
    (new.not_before < baseline.not_before && new.not_after < baseline.not_after).then(|| {
        let (new, deployed) = (shown(new), shown(baseline));
        let told = format!("the new certificate {new} is older than the deployed one {deployed}");
        Reason::Older.error(told)
    })
}

/// A tenth of the lifetime, but long enough for a daily run to meet it, and short enough that the names
/// of a short-lived certificate are guarded for most of its life.
fn in_its_last_days(baseline: &Certificate, now: UnixTime) -> bool {
    let (begin, end) = (baseline.not_before.as_secs(), baseline.not_after.as_secs());
    let lifetime = end.saturating_sub(begin);
    let least = (25 * HOUR).min(lifetime / 4);
    let last_days = (lifetime / 10).max(least).min(3 * DAY);
    end.saturating_sub(now.as_secs()) < last_days
}

fn list(names: &[&ServerName]) -> String {
    first_of_many(names, SHOWN_NAMES).join(", ")
}

/// What keeps Envoy or strict clients from using the new certificate: a refusal, unless what is
/// deployed serves with the same fault. Whoever uses it copes with it, and a refusal must not become
/// the outage.
pub(crate) fn faults(
    deployed: &Deployed,
    bundle: &Bundle,
    now: UnixTime,
) -> Result<Vec<Error>, Error> {
    let mut known: Vec<Fault> = Vec::new();
    if let Serves::Yes(_) = deployed.serves(now) {
        known.extend(deployed.certificates.iter().flat_map(Certificate::faults));
    }
    let way_out = "issue or import another certificate";
    let faults = bundle.faults.iter().map(|fault| {
        let subject = &bundle.leaf.subject;
        let told = Reason::Unfit.error(format!("the certificate {subject} {fault}"));
        match known.contains(fault) {
            true => Ok(told.hint(format_args!("the deployed one does so, too: {way_out}"))),
            false => Err(told.hint(way_out)),
        }
    });
    faults.collect()
}

/// That the first end in the chain is near, whether or not the TLS secret is replaced.
pub(crate) fn expires_soon(bundle: &Bundle, now: UnixTime) -> Option<Error> {
    let first = bundle.first_to_end();
    let left = first.not_after.as_secs().saturating_sub(now.as_secs());
    if left >= too_late(&bundle.leaf, is_public(&bundle.leaf, &bundle.intermediates)) {
        return None;
    }
    let (end, days) = (rfc3339(first.not_after), left / DAY);
    let ends = format!("expires at {end} ({days} days left)");
    if first.der == bundle.leaf.der {
        let told = format!("the certificate in Secrets Manager {ends}");
        let next = "it should have been renewed: check its state there";
        return Some(Reason::ExpiresSoon.error(told).hint(next));
    }
    let told = format!("the intermediate certificate {} {ends}", first.subject);
    let next = "import or renew the certificate with a current one";
    Some(Reason::ExpiresSoon.error(told).hint(next))
}

#[cfg(test)]
mod tests;
