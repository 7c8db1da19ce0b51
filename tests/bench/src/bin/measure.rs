//! A stopwatch: `measure FILE PROGRAM [ARGUMENT...]` runs the program to its end and writes wall
//! time, CPU time, peak memory and exit status of it and of its children to the file, as JSON.
//!
//! A small program of its own, since Linux counts the memory of the parent before `exec` too.
#![allow(clippy::disallowed_methods, reason = "a stopwatch, not the job")]

use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let usage = "usage: measure FILE PROGRAM [ARGUMENT...]";
    let (file, program) = words.next().zip(words.next()).context(usage)?;
    let mut command = Command::new(&program);
    command.args(words);
    let start = Instant::now();
    let status = command.status();
    let status = status.with_context(|| format!("start {}", program.display()))?;
    let wall = start.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let measured = serde_json::json!({
        "wall_us": u64::try_from(wall.as_micros())?,
        "cpu_us": cpu,
        "max_rss_kib": usage.max_rss(),
        "status": status.code(),
    });
    std::fs::write(&file, measured.to_string()).context("write the result")
}
