//! `--check`: each right has its own line, a missing one its command, and nothing changes.

use local_cloud::{Action, EntityTags, FaultKind, Options, Policy, route};
use serde_json::json;

use crate::harness::{Check, Run, Scene, Start, TLS_SECRET, answer, fields, secrets_reader};

const ALL: [&str; 9] = [
    "token-file",
    "profile",
    "secret",
    "certificate",
    "tls-secret",
    "replace",
    "domain-mappings",
    "covered",
    "apps",
];

/// A scene in which every right is as narrow as it can be, and all is green.
fn scene_with(choose: impl FnOnce(&mut Options)) -> Scene {
    let scene = Scene::with(choose);
    allow(&scene, &Action::ALL_OF_THE_JOB);
    scene
}

fn scene() -> Scene {
    scene_with(|_| {})
}

/// The profile may read the secret, and do this in the project.
fn allow(scene: &Scene, actions: &[Action]) {
    let in_project = Policy::CodeEngineCustom {
        actions: actions.to_vec(),
        project_id: scene.world.project_id.clone(),
    };
    let reader = secrets_reader(&scene.world.secret_group_id);
    scene.cloud.set_policies(vec![reader, in_project]);
}

fn check(scene: &Scene) -> Start<'_> {
    scene.start().arg("--check")
}

fn line<'a>(run: &'a Run, name: &str) -> &'a Check {
    let found = run.report.checks.iter().find(|check| check.check == name);
    found.unwrap_or_else(|| panic!("no line {name}: {run:#?}"))
}

/// Exactly these lines are red, exactly these are not tested, and the summary says so.
#[track_caller]
fn expect(run: &Run, status: i32, red: &[&str], not_tested: &[&str]) {
    let names: Vec<&str> = run.report.checks.iter().map(|c| c.check.as_str()).collect();
    assert_eq!(names, ALL, "{run:#?}");
    for check in &run.report.checks {
        let name = check.check.as_str();
        let state = match (red.contains(&name), not_tested.contains(&name)) {
            (true, _) => "red",
            (_, true) => "not_tested",
            _ => "green",
        };
        assert_eq!(check.state, state, "{name}: {run:#?}");
        assert!(run.log.contains(&check.message), "no table: {run:#?}");
        assert_eq!(check.reason.is_some(), state == "red", "{run:#?}");
    }
    assert_eq!(run.status, status, "{run:#?}");
    let summary = &run.report.message;
    assert_eq!(summary.contains("failed: "), !red.is_empty(), "{summary}");
    assert_eq!(summary.contains("not tested: "), !not_tested.is_empty(), "{summary}");
}

#[test]
fn all_is_green_and_nothing_is_changed() {
    for (entity_tags, conflict_status) in
        [(EntityTags::Quoted, 412), (EntityTags::Bare, 412), (EntityTags::Weak, 409)]
    {
        let scene = scene_with(|options| {
            options.entity_tags = entity_tags;
            options.conflict_status = conflict_status;
        });
        let before = scene.cloud.state();
        // the variable does the same as the argument, whatever started the run
        let run = scene.start().env("CHECK", "true").env("ibmendata", "no event at all").run();
        expect(&run, 0, &[], &[]);
        assert_eq!(scene.cloud.state(), before);
        assert!(run.report.targets.is_empty());
        let status = conflict_status.to_string();
        assert!(line(&run, "replace").message.contains(&status), "{run:#?}");
        let domains = &line(&run, "domain-mappings").message;
        assert!(domains.contains("shop.example.com"), "{run:#?}");
    }
}

