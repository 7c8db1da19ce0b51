//! What the commands of Secrets Manager, Event Notifications and Code Engine do to the local cloud.

use std::time::Duration;

use local_cloud::CronSubscription;
use serde_json::{Map, Value, json};

use crate::account::{Account, entries, text};
use crate::commands::{Outcome, Problem, failed, missing};
use crate::site::root;
use crate::table::Call;

/// What a build that fails is called.
const BUILD_RUN: &str = "sm-tls-sync-run-261124-101112131";

impl Account {
    pub(crate) fn secrets_manager(&mut self, call: &Call, variables: &Value) -> Outcome {
        let variable = text(variables, "SECRETS_MANAGER_URL");
        let url = call.flag("--service-url").unwrap_or(variable);
        let is_at = |one: &Value| {
            let (id, region) = (text(one, "guid"), text(one, "region"));
            let host = format!("{id}.{region}.secrets-manager.appdomain.cloud");
            url.replace(".private.", ".") == format!("https://{host}")
        };
        // commands that a run of the job prints have the address that the run had
        let is_known = self.instances.iter().any(is_at) || url == self.cloud.secrets_manager_url();
        let is_reached = match url.contains(".private.") {
            true => self.is("on-the-private-network"),
            false => !self.is("private"),
        };
        if !is_known || !is_reached {
            return failed(format!("dial tcp: lookup {url}: no such host"));
        }
        let crn = call.text("--event-notifications-instance-crn");
        let roles = ["Event Source Manager"];
        if !crn.is_empty() && !self.is_authorized("secrets-manager", id_in(crn), &roles) {
            return failed("Secrets Manager is not authorized at Event Notifications.");
        }
        Ok(self.sm(&call.request(""), call.body())?)
    }

    pub(crate) fn event_notifications(&mut self, call: &Call, variables: &Value) -> Outcome {
        let address = |region: &str| {
            format!("https://{region}.event-notifications.cloud.ibm.com/event-notifications")
        };
        let targeted = self.target.get("-r").map(|region| address(region));
        let used = variables["IBMCLOUD_EN_ENDPOINT"].as_str();
        let instance = self.instance("event-notifications", call.text("--instance-id"))?;
        if used.or(targeted.as_deref()) != Some(&address(text(instance, "region"))) {
            return failed("The endpoint of Event Notifications is another region's.");
        }
        let body = call.body();
        let crn = text(&body["config"]["params"], "project_crn");
        if !crn.is_empty() && !self.may_submit(id_in(crn)) {
            return failed("Event Notifications is not authorized to use this project.");
        }
        Ok(self.en(&call.request(""), body)?)
    }

