//! `iam`: authorizations between services, custom roles, trusted profiles.

use serde_json::{Value, json};

use crate::account::{Authorization, CustomRole, EmptyList, Grant, Profile};
use crate::rest::Door;
use crate::session::{Command, Outcome, Problem, Session, failed, new_id, shown, shown_list};
use crate::table::Call;

/// Actions of Code Engine, and their names in the local cloud.
const ACTIONS: [(&str, &str); 3] = [
    ("codeengine.tenant.read", "ReadProject"),
    ("codeengine.tenant.entities.read", "ReadEntities"),
    ("codeengine.tenant.entities.update", "UpdateEntities"),
];

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "iam authorization-policies",
        words: 0,
        required: &[],
        switches: &[],
        changes: false,
        run: authorizations,
    },
    Command {
        name: "iam authorization-policy-create",
        words: 3,
        required: &[],
        switches: &[],
        changes: true,
        run: authorize,
    },
    Command {
        name: "iam authorization-policy-delete",
        words: 1,
        required: &["--force"],
        switches: &[],
        changes: true,
        run: |session, call| {
            let before = session.state.authorizations.len();
            let id = &call.positionals[0];
            session.state.authorizations.retain(|found| found.id != *id);
            if session.state.authorizations.len() == before {
                return failed(format!("Policy {id} was not found."));
            }
            session.tell_authorization();
            Ok("OK\n".into())
        },
    },
    Command {
        name: "iam roles",
        words: 0,
        required: &["--service"],
        switches: &[],
        changes: false,
        run: roles,
    },
    Command {
        name: "iam role-create",
        words: 1,
        required: &["--display-name", "--service-name", "--actions"],
        switches: &[],
        changes: true,
        run: create_role,
    },
    Command {
        name: "iam trusted-profile",
        words: 1,
        required: &[],
        switches: &["--id"],
        changes: false,
        run: |session, call| {
            let profile = session.profile(&call.positionals[0])?;
            if call.is_on(&["--id"]) {
                return Ok(format!("{}\n", profile.id));
            }
            let shape = json!({
                "id": profile.id, "name": profile.name, "description": profile.description,
                "iam_id": format!("iam-{}", profile.id), "entity_tag": "1-a", "history": [],
            });
            shown(call, "JSON", &shape)
        },
    },
    Command {
        name: "iam trusted-profile-create",
        words: 1,
        required: &["--description"],
        switches: &[],
        changes: true,
        run: |session, call| {
            let name = &call.positionals[0];
            if session.state.profiles.iter().any(|p| p.name == *name) {
                return failed(format!("A trusted profile '{name}' exists already."));
            }
            let profile = Profile {
                id: format!("Profile-{}", new_id()),
                name: name.clone(),
                description: call.flag("--description").unwrap_or_default().to_owned(),
                links: Vec::new(),
                policies: Vec::new(),
            };
            let shape = json!({ "id": profile.id, "name": name });
            session.state.profiles.push(profile);
            session.is_new(name);
            session.tell_profile(name)?;
            shown(call, "JSON", &shape)
        },
    },
    Command {
        name: "iam trusted-profile-delete",
        words: 1,
        required: &["--force"],
        switches: &[],
        changes: true,
        run: |session, call| {
            let id = session.profile(&call.positionals[0])?.id.clone();
            session.state.profiles.retain(|profile| profile.id != id);
            session
                .rest
                .call(Door::Control, "DELETE", &format!("/profiles/{id}"), None)?;
            Ok("OK\n".into())
        },
    },
    Command {
        name: "iam trusted-profile-links",
        words: 1,
        required: &[],
        switches: &["--id"],
        changes: false,
        run: |session, call| {
            let links = session.profile(&call.positionals[0])?.links.clone();
            session.list(call, "links", links)
        },
    },
    Command {
        name: "iam trusted-profile-link-create",
        words: 1,
        required: &["--cr-type", "--link-crn"],
        switches: &[],
        changes: true,
        run: link,
    },
    Command {
        name: "iam trusted-profile-policies",
        words: 1,
        required: &[],
        switches: &[],
        changes: false,
        run: policies,
    },
    Command {
        name: "iam trusted-profile-policy-create",
        words: 1,
        required: &["--roles", "--service-name"],
        switches: &[],
        changes: true,
        run: grant,
    },
];

