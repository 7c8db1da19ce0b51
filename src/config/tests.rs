//! What the environment comes to, as truth tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::config::variables::meant;
use crate::config::{Config, Given, VARIABLES, Variable};
use crate::ibm::iam::Credentials;

const INSTANCE: &str = "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31";
const OTHER: &str = "11111111-1111-4111-8111-111111111111";
const SECRET: &str = "2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852";
const PROJECT: &str = "379e3b07-dbfb-4c9f-bf4e-bf059aba40a4";
const SECOND: &str = "22222222-2222-4222-8222-222222222222";

/// What every run needs: the least that is no problem.
const LEAST: &str = "SECRETS_MANAGER_URL=https://sm.example.com IAM_PROFILE_ID=Profile-1
    TLS_SECRET_NAME=shop-tls CE_REGION=eu-de PROJECT_ID=$PROJECT";

/// Variables as a shell would take them, `NAME=value NAME=value`, after the least. A variable may be set
/// again, or to nothing; `$PROJECT` and the like are the constants above.
fn environment(settings: &str) -> BTreeMap<String, String> {
    let mut settings = format!("{LEAST} {settings}");
    for (name, value) in [
        ("$INSTANCE", INSTANCE),
        ("$OTHER", OTHER),
        ("$SECRET", SECRET),
        ("$PROJECT", PROJECT),
        ("$SECOND", SECOND),
        ("$CRN", "crn:v1:bluemix:public:secrets-manager:eu-de:a/1"),
    ] {
        settings = settings.replace(name, value);
    }
    let settings = settings.split_whitespace();
    let settings = settings.map(|setting| setting.split_once('=').unwrap());
    settings
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect()
}

/// One side of what the environment comes to, or all that is wrong with it.
fn come_to(environment: &BTreeMap<String, String>, side: impl Fn(&Config) -> String) -> String {
    match Config::parse(environment) {
        Ok(config) => side(&config),
        Err(error) => {
            let message = error.message.strip_prefix("invalid configuration: ");
            let hint = "; sm-tls-sync --help explains each variable";
            message.unwrap().strip_suffix(hint).unwrap().to_owned()
        }
    }
}

/// Each row: settings, and what they come to.
#[track_caller]
fn table(side: impl Fn(&Config) -> String, rows: &[(&str, &str)]) {
    for (settings, expected) in rows {
        let expected = expected
            .replace("$PROJECT", PROJECT)
            .replace("$OTHER", OTHER);
        let expected = expected
            .replace("$SECRET", SECRET)
            .replace("$SECOND", SECOND);
        let expected = expected.replace("$INSTANCE", INSTANCE);
        assert_eq!(
            come_to(&environment(settings), &side),
            expected,
            "{settings}"
        );
    }
}

fn shown<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

#[test]
fn the_mode() {
    table(
        |config| format!("{:?}", config.mode),
        &[
            ("", "Run"),
            ("CHECK=true", "Check"),
            ("DISCOVER=1", "Discover"),
            ("CHECK=true DISCOVER=false", "Check"),
            ("CHECK=0 DISCOVER=true", "Discover"),
            (
                "CHECK=true DISCOVER=true",
                "CHECK, DISCOVER: set only one of these",
            ),
        ],
    );
}

#[test]
fn the_forms_of_log_and_report_before_validation() {
    for (settings, expected) in [
        ("", "Info Text None"),
        ("CE_JOBRUN=x LOG_LEVEL=debug", "Debug Json None"),
        ("LOG_LEVEL=loud OUTPUT=xml", "Info Text None"),
        ("CHECK=true", "Info Text Some(Text)"),
        ("DISCOVER=true CE_JOBRUN=x", "Info Json Some(Text)"),
        ("CHECK=true OUTPUT=json", "Info Text Some(Json)"),
        ("OUTPUT=text", "Info Text Some(Text)"),
    ] {
        let environment = environment(settings);
        let given = Given::read(&environment);
        let log = given.logging();
        let found = format!("{:?} {:?} {:?}", log.level, log.format, given.output());
        assert_eq!(found, expected, "{settings}");
    }
}

