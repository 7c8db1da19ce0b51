//! Step 3, assemble: PEM texts -> a [`Bundle`] that is fit to serve, or the reason why not.
//!
//! Belongs here: which certificate is the leaf, which chain goes with it, and whether that can be
//! served at all. Does not: whether it is better than what is deployed (`replace.rs`). Pure: no
//! network, no clock; `now` is an argument.
//!
//! One rule for the chain: the longest path of verified signatures, leaf first, whose certificates
//! are all valid now, self-signed roots left out; among twins (same subject, key and issuer) the one
//! with the newest `notBefore`. The same material in any order gives the same bytes.

use std::cmp::Reverse;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, UnixTime};
use zeroize::Zeroizing;

use crate::cert::certificate::{Certificate, chain_sha256, rfc3339};
use crate::cert::chain::{self, Chain};
use crate::cert::pem;
use crate::error::{Error, Finding, Reason, error};
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
    /// Whether every signature of the chain could be verified.
    pub verified: bool,
    /// The private key in PEM.
    pub key_pem: Secret,
    /// What is worth a look.
    pub findings: Vec<Finding>,
}

/// Makes a bundle of the material, if it is fit to serve at `now`.
///
/// # Errors
/// Exit status 6, with the most specific reason.
pub fn assemble(material: &Material, now: UnixTime) -> Result<Bundle, Error> {
    let certificates = certificates(material)?;
    let key = private_key(material)?;
    let leaf = leaf(&certificates, &key, now)?;
    let chain = chain::build(leaf, &certificates, now)?;

    let mut findings = Vec::new();
    let mut find = |code, message| findings.push(Finding::new(code, message));
    if let Some(tree) = &chain.gap {
        find(
            Reason::ChainGap,
            format!(
                "the issuer of the certificate is missing, many clients will not trust the server:\n{tree}"
            ),
        );
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
        find(
            Reason::ChainStranger,
            format!(
                "left out, since they belong to no chain of {}: {}",
                leaf.subject_text,
                list(chain.strangers.iter().map(|c| c.subject_text.as_str()))
            ),
        );
    }
    let label = pem::key_label(&key).map_err(|e| Error::new(Reason::KeyUnusable, e))?;
    let key_pem = Secret::from(pem::write(label, key.secret_der()).to_string());
    Ok(Bundle::new(&material.name, leaf, chain, key_pem, findings))
}

impl Bundle {
    fn new(
        name: &str,
        leaf: &Certificate,
        chain: Chain<'_>,
        key_pem: Secret,
        findings: Vec<Finding>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            leaf: Arc::new(leaf.clone()),
            verified: chain.unverified.is_none(),
            intermediates: chain.path.into_iter().cloned().collect(),
            key_pem,
            findings,
        }
    }

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

    /// The same with its missing issuers taken from `certificates`, if their signatures verify and
    /// they are valid at `now`; none, if nothing is missing or nothing fits.
    #[must_use]
    pub fn completed(&self, certificates: &[Certificate], now: UnixTime) -> Option<Self> {
        if !self.findings.iter().any(|f| f.code == Reason::ChainGap) {
            return None;
        }
        let mut issuers: Vec<Certificate> =
            certificates.iter().filter(|c| c.is_ca).cloned().collect();
        issuers.sort_by_cached_key(newest_first);
        let chain = chain::build(&self.leaf, &issuers, now).ok()?;
        let first = chain.path.first()?;
        if chain.unverified.is_some() || chain.gap.is_some() {
            return None;
        }
        let mut findings = self.findings.clone();
        findings.retain(|finding| finding.code != Reason::ChainGap);
        findings.push(Finding::new(
            Reason::ChainCompleted,
            format!(
                "Secrets Manager gives no issuer: {} was taken over from the deployed chain",
                first.subject_text
            ),
        ));
        let key_pem = Secret::from(self.key_pem.expose().to_owned());
        Some(Self::new(&self.name, &self.leaf, chain, key_pem, findings))
    }

    /// The last certificate that is sent.
    #[must_use]
    pub fn top(&self) -> &Certificate {
        self.intermediates.last().unwrap_or(&self.leaf)
    }
}

