//! What happened -> the report line and the exit status.
//!
//! Belongs here: the words and fields of the report, and the rules for what may be printed. Does
//! not: deciding what happened.
//!
//! The report is an interface: alerts and scripts read it. One line of JSON on standard output,
//! `level` and `message` first; what does not apply is absent. Text from events and services is
//! escaped and cut ([`crate::text`]) where it enters a message.

use std::fmt;

use serde::Serialize;

use crate::cert::certificate::{Certificate, rfc3339};
use crate::error::{Error, ExitStatus, Finding, Reason};

/// More names than this are cut, with their count.
const SHOWN_NAMES: usize = 20;

/// What was done about one target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The TLS secret was replaced.
    Replaced,
    /// It was in line already.
    Unchanged,
    /// It would be replaced, were this no dry run.
    WouldReplace,
    /// The new certificate is not good enough.
    Refused,
    /// It could not be done.
    Failed,
    /// It does not concern us.
    Ignored,
}

/// The facts of a leaf certificate that people compare.
#[derive(Clone, Debug, Serialize)]
pub struct Leaf {
    serial: String,
    not_after: String,
    sha256: String,
    names: Vec<String>,
}

impl From<&Certificate> for Leaf {
    fn from(leaf: &Certificate) -> Self {
        let mut names: Vec<String> = leaf
            .names
            .iter()
            .take(SHOWN_NAMES)
            .map(ToString::to_string)
            .collect();
        if let Some(more @ 1..) = leaf.names.len().checked_sub(SHOWN_NAMES) {
            names.push(format!("... and {more} more"));
        }
        Self {
            serial: leaf.serial.clone(),
            not_after: rfc3339(leaf.not_after),
            sha256: leaf.sha256(),
            names,
        }
    }
}

/// What a TLS client sees at one domain.
#[derive(Debug, Serialize)]
pub struct Served {
    /// The domain mapping.
    pub domain: String,
    /// Which certificate it serves.
    pub state: State,
    /// Milliseconds from the write to the handshake that tells; absent, if nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}

/// Which certificate a TLS client sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// That of the TLS secret.
    New,
    /// The one before.
    Old,
    /// Another one.
    Other,
    /// None: there was no handshake.
    Unreachable,
}

/// What happened to one target, or to one entry of the event that has no target.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The secret in Secrets Manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// Its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The project of the TLS secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// The TLS secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_secret: Option<String>,
    /// What was done.
    pub action: Action,
    /// Why not more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence for people.
    pub message: String,
    /// The complete command that fixes it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The leaf that was deployed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Leaf>,
    /// The leaf that Secrets Manager holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Leaf>,
    /// What is worth a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What a TLS client sees at the domains that use the TLS secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<Served>,
    /// The apps that were restarted to take it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarted: Vec<String>,
    /// Seconds from the creation of the version in Secrets Manager to the first handshake with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_to_served_s: Option<u64>,
    /// How often the target was looked at and decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
}

impl Outcome {
    /// An outcome that says only what was done.
    #[must_use]
    pub fn new(action: Action, message: impl Into<String>) -> Self {
        Self {
            secret_id: None,
            secret_name: None,
            project_id: None,
            tls_secret: None,
            action,
            reason: None,
            message: message.into(),
            command: None,
            from: None,
            to: None,
            findings: Vec::new(),
            served: Vec::new(),
            restarted: Vec::new(),
            rotation_to_served_s: None,
            attempts: None,
        }
    }

