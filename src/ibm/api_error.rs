//! Why a call did not succeed, and what became of it.
//!
//! Belongs here: what the callers of a service tell apart. Does not: reasons and commands for people
//! (`sync/refusals.rs`).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::error::Error;
use crate::text::sanitized;

/// Why there is no successful answer.
#[derive(Debug)]
pub enum ApiError {
    /// No answer, or not a whole one. Whether the request took effect is unknown.
    Unanswered {
        /// What happened, without any body.
        cause: String,
        /// Whether not even a connection was made, so that nothing can have taken effect.
        unreachable: bool,
        /// Whether a later attempt may go better: not after a refused TLS certificate.
        temporary: bool,
    },
    /// The service answered with another status than 2xx.
    Status {
        /// The status.
        status: u16,
        /// The service's own error code, if it gave one.
        code: Option<String>,
        /// The service's code, message and trace id, fit for a log line.
        text: String,
        /// How long the service asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The run is over.
    Stopped {
        /// Why.
        error: Error,
        /// Unknown, if it ended while a write was in flight.
        fate: Fate,
    },
    /// There is no token to send.
    NoToken(TokenError),
    /// The service answered well, but with something else than its API describes.
    Unexpected(anyhow::Error),
}

/// What became of a write that was not answered well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It did not take effect, and will not.
    Rejected,
    /// Somebody else wrote since the entity tag was read.
    Conflict,
    /// It may have taken effect: read again, after the wait that the service asked for.
    Unknown(Option<Duration>),
}

/// Why there is no token.
#[derive(Debug)]
pub enum TokenError {
    /// None of these files exists.
    FileMissing(Vec<PathBuf>),
    /// The compute resource token cannot be read.
    FileUnreadable(PathBuf, io::Error),
    /// The file of the compute resource token is empty.
    FileEmpty(PathBuf),
    /// This compute resource may not assume the trusted profile, or there is no such profile.
    ProfileRefused {
        /// The profile as it was named: `profile_id ...`.
        profile: String,
        /// What IAM answered.
        answer: String,
        /// What the compute resource token says about this job.
        claims: Claims,
    },
    /// IAM does not know the API key.
    ApiKeyRefused(String),
    /// IAM refused for another reason, or gave no usable token.
    Refused(String),
    /// IAM could not be reached, or answered with a server error.
    Unavailable(String),
}

/// What the compute resource token says about this job; none of it is secret. Only these claims are
/// documented for Code Engine.
#[derive(Debug, Default)]
pub struct Claims {
    /// The name of the project.
    pub project_name: Option<String>,
    /// `job`, if it is one.
    pub component_type: Option<String>,
    /// The name of the job.
    pub component_name: Option<String>,
}

impl ApiError {
    /// Whether the same request may succeed later (RFC 9110 section 15; 501 will not go away).
    #[must_use]
    pub const fn temporary(&self) -> bool {
        match self {
            Self::Unanswered { temporary, .. } => *temporary,
            Self::Status { status, .. } => {
                matches!(*status, 408 | 429 | 500 | 502..=599)
            }
            Self::Stopped { .. } | Self::NoToken(_) | Self::Unexpected(_) => false,
        }
    }

    /// What became of the write that failed like this. Which of 409 and 412 Code Engine answers for a
    /// stale entity tag is not documented.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            Self::Status {
                status: 409 | 412, ..
            } => Fate::Conflict,
            Self::Status {
                status: 408 | 429 | 500..,
                retry_after,
                ..
            } => Fate::Unknown(*retry_after),
            Self::Unanswered { .. } | Self::Unexpected(_) => Fate::Unknown(None),
            Self::Status { .. } | Self::NoToken(_) => Fate::Rejected,
            Self::Stopped { fate, .. } => *fate,
        }
    }

    /// The status that the service answered with.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { cause, .. } => f.write_str(cause),
            Self::Status { text, .. } => f.write_str(text),
            Self::Stopped { error, .. } => error.fmt(f),
            Self::NoToken(error) => error.fmt(f),
            Self::Unexpected(cause) => write!(f, "{cause:#}"),
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &PathBuf| sanitized(&path.display().to_string());
        match self {
            Self::FileMissing(files) => {
                let files: Vec<String> = files.iter().map(shown).collect();
                write!(
                    f,
                    "there is no compute resource token (looked for {})",
                    files.join(", ")
                )
            }
            Self::FileUnreadable(file, e) => write!(
                f,
                "the compute resource token in {} cannot be read: {e}",
                shown(file)
            ),
            Self::FileEmpty(file) => {
                write!(f, "the compute resource token in {} is empty", shown(file))
            }
            Self::ProfileRefused {
                profile,
                answer,
                claims,
            } => write!(
                f,
                "this job may not assume the trusted profile ({profile}), or there is no such profile: {answer}; \
                 the compute resource token was issued to {claims}"
            ),
            Self::ApiKeyRefused(answer) => write!(f, "IAM does not know the API key: {answer}"),
            Self::Refused(cause) | Self::Unavailable(cause) => {
                write!(f, "no access token: {cause}")
            }
        }
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |claim: &Option<String>| sanitized(claim.as_deref().unwrap_or("unknown"));
        write!(
            f,
            "project {}, component type {}, component {}",
            shown(&self.project_name),
            shown(&self.component_type),
            shown(&self.component_name)
        )
    }
}

/// What the error bodies of IBM's services have in common (go-sdk-core, `core/base_service.go`).
pub(super) struct Problem {
    pub(super) code: Option<String>,
    message: Option<String>,
    trace: Option<String>,
}

