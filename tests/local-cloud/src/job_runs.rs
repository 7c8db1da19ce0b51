//! Job runs as real child processes: exactly the environment that Code Engine gives, array indices,
//! retries, the time limit over all retries, SIGTERM then SIGKILL.
//!
//! Not here: the HTTP face (`code_engine`) and who starts runs (`event_notifications`, `lib`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::Cloud;
use crate::clock::{millis, now, seconds};
use crate::code_engine::rules;
use crate::iam;
use crate::store::{Claims, Kind, Project, Store, new_id};

mod process;
mod settings;

use process::Plan;
use settings::Settings;

/// Bytes that a job or a job run may have, environment included.
pub(crate) const OBJECT_LIMIT: usize = 10 * 1024;

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
    pub environment: BTreeMap<String, String>,
    /// From start to exit.
    pub duration_ms: u64,
}

/// The state of a job run.
#[derive(Clone, Debug, Serialize)]
pub struct JobRun {
    /// Its name.
    pub name: String,
    /// The job; empty for a run without one.
    pub job_name: String,
    /// The project.
    pub project_id: String,
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
    pub(crate) event: BTreeMap<String, String>,
    pub(crate) trigger: Trigger,
}

pub(crate) struct Run {
    name: String,
    pub(crate) job_name: String,
    id: String,
    computed: Value,
    project_id: String,
    trigger: Trigger,
    settings: Settings,
    environment: BTreeMap<String, String>,
    created_at: OffsetDateTime,
    completed_at: Option<OffsetDateTime>,
    indices: BTreeMap<u32, Index>,
    last_failure_reason: Option<String>,
    attempts: Vec<Attempt>,
    stop: watch::Sender<bool>,
}

struct Index {
    status: &'static str,
    retries: u32,
    started_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
}

impl Run {
    pub(crate) fn status(&self) -> &'static str {
        let all = |status| self.indices.values().all(|index| index.status == status);
        if self.completed_at.is_some() {
            return if all("succeeded") {
                "completed"
            } else {
                "failed"
            };
        }
        if all("pending") { "pending" } else { "running" }
    }

    pub(crate) fn ended(&self) -> bool {
        self.completed_at.is_some()
    }

    /// SIGTERM to its processes; no further retries.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn public(&self) -> JobRun {
        JobRun {
            name: self.name.clone(),
            job_name: self.job_name.clone(),
            project_id: self.project_id.clone(),
            trigger: self.trigger,
            status: self.status().to_owned(),
            last_failure_reason: self.last_failure_reason.clone(),
            attempts: self.attempts.clone(),
        }
    }

    /// As `GET /job_runs/{name}` shows it.
    pub(crate) fn document(&self, cloud: &Cloud) -> Value {
        let count = |status| self.indices.values().filter(|i| i.status == status).count();
        let listed = |status| {
            let of = self
                .indices
                .iter()
                .filter(|(_, index)| index.status == status);
            of.map(|(number, _)| number.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        let details: Map<String, Value> = self
            .indices
            .iter()
            .map(|(number, index)| {
                let mut detail = json!({ "status": index.status, "retries": index.retries });
                if let Some(at) = index.started_at {
                    detail["started_at"] = seconds(at).into();
                }
                if let Some(at) = index.finished_at {
                    detail["finished_at"] = seconds(at).into();
                }
                if let Some(reason) = &self.last_failure_reason
                    && index.status == "failed"
                {
                    detail["last_failure_reason"] = reason.as_str().into();
                }
                (number.to_string(), detail)
            })
            .collect();
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
            "indices_details": details,
        });
        if let Some(at) = self.completed_at {
            status["completion_time"] = seconds(at).into();
        }
        let mut body = self.settings.shown.clone();
        let own = json!({
            "computed_env_variables": self.computed,
            "id": self.id,
            "name": self.name,
            "job_name": self.job_name,
            "project_id": self.project_id,
            "created_at": millis(self.created_at),
            "href": format!(
                "{}/v2/projects/{}/job_runs/{}",
                cloud.addresses.code_engine(), self.project_id, self.name
            ),
            "resource_type": "job_run_v2",
            "run_arguments": self.settings.arguments,
            "run_compute_resource_token_enabled": self.settings.token_enabled,
            "scale_array_spec": self.settings.array_spec,
            "scale_max_execution_time": self.settings.max_execution_time.as_secs(),
            "scale_retry_limit": self.settings.retry_limit,
            "status": self.status(),
            "status_details": status,
        });
        if let Value::Object(own) = own {
            body.extend(own);
        }
        Value::Object(body)
    }
}

