//! Step 2, fetch: the certificate as Secrets Manager holds it now, if it is active and comes with its key.

use rustls_pki_types::UnixTime;

use crate::cert::certificate::parse_rfc3339;
use crate::error::{Error, Reason};
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::{CERTIFICATE_TYPES, CertificateSecret, SecretsManager, Version};
use crate::secret::Secret;
use crate::text::HIDDEN;

/// The texts of a certificate, its chain and its key.
#[derive(Debug)]
pub struct Material {
    /// The name of the secret, sanitized; its ID if it has no name.
    pub name: String,
    /// The texts that may hold certificates, each with the name of its field.
    pub certificates: Vec<(String, String)>,
    /// The private key.
    pub key: Secret,
    /// When the secret was last changed.
    pub updated_at: Option<UnixTime>,
}

/// Reads the secret.
///
/// # Errors
/// Exit statuses 4 (no token), 5 (could not fetch) and 6 (not a certificate, or one without its key).
pub(crate) fn fetch(
    secrets_manager: &SecretsManager<'_>,
    id: &Uuid,
    version: Version,
) -> Result<Material, Error> {
    let secret = secrets_manager.secret(id, version)?;
    let name = match secret.name.as_str() {
        "" | HIDDEN => id.to_string(),
        name => name.to_owned(),
    };
    active_certificate(&secret, id, &name)?;
    material(secret, id, name)
}

fn active_certificate(secret: &CertificateSecret, id: &Uuid, name: &str) -> Result<(), Error> {
    if secret.id != id.to_string() {
        let what = format!("Secrets Manager returned secret {} for {id}", secret.id);
        return Err(Reason::SecretsManagerRefused.error(what));
    }
    if !CERTIFICATE_TYPES.contains(&secret.secret_type.as_str()) {
        let (found, expected) = (&secret.secret_type, CERTIFICATE_TYPES.join(", "));
        let what =
            format!("the secret {name} ({id}) is of type {found}, expected one of {expected}");
        return Err(Reason::WrongType.error(what));
    }
    let revoked = secret.revocation_time_seconds.is_some_and(|time| time > 0);
    let what = match secret.state {
        None | Some(1) if !revoked => return Ok(()),
        None | Some(1) => "revoked",
        Some(0) => "not issued yet (state 0, pre-activation)",
        Some(2) => "not active (state 2, suspended)",
        Some(3) => "not active (state 3, deactivated)",
        Some(5) => "not active (state 5, destroyed)",
        Some(state) => &format!("not active (state {state}, unknown)"),
    };
    let (reason, hint) = match secret.state {
        None | Some(1) => (Reason::NotActive, "rotate it in Secrets Manager"),
        Some(0) => (Reason::NotIssued, "check its state in Secrets Manager"),
        Some(_) => (Reason::NotActive, "check its state in Secrets Manager"),
    };
    let what = format!("the certificate {name} ({id}) is {what}");
    Err(reason.error(what).hint(hint))
}

