mod example;
mod world;

use std::collections::BTreeSet;

use local_cloud::{CertificateSpec, Fault, FaultGuard, FaultKind, Options, Policy, route};
use serde_json::{Value, json};

use self::world::{Kind, Pair, World, as_made, bare, issue, spec};
use crate::harness::{Discovered, Run, Scene, TLS_SECRET, secrets_reader, writer};

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
    let run = world.discover().env("CE_JOBRUN", "run").run();
    assert_eq!(run.status, 0, "{run:#?}");

    // nothing changes, nothing but reading is asked for, and no payload
    assert_eq!(world.scene.cloud.state(), before);
    for entry in world.scene.cloud.journal() {
        let route = entry.route.as_deref().unwrap_or_default();
        assert!(entry.method == "GET" || route == route::TOKEN, "{entry:?}");
        assert_ne!(route, route::READ_SECRET);
        assert_ne!(route, route::READ_VERSION);
    }

    // each TLS secret has its log line, whole
    let logged = logged(&run);
    assert_eq!(logged.len(), 40);
    for pair in &world.pairs {
        let found = logged.iter().find(|found| {
            (&found.project_id, &found.tls_secret) == (&pair.project, &pair.tls_secret)
        });
        let found = found.unwrap_or_else(|| panic!("{} is not there", pair.tls_secret));
        as_made(pair, found);
        if pair.kind != Kind::Unreadable && pair.tls_secret != TLS_SECRET {
            let name = pair.tls_secret.replace("tls-", "n") + ".example.com";
            let name = [name];
            assert_eq!(found.names, name);
            assert_eq!(found.domains.as_deref(), Some(name.as_slice()));
            assert!(found.not_after.is_some());
        }
        assert_eq!(found.candidates_omitted, 0);
    }

    // the line of JSON says the same, as far as there is room
    let report = &run.report;
    let found = world.found(&run);
    assert_eq!(found.len() + report.discovered_omitted, 40);
    for pair in &world.pairs {
        if let Some(found) = found.get(&(pair.project.clone(), pair.tls_secret.clone())) {
            assert_eq!(found.matches.as_deref(), Some(pair.kind.word()));
        }
    }
    let certain: Vec<&Pair> = world
        .pairs
        .iter()
        .filter(|pair| pair.kind.certain())
        .collect();
    let wanted: BTreeSet<String> = certain
        .iter()
        .map(|pair| {
            json!({ "secret_id": pair.secrets[0], "tls_secret": pair.tls_secret, "project_id": pair.project })
                .to_string()
        })
        .collect();
    let proposed = report.proposed_targets.as_ref().unwrap();
    assert_eq!(report.proposed_targets_omitted, 0);
    assert_eq!(
        proposed
            .iter()
            .map(Value::to_string)
            .collect::<BTreeSet<_>>(),
        wanted
    );
    let unused = report.unused_certificates.as_ref().unwrap();
    let unused: BTreeSet<&String> = unused.iter().map(|one| &one.secret_id).collect();
    assert_eq!(unused, world.unused.iter().collect());
    assert_eq!(report.unused_certificates_omitted, 0);
    let count = |word| {
        world
            .pairs
            .iter()
            .filter(|pair| pair.kind.word() == word)
            .count()
    };
    let counts = ["same", "renewed", "covers", "none", "unreadable"];
    let counts = counts
        .map(|word| format!("{} {word}", count(word)))
        .join(", ");
    assert_eq!(report.message, format!("40 TLS secrets: {counts}"));
    assert!(report.targets.is_empty());
}

#[test]
fn the_proposed_targets_bring_everything_in_line() {
    let world = World::new(Scene::with(Options::default(), CertificateSpec::default()));
    let run = world.discover().run();
    let proposed = json!(run.report.proposed_targets.unwrap()).to_string();
    let mut policies = world.readers();
    policies.extend([
        writer(&world.scene.world.project_id),
        writer(&world.second),
        secrets_reader(&world.scene.world.secret_group_id),
    ]);
    world.scene.cloud.set_policies(policies);
    let job = || world.scene.start().targets(&proposed);
    let run = job().run_beside_others();
    assert_eq!(run.status, 0, "{run:#?}");
    let certain = world.pairs.iter().filter(|pair| pair.kind.certain());
    let mut count = 0;
    for pair in certain {
        let target = run.report.targets.iter().find(|target| {
            target.tls_secret.as_ref() == Some(&pair.tls_secret)
                && target.project_id.as_ref() == Some(&pair.project)
        });
        let action = match pair.kind {
            Kind::Same => "unchanged",
            _ => "replaced",
        };
        assert_eq!(
            target.map(|target| target.action.as_str()),
            Some(action),
            "{:?}",
            pair.kind
        );
        count += 1;
    }
    assert_eq!(run.report.targets.len(), count);
    // after that run every certain match holds the current version
    let run = world.discover().run();
    let found = world.found(&run);
    for pair in world.pairs.iter().filter(|pair| pair.kind.certain()) {
        let found = found[&(pair.project.clone(), pair.tls_secret.clone())];
        assert_eq!(found.matches.as_deref(), Some("same"));
    }
}

