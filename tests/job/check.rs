use local_cloud::{Action, CertificateSpec, EntityTags, Fault, FaultKind, Options, Policy, route};
use serde_json::{Value, json};

use crate::harness::{Check, PATIENCE, Run, Scene, Start, TLS_SECRET, secrets_reader};

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
fn scene_of(options: Options) -> Scene {
    let scene = Scene::with(options, CertificateSpec::default());
    let world = &scene.world;
    scene.cloud.set_policies(vec![
        secrets_reader(&world.secret_group_id),
        role(&scene, &Action::ALL_OF_THE_JOB),
    ]);
    scene
}

fn role(scene: &Scene, actions: &[Action]) -> Policy {
    Policy::CodeEngineCustom {
        actions: actions.to_vec(),
        project_id: scene.world.project_id.clone(),
    }
}

/// The same, but the profile may do only this in the project.
fn narrowed(actions: &[Action]) -> Scene {
    let scene = scene_of(Options::default());
    scene.cloud.revoke(&role(&scene, &Action::ALL_OF_THE_JOB));
    scene.cloud.grant(role(&scene, actions));
    scene
}

fn check(scene: &Scene) -> Start<'_> {
    scene.start().arg("--check")
}

fn line<'a>(run: &'a Run, name: &str) -> &'a Check {
    let found = run.report.checks.iter().find(|check| check.check == name);
    found.unwrap_or_else(|| panic!("no line {name}: {run:#?}"))
}

/// Exactly these lines are red, exactly these are not tested.
#[track_caller]
fn expect(run: &Run, status: i32, red: &[&str], not_tested: &[&str]) {
    let names: Vec<&str> = run.report.checks.iter().map(|c| c.check.as_str()).collect();
    assert_eq!(names, ALL, "{run:#?}");
    for check in &run.report.checks {
        let name = check.check.as_str();
        let state = if red.contains(&name) {
            "red"
        } else if not_tested.contains(&name) {
            "not_tested"
        } else {
            "green"
        };
        assert_eq!(check.state, state, "{name}: {run:#?}");
        assert!(run.log.contains(&check.message), "no table: {run:#?}");
        assert_eq!(check.reason.is_some(), state == "red", "{run:#?}");
    }
    assert_eq!(run.status, status, "{run:#?}");
}

#[test]
fn all_is_green_and_nothing_is_changed() {
    for entity_tags in [EntityTags::Quoted, EntityTags::Bare, EntityTags::Weak] {
        let scene = scene_of(Options {
            entity_tags,
            ..Options::default()
        });
        let before = scene.cloud.state();
        let run = check(&scene).run();
        expect(&run, 0, &[], &[]);
        assert_eq!(scene.cloud.state(), before);
        assert!(run.report.targets.is_empty());
        assert_eq!(run.report.level, "info");
        assert!(line(&run, "replace").message.contains("412"), "{run:#?}");
        assert!(
            line(&run, "domain-mappings")
                .message
                .contains("shop.example.com")
        );
    }
}

#[test]
fn the_variable_does_the_same_whatever_started_the_run() {
    let scene = scene_of(Options {
        conflict_status: 409,
        ..Options::default()
    });
    let run = check(&scene)
        .env("CHECK", "true")
        .env("ibmendata", "no event at all")
        .run();
    expect(&run, 0, &[], &[]);
    assert!(line(&run, "replace").message.contains("409"), "{run:#?}");
}

const AFTER_TOKEN: [&str; 7] = [
    "secret",
    "certificate",
    "tls-secret",
    "replace",
    "domain-mappings",
    "covered",
    "apps",
];

#[test]
fn no_token_file() {
    let scene = scene_of(Options::default());
    let run = check(&scene)
        .env("CR_TOKEN_FILENAME", "/no/such/token")
        .run();
    let mut rest = AFTER_TOKEN.to_vec();
    rest.push("profile");
    expect(&run, 4, &["token-file"], &rest);
    command(&run, "token-file", "ibmcloud ce job update --name");
    assert!(scene.asked().is_empty());
}

#[test]
fn no_link() {
    let scene = scene_of(Options::default());
    scene.cloud.set_links(Vec::new());
    let run = check(&scene).run();
    expect(&run, 4, &["profile"], &AFTER_TOKEN);
    command(&run, "profile", "ibmcloud iam trusted-profile-link-create");
}

#[test]
fn no_right_to_the_secret() {
    let scene = scene_of(Options::default());
    let policy = secrets_reader(&scene.world.secret_group_id);
    scene.cloud.revoke(&policy);
    let run = check(&scene).run();
    expect(&run, 5, &["secret"], &["certificate", "covered"]);
    command(&run, "secret", "ibmcloud iam trusted-profile-policy-create");
}

