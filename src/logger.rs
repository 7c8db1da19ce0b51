//! The two forms of the log, on standard error.

use std::io::{self, Write};

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record, set_logger, set_max_level};
use sm_tls_sync::config::{Format, Logging};

/// The log lines that are ours; those of libraries are not shown.
const OURS: &str = "sm_tls_sync";

pub(crate) fn start(logging: Logging) {
    let started = match logging.format {
        Format::Json => {
            set_max_level(logging.level);
            set_logger(&JsonLines)
        }
        Format::Text => simple_logger::SimpleLogger::new()
            .with_level(LevelFilter::Off)
            .with_module_level(OURS, logging.level)
            .with_utc_timestamps()
            .init(),
    };
    // nothing else in this process sets a logger
    drop(started);
}

/// Log lines as Code Engine reads them: JSON with `level` and `message`, no time (it adds its own).
/// Other text would get its level from any word like "error" in it.
struct JsonLines;

impl Log for JsonLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OURS)
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
