use serde_json::json;

use crate::harness::Scene;

/// What the Periodic Timer of Event Notifications sends is not documented.
#[test]
fn an_event_of_another_source_is_a_wake_up_call() {
    let scene = Scene::new();
    let timer =
        "crn:v1:bluemix:public:event-notifications:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:0b1c::";
    for event in [
        json!({ "type": "com.example.other", "id": "tick-1" }),
        json!({ "type": "com.example.other", "source": timer, "data": "tick" }),
        json!({ "type": "com.example.other", "data_base64": "AAAA" }),
        json!({ "data": {} }),
        json!({}),
    ] {
        scene.cloud.rotate_quietly(&[&scene.secret]);
        let run = scene.run_event(&event.to_string());
        run.expect(0, "replaced");
        assert_eq!(run.report.trigger.as_deref(), Some("wake-up"), "{event}");
    }
    // without SECRET_ID nothing says which certificate to take
    let event = json!({ "type": "com.example.other" }).to_string();
    let run = scene.start().without("SECRET_ID").env("ibmendata", event);
    run.run().rejected(2, "configuration");
}

#[test]
fn a_wake_up_call_must_not_claim_another_instance() {
    let scene = Scene::new();
    let other = "crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:11111111-2222-4333-8444-555555555555::";
    let event = json!({ "type": "com.example.other", "source": other });
    scene
        .run_event(&event.to_string())
        .rejected(3, "event-foreign");
    assert!(scene.asked().is_empty());
}
