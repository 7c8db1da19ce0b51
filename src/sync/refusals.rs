//! Why a service refused, and the command that fixes it.
//!
//! Belongs here: reasons, sentences and `ibmcloud` commands for failed calls. Does not: which answers
//! are failures (`ibm/`), nor refusals of a certificate (`compare.rs`, `assemble.rs`).
//!
//! What the job cannot know, the command looks up itself, or shows as a word in capitals.

use crate::config::Grantee;
use crate::error::{Error, Reason, error};
use crate::ibm::api_error::{ApiError, TokenError};
use crate::ibm::code_engine::TlsSecretRef;
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::Version;
use crate::text::sanitized;

impl Grantee {
    /// The command that gives the job a compute resource token.
    #[must_use]
    pub fn enable_token(&self) -> String {
        let job = quoted(self.job.as_deref().unwrap_or("JOB"));
        format!("ibmcloud ce job update --name {job} --trusted-profiles-enabled=true")
    }

    /// The command that lets this job of this project assume the profile.
    #[must_use]
    pub fn link(&self, project: Option<&str>, job: Option<&str>) -> String {
        let region = self.region();
        let project = quoted(project.unwrap_or("PROJECT"));
        let job = quoted(job.or(self.job.as_deref()).unwrap_or("JOB"));
        format!(
            "ibmcloud iam trusted-profile-link-create {} --name {job} --cr-type CE \
             --link-crn \"$(ibmcloud resource service-instance {project} --location {region} --crn -q)\" \
             --link-component-type job --link-component-name {job}",
            self.profile()
        )
    }

    /// The command that runs the job once, with these variables.
    #[must_use]
    pub fn run(&self, variables: &str) -> String {
        let job = quoted(self.job.as_deref().unwrap_or("JOB"));
        format!("ibmcloud ce jobrun submit --job {job} {variables}")
    }

    /// Adds how to let the job read this secret: access is granted per secret group.
    fn read_secret(&self, error: Error, id: &Uuid) -> Error {
        let group = format!(
            "\"$(ibmcloud secrets-manager secret-metadata --service-url {} --id {id} --output json | jq -r .secret_group_id)\"",
            self.secrets_manager
        );
        self.read_group(error, &group)
    }

    /// Adds how to let the job read the secrets of a group.
    fn read_group(&self, error: Error, group: &str) -> Error {
        let instance = self
            .instance
            .as_ref()
            .map_or_else(|| "INSTANCE_ID".to_owned(), ToString::to_string);
        match self.profile {
            Some(_) => error.hint("grant the profile the role SecretsReader on its secret group").command(format!(
                "ibmcloud iam trusted-profile-policy-create {} --roles SecretsReader --service-name secrets-manager \
                 --service-instance {instance} --resource-type secret-group --resource {group}",
                self.profile()
            )),
            None => error.hint(format!(
                "the owner of the API key needs the role SecretsReader on the secret's group of instance {instance}"
            )),
        }
    }

    /// Adds how to let the job read and replace the secrets of this project.
    fn write_project(&self, error: Error, project: &Uuid) -> Error {
        match self.profile {
            Some(_) => error.hint("grant the profile the role Writer on the project").command(format!(
                "ibmcloud iam trusted-profile-policy-create {} --roles Writer --service-name codeengine --service-instance {project}",
                self.profile()
            )),
            None => error.hint(format!(
                "the owner of the API key needs the role Writer on project {project}"
            )),
        }
    }

    fn profile(&self) -> String {
        quoted(self.profile.as_deref().unwrap_or("PROFILE"))
    }

    fn region(&self) -> String {
        self.region
            .as_ref()
            .map_or_else(|| "REGION".to_owned(), ToString::to_string)
    }
}

/// Why Secrets Manager did not return this secret.
pub(crate) fn secret(failure: ApiError, id: &Uuid, version: Version, grantee: &Grantee) -> Error {
    let failure = match not_the_service(failure, grantee) {
        Ok(error) => return error,
        Err(failure) => failure,
    };
    match failure.status() {
        Some(404) if version == Version::Previous => error!(
            Reason::SecretMissing,
            "secret {id} has no previous version in Secrets Manager: {failure}"
        )
        .hint("only the version before the last rotation can be deployed; import an older certificate again"),
        Some(404) => error!(
            Reason::SecretMissing,
            "Secrets Manager has no secret {id}: {failure}"
        )
        .hint(
            "check the ID, and that SECRETS_MANAGER_URL is the instance that holds it; an instance of the plan \
             Vault Dedicated does not have the API that this job needs (plan Standard or Trial)",
        ),
        Some(401) => error!(
            Reason::SecretForbidden,
            "Secrets Manager does not accept our token for secret {id}: {failure}"
        )
        .hint("a context-based restriction or an IP allowlist may be the cause"),
        Some(403) => grantee.read_secret(
            error!(Reason::SecretForbidden, "not allowed to read secret {id}: {failure}"),
            id,
        ),
        _ if failure.temporary() => error!(
            Reason::SecretsManagerUnavailable,
            "cannot read secret {id}: {failure}"
        ),
        _ => error!(
            Reason::SecretsManagerRefused,
            "cannot read secret {id}: {failure}"
        ),
    }
}

