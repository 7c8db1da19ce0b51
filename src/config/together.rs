//! What several variables mean together, and which of them contradict each other.

use std::path::PathBuf;

use crate::config::variables::{Notes, Settings};
use crate::ibm::grantee::Grantee;
use crate::ibm::iam::Credentials;
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::Version;

/// Where the compute resource token is: Code Engine's path first, then the defaults of IBM's SDKs.
const TOKEN_FILES: [&str; 3] = [
    "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token",
    "/var/run/secrets/tokens/vault-token",
    "/var/run/secrets/tokens/sa-token",
];

impl Settings {
    /// Single settings that are missing, or have no place in this run.
    pub(super) fn judge(&mut self, notes: &mut Notes<'_>) {
        if !notes.is_set("SECRETS_MANAGER_URL") {
            notes.problem("SECRETS_MANAGER_URL: is required");
        }
        if self.check && self.discover {
            notes.problem("CHECK, DISCOVER: set only one of these");
        }
        if self.array_size > 0
            && self
                .array_index
                .is_none_or(|index| index >= self.array_size)
        {
            let (size, last) = (self.array_size, self.array_size - 1);
            notes.problem(format!("JOB_INDEX: expected an index below JOB_ARRAY_SIZE ({size}): submit the job run with --array-indices 0-{last}"));
        }
        if self.manual() && notes.is_set("SECRET_ID") {
            return;
        }
        if self.version == Version::Previous {
            notes.problem("SECRET_VERSION: previous is only valid in a manual run with SECRET_ID");
        }
        // elsewhere it could stay on by mistake
        if !self.force.is_empty() {
            self.force.clear();
            notes.warn("FORCE is ignored: it only counts in a manual run with SECRET_ID");
        }
    }

    /// The instance is the one that is set, or the one that the URL shows. `SECRET_ID` is a secret of it.
    pub(super) fn find_instance(&mut self, notes: &mut Notes<'_>) {
        let host = self.secrets_manager.trim_start_matches("https://");
        let label = host.split('.').next().unwrap_or_default();
        let shown = Uuid::parse(label).ok();
        if let (Some(set), Some(shown)) = (&self.instance, &shown)
            && set != shown
        {
            notes.problem(format!("SECRETS_MANAGER_INSTANCE_ID: {set} is not the instance of SECRETS_MANAGER_URL, {shown}"));
        }
        self.instance = self.instance.take().or(shown);
        if let Err(e) = self.own(self.secret.as_ref()) {
            notes.problem(format!("SECRET_ID: {e}"));
        }
    }

    /// Whom to grant a missing permission.
    pub(super) fn grantee(&self) -> Grantee {
        let profile = self.profile_id.as_ref().or(self.profile_name.as_ref());
        Grantee {
            profile: profile.cloned(),
            instance: self.instance.clone(),
            // people are not in IBM's network
            secrets_manager: self.secrets_manager.replace(".private.", "."),
            region: self.own_region.clone(),
            job: self.job.clone(),
        }
    }

    pub(super) fn credentials(&mut self, notes: &mut Notes<'_>) -> Credentials {
        let names = ["IAM_PROFILE_ID", "IAM_PROFILE_NAME", "IBMCLOUD_API_KEY"];
        let required = "IAM_PROFILE_ID: set one of IAM_PROFILE_ID, IAM_PROFILE_NAME (outside Code Engine: IBMCLOUD_API_KEY)";
        let used = notes.one_of(&names, Some(required.to_owned()));
        if self.in_code_engine && used == Some("IBMCLOUD_API_KEY") {
            notes.problem("IBMCLOUD_API_KEY: is only valid outside Code Engine: set IAM_PROFILE_ID to the trusted profile of the job");
        }
        if let Some(key) = self.api_key.take() {
            return Credentials::ApiKey(key);
        }
        let (field, profile) = match (self.profile_id.take(), self.profile_name.take()) {
            (Some(crn), _) if crn.starts_with("crn:") => ("profile_crn", crn),
            (Some(id), _) => ("profile_id", id),
            (None, name) => ("profile_name", name.unwrap_or_default()),
        };
        let token_file = self.token_file.take().map(|file| vec![file]);
        Credentials::Profile {
            field,
            profile,
            token_files: token_file.unwrap_or_else(|| TOKEN_FILES.map(PathBuf::from).to_vec()),
        }
    }

    /// Tells the proxy what is reached without it.
    pub(super) fn pass_by_proxy(&mut self, notes: &mut Notes<'_>) {
        let Some(proxy) = &self.proxy else { return };
        let (direct, ignored) = &self.no_proxy;
        if *ignored > 0 {
            notes.warn(format!("NO_PROXY: {ignored} entries are ignored: expected hosts and domains, without a port; CIDR blocks do not count"));
        }
        let builder = ureq::Proxy::builder(proxy.protocol());
        let mut builder = builder.host(proxy.host()).port(proxy.port());
        if let Some(name) = proxy.username() {
            let password = proxy.password().unwrap_or_default();
            builder = builder.username(name).password(password);
        }
        let builder = direct.iter().fold(builder, |b, host| b.no_proxy(host));
        // its parts were those of a proxy before
        self.proxy = builder.build().ok();
    }
}
