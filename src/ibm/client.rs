//! One HTTP client for all services: how a request travels, and how an answer becomes bytes or an
//! [`ApiError`]. A PUT or PATCH is never repeated here: whether it took effect is for the caller to
//! find out.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::http::Method;
use ureq::http::response::Parts;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use zeroize::Zeroizing;

use crate::ibm::api_error::{ApiError, problem};
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
/// The waits between repetitions of a read, in milliseconds and before jitter: about 35 s in all, since
/// Secrets Manager may be away for up to 30 s during a fail-over.
const WAITS: [u64; 6] = [500, 1_000, 3_000, 6_000, 12_000, 12_000];
/// A name that was never found is tried for so long: nothing says that it will ever exist.
const UNKNOWN_NAME: Duration = Duration::from_secs(10);
/// The longest `Retry-After` that we follow; beyond it the run fails and Code Engine starts another.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A request that is not sent yet.
pub struct Request<'a> {
    /// The method; `GET` and the `POST` for a token are reads, which may be repeated.
    pub method: Method,
    /// The whole URL.
    pub url: &'a str,
    /// Headers beyond those that every request carries.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body, empty for none.
    pub body: &'a [u8],
}

/// A successful answer (status 2xx).
pub struct Answer {
    /// The `ETag` header as received.
    pub etag: Option<String>,
    /// The body; wiped when dropped, since it may hold a key.
    pub body: Zeroizing<Vec<u8>>,
}

