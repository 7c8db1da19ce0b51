//! The report for people. What matters is near the end, where a terminal shows it: failed targets come
//! last. Nothing is cut; commands are on lines of their own, ready to paste.

use std::collections::BTreeSet;

use rustls_pki_types::UnixTime;

use crate::cert::certificate::rfc3339;
use crate::report::{
    Action, CertificateRef, Check, CheckState, Date, Discovered, Discovery, Leaf, Match, Outcome,
    Report, State, json, word,
};

/// The columns of a terminal.
pub(crate) const WIDTH: usize = 80;
/// Where the values of a block begin.
const INDENT: usize = 15;
/// With more targets than this, those that are fine have one line each.
const MOST_BLOCKS: usize = 12;
/// The widest first and last column of a table; longer names have a line of their own.
const WIDEST: usize = 25;
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BOLD: &str = "1";

pub(super) fn text(report: &Report, colors: bool, now: UnixTime) -> String {
    let text = String::new();
    let mut page = Page { text, colors, now };
    page.targets(&report.targets);
    page.checks(&report.checks);
    if let Some(found) = &report.discovery {
        page.discovery(found);
    }
    page.summary(report);
    page.text.trim_end().to_owned()
}

struct Page {
    text: String,
    colors: bool,
    now: UnixTime,
}

impl Page {
    fn targets(&mut self, targets: &[Outcome]) {
        let projects: BTreeSet<_> = targets.iter().map(|target| &target.project_id).collect();
        let noteworthy = |t: &Outcome| t.reason.is_some() || !t.findings.is_empty();
        let short = |t: &&Outcome| targets.len() > MOST_BLOCKS && !noteworthy(t);
        let (mut lines, mut blocks): (Vec<_>, Vec<_>) = targets.iter().partition(short);
        lines.sort_by_key(|target| &target.project_id);
        for of_project in lines.chunk_by(|a, b| a.project_id == b.project_id) {
            let rows = of_project.iter().map(|target| {
                let action = self.painted(color(target), &word(target.action), 9);
                let until = newest(target).map(|leaf| self.until(leaf));
                let cells = format!("{action}  {}", until.unwrap_or_default());
                (name(target), cells)
            });
            let project = of_project.first().and_then(|t| t.project_id.as_ref());
            self.table(project, &rows.collect::<Vec<_>>());
        }
        blocks.sort_by_key(|t| (t.failure().is_some(), noteworthy(t)));
        for target in blocks {
            let project = target.project_id.as_deref().filter(|_| projects.len() > 1);
            self.target(target, project.unwrap_or_default());
        }
    }

    fn target(&mut self, target: &Outcome, project: &str) {
        let title = self.painted(BOLD, name(target), 0);
        let action = self.painted(color(target), &word(target.action), 0);
        self.line(&format!("{title}: {action}"));
        self.value("", "project", project);
        if let (Some(id), true) = (&target.secret_id, target.tls_secret.is_some()) {
            let name = target.secret_name.as_deref().unwrap_or_default();
            self.value("", "certificate", &format!("{name} {id}"));
        }
        // what the TLS secret held, holds or would hold
        let (before, after) = match target.action {
            Action::Replaced => ("held", "holds"),
            Action::Unchanged => ("", "holds"),
            Action::WouldReplace => ("holds", "would hold"),
            Action::Refused | Action::Failed | Action::Ignored => ("holds", "new"),
        };
        for (label, leaf) in [(before, &target.from), (after, &target.to)] {
            if let (false, Some(leaf)) = (label.is_empty(), leaf) {
                let text = format!("{}, serial {}", self.until(leaf), leaf.serial);
                self.value("", label, &text);
            }
        }
        let names = newest(target).map(|leaf| leaf.names.join(", "));
        self.value("", "names", &names.unwrap_or_default());
        for served in &target.served {
            let state = match served.state {
                State::New => "this certificate",
                State::Old => "the previous certificate",
                State::Other => "another certificate",
                State::Unreachable => "unreachable",
            };
            let ms = served.after_ms.filter(|_| served.state == State::New);
            let after = ms.map(|ms| format!(", {} after the write", seconds(ms)));
            let after = after.unwrap_or_default();
            self.value("", "served", &format!("{}: {state}{after}", served.domain));
        }
        self.value("", "restarted", &target.restarted.join(", "));
        if let Some(reason) = target.reason {
            let failed = target.failure().is_some();
            let (color, label) = if failed { (RED, "error") } else { ("", "note") };
            self.value(color, label, &format!("{reason}: {}", target.message));
            self.command(target.command.as_ref());
        }
        // don't repeat the reason as a finding
        let findings = target.findings.iter();
        for finding in findings.filter(|finding| Some(finding.reason) != target.reason) {
            let text = format!("{}: {}", finding.reason, finding.message);
            self.value(YELLOW, "finding", &text);
            self.command(finding.command.as_ref());
        }
        self.text.push('\n');
    }

