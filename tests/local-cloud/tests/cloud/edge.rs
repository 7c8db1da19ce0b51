use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use local_cloud::{CertificateSpec, KeyKind, LocalCloud, Options, Serving};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use serde_json::json;

use crate::client::{get, owner_token, start, write};

const SHOP: &str = "shop.example.com";

/// A cloud with one certificate that a mapping serves; and its id.
fn shop() -> (LocalCloud, String) {
    let cloud = LocalCloud::start(Options::default()).unwrap();
    let id = cloud.issue(CertificateSpec::default());
    let project = cloud.world().project_id;
    cloud.deploy(&id, &project, "shop-tls");
    cloud.map_domain(&project, SHOP, "shop-tls");
    (cloud, id)
}

/// A new version, written into the TLS secret; its serial.
fn replaced(cloud: &LocalCloud, id: &str) -> String {
    cloud.rotate_quietly(&[id]);
    cloud.deploy(id, &cloud.world().project_id, "shop-tls");
    cloud.serial(id).unwrap()
}

fn seen(cloud: &LocalCloud, times: usize) -> Vec<String> {
    (0..times)
        .map(|_| cloud.served(SHOP).unwrap().serial)
        .collect()
}

#[test]
fn late_means_so_many_handshakes_after_each_replacement() {
    let (cloud, id) = shop();
    let project = cloud.world().project_id;
    let first = cloud.serial(&id).unwrap();
    cloud.set_serving(&project, SHOP, Serving::AfterHandshakes(2));
    assert_eq!(seen(&cloud, 3), [&*first; 3], "nothing was replaced yet");
    let second = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 4), [&*first, &*first, &*second, &*second]);
    let third = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [&*second]);
    // replaced again while it waits: counted anew, and the third is never seen
    let fourth = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 3), [&*second, &*second, &*fourth]);
    assert_ne!(third, fourth);
    cloud.set_serving(&project, SHOP, Serving::AtOnce);
    let fifth = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [&*fifth]);
}

#[test]
fn never_keeps_what_it_served() {
    let (cloud, id) = shop();
    let project = cloud.world().project_id;
    let first = cloud.serial(&id).unwrap();
    cloud.set_serving(&project, SHOP, Serving::Never);
    replaced(&cloud, &id);
    let third = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 2), [&*first, &*first]);
    cloud.set_serving(&project, SHOP, Serving::AtOnce);
    assert_eq!(seen(&cloud, 1), [&*third]);
}

/// One mapping of a secret is late, the other is not.
#[test]
fn each_mapping_for_itself() {
    let (cloud, id) = shop();
    let project = cloud.world().project_id;
    cloud.map_domain(&project, "*.shop.example.com", "shop-tls");
    let first = cloud.serial(&id).unwrap();
    cloud.set_serving(&project, "*.shop.example.com", Serving::Never);
    let second = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [&*second]);
    for any_label in ["a.shop.example.com", "b.shop.example.com"] {
        assert_eq!(cloud.served(any_label).unwrap().serial, first);
    }
    assert!(cloud.served("a.b.shop.example.com").is_err());
}

#[test]
fn another_certificate_instead() {
    let (cloud, id) = shop();
    let project = cloud.world().project_id;
    let other = cloud.issue(CertificateSpec {
        name: "other".into(),
        names: vec!["parked.example.com".into()],
        ..Default::default()
    });
    let material = cloud.material(&other);
    let (cert, key) = (material.certificate.unwrap(), material.private_key.unwrap());
    cloud.serve_instead(&project, SHOP, &cert, &key);
    replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [cloud.serial(&other).unwrap()]);
    cloud.set_serving(&project, SHOP, Serving::AtOnce);
    assert_eq!(seen(&cloud, 1), [cloud.serial(&id).unwrap()]);
}

#[test]
fn unreachable_is_a_reset_in_the_handshake() {
    let (cloud, id) = shop();
    let project = cloud.world().project_id;
    cloud.set_serving(&project, SHOP, Serving::Unreachable);
    let (mut client, mut stream) = client(&cloud, &[&TLS13]);
    let error = handshake(&mut client, &mut stream).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert_eq!(cloud.handshakes(SHOP), 1);
    cloud.set_serving(&project, SHOP, Serving::AtOnce);
    assert_eq!(seen(&cloud, 1), [cloud.serial(&id).unwrap()]);
}

/// Silent or dripping: a client that waits for the end of the handshake waits for ever.
#[test]
fn handshakes_that_never_end() {
    let every = Duration::from_millis(1);
    for (serving, answered) in [(Serving::Silent, false), (Serving::Drip(every), true)] {
        let (cloud, _) = shop();
        cloud.set_serving(&cloud.world().project_id, SHOP, serving);
        let (mut client, mut stream) = client(&cloud, &[&TLS12, &TLS13]);
        client.write_tls(&mut stream).unwrap();
        cloud
            .wait_handshakes(SHOP, 1, Duration::from_secs(60))
            .unwrap();
        if answered {
            let mut first = [0; 100];
            stream.read_exact(&mut first).unwrap();
            client.read_tls(&mut first.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        } else {
            stream.set_nonblocking(true).unwrap();
            let nothing = stream.read(&mut [0]).unwrap_err();
            assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
            stream.set_nonblocking(false).unwrap();
        }
        assert!(client.is_handshaking());
        drop(cloud);
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok(), "{serving:?}: {ended:?}");
    }
}

