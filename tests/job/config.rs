use serde_json::json;

use crate::harness::{Scene, Start};

/// Refused, and the message says so.
#[track_caller]
fn refused(start: Start<'_>, said: &str) {
    let run = start.run();
    let message = &run.rejected(2, "configuration").message;
    assert!(message.contains(said), "{said}: {message}");
}

#[test]
fn everything_that_is_wrong_is_named_in_one_message_before_any_request() {
    let scene = Scene::new();
    let mut start = scene.start();
    let wrong = "SECRETS_MANAGER_URL=http://sm.example.com IAM_URL=ftp://iam PROJECT_ID=x
        TLS_SECRET_NAME=Shop SECRET_ID=../x DRY_RUN=maybe DEADLINE=0 PROBE=maybe PROBE_ADDRESS=user@host
        CHECK=maybe HOLD=maybe RESTART_APPS=../x SECRET_VERSION=oldest LOG_LEVEL=loud SSL_CERT_FILE=/nowhere
        IBMCLOUD_API_KEY=besides-a-profile DISCOVER=maybe OUTPUT=xml HTTPS_PROXY=socks5://proxy JOB_ARRAY_SIZE=3
        JOB_INDEX=7 TARGETSFILE=/targets";
    let settings = wrong.split_whitespace().map(|s| s.split_once('=').unwrap());
    for (name, value) in settings.clone() {
        start = start.env(name, value);
    }
    let run = start.run();
    let message = &run.rejected(2, "configuration").message;
    for (name, _) in settings.filter(|(name, _)| *name != "JOB_ARRAY_SIZE") {
        assert!(message.contains(&format!("{name}: ")), "{name}: {message}");
    }
    assert!(scene.asked().is_empty());
}

#[test]
fn deprecated_and_misspelt_names_have_one_warning_each() {
    let scene = Scene::new();
    let mut start = scene.start();
    let names = [
        ("SM_ENDPOINT", "SECRETS_MANAGER_URL"),
        ("CE_SECRET", "TLS_SECRET_NAME"),
        ("IAM_PROFILE_CRN", "IAM_PROFILE_ID"),
    ];
    for (old, new) in names {
        let value = start.environment.remove(new).unwrap();
        start = start.env(old, value);
    }
    let start = start.env("IAM_PROFILE_CRN", &scene.world.profile_crn);
    // this one decides nothing: such names are refused
    let run = start.env("NO_COLOUR", "1").run();
    run.expect(0, "replaced");
    let warning = "NO_COLOUR: did you mean NO_COLOR?";
    assert_eq!(run.log.matches(warning).count(), 1, "{}", run.log);
    for (old, new) in names {
        let warning = format!("{old} is deprecated: use {new}");
        assert_eq!(run.log.matches(&warning).count(), 1, "{}", run.log);
    }
    for (old, value) in
        [("TRUSTED_PROFILE_NAME", &scene.world.profile_name), ("IAM_API_KEY", &scene.world.api_key)]
    {
        let start = scene.start().without("IAM_PROFILE_ID");
        let run = start.env(old, value).run();
        run.expect(0, "unchanged");
        assert_eq!(run.log.matches(&format!("{old} is deprecated")).count(), 1);
    }
    let said = "CE_SECRET: is the deprecated name of TLS_SECRET_NAME, which is also set";
    refused(scene.start().env("CE_SECRET", "other"), said);
}

/// As people write them, and as Code Engine injects its own: without `/v2`, once with a slash.
#[test]
fn urls_may_end_with_the_documented_path() {
    let scene = Scene::new();
    let (sm, iam) = (scene.cloud.secrets_manager_url(), scene.cloud.iam_url());
    let ce = scene.cloud.code_engine_url();
    for (sm_path, iam_path, ce_path) in [
        ("/", "/", ""),
        ("/api", "/identity/token", "/"),
        ("/api/v2", "", "/v2"),
        ("/api/v2/", "/identity/token/", "/v2/"),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let run = scene
            .start()
            .without("CODE_ENGINE_URL")
            .env("SECRETS_MANAGER_URL", format!("{sm}{sm_path}"))
            .env("IAM_URL", format!("{iam}{iam_path}"))
            .env("CE_API_BASE_URL", format!("{ce}{ce_path}"))
            .run();
        run.expect(0, "replaced");
    }
}

#[test]
fn a_file_of_roots_that_cannot_be_used_is_refused() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    for body in ["", "!", "AAAA"] {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        std::fs::write(&file, if body.is_empty() { "" } else { &pem }).unwrap();
        let path = file.display().to_string();
        refused(scene.start().env("SSL_CERT_FILE", path), "SSL_CERT_FILE: ");
    }
}

#[test]
fn of_many_problems_the_first_fifty_are_named_and_the_others_counted() {
    let scene = Scene::new();
    let run = scene.start().targets(json!(vec![7; 60])).run();
    let message = &run.rejected(2, "configuration").message;
    assert!(message.contains("TARGETS[49]: "), "{message}");
    assert!(!message.contains("TARGETS[50]: "), "{message}");
    assert!(message.contains("; ... and 10 more; "), "{message}");
}

#[test]
fn an_unknown_argument_is_quoted_and_one_without_its_value_is_refused() {
    let scene = Scene::new();
    for (argument, said) in [
        ("--dryrun", "unknown argument '--dryrun'"),
        ("--api-key=PRIVATE", "unknown argument '--api-key'; expected"),
        ("\u{1b}[31m", "unknown argument '\\u{1b}[31m'"),
        ("--output", "OUTPUT: expected one of json, text"),
    ] {
        refused(scene.start().arg(argument), said);
    }
}
