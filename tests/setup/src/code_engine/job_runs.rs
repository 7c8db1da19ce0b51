//! `ce jobrun`, `ce buildrun`.

use std::path::Path;

use serde_json::{Value, json};

use super::{NAME, literal, missing, name};
use crate::account::Logs;
use crate::rest::Door;
use crate::session::{Command, Outcome, Problem, Session, failed, shown};
use crate::table::Call;

/// What a build that fails is called.
pub(super) const BUILD_RUN: &str = "sm-tls-sync-run-261124-101112131";

pub(crate) const COMMANDS: &[Command] = &[
    command!("jobrun submit", &["--job"], true, submit),
    command!("jobrun get", NAME, false, |s, c| {
        let run = s.run(name(c))?;
        if s.account.freedom.code_engine_v2 {
            let shape = json!({ "name": run["name"], "status": run["status"] });
            return shown(c, "json", &shape);
        }
        shown(c, "json", &run_shape(&run))
    }),
    command!("jobrun logs", &["--jobrun"], false, logs),
    command!("buildrun logs", &["--buildrun"], false, |s, c| {
        let known = c.flag("--buildrun") == Some(BUILD_RUN);
        match &s.account.build_fails {
            Some(log) if known => Ok(format!("Getting logs...\nOK\n\n{log}\n")),
            _ => Err(missing("the build run")),
        }
    }),
];

impl Session<'_> {
    fn run(&self, name: &str) -> Result<Value, Problem> {
        let path = format!("/projects/{}/job_runs", self.project()?);
        let all = self.rest.call(Door::Control, "GET", &path, None)?;
        let all = all.as_array().into_iter().flatten();
        let found = all.into_iter().find(|run| run["name"] == name);
        found.cloned().ok_or_else(|| missing(name))
    }
}

/// Runs of this machine find the job's mounts below `IBMCLOUD_HOME`.
fn write_mounts(session: &Session<'_>, job: &str) -> Result<(), Problem> {
    let path = format!("{}/{job}", session.path("jobs")?);
    let job = session.rest.call(Door::CodeEngine, "GET", &path, None)?;
    let home = Path::new(&session.variables["IBMCLOUD_HOME"]);
    for mount in job["run_volume_mounts"].as_array().into_iter().flatten() {
        let text = |field: &str| mount[field].as_str().unwrap_or_default();
        let folder = home
            .join("mounted")
            .join(text("mount_path").trim_start_matches('/'));
        let path = format!("{}/{}", session.path("config_maps")?, text("reference"));
        let map = session.rest.call(Door::CodeEngine, "GET", &path, None)?;
        std::fs::create_dir_all(&folder).expect("below IBMCLOUD_HOME");
        for (key, value) in map["data"].as_object().into_iter().flatten() {
            let written = std::fs::write(folder.join(key), value.as_str().unwrap_or_default());
            written.expect("below IBMCLOUD_HOME");
        }
    }
    Ok(())
}

fn submit(session: &mut Session<'_>, call: &Call) -> Outcome {
    let mut body = json!({ "job_name": call.flag("--job") });
    if call.flag("--name").is_some() {
        body["name"] = name(call).into();
    }
    let pairs = call.flags.get("--env").into_iter().flatten();
    let variables: Result<Vec<_>, _> = pairs.map(|pair| literal(pair)).collect();
    body["run_env_variables"] = Value::Array(variables?);
    write_mounts(session, call.flag("--job").unwrap_or_default())?;
    let path = session.path("job_runs")?;
    let made = session
        .rest
        .call(Door::CodeEngine, "POST", &path, Some(&body))?;
    let run = made["name"].as_str().unwrap_or_default();
    if !call.is_on(&["--wait"]) {
        return shown(call, "json", &json!({ "metadata": { "name": run } }));
    }
    let path = format!("/projects/{}/job_runs/{run}/end", session.project()?);
    let ended = session.rest.call(Door::Control, "GET", &path, None)?;
    let output = shown(call, "json", &run_shape(&ended))?;
    if ended["status"] == "failed" && !session.account.freedom.failed_run_exits_zero {
        return Err(Problem::Ended(output, format!("Job run {run} failed.")));
    }
    Ok(output)
}

/// A run as Kubernetes shows it.
fn run_shape(run: &Value) -> Value {
    let condition = match run["status"].as_str() {
        Some("completed") => "Complete",
        Some("failed") => "Failed",
        _ => "Running",
    };
    let count = |status: &str| u8::from(run["status"] == status);
    json!({
        "apiVersion": "codeengine.cloud.ibm.com/v1beta1",
        "kind": "JobRun",
        "metadata": { "name": run["name"] },
        "spec": { "jobDefinitionRef": run["job_name"] },
        "status": {
            "conditions": [{ "type": condition, "status": "True" }],
            "succeeded": count("completed"),
            "failed": count("failed"),
        },
    })
}

fn logs(session: &mut Session<'_>, call: &Call) -> Outcome {
    let asked = call.flag("--jobrun").unwrap_or_default();
    let run = session.run(asked)?;
    let times = session
        .state
        .logs_asked
        .entry(asked.to_owned())
        .or_default();
    *times += 1;
    match session.account.freedom.logs {
        Logs::Late if *times == 1 => return failed("No instances of the job run were found."),
        Logs::Never => return Ok("Getting logs for all instances of the job run...\nOK\n".into()),
        _ => {}
    }
    let mut text = String::from("Getting logs for all instances of the job run...\nOK\n");
    for attempt in run["attempts"].as_array().into_iter().flatten() {
        text += &format!(
            "\n{}-{}-{}:\n",
            run["name"].as_str().unwrap_or_default(),
            attempt["index"],
            attempt["retry"]
        );
        for stream in ["stderr", "stdout"] {
            text += attempt[stream].as_str().unwrap_or_default();
        }
    }
    Ok(text)
}
