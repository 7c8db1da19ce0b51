//! job.yaml and setup describe the same job.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{JOB, Site, root};

/// The value behind a key of job.yaml, which has each of these once.
fn value(yaml: &str, key: &str) -> String {
    let found = yaml
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key));
    let [value] = &found.collect::<Vec<_>>()[..] else {
        panic!("{key} is not there exactly once")
    };
    value.trim().trim_matches('"').to_owned()
}

#[test]
fn job_yaml_is_the_job_that_setup_makes() {
    let yaml = std::fs::read_to_string(root().join("job.yaml")).unwrap();
    let site = Site::new();
    site.setup(&[]).expect(0);
    let all = site.everything();
    let only = |list: &str| -> Value {
        let [one] = all[list].as_array().unwrap().as_slice() else {
            panic!("not one in {list}")
        };
        one.clone()
    };
    let (job, map) = (only("job/jobs"), only("job/config_maps"));
    assert_eq!(job["run_compute_resource_token_enabled"], true);
    assert_eq!(job["run_mode"], "task");
    // the rest stays as it is where nothing is said
    assert_eq!(job["run_service_account"], "default");
    assert!(!yaml.contains("serviceAccountName"));

    assert_eq!(value(&yaml, "arraySpec:"), job["scale_array_spec"]);
    assert_eq!(
        value(&yaml, "retryLimit:"),
        job["scale_retry_limit"].to_string()
    );
    assert_eq!(
        value(&yaml, "maxExecutionTime:"),
        job["scale_max_execution_time"].to_string()
    );
    let size = "{ cpu: 125m, memory: 250M, ephemeral-storage: 400M }";
    assert_eq!(
        (value(&yaml, "requests:"), value(&yaml, "limits:")),
        (size.into(), size.into())
    );
    let given = [
        "scale_cpu_limit",
        "scale_memory_limit",
        "scale_ephemeral_storage_limit",
    ];
    assert_eq!(
        given.map(|field| job[field].as_str().unwrap()),
        ["0.125", "0.25G", "400M"]
    );

    let reference = &job["run_env_variables"][0];
    assert_eq!(job["run_env_variables"].as_array().unwrap().len(), 1);
    assert_eq!(reference["reference"], map["name"]);
    assert_eq!(map["name"], format!("{JOB}-config"));
    assert!(yaml.contains(&format!("- configMapRef: {{ name: {JOB}-config }}")));
    let data = yaml
        .split("\ndata:\n")
        .nth(1)
        .unwrap()
        .split("\n---")
        .next()
        .unwrap();
    let told: BTreeSet<_> = data
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(key, _)| key)
        .collect();
    let made: BTreeSet<_> = map["data"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(told, made);
}
