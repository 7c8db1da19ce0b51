//! All state behind one lock, gone at exit: the nouns of the four services, and who may do what.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::authority::{CertificateSpec, Material, SecretType, facts};
use crate::clock;
use crate::code_engine::apps::Revisions;
use crate::http::Ask;
use crate::iam;
use crate::problems::{Problem, no};

/// A handler that panicked has said so already; the state is still the state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// An object's fields.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("not an object: {other}"),
    }
}

/// Documents by id.
pub(crate) type Things = BTreeMap<String, Map<String, Value>>;

#[derive(Default)]
pub(crate) struct Store {
    // IAM
    pub(crate) cr_tokens: BTreeMap<String, Claims>,
    pub(crate) profiles: BTreeMap<String, Profile>,
    pub(crate) access_tokens: BTreeMap<String, (Identity, OffsetDateTime)>,
    /// Seconds.
    pub(crate) token_lifetime: u64,
    // Secrets Manager
    /// Names by id.
    pub(crate) secret_groups: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Is Event Notifications registered?
    pub(crate) registered: bool,
    // Event Notifications
    /// May it create job runs (the service-to-service authorization)?
    pub(crate) en_authorized: bool,
    /// `sources`, `topics`, `destinations`, `subscriptions`.
    pub(crate) events: BTreeMap<String, Things>,
    pub(crate) deliveries: Vec<Delivery>,
    // Code Engine
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) edge: crate::domains::Edge,
}

// --- IAM ---

/// What a compute resource token says.
#[derive(Clone)]
pub(crate) struct Claims {
    pub(crate) project_id: String,
    pub(crate) component_name: String,
    pub(crate) expires: OffsetDateTime,
}

/// One concrete component of one project that may assume the profile.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Link {
    /// CRN of the Code Engine project.
    pub crn: String,
    /// `job`, `application`, `function`.
    pub component_type: String,
    /// Name of the job.
    pub component_name: String,
}

/// A role on one instance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Role {
    /// Sees metadata; of Code Engine everything, but changes nothing.
    Reader,
    /// Reads payloads of Secrets Manager.
    SecretsReader,
    /// Reads and writes.
    Writer,
}

/// An action of Code Engine, as custom roles are made of them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Action {
    /// The project itself.
    #[serde(rename = "codeengine.tenant.read")]
    ReadProject,
    /// Everything in it.
    #[serde(rename = "codeengine.tenant.entities.read")]
    ReadEntities,
    /// PUT and PATCH, but neither create nor delete.
    #[serde(rename = "codeengine.tenant.entities.update")]
    UpdateEntities,
}

impl Action {
    /// What a job that replaces TLS secrets needs, and no more.
    pub const ALL_OF_THE_JOB: [Self; 3] =
        [Self::ReadProject, Self::ReadEntities, Self::UpdateEntities];
}

/// What a trusted profile may do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Policy {
    /// On a Code Engine project.
    CodeEngine {
        /// `Reader` or `Writer`.
        role: Role,
        /// The project.
        project_id: String,
    },
    /// On a Code Engine project, by a custom role.
    CodeEngineCustom {
        /// What the role consists of.
        actions: Vec<Action>,
        /// The project.
        project_id: String,
    },
    /// On this cloud's Secrets Manager instance.
    SecretsManager {
        /// Any role.
        role: Role,
        /// One secret group only; `None`: the whole instance.
        secret_group_id: Option<String>,
    },
}

#[derive(Clone, Serialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) links: Vec<Link>,
    pub(crate) policies: Vec<Policy>,
}

/// Who holds an access token.
#[derive(Clone, PartialEq)]
pub(crate) enum Identity {
    EventNotifications,
    /// May do everything.
    Owner,
    Profile(String),
}

