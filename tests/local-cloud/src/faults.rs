//! Faults per route: harm that happens only when asked, and is over when its guard is dropped.
//!
//! Not here: the harmless freedom that is always on (`http`).

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::sync::watch;

use crate::http::Reset;
use crate::journal::Service;
use crate::problems;
use crate::store::lock;

/// What goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Any answer instead of the service's own; nothing is done.
    Answer {
        /// Status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// Body.
        body: String,
    },
    /// Wait, then go on as usual. Adds to other faults of the same request.
    Delay(#[serde(deserialize_with = "milliseconds")] Duration),
    /// Done and answered as usual, but `bytes` at a time with a pause before each piece.
    Drip {
        /// Size of a piece.
        bytes: usize,
        /// Pause before each piece.
        #[serde(deserialize_with = "milliseconds")]
        every: Duration,
    },
    /// The request is parked, nothing done, until the guard releases it.
    Hold,
    /// Done, but the answer is parked until the guard releases it.
    HoldAnswer,
    /// 200 with a JSON body of about so many bytes; nothing is done.
    Huge(u64),
    /// 200 with a page of HTML, as gateways send it; nothing is done.
    NotJson,
    /// 307 to this URL; nothing is done.
    Redirect(String),
    /// The connection is reset after the effect: done, no answer.
    ResetAfter,
    /// The connection is reset before the effect.
    ResetBefore,
    /// This status in the service's own error shape; nothing is done.
    Status(u16),
    /// This status in the service's own error shape, though it was done.
    StatusAfter(u16),
    /// As `Status`, with a `Retry-After` header.
    StatusRetryAfter(u16, String),
    /// Done; the answer promises its whole length, half of it comes, then the connection closes.
    Truncated,
    /// Done; these headers and top-level fields are left out of the answer.
    Without(Vec<String>),
}

fn milliseconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

/// A fault and where it strikes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    kind: FaultKind,
    #[serde(default)]
    route: Option<String>,
    #[serde(default)]
    service: Option<Service>,
    #[serde(default)]
    path_contains: Option<String>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    times: Option<u32>,
    #[serde(default)]
    skip: u32,
}

impl Fault {
    /// On one route: method and path template, see [`crate::route`].
    pub fn on(route: &str, kind: FaultKind) -> Self {
        let route = Some(route.to_owned());
        Self {
            kind,
            route,
            service: None,
            path_contains: None,
            host: None,
            times: None,
            skip: 0,
        }
    }

    /// On every request to one service.
    pub fn anywhere(service: Service, kind: FaultKind) -> Self {
        let service = Some(service);
        Self {
            kind,
            route: None,
            service,
            path_contains: None,
            host: None,
            times: None,
            skip: 0,
        }
    }

    /// Strikes so many times, then never again. Without: as long as the guard lives.
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// Lets the first so many matching requests pass.
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Only where the path holds this text: one secret, one project.
    pub fn path_contains(self, text: &str) -> Self {
        Self {
            path_contains: Some(text.to_owned()),
            ..self
        }
    }

    /// Only for clients that call us by this name: `localhost` or `127.0.0.1` tell two apart.
    pub fn host(self, name: &str) -> Self {
        Self {
            host: Some(name.to_owned()),
            ..self
        }
    }

    fn matches(&self, service: Service, route: Option<&str>, request: &Request) -> bool {
        let path = request.uri().path();
        let host = || request.headers().get(header::HOST)?.to_str().ok();
        self.route
            .as_deref()
            .is_none_or(|wanted| Some(wanted) == route)
            && self.service.is_none_or(|wanted| wanted == service)
            && self
                .path_contains
                .as_deref()
                .is_none_or(|text| path.contains(text))
            && self
                .host
                .as_deref()
                .is_none_or(|name| host().is_some_and(|host| host.split(':').next() == Some(name)))
    }
}

struct Active {
    fault: Fault,
    counts: Mutex<Counts>,
    changed: Condvar,
    released: watch::Sender<bool>,
}

#[derive(Default)]
struct Counts {
    seen: u32,
    struck: u32,
    parked: u32,
}

/// All faults that are switched on.
#[derive(Default)]
pub(crate) struct Faults {
    active: Mutex<Vec<Arc<Active>>>,
}

