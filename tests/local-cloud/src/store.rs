//! All state behind one lock, gone at exit: the nouns of the four services and the questions that
//! more than one of them asks.
//!
//! Not here: wire formats, statuses, who may do what over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::authority::{CertificateSpec, Facts, Material, SecretType, facts};
use crate::clock;

/// A handler that panicked has said so already; the state is still the state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[derive(Default)]
pub(crate) struct Store {
    // IAM
    pub(crate) account_id: String,
    pub(crate) resource_group_id: String,
    /// Key -> IAM id of its owner, who may do everything.
    pub(crate) api_keys: BTreeMap<String, String>,
    pub(crate) cr_tokens: BTreeMap<String, Claims>,
    pub(crate) profiles: BTreeMap<String, Profile>,
    pub(crate) access_tokens: BTreeMap<String, AccessToken>,
    pub(crate) token_lifetime: u64,
    // Secrets Manager
    pub(crate) instance_id: String,
    pub(crate) instance_crn: String,
    pub(crate) instance_region: String,
    /// By id.
    pub(crate) secret_groups: BTreeMap<String, Group>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// CRN of the Event Notifications instance, once registered.
    pub(crate) registration: Option<String>,
    // Event Notifications
    pub(crate) en_instance_id: String,
    pub(crate) en_instance_crn: String,
    /// May Event Notifications create job runs (the service-to-service authorization)?
    pub(crate) en_authorized: bool,
    pub(crate) sources: BTreeMap<String, Map<String, Value>>,
    pub(crate) topics: BTreeMap<String, Map<String, Value>>,
    pub(crate) destinations: BTreeMap<String, Map<String, Value>>,
    pub(crate) subscriptions: BTreeMap<String, Map<String, Value>>,
    pub(crate) deliveries: Vec<Delivery>,
    // Code Engine
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) edge: crate::domains::Edge,
    /// Entity tags without letters and dashes.
    pub(crate) digit_tags: bool,
    pub(crate) last_tag: u64,
    /// Every key, token and API key that was ever in use.
    pub(crate) in_use: BTreeSet<String>,
}

// --- IAM ---

/// What a compute resource token says.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    pub(crate) project_id: String,
    pub(crate) component_type: String,
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
    /// `codeengine.tenant.read`: the project itself.
    ReadProject,
    /// `codeengine.tenant.entities.read`: everything in it.
    ReadEntities,
    /// `codeengine.tenant.entities.update`: PUT and PATCH, but neither create nor delete.
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

#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) crn: String,
    pub(crate) links: Vec<Link>,
    pub(crate) policies: Vec<Policy>,
}

/// Who holds an access token.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    EventNotifications,
    Owner(String),
    Profile(String),
}

impl Identity {
    pub(crate) fn iam_id(&self) -> String {
        match self {
            Self::EventNotifications => "crn-event-notifications".into(),
            Self::Owner(iam_id) => iam_id.clone(),
            Self::Profile(id) => format!("iam-{id}"),
        }
    }
}

pub(crate) struct AccessToken {
    pub(crate) identity: Identity,
    pub(crate) expires: OffsetDateTime,
}

