//! What to copy where: `TLS_SECRET_NAME` and `SECRET_ID`, `TARGETS` or `TARGETS_FILE`, and the
//! defaults for what an entry leaves out.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::config::Target;
use crate::config::values::{Entry, field, restart_apps};
use crate::config::variables::{Notes, Settings};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::ids::{Region, SecretId, TlsSecretName, Uuid};

/// The API of any region.
const CODE_ENGINE: &str = "https://api.{region}.codeengine.cloud.ibm.com";

impl Settings {
    pub(super) fn targets(&mut self, notes: &mut Notes<'_>) -> Vec<Target> {
        let required = match self.discover {
            false => Some(
                "TLS_SECRET_NAME: is required, unless TARGETS or TARGETS_FILE is set".to_owned(),
            ),
            // a value that was not understood is a problem already
            true if self.project.is_none() && notes.is_set("PROJECT_ID") => None,
            true => self
                .project(None, None)
                .err()
                .map(|e| format!("PROJECT_ID: {e}")),
        };
        let names = ["TLS_SECRET_NAME", "TARGETS", "TARGETS_FILE"];
        let Some(name) = notes.one_of(&names, required) else {
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
                Err(e) if name == "TLS_SECRET_NAME" => notes.problem(format!("{name}: {e:#}")),
                Err(e) => notes.problem(format!("{name}[{position}]: {e:#}")),
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
        let project = self.project(project, region.as_ref())?;
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
        all.filter(|(project, _)| seen.insert(project.clone()))
            .collect()
    }

    fn project(&self, id: Option<Uuid>, region: Option<&Region>) -> Result<Project> {
        let id = id
            .or_else(|| self.project.clone())
            .or_else(|| self.own_project.clone());
        let id = id.context("no project: set PROJECT_ID")?;
        let own_region = self.own_region.as_ref();
        // the injected one is the API of the own region only
        let own_url = self
            .own_url
            .as_deref()
            .filter(|_| region.is_none() || region == own_region);
        let url = self
            .code_engine_url
            .as_deref()
            .or(own_url)
            .unwrap_or(CODE_ENGINE);
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
        if let (Some(of), Some(instance)) = (of, &self.instance) {
            let ours = *of == instance.to_string();
            ensure!(
                ours,
                "the secret belongs to another instance than {instance}"
            );
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
    ensure!(
        free,
        "{name} and another target restart apps by the same variable {variable}; use restart_apps on only one of them"
    );
    Ok(target)
}
