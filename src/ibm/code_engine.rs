//! IBM Cloud Code Engine, API v2: reads and replaces a TLS secret
//! (`/v2/projects/{project_id}/secrets/{name}`), lists domain mappings, reads and changes apps.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;
use zeroize::Zeroizing;

use crate::error::{Error, Reason};
use crate::ibm::api_error::{ApiError, or_default, read};
use crate::ibm::client::Answer;
use crate::ibm::iam::Iam;
use crate::ibm::ids::{AppName, Host, TlsSecretName, Uuid, Word};
use crate::secret::Secret;

/// The version of the API, a date.
const VERSION: &str = "version=2025-07-10";

/// A project, and where its API is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Project {
    /// The base URL of the API for the project's region, without `/v2`.
    pub base: String,
    /// The ID of the project.
    pub id: Uuid,
}

impl Project {
    /// The URL of something in it; more parameters may follow.
    fn url(&self, path: &str) -> String {
        format!("{}/v2/projects/{}/{path}?{VERSION}", self.base, self.id)
    }
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
    fn parse(tag: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b',';
        let fits = (1..=256).contains(&tag.len()) && tag.bytes().all(plain) && tag != "*";
        fits.then(|| Self(tag.to_owned()))
    }

    /// A tag of the same form that this resource does not have. None, if there is nothing to exchange.
    pub fn stale(&self) -> Option<Self> {
        let other = |c: char| match c {
            '1' => '7',
            '0'..='9' | 'a'..='z' => '1',
            other => other,
        };
        let stale = self.0.chars().map(other).collect();
        (stale != self.0).then_some(Self(stale))
    }
}

/// A secret of a project, key in clear text. In a list the data may be missing. Names are shown by
/// the rules of their types.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TlsSecret {
    /// The name, to be compared with the one that was asked for.
    #[serde(deserialize_with = "TlsSecretName::show")]
    pub name: Option<String>,
    /// The project, to be compared with the one that was asked for.
    #[serde(deserialize_with = "Uuid::show")]
    pub project_id: Option<String>,
    /// `tls`, or something that we do not touch.
    #[serde(deserialize_with = "Word::show")]
    pub format: String,
    /// `user` or `system`.
    pub generated_by: Option<String>,
    /// As in the answer.
    pub entity_tag: Option<String>,
    /// What it holds.
    #[serde(deserialize_with = "or_default")]
    pub data: TlsData,
}

/// Certificates and key of a TLS secret.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TlsData {
    /// The certificates in PEM, leaf first.
    #[serde(deserialize_with = "or_default")]
    pub tls_cert: String,
    /// The private key in PEM.
    #[serde(deserialize_with = "or_default")]
    pub tls_key: Secret,
}

impl TlsSecret {
    fn of(answer: Answer) -> Result<Self, ApiError> {
        let mut secret: Self = read(&answer.body)?;
        secret.entity_tag = either(secret.entity_tag, answer.etag);
        Ok(secret)
    }

    /// The entity tag; none, if the service shows none that can be sent.
    pub fn tag(&self) -> Option<EntityTag> {
        EntityTag::parse(self.entity_tag.as_deref()?)
    }
}

/// The field `entity_tag` is what the API documents. Only if there is none, the header `ETag` counts,
/// as it is: a gateway may have made that one weak.
fn either(field: Option<String>, header: Option<String>) -> Option<String> {
    field.filter(|tag| !tag.is_empty()).or(header)
}

/// The body of a PUT, JSON.
fn replacement(certificate: &str, key: &str) -> Zeroizing<Vec<u8>> {
    let data = BTreeMap::from([("tls_cert", certificate), ("tls_key", key)]);
    // in PEM only line breaks are escaped: so it does not grow, which would leave copies
    let breaks = |text: &str| text.len() + text.matches(['\n', '\r']).count();
    let length = 64 + breaks(certificate) + breaks(key);
    let mut body = Zeroizing::new(Vec::with_capacity(length));
    body.extend_from_slice(br#"{"format":"tls","data":"#);
    // strings always serialize
    let _written = serde_json::to_writer(&mut *body, &data);
    body.push(b'}');
    body
}

/// A domain mapping.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DomainMapping {
    /// The domain; may begin with `*.`.
    #[serde(deserialize_with = "Host::show")]
    pub name: String,
    /// The host name of the ingress that serves it.
    #[serde(deserialize_with = "Host::show")]
    pub cname_target: Option<String>,
    /// The TLS secret that it is served with.
    pub tls_secret: Option<String>,
    /// Whether it is the user's, not the platform's own.
    pub user_managed: Option<bool>,
}

