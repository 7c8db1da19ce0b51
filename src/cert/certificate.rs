//! Facts of one X.509 certificate (RFC 5280): names, validity, issuer, serial, digest.
//!
//! Belongs here: what is written in a certificate, and whether one signed another. Does not: any
//! opinion on whether that is good enough (`assemble.rs`, `replace.rs`).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::digest::{self, SHA256, digest};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{DateTime, Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints,
    SubjectAltName, SubjectKeyIdentifier,
};

use crate::text::sanitized;

/// `id-kp-serverAuth` (RFC 5280 section 4.2.1.12).
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// The extensions that TLS clients understand, so that they may be critical (RFC 5280 section 4.2).
const CLIENTS_KNOW: [ObjectIdentifier; 5] = [
    BasicConstraints::OID,
    ExtendedKeyUsage::OID,
    KeyUsage::OID,
    NameConstraints::OID,
    SubjectAltName::OID,
];
/// The extension of embedded certificate-transparency stamps (RFC 6962 section 3.3).
const STAMPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// One certificate: its bytes and what they say.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The whole certificate, DER.
    pub der: CertificateDer<'static>,
    /// The subject, DER of the `Name`.
    pub subject: Vec<u8>,
    /// The issuer, DER of the `Name`.
    pub issuer: Vec<u8>,
    /// The subject as text (RFC 4514), fit for a message.
    pub subject_text: String,
    /// The issuer as text (RFC 4514), fit for a message.
    pub issuer_text: String,
    /// The serial number: lower-case hex bytes joined by colons, as Secrets Manager prints it.
    pub serial: String,
    /// Valid from, seconds since the Unix epoch.
    pub not_before: UnixTime,
    /// Valid until (inclusive), seconds since the Unix epoch.
    pub not_after: UnixTime,
    /// The names of the subject alternative name extension that TLS clients compare.
    pub names: Vec<ServerName>,
    /// Whether the basic constraints say that this is a CA.
    pub is_ca: bool,
    /// How many intermediate certificates may stand below it, if it is a CA that says so.
    pub path_len: Option<usize>,
    /// Whether the key usage, if there is one, permits what a TLS server does with its key.
    pub key_serves: bool,
    key_signs_certificates: bool,
    unknown_critical: bool,
    /// Whether the extended key usage, if there is one, permits TLS servers.
    pub for_servers: bool,
    /// Whether certificate-transparency stamps are embedded (RFC 6962 section 3.3): only publicly
    /// trusted CAs have a reason to.
    pub has_stamps: bool,
    /// The `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
}

