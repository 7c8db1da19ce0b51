//! Step 3, assemble: PEM texts -> a [`Bundle`] that is fit to serve, or the reason why not.
//!
//! Belongs here: which certificate is the leaf, and whether it and its chain can be served at all.
//! Does not: whether that is better than what is deployed (`compare.rs`). Pure: no network, no clock;
//! `now` is an argument.

use std::cmp::Reverse;
use std::sync::Arc;

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, chain_sha256, rfc3339};
use crate::cert::certificates;
use crate::cert::chain::{self, Gap};
use crate::cert::handshake;
use crate::cert::key::{KeyError, PrivateKey};
use crate::cert::pem;
use crate::error::{Error, Reason, error};
use crate::secret::Secret;
use crate::sync::fetch::Material;
use crate::text::sanitized;

/// More certificates than any real chain has: what is beyond is a mistake, or an attack.
const MOST_CERTIFICATES: usize = 64;

/// A certificate with its chain and key, fit to serve.
#[derive(Debug)]
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
    /// The private key in PEM, as it is written.
    pub key_pem: Arc<Secret>,
    /// What deserves attention.
    pub findings: Vec<Error>,
}

/// Makes a bundle of the material, if it is fit to serve at `now`.
///
/// # Errors
/// Exit status 6, with the most specific reason.
pub fn assemble(material: &Material, now: UnixTime) -> Result<Bundle, Error> {
    let Certificates {
        mut readable,
        unreadable,
    } = certificates(material)?;
    let key = private_key(material, &readable)?;
    let position = leaf(&readable, &key, &unreadable, now)?;
    // its place in the order is of no more use, and all others are candidates for its chain
    let leaf = readable.remove(position);
    let chain = chain::build(&leaf, &readable, now)?;
    if let (Some(gap), false) = (&chain.gap, unreadable.is_empty()) {
        return Err(pem_unreadable(
            &unreadable,
            &format!("and an issuer is missing:\n{gap}"),
        ));
    }

    let mut findings = Vec::new();
    let mut find = |code, message| findings.push(Error::new(code, message));
    if let Some(gap) = &chain.gap {
        find(Reason::ChainGap, missing_issuer(gap));
    }
    if let Some((signed, issuer)) = chain.unverified {
        find(
            Reason::ChainUnverified,
            format!(
                "the signature of {} by {} uses an algorithm that is not verified here",
                signed.subject_text, issuer.subject_text
            ),
        );
    }
    if !chain.strangers.is_empty() {
        log::info!(
            "left out, not part of the chain of {}: {}",
            leaf.subject_text,
            list(chain.strangers.iter().map(|c| c.subject_text.as_str()))
        );
    }
    if !unreadable.is_empty() {
        log::warn!("left out, unreadable and not needed: {}", list(&unreadable));
    }
    Ok(Bundle {
        name: material.name.clone(),
        gap: chain.gap,
        verified: chain.unverified.is_none(),
        intermediates: chain.path.into_iter().cloned().collect(),
        leaf: Arc::new(leaf),
        key_pem: Arc::new(Secret::from(key.to_pem().to_string())),
        findings,
    })
}

fn missing_issuer(gap: &Gap) -> String {
    format!(
        "the issuer of the certificate is missing, many clients will not trust the server:\n{gap}"
    )
}

impl Bundle {
    /// All certificates, leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> {
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

    /// The same with its missing issuers taken from `deployed`, if their signatures verify and they
    /// are valid at `now`; none, if nothing is missing or nothing fits.
    #[must_use]
    pub fn completed(&self, deployed: &[Certificate], now: UnixTime) -> Option<Self> {
        self.gap.as_ref()?;
        let mut issuers: Vec<Certificate> = deployed
            .iter()
            .filter(|c| c.is_ca)
            .chain(&self.intermediates)
            .cloned()
            .collect();
        issuers.sort_by_cached_key(newest_first);
        let chain = chain::build(&self.leaf, &issuers, now).ok()?;
        let first = chain.path.get(self.intermediates.len())?;
        if chain.unverified.is_some() || chain.gap.is_some() {
            return None;
        }
        let mut findings = self.findings.clone();
        findings.retain(|finding| finding.reason != Reason::ChainGap);
        findings.push(Error::new(
            Reason::ChainCompleted,
            format!(
                "Secrets Manager holds no issuer: {} was taken over from the deployed chain",
                first.subject_text
            ),
        ));
        Some(Self {
            name: self.name.clone(),
            leaf: Arc::clone(&self.leaf),
            intermediates: chain.path.into_iter().cloned().collect(),
            gap: None,
            verified: true,
            key_pem: Arc::clone(&self.key_pem),
            findings,
        })
    }

