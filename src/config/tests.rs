//! What the environment comes to, as truth tables.

use std::collections::BTreeMap;

use crate::config::variables::meant;
use crate::config::{Config, Settings, VARIABLES, Variable};
use crate::ibm::grantee::Credentials;

/// What every run needs: the least that is no problem.
const LEAST: &str = "SECRETS_MANAGER_URL=https://sm.example.com IAM_PROFILE_ID=Profile-1
    TLS_SECRET_NAME=shop-tls CE_REGION=eu-de PROJECT_ID=$PROJECT";

/// Short for longer texts in the tables.
const SHORT: &str = r#"
    $MANY = TLS_SECRET_NAME= TARGETS
    $SHOP = {"secret_id":"$SECRET","tls_secret":"shop-tls"}
    $BLOG = {"secret_id":"$OTHER","tls_secret":"blog-tls","hold":true,"restart_apps":["blog","auto"]}
    $STILL = {"secret_id":"$SECOND","tls_secret":"still-tls","restart_apps":""}
    $AUTO = {"secret_id":"$SECRET","tls_secret":"shop-tls","restart_apps":"auto"}
    $DOTTED = {"secret_id":"$OTHER","tls_secret":"shop.tls","restart_apps":"auto"}
    $FAR = {"secret_id":"$SECRET","tls_secret":"shop-tls","project_id":"$SECOND","region":"us-south"}
    $FIELDS = secret_id, tls_secret, project_id, region, restart_apps, hold
    $TWICE = another target restart apps by the same variable TLS_SECRET_SHA256_SHOP_TLS; use restart_apps on only one of them
    $BELOW = JOB_INDEX: expected an index below JOB_ARRAY_SIZE
    $SUBMIT = submit the job run with --array-indices
    $BY_HAND = in a manual run with SECRET_ID
    $PRIVATE = private.eu-de.secrets-manager.appdomain.cloud
    $CRN = crn:v1:bluemix:public:secrets-manager:eu-de:a/1
    $SM = SECRETS_MANAGER
    $CE = codeengine.cloud.ibm.com
    $INSTANCE = 7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31
    $OTHER = 11111111-1111-4111-8111-111111111111
    $SECRET = 2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852
    $SECOND = 22222222-2222-4222-8222-222222222222
    $PROJECT = 379e3b07-dbfb-4c9f-bf4e-bf059aba40a4"#;

fn long(text: &str) -> String {
    let short = SHORT.lines().filter_map(|line| line.trim().split_once(" = "));
    short.fold(text.to_owned(), |text, (short, long)| text.replace(short, long))
}

