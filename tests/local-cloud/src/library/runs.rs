//! What starts job runs, and what became of them.

use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::{nanos, now, seconds};
use crate::event_notifications;
use crate::events;
use crate::job_runs::{self, JobRun, Run, RunRequest, Trigger};
use crate::store::{Delivery, new_id, object};
use crate::{CloudHandle, Environment, TimerEvent};

/// A cron subscription of Code Engine. It comes due when a test says so, not by the clock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CronSubscription {
    /// The job that it starts.
    pub job: String,
    /// Five fields.
    pub schedule: String,
    /// Name in the time zone database.
    pub time_zone: String,
    /// What the job gets as `CE_DATA`.
    pub data: String,
}

/// Subscriptions.
impl CloudHandle {
    /// Source (by registration), a topic with the recommended filters, destination, subscription.
    pub fn subscribe_job(&self, project_id: &str, job: &str) {
        self.cloud.update(|store| {
            if !store.registered {
                events::register(&self.cloud, store);
            }
        });
        let rule = json!({
            "event_type_filter": "$.type == 'com.ibm.cloud.secrets-manager.secret_rotated'",
            "notification_filter": "$.data.secret_type =~ '^(public|imported|private)_cert$'",
        });
        let source = &self.cloud.world.instance_crn;
        self.subscribe(project_id, job, "rotated certificates", source, rule);
    }

    /// Switches the Periodic Timer on as a source, and subscribes a job to a schedule (five fields).
    pub fn subscribe_job_to_timer(&self, project_id: &str, job: &str, schedule: &str) {
        let source = self.cloud.update(event_notifications::enable_timer);
        let rule = json!({ "event_schedule_filter": { "expression": schedule } });
        self.subscribe(project_id, job, "schedule", &source, rule);
    }

    /// A topic for `what` with one rule, the job as a destination, and the subscription.
    fn subscribe(&self, project_id: &str, job: &str, what: &str, source: &str, rule: Value) {
        let project_crn = self.project_crn(project_id);
        let add = |kind: &str, thing: Value| {
            let add = |store: &mut _| event_notifications::add(store, kind, object(thing));
            let added = self.cloud.update(add);
            added.unwrap_or_else(|why| panic!("subscribe {job}: {why}"))["id"].clone()
        };
        let sources = json!([{ "id": source, "rules": [rule] }]);
        let name = format!("{what} for {job}");
        let topic = add("topics", json!({ "name": name, "sources": sources }));
        let params = json!({ "type": "job", "project_crn": project_crn, "job_name": job });
        let config = json!({ "params": params });
        let name = format!("job {job}");
        let ends = json!({ "name": name, "type": "ibmce", "config": config });
        let destination = add("destinations", ends);
        let name = format!("to {job}");
        let ends = json!({ "name": name, "topic_id": topic, "destination_id": destination });
        add("subscriptions", ends);
    }

    /// Creates a cron subscription or replaces it.
    pub fn put_cron_subscription(&self, project: &str, name: &str, cron: CronSubscription) {
        self.project(project, |project| project.crons.insert(name.to_owned(), cron));
    }

    /// All cron subscriptions of a project, by name.
    pub fn cron_subscriptions(&self, project_id: &str) -> Vec<(String, CronSubscription)> {
        self.project(project_id, |project| project.crons.clone().into_iter().collect())
    }

    /// Deletes a cron subscription; says whether there was one.
    pub fn delete_cron_subscription(&self, project_id: &str, name: &str) -> bool {
        self.project(project_id, |project| project.crons.remove(name).is_some())
    }
}

/// Triggers and job runs.
impl CloudHandle {
    /// A manual run: `ibmcloud ce jobrun submit`.
    pub fn submit_job_run(&self, project_id: &str, job: &str, environment: &Environment) -> String {
        let body = json!({ "job_name": job, "run_env_variables": literals(environment) });
        self.submit(project_id, body, &[], Trigger::Api)
    }

    /// A cron subscription comes due; returns the name of the run.
    pub fn fire_cron_subscription(&self, project_id: &str, name: &str) -> String {
        let cron = self.project(project_id, |project| project.crons.get(name).cloned());
        let cron = cron.unwrap_or_else(|| panic!("there is no cron subscription {name}"));
        self.fire_cron(project_id, &cron.job, &cron.data)
    }

