//! Every line with `ibmcloud` in scripts and documents uses commands and flags that exist.

use std::path::{Path, PathBuf};

use ibmcloud_stand_in::table;

use crate::harness::root;

/// The text files that tell people or shells what to type.
fn files() -> Vec<PathBuf> {
    let root = root();
    let mut found = vec![root.join("README.md"), root.join("job.yaml")];
    for folder in ["scripts", "docs", "src"] {
        collect(&root.join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if std::fs::read_to_string(&path).is_ok() {
            into.push(path);
        }
    }
}

/// IBM Cloud Logs is a plug-in of its own, which the table does not hold; what is known of its one
/// command stands in scripts/alerts/README.md.
const ELSEWHERE: &str = "logs";

/// What is wrong with the calls of `ibmcloud` in a text, and how many there are.
fn check(text: &str) -> (usize, Vec<String>) {
    let joined = text.replace("\\\n", " ");
    let (mut count, mut problems) = (0, Vec::new());
    for line in joined.lines() {
        for rest in line.split("ibmcloud ").skip(1) {
            if !rest.starts_with(|c: char| c.is_ascii_lowercase()) {
                continue;
            }
            // a list of programs; a command that comes from elsewhere in the script
            let mut first = rest.split_whitespace();
            if line.trim_start().starts_with("for ")
                || first.next() == Some(ELSEWHERE)
                || first.next() == Some("\"$@\"")
            {
                continue;
            }
            // a call ends where the shell, a quoted line in prose, or Markdown ends it
            let call = ["`", " | ", ";", " && ", " || ", ")", "$("]
                .iter()
                .filter_map(|end| rest.find(end))
                .min()
                .map_or(rest, |end| &rest[..end]);
            let mut words = call
                .split_whitespace()
                .map(|word| word.trim_matches(|c: char| "\"'()[],.:\\".contains(c)))
                .filter(|word| !word.is_empty());
            let plain = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let command: Vec<_> = words
                .clone()
                .take_while(|word| plain(word) && !word.starts_with('-'))
                .collect();
            count += 1;
            match table::command(&command) {
                Err(why) => problems.push(why),
                Ok((name, _)) => {
                    let flags = words
                        .by_ref()
                        .filter(|word| word.starts_with('-') && word.len() > 1);
                    for flag in flags.map(|word| word.split('=').next().unwrap_or(word)) {
                        if !table::has_flag(name, flag) {
                            problems.push(format!("'{flag}' is no flag of '{name}'"));
                        }
                    }
                }
            }
        }
    }
    (count, problems)
}

#[test]
fn every_line_for_ibmcloud_uses_what_the_command_has() {
    let (mut count, mut problems) = (0, Vec::new());
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let (found, wrong) = check(&text);
        count += found;
        problems.extend(
            wrong
                .into_iter()
                .map(|why| format!("{}: {why}", file.display())),
        );
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(count > 60, "only {count} lines were found");
}

#[test]
fn a_planted_mistake_is_found() {
    let planted = [
        "ibmcloud ce job make --name a",
        "run `ibmcloud ce job get --nam a` now",
        "  x=$(ibmcloud iam trusted-profile \"$NAME\" \\\n    --id -q --ouput JSON)",
        "ibmcloud secrets-manager secret-rotate --id 1",
    ];
    for line in planted {
        assert_eq!(check(line).1.len(), 1, "{line}: {:?}", check(line));
    }
    assert_eq!(
        check("ibmcloud ce job get --name a | jq -r . && rm -rf b"),
        (1, Vec::new())
    );
}
