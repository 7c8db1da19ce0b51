//! What to copy where: `TLS_SECRET_NAME` and `SECRET_ID`, `TARGETS` or `TARGETS_FILE`, and the
//! defaults for what an entry leaves out.

use std::collections::HashSet;

use anyhow::{Context, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::values::{base_url, restart_apps, text_of_file};
use crate::config::variables::Given;
use crate::config::{Mode, RestartApps, Target};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::ids::{Region, SecretId, TlsSecretName, Uuid};
use crate::text::sanitized;

/// The API of any region.
const CODE_ENGINE: &str = "https://api.{region}.codeengine.cloud.ibm.com";
/// The largest file of targets: a configmap holds at most 1 MiB.
const LARGEST_FILE: usize = 2 * 1024 * 1024;
const FIELDS: &str = "secret_id, tls_secret, project_id, region, restart_apps, hold";

/// The entries of a variable, understood or not.
pub(super) type Entries = Vec<anyhow::Result<Entry>>;

/// One target as the environment describes it.
pub(super) struct Entry {
    /// None: the event names it.
    secret: Option<SecretId>,
    tls_secret: TlsSecretName,
    project: Option<Uuid>,
    region: Option<Region>,
    restart_apps: Option<RestartApps>,
    hold: bool,
}

/// One object of `TARGETS`. The texts are parsed one by one, to name the field in our own words:
/// serde's would quote them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    secret_id: Option<Value>,
    tls_secret: Option<Value>,
    project_id: Option<Value>,
    region: Option<Value>,
    restart_apps: Option<Value>,
    hold: Option<Value>,
}

/// `TLS_SECRET_NAME`.
pub(super) fn single(text: &str) -> anyhow::Result<Entries> {
    Ok(vec![Ok(Entry {
        secret: None,
        tls_secret: TlsSecretName::parse(text)?,
        project: None,
        region: None,
        restart_apps: None,
        hold: false,
    })])
}

/// `TARGETS`.
pub(super) fn array(text: &str) -> anyhow::Result<Entries> {
    let array: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    ensure!(
        !array.is_empty(),
        "expected a JSON array of at least one target"
    );
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
        let fields: Fields = serde_json::from_str(json.get()).map_err(|_| {
            let object: Map<String, Value> = serde_json::from_str(json.get()).unwrap_or_default();
            let known = |name: &&String| FIELDS.split(", ").any(|field| field == *name);
            match object.keys().find(|name| !known(name)) {
                Some(name) => anyhow!("unknown field {}", sanitized(name)),
                None => anyhow!("expected an object with {FIELDS}, each at most once"),
            }
        })?;
        let hold = fields.hold.unwrap_or(Value::Bool(false));
        Ok(Self {
            secret: field("secret_id", fields.secret_id, SecretId::parse)?,
            tls_secret: field("tls_secret", fields.tls_secret, TlsSecretName::parse)?
                .context("tls_secret: is required")?,
            project: field("project_id", fields.project_id, Uuid::parse)?,
            region: field("region", fields.region, Region::parse)?,
            restart_apps: field(
                "restart_apps",
                fields.restart_apps.map(joined),
                restart_apps,
            )?,
            hold: hold.as_bool().context("hold: expected true or false")?,
        })
    }
}

fn field<T>(
    name: &str,
    value: Option<Value>,
    parse: fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    let Some(value) = value else {
        return Ok(None);
    };
    let text = value.as_str().context("expected a string");
    text.and_then(parse)
        .map(Some)
        .map_err(|e| anyhow!("{name}: {e}"))
}

/// An array of strings as one string with commas.
fn joined(value: Value) -> Value {
    let list = value.as_array().map(|list| list.iter());
    let words: Option<Vec<&str>> = list.and_then(|list| list.map(Value::as_str).collect());
    let text = words.map(|words| words.join(",").into());
    text.unwrap_or(value)
}

/// The targets, and what follows from them.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) targets: Vec<Target>,
    /// As [`crate::config::Config::projects`].
    pub(super) projects: Vec<(Project, Option<Region>)>,
    /// The secret to which `SECRET_ID` limits the run.
    pub(super) only_secret: Option<Uuid>,
}

