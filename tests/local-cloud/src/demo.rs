//! The demo: a certificate is rotated, and a moment later a TLS client sees it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use local_cloud::{Attempt, DeliveryOutcome, LocalCloud, Options, Served};
use serde_json::Value;

use super::{DOMAIN, JOB, TLS_SECRET, seed};

/// A job that takes longer has a bug, or waits for a signal.
const PATIENCE: Duration = Duration::from_secs(12);

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    ensure!(
        options.job_program.is_some(),
        "demo needs --job PATH, the program that copies the certificate"
    );
    let began = Instant::now();
    let cloud = LocalCloud::start(options)?;
    let project = cloud.world().project_id;
    let variables = seed(&cloud);
    let secret = variables.get("SECRET_ID").context("SECRET_ID")?;
    say(
        "cloud",
        &format!(
            "IAM, Secrets Manager, Event Notifications, Code Engine on 127.0.0.1 ({} ms)",
            began.elapsed().as_millis()
        ),
    );
    say(
        "secrets manager",
        "public certificate shop-example-com issued for shop.example.com, www.shop.example.com",
    );
    say(
        "code engine",
        &format!("TLS secret {TLS_SECRET} holds it, domain {DOMAIN} is mapped to it"),
    );
    let before = look(&cloud)?;

    cloud.rotate(&[secret]);
    let new_serial = cloud
        .serial(secret)
        .context("the new version has no serial number")?;
    say(
        "secrets manager",
        &format!("rotated: new serial {new_serial}"),
    );
    let name = follow(&cloud)?;
    let run = cloud.wait_job_run(&project, &name, PATIENCE)?;
    let attempt = run.attempts.last().context("the job run has no attempt")?;
    let report = show_report(attempt);
    let after = look(&cloud)?;

    // the job's own finding, and ours
    let target = &report["targets"][0];
    let probed = &target["served"][0];
    if after.serial == new_serial && probed["state"] == "new" {
        let (after_write, in_all) = (&probed["after_ms"], &target["rotation_to_served_s"]);
        say(
            "result",
            &format!(
                "{DOMAIN} serves the new certificate: the job's probe saw it {after_write} ms after the write, {in_all} s after the rotation"
            ),
        );
        return Ok(());
    }
    for line in attempt
        .stderr
        .lines()
        .rev()
        .take(10)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        say("job log", line);
    }
    match attempt.exit_code {
        Some(0) => bail!(
            "the job ended well, but {DOMAIN} serves {} (before: {}), and its probe saw {probed}",
            after.serial,
            before.serial
        ),
        Some(code) => {
            bail!("job {JOB} ended with exit status {code}; {DOMAIN} serves the old certificate")
        }
        None => bail!("job {JOB} did not end by itself: {}", attempt.stderr.trim()),
    }
}

fn say(who: &str, what: &str) {
    println!("{who:<16} {what}");
}

fn look(cloud: &LocalCloud) -> anyhow::Result<Served> {
    let served = cloud.served(DOMAIN)?;
    let until = served.not_after.date();
    say(
        "tls handshake",
        &format!(
            "{DOMAIN} serves serial {}, valid until {until}",
            served.serial
        ),
    );
    Ok(served)
}

/// The event's way; returns the job run's name.
fn follow(cloud: &LocalCloud) -> anyhow::Result<String> {
    let deliveries = cloud.deliveries();
    let delivery = deliveries
        .last()
        .context("no event reached Event Notifications")?;
    let topic = delivery.topic.as_deref().unwrap_or("none");
    let destination = delivery.destination.as_deref().unwrap_or("none");
    say("event", &delivery.event_type);
    say("  topic", topic);
    say("  destination", destination);
    match &delivery.outcome {
        DeliveryOutcome::Delivered {
            job_run: Some(name),
        } => {
            say("  job run", name);
            Ok(name.clone())
        }
        other => bail!("the event did not start a job run: {other:?}"),
    }
}

/// The report line's main fields and the exit status; returns the report.
fn show_report(attempt: &Attempt) -> Value {
    let report: Value = attempt
        .stdout
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or_default();
    if let Some(message) = report["message"].as_str() {
        say("report", message);
    }
    for target in report["targets"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        say(
            "  target",
            &format!(
                "{}: {}",
                text(&target["tls_secret"]),
                text(&target["action"])
            ),
        );
        for (label, field) in [("from", "from"), ("to", "to")] {
            if let Some(serial) = target[field]["serial"].as_str() {
                say(&format!("    {label}"), serial);
            }
        }
        for served in target["served"].as_array().into_iter().flatten() {
            let what = format!("{}: {}", text(&served["domain"]), text(&served["state"]));
            say("    served", &what);
        }
        for finding in target["findings"].as_array().into_iter().flatten() {
            say("    finding", &text(&finding["message"]));
        }
    }
    let status = attempt
        .exit_code
        .map_or_else(|| "none".to_owned(), |code| code.to_string());
    say(
        "exit status",
        &format!("{status} after {} ms", attempt.duration_ms),
    );
    report
}
