//! One command from its arguments to its answer.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::account::{Account, EmptyList, State};
use crate::rest::{Refused, Rest};
use crate::table::{self, Call};
use crate::{code_engine, core, event_notifications, iam, secrets_manager};

/// What the process writes, and its exit status.
#[derive(Debug, Default)]
pub struct Answer {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status.
    pub status: u8,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// As the real one fails.
    Failed(String),
    /// It looked for something that is not there.
    NothingFound(String),
    /// It did its work, and something else went wrong: output and why.
    Ended(String, String),
}

pub(crate) type Outcome = Result<String, Problem>;

pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Failed(why.into()))
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let text = format!("status {}: {}", refused.status, refused.text);
        match refused.status {
            404 => Self::NothingFound(text),
            _ => Self::Failed(text),
        }
    }
}

/// What a command works with.
pub(crate) struct Session<'a> {
    pub(crate) account: Account,
    pub(crate) state: State,
    pub(crate) variables: &'a BTreeMap<String, String>,
    pub(crate) rest: Rest,
}

/// A command that the stand-in can do.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// How many words it needs beside its flags.
    pub(crate) words: usize,
    pub(crate) required: &'static [&'static str],
    pub(crate) switches: &'static [&'static str],
    pub(crate) changes: bool,
    pub(crate) run: fn(&mut Session<'_>, &Call) -> Outcome,
}

/// Flags without a value, wherever they are listed.
const SWITCHES: [&str; 7] = [
    "-q",
    "--quiet",
    "--force",
    "--ignore-not-found",
    "--all-pages",
    "--all-resource-groups",
    "--wait",
];

fn find(name: &str) -> Option<&'static Command> {
    [
        core::COMMANDS,
        iam::COMMANDS,
        secrets_manager::COMMANDS,
        event_notifications::COMMANDS,
        code_engine::COMMANDS,
        code_engine::job_runs::COMMANDS,
    ]
    .iter()
    .flat_map(|commands| commands.iter())
    .find(|command| command.name == name)
}

/// What ibmcloud may print around an answer.
const NOTICES: [&str; 2] = [
    "A new version is available [2.40.0]. To update, use 'ibmcloud update'.\n\n",
    "\nTIP: {see the documentation}\n",
];

/// Does one command. Arguments and status go to `calls.jsonl` below `home`.
pub fn run(home: &Path, variables: &BTreeMap<String, String>, arguments: &[String]) -> Answer {
    let mut answer = answered(home, variables, arguments);
    if Account::load(home).freedom.notices {
        answer.stdout = [NOTICES[0], &answer.stdout, NOTICES[1]].concat();
    }
    let line = json!({ "arguments": arguments, "status": answer.status });
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(home.join("calls.jsonl"));
    writeln!(log.expect("calls.jsonl"), "{line}").expect("calls.jsonl");
    answer
}

fn answered(home: &Path, variables: &BTreeMap<String, String>, arguments: &[String]) -> Answer {
    let is_switch = |command: &str, flag: &str| {
        SWITCHES.contains(&flag)
            || find(command).is_some_and(|command| command.switches.contains(&flag))
    };
    let call = match table::parse(arguments, is_switch) {
        Ok(call) => call,
        Err(why) => return refused(2, &why),
    };
    let Some(command) = find(&call.command) else {
        return refused(70, &format!("the stand-in does not do '{}'", call.command));
    };
    if call.positionals.len() != command.words {
        let why = format!("'{}' takes {} words", command.name, command.words);
        return refused(
            2,
            &format!("Incorrect usage: {why}: {:?}", call.positionals),
        );
    }
    for flag in command.required {
        if call.flag(flag).is_none_or(str::is_empty) {
            return refused(
                2,
                &format!("Incorrect usage: '{}' needs '{flag}'", command.name),
            );
        }
    }
    let account = Account::load(home);
    if !account.logged_in && !["plugin list"].contains(&command.name) {
        return refused(1, "Not logged in. Use 'ibmcloud login' to log in.");
    }
    let mut session = Session {
        rest: Rest::new(&account),
        state: State::load(home),
        account,
        variables,
    };
    let mut answer_is_lost = false;
    if command.changes {
        session.state.changes += 1;
        if let Some(failure) = session.account.failure
            && session.state.changes >= failure.at
        {
            if !failure.done || session.state.changes > failure.at {
                session.state.save(home);
                return refused(1, "Server error: 503 Service Unavailable");
            }
            answer_is_lost = true;
        }
    }
    let outcome = (command.run)(&mut session, &call);
    session.state.save(home);
    if answer_is_lost {
        return refused(1, "unexpected EOF: the connection was closed");
    }
    match outcome {
        Ok(stdout) => Answer {
            stdout,
            ..Answer::default()
        },
        Err(Problem::NothingFound(_)) if session.account.freedom.nothing_found_is_empty => {
            Answer::default()
        }
        Err(Problem::NothingFound(why) | Problem::Failed(why)) => refused(1, &why),
        Err(Problem::Ended(stdout, why)) => Answer {
            stdout,
            ..refused(1, &why)
        },
    }
}

fn refused(status: u8, why: &str) -> Answer {
    Answer {
        stdout: String::new(),
        stderr: format!("FAILED\n{why}\n"),
        status,
    }
}

/// As JSON, if the command was asked for it in this spelling; else a table for people.
pub(crate) fn shown(call: &Call, spelling: &str, value: &Value) -> Outcome {
    match call.flag("--output") {
        Some(asked) if asked == spelling => Ok(format!("{value:#}\n")),
        Some(asked) => failed(format!("Incorrect usage: --output {asked}: use {spelling}")),
        None => Ok("OK\n".to_owned()),
    }
}

/// A list as JSON, inside of an object with this name if that is given; `nouns` for people.
pub(crate) fn shown_list(
    session: &Session<'_>,
    call: &Call,
    spelling: &str,
    name: Option<&str>,
    nouns: &str,
    all: Vec<Value>,
) -> Outcome {
    let empty = session.account.freedom.empty_lists;
    let sentence = format!("No {nouns} found in [my account].");
    let list = match empty {
        EmptyList::Sentence if all.is_empty() => return Ok(sentence + "\n"),
        EmptyList::Null if all.is_empty() => Value::Null,
        _ => Value::Array(all),
    };
    match name {
        Some(name) => shown(call, spelling, &json!({ "first": {}, name: list })),
        None => shown(call, spelling, &list),
    }
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
