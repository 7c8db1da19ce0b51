//! Why a call did not succeed, and what became of it.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Reason, error};
use crate::text::{allowed, trace_id};

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
    /// There is no token to send.
    NoToken(Error),
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

impl ApiError {
    /// Whether the same request may succeed later (RFC 9110 section 15; 501 will not go away).
    #[must_use]
    pub const fn temporary(&self) -> bool {
        match self {
            Self::Unanswered { temporary, .. } => *temporary,
            Self::Status { status, .. } => {
                matches!(*status, 408 | 429 | 500 | 502..=599)
            }
            Self::NoToken(_) | Self::Unexpected(_) => false,
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

    /// The error for people: `what` could not be done, why, and what to do next. `reasons`: not
    /// allowed, refused, unavailable.
    pub(crate) fn explained(self, what: &str, reasons: [Reason; 3]) -> Error {
        let [forbidden, refused, unavailable] = reasons;
        let reason = match &self {
            // an error already
            Self::NoToken(error) => return error.clone(),
            Self::Status {
                status: 401 | 403, ..
            } => forbidden,
            _ if self.temporary() => unavailable,
            _ => refused,
        };
        let error = error!(reason, "{what}: {self}");
        match &self {
            Self::Status { status: 401, .. } => {
                error.hint("a context-based restriction or an IP allowlist may be the cause")
            }
            Self::Unanswered { cause, .. } if cause.contains("UnknownIssuer") => error.hint(
                "its certificate comes from a CA that the job does not know: set SSL_CERT_FILE to a file with its root, if it is to be trusted",
            ),
            Self::Unanswered { cause, .. }
                if cause.contains("private.") && cause.ends_with("cannot be resolved") =>
            {
                error.hint("a private endpoint exists only inside IBM's network")
            }
            _ => error,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { cause, .. } => f.write_str(cause),
            Self::Status { text, .. } => f.write_str(text),
            Self::NoToken(error) => error.fmt(f),
            Self::Unexpected(cause) => write!(f, "{cause:#}"),
        }
    }
}

/// The code, and code, message and trace id for people, of an error body: what those of IBM's services
/// have in common (go-sdk-core, `core/base_service.go`). `trace` is the one that a header gave.
pub(super) fn problem(body: &[u8], trace: Option<&str>) -> (Option<String>, String) {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &&str| document.pointer(pointer)?.as_str();
    let code = ["/errors/0/code", "/code", "/errorCode"]
        .iter()
        .find_map(text);
    let code = code.map(allowed);
    let mut shown = code
        .as_ref()
        .map_or_else(String::new, |code| format!(" {code}"));
    let messages = ["/errors/0/message", "/error", "/message", "/errorMessage"];
    if let Some(message) = messages.iter().find_map(text) {
        shown += &format!(": {}", allowed(message));
    }
    let trace = ["/trace", "/context/requestId"]
        .iter()
        .find_map(text)
        .or(trace);
    if let Some(trace) = trace.and_then(trace_id) {
        shown += &format!(" (trace {trace})");
    }
    (code, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_document_of_each_service_is_understood() {
        let code_engine = br#"{"errors":[{"code":"resource_not_found","message":"Resource not found."}],"trace":"codeengine-api-0123456789abcdef0123456789abcdef","status_code":404}"#;
        assert_eq!(
            problem(code_engine, Some("33333333-4444-5555-6666-777777777777")).1,
            " resource_not_found: Resource not found. (trace codeengine-api-0123456789abcdef0123456789abcdef)"
        );
        let iam = br#"{"errorCode":"BXNIM0398E","errorMessage":"Selected trusted profile not eligible.","errorDetails":"names the token","context":{"requestId":"aW1h-11111111222233334444555555555555"}}"#;
        assert_eq!(
            problem(iam, None).1,
            " BXNIM0398E: Selected trusted profile not eligible. (trace aW1h-11111111222233334444555555555555)"
        );
        assert_eq!(problem(b"<html>", None).1, "");
        assert_eq!(
            problem(b"<html>", Some("33333333-4444-5555-6666-777777777777")).1,
            " (trace 33333333-4444-5555-6666-777777777777)"
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
        let no_token = || {
            ApiError::NoToken(error!(
                Reason::IamUnavailable,
                "no access token: status 503"
            ))
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
        ] {
            assert_eq!(error.temporary(), temporary, "{error:?}");
            assert_eq!(error.fate(), fate, "{error:?}");
            assert_eq!(error.status(), None, "{error:?}");
            assert_eq!(error.to_string(), shown);
        }
        assert_eq!(status(503).to_string(), "status 503");
    }
}
