//! The doors to IBM Cloud, one per service: its paths, headers, field names and error bodies. No
//! policy lives here: what to do with an answer is decided in the steps.

pub mod api_error;
pub mod client;
pub mod code_engine;
pub(crate) mod document;
pub mod iam;
pub mod ids;
mod names;
pub mod secrets_manager;
