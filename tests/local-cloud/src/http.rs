//! Connections, and what stands in front of every handler: journal, faults, one table of routes per
//! service, and the harmless freedom that IBM has: chunked bodies now and then, header names in
//! another case.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::journal::Service;
use crate::problems::{Problem, no};
use crate::store::{Store, lock};
use crate::{Cloud, code_engine, event_notifications, faults, iam, secrets_manager};

/// How a request came in; an extension of it.
#[derive(Clone)]
pub(crate) struct Arrival {
    /// Number of the connection.
    pub(crate) connection: u64,
    /// Which request of its connection this is, from 1.
    pub(crate) nth: u64,
}

/// An extension of a response: do not send it, but end the connection like this.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    /// Close it.
    Close,
    /// Send the head of an answer that never ends, one byte after each pause.
    DripHead(Duration),
    /// Reset it.
    Reset,
}

/// A request as a handler sees it.
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) headers: HeaderMap,
    /// In front of Code Engine's paths.
    pub(crate) region: Option<String>,
    /// What stands where the route has braces.
    pub(crate) path: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Map<String, Value>,
}

impl Ask {
    /// A text of the body; empty if there is none.
    pub(crate) fn text(&self, field: &str) -> &str {
        let text = self.body.get(field).and_then(Value::as_str);
        text.unwrap_or_default()
    }
}

/// A good answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// `null`: no body.
    pub(crate) body: Value,
    /// The `ETag` header.
    pub(crate) tag: Option<String>,
}

pub(crate) type Answer = Result<Reply, Problem>;

pub(crate) fn reply(status: u16, body: Value) -> Answer {
    let tag = None;
    Ok(Reply { status, body, tag })
}

/// All of it happens under the store's lock.
pub(crate) type Handler = fn(&Arc<Cloud>, &mut Store, &Ask) -> Answer;

/// `METHOD /path/{parameter}` and who answers; `{kind}` is a parameter that names the route, too.
pub(crate) type Routes = &'static [(&'static str, Handler)];

/// What the path has in place of the template's parameters, if it fits.
fn fitted(template: &str, path: &[String]) -> Option<Vec<String>> {
    let parts: Vec<_> = template.split('/').skip(1).collect();
    let fits = |(part, text): (&&str, &String)| part.starts_with('{') || part == text;
    if parts.len() != path.len() || !parts.iter().zip(path).all(fits) {
        return None;
    }
    let held = parts.iter().zip(path);
    let held = held.filter(|(part, _)| part.starts_with('{'));
    Some(held.map(|(_, text)| text.clone()).collect())
}

pub(crate) fn segments(uri: &Uri) -> Vec<String> {
    let decoded = |part| percent_encoding::percent_decode_str(part).decode_utf8_lossy();
    let parts = uri.path().split('/').skip(1);
    parts.map(|part| decoded(part).into_owned()).collect()
}

/// A route's name, its handler and what its path holds.
struct Found {
    name: String,
    handler: Handler,
    region: Option<String>,
    path: Vec<String>,
}

/// An error is the status: 404 or 405.
fn find(service: Service, request: &Request) -> Result<Found, u16> {
    let mut path = segments(request.uri());
    // `/{region}/v2/…`: one base URL with `{region}` in it can address every region, where IBM has a
    // host name each
    let far = service == Service::CodeEngine && path.get(1).is_some_and(|part| part == "v2");
    let region = far.then(|| path.remove(0));
    let routes = match service {
        Service::CodeEngine => code_engine::ROUTES,
        Service::EventNotifications => event_notifications::ROUTES,
        Service::Iam => iam::ROUTES,
        Service::SecretsManager => secrets_manager::ROUTES,
    };
    let mut status = 404;
    for (route, handler) in routes {
        let (method, template) = route.split_once(' ').expect("METHOD /path");
        let Some(held) = fitted(template, &path) else {
            continue;
        };
        status = 405;
        if method == request.method() {
            let kind = held.get(1).map(String::as_str).unwrap_or_default();
            return Ok(Found {
                name: route.replace("{kind}", kind),
                handler: *handler,
                region,
                path: held,
            });
        }
    }
    Err(status)
}

/// One request to a service, with all that may happen to it.
pub(crate) async fn front(cloud: &Arc<Cloud>, service: Service, request: Request) -> Response {
    let route = find(service, &request).ok().map(|found| found.name);
    let sequence = cloud.journal.open(service, route.clone(), &request);
    let mut response = faults::run(cloud, service, route.as_deref(), request).await;
    if response.extensions().get::<Ending>().is_none() {
        cloud.journal.close(sequence, response.status().as_u16());
    }
    let length = response.body().size_hint().exact().unwrap_or(0);
    // HTTP/1.1 leaves the framing to the server.
    if sequence.is_multiple_of(3) && length > 0 {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response = response.map(|body| Body::from_stream(body.into_data_stream()));
    }
    let shaped = response.extensions().get::<faults::Shaped>().is_some();
    if cloud.options.slow_bodies && !shaped {
        // a large body in larger pieces: it should be slow, not take longer than a run
        let piece = usize::try_from(length / 64).unwrap_or(0).max(512);
        response = faults::drip(response, piece, Duration::from_millis(5)).await;
    }
    response
}

