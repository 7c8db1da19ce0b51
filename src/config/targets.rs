//! What to copy where: `TLS_SECRET_NAME` and `SECRET_ID`, `TARGETS` or `TARGETS_FILE`, and the
//! defaults for what an entry leaves out.

use std::collections::HashSet;

use anyhow::{Context, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::values::{base_url, restart_apps, text_of_file};
use crate::config::variables::Given;
use crate::config::{Mode, Target};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::ids::{Region, SecretId, TlsSecretName, Uuid};
use crate::text::sanitized;

/// The API of any region.
const CODE_ENGINE: &str = "https://api.{region}.codeengine.cloud.ibm.com";
/// The largest file of targets: a configmap holds at most 1 MiB.
const LARGEST_FILE: usize = 2 * 1024 * 1024;
const SOURCES: [&str; 3] = ["TLS_SECRET_NAME", "TARGETS", "TARGETS_FILE"];
const FIELDS: &str = "secret_id, tls_secret, project_id, region, restart_apps, hold";

/// The entries of a variable, understood or not.
pub(super) type Entries = Vec<anyhow::Result<Entry>>;

/// One target as the environment describes it. The texts are parsed one by one, to name the field in our
/// own words: serde's would quote them.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    secret_id: Option<Value>,
    tls_secret: Option<Value>,
    project_id: Option<Value>,
    region: Option<Value>,
    restart_apps: Option<Value>,
    hold: Option<Value>,
}

/// `TLS_SECRET_NAME`.
pub(super) fn single(text: &str) -> anyhow::Result<Entries> {
    TlsSecretName::parse(text)?;
    Ok(vec![Ok(Entry {
        tls_secret: Some(text.into()),
        ..Entry::default()
    })])
}

/// `TARGETS`.
pub(super) fn array(text: &str) -> anyhow::Result<Entries> {
    let array: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let some = !array.is_empty();
    ensure!(some, "expected a JSON array of at least one target");
    Ok(array.into_iter().map(Entry::read).collect())
}

/// `TARGETS_FILE`.
pub(super) fn file(path: &str) -> anyhow::Result<Entries> {
    let text = text_of_file(path, LARGEST_FILE)?;
    // editors on Windows begin a file with a byte order mark
    array(text.strip_prefix('\u{feff}').unwrap_or(&text))
}

impl Entry {
    fn read(json: &RawValue) -> anyhow::Result<Self> {
        serde_json::from_str(json.get()).map_err(|_| {
            let object: Map<String, Value> = serde_json::from_str(json.get()).unwrap_or_default();
            let known = |name: &str| FIELDS.split(", ").any(|field| field == name);
            match object.keys().find(|name| !known(name)) {
                Some(name) => anyhow!("unknown field {}", sanitized(name)),
                None => anyhow!("expected an object with {FIELDS}, each at most once"),
            }
        })
    }
}

/// A field that is a string, or an array of strings, which counts as one with commas.
fn field<T>(
    name: &str,
    value: Option<Value>,
    parse: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    let text = match value {
        None => return Ok(None),
        Some(Value::String(text)) => Some(text),
        Some(Value::Array(list)) => {
            let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            words.map(|words| words.join(","))
        }
        Some(_) => None,
    };
    let value = text
        .context("expected a string")
        .and_then(|text| parse(&text));
    value.map(Some).map_err(|e| anyhow!("{name}: {e}"))
}

