//! IBM Cloud Code Engine, API v2: reads and replaces a TLS secret
//! (`/v2/projects/{project_id}/secrets/{name}`), lists domain mappings, reads and changes apps.
//!
//! Belongs here: paths, headers and field names. Does not: whether something should be written, nor
//! what to do after an answer that leaves that open (`replace.rs`, `restart.rs`).

use anyhow::anyhow;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::ibm::client::ApiError;
use crate::ibm::client::{Answer, Method};
use crate::ibm::iam::Iam;
use crate::ibm::ids::{AppName, TlsSecretName, Uuid};
use crate::secret::Secret;

/// The behaviour of the API that this program was written for.
const VERSION: &str = "version=2025-07-10";

/// A project, and where its API is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Project {
    /// The base URL of the API for the project's region, without `/v2`.
    pub base: String,
    /// The ID of the project.
    pub id: Uuid,
}

/// A TLS secret of a project.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TlsSecretRef {
    /// Its project.
    pub project: Project,
    /// Its name.
    pub name: TlsSecretName,
}

/// A secret of a project as the API shows it, key in clear text.
#[derive(Debug)]
pub struct TlsSecret {
    /// `tls`, or something that we do not touch.
    pub format: String,
    /// `user` or `system`.
    pub generated_by: Option<String>,
    /// The certificates in PEM, leaf first.
    pub certificate: String,
    /// The private key in PEM.
    pub key: Secret,
    /// What `If-Match` takes: the `ETag` header as received, else the body's `entity_tag`.
    pub entity_tag: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    format: String,
    generated_by: Option<String>,
    #[serde(default)]
    data: Data,
    entity_tag: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    tls_cert: Option<String>,
    tls_key: Option<Secret>,
}

#[derive(Serialize)]
struct Replacement<'a> {
    format: &'static str,
    data: ReplacementData<'a>,
}

#[derive(Serialize)]
struct ReplacementData<'a> {
    tls_cert: &'a str,
    tls_key: &'a str,
}

/// One page of a list; the field of its items has the name of the collection.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "domain_mappings", alias = "apps")]
    items: Vec<T>,
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    start: Option<String>,
}

/// A domain of a project.
#[derive(Clone, Debug, Deserialize)]
pub struct DomainMapping {
    /// The domain.
    pub name: String,
    /// The name of the TLS secret.
    pub tls_secret: Option<String>,
    /// False for the platform's own.
    #[serde(default)]
    pub user_managed: bool,
    /// The host name of the ingress that serves it.
    pub cname_target: Option<String>,
}

impl DomainMapping {
    /// Whether it is served with this TLS secret.
    #[must_use]
    pub fn uses(&self, secret: &TlsSecretName) -> bool {
        self.tls_secret.as_ref() == Some(&secret.to_string())
    }
}

/// An app as far as we read it. Its variables can hold anything, also secrets: no Debug.
#[derive(Deserialize)]
pub struct App {
    /// Its name.
    pub name: String,
    /// What `If-Match` takes: the `ETag` header as received, else the body's `entity_tag`.
    pub entity_tag: Option<String>,
    /// `ready`, `deploying`, `failed` or `warning`.
    pub status: Option<String>,
    /// The revisions.
    #[serde(default)]
    pub status_details: Revisions,
    /// The environment, as it stands: it is sent back whole.
    #[serde(default)]
    run_env_variables: Vec<Value>,
    /// The mounted secrets and config maps.
    #[serde(default)]
    run_volume_mounts: Vec<Value>,
}

/// The revisions of an app that its status tells of.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Revisions {
    /// The newest one.
    pub latest_created_revision: Option<String>,
    /// The newest one that serves.
    pub latest_ready_revision: Option<String>,
    /// A word for the status, e.g. `ready_but_latest_revision_failed`.
    pub reason: Option<String>,
}

