//! A stand-in for the `ibmcloud` command, on a small account in front of a local cloud. It knows the commands
//! and flags of the real one from a table, refuses everything else, and does to the local cloud what the real
//! one does to IBM's. Where IBM's documents do not say what an answer looks like, [`Account::odd`] chooses.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "for tests: what cannot be true shall stop the test, loudly"
)]

mod account;
mod commands;
mod iam;
mod services;
mod site;
pub mod table;

pub use account::{Account, Answer, Failure, entries, instance, text};
pub use site::{JOB, Site, TLS_SECRET, root};
