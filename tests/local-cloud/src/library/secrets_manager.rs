//! Secrets, versions, their events.

use crate::CloudHandle;
use crate::authority::{CertificateSpec, Material};
use crate::events::{self, Happened};
use crate::secrets_manager;
use crate::store::{Secret, Version};

/// Secrets Manager.
impl CloudHandle {
    /// A new certificate secret; returns its id. The event `secret_created` is sent.
    pub fn issue(&self, spec: CertificateSpec) -> String {
        let id = self.cloud.update(|store| {
            secrets_manager::add(&self.cloud, store, &spec, None, "IBMid-550000A1B2")
                .unwrap_or_else(|(_, why)| panic!("issue {:?}: {why}", spec.names))
        });
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
        self.cloud.update(|store| {
            for id in secret_ids {
                secrets_manager::rotate(&self.cloud, store, id, None, true)
                    .unwrap_or_else(|why| panic!("rotate {id}: {why}"));
            }
        });
    }

    /// The event `secret_rotated` again, without a rotation: late, twice, out of order.
    pub fn send_rotated(&self, secret_ids: &[&str]) {
        self.send(Happened::Rotated, secret_ids);
    }

    /// Changes how the next rotation issues.
    pub fn change_spec(&self, secret_id: &str, change: impl FnOnce(&mut CertificateSpec)) {
        self.secret(secret_id, |secret| change(&mut secret.spec));
    }

    /// A new version that holds exactly this; without an event.
    pub fn put_material(&self, secret_id: &str, material: Material) {
        self.cloud.update(|store| {
            secrets_manager::rotate(&self.cloud, store, secret_id, Some(material), false)
                .unwrap_or_else(|why| panic!("put_material {secret_id}: {why}"));
        });
    }

    /// Replaces the current version's content in place, without a new version.
    pub fn change_material(&self, secret_id: &str, change: impl FnOnce(&mut Material)) {
        self.cloud.update(|store| {
            let secret = store
                .secrets
                .get_mut(secret_id)
                .expect("a secret of this id");
            let current = secret.versions.last_mut().expect("a version");
            let mut material = current
                .material
                .clone()
                .expect("the current version's content");
            change(&mut material);
            let (id, created_at) = (current.id.clone(), current.created_at);
            *current = Version {
                id,
                created_at,
                ..Version::new(material.clone(), false)
            };
            secrets_manager::remember(store, &material);
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

    /// The current version was created that much earlier.
    pub fn age_version(&self, secret_id: &str, by: std::time::Duration) {
        self.secret(secret_id, |secret| {
            secret.versions.last_mut().expect("a version").created_at -= by;
        });
    }

    /// The current version's content.
    pub fn material(&self, secret_id: &str) -> Material {
        self.secret(secret_id, |secret| {
            let current = secret.current().expect("a version");
            current
                .material
                .clone()
                .expect("the current version's content")
        })
    }

    /// Serial number of the current version's certificate.
    pub fn serial(&self, secret_id: &str) -> Option<String> {
        self.secret(secret_id, |secret| {
            Some(secret.current()?.facts.as_ref()?.serial_number.clone())
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
        self.cloud
            .runtime
            .block_on(events::send(&self.cloud, happened, &ids));
    }
}
