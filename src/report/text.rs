//! The report for people: one block per target, the checks as a table, a summary last.
//!
//! What matters is near the end, where a terminal shows it: failed targets come last. Nothing is cut;
//! commands are on lines of their own, ready to paste.

mod discovery;

use rustls_pki_types::UnixTime;

use crate::cert::certificate::rfc3339;
use crate::error::Finding;
use crate::report::{Action, Check, CheckState, Leaf, Outcome, Report, State};
use crate::text::sanitized;

/// The columns of a terminal.
pub(crate) const WIDTH: usize = 80;
/// Where the values of a block begin.
const INDENT: usize = 15;
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BOLD: &str = "1";

pub(super) fn text(report: &Report, colors: bool, now: UnixTime) -> String {
    let mut page = Page {
        text: String::new(),
        colors,
        now,
    };
    let mut targets: Vec<&Outcome> = report.results.targets.iter().collect();
    targets.sort_by_key(|target| (target.exit_status().is_some(), !target.findings.is_empty()));
    let mut projects: Vec<_> = targets.iter().map(|target| &target.project_id).collect();
    projects.dedup();
    for target in targets {
        page.target(target, projects.len() > 1);
    }
    page.checks(&report.results.checks);
    if let Some(found) = &report.results.discovery {
        page.discovery(found);
    }
    page.summary(report);
    page.text.truncate(page.text.trim_end().len());
    page.text
}

struct Page {
    text: String,
    colors: bool,
    now: UnixTime,
}

impl Page {
    fn target(&mut self, target: &Outcome, with_project: bool) {
        let name = target.tls_secret.as_ref().or(target.secret_name.as_ref());
        let name = name.or(target.secret_id.as_ref());
        let color = match target.action {
            _ if target.exit_status().is_some() => RED,
            Action::Replaced | Action::Unchanged => GREEN,
            _ => YELLOW,
        };
        let title = self.painted(BOLD, name.map_or("event", String::as_str));
        let action = self.painted(color, target.action.word());
        self.line(&format!("{title}: {action}"));
        if with_project && let Some(project) = &target.project_id {
            self.value("project", project);
        }
        if let (Some(id), true) = (&target.secret_id, target.tls_secret.is_some()) {
            let name = target.secret_name.as_deref().unwrap_or_default();
            self.value("certificate", &format!("{name} {id}"));
        }
        self.leaves(target);
        for served in &target.served {
            let state = match served.state {
                State::New => "this certificate",
                State::Old => "the previous certificate",
                State::Other => "another certificate",
                State::Unreachable => "unreachable",
            };
            let after = match (served.state, served.after_ms) {
                (State::New, Some(ms)) => format!(", {} after the write", seconds(ms)),
                _ => String::new(),
            };
            self.value("served", &format!("{}: {state}{after}", served.domain));
        }
        if let Some(seconds) = target.rotation_to_served_s {
            self.value("rotation", &format!("served {seconds} s after it"));
        }
        if !target.restarted.is_empty() {
            self.value("restarted", &target.restarted.join(", "));
        }
        if let Some(reason) = target.reason {
            let (color, label) = match target.exit_status() {
                Some(_) => (RED, "error"),
                None => ("", "note"),
            };
            self.colored(color, label, &format!("{reason}: {}", target.message));
            self.command(target.command.as_ref());
        }
        // what is both was said already
        for finding in target
            .findings
            .iter()
            .filter(|f| Some(f.code) != target.reason)
        {
            self.finding(finding);
        }
        self.text.push('\n');
    }

    /// What the TLS secret held, holds or would hold.
    fn leaves(&mut self, target: &Outcome) {
        let (before, after) = match target.action {
            Action::Replaced => ("held", "holds"),
            Action::Unchanged => ("", "holds"),
            Action::WouldReplace => ("holds", "would hold"),
            Action::Refused | Action::Failed | Action::Ignored => ("holds", "new"),
        };
        let leaves = [(before, &target.from), (after, &target.to)];
        for (label, leaf) in leaves.into_iter().filter(|(label, _)| !label.is_empty()) {
            if let Some(leaf) = leaf {
                self.value(label, &self.leaf(leaf));
            }
        }
        if let Some(leaf) = target.to.as_ref().or(target.from.as_ref()) {
            let names: Vec<String> = leaf.names.iter().map(|name| sanitized(name)).collect();
            self.value("names", &names.join(", "));
        }
    }

