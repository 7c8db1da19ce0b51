//! What went wrong or deserves attention: the exit statuses, the one table of reasons, and the error
//! that carries one.

use std::fmt;

use serde::Serialize;

/// Declares [`ExitStatus`] as one table: meaning, name, number.
macro_rules! statuses {
    ($(#[doc = $meaning:literal] $name:ident = $number:literal;)*) => {
        /// The exit statuses of the program. They are an interface: people and alerts rely on them.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum ExitStatus {
            $(#[doc = $meaning] $name,)*
        }

        impl ExitStatus {
            /// The meaning of each number, as `--help` prints it.
            pub const MEANINGS: &[&str] = &[$($meaning.trim_ascii_start(),)*];

            /// The number that the process exits with.
            pub const fn status(self) -> u8 {
                match self { $(Self::$name => $number,)* }
            }
        }
    };
}

statuses! {
    /// all targets are up to date (replaced or unchanged), or the event is not for this job
    Success = 0;
    /// a bug in the program
    Defect = 1;
    /// configuration
    Configuration = 2;
    /// event rejected: unreadable, forged, or from another instance
    Event = 3;
    /// IAM: no token
    Iam = 4;
    /// Secrets Manager: could not fetch
    SecretsManager = 5;
    /// certificate rejected: not fit to serve (also: revoked, destroyed, wrong type, imported without its key)
    Certificate = 6;
    /// Code Engine: could not read or replace
    CodeEngine = 7;
    /// refused: it would be worse than what is deployed
    Refused = 8;
    /// interrupted by SIGTERM or DEADLINE before all targets were processed
    Interrupted = 9;
    /// written, but not yet served: an app did not become ready, PROBE=require and a domain was not seen to serve the certificate, or time ran out after the write
    NotServed = 10;
}

/// Declares [`Reason`] as one table: variant, word, usual exit status (`None`: only ever a finding),
/// whether retrying later could succeed without intervention, meaning.
macro_rules! reasons {
    ($($name:ident, $word:literal, $status:expr, $retryable:literal, $meaning:literal;)*) => {
        /// Why something was refused or failed, or what a finding is about. The words are an
        /// interface: they are the `reason` and `findings[].code` of the report, and each is a
        /// heading of docs/reasons.md. There is one word per remedy.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
        pub enum Reason {
            $(#[doc = $meaning] #[serde(rename = $word)] $name,)*
        }

        impl Reason {
            /// All of them, with their meaning.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$name, $meaning),)*];

            /// The word in the report.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The exit status of a failure for this reason before a write; `None` if it is only ever
            /// a finding.
            pub const fn exit_status(self) -> Option<ExitStatus> {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether retrying later could succeed without intervention.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

reasons! {
    Defect, "defect", Some(ExitStatus::Defect), false, "a bug in sm-tls-sync";

    Configuration, "configuration", Some(ExitStatus::Configuration), false, "invalid configuration";

    EventInvalid, "event-invalid", Some(ExitStatus::Event), false, "the event or one of its entries cannot be read, or does not have the format that Secrets Manager sends";
    EventForeign, "event-foreign", Some(ExitStatus::Event), false, "the event comes from another Secrets Manager instance";
    EventAmbiguous, "event-ambiguous", Some(ExitStatus::Event), false, "without `SECRET_ID` the event must name exactly one certificate";

    TokenMissing, "token-missing", Some(ExitStatus::Iam), false, "there is no compute resource token, or it cannot be read";
    ProfileRefused, "profile-refused", Some(ExitStatus::Iam), false, "IAM does not let this job assume the trusted profile";
    IamRefused, "iam-refused", Some(ExitStatus::Iam), false, "IAM issued no token: it does not know the API key, or for another reason";
    IamUnavailable, "iam-unavailable", Some(ExitStatus::Iam), true, "IAM could not be reached or returned a server error";

    SecretMissing, "secret-missing", Some(ExitStatus::SecretsManager), false, "Secrets Manager has no such secret, or hides it from the profile";
    SecretForbidden, "secret-forbidden", Some(ExitStatus::SecretsManager), false, "the profile is not allowed to read the secret";
    SecretsManagerRefused, "secrets-manager-refused", Some(ExitStatus::SecretsManager), false, "Secrets Manager returned an unexpected response";
    SecretsManagerUnavailable, "secrets-manager-unavailable", Some(ExitStatus::SecretsManager), true, "Secrets Manager could not be reached or returned a server error";

    WrongType, "wrong-type", Some(ExitStatus::Certificate), false, "the secret is not a certificate";
    NotIssued, "not-issued", Some(ExitStatus::Certificate), true, "the certificate has not been issued yet";
    NotActive, "not-active", Some(ExitStatus::Certificate), false, "the certificate is revoked, or the secret is suspended, deactivated or destroyed";
    KeyMissing, "key-missing", Some(ExitStatus::Certificate), false, "the secret contains no private key";
    KeyUnusable, "key-unusable", Some(ExitStatus::Certificate), false, "the private key is encrypted, unreadable, ambiguous or of an unsupported type";
    KeyMismatch, "key-mismatch", Some(ExitStatus::Certificate), false, "the private key does not match any of the certificates";
    PemUnreadable, "pem-unreadable", Some(ExitStatus::Certificate), false, "the secret contains no certificate, or a PEM block that cannot be read";
    WeakSignature, "weak-signature", Some(ExitStatus::Certificate), false, "the certificate or one of its issuers is signed with MD5 or SHA-1";
    Expired, "expired", Some(ExitStatus::Certificate), false, "the certificate has expired";
    NotYetValid, "not-yet-valid", Some(ExitStatus::Certificate), true, "the certificate is not valid yet";
    Unfit, "unfit", Some(ExitStatus::Certificate), false, "servers or clients would not accept the certificate or one of its issuers";

    TlsSecretMissing, "tls-secret-missing", Some(ExitStatus::CodeEngine), false, "Code Engine has no such TLS secret";
    TlsSecretUnsuitable, "tls-secret-unsuitable", Some(ExitStatus::CodeEngine), false, "the secret is not of format tls, is generated by the system, or has no usable entity tag";
    CodeEngineForbidden, "code-engine-forbidden", Some(ExitStatus::CodeEngine), false, "the profile is not allowed to read or change something in Code Engine";
    CodeEngineRefused, "code-engine-refused", Some(ExitStatus::CodeEngine), false, "Code Engine returned an unexpected response";
    CodeEngineUnavailable, "code-engine-unavailable", Some(ExitStatus::CodeEngine), true, "Code Engine could not be reached or returned a server error";
    WriteConflict, "write-conflict", Some(ExitStatus::CodeEngine), true, "someone else changed the TLS secret during each of our attempts";

    NamesLost, "names-lost", Some(ExitStatus::Refused), false, "the new certificate does not cover a name that the deployed one covers";
    LessTrusted, "less-trusted", Some(ExitStatus::Refused), false, "the deployed certificate is publicly trusted, the new one is not";
    ChainShorter, "chain-shorter", Some(ExitStatus::Refused), false, "the deployed certificate has a chain, the new one has none and was not signed by a known root";
    Older, "older", Some(ExitStatus::Refused), false, "the new certificate is older than the deployed one";

    Interrupted, "interrupted", Some(ExitStatus::Interrupted), true, "SIGTERM or `DEADLINE` ended the run; with exit status 10 the certificate was already written";

    AppNotRestarted, "app-not-restarted", Some(ExitStatus::NotServed), true, "an app that reads the TLS secret could not be restarted, or did not become ready with the new certificate";
    NotServed, "not-served", Some(ExitStatus::NotServed), true, "a domain serves a different certificate than the TLS secret holds";
    DomainUnreachable, "domain-unreachable", Some(ExitStatus::NotServed), true, "no TLS handshake with a domain was possible";
    DomainNotCovered, "domain-not-covered", Some(ExitStatus::NotServed), false, "a domain mapping uses the TLS secret, but the certificate does not cover its name";

    EventIgnored, "event-ignored", None, false, "the event does not concern this job, or names a secret that no target uses";
    IamPublic, "iam-public", None, false, "IAM's private address did not work, the public one did";
    ChainGap, "chain-gap", None, false, "the issuer of the certificate is missing";
    ChainCompleted, "chain-completed", None, false, "the missing issuer was taken from the deployed chain";
    ChainUnverified, "chain-unverified", None, false, "something in the chain cannot be verified by this program";
    DeployedUnreadable, "deployed-unreadable", None, false, "the first certificate of the deployed TLS secret could not be read, so nothing could be compared";
    ExpiresSoon, "expires-soon", None, false, "the certificate or one of its intermediates expires soon";
    EventMissed, "event-missed", None, false, "a scheduled run deployed a certificate that an event should have announced";
    KeyNotForIngress, "key-not-for-ingress", None, false, "a domain mapping uses the TLS secret, and an ingress or a browser may refuse the certificate";
    Held, "held", None, false, "the target is on hold: nothing is written";
    Undone, "undone", None, false, "the previous version was deployed; the next event or scheduled run would deploy the current one again";
}

impl Reason {
    /// The reasons that `FORCE` overrides: those that compare, never those that reject a certificate.
    pub(crate) const FORCEABLE: [Self; 4] =
        [Self::NamesLost, Self::LessTrusted, Self::ChainShorter, Self::Older];

    /// An error or a finding for this reason, without a next step and a command.
    pub fn error(self, message: impl Into<String>) -> Error {
        Error { reason: self, message: message.into(), command: None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A failure, or a finding: something worth knowing that did not stop the work. The message is one
/// sentence (what failed, for what, found and expected, the next step) and never holds a key, a token
/// or a certificate body.
#[derive(Clone, Debug, Serialize)]
pub struct Error {
    /// The stable word.
    #[serde(rename = "code")]
    pub reason: Reason,
    /// What happened, and what to do next.
    pub message: String,
    /// The complete command that does it, ready to paste.
    pub command: Option<String>,
}

impl Error {
    /// The same, with where it happened before the message.
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same, with the next step.
    pub fn hint(mut self, next: impl fmt::Display) -> Self {
        self.message = format!("{}; {next}", self.message);
        self
    }

    /// The same, with the command that fixes it.
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// A bug. What the panic said stays out of it: it could quote what it found.
    pub fn defect() -> Self {
        Reason::Defect.error("a bug in sm-tls-sync: please report it with the log of this run")
    }

    /// The exit status of this failure before a write.
    pub fn exit_status(&self) -> ExitStatus {
        self.reason.exit_status().unwrap_or(ExitStatus::Defect)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
