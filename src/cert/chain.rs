//! The chain of one leaf among certificates in any order (RFC 5280 section 6 builds such paths from
//! the other end).
//!
//! From the leaf upwards the best issuer is taken each time, until there is none: one whose signature
//! verifies, then one that is not signed with MD5 or SHA-1 itself, then one that the authority key
//! identifier fits, then one that does not end soon, then one that goes on, then the newest. Self-signed roots are left out. The same material in any order
//! gives the same chain.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::certificate::{Certificate, Signature, rfc3339};
use crate::error::{Error, Reason};

/// Signature checks for one secret; real material needs fewer than twenty.
const MOST_SIGNATURE_CHECKS: usize = 400;
const DAY: u64 = 24 * 60 * 60;

/// What was found.
pub(crate) struct Chain<'a> {
    /// The issuers, from that of the leaf on, without a self-signed root.
    pub(crate) path: Vec<&'a Certificate>,
    /// If an issuer is missing: what there is, drawn as a tree.
    pub(crate) gap: Option<String>,
    /// The first certificate of the chain whose signature cannot be verified here.
    pub(crate) unverified: Option<&'a Certificate>,
    /// The first one whose authority key identifier does not fit the issuer above it.
    pub(crate) misfit: Option<&'a Certificate>,
    /// Certificates that no path from the leaf reaches, fit or not.
    pub(crate) strangers: Vec<&'a Certificate>,
}

/// How long before an end, in seconds, the leaf should have been renewed: a quarter of its lifetime.
/// Secrets Manager renews public certificates from 31 days before their end, and tries daily: with 24
/// days left a week of attempts has failed.
pub(crate) fn too_late(leaf: &Certificate, is_public: bool) -> u64 {
    let (begin, end) = (leaf.not_before.as_secs(), leaf.not_after.as_secs());
    let most = if is_public { 24 * DAY } else { 14 * DAY };
    most.min(end.saturating_sub(begin) / 4)
}

/// Finds the chain of `leaf` among `certificates`, which may hold it too and are sorted, newest first.
///
/// # Errors
/// [`Reason::Unfit`]; [`Reason::PemUnreadable`] if the material needs more work than any real one.
pub(crate) fn build<'a>(
    leaf: &'a Certificate,
    certificates: &'a [Certificate],
    now: UnixTime,
) -> Result<Chain<'a>, Error> {
    let checked = RefCell::default();
    let search = Search { leaf, certificates, now, checked };
    let mut path = Vec::new();
    while let Some(issuer) = search.best_issuer(&path) {
        path.push(issuer);
    }
    let top = path.last().copied().unwrap_or(leaf);
    let gap = search.gap_above(top);
    if search.checked.borrow().len() >= MOST_SIGNATURE_CHECKS {
        return Err(Reason::PemUnreadable.error(format!(
            "the certificates need more than {MOST_SIGNATURE_CHECKS} signature checks"
        )));
    }
    let sent = [&[leaf], path.as_slice()].concat();
    let mut links = sent.iter().zip(&path);
    let misfit = links.find(|(signed, issuer)| !signed.fits_issuer(issuer));
    // the root in the material counts, too
    let roots = certificates.iter().filter(|root| search.is_root(root));
    let above: Vec<&Certificate> = path.iter().copied().chain(roots).collect();
    let unverifiable = |signed: &&Certificate| {
        let is =
            |issuer: &&Certificate| search.signature(signed, issuer) == Signature::Unverifiable;
        signed.known_algorithms().is_empty() && !search.is_root(signed) || above.iter().any(is)
    };
    Ok(Chain {
        gap: gap?,
        misfit: misfit.map(|(signed, _)| *signed),
        unverified: sent.into_iter().find(unverifiable),
        strangers: strangers(leaf, certificates),
        path,
    })
}

struct Search<'a> {
    leaf: &'a Certificate,
    certificates: &'a [Certificate],
    now: UnixTime,
    /// The links that were checked so far.
    checked: RefCell<BTreeMap<(usize, usize), Signature>>,
}