/// A name that a TLS client compares with the one it asked for (RFC 9525).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ServerName {
    /// A DNS name in lower case; the first label may be `*`.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl ServerName {
    /// Whether a certificate that carries `self` is accepted for `other`. A wildcard stands for
    /// exactly one label (RFC 9525 section 6.3), and covers the same wildcard.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dns(own), Self::Dns(asked)) if own != asked => own
                .strip_prefix("*.")
                .zip(asked.split_once('.'))
                .is_some_and(|(parent, (label, rest))| parent == rest && label != "*"),
            _ => self == other,
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(&sanitized(name)),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Whether one certificate signed another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signature {
    /// The signature was verified.
    Verified,
    /// The algorithm is not supported here; the names and the key identifiers fit.
    Unverifiable,
    /// It did not.
    Foreign,
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// If it is not exactly one certificate of RFC 5280. The text never holds its bytes.
    pub fn from_der(der: CertificateDer<'static>) -> anyhow::Result<Self> {
        let parsed = x509_cert::Certificate::from_der(&der)
            .map_err(|e| anyhow!("not an X.509 certificate ({:?})", e.kind()))?;
        let tbs = parsed.tbs_certificate();
        if parsed.signature_algorithm() != tbs.signature() {
            bail!("its two signature algorithms differ (RFC 5280 section 4.1.1.2)");
        }
        let basic_constraints: Option<BasicConstraints> = extension(tbs)?;
        let key_usage: Option<KeyUsage> = extension(tbs)?;
        let usage: Option<ExtendedKeyUsage> = extension(tbs)?;
        let names: Option<SubjectAltName> = extension(tbs)?;
        let subject_key_id: Option<SubjectKeyIdentifier> = extension(tbs)?;
        let authority_key_id: Option<AuthorityKeyIdentifier> = extension(tbs)?;
        let seconds =
            |time: &x509_cert::time::Time| UnixTime::since_unix_epoch(time.to_unix_duration());
        Ok(Self {
            subject: tbs.subject().to_der().context("subject")?,
            issuer: tbs.issuer().to_der().context("issuer")?,
            subject_text: sanitized(&tbs.subject().to_string()),
            issuer_text: sanitized(&tbs.issuer().to_string()),
            serial: hex(tbs.serial_number().as_bytes(), ":"),
            not_before: seconds(&tbs.validity().not_before),
            not_after: seconds(&tbs.validity().not_after),
            names: names
                .map(|names| server_names(&names.0))
                .unwrap_or_default(),
            has_stamps: tbs
                .extensions()
                .into_iter()
                .flatten()
                .any(|extension| extension.extn_id == STAMPS),
            unknown_critical: tbs
                .extensions()
                .into_iter()
                .flatten()
                .any(|extension| extension.critical && !CLIENTS_KNOW.contains(&extension.extn_id)),
            key_serves: key_usage.is_none_or(|usage| {
                usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
            }),
            key_signs_certificates: key_usage.is_none_or(|usage| usage.key_cert_sign()),
            path_len: basic_constraints
                .as_ref()
                .and_then(|constraints| constraints.path_len_constraint)
                .map(usize::from),
            is_ca: basic_constraints.is_some_and(|constraints| constraints.ca),
            for_servers: usage.is_none_or(|usage| {
                // TLS clients do not take anyExtendedKeyUsage for it
                usage.0.contains(&SERVER_AUTH)
            }),
            public_key: tbs
                .subject_public_key_info()
                .to_der()
                .context("public key")?,
            subject_key_id: subject_key_id.map(|id| id.0.as_bytes().to_vec()),
            authority_key_id: authority_key_id
                .and_then(|id| id.key_identifier)
                .map(|id| id.as_bytes().to_vec()),
            der,
        })
    }

    /// The SHA-256 digest of the DER, lower-case hex: what people call the fingerprint.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(digest(&SHA256, &self.der).as_ref(), "")
    }

    /// Whether `now` lies within the validity, both ends included (RFC 5280 section 4.1.2.5).
    #[must_use]
    pub fn valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether subject and issuer are the same: a root, or a self-signed placeholder.
    #[must_use]
    pub fn self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Why no chain may go through this certificate, whatever the time.
    #[must_use]
    pub const fn issuer_flaw(&self) -> Option<&'static str> {
        if !self.is_ca {
            Some("is no CA")
        } else if !self.key_signs_certificates {
            Some("may not sign certificates (key usage)")
        } else if !self.for_servers {
            Some("is not meant for TLS servers (extended key usage)")
        } else if self.unknown_critical {
            Some("has a critical extension that clients do not know")
        } else {
            None
        }
    }

    /// The kind of its key, in words: `RSA 2048`, `ECDSA P-256`; an OID for what is not known here.
    #[must_use]
    pub fn key_kind(&self) -> String {
        self.read_key_kind()
            .unwrap_or_else(|_| "unreadable key".to_owned())
    }

    fn read_key_kind(&self) -> x509_cert::der::Result<String> {
        let (algorithm, key) = self.key_parts()?;
        let mut identifier = SliceReader::new(algorithm)?;
        let oid: ObjectIdentifier = ObjectIdentifier::decode(&mut identifier)?;
        Ok(match oid.to_string().as_str() {
            "1.2.840.113549.1.1.1" => {
                // RSAPublicKey ::= SEQUENCE { modulus INTEGER, ... } (RFC 8017 appendix A.1.1)
                let mut numbers = SliceReader::new(AnyRef::from_der(key)?.value())?;
                let modulus = UintRef::decode(&mut numbers)?;
                format!("RSA {}", modulus.as_bytes().len() * 8)
            }
            "1.2.840.10045.2.1" => {
                let curve: ObjectIdentifier = ObjectIdentifier::decode(&mut identifier)?;
                let curve = curve.to_string();
                let curve = match curve.as_str() {
                    "1.2.840.10045.3.1.7" => "P-256",
                    "1.3.132.0.34" => "P-384",
                    "1.3.132.0.35" => "P-521",
                    other => other,
                };
                format!("ECDSA {curve}")
            }
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => format!("key of algorithm {other}"),
        })
    }

    /// Whether this certificate carries a name that covers `name`.
    #[must_use]
    pub fn covers(&self, name: &ServerName) -> bool {
        self.names.iter().any(|own| own.covers(name))
    }

    /// Whether `self` was signed by `issuer`, by name and by signature.
    #[must_use]
    pub fn signed_by(&self, issuer: &Self, algorithms: WebPkiSupportedAlgorithms) -> Signature {
        if self.issuer != issuer.subject {
            return Signature::Foreign;
        }
        let Ok((message, algorithm, signature)) = self.signed_parts() else {
            return Signature::Foreign;
        };
        let Ok((key_algorithm, key)) = issuer.key_parts() else {
            return Signature::Foreign;
        };
        let supported: Vec<_> = algorithms
            .all
            .iter()
            .filter(|candidate| {
                candidate.signature_alg_id().as_ref() == algorithm
                    && candidate.public_key_alg_id().as_ref() == key_algorithm
            })
            .collect();
        if supported.is_empty() {
            let ids_fit = match (&self.authority_key_id, &issuer.subject_key_id) {
                (Some(wanted), Some(given)) => wanted == given,
                _ => true,
            };
            return if ids_fit {
                Signature::Unverifiable
            } else {
                Signature::Foreign
            };
        }
        if supported
            .iter()
            .any(|candidate| candidate.verify_signature(key, message, signature).is_ok())
        {
            Signature::Verified
        } else {
            Signature::Foreign
        }
    }

    /// The signed bytes as they stand (re-encoding could differ), the content of the signature
    /// algorithm's identifier, and the signature (RFC 5280 section 4.1.1).
    fn signed_parts(&self) -> x509_cert::der::Result<(&[u8], &[u8], &[u8])> {
        let mut certificate = SliceReader::new(AnyRef::from_der(&self.der)?.value())?;
        let message = certificate.tlv_bytes()?;
        let algorithm = AnyRef::decode(&mut certificate)?.value();
        let signature = BitStringRef::decode(&mut certificate)?.raw_bytes();
        Ok((message, algorithm, signature))
    }

    /// The content of the key algorithm's identifier, and the key (RFC 5280 section 4.1.2.7).
    fn key_parts(&self) -> x509_cert::der::Result<(&[u8], &[u8])> {
        let mut info = SliceReader::new(AnyRef::from_der(&self.public_key)?.value())?;
        let algorithm = AnyRef::decode(&mut info)?.value();
        let key = BitStringRef::decode(&mut info)?.raw_bytes();
        Ok((algorithm, key))
    }
}

