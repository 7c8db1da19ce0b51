use local_cloud::{CertificateSpec, SecretType};

use super::bare;
use crate::harness::{Scene, spec_for};

/// `UPDATE_DOCS=1 cargo test --test job discover` rewrites the example. IDs, dates and the time that
/// the run took differ each time.
#[test]
#[expect(clippy::disallowed_methods, reason = "a person asks for the new text this way")]
fn the_example_in_the_docs_is_real() {
    const BEGIN: &str = "<!-- begin output: UPDATE_DOCS=1 cargo test --test job discover -->\n\n";
    const END: &str = "\n<!-- end output -->";
    let scene = Scene::with(|_| {});
    let project = &scene.world.project_id;
    let cloud = &scene.cloud;
    let deploy = |names: &[&str], tls_secret: &str, spec: CertificateSpec| {
        let names = spec_for(names).names;
        let secret = cloud.issue(CertificateSpec { names, ..spec });
        cloud.deploy(&secret, project, tls_secret);
        secret
    };
    let elsewhere = || CertificateSpec {
        secret_group_id: Some(scene.world.foreign_secret_group_id.clone()),
        ..CertificateSpec::default()
    };
    deploy(&["blog.example.com"], "blog-tls", CertificateSpec::default());
    deploy(&["api.example.com"], "api-tls", elsewhere());
    let expired = CertificateSpec { not_before_days: -91, not_after_days: -1, ..elsewhere() };
    deploy(&["old.example.org"], "old-tls", expired);
    let internal =
        CertificateSpec { secret_type: SecretType::PrivateCert, ..CertificateSpec::default() };
    deploy(&["intranet.example.internal"], "intranet-tls", internal);
    for (name, names) in [
        ("api", ["api.example.com"]),
        ("wildcard", ["*.example.com"]),
        ("spare", ["spare.example.net"]),
    ] {
        cloud.issue(CertificateSpec { name: name.to_owned(), ..spec_for(&names) });
    }
    for name in ["blog", "api"] {
        cloud.map_domain(project, &format!("{name}.example.com"), &format!("{name}-tls"));
    }
    let (status, text) = bare(&scene).arg("--output").arg("text").printed();
    let wide = text.lines().find(|line| line.chars().count() > 80);
    assert_eq!((status, wide), (0, None), "{text}");
    let indent = |line: &str| match line {
        "" => "\n".to_owned(),
        line => format!("    {line}\n"),
    };
    let real: String = text.lines().map(indent).collect();

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/discover.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let (before, rest) = docs.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{real}{END}{after}")).unwrap();
        return;
    }
    assert!(fixed(shown) == fixed(&real), "docs/discover.md should contain:\n{real}");
}

/// The text without what differs each time: numbers, dates and IDs.
fn fixed(text: &str) -> String {
    let varies = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let unit = matches!(word, "ms" | "s");
        unit || word.starts_with("20") || word.len() == 36 || word.parse::<f64>().is_ok()
    };
    let words = text.split_inclusive([' ', '"', ')', '\n']);
    words
        .map(|word| match varies(word) {
            true => "_".to_owned(),
            false => word.to_owned(),
        })
        .collect()
}
