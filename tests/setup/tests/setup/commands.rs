//! Every line with `ibmcloud` in scripts, documents, messages and the Terraform module uses commands and flags
//! that exist; and the command that `--check` prints for a missing permission fixes that.

use std::path::{Path, PathBuf};
use std::process::Command;

use ibmcloud_stand_in::{JOB, root, table};
use local_cloud::{Action, Policy};
use serde_json::{Value, json};

use crate::harness::{Here, entries};

/// The text files that tell people or shells what to type.
fn collect(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = path.read_dir().unwrap();
        entries.for_each(|entry| collect(&entry.unwrap().path(), into));
    } else if std::fs::read_to_string(path).is_ok() {
        into.push(path.to_owned());
    }
}

/// IBM Cloud Logs is a plug-in of its own, which the table does not hold; what is known of its one
/// command is in scripts/alerts/README.md.
const ELSEWHERE: [&str; 2] = ["logs", "$@"];

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
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for (at, c) in call.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            // the end of a quotation around the whole call
            ('"' | '\'', None) if !call[at + 1..].contains(c) => break,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            ('`' | ';' | '|' | '&' | ')' | '#' | '<' | '>', None) => break,
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The calls of `ibmcloud` in a text, nested ones included.
fn calls(text: &str) -> Vec<Vec<String>> {
    // a quoted quote is that of a message in a program
    let text = text.replace("\\\n", " ").replace("\\\"", "\"");
    let is_call = |line: &&str| !line.trim_start().starts_with("for ");
    let lines = text.lines().filter(is_call);
    let parts = lines.flat_map(|line| unnested(line.to_owned()));
    let calls = parts.flat_map(|part| {
        let rest = part.split("ibmcloud ").skip(1);
        let rest = rest.filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        rest.map(words).collect::<Vec<_>>()
    });
    let is_elsewhere = |words: &Vec<String>| ELSEWHERE.contains(&words[0].as_str());
    calls.filter(|words| !is_elsewhere(words)).collect()
}

/// What is wrong with a call. What people are told to type is complete: a command for Secrets Manager says of
/// which instance, and a run of the job reports as text, which the log shows as it is.
fn problems(words: &[String], told: bool) -> Option<String> {
    let call = match table::parse(words) {
        Ok(call) => call,
        // in prose a sentence goes on after the command
        Err(why) if !told && why.contains("needs a value") => return None,
        Err(why) => return Some(why),
    };
    let needed = match call.command {
        name if name.starts_with("secrets-manager ") => ("--service-url", ""),
        "ce jobrun submit" if call.text("--job").is_empty() => return None,
        "ce jobrun submit" => ("--env", "OUTPUT="),
        _ => return None,
    };
    // `ibmcloud secrets-manager secret` may be the name of a command in a sentence
    let mut values = call.all(needed.0).iter();
    let is_there = values.any(|value| value.starts_with(needed.1));
    (told && !is_there).then(|| format!("{words:?} lacks {} {}", needed.0, needed.1))
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
    let (mut files, mut count) = (Vec::new(), 0);
    for place in "README.md job.yaml scripts docs src terraform".split(' ') {
        collect(&root().join(place), &mut files);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let blocks = match file.extension().and_then(|extension| extension.to_str()) {
            Some("md") => blocks(&text),
            Some("rs") if !file.ends_with("tests.rs") => messages(&text),
            _ => Vec::new(),
        };
        let told = blocks.iter().map(|block| (block.as_str(), true));
        for (text, told) in told.chain([(text.as_str(), false)]) {
            let calls = calls(text);
            count += calls.len();
            let problems = calls.iter().filter_map(|words| problems(words, told));
            let problems: Vec<_> = problems.collect();
            assert!(problems.is_empty(), "{}: {problems:#?}", file.display());
        }
        for block in blocks {
            assert_eq!(syntax(&block), "", "{}:\n{block}", file.display());
        }
    }
    assert!(count > 200, "only {count} lines were found");
    let found = |text: &str| {
        let calls = calls(text).into_iter();
        calls.filter_map(|words| problems(&words, true)).count()
    };
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
        assert_eq!(found(planted), 1, "{planted}");
    }
    let fine = "ibmcloud ce job get --name a | jq -r . && rm -rf b";
    assert_eq!(found(fine), 0);
    assert_ne!(syntax("ibmcloud ce job get --name \"a"), "");
}

