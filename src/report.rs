//! What happened: the outcomes, the exit status, and how both are printed. The report goes to
//! standard output and is an interface: alerts and scripts read it.

mod json;
pub(crate) mod text;

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::UnixTime;
use serde::{Serialize, Serializer};

use crate::cert::certificate::{Certificate, rfc3339};
use crate::cert::names::ServerName;
use crate::error::{Error, ExitStatus, Reason};

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

/// What was done about one target, in the order of a summary.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The TLS secret was replaced.
    Replaced,
    /// It would be replaced, but this is a dry run or the target is on hold.
    WouldReplace,
    /// It holds the certificate already.
    Unchanged,
    /// The new certificate is not good enough.
    Refused,
    /// Something failed.
    #[default]
    Failed,
    /// It does not concern this job.
    Ignored,
}

/// A time, in RFC 3339.
#[derive(Clone, Copy, Debug)]
pub struct Date(pub UnixTime);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

/// The facts of a leaf certificate that people compare.
#[derive(Clone, Debug, Serialize)]
pub struct Leaf {
    serial: String,
    not_after: Date,
    sha256: String,
    names: Vec<String>,
}

impl From<&Certificate> for Leaf {
    fn from(leaf: &Certificate) -> Self {
        Self {
            serial: leaf.serial.clone(),
            not_after: Date(leaf.not_after),
            sha256: leaf.sha256(),
            names: shown_names(&leaf.names),
        }
    }
}

/// The names as text, the first of many only.
pub(crate) fn shown_names(names: &[ServerName]) -> Vec<String> {
    let first = names.iter().take(SHOWN_NAMES);
    let mut shown: Vec<String> = first.map(ToString::to_string).collect();
    if let Some(more @ 1..) = names.len().checked_sub(SHOWN_NAMES) {
        shown.push(format!("... and {more} more"));
    }
    shown
}

/// What a TLS client sees at one domain.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// The domain mapping.
    pub domain: String,
    /// Which certificate it serves.
    pub state: State,
    /// Milliseconds from the write to the deciding handshake; absent if nothing was written.
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
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The secret in Secrets Manager.
    pub secret_id: Option<String>,
    /// Its name there.
    pub secret_name: Option<String>,
    /// The project of the TLS secret.
    pub project_id: Option<String>,
    /// The TLS secret.
    pub tls_secret: Option<String>,
    /// What was done.
    pub action: Action,
    /// Why not more.
    pub reason: Option<Reason>,
    /// One sentence for people.
    pub message: String,
    /// The complete command that fixes it, if there is one.
    pub command: Option<String>,
    /// The leaf that was deployed before.
    pub from: Option<Leaf>,
    /// The leaf that Secrets Manager holds.
    pub to: Option<Leaf>,
    /// What is worth knowing.
    pub findings: Vec<Error>,
    /// What the domains that use the TLS secret serve.
    pub served: Vec<Served>,
    /// The apps that were restarted for it.
    pub restarted: Vec<String>,
    /// How often the target was read and decided.
    pub attempts: Option<u32>,
}