impl Faults {
    pub(crate) fn set(self: &Arc<Self>, fault: Fault) -> FaultGuard {
        let active = Arc::new(Active {
            fault,
            counts: Mutex::default(),
            changed: Condvar::new(),
            released: watch::Sender::new(false),
        });
        lock(&self.active).push(active.clone());
        FaultGuard {
            faults: self.clone(),
            active,
        }
    }

    /// The faults that strike this request: every delay, and the first of another kind.
    fn strike(&self, service: Service, route: Option<&str>, request: &Request) -> Vec<Arc<Active>> {
        let mut striking: Vec<Arc<Active>> = Vec::new();
        for active in lock(&self.active).iter() {
            let delay = matches!(active.fault.kind, FaultKind::Delay(_));
            let taken = |a: &Arc<Active>| !matches!(a.fault.kind, FaultKind::Delay(_));
            if !active.fault.matches(service, route, request)
                || (!delay && striking.iter().any(taken))
            {
                continue;
            }
            let mut counts = lock(&active.counts);
            counts.seen += 1;
            let spent = active
                .fault
                .times
                .is_some_and(|times| counts.struck >= times);
            if counts.seen > active.fault.skip && !spent {
                counts.struck += 1;
                active.changed.notify_all();
                striking.push(active.clone());
            }
        }
        striking
    }
}

/// Switches its fault off when dropped, and lets go of what is parked.
#[must_use = "the fault is lifted when its guard is dropped"]
pub struct FaultGuard {
    faults: Arc<Faults>,
    active: Arc<Active>,
}

impl FaultGuard {
    /// How many requests it has struck.
    pub fn struck(&self) -> u32 {
        lock(&self.active.counts).struck
    }

    /// Waits until at least `count` requests have been parked here in all.
    pub fn wait_parked(&self, count: u32, timeout: Duration) -> anyhow::Result<()> {
        let counts = lock(&self.active.counts);
        let (counts, timed_out) = self
            .active
            .changed
            .wait_timeout_while(counts, timeout, |counts| counts.parked < count)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        anyhow::ensure!(
            !timed_out.timed_out(),
            "{} of {count} requests parked at {:?} within {timeout:?}",
            counts.parked,
            self.active.fault.route,
        );
        Ok(())
    }

    /// Lets go of what is parked; later requests pass without a stop.
    pub fn release(&self) {
        self.active.released.send_replace(true);
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        lock(&self.faults.active).retain(|active| !Arc::ptr_eq(active, &self.active));
        self.release();
    }
}

/// Marks an answer whose body is the fault: it goes out as it is.
#[derive(Clone)]
pub(crate) struct Shaped;

/// Runs one request under the faults that strike it.
pub(crate) async fn run(
    faults: &Faults,
    service: Service,
    request: Request,
    next: Next,
) -> Response {
    let route = crate::http::route_of(&request);
    let striking = faults.strike(service, route.as_deref(), &request);
    let mut worst = None;
    for active in striking {
        match &active.fault.kind {
            FaultKind::Delay(time) => tokio::time::sleep(*time).await,
            _ => worst = Some(active),
        }
    }
    match worst {
        None => next.run(request).await,
        Some(active) => strike(&active, service, request, next).await,
    }
}

async fn strike(active: &Active, service: Service, request: Request, next: Next) -> Response {
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
        FaultKind::Delay(_) => next.run(request).await,
        FaultKind::Drip { bytes, every } => drip(next.run(request).await, *bytes, *every).await,
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
        FaultKind::Redirect(url) => (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, url.clone())],
        )
            .into_response(),
        FaultKind::ResetAfter => {
            let mut response = next.run(request).await;
            response.extensions_mut().insert(Reset);
            response
        }
        FaultKind::ResetBefore => {
            let mut response = StatusCode::OK.into_response();
            response.extensions_mut().insert(Reset);
            response
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

async fn without(response: Response, names: &[String]) -> Response {
    let (mut parts, whole) = pieces(response, usize::MAX).await;
    for name in names {
        parts.headers.remove(name.as_str());
    }
    let whole = whole.into_iter().next().unwrap_or_default();
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&whole) else {
        return Response::from_parts(parts, Body::from(whole));
    };
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !names.contains(name));
    }
    Response::from_parts(parts, Body::from(value.to_string()))
}