#[test]
fn a_list_without_data_means_one_read_each() {
    let options = |data_in_lists| Options {
        data_in_lists,
        ..Options::default()
    };
    for (data_in_lists, reads) in [(true, 0), (false, 1)] {
        let scene = Scene::with(options(data_in_lists), CertificateSpec::default());
        let run = bare(&scene).run();
        assert_eq!(run.report.message, "1 TLS secret: 1 renewed", "{run:#?}");
        assert_eq!(scene.times_asked(route::READ_TLS_SECRET), reads);
        assert_eq!(scene.times_asked(route::READ_VERSION_METADATA), 1);
    }
}

#[test]
fn versions_are_read_only_where_names_match_and_the_serial_differs() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let project = &scene.world.project_id;
    let same = issue(&scene, "same.example.com");
    scene.cloud.deploy(&same, project, "same-tls");
    issue(&scene, "unused.example.com");
    scene.cloud.clear_journal();
    let run = bare(&scene).run();
    assert_eq!(run.report.message, "2 TLS secrets: 1 same, 1 renewed");
    let [unused] = run.report.unused_certificates.as_deref().unwrap() else {
        panic!("{run:#?}")
    };
    assert_eq!(unused.secret_name.as_deref(), Some("unused-example-com"));
    assert_eq!(unused.secret_type, "public_cert");
    assert!(
        unused
            .not_after
            .as_ref()
            .is_some_and(|until| until.ends_with('Z'))
    );
    let path = format!(
        "/api/v2/secrets/{}/versions/previous/metadata",
        scene.secret
    );
    let read = scene
        .cloud
        .journal()
        .into_iter()
        .filter(|entry| entry.path.contains("/versions/"));
    assert_eq!(read.map(|entry| entry.path).collect::<Vec<_>>(), [path]);
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

/// A project has at most 100 secrets, which is one page; a service may make shorter ones.
#[test]
fn all_pages_of_all_lists_are_read() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let project = &scene.world.project_id;
    for number in 0..210 {
        let secret = issue(&scene, &format!("n{number}.example.com"));
        if number < 90 {
            let tls_secret = format!("tls-{number}");
            scene.cloud.deploy(&secret, project, &tls_secret);
        }
    }
    let own = scene.tls_secret();
    let first = json!({ "name": "first-tls", "format": "tls", "data": {
        "tls_cert": own.tls_cert, "tls_key": own.tls_key,
    } });
    let mapping = json!({
        "name": "first.example.com", "tls_secret": "first-tls", "user_managed": true,
    });
    let _secrets = short_page(&scene, route::LIST_TLS_SECRETS, "secrets", &first);
    let _mappings = short_page(
        &scene,
        route::LIST_DOMAIN_MAPPINGS,
        "domain_mappings",
        &mapping,
    );
    scene.cloud.clear_journal();
    let run = bare(&scene).env("CE_JOBRUN", "run").run();
    assert_eq!(run.report.message, "92 TLS secrets: 90 same, 2 renewed");
    for list in [
        route::LIST_SECRETS,
        route::LIST_TLS_SECRETS,
        route::LIST_DOMAIN_MAPPINGS,
    ] {
        assert_eq!(scene.times_asked(list), 2, "{list}");
    }
    let domains: Vec<String> = logged(&run)
        .into_iter()
        .flat_map(|found| found.domains.unwrap())
        .collect();
    assert_eq!(domains, ["first.example.com", "shop.example.com"]);
    // the line stays short, and says how much is missing
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
    let world = &scene.world;
    scene.cloud.set_policies(vec![
        secrets_reader(&world.foreign_secret_group_id),
        writer(&world.project_id),
    ]);
    let run = bare(&scene).run();
    assert_eq!(run.report.message, "1 TLS secret: 1 none", "{run:#?}");
    assert_eq!(run.status, 0);
    assert!(run.log.contains("lists no certificate"), "{}", run.log);
}