/// The block at the top of three pages finds the instances, the certificate and the project by their names.
#[test]
fn the_variables_of_the_pages_are_set_once_and_found() {
    let block = |page: &str| {
        let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
        let (_, rest) = text.split_once("## Set these once\n").unwrap();
        let (_, rest) = rest.split_once("```sh\n").unwrap();
        rest.split_once("```\n").unwrap().0.to_owned()
    };
    let here = Here::new();
    let text = block("install.md");
    for page in ["runbook.md", "reasons.md"] {
        assert_eq!(block(page), text, "{page}");
    }
    let done = here.shell(&text).expect(0);
    let (id, secret) = (&here.world.instance_id, &here.secret);
    let url = format!("https://{id}.eu-de.secrets-manager.appdomain.cloud");
    let events = &here.world.event_notifications_instance_id;
    let found = format!("{url}\n{secret}\n{events}\n");
    assert!(done.stdout.ends_with(&found), "{done}");
}

/// The red lines of a `--check` by the job that setup made, and the command that each gives.
fn red(here: &Here, run: &str) -> Vec<(String, String)> {
    // whether a failed run makes the first command fail is IBM's to say
    let submit =
        format!("submit --job {JOB} --name {run} --env CHECK=true --env OUTPUT=json --wait -q");
    let line =
        format!("ibmcloud ce jobrun {submit} || true; ibmcloud ce jobrun logs --jobrun {run}");
    let done = here.shell(&line).expect(0);
    let mut lines = done
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let report = lines.find(|line| line["checks"].is_array());
    let report = report.unwrap_or_else(|| panic!("no report: {done}"));
    let lines = entries(&report["checks"])
        .iter()
        .filter(|line| line["state"] == "red");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .map(|line| (text(&line["check"]), text(&line["command"])))
        .collect()
}

/// Takes a role from the profile that setup made, in the account and in the cloud: of its policies there, those
/// that pass stay. Without a role, it loses its links.
fn take(here: &Here, role: &str, stays: fn(&Policy) -> bool, instead: Option<Policy>) {
    let mut account = here.account();
    let profile = &mut account.profiles[0];
    let id = profile["id"].as_str().unwrap().to_owned();
    let (mut links, mut held) = here.cloud.profile_access(&id).unwrap();
    profile["policies"]
        .as_array_mut()
        .unwrap()
        .retain(|policy| policy["roles"][0] != role);
    if role.is_empty() {
        profile["links"] = json!([]);
        links.clear();
    }
    held.retain(stays);
    held.extend(instead);
    here.cloud.put_profile(&id, JOB, links, held);
}

#[test]
fn the_command_of_a_red_line_makes_it_green() {
    let of_secrets = |policy: &Policy| matches!(policy, Policy::SecretsManager { .. });
    for name in ["token-file", "profile", "secret", "tls-secret", "replace"] {
        let here = Here::installed();
        assert_eq!(red(&here, "whole"), [], "{name}");
        let project_id = here.world.project_id.clone();
        let actions = vec![Action::ReadProject, Action::ReadEntities];
        let reads = Policy::CodeEngineCustom {
            actions,
            project_id,
        };
        match name {
            "token-file" => {
                let update =
                    "ibmcloud ce job update --name sm-tls-sync --trusted-profiles-enabled=false";
                drop(here.shell(update).expect(0));
            }
            "profile" => take(&here, "", |_| true, None),
            "secret" => take(
                &here,
                "SecretsReader",
                |policy| !matches!(policy, Policy::SecretsManager { .. }),
                None,
            ),
            "tls-secret" => take(&here, "SmTlsSecretUpdater", of_secrets, None),
            _ => take(&here, "SmTlsSecretUpdater", of_secrets, Some(reads)),
        }
        let lines = red(&here, "broken");
        let [(line, command)] = lines.as_slice() else {
            panic!("not one red line: {lines:?}")
        };
        assert_eq!(line, name);
        here.shell(command).expect(0);
        assert_eq!(red(&here, "fixed"), [], "after {command}");
    }
}
