//! The certificate authorities: a public-like one (root, intermediate, leaves with
//! certificate-transparency stamps), a private one, and the one behind our own HTTPS.
//! All keys are new at each start, so no test can depend on them.
//!
//! Not here: versions and states of secrets (`store`), when to rotate (`secrets_manager`).

use std::net::IpAddr;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RsaKeySize, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use x509_parser::public_key::PublicKey;

use crate::clock;

/// What a certificate secret is made of, exactly as Secrets Manager would hand it out.
/// What is `None` is absent from the answer.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Material {
    /// PEM: the leaf, with `bundle_certs` the intermediates too.
    pub certificate: Option<String>,
    /// PEM, one block or several.
    pub intermediate: Option<String>,
    /// PEM, unencrypted.
    pub private_key: Option<String>,
    /// PEM of the issuer (`private_cert`).
    pub issuing_ca: Option<String>,
    /// PEM texts (`private_cert`).
    pub ca_chain: Option<Vec<String>>,
    /// The key inside `managed_csr` (`imported_cert` from a managed CSR).
    pub managed_csr_private_key: Option<String>,
    /// The text of an `arbitrary` secret.
    pub payload: Option<String>,
}

/// The secret types that this cloud knows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretType {
    /// No certificate at all: for "wrong type".
    Arbitrary,
    /// Supplied from outside.
    ImportedCert,
    /// Issued by the private CA.
    PrivateCert,
    /// Issued by the public-like CA.
    #[default]
    PublicCert,
}

impl SecretType {
    /// IBM's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arbitrary => "arbitrary",
            Self::ImportedCert => "imported_cert",
            Self::PrivateCert => "private_cert",
            Self::PublicCert => "public_cert",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::Arbitrary,
            Self::ImportedCert,
            Self::PrivateCert,
            Self::PublicCert,
        ]
        .into_iter()
        .find(|known| known.as_str() == text)
    }
}

/// The key of a leaf.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// ECDSA P-256.
    #[default]
    P256,
    /// ECDSA P-384.
    P384,
    /// ECDSA P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 4096 bits, which takes seconds to make.
    Rsa4096,
}

impl KeyKind {
    fn key(&self) -> anyhow::Result<KeyPair> {
        let made = match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Self::P521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
        };
        made.context("key of a leaf")
    }
}

/// What to issue. `..CertificateSpec::default()` gives a public P-256 certificate for 90 days.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateSpec {
    /// Type of the secret.
    pub secret_type: SecretType,
    /// Name of the secret; empty: made from the first host name.
    pub name: String,
    /// Host names, wildcards, IP addresses; the first is the common name.
    pub names: Vec<String>,
    /// `notBefore`, days from now (may be negative).
    pub not_before_days: i64,
    /// `notAfter`, days from now (may be negative).
    pub not_after_days: i64,
    /// Key of the leaf.
    pub key: KeyKind,
    /// A rotation makes a new key too.
    pub rotate_keys: bool,
    /// `certificate` holds the intermediates too (public certificates).
    pub bundle_certs: bool,
    /// Secret group; `None`: the one of `World`.
    pub secret_group_id: Option<String>,
    /// Leaf carries embedded certificate-transparency stamps (public and imported).
    pub stamps: bool,
    /// `imported_cert`: the chain was supplied.
    pub with_intermediate: bool,
    /// `imported_cert`: the key was supplied.
    pub with_private_key: bool,
    /// `imported_cert`: made from a managed CSR; the key is inside `managed_csr` only.
    pub managed_csr: bool,
}

impl Default for CertificateSpec {
    fn default() -> Self {
        Self {
            secret_type: SecretType::PublicCert,
            name: String::new(),
            names: vec!["shop.example.com".into(), "www.shop.example.com".into()],
            not_before_days: 0,
            not_after_days: 90,
            key: KeyKind::P256,
            rotate_keys: true,
            bundle_certs: true,
            secret_group_id: None,
            stamps: true,
            with_intermediate: true,
            with_private_key: true,
            managed_csr: false,
        }
    }
}

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// `path_len`: how many CAs may be below.
    fn new(common_name: &str, path_len: u8, parent: Option<&Self>) -> anyhow::Result<Self> {
        let key = KeyKind::P256.key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Local Cloud");
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = clock::now() - Duration::days(3650);
        params.not_after = clock::now() + Duration::days(3650);
        let certificate = match parent {
            None => params.self_signed(&key),
            Some(parent) => {
                params.use_authority_key_identifier_extension = true;
                params.signed_by(&key, &parent.issuer)
            }
        };
        Ok(Self {
            pem: certificate
                .with_context(|| format!("CA {common_name}"))?
                .pem()
                .replace('\r', ""),
            issuer: Issuer::new(params, key),
        })
    }
}

/// All CAs of one cloud.
pub struct Authority {
    public_root: Ca,
    public_intermediate: Ca,
    private_root: Ca,
    private_intermediate: Ca,
    transport: Ca,
}

