//! What the variables mean together, as truth tables: the environment, and what it comes to.

use std::collections::BTreeMap;

use crate::config::{Config, Target};
use crate::ibm::iam::Credentials;

const INSTANCE: &str = "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31";
const OTHER: &str = "11111111-1111-4111-8111-111111111111";
const SECRET: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";
const PROJECT: &str = "379e3b07-dbfb-4c9f-bf4e-bf059aba40a4";
const SECOND: &str = "22222222-2222-4222-8222-222222222222";

/// Variables in a line, as a shell would take them: `NAME=value NAME=value`.
fn environment(texts: &[&str]) -> BTreeMap<String, String> {
    texts
        .iter()
        .flat_map(|text| text.split_whitespace())
        .map(|setting| setting.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What every run needs: the least that is no problem. A variable may be set again, or to nothing.
const LEAST: &str = "SECRETS_MANAGER_URL=https://sm.example.com IAM_PROFILE_ID=Profile-1
    TLS_SECRET_NAME=shop-tls CE_REGION=eu-de PROJECT_ID=379e3b07-dbfb-4c9f-bf4e-bf059aba40a4";

/// One side of what the environment comes to, or all that is wrong with it.
fn come_to(settings: &str, side: impl Fn(&Config) -> String) -> String {
    match Config::parse(&environment(&[LEAST, settings])) {
        Ok(config) => side(&config),
        Err(error) => error
            .message
            .trim_start_matches("invalid configuration: ")
            .trim_end_matches("; sm-tls-sync --help explains each variable")
            .to_owned(),
    }
}

/// Each row: settings, and what they come to.
#[track_caller]
fn table(side: impl Fn(&Config) -> String, rows: &[(&str, &str)]) {
    for (settings, expected) in rows {
        assert_eq!(&come_to(settings, &side), expected, "{settings}");
    }
}

fn shown<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

#[test]
fn the_mode() {
    let both = "CHECK, DISCOVER: set only one of these";
    table(
        |config| format!("{:?}", config.mode),
        &[
            ("", "Run"),
            ("CHECK=true", "Check"),
            ("DISCOVER=true", "Discover"),
            ("CHECK=true DISCOVER=false", "Check"),
            ("CHECK=false DISCOVER=true", "Discover"),
            ("CHECK=false DISCOVER=false", "Run"),
            ("CHECK=true DISCOVER=true", both),
        ],
    );
}

#[test]
fn the_instance_is_the_one_set_or_the_one_of_the_url() {
    let url = |instance| {
        format!(
            "SECRETS_MANAGER_URL=https://{instance}.private.eu-de.secrets-manager.appdomain.cloud"
        )
    };
    let id = |instance| format!("SECRETS_MANAGER_INSTANCE_ID={instance}");
    let both = |set, host| format!("{} {}", id(set), url(host));
    let contradiction = format!(
        "SECRETS_MANAGER_INSTANCE_ID: {OTHER} is not the instance of SECRETS_MANAGER_URL, {INSTANCE}"
    );
    table(
        |config| {
            // a missing permission is granted in the same one
            assert_eq!(config.grantee.instance, config.instance);
            shown(config.instance.as_ref())
        },
        &[
            ("", "none"),
            (&id(OTHER), OTHER),
            (&url(INSTANCE), INSTANCE),
            (&both(INSTANCE, INSTANCE), INSTANCE),
            (&both(OTHER, INSTANCE), &contradiction),
        ],
    );
    let crn = |instance| {
        format!(
            "SECRET_ID=crn:v1:bluemix:public:secrets-manager:eu-de:a/4a1f7c0de2b84935a6c07d51b9e83f24:{instance}:secret:{SECRET}"
        )
    };
    for (settings, expected) in [
        (format!("SECRET_ID={SECRET}"), SECRET.to_owned()),
        (crn(INSTANCE), SECRET.to_owned()),
        (
            format!("{} {}", id(INSTANCE), crn(INSTANCE)),
            SECRET.to_owned(),
        ),
    ] {
        let target = |config: &Config| shown(config.targets[0].secret.as_ref());
        assert_eq!(come_to(&settings, target), expected, "{settings}");
    }
    let foreign = come_to(&format!("{} {}", id(OTHER), crn(INSTANCE)), |_| {
        String::new()
    });
    assert!(
        foreign.starts_with("SECRET_ID: the secret belongs to ") && foreign.ends_with(OTHER),
        "{foreign}"
    );
}

#[test]
fn the_previous_version_is_for_manual_runs_with_a_secret() {
    let refused = "SECRET_VERSION: previous is only valid in a manual run with SECRET_ID";
    let secret = format!("SECRET_ID={SECRET}");
    let with = |settings: &str| format!("{secret} {settings}");
    table(
        |config| format!("{} {}", config.version, config.secret_id_given),
        &[
            ("", "current false"),
            (&secret, "current true"),
            ("SECRET_VERSION=current", "current false"),
            (&with("SECRET_VERSION=previous"), "previous true"),
            ("SECRET_VERSION=previous", refused),
            (&with("SECRET_VERSION=previous ibmendata={}"), refused),
            (&with("SECRET_VERSION=previous CE_DATA={}"), refused),
            (&with("SECRET_VERSION=current ibmendata={}"), "current true"),
        ],
    );
}

#[test]
fn one_thing_proves_who_we_are() {
    let nothing = "IAM_PROFILE_ID: set one of IAM_PROFILE_ID, IAM_PROFILE_NAME, IAM_PROFILE_CRN (outside Code Engine: IBMCLOUD_API_KEY)";
    let key_inside = "IBMCLOUD_API_KEY: is only valid outside Code Engine: set IAM_PROFILE_ID to the trusted profile of the job";
    table(
        |config| {
            let profile = config.grantee.profile.as_deref().unwrap_or("nobody");
            match &config.credentials {
                Credentials::Profile {
                    field,
                    profile: assumed,
                    token_files,
                } => {
                    assert_eq!(profile, assumed);
                    format!("{field} {profile}, {} files", token_files.len())
                }
                Credentials::ApiKey(key) => format!("key {}, {profile}", key.expose()),
            }
        },
        &[
            ("", "profile_id Profile-1, 3 files"),
            ("CE_JOBRUN=run", "profile_id Profile-1, 3 files"),
            (
                "IAM_PROFILE_ID= IAM_PROFILE_NAME=sync",
                "profile_name sync, 3 files",
            ),
            (
                "IAM_PROFILE_ID= IAM_PROFILE_CRN=crn:1 CR_TOKEN_FILENAME=/token",
                "profile_crn crn:1, 1 files",
            ),
            ("IAM_PROFILE_ID= IBMCLOUD_API_KEY=k", "key k, nobody"),
            (
                "IAM_PROFILE_ID= IBMCLOUD_API_KEY=k CE_JOBRUN=run",
                key_inside,
            ),
            ("IAM_PROFILE_ID=", nothing),
            ("IAM_PROFILE_ID= CE_JOBRUN=run", nothing),
            (
                "IAM_PROFILE_NAME=sync",
                "IAM_PROFILE_ID, IAM_PROFILE_NAME: set only one of these",
            ),
            (
                "IBMCLOUD_API_KEY=k",
                "IAM_PROFILE_ID, IBMCLOUD_API_KEY: set only one of these",
            ),
            // one sentence about two, wherever it runs
            (
                "IBMCLOUD_API_KEY=k CE_JOBRUN=run",
                "IAM_PROFILE_ID, IBMCLOUD_API_KEY: set only one of these",
            ),
        ],
    );
}

#[test]
fn whom_to_grant_what_is_missing() {
    table(
        |config| {
            let grantee = &config.grantee;
            let region = shown(grantee.region.as_ref());
            format!(
                "{} {region} {}",
                grantee.secrets_manager,
                shown(grantee.job.as_ref())
            )
        },
        &[
            ("", "https://sm.example.com eu-de none"),
            (
                "CE_REGION=us-south CE_JOB=sync",
                "https://sm.example.com us-south sync",
            ),
            (
                "CE_REGION=? CODE_ENGINE_URL=https://ce.example.com",
                "https://sm.example.com none none",
            ),
            (
                "SECRETS_MANAGER_URL=https://sm.private.eu-de.secrets-manager.appdomain.cloud",
                "https://sm.eu-de.secrets-manager.appdomain.cloud eu-de none",
            ),
        ],
    );
}

/// One entry of `TARGETS`; further fields begin with a comma.
fn entry(secret: &str, name: &str, further: &str) -> String {
    format!(r#"{{"secret_id":"{secret}","tls_secret":"{name}"{further}}}"#)
}

fn each(config: &Config) -> String {
    let target = |target: &Target| {
        let secret = shown(target.secret.as_ref());
        let hold = if target.hold { " held" } else { "" };
        format!("{} <- {secret}{hold}", target.tls_secret.name)
    };
    let targets: Vec<String> = config.targets.iter().map(target).collect();
    let limit = match &config.only_secret {
        Some(secret) => format!("; only {secret}"),
        None => String::new(),
    };
    targets.join(", ") + &limit
}

#[test]
fn one_variable_says_what_the_targets_are() {
    let shop = entry(SECRET, "shop-tls", "");
    let blog = entry(OTHER, "blog-tls", r#","hold":true"#);
    let two = format!("TLS_SECRET_NAME= TARGETS=[{shop},{blog}]");
    let both = format!("shop-tls <- {SECRET}, blog-tls <- {OTHER} held");
    let missing = "TLS_SECRET_NAME: is required, unless TARGETS or TARGETS_FILE is set";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[{shop}, {blog}]")).unwrap();
    let from_file = format!("TLS_SECRET_NAME= TARGETS_FILE={}", file.path().display());
    table(
        each,
        &[
            ("", "shop-tls <- none"),
            (
                &format!("SECRET_ID={SECRET}"),
                &format!("shop-tls <- {SECRET}"),
            ),
            ("HOLD=true", "shop-tls <- none held"),
            (&two, &both),
            (&from_file, &both),
            (
                &format!("{two} SECRET_ID={OTHER}"),
                &format!("{both}; only {OTHER}"),
            ),
            (
                &format!("{two} SECRET_ID={SECOND}"),
                &format!("SECRET_ID: no target has the secret_id {SECOND}"),
            ),
            ("TLS_SECRET_NAME=", missing),
            ("TLS_SECRET_NAME= CHECK=true", missing),
            ("TLS_SECRET_NAME= DISCOVER=true", ""),
            // what was not understood is one problem, not two
            (
                &format!("TLS_SECRET_NAME= TARGETS=[] SECRET_ID={SECOND}"),
                "TARGETS: the array is empty",
            ),
            (
                &format!("TARGETS=[{shop}]"),
                "TLS_SECRET_NAME, TARGETS: set only one of these",
            ),
            (
                &format!("TARGETS=[{shop}] TARGETS_FILE={}", file.path().display()),
                "TLS_SECRET_NAME, TARGETS, TARGETS_FILE: set only one of these",
            ),
            (
                &format!("{two} TARGETS_FILE={}", file.path().display()),
                "TARGETS, TARGETS_FILE: set only one of these",
            ),
            (
                &format!("{two} HOLD=true"),
                "HOLD: is only valid with TLS_SECRET_NAME; with TARGETS set \"hold\" in the target",
            ),
            (
                &format!("{from_file} RESTART_APPS=auto"),
                "RESTART_APPS: is only valid with TLS_SECRET_NAME; with TARGETS_FILE set \"restart_apps\" in the target",
            ),
        ],
    );
}

#[test]
fn no_target_twice() {
    let of = |entries: &[String]| format!("TLS_SECRET_NAME= TARGETS=[{}]", entries.join(","));
    let shop = entry(SECRET, "shop-tls", "");
    let restarting = r#","restart_apps":"auto""#;
    let elsewhere = format!(r#","project_id":"{SECOND}""#);
    let dotted = entry(OTHER, "shop.tls", restarting);
    table(
        |config| config.targets.len().to_string(),
        &[
            (&of(&[shop.clone(), entry(SECRET, "blog-tls", "")]), "2"),
            (
                &of(&[shop.clone(), entry(SECRET, "shop-tls", &elsewhere)]),
                "2",
            ),
            (
                &of(&[shop.clone(), shop.clone()]),
                "TARGETS[1]: TLS secret shop-tls is listed twice",
            ),
            // the same variable of the same apps
            (
                &of(&[entry(SECRET, "shop-tls", restarting), dotted.clone()]),
                "TARGETS[1]: shop-tls and shop.tls map to the same variable TLS_SECRET_SHA256_SHOP_TLS; use restart_apps on only one of them",
            ),
            (&of(&[shop, dotted]), "2"),
            (
                &of(&[
                    entry(SECRET, "shop-tls", restarting),
                    entry(OTHER, "shop.tls", &(restarting.to_owned() + &elsewhere)),
                ]),
                "2",
            ),
            (
                &of(&[entry("?", "shop-tls", ""), entry(SECRET, "?", "")]),
                "TARGETS[0]: secret_id: expected a UUID of 36 characters (lower-case hex digits in groups of 8-4-4-4-12), found ?; TARGETS[1]: tls_secret: expected the name of a Code Engine secret (lower-case letters, digits, hyphens, dots), found ?",
            ),
        ],
    );
}

#[test]
fn where_the_targets_are() {
    let no_project = "PROJECT_ID: no project: set PROJECT_ID";
    let no_region = "PROJECT_ID: no region: set CODE_ENGINE_URL, or \"region\" in the target";
    let of_target = "TLS_SECRET_NAME: no project: set PROJECT_ID";
    let there = format!(r#","project_id":"{SECOND}","region":"us-south""#);
    let home = format!("https://api.eu-de.codeengine.cloud.ibm.com/{PROJECT}");
    let away = format!("https://api.us-south.codeengine.cloud.ibm.com/{SECOND} us-south");
    table(
        |config| {
            let project = |(project, region): &(crate::ibm::code_engine::Project, Option<_>)| {
                let region = region.as_ref().map(|region| format!(" {region}"));
                format!(
                    "{}/{}{}",
                    project.base,
                    project.id,
                    region.unwrap_or_default()
                )
            };
            let projects: Vec<String> = config.projects.iter().map(project).collect();
            projects.join(", ")
        },
        &[
            ("", &home),
            (&format!("PROJECT_ID= CE_PROJECT_ID={PROJECT}"), &home),
            (
                "CE_API_BASE_URL=https://api.private.eu-de.codeengine.cloud.ibm.com/v2",
                &format!("https://api.private.eu-de.codeengine.cloud.ibm.com/{PROJECT}"),
            ),
            (
                "CODE_ENGINE_URL=https://ce.example.com",
                &format!("https://ce.example.com/{PROJECT}"),
            ),
            // the default one first, each once
            (
                &format!(
                    "TLS_SECRET_NAME= TARGETS=[{},{},{}]",
                    entry(SECRET, "a", &there),
                    entry(SECRET, "b", ""),
                    entry(SECRET, "c", &there)
                ),
                &format!("{home}, {away}"),
            ),
            (
                &format!(
                    "PROJECT_ID= TLS_SECRET_NAME= TARGETS=[{}]",
                    entry(SECRET, "a", &there)
                ),
                &away,
            ),
            ("PROJECT_ID=", of_target),
            ("PROJECT_ID= DISCOVER=true", of_target),
            ("PROJECT_ID= TLS_SECRET_NAME= DISCOVER=true", no_project),
            (
                "PROJECT_ID=? TLS_SECRET_NAME= DISCOVER=true",
                "PROJECT_ID: expected a UUID of 36 characters (lower-case hex digits in groups of 8-4-4-4-12), found ?",
            ),
            ("TLS_SECRET_NAME= DISCOVER=true", &home),
            // a project, but no region
            ("CE_REGION= TLS_SECRET_NAME= DISCOVER=true", no_region),
            (
                &format!(
                    "CE_REGION= TLS_SECRET_NAME= TARGETS=[{}] DISCOVER=true",
                    entry(SECRET, "a", &there)
                ),
                &away,
            ),
            (
                "CE_API_BASE_URL=https://ce.example.com/v2/",
                &format!("https://ce.example.com/{PROJECT}"),
            ),
            (
                "CE_API_BASE_URL=https://ce.example.com",
                &format!("https://ce.example.com/{PROJECT}"),
            ),
        ],
    );
}

#[test]
fn the_share_of_an_array() {
    let outside = |size: usize| {
        format!(
            "JOB_INDEX: expected an index below JOB_ARRAY_SIZE ({size}): submit the job run with --array-indices 0-{}",
            size - 1
        )
    };
    table(
        |config| format!("{} of {}", config.share.index, config.share.size),
        &[
            ("", "0 of 1"),
            ("JOB_INDEX=5", "0 of 1"),
            ("JOB_INDEX=0 JOB_ARRAY_SIZE=1", "0 of 1"),
            ("JOB_ARRAY_SIZE=1", "0 of 1"),
            ("JOB_INDEX=5 JOB_ARRAY_SIZE=0", "0 of 1"),
            ("JOB_INDEX=5 JOB_ARRAY_SIZE=?", "0 of 1"),
            ("JOB_INDEX=0 JOB_ARRAY_SIZE=3", "0 of 3"),
            ("JOB_INDEX=2 JOB_ARRAY_SIZE=3", "2 of 3"),
            ("JOB_INDEX=-1 JOB_ARRAY_SIZE=3", &outside(3)),
            ("JOB_INDEX=? JOB_ARRAY_SIZE=3", &outside(3)),
            ("JOB_INDEX=3 JOB_ARRAY_SIZE=3", &outside(3)),
            ("JOB_INDEX=4 JOB_ARRAY_SIZE=3", &outside(3)),
            ("JOB_INDEX=1 JOB_ARRAY_SIZE=1", &outside(1)),
            ("JOB_INDEX=? JOB_ARRAY_SIZE=1", &outside(1)),
            ("JOB_ARRAY_SIZE=3", &outside(3)),
        ],
    );
}

#[test]
fn the_proxy_and_what_needs_none() {
    table(
        |config| match &config.proxy {
            None => "direct".to_owned(),
            Some(proxy) => format!(
                "{}, private: {}",
                proxy.server.host(),
                proxy.except.covers("private.example.com", 443)
            ),
        },
        &[
            ("", "direct"),
            ("NO_PROXY=example.com", "direct"),
            (
                "HTTPS_PROXY=http://proxy:3128 NO_PROXY=ate.example.com",
                "proxy, private: false",
            ),
            (
                "HTTPS_PROXY=http://proxy:3128 NO_PROXY=private.example.com:8443",
                "proxy, private: false",
            ),
            (
                "HTTPS_PROXY=http://proxy:3128 NO_PROXY=other,private.example.com:443",
                "proxy, private: true",
            ),
            ("HTTPS_PROXY=http://proxy:3128", "proxy, private: false"),
            (
                "https_proxy=http://proxy:3128 no_proxy=example.com",
                "proxy, private: true",
            ),
        ],
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let all = come_to(
        "SECRETS_MANAGER_URL= IAM_PROFILE_ID= TLS_SECRET_NAME= JOB_ARRAY_SIZE=2 DEADLINE=?",
        |_| String::new(),
    );
    let names: Vec<&str> = all
        .split("; ")
        .filter_map(|problem| Some(problem.split_once(": ")?.0))
        .collect();
    assert_eq!(
        names,
        [
            "DEADLINE",
            "SECRETS_MANAGER_URL",
            "IAM_PROFILE_ID",
            "TLS_SECRET_NAME",
            "JOB_INDEX"
        ],
        "{all}"
    );
}
