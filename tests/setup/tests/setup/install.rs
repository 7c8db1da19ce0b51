//! Installations: fresh, again, with the documents' gaps filled either way, and their variants.

use std::time::Duration;

use ibmcloud_stand_in::rest::{Door, Rest};
use ibmcloud_stand_in::{Account, EmptyList, Freedom, Logs};
use local_cloud::{Action, CronSubscription, JobRun, Link, Policy, Role, Trigger};
use serde_json::{Value, json};

use crate::harness::{JOB, Site, TLS_SECRET, assert_same};

const PATIENCE: Duration = Duration::from_secs(60);

impl Site {
    /// Does the TLS secret hold what Secrets Manager holds now?
    pub(crate) fn is_current(&self) -> bool {
        self.cloud
            .wait_job_runs(&self.job_project, PATIENCE)
            .unwrap();
        let deployed = self
            .cloud
            .tls_secret(&self.world.project_id, TLS_SECRET)
            .unwrap();
        let current = self.cloud.material(&self.secret).certificate.unwrap();
        deployed.tls_cert.starts_with(current.trim_end())
    }

    pub(crate) fn runs(&self, trigger: Trigger) -> Vec<JobRun> {
        let runs = self
            .cloud
            .wait_job_runs(&self.job_project, PATIENCE)
            .unwrap();
        runs.into_iter()
            .filter(|run| run.trigger == trigger)
            .collect()
    }

    pub(crate) fn profile(&self) -> (Vec<Link>, Vec<Policy>) {
        let state = self.state();
        let [profile] = state.profiles.as_slice() else {
            panic!("not one profile: {state:#?}")
        };
        self.cloud.profile_access(&profile.id).unwrap()
    }
}

#[test]
fn a_fresh_installation_replaces_the_placeholder_and_follows_each_rotation() {
    let site = Site::but(|freedom| freedom.logs = Logs::AtOnce);
    let done = site.setup(&[]).expect(0);
    assert!(done.steps("already there").is_empty(), "{}", done.stdout);
    assert_eq!(done.steps("done").len(), 17, "{}", done.stdout);
    for report in [r#""action":"would_replace""#, r#""action":"replaced""#] {
        assert!(done.stdout.contains(report), "{}", done.stdout);
    }
    for point in [
        "confirmed  IAM's private address answers",
        "confirmed  the role SmTlsSecretUpdater is enough",
        "not tried  a run with the service account none",
    ] {
        assert!(done.stdout.contains(point), "{point}:\n{}", done.stdout);
    }
    assert!(site.is_current());

    site.cloud.rotate(&[&site.secret]);
    assert!(site.is_current());
    let [run] = &site.runs(Trigger::EventNotifications)[..] else {
        panic!("not one run: {:#?}", site.cloud.deliveries())
    };
    assert_eq!(
        (run.job_name.as_str(), run.status.as_str()),
        (JOB, "completed")
    );
    let [attempt] = run.attempts.as_slice() else {
        panic!("{run:#?}")
    };
    let world = &site.world;
    let given = [
        (
            "SECRETS_MANAGER_URL",
            format!(
                "https://{}.private.eu-de.secrets-manager.appdomain.cloud",
                world.instance_id
            ),
        ),
        ("IAM_PROFILE_ID", site.state().profiles[0].id.clone()),
        ("SECRET_ID", site.secret.clone()),
        ("TLS_SECRET_NAME", TLS_SECRET.to_owned()),
        ("PROJECT_ID", world.project_id.clone()),
        ("CE_PROJECT_ID", site.job_project.clone()),
    ];
    for (name, value) in given {
        assert_eq!(attempt.environment.get(name), Some(&value), "{name}");
    }
}

#[test]
fn the_daily_run_catches_a_rotation_whose_event_was_lost() {
    let site = Site::new();
    site.setup(&["--schedule", "17 3 * * *"]).expect(0);
    let [(name, cron)] = &site.cloud.cron_subscriptions(&site.job_project)[..] else {
        panic!("not one cron subscription")
    };
    let expected = CronSubscription {
        job: JOB.into(),
        schedule: "17 3 * * *".into(),
        time_zone: "UTC".into(),
        data: r#"{"action":"reconcile"}"#.into(),
    };
    assert_eq!(*cron, expected);
    site.cloud.rotate_quietly(&[&site.secret]);
    assert!(!site.is_current());
    site.cloud.fire_cron_subscription(&site.job_project, name);
    assert_eq!(site.runs(Trigger::Cron)[0].status, "completed");
    assert!(site.is_current());
}

/// Not every customer at the same minute: the time comes from the project's id.
#[test]
fn the_time_of_the_daily_run_comes_from_the_project() {
    let schedules: Vec<_> = [Site::new(), Site::new(), Site::new()]
        .iter()
        .map(|site| {
            let plan = || {
                let done = site.setup(&["--plan"]).expect(0);
                let line = done.stdout.lines().find(|line| line.starts_with("  cron"));
                line.unwrap().to_owned()
            };
            let first = plan();
            assert_eq!(first, plan());
            first
        })
        .collect();
    assert!(
        schedules.iter().any(|schedule| *schedule != schedules[0]),
        "{schedules:?}"
    );
}

