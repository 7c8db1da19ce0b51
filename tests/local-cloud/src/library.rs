//! What tests do with a running cloud. Blocking; a wrong id is a mistake in the test and panics.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::clock::now;
use crate::journal::Entry;
use crate::store::{Claims, Link, Policy, Profile, Role, new_id};
use crate::{Authority, CloudHandle, Environment, Fault, FaultGuard, World, iam};

mod access;
mod code_engine;
mod cron;
mod edge;
mod secrets_manager;
mod state;
mod timer;
mod triggers;

pub use code_engine::{JobSettings, TlsSecret};
pub use cron::CronSubscription;
pub use edge::Served;
pub use timer::TimerEvent;

/// Where it is, and what there is.
impl CloudHandle {
    /// Base of the token service.
    pub fn iam_url(&self) -> String {
        self.cloud.addresses.iam()
    }

    /// Base of Secrets Manager, without `/api/v2`.
    pub fn secrets_manager_url(&self) -> String {
        self.cloud.addresses.secrets_manager()
    }

    /// Base of Event Notifications, with `/event-notifications`.
    pub fn event_notifications_url(&self) -> String {
        self.cloud.addresses.event_notifications()
    }

    /// Base of Code Engine, without `/v2`: the home region. With `/{region}` behind it, any region.
    pub fn code_engine_url(&self) -> String {
        self.cloud.addresses.code_engine()
    }

    /// Base of the control API.
    pub fn control_url(&self) -> String {
        self.cloud.addresses.control()
    }

    /// Where domain mappings are served.
    pub fn edge(&self) -> SocketAddr {
        self.cloud.addresses.edge
    }

    /// PEM file of the roots of this world: the CA behind our HTTPS, and the public-like root.
    pub fn ca_file(&self) -> PathBuf {
        self.cloud.directory.path().join("ca.pem")
    }

    /// The ids of the ready world.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// The CAs.
    pub fn authority(&self) -> &Authority {
        &self.cloud.authority
    }

    /// Variables for a run of the job outside of Code Engine.
    pub fn environment(&self) -> Environment {
        outside(self)
    }

    /// Variables for a job in Code Engine, which gives it the project and the token file itself.
    pub fn job_environment(&self) -> Environment {
        let mut variables = outside(self);
        variables.retain(|name, _| {
            !["CR_TOKEN_FILENAME", "PROJECT_ID", "CODE_ENGINE_URL"].contains(&name.as_str())
        });
        variables
    }

    /// Every private key, token, CR token and API key that was ever in use here.
    pub fn secrets_in_use(&self) -> Vec<String> {
        self.cloud
            .update(|store| store.in_use.iter().cloned().collect())
    }
}

fn outside(cloud: &CloudHandle) -> Environment {
    let world = &cloud.world;
    let mut variables = vec![
        ("CODE_ENGINE_URL", cloud.code_engine_url()),
        (
            "CR_TOKEN_FILENAME",
            world.cr_token_file.display().to_string(),
        ),
        ("IAM_PROFILE_ID", world.profile_id.clone()),
        ("IAM_URL", cloud.iam_url()),
        ("PROBE_ADDRESS", cloud.edge().to_string()),
        ("PROJECT_ID", world.project_id.clone()),
        ("SECRETS_MANAGER_INSTANCE_ID", world.instance_id.clone()),
        ("SECRETS_MANAGER_URL", cloud.secrets_manager_url()),
    ];
    if cloud.cloud.options.https {
        variables.push(("SSL_CERT_FILE", cloud.ca_file().display().to_string()));
    }
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// IAM.
impl CloudHandle {
    /// Access tokens issued from now on live so many seconds.
    pub fn set_token_lifetime(&self, seconds: u64) {
        self.cloud.update(|store| store.token_lifetime = seconds);
    }

    /// Every access token issued so far is refused from now on.
    pub fn revoke_tokens(&self) {
        let kept = &self.cloud.en_token;
        self.cloud
            .update(|store| store.access_tokens.retain(|token, _| token == kept));
    }

    /// Replaces the links of the world's profile.
    pub fn set_links(&self, links: Vec<Link>) {
        self.profile(|profile| profile.links = links);
    }

    /// Replaces the policies of the world's profile.
    pub fn set_policies(&self, policies: Vec<Policy>) {
        self.profile(|profile| profile.policies = policies);
    }

    /// Adds a policy to the world's profile.
    pub fn grant(&self, policy: Policy) {
        self.profile(|profile| profile.policies.push(policy));
    }

    /// Takes a policy from the world's profile.
    pub fn revoke(&self, policy: &Policy) {
        self.profile(|profile| {
            let held = profile.policies.iter().position(|held| held == policy);
            let held = held.unwrap_or_else(|| panic!("the profile has no policy {policy:?}"));
            profile.policies.remove(held);
        });
    }

    /// The policies of the world's profile.
    pub fn policies(&self) -> Vec<Policy> {
        let id = &self.world.profile_id;
        self.cloud
            .update(|store| store.profiles[id].policies.clone())
    }

    /// Lets a job of any project assume the world's profile, and the profile write that project.
    pub fn trust_job(&self, project_id: &str, job: &str) {
        let link = Link {
            crn: self.project_crn(project_id),
            component_type: "job".into(),
            component_name: job.to_owned(),
        };
        self.profile(|profile| profile.links.push(link));
        self.grant(Policy::CodeEngine {
            role: Role::Writer,
            project_id: project_id.to_owned(),
        });
    }

    /// A file with a compute resource token of any component; `lifetime` may be negative.
    pub fn cr_token_file(
        &self,
        project_id: &str,
        component_type: &str,
        component_name: &str,
        lifetime: time::Duration,
    ) -> PathBuf {
        let claims = Claims {
            project_id: project_id.to_owned(),
            component_type: component_type.to_owned(),
            component_name: component_name.to_owned(),
            expires: now() + lifetime,
        };
        let token = self.cloud.update(|store| iam::cr_token(store, claims));
        let file = self
            .cloud
            .directory
            .path()
            .join(format!("token-{}", new_id()));
        std::fs::write(&file, token).expect("token file");
        file
    }

    /// May Event Notifications create job runs? (The service-to-service authorization.)
    pub fn authorize_event_notifications(&self, authorized: bool) {
        self.cloud.update(|store| store.en_authorized = authorized);
    }

    fn profile(&self, change: impl FnOnce(&mut Profile)) {
        let id = &self.world.profile_id;
        self.cloud
            .update(|store| change(store.profiles.get_mut(id).expect("the world's profile")));
    }
}

/// Faults and journal.
impl CloudHandle {
    /// Switches a fault on until its guard is dropped.
    pub fn fault(&self, fault: Fault) -> FaultGuard {
        self.cloud.faults.set(fault)
    }

    /// Every request since the last `clear_journal`, in order.
    pub fn journal(&self) -> Vec<Entry> {
        self.cloud.journal.entries()
    }

    /// Forgets the journal.
    pub fn clear_journal(&self) {
        self.cloud.journal.clear();
    }
}
