//! The edge: real TLS for domain mappings, from what their TLS secret holds, at once, late or
//! never; and what clients did there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{Acceptor, ResolvesServerCertUsingSni};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

use crate::Cloud;
use crate::http::Socket;
use crate::store::{Kind, Store};

/// What the ingress of a domain mapping serves after its TLS secret was replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Serving {
    /// The secret as it is.
    AtOnce,
    /// For so many handshakes what it served before, then the secret; counted anew at each
    /// replacement.
    AfterHandshakes(u32),
    /// What it served when this was set, for ever.
    Never,
    /// Nothing: the connection stays open, and nothing is ever sent.
    Silent,
    /// Nothing: the connection is accepted, and reset once the client has said which name it wants.
    Unreachable,
    /// The secret's certificate, but the signature of the handshake does not verify, as of somebody
    /// who has the certificate without its key.
    WrongKey,
}

/// What the edge remembers.
#[derive(Default)]
pub(crate) struct Edge {
    /// By project and domain; a mapping that is not among them serves at once.
    ingresses: BTreeMap<(String, String), Ingress>,
    /// By the name that clients asked for.
    pub(crate) clients: BTreeMap<String, Clients>,
}

struct Ingress {
    serving: Serving,
    served: Option<Pair>,
    /// Tag of the secret that it will serve, and after how many handshakes.
    awaited: (Option<String>, u32),
}

/// What clients of one name did.
#[derive(Clone, Copy, Default)]
pub(crate) struct Clients {
    pub(crate) handshakes: u64,
    /// Of application data.
    pub(crate) bytes: u64,
    /// Connections that have not ended.
    pub(crate) open: u64,
}

/// Chain and key in PEM, and the entity tag that they were found under.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) tag: String,
    pub(crate) tls_cert: String,
    pub(crate) tls_key: String,
}

enum Decision {
    Reset,
    /// Nothing to serve: a handshake that fails.
    Serve(Option<Pair>),
    ServeWithWrongKey(Option<Pair>),
    Silence,
}

/// Sets how a mapping serves; `instead` is what it serves then with `Never`.
pub(crate) fn set_serving(
    store: &mut Store,
    project_id: &str,
    domain: &str,
    serving: Serving,
    instead: Option<Pair>,
) {
    let key = (project_id.to_owned(), domain.to_owned());
    let before = store.edge.ingresses.remove(&key);
    if serving == Serving::AtOnce {
        return;
    }
    let served =
        instead.or_else(|| before?.served).or_else(|| tls_secret(store, project_id, domain));
    let awaited = (None, 0);
    let ingress = Ingress { serving, served, awaited };
    store.edge.ingresses.insert(key, ingress);
}

/// Serves all domain mappings on one listener until the runtime ends.
pub(crate) async fn serve(cloud: Arc<Cloud>, listener: TcpListener) -> anyhow::Result<()> {
    let config = rustls::ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        // of no name: which certificate it is, is decided for each handshake
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let reset = Arc::new(AtomicBool::new(false));
        let socket = Socket::new(stream, reset.clone());
        tokio::spawn(converse(cloud.clone(), config.clone(), socket, reset));
    }
}

