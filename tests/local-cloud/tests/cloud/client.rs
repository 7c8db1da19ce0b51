use std::os::unix::fs::PermissionsExt as _;

use local_cloud::{CertificateSpec, LocalCloud, Options};
use serde_json::{Value, json};
use ureq::http::request::Builder;
use ureq::http::{HeaderMap, Request};

/// A cloud over HTTP.
pub(crate) struct Stage {
    pub(crate) cloud: LocalCloud,
    pub(crate) project: String,
    /// A certificate in Secrets Manager, deployed as `shop-tls`.
    pub(crate) secret: String,
    /// Of the profile.
    pub(crate) token: String,
    /// A folder with the program that job runs execute.
    _folder: tempfile::TempDir,
}

/// An answer; without one the status is 0.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The connection was reset, or ended before the end of the body.
    pub(crate) broken: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Stage {
    pub(crate) fn new(options: Options) -> Self {
        Self::running("true", options)
    }

    /// With a shell script as the job's program.
    pub(crate) fn running(script: &str, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("job");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (https, job_program) = (false, Some(program));
        let cloud = LocalCloud::start(Options { https, job_program, ..options }).unwrap();
        let secret = cloud.issue(CertificateSpec::default());
        let world = cloud.world();
        cloud.deploy(&secret, &world.project_id, "shop-tls");
        let cr_token = std::fs::read_to_string(&world.cr_token_file).unwrap();
        let mut stage = Self {
            cloud,
            project: world.project_id,
            secret,
            token: String::new(),
            _folder: folder,
        };
        let (grant, profile) = ("urn:ibm:params:oauth:grant-type:cr-token", &world.profile_id);
        stage.token =
            stage.token_by(&format!("grant_type={grant}&cr_token={cr_token}&profile_id={profile}"));
        stage
    }

    pub(crate) fn ask_token(&self, form: &str) -> Answer {
        let request = Request::post(format!("{}/identity/token", self.cloud.iam_url()));
        send(request.header("Content-Type", "application/x-www-form-urlencoded"), form)
    }

    fn token_by(&self, form: &str) -> String {
        let answer = self.ask_token(form).json();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// As the owner of the account; Event Notifications by its instance's path.
    pub(crate) fn events(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (base, world) = (self.cloud.event_notifications_url(), self.cloud.world());
        let url = format!("{base}/v1/instances/{}/{path}", world.event_notifications_instance_id);
        let grant = "grant_type=urn:ibm:params:oauth:grant-type:apikey";
        let owner = self.token_by(&format!("{grant}&apikey={}", world.api_key));
        write(method, &url, &owner, "*", body)
    }

    pub(crate) fn control(&self, method: &str, path: &str, body: &Value) -> Answer {
        let url = format!("{}/{path}", self.cloud.control_url());
        write(method, &url, "", "", body)
    }

    /// Below the project; with `If-Match: *`.
    pub(crate) fn code_engine(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.conditional(method, path, "*", body)
    }

    pub(crate) fn conditional(&self, method: &str, path: &str, tag: &str, body: &Value) -> Answer {
        let base = self.cloud.code_engine_url();
        let url = format!("{base}/v2/projects/{}{path}", self.project);
        write(method, &url, &self.token, tag, body)
    }

    pub(crate) fn secrets_manager(&self, path: &str) -> Answer {
        let url = format!("{}/api/v2/{path}", self.cloud.secrets_manager_url());
        write("GET", &url, &self.token, "", &Value::Null)
    }

    /// Writes the TLS secret.
    pub(crate) fn put(&self, tag: &str) -> Answer {
        self.conditional("PUT", "/secrets/shop-tls", tag, &tls("new"))
    }

    pub(crate) fn writes(&self) -> u64 {
        let secret = self.cloud.tls_secret(&self.project, "shop-tls");
        secret.unwrap().writes
    }
}

pub(crate) fn tls(text: &str) -> Value {
    json!({ "format": "tls", "data": { "tls_cert": text, "tls_key": text } })
}

/// An empty tag: no header.
fn write(method: &str, url: &str, token: &str, tag: &str, body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(url);
    request = request.header("Authorization", format!("Bearer {token}"));
    if !tag.is_empty() {
        request = request.header("If-Match", tag);
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    send(request.header("Content-Type", "application/json"), &text)
}

/// One request on a connection of its own.
fn send(request: Builder, body: &str) -> Answer {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent = ureq::Agent::from(config.max_redirects(0).build());
    let Ok(answer) = agent.run(request.body(body.to_owned()).unwrap()) else {
        return Answer { broken: true, ..Answer::default() };
    };
    let (parts, mut body) = answer.into_parts();
    let body = body.read_to_vec();
    let broken = body.is_err();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.unwrap_or_default(),
        broken,
    }
}
