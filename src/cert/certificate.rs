//! Facts of one X.509 certificate (RFC 5280): names, validity, issuer, serial, digest.
//!
//! Belongs here: what a certificate says. Does not: any opinion on whether that is good enough.
//!
//! Servers read more than the standard allows (a serial number that is too long, a time with an
//! offset). What they serve must be readable here, too: so this is no strict reader, and what a
//! strict one would refuse is told in [`Certificate::oddity`].

use std::time::Duration;

use ::der::DateTime;
use anyhow::{Context, ensure};
use aws_lc_rs::digest::{self, SHA256, digest};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::constraints::{Constraints, general_names};
use super::der::{self, Reader, Value, oid_text, tagged};
use super::distinguished_name::{DistinguishedName, has_empty_common_name, text};
use super::key::{KeyKind, PublicKey};
use super::names::ServerName;
use super::signature::{Signature, Signed, weak_digest};
use crate::text::sanitized;

/// Larger than any that a public CA issues: what is beyond is a mistake, or an attack.
const LARGEST: usize = 64 * 1024;
/// Bytes of a serial number (RFC 5280 section 4.1.2.2).
const LONGEST_SERIAL: usize = 20;

/// `id-kp-serverAuth` (RFC 5280 section 4.2.1.12).
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// The extension of embedded certificate-transparency stamps (RFC 6962 section 3.3).
const STAMPS: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];

/// One certificate: its bytes and what they say.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The whole certificate, DER.
    pub der: CertificateDer<'static>,
    /// The subject.
    pub subject: DistinguishedName,
    /// The issuer.
    pub issuer: DistinguishedName,
    /// The subject as text (RFC 4514), fit for a message; the first name, if it is empty.
    pub subject_text: String,
    /// The issuer as text (RFC 4514), fit for a message.
    pub issuer_text: String,
    /// Whether the subject has a common name without a character, which Envoy refuses.
    pub empty_common_name: bool,
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
    /// How many intermediate certificates may be below it, if it is a CA that says so.
    pub path_len: Option<usize>,
    /// Whether the key usage, if there is one, permits what a TLS server does with its key.
    pub key_serves: bool,
    /// Whether the extended key usage, if there is one, permits TLS servers.
    pub for_servers: bool,
    /// Whether certificate-transparency stamps are embedded (RFC 6962 section 3.3): only publicly
    /// trusted CAs have a reason to.
    pub has_stamps: bool,
    /// The public key.
    pub public_key: PublicKey,
    /// The digest of its signature, if that is one that today's clients and servers refuse.
    pub weak_digest: Option<&'static str>,
    /// What a strict reader would refuse, though servers do not, as the end of a sentence.
    pub oddity: Option<String>,
    /// What it allows below it, if it is a CA that says so.
    pub(super) constraints: Option<Constraints>,
    /// Whether a critical extension is about policies, which the TLS library does not know.
    pub(super) critical_policies: bool,
    key_signs_certificates: bool,
    /// Whether clients do not know a critical extension.
    pub(super) unknown_critical: bool,
    pub(super) subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
}

/// The parts of a certificate as they are in its bytes: encoding them anew could change them.
struct Parts<'a> {
    signed: Signed<'a>,
    /// The algorithm once more, within the signed bytes.
    inner_algorithm: &'a [u8],
    serial: &'a [u8],
    issuer: &'a [u8],
    validity: Reader<'a>,
    subject: &'a [u8],
    /// The content of the key algorithm's identifier, and the key.
    key_algorithm: &'a [u8],
    key: &'a [u8],
    extensions: Reader<'a>,
}

impl<'a> Parts<'a> {
    /// RFC 5280 section 4.1.
    fn of(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Reader(der).sequence()?;
        let message = certificate.optional(der::SEQUENCE)?;
        let algorithm = certificate.expect(der::SEQUENCE)?;
        let signature = certificate.bit_string()?;

        let mut tbs = Reader(message.content);
        tbs.optional(tagged(0));
        let serial = tbs.expect(der::INTEGER)?;
        let inner_algorithm = tbs.expect(der::SEQUENCE)?;
        let issuer = tbs.expect(der::SEQUENCE)?;
        let validity = tbs.sequence()?;
        let subject = tbs.expect(der::SEQUENCE)?;
        let mut public_key = tbs.sequence()?;
        let extensions = tbs
            .find(|part| part.tag == tagged(3))
            .map_or(Some(Reader(&[])), |list| Reader(list.content).sequence())?;
        Some(Self {
            signed: Signed {
                message: message.whole,
                algorithm,
                signature,
            },
            inner_algorithm,
            serial,
            issuer,
            validity,
            subject,
            key_algorithm: public_key.expect(der::SEQUENCE)?,
            key: public_key.bit_string()?,
            extensions,
        })
    }

    /// The serial number as people write it, without the sign of a positive number.
    const fn serial_bytes(&self) -> &'a [u8] {
        match self.serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        }
    }
}

