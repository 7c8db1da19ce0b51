//! What setup creates is what tests/terraform/installation.json says that an installation is; the Terraform
//! module is held against the same table.

use ibmcloud_stand_in::{Account, Door, JOB, TLS_SECRET, root};
use serde_json::{Value, json};

use crate::harness::{Here, entries};

/// Fills in the words in braces, and drops remarks.
fn fill(value: &Value, words: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => {
            let fill =
                |text: String, (word, is): &(&str, &str)| text.replace(&format!("{{{word}}}"), is);
            words.iter().fold(text.clone(), fill).into()
        }
        Value::Array(all) => all.iter().map(|one| fill(one, words)).collect(),
        Value::Object(_) => {
            let mut kept = without(value, &["about", "made_by", "only_with", "once_for_each"]);
            for one in kept.as_object_mut().unwrap().values_mut() {
                *one = fill(one, words);
            }
            kept
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
    let words = [
        ("name", JOB),
        ("secrets_manager_id", &*world.instance_id),
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
    ];
    let [reader, mut updater] = [0, 1].map(|n| table["profile"]["policies"][n].take());
    if writer {
        updater["roles"] = updater["roles_without_custom_role"].take();
        table["custom_role"] = Value::Null;
    }
    let updater = without(&updater, &["roles_without_custom_role"]);
    let mut policies = Vec::new();
    policies.extend(
        groups
            .iter()
            .map(|id| fill(&reader, &[("secret_group_id", id)])),
    );
    policies.extend(
        projects
            .iter()
            .map(|id| fill(&updater, &[("project_id", id)])),
    );
    table["profile"]["policies"] = policies.into();
    let mut map = table["configmap"].take();
    let (mut way, mut data) = (map["and_one_of"][way].take(), map["always"].take());
    let keys = way["keys"].as_object().unwrap().clone();
    data.as_object_mut().unwrap().extend(keys);
    table["configmap"] =
        json!({ "name": map["name"], "data": data, "mounted": way["mounted_configmap"].take() });
    table["daily_run"] = table["daily_run"]["one_of"]["cron"].take();
    let topic = table["mail"]["topic"].as_object_mut().unwrap();
    let rules = topic.remove("rules_file").unwrap();
    topic.insert("rules".into(), read(rules.as_str().unwrap()));
    assert_eq!(sorted(fill(&table, &words)), sorted(actual(here)));
}

/// The order of policies and the like means nothing.
fn sorted(mut all: Value) -> Value {
    for path in ["/authorizations", "/profile/policies"] {
        let list = all.pointer_mut(path).and_then(Value::as_array_mut);
        list.unwrap().sort_by_key(Value::to_string);
    }
    all
}

/// Without what is not compared.
fn without(value: &Value, keys: &[&str]) -> Value {
    let mut value = value.clone();
    let fields = value.as_object_mut().unwrap();
    fields.retain(|key, _| !keys.contains(&key.as_str()));
    value
}

/// The value of a flag of a command.
fn flag(account: &Account, command: &str, flag: &str) -> Value {
    let mut calls = account.calls.iter().map(|(words, _)| words);
    let words = calls
        .find(|words| words.join(" ").contains(command))
        .unwrap();
    json!(words[words.iter().position(|word| word == flag).unwrap() + 1])
}

fn by<'a>(list: &'a Value, key: &str, is: &Value) -> &'a Value {
    entries(list).iter().find(|one| one[key] == *is).unwrap()
}

