//! `--discover`: what is found in two projects full of TLS secrets, and what each missing answer costs.

mod example;
mod world;

use std::collections::BTreeSet;

use local_cloud::{CertificateSpec, Fault, FaultGuard, FaultKind, Options, route};
use serde_json::{Value, json};

use self::world::{Kind, World, as_made, bare, issue, spec};
use crate::harness::{Discovered, Run, Scene, TLS_SECRET, secrets_reader, writer};

fn scene() -> Scene {
    Scene::with(Options::default(), CertificateSpec::default())
}

/// The lines of the log that hold a TLS secret each.
fn logged(run: &Run) -> Vec<Discovered> {
    let lines = run
        .log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter_map(|mut line| serde_json::from_value(line["discovered"].take()).ok())
        .collect()
}

#[test]
fn forty_tls_secrets_in_two_projects() {
    let world = World::new(Scene::of(CertificateSpec::default()));
    let before = world.scene.cloud.state();
    let run = world.discover().env("CE_JOBRUN", "discover-x7k2p").run();
    assert_eq!(run.status, 0, "{run:#?}");

    // nothing changes, nothing but reading is asked for, and no payload
    assert_eq!(world.scene.cloud.state(), before);
    for entry in world.scene.cloud.journal() {
        let route = entry.route.as_deref().unwrap_or_default();
        assert!(entry.method == "GET" || route == route::TOKEN, "{entry:?}");
        assert!(
            route != route::READ_SECRET && route != route::READ_VERSION,
            "{entry:?}"
        );
    }

    // each TLS secret has its log line, whole; the line of JSON says the same, if there is room
    let logged = logged(&run);
    assert_eq!(logged.len(), 40);
    let report = &run.report;
    let found = world.found(&run);
    assert_eq!(found.len() + report.discovered_omitted, 40);
    for pair in &world.pairs {
        let is = |one: &&Discovered| (&one.project_id, &one.tls_secret) == pair.place();
        let one = logged
            .iter()
            .find(is)
            .unwrap_or_else(|| panic!("no {}", pair.tls_secret));
        as_made(pair, one);
        if pair.kind != Kind::Unreadable && pair.tls_secret != TLS_SECRET {
            let name = [pair.tls_secret.replace("tls-", "n") + ".example.com"];
            assert_eq!(
                (&one.names[..], one.domains.as_deref()),
                (&name[..], Some(&name[..]))
            );
            assert!(one.not_after.is_some());
        }
        if let Some(found) = found.get(&pair.place()) {
            assert_eq!(found.matches.as_deref(), Some(pair.kind.word()));
        }
    }
    let certain = world.certain();
    let wanted = certain.iter().map(|pair| {
        json!({ "secret_id": pair.secrets[0], "tls_secret": pair.tls_secret, "project_id": pair.project })
    });
    let proposed = report.proposed_targets.as_deref().unwrap();
    assert_eq!(proposed.len(), certain.len());
    assert!(
        wanted.into_iter().all(|target| proposed.contains(&target)),
        "{run:#?}"
    );
    let unused = report.unused_certificates.as_ref().unwrap();
    let unused: BTreeSet<&String> = unused.iter().map(|one| &one.secret_id).collect();
    assert_eq!(unused, world.unused.iter().collect());
    let counts = ["same", "renewed", "covers", "none", "unreadable"].map(|word| {
        let count = world.pairs.iter().filter(|pair| pair.kind.word() == word);
        format!("{} {word}", count.count())
    });
    assert_eq!(
        report.message,
        format!("40 TLS secrets: {}", counts.join(", "))
    );
    assert!(report.targets.is_empty());
}

