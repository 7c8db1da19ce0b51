//! What happened: the outcomes, the exit status, and how both are printed. The report goes to
//! standard output and is an interface: alerts and scripts read it.

mod json;
pub(crate) mod text;

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::UnixTime;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::cert::certificate::{Certificate, rfc3339};
use crate::error::{Error, ExitStatus, Reason};
use crate::text::first_of_many;

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
    pub(crate) names: Vec<String>,
}

impl From<&Certificate> for Leaf {
    fn from(leaf: &Certificate) -> Self {
        Self {
            serial: leaf.serial.clone(),
            not_after: Date(leaf.not_after),
            sha256: leaf.sha256(),
            names: first_of_many(&leaf.names, SHOWN_NAMES),
        }
    }
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
    /// The TLS secret is up to date, but the certificate is not served yet. The action stays what it
    /// is; the first reason counts.
    pub fn not_in_effect(&mut self, reason: Reason, message: &str) {
        self.message += &format!("; {message}");
        self.reason.get_or_insert(reason);
    }

    /// What failed, and the exit status that it asks for; `None` if all is well.
    pub(crate) fn failure(&self) -> Option<(Reason, ExitStatus)> {
        let reason = self.reason?;
        match self.action {
            Action::Ignored => None,
            // what failed after the write is that it is served, not the write
            Action::Replaced | Action::Unchanged => Some((reason, ExitStatus::NotServed)),
            _ => Some((reason, reason.exit_status()?)),
        }
    }

