//! What tests do with a running cloud. Blocking; a wrong id is a mistake in the test and panics.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::authority::{CertificateSpec, Material};
use crate::events::{self, Happened};
use crate::journal::Entry;
use crate::store::{Link, Policy, Profile, Secret, Version};
use crate::{Authority, CloudHandle, Environment, Fault, FaultGuard, World, secrets_manager};

mod code_engine;
mod edge;
mod runs;
mod state;

pub use code_engine::{JobSettings, TlsSecret};
pub use edge::Served;
pub use runs::CronSubscription;

/// Where it is, and what there is.
impl CloudHandle {
    /// Base of the token service.
    pub fn iam_url(&self) -> String {
        self.cloud.addresses.iam.clone()
    }

    /// Base of Secrets Manager, without `/api/v2`.
    pub fn secrets_manager_url(&self) -> String {
        self.cloud.addresses.secrets_manager.clone()
    }

    /// Base of Event Notifications, with `/event-notifications`.
    pub fn event_notifications_url(&self) -> String {
        self.cloud.addresses.event_notifications.clone()
    }

    /// Base of Code Engine, without `/v2`: the home region. With `/{region}` behind it, any region.
    pub fn code_engine_url(&self) -> String {
        self.cloud.addresses.code_engine.clone()
    }

    /// Base of the control API.
    pub fn control_url(&self) -> String {
        self.cloud.addresses.control.clone()
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
        self.cloud.world.clone()
    }

    /// The CAs.
    pub fn authority(&self) -> &Authority {
        &self.cloud.authority
    }

    /// Variables for a run of the job outside of Code Engine.
    pub fn environment(&self) -> Environment {
        let world = &self.cloud.world;
        let token = world.cr_token_file.display().to_string();
        let ca = self.ca_file().display().to_string();
        let variables = [
            ("CODE_ENGINE_URL", self.code_engine_url()),
            ("CR_TOKEN_FILENAME", token),
            ("IAM_PROFILE_ID", world.profile_id.clone()),
            ("IAM_URL", self.iam_url()),
            ("PROBE_ADDRESS", self.edge().to_string()),
            ("PROJECT_ID", world.project_id.clone()),
            ("SECRETS_MANAGER_INSTANCE_ID", world.instance_id.clone()),
            ("SECRETS_MANAGER_URL", self.secrets_manager_url()),
            ("SSL_CERT_FILE", ca),
        ];
        let mut variables: Environment =
            variables.map(|(name, value)| (name.to_owned(), value)).into();
        if !self.cloud.options.https {
            variables.remove("SSL_CERT_FILE");
        }
        variables
    }

    /// Variables for a job in Code Engine, which gives it the project and the token file itself.
    pub fn job_environment(&self) -> Environment {
        let mut variables = self.environment();
        for own in ["CR_TOKEN_FILENAME", "PROJECT_ID", "CODE_ENGINE_URL"] {
            variables.remove(own);
        }
        variables
    }

    /// Every private key, token, CR token and API key that was ever in use here.
    pub fn secrets_in_use(&self) -> Vec<String> {
        let in_use = crate::store::lock(&self.cloud.in_use);
        in_use.iter().cloned().collect()
    }
}

/// IAM.
impl CloudHandle {
    /// Access tokens issued from now on live so many seconds.
    pub fn set_token_lifetime(&self, seconds: u64) {
        self.cloud.update(|store| store.token_lifetime = seconds);
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
        self.profile(|profile| profile.policies.clone())
    }

    /// Creates a trusted profile, or replaces all that it is; `id` is `Profile-` and a UUID.
    pub fn put_profile(&self, id: &str, name: &str, links: Vec<Link>, policies: Vec<Policy>) {
        let profile = Profile { name: name.to_owned(), links, policies };
        self.cloud.update(|store| store.profiles.insert(id.to_owned(), profile));
    }

    /// Deletes a trusted profile; tokens that it holds may do nothing from now on.
    pub fn delete_profile(&self, id: &str) {
        self.cloud.update(|store| store.profiles.remove(id));
    }

