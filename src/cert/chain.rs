//! The chain of one leaf among certificates in any order (RFC 5280 section 6 builds such paths from
//! the other end).
//!
//! One rule: the longest path of verified signatures, leaf first, whose certificates are all valid
//! now, self-signed roots left out; among twins (same subject, key and issuer) the one with the newest
//! `notBefore`. The same material in any order gives the same path. A link that cannot be verified
//! counts only where there is no verified one, and a weak signature only where there is no better one.
//!
//! Belongs here: that rule. Does not: whether the leaf is fit to serve.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::UnixTime;

use super::certificate::{Certificate, rfc3339};
use super::signature::Signature;
use crate::error::{Error, Reason, error};

/// Signature checks for one secret; real material needs fewer than ten.
const MOST_SIGNATURE_CHECKS: usize = 200;
/// Steps of the search for the longest path; real material needs fewer than ten.
const MOST_STEPS: usize = 2000;

/// What was found.
pub(crate) struct Chain<'a> {
    /// The issuers, from that of the leaf on, without a self-signed root.
    pub(crate) path: Vec<&'a Certificate>,
    /// If an issuer is missing: where.
    pub(crate) gap: Option<Gap>,
    /// The first link, signed and issuer, that could not be verified for want of the algorithm.
    pub(crate) unverified: Option<(&'a Certificate, &'a Certificate)>,
    /// Certificates that no path from the leaf reaches, fit or not.
    pub(crate) strangers: Vec<&'a Certificate>,
}

/// An issuer is missing.
#[derive(Clone, Debug)]
pub struct Gap(String);

impl fmt::Display for Gap {
    /// What there is, drawn as a tree.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Finds the chain of `leaf` among `certificates`, which may hold it too and are sorted, newest first.
///
/// # Errors
/// [`Reason::Unfit`]; [`Reason::WeakSignature`]; [`Reason::PemUnreadable`] if the material needs
/// more work than any real one.
pub(crate) fn build<'a>(
    leaf: &'a Certificate,
    certificates: &'a [Certificate],
    now: UnixTime,
) -> Result<Chain<'a>, Error> {
    let search = Search {
        algorithms: default_provider().signature_verification_algorithms,
        checked: RefCell::new(BTreeMap::new()),
        steps: Cell::new(0),
    };
    let mut roots = Vec::new();
    let mut issuers: Vec<&Certificate> = Vec::new();
    for certificate in certificates.iter().filter(|c| c.der != leaf.der) {
        if search.links(certificate, certificate)? {
            roots.push(certificate);
        } else if certificate.issuer_flaw().is_none()
            && certificate.valid_at(now)
            // sorted: of twins the newest comes first
            && !issuers.iter().any(|other| twins(other, certificate))
        {
            issuers.push(certificate);
        }
    }

    let path = search.longest_path(leaf, &issuers, &mut Vec::new())?;
    if let Some(weak) = path.iter().find(|issuer| issuer.weak_digest.is_some()) {
        return Err(weak_signature(weak));
    }
    let gap = match path.last() {
        None => search.gap_above(leaf, certificates, now)?,
        Some(top) => search.gap_at_the_top(top, certificates, now)?,
    };
    let top = path.last().copied().unwrap_or(leaf);
    let unverified = std::iter::once(leaf)
        .chain(path.iter().copied())
        .zip(path.iter().copied())
        .chain(roots.iter().map(|root| (top, *root)))
        .find(|link| search.known(*link) == Some(Signature::Unverifiable));
    let reached = reached(leaf, certificates);
    let strangers = certificates
        .iter()
        .filter(|c| !reached.iter().any(|other| other.der == c.der))
        .collect();
    Ok(Chain {
        path,
        gap,
        unverified,
        strangers,
    })
}

/// That a certificate which would be sent has a signature that clients and servers refuse.
pub(crate) fn weak_signature(certificate: &Certificate) -> Error {
    error!(
        Reason::WeakSignature,
        "the certificate {} (serial {}) is signed with {}, which clients and servers no longer accept",
        certificate.subject_text,
        certificate.serial,
        certificate.weak_digest.unwrap_or_default()
    )
    .hint("have it issued with SHA-256, or import the issuer's current certificate")
}

struct Search {
    algorithms: WebPkiSupportedAlgorithms,
    /// The links that were checked so far.
    checked: RefCell<BTreeMap<(usize, usize), Signature>>,
    steps: Cell<usize>,
}

