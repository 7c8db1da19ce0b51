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

mod alerts;
mod before;
mod commands;
mod harness;
mod install;
mod remove;
mod table;
mod targets;
mod wrong;
