//! Wrong use: named in one go, nothing done.

use std::path::Path;

use crate::harness::{Site, assert_same, root};

#[test]
fn wrong_inputs_are_named_before_anything_is_done() {
    let site = Site::new();
    let before = site.everything();
    let id = site.secret.clone();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--regoin", "eu-de"], &["--regoin"]),
        (&["--region"], &["--region needs a value"]),
        (
            &[
                "--region",
                "Europe",
                "--name",
                "No Name",
                "--tls-secret",
                "_",
            ],
            &["--region Europe", "--name No Name", "--tls-secret _"],
        ),
        (
            &["--secret-id", &id],
            &["--certificate and --secret-id: use one of them"],
        ),
        (
            &["--group-id", "default"],
            &["--group-id needs --secret-id"],
        ),
        (&["--schedule", "daily"], &["--schedule daily"]),
        (&["--alert-email", "nobody"], &["--alert-email nobody"]),
        (
            &["--certificate", "nothing"],
            &["no certificate nothing", "shop-example-com"],
        ),
        (
            &["--secrets-manager", "other"],
            &["Secrets Manager instance other", "my-secrets"],
        ),
        (
            &["--event-notifications", "other"],
            &["Event Notifications instance other", "cert-events"],
        ),
        (
            &["--project", "other"],
            &["Code Engine project other", "cert-sync"],
        ),
    ];
    for (more, named) in cases {
        let done = site.setup(more).expect(2);
        for word in *named {
            assert!(
                done.stderr.contains(word),
                "{more:?}: {word}:\n{}",
                done.stderr
            );
        }
    }
    assert_same(&before, &site.everything());
    assert_eq!(site.state().changes, 0);
}

#[test]
fn missing_inputs_are_named_at_once_where_nobody_can_be_asked() {
    let site = Site::new();
    let done = site
        .script(&root().join("scripts/setup.sh"), &["--yes"])
        .expect(2);
    for name in [
        "region",
        "secrets-manager",
        "event-notifications",
        "project",
        "tls-secret",
    ] {
        assert!(
            done.stderr.contains(&format!("--{name} is missing")),
            "{name}:\n{}",
            done.stderr
        );
    }
    assert!(done.stderr.contains("SETUP_TLS_SECRET"), "{}", done.stderr);
    assert!(!done.stderr.contains("--image"), "{}", done.stderr);
    let done = site
        .script(&root().join("scripts/setup.sh"), &site.inputs())
        .expect(2);
    assert!(done.stderr.contains("nothing was done"), "{}", done.stderr);
    assert_eq!(site.state().changes, 0);
}

#[test]
fn two_instances_of_one_name_need_an_id() {
    let site = Site::new();
    site.account(|account| {
        let mut twin = account.instances[1].clone();
        twin.guid = "11111111-2222-4333-8444-555555555555".into();
        account.instances.push(twin);
    });
    let done = site.setup(&[]).expect(2);
    assert!(done.stderr.contains("give its id"), "{}", done.stderr);
    let id = site.world.event_notifications_instance_id.clone();
    site.setup(&["--event-notifications", &id]).expect(0);
}

#[test]
fn missing_plug_ins_and_login_are_named_at_once() {
    let site = Site::new();
    site.account(|account| {
        account.plugins = vec![
            ("code-engine".into(), "1.62.6".into()),
            ("event-notifications".into(), "1.9.12".into()),
        ];
        account.logged_in = false;
    });
    for script in ["scripts/setup.sh", "scripts/teardown.sh"] {
        let done = site.script(&root().join(script), &[]).expect(2);
        for named in [
            "the plug-in event-notifications 1.9.12 is too old (1.15.2 is needed): ibmcloud plugin update event-notifications",
            "the plug-in secrets-manager is missing: ibmcloud plugin install secrets-manager",
            "ibmcloud login -r REGION -g RESOURCE_GROUP",
        ] {
            assert!(done.stderr.contains(named), "{named}:\n{}", done.stderr);
        }
        assert!(
            !done.stderr.contains("plug-in code-engine"),
            "{}",
            done.stderr
        );
    }
}

