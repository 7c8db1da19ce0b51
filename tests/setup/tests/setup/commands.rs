//! Every line with `ibmcloud` in scripts, documents, messages and the Terraform module uses commands and flags
//! that exist; and the command that `--check` prints for a missing permission fixes that.

use std::path::{Path, PathBuf};

use ibmcloud_stand_in::{JOB, root, table};
use local_cloud::{Action, Policy};
use serde_json::Value;

use crate::harness::Here;

/// The text files that tell people or shells what to type.
fn collect(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_dir() {
        path.read_dir()
            .unwrap()
            .for_each(|entry| collect(&entry.unwrap().path(), into));
    } else if std::fs::read_to_string(path).is_ok() {
        into.push(path.to_owned());
    }
}

/// IBM Cloud Logs is a plug-in of its own, which the table does not hold; what is known of its one
/// command is in scripts/alerts/README.md.
const ELSEWHERE: [&str; 2] = ["logs", "\"$@\""];

/// What is wrong with the calls of `ibmcloud` in a text, and how many there are.
fn check(text: &str) -> (usize, Vec<String>) {
    let (mut count, mut problems) = (0, Vec::new());
    for line in text
        .replace("\\\n", " ")
        .lines()
        .filter(|line| !line.trim_start().starts_with("for "))
    {
        for rest in line
            .split("ibmcloud ")
            .skip(1)
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        {
            // a call ends where the shell, a quoted line in prose, or Markdown ends it
            let ends = ["`", " | ", ";", " && ", " || ", ")", "$("]
                .iter()
                .filter_map(|end| rest.find(end));
            let call = &rest[..ends.min().unwrap_or(rest.len())];
            let words = call
                .split_whitespace()
                .map(|word| word.trim_matches(|c: char| "\"'()[],.:\\".contains(c)));
            let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
            if words.first().is_some_and(|word| ELSEWHERE.contains(word)) {
                continue;
            }
            let plain = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let command: Vec<_> = words.iter().take_while(plain).copied().collect();
            count += 1;
            match table::command(&command) {
                Err(why) => problems.push(why),
                Ok((name, _)) => {
                    let flags = words
                        .iter()
                        .filter(|word| word.starts_with('-') && word.len() > 1);
                    let flags = flags.map(|word| word.split('=').next().unwrap_or(word));
                    let wrong = flags.filter(|flag| !table::has_flag(name, flag));
                    problems.extend(wrong.map(|flag| format!("'{flag}' is no flag of '{name}'")));
                }
            }
        }
    }
    (count, problems)
}

#[test]
fn every_line_for_ibmcloud_uses_what_the_command_has() {
    let (mut files, mut count) = (Vec::new(), 0);
    for place in [
        "README.md",
        "job.yaml",
        "scripts",
        "docs",
        "src",
        "terraform",
    ] {
        collect(&root().join(place), &mut files);
    }
    for file in files {
        let (found, problems) = check(&std::fs::read_to_string(&file).unwrap());
        count += found;
        assert!(problems.is_empty(), "{}: {problems:#?}", file.display());
    }
    assert!(count > 60, "only {count} lines were found");
    for planted in [
        "ibmcloud ce job make --name a",
        "run `ibmcloud ce job get --nam a` now",
        "  x=$(ibmcloud iam trusted-profile \"$NAME\" \\\n    --id -q --ouput JSON)",
        "ibmcloud secrets-manager secret-rotate --id 1",
    ] {
        assert_eq!(check(planted).1.len(), 1, "{planted}: {:?}", check(planted));
    }
    assert_eq!(
        check("ibmcloud ce job get --name a | jq -r . && rm -rf b"),
        (1, Vec::new())
    );
}

/// The red lines of a `--check` by the job that setup made, and the command that each gives.
fn red(here: &Here, run: &str) -> Vec<(String, Option<String>)> {
    // whether a failed run makes the first command fail is IBM's to say
    let submit =
        format!("submit --job {JOB} --name {run} --env CHECK=true --env OUTPUT=json --wait");
    let line =
        format!("ibmcloud ce jobrun {submit} -q || true; ibmcloud ce jobrun logs --jobrun {run}");
    let done = here
        .run(here.command("bash").args(["-euc", &line]), "")
        .expect(0);
    let mut lines = done
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let report = lines
        .find(|line| line["checks"].is_array())
        .unwrap_or_else(|| panic!("no report: {done}"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let lines = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["state"] == "red");
    lines
        .map(|line| (text(&line["check"]).unwrap(), text(&line["command"])))
        .collect()
}

/// Takes rights from the profile that setup made, in the account and in the cloud.
fn take(here: &Here, role: &str, change: impl Fn(&mut Vec<Policy>)) {
    let mut account = here.account();
    let profile = &mut account.profiles[0];
    let id = profile["id"].as_str().unwrap().to_owned();
    let (mut links, mut held) = here.cloud.profile_access(&id).unwrap();
    profile["policies"]
        .as_array_mut()
        .unwrap()
        .retain(|policy| policy["roles"][0] != role);
    if role.is_empty() {
        profile["links"] = Value::Array(Vec::new());
        links.clear();
    }
    change(&mut held);
    here.cloud.put_profile(&id, JOB, links, held);
}

#[test]
fn the_command_of_a_red_line_makes_it_green() {
    let of_secrets = |policy: &Policy| matches!(policy, Policy::SecretsManager { .. });
    type Break<'a> = &'a dyn Fn(&Here);
    let cases: [(&str, Break<'_>); 5] = [
        ("token-file", &|here| {
            let update =
                "ibmcloud ce job update --name sm-tls-sync --trusted-profiles-enabled=false";
            here.run(here.command("bash").args(["-c", update]), "")
                .expect(0);
        }),
        ("profile", &|here| take(here, "", |_| {})),
        ("secret", &|here| {
            take(here, "SecretsReader", |held| {
                held.retain(|policy| !of_secrets(policy))
            })
        }),
        ("tls-secret", &|here| {
            take(here, "SmTlsSecretUpdater", |held| held.retain(of_secrets))
        }),
        ("replace", &|here| {
            take(here, "SmTlsSecretUpdater", |held| {
                held.retain(of_secrets);
                held.push(Policy::CodeEngineCustom {
                    actions: vec![Action::ReadProject, Action::ReadEntities],
                    project_id: here.world.project_id.clone(),
                });
            });
        }),
    ];
    for (name, take_away) in cases {
        let here = Here::installed();
        assert_eq!(red(&here, "whole"), [], "{name}");
        take_away(&here);
        let lines = red(&here, "broken");
        let [(line, Some(command))] = lines.as_slice() else {
            panic!("not one red line with a command: {lines:?}")
        };
        assert_eq!(line, name);
        here.run(here.command("bash").args(["-euc", command]), "")
            .expect(0);
        assert_eq!(red(&here, "fixed"), [], "after {command}");
    }
}
