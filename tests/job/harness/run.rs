//! What a run printed, and what must hold of it: one report line that has only known fields, and no
//! secret in any output.

use std::process::Output;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::leaks;

/// Container runtimes split what is longer.
const LONGEST_LINE: usize = 15 * 1024;

/// The report line. Unknown fields are refused: the format cannot change unseen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) level: String,
    pub(crate) message: String,
    pub(crate) version: String,
    pub(crate) status: i32,
    pub(crate) retryable: bool,
    pub(crate) trigger: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) duration_ms: u64,
    pub(crate) targets: Vec<Target>,
    #[serde(default)]
    pub(crate) checks: Vec<Check>,
    pub(crate) discovered: Option<Vec<Discovered>>,
    pub(crate) proposed_targets: Option<Vec<Value>>,
    pub(crate) unused_certificates: Option<Vec<CertificateRef>>,
    pub(crate) error: Option<Finding>,
    #[serde(default)]
    pub(crate) targets_omitted: usize,
    #[serde(default, rename = "checks_omitted")]
    _checks_omitted: usize,
    #[serde(default)]
    pub(crate) discovered_omitted: usize,
    #[serde(default)]
    pub(crate) proposed_targets_omitted: usize,
    #[serde(default)]
    pub(crate) unused_certificates_omitted: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) secret_id: Option<String>,
    pub(crate) secret_name: Option<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) tls_secret: Option<String>,
    pub(crate) action: String,
    pub(crate) reason: Option<String>,
    pub(crate) message: String,
    pub(crate) command: Option<String>,
    pub(crate) from: Option<Leaf>,
    pub(crate) to: Option<Leaf>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) attempts: Option<u32>,
    pub(crate) served: Vec<Served>,
    pub(crate) restarted: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Served {
    pub(crate) domain: String,
    pub(crate) state: String,
    pub(crate) after_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the table is compared by its messages")]
pub(crate) struct Check {
    pub(crate) check: String,
    pub(crate) subject: Option<String>,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) message: String,
    pub(crate) command: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discovered {
    pub(crate) project_id: String,
    pub(crate) tls_secret: String,
    pub(crate) not_after: Option<String>,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    pub(crate) domains: Option<Vec<String>>,
    #[serde(rename = "match")]
    pub(crate) matches: Option<String>,
    #[serde(default)]
    pub(crate) candidates: Vec<CertificateRef>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateRef {
    pub(crate) secret_id: String,
    pub(crate) secret_name: Option<String>,
    pub(crate) secret_type: String,
    pub(crate) not_after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leaf {
    pub(crate) serial: String,
    pub(crate) not_after: String,
    pub(crate) sha256: String,
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) command: Option<String>,
}

impl Report {
    /// Only a long report leaves something out; a command is one line.
    fn read(line: &str) -> serde_json::Result<Self> {
        let fields: Map<String, Value> = serde_json::from_str(line)?;
        let is_long = line.len() > 8 * 1024;
        let read = |(name, value): (String, Value)| {
            assert!(is_long || !name.ends_with("_omitted"), "{line}");
            (name, without_counts(value, is_long))
        };
        let fields: Value = fields.into_iter().map(read).collect();
        serde_json::from_value(fields)
    }
}

/// What is below a field of the report, without the counts of what is left out there.
fn without_counts(value: Value, is_long: bool) -> Value {
    let all = |(name, value)| (name, without_counts(value, is_long));
    match value {
        Value::Object(mut fields) => {
            let command = fields.get("command").map_or_else(String::new, Value::to_string);
            assert!(!command.contains(r"\n") && !command.contains(r"\r"), "{command}");
            let count = fields.len();
            fields.retain(|name, _| !name.ends_with("_omitted"));
            assert!(is_long || fields.len() == count, "{fields:?}");
            fields.into_iter().map(all).collect()
        }
        Value::Array(items) => {
            let items = items.into_iter();
            items.map(|item| without_counts(item, is_long)).collect()
        }
        value => value,
    }
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) report: Report,
    pub(crate) log: String,
}

impl Run {
    /// Checks what holds for every run, whatever it was.
    pub(crate) fn checked(
        status: Option<i32>,
        stdout: &str,
        stderr: &str,
        secrets: &[String],
    ) -> Self {
        let shown = format!("status {status:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        if let Some(leak) = leaks::find(&format!("{stdout}\n{stderr}"), secrets) {
            panic!("a secret in the output, {leak}:\n{shown}");
        }
        let status = status.unwrap_or_else(|| panic!("ended by a signal: {shown}"));
        let lines: Vec<&str> = stdout.lines().collect();
        let [line] = lines.as_slice() else {
            panic!("standard output is not exactly one line: {shown}")
        };
        assert!(line.starts_with(r#"{"level":""#), "{shown}");
        assert!(line.len() <= LONGEST_LINE, "{} bytes: {shown}", line.len());
        for line in stderr.lines().filter(|line| line.starts_with('{')) {
            assert!(line.len() <= LONGEST_LINE, "{} bytes: {line}", line.len());
        }
        let report = Report::read(line).unwrap_or_else(|e| panic!("the report: {e}: {shown}"));
        assert_eq!(report.status, status, "{shown}");
        assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
        let findings = report.targets.iter().any(|t| !t.findings.is_empty());
        let level = match (status, findings) {
            (0, false) => "info",
            (0, true) => "warn",
            _ => "error",
        };
        assert_eq!(report.level, level, "{shown}");
        Self { status, report, log: stderr.to_owned() }
    }

    /// The only target.
    #[track_caller]
    pub(crate) fn target(&self) -> &Target {
        let [target] = self.report.targets.as_slice() else {
            panic!("not exactly one target: {self:#?}")
        };
        target
    }

    /// Status and action of a run with one target.
    #[track_caller]
    pub(crate) fn expect(&self, status: i32, action: &str) -> &Target {
        let target = self.target();
        let is = (self.status, &*target.action);
        assert_eq!(is, (status, action), "{self:#?}");
        target
    }

    /// Status and reason of a run that failed for its one target.
    #[track_caller]
    pub(crate) fn refused(&self, status: i32, reason: &str) -> &Target {
        let target = self.target();
        let is = (self.status, target.reason.as_deref());
        assert_eq!(is, (status, Some(reason)), "{self:#?}");
        target
    }

    /// Status and message of a run.
    #[track_caller]
    pub(crate) fn says(&self, status: i32, message: &str) {
        let is = (self.status, &*self.report.message);
        assert_eq!(is, (status, message), "{self:#?}");
    }

    /// What became of each target.
    pub(crate) fn actions(&self) -> Vec<&str> {
        let targets = self.report.targets.iter();
        targets.map(|target| &*target.action).collect()
    }

    /// Status and code of a run that failed before any target was looked at.
    #[track_caller]
    pub(crate) fn rejected(&self, status: i32, code: &str) -> &Finding {
        let error = self.report.error.as_ref();
        let is = (self.status, error.map(|e| e.code.as_str()));
        assert_eq!(is, (status, Some(code)), "{self:#?}");
        error.unwrap()
    }
}

/// Checks what holds for every run.
pub(crate) fn ended(output: Output, secrets: &[String]) -> Run {
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Run::checked(output.status.code(), &stdout, &stderr, secrets)
}