// --- between services ---

fn authorizations(session: &mut Session<'_>, call: &Call) -> Outcome {
    let v2 = session.account.freedom.policies_v2;
    let attributes = |(service, instance): &(String, String)| {
        let named = [
            ("accountId", "4a1f7c0de2b84935a6c07d51b9e83f24"),
            ("serviceName", service),
            ("serviceInstance", instance),
        ];
        let key = if v2 { "key" } else { "name" };
        json!({ "attributes": named.map(|(name, value)| json!({ key: name, "value": value })) })
    };
    let all = session.state.authorizations.iter().map(|found| {
        let (source, target) = (attributes(&found.source), attributes(&found.target));
        if v2 {
            let roles = found.roles.iter().map(|role| {
                let role = role.replace(' ', "");
                json!({ "role_id": format!("crn:v1:bluemix:public:iam::::role:{role}") })
            });
            return json!({
                "id": found.id,
                "type": "authorization",
                "subject": source,
                "resource": target,
                "control": { "grant": { "roles": roles.collect::<Vec<_>>() } },
            });
        }
        json!({
            "id": found.id,
            "type": "authorization",
            "subjects": [source],
            "resources": [target],
            "roles": display_names(&found.roles),
            "state": "active",
        })
    });
    let all = all.collect();
    shown_list(session, call, "JSON", None, "policies", all)
}

fn authorize(session: &mut Session<'_>, call: &Call) -> Outcome {
    let [source, target, roles] = call.positionals.as_slice() else {
        return failed("three words");
    };
    let instance = |flag: &str| call.flag(flag).unwrap_or_default().to_owned();
    let new = Authorization {
        id: new_id(),
        source: (source.clone(), instance("--source-service-instance-id")),
        target: (target.clone(), instance("--target-service-instance-id")),
        roles: roles.split(',').map(str::to_owned).collect(),
    };
    session.instance(source, &new.source.1)?;
    session.instance(target, &new.target.1)?;
    let known: &[&str] = match (source.as_str(), target.as_str()) {
        ("secrets-manager", "event-notifications") => &["Event Source Manager"],
        ("event-notifications", "codeengine") => &["Viewer", "Writer"],
        _ => &[],
    };
    if let Some(unknown) = new
        .roles
        .iter()
        .find(|role| !known.contains(&role.as_str()))
    {
        return failed(format!(
            "Role '{unknown}' is not supported between these services."
        ));
    }
    let same = |a: &Authorization| a.source == new.source && a.target == new.target;
    if session.state.authorizations.iter().any(same) {
        return failed("status 409: policy_conflict_error: The policy exists already.");
    }
    session.state.authorizations.push(new);
    session.tell_authorization();
    Ok("OK\n".into())
}