    /// Something that does not concern us, and why.
    #[must_use]
    pub fn ignored(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(Action::Ignored, message)
        }
    }

    /// Adds what is worth a look.
    pub fn find(&mut self, code: Reason, message: impl Into<String>) {
        self.findings.push(Finding::new(code, message));
    }

    /// The TLS secret is in line, but not in effect. What was done stays what it is; the first
    /// reason counts.
    pub fn not_in_effect(&mut self, reason: Reason, message: &str) {
        self.message.push_str("; ");
        self.message.push_str(message);
        if self.reason.is_none() {
            self.reason = Some(reason);
        }
    }

    /// The exit status that this outcome asks for; `None` if all is well.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match self.action {
            Action::Ignored => None,
            _ => self.reason?.exit_status(),
        }
    }

    /// Turns the outcome into that of a failure.
    #[must_use]
    pub fn failed(self, error: &Error) -> Self {
        Self {
            action: match error.exit_status() {
                ExitStatus::Certificate | ExitStatus::Refused | ExitStatus::Event => {
                    Action::Refused
                }
                _ => Action::Failed,
            },
            reason: Some(error.reason),
            message: error.to_string(),
            command: error.command.clone(),
            ..self
        }
    }
}

/// One line of `--check`.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What was tried.
    pub check: &'static str,
    /// On what: an id or a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// How it went.
    pub state: CheckState,
    /// Why it is red.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence for people.
    pub message: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Green,
    /// Not as it should be.
    Red,
    /// Something that it depends on is red, or was not given.
    NotTested,
}

impl Check {
    /// As it should be.
    pub fn green(check: &'static str, subject: &(impl ToString + ?Sized), message: String) -> Self {
        Self::new(check, subject, CheckState::Green, message)
    }

    /// Nobody knows, and why.
    pub fn not_tested(check: &'static str, subject: &(impl ToString + ?Sized), why: &str) -> Self {
        Self::new(
            check,
            subject,
            CheckState::NotTested,
            format!("not tested: {why}"),
        )
    }

    /// Not as it should be.
    pub fn red(check: &'static str, subject: &(impl ToString + ?Sized), error: &Error) -> Self {
        Self {
            reason: Some(error.reason),
            command: error.command.clone(),
            ..Self::new(check, subject, CheckState::Red, error.to_string())
        }
    }

    fn new(
        check: &'static str,
        subject: &(impl ToString + ?Sized),
        state: CheckState,
        message: String,
    ) -> Self {
        Self {
            check,
            subject: subject.to_string(),
            state,
            reason: None,
            message,
            command: None,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            CheckState::Green => "green",
            CheckState::Red => "RED",
            CheckState::NotTested => "-",
        };
        let Self {
            check,
            subject,
            message,
            ..
        } = self;
        write!(f, "{state:5}  {check:15}  {subject:36}  {message}")
    }
}

/// What a run found out.
#[derive(Debug, Default)]
pub struct Results {
    /// Target by target.
    pub targets: Vec<Outcome>,
    /// Right by right, with `--check`.
    pub checks: Vec<Check>,
}

impl From<Vec<Outcome>> for Results {
    fn from(targets: Vec<Outcome>) -> Self {
        Self {
            targets,
            checks: Vec::new(),
        }
    }
}

/// What is known of the run before its outcomes.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// The word for what started the run.
    pub trigger: Option<&'static str>,
    /// The id of the event.
    pub event_id: Option<String>,
    /// Whether nothing is written.
    pub dry_run: bool,
}

/// The report of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    level: &'static str,
    message: String,
    version: &'static str,
    status: u8,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    dry_run: bool,
    duration_ms: u64,
    targets: Vec<Outcome>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Finding>,
}

