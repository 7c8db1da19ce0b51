//! The four steps: validate, fetch, assemble, replace, and what they share.

pub mod assemble;
pub(crate) mod compare;
pub(crate) mod deployed;
pub mod fetch;
pub(crate) mod refusals;
pub mod replace;
pub mod validate;
