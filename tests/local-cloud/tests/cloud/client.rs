use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use local_cloud::{CertificateSpec, LocalCloud, Options};
use serde_json::{Value, json};

/// A cloud over HTTP, so that a socket is enough.
pub(crate) struct Stage {
    pub(crate) cloud: LocalCloud,
    pub(crate) project: String,
    /// A certificate in Secrets Manager, deployed as `shop-tls`.
    pub(crate) secret: String,
    /// Of the profile.
    token: String,
    /// A folder with the program that job runs execute.
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
    /// The connection was reset, or ended before `content-length`.
    pub(crate) broken: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {} {text}", self.head))
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value.trim().to_owned())
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
        let cloud = LocalCloud::start(Options {
            https: false,
            job_program: Some(program),
            ..options
        });
        let cloud = cloud.unwrap();
        let secret = cloud.issue(CertificateSpec::default());
        let project = cloud.world().project_id;
        cloud.deploy(&secret, &project, "shop-tls");
        let mut stage = Self {
            cloud,
            project,
            secret,
            token: String::new(),
            _folder: folder,
        };
        let world = stage.cloud.world();
        let cr_token = std::fs::read_to_string(&world.cr_token_file).unwrap();
        stage.token = stage.token_by(&format!(
            "grant_type=urn:ibm:params:oauth:grant-type:cr-token&cr_token={cr_token}&profile_id={}",
            world.profile_id
        ));
        stage
    }

    pub(crate) fn ask_token(&self, form: &str) -> Answer {
        let url = format!("{}/identity/token", self.cloud.iam_url());
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        send("POST", &url, kind, form)
    }

    fn token_by(&self, form: &str) -> String {
        let answer = self.ask_token(form).json();
        answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn owner(&self) -> String {
        let grant = "grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey=";
        self.token_by(&format!("{grant}{}", self.cloud.world().api_key))
    }

    /// As the owner of the account; Event Notifications by its instance's path.
    pub(crate) fn events(&self, method: &str, path: &str, body: &Value) -> Answer {
        let base = self.cloud.event_notifications_url();
        let instance = self.cloud.world().event_notifications_instance_id;
        let url = format!("{base}/v1/instances/{instance}/{path}");
        write(method, &url, &self.owner(), "*", body)
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
        self.cloud
            .tls_secret(&self.project, "shop-tls")
            .unwrap()
            .writes
    }
}

pub(crate) fn tls(text: &str) -> Value {
    json!({ "format": "tls", "data": { "tls_cert": text, "tls_key": text } })
}

/// An empty tag: no header.
fn write(method: &str, url: &str, token: &str, tag: &str, body: &Value) -> Answer {
    let mut headers = format!("Authorization: Bearer {token}\r\n");
    if !tag.is_empty() {
        headers += &format!("If-Match: {tag}\r\n");
    }
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(
        method,
        url,
        &(headers + "Content-Type: application/json\r\n"),
        &body,
    )
}

/// One request on a connection of its own.
fn send(method: &str, url: &str, headers: &str, body: &str) -> Answer {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // goes on after a signal
    let read = stream.read_to_end(&mut bytes);
    if let Err(error) = &read {
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionReset,
            "{method} {url}: {error}"
        );
    }
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut answer = Answer {
        status: head
            .split(' ')
            .nth(1)
            .map_or(0, |status| status.parse().unwrap()),
        head,
        body: bytes.get(end + 4..).unwrap_or_default().to_vec(),
        broken: read.is_err() || bytes.is_empty(),
    };
    if answer.header("transfer-encoding").is_some() {
        answer.body = unchunked(&answer.body);
    } else if let Some(length) = answer.header("content-length") {
        answer.broken |= answer.body.len() < length.parse::<usize>().unwrap();
    }
    answer
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        whole.extend(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 4 + size..];
    }
    whole
}
