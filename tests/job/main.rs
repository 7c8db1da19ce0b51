//! The real binary against the local cloud.
//!
//! One module per concern; a new test goes where its name would be looked for.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a broken expectation must stop the test, and a test says what it skips"
)]

/// The alerts match real reports.
mod alerts;
/// SIGTERM and DEADLINE while services and peers are silent or drip.
mod bounds;
/// Hard certificates, chains and keys with the verdict on each.
mod catalogue;
/// Certificate types, chains and keys as they come out of Secrets Manager.
mod certificates;
/// Every right tried by itself, and nothing changed.
mod check;
/// The environment: what is refused, all at once, and what older names mean.
mod config;
/// Which certificate belongs to which TLS secret: `--discover`.
mod discover;
/// Services that quote what we sent, or show secrets where none belong.
mod echoes;
/// The process and its surroundings: signals, time, size, memory.
mod edge;
/// Events: how they arrive, what is rejected or ignored, and wake-up calls.
mod events;
/// Requests that fail, and what the run does about it.
mod faults;
/// From a rotation to the certificate that a TLS client sees, by each trigger.
mod flow;
/// Runs of the binary, and what must hold after each of them.
mod harness;
/// The search for secrets in output, which the harness does after each run.
mod leaks;
/// Certificates, sound and flawed.
#[path = "../certificates/maker.rs"]
#[allow(dead_code, reason = "the unit tests need the rest of it")]
mod maker;
/// Several targets, several projects, job arrays.
mod many;
/// Every route under every fault.
mod matrix;
/// Keys and certificates in odd forms, as they come in and as they are deployed.
mod odd_forms;
/// Things that must agree: README, `--help`, dependencies, scripts.
mod papers;
/// What the parsers do with inputs that nobody would think of.
mod properties;
/// Requests through a proxy, and which of IAM's addresses is asked.
mod proxy;
/// Two runs, a rotation and an edit by hand at the same time.
mod races;
/// The report line and the log.
mod report;
/// Apps that take the new certificate by a restart.
mod restarts;
/// Never worse than what serves: the rules of comparison, and their ways out.
mod safety;
/// What a TLS client sees afterwards, and which domains are concerned.
mod served;
/// Back to the version before, and a target on hold.
mod undo;