/// Whose, on what, to do what: nothing else.
#[test]
fn the_rights_are_the_least() {
    let site = Site::new();
    site.setup(&[]).expect(0);
    let link = Link {
        crn: site.cloud.project_crn(&site.job_project),
        component_type: "job".into(),
        component_name: JOB.into(),
    };
    let read = Policy::SecretsManager {
        role: Role::SecretsReader,
        secret_group_id: Some(site.world.secret_group_id.clone()),
    };
    let custom = Policy::CodeEngineCustom {
        actions: Action::ALL_OF_THE_JOB.to_vec(),
        project_id: site.world.project_id.clone(),
    };
    assert_eq!(
        site.profile(),
        (vec![link.clone()], vec![read.clone(), custom])
    );
    let state = site.state();
    let policies: Vec<_> = state.profiles[0]
        .policies
        .iter()
        .map(|grant| &grant.roles)
        .collect();
    assert_eq!(policies, [&["SecretsReader"], &["SmTlsSecretUpdater"]]);
    let actions: Vec<_> = state.roles.iter().flat_map(|role| &role.actions).collect();
    assert_eq!(
        actions,
        [
            "codeengine.tenant.read",
            "codeengine.tenant.entities.read",
            "codeengine.tenant.entities.update"
        ]
    );
    let between: Vec<_> = state
        .authorizations
        .iter()
        .map(|a| (a.source.clone(), a.target.clone(), a.roles.join(",")))
        .collect();
    let named = |service: &str, id: &str| (service.to_owned(), id.to_owned());
    let world = &site.world;
    let events = named(
        "event-notifications",
        &world.event_notifications_instance_id,
    );
    assert_eq!(
        between,
        [
            (
                named("secrets-manager", &world.instance_id),
                events.clone(),
                "Event Source Manager".into()
            ),
            (
                events,
                named("codeengine", &site.job_project),
                "Viewer,Writer".into()
            ),
        ]
    );

    let other = Site::new();
    other.setup(&["--writer"]).expect(0);
    assert!(other.state().roles.is_empty());
    let (_, policies) = other.profile();
    assert_eq!(
        policies[1],
        Policy::CodeEngine {
            role: Role::Writer,
            project_id: other.world.project_id.clone()
        }
    );
}

