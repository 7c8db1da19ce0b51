//! The last hop of a notification: a job run, or a request to an application; with retries.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::ServiceExt as _;

use crate::Cloud;
use crate::http::Arrival;
use crate::store::DeliveryOutcome;

/// After the first attempt.
const RETRIES: u32 = 3;

/// One request may take so long.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Why one attempt failed.
pub(crate) struct Failure {
    pub(crate) why: String,
    retry_after: Option<Duration>,
}

impl Failure {
    fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            retry_after: None,
        }
    }
}

/// Tries, and tries again; says what became of it and how often it tried.
pub(crate) async fn deliver(
    cloud: &Arc<Cloud>,
    destination: &Map<String, Value>,
    notification: &Value,
) -> (DeliveryOutcome, u32) {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match once(cloud, destination, notification).await {
            Ok(job_run) => return (DeliveryOutcome::Delivered { job_run }, attempts),
            Err(failure) if attempts > RETRIES => {
                return (
                    DeliveryOutcome::Failed {
                        reason: failure.why,
                    },
                    attempts,
                );
            }
            Err(failure) => {
                let pause = cloud.options.delivery_retry_delay * 2_u32.pow(attempts - 1);
                tokio::time::sleep(failure.retry_after.unwrap_or(pause)).await;
            }
        }
    }
}

/// One attempt; of a job destination it returns the name of the run.
pub(crate) async fn once(
    cloud: &Arc<Cloud>,
    destination: &Map<String, Value>,
    notification: &Value,
) -> Result<Option<String>, Failure> {
    // Built in; e-mails go nowhere here.
    if destination["type"] == "smtp_ibm" {
        return Ok(None);
    }
    let params = &destination["config"]["params"];
    let trying = async {
        if params["type"] == "job" {
            to_job(cloud, params, notification).await.map(Some)
        } else {
            to_application(cloud, params, notification)
                .await
                .map(|()| None)
        }
    };
    let timed = tokio::time::timeout(REQUEST_LIMIT, trying).await;
    timed.unwrap_or_else(|_| Err(Failure::new("no answer within 10 s")))
}

/// Code Engine's *create job run*, through its routes, journal and faults, but without a socket.
async fn to_job(
    cloud: &Arc<Cloud>,
    params: &Value,
    notification: &Value,
) -> Result<String, Failure> {
    let crn: Vec<_> = params["project_crn"]
        .as_str()
        .unwrap_or_default()
        .split(':')
        .collect();
    let (Some(region), Some(project)) = (crn.get(5), crn.get(7)) else {
        return Err(Failure::new("project_crn is not the CRN of a project"));
    };
    let body = json!({
        "job_name": params["job_name"],
        "run_env_variables": [
            { "type": "literal", "name": "ibmendata", "value": notification.to_string() },
        ],
    });
    let uri: Uri = format!("/{region}/v2/projects/{project}/job_runs?version=2025-07-10")
        .parse()
        .map_err(|_| Failure::new("project_crn does not give a valid path"))?;
    let mut request = Request::post(uri.clone())
        .header(header::AUTHORIZATION, format!("Bearer {}", cloud.en_token))
        .header(header::CONTENT_TYPE, "application/json")
        .extension(Arrival {
            connection: None,
            nth: 1,
            uri,
        })
        .body(Body::from(body.to_string()))
        .map_err(|error| Failure::new(error.to_string()))?;
    crate::code_engine::take_region_off(&mut request);
    let routes = crate::store::lock(&cloud.code_engine).clone();
    let routes = routes.ok_or_else(|| Failure::new("the cloud is ending"))?;
    let response = routes
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {});
    if response.extensions().get::<crate::http::Ending>().is_some() {
        return Err(Failure::new("Code Engine: connection ended"));
    }
    let status = response.status();
    let retry_after = seconds(response.headers());
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(body["name"].as_str().unwrap_or_default().to_owned());
    }
    let message = body["errors"][0]["message"].as_str().unwrap_or_default();
    let why = format!("Code Engine: {}: {message}", status.as_u16());
    Err(Failure { why, retry_after })
}

fn seconds(headers: &header::HeaderMap) -> Option<Duration> {
    headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

async fn to_application(
    cloud: &Arc<Cloud>,
    params: &Value,
    notification: &Value,
) -> Result<(), Failure> {
    let url = params["url"].as_str().unwrap_or_default();
    let uri: Uri = url
        .parse()
        .map_err(|_| Failure::new(format!("{url} is not a URL")))?;
    let host = uri.host().unwrap_or_default().to_owned();
    if host != "127.0.0.1" && host != "localhost" {
        return Err(Failure::new(format!(
            "{url}: only loopback can be reached from here"
        )));
    }
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let post = params["verb"]
        .as_str()
        .is_some_and(|verb| verb.eq_ignore_ascii_case("post"));
    let mut request = Request::builder()
        .method(if post { "POST" } else { "GET" })
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in params["custom_headers"].as_object().into_iter().flatten() {
        request = request.header(name.as_str(), value.as_str().unwrap_or_default());
    }
    let body = if post {
        Body::from(notification.to_string())
    } else {
        Body::empty()
    };
    let request = request
        .body(body)
        .map_err(|error| Failure::new(error.to_string()))?;
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{url}: {error}"));
    let stream = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|e| failed(&e))?;
    let status = if secure {
        let name = ServerName::try_from(host.clone()).map_err(|e| failed(&e))?;
        let connector = TlsConnector::from(cloud.client_tls.clone());
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|e| failed(&e))?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    };
    let response = status.map_err(|e| failed(&e))?;
    if response.status().is_success() {
        return Ok(());
    }
    let why = format!("{url}: {}", response.status().as_u16());
    Err(Failure {
        why,
        retry_after: seconds(response.headers()),
    })
}

async fn exchange<S>(
    stream: S,
    request: Request<Body>,
) -> Result<hyper::Response<hyper::body::Incoming>, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}