/// Each answer that is missing, alone: its line is red, with the reason and the command that fixes it;
/// what depends on it is not tested.
#[test]
fn each_missing_answer_has_its_own_line() {
    const ROWS: &str = "\
no token file | 4 | token-file | token-missing | profile secret certificate tls-secret replace domain-mappings covered apps | ibmcloud ce job update --name
no link | 4 | profile | profile-refused | secret certificate tls-secret replace domain-mappings covered apps | ibmcloud iam trusted-profile-link-create
no right to the secret | 5 | secret | secret-forbidden | certificate covered | ibmcloud iam trusted-profile-policy-create
no key | 6 | certificate | key-missing | covered |
no right to read | 7 | tls-secret | code-engine-forbidden | replace domain-mappings covered apps | ibmcloud iam trusted-profile-policy-create
no TLS secret | 7 | tls-secret | tls-secret-missing | replace | ibmcloud ce secret create --format tls
no TLS secret is read | 7 | tls-secret | code-engine-refused | replace |
no right to replace | 7 | replace | code-engine-forbidden | | ibmcloud iam trusted-profile-policy-create
no name for a domain | 10 | covered | domain-not-covered | |
no mappings are listed | 7 | domain-mappings | code-engine-refused | covered |
no right to list mappings | 7 | domain-mappings | code-engine-forbidden | covered | ibmcloud iam trusted-profile-policy-create
no apps are listed | 7 | apps | code-engine-refused | |
no right to list apps | 7 | apps | code-engine-forbidden | | ibmcloud iam trusted-profile-policy-create";
    for row in ROWS.lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [what, status, red, reason, not_tested, command] = cells[..] else { panic!("{row}") };
        let scene = scene();
        let cloud = &scene.cloud;
        let fault = |route, status| Some(scene.fault(route, FaultKind::Status(status)));
        let (mut start, mut guard) = (check(&scene), None);
        match what {
            "no token file" => start = start.env("CR_TOKEN_FILENAME", "/no/such/token"),
            "no link" => cloud.set_links(Vec::new()),
            "no right to the secret" => cloud.revoke(&secrets_reader(&scene.world.secret_group_id)),
            "no key" => {
                cloud.change_material(&scene.secret, |material| material.private_key = None)
            }
            "no right to read" => allow(&scene, &[Action::ReadProject, Action::UpdateEntities]),
            "no TLS secret" => start = start.env("TLS_SECRET_NAME", "not-there"),
            "no TLS secret is read" => guard = fault(route::READ_TLS_SECRET, 400),
            "no right to replace" => allow(&scene, &[Action::ReadProject, Action::ReadEntities]),
            "no name for a domain" => {
                cloud.map_domain(&scene.world.project_id, "blog.example.com", TLS_SECRET);
            }
            "no mappings are listed" => guard = fault(route::LIST_DOMAIN_MAPPINGS, 400),
            "no right to list mappings" => guard = fault(route::LIST_DOMAIN_MAPPINGS, 403),
            "no apps are listed" => guard = fault(route::LIST_APPS, 400),
            "no right to list apps" => guard = fault(route::LIST_APPS, 403),
            other => panic!("{other}"),
        }
        let run = start.run();
        drop(guard);
        let not_tested: Vec<&str> = not_tested.split_whitespace().collect();
        expect(&run, status.parse().unwrap(), &[red], &not_tested);
        let line = line(&run, red);
        assert_eq!(line.reason.as_deref(), Some(reason), "{what}: {run:#?}");
        let shown = line.command.as_deref().unwrap_or_default();
        assert!(shown.starts_with(command), "{what}: {shown:?}: {run:#?}");
        assert_eq!(shown.is_empty(), command.is_empty(), "{what}: {run:#?}");
    }
}

/// Only 409 or 412 proves the right to replace, only 403 disproves it.
#[test]
fn any_other_answer_to_the_write_proves_nothing() {
    let scene = scene();
    let _fault = scene.fault(route::REPLACE_TLS_SECRET, FaultKind::Status(503));
    let run = check(&scene).run();
    expect(&run, 0, &[], &["replace"]);
    let told = &line(&run, "replace").message;
    assert!(told.contains("the answer proves nothing: "), "{told}");
}

