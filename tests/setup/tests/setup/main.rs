//! The scripts that install and remove, run as people run them: real bash, jq and openssl, a stand-in
//! for `ibmcloud` that refuses what the real one does not know, the local cloud behind it, and the
//! real job in the runs that setup makes.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

/// Mail, and alerts on logs.
mod alerts;
/// What was there before, and what fails.
mod before;
/// Every line with `ibmcloud` in scripts, documents and messages; the commands that `--check` prints.
mod commands;
/// A site, and runs of the scripts there.
mod harness;
/// Fresh, again, and its variants.
mod install;
/// All of it, nothing else, twice.
mod remove;
/// What setup makes is what the table says, as the Terraform module makes it.
mod table;
/// Many targets by one file.
mod targets;
/// Wrong inputs, missing tools, questions.
mod wrong;