impl DomainMapping {
    /// Whether it uses this TLS secret.
    pub fn uses(&self, tls_secret: &TlsSecretName) -> bool {
        self.tls_secret.as_ref() == Some(&tls_secret.to_string())
    }
}

/// The parts of an app that we use. Its variables can hold anything, also secrets: no Debug.
#[derive(Deserialize)]
pub struct App {
    /// Its name.
    #[serde(deserialize_with = "AppName::show")]
    pub name: String,
    entity_tag: Option<String>,
    /// `ready`, `deploying`, `failed` or `warning`.
    status: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    status_details: Revisions,
    /// The environment, unchanged: it is sent back whole.
    run_env_variables: Option<Vec<Value>>,
    /// The mounted secrets and config maps.
    run_volume_mounts: Option<Vec<Value>>,
}

/// The revisions of an app, as far as its status names them.
#[derive(Default, Deserialize)]
struct Revisions {
    latest_created_revision: Option<String>,
    latest_ready_revision: Option<String>,
    /// A word for the status, e.g. `ready_but_latest_revision_failed`.
    reason: Option<String>,
}

impl App {
    fn of(answer: Answer) -> Result<Self, ApiError> {
        let mut app: Self = read(&answer.body)?;
        app.entity_tag = either(app.entity_tag, answer.etag);
        Ok(app)
    }

    /// The newest revision.
    pub const fn newest(&self) -> Option<&String> {
        self.status_details.latest_created_revision.as_ref()
    }

    /// The value of a literal variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let mut variables = self.run_env_variables.iter().flatten();
        let variable = variables.find(|variable| text(variable, "name") == Some(name))?;
        text(variable, "value")
    }

    /// Whether the newest revision serves; the status says so where no revisions are named.
    pub fn serves(&self) -> bool {
        match self.newest() {
            None => self.status.as_deref() == Some("ready"),
            newest => newest == self.status_details.latest_ready_revision.as_ref(),
        }
    }

    /// Whether the newest revision failed; while an older one serves, the status may be `warning`.
    pub fn failed(&self) -> bool {
        let status = self.status.as_deref();
        let reason = self.status_details.reason.as_deref().unwrap_or_default();
        let warning = status == Some("warning") && reason.contains("failed");
        (status == Some("failed") || warning) && !self.serves()
    }

    /// Whether the app reads the secret only at start-up: as environment, or as a file
    /// mounted by `sub_path`.
    pub fn copies(&self, secret: &TlsSecretName) -> bool {
        let secret = secret.to_string();
        let refers = |entry: &&Value| text(entry, "reference") == Some(&secret);
        let kind = |entry| text(entry, "type").unwrap_or_default();
        let by_path = |entry| !text(entry, "sub_path").unwrap_or_default().is_empty();
        let mut variables = self.run_env_variables.iter().flatten().filter(refers);
        let mut mounts = self.run_volume_mounts.iter().flatten().filter(refers);
        variables.any(|it| matches!(kind(it), "secret_full_reference" | "secret_key_reference"))
            || mounts.any(|it| kind(it) == "secret" && by_path(it))
    }
}

fn text<'a>(entry: &'a Value, field: &str) -> Option<&'a str> {
    entry.get(field)?.as_str()
}

/// Pages of a list; a project has at most 80 mappings and 40 apps (Code Engine limits).
const MOST_PAGES: usize = 20;

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "apps", alias = "domain_mappings", alias = "secrets")]
    items: Vec<T>,
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    start: Option<String>,
}

/// The API of all regions.
pub struct CodeEngine<'a> {
    /// How requests get a token.
    pub iam: &'a Iam<'a>,
}

