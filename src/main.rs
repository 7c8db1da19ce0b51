//! The process edge: arguments, environment, logger, clock, signals; runs; prints; exits.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustls_pki_types::UnixTime;
use sm_tls_sync::config::{Config, Logging, help};
use sm_tls_sync::error::{Error, Reason};
use sm_tls_sync::report::{Check, CheckState, Heading, Report, Results};
use sm_tls_sync::stop::Stop;
use sm_tls_sync::sync::validate::describe;

fn main() -> ExitCode {
    let start = Instant::now();
    let mut environment = environment();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--help" | "-h") => return print(&help()),
            Some("--version" | "-V") => {
                return print(concat!("sm-tls-sync ", env!("CARGO_PKG_VERSION")));
            }
            Some("--dry-run") => {
                environment.insert("DRY_RUN".to_owned(), "true".to_owned());
            }
            Some("--check") => {
                environment.insert("CHECK".to_owned(), "true".to_owned());
            }
            _ => {
                let heading = Heading::default();
                let error = Error::new(
                    Reason::Configuration,
                    anyhow::anyhow!(
                        "unknown argument: expected --help, --version, --dry-run or --check"
                    ),
                );
                return finish(heading, Err(error), start);
            }
        }
    }
    let logging = Logging::of(&environment);
    start_logging(logging);
    set_hook(Box::new(|panic| {
        // the place, not the payload: that could quote what it stumbled over
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        log::error!("defect at {place}");
    }));

    let mut heading = Heading::default();
    let result = catch_unwind(AssertUnwindSafe(|| run(&environment, &mut heading, start)))
        .unwrap_or_else(|_| {
            Err(Error::new(
                Reason::Defect,
                anyhow::anyhow!(
                    "a defect in sm-tls-sync: please report it with the log of this run"
                ),
            ))
        });
    if let Ok(results) = &result {
        print_table(&results.checks, logging);
    }
    finish(heading, result, start)
}

fn run(
    environment: &BTreeMap<String, String>,
    heading: &mut Heading,
    start: Instant,
) -> Result<Results, Error> {
    let config = Config::parse(environment)?;
    let (trigger, event_id) = describe(&config.trigger);
    *heading = Heading {
        trigger: Some(trigger),
        event_id,
        dry_run: config.dry_run,
    };
    log::info!(
        "sm-tls-sync {} started by {trigger}, event {}{}",
        env!("CARGO_PKG_VERSION"),
        heading.event_id.as_deref().unwrap_or("none"),
        if config.dry_run { ", dry run" } else { "" }
    );
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let terminated = Arc::new(AtomicBool::new(false));
    // as PID 1 the process has no default action for SIGTERM: without this it would go on
    if let Err(e) = signal_hook::flag::register(signal_hook::consts::SIGTERM, terminated.clone()) {
        log::warn!("SIGTERM will not stop this run: {e}");
    }
    let stop = Arc::new(Stop::new(start, config.deadline, terminated));
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let now = UnixTime::since_unix_epoch(now);
    if config.check {
        return Ok(Results {
            targets: Vec::new(),
            checks: sm_tls_sync::check(&config, &stop, now),
        });
    }
    Ok(sm_tls_sync::run(&config, &stop, now)?.into())
}

fn finish(heading: Heading, result: Result<Results, Error>, start: Instant) -> ExitCode {
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = Report::new(heading, result, duration_ms);
    print(&report.line());
    ExitCode::from(report.status())
}

/// Prints a line. A closed standard output is no reason to fail: the exit status tells the rest.
fn print(text: &str) -> ExitCode {
    let _closed = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// The checks as a table for people; as log lines, where a program reads them.
fn print_table(checks: &[Check], logging: Logging) {
    for check in checks {
        let level = match check.state {
            CheckState::Red => Level::Error,
            CheckState::Green | CheckState::NotTested => Level::Info,
        };
        if logging.json {
            log::log!(level, "{check}");
        } else {
            let _closed = writeln!(io::stderr(), "{check}");
        }
    }
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
            let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            (text(name), text(value))
        })
        .collect()
}

fn start_logging(logging: Logging) {
    let started = if logging.json {
        log::set_max_level(logging.level);
        log::set_logger(&JsonLines)
    } else {
        simple_logger::SimpleLogger::new()
            .with_level(LevelFilter::Off)
            .with_module_level("sm_tls_sync", logging.level)
            .with_utc_timestamps()
            .init()
    };
    // nothing else in this process sets a logger
    drop(started);
}

/// Log lines as Code Engine reads them: JSON with `level` and `message`, no time (it adds its own).
/// Other text would get its level from any word like "error" in it.
struct JsonLines;

impl Log for JsonLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sm_tls_sync")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        let message = record.args().to_string();
        let line = serde_json::json!({ "level": level, "message": message });
        let _closed = writeln!(io::stderr(), "{line}");
    }

    fn flush(&self) {}
}
