//! IBM Cloud Secrets Manager, API v2: reads one certificate secret (`GET /api/v2/secrets/{id}`), or
//! a version of it (`.../versions/{version}`, `.../metadata`); lists certificate secrets.

use serde::Deserialize;

use crate::error::{Error, Reason};
use crate::ibm::api_error::ApiError;
use crate::ibm::iam::Iam;
use crate::ibm::ids::{SecretName, Uuid, Word};
use crate::secret::Secret;

/// A secret as the API shows it, or a version of one: what the three certificate types have, as far
/// as we use it. Payload fields are flat, and each may be absent. Names are shown by the rules of
/// their types.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CertificateSecret {
    /// The id, to be compared with the one that was asked for.
    #[serde(deserialize_with = "Uuid::show")]
    pub id: String,
    /// The name, for messages.
    #[serde(deserialize_with = "SecretName::show")]
    pub name: String,
    /// Of a version, whose `id` is its own: the id of the secret.
    #[serde(deserialize_with = "Uuid::show")]
    pub secret_id: String,
    /// Of a version: the name of the secret.
    #[serde(deserialize_with = "SecretName::show")]
    pub secret_name: String,
    /// Of a version: the one change there was, RFC 3339.
    pub created_at: Option<String>,
    /// `public_cert`, `imported_cert`, `private_cert`, or a type that is not a certificate.
    #[serde(deserialize_with = "Word::show")]
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

/// What is known of a certificate secret, or of a version of one, without its payload; each field may be
/// absent while it is not issued.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CertificateMetadata {
    /// The id.
    #[serde(deserialize_with = "Uuid::show")]
    pub id: String,
    /// The name.
    #[serde(deserialize_with = "SecretName::show")]
    pub name: String,
    /// `public_cert`, `imported_cert` or `private_cert`.
    #[serde(deserialize_with = "Word::show")]
    pub secret_type: String,
    /// The common name.
    pub common_name: Option<String>,
    /// The further names.
    pub alt_names: Option<Vec<String>>,
    /// Colon-separated hex.
    pub serial_number: Option<String>,
    /// RFC 3339.
    pub expiration_date: Option<String>,
    /// As in [`CertificateSecret::state`].
    pub state: Option<i64>,
}

#[derive(Deserialize)]
struct Page {
    secrets: Vec<CertificateMetadata>,
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
    pub const fn new(iam: &'a Iam<'a>, base: &'a str) -> Self {
        Self { iam, base }
    }

    /// Reads the secret as it is now, or as it was before the last rotation.
    ///
    /// # Errors
    /// Exit status 5; 4, if there is no token.
    pub fn secret(&self, id: &Uuid, version: Version) -> Result<CertificateSecret, Error> {
        let path = match version {
            Version::Current => format!("/{id}"),
            Version::Previous => format!("/{id}/versions/previous"),
        };
        let refused = |failure| self.refused(failure, id, version);
        let mut secret: CertificateSecret = self.get(&path).map_err(refused)?;
        if version == Version::Previous {
            secret.id.clone_from(&secret.secret_id);
            secret.name.clone_from(&secret.secret_name);
            secret.updated_at.clone_from(&secret.created_at);
        }
        Ok(secret)
    }

    /// Reads the serial number of the previous version, if there is one: colon-separated hex.
    ///
    /// # Errors
    /// As for [`Self::secret`].
    pub fn previous_serial(&self, id: &Uuid) -> Result<Option<String>, Error> {
        let path = format!("/{id}/versions/previous/metadata");
        match self.get::<CertificateMetadata>(&path) {
            Ok(metadata) => Ok(metadata.serial_number),
            // never rotated
            Err(failure) if failure.status == Some(404) => Ok(None),
            Err(failure) => Err(self.refused(failure, id, Version::Previous)),
        }
    }

    /// Lists the certificates of the instance that the token may see, without their payload.
    ///
    /// # Errors
    /// As for [`Self::secret`].
    pub fn certificates(&self) -> Result<Vec<CertificateMetadata>, Error> {
        let types = CERTIFICATE_TYPES.join(",");
        let mut found = Vec::new();
        for page in 0..MOST_PAGES {
            let offset = page * PAGE;
            let list = format!("?limit={PAGE}&offset={offset}&sort=id&secret_types={types}");
            let Page { secrets } = self.get(&list).map_err(|failure| self.unlisted(failure))?;
            let last = secrets.len() < PAGE;
            found.extend(secrets);
            if last {
                found.retain(|secret| CERTIFICATE_TYPES.contains(&secret.secret_type.as_str()));
                return Ok(found);
            }
        }
        let pages = format!("the list has more than {MOST_PAGES} pages");
        Err(self.unlisted(ApiError::unexpected(pages)))
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, ApiError> {
        self.iam.get(&format!("{}/api/v2/secrets{path}", self.base))
    }

    /// Why this secret could not be read.
    pub(super) fn refused(&self, failure: ApiError, id: &Uuid, version: Version) -> Error {
        let status = failure.status;
        let mut error = failure.explained(&format!("cannot read secret {id}"), REASONS);
        let grantee = self.iam.grantee;
        match status {
            Some(403) => return grantee.read_secret(error, id),
            Some(404) => error.reason = Reason::SecretMissing,
            _ => return error,
        }
        match version {
            Version::Previous => error.hint(NO_PREVIOUS),
            Version::Current => error.hint(NO_SECRET).command(grantee.list_certificates()),
        }
    }

    /// Why the certificates could not be listed.
    pub(super) fn unlisted(&self, failure: ApiError) -> Error {
        let status = failure.status;
        let error = failure.explained("cannot list the certificates in Secrets Manager", REASONS);
        match status {
            Some(403) => self.iam.grantee.read_group(error, "SECRET_GROUP_ID"),
            Some(404) => error.hint(NO_LIST),
            _ => error,
        }
    }
}

const NO_SECRET: &str = "check the ID among those of the instance at SECRETS_MANAGER_URL (plan Standard or Trial: Vault Dedicated does not have this API)";
const NO_LIST: &str = "check that SECRETS_MANAGER_URL is an instance of the plan Standard or Trial";
const NO_PREVIOUS: &str = "there is no previous version: only the one before the last rotation can be deployed; import an older certificate again";

/// Not allowed, refused, unavailable.
const REASONS: [Reason; 3] =
    [Reason::SecretForbidden, Reason::SecretsManagerRefused, Reason::SecretsManagerUnavailable];