impl CodeEngine<'_> {
    /// Reads the secret.
    ///
    /// # Errors
    /// Exit status 7; 4, if there is no token.
    pub fn tls_secret(&self, place: &TlsSecretRef) -> Result<TlsSecret, Error> {
        let url = place.project.url(&format!("secrets/{}", place.name));
        let answer = self.iam.call(Method::GET, &url, &[], &[]);
        let secret = answer.and_then(TlsSecret::of);
        secret.map_err(|failure| self.refused("read", failure, place))
    }

    /// Lists the secrets of format `tls` of the project. Whether their data is included is not
    /// documented.
    ///
    /// # Errors
    /// As for [`Self::tls_secret`].
    pub fn tls_secrets(&self, project: &Project) -> Result<Vec<TlsSecret>, Error> {
        let mut secrets = self.list(project, "TLS secrets", "secrets", "&format=tls")?;
        secrets.retain(|secret: &TlsSecret| secret.format == "tls");
        Ok(secrets)
    }

    /// Lists the user-managed domain mappings of the project.
    ///
    /// # Errors
    /// As for [`Self::tls_secret`].
    pub fn domain_mappings(&self, project: &Project) -> Result<Vec<DomainMapping>, Error> {
        let mut mappings = self.list(project, "domain mappings", "domain_mappings", "")?;
        mappings.retain(|mapping: &DomainMapping| mapping.user_managed == Some(true));
        Ok(mappings)
    }

    /// Lists the apps of the project.
    ///
    /// # Errors
    /// As for [`Self::tls_secret`].
    pub fn apps(&self, project: &Project) -> Result<Vec<App>, Error> {
        self.list(project, "apps", "apps", "")
    }

    /// Reads an app of the project.
    ///
    /// # Errors
    /// As for [`Self::tls_secret`].
    pub fn app(&self, project: &Project, name: &AppName) -> Result<App, Error> {
        let url = project.url(&format!("apps/{name}"));
        let answer = self.iam.call(Method::GET, &url, &[], &[]);
        answer.and_then(App::of).map_err(|mut failure| {
            if failure.status == Some(404) {
                failure.hint = Some("check the names in RESTART_APPS or restart_apps");
            }
            self.failed(&format!("cannot read app {name}"), failure, project)
        })
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
        let entity_tag = app.entity_tag.as_deref().and_then(EntityTag::parse);
        let EntityTag(entity_tag) = entity_tag
            .ok_or_else(|| ApiError::unexpected("the app has no entity tag that can be sent"))?;
        let mut all = app.run_env_variables.clone().unwrap_or_default();
        for (name, value) in variables {
            all.retain(|entry| text(entry, "name") != Some(name));
            all.push(json!({ "type": "literal", "name": name, "value": value }));
        }
        // what was read as JSON always serializes
        let body = serde_json::to_vec(&json!({ "run_env_variables": all })).unwrap_or_default();
        let content_type = ("Content-Type", "application/merge-patch+json");
        let headers = [content_type, ("If-Match", &entity_tag)];
        let url = project.url(&format!("apps/{name}"));
        App::of(self.iam.call(Method::PATCH, &url, &headers, &body)?)
    }

    fn list<T: for<'de> Deserialize<'de>>(
        &self,
        project: &Project,
        what: &str,
        collection: &str,
        filter: &str,
    ) -> Result<Vec<T>, Error> {
        let what = format!("cannot list the {what} of project {}", project.id);
        let failed = |failure| self.failed(&what, failure, project);
        let list = format!("{}&limit=100{filter}", project.url(collection));
        let mut url = list.clone();
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let page: Page<T> = self.iam.get(&url).map_err(failed)?;
            found.extend(page.items);
            let Some(start) = page.next.and_then(|next| next.start) else {
                return Ok(found);
            };
            let start = utf8_percent_encode(&start, NON_ALPHANUMERIC);
            url = format!("{list}&start={start}");
        }
        let pages = format!("the list has more than {MOST_PAGES} pages");
        Err(failed(ApiError::unexpected(pages)))
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
        let body = replacement(certificate, key.expose());
        let content_type = ("Content-Type", "application/json");
        let headers = [content_type, ("If-Match", &entity_tag.0)];
        let url = place.project.url(&format!("secrets/{}", place.name));
        let answer = self.iam.call(Method::PUT, &url, &headers, &body)?;
        Ok(TlsSecret::of(answer).ok())
    }

    /// Why the TLS secret could not be read or replaced (`verb`).
    pub fn refused(&self, verb: &str, failure: ApiError, place: &TlsSecretRef) -> Error {
        let TlsSecretRef { project, name } = place;
        if failure.status == Some(404) {
            let what = format!("project {} has no TLS secret {name}", project.id);
            let mut error = self.failed(&what, failure, project);
            error.reason = Reason::TlsSecretMissing;
            return error.hint("create it once, with any certificate").command(format!(
                "ibmcloud ce secret create --format tls --name {name} --cert-chain-file CHAIN --private-key-file KEY"
            ));
        }
        let what = format!("cannot {verb} TLS secret {name} of project {}", project.id);
        self.failed(&what, failure, project)
    }

    /// Why something (`what`) could not be done in a project.
    pub fn failed(&self, what: &str, failure: ApiError, project: &Project) -> Error {
        let forbidden = failure.status == Some(403);
        let error = failure.explained(what, REASONS);
        match forbidden {
            true => self.iam.grantee.write_project(error, &project.id),
            false => error,
        }
    }
}

