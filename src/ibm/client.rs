//! One HTTP client for all services: how a request travels, and how an answer becomes bytes or an
//! [`ApiError`]. A PUT or PATCH is never repeated here: whether it took effect is for the caller to
//! find out.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::http::HeaderMap;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, RustlsConnector, TcpConnector,
};
use zeroize::Zeroizing;

use crate::ibm::api_error::problem;
pub use crate::ibm::api_error::{ApiError, Fate};
use crate::ibm::names::Names;
use crate::secret::read_wiped;
use crate::text::sanitized;
use crate::workers::pause;

/// For looking up a name, and again for one TCP connection and TLS handshake.
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
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;
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
/// A name that was never found is tried for so long: nothing says that it will ever exist.
const UNKNOWN_NAME: Duration = Duration::from_secs(10);
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

impl Method {
    const fn writes(self) -> bool {
        matches!(self, Self::Put | Self::Patch)
    }
}

/// A successful answer (status 2xx).
pub struct Answer {
    /// The `ETag` header as received.
    pub etag: Option<String>,
    /// The body; wiped when dropped, since it may hold a key.
    pub body: Zeroizing<Vec<u8>>,
}

/// The HTTP client.
pub struct Http {
    agent: ureq::Agent,
    names: Names,
    /// Whether a write got no answer: a gateway may have closed the connection under us, and would do
    /// so again. From then on each write has a connection of its own.
    lost_a_write: AtomicBool,
    /// No wait is begun that would outlast the run: the failure says more than the interruption.
    end: Instant,
}

