//! IAM: authorizations, roles, and trusted profiles with their links and policies.

use serde_json::{Value, json};

use crate::account::{Account, entries, text};
use crate::commands::{Outcome, Problem, failed, missing};
use crate::table::Call;

const EXISTS: &str = "status 409: policy_conflict_error: The policy exists already.";

impl Account {
    pub(crate) fn iam(&mut self, call: &Call) -> Outcome {
        let word = call.words.first().map_or("", String::as_str);
        match call.command {
            "iam authorization-policies" => {
                let all = self.authorizations.iter();
                Ok(all.map(shown).collect())
            }
            "iam authorization-policy-create" => {
                let (source, target) = (word, call.words[1].as_str());
                let from = call.text("--source-service-instance-id");
                let to = call.text("--target-service-instance-id");
                self.instance(source, from)?;
                self.instance(target, to)?;
                if self.is_authorized(source, to, &[]) {
                    return failed(EXISTS);
                }
                let roles: Vec<_> = call.words[2].split(',').collect();
                self.authorizations.push(json!({
                    "id": new_id(), "source_service_name": source, "source_service_instance": from,
                    "target_service_name": target, "target_service_instance": to, "roles": roles,
                }));
                Ok(Value::Null)
            }
            "iam authorization-policy-delete" => {
                take(&mut self.authorizations, "id", word)?;
                Ok(Value::Null)
            }
            "iam roles" => {
                let is = |role: &&Value| role["service"] == call.text("--service");
                let custom: Vec<_> = self.roles.iter().filter(is).collect();
                let built_in = json!([{ "display_name": "Writer" }]);
                Ok(json!({ "custom_roles": custom, "service_roles": built_in }))
            }
            "iam role-create" => {
                let mut role = call.body();
                role["name"] = word.into();
                role["actions"] = call.text("--actions").split(',').collect();
                if self.roles.iter().any(|role| role["name"] == word) {
                    return failed(format!("The role {word} exists already."));
                }
                self.roles.push(role);
                Ok(Value::Null)
            }
            "iam trusted-profile-create" => {
                if self.profile(word).is_ok() {
                    return failed(format!("A trusted profile '{word}' exists already."));
                }
                let mut profile = json!({ "name": word, "links": [], "policies": [] });
                profile["id"] = format!("Profile-{}", new_id()).into();
                profile["description"] = call.text("--description").into();
                self.profiles.push(profile.clone());
                Ok(profile)
            }
            "iam trusted-profile" => {
                let profile = self.profile(word)?;
                if call.flag("--id").is_some() {
                    return Ok(format!("{}\n", text(profile, "id")).into());
                }
                let (id, about) = (&profile["id"], &profile["description"]);
                Ok(json!({ "id": id, "name": word, "description": about }))
            }
            "iam trusted-profile-delete" => {
                let profile = take(&mut self.profiles, "name", word)?;
                self.cloud.delete_profile(text(&profile, "id"));
                Ok(Value::Null)
            }
            "iam trusted-profile-links" => {
                let links = entries(&self.profile(word)?["links"]).iter();
                let link = |one: &Value| json!({ "name": one["name"], "link": one });
                Ok(links.map(link).collect())
            }
            "iam trusted-profile-policies" => {
                let policies = entries(&self.profile(word)?["policies"]).iter();
                if self.is("policies-opaque") {
                    return Ok(policies.map(|_| json!({ "id": "b3d1" })).collect());
                }
                Ok(policies.map(shown).collect())
            }
            "iam trusted-profile-link-create" => {
                let crn = call.text("--link-crn");
                if !self.projects().any(|one| one["id"] == crn) {
                    return failed(format!("{crn} is not the CRN of a project"));
                }
                self.add(word, "links", call.body())
            }
            _ => {
                let (service, role) = (call.text("--service-name"), call.text("--roles"));
                self.known(role)?;
                self.instance(service, call.text("--service-instance"))?;
                let mut policy = call.body();
                policy["roles"] = json!([role]);
                self.add(word, "policies", policy)
            }
        }
    }

    /// A link or a policy for a profile.
    fn add(&mut self, profile: &str, list: &str, one: Value) -> Outcome {
        self.known(profile)?;
        let mut all = self.profiles.iter_mut();
        let profile = all.find(|one| one["name"] == profile || one["id"] == profile);
        let profile = profile.ok_or_else(|| missing("profile"))?;
        let list = profile[list].as_array_mut().unwrap();
        if list.contains(&one) {
            return failed(EXISTS);
        }
        list.push(one);
        Ok(Value::Null)
    }

