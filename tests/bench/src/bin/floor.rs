//! What no program can undercut: the four dependent calls of one replacement and nothing else.
//!
//! Token, TLS secret, certificate, PUT: one after the other, each host's first call on a fresh
//! TLS 1.3 connection, the same HTTP and TLS libraries as the job. Environment as the job's, with
//! one target in `TARGETS`. Prints the microseconds from the first call to the last answer;
//! reading the environment and the CA file comes before.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]
#![allow(
    clippy::indexing_slicing,
    reason = "an absent field of a JSON value is null, no panic"
)]
#![allow(clippy::disallowed_methods, reason = "a yardstick, not the job")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

fn main() -> ExitCode {
    match run() {
        Ok(took) => {
            println!("{}", took.as_micros());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<Duration> {
    let variable = |name: &str| std::env::var(name).with_context(|| name.to_owned());
    let targets: Value = serde_json::from_str(&variable("TARGETS")?)?;
    let (secret, tls_secret) = (
        targets[0]["secret_id"].as_str().context("secret_id")?,
        targets[0]["tls_secret"].as_str().context("tls_secret")?,
    );
    let cr_token = std::fs::read_to_string(variable("CR_TOKEN_FILENAME")?)?;
    let profile = variable("IAM_PROFILE_ID")?;
    let agent = agent(&variable("SSL_CERT_FILE")?)?;
    let token_url = format!("{}/identity/token", variable("IAM_URL")?);
    let place = format!(
        "{}/v2/projects/{}/secrets/{tls_secret}?version=2025-07-10",
        variable("CODE_ENGINE_URL")?,
        variable("PROJECT_ID")?
    );
    let source = format!(
        "{}/api/v2/secrets/{secret}",
        variable("SECRETS_MANAGER_URL")?
    );

    let start = Instant::now();
    let form = [
        ("grant_type", "urn:ibm:params:oauth:grant-type:cr-token"),
        ("cr_token", &cr_token),
        ("profile_id", &profile),
    ];
    let mut answer = agent.post(&token_url).send_form(form).context("token")?;
    let token = parsed(&mut answer)?;
    let bearer = format!(
        "Bearer {}",
        token["access_token"].as_str().context("access_token")?
    );
    let mut answer = agent
        .get(&place)
        .header("Authorization", &bearer)
        .call()
        .context("TLS secret")?;
    let tag = answer
        .headers()
        .get("ETag")
        .context("ETag")?
        .to_str()?
        .to_owned();
    parsed(&mut answer)?;
    let mut answer = agent
        .get(&source)
        .header("Authorization", &bearer)
        .call()
        .context("certificate")?;
    let found = parsed(&mut answer)?;
    let body = json!({
        "format": "tls",
        "data": { "tls_cert": found["certificate"], "tls_key": found["private_key"] },
    });
    let mut answer = agent
        .put(&place)
        .header("Authorization", &bearer)
        .header("If-Match", &tag)
        .content_type("application/json")
        .send(body.to_string())
        .context("PUT")?;
    parsed(&mut answer)?;
    Ok(start.elapsed())
}

fn parsed(answer: &mut ureq::http::Response<ureq::Body>) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&answer.body_mut().read_to_vec()?)?)
}

fn agent(ca_file: &str) -> anyhow::Result<Agent> {
    let pem = std::fs::read(ca_file)?;
    let mut roots = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item? {
            roots.push(certificate);
        }
    }
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Ok(Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .build()
        .new_agent())
}