/// The extension of type `T`; an unreadable or repeated one makes the certificate unusable.
fn extension<'a, T: Decode<'a> + AssociatedOid>(
    tbs: &'a x509_cert::TbsCertificate,
) -> anyhow::Result<Option<T>> {
    let mut found = tbs
        .extensions()
        .into_iter()
        .flatten()
        .filter(|extension| extension.extn_id == T::OID);
    let Some(extension) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        bail!("extension {} stands twice", T::OID);
    }
    T::from_der(extension.extn_value.as_bytes())
        .map(Some)
        .map_err(|_| anyhow!("extension {} is unreadable", T::OID))
}

fn server_names(names: &[GeneralName]) -> Vec<ServerName> {
    names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(ServerName::Dns(name.as_str().to_ascii_lowercase())),
            GeneralName::IpAddress(octets) => ip_address(octets.as_bytes()).map(ServerName::Ip),
            _ => None,
        })
        .collect()
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn hex(bytes: &[u8], separator: &str) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(separator)
}

/// The SHA-256 digest of a whole chain, DER after DER, lower-case hex.
#[must_use]
pub fn chain_sha256<'a>(chain: impl Iterator<Item = &'a Certificate>) -> String {
    let mut context = digest::Context::new(&SHA256);
    for certificate in chain {
        context.update(&certificate.der);
    }
    hex(context.finish().as_ref(), "")
}

