//! IBM Cloud Secrets Manager, API v2: reads one certificate secret (`GET /api/v2/secrets/{id}`), or
//! a version of it (`.../versions/{version}`, `.../metadata`).
//!
//! Belongs here: paths and field names. Does not: whether the secret is good for anything
//! (`fetch.rs`, `assemble.rs`).

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::ibm::client::ApiError;
use crate::ibm::client::Method;
use crate::ibm::iam::Iam;
use crate::ibm::ids::Uuid;
use crate::secret::Secret;

/// A secret as the API shows it, or a version of one: what the three certificate types have, as far
/// as we use it. Payload fields are flat, and each may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
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
    /// `public_cert`, `imported_cert`, `private_cert`, or something that is no certificate.
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
    pub ca_chain: Option<Vec<String>>,
    /// The unencrypted private key in PEM.
    pub private_key: Option<Secret>,
    /// Of an `imported_cert` whose CSR Secrets Manager made: a second place for the key.
    pub managed_csr: Option<ManagedCsr>,
    /// Of a revoked `private_cert`: since when, seconds since the Unix epoch.
    pub revocation_time_seconds: Option<i64>,
}

/// The certificate signing request that Secrets Manager keeps for an imported certificate.
#[derive(Debug, Deserialize)]
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
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct VersionMetadata {
    /// Colon-separated hex.
    pub serial_number: Option<String>,
    /// RFC 3339.
    pub created_at: Option<String>,
}

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
        match version {
            Version::Current => self.get(&id.to_string()),
            Version::Previous => {
                let version: CertificateSecret = self.get(&format!("{id}/versions/{version}"))?;
                Ok(CertificateSecret {
                    id: version.secret_id.clone(),
                    name: version.secret_name.clone(),
                    updated_at: version.created_at.clone(),
                    ..version
                })
            }
        }
    }

    /// Reads what is known of a version, without its payload.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn version(&self, id: &Uuid, version: Version) -> Result<VersionMetadata, ApiError> {
        self.get(&format!("{id}/versions/{version}/metadata"))
    }

    /// Reads what is known of the secret, without its payload.
    ///
    /// # Errors
    /// An [`ApiError`].
    pub fn metadata(&self, id: &Uuid) -> Result<(), ApiError> {
        let _: IgnoredAny = self.get(&format!("{id}/metadata"))?;
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let url = format!("{}/api/v2/secrets/{path}", self.base);
        let answer = self.iam.call(Method::Get, &url, &[], &[])?;
        answer.json().map_err(ApiError::Unexpected)
    }
}