impl Given<'_> {
    pub(super) fn targets(&mut self, mode: Mode, instance: Option<&Uuid>) -> Targets {
        let single = self.tls_secret.given;
        let mut sources = [
            &mut self.tls_secret,
            &mut self.targets,
            &mut self.targets_file,
        ];
        let names = sources.each_ref().map(|source| (source.name, source.given));
        let names = self.notes.at_most_one(names);
        let entries = sources.iter_mut().find_map(|source| source.value.take());
        let (name, mut entries) = match names.as_slice() {
            [name] => (*name, entries.unwrap_or_default()),
            names => {
                if names.is_empty() && mode != Mode::Discover {
                    let what = "is required, unless TARGETS or TARGETS_FILE is set";
                    self.notes.problem("TLS_SECRET_NAME", what);
                }
                ("", Vec::new())
            }
        };
        let mut secret = self.secret.value.take();
        if let Err(e) = ours(secret.as_ref(), instance) {
            self.notes.problem(self.secret.name, e);
            secret = None;
        }
        let mut only_secret = None;
        match entries.as_mut_slice() {
            [Ok(entry)] if single => entry.secret = secret,
            _ => only_secret = secret.map(|secret| secret.id),
        }
        if entries.len() > 1
            && self
                .restart_apps
                .value
                .as_ref()
                .is_some_and(|apps| !apps.names.is_empty())
        {
            let what = "with several targets it can only be auto; list apps in \"restart_apps\" of the targets";
            self.notes.problem(self.restart_apps.name, what);
        }
        let places = self.places();
        let mut targets: Vec<Target> = Vec::new();
        let mut seen = HashSet::new();
        for (position, entry) in entries.into_iter().enumerate() {
            let target = entry.and_then(|entry| self.target(entry, single, instance, &places));
            match target.and_then(|target| distinct(target, &mut seen)) {
                Ok(target) => targets.push(target),
                Err(e) if single => self.notes.problem(name, e),
                Err(e) => self.notes.problem(format!("{name}[{position}]"), e),
            }
        }
        if let Some(secret) = &only_secret
            && !targets.is_empty()
            && !targets
                .iter()
                .any(|target| target.secret.as_ref() == Some(secret))
        {
            let what = format!("no target has the secret_id {secret}");
            self.notes.problem(self.secret.name, what);
        }
        let mut projects = Vec::new();
        match places.project(None, None) {
            Ok(project) => projects.push((project, None)),
            // a value that was not understood is a problem already
            Err(e) if names.is_empty() && (self.project.value.is_some() || !self.project.given) => {
                self.notes.problem(self.project.name, e)
            }
            Err(_) => {}
        }
        for target in &targets {
            let project = &target.tls_secret.project;
            if !projects.iter().any(|(known, _)| known == project) {
                projects.push((project.clone(), target.region.clone()));
            }
        }
        Targets {
            targets,
            projects,
            only_secret,
        }
    }

    fn target(
        &self,
        entry: Entry,
        single: bool,
        instance: Option<&Uuid>,
        places: &Places,
    ) -> anyhow::Result<Target> {
        ensure!(single || entry.secret.is_some(), "secret_id: is required");
        ours(entry.secret.as_ref(), instance).context("secret_id")?;
        let for_all = || self.restart_apps.value.clone().unwrap_or_default();
        Ok(Target {
            secret: entry.secret.map(|secret| secret.id),
            tls_secret: TlsSecretRef {
                project: places.project(entry.project, entry.region.as_ref())?,
                name: entry.tls_secret,
            },
            region: entry.region,
            restart_apps: entry.restart_apps.unwrap_or_else(for_all),
            hold: entry.hold || self.hold.value == Some(true),
        })
    }

    fn places(&mut self) -> Places {
        Places {
            url: self.code_engine_url.value.take(),
            own_url: self.injected("CE_API_BASE_URL", |text| {
                let base = base_url(text)?;
                Ok(base.strip_suffix("/v2").unwrap_or(&base).to_owned())
            }),
            own_region: self.injected("CE_REGION", Region::parse),
            project: (self.project.value.clone())
                .or_else(|| self.injected("CE_PROJECT_ID", Uuid::parse)),
        }
    }
}

/// A CRN must be of our instance.
fn ours(secret: Option<&SecretId>, instance: Option<&Uuid>) -> anyhow::Result<()> {
    let crn = secret.and_then(|secret| secret.crn.as_ref());
    if let (Some(crn), Some(instance)) = (crn, instance) {
        let same = crn.instance == instance.to_string();
        ensure!(
            same,
            "the secret belongs to another instance than {instance}"
        );
    }
    Ok(())
}

/// The target, if none before has the same TLS secret, or records the digest of its certificate in the
/// same variable of an app. Names are in lower case, variables in upper case.
fn distinct(target: Target, seen: &mut HashSet<(Project, String)>) -> anyhow::Result<Target> {
    let TlsSecretRef { project, name } = &target.tls_secret;
    let first = seen.insert((project.clone(), name.to_string()));
    ensure!(first, "TLS secret {name} is listed twice");
    let variable = name.fingerprint_variable();
    if !target.restart_apps.is_empty() && !seen.insert((project.clone(), variable.clone())) {
        bail!(
            "{name} and another target restart apps by the same variable {variable}; use restart_apps on only one of them"
        );
    }
    Ok(target)
}

/// Where targets are that do not say it.
struct Places {
    /// `CODE_ENGINE_URL`.
    url: Option<String>,
    /// `CE_API_BASE_URL`, for the job's own region only.
    own_url: Option<String>,
    /// `CE_REGION`.
    own_region: Option<Region>,
    /// `PROJECT_ID`, or `CE_PROJECT_ID`.
    project: Option<Uuid>,
}

impl Places {
    fn project(&self, id: Option<Uuid>, region: Option<&Region>) -> anyhow::Result<Project> {
        let id = id.or_else(|| self.project.clone());
        let id = id.context("no project: set PROJECT_ID")?;
        let elsewhere = region.is_some() && region != self.own_region.as_ref();
        let pattern = match (&self.url, &self.own_url) {
            (Some(url), _) => url,
            (None, Some(own)) if !elsewhere => own,
            _ => CODE_ENGINE,
        };
        let base = match region.or(self.own_region.as_ref()) {
            Some(region) => pattern.replace("{region}", &region.to_string()),
            None if !pattern.contains("{region}") => pattern.to_owned(),
            None => bail!("no region: set CODE_ENGINE_URL, or \"region\" in the target"),
        };
        Ok(Project { base, id })
    }
}