/// The content of the key algorithm's identifier and the key of a certificate, whatever else it holds.
pub(super) fn key_of(der: &[u8]) -> Option<(&[u8], &[u8])> {
    Parts::of(der).map(|parts| (parts.key_algorithm, parts.key))
}

/// The subject of a certificate as it is in its bytes.
pub(super) fn subject_of(der: &[u8]) -> Option<&[u8]> {
    Parts::of(der).map(|parts| parts.subject)
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// If it is not exactly one certificate. The text never holds its bytes.
    pub fn from_der(der: CertificateDer<'static>) -> anyhow::Result<Self> {
        let (certificate, rest) = Self::first_of(&der);
        ensure!(rest.is_empty(), "more follows the certificate");
        certificate
    }

    /// Reads the certificate that these bytes begin with, and what follows it.
    pub(super) fn first_of(der: &[u8]) -> (anyhow::Result<Self>, &[u8]) {
        let mut reader = Reader(der);
        let certificate = match reader.next() {
            Some(value) => Self::read(value.whole),
            None => return (Err(anyhow::anyhow!("not an X.509 certificate")), &[]),
        };
        (certificate, reader.0)
    }

    fn read(der: &[u8]) -> anyhow::Result<Self> {
        ensure!(
            der.len() <= LARGEST,
            "a certificate of {} KiB, expected at most {}",
            der.len() / 1024,
            LARGEST / 1024
        );
        let parts = Parts::of(der).context("not an X.509 certificate")?;
        let subject =
            DistinguishedName::read(parts.subject).context("its subject is unreadable")?;
        let issuer = DistinguishedName::read(parts.issuer).context("its issuer is unreadable")?;
        let public_key = PublicKey::read(parts.key_algorithm, parts.key)
            .context("its public key is unreadable")?;
        let serial = parts.serial_bytes();
        let ((not_before, not_after), strict) =
            validity(parts.validity).context("its validity is unreadable")?;
        let oddity = if serial.len() > LONGEST_SERIAL {
            Some(format!(
                "has a serial number of {} bytes, expected at most {LONGEST_SERIAL}",
                serial.len()
            ))
        } else if parts.signed.algorithm != parts.inner_algorithm {
            Some("names two different signature algorithms".to_owned())
        } else {
            (!strict).then(|| "has a date that is not in the form YYMMDDHHMMSSZ".to_owned())
        };
        let names = |name| text(name).map(|text| sanitized(&text)).unwrap_or_default();
        let mut certificate = Self {
            subject_text: names(parts.subject),
            issuer_text: names(parts.issuer),
            empty_common_name: has_empty_common_name(parts.subject),
            serial: hex(serial, ":"),
            not_before,
            not_after,
            names: Vec::new(),
            is_ca: false,
            path_len: None,
            key_serves: true,
            for_servers: true,
            has_stamps: false,
            public_key,
            weak_digest: weak_digest(parts.signed.algorithm),
            oddity,
            constraints: None,
            critical_policies: false,
            key_signs_certificates: true,
            unknown_critical: false,
            subject_key_id: None,
            authority_key_id: None,
            der: CertificateDer::from(der.to_vec()),
            subject,
            issuer,
        };
        certificate.take_extensions(parts.extensions);
        if let (true, Some(name)) = (certificate.subject.is_empty(), certificate.names.first()) {
            certificate.subject_text = name.to_string();
        }
        Ok(certificate)
    }

    fn take_extensions(&mut self, extensions: Reader<'_>) {
        let mut seen: Vec<&[u8]> = Vec::new();
        for extension in extensions {
            let mut parts = Reader(extension.content);
            let Some(id) = parts.expect(der::OID) else {
                self.oddity = Some("has an unreadable extension".to_owned());
                continue;
            };
            let critical = boolean(&mut parts, &mut self.oddity);
            let read = parts
                .expect(der::OCTET_STRING)
                .and_then(|value| self.take(id, critical, Reader(value)));
            if read.is_none() {
                self.oddity = Some(format!("has an unreadable extension {}", oid_text(id)));
            }
            if seen.contains(&id) {
                self.oddity = Some(format!("has the extension {} twice", oid_text(id)));
            }
            seen.push(id);
        }
    }

    /// Takes over what an extension says; none, if it is unreadable. Those of RFC 5280 section 4.2
    /// are the ones that clients know, so that they may be critical.
    fn take(&mut self, id: &[u8], critical: bool, mut value: Reader<'_>) -> Option<()> {
        // id-ce is 2.5.29
        match id {
            [0x55, 0x1d, 14] => {
                self.subject_key_id = Some(value.expect(der::OCTET_STRING)?.to_vec())
            }
            [0x55, 0x1d, 15] => {
                let bits = value.expect(der::BIT_STRING)?.get(1).copied().unwrap_or(0);
                // digital signature, key encipherment, key agreement
                self.key_serves = bits & (0x80 | 0x20 | 0x08) != 0;
                self.key_signs_certificates = bits & 0x04 != 0;
            }
            [0x55, 0x1d, 17] => self.names = general_names(value.sequence()?).collect(),
            [0x55, 0x1d, 19] => {
                let mut constraints = value.sequence()?;
                self.is_ca = boolean(&mut constraints, &mut self.oddity);
                self.path_len = constraints.unsigned().map(|number| {
                    let number = number.iter().try_fold(0_usize, |sum, byte| {
                        sum.checked_mul(256)?.checked_add(usize::from(*byte))
                    });
                    number.unwrap_or(usize::MAX)
                });
            }
            [0x55, 0x1d, 30] => self.constraints = Some(Constraints::read(value.sequence()?)?),
            // policies, their mappings and constraints, and the inhibition of anyPolicy
            [0x55, 0x1d, 32 | 33 | 36 | 54] => self.critical_policies |= critical,
            [0x55, 0x1d, 35] => {
                let mut parts = value.sequence()?;
                let id = parts.optional(0x80).map(|id| id.content.to_vec());
                self.authority_key_id = id;
            }
            [0x55, 0x1d, 37] => {
                // TLS clients do not take anyExtendedKeyUsage for it
                self.for_servers = value.sequence()?.any(|usage| usage.content == SERVER_AUTH);
            }
            STAMPS => self.has_stamps = true,
            _ => self.unknown_critical |= critical,
        }
        if critical && matches!(id, [0x55, 0x1d, 14 | 35] | STAMPS) {
            self.unknown_critical = true;
        }
        Some(())
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
    pub fn issuer_flaw(&self) -> Option<&str> {
        if !self.is_ca {
            Some("is not a CA")
        } else if !self.key_signs_certificates {
            Some("may not sign certificates (key usage)")
        } else if !self.for_servers {
            Some("is not meant for TLS servers (extended key usage)")
        } else if self.unknown_critical {
            Some("has a critical extension that clients do not know")
        } else {
            self.oddity.as_deref()
        }
    }

    /// The kind of its key.
    #[must_use]
    pub const fn key_kind(&self) -> &KeyKind {
        &self.public_key.kind
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
        let (Some(own), Some((algorithm, key))) = (Parts::of(&self.der), key_of(&issuer.der))
        else {
            return Signature::Foreign;
        };
        let kind = issuer.key_kind();
        match own.signed.by(kind, algorithm, key, algorithms) {
            Signature::Unverifiable if !self.ids_fit(issuer) => Signature::Foreign,
            signature => signature,
        }
    }

    fn ids_fit(&self, issuer: &Self) -> bool {
        match (&self.authority_key_id, &issuer.subject_key_id) {
            (Some(wanted), Some(given)) => wanted == given,
            _ => true,
        }
    }

    /// The issuer as it is in the bytes.
    pub(super) fn issuer_bytes(&self) -> &[u8] {
        Parts::of(&self.der)
            .map(|parts| parts.issuer)
            .unwrap_or_default()
    }
}

/// A boolean that is false if it is left out.
fn boolean(parts: &mut Reader<'_>, oddity: &mut Option<String>) -> bool {
    let Some(content) = parts.expect(der::BOOLEAN) else {
        return false;
    };
    if !matches!(content, [0 | 0xff]) {
        *oddity = Some("has a boolean that is neither 00 nor ff".to_owned());
    }
    content != [0]
}

/// Both ends of a validity, and whether both are written as the standard says.
fn validity(mut ends: Reader<'_>) -> Option<((UnixTime, UnixTime), bool)> {
    let (from, strict_from) = time(ends.next()?)?;
    let (until, strict_until) = time(ends.next()?)?;
    Some(((from, until), strict_from && strict_until))
}

/// A time (RFC 5280 section 4.1.2.5), and whether it is written as the standard says: servers take
/// offsets, and times without seconds. Before 1970 is 1970.
fn time(value: Value<'_>) -> Option<(UnixTime, bool)> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let text = std::str::from_utf8(value.content).ok()?;
    let (year, rest) = match value.tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: u16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, zone) = rest.split_at_checked(digits)?;
    let number = |at: usize| digits.get(at..at + 2)?.parse::<u8>().ok();
    let seconds = number(8).unwrap_or(0);
    let zone = zone.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.split_at_checked(1) {
        None | Some(("Z", "")) => 0,
        Some((sign @ ("+" | "-"), offset)) => {
            let hours: i64 = offset.get(..2)?.parse().ok()?;
            let minutes: i64 = offset.get(2..)?.parse().ok()?;
            (hours * 3600 + minutes * 60) * if sign == "+" { 1 } else { -1 }
        }
        Some(_) => return None,
    };
    let strict = digits.len() == 10 && rest.len() == 11 && rest.ends_with('Z');
    if year < 1970 {
        return Some((UnixTime::since_unix_epoch(Duration::ZERO), strict));
    }
    let time = DateTime::new(
        year,
        number(0)?,
        number(2)?,
        number(4)?,
        number(6)?,
        seconds,
    )
    .ok()?;
    let seconds = time
        .unix_duration()
        .as_secs()
        .saturating_add_signed(-offset);
    Some((
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        strict,
    ))
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
mod tests;
