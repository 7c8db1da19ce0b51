//! What each command needs, how it answers, and the commands of the account itself: instances and IAM.

use serde_json::{Value, json};

use crate::account::{Account, entries, text};
use crate::table::{self, Call};

/// Why a command failed.
pub(crate) enum Problem {
    /// The real one would not understand it.
    Usage(String),
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

pub(crate) fn missing(what: &str) -> Problem {
    Problem::NothingFound(format!("\"{what}\" not found"))
}

pub(crate) fn ok() -> Outcome {
    Ok("OK\n".to_owned())
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
        let plain = row.trim_start_matches('!');
        let mut rest = plain.strip_prefix(command)?.strip_prefix(' ')?.split(' ');
        Some((rest.next()?.parse().ok()?, rest.collect(), plain != row))
    })
}

/// The only resource group of the account.
const GROUP: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

impl Account {
    /// Does one command: standard output, standard error, exit status.
    pub(crate) fn answer(
        &mut self,
        arguments: &[String],
        environment: &Value,
    ) -> (String, String, u8) {
        let (mut stdout, why, status) = match self.perform(arguments, environment) {
            Ok(stdout) => (stdout, String::new(), 0),
            Err(Problem::NothingFound(_)) if self.is("nothing-found-is-empty") => {
                Default::default()
            }
            Err(Problem::NothingFound(why) | Problem::Failed(why)) => (String::new(), why, 1),
            Err(Problem::Ended(stdout, why)) => (stdout, why, 1),
            Err(Problem::Usage(why)) => (String::new(), format!("Incorrect usage: {why}"), 2),
        };
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

    fn perform(&mut self, arguments: &[String], environment: &Value) -> Outcome {
        let call = table::parse(arguments).map_err(Problem::Usage)?;
        let (command, usage) = (call.command, |why| Err(Problem::Usage(why)));
        let Some((words, flags, changes)) = needs(command) else {
            return usage(format!("the stand-in does not do '{command}'"));
        };
        if call.words.len() != words {
            return usage(format!("'{command}' takes {words} words: {:?}", call.words));
        }
        if let Some(flag) = flags.iter().find(|flag| call.text(flag).is_empty()) {
            return usage(format!("'{command}' needs '{flag}'"));
        }
        if !self.logged_in && command != "plugin list" {
            return failed("Not logged in. Use 'ibmcloud login' to log in.");
        }
        self.changes += u64::from(changes);
        let failure = self
            .failure
            .filter(|failure| changes && self.changes >= failure.at);
        if failure.is_some_and(|failure| !failure.done || self.changes > failure.at) {
            return failed("Server error: 503 Service Unavailable");
        }
        let outcome = match command.split(' ').next() {
            Some("iam") => self.iam(&call),
            Some("secrets-manager") => {
                self.secrets_manager(&call, text(environment, "SECRETS_MANAGER_URL"))
            }
            Some("event-notifications") => {
                self.event_notifications(&call, environment["IBMCLOUD_EN_ENDPOINT"].as_str())
            }
            Some("ce") => self.code_engine(&call),
            _ => self.core(&call),
        };
        if failure.is_some() {
            return failed("unexpected EOF: the connection was closed");
        }
        outcome
    }

    /// A list as JSON, inside of an object with this name if that is given.
    pub(crate) fn shown_list(&self, call: &Call, name: Option<&str>, all: Vec<Value>) -> Outcome {
        if all.is_empty() && self.is("empty-sentence") {
            return Ok("Nothing found in [my account].\n".to_owned());
        }
        let is_null = all.is_empty() && self.is("empty-null");
        let list = if is_null { Value::Null } else { all.into() };
        match name {
            Some(name) => shown(call, &json!({ "first": {}, name: list })),
            None => shown(call, &list),
        }
    }

    pub(crate) fn instance(&self, service: &str, guid: &str) -> Result<&Value, Problem> {
        let is = |one: &&Value| one["service"] == service && one["guid"] == guid;
        let found = self.instances.iter().find(is);
        found.ok_or_else(|| Problem::Failed(format!("There is no instance {guid} of {service}.")))
    }

    /// The command itself, and instances.
    fn core(&mut self, call: &Call) -> Outcome {
        match call.command {
            "plugin list" => Ok(format!("Plugin Name   Version   Status\n{}", self.plugins)),
            "target" => {
                let groups = format!("default {GROUP}");
                for (flag, known) in [("-r", "eu-de eu-gb us-south"), ("-g", &groups)] {
                    match call.flag(flag) {
                        Some(value) if !known.split(' ').any(|one| one == value) => {
                            return failed(format!("'{value}' was not found."));
                        }
                        value => self
                            .target
                            .extend(value.map(|value| (flag, value.to_owned()))),
                    }
                }
                Ok(format!(
                    "API endpoint:   https://cloud.ibm.com\n{:?}\n",
                    self.target
                ))
            }
            "resource service-instance" => {
                let (name, place) = (&call.words[0], call.flag("--location"));
                let mut found = self.instances.iter().filter(|one| one["name"] == **name);
                let found = found.find(|one| place.is_none_or(|place| one["region"] == place));
                Ok(text(found.ok_or_else(|| missing(name))?, "crn").to_owned() + "\n")
            }
            _ if !call.is_on("--all-resource-groups") => failed("No resource group is targeted."),
            _ => {
                let wanted = call.flag("--service-name");
                let is = |one: &&Value| wanted.is_none_or(|wanted| one["service"] == wanted);
                let found = self.instances.iter().filter(is).map(|one| {
                    json!({ "id": one["crn"], "guid": one["guid"], "name": one["name"], "resource_group_id": GROUP })
                });
                self.shown_list(call, None, found.collect())
            }
        }
    }

    fn iam(&mut self, call: &Call) -> Outcome {
        let word = call.words.first().map_or("", String::as_str);
        let [service, role] = call.texts(["--service-name", "--roles"]);
        let [instance, crn] = call.texts(["--service-instance", "--link-crn"]);
        match call.command {
            "iam authorization-policies" => {
                let all = self.authorizations.iter().map(|one| {
                    let of = |side, what| &one[format!("{side}_{what}")];
                    let side = |side| attributes(&[("serviceName", of(side, "service")), ("serviceInstance", of(side, "instance"))]);
                    json!({ "id": one["id"], "subjects": side("source"), "resources": side("target"), "roles": roles(&one["roles"]) })
                });
                let all = all.map(|one| self.dialect(one)).collect();
                self.shown_list(call, None, all)
            }
            "iam authorization-policy-create" => {
                let (source, target, roles) = (&call.words[0], &call.words[1], &call.words[2]);
                let instances =
                    ["source", "target"].map(|side| format!("--{side}-service-instance-id"));
                let [from, to] = call.texts(instances.each_ref().map(String::as_str));
                self.instance(source, from)?;
                self.instance(target, to)?;
                let known = match (&**source, &**target) {
                    ("secrets-manager", "event-notifications") => "Event Source Manager",
                    ("event-notifications", "codeengine") => "Viewer,Writer",
                    _ => "",
                };
                let roles: Vec<&str> = roles.split(',').collect();
                let is_known = |role: &&str| known.split(',').any(|one| one == *role);
                if !roles.iter().all(is_known) {
                    return failed(format!("One of {roles:?} is not supported here."));
                }
                if self.is_authorized(source, to, &[]) {
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
                let is = |role: &&Value| role["service"] == call.text("--service");
                let custom: Vec<_> = self.roles.iter().filter(is).collect();
                let built_in = json!([{ "display_name": "Writer" }]);
                shown(
                    call,
                    &json!({ "custom_roles": custom, "service_roles": built_in }),
                )
            }
            "iam role-create" => {
                if self.roles.iter().any(|role| role["name"] == word) {
                    return failed(format!("The role {word} exists already."));
                }
                let actions: Vec<_> = call.text("--actions").split(',').collect();
                let name = call.text("--display-name");
                self.roles.push(json!({ "name": word, "display_name": name, "service": service, "actions": actions }));
                self.is_new(word)
            }
            "iam trusted-profile-create" => {
                if self.profile(word).is_ok() {
                    return failed(format!("A trusted profile '{word}' exists already."));
                }
                let (id, about) = (format!("Profile-{}", new_id()), call.text("--description"));
                self.profiles.push(json!({ "id": id, "name": word, "description": about, "links": [], "policies": [] }));
                self.is_new(word)?;
                self.tell_profile(word)?;
                shown(call, &json!({ "id": id, "name": word }))
            }
            "iam trusted-profile" => {
                let profile = &self.profiles[self.profile(word)?];
                if call.is_on("--id") {
                    return Ok(format!("{}\n", text(profile, "id")));
                }
                let (id, about) = (&profile["id"], &profile["description"]);
                shown(
                    call,
                    &json!({ "id": id, "name": word, "description": about }),
                )
            }
            "iam trusted-profile-delete" => {
                let profile = take(&mut self.profiles, "name", word)?;
                self.cloud.delete_profile(text(&profile, "id"));
                ok()
            }
            "iam trusted-profile-links" => {
                let links = entries(&self.profiles[self.profile(word)?]["links"]).iter();
                let links = links.map(|one| json!({ "name": one["name"], "link": one }));
                self.of_profile(call, "links", links.collect())
            }
            "iam trusted-profile-policies" => {
                let policies = entries(&self.profiles[self.profile(word)?]["policies"]).iter();
                let policies = policies.map(|one| self.policy(one)).collect();
                self.of_profile(call, "policies", policies)
            }
            "iam trusted-profile-link-create" => {
                self.known(word)?;
                if call.text("--cr-type") != "CE" || !self.projects().any(|one| one["crn"] == crn) {
                    return failed(format!("{crn} is not the CRN of a project"));
                }
                let (name, flags) = (
                    call.text("--name"),
                    ["--link-component-type", "--link-component-name"],
                );
                let [kind, job] = call.texts(flags);
                let link = json!({ "name": name, "cr_type": "CE", "crn": crn, "component_type": kind, "component_name": job });
                self.add(word, "links", link)
            }
            _ => {
                self.known(word)?;
                self.known(role)?;
                let is_built_in = "Reader Writer Manager".split(' ').any(|one| one == role)
                    || (service, role) == ("secrets-manager", "SecretsReader");
                let is = |custom: &Value| custom["name"] == role && custom["service"] == service;
                if !is_built_in && !self.roles.iter().any(is) {
                    return failed(format!("There is no role {role} of {service}."));
                }
                self.instance(service, instance)?;
                let mut policy =
                    json!({ "roles": [role], "service": service, "instance": instance });
                for key in ["resource_type", "resource"] {
                    if let Some(value) = call.flag(&format!("--{}", key.replace('_', "-"))) {
                        policy[key] = value.into();
                    }
                }
                if entries(&self.profiles[self.profile(word)?]["policies"]).contains(&policy) {
                    return failed("status 409: policy_conflict_error: The policy exists already.");
                }
                self.add(word, "policies", policy)
            }
        }
    }

    fn add(&mut self, profile: &str, list: &str, one: Value) -> Outcome {
        let at = self.profile(profile)?;
        self.profiles[at][list].as_array_mut().unwrap().push(one);
        self.tell_profile(profile)
    }

    /// Where in the list a profile is, by name or id.
    fn profile(&self, name: &str) -> Result<usize, Problem> {
        let is = |one: &Value| one["name"] == name || one["id"] == name;
        let found = self.profiles.iter().position(is);
        found.ok_or_else(|| missing(name))
    }

    /// Commands do not know a new profile or role at once, if the account is slow.
    fn is_new(&mut self, name: &str) -> Outcome {
        let answers = if self.is("slow-access") { 0 } else { 2 };
        self.asked.insert(name.to_owned(), answers);
        ok()
    }

    fn known(&mut self, name: &str) -> Result<(), Problem> {
        let asked = self.asked.entry(name.to_owned()).or_insert(2);
        *asked = asked.saturating_add(1);
        let is_known = (*asked > 2).then_some(());
        is_known.ok_or_else(|| Problem::Failed(format!("'{name}' does not exist.")))
    }

    /// Is there an authorization from this service to this instance with all of these roles?
    pub(crate) fn is_authorized(&self, from: &str, to: &str, roles: &[&str]) -> bool {
        self.authorizations.iter().any(|one| {
            let held = |role: &&str| entries(&one["roles"]).contains(&json!(role));
            one["source_service"] == from && one["target_instance"] == to && roles.iter().all(held)
        })
    }

    /// May Event Notifications submit runs in this project?
    pub(crate) fn may_submit(&self, project: Option<&str>) -> bool {
        let project = project.unwrap_or_default();
        self.is_authorized("event-notifications", project, &["Viewer", "Writer"])
    }

    fn tell_authorization(&self) -> Outcome {
        let may = self
            .projects()
            .any(|one| self.may_submit(one["guid"].as_str()));
        self.cloud.authorize_event_notifications(may);
        ok()
    }

    /// Does to the local cloud what the profile says.
    fn tell_profile(&self, name: &str) -> Outcome {
        let profile = &self.profiles[self.profile(name)?];
        let links = entries(&profile["links"]).iter().map(|link| {
            json!({ "crn": link["crn"], "component_type": link["component_type"], "component_name": link["component_name"] })
        });
        let policies = entries(&profile["policies"]).iter().map(|policy| {
            let (role, instance) = (&policy["roles"][0], &policy["instance"]);
            let custom = self.roles.iter().find(|custom| custom["name"] == *role);
            let actions = custom.map(|custom| entries(&custom["actions"]).iter().map(|action| match action.as_str() {
                Some("codeengine.tenant.read") => "ReadProject",
                Some("codeengine.tenant.entities.read") => "ReadEntities",
                _ => "UpdateEntities",
            }).collect::<Vec<_>>());
            match actions {
                Some(actions) => json!({ "CodeEngineCustom": { "actions": actions, "project_id": instance } }),
                None if policy["service"] == "codeengine" => json!({ "CodeEngine": { "role": role, "project_id": instance } }),
                None => json!({ "SecretsManager": { "role": role, "secret_group_id": policy["resource"] } }),
            }
        });
        let links = links.map(|one| serde_json::from_value(one).unwrap());
        let policies = policies.map(|one| serde_json::from_value(one).unwrap());
        let (id, name) = (text(profile, "id"), text(profile, "name"));
        self.cloud
            .put_profile(id, name, links.collect(), policies.collect());
        ok()
    }

    /// Links or policies of a profile, in one of the shapes that the list may have.
    fn of_profile(&self, call: &Call, name: &str, all: Vec<Value>) -> Outcome {
        if all.is_empty() && self.is("empty-not-found") {
            return Err(missing(name));
        }
        self.shown_list(call, self.is("wrapped-lists").then_some(name), all)
    }

    fn policy(&self, one: &Value) -> Value {
        if self.is("policies-opaque") {
            return json!({ "id": "b3d1" });
        }
        let names = ["serviceName", "serviceInstance", "resourceType", "resource"];
        let values = ["service", "instance", "resource_type", "resource"].map(|key| &one[key]);
        let resources = attributes(&std::array::from_fn::<_, 4, _>(|n| (names[n], values[n])));
        self.dialect(json!({ "id": "b3d1", "roles": roles(&one["roles"]), "resources": resources }))
    }

    /// As version 2 of the API words it, if that is asked for.
    fn dialect(&self, policy: Value) -> Value {
        if !self.is("policies-v2") {
            return policy;
        }
        let words = [
            ("name", "key"),
            ("subjects", "subject"),
            ("resources", "resource"),
            ("roles", "control"),
        ];
        let mut text = policy.to_string();
        for (v1, v2) in words {
            text = text.replace(&format!("\"{v1}\":"), &format!("\"{v2}\":"));
        }
        serde_json::from_str(&text).unwrap()
    }
}

fn attributes(named: &[(&str, &Value)]) -> Value {
    let given = named.iter().filter(|(_, value)| !value.is_null());
    let all = given.map(|(name, value)| json!({ "name": name, "value": value }));
    json!([{ "attributes": Value::from_iter(all) }])
}

fn roles(names: &Value) -> Value {
    let role = |name: &Value| json!({ "role_id": format!("crn:v1:bluemix:public:iam::::role:{name}"), "display_name": name });
    entries(names).iter().map(role).collect()
}

/// Removes the one whose field has this value.
fn take(from: &mut Vec<Value>, field: &str, value: &str) -> Result<Value, Problem> {
    let at = from.iter().position(|one| one[field] == value);
    Ok(from.remove(at.ok_or_else(|| missing(value))?))
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
        None => ok(),
    }
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