/// What somebody wants to do.
#[derive(Clone, Copy)]
pub(crate) enum Wish<'a> {
    ManageEvents,
    ManageSecrets,
    /// Anything at all on the Secrets Manager instance.
    KnowInstance,
    /// Of this secret group.
    ReadMetadata(&'a str),
    ReadPayload(&'a str),
    /// In this project; `None`: create and delete.
    InProject(Option<Action>, &'a str),
}

impl Store {
    pub(crate) fn permits(&self, who: &Identity, wish: Wish<'_>) -> bool {
        match who {
            Identity::Owner => true,
            // Viewer and Writer
            Identity::EventNotifications => {
                self.en_authorized && matches!(wish, Wish::InProject(..))
            }
            Identity::Profile(id) => {
                let profile = self.profiles.get(id);
                profile.is_some_and(|profile| profile.policies.iter().any(|p| grants(p, wish)))
            }
        }
    }

    /// Whose token it is, if it is one.
    pub(crate) fn holder(&self, ask: &Ask) -> Result<Identity, Problem> {
        let missing = "The token is missing, invalid or expired.";
        iam::identity(self, &ask.headers).ok_or_else(|| no(401, "unauthorized", missing))
    }

    pub(crate) fn allow(&self, who: &Identity, wish: Wish<'_>) -> Result<(), Problem> {
        let why = "You are not authorized to perform this action: no policy permits it.";
        let permitted = self.permits(who, wish);
        permitted.then_some(()).ok_or_else(|| no(403, "forbidden", why))
    }

    pub(crate) fn admit(&self, ask: &Ask, wish: Wish<'_>) -> Result<Identity, Problem> {
        let who = self.holder(ask)?;
        self.allow(&who, wish)?;
        Ok(who)
    }
}

fn grants(policy: &Policy, wish: Wish<'_>) -> bool {
    match policy {
        Policy::CodeEngine { role, project_id } => match wish {
            Wish::InProject(Some(Action::ReadProject | Action::ReadEntities), project) => {
                project_id == project
            }
            Wish::InProject(_, project) => project_id == project && *role == Role::Writer,
            _ => false,
        },
        Policy::CodeEngineCustom { actions, project_id } => match wish {
            Wish::InProject(Some(action), project) => {
                project_id == project && actions.contains(&action)
            }
            _ => false,
        },
        Policy::SecretsManager { role, secret_group_id } => {
            let covers = |group: &str| secret_group_id.as_deref().is_none_or(|only| only == group);
            match wish {
                Wish::KnowInstance => true,
                Wish::ReadMetadata(group) => covers(group),
                Wish::ReadPayload(group) => covers(group) && *role != Role::Reader,
                Wish::ManageSecrets => *role == Role::Writer && secret_group_id.is_none(),
                _ => false,
            }
        }
    }
}

// --- Secrets Manager ---

#[derive(Clone)]
pub(crate) struct Secret {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) secret_type: SecretType,
    pub(crate) secret_group_id: String,
    pub(crate) state: u8,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
    pub(crate) retrieved_at: Option<OffsetDateTime>,
    /// How the next rotation issues.
    pub(crate) spec: CertificateSpec,
    /// Oldest first.
    pub(crate) versions: Vec<Version>,
}

#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) auto_rotated: bool,
    pub(crate) downloaded: bool,
    /// Kept for the current and the previous version only.
    pub(crate) material: Option<Material>,
    /// What Secrets Manager shows of the certificate; empty for what no parser reads.
    pub(crate) facts: Map<String, Value>,
}

impl Version {
    pub(crate) fn new(material: Material, auto_rotated: bool) -> Self {
        let certificate = material.certificate.as_deref();
        Self {
            id: new_id(),
            created_at: clock::now(),
            auto_rotated,
            downloaded: false,
            facts: certificate.and_then(facts).unwrap_or_default(),
            material: Some(material),
        }
    }
}

impl Secret {
    pub(crate) fn current(&self) -> &Version {
        self.versions.last().expect("a secret has a version")
    }

    /// Adds a version; payloads older than the previous one go.
    pub(crate) fn push(&mut self, version: Version) {
        self.updated_at = version.created_at;
        self.versions.push(version);
        for old in self.versions.iter_mut().rev().skip(2) {
            old.material = None;
        }
    }
}

// --- Event Notifications ---

/// What became of one notification at one hop.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// Id of the notification.
    pub notification_id: String,
    /// `type` of the event.
    pub event_type: String,
    /// Topic name, where one matched.
    pub topic: Option<String>,
    /// Destination name, where there is one.
    pub destination: Option<String>,
    /// What happened.
    pub outcome: DeliveryOutcome,
    /// How often it was tried.
    pub attempts: u32,
}

/// The end of a delivery.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// Accepted; for a job with the name of its run.
    Delivered {
        /// Name of the job run.
        job_run: Option<String>,
    },
    /// Given up.
    Failed {
        /// Why.
        reason: String,
    },
    /// The topic's filters let nothing through, or no topic has this source.
    NoTopicMatched,
    /// The topic has no subscription.
    NoSubscription,
}

// --- Code Engine ---

pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) subdomain: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) resources: BTreeMap<(Kind, String), Resource>,
    pub(crate) job_runs: BTreeMap<String, crate::job_runs::Run>,
    pub(crate) crons: BTreeMap<String, crate::CronSubscription>,
}

/// The kinds of things in a project that share one life: list, create, read, change, delete.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    App,
    ConfigMap,
    DomainMapping,
    Job,
    Secret,
}

pub(crate) struct Resource {
    pub(crate) id: String,
    pub(crate) entity_tag: String,
    pub(crate) created_at: OffsetDateTime,
    /// How often it was written, creation included.
    pub(crate) writes: u64,
    /// What the client says of it, and `status` and the like of ours.
    pub(crate) fields: Map<String, Value>,
    /// Of apps; what other kinds have here means nothing.
    pub(crate) revisions: Revisions,
}

impl Resource {
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// A text inside of `data`.
    pub(crate) fn data(&self, key: &str) -> Option<&str> {
        self.fields.get("data")?.get(key)?.as_str()
    }
}

impl Project {
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Resource> {
        self.resources.get(&(kind, name.to_owned()))
    }

    pub(crate) fn get_mut(&mut self, kind: Kind, name: &str) -> Option<&mut Resource> {
        self.resources.get_mut(&(kind, name.to_owned()))
    }
}
