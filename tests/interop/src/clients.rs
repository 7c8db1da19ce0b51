//! TLS clients as judges: OpenSSL, curl (with OpenSSL's library, but its own checks), GnuTLS.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};

use crate::{bounded, said, succeed};

pub(crate) const CLIENTS: [&str; 3] = ["openssl", "curl", "gnutls-cli"];
/// The last line of a certificate.
pub(crate) const END: &str = "-----END CERTIFICATE-----\n";

/// All clients, each trusting this root only, at 127.0.0.1 under this name: all of them must trust
/// the server, or none.
pub(crate) fn judged(port: u16, name: &str, root: &Path, trust: bool) -> anyhow::Result<()> {
    let root = root.display();
    let arguments = [
        format!(
            "s_client -connect 127.0.0.1:{port} -servername {name} -verify_hostname {name} \
             -verify_return_error -no-CApath -no-CAstore -CAfile {root}"
        ),
        format!(
            "--silent --show-error --cacert {root} --capath /nonexistent \
             --resolve {name}:{port}:127.0.0.1 https://{name}:{port}/"
        ),
        format!(
            "--x509cafile {root} --sni-hostname {name} --verify-hostname {name} --port {port} \
             127.0.0.1"
        ),
    ];
    for (client, arguments) in CLIENTS.into_iter().zip(arguments) {
        let mut command = bounded(client);
        command.args(words(&arguments)).stdin(Stdio::null());
        let output = command.output().context(client)?;
        let (trusts, text) = (output.status.success(), said(&output));
        ensure!(trusts == trust, "{client}, {name}: trust {trusts}: {text}");
    }
    Ok(())
}

/// The arguments in a line.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Serial number of the leaf that a server sends.
pub(crate) fn served_serial(port: u16, name: &str) -> anyhow::Result<String> {
    serial(&openssl_sees(port, name)?)
}

/// What OpenSSL prints about a handshake, with the certificates as the server sends them.
pub(crate) fn openssl_sees(port: u16, name: &str) -> anyhow::Result<String> {
    let mut client = bounded("openssl");
    client
        .args(words(&format!("s_client -connect 127.0.0.1:{port} -servername {name} -showcerts")));
    succeed(client.stdin(Stdio::null()))
}

/// The certificates in a text, in its order.
pub(crate) fn certificates(text: &str) -> Vec<&str> {
    let parts = text.split_inclusive(END);
    let begin = "-----BEGIN CERTIFICATE-----";
    parts.filter_map(|part| part.get(part.find(begin)?..)).collect()
}

/// Serial number of the first certificate in a text.
pub(crate) fn serial(pem: &str) -> anyhow::Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), pem)?;
    let mut x509 = bounded("openssl");
    x509.args(words("x509 -noout -serial -in")).arg(file.path());
    let line = succeed(&mut x509)?;
    let serial = line.trim().strip_prefix("serial=");
    Ok(serial.context("openssl x509 -serial")?.to_owned())
}
