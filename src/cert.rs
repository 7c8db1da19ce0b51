//! Certificates, keys and chains: facts, lenient reading, canonical writing, the chain rule and the
//! rehearsal.
//!
//! Pure: no network, no clock, no environment; `now` is an argument. Nothing here knows of a service
//! or of a step.

pub mod certificate;
pub mod chain;
pub mod handshake;
pub mod pem;
pub mod roots;
