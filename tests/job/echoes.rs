//! Services that quote what we sent, or show a secret where none belongs. That nothing of it reaches
//! the output is asserted by the harness after each run (`leaks.rs`), at LOG_LEVEL=debug.

use local_cloud::{CertificateSpec, Fault, FaultKind, Options, Quoted, route};
use serde_json::json;

use crate::harness::{Scene, Start, TLS_SECRET};

/// A scene with an app that restarts, and with domains that are probed: every route is asked.
fn scene() -> Scene {
    let scene = Scene::with(Options::default(), CertificateSpec::default());
    let project = &scene.world.project_id;
    scene.cloud.create_app(
        project,
        "shop",
        json!({ "run_env_variables": [{ "type": "secret_full_reference", "reference": TLS_SECRET }] }),
    );
    scene
}

fn start(scene: &Scene) -> Start<'_> {
    scene
        .start()
        .env("RESTART_APPS", "auto")
        .env("PROBE", "warn")
        .env("DEADLINE", "6")
}

const ROUTES: [&str; 8] = [
    route::TOKEN,
    route::READ_TLS_SECRET,
    route::READ_SECRET,
    route::REPLACE_TLS_SECRET,
    route::LIST_DOMAIN_MAPPINGS,
    route::LIST_APPS,
    route::READ_APP,
    route::PATCH_APP,
];

#[test]
fn an_error_that_quotes_the_request_shows_no_secret() {
    for route in ROUTES {
        for status in [400, 409, 500] {
            let scene = scene();
            let echo = scene.cloud.fault(Fault::on(route, FaultKind::Echo(status)));
            let run = start(&scene).run_beside_others();
            assert!(echo.struck() > 0, "{route}");
            let shown = format!("{run:?}");
            assert!(shown.contains("[masked]"), "{route} {status}: {run:#?}");
        }
    }
}

#[test]
fn an_answer_that_holds_a_secret_where_none_belongs_shows_none() {
    let fields: [(&str, &[&str]); 6] = [
        (route::READ_SECRET, &["id", "name", "secret_type", "state"]),
        (
            route::READ_TLS_SECRET,
            &["name", "project_id", "format", "generated_by", "entity_tag"],
        ),
        (
            route::REPLACE_TLS_SECRET,
            &["name", "project_id", "format", "entity_tag"],
        ),
        (
            route::LIST_DOMAIN_MAPPINGS,
            &["name", "cname_target", "tls_secret"],
        ),
        (route::LIST_APPS, &["name", "status"]),
        (
            route::READ_APP,
            &["latest_created_revision", "status", "reason", "entity_tag"],
        ),
    ];
    for (route, fields) in fields {
        for field in fields {
            for secret in [Quoted::Key, Quoted::Token] {
                let scene = scene();
                let fault = FaultKind::EchoIn {
                    fields: vec![(*field).to_owned()],
                    secret,
                };
                let echo = scene.cloud.fault(Fault::on(route, fault));
                start(&scene).run_beside_others();
                assert!(echo.struck() > 0, "{route} {field}");
            }
        }
    }
}
