use std::time::Duration;

use local_cloud::{EntityTags, Fault, FaultKind, Options, Service, route};
use serde_json::json;

use crate::harness::{PATIENCE, Scene, TLS_SECRET, secrets_reader, writer};

/// Our write may have taken effect, but what we find afterwards is neither the old nor the new.
#[test]
fn after_a_lost_answer_what_others_wrote_is_not_taken_for_ours() {
    for kind in [FaultKind::ResetAfter, FaultKind::ResetBefore] {
        let scene = Scene::new();
        let _lost = scene
            .cloud
            .fault(Fault::on(route::REPLACE_TLS_SECRET, kind.clone()).times(1));
        let parked = scene
            .cloud
            .fault(Fault::on(route::READ_TLS_SECRET, FaultKind::Hold).skip(1));
        let run = std::thread::scope(|scope| {
            let run = scope.spawn(|| scene.start().run());
            parked.wait_parked(1, Duration::from_secs(30)).unwrap();
            scene
                .cloud
                .put_tls_secret(&scene.world.project_id, TLS_SECRET, "edited", "by hand");
            parked.release();
            run.join().unwrap()
        });
        let target = run.expect(0, "replaced");
        assert_eq!(target.attempts, Some(2), "{kind:?}");
        assert_eq!(scene.writes().len(), 2, "{kind:?}");
        assert_eq!(scene.served(), scene.serial());
    }
}

/// Somebody writes between our look and our write: whichever status says so, we look again.
#[test]
fn a_conflict_means_look_again_at_both() {
    for conflict_status in [412, 409] {
        let options = Options {
            conflict_status,
            ..Options::default()
        };
        let scene = Scene::with(options, local_cloud::CertificateSpec::default());
        let parked = scene
            .cloud
            .fault(Fault::on(route::REPLACE_TLS_SECRET, FaultKind::Hold).times(1));
        let run = std::thread::scope(|scope| {
            let run = scope.spawn(|| scene.start().run());
            parked.wait_parked(1, PATIENCE).unwrap();
            // a rotation and an edit by hand, both after what the run has seen
            scene.cloud.rotate_quietly(&[&scene.secret]);
            scene
                .cloud
                .put_tls_secret(&scene.world.project_id, TLS_SECRET, "edited", "by hand");
            parked.release();
            run.join().unwrap()
        });
        let target = run.expect(0, "replaced");
        assert_eq!(target.attempts, Some(2));
        assert_eq!(target.to.as_ref().unwrap().serial, scene.serial());
        assert_eq!(scene.served(), scene.serial());
    }
}

#[test]
fn a_refused_token_is_renewed_once() {
    let scene = Scene::new();
    for route in [
        route::READ_TLS_SECRET,
        route::READ_SECRET,
        route::REPLACE_TLS_SECRET,
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        scene.cloud.clear_journal();
        let _refused = scene
            .cloud
            .fault(Fault::on(route, FaultKind::Status(401)).times(1));
        scene.run().expect(0, "replaced");
        let tokens = scene.times_asked(route::TOKEN);
        assert_eq!(tokens, 2, "{route}");
    }
}

#[test]
fn missing_rights_are_explained_with_the_command_that_grants_them() {
    let scene = Scene::new();
    let project = scene.world.project_id.clone();
    let group = scene.world.secret_group_id.clone();
    let rights = [
        (
            writer(&project),
            5,
            "secret-forbidden",
            "--roles SecretsReader",
        ),
        (
            secrets_reader(&group),
            7,
            "code-engine-forbidden",
            "|| echo Writer)\" --service-name codeengine",
        ),
    ];
    for (only, exit, reason, told) in rights {
        scene.cloud.set_policies(vec![only]);
        let run = scene.run();
        let target = run.refused(exit, reason);
        let command = target.command.as_deref().unwrap_or_default();
        assert!(command.contains(told), "{target:#?}");
    }
    scene.cloud.set_links(Vec::new());
    let run = scene.run();
    let target = run.refused(4, "profile-refused");
    assert!(target.message.contains("BXNIM0398E"), "{}", target.message);
    // what the token claims, and a line that looks up the rest itself
    assert!(
        target
            .message
            .contains("project shop, component type job, component sm-tls-sync"),
        "{}",
        target.message
    );
    let command = target.command.as_deref().unwrap_or_default();
    for told in [
        "trusted-profile-link-create",
        "service-instance shop",
        "--link-component-name sm-tls-sync",
    ] {
        assert!(command.contains(told), "{told}: {target:#?}");
    }
}

#[test]
fn an_unknown_api_key_is_explained() {
    let scene = Scene::new();
    let run = scene
        .start()
        .without("IAM_PROFILE_ID")
        .env(
            "IBMCLOUD_API_KEY",
            "ApiKey-11111111-2222-3333-4444-555555555555",
        )
        .run();
    let target = run.refused(4, "iam-refused");
    assert!(
        target.message.contains("is the ID of a key"),
        "{}",
        target.message
    );
}