#[test]
fn after_a_run_with_the_proposed_targets_all_of_them_are_the_same() {
    let world = World::new(scene());
    let run = world.discover().run();
    let proposed = json!(run.report.proposed_targets.unwrap()).to_string();
    let mut policies = world.readers();
    let writers = [&world.scene.world.project_id, &world.second].map(|project| writer(project));
    policies.extend(writers);
    policies.push(secrets_reader(&world.scene.world.secret_group_id));
    world.scene.cloud.set_policies(policies);
    let run = world.scene.start().targets(&proposed).run_beside_others();
    assert_eq!(run.status, 0, "{run:#?}");
    assert_eq!(run.report.targets.len(), world.certain().len());
    let again = world.discover().run();
    let found = world.found(&again);
    for pair in world.certain() {
        let target = run.report.targets.iter().find(|target| {
            target.tls_secret.as_ref() == Some(&pair.tls_secret)
                && target.project_id.as_ref() == Some(&pair.project)
        });
        let action = if pair.kind == Kind::Same {
            "unchanged"
        } else {
            "replaced"
        };
        assert_eq!(
            target.map(|target| &*target.action),
            Some(action),
            "{:?}",
            pair.kind
        );
        assert_eq!(found[&pair.place()].matches.as_deref(), Some("same"));
    }
}

/// A list without data means one read each; versions are read where names match and the serial
/// differs.
#[test]
fn only_what_decides_is_read() {
    for (data_in_lists, reads) in [(true, 0), (false, 2)] {
        let scene = Scene::with(
            Options {
                data_in_lists,
                ..Options::default()
            },
            CertificateSpec::default(),
        );
        let same = issue(&scene, "same.example.com");
        scene
            .cloud
            .deploy(&same, &scene.world.project_id, "same-tls");
        issue(&scene, "unused.example.com");
        let run = bare(&scene).run();
        assert_eq!(
            run.report.message, "2 TLS secrets: 1 same, 1 renewed",
            "{run:#?}"
        );
        let [unused] = run.report.unused_certificates.as_deref().unwrap() else {
            panic!("{run:#?}")
        };
        assert_eq!(unused.secret_name.as_deref(), Some("unused-example-com"));
        assert_eq!(unused.secret_type, "public_cert");
        assert!(unused.not_after.as_ref().unwrap().ends_with('Z'));
        assert_eq!(scene.times_asked(route::READ_TLS_SECRET), reads);
        let asked = scene.cloud.journal().into_iter().map(|entry| entry.path);
        let versions: Vec<String> = asked.filter(|path| path.contains("/versions/")).collect();
        let path = format!(
            "/api/v2/secrets/{}/versions/previous/metadata",
            scene.secret
        );
        assert_eq!(versions, [path]);
    }
}

/// The next list begins with a page of this item alone.
fn short_page(scene: &Scene, list: &str, name: &str, item: &Value) -> FaultGuard {
    let page = json!({ "next": { "start": "after-" }, name: [item] });
    let answer = FaultKind::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: page.to_string(),
    };
    scene.cloud.fault(Fault::on(list, answer).times(1))
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
            let tls_secret = format!("tls-{number}");
            scene
                .cloud
                .deploy(&secret, &scene.world.project_id, &tls_secret);
        }
    }
    let first = named(&scene, "first-tls");
    let mapping =
        json!({ "name": "first.example.com", "tls_secret": "first-tls", "user_managed": true });
    let _secrets = short_page(&scene, route::LIST_TLS_SECRETS, "secrets", &first);
    let _mappings = short_page(
        &scene,
        route::LIST_DOMAIN_MAPPINGS,
        "domain_mappings",
        &mapping,
    );
    scene.cloud.clear_journal();
    let run = bare(&scene).env("CE_JOBRUN", "discover-x7k2p").run();
    assert_eq!(run.report.message, "92 TLS secrets: 90 same, 2 renewed");
    for list in [
        route::LIST_SECRETS,
        route::LIST_TLS_SECRETS,
        route::LIST_DOMAIN_MAPPINGS,
    ] {
        assert_eq!(scene.times_asked(list), 2, "{list}");
    }
    let found = logged(&run);
    let domains: Vec<&String> = found
        .iter()
        .flat_map(|one| one.domains.iter().flatten())
        .collect();
    assert_eq!(domains, ["first.example.com", "shop.example.com"]);
    let report = &run.report;
    let shown = report.discovered.as_ref().unwrap().len();
    assert_eq!(shown + report.discovered_omitted, 92);
    let shown = report.proposed_targets.as_ref().unwrap().len();
    assert_eq!(shown + report.proposed_targets_omitted, 92);
    let shown = report.unused_certificates.as_ref().unwrap().len();
    assert_eq!(shown + report.unused_certificates_omitted, 120);
    assert!(report.discovered_omitted > 0 && report.proposed_targets_omitted > 0);
}

