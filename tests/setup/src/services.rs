//! What the commands of Secrets Manager, Event Notifications and Code Engine do to the local cloud.

use std::time::Duration;

use local_cloud::CronSubscription;
use serde_json::{Map, Value, json};

use crate::account::{Account, Door, Instance};
use crate::commands::{Outcome, Problem, failed, shown};
use crate::site::root;
use crate::table::Call;

/// What a build that fails is called.
const BUILD_RUN: &str = "sm-tls-sync-run-261124-101112131";
const REGISTRATION: &str = "notifications/registration";

impl Account {
    pub(crate) fn secrets_manager(&mut self, call: &Call, url: Option<String>) -> Outcome {
        let url = call
            .flag("--service-url")
            .map(str::to_owned)
            .or(url)
            .unwrap_or_default();
        let network = if url.contains(".private.") {
            "private"
        } else {
            "public"
        };
        let is_at = |one: &Instance| {
            let place = if network == "private" { ".private" } else { "" };
            url == format!(
                "https://{}{place}.{}.secrets-manager.appdomain.cloud",
                one.guid, one.region
            )
        };
        // commands that a run of the job prints have the address that the run had
        let is_known = self.instances.iter().any(is_at) || url == self.cloud.secrets_manager_url();
        if self.reached != network || !is_known {
            return failed(format!("dial tcp: lookup {url}: no such host"));
        }
        match call.command {
            "secrets-manager secrets" => {
                let all = self.call(Door::SecretsManager, "GET", "secrets?limit=1000", None)?;
                let is = |secret: &&Value| {
                    call.text("--secret-types")
                        .split(',')
                        .any(|one| secret["secret_type"] == one)
                };
                let found = all["secrets"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(is)
                    .cloned();
                self.shown_list(call, Some("secrets"), found.collect())
            }
            "secrets-manager secret-metadata" => {
                let path = format!("secrets/{}/metadata", call.text("--id"));
                shown(call, &self.call(Door::SecretsManager, "GET", &path, None)?)
            }
            "secrets-manager notifications-registration" => shown(
                call,
                &self.call(Door::SecretsManager, "GET", REGISTRATION, None)?,
            ),
            _ => {
                let crn = call.text("--event-notifications-instance-crn");
                let target = crn.split(':').nth(7).unwrap_or_default();
                if !self.is_authorized("secrets-manager", target, &["Event Source Manager"]) {
                    return failed("Secrets Manager is not authorized at Event Notifications.");
                }
                let body = json!({
                    "event_notifications_instance_crn": crn,
                    "event_notifications_source_name": call.flag("--event-notifications-source-name"),
                });
                shown(
                    call,
                    &self.call(Door::SecretsManager, "POST", REGISTRATION, Some(&body))?,
                )
            }
        }
    }

    pub(crate) fn event_notifications(&mut self, call: &Call, endpoint: Option<String>) -> Outcome {
        let region = self
            .instance("event-notifications", call.text("--instance-id"))?
            .region
            .clone();
        let right =
            format!("https://{region}.event-notifications.cloud.ibm.com/event-notifications");
        let targeted = self.target.get("-r") == Some(&region);
        if !endpoint.map_or(targeted, |endpoint| endpoint == right) {
            return failed("The endpoint of Event Notifications is another region's.");
        }
        let command = call.command.trim_start_matches("event-notifications ");
        let (thing, act) = command.split_once('-').unwrap_or((command, ""));
        let (list, one) = (
            format!("{thing}s"),
            format!("{thing}s/{}", call.text("--id")),
        );
        match act {
            "create" => {
                let mut body = json!({ "name": call.flag("--name"), "description": call.flag("--description") });
                for field in ["type", "topic_id", "destination_id"] {
                    body[field] = call.flag(&format!("--{}", field.replace('_', "-"))).into();
                }
                for field in ["sources", "config", "attributes"] {
                    let Some(text) = call.flag(&format!("--{field}")) else {
                        continue;
                    };
                    body[field] = serde_json::from_str(text)
                        .or_else(|why| failed(format!("--{field}: no JSON: {why}")))?;
                }
                body.as_object_mut()
                    .unwrap()
                    .retain(|_, value| !value.is_null());
                let crn = body["config"]["params"]["project_crn"]
                    .as_str()
                    .unwrap_or_default();
                let project = crn.split(':').nth(7).unwrap_or_default();
                if thing == "destination"
                    && !self.is_authorized("event-notifications", project, &["Viewer", "Writer"])
                {
                    return failed("Event Notifications is not authorized to use this project.");
                }
                shown(
                    call,
                    &self.call(Door::EventNotifications, "POST", &list, Some(&body))?,
                )
            }
            "delete" => {
                self.call(Door::EventNotifications, "DELETE", &one, None)?;
                Ok("OK\n".into())
            }
            _ if thing.ends_with('s') => {
                let mut all = self.list(Door::EventNotifications, thing);
                for topic in &mut all {
                    // lists have the number of sources of a topic, not the sources
                    topic.as_object_mut().unwrap().remove("sources");
                }
                // the order is not documented; this one puts setup's topics on a later page
                all.sort_by_key(|one| one["name"].to_string());
                let number = |flag, default| {
                    call.flag(flag)
                        .map_or(default, |text| text.parse().unwrap())
                };
                let page = all
                    .into_iter()
                    .skip(number("--offset", 0))
                    .take(number("--limit", 10).min(100));
                self.shown_list(call, Some(thing), page.collect())
            }
            _ => shown(
                call,
                &self.call(Door::EventNotifications, "GET", &one, None)?,
            ),
        }
    }

    // --- Code Engine ---

    pub(crate) fn code_engine(&mut self, call: &Call) -> Outcome {
        if call.command == "ce project select" {
            let id = call.flag("--id").or_else(|| call.flag("--name"));
            let is = |one: &&Instance| {
                let is_here =
                    self.target.get("-r") == Some(&one.region) && self.target.contains_key("-g");
                one.service == "codeengine"
                    && is_here
                    && (id == Some(&one.guid) || id == Some(&one.name))
            };
            let Some(found) = self.instances.iter().find(is) else {
                return failed(
                    "The project was not found in the targeted region, or no resource group is targeted.",
                );
            };
            self.target.insert("project", found.guid.clone());
            return Ok("OK\n".into());
        }
        let Some(project) = self.target.get("project").cloned() else {
            return failed("No Code Engine project was selected.");
        };
        let words: Vec<&str> = call.command.split(' ').collect();
        let (kind, act) = (words[1], words[words.len() - 1]);
        let list = format!(
            "projects/{project}/{}",
            if kind == "configmap" {
                "config_maps".into()
            } else {
                format!("{kind}s")
            }
        );
        let (name, one) = (
            call.text("--name"),
            format!("{list}/{}", call.text("--name")),
        );
        match (kind, act) {
            ("jobrun", _) => self.job_run(call, act, &project),
            ("buildrun", _) => match self.build_fails {
                Some(log) if call.text("--buildrun") == BUILD_RUN => {
                    Ok(format!("Getting logs...\nOK\n\n{log}\n"))
                }
                _ => failed("The build run was not found."),
            },
            ("subscription", _) => self.cron(call, act, &project),
            ("secret", "list") => {
                if call.flag("--output").is_some() {
                    return failed(
                        "as JSON the real one prints the keys of all secrets: not in a script",
                    );
                }
                let bullet = if self.is("odd-tables") { "- " } else { "" };
                let row = |one: &Value| {
                    format!("{bullet}{}   tls   2   1d\n", one["name"].as_str().unwrap())
                };
                let rows: String = self.list(Door::CodeEngine, &list).iter().map(row).collect();
                Ok(format!(
                    "Listing secrets...\nOK\n\nName   Format   Data   Age\n{rows}"
                ))
            }
            (_, "list") => {
                let all = self.list(Door::CodeEngine, &list);
                let all = all.iter().map(|one| self.listed(one)).collect();
                self.shown_list(call, Some(if self.is("v2") { "all" } else { "items" }), all)
            }
            (_, "get") => {
                let found = self.call(Door::CodeEngine, "GET", &one, None)?;
                let shape =
                    json!({ "metadata": { "name": name }, "data": found["data"], "spec": found });
                shown(call, if self.is("v2") { &found } else { &shape })
            }
            (_, "delete") => {
                match self.call(Door::CodeEngine, "DELETE", &one, None) {
                    Err((404, _)) if call.is_on("--ignore-not-found") => {}
                    other => drop(other?),
                }
                if kind == "job" {
                    // the job's runs go with it
                    for run in self
                        .cloud
                        .job_runs(&project)
                        .iter()
                        .filter(|run| run.job_name == name)
                    {
                        let path = format!("projects/{project}/job_runs/{}", run.name);
                        self.call(Door::CodeEngine, "DELETE", &path, None)?;
                    }
                }
                Ok("OK\n".into())
            }
            (_, "create") => {
                let mut body = match kind {
                    "secret" => json!({ "format": call.flag("--format"), "data": {
                        "tls_cert": file(call.text("--cert-chain-file"))?, "tls_key": file(call.text("--private-key-file"))?,
                    }}),
                    "configmap" => json!({ "data": data(call)? }),
                    _ => self.new_job(call, &project)?,
                };
                body["name"] = name.into();
                self.call(Door::CodeEngine, "POST", &list, Some(&body))?;
                shown(call, &self.listed(&body))
            }
            ("configmap", _) => {
                let mut new = self.call(Door::CodeEngine, "GET", &one, None)?["data"].take();
                for key in call.all("--rm") {
                    new.as_object_mut()
                        .unwrap()
                        .remove(key)
                        .ok_or_else(|| missing(key))?;
                }
                new.as_object_mut().unwrap().extend(data(call)?);
                self.call(Door::CodeEngine, "PUT", &one, Some(&json!({ "data": new })))?;
                Ok("OK\n".into())
            }
            _ => {
                let mut job = self.call(Door::CodeEngine, "GET", &one, None)?;
                let mut mounts = self.mounts(call, &project)?;
                let old = job["run_volume_mounts"].as_array().into_iter().flatten();
                mounts.extend(
                    old.filter(|mount| {
                        Some(mount["mount_path"].as_str().unwrap()) != call.flag("--mount-rm")
                    })
                    .cloned(),
                );
                let mut body = json!({ "run_volume_mounts": mounts });
                if let Some(enabled) = call.flag("--trusted-profiles-enabled") {
                    body["run_compute_resource_token_enabled"] = (enabled == "true").into();
                }
                job = self.call(Door::CodeEngine, "PATCH", &one, Some(&body))?;
                shown(call, &job)
            }
        }
    }

    fn listed(&self, one: &Value) -> Value {
        if self.is("v2") {
            json!({ "name": one["name"] })
        } else {
            json!({ "metadata": { "name": one["name"] } })
        }
    }

    fn new_job(&self, call: &Call, project: &str) -> Result<Value, Problem> {
        let image = match (call.flag("--image"), call.flag("--build-source")) {
            (Some(image), None) => image.to_owned(),
            (None, Some(source)) => {
                // where the scripts are
                file(
                    root()
                        .join(source)
                        .join(call.text("--build-dockerfile"))
                        .to_str()
                        .unwrap(),
                )?;
                if self.build_fails.is_some() {
                    // words that a script must not take for a right that is not known yet
                    let why = "Build run failed: permission denied, forbidden, not found";
                    return Err(Problem::Ended(
                        format!("Submitting build run '{BUILD_RUN}'...\n"),
                        why.into(),
                    ));
                }
                "private.de.icr.io/ce--a1b2c/job:built".to_owned()
            }
            _ => return failed("Incorrect usage: one of --image and --build-source"),
        };
        let number = |flag, default: u64| {
            call.flag(flag)
                .map_or(default, |text| text.parse().unwrap())
        };
        let sizes = (
            call.flag("--cpu").unwrap_or("1"),
            call.flag("--memory").unwrap_or("4G"),
        );
        if ![("0.125", "0.25G"), ("0.25", "0.5G"), ("1", "4G")].contains(&sizes) {
            return failed(format!("CPU and memory do not go together: {sizes:?}"));
        }
        for map in call.all("--env-from-configmap") {
            self.call(
                Door::CodeEngine,
                "GET",
                &format!("projects/{project}/config_maps/{map}"),
                None,
            )?;
        }
        let variables = call.all("--env-from-configmap").iter();
        let variables: Vec<_> = variables
            .map(|map| json!({ "type": "config_map_full_reference", "reference": map }))
            .collect();
        let mut body = json!({
            "image_reference": image,
            "run_compute_resource_token_enabled": call.is_on("--trusted-profiles-enabled"),
            "run_env_variables": variables,
            "run_mode": call.flag("--mode").unwrap_or("task"),
            "run_service_account": call.flag("--service-account").unwrap_or("default"),
            "run_volume_mounts": self.mounts(call, project)?,
            "scale_array_spec": format!("0-{}", number("--array-size", 1) - 1).replace("0-0", "0"),
            "scale_cpu_limit": sizes.0,
            "scale_ephemeral_storage_limit": call.flag("--ephemeral-storage").unwrap_or("400M"),
            "scale_max_execution_time": number("--maxexecutiontime", 7200),
            "scale_memory_limit": sizes.1,
            "scale_retry_limit": number("--retrylimit", 3),
        });
        call.flag("--registry-secret")
            .into_iter()
            .for_each(|secret| body["image_secret"] = secret.into());
        Ok(body)
    }

    /// The configmaps that a command mounts: `FOLDER=NAME`.
    fn mounts(&self, call: &Call, project: &str) -> Result<Vec<Value>, Problem> {
        let mount = |pair: &String| {
            let (folder, map) = pair.split_once('=').unwrap();
            self.call(
                Door::CodeEngine,
                "GET",
                &format!("projects/{project}/config_maps/{map}"),
                None,
            )?;
            Ok(json!({ "type": "config_map", "mount_path": folder, "reference": map }))
        };
        call.all("--mount-configmap").iter().map(mount).collect()
    }

    fn cron(&self, call: &Call, act: &str, project: &str) -> Outcome {
        let (name, text) = (call.text("--name"), |flag: &str| call.text(flag).to_owned());
        let all = self.cloud.cron_subscriptions(project);
        let found = all.iter().find(|(known, _)| known == name);
        match act {
            "list" => {
                let all = all
                    .iter()
                    .map(|(name, _)| self.listed(&json!({ "name": name })))
                    .collect();
                self.shown_list(call, Some("items"), all)
            }
            "get" => {
                let (_, cron) = found.ok_or_else(|| missing(name))?;
                shown(
                    call,
                    &json!({ "metadata": { "name": name }, "spec": { "schedule": cron.schedule, "data": cron.data } }),
                )
            }
            "delete" => {
                self.cloud.delete_cron_subscription(project, name);
                Ok("OK\n".into())
            }
            _ if found.is_some() || call.flag("--destination-type") != Some("job") => {
                failed(format!("{name} exists already, or leads to an app."))
            }
            _ => {
                self.call(
                    Door::CodeEngine,
                    "GET",
                    &format!("projects/{project}/jobs/{}", text("--destination")),
                    None,
                )?;
                let cron = CronSubscription {
                    job: text("--destination"),
                    schedule: text("--schedule"),
                    time_zone: text("--time-zone"),
                    data: text("--data"),
                };
                self.cloud.put_cron_subscription(project, name, cron);
                Ok("OK\n".into())
            }
        }
    }

    fn job_run(&mut self, call: &Call, act: &str, project: &str) -> Outcome {
        let name = call
            .flag("--jobrun")
            .unwrap_or_else(|| call.text("--name"))
            .to_owned();
        if act == "submit" {
            let literal = |pair: &String| {
                let (name, value) = pair.split_once('=').unwrap();
                json!({ "type": "literal", "name": name, "value": value })
            };
            let variables: Vec<_> = call.all("--env").iter().map(literal).collect();
            let mut body =
                json!({ "job_name": call.flag("--job"), "run_env_variables": variables });
            call.flag("--name")
                .into_iter()
                .for_each(|name| body["name"] = name.into());
            self.write_mounts(&format!("projects/{project}"), call.text("--job"))?;
            let run = self.call(
                Door::CodeEngine,
                "POST",
                &format!("projects/{project}/job_runs"),
                Some(&body),
            )?;
            let run = run["name"].as_str().unwrap_or_default();
            let ended = self
                .cloud
                .wait_job_run(project, run, Duration::from_secs(600))
                .unwrap();
            if ended.status == "failed" && !self.is("failed-run-exits-0") {
                return Err(Problem::Ended(
                    String::new(),
                    format!("Job run {run} failed."),
                ));
            }
            return Ok("OK\n".into());
        }
        let runs = self.cloud.job_runs(project);
        let run = runs
            .iter()
            .find(|run| run.name == name)
            .ok_or_else(|| missing(&name))?;
        if act == "get" {
            let condition = if run.status == "completed" {
                "Complete"
            } else {
                "Failed"
            };
            let shape = json!({ "metadata": { "name": name }, "status": { "conditions": [{ "type": condition, "status": "True" }] } });
            let v2 = json!({ "name": name, "status": run.status });
            return shown(call, if self.is("v2") { &v2 } else { &shape });
        }
        let head = "Getting logs for all instances of the job run...\nOK\n";
        let asked = self.logs_asked.entry(name).or_default();
        *asked += 1;
        let asked = *asked;
        match asked {
            1 if self.is("late-logs") => failed("No instances of the job run were found."),
            _ if self.is("no-logs") => Ok(head.into()),
            _ => Ok(run
                .attempts
                .iter()
                .fold(head.into(), |text, one| text + &one.stderr + &one.stdout)),
        }
    }

    /// Runs of this machine find the job's mounts below the home of the site.
    fn write_mounts(&self, project: &str, job: &str) -> Result<(), Problem> {
        let job = self.call(
            Door::CodeEngine,
            "GET",
            &format!("{project}/jobs/{job}"),
            None,
        )?;
        for mount in job["run_volume_mounts"].as_array().into_iter().flatten() {
            let folder = self.home.join("mounted").join(
                mount["mount_path"]
                    .as_str()
                    .unwrap()
                    .trim_start_matches('/'),
            );
            let map = format!(
                "{project}/config_maps/{}",
                mount["reference"].as_str().unwrap()
            );
            let map = self.call(Door::CodeEngine, "GET", &map, None)?;
            std::fs::create_dir_all(&folder).unwrap();
            for (key, value) in map["data"].as_object().unwrap() {
                std::fs::write(folder.join(key), value.as_str().unwrap()).unwrap();
            }
        }
        Ok(())
    }
}

fn missing(what: &str) -> Problem {
    Problem::NothingFound(format!("\"{what}\" not found"))
}

fn file(path: &str) -> Result<String, Problem> {
    std::fs::read_to_string(path).or_else(|why| failed(format!("{path}: {why}")))
}

/// What the flags put into a configmap.
fn data(call: &Call) -> Result<Map<String, Value>, Problem> {
    let mut data = Map::new();
    let lines = call
        .flag("--from-env-file")
        .map_or(Ok(String::new()), file)?;
    for pair in lines
        .lines()
        .chain(call.all("--from-literal").iter().map(String::as_str))
    {
        let (key, value) = pair.split_once('=').unwrap();
        data.insert(key.to_owned(), value.into());
    }
    for pair in call.all("--from-file") {
        let (key, path) = pair.split_once('=').unwrap();
        data.insert(key.to_owned(), file(path)?.into());
    }
    Ok(data)
}
