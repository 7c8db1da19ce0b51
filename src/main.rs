//! The process edge: arguments, environment, clock, the watchdog, printing, exit status.

mod logger;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls_pki_types::UnixTime;
use sm_tls_sync::config::{Config, Format, Given, help};
use sm_tls_sync::error::{Error, ExitStatus, Reason};
use sm_tls_sync::progress::Progress;
use sm_tls_sync::report::{Heading, Report, Results};
use sm_tls_sync::sync::validate::Trigger;
use sm_tls_sync::text::sanitized;

/// The longest time without progress before printing is given up.
const QUIET: Duration = Duration::from_secs(1);
/// Bytes that are printed at once: a page, in which pipes are emptied.
const PIECE: usize = 4096;
/// A report that waits longer for the log is printed beside it.
const LOG_FIRST: Duration = Duration::from_millis(250);

/// How this process ends.
#[derive(Clone, Copy)]
struct Edge {
    start: Instant,
    now: UnixTime,
    output: Format,
    colors: bool,
    log_targets: bool,
}

fn main() -> ExitCode {
    let terminal = io::stdout().is_terminal();
    let mut edge = Edge {
        start: Instant::now(),
        now: now(),
        output: match terminal {
            true => Format::Text,
            false => Format::Json,
        },
        colors: terminal,
        log_targets: false,
    };
    set_hook(Box::new(|panic| {
        // the place, not the payload: that could quote what it found
        let place = panic.location();
        // standard error is closed: one more line would panic again, and that aborts
        if !place.is_some_and(|place| place.file().ends_with("src/io/stdio.rs")) {
            let place = place.map(ToString::to_string);
            log::error!("bug at {}", place.unwrap_or_default());
        }
    }));
    let progress = Arc::new(Progress::default());
    let result = match arguments(std::env::args_os().skip(1), environment()) {
        Ok(Task::Print(text)) => return print(&text),
        Ok(Task::Run(environment)) => {
            catch_unwind(AssertUnwindSafe(|| run(&environment, &mut edge, &progress)))
                .unwrap_or_else(|_| Err(Error::defect()))
        }
        Err(error) => Err(error),
    };
    ExitCode::from(edge.report(&progress, result))
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

fn run(
    environment: &BTreeMap<String, String>,
    edge: &mut Edge,
    progress: &Arc<Progress>,
) -> Result<Results, Error> {
    let given = Given::read(environment);
    let logging = given.logging();
    edge.output = given.output().unwrap_or(edge.output);
    edge.colors &= given.colors();
    // a text report on a terminal shows every target already
    edge.log_targets = (edge.output, logging.format) != (Format::Text, Format::Text);
    let deadline = given.deadline();
    // before the first line of the log: it may block
    watch(*edge, deadline, progress).map_err(|e| {
        Error::new(
            Reason::Defect,
            format!("cannot watch for SIGTERM and DEADLINE: {e}; nothing was done"),
        )
    })?;
    logger::start(logging);
    let config = Config::new(given)?;
    let trigger = Trigger::read(&config.event);
    log::info!(
        "sm-tls-sync {}, trigger {}, event {}{}",
        env!("CARGO_PKG_VERSION"),
        trigger.word,
        trigger.id.as_deref().unwrap_or("none"),
        if config.dry_run { ", dry run" } else { "" }
    );
    progress.describe(Heading {
        trigger: Some(trigger.word),
        event_id: trigger.id.clone(),
        dry_run: config.dry_run,
    });
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let end = edge.start + Duration::from_secs(deadline);
    sm_tls_sync::run(&config, trigger, progress, end, edge.now)
}

/// Starts the watchdog: when SIGTERM arrives or the time is over, wherever the run is, it reports
/// what is known and ends the process.
fn watch(edge: Edge, deadline: u64, progress: &Arc<Progress>) -> io::Result<()> {
    let (signals, signalled) = UnixStream::pair()?;
    // as PID 1 the process has no default action for SIGTERM: without this it would go on
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, signalled)?;
    let progress = Arc::clone(progress);
    thread::Builder::new().spawn(move || {
        let status = catch_unwind(AssertUnwindSafe(|| {
            let (why, next) = time_over(&signals, edge.start, deadline);
            edge.report(&progress, progress.stop(&why, next))
        }));
        let status = status.unwrap_or(ExitStatus::Defect.status());
        #[expect(clippy::exit, reason = "the other threads may be blocked for ever")]
        std::process::exit(status.into())
    })?;
    Ok(())
}

