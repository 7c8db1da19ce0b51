//! IBM Cloud Code Engine, API v2: reads and replaces a TLS secret
//! (`/v2/projects/{project_id}/secrets/{name}`).
//!
//! Belongs here: paths, headers and field names. Does not: whether a secret should be replaced, nor
//! what to do after an answer that leaves that open (`replace.rs`).

use anyhow::anyhow;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ibm::http::{Answer, Method};
use crate::ibm::iam::{CallFailure, Iam};
use crate::ibm::ids::{TlsSecretName, Uuid};
use crate::secret::Secret;

/// The behaviour of the API that this program was written for.
const VERSION: &str = "version=2025-07-10";

/// Where a TLS secret is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    /// The base URL of the API for the project's region, without `/v2`.
    pub base: String,
    /// The project.
    pub project_id: Uuid,
    /// The secret.
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

#[derive(Deserialize)]
struct MappingList {
    domain_mappings: Vec<DomainMapping>,
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    start: Option<String>,
}

/// A domain that is served with a TLS secret.
#[derive(Debug, Deserialize)]
pub struct DomainMapping {
    /// The domain.
    pub name: String,
    /// The name of the TLS secret.
    pub tls_secret: Option<String>,
    /// False for the platform's own.
    #[serde(default)]
    pub user_managed: bool,
}

/// Pages of a list; a project has at most 80 mappings (Code Engine limits).
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
    /// A [`CallFailure`].
    pub fn tls_secret(&self, place: &Place) -> Result<TlsSecret, CallFailure> {
        let answer = self.iam.call(Method::Get, &url(place), &[], &[])?;
        read(&answer).map_err(CallFailure::Answer)
    }

    /// Lists the user-managed domain mappings that use the secret.
    ///
    /// # Errors
    /// A [`CallFailure`].
    pub fn domain_mappings(&self, place: &Place) -> Result<Vec<DomainMapping>, CallFailure> {
        let list = format!(
            "{}/v2/projects/{}/domain_mappings?{VERSION}&limit=100",
            place.base, place.project_id
        );
        let mut found = Vec::new();
        let mut url = list.clone();
        for _ in 0..MOST_PAGES {
            let answer = self.iam.call(Method::Get, &url, &[], &[])?;
            let page: MappingList = answer.json().map_err(CallFailure::Answer)?;
            found.extend(page.domain_mappings);
            let Some(start) = page.next.and_then(|next| next.start) else {
                let name = place.name.to_string();
                found.retain(|m| m.user_managed && m.tls_secret.as_ref() == Some(&name));
                return Ok(found);
            };
            url = format!(
                "{list}&start={}",
                utf8_percent_encode(&start, NON_ALPHANUMERIC)
            );
        }
        Err(CallFailure::Answer(anyhow!(
            "the list of domain mappings has more than {MOST_PAGES} pages"
        )))
    }

    /// Replaces the data of the secret if it still has the tag `entity_tag`, and returns what the
    /// service says that it holds now (none, if its answer cannot be read). Sent once.
    ///
    /// # Errors
    /// A [`CallFailure`]; unless its status says otherwise, the secret may have been replaced.
    pub fn replace(
        &self,
        place: &Place,
        entity_tag: &str,
        certificate: &str,
        key: &Secret,
    ) -> Result<Option<TlsSecret>, CallFailure> {
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

fn url(place: &Place) -> String {
    format!(
        "{}/v2/projects/{}/secrets/{}?{VERSION}",
        place.base, place.project_id, place.name
    )
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