#[test]
fn the_instance_is_the_one_set_or_the_one_of_the_url() {
    const URL: &str =
        "SECRETS_MANAGER_URL=https://$INSTANCE.private.eu-de.secrets-manager.appdomain.cloud";
    let with = |settings: &str| format!("{URL} {settings}");
    table(
        |config| {
            // a missing permission is granted in the same one
            assert_eq!(config.grantee.instance, config.instance);
            let secret = config.targets[0].secret.as_ref();
            format!("{} {}", shown(config.instance.as_ref()), shown(secret))
        },
        &[
            ("", "none none"),
            ("SECRETS_MANAGER_INSTANCE_ID=$OTHER", "$OTHER none"),
            ("SECRETS_MANAGER_INSTANCE_ID=$CRN:$OTHER::", "$OTHER none"),
            (URL, "$INSTANCE none"),
            (
                &with("SECRETS_MANAGER_INSTANCE_ID=$INSTANCE"),
                "$INSTANCE none",
            ),
            (
                &with("SECRETS_MANAGER_INSTANCE_ID=$OTHER"),
                "SECRETS_MANAGER_INSTANCE_ID: $OTHER is not the instance of SECRETS_MANAGER_URL, $INSTANCE",
            ),
            ("SECRET_ID=$SECRET", "none $SECRET"),
            ("SECRET_ID=$CRN:$INSTANCE:secret:$SECRET", "none $SECRET"),
            (
                &with("SECRET_ID=$CRN:$INSTANCE:secret:$SECRET"),
                "$INSTANCE $SECRET",
            ),
            (
                &with("SECRET_ID=$CRN:$OTHER:secret:$SECRET"),
                "SECRET_ID: the secret belongs to another instance than $INSTANCE",
            ),
        ],
    );
}

#[test]
fn undo_and_force_are_for_manual_runs_with_a_secret() {
    let refused = "SECRET_VERSION: previous is only valid in a manual run with SECRET_ID";
    let ignored = " [\"FORCE is ignored: it only counts in a manual run with SECRET_ID\"]";
    let current = |rest: &str| format!("current []{rest}");
    table(
        |config| {
            format!(
                "{} {:?} {:?}",
                config.version, config.force, config.warnings
            )
        },
        &[
            ("", &current(" []")),
            ("SECRET_VERSION=current ibmendata={}", &current(" []")),
            (
                "SECRET_ID=$SECRET SECRET_VERSION=previous",
                "previous [] []",
            ),
            ("SECRET_VERSION=previous", refused),
            (
                "SECRET_ID=$SECRET SECRET_VERSION=previous ibmendata={}",
                refused,
            ),
            (
                "SECRET_ID=$SECRET SECRET_VERSION=previous CE_DATA={}",
                refused,
            ),
            (
                "SECRET_ID=$SECRET FORCE=older,names-lost",
                "current [Older, NamesLost] []",
            ),
            ("FORCE=older", &current(ignored)),
            (
                "SECRET_ID=$SECRET FORCE=older IBMENDATA={}",
                &current(ignored),
            ),
            ("SECRET_ID=$SECRET FORCE=older CE_TYPE=x", &current(ignored)),
        ],
    );
}

