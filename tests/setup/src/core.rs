//! `plugin`, `target`, `resource`.

use serde_json::{Value, json};

use crate::session::{Command, Outcome, Problem, Session, failed, shown_list};
use crate::table::Call;

/// The only resource group of the account.
const GROUP: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "plugin list",
        words: 0,
        required: &[],
        switches: &[],
        changes: false,
        run: |session, _| {
            let head = "Listing installed plug-ins...\n\nPlugin Name   Version   Status   Private endpoints supported\n";
            let rows = session.account.plugins.iter().map(|(name, version)| {
                let alias = if name == "code-engine" { "[ce]" } else { "" };
                format!("{name}{alias}   {version}      true\n")
            });
            Ok(head.to_owned() + &rows.collect::<String>())
        },
    },
    Command {
        name: "target",
        words: 0,
        required: &[],
        switches: &[],
        changes: false,
        run: target,
    },
    Command {
        name: "resource service-instances",
        words: 0,
        required: &[],
        switches: &[],
        changes: false,
        run: instances,
    },
    Command {
        name: "resource service-instance",
        words: 1,
        required: &[],
        switches: &["--crn"],
        changes: false,
        run: |session, call| {
            let location = call.flag("--location");
            let mut all = session.account.instances.iter();
            let found = all.find(|instance| {
                instance.name == call.positionals[0]
                    && location.is_none_or(|location| location == instance.region)
            });
            match found {
                Some(instance) if call.is_on(&["--crn"]) => Ok(format!("{}\n", instance.crn)),
                Some(_) => failed("of an instance only its CRN is shown: --crn"),
                None => Err(Problem::NothingFound("No service instance found.".into())),
            }
        },
    },
];

fn target(session: &mut Session<'_>, call: &Call) -> Outcome {
    if let Some(region) = call.flag("-r") {
        if !["eu-de", "eu-gb", "us-south"].contains(&region) {
            return failed(format!("Could not find region '{region}'."));
        }
        session.state.region = Some(region.to_owned());
    }
    if let Some(group) = call.flag("-g") {
        if group != GROUP {
            return failed(format!("Resource group '{group}' not found."));
        }
        session.state.resource_group = Some(group.to_owned());
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    Ok(format!(
        "API endpoint:     https://cloud.ibm.com\nRegion:           {}\nResource group:   {}\n",
        shown(&session.state.region),
        shown(&session.state.resource_group),
    ))
}

fn instances(session: &mut Session<'_>, call: &Call) -> Outcome {
    if !call.is_on(&["--all-resource-groups"]) && session.state.resource_group.is_none() {
        return failed("No resource group is targeted.");
    }
    let wanted = |flag: &str, is: &str| call.flag(flag).is_none_or(|wanted| wanted == is);
    let found: Vec<Value> = session
        .account
        .instances
        .iter()
        .filter(|i| wanted("--service-name", &i.service) && wanted("--location", &i.region))
        .map(|i| {
            json!({
                "id": i.crn, "guid": i.guid, "crn": i.crn, "name": i.name, "state": "active",
                "region_id": i.region, "resource_group_id": GROUP, "type": "service_instance",
            })
        })
        .collect();
    shown_list(session, call, "json", None, "service instances", found)
}

impl Session<'_> {
    /// The id of the project that commands of Code Engine act on.
    pub(crate) fn project(&self) -> Result<String, Problem> {
        let chosen = self.state.project.clone();
        chosen.ok_or_else(|| Problem::Failed("No Code Engine project was selected.".into()))
    }

    pub(crate) fn instance(&self, service: &str, guid: &str) -> Result<(), Problem> {
        let mut all = self.account.instances.iter();
        if all.any(|i| i.service == service && i.guid == guid) {
            Ok(())
        } else {
            failed(format!("There is no instance {guid} of {service}."))
        }
    }
}
