//! How a run runs: the job's settings, overridden by the run's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::resolved;
use crate::store::{Kind, Project};

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) arguments: Vec<String>,
    pub(super) array_size: usize,
    pub(super) array_spec: String,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) indices: Vec<u32>,
    pub(super) max_execution_time: Duration,
    pub(super) retry_limit: u32,
    pub(super) token_enabled: bool,
    /// The fields of a run that only show what it was made of.
    pub(super) shown: Map<String, Value>,
    /// Bytes of the object, references unresolved.
    size: usize,
}

type Refused = (u16, &'static str, String);

fn refused(why: impl Into<String>) -> Refused {
    (400, "bad_request", why.into())
}

impl Settings {
    /// The job's name (empty for a run without one) and the settings that count.
    pub(super) fn of(
        project: &Project,
        body: &Map<String, Value>,
    ) -> Result<(String, Self), Refused> {
        let job_name = body
            .get("job_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let nothing = Map::new();
        let job = if job_name.is_empty() {
            if !body.contains_key("image_reference") {
                return Err(refused("job_name or image_reference is needed."));
            }
            &nothing
        } else {
            let Some(job) = project.get(Kind::Job, job_name) else {
                return Err((
                    404,
                    "resource_not_found",
                    format!("There is no job {job_name}."),
                ));
            };
            for barred in ["image_secret", "run_service_account"] {
                if body.contains_key(barred) {
                    return Err(refused(format!("{barred} must not be set with job_name.")));
                }
            }
            let image = body.get("image_reference");
            if image.is_some() && image != job.fields.get("image_reference") {
                return Err(refused("image_reference differs from the job's."));
            }
            &job.fields
        };
        let value = |field: &str| body.get(field).or_else(|| job.get(field));
        let number = |field: &str, default: u64, most: u64| match value(field) {
            None => Ok(default),
            Some(given) => given
                .as_u64()
                .filter(|number| *number <= most)
                .ok_or_else(|| refused(format!("{field} must be a number up to {most}."))),
        };
        let array_spec = value("scale_array_spec")
            .and_then(Value::as_str)
            .unwrap_or("0")
            .to_owned();
        let indices = indices(&array_spec)?;
        let mut environment = resolved(project, job.get("run_env_variables"));
        environment.extend(resolved(project, body.get("run_env_variables")));
        let length = |field: &str, from: &Map<String, Value>| {
            from.get(field).map_or(0, |value| value.to_string().len())
        };
        // Our guess at IBM's count: the variables of both, arguments and commands once, a little
        // for the frame.
        let size = 256
            + length("run_env_variables", job)
            + length("run_env_variables", body)
            + ["run_arguments", "run_commands"]
                .map(|field| value(field).map_or(0, |value| value.to_string().len()))
                .iter()
                .sum::<usize>();
        let listed = value("run_arguments").and_then(Value::as_array);
        let settings = Self {
            arguments: listed
                .into_iter()
                .flatten()
                .map(|argument| argument.as_str().unwrap_or_default().to_owned())
                .collect(),
            array_size: match number("scale_array_size_variable_override", 0, 10_000_000)? {
                0 => indices.len(),
                size => usize::try_from(size).unwrap_or(usize::MAX),
            },
            array_spec,
            environment,
            indices,
            max_execution_time: Duration::from_secs(number(
                "scale_max_execution_time",
                7200,
                86_400,
            )?),
            retry_limit: u32::try_from(number("scale_retry_limit", 3, 5)?).unwrap_or(3),
            token_enabled: value("run_compute_resource_token_enabled")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            shown: shown(job, body),
            size,
        };
        Ok((job_name.to_owned(), settings))
    }

    pub(super) fn object_size(&self, name: &str, job_name: &str) -> usize {
        self.size + name.len() + job_name.len()
    }
}

/// The run's own fields over the job's; variables of both.
fn shown(job: &Map<String, Value>, body: &Map<String, Value>) -> Map<String, Value> {
    let mut shown = Map::new();
    for field in [
        "image_reference",
        "image_secret",
        "run_mode",
        "run_service_account",
    ]
    .into_iter()
    .chain([
        "scale_cpu_limit",
        "scale_memory_limit",
        "scale_ephemeral_storage_limit",
    ]) {
        if let Some(value) = body.get(field).or_else(|| job.get(field)) {
            shown.insert(field.to_owned(), value.clone());
        }
    }
    for field in ["run_commands", "run_volume_mounts"] {
        let value = body.get(field).or_else(|| job.get(field)).cloned();
        shown.insert(
            field.to_owned(),
            value.unwrap_or_else(|| Value::Array(Vec::new())),
        );
    }
    let variables = [job, body]
        .into_iter()
        .filter_map(|from| from.get("run_env_variables")?.as_array())
        .flatten()
        .cloned()
        .collect();
    shown.insert("run_env_variables".into(), variables);
    shown
}

/// `1-5,7,9`: at most 1000 indices, each at most 9999999.
fn indices(spec: &str) -> Result<Vec<u32>, Refused> {
    let bad = || refused(format!("scale_array_spec {spec:?} is not valid."));
    let mut all = Vec::new();
    for part in spec.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n <= 9_999_999);
        let (from, to) = (number(from).ok_or_else(bad)?, number(to).ok_or_else(bad)?);
        if from > to || to - from >= 1000 {
            return Err(bad());
        }
        all.extend(from..=to);
    }
    all.sort_unstable();
    all.dedup();
    if all.len() > 1000 {
        Err(bad())
    } else {
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::indices;

    #[test]
    fn array_specs() {
        assert_eq!(indices("0").unwrap(), [0]);
        assert_eq!(indices("1-3,7,2").unwrap(), [1, 2, 3, 7]);
        for bad in ["", "3-1", "a", "0-1000", "10000000"] {
            assert!(indices(bad).is_err(), "{bad}");
        }
    }
}
