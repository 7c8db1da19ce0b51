//! What happened: the outcomes, the exit status, and how both are printed.
//!
//! Belongs here: the words and fields of the report (`json.rs`, `text.rs`: its two forms). Does not:
//! deciding what happened.
//!
//! The report goes to standard output and is an interface: alerts and scripts read it. Texts from
//! events and services are made fit for a message where they enter it ([`crate::text`]).

pub(crate) mod discovery;
mod json;
pub(crate) mod text;

use rustls_pki_types::UnixTime;
use serde::{Serialize, Serializer};

use crate::cert::certificate::{Certificate, rfc3339};
use crate::cert::names::ServerName;
use crate::error::{Error, ExitStatus, Reason};
pub use crate::report::discovery::{CertificateRef, Discovered, Discovery, Match, ProposedTarget};
use crate::report::json::{log_check, log_discovered, log_outcome};

/// More names than this are only counted.
const SHOWN_NAMES: usize = 20;

/// A form of output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For programs.
    Json,
    /// For people.
    Text,
}

/// What was done about one target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The TLS secret was replaced.
    Replaced,
    /// It holds the certificate already.
    Unchanged,
    /// It would be replaced, but this is a dry run or the target is on hold.
    WouldReplace,
    /// The new certificate is not good enough.
    Refused,
    /// Something failed.
    Failed,
    /// It does not concern this job.
    Ignored,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
            Self::WouldReplace => "would be replaced",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }
}

/// The facts of a leaf certificate that people compare.
#[derive(Clone, Debug, Serialize)]
pub struct Leaf {
    serial: String,
    #[serde(serialize_with = "as_rfc3339")]
    not_after: UnixTime,
    sha256: String,
    names: Vec<String>,
}

impl From<&Certificate> for Leaf {
    fn from(leaf: &Certificate) -> Self {
        Self {
            serial: leaf.serial.clone(),
            not_after: leaf.not_after,
            sha256: leaf.sha256(),
            names: shown_names(&leaf.names),
        }
    }
}

/// The names as text, the first of many only.
pub(crate) fn shown_names(names: &[ServerName]) -> Vec<String> {
    let mut shown: Vec<String> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(ToString::to_string)
        .collect();
    if let Some(more @ 1..) = names.len().checked_sub(SHOWN_NAMES) {
        shown.push(format!("... and {more} more"));
    }
    shown
}

fn as_rfc3339<S: Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// What a TLS client sees at one domain.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// The domain mapping.
    pub domain: String,
    /// Which certificate it serves.
    pub state: State,
    /// Milliseconds from the write to the deciding handshake; absent if nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}

/// Which certificate a TLS client sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// That of the TLS secret.
    New,
    /// The previous one.
    Old,
    /// Another one.
    Other,
    /// There was no handshake.
    Unreachable,
}

/// What happened to one target, or to one entry of the event that no target uses.
#[derive(Clone, Debug, Serialize)]
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
    #[serde(skip_serializing_if = "String::is_empty")]
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
    /// What is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Error>,
    /// What the domains that use the TLS secret serve.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<Served>,
    /// The apps that were restarted for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarted: Vec<String>,
    /// How often the target was read and decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
}

impl Outcome {
    /// An outcome that only says what was done.
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
            attempts: None,
        }
    }

    /// Something that does not concern this job, and why.
    #[must_use]
    pub fn ignored(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(Action::Ignored, message)
        }
    }

    /// Adds a finding.
    pub fn find(&mut self, code: Reason, message: impl Into<String>) {
        self.findings.push(Error::new(code, message));
    }

    /// The TLS secret is in line, but not in effect. The action stays what it is; the first reason
    /// counts.
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
        let reason = self.reason?;
        match self.action {
            Action::Ignored => None,
            // what failed after the write is that it is served, not the write
            Action::Replaced | Action::Unchanged => Some(ExitStatus::NotServed),
            _ => reason.exit_status(),
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
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was tried.
    pub check: &'static str,
    /// On what: an id or a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The result.
    pub state: CheckState,
    /// Why it is red.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence for people.
    pub message: String,
    /// The complete command that fixes it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Green,
    /// Not as it should be.
    Red,
    /// Something that it depends on is red or not set.
    NotTested,
}

impl Check {
    /// As it should be.
    pub fn green(check: &'static str, subject: &(impl ToString + ?Sized), message: String) -> Self {
        Self::new(check, subject, CheckState::Green, message)
    }

