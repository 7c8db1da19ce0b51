//! The job behind a real ingress: Envoy serves the TLS secret, the job replaces it, Envoy takes the
//! new one without a restart, and job, OpenSSL, curl and GnuTLS see it.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use local_cloud::{CertificateSpec, KeyKind, LocalCloud, Options, SecretType, TlsSecret};
use serde_json::Value;

use crate::clients::{Judgement, certificates, curl_sees, openssl_sees, serial, served_serial};
use crate::envoy::Envoy;
use crate::ingress::Ingress;
use crate::{KeyAlgorithm, NAME, TLS_SECRET, synchronize, write};

/// Envoy's name of a TLS version, and OpenSSL's.
const PROTOCOLS: [(&str, &str); 2] = [("TLSv1_2", "TLSv1.2"), ("TLSv1_3", "TLSv1.3")];
/// Handshakes until Envoy has taken files that were replaced.
const MOST_HANDSHAKES: u32 = 200;

pub(crate) fn check(job: &Path, envoy: &Envoy) -> anyhow::Result<()> {
    for algorithm in [KeyAlgorithm::Ecdsa, KeyAlgorithm::Rsa] {
        for protocol in PROTOCOLS {
            rotation(job, envoy, algorithm, protocol)
                .with_context(|| format!("{algorithm:?}, {}", protocol.1))?;
        }
    }
    Ok(())
}

fn rotation(
    job: &Path,
    envoy: &Envoy,
    algorithm: KeyAlgorithm,
    (protocol, spoken): (&str, &str),
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cloud = LocalCloud::start(Options::default())?;
    let project = cloud.world().project_id;
    let secret = cloud.issue(certificate(algorithm));
    cloud.deploy(&secret, &project, TLS_SECRET);
    cloud.map_domain(&project, NAME, TLS_SECRET);
    let deployed = || -> anyhow::Result<TlsSecret> {
        cloud.tls_secret(&project, TLS_SECRET).context("TLS secret")
    };
    let first = deployed()?;
    let mut ingress = Ingress::start(envoy, folder.path(), &first, protocol)?;
    let port = ingress.port();
    sees(port, &first)?;

    let renewed = cloud.authority().issue(&certificate(algorithm), None)?;
    cloud.put_material(&secret, renewed);
    let mut environment = cloud.environment();
    environment.insert("SECRET_ID".into(), secret.clone());
    environment.insert("PROBE_ADDRESS".into(), format!("127.0.0.1:{port}"));
    // the cluster mounts what was written while the job waits to see it served
    let (report, mounted) = thread::scope(|scope| {
        let kubelet = scope.spawn(|| {
            let written =
                cloud.await_tls_secret(&project, TLS_SECRET, &first, Duration::from_secs(60));
            ingress.mount(&written.context("the job wrote nothing")?)
        });
        let report = synchronize(job, environment.clone(), "replaced");
        (report, kubelet.join())
    });
    let report = report?;
    mounted.map_err(|_| anyhow!("the mount panicked"))??;
    let target = &report["targets"][0];
    state(target, "new")?;
    ensure!(
        target["rotation_to_served_s"].is_u64(),
        "not timed: {report}"
    );
    let second = deployed()?;
    let text = sees(port, &second)?;
    ensure!(
        text.contains(&format!("New, {spoken}, ")),
        "not over {spoken}: {text}"
    );
    let (before, after) = (serial(&first.tls_cert)?, serial(&second.tls_cert)?);
    ensure!(before != after, "the renewal is the first certificate");
    let reported = target["to"]["serial"].as_str().unwrap_or_default();
    ensure!(
        reported.replace(':', "").eq_ignore_ascii_case(&after),
        "the job says {reported}, OpenSSL {after}"
    );
    let root = write(folder.path(), "root.pem", cloud.authority().public_root())?;
    for judgement in Judgement::of(port, NAME, &root)? {
        ensure!(
            judgement.trusts,
            "{} refuses: {}",
            judgement.client,
            judgement.text
        );
    }

    // the job looks at Envoy, not at what it wrote
    ingress.mount(&first)?;
    let mut handshakes = 0;
    while served_serial(port, NAME)? != before {
        handshakes += 1;
        ensure!(
            handshakes < MOST_HANDSHAKES,
            "Envoy does not take other files"
        );
    }
    let report = synchronize(job, environment, "unchanged")?;
    state(&report["targets"][0], "old")?;
    println!(
        "{algorithm:?} over {spoken}: Envoy {} took {after} while it ran; the job, OpenSSL and \
         curl agree; {}",
        envoy.version,
        target["message"].as_str().unwrap_or_default()
    );
    Ok(())
}

fn certificate(algorithm: KeyAlgorithm) -> CertificateSpec {
    CertificateSpec {
        secret_type: SecretType::PublicCert,
        key: match algorithm {
            KeyAlgorithm::Ecdsa => KeyKind::P256,
            KeyAlgorithm::Rsa => KeyKind::Rsa2048,
        },
        ..CertificateSpec::default()
    }
}

/// OpenSSL and curl see exactly the chain of this TLS secret; returns what OpenSSL says.
fn sees(port: u16, secret: &TlsSecret) -> anyhow::Result<String> {
    let chain = certificates(&secret.tls_cert);
    ensure!(
        chain.len() == 2,
        "not leaf and intermediate: {}",
        secret.tls_cert
    );
    let openssl = openssl_sees(port, NAME)?;
    let curl = curl_sees(port, NAME)?;
    for (client, text) in BTreeMap::from([("OpenSSL", &openssl), ("curl", &curl)]) {
        ensure!(
            certificates(text) == chain,
            "{client} sees another chain: {text}"
        );
    }
    Ok(openssl)
}

fn state(target: &Value, expected: &str) -> anyhow::Result<()> {
    let served = &target["served"];
    ensure!(
        served.as_array().is_some_and(|served| served.len() == 1)
            && served[0]["domain"] == NAME
            && served[0]["state"] == expected,
        "expected {expected:?}: {target}"
    );
    Ok(())
}
