//! Job runs as real child processes: exactly the environment that Code Engine gives, array indices,
//! retries, the time limit over all retries, SIGTERM then SIGKILL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::clock::{millis, now, seconds};
use crate::code_engine::{missing, rules};
use crate::problems::{Problem, bad, no};
use crate::store::{Claims, Kind, Project, Store, new_id, object};
use crate::world::REGION;
use crate::{Cloud, Environment, iam};

mod process;

use process::Plan;

/// Bytes that a job or a job run may have, environment included.
pub(crate) const OBJECT_LIMIT: usize = 10 * 1024;

/// Job runs per project, finished ones included.
const QUOTA: usize = 100;

/// Who started a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A call of the API, made manually.
    Api,
    /// A cron subscription.
    Cron,
    /// Event Notifications.
    EventNotifications,
    /// A Kafka subscription.
    Kafka,
}

/// One process.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// `JOB_INDEX`.
    pub index: u32,
    /// `JOB_INDEX_RETRY_COUNT`.
    pub retry: u32,
    /// `None`: ended by a signal, or could not be started.
    pub exit_code: Option<i32>,
    /// Everything it wrote there.
    pub stdout: String,
    /// Everything it wrote there, and why it could not be started.
    pub stderr: String,
    /// Its whole environment.
    pub environment: Environment,
    /// From start to exit.
    pub duration_ms: u64,
}

/// The state of a job run.
#[derive(Clone, Debug, Serialize)]
pub struct JobRun {
    /// Its name.
    pub name: String,
    /// The job.
    pub job_name: String,
    /// Who started it.
    pub trigger: Trigger,
    /// `pending`, `running`, `completed`, `failed`.
    pub status: String,
    /// `ContainerExitedCode1`, `MaxExecutionTimeExceeded` and the like.
    pub last_failure_reason: Option<String>,
    /// In order of their end.
    pub attempts: Vec<Attempt>,
}

/// What a run is to be.
pub(crate) struct RunRequest {
    /// The body of *create job run*.
    pub(crate) body: Map<String, Value>,
    /// Variables of a cron or Kafka event.
    pub(crate) event: Environment,
    pub(crate) trigger: Trigger,
}

pub(crate) struct Run {
    pub(crate) public: JobRun,
    /// What the API shows of it, beside its status.
    fields: Map<String, Value>,
    created_at: OffsetDateTime,
    completed_at: Option<OffsetDateTime>,
    /// `indices_details` of the status.
    indices: BTreeMap<u32, Value>,
    /// SIGTERM to its processes; no further retries.
    pub(crate) stop: watch::Sender<bool>,
}

impl Run {
    pub(crate) fn ended(&self) -> bool {
        self.completed_at.is_some()
    }

    fn of_status(&self, status: &str) -> Vec<u32> {
        let all = self.indices.iter();
        let all = all.filter(|(_, index)| index["status"] == status);
        all.map(|(number, _)| *number).collect()
    }

    /// After a change of an index.
    fn settle(&mut self) {
        let all = |status| self.of_status(status).len() == self.indices.len();
        let status = match self.ended() {
            true if all("succeeded") => "completed",
            true => "failed",
            false if all("pending") => "pending",
            false => "running",
        };
        self.public.status = status.into();
    }

    /// As `GET /job_runs/{name}` shows it.
    pub(crate) fn document(&self, cloud: &Cloud) -> Value {
        let count = |status| self.of_status(status).len();
        let listed = |status| {
            let all = self.of_status(status).into_iter();
            let all = all.map(|number| number.to_string());
            all.collect::<Vec<_>>().join(",")
        };
        let mut status = json!({
            "requested": 0,
            "pending": count("pending"),
            "running": count("running"),
            "succeeded": count("succeeded"),
            "failed": count("failed"),
            "unknown": 0,
            "succeeded_indices": listed("succeeded"),
            "failed_indices": listed("failed"),
            "start_time": seconds(self.created_at),
            "indices_details": self.indices,
        });
        if let Some(at) = self.completed_at {
            status["completion_time"] = seconds(at).into();
        }
        let mut body = self.fields.clone();
        let project = body["project_id"].as_str().unwrap_or_default();
        let (base, name) = (&cloud.addresses.code_engine, &self.public.name);
        let href = format!("{base}/v2/projects/{project}/job_runs/{name}");
        body.extend(object(json!({
            "name": name,
            "job_name": self.public.job_name,
            "created_at": millis(self.created_at),
            "href": href,
            "resource_type": "job_run_v2",
            "status": self.public.status,
            "status_details": status,
        })));
        body.into()
    }
}

