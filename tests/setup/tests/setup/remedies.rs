//! The command that `--check` prints for a missing permission is one that `ibmcloud` knows, and it fixes
//! that.

use local_cloud::{Action, Policy};
use serde_json::Value;

use crate::harness::{Done, JOB, Site};
use ibmcloud_stand_in::Logs;

/// A red line: its name, and the command that it gives.
type Red = (String, Option<String>);

fn bash(site: &Site, line: &str) -> Done {
    let mut command = site.command("bash");
    command.args(["-euc", line]);
    site.run(command, "")
}

/// The red lines of a `--check` by the job that setup made.
fn check(site: &Site, run: &str) -> Vec<Red> {
    // whether a failed run makes the first command fail is IBM's to say
    let submit = format!("submit --job {JOB} --name {run} --env CHECK=true --wait");
    let line =
        format!("ibmcloud ce jobrun {submit} -q || true; ibmcloud ce jobrun logs --jobrun {run}");
    let done = bash(site, &line).expect(0);
    let report = done
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["checks"].is_array())
        .unwrap_or_else(|| panic!("no report: {done:#?}"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let lines = report["checks"].as_array().unwrap().iter();
    lines
        .filter(|line| line["state"] == "red")
        .map(|line| (text(&line["check"]).unwrap(), text(&line["command"])))
        .collect()
}

/// Takes rights from the profile that setup made, in the account and in the cloud.
fn take(site: &Site, links: bool, role: &str, policies: impl Fn(&mut Vec<Policy>)) {
    let mut state = site.state();
    let profile = &mut state.profiles[0];
    if links {
        profile.links.clear();
    }
    profile.policies.retain(|grant| grant.roles != [role]);
    let id = profile.id.clone();
    state.save(site.home.path());
    let (mut held_links, mut held) = site.cloud.profile_access(&id).unwrap();
    if links {
        held_links.clear();
    }
    policies(&mut held);
    site.cloud.put_profile(&id, JOB, held_links, held);
}

#[test]
fn the_command_of_a_red_line_makes_it_green() {
    let of_secrets = |policy: &Policy| matches!(policy, Policy::SecretsManager { .. });
    type Break<'a> = &'a dyn Fn(&Site);
    let cases: [(&str, Break<'_>); 5] = [
        ("token-file", &|site| {
            let update = "ce job update --name sm-tls-sync --trusted-profiles-enabled=false";
            bash(site, &format!("ibmcloud {update}")).expect(0);
        }),
        ("profile", &|site| take(site, true, "", |_| {})),
        ("secret", &|site| {
            take(site, false, "SecretsReader", |held| {
                held.retain(|policy| !of_secrets(policy));
            });
        }),
        ("tls-secret", &|site| {
            take(site, false, "SmTlsSecretUpdater", |held| {
                held.retain(of_secrets);
            });
        }),
        ("replace", &|site| {
            take(site, false, "SmTlsSecretUpdater", |held| {
                held.retain(of_secrets);
                held.push(Policy::CodeEngineCustom {
                    actions: vec![Action::ReadProject, Action::ReadEntities],
                    project_id: site.world.project_id.clone(),
                });
            });
        }),
    ];
    for (name, take_away) in cases {
        // the command reads an answer with jq alone
        let site = Site::but(|freedom| (freedom.logs, freedom.notices) = (Logs::AtOnce, false));
        site.setup(&[]).expect(0);
        assert_eq!(check(&site, "whole"), [], "{name}");
        take_away(&site);
        let red = check(&site, "broken");
        let [(line, Some(command))] = red.as_slice() else {
            panic!("not one red line with a command: {red:?}")
        };
        assert_eq!(line, name);
        bash(&site, command).expect(0);
        assert_eq!(check(&site, "mended"), [], "after {command}");
    }
}
