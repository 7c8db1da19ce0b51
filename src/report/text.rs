//! The report for people: one block per target, the checks as a table, a summary last.
//!
//! What matters is near the end, where a terminal shows it: failed targets come last. Nothing is cut;
//! commands are on lines of their own, ready to paste.

mod discovery;

use rustls_pki_types::UnixTime;

use crate::cert::certificate::rfc3339;
use crate::error::Error;
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
            .filter(|f| Some(f.reason) != target.reason)
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

    fn finding(&mut self, finding: &Error) {
        let text = format!("{}: {}", finding.reason, finding.message);
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
            self.colored(RED, "error", error.reason.word());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{Error, Reason, error};
    use crate::report::{Heading, Results, Served};

    /// 2026-03-01T00:00:00Z.
    const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_772_323_200));
    const PROJECT: &str = "5f2a9c1e-7b3d-4e68-90af-1c2d3e4f5a6b";
    const SECRET: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";

    fn leaf(serial: &str, hours: i64) -> Leaf {
        let end = NOW.as_secs().saturating_add_signed(hours * 3600);
        Leaf {
            serial: serial.to_owned(),
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(end)),
            sha256: "0".repeat(64),
            names: vec!["shop.example.com".to_owned()],
        }
    }

    fn target(tls_secret: &str, action: Action) -> Outcome {
        Outcome {
            secret_id: Some(SECRET.to_owned()),
            secret_name: Some("shop".to_owned()),
            project_id: Some(PROJECT.to_owned()),
            tls_secret: Some(tls_secret.to_owned()),
            ..Outcome::new(action, "")
        }
    }

    fn printed(result: Result<Results, Error>, dry_run: bool) -> String {
        let heading = Heading {
            dry_run,
            ..Heading::default()
        };
        text(&Report::new(heading, result, 1234), false, NOW)
    }

    #[test]
    fn a_target_shows_all_that_is_known_of_it() {
        let served = |domain: &str, state, after_ms| Served {
            domain: domain.to_owned(),
            state,
            after_ms,
        };
        let mut replaced = Outcome {
            from: Some(leaf("01:aa", -1)),
            to: Some(leaf("02:bb", 90 * 24)),
            served: vec![
                served("shop.example.com", State::New, Some(2500)),
                served("www.shop.example.com", State::Old, Some(60_000)),
                served("api.shop.example.com", State::Other, None),
                served("old.shop.example.com", State::Unreachable, None),
            ],
            restarted: vec!["web".to_owned(), "worker".to_owned()],
            ..target("shop-tls", Action::Replaced)
        };
        replaced.find(Reason::NotServed, "www.shop.example.com serves another one");
        replaced.findings.push(Error {
            command: Some(String::from("ibmcloud login --sso")),
            ..Error::new(Reason::IamPublic, "the token came from elsewhere")
        });
        assert_eq!(
            printed(Ok(vec![replaced].into()), false),
            format!(
                "\
shop-tls: replaced
  certificate  shop {SECRET}
  held         until 2026-02-28 (expired), serial 01:aa
  holds        until 2026-05-30 (90 days), serial 02:bb
  names        shop.example.com
  served       shop.example.com: this certificate, 2.5 s after the write
  served       www.shop.example.com: the previous certificate
  served       api.shop.example.com: another certificate
  served       old.shop.example.com: unreachable
  restarted    web, worker
  finding      not-served: www.shop.example.com serves another one
  finding      iam-public: the token came from elsewhere
    ibmcloud login --sso

1 replaced, in 1.2 s, exit status 0"
            )
        );
    }

    /// The reason is not repeated as a finding; only with several projects each is named.
    #[test]
    fn failed_targets_come_last_and_those_with_findings_before_them() {
        let elsewhere = "99999999-7b3d-4e68-90af-1c2d3e4f5a6b";
        let error = error!(Reason::NamesLost, "it loses www.shop.example.com")
            .command("ibmcloud ce jobrun submit --job sync");
        let mut refused = target("refused-tls", Action::Refused).failed(&error);
        refused.find(Reason::NamesLost, "it loses www.shop.example.com");
        let mut held = Outcome {
            project_id: Some(elsewhere.to_owned()),
            to: Some(leaf("02:bb", 1)),
            ..target("held-tls", Action::WouldReplace)
        };
        held.find(Reason::Held, "the target is on hold");
        let unchanged = Outcome {
            to: Some(leaf("02:bb", 24)),
            ..target("shop-tls", Action::Unchanged)
        };
        let ignored = Outcome::ignored(Reason::EventIgnored, "it has no name");
        let targets = vec![refused, held, unchanged, ignored];
        assert_eq!(
            printed(Ok(targets.into()), true),
            format!(
                "\
shop-tls: unchanged
  project      {PROJECT}
  certificate  shop {SECRET}
  holds        until 2026-03-02 (1 day), serial 02:bb
  names        shop.example.com

event: ignored
  note         event-ignored: it has no name

held-tls: would be replaced
  project      {elsewhere}
  certificate  shop {SECRET}
  would hold   until 2026-03-01 (less than a day), serial 02:bb
  names        shop.example.com
  finding      held: the target is on hold

refused-tls: refused
  project      {PROJECT}
  certificate  shop {SECRET}
  error        names-lost: it loses www.shop.example.com
    ibmcloud ce jobrun submit --job sync

dry run: 1 would be replaced, 1 unchanged, 1 refused, 1 ignored, in 1.2 s, exit
status 8"
            )
        );
    }

    #[test]
    fn a_failure_before_all_targets_has_a_line_for_each_problem() {
        let error = error!(
            Reason::Configuration,
            "SECRET_ID: expected an ID; TLS_SECRET_NAME is required unless TARGETS is set; DEADLINE: expected seconds"
        )
        .command("ibmcloud ce job get --name sync");
        assert_eq!(
            printed(Err(error), false),
            "  error        configuration
    SECRET_ID: expected an ID
    TLS_SECRET_NAME is required unless TARGETS is set
    DEADLINE: expected seconds
    ibmcloud ce job get --name sync

failed, in 1.2 s, exit status 2"
        );
    }

    #[test]
    fn each_outcome_has_its_color() {
        let failed = target("x", Action::Unchanged).failed(&error!(Reason::SecretMissing, "x"));
        for (target, color, of_summary) in [
            (target("x", Action::Replaced), GREEN, GREEN),
            (target("x", Action::Unchanged), GREEN, GREEN),
            (target("x", Action::WouldReplace), YELLOW, GREEN),
            (target("x", Action::Ignored), YELLOW, GREEN),
            (failed, RED, RED),
        ] {
            let word = target.action.word();
            let report = Report::new(Heading::default(), Ok(vec![target].into()), 1);
            let page = text(&report, true, NOW);
            let title = format!("\u{1b}[1mx\u{1b}[0m: \u{1b}[{color}m{word}\u{1b}[0m\n");
            assert!(page.starts_with(&title), "{page:?}");
            let summary = format!("\u{1b}[{of_summary}m1 {word}\u{1b}[0m, in 1 ms, exit");
            assert!(page.contains(&summary), "{page:?}");
        }
        let mut noted = target("x", Action::Unchanged);
        noted.find(Reason::ChainGap, "y");
        let report = Report::new(Heading::default(), Ok(vec![noted].into()), 1);
        let page = text(&report, true, NOW);
        assert!(page.contains("\u{1b}[33mfinding      \u{1b}[0mchain-gap: y\n"));
        assert!(
            page.contains("\u{1b}[33m1 unchanged\u{1b}[0m, in"),
            "{page:?}"
        );
    }

    #[test]
    fn a_duration_is_as_exact_as_it_is_interesting() {
        for (ms, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (61_590, "61.5 s"),
        ] {
            assert_eq!(seconds(ms), shown);
        }
    }
}
