//! What was asked, in order. Never a token, a key or a body.

use std::sync::Mutex;

use axum::extract::Request;
use serde::{Deserialize, Serialize};

use crate::http::Arrival;
use crate::store::lock;

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
    sequence: u64,
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
    /// Number of the TCP connection; `None` for Event Notifications' own calls of Code Engine,
    /// which need no socket here.
    pub connection: Option<u64>,
}

/// All entries since the last `clear`, and how many there ever were.
#[derive(Default)]
pub(crate) struct Journal(Mutex<(u64, Vec<Entry>)>);

impl Journal {
    /// Enters a request; returns its number over all services, from 1.
    pub(crate) fn open(&self, service: Service, route: Option<String>, request: &Request) -> u64 {
        let if_match = request.headers().get("if-match");
        let arrival = request.extensions().get::<Arrival>();
        let (last, entries) = &mut *lock(&self.0);
        *last += 1;
        entries.push(Entry {
            sequence: *last,
            service,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            route,
            status: None,
            if_match: if_match.map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned()),
            connection: arrival.map(|arrival| arrival.connection),
        });
        *last
    }

    pub(crate) fn close(&self, sequence: u64, status: u16) {
        let mut entries = lock(&self.0);
        let mut found = entries.1.iter_mut().rev();
        if let Some(entry) = found.find(|entry| entry.sequence == sequence) {
            entry.status = Some(status);
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        lock(&self.0).1.clone()
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).1.clear();
    }
}