    pub(crate) fn code_engine(&mut self, call: &Call) -> Outcome {
        if call.command == "ce project select" {
            return self.select_project(call);
        }
        let Some(project) = self.target.get("project").cloned() else {
            return failed("No Code Engine project was selected.");
        };
        let (name, request, mut body) = (call.text("--name"), call.request(&project), call.body());
        match call.command {
            "ce buildrun logs" => return self.build_log(call.text("--buildrun")),
            "ce jobrun logs" => return self.run_log(call.text("--jobrun"), &project),
            command if command.contains(" cron ") => return self.cron(call, &project),
            "ce secret list" if call.flag("--output").is_some() => {
                return failed("As JSON the real one prints the keys of all secrets.");
            }
            "ce secret create" => {
                let chain = file(call.text("--cert-chain-file"))?;
                let key = file(call.text("--private-key-file"))?;
                body["data"] = json!({ "tls_cert": chain, "tls_key": key });
            }
            "ce configmap create" => body["data"] = data(call, Map::new())?.into(),
            "ce configmap update" => {
                let old = self.ce(&request.replace("PUT", "GET"), ())?["data"].take();
                body["data"] = data(call, old.as_object().unwrap().clone())?.into();
            }
            "ce job create" => {
                self.build(call, &mut body)?;
                self.mount(call, &Value::Null, &mut body)?;
            }
            "ce job update" => {
                let old = self.ce(&request.replace("PATCH", "GET"), ())?;
                self.mount(call, &old, &mut body)?;
            }
            "ce jobrun submit" => {
                self.write_mounts(&project, call.text("--job"))?;
                let literal =
                    |(name, value)| json!({ "type": "literal", "name": name, "value": value });
                let variables = pairs(call, "--env").map(literal);
                body["run_env_variables"] = variables.collect();
            }
            _ => {}
        }
        let answer = match self.ce(&request, body) {
            Err((404, _)) if call.flag("--ignore-not-found").is_some() => return Ok(Value::Null),
            answer => answer?,
        };
        match (call.command, answer) {
            ("ce secret list", Value::Array(all)) => {
                let bullet = if self.is("odd-tables") { "- " } else { "" };
                let mut table = "Listing secrets...\nOK\n\nName   Format   Data   Age\n".to_owned();
                for one in &all {
                    table += &format!("{bullet}{}   tls   2   1d\n", text(one, "name"));
                }
                Ok(table.into())
            }
            (_, Value::Array(all)) => Ok(all.into_iter().map(|one| self.shape(one)).collect()),
            ("ce job delete", _) => {
                // its runs go with it
                let runs = self.cloud.job_runs(&project).into_iter();
                for run in runs.filter(|run| run.job_name == name) {
                    let run = format!("DELETE projects/{project}/job_runs/{}", run.name);
                    self.ce(&run, ())?;
                }
                Ok(Value::Null)
            }
            ("ce jobrun submit", run) => {
                let (run, patience) = (text(&run, "name"), Duration::from_secs(600));
                let ended = self.cloud.wait_job_run(&project, run, patience).unwrap();
                if ended.status == "failed" && !self.is("failed-run-exits-0") {
                    return failed(format!("Job run {run} failed."));
                }
                Ok(Value::Null)
            }
            (_, one) => Ok(self.shape(one)),
        }
    }

    fn select_project(&mut self, call: &Call) -> Outcome {
        let (id, name) = (call.text("--id"), call.text("--name"));
        let is = |one: &&Value| one["guid"] == id || one["name"] == name;
        let found = self.projects().find(is).ok_or_else(|| missing("project"))?;
        let region = self.target.get("-r").map(String::as_str);
        if region != found["region"].as_str() || !self.target.contains_key("-g") {
            return failed("The project is not in the targeted region and group.");
        }
        let id = text(found, "guid").to_owned();
        self.target.insert("project", id);
        Ok(Value::Null)
    }

    /// A thing as the plug-in shows it: as Kubernetes would, or as the API does.
    fn shape(&self, thing: Value) -> Value {
        if self.is("v2") {
            return thing;
        }
        let condition = match text(&thing, "status") {
            "completed" => "Complete",
            "failed" => "Failed",
            _ => "Ready",
        };
        json!({
            "metadata": { "name": thing["name"] }, "data": thing["data"], "spec": thing,
            "status": { "conditions": [{ "type": condition, "status": "True" }] },
        })
    }

    /// A new job's image, built if it is given as source.
    fn build(&self, call: &Call, body: &mut Value) -> Result<(), Problem> {
        if let Some(source) = call.flag("--build-source") {
            // where the scripts are
            let recipe = root().join(source).join(call.text("--build-dockerfile"));
            file(recipe.to_str().unwrap())?;
            if self.build_fails.is_some() {
                // words that a script must not take for a right that is not known yet
                let why = "Build run failed: permission denied, forbidden, not found";
                return failed(format!("Submitting build run '{BUILD_RUN}'...\n{why}"));
            }
            body["image_reference"] = "private.de.icr.io/ce--a1b2c/job:built".into();
        }
        let last = call.text("--array-size").parse().unwrap_or(1) - 1;
        body["scale_array_spec"] = format!("0-{last}").replace("0-0", "0").into();
        Ok(())
    }

    fn build_log(&self, name: &str) -> Outcome {
        match self.build_fails {
            Some(log) if name == BUILD_RUN => Ok(format!("Getting logs...\nOK\n\n{log}\n").into()),
            _ => Err(missing(name)),
        }
    }

