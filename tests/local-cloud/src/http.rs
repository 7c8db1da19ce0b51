//! Connections: the accept loop, HTTP or HTTPS, reset on demand, the journal's and the faults'
//! place in front of every route, and the harmless freedom that IBM has: chunked bodies now and
//! then, header names in another case, an undocumented field.
//!
//! Not here: any route.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::Cloud;
use crate::faults;
use crate::journal::Service;
use crate::problems;
use crate::store::lock;

/// How a request came in; an extension of it.
#[derive(Clone)]
pub(crate) struct Arrival {
    /// Number of the connection; `None` for calls inside the cloud.
    pub(crate) connection: Option<u64>,
    /// Which request of its connection this is, from 1.
    pub(crate) nth: u64,
    /// The URI as sent, before Code Engine takes a region off.
    pub(crate) uri: Uri,
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

/// Method and path template.
pub(crate) fn route_of(request: &Request) -> Option<String> {
    let path = request.extensions().get::<MatchedPath>()?;
    Some(format!("{} {}", request.method(), path.as_str()))
}

/// Puts journal and faults in front of a service's routes.
pub(crate) fn fronted(cloud: &Arc<Cloud>, service: Service, router: Router) -> Router {
    let state = (cloud.clone(), service);
    router
        .layer(axum::middleware::map_response(move |response| {
            std::future::ready(in_shape(service, response))
        }))
        .layer(axum::middleware::from_fn_with_state(state, front))
}

/// A refusal of axum's own (of a body that is not JSON, say) in the service's error shape.
fn in_shape(service: Service, response: Response) -> Response {
    let text = response.headers().get(header::CONTENT_TYPE);
    let own = text.is_some_and(|text| text.as_bytes().starts_with(b"text/plain"));
    if response.status().is_client_error() && own {
        // IBM knows 400 only: 415 and 422 are axum's.
        return problems::of(service, 400);
    }
    response
}

async fn front(
    State((cloud, service)): State<(Arc<Cloud>, Service)>,
    request: Request,
    next: Next,
) -> Response {
    let sequence = cloud.journal.open(service, &request);
    let mut response = faults::run(&cloud, service, request, next).await;
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

/// Serves a router on a listener until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
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
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(socket, number, reset, router).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(socket).await {
                        converse(stream, number, reset, router).await;
                    }
                }
            }
        });
    }
}

async fn converse<S>(stream: S, number: u64, reset: Arc<AtomicBool>, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::new(AtomicU64::new(0));
    let ending = Arc::new(Mutex::new(None));
    let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (router, ending) = (router.clone(), ending.clone());
        let nth = requests.fetch_add(1, Ordering::Relaxed) + 1;
        Box::pin(async move {
            let mut request = request.map(Body::new);
            let uri = request.uri().clone();
            request.extensions_mut().insert(Arrival {
                connection: Some(number),
                nth,
                uri,
            });
            crate::code_engine::take_region_off(&mut request);
            let response = router
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {});
            if let Some(wanted) = response.extensions().get::<Ending>() {
                *lock(&ending) = Some(*wanted);
                return Err(std::io::Error::other("ended by a fault"));
            }
            Ok(response)
        })
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .title_case_headers(number.is_multiple_of(2))
        .serve_connection(TokioIo::new(stream), service);
    // The client sees what went wrong; there is nothing to do here.
    let served = std::future::poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    let ending = *lock(&ending);
    match ending {
        Some(Ending::DripHead(every)) => drip_head(&mut stream, every).await,
        Some(Ending::Reset) => reset.store(true, Ordering::Relaxed),
        None if served.is_err() => {}
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
