//! The doors to IBM Cloud, one per service: its paths, headers, field names and error bodies. No
//! policy lives here: what to do with an answer is decided in the steps.

pub mod client;
pub mod code_engine;
pub mod events;
pub mod iam;
pub mod ids;
pub mod secrets_manager;