    /// The last certificate that is sent.
    #[must_use]
    pub fn top(&self) -> &Certificate {
        self.intermediates.last().unwrap_or(&self.leaf)
    }

    /// A TLS handshake in memory with `certificate_pem`, this bundle's own, and its key.
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

/// What the fields hold.
struct Certificates {
    /// Each once, newest first.
    readable: Vec<Certificate>,
    /// What may be a certificate, and why it cannot be read, each with its field.
    unreadable: Vec<String>,
}

fn certificates(material: &Material) -> Result<Certificates, Error> {
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
        for certificate in certificates::from_pem(text) {
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
    if readable.is_empty() && !unreadable.is_empty() {
        return Err(pem_unreadable(
            &unreadable,
            "and there is no other certificate",
        ));
    }
    if readable.is_empty() {
        return Err(error!(
            Reason::PemUnreadable,
            "the secret is active, but holds no certificate (looked into {})",
            list(fields())
        ));
    }
    readable.sort_by_cached_key(newest_first);
    Ok(Certificates {
        readable,
        unreadable,
    })
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
        let kinds = || {
            list(
                certificates
                    .iter()
                    .map(|c| format!("{}: {}", c.subject_text, c.key_kind())),
            )
        };
        match error {
            KeyError::Encrypted => error!(Reason::KeyUnusable, "private_key: {error}")
                .hint("import the certificate again with an unencrypted key"),
            KeyError::Unsupported(_) => error!(Reason::KeyUnusable, "private_key: {error}")
                .hint("use RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519"),
            KeyError::Malformed(_) => error!(
                Reason::KeyUnusable,
                "private_key: {error} (the certificates are for {})",
                kinds()
            ),
            _ => error!(Reason::KeyUnusable, "private_key: {error}"),
        }
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
                    .map(|c| format!("{} (serial {})", c.subject_text, c.serial))
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
    let subject = &certificate.subject_text;
    let serial = &certificate.serial;
    let not_for_servers = |what: &str| {
        Err(error!(
            Reason::Unfit,
            "the certificate {subject} (serial {serial}) {what}"
        )
        .hint("issue or import a certificate for TLS servers"))
    };
    if let Some(oddity) = &certificate.oddity {
        return Err(error!(
            Reason::PemUnreadable,
            "the certificate {subject} (serial {serial}) {oddity}: not every server and client reads it"
        )
        .hint("issue or import another certificate"));
    }
    if certificate.weak_digest.is_some() && !certificate.self_issued() {
        return Err(chain::weak_signature(certificate));
    }
    if certificate.is_ca {
        return not_for_servers("is that of a CA");
    }
    if !certificate.for_servers {
        return not_for_servers("is not meant for TLS servers (extended key usage)");
    }
    if !certificate.key_serves {
        return not_for_servers("has a key that may not serve (key usage)");
    }
    if certificate.names.is_empty() {
        return not_for_servers("names no server (no DNS name or IP address in subjectAltName)");
    }
    if now > certificate.not_after {
        return Err(error!(
            Reason::Expired,
            "the certificate {subject} (serial {serial}) expired at {}",
            rfc3339(certificate.not_after)
        )
        .hint("find out why Secrets Manager did not renew it, or import a new one"));
    }
    if now < certificate.not_before {
        return Err(error!(
            Reason::NotYetValid,
            "the certificate {subject} (serial {serial}) becomes valid at {}",
            rfc3339(certificate.not_before)
        ));
    }
    Ok(())
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
