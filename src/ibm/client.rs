//! One HTTP client for all services: TLS, time limits, repetitions, size limits.
//!
//! Belongs here: how a request travels, and how an answer becomes bytes or a [`ApiError`]. Does not:
//! tokens (`iam.rs`), nor what an answer means to a step. A PUT or PATCH is never repeated here:
//! whether it took effect is for the caller to find out.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, RustlsConnector, TcpConnector, Transport,
};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::stop::Stop;
use crate::text::sanitized;

/// For one TCP connection and TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// For one request, from the look-up of the name to the last byte of the answer.
const CALL: Duration = Duration::from_secs(30);
/// Connections to one host that are kept for the next request: as many as ask side by side
/// (`workers.rs`). There are three hosts.
const KEPT: usize = 8;
/// Bytes of each of the buffers of a connection: one TLS record (RFC 8446 section 5.1), and more than
/// the headers of any request. The library's own 128 KiB are most of the memory of a run.
const BUFFER: usize = 16 * 1024;
/// The largest answer: a certificate secret is at most about 400 KB (100 KB per field).
const LARGEST_ANSWER: u64 = 2 * 1024 * 1024;
/// The waits between repetitions of a read, before jitter: about 35 s in all, since Secrets Manager
/// may be away for up to 30 s during a fail-over.
const WAITS: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(6),
    Duration::from_secs(12),
    Duration::from_secs(12),
];
/// The longest `Retry-After` that we follow; beyond it the run fails and Code Engine starts another.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A request that is not sent yet.
pub struct Request<'a> {
    /// The method; `GET` and the token call are reads, which may be repeated.
    pub method: Method,
    /// The whole URL.
    pub url: &'a str,
    /// Headers beyond those that every request carries.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body, empty for none.
    pub body: &'a [u8],
}

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Reads.
    Get,
    /// Asks for a token: changes nothing either.
    Post,
    /// Replaces.
    Put,
    /// Changes a part.
    Patch,
}

/// A successful answer (status 2xx).
pub struct Answer {
    /// The `ETag` header as received.
    pub etag: Option<String>,
    /// The body; wiped when dropped, since it may hold a key.
    pub body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The body as a document of type `T`.
    ///
    /// # Errors
    /// The place where it is no such document. Nothing of the body: serde quotes what it did not
    /// expect, and that can be a key.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| {
            anyhow!(
                "its answer is not the document that its API describes ({:?} error in line {}, column {})",
                e.classify(),
                e.line(),
                e.column()
            )
        })
    }
}

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
    /// The run is over.
    Stopped(Error),
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
            Self::Stopped(_) | Self::NoToken(_) | Self::Unexpected(_) => false,
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
            Self::Status { .. } | Self::Stopped(_) | Self::NoToken(_) => Fate::Rejected,
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
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { cause, .. } => f.write_str(cause),
            Self::Status { text, .. } => f.write_str(text),
            Self::Stopped(error) | Self::NoToken(error) => error.fmt(f),
            Self::Unexpected(cause) => write!(f, "{cause:#}"),
        }
    }
}

/// The HTTP client.
pub struct Http {
    agent: ureq::Agent,
    proxy: Option<ureq::Proxy>,
    stop: Arc<Stop>,
    now: UnixTime,
}

