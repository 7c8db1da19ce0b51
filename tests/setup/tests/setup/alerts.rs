//! scripts/alerts: mail and the alerts of IBM Cloud Logs, each made once.

use std::os::unix::fs::PermissionsExt as _;

use ibmcloud_stand_in::root;
use serde_json::{Value, json};

use crate::harness::Here;

/// Whatever region is targeted, and behind a hundred other topics.
#[test]
fn mail_is_set_up_once_however_many_topics_there_are() {
    let here = Here::new();
    let world = &here.world;
    let (id, crn) = (&world.event_notifications_instance_id, &world.instance_crn);
    let email = |region: &str| {
        let variables = format!("EN_GUID={id} EN_REGION={region} SM_CRN={crn}");
        let script = root().join("scripts/alerts/email");
        here.shell(&format!(
            "{variables} MAIL_TO='ops@example.com, dev@example.com' {}",
            script.display()
        ))
    };
    here.register();
    for number in 0..105 {
        let topic = json!({ "name": format!("other-{number}"), "sources": [] });
        here.account().en("POST topics", topic).unwrap();
    }
    email("eu-gb").ends(1, "another region's");
    assert_eq!(email("eu-de").well().made(), 2);
    email("eu-de").well().counts(&[("already there", 2)]);
    let unset = ["EN_GUID", "EN_REGION", "SM_CRN", "MAIL_TO"];
    let unset = unset.map(|name| format!("scripts/alerts/email: {name} is not set"));
    here.script("scripts/alerts/email", &[]).ends(2, &unset.join(" | "));
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
    let line = "LOGS_URL=x LOGS_CRN=x EN_GUID=x EN_REGION=x JOB=shop bash";
    let done = here.shell(&format!("{line} {}/scripts/alerts/logs", root().display()));
    done.well().counts(&[("done ", 4), ("already there", 1)]);
    let loaded = std::fs::read_to_string(here.home.path().join("loaded")).unwrap();
    assert_eq!(loaded.lines().count(), 3);
    for line in loaded.lines() {
        let definition: Value = serde_json::from_str(line).unwrap();
        let webhook = &definition["notification_group"]["webhooks"][0];
        assert_eq!(webhook["integration"]["integration_id"], 7);
        assert!(line.contains(r#""name":"shop: "#) && !line.contains("sm-tls-sync\\\""), "{line}");
    }
}
