//! Which certificate belongs to a TLS secret, as far as numbers and names show it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::UnixTime;

use crate::cert::certificate::{parse_rfc3339, same_serial};
use crate::cert::certificates;
use crate::cert::names::{NameSet, ServerName, lost};
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
        let leaf = certificates::from_pem(&secret.certificate)
            .into_iter()
            .next()?
            .ok()?;
        Some(Self {
            serial: leaf.serial,
            issuer: leaf.issuer_text,
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
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_000_000));
    const SERIAL: &str = "04:1a:2b:3c:4d:5e:6f:70";
    const ISSUER: &str = "CN=R11,O=Let's Encrypt,C=US";

    fn held(serial: &str, names: &[&str]) -> Held {
        Held {
            serial: serial.to_owned(),
            issuer: ISSUER.to_owned(),
            names: names.iter().map(|name| ServerName::dns(name)).collect(),
            not_after: NOW,
        }
    }

    fn known(id: &str, serial: Option<&str>, names: &[&str]) -> Known {
        let mut names = names.iter().map(ToString::to_string);
        Known::from(ListedCertificate {
            id: id.to_owned(),
            name: String::new(),
            secret_type: "public_cert".to_owned(),
            secret_group_id: None,
            common_name: names.next(),
            alt_names: names.collect(),
            serial_number: serial.map(str::to_owned),
            issuer: Some(ISSUER.to_owned()),
            expiration_date: Some("2027-12-31T00:00:00Z".to_owned()),
            state: Some(1),
        })
    }

    #[test]
    fn serial_number_and_issuer_together_make_the_same_certificate() {
        let short = "01";
        for (held_serial, serial, issuer, same) in [
            (SERIAL, Some(SERIAL), Some(ISSUER), true),
            // another form of the same number and of the same name
            (
                SERIAL,
                Some("4:1A:2B:3C:4D:5E:6F:70"),
                Some("C=US, O=Let\\'s Encrypt, CN=r11"),
                true,
            ),
            (
                SERIAL,
                Some(SERIAL),
                Some("/C=US/O=Let's Encrypt/CN=R11"),
                true,
            ),
            (
                SERIAL,
                Some(SERIAL),
                Some("CN=R10,O=Let's Encrypt,C=US"),
                false,
            ),
            (SERIAL, Some("04:1a:2b:3c:4d:5e:6f:71"), Some(ISSUER), false),
            (SERIAL, None, Some(ISSUER), false),
            (short, Some(short), Some(ISSUER), true),
            // nothing to compare, or Secrets Manager's own name for a private CA
            (SERIAL, Some(SERIAL), None, true),
            (SERIAL, Some(SERIAL), Some("my-intermediate-ca"), true),
            (short, Some(short), None, false),
            (short, Some(short), Some("my-intermediate-ca"), false),
        ] {
            let mut known = known("a", serial, &["shop.example"]);
            known.listed.issuer = issuer.map(str::to_owned);
            let held = held(held_serial, &["shop.example"]);
            assert_eq!(
                is_same(&held, &known),
                same,
                "{held_serial} {serial:?} {issuer:?}"
            );
        }
    }

    #[test]
    fn the_most_certain_rule_decides() {
        let old = "0a:0b:0c:0d:0e:0f:10:11";
        let list = [
            known("shop", Some(SERIAL), &["shop.example", "www.shop.example"]),
            known("wildcard", Some("07:07"), &["*.shop.example"]),
            known("blog", Some("08:08"), &["blog.example"]),
            known("pending", None, &["pending.example"]),
            known("twin-1", Some("99:99:99:99:99:99:99:99"), &["twin.example"]),
            known("twin-2", Some("99:99:99:99:99:99:99:99"), &["twin.example"]),
        ];
        let previous = BTreeMap::from([("blog".to_owned(), old.to_owned())]);
        for (serial, names, kind, found) in [
            (SERIAL, vec!["shop.example"], Match::Same, vec!["shop"]),
            // the names do not matter, if the number is the same
            (SERIAL, vec!["other.example"], Match::Same, vec!["shop"]),
            (
                "99:99:99:99:99:99:99:99",
                vec!["twin.example"],
                Match::Same,
                vec!["twin-1", "twin-2"],
            ),
            (old, vec!["blog.example"], Match::Renewed, vec!["blog"]),
            // a name was dropped at the renewal
            (
                old,
                vec!["blog.example", "old.example"],
                Match::Renewed,
                vec!["blog"],
            ),
            (old, vec!["old.example"], Match::None, vec![]),
            ("05", vec!["blog.example"], Match::Covers, vec!["blog"]),
            (
                "05",
                vec!["www.shop.example"],
                Match::Covers,
                vec!["shop", "wildcard"],
            ),
            (
                "05",
                vec!["shop.example", "blog.example"],
                Match::None,
                vec![],
            ),
            ("05", vec!["stranger.example"], Match::None, vec![]),
            ("05", vec![], Match::None, vec![]),
            ("05", vec!["https://blog.example"], Match::None, vec![]),
        ] {
            let (matches, known) = matching(&held(serial, &names), &list, &previous, NOW);
            let ids: Vec<&str> = known.iter().map(|known| known.listed.id.as_str()).collect();
            assert_eq!((matches, ids), (kind, found), "{serial} {names:?}");
        }
    }

    #[test]
    fn only_what_can_be_served_covers() {
        for (state, until, covers) in [
            (Some(1), Some("2027-12-31T00:00:00Z"), Match::Covers),
            (None, None, Match::Covers),
            (Some(1), Some("2020-12-31T00:00:00Z"), Match::None),
            (Some(0), None, Match::None),
            (Some(5), Some("2027-12-31T00:00:00Z"), Match::None),
        ] {
            let mut known = known("a", Some("07"), &["shop.example"]);
            known.listed.state = state;
            known.listed.expiration_date = until.map(str::to_owned);
            let list = [Known::from(known.listed)];
            let (matches, _) =
                matching(&held("05", &["shop.example"]), &list, &BTreeMap::new(), NOW);
            assert_eq!(matches, covers, "{state:?} {until:?}");
        }
    }

    #[test]
    fn versions_are_read_only_where_names_match_and_the_serial_differs() {
        let shop = known("shop", Some(SERIAL), &["shop.example", "*.shop.example"]);
        for (serial, name, read) in [
            ("05", "shop.example", true),
            ("05", "www.shop.example", true),
            ("05", "blog.example", false),
            (SERIAL, "shop.example", false),
        ] {
            let held = held(serial, &[name]);
            assert_eq!(may_be_renewed(&held, &shop), read, "{serial} {name}");
        }
    }
}
