//! Faults per route: harm that happens only when asked, and is over when its guard is dropped.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::Cloud;
use crate::http::{Arrival, served};
use crate::journal::Service;
use crate::store::lock;

mod echo;
mod strike;

pub(crate) use strike::drip;

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
    Delay(#[serde(deserialize_with = "crate::clock::milliseconds")] Duration),
    /// The second request on a connection is lost: nothing is done, the connection closes without an
    /// answer. First requests pass.
    CloseSecond,
    /// Done and answered as usual, but `bytes` at a time with a pause before each piece.
    Drip {
        /// Size of a piece.
        bytes: usize,
        /// Pause before each piece.
        #[serde(deserialize_with = "crate::clock::milliseconds")]
        every: Duration,
    },
    /// Done; the body comes byte by byte with this pause before each, and never ends.
    DripBody(#[serde(deserialize_with = "crate::clock::milliseconds")] Duration),
    /// Nothing is done; the head of an answer comes byte by byte with this pause before each, and
    /// never ends.
    DripHead(#[serde(deserialize_with = "crate::clock::milliseconds")] Duration),
    /// This status in the service's own error shape, where every text (`message`, `code`, `trace`,
    /// further fields) quotes the whole request: its secrets first, then head and body. So does
    /// the header `X-Transaction-Id`, as far as a header can. Nothing is done.
    Echo(u16),
    /// Done; every field of these names, at any depth, holds a secret of the run. A name that does
    /// not occur is added at the top.
    EchoIn {
        /// `name`, `id`, `format`, `entity_tag`, ….
        fields: Vec<String>,
        /// What they hold.
        secret: Quoted,
    },
    /// The request is parked, nothing done, until the guard releases it.
    Hold,
    /// Done, but the answer is parked until the guard releases it.
    HoldAnswer,
    /// 200 with a JSON body of about so many bytes; nothing is done.
    Huge(u64),
    /// 200 with a page of HTML, as gateways send it; nothing is done.
    NotJson,
    /// Done; these top-level fields have other values in the answer, whatever their type.
    Override(Map<String, Value>),
    /// 307 to this URL; nothing is done.
    Redirect(String),
    /// The connection is reset after the effect: done, no answer.
    ResetAfter,
    /// The connection is reset before the effect.
    ResetBefore,
    /// The request is read and never answered, nothing is done. The connection closes when the
    /// guard goes.
    Silent,
    /// This status in the service's own error shape; nothing is done.
    Status(u16),
    /// This status in the service's own error shape, though it was done.
    StatusAfter(u16),
    /// As `Status`, with a `Retry-After` header.
    StatusRetryAfter(u16, String),
    /// As `Status`, but without a `trace` in the body: it is in the header `X-Transaction-Id`.
    StatusTransactionId(u16, String),
    /// Done; the answer promises its whole length, half of it comes, then the connection closes.
    Truncated,
    /// Done; these headers and top-level fields are left out of the answer.
    Without(Vec<String>),
}

/// A secret that a service should never show.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quoted {
    /// The private key of the answer, or of the request.
    Key,
    /// The access token.
    Token,
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
        Self { route: Some(route.to_owned()), ..Self::of(kind) }
    }

    /// On every request to one service.
    pub fn anywhere(service: Service, kind: FaultKind) -> Self {
        Self { service: Some(service), ..Self::of(kind) }
    }

    fn of(kind: FaultKind) -> Self {
        Self {
            kind,
            route: None,
            service: None,
            path_contains: None,
            host: None,
            times: None,
            skip: 0,
        }
    }

    /// Strikes so many times, then never again. Without: as long as the guard lives.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Lets the first so many matching requests pass.
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Only where the path holds this text: one secret, one project.
    pub fn path_contains(self, text: &str) -> Self {
        Self { path_contains: Some(text.to_owned()), ..self }
    }

    /// Only for clients that call us by this name: `localhost` and `127.0.0.1` distinguish two clients.
    pub fn host(self, name: &str) -> Self {
        Self { host: Some(name.to_owned()), ..self }
    }

    fn matches(&self, service: Service, route: Option<&str>, request: &Request) -> bool {
        let path = request.uri().path();
        let host = request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()?.split(':').next());
        // calls inside the cloud have no connection
        let arrival = request.extensions().get::<Arrival>();
        let first = arrival.is_none_or(|arrival| arrival.nth == 1);
        self.route.as_deref().is_none_or(|only| Some(only) == route)
            && self.service.is_none_or(|only| only == service)
            && path.contains(self.path_contains.as_deref().unwrap_or_default())
            && self.host.as_deref().is_none_or(|only| Some(only) == host)
            && !(first && matches!(self.kind, FaultKind::CloseSecond))
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
        FaultGuard { faults: self.clone(), active }
    }

    /// The faults that strike this request: every delay, and the first of another kind.
    fn strike(&self, service: Service, route: Option<&str>, request: &Request) -> Vec<Arc<Active>> {
        let is_delay = |active: &Arc<Active>| matches!(active.fault.kind, FaultKind::Delay(_));
        let mut striking: Vec<Arc<Active>> = Vec::new();
        for active in lock(&self.active).iter() {
            let fault = &active.fault;
            let taken = !is_delay(active) && !striking.iter().all(is_delay);
            if taken || !fault.matches(service, route, request) {
                continue;
            }
            let mut counts = lock(&active.counts);
            counts.seen += 1;
            let spent = fault.times.is_some_and(|times| counts.struck >= times);
            if counts.seen > fault.skip && !spent {
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
        self.wait(|counts| counts.parked, count, timeout)
    }

    /// Waits until it has struck at least `count` requests.
    pub fn wait_struck(&self, count: u32, timeout: Duration) -> anyhow::Result<()> {
        self.wait(|counts| counts.struck, count, timeout)
    }

    fn wait(&self, of: fn(&Counts) -> u32, count: u32, timeout: Duration) -> anyhow::Result<()> {
        let (counts, changed) = (lock(&self.active.counts), &self.active.changed);
        let waited = changed.wait_timeout_while(counts, timeout, |counts| of(counts) < count);
        let (counts, timed_out) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        let (seen, route) = (of(&counts), &self.active.fault.route);
        anyhow::ensure!(!timed_out.timed_out(), "{seen} of {count} at {route:?} in {timeout:?}");
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
    cloud: &Arc<Cloud>,
    service: Service,
    route: Option<&str>,
    request: Request,
) -> Response {
    let mut worst = None;
    for active in cloud.faults.strike(service, route, &request) {
        match &active.fault.kind {
            FaultKind::Delay(time) => tokio::time::sleep(*time).await,
            _ => worst = Some(active),
        }
    }
    match worst {
        None => served(cloud, service, request).await,
        Some(active) => strike::strike(cloud, &active, service, request).await,
    }
}
