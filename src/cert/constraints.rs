//! Name constraints of CAs (RFC 5280 section 4.2.1.10): what may be below one.
//!
//! The TLS library refuses whatever is below a constraint on directory names, so they are checked
//! here, too.

use std::net::IpAddr;

use super::der::{self, Reader, Value, tagged};
use super::distinguished_name::DistinguishedName;
use super::names::{ServerName, ip_address};

/// Comparisons for one CA; real material needs a few hundred.
const MOST_COMPARISONS: usize = 250_000;

/// What a CA allows and forbids.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraints {
    permitted: Vec<Base>,
    excluded: Vec<Base>,
}

/// Where a subtree begins.
#[derive(Clone, Debug, PartialEq)]
enum Base {
    Dns(String),
    /// The address and its mask.
    Ip(Vec<u8>),
    Directory(DistinguishedName),
    /// Of a kind that is not checked here.
    Other,
}

/// What a constraint is held against.
enum Given<'a> {
    Dns(&'a str),
    Ip(IpAddr),
    Directory(&'a DistinguishedName),
}

/// The names of a subject alternative name that TLS clients compare.
pub(super) fn general_names(names: Reader<'_>) -> impl Iterator<Item = ServerName> {
    names.filter_map(|name| match name.tag {
        0x82 => Some(ServerName::dns(&String::from_utf8_lossy(name.content))),
        0x87 => ip_address(name.content).map(ServerName::Ip),
        _ => None,
    })
}

/// What is not allowed.
pub(super) enum Refusal {
    /// There are more names and constraints than can be compared.
    TooMany,
    Subject,
    Name(ServerName),
}

impl Constraints {
    pub(super) fn read(mut parts: Reader<'_>) -> Option<Self> {
        let mut subtrees = |number| match parts.optional(tagged(number)) {
            None => Some(Vec::new()),
            Some(list) => Reader(list.content).map(base).collect(),
        };
        Some(Self {
            permitted: subtrees(0)?,
            excluded: subtrees(1)?,
        })
    }

    /// Whether the TLS library checks all of it.
    pub(super) fn is_plain(&self) -> bool {
        let mut bases = self.permitted.iter().chain(&self.excluded);
        bases.all(|base| matches!(base, Base::Dns(_) | Base::Ip(_)))
    }

    /// The first thing about a certificate with this subject and these names that is not allowed.
    pub(super) fn refusal(
        &self,
        subject: &DistinguishedName,
        names: &[ServerName],
    ) -> Option<Refusal> {
        let bases = self.permitted.len() + self.excluded.len();
        if names.len() * bases > MOST_COMPARISONS {
            return Some(Refusal::TooMany);
        }
        if !subject.is_empty() && !self.allow(&Given::Directory(subject)) {
            return Some(Refusal::Subject);
        }
        let name = names.iter().find(|name| {
            !self.allow(&match name {
                ServerName::Dns(name) => Given::Dns(name),
                ServerName::Ip(address) => Given::Ip(*address),
            })
        })?;
        Some(Refusal::Name(name.clone()))
    }

    fn allow(&self, name: &Given<'_>) -> bool {
        let mut of_kind = self
            .permitted
            .iter()
            .filter(|base| name.is_of(base))
            .peekable();
        (of_kind.peek().is_none() || of_kind.any(|base| name.is_within(base, false)))
            && !self.excluded.iter().any(|base| name.is_within(base, true))
    }
}

fn base(subtree: Value<'_>) -> Option<Base> {
    let base = Reader(subtree.content).next()?;
    Some(match base.tag {
        0x82 => Base::Dns(String::from_utf8_lossy(base.content).to_ascii_lowercase()),
        0x87 => Base::Ip(base.content.to_vec()),
        0xa4 => Base::Directory(DistinguishedName::read(
            Reader(base.content).expect(der::SEQUENCE)?,
        )?),
        _ => Base::Other,
    })
}

impl Given<'_> {
    const fn is_of(&self, base: &Base) -> bool {
        matches!(
            (self, base),
            (Self::Dns(_), Base::Dns(_))
                | (Self::Ip(_), Base::Ip(_))
                | (Self::Directory(_), Base::Directory(_))
        )
    }

    /// Whether it belongs to the subtree; of a wildcard: whether all its names do, or `any`.
    fn is_within(&self, base: &Base, any: bool) -> bool {
        match (self, base) {
            (Self::Dns(name), Base::Dns(base)) => {
                // clients take a dot at the beginning for at least one more label
                let below = name.strip_suffix(base.as_str()).is_some_and(|rest| {
                    if base.starts_with('.') {
                        !rest.is_empty()
                    } else {
                        rest.is_empty() || rest.ends_with('.') || base.is_empty()
                    }
                });
                let parent = name.strip_prefix("*.");
                below
                    || any
                        && parent.is_some_and(|parent| {
                            base.split_once('.').is_some_and(|(_, rest)| rest == parent)
                        })
            }
            (Self::Ip(IpAddr::V4(address)), Base::Ip(base)) => is_in_net(&address.octets(), base),
            (Self::Ip(IpAddr::V6(address)), Base::Ip(base)) => is_in_net(&address.octets(), base),
            (Self::Directory(name), Base::Directory(base)) => name.is_within(base),
            _ => false,
        }
    }
}

fn is_in_net(address: &[u8], base: &[u8]) -> bool {
    let (net, mask) = base.split_at(base.len() / 2);
    net.len() == address.len()
        && mask.len() == address.len()
        && address
            .iter()
            .zip(net)
            .zip(mask)
            .all(|((address, net), mask)| address & mask == net & mask)
}

#[cfg(test)]
mod tests;
