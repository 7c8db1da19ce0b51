//! What the stand-in knows of the account, and what it remembers from one command to the next.

use std::collections::BTreeMap;
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
    /// Installed plug-ins: name and version.
    pub plugins: Vec<(String, String)>,
    /// Is somebody logged in?
    pub logged_in: bool,
    /// Has Secrets Manager a public endpoint?
    pub secrets_manager_public: bool,
    /// Is this machine on IBM's private network?
    pub private_network: bool,
    /// What the log of a build says when it fails; none: builds succeed.
    pub build_fails: Option<String>,
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
    /// How a list without entries is printed.
    pub empty_lists: EmptyList,
    /// Lists of links and policies are inside of an object.
    pub wrapped_lists: bool,
    /// Policies are printed in the shape of version 2 of their API.
    pub policies_v2: bool,
    /// Policies are printed in a shape that has nothing but their ids.
    pub policies_opaque: bool,
    /// Code Engine's JSON has the shape of its API, instead of Kubernetes'.
    pub code_engine_v2: bool,
    /// Notices on standard output, before and after what was asked for.
    pub notices: bool,
    /// `jobrun submit --wait` exits 0 also if the run failed.
    pub failed_run_exits_zero: bool,
    /// When the log of a run can be read.
    pub logs: Logs,
    /// Profiles and roles are not known to other commands right after their creation.
    pub slow_access: bool,
}

/// How a list without entries is printed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum EmptyList {
    /// `[]`
    #[default]
    Brackets,
    /// `null`: a Go slice that was never filled.
    Null,
    /// A sentence for people.
    Sentence,
    /// Links and policies of a profile: as if the profile were not found. Others: `[]`.
    NotFound,
}

/// When the log of a run can be read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Logs {
    /// At once.
    #[default]
    AtOnce,
    /// At the second try.
    Late,
    /// Not after the end of the run.
    Never,
}

impl Freedom {
    /// One way to fill all gaps.
    pub fn of_seed(seed: u64) -> Self {
        let bit = |place: u32| seed >> place & 1 == 1;
        let of_four = |place: u32| seed >> place & 3;
        Self {
            nothing_found_is_empty: bit(0),
            wrapped_lists: bit(1),
            policies_v2: bit(2),
            policies_opaque: of_four(3) == 0,
            code_engine_v2: bit(5),
            notices: bit(6),
            failed_run_exits_zero: bit(7),
            slow_access: bit(8),
            logs: match of_four(9) {
                0 => Logs::Late,
                1 => Logs::Never,
                _ => Logs::AtOnce,
            },
            empty_lists: match of_four(11) {
                0 => EmptyList::Brackets,
                1 => EmptyList::Null,
                2 => EmptyList::Sentence,
                _ => EmptyList::NotFound,
            },
        }
    }
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
    /// Profiles and roles that are new: how many commands still do not know them.
    pub unknown: BTreeMap<String, u8>,
    /// How often the log of a run was asked for.
    pub logs_asked: BTreeMap<String, u8>,
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