/// Accepts a run and starts its processes; returns its name.
pub(crate) fn submit(
    cloud: &Arc<Cloud>,
    store: &mut Store,
    project_id: &str,
    request: RunRequest,
) -> Result<String, Problem> {
    let project = store.projects.get(project_id).ok_or_else(missing)?;
    let text = |field: &str| request.body.get(field).and_then(Value::as_str);
    let job_name = text("job_name").unwrap_or_default().to_owned();
    let Some(job) = project.get(Kind::Job, &job_name) else {
        let why = format!("There is no job {job_name:?}.");
        return Err(no(404, "resource_not_found", why));
    };
    if project.job_runs.len() >= QUOTA {
        return Err(no(403, "quota_exceeded", "Quota of job runs exceeded."));
    }
    let name = text("name").map_or_else(|| generated_name(&job_name), str::to_owned);
    if project.job_runs.contains_key(&name) {
        let why = format!("A resource with the name {name} already exists.");
        return Err(no(409, "resource_already_exists", why));
    }
    // the run's settings over the job's; variables of both
    let mut fields = job.fields.clone();
    let listed = |from: &Map<String, Value>| {
        let list = from.get("run_env_variables").and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let variables = [listed(&fields), listed(&request.body)].concat();
    fields.extend(request.body.clone());
    let arguments = &fields["run_arguments"];
    // Our guess at IBM's count: variables, arguments and a little for the frame.
    let counted = json!([variables, arguments, name, job_name]);
    let size = 256 + counted.to_string().len();
    if size > OBJECT_LIMIT {
        let why = format!("The job run has {size} bytes, {OBJECT_LIMIT} are allowed.");
        return Err(no(400, "resource_too_large", why));
    }
    let number = |field: &str, most: u64| {
        let given = fields[field].as_u64().filter(|number| *number <= most);
        given.ok_or_else(|| bad(format!("{field} must be a number up to {most}.")))
    };
    let retry_limit = number("scale_retry_limit", 5)?;
    let time_limit = Duration::from_secs(number("scale_max_execution_time", 86_400)?);
    let arguments = arguments.as_array().into_iter().flatten();
    let arguments = arguments.filter_map(Value::as_str);
    let arguments = arguments.map(str::to_owned).collect();
    let indices = indices(fields["scale_array_spec"].as_str().unwrap_or_default())?;

    let mut environment = platform(cloud, project);
    let own = [
        ("CE_JOB", job_name.clone()),
        ("CE_JOBRUN", name.clone()),
        ("JOB_ARRAY_SIZE", indices.len().to_string()),
        ("JOB_RETRY_LIMIT", retry_limit.to_string()),
    ];
    environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
    environment.extend(resolved(project, &variables));
    environment.extend(request.event);
    let token_enabled = fields["run_compute_resource_token_enabled"] == true;
    let computed = rules::computed_variables(cloud, project, Kind::Job, &job_name);
    fields.extend(object(json!({
        "computed_env_variables": computed,
        "id": new_id(),
        "project_id": project_id,
        "run_env_variables": variables,
    })));
    if token_enabled {
        let claims = Claims {
            project_id: project_id.to_owned(),
            component_name: job_name.clone(),
            expires: now() + time::Duration::hours(1),
        };
        let token = iam::cr_token(cloud, store, claims);
        let file = cloud.directory.path().join(format!("token-{}", new_id()));
        std::fs::write(&file, token).expect("token file");
        // The one deviation: only root could create the real path on this machine.
        environment.insert("CR_TOKEN_FILENAME".into(), file.display().to_string());
    }
    let pending = |index: &u32| (*index, json!({ "status": "pending", "retries": 0 }));
    let run = Run {
        public: JobRun {
            name: name.clone(),
            job_name,
            trigger: request.trigger,
            status: "pending".into(),
            last_failure_reason: None,
            attempts: Vec::new(),
        },
        fields,
        created_at: now(),
        completed_at: None,
        indices: indices.iter().map(pending).collect(),
        stop: watch::Sender::new(false),
    };
    let plan = Plan {
        cloud: cloud.clone(),
        project_id: project_id.to_owned(),
        name: name.clone(),
        arguments,
        environment,
        retry_limit: u32::try_from(retry_limit).unwrap_or_default(),
        deadline: tokio::time::Instant::now() + time_limit,
        stop: run.stop.subscribe(),
    };
    let project = store.projects.get_mut(project_id).expect("seen above");
    project.job_runs.insert(name.clone(), run);
    let mut tasks = crate::store::lock(&cloud.tasks);
    while tasks.try_join_next().is_some() {}
    tasks.spawn_on(plan.run(indices), &cloud.runtime);
    Ok(name)
}

/// `1-5,7,9`: each at most 9999999, at most 1000 in a range.
fn indices(spec: &str) -> Result<Vec<u32>, Problem> {
    let why = || bad(format!("scale_array_spec {spec:?} is not valid."));
    let mut all = Vec::new();
    for part in spec.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= 9_999_999);
        let (from, to) = (number(from).ok_or_else(why)?, number(to).ok_or_else(why)?);
        if from > to || to - from >= 1000 {
            return Err(why());
        }
        all.extend(from..=to);
    }
    Ok(all)
}

/// At most 53 characters, as Code Engine generates it.
fn generated_name(job_name: &str) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |_| char::from(letters[rand::random_range(0..letters.len())]);
    let tail: String = (0..5).map(letter).collect();
    format!("{}-{tail}", job_name.chars().take(47).collect::<String>())
}

/// What every run of a project has.
fn platform(cloud: &Cloud, project: &Project) -> Environment {
    let (base, region) = (&cloud.addresses.code_engine, &project.region);
    let base = match region == REGION {
        true => base.clone(),
        false => format!("{base}/{region}"),
    };
    let domain = format!("{region}.codeengine.appdomain.cloud");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let variables = [
        ("CE_API_BASE_URL", base.as_str()),
        ("CE_DOMAIN", &domain),
        ("CE_PROJECT_ID", &project.id),
        ("CE_REGION", region),
        ("CE_SUBDOMAIN", &project.subdomain),
        ("HOME", "/root"),
        ("JOB_MODE", "task"),
        ("PATH", path),
        ("PWD", "/"),
    ];
    variables.map(|(name, value)| (name.into(), value.into())).into()
}

/// The variables of `run_env_variables`; config maps as they are now.
fn resolved(project: &Project, list: &[Value]) -> Environment {
    let mut variables = Environment::new();
    for entry in list {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        if entry["type"] == "config_map_full_reference" {
            let map = project.get(Kind::ConfigMap, &text("reference"));
            let data = map.and_then(|map| map.fields.get("data")?.as_object());
            for (key, value) in data.into_iter().flatten() {
                let value = value.as_str().unwrap_or_default().to_owned();
                variables.insert(key.clone(), value);
            }
        } else {
            variables.insert(text("name"), text("value"));
        }
    }
    variables
}
