//! `--discover`: what is found in projects full of TLS secrets, and what each missing answer costs.

mod example;

use std::collections::BTreeSet;

use local_cloud::{CertificateSpec, FaultGuard, FaultKind, Policy, Role, SecretType, route};
use serde_json::{Value, json};

use crate::harness::{Discovered, Run, Scene, Start, answer, secrets_reader, spec_for, writer};

fn scene() -> Scene {
    Scene::with(|_| {})
}

/// `--discover` with neither target nor event.
fn bare(scene: &Scene) -> Start<'_> {
    scene.start().bare().arg("--discover")
}

/// The same in Code Engine, and a target makes a second project known.
fn in_both(scene: &Scene, second: &str) -> Run {
    let target = json!([{ "secret_id": scene.secret, "tls_secret": "any", "project_id": second }]);
    let start = bare(scene).env("TARGETS", target.to_string());
    start.env("CE_JOBRUN", "discover-x7k2p").run()
}

fn issue(scene: &Scene, name: &str) -> String {
    scene.cloud.issue(spec_for(&[name]))
}

/// The right to look, and no more.
fn reader(project: &str) -> Policy {
    Policy::CodeEngine { role: Role::Reader, project_id: project.to_owned() }
}

/// The lines of the log that hold a TLS secret each.
fn logged(run: &Run) -> Vec<Discovered> {
    let lines = run.log.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|mut line| serde_json::from_value(line["discovered"].take()).ok()).collect()
}

/// Each kind in one of two projects, with the certificates that were made for it. Nothing is asked for
/// but to look. A run with the proposed targets makes the certain ones the same.
#[test]
fn each_kind_of_tls_secret_is_found_and_the_certain_ones_are_proposed() {
    let scene = scene();
    let (cloud, world) = (&scene.cloud, &scene.world);
    let second = cloud.create_project("second", &world.region);
    let domain = |kind: &str| format!("{kind}.example.com");
    let here = |kind: &str| issue(&scene, &domain(kind));
    let imported = |kind: &str| CertificateSpec {
        name: format!("imported-{kind}"),
        secret_type: SecretType::ImportedCert,
        ..spec_for(&[domain("more"), domain(kind)])
    };
    let elsewhere = |kind: &str| {
        let secret_group_id = Some(world.foreign_secret_group_id.clone());
        cloud.issue(CertificateSpec {
            name: format!("elsewhere-{kind}"),
            secret_group_id,
            ..spec_for(&[domain(kind)])
        })
    };
    let same = here("same");
    let expired = cloud.issue(CertificateSpec {
        not_before_days: -91,
        not_after_days: -1,
        ..spec_for(&[domain("expired")])
    });
    let rows = [
        ("same", "same", same.clone(), vec![same]),
        ("expired", "renewed", expired.clone(), vec![expired.clone()]),
        ("one", "covers", elsewhere("one"), vec![here("one")]),
        (
            "several",
            "covers",
            elsewhere("several"),
            vec![here("several"), cloud.issue(imported("several"))],
        ),
        ("none", "none", elsewhere("none"), vec![]),
    ];
    let project = |position: usize| [&world.project_id, &second][position % 2];
    for (position, (kind, _, deployed, _)) in rows.iter().enumerate() {
        let project = project(position);
        let tls_secret = format!("{kind}-tls");
        cloud.deploy(deployed, project, &tls_secret);
        cloud.map_domain(project, &domain(kind), &tls_secret);
    }
    cloud.change_spec(&expired, |spec| {
        (spec.not_before_days, spec.not_after_days) = (0, 90);
    });
    cloud.rotate_quietly(&[&expired]);
    let broken = "-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n";
    cloud.put_tls_secret(&second, "broken-tls", broken, "no key");
    let unused = ["a", "b"].map(|name| issue(&scene, &format!("unused-{name}.example.net")));
    let mut policies = vec![
        Policy::SecretsManager {
            role: Role::Reader,
            secret_group_id: Some(world.secret_group_id.clone()),
        },
        reader(&world.project_id),
        reader(&second),
    ];
    cloud.set_policies(policies.clone());
    cloud.clear_journal();
    let before = cloud.state();
    let run = in_both(&scene, &second);
    assert_eq!(run.status, 0, "{run:#?}");

    // nothing changes, nothing but reading is asked for, and no payload
    assert_eq!(cloud.state(), before);
    for entry in cloud.journal() {
        let route = entry.route.as_deref().unwrap_or_default();
        let payload = [route::READ_SECRET, route::READ_VERSION].contains(&route);
        let looks = entry.method == "GET" || route == route::TOKEN;
        assert!(looks && !payload, "{entry:?}");
    }
    // each TLS secret has its log line, whole, and so has the report
    for found in [&logged(&run), run.report.discovered.as_ref().unwrap()] {
        assert_eq!(found.len(), 7, "{run:#?}");
        for (position, (kind, word, _, candidates)) in rows.iter().enumerate() {
            let one = found.iter().find(|f| f.tls_secret == format!("{kind}-tls"));
            let one = one.unwrap_or_else(|| panic!("no {kind}: {run:#?}"));
            let is = (&one.project_id, one.matches.as_deref());
            assert_eq!(is, (project(position), Some(*word)), "{kind}");
            let ids = one.candidates.iter().map(|one| &one.secret_id);
            let ids: BTreeSet<&String> = ids.collect();
            assert_eq!(ids, candidates.iter().collect(), "{kind}: {one:#?}");
            let domains = [domain(kind)];
            assert_eq!(
                (&one.names[..], one.domains.as_deref()),
                (&domains[..], Some(&domains[..]))
            );
            assert!(one.not_after.is_some(), "{one:#?}");
        }
    }
    let proposed = run.report.proposed_targets.as_deref().unwrap();
    for (secret, tls_secret, project) in [
        (&scene.secret, "shop-tls", &world.project_id),
        (&rows[0].2, "same-tls", &world.project_id),
        (&expired, "expired-tls", &second),
    ] {
        let target =
            json!({ "secret_id": secret, "tls_secret": tls_secret, "project_id": project });
        assert!(proposed.contains(&target), "{target}: {run:#?}");
    }
    let left = run.report.unused_certificates.as_ref().unwrap().iter();
    let left: BTreeSet<&String> = left.map(|one| &one.secret_id).collect();
    assert_eq!(left, unused.iter().collect());
    let counts = "7 TLS secrets: 1 same, 2 renewed, 2 covers, 1 none, 1 unreadable";
    assert_eq!(run.report.message, counts);

    policies.extend([writer(&world.project_id), writer(&second)]);
    policies.push(secrets_reader(&world.secret_group_id));
    cloud.set_policies(policies);
    let targets = json!(proposed);
    let replaced = scene.start().targets(&targets).run_beside_others();
    replaced.says(0, "2 replaced, 1 unchanged");
    let counts = "7 TLS secrets: 3 same, 2 covers, 1 none, 1 unreadable";
    assert_eq!(in_both(&scene, &second).report.message, counts);
}

