//! The two forms of the log, on standard error; on a terminal a line of progress below it.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record, set_boxed_logger, set_max_level};
use simple_logger::SimpleLogger;

/// The log lines that are ours; those of libraries are not shown.
const OURS: &str = "sm_tls_sync";

/// Whether a line of progress is on the terminal; `None`: none is drawn any more.
static SHOWN: Mutex<Option<bool>> = Mutex::new(Some(false));

/// Takes the line of progress from the terminal. None is drawn while the guard lives.
fn cleared() -> MutexGuard<'static, Option<bool>> {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if *shown == Some(true) {
        let _closed = write!(io::stderr(), "\r\x1b[K");
        *shown = Some(false);
    }
    shown
}

/// Draws the line of progress anew; without one it is taken away for good.
pub(crate) fn draw(line: Option<&str>) {
    let mut shown = cleared();
    *shown = shown.and(line.map(|line| write!(io::stderr(), "{line}").is_ok()));
}

pub(crate) fn start(level: LevelFilter, json: bool) {
    set_max_level(level);
    let text = || SimpleLogger::new().with_level(level).with_utc_timestamps();
    let started = set_boxed_logger(Box::new(Lines((!json).then(text))));
    // nothing else in this process sets a logger
    drop(started);
}

/// Log lines for people, or else as Code Engine reads them: JSON with `level` and `message`, no time (it
/// adds its own). Other text would get its level from any word like "error" in it.
struct Lines(Option<SimpleLogger>);

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OURS)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let _line = cleared();
        if let Some(text) = &self.0 {
            // the library panics if standard error is closed: then there is nobody to tell
            let _closed = catch_unwind(AssertUnwindSafe(|| text.log(record)));
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        let message = serde_json::Value::from(record.args().to_string());
        let mut line = format!(r#"{{"level":"{level}","message":{message}"#);
        // only into a string: it cannot fail
        let _always = record.key_values().visit(&mut Fields(&mut line));
        line.push('}');
        let _closed = writeln!(io::stderr(), "{line}");
    }

    fn flush(&self) {}
}

/// Further fields of a line; their values are JSON already.
struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push_str(&format!(r#","{key}":{value}"#));
        Ok(())
    }
}
