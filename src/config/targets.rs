//! `TARGETS`, and what a target does not say itself.

use anyhow::{anyhow, bail};
use serde::Deserialize;

use crate::config::values::{restart_apps, restart_list, secret_id};
use crate::config::{RestartApps, Target};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::ids::{Region, TlsSecretName, Uuid};

/// The API of any region.
const CODE_ENGINE: &str = "https://api.{region}.codeengine.cloud.ibm.com";

/// One object of `TARGETS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    secret_id: String,
    tls_secret: String,
    project_id: Option<String>,
    region: Option<String>,
    restart_apps: Option<Words>,
    #[serde(default)]
    hold: bool,
}

/// A list of words, as an array or as one text with commas.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

impl Entry {
    pub(super) fn target(
        &self,
        instance: Option<&Uuid>,
        places: &Places,
    ) -> anyhow::Result<Target> {
        let secret = secret_id(&self.secret_id, instance).map_err(|e| e.context("secret_id"))?;
        let name = TlsSecretName::parse(&self.tls_secret).map_err(|e| e.context("tls_secret"))?;
        let project = self.project_id.as_deref().map(Uuid::parse).transpose();
        let region = self.region.as_deref().map(Region::parse).transpose();
        let restart_apps = match &self.restart_apps {
            None => Ok(RestartApps::default()),
            Some(Words::Text(text)) => restart_apps(text),
            Some(Words::List(words)) => restart_list(words.iter().map(String::as_str)),
        };
        Ok(Target {
            secret: Some(secret),
            restart_apps: restart_apps.map_err(|e| e.context("restart_apps"))?,
            hold: self.hold,
            tls_secret: places.place(
                name,
                project.map_err(|e| e.context("project_id"))?,
                region.map_err(|e| e.context("region"))?,
            )?,
        })
    }
}

/// What a target does not say itself.
pub(super) struct Places {
    /// `CODE_ENGINE_URL`.
    pub(super) given: Option<String>,
    /// `CE_API_BASE_URL`, for the own region only.
    pub(super) own: Option<String>,
    /// `CE_REGION`.
    pub(super) own_region: Option<Region>,
    /// `PROJECT_ID`, or `CE_PROJECT_ID`.
    pub(super) project: Option<Uuid>,
}

impl Places {
    pub(super) fn place(
        &self,
        name: TlsSecretName,
        project: Option<Uuid>,
        region: Option<Region>,
    ) -> anyhow::Result<TlsSecretRef> {
        let project_id = project
            .or_else(|| self.project.clone())
            .ok_or_else(|| anyhow!("no project: give PROJECT_ID"))?;
        let elsewhere = region.is_some() && region != self.own_region;
        let pattern = match (&self.given, &self.own) {
            (Some(given), _) => given,
            (None, Some(own)) if !elsewhere => own,
            _ => CODE_ENGINE,
        };
        let base = match region.as_ref().or(self.own_region.as_ref()) {
            Some(region) => pattern.replace("{region}", &region.to_string()),
            None if pattern.contains("{region}") => {
                bail!("no region: give CODE_ENGINE_URL, or a region to the target")
            }
            None => pattern.to_owned(),
        };
        Ok(TlsSecretRef {
            project: Project {
                base,
                id: project_id,
            },
            name,
        })
    }
}