    fn leaf(&self, leaf: &Leaf) -> String {
        let date = rfc3339(leaf.not_after);
        let date = date.split('T').next().unwrap_or_default();
        let left = leaf.not_after.as_secs().checked_sub(self.now.as_secs());
        let left = match left.map(|left| left / SECONDS_PER_DAY) {
            None => "expired".to_owned(),
            Some(0) => "less than a day".to_owned(),
            Some(1) => "1 day".to_owned(),
            Some(days) => format!("{days} days"),
        };
        format!("until {date} ({left}), serial {}", leaf.serial)
    }

    fn finding(&mut self, finding: &Finding) {
        let text = format!("{}: {}", finding.code, finding.message);
        self.colored(YELLOW, "finding", &text);
        self.command(finding.command.as_ref());
    }

    /// A table in groups, one for each thing that is checked; the commands follow.
    fn checks(&mut self, checks: &[Check]) {
        if checks.is_empty() {
            return;
        }
        let mut group = None;
        for check in checks {
            let before = group.replace(&check.subject);
            if before != Some(&check.subject) && !check.subject.is_empty() {
                let gap = if before.is_some() { "\n" } else { "" };
                self.line(&format!("{gap}{}", check.subject));
            }
            let (color, state) = match check.state {
                CheckState::Green => (GREEN, "ok"),
                CheckState::Red => (RED, "FAILED"),
                CheckState::NotTested => (YELLOW, "-"),
            };
            let state = self.painted(color, &format!("{state:6}"));
            let first = format!("  {:15}  {state}  ", check.check);
            self.hanging(&first, 27, &check.message);
        }
        self.text.push('\n');
        for check in checks {
            if let Some(command) = &check.command {
                self.line(&format!("To fix {} {}:", check.check, check.subject));
                self.line(&format!("  {command}\n"));
            }
        }
    }

    fn summary(&mut self, report: &Report) {
        if let Some(error) = &report.error {
            self.colored(RED, "error", error.code.word());
            for part in error.message.split("; ") {
                self.hanging("    ", 4, part);
            }
            self.command(error.command.as_ref());
            self.text.push('\n');
        }
        let what = match &report.error {
            Some(_) => "failed".to_owned(),
            None => report.results.summary(),
        };
        let dry_run = match report.heading.dry_run {
            true => "dry run: ",
            false => "",
        };
        let color = match report.level {
            "error" => RED,
            "warn" => YELLOW,
            _ => GREEN,
        };
        let what = self.painted(color, &what);
        let time = seconds(report.duration_ms);
        let status = report.status;
        self.hanging(
            "",
            0,
            &format!("{dry_run}{what}, in {time}, exit status {status}"),
        );
    }

    /// `  label      value`, wrapped.
    fn value(&mut self, label: &str, text: &str) {
        self.colored("", label, text);
    }

    fn colored(&mut self, color: &str, label: &str, text: &str) {
        let label = self.painted(color, &format!("{label:0$}", INDENT - 2));
        self.hanging(&format!("  {label}"), INDENT, text);
    }

    fn hanging(&mut self, first: &str, indent: usize, text: &str) {
        let lines = wrapped(text, WIDTH - indent);
        let gap = format!("\n{:indent$}", "");
        self.line(&format!("{first}{}", lines.join(&gap)));
    }

    fn command(&mut self, command: Option<&String>) {
        if let Some(command) = command {
            self.line(&format!("    {command}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn painted(&self, color: &str, text: &str) -> String {
        match self.colors && !color.is_empty() {
            true => format!("\u{1b}[{color}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

/// The text in lines of at most this width; a longer word has a line of its own.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
