//! The job behind a real ingress: Envoy serves the TLS secret, the job replaces it, Envoy takes the
//! new one without a restart, and job, OpenSSL, curl and GnuTLS see it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use local_cloud::{CertificateSpec, KeyKind, LocalCloud, Options, TlsSecret};
use serde_json::Value;

use crate::clients::{certificates, judged, openssl_sees, serial, served_serial};
use crate::envoy::Envoy;
use crate::ingress::Ingress;
use crate::{NAME, TLS_SECRET, synchronize, write};

/// Handshakes until Envoy has taken files that were replaced.
const MOST_HANDSHAKES: u32 = 200;

pub(crate) fn check(job: &Path, envoy: &Envoy) -> anyhow::Result<()> {
    for (name, key) in [("ECDSA P-256", KeyKind::P256), ("RSA", KeyKind::Rsa2048)] {
        for protocol in ["TLSv1.2", "TLSv1.3"] {
            let what = format!("{name} over {protocol}");
            rotation(job, envoy, key, protocol).context(what.clone())?;
            println!("{what}: Envoy {} took the renewal while it ran", envoy.version);
        }
    }
    Ok(())
}

fn rotation(job: &Path, envoy: &Envoy, key: KeyKind, protocol: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cloud = LocalCloud::start(Options::default())?;
    let project = cloud.world().project_id;
    let secret = cloud.issue(CertificateSpec { key, ..CertificateSpec::default() });
    cloud.deploy(&secret, &project, TLS_SECRET);
    cloud.map_domain(&project, NAME, TLS_SECRET);
    let deployed = || -> anyhow::Result<TlsSecret> {
        cloud.tls_secret(&project, TLS_SECRET).context("TLS secret")
    };
    let first = deployed()?;
    let ingress = Ingress::start(envoy, folder.path(), &first, protocol)?;
    let port = ingress.port;
    sees(port, &first)?;

    cloud.rotate_quietly(&[&secret]);
    let mut environment = cloud.environment();
    environment.insert("SECRET_ID".into(), secret.clone());
    environment.insert("PROBE_ADDRESS".into(), format!("127.0.0.1:{port}"));
    // the cluster mounts what was written while the job waits to see it served
    let (report, mounted) = thread::scope(|scope| {
        let kubelet = scope.spawn(|| {
            let patience = Duration::from_secs(60);
            let written = cloud.await_tls_secret(&project, TLS_SECRET, &first, patience);
            ingress.mount(&written.context("the job wrote nothing")?)
        });
        let report = synchronize(job, environment.clone(), "replaced");
        (report, kubelet.join())
    });
    let report = report?;
    mounted.map_err(|_| anyhow!("the mount panicked"))??;
    let target = &report["targets"][0];
    state(target, "new")?;
    let second = deployed()?;
    let text = sees(port, &second)?;
    let spoke = text.contains(&format!("New, {protocol}, "));
    ensure!(spoke, "OpenSSL did not speak {protocol}");
    let (before, after) = (serial(&first.tls_cert)?, serial(&second.tls_cert)?);
    ensure!(before != after, "the renewal is the first certificate");
    let reported = target["to"]["serial"].as_str().unwrap_or_default();
    let same = reported.replace(':', "").eq_ignore_ascii_case(&after);
    ensure!(same, "the job says {reported}, OpenSSL {after}");
    let root = write(folder.path(), "root.pem", cloud.authority().public_root())?;
    judged(port, NAME, &root, true)?;

    // the job looks at Envoy, not at what it wrote
    ingress.mount(&first)?;
    let mut handshakes = 0;
    while served_serial(port, NAME)? != before {
        handshakes += 1;
        ensure!(handshakes < MOST_HANDSHAKES, "Envoy keeps the old files");
    }
    let report = synchronize(job, environment, "unchanged")?;
    state(&report["targets"][0], "old")
}

/// OpenSSL sees exactly the chain of this TLS secret; returns what it says.
fn sees(port: u16, secret: &TlsSecret) -> anyhow::Result<String> {
    let chain = certificates(&secret.tls_cert);
    ensure!(chain.len() == 2, "not two certificates are deployed");
    let text = openssl_sees(port, NAME)?;
    ensure!(certificates(&text) == chain, "OpenSSL sees another chain");
    Ok(text)
}

fn state(target: &Value, expected: &str) -> anyhow::Result<()> {
    let served = &target["served"];
    let one = served.as_array().is_some_and(|served| served.len() == 1);
    let (name, state) = (&served[0]["domain"], &served[0]["state"]);
    let is = one && name == NAME && state == expected;
    ensure!(is, "expected {expected:?}: {target}");
    Ok(())
}
