//! Certificates, keys and chains: facts, lenient reading, canonical writing, the chain rule and the
//! rehearsal.
//!
//! Pure: no network, no clock, no environment; `now` is an argument. Nothing here knows of a service
//! or of a step.

pub mod certificate;
pub(crate) mod chain;
mod constraints;
pub mod handshake;
pub mod key;
pub(crate) mod names;
pub mod pem;
#[cfg(test)]
pub(crate) mod samples;
