//! The account: documents of what there is, what commands have done, and the way to the local cloud.

use std::collections::BTreeMap;
use std::path::PathBuf;

use local_cloud::CloudHandle;
use serde_json::{Value, json};

/// From some command on that changes something, all of these fail.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The how-manieth such command, from 1.
    pub at: u64,
    /// The first of them is done, but its answer is lost.
    pub done: bool,
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

/// An answer of the local cloud, or the status and body of one that is not 2xx.
pub type Answer = Result<Value, (u16, String)>;

/// Everything behind the command. Authorizations, roles and profiles are in the words of
/// tests/terraform/installation.json.
pub struct Account {
    pub(crate) cloud: CloudHandle,
    pub(crate) home: PathBuf,
    token: String,
    /// Service instances, Code Engine projects among them: service, name, guid, crn, region.
    pub instances: Vec<Value>,
    /// What `plugin list` prints below its head.
    pub plugins: &'static str,
    /// Is somebody logged in?
    pub logged_in: bool,
    /// At which of its addresses, `public` and `private`, Secrets Manager answers here.
    pub reached: &'static str,
    /// What the log of a build says when it fails; none: builds succeed.
    pub build_fails: Option<&'static str>,
    /// Which command shall fail.
    pub failure: Option<Failure>,
    /// What IBM's documents leave open is answered in the less likely way: see the README.
    pub odd: &'static str,
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
    pub(crate) target: BTreeMap<&'static str, String>,
    /// New profiles, roles and logs: how often they have been asked for.
    pub(crate) asked: BTreeMap<String, u8>,
}

/// A text in a document; empty if it is not there.
pub(crate) fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_default()
}

/// The entries of a list; none if it is not there.
pub(crate) fn entries(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

impl Account {
    pub(crate) fn new(cloud: CloudHandle, home: PathBuf, instances: Vec<Value>) -> Self {
        let grant = "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=";
        let mut answer = ureq::post(format!("{}/identity/token", cloud.iam_url()))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(grant.to_owned() + &cloud.world().api_key)
            .unwrap();
        let answer = answer.body_mut().read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        Self {
            token: format!("Bearer {}", text(&answer, "access_token")),
            cloud,
            home,
            instances,
            plugins: "code-engine[ce] 1.62.6\nevent-notifications 1.21.3\nsecrets-manager 2.0.16\n",
            logged_in: true,
            reached: "public",
            build_fails: None,
            failure: None,
            odd: "",
            authorizations: Vec::new(),
            roles: Vec::new(),
            profiles: Vec::new(),
            changes: 0,
            calls: Vec::new(),
            target: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// One request to the local cloud, as the owner of the account: `METHOD PATH`. No body if it is null.
    ///
    /// # Errors
    /// Status and body of an answer that is not 2xx.
    pub fn call(&self, door: Door, request: &str, body: Value) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let (cloud, instance) = (
            &self.cloud,
            self.cloud.world().event_notifications_instance_id,
        );
        let url = match door {
            Door::CodeEngine => format!("{}/v2/{path}", cloud.code_engine_url()),
            Door::EventNotifications => {
                let base = cloud.event_notifications_url();
                format!("{base}/v1/instances/{instance}/{path}")
            }
            Door::SecretsManager => format!("{}/api/v2/{path}", cloud.secrets_manager_url()),
        };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("Content-Type", "application/json")
            // what changes something demands a tag; any version will do
            .header("If-Match", "*")
            .header("Authorization", &self.token);
        let agent: ureq::Agent = ureq::config::Config::builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut answer = agent.run(request.body(body).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        match answer.status().as_u16() {
            200..300 => Ok(serde_json::from_str(&text).unwrap_or_default()),
            status => Err((status, text)),
        }
    }

    pub(crate) fn ce(&self, request: &str, body: Value) -> Answer {
        self.call(Door::CodeEngine, request, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ce(&format!("GET {path}"), Value::Null)
    }

    /// All entries of a list.
    pub fn list(&self, door: Door, path: &str) -> Vec<Value> {
        let page = self.call(door, &format!("GET {path}?limit=100"), Value::Null);
        let page = page.unwrap_or_else(|why| panic!("{path}: {why:?}"));
        entries(&page[path.rsplit('/').next().unwrap()]).to_vec()
    }

    pub(crate) fn is(&self, odd: &str) -> bool {
        self.odd.split(' ').any(|one| one == odd)
    }

    pub(crate) fn projects(&self) -> impl Iterator<Item = &Value> {
        self.instances
            .iter()
            .filter(|one| one["service"] == "codeengine")
    }

    /// Everything that exists. Two of these are the same if nothing was done in between.
    pub fn everything(&self) -> Value {
        let mut all = json!({ "authorizations": self.authorizations, "roles": self.roles, "profiles": self.profiles });
        for list in ["sources", "topics", "destinations", "subscriptions"] {
            all[list] = self.list(Door::EventNotifications, list).into();
        }
        for project in self.projects() {
            let (id, mut found) = (text(project, "guid"), json!({}));
            for list in ["config_maps", "jobs", "secrets"] {
                let mut entries = self.list(Door::CodeEngine, &format!("projects/{id}/{list}"));
                for entry in &mut entries {
                    // holds the time of the answer
                    entry
                        .as_object_mut()
                        .unwrap()
                        .remove("x_not_in_the_documents");
                }
                found[list] = entries.into();
            }
            found["crons"] = json!(self.cloud.cron_subscriptions(id));
            all[text(project, "name")] = found;
        }
        all
    }
}
