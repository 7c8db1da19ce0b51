use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sm_tls_sync::config::VARIABLES;
use sm_tls_sync::error::{ExitStatus, Reason};

use crate::harness::PROGRAM;

fn file(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `UPDATE_DOCS=1 cargo test --test job papers` rewrites the table.
#[test]
#[expect(clippy::disallowed_methods, reason = "a person asks for the new text this way")]
fn the_table_of_variables_in_the_docs_is_the_programs() {
    const BEGIN: &str = "<!-- begin variables: UPDATE_DOCS=1 cargo test --test job papers -->\n";
    const END: &str = "<!-- end variables -->";
    let docs = file("docs/configuration.md");
    let (before, rest) = docs.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let mut wanted = "| variable | meaning | default |\n|---|---|---|\n".to_owned();
    for v in VARIABLES {
        wanted += &format!("| `{}` | {} | {} |\n", v.name, v.meaning, v.default);
    }
    wanted += "\n| deprecated | use |\n|---|---|\n";
    for v in VARIABLES {
        let deprecated = v.older.iter().filter(|o| !o.eq_ignore_ascii_case(v.name));
        for older in deprecated {
            wanted += &format!("| `{older}` | `{}` |\n", v.name);
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert!(table == wanted, "docs/configuration.md should contain:\n{wanted}");
}

#[test]
fn names_of_variables_are_unique_and_the_help_explains_each() {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    // lines are wrapped
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let all = words(&help);
    let mut names = BTreeSet::new();
    for variable in VARIABLES {
        assert!(help.contains(&format!("\n  {}\n      ", variable.name)));
        assert!(all.contains(&words(variable.meaning)), "{}", variable.name);
        for name in variable.older.iter().chain([&variable.name]) {
            assert!(names.insert(*name), "{name} is there twice");
            assert!(help.contains(*name), "{name}");
        }
    }
    for (status, meaning) in ExitStatus::MEANINGS.iter().enumerate() {
        assert!(all.contains(&words(&format!("{status} {meaning}"))), "{status}");
    }
    // what cannot be broken, such as a URL, may be longer
    let long = |line: &&str| line.chars().count() > 80 && line.trim().contains(' ');
    assert_eq!(help.lines().find(long), None);
}

#[test]
fn the_exit_statuses_in_the_runbook_are_the_programs() {
    let runbook = file("docs/runbook.md");
    for (status, meaning) in ExitStatus::MEANINGS.iter().enumerate() {
        let row = format!("| {status} | {meaning} |");
        assert!(runbook.contains(&row), "docs/runbook.md should contain:\n{row}");
    }
}

#[test]
fn every_reason_has_a_heading_and_an_entry_in_the_docs_and_nothing_else_has() {
    let reasons = file("docs/reasons.md");
    let headings: BTreeSet<&str> =
        reasons.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`')).collect();
    let words: BTreeSet<&str> = Reason::ALL.iter().map(|(reason, _)| reason.word()).collect();
    assert_eq!(headings, words);
    // the table at the top of the page
    let rows = reasons.lines().filter(|line| line.starts_with("| "));
    let links = rows.flat_map(|row| row.split('[').skip(1));
    let mut entries: Vec<&str> =
        links.map(|link| link.split_once(')').unwrap_or_default().0).collect();
    entries.sort_unstable();
    let once: Vec<String> = words.iter().map(|word| format!("{word}](#{word}")).collect();
    assert_eq!(entries, once);
}

/// The pages of the repository: `.md` in these folders.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = root.join("tests").read_dir().unwrap();
    let mut folders: Vec<PathBuf> = tests.map(|entry| entry.unwrap().path()).collect();
    folders.extend(["", "docs", "scripts/alerts", "terraform"].map(|folder| root.join(folder)));
    let files = folders.iter().filter(|folder| folder.is_dir());
    let files = files.flat_map(|folder| folder.read_dir().unwrap());
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The text without blocks of code.
fn prose(text: &str) -> Vec<&str> {
    let mut in_fence = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_fence ^= fence;
        !in_fence && !fence && !line.starts_with("    ")
    });
    lines.collect()
}

/// The anchors of a page: its headings, in lower case, with hyphens for spaces and without
/// punctuation.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let headings = prose(&text).into_iter().filter_map(|line| {
        let heading = line.trim_start_matches('#').strip_prefix(' ')?;
        line.starts_with('#').then_some(heading.trim())
    });
    headings
        .map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        })
        .collect()
}

/// Markdown's links, and the pictures in HTML.
fn links(text: &str) -> Vec<String> {
    let text = prose(text).join(" ");
    let mut found = Vec::new();
    for (open, close) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
        let rest = text.split(open).skip(1);
        found.extend(rest.filter_map(|rest| Some(rest.split_once(close)?.0.to_owned())));
    }
    found
}

#[test]
fn the_readme_is_short() {
    assert!(file("README.md").lines().count() <= 150);
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let (mut count, mut broken) = (0, Vec::new());
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let there = file.exists()
                && (anchor.is_empty() || file.is_file() && anchors(&file).contains(anchor));
            if !there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(count > 150, "only {count} links were found");
}

/// Blocking by design: an async runtime would be the larger half of the binary. One TLS provider:
/// with two compiled in, rustls chooses none.
#[test]
fn the_job_links_no_async_runtime_and_one_tls_provider() {
    let arguments = "tree --offline -e normal -p sm-tls-sync --prefix none";
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments.split(' '));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let tree = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(tree.contains("ureq v"), "{tree}");
    let linked: BTreeSet<&str> = tree.lines().filter_map(|l| l.split(' ').next()).collect();
    let unwanted = "tokio hyper axum async-std ring openssl native-tls";
    let found = unwanted.split(' ').find(|name| linked.contains(name));
    assert_eq!(found, None, "{tree}");
}

/// The smallest size, and enough time for every attempt.
#[test]
fn job_yaml_gives_each_attempt_its_deadline() {
    let yaml = file("job.yaml");
    let number = |key: &str| -> u64 {
        let line = yaml.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        line.trim().parse().unwrap()
    };
    let (retries, seconds) = (number("retryLimit:"), number("maxExecutionTime:"));
    assert_eq!(retries, 2);
    assert!(seconds >= (retries + 1) * sm_tls_sync::config::DEADLINE + 60);
    assert!(yaml.contains("limits: { cpu: 125m, memory: 250M, ephemeral-storage: 400M }"));
    let data = yaml.split("\ndata:\n").nth(1).unwrap();
    let data = data.split("\n---").next().unwrap();
    let names = data.lines().filter_map(|line| line.trim().split_once(": "));
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    assert!(names.contains(&"SECRETS_MANAGER_URL"), "{names:?}");
    for name in names {
        let known = VARIABLES.iter().any(|variable| variable.name == name);
        assert!(known, "{name} is not a variable of the job");
    }
}
