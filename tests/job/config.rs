use crate::harness::{Scene, run_alone};

#[test]
fn everything_that_is_wrong_is_named_in_one_message_before_any_request() {
    let scene = Scene::new();
    let run = scene
        .start()
        .env("SECRETS_MANAGER_URL", "http://sm.example.com")
        .env("IAM_URL", "ftp://iam")
        .env("PROJECT_ID", "x")
        .env("TLS_SECRET_NAME", "Shop TLS")
        .env("SECRET_ID", "../x")
        .env("DRY_RUN", "maybe")
        .env("DEADLINE", "0")
        .env("PROBE", "maybe")
        .env("PROBE_ADDRESS", "user@host")
        .env("CHECK", "maybe")
        .env("HOLD", "maybe")
        .env("RESTART_APPS", "../x")
        .env("SECRET_VERSION", "oldest")
        .env("LOG_LEVEL", "loud")
        .env("LOG_FORMAT", "xml")
        .env("SSL_CERT_FILE", "/nowhere")
        .env("IBMCLOUD_API_KEY", "in-addition-to-a-profile")
        .env("DISCOVER", "maybe")
        .env("OUTPUT", "xml")
        .env("HTTPS_PROXY", "socks5://proxy")
        .env("NO_PROXY", "10.0.0.0/99")
        .env("JOB_ARRAY_SIZE", "3")
        .env("JOB_INDEX", "7")
        .run();
    let message = &run.rejected(2, "configuration").message;
    for name in [
        "SECRETS_MANAGER_URL",
        "IAM_URL",
        "PROJECT_ID",
        "TLS_SECRET_NAME",
        "SECRET_ID",
        "DRY_RUN",
        "DEADLINE",
        "PROBE",
        "PROBE_ADDRESS",
        "CHECK",
        "DISCOVER",
        "OUTPUT",
        "HTTPS_PROXY",
        "NO_PROXY",
        "HOLD",
        "RESTART_APPS",
        "SECRET_VERSION",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "SSL_CERT_FILE",
        "IBMCLOUD_API_KEY",
        "JOB_INDEX",
    ] {
        assert!(
            message.contains(&format!("{name}: ")),
            "{name} in {message}"
        );
    }
    assert_eq!(scene.asked(), Vec::<String>::new());
}

