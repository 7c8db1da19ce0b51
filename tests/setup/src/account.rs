//! The account: what there is, what commands have done, and the way to the local cloud.

use std::collections::BTreeMap;

use local_cloud::CloudHandle;
use serde_json::{Value, json};

/// A service instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `codeengine`, `event-notifications`, `secrets-manager`.
    pub service: &'static str,
    /// Not unique.
    pub name: String,
    /// Its id.
    pub guid: String,
    /// Its CRN.
    pub crn: String,
    /// Its region.
    pub region: String,
}

/// From some command on that changes something, all of these fail.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The how-manieth such command, from 1.
    pub at: u64,
    /// The first of them is done, but its answer is lost.
    pub done: bool,
}

/// Everything behind the command. Authorizations, roles and profiles are in the words of
/// tests/terraform/installation.json.
pub struct Account {
    pub(crate) cloud: CloudHandle,
    pub(crate) home: std::path::PathBuf,
    agent: ureq::Agent,
    token: String,
    /// Service instances, Code Engine projects among them.
    pub instances: Vec<Instance>,
    /// Installed plug-ins: name and version.
    pub plugins: Vec<(&'static str, &'static str)>,
    /// Is somebody logged in?
    pub logged_in: bool,
    /// At which of its addresses, `public` and `private`, Secrets Manager answers here.
    pub reached: &'static str,
    /// What the log of a build says when it fails; none: builds succeed.
    pub build_fails: Option<&'static str>,
    /// Which command shall fail.
    pub failure: Option<Failure>,
    /// What IBM's documents leave open is answered in the less likely way: see the README.
    pub odd: &'static [&'static str],
    /// Authorizations between services.
    pub authorizations: Vec<Value>,
    /// Custom roles.
    pub roles: Vec<Value>,
    /// Trusted profiles, with links and policies.
    pub profiles: Vec<Value>,
    /// How many commands tried to change something.
    pub changes: u64,
    /// All command lines so far, with their status.
    pub calls: Vec<(Vec<String>, u8)>,
    /// Region, resource group and project that commands act on.
    pub target: BTreeMap<&'static str, String>,
    /// New profiles and roles: how many commands still do not know them.
    pub(crate) unknown: BTreeMap<String, u8>,
    pub(crate) logs_asked: BTreeMap<String, u8>,
}

/// An imitated API.
#[derive(Clone, Copy)]
pub enum Door {
    /// `/v2/…`
    CodeEngine,
    /// `/v1/instances/{instance}/…`
    EventNotifications,
    /// `/api/v2/…`
    SecretsManager,
}

impl Account {
    pub(crate) fn new(
        cloud: CloudHandle,
        home: std::path::PathBuf,
        instances: Vec<Instance>,
    ) -> Self {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let key = cloud.world().api_key;
        let form =
            format!("grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={key}");
        let request = agent.post(format!("{}/identity/token", cloud.iam_url()));
        let answer = request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(&form);
        let answer: Value =
            serde_json::from_str(&answer.unwrap().body_mut().read_to_string().unwrap()).unwrap();
        Self {
            token: answer["access_token"].as_str().unwrap().to_owned(),
            cloud,
            home,
            agent,
            instances,
            plugins: vec![
                ("code-engine", "1.62.6"),
                ("event-notifications", "1.21.3"),
                ("secrets-manager", "2.0.16"),
            ],
            logged_in: true,
            reached: "public",
            build_fails: None,
            failure: None,
            odd: &[],
            authorizations: Vec::new(),
            roles: Vec::new(),
            profiles: Vec::new(),
            changes: 0,
            calls: Vec::new(),
            target: BTreeMap::new(),
            unknown: BTreeMap::new(),
            logs_asked: BTreeMap::new(),
        }
    }

    /// One request to the local cloud, as the owner of the account.
    ///
    /// # Errors
    /// Status and body of an answer that is not 2xx.
    pub fn call(
        &self,
        door: Door,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, (u16, String)> {
        let instance = self.cloud.world().event_notifications_instance_id;
        let base = match door {
            Door::CodeEngine => self.cloud.code_engine_url() + "/v2",
            Door::EventNotifications => {
                self.cloud.event_notifications_url() + "/v1/instances/" + &instance
            }
            Door::SecretsManager => self.cloud.secrets_manager_url() + "/api/v2",
        };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{base}/{path}"))
            .header("Content-Type", "application/json")
            // what changes something demands a tag; any version will do
            .header("If-Match", "*")
            .header("Authorization", format!("Bearer {}", self.token))
            .body(body.map(Value::to_string).unwrap_or_default());
        let mut answer = self
            .agent
            .run(request.unwrap())
            .expect("the local cloud answers");
        let (status, text) = (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().unwrap_or_default(),
        );
        match status {
            200..300 => Ok(serde_json::from_str(&text).unwrap_or_default()),
            _ => Err((status, text)),
        }
    }

    /// All entries of a list.
    pub fn list(&self, door: Door, path: &str) -> Vec<Value> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let mut page = self.call(door, "GET", &format!("{path}?limit=100"), None);
        let page = page
            .as_mut()
            .unwrap_or_else(|why| panic!("{path}: {why:?}"));
        page[name].take().as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn is(&self, odd: &str) -> bool {
        self.odd.contains(&odd)
    }

    /// Everything that exists. Two of these are the same if nothing was done in between.
    pub fn everything(&self) -> Value {
        let mut all = json!({ "authorizations": self.authorizations, "roles": self.roles, "profiles": self.profiles });
        for list in ["sources", "topics", "destinations", "subscriptions"] {
            all[list] = self.list(Door::EventNotifications, list).into();
        }
        for project in self
            .instances
            .iter()
            .filter(|one| one.service == "codeengine")
        {
            let mut found = json!({});
            for list in ["config_maps", "jobs", "secrets"] {
                let mut entries = self.list(
                    Door::CodeEngine,
                    &format!("projects/{}/{list}", project.guid),
                );
                // holds the time of the answer
                entries.iter_mut().for_each(|one| {
                    drop(
                        one.as_object_mut()
                            .unwrap()
                            .remove("x_not_in_the_documents"),
                    )
                });
                found[list] = entries.into();
            }
            found["crons"] = json!(self.cloud.cron_subscriptions(&project.guid));
            all[&project.name] = found;
        }
        all
    }
}
