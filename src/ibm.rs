//! The doors to IBM Cloud, one per service: its paths, headers, field names, and why a call failed. What
//! to do with an answer is decided in the steps.

pub mod api_error;
pub mod client;
pub mod code_engine;
pub mod grantee;
pub mod iam;
pub mod ids;
mod names;
pub mod secrets_manager;

#[cfg(test)]
mod tests;
