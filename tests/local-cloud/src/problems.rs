//! Refusals in IBM's shapes: each service has its own. Every refusal of this cloud, faults included,
//! is made here.

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;
use uuid::Uuid;

use crate::clock;
use crate::http;
use crate::journal::Service;

/// What Code Engine sends with every error, in addition to `trace` in the body.
pub(crate) const TRANSACTION_ID: &str = "x-transaction-id";

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    code: String,
    pub(crate) message: String,
}

pub(crate) fn no(status: u16, code: &str, message: impl Into<String>) -> Problem {
    Problem { status, code: code.into(), message: message.into() }
}

pub(crate) fn not_found(what: &str) -> Problem {
    no(404, "not_found", format!("{what} was not found."))
}

pub(crate) fn bad(message: impl Into<String>) -> Problem {
    no(400, "bad_request", message)
}

impl Problem {
    /// What a service says for a status that somebody asked for.
    pub(crate) fn of(status: u16) -> Self {
        let known = StatusCode::from_u16(status).ok();
        let reason = known.and_then(|status| status.canonical_reason());
        let reason = reason.unwrap_or("unknown status");
        no(status, &reason.to_lowercase().replace(' ', "_"), reason)
    }

    pub(crate) fn shaped(&self, service: Service) -> Response {
        let id = Uuid::new_v4();
        let mut error = json!({ "code": self.code, "message": self.message });
        let trace = match service {
            Service::Iam => return self.of_iam(),
            Service::CodeEngine => format!("codeengine-api-{}", id.simple()),
            Service::EventNotifications => {
                error["more_info"] = "https://cloud.ibm.com/apidocs/event-notifications".into();
                id.to_string()
            }
            Service::SecretsManager => id.to_string(),
        };
        let body = json!({ "errors": [error], "trace": trace, "status_code": self.status });
        let mut response = http::json(self.status, &body);
        if service == Service::CodeEngine
            && let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string())
        {
            response.headers_mut().insert(TRANSACTION_ID, id);
        }
        response
    }

    fn of_iam(&self) -> Response {
        let moment = clock::of_iam(clock::now());
        let code = match self.code.strip_prefix("BXNIM") {
            Some(_) => self.code.clone(),
            None => format!("BXNIM0{}E", self.status),
        };
        let body = json!({
            "errorCode": code,
            "errorMessage": self.message,
            "errorDetails": "see the documentation of the token endpoint",
            "context": {
                "requestId": format!("aWFt-{}", Uuid::new_v4().simple()),
                "requestType": "incoming.Identity_Token",
                "url": "https://iam.cloud.ibm.com",
                "startTime": moment,
                "endTime": moment,
                "elapsedTime": "1",
                "locale": "en_US",
                "clusterName": "local-cloud",
            },
        });
        http::json(self.status, &body)
    }
}
