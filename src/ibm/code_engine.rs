//! IBM Cloud Code Engine, API v2: reads and replaces a TLS secret
//! (`/v2/projects/{project_id}/secrets/{name}`), lists domain mappings, reads and changes apps.
//!
//! Belongs here: paths, headers and field names. Does not: whether something should be written, nor
//! what to do after an answer that leaves that open (`replace.rs`, `restart.rs`).

use std::collections::BTreeMap;

use anyhow::anyhow;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::ibm::api_error::ApiError;
use crate::ibm::client::{Answer, Method};
use crate::ibm::document::Document;
use crate::ibm::iam::Iam;
use crate::ibm::ids::{AppName, TlsSecretName, Uuid};
use crate::secret::Secret;

/// The version of the API, a date.
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

/// What `If-Match` takes. It can be sent: not empty, not `*` (which matches any version), one tag and
/// not a list of them (RFC 9110 section 8.8.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of an answer: the field `entity_tag`, which the API documents. Only if there is none,
    /// the header `ETag`, as it is: a gateway may have made that one weak.
    fn of(field: Option<String>, header: Option<&str>) -> Option<Self> {
        let field = field.filter(|tag| !tag.is_empty());
        Self::parse(field.as_deref().or(header)?)
    }

    fn parse(tag: &str) -> Option<Self> {
        let fits = (1..=256).contains(&tag.len())
            && tag.bytes().all(|b| b.is_ascii_graphic() && b != b',')
            && tag != "*";
        fits.then(|| Self(tag.to_owned()))
    }

    /// A tag of the same alphabet and length that this resource cannot have: each digit and letter is
    /// exchanged for the one before, never for 0, so that a number is not the next version's. None, if
    /// there is nothing to exchange.
    #[must_use]
    pub fn stale(&self) -> Option<Self> {
        let before = |c: char| match c {
            '0' | '1' => '9',
            'a' => 'z',
            'A' => 'Z',
            '2'..='9' | 'b'..='z' | 'B'..='Z' => char::from_u32(u32::from(c) - 1).unwrap_or(c),
            other => other,
        };
        // the W of a weak tag belongs to its form
        let (form, value) = match self.0.strip_prefix("W/") {
            Some(value) => ("W/", value),
            None => ("", self.0.as_str()),
        };
        let stale = form.chars().chain(value.chars().map(before)).collect();
        (stale != self.0).then_some(Self(stale))
    }
}

/// A secret of a project as the API shows it, key in clear text. In a list the data may be missing.
#[derive(Debug)]
pub struct TlsSecret {
    /// The name, to be compared with the one that was asked for.
    pub name: Option<String>,
    /// The project, to be compared with the one that was asked for.
    pub project_id: Option<String>,
    /// `tls`, or something that we do not touch.
    pub format: String,
    /// `user` or `system`.
    pub generated_by: Option<String>,
    /// The certificates in PEM, leaf first.
    pub certificate: String,
    /// The private key in PEM.
    pub key: Secret,
    /// None, if the service shows none that can be sent.
    pub entity_tag: Option<EntityTag>,
}

impl TlsSecret {
    fn read(mut document: Document, etag: Option<&str>) -> anyhow::Result<Self> {
        // the key first: should another field be wrong, it is already where it gets wiped
        let mut data = document.object("data")?;
        let key = data.secret("tls_key")?;
        Ok(Self {
            certificate: data.text("tls_cert")?.unwrap_or_default(),
            key: key.unwrap_or_else(|| Secret::from(String::new())),
            name: document.text("name")?,
            project_id: document.text("project_id")?,
            format: document.required_text("format")?,
            generated_by: document.text("generated_by")?,
            entity_tag: EntityTag::of(document.text("entity_tag")?, etag),
        })
    }