impl Authority {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let public_root = Ca::new("Local Cloud Public Root X1", 1, None)?;
        let private_root = Ca::new("Local Cloud Private Root", 1, None)?;
        Ok(Self {
            public_intermediate: Ca::new("Local Cloud Public R3", 0, Some(&public_root))?,
            public_root,
            private_intermediate: Ca::new("my-intermediate-ca", 0, Some(&private_root))?,
            private_root,
            transport: Ca::new("Local Cloud Transport", 0, None)?,
        })
    }

    /// PEM of the public-like root: no answer of Secrets Manager holds it.
    pub fn public_root(&self) -> &str {
        &self.public_root.pem
    }

    /// PEM of the public-like intermediate.
    pub fn public_intermediate(&self) -> &str {
        &self.public_intermediate.pem
    }

    /// PEM of the private root.
    pub fn private_root(&self) -> &str {
        &self.private_root.pem
    }

    /// PEM of the CA behind our own HTTPS.
    pub(crate) fn transport(&self) -> &str {
        &self.transport.pem
    }

    /// Key and chain of our own HTTPS, for 127.0.0.1 and localhost.
    pub(crate) fn transport_identity(
        &self,
    ) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyKind::P256.key()?;
        let params = leaf_params(&["127.0.0.1".into(), "localhost".into()], -1, 30)?;
        let leaf = params
            .signed_by(&key, &self.transport.issuer)
            .context("transport leaf")?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((vec![leaf.der().clone()], key))
    }

    /// A new certificate in the shape of `spec.secret_type`; with `key` (PEM) instead of a new key.
    pub fn issue(&self, spec: &CertificateSpec, key: Option<&str>) -> anyhow::Result<Material> {
        if spec.secret_type == SecretType::Arbitrary {
            return Ok(Material {
                payload: Some("not a certificate".into()),
                ..Material::default()
            });
        }
        let key = match key {
            Some(pem) => KeyPair::from_pem(pem).context("key of the version before")?,
            None => spec.key.key()?,
        };
        let mut params = leaf_params(&spec.names, spec.not_before_days, spec.not_after_days)?;
        let private = spec.secret_type == SecretType::PrivateCert;
        if spec.stamps && !private {
            params.custom_extensions.push(stamps(params.not_before));
        }
        let ca = if private {
            &self.private_intermediate
        } else {
            &self.public_intermediate
        };
        let leaf = params
            .signed_by(&key, &ca.issuer)
            .with_context(|| format!("leaf for {}", spec.names.join(", ")))?
            .pem()
            .replace('\r', "");
        let key = key.serialize_pem().replace('\r', "");
        Ok(self.shaped(spec, leaf, key))
    }

    /// Public certificates end in a line feed, imported and private ones do not: both exist in
    /// IBM's examples.
    fn shaped(&self, spec: &CertificateSpec, leaf: String, key: String) -> Material {
        let intermediate = &self.public_intermediate.pem;
        let trimmed = |pem: &str| pem.trim_end().to_owned();
        match spec.secret_type {
            SecretType::PublicCert => Material {
                certificate: Some(if spec.bundle_certs {
                    leaf + intermediate
                } else {
                    leaf
                }),
                intermediate: Some(intermediate.clone()),
                private_key: Some(key),
                ..Material::default()
            },
            SecretType::ImportedCert => Material {
                certificate: Some(trimmed(&leaf)),
                intermediate: spec.with_intermediate.then(|| trimmed(intermediate)),
                private_key: (spec.with_private_key && !spec.managed_csr).then(|| trimmed(&key)),
                managed_csr_private_key: spec.managed_csr.then(|| trimmed(&key)),
                ..Material::default()
            },
            SecretType::PrivateCert => Material {
                certificate: Some(trimmed(&leaf)),
                private_key: Some(trimmed(&key)),
                issuing_ca: Some(trimmed(&self.private_intermediate.pem)),
                ca_chain: Some(vec![trimmed(&self.private_intermediate.pem)]),
                ..Material::default()
            },
            SecretType::Arbitrary => Material::default(),
        }
    }
}

fn leaf_params(
    names: &[String],
    from_days: i64,
    to_days: i64,
) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.to_vec())
        .with_context(|| format!("names of a leaf: {}", names.join(", ")))?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(first) = names.first() {
        params
            .distinguished_name
            .push(DnType::CommonName, first.as_str());
    }
    // CAs date a little back, so that clocks that are slow accept a new leaf.
    params.not_before = clock::now() + Duration::days(from_days) - Duration::minutes(5);
    params.not_after = clock::now() + Duration::days(to_days);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial());
    Ok(params)
}

/// 18 bytes, first one small, as Let's Encrypt's.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 18] = rand::random();
    bytes[0] = 0x04;
    SerialNumber::from(bytes.to_vec())
}

