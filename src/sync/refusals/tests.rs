//! Failed calls, and what is said about them, as truth tables.

use std::path::PathBuf;

use super::*;
use crate::ibm::api_error::{Claims, Fate};
use crate::ibm::ids::Region;
use crate::sync::samples::task;

const INSTANCE: &str = "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31";

/// With a trusted profile, and with everything that can be known.
fn grantee() -> Grantee {
    Grantee {
        profile: Some("Profile 1".to_owned()),
        instance: Some(Uuid::parse(INSTANCE).unwrap()),
        secrets_manager: "https://sm.example".to_owned(),
        region: Some(Region::parse("eu-de").unwrap()),
        job: Some("sync".to_owned()),
    }
}

/// With an API key, and nothing else.
fn unknown() -> Grantee {
    Grantee {
        profile: None,
        instance: None,
        region: None,
        job: None,
        ..grantee()
    }
}

fn status(status: u16) -> ApiError {
    ApiError::Status {
        status,
        code: None,
        text: format!("{status} as answered"),
        retry_after: None,
    }
}

fn unanswered(temporary: bool) -> ApiError {
    ApiError::Unanswered {
        cause: "no answer".to_owned(),
        unreachable: true,
        temporary,
    }
}

fn unexpected() -> ApiError {
    ApiError::Unexpected(anyhow::anyhow!("not JSON"))
}

type Call = fn(ApiError, &Grantee) -> Error;
type Failure = fn() -> ApiError;

fn current(failure: ApiError, grantee: &Grantee) -> Error {
    secret(failure, &task().secret, Version::Current, grantee)
}

fn previous(failure: ApiError, grantee: &Grantee) -> Error {
    secret(failure, &task().secret, Version::Previous, grantee)
}

fn write(failure: ApiError, grantee: &Grantee) -> Error {
    tls_secret("replace", failure, &task().tls_secret, grantee)
}

fn mappings(failure: ApiError, grantee: &Grantee) -> Error {
    let project = task().tls_secret.project.id;
    code_engine("cannot list the mappings", failure, &project, grantee)
}

#[test]
fn the_reason_of_each_failure() {
    use Reason::{
        CodeEngineForbidden as CeForbidden, CodeEngineRefused as CeRefused,
        CodeEngineUnavailable as CeDown, IamRefused, SecretForbidden as SmForbidden, SecretMissing,
        SecretsManagerRefused as SmRefused, SecretsManagerUnavailable as SmDown, TlsSecretMissing,
    };
    let secrets_manager = [SmRefused, SmRefused, CeRefused, CeRefused];
    let down = [SmDown, SmDown, CeDown, CeDown];
    let forbidden = [SmForbidden, SmForbidden, CeForbidden, CeForbidden];
    let missing = [SecretMissing, SmRefused, TlsSecretMissing, CeRefused];
    let failures: [(Failure, [Reason; 4]); 13] = [
        (|| status(400), secrets_manager),
        (|| status(401), forbidden),
        (|| status(403), forbidden),
        (|| status(404), missing),
        (|| status(408), down),
        (|| status(409), secrets_manager),
        (|| status(429), down),
        (|| status(500), down),
        (|| status(501), secrets_manager),
        (|| status(503), down),
        (|| unanswered(true), down),
        (|| unanswered(false), secrets_manager),
        (unexpected, secrets_manager),
    ];
    for (failure, [secret, list, tls_secret, project]) in failures {
        let calls: [(Call, Reason); 6] = [
            (current, secret),
            (previous, secret),
            (certificates, list),
            (write, tls_secret),
            (mappings, project),
            (token, IamRefused),
        ];
        for (call, reason) in calls {
            let told = failure().to_string();
            for grantee in [grantee(), unknown()] {
                let error = call(failure(), &grantee);
                assert_eq!(error.reason, reason, "{error}");
                assert!(error.to_string().contains(&told), "{error}");
            }
        }
    }
}

