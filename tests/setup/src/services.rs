//! What the commands of Secrets Manager, Event Notifications and Code Engine do to the local cloud.

use std::time::Duration;

use local_cloud::CronSubscription;
use serde_json::{Map, Value, json};

use crate::account::{Account, Door, entries, text};
use crate::commands::{Outcome, Problem, failed, missing, ok, shown};
use crate::site::root;
use crate::table::Call;

/// What a build that fails is called.
const BUILD_RUN: &str = "sm-tls-sync-run-261124-101112131";
/// The end of a path, and of a command.
const REGISTRATION: &str = "notifications/registration";

impl Account {
    pub(crate) fn secrets_manager(&mut self, call: &Call, variable: &str) -> Outcome {
        let url = call.flag("--service-url").unwrap_or(variable);
        let (network, place) = match url.contains(".private.") {
            true => ("private", ".private"),
            false => ("public", ""),
        };
        let is_at = |one: &Value| {
            let (id, region) = (text(one, "guid"), text(one, "region"));
            url == format!("https://{id}{place}.{region}.secrets-manager.appdomain.cloud")
        };
        // commands that a run of the job prints have the address that the run had
        let is_known = self.instances.iter().any(is_at) || url == self.cloud.secrets_manager_url();
        if self.reached != network || !is_known {
            return failed(format!("dial tcp: lookup {url}: no such host"));
        }
        let get = |path: &str| self.call(Door::SecretsManager, &format!("GET {path}"), Value::Null);
        match call.command {
            "secrets-manager secrets" => {
                let types = call.text("--secret-types");
                let mut all = entries(&get("secrets?limit=1000")?["secrets"]).to_vec();
                all.retain(|secret| types.split(',').any(|one| secret["secret_type"] == one));
                self.shown_list(call, Some("secrets"), all)
            }
            "secrets-manager secret-metadata" => shown(
                call,
                &get(&format!("secrets/{}/metadata", call.text("--id")))?,
            ),
            "secrets-manager notifications-registration" => shown(call, &get(REGISTRATION)?),
            _ => {
                let crn = call.text("--event-notifications-instance-crn");
                let target = crn.split(':').nth(7).unwrap_or_default();
                if !self.is_authorized("secrets-manager", target, &["Event Source Manager"]) {
                    return failed("Secrets Manager is not authorized at Event Notifications.");
                }
                let name = call.flag("--event-notifications-source-name");
                let body = json!({ "event_notifications_instance_crn": crn, "event_notifications_source_name": name });
                let post = format!("POST {REGISTRATION}");
                shown(call, &self.call(Door::SecretsManager, &post, body)?)
            }
        }
    }

    pub(crate) fn event_notifications(&mut self, call: &Call, endpoint: Option<&str>) -> Outcome {
        let instance = self.instance("event-notifications", call.text("--instance-id"))?;
        let address = |region| format!("https://{region}.event-notifications.cloud.ibm.com");
        let right = address(text(instance, "region")) + "/event-notifications";
        let targeted = self
            .target
            .get("-r")
            .map(|region| address(region) + "/event-notifications");
        if endpoint != Some(&right) && (endpoint.is_some() || targeted != Some(right)) {
            return failed("The endpoint of Event Notifications is another region's.");
        }
        let request = |request: &str, body| self.call(Door::EventNotifications, request, body);
        let command = call.command.trim_start_matches("event-notifications ");
        let (thing, act) = command.split_once('-').unwrap_or((command, ""));
        let one = format!("{thing}s/{}", call.text("--id"));
        match act {
            "create" => {
                let mut body = Map::new();
                for field in ["name", "description", "type", "topic_id", "destination_id"] {
                    if let Some(value) = call.flag(&format!("--{}", field.replace('_', "-"))) {
                        body.insert(field.to_owned(), value.into());
                    }
                }
                for field in ["sources", "config", "attributes"] {
                    if let Some(json) = call.flag(&format!("--{field}")) {
                        let value = serde_json::from_str(json);
                        let value =
                            value.or_else(|why| failed(format!("--{field}: no JSON: {why}")))?;
                        body.insert(field.to_owned(), value);
                    }
                }
                let body = Value::Object(body);
                let crn = text(&body["config"]["params"], "project_crn");
                if thing == "destination" && !self.may_submit(crn.split(':').nth(7)) {
                    return failed("Event Notifications is not authorized to use this project.");
                }
                shown(call, &request(&format!("POST {thing}s"), body)?)
            }
            "delete" => {
                request(&format!("DELETE {one}"), Value::Null)?;
                ok()
            }
            _ if thing.ends_with('s') => {
                let mut all = self.list(Door::EventNotifications, thing);
                for topic in &mut all {
                    // lists have the number of sources of a topic, not the sources
                    topic.as_object_mut().unwrap().remove("sources");
                }
                // the order is not documented; this one puts setup's topics on a later page
                all.sort_by_key(|one| one["name"].to_string());
                let [offset, limit] = call.texts(["--offset", "--limit"]).map(str::parse::<usize>);
                let page = all.into_iter().skip(offset.unwrap_or(0));
                let page = page.take(limit.unwrap_or(10).min(100)).collect();
                self.shown_list(call, Some(thing), page)
            }
            _ => shown(call, &request(&format!("GET {one}"), Value::Null)?),
        }
    }

