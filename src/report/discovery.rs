//! What `--discover` found, as the report shows it.

use rustls_pki_types::UnixTime;
use serde::{Serialize, Serializer};

use crate::cert::certificate::rfc3339;

/// Everything that `--discover` found.
#[derive(Debug)]
pub struct Discovery {
    /// TLS secret by TLS secret.
    pub discovered: Vec<Discovered>,
    /// The certain matches, in the form of `TARGETS`.
    pub proposed_targets: Vec<ProposedTarget>,
    /// The certificates that no TLS secret matches; `None`: not every TLS secret is known.
    pub unused_certificates: Option<Vec<CertificateRef>>,
}

/// A TLS secret, and the certificate that belongs in it.
#[derive(Clone, Debug, Serialize)]
pub struct Discovered {
    /// Its project.
    pub project_id: String,
    /// Its name.
    pub tls_secret: String,
    /// Until when its certificate is valid.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_rfc3339"
    )]
    pub not_after: Option<UnixTime>,
    /// The names of its certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The domain mappings that use it; `None`: they could not be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// How it matches; `None`: the certificates could not be listed.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// The one certificate that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// The name of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Those among which a person has to choose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CertificateRef>,
}

impl Discovered {
    /// Whether there is no doubt about the certificate.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        let certain = matches!(self.matches, Some(Match::Same | Match::Renewed));
        certain && self.secret_id.is_some()
    }
}

/// How a TLS secret and a certificate match, from certain to not at all.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// The TLS secret holds the current version.
    Same,
    /// The TLS secret holds the previous version.
    Renewed,
    /// The certificate covers every name of the TLS secret.
    Covers,
    /// No certificate does.
    None,
    /// The TLS secret holds no certificate that can be read.
    Unreadable,
}

impl Match {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 5] = [
        Self::Same,
        Self::Renewed,
        Self::Covers,
        Self::None,
        Self::Unreadable,
    ];

    /// As in the report.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Renewed => "renewed",
            Self::Covers => "covers",
            Self::None => "none",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A target as `TARGETS` takes it.
#[derive(Clone, Debug, Serialize)]
pub struct ProposedTarget {
    /// The certificate.
    pub secret_id: String,
    /// The TLS secret.
    pub tls_secret: String,
    /// Its project.
    pub project_id: String,
    /// The region of that project, where it must be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// A certificate in Secrets Manager.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateRef {
    /// Its ID.
    pub secret_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// `public_cert`, `imported_cert` or `private_cert`.
    pub secret_type: String,
    /// Until when it is valid.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_rfc3339"
    )]
    pub not_after: Option<UnixTime>,
}

impl Discovery {
    /// Counts: `3 TLS secrets: 2 same, 1 covers`.
    pub(super) fn summary(&self) -> String {
        let counts: Vec<String> = Match::ALL
            .into_iter()
            .filter_map(|kind| {
                let of_kind = self.discovered.iter().filter(|d| d.matches == Some(kind));
                let count = of_kind.count();
                (count > 0).then(|| format!("{count} {}", kind.word()))
            })
            .collect();
        let total = match self.discovered.len() {
            1 => "1 TLS secret".to_owned(),
            count => format!("{count} TLS secrets"),
        };
        match counts.as_slice() {
            [] => total,
            counts => format!("{total}: {}", counts.join(", ")),
        }
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn optional_rfc3339<S: Serializer>(
    time: &Option<UnixTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(rfc3339).serialize(serializer)
}
