//! IBM Cloud Secrets Manager, API v2: reads one certificate secret (`GET /api/v2/secrets/{id}`), or
//! a version of it (`.../versions/{version}`, `.../metadata`); lists certificate secrets.
//!
//! Belongs here: paths and field names. Does not: whether the secret is good for anything
//! (`fetch.rs`, `assemble.rs`).

use std::fmt;

use anyhow::anyhow;

use crate::ibm::api_error::ApiError;
use crate::ibm::client::Method;
use crate::ibm::document::Document;
use crate::ibm::iam::Iam;
use crate::ibm::ids::Uuid;
use crate::secret::Secret;

/// A secret as the API shows it, or a version of one: what the three certificate types have, as far
/// as we use it. Payload fields are flat, and each may be absent.
#[derive(Debug, Default)]
pub struct CertificateSecret {
    /// The id, to be compared with the one that was asked for.
    pub id: String,
    /// The name, for messages.
    pub name: String,
    /// Of a version, whose `id` is its own: the id of the secret.
    pub secret_id: String,
    /// Of a version: the name of the secret.
    pub secret_name: String,
    /// Of a version: the one change there was, RFC 3339.
    pub created_at: Option<String>,
    /// `public_cert`, `imported_cert`, `private_cert`, or a type that is not a certificate.
    pub secret_type: String,
    /// 0 pre-activation, 1 active, 2 suspended, 3 deactivated, 5 destroyed.
    pub state: Option<i64>,
    /// The last change of anything in it, RFC 3339.
    pub updated_at: Option<String>,
    /// The leaf in PEM; with `bundle_certs` more than that.
    pub certificate: Option<String>,
    /// Of `public_cert` and `imported_cert`: one or more certificates in PEM.
    pub intermediate: Option<String>,
    /// Of `private_cert`: the certificate of the CA that signed the leaf, in PEM.
    pub issuing_ca: Option<String>,
    /// Of `private_cert`: certificates in PEM, in no documented order.
    pub ca_chain: Vec<String>,
    /// The unencrypted private key in PEM.
    pub private_key: Option<Secret>,
    /// Of an `imported_cert` whose CSR Secrets Manager made: a second place for the key.
    pub managed_csr: Option<ManagedCsr>,
    /// Of a revoked `private_cert`: since when, seconds since the Unix epoch.
    pub revocation_time_seconds: Option<i64>,
}

impl CertificateSecret {
    fn read(mut document: Document) -> anyhow::Result<Self> {
        // the keys first: should another field be wrong, they are already where they get wiped
        let private_key = document.secret("private_key")?;
        let private_key_of_csr = document.object("managed_csr")?.secret("private_key")?;
        let text = |text: Option<String>| text.unwrap_or_default();
        Ok(Self {
            private_key,
            managed_csr: private_key_of_csr.map(|key| ManagedCsr {
                private_key: Some(key),
            }),
            id: text(document.text("id")?),
            name: text(document.text("name")?),
            secret_id: text(document.text("secret_id")?),
            secret_name: text(document.text("secret_name")?),
            created_at: document.text("created_at")?,
            secret_type: text(document.text("secret_type")?),
            state: document.number("state")?,
            updated_at: document.text("updated_at")?,
            certificate: document.text("certificate")?,
            intermediate: document.text("intermediate")?,
            issuing_ca: document.text("issuing_ca")?,
            ca_chain: document.texts("ca_chain")?,
            revocation_time_seconds: document.number("revocation_time_seconds")?,
        })
    }
}

/// The certificate signing request that Secrets Manager keeps for an imported certificate.
#[derive(Debug)]
pub struct ManagedCsr {
    /// The unencrypted private key in PEM.
    pub private_key: Option<Secret>,
}

/// Which version of a secret.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Version {
    /// The one that the secret itself shows.
    #[default]
    Current,
    /// The one before. Of older ones Secrets Manager keeps no payload.
    Previous,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Previous => "previous",
        })
    }
}

/// What is known of a version without its payload.
#[derive(Clone, Debug, Default)]
pub struct VersionMetadata {
    /// Colon-separated hex.
    pub serial_number: Option<String>,
    /// RFC 3339.
    pub created_at: Option<String>,
}

