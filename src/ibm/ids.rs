//! Names and ids, parsed or refused. Only these types go into a URL path, and only what fits them is
//! shown of a name or id in an answer.

use std::borrow::Cow;
use std::fmt;

use anyhow::{bail, ensure};
use serde::{Deserialize, Deserializer};

use crate::text::{HIDDEN, is_uuid};

/// Declares types of texts: name, what it is in a message, and which texts are such.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $fits:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            const FITS: fn(&str) -> bool = $fits;

            /// Checks the form.
            ///
            /// # Errors
            /// If it has another form.
            pub fn parse(text: &str) -> anyhow::Result<Self> {
                let length = text.chars().count();
                let expected = concat!("expected ", $what, ", found a text of");
                ensure!((Self::FITS)(text), "{expected} {length} characters");
                Ok(Self(text.to_owned()))
            }

            /// What a message may show of a text that should be one.
            pub fn shown(text: &str) -> &str {
                if (Self::FITS)(text) { text } else { HIDDEN }
            }

            /// Reads what may be shown of a field; `null` and an empty text count as absent.
            ///
            /// # Errors
            /// If it is no text.
            pub fn show<'de, D: Deserializer<'de>, R: Default + From<String>>(
                field: D,
            ) -> Result<R, D::Error> {
                let text = Option::<Cow<'_, str>>::deserialize(field)?;
                let text = text.filter(|text| !text.is_empty());
                Ok(text.map_or_else(R::default, |text| Self::shown(&text).to_owned().into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A UUID as IBM writes it.
    Uuid, "a UUID of 36 characters (lower-case hex digits in groups of 8-4-4-4-12)", is_uuid;
    /// The name of a secret in a Code Engine project.
    TlsSecretName, "the name of a Code Engine secret (lower-case letters, digits, hyphens, dots)",
        |text| text.len() <= 253 && text.split('.').all(dns_label);
    /// The name of an app in a Code Engine project.
    AppName, "the name of a Code Engine app (lower-case letters, digits, hyphens)",
        |text| text.len() <= 63 && dns_label(text);
    /// A region of IBM Cloud. It goes into host names. There is no list of known regions: IBM opens
    /// new ones.
    Region, "a region such as eu-de", |text| text.len() <= 40 && dns_label(text);
    /// The name of a secret in Secrets Manager. A longer one could as well be a token.
    SecretName, "the name of a secret", |text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (1..=64).contains(&text.len()) && text.bytes().all(plain)
    };
    /// A host name, or a wildcard.
    Host, "a host name", |text| {
        text.len() <= 253 && text.strip_prefix("*.").unwrap_or(text).split('.').all(dns_label)
    };
    /// A word for a state, format or type.
    Word, "a word", |text| {
        let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
        (1..=40).contains(&text.len()) && text.bytes().all(plain)
    };
}

/// Lower-case letters, digits and inner hyphens.
fn dns_label(text: &str) -> bool {
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(plain)
}

impl TlsSecretName {
    /// The variable in which an app that restarts for this secret notes its certificate.
    pub fn fingerprint_variable(&self) -> String {
        let name = self.0.to_ascii_uppercase().replace(['-', '.'], "_");
        format!("TLS_SECRET_SHA256_{name}")
    }
}

/// The parts of a cloud resource name that we compare: service (`secrets-manager`), service instance,
/// type of the resource and the resource, both empty for the instance itself.
///
/// # Errors
/// If it does not have the ten fields `crn:v1:cname:ctype:service:region:scope:instance:type:resource`.
pub fn crn(text: &str) -> anyhow::Result<[&str; 4]> {
    let fields: Vec<&str> = text.split(':').collect();
    let ["crn", "v1", _, _, service, _, _, instance, kind, resource] = *fields else {
        let length = text.chars().count();
        bail!(
            "expected a CRN of ten fields that begins with crn:v1:, found a text of {length} characters"
        );
    };
    Ok([service, instance, kind, resource])
}

/// The id of a secret in Secrets Manager, and its instance if it was given as a full name.
#[derive(Clone, Debug)]
pub struct SecretId {
    /// The id, which goes into the URL.
    pub id: Uuid,
    /// Where the name says that the secret lives; none for a bare id.
    pub instance: Option<String>,
}

impl SecretId {
    /// Reads a bare id or a full secret CRN.
    ///
    /// # Errors
    /// If it is neither, or a CRN of something else than a secret.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if !text.starts_with("crn:") {
            let id = Uuid::parse(text)?;
            return Ok(Self { id, instance: None });
        }
        let [service, instance, kind, id] = crn(text)?;
        let is_secret = service == "secrets-manager" && kind == "secret";
        ensure!(is_secret, "expected the CRN of a Secrets Manager secret");
        let (id, instance) = (Uuid::parse(id)?, Some(instance.to_owned()));
        Ok(Self { id, instance })
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
        assert_eq!(named.instance.unwrap(), "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31");
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
        for bad in ["", "Shop", "a/b", "a..b", "-a", "a-", "a_b", "ä", &"a".repeat(254)] {
            assert!(TlsSecretName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_fit_its_type_is_not_shown() {
        let long = "a".repeat(65);
        type Shown = fn(&str) -> &str;
        let rows: [(Shown, &[&str], &[&str]); 4] = [
            (
                Host::shown,
                &["shop.example.com", "*.example.com", "localhost"],
                &["", "Shop", "a..b", "*.*.x", "a_b", "-----BEGIN PRIVATE KEY-----"],
            ),
            (
                SecretName::shown,
                &["shop", "My_Cert-1.x"],
                &["", "a b", "-----BEGIN\n", &long, "a+b="],
            ),
            (Word::shown, &["tls", "ready_but_latest_revision_failed"], &["", "eyJ", "a1", "a b"]),
            (AppName::shown, &["shop-00002"], &["a.b", "A"]),
        ];
        for (shown, fits, others) in rows {
            for text in fits {
                assert_eq!(shown(text), *text);
            }
            for text in others {
                assert_eq!(shown(text), "…", "{text}");
            }
        }
    }
}
