use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;

use local_cloud::{CertificateSpec, KeyKind, LocalCloud, Options, Serving};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

const SHOP: &str = "shop.example.com";

/// A cloud with one certificate that a mapping serves; its id, the project.
fn shop() -> (LocalCloud, String, String) {
    let cloud = LocalCloud::start(Options::default()).unwrap();
    let id = cloud.issue(CertificateSpec::default());
    let project = cloud.world().project_id;
    cloud.deploy(&id, &project, "shop-tls");
    cloud.map_domain(&project, SHOP, "shop-tls");
    (cloud, id, project)
}

/// A new version, written into the TLS secret; its serial.
fn replaced(cloud: &LocalCloud, id: &str) -> String {
    cloud.rotate_quietly(&[id]);
    cloud.deploy(id, &cloud.world().project_id, "shop-tls");
    cloud.serial(id).unwrap()
}

fn seen(cloud: &LocalCloud, times: usize) -> Vec<String> {
    let serial = |_| cloud.served(SHOP).unwrap().serial;
    (0..times).map(serial).collect()
}

#[test]
fn late_means_so_many_handshakes_after_each_replacement() {
    let (cloud, id, project) = shop();
    let first = cloud.serial(&id).unwrap();
    cloud.set_serving(&project, SHOP, Serving::AfterHandshakes(2));
    assert_eq!(seen(&cloud, 3), [&*first; 3], "nothing was replaced yet");
    let second = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 4), [&*first, &*first, &*second, &*second]);
    replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [&*second]);
    // replaced again while it waits: counted anew, and the third is never seen
    let fourth = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 3), [&*second, &*second, &*fourth]);
    cloud.set_serving(&project, SHOP, Serving::AtOnce);
    let fifth = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [&*fifth]);
    assert_eq!(cloud.handshakes(SHOP), 12);
}

/// One mapping of a secret is late, the other is not; `*` is one label.
#[test]
fn each_mapping_for_itself() {
    let (cloud, id, project) = shop();
    let wildcard = "*.shop.example.com";
    cloud.map_domain(&project, wildcard, "shop-tls");
    let first = cloud.serial(&id).unwrap();
    cloud.set_serving(&project, wildcard, Serving::Never);
    let second = replaced(&cloud, &id);
    assert_eq!(seen(&cloud, 1), [&*second]);
    assert_eq!(cloud.served("a.shop.example.com").unwrap().serial, first);
    assert!(cloud.served("a.b.shop.example.com").is_err());
}

/// A handshake that is never answered, and two that fail.
#[test]
fn silent_unreachable_or_with_the_wrong_key() {
    let (cloud, id, project) = shop();
    for key in [KeyKind::P256, KeyKind::Ed25519] {
        cloud.change_spec(&id, |spec| spec.key = key);
        replaced(&cloud, &id);
        for version in [&TLS12, &TLS13] {
            cloud.set_serving(&project, SHOP, Serving::WrongKey);
            let error = handshake(&cloud, version).unwrap_err();
            assert!(error.contains("BadSignature"), "{error}");
            cloud.set_serving(&project, SHOP, Serving::AtOnce);
            assert_eq!(handshake(&cloud, version), Ok(()));
        }
    }
    cloud.set_serving(&project, SHOP, Serving::Unreachable);
    let error = handshake(&cloud, &TLS13).unwrap_err();
    assert!(error.contains("reset"), "{error}");
    cloud.set_serving(&project, SHOP, Serving::Silent);
    let before = cloud.handshakes(SHOP);
    let (mut client, mut stream) = client(&cloud, &TLS13);
    client.write_tls(&mut stream).unwrap();
    while cloud.handshakes(SHOP) == before {
        std::thread::yield_now();
    }
    drop(cloud);
    let mut answered = Vec::new();
    stream.read_to_end(&mut answered).unwrap();
    assert!(answered.is_empty(), "{answered:?}");
}

/// A client that trusts the roots of this world.
fn client(
    cloud: &LocalCloud,
    version: &'static SupportedProtocolVersion,
) -> (ClientConnection, TcpStream) {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(cloud.ca_file()).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(SHOP).unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    (client, TcpStream::connect(cloud.edge()).unwrap())
}

fn handshake(cloud: &LocalCloud, version: &'static SupportedProtocolVersion) -> Result<(), String> {
    let (mut client, mut stream) = client(cloud, version);
    while client.is_handshaking() {
        let done = client.complete_io(&mut stream);
        done.map_err(|error| error.to_string())?;
    }
    Ok(())
}
