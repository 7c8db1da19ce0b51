//! What several variables mean together, and which of them contradict each other.

use std::path::PathBuf;

use crate::config::variables::Given;
use crate::config::{Grantee, Mode, Share, Trigger};
use crate::error::Reason;
use crate::ibm::iam::Credentials;
use crate::ibm::ids::{Region, Uuid};
use crate::ibm::proxy::Proxy;
use crate::ibm::secrets_manager::Version;

/// Where the compute resource token is: Code Engine's path first, then the defaults of IBM's SDKs.
const TOKEN_FILES: [&str; 3] = [
    "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token",
    "/var/run/secrets/tokens/vault-token",
    "/var/run/secrets/tokens/sa-token",
];

impl Given<'_> {
    pub(super) fn mode(&mut self) -> Mode {
        let set = |value| value == Some(true);
        self.notes.at_most_one([
            (self.check.name, set(self.check.value)),
            (self.discover.name, set(self.discover.value)),
        ]);
        match (self.check.value, self.discover.value) {
            (Some(true), _) => Mode::Check,
            (_, Some(true)) => Mode::Discover,
            _ => Mode::Run,
        }
    }

    /// The instance that is set, or the one that the URL shows.
    pub(super) fn instance(&mut self) -> Option<Uuid> {
        let url = self.secrets_manager_url.value.as_deref();
        let host = url
            .and_then(|base| Some(base.split_once("://")?.1))
            .and_then(|host| Uuid::parse(host.split('.').next()?).ok());
        let set = self.instance.value.clone();
        if let (Some(set), Some(host)) = (&set, &host)
            && set != host
        {
            let what = format!("{set} is not the instance of SECRETS_MANAGER_URL, {host}");
            self.notes.problem(self.instance.name, what);
        }
        set.or(host)
    }

    /// Whether a person started the run, for one secret.
    const fn by_hand(&self, trigger: &Trigger) -> bool {
        matches!(trigger, Trigger::Manual) && self.secret.given
    }

    pub(super) fn version(&mut self, trigger: &Trigger) -> Version {
        let version = self.version.value.unwrap_or_default();
        if version == Version::Previous && !self.by_hand(trigger) {
            let what = "previous is only valid in a manual run with SECRET_ID";
            self.notes.problem(self.version.name, what);
        }
        version
    }

    /// Elsewhere it could stay on by mistake.
    pub(super) fn force(&mut self, trigger: &Trigger) -> Vec<Reason> {
        let force = self.force.value.take().unwrap_or_default();
        if force.is_empty() || self.by_hand(trigger) {
            return force;
        }
        let ignored = "FORCE is ignored: it only counts in a manual run with SECRET_ID";
        self.notes.warnings.push(ignored.to_owned());
        Vec::new()
    }

    pub(super) fn credentials(&mut self) -> Option<Credentials> {
        let set = self.notes.at_most_one([
            (self.profile_id.name, self.profile_id.given),
            (self.profile_name.name, self.profile_name.given),
            (self.api_key.name, self.api_key.given),
        ]);
        match set.as_slice() {
            [] => self.notes.problem(
                self.profile_id.name,
                "set one of IAM_PROFILE_ID, IAM_PROFILE_NAME (outside Code Engine: IBMCLOUD_API_KEY)",
            ),
            [key] if *key == self.api_key.name && self.in_code_engine() => self.notes.problem(
                key,
                "is only valid outside Code Engine: set IAM_PROFILE_ID to the trusted profile of the job",
            ),
            _ => {}
        }
        if let Some(key) = self.api_key.value.take() {
            return Some(Credentials::ApiKey(key));
        }
        let by_id = self
            .profile_id
            .value
            .take()
            .map(|id| match id.starts_with("crn:") {
                true => ("profile_crn", id),
                false => ("profile_id", id),
            });
        let by_name = self.profile_name.value.take();
        let (field, profile) = by_id.or_else(|| Some(("profile_name", by_name?)))?;
        let defaults = || TOKEN_FILES.map(PathBuf::from).to_vec();
        Some(Credentials::Profile {
            field,
            profile,
            token_files: self
                .token_file
                .value
                .take()
                .map_or_else(defaults, |file| vec![file]),
        })
    }

    /// Whom to grant a missing permission.
    pub(super) fn grantee(
        &self,
        credentials: Option<&Credentials>,
        instance: Option<Uuid>,
    ) -> Grantee {
        let url = self.secrets_manager_url.value.as_deref();
        Grantee {
            profile: match credentials {
                Some(Credentials::Profile { profile, .. }) => Some(profile.clone()),
                _ => None,
            },
            instance,
            // people are not in IBM's network
            secrets_manager: url.unwrap_or_default().replace(".private.", "."),
            region: self.injected("CE_REGION", Region::parse),
            job: self.injected("CE_JOB", |name| Ok(name.to_owned())),
        }
    }

    pub(super) fn proxy(&mut self) -> Option<Proxy> {
        Some(Proxy {
            server: self.proxy.value.take()?,
            except: self.no_proxy.value.take().unwrap_or_default(),
        })
    }

    /// Code Engine injects both variables; without them the run is the whole array.
    pub(super) fn share(&mut self) -> Share {
        let number = |name| self.environment.get(name).map(|text| text.parse::<usize>());
        let Some(Ok(size @ 1..)) = number("JOB_ARRAY_SIZE") else {
            return Share { index: 0, size: 1 };
        };
        let index = match number("JOB_INDEX") {
            Some(Ok(index)) if index < size => index,
            None if size == 1 => 0,
            _ => {
                let last = size - 1;
                let what = format!(
                    "expected an index below JOB_ARRAY_SIZE ({size}): submit the job run with --array-indices 0-{last}"
                );
                self.notes.problem("JOB_INDEX", what);
                0
            }
        };
        Share { index, size }
    }
}
