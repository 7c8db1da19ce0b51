//! Step 2, fetch: the certificate secret as Secrets Manager holds it now.
//!
//! Belongs here: whether the secret is a certificate that can be had, with its key. Does not:
//! whether the certificate is any good (`assemble.rs`).

use rustls_pki_types::UnixTime;

use crate::cert::certificate::parse_rfc3339;
use crate::error::{Error, Reason, error};
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::{CertificateSecret, SecretsManager, Version};
use crate::secret::Secret;
use crate::sync::refusals::{self, Grantee};
use crate::sync::validate::CERTIFICATE_TYPES;
use crate::text::sanitized;

/// What a certificate is made of, as texts.
#[derive(Debug)]
pub struct Material {
    /// The name of the secret, fit for a message; its id, if it has none.
    pub name: String,
    /// The fields that may hold certificates, with their names.
    pub certificates: Vec<(&'static str, String)>,
    /// The private key.
    pub key: Secret,
}

/// What Secrets Manager holds now.
#[derive(Debug)]
pub struct Fetched {
    /// What the certificate is made of.
    pub material: Material,
    /// When the secret was last changed.
    pub updated_at: Option<UnixTime>,
}

/// Reads the secret, and what a certificate is made of.
///
/// # Errors
/// Exit statuses 4 (no token), 5 (not to be had) and 6 (no certificate, or one without its key).
pub fn fetch(
    secrets_manager: &SecretsManager<'_>,
    id: &Uuid,
    version: Version,
    grantee: &Grantee,
) -> Result<Fetched, Error> {
    let secret = secrets_manager
        .secret(id, version)
        .map_err(|failure| refusals::secret(failure, id, version, grantee))?;
    let name = match secret.name.as_str() {
        "" => id.to_string(),
        name => sanitized(name),
    };
    let updated_at = secret.updated_at.as_deref().and_then(parse_rfc3339);
    Ok(Fetched {
        material: material(secret, id, &name)?,
        updated_at,
    })
}

fn material(secret: CertificateSecret, id: &Uuid, name: &str) -> Result<Material, Error> {
    if secret.id != id.to_string() {
        return Err(error!(
            Reason::SecretsManagerRefused,
            "Secrets Manager was asked for secret {id} and gave {}",
            sanitized(&secret.id)
        ));
    }
    let secret_type = secret.secret_type.as_str();
    if !CERTIFICATE_TYPES.contains(&secret_type) {
        return Err(error!(
            Reason::WrongType,
            "the secret {name} ({id}) is of type {}, expected one of {}",
            sanitized(secret_type),
            CERTIFICATE_TYPES.join(", ")
        ));
    }
    let order = "look at its state in Secrets Manager";
    match secret.state {
        Some(1) | None => {}
        Some(0) => {
            return Err(error!(
                Reason::NotIssued,
                "the certificate {name} ({id}) is not issued yet (state 0, pre-activation)"
            )
            .hint(order));
        }
        Some(state) => {
            let word = match state {
                2 => "suspended",
                3 => "deactivated",
                5 => "destroyed",
                _ => "unknown",
            };
            return Err(error!(
                Reason::NotActive,
                "the certificate {name} ({id}) is not active (state {state}, {word})"
            )
            .hint(order));
        }
    }
    if secret.revocation_time_seconds.is_some_and(|time| time > 0) {
        return Err(
            error!(Reason::Revoked, "the certificate {name} ({id}) is revoked")
                .hint("rotate it in Secrets Manager"),
        );
    }
    let certificates: Vec<(&'static str, String)> = [
        ("certificate", secret.certificate),
        ("intermediate", secret.intermediate),
        ("issuing_ca", secret.issuing_ca),
    ]
    .into_iter()
    .filter_map(|(field, text)| Some((field, text?)))
    .chain(secret.ca_chain.into_iter().map(|text| ("ca_chain", text)))
    .collect();
    let key = secret
        .private_key
        .filter(|key| !key.expose().trim().is_empty())
        .or_else(|| secret.managed_csr?.private_key)
        .ok_or_else(|| {
            let error = error!(
                Reason::KeyMissing,
                "the certificate {name} ({id}) has no private key in Secrets Manager"
            );
            match secret_type {
                "imported_cert" => error.hint(
                    "import it again together with its key: a new version does not take the key of the one before",
                ),
                _ => error.hint("rotate it in Secrets Manager; a certificate from a foreign CSR has no key there"),
            }
        })?;
    Ok(Material {
        name: name.to_owned(),
        certificates,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ibm::secrets_manager::ManagedCsr;

    const ID: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";

    fn secret() -> CertificateSecret {
        CertificateSecret {
            id: ID.to_owned(),
            secret_type: "imported_cert".to_owned(),
            state: Some(1),
            certificate: Some("c".to_owned()),
            private_key: Some(Secret::from("k".to_owned())),
            ..CertificateSecret::default()
        }
    }

    fn read(secret: CertificateSecret) -> Result<Material, Reason> {
        material(secret, &Uuid::parse(ID).unwrap(), "shop").map_err(|e| e.reason)
    }

    #[test]
    fn the_key_of_a_managed_csr_stands_in_for_a_missing_one() {
        let managed_csr = Some(ManagedCsr {
            private_key: Some(Secret::from("managed".to_owned())),
        });
        let material = read(CertificateSecret {
            private_key: None,
            managed_csr,
            ..secret()
        });
        assert_eq!(material.unwrap().key.expose(), "managed");
    }

    #[test]
    fn what_is_no_usable_certificate_is_refused_by_name() {
        let with = |change: fn(&mut CertificateSecret)| {
            let mut secret = secret();
            change(&mut secret);
            read(secret).unwrap_err()
        };
        assert_eq!(with(|s| s.private_key = None), Reason::KeyMissing);
        assert_eq!(with(|s| s.state = Some(0)), Reason::NotIssued);
        assert_eq!(with(|s| s.state = Some(5)), Reason::NotActive);
        assert_eq!(with(|s| s.secret_type = "kv".to_owned()), Reason::WrongType);
        assert_eq!(
            with(|s| s.revocation_time_seconds = Some(1)),
            Reason::Revoked
        );
        assert_eq!(
            with(|s| s.id = "x".to_owned()),
            Reason::SecretsManagerRefused
        );
    }
}
