//! The dress rehearsal: a TLS handshake in memory with the very bytes that are about to be written.
//!
//! Belongs here: whether a TLS server can serve them and a TLS client accepts them. Does not:
//! anything about the network; the bytes go from one buffer into the other.
//!
//! The client trusts only the top of the chain. The library takes an intermediate as trust anchor
//! without looking at its dates or whether it is a CA: `assemble.rs` has. Where there is no chain
//! to check (the issuer is missing, or is the root), the client pins the leaf: key and names only.

use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::cert::certificate::ServerName as Name;
use crate::cert::pem;
use crate::error::{Error, Finding, Reason};
use crate::sync::assemble::Bundle;

/// Flights that a handshake may take; TLS 1.3 needs three.
const MOST_FLIGHTS: usize = 10;

/// Serves the bundle, whose certificates are `certificate_pem`, to a client at `now`, and checks each of its names. A name that no client can
/// ask for is a finding: the others are as good as ever.
///
/// # Errors
/// [`Reason::RehearsalFailed`], with what the server or the client said.
pub fn rehearse(
    bundle: &Bundle,
    certificate_pem: &str,
    now: UnixTime,
) -> Result<Vec<Finding>, Error> {
    perform(bundle, certificate_pem, now).map_err(|e| {
        Error::new(
            Reason::RehearsalFailed,
            e.context(format!(
                "a TLS handshake with the certificate {} failed in memory",
                bundle.leaf.subject_text
            )),
        )
        .hint("a TLS client would fail like this, too: issue or import another certificate")
    })
}

fn perform(bundle: &Bundle, certificate_pem: &str, now: UnixTime) -> anyhow::Result<Vec<Finding>> {
    let provider = Arc::new(default_provider());
    // the very bytes: they are read again from the text
    let chain = pem::read(certificate_pem)?.certificates;
    let key = pem::read(bundle.key_pem.expose())?
        .keys
        .pop()
        .context("no private key")?;
    let clock = Arc::new(Fixed(now));
    let server = ServerConfig::builder_with_details(provider.clone(), clock.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key)
        .context("the server does not take certificate and key")?;

    let leaf = chain.first().context("no certificate")?;
    let parsed = ParsedCertificate::try_from(leaf)?;
    let (mut names, mut unusable) = (Vec::new(), Vec::new());
    for name in &bundle.leaf.names {
        match client_name(name).filter(|asked| verify_server_name(&parsed, asked).is_ok()) {
            Some(asked) => names.push(asked),
            None => unusable.push(Finding::new(
                Reason::NameUnusable,
                format!("no TLS client can ask for the name {name}"),
            )),
        }
    }
    let name = names
        .into_iter()
        .next()
        .context("no TLS client can ask for any of its names")?;

    let builder = ClientConfig::builder_with_details(provider.clone(), clock)
        .with_safe_default_protocol_versions()?;
    let client = match chain.last() {
        Some(top) if chain.len() > 1 && bundle.verified => {
            let mut roots = RootCertStore::empty();
            roots.add(top.clone())?;
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_webpki_verifier(verifier)
        }
        _ => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned {
                leaf: leaf.clone(),
                provider,
            })),
    };
    shake_hands(
        ServerConnection::new(Arc::new(server))?,
        ClientConnection::new(Arc::new(client.with_no_client_auth()), name)?,
    )?;
    Ok(unusable)
}

/// The name as a client asks for it: any label stands for the star of a wildcard.
fn client_name(name: &Name) -> Option<ServerName<'static>> {
    match name {
        Name::Ip(address) => Some(ServerName::IpAddress((*address).into())),
        Name::Dns(name) => {
            let asked = match name.strip_prefix("*.") {
                Some(parent) => format!("any.{parent}"),
                None => name.clone(),
            };
            ServerName::try_from(asked).ok()
        }
    }
}

fn shake_hands(mut server: ServerConnection, mut client: ClientConnection) -> anyhow::Result<()> {
    for _ in 0..MOST_FLIGHTS {
        if !server.is_handshaking() && !client.is_handshaking() {
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

/// Accepts any certificate whose key the server proves to hold: we inspect it, we do not trust it.
#[derive(Debug)]
pub struct AcceptAny(Arc<CryptoProvider>);

impl AcceptAny {
    /// Verifies handshake signatures with `provider`.
    pub const fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts this leaf and no other; what the server signs is verified.
#[derive(Debug)]
struct Pinned {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity != self.leaf {
            return Err(rustls::Error::General("another certificate".to_owned()));
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
