//! `ce`: projects, secrets, configmaps, jobs, cron subscriptions.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::rest::Door;
use crate::session::{Command, Outcome, Problem, Session, failed, shown, shown_list};
use crate::table::Call;

macro_rules! command {
    ($name:literal, $required:expr, $changes:literal, $run:expr) => {
        Command {
            name: concat!("ce ", $name),
            words: 0,
            required: $required,
            switches: &["--trusted-profiles-enabled", "--raw"],
            changes: $changes,
            run: $run,
        }
    };
}

pub(crate) mod job_runs;

use job_runs::BUILD_RUN;

const NAME: &[&str] = &["--name"];
/// Without `--force` they ask, and nobody answers here.
const DELETE: &[&str] = &["--name", "--force"];

pub(crate) const COMMANDS: &[Command] = &[
    command!("project select", &[], false, select),
    // only the table: as JSON the real one prints the keys
    command!("secret list", &[], false, |s, c| {
        if c.flag("--output").is_some() {
            return failed("the keys of all secrets: not in a script");
        }
        let all = s.rest.all(&s.path("secrets")?, "secrets");
        let row = |one: &Value| {
            format!(
                "{}   {}   2   1d\n",
                one["name"].as_str().unwrap_or_default(),
                one["format"].as_str().unwrap_or_default()
            )
        };
        Ok(format!(
            "Listing secrets...\nOK\n\nName   Format   Data   Age\n{}",
            all.iter().map(row).collect::<String>()
        ))
    }),
    command!(
        "secret create",
        &[
            "--name",
            "--format",
            "--cert-chain-file",
            "--private-key-file"
        ],
        true,
        create_secret
    ),
    command!("configmap get", NAME, false, |s, c| {
        let found = s.resource(c, "config_maps")?;
        if s.account.freedom.code_engine_v2 {
            return shown(c, "json", &found);
        }
        let shape = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": found["name"] }, "data": found["data"],
        });
        shown(c, "json", &shape)
    }),
    command!("configmap create", NAME, true, |s, c| {
        let data = pairs(c)?;
        s.make(c, "config_maps", &json!({ "name": name(c), "data": data }))
    }),
    command!("configmap update", NAME, true, |s, c| {
        let mut data = s.resource(c, "config_maps")?["data"].take();
        for key in c.flags.get("--rm").into_iter().flatten() {
            let removed = data.as_object_mut().and_then(|data| data.remove(key));
            removed.ok_or_else(|| missing(key))?;
        }
        for (key, value) in pairs(c)? {
            data[key] = value;
        }
        let path = format!("{}/{}", s.path("config_maps")?, name(c));
        let body = json!({ "data": data });
        s.rest.call(Door::CodeEngine, "PUT", &path, Some(&body))?;
        Ok("OK\n".into())
    }),
    command!("configmap list", &[], false, |s, c| {
        let all = s.rest.all(&s.path("config_maps")?, "config_maps");
        s.names(c, "config_maps", all)
    }),
    command!("configmap delete", DELETE, true, |s, c| s
        .remove(c, "config_maps")),
    command!("job get", NAME, false, |s, c| {
        let found = s.resource(c, "jobs")?;
        if s.account.freedom.code_engine_v2 {
            return shown(c, "json", &found);
        }
        shown(c, "json", &definition(&found))
    }),
    command!("job create", NAME, true, create_job),
    command!("job update", NAME, true, update_job),
    command!("job list", &[], false, |s, c| {
        let all = s.rest.all(&s.path("jobs")?, "jobs");
        s.names(c, "jobs", all)
    }),
    command!("job delete", DELETE, true, |s, c| {
        let project = s.project()?;
        let done = s.remove(c, "jobs")?;
        // the job's runs go with it
        for run in s
            .rest
            .all(&format!("/v2/projects/{project}/job_runs"), "job_runs")
        {
            if run["job_name"] == name(c) {
                let run = run["name"].as_str().unwrap_or_default();
                let path = format!("/v2/projects/{project}/job_runs/{run}");
                s.rest.call(Door::CodeEngine, "DELETE", &path, None)?;
            }
        }
        Ok(done)
    }),
    command!(
        "subscription cron create",
        &["--name", "--destination"],
        true,
        create_cron
    ),
    command!("subscription cron get", NAME, false, |s, c| {
        let all = s.crons()?;
        let found = all.iter().find(|cron| cron["name"] == name(c));
        let found = found.ok_or_else(|| missing(name(c)))?;
        shown(c, "json", &ping_source(found))
    }),
    command!("subscription cron list", &[], false, |s, c| {
        let crons = s.crons()?;
        s.names(c, "cron subscriptions", crons)
    }),
    command!("subscription cron delete", DELETE, true, |s, c| {
        let project = s.project()?;
        let path = format!("/projects/{project}/cron_subscriptions/{}", name(c));
        match s.rest.call(Door::Control, "DELETE", &path, None) {
            Err(why) if why.status == 404 && c.is_on(&["--ignore-not-found"]) => Ok("OK\n".into()),
            Err(why) => Err(why.into()),
            Ok(_) => Ok("OK\n".into()),
        }
    }),
];

