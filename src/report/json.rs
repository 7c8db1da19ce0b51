//! The report as one line of JSON, and one log line per target.
//!
//! Container runtimes split log lines at 16 KiB, so the report's line stays below: if not everything
//! fits, failed targets come first and whole, then those with findings, then the others with what
//! identifies them. What does not fit is counted. Nothing is lost: every target also has a log line.

mod discovery;

use log::Level;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::error::Error;
pub(super) use crate::report::json::discovery::log_discovered;
use crate::report::{Check, CheckState, Leaf, Outcome, Report, Served, State};

/// The longest line.
const LONGEST: usize = 15 * 1024;
/// The largest part of it for one of several targets, if not all of them fit.
const LARGEST_ITEM: usize = 4 * 1024;
/// For the counts of what does not fit, which are known last.
const RESERVED: usize = 128;
/// A command is shown whole or not at all.
const LONGEST_COMMAND: usize = 800;

/// The name of the program in the log.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// At most so many characters of a text and entries of a list.
#[derive(Clone, Copy)]
struct Cap {
    text: usize,
    list: usize,
}

const WHOLE: Cap = Cap {
    text: usize::MAX,
    list: usize::MAX,
};
/// From whole to tight: the first that fits is used.
const CAPS: [Cap; 6] = [
    WHOLE,
    Cap {
        text: 3000,
        list: 50,
    },
    Cap {
        text: 1000,
        list: 20,
    },
    Cap { text: 300, list: 5 },
    Cap { text: 100, list: 2 },
    Cap { text: 50, list: 1 },
];

/// What is printed, in this order; what does not apply is absent.
#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: String,
    version: &'static str,
    status: u8,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    dry_run: bool,
    duration_ms: u64,
    targets: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "is_zero")]
    targets_omitted: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "is_zero")]
    checks_omitted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovered: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "is_zero")]
    discovered_omitted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposed_targets: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "is_zero")]
    proposed_targets_omitted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    unused_certificates: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "is_zero")]
    unused_certificates_omitted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

pub(super) fn line(report: &Report) -> String {
    let head = |cap: Cap| Line {
        level: report.level,
        message: cut(&report.message, cap),
        version: env!("CARGO_PKG_VERSION"),
        status: report.status,
        retryable: report.retryable,
        trigger: report.heading.trigger,
        event_id: report.heading.event_id.as_deref(),
        dry_run: report.heading.dry_run,
        duration_ms: report.duration_ms,
        targets: Vec::new(),
        targets_omitted: 0,
        checks: Vec::new(),
        checks_omitted: 0,
        discovered: None,
        discovered_omitted: 0,
        proposed_targets: None,
        proposed_targets_omitted: 0,
        unused_certificates: None,
        unused_certificates_omitted: 0,
        error: report.error.as_ref().map(|error| error.cut(cap)),
    };
    let largest = match (&report.error, &report.results.discovery) {
        (Some(_), None) => LONGEST - RESERVED,
        _ => LONGEST / 4,
    };
    let fits = |line: &Line<'_>| json(line).get().len() <= largest;
    let [.., tightest] = CAPS;
    let mut line = CAPS
        .into_iter()
        .map(head)
        .find(fits)
        .unwrap_or_else(|| head(tightest));
    let room = LONGEST - RESERVED - json(&line).get().len();
    (line.targets, line.targets_omitted) = fill(room, &report.results.targets);
    (line.checks, line.checks_omitted) = fill(room, &report.results.checks);
    if let Some(found) = &report.results.discovery {
        line.discovery(found);
    }
    json(&line).get().to_owned()
}

/// Logs the whole outcome of one target; the field `target` holds it as JSON.
pub(super) fn log_outcome(outcome: &Outcome) {
    let level = match outcome.rank() {
        Rank::Failed => Level::Error,
        Rank::Noteworthy => Level::Warn,
        Rank::Fine => Level::Info,
    };
    let message = cut(
        &outcome.message,
        Cap {
            text: 1000,
            list: 0,
        },
    );
    let room = LONGEST - RESERVED - json(&message).get().len();
    let target = detailed(outcome, room).unwrap_or_else(|| outcome.brief());
    log::log!(target: OURS, level, target = target.get(); "{message}");
}

