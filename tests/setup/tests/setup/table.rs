//! What setup creates is what tests/terraform/installation.json says that an installation is; the Terraform
//! module is held against the same table.

use ibmcloud_stand_in::{JOB, TLS_SECRET, entries, root, table, text};
use serde_json::{Value, json};

use crate::harness::Here;

/// What is not compared: remarks, and what differs from installation to installation.
const NOT_COMPARED: &str = "about description id made_by once_for_each only_with roles_without_custom_role rules_file updated_at";

/// Without what is not compared.
fn compared(value: &Value) -> Value {
    let is_compared = |key: &str| !NOT_COMPARED.split(' ').any(|one| one == key);
    match value {
        Value::Array(all) => all.iter().map(compared).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| is_compared(key));
            let kept = kept.map(|(key, value)| (key.clone(), compared(value)));
            kept.collect()
        }
        other => other.clone(),
    }
}

/// Fills in the words in braces.
fn filled(value: &Value, words: &[(&str, &str)]) -> Value {
    let mut text = value.to_string();
    for (word, is) in words {
        let is = json!(is).to_string();
        text = text.replace(&format!("{{{word}}}"), &is[1..is.len() - 1]);
    }
    serde_json::from_str(&text).unwrap()
}

/// The fields of a document that the table tells of.
fn told(document: &Value, table: &Value) -> Value {
    let keys = table.as_object().unwrap().keys();
    let told = keys.map(|key| (key.clone(), document[key].clone()));
    told.collect()
}

fn by<'a>(list: &'a Value, key: &str, is: &Value) -> &'a Value {
    let mut all = entries(list).iter();
    all.find(|one| one[key] == *is).unwrap()
}

/// What exists is what the table says: for this way to name targets, these secret groups, and these projects.
#[track_caller]
pub(crate) fn assert_as_in_the_table(
    here: &Here,
    way: &str,
    groups: &[&str],
    projects: &[&str],
    targets: &str,
) {
    let read = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
    };
    let mut table = read("tests/terraform/installation.json");
    let [reader, mut updater] = [0, 1].map(|n| table["profile"]["policies"][n].take());
    // with the role Writer, no other is made
    if here.account().roles.is_empty() {
        updater["roles"] = updater["roles_without_custom_role"].take();
        table["custom_role"] = Value::Null;
    }
    let readers = groups.iter().map(|id| [("secret_group_id", *id)]);
    let updaters = projects.iter().map(|id| [("project_id", *id)]);
    let readers = readers.map(|words| filled(&reader, &words));
    let updaters = updaters.map(|words| filled(&updater, &words));
    table["profile"]["policies"] = readers.chain(updaters).collect();
    let name = table["configmap"]["name"].take();
    let mut data = table["configmap"]["always"].take();
    let mut way = table["configmap"]["and_one_of"][way].take();
    for (key, value) in way["keys"].as_object().unwrap() {
        data[key] = value.clone();
    }
    let mounted = way["mounted_configmap"].take();
    table["configmap"] = json!({ "name": name, "data": data, "mounted": mounted });
    table["daily_run"] = table["daily_run"]["one_of"]["cron"].take();
    table["mail"]["topic"]["rules"] = read("scripts/alerts/email-rules.json");
    let (world, job_crn) = (&here.world, here.cloud.project_crn(&here.job_project));
    let profile = text(&here.account().profiles[0], "id").to_owned();
    let en = &world.event_notifications_instance_id;
    let en_crn = &world.event_notifications_instance_crn;
    let words = [
        ("name", JOB),
        ("secrets_manager_id", &world.instance_id),
        ("secrets_manager_crn", &world.instance_crn),
        ("secrets_manager_region", &world.region),
        ("event_notifications_id", en),
        ("event_notifications_crn", en_crn),
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
    let table = filled(&compared(&table), &words);
    assert_eq!(sorted(&actual(here, &table)), sorted(&table));
}

/// The order of policies and the like means nothing, nor that of the keys.
fn sorted(all: &Value) -> Value {
    let mut all = compared(all);
    all.sort_all_objects();
    for path in ["/authorizations", "/profile/policies"] {
        let list = all.pointer_mut(path).and_then(Value::as_array_mut);
        list.unwrap().sort_by_key(Value::to_string);
    }
    all
}

/// What exists, as far as the table tells of such things.
fn actual(here: &Here, table: &Value) -> Value {
    let account = here.account();
    let all = account.everything();
    // lists show less than the things themselves
    let en = |kind: &str, name: &Value| {
        let id = text(by(&all[kind], "name", name), "id");
        account.en(&format!("GET {kind}/{id}"), ()).unwrap()
    };
    let calls = account.calls.iter();
    let calls = calls.filter_map(|(words, _)| table::parse(words).ok());
    let calls: Vec<_> = calls.collect();
    let said = |command: &str| {
        let call = calls.iter().find(|call| call.command == command);
        call.unwrap().body()
    };
    let topic = |table: &Value| {
        let source = en("topics", &table["name"])["sources"][0].take();
        json!({ "name": table["name"], "source": source["id"], "rules": source["rules"] })
    };
    let subscription = |table: &Value| told(&en("subscriptions", &table["name"]), table);
    let own = &all["cert-sync"];
    let (job, maps) = (&own["jobs"][0], &own["config_maps"]);
    let mount = entries(&job["run_volume_mounts"]).first().map(|mount| {
        let keys = &by(maps, "name", &mount["reference"])["data"];
        json!({ "name": mount["reference"], "mount_path": mount["mount_path"], "keys": keys })
    });
    let map = by(maps, "name", &table["configmap"]["name"]);
    let destination = en("destinations", &json!(JOB));
    let mut daily_run = said("ce subscription cron create");
    daily_run["data"] = serde_json::from_str(text(&daily_run, "data")).unwrap();
    let (events, mail) = (&table["events"], &table["mail"]);
    json!({
        "authorizations": account.authorizations,
        "registration": said("secrets-manager notifications-registration-create"),
        "custom_role": account.roles.first(),
        "profile": account.profiles[0],
        "configmap": { "name": map["name"], "data": map["data"], "mounted": mount },
        "job": told(job, &table["job"]),
        "events": {
            "destination": { "name": JOB, "type": destination["type"], "params": destination["config"]["params"] },
            "topic": topic(&events["topic"]),
            "subscription": subscription(&events["subscription"]),
        },
        "daily_run": daily_run,
        "mail": { "topic": topic(&mail["topic"]), "subscription": subscription(&mail["subscription"]) },
    })
}
