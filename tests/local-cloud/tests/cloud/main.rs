//! The local cloud from outside, as far as IBM's SDKs (tests/sdk) and the job's black-box tests do not
//! show it: what they take for granted, and what would let them pass for the wrong reason.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

/// One HTTP exchange at a time with a plain client, byte by byte where a fault is to be seen.
mod client;
/// What domain mappings serve, and when.
mod edge;
/// A rotation's way, the rules of topics, the Periodic Timer.
mod events;
/// Every kind of fault, and that it ends with its guard.
mod faults;
/// Each freedom that a hostile cloud uses.
mod knobs;
/// Rights, secrets, job runs, the whole state.
mod services;
