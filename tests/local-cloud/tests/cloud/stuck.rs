use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use local_cloud::{CertificateSpec, Fault, FaultKind, LocalCloud, route};
use serde_json::Value;

use crate::client::{start, token};

const PATIENCE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(1);

/// A connection to Code Engine that is kept.
struct Line {
    stream: TcpStream,
    request: String,
}

impl Line {
    /// With a PUT of the TLS secret.
    fn new(cloud: &LocalCloud) -> Self {
        let project = cloud.world().project_id;
        let host = cloud.code_engine_url().replace("http://", "");
        let body = r#"{ "format": "tls", "data": { "tls_cert": "a", "tls_key": "b" } }"#;
        let request = format!(
            "PUT /v2/projects/{project}/secrets/shop-tls HTTP/1.1\r\nHost: {host}\r\n\
             Authorization: Bearer {}\r\nIf-Match: *\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            token(cloud),
            body.len()
        );
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, request }
    }

    fn send(&mut self) {
        self.stream.write_all(self.request.as_bytes()).unwrap();
    }

    /// All until it ends with this text, or the connection ends.
    fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(end.as_bytes()) {
            // unlike `read`, this goes on after a signal
            match self.stream.read_exact(&mut byte) {
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
                result => result.unwrap(),
            }
            read.push(byte[0]);
        }
        String::from_utf8(read).unwrap()
    }
}

fn cloud() -> LocalCloud {
    let cloud = start();
    let id = cloud.issue(CertificateSpec::default());
    cloud.deploy(&id, &cloud.world().project_id, "shop-tls");
    cloud
}

fn writes(cloud: &LocalCloud) -> u64 {
    let secret = cloud.tls_secret(&cloud.world().project_id, "shop-tls");
    secret.unwrap().writes
}

fn fault(kind: FaultKind) -> Fault {
    Fault::on(route::REPLACE_TLS_SECRET, kind)
}

#[test]
fn silence_lasts_until_the_guard_goes() {
    let cloud = cloud();
    let mut line = Line::new(&cloud);
    let guard = cloud.fault(fault(FaultKind::Silent));
    line.send();
    guard.wait_parked(1, PATIENCE).unwrap();
    assert_eq!(cloud.journal().last().unwrap().status, None);
    drop(guard);
    assert_eq!(
        (line.read_until("never"), writes(&cloud)),
        (String::new(), 1)
    );
}

#[test]
fn a_head_that_never_ends() {
    let cloud = cloud();
    let mut line = Line::new(&cloud);
    let _guard = cloud.fault(fault(FaultKind::DripHead(EVERY)));
    line.send();
    let head = line.read_until("drip\r\nx-drip: drip\r\nx-drip: ");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nx-drip: "), "{head}");
    assert_eq!(writes(&cloud), 1);
}

#[test]
fn a_body_that_never_ends() {
    let cloud = cloud();
    let mut line = Line::new(&cloud);
    let _guard = cloud.fault(fault(FaultKind::DripBody(EVERY)));
    line.send();
    let head = line.read_until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    // one byte per chunk: all of the document but its last, then white space
    let spaces = "1\r\n \r\n".repeat(9);
    let body = line.read_until(&spaces);
    let bytes: String = body.split("\r\n").skip(1).step_by(2).collect();
    assert!(
        serde_json::from_str::<Value>(&format!("{bytes}}}")).is_ok(),
        "{bytes}"
    );
    assert!(serde_json::from_str::<Value>(&bytes).is_err());
    assert_eq!(writes(&cloud), 2, "it is done");
}

#[test]
fn second_requests_of_a_connection_are_lost() {
    let cloud = cloud();
    let guard = cloud.fault(fault(FaultKind::CloseSecond));
    for round in 1..=2 {
        let mut line = Line::new(&cloud);
        line.send();
        assert!(
            line.read_until("\"x_not_in_the_documents\":")
                .starts_with("HTTP/1.1 200 OK")
        );
        line.send();
        assert!(!line.read_until("HTTP/1.1").contains("HTTP/1.1"));
        assert_eq!(
            (writes(&cloud), guard.struck()),
            (1 + u64::from(round), round)
        );
    }
}

/// The client sees the end of its connection.
#[test]
fn whatever_is_stuck_ends_with_the_cloud() {
    for kind in [
        FaultKind::Silent,
        FaultKind::DripHead(EVERY),
        FaultKind::DripBody(EVERY),
    ] {
        let cloud = cloud();
        let mut line = Line::new(&cloud);
        let guard = cloud.fault(fault(kind));
        line.send();
        while guard.struck() == 0 {
            std::thread::yield_now();
        }
        drop(cloud);
        line.read_until("never");
    }
}