#[test]
fn without_a_token_nothing_is_found() {
    let scene = Scene::new();
    scene.cloud.set_links(Vec::new());
    let run = bare(&scene).run();
    let error = run.rejected(4, "profile-refused");
    assert!(error.command.is_some(), "{run:#?}");
    assert!(run.report.discovered.is_none());
}

/// Each right missing alone: what could be read is there, and the command that grants the rest.
#[test]
fn each_right_missing_alone() {
    let world = World::new(Scene::with(Options::default(), CertificateSpec::default()));
    let cloud = &world.scene.cloud;
    let before = cloud.state();
    let readers = world.readers();
    for missing in &readers {
        cloud.revoke(missing);
        let run = world.discover().env("CE_JOBRUN", "run").run();
        cloud.grant(missing.clone());
        let in_secrets_manager = matches!(missing, Policy::SecretsManager { .. });
        let (status, code) = match in_secrets_manager {
            true => (5, "secret-forbidden"),
            false => (7, "code-engine-forbidden"),
        };
        let error = run.rejected(status, code);
        let command = error.command.as_deref().unwrap_or_default();
        assert!(
            command.starts_with("ibmcloud iam trusted-profile-policy-create"),
            "{run:#?}"
        );
        // what nothing uses is not known
        assert!(run.report.unused_certificates.is_none());
        let logged = logged(&run);
        match missing {
            Policy::CodeEngine { project_id, .. } => {
                assert_eq!(logged.len(), 20);
                assert!(logged.iter().all(|found| found.project_id != *project_id));
                assert!(
                    logged
                        .iter()
                        .any(|found| found.matches.as_deref() == Some("same"))
                );
            }
            _ => {
                assert_eq!(logged.len(), 40);
                let compared = logged.iter().filter_map(|found| found.matches.as_deref());
                assert_eq!(
                    compared.collect::<BTreeSet<_>>(),
                    BTreeSet::from(["unreadable"])
                );
                assert!(run.report.proposed_targets.as_ref().unwrap().is_empty());
            }
        }
    }
    assert_eq!(cloud.state()["code_engine"], before["code_engine"]);
}

#[test]
fn a_list_that_fails_alone() {
    let scene = Scene::with(
        Options {
            data_in_lists: false,
            ..Options::default()
        },
        CertificateSpec::default(),
    );
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
        let fault = Fault::on(failing, FaultKind::Status(answer));
        let _guard = scene.cloud.fault(fault);
        let run = bare(&scene).run();
        run.rejected(status, code);
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
}

#[test]
fn what_the_platform_generates_is_left_out() {
    let scene = Scene::new();
    let project = &scene.world.project_id;
    let own = scene.tls_secret();
    let data = json!({ "tls_cert": own.tls_cert, "tls_key": own.tls_key });
    scene
        .cloud
        .put_secret(project, "platform", "tls", "system", data);
    scene
        .cloud
        .put_secret(project, "other", "generic", "user", json!({ "a": "b" }));
    let run = bare(&scene).run();
    assert_eq!(run.report.message, "1 TLS secret: 1 renewed", "{run:#?}");
}

#[test]
fn the_region_of_a_target_is_proposed_too() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
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
    let proposed = json!(run.report.proposed_targets.unwrap());
    assert_eq!(proposed[0].get("region"), None);
    assert_eq!(proposed[1]["region"], "us-south");
    assert_eq!(proposed[1]["tls_secret"], "far-tls");
}

#[test]
fn neither_target_nor_event_is_needed_but_a_project_is() {
    let scene = Scene::new();
    let run = bare(&scene).env("ibmendata", "no event at all").run();
    assert_eq!(run.status, 0, "{run:#?}");
    let run = bare(&scene).without("PROJECT_ID").run();
    let error = run.rejected(2, "configuration");
    assert!(error.message.contains("PROJECT_ID: "), "{run:#?}");
    let run = bare(&scene).without("CODE_ENGINE_URL").run();
    let error = run.rejected(2, "configuration");
    assert!(error.message.contains("no region"), "{run:#?}");
    let run = bare(&scene).arg("--check").run();
    assert!(
        run.rejected(2, "configuration")
            .message
            .contains("CHECK, DISCOVER")
    );
}

