//! The rights that the job needs at IBM, and the command that gives each of them.
//!
//! Belongs here: `ibmcloud` lines for the hints of refusals. What the job cannot know, the line
//! looks up itself.

use crate::ibm::ids::{Region, Uuid};

/// For whom, and where.
#[derive(Clone, Debug)]
pub struct Rights {
    /// The trusted profile, by id, name or CRN; none with an API key.
    pub profile: Option<String>,
    /// The Secrets Manager instance, if it is known.
    pub instance: Option<Uuid>,
    /// Where people reach Secrets Manager: its public address, if it has one.
    pub secrets_manager: String,
    /// The region that the job runs in, if it is known.
    pub region: Option<Region>,
    /// The name of the job, if it is known.
    pub job: Option<String>,
}

impl Rights {
    /// To get a compute resource token at all.
    #[must_use]
    pub fn token_file(&self) -> String {
        let job = quoted(self.job.as_deref().unwrap_or("JOB"));
        format!(
            "switch trusted profiles on for the job: ibmcloud ce job update --name {job} --trusted-profiles-enabled=true"
        )
    }

    /// To read this secret: access is granted per secret group.
    #[must_use]
    pub fn read_secret(&self, id: &Uuid) -> String {
        let instance = self
            .instance
            .as_ref()
            .map_or_else(|| "INSTANCE_ID".to_owned(), ToString::to_string);
        self.policy(&format!(
            "SecretsReader --service-name secrets-manager --service-instance {instance} --resource-type secret-group \
             --resource \"$(ibmcloud secrets-manager secret-metadata --service-url {} --id {id} --output json | jq -r .secret_group_id)\"",
            self.secrets_manager
        ))
    }

    /// To read and replace the secrets of this project.
    #[must_use]
    pub fn write_project(&self, project_id: &Uuid) -> String {
        self.policy(&format!(
            "Writer --service-name codeengine --service-instance {project_id}"
        ))
    }

    fn policy(&self, roles: &str) -> String {
        match &self.profile {
            Some(profile) => format!(
                "grant it: ibmcloud iam trusted-profile-policy-create {} --roles {roles}",
                quoted(profile)
            ),
            None => format!("the API key needs the role {roles}"),
        }
    }

    /// To assume the profile as this job of this project.
    #[must_use]
    pub fn link(&self, project: Option<&str>, job: Option<&str>) -> String {
        let region = self
            .region
            .as_ref()
            .map_or_else(|| "REGION".to_owned(), ToString::to_string);
        let (project, job) = (
            quoted(project.unwrap_or("PROJECT")),
            quoted(job.unwrap_or("JOB")),
        );
        format!(
            "link the profile to this job of this project: ibmcloud iam trusted-profile-link-create {} --name {job} --cr-type CE \
             --link-crn \"$(ibmcloud resource service-instance {project} --location {region} --crn -q)\" \
             --link-component-type job --link-component-name {job}",
            quoted(self.profile.as_deref().unwrap_or("PROFILE"))
        )
    }
}

/// A word for a shell: names may hold spaces, and come from outside.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