/// A list without data means one read each; versions are read where names match and the serial
/// differs.
#[test]
fn only_what_decides_is_read() {
    for (data_in_lists, reads) in [(true, 0), (false, 2)] {
        let scene = Scene::with(|options| options.data_in_lists = data_in_lists);
        let same = issue(&scene, "same.example.com");
        let project = &scene.world.project_id;
        scene.cloud.deploy(&same, project, "same-tls");
        issue(&scene, "unused.example.com");
        let run = bare(&scene).run();
        assert_eq!(run.report.message, "2 TLS secrets: 1 same, 1 renewed");
        let [unused] = run.report.unused_certificates.as_deref().unwrap() else {
            panic!("{run:#?}")
        };
        assert_eq!(unused.secret_name.as_deref(), Some("unused-example-com"));
        assert_eq!(unused.secret_type, "public_cert");
        assert!(unused.not_after.as_ref().unwrap().ends_with('Z'));
        assert_eq!(scene.times_asked(route::READ_TLS_SECRET), reads);
        assert_eq!(scene.times_asked(route::READ_VERSION_METADATA), 1);
    }
}

/// The next list begins with a page of this item alone.
fn short_page(scene: &Scene, list: &str, name: &str, item: &Value) -> FaultGuard {
    let page = json!({ "next": { "start": "after-" }, name: [item] });
    scene.fault_once(list, answer(200, page))
}

/// A TLS secret with this name and what the scene's own holds.
fn named(scene: &Scene, name: &str) -> Value {
    let own = scene.tls_secret();
    let data = json!({ "tls_cert": own.tls_cert, "tls_key": own.tls_key });
    json!({ "name": name, "format": "tls", "data": data })
}

