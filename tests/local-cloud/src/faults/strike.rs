//! What each kind of fault does to a request and its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::response::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};

use super::{Active, FaultKind, Shaped, echo};
use crate::Cloud;
use crate::http::{Ending, served};
use crate::journal::Service;
use crate::problems::{Problem, TRANSACTION_ID};
use crate::store::lock;

/// Answers a request under a fault.
pub(super) async fn strike(
    cloud: &Arc<Cloud>,
    active: &Active,
    service: Service,
    request: Request,
) -> Response {
    // who answers before the body is read, and closes, may never be heard
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let request = Request::from_parts(parts, Body::from(body));
    let refused = |status: &u16| Problem::of(*status).shaped(service);
    let answer = |content_type: &str, body: Body| {
        let content_type = [(header::CONTENT_TYPE, content_type.to_owned())];
        (content_type, body).into_response()
    };
    let done = async |request| served(cloud, service, request).await;
    match &active.fault.kind {
        FaultKind::Answer { status, content_type, body } => {
            let mut response = answer(content_type, Body::from(body.clone()));
            *response.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
            response
        }
        FaultKind::CloseSecond => ended(Ending::Close),
        FaultKind::Delay(_) => done(request).await,
        FaultKind::Drip { bytes, every } => drip(done(request).await, *bytes, *every).await,
        FaultKind::DripBody(every) => drip_body(done(request).await, *every).await,
        FaultKind::DripHead(every) => ended(Ending::DripHead(*every)),
        FaultKind::Echo(status) => echo::refusal(cloud, service, *status, request).await,
        FaultKind::EchoIn { fields, secret } => {
            echo::answer(cloud, service, fields, *secret, request).await
        }
        FaultKind::Hold => {
            park(active).await;
            done(request).await
        }
        FaultKind::HoldAnswer => {
            let response = done(request).await;
            park(active).await;
            response
        }
        FaultKind::Huge(bytes) => {
            let pieces = std::iter::repeat_n("x".repeat(16 * 1024), (bytes / 16_384 + 1) as usize);
            let whole = std::iter::once("{\"padding\":\"".to_owned()).chain(pieces);
            let whole = whole.chain(["\"}".to_owned()]).map(Ok::<_, std::io::Error>);
            let body = Body::from_stream(futures_util::stream::iter(whole));
            shaped(answer("application/json", body))
        }
        FaultKind::NotJson => {
            let page = "<html><head><title>Welcome</title></head><body>gateway</body></html>";
            answer("text/html", page.into())
        }
        FaultKind::Override(fields) => {
            changed(done(request).await, |body| body.extend(fields.clone())).await
        }
        FaultKind::Redirect(url) => {
            let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
            set(&mut response, header::LOCATION, url);
            response
        }
        FaultKind::ResetAfter => {
            drop(done(request).await);
            ended(Ending::Reset)
        }
        FaultKind::ResetBefore => ended(Ending::Reset),
        FaultKind::Silent => {
            park(active).await;
            ended(Ending::Close)
        }
        FaultKind::Status(status) => refused(status),
        FaultKind::StatusAfter(status) => {
            drop(done(request).await);
            refused(status)
        }
        FaultKind::StatusRetryAfter(status, after) => {
            let mut response = refused(status);
            set(&mut response, header::RETRY_AFTER, after);
            response
        }
        FaultKind::StatusTransactionId(status, id) => {
            let mut response = changed(refused(status), |body| drop(body.remove("trace"))).await;
            set(&mut response, HeaderName::from_static(TRANSACTION_ID), id);
            response
        }
        FaultKind::Truncated => {
            let (mut parts, whole) = whole(done(request).await).await;
            let length = HeaderValue::from(whole.len());
            parts.headers.insert(header::CONTENT_LENGTH, length);
            let half = whole.slice(..whole.len() / 2);
            // hyper sends what it has only when the body pauses.
            let cut = futures_util::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("truncated by a fault"))
            });
            let body = futures_util::stream::iter([Ok(half)]).chain(cut);
            shaped(Response::from_parts(parts, Body::from_stream(body)))
        }
        FaultKind::Without(names) => {
            let mut response = done(request).await;
            for name in names {
                response.headers_mut().remove(name.as_str());
            }
            changed(response, |body| body.retain(|name, _| !names.contains(name))).await
        }
    }
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn shaped(mut response: Response) -> Response {
    response.extensions_mut().insert(Shaped);
    response
}

/// No answer: the connection ends.
fn ended(ending: Ending) -> Response {
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(ending);
    response
}

async fn park(active: &Active) {
    let mut released = active.released.subscribe();
    lock(&active.counts).parked += 1;
    active.changed.notify_all();
    // An error means that the guard is gone, which releases too.
    let _ = released.wait_for(|released| *released).await;
}

/// The answer in pieces, with a pause before each.
pub(crate) async fn drip(response: Response, bytes: usize, every: Duration) -> Response {
    let (parts, whole) = whole(response).await;
    let pieces: Vec<_> = whole.chunks(bytes.max(1)).map(|piece| whole.slice_ref(piece)).collect();
    slowly(parts, pieces, every)
}

/// The body byte by byte; before its last byte, white space for ever.
async fn drip_body(response: Response, every: Duration) -> Response {
    let (parts, whole) = whole(response).await;
    let before_last = whole.len().saturating_sub(1);
    let endless = std::iter::repeat(Bytes::from_static(b" "));
    let bytes = (0..before_last).map(move |at| whole.slice(at..=at));
    shaped(slowly(parts, bytes.chain(endless), every))
}

fn slowly<I>(parts: Parts, pieces: I, every: Duration) -> Response
where
    I: IntoIterator<Item = Bytes, IntoIter: Send + 'static>,
{
    let slow = futures_util::stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(every).await;
        Ok::<_, std::io::Error>(piece)
    });
    Response::from_parts(parts, Body::from_stream(slow))
}

async fn whole(response: Response) -> (Parts, Bytes) {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts, to_bytes(body, usize::MAX).await.unwrap_or_default())
}

/// The answer with its JSON object changed; any other answer as it is.
pub(super) async fn changed(
    response: Response,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Response {
    let (parts, whole) = whole(response).await;
    match serde_json::from_slice(&whole) {
        Ok(Value::Object(mut body)) => {
            change(&mut body);
            Response::from_parts(parts, Body::from(Value::Object(body).to_string()))
        }
        _ => Response::from_parts(parts, Body::from(whole)),
    }
}