/// What somebody wants to do.
#[derive(Clone, Copy)]
pub(crate) enum Wish<'a> {
    ManageEvents,
    ManageSecrets,
    ReadMetadata(&'a str),
    ReadPayload(&'a str),
    ReadEntities(&'a str),
    SeeProject(&'a str),
    UpdateEntities(&'a str),
    WriteProject(&'a str),
}

impl Store {
    pub(crate) fn permits(&self, identity: &Identity, wish: Wish<'_>) -> bool {
        match identity {
            Identity::Owner(_) => true,
            Identity::EventNotifications => {
                // Viewer and Writer
                self.en_authorized
                    && matches!(
                        wish,
                        Wish::SeeProject(_)
                            | Wish::ReadEntities(_)
                            | Wish::UpdateEntities(_)
                            | Wish::WriteProject(_)
                    )
            }
            Identity::Profile(id) => self
                .profiles
                .get(id)
                .is_some_and(|profile| profile.policies.iter().any(|policy| grants(policy, wish))),
        }
    }

    /// May this identity do anything at all on the Secrets Manager instance?
    pub(crate) fn knows_instance(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Owner(_) => true,
            Identity::EventNotifications => false,
            Identity::Profile(id) => self.profiles.get(id).is_some_and(|profile| {
                profile
                    .policies
                    .iter()
                    .any(|p| matches!(p, Policy::SecretsManager { .. }))
            }),
        }
    }

    pub(crate) fn next_tag(&mut self) -> String {
        self.last_tag += 1;
        // Opaque: not a digest, and not counting in a way that somebody could guess.
        let number = 1_000_000_007 + self.last_tag * 7919 + u64::from(rand::random::<u16>() % 7919);
        if self.digit_tags {
            number.to_string()
        } else {
            format!("{number}-{:x}", rand::random::<u16>())
        }
    }

    pub(crate) fn project_crn(&self, project: &Project) -> String {
        format!(
            "crn:v1:bluemix:public:codeengine:{}:a/{}:{}::",
            project.region, self.account_id, project.id
        )
    }

    pub(crate) fn secret_crn(&self, id: &str) -> String {
        format!(
            "{}secret:{id}",
            self.instance_crn.trim_end_matches(':').to_owned() + ":"
        )
    }

    pub(crate) fn remember(&mut self, secret: &str) {
        self.in_use.insert(secret.to_owned());
    }
}

fn grants(policy: &Policy, wish: Wish<'_>) -> bool {
    match (policy, wish) {
        (
            Policy::CodeEngine { project_id, .. },
            Wish::SeeProject(project) | Wish::ReadEntities(project),
        )
        | (
            Policy::CodeEngine {
                role: Role::Writer,
                project_id,
            },
            Wish::UpdateEntities(project) | Wish::WriteProject(project),
        ) => project_id == project,
        (
            Policy::CodeEngineCustom {
                actions,
                project_id,
            },
            wish,
        ) => {
            let (action, project) = match wish {
                Wish::SeeProject(project) => (Action::ReadProject, project),
                Wish::ReadEntities(project) => (Action::ReadEntities, project),
                Wish::UpdateEntities(project) => (Action::UpdateEntities, project),
                _ => return false,
            };
            project_id == project && actions.contains(&action)
        }
        (
            Policy::SecretsManager {
                secret_group_id, ..
            },
            Wish::ReadMetadata(group),
        ) => secret_group_id
            .as_deref()
            .is_none_or(|granted| granted == group),
        (
            Policy::SecretsManager {
                role,
                secret_group_id,
            },
            Wish::ReadPayload(group),
        ) => {
            matches!(role, Role::SecretsReader | Role::Writer)
                && secret_group_id
                    .as_deref()
                    .is_none_or(|granted| granted == group)
        }
        (
            Policy::SecretsManager {
                role: Role::Writer,
                secret_group_id: None,
            },
            Wish::ManageSecrets,
        ) => true,
        _ => false,
    }
}

// --- Secrets Manager ---

#[derive(Serialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    pub(crate) created_by: String,
}

pub(crate) struct Secret {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) secret_type: SecretType,
    pub(crate) secret_group_id: String,
    pub(crate) labels: Vec<String>,
    pub(crate) state: u8,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) created_by: String,
    pub(crate) updated_at: OffsetDateTime,
    pub(crate) retrieved_at: Option<OffsetDateTime>,
    /// How the next rotation issues.
    pub(crate) spec: CertificateSpec,
    /// Oldest first; empty while an order is pending.
    pub(crate) versions: Vec<Version>,
}

pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) auto_rotated: bool,
    pub(crate) downloaded: bool,
    /// Kept for the current and the previous version only.
    pub(crate) material: Option<Material>,
    pub(crate) facts: Option<Facts>,
}

impl Version {
    pub(crate) fn new(material: Material, auto_rotated: bool) -> Self {
        Self {
            id: new_id(),
            created_at: clock::now(),
            auto_rotated,
            downloaded: false,
            facts: material.certificate.as_deref().and_then(facts),
            material: Some(material),
        }
    }
}

impl Secret {
    pub(crate) fn current(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// Adds a version; payloads older than the previous one go.
    pub(crate) fn push(&mut self, version: Version) {
        self.updated_at = version.created_at;
        self.versions.push(version);
        let kept = self.versions.len().saturating_sub(2);
        for old in &mut self.versions[..kept] {
            old.material = None;
        }
    }

    /// `current`, `previous` or an id.
    pub(crate) fn version_index(&self, id: &str) -> Option<usize> {
        match id {
            "current" => self.versions.len().checked_sub(1),
            "previous" => self.versions.len().checked_sub(2),
            id => self.versions.iter().position(|version| version.id == id),
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
    /// Of every app, by name.
    pub(crate) revisions: BTreeMap<String, crate::code_engine::apps::Revisions>,
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
}

impl Resource {
    pub(crate) fn new(entity_tag: String, fields: Map<String, Value>) -> Self {
        Self {
            id: new_id(),
            entity_tag,
            created_at: clock::now(),
            writes: 1,
            fields,
        }
    }

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
