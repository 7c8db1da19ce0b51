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
use std::time::{Duration, Instant};

use rustls_pki_types::UnixTime;
use sm_tls_sync::config::{Config, Format, Settings, help};
use sm_tls_sync::error::{Error, ExitStatus, Reason};
use sm_tls_sync::progress::Progress;
use sm_tls_sync::report::{Heading, Report};
use sm_tls_sync::sync::validate::Trigger;
use sm_tls_sync::text::sanitized;

/// The longest time without progress before printing is given up.
const QUIET: Duration = Duration::from_secs(1);
/// Bytes that are printed at once: a page, in which pipes are emptied.
const PIECE: usize = 4096;
/// A report that waits longer for the log is printed beside it.
const LOG_FIRST: Duration = Duration::from_millis(250);

const VERSION: &str = env!("CARGO_PKG_VERSION");

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
    set_hook(Box::new(|panic| {
        // the place, not the payload: that could quote what it found
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        // standard error is closed: one more line would panic again, and that aborts
        if !place.contains("src/io/stdio.rs:") {
            log::error!("bug at {place}");
        }
    }));
    let mut environment = environment();
    let terminal = io::stdout().is_terminal();
    let mut edge = Edge {
        start: Instant::now(),
        now: UnixTime::now(),
        output: if terminal { Format::Text } else { Format::Json },
        colors: terminal,
        log_targets: false,
    };
    let progress = Arc::new(Progress::default());
    let result = match arguments(std::env::args_os().skip(1), &mut environment) {
        Ok(Some(text)) => {
            let _closed = writeln!(io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Ok(None) => catch_unwind(AssertUnwindSafe(|| run(&environment, &mut edge, &progress)))
            .unwrap_or_else(|_| Err(Error::defect())),
        Err(error) => Err(error),
    };
    ExitCode::from(edge.report(&progress, result))
}

/// The whole environment. Bytes that are not UTF-8 become replacement characters, which no parser of ours
/// accepts where it matters.
#[expect(clippy::disallowed_methods, reason = "the one that reads it")]
fn environment() -> BTreeMap<String, String> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    variables.collect()
}

/// Arguments are short for variables. Returns a text that is to be printed instead of a run.
fn arguments(
    mut arguments: impl Iterator<Item = OsString>,
    environment: &mut BTreeMap<String, String>,
) -> Result<Option<String>, Error> {
    while let Some(argument) = arguments.next() {
        let (name, value) = match &*argument.to_string_lossy() {
            "--help" | "-h" => return Ok(Some(help())),
            "--version" | "-V" => return Ok(Some(format!("sm-tls-sync {VERSION}"))),
            "--dry-run" => ("DRY_RUN", "true".into()),
            "--check" => ("CHECK", "true".into()),
            "--discover" => ("DISCOVER", "true".into()),
            "--output" => ("OUTPUT", arguments.next().unwrap_or_else(|| "nothing".into())),
            unknown => {
                // not its value, which may be a secret
                let name = sanitized(unknown.split('=').next().unwrap_or_default());
                let unknown = format!("unknown argument '{name}'");
                let hint = "expected --help, --version, --dry-run, --check, --discover or --output";
                return Err(Reason::Configuration.error(unknown).hint(hint));
            }
        };
        environment.insert(name.to_owned(), value.to_string_lossy().into_owned());
    }
    Ok(None)
}

fn run(
    environment: &BTreeMap<String, String>,
    edge: &mut Edge,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    let (settings, notes) = Settings::read(environment);
    edge.output = settings.output().unwrap_or(edge.output);
    edge.colors &= !settings.no_color;
    // a text report on a terminal shows every target already
    edge.log_targets = settings.in_code_engine || edge.output == Format::Json;
    let deadline = settings.deadline;
    // before the first line of the log: it may block
    watch(*edge, deadline, progress).map_err(|e| {
        let what = format!("cannot watch for SIGTERM and DEADLINE: {e}; nothing was done");
        Reason::Defect.error(what)
    })?;
    logger::start(settings.log_level, settings.in_code_engine);
    if !settings.in_code_engine && io::stderr().is_terminal() {
        show(edge.start, progress);
    }
    let config = Config::new(settings, notes)?;
    let trigger = Trigger::read(&config.settings);
    let (word, id) = (trigger.word, trigger.id.as_deref().unwrap_or("none"));
    let dry_run = config.settings.dry_run.then_some(", dry run");
    let dry_run = dry_run.unwrap_or_default();
    log::info!("sm-tls-sync {VERSION}, trigger {word}, event {id}{dry_run}");
    progress.describe(Heading {
        trigger: Some(trigger.word),
        event_id: trigger.id.clone(),
        dry_run: config.settings.dry_run,
    });
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let end = edge.start + Duration::from_secs(deadline);
    sm_tls_sync::run(&config, trigger, progress, end, edge.now)
}

/// Shows on a terminal how far a run is that takes longer. It may stand still there: only this thread waits.
fn show(start: Instant, progress: &Arc<Progress>) {
    const SHORT: Duration = Duration::from_secs(2);
    let progress = Arc::clone(progress);
    // without a thread of its own nothing is shown
    let _started = thread::Builder::new().spawn(move || {
        loop {
            thread::park_timeout(Duration::from_millis(200));
            if start.elapsed() > SHORT {
                logger::draw(Some(&progress.line()));
            }
        }
    });
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
    fn report(self, progress: &Arc<Progress>, result: Result<Report, Error>) -> u8 {
        static FIRST: Mutex<()> = Mutex::new(());
        std::mem::forget(FIRST.lock());
        let duration_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let report = Arc::new(Report::new(progress.heading(), result, duration_ms));
        let status = report.status;
        let text = report.print(self.output, self.colors, self.now);
        let lines = printed(move |moved| {
            logger::draw(None);
            if self.log_targets {
                report.log(moved);
            }
        });
        let mut moved = Instant::now();
        let mut end = None;
        // until all is printed, nothing moved for so long, or the time is over
        let mut wait = |pieces: &Receiver<()>, quiet: Duration| {
            loop {
                match pieces.recv_timeout(Duration::from_millis(50)) {
                    Ok(()) => moved = Instant::now(),
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if progress.is_over() {
                    end.get_or_insert_with(|| Instant::now() + QUIET);
                }
                if moved.elapsed() >= quiet || end.is_some_and(|end| end <= Instant::now()) {
                    return;
                }
            }
        };
        wait(&lines, LOG_FIRST);
        let text = printed(move |moved| {
            let mut out = io::stdout().lock();
            for piece in text.as_bytes().chunks(PIECE).chain([b"\n".as_slice()]) {
                // a closed standard output is not a failure: the exit status is still there
                let _closed = out.write_all(piece).and_then(|()| out.flush());
                moved();
            }
        });
        wait(&text, QUIET);
        wait(&lines, QUIET);
        status
    }
}

/// Prints in a thread of its own, since a pipe that nobody reads blocks for ever. The receiver hears
/// of each piece, and of the end.
fn printed(print: impl Fn(&dyn Fn()) + Send + Sync + 'static) -> Receiver<()> {
    let (piece, pieces) = mpsc::channel();
    let print = Arc::new(move || print(&|| _ = piece.send(())));
    let here = Arc::clone(&print);
    if thread::Builder::new().spawn(move || print()).is_err() {
        here();
    }
    pieces
}
