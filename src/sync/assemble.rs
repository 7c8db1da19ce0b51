//! Step 3, assemble: PEM texts -> a [`Bundle`] that is fit to serve, or the reason why not.
//!
//! Which certificate is the leaf, and whether it and its chain can be served at all; not whether that
//! is better than what is deployed (`compare.rs`). Pure: `now` is an argument.

use std::cmp::Reverse;
use std::sync::Arc;

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{Certificate, Fault, rfc3339};
use crate::cert::chain::{self, Chain};
use crate::cert::handshake;
use crate::cert::key::PrivateKey;
use crate::cert::pem;
use crate::error::{Error, Reason};
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
    /// If an issuer is missing: what there is, drawn as a tree.
    pub gap: Option<String>,
    /// Whether an issuer is another one than the authority key identifier names.
    misfit: bool,
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
    // all others are candidates for its chain
    let leaf = Arc::new(readable.remove(position));
    let chain = chain::build(&leaf, &readable, now)?;
    if let Some(weak) = weak(&chain) {
        return Err(weak_signature(weak));
    }
    if let (Some(gap), false) = (&chain.gap, unreadable.is_empty()) {
        let missing = format!("and an issuer is missing:\n{gap}");
        return Err(pem_unreadable(&unreadable, &missing));
    }
    if !chain.strangers.is_empty() {
        let others = list(&chain.strangers);
        log::info!("left out, not part of the chain of {leaf}: {others}");
    }
    if !unreadable.is_empty() {
        log::warn!("left out, unreadable and not needed: {}", list(&unreadable));
    }
    let key_pem = Arc::new(Secret::new(key.to_pem()));
    let mut bundle = Bundle::of(&material.name, &leaf, &chain, &key_pem);
    bundle.updated_at = material.updated_at;
    Ok(bundle)
}

impl Bundle {
    fn of(name: &str, leaf: &Arc<Certificate>, chain: &Chain<'_>, key_pem: &Arc<Secret>) -> Self {
        let gap = chain.gap.as_ref().map(|gap| {
            Reason::ChainGap.error(format!(
                "the issuer of the certificate is missing, many clients will not trust the server:\n{gap}"
            ))
        });
        let misfit = chain.misfit.map(|Certificate { subject, issuer, .. }| {
            Reason::ChainGap.error(format!(
                "{subject} names another certificate of its issuer {issuer} (authority key identifier) than the one at hand, so that OpenSSL refuses the chain: import it again with that one"
            ))
        });
        let unverified = chain.unverified.map(|Certificate { subject, issuer, .. }| {
            Reason::ChainUnverified.error(format!(
                "the signature of {subject} by {issuer} uses an algorithm that is not verified here, and that servers and clients may not know"
            ))
        });
        let only_deciphers = leaf.only_deciphers().then(|| {
            Reason::Unfit.error(format!(
                "the key usage of {} has no digitalSignature, so that TLS 1.3 and strict clients cannot use it: issue it with that", leaf.subject
            ))
        });
        let findings = [gap, misfit, unverified, only_deciphers];
        let intermediates: Vec<Certificate> = chain.path.iter().copied().cloned().collect();
        let mut faults = leaf.faults();
        faults.extend(intermediates.iter().flat_map(Certificate::faults));
        faults.dedup();
        Self {
            name: name.to_owned(),
            leaf: Arc::clone(leaf),
            intermediates,
            gap: chain.gap.clone(),
            misfit: chain.misfit.is_some(),
            verified: chain.unverified.is_none(),
            faults,
            key_pem: Arc::clone(key_pem),
            updated_at: None,
            findings: findings.into_iter().flatten().collect(),
        }
    }

