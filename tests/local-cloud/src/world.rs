//! What exists at start: account, instances, project, trusted profile, API key.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Options;
use crate::clock::now;
use crate::event_notifications;
use crate::iam;
use crate::store::{
    AccessToken, Claims, Group, Identity, Link, Policy, Profile, Project, Role, Store, new_id,
};

/// Name of the job that the trusted profile is linked to.
const JOB: &str = "sm-tls-sync";

/// IAM id of the account's owner.
const OWNER: &str = "IBMid-550000A1B2";

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
}

/// Fills the store; returns the ids and Event Notifications' own token.
pub(crate) fn found(
    store: &mut Store,
    options: &Options,
    directory: &Path,
) -> anyhow::Result<(World, String)> {
    let account_id = new_id().replace('-', "");
    let region = options.region.clone();
    let crn = |service: &str, id: &str| {
        format!("crn:v1:bluemix:public:{service}:{region}:a/{account_id}:{id}::")
    };
    let (instance_id, en_id, profile_uuid) = (new_id(), new_id(), new_id());
    store.account_id = account_id.clone();
    store.resource_group_id = new_id().replace('-', "");
    store.token_lifetime = 3600;
    store.digit_tags = options.digit_tags;
    store.instance_crn = crn("secrets-manager", &instance_id);
    store.instance_id = instance_id;
    store.instance_region = region.clone();
    store.en_instance_crn = crn("event-notifications", &en_id);
    store.en_instance_id = en_id;
    store.en_authorized = true;
    let mail = event_notifications::built_in_mail();
    let id = mail["id"].as_str().unwrap_or_default().to_owned();
    store.destinations.insert(id, mail);

    let (secret_group_id, foreign_secret_group_id) = (new_id(), new_id());
    for (id, name) in [
        ("default", "default"),
        (&secret_group_id, "certificates"),
        (&foreign_secret_group_id, "other team"),
    ] {
        let group = Group {
            name: name.to_owned(),
            created_at: now(),
            created_by: OWNER.to_owned(),
        };
        store.secret_groups.insert(id.to_owned(), group);
    }

    let project_name = "shop".to_owned();
    let project_id = add_project(store, &project_name, &region);
    let project_crn = store.project_crn(&store.projects[&project_id]);

    let profile = Profile {
        id: format!("Profile-{profile_uuid}"),
        name: JOB.into(),
        crn: format!(
            "crn:v1:bluemix:public:iam-identity::a/{account_id}::profile:Profile-{profile_uuid}"
        ),
        links: vec![Link {
            crn: project_crn.clone(),
            component_type: "job".into(),
            component_name: JOB.into(),
        }],
        policies: vec![
            Policy::SecretsManager {
                role: Role::SecretsReader,
                secret_group_id: Some(secret_group_id.clone()),
            },
            Policy::CodeEngine {
                role: Role::Writer,
                project_id: project_id.clone(),
            },
        ],
    };

    let api_key = format!("{}{}", new_id(), new_id()).replace('-', "");
    store.remember(&api_key);
    store.api_keys.insert(api_key.clone(), OWNER.into());

    let claims = Claims {
        project_id: project_id.clone(),
        component_type: "job".into(),
        component_name: JOB.into(),
        expires: now() + time::Duration::days(1),
    };
    let cr_token_file = directory.join("token");
    // Kubernetes writes no line end; other writers do.
    std::fs::write(&cr_token_file, iam::cr_token(store, claims))?;

    let en_token = new_id();
    store.remember(&en_token);
    let lasting = AccessToken {
        identity: Identity::EventNotifications,
        expires: now() + time::Duration::days(365),
    };
    store.access_tokens.insert(en_token.clone(), lasting);

    let world = World {
        account_id,
        region,
        instance_id: store.instance_id.clone(),
        instance_crn: store.instance_crn.clone(),
        event_notifications_instance_id: store.en_instance_id.clone(),
        event_notifications_instance_crn: store.en_instance_crn.clone(),
        project_id,
        project_name,
        project_crn,
        profile_id: profile.id.clone(),
        profile_name: profile.name.clone(),
        profile_crn: profile.crn.clone(),
        api_key,
        cr_token_file,
        secret_group_id,
        foreign_secret_group_id,
    };
    store.profiles.insert(profile.id.clone(), profile);
    Ok((world, en_token))
}

pub(crate) fn add_project(store: &mut Store, name: &str, region: &str) -> String {
    let id = new_id();
    let project = Project {
        id: id.clone(),
        name: name.to_owned(),
        region: region.to_owned(),
        subdomain: new_id()[..13].replace('-', ""),
        created_at: now(),
        resources: Default::default(),
        revisions: Default::default(),
        job_runs: Default::default(),
        crons: Default::default(),
    };
    store.projects.insert(id.clone(), project);
    id
}
