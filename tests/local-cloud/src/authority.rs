//! The certificate authorities: a public-like one (root, intermediate, leaves with
//! certificate-transparency stamps), a private one, and the one behind our own HTTPS.
//! All keys are new at each start, so no test can depend on them.

use std::net::IpAddr;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RsaKeySize, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

use crate::clock::{now, seconds};
use crate::store::object;

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

impl Material {
    /// The private key, wherever it is.
    pub(crate) fn key(&self) -> Option<&str> {
        let inside = self.managed_csr_private_key.as_deref();
        self.private_key.as_deref().or(inside)
    }
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
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
}

impl KeyKind {
    fn key(self) -> anyhow::Result<KeyPair> {
        let made = match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
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
        params.distinguished_name = name(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Local Cloud"),
            (DnType::CommonName, common_name),
        ]);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now() - Duration::days(3650);
        params.not_after = now() + Duration::days(3650);
        params.use_authority_key_identifier_extension = parent.is_some();
        let certificate = match parent {
            None => params.self_signed(&key)?,
            Some(parent) => params.signed_by(&key, &parent.issuer)?,
        };
        Ok(Self { pem: certificate.pem().replace('\r', ""), issuer: Issuer::new(params, key) })
    }
}

fn name(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, text) in parts {
        name.push(kind.clone(), *text);
    }
    name
}

/// All CAs of one cloud.
pub struct Authority {
    public_root: Ca,
    public_intermediate: Ca,
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
            transport: Ca::new("Local Cloud Transport", 0, None)?,
        })
    }

    /// PEM of the public-like root: no answer of Secrets Manager holds it.
    pub fn public_root(&self) -> &str {
        &self.public_root.pem
    }

    /// PEM of the CA behind our own HTTPS.
    pub(crate) fn transport(&self) -> &str {
        &self.transport.pem
    }

    /// Key and chain of our own HTTPS; a proxy may lead IAM's public names to us.
    pub(crate) fn transport_identity(
        &self,
    ) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyKind::P256.key()?;
        let names = "127.0.0.1 localhost iam.cloud.ibm.com private.iam.cloud.ibm.com";
        let names: Vec<_> = names.split(' ').map(str::to_owned).collect();
        let params = leaf_params(&names, -1, 30)?;
        let leaf = params.signed_by(&key, &self.transport.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((vec![leaf.der().clone()], key))
    }

    /// A new certificate in the shape of `spec.secret_type`; with `key` (PEM) instead of a new key.
    /// Public certificates end in a line feed, imported and private ones do not: both exist in IBM's
    /// examples.
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
        let ca = match private {
            true => &self.private_intermediate,
            false => &self.public_intermediate,
        };
        if spec.stamps && !private {
            params.custom_extensions.push(stamps(params.not_before));
        }
        let leaf = params.signed_by(&key, &ca.issuer);
        let leaf = leaf.with_context(|| format!("leaf for {}", spec.names.join(", ")))?;
        let [leaf, key] = [leaf.pem(), key.serialize_pem()].map(|pem| pem.replace('\r', ""));
        let trimmed = |pem: &str| Some(pem.trim_end().to_owned());
        Ok(match spec.secret_type {
            SecretType::PublicCert => Material {
                certificate: Some(leaf + if spec.bundle_certs { &ca.pem } else { "" }),
                intermediate: Some(ca.pem.clone()),
                private_key: Some(key),
                ..Material::default()
            },
            SecretType::PrivateCert => Material {
                certificate: trimmed(&leaf),
                private_key: trimmed(&key),
                issuing_ca: trimmed(&ca.pem),
                ca_chain: trimmed(&ca.pem).map(|pem| vec![pem]),
                ..Material::default()
            },
            SecretType::Arbitrary | SecretType::ImportedCert => Material {
                certificate: trimmed(&leaf),
                intermediate: trimmed(&ca.pem).filter(|_| spec.with_intermediate),
                private_key: trimmed(&key).filter(|_| spec.with_private_key && !spec.managed_csr),
                managed_csr_private_key: trimmed(&key).filter(|_| spec.managed_csr),
                ..Material::default()
            },
        })
    }
}

fn leaf_params(names: &[String], from: i64, to: i64) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.to_vec())
        .with_context(|| format!("names of a leaf: {}", names.join(", ")))?;
    let common_name = names.first().map(String::as_str);
    let common_name = common_name.map(|name| (DnType::CommonName, name));
    params.distinguished_name = name(common_name.as_slice());
    // CAs date a little back, so that clocks that are slow accept a new leaf.
    params.not_before = now() + Duration::days(from) - Duration::minutes(5);
    params.not_after = now() + Duration::days(to);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // 18 bytes, first one small, as Let's Encrypt's
    let serial = [&[4], &rand::random::<[u8; 17]>()[..]].concat();
    params.serial_number = Some(SerialNumber::from(serial));
    Ok(params)
}

/// RFC 6962, 3.3: an OCTET STRING with the list of signed certificate timestamps. Two logs that do
/// not exist; the bytes have the right lengths, the signatures verify nowhere.
fn stamps(at: OffsetDateTime) -> CustomExtension {
    let milliseconds = u64::try_from(at.unix_timestamp()).unwrap_or(0) * 1000;
    // OCTET STRING of 240 bytes, list of 238, each of its two entries 117
    let mut der = vec![0x04, 0x81, 240, 0, 238];
    for _ in 0..2 {
        let [log, r, s] = [(); 3].map(|()| rand::random::<[u8; 32]>());
        der.extend([0, 117, 0]);
        der.extend(log);
        der.extend(milliseconds.to_be_bytes());
        // no extensions; ECDSA with SHA-256, a signature of 70 bytes
        der.extend([0, 0, 4, 3, 0, 70, 0x30, 0x44, 0x02, 0x20]);
        der.extend(r);
        der.extend([0x02, 0x20]);
        der.extend(s);
    }
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], der)
}

/// What Secrets Manager shows of the first certificate in a PEM text; `None` for what no parser
/// reads, as somebody may have put it in on purpose.
pub(crate) fn facts(pem: &str) -> Option<Map<String, Value>> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter().filter_map(san_text).collect());
    let (from, to) = (parsed.validity().not_before, parsed.validity().not_after);
    let (from, to) = (seconds(from.to_datetime()), seconds(to.to_datetime()));
    let mut facts = object(json!({
        "alt_names": names.unwrap_or_else(Vec::<String>::new),
        "expiration_date": to,
        "issuer": parsed.issuer().to_string().replace(", ", ","),
        "key_algorithm": match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(rsa)) => format!("RSA{}", rsa.key_size()),
            // whole bytes: 528 for P-521
            Ok(PublicKey::EC(point)) => format!("ECDSA{}", point.key_size().min(521)),
            _ => "ED25519".into(),
        },
        "serial_number": hex_pairs(parsed.raw_serial()),
        "signing_algorithm": match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.11" => "SHA256-RSA",
            "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
            "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
            "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
            "1.3.101.112" => "Ed25519",
            _ => "unknown",
        },
        "validity": { "not_before": from, "not_after": to },
    }));
    let common_name = parsed.subject().iter_common_name().next();
    if let Some(Ok(common_name)) = common_name.map(|name| name.as_str()) {
        facts.insert("common_name".into(), common_name.into());
    }
    Some(facts)
}

/// Lower-case hex bytes joined by `:`, as Secrets Manager prints serial numbers.
pub(crate) fn hex_pairs(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

fn san_text(name: &GeneralName<'_>) -> Option<String> {
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
