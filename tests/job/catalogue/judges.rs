//! Foreign judges for what the catalogue says is served. Two verify it as a client does: rustls with
//! webpki, which shakes hands for each name, and OpenSSL's path validation; each trusts only whoever
//! signed the top of the chain. Three load it as a server does: OpenSSL, nginx and Envoy. Where one of
//! them differs, a table says why; a difference that is gone fails, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::ServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConnectionCommon, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::envoy::Envoy;
use super::orders::served;
use super::pki::Cert;
use super::{CASES, Verdict, none};

/// Cases that are served, and that the TLS client does not take.
const RUSTLS_DIFFERS: &[(&str, &str)] = &[
    ("a leaf signed with ECDSA-SHA224", NOT_VERIFIED),
    (
        "a leaf signed with ECDSA-SHA224, beside a namesake",
        NOT_VERIFIED,
    ),
    ("critical extension of the issuer: any-policy", NO_POLICIES),
    ("critical extension of the leaf: a policy", NO_POLICIES),
    (
        "critical extension of the issuer: directory-name",
        NO_DIRECTORY_NAMES,
    ),
    (
        "critical extension of the issuer: excluded-addresses",
        NO_DIRECTORY_NAMES,
    ),
    ("the issuer's name in another string type", BYTES),
    ("a compressed point", SPELLING),
];
const SPELLING: &str = "its server compares keys byte by byte: Envoy, nginx and OpenSSL load it";
const BYTES: &str = "it compares names byte by byte, not as RFC 5280 section 7.1 says";
const NOT_VERIFIED: &str = "it does not verify this signature: the finding `chain-unverified`";
const NO_POLICIES: &str = "it knows no policies (rustls/webpki#30)";
const NO_DIRECTORY_NAMES: &str = "it knows no constraints on directory names (rustls/webpki#19)";

/// Cases that are served, and that OpenSSL does not take.
const OPENSSL_DIFFERS: &[(&str, &str)] = &[
    ("ML-DSA above ec, the root included", UNKNOWN_THERE),
    ("ML-DSA above ec, without the root", UNKNOWN_THERE),
    ("ML-DSA above mldsa65, the root included", UNKNOWN_THERE),
    ("ML-DSA above mldsa65, without the root", UNKNOWN_THERE),
];
const UNKNOWN_THERE: &str = "it does not know this signature: the finding `chain-unverified`";
/// What these cases begin with: not every server loads them, and a finding says so.
const UNKNOWN: &str = "ML-DSA ";

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
    let folder = Folder::new("verifying");
    judged("OpenSSL", OPENSSL_DIFFERS, |certificate, _, chain| {
        let (leaf, above) = certificate.split_at(chain[0].pem.len());
        folder.verify(leaf, above, &chain.last().unwrap().anchor)
    });
}

/// The job writes keys as OpenSSL itself would write them, and each server loads what it writes.
#[test]
fn servers_load_what_is_written() {
    let written: Vec<(&str, String, String)> = CASES
        .iter()
        .filter(|case| matches!(case.verdict, Verdict::Serves(..)))
        .filter(|case| !case.name.starts_with(UNKNOWN))
        .filter_map(|case| {
            let bundle = served(case).ok()?;
            let key = bundle.key_pem.expose().to_owned();
            Some((case.name.as_str(), bundle.certificate_pem(), key))
        })
        .collect();
    let (_, written): (Vec<_>, Vec<_>) = written
        .into_iter()
        .partition(|(name, ..)| name.starts_with(UNKNOWN));
    let folder = Folder::new("loading");
    let mut wrong: Vec<String> = Vec::new();
    for (name, _, key) in &written {
        let found = folder.openssl_writes(key);
        if found.as_ref() != Ok(key) {
            wrong.push(format!(
                "- {name}: OpenSSL writes the key differently: {found:?}"
            ));
        }
    }
    match nginx() {
        Some(nginx) => wrong.extend(folder.nginx_refuses(&nginx, &written)),
        None => println!("skipped: nginx is not installed"),
    }
    let envoys = Envoy::installed().unwrap();
    if envoys.is_empty() {
        println!("skipped: Envoy is not installed (tests/interop/envoy does that)");
    }
    let pairs: Vec<(&str, &str)> = written
        .iter()
        .map(|(_, certificate, key)| (certificate.as_str(), key.as_str()))
        .collect();
    for envoy in envoys {
        for ((name, ..), result) in written.iter().zip(envoy.loads(&pairs).unwrap()) {
            if let Err(why) = result {
                wrong.push(format!("- {name}: Envoy {}: {why}", envoy.version));
            }
        }
    }
    none(&wrong);
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

/// Debian puts it where only an administrator's PATH looks.
fn nginx() -> Option<PathBuf> {
    let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    places
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
}

/// A folder for the judges' files; it goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = format!(
            "{}/{name}-{}",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        );
        std::fs::create_dir_all(&path).unwrap();
        Self(path.into())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn openssl() -> Command {
        let mut command = Command::new("openssl");
        command
            // neither the language nor the distribution's policy of the day
            .env("LC_ALL", "C")
            .env("OPENSSL_CONF", "/dev/null");
        command
    }

    /// The key as OpenSSL writes it.
    fn openssl_writes(&self, key: &str) -> Result<String, String> {
        let output = Self::openssl()
            .args(["pkey", "-in"])
            .arg(self.file("key.pem", key))
            .output()
            .expect("openssl is installed");
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One server for each case, in one configuration: nginx names the first file that it refuses.
    fn nginx_refuses(&self, nginx: &Path, written: &[(&str, String, String)]) -> Option<String> {
        let mut servers = String::new();
        for (number, (_, certificate, key)) in written.iter().enumerate() {
            self.file(&format!("{number}.crt"), certificate);
            self.file(&format!("{number}.key"), key);
            servers += &format!(
                "server {{ listen unix:tls ssl; server_name {number}.example.com; ssl_certificate {number}.crt; ssl_certificate_key {number}.key; }}\n"
            );
        }
        let configuration = self.file("nginx.conf", &format!(
            "pid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off; server_names_hash_max_size 4096;\n{servers}}}\n"
        ));
        let output = Command::new(nginx)
            .env("OPENSSL_CONF", "/dev/null")
            .arg("-t")
            .arg("-p")
            .arg(&self.0)
            .arg("-c")
            .arg(configuration)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let cases: Vec<_> = written
            .iter()
            .enumerate()
            .map(|(n, (name, ..))| (n, *name))
            .collect();
        (!output.status.success()).then(|| format!("- nginx: {said}; the cases: {cases:?}"))
    }

    fn verify(&self, leaf: &str, above: &str, anchor: &str) -> Result<(), String> {
        let file = |name: &str, text: &str| self.file(name, text);
        let mut command = Self::openssl();
        command.args([
            "verify",
            "-purpose",
            "sslserver",
            "-auth_level",
            "1",
            "-no-CApath",
        ]);
        command
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
