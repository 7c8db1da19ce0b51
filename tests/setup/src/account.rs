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

/// An answer of the local cloud, or the status and body of one that is not 2xx.
pub type Answer = Result<Value, (u16, String)>;

/// Everything behind the command. Authorizations, roles and profiles are in the words of
/// tests/terraform/installation.json.
pub struct Account {
    pub(crate) cloud: CloudHandle,
    pub(crate) home: PathBuf,
    token: String,
    /// Service instances, Code Engine projects among them; see [`instance`].
    pub instances: Vec<Value>,
    /// What `plugin list` prints below its head.
    pub plugins: &'static str,
    /// What the log of a build says when it fails; none: builds succeed.
    pub build_fails: Option<&'static str>,
    /// Which command shall fail.
    pub failure: Option<Failure>,
    /// In which less likely way the account answers: see the README.
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

/// The only resource group.
const GROUP: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// A service instance or a project: all but its name is in its CRN.
pub fn instance(name: &str, crn: &str) -> Value {
    let parts: Vec<_> = crn.split(':').collect();
    json!({
        "name": name, "id": crn, "guid": parts[7], "resource_group_id": GROUP, "service": parts[4], "region": parts[5],
    })
}

/// A text in a document; empty if it is not there.
pub fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_default()
}

/// The entries of a list; none if it is not there.
pub fn entries(list: &Value) -> &[Value] {
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

    /// One request to Code Engine, as the owner of the account: `METHOD PATH`. Of a list it returns the entries.
    ///
    /// # Errors
    /// Status and body of an answer that is not 2xx.
    pub fn ce(&self, request: &str, body: impl Into<Value>) -> Answer {
        let base = self.cloud.code_engine_url() + "/v2/";
        self.call(base, request, body.into())
    }

    /// The same to Event Notifications.
    ///
    /// # Errors
    /// As above.
    pub fn en(&self, request: &str, body: impl Into<Value>) -> Answer {
        let instance = self.cloud.world().event_notifications_instance_id;
        let base = self.cloud.event_notifications_url() + "/v1/instances/";
        self.call(base + &instance + "/", request, body.into())
    }

    /// The same to Secrets Manager.
    ///
    /// # Errors
    /// As above.
    pub fn sm(&self, request: &str, body: impl Into<Value>) -> Answer {
        let base = self.cloud.secrets_manager_url() + "/api/v2/";
        self.call(base, request, body.into())
    }

    fn call(&self, base: String, request: &str, body: Value) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(base + path)
            .header("Content-Type", "application/json")
            // what changes something demands a tag; any version will do
            .header("If-Match", "*")
            .header("Authorization", &self.token);
        let body = match method {
            "GET" | "DELETE" => String::new(),
            _ => body.to_string(),
        };
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = ureq::Agent::from(config.build());
        let mut answer = agent.run(request.body(body).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        if !answer.status().is_success() {
            return Err((answer.status().as_u16(), text));
        }
        let mut document: Value = serde_json::from_str(&text).unwrap_or_default();
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let (_, kind) = path.rsplit_once('/').unwrap_or(("", path));
        let list = document.get_mut(kind);
        Ok(list.map(Value::take).unwrap_or(document))
    }

    pub(crate) fn is(&self, odd: &str) -> bool {
        self.odd.split(' ').any(|one| one == odd)
    }

    pub(crate) fn projects(&self) -> impl Iterator<Item = &Value> {
        let all = self.instances.iter();
        all.filter(|one| one["service"] == "codeengine")
    }

    /// Everything that exists. Two of these are the same if nothing was done in between.
    pub fn everything(&self) -> Value {
        let mut all = json!({ "authorizations": self.authorizations, "roles": self.roles, "profiles": self.profiles });
        for kind in ["sources", "topics", "destinations", "subscriptions"] {
            all[kind] = self.en(&format!("GET {kind}?limit=100"), ()).unwrap();
        }
        for project in self.projects() {
            let (id, name) = (text(project, "guid"), text(project, "name"));
            for kind in ["config_maps", "jobs", "secrets"] {
                let mut list = self.ce(&format!("GET projects/{id}/{kind}"), ()).unwrap();
                for one in list.as_array_mut().unwrap() {
                    // holds the time of the answer
                    one["x_not_in_the_documents"].take();
                }
                all[name][kind] = list;
            }
            all[name]["crons"] = json!(self.cloud.cron_subscriptions(id));
        }
        all
    }
}
