//! Which commands there are, and which flags each has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Command -> flags, as the documents of the real command list them; see the README beside it.
static TABLE: LazyLock<BTreeMap<String, Vec<String>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../ibmcloud-cli.json")).unwrap());

/// Other names of plug-ins and commands.
const ALIASES: &str = "code-engine=ce en=event-notifications sm=secrets-manager app=application proj=project \
                       jd=job jr=jobrun sub=subscription cm=configmap bd=build br=buildrun dm=domainmapping";

/// Flags without a value.
const SWITCHES: &str = "-q --quiet --force --ignore-not-found --all-pages --all-resource-groups --wait \
                        --trusted-profiles-enabled --raw --crn";

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
    /// The last value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.get(name)?.last().map(String::as_str)
    }

    /// The same; empty if it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.flag(name).unwrap_or_default()
    }

    /// The last values of some flags.
    pub fn texts<const N: usize>(&self, names: [&str; N]) -> [&str; N] {
        names.map(|name| self.text(name))
    }

    /// All values of a flag.
    pub fn all(&self, name: &str) -> &[String] {
        self.flags.get(name).map_or(&[], Vec::as_slice)
    }

    /// Is a switch on?
    pub fn is_on(&self, name: &str) -> bool {
        self.flag(name) == Some("true")
    }
}

fn full_name(word: &str) -> &str {
    let mut pairs = ALIASES
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(alias, _)| *alias == word)
        .map_or(word, |(_, name)| name)
}

/// The command that these words begin with, and how many of them it takes.
fn command(words: &[&str]) -> Result<(&'static str, usize), String> {
    let full = words.iter().take_while(|word| !word.starts_with('-'));
    let full: Vec<&str> = full.map(|word| full_name(word)).collect();
    let known = |length| {
        let (name, _) = TABLE.get_key_value(&full[..length].join(" "))?;
        Some((name.as_str(), length))
    };
    let found = (1..=full.len().min(4)).rev().find_map(known);
    found.ok_or_else(|| format!("'{}' is not a registered command", words.join(" ")))
}

/// Does the command have this flag?
fn has_flag(command: &str, flag: &str) -> bool {
    let flags = TABLE.get(command).map_or(&[][..], Vec::as_slice);
    flag == "--help" || flags.iter().any(|known| known == flag)
}

/// Reads a command line.
///
/// # Errors
/// A word or a flag that the table does not list, or a flag without its value.
pub fn parse(arguments: &[String]) -> Result<Call, String> {
    let all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (command, length) = command(&all)?;
    let (mut words, mut flags) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    let mut rest = all[length..].iter();
    while let Some(word) = rest.next() {
        if !word.starts_with('-') {
            words.push((*word).to_owned());
            continue;
        }
        let (flag, given) = word
            .split_once('=')
            .map_or((*word, None), |(flag, value)| (flag, Some(value)));
        if !has_flag(command, flag) {
            return Err(format!("'{flag}' is no flag of '{command}'"));
        }
        // of a profile it asks for the id, elsewhere it gives one
        let is_switch = SWITCHES.split(' ').any(|one| one == flag)
            || (flag == "--id" && command.starts_with("iam "))
            // elsewhere it names a file
            || (flag == "-f" && (command.starts_with("plugin ") || has_flag(command, "--force")));
        let value = match given {
            None if is_switch => Some("true"),
            None => rest.next().copied(),
            given => given,
        };
        let value = value.ok_or_else(|| format!("'{flag}' needs a value"))?;
        flags
            .entry(flag.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    Ok(Call {
        command,
        words,
        flags,
    })
}