/// A project has at most 100 secrets, which is one page; a service may make shorter ones. The line
/// stays short, and says how much is missing.
#[test]
fn all_pages_of_all_lists_are_read() {
    let scene = scene();
    for number in 0..210 {
        let secret = issue(&scene, &format!("n{number}.example.com"));
        if number < 90 {
            let (project, name) = (&scene.world.project_id, format!("tls-{number}"));
            scene.cloud.deploy(&secret, project, &name);
        }
    }
    let first = named(&scene, "first-tls");
    let mapping =
        json!({ "name": "first.example.com", "tls_secret": "first-tls", "user_managed": true });
    let lists = [
        (route::LIST_TLS_SECRETS, "secrets", first),
        (route::LIST_DOMAIN_MAPPINGS, "domain_mappings", mapping),
    ];
    let _pages = lists.map(|(list, name, item)| short_page(&scene, list, name, &item));
    scene.cloud.clear_journal();
    let run = bare(&scene).env("CE_JOBRUN", "discover-x7k2p").run();
    assert_eq!(run.report.message, "92 TLS secrets: 90 same, 2 renewed");
    for list in [route::LIST_SECRETS, route::LIST_TLS_SECRETS, route::LIST_DOMAIN_MAPPINGS] {
        assert_eq!(scene.times_asked(list), 2, "{list}");
    }
    let found = logged(&run);
    let domains = found.iter().flat_map(|one| one.domains.iter().flatten());
    let domains: Vec<&String> = domains.collect();
    assert_eq!(domains, ["first.example.com", "shop.example.com"]);
    let report = &run.report;
    let shown = [
        report.discovered.as_ref().unwrap().len() + report.discovered_omitted,
        report.proposed_targets.as_ref().unwrap().len() + report.proposed_targets_omitted,
        report.unused_certificates.as_ref().unwrap().len() + report.unused_certificates_omitted,
    ];
    assert_eq!(shown, [92, 92, 120]);
    assert!(report.discovered_omitted > 0 && report.proposed_targets_omitted > 0);
}

/// A profile that may see other groups only gets an empty list, not an error.
#[test]
fn an_empty_list_of_certificates_is_a_warning() {
    let scene = Scene::new();
    let elsewhere = secrets_reader(&scene.world.foreign_secret_group_id);
    let writer = writer(&scene.world.project_id);
    scene.cloud.set_policies(vec![elsewhere, writer]);
    let run = bare(&scene).run();
    run.says(0, "1 TLS secret: 1 none");
    assert!(run.log.contains("lists no certificate"), "{}", run.log);
}

#[test]
fn without_a_token_nothing_is_found() {
    let scene = Scene::new();
    scene.cloud.set_links(Vec::new());
    let run = bare(&scene).run();
    let command = &run.rejected(4, "profile-refused").command;
    assert!(command.is_some() && run.report.discovered.is_none());
}

/// What could be read is there, and the command that grants the rest.
#[test]
fn no_right_to_one_of_the_projects() {
    let scene = scene();
    let second = scene.cloud.create_project("second", &scene.world.region);
    scene.cloud.deploy(&scene.secret, &second, "second-tls");
    let run = in_both(&scene, &second);
    let error = run.rejected(7, "code-engine-forbidden");
    let command = error.command.as_deref().unwrap_or_default();
    let granting = "ibmcloud iam trusted-profile-policy-create";
    assert!(command.starts_with(granting), "{command}");
    let found = logged(&run);
    let names: Vec<&str> = found.iter().map(|one| &*one.tls_secret).collect();
    assert_eq!(names, ["shop-tls"]);
    // what nothing uses is not known
    assert!(run.report.unused_certificates.is_none());
}