    /// All certificates, leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> + Clone {
        std::iter::once(&*self.leaf).chain(&self.intermediates)
    }

    /// Leaf and chain in PEM, as a TLS secret holds them.
    pub fn certificate_pem(&self) -> String {
        let block = |c: &Certificate| pem::write("CERTIFICATE", &c.der).to_string();
        self.chain().map(block).collect()
    }

    /// The same with a better chain from `deployed`, if its signatures verify and it is valid at `now`:
    /// for any leaf, if an issuer is missing; for the deployed leaf, also if the chain does not fit the
    /// authority key identifier or ends soon, and with the deployed one does not. None, if nothing is
    /// better.
    pub fn completed(&self, deployed: &[Certificate], now: UnixTime) -> Option<Self> {
        let deployed_leaf = deployed.first().map(|leaf| &leaf.der);
        let is_deployed = deployed_leaf == Some(&self.leaf.der);
        let soon = now.as_secs() + chain::too_late(&self.leaf, self.leaf.has_stamps);
        let ends_soon = |bundle: &Self| bundle.first_to_end().not_after.as_secs() < soon;
        let (is_misfit, is_ending) = (is_deployed && self.misfit, is_deployed && ends_soon(self));
        if self.gap.is_none() && !is_misfit && !is_ending {
            return None;
        }
        let deployed = deployed.iter().filter(|c| c.is_ca);
        let mut issuers: Vec<Certificate> = deployed.chain(&self.intermediates).cloned().collect();
        issuers.sort_by_cached_key(newest_first);
        let chain = chain::build(&self.leaf, &issuers, now).ok()?;
        if weak(&chain).is_some() || chain.unverified.is_some() || chain.gap.is_some() {
            return None;
        }
        let mut completed = Self::of(&self.name, &self.leaf, &chain, &self.key_pem);
        let message = if self.gap.is_some() {
            let first = &chain.path.get(self.intermediates.len())?.subject;
            format!(
                "Secrets Manager holds no issuer: {first} was taken over from the deployed chain"
            )
        } else if is_misfit && !completed.misfit {
            "the deployed chain stays: that of Secrets Manager does not fit the authority key identifier"
                .to_owned()
        } else if is_ending && !ends_soon(&completed) {
            let end = rfc3339(self.first_to_end().not_after);
            format!("the deployed chain stays: that of Secrets Manager ends at {end}")
        } else {
            return None;
        };
        let finding = Reason::ChainCompleted.error(message);
        completed.findings.push(finding);
        completed.updated_at = self.updated_at;
        Some(completed)
    }

    /// The one that ends first.
    pub fn first_to_end(&self) -> &Certificate {
        let first = self.chain().min_by_key(|certificate| certificate.not_after);
        first.unwrap_or(&self.leaf)
    }

    /// What a client would say to `certificate_pem`, this bundle's own, with its key; a finding, if
    /// something could not be checked.
    ///
    /// # Errors
    /// [`Reason::Unfit`].
    pub fn rehearse(&self, certificate_pem: &str, now: UnixTime) -> Result<Option<Error>, Error> {
        let key_pem = self.key_pem.expose();
        let limit = handshake::rehearse(certificate_pem, key_pem, self.verified, now);
        let limit = limit.map_err(|why| {
            let why = format!("TLS clients would refuse the certificate: {why:#}");
            let error = Reason::Unfit.error(why);
            error.hint("issue or import another certificate")
        })?;
        Ok(limit.map(|limit| Reason::ChainUnverified.error(limit)))
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
    for (field, text) in &material.certificates {
        for certificate in Certificate::all_in(text) {
            match certificate {
                Ok(certificate) if readable.iter().any(|other| other.der == certificate.der) => {}
                Ok(certificate) => readable.push(certificate),
                Err(why) => unreadable.push(format!("{field}: {why}")),
            }
            if readable.len().max(unreadable.len()) > MOST_CERTIFICATES {
                return Err(Reason::PemUnreadable.error(format!(
                    "there are more than {MOST_CERTIFICATES} different certificates"
                )));
            }
        }
    }
    if readable.is_empty() && unreadable.is_empty() {
        let fields = list(material.certificates.iter().map(|(field, _)| field));
        let what = format!("the secret contains no PEM certificate (fields: {fields})");
        let hint = "import or rotate the certificate in Secrets Manager";
        return Err(Reason::PemUnreadable.error(what).hint(hint));
    }
    if readable.is_empty() {
        let missing = "and there is no other certificate";
        return Err(pem_unreadable(&unreadable, missing));
    }
    readable.sort_by_cached_key(newest_first);
    Ok((readable, unreadable))
}

