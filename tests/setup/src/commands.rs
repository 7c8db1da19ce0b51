//! What each command needs, how it answers, and the commands of the account itself: instances and IAM.

use local_cloud::Policy;
use serde_json::{Value, json};

use crate::account::{Account, Instance};
use crate::table::{self, Call};

/// Why a command failed.
pub(crate) enum Problem {
    /// As the real one fails.
    Failed(String),
    /// It looked for something that is not there.
    NothingFound(String),
    /// It did its work, and something else went wrong: output and why.
    Ended(String, String),
}

pub(crate) type Outcome = Result<String, Problem>;

pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Failed(why.into()))
}

impl From<(u16, String)> for Problem {
    fn from((status, text): (u16, String)) -> Self {
        let why = format!("status {status}: {text}");
        if status == 404 {
            Self::NothingFound(why)
        } else {
            Self::Failed(why)
        }
    }
}

/// The commands of the stand-in, the number of words that each takes, and the flags that it needs. Those with
/// a `!` change something.
const COMMANDS: &str = "
plugin list 0|target 0|resource service-instances 0|resource service-instance 1
iam authorization-policies 0|!iam authorization-policy-create 3|!iam authorization-policy-delete 1 --force
iam roles 0 --service|!iam role-create 1 --display-name --service-name --actions
iam trusted-profile 1|!iam trusted-profile-create 1 --description|!iam trusted-profile-delete 1 --force
iam trusted-profile-links 1|!iam trusted-profile-link-create 1 --cr-type --link-crn --link-component-type --link-component-name
iam trusted-profile-policies 1|!iam trusted-profile-policy-create 1 --roles --service-name
secrets-manager secrets 0|secrets-manager secret-metadata 0 --id|secrets-manager notifications-registration 0
!secrets-manager notifications-registration-create 0 --event-notifications-instance-crn --event-notifications-source-name
event-notifications sources 0 --instance-id|event-notifications topics 0 --instance-id
event-notifications destinations 0 --instance-id|event-notifications subscriptions 0 --instance-id
event-notifications topic 0 --instance-id --id|event-notifications destination 0 --instance-id --id
!event-notifications topic-create 0 --instance-id --name|!event-notifications destination-create 0 --instance-id --name --type
!event-notifications subscription-create 0 --instance-id --name --topic-id --destination-id
!event-notifications topic-delete 0 --instance-id --id --force|!event-notifications destination-delete 0 --instance-id --id --force
!event-notifications subscription-delete 0 --instance-id --id --force
ce project select 0|ce secret list 0|!ce secret create 0 --name --format --cert-chain-file --private-key-file
ce configmap get 0 --name|ce configmap list 0|!ce configmap create 0 --name|!ce configmap update 0 --name
!ce configmap delete 0 --name --force|ce job get 0 --name|ce job list 0|!ce job create 0 --name
!ce job update 0 --name|!ce job delete 0 --name --force|!ce subscription cron create 0 --name --destination
ce subscription cron get 0 --name|ce subscription cron list 0|!ce subscription cron delete 0 --name --force
!ce jobrun submit 0 --job|ce jobrun get 0 --name|ce jobrun logs 0 --jobrun|ce buildrun logs 0 --buildrun
";

/// Words and required flags of a command, and whether it changes something.
fn needs(command: &str) -> Option<(usize, Vec<&'static str>, bool)> {
    COMMANDS.split(['\n', '|']).find_map(|row| {
        let (changes, row) = row
            .strip_prefix('!')
            .map_or((false, row), |row| (true, row));
        let mut rest = row.strip_prefix(command)?.strip_prefix(' ')?.split(' ');
        Some((rest.next()?.parse().ok()?, rest.collect(), changes))
    })
}

