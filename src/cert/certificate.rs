//! Facts of one X.509 certificate (RFC 5280), as servers read it: what a strict reader would refuse,
//! though servers do not, is told in [`Certificate::oddity`].

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use x509_parser::asn1_rs::{Any, FromDer, GeneralizedTime, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension, X509Extension};
use x509_parser::objects::oid2abbrev;
use x509_parser::oid_registry::OidRegistry;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::time::ASN1Time;
use x509_parser::utils::format_serial;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use super::constraints::Constraints;
use super::key::{KeyKind, PublicKey, content, values};
use super::names::{DistinguishedName, ServerName, covered, distinguished_name, ip_address};
use super::pem;
use crate::text::sanitized;

/// Larger than any that a public CA issues: what is beyond is a mistake, or an attack.
const LARGEST: usize = 64 * 1024;
/// Bytes of a serial number (RFC 5280 section 4.1.2.2).
const LONGEST_SERIAL: usize = 20;
/// RSA keys outside of these sizes are not verified here (in bits); smaller ones are weak.
const VERIFIED_RSA: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The extension of embedded certificate-transparency stamps (RFC 6962 section 3.3).
const STAMPS: &str = "1.3.6.1.4.1.11129.2.4.2";
/// TLS features (RFC 7633), and `status_request` among them.
const TLS_FEATURES: &str = "1.3.6.1.5.5.7.1.24";
const STATUS_REQUEST: &[u8] = &[5];
/// A signature algorithm that names its digest in its parameters; without a name it is SHA-1 (RFC 4055).
const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
/// ML-DSA and its kin (2.16.840.1.101.3.4.3): our library verifies them, today's servers do not.
const ML_DSA: &[u8] = &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3];

const NOT_X509: &str = "not an X.509 certificate";

/// One certificate: its bytes and what they say.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The whole certificate, DER.
    pub der: CertificateDer<'static>,
    /// The subject (RFC 4514), fit for a message; the first name, if it is empty.
    pub subject: String,
    /// The issuer (RFC 4514), fit for a message.
    pub issuer: String,
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
    /// Whether certificate-transparency stamps are embedded (RFC 6962 section 3.3): only publicly
    /// trusted CAs have a reason to.
    pub has_stamps: bool,
    /// The public key.
    pub public_key: PublicKey,
    /// The digest of its signature, if that is one that today's clients and servers refuse.
    pub weak_digest: Option<&'static str>,
    /// What a strict reader would refuse, though servers do not, as the end of a sentence.
    pub oddity: Option<String>,
    /// What its other extensions say.
    pub(super) said: Said,
    pub(super) subject_name: DistinguishedName,
    issuer_name: DistinguishedName,
    empty_common_name: bool,
    /// The contents of the identifiers of algorithms, as the TLS library compares them.
    signature_algorithm: Vec<u8>,
    key_algorithm: Vec<u8>,
    key: Vec<u8>,
}

/// What extensions say.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// How many intermediate certificates may be below it, if it is a CA that says so.
    pub(super) path_len: Option<u32>,
    /// What it allows below it, if it is a CA.
    pub(super) constraints: Constraints,
    /// Whether a critical extension is about policies, which the TLS library does not know.
    pub(super) critical_policies: bool,
    unknown_critical: bool,
    not_for_servers: bool,
    must_staple: bool,
    key_usage: Option<KeyUsage>,
    subject_key_id: Option<Vec<u8>>,
    /// Which certificate of its issuer it names (RFC 5280 section 4.2.1.1): the id of its key; its
    /// issuer and its serial number.
    authority_key_id: Option<Vec<u8>>,
    authority: Option<(DistinguishedName, String)>,
}

/// One of those that the TLS library verifies.
type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// Whether one certificate signed another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signature {
    /// The signature was verified.
    Verified,
    /// The names fit, and no more is known: the algorithm is not supported here.
    Unverifiable,
    /// It did not.
    Foreign,
}

/// What keeps Envoy or strict clients from using a certificate that OpenSSL reads: the end of a sentence
/// about the leaf.
pub type Fault = &'static str;

const MUST_STAPLE: Fault = "is must-staple (OCSP), so that Envoy does not load it";
const EMPTY_COMMON_NAME: Fault = "has an empty common name, so that Envoy does not load it";
/// Of EC and Ed25519.
const NO_SIGNATURE: Fault = "lacks digitalSignature in its key usage: Envoy refuses it";
const SMALL_KEY: Fault = "has an RSA key below 2048 bits, which Envoy refuses";
/// The same of a CA that would be sent.
const SMALL_CA_KEY: Fault = "has a CA with an RSA key below 2048 bits, which clients refuse";