#[test]
fn what_is_not_the_failure_of_the_service_keeps_its_reason() {
    let calls: [Call; 6] = [current, previous, certificates, write, mappings, token];
    for call in calls {
        let stopped = ApiError::Stopped {
            error: error!(Reason::Interrupted, "interrupted"),
            fate: Fate::Rejected,
        };
        let error = call(stopped, &grantee());
        assert_eq!(error.reason, Reason::Interrupted);
        assert_eq!(error.to_string(), "interrupted");
        let refused = ApiError::NoToken(TokenError::Refused("no".to_owned()));
        assert_eq!(call(refused, &grantee()).reason, Reason::IamRefused);
    }
}

#[test]
fn what_is_said_and_the_command_that_fixes_it() {
    const POLICY: &str = "ibmcloud iam trusted-profile-policy-create 'Profile 1' --roles";
    let reader = format!(
        "{POLICY} SecretsReader --service-name secrets-manager --service-instance {INSTANCE} \
         --resource-type secret-group --resource"
    );
    let of_secret = format!(
        "{reader} \"$(ibmcloud secrets-manager secret-metadata --service-url https://sm.example \
         --id 2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852 --output json | jq -r .secret_group_id)\""
    );
    let of_group = format!("{reader} SECRET_GROUP_ID");
    let writer = format!(
        "{POLICY} Writer --service-name codeengine --service-instance 5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"
    );
    let create = "ibmcloud ce secret create --format tls --name shop-tls --cert-chain-file CHAIN --private-key-file KEY";
    let restricted = "; a context-based restriction";
    let calls: [(Call, u16, &str, &str, Option<&str>); 15] = [
        (
            current,
            404,
            "Secrets Manager has no secret 2f6c8e90",
            "; check the ID, and that SECRETS_MANAGER_URL",
            None,
        ),
        (
            previous,
            404,
            "secret 2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852 has no previous version",
            "; only the version before the last rotation",
            None,
        ),
        (
            current,
            401,
            "Secrets Manager does not accept our token for secret 2f6c8e90",
            restricted,
            None,
        ),
        (
            current,
            403,
            "not allowed to read secret 2f6c8e90",
            "; grant the profile the role SecretsReader",
            Some(&of_secret),
        ),
        (current, 503, "cannot read secret 2f6c8e90", "", None),
        (current, 400, "cannot read secret 2f6c8e90", "", None),
        (certificates, 401, "cannot list", restricted, None),
        (
            certificates,
            403,
            "cannot list the certificates in Secrets Manager",
            "; grant the profile the role SecretsReader",
            Some(&of_group),
        ),
        (
            certificates,
            404,
            "cannot list",
            "; check that SECRETS_MANAGER_URL is an instance of the plan",
            None,
        ),
        (
            write,
            404,
            "project 5f2a8c61-47de-4b90-a3f8-19c6e07d25b4 has no TLS secret shop-tls",
            "; create it once",
            Some(create),
        ),
        (
            write,
            401,
            "cannot replace TLS secret shop-tls of project 5f2a8c61",
            restricted,
            None,
        ),
        (
            write,
            403,
            "cannot replace TLS secret shop-tls",
            "; grant the profile the role Writer",
            Some(&writer),
        ),
        (write, 503, "cannot replace TLS secret shop-tls", "", None),
        (
            mappings,
            403,
            "cannot list the mappings: ",
            "; grant the profile the role Writer",
            Some(&writer),
        ),
        (mappings, 404, "cannot list the mappings: ", "", None),
    ];
    for (call, code, begin, hint, command) in calls {
        let error = call(status(code), &grantee());
        let text = error.to_string();
        assert!(text.starts_with(begin), "{text}");
        assert!(
            text.contains(&format!("{code} as answered{hint}")),
            "{text}"
        );
        assert_eq!(error.command.as_deref(), command, "{text}");
    }
    // an API key has an owner, whom no command of ours can know
    let reader = "the owner of the API key needs the role SecretsReader on the secret's group of instance INSTANCE_ID";
    let writer = "the owner of the API key needs the role Writer on project 5f2a8c61-47de-4b90-a3f8-19c6e07d25b4";
    let calls: [(Call, &str); 3] = [(current, reader), (certificates, reader), (write, writer)];
    for (call, hint) in calls {
        let error = call(status(403), &unknown());
        assert!(error.message.ends_with(&format!("; {hint}")), "{error}");
        assert_eq!(error.command, None);
    }
}