#[test]
fn no_right_to_read_the_project_or_to_replace() {
    let rest: &[&str] = &["replace", "domain-mappings", "covered", "apps"];
    for (right, red, not_tested) in [
        (Action::UpdateEntities, "tls-secret", rest),
        (Action::ReadEntities, "replace", &[]),
    ] {
        let scene = narrowed(&[Action::ReadProject, right]);
        let run = check(&scene).run();
        expect(&run, 7, &[red], not_tested);
        command(&run, red, "ibmcloud iam trusted-profile-policy-create");
    }
}

#[track_caller]
fn command(run: &Run, name: &str, begin: &str) {
    let command = line(run, name).command.as_deref().unwrap_or_default();
    assert!(command.starts_with(begin), "{command:?}: {run:#?}");
}

#[test]
fn a_missing_tls_secret_says_how_to_create_it() {
    let scene = scene_of(Options::default());
    let run = check(&scene).env("TLS_SECRET_NAME", "not-there").run();
    expect(&run, 7, &["tls-secret"], &["replace"]);
    command(&run, "tls-secret", "ibmcloud ce secret create --format tls");
}

#[test]
fn an_unfit_certificate_and_an_uncovered_domain_are_red() {
    let scene = scene_of(Options::default());
    let project = &scene.world.project_id;
    scene
        .cloud
        .map_domain(project, "blog.example.com", TLS_SECRET);
    let run = check(&scene).run();
    expect(&run, 10, &["covered"], &[]);
    scene
        .cloud
        .change_material(&scene.secret, |material| material.private_key = None);
    let run = check(&scene).run();
    expect(&run, 6, &["certificate"], &["covered"]);
}

/// A service that takes any tag would overwrite what others wrote meanwhile.
#[test]
fn a_service_that_ignores_entity_tags_is_red() {
    let scene = scene_of(Options::default());
    let secret = scene.tls_secret();
    let answer = FaultKind::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: json!({ "format": "tls", "data": {
            "tls_cert": secret.tls_cert, "tls_key": secret.tls_key
        } })
        .to_string(),
    };
    let _guard = scene
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, answer));
    let run = check(&scene).run();
    expect(&run, 7, &["replace"], &[]);
    assert!(line(&run, "replace").message.contains("entity tags"));
}

#[test]
fn apps_that_keep_a_copy_are_named() {
    let scene = scene_of(Options::default());
    let project = &scene.world.project_id;
    scene.cloud.create_app(
        project,
        "web",
        json!({ "run_env_variables": [
            { "type": "secret_full_reference", "reference": TLS_SECRET }
        ] }),
    );
    let run = check(&scene).run();
    expect(&run, 0, &[], &[]);
    let told = &line(&run, "apps").message;
    assert!(
        told.contains("web") && told.contains("RESTART_APPS"),
        "{told}"
    );
    let run = check(&scene).env("RESTART_APPS", "auto").run();
    assert!(!line(&run, "apps").message.contains("RESTART_APPS"));
}

#[test]
fn without_secret_id_the_secret_is_not_tested() {
    let scene = scene_of(Options::default());
    let run = check(&scene).without("SECRET_ID").run();
    assert_eq!(run.status, 0, "{run:#?}");
    assert_eq!(line(&run, "secret").state, "not_tested");
    assert_eq!(line(&run, "covered").state, "not_tested");
    assert_eq!(line(&run, "replace").state, "green");
}

#[test]
fn each_secret_once_and_each_target() {
    let scene = scene_of(Options::default());
    let project = &scene.world.project_id;
    scene.cloud.deploy(&scene.secret, project, "second-tls");
    let targets = json!([
        { "secret_id": scene.secret, "tls_secret": TLS_SECRET },
        { "secret_id": scene.secret, "tls_secret": "second-tls" },
    ]);
    let run = check(&scene).targets(&targets).run();
    assert_eq!((run.status, run.report.checks.len()), (0, 14), "{run:#?}");
}

