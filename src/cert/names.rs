//! The names that TLS clients ask for (RFC 9525): which covers which, and which nobody can ask for.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use x509_parser::oid_registry::OidRegistry;
use x509_parser::x509::{RelativeDistinguishedName, X509Name};

use crate::text::sanitized;

/// Characters of a DNS name, and of one of its labels (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A name that a TLS client compares with the one it asked for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ServerName {
    /// A DNS name in lower case, without the dot of the root; the first label may be `*`.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl ServerName {
    /// A DNS name as somebody wrote it: with or without the dot of the root.
    pub fn dns(name: &str) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name);
        Self::Dns(name.to_ascii_lowercase())
    }

    /// The wildcard that covers a DNS name: of a wildcard this is the wildcard itself.
    fn wildcard(&self) -> Option<Self> {
        let Self::Dns(name) = self else { return None };
        let (_, parent) = name.split_once('.')?;
        Some(Self::Dns(format!("*.{parent}")))
    }

    /// Whether any TLS client can ask for it. URLs, ports, addresses of mail, IP addresses as DNS
    /// names and stars elsewhere than as the whole first label occur in certificates, and no client
    /// ever finds them there.
    pub fn can_be_asked_for(&self) -> bool {
        let Self::Dns(name) = self else { return true };
        let host = name.strip_prefix("*.").unwrap_or(name);
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        let is_label =
            |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(plain);
        name.len() <= LONGEST_NAME
            && host.split('.').all(is_label)
            && host.parse::<IpAddr>().is_err()
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

/// The address of an `iPAddress` (RFC 5280 section 4.2.1.6): four or sixteen octets.
pub(super) fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6).ok()
}

/// A name to compare, level by level from the top: the type of a string, letter case and the number
/// of spaces make no difference (RFC 5280 section 7.1).
pub(super) type DistinguishedName = Vec<String>;

/// A name to compare; what is unreadable, byte by byte.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> DistinguishedName {
    let level = |level: &RelativeDistinguishedName<'_>| {
        let alone = X509Name::new(vec![level.clone()], &[]);
        match alone.to_string_with_registry(&OidRegistry::default()) {
            Ok(text) => {
                let text = text.to_lowercase().replace('=', "= ");
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            }
            Err(_) => format!("{:?}", name.as_raw()),
        }
    };
    name.iter_rdn().map(level).collect()
}

/// Names to be searched: thousands on both sides cost no more than reading them.
pub(crate) type NameSet<'a> = HashSet<&'a ServerName>;

/// Whether a certificate that carries these names is accepted for this one. A wildcard covers exactly
/// one label (RFC 9525 section 6.3), and itself.
pub(crate) fn covered(names: &NameSet<'_>, name: &ServerName) -> bool {
    let is_in = |wildcard| names.contains(&wildcard);
    names.contains(name) || name.wildcard().is_some_and(is_in)
}

/// The names of `old` that `new` does not cover. What no client can ask for is never lost.
pub(crate) fn lost<'a>(old: &'a [ServerName], new: &[ServerName]) -> Vec<&'a ServerName> {
    let new: NameSet<'_> = new.iter().collect();
    let lost = |name: &&ServerName| !covered(&new, name) && name.can_be_asked_for();
    old.iter().filter(lost).collect()
}

