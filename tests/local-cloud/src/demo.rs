//! The demo: a certificate is rotated, and a moment later a TLS client sees it. The README shows what
//! it prints.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use local_cloud::{DeliveryOutcome, LocalCloud, Options, Served};
use serde_json::Value;

use super::{DOMAIN, TLS_SECRET, seed};

/// A job that takes longer has a bug, or waits for a signal.
const PATIENCE: Duration = Duration::from_secs(12);

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let with_job = options.job_program.is_some();
    ensure!(with_job, "demo needs --job PATH, the program that copies the certificate");
    let cloud = LocalCloud::start(options)?;
    let project = cloud.world().project_id;
    let variables = seed(&cloud);
    let secret = variables.get("SECRET_ID").context("SECRET_ID")?;
    let services = "IAM, Secrets Manager, Event Notifications, Code Engine on 127.0.0.1";
    say("local cloud", services);
    let names = "certificate shop-example-com for shop.example.com and www.shop.example.com";
    say("Secrets Manager", names);
    let held = format!("TLS secret {TLS_SECRET} holds it; {DOMAIN} serves it");
    say("Code Engine", &held);
    let before = look(&cloud)?;

    println!();
    cloud.rotate(&[secret]);
    let new_serial = cloud.serial(secret).context("the new serial number")?;
    let what = format!("rotates; the new certificate is {}", short(&new_serial));
    say("Secrets Manager", &what);
    let name = follow(&cloud)?;

    println!();
    let run = cloud.wait_job_run(&project, &name, PATIENCE)?;
    let attempt = run.attempts.last().context("the job run has no attempt")?;
    let last = attempt.stdout.lines().last().unwrap_or_default();
    let report = serde_json::from_str::<Value>(last).unwrap_or_default();
    show_report(&report);
    let status = attempt.exit_code.map(|code| code.to_string());
    let status = status.unwrap_or_else(|| "none".into());
    let took = attempt.duration_ms;
    say("job run", &format!("exit status {status} after {took} ms"));

    println!();
    let after = look(&cloud)?;
    // the job's own finding, and ours
    let probed = &report["targets"][0]["served"][0];
    if after.serial == new_serial && probed["state"] == "new" {
        let took = &probed["after_ms"];
        let what = format!("{DOMAIN} serves the new certificate, {took} ms after the write");
        say("result", &what);
        return Ok(());
    }
    let log: Vec<&str> = attempt.stderr.lines().collect();
    for line in log.get(log.len().saturating_sub(10)..).unwrap_or_default() {
        say("job log", line);
    }
    let (was, is) = (before.serial, after.serial);
    bail!("exit status {status}; {DOMAIN} serves {is}, before {was}, and the job saw {probed}")
}

fn say(who: &str, what: &str) {
    println!("{who:<16} {what}");
}

/// The beginning of a serial number, enough to tell two apart.
fn short(serial: &str) -> String {
    let bytes: Vec<&str> = serial.split(':').take(4).collect();
    format!("{}...", bytes.join(":"))
}

fn look(cloud: &LocalCloud) -> anyhow::Result<Served> {
    let served = cloud.served(DOMAIN)?;
    let (serial, end) = (short(&served.serial), served.not_after.date());
    let what = format!("{DOMAIN} serves {serial}, valid until {end}");
    say("TLS client", &what);
    Ok(served)
}

/// The event's way; returns the job run's name.
fn follow(cloud: &LocalCloud) -> anyhow::Result<String> {
    let delivery = cloud.deliveries().pop();
    let delivery = delivery.context("no event reached Event Notifications")?;
    say("event", &delivery.event_type);
    say("topic", delivery.topic.as_deref().unwrap_or("none"));
    let destination = delivery.destination.as_deref();
    say("destination", destination.unwrap_or("none"));
    match delivery.outcome {
        DeliveryOutcome::Delivered { job_run: Some(name) } => {
            say("job run", &name);
            Ok(name)
        }
        other => bail!("the event did not start a job run: {other:?}"),
    }
}

/// The main fields of the report.
fn show_report(report: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    if let Some(error) = report["error"]["message"].as_str() {
        say("report", error);
    }
    for target in report["targets"].as_array().into_iter().flatten() {
        let serial = |leaf: &Value| short(leaf["serial"].as_str().unwrap_or("nothing"));
        let (from, to) = (serial(&target["from"]), serial(&target["to"]));
        let (name, action) = (text(&target["tls_secret"]), text(&target["action"]));
        let what = format!("TLS secret {name}: {action}, from {from} to {to}");
        say("report", &what);
        for served in target["served"].as_array().into_iter().flatten() {
            let (domain, state) = (text(&served["domain"]), text(&served["state"]));
            let after = served["after_ms"].as_u64();
            let after = after.map_or(String::new(), |ms| format!(", {ms} ms after the write"));
            say("report", &format!("domain {domain}: {state}{after}"));
        }
        for finding in target["findings"].as_array().into_iter().flatten() {
            say("report", &format!("finding: {}", text(&finding["message"])));
        }
    }
}