impl App {
    /// The value of a literal variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.run_env_variables
            .iter()
            .find(|variable| text(variable, "name") == Some(name))
            .and_then(|variable| text(variable, "value"))
    }

    /// Whether the newest revision serves. Where the revisions are not told, the status says it.
    #[must_use]
    pub fn serves(&self) -> bool {
        let revisions = &self.status_details;
        match (
            &revisions.latest_created_revision,
            &revisions.latest_ready_revision,
        ) {
            (Some(created), Some(ready)) => created == ready,
            (Some(_), None) => false,
            (None, _) => self.status.as_deref() == Some("ready"),
        }
    }

    /// Whether the newest revision failed; while an older one serves, the status may be `warning`.
    #[must_use]
    pub fn failed(&self) -> bool {
        let reason = self.status_details.reason.as_deref().unwrap_or_default();
        !self.serves()
            && match self.status.as_deref() {
                Some("failed") => true,
                Some("warning") => reason.contains("failed"),
                _ => false,
            }
    }

    /// Whether the app keeps a copy of the secret from its start: as environment, or as a file
    /// mounted by `sub_path`.
    #[must_use]
    pub fn copies(&self, secret: &TlsSecretName) -> bool {
        let secret = secret.to_string();
        let refers = |entry: &&Value| text(entry, "reference") == Some(&secret);
        let as_environment = |entry: &Value| {
            matches!(
                text(entry, "type"),
                Some("secret_full_reference" | "secret_key_reference")
            )
        };
        let by_sub_path = |entry: &Value| {
            text(entry, "type") == Some("secret")
                && text(entry, "sub_path").is_some_and(|path| !path.is_empty())
        };
        self.run_env_variables
            .iter()
            .filter(refers)
            .any(as_environment)
            || self
                .run_volume_mounts
                .iter()
                .filter(refers)
                .any(by_sub_path)
    }
}

fn text<'a>(entry: &'a Value, field: &str) -> Option<&'a str> {
    entry.get(field)?.as_str()
}

/// Pages of a list; a project has at most 80 mappings and 40 apps (Code Engine limits).
const MOST_PAGES: usize = 20;

/// The API of all regions.
pub struct CodeEngine<'a> {
    iam: &'a Iam<'a>,
}

impl<'a> CodeEngine<'a> {
    /// Sends nothing yet.
    #[must_use]
    pub const fn new(iam: &'a Iam<'a>) -> Self {
        Self { iam }
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn tls_secret(&self, place: &TlsSecretRef) -> Result<TlsSecret, ApiError> {
        let answer = self.iam.call(Method::Get, &url(place), &[], &[])?;
        read(&answer).map_err(ApiError::Unexpected)
    }

    /// Lists the user-managed domain mappings of the project.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn domain_mappings(&self, project: &Project) -> Result<Vec<DomainMapping>, ApiError> {
        let mut mappings: Vec<DomainMapping> = self.list(project, "domain_mappings")?;
        mappings.retain(|mapping| mapping.user_managed);
        Ok(mappings)
    }

