//! What each kind of fault does to a request and its answer.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};

use super::{Active, FaultKind, Shaped, echo};
use crate::Cloud;
use crate::http::Ending;
use crate::journal::Service;
use crate::problems::{self, TRANSACTION_ID};
use crate::store::lock;

/// Answers a request under a fault.
pub(super) async fn strike(
    cloud: &Cloud,
    active: &Active,
    service: Service,
    request: Request,
    next: Next,
) -> Response {
    let request = heard(request).await;
    match &active.fault.kind {
        FaultKind::Answer {
            status,
            content_type,
            body,
        } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
            (
                status,
                [(header::CONTENT_TYPE, content_type.clone())],
                body.clone(),
            )
                .into_response()
        }
        FaultKind::CloseSecond => ended(Ending::Close),
        FaultKind::Delay(_) => next.run(request).await,
        FaultKind::Drip { bytes, every } => drip(next.run(request).await, *bytes, *every).await,
        FaultKind::DripBody(every) => drip_body(next.run(request).await, *every).await,
        FaultKind::DripHead(every) => ended(Ending::DripHead(*every)),
        FaultKind::Echo(status) => echo::refusal(cloud, service, *status, request).await,
        FaultKind::EchoIn { fields, secret } => echo::answer(fields, *secret, request, next).await,
        FaultKind::Hold => {
            park(active).await;
            next.run(request).await
        }
        FaultKind::HoldAnswer => {
            let response = next.run(request).await;
            park(active).await;
            response
        }
        FaultKind::Huge(bytes) => {
            let mut response = huge(*bytes);
            response.extensions_mut().insert(Shaped);
            response
        }
        FaultKind::NotJson => {
            let page = "<html><head><title>Welcome</title></head><body>gateway</body></html>";
            ([(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        FaultKind::Override(fields) => {
            changed(next.run(request).await, |body| body.extend(fields.clone())).await
        }
        FaultKind::Redirect(url) => (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, url.clone())],
        )
            .into_response(),
        FaultKind::ResetAfter => {
            drop(next.run(request).await);
            ended(Ending::Reset)
        }
        FaultKind::ResetBefore => ended(Ending::Reset),
        FaultKind::Silent => {
            park(active).await;
            ended(Ending::Close)
        }
        FaultKind::Status(status) => problems::of(service, *status),
        FaultKind::StatusAfter(status) => {
            drop(next.run(request).await);
            problems::of(service, *status)
        }
        FaultKind::StatusRetryAfter(status, after) => {
            let mut response = problems::of(service, *status);
            if let Ok(value) = HeaderValue::from_str(after) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
        FaultKind::StatusTransactionId(status, id) => {
            let response = problems::of(service, *status);
            let mut response = changed(response, |body| drop(body.remove("trace"))).await;
            if let Ok(value) = HeaderValue::from_str(id) {
                response.headers_mut().insert(TRANSACTION_ID, value);
            }
            response
        }
        FaultKind::Truncated => {
            let (mut parts, whole) = pieces(next.run(request).await, usize::MAX).await;
            let whole = whole.into_iter().next().unwrap_or_default();
            parts
                .headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
            let half = whole.slice(..whole.len() / 2);
            // hyper sends what it has only when the body pauses.
            let cut = futures_util::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("truncated by a fault"))
            });
            let body = Body::from_stream(futures_util::stream::iter([Ok(half)]).chain(cut));
            let mut response = Response::from_parts(parts, body);
            response.extensions_mut().insert(Shaped);
            response
        }
        FaultKind::Without(names) => without(next.run(request).await, names).await,
    }
}

/// The answer in pieces, with a pause before each.
pub(crate) async fn drip(response: Response, bytes: usize, every: Duration) -> Response {
    let (parts, pieces) = pieces(response, bytes).await;
    let slow = futures_util::stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(every).await;
        Ok::<_, std::io::Error>(piece)
    });
    Response::from_parts(parts, Body::from_stream(slow))
}

/// The body byte by byte; before its last byte, white space for ever.
async fn drip_body(response: Response, every: Duration) -> Response {
    let (parts, whole) = pieces(response, 1).await;
    let endless = std::iter::repeat_with(|| Bytes::from_static(b" "));
    let before_last = whole.len().saturating_sub(1);
    let bytes = whole.into_iter().take(before_last).chain(endless);
    let slow = futures_util::stream::iter(bytes).then(move |byte| async move {
        tokio::time::sleep(every).await;
        Ok::<_, std::io::Error>(byte)
    });
    let mut response = Response::from_parts(parts, Body::from_stream(slow));
    response.extensions_mut().insert(Shaped);
    response
}

/// The request with its body read: who answers before that, and closes, may never be heard.
async fn heard(request: Request) -> Request {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    Request::from_parts(parts, Body::from(body))
}

async fn park(active: &Active) {
    let mut released = active.released.subscribe();
    lock(&active.counts).parked += 1;
    active.changed.notify_all();
    // An error means that the guard is gone, which releases too.
    let _ = released.wait_for(|released| *released).await;
}

async fn pieces(response: Response, bytes: usize) -> (axum::http::response::Parts, Vec<Bytes>) {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    let pieces = whole
        .chunks(bytes.max(1))
        .map(|piece| whole.slice_ref(piece))
        .collect();
    (parts, pieces)
}

fn huge(bytes: u64) -> Response {
    const PIECE: &[u8] = &[b'x'; 16 * 1024];
    let count = bytes / 16_384 + 1;
    let middle = (0..count).map(|_| Bytes::from_static(PIECE));
    let whole = std::iter::once(Bytes::from_static(b"{\"padding\":\""))
        .chain(middle)
        .chain(std::iter::once(Bytes::from_static(b"\"}")))
        .map(Ok::<_, std::io::Error>);
    let body = Body::from_stream(futures_util::stream::iter(whole));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn without(mut response: Response, names: &[String]) -> Response {
    for name in names {
        response.headers_mut().remove(name.as_str());
    }
    changed(response, |body| {
        body.retain(|name, _| !names.contains(name))
    })
    .await
}

/// The answer with its JSON object changed; any other answer as it is.
pub(super) async fn changed(
    response: Response,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Response {
    let (parts, whole) = pieces(response, usize::MAX).await;
    let whole = whole.into_iter().next().unwrap_or_default();
    match serde_json::from_slice(&whole) {
        Ok(Value::Object(mut body)) => {
            change(&mut body);
            Response::from_parts(parts, Body::from(Value::Object(body).to_string()))
        }
        _ => Response::from_parts(parts, Body::from(whole)),
    }
}

/// No answer: the connection ends.
fn ended(ending: Ending) -> Response {
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(ending);
    response
}