/// Accepts a run and starts its processes; returns its name. An error is status, code, reason.
pub(crate) fn submit(
    cloud: &Arc<Cloud>,
    store: &mut Store,
    project_id: &str,
    request: RunRequest,
) -> Result<String, (u16, &'static str, String)> {
    let Some(project) = store.projects.get(project_id) else {
        return Err((404, "resource_not_found", "Resource not found.".into()));
    };
    let (job_name, settings) = Settings::of(project, &request.body)?;
    let limit = cloud.options.job_run_limit;
    if limit.is_some_and(|limit| project.job_runs.len() >= limit) {
        return Err((403, "quota_exceeded", "Quota of job runs exceeded.".into()));
    }
    let name = match request.body.get("name").and_then(Value::as_str) {
        Some(name) => name.to_owned(),
        None => generated_name(&job_name),
    };
    if project.job_runs.contains_key(&name) {
        let why = format!("A resource with the name {name} already exists.");
        return Err((409, "resource_already_exists", why));
    }
    let mut environment = platform(cloud, project, &job_name, &name, &settings);
    environment.extend(settings.environment.clone());
    environment.extend(request.event);
    let computed = rules::computed_variables(cloud, project, Kind::Job, &job_name).into();
    let object = settings.object_size(&name, &job_name);
    if object > OBJECT_LIMIT {
        let why = format!("The job run has {object} bytes, {OBJECT_LIMIT} are allowed.");
        return Err((400, "resource_too_large", why));
    }
    if settings.token_enabled {
        let component = if job_name.is_empty() {
            &name
        } else {
            &job_name
        };
        let claims = Claims {
            project_id: project_id.to_owned(),
            component_type: "job".into(),
            component_name: component.clone(),
            expires: now() + time::Duration::hours(1),
        };
        let token = iam::cr_token(store, claims);
        let file = cloud.directory.path().join(format!("token-{}", new_id()));
        std::fs::write(&file, token)
            .map_err(|error| (500, "internal_error", format!("token file: {error}")))?;
        // The one deviation: only root could create the real path on this machine.
        environment.insert("CR_TOKEN_FILENAME".into(), file.display().to_string());
    }
    let pending = || Index {
        status: "pending",
        retries: 0,
        started_at: None,
        finished_at: None,
    };
    let run = Run {
        name: name.clone(),
        job_name,
        id: new_id(),
        computed,
        project_id: project_id.to_owned(),
        trigger: request.trigger,
        environment,
        created_at: now(),
        completed_at: None,
        indices: settings
            .indices
            .iter()
            .map(|index| (*index, pending()))
            .collect(),
        settings,
        last_failure_reason: None,
        attempts: Vec::new(),
        stop: watch::Sender::new(false),
    };
    let plan = Plan::of(cloud, &run);
    store
        .projects
        .get_mut(project_id)
        .expect("seen above")
        .job_runs
        .insert(name.clone(), run);
    let mut tasks = crate::store::lock(&cloud.tasks);
    while tasks.try_join_next().is_some() {}
    tasks.spawn_on(plan.run(), &cloud.runtime);
    Ok(name)
}

/// At most 53 characters, as Code Engine generates it.
fn generated_name(job_name: &str) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let tail: String = (0..5)
        .map(|_| char::from(letters[rand::random_range(0..letters.len())]))
        .collect();
    let job = if job_name.is_empty() {
        "jobrun"
    } else {
        job_name
    };
    format!("{}-{tail}", job.chars().take(47).collect::<String>())
}

/// What every run has, whoever started it.
fn platform(
    cloud: &Cloud,
    project: &Project,
    job_name: &str,
    name: &str,
    settings: &Settings,
) -> BTreeMap<String, String> {
    let base = cloud.addresses.code_engine();
    let home = project.region == cloud.options.region;
    let mut variables = BTreeMap::from(
        [
            (
                "CE_API_BASE_URL",
                if home {
                    base
                } else {
                    format!("{base}/{}", project.region)
                },
            ),
            (
                "CE_DOMAIN",
                format!("{}.codeengine.appdomain.cloud", project.region),
            ),
            ("CE_JOBRUN", name.to_owned()),
            ("CE_PROJECT_ID", project.id.clone()),
            ("CE_REGION", project.region.clone()),
            ("CE_SUBDOMAIN", project.subdomain.clone()),
            ("HOME", "/root".into()),
            ("JOB_ARRAY_SIZE", settings.array_size.to_string()),
            ("JOB_MODE", "task".into()),
            ("JOB_RETRY_LIMIT", settings.retry_limit.to_string()),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            ),
            ("PWD", "/".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if !job_name.is_empty() {
        variables.insert("CE_JOB".into(), job_name.to_owned());
    }
    variables
}

/// The variables of `run_env_variables`, references resolved now.
fn resolved(project: &Project, list: Option<&Value>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for entry in list.and_then(Value::as_array).into_iter().flatten() {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let kind = if text("type").starts_with("secret") {
            Kind::Secret
        } else {
            Kind::ConfigMap
        };
        match text("type") {
            "config_map_full_reference" | "secret_full_reference" => {
                let data = project
                    .get(kind, text("reference"))
                    .and_then(|r| r.fields.get("data"));
                for (key, value) in data.and_then(Value::as_object).into_iter().flatten() {
                    let value = value.as_str().unwrap_or_default();
                    variables.insert(format!("{}{key}", text("prefix")), value.to_owned());
                }
            }
            "config_map_key_reference" | "secret_key_reference" => {
                let found = project.get(kind, text("reference"));
                if let Some(value) = found.and_then(|resource| resource.data(text("key"))) {
                    variables.insert(text("name").to_owned(), value.to_owned());
                }
            }
            _ => {
                variables.insert(text("name").to_owned(), text("value").to_owned());
            }
        }
    }
    variables
}
