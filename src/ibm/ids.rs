//! Identifiers, parsed or refused. Only these types go into a URL path.
//!
//! Belongs here: the shape of an identifier. Does not: whether it is ours.

use std::fmt;

use anyhow::{bail, ensure};

use crate::text::sanitized;

/// A UUID as IBM writes it: 36 characters, lower-case hex.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uuid(String);

impl Uuid {
    /// # Errors
    /// If `text` is anything but 8-4-4-4-12 lower-case hex digits.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let digits = |group: &&str| {
            group
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        ensure!(
            lengths == [8, 4, 4, 4, 12] && groups.iter().all(digits),
            "expected a UUID of 36 characters (lower-case hex digits in groups of 8-4-4-4-12), found {}",
            sanitized(text)
        );
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The parts of a cloud resource name that we compare.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Crn {
    /// The service, e.g. `secrets-manager`.
    pub service: String,
    /// The region, e.g. `eu-de`.
    pub region: String,
    /// The scope: `a/` and the account.
    pub scope: String,
    /// The service instance.
    pub instance: String,
    /// The type of the resource, empty for the instance itself.
    pub resource_type: String,
    /// The resource, empty for the instance itself.
    pub resource: String,
}

impl Crn {
    /// # Errors
    /// If `text` does not have the ten fields `crn:v1:cname:ctype:service:region:scope:instance:type:resource`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let [
            "crn",
            "v1",
            _,
            _,
            service,
            region,
            scope,
            instance,
            resource_type,
            resource,
        ] = fields.as_slice()
        else {
            bail!(
                "expected a CRN of ten fields that begins with crn:v1:, found {}",
                sanitized(text)
            );
        };
        Ok(Self {
            service: (*service).to_owned(),
            region: (*region).to_owned(),
            scope: (*scope).to_owned(),
            instance: (*instance).to_owned(),
            resource_type: (*resource_type).to_owned(),
            resource: (*resource).to_owned(),
        })
    }

    /// Whether both belong to the same instance of the same service, region and account.
    #[must_use]
    pub fn same_instance(&self, other: &Self) -> bool {
        (&self.service, &self.region, &self.scope, &self.instance)
            == (&other.service, &other.region, &other.scope, &other.instance)
    }
}

impl fmt::Display for Crn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!(
            "instance {} of {} in {} ({})",
            self.instance, self.service, self.region, self.scope
        );
        f.write_str(&sanitized(&text))
    }
}

/// The id of a secret in Secrets Manager, and the full name if it was given as one.
#[derive(Clone, Debug)]
pub struct SecretId {
    /// The id, which goes into the URL.
    pub id: Uuid,
    /// Where the name says that the secret lives; none for a bare id.
    pub crn: Option<Crn>,
}

impl SecretId {
    /// Reads a bare id or a full secret CRN.
    ///
    /// # Errors
    /// If it is neither, or a CRN of something else than a secret.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if !text.starts_with("crn:") {
            return Ok(Self {
                id: Uuid::parse(text)?,
                crn: None,
            });
        }
        let crn = Crn::parse(text)?;
        ensure!(
            crn.service == "secrets-manager" && crn.resource_type == "secret",
            "expected the CRN of a Secrets Manager secret, found {}",
            sanitized(text)
        );
        Ok(Self {
            id: Uuid::parse(&crn.resource)?,
            crn: Some(crn),
        })
    }
}

/// The name of a secret in a Code Engine project.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TlsSecretName(String);

impl TlsSecretName {
    /// # Errors
    /// If the name does not fit Code Engine's pattern: labels of lower-case letters, digits and
    /// hyphens, joined by dots, at most 253 characters.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(
            text.len() <= 253 && text.split('.').all(dns_label),
            "expected the name of a Code Engine secret (lower-case letters, digits, hyphens, dots), found {}",
            sanitized(text)
        );
        Ok(Self(text.to_owned()))
    }
}

impl TlsSecretName {
    /// The variable in which an app that restarts for this secret notes its certificate.
    #[must_use]
    pub fn fingerprint_variable(&self) -> String {
        let name = self.0.to_ascii_uppercase().replace(['-', '.'], "_");
        format!("TLS_SECRET_SHA256_{name}")
    }
}

impl fmt::Display for TlsSecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an app in a Code Engine project.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AppName(String);

impl AppName {
    /// # Errors
    /// If the name is not one DNS label: lower-case letters, digits and inner hyphens, at most 63
    /// characters.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(
            text.len() <= 63 && dns_label(text),
            "expected the name of a Code Engine app (lower-case letters, digits, hyphens), found {}",
            sanitized(text)
        );
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case letters, digits and inner hyphens.
fn dns_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// A region of IBM Cloud, e.g. `eu-de`. It goes into host names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Region(String);

impl Region {
    /// # Errors
    /// If it is not made of lower-case letters, digits and inner hyphens. There is no list of known
    /// regions: IBM opens new ones.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(
            text.len() <= 40 && dns_label(text),
            "expected a region such as eu-de, found {}",
            sanitized(text)
        );
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";
    const INSTANCE: &str = "crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31";

    #[test]
    fn a_secret_id_is_a_uuid_or_the_crn_of_a_secret() {
        assert_eq!(SecretId::parse(ID).unwrap().id.to_string(), ID);
        let named = SecretId::parse(&format!("{INSTANCE}:secret:{ID}")).unwrap();
        assert_eq!(named.id.to_string(), ID);
        assert!(
            named
                .crn
                .unwrap()
                .same_instance(&Crn::parse(&format!("{INSTANCE}::")).unwrap())
        );
        for bad in [
            "",
            " 2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852",
            "2F6C8E90-4b1d-4d7a-9e35-c0a71b64d852",
            "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852/..",
            "2f6c8e904b1d4d7a9e35c0a71b64d852",
            "../../secret_groups",
            "2f6c8e90-4b1d-4d7a-9e35-%2f%2e%2e71b64d852",
            &format!("{INSTANCE}:secret:../x"),
            &format!("{INSTANCE}:secret-group:{ID}"),
            &format!("{INSTANCE}::"),
            &format!("crn:v1:bluemix:public:kms:eu-de:a/1:2:secret:{ID}"),
            &format!("{INSTANCE}:secret:{ID}:more"),
        ] {
            assert!(SecretId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tls_secret_name_follows_code_engines_pattern() {
        for good in ["shop-tls", "a", "a.b-c.d", &"a".repeat(253)] {
            assert!(TlsSecretName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Shop",
            "a/b",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "ä",
            &"a".repeat(254),
        ] {
            assert!(TlsSecretName::parse(bad).is_err(), "{bad}");
        }
    }
}
