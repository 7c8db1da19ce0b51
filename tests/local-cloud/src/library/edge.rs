//! What a TLS client sees.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use time::OffsetDateTime;

use crate::CloudHandle;
use crate::authority::hex_pairs;

/// What a TLS client sees at the edge.
#[derive(Clone, Debug)]
pub struct Served {
    /// Lower-case hex bytes joined by `:`.
    pub serial: String,
    /// `notAfter`.
    pub not_after: OffsetDateTime,
    /// Certificates sent, leaf included.
    pub chain_len: usize,
}

impl CloudHandle {
    /// A real TLS handshake with the edge; nothing is trusted and nothing is checked.
    pub fn served(&self, domain: &str) -> anyhow::Result<Served> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from(domain.to_owned())?;
        let mut client = rustls::ClientConnection::new(Arc::new(config), name)?;
        let mut stream = std::net::TcpStream::connect(self.edge())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        while client.is_handshaking() {
            let done = client.complete_io(&mut stream);
            done.with_context(|| format!("TLS handshake for {domain}"))?;
        }
        let chain = client.peer_certificates().context("no certificate")?;
        let leaf = chain.first().context("no certificate")?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)?;
        Ok(Served {
            serial: hex_pairs(parsed.raw_serial()),
            not_after: parsed.validity().not_after.to_datetime(),
            chain_len: chain.len(),
        })
    }

    /// How many handshakes clients began with this name.
    pub fn handshakes(&self, domain: &str) -> u64 {
        self.cloud.update(|store| {
            let clients = store.edge.clients.get(domain);
            clients.map_or(0, |clients| clients.handshakes)
        })
    }

    /// How many bytes of application data clients of this name sent after their handshakes; waits
    /// for the end of their connections, so that nothing is under way.
    pub fn edge_bytes(&self, domain: &str) -> u64 {
        let ended = self.cloud.wait(Duration::from_secs(10), |store| {
            let clients = store.edge.clients.get(domain).copied().unwrap_or_default();
            (clients.open == 0).then_some(clients.bytes)
        });
        ended.unwrap_or_else(|| panic!("a client of {domain} keeps its connection open"))
    }
}

#[derive(Debug)]
struct TrustAll(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