/// The names that `domains`, which are served with the certificate, need and lose: a lost name covered
/// them and no new one does. A wildcard needs every name below it: its clients may ask for any.
pub(crate) fn needed<'a>(
    domains: &'a [ServerName],
    lost: &[&'a ServerName],
    new: &[ServerName],
) -> Vec<&'a ServerName> {
    let served: NameSet<'_> = domains.iter().collect();
    let is_served = |wildcard| served.contains(&wildcard);
    let is_below = |name: &&ServerName| name.wildcard().is_some_and(is_served);
    let below = lost.iter().copied().filter(is_below);
    let (lost, new): (NameSet<'_>, NameSet<'_>) =
        (lost.iter().copied().collect(), new.iter().collect());
    let is_lost = |name: &&ServerName| covered(&lost, name) && !covered(&new, name);
    let own = domains.iter().filter(is_lost);
    let mut known = NameSet::new();
    below.chain(own).filter(|name| known.insert(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<ServerName> {
        let name =
            |name: &&str| name.parse().map_or_else(|_| ServerName::dns(name), ServerName::Ip);
        names.iter().map(name).collect()
    }

    fn covers(own: &str, asked: &str) -> bool {
        let own = names(&[own]);
        covered(&own.iter().collect(), &names(&[asked])[0])
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(covers("*.a.example", "b.a.example"));
        assert!(covers("*.a.example", "*.a.example"));
        assert!(covers("a.example", "A.example"));
        assert!(!covers("*.a.example", "a.example"));
        assert!(!covers("*.a.example", "c.b.a.example"));
        assert!(!covers("*.example", "*.a.example"));
        assert!(!covers("b.a.example", "*.a.example"));
        assert!(!covers("*.a.example", "a.b.example"));
        assert!(!covers("*", "localhost"));
        assert!(!covers("a.example", "localhost"));
        assert!(!covers("*.*.example", "a.b.example"));
        assert!(!covers("127.0.0.1", "*.0.0.1"));
        assert!(!covers("*.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn a_trailing_dot_makes_no_difference() {
        assert!(covers("a.example", "a.example."));
        assert!(covers("a.example.", "a.example"));
        assert!(covers("*.example.", "a.example"));
    }

    #[test]
    fn what_no_client_can_ask_for() {
        let long = format!("{}.example", "a".repeat(64));
        let longest = format!("{}.example", "a".repeat(63));
        let of_length = |length: usize| "a.".repeat(length / 2) + &"b".repeat(length % 2);
        let (most, too_many) = (of_length(253), of_length(255));
        for unusable in [
            "https://shop.example.com",
            "shop.example.com:443",
            "my shop.example.com",
            "*",
            "*.",
            "a..example.com",
            ".example.com",
            "*-my.example.com",
            "foo.*.example.com",
            "*.*.example.com",
            "",
            ".",
            "admin@example.com",
            "bücher.example",
            &long,
            &too_many,
            &(most.clone() + "b"),
        ] {
            assert!(!ServerName::dns(unusable).can_be_asked_for(), "{unusable:?}");
        }
        for address in ["192.0.2.7", "2001:db8::7"] {
            assert!(!ServerName::dns(address).can_be_asked_for(), "{address}");
            assert!(names(&[address])[0].can_be_asked_for(), "{address}");
        }
        for usable in [
            "shop.example.com",
            "shop.example.com.",
            "*.example.com",
            "_dmarc.example.com",
            "localhost",
            "xn--bcher-kva.example",
            "1.example.com",
            &longest,
            &most,
            &(most.clone() + "."),
        ] {
            assert!(ServerName::dns(usable).can_be_asked_for(), "{usable}");
        }
    }

    #[test]
    fn an_address_has_four_or_sixteen_octets() {
        for (octets, address) in [
            (&[192, 0, 2, 7][..], Some("192.0.2.7")),
            (&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], Some("2001:db8::7")),
            (&[], None),
            (&[192, 0, 2], None),
            // a network, as name constraints have it
            (&[192, 0, 2, 0, 255, 255, 255, 0], None),
            (&[0; 17], None),
        ] {
            let expected = address.map(|address| address.parse().unwrap());
            assert_eq!(ip_address(octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn names_are_lost_if_a_client_could_ask_for_them() {
        let old = names(&[
            "shop.example.com",
            "shop.example.com.",
            "www.example.com",
            "*",
            "192.0.2.7",
            "_dmarc.example.com",
        ]);
        let lost_by = |new: &[&str]| -> Vec<String> {
            let new = names(new);
            lost(&old, &new).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            lost_by(&["shop.example.com"]),
            ["www.example.com", "192.0.2.7", "_dmarc.example.com"]
        );
        assert_eq!(lost_by(&["*.example.com"]), ["192.0.2.7"]);
        assert!(lost_by(&["*.example.com", "192.0.2.7"]).is_empty());
    }

    #[test]
    fn a_wildcard_domain_needs_every_name_below_it() {
        let domains = names(&["*.example.com", "shop.example.com", "a.b.example.com"]);
        let needed_of = |old: &[&str], new: &[&str]| -> Vec<String> {
            let (old, new) = (names(old), names(new));
            let lost = lost(&old, &new);
            let needed = needed(&domains, &lost, &new);
            needed.iter().map(ToString::to_string).collect()
        };
        assert_eq!(needed_of(&["*.example.com"], &["shop.example.com"]), ["*.example.com"]);
        assert_eq!(needed_of(&["www.example.com"], &["shop.example.com"]), ["www.example.com"]);
        assert_eq!(
            needed_of(&["shop.example.com", "*.b.example.com"], &["other.example.org"]),
            ["shop.example.com", "a.b.example.com"]
        );
        assert!(needed_of(&["other.example.org"], &["*.example.com"]).is_empty());
        // neither certificate covers one of the domains
        assert!(needed_of(&["other.example.org"], &["b.example.org"]).is_empty());
        // the new one covers the domain by a name of its own
        assert_eq!(needed_of(&["*.b.example.com"], &["a.b.example.com"]), [""; 0]);
    }

    #[test]
    fn thousands_of_names_on_both_sides_take_no_time_to_speak_of() {
        let many = |prefix: &str| -> Vec<ServerName> {
            (0..30_000).map(|n| ServerName::dns(&format!("{prefix}{n}.example.com"))).collect()
        };
        let (old, new) = (many("a"), many("b"));
        let lost = lost(&old, &new);
        assert_eq!(lost.len(), 30_000);
        assert_eq!(needed(&old, &lost, &new).len(), 30_000);
    }
}
