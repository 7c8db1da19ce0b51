//! What exists at start: account, instances, project, trusted profile, API key.

use std::path::{Path, PathBuf};

use serde::Serialize;
use time::Duration;

use crate::clock::now;
use crate::store::{Claims, Identity, Link, Policy, Profile, Project, Role, Store, new_id};
use crate::{Cloud, event_notifications, iam};

/// Home region of everything, and of paths without a region in front.
pub(crate) const REGION: &str = "eu-de";

/// Name of the job that the trusted profile is linked to.
const JOB: &str = "sm-tls-sync";

/// IAM id of the account's owner.
pub(crate) const OWNER: &str = "IBMid-550000A1B2";

/// The ids of the ready world.
#[derive(Clone, Debug, Serialize)]
pub struct World {
    /// The account.
    pub account_id: String,
    /// Home region of everything.
    pub region: String,
    /// The Secrets Manager instance.
    pub instance_id: String,
    /// Its CRN.
    pub instance_crn: String,
    /// The Event Notifications instance.
    pub event_notifications_instance_id: String,
    /// Its CRN.
    pub event_notifications_instance_crn: String,
    /// The Code Engine project.
    pub project_id: String,
    /// Its name.
    pub project_name: String,
    /// Its CRN.
    pub project_crn: String,
    /// The trusted profile, linked to the job `sm-tls-sync` of the project.
    pub profile_id: String,
    /// Its name.
    pub profile_name: String,
    /// Its CRN.
    pub profile_crn: String,
    /// A key that may do everything.
    pub api_key: String,
    /// A compute resource token of the job, for runs outside of Code Engine.
    pub cr_token_file: PathBuf,
    /// Group of the certificates; the profile may read it.
    pub secret_group_id: String,
    /// Another group; the profile may not read it.
    pub foreign_secret_group_id: String,
    /// Event Notifications' own access token.
    #[serde(skip)]
    pub(crate) event_notifications_token: String,
}

impl World {
    pub(crate) fn new(directory: &Path) -> Self {
        let account_id = new_id().replace('-', "");
        let crn = |service: &str, id: &str| {
            format!("crn:v1:bluemix:public:{service}:{REGION}:a/{account_id}:{id}::")
        };
        let [instance_id, en_id, project_id] = [(); 3].map(|()| new_id());
        let profile_id = format!("Profile-{}", new_id());
        Self {
            instance_crn: crn("secrets-manager", &instance_id),
            event_notifications_instance_crn: crn("event-notifications", &en_id),
            project_crn: crn("codeengine", &project_id),
            profile_crn: profile_crn(&account_id, &profile_id),
            account_id,
            region: REGION.into(),
            instance_id,
            event_notifications_instance_id: en_id,
            project_id,
            project_name: "shop".into(),
            profile_id,
            profile_name: JOB.into(),
            api_key: (new_id() + &new_id()).replace('-', ""),
            cr_token_file: directory.join("token"),
            secret_group_id: new_id(),
            foreign_secret_group_id: new_id(),
            event_notifications_token: new_id(),
        }
    }

    pub(crate) fn crn_of(&self, project: &Project) -> String {
        let (account, region, id) = (&self.account_id, &project.region, &project.id);
        format!("crn:v1:bluemix:public:codeengine:{region}:a/{account}:{id}::")
    }
}

pub(crate) fn profile_crn(account_id: &str, id: &str) -> String {
    format!("crn:v1:bluemix:public:iam-identity::a/{account_id}::profile:{id}")
}

pub(crate) fn fill(cloud: &Cloud, store: &mut Store) -> anyhow::Result<()> {
    let world = &cloud.world;
    store.token_lifetime = 3600;
    store.en_authorized = true;
    event_notifications::fill(store);
    for (id, name) in [
        ("default", "default"),
        (&world.secret_group_id, "certificates"),
        (&world.foreign_secret_group_id, "other team"),
    ] {
        store.secret_groups.insert(id.into(), name.into());
    }
    add_project(store, &world.project_id, &world.project_name, REGION);
    let profile = Profile {
        name: world.profile_name.clone(),
        links: vec![Link {
            crn: world.project_crn.clone(),
            component_type: "job".into(),
            component_name: JOB.into(),
        }],
        policies: vec![
            Policy::SecretsManager {
                role: Role::SecretsReader,
                secret_group_id: Some(world.secret_group_id.clone()),
            },
            Policy::CodeEngine { role: Role::Writer, project_id: world.project_id.clone() },
        ],
    };
    store.profiles.insert(world.profile_id.clone(), profile);
    let claims = Claims {
        project_id: world.project_id.clone(),
        component_name: JOB.into(),
        expires: now() + Duration::days(1),
    };
    // Kubernetes writes no line end; other writers do.
    std::fs::write(&world.cr_token_file, iam::cr_token(cloud, store, claims))?;
    cloud.remember(&world.api_key);
    cloud.remember(&world.event_notifications_token);
    let lasting = (Identity::EventNotifications, now() + Duration::days(365));
    let token = world.event_notifications_token.clone();
    store.access_tokens.insert(token, lasting);
    Ok(())
}

pub(crate) fn add_project(store: &mut Store, id: &str, name: &str, region: &str) {
    let project = Project {
        id: id.to_owned(),
        name: name.to_owned(),
        region: region.to_owned(),
        subdomain: new_id()[..13].replace('-', ""),
        created_at: now(),
        resources: Default::default(),
        job_runs: Default::default(),
        crons: Default::default(),
    };
    store.projects.insert(id.to_owned(), project);
}