/// Status, headers and body of any answer.
type Received = (Parts, Zeroizing<Vec<u8>>);

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
    /// Makes the client, which trusts `further` roots in addition to the built-in ones, and goes
    /// through `proxy` where it speaks HTTPS. `end` is when the run must end.
    pub fn new(further: &[CertificateDer<'_>], proxy: Option<ureq::Proxy>, end: Instant) -> Self {
        let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let mut roots: Vec<_> = built_in.map(|der| Certificate::from_der(der)).collect();
        let further = further.iter();
        roots.extend(further.map(|der| Certificate::from_der(der).to_owned()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(provider))
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
        let names = Names::default();
        Self {
            agent: ureq::Agent::with_parts(config, DefaultConnector::default(), names.clone()),
            names,
            lost_a_write: AtomicBool::new(false),
            end,
        }
    }

    /// Sends a read until it is answered for good: with growing waits, over about 35 s. Where nobody is
    /// there, not again if the same can be asked `elsewhere`.
    ///
    /// # Errors
    /// The last [`ApiError`].
    pub fn read(&self, request: &Request<'_>, elsewhere: bool) -> Result<Answer, ApiError> {
        let begin = Instant::now();
        for wait in WAITS {
            let failure = match self.once(request) {
                Err(failure) if failure.temporary && !(elsewhere && failure.unreachable) => failure,
                answer => return answer,
            };
            let left = self.end.saturating_duration_since(Instant::now());
            let Some(wait) = self::wait(&failure, jitter(wait), begin.elapsed(), left) else {
                return Err(failure);
            };
            log::warn!("{failure}; retrying in {:.1} s", wait.as_secs_f32());
            pause(wait);
        }
        self.once(request)
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// An [`ApiError`]; the request may have taken effect nevertheless.
    pub fn once(&self, request: &Request<'_>) -> Result<Answer, ApiError> {
        let writes = !matches!(request.method, Method::GET | Method::POST);
        let fresh = writes && self.lost_a_write.load(Ordering::Relaxed);
        let (head, body) = self.exchange(request, fresh).map_err(|error| {
            let failure = unanswered(request.url, &error);
            if failure.unreachable {
                self.names.forget();
            }
            self.lost_a_write.fetch_or(writes, Ordering::Relaxed);
            failure
        })?;
        let header = |name| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
        if head.status.is_success() {
            let etag = header("etag");
            return Ok(Answer { etag, body });
        }
        let status = head.status.as_u16();
        let (code, problem) = problem(&body, header("x-transaction-id").as_deref());
        let text = format!("{} answered {status}{problem}", origin(request.url));
        // the form with a date (RFC 9110 section 10.2.3) is not IBM's
        let seconds = header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
        Err(ApiError {
            code,
            retry_after: seconds.map(Duration::from_secs),
            ..ApiError::answered(status, text)
        })
    }

    /// `fresh`: on a connection of its own.
    fn exchange(&self, request: &Request<'_>, fresh: bool) -> Result<Received, ureq::Error> {
        let mut sent = ureq::http::Request::builder();
        sent = sent.method(&request.method).uri(request.url);
        for (name, value) in request.headers {
            sent = sent.header(*name, *value);
        }
        let mut sent = sent.body(request.body)?;
        // settings of its own only where needed: a connection made for them may have its own TLS
        // configuration, which is large
        if request.url.starts_with("http:") {
            // only to loopback, and past every proxy
            sent = self.agent.configure_request(sent).proxy(None).build();
        }
        if fresh {
            // no idle connection is young enough
            let config = self.agent.configure_request(sent);
            sent = config.max_idle_age(Duration::ZERO).build();
        }
        let answer = match request.body {
            // a GET has no body, not an empty one
            [] => self.agent.run(sent.map(drop))?,
            _ => self.agent.run(sent)?,
        };
        let (head, body) = answer.into_parts();
        let body = body.into_with_config().limit(u64::MAX).reader();
        match read_wiped(body, LARGEST_ANSWER) {
            // of an error the status says enough
            Err(error) if head.status.is_success() => Err(error.into()),
            body => Ok((head, body.unwrap_or_default())),
        }
    }
}

/// How long to wait before the same is sent again, after it was tried for so long and with so much of
/// the run `left`; none, if it would be in vain.
fn wait(failure: &ApiError, least: Duration, tried: Duration, left: Duration) -> Option<Duration> {
    // a service in trouble that says "at once" would use up our patience in no time
    let wait = least.max(failure.retry_after.unwrap_or_default());
    let in_vain = failure.unknown_name && tried + wait > UNKNOWN_NAME;
    (!in_vain && wait <= LONGEST_RETRY_AFTER && wait < left).then_some(wait)
}

/// Reads roots to trust from PEM.
///
/// # Errors
/// If there is none, or one that cannot be a root: the client would leave it out in silence.
pub fn read_roots(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let roots = roots.map_err(|_| anyhow!("a PEM block of it is damaged"))?;
    ensure!(!roots.is_empty(), "it holds no PEM block CERTIFICATE");
    let mut store = RootCertStore::empty();
    for root in &roots {
        let added = store.add(CertificateDer::clone(root));
        added.context("a certificate of it cannot be used as a root")?;
    }
    Ok(roots)
}

/// Names the failure of a request without an answer: never its body, nor its query.
pub(super) fn unanswered(url: &str, error: &ureq::Error) -> ApiError {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, FileTooLarge, HostUnreachable, NetworkUnreachable,
    };
    use ureq::Error::{ConnectProxyFailed, ConnectionFailed, HostNotFound, Io, Rustls, Timeout};
    use ureq::Timeout::{Connect, Resolve};
    const UNKNOWN_CA: &str = "its certificate comes from a CA that the job does not know: set SSL_CERT_FILE to a file with its root, if it is to be trusted";
    const PRIVATE: &str = "a private endpoint exists only inside IBM's network";

    let origin = origin(url);
    // what a peer's certificate says comes from outside, too
    let shown = |error: &dyn ToString| sanitized(&error.to_string());
    let passing = |text: String| ApiError { temporary: true, ..ApiError::unexpected(text) };
    let unreachable = |text| ApiError { unreachable: true, ..passing(text) };
    let no_tls = |tls: &rustls::Error| ApiError {
        hint: (*tls == CertificateError::UnknownIssuer.into()).then_some(UNKNOWN_CA),
        ..ApiError::unexpected(format!("no TLS connection to {origin}: {}", shown(tls)))
    };
    match error {
        HostNotFound => ApiError {
            unknown_name: true,
            hint: origin.contains("private.").then_some(PRIVATE),
            ..unreachable(format!("the name of {origin} cannot be resolved"))
        },
        Timeout(Connect | Resolve) => {
            let limit = CONNECT.as_secs();
            unreachable(format!("{origin} cannot be reached within {limit} s"))
        }
        Timeout(_) => passing(format!("{origin} did not answer in time")),
        ConnectProxyFailed(_) => unreachable(format!("the proxy could not connect to {origin}")),
        ConnectionFailed => unreachable(format!("{origin} cannot be reached")),
        Rustls(tls) => no_tls(tls),
        Io(error) => {
            if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
                return no_tls(tls);
            }
            let text = format!("the connection to {origin} failed: {}", shown(error));
            match error.kind() {
                FileTooLarge => ApiError::unexpected(format!("the answer of {origin} is {error}")),
                AddrNotAvailable | ConnectionRefused | HostUnreachable | NetworkUnreachable => {
                    unreachable(text)
                }
                _ => passing(text),
            }
        }
        other => ApiError::unexpected(format!("the request to {origin} failed: {}", shown(other))),
    }
}

