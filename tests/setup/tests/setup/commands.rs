//! Every line with `ibmcloud` in scripts, documents, messages and the Terraform module uses commands and flags
//! that exist; and the command that `--check` prints for a missing permission fixes that.

use std::path::{Path, PathBuf};
use std::process::Command;

use ibmcloud_stand_in::{JOB, entries, root, table, text};
use serde_json::{Value, json};

use crate::harness::Here;

/// The text files that tell people or shells what to type.
fn texts(path: &Path, into: &mut Vec<(PathBuf, String)>) {
    if path.is_dir() {
        let entries = path.read_dir().unwrap();
        entries.for_each(|entry| texts(&entry.unwrap().path(), into));
    } else if let Ok(text) = std::fs::read_to_string(path) {
        into.push((path.to_owned(), text));
    }
}

/// IBM Cloud Logs is a plug-in of its own, which the table does not hold; what is known of its one
/// command is in scripts/alerts/README.md.
const ELSEWHERE: &str = "logs";

/// Takes the innermost `$(...)` out of a text, one after the other; what is left has `NESTED` there.
fn unnested(mut text: String) -> Vec<String> {
    let mut parts = Vec::new();
    while let Some(begin) = text.rfind("$(") {
        let end = text[begin..].find(')').map_or(text.len(), |n| begin + n);
        parts.push(text[begin + 2..end].to_owned());
        text.replace_range(begin..text.len().min(end + 1), "NESTED");
    }
    parts.push(text);
    parts
}