#[test]
fn one_thing_proves_who_we_are() {
    let nothing = "IAM_PROFILE_ID: set one of IAM_PROFILE_ID, IAM_PROFILE_NAME (outside Code Engine: IBMCLOUD_API_KEY)";
    let key_inside = "IBMCLOUD_API_KEY: is only valid outside Code Engine: set IAM_PROFILE_ID to the trusted profile of the job";
    let both = "IAM_PROFILE_ID, IBMCLOUD_API_KEY: set only one of these";
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
            ("IAM_PROFILE_ID=crn:1", "profile_crn crn:1, 3 files"),
            (
                "IAM_PROFILE_ID= IAM_PROFILE_CRN=crn:1",
                "profile_crn crn:1, 3 files",
            ),
            (
                "IAM_PROFILE_ID= IAM_PROFILE_NAME=crn:1 CR_TOKEN_FILENAME=/token",
                "profile_name crn:1, 1 files",
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
            ("IBMCLOUD_API_KEY=k", both),
            // one sentence about two, wherever it runs
            ("IBMCLOUD_API_KEY=k CE_JOBRUN=run", both),
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

fn array(entries: &[&str]) -> String {
    format!("TLS_SECRET_NAME= TARGETS=[{}]", entries.join(","))
}

fn each(config: &Config) -> String {
    let mut text = String::new();
    for target in &config.targets {
        let (secret, apps) = (shown(target.secret.as_ref()), &target.restart_apps);
        write!(text, "{} <- {secret}", target.tls_secret.name).unwrap();
        text += if target.hold { " held" } else { "" };
        text += if apps.auto { " auto" } else { "" };
        apps.names
            .iter()
            .for_each(|name| write!(text, " {name}").unwrap());
        text += "; ";
    }
    if let Some(secret) = &config.only_secret {
        write!(text, "only {secret}").unwrap();
    }
    text.trim_end_matches("; ").to_owned()
}

#[test]
fn one_variable_says_what_the_targets_are() {
    let shop = entry(SECRET, "shop-tls", "");
    let blog = entry(
        OTHER,
        "blog-tls",
        r#","hold":true,"restart_apps":["blog","auto"]"#,
    );
    let still = entry(SECOND, "still-tls", r#","restart_apps":"""#);
    let two = array(&[&shop, &blog]);
    let both = "shop-tls <- $SECRET; blog-tls <- $OTHER held auto blog";
    let missing = "TLS_SECRET_NAME: is required, unless TARGETS or TARGETS_FILE is set";
    let several = "RESTART_APPS: with several targets it can only be auto; list apps in \"restart_apps\" of the targets";
    let file = tempfile::NamedTempFile::new().unwrap();
    // with a byte order mark
    std::fs::write(file.path(), format!("\u{feff}[{shop}, {blog}]")).unwrap();
    let file = format!("TARGETS_FILE={}", file.path().display());
    std::fs::write(
        file.strip_prefix("TARGETS_FILE=").unwrap(),
        format!("\u{feff}[{shop}, {blog}]"),
    )
    .unwrap();
    let with = |settings: &str| format!("{two} {settings}");
    table(
        each,
        &[
            ("", "shop-tls <- none"),
            ("SECRET_ID=$SECRET", "shop-tls <- $SECRET"),
            (
                "HOLD=true RESTART_APPS=shop,auto,,shop",
                "shop-tls <- none held auto shop",
            ),
            (&two, both),
            (&with("SECRET_ID=$OTHER"), &format!("{both}; only $OTHER")),
            (
                &with("SECRET_ID=$SECOND"),
                "SECRET_ID: no target has the secret_id $SECOND",
            ),
            // for every target; one with a list of its own keeps it
            (
                &(array(&[&shop, &blog, &still]) + " HOLD=true RESTART_APPS=auto"),
                "shop-tls <- $SECRET held auto; blog-tls <- $OTHER held auto blog; still-tls <- $SECOND held",
            ),
            (&with("RESTART_APPS=shop"), several),
            (
                &(array(&[&shop]) + " RESTART_APPS=shop"),
                "shop-tls <- $SECRET shop",
            ),
            ("TLS_SECRET_NAME=", missing),
            ("TLS_SECRET_NAME= CHECK=true", missing),
            ("TLS_SECRET_NAME= DISCOVER=true", ""),
            // what was not understood is one problem, not two
            (
                "TLS_SECRET_NAME= TARGETS=[] SECRET_ID=$SECOND",
                "TARGETS: expected a JSON array of at least one target",
            ),
            (
                "TARGETS=[]",
                "TARGETS: expected a JSON array of at least one target; TLS_SECRET_NAME, TARGETS: set only one of these",
            ),
            (&format!("TLS_SECRET_NAME= {file}"), both),
            (&with(&file), "TARGETS, TARGETS_FILE: set only one of these"),
            (
                &file,
                "TLS_SECRET_NAME, TARGETS_FILE: set only one of these",
            ),
        ],
    );
}

#[test]
fn an_entry_is_refused_by_position_and_field() {
    let fields = "secret_id, tls_secret, project_id, region, restart_apps, hold";
    for (json, expected) in [
        (
            "7".to_owned(),
            format!("expected an object with {fields}, each at most once"),
        ),
        (
            entry(SECRET, "a", r#","hold":true,"hold":false"#),
            format!("expected an object with {fields}, each at most once"),
        ),
        (
            entry(SECRET, "a", r#","colour":"red""#),
            "unknown field colour".to_owned(),
        ),
        (
            r#"{"tls_secret":"a"}"#.to_owned(),
            "secret_id: is required".to_owned(),
        ),
        (
            r#"{"secret_id":"$SECRET"}"#.to_owned(),
            "tls_secret: is required".to_owned(),
        ),
        (entry("x", "a", ""), "secret_id: expected ".to_owned()),
        (
            entry("$CRN:$INSTANCE:secret:$SECRET", "a", ""),
            format!("secret_id: the secret belongs to another instance than {OTHER}"),
        ),
        (entry(SECRET, "A", ""), "tls_secret: expected ".to_owned()),
        (
            entry(SECRET, "a", r#","project_id":"p""#),
            "project_id: expected ".to_owned(),
        ),
        (
            entry(SECRET, "a", r#","region":"E""#),
            "region: expected ".to_owned(),
        ),
        (
            entry(SECRET, "a", r#","restart_apps":["Shop"]"#),
            "restart_apps: expected ".to_owned(),
        ),
        (
            entry(SECRET, "a", r#","restart_apps":[7]"#),
            "restart_apps: expected a string".to_owned(),
        ),
        (
            entry(SECRET, "a", r#","hold":"true""#),
            "hold: expected true or false".to_owned(),
        ),
    ] {
        let good = entry(
            SECRET,
            "b",
            r#","restart_apps":null,"hold":null,"region":null"#,
        );
        let settings = array(&[&good, &json]) + " SECRETS_MANAGER_INSTANCE_ID=$OTHER";
        let found = come_to(&environment(&settings), each);
        assert!(
            found.starts_with(&format!("TARGETS[1]: {expected}")),
            "{json}: {found}"
        );
    }
}

#[test]
fn no_target_twice() {
    let shop = entry(SECRET, "shop-tls", "");
    let restarting = r#","restart_apps":"auto""#;
    let elsewhere = r#","project_id":"$SECOND""#;
    let dotted = entry(OTHER, "shop.tls", restarting);
    let same_variable = "TARGETS[1]: shop.tls and another target restart apps by the same variable TLS_SECRET_SHA256_SHOP_TLS; use restart_apps on only one of them";
    table(
        |config| config.targets.len().to_string(),
        &[
            (&array(&[&shop, &entry(SECRET, "blog-tls", "")]), "2"),
            (&array(&[&shop, &entry(SECRET, "shop-tls", elsewhere)]), "2"),
            (
                &array(&[&shop, &shop]),
                "TARGETS[1]: TLS secret shop-tls is listed twice",
            ),
            // the same variable of the same apps
            (
                &array(&[&entry(SECRET, "shop-tls", restarting), &dotted]),
                same_variable,
            ),
            (
                &(array(&[&shop, &dotted]) + " RESTART_APPS=auto"),
                same_variable,
            ),
            (&array(&[&shop, &dotted]), "2"),
            (
                &array(&[
                    &entry(SECRET, "shop-tls", restarting),
                    &entry(OTHER, "shop.tls", &(restarting.to_owned() + elsewhere)),
                ]),
                "2",
            ),
        ],
    );
}

#[test]
fn where_the_targets_are() {
    let no_project = "PROJECT_ID: no project: set PROJECT_ID";
    let no_region = "PROJECT_ID: no region: set CODE_ENGINE_URL, or \"region\" in the target";
    let of_target = "TLS_SECRET_NAME: no project: set PROJECT_ID";
    let home = "https://api.eu-de.codeengine.cloud.ibm.com/$PROJECT";
    let away = "https://api.us-south.codeengine.cloud.ibm.com/$SECOND us-south";
    let there = r#","project_id":"$SECOND","region":"us-south""#;
    let far = &entry(SECRET, "a", there);
    let at = |url: &str| format!("{url}/$PROJECT");
    table(
        |config| {
            let projects = config.projects.iter().map(|(project, region)| {
                let region = region.as_ref().map(|region| format!(" {region}"));
                format!(
                    "{}/{}{}",
                    project.base,
                    project.id,
                    region.unwrap_or_default()
                )
            });
            projects.collect::<Vec<_>>().join(", ")
        },
        &[
            ("", home),
            ("PROJECT_ID= CE_PROJECT_ID=$PROJECT", home),
            (
                "CE_API_BASE_URL=https://api.private.eu-de.codeengine.cloud.ibm.com/v2",
                &at("https://api.private.eu-de.codeengine.cloud.ibm.com"),
            ),
            (
                "CE_API_BASE_URL=https://ce.example.com/v2/",
                &at("https://ce.example.com"),
            ),
            (
                "CE_API_BASE_URL=https://ce.example.com",
                &at("https://ce.example.com"),
            ),
            // the one that is set comes first
            (
                "CE_API_BASE_URL=https://no.example.com CODE_ENGINE_URL=https://ce.example.com/x/{region}",
                &at("https://ce.example.com/x/eu-de"),
            ),
            // the default project first, each once; the own base URL is for the own region
            (
                &(array(&[far, &entry(SECRET, "b", ""), &entry(SECRET, "c", there)])
                    + " CE_API_BASE_URL=https://ce.example.com"),
                &format!("{}, {away}", at("https://ce.example.com")),
            ),
            (&(array(&[far]) + " PROJECT_ID="), away),
            (&(array(&[far]) + " CE_REGION= DISCOVER=true"), away),
            ("PROJECT_ID=", of_target),
            ("PROJECT_ID= DISCOVER=true", of_target),
            ("TLS_SECRET_NAME= DISCOVER=true", home),
            ("PROJECT_ID= TLS_SECRET_NAME= DISCOVER=true", no_project),
            // a project, but no region
            ("CE_REGION= TLS_SECRET_NAME= DISCOVER=true", no_region),
        ],
    );
    // what was not understood is one problem, not two
    let bad = environment("PROJECT_ID=? TLS_SECRET_NAME= DISCOVER=true");
    let found = come_to(&bad, each);
    assert_eq!(found.matches("PROJECT_ID").count(), 1, "{found}");
}

#[test]
fn the_share_of_an_array() {
    let outside = |size: usize| {
        let last = size - 1;
        format!(
            "JOB_INDEX: expected an index below JOB_ARRAY_SIZE ({size}): submit the job run with --array-indices 0-{last}"
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
            ("JOB_INDEX=3 JOB_ARRAY_SIZE=3", &outside(3)),
            ("JOB_INDEX=1 JOB_ARRAY_SIZE=1", &outside(1)),
            ("JOB_INDEX=? JOB_ARRAY_SIZE=1", &outside(1)),
            ("JOB_ARRAY_SIZE=3", &outside(3)),
        ],
    );
}

#[test]
fn the_proxy_and_what_needs_none() {
    let proxied = "proxy, private: false";
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
            ("HTTPS_PROXY=http://proxy:3128", proxied),
            (
                "HTTPS_PROXY=http://proxy:3128 NO_PROXY=ate.example.com",
                proxied,
            ),
            (
                "HTTPS_PROXY=http://proxy:3128 NO_PROXY=private.example.com:8443",
                proxied,
            ),
            (
                "HTTPS_PROXY=http://proxy:3128 NO_PROXY=other,private.example.com:443",
                "proxy, private: true",
            ),
            (
                "https_proxy=http://proxy:3128 no_proxy=example.com",
                "proxy, private: true",
            ),
        ],
    );
}

/// Nothing that is rejected is shown: it could be a secret in the wrong place.
#[test]
fn forms() {
    for (name, good, bad) in [
        ("DRY_RUN", "true false 1 0", "TRUE yes on 2"),
        ("PROBE", "warn require off", "none Off"),
        ("SECRET_VERSION", "current", "2 latest"),
        ("LOG_LEVEL", "error warn info debug", "trace WARN"),
        ("OUTPUT", "json text", "yaml"),
        ("DEADLINE", "1 86400", "0 86401 -5 1.5 2m"),
        (
            "FORCE",
            "older less-trusted,chain-shorter",
            "expired older;names-lost",
        ),
        (
            "PROBE_ADDRESS",
            "edge edge:8443 127.0.0.1:1 [::1]:443",
            "user@edge edge:x https://edge :443",
        ),
        ("IBMCLOUD_API_KEY", "k", "kéy"),
        (
            "HTTPS_PROXY",
            "http://u:p@proxy:1 https://proxy",
            "socks5://proxy ://",
        ),
        (
            "SECRETS_MANAGER_URL",
            "https://sm https://sm/ https://sm/api https://sm/api/v2/ http://localhost:1 http://127.0.0.1 http://[::1]:8443",
            "sm https:// https://sm/other https://u@sm https://sm?x https://sm#x http://sm http://127.0.0.1.example.com ftp://sm",
        ),
        (
            "IAM_URL",
            "https://iam https://iam/identity/token",
            "https://iam/token",
        ),
        (
            "CODE_ENGINE_URL",
            "https://ce https://ce/a/b https://ce.{region}/ https://ce/{region}",
            "https://ce/?x",
        ),
        ("SSL_CERT_FILE", "", "/nowhere /dev/zero /"),
        ("TARGETS_FILE", "", "/nowhere /dev/zero /"),
        ("TARGETS", "", "{} [] [7]x"),
        ("RESTART_APPS", "auto shop,blog auto,shop", ""),
        ("IAM_PROFILE_NAME", "sync", ""),
    ] {
        let alone = match name {
            "IBMCLOUD_API_KEY" | "IAM_PROFILE_NAME" => "IAM_PROFILE_ID=",
            "TARGETS" | "TARGETS_FILE" => "TLS_SECRET_NAME=",
            _ => "",
        };
        let problem = |value: &str| {
            let settings = format!("SECRET_ID=$SECRET {alone} {name}={value}");
            come_to(&environment(&settings), |_| String::new())
        };
        for value in good.split_whitespace() {
            assert_eq!(problem(value), "", "{name}={value}");
        }
        for value in bad.split_whitespace() {
            let found = problem(value);
            assert!(
                found.starts_with(&format!("{name}: expected ")),
                "{value}: {found}"
            );
            let quoted = value.len() > 8 && found.contains(value);
            assert!(!quoted && !found.contains("; "), "{value}: {found}");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let settings = "SECRETS_MANAGER_URL= IAM_PROFILE_ID= TLS_SECRET_NAME= JOB_ARRAY_SIZE=2 DEADLINE=? DRYRUN=1";
    let all = come_to(&environment(settings), each);
    let problems = all
        .split("; ")
        .filter_map(|problem| problem.split_once(": "));
    let names: Vec<&str> = problems.map(|(name, _)| name).collect();
    let expected = "DEADLINE SECRETS_MANAGER_URL DRYRUN IAM_PROFILE_ID TLS_SECRET_NAME JOB_INDEX";
    assert_eq!(names.join(" "), expected, "{all}");
}

/// What decides is refused under a name that is nearly right, the rest is worth a warning.
#[test]
fn misspelt_names() {
    for (name, right) in [
        ("DRYRUN", "DRY_RUN"),
        ("dry_run", "DRY_RUN"),
        ("DRY_RUNS", "DRY_RUN"),
        ("PROBEE", "PROBE"),
        ("RESTART_APP", "RESTART_APPS"),
        ("CHEK", "CHECK"),
        ("CEHCK", "CHECK"),
        ("DEADLIEN", "DEADLINE"),
        ("TARGETSFILE", "TARGETS_FILE"),
        ("TARGET_FILES", "TARGETS_FILE"),
        ("SECRETID", "SECRET_ID"),
        ("HOLDS", "HOLD"),
        ("FORCED", "FORCE"),
    ] {
        let found = come_to(&environment(&format!("{name}=true")), each);
        assert_eq!(found, format!("{name}: did you mean {right}?"));
        // one who set the right name knows it
        let right = format!("{right}= {name}=");
        assert_eq!(come_to(&environment(&right), |_| String::new()), "");
    }
    let warnings = |config: &Config| config.warnings.join("; ");
    table(
        warnings,
        &[
            ("LOGLEVEL=debug", "LOGLEVEL: did you mean LOG_LEVEL?"),
            ("NO_COLOUR=1", "NO_COLOUR: did you mean NO_COLOR?"),
            ("OUTPUTS=json", "OUTPUTS: did you mean OUTPUT?"),
            ("LOGLEVEL=debug LOG_LEVEL=info", ""),
            ("DRYRUN=true DRY_RUN=false", ""),
            ("PROBEE=", ""),
            // two edits are too many for a short name, and three for any
            ("HOME=/root CHEEKS=1 PROBED_X=1 DEAD_LINESS=1", ""),
            ("SM_ENDPOINTS=1 CE_SECRETS=1", ""),
        ],
    );
}

/// What systems set is never taken for a misspelt name.
#[test]
fn no_name_of_others_is_taken_for_ours() {
    for (system, names) in FOREIGN {
        let taken = names.split_whitespace().find(|name| meant(name).is_some());
        assert_eq!(taken, None, "{system}");
    }
    for Variable { name, .. } in VARIABLES {
        for name in [
            format!("CE_{name}"),
            format!("JOB_{name}"),
            format!("KUBERNETES_{name}"),
            format!("{name}_SERVICE_HOST"),
            format!("{name}_PORT_443_TCP"),
        ] {
            assert!(meant(&name).is_none(), "{name}");
        }
    }
}

/// The names in the environments of systems and tools.
const FOREIGN: &[(&str, &str)] = &[
    (
        "Code Engine",
        "CE_ALLOW_CONCURRENCY CE_API_BASE_URL CE_APP CE_DATA CE_DOMAIN CE_EXECUTION_ID CE_FUNCTION CE_ID CE_JOB CE_JOBRUN CE_PROJECT_ID CE_REGION CE_SOURCE CE_SPECVERSION CE_SUBDOMAIN CE_SUBJECT CE_TIME CE_TYPE JOB_ARRAY_SIZE JOB_INDEX JOB_INDEX_RETRY_COUNT JOB_MODE JOB_RETRY_LIMIT HOSTNAME K_CONFIGURATION K_REVISION K_SERVICE K_SINK KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR KUBERNETES_PORT_443_TCP_PORT KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS NODE_NAME POD_IP POD_NAME POD_NAMESPACE PORT ibmendata",
    ),
    (
        "IBM's tools and SDKs",
        "BLUEMIX_API_KEY BLUEMIX_TRACE CODE_ENGINE_APIKEY CODE_ENGINE_AUTH_TYPE IAAS_CLASSIC_API_KEY IBMCLOUD_ACCOUNT IBMCLOUD_API_ENDPOINT IBMCLOUD_API_VERSION IBMCLOUD_COLOR IBMCLOUD_CR_TOKEN IBMCLOUD_CR_PROFILE IBMCLOUD_HOME IBMCLOUD_IAM_API_ENDPOINT IBMCLOUD_REGION IBMCLOUD_TRACE IBMCLOUD_VERSION_CHECK IBM_CLOUD_API_KEY IBM_CREDENTIALS_FILE IC_API_KEY IC_IAM_TOKEN IC_REGION IC_TIMEOUT PIPELINE_ID PIPELINE_RUN_ID SECRETS_MANAGER_APIKEY SECRETS_MANAGER_AUTH_TYPE SECRETS_MANAGER_AUTH_URL SECRETS_MANAGER_IAM_PROFILE_ID TF_LOG TF_VAR_ibmcloud_api_key TOOLCHAIN_ID VCAP_SERVICES",
    ),
    (
        "shells of Linux",
        "BASH_ENV COLORTERM COLUMNS CLICOLOR DBUS_SESSION_BUS_ADDRESS DEBIAN_FRONTEND DISPLAY EDITOR GPG_AGENT_INFO GREP_COLOR GTK_MODULES HISTCONTROL HISTSIZE HOME HOST HOSTTYPE INVOCATION_ID JOURNAL_STREAM LANG LANGUAGE LC_ALL LC_CTYPE LESS LESSCLOSE LESSOPEN LINES LOGNAME LS_COLORS MAIL MACHTYPE MANAGERPID MEMORY_PRESSURE_WATCH NOTIFY_SOCKET OLDPWD OSTYPE PAGER PATH PS1 PWD QT_ACCESSIBILITY SHELL SHLVL SSH_AGENT_PID SSH_AUTH_SOCK SSH_CLIENT SSH_CONNECTION SSH_TTY SUDO_COMMAND SUDO_GID SUDO_UID SUDO_USER SYSTEMD_EXEC_PID TERM TMPDIR TMUX TZ USER VISUAL WAYLAND_DISPLAY WINDOWID WSLENV WSL_DISTRO_NAME XAUTHORITY XDG_CONFIG_DIRS XDG_CURRENT_DESKTOP XDG_DATA_DIRS XDG_RUNTIME_DIR XDG_SESSION_CLASS XDG_SESSION_ID XDG_SESSION_TYPE XDG_VTNR _",
    ),
    (
        "macOS",
        "Apple_PubSub_Socket_Render COMMAND_MODE CLICOLOR HOMEBREW_CELLAR HOMEBREW_PREFIX HOMEBREW_REPOSITORY INFOPATH ITERM_PROFILE ITERM_SESSION_ID LSCOLORS LaunchInstanceID MallocNanoZone SECURITYSESSIONID TERM_PROGRAM TERM_PROGRAM_VERSION TERM_SESSION_ID VSCODE_GIT_IPC_HANDLE XPC_FLAGS XPC_SERVICE_NAME ZDOTDIR ZSH __CFBundleIdentifier __CF_USER_TEXT_ENCODING PROJECT_DIR PROJECT_NAME SRCROOT TARGET_NAME TARGET_BUILD_DIR",
    ),
    (
        "Windows",
        "ALLUSERSPROFILE APPDATA CommonProgramFiles COMPUTERNAME ComSpec DriverData HOMEDRIVE HOMEPATH LOCALAPPDATA LOGONSERVER MSYSTEM NUMBER_OF_PROCESSORS OS PATHEXT PROCESSOR_ARCHITECTURE ProgramData PROMPT PSModulePath PUBLIC SESSIONNAME SystemRoot TEMP TMP USERDOMAIN USERNAME USERPROFILE windir",
    ),
    (
        "proxies and certificates",
        "ALL_PROXY all_proxy AWS_CA_BUNDLE CURL_CA_BUNDLE FTP_PROXY ftp_proxy GIT_SSL_CAINFO GOPROXY HTTP_PROXY http_proxy NIX_SSL_CERT_FILE NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE RSYNC_PROXY SOCKS_PROXY SSL_CERT_DIR SSLKEYLOGFILE",
    ),
    (
        "container builds",
        "BUILDKIT_PROGRESS BUILDPLATFORM BUILDOS BUILDARCH BUILDX_BUILDER CONTAINER CONTAINER_HOST DOCKER_BUILDKIT DOCKER_CONFIG DOCKER_HOST DOCKER_TLS_VERIFY SOURCE_DATE_EPOCH TARGET TARGETARCH TARGETOS TARGETPLATFORM TARGETSTAGE TARGETVARIANT TARGET_OS container",
    ),
    (
        "GitHub Actions",
        "ACTIONS_CACHE_URL ACTIONS_ID_TOKEN_REQUEST_URL ACTIONS_RUNTIME_TOKEN ACTIONS_RUNTIME_URL ACTIONS_STEP_DEBUG AGENT_TOOLSDIRECTORY ANDROID_HOME ANT_HOME CI CHROMEWEBDRIVER CONDA DEPLOYMENT_BASEPATH DOTNET_NOLOGO EDGEWEBDRIVER GITHUB_ACTION GITHUB_ACTOR GITHUB_API_URL GITHUB_BASE_REF GITHUB_ENV GITHUB_EVENT_NAME GITHUB_EVENT_PATH GITHUB_HEAD_REF GITHUB_JOB GITHUB_OUTPUT GITHUB_PATH GITHUB_REF GITHUB_REPOSITORY GITHUB_RUN_ID GITHUB_SERVER_URL GITHUB_SHA GITHUB_STATE GITHUB_STEP_SUMMARY GITHUB_TOKEN GITHUB_WORKFLOW GITHUB_WORKSPACE GOROOT_1_22_X64 GRADLE_HOME ImageOS ImageVersion JAVA_HOME_17_X64 NVM_DIR PIPX_BIN_DIR POWERSHELL_DISTRIBUTION_CHANNEL RUNNER_ARCH RUNNER_DEBUG RUNNER_ENVIRONMENT RUNNER_NAME RUNNER_OS RUNNER_TEMP RUNNER_TOOL_CACHE RUNNER_TRACKING_ID SELENIUM_JAR_PATH SGX_AESM_ADDR STATS_D SWIFT_PATH VCPKG_INSTALLATION_ROOT",
    ),
    (
        "GitLab CI",
        "CI_API_V4_URL CI_BUILDS_DIR CI_COMMIT_BRANCH CI_COMMIT_SHA CI_CONCURRENT_ID CI_ENVIRONMENT_NAME CI_JOB_ID CI_JOB_NAME CI_JOB_TOKEN CI_PIPELINE_ID CI_PIPELINE_SOURCE CI_PIPELINE_URL CI_PROJECT_DIR CI_PROJECT_ID CI_PROJECT_NAME CI_PROJECT_PATH CI_PROJECT_URL CI_REGISTRY CI_RUNNER_ID CI_SERVER_HOST CI_SERVER_URL FF_USE_FASTZIP GITLAB_CI GITLAB_USER_ID",
    ),
    (
        "other CI systems",
        "AGENT_ID AGENT_JOBSTATUS BITBUCKET_COMMIT BRANCH_NAME BUILD_BUILDID BUILD_CAUSE BUILD_DISPLAY_NAME BUILD_ID BUILD_NUMBER BUILD_REASON BUILD_SOURCEBRANCH BUILD_TAG BUILD_URL BUILDKITE_JOB_ID CHANGE_ID CIRCLECI CIRCLE_JOB CIRCLE_PROJECT_REPONAME CIRCLE_SHA1 CIRCLE_WORKFLOW_ID DRONE_BUILD_NUMBER EXECUTOR_NUMBER HUDSON_URL JENKINS_HOME JENKINS_URL JOB_BASE_NAME JOB_NAME JOB_URL NODE_LABELS RUN_ID SYSTEM_DEFAULTWORKINGDIRECTORY SYSTEM_TEAMPROJECTID STAGE_NAME TASKRUN_NAME TEKTON_RESOURCE_NAME TF_BUILD TRAVIS_BUILD_ID TRAVIS_JOB_ID WORKSPACE",
    ),
    (
        "languages and tools",
        "ANSIBLE_CONFIG AWS_ACCESS_KEY_ID AWS_DEFAULT_REGION AWS_PROFILE AWS_REGION AWS_SECRET_ACCESS_KEY AZURE_CLIENT_SECRET AZURE_TENANT_ID CARGO_HOME CARGO_MANIFEST_DIR CARGO_TARGET_DIR CFLAGS CLASSPATH CLOUDSDK_CORE_PROJECT COLOR CONDA_PREFIX DATABASE_URL DEBUG FORCE_COLOR GCLOUD_PROJECT GEM_HOME GIT_AUTHOR_NAME GIT_DIR GIT_EDITOR GOBIN GOCACHE GOFLAGS GONOSUMDB GOOGLE_CLOUD_PROJECT GOPATH GOPRIVATE GOROOT GOSUMDB HELM_CACHE_HOME INIT_CWD JAVA_HOME JAVA_OPTS JAVA_TOOL_OPTIONS KUBECONFIG LD_LIBRARY_PATH MAKEFLAGS MAKELEVEL MAVEN_OPTS NODE NODE_ENV NODE_OPTIONS NODE_PATH NPM_TOKEN NUM_JOBS OPENSSL_CONF OPT_LEVEL OUT_DIR PKG_CONFIG_PATH PROFILE PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONUNBUFFERED PYENV_ROOT RUSTC RUSTC_WRAPPER RUSTDOC RUSTFLAGS RUSTUP_HOME RUSTUP_TOOLCHAIN RUST_BACKTRACE RUST_LOG RUST_TEST_THREADS SECRET_KEY SECRET_KEY_BASE TERRAFORM_VERSION TF_WORKSPACE VAULT_ADDR VAULT_SECRET_ID VIRTUAL_ENV VIRTUAL_ENV_PROMPT WATCHPACK_POLLING npm_command npm_config_loglevel npm_config_noproxy npm_config_user_agent npm_execpath npm_lifecycle_event npm_package_name npm_package_version",
    ),
];