#[test]
fn the_right_certificate_with_the_wrong_key() {
    let (cloud, id) = shop();
    for key in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
        cloud.change_spec(&id, |spec| spec.key = key);
        let serial = replaced(&cloud, &id);
        let project = cloud.world().project_id;
        for version in [&TLS12, &TLS13] {
            cloud.set_serving(&project, SHOP, Serving::WrongKey);
            assert_eq!(seen(&cloud, 1), [&*serial]);
            let (mut client, mut stream) = client(&cloud, &[version]);
            let error = handshake(&mut client, &mut stream).unwrap_err();
            assert!(error.to_string().contains("BadSignature"), "{error}");
            cloud.set_serving(&project, SHOP, Serving::AtOnce);
            let (mut client, mut stream) = self::client(&cloud, &[version]);
            handshake(&mut client, &mut stream).unwrap();
        }
    }
}

#[test]
fn both_versions_of_tls_and_a_trusted_chain() {
    let (cloud, _) = shop();
    for version in [&TLS12, &TLS13] {
        let (mut client, mut stream) = client(&cloud, &[version]);
        handshake(&mut client, &mut stream).unwrap();
        assert_eq!(client.protocol_version(), Some(version.version));
    }
}

/// Also an expired one: what the edge serves is not judged.
#[test]
fn an_expired_certificate_is_served() {
    let (cloud, id) = shop();
    cloud.change_spec(&id, |spec| {
        (spec.not_before_days, spec.not_after_days) = (-90, -1);
    });
    let expired = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [&*expired]);
}

#[test]
fn what_a_client_sends_is_counted() {
    let (cloud, _) = shop();
    assert_eq!((cloud.handshakes(SHOP), cloud.edge_bytes(SHOP)), (0, 0));
    seen(&cloud, 2);
    assert_eq!((cloud.handshakes(SHOP), cloud.edge_bytes(SHOP)), (2, 0));
    let (mut client, mut stream) = client(&cloud, &[&TLS13]);
    handshake(&mut client, &mut stream).unwrap();
    client.writer().write_all(b"GET /").unwrap();
    client.complete_io(&mut stream).unwrap();
    drop(stream);
    assert_eq!((cloud.handshakes(SHOP), cloud.edge_bytes(SHOP)), (3, 5));
    assert_eq!(cloud.handshakes("www.shop.example.com"), 0);
    assert!(cloud.served("unknown.example.com").is_err());
    assert_eq!(cloud.handshakes("unknown.example.com"), 1);
}

#[test]
fn mappings_of_the_platform_and_of_other_projects() {
    let cloud = start();
    let home = cloud.world().project_id;
    let other = cloud.create_project("second", "eu-de");
    for project in [&home, &other] {
        cloud.put_tls_secret(project, "shop-tls", "a", "b");
    }
    cloud.map_domain(&home, "a.example.com", "shop-tls");
    cloud.map_domain(&other, "b.example.com", "shop-tls");
    cloud.set_cname_target(&home, "a.example.com", "custom.example.net");
    cloud.map_domain_with(
        &home,
        "shop.1a2b3c.eu-de.codeengine.appdomain.cloud",
        json!({ "user_managed": false, "visibility": "public", "tls_secret": "platform-tls" }),
    );
    let owner = owner_token(&cloud);
    let base = format!("{}/v2/projects", cloud.code_engine_url());
    let list = |project: &str| {
        let url = format!("{base}/{project}/domain_mappings");
        get(&url, &owner).json()["domain_mappings"].clone()
    };
    let (of_home, of_other) = (list(&home), list(&other));
    assert_eq!(of_home[0]["cname_target"], "custom.example.net");
    assert_eq!(of_home[0]["user_managed"], true);
    assert_eq!(of_home[1]["user_managed"], false);
    assert_eq!(of_home[1]["tls_secret"], "platform-tls");
    assert_eq!(of_other[0]["name"], "b.example.com");
    assert_eq!(of_other.as_array().unwrap().len(), 1);
    let url = format!("{base}/{home}/domain_mappings/a.example.com");
    let patch = json!({ "user_managed": false });
    assert_eq!(write("PATCH", &url, &owner, Some("*"), &patch).status, 400);
}

/// The same by curl: what the README shows.
#[test]
fn the_control_port_knows_it_too() {
    let cloud = start();
    let project = cloud.world().project_id;
    let id = cloud.issue(CertificateSpec::default());
    cloud.deploy(&id, &project, "shop-tls");
    let base = cloud.control_url();
    let domain = format!("{base}/projects/{project}/domains/{SHOP}");
    let put = |url: &str, body: serde_json::Value| {
        let answer = write("PUT", url, "", None, &body);
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
    };
    put(
        &domain,
        json!({ "tls_secret": "shop-tls", "visibility": "private" }),
    );
    put(
        &format!("{domain}/serving"),
        json!({ "after_handshakes": 1 }),
    );
    let before = cloud.serial(&id).unwrap();
    let after = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 2), [before, after]);
    let clients = get(&format!("{base}/clients/{SHOP}"), "").json();
    assert_eq!(clients, json!({ "handshakes": 2, "bytes": 0 }));
    put(&format!("{domain}/serving"), json!("unreachable"));
    assert!(cloud.served(SHOP).is_err());
    let unknown = format!("{base}/projects/{project}/domains/nothing/serving");
    assert_eq!(
        write("PUT", &unknown, "", None, &json!("never")).status,
        400
    );
}

/// A client that trusts the roots of this world.
fn client(
    cloud: &LocalCloud,
    versions: &[&'static SupportedProtocolVersion],
) -> (ClientConnection, TcpStream) {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(cloud.ca_file()).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(SHOP).unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(cloud.edge()).unwrap();
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).unwrap();
    (client, stream)
}

fn handshake(client: &mut ClientConnection, stream: &mut TcpStream) -> std::io::Result<()> {
    while client.is_handshaking() {
        client.complete_io(stream)?;
    }
    Ok(())
}