#[test]
fn an_empty_environment_names_what_is_required() {
    let run = run_alone(&[]);
    let message = &run.rejected(2, "configuration").message;
    for part in [
        "SECRETS_MANAGER_URL: is required;",
        "IAM_PROFILE_ID: set one of IAM_PROFILE_ID, ",
        "TLS_SECRET_NAME: is required, unless TARGETS",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn contradictions_are_refused() {
    let scene = Scene::new();
    let targets = format!(r#"[{{"secret_id":"{}","tls_secret":"a"}}]"#, scene.secret);
    for (name, value, said) in [
        (
            "TARGETS",
            targets.as_str(),
            "TLS_SECRET_NAME, TARGETS: set only one of these",
        ),
        (
            "IAM_PROFILE_NAME",
            "x",
            "IAM_PROFILE_ID, IAM_PROFILE_NAME: set only one of these",
        ),
        (
            "TARGETS_FILE",
            "/nowhere",
            "TLS_SECRET_NAME, TARGETS_FILE: set only",
        ),
        (
            "CE_SECRET",
            "other",
            "CE_SECRET: is the deprecated name of TLS_SECRET_NAME, which is also set",
        ),
        ("SECRETS_MANAGER_INSTANCE_ID", "shop", "expected a UUID"),
        (
            "SECRETS_MANAGER_URL",
            "https://00000000-1111-4222-8333-444444444444.private.eu-de.secrets-manager.appdomain.cloud",
            "is not the instance of SECRETS_MANAGER_URL",
        ),
    ] {
        let run = scene.start().env(name, value).run();
        let message = &run.rejected(2, "configuration").message;
        assert!(message.contains(said), "{name}: {message}");
    }
    assert_eq!(scene.asked(), Vec::<String>::new());
}

/// With many targets, each target has its own settings.
#[test]
fn hold_and_restart_apps_go_with_one_target() {
    let scene = Scene::new();
    let targets = format!(r#"[{{"secret_id":"{}","tls_secret":"a"}}]"#, scene.secret);
    for (name, value) in [("HOLD", "true"), ("RESTART_APPS", "auto")] {
        let run = scene
            .start()
            .without("TLS_SECRET_NAME")
            .env("TARGETS", &targets)
            .env(name, value)
            .run();
        let message = &run.rejected(2, "configuration").message;
        let said = format!("{name}: is only valid with TLS_SECRET_NAME; with TARGETS set");
        assert!(message.contains(&said), "{message}");
    }
}

#[test]
fn targets_are_refused_by_position() {
    let scene = Scene::new();
    let id = &scene.secret;
    for (targets, said) in [
        ("{}".to_owned(), "expected a JSON array"),
        ("[]".to_owned(), "the array is empty"),
        (
            "[7]".to_owned(),
            "TARGETS[0]: invalid type: integer `7`, expected an object at line",
        ),
        (
            r#"[{"secret_id":"x","tls_secret":"a"}]"#.to_owned(),
            "TARGETS[0]: secret_id",
        ),
        (
            format!(r#"[{{"secret_id":"{id}","tls_secret":"A"}}]"#),
            "TARGETS[0]: tls_secret",
        ),
        (
            format!(r#"[{{"secret_id":"{id}","tls_secret":"a","project_id":"p"}}]"#),
            "TARGETS[0]: project_id",
        ),
        (
            format!(r#"[{{"secret_id":"{id}","tls_secret":"a","region":"E U"}}]"#),
            "TARGETS[0]: region",
        ),
        (
            format!(r#"[{{"secret_id":"{id}","tls_secret":"a","restart_apps":["Shop"]}}]"#),
            "TARGETS[0]: restart_apps",
        ),
        (
            format!(
                r#"[{{"secret_id":"{id}","tls_secret":"a-b","restart_apps":"auto"}},{{"secret_id":"{id}","tls_secret":"a.b","restart_apps":"auto"}}]"#
            ),
            "a-b and a.b map to the same variable TLS_SECRET_SHA256_A_B",
        ),
        (
            format!(r#"[{{"secret_id":"{id}","tls_secret":"a","restart_apps":7}}]"#),
            "TARGETS[0]: restart_apps: expected a string or an array of strings",
        ),
        (
            format!(r#"[{{"secret_id":"{id}","tls_secret":"a","colour":"red"}}]"#),
            "TARGETS[0]: unknown field `colour`",
        ),
        (
            format!(
                r#"[{{"secret_id":"{id}","tls_secret":"a"}},{{"secret_id":"{id}","tls_secret":"a"}}]"#
            ),
            "TARGETS[1]: TLS secret a is listed twice",
        ),
        (
            format!(
                r#"[{{"secret_id":"crn:v1:bluemix:public:secrets-manager:eu-de:a/1:00000000-1111-4222-8333-444444444444:secret:{id}","tls_secret":"a"}}]"#
            ),
            "not to instance",
        ),
    ] {
        let run = scene
            .start()
            .without("TLS_SECRET_NAME")
            .env("TARGETS", targets.clone())
            .run();
        let message = &run.rejected(2, "configuration").message;
        assert!(message.contains(said), "{targets}: {message}");
    }
}

#[test]
fn a_narrowing_that_matches_no_target_is_refused() {
    let scene = Scene::new();
    let targets = r#"[{"secret_id":"00000000-1111-4222-8333-444444444444","tls_secret":"a"}]"#;
    let run = scene
        .start()
        .without("TLS_SECRET_NAME")
        .env("TARGETS", targets)
        .run();
    let message = &run.rejected(2, "configuration").message;
    assert!(
        message.contains("SECRET_ID: no target has the secret_id"),
        "{message}"
    );
}

#[test]
fn deprecated_names_work_with_one_warning_each() {
    let scene = Scene::new();
    let mut start = scene.start();
    for (old, new) in [
        ("SM_ENDPOINT", "SECRETS_MANAGER_URL"),
        ("CE_SECRET", "TLS_SECRET_NAME"),
    ] {
        let value = start.environment.remove(new).unwrap();
        start = start.env(old, value);
    }
    let run = start
        .without("IAM_PROFILE_ID")
        .env("TRUSTED_PROFILE_NAME", &scene.world.profile_name)
        .run();
    run.expect(0, "replaced");
    for (old, new) in [
        ("SM_ENDPOINT", "SECRETS_MANAGER_URL"),
        ("CE_SECRET", "TLS_SECRET_NAME"),
        ("TRUSTED_PROFILE_NAME", "IAM_PROFILE_NAME"),
    ] {
        let warning = format!("{old} is deprecated: use {new}");
        assert_eq!(run.log.matches(&warning).count(), 1, "{}", run.log);
    }
    let run = scene
        .start()
        .without("IAM_PROFILE_ID")
        .env("IAM_API_KEY", &scene.world.api_key)
        .run();
    run.expect(0, "unchanged");
}

#[test]
fn an_api_key_is_for_runs_outside_of_code_engine() {
    let scene = Scene::new();
    let run = scene
        .start()
        .without("IAM_PROFILE_ID")
        .env("IBMCLOUD_API_KEY", &scene.world.api_key)
        .env("CE_JOBRUN", "sm-tls-sync-x7k2p")
        .run();
    let message = &run.rejected(2, "configuration").message;
    assert!(message.contains("IBMCLOUD_API_KEY"), "{message}");
}

#[test]
fn urls_are_taken_as_people_write_them() {
    let scene = Scene::new();
    let base = scene.cloud.secrets_manager_url();
    for url in [
        format!("{base}/"),
        format!("{base}/api"),
        format!("{base}/api/v2"),
        format!("{base}/api/v2/"),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let run = scene
            .start()
            .env("SECRETS_MANAGER_URL", url)
            .env(
                "IAM_URL",
                format!("{}/identity/token", scene.cloud.iam_url()),
            )
            .run();
        run.expect(0, "replaced");
    }
    for (url, said) in [
        (format!("{base}/other"), "expected no path beyond"),
        (format!("{base}?x=y"), "expected a URL without user, query"),
        (
            "https://user@host".to_owned(),
            "expected a URL without user",
        ),
        (
            "host".to_owned(),
            "expected a URL that begins with https://, found host",
        ),
        (
            "https://ho st".to_owned(),
            "expected a URL such as https://host, found https://ho st",
        ),
        (
            "http://sm.example.com".to_owned(),
            "http:// is refused except to loopback",
        ),
    ] {
        let run = scene.start().env("SECRETS_MANAGER_URL", url).run();
        let message = &run.rejected(2, "configuration").message;
        assert!(message.contains(said), "{message}");
    }
}

/// `CE_API_BASE_URL` comes without `/v2`, once came with a slash, and is the default.
#[test]
fn the_base_url_that_code_engine_injects_is_taken_in_every_form() {
    let scene = Scene::new();
    let base = scene.cloud.code_engine_url();
    for url in [
        base.clone(),
        format!("{base}/"),
        format!("{base}/v2"),
        format!("{base}/v2/"),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let run = scene
            .start()
            .without("CODE_ENGINE_URL")
            .env("CE_API_BASE_URL", url)
            .run();
        run.expect(0, "replaced");
    }
}

#[test]
fn a_file_of_roots_that_cannot_be_used_is_refused() {
    let scene = Scene::new();
    let directory = scene.cloud.ca_file().parent().unwrap().to_path_buf();
    for (name, text) in [
        ("empty.pem", ""),
        (
            "damaged.pem",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        ),
        (
            "nonsense.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ] {
        let file = directory.join(name);
        std::fs::write(&file, text).unwrap();
        let run = scene
            .start()
            .env("SSL_CERT_FILE", file.display().to_string())
            .run();
        let message = &run.rejected(2, "configuration").message;
        assert!(message.contains("SSL_CERT_FILE: "), "{message}");
    }
}

/// Code Engine numbers the instances of an array from 0.
#[test]
fn an_index_that_is_not_below_the_size_of_the_array_is_refused() {
    let scene = Scene::new();
    for (size, index) in [("3", "3"), ("1", "1"), ("3", "x")] {
        let start = scene.start().env("JOB_ARRAY_SIZE", size);
        let run = start.env("JOB_INDEX", index).run();
        let message = &run.rejected(2, "configuration").message;
        let said = format!("JOB_INDEX: expected an index below JOB_ARRAY_SIZE ({size})");
        assert!(message.contains(&said), "{message}");
    }
    assert_eq!(scene.asked(), Vec::<String>::new());
}

/// A configmap that is mounted as a file: the kernel limits one variable to 128 KiB.
#[test]
fn three_thousand_targets_come_from_a_file() {
    let scene = Scene::new();
    let target = |n: usize| {
        let id = if n == 2999 {
            scene.secret.clone()
        } else {
            format!("00000000-1111-4222-8333-{n:012}")
        };
        let name = if n == 2999 {
            "shop-tls".to_owned()
        } else {
            format!("shop-{n}-tls")
        };
        serde_json::json!({ "secret_id": id, "tls_secret": name, "restart_apps": "auto" })
    };
    let targets: Vec<_> = (0..3000).map(target).collect();
    let targets = serde_json::to_string(&targets).unwrap();
    assert!(targets.len() > 128 * 1024);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets.json");
    std::fs::write(&file, &targets).unwrap();
    let from_file = |path: &std::path::Path| {
        let start = scene.start().without("TLS_SECRET_NAME");
        start.env("TARGETS_FILE", path.display().to_string())
    };
    let run = from_file(&file).run();
    run.expect(0, "replaced");

    std::fs::write(&file, "[{}]").unwrap();
    let run = from_file(&file).run();
    let message = &run.rejected(2, "configuration").message;
    assert!(
        message.contains("TARGETS_FILE[0]: missing field"),
        "{message}"
    );
    for path in [folder.path(), "/dev/zero".as_ref(), "/nowhere".as_ref()] {
        let run = from_file(path).run();
        let message = &run.rejected(2, "configuration").message;
        assert!(message.contains("TARGETS_FILE: cannot read "), "{message}");
    }
}

#[test]
fn an_unknown_argument_is_quoted() {
    let scene = Scene::new();
    for (argument, said) in [
        ("--dryrun", "unknown argument '--dryrun'"),
        ("\u{1b}[31m", "unknown argument '\\u{1b}[31m'"),
        ("--output", "OUTPUT: expected json or text"),
    ] {
        let run = scene.start().arg(argument).run();
        let message = &run.rejected(2, "configuration").message;
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn the_instance_is_an_id_or_a_crn() {
    let scene = Scene::new();
    let crn = |instance: &str| {
        format!(
            "crn:v1:bluemix:public:secrets-manager:eu-de:a/{}:{instance}",
            scene.world.account_id
        )
    };
    let own = &scene.world.instance_id;
    let start = |instance: &str| {
        scene
            .start()
            .env("SECRETS_MANAGER_INSTANCE_ID", instance)
            .env("SECRET_ID", crn(own) + ":secret:" + &scene.secret)
    };
    start(own).run().expect(0, "replaced");
    start(&(crn(own) + "::")).run().expect(0, "unchanged");
    let other = crn("00000000-1111-4222-8333-444444444444") + "::";
    let run = start(&other).run();
    let message = &run.rejected(2, "configuration").message;
    assert!(
        message.contains("SECRET_ID: the secret belongs to"),
        "{message}"
    );
}

/// As in JSON that programs write: `null` is a field that is not set.
#[test]
fn restart_apps_may_be_null() {
    let scene = Scene::new();
    let target = serde_json::json!([
        { "secret_id": scene.secret, "tls_secret": "shop-tls", "restart_apps": null }
    ]);
    let start = scene.start().without("TLS_SECRET_NAME");
    let run = start.env("TARGETS", target.to_string()).run();
    run.expect(0, "replaced");
    assert_eq!(scene.times_asked(local_cloud::route::LIST_APPS), 0);
}

#[test]
fn of_many_problems_the_first_fifty_are_named_and_the_others_counted() {
    let scene = Scene::new();
    let targets = serde_json::json!(vec![7; 60]).to_string();
    let start = scene.start().without("TLS_SECRET_NAME");
    let run = start.env("TARGETS", targets).run();
    let message = &run.rejected(2, "configuration").message;
    assert!(message.contains("TARGETS[49]: "), "{message}");
    assert!(!message.contains("TARGETS[50]: "), "{message}");
    assert!(message.contains("; and 10 more problems; "), "{message}");
}