/// What exists, in the table's words.
fn actual(here: &Here) -> Value {
    let account = here.account();
    let all = account.everything();
    let en = |list: &str, name: &str| -> Value {
        // lists show less than the things themselves
        let id = by(&all[list], "name", &json!(name))["id"].as_str().unwrap();
        account
            .call(
                Door::EventNotifications,
                &format!("GET {list}/{id}"),
                Value::Null,
            )
            .unwrap()
    };
    let topic = |name: &str| {
        let source = en("topics", name)["sources"][0].take();
        let rules = entries(&source["rules"]).iter().map(|rule| {
            let mut rule = rule.clone();
            let known = ["enabled", "event_type_filter", "notification_filter"];
            let is_told =
                |key: &str, value: &Value| known.contains(&key) && !value.is_null() && value != "";
            rule.as_object_mut()
                .unwrap()
                .retain(|key, value| is_told(key, value));
            rule
        });
        json!({ "name": name, "source": source["id"], "rules": Value::from_iter(rules) })
    };
    let mut profile = without(&account.profiles[0], &["id", "description"]);
    for link in profile["links"].as_array_mut().unwrap() {
        *link = without(link, &["id"]);
    }
    let (job, maps) = (
        &all["cert-sync"]["jobs"][0],
        &all["cert-sync"]["config_maps"],
    );
    let mount = entries(&job["run_volume_mounts"]).first().map(|mount| {
        let keys = &by(maps, "name", &mount["reference"])["data"];
        json!({ "name": mount["reference"], "mount_path": mount["mount_path"], "keys": keys })
    });
    let environment = &job["run_env_variables"][0]["reference"];
    let crons = here.cloud.cron_subscriptions(&here.job_project);
    let [(cron_name, cron)] = crons.as_slice() else {
        panic!("not one cron subscription")
    };
    let alerts = format!("{JOB}-alerts");
    let (destination, subscription) = (en("destinations", JOB), en("subscriptions", JOB));
    let mail = en("subscriptions", &alerts);
    assert_eq!(mail["attributes"]["invited"], json!(["ops@example.com"]));
    let registration = account.call(
        Door::SecretsManager,
        "GET notifications/registration",
        Value::Null,
    );
    let authorizations = account
        .authorizations
        .iter()
        .map(|one| without(one, &["id"]));
    json!({
        "authorizations": Value::from_iter(authorizations),
        "registration": {
            "secrets_manager": here.world.instance_id,
            "event_notifications_crn": registration.unwrap()["event_notifications_instance_crn"],
            "source_name": flag(&account, "registration-create", "--event-notifications-source-name"),
        },
        "custom_role": account.roles.first(),
        "profile": profile,
        "configmap": { "name": environment, "data": by(maps, "name", environment)["data"], "mounted": mount },
        "job": {
            "name": job["name"], "mode": job["run_mode"], "service_account": job["run_service_account"],
            "environment_from_configmap": environment,
            "trusted_profiles_enabled": job["run_compute_resource_token_enabled"],
            // index 0 alone
            "array_size": if job["scale_array_spec"] == "0" { json!(1) } else { job["scale_array_spec"].clone() },
            "retry_limit": job["scale_retry_limit"], "max_execution_time": job["scale_max_execution_time"],
            "cpu": job["scale_cpu_limit"], "memory": job["scale_memory_limit"],
            "ephemeral_storage": job["scale_ephemeral_storage_limit"],
        },
        "events": {
            "destination": {
                "name": destination["name"], "type": destination["type"], "params": destination["config"]["params"],
            },
            "topic": topic(JOB),
            "subscription": {
                "name": JOB,
                "topic": by(&all["topics"], "id", &subscription["topic_id"])["name"],
                "destination": by(&all["destinations"], "id", &subscription["destination_id"])["name"],
            },
        },
        "daily_run": {
            "name": cron_name, "destination": cron.job, "time_zone": cron.time_zone, "schedule": cron.schedule,
            "destination_type": flag(&account, "cron create", "--destination-type"),
            "data": serde_json::from_str::<Value>(&cron.data).unwrap(),
            "content_type": flag(&account, "cron create", "--content-type"),
        },
        "mail": {
            "topic": topic(&alerts),
            "subscription": {
                "name": mail["name"],
                "topic": by(&all["topics"], "id", &mail["topic_id"])["name"],
                "destination_type": by(&all["destinations"], "id", &mail["destination_id"])["type"],
            },
        },
    })
}
