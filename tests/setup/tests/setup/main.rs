//! The scripts that install and remove, run as people run them: real bash, jq and openssl, a stand-in
//! for `ibmcloud` that refuses what the real one does not know, the local cloud behind it, and the
//! real job in the runs that setup makes.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests"
)]

/// Mail, and alerts on logs.
mod alerts;
/// What was there before, and runs that fail.
mod before;
/// Account, commands, what exists afterwards.
mod harness;
/// Fresh, again, and its variants.
mod install;
/// Every line with `ibmcloud` in scripts and documents.
mod lines;
/// The names that only IBM's network has.
mod network;
/// job.yaml and setup's job are one.
mod papers;
/// What `--check` says is missing, and the command that fixes it.
mod remedies;
/// All of it, nothing else, twice.
mod remove;
/// A failure at each step.
mod resume;
/// Setup and the Terraform module make the same installation.
mod table;
/// Many targets by one file.
mod targets;
/// Wrong inputs, missing tools, questions.
mod wrong;