/// Each way to fill a gap of IBM's documents, at least once: installed, a second run finds all of it,
/// and it can be removed. (All other tests choose among them by a seed.)
#[test]
fn a_second_run_changes_nothing_and_all_can_be_removed() {
    let likely = Freedom::default();
    for freedom in [
        likely,
        Freedom {
            nothing_found_is_empty: true,
            failed_run_exits_zero: true,
            code_engine_v2: true,
            notices: true,
            empty_lists: EmptyList::Null,
            logs: Logs::Late,
            ..likely
        },
        Freedom {
            wrapped_lists: true,
            policies_opaque: true,
            notices: true,
            empty_lists: EmptyList::Sentence,
            slow_access: true,
            logs: Logs::Never,
            ..likely
        },
        Freedom {
            wrapped_lists: true,
            policies_v2: true,
            nothing_found_is_empty: true,
            empty_lists: EmptyList::NotFound,
            ..likely
        },
    ] {
        let site = Site::with(freedom);
        let mail = ["--alert-email", "ops@example.com"];
        site.setup(&mail).expect(0);
        assert!(site.is_current(), "{freedom:?}");
        let before = site.everything();
        let done = site.setup(&mail).expect(0);
        assert_eq!(
            done.steps("already there").len(),
            17,
            "{freedom:?}:\n{}",
            done.stdout
        );
        let runs = done.steps("done");
        assert!(
            runs.len() == 2 && runs.iter().all(|run| run.contains(" run ")),
            "{}",
            done.stdout
        );
        assert_eq!(
            done.stdout.contains(r#""action":"unchanged""#),
            freedom.logs != Logs::Never,
            "{}",
            done.stdout
        );
        assert_same(&before, &site.everything());
        site.teardown(&["--yes"]).expect(0);
        crate::remove::assert_gone(&site);
    }
}

#[test]
fn a_plan_changes_nothing_not_even_what_is_targeted() {
    let site = Site::new();
    let before = site.everything();
    let done = site.setup(&["--plan"]).expect(0);
    for word in [
        "SecretsReader",
        &site.world.secret_group_id,
        "SmTlsSecretUpdater",
        TLS_SECRET,
        "Viewer, Writer",
    ] {
        assert!(done.stdout.contains(word), "{word}:\n{}", done.stdout);
    }
    assert_same(&before, &site.everything());
    let state = site.state();
    assert_eq!(
        (state.changes, state.region, state.project),
        (0, None, None)
    );
}

#[test]
fn inputs_may_come_from_the_environment() {
    let site = Site::new();
    let mut command = site.command("bash");
    for pair in site.inputs().chunks(2) {
        let name = pair[0]
            .trim_start_matches("--")
            .replace('-', "_")
            .to_uppercase();
        command.env(format!("SETUP_{name}"), pair[1]);
    }
    command
        .arg(crate::harness::root().join("scripts/setup.sh"))
        .arg("--yes");
    site.run(command, "").expect(0);
    assert!(site.is_current());
}

/// On its network, a private Secrets Manager is like any other.
#[test]
fn a_private_instance_is_called_at_its_private_address() {
    let site = Site::new();
    site.account(|account| {
        account.secrets_manager_public = false;
        account.private_network = true;
    });
    site.setup(&[]).expect(0);
    site.cloud.rotate(&[&site.secret]);
    assert!(site.is_current());
}

/// Given the id of the group, Secrets Manager is not called: a private one cannot be reached from here.
#[test]
fn a_private_instance_leaves_one_step_to_someone_on_its_network() {
    let site = Site::new();
    site.account(|account| account.secrets_manager_public = false);
    let refused = site.setup(&[]).expect(2);
    assert!(
        refused.stderr.contains("--group-id (and --secret-id)"),
        "{}",
        refused.stderr
    );

    let inputs: Vec<_> = site
        .inputs()
        .into_iter()
        .filter(|word| !["--certificate", "shop-example-com"].contains(word))
        .collect();
    let ids = [
        "--secret-id",
        &site.secret,
        "--group-id",
        &site.world.secret_group_id,
        "--yes",
    ];
    let arguments = [inputs.as_slice(), &ids].concat();
    let script = crate::harness::root().join("scripts/setup.sh");
    let before = site
        .calls()
        .matches(r#""secrets-manager","secrets""#)
        .count();
    let done = site.script(&script, &arguments).expect(1);
    assert_eq!(
        site.calls().matches(r#"["secrets-manager","#).count(),
        before,
        "{}",
        site.calls()
    );
    let [step] = done.steps("to be done")[..] else {
        panic!("{}", done.stdout)
    };
    assert!(step.contains("registration"), "{step}");
    let line = done
        .stdout
        .lines()
        .find(|line| line.contains("notifications-registration-create"))
        .unwrap();
    assert!(
        line.contains(&site.world.event_notifications_instance_crn),
        "{line}"
    );
    // all but topic and subscription works already
    assert!(site.is_current());
    assert!(site.everything()["topics"].as_array().unwrap().is_empty());

    // someone does what the line says, on the private network
    let rest = Rest::new(&Account::load(site.home.path()));
    let body =
        json!({ "event_notifications_instance_crn": site.world.event_notifications_instance_crn });
    rest.call(
        Door::SecretsManager,
        "POST",
        "/api/v2/notifications/registration",
        Some(&body),
    )
    .unwrap();
    site.script(&script, &arguments).expect(0);
    site.cloud.rotate(&[&site.secret]);
    assert!(site.is_current());
}

#[test]
fn one_project_for_all_works_and_setup_says_what_that_means() {
    let site = Site::new();
    let done = site
        .setup(&["--job-project", &site.world.project_name])
        .expect(0);
    assert!(
        done.stdout.contains("act with the permissions"),
        "{}",
        done.stdout
    );
    assert!(site.is_current());
    let other = Site::new();
    let done = other.setup(&["--plan"]).expect(0);
    assert!(
        !done.stdout.contains("act with the permissions"),
        "{}",
        done.stdout
    );
}

#[test]
fn alerts_go_to_the_address_by_the_built_in_mail() {
    let site = Site::new();
    site.setup(&["--alert-email", "ops@example.com"]).expect(0);
    let all = site.everything();
    let named = |list: &str, name: &str| -> Value {
        let found = all[list]
            .as_array()
            .unwrap()
            .iter()
            .find(|thing| thing["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name} in {list}: {all:#}"))
            .clone()
    };
    let topic = named("topics", "sm-tls-sync-alerts");
    let file = format!(
        "{}/../../scripts/alerts/email-rules.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let wanted: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let filters = |rules: &Value| -> Vec<String> {
        let rules = rules.as_array().unwrap().iter();
        let filter = |rule: &Value| rule["event_type_filter"].as_str().unwrap().to_owned();
        rules.map(filter).collect()
    };
    // lists show less than the things themselves
    let rest = Rest::new(&Account::load(site.home.path()));
    let whole = |list: &str, one: &Value| -> Value {
        let instance = &site.world.event_notifications_instance_id;
        let id = one["id"].as_str().unwrap();
        let path = format!("/v1/instances/{instance}/{list}/{id}");
        rest.call(Door::EventNotifications, "GET", &path, None)
            .unwrap()
    };
    let rules = filters(&whole("topics", &topic)["sources"][0]["rules"]);
    assert_eq!(rules, filters(&wanted));
    assert!(
        rules[0].contains("secret_rotation_(failed|blocked)"),
        "{rules:?}"
    );
    let subscription = named("subscriptions", "sm-tls-sync-alerts");
    let subscription = whole("subscriptions", &subscription);
    assert_eq!(
        subscription["attributes"]["invited"],
        json!(["ops@example.com"])
    );
    assert_eq!(subscription["topic_id"], topic["id"]);
    assert_eq!(
        subscription["destination_id"],
        named("destinations", "IBM Cloud Email service")["id"]
    );
}