impl Account {
    /// Does one command: standard output, standard error, exit status. `variable` is its environment.
    pub(crate) fn answer(
        &mut self,
        arguments: &[String],
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> (String, String, u8) {
        let (mut stdout, why, status) = self.perform(arguments, variable);
        if self.is("notices") {
            stdout = format!(
                "A new version is available [2.40.0].\n\n{stdout}\nTIP: {{see the documentation}}\n"
            );
        }
        self.calls.push((arguments.to_vec(), status));
        let stderr = if status == 0 {
            String::new()
        } else {
            format!("FAILED\n{why}\n")
        };
        (stdout, stderr, status)
    }

    fn perform(
        &mut self,
        arguments: &[String],
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> (String, String, u8) {
        let refused = |status, why: String| (String::new(), why, status);
        let call = match table::parse(arguments) {
            Ok(call) => call,
            Err(why) => return refused(2, why),
        };
        let Some((words, flags, changes)) = needs(call.command) else {
            return refused(70, format!("the stand-in does not do '{}'", call.command));
        };
        if call.words.len() != words {
            return refused(
                2,
                format!(
                    "Incorrect usage: '{}' takes {words} words: {:?}",
                    call.command, call.words
                ),
            );
        }
        if let Some(flag) = flags.iter().find(|flag| call.text(flag).is_empty()) {
            return refused(
                2,
                format!("Incorrect usage: '{}' needs '{flag}'", call.command),
            );
        }
        if !self.logged_in && call.command != "plugin list" {
            return refused(1, "Not logged in. Use 'ibmcloud login' to log in.".into());
        }
        self.changes += u64::from(changes);
        let failure = self
            .failure
            .filter(|failure| changes && self.changes >= failure.at);
        if failure.is_some_and(|failure| !failure.done || self.changes > failure.at) {
            return refused(1, "Server error: 503 Service Unavailable".into());
        }
        let outcome = match call.command.split(' ').next() {
            Some("iam") => self.iam(&call),
            Some("secrets-manager") => self.secrets_manager(&call, variable("SECRETS_MANAGER_URL")),
            Some("event-notifications") => {
                self.event_notifications(&call, variable("IBMCLOUD_EN_ENDPOINT"))
            }
            Some("ce") => self.code_engine(&call),
            _ => self.core(&call),
        };
        match outcome {
            _ if failure.is_some() => {
                refused(1, "unexpected EOF: the connection was closed".into())
            }
            Ok(stdout) => (stdout, String::new(), 0),
            Err(Problem::NothingFound(_)) if self.is("nothing-found-is-empty") => {
                (String::new(), String::new(), 0)
            }
            Err(Problem::NothingFound(why) | Problem::Failed(why)) => refused(1, why),
            Err(Problem::Ended(stdout, why)) => (stdout, why, 1),
        }
    }

    /// A list as JSON, inside of an object with this name if that is given.
    pub(crate) fn shown_list(&self, call: &Call, name: Option<&str>, all: Vec<Value>) -> Outcome {
        let list = match all.is_empty() {
            true if self.is("empty-sentence") => {
                return Ok("Nothing found in [my account].\n".into());
            }
            true if self.is("empty-null") => Value::Null,
            _ => Value::Array(all),
        };
        shown(
            call,
            &name.map_or_else(|| list.clone(), |name| json!({ "first": {}, name: list })),
        )
    }

    pub(crate) fn instance(&self, service: &str, guid: &str) -> Result<&Instance, Problem> {
        let found = self
            .instances
            .iter()
            .find(|one| one.service == service && one.guid == guid);
        found.ok_or_else(|| Problem::Failed(format!("There is no instance {guid} of {service}.")))
    }

    // --- the command itself, instances ---

    fn core(&mut self, call: &Call) -> Outcome {
        match call.command {
            "plugin list" => {
                let row = |(name, version): &(&str, &str)| {
                    format!(
                        "{name}{}   {version}      true\n",
                        if *name == "code-engine" { "[ce]" } else { "" }
                    )
                };
                Ok("Plugin Name   Version   Status\n".to_owned()
                    + &self.plugins.iter().map(row).collect::<String>())
            }
            "target" => {
                let groups = format!("default {GROUP}");
                for (flag, known) in [("-r", "eu-de eu-gb us-south"), ("-g", &groups)] {
                    let Some(value) = call.flag(flag) else {
                        continue;
                    };
                    if !known.split(' ').any(|one| one == value) {
                        return failed(format!("'{value}' was not found."));
                    }
                    self.target.insert(flag, value.to_owned());
                }
                Ok(format!(
                    "API endpoint:   https://cloud.ibm.com\n{:?}\n",
                    self.target
                ))
            }
            "resource service-instance" => {
                let place = call.flag("--location");
                let is = |one: &&Instance| {
                    one.name == call.words[0] && place.is_none_or(|place| place == one.region)
                };
                let found = self.instances.iter().find(is);
                let found = found
                    .ok_or_else(|| Problem::NothingFound("No service instance found.".into()))?;
                Ok(format!("{}\n", found.crn))
            }
            _ => {
                if !call.is_on("--all-resource-groups") {
                    return failed("No resource group is targeted.");
                }
                let is = |one: &&Instance| {
                    call.flag("--service-name")
                        .is_none_or(|wanted| wanted == one.service)
                };
                let found = self.instances.iter().filter(is).map(|one| {
                    json!({ "id": one.crn, "guid": one.guid, "name": one.name, "resource_group_id": GROUP })
                });
                self.shown_list(call, None, found.collect())
            }
        }
    }

    // --- IAM ---

    fn iam(&mut self, call: &Call) -> Outcome {
        let (word, text) = (
            call.words.first().map_or("", String::as_str),
            |flag: &str| call.text(flag).to_owned(),
        );
        match call.command {
            "iam authorization-policies" => {
                let all = self
                    .authorizations
                    .iter()
                    .map(|one| self.authorization(one))
                    .collect();
                self.shown_list(call, None, all)
            }
            "iam authorization-policy-create" => {
                let [source, target, roles] = call.words.as_slice() else {
                    return failed("three words");
                };
                let [from, to] =
                    ["source", "target"].map(|side| text(&format!("--{side}-service-instance-id")));
                self.instance(source, &from)?;
                self.instance(target, &to)?;
                let known = match (source.as_str(), target.as_str()) {
                    ("secrets-manager", "event-notifications") => "Event Source Manager",
                    ("event-notifications", "codeengine") => "Viewer,Writer",
                    _ => "",
                };
                let roles: Vec<&str> = roles.split(',').collect();
                if !roles
                    .iter()
                    .all(|role| known.split(',').any(|one| one == *role))
                {
                    return failed(format!(
                        "One of {roles:?} is not supported between these services."
                    ));
                }
                if self.is_authorized(source, &to, &[]) {
                    return failed("status 409: policy_conflict_error: The policy exists already.");
                }
                self.authorizations.push(json!({
                    "id": new_id(), "source_service": source, "source_instance": from,
                    "target_service": target, "target_instance": to, "roles": roles,
                }));
                self.tell_authorization()
            }
            "iam authorization-policy-delete" => {
                take(&mut self.authorizations, "id", word)?;
                self.tell_authorization()
            }
            "iam roles" => {
                let of_service = |role: &&Value| role["service"] == call.text("--service");
                let custom: Vec<_> = self.roles.iter().filter(of_service).collect();
                shown(
                    call,
                    &json!({ "custom_roles": custom, "service_roles": [{ "display_name": "Writer" }] }),
                )
            }
            "iam role-create" => {
                if self.roles.iter().any(|role| role["name"] == word) {
                    return failed(format!("The role {word} exists already."));
                }
                self.roles.push(json!({
                    "name": word, "display_name": text("--display-name"), "service": text("--service-name"),
                    "actions": call.text("--actions").split(',').collect::<Vec<_>>(),
                }));
                self.is_new(word)
            }
            "iam trusted-profile-create" => {
                if self.profile(word).is_ok() {
                    return failed(format!("A trusted profile '{word}' exists already."));
                }
                let id = format!("Profile-{}", new_id());
                let answer = shown(call, &json!({ "id": id, "name": word }));
                self.profiles.push(json!({
                    "id": id, "name": word, "description": text("--description"), "links": [], "policies": [],
                }));
                self.is_new(word)?;
                self.tell_profile(word)?;
                answer
            }
            "iam trusted-profile" => {
                let mut profile = self.profile(word)?.clone();
                if call.is_on("--id") {
                    return Ok(format!("{}\n", profile["id"].as_str().unwrap()));
                }
                profile
                    .as_object_mut()
                    .unwrap()
                    .retain(|key, _| !["links", "policies"].contains(&key.as_str()));
                shown(call, &profile)
            }
            "iam trusted-profile-delete" => {
                let profile = take(&mut self.profiles, "name", word)?;
                self.cloud.delete_profile(profile["id"].as_str().unwrap());
                Ok("OK\n".into())
            }
            "iam trusted-profile-links" => {
                let links = entries(&self.profile(word)?["links"]).iter();
                self.of_profile(
                    call,
                    "links",
                    links
                        .map(|one| json!({ "name": one["name"], "link": one }))
                        .collect(),
                )
            }
            "iam trusted-profile-policies" => {
                let policies = entries(&self.profile(word)?["policies"]);
                self.of_profile(
                    call,
                    "policies",
                    policies.iter().map(|one| self.policy(one)).collect(),
                )
            }
            "iam trusted-profile-link-create" => {
                self.known(word)?;
                let crn = text("--link-crn");
                if text("--cr-type") != "CE" || !self.instances.iter().any(|one| one.crn == crn) {
                    return failed(format!("{crn} is not the CRN of a project"));
                }
                self.add(word, "links", json!({
                    "name": text("--name"), "cr_type": "CE", "crn": crn,
                    "component_type": text("--link-component-type"), "component_name": text("--link-component-name"),
                }))
            }
            _ => {
                let (service, role) = (text("--service-name"), text("--roles"));
                self.known(word)?;
                self.known(&role)?;
                let known = match service.as_str() {
                    "secrets-manager" => "Reader SecretsReader Writer Manager",
                    _ => "Reader Writer Manager",
                };
                let is = |custom: &Value| custom["name"] == *role && custom["service"] == *service;
                if !known.split(' ').any(|one| one == role) && !self.roles.iter().any(is) {
                    return failed(format!("There is no role {role} of {service}."));
                }
                self.instance(&service, call.text("--service-instance"))?;
                let mut policy = json!({ "roles": [role], "service": service, "instance": text("--service-instance") });
                for (flag, key) in [
                    ("--resource-type", "resource_type"),
                    ("--resource", "resource"),
                ] {
                    call.flag(flag)
                        .into_iter()
                        .for_each(|value| policy[key] = value.into());
                }
                if entries(&self.profile(word)?["policies"]).contains(&policy) {
                    return failed("status 409: policy_conflict_error: The policy exists already.");
                }
                self.add(word, "policies", policy)
            }
        }
    }

    fn add(&mut self, profile: &str, list: &str, one: Value) -> Outcome {
        self.profile(profile)?;
        let found = self
            .profiles
            .iter_mut()
            .find(|found| found["name"] == profile || found["id"] == profile)
            .unwrap();
        found[list].as_array_mut().unwrap().push(one);
        self.tell_profile(profile)
    }

    fn profile(&self, name: &str) -> Result<&Value, Problem> {
        let found = self
            .profiles
            .iter()
            .find(|one| one["name"] == name || one["id"] == name);
        found.ok_or_else(|| Problem::NothingFound(format!("Trusted profile {name} was not found.")))
    }

    /// Commands do not know a new profile or role at once, if the account is slow.
    fn is_new(&mut self, name: &str) -> Outcome {
        self.unknown
            .insert(name.to_owned(), if self.is("slow-access") { 2 } else { 0 });
        Ok("OK\n".into())
    }

    fn known(&mut self, name: &str) -> Result<(), Problem> {
        match self.unknown.get_mut(name) {
            Some(commands) if *commands > 0 => {
                *commands -= 1;
                failed(format!("'{name}' does not exist."))
            }
            _ => Ok(()),
        }
    }

    /// Is there an authorization from this service to this instance with all of these roles?
    pub(crate) fn is_authorized(&self, from: &str, to: &str, roles: &[&str]) -> bool {
        self.authorizations.iter().any(|one| {
            let held = entries(&one["roles"]);
            one["source_service"] == from
                && one["target_instance"] == to
                && roles.iter().all(|role| held.contains(&json!(role)))
        })
    }

    fn tell_authorization(&self) -> Outcome {
        let mut projects = self
            .instances
            .iter()
            .filter(|one| one.service == "codeengine");
        let is_whole = |project: &Instance| {
            self.is_authorized("event-notifications", &project.guid, &["Viewer", "Writer"])
        };
        self.cloud
            .authorize_event_notifications(projects.any(is_whole));
        Ok("OK\n".into())
    }

    /// Does to the local cloud what the profile says.
    fn tell_profile(&self, name: &str) -> Outcome {
        let profile = self.profile(name)?;
        let links = entries(&profile["links"]).iter().map(|link| {
            let fields = ["crn", "component_type", "component_name"]
                .map(|key| (key.to_owned(), link[key].clone()));
            serde_json::from_value(Value::Object(fields.into_iter().collect())).unwrap()
        });
        let policies = entries(&profile["policies"])
            .iter()
            .map(|policy| self.effect(policy));
        let [id, name] = ["id", "name"].map(|key| profile[key].as_str().unwrap());
        self.cloud
            .put_profile(id, name, links.collect(), policies.collect());
        Ok("OK\n".into())
    }

    /// A policy as the local cloud knows it.
    fn effect(&self, policy: &Value) -> Policy {
        let role = &policy["roles"][0];
        let name = |action: &Value| match action.as_str() {
            Some("codeengine.tenant.read") => "ReadProject",
            Some("codeengine.tenant.entities.read") => "ReadEntities",
            _ => "UpdateEntities",
        };
        let effect = match self.roles.iter().find(|custom| custom["name"] == *role) {
            Some(custom) => {
                let actions: Vec<_> = entries(&custom["actions"]).iter().map(name).collect();
                json!({ "CodeEngineCustom": { "actions": actions, "project_id": policy["instance"] } })
            }
            None if policy["service"] == "codeengine" => {
                json!({ "CodeEngine": { "role": role, "project_id": policy["instance"] } })
            }
            None => {
                json!({ "SecretsManager": { "role": role, "secret_group_id": policy["resource"] } })
            }
        };
        serde_json::from_value(effect).expect("a policy of the local cloud")
    }

    /// Links or policies of a profile, in one of the shapes that the list may have.
    fn of_profile(&self, call: &Call, name: &str, all: Vec<Value>) -> Outcome {
        if all.is_empty() && self.is("empty-not-found") {
            return Err(Problem::NothingFound(format!("No {name} found.")));
        }
        self.shown_list(call, self.is("wrapped-lists").then_some(name), all)
    }

    fn authorization(&self, one: &Value) -> Value {
        let side = |side: &str| {
            let [service, instance] =
                ["service", "instance"].map(|word| &one[format!("{side}_{word}")]);
            attributes(&[("serviceName", service), ("serviceInstance", instance)])
        };
        let sides = (side("source"), side("target"));
        self.dialect(json!({ "id": one["id"], "subjects": sides.0, "resources": sides.1, "roles": roles(&one["roles"]) }))
    }

    fn policy(&self, one: &Value) -> Value {
        let named = ["service", "instance", "resource_type", "resource"].map(|word| &one[word]);
        let names = ["serviceName", "serviceInstance", "resourceType", "resource"];
        let resources = attributes(&std::array::from_fn::<_, 4, _>(|n| (names[n], named[n])));
        match self.is("policies-opaque") {
            true => json!({ "id": "b3d1" }),
            false => self.dialect(
                json!({ "id": "b3d1", "roles": roles(&one["roles"]), "resources": resources }),
            ),
        }
    }

    /// As version 2 of the API words it, if that is asked for.
    fn dialect(&self, policy: Value) -> Value {
        let words = [
            ("name\":\"", "key\":\""),
            ("subjects\":", "subject\":"),
            ("resources\":", "resource\":"),
            ("roles\":", "control\":"),
        ];
        let v2 = words.iter().fold(policy.to_string(), |text, (v1, v2)| {
            text.replace(v1, v2).replace("display_key", "display_name")
        });
        if self.is("policies-v2") {
            serde_json::from_str(&v2).unwrap()
        } else {
            policy
        }
    }
}

fn attributes(named: &[(&str, &Value)]) -> Value {
    let given = named.iter().filter(|(_, value)| !value.is_null());
    let all: Vec<_> = given
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    json!([{ "attributes": all }])
}

/// The only resource group of the account.
const GROUP: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn roles(names: &Value) -> Value {
    let role = |name: &Value| json!({ "role_id": format!("crn:v1:bluemix:public:iam::::role:{name}"), "display_name": name });
    entries(names).iter().map(role).collect()
}

fn entries(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// Removes the one whose field has this value.
fn take(from: &mut Vec<Value>, field: &str, value: &str) -> Result<Value, Problem> {
    let at = from.iter().position(|one| one[field] == value);
    Ok(from.remove(at.ok_or_else(|| Problem::NothingFound(format!("{value} was not found.")))?))
}

/// As JSON, if the command was asked for it in its spelling; else a table for people.
pub(crate) fn shown(call: &Call, value: &Value) -> Outcome {
    let spelling = if call.command.starts_with("iam ") {
        "JSON"
    } else {
        "json"
    };
    match call.flag("--output") {
        Some(asked) if asked == spelling => Ok(format!("{value:#}\n")),
        Some(asked) => failed(format!("Incorrect usage: --output {asked}: use {spelling}")),
        None => Ok("OK\n".to_owned()),
    }
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