/// The report has the first failure, the log the others.
#[test]
fn a_list_that_fails_alone() {
    let scene = Scene::with(|options| options.data_in_lists = false);
    let refused = |list, answer| scene.fault(list, FaultKind::Status(answer));
    let (sm, ce) = ("secret-forbidden", "code-engine-forbidden");
    let (covers, renewed, unreadable) = (Some("covers"), Some("renewed"), Some("unreadable"));
    for (failing, answer, (status, code), matches) in [
        (route::LIST_SECRETS, 403, (5, sm), None),
        (route::LIST_SECRETS, 501, (5, "secrets-manager-refused"), None),
        (route::READ_VERSION_METADATA, 403, (5, sm), covers),
        (route::LIST_DOMAIN_MAPPINGS, 403, (7, ce), renewed),
        (route::READ_TLS_SECRET, 403, (7, ce), unreadable),
    ] {
        let _guard = refused(failing, answer);
        let run = bare(&scene).run();
        let command = &run.rejected(status, code).command;
        assert_eq!(command.is_some(), answer == 403, "{failing}: {run:#?}");
        let [found] = run.report.discovered.as_deref().unwrap() else { panic!("{run:#?}") };
        assert_eq!(found.matches.as_deref(), matches, "{failing}: {run:#?}");
        let domains_known = failing != route::LIST_DOMAIN_MAPPINGS;
        assert_eq!(found.domains.is_some(), domains_known, "{failing}");
    }
    let _lists = [route::LIST_SECRETS, route::LIST_DOMAIN_MAPPINGS].map(|list| refused(list, 400));
    let run = bare(&scene).env("CE_JOBRUN", "discover-x7k2p").run();
    let first = &run.rejected(5, "secrets-manager-refused").message;
    assert!(first.contains("cannot list the certificates"), "{first}");
    let second = r#"{"level":"error","message":"cannot list the domain mappings of project "#;
    assert_eq!(run.log.matches(second).count(), 1, "{}", run.log);
    assert!(!run.log.contains(first), "{}", run.log);
}

#[test]
fn a_list_of_certificates_without_end_is_given_up() {
    let scene = scene();
    let item = json!({ "id": scene.secret, "secret_type": "public_cert" });
    let endless = json!({ "secrets": vec![item; 200] });
    let _endless = scene.fault(route::LIST_SECRETS, answer(200, endless));
    let run = bare(&scene).run();
    let told = &run.rejected(5, "secrets-manager-refused").message;
    assert!(told.contains("the list has more than "), "{told}");
}

/// What the platform generates, other formats, and names that Code Engine does not allow: they would
/// be pasted into a shell.
#[test]
fn what_cannot_be_a_target_is_left_out() {
    let scene = scene();
    let put = |name, format, by, data| {
        let project = &scene.world.project_id;
        scene.cloud.put_secret(project, name, format, by, data);
    };
    put("platform", "tls", "system", named(&scene, "platform")["data"].clone());
    put("other", "generic", "user", json!({ "a": "b" }));
    let hostile = named(&scene, "x-tls'; reboot #");
    let _page = short_page(&scene, route::LIST_TLS_SECRETS, "secrets", &hostile);
    let run = bare(&scene).run();
    assert_eq!(run.report.message, "1 TLS secret: 1 renewed", "{run:#?}");
    assert!(run.log.contains("a TLS secret is left out"), "{}", run.log);
    // nor do names of certificates forge a line
    scene.cloud.issue(CertificateSpec {
        name: "evil\n\u{1b}[31mname".to_owned(),
        ..spec_for(&["evil.example.net"])
    });
    let (_, text) = bare(&scene).env("OUTPUT", "text").printed();
    assert!(text.contains("\n    … (public_cert"), "{text}");
    assert!(!text.contains("evil"), "{text}");
}

#[test]
fn the_region_of_a_target_is_proposed_too() {
    let scene = scene();
    let elsewhere = scene.cloud.create_project("elsewhere", "us-south");
    scene.cloud.grant(writer(&elsewhere));
    scene.cloud.deploy(&scene.secret, &elsewhere, "far-tls");
    let url = scene.start().environment["CODE_ENGINE_URL"].clone();
    let target = json!([{
        "secret_id": scene.secret, "tls_secret": "far-tls", "project_id": elsewhere, "region": "us-south",
    }]);
    let start = bare(&scene).env("TARGETS", target.to_string());
    let start = start.env("CODE_ENGINE_URL", format!("{url}/{{region}}"));
    let run = start.env("CE_REGION", &scene.world.region).run();
    assert_eq!(run.status, 0, "{run:#?}");
    let proposed = run.report.proposed_targets.unwrap();
    assert_eq!(proposed[0].get("region"), None);
    assert_eq!(proposed[1], target[0]);
}

#[test]
fn neither_target_nor_event_is_needed_but_a_project_is() {
    let scene = Scene::new();
    let run = bare(&scene).env("ibmendata", "no event at all").run();
    assert_eq!(run.status, 0, "{run:#?}");
    let run = bare(&scene).without("PROJECT_ID").run();
    let message = &run.rejected(2, "configuration").message;
    assert!(message.contains("PROJECT_ID: "), "{message}");
}
