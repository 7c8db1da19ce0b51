//! TLS handshakes: the dress rehearsal in memory with the very bytes that are about to be written,
//! and the verifier that it shares with the probe.
//!
//! Belongs here: whether a TLS server can serve them and a TLS client accepts them. Does not:
//! anything about the network; the bytes go from one buffer into the other.
//!
//! The path is verified up to the top of the chain. The library takes an intermediate as trust anchor
//! without looking at its dates or whether it is a CA: `chain.rs` has. Where there is no chain to
//! verify (the issuer is missing, or is the root), possession of the key and the names remain.

use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs::default_provider};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::{Certificate, key_of, subject_of};
use super::certificates;
use super::constraints::{Constraints, Refusal};
use super::key::PrivateKey;
use super::names::ServerName as Name;
use crate::error::{Error, Reason, error};

/// Flights that a handshake may take; TLS 1.3 needs three.
const MOST_FLIGHTS: usize = 10;
/// Names that the TLS library is asked for one by one, each of which it compares with all: no public
/// CA takes more into a certificate.
const MOST_ASKED: usize = 100;

/// Serves these texts to a client at `now`, and checks each of the names. `verified`: whether every
/// signature of the chain could be verified.
///
/// # Errors
/// [`Reason::Unfit`], with what the server or the client said.
pub(crate) fn rehearse(
    certificate_pem: &str,
    key_pem: &str,
    verified: bool,
    now: UnixTime,
) -> Result<Vec<Error>, Error> {
    // the very bytes: they are read again from the text
    let chain: Result<Vec<Certificate>, String> = certificates::from_pem(certificate_pem)
        .into_iter()
        .collect();
    let subject = match &chain {
        Ok(chain) => chain.first().map(|leaf| leaf.subject_text.clone()),
        Err(_) => None,
    };
    chain
        .map_err(anyhow::Error::msg)
        .and_then(|chain| perform(&chain, key_pem, verified, now))
        .map_err(|e| {
            let subject = subject.unwrap_or_default();
            error!(
                Reason::Unfit,
                "a TLS handshake with the certificate {subject} failed in memory: {e:#}"
            )
            .hint("a TLS client would fail like this, too: issue or import another certificate")
        })
}

fn perform(
    chain: &[Certificate],
    key_pem: &str,
    verified: bool,
    now: UnixTime,
) -> anyhow::Result<Vec<Error>> {
    let leaf = chain.first().context("no certificate")?;
    if let Some(broken) = broken_constraint(chain) {
        bail!("{broken}");
    }
    let mut findings = Vec::new();
    // policies are the one thing that clients know and the library does not
    let parsed = match ParsedCertificate::try_from(&leaf.der) {
        Err(_) if leaf.critical_policies && !leaf.unknown_critical => None,
        parsed => Some(parsed?),
    };
    let names = client_names(leaf, parsed.as_ref());
    match &parsed {
        Some(parsed) if constraints_are_plain(chain) && names_are_plain(chain) => {
            if verified && chain.len() > 1 {
                verify_path(parsed, chain, now)?;
            }
        }
        _ => findings.push(Error::new(
            Reason::ChainUnverified,
"the rehearsal cannot check everything in the chain (policies, constraints on directory names, names in other string types): TLS clients can",
        )),
    }
    let name = names
        .into_iter()
        .next()
        .context("no TLS client can ask for any of its names")?;
    possession(chain, key_pem, name, now)?;
    Ok(findings)
}

/// Whether each issuer's name is spelled alike on both sides: the library compares bytes.
fn names_are_plain(chain: &[Certificate]) -> bool {
    let mut links = chain.iter().zip(chain.iter().skip(1));
    links.all(|(signed, issuer)| Some(signed.issuer_bytes()) == subject_of(&issuer.der))
}

/// The path from the leaf to the top of the chain, as a TLS client verifies it.
fn verify_path(
    leaf: &ParsedCertificate<'_>,
    chain: &[Certificate],
    now: UnixTime,
) -> anyhow::Result<()> {
    let (top, below) = chain.split_last().context("no certificate")?;
    let mut roots = RootCertStore::empty();
    roots.add(top.der.clone())?;
    let between: Vec<CertificateDer<'_>> = below.iter().skip(1).map(|c| c.der.clone()).collect();
    let algorithms = default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(leaf, &roots, &between, now, algorithms)?;
    Ok(())
}