fn name(call: &Call) -> &str {
    call.flag("--name").unwrap_or_default()
}

fn missing(what: &str) -> Problem {
    Problem::NothingFound(format!("\"{what}\" not found"))
}

impl Session<'_> {
    fn path(&self, collection: &str) -> Result<String, Problem> {
        Ok(format!("/v2/projects/{}/{collection}", self.project()?))
    }

    /// The resource of the name that the command gives.
    fn resource(&self, call: &Call, collection: &str) -> Result<Value, Problem> {
        let path = format!("{}/{}", self.path(collection)?, name(call));
        Ok(self.rest.call(Door::CodeEngine, "GET", &path, None)?)
    }

    fn make(&self, call: &Call, collection: &str, body: &Value) -> Outcome {
        let path = self.path(collection)?;
        self.rest
            .call(Door::CodeEngine, "POST", &path, Some(body))?;
        shown(call, "json", &json!({ "metadata": { "name": name(call) } }))
    }

    fn remove(&self, call: &Call, collection: &str) -> Outcome {
        let path = format!("{}/{}", self.path(collection)?, name(call));
        match self.rest.call(Door::CodeEngine, "DELETE", &path, None) {
            Err(why) if why.status == 404 && call.is_on(&["--ignore-not-found"]) => {}
            Err(why) => return Err(why.into()),
            Ok(_) => {}
        }
        Ok("OK\n".into())
    }

    /// A list in which each entry has nothing but its name.
    fn names(&self, call: &Call, kind: &str, all: Vec<Value>) -> Outcome {
        let v2 = self.account.freedom.code_engine_v2;
        let all = all.iter().map(|one| match v2 {
            true => json!({ "name": one["name"] }),
            false => json!({ "metadata": { "name": one["name"] } }),
        });
        let (all, name) = (all.collect(), if v2 { kind } else { "items" });
        shown_list(self, call, "json", Some(name), kind, all)
    }

    /// The configmaps that a command mounts: `FOLDER=NAME`.
    fn mounts(&self, call: &Call) -> Result<Value, Problem> {
        let mut all = Vec::new();
        for pair in call.flags.get("--mount-configmap").into_iter().flatten() {
            let Some((folder, map)) = pair.split_once('=') else {
                return failed(format!("{pair} is not FOLDER=CONFIGMAP"));
            };
            let path = format!("{}/{map}", self.path("config_maps")?);
            self.rest.call(Door::CodeEngine, "GET", &path, None)?;
            all.push(json!({ "type": "config_map", "mount_path": folder, "reference": map }));
        }
        Ok(Value::Array(all))
    }

    fn crons(&self) -> Result<Vec<Value>, Problem> {
        let path = format!("/projects/{}/cron_subscriptions", self.project()?);
        let all = self.rest.call(Door::Control, "GET", &path, None)?;
        Ok(all.as_array().cloned().unwrap_or_default())
    }
}

fn select(session: &mut Session<'_>, call: &Call) -> Outcome {
    let (Some(region), Some(_)) = (&session.state.region, &session.state.resource_group) else {
        return failed("Target a region and a resource group first.");
    };
    let mut projects = session
        .account
        .instances
        .iter()
        .filter(|i| i.service == "codeengine");
    let found = projects.find(|project| {
        project.region == *region
            && (call.flag("--id") == Some(&project.guid)
                || call.flag("--name") == Some(&project.name))
    });
    let Some(found) = found else {
        return failed("The project was not found.");
    };
    session.state.project = Some(found.guid.clone());
    Ok(format!("Selecting project '{}'...\nOK\n", found.name))
}

