//! Requests through a proxy. It also leads the default addresses of IAM, which are fixed names, to the
//! local cloud.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use local_cloud::route;
use serde_json::json;

use crate::harness::{Run, Scene, TLS_SECRET, answer};

/// A proxy that makes tunnels (RFC 9110 section 9.3.6).
struct Proxy {
    url: String,
    /// The host and port of each tunnel that was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `way` says where a tunnel leads to, or how it is refused.
    fn start(way: impl Fn(&str) -> Result<String, &'static str> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::default());
        let (way, heard) = (Arc::new(way), Arc::clone(&asked));
        // ends with the process of the tests: it holds nothing but its port
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (way, heard) = (Arc::clone(&way), Arc::clone(&heard));
                std::thread::spawn(move || tunnel(client, &*way, &heard));
            }
        });
        Self { url: format!("http://user:proxy-password@{address}"), asked }
    }

    /// Everything is led to where it wants to go.
    fn open() -> Self {
        Self::start(|to| Ok(to.to_owned()))
    }
}

fn tunnel(
    mut client: TcpStream,
    way: &dyn Fn(&str) -> Result<String, &'static str>,
    heard: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let to = request.split(' ').nth(1)?;
    heard.lock().unwrap().push(to.to_owned());
    let to = match way(to) {
        Ok(to) => to,
        Err(status) => return write!(client, "HTTP/1.1 {status}\r\n\r\n").ok(),
    };
    write!(client, "HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    let mut server = TcpStream::connect(to).ok()?;
    let (mut to_client, mut from_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    std::io::copy(&mut client, &mut server).ok()?;
    Some(())
}

#[test]
fn requests_go_through_the_proxy_but_for_the_hosts_that_need_none() {
    for (name, no_proxy, tunnels, ignored) in [
        // one per service: IAM, Secrets Manager, Code Engine
        ("HTTPS_PROXY", "", 3, 0),
        ("https_proxy", "example.com", 3, 0),
        ("HTTPS_PROXY", "example.com , 127.0.0.1", 0, 0),
        ("HTTPS_PROXY", "127.0.0.0/8,127.0.0.1:1", 3, 1),
    ] {
        let scene = Scene::new();
        let proxy = Proxy::open();
        let start = scene.start().env(name, &proxy.url);
        let run = start.env("NO_PROXY", no_proxy).run();
        run.expect(0, "replaced");
        let made = proxy.asked.lock().unwrap().len();
        assert_eq!(made, tunnels, "{name} {no_proxy}");
        // what cannot be followed is said
        let told = "NO_PROXY: 2 entries are ignored";
        assert_eq!(run.log.matches(told).count(), ignored, "{}", run.log);
        assert!(!run.log.contains("proxy-password"));
    }
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let scene = Scene::new();
    let proxy = Proxy::start(|_| Err("407 Proxy Authentication Required"));
    let start = scene.start().env("HTTPS_PROXY", &proxy.url);
    let run = start.env("DEADLINE", "4").run();
    let told = &run.refused(4, "iam-unavailable").message;
    assert!(told.contains("the proxy could not connect"), "{told}");
    assert!(!format!("{run:?}").contains("proxy-password"));
    let bad = "http://[user:proxy-password";
    let run = scene.start().env("HTTPS_PROXY", bad).run();
    let message = &run.rejected(2, "configuration").message;
    assert!(message.contains("HTTPS_PROXY: expected"), "{message}");
    assert!(!message.contains("proxy-password"), "{message}");
}

const PRIVATE: &str = "private.iam.cloud.ibm.com";
const PUBLIC: &str = "iam.cloud.ibm.com";

/// How the private address behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Private {
    Works,
    /// Nobody can connect to it.
    Unreachable,
    /// A gateway answers that has no token service.
    Gateway,
    /// It proves to be somebody else.
    WrongName,
    /// It answers that the profile is wrong: an answer, not an absence.
    Refuses,
}

/// Runs the job without `IAM_URL`, or checks; returns which of the two names it connected to.
fn run(private: Private, check: bool) -> (Run, Vec<String>) {
    let scene = Scene::with(|_| {});
    let iam = scene.cloud.iam_url().replace("https://", "");
    let edge = scene.cloud.edge().to_string();
    // a domain with another certificate
    let project = &scene.world.project_id;
    scene.cloud.map_domain(project, PRIVATE, TLS_SECRET);
    let proxy = Proxy::start(move |to| match (to.trim_end_matches(":443"), private) {
        (PRIVATE, Private::Unreachable) => Err("502 Bad Gateway"),
        (PRIVATE, Private::WrongName) => Ok(edge.clone()),
        (PRIVATE | PUBLIC, _) => Ok(iam.clone()),
        _ => Ok(to.to_owned()),
    });
    let refusal = json!({ "errorCode": "BXNIM0398E", "errorMessage": "profile not eligible" });
    let first = match private {
        Private::Gateway => Some(answer(404, "<html>gateway</html>")),
        Private::Refuses => Some(answer(400, refusal)),
        _ => None,
    };
    let _first = first.map(|answer| scene.fault_once(route::TOKEN, answer));
    let start = scene.start().without("IAM_URL");
    let start = start.env("CHECK", check.to_string());
    let run = start.env("HTTPS_PROXY", &proxy.url).run();
    let mut asked = proxy.asked.lock().unwrap().clone();
    asked.retain(|to| to.ends_with(".com:443"));
    (run, asked)
}

/// A refusal is an answer, and somebody else's certificate no absence: asking elsewhere would hide it.
#[test]
fn the_public_address_stands_in_only_where_the_private_one_is_absent() {
    for (private, also_public, expected) in [
        (Private::Works, false, Ok(None)),
        (Private::Unreachable, true, Ok(Some("iam-public"))),
        (Private::Gateway, true, Ok(Some("iam-public"))),
        (Private::Refuses, false, Err("profile-refused")),
        (Private::WrongName, false, Err("iam-refused")),
    ] {
        let (run, asked) = run(private, false);
        let both = [PRIVATE, PUBLIC].map(|name| format!("{name}:443"));
        let expected_names = &both[..1 + usize::from(also_public)];
        assert_eq!(asked, expected_names, "{private:?}: {run:#?}");
        match expected {
            Ok(finding) => {
                let findings = &run.expect(0, "replaced").findings;
                assert_eq!(findings.first().map(|found| found.code.as_str()), finding);
            }
            Err(reason) => _ = run.refused(4, reason),
        }
    }
}

#[test]
fn the_check_says_which_address_issued_the_token() {
    for (private, address) in [(Private::Works, PRIVATE), (Private::Unreachable, PUBLIC)] {
        let (run, _) = run(private, true);
        let mut lines = run.report.checks.iter();
        let found = lines.find(|line| line.check == "profile").unwrap();
        let end = format!("(https://{address})");
        assert!(found.message.ends_with(&end), "{run:#?}");
    }
}