    /// Turns the outcome into that of a failure, or of what does not concern this job.
    pub fn failed(self, error: &Error) -> Self {
        use ExitStatus::{Certificate, Event, Refused};
        Self {
            action: match error.reason.exit_status() {
                None => Action::Ignored,
                Some(Certificate | Refused | Event) => Action::Refused,
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

/// The result of a check, in the order of a summary.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Not as it should be.
    Red,
    /// Something that it depends on is red or not set.
    NotTested,
    /// As it should be.
    Green,
}

/// How it went; `Err`: it could not be tried, and why.
pub(crate) type Tried = Result<Result<String, Error>, String>;

impl Check {
    pub(crate) fn line(check: &'static str, subject: impl ToString, tried: Tried) -> Self {
        use CheckState::{Green, NotTested, Red};
        let (state, reason, message, command) = match tried {
            Ok(Ok(message)) => (Green, None, message, None),
            Ok(Err(error)) => (Red, Some(error.reason), error.message, error.command),
            Err(why) => (NotTested, None, format!("not tested: {why}"), None),
        };
        Self { check, subject: subject.to_string(), state, reason, message, command }
    }
}

/// Everything that `--discover` found, in the order in which a line has room for it.
#[derive(Debug, Serialize)]
pub struct Discovery {
    /// The exact matches, as `TARGETS` takes them.
    pub proposed_targets: Vec<Value>,
    /// The certificates that no TLS secret matches; `None`: not every TLS secret is known.
    pub unused_certificates: Option<Vec<CertificateRef>>,
    /// TLS secret by TLS secret.
    pub discovered: Vec<Discovered>,
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

/// What a run found out, summed up: the report, as serde writes it. `json.rs` leaves out what does
/// not apply or has no room.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// `error`, `warn` or `info`.
    pub level: &'static str,
    /// The whole run in one sentence.
    pub message: String,
    /// That of the program.
    pub version: &'static str,
    /// The status to exit with: that of the failure before any result, else that of the first failed
    /// target in their order.
    pub status: u8,
    /// Whether the same run could succeed later without intervention.
    pub retryable: bool,
    /// What was known before.
    #[serde(flatten)]
    pub heading: Heading,
    /// How long it took.
    pub duration_ms: u64,
    /// Target by target.
    #[serde(serialize_with = "json::list")]
    pub targets: Vec<Outcome>,
    /// Permission by permission, with `--check`.
    #[serde(serialize_with = "json::list")]
    pub checks: Vec<Check>,
    /// With `--discover`.
    #[serde(flatten)]
    pub discovery: Option<Discovery>,
    /// Why there is no more than this.
    pub error: Option<Error>,
}

impl Report {
    /// Sums up a run: what it found out, or the failure that kept it from finding anything.
    pub fn new(heading: Heading, result: Result<Self, Error>, duration_ms: u64) -> Self {
        let report = result.unwrap_or_else(|error| Self { error: Some(error), ..Self::default() });
        let failed = report.failures().next();
        let retryable = report.failures().any(|(reason, _)| reason.retryable());
        let noted = report.targets.iter().any(|t| !t.findings.is_empty());
        Self {
            level: match failed {
                Some(_) => "error",
                None if noted => "warn",
                None => "info",
            },
            message: match (&report.error, report.targets.as_slice()) {
                (Some(error), _) => error.to_string(),
                (None, [only]) => only.message.clone(),
                (None, _) => report.summary(),
            },
            version: env!("CARGO_PKG_VERSION"),
            status: failed.map_or(0, |(_, status)| status.status()),
            retryable,
            heading,
            duration_ms,
            ..report
        }
    }

    /// Logs all that is known of each target, check and TLS secret: the line of the report may have no
    /// room for that. `logged` is called after each line.
    pub fn log(&self, logged: impl Fn()) {
        for target in &self.targets {
            json::log("target", &target.message, target, &logged);
        }
        for check in &self.checks {
            let message = format!("{} {}: {}", check.check, check.subject, check.message);
            json::log("check", &message, check, &logged);
        }
        for found in self.discovery.iter().flat_map(|all| &all.discovered) {
            let message = format!("TLS secret {}: {}", found.tls_secret, word(found.matches));
            json::log("discovered", &message, found, &logged);
        }
    }

    /// What goes to standard output, without the last line end.
    pub fn print(&self, format: Format, colors: bool, now: UnixTime) -> String {
        match format {
            Format::Json => json::line(self),
            Format::Text => text::text(self, colors, now),
        }
    }

    /// What failed, and the status to exit with. The first one counts.
    fn failures(&self) -> impl Iterator<Item = (Reason, ExitStatus)> {
        let of_check = |check: &Check| Some((check.reason?, check.reason?.exit_status()?));
        let error = self.error.iter().map(|e| (e.reason, e.exit_status()));
        let targets = self.targets.iter().filter_map(Outcome::failure);
        let checks = self.checks.iter().filter_map(of_check);
        error.chain(targets).chain(checks)
    }

    fn summary(&self) -> String {
        match &self.discovery {
            _ if self.error.is_some() => "failed".to_owned(),
            Some(Discovery { discovered, .. }) => {
                let plural = if discovered.len() == 1 { "" } else { "s" };
                let matches = counts(discovered.iter().filter_map(|found| found.matches));
                let gap = if matches.is_empty() { "" } else { ": " };
                format!("{} TLS secret{plural}{gap}{matches}", discovered.len())
            }
            None if !self.checks.is_empty() => self.checked(),
            None if self.targets.is_empty() => "no targets assigned to this array index".to_owned(),
            None => counts(self.targets.iter().map(|target| target.action)),
        }
    }

    /// What could not be tested is not counted as passed.
    fn checked(&self) -> String {
        let mut states: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for check in &self.checks {
            states.entry(check.state).or_default().push(check.check);
        }
        if states.keys().eq([&CheckState::Green]) {
            return "all checks passed".to_owned();
        }
        let told = states.into_iter().map(|(state, checks)| {
            let count = checks.len();
            let names = Vec::from_iter(BTreeSet::from_iter(checks)).join(", ");
            match state {
                CheckState::Red => format!("{count} failed: {names}"),
                CheckState::NotTested => format!("{count} not tested: {names}"),
                CheckState::Green => format!("{count} passed"),
            }
        });
        format!("checks: {}", Vec::from_iter(told).join("; "))
    }
}

/// `2 replaced, 1 failed`.
fn counts<T: Ord + Serialize>(items: impl Iterator<Item = T>) -> String {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    let told = counts.iter().map(|(item, n)| format!("{n} {}", word(item)));
    Vec::from_iter(told).join(", ")
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

    impl Outcome {
        /// An outcome that only says what was done.
        pub(crate) fn new(action: Action, message: impl Into<String>) -> Self {
            Self { action, message: message.into(), ..Self::default() }
        }
    }

    /// For the tests of both forms.
    impl From<Vec<Outcome>> for Report {
        fn from(targets: Vec<Outcome>) -> Self {
            Self { targets, ..Self::default() }
        }
    }

    #[test]
    fn status_level_and_message_sum_up_the_targets() {
        let fine = || Outcome::new(Action::Replaced, "x");
        let failed = |reason: Reason| fine().failed(&reason.error("y"));
        let noted = || {
            let mut outcome = fine();
            outcome.findings.push(Reason::ChainGap.error("y"));
            outcome
        };
        let unserved = || {
            let mut outcome = fine();
            outcome.not_in_effect(Reason::NotServed, "y");
            outcome.not_in_effect(Reason::CodeEngineUnavailable, "z");
            outcome
        };
        let ignored = || Outcome::default().failed(&Reason::EventIgnored.error("x"));
        let (missing, no_answer) = (Reason::SecretMissing, Reason::CodeEngineUnavailable);
        for (targets, status, level, retryable, message) in [
            (vec![fine()], 0, "info", false, "x"),
            (vec![noted(), ignored()], 0, "warn", false, "1 replaced, 1 ignored"),
            // of several failures the first one counts
            (
                vec![fine(), failed(missing), failed(no_answer)],
                5,
                "error",
                true,
                "1 replaced, 2 failed",
            ),
            (vec![failed(no_answer), failed(missing)], 7, "error", true, "2 failed"),
            (vec![failed(missing)], 5, "error", false, "y"),
            // after a write the reason is why it is not served
            (vec![unserved()], 10, "error", true, "x; y; z"),
            (vec![], 0, "info", false, "no targets assigned to this array index"),
        ] {
            let report = Report::new(Heading::default(), Ok(targets.into()), 7);
            assert_eq!(
                (report.status, report.level, report.retryable, report.message.as_str()),
                (status, level, retryable, message)
            );
        }
        let report = Report::new(Heading::default(), Err(Reason::EventForeign.error("x")), 0);
        assert_eq!((report.status, report.message.as_str()), (3, "x"));
    }

    #[test]
    fn the_summary_never_counts_as_passed_what_was_not_tested() {
        let ok = |check| Check::line(check, "x", Ok(Ok(String::new())));
        let red = |check| Check::line(check, "x", Ok(Err(Reason::Unfit.error("x"))));
        let open = |check| Check::line(check, "x", Err("".into()));
        for (checks, summary) in [
            (vec![ok("a"), ok("b")], "all checks passed"),
            (vec![ok("a"), open("b")], "checks: 1 not tested: b; 1 passed"),
            (
                vec![red("a"), red("a"), open("b"), red("c")],
                "checks: 3 failed: a, c; 1 not tested: b",
            ),
        ] {
            let report = Report { checks, ..Report::default() };
            assert_eq!(report.summary(), summary);
        }
    }
}