impl Given<'_> {
    /// `SECRET_ID`.
    pub(super) fn secret(&mut self, instance: Option<&Uuid>) -> Option<Uuid> {
        let secret = own(self.secret.take()?, instance);
        secret.map_err(|e| self.notes.problem("SECRET_ID", e)).ok()
    }

    pub(super) fn targets(
        &mut self,
        mode: Mode,
        secret: Option<&Uuid>,
        instance: Option<&Uuid>,
    ) -> Vec<Target> {
        let (name, entries) = match self.notes.at_most_one(&SOURCES).as_slice() {
            [name @ "TLS_SECRET_NAME"] => (*name, self.tls_secret.take()),
            [name @ "TARGETS"] => (*name, self.targets.take()),
            [name] => (*name, self.targets_file.take()),
            [] if mode != Mode::Discover => {
                let what = "is required, unless TARGETS or TARGETS_FILE is set";
                self.notes.problem("TLS_SECRET_NAME", what);
                return Vec::new();
            }
            _ => return Vec::new(),
        };
        let single = name == "TLS_SECRET_NAME";
        let entries = entries.unwrap_or_default();
        let named = self
            .restart_apps
            .as_ref()
            .is_some_and(|apps| !apps.names.is_empty());
        if named && entries.len() > 1 {
            let what = "with several targets it can only be auto; list apps in \"restart_apps\" of the targets";
            self.notes.problem("RESTART_APPS", what);
        }
        let mut targets: Vec<Target> = Vec::new();
        let mut seen = HashSet::new();
        for (position, entry) in entries.into_iter().enumerate() {
            let target = entry.and_then(|entry| match single {
                true => self.target(entry, secret.cloned()),
                false => {
                    let own = |text: &str| own(SecretId::parse(text)?, instance);
                    let secret = field("secret_id", entry.secret_id.clone(), own)?;
                    self.target(entry, Some(secret.context("secret_id: is required")?))
                }
            });
            match target.and_then(|target| distinct(target, &mut seen)) {
                Ok(target) => targets.push(target),
                Err(e) if single => self.notes.problem(name, e),
                Err(e) => self.notes.problem(format!("{name}[{position}]"), e),
            }
        }
        if let Some(secret) = secret
            && !targets.is_empty()
            && targets
                .iter()
                .all(|target| target.secret.as_ref() != Some(secret))
        {
            let what = format!("no target has the secret_id {secret}");
            self.notes.problem("SECRET_ID", what);
        }
        targets
    }

    fn target(&self, entry: Entry, secret: Option<Uuid>) -> anyhow::Result<Target> {
        let name = field("tls_secret", entry.tls_secret, TlsSecretName::parse)?;
        let project = field("project_id", entry.project_id, Uuid::parse)?;
        let region = field("region", entry.region, Region::parse)?;
        let apps = field("restart_apps", entry.restart_apps, restart_apps)?;
        let hold = entry.hold.unwrap_or(Value::Bool(false));
        let hold = hold.as_bool().context("hold: expected true or false")?;
        let name = name.context("tls_secret: is required")?;
        let project = self.project(project, region.as_ref())?;
        Ok(Target {
            secret,
            tls_secret: TlsSecretRef { project, name },
            region,
            restart_apps: apps
                .or_else(|| self.restart_apps.clone())
                .unwrap_or_default(),
            hold: hold || self.hold == Some(true),
        })
    }

    /// The default project and those of the targets, each once, with the region that a target names.
    pub(super) fn projects(
        &mut self,
        targets: &[Target],
        mode: Mode,
    ) -> Vec<(Project, Option<Region>)> {
        let mut projects = Vec::new();
        match self.project(None, None) {
            Ok(project) => projects.push((project, None)),
            // a value that was not understood is a problem already
            Err(_) if self.project.is_none() && self.notes.is_set("PROJECT_ID") => {}
            Err(e)
                if mode == Mode::Discover
                    && !SOURCES.iter().any(|name| self.notes.is_set(name)) =>
            {
                self.notes.problem("PROJECT_ID", e)
            }
            Err(_) => {}
        }
        for target in targets {
            let project = &target.tls_secret.project;
            if !projects.iter().any(|(known, _)| known == project) {
                projects.push((project.clone(), target.region.clone()));
            }
        }
        projects
    }

    fn project(&self, id: Option<Uuid>, region: Option<&Region>) -> anyhow::Result<Project> {
        let id = id.or_else(|| self.project.clone());
        let id = id.or_else(|| self.injected("CE_PROJECT_ID", Uuid::parse));
        let id = id.context("no project: set PROJECT_ID")?;
        let own_region = self.injected("CE_REGION", Region::parse);
        let here = region.is_none_or(|region| own_region.as_ref() == Some(region));
        // the injected one is the API of the own region only
        let own_url = self.injected("CE_API_BASE_URL", base_url).filter(|_| here);
        let own_url = own_url
            .as_deref()
            .map(|url| url.strip_suffix("/v2").unwrap_or(url));
        let url = self
            .code_engine_url
            .as_deref()
            .or(own_url)
            .unwrap_or(CODE_ENGINE);
        let base = match region.or(own_region.as_ref()) {
            Some(region) => url.replace("{region}", &region.to_string()),
            None if !url.contains("{region}") => url.to_owned(),
            None => bail!("no region: set CODE_ENGINE_URL, or \"region\" in the target"),
        };
        Ok(Project { base, id })
    }
}

/// The ID of a secret. A CRN must be of our instance.
fn own(secret: SecretId, instance: Option<&Uuid>) -> anyhow::Result<Uuid> {
    if let (Some(crn), Some(instance)) = (&secret.crn, instance) {
        let ours = crn.instance == instance.to_string();
        ensure!(
            ours,
            "the secret belongs to another instance than {instance}"
        );
    }
    Ok(secret.id)
}

/// The target, if none before has the same TLS secret, or records the digest of its certificate in the
/// same variable of an app. Names are in lower case, variables in upper case.
fn distinct(target: Target, seen: &mut HashSet<(Project, String)>) -> anyhow::Result<Target> {
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
