//! A certificate's whole way with parts that we did not write.
//!
//! Pebble, an ACME CA, issues a chain; the local Secrets Manager holds it; the job deploys it;
//! nginx serves the TLS secret; OpenSSL, curl and GnuTLS judge, trusting only pebble's root. Then
//! all of it once more with a second order, for RSA and for ECDSA. Last, the job reaches the cloud
//! through nginx, with TLS 1.2 only and with TLS 1.3 only. Envoy, which Code Engine's ingress is made
//! of, says what it loads, and serves what the job writes.
//!
//! Needs pebble, nginx, openssl, curl and gnutls-cli: `tests/interop/run` installs them, and Envoy.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]
#![allow(clippy::indexing_slicing, reason = "an absent field of a JSON value is null, no panic")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use local_cloud::{CertificateSpec, Environment, LocalCloud, Options, SecretType};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use serde_json::Value;

mod clients;
mod envoy;
mod ingress;
mod loading;
mod nginx;
mod pebble;
mod serving;

use clients::{CLIENTS, END, judged, serial, served_serial};
use envoy::Envoy;
use nginx::Nginx;
use pebble::Pebble;

const NAME: &str = "shop.example.com";
const TLS_SECRET: &str = "shop-tls";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [flag, job] = arguments.as_slice() else {
        eprintln!("usage: interop --job PATH");
        return ExitCode::FAILURE;
    };
    match run(flag, Path::new(job)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flag: &str, job: &Path) -> anyhow::Result<()> {
    ensure!(flag == "--job", "unknown argument {flag:?}");
    let envoys = Envoy::installed()?;
    loading::check(&envoys)?;
    for envoy in &envoys {
        serving::check(job, envoy).with_context(|| format!("Envoy {}", envoy.version))?;
    }
    let folder = tempfile::Builder::new().prefix("interop-").tempdir()?;
    let pebble = Pebble::start(folder.path())?;
    for (name, algorithm) in [("ECDSA", &PKCS_ECDSA_P256_SHA256), ("RSA", &PKCS_RSA_SHA256)] {
        rotation(job, &pebble, name, algorithm).context(name)?;
    }
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        foreign_server(job, protocol).with_context(|| format!("the job over {protocol}"))?;
    }
    Ok(())
}

/// Two orders, each issued, synchronized, served and judged.
fn rotation(
    job: &Path,
    pebble: &Pebble,
    name: &str,
    algorithm: &'static SignatureAlgorithm,
) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = temporary.path();
    let cloud = LocalCloud::start(Options::default())?;
    let project = cloud.world().project_id;
    // a TLS secret is first created by hand, with whatever there is
    let (placeholder, key) = self_signed(NAME)?;
    cloud.put_tls_secret(&project, TLS_SECRET, &placeholder, &key);
    let secret = cloud.issue(CertificateSpec {
        secret_type: SecretType::ImportedCert,
        ..CertificateSpec::default()
    });
    let root = write(folder, "root.pem", pebble.root())?;
    let stranger = write(folder, "stranger.pem", &placeholder)?;
    let deployed = || cloud.tls_secret(&project, TLS_SECRET).context("TLS secret");
    let mount = |certificate: &str, key: &str| -> anyhow::Result<[PathBuf; 2]> {
        let certificate = write(folder, "tls.crt", certificate)?;
        Ok([certificate, write(folder, "tls.key", key)?])
    };

    let mut server: Option<Nginx> = None;
    let mut seen = String::new();
    for order in ["first", "second"] {
        let material = pebble.issue(&[NAME, "www.shop.example.com"], algorithm)?;
        let issued = serial(material.certificate.as_deref().unwrap_or_default())?;
        cloud.put_material(&secret, material);
        let mut environment = cloud.environment();
        environment.insert("SECRET_ID".into(), secret.clone());
        let report = synchronize(job, environment, "replaced")?;
        let files = mount(&deployed()?.tls_cert, &deployed()?.tls_key)?;
        match &server {
            None => server = Some(Nginx::serving(folder, &files)?),
            Some(running) => running.reload()?,
        }
        let port = server.as_ref().context("nginx")?.port();
        let served = served_serial(port, NAME)?;
        ensure!(served == issued, "nginx serves {served}, issued {issued}");
        ensure!(served != seen, "the second order is the first one");
        seen = served;
        judged(port, NAME, &root, true)?;
        judged(port, NAME, &stranger, false)?;
        judged(port, "other.example.com", &root, false)?;
        let (clients, said) = (CLIENTS.join(", "), &report["targets"][0]["message"]);
        println!("{name}, {order} order: {issued}, trusted by {clients}; {said}");
    }
    // the judges do look at the chain: without the intermediate none of them trusts
    let whole = deployed()?;
    let (leaf, intermediates) = whole.tls_cert.split_once(END).context("no leaf")?;
    ensure!(!intermediates.is_empty(), "the job deployed the leaf alone");
    let files = mount(&format!("{leaf}{END}"), &whole.tls_key)?;
    drop(server);
    judged(Nginx::serving(folder, &files)?.port(), NAME, &root, false)
}

