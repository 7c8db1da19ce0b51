//! Who we are: whom to grant what is missing, and the commands that do it. What the job cannot know, a
//! command looks up itself, or shows as a word in capitals.

use std::path::PathBuf;

use crate::error::Error;
use crate::ibm::ids::{Region, Uuid};
use crate::secret::Secret;
use crate::text::sanitized;

/// What proves who we are.
pub enum Credentials {
    /// A trusted profile, assumed with the compute resource token that Code Engine mounts.
    Profile {
        /// How the profile is named: `profile_id`, `profile_name` or `profile_crn`.
        field: &'static str,
        /// The profile.
        profile: String,
        /// Where the compute resource token may be; the first file that exists is used.
        token_files: Vec<PathBuf>,
    },
    /// An API key.
    ApiKey(Secret),
}

/// Who we are, and whom to grant a missing permission.
pub struct Grantee {
    /// What proves who we are.
    pub credentials: Credentials,
    /// The Secrets Manager instance, if it is known.
    pub instance: Option<Uuid>,
    /// Where people reach Secrets Manager: its public address, if it has one.
    pub secrets_manager: String,
    /// The region that the job runs in, if it is known.
    pub region: Option<Region>,
    /// The name of the job, if it is known.
    pub job: Option<String>,
}

impl Grantee {
    /// The command that gives the job a compute resource token.
    pub fn enable_token(&self) -> String {
        let job = word(self.job.as_ref(), "JOB");
        format!("ibmcloud ce job update --name {job} --trusted-profiles-enabled=true")
    }

    /// The command that lets this job of this project assume the profile. Other instances may have
    /// the project's name.
    pub fn link(&self, profile: &str, project: Option<&str>, job: Option<&str>) -> String {
        // the commands take a name or an ID, which is the end of a CRN
        let profile = word(profile.rsplit(':').next(), "PROFILE");
        let region = word(self.region.as_ref(), "REGION");
        let project = word(project, "PROJECT");
        let job = word(job.or(self.job.as_deref()), "JOB");
        format!(
            "ibmcloud iam trusted-profile-link-create {profile} --name {job} --cr-type CE \
             --link-crn \"$(ibmcloud resource service-instance {project} --location {region} --crn 2>/dev/null | grep ':codeengine:')\" \
             --link-component-type job --link-component-name {job}"
        )
    }

    /// The command that runs the job once, with these variables.
    pub fn run(&self, variables: &str) -> String {
        let job = word(self.job.as_ref(), "JOB");
        format!("ibmcloud ce jobrun submit --job {job} {variables} --env OUTPUT=text")
    }

    /// The command that shows which certificates there are.
    pub(super) fn list_certificates(&self) -> String {
        format!(
            "ibmcloud secrets-manager secrets --service-url {} --secret-types public_cert,imported_cert,private_cert",
            self.secrets_manager
        )
    }

    /// Adds how to let the job read this secret: access is granted per secret group.
    pub(super) fn read_secret(&self, error: Error, id: &Uuid) -> Error {
        let group = format!(
            "\"$(ibmcloud secrets-manager secret-metadata --service-url {} --id {id} --output json | jq -r .secret_group_id)\"",
            self.secrets_manager
        );
        self.read_group(error, &group)
    }

    /// Adds how to let the job read the secrets of a group.
    pub(super) fn read_group(&self, error: Error, group: &str) -> Error {
        const RIGHT: &str = "the role SecretsReader on the secret group";
        let instance = word(self.instance.as_ref(), "INSTANCE_ID");
        let on = format!(
            "secrets-manager --service-instance {instance} --resource-type secret-group --resource {group}"
        );
        self.grant(error, RIGHT, "SecretsReader", &on)
    }

    /// Adds how to let the job read and replace the secrets of this project: with the role that setup
    /// makes, if it is there.
    pub(super) fn write_project(&self, error: Error, project: &Uuid) -> Error {
        const RIGHT: &str = "the role SmTlsSecretUpdater (setup makes it) or Writer on the project";
        const ROLE: &str = "\"$(ibmcloud iam roles --service codeengine --output JSON | grep -q SmTlsSecretUpdater && echo SmTlsSecretUpdater || echo Writer)\"";
        let on = format!("codeengine --service-instance {project}");
        self.grant(error, RIGHT, ROLE, &on)
    }

    /// `right`: in words; `role` and `on`: as the command takes them.
    fn grant(&self, error: Error, right: &str, role: &str, on: &str) -> Error {
        let Credentials::Profile { profile, .. } = &self.credentials else {
            return error.hint(format_args!("the owner of the API key needs {right}"));
        };
        let profile = word(profile.rsplit(':').next(), "PROFILE");
        let error = error.hint(format_args!("grant the profile {right}"));
        error.command(format!(
            "ibmcloud iam trusted-profile-policy-create {profile} --roles {role} --service-name {on}"
        ))
    }
}

/// A word for a shell: what is known, or `instead`. Names may contain spaces, and come from outside.
fn word(known: Option<impl ToString>, instead: &str) -> String {
    let word = known.map_or_else(|| instead.to_owned(), |known| sanitized(&known.to_string()));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
    if word.bytes().all(plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