impl Problem {
    /// Reads code, message and trace id; from a body that is no such document, nothing. `trace` is
    /// the one that a header gave.
    pub(super) fn read(body: &[u8], trace: Option<&str>) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let first = |pointers: &[&str]| {
            pointers
                .iter()
                .find_map(|pointer| document.pointer(pointer)?.as_str())
        };
        let shown = |found: Option<&str>| found.map(sanitized);
        Self {
            code: shown(first(&["/errors/0/code", "/code", "/errorCode"])),
            message: shown(first(&[
                "/errors/0/message",
                "/error",
                "/message",
                "/errorMessage",
            ])),
            trace: shown(first(&["/trace", "/context/requestId"]).or(trace)),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(trace) = &self.trace {
            write!(f, " (trace {trace})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_document_of_each_service_is_understood() {
        let code_engine = br#"{"errors":[{"code":"resource_not_found","message":"Resource not found."}],"trace":"codeengine-api-01","status_code":404}"#;
        assert_eq!(
            Problem::read(code_engine, Some("t-9")).to_string(),
            " resource_not_found: Resource not found. (trace codeengine-api-01)"
        );
        let iam = br#"{"errorCode":"BXNIM0398E","errorMessage":"Selected trusted profile not eligible.","errorDetails":"names the token","context":{"requestId":"r-1"}}"#;
        assert_eq!(
            Problem::read(iam, None).to_string(),
            " BXNIM0398E: Selected trusted profile not eligible. (trace r-1)"
        );
        assert_eq!(Problem::read(b"<html>", None).to_string(), "");
        assert_eq!(
            Problem::read(b"<html>", Some("t-9")).to_string(),
            " (trace t-9)"
        );
    }

    fn status(status: u16) -> ApiError {
        ApiError::Status {
            status,
            code: None,
            text: format!("status {status}"),
            retry_after: Some(Duration::from_secs(7)),
        }
    }

    fn unanswered(temporary: bool) -> ApiError {
        ApiError::Unanswered {
            cause: "connection reset".to_owned(),
            unreachable: false,
            temporary,
        }
    }

    fn terminated() -> Error {
        crate::error::error!(crate::error::Reason::Interrupted, "interrupted by SIGTERM")
    }

    #[test]
    fn a_status_says_whether_to_try_again_and_what_became_of_a_write() {
        let unknown = Fate::Unknown(Some(Duration::from_secs(7)));
        for (code, temporary, fate) in [
            (301, false, Fate::Rejected),
            (400, false, Fate::Rejected),
            (401, false, Fate::Rejected),
            (403, false, Fate::Rejected),
            (404, false, Fate::Rejected),
            (407, false, Fate::Rejected),
            (408, true, unknown),
            (409, false, Fate::Conflict),
            (410, false, Fate::Rejected),
            (412, false, Fate::Conflict),
            (428, false, Fate::Rejected),
            (429, true, unknown),
            (499, false, Fate::Rejected),
            (500, true, unknown),
            (501, false, unknown),
            (502, true, unknown),
            (503, true, unknown),
            (599, true, unknown),
            (600, false, unknown),
        ] {
            let error = status(code);
            assert_eq!(error.temporary(), temporary, "{code}");
            assert_eq!(error.fate(), fate, "{code}");
            assert_eq!(error.status(), Some(code));
        }
    }

    #[test]
    fn a_failure_without_a_status_too() {
        let no_token = || ApiError::NoToken(TokenError::Unavailable("status 503".to_owned()));
        let in_flight = ApiError::Stopped {
            error: terminated(),
            fate: Fate::Unknown(None),
        };
        let unexpected = anyhow::anyhow!("syntax error").context("unexpected response body");
        for (error, temporary, fate, shown) in [
            (
                unanswered(true),
                true,
                Fate::Unknown(None),
                "connection reset",
            ),
            (
                unanswered(false),
                false,
                Fate::Unknown(None),
                "connection reset",
            ),
            (
                ApiError::Unexpected(unexpected),
                false,
                Fate::Unknown(None),
                "unexpected response body: syntax error",
            ),
            (
                no_token(),
                false,
                Fate::Rejected,
                "no access token: status 503",
            ),
            (
                in_flight,
                false,
                Fate::Unknown(None),
                "interrupted by SIGTERM",
            ),
        ] {
            assert_eq!(error.temporary(), temporary, "{error:?}");
            assert_eq!(error.fate(), fate, "{error:?}");
            assert_eq!(error.status(), None, "{error:?}");
            assert_eq!(error.to_string(), shown);
        }
        assert_eq!(status(503).to_string(), "status 503");
    }

    #[test]
    fn why_there_is_no_token() {
        let file = || PathBuf::from("/var/run/token");
        let claims = Claims {
            project_name: Some("shop".to_owned()),
            component_type: Some("job".to_owned()),
            component_name: None,
        };
        for (error, shown) in [
            (
                TokenError::FileMissing(vec![file(), PathBuf::from("a\nb")]),
                "there is no compute resource token (looked for /var/run/token, a\\u{a}b)",
            ),
            (
                TokenError::FileUnreadable(file(), io::ErrorKind::PermissionDenied.into()),
                "the compute resource token in /var/run/token cannot be read: permission denied",
            ),
            (
                TokenError::FileEmpty(file()),
                "the compute resource token in /var/run/token is empty",
            ),
            (
                TokenError::ProfileRefused {
                    profile: "profile_id Profile-1".to_owned(),
                    answer: "status 400".to_owned(),
                    claims,
                },
                "this job may not assume the trusted profile (profile_id Profile-1), or there is no such profile: status 400; \
                 the compute resource token was issued to project shop, component type job, component unknown",
            ),
            (
                TokenError::ApiKeyRefused("status 400".to_owned()),
                "IAM does not know the API key: status 400",
            ),
            (
                TokenError::Refused("status 403".to_owned()),
                "no access token: status 403",
            ),
        ] {
            assert_eq!(error.to_string(), shown);
        }
    }
}