    /// May Event Notifications create job runs? (The service-to-service authorization.)
    pub fn authorize_event_notifications(&self, authorized: bool) {
        self.cloud.update(|store| store.en_authorized = authorized);
    }

    fn profile<R>(&self, change: impl FnOnce(&mut Profile) -> R) -> R {
        let id = &self.cloud.world.profile_id;
        self.cloud.update(|store| change(store.profiles.get_mut(id).expect("the world's profile")))
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

/// Secrets Manager.
impl CloudHandle {
    /// A new certificate secret; returns its id. The event `secret_created` is sent.
    pub fn issue(&self, spec: CertificateSpec) -> String {
        let add = |store: &mut _| secrets_manager::add(&self.cloud, store, &spec, None);
        let added = self.cloud.update(add);
        let id = added.unwrap_or_else(|why| panic!("issue {:?}: {why:?}", spec.names));
        self.send(Happened::Created, &[&id]);
        id
    }

    /// A new version of each; one event per secret type; returns when Event Notifications has
    /// finished with it.
    pub fn rotate(&self, secret_ids: &[&str]) {
        self.rotate_quietly(secret_ids);
        self.send(Happened::Rotated, secret_ids);
    }

    /// A new version of each without an event: it was lost.
    pub fn rotate_quietly(&self, secret_ids: &[&str]) {
        for id in secret_ids {
            self.renew(id, None, true);
        }
    }

    /// Changes how the next rotation issues.
    pub fn change_spec(&self, secret_id: &str, change: impl FnOnce(&mut CertificateSpec)) {
        self.secret(secret_id, |secret| change(&mut secret.spec));
    }

    /// A new version that holds exactly this; without an event.
    pub fn put_material(&self, secret_id: &str, material: Material) {
        self.renew(secret_id, Some(material), false);
    }

    fn renew(&self, id: &str, material: Option<Material>, auto_rotated: bool) {
        let rotated = self.cloud.update(|store| {
            secrets_manager::rotate(&self.cloud, store, id, material, auto_rotated)
        });
        rotated.unwrap_or_else(|why| panic!("rotate {id}: {why}"));
    }

    /// Replaces the current version's content in place, without a new version.
    pub fn change_material(&self, secret_id: &str, change: impl FnOnce(&mut Material)) {
        let mut material = self.material(secret_id);
        change(&mut material);
        secrets_manager::remember(&self.cloud, &material);
        self.secret(secret_id, |secret| {
            let current = secret.versions.last_mut().expect("a version");
            *current = Version {
                id: current.id.clone(),
                created_at: current.created_at,
                ..Version::new(material, false)
            };
        });
    }

    /// 0 pre-activation, 1 active, 2 suspended, 3 deactivated, 5 destroyed.
    pub fn set_state(&self, secret_id: &str, state: u8) {
        self.secret(secret_id, |secret| secret.state = state);
    }

    /// The last change of the secret is that much longer ago.
    pub fn age(&self, secret_id: &str, by: std::time::Duration) {
        self.secret(secret_id, |secret| secret.updated_at -= by);
    }

    /// The current version's content.
    pub fn material(&self, secret_id: &str) -> Material {
        let material = self.secret(secret_id, |secret| secret.current().material.clone());
        material.expect("the current version's content")
    }

    /// Serial number of the current version's certificate.
    pub fn serial(&self, secret_id: &str) -> Option<String> {
        self.secret(secret_id, |secret| {
            let serial = secret.current().facts.get("serial_number")?.as_str();
            serial.map(str::to_owned)
        })
    }

    fn secret<R>(&self, id: &str, look: impl FnOnce(&mut Secret) -> R) -> R {
        self.cloud.update(|store| {
            let secret = store.secrets.get_mut(id);
            look(secret.unwrap_or_else(|| panic!("there is no secret {id}")))
        })
    }

    fn send(&self, happened: Happened, ids: &[&str]) {
        let ids: Vec<_> = ids.iter().map(|&id| id.to_owned()).collect();
        let sent = events::send(&self.cloud, happened, &ids);
        self.cloud.runtime.block_on(sent);
    }
}