    fn of(answer: &Answer) -> Result<Self, ApiError> {
        Self::read(answer.document()?, answer.etag.as_deref()).map_err(ApiError::Unexpected)
    }
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

/// A user-managed domain mapping.
#[derive(Debug)]
pub struct DomainMapping {
    /// The domain; may begin with `*.`.
    pub name: String,
    /// The host name of the ingress that serves it.
    pub cname_target: Option<String>,
}

/// The user-managed domain mappings of a project, by the name of the TLS secret that they use.
#[derive(Debug, Default)]
pub struct DomainMappings(BTreeMap<String, Vec<DomainMapping>>);

impl DomainMappings {
    /// Those that use this TLS secret.
    #[must_use]
    pub fn of(&self, tls_secret: &(impl ToString + ?Sized)) -> &[DomainMapping] {
        self.0
            .get(&tls_secret.to_string())
            .map_or(&[], Vec::as_slice)
    }
}

/// An app as far as we read it. Its variables can hold anything, also secrets: no Debug.
pub struct App {
    /// Its name.
    pub name: String,
    /// None, if the service shows none that can be sent.
    pub entity_tag: Option<EntityTag>,
    /// `ready`, `deploying`, `failed` or `warning`.
    pub status: Option<String>,
    /// The revisions.
    pub status_details: Revisions,
    /// The environment, unchanged: it is sent back whole.
    run_env_variables: Vec<Value>,
    /// The mounted secrets and config maps.
    run_volume_mounts: Vec<Value>,
}

/// The revisions of an app, as far as its status names them.
#[derive(Default)]
pub struct Revisions {
    /// The newest one.
    pub latest_created_revision: Option<String>,
    /// The newest one that serves.
    pub latest_ready_revision: Option<String>,
    /// A word for the status, e.g. `ready_but_latest_revision_failed`.
    pub reason: Option<String>,
}

impl App {
    fn read(mut document: Document, etag: Option<&str>) -> anyhow::Result<Self> {
        let mut details = document.object("status_details")?;
        Ok(Self {
            name: document.required_text("name")?,
            entity_tag: EntityTag::of(document.text("entity_tag")?, etag),
            status: document.text("status")?,
            status_details: Revisions {
                latest_created_revision: details.text("latest_created_revision")?,
                latest_ready_revision: details.text("latest_ready_revision")?,
                reason: details.text("reason")?,
            },
            run_env_variables: document.list("run_env_variables")?,
            run_volume_mounts: document.list("run_volume_mounts")?,
        })
    }

    fn of(answer: &Answer) -> Result<Self, ApiError> {
        Self::read(answer.document()?, answer.etag.as_deref()).map_err(ApiError::Unexpected)
    }

    /// The value of a literal variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.run_env_variables
            .iter()
            .find(|variable| text(variable, "name") == Some(name))
            .and_then(|variable| text(variable, "value"))
    }

    /// Whether the newest revision serves; the status says so where no revisions are named.
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