impl Outcome {
    /// An outcome that only says what was done.
    #[must_use]
    pub fn new(action: Action, message: impl Into<String>) -> Self {
        Self {
            action,
            message: message.into(),
            ..Self::default()
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

    /// The TLS secret is up to date, but the certificate is not served yet. The action stays what it
    /// is; the first reason counts.
    pub fn not_in_effect(&mut self, reason: Reason, message: &str) {
        self.message.push_str("; ");
        self.message.push_str(message);
        self.reason.get_or_insert(reason);
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
    pub subject: String,
    /// The result.
    pub state: CheckState,
    /// Why it is red.
    pub reason: Option<Reason>,
    /// One sentence for people.
    pub message: String,
    /// The complete command that fixes it, if there is one.
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

/// How it went; `Err`: it could not be tried, and why.
pub(crate) type Tried = Result<Result<String, Error>, String>;

impl Check {
    pub(crate) fn line(check: &'static str, subject: impl ToString, tried: Tried) -> Self {
        let (state, error) = match tried {
            Ok(Ok(message)) => (CheckState::Green, Error::new(Reason::Defect, message)),
            Ok(Err(error)) => (CheckState::Red, error),
            Err(why) => {
                let message = format!("not tested: {why}");
                (CheckState::NotTested, Error::new(Reason::Defect, message))
            }
        };
        Self {
            check,
            subject: subject.to_string(),
            state,
            reason: (state == CheckState::Red).then_some(error.reason),
            message: error.message,
            command: error.command,
        }
    }
}

/// Everything that `--discover` found.
#[derive(Debug)]
pub struct Discovery {
    /// TLS secret by TLS secret.
    pub discovered: Vec<Discovered>,
    /// The exact matches, in the form of `TARGETS`.
    pub proposed_targets: Vec<ProposedTarget>,
    /// The certificates that no TLS secret matches; `None`: not every TLS secret is known.
    pub unused_certificates: Option<Vec<CertificateRef>>,
}

/// A TLS secret, and the certificate that belongs in it.
#[derive(Clone, Debug, Serialize)]
pub struct Discovered {
    /// Its project.
    pub project_id: String,
    /// Its name.
    pub tls_secret: String,
    /// Until when its certificate is valid.
    pub not_after: Option<Date>,
    /// The names of its certificate.
    pub names: Vec<String>,
    /// The domain mappings that use it; `None`: they could not be listed.
    pub domains: Option<Vec<String>>,
    /// How it matches; `None`: the certificates could not be listed.
    #[serde(rename = "match")]
    pub matches: Option<Match>,
    /// The certificates that match. If there are several, a person has to choose.
    pub candidates: Vec<CertificateRef>,
}

/// How a TLS secret and a certificate match, from exactly to not at all.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// The TLS secret holds the current version.
    Same,
    /// The TLS secret holds the previous version.
    Renewed,
    /// The certificate covers every name of the TLS secret.
    Covers,
    /// No certificate does.
    None,
    /// The TLS secret holds no certificate that can be read.
    Unreadable,
}

/// A target as `TARGETS` takes it.
#[derive(Clone, Debug, Serialize)]
pub struct ProposedTarget {
    /// The certificate.
    pub secret_id: String,
    /// The TLS secret.
    pub tls_secret: String,
    /// Its project.
    pub project_id: String,
    /// The region of that project, where it must be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// A certificate in Secrets Manager.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateRef {
    /// Its ID.
    pub secret_id: String,
    /// Its name.
    pub secret_name: String,
    /// `public_cert`, `imported_cert` or `private_cert`.
    pub secret_type: String,
    /// Until when it is valid.
    pub not_after: Option<Date>,
}

/// What is known of the run before its outcomes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Heading {
    /// The word for what started the run.
    pub trigger: Option<&'static str>,
    /// The id of the event.
    pub event_id: Option<String>,
    /// Whether nothing is written.
    pub dry_run: bool,
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
    pub error: Option<Error>,
}

/// The report of a run. What does not apply is left out of the JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    level: &'static str,
    message: String,
    version: &'static str,
    status: u8,
    retryable: bool,
    #[serde(flatten)]
    heading: Heading,
    duration_ms: u64,
    error: Option<Error>,
    /// `json.rs` adds these, as far as there is room.
    #[serde(skip)]
    results: Results,
}

impl Report {
    /// Sums up a run: its results, or the failure that kept it from having any.
    #[must_use]
    pub fn new(heading: Heading, result: Result<Results, Error>, duration_ms: u64) -> Self {
        let mut results = result.unwrap_or_else(|error| Results {
            error: Some(error),
            ..Results::default()
        });
        let status = results.exit_status();
        let level = match status {
            Some(_) => "error",
            None if results.targets.iter().any(|t| !t.findings.is_empty()) => "warn",
            None => "info",
        };
        Self {
            level,
            message: match (&results.error, results.targets.as_slice()) {
                (Some(error), _) => error.to_string(),
                (None, [only]) => only.message.clone(),
                (None, _) => results.summary(),
            },
            version: env!("CARGO_PKG_VERSION"),
            status: status.map_or(0, ExitStatus::status),
            retryable: results.retryable(),
            heading,
            duration_ms,
            error: results.error.take(),
            results,
        }
    }

    /// The status to exit with: that of the failure before any result, else that of the first failed
    /// target in their order.
    #[must_use]
    pub const fn status(&self) -> u8 {
        self.status
    }

    /// Logs all that is known of each target, check and TLS secret: the line of the report may have no
    /// room for that. `logged` is called after each.
    pub fn log(&self, logged: impl Fn()) {
        for target in &self.results.targets {
            json::log("target", &target.message, target);
            logged();
        }
        for check in &self.results.checks {
            let message = format!("{} {}: {}", check.check, check.subject, check.message);
            json::log("check", &message, check);
            logged();
        }
        let discovery = self.results.discovery.iter();
        for found in discovery.flat_map(|found| &found.discovered) {
            let word = word(found.matches);
            let message = format!("TLS secret {}: {word}", found.tls_secret);
            json::log("discovered", &message, found);
            logged();
        }
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
        if let Some(error) = &self.error {
            return Some(error.exit_status());
        }
        let failed = self.targets.iter().find_map(Outcome::exit_status);
        failed.or_else(|| {
            self.checks
                .iter()
                .find_map(|check| check.reason?.exit_status())
        })
    }

    fn retryable(&self) -> bool {
        if let Some(error) = &self.error {
            return error.reason.retryable();
        }
        let failed = self.targets.iter().filter(|t| t.exit_status().is_some());
        failed.filter_map(|t| t.reason).any(Reason::retryable)
    }

