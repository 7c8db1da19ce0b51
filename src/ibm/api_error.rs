//! How an answer becomes a value, or an error that says why there is none and what became of the
//! request.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;

use crate::error::{Error, Reason};
use crate::text::{allowed, trace_id};

/// Why there is no successful answer.
#[derive(Debug, Default)]
pub struct ApiError {
    /// What happened, without any body: fit for a log line.
    pub text: String,
    /// What the service answered with, if it was not 2xx.
    pub status: Option<u16>,
    /// The service's own error code, if it gave one.
    pub code: Option<String>,
    /// How long the service asks us to wait.
    pub retry_after: Option<Duration>,
    /// Whether the same request may succeed later.
    pub temporary: bool,
    /// Whether nobody was there: no connection was made, or the network lost the way to the host.
    pub unreachable: bool,
    /// Whether the name of the host was never found: nothing says that it will ever exist.
    pub unknown_name: bool,
    /// What to do next, if the failure says so.
    pub hint: Option<&'static str>,
    /// Nothing was sent, since there is no token: why.
    pub no_token: Option<Box<Error>>,
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
    /// The service answered with another status than 2xx.
    pub(crate) fn answered(status: u16, text: String) -> Self {
        const RESTRICTED: &str = "a context-based restriction or an IP allowlist may be the cause";
        Self {
            text,
            status: Some(status),
            // RFC 9110 section 15; 501 will not go away
            temporary: matches!(status, 408 | 429 | 500 | 502..=599),
            hint: (status == 401).then_some(RESTRICTED),
            ..Self::default()
        }
    }

    /// The service answered well, but with something else than its API describes.
    pub(crate) fn unexpected(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// What became of the write that failed like this. Which of 409 and 412 Code Engine answers for a
    /// stale entity tag is not documented.
    pub const fn fate(&self) -> Fate {
        match self.status {
            Some(409 | 412) => Fate::Conflict,
            Some(408 | 429 | 500..) => Fate::Unknown(self.retry_after),
            None if self.no_token.is_none() => Fate::Unknown(None),
            _ => Fate::Rejected,
        }
    }

    /// The error for people: `what` could not be done, why, and what to do next. `reasons`: not
    /// allowed, refused, unavailable.
    pub(crate) fn explained(self, what: &str, reasons: [Reason; 3]) -> Error {
        let [forbidden, refused, unavailable] = reasons;
        let reason = match self.status {
            Some(401 | 403) => forbidden,
            _ if self.temporary => unavailable,
            _ => refused,
        };
        let error = reason.error(format!("{what}: {self}"));
        match (self.no_token, self.hint) {
            // an error already
            (Some(error), _) => *error,
            (None, Some(hint)) => error.hint(hint),
            (None, None) => error,
        }
    }
}

impl From<Error> for ApiError {
    fn from(no_token: Error) -> Self {
        let mut failure = Self::unexpected(no_token.to_string());
        failure.no_token = Some(Box::new(no_token));
        failure
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ApiError {}

/// Reads the body of an answer.
///
/// # Errors
/// Which field is wrong.
pub(super) fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        unreadable(&error.into_inner(), &path)
    })?;
    json.end().map_err(|error| unreadable(&error, "."))?;
    Ok(read)
}

/// Nothing of the text, not even by way of the parser's own sentence.
fn unreadable(error: &serde_json::Error, path: &str) -> ApiError {
    let (line, column) = (error.line(), error.column());
    let what = match (error.classify(), path) {
        (Category::Data, ".") => "not an object with the fields of the API".to_owned(),
        (Category::Data, _) => format!("the field {path} has another type than in the API"),
        (Category::Eof, _) => "the JSON is cut off".to_owned(),
        _ => format!("not JSON (line {line}, column {column})"),
    };
    ApiError::unexpected(format!("unexpected response: {what}"))
}

