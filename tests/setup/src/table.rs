//! Which commands there are, and which flags each has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// What the documents of the real command say, and what the stand-in needs; see the README beside it.
static TABLE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../ibmcloud-cli.json")).unwrap());

/// A command line, understood.
#[derive(Debug)]
pub struct Call {
    /// The command as the table names it.
    pub command: &'static str,
    /// What is neither command nor flag.
    pub words: Vec<String>,
    /// Flag -> values, in order; a switch has `true`.
    flags: BTreeMap<String, Vec<String>>,
}

impl Call {
    /// All values of a flag.
    pub fn all(&self, name: &str) -> &[String] {
        self.flags.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// The same; empty if it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.flag(name).unwrap_or_default()
    }

    /// The request to IBM's API that does this in a project; empty if more than one is needed.
    pub(crate) fn request(&self, project: &str) -> String {
        let template = TABLE["requests"][self.command].as_str();
        let parts = template.unwrap_or_default().split(['{', '}']);
        let filled = parts.map(|part| match part {
            "project" => project,
            flag if flag.starts_with("--") => self.text(flag),
            text => text,
        });
        filled.collect()
    }

    /// The body of such a request, as far as it is a field for a flag.
    pub fn body(&self) -> Value {
        let fields = TABLE["bodies"][self.command].as_object();
        let field = |(flag, field): (&String, &Value)| {
            let (text, field) = (self.flag(flag)?, field.as_str()?);
            Some(match field.strip_prefix("json ") {
                Some(field) => (field.to_owned(), serde_json::from_str(text).ok()?),
                None => (field.to_owned(), json!(text)),
            })
        };
        fields.into_iter().flatten().filter_map(field).collect()
    }
}

fn is_in(list: &Value, word: &str) -> bool {
    let all = list.as_array().into_iter().flatten();
    all.into_iter().any(|one| one == word)
}

/// Reads a command line.
///
/// # Errors
/// A word or a flag that the table does not list, or a flag without its value.
pub fn parse(arguments: &[String]) -> Result<Call, String> {
    let full = arguments.iter().take_while(|word| !word.starts_with('-'));
    let full = full.map(|word| TABLE["aliases"][word].as_str().unwrap_or(word));
    let full: Vec<&str> = full.collect();
    let commands = TABLE["flags"].as_object().unwrap();
    let known = |length| Some((commands.get_key_value(&full[..length].join(" "))?, length));
    let found = (1..=full.len()).rev().find_map(known);
    let ((command, listed), length) =
        found.ok_or_else(|| format!("'{}' is not a registered command", arguments.join(" ")))?;
    let (mut words, mut flags) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    let mut rest = arguments[length..].iter();
    while let Some(word) = rest.next() {
        if !word.starts_with('-') {
            words.push(word.clone());
            continue;
        }
        let (flag, given) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if flag != "--help" && !is_in(listed, flag) {
            return Err(format!("'{flag}' is no flag of '{command}'"));
        }
        let is_switch = match flag {
            // of a profile it asks for the id, elsewhere it gives one
            "--id" => command.starts_with("iam "),
            // elsewhere it names a file
            "-f" => command.starts_with("plugin ") || is_in(listed, "--force"),
            _ => is_in(&TABLE["switches"], flag),
        };
        let value = match given {
            None if is_switch => Some("true".to_owned()),
            None => rest.next().cloned(),
            given => given,
        };
        let value = value.ok_or_else(|| format!("'{flag}' needs a value"))?;
        flags.entry(flag.to_owned()).or_default().push(value);
    }
    Ok(Call { command, words, flags })
}

/// Reads a command line that the stand-in does, with all that it needs.
///
/// # Errors
/// As above, a command that the stand-in does not do, a word or flag that is missing, or a word too many.
pub(crate) fn complete(arguments: &[String]) -> Result<Call, String> {
    let call = parse(arguments)?;
    let (command, words) = (call.command, call.words.len());
    let needs = TABLE["needs"][command].as_str();
    let needs = needs.ok_or_else(|| format!("the stand-in does not do '{command}'"))?;
    let needs = needs.split_whitespace();
    let (flags, names): (Vec<_>, Vec<_>) = needs.partition(|need| need.starts_with("--"));
    if words != names.len() {
        return Err(format!("'{command}' takes {} words", names.len()));
    }
    match flags.iter().find(|flag| call.text(flag).is_empty()) {
        Some(flag) => Err(format!("'{command}' needs '{flag}'")),
        None => Ok(call),
    }
}
