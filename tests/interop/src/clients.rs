//! TLS clients as judges: OpenSSL, curl (with OpenSSL's library, but its own checks), GnuTLS.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;

use crate::{bounded, said, succeed};

/// What one client thinks of a server.
pub(crate) struct Judgement {
    pub(crate) client: &'static str,
    pub(crate) trusts: bool,
    /// What it printed.
    pub(crate) text: String,
}

impl Judgement {
    pub(crate) const CLIENTS: [&'static str; 3] = ["openssl", "curl", "gnutls-cli"];

    /// All clients, each trusting this root only, at 127.0.0.1 under this name.
    pub(crate) fn of(port: u16, name: &str, root: &Path) -> anyhow::Result<Vec<Self>> {
        let root = root.to_str().context("path of the root")?;
        let address = format!("127.0.0.1:{port}");
        let arguments: [Vec<String>; 3] = [
            words(&format!(
                "s_client -connect {address} -servername {name} -verify_hostname {name} \
                 -verify_return_error -no-CApath -no-CAstore -CAfile {root}"
            )),
            words(&format!(
                "--silent --show-error --cacert {root} --capath /nonexistent \
                 --resolve {name}:{port}:127.0.0.1 https://{name}:{port}/"
            )),
            words(&format!(
                "--x509cafile {root} --sni-hostname {name} --verify-hostname {name} --port {port} 127.0.0.1"
            )),
        ];
        let clients = Self::CLIENTS.into_iter().zip(arguments);
        clients
            .map(|(client, arguments)| {
                let output = bounded(client)
                    .args(arguments)
                    .stdin(Stdio::null())
                    .output()
                    .with_context(|| format!("start {client}"))?;
                Ok(Self {
                    client,
                    trusts: output.status.success(),
                    text: said(&output),
                })
            })
            .collect()
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Serial number of the leaf that a server sends, as `openssl x509` prints it.
pub(crate) fn served_serial(port: u16, name: &str) -> anyhow::Result<String> {
    serial(&openssl_sees(port, name)?)
}

/// What OpenSSL prints about a handshake, with the certificates as the server sends them.
pub(crate) fn openssl_sees(port: u16, name: &str) -> anyhow::Result<String> {
    let mut client = bounded("openssl");
    client.args(words(&format!(
        "s_client -connect 127.0.0.1:{port} -servername {name} -showcerts"
    )));
    succeed(client.stdin(Stdio::null()))
}

/// What curl prints about them.
pub(crate) fn curl_sees(port: u16, name: &str) -> anyhow::Result<String> {
    let mut client = bounded("curl");
    client.args(words(&format!(
        "--silent --show-error --insecure --resolve {name}:{port}:127.0.0.1 https://{name}:{port}/ \
         --output /dev/null --write-out %{{certs}}"
    )));
    succeed(&mut client)
}

/// The certificates in a text, in its order.
pub(crate) fn certificates(text: &str) -> Vec<&str> {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    text.split_inclusive(end)
        .filter_map(|part| part.find(begin).and_then(|start| part.get(start..)))
        .collect()
}

/// Serial number of the first certificate in a text.
pub(crate) fn serial(pem: &str) -> anyhow::Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), pem)?;
    let mut x509 = bounded("openssl");
    x509.args(["x509", "-noout", "-serial", "-in"])
        .arg(file.path());
    let line = succeed(&mut x509)?;
    let serial = line
        .trim()
        .strip_prefix("serial=")
        .context("openssl x509 -serial")?;
    Ok(serial.to_owned())
}