/// A whole handshake: a server with these texts, and a client that accepts this leaf and no other.
fn possession(
    chain: &[Certificate],
    key_pem: &str,
    name: ServerName<'static>,
    now: UnixTime,
) -> anyhow::Result<()> {
    let provider = Arc::new(default_provider());
    let key = PrivateKey::from_pem(key_pem)?;
    let key = provider
        .key_provider
        .load_private_key(key.der().clone_key())?;
    let served = chain.iter().map(|c| c.der.clone()).collect();
    // whether the key belongs to the leaf is what the handshake is about
    let certified = CertifiedKey::new(served, key);
    let clock = Arc::new(Fixed(now));
    let server = ServerConfig::builder_with_details(provider.clone(), clock.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let client = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Possession::of(
            chain.first().map(|leaf| leaf.der.clone()),
        )))
        .with_no_client_auth();
    shake_hands(
        ServerConnection::new(Arc::new(server))?,
        ClientConnection::new(Arc::new(client), name)?,
    )
}

/// The names as a client asks for them, without those that none can ask for: any label replaces the
/// star of a wildcard.
fn client_names(
    leaf: &Certificate,
    parsed: Option<&ParsedCertificate<'_>>,
) -> Vec<ServerName<'static>> {
    let asked = leaf
        .names
        .iter()
        .enumerate()
        .filter_map(|(position, name)| {
            let parsed = parsed.filter(|_| position < MOST_ASKED);
            client_name(name).filter(|asked| {
                parsed.is_none_or(|parsed| verify_server_name(parsed, asked).is_ok())
            })
        });
    asked.collect()
}

fn client_name(name: &Name) -> Option<ServerName<'static>> {
    match name {
        Name::Ip(address) => Some(ServerName::IpAddress((*address).into())),
        Name::Dns(dns) if name.can_be_asked_for() => {
            let asked = match dns.strip_prefix("*.") {
                Some(parent) => format!("any.{parent}"),
                None => dns.clone(),
            };
            ServerName::try_from(asked).ok()
        }
        Name::Dns(_) => None,
    }
}

fn shake_hands(mut server: ServerConnection, mut client: ClientConnection) -> anyhow::Result<()> {
    for _ in 0..MOST_FLIGHTS {
        // the client is the one that verifies; in TLS 1.2 it also finishes last
        if !client.is_handshaking() {
            return Ok(());
        }
        carry(&mut client, &mut server).context("the server")?;
        carry(&mut server, &mut client).context("the client")?;
    }
    bail!("it did not end within {MOST_FLIGHTS} flights")
}

/// Carries what one side has to say to the other.
fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> anyhow::Result<()> {
    let mut flight = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut flight)?;
    }
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest)?;
        to.process_new_packets()?;
    }
    Ok(())
}

#[derive(Debug)]
struct Fixed(UnixTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// Makes the server prove that it has the key of the leaf that it shows: of one certain leaf, or of
/// any. Nothing else is verified.
#[derive(Debug)]
pub(crate) struct Possession {
    leaf: Option<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Possession {
    /// Of this leaf; of any, if none is given.
    pub(crate) fn of(leaf: Option<CertificateDer<'static>>) -> Self {
        Self {
            leaf,
            algorithms: default_provider().signature_verification_algorithms,
        }
    }

    /// Whether the key of this leaf signed the message. The TLS library's own function reads the
    /// leaf with its strict reader first.
    fn proven(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let (algorithm, key) = key_of(leaf).ok_or(CertificateError::BadEncoding)?;
        let mut candidates = self
            .algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, candidates)| candidates.iter())
            .filter(|candidate| candidate.public_key_alg_id().as_ref() == algorithm);
        if candidates.any(|c| c.verify_signature(key, message, signed.signature()).is_ok()) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }
}

impl ServerCertVerifier for Possession {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.leaf {
            Some(leaf) if leaf != end_entity => {
                Err(rustls::Error::General("another certificate".to_owned()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.proven(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.proven(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The first name of a chain, leaf first, that a CA above does not allow, as a sentence.
fn broken_constraint(chain: &[Certificate]) -> Option<String> {
    chain.iter().enumerate().find_map(|(position, ca)| {
        let constraints = ca.constraints.as_ref()?;
        let of = format!("the name constraints of {}", ca.subject_text);
        chain.get(..position)?.iter().find_map(|below| {
            Some(match constraints.refusal(&below.subject, &below.names)? {
                Refusal::TooMany => format!("{of} are too many to compare"),
                Refusal::Subject => format!("{of} do not allow {}", below.subject_text),
                Refusal::Name(name) => format!("{of} do not allow {name}"),
            })
        })
    })
}

/// Whether the TLS library can check everything that the CAs of this chain demand.
fn constraints_are_plain(chain: &[Certificate]) -> bool {
    chain.iter().all(|certificate| {
        let constraints = certificate.constraints.as_ref();
        constraints.is_none_or(Constraints::is_plain) && !certificate.critical_policies
    })
}

#[cfg(test)]
mod tests;