impl Report {
    /// Sums up a run: what it found out, or the failure that came before.
    #[must_use]
    pub fn new(heading: Heading, result: Result<Results, Error>, duration_ms: u64) -> Self {
        let (Results { targets, checks }, error) = match result {
            Ok(results) => (results, None),
            Err(error) => (Results::default(), Some(error)),
        };
        let red: Vec<&Check> = checks
            .iter()
            .filter(|c| c.state == CheckState::Red)
            .collect();
        let failures: Vec<&Outcome> = targets
            .iter()
            .filter(|o| o.exit_status().is_some())
            .collect();
        let status = match &error {
            Some(error) => error.exit_status().status(),
            None => failures
                .iter()
                .map(|failure| failure.exit_status())
                .chain(red.iter().map(|check| check.reason?.exit_status()))
                .next()
                .flatten()
                .map_or(0, ExitStatus::status),
        };
        let retryable = match &error {
            Some(error) => error.reason.retryable(),
            None => failures
                .iter()
                .any(|failure| failure.reason.is_some_and(Reason::retryable)),
        };
        let level = if status != 0 {
            "error"
        } else if targets.iter().any(|target| !target.findings.is_empty()) {
            "warn"
        } else {
            "info"
        };
        let message = match (&error, targets.as_slice()) {
            (Some(error), _) => error.to_string(),
            (None, []) if !checks.is_empty() => {
                let names: Vec<&str> = red.iter().map(|check| check.check).collect();
                match names.as_slice() {
                    [] => "check: nothing is red".to_owned(),
                    names => format!("check: red is {}", names.join(", ")),
                }
            }
            (None, [only]) => only.message.clone(),
            (None, several) => summary(several),
        };
        Self {
            level,
            message,
            version: env!("CARGO_PKG_VERSION"),
            status,
            retryable,
            trigger: heading.trigger,
            event_id: heading.event_id,
            dry_run: heading.dry_run,
            duration_ms,
            targets,
            checks,
            error: error.map(|error| Finding {
                code: error.reason,
                message: error.to_string(),
                command: error.command,
            }),
        }
    }

    /// The status to exit with: that of the failure before any outcome, else that of the first
    /// failed target in their order.
    #[must_use]
    pub const fn status(&self) -> u8 {
        self.status
    }

    /// The line for standard output, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        // strings, numbers and lists always serialize
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Counts the actions: `2 replaced, 1 failed`.
fn summary(outcomes: &[Outcome]) -> String {
    let counts: Vec<String> = [
        (Action::Replaced, "replaced"),
        (Action::WouldReplace, "to be replaced (dry run)"),
        (Action::Unchanged, "unchanged"),
        (Action::Refused, "refused"),
        (Action::Failed, "failed"),
        (Action::Ignored, "ignored"),
    ]
    .into_iter()
    .filter_map(|(action, word)| {
        let count = outcomes.iter().filter(|o| o.action == action).count();
        (count > 0).then(|| format!("{count} {word}"))
    })
    .collect();
    if counts.is_empty() {
        return "nothing to do for this instance of the job run".to_owned();
    }
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error;

    fn failed(reason: Reason) -> Outcome {
        Outcome::new(Action::Failed, "").failed(&error!(reason, "x"))
    }

    #[test]
    fn the_status_is_that_of_the_first_failure_in_target_order() {
        let outcomes = vec![
            Outcome::new(Action::Replaced, "x"),
            failed(Reason::SecretMissing),
            failed(Reason::CodeEngineUnavailable),
        ];
        let report = Report::new(Heading::default(), Ok(outcomes.into()), 7);
        assert_eq!(report.status(), ExitStatus::SecretsManager.status());
        assert!(report.retryable);
        assert_eq!(report.message, "1 replaced, 2 failed");
        assert!(
            report
                .line()
                .starts_with(r#"{"level":"error","message":"1 replaced, 2 failed","version":"#)
        );
    }

    #[test]
    fn a_failure_before_any_outcome_gives_the_status() {
        let error = error!(Reason::EventForeign, "x");
        assert_eq!(Report::new(Heading::default(), Err(error), 0).status(), 3);
    }

    #[test]
    fn a_finding_makes_the_report_a_warning() {
        let mut outcome = Outcome::new(Action::Unchanged, "x");
        outcome.find(Reason::ChainGap, "y");
        let report = Report::new(Heading::default(), Ok(vec![outcome].into()), 0);
        assert_eq!((report.level, report.status()), ("warn", 0));
    }
}