    pub(crate) fn code_engine(&mut self, call: &Call) -> Outcome {
        if call.command == "ce project select" {
            let [id, name] = call.texts(["--id", "--name"]);
            let is = |one: &&Value| {
                let is_here =
                    Some(text(one, "region")) == self.target.get("-r").map(String::as_str);
                is_here && (one["guid"] == id || one["name"] == name)
            };
            let found = self
                .projects()
                .find(is)
                .filter(|_| self.target.contains_key("-g"));
            let found = found.ok_or_else(|| missing("project in the targeted region and group"))?;
            let id = text(found, "guid").to_owned();
            self.target.insert("project", id);
            return ok();
        }
        let Some(project) = self.target.get("project").cloned() else {
            return failed("No Code Engine project was selected.");
        };
        let words: Vec<&str> = call.command.split(' ').collect();
        let (kind, act) = (words[1], words[words.len() - 1]);
        let (name, list) = (call.text("--name"), format!("projects/{project}/{kind}s"));
        let list = list.replace("configmap", "config_map");
        let one = |method: &str, body| self.ce(&format!("{method} {list}/{name}"), body);
        match (kind, act) {
            ("jobrun", _) => self.job_run(call, act, &project),
            ("buildrun", _) => match self.build_fails {
                Some(log) if call.text("--buildrun") == BUILD_RUN => {
                    Ok(format!("Getting logs...\nOK\n\n{log}\n"))
                }
                _ => failed("The build run was not found."),
            },
            ("subscription", _) => self.cron(call, act, &project),
            ("secret", "list") if call.flag("--output").is_some() => {
                failed("as JSON the real one prints the keys of all secrets: not in a script")
            }
            ("secret", "list") => {
                let bullet = if self.is("odd-tables") { "- " } else { "" };
                let mut table = "Listing secrets...\nOK\n\nName   Format   Data   Age\n".to_owned();
                for one in self.list(Door::CodeEngine, &list) {
                    table += &format!("{bullet}{}   tls   2   1d\n", text(&one, "name"));
                }
                Ok(table)
            }
            (_, "list") => {
                let all = self.list(Door::CodeEngine, &list).into_iter();
                let all = all.map(|one| self.listed(text(&one, "name"))).collect();
                self.shown_list(call, Some(if self.is("v2") { "all" } else { "items" }), all)
            }
            (_, "get") => {
                let found = one("GET", Value::Null)?;
                let shape =
                    json!({ "metadata": { "name": name }, "data": found["data"], "spec": found });
                shown(call, if self.is("v2") { &found } else { &shape })
            }
            (_, "delete") => {
                match one("DELETE", Value::Null) {
                    Err((404, _)) if call.is_on("--ignore-not-found") => {}
                    other => drop(other?),
                }
                // a job's runs go with it
                let runs = self.cloud.job_runs(&project).into_iter();
                for run in runs.filter(|run| kind == "job" && run.job_name == name) {
                    let run = format!("DELETE projects/{project}/job_runs/{}", run.name);
                    self.ce(&run, Value::Null)?;
                }
                ok()
            }
            (_, "create") => {
                let mut body = match kind {
                    "secret" => {
                        let [chain, key] = call
                            .texts(["--cert-chain-file", "--private-key-file"])
                            .map(file);
                        json!({ "format": call.flag("--format"), "data": { "tls_cert": chain?, "tls_key": key? } })
                    }
                    "configmap" => json!({ "data": data(call)? }),
                    _ => self.new_job(call, &project)?,
                };
                body["name"] = name.into();
                self.ce(&format!("POST {list}"), body)?;
                shown(call, &self.listed(name))
            }
            ("configmap", _) => {
                let mut new = one("GET", Value::Null)?["data"].take();
                let fields = new.as_object_mut().unwrap();
                for key in call.all("--rm") {
                    fields.remove(key).ok_or_else(|| missing(key))?;
                }
                fields.extend(data(call)?);
                one("PUT", json!({ "data": new }))?;
                ok()
            }
            _ => {
                let (job, mut mounts) = (one("GET", Value::Null)?, self.mounts(call, &project)?);
                let gone = call.text("--mount-rm");
                let old = entries(&job["run_volume_mounts"]).iter();
                mounts.extend(old.filter(|mount| mount["mount_path"] != gone).cloned());
                let mut body = json!({ "run_volume_mounts": mounts });
                if let Some(enabled) = call.flag("--trusted-profiles-enabled") {
                    body["run_compute_resource_token_enabled"] = (enabled == "true").into();
                }
                shown(call, &one("PATCH", body)?)
            }
        }
    }

