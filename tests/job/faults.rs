use local_cloud::{Fault, FaultKind, Service, route};
use serde_json::json;

use crate::harness::{PATIENCE, Scene, TLS_SECRET, answer, fields};

/// Somebody edits the TLS secret.
fn edit(scene: &Scene) {
    let project = &scene.world.project_id;
    scene.cloud.put_tls_secret(project, TLS_SECRET, "edited", "by hand");
}

/// Our write may have taken effect, but what we find afterwards is neither the old nor the new.
#[test]
fn after_a_lost_answer_what_others_wrote_is_not_taken_for_ours() {
    for kind in [FaultKind::ResetAfter, FaultKind::ResetBefore] {
        let scene = Scene::new();
        let _lost = scene.fault_once(route::REPLACE_TLS_SECRET, kind.clone());
        let second_look = Fault::on(route::READ_TLS_SECRET, FaultKind::Hold).skip(1);
        let parked = scene.cloud.fault(second_look);
        let running = scene.start().spawn();
        parked.wait_parked(1, PATIENCE).unwrap();
        edit(&scene);
        parked.release();
        let run = running.finished();
        let target = run.expect(0, "replaced");
        assert_eq!(target.attempts, Some(2), "{kind:?}");
        assert_eq!(scene.writes().len(), 2, "{kind:?}");
        assert_eq!(scene.served(), scene.serial());
    }
}

/// The answer was lost, the write was not.
#[test]
fn a_write_that_is_seen_later_says_what_it_replaced() {
    let scene = Scene::new();
    let before = scene.served();
    let _lost = scene.fault_once(route::REPLACE_TLS_SECRET, FaultKind::ResetAfter);
    let run = scene.run();
    let target = run.expect(0, "replaced");
    assert_eq!(target.from.as_ref().unwrap().serial, before);
    assert_eq!((scene.served(), scene.writes().len()), (scene.serial(), 1));
}

/// Somebody writes between our look and our write: whichever status says so, we look again.
#[test]
fn a_conflict_means_look_again_at_both() {
    for conflict_status in [412, 409] {
        let scene = Scene::with(|options| options.conflict_status = conflict_status);
        let parked = scene.fault_once(route::REPLACE_TLS_SECRET, FaultKind::Hold);
        let running = scene.start().spawn();
        parked.wait_parked(1, PATIENCE).unwrap();
        // a rotation and an edit by hand, both after what the run has seen
        scene.cloud.rotate_quietly(&[&scene.secret]);
        edit(&scene);
        parked.release();
        let run = running.finished();
        let target = run.expect(0, "replaced");
        assert_eq!(target.attempts, Some(2));
        assert_eq!(target.to.as_ref().unwrap().serial, scene.serial());
        assert_eq!(scene.served(), scene.serial());
    }
}

#[test]
fn a_missing_link_is_explained_with_the_command_that_makes_it() {
    let scene = Scene::new();
    scene.cloud.set_links(Vec::new());
    let run = scene.run();
    let target = run.refused(4, "profile-refused");
    assert!(target.message.contains("BXNIM0398E"), "{}", target.message);
    // what the token claims, and a line that looks up the rest itself
    let claims = "project shop, component type job, component sm-tls-sync";
    assert!(target.message.contains(claims), "{}", target.message);
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
    let id = "ApiKey-11111111-2222-3333-4444-555555555555";
    let start = scene.start().without("IAM_PROFILE_ID");
    let run = start.env("IBMCLOUD_API_KEY", id).run();
    let told = &run.refused(4, "iam-refused").message;
    assert!(told.contains("is the ID of a key"), "{told}");
}

/// Our HTTPS is real: a CA that is not trusted ends the run, and no repetition is tried.
#[test]
fn a_certificate_of_an_unknown_ca_is_not_trusted() {
    let scene = Scene::new();
    let run = scene.start().without("SSL_CERT_FILE").run();
    let told = &run.refused(4, "iam-refused").message;
    for part in ["no TLS connection", "set SSL_CERT_FILE"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(scene.asked().is_empty());
}

#[test]
fn numbers_that_no_service_would_send_do_no_harm() {
    let scene = Scene::new();
    for (life, reason) in [(json!(u64::MAX), "code-engine-forbidden"), (json!(-1), "iam-refused")] {
        let token = json!({ "access_token": "x", "expires_in": life });
        let _odd = scene.fault(route::TOKEN, answer(200, token));
        let run = scene.run();
        assert_eq!(run.target().reason.as_deref(), Some(reason), "{run:#?}");
    }
    // nobody waits until the end of time, neither for a read nor after a write
    let forever = FaultKind::StatusRetryAfter(429, u64::MAX.to_string());
    let read = scene.fault(route::READ_SECRET, forever.clone());
    scene.run().refused(5, "secrets-manager-unavailable");
    assert_eq!(read.struck(), 1);
    drop(read);
    let _write = scene.fault_once(route::REPLACE_TLS_SECRET, forever);
    scene.run().expect(0, "replaced");
}

/// `*` would match whatever is there, and an empty tag could mean anything.
#[test]
fn an_entity_tag_that_must_not_be_sent_stops_before_the_write() {
    for tag in ["*", "7\r\nX-Injected: 1"] {
        let scene = Scene::new();
        let odd = fields(json!({ "entity_tag": tag }));
        let _odd = scene.fault(route::READ_TLS_SECRET, odd);
        scene.run().refused(7, "tls-secret-unsuitable");
        assert!(scene.writes().is_empty(), "{tag}");
    }
}

/// A gateway that closes the connection when a second request comes.
#[test]
fn after_a_lost_write_the_next_one_has_a_connection_of_its_own() {
    let scene = Scene::new();
    let closing = Fault::anywhere(Service::CodeEngine, FaultKind::CloseSecond);
    let closing = scene.cloud.fault(closing);
    let run = scene.run();
    assert_eq!(run.expect(0, "replaced").attempts, Some(2), "{run:#?}");
    assert!(closing.struck() > 0);
}

#[test]
fn five_unavailable_answers_to_a_write_are_not_blamed_on_others() {
    let scene = Scene::new();
    let trace = "33333333-4444-5555-6666-777777777777";
    let kind = FaultKind::StatusTransactionId(503, trace.to_owned());
    let _down = scene.fault(route::REPLACE_TLS_SECRET, kind);
    let run = scene.run();
    let told = &run.refused(7, "code-engine-unavailable").message;
    assert!(told.contains(&format!("(trace {trace})")), "{told}");
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
    let header = "it does not fit into a header";
    let soon = "the field expires_in has another type than in the API";
    for (token, told) in [
        (json!({ "access_token": "a\r\nX-Injected: 1", "expires_in": 3600 }), header),
        (json!({ "access_token": "café", "expires_in": 3600 }), header),
        (json!({ "access_token": "", "expires_in": 3600 }), header),
        (json!({ "access_token": null, "expires_in": 3600 }), "no field access_token"),
        (json!({ "access_token": "abc" }), "no field expires_in"),
        (json!({ "access_token": "abc", "expires_in": "soon" }), soon),
    ] {
        let scene = Scene::new();
        let _odd = scene.fault(route::TOKEN, answer(200, token));
        let run = scene.run();
        let message = &run.refused(4, "iam-refused").message;
        let begin = message.contains("IAM returned no usable token: ");
        assert!(begin && message.contains(told), "{told}: {message}");
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
