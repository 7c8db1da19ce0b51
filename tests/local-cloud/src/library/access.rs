//! IAM's management of trusted profiles besides the world's own.

use crate::CloudHandle;
use crate::store::{Link, Policy, Profile};

/// Trusted profiles.
impl CloudHandle {
    /// Creates a trusted profile, or replaces all that it is; `id` is `Profile-` and a UUID.
    pub fn put_profile(&self, id: &str, name: &str, links: Vec<Link>, policies: Vec<Policy>) {
        self.cloud.update(|store| {
            let account = &store.account_id;
            let profile = Profile {
                id: id.to_owned(),
                name: name.to_owned(),
                crn: format!("crn:v1:bluemix:public:iam-identity::a/{account}::profile:{id}"),
                links,
                policies,
            };
            store.profiles.insert(id.to_owned(), profile);
        });
    }

    /// Deletes a trusted profile; tokens that it holds are refused from now on.
    pub fn delete_profile(&self, id: &str) {
        self.cloud.update(|store| store.profiles.remove(id));
    }

    /// Who may assume a trusted profile, and what it may do; `None`: there is none.
    pub fn profile_access(&self, id: &str) -> Option<(Vec<Link>, Vec<Policy>)> {
        self.cloud.update(|store| {
            let profile = store.profiles.get(id)?.clone();
            Some((profile.links, profile.policies))
        })
    }
}
