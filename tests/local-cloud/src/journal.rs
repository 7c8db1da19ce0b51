//! What was asked, in order. Never a token, a key or a body.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::clock;

/// One of the four services.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Code Engine v2.
    CodeEngine,
    /// Event Notifications v1.
    EventNotifications,
    /// The token service.
    Iam,
    /// Secrets Manager v2.
    SecretsManager,
}

/// One request and how it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Counts from 1 over all services, in order of arrival; `clear_journal` does not reset it.
    pub sequence: u64,
    /// Who was asked.
    pub service: Service,
    /// HTTP method.
    pub method: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent; empty if none.
    pub query: String,
    /// Method and path template, as in [`crate::route`]; `None` for a path that does not exist.
    pub route: Option<String>,
    /// Status answered; `None` while under way, and for a connection that was reset.
    pub status: Option<u16>,
    /// The `If-Match` header.
    pub if_match: Option<String>,
    /// `accept`, `content-type`, `user-agent` and `x-correlation-id`, where sent.
    pub headers: BTreeMap<String, String>,
    /// Number of the TCP connection; `None` for Event Notifications' own calls of Code Engine,
    /// which need no socket here.
    pub connection: Option<u64>,
    /// Time of arrival, RFC 3339.
    pub time: String,
}

/// All entries since the last `clear`.
#[derive(Default)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    entries: Vec<Entry>,
}

impl Journal {
    /// Enters a request; returns its sequence number.
    pub(crate) fn open(&self, service: Service, request: &axum::extract::Request) -> u64 {
        let arrival = request.extensions().get::<crate::http::Arrival>();
        let uri = arrival.map_or_else(|| request.uri(), |arrival| &arrival.uri);
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut inner = crate::store::lock(&self.inner);
        inner.last += 1;
        let sequence = inner.last;
        inner.entries.push(Entry {
            sequence,
            service,
            method: request.method().to_string(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            route: crate::http::route_of(request),
            status: None,
            if_match: header("if-match"),
            headers: ["accept", "content-type", "user-agent", "x-correlation-id"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), header(name)?)))
                .collect(),
            connection: arrival.and_then(|arrival| arrival.connection),
            time: clock::millis(clock::now()),
        });
        sequence
    }

    pub(crate) fn close(&self, sequence: u64, status: u16) {
        let mut inner = crate::store::lock(&self.inner);
        if let Some(entry) = inner
            .entries
            .iter_mut()
            .rfind(|entry| entry.sequence == sequence)
        {
            entry.status = Some(status);
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        crate::store::lock(&self.inner).entries.clone()
    }

    pub(crate) fn clear(&self) {
        crate::store::lock(&self.inner).entries.clear();
    }
}
