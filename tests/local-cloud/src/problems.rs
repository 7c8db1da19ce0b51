//! One constructor per IBM error body. Each service has its own shape; every refusal of this cloud,
//! faults included, is made here.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::clock;
use crate::journal::Service;

/// IAM: `errorCode`, `errorMessage`, `errorDetails`, `context`.
pub(crate) fn iam(status: u16, code: &str, message: &str, details: &str) -> Response {
    let at = clock::now();
    let day = format!("{:02}.{:02}.{}", at.day(), u8::from(at.month()), at.year());
    let moment = format!(
        "{day} {:02}:{:02}:{:02}:{:03} UTC",
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    );
    let body = json!({
        "errorCode": code,
        "errorMessage": message,
        "errorDetails": details,
        "context": {
            "requestId": format!("aWFt-{}", uuid::Uuid::new_v4().simple()),
            "requestType": "incoming.Identity_Token",
            "url": "https://iam.cloud.ibm.com",
            "startTime": moment,
            "endTime": moment,
            "elapsedTime": "1",
            "locale": "en_US",
            "clusterName": "local-cloud",
        },
    });
    answer(status, body)
}

/// Secrets Manager: `errors[]`, `trace`, `status_code` (IBM's generic contract; the sheet has no capture).
pub(crate) fn secrets_manager(status: u16, code: &str, message: &str) -> Response {
    let body = json!({
        "errors": [{ "code": code, "message": message }],
        "trace": uuid::Uuid::new_v4().to_string(),
        "status_code": status,
    });
    answer(status, body)
}

/// What Code Engine sends with every error, in addition to `trace` in the body.
pub(crate) const TRANSACTION_ID: &str = "x-transaction-id";

/// Code Engine: like Secrets Manager's, with its own form of `trace`.
pub(crate) fn code_engine(status: u16, code: &str, message: &str) -> Response {
    let body = json!({
        "errors": [{ "code": code, "message": message }],
        "trace": format!("codeengine-api-{}", uuid::Uuid::new_v4().simple()),
        "status_code": status,
    });
    let id = uuid::Uuid::new_v4().to_string();
    ([(TRANSACTION_ID, id)], answer(status, body)).into_response()
}

/// Event Notifications: IBM's generic contract with `more_info`.
pub(crate) fn event_notifications(status: u16, code: &str, message: &str) -> Response {
    let body = json!({
        "errors": [{
            "code": code,
            "message": message,
            "more_info": "https://cloud.ibm.com/apidocs/event-notifications",
        }],
        "trace": uuid::Uuid::new_v4().to_string(),
        "status_code": status,
    });
    answer(status, body)
}

/// What a service says for a status that a fault asked for.
pub(crate) fn of(service: Service, status: u16) -> Response {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("unknown status");
    let code = reason.to_lowercase().replace(' ', "_");
    match service {
        Service::CodeEngine => code_engine(status, &code, reason),
        Service::EventNotifications => event_notifications(status, &code, reason),
        Service::Iam => iam(
            status,
            &format!("BXNIM0{status}E"),
            reason,
            "made by a fault",
        ),
        Service::SecretsManager => secrets_manager(status, &code, reason),
    }
}

fn answer(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}
