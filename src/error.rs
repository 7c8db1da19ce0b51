//! What went wrong: the exit statuses, the reason codes and the error that carries them.
//!
//! Belongs here: the only table of codes. Does not: sentences about one particular failure (they
//! are where it is found), nor how an error is printed (`report.rs`).

use std::fmt;

use serde::{Serialize, Serializer};

/// The exit statuses of the program. They are an interface: people and alerts rely on them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum ExitStatus {
    /// A bug in the program.
    Defect = 1,
    /// Invalid configuration.
    Configuration = 2,
    /// The event was rejected.
    Event = 3,
    /// IAM issued no token.
    Iam = 4,
    /// Secrets Manager could not be read.
    SecretsManager = 5,
    /// The certificate is not fit to serve.
    Certificate = 6,
    /// Code Engine could not be read or written.
    CodeEngine = 7,
    /// It would be worse than what is deployed.
    Refused = 8,
    /// Interrupted before all targets were processed.
    Stopped = 9,
    /// Written, but not in effect.
    NotInEffect = 10,
}

impl ExitStatus {
    /// All numbers with their meaning, as `--help` prints them; 0 is success.
    pub const MEANINGS: [(u8, &'static str); 11] = [
        (
            0,
            "every target is in line (replaced or unchanged), or the event does not concern us",
        ),
        (Self::Defect.status(), "a bug in the program"),
        (Self::Configuration.status(), "configuration"),
        (
            Self::Event.status(),
            "event rejected: unreadable, forged, of another instance",
        ),
        (Self::Iam.status(), "IAM: no token"),
        (
            Self::SecretsManager.status(),
            "Secrets Manager: could not fetch",
        ),
        (
            Self::Certificate.status(),
            "certificate rejected: not fit to serve (also: revoked, destroyed, wrong type, imported without its key)",
        ),
        (
            Self::CodeEngine.status(),
            "Code Engine: could not read or replace",
        ),
        (
            Self::Refused.status(),
            "refused: it would be worse than what is deployed",
        ),
        (
            Self::Stopped.status(),
            "interrupted by SIGTERM or DEADLINE before all targets were processed",
        ),
        (
            Self::NotInEffect.status(),
            "written, but not in effect: an app did not become ready, PROBE=require and a domain serves another certificate, or time ran out after the write",
        ),
    ];

    /// The number that the process exits with.
    #[must_use]
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum of repr(u8) has no other way"
    )]
    pub const fn status(self) -> u8 {
        self as u8
    }
}

