//! Two foreign judges for what the catalogue says is served: a TLS client (rustls with webpki) that
//! shakes hands for each name, and OpenSSL's path validation. Each trusts only whoever signed the top
//! of the chain. Where one of them differs, a table says why; a difference that is gone fails, too.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::ServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConnectionCommon, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::orders::served;
use super::pki::Cert;
use super::{CASES, Verdict, none};

/// Cases that are served, and that the TLS client does not take.
const RUSTLS_DIFFERS: &[(&str, &str)] = &[
    ("an intermediate signed with SHA-1", NOT_VERIFIED),
    (
        "an intermediate signed with SHA-1, the root included",
        NOT_VERIFIED,
    ),
    ("an intermediate signed with ECDSA-SHA512", NOT_VERIFIED),
    ("a leaf signed by a CA on P-521", NOT_VERIFIED),
    (
        "a leaf signed by a CA on P-521, beside a namesake",
        NOT_VERIFIED,
    ),
];
const NOT_VERIFIED: &str = "it does not verify this signature: the finding `chain-unverified`";

/// Cases that are served, and that OpenSSL does not take.
const OPENSSL_DIFFERS: &[(&str, &str)] = &[
    ("an intermediate signed with SHA-1", TOO_WEAK),
    (
        "an intermediate signed with SHA-1, the root included",
        TOO_WEAK,
    ),
];
const TOO_WEAK: &str = "its security level 1 calls SHA-1 too weak";

#[test]
fn a_tls_client_shakes_hands_for_each_name() {
    judged("rustls", RUSTLS_DIFFERS, |certificate, key, chain| {
        let now = UnixTime::now();
        let top = chain.last().unwrap();
        chain[0].names.iter().try_for_each(|name| {
            let name = name.replace('*', "any");
            handshake(certificate, key, &top.anchor, &name, now).map_err(|e| format!("{name}: {e}"))
        })
    });
}

#[test]
fn openssl_validates_the_path() {
    let folder = Folder::new();
    judged("OpenSSL", OPENSSL_DIFFERS, |certificate, _, chain| {
        let (leaf, above) = certificate.split_at(chain[0].pem.len());
        folder.verify(leaf, above, &chain.last().unwrap().anchor)
    });
}

/// Asks a judge about each case that is served: certificates and key as PEM, and the same
/// certificates as the catalogue knows them.
#[track_caller]
fn judged(
    judge: &str,
    differs: &[(&str, &str)],
    ask: impl Fn(&str, &str, &[Cert]) -> Result<(), String>,
) {
    let mut wrong: Vec<String> = differs
        .iter()
        .filter(|(name, _)| !CASES.iter().any(|case| case.name == *name))
        .map(|(name, _)| format!("- {name}: there is no such case"))
        .collect();
    for case in CASES.iter() {
        // what is not served at all fails in `orders`
        let (Verdict::Serves(chain, findings), Ok(bundle)) = (&case.verdict, served(case)) else {
            continue;
        };
        // whoever does not know the issuer cannot trust the server
        if findings.contains(&"chain-gap") {
            continue;
        }
        let difference = differs.iter().find(|(name, _)| *name == case.name);
        match (
            ask(&bundle.certificate_pem(), bundle.key_pem.expose(), chain),
            difference,
        ) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Err(why), None) => wrong.push(format!("- {}: {judge}: {why}", case.name)),
            (Ok(()), Some((_, reason))) => wrong.push(format!(
                "- {}: {judge} takes it, though {reason}: strike it from the table",
                case.name
            )),
        }
    }
    none(&wrong);
}

/// One handshake in memory: a server with these very texts, a client that trusts only the anchor.
fn handshake(
    certificate: &str,
    key: &str,
    anchor: &str,
    name: &str,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(anchor.as_bytes()).unwrap())?;
    let name = ServerName::try_from(name.to_owned()).unwrap();

    let provider = Arc::new(default_provider());
    let clock = Arc::new(Fixed(now));
    let server = ServerConfig::builder_with_details(provider.clone(), clock.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            chain.into_iter().map(CertificateDer::into_owned).collect(),
            key,
        )?;
    let client = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    Ok(())
}

fn carry<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A clock that stands still.
#[derive(Debug)]
struct Fixed(UnixTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// A folder for OpenSSL's files; it goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = format!(
            "{}/openssl-{}",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        );
        std::fs::create_dir_all(&path).unwrap();
        Self(path.into())
    }

    fn verify(&self, leaf: &str, above: &str, anchor: &str) -> Result<(), String> {
        let file = |name: &str, text: &str| {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut command = Command::new("openssl");
        command
            // neither the language nor the distribution's policy of the day
            .env("LC_ALL", "C")
            .env("OPENSSL_CONF", "/dev/null")
            .args([
                "verify",
                "-purpose",
                "sslserver",
                "-auth_level",
                "1",
                "-no-CApath",
            ])
            .args(["-attime", &UnixTime::now().as_secs().to_string()])
            .arg("-CAfile")
            .arg(file("anchor.pem", anchor));
        if !above.is_empty() {
            command.arg("-untrusted").arg(file("above.pem", above));
        }
        let output = command
            .arg(file("leaf.pem", leaf))
            .output()
            .expect("openssl is installed");
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).replace('\n', " "))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // a folder that stays does no harm
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
