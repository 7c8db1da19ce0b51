//! A stand-in for the `ibmcloud` command. It knows the commands and flags of the real one from a
//! table, refuses everything else, keeps its state below `IBMCLOUD_HOME`, and does to a local cloud
//! what the real one does to IBM's.
//!
//! Where a line belongs: which words and flags there are in `table`; what is required and what
//! happens in the file of each service; what is remembered between two commands in `account`.
//! Where IBM's documents do not say what an answer looks like, [`Freedom`] chooses.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a stand-in for tests: a broken invariant shall stop the test, loudly"
)]

pub mod account;
pub mod table;

mod code_engine;
mod core;
mod event_notifications;
mod iam;
pub mod rest;
mod secrets_manager;
mod session;

pub use account::{Account, EmptyList, Freedom, Instance, Logs, State};
pub use session::run;