/// Our HTTPS is real: a CA that is not trusted ends the run, and no repetition is tried.
#[test]
fn a_certificate_of_an_unknown_ca_is_not_trusted() {
    let scene = Scene::new();
    let run = scene.start().without("SSL_CERT_FILE").run();
    let target = run.refused(4, "iam-refused");
    assert!(
        target.message.contains("no TLS connection")
            && target.message.contains("set SSL_CERT_FILE"),
        "{}",
        target.message
    );
    assert_eq!(scene.asked(), Vec::<String>::new());
}

#[test]
fn numbers_that_no_service_would_send_do_no_harm() {
    let scene = Scene::new();
    let forever = |field: &str| FaultKind::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: format!(r#"{{"access_token":"x","expires_in":{field}}}"#),
    };
    for (life, reason) in [
        ("18446744073709551615", "code-engine-forbidden"),
        ("-1", "iam-refused"),
    ] {
        let _odd = scene.cloud.fault(Fault::on(route::TOKEN, forever(life)));
        let run = scene.run();
        assert_eq!(run.target().reason.as_deref(), Some(reason), "{run:#?}");
    }
    // nobody waits until the end of time, neither for a read nor after a write
    let forever = FaultKind::StatusRetryAfter(429, u64::MAX.to_string());
    let read = scene
        .cloud
        .fault(Fault::on(route::READ_SECRET, forever.clone()));
    scene.run().refused(5, "secrets-manager-unavailable");
    assert_eq!(read.struck(), 1);
    drop(read);
    let _write = scene
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, forever).times(1));
    scene.run().expect(0, "replaced");
}

/// The field that the API documents counts; the header only where there is none.
#[test]
fn a_gateway_that_weakens_or_empties_the_etag_header_does_no_harm() {
    for entity_tags in [EntityTags::Weakened, EntityTags::EmptyHeader] {
        let options = Options {
            entity_tags,
            ..Options::default()
        };
        let scene = Scene::with(options, local_cloud::CertificateSpec::default());
        let run = scene.run();
        assert_eq!(run.expect(0, "replaced").attempts, Some(1), "{run:#?}");
    }
}

/// `*` would match whatever is there, and an empty tag could mean anything.
#[test]
fn an_entity_tag_that_must_not_be_sent_stops_before_the_write() {
    for tag in ["*", " *", "7,*", "7\r\nX-Injected: 1", "\u{e9}"] {
        let scene = Scene::new();
        let fields = json!({ "entity_tag": tag });
        let odd = FaultKind::Override(fields.as_object().unwrap().clone());
        let _odd = scene.cloud.fault(Fault::on(route::READ_TLS_SECRET, odd));
        scene.run().refused(7, "tls-secret-unsuitable");
        assert!(scene.writes().is_empty(), "{tag}");
    }
}

/// A gateway that closes the connection when a second request comes.
#[test]
fn after_a_lost_write_the_next_one_has_a_connection_of_its_own() {
    let scene = Scene::new();
    let closing = scene
        .cloud
        .fault(Fault::anywhere(Service::CodeEngine, FaultKind::CloseSecond));
    let run = scene.run();
    assert_eq!(run.expect(0, "replaced").attempts, Some(2), "{run:#?}");
    assert!(closing.struck() > 0);
}

const TRACE: &str = "33333333-4444-5555-6666-777777777777";

#[test]
fn five_unavailable_answers_to_a_write_are_not_blamed_on_others() {
    let scene = Scene::new();
    let kind = FaultKind::StatusTransactionId(503, TRACE.to_owned());
    let _down = scene
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, kind));
    let run = scene.run();
    let target = run.refused(7, "code-engine-unavailable");
    let told = format!("(trace {TRACE})");
    assert!(target.message.contains(&told), "{}", target.message);
}

/// A service in trouble that answers "at once" would use up our patience in no time.
#[test]
fn retry_after_never_shortens_the_wait() {
    let scene = Scene::new();
    let kind = FaultKind::StatusRetryAfter(503, "0".to_owned());
    let fault = Fault::on(route::READ_SECRET, kind).times(2);
    let _down = scene.cloud.fault(fault);
    let run = scene.run();
    run.expect(0, "replaced");
    // 0.5 s and 1 s, each up to a quarter less
    assert!(run.report.duration_ms >= 1100, "{run:#?}");
}

