//! Step 3, assemble: PEM texts -> a [`Bundle`] that is fit to serve, or the reason why not.
//!
//! Which certificate is the leaf, and whether it and its chain can be served at all; not whether that
//! is better than what is deployed (`compare.rs`). Pure: `now` is an argument.

use std::cmp::Reverse;
use std::sync::Arc;

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, Fault, chain_sha256, rfc3339};
use crate::cert::chain::{self, Chain, Gap};
use crate::cert::handshake;
use crate::cert::key::PrivateKey;
use crate::cert::pem;
use crate::error::{Error, Reason, error};
use crate::secret::Secret;
use crate::sync::fetch::Material;
use crate::text::sanitized;

/// More certificates than any real chain has: what is beyond is a mistake, or an attack.
const MOST_CERTIFICATES: usize = 64;

/// A certificate with its chain and key, fit to serve.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The name of the secret that it comes from, fit for a message.
    pub name: String,
    /// The certificate of the server; what comes afterwards shares it.
    pub leaf: Arc<Certificate>,
    /// Its chain, issuer by issuer, without the root.
    pub intermediates: Vec<Certificate>,
    /// Where an issuer is missing, if one is.
    pub gap: Option<Gap>,
    /// Whether every signature of the chain could be verified.
    pub verified: bool,
    /// What keeps Envoy or strict clients from using it, leaf or chain.
    pub faults: Vec<Fault>,
    /// The private key in PEM, as it is written.
    pub key_pem: Arc<Secret>,
    /// When the secret was last changed.
    pub updated_at: Option<UnixTime>,
    /// What deserves attention.
    pub findings: Vec<Error>,
}

/// Makes a bundle of the material, if it is fit to serve at `now`.
///
/// # Errors
/// Exit status 6, with the most specific reason.
pub fn assemble(material: &Material, now: UnixTime) -> Result<Bundle, Error> {
    let (mut readable, unreadable) = certificates(material)?;
    let key = private_key(material, &readable)?;
    let position = leaf(&readable, &key, &unreadable, now)?;
    // its place in the order is of no more use, and all others are candidates for its chain
    let leaf = Arc::new(readable.remove(position));
    let chain = chain::build(&leaf, &readable, now)?;
    if let Some(weak) = chain
        .path
        .iter()
        .find(|issuer| issuer.weak_digest.is_some())
    {
        return Err(weak_signature(weak));
    }
    if let (Some(gap), false) = (&chain.gap, unreadable.is_empty()) {
        let missing = format!("and an issuer is missing:\n{gap}");
        return Err(pem_unreadable(&unreadable, &missing));
    }
    if !chain.strangers.is_empty() {
        log::info!(
            "left out, not part of the chain of {}: {}",
            leaf.subject,
            list(chain.strangers.iter().map(|c| &c.subject))
        );
    }
    if !unreadable.is_empty() {
        log::warn!("left out, unreadable and not needed: {}", list(&unreadable));
    }
    let key_pem = Arc::new(Secret::from(key.to_pem()));
    let bundle = Bundle::of(&material.name, &leaf, &chain, &key_pem);
    Ok(Bundle {
        updated_at: material.updated_at,
        ..bundle
    })
}

impl Bundle {
    fn of(name: &str, leaf: &Arc<Certificate>, chain: &Chain<'_>, key_pem: &Arc<Secret>) -> Self {
        let subject = &leaf.subject;
        let mut findings = Vec::new();
        let mut find = |code, message| findings.push(Error::new(code, message));
        if let Some(gap) = &chain.gap {
            find(
                Reason::ChainGap,
                format!(
                    "the issuer of the certificate is missing, many clients will not trust the server:\n{gap}"
                ),
            );
        }
        if let Some(signed) = chain.misfit {
            find(
                Reason::ChainGap,
                format!(
                    "{} names another certificate of its issuer {} (authority key identifier) than the one at hand, so that OpenSSL refuses the chain: import it again with that one",
                    signed.subject, signed.issuer
                ),
            );
        }
        if let Some(signed) = chain.unverified {
            find(
                Reason::ChainUnverified,
                format!(
                    "the signature of {} by {} uses an algorithm that is not verified here, and that servers and clients may not know",
                    signed.subject, signed.issuer
                ),
            );
        }
        if leaf.only_deciphers() {
            find(
                Reason::Unfit,
                format!(
                    "the key usage of {subject} has no digitalSignature, so that TLS 1.3 and strict clients cannot use it: issue it with that"
                ),
            );
        }
        let intermediates: Vec<Certificate> = chain.path.iter().copied().cloned().collect();
        let mut faults = leaf.faults();
        faults.extend(intermediates.iter().flat_map(Certificate::faults));
        faults.dedup();
        Self {
            name: name.to_owned(),
            leaf: Arc::clone(leaf),
            intermediates,
            gap: chain.gap.clone(),
            verified: chain.unverified.is_none(),
            faults,
            key_pem: Arc::clone(key_pem),
            updated_at: None,
            findings,
        }
    }

