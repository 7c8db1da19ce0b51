//! What no program can undercut: the four dependent calls of one replacement and nothing else.
//!
//! Token, TLS secret, certificate, PUT: one after the other, each host's first call on a fresh
//! TLS 1.3 connection, the same HTTP and TLS libraries as the job. Environment as the job's, with
//! one target in `TARGETS`. Prints the microseconds from the first call to the last answer;
//! reading the environment and the CA file comes before.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]
#![allow(clippy::indexing_slicing, reason = "an absent field of a JSON value is null, no panic")]
#![allow(clippy::disallowed_methods, reason = "a yardstick, not the job")]

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

fn main() -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| name.to_owned());
    let targets: Value = serde_json::from_str(&variable("TARGETS")?)?;
    let field = |name: &str| targets[0][name].as_str().context("TARGETS");
    let cr_token = std::fs::read_to_string(variable("CR_TOKEN_FILENAME")?)?;
    let profile = variable("IAM_PROFILE_ID")?;
    let agent = agent(&variable("SSL_CERT_FILE")?)?;
    let token_url = variable("IAM_URL")? + "/identity/token";
    let place = format!(
        "{}/v2/projects/{}/secrets/{}?version=2025-07-10",
        variable("CODE_ENGINE_URL")?,
        variable("PROJECT_ID")?,
        field("tls_secret")?
    );
    let base = variable("SECRETS_MANAGER_URL")?;
    let source = format!("{base}/api/v2/secrets/{}", field("secret_id")?);

    let start = Instant::now();
    let form = [
        ("grant_type", "urn:ibm:params:oauth:grant-type:cr-token"),
        ("cr_token", &cr_token),
        ("profile_id", &profile),
    ];
    let token = parsed(agent.post(&token_url).send_form(form)?)?;
    let token = token["access_token"].as_str().context("no token")?;
    let bearer = format!("Bearer {token}");
    let read = |url: &str| agent.get(url).header("Authorization", &bearer).call();
    let deployed = read(&place)?;
    let tag = deployed.headers().get("etag").context("no ETag")?.clone();
    parsed(deployed)?;
    let found = parsed(read(&source)?)?;
    let data = json!({ "tls_cert": found["certificate"], "tls_key": found["private_key"] });
    let body = json!({ "format": "tls", "data": data });
    let put = agent.put(&place).header("Authorization", &bearer);
    let put = put.header("If-Match", &tag).content_type("application/json");
    parsed(put.send(body.to_string())?)?;
    println!("{}", start.elapsed().as_micros());
    Ok(())
}

fn parsed(mut answer: ureq::http::Response<ureq::Body>) -> anyhow::Result<Value> {
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
    Ok(Agent::config_builder().tls_config(tls).proxy(None).build().new_agent())
}
