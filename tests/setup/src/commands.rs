//! How each command answers, and the commands of the account itself.

use serde_json::{Value, json};

use crate::account::{Account, text};
use crate::table::{self, Call};

/// Why a command failed.
pub(crate) enum Problem {
    /// The real one would not understand it.
    Usage(String),
    /// As the real one fails.
    Failed(String),
    /// It looked for something that is not there.
    NothingFound(String),
}

/// A text as it is printed, or a document; null: there is nothing to show.
pub(crate) type Outcome = Result<Value, Problem>;

pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Failed(why.into()))
}

pub(crate) fn missing(what: &str) -> Problem {
    Problem::NothingFound(format!("\"{what}\" not found"))
}

impl From<(u16, String)> for Problem {
    fn from((status, text): (u16, String)) -> Self {
        let why = format!("status {status}: {text}");
        match status {
            404 => Self::NothingFound(why),
            _ => Self::Failed(why),
        }
    }
}

impl Account {
    /// Does one command: standard output, standard error, exit status.
    pub(crate) fn answer(&mut self, words: &[String], variables: &Value) -> (String, String, u8) {
        let (mut stdout, why, status) = match self.perform(words, variables) {
            Ok(stdout) => (stdout, String::new(), 0),
            Err(Problem::NothingFound(_)) if self.is("nothing-found-is-empty") => {
                Default::default()
            }
            Err(Problem::NothingFound(why) | Problem::Failed(why)) => (String::new(), why, 1),
            Err(Problem::Usage(why)) => (String::new(), format!("Incorrect usage: {why}"), 2),
        };
        self.calls.push((words.to_vec(), status));
        self.tell();
        if self.is("notices") {
            let tip = "TIP: {see the documentation}";
            stdout = format!("A new version is available [2.40.0].\n\n{stdout}\n{tip}\n");
        }
        let failed = if status == 0 { "" } else { "FAILED\n" };
        (stdout, format!("{failed}{why}"), status)
    }

    fn perform(&mut self, words: &[String], variables: &Value) -> Result<String, Problem> {
        let call = table::complete(words).map_err(Problem::Usage)?;
        if self.is("logged-out") && call.command != "plugin list" {
            return failed("Not logged in. Use 'ibmcloud login' to log in.");
        }
        let verbs = ["create", "update", "delete", "submit"];
        let changes = verbs.iter().any(|verb| call.command.ends_with(verb));
        self.changes += u64::from(changes);
        let failure = self.failure.filter(|one| changes && self.changes >= one.at);
        if failure.is_some_and(|one| !one.done || self.changes > one.at) {
            return failed("Server error: 503 Service Unavailable");
        }
        let outcome = match call.command.split(' ').next() {
            Some("iam") => self.iam(&call),
            Some("secrets-manager") => self.secrets_manager(&call, variables),
            Some("event-notifications") => self.event_notifications(&call, variables),
            Some("ce") => self.code_engine(&call),
            _ => self.core(&call),
        };
        if failure.is_some() {
            return failed("unexpected EOF: the connection was closed");
        }
        self.printed(&call, outcome?)
    }

    /// As JSON, if the command was asked for it in its spelling; else a table for people.
    fn printed(&self, call: &Call, mut value: Value) -> Result<String, Problem> {
        if let Value::String(text) = value {
            return Ok(text);
        }
        let is_iam = call.command.starts_with("iam ");
        match call.flag("--output") {
            None => return Ok("OK\n".to_owned()),
            Some("JSON") if is_iam => {}
            Some("json") if !is_iam => {}
            Some(other) => return failed(format!("Incorrect usage: --output {other}")),
        }
        if let Value::Array(all) = &value {
            let is_empty = |odd| all.is_empty() && self.is(odd);
            if is_empty("empty-not-found") && call.command.starts_with("iam trusted-profile") {
                return Err(missing("anything"));
            } else if is_empty("empty-sentence") {
                return Ok("Nothing found in [my account].\n".to_owned());
            } else if is_empty("empty-null") {
                value = Value::Null;
            }
            if !call.command.starts_with("resource ") && (!is_iam || self.is("wrapped-lists")) {
                let name = call.command.rsplit([' ', '-']).next().unwrap_or_default();
                value = json!({ "first": {}, name.replace("list", "items"): value });
            }
        }
        let mut text = format!("{value:#}\n");
        if is_iam && self.is("policies-v2") {
            // the words of version 2 of the API
            let words = "name=key subjects=subject resources=resource roles=control";
            for (v1, v2) in words.split(' ').filter_map(|pair| pair.split_once('=')) {
                text = text.replace(&format!("\"{v1}\":"), &format!("\"{v2}\":"));
            }
        }
        Ok(text)
    }

    pub(crate) fn instance(&self, service: &str, guid: &str) -> Result<&Value, Problem> {
        let is = |one: &&Value| one["service"] == service && one["guid"] == guid;
        self.instances.iter().find(is).ok_or_else(|| missing(guid))
    }

    /// The command itself, and instances.
    fn core(&mut self, call: &Call) -> Outcome {
        if call.command == "plugin list" {
            let head = "Plugin Name   Version   Status\n".to_owned();
            return Ok((head + self.plugins).into());
        }
        if call.command == "target" {
            for flag in ["-r", "-g"] {
                let value = call.flag(flag).map(str::to_owned);
                self.target.extend(value.map(|value| (flag, value)));
            }
            return Ok(format!("Targeted:\n{:?}\n", self.target).into());
        }
        let (name, region) = (call.words.first(), call.flag("--location"));
        let wanted = [
            ("name", name.map(String::as_str)),
            ("region", region),
            ("service", call.flag("--service-name")),
        ];
        let has = |one: &Value, key, is: Option<_>| is.is_none_or(|is| one[key] == is);
        let is = |one: &&Value| wanted.iter().all(|(key, is)| has(one, *key, *is));
        let mut found = self.instances.iter().filter(is);
        match name {
            Some(name) => {
                let found = found.next().ok_or_else(|| missing(name))?;
                Ok(format!("{}\n", text(found, "id")).into())
            }
            None if call.flag("--all-resource-groups").is_some() => Ok(found.cloned().collect()),
            None => failed("No resource group is targeted."),
        }
    }
}