/// A request that fails says why in its own line; what depends on it is not tested.
#[test]
fn each_failed_request_has_its_own_line() {
    for (route, status, reason, not_tested, told) in [
        (
            route::READ_TLS_SECRET,
            400,
            Some(("tls-secret", "code-engine-refused")),
            &["replace"][..],
            "cannot read TLS secret shop-tls of project",
        ),
        (
            route::LIST_DOMAIN_MAPPINGS,
            400,
            Some(("domain-mappings", "code-engine-refused")),
            &["covered"],
            "cannot list the domain mappings of project",
        ),
        (
            route::LIST_DOMAIN_MAPPINGS,
            403,
            Some(("domain-mappings", "code-engine-forbidden")),
            &["covered"],
            "cannot list the domain mappings of project",
        ),
        (
            route::LIST_APPS,
            400,
            Some(("apps", "code-engine-refused")),
            &[],
            "cannot list the apps of project",
        ),
        (
            route::LIST_APPS,
            403,
            Some(("apps", "code-engine-forbidden")),
            &[],
            "cannot list the apps of project",
        ),
        // these prove nothing, neither way
        (
            route::REPLACE_TLS_SECRET,
            503,
            None,
            &["replace"],
            "the answer proves nothing: ",
        ),
    ] {
        let scene = scene_of(Options::default());
        let _fault = scene
            .cloud
            .fault(Fault::on(route, FaultKind::Status(status)));
        let run = check(&scene).run();
        let (exit, red) = reason.map_or((0, None), |(name, _)| (7, Some(name)));
        expect(&run, exit, red.as_slice(), not_tested);
        let line = line(&run, red.unwrap_or_else(|| not_tested[0]));
        assert_eq!(line.reason.as_deref(), reason.map(|(_, reason)| reason));
        assert!(line.message.contains(told), "{route} {status}: {run:#?}");
    }
}

/// Without an entity tag the permission to replace cannot be tested without replacing.
#[test]
fn a_tls_secret_that_the_job_would_not_replace_is_not_written_to() {
    let fields = |fields: Value| FaultKind::Override(fields.as_object().unwrap().clone());
    for (kind, exit, red, told) in [
        (
            FaultKind::Without(vec!["entity_tag".to_owned(), "etag".to_owned()]),
            0,
            None,
            "no usable entity tag",
        ),
        // no digit and no letter that could be another one
        (
            fields(json!({ "entity_tag": "-:-" })),
            0,
            None,
            "no usable entity tag",
        ),
        (
            fields(json!({ "format": "generic" })),
            7,
            Some("replace"),
            "has the format generic, expected tls",
        ),
        (
            fields(json!({ "generated_by": "system" })),
            7,
            Some("replace"),
            "generated by the system",
        ),
    ] {
        let scene = scene_of(Options::default());
        let _odd = scene
            .cloud
            .fault(Fault::on(route::READ_TLS_SECRET, kind.clone()));
        let run = check(&scene).run();
        let not_tested = red.xor(Some("replace"));
        expect(&run, exit, red.as_slice(), not_tested.as_slice());
        let told = line(&run, "replace").message.contains(told);
        assert!(told, "{kind:?}: {run:#?}");
        assert!(scene.writes().is_empty(), "{kind:?}");
    }
}

/// A conflict proves nothing if somebody else was the reason for it.
#[test]
fn a_change_by_others_during_the_test_leaves_it_open() {
    let scene = scene_of(Options::default());
    let parked = scene
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, FaultKind::Hold).times(1));
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| check(&scene).run_beside_others());
        parked.wait_parked(1, PATIENCE).unwrap();
        let project = &scene.world.project_id;
        scene.cloud.deploy(&scene.secret, project, TLS_SECRET);
        parked.release();
        run.join().unwrap()
    });
    expect(&run, 0, &[], &["replace"]);
    let told = &line(&run, "replace").message;
    assert!(told.contains("somebody else changed"), "{told}");
    let run = check(&scene).run();
    expect(&run, 0, &[], &[]);
}

#[test]
fn with_an_api_key_there_is_no_token_file() {
    let scene = scene_of(Options::default());
    let owner = || {
        check(&scene)
            .without("IAM_PROFILE_ID")
            .env("IBMCLOUD_API_KEY", &scene.world.api_key)
    };
    let run = owner().run();
    expect(&run, 0, &[], &["token-file"]);
    let told = &line(&run, "token-file").message;
    assert!(told.contains("an API key is used instead"), "{told}");
    let profile = &line(&run, "profile").message;
    assert!(profile.contains(&scene.cloud.iam_url()), "{profile}");
}

#[test]
fn without_any_right_both_services_are_red_and_the_message_names_both() {
    let scene = scene_of(Options::default());
    scene.cloud.set_policies(Vec::new());
    let run = check(&scene).run();
    let rest = [
        "certificate",
        "replace",
        "domain-mappings",
        "covered",
        "apps",
    ];
    expect(&run, 5, &["secret", "tls-secret"], &rest);
    assert_eq!(run.report.message, "2 checks failed: secret, tls-secret");
}
