use local_cloud::{CertificateSpec, LocalCloud, Options, Serving};

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
    assert_eq!(cloud.handshakes(SHOP), 11);
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