/// Not allowed, refused, unavailable.
const REASONS: [Reason; 3] =
    [Reason::CodeEngineForbidden, Reason::CodeEngineRefused, Reason::CodeEngineUnavailable];

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(field: Option<&str>, header: Option<&str>) -> Option<String> {
        let answer = Answer {
            etag: header.map(str::to_owned),
            body: Zeroizing::new(json!({ "entity_tag": field }).to_string().into_bytes()),
        };
        TlsSecret::of(answer).unwrap().tag().map(|tag| tag.0)
    }

    #[test]
    fn the_body_of_a_write_never_grows() {
        for (certificate, key) in [(900, 0), (0, 900), (900, 900), (4000, 3000)] {
            let [certificate, key] = [certificate, key].map(|lines| "line\r\n".repeat(lines));
            let body = replacement(&certificate, &key);
            let read: Value = serde_json::from_slice(&body).unwrap();
            let data = json!({ "tls_cert": certificate, "tls_key": key });
            assert_eq!(read, json!({ "format": "tls", "data": data }));
            // the room that is left is that of the frame
            assert_eq!(body.capacity() - body.len(), 12, "{}", body.len());
        }
    }

    #[test]
    fn the_documented_field_comes_before_the_header() {
        assert_eq!(tag(Some("7"), Some("W/\"7\"")).as_deref(), Some("7"));
        assert_eq!(tag(None, Some("W/\"7\"")).as_deref(), Some("W/\"7\""));
        assert_eq!(tag(Some(""), Some("\"7\"")).as_deref(), Some("\"7\""));
        assert_eq!(tag(Some("7"), Some("")).as_deref(), Some("7"));
        assert_eq!(tag(None, None), None);
        assert_eq!(tag(Some("*"), Some("7")), None);
    }

    #[test]
    fn a_tag_that_would_match_anything_or_cannot_be_sent_is_none() {
        let long = "7".repeat(257);
        for bad in ["", "*", " *", "* ", "7,*", "\"7\", *", "7\r\nHost: x", "é", "a b", &long] {
            assert_eq!(tag(Some(bad), None), None, "{bad}");
            assert_eq!(tag(None, Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_stale_tag_has_the_same_alphabet_and_is_another_one() {
        for (tag, stale) in [
            ("2385407419", "1111111171"),
            ("1", "7"),
            ("\"7\"", "\"1\""),
            ("W/\"abc-1\"", "W/\"111-7\""),
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
            (Some("r2"), Some("r1"), "warning", "ready_but_latest_revision_failed", false, true),
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
            let read: App = read(app.to_string().as_bytes()).unwrap();
            assert_eq!((read.serves(), read.failed()), (serves, failed), "{app}");
        }
    }
    #[test]
    fn an_app_copies_a_secret_in_its_environment_or_mounted_by_sub_path() {
        let secret = TlsSecretName::parse("shop-tls").unwrap();
        let mounts = "run_volume_mounts";
        let variables = "run_env_variables";
        for (list, kind, reference, sub_path, copies) in [
            (variables, "secret_full_reference", "shop-tls", "", true),
            (variables, "secret_key_reference", "shop-tls", "", true),
            (variables, "config_map_key_reference", "shop-tls", "", false),
            (variables, "secret_key_reference", "blog-tls", "", false),
            (mounts, "secret", "shop-tls", "tls.crt", true),
            (mounts, "secret", "shop-tls", "", false),
            (mounts, "secret", "blog-tls", "tls.crt", false),
            (mounts, "config_map", "shop-tls", "tls.crt", false),
        ] {
            let entry = json!({ "type": kind, "reference": reference, "sub_path": sub_path });
            let app = json!({ "name": "shop", list: [entry] });
            let read: App = read(app.to_string().as_bytes()).unwrap();
            assert_eq!(read.copies(&secret), copies, "{app}");
        }
    }
}
