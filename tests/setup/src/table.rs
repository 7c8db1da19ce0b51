//! Which commands there are, and which flags each has.

use std::collections::BTreeMap;

/// Command -> flags, as the documents of the real command list them; see the README beside it. It has
/// one command a line, and of these one is read: the whole of it took most of the time of a command.
const TABLE: &str = include_str!("../ibmcloud-cli.json");

/// The command's name, and its flags as JSON.
fn find(name: &str) -> Option<(&'static str, &'static str)> {
    let start = TABLE.find(&format!("\n \"{name}\": "))? + "\n \"".len();
    let line = TABLE[start..].lines().next()?;
    line.trim_end_matches(',').split_once("\": ")
}

/// Other names of plug-ins and commands.
const ALIASES: [(&str, &str); 12] = [
    ("code-engine", "ce"),
    ("en", "event-notifications"),
    ("sm", "secrets-manager"),
    ("app", "application"),
    ("proj", "project"),
    ("jd", "job"),
    ("jr", "jobrun"),
    ("sub", "subscription"),
    ("cm", "configmap"),
    ("bd", "build"),
    ("br", "buildrun"),
    ("dm", "domainmapping"),
];

/// A command line, understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The command as the table names it.
    pub command: String,
    /// What is neither command nor flag.
    pub positionals: Vec<String>,
    /// Flag -> values, in order; a switch has `true`.
    pub flags: BTreeMap<String, Vec<String>>,
}

impl Call {
    /// The last value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.get(name)?.last().map(String::as_str)
    }

    /// Is a switch on?
    pub fn is_on(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.flag(name) == Some("true"))
    }
}

/// The command that these words begin with, and how many of them it takes.
///
/// # Errors
/// No command of the table begins the words.
pub fn command(words: &[&str]) -> Result<(&'static str, usize), String> {
    let full: Vec<&str> = words
        .iter()
        .take_while(|word| !word.starts_with('-'))
        .map(|word| {
            let alias = ALIASES.iter().find(|(alias, _)| alias == word);
            alias.map_or(*word, |(_, name)| *name)
        })
        .collect();
    for length in (1..=full.len().min(4)).rev() {
        let name = full[..length].join(" ");
        if let Some((name, _)) = find(&name) {
            return Ok((name, length));
        }
    }
    Err(format!("'{}' is not a registered command", words.join(" ")))
}

/// Does the command have this flag?
pub fn has_flag(command: &str, flag: &str) -> bool {
    // known everywhere
    flag == "--help"
        || find(command).is_some_and(|(_, flags)| flags.contains(&format!("\"{flag}\"")))
}

/// Reads a command line; `is_switch` says which flags of a command take no value.
///
/// # Errors
/// A word or a flag that the table does not list, or a flag without its value.
pub fn parse(arguments: &[String], is_switch: impl Fn(&str, &str) -> bool) -> Result<Call, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (command, length) = command(&words)?;
    let mut call = Call {
        command: command.to_owned(),
        positionals: Vec::new(),
        flags: BTreeMap::new(),
    };
    let mut rest = words[length..].iter();
    while let Some(word) = rest.next() {
        if !word.starts_with('-') {
            call.positionals.push((*word).to_owned());
            continue;
        }
        let (flag, given) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (*word, None),
        };
        if !has_flag(command, flag) {
            return Err(format!(
                "Incorrect usage: '{flag}' is no flag of '{command}'"
            ));
        }
        let value = match given {
            Some(value) => value,
            None if is_switch(command, flag) => "true".to_owned(),
            None => match rest.next() {
                Some(value) => (*value).to_owned(),
                None => return Err(format!("Incorrect usage: '{flag}' needs a value")),
            },
        };
        call.flags.entry(flag.to_owned()).or_default().push(value);
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::{Call, parse};

    fn read(line: &str) -> Result<Call, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words, |_, flag| {
            ["-q", "--trusted-profiles-enabled"].contains(&flag)
        })
    }

    #[test]
    fn aliases_values_and_switches() {
        let call = read("code-engine job create --name a --trusted-profiles-enabled --cpu=1 -q");
        let call = call.unwrap();
        assert_eq!(call.command, "ce job create");
        assert_eq!(
            (call.flag("--name"), call.flag("--cpu")),
            (Some("a"), Some("1"))
        );
        assert!(call.is_on(&["--trusted-profiles-enabled"]));
        let call = read("iam authorization-policy-create a b Viewer,Writer").unwrap();
        assert_eq!(call.positionals, ["a", "b", "Viewer,Writer"]);
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        for line in [
            "secrets-manager secret-rotate --id 1",
            "ce job make --name a",
            "ce job create --nam a",
            "ce job create --name",
            "event-notifications topic create --topic-type timer",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