async fn converse(
    cloud: Arc<Cloud>,
    mut config: rustls::ServerConfig,
    socket: Socket,
    reset: Arc<AtomicBool>,
) {
    // A handshake that fails is the client's to report.
    let Ok(started) = LazyConfigAcceptor::new(Acceptor::default(), socket).await else {
        return;
    };
    let hello = started.client_hello();
    let domain = hello.server_name().unwrap_or_default().to_ascii_lowercase();
    let decision = cloud.update(|store| {
        let clients = store.edge.clients.entry(domain.clone()).or_default();
        clients.handshakes += 1;
        clients.open += 1;
        decide(store, &domain)
    });
    let name = domain.clone();
    let connection = Connection { cloud, name };
    let (pair, wrong) = match decision {
        Decision::Reset => return reset.store(true, Ordering::Relaxed),
        // until the client leaves
        Decision::Silence => {
            let mut socket = started.io;
            let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
            return;
        }
        Decision::Serve(pair) => (pair, false),
        Decision::ServeWithWrongKey(pair) => (pair, true),
    };
    if let Some(mut key) = pair.as_ref().and_then(certified_key) {
        if wrong {
            key.key = Arc::new(WrongKey(key.key));
        }
        config.cert_resolver = Arc::new(SingleCertAndKey::from(key));
    }
    let Ok(mut stream) = started.into_stream(Arc::new(config)).await else {
        return;
    };
    let mut request = [0; 1024];
    let Ok(length @ 1..) = stream.read(&mut request).await else {
        return;
    };
    connection.clients(|clients| clients.bytes += u64::try_from(length).unwrap_or(u64::MAX));
    let body = format!("this is {domain}\n");
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Signs something else than what it is asked to: to a client the same as another key.
#[derive(Debug)]
struct WrongKey(Arc<dyn SigningKey>);

impl SigningKey for WrongKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.0.choose_scheme(offered)?;
        Some(Box::new(WrongSigner(signer)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct WrongSigner(Box<dyn Signer>);

impl Signer for WrongSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(&[message, b"!"].concat())
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

/// Counted as open until dropped.
struct Connection {
    cloud: Arc<Cloud>,
    name: String,
}

impl Connection {
    fn clients(&self, change: impl FnOnce(&mut Clients)) {
        let name = self.name.clone();
        self.cloud.update(|store| change(store.edge.clients.entry(name).or_default()));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.clients(|clients| clients.open -= 1);
    }
}

fn certified_key(pair: &Pair) -> Option<CertifiedKey> {
    let certificates = CertificateDer::pem_slice_iter(pair.tls_cert.as_bytes());
    let certificates = certificates.collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(pair.tls_key.as_bytes()).ok()?;
    let key = aws_lc_rs::sign::any_supported_type(&key).ok()?;
    Some(CertifiedKey::new(certificates, key))
}

/// One handshake for this name, and what it gets.
fn decide(store: &mut Store, domain: &str) -> Decision {
    let Some((project_id, mapping)) = mapping_of(store, domain) else {
        return Decision::Serve(None);
    };
    let current = tls_secret(store, &project_id, &mapping);
    let Some(ingress) = store.edge.ingresses.get_mut(&(project_id, mapping)) else {
        return Decision::Serve(current);
    };
    let count = match ingress.serving {
        Serving::AtOnce => return Decision::Serve(current),
        Serving::Silent => return Decision::Silence,
        Serving::Unreachable => return Decision::Reset,
        Serving::WrongKey => return Decision::ServeWithWrongKey(current),
        Serving::Never => return Decision::Serve(ingress.served.clone()),
        Serving::AfterHandshakes(count) => count,
    };
    let tag = current.as_ref().map(|current| current.tag.clone());
    if ingress.served.as_ref().map(|old| &old.tag) != tag.as_ref() {
        let left = match &ingress.awaited {
            (awaited, left) if *awaited == tag => *left,
            _ => count,
        };
        if left > 0 {
            ingress.awaited = (tag, left - 1);
            return Decision::Serve(ingress.served.clone());
        }
    }
    ingress.served.clone_from(&current);
    Decision::Serve(current)
}

/// The mapping of exactly this name, else the wildcard mapping above it: its project and its name.
fn mapping_of(store: &Store, domain: &str) -> Option<(String, String)> {
    let wildcard = domain.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    [Some(domain.to_owned()), wildcard].into_iter().flatten().find_map(|name| {
        let has =
            |project: &&crate::store::Project| project.get(Kind::DomainMapping, &name).is_some();
        let project = store.projects.values().find(has)?;
        Some((project.id.clone(), name))
    })
}

fn tls_secret(store: &Store, project_id: &str, mapping: &str) -> Option<Pair> {
    let project = store.projects.get(project_id)?;
    let mapping = project.get(Kind::DomainMapping, mapping)?;
    let secret = project.get(Kind::Secret, mapping.text("tls_secret")?)?;
    Some(Pair {
        tag: secret.entity_tag.clone(),
        tls_cert: secret.data("tls_cert")?.to_owned(),
        tls_key: secret.data("tls_key")?.to_owned(),
    })
}
