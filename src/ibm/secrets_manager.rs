//! IBM Cloud Secrets Manager, API v2: reads one certificate secret (`GET /api/v2/secrets/{id}`).
//!
//! Belongs here: paths and field names. Does not: whether the secret is good for anything
//! (`fetch.rs`, `assemble.rs`).

use serde::Deserialize;

use crate::ibm::http::Method;
use crate::ibm::iam::{CallFailure, Iam};
use crate::ibm::ids::Uuid;
use crate::secret::Secret;

/// A secret as the API shows it: what the three certificate types have, as far as we use it.
/// Payload fields are flat, and each may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CertificateSecret {
    /// The id, to be compared with the one that was asked for.
    pub id: String,
    /// The name, for messages.
    pub name: String,
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

#[derive(Deserialize)]
struct Version {
    serial_number: Option<String>,
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

    /// Reads the secret as it is now.
    ///
    /// # Errors
    /// A [`CallFailure`].
    pub fn secret(&self, id: &Uuid) -> Result<CertificateSecret, CallFailure> {
        let url = format!("{}/api/v2/secrets/{id}", self.base);
        let answer = self.iam.call(Method::Get, &url, &[], &[])?;
        answer.json().map_err(CallFailure::Answer)
    }

    /// Reads the serial number of the version before the current one, without its payload.
    ///
    /// # Errors
    /// A [`CallFailure`].
    pub fn previous_serial(&self, id: &Uuid) -> Result<Option<String>, CallFailure> {
        let url = format!(
            "{}/api/v2/secrets/{id}/versions/previous/metadata",
            self.base
        );
        let answer = self.iam.call(Method::Get, &url, &[], &[])?;
        let version: Version = answer.json().map_err(CallFailure::Answer)?;
        Ok(version.serial_number)
    }
}