/// Waits for SIGTERM, at most until the deadline; says which of them came, and what comes next.
fn time_over(mut signals: &UnixStream, start: Instant, deadline: u64) -> (String, &'static str) {
    const NEXT: &str = "the next run continues";
    const RAISE: &str = "the next run continues; if this happens again, raise DEADLINE and the job's maximum execution time";
    loop {
        let left = Duration::from_secs(deadline).saturating_sub(start.elapsed());
        if left.is_zero() {
            return (format!("DEADLINE ({deadline} s) exceeded"), RAISE);
        }
        // the kernel counts in microseconds, and takes zero for no limit
        let limited = signals.set_read_timeout(Some(left.max(Duration::from_millis(1))));
        match limited.and_then(|()| signals.read(&mut [0])) {
            Ok(_) => return ("interrupted by SIGTERM".to_owned(), NEXT),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return (format!("SIGTERM could not be awaited: {e}"), NEXT),
        }
    }
}

impl Edge {
    /// Prints what became of the run, and returns the exit status. Who comes second never returns: the
    /// first one ends the process.
    fn report(self, progress: &Arc<Progress>, result: Result<Results, Error>) -> u8 {
        static FIRST: Mutex<()> = Mutex::new(());
        std::mem::forget(FIRST.lock());
        let duration_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let report = Arc::new(Report::new(progress.heading(), result, duration_ms));
        let status = report.status();
        let text = report.print(self.output, self.colors, self.now);
        let mut patience = Patience {
            progress,
            moved: Instant::now(),
            end: None,
        };
        let lines = printed(move |moved| {
            if self.log_targets {
                report.log(moved);
            }
        });
        patience.wait(&lines, LOG_FIRST);
        let text = printed(move |moved| {
            let mut out = io::stdout().lock();
            for piece in text.as_bytes().chunks(PIECE).chain([b"\n".as_slice()]) {
                // a closed standard output is not a failure: the exit status is still there
                let _closed = out.write_all(piece).and_then(|()| out.flush());
                moved();
            }
        });
        patience.wait(&text, QUIET);
        patience.wait(&lines, QUIET);
        status
    }
}

/// Prints in a thread of its own, since a pipe that nobody reads blocks for ever. The receiver hears
/// of each piece, and of the end.
fn printed(print: impl Fn(&dyn Fn()) + Send + Sync + 'static) -> Receiver<()> {
    let (piece, pieces) = mpsc::channel();
    let print = Arc::new(move || {
        print(&|| {
            let _given_up = piece.send(());
        })
    });
    let thread = {
        let print = Arc::clone(&print);
        thread::Builder::new().spawn(move || print())
    };
    if thread.is_err() {
        print();
    }
    pieces
}

/// How long printing may take.
struct Patience<'a> {
    progress: &'a Progress,
    moved: Instant,
    /// Known once the time of the run is over.
    end: Option<Instant>,
}

impl Patience<'_> {
    /// Until all is printed, nothing moved for `quiet`, or the time is over.
    fn wait(&mut self, pieces: &Receiver<()>, quiet: Duration) {
        loop {
            match pieces.recv_timeout(Duration::from_millis(50)) {
                Ok(()) => self.moved = Instant::now(),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.progress.is_over() {
                self.end.get_or_insert_with(|| Instant::now() + QUIET);
            }
            let over = self.end.is_some_and(|end| end <= Instant::now());
            if over || self.moved.elapsed() >= quiet {
                return;
            }
        }
    }
}

/// Prints a line, for `--help` and `--version`.
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