/// The service itself.
pub(crate) async fn served(cloud: &Arc<Cloud>, service: Service, request: Request) -> Response {
    match answer(cloud, service, request).await {
        Err(problem) => problem.shaped(service),
        Ok(reply) => {
            let mut response = json(reply.status, &reply.body);
            // a test may have set a tag that is not ASCII; one with control characters has no header
            let tag = reply.tag.map(|tag| HeaderValue::from_bytes(tag.as_bytes()));
            if let Some(Ok(tag)) = tag {
                response.headers_mut().insert(header::ETAG, tag);
            }
            response
        }
    }
}

async fn answer(cloud: &Arc<Cloud>, service: Service, request: Request) -> Answer {
    let found = find(service, &request).map_err(Problem::of)?;
    let query = request.uri().query().unwrap_or_default().to_owned();
    let ask = Ask {
        method: request.method().to_string(),
        headers: request.headers().clone(),
        region: found.region,
        path: found.path,
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        body: body(request).await.map_err(|why| no(400, "bad_request", why))?,
    };
    cloud.update(|store| (found.handler)(cloud, store, &ask))
}

/// A body of JSON, a form, or the form of several parts in which IBM's SDKs send destinations (they
/// can carry certificate files).
async fn body(request: Request) -> Result<Map<String, Value>, String> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is = |start: &str| content_type.is_some_and(|t| t.as_bytes().starts_with(start.as_bytes()));
    if is("multipart/") {
        let bad = |error: axum::extract::multipart::MultipartError| error.body_text();
        let parts = Multipart::from_request(request, &()).await;
        let mut parts = parts.map_err(|error| error.body_text())?;
        let mut body = Map::new();
        while let Some(part) = parts.next_field().await.map_err(bad)? {
            let name = part.name().unwrap_or_default().to_owned();
            let text = part.text().await.map_err(bad)?;
            // `config` is JSON, names and texts are not
            body.insert(name, serde_json::from_str(&text).unwrap_or_else(|_| text.into()));
        }
        return Ok(body);
    }
    let form = is("application/x-www-form-urlencoded");
    let bytes = to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    if form {
        let pairs = form_urlencoded::parse(&bytes).into_owned();
        return Ok(pairs.map(|(name, value)| (name, value.into())).collect());
    }
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes).map_err(|_| "The body is not a JSON object".into())
}

pub(crate) fn json(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if body.is_null() {
        return status.into_response();
    }
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (status, content_type, body.to_string()).into_response()
}

/// Answers on a listener until the runtime ends.
pub(crate) async fn serve<F, A>(listener: TcpListener, tls: Option<TlsAcceptor>, answer: F)
where
    F: Fn(Request) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    loop {
        // A failed accept concerns one client, who sees it.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed) + 1;
        let reset = Arc::new(AtomicBool::new(false));
        // Without this, small answers wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let socket = Socket::new(stream, reset.clone());
        let (tls, answer) = (tls.clone(), answer.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(socket, number, reset, answer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(socket).await {
                        converse(stream, number, reset, answer).await;
                    }
                }
            }
        });
    }
}

async fn converse<S, F, A>(stream: S, connection: u64, reset: Arc<AtomicBool>, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request) -> A,
    A: Future<Output = Response> + Send + 'static,
{
    let requests = AtomicU64::new(0);
    let ending = Arc::new(Mutex::new(None));
    let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let nth = requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arrival { connection, nth });
        let (answered, ending) = (answer(request), ending.clone());
        Box::pin(async move {
            let response = answered.await;
            if let Some(wanted) = response.extensions().get::<Ending>() {
                *lock(&ending) = Some(*wanted);
                return Err(std::io::Error::other("ended by a fault"));
            }
            Ok(response)
        })
    });
    let mut served = hyper::server::conn::http1::Builder::new()
        .title_case_headers(connection.is_multiple_of(2))
        .serve_connection(TokioIo::new(stream), service);
    // The client sees what went wrong; there is nothing to do here.
    let result = std::future::poll_fn(|context| served.poll_without_shutdown(context)).await;
    let mut stream = served.into_parts().io.into_inner();
    let ending = *lock(&ending);
    match ending {
        Some(Ending::DripHead(every)) => drip_head(&mut stream, every).await,
        Some(Ending::Reset) => reset.store(true, Ordering::Relaxed),
        None if result.is_err() => {}
        None | Some(Ending::Close) => drop(stream.shutdown().await),
    }
}

/// Until the client leaves.
async fn drip_head(stream: &mut (impl AsyncWrite + Unpin), every: Duration) {
    let endless = std::iter::repeat(b"x-drip: drip\r\n").flatten();
    for byte in b"HTTP/1.1 200 OK\r\n".iter().chain(endless) {
        tokio::time::sleep(every).await;
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// A TCP stream that is reset instead of closed if `reset` says so.
pub(crate) struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, reset: Arc<AtomicBool>) -> Self {
        Self { stream, reset }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