    /// Whether the app reads the secret only at start-up: as environment, or as a file
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
        TlsSecret::of(&self.iam.call(Method::Get, &url(place), &[], &[])?)
    }

    /// Lists the secrets of format `tls` of the project. Whether their data is included is not
    /// documented.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn tls_secrets(&self, project: &Project) -> Result<Vec<TlsSecret>, ApiError> {
        let read = |document| TlsSecret::read(document, None);
        let mut secrets = self.list(project, "secrets", "&format=tls", read)?;
        secrets.retain(|secret| secret.format == "tls");
        Ok(secrets)
    }

    /// Lists the user-managed domain mappings of the project.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn domain_mappings(&self, project: &Project) -> Result<DomainMappings, ApiError> {
        let read = |mut document: Document| {
            let mapping = DomainMapping {
                name: document.required_text("name")?,
                cname_target: document.text("cname_target")?,
            };
            let user_managed = document.boolean("user_managed")?.unwrap_or_default();
            Ok((user_managed, document.text("tls_secret")?, mapping))
        };
        let mut mappings = DomainMappings::default();
        for (user_managed, tls_secret, mapping) in
            self.list(project, "domain_mappings", "", read)?
        {
            if let Some(tls_secret) = tls_secret.filter(|_| user_managed) {
                mappings.0.entry(tls_secret).or_default().push(mapping);
            }
        }
        Ok(mappings)
    }

    /// Lists the apps of the project.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn apps(&self, project: &Project) -> Result<Vec<App>, ApiError> {
        let read = |document| App::read(document, None);
        self.list(project, "apps", "", read)
    }

    /// Reads an app of the project.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn app(&self, project: &Project, name: &AppName) -> Result<App, ApiError> {
        let url = app_url(project, name);
        App::of(&self.iam.call(Method::Get, &url, &[], &[])?)
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
        let entity_tag = app.entity_tag.as_ref().ok_or_else(|| {
            ApiError::Unexpected(anyhow!("the app has no entity tag that can be sent"))
        })?;
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
            ("If-Match", &entity_tag.0),
        ];
        let url = app_url(project, name);
        App::of(&self.iam.call(Method::Patch, &url, &headers, &body)?)
    }

    fn list<T>(
        &self,
        project: &Project,
        collection: &str,
        filter: &str,
        read: fn(Document) -> anyhow::Result<T>,
    ) -> Result<Vec<T>, ApiError> {
        let list = format!(
            "{}/v2/projects/{}/{collection}?{VERSION}&limit=100{filter}",
            project.base, project.id
        );
        let mut found = Vec::new();
        let mut url = list.clone();
        for _ in 0..MOST_PAGES {
            let mut page = self.iam.call(Method::Get, &url, &[], &[])?.document()?;
            let next = page.object("next").and_then(|mut next| next.text("start"));
            let items = page.objects(collection).map_err(ApiError::Unexpected)?;
            for item in items {
                found.push(read(item).map_err(ApiError::Unexpected)?);
            }
            let Some(start) = next.map_err(ApiError::Unexpected)? else {
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
        entity_tag: &EntityTag,
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
        // in PEM only line breaks are escaped: so it does not grow, which would leave copies
        let breaks = |text: &str| text.len() + text.matches(['\n', '\r']).count();
        let length = 64 + breaks(certificate) + breaks(key.expose());
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        // two strings always serialize
        let _written = serde_json::to_writer(&mut *body, &replacement);
        let headers = [
            ("Content-Type", "application/json"),
            ("If-Match", &entity_tag.0),
        ];
        // an answer that quotes the request is masked, its certificates included
        let _masked = Secret::from(certificate.to_owned());
        let answer = self.iam.call(Method::Put, &url(place), &headers, &body)?;
        Ok(TlsSecret::of(&answer).ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(field: Option<&str>, header: Option<&str>) -> Option<String> {
        EntityTag::of(field.map(str::to_owned), header).map(|tag| tag.0)
    }

    #[test]
    fn the_documented_field_comes_before_the_header() {
        let tag = |field, header| tag(field, header);
        assert_eq!(tag(Some("7"), Some("W/\"7\"")).as_deref(), Some("7"));
        assert_eq!(tag(None, Some("W/\"7\"")).as_deref(), Some("W/\"7\""));
        assert_eq!(tag(Some(""), Some("\"7\"")).as_deref(), Some("\"7\""));
        assert_eq!(tag(Some("7"), Some("")).as_deref(), Some("7"));
        assert_eq!(tag(None, None), None);
    }

    #[test]
    fn a_tag_that_would_match_anything_or_cannot_be_sent_is_none() {
        let long = "7".repeat(257);
        for bad in [
            "",
            "*",
            " *",
            "* ",
            "7,*",
            "\"7\", *",
            "7\r\nHost: x",
            "é",
            "a b",
            &long,
        ] {
            assert_eq!(tag(Some(bad), None), None, "{bad}");
            assert_eq!(tag(None, Some(bad)), None, "{bad}");
        }
        assert_eq!(tag(Some("*"), Some("7")), None);
    }

    #[test]
    fn a_stale_tag_has_the_same_alphabet_and_is_another_one() {
        for (tag, stale) in [
            ("2385407409", "1274396398"),
            ("1", "9"),
            ("\"7\"", "\"6\""),
            ("W/\"abc-1\"", "W/\"zab-9\""),
            ("Az0", "Zy9"),
        ] {
            assert_eq!(EntityTag(tag.to_owned()).stale().unwrap().0, stale);
        }
        assert_eq!(EntityTag("-".to_owned()).stale(), None);
    }

    #[test]
    fn an_app_serves_or_failed_by_its_revisions_first_and_its_status_second() {
        for (created, ready, status, reason, serves, failed) in [
            (Some("r2"), Some("r2"), "ready", "ready", true, false),
            (Some("r2"), Some("r2"), "deploying", "", true, false),
            (Some("r2"), Some("r1"), "ready", "", false, false),
            (Some("r2"), Some("r1"), "failed", "", false, true),
            (
                Some("r2"),
                Some("r1"),
                "warning",
                "ready_but_latest_revision_failed",
                false,
                true,
            ),
            (Some("r2"), Some("r1"), "warning", "waiting", false, false),
            // never ready yet
            (Some("r1"), None, "ready", "", false, false),
            (Some("r1"), None, "failed", "", false, true),
            // no revisions are named
            (None, None, "ready", "", true, false),
            (None, Some("r1"), "ready", "", true, false),
            (None, None, "deploying", "", false, false),
            (None, Some("r1"), "failed", "", false, true),
        ] {
            let app = json!({ "name": "shop", "status": status, "status_details": {
                "latest_created_revision": created, "latest_ready_revision": ready, "reason": reason
            } });
            let document = Document::parse(app.to_string().as_bytes()).unwrap();
            let read = App::read(document, None).unwrap();
            assert_eq!((read.serves(), read.failed()), (serves, failed), "{app}");
        }
    }
}
