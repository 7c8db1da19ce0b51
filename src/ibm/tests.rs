//! Failed calls, and what is said about them, as truth tables.

use crate::error::{Error, Reason};
use crate::ibm::api_error::ApiError;
use crate::ibm::client::unanswered;
use crate::ibm::grantee::{Credentials, Grantee};
use crate::ibm::ids::{Region, Uuid};
use crate::ibm::secrets_manager::Version;
use crate::secret::Secret;
use crate::sync::Run;
use crate::sync::samples::{task, without_calls};

const INSTANCE: &str = "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31";

/// With a trusted profile, and with everything that can be known.
fn grantee() -> Grantee {
    Grantee {
        credentials: Credentials::Profile {
            field: "profile_id",
            profile: "Profile 1".to_owned(),
            token_files: Vec::new(),
        },
        instance: Some(Uuid::parse(INSTANCE).unwrap()),
        secrets_manager: "https://sm.example".to_owned(),
        region: Some(Region::parse("eu-de").unwrap()),
        job: Some("sync".to_owned()),
    }
}

/// With an API key, and nothing else.
fn unknown() -> Grantee {
    Grantee {
        credentials: Credentials::ApiKey(Secret::new("key".to_owned())),
        instance: None,
        region: None,
        job: None,
        ..grantee()
    }
}

fn status(status: u16) -> ApiError {
    ApiError::answered(status, format!("{status} as answered"))
}

fn not_answered(temporary: bool) -> ApiError {
    ApiError { temporary, unreachable: true, ..ApiError::unexpected("no answer") }
}

type Call = fn(&Run<'_>, ApiError) -> Error;

fn current(run: &Run<'_>, failure: ApiError) -> Error {
    run.secrets_manager.refused(failure, &task().secret, Version::Current)
}

fn previous(run: &Run<'_>, failure: ApiError) -> Error {
    run.secrets_manager.refused(failure, &task().secret, Version::Previous)
}

fn certificates(run: &Run<'_>, failure: ApiError) -> Error {
    run.secrets_manager.unlisted(failure)
}

fn write(run: &Run<'_>, failure: ApiError) -> Error {
    run.code_engine.refused("replace", failure, &task().target.tls_secret)
}

fn mappings(run: &Run<'_>, failure: ApiError) -> Error {
    run.code_engine.failed("cannot list the mappings", failure, &task().target.tls_secret.project)
}

fn explained(grantee: Grantee, call: Call, failure: ApiError) -> Error {
    without_calls(|config| config.grantee = grantee, |run| call(run, failure))
}

#[test]
fn the_reason_of_each_failure() {
    use Reason::{
        CodeEngineForbidden as CeForbidden, CodeEngineRefused as CeRefused,
        CodeEngineUnavailable as CeDown, SecretForbidden as SmForbidden, SecretMissing,
        SecretsManagerRefused as SmRefused, SecretsManagerUnavailable as SmDown, TlsSecretMissing,
    };
    let refused = [SmRefused, SmRefused, CeRefused, CeRefused];
    let down = [SmDown, SmDown, CeDown, CeDown];
    let forbidden = [SmForbidden, SmForbidden, CeForbidden, CeForbidden];
    let missing = [SecretMissing, SmRefused, TlsSecretMissing, CeRefused];
    type Failure = fn() -> ApiError;
    let failures: [(Failure, [Reason; 4]); 13] = [
        (|| status(400), refused),
        (|| status(401), forbidden),
        (|| status(403), forbidden),
        (|| status(404), missing),
        (|| status(408), down),
        (|| status(409), refused),
        (|| status(429), down),
        (|| status(500), down),
        (|| status(501), refused),
        (|| status(503), down),
        (|| not_answered(true), down),
        (|| not_answered(false), refused),
        (|| ApiError::unexpected("not JSON"), refused),
    ];
    for (failure, [secret, list, tls_secret, project]) in failures {
        let calls: [(Call, Reason); 5] = [
            (current, secret),
            (previous, secret),
            (certificates, list),
            (write, tls_secret),
            (mappings, project),
        ];
        for (call, reason) in calls {
            let told = failure().to_string();
            for grantee in [grantee(), unknown()] {
                let error = explained(grantee, call, failure());
                assert_eq!(error.reason, reason, "{error}");
                assert!(error.to_string().contains(&told), "{error}");
            }
        }
    }
}

#[test]
fn without_a_token_the_reason_is_iams() {
    let calls: [Call; 5] = [current, previous, certificates, write, mappings];
    for call in calls {
        let no_token = ApiError::from(Reason::IamRefused.error("no"));
        let error = explained(grantee(), call, no_token);
        assert_eq!((error.reason, error.message.as_str()), (Reason::IamRefused, "no"));
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
        "{POLICY} \"$(ibmcloud iam roles --service codeengine --output JSON | grep -q SmTlsSecretUpdater \
         && echo SmTlsSecretUpdater || echo Writer)\" --service-name codeengine \
         --service-instance 5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"
    );
    let list = "ibmcloud secrets-manager secrets --service-url https://sm.example \
                --secret-types public_cert,imported_cert,private_cert";
    let create = "ibmcloud ce secret create --format tls --name shop-tls --cert-chain-file CHAIN --private-key-file KEY";
    let no_secret = "cannot read secret 2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";
    let no_list = "cannot list the certificates in Secrets Manager";
    let no_tls_secret = "cannot replace TLS secret shop-tls of project 5f2a8c61";
    let restricted = "; a context-based restriction";
    let calls: [(Call, u16, &str, &str, Option<&str>); 15] = [
        (current, 404, no_secret, "; check the ID", Some(list)),
        (previous, 404, no_secret, "; there is no previous version", None),
        (current, 401, no_secret, restricted, None),
        (current, 403, no_secret, "; grant the profile the role SecretsReader", Some(&of_secret)),
        (current, 503, no_secret, "", None),
        (current, 400, no_secret, "", None),
        (certificates, 401, no_list, restricted, None),
        (certificates, 403, no_list, "; grant the profile the role SecretsReader", Some(&of_group)),
        (certificates, 404, no_list, "; check that SECRETS_MANAGER_URL", None),
        (
            write,
            404,
            "project 5f2a8c61-47de-4b90-a3f8-19c6e07d25b4 has no TLS secret shop-tls",
            "; create it once",
            Some(create),
        ),
        (write, 401, no_tls_secret, restricted, None),
        (
            write,
            403,
            no_tls_secret,
            "; grant the profile the role SmTlsSecretUpdater",
            Some(&writer),
        ),
        (write, 503, no_tls_secret, "", None),
        (
            mappings,
            403,
            "cannot list the mappings: ",
            "; grant the profile the role SmTlsSecretUpdater",
            Some(&writer),
        ),
        (mappings, 404, "cannot list the mappings: ", "", None),
    ];
    for (call, code, begin, hint, command) in calls {
        let error = explained(grantee(), call, status(code));
        let text = error.to_string();
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains(&format!("{code} as answered{hint}")), "{text}");
        assert_eq!(error.command.as_deref(), command, "{text}");
    }
    // an API key has an owner, whom no command of ours can know
    let calls: [(Call, &str); 3] = [
        (current, "the role SecretsReader on the secret group"),
        (certificates, "the role SecretsReader on the secret group"),
        (write, "the role SmTlsSecretUpdater (setup makes it) or Writer on the project"),
    ];
    for (call, role) in calls {
        let error = explained(unknown(), call, status(403));
        let hint = format!("; the owner of the API key needs {role}");
        assert!(error.message.ends_with(&hint), "{error}");
        assert_eq!(error.command, None);
    }
}

