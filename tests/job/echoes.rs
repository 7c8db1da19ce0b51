//! Services that quote what we sent, or show a secret where none belongs. That nothing of it reaches
//! the output is asserted by the harness after each run (`leaks.rs`), at LOG_LEVEL=debug.

use local_cloud::{FaultKind, Quoted, route};
use serde_json::json;

use crate::harness::{Run, Scene, TLS_SECRET, side_by_side};
use crate::leaks;

/// A run with an app that restarts, and with domains that are probed: every route is asked.
fn run(route: &str, fault: impl FnOnce(&Scene) -> FaultKind) -> Run {
    let scene = Scene::with(|_| {});
    let project = &scene.world.project_id;
    scene.cloud.create_app(
        project,
        "shop",
        json!({ "run_env_variables": [{ "type": "secret_full_reference", "reference": TLS_SECRET }] }),
    );
    let fault = scene.fault(route, fault(&scene));
    let start = scene.start().env("RESTART_APPS", "auto").env("PROBE", "warn");
    let run = start.env("DEADLINE", "6").run_beside_others();
    assert!(fault.struck() > 0, "{route}");
    run
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
    let cases = ROUTES.iter().flat_map(|route| [400, 500].map(|status| (*route, status)));
    side_by_side(cases.collect(), |(route, status)| {
        let run = run(route, |_| FaultKind::Echo(status));
        assert!(format!("{run:?}").contains('…'), "{route} {status}: {run:#?}");
    });
}

/// In code, message and trace id: every secret that there is, in one of the encodings. Each route has a
/// turn, and each encoding; the unit tests of `text.rs` say what is shown of which.
#[test]
fn an_error_that_quotes_a_secret_in_any_encoding_shows_none() {
    let mut names: Vec<&str> = leaks::encodings(b"x").into_iter().map(|(name, _)| name).collect();
    names.dedup();
    assert!(names.len() >= ROUTES.len());
    let cases = ROUTES.into_iter().cycle().zip(names);
    side_by_side(cases.collect(), |(route, name)| {
        let quoting = |scene: &Scene| {
            let mut secrets = scene.cloud.secrets_in_use();
            // the token of Event Notifications, a UUID, never reaches the job
            secrets.retain(|secret| secret.len() > 36);
            assert!(!secrets.is_empty());
            let encoded = secrets.iter().flat_map(|secret| leaks::encodings(secret.as_bytes()));
            let quote: Vec<String> =
                encoded.filter(|(n, _)| *n == name).map(|(_, text)| text).collect();
            let quote = quote.join(" ");
            let error = json!({ "code": quote, "message": format!("not valid: {quote}") });
            let body = json!({ "errors": [error], "trace": quote, "errorCode": quote, "errorMessage": quote });
            FaultKind::Answer {
                status: 400,
                content_type: "application/json".to_owned(),
                body: body.to_string(),
            }
        };
        let run = run(route, quoting);
        assert!(format!("{run:?}").contains('…'), "{route} {name}: {run:#?}");
    });
}

#[test]
fn an_answer_that_holds_a_secret_where_none_belongs_shows_none() {
    let fields: [(&str, &[&str]); 6] = [
        (route::READ_SECRET, &["id", "name", "secret_type", "state"]),
        (route::READ_TLS_SECRET, &["name", "project_id", "format", "generated_by", "entity_tag"]),
        (route::REPLACE_TLS_SECRET, &["name", "project_id", "format", "entity_tag"]),
        (route::LIST_DOMAIN_MAPPINGS, &["name", "cname_target", "tls_secret"]),
        (route::LIST_APPS, &["name", "status"]),
        (route::READ_APP, &["latest_created_revision", "status", "reason", "entity_tag"]),
    ];
    let cases = fields.iter().flat_map(|(route, fields)| {
        let secrets = |field| [Quoted::Key, Quoted::Token].map(|secret| (*route, field, secret));
        fields.iter().flat_map(secrets)
    });
    side_by_side(cases.collect(), |(route, field, secret)| {
        let fields = vec![(*field).to_owned()];
        run(route, |_| FaultKind::EchoIn { fields, secret });
    });
}
