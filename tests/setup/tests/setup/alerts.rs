//! scripts/alerts: mail and the alerts of IBM Cloud Logs, each made once.

use std::os::unix::fs::PermissionsExt as _;

use ibmcloud_stand_in::{Door, root};
use serde_json::{Value, json};

use crate::harness::{Done, Here};

/// Whatever region is targeted, and behind a hundred other topics.
#[test]
fn mail_is_set_up_once_however_many_topics_there_are() {
    let here = Here::new();
    let world = here.world.clone();
    let email = |region: &str| -> Done {
        let mut command = here.command("bash");
        command
            .env("EN_GUID", &world.event_notifications_instance_id)
            .env("EN_REGION", region);
        command
            .env("SM_CRN", &world.instance_crn)
            .env("MAIL_TO", "ops@example.com, dev@example.com");
        here.run(command.arg(root().join("scripts/alerts/email")), "")
    };
    let body =
        json!({ "event_notifications_instance_crn": world.event_notifications_instance_crn });
    here.account()
        .call(
            Door::SecretsManager,
            "POST",
            "notifications/registration",
            Some(&body),
        )
        .unwrap();
    for number in 0..105 {
        let topic = json!({ "name": format!("other-{number}"), "sources": [] });
        here.account()
            .call(Door::EventNotifications, "POST", "topics", Some(&topic))
            .unwrap();
    }
    email("eu-gb").expect(1).says(&["another region's"]);
    let done = email("eu-de").expect(0);
    assert_eq!(done.made().len(), 2, "{done}");
    let ours = |list: &str| {
        let all = here.account().everything()[list].take();
        all.as_array()
            .unwrap()
            .iter()
            .filter(|one| one["name"] == "sm-tls-sync-alerts")
            .count()
    };
    assert_eq!((ours("topics"), ours("subscriptions")), (1, 1));
    let again = email("eu-de").expect(0);
    assert_eq!(again.steps("already there").len(), 2, "{again}");
    assert_eq!((ours("topics"), ours("subscriptions")), (1, 1));
    let unset = here.script("scripts/alerts/email", &[]).expect(2);
    unset.says(
        &["EN_GUID", "EN_REGION", "SM_CRN", "MAIL_TO"]
            .map(|name| format!("scripts/alerts/email: {name} is not set"))
            .each_ref()
            .map(String::as_str),
    );
}

/// IBM Cloud Logs' plug-in is not in the table of the stand-in; a few lines of shell play it here.
#[test]
fn the_alert_definitions_are_loaded_with_the_number_of_the_integration() {
    let here = Here::new();
    let bin = here.home.path().join("bin/ibmcloud");
    std::fs::remove_file(&bin).unwrap();
    let plug_in = r#"#!/bin/sh
case "$1 $2" in
  "logs outgoing-webhooks") printf 'A new version is available [9.9].\n{"outgoing_webhooks": null}\n' ;;
  "logs outgoing-webhook-create") echo '{"external_id": 7}' ;;
  "logs alert-definitions") echo '{"alert_definitions": [{"name": "shop: a run failed"}]}' ;;
  "logs alert-definition-create") echo "$4" | jq -c . >>"$HOME/loaded"; echo '{"id": "1"}' ;;
esac
"#;
    std::fs::write(&bin, plug_in).unwrap();
    std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = here.command("bash");
    command.envs(["LOGS_URL", "LOGS_CRN", "EN_GUID", "EN_REGION"].map(|name| (name, "x")));
    let done = here
        .run(
            command
                .env("JOB", "shop")
                .arg(root().join("scripts/alerts/logs")),
            "",
        )
        .expect(0);
    assert_eq!(
        (done.steps("done ").len(), done.steps("already there").len()),
        (4, 1),
        "{done}"
    );
    let loaded = std::fs::read_to_string(here.home.path().join("loaded")).unwrap();
    assert_eq!(loaded.lines().count(), 3);
    for definition in loaded
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
    {
        assert!(
            definition["name"].as_str().unwrap().starts_with("shop: "),
            "{definition}"
        );
        let webhook = &definition["notification_group"]["webhooks"][0];
        assert_eq!(webhook["integration"]["integration_id"], 7);
        assert!(
            !definition.to_string().contains("sm-tls-sync\\\""),
            "{definition}"
        );
    }
}