/// The order that makes the result independent of that of the material.
fn newest_first(certificate: &Certificate) -> (Reverse<UnixTime>, String) {
    (Reverse(certificate.not_before), certificate.sha256())
}

/// All certificates of all fields, each once.
fn certificates(material: &Material) -> Result<Vec<Certificate>, Error> {
    let mut certificates: Vec<Certificate> = Vec::new();
    for (field, text) in &material.certificates {
        let unreadable = |e: anyhow::Error| {
            Error::new(
                Reason::PemUnreadable,
                e.context(format!("{field} cannot be read")),
            )
        };
        let blocks = pem::read(text).map_err(unreadable)?;
        for (position, der) in blocks.certificates.into_iter().enumerate() {
            if certificates.iter().any(|other| other.der == der) {
                continue;
            }
            let certificate = Certificate::from_der(der).map_err(|e| {
                unreadable(e.context(format!("certificate {} of it", position + 1)))
            })?;
            certificates.push(certificate);
            if certificates.len() > MOST_CERTIFICATES {
                return Err(error!(
                    Reason::PemUnreadable,
                    "there are more than {MOST_CERTIFICATES} different certificates"
                ));
            }
        }
    }
    if certificates.is_empty() {
        return Err(error!(
            Reason::CertificateMissing,
            "the secret is active, but holds no certificate (looked into {})",
            list(material.certificates.iter().map(|(field, _)| *field))
        ));
    }
    certificates.sort_by_cached_key(newest_first);
    Ok(certificates)
}

/// The one private key.
fn private_key(material: &Material) -> Result<Zeroizing<PrivateKeyDer<'static>>, Error> {
    let blocks = pem::read(material.key.expose())
        .map_err(|e| Error::new(Reason::KeyUnusable, e.context("private_key cannot be read")))?;
    if blocks.encrypted_key {
        return Err(error!(Reason::KeyUnusable, "the private key is encrypted")
            .hint("import the certificate again with an unencrypted key"));
    }
    let mut keys: Vec<_> = blocks.keys.into_iter().map(Zeroizing::new).collect();
    keys.dedup_by(|a, b| a.secret_der() == b.secret_der());
    let count = keys.len();
    match (keys.pop(), count) {
        (Some(key), 1) => Ok(key),
        (None, _) => Err(error!(
            Reason::KeyUnusable,
            "private_key holds no PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY"
        )),
        (Some(_), _) => Err(error!(
            Reason::KeyUnusable,
            "private_key holds {count} different keys, expected one"
        )),
    }
}

/// The `SubjectPublicKeyInfo` of a private key in DER; none, if TLS servers here cannot use the key.
#[must_use]
pub fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let key = any_supported_type(key).ok()?;
    Some(key.public_key()?.as_ref().to_vec())
}

/// The certificate that the key belongs to; if several are fit, the newest.
fn leaf<'a>(
    certificates: &'a [Certificate],
    key: &PrivateKeyDer<'_>,
    now: UnixTime,
) -> Result<&'a Certificate, Error> {
    let public_key = public_key(key).ok_or_else(|| {
        error!(
            Reason::KeyUnusable,
            "the private key is damaged, or of a type or size that is not supported (the certificates are for {})",
            list(certificates.iter().map(|c| format!("{}: {}", c.subject_text, c.key_kind())))
        )
        .hint("use RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519")
    })?;
    let mut candidates = certificates
        .iter()
        .filter(|certificate| certificate.public_key == public_key)
        .map(|certificate| fit_to_serve(certificate, now).map(|()| certificate));
    let Some(first) = candidates.next() else {
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
            Reason::NotForServers,
            "the certificate {subject} (serial {serial}) {what}"
        )
        .hint("issue or import a certificate for TLS servers"))
    };
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
            "the certificate {subject} (serial {serial}) is valid from {} on",
            rfc3339(certificate.not_before)
        ));
    }
    Ok(())
}

/// A list for a message, fit for a log line.
fn list(items: impl Iterator<Item = impl Into<String>>) -> String {
    let items: Vec<String> = items.map(Into::into).collect();
    if items.is_empty() {
        return "nothing".to_owned();
    }
    sanitized(&items.join(" | "))
}
