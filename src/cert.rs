//! Certificates, keys and chains: facts, lenient reading, canonical writing, the chain rule and the
//! rehearsal.
//!
//! Pure: no network, no clock, no environment; `now` is an argument. Nothing here knows of a service
//! or of a step.

pub mod certificate;
pub mod certificates;
pub(crate) mod chain;
mod constraints;
mod der;
mod distinguished_name;
pub mod handshake;
pub mod key;
pub(crate) mod names;
pub mod pem;
pub(crate) mod roots;
pub mod signature;
