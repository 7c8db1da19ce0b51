//! What setup creates is what tests/terraform/installation.json says that an installation is; the Terraform
//! module is held against the same table.

use std::collections::BTreeMap;

use ibmcloud_stand_in::{Account, Door, JOB, TLS_SECRET, root};
use serde_json::{Map, Value, json};

use crate::harness::Here;

/// Fills in the words in braces, and drops remarks.
fn fill(value: &Value, words: &BTreeMap<&str, &str>) -> Value {
    match value {
        Value::String(text) => {
            let text = words.iter().fold(text.clone(), |text, (word, is)| {
                text.replace(&format!("{{{word}}}"), is)
            });
            text.into()
        }
        Value::Array(all) => all.iter().map(|one| fill(one, words)).collect(),
        Value::Object(all) => {
            let remarks = ["about", "made_by", "only_with", "once_for_each"];
            let kept = all
                .iter()
                .filter(|(key, _)| !remarks.contains(&key.as_str()));
            Value::Object(
                kept.map(|(key, one)| (key.clone(), fill(one, words)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// What exists is what the table says: for this way to name targets, these secret groups, and these projects.
#[track_caller]
pub(crate) fn assert_as_in_the_table(
    here: &Here,
    way: &str,
    writer: bool,
    groups: &[&str],
    projects: &[&str],
    targets: &str,
) {
    let read = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
    };
    let mut table = read("tests/terraform/installation.json");
    let (world, job_crn) = (&here.world, here.cloud.project_crn(&here.job_project));
    let profile = here.account().profiles[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let words = BTreeMap::from([
        ("name", JOB),
        ("secrets_manager_id", &world.instance_id),
        ("secrets_manager_crn", &world.instance_crn),
        ("secrets_manager_region", &world.region),
        (
            "event_notifications_id",
            &world.event_notifications_instance_id,
        ),
        (
            "event_notifications_crn",
            &world.event_notifications_instance_crn,
        ),
        ("job_project_id", &here.job_project),
        ("job_project_crn", &job_crn),
        // that of --project
        ("project_id", &world.project_id),
        ("secret_id", &here.secret),
        ("tls_secret", TLS_SECRET),
        ("profile_id", &profile),
        ("targets", targets),
        ("schedule", "17 3 * * *"),
    ]);
    let [reader, mut updater] = [0, 1].map(|n| table["profile"]["policies"][n].clone());
    let fields = updater.as_object_mut().unwrap();
    let without = fields.remove("roles_without_custom_role").unwrap();
    if writer {
        fields.insert("roles".into(), without);
        table["custom_role"] = Value::Null;
    }
    let readers = groups
        .iter()
        .map(|id| fill(&reader, &BTreeMap::from([("secret_group_id", *id)])));
    let updaters = projects
        .iter()
        .map(|id| fill(&updater, &BTreeMap::from([("project_id", *id)])));
    table["profile"]["policies"] = readers.chain(updaters).collect();
    let (mut way, mut data) = (
        table["configmap"]["and_one_of"][way].take(),
        table["configmap"]["always"].take(),
    );
    data.as_object_mut()
        .unwrap()
        .extend(way["keys"].as_object().unwrap().clone());
    let mounted = way["mounted_configmap"].take();
    table["configmap"] =
        json!({ "name": table["configmap"]["name"], "data": data, "mounted": mounted });
    table["daily_run"] = table["daily_run"]["one_of"]["cron"].take();
    let topic = table["mail"]["topic"].as_object_mut().unwrap();
    let rules = topic.remove("rules_file").unwrap();
    topic.insert("rules".into(), read(rules.as_str().unwrap()));
    assert_eq!(sorted(fill(&table, &words)), sorted(actual(here)));
}

/// The order of policies and the like means nothing.
fn sorted(mut all: Value) -> Value {
    for path in ["/authorizations", "/profile/policies"] {
        all.pointer_mut(path)
            .and_then(Value::as_array_mut)
            .unwrap()
            .sort_by_key(Value::to_string);
    }
    all
}

/// Without what is not compared.
fn without(value: &Value, keys: &[&str]) -> Value {
    let fields = value
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| !keys.contains(&key.as_str()));
    Value::Object(
        fields
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// The value of a flag of a command.
fn flag(account: &Account, command: &str, flag: &str) -> Value {
    let mut calls = account.calls.iter().map(|(words, _)| words);
    let words = calls
        .find(|words| words.join(" ").contains(command))
        .unwrap();
    words[words.iter().position(|word| word == flag).unwrap() + 1]
        .clone()
        .into()
}

/// What exists, in the table's words.
fn actual(here: &Here) -> Value {
    let account = here.account();
    let all = account.everything();
    let named = |list: &str, name: &str| -> Value {
        let found = all[list]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name)
            .unwrap();
        // lists show less than the things themselves
        let path = format!("{list}/{}", found["id"].as_str().unwrap());
        account
            .call(Door::EventNotifications, "GET", &path, None)
            .unwrap()
    };
    let field_of = |list: &str, id: &Value, field: &str| -> Value {
        all[list]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["id"] == *id)
            .unwrap()[field]
            .clone()
    };
    let topic = |name: &str| {
        let source = named("topics", name)["sources"][0].take();
        let rules = source["rules"].as_array().unwrap().iter().map(|rule| {
            let kept = ["enabled", "event_type_filter", "notification_filter"]
                .map(|key| (key.to_owned(), rule[key].clone()));
            Value::Object(Map::from_iter(
                kept.into_iter()
                    .filter(|(_, value)| !value.is_null() && value != ""),
            ))
        });
        json!({ "name": name, "source": source["id"], "rules": rules.collect::<Vec<_>>() })
    };
    let (alerts, mut profile) = (
        format!("{JOB}-alerts"),
        without(&account.profiles[0], &["id", "description"]),
    );
    profile["links"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|link| *link = without(link, &["id"]));
    let (job, maps) = (
        &all["cert-sync"]["jobs"][0],
        all["cert-sync"]["config_maps"].as_array().unwrap(),
    );
    let data = |name: &Value| maps.iter().find(|map| map["name"] == *name).unwrap()["data"].clone();
    let mounts = job["run_volume_mounts"].as_array().unwrap().first().map(|mount| {
        json!({ "name": mount["reference"], "mount_path": mount["mount_path"], "keys": data(&mount["reference"]) })
    });
    let environment = &job["run_env_variables"][0]["reference"];
    let crons = here.cloud.cron_subscriptions(&here.job_project);
    let [(cron_name, cron)] = crons.as_slice() else {
        panic!("not one cron subscription")
    };
    let (subscription, mail) = (named("subscriptions", JOB), named("subscriptions", &alerts));
    assert_eq!(mail["attributes"]["invited"], json!(["ops@example.com"]));
    let (destination, registration) = (named("destinations", JOB), "notifications/registration");
    let registration = account
        .call(Door::SecretsManager, "GET", registration, None)
        .unwrap();
    json!({
        "authorizations": account.authorizations.iter().map(|one| without(one, &["id"])).collect::<Vec<_>>(),
        "registration": {
            "secrets_manager": here.world.instance_id,
            "event_notifications_crn": registration["event_notifications_instance_crn"],
            "source_name": flag(&account, "registration-create", "--event-notifications-source-name"),
        },
        "custom_role": account.roles.first(),
        "profile": profile,
        "configmap": { "name": environment, "data": data(environment), "mounted": mounts },
        "job": {
            "name": job["name"],
            "environment_from_configmap": environment,
            "trusted_profiles_enabled": job["run_compute_resource_token_enabled"],
            "service_account": job["run_service_account"],
            "mode": job["run_mode"],
            // index 0 alone
            "array_size": if job["scale_array_spec"] == "0" { json!(1) } else { job["scale_array_spec"].clone() },
            "retry_limit": job["scale_retry_limit"],
            "max_execution_time": job["scale_max_execution_time"],
            "cpu": job["scale_cpu_limit"],
            "memory": job["scale_memory_limit"],
            "ephemeral_storage": job["scale_ephemeral_storage_limit"],
        },
        "events": {
            "destination": {
                "name": destination["name"], "type": destination["type"], "params": destination["config"]["params"],
            },
            "topic": topic(JOB),
            "subscription": {
                "name": JOB,
                "topic": field_of("topics", &subscription["topic_id"], "name"),
                "destination": field_of("destinations", &subscription["destination_id"], "name"),
            },
        },
        "daily_run": {
            "name": cron_name,
            "destination": cron.job,
            "destination_type": flag(&account, "cron create", "--destination-type"),
            "schedule": cron.schedule,
            "time_zone": cron.time_zone,
            "data": serde_json::from_str::<Value>(&cron.data).unwrap(),
            "content_type": flag(&account, "cron create", "--content-type"),
        },
        "mail": {
            "topic": topic(&alerts),
            "subscription": {
                "name": mail["name"],
                "topic": field_of("topics", &mail["topic_id"], "name"),
                "destination_type": field_of("destinations", &mail["destination_id"], "type"),
            },
        },
    })
}
