use std::process::Command;

use sm_tls_sync::config::VARIABLES;
use sm_tls_sync::error::{ExitStatus, Reason};

fn file(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_readmes_table_of_variables_is_the_programs() {
    let readme = file("README.md");
    let rows: Vec<String> = VARIABLES
        .iter()
        .map(|v| format!("| `{}` | {} | {} |", v.name, v.meaning, v.default))
        .collect();
    let table = rows.join("\n");
    assert!(readme.contains(&table), "README.md should hold:\n{table}");
    for variable in VARIABLES {
        for alias in variable.aliases {
            assert!(
                readme.contains(&format!("`{alias}` (now `{}`)", variable.name)),
                "{alias}"
            );
        }
    }
}

#[test]
fn the_readmes_exit_statuses_are_the_programs() {
    let readme = file("README.md");
    for (kind, meaning) in ExitStatus::ALL {
        let row = format!("| {} | {meaning} |", kind.status());
        assert!(readme.contains(&row), "README.md should hold:\n{row}");
    }
}

#[test]
fn every_reason_has_a_heading_in_the_readme_and_every_heading_a_reason() {
    let readme = file("README.md");
    let headings: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("#### `")?.strip_suffix('`'))
        .collect();
    let words: Vec<&str> = Reason::ALL
        .iter()
        .map(|(reason, _)| reason.word())
        .collect();
    assert_eq!(headings, words);
}

/// Blocking by design: an async runtime would be the larger half of the binary. One TLS provider:
/// with two compiled in, rustls chooses none.
#[test]
fn the_job_links_no_async_runtime_and_one_tls_provider() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "-e",
            "normal",
            "-p",
            "sm-tls-sync",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("ureq v"), "{tree}");
    for unwanted in [
        "tokio",
        "hyper",
        "axum",
        "async-std",
        "ring",
        "openssl",
        "native-tls",
    ] {
        let linked = tree
            .lines()
            .any(|line| line.starts_with(&format!("{unwanted} ")));
        assert!(!linked, "{unwanted} in\n{tree}");
    }
}

/// The smallest size, and time for every attempt.
#[test]
fn job_yaml_gives_each_attempt_its_deadline() {
    let yaml = file("job.yaml");
    let number = |key: &str| -> u64 {
        let line = yaml
            .lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .unwrap();
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
        assert!(known, "{name} is no variable of the job");
    }
}