    /// All certificates, leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> + Clone {
        std::iter::once(&*self.leaf).chain(&self.intermediates)
    }

    /// Leaf and chain in PEM, as a TLS secret holds them.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.chain()
            .map(|certificate| pem::write("CERTIFICATE", &certificate.der).to_string())
            .collect()
    }

    /// The SHA-256 digest of the whole chain, DER after DER, lower-case hex.
    #[must_use]
    pub fn chain_sha256(&self) -> String {
        chain_sha256(self.chain())
    }

    /// The same with a better chain from `deployed`, if its signatures verify and it is valid at `now`:
    /// for any leaf, if an issuer is missing; for the deployed leaf, also if the chain does not fit the
    /// authority key identifier or ends soon, and with the deployed one does not. None, if nothing is
    /// better.
    #[must_use]
    pub fn completed(&self, deployed: &[Certificate], now: UnixTime) -> Option<Self> {
        let is_deployed = deployed
            .first()
            .is_some_and(|leaf| leaf.der == self.leaf.der);
        let soon = now.as_secs() + chain::too_late(&self.leaf, self.leaf.has_stamps);
        let ends_soon = |links: Links| is_deployed && links.first_end.as_secs() < soon;
        let own = Links::of(self.chain())?;
        let is_misfit = is_deployed && !own.fits;
        if self.gap.is_none() && !is_misfit && !ends_soon(own) {
            return None;
        }
        let deployed = deployed.iter().filter(|c| c.is_ca);
        let mut issuers: Vec<Certificate> = deployed.chain(&self.intermediates).cloned().collect();
        issuers.sort_by_cached_key(newest_first);
        let chain = chain::build(&self.leaf, &issuers, now).ok()?;
        let weak = chain.path.iter().any(|issuer| issuer.weak_digest.is_some());
        if weak || chain.unverified.is_some() || chain.gap.is_some() {
            return None;
        }
        let mut completed = Self::of(&self.name, &self.leaf, &chain, &self.key_pem);
        let new = Links::of(completed.chain())?;
        let message = if self.gap.is_some() {
            let first = chain.path.get(self.intermediates.len())?;
            format!(
                "Secrets Manager holds no issuer: {} was taken over from the deployed chain",
                first.subject
            )
        } else if is_misfit && new.fits {
            "the deployed chain stays: that of Secrets Manager does not fit the authority key identifier"
                .to_owned()
        } else if ends_soon(own) && !ends_soon(new) {
            let end = rfc3339(own.first_end);
            format!("the deployed chain stays: that of Secrets Manager ends at {end}")
        } else {
            return None;
        };
        let finding = Error::new(Reason::ChainCompleted, message);
        completed.findings.push(finding);
        completed.updated_at = self.updated_at;
        Some(completed)
    }

    /// The last certificate that is sent.
    #[must_use]
    pub fn top(&self) -> &Certificate {
        self.intermediates.last().unwrap_or(&self.leaf)
    }

    /// What a client would say to `certificate_pem`, this bundle's own, with its key.
    ///
    /// # Errors
    /// [`Reason::Unfit`].
    pub fn rehearse(&self, certificate_pem: &str, now: UnixTime) -> Result<Vec<Error>, Error> {
        handshake::rehearse(certificate_pem, self.key_pem.expose(), self.verified, now)
    }
}

/// The order that makes the result independent of that of the material.
fn newest_first(certificate: &Certificate) -> (Reverse<UnixTime>, String) {
    (Reverse(certificate.not_before), certificate.sha256())
}

/// What the fields hold: certificates, each once, newest first; and what may be one, with its field and why
/// it cannot be read.
fn certificates(material: &Material) -> Result<(Vec<Certificate>, Vec<String>), Error> {
    let mut readable: Vec<Certificate> = Vec::new();
    let mut unreadable = Vec::new();
    let fields = || material.certificates.iter().map(|(field, _)| *field);
    for (position, (field, text)) in material.certificates.iter().enumerate() {
        // entries of a list have the name of their field in common
        let field = match fields().filter(|other| other == field).count() {
            1 => (*field).to_owned(),
            _ => {
                let before = fields().take(position).filter(|other| other == field);
                format!("{field}[{}]", before.count())
            }
        };
        for certificate in pem::certificates(text) {
            match certificate {
                Ok(certificate) if readable.iter().any(|other| other.der == certificate.der) => {}
                Ok(certificate) => readable.push(certificate),
                Err(why) => unreadable.push(format!("{field}: {why}")),
            }
            if readable.len().max(unreadable.len()) > MOST_CERTIFICATES {
                return Err(error!(
                    Reason::PemUnreadable,
                    "there are more than {MOST_CERTIFICATES} different certificates"
                ));
            }
        }
    }
    match (readable.as_slice(), unreadable.as_slice()) {
        ([], []) => Err(error!(
            Reason::PemUnreadable,
            "the secret contains no PEM certificate (fields: {})",
            list(fields())
        )
        .hint("import or rotate the certificate in Secrets Manager")),
        ([], unreadable) => Err(pem_unreadable(
            unreadable,
            "and there is no other certificate",
        )),
        _ => Ok(()),
    }?;
    readable.sort_by_cached_key(newest_first);
    Ok((readable, unreadable))
}

