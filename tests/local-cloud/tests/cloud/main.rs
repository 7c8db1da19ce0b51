//! The local cloud from outside: over its sockets, with a plain client that shares nothing with it.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

/// Apps: what a PATCH may do, and what becomes of their revisions.
mod apps;
/// One HTTP exchange at a time, byte by byte where a fault is to be seen.
mod client;
/// Code Engine's rules: tags, names, sizes, pages, regions.
mod code_engine;
/// Services that show secrets in errors and answers.
mod echo;
/// What domain mappings serve, and when; what their clients did.
mod edge;
/// Every kind of fault, and that it ends with its guard.
mod faults;
/// A rotation's whole way: event, filter, job run, edge.
mod flow;
/// Tokens: who gets one, who is refused how.
mod iam;
/// Environment, retries, arrays, time limit, stop.
mod job_runs;
/// All secrets of a project and of an instance: pages, filters, rights.
mod lists;
/// Profiles, authorizations and subscriptions, as people manage them.
mod management;
/// One right at a time.
mod rights;
/// Secrets, versions, states, shapes.
mod secrets_manager;
/// The whole state: reading leaves it alone, and every change shows.
mod state;
/// Services that never answer, or never to the end; connections that are lost.
mod stuck;
/// The Periodic Timer of Event Notifications.
mod timer;