impl Session<'_> {
    /// Is there an authorization with all of these roles?
    pub(crate) fn is_authorized(&self, from: &str, to: &str, target: &str, roles: &[&str]) -> bool {
        self.state.authorizations.iter().any(|found| {
            found.source.0 == from
                && found.target == (to.to_owned(), target.to_owned())
                && roles
                    .iter()
                    .all(|role| found.roles.iter().any(|held| held == role))
        })
    }

    fn tell_authorization(&self) {
        let mut all = self.state.authorizations.iter();
        let whole = all.any(|found| {
            found.target.0 == "codeengine"
                && ["Viewer", "Writer"]
                    .iter()
                    .all(|role| found.roles.iter().any(|r| r == role))
        });
        let path = "/event_notifications_authorized";
        self.rest
            .call(Door::Control, "PUT", path, Some(&json!(whole)))
            .expect("control API");
    }

    fn profile(&self, name: &str) -> Result<&Profile, Problem> {
        let found = self
            .state
            .profiles
            .iter()
            .find(|p| p.name == name || p.id == name);
        found.ok_or_else(|| Problem::NothingFound(format!("Trusted profile {name} was not found.")))
    }

    /// Fails while a profile or a role is so new that this command does not know it.
    fn known(&mut self, name: &str) -> Result<(), Problem> {
        match self.state.unknown.get_mut(name) {
            Some(commands) if *commands > 0 => {
                *commands -= 1;
                failed(format!("'{name}' does not exist."))
            }
            _ => Ok(()),
        }
    }

    /// Commands do not know it at once, if the account is slow.
    fn is_new(&mut self, name: &str) {
        if self.account.freedom.slow_access {
            self.state.unknown.insert(name.to_owned(), 2);
        }
    }

    fn profile_mut(&mut self, name: &str) -> Result<&mut Profile, Problem> {
        self.profile(name)?;
        let mut all = self.state.profiles.iter_mut();
        Ok(all
            .find(|p| p.name == name || p.id == name)
            .expect("just found"))
    }

    /// Does to the local cloud what the profile says.
    fn tell_profile(&self, name: &str) -> Result<(), Problem> {
        let profile = self.profile(name)?;
        let links = profile.links.iter().map(|link| link["link"].clone());
        let policies = profile
            .policies
            .iter()
            .filter_map(|grant| self.effect(grant));
        let body = json!({
            "name": profile.name,
            "links": links.collect::<Vec<_>>(),
            "policies": policies.collect::<Vec<_>>(),
        });
        let path = format!("/profiles/{}", profile.id);
        self.rest.call(Door::Control, "PUT", &path, Some(&body))?;
        Ok(())
    }

    /// A policy as the local cloud knows it.
    fn effect(&self, grant: &Grant) -> Option<Value> {
        let attribute = |name: &str| {
            let found = grant.attributes.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| value.as_str())
        };
        let role = grant.roles.first()?;
        let custom = self.state.roles.iter().find(|found| found.name == *role);
        match attribute("serviceName")? {
            "codeengine" if custom.is_some() => {
                let held = |action: &&str| {
                    custom.is_some_and(|role| role.actions.iter().any(|own| own == action))
                };
                let known = ACTIONS.iter().filter(|(action, _)| held(action));
                let actions: Vec<&str> = known.map(|(_, name)| *name).collect();
                Some(json!({ "CodeEngineCustom": {
                    "actions": actions, "project_id": attribute("serviceInstance")?,
                }}))
            }
            _ if custom.is_some() => None,
            "secrets-manager" => Some(json!({ "SecretsManager": {
                "role": role, "secret_group_id": attribute("resource"),
            }})),
            "codeengine" => Some(json!({ "CodeEngine": {
                "role": role, "project_id": attribute("serviceInstance")?,
            }})),
            _ => None,
        }
    }

    /// A list of links or policies, in one of the shapes that it may have.
    fn list(&self, call: &Call, name: &str, all: Vec<Value>) -> Outcome {
        if all.is_empty() && self.account.freedom.empty_lists == EmptyList::NotFound {
            return Err(Problem::NothingFound(format!("No {name} found.")));
        }
        let wrapped = self.account.freedom.wrapped_lists.then_some(name);
        shown_list(self, call, "JSON", wrapped, name, all)
    }
}

fn display_names(roles: &[String]) -> Value {
    let named = roles.iter().map(|role| {
        json!({ "role_id": format!("crn:v1:bluemix:public:iam::::role:{role}"), "display_name": role })
    });
    named.collect()
}

// --- custom roles ---

fn roles(session: &mut Session<'_>, call: &Call) -> Outcome {
    let service = call.flag("--service").unwrap_or_default();
    let custom = session
        .state
        .roles
        .iter()
        .filter(|role| role.service == service);
    let custom = custom.map(|role| {
        json!({ "id": new_id(), "name": role.name, "display_name": role.name, "actions": role.actions })
    });
    let shape = json!({
        "custom_roles": custom.collect::<Vec<_>>(),
        "service_roles": [{ "display_name": "Reader" }, { "display_name": "Writer" }],
        "system_roles": [{ "display_name": "Viewer" }],
    });
    shown(call, "JSON", &shape)
}

fn create_role(session: &mut Session<'_>, call: &Call) -> Outcome {
    let name = &call.positionals[0];
    if !name.starts_with(|c: char| c.is_ascii_uppercase())
        || !name.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return failed(format!(
            "The name {name} must be alphanumeric and capitalized."
        ));
    }
    if session.state.roles.iter().any(|role| role.name == *name) {
        return failed(format!("The role {name} exists already."));
    }
    let text = |flag: &str| call.flag(flag).unwrap_or_default().to_owned();
    session.state.roles.push(CustomRole {
        name: text("--display-name"),
        service: text("--service-name"),
        actions: text("--actions").split(',').map(str::to_owned).collect(),
    });
    session.is_new(name);
    Ok("OK\n".into())
}