    fn until(&self, leaf: &Leaf) -> String {
        let left = leaf.not_after.0.as_secs().checked_sub(self.now.as_secs());
        let left = match left.map(|left| left / SECONDS_PER_DAY) {
            None => "expired".to_owned(),
            Some(0) => "less than a day".to_owned(),
            Some(1) => "1 day".to_owned(),
            Some(days) => format!("{days} days"),
        };
        format!("until {} ({left})", date(Some(leaf.not_after)))
    }

    /// A table in groups, one for each thing that is checked; the commands follow.
    fn checks(&mut self, checks: &[Check]) {
        for group in checks.chunk_by(|a, b| a.subject == b.subject) {
            if let Some(Check { subject, .. }) = group.first().filter(|c| !c.subject.is_empty()) {
                self.gap();
                self.line(subject);
            }
            for check in group {
                let (color, state) = match check.state {
                    CheckState::Green => (GREEN, "ok"),
                    CheckState::Red => (RED, "FAILED"),
                    CheckState::NotTested => (YELLOW, "-"),
                };
                let state = self.painted(color, state, 6);
                let first = format!("  {:15}  {state}  ", check.check);
                self.line(&hanging(&first, 27, &check.message));
                self.command(check.command.as_ref());
            }
        }
        self.gap();
    }

    fn discovery(&mut self, found: &Discovery) {
        let all = &found.discovered;
        for of_project in all.chunk_by(|a, b| a.project_id == b.project_id) {
            let header = "until       match       certificate".to_owned();
            let mut rows = vec![("TLS secret", header)];
            for secret in of_project {
                rows.push((secret.tls_secret.as_str(), self.cells(secret)));
            }
            self.table(of_project.first().map(|one| &one.project_id), &rows);
        }
        if !found.proposed_targets.is_empty() {
            // names and IDs that were parsed: nothing in them has a meaning for a shell
            let targets = json::json(&found.proposed_targets);
            self.line("Exact matches (same, renewed), ready to paste:\n");
            self.line(&format!("TARGETS='{targets:#}'\n"));
        }
        let is_open =
            |one: &&Discovered| one.matches == Some(Match::Covers) || one.candidates.len() > 1;
        for secret in all.iter().filter(is_open) {
            let (name, project) = (&secret.tls_secret, &secret.project_id);
            let title = format!("Ambiguous, choose one for {name} in {project}:");
            self.certificates(&title, &secret.candidates);
        }
        let unused = found.unused_certificates.as_deref().unwrap_or_default();
        self.certificates("No TLS secret uses these certificates:", unused);
    }

    /// What is known of a TLS secret, beside its name.
    fn cells(&self, secret: &Discovered) -> String {
        let until = match secret.not_after {
            Some(until) if until.0 < self.now => "expired".to_owned(),
            until => date(until),
        };
        let (color, certificate) = match (secret.matches, secret.candidates.as_slice()) {
            (Some(Match::Unreadable), _) => (RED, "-".to_owned()),
            (Some(Match::Same | Match::Renewed), [one]) => (GREEN, one.secret_name.clone()),
            (_, [one]) => (YELLOW, one.secret_name.clone()),
            (_, []) => (YELLOW, "-".to_owned()),
            (_, several) => (YELLOW, format!("one of {}", several.len())),
        };
        let matches = self.painted(color, &word(secret.matches), 10);
        let fits = certificate.chars().count() <= WIDEST;
        let gap = if fits { "  " } else { "\n    " };
        let domains = secret.domains.as_deref().unwrap_or_default().join(", ");
        let used = match domains.as_str() {
            "" => String::new(),
            domains => hanging("\n    used by ", 12, domains),
        };
        format!("{until:10}  {matches}{gap}{certificate}{used}")
    }