fn material(secret: CertificateSecret, id: &Uuid, name: String) -> Result<Material, Error> {
    let fields = [
        ("certificate", secret.certificate),
        ("intermediate", secret.intermediate),
        ("issuing_ca", secret.issuing_ca),
    ];
    let named = |(field, text): (&str, Option<String>)| Some((field.to_owned(), text?));
    let fields = fields.into_iter().filter_map(named);
    let ca_chain = secret.ca_chain.into_iter().flatten().enumerate();
    let ca_chain = ca_chain.map(|(position, text)| (format!("ca_chain[{position}]"), text));
    let key = secret.private_key;
    let key = key.filter(|key| !key.expose().trim().is_empty());
    let key = key.or_else(|| secret.managed_csr?.private_key);
    let key = key.ok_or_else(|| {
        let hint = match secret.secret_type.as_str() {
            "imported_cert" => "import it again together with its key: each imported version needs its own key",
            _ => "rotate it in Secrets Manager; a certificate issued from your own CSR has no key there",
        };
        let what = format!("the certificate {name} ({id}) has no private key in Secrets Manager");
        Reason::KeyMissing.error(what).hint(hint)
    })?;
    Ok(Material {
        name,
        certificates: fields.chain(ca_chain).collect(),
        key,
        updated_at: secret.updated_at.as_deref().and_then(parse_rfc3339),
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
            private_key: Some(Secret::new("k".to_owned())),
            ..CertificateSecret::default()
        }
    }

    fn read(secret: CertificateSecret) -> Result<Material, Error> {
        let id = Uuid::parse(ID).unwrap();
        active_certificate(&secret, &id, "shop")?;
        material(secret, &id, "shop".to_owned())
    }

    #[test]
    fn the_key_of_a_managed_csr_stands_in_for_a_missing_one() {
        let managed_csr = Some(ManagedCsr { private_key: Some(Secret::new("managed".to_owned())) });
        let material = read(CertificateSecret { private_key: None, managed_csr, ..secret() });
        assert_eq!(material.unwrap().key.expose(), "managed");
    }

    #[test]
    fn the_texts_keep_the_names_of_their_fields() {
        let text = |text: &str| Some(text.to_owned());
        let material = read(CertificateSecret {
            intermediate: text("i"),
            issuing_ca: text("ca"),
            ca_chain: Some(vec!["1".to_owned(), "2".to_owned()]),
            ..secret()
        });
        let material = material.unwrap();
        let texts: Vec<_> = material
            .certificates
            .iter()
            .map(|(field, text)| (field.as_str(), text.as_str()))
            .collect();
        assert_eq!(
            texts,
            [
                ("certificate", "c"),
                ("intermediate", "i"),
                ("issuing_ca", "ca"),
                ("ca_chain[0]", "1"),
                ("ca_chain[1]", "2"),
            ]
        );
        assert_eq!(material.key.expose(), "k");
        assert_eq!(material.name, "shop");
    }

    #[test]
    fn an_active_certificate_is_taken() {
        let changes: [fn(&mut CertificateSecret); 5] = [
            |s| s.state = None,
            |s| s.secret_type = "public_cert".to_owned(),
            |s| s.secret_type = "private_cert".to_owned(),
            |s| s.revocation_time_seconds = Some(0),
            |s| s.revocation_time_seconds = Some(-1),
        ];
        for change in changes {
            let mut secret = secret();
            change(&mut secret);
            assert!(read(secret).is_ok());
        }
    }

    #[test]
    fn what_is_no_usable_certificate_is_refused_by_name() {
        type Change = fn(&mut CertificateSecret);
        let rows: [(Change, Reason, &str); 12] = [
            (|s| s.private_key = None, Reason::KeyMissing, "import it again together with its key"),
            (
                |s| {
                    s.private_key = None;
                    s.secret_type = "public_cert".to_owned();
                },
                Reason::KeyMissing,
                "no key there",
            ),
            (
                |s| s.private_key = Some(Secret::new(" \n".to_owned())),
                Reason::KeyMissing,
                "has no private key",
            ),
            (|s| s.state = Some(0), Reason::NotIssued, "not issued yet"),
            (|s| s.state = Some(2), Reason::NotActive, "state 2, suspended"),
            (|s| s.state = Some(3), Reason::NotActive, "state 3, deactivated"),
            (|s| s.state = Some(4), Reason::NotActive, "state 4, unknown"),
            (|s| s.state = Some(5), Reason::NotActive, "state 5, destroyed"),
            (
                |s| s.secret_type = "kv".to_owned(),
                Reason::WrongType,
                "is of type kv, expected one of",
            ),
            (|s| s.revocation_time_seconds = Some(1), Reason::NotActive, "is revoked"),
            (
                |s| s.id = "x".to_owned(),
                Reason::SecretsManagerRefused,
                "returned secret x for 2f6c8e90",
            ),
            (|s| s.id = String::new(), Reason::SecretsManagerRefused, "returned secret"),
        ];
        for (change, reason, text) in rows {
            let mut secret = secret();
            change(&mut secret);
            let error = read(secret).unwrap_err();
            assert_eq!(error.reason, reason, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