/// The name of the field, never its value.
#[test]
fn a_field_of_another_type_is_named() {
    let (sm, ce) = ((5, "secrets-manager-refused"), (7, "code-engine-refused"));
    for (route, (exit, reason), fields, field) in [
        (
            route::READ_SECRET,
            sm,
            json!({ "state": "1-SECRET" }),
            "state",
        ),
        (
            route::READ_SECRET,
            sm,
            json!({ "ca_chain": "SECRET" }),
            "ca_chain",
        ),
        (
            route::READ_SECRET,
            sm,
            json!({ "ca_chain": ["SECRET", null] }),
            "ca_chain[1]",
        ),
        (
            route::READ_SECRET,
            sm,
            json!({ "revocation_time_seconds": 0.0 }),
            "revocation_time_seconds",
        ),
        (
            route::READ_TLS_SECRET,
            ce,
            json!({ "data": { "tls_cert": ["SECRET"] } }),
            "data.tls_cert",
        ),
    ] {
        let scene = Scene::new();
        let odd = FaultKind::Override(fields.as_object().unwrap().clone());
        let _odd = scene.cloud.fault(Fault::on(route, odd));
        let run = scene.run();
        let target = run.refused(exit, reason);
        let told = format!("the field {field} has another type than in the API");
        assert!(target.message.contains(&told), "{told}: {}", target.message);
        assert!(!format!("{run:?}").contains("SECRET\""), "{run:#?}");
    }
}

#[test]
fn a_token_file_without_a_token_is_refused_before_any_request() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let path = file.display().to_string();
    for (bytes, told) in [
        (&b""[..], "is empty"),
        (b" \r\n\n", "is empty"),
        (b"\xff\xfe", "cannot be read: not UTF-8 text"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let run = scene.start().env("CR_TOKEN_FILENAME", &path).run();
        let target = run.refused(4, "token-missing");
        let told = format!("the compute resource token in {path} {told}");
        assert!(target.message.contains(&told), "{told}: {run:#?}");
    }
    assert!(scene.asked().is_empty());
}

/// What does not fit into a header could end it, and begin another one.
#[test]
fn an_answer_of_iam_without_a_usable_token_is_refused() {
    for (body, told) in [
        (
            r#"{"access_token":"a\r\nX-Injected: 1","expires_in":3600}"#,
            "it does not fit into a header",
        ),
        (
            r#"{"access_token":"caf\u00e9","expires_in":3600}"#,
            "it does not fit into a header",
        ),
        (
            r#"{"access_token":null,"expires_in":3600}"#,
            "no field access_token",
        ),
        (r#"{"access_token":"abc"}"#, "no field expires_in"),
        (
            r#"{"access_token":"abc","expires_in":"soon"}"#,
            "the field expires_in has another type than in the API",
        ),
    ] {
        let scene = Scene::new();
        let answer = FaultKind::Answer {
            status: 200,
            content_type: "application/json".to_owned(),
            body: body.to_owned(),
        };
        let _odd = scene.cloud.fault(Fault::on(route::TOKEN, answer));
        let run = scene.run();
        let target = run.refused(4, "iam-refused");
        let message = &target.message;
        let said = message.contains("IAM returned no usable token: ") && message.contains(told);
        assert!(said, "{told}: {message}");
        assert_eq!(scene.asked(), [route::TOKEN]);
    }
}

#[test]
fn a_host_whose_name_is_unknown_is_named_and_tried_again() {
    let scene = Scene::new();
    // 63 characters is the longest label: no name server is asked
    let host = format!("https://{}.example", "x".repeat(64));
    let start = scene.start().env("DEADLINE", "4");
    let run = start.env("IAM_URL", &host).run();
    let target = run.refused(4, "iam-unavailable");
    let told = format!("the name of {host} cannot be resolved");
    assert!(target.message.contains(&told), "{run:#?}");
    assert!(run.log.contains("retrying in"), "{}", run.log);
}

/// A gateway, or another writer in the same moment: the answer alone does not make it a success.
#[test]
fn an_answer_to_a_write_that_shows_other_contents_is_no_success() {
    let other = |scene: &Scene| {
        let spec = local_cloud::CertificateSpec::default();
        let other = scene.cloud.authority().issue(&spec, None).unwrap();
        serde_json::json!({
            "format": "tls",
            "data": { "tls_cert": other.certificate, "tls_key": other.private_key },
        })
    };
    // written, but the answer shows something else: reading again proves the write
    let scene = Scene::new();
    let fields = other(&scene).as_object().unwrap().clone();
    let shown = Fault::on(route::REPLACE_TLS_SECRET, FaultKind::Override(fields));
    let _shown = scene.cloud.fault(shown.times(1));
    let run = scene.run();
    assert_eq!(run.expect(0, "replaced").attempts, Some(2), "{run:#?}");
    let told =
        "the answer to the write does not show the new certificate; reading the TLS secret again";
    assert!(run.log.contains(told), "{}", run.log);
    assert_eq!((scene.writes().len(), scene.served()), (1, scene.serial()));

    // not written, though each answer is a success
    let scene = Scene::new();
    let answer = FaultKind::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: other(&scene).to_string(),
    };
    let _ignored = scene
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, answer));
    let run = scene.run();
    let target = run.refused(7, "code-engine-refused");
    assert_eq!((target.attempts, scene.writes().len()), (Some(5), 5));
    let told = "5 writes without a clear answer (last: the answer to the write does not show";
    assert!(target.message.contains(told), "{run:#?}");
}