/// A profile that may see other groups only gets an empty list, not an error.
#[test]
fn an_empty_list_of_certificates_is_a_warning() {
    let scene = Scene::new();
    let elsewhere = secrets_reader(&scene.world.foreign_secret_group_id);
    scene
        .cloud
        .set_policies(vec![elsewhere, writer(&scene.world.project_id)]);
    let run = bare(&scene).run();
    assert_eq!(
        (run.status, &*run.report.message),
        (0, "1 TLS secret: 1 none"),
        "{run:#?}"
    );
    assert!(run.log.contains("lists no certificate"), "{}", run.log);
}

#[test]
fn without_a_token_nothing_is_found() {
    let scene = Scene::new();
    scene.cloud.set_links(Vec::new());
    let run = bare(&scene).run();
    let error = run.rejected(4, "profile-refused");
    assert!(
        error.command.is_some() && run.report.discovered.is_none(),
        "{run:#?}"
    );
}

/// What could be read is there, and the command that grants the rest.
#[test]
fn no_right_to_one_of_the_projects() {
    let world = World::new(scene());
    world.scene.cloud.revoke(&world.readers()[2]);
    let run = world.discover().env("CE_JOBRUN", "discover-x7k2p").run();
    let error = run.rejected(7, "code-engine-forbidden");
    let command = error.command.as_deref().unwrap_or_default();
    assert!(
        command.starts_with("ibmcloud iam trusted-profile-policy-create"),
        "{command}"
    );
    let logged = logged(&run);
    assert_eq!(logged.len(), 20);
    assert!(logged.iter().all(|found| found.project_id != world.second));
    assert!(
        logged
            .iter()
            .any(|found| found.matches.as_deref() == Some("same"))
    );
    // what nothing uses is not known
    assert!(run.report.unused_certificates.is_none());
}

/// The report has the first failure, the log the others.
#[test]
fn a_list_that_fails_alone() {
    let scene = Scene::with(
        Options {
            data_in_lists: false,
            ..Options::default()
        },
        CertificateSpec::default(),
    );
    let refused = |list, answer| {
        scene
            .cloud
            .fault(Fault::on(list, FaultKind::Status(answer)))
    };
    for (failing, answer, status, code, matches) in [
        (route::LIST_SECRETS, 403, 5, "secret-forbidden", None),
        (route::LIST_SECRETS, 501, 5, "secrets-manager-refused", None),
        (
            route::READ_VERSION_METADATA,
            403,
            5,
            "secret-forbidden",
            Some("covers"),
        ),
        (
            route::LIST_DOMAIN_MAPPINGS,
            403,
            7,
            "code-engine-forbidden",
            Some("renewed"),
        ),
        (
            route::READ_TLS_SECRET,
            403,
            7,
            "code-engine-forbidden",
            Some("unreadable"),
        ),
        (
            route::READ_TLS_SECRET,
            501,
            7,
            "code-engine-refused",
            Some("unreadable"),
        ),
    ] {
        let _guard = refused(failing, answer);
        let run = bare(&scene).run();
        let error = run.rejected(status, code);
        assert_eq!(
            error.command.is_some(),
            answer == 403,
            "{failing}: {run:#?}"
        );
        let [found] = run.report.discovered.as_deref().unwrap() else {
            panic!("{run:#?}")
        };
        assert_eq!(found.matches.as_deref(), matches, "{failing}: {run:#?}");
        let domains_known = failing != route::LIST_DOMAIN_MAPPINGS;
        assert_eq!(
            found.domains.is_some(),
            domains_known,
            "{failing}: {run:#?}"
        );
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
    let endless = FaultKind::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: json!({ "secrets": vec![item; 200] }).to_string(),
    };
    let _endless = scene.cloud.fault(Fault::on(route::LIST_SECRETS, endless));
    let run = bare(&scene).run();
    let told = &run.rejected(5, "secrets-manager-refused").message;
    assert!(told.contains("the list has more than "), "{told}");
}