impl Search {
    /// The longest path of issuers from `from` on; of several the one that begins with the newest.
    fn longest_path<'a>(
        &self,
        from: &Certificate,
        issuers: &[&'a Certificate],
        used: &mut Vec<&'a Certificate>,
    ) -> Result<Vec<&'a Certificate>, Error> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MOST_STEPS {
            return Err(error!(
                Reason::PemUnreadable,
                "the certificates form too many chains: more than {MOST_STEPS} steps to find the longest"
            ));
        }
        let mut candidates = Vec::new();
        for issuer in issuers {
            let repeated = used.iter().any(|other| {
                other.subject == issuer.subject && other.public_key == issuer.public_key
            });
            if !repeated && issuer.path_len.is_none_or(|most| used.len() <= most) {
                let signature = self.signature(from, issuer)?;
                let trust = match (signature, issuer.weak_digest) {
                    (Signature::Foreign, _) => continue,
                    (Signature::Verified, None) => 0,
                    (Signature::Verified, Some(_)) => 1,
                    (Signature::Unverifiable, _) => 2,
                };
                candidates.push((trust, *issuer));
            }
        }
        let best = candidates.iter().map(|(trust, _)| *trust).min();
        let mut longest = Vec::new();
        for (_, issuer) in candidates.iter().filter(|(trust, _)| Some(*trust) == best) {
            used.push(issuer);
            let rest = self.longest_path(issuer, issuers, used)?;
            used.pop();
            if rest.len() + 1 > longest.len() {
                longest = vec![*issuer];
                longest.extend(rest);
            }
        }
        Ok(longest)
    }

    /// Without any path above the leaf: whether its issuer is missing. It may be there as a root.
    fn gap_above(
        &self,
        leaf: &Certificate,
        certificates: &[Certificate],
        now: UnixTime,
    ) -> Result<Option<Gap>, Error> {
        if self.links(leaf, leaf)? {
            return Ok(None);
        }
        let (mut rooted, mut unfit) = (false, false);
        for issuer in certificates {
            if self.links(leaf, issuer)? {
                // any other fit issuer would begin the path; of a root clients have their own copy,
                // whatever else this one says
                let fit = self.links(issuer, issuer)? && issuer.is_ca && issuer.valid_at(now);
                rooted |= fit;
                unfit |= !fit;
            }
        }
        if unfit && !rooted {
            return Err(error!(
                Reason::Unfit,
                "the issuer of the certificate is there, but unfit:\n{}",
                tree(leaf, certificates, now)
            )
            .hint("import the certificate again with the current certificate of its issuer"));
        }
        Ok((!rooted).then(|| Gap(tree(leaf, certificates, now))))
    }

    /// A chain may end below a root that is not in the material; but where there is one of that name
    /// and it did not sign, the end of the chain is damaged or foreign.
    fn gap_at_the_top(
        &self,
        top: &Certificate,
        certificates: &[Certificate],
        now: UnixTime,
    ) -> Result<Option<Gap>, Error> {
        let named = |c: &&Certificate| c.subject == top.issuer && c.der != top.der;
        let mut signers = certificates.iter().filter(named).peekable();
        let any = signers.peek().is_some();
        for signer in signers {
            if self.links(top, signer)? {
                return Ok(None);
            }
        }
        Ok(any.then(|| Gap(tree(top, certificates, now))))
    }

    /// Whether `issuer` signed `signed`, as far as that is known.
    fn links(&self, signed: &Certificate, issuer: &Certificate) -> Result<bool, Error> {
        Ok(self.signature(signed, issuer)? != Signature::Foreign)
    }

    fn signature(&self, signed: &Certificate, issuer: &Certificate) -> Result<Signature, Error> {
        if signed.issuer != issuer.subject {
            return Ok(Signature::Foreign);
        }
        if let Some(known) = self.known((signed, issuer)) {
            return Ok(known);
        }
        if self.checked.borrow().len() >= MOST_SIGNATURE_CHECKS {
            return Err(error!(
                Reason::PemUnreadable,
                "the certificates need more than {MOST_SIGNATURE_CHECKS} signature checks"
            ));
        }
        let signature = signed.signed_by(issuer, self.algorithms);
        let key = key(signed, issuer);
        self.checked.borrow_mut().insert(key, signature);
        Ok(signature)
    }

    fn known(&self, (signed, issuer): (&Certificate, &Certificate)) -> Option<Signature> {
        self.checked.borrow().get(&key(signed, issuer)).copied()
    }
}

/// Certificates stay where they are during a search: their addresses tell them apart.
fn key(signed: &Certificate, issuer: &Certificate) -> (usize, usize) {
    let address = |certificate: &Certificate| std::ptr::from_ref(certificate).addr();
    (address(signed), address(issuer))
}

/// Same subject, key and issuer: the same CA, issued twice. One whose key identifier differs stays:
/// what can only be compared by identifiers may name either.
fn twins(a: &Certificate, b: &Certificate) -> bool {
    (&a.subject, &a.public_key, &a.issuer, &a.subject_key_id)
        == (&b.subject, &b.public_key, &b.issuer, &b.subject_key_id)
}

/// Everything that a path of names leads to from `leaf`, fit or not.
fn reached<'a>(leaf: &'a Certificate, certificates: &'a [Certificate]) -> Vec<&'a Certificate> {
    let mut reached = vec![leaf];
    let mut next = 0;
    while let Some(signed) = reached.get(next).copied() {
        next += 1;
        for certificate in certificates {
            if certificate.subject == signed.issuer
                && !reached.iter().any(|other| other.der == certificate.der)
            {
                reached.push(certificate);
            }
        }
    }
    reached
}

/// The leaf, and each certificate that has the name of its issuer, with what is wrong with it.
fn tree(leaf: &Certificate, certificates: &[Certificate], now: UnixTime) -> String {
    let mut tree = format!("{} (serial {})", leaf.subject_text, leaf.serial);
    let mut missing = true;
    for issuer in certificates
        .iter()
        .filter(|c| c.subject == leaf.issuer && c.der != leaf.der)
    {
        let why = if let Some(flaw) = issuer.issuer_flaw() {
            flaw.to_owned()
        } else if now > issuer.not_after {
            format!("expired at {}", rfc3339(issuer.not_after))
        } else if now < issuer.not_before {
            format!("becomes valid at {}", rfc3339(issuer.not_before))
        } else {
            "has this name, but did not sign".to_owned()
        };
        tree.push_str(&format!(
            "\n  <- {} (serial {}) {why}",
            issuer.subject_text, issuer.serial
        ));
        missing &= issuer.issuer_flaw().is_none() && issuer.valid_at(now);
    }
    if missing {
        tree.push_str(&format!("\n  <- {} is missing", leaf.issuer_text));
    }
    tree
}

#[cfg(test)]
mod tests;