fn file(call: &Call, flag: &str) -> Result<String, Problem> {
    let path = call.flag(flag).unwrap_or_default();
    std::fs::read_to_string(path).map_err(|why| Problem::Failed(format!("{flag} {path}: {why}")))
}

fn create_secret(session: &mut Session<'_>, call: &Call) -> Outcome {
    let body = json!({
        "name": name(call),
        "format": call.flag("--format"),
        "data": {
            "tls_cert": file(call, "--cert-chain-file")?,
            "tls_key": file(call, "--private-key-file")?,
        },
    });
    session.make(call, "secrets", &body)
}

/// What the flags put into a configmap.
fn pairs(call: &Call) -> Result<Map<String, Value>, Problem> {
    let mut data = Map::new();
    let lines = match call.flag("--from-env-file") {
        Some(_) => file(call, "--from-env-file")?,
        None => String::new(),
    };
    let literals = call.flags.get("--from-literal").into_iter().flatten();
    for pair in literals.map(String::as_str).chain(lines.lines()) {
        let Some((key, value)) = pair.split_once('=') else {
            return failed(format!("{pair} is not KEY=VALUE"));
        };
        data.insert(key.to_owned(), value.into());
    }
    for pair in call.flags.get("--from-file").into_iter().flatten() {
        let Some((key, path)) = pair.split_once('=') else {
            return failed(format!("{pair} is not KEY=FILE"));
        };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|why| Problem::Failed(format!("{path}: {why}")))?;
        data.insert(key.to_owned(), text.into());
    }
    Ok(data)
}

// --- jobs ---

/// CPU and memory that go together.
const SIZES: [(&str, &str); 3] = [("0.125", "0.25G"), ("0.25", "0.5G"), ("1", "4G")];

fn create_job(session: &mut Session<'_>, call: &Call) -> Outcome {
    let text = |flag: &str, default: &str| call.flag(flag).unwrap_or(default).to_owned();
    let image = match (call.flag("--image"), call.flag("--build-source")) {
        (Some(image), None) => image.to_owned(),
        (None, Some(source)) => {
            let dockerfile = text("--build-dockerfile", "Dockerfile");
            if !Path::new(source).join(&dockerfile).is_file() {
                return failed(format!("There is no {dockerfile} in {source}."));
            }
            if session.account.build_fails.is_some() {
                // words that a script must not take for a right that is not known yet
                return Err(Problem::Ended(
                    format!("Creating job...\nSubmitting build run '{BUILD_RUN}'...\n"),
                    "Build run failed: permission denied, forbidden, not found".into(),
                ));
            }
            format!(
                "private.de.icr.io/ce--a1b2c-a1b2c3d4e5f/job-{}:built",
                name(call)
            )
        }
        _ => return failed("Incorrect usage: one of --image and --build-source"),
    };
    let (cpu, memory) = (text("--cpu", "1"), text("--memory", "4G"));
    if !SIZES.contains(&(cpu.as_str(), memory.as_str())) {
        return failed(format!("CPU {cpu} and memory {memory} do not go together."));
    }
    let number = |flag: &str, default: u64| {
        let given = call.flag(flag).map(str::parse::<u64>);
        given
            .unwrap_or(Ok(default))
            .map_err(|_| Problem::Failed(format!("{flag}: a number")))
    };
    let mut variables = Vec::new();
    for map in call.flags.get("--env-from-configmap").into_iter().flatten() {
        let path = format!("{}/{map}", session.path("config_maps")?);
        if session
            .rest
            .call(Door::CodeEngine, "GET", &path, None)
            .is_err()
        {
            return failed(format!("There is no configmap {map}."));
        }
        variables.push(json!({ "type": "config_map_full_reference", "reference": map }));
    }
    for pair in call.flags.get("--env").into_iter().flatten() {
        variables.push(literal(pair)?);
    }
    let mut body = json!({
        "name": name(call),
        "image_reference": image,
        "run_compute_resource_token_enabled": call.is_on(&["--trusted-profiles-enabled"]),
        "run_env_variables": variables,
        "run_mode": text("--mode", "task"),
        "run_service_account": text("--service-account", "default"),
        "scale_array_spec": "0",
        "scale_cpu_limit": cpu,
        "scale_ephemeral_storage_limit": text("--ephemeral-storage", "400M"),
        "scale_max_execution_time": number("--maxexecutiontime", 7200)?,
        "scale_memory_limit": memory,
        "scale_retry_limit": number("--retrylimit", 3)?,
    });
    if let Some(secret) = call.flag("--registry-secret") {
        body["image_secret"] = secret.into();
    }
    body["run_volume_mounts"] = session.mounts(call)?;
    session.make(call, "jobs", &body)
}