    /// What a job has of configmaps: its environment, and folders beside those of the `old` job.
    fn mount(&self, call: &Call, old: &Value, body: &mut Value) -> Result<(), Problem> {
        let maps = format!("GET projects/{}/config_maps", self.target["project"]);
        let is_there = |map: &str| self.ce(&format!("{maps}/{map}"), ());
        for map in call.all("--env-from-configmap") {
            is_there(map)?;
            let variable = json!({ "type": "config_map_full_reference", "reference": map });
            body["run_env_variables"] = json!([variable]);
        }
        let mut mounts = entries(&old["run_volume_mounts"]).to_vec();
        mounts.retain(|mount| mount["mount_path"] != call.text("--mount-rm"));
        for (folder, map) in pairs(call, "--mount-configmap") {
            is_there(map)?;
            mounts.push(json!({ "type": "config_map", "mount_path": folder, "reference": map }));
        }
        body["run_volume_mounts"] = mounts.into();
        Ok(())
    }

    fn cron(&self, call: &Call, project: &str) -> Outcome {
        let (name, all) = (call.text("--name"), self.cloud.cron_subscriptions(project));
        let found = all.iter().find(|(known, _)| known == name);
        let shape = |(name, cron): &(String, CronSubscription)| {
            self.shape(json!({ "name": name, "data": cron.data, "schedule": cron.schedule }))
        };
        match call.command.rsplit(' ').next() {
            Some("list") => return Ok(all.iter().map(shape).collect()),
            Some("get") => return Ok(shape(found.ok_or_else(|| missing(name))?)),
            Some("delete") => drop(self.cloud.delete_cron_subscription(project, name)),
            _ if found.is_some() => return failed(format!("{name} exists already.")),
            _ => {
                let mut cron = call.body();
                cron["job"] = cron["destination"].take();
                let job = format!("projects/{project}/jobs/{}", text(&cron, "job"));
                self.ce(&format!("GET {job}"), ())?;
                let cron = serde_json::from_value(cron).unwrap();
                self.cloud.put_cron_subscription(project, name, cron);
            }
        }
        Ok(Value::Null)
    }

    fn run_log(&mut self, name: &str, project: &str) -> Outcome {
        let mut runs = self.cloud.job_runs(project).into_iter();
        let run = runs.find(|run| run.name == name);
        let is_first = self.asked.insert(name.to_owned(), 1).is_none();
        let is_late = is_first && self.is("late-logs");
        let run = run.filter(|_| !is_late).ok_or_else(|| missing(name))?;
        let mut log = "Getting logs for all instances of the job run...\nOK\n".to_owned();
        for attempt in run.attempts.iter().filter(|_| !self.is("no-logs")) {
            log = log + &attempt.stderr + &attempt.stdout;
        }
        Ok(log.into())
    }

    /// Runs of this machine find the job's mounts below the home of the site.
    fn write_mounts(&self, project: &str, job: &str) -> Result<(), Problem> {
        let get = |path: String| self.ce(&format!("GET projects/{project}/{path}"), ());
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

/// The id of the instance that a CRN names.
fn id_in(crn: &str) -> &str {
    crn.split(':').nth(7).unwrap_or_default()
}

/// The values `NAME=VALUE` of a flag.
fn pairs<'a>(call: &'a Call, flag: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let all = call.all(flag).iter();
    all.filter_map(|pair| pair.split_once('='))
}

fn file(path: &str) -> Result<String, Problem> {
    std::fs::read_to_string(path).or_else(|why| failed(format!("{path}: {why}")))
}

/// The data of a configmap, changed as the flags say.
fn data(call: &Call, mut data: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    for key in call.all("--rm") {
        data.remove(key).ok_or_else(|| missing(key))?;
    }
    let path = call.flag("--from-env-file");
    let lines = path.map_or(Ok(String::new()), file)?;
    let lines = lines.lines().filter_map(|line| line.split_once('='));
    for (key, value) in lines.chain(pairs(call, "--from-literal")) {
        data.insert(key.to_owned(), value.into());
    }
    for (key, path) in pairs(call, "--from-file") {
        data.insert(key.to_owned(), file(path)?.into());
    }
    Ok(data)
}