impl fmt::Display for Certificate {
    /// What tells it apart for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (serial {})", self.subject, self.serial)
    }
}

pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    default_provider().signature_verification_algorithms
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// If it is not exactly one certificate. The text never holds its bytes.
    pub fn from_der(der: &[u8]) -> anyhow::Result<Self> {
        let (certificate, rest) = Self::read(der)?;
        ensure!(rest.is_empty(), "more follows the certificate");
        Ok(certificate)
    }

    /// The certificates of a text in their order; for what may be one and cannot be read, why not. Keys,
    /// parameters and requests are left out.
    pub fn all_in(text: &str) -> Vec<Result<Self, String>> {
        let mut certificates = Vec::new();
        for (position, block) in pem::blocks(text).into_iter().enumerate() {
            // not its label: a body may have been pasted into it
            let name = format!("PEM block {}", position + 1);
            match block.content {
                Err(why) => certificates.push(Err(format!("{name} {why}"))),
                Ok(_) if pem::is_other(block.label) => {}
                Ok(der) => match Self::read(&der) {
                    Err(why) => certificates.push(Err(format!("{name}: {why:#}"))),
                    Ok((certificate, rest)) => {
                        certificates.push(Ok(certificate));
                        // trust settings follow the certificate in OpenSSL's own form
                        if !rest.is_empty() && block.label != "TRUSTED CERTIFICATE" {
                            certificates.push(Err(format!("{name} holds more than a certificate")));
                        }
                    }
                },
            }
        }
        certificates
    }

    /// Reads the certificate that these bytes begin with, and what follows it.
    fn read(bytes: &[u8]) -> anyhow::Result<(Self, &[u8])> {
        // the library's errors may quote the certificate
        let (rest, _) = Any::from_der(bytes).ok().context(NOT_X509)?;
        let (der, _) = bytes.split_at(bytes.len() - rest.len());
        let (fits, size) = (der.len() <= LARGEST, der.len() / 1024);
        ensure!(fits, "it has {size} KiB, expected at most 64");
        let (_, x509) = X509Certificate::from_der(der).ok().context(NOT_X509)?;
        let tbs = &x509.tbs_certificate;
        let serial = match tbs.raw_serial() {
            // what OpenSSL refuses to read, too
            [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => bail!("its serial is damaged"),
            serial => serial_text(serial),
        };
        let key = &tbs.subject_pki;
        let inner = values(tbs.as_ref());
        // the version may be missing
        let version = usize::from(inner.first().is_some_and(|value| value.tag() == Tag(0)));
        let data = |of: &[Any<'_>], at: usize| of.get(at).map_or(&[][..], |v| v.data).to_vec();
        let signature_algorithm = data(&values(der), 1);
        let validity = data(&inner, version + 3);
        let oddity = if serial.len() > 3 * LONGEST_SERIAL {
            Some("has a serial number of more than 20 bytes")
        } else if signature_algorithm != data(&inner, version + 1) {
            Some("names two different signature algorithms")
        } else if !content(&validity).iter().all(is_strict_time) {
            Some("has a date that is not in the form YYMMDDHHMMSSZ")
        } else {
            None
        };
        let mut common_names = tbs.subject.iter_common_name();
        let mut certificate = Self {
            subject: text(&tbs.subject),
            issuer: text(&tbs.issuer),
            serial,
            not_before: time(tbs.validity.not_before),
            not_after: time(tbs.validity.not_after),
            names: Vec::new(),
            is_ca: false,
            has_stamps: false,
            public_key: PublicKey::of(key),
            weak_digest: weak_digest(&x509.signature_algorithm),
            oddity: oddity.map(str::to_owned),
            said: Said::default(),
            subject_name: distinguished_name(&tbs.subject),
            issuer_name: distinguished_name(&tbs.issuer),
            empty_common_name: common_names.any(|name| name.as_slice().is_empty()),
            signature_algorithm,
            key_algorithm: data(&values(key.raw), 0),
            key: key.subject_public_key.data.to_vec(),
            der: CertificateDer::from(der.to_vec()),
        };
        for extension in tbs.extensions() {
            certificate.take(extension)?;
        }
        if let ([], Some(name)) = (&*certificate.subject_name, certificate.names.first()) {
            certificate.subject = name.to_string();
        }
        Ok((certificate, rest))
    }

    /// Takes over what an extension says.
    ///
    /// # Errors
    /// If servers refuse to read it.
    fn take(&mut self, extension: &X509Extension<'_>) -> anyhow::Result<()> {
        let (oid, value) = (extension.oid.to_id_string(), extension.value);
        let said = &mut self.said;
        // whether clients know it, so that it may be critical
        let mut known = true;
        match (oid.as_str(), extension.parsed_extension()) {
            (STAMPS, _) => (self.has_stamps, known) = (true, false),
            (TLS_FEATURES, _) => {
                said.must_staple = values(value).iter().any(|v| v.data == STATUS_REQUEST);
                known = false;
            }
            // the library does not look at the tag
            (_, ParsedExtension::SubjectKeyIdentifier(id)) if value.starts_with(&[4]) => {
                (said.subject_key_id, known) = (Some(id.0.to_vec()), false);
            }
            (_, ParsedExtension::AuthorityKeyIdentifier(id)) => {
                said.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                let issuer = id.authority_cert_issuer.iter().flatten().next();
                let serial = id.authority_cert_serial.map(serial_text);
                if let (Some(GeneralName::DirectoryName(issuer)), Some(serial)) = (issuer, serial) {
                    said.authority = Some((distinguished_name(issuer), serial));
                }
                known = false;
            }
            ("2.5.29.14" | "2.5.29.35", _) => bail!("its key identifier is unreadable"),
            // policies, their mappings and constraints, and the inhibition of any
            ("2.5.29.32" | "2.5.29.33" | "2.5.29.36" | "2.5.29.54", _) => {
                said.critical_policies |= extension.critical;
            }
            (_, ParsedExtension::KeyUsage(usage)) => said.key_usage = Some(*usage),
            (_, ParsedExtension::ExtendedKeyUsage(usage)) => {
                // TLS clients do not take anyExtendedKeyUsage for it
                said.not_for_servers = !usage.server_auth;
            }
            (_, ParsedExtension::SubjectAlternativeName(names)) => {
                self.names = names.general_names.iter().filter_map(server_name).collect();
            }
            (_, ParsedExtension::BasicConstraints(constraints)) => {
                (self.is_ca, said.path_len) = (constraints.ca, constraints.path_len_constraint);
            }
            (_, ParsedExtension::NameConstraints(constraints)) => {
                said.constraints = Constraints::of(constraints);
            }
            (_, ParsedExtension::ParseError { .. }) => {
                self.oddity = Some(format!("has an unreadable extension {oid}"));
            }
            _ => known = false,
        }
        said.unknown_critical |= extension.critical && !known;
        Ok(())
    }

    /// The SHA-256 digest of the DER, lower-case hex: what people call the fingerprint.
    pub fn sha256(&self) -> String {
        chain_sha256(std::iter::once(self))
    }

    /// Whether `now` lies within the validity, both ends included (RFC 5280 section 4.1.2.5).
    pub fn valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether this certificate carries a name that covers `name`.
    pub fn covers(&self, name: &ServerName) -> bool {
        covered(&self.names.iter().collect(), name)
    }

    /// Why no chain may go through this certificate, whatever the time.
    pub fn issuer_flaw(&self) -> Option<&str> {
        if !self.is_ca {
            Some("is not a CA")
        } else if !self.permits(KeyUsage::key_cert_sign) {
            Some("may not sign certificates (key usage)")
        } else {
            self.flaw()
        }
    }

    /// Why no client takes it for that of a server, whatever the time.
    pub fn leaf_flaw(&self) -> Option<&str> {
        if self.is_ca {
            Some("is a CA certificate")
        } else if self.names.is_empty() {
            Some("has no DNS name or IP address in subjectAltName")
        } else if self.only_deciphers() && !self.permits(KeyUsage::key_encipherment) {
            Some("has a key that may not serve (key usage)")
        } else {
            self.flaw()
        }
    }

    fn flaw(&self) -> Option<&str> {
        if self.said.not_for_servers {
            Some("is not meant for TLS servers (extended key usage)")
        } else if self.said.unknown_critical {
            Some("has a critical extension that clients do not know")
        } else {
            self.oddity.as_deref()
        }
    }

    /// What keeps Envoy or strict clients from using it, though OpenSSL reads it.
    pub fn faults(&self) -> Vec<Fault> {
        let is_small = (1..*VERIFIED_RSA.start()).contains(&self.rsa_bits());
        if self.is_ca {
            return is_small.then_some(SMALL_CA_KEY).into_iter().collect();
        }
        let no_signature = self.rsa_bits() == 0 && !self.permits(KeyUsage::digital_signature);
        let mut faults = Vec::new();
        faults.extend(self.said.must_staple.then_some(MUST_STAPLE));
        faults.extend(self.empty_common_name.then_some(EMPTY_COMMON_NAME));
        faults.extend(no_signature.then_some(NO_SIGNATURE));
        faults.extend(is_small.then_some(SMALL_KEY));
        faults
    }

    /// Whether it has RSA and a key usage without digitalSignature: TLS 1.2 can do without that.
    pub(crate) fn only_deciphers(&self) -> bool {
        self.rsa_bits() > 0 && !self.permits(KeyUsage::digital_signature)
    }

    /// Whether the key usage, if there is one, permits this.
    fn permits(&self, usage: fn(&KeyUsage) -> bool) -> bool {
        self.said.key_usage.as_ref().is_none_or(usage)
    }

    /// The size of an RSA key, else 0.
    const fn rsa_bits(&self) -> usize {
        match self.public_key.kind {
            KeyKind::Rsa(bits) => bits,
            _ => 0,
        }
    }

    /// Whether its own key signed it; with equal names and a signature that cannot be verified here
    /// it counts as self-signed.
    pub fn self_signed(&self) -> bool {
        self.signed_by(self) != Signature::Foreign
    }

    /// Whether the name of its issuer is that of `issuer`.
    pub(super) fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.issuer_name == issuer.subject_name
    }

    /// Whether `self` was signed by `issuer`, by name and by signature.
    pub fn signed_by(&self, issuer: &Self) -> Signature {
        let parsed = X509Certificate::from_der(&self.der);
        let (true, Ok((_, x509))) = (self.names_as_issuer(issuer), parsed) else {
            return Signature::Foreign;
        };
        let (message, signature) = (x509.tbs_certificate.as_ref(), &x509.signature_value.data);
        match issuer.verifies(&self.known_algorithms(), message, signature) {
            Some(true) => Signature::Verified,
            // the identifier is all that is known
            None if self.fits_issuer(issuer) => Signature::Unverifiable,
            _ => Signature::Foreign,
        }
    }

    /// Those that its signature may be of; none, if it is not supported here, or hardly anywhere.
    pub(super) fn known_algorithms(&self) -> Vec<Algorithm> {
        let own = &self.signature_algorithm;
        let mut known = algorithms().all.to_vec();
        known.retain(|known| known.signature_alg_id().as_ref() == own && !own.starts_with(ML_DSA));
        known
    }

    /// Whether its key made this signature of this scheme of TLS, if that can be told.
    pub(crate) fn proves(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> bool {
        let mut schemes = algorithms().mapping.iter();
        schemes.any(|(known, candidates)| {
            *known == scheme && self.verifies(candidates, message, signature) == Some(true)
        })
    }

    /// Whether its key made this signature by one of these algorithms; none, if that cannot be told.
    fn verifies(&self, by: &[Algorithm], message: &[u8], signature: &[u8]) -> Option<bool> {
        let mut known = by.to_vec();
        known.retain(|known| known.public_key_alg_id().as_ref() == self.key_algorithm);
        let is_odd = self.rsa_bits() > 0 && !VERIFIED_RSA.contains(&self.rsa_bits());
        let verify = |by: &Algorithm| by.verify_signature(&self.key, message, signature).is_ok();
        (!known.is_empty() && !is_odd).then(|| known.iter().any(verify))
    }

    /// Whether `issuer` is the certificate that the authority key identifier names: OpenSSL takes no
    /// other, whatever the signature.
    pub(crate) fn fits_issuer(&self, issuer: &Self) -> bool {
        let key_id = self.said.authority_key_id.as_ref();
        let mut key_ids = key_id.zip(issuer.said.subject_key_id.as_ref()).into_iter();
        let mut named = self.said.authority.iter();
        key_ids.all(|(wanted, given)| wanted == given)
            && named.all(|(name, serial)| (name, serial) == (&issuer.issuer_name, &issuer.serial))
    }
}

fn server_name(name: &GeneralName<'_>) -> Option<ServerName> {
    match name {
        GeneralName::DNSName(name) => Some(ServerName::dns(name)),
        GeneralName::IPAddress(octets) => ip_address(octets).map(ServerName::Ip),
        _ => None,
    }
}

/// A name as people read it (RFC 4514), fit for a message.
fn text(name: &X509Name<'_>) -> String {
    static SHORT: LazyLock<OidRegistry<'_>> = LazyLock::new(|| OidRegistry::default().with_x509());
    let mut attributes = Vec::new();
    for attribute in name.iter_attributes() {
        let kind = oid2abbrev(attribute.attr_type(), &SHORT).unwrap_or("?");
        attributes.push(format!("{kind}={}", attribute.as_str().unwrap_or("?")));
    }
    attributes.reverse();
    sanitized(&attributes.join(","))
}

/// MD2, MD4 and MD5: each alone, with RSA, and with RSA as OIW names it.
const MD5: &str = "1.2.840.113549.2.2 1.2.840.113549.2.4 1.2.840.113549.2.5 1.2.840.113549.1.1.2 \
     1.2.840.113549.1.1.3 1.2.840.113549.1.1.4 1.3.14.3.2.2 1.3.14.3.2.3 1.3.14.3.2.4";
/// Alone, with RSA, ECDSA and DSA, and as OIW names these.
const SHA_1: &str = "1.3.14.3.2.26 1.2.840.113549.1.1.5 1.2.840.10045.4.1 1.2.840.10040.4.3 \
     1.3.14.3.2.13 1.3.14.3.2.27 1.3.14.3.2.29";

/// The digest of this signature algorithm, if it is one that today's clients and servers refuse.
fn weak_digest(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static str> {
    let mut oid = algorithm.algorithm.to_id_string();
    if let (RSASSA_PSS, Some(parameters)) = (oid.as_str(), &algorithm.parameters) {
        let parameters = RsaSsaPssParams::try_from(parameters).ok()?;
        oid = parameters.hash_algorithm_oid().to_id_string();
    }
    let is_one_of = |oids: &str| oids.split(' ').any(|weak| weak == oid);
    if is_one_of(MD5) {
        return Some("MD5");
    }
    (oid == RSASSA_PSS || is_one_of(SHA_1)).then_some("SHA-1")
}

/// Servers take offsets and times without seconds, the standard does not (section 4.1.2.5).
fn is_strict_time(time: &Any<'_>) -> bool {
    let length = if time.tag() == Tag::UtcTime { 13 } else { 15 };
    time.data.len() == length && time.data.ends_with(b"Z")
}

/// Before 1970 is 1970.
fn time(time: ASN1Time) -> UnixTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A serial number as people write it, without the sign of a positive number.
fn serial_text(serial: &[u8]) -> String {
    match serial {
        [0, number @ ..] if !number.is_empty() => format_serial(number),
        number => format_serial(number),
    }
}

/// The SHA-256 digest of a whole chain, DER after DER, lower-case hex.
pub fn chain_sha256<'a>(chain: impl Iterator<Item = &'a Certificate>) -> String {
    let mut digest = Digest::new(&SHA256);
    chain.for_each(|certificate| digest.update(&certificate.der));
    format_serial(digest.finish().as_ref()).replace(':', "")
}

/// Whether two serial numbers in colon-separated hex are the same number: IBM's texts differ in
/// case and in leading zeros.
pub fn same_serial(a: &str, b: &str) -> bool {
    let digits = |text: &str| {
        let text = text.to_ascii_lowercase();
        let bytes = text.split(':').map(|byte| format!("{byte:0>2}"));
        bytes.collect::<String>().trim_start_matches('0').to_owned()
    };
    digits(a) == digits(b)
}

/// The time of an RFC 3339 text in UTC, to the second.
pub fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    let whole = text.strip_suffix('Z')?.split('.').next()?;
    let digits: String = whole.split(['-', ':', 'T']).collect();
    let parsed = GeneralizedTime::from_bytes(format!("{digits}Z").as_bytes()).ok()?;
    Some(time(ASN1Time::new(parsed.utc_datetime().ok()?)))
}

/// A point in time as RFC 3339 text in UTC.
pub fn rfc3339(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let Ok(time) = ASN1Time::from_timestamp(seconds) else {
        return format!("second {seconds}");
    };
    let time = time.to_datetime();
    let ((year, month, day), (h, m, s)) = (time.to_calendar_date(), time.to_hms());
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

#[cfg(test)]
pub(super) mod tests;