    /// Not tested, and why.
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

/// What a run found out.
#[derive(Debug, Default)]
pub struct Results {
    /// Target by target.
    pub targets: Vec<Outcome>,
    /// Permission by permission, with `--check`.
    pub checks: Vec<Check>,
    /// With `--discover`.
    pub discovery: Option<Discovery>,
    /// Why there is no more than this.
    pub failure: Option<Error>,
}

impl From<Vec<Outcome>> for Results {
    fn from(targets: Vec<Outcome>) -> Self {
        Self {
            targets,
            ..Self::default()
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
#[derive(Debug)]
pub struct Report {
    level: &'static str,
    message: String,
    status: u8,
    retryable: bool,
    heading: Heading,
    duration_ms: u64,
    results: Results,
    error: Option<Error>,
}

impl Report {
    /// Sums up a run: its results, or the failure that kept it from having (all of) them.
    #[must_use]
    pub fn new(heading: Heading, result: Result<Results, Error>, duration_ms: u64) -> Self {
        let (results, error) = match result {
            Ok(mut results) => {
                let failure = results.failure.take();
                (results, failure)
            }
            Err(error) => (Results::default(), Some(error)),
        };
        let status = match &error {
            Some(error) => Some(error.exit_status()),
            None => results.exit_status(),
        };
        let level = match status {
            Some(_) => "error",
            None if results.targets.iter().any(|t| !t.findings.is_empty()) => "warn",
            None => "info",
        };
        Self {
            level,
            message: match &error {
                Some(error) => error.to_string(),
                None => results.message(),
            },
            status: status.map_or(0, ExitStatus::status),
            retryable: match &error {
                Some(error) => error.reason.retryable(),
                None => results.retryable(),
            },
            heading,
            duration_ms,
            results,
            error,
        }
    }

    /// The status to exit with: that of the failure before any result, else that of the first failed
    /// target in their order.
    #[must_use]
    pub const fn status(&self) -> u8 {
        self.status
    }

    /// Logs each target, check and TLS secret; `logged` is called after each.
    pub fn log(&self, logged: impl Fn()) {
        let after = |()| logged();
        let Results {
            targets,
            checks,
            discovery,
            ..
        } = &self.results;
        targets.iter().map(log_outcome).for_each(after);
        checks.iter().map(log_check).for_each(after);
        let discovered = discovery.iter().flat_map(|found| &found.discovered);
        discovered.map(log_discovered).for_each(after);
    }

    /// What goes to standard output, without the last line end.
    #[must_use]
    pub fn print(&self, format: Format, colors: bool, now: UnixTime) -> String {
        match format {
            Format::Json => json::line(self),
            Format::Text => text::text(self, colors, now),
        }
    }
}

impl Results {
    fn exit_status(&self) -> Option<ExitStatus> {
        let failed = self
            .targets
            .iter()
            .filter_map(|target| target.exit_status())
            .next();
        failed.or_else(|| self.red().find_map(|check| check.reason?.exit_status()))
    }

    fn retryable(&self) -> bool {
        let failed = self
            .targets
            .iter()
            .filter(|target| target.exit_status().is_some());
        failed
            .filter_map(|target| target.reason)
            .any(Reason::retryable)
    }

    fn red(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.state == CheckState::Red)
    }

    fn message(&self) -> String {
        match self.targets.as_slice() {
            [only] => only.message.clone(),
            _ => self.summary(),
        }
    }

    /// Counts: `2 replaced, 1 failed`.
    fn summary(&self) -> String {
        if let Some(discovery) = &self.discovery {
            return discovery.summary();
        }
        if !self.checks.is_empty() {
            let names: Vec<&str> = self.red().map(|check| check.check).collect();
            return match names.as_slice() {
                [] => "all checks passed".to_owned(),
                [only] => format!("1 check failed: {only}"),
                names => format!("{} checks failed: {}", names.len(), names.join(", ")),
            };
        }
        let counts: Vec<String> = [
            Action::Replaced,
            Action::WouldReplace,
            Action::Unchanged,
            Action::Refused,
            Action::Failed,
            Action::Ignored,
        ]
        .into_iter()
        .filter_map(|action| {
            let count = self.targets.iter().filter(|t| t.action == action).count();
            (count > 0).then(|| format!("{count} {}", action.word()))
        })
        .collect();
        match counts.as_slice() {
            [] => "no targets assigned to this array index".to_owned(),
            counts => counts.join(", "),
        }
    }
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
    }

    #[test]
    fn a_failure_before_any_outcome_sets_the_status() {
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
