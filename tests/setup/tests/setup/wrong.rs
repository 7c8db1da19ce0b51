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
            &["--certificate and --secret-id: give one"],
        ),
        (
            &["--group-id", "default"],
            &["--group-id goes with --secret-id"],
        ),
        (&["--schedule", "daily"], &["--schedule daily"]),
        (&["--alert-email", "nobody"], &["--alert-email nobody"]),
        (
            &["--certificate", "nothing"],
            &["there is no certificate nothing", "shop-example-com"],
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
    assert!(
        done.stderr.contains("give the id of one"),
        "{}",
        done.stderr
    );
    let id = site.world.event_notifications_instance_id.clone();
    site.setup(&["--event-notifications", &id]).expect(0);
}

#[test]
fn missing_plug_ins_and_login_are_named_at_once() {
    let site = Site::new();
    site.account(|account| {
        account.plugins = vec!["code-engine".into()];
        account.logged_in = false;
    });
    for script in ["scripts/setup.sh", "scripts/teardown.sh"] {
        let done = site.script(&root().join(script), &[]).expect(2);
        for named in [
            "plug-in event-notifications is missing: ibmcloud plugin install event-notifications",
            "plug-in secrets-manager is missing",
            "ibmcloud login",
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

#[test]
fn missing_programs_are_named_at_once() {
    let site = Site::new();
    let bare = site.home.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    for tool in ["bash", "dirname", "mktemp", "rm", "grep", "cat"] {
        let found = ["/usr/bin", "/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(tool))
            .find(|path| path.exists());
        std::os::unix::fs::symlink(found.unwrap(), bare.join(tool)).unwrap();
    }
    let mut command = site.command("bash");
    command
        .env("PATH", &bare)
        .arg(root().join("scripts/setup.sh"));
    let done = site.run(command, "").expect(2);
    for tool in ["ibmcloud", "jq", "openssl"] {
        assert!(
            done.stderr.contains(&format!("{tool} is missing")),
            "{}",
            done.stderr
        );
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
    assert!(
        done.stdout.contains(r#""action":"replaced""#),
        "{}",
        done.stdout
    );
}

/// The stand-in notices a flag that the real command would not know.
#[test]
fn a_misspelt_flag_in_a_script_fails() {
    let site = Site::new();
    let copy = site.home.path().join("copy");
    std::fs::create_dir_all(copy.join("scripts/lib")).unwrap();
    for file in [
        "scripts/setup.sh",
        "scripts/lib/common.sh",
        "scripts/lib/access.sh",
        "scripts/lib/events.sh",
        "scripts/lib/job.sh",
    ] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        std::fs::write(copy.join(file), text).unwrap();
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
