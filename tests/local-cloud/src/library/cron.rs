//! Cron subscriptions as resources. They come due when a test says so, not by the clock.

use serde::{Deserialize, Serialize};

use crate::CloudHandle;

/// A cron subscription of Code Engine.
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

/// Cron subscriptions.
impl CloudHandle {
    /// Creates a cron subscription or replaces it.
    pub fn put_cron_subscription(&self, project_id: &str, name: &str, cron: CronSubscription) {
        self.cloud.update(|store| {
            let project = store.projects.get_mut(project_id);
            let project = project.unwrap_or_else(|| panic!("there is no project {project_id}"));
            project.crons.insert(name.to_owned(), cron);
        });
    }

    /// All cron subscriptions of a project, by name.
    pub fn cron_subscriptions(&self, project_id: &str) -> Vec<(String, CronSubscription)> {
        self.cloud.update(|store| {
            let project = store.projects.get(project_id);
            let crons = project.into_iter().flat_map(|project| &project.crons);
            crons
                .map(|(name, cron)| (name.clone(), cron.clone()))
                .collect()
        })
    }

    /// Deletes a cron subscription; says whether there was one.
    pub fn delete_cron_subscription(&self, project_id: &str, name: &str) -> bool {
        self.cloud.update(|store| {
            let project = store.projects.get_mut(project_id);
            project.is_some_and(|project| project.crons.remove(name).is_some())
        })
    }

    /// A cron subscription comes due; returns the name of the run.
    pub fn fire_cron_subscription(&self, project_id: &str, name: &str) -> String {
        let found = self.cron_subscriptions(project_id);
        let found = found.into_iter().find(|(found, _)| found == name);
        let (_, cron) = found.unwrap_or_else(|| panic!("there is no cron subscription {name}"));
        self.fire_cron(project_id, &cron.job, &cron.data)
    }
}