#[test]
fn a_service_that_did_not_answer_may_be_the_wrong_one() {
    use rustls::{CertificateError, Error::InvalidCertificate};
    let no_tls = |cause| ureq::Error::Rustls(InvalidCertificate(cause));
    let in_ibms_network = "a private endpoint exists only inside IBM's network";
    for (url, failure, cause, hint) in [
        (
            "https://x.private.eu-de.example/api/v2",
            ureq::Error::HostNotFound,
            "the name of https://x.private.eu-de.example cannot be resolved",
            in_ibms_network,
        ),
        (
            "https://private.iam.example/identity/token",
            ureq::Error::HostNotFound,
            "the name of https://private.iam.example cannot be resolved",
            in_ibms_network,
        ),
        (
            "https://x.eu-de.example/private.x",
            ureq::Error::HostNotFound,
            "the name of https://x.eu-de.example cannot be resolved",
            "",
        ),
        (
            "https://private.iam.example",
            ureq::Error::ConnectionFailed,
            "https://private.iam.example cannot be reached",
            "",
        ),
        (
            "https://x/",
            no_tls(CertificateError::UnknownIssuer),
            "no TLS connection to https://x: invalid peer certificate: UnknownIssuer",
            "its certificate comes from a CA that the job does not know: set SSL_CERT_FILE to a file with its root, if it is to be trusted",
        ),
        (
            "https://x/",
            no_tls(CertificateError::Expired),
            "no TLS connection to https://x: invalid peer certificate: Expired",
            "",
        ),
    ] {
        let error = explained(grantee(), write, unanswered(url, &failure));
        let end = match hint {
            "" => cause.to_owned(),
            hint => format!("{cause}; {hint}"),
        };
        assert!(error.message.ends_with(&format!(": {end}")), "{error}");
    }
}

#[test]
fn what_is_not_known_is_a_word_in_capitals() {
    let link = |profile: &str, project: &str, region: &str, job: &str| {
        format!(
            "ibmcloud iam trusted-profile-link-create {profile} --name {job} --cr-type CE \
             --link-crn \"$(ibmcloud resource service-instance {project} --location {region} --crn 2>/dev/null | grep ':codeengine:')\" \
             --link-component-type job --link-component-name {job}"
        )
    };
    for (command, expected) in [
        (
            unknown().enable_token(),
            "ibmcloud ce job update --name JOB --trusted-profiles-enabled=true",
        ),
        (
            grantee().enable_token(),
            "ibmcloud ce job update --name sync --trusted-profiles-enabled=true",
        ),
        (
            unknown().link(
                "crn:v1:bluemix:public:iam-identity::a/1::profile:Profile-2",
                None,
                None,
            ),
            link("Profile-2", "PROJECT", "REGION", "JOB").as_str(),
        ),
        (
            grantee().link("Profile 1", None, None),
            link("'Profile 1'", "PROJECT", "eu-de", "sync").as_str(),
        ),
        (
            grantee().link("Profile 1", Some("my project"), Some("sync-2")),
            link("'Profile 1'", "'my project'", "eu-de", "sync-2").as_str(),
        ),
        (
            unknown().run("--env FORCE=older"),
            "ibmcloud ce jobrun submit --job JOB --env FORCE=older --env OUTPUT=text",
        ),
    ] {
        assert_eq!(command, expected);
    }
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
        let job = Some(word.to_owned());
        let command = Grantee { job, ..grantee() }.run("");
        assert!(
            command.starts_with(&format!("ibmcloud ce jobrun submit --job {expected} ")),
            "{command}"
        );
    }
}