    fn summary(&self) -> String {
        if let Some(found) = &self.discovery {
            let secrets = counted(found.discovered.len(), "TLS secret");
            return match counts(found.discovered.iter().filter_map(|d| d.matches)) {
                matches if matches.is_empty() => secrets,
                matches => format!("{secrets}: {matches}"),
            };
        }
        if !self.checks.is_empty() {
            return self.checked();
        }
        match counts(self.targets.iter().map(|target| target.action)) {
            none if none.is_empty() => "no targets assigned to this array index".to_owned(),
            actions => actions,
        }
    }

    /// What could not be tested is not counted as passed.
    fn checked(&self) -> String {
        if self
            .checks
            .iter()
            .all(|check| check.state == CheckState::Green)
        {
            return "all checks passed".to_owned();
        }
        let states = [
            (CheckState::Red, "failed: "),
            (CheckState::NotTested, "not tested: "),
            (CheckState::Green, "passed"),
        ];
        let states = states.into_iter().filter_map(|(state, word)| {
            let checks = self.checks.iter().filter(|check| check.state == state);
            let names: Vec<&str> = checks.map(|check| check.check).collect();
            let once: BTreeSet<&str> = names.iter().copied().collect();
            let once: Vec<&str> = once.into_iter().filter(|_| word != "passed").collect();
            let count = names.len();
            (count > 0).then(|| format!("{count} {word}{}", once.join(", ")))
        });
        format!("checks: {}", states.collect::<Vec<_>>().join("; "))
    }
}

impl From<Vec<Outcome>> for Results {
    fn from(targets: Vec<Outcome>) -> Self {
        Self {
            targets,
            ..Self::default()
        }
    }
}

/// `2 replaced, 1 failed`.
fn counts<T: Ord + Serialize>(items: impl Iterator<Item = T>) -> String {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(item, count)| format!("{count} {}", word(item)))
        .collect();
    counts.join(", ")
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The word of the report, for people.
fn word(word: impl Serialize) -> String {
    let word = serde_json::to_value(word).unwrap_or_default();
    let word = word.as_str().unwrap_or("not known");
    word.replace("would_replace", "would be replaced")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error;

    #[test]
    fn status_level_and_message_sum_up_the_targets() {
        let fine = || Outcome::new(Action::Replaced, "x");
        let failed = |reason| fine().failed(&error!(reason, "y"));
        let noted = || {
            let mut outcome = fine();
            outcome.find(Reason::ChainGap, "y");
            outcome
        };
        let unserved = || {
            let mut outcome = fine();
            outcome.not_in_effect(Reason::NotServed, "y");
            outcome.not_in_effect(Reason::CodeEngineUnavailable, "z");
            outcome
        };
        let ignored = || Outcome::ignored(Reason::EventIgnored, "x");
        let (missing, no_answer) = (Reason::SecretMissing, Reason::CodeEngineUnavailable);
        for (targets, status, level, retryable, message) in [
            (vec![fine()], 0, "info", false, "x"),
            (
                vec![noted(), ignored()],
                0,
                "warn",
                false,
                "1 replaced, 1 ignored",
            ),
            // of several failures the first one counts
            (
                vec![fine(), failed(missing), failed(no_answer)],
                5,
                "error",
                true,
                "1 replaced, 2 failed",
            ),
            (
                vec![failed(no_answer), failed(missing)],
                7,
                "error",
                true,
                "2 failed",
            ),
            (vec![failed(missing)], 5, "error", false, "y"),
            // after a write the reason is why it is not served
            (vec![unserved()], 10, "error", true, "x; y; z"),
            (
                vec![],
                0,
                "info",
                false,
                "no targets assigned to this array index",
            ),
        ] {
            let report = Report::new(Heading::default(), Ok(targets.into()), 7);
            assert_eq!(
                (
                    report.status(),
                    report.level,
                    report.retryable,
                    report.message.as_str()
                ),
                (status, level, retryable, message)
            );
        }
        let report = Report::new(
            Heading::default(),
            Err(error!(Reason::EventForeign, "x")),
            0,
        );
        assert_eq!((report.status(), report.message.as_str()), (3, "x"));
    }

    #[test]
    fn the_summary_never_counts_as_passed_what_was_not_tested() {
        let ok = |check| Check::line(check, "x", Ok(Ok(String::new())));
        let red = |check| Check::line(check, "x", Ok(Err(error!(Reason::Unfit, "x"))));
        let open = |check| Check::line(check, "x", Err(String::new()));
        for (checks, summary) in [
            (vec![ok("a"), ok("b")], "all checks passed"),
            (
                vec![ok("a"), open("b")],
                "checks: 1 not tested: b; 1 passed",
            ),
            (
                vec![red("a"), red("a"), open("b"), red("c")],
                "checks: 3 failed: a, c; 1 not tested: b",
            ),
        ] {
            let results = Results {
                checks,
                ..Results::default()
            };
            assert_eq!(results.summary(), summary);
        }
    }
}