impl<'a> Search<'a> {
    /// The best one to come next above this path.
    fn best_issuer(&self, path: &[&'a Certificate]) -> Option<&'a Certificate> {
        let signed = path.last().copied().unwrap_or(self.leaf);
        let soon = self.now.as_secs() + too_late(self.leaf, self.leaf.has_stamps);
        let fitting = self.certificates.iter().filter_map(|issuer| {
            let signature = self.fits_above(path, issuer)?;
            let rank = (
                signature == Signature::Unverifiable,
                issuer.weak_digest.is_some(),
                !signed.fits_issuer(issuer),
                issuer.not_after.as_secs() < soon,
                !self.goes_on(path, issuer),
            );
            Some((rank, issuer))
        });
        // sorted: among equals the first one is the newest
        let best = fitting.min_by_key(|(rank, _)| *rank);
        best.map(|(_, issuer)| issuer)
    }

    /// Whether an issuer can stand above this path, and how far its signature is known.
    fn fits_above(&self, path: &[&Certificate], issuer: &Certificate) -> Option<Signature> {
        let signed = path.last().copied().unwrap_or(self.leaf);
        let same_ca = |below: &&Certificate| {
            (&below.subject_name, &below.public_key) == (&issuer.subject_name, &issuer.public_key)
        };
        let cas_below = u32::try_from(path.len()).unwrap_or(u32::MAX);
        let fit = signed.names_as_issuer(issuer)
            && issuer.der != self.leaf.der
            && issuer.issuer_flaw().is_none()
            && issuer.valid_at(self.now)
            && issuer.said.path_len.is_none_or(|most| cas_below <= most)
            && !path.iter().any(same_ca)
            && !self.is_root(issuer);
        let signature = fit.then(|| self.signature(signed, issuer));
        signature.filter(|signature| *signature != Signature::Foreign)
    }

    /// Whether there is more above this path with this top: another issuer, or a root.
    fn goes_on(&self, path: &[&Certificate], top: &Certificate) -> bool {
        let path = [path, &[top]].concat();
        let root = |issuer| self.links(top, issuer) && self.is_root(issuer);
        let mut issuers = self.certificates.iter();
        issuers.any(|issuer| self.fits_above(&path, issuer).is_some() || root(issuer))
    }

    fn is_root(&self, certificate: &Certificate) -> bool {
        self.links(certificate, certificate)
    }

    /// Whether the issuer of the top of a chain is missing.
    ///
    /// Above the leaf it must be there, if only as a root. Further up the chain may end below a root
    /// that is not in the material; but where there is one of that name and it did not sign, the end
    /// of the chain is damaged or foreign.
    fn gap_above(&self, top: &Certificate) -> Result<Option<String>, Error> {
        let is_leaf = top.der == self.leaf.der;
        let mut named: Vec<&Certificate> = self.certificates.iter().collect();
        named.retain(|c| top.names_as_issuer(c) && c.der != top.der);
        if is_leaf && self.is_root(top) || !is_leaf && named.is_empty() {
            return Ok(None);
        }
        named.retain(|issuer| self.links(top, issuer));
        // of a root clients have their own copy, whatever else this one says
        let root = |issuer: &&Certificate| {
            self.is_root(issuer) && issuer.is_ca && issuer.valid_at(self.now)
        };
        if named.is_empty() {
            return Ok(Some(self.tree(top)));
        }
        if !is_leaf || named.iter().any(root) {
            return Ok(None);
        }
        // any fit issuer would begin the path
        let tree = self.tree(top);
        let what = format!("the issuer of the certificate is there, but unfit:\n{tree}");
        let hint = "import the certificate again with the current certificate of its issuer";
        Err(Reason::Unfit.error(what).hint(hint))
    }

    /// Whether `issuer` signed `signed`, as far as that is known.
    fn links(&self, signed: &Certificate, issuer: &Certificate) -> bool {
        self.signature(signed, issuer) != Signature::Foreign
    }

    /// Checks each link once; beyond the limit none counts.
    fn signature(&self, signed: &Certificate, issuer: &Certificate) -> Signature {
        // certificates stay where they are during a search: their addresses tell them apart
        let address = |certificate: &Certificate| std::ptr::from_ref(certificate).addr();
        let mut checked = self.checked.borrow_mut();
        if !signed.names_as_issuer(issuer) || checked.len() >= MOST_SIGNATURE_CHECKS {
            return Signature::Foreign;
        }
        let link = checked.entry((address(signed), address(issuer)));
        *link.or_insert_with(|| signed.signed_by(issuer))
    }

    /// The certificate, and each one that has the name of its issuer, with what is wrong with it.
    fn tree(&self, signed: &Certificate) -> String {
        let mut tree = signed.to_string();
        let mut missing = true;
        let named = |c: &&Certificate| signed.names_as_issuer(c) && c.der != signed.der;
        for issuer in self.certificates.iter().filter(named) {
            let (begin, end) = (issuer.not_before, issuer.not_after);
            let why = match issuer.issuer_flaw() {
                Some(flaw) => flaw.to_owned(),
                None if self.now > end => format!("expired at {}", rfc3339(end)),
                None if self.now < begin => format!("becomes valid at {}", rfc3339(begin)),
                None => "has this name, but did not sign".to_owned(),
            };
            tree.push_str(&format!("\n  <- {issuer} {why}"));
            missing &= issuer.issuer_flaw().is_none() && issuer.valid_at(self.now);
        }
        if missing {
            tree.push_str(&format!("\n  <- {} is missing", signed.issuer));
        }
        tree
    }
}

/// Everything that no path of names leads to from `leaf`.
fn strangers<'a>(leaf: &'a Certificate, certificates: &'a [Certificate]) -> Vec<&'a Certificate> {
    let mut strangers: Vec<&Certificate> = certificates.iter().collect();
    let mut reached = vec![leaf];
    while let Some(signed) = reached.pop() {
        let is_issuer = |c: &mut &'a Certificate| signed.names_as_issuer(c);
        reached.extend(strangers.extract_if(.., is_issuer));
    }
    strangers.retain(|certificate| certificate.der != leaf.der);
    strangers
}

/// Whether a built-in root, or one of the `further` ones, signed `certificate`, or is it.
pub(crate) fn reaches_root(certificate: &Certificate, further: &[CertificateDer<'_>]) -> bool {
    let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let roots = built_in.chain(further);
    let mut roots = roots.filter_map(|root| Certificate::from_der(root).ok());
    roots.any(|root| certificate.signed_by(&root) != Signature::Foreign)
}

#[cfg(test)]
mod tests;