/// What cannot be read may be what is missing.
fn pem_unreadable(unreadable: &[String], missing: &str) -> Error {
    error!(
        Reason::PemUnreadable,
        "a certificate cannot be read ({}), {missing}",
        list(unreadable)
    )
    .hint("import the certificate again as plain PEM: each block with its BEGIN and END line")
}

/// The one private key.
fn private_key(material: &Material, certificates: &[Certificate]) -> Result<PrivateKey, Error> {
    PrivateKey::from_pem(material.key.expose()).map_err(|error| {
        let kinds = certificates
            .iter()
            .map(|c| format!("{}: {}", c.subject, c.key_kind()));
        error!(
            Reason::KeyUnusable,
            "private_key: {error} (the certificates are for {})",
            list(kinds)
        )
    })
}

/// The position of the certificate that the key belongs to; if several are fit, of the newest.
fn leaf(
    certificates: &[Certificate],
    key: &PrivateKey,
    unreadable: &[String],
    now: UnixTime,
) -> Result<usize, Error> {
    let mut candidates = certificates
        .iter()
        .enumerate()
        .filter(|(_, certificate)| certificate.public_key == key.public)
        .map(|(position, certificate)| fit_to_serve(certificate, now).map(|()| position));
    let Some(first) = candidates.next() else {
        if !unreadable.is_empty() {
            let missing = "and the private key belongs to none of the others";
            return Err(pem_unreadable(unreadable, missing));
        }
        return Err(error!(
            Reason::KeyMismatch,
            "the private key belongs to none of the certificates: {}",
            list(
                certificates
                    .iter()
                    .map(|c| format!("{} (serial {})", c.subject, c.serial))
            )
        )
        .hint("import the certificate again together with its own key"));
    };
    // certificates are sorted: the first fit one is the newest, and so is the first reason
    match candidates.find(Result::is_ok) {
        Some(Ok(other)) if first.is_err() => Ok(other),
        _ => first,
    }
}

/// Whether a TLS client would accept this certificate as that of a server.
fn fit_to_serve(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let is = format!(
        "the certificate {} (serial {})",
        certificate.subject, certificate.serial
    );
    if certificate.weak_digest.is_some() && !certificate.self_signed() {
        return Err(weak_signature(certificate));
    }
    if let Some(flaw) = certificate.leaf_flaw() {
        return Err(error!(Reason::Unfit, "{is} {flaw}")
            .hint("issue or import a certificate for TLS servers"));
    }
    if now > certificate.not_after {
        let end = rfc3339(certificate.not_after);
        return Err(error!(Reason::Expired, "{is} expired at {end}")
            .hint("find out why Secrets Manager did not renew it, or import a new one"));
    }
    if now < certificate.not_before {
        let begin = rfc3339(certificate.not_before);
        return Err(error!(Reason::NotYetValid, "{is} becomes valid at {begin}"));
    }
    Ok(())
}

/// That a certificate which would be sent has a signature that clients and servers refuse.
fn weak_signature(certificate: &Certificate) -> Error {
    error!(
        Reason::WeakSignature,
        "the certificate {} (serial {}) is signed with {}, which clients and servers no longer accept",
        certificate.subject,
        certificate.serial,
        certificate.weak_digest.unwrap_or_default()
    )
    .hint("have it issued with SHA-256, or import the issuer's current certificate")
}

/// What matters of a chain as it is sent, leaf first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Links {
    /// Whether each one's authority key identifier fits the next.
    fits: bool,
    /// The earliest end.
    first_end: UnixTime,
}

impl Links {
    fn of<'a>(chain: impl Iterator<Item = &'a Certificate> + Clone) -> Option<Self> {
        let mut links = chain.clone().zip(chain.clone().skip(1));
        Some(Self {
            fits: links.all(|(signed, issuer)| signed.fits_issuer(issuer)),
            first_end: chain.map(|certificate| certificate.not_after).min()?,
        })
    }
}

/// A list for a message, fit for a log line.
fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        return "nothing".to_owned();
    }
    sanitized(&items.join(" | "))
}

#[cfg(test)]
mod tests;