/// Declares [`Reason`] as one table: variant, word, exit status (`None`: only ever a finding),
/// whether retrying later could succeed without intervention, meaning.
macro_rules! reasons {
    ($($name:ident, $word:literal, $status:expr, $retryable:literal, $meaning:literal;)*) => {
        /// Why something was refused or failed, or what a finding is about. The words are an
        /// interface: they are the `reason` and `findings[].code` of the report, and each is a
        /// heading of docs/reasons.md.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// All of them, with their meaning.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$name, $meaning),)*];

            /// The word in the report.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The exit status of a failure for this reason; `None` if it is only ever a finding.
            #[must_use]
            pub const fn exit_status(self) -> Option<ExitStatus> {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether retrying later could succeed without intervention.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

reasons! {
    Defect, "defect", Some(ExitStatus::Defect), false, "a bug in sm-tls-sync";

    Configuration, "configuration", Some(ExitStatus::Configuration), false, "invalid configuration";

    ForeignSecretReadable, "foreign-secret-readable", Some(ExitStatus::Configuration), false, "the profile can read a secret that it must not";

    EventUnreadable, "event-unreadable", Some(ExitStatus::Event), false, "the event is not a JSON object of an accepted form";
    EventInvalid, "event-invalid", Some(ExitStatus::Event), false, "the event or one of its entries does not have the format that Secrets Manager sends";
    EventForeign, "event-foreign", Some(ExitStatus::Event), false, "the event comes from another Secrets Manager instance";
    EventAmbiguous, "event-ambiguous", Some(ExitStatus::Event), false, "without `SECRET_ID` the event must name exactly one certificate";

    TokenFileMissing, "token-file-missing", Some(ExitStatus::Iam), false, "there is no compute resource token";
    TokenFileUnreadable, "token-file-unreadable", Some(ExitStatus::Iam), false, "the compute resource token cannot be read";
    ProfileRefused, "profile-refused", Some(ExitStatus::Iam), false, "IAM does not let this job assume the trusted profile";
    ApiKeyRefused, "api-key-refused", Some(ExitStatus::Iam), false, "IAM does not know the API key";
    IamRefused, "iam-refused", Some(ExitStatus::Iam), false, "IAM issued no token for another reason";
    IamUnavailable, "iam-unavailable", Some(ExitStatus::Iam), true, "IAM could not be reached or returned a server error";

    SecretMissing, "secret-missing", Some(ExitStatus::SecretsManager), false, "Secrets Manager has no such secret, or hides it from the profile";
    SecretForbidden, "secret-forbidden", Some(ExitStatus::SecretsManager), false, "the profile is not allowed to read the secret";
    SecretsManagerRefused, "secrets-manager-refused", Some(ExitStatus::SecretsManager), false, "Secrets Manager returned an unexpected response";
    SecretsManagerUnavailable, "secrets-manager-unavailable", Some(ExitStatus::SecretsManager), true, "Secrets Manager could not be reached or returned a server error";

    WrongType, "wrong-type", Some(ExitStatus::Certificate), false, "the secret is not a certificate";
    NotIssued, "not-issued", Some(ExitStatus::Certificate), true, "the certificate has not been issued yet";
    NotActive, "not-active", Some(ExitStatus::Certificate), false, "the secret is suspended, deactivated or destroyed";
    Revoked, "revoked", Some(ExitStatus::Certificate), false, "the certificate is revoked";
    CertificateMissing, "certificate-missing", Some(ExitStatus::Certificate), false, "the secret contains no certificate";
    KeyMissing, "key-missing", Some(ExitStatus::Certificate), false, "the secret contains no private key";
    KeyUnusable, "key-unusable", Some(ExitStatus::Certificate), false, "the private key is encrypted, unreadable, ambiguous or of an unsupported type";
    KeyMismatch, "key-mismatch", Some(ExitStatus::Certificate), false, "the private key does not match any of the certificates";
    PemUnreadable, "pem-unreadable", Some(ExitStatus::Certificate), false, "a PEM block cannot be read";
    WeakSignature, "weak-signature", Some(ExitStatus::Certificate), false, "the certificate or one of its issuers is signed with MD5 or SHA-1";
    Expired, "expired", Some(ExitStatus::Certificate), false, "the certificate has expired";
    NotYetValid, "not-yet-valid", Some(ExitStatus::Certificate), true, "the certificate is not valid yet";
    NotForServers, "not-for-servers", Some(ExitStatus::Certificate), false, "the certificate is a CA certificate, is not meant for TLS servers, or has no names";
    IssuerUnfit, "issuer-unfit", Some(ExitStatus::Certificate), false, "the issuer's certificate is present but expired, not valid yet, or not a CA certificate";

    RehearsalFailed, "rehearsal-failed", Some(ExitStatus::Certificate), false, "an in-memory TLS handshake with the new certificate failed";

    TlsSecretMissing, "tls-secret-missing", Some(ExitStatus::CodeEngine), false, "Code Engine has no such TLS secret";
    TlsSecretUnsuitable, "tls-secret-unsuitable", Some(ExitStatus::CodeEngine), false, "the secret is not of format tls, is generated by the system, or has no usable entity tag";
    CodeEngineForbidden, "code-engine-forbidden", Some(ExitStatus::CodeEngine), false, "the profile is not allowed to read or replace the TLS secret";
    CodeEngineRefused, "code-engine-refused", Some(ExitStatus::CodeEngine), false, "Code Engine returned an unexpected response";
    CodeEngineUnavailable, "code-engine-unavailable", Some(ExitStatus::CodeEngine), true, "Code Engine could not be reached or returned a server error";
    WriteConflict, "write-conflict", Some(ExitStatus::CodeEngine), true, "someone else changed the TLS secret during each of our attempts";

    NamesLost, "names-lost", Some(ExitStatus::Refused), false, "the new certificate does not cover a name that the deployed one covers";
    LessTrusted, "less-trusted", Some(ExitStatus::Refused), false, "the deployed certificate is publicly trusted, the new one is not";
    ChainShorter, "chain-shorter", Some(ExitStatus::Refused), false, "the deployed certificate has a chain, the new one has none and was not signed by a known root";
    Older, "older", Some(ExitStatus::Refused), false, "the new certificate is older than the deployed one";

    Terminated, "terminated", Some(ExitStatus::Stopped), true, "interrupted by SIGTERM before all targets were processed";
    DeadlineReached, "deadline-reached", Some(ExitStatus::Stopped), true, "interrupted by `DEADLINE` before all targets were processed";

    AppNotReady, "app-not-ready", Some(ExitStatus::NotInEffect), true, "an app that reads the TLS secret did not become ready with the new certificate";
    AppNotRestarted, "app-not-restarted", Some(ExitStatus::NotInEffect), false, "an app that reads the TLS secret could not be read or restarted";
    NotServed, "not-served", Some(ExitStatus::NotInEffect), true, "a domain serves a different certificate than the TLS secret holds";
    DomainUnreachable, "domain-unreachable", Some(ExitStatus::NotInEffect), true, "no TLS handshake with a domain was possible";
    DomainNotCovered, "domain-not-covered", Some(ExitStatus::NotInEffect), false, "a domain mapping uses the TLS secret, but the certificate does not cover its name";
    MappingsUnreadable, "mappings-unreadable", Some(ExitStatus::NotInEffect), true, "the domain mappings could not be listed";
    EffectUnknown, "effect-unknown", Some(ExitStatus::NotInEffect), true, "the run was interrupted after the write, before it could confirm the effect";

    NotConfigured, "not-configured", None, false, "the event names a secret that no target uses";
    EventIgnored, "event-ignored", None, false, "the event does not concern this job";
    EventContradictory, "event-contradictory", None, false, "the event's `type` contradicts its `data.event_type`";
    IamPublic, "iam-public", None, false, "IAM's private address did not work, the public one did";
    ChainGap, "chain-gap", None, false, "the issuer of the certificate is missing";
    ChainStranger, "chain-stranger", None, false, "certificates that do not belong to the chain were left out";
    ChainCompleted, "chain-completed", None, false, "the missing issuer was taken from the deployed chain";
    BlockSkipped, "block-skipped", None, false, "a PEM block that the chain does not need could not be read and was left out";
    RehearsalIncomplete, "rehearsal-incomplete", None, false, "the chain has a constraint that this program cannot check";
    DeployedUnreadable, "deployed-unreadable", None, false, "no certificate of the deployed TLS secret could be read, so nothing could be compared";
    ChainUnverified, "chain-unverified", None, false, "a signature in the chain uses an algorithm that this program cannot verify";
    UnknownRoot, "unknown-root", None, false, "a publicly trusted certificate whose chain reaches no known root";
    NameUnusable, "name-unusable", None, false, "the certificate contains a name that no TLS client can match";
    ExpiresSoon, "expires-soon", None, false, "the certificate in Secrets Manager expires soon";
    EventMissed, "event-missed", None, false, "a cron run deployed a certificate that an event should have announced";
    KeyNotForIngress, "key-not-for-ingress", None, false, "a domain mapping uses the TLS secret, and an ingress or a browser may refuse the certificate";
    SeveralProjects, "several-projects", None, false, "domain mappings in several projects of a region use the same certificate";
    Held, "held", None, false, "the target is on hold: nothing is written";
    Undone, "undone", None, false, "the previous version was deployed; the message says what the next event would do";
    ForceIgnored, "force-ignored", None, false, "`FORCE` is only valid in a manual run with `SECRET_ID`";
}

impl Reason {
    /// The reasons that `FORCE` overrides: those that compare, never those that reject a certificate.
    pub(crate) const FORCEABLE: [Self; 4] = [
        Self::NamesLost,
        Self::LessTrusted,
        Self::ChainShorter,
        Self::Older,
    ];
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Something worth knowing that did not stop the work.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The stable code.
    pub code: Reason,
    /// What was found.
    pub message: String,
    /// The complete command that fixes it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Finding {
    /// A finding without a command.
    pub fn new(code: Reason, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            command: None,
        }
    }
}

/// A failure: its reason code, one sentence (what failed, for what, expected and found), the next
/// step and its command, if they are known. None of the texts ever holds a key, a token or a
/// certificate body.
#[derive(Debug)]
pub struct Error {
    /// The stable code, which also sets the exit status.
    pub reason: Reason,
    /// What failed; joined from outside in.
    pub cause: anyhow::Error,
    /// What to do next.
    pub hint: Option<String>,
    /// The complete command that does it, ready to paste.
    pub command: Option<String>,
}

impl Error {
    /// A failure with this reason and message.
    pub fn new(reason: Reason, cause: impl Into<anyhow::Error>) -> Self {
        Self {
            reason,
            cause: cause.into(),
            hint: None,
            command: None,
        }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with the command that fixes it.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// A bug. What the panic said stays out of it: it could quote what it found.
    #[must_use]
    pub fn defect() -> Self {
        Self::new(
            Reason::Defect,
            anyhow::anyhow!("a bug in sm-tls-sync: please report it with the log of this run"),
        )
    }

    /// The exit status of this failure.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        self.reason.exit_status().unwrap_or(ExitStatus::Defect)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// An [`Error`] with a formatted sentence: `error!(Reason::X, "…", …)`.
macro_rules! error {
    ($reason:expr, $($text:tt)*) => {
        $crate::error::Error::new($reason, anyhow::anyhow!($($text)*))
    };
}
pub(crate) use error;
