//! The text of `--help`, from the tables of variables and of exit statuses.

use crate::config::variables::VARIABLES;
use crate::error::ExitStatus;
use crate::report::text::{WIDTH, wrapped};

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "sm-tls-sync copies renewed TLS certificates from IBM Cloud Secrets Manager into
TLS secrets of IBM Cloud Code Engine. It runs as a Code Engine job. An event in
its environment says what was rotated: ibmendata (Event Notifications) or
CE_DATA (event subscriptions of Code Engine). Without one it reconciles every
target.

Usage: sm-tls-sync [OPTIONS]

Options:
  --dry-run             decide and report, write nothing
  --check               check every permission separately, change nothing
  --discover            list the TLS secrets and the certificates that match
                        them, change nothing
  --output json|text    form of the report
  --help, --version

Environment:
",
    );
    for variable in VARIABLES {
        text += &format!("  {}\n{}", variable.name, indented(variable.meaning));
        text += &match variable.default {
            "" => String::new(),
            required if required.starts_with("required") => indented(required),
            default => indented(&format!("default: {default}")),
        };
        for older in variable.older {
            let same = older.eq_ignore_ascii_case(variable.name);
            let word = if same { "also" } else { "deprecated name" };
            text += &indented(&format!("{word}: {older}"));
        }
    }
    text += "\nThe log goes to standard error, the report to standard output: text on a\n\
             terminal and for check and discover, otherwise one line of JSON.\n\nExit status:\n";
    for (status, meaning) in ExitStatus::MEANINGS.iter().enumerate() {
        text += &format!("{status:>4}  {}", indented(meaning).trim_start());
    }
    text.trim_end().to_owned()
}

/// In lines that begin with six spaces.
fn indented(text: &str) -> String {
    let lines = wrapped(text, WIDTH - 6);
    format!("      {}\n", lines.join("\n      "))
}