/// What a list says of a certificate secret; each field may be absent while it is not issued.
#[derive(Clone, Debug)]
pub struct ListedCertificate {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// `public_cert`, `imported_cert` or `private_cert`.
    pub secret_type: String,
    /// The id of its group, or `default`.
    pub secret_group_id: Option<String>,
    /// The common name.
    pub common_name: Option<String>,
    /// The further names.
    pub alt_names: Vec<String>,
    /// Colon-separated hex.
    pub serial_number: Option<String>,
    /// The distinguished name of the issuer, as text.
    pub issuer: Option<String>,
    /// RFC 3339.
    pub expiration_date: Option<String>,
    /// As in [`CertificateSecret::state`].
    pub state: Option<i64>,
}

impl ListedCertificate {
    fn read(mut document: Document) -> anyhow::Result<Self> {
        Ok(Self {
            id: document.required_text("id")?,
            name: document.text("name")?.unwrap_or_default(),
            secret_type: document.required_text("secret_type")?,
            secret_group_id: document.text("secret_group_id")?,
            common_name: document.text("common_name")?,
            alt_names: document.texts("alt_names")?,
            serial_number: document.text("serial_number")?,
            issuer: document.text("issuer")?,
            expiration_date: document.text("expiration_date")?,
            state: document.number("state")?,
        })
    }
}

/// The types of secrets that are certificates.
pub(crate) const CERTIFICATE_TYPES: [&str; 3] = ["public_cert", "imported_cert", "private_cert"];
/// Secrets of one page of a list: the API's default. More could be larger than any answer may be.
const PAGE: usize = 200;
/// Pages of a list.
const MOST_PAGES: usize = 50;

/// One instance.
pub struct SecretsManager<'a> {
    iam: &'a Iam<'a>,
    base: &'a str,
}

impl<'a> SecretsManager<'a> {
    /// `base` is the instance's URL without a path.
    #[must_use]
    pub const fn new(iam: &'a Iam<'a>, base: &'a str) -> Self {
        Self { iam, base }
    }

    /// Reads the secret as it is now, or as it was before the last rotation.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn secret(&self, id: &Uuid, version: Version) -> Result<CertificateSecret, ApiError> {
        let path = match version {
            Version::Current => format!("/{id}"),
            Version::Previous => format!("/{id}/versions/{version}"),
        };
        let secret = CertificateSecret::read(self.get(&path)?).map_err(ApiError::Unexpected)?;
        Ok(match version {
            Version::Current => secret,
            Version::Previous => CertificateSecret {
                id: secret.secret_id.clone(),
                name: secret.secret_name.clone(),
                updated_at: secret.created_at.clone(),
                ..secret
            },
        })
    }

    /// Reads what is known of a version, without its payload.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn version(&self, id: &Uuid, version: Version) -> Result<VersionMetadata, ApiError> {
        let mut document = self.get(&format!("/{id}/versions/{version}/metadata"))?;
        let mut text = |field| document.text(field).map_err(ApiError::Unexpected);
        Ok(VersionMetadata {
            serial_number: text("serial_number")?,
            created_at: text("created_at")?,
        })
    }

    /// Lists the certificates of the instance that the token may see, without their payload.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn certificates(&self) -> Result<Vec<ListedCertificate>, ApiError> {
        let mut found = Vec::new();
        for page in 0..MOST_PAGES {
            let offset = page * PAGE;
            let types = CERTIFICATE_TYPES.join(",");
            let mut document = self.get(&format!(
                "?limit={PAGE}&offset={offset}&sort=id&secret_types={types}"
            ))?;
            let secrets = document.objects("secrets").map_err(ApiError::Unexpected)?;
            let last = secrets.len() < PAGE;
            for secret in secrets {
                found.push(ListedCertificate::read(secret).map_err(ApiError::Unexpected)?);
            }
            if last {
                found.retain(|secret| CERTIFICATE_TYPES.contains(&secret.secret_type.as_str()));
                return Ok(found);
            }
        }
        Err(ApiError::Unexpected(anyhow!(
            "the list of secrets has more than {MOST_PAGES} pages"
        )))
    }

    fn get(&self, path: &str) -> Result<Document, ApiError> {
        let url = format!("{}/api/v2/secrets{path}", self.base);
        self.iam.call(Method::Get, &url, &[], &[])?.document()
    }
}