/// A machine that has a shell and nothing else. The scripts need bash 4.4; the shells that come before
/// it must be able to read why they stop: bash 3.2 (played by a bash that says so), and a POSIX shell.
#[test]
fn a_bare_machine_and_an_old_shell_are_told_everything_at_once() {
    let site = Site::new();
    let bare = site.home.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    let found = |tool: &str| {
        let mut folders = ["/usr/bin", "/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(tool));
        folders.find(|path| path.exists()).unwrap()
    };
    for tool in ["bash", "sh", "dirname", "mktemp", "rm"] {
        std::os::unix::fs::symlink(found(tool), bare.join(tool)).unwrap();
    }
    let old = r#"BASH_VERSION="3.2.57(1)-release"; . "$0""#;
    for script in ["scripts/setup.sh", "scripts/teardown.sh"] {
        let path = root().join(script);
        let path = path.to_str().unwrap();
        let shells: [(&str, &[&str], Option<&str>); 3] = [
            ("bash", &[path, "--plan"], None),
            (
                "bash",
                &["-c", old, path, "--plan"],
                Some("this is 3.2.57(1)-release"),
            ),
            ("sh", &[path, "--plan"], Some("this is another shell")),
        ];
        for (shell, arguments, version) in shells {
            if script.contains("teardown") && version.is_none() {
                // --plan is setup's
                continue;
            }
            let mut command = site.command(shell);
            command.env("PATH", &bare).args(arguments);
            let done = site.run(command, "").expect(2);
            // where sh is a current bash, it says so
            let is_bash = found(shell).canonicalize().unwrap().ends_with("bash");
            if let Some(version) = version.filter(|_| shell != "sh" || !is_bash) {
                let line = format!("bash 4.4 or newer is missing ({version})");
                assert!(done.stderr.contains(&line), "{shell}: {}", done.stderr);
            }
            let tools: &[&str] = if script.contains("setup") {
                &["ibmcloud", "jq", "openssl"]
            } else {
                &["ibmcloud", "jq"]
            };
            for tool in tools {
                let line = format!("{script}: {tool} is missing");
                assert!(done.stderr.contains(&line), "{shell}: {}", done.stderr);
            }
        }
    }
}

#[test]
fn help_names_every_input() {
    let site = Site::new();
    for script in ["scripts/setup.sh", "scripts/teardown.sh"] {
        let done = site.script(&root().join(script), &["--help"]).expect(0);
        for name in [
            "--yes",
            "--region",
            "--event-notifications",
            "--job-project",
            "--name",
            "SETUP_REGION",
        ] {
            assert!(done.stdout.contains(name), "{name}:\n{}", done.stdout);
        }
    }
    assert_eq!(site.calls(), "", "help needs no ibmcloud");
}

/// Answers on a terminal: what is missing is asked, then the plan, then the real run.
#[test]
fn a_terminal_is_asked() {
    let site = Site::new();
    let line = format!("bash {}", root().join("scripts/setup.sh").display());
    let ask = |answers: &[&str]| {
        let mut command = site.command("script");
        command.args(["-qec", &line, "/dev/null"]);
        site.run(command, &(answers.join("\n") + "\n"))
    };
    let inputs = [
        "eu-de",
        "my-secrets",
        "shop-example-com",
        "cert-events",
        "shop",
        "cert-sync",
        "shop-tls",
        "",
        "",
        "icr.io/tools/sm-tls-sync:1.0.0",
        "",
        "",
    ];
    let done = ask(&[&inputs[..], &["n"]].concat());
    assert_eq!(done.status, 2, "{}", done.stdout);
    assert_eq!(site.state().changes, 0);
    let done = ask(&[&inputs[..], &["y", "y"]].concat());
    assert_eq!(done.status, 0, "{}", done.stdout);
    assert!(site.is_current());
}

/// The stand-in notices a flag that the real command would not know.
#[test]
fn a_misspelt_flag_in_a_script_fails() {
    let site = Site::new();
    let copy = site.home.path().join("copy");
    std::fs::create_dir_all(copy.join("scripts/lib")).unwrap();
    let libraries = std::fs::read_dir(root().join("scripts/lib")).unwrap();
    let libraries = libraries.map(|entry| entry.unwrap().path());
    for file in libraries.chain([root().join("scripts/setup.sh")]) {
        let name = file.strip_prefix(root()).unwrap();
        std::fs::copy(&file, copy.join(name)).unwrap();
    }
    let library = copy.join("scripts/lib/access.sh");
    let text = std::fs::read_to_string(&library).unwrap();
    let misspelt = text.replace("--link-component-name", "--link-componentname");
    assert_ne!(text, misspelt);
    std::fs::write(&library, misspelt).unwrap();
    let arguments = [site.inputs().as_slice(), &["--yes"]].concat();
    let done = site
        .script(&copy.join("scripts/setup.sh"), &arguments)
        .expect(1);
    assert!(
        done.stderr.contains("'--link-componentname' is no flag of"),
        "{}",
        done.stderr
    );
}