    /// Any cron subscription of this job comes due.
    pub fn fire_cron(&self, project_id: &str, job: &str, data: &str) -> String {
        let subdomain = self.project(project_id, |project| project.subdomain.clone());
        let source = format!("/apis/v1/namespaces/{subdomain}/pingsources/{job}-reconcile");
        let event = [
            ("CE_DATA", data),
            ("CE_ID", &new_id()),
            ("CE_SOURCE", &source),
            ("CE_SPECVERSION", "1.0"),
            ("CE_TIME", &nanos(now())),
            ("CE_TYPE", "dev.knative.sources.ping"),
            ("CONTENT_TYPE", "application/json"),
        ];
        let body = json!({ "job_name": job });
        self.submit(project_id, body, &event, Trigger::Cron)
    }

    /// A message on a Kafka topic.
    pub fn fire_kafka(&self, project_id: &str, job: &str, message: &str) -> String {
        let subdomain = self.project(project_id, |project| project.subdomain.clone());
        let source = format!("/apis/v1/namespaces/{subdomain}/kafkasources/{job}-kafka#sm-events");
        let event = [
            ("CE_DATA", message),
            ("CE_ID", "partition:0/offset:46"),
            ("CE_SOURCE", &source),
            ("CE_SPECVERSION", "1.0"),
            ("CE_SUBJECT", "partition:0#46"),
            ("CE_TIME", &seconds(now())),
            ("CE_TYPE", "dev.knative.kafka.event"),
        ];
        let body = json!({ "job_name": job });
        self.submit(project_id, body, &event, Trigger::Kafka)
    }

    /// The Periodic Timer comes due: every topic with a schedule of it gets one event, in the shape
    /// that the options chose. Returns when all deliveries are over.
    pub fn fire_timer(&self) {
        self.fire_timer_as(self.cloud.options.timer_event);
    }

    /// As `fire_timer`, with an event of this shape.
    pub fn fire_timer_as(&self, shape: TimerEvent) {
        let tick = event_notifications::tick(&self.cloud, shape);
        self.cloud.runtime.block_on(tick);
    }

    /// Any notification into Event Notifications; returns when it has finished with it.
    pub fn publish(&self, notification: Value) {
        let published = event_notifications::publish(&self.cloud, notification);
        self.cloud.runtime.block_on(published);
    }

    fn submit(
        &self,
        project_id: &str,
        body: Value,
        event: &[(&str, &str)],
        trigger: Trigger,
    ) -> String {
        let event = event.iter();
        let event = event.map(|(name, value)| ((*name).into(), (*value).into()));
        let request = RunRequest { body: object(body), event: event.collect(), trigger };
        let submit = |store: &mut _| job_runs::submit(&self.cloud, store, project_id, request);
        let name = self.cloud.update(submit);
        name.unwrap_or_else(|why| panic!("job run refused: {why:?}"))
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
            run.ended().then(|| run.public.clone())
        });
        found.with_context(|| format!("job run {name} did not end within {timeout:?}"))
    }

    /// Waits until no run of a project is under way; all of them, by name.
    pub fn wait_job_runs(&self, project: &str, timeout: Duration) -> anyhow::Result<Vec<JobRun>> {
        let found = self.cloud.wait(timeout, |store| {
            let runs = &store.projects.get(project)?.job_runs;
            let ended = runs.values().all(Run::ended);
            ended.then(|| runs.values().map(|run| run.public.clone()).collect())
        });
        found.with_context(|| format!("job runs are under way after {timeout:?}"))
    }

    /// All runs of a project, by name.
    pub fn job_runs(&self, project_id: &str) -> Vec<JobRun> {
        let public = |run: &Run| run.public.clone();
        self.project(project_id, |project| project.job_runs.values().map(public).collect())
    }

    /// SIGTERM to the processes of a run, SIGKILL after the grace.
    pub fn stop_job_run(&self, project_id: &str, name: &str) {
        self.project(project_id, |project| project.job_runs[name].stop.send_replace(true));
    }

    /// What became of every notification.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.cloud.update(|store| store.deliveries.clone())
    }
}

pub(super) fn literals(environment: &Environment) -> Vec<Value> {
    let literal = |(name, value)| json!({ "type": "literal", "name": name, "value": value });
    environment.iter().map(literal).collect()
}
