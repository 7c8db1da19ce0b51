//! What the stand-in knows of the account, and what it remembers from one command to the next.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a test says of the account; `account.json` below `IBMCLOUD_HOME`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Account {
    /// The local cloud's control API.
    pub control_url: String,
    /// A key that may do everything there.
    pub api_key: String,
    /// Service instances, Code Engine projects among them.
    pub instances: Vec<Instance>,
    /// Installed plug-ins.
    pub plugins: Vec<String>,
    /// Is somebody logged in?
    pub logged_in: bool,
    /// Can this machine reach Secrets Manager's public endpoint?
    pub secrets_manager_public: bool,
    /// How the documents' gaps are filled.
    pub freedom: Freedom,
    /// Which command shall fail.
    pub failure: Option<Failure>,
}

/// A service instance.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Instance {
    /// `codeengine`, `event-notifications`, `secrets-manager`.
    pub service: String,
    /// Not unique.
    pub name: String,
    /// Its id.
    pub guid: String,
    /// Its CRN.
    pub crn: String,
    /// Its region.
    pub region: String,
}

/// What IBM's documents leave open.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Freedom {
    /// A look-up that finds nothing exits 0 and prints nothing, instead of failing.
    pub nothing_found_is_empty: bool,
    /// Lists of links and policies stand inside of an object.
    pub wrapped_lists: bool,
    /// Policies in the shape of version 2 of their API.
    pub policies_v2: bool,
    /// Policies are shown in a shape that tells nothing but their ids.
    pub policies_opaque: bool,
    /// `jobrun submit --wait` exits 0 also if the run failed.
    pub failed_run_exits_zero: bool,
}

/// From some command on that changes something, all of these fail.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Failure {
    /// The how-manieth such command, from 1.
    pub at: u64,
    /// The first of them is done, but its answer is lost.
    pub done: bool,
}

/// What commands have done; `state.json`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct State {
    /// `target -r`.
    pub region: Option<String>,
    /// `target -g`.
    pub resource_group: Option<String>,
    /// `ce project select`: the id.
    pub project: Option<String>,
    /// Authorizations between services.
    pub authorizations: Vec<Authorization>,
    /// Custom roles.
    pub roles: Vec<CustomRole>,
    /// Trusted profiles.
    pub profiles: Vec<Profile>,
    /// How many commands tried to change something.
    pub changes: u64,
}

/// An authorization between two instances.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Authorization {
    /// Its id.
    pub id: String,
    /// Source service and instance.
    pub source: (String, String),
    /// Target service and instance.
    pub target: (String, String),
    /// Display names.
    pub roles: Vec<String>,
}

/// A custom role.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CustomRole {
    /// Display name.
    pub name: String,
    /// The service.
    pub service: String,
    /// What it permits.
    pub actions: Vec<String>,
}

/// A trusted profile.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Profile {
    /// `Profile-` and a UUID.
    pub id: String,
    /// Unique in the account.
    pub name: String,
    /// Free text.
    pub description: String,
    /// As the API shows them.
    pub links: Vec<Value>,
    /// What it may do.
    pub policies: Vec<Grant>,
}

/// A policy of a profile.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// Display names.
    pub roles: Vec<String>,
    /// Attribute -> value: `serviceName`, `serviceInstance`, `resourceType`, `resource`.
    pub attributes: Vec<(String, String)>,
}

impl Account {
    /// Reads `account.json`.
    pub fn load(home: &Path) -> Self {
        read(&home.join("account.json")).expect("account.json, which the test writes")
    }

    /// Writes `account.json`.
    pub fn save(&self, home: &Path) {
        write(&home.join("account.json"), self);
    }
}

impl State {
    /// Reads `state.json`; the empty state if there is none.
    pub fn load(home: &Path) -> Self {
        read(&home.join("state.json")).unwrap_or_default()
    }

    /// Writes `state.json`.
    pub fn save(&self, home: &Path) {
        write(&home.join("state.json"), self);
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    let text = std::fs::read_to_string(path).ok()?;
    let read = serde_json::from_str(&text);
    Some(read.unwrap_or_else(|why| panic!("{}: {why}", path.display())))
}

fn write(path: &Path, value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("plain data");
    std::fs::write(path, text).expect("IBMCLOUD_HOME can be written");
}