    /// Lists the apps of the project.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn apps(&self, project: &Project) -> Result<Vec<App>, ApiError> {
        self.list(project, "apps")
    }

    /// Reads an app of the project.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn app(&self, project: &Project, name: &AppName) -> Result<App, ApiError> {
        let answer = self
            .iam
            .call(Method::Get, &app_url(project, name), &[], &[])?;
        read_app(&answer).map_err(ApiError::Unexpected)
    }

    /// Gives an app literal variables, if it still is as `app` was read, and keeps everything else:
    /// in a merge patch an array is replaced as a whole, so the other variables go along as they are.
    /// Sent once. Returns the app as it is then.
    ///
    /// # Errors
    /// An [`ApiError`]; unless its status says otherwise, the app may have been changed.
    pub fn set_variables(
        &self,
        project: &Project,
        name: &AppName,
        app: &App,
        variables: &[(&str, String)],
    ) -> Result<App, ApiError> {
        let entity_tag = app
            .entity_tag
            .as_deref()
            .ok_or_else(|| ApiError::Unexpected(anyhow!("the app shows no entity tag")))?;
        let ours = |entry: &&Value| {
            let name = text(entry, "name");
            variables
                .iter()
                .any(|(variable, _)| Some(*variable) == name)
        };
        let mut all: Vec<Value> = app
            .run_env_variables
            .iter()
            .filter(|entry| !ours(entry))
            .cloned()
            .collect();
        all.extend(
            variables
                .iter()
                .map(|(name, value)| json!({ "type": "literal", "name": name, "value": value })),
        );
        // what was read as JSON always serializes
        let body = serde_json::to_vec(&json!({ "run_env_variables": all })).unwrap_or_default();
        let headers = [
            ("Content-Type", "application/merge-patch+json"),
            ("If-Match", entity_tag),
        ];
        let answer = self
            .iam
            .call(Method::Patch, &app_url(project, name), &headers, &body)?;
        read_app(&answer).map_err(ApiError::Unexpected)
    }

    fn list<T: DeserializeOwned>(
        &self,
        project: &Project,
        collection: &str,
    ) -> Result<Vec<T>, ApiError> {
        let list = format!(
            "{}/v2/projects/{}/{collection}?{VERSION}&limit=100",
            project.base, project.id
        );
        let mut found = Vec::new();
        let mut url = list.clone();
        for _ in 0..MOST_PAGES {
            let answer = self.iam.call(Method::Get, &url, &[], &[])?;
            let page: Page<T> = answer.json().map_err(ApiError::Unexpected)?;
            found.extend(page.items);
            let Some(start) = page.next.and_then(|next| next.start) else {
                return Ok(found);
            };
            url = format!(
                "{list}&start={}",
                utf8_percent_encode(&start, NON_ALPHANUMERIC)
            );
        }
        Err(ApiError::Unexpected(anyhow!(
            "the list {collection} has more than {MOST_PAGES} pages"
        )))
    }

    /// Replaces the data of the secret if it still has the tag `entity_tag`, and returns what the
    /// service says that it holds now (none, if its answer cannot be read). Sent once.
    ///
    /// # Errors
    /// An [`ApiError`]; unless its status says otherwise, the secret may have been replaced.
    pub fn replace(
        &self,
        place: &TlsSecretRef,
        entity_tag: &str,
        certificate: &str,
        key: &Secret,
    ) -> Result<Option<TlsSecret>, ApiError> {
        let replacement = Replacement {
            format: "tls",
            data: ReplacementData {
                tls_cert: certificate,
                tls_key: key.expose(),
            },
        };
        // two strings always serialize
        let body = Zeroizing::new(serde_json::to_vec(&replacement).unwrap_or_default());
        let headers = [
            ("Content-Type", "application/json"),
            ("If-Match", entity_tag),
        ];
        let answer = self.iam.call(Method::Put, &url(place), &headers, &body)?;
        Ok(read(&answer).ok())
    }
}

fn url(place: &TlsSecretRef) -> String {
    format!(
        "{}/v2/projects/{}/secrets/{}?{VERSION}",
        place.project.base, place.project.id, place.name
    )
}

fn app_url(project: &Project, name: &AppName) -> String {
    format!(
        "{}/v2/projects/{}/apps/{name}?{VERSION}",
        project.base, project.id
    )
}

fn read_app(answer: &Answer) -> anyhow::Result<App> {
    let app: App = answer.json()?;
    Ok(App {
        entity_tag: answer.etag.clone().or(app.entity_tag),
        ..app
    })
}

fn read(answer: &Answer) -> anyhow::Result<TlsSecret> {
    let document: Document = answer.json()?;
    Ok(TlsSecret {
        format: document.format,
        generated_by: document.generated_by,
        certificate: document.data.tls_cert.unwrap_or_default(),
        key: document
            .data
            .tls_key
            .unwrap_or_else(|| Secret::from(String::new())),
        entity_tag: answer.etag.clone().or(document.entity_tag),
    })
}