impl Http {
    /// Makes the client, which trusts `further_roots` in addition to the built-in ones, and goes
    /// through `proxy` where it speaks HTTPS. `end` is when the run must end.
    #[must_use]
    pub fn new(
        further_roots: &[CertificateDer<'static>],
        proxy: Option<ureq::Proxy>,
        end: Instant,
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
            // if none is set, it is taken from the process environment, and a bad one is ignored silently
            .proxy(proxy)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(CALL))
            .user_agent(concat!("sm-tls-sync/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(RustlsConnector::default());
        let names = Names::default();
        Self {
            agent: ureq::Agent::with_parts(config, connector, names.clone()),
            names,
            lost_a_write: AtomicBool::new(false),
            end,
        }
    }

    /// Sends a read until it is answered for good: again after a broken connection, 408, 429 and
    /// 5xx, with growing waits, over about 35 s.
    ///
    /// # Errors
    /// The last [`ApiError`].
    pub fn read(&self, request: &Request<'_>) -> Result<Answer, ApiError> {
        let begin = Instant::now();
        let mut waits = WAITS.into_iter();
        loop {
            let failure = match self.send(request) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(wait) = waits.next().filter(|_| failure.temporary()) else {
                return Err(failure);
            };
            let asked = match &failure {
                ApiError::Status { retry_after, .. } => retry_after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            // a service in trouble that says "at once" would use up our patience in no time
            let wait = jitter(wait).max(asked);
            let is_long = begin.elapsed() + wait > UNKNOWN_NAME;
            let in_vain = is_long && self.names.is_unknown(request.url);
            let left = self.end.saturating_duration_since(Instant::now());
            if in_vain || wait > LONGEST_RETRY_AFTER || wait >= left {
                return Err(failure);
            }
            log::warn!("{failure}; retrying in {:.1} s", wait.as_secs_f32());
            pause(wait);
        }
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// An [`ApiError`]; the request may have taken effect nevertheless.
    pub fn once(&self, request: &Request<'_>) -> Result<Answer, ApiError> {
        let answer = self.send(request);
        if request.method.writes() && matches!(answer, Err(ApiError::Unanswered { .. })) {
            self.lost_a_write.store(true, Ordering::Relaxed);
        }
        answer
    }

    fn send(&self, request: &Request<'_>) -> Result<Answer, ApiError> {
        let (agent, url) = (&self.agent, request.url);
        let sent = match request.method {
            Method::Get => self.prepared(agent.get(url), request).call(),
            Method::Post => self.prepared(agent.post(url), request).send(request.body),
            Method::Put => self.prepared(agent.put(url), request).send(request.body),
            Method::Patch => self.prepared(agent.patch(url), request).send(request.body),
        };
        let response = sent.map_err(|e| {
            let failure = unanswered(url, &e);
            if matches!(
                failure,
                ApiError::Unanswered {
                    unreachable: true,
                    ..
                }
            ) {
                self.names.forget();
            }
            failure
        })?;
        let (head, body) = response.into_parts();
        let expected = body.content_length().and_then(|n| usize::try_from(n).ok());
        let body = read_wiped(
            body.into_with_config().limit(u64::MAX).reader(),
            expected.unwrap_or_default(),
            LARGEST_ANSWER,
        );
        let status = head.status.as_u16();
        if (200..300).contains(&status) {
            return Ok(Answer {
                etag: header(&head.headers, "etag"),
                body: body.map_err(|e| cut_short(url, e))?,
            });
        }
        let trace = header(&head.headers, "x-transaction-id");
        let (code, problem) = problem(&body.unwrap_or_default(), trace.as_deref());
        let retry_after = header(&head.headers, "retry-after");
        Err(ApiError::Status {
            status,
            text: format!("{} answered {status}{problem}", origin(url)),
            code,
            // the form with a date (RFC 9110 section 10.2.3) is not IBM's
            retry_after: retry_after
                .and_then(|seconds| Some(Duration::from_secs(seconds.trim().parse().ok()?))),
        })
    }

    fn prepared<T>(
        &self,
        mut builder: ureq::RequestBuilder<T>,
        request: &Request<'_>,
    ) -> ureq::RequestBuilder<T> {
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        // only to loopback, and past every proxy
        let plain = request.url.starts_with("http:");
        // no idle connection is young enough
        let fresh = request.method.writes() && self.lost_a_write.load(Ordering::Relaxed);
        // settings of its own only where needed: a connection made for them may have its own TLS
        // configuration, which is large
        if plain {
            builder = builder.config().proxy(None).build();
        }
        if fresh {
            builder = builder.config().max_idle_age(Duration::ZERO).build();
        }
        builder
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
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

/// The failure to read the body of an answer.
fn cut_short(url: &str, error: io::Error) -> ApiError {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return ApiError::Unexpected(anyhow!("the answer of {} is {error}", origin(url)));
    }
    unanswered(url, &ureq::Error::from(error))
}

/// Names the failure of a request without an answer: never its body, nor its query.
fn unanswered(url: &str, error: &ureq::Error) -> ApiError {
    const REFUSED: [io::ErrorKind; 4] = [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkUnreachable,
        io::ErrorKind::AddrNotAvailable,
    ];
    let origin = origin(url);
    // what a peer's certificate says comes from outside, too
    let no_tls = |tls: &rustls::Error| {
        format!(
            "no TLS connection to {origin}: {}",
            sanitized(&tls.to_string())
        )
    };
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
        ureq::Error::ConnectProxyFailed(_) => (
            format!("the proxy could not connect to {origin}"),
            true,
            true,
        ),
        ureq::Error::ConnectionFailed => (format!("{origin} cannot be reached"), true, true),
        ureq::Error::Rustls(tls) => (no_tls(tls), false, false),
        ureq::Error::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(tls) => (no_tls(tls), false, false),
            None => (
                format!(
                    "the connection to {origin} failed: {}",
                    sanitized(&e.to_string())
                ),
                REFUSED.contains(&e.kind()),
                true,
            ),
        },
        other => (
            format!(
                "the request to {origin} failed: {}",
                sanitized(&other.to_string())
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_no_more_than_scheme_and_host() {
        assert_eq!(
            origin("https://a.example:8443/v2/x?y=z"),
            "https://a.example:8443"
        );
        assert_eq!(origin("https://a.example"), "https://a.example");
    }

    #[test]
    fn a_request_without_an_answer_says_why_and_whether_to_try_again() {
        let tls = || rustls::Error::General("no\nsuch CA".to_owned());
        let refused = |kind: io::ErrorKind| ureq::Error::Io(io::Error::new(kind, "it\nfailed"));
        for (error, told, unreachable, temporary) in [
            (
                ureq::Error::HostNotFound,
                "the name of https://iam.example cannot be resolved",
                true,
                true,
            ),
            (
                ureq::Error::Timeout(ureq::Timeout::Resolve),
                "https://iam.example cannot be reached within 5 s",
                true,
                true,
            ),
            (
                ureq::Error::Timeout(ureq::Timeout::Connect),
                "https://iam.example cannot be reached within 5 s",
                true,
                true,
            ),
            (
                ureq::Error::Timeout(ureq::Timeout::Global),
                "https://iam.example did not answer in time",
                false,
                true,
            ),
            (
                ureq::Error::ConnectProxyFailed("502".to_owned()),
                "the proxy could not connect to https://iam.example",
                true,
                true,
            ),
            (
                ureq::Error::ConnectionFailed,
                "https://iam.example cannot be reached",
                true,
                true,
            ),
            (
                refused(io::ErrorKind::ConnectionRefused),
                "the connection to https://iam.example failed: it\\u{a}failed",
                true,
                true,
            ),
            (
                refused(io::ErrorKind::ConnectionReset),
                "the connection to https://iam.example failed: it\\u{a}failed",
                false,
                true,
            ),
            // a certificate that is not trusted now will not be trusted a second later
            (
                ureq::Error::Rustls(tls()),
                "no TLS connection to https://iam.example: unexpected error: no\\u{a}such CA",
                false,
                false,
            ),
            (
                ureq::Error::Io(io::Error::other(tls())),
                "no TLS connection to https://iam.example: unexpected error: no\\u{a}such CA",
                false,
                false,
            ),
            (
                ureq::Error::BadUri("https://a\nb".to_owned()),
                "the request to https://iam.example failed: bad uri: https://a\\u{a}b",
                false,
                false,
            ),
        ] {
            let failure = unanswered("https://iam.example/identity/token?x=SECRET", &error);
            assert_eq!(failure.to_string(), told);
            assert_eq!(failure.temporary(), temporary, "{told}");
            assert_eq!(failure.fate(), Fate::Unknown(None), "{told}");
            let ApiError::Unanswered {
                unreachable: is, ..
            } = failure
            else {
                panic!("{told}: {failure:?}")
            };
            assert_eq!(is, unreachable, "{told}");
        }
    }
}