    /// A profile, by name or id.
    fn profile(&self, name: &str) -> Result<&Value, Problem> {
        let is = |one: &&Value| one["name"] == name || one["id"] == name;
        let found = self.profiles.iter().find(is);
        found.ok_or_else(|| missing(name))
    }

    /// Commands do not know a profile or role at once, if the account is slow.
    fn known(&mut self, name: &str) -> Result<(), Problem> {
        let is_slow = self.is("slow-access");
        let asked = self.asked.entry(name.to_owned()).or_default();
        *asked = asked.saturating_add(1);
        if is_slow && *asked <= 2 {
            return failed(format!("'{name}' does not exist."));
        }
        Ok(())
    }

    /// Is there an authorization from this service to this instance with all of these roles?
    pub(crate) fn is_authorized(&self, from: &str, to: &str, roles: &[&str]) -> bool {
        self.authorizations.iter().any(|one| {
            let held = |role: &&str| entries(&one["roles"]).contains(&json!(role));
            let (source, target) = (&one["source_service_name"], &one["target_service_instance"]);
            source == from && target == to && roles.iter().all(held)
        })
    }

    /// May Event Notifications submit runs in this project?
    pub(crate) fn may_submit(&self, project: &str) -> bool {
        self.is_authorized("event-notifications", project, &["Viewer", "Writer"])
    }

    /// Does to the local cloud what the account says.
    pub fn tell(&self) {
        let mut projects = self.projects();
        let may = projects.any(|one| self.may_submit(text(one, "guid")));
        self.cloud.authorize_event_notifications(may);
        for profile in &self.profiles {
            let policies = entries(&profile["policies"]).iter();
            let policies = policies.map(|one| self.policy(one)).collect();
            let policies = serde_json::from_value(policies).unwrap();
            let links = serde_json::from_value(profile["links"].clone()).unwrap();
            let (id, name) = (text(profile, "id"), text(profile, "name"));
            self.cloud.put_profile(id, name, links, policies);
        }
    }

    /// A policy in the words of the local cloud.
    fn policy(&self, policy: &Value) -> Value {
        let (role, project_id) = (&policy["roles"][0], &policy["service_instance"]);
        let custom = self.roles.iter().find(|custom| custom["name"] == *role);
        if let Some(role) = custom {
            json!({ "CodeEngineCustom": { "actions": role["actions"], "project_id": project_id } })
        } else if policy["service_name"] == "codeengine" {
            json!({ "CodeEngine": { "role": role, "project_id": project_id } })
        } else {
            json!({ "SecretsManager": { "role": role, "secret_group_id": policy["resource"] } })
        }
    }
}

/// A policy of a profile, or between two services, as IBM shows it.
fn shown(policy: &Value) -> Value {
    let attributes = |side: &str| -> Value {
        let names = [
            ("service_name", "serviceName"),
            ("service_instance", "serviceInstance"),
            ("resource_type", "resourceType"),
            ("resource", "resource"),
        ];
        let attribute = |(ours, name): &(&str, &str)| {
            let value = policy.get(format!("{side}{ours}"))?;
            Some(json!({ "name": name, "value": value }))
        };
        names.iter().filter_map(attribute).collect()
    };
    let target = policy.get("target_service_name").map_or("", |_| "target_");
    let (subjects, resources) = (attributes("source_"), attributes(target));
    let role = |name: &Value| {
        let id = format!("crn:v1:bluemix:public:iam::::role:{name}");
        json!({ "role_id": id, "display_name": name })
    };
    let roles: Value = entries(&policy["roles"]).iter().map(role).collect();
    json!({
        "id": policy.get("id").map_or("b3d1", |id| id.as_str().unwrap()), "roles": roles,
        "subjects": [{ "attributes": subjects }], "resources": [{ "attributes": resources }],
    })
}

/// Removes the one whose field has this value.
fn take(from: &mut Vec<Value>, field: &str, value: &str) -> Result<Value, Problem> {
    let at = from.iter().position(|one| one[field] == value);
    Ok(from.remove(at.ok_or_else(|| missing(value))?))
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
