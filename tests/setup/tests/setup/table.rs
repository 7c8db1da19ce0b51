//! What setup creates is what the table says that an installation is; the Terraform module is held
//! against the same table.

use std::collections::BTreeMap;

use ibmcloud_stand_in::rest::{Door, Rest};
use ibmcloud_stand_in::{Account, State};
use serde_json::{Map, Value, json};

use crate::harness::{JOB, Site, TLS_SECRET, assert_same, root};
use crate::targets::Two;

const SCHEDULE: &str = "17 3 * * *";
const OPTIONS: [&str; 4] = ["--schedule", SCHEDULE, "--alert-email", "ops@example.com"];

/// Fills in the words in braces.
fn fill(value: &Value, words: &BTreeMap<&str, &str>) -> Value {
    match value {
        Value::String(text) => {
            let mut text = text.clone();
            for (word, is) in words {
                text = text.replace(&format!("{{{word}}}"), is);
            }
            text.into()
        }
        Value::Array(all) => all.iter().map(|one| fill(one, words)).collect(),
        Value::Object(all) => {
            let filled = all.iter().map(|(key, one)| (key.clone(), fill(one, words)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

/// How the targets reach the job, the rights' role, and what is named more than once.
struct Variant<'a> {
    way: &'a str,
    writer: bool,
    groups: Vec<&'a str>,
    projects: Vec<&'a str>,
    targets: String,
}

/// The table for this variant.
fn expected(site: &Site, variant: &Variant<'_>) -> Value {
    let path = root().join("tests/terraform/installation.json");
    let mut table: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let world = &site.world;
    let (job_crn, state) = (site.cloud.project_crn(&site.job_project), site.state());
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
        ("job_project_id", &site.job_project),
        ("job_project_crn", &job_crn),
        ("secret_id", &site.secret),
        ("tls_secret", TLS_SECRET),
        ("profile_id", &state.profiles[0].id),
        ("targets", &variant.targets),
        ("schedule", SCHEDULE),
    ]);
    let mut policies = Vec::new();
    for policy in table["profile"]["policies"].as_array().unwrap() {
        let (word, each) = match policy["once_for_each"].as_str().unwrap() {
            "secret group of a certificate" => ("secret_group_id", &variant.groups),
            "project of a TLS secret" => ("project_id", &variant.projects),
            other => panic!("once for each {other}"),
        };
        for id in each {
            let mut policy = fill(policy, &BTreeMap::from([(word, *id)]));
            let fields = policy.as_object_mut().unwrap();
            fields.remove("once_for_each");
            if let Some(roles) = fields.remove("roles_without_custom_role")
                && variant.writer
            {
                fields.insert("roles".into(), roles);
            }
            policies.push(policy);
        }
    }
    table["profile"]["policies"] = policies.into();
    if variant.writer {
        table["custom_role"] = Value::Null;
    }
    let mut way = table["configmap"]["and_one_of"][variant.way].take();
    let mut data = table["configmap"]["always"].take();
    let keys = way["keys"].as_object().unwrap().clone();
    data.as_object_mut().unwrap().extend(keys);
    table["configmap"] = json!({
        "name": table["configmap"]["name"],
        "data": data,
        "mounted": way["mounted_configmap"].take(),
    });
    let mut cron = table["daily_run"]["one_of"]["cron"].take();
    cron.as_object_mut().unwrap().remove("made_by");
    table["daily_run"] = cron;
    let rules = table["mail"]["topic"]["rules_file"].as_str().unwrap();
    let rules = std::fs::read_to_string(root().join(rules)).unwrap();
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let topic = table["mail"]["topic"].as_object_mut().unwrap();
    topic.remove("rules_file");
    topic.insert("rules".into(), rules);
    for about in ["about", "only_with"] {
        table.as_object_mut().unwrap().remove(about);
        table["mail"].as_object_mut().unwrap().remove(about);
    }
    let mut table = fill(&table, &words);
    // the default project is that of --project
    table = fill(
        &table,
        &BTreeMap::from([("project_id", world.project_id.as_str())]),
    );
    table
}

/// What exists, in the table's words.
fn actual(site: &Site) -> Value {
    let rest = Rest::new(&Account::load(site.home.path()));
    let (all, state) = (site.everything(), site.state());
    let en = &site.world.event_notifications_instance_id;
    // lists show less than the things themselves
    let whole = |list: &str, name: &str| -> Value {
        let mut found = all[list].as_array().unwrap().iter();
        let id = found.find(|one| one["name"] == name).unwrap()["id"]
            .as_str()
            .unwrap();
        let path = format!("/v1/instances/{en}/{list}/{id}");
        rest.call(Door::EventNotifications, "GET", &path, None)
            .unwrap()
    };
    let topic = |name: &str| {
        let topic = whole("topics", name);
        let source = &topic["sources"][0];
        let rules = source["rules"].as_array().unwrap().iter().map(|rule| {
            let mut kept = Map::new();
            for field in ["enabled", "event_type_filter", "notification_filter"] {
                if !rule[field].is_null() && rule[field] != "" {
                    kept.insert(field.into(), rule[field].clone());
                }
            }
            Value::Object(kept)
        });
        json!({ "name": name, "source": source["id"], "rules": rules.collect::<Vec<_>>() })
    };
    let name_of = |list: &str, id: &Value, field: &str| -> Value {
        let mut found = all[list].as_array().unwrap().iter();
        found.find(|one| one["id"] == *id).unwrap()[field].clone()
    };
    let registration = rest
        .call(
            Door::SecretsManager,
            "GET",
            "/api/v2/notifications/registration",
            None,
        )
        .unwrap();
    let subscription = whole("subscriptions", JOB);
    let mail = whole("subscriptions", &format!("{JOB}-alerts"));
    let destination = whole("destinations", JOB);
    json!({
        "authorizations": state.authorizations.iter().map(|one| json!({
            "source_service": one.source.0, "source_instance": one.source.1,
            "target_service": one.target.0, "target_instance": one.target.1,
            "roles": one.roles,
        })).collect::<Vec<_>>(),
        "registration": {
            "secrets_manager": site.world.instance_id,
            "event_notifications_crn": registration["event_notifications_instance_crn"],
            "source_name": flag(
                site,
                "notifications-registration-create",
                "--event-notifications-source-name",
            ),
        },
        "custom_role": state.roles.first().map(|role| json!({
            "name": role.name, "display_name": role.name,
            "service": role.service, "actions": role.actions,
        })),
        "profile": profile(&state),
        "configmap": configmap(&all),
        "job": job(&all["job/jobs"][0]),
        "events": {
            "destination": {
                "name": destination["name"], "type": destination["type"],
                "params": destination["config"]["params"],
            },
            "topic": topic(JOB),
            "subscription": {
                "name": JOB,
                "topic": name_of("topics", &subscription["topic_id"], "name"),
                "destination": name_of("destinations", &subscription["destination_id"], "name"),
            },
        },
        "daily_run": cron(site),
        "mail": {
            "topic": topic(&format!("{JOB}-alerts")),
            "subscription": {
                "name": mail["name"],
                "topic": name_of("topics", &mail["topic_id"], "name"),
                "destination_type": name_of("destinations", &mail["destination_id"], "type"),
            },
        },
    })
}

fn profile(state: &State) -> Value {
    let profile = &state.profiles[0];
    let links = profile.links.iter().map(|link| {
        let (name, cr_type, link) = (&link["name"], &link["cr_type"], &link["link"]);
        json!({
            "name": name, "cr_type": cr_type, "crn": link["crn"],
            "component_type": link["component_type"], "component_name": link["component_name"],
        })
    });
    let policies = profile.policies.iter().map(|policy| {
        let mut fields = Map::from_iter([("roles".to_owned(), json!(policy.roles))]);
        for (attribute, value) in &policy.attributes {
            let field = match attribute.as_str() {
                "serviceName" => "service",
                "serviceInstance" => "instance",
                "resourceType" => "resource_type",
                other => other,
            };
            fields.insert(field.to_owned(), json!(value));
        }
        Value::Object(fields)
    });
    json!({
        "name": profile.name,
        "links": links.collect::<Vec<_>>(),
        "policies": policies.collect::<Vec<_>>(),
    })
}

fn configmap(all: &Value) -> Value {
    let map = |name: &str| {
        let mut maps = all["job/config_maps"].as_array().unwrap().iter();
        maps.find(|map| map["name"] == name).unwrap()
    };
    let mounts = all["job/jobs"][0]["run_volume_mounts"].as_array().unwrap();
    let mounted = mounts.first().map(|mount| {
        json!({
            "name": mount["reference"],
            "mount_path": mount["mount_path"],
            "keys": map(mount["reference"].as_str().unwrap())["data"],
        })
    });
    let environment = &all["job/jobs"][0]["run_env_variables"][0]["reference"];
    json!({
        "name": environment,
        "data": map(environment.as_str().unwrap())["data"],
        "mounted": mounted,
    })
}

fn job(job: &Value) -> Value {
    let array = job["scale_array_spec"].as_str().unwrap();
    json!({
        "name": job["name"],
        "environment_from_configmap": job["run_env_variables"][0]["reference"],
        "trusted_profiles_enabled": job["run_compute_resource_token_enabled"],
        "service_account": job["run_service_account"],
        "mode": job["run_mode"],
        // index 0 alone
        "array_size": if array == "0" { json!(1) } else { json!(array) },
        "retry_limit": job["scale_retry_limit"],
        "max_execution_time": job["scale_max_execution_time"],
        "cpu": job["scale_cpu_limit"],
        "memory": job["scale_memory_limit"],
        "ephemeral_storage": job["scale_ephemeral_storage_limit"],
    })
}

/// What a command was given that the cloud does not keep.
fn flag(site: &Site, command: &str, flag: &str) -> Value {
    let calls = site.calls();
    let call = calls.lines().find(|line| line.contains(command)).unwrap();
    let call: Value = serde_json::from_str(call).unwrap();
    let words = call["arguments"].as_array().unwrap();
    let at = words.iter().position(|word| word == flag).unwrap();
    words[at + 1].clone()
}

fn cron(site: &Site) -> Value {
    let [(name, cron)] = &site.cloud.cron_subscriptions(&site.job_project)[..] else {
        panic!("not one cron subscription")
    };
    let flag = |name: &str| flag(site, r#""cron","create""#, name);
    json!({
        "name": name,
        "destination": cron.job,
        "destination_type": flag("--destination-type"),
        "schedule": cron.schedule,
        "time_zone": cron.time_zone,
        "data": serde_json::from_str::<Value>(&cron.data).unwrap(),
        "content_type": flag("--content-type"),
    })
}

/// The order of policies and the like means nothing.
fn sorted(mut all: Value) -> Value {
    for path in ["/authorizations", "/profile/policies"] {
        let list = all.pointer_mut(path).and_then(Value::as_array_mut);
        list.unwrap().sort_by_key(Value::to_string);
    }
    all
}

#[track_caller]
fn assert_as_in_the_table(site: &Site, variant: &Variant<'_>) {
    assert_same(&sorted(expected(site, variant)), &sorted(actual(site)));
}

#[test]
fn an_installation_for_one_certificate_is_as_in_the_table() {
    for writer in [false, true] {
        let site = Site::new();
        let more = if writer { &["--writer"][..] } else { &[] };
        site.setup(&[&OPTIONS, more].concat()).expect(0);
        let variant = Variant {
            way: "one_certificate",
            writer,
            groups: vec![&site.world.secret_group_id],
            projects: vec![&site.world.project_id],
            targets: String::new(),
        };
        assert_as_in_the_table(&site, &variant);
    }
}

#[test]
fn an_installation_for_many_targets_is_as_in_the_table() {
    let two = Two::new(Site::new());
    let site = &two.site;
    let targets = two.targets();
    two.setup(&targets, &OPTIONS).expect(0);
    let mut variant = Variant {
        way: "targets",
        writer: false,
        groups: vec![&site.world.secret_group_id, &two.blog_group],
        projects: vec![&site.world.project_id, &two.blog_project],
        targets: targets.to_string(),
    };
    assert_as_in_the_table(site, &variant);
    // the same with a list that is too long for a variable
    let long = two.long_targets();
    two.setup(&long, &OPTIONS).expect(0);
    (variant.way, variant.targets) = ("many_targets", long.to_string());
    assert_as_in_the_table(site, &variant);
}
