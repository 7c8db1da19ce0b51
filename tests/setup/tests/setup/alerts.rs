//! scripts/alerts: mail and the alerts of IBM Cloud Logs, each made once.

use std::os::unix::fs::PermissionsExt as _;

use ibmcloud_stand_in::Account;
use ibmcloud_stand_in::rest::{Door, Rest};
use serde_json::{Value, json};

use crate::harness::{Done, Site, root};

fn email(site: &Site, region: &str) -> Done {
    let world = &site.world;
    let mut command = site.command("bash");
    command
        .env("EN_GUID", &world.event_notifications_instance_id)
        .env("EN_REGION", region)
        .env("SM_CRN", &world.instance_crn)
        .env("MAIL_TO", "ops@example.com, dev@example.com")
        .arg(root().join("scripts/alerts/email"));
    site.run(command, "")
}

/// Whatever region is targeted, and behind a hundred other topics.
#[test]
fn mail_is_set_up_once_however_many_topics_there_are() {
    let site = Site::new();
    let rest = Rest::new(&Account::load(site.home.path()));
    let crn = &site.world.event_notifications_instance_crn;
    let body = json!({ "event_notifications_instance_crn": crn });
    let path = "/api/v2/notifications/registration";
    rest.call(Door::SecretsManager, "POST", path, Some(&body))
        .unwrap();
    let topics = format!(
        "/v1/instances/{}/topics",
        site.world.event_notifications_instance_id
    );
    for number in 0..105 {
        let topic = json!({ "name": format!("other-{number}"), "sources": [] });
        rest.call(Door::EventNotifications, "POST", &topics, Some(&topic))
            .unwrap();
    }
    let elsewhere = email(&site, "eu-gb").expect(1);
    assert!(
        elsewhere.stderr.contains("another region's"),
        "{}",
        elsewhere.stderr
    );

    let done = email(&site, "eu-de").expect(0);
    assert_eq!(done.steps("done").len(), 2, "{}", done.stdout);
    let all = site.everything();
    let ours = |list: &str| -> usize {
        let all = all[list].as_array().unwrap().iter();
        all.filter(|one| one["name"] == "sm-tls-sync-alerts")
            .count()
    };
    assert_eq!((ours("topics"), ours("subscriptions")), (1, 1));
    let again = email(&site, "eu-de").expect(0);
    assert_eq!(again.steps("already there").len(), 2, "{}", again.stdout);
    assert_eq!(all["topics"], site.everything()["topics"]);
}

#[test]
fn what_mail_needs_is_named_at_once() {
    let site = Site::new();
    let mut command = site.command("bash");
    command.arg(root().join("scripts/alerts/email"));
    let done = site.run(command, "").expect(2);
    for name in ["EN_GUID", "EN_REGION", "SM_CRN", "MAIL_TO"] {
        let line = format!("scripts/alerts/email: {name} is not set");
        assert!(done.stderr.contains(&line), "{}", done.stderr);
    }
}

/// IBM Cloud Logs' plug-in is not in the table of the stand-in; a few lines of shell play it here.
#[test]
fn the_alert_definitions_are_loaded_with_the_number_of_the_integration() {
    let site = Site::new();
    let bin = site.home.path().join("bin/ibmcloud");
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
    let mut command = site.command("bash");
    for name in ["LOGS_URL", "LOGS_CRN", "EN_GUID", "EN_REGION"] {
        command.env(name, "x");
    }
    command
        .env("JOB", "shop")
        .arg(root().join("scripts/alerts/logs"));
    let done = site.run(command, "").expect(0);
    assert_eq!(done.steps("done").len(), 4, "{}", done.stdout);
    assert_eq!(done.steps("already there").len(), 1, "{}", done.stdout);
    let loaded = std::fs::read_to_string(site.home.path().join("loaded")).unwrap();
    let loaded: Vec<Value> = loaded
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(loaded.len(), 3);
    for definition in loaded {
        let name = definition["name"].as_str().unwrap();
        assert!(name.starts_with("shop: "), "{name}");
        let webhook = &definition["notification_group"]["webhooks"][0];
        assert_eq!(webhook["integration"]["integration_id"], 7);
        assert!(
            !definition.to_string().contains("sm-tls-sync\\\""),
            "{definition}"
        );
    }
}