/// The job's own client against a TLS server that is not ours: nginx in front of the cloud.
fn foreign_server(job: &Path, protocol: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cloud = LocalCloud::start(Options { https: false, ..Options::default() })?;
    let project = cloud.world().project_id;
    let secret = cloud.issue(CertificateSpec::default());
    cloud.deploy(&secret, &project, TLS_SECRET);
    cloud.rotate_quietly(&[&secret]);

    let (certificate, key) = self_signed("127.0.0.1")?;
    let ca = write(folder.path(), "proxy.crt", &certificate)?;
    let key = write(folder.path(), "proxy.key", &key)?;
    let mut environment = cloud.environment();
    environment.insert("SECRET_ID".into(), secret.clone());
    environment.insert("SSL_CERT_FILE".into(), ca.display().to_string());
    let services = ["IAM_URL", "SECRETS_MANAGER_URL", "CODE_ENGINE_URL"];
    let backends = services.map(|variable| environment[variable].clone());
    let proxy = Nginx::in_front_of(folder.path(), &backends, protocol, &[ca, key])?;
    for (variable, port) in services.iter().zip(&proxy.ports) {
        environment.insert((*variable).into(), format!("https://127.0.0.1:{port}"));
    }
    synchronize(job, environment, "replaced")?;
    let deployed = cloud.tls_secret(&project, TLS_SECRET).map(|secret| secret.tls_key);
    let held = cloud.material(&secret).private_key;
    ensure!(deployed == held, "the new key is not in it");

    drop(proxy); // writes its log out
    let log = fs::read_to_string(folder.path().join("access.log"))?;
    let spoken = log.lines().all(|line| line.starts_with(protocol));
    let requests = log.lines().count();
    ensure!(spoken && requests >= 4, "not over {protocol}: {log}");
    println!("the job through nginx, {protocol} only: {requests} requests, replaced");
    Ok(())
}

/// Runs the job; returns its report.
fn synchronize(job: &Path, mut environment: Environment, action: &str) -> anyhow::Result<Value> {
    environment.insert("TLS_SECRET_NAME".into(), TLS_SECRET.into());
    environment.insert("DEADLINE".into(), "300".into());
    let output = bounded(job).env_clear().envs(&environment).output()?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
    let is_done = report["targets"][0]["action"] == action;
    let (status, said) = (output.status, said(&output));
    ensure!(status.success() && is_done, "{status}, not {action}: {said}");
    Ok(report)
}

/// A certificate that nobody trusts, and its key, as PEM.
fn self_signed(name: &str) -> anyhow::Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// What a program printed, for a message.
fn said(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}\n{error}")
}

/// A program that runs until this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns once a line of a log has these words. The rest is read and dropped: nobody writes into a
/// full pipe.
fn await_line(log: impl Read + Send + 'static, words: &str) -> anyhow::Result<()> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let end = Instant::now() + Duration::from_secs(60);
    let mut before = String::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(words) => return Ok(()),
            Ok(line) => before += &format!("{line}\n"),
            Err(_) => bail!("no {words:?} in its log: {before}"),
        }
    }
}

/// A program that is ended after a minute.
fn bounded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60"]).arg(program);
    command
}

/// Runs a program to its end; an error says what it printed.
fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let (status, said) = (output.status, said(&output));
    ensure!(status.success(), "{command:?}: {status}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A port that was free a moment ago: neither pebble nor nginx can be told to choose one.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
