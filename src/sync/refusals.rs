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

/// Why there is no token.
pub(crate) fn no_token(failure: TokenError, grantee: &Grantee) -> Error {
    let error = |reason| Error::new(reason, anyhow::anyhow!("{failure}"));
    match &failure {
        TokenError::FileMissing(_) => error(Reason::TokenFileMissing)
            .hint("enable trusted profiles for the job")
            .command(grantee.enable_token()),
        TokenError::FileUnreadable(..) => {
            error(Reason::TokenFileUnreadable).hint("it must be readable by the container's user")
        }
        TokenError::FileEmpty(_) => error(Reason::TokenFileUnreadable),
        TokenError::ProfileRefused { claims, .. } => error(Reason::ProfileRefused)
            .hint("link the profile to this job of this project")
            .command(grantee.link(
                claims.project_name.as_deref(),
                claims.component_name.as_deref(),
            )),
        TokenError::ApiKeyRefused(_) => error(Reason::ApiKeyRefused)
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
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::ibm::api_error::Claims;
    use crate::ibm::code_engine::Project;
    use crate::ibm::ids::{Region, TlsSecretName};

    const ID: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";

    fn id() -> Uuid {
        Uuid::parse(ID).unwrap()
    }

    fn grantee(profile: Option<&str>) -> Grantee {
        Grantee {
            profile: profile.map(str::to_owned),
            instance: Some(id()),
            secrets_manager: "https://sm.example".to_owned(),
            region: Some(Region::parse("eu-de").unwrap()),
            job: Some("sync".to_owned()),
        }
    }

    fn answered(status: u16) -> ApiError {
        ApiError::Status {
            status,
            code: None,
            text: format!("host answered {status}"),
            retry_after: None,
        }
    }

    fn told(error: &Error) -> (&'static str, Option<&str>, Option<&str>) {
        let Error { hint, command, .. } = error;
        (error.reason.word(), hint.as_deref(), command.as_deref())
    }

    /// What the status of an answer means to each of the three calls: reading a secret, listing the
    /// certificates, and whatever is asked of Code Engine.
    #[test]
    fn each_status_has_its_reason() {
        const FORBIDDEN: [&str; 3] = [
            "secret-forbidden",
            "secret-forbidden",
            "code-engine-forbidden",
        ];
        const REFUSED: [&str; 3] = [
            "secrets-manager-refused",
            "secrets-manager-refused",
            "code-engine-refused",
        ];
        const UNAVAILABLE: [&str; 3] = [
            "secrets-manager-unavailable",
            "secrets-manager-unavailable",
            "code-engine-unavailable",
        ];
        let missing = ["secret-missing", REFUSED[1], REFUSED[2]];
        for (status, reasons) in [
            (400, REFUSED),
            (401, FORBIDDEN),
            (403, FORBIDDEN),
            (404, missing),
            (429, UNAVAILABLE),
            (500, UNAVAILABLE),
            (501, REFUSED),
            (503, UNAVAILABLE),
        ] {
            let grantee = grantee(Some("Profile-1"));
            let errors = [
                secret(answered(status), &id(), Version::Current, &grantee),
                certificates(answered(status), &grantee),
                code_engine("cannot do it", answered(status), &id(), &grantee),
            ];
            assert_eq!(errors.each_ref().map(|e| e.reason.word()), reasons);
            for error in errors {
                let message = error.to_string();
                assert!(message.contains(&format!("answered {status}")), "{message}");
                let is_for_people = [401, 403].contains(&status);
                assert!(error.hint.is_some() || !is_for_people, "{message}");
            }
        }
    }

    #[test]
    fn a_profile_is_granted_by_a_command_and_an_api_key_by_its_owner() {
        let forbidden = |grantee: &Grantee| {
            [
                secret(answered(403), &id(), Version::Current, grantee),
                certificates(answered(403), grantee),
                code_engine("cannot do it", answered(403), &id(), grantee),
            ]
        };
        let by_profile = forbidden(&grantee(Some("Profile-1")));
        let group = format!(
            "\"$(ibmcloud secrets-manager secret-metadata --service-url https://sm.example --id {ID} --output json | jq -r .secret_group_id)\""
        );
        let create = "ibmcloud iam trusted-profile-policy-create Profile-1 --roles";
        let reader = format!(
            "{create} SecretsReader --service-name secrets-manager --service-instance {ID} --resource-type secret-group --resource"
        );
        assert_eq!(
            by_profile.each_ref().map(|e| e.command.clone().unwrap()),
            [
                format!("{reader} {group}"),
                format!("{reader} SECRET_GROUP_ID"),
                format!("{create} Writer --service-name codeengine --service-instance {ID}"),
            ]
        );
        let by_key = forbidden(&grantee(None));
        let on_group = format!(
            "the owner of the API key needs the role SecretsReader on the secret's group of instance {ID}"
        );
        assert_eq!(
            by_key.each_ref().map(told),
            [
                ("secret-forbidden", Some(&*on_group), None),
                ("secret-forbidden", Some(&*on_group), None),
                (
                    "code-engine-forbidden",
                    Some(&*format!(
                        "the owner of the API key needs the role Writer on project {ID}"
                    )),
                    None
                ),
            ]
        );
    }

    #[test]
    fn each_failure_to_get_a_token_has_its_reason_and_next_step() {
        let file = || PathBuf::from("/run/token");
        let refused = || TokenError::ProfileRefused {
            profile: "profile_id Profile-1".to_owned(),
            answer: "BXNIM0398E".to_owned(),
            claims: Claims {
                project_name: Some("team's shop".to_owned()),
                component_type: Some("job".to_owned()),
                component_name: None,
            },
        };
        let unreadable = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (failure, message, reason, next) in [
            (
                TokenError::FileMissing(vec![file(), file()]),
                "there is no compute resource token (looked for /run/token, /run/token)",
                "token-file-missing",
                Some("ibmcloud ce job update --name sync --trusted-profiles-enabled=true"),
            ),
            (
                TokenError::FileUnreadable(file(), unreadable()),
                "the compute resource token in /run/token cannot be read: permission denied",
                "token-file-unreadable",
                None,
            ),
            (
                TokenError::FileEmpty(file()),
                "the compute resource token in /run/token is empty",
                "token-file-unreadable",
                None,
            ),
            (
                refused(),
                "this job may not assume the trusted profile (profile_id Profile-1), or there is no such profile: BXNIM0398E; the compute resource token was issued to project team's shop, component type job, component unknown",
                "profile-refused",
                Some(
                    r#"ibmcloud iam trusted-profile-link-create Profile-1 --name sync --cr-type CE --link-crn "$(ibmcloud resource service-instance 'team'\''s shop' --location eu-de --crn -q)" --link-component-type job --link-component-name sync"#,
                ),
            ),
            (
                TokenError::ApiKeyRefused("BXNIM0415E".to_owned()),
                "IAM does not know the API key: BXNIM0415E",
                "api-key-refused",
                None,
            ),
            (
                TokenError::Refused("answered 400".to_owned()),
                "no access token: answered 400",
                "iam-refused",
                None,
            ),
            (
                TokenError::Unavailable("answered 503".to_owned()),
                "no access token: answered 503",
                "iam-unavailable",
                None,
            ),
        ] {
            assert_eq!(failure.to_string(), message);
            // whatever was called: without a token it was not asked
            let failure = ApiError::NoToken(failure);
            assert_eq!(failure.to_string(), message);
            let error = certificates(failure, &grantee(Some("Profile-1")));
            let (word, _, command) = told(&error);
            assert_eq!((word, command), (reason, next), "{message}");
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }

    #[test]
    fn the_end_of_the_run_is_the_failure_of_no_service() {
        let stopped = || ApiError::not_sent(error!(Reason::Terminated, "interrupted by SIGTERM"));
        let grantee = grantee(None);
        let reference = TlsSecretRef {
            project: Project {
                base: "https://ce.example".to_owned(),
                id: id(),
            },
            name: TlsSecretName::parse("shop-tls").unwrap(),
        };
        for error in [
            secret(stopped(), &id(), Version::Previous, &grantee),
            certificates(stopped(), &grantee),
            tls_secret("read", stopped(), &reference, &grantee),
            code_engine("cannot do it", stopped(), &id(), &grantee),
            token(stopped(), &grantee),
        ] {
            assert_eq!(told(&error), ("terminated", None, None));
            assert_eq!(error.to_string(), "interrupted by SIGTERM");
        }
        assert_eq!(stopped().to_string(), "interrupted by SIGTERM");
    }

    /// What the job does not know is a word in capitals.
    #[test]
    fn a_command_says_what_has_to_be_filled_in() {
        let unknown = Grantee {
            profile: Some("my profile".to_owned()),
            instance: None,
            region: None,
            job: None,
            ..grantee(None)
        };
        assert_eq!(
            unknown.link(None, None),
            r#"ibmcloud iam trusted-profile-link-create 'my profile' --name JOB --cr-type CE --link-crn "$(ibmcloud resource service-instance PROJECT --location REGION --crn -q)" --link-component-type job --link-component-name JOB"#
        );
        let error = certificates(answered(403), &unknown);
        let command = error.command.unwrap();
        assert!(
            command.contains("--service-instance INSTANCE_ID "),
            "{command}"
        );
        assert_eq!(
            unknown.run("--env A=b"),
            "ibmcloud ce jobrun submit --job JOB --env A=b"
        );
    }
}
