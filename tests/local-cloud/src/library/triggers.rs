//! What starts job runs, and what became of them.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::clock::{nanos, now, seconds};
use crate::event_notifications::{self, Collection};
use crate::events;
use crate::job_runs::{self, JobRun, RunRequest, Trigger};
use crate::store::{Delivery, new_id};
use crate::{CloudHandle, Environment};

/// Triggers and job runs.
impl CloudHandle {
    /// Source (by registration), a topic with the recommended filters, destination, subscription.
    pub fn subscribe_job(&self, project_id: &str, job: &str) {
        let source = self.cloud.update(|store| {
            if store.registration.is_none() {
                events::register(store);
            }
            store.instance_crn.clone()
        });
        let rule = json!({
            "enabled": true,
            "event_type_filter": "$.type == 'com.ibm.cloud.secrets-manager.secret_rotated'",
            "notification_filter": "$.data.secret_type =~ '^(public|imported|private)_cert$'",
        });
        self.subscribe(project_id, job, "rotated certificates", &source, rule);
    }

    /// A topic for `what` with one rule, the job as a destination, and the subscription.
    pub(super) fn subscribe(
        &self,
        project_id: &str,
        job: &str,
        what: &str,
        source: &str,
        rule: Value,
    ) {
        self.cloud.update(|store| {
            let project_crn = store.project_crn(&store.projects[project_id]);
            let mut add = |collection, thing: Value| {
                let Value::Object(thing) = thing else {
                    panic!("not an object")
                };
                let thing = event_notifications::add(store, collection, thing);
                thing.unwrap_or_else(|why| panic!("subscribe {job}: {why}"))["id"].clone()
            };
            let topic = json!({
                "name": format!("{what} for {job}"),
                "sources": [{ "id": source, "rules": [rule] }],
            });
            let topic = add(Collection::Topics, topic);
            let params = json!({ "type": "job", "project_crn": project_crn, "job_name": job });
            let destination = json!({
                "name": format!("job {job}"), "type": "ibmce", "config": { "params": params },
            });
            let destination = add(Collection::Destinations, destination);
            let subscription = json!({
                "name": format!("to {job}"), "topic_id": topic, "destination_id": destination,
            });
            add(Collection::Subscriptions, subscription);
        });
    }

    /// A manual run: `ibmcloud ce jobrun submit`.
    pub fn submit_job_run(
        &self,
        project_id: &str,
        job: &str,
        environment: &Environment,
        arguments: &[&str],
    ) -> String {
        let mut body = run_of(job, environment);
        if !arguments.is_empty() {
            body.insert("run_arguments".into(), json!(arguments));
        }
        self.submit(project_id, body, Environment::new(), Trigger::Api)
    }

    /// A cron subscription comes due.
    pub fn fire_cron(&self, project_id: &str, job: &str, data: &str) -> String {
        let source = format!(
            "/apis/v1/namespaces/{}/pingsources/{job}-reconcile",
            self.subdomain(project_id)
        );
        let event = event(&[
            ("CE_DATA", data),
            ("CE_ID", &new_id()),
            ("CE_SOURCE", &source),
            ("CE_SPECVERSION", "1.0"),
            ("CE_TIME", &nanos(now())),
            ("CE_TYPE", "dev.knative.sources.ping"),
            ("CONTENT_TYPE", "application/json"),
        ]);
        self.submit(
            project_id,
            run_of(job, &Environment::new()),
            event,
            Trigger::Cron,
        )
    }

    /// A message on a Kafka topic.
    pub fn fire_kafka(&self, project_id: &str, job: &str, message: &str) -> String {
        let source = format!(
            "/apis/v1/namespaces/{}/kafkasources/{job}-kafka#sm-events",
            self.subdomain(project_id)
        );
        let event = event(&[
            ("CE_DATA", message),
            ("CE_ID", "partition:0/offset:46"),
            ("CE_SOURCE", &source),
            ("CE_SPECVERSION", "1.0"),
            ("CE_SUBJECT", "partition:0#46"),
            ("CE_TIME", &seconds(now())),
            ("CE_TYPE", "dev.knative.kafka.event"),
        ]);
        self.submit(
            project_id,
            run_of(job, &Environment::new()),
            event,
            Trigger::Kafka,
        )
    }

    /// A run as Event Notifications starts it, with any text as `ibmendata`.
    pub fn fire_notification(&self, project_id: &str, job: &str, ibmendata: &str) -> String {
        let body = run_of(job, &event(&[("ibmendata", ibmendata)]));
        self.submit(
            project_id,
            body,
            Environment::new(),
            Trigger::EventNotifications,
        )
    }

    /// Any notification into Event Notifications; returns when it has finished with it.
    pub fn publish(&self, notification: Value) {
        self.cloud
            .runtime
            .block_on(event_notifications::publish(&self.cloud, notification));
    }

    fn submit(
        &self,
        project_id: &str,
        body: Map<String, Value>,
        event: Environment,
        trigger: Trigger,
    ) -> String {
        let request = RunRequest {
            body,
            event,
            trigger,
        };
        self.cloud.update(|store| {
            job_runs::submit(&self.cloud, store, project_id, request)
                .unwrap_or_else(|(status, _, why)| panic!("job run refused: {status}: {why}"))
        })
    }

    fn subdomain(&self, project_id: &str) -> String {
        self.cloud
            .update(|store| store.projects[project_id].subdomain.clone())
    }

    /// Waits for the end of a run.
    pub fn wait_job_run(
        &self,
        project_id: &str,
        name: &str,
        timeout: Duration,
    ) -> anyhow::Result<JobRun> {
        let found = self.cloud.wait(timeout, |store| {
            let run = store.projects.get(project_id)?.job_runs.get(name)?;
            run.ended().then(|| run.public())
        });
        found.with_context(|| format!("job run {name} did not end within {timeout:?}"))
    }

    /// Waits until no run of a project is under way; all of them, by name.
    pub fn wait_job_runs(
        &self,
        project_id: &str,
        timeout: Duration,
    ) -> anyhow::Result<Vec<JobRun>> {
        let found = self.cloud.wait(timeout, |store| {
            let runs = &store.projects.get(project_id)?.job_runs;
            runs.values()
                .all(job_runs::Run::ended)
                .then(|| runs.values().map(job_runs::Run::public).collect())
        });
        found.with_context(|| format!("job runs are under way after {timeout:?}"))
    }

    /// All runs of a project, by name.
    pub fn job_runs(&self, project_id: &str) -> Vec<JobRun> {
        self.cloud.update(|store| {
            let project = store.projects.get(project_id);
            project
                .into_iter()
                .flat_map(|p| p.job_runs.values())
                .map(job_runs::Run::public)
                .collect()
        })
    }

    /// SIGTERM to the processes of a run, SIGKILL after the grace.
    pub fn stop_job_run(&self, project_id: &str, name: &str) {
        self.cloud
            .update(|store| store.projects[project_id].job_runs[name].stop());
    }

    /// What became of every notification.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.cloud.update(|store| store.deliveries.clone())
    }
}

fn run_of(job: &str, environment: &Environment) -> Map<String, Value> {
    let mut body = Map::from_iter([("job_name".to_owned(), Value::from(job))]);
    if !environment.is_empty() {
        body.insert("run_env_variables".into(), literals(environment).into());
    }
    body
}

fn event(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub(super) fn literals(environment: &Environment) -> Vec<Value> {
    let literal = |(name, value)| json!({ "type": "literal", "name": name, "value": value });
    environment.iter().map(literal).collect()
}