    fn listed(&self, name: &str) -> Value {
        let name = json!({ "name": name });
        if self.is("v2") {
            name
        } else {
            json!({ "metadata": name })
        }
    }

    fn new_job(&self, call: &Call, project: &str) -> Result<Value, Problem> {
        let image = match (call.flag("--image"), call.flag("--build-source")) {
            (Some(image), None) => image,
            (None, Some(source)) => {
                // where the scripts are
                let recipe = root().join(source).join(call.text("--build-dockerfile"));
                file(recipe.to_str().unwrap())?;
                if self.build_fails.is_some() {
                    let output = format!("Submitting build run '{BUILD_RUN}'...\n");
                    // words that a script must not take for a right that is not known yet
                    let why = "Build run failed: permission denied, forbidden, not found";
                    return Err(Problem::Ended(output, why.into()));
                }
                "private.de.icr.io/ce--a1b2c/job:built"
            }
            _ => return failed("Incorrect usage: one of --image and --build-source"),
        };
        let given = |flag, default| call.flag(flag).unwrap_or(default);
        let number = |flag, default| given(flag, default).parse::<u64>().unwrap();
        let sizes = (given("--cpu", "1"), given("--memory", "4G"));
        if ![("0.125", "0.25G"), ("0.25", "0.5G"), ("1", "4G")].contains(&sizes) {
            return failed(format!("CPU and memory do not go together: {sizes:?}"));
        }
        let mut variables = Vec::new();
        for map in call.all("--env-from-configmap") {
            self.get(&format!("projects/{project}/config_maps/{map}"))?;
            variables.push(json!({ "type": "config_map_full_reference", "reference": map }));
        }
        let mut body = json!({
            "image_reference": image,
            "run_compute_resource_token_enabled": call.is_on("--trusted-profiles-enabled"),
            "run_env_variables": variables,
            "run_mode": given("--mode", "task"),
            "run_service_account": given("--service-account", "default"),
            "run_volume_mounts": self.mounts(call, project)?,
            "scale_array_spec": format!("0-{}", number("--array-size", "1") - 1).replace("0-0", "0"),
            "scale_cpu_limit": sizes.0,
            "scale_ephemeral_storage_limit": given("--ephemeral-storage", "400M"),
            "scale_max_execution_time": number("--maxexecutiontime", "7200"),
            "scale_memory_limit": sizes.1,
            "scale_retry_limit": number("--retrylimit", "3"),
        });
        if let Some(secret) = call.flag("--registry-secret") {
            body["image_secret"] = secret.into();
        }
        Ok(body)
    }

    /// The configmaps that a command mounts: `FOLDER=NAME`.
    fn mounts(&self, call: &Call, project: &str) -> Result<Vec<Value>, Problem> {
        let mut mounts = Vec::new();
        for pair in call.all("--mount-configmap") {
            let (folder, map) = pair.split_once('=').unwrap();
            self.get(&format!("projects/{project}/config_maps/{map}"))?;
            mounts.push(json!({ "type": "config_map", "mount_path": folder, "reference": map }));
        }
        Ok(mounts)
    }