/// RFC 6962, 3.3: an OCTET STRING with the list of signed certificate timestamps. Two logs that do
/// not exist; the bytes have the right lengths, the signatures verify nowhere.
fn stamps(at: OffsetDateTime) -> CustomExtension {
    let milliseconds = u64::try_from(at.unix_timestamp()).unwrap_or(0) * 1000;
    let mut list = Vec::new();
    for _ in 0..2 {
        let mut stamp = vec![0_u8];
        stamp.extend(rand::random::<[u8; 32]>());
        stamp.extend(milliseconds.to_be_bytes());
        stamp.extend([0, 0, 4, 3]);
        let signature = [
            &[0x30, 0x44, 0x02, 0x20][..],
            &rand::random::<[u8; 32]>(),
            &[0x02, 0x20],
        ]
        .concat()
        .into_iter()
        .chain(rand::random::<[u8; 32]>())
        .collect::<Vec<_>>();
        push_u16(&mut stamp, signature.len());
        stamp.extend(signature);
        push_u16(&mut list, stamp.len());
        list.extend(stamp);
    }
    let mut extension = Vec::new();
    push_u16(&mut extension, list.len());
    extension.extend(list);
    let length = u8::try_from(extension.len()).expect("two stamps are 238 bytes");
    let mut der = vec![0x04, 0x81, length];
    der.extend(extension);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], der)
}

fn push_u16(to: &mut Vec<u8>, length: usize) {
    to.extend(
        u16::try_from(length)
            .expect("a stamp is short")
            .to_be_bytes(),
    );
}

/// What Secrets Manager shows of a certificate.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) common_name: Option<String>,
    pub(crate) alt_names: Vec<String>,
    pub(crate) issuer: String,
    /// Lower-case hex bytes joined by `:`.
    pub(crate) serial_number: String,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) signing_algorithm: &'static str,
    pub(crate) key_algorithm: String,
}

/// The facts of the first certificate in a PEM text; `None` for what no parser reads, as somebody
/// may have put it in on purpose.
pub(crate) fn facts(pem: &str) -> Option<Facts> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let alt_names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|san| {
            san.value
                .general_names
                .iter()
                .filter_map(san_text)
                .collect()
        })
        .unwrap_or_default();
    Some(Facts {
        common_name: parsed
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .map(str::to_owned),
        alt_names,
        issuer: parsed.issuer().to_string().replace(", ", ","),
        serial_number: hex_pairs(parsed.raw_serial()),
        not_before: parsed.validity().not_before.to_datetime(),
        not_after: parsed.validity().not_after.to_datetime(),
        signing_algorithm: match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.11" => "SHA256-RSA",
            "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
            "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
            "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
            "1.3.101.112" => "Ed25519",
            _ => "unknown",
        },
        key_algorithm: match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(rsa)) => format!("RSA{}", rsa.key_size()),
            // whole bytes: 528 for P-521
            Ok(PublicKey::EC(point)) => format!("ECDSA{}", point.key_size().min(521)),
            _ => "ED25519".into(),
        },
    })
}

/// Lower-case hex bytes joined by `:`, as Secrets Manager prints serial numbers.
pub(crate) fn hex_pairs(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}

fn san_text(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    use x509_parser::extensions::GeneralName;
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_leaf_has_what_the_spec_says() {
        let authority = Authority::new().unwrap();
        let spec = CertificateSpec {
            names: vec![
                "a.example.com".into(),
                "*.a.example.com".into(),
                "192.0.2.7".into(),
            ],
            ..CertificateSpec::default()
        };
        let material = authority.issue(&spec, None).unwrap();
        let pem = material.certificate.unwrap();
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2);
        let facts = facts(&pem).unwrap();
        assert_eq!(facts.alt_names, spec.names);
        assert_eq!(facts.key_algorithm, "ECDSA256");
        assert!(facts.serial_number.starts_with("04:"));
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let extensions = parsed.extensions_map().unwrap();
        let stamps = x509_parser::oid_registry::OID_CT_LIST_SCT;
        assert!(matches!(
            extensions[&stamps].parsed_extension(),
            x509_parser::extensions::ParsedExtension::SCT(list) if list.len() == 2
        ));
    }

    #[test]
    fn every_kind_of_key() {
        let authority = Authority::new().unwrap();
        for (key, algorithm) in [
            (KeyKind::P256, "ECDSA256"),
            (KeyKind::P384, "ECDSA384"),
            (KeyKind::P521, "ECDSA521"),
            (KeyKind::Ed25519, "ED25519"),
            (KeyKind::Rsa2048, "RSA2048"),
        ] {
            let spec = CertificateSpec {
                key,
                ..CertificateSpec::default()
            };
            let material = authority.issue(&spec, None).unwrap();
            let facts = facts(&material.certificate.unwrap()).unwrap();
            assert_eq!(facts.key_algorithm, algorithm);
        }
    }

    #[test]
    fn the_key_is_kept_if_asked() {
        let authority = Authority::new().unwrap();
        let spec = CertificateSpec::default();
        let first = authority.issue(&spec, None).unwrap();
        let second = authority
            .issue(&spec, first.private_key.as_deref())
            .unwrap();
        assert_eq!(first.private_key, second.private_key);
        assert_ne!(first.certificate, second.certificate);
    }
}