#[test]
fn a_person_gets_a_table_and_targets_to_paste() {
    let world = World::new(Scene::with(Options::default(), CertificateSpec::default()));
    let (status, text) = world.discover().arg("--output").arg("text").printed();
    assert_eq!(status, 0, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line:?} in\n{text}");
    }
    for pair in &world.pairs {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("{} ", pair.tls_secret)));
        let row = row.unwrap_or_else(|| panic!("{} is not in\n{text}", pair.tls_secret));
        assert!(row.contains(pair.kind.word()), "{row}");
        assert_eq!(row.contains("expired"), pair.kind == Kind::Expired, "{row}");
    }
    let (_, rest) = text.split_once("TARGETS='").unwrap();
    let (value, rest) = rest.split_once('\'').unwrap();
    let targets: Vec<Value> = serde_json::from_str(value).unwrap();
    let certain = world
        .pairs
        .iter()
        .filter(|pair| pair.kind.certain())
        .count();
    assert_eq!(targets.len(), certain);
    for id in &world.unused {
        assert!(rest.contains(id.as_str()), "{rest}");
    }
    for pair in world.pairs.iter().filter(|pair| !pair.kind.certain()) {
        let place = format!("{} in {}", pair.tls_secret, pair.project);
        assert!(rest.contains(&place), "{place} is not in\n{rest}");
    }
    assert!(rest.contains("\n40 TLS secrets: "), "{rest}");
    let end: Vec<&str> = rest.split_whitespace().rev().take(3).collect();
    assert_eq!(end, ["0", "status", "exit"], "{rest}");
}

/// Names from the services cannot forge lines.
#[test]
fn names_from_the_services_are_escaped() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let secret = scene.cloud.issue(CertificateSpec {
        name: "evil\n\u{1b}[31mname".to_owned(),
        ..spec("evil.example.com")
    });
    scene
        .cloud
        .deploy(&secret, &scene.world.project_id, "evil-tls");
    // and what is to be pasted into a shell has only names that Code Engine allows
    let own = scene.tls_secret();
    let hostile = json!({ "name": "x-tls'; reboot #", "format": "tls", "data": {
        "tls_cert": own.tls_cert, "tls_key": own.tls_key,
    } });
    let page = || short_page(&scene, route::LIST_TLS_SECRETS, "secrets", &hostile);
    let _first = page();
    let run = bare(&scene).run();
    assert_eq!(run.report.message, "3 TLS secrets: 1 same, 2 renewed");
    let found = run.report.discovered.as_ref().unwrap().iter();
    let names: Vec<_> = found
        .filter_map(|found| found.secret_name.as_deref())
        .collect();
    assert!(names.contains(&r"evil\u{a}\u{1b}[31mname"), "{names:?}");
    let _second = page();
    let (_, text) = bare(&scene).arg("--output").arg("text").printed();
    assert!(!text.contains('\u{1b}'), "{text}");
    let (_, rest) = text.split_once("TARGETS='").unwrap();
    assert!(
        text.contains("reboot") && !rest.contains("reboot"),
        "{text}"
    );
}

#[test]
fn the_report_has_the_first_of_several_failures_and_the_log_the_others() {
    let scene = Scene::new();
    let refused = |list| scene.cloud.fault(Fault::on(list, FaultKind::Status(400)));
    let _lists = [route::LIST_SECRETS, route::LIST_DOMAIN_MAPPINGS].map(refused);
    let run = bare(&scene).env("CE_JOBRUN", "run").run();
    let first = &run.rejected(5, "secrets-manager-refused").message;
    assert!(first.contains("cannot list the certificates"), "{first}");
    let second = r#"{"level":"error","message":"cannot list the domain mappings of project "#;
    assert_eq!(run.log.matches(second).count(), 1, "{}", run.log);
    assert!(!run.log.contains(first), "{}", run.log);
}

/// It cannot be read, since its name does not fit into a URL.
#[test]
fn a_tls_secret_with_an_impossible_name_and_no_data_is_unreadable() {
    let scene = Scene::with(
        Options {
            data_in_lists: false,
            ..Options::default()
        },
        CertificateSpec::default(),
    );
    let hostile = json!({ "name": "../projects", "format": "tls" });
    let _page = short_page(&scene, route::LIST_TLS_SECRETS, "secrets", &hostile);
    let run = bare(&scene).run();
    assert_eq!(
        (run.status, scene.times_asked(route::READ_TLS_SECRET)),
        (0, 1)
    );
    assert_eq!(run.report.message, "2 TLS secrets: 1 renewed, 1 unreadable");
}

#[test]
fn a_list_of_certificates_without_end_is_given_up() {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let item = json!({ "id": scene.secret, "secret_type": "public_cert" });
    let endless = FaultKind::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: json!({ "secrets": vec![item; 200] }).to_string(),
    };
    let _endless = scene.cloud.fault(Fault::on(route::LIST_SECRETS, endless));
    let run = bare(&scene).run();
    let told = &run.rejected(5, "secrets-manager-refused").message;
    assert!(
        told.contains("the list of secrets has more than "),
        "{told}"
    );
}