/// Of all that can be updated, what setup and its hints ask for.
fn update_job(session: &mut Session<'_>, call: &Call) -> Outcome {
    let mut body = json!({});
    if let Some(enabled) = call.flag("--trusted-profiles-enabled") {
        body["run_compute_resource_token_enabled"] = (enabled == "true").into();
    }
    let mut mounts = session.resource(call, "jobs")?["run_volume_mounts"].take();
    if let (Some(folder), Some(mounts)) = (call.flag("--mount-rm"), mounts.as_array_mut()) {
        mounts.retain(|mount| mount["mount_path"] != folder);
    }
    if let (Value::Array(new), Some(mounts)) = (session.mounts(call)?, mounts.as_array_mut()) {
        mounts.extend(new);
    }
    body["run_volume_mounts"] = mounts;
    let path = format!("{}/{}", session.path("jobs")?, name(call));
    session
        .rest
        .call(Door::CodeEngine, "PATCH", &path, Some(&body))?;
    Ok("OK\n".into())
}

fn literal(pair: &str) -> Result<Value, Problem> {
    match pair.split_once('=') {
        Some((name, value)) => Ok(json!({ "type": "literal", "name": name, "value": value })),
        None => failed(format!("{pair} is not KEY=VALUE")),
    }
}

/// A job as Kubernetes shows it.
fn definition(job: &Value) -> Value {
    let variables = || job["run_env_variables"].as_array().into_iter().flatten();
    let maps: Vec<_> = variables()
        .filter(|v| v["type"] == "config_map_full_reference")
        .map(|v| json!({ "configMapRef": { "name": v["reference"] } }))
        .collect();
    let literals: Vec<_> = variables()
        .filter(|v| v["type"] == "literal")
        .map(|v| json!({ "name": v["name"], "value": v["value"] }))
        .collect();
    let mounts = job["run_volume_mounts"].as_array().into_iter().flatten();
    let mounts: Vec<_> = mounts
        .map(|mount| json!({ "configMap": { "name": mount["reference"] } }))
        .collect();
    json!({
        "apiVersion": "codeengine.cloud.ibm.com/v1beta1",
        "kind": "JobDefinition",
        "metadata": { "name": job["name"] },
        "spec": {
            "arraySpec": job["scale_array_spec"],
            "maxExecutionTime": job["scale_max_execution_time"],
            "retryLimit": job["scale_retry_limit"],
            "template": { "containers": [{
                "name": job["name"], "image": job["image_reference"],
                "env": literals, "envFrom": maps,
            }], "volumes": mounts },
        },
    })
}

// --- cron ---

fn create_cron(session: &mut Session<'_>, call: &Call) -> Outcome {
    if call.flag("--destination-type") != Some("job") {
        return failed("There is no application of this name.");
    }
    let job = call.flag("--destination").unwrap_or_default();
    let path = format!("{}/{job}", session.path("jobs")?);
    if session
        .rest
        .call(Door::CodeEngine, "GET", &path, None)
        .is_err()
    {
        return failed(format!("There is no job {job}."));
    }
    if session
        .crons()?
        .iter()
        .any(|cron| cron["name"] == name(call))
    {
        return failed(format!("A subscription {} exists already.", name(call)));
    }
    let text = |flag: &str, default: &str| call.flag(flag).unwrap_or(default).to_owned();
    let schedule = text("--schedule", "* * * * *");
    if schedule.split(' ').count() != 5 {
        return failed(format!("The schedule '{schedule}' has not five fields."));
    }
    let cron = json!({
        "job": job,
        "schedule": schedule,
        "time_zone": text("--time-zone", "UTC"),
        "data": text("--data", ""),
    });
    let path = format!(
        "/projects/{}/cron_subscriptions/{}",
        session.project()?,
        name(call)
    );
    session
        .rest
        .call(Door::Control, "PUT", &path, Some(&cron))?;
    Ok("OK\n".into())
}

/// A cron subscription as Kubernetes shows it.
fn ping_source(cron: &Value) -> Value {
    let subscription = &cron["subscription"];
    json!({
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": { "name": cron["name"] },
        "spec": {
            "data": subscription["data"],
            "schedule": subscription["schedule"],
            "timezone": subscription["time_zone"],
        },
    })
}