/// What cannot be read may be what is missing.
fn pem_unreadable(unreadable: &[String], missing: &str) -> Error {
    let unreadable = list(unreadable);
    let what = format!("a certificate cannot be read ({unreadable}), {missing}");
    let hint = "import the certificate again as plain PEM: each block with its BEGIN and END line";
    Reason::PemUnreadable.error(what).hint(hint)
}

/// The one private key.
fn private_key(material: &Material, certificates: &[Certificate]) -> Result<PrivateKey, Error> {
    PrivateKey::from_pem(material.key.expose()).map_err(|error| {
        let kind = |c: &Certificate| format!("{}: {}", c.subject, c.public_key.kind);
        let kinds = list(certificates.iter().map(kind));
        let what = format!("private_key: {error} (the certificates are for {kinds})");
        Reason::KeyUnusable.error(what)
    })
}

/// The position of the certificate that the key belongs to; if several are fit, of the newest.
fn leaf(
    certificates: &[Certificate],
    key: &PrivateKey,
    unreadable: &[String],
    now: UnixTime,
) -> Result<usize, Error> {
    let all = certificates.iter().enumerate();
    let own = all.filter(|(_, c)| c.public_key == key.public);
    let judged = own.map(|(position, c)| fit_to_serve(c, now).map(|()| position));
    // certificates are sorted: the first fit one is the newest, and so is the first reason
    if let Some(best) = judged.reduce(|best, next| best.or_else(|first| next.map_err(|_| first))) {
        return best;
    }
    if !unreadable.is_empty() {
        let missing = "and the private key belongs to none of the others";
        return Err(pem_unreadable(unreadable, missing));
    }
    let others = list(certificates);
    let what = format!("the private key belongs to none of the certificates: {others}");
    let hint = "import the certificate again together with its own key";
    Err(Reason::KeyMismatch.error(what).hint(hint))
}

/// Whether a TLS client would accept this certificate as that of a server.
fn fit_to_serve(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let is = format!("the certificate {certificate}");
    if certificate.weak_digest.is_some() && !certificate.self_signed() {
        return Err(weak_signature(certificate));
    }
    if let Some(flaw) = certificate.leaf_flaw() {
        return Err(Reason::Unfit
            .error(format!("{is} {flaw}"))
            .hint("issue or import a certificate for TLS servers"));
    }
    if now > certificate.not_after {
        let end = rfc3339(certificate.not_after);
        return Err(Reason::Expired
            .error(format!("{is} expired at {end}"))
            .hint("find out why Secrets Manager did not renew it, or import a new one"));
    }
    if now < certificate.not_before {
        let begin = rfc3339(certificate.not_before);
        return Err(Reason::NotYetValid.error(format!("{is} becomes valid at {begin}")));
    }
    Ok(())
}

/// That a certificate which would be sent has a signature that clients and servers refuse.
fn weak_signature(certificate: &Certificate) -> Error {
    let digest = certificate.weak_digest.unwrap_or_default();
    Reason::WeakSignature.error(format!(
        "the certificate {certificate} is signed with {digest}, which clients and servers no longer accept"
    ))
    .hint("have it issued with SHA-256, or import the issuer's current certificate")
}

/// The first issuer whose signature clients refuse.
fn weak<'a>(chain: &Chain<'a>) -> Option<&'a Certificate> {
    let mut issuers = chain.path.iter().copied();
    issuers.find(|issuer| issuer.weak_digest.is_some())
}

/// A list for a message, fit for a log line.
fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    sanitized(&items.join(" | "))
}

#[cfg(test)]
mod tests;