/// Logs one line of `--check`; the field `check` holds it as JSON.
pub(super) fn log_check(check: &Check) {
    let level = match check.state {
        CheckState::Red => Level::Error,
        CheckState::Green | CheckState::NotTested => Level::Info,
    };
    let Check {
        check: name,
        subject,
        message,
        ..
    } = check;
    log::log!(target: OURS, level, check = json(check).get(); "{name} {subject}: {message}");
}

/// As many items as fit, and how many do not.
fn fill<T: Item>(room: usize, items: &[T]) -> (Vec<Box<RawValue>>, usize) {
    let mut list = List {
        items: Vec::new(),
        room,
    };
    if items.iter().all(|item| list.add(item.cut(WHOLE))) {
        return (list.items, 0);
    }
    list = List {
        items: Vec::new(),
        room,
    };
    let largest = match items {
        [_] => room,
        _ => LARGEST_ITEM,
    };
    let mut ranked: Vec<&T> = items.iter().collect();
    ranked.sort_by_key(|item| item.rank());
    for item in ranked {
        let added = item.rank() < Rank::Fine
            && detailed(item, list.room.min(largest)).is_some_and(|item| list.add(item));
        if !added {
            list.add(item.brief());
        }
    }
    let omitted = items.len() - list.items.len();
    (list.items, omitted)
}

/// A list that grows as long as there is room.
struct List {
    items: Vec<Box<RawValue>>,
    room: usize,
}

impl List {
    fn add(&mut self, item: Box<RawValue>) -> bool {
        // a comma follows each item but the last
        let rest = self.room.checked_sub(item.get().len() + 1);
        if let Some(rest) = rest {
            self.room = rest;
            self.items.push(item);
        }
        rest.is_some()
    }
}

/// The item with as much detail as fits.
fn detailed<T: Item>(item: &T, room: usize) -> Option<Box<RawValue>> {
    CAPS.into_iter()
        .map(|cap| item.cut(cap))
        .find(|item| item.get().len() < room)
}

/// What matters comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Failed,
    Noteworthy,
    Fine,
}

/// An item of a list of the report.
trait Item {
    fn rank(&self) -> Rank;
    fn cut(&self, cap: Cap) -> Box<RawValue>;
    /// Only what identifies it.
    fn brief(&self) -> Box<RawValue>;
}

impl Item for Outcome {
    fn rank(&self) -> Rank {
        match (self.exit_status(), self.findings.as_slice()) {
            (Some(_), _) => Rank::Failed,
            (None, [_, ..]) => Rank::Noteworthy,
            (None, []) => Rank::Fine,
        }
    }

    fn cut(&self, cap: Cap) -> Box<RawValue> {
        #[derive(Serialize)]
        struct Cut {
            #[serde(flatten)]
            outcome: Outcome,
            #[serde(skip_serializing_if = "is_zero")]
            findings_omitted: usize,
            #[serde(skip_serializing_if = "is_zero")]
            served_omitted: usize,
        }
        let leaf = |leaf: &Leaf| Leaf {
            names: cut_list(&leaf.names, cap),
            ..leaf.clone()
        };
        // what serves the certificate can be left out first
        let mut served: Vec<&Served> = self.served.iter().collect();
        if served.len() > cap.list {
            served.sort_by_key(|served| served.state == State::New);
        }
        let served = served.into_iter().take(cap.list).map(|served| Served {
            domain: cut(&served.domain, cap),
            ..*served
        });
        let findings = self.findings.iter().take(cap.list);
        let outcome = Self {
            secret_name: self.secret_name.as_ref().map(|name| cut(name, cap)),
            reason: self.reason,
            message: cut(&self.message, cap),
            command: complete(self.command.as_ref()),
            from: self.from.as_ref().map(leaf),
            to: self.to.as_ref().map(leaf),
            findings: findings.map(|finding| finding.cut(cap)).collect(),
            served: served.collect(),
            restarted: cut_list(&self.restarted, cap),
            attempts: self.attempts,
            ..self.identified()
        };
        json(&Cut {
            findings_omitted: self.findings.len() - outcome.findings.len(),
            served_omitted: self.served.len() - outcome.served.len(),
            outcome,
        })
    }

    fn brief(&self) -> Box<RawValue> {
        json(&Self {
            reason: self.reason,
            ..self.identified()
        })
    }
}

