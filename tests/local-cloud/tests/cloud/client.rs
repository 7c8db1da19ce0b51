use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use local_cloud::{LocalCloud, Options};
use serde_json::Value;

/// A cloud over HTTP, so that a socket is enough.
pub(crate) fn start() -> LocalCloud {
    start_with(Options::default())
}

pub(crate) fn start_with(options: Options) -> LocalCloud {
    LocalCloud::start(Options {
        https: false,
        ..options
    })
    .unwrap()
}

/// A job program: a shell script in a folder of its own.
pub(crate) struct Script {
    _directory: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

pub(crate) fn script(text: &str) -> Script {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("job");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Script {
        _directory: directory,
        path,
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
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
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

/// One request on a connection of its own.
pub(crate) fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let mut broken = match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes.is_empty(),
        Err(error) => {
            assert_eq!(
                error.kind(),
                ErrorKind::ConnectionReset,
                "{method} {url}: {error}"
            );
            true
        }
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let head = text
        .split_once("\r\n\r\n")
        .map(|(head, _)| head.to_owned())
        .unwrap_or_default();
    let mut body = bytes.get(head.len() + 4..).unwrap_or_default().to_vec();
    let answer = Answer {
        status: 0,
        head: head.clone(),
        body: Vec::new(),
        broken,
    };
    if answer.header("transfer-encoding").is_some() {
        body = unchunked(&body);
    } else if let Some(length) = answer.header("content-length") {
        broken |= body.len() < length.parse::<usize>().unwrap();
    }
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        body,
        broken,
        ..answer
    }
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

/// The profile's access token, by the CR token of the world.
pub(crate) fn token(cloud: &LocalCloud) -> String {
    let cr_token = std::fs::read_to_string(cloud.world().cr_token_file).unwrap();
    let form = format!(
        "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Acr-token&cr_token={cr_token}&profile_id={}",
        cloud.world().profile_id
    );
    let answer = ask_token(cloud, &form);
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

pub(crate) fn owner_token(cloud: &LocalCloud) -> String {
    let form = format!(
        "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={}",
        cloud.world().api_key
    );
    ask_token(cloud, &form).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub(crate) fn ask_token(cloud: &LocalCloud, form: &str) -> Answer {
    let url = format!("{}/identity/token", cloud.iam_url());
    send(
        "POST",
        &url,
        &[("Content-Type", "application/x-www-form-urlencoded")],
        form,
    )
}

pub(crate) fn get(url: &str, token: &str) -> Answer {
    send(
        "GET",
        url,
        &[("Authorization", &format!("Bearer {token}"))],
        "",
    )
}

pub(crate) fn write(
    method: &str,
    url: &str,
    token: &str,
    if_match: Option<&str>,
    body: &Value,
) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    headers.extend(if_match.map(|tag| ("If-Match", tag)));
    send(method, url, &headers, &body.to_string())
}
