//! Name constraints of CAs (RFC 5280 section 4.2.1.10): what may be below one.
//!
//! The TLS library refuses unseen whatever is below a constraint on directory names: so these are
//! checked here, and DNS names beside them. IP addresses are left to the library.

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};

use super::names::{DistinguishedName, ServerName, distinguished_name};

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
    Directory(DistinguishedName),
    Ip,
    /// Of a kind that is not checked at all.
    Other,
}

impl Constraints {
    pub(super) fn of(constraints: &NameConstraints<'_>) -> Self {
        let bases = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| {
            let subtrees = subtrees.iter().flatten();
            let base = |subtree: &GeneralSubtree<'_>| match &subtree.base {
                GeneralName::DNSName(base) => Base::Dns(base.to_ascii_lowercase()),
                GeneralName::DirectoryName(base) => Base::Directory(distinguished_name(base)),
                GeneralName::IPAddress(_) => Base::Ip,
                _ => Base::Other,
            };
            subtrees.map(base).collect()
        };
        Self {
            permitted: bases(&constraints.permitted_subtrees),
            excluded: bases(&constraints.excluded_subtrees),
        }
    }

    /// Whether the TLS library checks all of it.
    pub(super) fn is_plain(&self) -> bool {
        let mut bases = self.permitted.iter().chain(&self.excluded);
        bases.all(|base| matches!(base, Base::Dns(_) | Base::Ip))
    }

    /// What is wrong with a certificate below the CA with this subject and these names, as the end of a
    /// sentence about them.
    pub(super) fn refusal(
        &self,
        subject: &DistinguishedName,
        names: &[ServerName],
    ) -> Option<String> {
        let bases = self.permitted.len() + self.excluded.len();
        if names.len() * bases > MOST_COMPARISONS {
            return Some("are too many to compare".to_owned());
        }
        let is_directory = |base: &Base| matches!(base, Base::Directory(_));
        let is_above =
            |base: &Base, _| matches!(base, Base::Directory(base) if subject.starts_with(base));
        if !subject.is_empty() && !self.allow(is_directory, is_above) {
            return Some("do not allow the subject of a certificate below it".to_owned());
        }
        let is_dns = |base: &Base| matches!(base, Base::Dns(_));
        let refused = names.iter().find(|name| match name {
            ServerName::Ip(_) => false,
            ServerName::Dns(name) => !self.allow(
                is_dns,
                |base, any| matches!(base, Base::Dns(base) if is_within(name, base, any)),
            ),
        })?;
        Some(format!("do not allow {refused}"))
    }

    /// Whether one of the permitted bases of a kind holds it, if there are any, and no excluded one.
    fn allow(&self, of_kind: impl Fn(&Base) -> bool, holds: impl Fn(&Base, bool) -> bool) -> bool {
        let permitted = self.permitted.iter().filter(|base| of_kind(base));
        let permitted: Vec<&Base> = permitted.collect();
        (permitted.is_empty() || permitted.iter().any(|base| holds(base, false)))
            && !self.excluded.iter().any(|base| holds(base, true))
    }
}

/// Whether a DNS name belongs to the subtree; of a wildcard: whether all its names do, or `any`.
fn is_within(name: &str, base: &str, any: bool) -> bool {
    // clients take a dot at the beginning for at least one more label
    let below = name.strip_suffix(base).is_some_and(|rest| match rest {
        "" => !base.starts_with('.'),
        rest => rest.ends_with('.') || base.starts_with('.') || base.is_empty(),
    });
    let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_owned());
    below || any && name.starts_with("*.") && parent(name) == parent(base)
}

#[cfg(test)]
mod tests;