impl Http {
    /// Makes the client, which trusts `further_roots` beside the built-in ones, and goes through
    /// `proxy` where it speaks HTTPS. `now` is the start of the run.
    #[must_use]
    pub fn new(
        further_roots: &[CertificateDer<'static>],
        proxy: Option<ureq::Proxy>,
        stop: Arc<Stop>,
        now: UnixTime,
    ) -> Self {
        let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let further = further_roots.iter();
        let roots: Vec<_> = built_in
            .map(|der| Certificate::from_der(der))
            .chain(further.map(|der| Certificate::from_der(der).to_owned()))
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(3 * KEPT)
            .max_idle_connections_per_host(KEPT)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // it would be taken from the process environment, and a wrong one left out in silence
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("sm-tls-sync/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(OneTlsConfig(RustlsConnector::default()));
        Self {
            agent: ureq::Agent::with_parts(config, connector, DefaultResolver::default()),
            proxy,
            stop,
            now,
        }
    }

    /// Sends a read until it is answered for good: again after a broken connection, 408, 429 and
    /// 5xx, with growing waits, over about 35 s.
    ///
    /// # Errors
    /// The last [`ApiError`].
    pub fn read(&self, request: &Request<'_>) -> Result<Answer, ApiError> {
        for wait in WAITS {
            let failure = match self.once(request) {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.temporary() => failure,
                Err(failure) => return Err(failure),
            };
            let wait = match &failure {
                ApiError::Status {
                    retry_after: Some(asked),
                    ..
                } => *asked,
                _ => jitter(wait),
            };
            if wait > LONGEST_RETRY_AFTER || wait >= self.stop.left(Duration::MAX) {
                return Err(failure);
            }
            log::warn!("{failure}: again in {:.1} s", wait.as_secs_f32());
            self.stop.wait(wait).map_err(ApiError::Stopped)?;
        }
        self.once(request)
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// A [`ApiError`]; the request may have taken effect nevertheless.
    pub fn once(&self, request: &Request<'_>) -> Result<Answer, ApiError> {
        self.stop.check().map_err(ApiError::Stopped)?;
        let sent = match request.method {
            Method::Get => self.prepared(self.agent.get(request.url), request).call(),
            Method::Post => self
                .prepared(self.agent.post(request.url), request)
                .send(request.body),
            Method::Put => self
                .prepared(self.agent.put(request.url), request)
                .send(request.body),
            Method::Patch => self
                .prepared(self.agent.patch(request.url), request)
                .send(request.body),
        };
        let mut response = sent.map_err(|e| unanswered(request, &e))?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (etag, retry_after) = (header("etag"), header("retry-after"));
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(LARGEST_ANSWER)
            .read_to_vec()
            .map(Zeroizing::new);
        if (200..300).contains(&status) {
            let body = body.map_err(|e| unanswered(request, &e))?;
            return Ok(Answer { etag, body });
        }
        let problem = Problem::read(&body.unwrap_or_default());
        Err(ApiError::Status {
            status,
            text: format!("{} answered {status}{problem}", origin(request.url)),
            code: problem.code,
            retry_after: retry_after.and_then(|value| self.retry_after(&value)),
        })
    }

    /// Headers, time limit and proxy; plain HTTP goes to loopback only, and past every proxy.
    fn prepared<T>(
        &self,
        mut builder: ureq::RequestBuilder<T>,
        request: &Request<'_>,
    ) -> ureq::RequestBuilder<T> {
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        let proxy = self
            .proxy
            .as_ref()
            .filter(|_| request.url.starts_with("https://"));
        builder
            .config()
            .timeout_global(Some(self.stop.left(CALL)))
            .proxy(proxy.cloned())
            .build()
    }

    /// `Retry-After` in both its forms (RFC 9110 section 10.2.3): seconds, or a date.
    fn retry_after(&self, value: &str) -> Option<Duration> {
        if let Ok(seconds) = value.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = http_date(value.trim())?;
        // `now` is the start of the run: the wait errs on the long side by the run's age
        Some(Duration::from_secs(date.saturating_sub(self.now.as_secs())))
    }
}

/// TLS with one configuration for all connections. The library would make a new one, all roots
/// included, for each connection of a request that has settings of its own; ours have, their time
/// limits. What TLS needs is the same for all.
#[derive(Debug)]
struct OneTlsConfig(RustlsConnector);

impl<In: Transport> Connector<In> for OneTlsConfig {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let details = ConnectionDetails {
            request_level: false,
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        self.0.connect(&details, chained)
    }
}

/// Reads roots to trust from PEM.
///
/// # Errors
/// If there is none, or one that cannot be a root: the client would leave it out in silence.
pub fn read_roots(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow!("a PEM block of it is damaged"))?;
    ensure!(!roots.is_empty(), "it holds no PEM block CERTIFICATE");
    let mut store = RootCertStore::empty();
    for root in &roots {
        store
            .add(root.clone())
            .context("a certificate of it cannot be used as a root")?;
    }
    Ok(roots)
}

/// Names the failure of a request without an answer: never its body, nor its query.
fn unanswered(request: &Request<'_>, error: &ureq::Error) -> ApiError {
    let origin = origin(request.url);
    let (cause, unreachable, temporary) = match error {
        ureq::Error::HostNotFound => (
            format!("the name of {origin} cannot be resolved"),
            true,
            true,
        ),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => (
            format!("{origin} cannot be reached within {} s", CONNECT.as_secs()),
            true,
            true,
        ),
        ureq::Error::Timeout(_) => (format!("{origin} did not answer in time"), false, true),
        ureq::Error::BodyExceedsLimit(limit) => (
            format!("the answer of {origin} is larger than {limit} bytes"),
            false,
            false,
        ),
        ureq::Error::ConnectProxyFailed(_) => (
            format!("the proxy makes no connection to {origin}"),
            true,
            true,
        ),
        ureq::Error::ConnectionFailed => (format!("{origin} cannot be reached"), true, true),
        ureq::Error::Io(e) => {
            let tls = e
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match tls {
                Some(tls) => (
                    format!("no TLS connection to {origin}: {tls}"),
                    false,
                    false,
                ),
                None => (
                    format!("the connection to {origin} failed: {e}"),
                    matches!(
                        e.kind(),
                        io::ErrorKind::ConnectionRefused
                            | io::ErrorKind::HostUnreachable
                            | io::ErrorKind::NetworkUnreachable
                            | io::ErrorKind::AddrNotAvailable
                    ),
                    true,
                ),
            }
        }
        ureq::Error::Rustls(tls) => (
            format!("no TLS connection to {origin}: {tls}"),
            false,
            false,
        ),
        other => (
            format!("the request to {origin} failed: {other}"),
            false,
            false,
        ),
    };
    ApiError::Unanswered {
        cause,
        unreachable,
        temporary,
    }
}

/// Scheme and host of a URL: what a message may show.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url
        .get(host..)
        .and_then(|rest| rest.find('/'))
        .map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}

/// Up to a quarter more or less, so that many jobs do not come back at the same moment.
fn jitter(wait: Duration) -> Duration {
    // the standard library seeds its hashers at random: enough for this, and no crate more
    let random = RandomState::new().hash_one(0_u8);
    let percent = u32::try_from(random % 51).unwrap_or(0);
    wait * (75 + percent) / 100
}

/// What the error bodies of IBM's services have in common (go-sdk-core, `core/base_service.go`).
struct Problem {
    code: Option<String>,
    message: Option<String>,
    trace: Option<String>,
}

impl Problem {
    /// Reads code, message and trace id; from a body that is no such document, nothing.
    fn read(body: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let first = |pointers: &[&str]| {
            let found = pointers
                .iter()
                .find_map(|pointer| document.pointer(pointer)?.as_str())?;
            Some(sanitized(found))
        };
        Self {
            code: first(&["/errors/0/code", "/code", "/errorCode"]),
            message: first(&["/errors/0/message", "/error", "/message", "/errorMessage"]),
            trace: first(&["/trace", "/context/requestId"]),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(trace) = &self.trace {
            write!(f, " (trace {trace})")?;
        }
        Ok(())
    }
}

/// Seconds since the Unix epoch of an `IMF-fixdate` (RFC 9110 section 5.6.7).
fn http_date(text: &str) -> Option<u64> {
    let fields: Vec<&str> = text.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = fields.as_slice() else {
        return None;
    };
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = months.iter().zip(1..).find(|(name, _)| *name == month)?.1;
    let date = der::DateTime::new(
        year.parse().ok()?,
        month,
        day.parse().ok()?,
        hour.parse().ok()?,
        minute.parse().ok()?,
        second.parse().ok()?,
    );
    Some(date.ok()?.unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_document_of_each_service_is_understood() {
        let code_engine = br#"{"errors":[{"code":"resource_not_found","message":"Resource not found."}],"trace":"codeengine-api-01","status_code":404}"#;
        assert_eq!(
            Problem::read(code_engine).to_string(),
            " resource_not_found: Resource not found. (trace codeengine-api-01)"
        );
        let iam = br#"{"errorCode":"BXNIM0398E","errorMessage":"Selected trusted profile not eligible.","errorDetails":"names the token","context":{"requestId":"r-1"}}"#;
        assert_eq!(
            Problem::read(iam).to_string(),
            " BXNIM0398E: Selected trusted profile not eligible. (trace r-1)"
        );
        assert_eq!(Problem::read(b"<html>").to_string(), "");
    }

    #[test]
    fn retry_after_may_be_a_date() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(http_date("tomorrow"), None);
    }

    #[test]
    fn a_message_shows_no_more_than_scheme_and_host() {
        assert_eq!(
            origin("https://a.example:8443/v2/x?y=z"),
            "https://a.example:8443"
        );
        assert_eq!(origin("https://a.example"), "https://a.example");
    }
}
