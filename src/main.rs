//! The process edge: arguments, environment, clock, signals; runs; prints; exits.

mod log;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls_pki_types::UnixTime;
use sm_tls_sync::config::{Config, Format, Given, Mode, help};
use sm_tls_sync::error::{Error, Reason};
use sm_tls_sync::report::{Heading, Report, Results, log_check, log_discovered, log_outcome};
use sm_tls_sync::stop::Stop;
use sm_tls_sync::sync::validate::Trigger;
use sm_tls_sync::text::sanitized;

/// What is known of the run before its results.
struct Edge {
    start: Instant,
    now: UnixTime,
    heading: Heading,
    output: Format,
    colors: bool,
}

fn main() -> ExitCode {
    let terminal = io::stdout().is_terminal();
    let mut edge = Edge {
        start: Instant::now(),
        now: now(),
        heading: Heading::default(),
        output: match terminal {
            true => Format::Text,
            false => Format::Json,
        },
        colors: terminal,
    };
    set_hook(Box::new(|panic| {
        // the place, not the payload: that could quote what it found
        let place = panic.location().map(ToString::to_string);
        ::log::error!("bug at {}", place.unwrap_or_default());
    }));
    let result = match arguments(std::env::args_os().skip(1), environment()) {
        Ok(Task::Print(text)) => return print(&text),
        Ok(Task::Run(environment)) => {
            catch_unwind(AssertUnwindSafe(|| run(&environment, &mut edge)))
                .unwrap_or_else(|_| Err(Error::defect()))
        }
        Err(error) => Err(error),
    };
    let duration_ms = u64::try_from(edge.start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = Report::new(edge.heading, result, duration_ms);
    print(&report.print(edge.output, edge.colors, edge.now));
    ExitCode::from(report.status())
}

enum Task {
    Print(String),
    Run(BTreeMap<String, String>),
}

/// Arguments are short for variables.
fn arguments(
    mut arguments: impl Iterator<Item = OsString>,
    mut environment: BTreeMap<String, String>,
) -> Result<Task, Error> {
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy();
        let (name, value) = match &*argument {
            "--help" | "-h" => return Ok(Task::Print(help())),
            "--version" | "-V" => {
                let version = concat!("sm-tls-sync ", env!("CARGO_PKG_VERSION"));
                return Ok(Task::Print(version.to_owned()));
            }
            "--dry-run" => ("DRY_RUN", "true".to_owned()),
            "--check" => ("CHECK", "true".to_owned()),
            "--discover" => ("DISCOVER", "true".to_owned()),
            "--output" => {
                let value = arguments.next().unwrap_or_else(|| "nothing".into());
                ("OUTPUT", value.to_string_lossy().into_owned())
            }
            unknown => {
                let unknown = format!("unknown argument '{}'", sanitized(unknown));
                let hint = "expected --help, --version, --dry-run, --check, --discover or --output";
                return Err(Error::new(Reason::Configuration, unknown).hint(hint));
            }
        };
        environment.insert(name.to_owned(), value);
    }
    Ok(Task::Run(environment))
}

fn run(environment: &BTreeMap<String, String>, edge: &mut Edge) -> Result<Results, Error> {
    let given = Given::read(environment);
    log::start(given.logging());
    edge.output = given.output().unwrap_or(edge.output);
    edge.colors &= given.colors();
    // a text report on a terminal shows every target already
    let log_targets = (edge.output, given.logging().format) != (Format::Text, Format::Text);
    let config = Config::new(given)?;
    let trigger = Trigger::read(&config.trigger);
    edge.heading = Heading {
        trigger: Some(trigger.word),
        event_id: trigger.id.clone(),
        dry_run: config.dry_run,
    };
    ::log::info!(
        "sm-tls-sync {}, trigger {}, event {}{}",
        env!("CARGO_PKG_VERSION"),
        trigger.word,
        edge.heading.event_id.as_deref().unwrap_or("none"),
        if config.dry_run { ", dry run" } else { "" }
    );
    for warning in &config.warnings {
        ::log::warn!("{warning}");
    }
    let terminated = Arc::new(AtomicBool::new(false));
    // as PID 1 the process has no default action for SIGTERM: without this it would go on
    if let Err(e) = signal_hook::flag::register(signal_hook::consts::SIGTERM, terminated.clone()) {
        ::log::warn!("SIGTERM will not stop this run: {e}");
    }
    let stop = Arc::new(Stop::new(edge.start, config.deadline, terminated));
    let results = match config.mode {
        Mode::Run => sm_tls_sync::run(&config, trigger, &stop, edge.now)?.into(),
        Mode::Check => Results {
            checks: sm_tls_sync::check(&config, &stop, edge.now),
            ..Results::default()
        },
        Mode::Discover => sm_tls_sync::discover(&config, &stop, edge.now)?,
    };
    if log_targets {
        results.targets.iter().for_each(log_outcome);
        results.checks.iter().for_each(log_check);
        let discovered = results.discovery.iter().flat_map(|found| &found.discovered);
        discovered.for_each(log_discovered);
    }
    Ok(results)
}

/// Prints a line. A closed standard output is not a failure: the exit status is still there.
fn print(text: &str) -> ExitCode {
    let _closed = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
fn now() -> UnixTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime::since_unix_epoch(now.unwrap_or(Duration::ZERO))
}

/// The whole environment. Bytes that are not UTF-8 become replacement characters, which no parser
/// of ours accepts where it matters.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| {
            let text = |text: OsString| text.to_string_lossy().into_owned();
            (text(name), text(value))
        })
        .collect()
}