impl Outcome {
    /// Only what identifies the target.
    fn identified(&self) -> Self {
        Self {
            secret_id: self.secret_id.clone(),
            project_id: self.project_id.clone(),
            tls_secret: self.tls_secret.clone(),
            ..Self::new(self.action, "")
        }
    }
}

impl Item for Check {
    fn rank(&self) -> Rank {
        match self.state {
            CheckState::Red => Rank::Failed,
            CheckState::NotTested => Rank::Noteworthy,
            CheckState::Green => Rank::Fine,
        }
    }

    fn cut(&self, cap: Cap) -> Box<RawValue> {
        json(&Self {
            subject: cut(&self.subject, cap),
            message: cut(&self.message, cap),
            command: complete(self.command.as_ref()),
            ..*self
        })
    }

    fn brief(&self) -> Box<RawValue> {
        self.cut(Cap { text: 40, list: 0 })
    }
}

impl Error {
    fn cut(&self, cap: Cap) -> Self {
        Self {
            reason: self.reason,
            message: cut(&self.message, cap),
            command: complete(self.command.as_ref()),
        }
    }
}

/// A command is never cut: the rest could do something else.
fn complete(command: Option<&String>) -> Option<String> {
    command
        .filter(|command| command.len() <= LONGEST_COMMAND)
        .cloned()
}