/// What the platform generates, other formats, and names that Code Engine does not allow: they would
/// be pasted into a shell.
#[test]
fn what_cannot_be_a_target_is_left_out() {
    let scene = scene();
    let project = &scene.world.project_id;
    let data = named(&scene, "platform")["data"].clone();
    scene
        .cloud
        .put_secret(project, "platform", "tls", "system", data);
    let generic = json!({ "a": "b" });
    scene
        .cloud
        .put_secret(project, "other", "generic", "user", generic);
    let hostile = named(&scene, "x-tls'; reboot #");
    let _page = short_page(&scene, route::LIST_TLS_SECRETS, "secrets", &hostile);
    let run = bare(&scene).run();
    assert_eq!(run.report.message, "1 TLS secret: 1 renewed", "{run:#?}");
    assert!(run.log.contains("a TLS secret is left out"), "{}", run.log);
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
    let run = start
        .env("CODE_ENGINE_URL", format!("{url}/{{region}}"))
        .env("CE_REGION", &scene.world.region)
        .run();
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
    for (start, told) in [
        (bare(&scene).without("PROJECT_ID"), "PROJECT_ID: "),
        (bare(&scene).without("CODE_ENGINE_URL"), "no region"),
        (bare(&scene).arg("--check"), "CHECK, DISCOVER"),
    ] {
        let run = start.run();
        let message = &run.rejected(2, "configuration").message;
        assert!(message.contains(told), "{message}");
    }
}

/// Names from the services cannot forge lines.
#[test]
fn a_person_gets_a_table_and_targets_to_paste() {
    let world = World::new(scene());
    world.scene.cloud.issue(CertificateSpec {
        name: "evil\n\u{1b}[31mname".to_owned(),
        ..spec("evil.example.com")
    });
    let (status, text) = world.discover().arg("--output").arg("text").printed();
    assert_eq!(status, 0, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line:?} in\n{text}");
    }
    assert!(!text.contains("evil") && !text.contains('\u{1b}'), "{text}");
    let (table, rest) = text.split_once("TARGETS='").unwrap();
    let (value, rest) = rest.split_once('\'').unwrap();
    let targets: Vec<Value> = serde_json::from_str(value).unwrap();
    assert_eq!(targets.len(), world.certain().len());
    for pair in &world.pairs {
        let name = format!("{} ", pair.tls_secret);
        let row = table.lines().find(|line| line.starts_with(&name));
        let row = row.unwrap_or_else(|| panic!("{name} is not in\n{table}"));
        assert!(row.contains(pair.kind.word()), "{row}");
        assert_eq!(row.contains("expired"), pair.kind == Kind::Expired, "{row}");
        let open = format!("{} in {}", pair.tls_secret, pair.project);
        assert_eq!(
            rest.contains(&open),
            pair.kind.word() == "covers",
            "{open}:\n{rest}"
        );
    }
    for id in &world.unused {
        assert!(rest.contains(id.as_str()), "{rest}");
    }
    let summary: Vec<&str> = rest.split("\n40 TLS secrets: ").collect();
    let end = summary.get(1).map(|end| end.replace('\n', " "));
    assert!(
        end.is_some_and(|end| end.ends_with("exit status 0\n") || end.ends_with("exit status 0 ")),
        "{rest}"
    );
}
