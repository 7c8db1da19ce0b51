//! IBM Cloud Code Engine, API v2: reads and replaces a TLS secret
//! (`/v2/projects/{project_id}/secrets/{name}`).
//!
//! Belongs here: paths, headers and field names. Does not: whether a secret should be replaced, nor
//! what to do after an answer that leaves that open (`replace.rs`).

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