    fn certificates(&mut self, title: &str, certificates: &[CertificateRef]) {
        if !certificates.is_empty() {
            self.line(&hanging("", 2, title));
        }
        for one in certificates {
            let until = date(one.not_after);
            let text = format!("{} ({}, until {until})", one.secret_name, one.secret_type);
            self.line(&hanging("    ", 4, &text));
            self.line(&format!("      {}", one.secret_id));
        }
        self.gap();
    }

    fn summary(&mut self, report: &Report) {
        if let Some(error) = &report.error {
            self.value(RED, "error", error.reason.word());
            for part in error.message.split("; ") {
                self.line(&hanging("    ", 4, part));
            }
            self.command(error.command.as_ref());
            self.text.push('\n');
        }
        let color = match report.level {
            "error" => RED,
            "warn" => YELLOW,
            _ => GREEN,
        };
        let what = self.painted(color, &report.summary(), 0);
        let dry_run = report.heading.dry_run.then_some("dry run: ");
        let dry_run = dry_run.unwrap_or_default();
        let (time, status) = (seconds(report.duration_ms), report.status);
        let text = format!("{dry_run}{what}, in {time}, exit status {status}");
        self.line(&hanging("", 0, &text));
    }

    /// The rows of a project. Names are whole, so that they can be copied.
    fn table(&mut self, project: Option<&String>, rows: &[(&str, String)]) {
        self.line(&format!("Project {}\n", project.map_or("", String::as_str)));
        let widths = rows.iter().map(|(name, _)| name.chars().count());
        let width = widths.filter(|width| *width <= WIDEST).fold(0, usize::max);
        for (name, cells) in rows {
            match name.chars().count() > width {
                true => self.line(&format!("{name}\n{:width$}  {cells}", "")),
                false => self.line(&format!("{name:width$}  {cells}")),
            }
        }
        self.gap();
    }

    /// `  label      value`, wrapped; nothing without a value.
    fn value(&mut self, color: &str, label: &str, text: &str) {
        if !text.is_empty() {
            let label = self.painted(color, label, INDENT - 2);
            self.line(&hanging(&format!("  {label}"), INDENT, text));
        }
    }

    fn command(&mut self, command: Option<&String>) {
        if let Some(command) = command {
            self.line(&format!("    {command}"));
        }
    }

    /// Ends what was begun.
    fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    fn line(&mut self, line: &str) {
        self.text.extend([line, "\n"]);
    }

    /// The text in a column of this width.
    fn painted(&self, color: &str, text: &str, width: usize) -> String {
        match self.colors && !color.is_empty() {
            true => format!("\u{1b}[{color}m{text:width$}\u{1b}[0m"),
            false => format!("{text:width$}"),
        }
    }
}

fn name(target: &Outcome) -> &str {
    let name = target.tls_secret.as_ref().or(target.secret_name.as_ref());
    let name = name.or(target.secret_id.as_ref());
    name.map_or("event", String::as_str)
}

fn newest(target: &Outcome) -> Option<&Leaf> {
    target.to.as_ref().or(target.from.as_ref())
}

fn color(target: &Outcome) -> &'static str {
    match target.action {
        _ if target.failure().is_some() => RED,
        Action::Replaced | Action::Unchanged => GREEN,
        _ => YELLOW,
    }
}

fn date(time: Option<Date>) -> String {
    let text = time.map_or_else(|| "-".to_owned(), |time| rfc3339(time.0));
    text.split('T').next().unwrap_or_default().to_owned()
}

fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

/// The text after `first`, in lines that are indented.
fn hanging(first: &str, indent: usize, text: &str) -> String {
    let gap = format!("\n{:indent$}", "");
    format!("{first}{}", wrapped(text, WIDTH - indent).join(&gap))
}

/// The text in lines of at most this width; a longer word has a line of its own.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = word.chars().count() + 1;
        match lines.last_mut() {
            Some(line) if line.chars().count() + longer <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