// --- trusted profiles ---

fn link(session: &mut Session<'_>, call: &Call) -> Outcome {
    session.known(&call.positionals[0])?;
    let text = |flag: &str| call.flag(flag).unwrap_or_default().to_owned();
    if text("--cr-type") != "CE" {
        return failed("only compute resources of type CE here");
    }
    for needed in ["--link-component-type", "--link-component-name"] {
        if text(needed).is_empty() {
            return failed(format!("{needed} is needed for type CE"));
        }
    }
    let crn = text("--link-crn");
    if !session
        .account
        .instances
        .iter()
        .any(|i| i.service == "codeengine" && i.crn == crn)
    {
        return failed(format!("{crn} is no CRN of a project"));
    }
    let link = json!({
        "id": format!("link-{}", new_id()),
        "name": text("--name"),
        "cr_type": "CE",
        "link": {
            "crn": crn,
            "component_type": text("--link-component-type"),
            "component_name": text("--link-component-name"),
        },
    });
    let name = &call.positionals[0];
    session.profile_mut(name)?.links.push(link);
    session.tell_profile(name)?;
    Ok("OK\n".into())
}

fn policies(session: &mut Session<'_>, call: &Call) -> Outcome {
    let freedom = session.account.freedom;
    let profile = session.profile(&call.positionals[0])?;
    let all = profile.policies.iter().map(|grant| {
        let attributes = grant.attributes.iter();
        if freedom.policies_opaque {
            return json!({ "id": grant.id });
        }
        if freedom.policies_v2 {
            let attributes = attributes.map(
                |(key, value)| json!({ "key": key, "operator": "stringEquals", "value": value }),
            );
            return json!({
                "id": grant.id,
                "type": "access",
                "control": { "grant": { "roles": display_names(&grant.roles) } },
                "resource": { "attributes": attributes.collect::<Vec<_>>() },
            });
        }
        let attributes = attributes.map(|(name, value)| json!({ "name": name, "value": value }));
        json!({
            "id": grant.id,
            "type": "access",
            "roles": display_names(&grant.roles),
            "resources": [{ "attributes": attributes.collect::<Vec<_>>() }],
        })
    });
    let all = all.collect();
    session.list(call, "policies", all)
}

fn grant(session: &mut Session<'_>, call: &Call) -> Outcome {
    let service = call.flag("--service-name").unwrap_or_default();
    let roles: Vec<String> = call
        .flag("--roles")
        .unwrap_or_default()
        .split(',')
        .map(str::to_owned)
        .collect();
    let known: &[&str] = match service {
        "secrets-manager" => &["Reader", "SecretsReader", "Writer", "Manager"],
        "codeengine" => &["Reader", "Writer", "Manager"],
        _ => return failed(format!("There is no service {service}.")),
    };
    session.known(&call.positionals[0])?;
    for role in &roles {
        session.known(role)?;
        let custom = session
            .state
            .roles
            .iter()
            .any(|r| r.name == *role && r.service == service);
        if !custom && !known.contains(&role.as_str()) {
            return failed(format!("There is no role {role} of {service}."));
        }
    }
    let mut attributes = vec![("serviceName".to_owned(), service.to_owned())];
    for (flag, name) in [
        ("--service-instance", "serviceInstance"),
        ("--resource-type", "resourceType"),
        ("--resource", "resource"),
    ] {
        if let Some(value) = call.flag(flag) {
            attributes.push((name.to_owned(), value.to_owned()));
        }
    }
    if let Some(guid) = call.flag("--service-instance") {
        session.instance(service, guid)?;
    }
    let name = &call.positionals[0];
    let profile = session.profile_mut(name)?;
    if profile
        .policies
        .iter()
        .any(|p| p.roles == roles && p.attributes == attributes)
    {
        return failed("status 409: policy_conflict_error: The policy exists already.");
    }
    profile.policies.push(Grant {
        id: new_id(),
        roles,
        attributes,
    });
    session.tell_profile(name)?;
    Ok("OK\n".into())
}
