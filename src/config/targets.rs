//! `TARGETS`, `TARGETS_FILE`, and the defaults of what a target leaves out.

use std::path::Path;

use anyhow::{anyhow, bail};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::values::{read_text, restart_apps, restart_list, secret_id};
use crate::config::{RestartApps, Target};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::ids::{Region, SecretId, TlsSecretName, Uuid};
use crate::text::sanitized;

/// The API of any region.
const CODE_ENGINE: &str = "https://api.{region}.codeengine.cloud.ibm.com";
/// The largest file of targets: a configmap holds at most 1 MiB.
const LARGEST_FILE: usize = 2 * 1024 * 1024;

/// One object of `TARGETS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct Entry {
    secret_id: String,
    tls_secret: String,
    project_id: Option<String>,
    region: Option<String>,
    #[serde(default, deserialize_with = "words")]
    restart_apps: Option<anyhow::Result<RestartApps>>,
    #[serde(default)]
    hold: bool,
}

/// The objects of the array, understood or not.
pub(super) fn entries(text: &str) -> anyhow::Result<Vec<anyhow::Result<Entry>>> {
    let entries: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| {
        anyhow!(
            "expected a JSON array of targets: {}",
            sanitized(&e.to_string())
        )
    })?;
    if entries.is_empty() {
        bail!("the array is empty");
    }
    let entry = |entry: &RawValue| {
        serde_json::from_str(entry.get()).map_err(|e| anyhow!("{}", sanitized(&e.to_string())))
    };
    Ok(entries.into_iter().map(entry).collect())
}

pub(super) fn entries_of_file(path: &str) -> anyhow::Result<Vec<anyhow::Result<Entry>>> {
    entries(&read_text(Path::new(path), LARGEST_FILE)?)
}

/// A list of words, as an array or as one text with commas.
fn words<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<anyhow::Result<RestartApps>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let words: Option<Vec<&str>> = match &value {
        Value::Null => return Ok(None),
        Value::String(text) => return Ok(Some(restart_apps(text))),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    };
    Ok(Some(match words {
        Some(words) => restart_list(words.into_iter()),
        None => Err(anyhow!("expected a string or an array of strings")),
    }))
}

impl Entry {
    pub(super) fn target(
        self,
        instance: Option<&Uuid>,
        defaults: &Defaults,
    ) -> anyhow::Result<Target> {
        let within = |field| move |e: anyhow::Error| anyhow!("{field}: {e:#}");
        let secret = SecretId::parse(&self.secret_id)
            .and_then(|id| secret_id(id, instance))
            .map_err(within("secret_id"))?;
        let name = TlsSecretName::parse(&self.tls_secret).map_err(within("tls_secret"))?;
        let project = self.project_id.as_deref().map(Uuid::parse).transpose();
        let region = self.region.as_deref().map(Region::parse).transpose();
        let restart_apps = self
            .restart_apps
            .transpose()
            .map_err(within("restart_apps"))?;
        let region = region.map_err(within("region"))?;
        let project = defaults.project(project.map_err(within("project_id"))?, region.as_ref())?;
        Ok(Target {
            secret: Some(secret),
            tls_secret: TlsSecretRef { project, name },
            region,
            restart_apps: restart_apps.unwrap_or_default(),
            hold: self.hold,
        })
    }
}

/// What a target leaves out.
pub(super) struct Defaults {
    /// `CODE_ENGINE_URL`.
    pub(super) url: Option<String>,
    /// `CE_API_BASE_URL`, for the job's own region only.
    pub(super) own_url: Option<String>,
    /// `CE_REGION`.
    pub(super) own_region: Option<Region>,
    /// `PROJECT_ID`, or `CE_PROJECT_ID`.
    pub(super) project: Option<Uuid>,
}

impl Defaults {
    pub(super) fn project(
        &self,
        id: Option<Uuid>,
        region: Option<&Region>,
    ) -> anyhow::Result<Project> {
        let id = id
            .or_else(|| self.project.clone())
            .ok_or_else(|| anyhow!("no project: set PROJECT_ID"))?;
        let elsewhere = region.is_some() && region != self.own_region.as_ref();
        let pattern = match (&self.url, &self.own_url) {
            (Some(url), _) => url,
            (None, Some(own)) if !elsewhere => own,
            _ => CODE_ENGINE,
        };
        let base = match region.or(self.own_region.as_ref()) {
            Some(region) => pattern.replace("{region}", &region.to_string()),
            None if pattern.contains("{region}") => {
                bail!("no region: set CODE_ENGINE_URL, or \"region\" in the target")
            }
            None => pattern.to_owned(),
        };
        Ok(Project { base, id })
    }
}