/// Why Secrets Manager did not list its certificates.
pub(crate) fn certificates(failure: ApiError, grantee: &Grantee) -> Error {
    let failure = match not_the_service(failure, grantee) {
        Ok(error) => return error,
        Err(failure) => failure,
    };
    let error = |reason| {
        error!(
            reason,
            "cannot list the certificates in Secrets Manager: {failure}"
        )
    };
    match failure.status() {
        Some(401) => error(Reason::SecretForbidden)
            .hint("a context-based restriction or an IP allowlist may be the cause"),
        Some(403) => grantee.read_group(error(Reason::SecretForbidden), "SECRET_GROUP_ID"),
        Some(404) => error(Reason::SecretsManagerRefused)
            .hint("check that SECRETS_MANAGER_URL is an instance of the plan Standard or Trial"),
        _ if failure.temporary() => error(Reason::SecretsManagerUnavailable),
        _ => error(Reason::SecretsManagerRefused),
    }
}

/// Why the TLS secret could not be read or replaced (`verb`).
pub(crate) fn tls_secret(
    verb: &str,
    failure: ApiError,
    place: &TlsSecretRef,
    grantee: &Grantee,
) -> Error {
    let name = &place.name;
    let project_id = &place.project.id;
    if failure.status() == Some(404) {
        return error!(
            Reason::TlsSecretMissing,
            "project {project_id} has no TLS secret {name}: {failure}"
        )
        .hint("create it once, with any certificate")
        .command(format!(
            "ibmcloud ce secret create --format tls --name {name} --cert-chain-file CHAIN --private-key-file KEY"
        ));
    }
    let what = format!("cannot {verb} TLS secret {name} of project {project_id}");
    code_engine(&what, failure, project_id, grantee)
}

/// Why Code Engine did not do something (`what`) in a project.
pub(crate) fn code_engine(
    what: &str,
    failure: ApiError,
    project: &Uuid,
    grantee: &Grantee,
) -> Error {
    let failure = match not_the_service(failure, grantee) {
        Ok(error) => return error,
        Err(failure) => failure,
    };
    match failure.status() {
        Some(401) => error!(Reason::CodeEngineForbidden, "{what}: {failure}")
            .hint("a context-based restriction may be the cause"),
        Some(403) => {
            let error = error!(Reason::CodeEngineForbidden, "{what}: {failure}");
            grantee.write_project(error, project)
        }
        _ if failure.temporary() => error!(Reason::CodeEngineUnavailable, "{what}: {failure}"),
        _ => error!(Reason::CodeEngineRefused, "{what}: {failure}"),
    }
}

/// Why Code Engine did not list something of a project.
pub(crate) fn list(what: &str, failure: ApiError, project: &Uuid, grantee: &Grantee) -> Error {
    let what = format!("cannot list the {what} of project {project}");
    code_engine(&what, failure, project, grantee)
}

/// Why there is no token.
pub(crate) fn no_token(failure: TokenError, grantee: &Grantee) -> Error {
    let error = |reason| error!(reason, "{failure}");
    match &failure {
        TokenError::FileMissing(_) => error(Reason::TokenMissing)
            .hint("enable trusted profiles for the job")
            .command(grantee.enable_token()),
        TokenError::FileUnreadable(..) => {
            error(Reason::TokenMissing).hint("it must be readable by the container's user")
        }
        TokenError::FileEmpty(_) => error(Reason::TokenMissing),
        TokenError::ProfileRefused { claims, .. } => error(Reason::ProfileRefused)
            .hint("link the profile to this job of this project")
            .command(grantee.link(
                claims.project_name.as_deref(),
                claims.component_name.as_deref(),
            )),
        TokenError::ApiKeyRefused(_) => error(Reason::IamRefused)
            .hint("IBMCLOUD_API_KEY takes the key itself; ApiKey-... is the ID of a key"),
        TokenError::Refused(_) => error(Reason::IamRefused),
        TokenError::Unavailable(_) => error(Reason::IamUnavailable),
    }
}

/// Why no token could be had in advance.
pub(crate) fn token(failure: ApiError, grantee: &Grantee) -> Error {
    not_the_service(failure, grantee)
        .unwrap_or_else(|failure| error!(Reason::IamRefused, "{failure}"))
}

/// The error of a call that was not the service's failure: the run is over, or there is no token.
fn not_the_service(failure: ApiError, grantee: &Grantee) -> Result<Error, ApiError> {
    match failure {
        ApiError::Stopped { error, .. } => Ok(error),
        ApiError::NoToken(failure) => Ok(no_token(failure, grantee)),
        other => Err(other),
    }
}

/// A word for a shell: names may contain spaces, and come from outside.
pub(crate) fn quoted(word: &str) -> String {
    let word = sanitized(word);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
    if word.bytes().all(plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
