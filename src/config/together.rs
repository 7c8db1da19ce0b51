//! What several variables mean together, and which of them contradict each other.

use std::path::PathBuf;

use crate::config::variables::Given;
use crate::config::{Event, Grantee, Mode, Share};
use crate::error::Reason;
use crate::ibm::iam::Credentials;
use crate::ibm::ids::{Region, Uuid};
use crate::ibm::secrets_manager::Version;

/// Where the compute resource token is: Code Engine's path first, then the defaults of IBM's SDKs.
const TOKEN_FILES: [&str; 3] = [
    "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token",
    "/var/run/secrets/tokens/vault-token",
    "/var/run/secrets/tokens/sa-token",
];

impl Given<'_> {
    pub(super) fn mode(&mut self) -> Mode {
        match (self.check, self.discover) {
            (Some(true), Some(true)) => {
                let what = "set only one of these";
                self.notes.problem("CHECK, DISCOVER", what);
                Mode::Check
            }
            (Some(true), _) => Mode::Check,
            (_, Some(true)) => Mode::Discover,
            _ => Mode::Run,
        }
    }

    /// The instance that is set, or the one that the URL shows.
    pub(super) fn instance(&mut self) -> Option<Uuid> {
        let url = self.secrets_manager_url.as_deref().unwrap_or_default();
        let host = url.trim_start_matches("https://").split('.').next();
        let host = host.and_then(|label| Uuid::parse(label).ok());
        let set = self.instance.take();
        if let (Some(set), Some(host)) = (&set, &host)
            && set != host
        {
            let what = format!("{set} is not the instance of SECRETS_MANAGER_URL, {host}");
            self.notes.problem("SECRETS_MANAGER_INSTANCE_ID", what);
        }
        set.or(host)
    }

    /// Whether a person started the run, for one secret.
    fn by_hand(&self, event: &Event) -> bool {
        matches!(event, Event::Manual) && self.notes.is_set("SECRET_ID")
    }

    pub(super) fn version(&mut self, event: &Event) -> Version {
        let version = self.version.unwrap_or_default();
        if version == Version::Previous && !self.by_hand(event) {
            let what = "previous is only valid in a manual run with SECRET_ID";
            self.notes.problem("SECRET_VERSION", what);
        }
        version
    }

    /// Elsewhere it could stay on by mistake.
    pub(super) fn force(&mut self, event: &Event) -> Vec<Reason> {
        let force = self.force.take().unwrap_or_default();
        if force.is_empty() || self.by_hand(event) {
            return force;
        }
        let ignored = "FORCE is ignored: it only counts in a manual run with SECRET_ID";
        self.notes.warnings.push(ignored.to_owned());
        Vec::new()
    }

    pub(super) fn credentials(&mut self) -> Option<Credentials> {
        let names = ["IAM_PROFILE_ID", "IAM_PROFILE_NAME", "IBMCLOUD_API_KEY"];
        let inside = self.in_code_engine();
        match self.notes.at_most_one(&names).as_slice() {
            [] => {
                let what = "set one of IAM_PROFILE_ID, IAM_PROFILE_NAME (outside Code Engine: IBMCLOUD_API_KEY)";
                self.notes.problem("IAM_PROFILE_ID", what);
            }
            ["IBMCLOUD_API_KEY"] if inside => {
                let what = "is only valid outside Code Engine: set IAM_PROFILE_ID to the trusted profile of the job";
                self.notes.problem("IBMCLOUD_API_KEY", what);
            }
            _ => {}
        }
        if let Some(key) = self.api_key.take() {
            return Some(Credentials::ApiKey(key));
        }
        let (field, profile) = match (self.profile_id.take(), self.profile_name.take()) {
            (Some(crn), _) if crn.starts_with("crn:") => ("profile_crn", crn),
            (Some(id), _) => ("profile_id", id),
            (None, name) => ("profile_name", name?),
        };
        let token_file = self.token_file.take().map(|file| vec![file]);
        Some(Credentials::Profile {
            field,
            profile,
            token_files: token_file.unwrap_or_else(|| TOKEN_FILES.map(PathBuf::from).to_vec()),
        })
    }

    /// Whom to grant a missing permission.
    pub(super) fn grantee(
        &self,
        credentials: Option<&Credentials>,
        instance: Option<Uuid>,
    ) -> Grantee {
        let url = self.secrets_manager_url.as_deref();
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

    pub(super) fn proxy(&mut self) -> Option<ureq::Proxy> {
        let proxy = self.proxy.take()?;
        let (direct, ignored) = self.no_proxy.take().unwrap_or_default();
        if ignored > 0 {
            self.notes.warnings.push(format!(
                "NO_PROXY: {ignored} entries are ignored: expected hosts and domains, without a port; CIDR blocks do not count"
            ));
        }
        let mut builder = ureq::Proxy::builder(proxy.protocol())
            .host(proxy.host())
            .port(proxy.port());
        if let Some(name) = proxy.username() {
            builder = builder.username(name);
        }
        if let Some(password) = proxy.password() {
            builder = builder.password(password);
        }
        let builder = direct.iter().fold(builder, |b, host| b.no_proxy(host));
        // its parts were those of a proxy before
        Some(builder.build().unwrap_or(proxy))
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