/// Without an entity tag the permission to replace cannot be tested without replacing.
#[test]
fn a_tls_secret_that_the_job_would_not_replace_is_not_written_to() {
    let no_tag = FaultKind::Without(vec!["entity_tag".to_owned(), "etag".to_owned()]);
    for (kind, exit, told) in [
        (no_tag, 7, "no usable entity tag"),
        // no digit and no letter that could be another one
        (fields(json!({ "entity_tag": "-:-" })), 0, "no usable entity tag"),
        (fields(json!({ "format": "generic" })), 7, "has the format generic, expected tls"),
        (fields(json!({ "generated_by": "system" })), 7, "generated by the system"),
        // what is not shown cannot be sent
        (FaultKind::Without(vec!["data".to_owned()]), 0, "does not show its key"),
    ] {
        let scene = scene();
        let _odd = scene.fault(route::READ_TLS_SECRET, kind.clone());
        let run = check(&scene).run();
        match exit {
            0 => expect(&run, 0, &[], &["replace"]),
            _ => expect(&run, exit, &["replace"], &[]),
        }
        let told = line(&run, "replace").message.contains(told);
        assert!(told && scene.writes().is_empty(), "{kind:?}: {run:#?}");
    }
}

/// A service that takes any tag would overwrite what others wrote meanwhile.
#[test]
fn a_service_that_ignores_entity_tags_is_red() {
    let scene = scene();
    let secret = scene.tls_secret();
    let data = json!({ "tls_cert": secret.tls_cert, "tls_key": secret.tls_key });
    let written = answer(200, json!({ "format": "tls", "data": data }));
    let _guard = scene.fault(route::REPLACE_TLS_SECRET, written);
    let run = check(&scene).run();
    expect(&run, 7, &["replace"], &[]);
    assert!(line(&run, "replace").message.contains("entity tags"));
}

#[test]
fn with_an_api_key_there_is_no_token_file() {
    let scene = scene();
    let key = &scene.world.api_key;
    let start = check(&scene).without("IAM_PROFILE_ID");
    let run = start.env("IBMCLOUD_API_KEY", key).run();
    expect(&run, 0, &[], &["token-file"]);
    let told = &line(&run, "token-file").message;
    assert!(told.contains("an API key is used instead"), "{told}");
    let profile = &line(&run, "profile").message;
    assert!(profile.contains(&scene.cloud.iam_url()), "{profile}");
}

#[test]
fn apps_that_keep_a_copy_are_named() {
    let scene = scene();
    let variable = json!({ "type": "secret_full_reference", "reference": TLS_SECRET });
    let app = json!({ "run_env_variables": [variable] });
    scene.cloud.create_app(&scene.world.project_id, "web", app);
    for (apps, told) in [("", true), ("auto", false)] {
        let run = check(&scene).env("RESTART_APPS", apps).run();
        expect(&run, 0, &[], &[]);
        let message = &line(&run, "apps").message;
        assert!(message.contains("web"), "{message}");
        assert_eq!(message.contains("RESTART_APPS"), told, "{message}");
    }
}

/// Each secret has its lines once, each target its own; without `SECRET_ID` only an event says which
/// secret it is.
#[test]
fn each_secret_once_and_each_target() {
    let scene = scene();
    let project = &scene.world.project_id;
    scene.cloud.deploy(&scene.secret, project, "second-tls");
    let targets = json!([
        { "secret_id": scene.secret, "tls_secret": TLS_SECRET },
        { "secret_id": scene.secret, "tls_secret": "second-tls" },
    ]);
    let run = check(&scene).targets(&targets).run();
    assert_eq!((run.status, run.report.checks.len()), (0, 14), "{run:#?}");
    let run = check(&scene).without("SECRET_ID").run();
    assert_eq!(run.status, 0, "{run:#?}");
    let summary = "checks: 2 not tested: covered, secret; 6 passed";
    assert_eq!(run.report.message, summary);
}