#[test]
fn why_there_is_no_token() {
    let file = PathBuf::from("/token");
    let claims = Claims {
        project_name: Some("my project".to_owned()),
        component_type: Some("job".to_owned()),
        component_name: Some("sync-2".to_owned()),
    };
    let refused = |claims| TokenError::ProfileRefused {
        profile: "profile_id Profile-1".to_owned(),
        answer: "400".to_owned(),
        claims,
    };
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let link = |project: &str, job: &str| {
        format!(
            "ibmcloud iam trusted-profile-link-create 'Profile 1' --name {job} --cr-type CE \
             --link-crn \"$(ibmcloud resource service-instance {project} --location eu-de --crn -q)\" \
             --link-component-type job --link-component-name {job}"
        )
    };
    for (failure, reason, hint, command) in [
        (
            TokenError::FileMissing(vec![file.clone()]),
            Reason::TokenMissing,
            "enable trusted profiles",
            Some("ibmcloud ce job update --name sync --trusted-profiles-enabled=true".to_owned()),
        ),
        (
            TokenError::FileUnreadable(file.clone(), denied),
            Reason::TokenMissing,
            "it must be readable",
            None,
        ),
        (TokenError::FileEmpty(file), Reason::TokenMissing, "", None),
        (
            refused(claims),
            Reason::ProfileRefused,
            "link the profile",
            Some(link("'my project'", "sync-2")),
        ),
        (
            refused(Claims::default()),
            Reason::ProfileRefused,
            "link the profile",
            Some(link("PROJECT", "sync")),
        ),
        (
            TokenError::ApiKeyRefused("no".to_owned()),
            Reason::IamRefused,
            "IBMCLOUD_API_KEY takes the key itself",
            None,
        ),
        (
            TokenError::Refused("no".to_owned()),
            Reason::IamRefused,
            "",
            None,
        ),
        (
            TokenError::Unavailable("no".to_owned()),
            Reason::IamUnavailable,
            "",
            None,
        ),
    ] {
        let text = failure.to_string();
        let error = no_token(failure, &grantee());
        assert_eq!(error.reason, reason);
        let found = error.message.strip_prefix(&text).unwrap();
        let found = found.trim_start_matches("; ");
        assert!(found.starts_with(hint), "{found}");
        assert_eq!(found.is_empty(), hint.is_empty(), "{found}");
        assert_eq!(error.command, command);
    }
}

#[test]
fn what_is_not_known_is_a_word_in_capitals() {
    assert_eq!(
        unknown().enable_token(),
        "ibmcloud ce job update --name JOB --trusted-profiles-enabled=true"
    );
    assert_eq!(
        unknown().link(None, None),
        "ibmcloud iam trusted-profile-link-create PROFILE --name JOB --cr-type CE \
         --link-crn \"$(ibmcloud resource service-instance PROJECT --location REGION --crn -q)\" \
         --link-component-type job --link-component-name JOB"
    );
    assert_eq!(
        unknown().run("--env FORCE=older"),
        "ibmcloud ce jobrun submit --job JOB --env FORCE=older"
    );
    assert_eq!(
        grantee().run("--env FORCE=older"),
        "ibmcloud ce jobrun submit --job sync --env FORCE=older"
    );
}

#[test]
fn a_word_of_a_command_is_one_word_for_a_shell() {
    for (word, expected) in [
        ("crn:v1:a/b-c_d.9", "crn:v1:a/b-c_d.9"),
        ("my job", "'my job'"),
        ("it's", "'it'\\''s'"),
        ("$(id)", "'$(id)'"),
        ("a;b", "'a;b'"),
        ("a\nb", "'a\\u{a}b'"),
        ("", "'\"\"'"),
    ] {
        assert_eq!(quoted(word), expected);
    }
}