    fn cron(&self, call: &Call, act: &str, project: &str) -> Outcome {
        let (name, job) = (call.text("--name"), call.text("--destination"));
        let all = self.cloud.cron_subscriptions(project);
        let found = all.iter().find(|(known, _)| known == name);
        match act {
            "list" => {
                let all = all.iter().map(|(name, _)| self.listed(name)).collect();
                self.shown_list(call, Some("items"), all)
            }
            "get" => {
                let (_, cron) = found.ok_or_else(|| missing(name))?;
                let spec = json!({ "schedule": cron.schedule, "data": cron.data });
                shown(call, &json!({ "metadata": { "name": name }, "spec": spec }))
            }
            "delete" => {
                self.cloud.delete_cron_subscription(project, name);
                ok()
            }
            _ if found.is_some() || call.flag("--destination-type") != Some("job") => {
                failed(format!("{name} exists already, or leads to an app."))
            }
            _ => {
                self.get(&format!("projects/{project}/jobs/{job}"))?;
                let [schedule, time_zone, data] =
                    ["--schedule", "--time-zone", "--data"].map(|flag| call.text(flag).to_owned());
                let cron = CronSubscription {
                    job: job.to_owned(),
                    schedule,
                    time_zone,
                    data,
                };
                self.cloud.put_cron_subscription(project, name, cron);
                ok()
            }
        }
    }

    fn job_run(&mut self, call: &Call, act: &str, project: &str) -> Outcome {
        if act == "submit" {
            let mut variables = Vec::new();
            for pair in call.all("--env") {
                let (name, value) = pair.split_once('=').unwrap();
                variables.push(json!({ "type": "literal", "name": name, "value": value }));
            }
            let mut body =
                json!({ "job_name": call.flag("--job"), "run_env_variables": variables });
            if let Some(name) = call.flag("--name") {
                body["name"] = name.into();
            }
            self.write_mounts(project, call.text("--job"))?;
            let run = self.ce(&format!("POST projects/{project}/job_runs"), body)?;
            let run = text(&run, "name");
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
            return ok();
        }
        let name = call.flag("--jobrun").unwrap_or_else(|| call.text("--name"));
        let mut runs = self.cloud.job_runs(project).into_iter();
        let run = runs
            .find(|run| run.name == name)
            .ok_or_else(|| missing(name))?;
        if act == "get" {
            let condition = if run.status == "completed" {
                "Complete"
            } else {
                "Failed"
            };
            let conditions = json!([{ "type": condition, "status": "True" }]);
            let shape =
                json!({ "metadata": { "name": name }, "status": { "conditions": conditions } });
            let v2 = json!({ "name": name, "status": run.status });
            return shown(call, if self.is("v2") { &v2 } else { &shape });
        }
        let asked = self.asked.entry(name.to_owned()).or_default();
        *asked += 1;
        if *asked == 1 && self.is("late-logs") {
            return failed("No instances of the job run were found.");
        }
        let mut log = "Getting logs for all instances of the job run...\nOK\n".to_owned();
        for attempt in run.attempts.iter().filter(|_| !self.is("no-logs")) {
            log = log + &attempt.stderr + &attempt.stdout;
        }
        Ok(log)
    }

    /// Runs of this machine find the job's mounts below the home of the site.
    fn write_mounts(&self, project: &str, job: &str) -> Result<(), Problem> {
        let get = |path: String| self.get(&format!("projects/{project}/{path}"));
        for mount in entries(&get(format!("jobs/{job}"))?["run_volume_mounts"]) {
            let path = text(mount, "mount_path").trim_start_matches('/');
            let folder = self.home.join("mounted").join(path);
            std::fs::create_dir_all(&folder).unwrap();
            let map = get(format!("config_maps/{}", text(mount, "reference")))?;
            for (key, value) in map["data"].as_object().unwrap() {
                std::fs::write(folder.join(key), value.as_str().unwrap()).unwrap();
            }
        }
        Ok(())
    }
}

fn file(path: &str) -> Outcome {
    std::fs::read_to_string(path).or_else(|why| failed(format!("{path}: {why}")))
}

/// What the flags put into a configmap.
fn data(call: &Call) -> Result<Map<String, Value>, Problem> {
    let lines = call
        .flag("--from-env-file")
        .map_or(Ok(String::new()), file)?;
    let literals = call.all("--from-literal").iter().map(String::as_str);
    let mut data = Map::new();
    for (key, value) in lines
        .lines()
        .chain(literals)
        .filter_map(|pair| pair.split_once('='))
    {
        data.insert(key.to_owned(), value.into());
    }
    for (key, path) in call
        .all("--from-file")
        .iter()
        .filter_map(|pair| pair.split_once('='))
    {
        data.insert(key.to_owned(), file(path)?.into());
    }
    Ok(data)
}
