//! Functions of the job, not the binary: thousands of inputs that nobody wrote down.
//!
//! A failure prints the smallest input that shows it, and keeps its seed in
//! `properties.regressions` beside this file, which is tried first from then on: commit it together
//! with the repair.

/// Chains of certificates, sound and flawed, made on the spot.
mod chains;
/// Event bodies.
mod events;
/// Identifiers and texts from outside.
mod ids;
/// What must hold of each result; the fuzz targets ask the same judge.
mod judge;
/// PEM texts of Secrets Manager.
mod material;

use proptest::test_runner::{Config, FileFailurePersistence};

/// So many cases that the whole module takes well under half a minute in a debug build.
fn config(cases: u32) -> Config {
    Config {
        cases,
        max_shrink_iters: 4096,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/job/properties.regressions",
        ))),
        ..Config::default()
    }
}