/// For a field that is not an `Option`: `null` counts as absent.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The code, and code, message and trace id for people, of an error body: what those of IBM's services
/// have in common (go-sdk-core, `core/base_service.go`). `trace` is the one that a header gave.
pub(super) fn problem(body: &[u8], trace: Option<&str>) -> (Option<String>, String) {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let first = |pointers: &[&str]| {
        let mut values = pointers.iter().map(|pointer| document.pointer(pointer));
        values.find_map(|value| value?.as_str())
    };
    let code = first(&["/errors/0/code", "/code", "/errorCode"]).map(allowed);
    let message = first(&["/errors/0/message", "/error", "/message", "/errorMessage"]);
    let trace = first(&["/trace", "/context/requestId"]).or(trace);
    let shown = [
        code.as_ref().map(|code| format!(" {code}")),
        message.map(|message| format!(": {}", allowed(message))),
        trace.and_then(trace_id).map(|id| format!(" (trace {id})")),
    ];
    (code, shown.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

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
        ApiError {
            retry_after: Some(Duration::from_secs(7)),
            ..ApiError::answered(status, format!("status {status}"))
        }
    }

    fn unanswered(temporary: bool) -> ApiError {
        ApiError { temporary, ..ApiError::unexpected("connection reset") }
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
            assert_eq!(error.temporary, temporary, "{code}");
            assert_eq!(error.fate(), fate, "{code}");
            assert_eq!(error.status, Some(code));
        }
    }

    #[test]
    fn a_failure_without_a_status_too() {
        let no_token =
            || ApiError::from(Reason::IamUnavailable.error("no access token: status 503"));
        for (error, temporary, fate, shown) in [
            (unanswered(true), true, Fate::Unknown(None), "connection reset"),
            (unanswered(false), false, Fate::Unknown(None), "connection reset"),
            (
                ApiError::unexpected("unexpected response body: syntax error"),
                false,
                Fate::Unknown(None),
                "unexpected response body: syntax error",
            ),
            (no_token(), false, Fate::Rejected, "no access token: status 503"),
        ] {
            assert_eq!(error.temporary, temporary, "{error:?}");
            assert_eq!(error.fate(), fate, "{error:?}");
            assert_eq!(error.status, None, "{error:?}");
            assert_eq!(error.to_string(), shown);
        }
        assert_eq!(status(503).to_string(), "status 503");
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Data {
        tls_key: Option<Secret>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Example {
        state: Option<i64>,
        #[serde(deserialize_with = "or_default")]
        ca_chain: Vec<String>,
        #[serde(deserialize_with = "or_default")]
        data: Data,
        apps: Vec<Data>,
    }

    #[test]
    fn an_error_names_the_field_and_never_its_value() {
        for (body, told) in [
            (r#"{"state":"SECRET"}"#, "the field state has another type than in the API"),
            (r#"{"state":1.0}"#, "the field state has"),
            (r#"{"ca_chain":"SECRET"}"#, "the field ca_chain has"),
            (r#"{"ca_chain":["a",null]}"#, "the field ca_chain[1] has"),
            (r#"{"data":{"tls_key":["SECRET"]}}"#, "the field data.tls_key has"),
            (r#"{"apps":[{},"SECRET"]}"#, "the field apps[1] has"),
            (r#""SECRET""#, "not an object with the fields of the API"),
            (r#"{"state":1"#, "the JSON is cut off"),
            ("", "the JSON is cut off"),
            (r#"{"state":1 SECRET}"#, "not JSON (line 1, column 12)"),
            (r#"{"state":1} SECRET"#, "not JSON (line 1, column 13)"),
        ] {
            let error = read::<Example>(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("unexpected response: {told}")), "{body}: {error}");
            assert!(!error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn null_counts_as_absent() {
        let body = br#"{"state":null,"ca_chain":null,"data":null}"#;
        let empty: Example = read(body).unwrap();
        assert!(empty.state.is_none() && empty.ca_chain.is_empty() && empty.data.tls_key.is_none());
        let body = br#"{"data":{"tls_key":"a\nb"},"unknown":[1]}"#;
        let key = read::<Example>(body).unwrap().data.tls_key;
        assert_eq!(key.unwrap().expose(), "a\nb");
    }
}
