//! The default addresses of IAM are fixed names that no test can serve; a proxy leads them to a
//! stand-in: TLS for these names by a CA that the run trusts, then the local cloud's token service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use local_cloud::{CertificateSpec, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::harness::{Run, Scene};

const PRIVATE: &str = "private.iam.cloud.ibm.com";
const PUBLIC: &str = "iam.cloud.ibm.com";

/// How the private address behaves.
#[derive(Clone, Copy, Eq, PartialEq)]
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
    let options = Options {
        https: false,
        ..Options::default()
    };
    let scene = Scene::with(options, CertificateSpec::default());

    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = match private {
        Private::WrongName => vec![PUBLIC.to_owned()],
        _ => vec![PRIVATE.to_owned(), PUBLIC.to_owned()],
    };
    let leaf = CertificateParams::new(names).unwrap();
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(
        vec![leaf.der().clone()],
        PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
    )
    .unwrap();
    let roots = scene.cloud.ca_file().with_file_name("iam-ca.pem");
    // the root of the certificates that are deployed is one that clients know
    let known = scene.cloud.authority().public_root();
    std::fs::write(&roots, format!("{}{known}", ca.pem())).unwrap();

    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let iam: SocketAddr = scene
        .cloud
        .iam_url()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let tls = Arc::new(tls);
    std::thread::scope(|scope| {
        let stand_in = scope.spawn(move || {
            let mut asked = Vec::new();
            for client in proxy.incoming() {
                let Some(name) = serve(client.unwrap(), private, &tls, iam) else {
                    break;
                };
                asked.push(name);
            }
            asked
        });
        let run = scene
            .start()
            .without("IAM_URL")
            .env("CHECK", check.to_string())
            .env("HTTPS_PROXY", &url)
            .env("SSL_CERT_FILE", roots.display().to_string())
            .run();
        // an empty line tells the stand-in to end
        TcpStream::connect(url.trim_start_matches("http://"))
            .unwrap()
            .write_all(b"\r\n")
            .unwrap();
        (run, stand_in.join().unwrap())
    })
}

/// Serves one tunnel; returns the name that was asked for, or none for the end.
fn serve(
    mut client: TcpStream,
    private: Private,
    tls: &Arc<ServerConfig>,
    iam: SocketAddr,
) -> Option<String> {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let name = line.strip_prefix("CONNECT ")?.split(':').next()?.to_owned();
    while reader.read_line(&mut line).unwrap() > 2 {}
    let is_private = name == PRIVATE;
    if is_private && private == Private::Unreachable {
        client
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            .unwrap();
        return Some(name);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let connection = ServerConnection::new(tls.clone()).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, client));
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if stream.read_line(&mut head).is_err() {
            // the client does not like our certificate
            return Some(name);
        }
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let answer = if is_private && private == Private::Gateway {
        ("404 Not Found", "<html>gateway</html>".to_owned())
    } else if is_private && private == Private::Refuses {
        let refusal =
            r#"{"errorCode":"BXNIM0398E","errorMessage":"Selected trusted profile not eligible."}"#;
        ("400 Bad Request", refusal.to_owned())
    } else {
        let mut answer = ureq::post(format!("http://{iam}/identity/token"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(&body)
            .unwrap();
        ("200 OK", answer.body_mut().read_to_string().unwrap())
    };
    let (status, body) = answer;
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let stream = stream.get_mut();
    stream.write_all(answer.as_bytes()).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    Some(name)
}

/// A refusal is an answer, and somebody else's certificate no absence: asking elsewhere would hide it.
#[test]
fn the_public_address_stands_in_only_where_the_private_one_is_absent() {
    let (one, both) = (vec![PRIVATE], vec![PRIVATE, PUBLIC]);
    for (private, asked, expected) in [
        (Private::Works, &one, Ok(None)),
        (Private::Unreachable, &both, Ok(Some("iam-public"))),
        (Private::Gateway, &both, Ok(Some("iam-public"))),
        (Private::Refuses, &one, Err("profile-refused")),
        (Private::WrongName, &one, Err("iam-refused")),
    ] {
        let (run, found) = run(private, false);
        assert_eq!(found, *asked, "{run:#?}");
        match expected {
            Ok(finding) => {
                let findings = &run.expect(0, "replaced").findings;
                assert_eq!(findings.first().map(|found| found.code.as_str()), finding);
            }
            Err(reason) => {
                run.refused(4, reason);
            }
        }
    }
}

#[test]
fn the_check_says_which_address_issued_the_token() {
    for (private, address) in [(Private::Works, PRIVATE), (Private::Unreachable, PUBLIC)] {
        let (run, _) = run(private, true);
        let mut lines = run.report.checks.iter();
        let found = lines.find(|line| line.check == "profile").unwrap();
        assert!(
            found.message.ends_with(&format!("(https://{address})")),
            "{run:#?}"
        );
    }
}