fn cut(text: &str, cap: Cap) -> String {
    match text.char_indices().nth(cap.text) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn cut_list(list: &[String], cap: Cap) -> Vec<String> {
    let mut shown: Vec<String> = list
        .iter()
        .take(cap.list)
        .map(|text| cut(text, cap))
        .collect();
    if let Some(more @ 1..) = list.len().checked_sub(cap.list) {
        shown.push(format!("... and {more} more"));
    }
    shown
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Strings, numbers and lists always serialize.
fn json(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::error::{Reason, error};
    use crate::report::{Action, Heading, Results};

    fn target(number: usize) -> Outcome {
        Outcome {
            secret_id: Some(format!("2f6c8e90-4b1d-4d7a-9e35-{number:012}")),
            secret_name: Some(format!("certificate-{number}")),
            project_id: Some("5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b".to_owned()),
            tls_secret: Some(format!("shop-{number}-tls")),
            attempts: Some(1),
            ..Outcome::new(
                Action::Unchanged,
                format!("TLS secret shop-{number}-tls {}", "x".repeat(200)),
            )
        }
    }

    fn failed(number: usize) -> Outcome {
        let error = error!(
            Reason::SecretForbidden,
            "secret {number} {}",
            "y".repeat(300)
        )
        .command(format!("ibmcloud {}", "z".repeat(300)));
        target(number).failed(&error)
    }

    fn printed(results: Results) -> Value {
        let line = line(&Report::new(Heading::default(), Ok(results), 7));
        assert!(line.len() <= LONGEST, "{} bytes", line.len());
        assert!(!line.contains('\n'));
        assert!(line.starts_with(r#"{"level":""#), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn the_fields_are_in_their_documented_order() {
        let line = line(&Report::new(
            Heading::default(),
            Ok(vec![failed(1)].into()),
            7,
        ));
        let fields = [
            "level",
            "message",
            "version",
            "status",
            "retryable",
            "dry_run",
            "duration_ms",
            "targets",
            "secret_id",
            "secret_name",
            "project_id",
            "tls_secret",
            "action",
            "reason",
            "message",
            "command",
            "attempts",
        ];
        let mut rest = line.as_str();
        for field in fields {
            rest = rest.split_once(&format!("\"{field}\":")).unwrap().1;
        }
    }

    #[test]
    fn of_a_thousand_targets_the_failed_ones_are_whole() {
        let fails = [17, 500, 999];
        let outcome = |number| match number {
            n if fails.contains(&n) => failed(n),
            // some with a finding, near the end of the list
            n if n % 300 == 299 => {
                let mut outcome = target(n);
                outcome.find(Reason::ExpiresSoon, "soon");
                outcome
            }
            n => target(n),
        };
        let report = printed((0..1000).map(outcome).collect::<Vec<_>>().into());
        let targets = report["targets"].as_array().unwrap();
        for (shown, number) in targets.iter().zip(fails) {
            let whole: Value = serde_json::from_str(failed(number).cut(WHOLE).get()).unwrap();
            assert_eq!(*shown, whole);
        }
        let findings = |t: &&Value| t.get("findings").is_some();
        assert_eq!(targets.iter().skip(3).take_while(findings).count(), 3);
        for other in targets.iter().skip(6) {
            let fields: Vec<&String> = other.as_object().unwrap().keys().collect();
            assert_eq!(fields, ["action", "project_id", "secret_id", "tls_secret"]);
        }
        let omitted = report["targets_omitted"].as_u64().unwrap();
        assert_eq!(targets.len() + usize::try_from(omitted).unwrap(), 1000);
        assert!(targets.len() > 40, "{}", targets.len());
    }

    #[test]
    fn few_targets_keep_their_order_and_are_whole() {
        let report = printed(vec![target(1), failed(2), target(3)].into());
        let names = report["targets"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|t| t["tls_secret"].clone()).collect();
        assert_eq!(names, ["shop-1-tls", "shop-2-tls", "shop-3-tls"]);
        assert_eq!(report.get("targets_omitted"), None);
    }

    /// Texts that double when they are escaped, characters of four bytes, and many of everything.
    #[test]
    fn whatever_comes_in_the_line_is_short_and_the_command_whole() {
        for filler in ["\u{1}", "\"", "\u{1f980}", "a"] {
            let long = filler.repeat(500);
            let hostile = |number| {
                let mut outcome = failed(number);
                outcome.message = long.clone();
                outcome.secret_name = Some(long.clone());
                outcome.restarted = vec![long.clone(); 40];
                for _ in 0..40 {
                    outcome.find(Reason::ChainGap, long.clone());
                    outcome.served.push(Served {
                        domain: long.clone(),
                        state: State::Old,
                        after_ms: None,
                    });
                }
                outcome
            };
            for count in [1, 3, 10] {
                let report = printed((0..count).map(hostile).collect::<Vec<_>>().into());
                let first = &report["targets"][0];
                assert_eq!(first["reason"], "secret-forbidden");
                assert_eq!(first["command"].as_str(), failed(0).command.as_deref());
                let shown = first["findings"].as_array().unwrap().len();
                assert_eq!(first["findings_omitted"], 40 - shown);
                let targets = report["targets"].as_array().unwrap().len();
                let omitted = report["targets_omitted"].as_u64().unwrap_or_default();
                assert_eq!(targets + usize::try_from(omitted).unwrap(), count);
            }
            let error = error!(Reason::Configuration, "{long}");
            let line = line(&Report::new(Heading::default(), Err(error), 7));
            assert!(line.len() <= LONGEST);
        }
    }

    /// Failed checks are whole, then those that were not tested; the others only say which they are.
    #[test]
    fn of_a_thousand_checks_the_failed_ones_are_whole() {
        let long = "y".repeat(300);
        let red = |number: usize| {
            let error =
                error!(Reason::CodeEngineForbidden, "{long}").command("ibmcloud login --sso");
            Check::red("replace", &format!("shop-{number}-tls"), &error)
        };
        let checks = (0..1000).map(|number| match number {
            17 | 999 => red(number),
            18 => Check::not_tested("covered", "shop-18-tls", &long),
            _ => Check::green("apps", &format!("shop-{number}-tls"), long.clone()),
        });
        let report = printed(Results {
            checks: checks.collect(),
            ..Results::default()
        });
        let checks = report["checks"].as_array().unwrap();
        for (shown, number) in checks.iter().zip([17, 999]) {
            let whole: Value = serde_json::from_str(red(number).cut(WHOLE).get()).unwrap();
            assert_eq!(*shown, whole);
        }
        assert_eq!(checks[2]["message"], format!("not tested: {long}"));
        for (shown, number) in checks[3..].iter().zip((0..17).chain(19..)) {
            assert_eq!(shown["subject"], format!("shop-{number}-tls"));
            assert_eq!(shown["message"], format!("{}...", &long[..40]));
        }
        let omitted = report["checks_omitted"].as_u64().unwrap();
        assert_eq!(checks.len() + usize::try_from(omitted).unwrap(), 1000);
        assert!(checks.len() > 40, "{}", checks.len());
    }
}