/// Variables as a shell would take them, `NAME=value NAME=value`, after the least. A variable may be set
/// again, or to nothing.
fn environment(settings: &str) -> BTreeMap<String, String> {
    let settings = long(&format!("{LEAST} {settings}"));
    let settings = settings.split_whitespace();
    let settings = settings.map(|setting| setting.split_once('=').unwrap());
    settings.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// One side of what the environment comes to, or all that is wrong with it.
fn come_to(settings: &str, side: impl Fn(&Config) -> String) -> String {
    let environment = environment(settings);
    let (settings, notes) = Settings::read(&environment);
    match Config::new(settings, notes) {
        Ok(config) => side(&config),
        Err(error) => {
            let message = error.message.strip_prefix("invalid configuration: ");
            let hint = "; sm-tls-sync --help explains each variable";
            message.unwrap().strip_suffix(hint).unwrap().to_owned()
        }
    }
}

/// Each line: settings, `=>`, and what they come to.
#[track_caller]
fn table(side: impl Fn(&Config) -> String, rows: &str) {
    for row in rows.trim().lines() {
        let (settings, expected) = row.split_once("=>").unwrap();
        let found = come_to(settings, &side);
        assert_eq!(found, long(expected.trim()), "{settings}");
    }
}

fn shown<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn each(config: &Config) -> String {
    let targets = config.targets.iter().map(|target| {
        let apps = &target.restart_apps;
        let mut text = format!("{} {}", target.tls_secret.name, shown(target.secret.as_ref()));
        text += if target.hold { " held" } else { "" };
        text += if apps.auto { " auto" } else { "" };
        apps.names.iter().fold(text, |text, name| format!("{text} {name}"))
    });
    let only = config.settings.secret.iter();
    let only = only.filter(|_| config.targets.len() > 1);
    let only = only.map(|secret| format!("only {}", secret.id));
    targets.chain(only).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_mode() {
    table(
        |config| {
            let Settings { check, discover, .. } = config.settings;
            format!("{check} {discover}")
        },
        "=> false false
        CHECK=true => true false
        DISCOVER=1 => false true
        CHECK=true DISCOVER=false => true false
        CHECK=0 DISCOVER=true => false true
        CHECK=true DISCOVER=true => CHECK, DISCOVER: set only one of these",
    );
}

#[test]
fn the_forms_of_log_and_report_before_validation() {
    for (settings, expected) in [
        ("", "INFO false None"),
        ("CE_JOBRUN=x LOG_LEVEL=debug", "DEBUG true None"),
        ("LOG_LEVEL=loud OUTPUT=xml", "INFO false None"),
        ("CHECK=true", "INFO false Some(Text)"),
        ("DISCOVER=true CE_JOBRUN=x", "INFO true Some(Text)"),
        ("CHECK=true OUTPUT=json", "INFO false Some(Json)"),
        ("OUTPUT=text", "INFO false Some(Text)"),
    ] {
        let environment = environment(settings);
        let (settings, _) = Settings::read(&environment);
        let (level, json) = (settings.log_level, settings.in_code_engine);
        let found = format!("{level} {json} {:?}", settings.output());
        assert_eq!(found, expected);
    }
}

#[test]
fn the_instance_is_the_one_set_or_the_one_of_the_url() {
    table(
        |config| {
            // a missing permission is granted in the same one
            let instance = config.settings.instance.as_ref();
            assert_eq!(config.grantee.instance.as_ref(), instance);
            let secret = config.targets[0].secret.as_ref();
            format!("{} {}", shown(instance), shown(secret))
        },
        "=> none none
        $SM_INSTANCE_ID=$OTHER => $OTHER none
        $SM_INSTANCE_ID=$CRN:$OTHER:: => $OTHER none
        $SM_URL=https://$INSTANCE.$PRIVATE => $INSTANCE none
        $SM_URL=https://$INSTANCE.$PRIVATE $SM_INSTANCE_ID=$INSTANCE => $INSTANCE none
        $SM_URL=https://$INSTANCE.$PRIVATE $SM_INSTANCE_ID=$OTHER => $SM_INSTANCE_ID: $OTHER is not the instance of $SM_URL, $INSTANCE
        SECRET_ID=$SECRET => none $SECRET
        SECRET_ID=$CRN:$INSTANCE:secret:$SECRET => none $SECRET
        SECRET_ID=$CRN:$INSTANCE:secret:$SECRET $SM_INSTANCE_ID=$INSTANCE => $INSTANCE $SECRET
        SECRET_ID=$CRN:$OTHER:secret:$SECRET $SM_INSTANCE_ID=$INSTANCE => SECRET_ID: the secret belongs to another instance than $INSTANCE",
    );
}

#[test]
fn undo_and_force_are_for_manual_runs_with_a_secret() {
    table(
        |config| {
            let (force, warnings) = (&config.settings.force, config.warnings.join("; "));
            format!("{:?} {force:?}{warnings}", config.settings.version)
        },
        "SECRET_VERSION=current ibmendata={} SECRET_ID=$SECRET => Current []
        SECRET_ID=$SECRET SECRET_VERSION=previous => Previous []
        SECRET_VERSION=previous => SECRET_VERSION: previous is only valid $BY_HAND
        SECRET_ID=$SECRET SECRET_VERSION=previous ibmendata={} => SECRET_VERSION: previous is only valid $BY_HAND
        SECRET_ID=$SECRET SECRET_VERSION=previous CE_DATA={} => SECRET_VERSION: previous is only valid $BY_HAND
        SECRET_ID=$SECRET FORCE=older,names-lost => Current [Older, NamesLost]
        FORCE=older => Current []FORCE is ignored: it only counts $BY_HAND
        SECRET_ID=$SECRET FORCE=older IBMENDATA={} => Current []FORCE is ignored: it only counts $BY_HAND
        SECRET_ID=$SECRET FORCE=older CE_TYPE=x => Current []FORCE is ignored: it only counts $BY_HAND",
    );
}

#[test]
fn one_thing_proves_who_we_are() {
    table(
        |config| match &config.grantee.credentials {
            Credentials::Profile {
                field,
                profile,
                token_files,
            } => format!("{field} {profile}, {} files", token_files.len()),
            Credentials::ApiKey(key) => format!("key {}", key.expose()),
        },
        "=> profile_id Profile-1, 3 files
        CE_JOBRUN=run => profile_id Profile-1, 3 files
        IAM_PROFILE_ID=crn:1 => profile_crn crn:1, 3 files
        IAM_PROFILE_ID= IAM_PROFILE_CRN=crn:1 => profile_crn crn:1, 3 files
        IAM_PROFILE_ID= IAM_PROFILE_NAME=crn:1 CR_TOKEN_FILENAME=/token => profile_name crn:1, 1 files
        IAM_PROFILE_ID= IBMCLOUD_API_KEY=k => key k
        IAM_PROFILE_ID= IBMCLOUD_API_KEY=k CE_JOBRUN=run => IBMCLOUD_API_KEY: is only valid outside Code Engine: set IAM_PROFILE_ID to the trusted profile of the job
        IAM_PROFILE_ID= => IAM_PROFILE_ID: set one of IAM_PROFILE_ID, IAM_PROFILE_NAME (outside Code Engine: IBMCLOUD_API_KEY)
        IAM_PROFILE_NAME=sync => IAM_PROFILE_ID, IAM_PROFILE_NAME: set only one of these
        IBMCLOUD_API_KEY=k CE_JOBRUN=run => IAM_PROFILE_ID, IBMCLOUD_API_KEY: set only one of these",
    );
}

#[test]
fn whom_to_grant_what_is_missing() {
    table(
        |config| {
            let grantee = &config.grantee;
            let (region, job) = (shown(grantee.region.as_ref()), shown(grantee.job.as_ref()));
            format!("{} {region} {job}", grantee.secrets_manager)
        },
        "=> https://sm.example.com eu-de none
        CE_REGION=us-south CE_JOB=sync => https://sm.example.com us-south sync
        CE_REGION=? CODE_ENGINE_URL=https://ce.example.com => https://sm.example.com none none
        $SM_URL=https://sm.$PRIVATE => https://sm.eu-de.secrets-manager.appdomain.cloud eu-de none",
    );
}

#[test]
fn one_variable_says_what_the_targets_are() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // with a byte order mark
    std::fs::write(file.path(), long("\u{feff}[$SHOP, $BLOG]")).unwrap();
    let rows = r#"=> shop-tls none
        SECRET_ID=$SECRET => shop-tls $SECRET
        HOLD=true RESTART_APPS=shop,auto,,shop => shop-tls none held auto shop
        $MANY=[$SHOP,$BLOG] => shop-tls $SECRET; blog-tls $OTHER held auto blog
        $MANY=[$SHOP,$BLOG] SECRET_ID=$OTHER => shop-tls $SECRET; blog-tls $OTHER held auto blog; only $OTHER
        $MANY=[$SHOP,$BLOG] SECRET_ID=$SECOND => SECRET_ID: no target has the secret_id $SECOND
        $MANY=[$SHOP,$BLOG,$STILL] HOLD=true RESTART_APPS=auto => shop-tls $SECRET held auto; blog-tls $OTHER held auto blog; still-tls $SECOND held
        $MANY=[$SHOP,$BLOG] RESTART_APPS=shop => RESTART_APPS: with several targets it can only be auto; list apps in "restart_apps" of the targets
        $MANY=[$SHOP] RESTART_APPS=shop => shop-tls $SECRET shop
        TLS_SECRET_NAME= => TLS_SECRET_NAME: is required, unless TARGETS or TARGETS_FILE is set
        TLS_SECRET_NAME= CHECK=true => TLS_SECRET_NAME: is required, unless TARGETS or TARGETS_FILE is set
        TLS_SECRET_NAME= DISCOVER=true =>
        $MANY=[] SECRET_ID=$SECOND => TARGETS: expected a JSON array of at least one target
        TARGETS=[$SHOP] => TLS_SECRET_NAME, TARGETS: set only one of these
        TLS_SECRET_NAME= TARGETS_FILE=$FILE => shop-tls $SECRET; blog-tls $OTHER held auto blog
        $MANY=[$SHOP] TARGETS_FILE=$FILE => TARGETS, TARGETS_FILE: set only one of these
        TARGETS_FILE=$FILE => TLS_SECRET_NAME, TARGETS_FILE: set only one of these"#;
    let path = file.path().display().to_string();
    table(each, &rows.replace("$FILE", &path));
    std::fs::write(&file, "[{}]").unwrap();
    let found = come_to(&format!("TLS_SECRET_NAME= TARGETS_FILE={path}"), each);
    assert_eq!(found, "TARGETS_FILE[0]: secret_id: is required");
    // up to 2 MiB
    for (size, expected) in
        [(2_097_152, "TARGETS_FILE[0]: "), (2_097_153, "TARGETS_FILE: expected")]
    {
        std::fs::write(&file, "[{}]".to_owned() + &" ".repeat(size - 4)).unwrap();
        let found = come_to(&format!("TLS_SECRET_NAME= TARGETS_FILE={path}"), each);
        assert!(found.starts_with(expected), "{size}: {found}");
    }
}

#[test]
fn an_entry_is_refused_by_position_and_field() {
    let rows = r#"7 => expected an object with $FIELDS, each at most once
        {"hold":true,"hold":false} => expected an object with $FIELDS, each at most once
        {"colour":"red"} => unknown field colour
        {"tls_secret":"a"} => secret_id: is required
        {"secret_id":"$SECRET"} => tls_secret: is required
        {"secret_id":"x","tls_secret":"a"} => secret_id: expected a UUID
        {"secret_id":"$CRN:$INSTANCE:secret:$SECRET","tls_secret":"a"} => secret_id: the secret belongs to another instance than $OTHER
        {"secret_id":"$SECRET","tls_secret":"A"} => tls_secret: expected the name of a Code Engine secret
        {"secret_id":"$SECRET","tls_secret":"a","project_id":"p"} => project_id: expected a UUID
        {"secret_id":"$SECRET","tls_secret":"a","region":"E"} => region: expected a region
        {"secret_id":"$SECRET","tls_secret":"a","restart_apps":["Shop"]} => restart_apps: expected the name of a Code Engine app
        {"secret_id":"$SECRET","tls_secret":"a","restart_apps":[7]} => restart_apps: expected a string
        {"secret_id":"$SECRET","tls_secret":"a","hold":"true"} => hold: expected true or false"#;
    let good =
        r#"{"secret_id":"$SECRET","tls_secret":"b","restart_apps":null,"hold":null,"region":null}"#;
    for row in rows.lines() {
        let (json, expected) = row.trim().split_once(" => ").unwrap();
        let found = come_to(&format!("$SM_INSTANCE_ID=$OTHER $MANY=[{good},{json}]"), each);
        let expected = long(&format!("TARGETS[1]: {expected}"));
        assert!(found.starts_with(&expected), "{json}: {found}");
    }
}

#[test]
fn no_target_twice() {
    table(
        |config| config.targets.len().to_string(),
        "$MANY=[$SHOP,$BLOG] => 2
        $MANY=[$SHOP,$FAR] => 2
        $MANY=[$SHOP,$SHOP] => TARGETS[1]: TLS secret shop-tls is listed twice
        $MANY=[$AUTO,$DOTTED] => TARGETS[1]: shop.tls and $TWICE
        $MANY=[$SHOP,$DOTTED] RESTART_APPS=auto => TARGETS[1]: shop.tls and $TWICE
        $MANY=[$SHOP,$DOTTED] => 2
        $MANY=[$FAR,$DOTTED] RESTART_APPS=auto => 2",
    );
}

#[test]
fn where_the_targets_are() {
    table(
        |config| {
            let projects = config.projects.iter().map(|(project, region)| {
                let region = region.as_ref().map(|region| format!(" {region}"));
                let region = region.unwrap_or_default();
                format!("{}/{}{region}", project.base, project.id)
            });
            projects.collect::<Vec<_>>().join(", ")
        },
        r#"=> https://api.eu-de.$CE/$PROJECT
        PROJECT_ID= CE_PROJECT_ID=$PROJECT => https://api.eu-de.$CE/$PROJECT
        CE_API_BASE_URL=https://api.private.eu-de.$CE/v2 => https://api.private.eu-de.$CE/$PROJECT
        CE_API_BASE_URL=https://ce.example.com/v2/ => https://ce.example.com/$PROJECT
        CE_API_BASE_URL=https://no.example.com CODE_ENGINE_URL=https://ce.example.com/x/{region}/v2/ => https://ce.example.com/x/eu-de/$PROJECT
        CE_API_BASE_URL=https://ce.example.com $MANY=[$FAR,$SHOP,$BLOG] => https://ce.example.com/$PROJECT, https://api.us-south.$CE/$SECOND us-south
        PROJECT_ID= $MANY=[$FAR] => https://api.us-south.$CE/$SECOND us-south
        CE_REGION= DISCOVER=true $MANY=[$FAR] => https://api.us-south.$CE/$SECOND us-south
        PROJECT_ID= => TLS_SECRET_NAME: no project: set PROJECT_ID
        PROJECT_ID= DISCOVER=true => TLS_SECRET_NAME: no project: set PROJECT_ID
        TLS_SECRET_NAME= DISCOVER=true => https://api.eu-de.$CE/$PROJECT
        TLS_SECRET_NAME= DISCOVER=true PROJECT_ID= => PROJECT_ID: no project: set PROJECT_ID
        TLS_SECRET_NAME= DISCOVER=true CE_REGION= => PROJECT_ID: no region: set CODE_ENGINE_URL, or "region" in the target"#,
    );
    // what was not understood is one problem, not two
    let found = come_to("PROJECT_ID=? TLS_SECRET_NAME= DISCOVER=true", each);
    assert_eq!(found.matches("PROJECT_ID").count(), 1, "{found}");
}

#[test]
fn the_share_of_an_array() {
    table(
        |config| {
            let taken = (0..5).filter(|position| config.settings.takes(*position));
            taken.map(|position| position.to_string()).collect()
        },
        "=> 01234
        JOB_INDEX=5 => 01234
        JOB_INDEX=0 JOB_ARRAY_SIZE=1 => 01234
        JOB_INDEX=5 JOB_ARRAY_SIZE=0 => 01234
        JOB_INDEX=5 JOB_ARRAY_SIZE=? => 01234
        JOB_INDEX=0 JOB_ARRAY_SIZE=3 => 03
        JOB_INDEX=2 JOB_ARRAY_SIZE=3 => 2
        JOB_INDEX=3 JOB_ARRAY_SIZE=3 => $BELOW (3): $SUBMIT 0-2
        JOB_INDEX=-1 JOB_ARRAY_SIZE=3 => $BELOW (3): $SUBMIT 0-2
        JOB_ARRAY_SIZE=3 => $BELOW (3): $SUBMIT 0-2
        JOB_ARRAY_SIZE=1 => 01234
        JOB_INDEX=1 JOB_ARRAY_SIZE=1 => $BELOW (1): $SUBMIT 0-0
        JOB_INDEX=? JOB_ARRAY_SIZE=1 => 01234",
    );
}

#[test]
fn the_proxy_and_what_needs_none() {
    let way = |proxy: &ureq::Proxy| {
        let private = proxy.is_no_proxy(&"https://private.example.com/v2".parse().unwrap());
        format!("{}, private: {private}", proxy.host())
    };
    table(
        |config| config.settings.proxy.as_ref().map_or_else(String::new, way),
        "NO_PROXY=example.com =>
        HTTPS_PROXY=http://proxy:3128 => proxy, private: false
        HTTPS_PROXY=http://proxy:3128 NO_PROXY=ate.example.com => proxy, private: false
        HTTPS_PROXY=http://proxy:3128 NO_PROXY=other,private.example.com => proxy, private: true
        HTTPS_PROXY=http://proxy:3128 NO_PROXY=.Example.com => proxy, private: true
        HTTPS_PROXY=http://proxy:3128 NO_PROXY=*.example.com. => proxy, private: true
        HTTPS_PROXY=http://proxy:3128 NO_PROXY=* => proxy, private: true
        HTTPS_PROXY=http://proxy:3128 NO_PROXY=private.example.com:443 => proxy, private: false
        https_proxy=http://proxy:3128 no_proxy=example.com => proxy, private: true",
    );
    table(
        |config| config.warnings.join(" ").chars().take(35).collect(),
        "HTTPS_PROXY=http://proxy:3128 NO_PROXY=127.0.0.1,::1,[fd00::2],_a.example =>
        HTTPS_PROXY=http://proxy:3128 NO_PROXY=10.0.0.0/8,a:443,a.* => NO_PROXY: 3 entries are ignored: ex",
    );
}

/// Each line: the variable, what it accepts, what it rejects. A rejected value is never shown: it could
/// be a secret in the wrong place.
#[test]
fn forms() {
    let rows = "DRY_RUN | true false 1 0 | TRUE yes on 2
        PROBE | warn require off | none Off
        SECRET_VERSION | current previous | 2 latest
        LOG_LEVEL | error warn info debug | trace WARN
        OUTPUT | json text | yaml
        DEADLINE | 1 86400 | 0 86401 -5 1.5 2m
        FORCE | older less-trusted,chain-shorter | expired older;names-lost
        PROBE_ADDRESS | edge edge:8443 127.0.0.1:1 [::1]:443 [::1] | user@edge edge:x https://edge :443
        IAM_PROFILE_ID= IBMCLOUD_API_KEY | k | kéy
        HTTPS_PROXY | http://u:p@proxy:1 https://proxy | socks5://proxy ://
        SECRETS_MANAGER_URL | https://sm https://sm/ https://sm/api https://sm/api/v2/ http://localhost:1 http://127.0.0.1 http://[::1]:8443 | sm https:// https://sm/other https://u@sm https://sm?x https://sm#x http://sm http://127.0.0.1.example.com ftp://sm
        IAM_URL | https://iam https://iam/identity/token | https://iam/token
        CODE_ENGINE_URL | https://ce https://ce/a/b https://ce.{region}/ https://ce/{region} | https://ce/?x
        SSL_CERT_FILE | | /nowhere /dev/zero /
        TLS_SECRET_NAME= TARGETS_FILE | | /nowhere /dev/zero /
        TLS_SECRET_NAME= TARGETS | | {} [] [7]x
        RESTART_APPS | auto shop,blog auto,shop |";
    for row in rows.lines() {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = columns[0].split(' ').next_back().unwrap();
        let problem = |value: &str| {
            let settings = format!("SECRET_ID=$SECRET {}={value}", columns[0]);
            come_to(&settings, |_| String::new())
        };
        for value in columns[1].split_whitespace() {
            assert_eq!(problem(value), "", "{name}={value}");
        }
        for value in columns[2].split_whitespace() {
            let found = problem(value);
            let alone = found.starts_with(&format!("{name}: expected ")) && !found.contains("; ");
            let quoted = value.len() > 8 && found.contains(value);
            assert!(alone && !quoted, "{value}: {found}");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrong = "$SM_URL= IAM_PROFILE_ID= TLS_SECRET_NAME= JOB_ARRAY_SIZE=2 DEADLINE=? DRYRUN=1";
    let all = come_to(wrong, each);
    let problems = all.split("; ").filter_map(|problem| problem.split_once(": "));
    let names: Vec<&str> = problems.map(|(name, _)| name).collect();
    let expected = "DEADLINE DRYRUN $SM_URL JOB_INDEX IAM_PROFILE_ID TLS_SECRET_NAME";
    assert_eq!(names.join(" "), long(expected), "{all}");
}

/// What decides is refused under a name that is nearly right, the rest is worth a warning.
#[test]
fn misspelt_names() {
    table(
        |config| config.warnings.join("; "),
        "DRYRUN=1 => DRYRUN: did you mean DRY_RUN?
        dry_run=1 => dry_run: did you mean DRY_RUN?
        DRY_RUNS=1 => DRY_RUNS: did you mean DRY_RUN?
        PROBEE=off => PROBEE: did you mean PROBE?
        RESTART_APP=shop => RESTART_APP: did you mean RESTART_APPS?
        CHEK=1 => CHEK: did you mean CHECK?
        DEADLIEN=1 => DEADLIEN: did you mean DEADLINE?
        TARGETSFILE=/t => TARGETSFILE: did you mean TARGETS_FILE?
        TARGET_FILES=/t => TARGET_FILES: did you mean TARGETS_FILE?
        LOGLEVEL=debug => LOGLEVEL: did you mean LOG_LEVEL?
        NO_COLOUR=1 => NO_COLOUR: did you mean NO_COLOR?
        IBMCLOUD_APIKEY=k => IBMCLOUD_APIKEY: did you mean IBMCLOUD_API_KEY?
        LOGLEVEL=debug LOG_LEVEL=info =>
        DRYRUN=true DRY_RUN=false =>
        DRYRUN= =>
        CHEEKS=1 PROBED_X=1 DEAD_LINESS=1 OUTPUTTY=1 =>
        https_proxy=http://proxy no_proxy=sm =>
        SM_ENDPOINTS=1 CE_SECRETS=1 =>",
    );
    for variable in VARIABLES {
        let found = come_to(&format!("{0}= X{0}=x", variable.name), each);
        let refused = found.contains(&format!("X{0}: did you mean {0}?", variable.name));
        assert!(["what", "how"].contains(&variable.decides));
        assert_eq!(refused, variable.decides == "what", "{}", variable.name);
    }
}

/// What systems set is never taken for a misspelt name.
#[test]
fn no_name_of_others_is_taken_for_ours() {
    for (system, names) in FOREIGN {
        let taken = names.split_whitespace().find(|name| meant(name).is_some());
        assert_eq!(taken, None, "{system}");
    }
    for Variable { name, .. } in VARIABLES {
        for (before, after) in
            [("CE_", ""), ("JOB_", ""), ("KUBERNETES_", ""), ("", "_SERVICE_HOST")]
        {
            assert!(meant(&format!("{before}{name}{after}")).is_none(), "{name}");
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
