//! What several variables mean together, and which of them contradict each other.

use std::collections::HashSet;

use anyhow::{Context, Error, Result, bail, ensure};
use serde_json::Value;

use crate::config::Target;
use crate::config::values::{Entry, field, restart_apps};
use crate::config::variables::{Notes, Settings};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::grantee::{Credentials, Grantee};
use crate::ibm::ids::{Region, SecretId, TlsSecretName, Uuid};
use crate::ibm::secrets_manager::Version;

/// The API of any region.
const CODE_ENGINE: &str = "https://api.{region}.codeengine.cloud.ibm.com";

impl Settings {
    /// Single settings that are missing, or have no place in this run.
    pub(super) fn judge(&mut self, notes: &mut Notes<'_>) {
        if !notes.is_set("SECRETS_MANAGER_URL") {
            notes.problem("SECRETS_MANAGER_URL: is required");
        }
        if self.check && self.discover {
            notes.problem("CHECK, DISCOVER: set only one of these");
        }
        let size = self.array_size;
        // an array of one may go without
        let fits = self.array_index.map_or(size == 1, |index| index < size);
        if size > 0 && !fits {
            let last = size - 1;
            notes.problem(format!("JOB_INDEX: expected an index below JOB_ARRAY_SIZE ({size}): submit the job run with --array-indices 0-{last}"));
        }
        let events = [&self.notification, &self.event_type, &self.event_data];
        let manual = events.iter().all(|event| event.is_none());
        if manual && notes.is_set("SECRET_ID") {
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
        if let Some(Ok(shown)) = host.split('.').next().map(Uuid::parse) {
            let instance = self.instance.get_or_insert_with(|| shown.clone());
            if *instance != shown {
                notes.problem(format!("SECRETS_MANAGER_INSTANCE_ID: {instance} is not the instance of SECRETS_MANAGER_URL, {shown}"));
            }
        }
        if let Err(e) = self.own(self.secret.as_ref()) {
            notes.problem(e.context("SECRET_ID"));
        }
    }

    /// Who we are, and whom to grant a missing permission.
    pub(super) fn grantee(&mut self, notes: &mut Notes<'_>) -> Grantee {
        Grantee {
            credentials: self.credentials(notes),
            instance: self.instance.clone(),
            // people are not in IBM's network
            secrets_manager: self.secrets_manager.replace(".private.", "."),
            region: self.own_region.clone(),
            job: self.job.clone(),
        }
    }

    fn credentials(&mut self, notes: &mut Notes<'_>) -> Credentials {
        let names = ["IAM_PROFILE_ID", "IAM_PROFILE_NAME", "IBMCLOUD_API_KEY"];
        let required = "IAM_PROFILE_ID: set one of IAM_PROFILE_ID, IAM_PROFILE_NAME (outside Code Engine: IBMCLOUD_API_KEY)";
        let used = notes.one_of(names, Some(Error::msg(required)));
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
        Credentials::Profile { field, profile, token_files: std::mem::take(&mut self.token_files) }
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
        self.proxy = Some(builder.build().unwrap_or_else(|_| proxy.clone()));
    }

    pub(super) fn targets(&mut self, notes: &mut Notes<'_>) -> Vec<Target> {
        let missing = "TLS_SECRET_NAME: is required, unless TARGETS or TARGETS_FILE is set";
        let required = match self.discover {
            false => Some(Error::msg(missing)),
            // a value that was not understood is a problem already
            true if self.project.is_none() && notes.is_set("PROJECT_ID") => None,
            true => self.project(None, None).context("PROJECT_ID").err(),
        };
        let names = ["TLS_SECRET_NAME", "TARGETS", "TARGETS_FILE"];
        let Some(name) = notes.one_of(names, required) else {
            return Vec::new();
        };
        let many = self.targets.take().or_else(|| self.targets_file.take());
        let entries = self.tls_secret.take().or(many).unwrap_or_default();
        if entries.len() > 1 && !self.restart_apps.names.is_empty() {
            notes.problem("RESTART_APPS: with several targets it can only be auto; list apps in \"restart_apps\" of the targets");
        }
        let mut targets: Vec<Target> = Vec::new();
        let mut seen = HashSet::new();
        for (position, entry) in entries.into_iter().enumerate() {
            let target = entry.and_then(|entry| self.target(entry));
            match target.and_then(|target| distinct(target, &mut seen)) {
                Ok(target) => targets.push(target),
                Err(e) if name == "TLS_SECRET_NAME" => notes.problem(e.context(name)),
                Err(e) => notes.problem(e.context(format!("{name}[{position}]"))),
            }
        }
        let wanted = self.secret.as_ref().map(|secret| &secret.id);
        let found = |target: &Target| target.secret.as_ref() == wanted;
        if let Some(id) = wanted.filter(|_| !targets.is_empty() && !targets.iter().any(found)) {
            notes.problem(format!("SECRET_ID: no target has the secret_id {id}"));
        }
        targets
    }

    fn target(&self, entry: Entry) -> Result<Target> {
        let secret = field("secret_id", entry.secret_id, SecretId::parse)?;
        let name = field("tls_secret", entry.tls_secret, TlsSecretName::parse)?;
        let project = field("project_id", entry.project_id, Uuid::parse)?;
        let region = field("region", entry.region, Region::parse)?;
        let apps = field("restart_apps", entry.restart_apps, restart_apps)?;
        let hold = entry.hold.unwrap_or(Value::Bool(false));
        let hold = hold.as_bool().context("hold: expected true or false")?;
        let name = name.context("tls_secret: is required")?;
        self.own(secret.as_ref()).context("secret_id")?;
        let secret = secret.or_else(|| self.secret.clone());
        let project = self.project(project.as_ref(), region.as_ref())?;
        Ok(Target {
            secret: secret.map(|secret| secret.id),
            tls_secret: TlsSecretRef { project, name },
            region,
            restart_apps: apps.unwrap_or_else(|| self.restart_apps.clone()),
            hold: hold || self.hold,
        })
    }

    /// The default project and those of the targets, each once, with the region that a target names.
    pub(super) fn projects(&self, targets: &[Target]) -> Vec<(Project, Option<Region>)> {
        let default = self.project(None, None).map(|project| (project, None));
        let named = |target: &Target| (target.tls_secret.project.clone(), target.region.clone());
        let all = default.into_iter().chain(targets.iter().map(named));
        let mut seen = HashSet::new();
        let each = all.filter(|(project, _)| seen.insert(project.clone()));
        each.collect()
    }

    fn project(&self, id: Option<&Uuid>, region: Option<&Region>) -> Result<Project> {
        let id = id.or(self.project.as_ref()).or(self.own_project.as_ref());
        let id = id.context("no project: set PROJECT_ID")?.clone();
        let own_region = self.own_region.as_ref();
        // the injected one is the API of the own region only
        let is_own = region.is_none() || region == own_region;
        let own_url = self.own_url.as_deref().filter(|_| is_own);
        let url = self.code_engine_url.as_deref().or(own_url);
        let url = url.unwrap_or(CODE_ENGINE);
        let base = match region.or(own_region) {
            Some(region) => url.replace("{region}", &region.to_string()),
            None if !url.contains("{region}") => url.to_owned(),
            None => bail!("no region: set CODE_ENGINE_URL, or \"region\" in the target"),
        };
        Ok(Project { base, id })
    }

    /// A secret that is named by its CRN must be of our instance.
    pub(super) fn own(&self, secret: Option<&SecretId>) -> Result<()> {
        let of = secret.and_then(|secret| secret.instance.as_ref());
        if let (Some(of), Some(ours)) = (of, &self.instance)
            && *of != ours.to_string()
        {
            bail!("the secret belongs to another instance than {ours}");
        }
        Ok(())
    }
}

/// The target, if none before has the same TLS secret, or records the digest of its certificate in the
/// same variable of an app. Names are in lower case, variables in upper case.
fn distinct(target: Target, seen: &mut HashSet<(Project, String)>) -> Result<Target> {
    let TlsSecretRef { project, name } = &target.tls_secret;
    let first = seen.insert((project.clone(), name.to_string()));
    ensure!(first, "TLS secret {name} is listed twice");
    let variable = name.fingerprint_variable();
    let free = target.restart_apps.is_empty() || seen.insert((project.clone(), variable.clone()));
    let clash = format!(
        "{name} and another target restart apps by the same variable {variable}; use restart_apps on only one of them"
    );
    ensure!(free, clash);
    Ok(target)
}