/// Scheme and host of a URL: what a message may show.
fn origin(url: &str) -> &str {
    let path = url.match_indices('/').nth(2);
    path.map_or(url, |(at, _)| url.split_at(at).0)
}

/// Up to a quarter more or less, so that many jobs do not come back at the same moment.
fn jitter(milliseconds: u64) -> Duration {
    // the standard library seeds its hashers at random: enough for this, and no crate more
    let percent = 75 + RandomState::new().hash_one(0_u8) % 51;
    Duration::from_millis(milliseconds * percent / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::samples::certificates;
    use crate::ibm::api_error::Fate;

    #[test]
    fn a_message_shows_no_more_than_scheme_and_host() {
        assert_eq!(origin("https://a.example:8443/v2/x?y=z"), "https://a.example:8443");
        assert_eq!(origin("https://a.example"), "https://a.example");
    }

    #[test]
    fn a_wait_is_as_long_as_asked_for_and_never_in_vain() {
        let second = Duration::from_secs;
        for (retry_after, unknown_name, tried, left, expected) in [
            (None, false, 0, 100, Some(3)),
            (Some(0), false, 0, 100, Some(3)),
            (Some(4), false, 0, 100, Some(4)),
            (Some(60), false, 0, 100, Some(60)),
            (Some(61), false, 0, 100, None),
            (Some(u64::MAX), false, 0, 100, None),
            // the run ends before
            (None, false, 0, 3, None),
            (None, false, 0, 4, Some(3)),
            // ten seconds for a name
            (None, true, 7, 100, Some(3)),
            (None, true, 8, 100, None),
            (None, false, 8, 100, Some(3)),
        ] {
            let retry_after = retry_after.map(second);
            let failure = ApiError { retry_after, unknown_name, ..ApiError::default() };
            let wait = wait(&failure, second(3), second(tried), second(left));
            assert_eq!(wait, expected.map(second), "{retry_after:?} {unknown_name} {tried} {left}");
        }
        assert!((30_000..40_000).contains(&WAITS.iter().sum::<u64>()));
        let waits = [(); 100].map(|()| jitter(1_000).as_millis());
        assert!(waits.iter().all(|wait| (750..=1_250).contains(wait)), "{waits:?}");
    }

    #[test]
    fn further_roots_join_the_built_in_ones_and_every_call_has_a_limit() {
        let root = certificates(&["root"]).remove(0).der;
        let http = Http::new(&[root], None, Instant::now());
        let config = http.agent.config();
        let RootCerts::Specific(roots) = config.tls_config().root_certs() else { panic!() };
        assert_eq!(roots.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len() + 1);
        let limits = config.timeouts();
        let limits = [limits.resolve, limits.connect, limits.global].map(|limit| limit.unwrap());
        assert_eq!(limits.map(|limit| limit.as_secs()), [5, 5, 30]);
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
            (ureq::Error::ConnectionFailed, "https://iam.example cannot be reached", true, true),
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
            assert_eq!(failure.temporary, temporary, "{told}");
            assert_eq!(failure.fate(), Fate::Unknown(None), "{told}");
            assert_eq!(failure.unreachable, unreachable, "{told}");
            let unknown = matches!(error, ureq::Error::HostNotFound);
            assert_eq!(failure.unknown_name, unknown, "{told}");
        }
    }
}
