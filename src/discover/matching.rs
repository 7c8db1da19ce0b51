//! Which certificate belongs to a TLS secret, as far as numbers and names show it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{parse_rfc3339, same_serial};
use crate::cert::names::{NameSet, ServerName, lost};
use crate::cert::pem;
use crate::ibm::code_engine::TlsSecret;
use crate::ibm::secrets_manager::ListedCertificate;
use crate::report::{CertificateRef, Match};
use crate::text::sanitized;

/// Bytes of a serial number that no two issuers choose alike: CAs draw at least 64 random bits
/// (CA/Browser Forum, Baseline Requirements section 7.1).
const UNIQUE_SERIAL: usize = 8;

/// A certificate in Secrets Manager.
pub(super) struct Known {
    pub(super) listed: ListedCertificate,
    pub(super) names: Vec<ServerName>,
    pub(super) not_after: Option<UnixTime>,
}

impl From<ListedCertificate> for Known {
    fn from(listed: ListedCertificate) -> Self {
        let name = |text: &String| {
            text.parse()
                .map_or_else(|_| ServerName::dns(text), ServerName::Ip)
        };
        Self {
            names: listed
                .common_name
                .iter()
                .chain(&listed.alt_names)
                .map(name)
                .collect(),
            not_after: listed.expiration_date.as_deref().and_then(parse_rfc3339),
            listed,
        }
    }
}

impl Known {
    pub(super) fn active(&self) -> bool {
        matches!(self.listed.state, None | Some(1))
    }

    pub(super) fn reference(&self) -> CertificateRef {
        CertificateRef {
            secret_id: sanitized(&self.listed.id),
            secret_name: Some(&self.listed.name)
                .filter(|name| !name.is_empty())
                .map(|name| sanitized(name)),
            secret_type: sanitized(&self.listed.secret_type),
            not_after: self.not_after,
        }
    }
}

/// What is compared of the certificate that a TLS secret holds.
pub(super) struct Held {
    serial: String,
    /// As text.
    issuer: String,
    pub(super) names: Vec<ServerName>,
    pub(super) not_after: UnixTime,
}

impl Held {
    /// What servers send first.
    pub(super) fn of(secret: &TlsSecret) -> Option<Self> {
        let leaf = pem::certificates(&secret.certificate)
            .into_iter()
            .next()?
            .ok()?;
        Some(Self {
            serial: leaf.serial,
            issuer: leaf.issuer,
            names: leaf.names,
            not_after: leaf.not_after,
        })
    }
}

/// The certificates that match, by the first rule that any of them meets. Of two that are certain
/// by themselves, neither is.
pub(super) fn matching<'a>(
    held: &Held,
    certificates: &'a [Known],
    previous: &BTreeMap<String, String>,
    now: UnixTime,
) -> (Match, Vec<&'a Known>) {
    let renewed = |known: &Known| {
        let serial = previous.get(&known.listed.id);
        shares_a_name(held, known) && serial.is_some_and(|serial| same_serial(serial, &held.serial))
    };
    let by = |kind, rule: &dyn Fn(&Known) -> bool| {
        let found: Vec<&Known> = certificates.iter().filter(|known| rule(known)).collect();
        (kind, found)
    };
    [
        by(Match::Same, &|known| is_same(held, known)),
        by(Match::Renewed, &renewed),
        by(Match::Covers, &|known| covers(held, known, now)),
    ]
    .into_iter()
    .find(|(_, found)| !found.is_empty())
    .unwrap_or((Match::None, Vec::new()))
}

/// Whether the current version is what the TLS secret holds: an issuer uses a serial number once.
pub(super) fn is_same(held: &Held, known: &Known) -> bool {
    let serial = known.listed.serial_number.as_deref();
    serial.is_some_and(|serial| same_serial(serial, &held.serial))
        && is_issuer(known.listed.issuer.as_deref(), held)
}

/// Whether Secrets Manager's text names the issuer. Its form is not documented: the attributes may be
/// in any order, and of a private certificate it may be Secrets Manager's own name for the CA. That
/// one cannot be compared; then the serial number has to be unique by itself.
fn is_issuer(text: Option<&str>, held: &Held) -> bool {
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    match text {
        Some(name) if name.contains('=') => {
            let values = name
                .split([',', '+'])
                .map(|part| part.split_once('=').map_or(part, |(_, value)| value));
            values
                .flat_map(words)
                .collect::<BTreeSet<_>>()
                .is_subset(&words(&held.issuer))
        }
        _ => held.serial.split(':').count() >= UNIQUE_SERIAL,
    }
}

/// Whether the TLS secret may hold the previous version: only then that is worth a request.
pub(super) fn may_be_renewed(held: &Held, known: &Known) -> bool {
    shares_a_name(held, known) && !is_same(held, known)
}

fn shares_a_name(held: &Held, known: &Known) -> bool {
    let names: NameSet<'_> = known.names.iter().collect();
    held.names.iter().any(|name| names.covers(name))
}

/// Whether the certificate could replace what the TLS secret holds.
fn covers(held: &Held, known: &Known, now: UnixTime) -> bool {
    known.active()
        && known.not_after.is_none_or(|until| now <= until)
        && held.names.iter().any(ServerName::can_be_asked_for)
        && lost(&held.names, &known.names).is_empty()
}

#[cfg(test)]
mod tests;
