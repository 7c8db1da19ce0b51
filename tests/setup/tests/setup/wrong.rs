//! Wrong use: named in one go, nothing done.

use std::os::unix::fs::symlink;
use std::path::Path;

use ibmcloud_stand_in::root;

use crate::harness::Here;

const SCRIPTS: [&str; 2] = ["scripts/setup.sh", "scripts/teardown.sh"];

/// Arguments, and what is said of them.
const WRONG: &str = "\
--regoin eu-de = --regoin
--region = --region needs a value
--region Europe --name A --tls-secret _ = --region Europe | --name A | --tls-secret _
--secret-id 99999999-2222-4333-8444-555555555555 = --certificate and --secret-id: use one of them
--group-id default = --group-id needs --secret-id
--schedule daily = --schedule daily
--alert-email nobody = --alert-email nobody
--certificate nothing = no certificate nothing | shop-example-com
--secrets-manager other = Secrets Manager instance other | my-secrets
--event-notifications other = Event Notifications instance other | cert-events
--event-notifications twin = give its id
--project other = Code Engine project other | cert-sync";

#[test]
fn wrong_inputs_are_named_before_anything_is_done() {
    let here = Here::new();
    let mut twin = here.account().instances[1].clone();
    twin["guid"] = "11111111-2222-4333-8444-555555555555".into();
    twin["name"] = "twin".into();
    here.account().instances.extend([twin.clone(), twin]);
    let before = here.everything();
    for (more, named) in WRONG.lines().filter_map(|line| line.split_once(" = ")) {
        let more: Vec<_> = more.split(' ').collect();
        here.setup(&more).ends(2, named);
    }
    let named = "--region is missing | --secrets-manager is missing | --event-notifications is missing | \
                 --project is missing | --tls-secret is missing | SETUP_TLS_SECRET";
    here.script(SCRIPTS[0], &["--yes"]).ends(2, named);
    here.script(SCRIPTS[0], &here.inputs()).ends(2, "nothing was done");
    assert_eq!((before, 0), (here.everything(), here.account().changes));
}

#[test]
fn missing_plug_ins_and_login_are_named_at_once() {
    let here = Here::new();
    here.account().plugins = "code-engine[ce] 1.62.6\nevent-notifications 1.9.12\n";
    here.account().odd = "logged-out";
    let named = "event-notifications 1.9.12 is too old (1.15.2 is needed): ibmcloud plugin update event-notifications | \
                 the plug-in secrets-manager is missing: ibmcloud plugin install secrets-manager | \
                 ibmcloud login -r REGION -g RESOURCE_GROUP";
    for script in SCRIPTS {
        let done = here.script(script, &[]).ends(2, named);
        assert!(!done.stderr.contains("plug-in code-engine"), "{done}");
    }
}

/// A machine that has a shell and nothing else. The scripts need bash 4.4; the shells that come before
/// it must be able to read why they stop: bash 3.2 (played by a bash that says so), and a POSIX shell.
#[test]
fn a_bare_machine_and_an_old_shell_are_told_everything_at_once() {
    let here = Here::new();
    let bare = here.home.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    let found = |tool: &str| {
        let places = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
        let mut places = places.into_iter();
        places.find(|path| path.exists()).unwrap()
    };
    for tool in ["bash", "sh", "dirname", "mktemp", "rm"] {
        symlink(found(tool), bare.join(tool)).unwrap();
    }
    let old_bash = r#"bash -c 'BASH_VERSION="3.2.57(1)-release"; . "$0"'"#;
    // where sh is a current bash, it does not say so
    let sh_is_bash = found("sh").canonicalize().unwrap().ends_with("bash");
    let of_posix = if sh_is_bash { "" } else { "another shell" };
    for (shell, version) in [("bash", ""), (old_bash, "3.2.57(1)-release"), ("sh", of_posix)] {
        for (script, has_openssl) in SCRIPTS.into_iter().zip([true, false]) {
            let line = format!("PATH={} {shell} {}", bare.display(), root().join(script).display());
            let lacks =
                format!("{version} | {script}: ibmcloud is missing | {script}: jq is missing");
            let done = here.shell(&line).ends(2, &lacks);
            assert_eq!(done.stderr.contains("openssl is missing"), has_openssl, "{done}");
            assert_eq!(
                done.stderr.contains("bash 4.4 or newer is missing"),
                !version.is_empty(),
                "{done}"
            );
        }
    }
}

#[test]
fn help_names_every_input() {
    let here = Here::new();
    let names = "--yes | --region | --event-notifications | --job-project | --name | SETUP_REGION";
    for script in SCRIPTS {
        let done = here.script(script, &["--help"]).ends(0, names);
        assert!(done.stdout.lines().all(|line| line.len() <= 80), "{done}");
    }
    assert_eq!(here.account().calls.len(), 0, "help needs no ibmcloud");
}

/// On a terminal, what is missing is asked (choices are listed with numbers), then the plan, then the real run.
#[test]
fn a_terminal_is_asked() {
    let here = Here::new();
    let line = format!("bash {}", root().join(SCRIPTS[0]).display());
    let ask = |answers: &str| {
        let mut command = here.command("script");
        let command = command.args(["-qec", &line, "/dev/null"]);
        here.run(command, &answers.replace(' ', "\n"))
    };
    // an answer that is empty takes the default
    let rest = "shop-tls   icr.io/tools/sm-tls-sync:1.0.0   ";
    let by_name = "eu-de my-secrets shop-example-com cert-events shop cert-sync";
    ask(&format!("{by_name} {rest}n ")).ends(2, "");
    assert_eq!(here.account().changes, 0);
    let choices = "1) my-secrets | 1) shop-example-com | 2) cert-sync";
    ask(&format!("eu-de 1 1 1 1 2 {rest}y y ")).ends(0, choices);
    assert!(here.is_current());
}

/// The stand-in refuses what the real command would not know, or would ask for.
#[test]
fn what_the_command_does_not_have_is_refused() {
    let here = Here::new();
    for (line, why) in [
        ("ce job make --name a", "not a registered command"),
        ("ce job create --nam a", "'--nam' is no flag of"),
        ("ce job create --name", "'--name' needs a value"),
        ("ce job delete --name a", "needs '--force'"),
        ("iam trusted-profile", "takes 1 words"),
    ] {
        here.shell(&format!("ibmcloud {line}")).ends(2, why);
    }
}
