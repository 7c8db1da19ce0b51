//! The rehearsal: the very bytes that are about to be written, judged as a TLS client would.
//!
//! The path is verified up to the top of the chain. The library takes an intermediate as trust anchor
//! without looking at its dates or whether it is a CA: `chain.rs` has. Where there is no chain to
//! verify (the issuer is missing, or is the root), possession of the key and the names remain.

use anyhow::{Context, bail, ensure};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::{Certificate, algorithms};
use super::key::PrivateKey;
use super::names::ServerName as Name;

/// Names that the TLS library is asked for one by one, each of which it compares with all: no public
/// CA takes more into a certificate.
const MOST_ASKED: usize = 100;

/// Judges these texts as a client would at `now`; returns what could not be checked, if anything.
/// `verified`: whether every signature of the chain could be verified.
///
/// # Errors
/// What a client would say.
pub(crate) fn rehearse(
    certificate_pem: &str,
    key_pem: &str,
    verified: bool,
    now: UnixTime,
) -> anyhow::Result<Option<String>> {
    // the very bytes: they are read again from the text
    let chain = Certificate::all_in(certificate_pem);
    let chain: Result<Vec<Certificate>, String> = chain.into_iter().collect();
    let chain = chain.map_err(anyhow::Error::msg)?;
    let leaf = chain.first().context("there is none")?;
    possession(leaf, key_pem)?;
    for (position, ca) in chain.iter().enumerate() {
        let mut below = chain.iter().take(position);
        let constraints = &ca.said.constraints;
        let refusal = below.find_map(|c| constraints.refusal(&c.subject_name, &c.names));
        if let Some(refusal) = refusal {
            bail!("the name constraints of {} {refusal}", ca.subject);
        }
    }
    // policies are the one thing that clients know and the library does not
    let parsed = ParsedCertificate::try_from(&leaf.der).ok();
    let is_known = leaf.said.critical_policies && leaf.leaf_flaw().is_none();
    let is_read = parsed.is_some() || is_known;
    ensure!(is_read, "it is not in the form that clients read");
    let mut refused: Vec<(&Name, ServerName<'_>)> =
        leaf.names.iter().filter_map(client_name).collect();
    let count = refused.len();
    refused.truncate(MOST_ASKED);
    refused.retain(|(_, asked)| {
        let parsed = parsed.as_ref();
        parsed.is_some_and(|parsed| verify_server_name(parsed, asked).is_err())
    });
    let is_found = refused.len() < count;
    ensure!(is_found, "no TLS client can ask for any of its names");
    let refused: Vec<String> = refused.iter().map(|(name, _)| name.to_string()).collect();
    let is_verified = match parsed {
        Some(parsed) if verified && chain.len() > 1 => verify_path(&parsed, &chain, now)?,
        parsed => parsed.is_some(),
    };
    if !is_verified {
        return Ok(Some(
            "the rehearsal cannot check everything in the chain (policies, constraints on directory names, names in other string types): TLS clients can"
                .to_owned(),
        ));
    }
    Ok((!refused.is_empty()).then(|| format!("not every client finds {}", refused.join(", "))))
}

/// Verifies the path from the leaf to the top of the chain, as a TLS client does; false, if it demands
/// what the library does not know.
fn verify_path(
    leaf: &ParsedCertificate<'_>,
    chain: &[Certificate],
    now: UnixTime,
) -> anyhow::Result<bool> {
    let (top, below) = chain.split_last().context("there is none")?;
    let is_known = |c: &Certificate| !c.said.critical_policies && c.said.constraints.is_plain();
    if !chain.iter().all(is_known) {
        return Ok(false);
    }
    let mut roots = RootCertStore::empty();
    let between: Vec<CertificateDer<'_>> = below.iter().skip(1).map(|c| c.der.clone()).collect();
    let result = roots.add(top.der.clone()).and_then(|()| {
        verify_server_cert_signed_by_trust_anchor(leaf, &roots, &between, now, algorithms().all)
    });
    match result {
        Ok(()) => Ok(true),
        // names were compared before: the library compares them byte by byte
        Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Ok(false),
        Err(_) => bail!("the path from it to {} does not verify", top.subject),
    }
}

/// The key signs, and the leaf verifies: by whichever algorithm both know first.
fn possession(leaf: &Certificate, key_pem: &str) -> anyhow::Result<()> {
    const MESSAGE: &[u8] = b"rehearsal";
    let key = PrivateKey::from_pem(key_pem)?;
    let key = any_supported_type(&key.der()).ok();
    let signer = key.and_then(|key| key.choose_scheme(&algorithms().supported_schemes()));
    let is_proven = signer.is_some_and(|signer| {
        let signature = signer.sign(MESSAGE);
        signature.is_ok_and(|signature| leaf.proves(signer.scheme(), MESSAGE, &signature))
    });
    ensure!(is_proven, "the private key does not fit it");
    Ok(())
}

/// The name with the one that a client asks for: any label replaces the star of a wildcard.
fn client_name(name: &Name) -> Option<(&Name, ServerName<'static>)> {
    let asked = match name {
        Name::Ip(address) => ServerName::IpAddress((*address).into()),
        Name::Dns(dns) => ServerName::try_from(dns.replacen('*', "any", 1)).ok()?,
    };
    name.can_be_asked_for().then_some((name, asked))
}

#[cfg(test)]
mod tests;