/// Whether two serial numbers in colon-separated hex are the same number: IBM's texts differ in
/// case and in leading zeros.
#[must_use]
pub fn same_serial(a: &str, b: &str) -> bool {
    let digits = |text: &str| {
        text.split(':')
            .map(|byte| format!("{:0>2}", byte.to_ascii_lowercase()))
            .collect::<String>()
            .trim_start_matches('0')
            .to_owned()
    };
    digits(a) == digits(b)
}

/// The time of an RFC 3339 text in UTC, to the second.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    let whole = text.split(['.', 'Z']).next()?;
    let time: DateTime = format!("{whole}Z").parse().ok()?;
    text.ends_with('Z')
        .then(|| UnixTime::since_unix_epoch(time.unix_duration()))
}

/// A point in time as RFC 3339 text in UTC.
#[must_use]
pub fn rfc3339(time: UnixTime) -> String {
    DateTime::from_unix_duration(Duration::from_secs(time.as_secs())).map_or_else(
        |_| format!("second {}", time.as_secs()),
        |time| time.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str) -> ServerName {
        ServerName::Dns(name.to_owned())
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(dns("*.a.example").covers(&dns("b.a.example")));
        assert!(dns("*.a.example").covers(&dns("*.a.example")));
        assert!(!dns("*.a.example").covers(&dns("a.example")));
        assert!(!dns("*.a.example").covers(&dns("c.b.a.example")));
        assert!(!dns("*.example").covers(&dns("*.a.example")));
        assert!(!dns("b.a.example").covers(&dns("*.a.example")));
        assert!(!dns("*.a.example").covers(&ServerName::Ip([127, 0, 0, 1].into())));
    }

    #[test]
    fn every_built_in_root_is_readable_and_signed_by_itself() {
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            let root = Certificate::from_der(der.clone()).unwrap();
            assert!(root.is_ca && root.self_issued(), "{}", root.subject_text);
            assert_ne!(
                root.signed_by(&root, algorithms),
                Signature::Foreign,
                "{}",
                root.subject_text
            );
        }
    }

    #[test]
    fn serial_numbers_are_compared_as_numbers() {
        assert!(same_serial("04:1a:2b", "4:1A:2b"));
        assert!(same_serial("00:04:1a", "04:1a"));
        assert!(!same_serial("04:1a", "41:a0"));
        assert!(!same_serial("41:0a", "04:10:0a"));
    }

    #[test]
    fn a_time_prints_as_rfc_3339() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_785_153_600));
        assert_eq!(rfc3339(time), "2026-07-27T12:00:00Z");
        assert_eq!(parse_rfc3339("2026-07-27T12:00:00Z"), Some(time));
        assert_eq!(parse_rfc3339("2026-07-27T12:00:00.123Z"), Some(time));
        assert_eq!(parse_rfc3339("2026-07-27T12:00:00+02:00"), None);
        assert_eq!(parse_rfc3339("soon"), None);
    }
}
