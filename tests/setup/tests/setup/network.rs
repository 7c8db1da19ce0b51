//! The names that only IBM's network has. The job asks its proxy for them; the proxy shows a
//! certificate for the name, and passes the bytes on to the local cloud.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A proxy; ends when dropped.
pub(crate) struct Network {
    address: SocketAddr,
    /// The CA behind the certificates, PEM.
    pub(crate) ca: String,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Leads each host name to an address.
    pub(crate) fn start(hosts: BTreeMap<String, SocketAddr>) -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(hosts.keys().cloned().collect::<Vec<_>>()).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
        let tls = Arc::new(tls);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                let (hosts, tls) = (hosts.clone(), tls.clone());
                let mut reader = BufReader::new(client.unwrap());
                let mut line = String::new();
                reader.read_line(&mut line).unwrap_or_default();
                let Some(target) = line.strip_prefix("CONNECT ") else {
                    // the empty line by which `drop` ends us
                    return;
                };
                let name = target.split(':').next().unwrap_or_default().to_owned();
                std::thread::spawn(move || serve(reader, &name, &hosts, tls));
            }
        });
        Self {
            address,
            ca: ca.pem(),
            thread: Some(thread),
        }
    }

    /// For `HTTPS_PROXY`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ = stream.write_all(b"\r\n");
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One tunnel, one request: the answer ends the connection.
fn serve(
    mut client: BufReader<TcpStream>,
    name: &str,
    hosts: &BTreeMap<String, SocketAddr>,
    tls: Arc<ServerConfig>,
) {
    let mut line = String::new();
    while client.read_line(&mut line).unwrap_or_default() > 2 {
        line.clear();
    }
    let mut client = client.into_inner();
    let Some(target) = hosts.get(name) else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
        return;
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let connection = ServerConnection::new(tls).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, client));
    let Some(request) = message(&mut stream) else {
        return;
    };
    let mut behind = TcpStream::connect(target).unwrap();
    behind.write_all(&request).unwrap();
    let mut answer = Vec::new();
    behind.read_to_end(&mut answer).unwrap();
    // A client that has gone is no concern of ours. The answer says that the connection ends.
    let stream = stream.get_mut();
    let _ = stream.write_all(&answer);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// One request with its body, asking for the end of the connection after the answer.
fn message(stream: &mut impl std::io::BufRead) -> Option<Vec<u8>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        if !lower.starts_with("connection:") {
            head += &line;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let mut whole = format!("{head}Connection: close\r\n\r\n").into_bytes();
    whole.extend(body);
    Some(whole)
}