/// The words of a call as a shell takes them, up to where the shell, a quoted line in prose or Markdown ends
/// it.
fn words(call: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for (at, c) in call.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            // the end of a quotation around the whole call
            ('"' | '\'', None) if !call[at + 1..].contains(c) => break,
            ('"' | '\'', None) => quote = Some(c),
            (' ', None) => words.push(String::new()),
            ('`' | ';' | '|' | '&' | ')' | '#' | '<' | '>', None) => break,
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The calls of `ibmcloud` in a text, nested ones included.
fn calls(text: &str) -> Vec<Vec<String>> {
    // a quoted quote is that of a message in a program
    let text = text.replace("\\\n", " ").replace("\\\"", "\"");
    let is_loop = |line: &&str| line.trim_start().starts_with("for ");
    let lines = text.lines().filter(|line| !is_loop(line));
    let parts: Vec<_> = lines.flat_map(|line| unnested(line.to_owned())).collect();
    let parts = parts.iter().map(|part| part.split("ibmcloud "));
    let calls = parts.flat_map(|parts| parts.skip(1));
    let calls = calls.filter(|call| call.starts_with(|c: char| c.is_ascii_lowercase()));
    let calls = calls.map(words).filter(|words| words[0] != ELSEWHERE);
    calls.collect()
}

/// What is wrong with a call. What people are told to type is complete: a command for Secrets Manager says of
/// which instance, and a run of the job reports as text, which the log shows as it is.
fn problem(words: &[String], told: bool) -> Option<String> {
    let call = match table::parse(words) {
        Ok(call) => call,
        // in prose a sentence goes on after the command
        Err(why) if !told && why.contains("needs a value") => return None,
        Err(why) => return Some(why),
    };
    let is_complete = match call.command {
        // `ibmcloud secrets-manager secret` may be the name of a command in a sentence
        name if name.starts_with("secrets-manager ") => call.flag("--service-url").is_some(),
        "ce jobrun submit" if call.flag("--job").is_some() => {
            let mut set = call.all("--env").iter();
            set.any(|variable| variable.starts_with("OUTPUT="))
        }
        _ => true,
    };
    (told && !is_complete).then(|| format!("{words:?} is not complete"))
}

/// The blocks of code of a page, fenced or indented, and what is `quoted` and for ibmcloud.
fn blocks(page: &str) -> Vec<String> {
    let (mut blocks, mut block, mut fenced) = (Vec::new(), String::new(), false);
    for line in page.lines().chain([""]) {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.starts_with("```") {
            fenced = text.trim() == "```sh";
        } else if fenced || indent >= 4 {
            block += &format!("{text}\n");
            continue;
        }
        let quoted = line.split('`').skip(1).step_by(2).map(str::to_owned);
        blocks.extend(quoted.filter(|text| text.starts_with("ibmcloud ")));
        if !text.is_empty() {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks.push(block);
    blocks.retain(|block| block.contains("ibmcloud "));
    blocks
}

/// The messages of a program that begin with a command: its string literals.
fn messages(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let literals = source.split("\"ibmcloud ").skip(1).map(|rest| {
        let rest = rest.replace("\\\"", "\u{1}");
        let text = rest.split('"').next().unwrap_or_default();
        let lines: Vec<_> = text.split("\\\n").map(str::trim_start).collect();
        format!("ibmcloud {}", lines.concat().replace('\u{1}', "\""))
    });
    literals.collect()
}

/// What a shell says of the syntax of this; nothing is run.
fn syntax(script: &str) -> String {
    let output = Command::new("bash").args(["-n", "-c", script]).output();
    let output = output.unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_line_for_ibmcloud_is_complete_and_uses_what_the_command_has() {
    let problems = |text: &str, told| -> Vec<_> {
        let calls = calls(text).into_iter();
        calls.filter_map(|words| problem(&words, told)).collect()
    };
    let (mut files, mut count) = (Vec::new(), 0);
    for place in "README.md job.yaml scripts docs src terraform".split(' ') {
        texts(&root().join(place), &mut files);
    }
    for (file, text) in files {
        let blocks = match file.extension().and_then(|extension| extension.to_str()) {
            Some("md") => blocks(&text),
            Some("rs") if !file.ends_with("tests.rs") => messages(&text),
            _ => Vec::new(),
        };
        count += calls(&text).len();
        let mut found = problems(&text, false);
        for block in blocks {
            found.extend(problems(&block, true));
            assert_eq!(syntax(&block), "", "{}:\n{block}", file.display());
        }
        assert!(found.is_empty(), "{}: {found:#?}", file.display());
    }
    assert!(count > 200, "only {count} lines were found");
    for planted in [
        "ibmcloud ce job make --name a",
        "run `ibmcloud ce job get --nam a` now",
        "  x=$(ibmcloud iam trusted-profile \"$NAME\" \\\n    --id -q --ouput JSON)",
        "ibmcloud secrets-manager secret-rotate --id 1",
        "ibmcloud secrets-manager secret --id 1",
        "ibmcloud ce jobrun submit --job a --env CHECK=true",
        "ibmcloud ce job get --name \"$(ibmcloud ce job list --quite)\"",
        "ibmcloud ce job get --name \"$(ibmcloud ce job list)\" --quite",
    ] {
        assert_eq!(problems(planted, true).len(), 1, "{planted}");
    }
    let fine = "ibmcloud ce job get --name a | jq -r . && rm -rf b";
    assert!(problems(fine, true).is_empty());
    assert_ne!(syntax("ibmcloud ce job get --name \"a"), "");
}

/// The block at the top of two pages finds the instances, the certificate and the project by their names.
#[test]
fn the_variables_of_the_pages_are_set_once_and_found() {
    let [install, text] = ["install.md", "runbook.md"].map(|page| {
        let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
        let (_, rest) = text.split_once("## Set these once\n").unwrap();
        let (_, rest) = rest.split_once("```sh\n").unwrap();
        rest.split_once("```\n").unwrap().0.to_owned()
    });
    assert_eq!(install, text);
    let here = Here::new();
    let done = here.shell(&text).well();
    let (id, secret) = (&here.world.instance_id, &here.secret);
    let url = format!("https://{id}.eu-de.secrets-manager.appdomain.cloud");
    let events = &here.world.event_notifications_instance_id;
    let found = format!("{url}\n{secret}\n{events}\n");
    assert!(done.stdout.ends_with(&found), "{done}");
}

/// The red lines of a `--check` by the job that setup made, and the command that each gives.
fn red(here: &Here, run: &str) -> Vec<(String, String)> {
    // whether a failed run makes the first command fail is IBM's to say
    let flags = "--env CHECK=true --env OUTPUT=json --wait -q || true";
    let submit = format!("ibmcloud ce jobrun submit --job {JOB} --name {run} {flags}");
    let done = here.shell(&format!("{submit}; ibmcloud ce jobrun logs --jobrun {run}"));
    let lines = done.stdout.lines();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let report = lines.find(|line| line["checks"].is_array());
    let report = report.unwrap_or_else(|| panic!("no report: {done}"));
    let checks = entries(&report["checks"]).iter();
    let red = checks.filter(|check| check["state"] == "red");
    let text = |check: &Value, key| text(check, key).to_owned();
    let red = red.map(|check| (text(check, "check"), text(check, "command")));
    red.collect()
}

/// What a profile loses, and the check that is red then.
#[test]
fn the_command_of_a_red_line_makes_it_green() {
    for name in ["token-file", "profile", "secret", "tls-secret", "replace"] {
        let here = Here::installed();
        assert_eq!(red(&here, "whole"), [], "{name}");
        match name {
            "token-file" => {
                let update = "--trusted-profiles-enabled=false";
                let update = format!("ibmcloud ce job update --name {JOB} {update}");
                drop(here.shell(&update).well());
            }
            "profile" => here.account().profiles[0]["links"] = json!([]),
            // a role that reads and does not update
            "replace" => here.account().profiles[0]["policies"][1]["roles"] = json!(["Reader"]),
            _ => {
                let lost = if name == "secret" { 0 } else { 1 };
                let mut account = here.account();
                let policies = account.profiles[0]["policies"].as_array_mut();
                drop(policies.unwrap().remove(lost));
            }
        }
        here.account().tell();
        let lines = red(&here, "broken");
        let [(line, command)] = lines.as_slice() else { panic!("not one red line: {lines:?}") };
        assert_eq!(line, name);
        here.shell(command).well();
        assert_eq!(red(&here, "fixed"), [], "after {command}");
    }
}
