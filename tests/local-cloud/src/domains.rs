//! The edge: real TLS for domain mappings, from what their TLS secret holds at each handshake.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::Cloud;
use crate::store::{Kind, Store, lock};

/// Serves all domain mappings on one listener until the runtime ends.
pub(crate) async fn serve(cloud: Arc<Cloud>, listener: TcpListener) -> anyhow::Result<()> {
    let resolver = Arc::new(Mappings(cloud));
    let config = rustls::ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    let tls = TlsAcceptor::from(Arc::new(config));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            // A handshake that is refused is the client's to report.
            let Ok(mut stream) = tls.accept(stream).await else {
                return;
            };
            let domain = stream
                .get_ref()
                .1
                .server_name()
                .unwrap_or_default()
                .to_owned();
            let mut request = [0; 1024];
            if !matches!(stream.read(&mut request).await, Ok(1..)) {
                return;
            }
            let body = format!("this is {domain}\n");
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

struct Mappings(Arc<Cloud>);

impl std::fmt::Debug for Mappings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mappings")
    }
}

impl ResolvesServerCert for Mappings {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let domain = hello.server_name()?;
        let (certificates, key) = tls_secret_of(&lock(&self.0.store), domain)?;
        let certificates = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<_, _>>()
            .ok()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
        let key = ring::sign::any_supported_type(&key).ok()?;
        Some(Arc::new(CertifiedKey::new(certificates, key)))
    }
}

/// The mapping of exactly this name, else the wildcard mapping above it.
fn tls_secret_of(store: &Store, domain: &str) -> Option<(String, String)> {
    let wildcard = domain
        .split_once('.')
        .map(|(_, parent)| format!("*.{parent}"));
    [Some(domain.to_owned()), wildcard]
        .into_iter()
        .flatten()
        .find_map(|name| {
            store.projects.values().find_map(|project| {
                let mapping = project.get(Kind::DomainMapping, &name)?;
                let secret = project.get(Kind::Secret, mapping.text("tls_secret")?)?;
                Some((
                    secret.data("tls_cert")?.to_owned(),
                    secret.data("tls_key")?.to_owned(),
                ))
            })
        })
}
