//! Installations into an account that is not empty, builds and runs that fail.

use ibmcloud_stand_in::account::Authorization;
use ibmcloud_stand_in::rest::{Door, Rest};
use ibmcloud_stand_in::{Account, Freedom, Logs};
use local_cloud::{Fault, FaultKind, Trigger};

use crate::harness::{JOB, Site, assert_same};

#[test]
fn a_registration_at_another_instance_is_left_alone() {
    let site = Site::new();
    let elsewhere = r#"{"event_notifications_instance_crn": "crn:v1:bluemix:public:event-notifications:eu-de:a/1:2::"}"#;
    let answer = FaultKind::Answer {
        status: 200,
        content_type: "application/json".into(),
        body: elsewhere.into(),
    };
    let _guard = site
        .cloud
        .fault(Fault::on("GET /api/v2/notifications/registration", answer));
    let done = site.setup(&[]).expect(1);
    assert!(
        done.stderr.contains("registered at another instance"),
        "{}",
        done.stderr
    );
    assert!(site.everything()["sources"].as_array().unwrap().is_empty());
}

#[test]
fn an_authorization_with_half_the_roles_is_made_whole() {
    let site = Site::new();
    let mut state = site.state();
    let events = site.world.event_notifications_instance_id.clone();
    state.authorizations.push(Authorization {
        id: "half".into(),
        source: ("event-notifications".into(), events),
        target: ("codeengine".into(), site.job_project.clone()),
        roles: vec!["Viewer".into()],
    });
    state.save(site.home.path());
    site.setup(&[]).expect(0);
    let state = site.state();
    let all: Vec<_> = state
        .authorizations
        .iter()
        .map(|a| a.roles.join(","))
        .collect();
    assert_eq!(all, ["Event Source Manager", "Viewer,Writer"]);
    site.cloud.rotate(&[&site.secret]);
    assert!(site.is_current());
}

/// Disconnecting Secrets Manager takes the rules of every topic along.
#[test]
fn a_topic_that_lost_its_rules_is_made_again() {
    let site = Site::new();
    site.setup(&[]).expect(0);
    let rest = Rest::new(&Account::load(site.home.path()));
    rest.call(
        Door::SecretsManager,
        "DELETE",
        "/api/v2/notifications/registration",
        None,
    )
    .unwrap();
    let done = site.setup(&[]).expect(0);
    let made: Vec<_> = done
        .steps("done")
        .into_iter()
        .filter(|step| !step.contains(" run "))
        .collect();
    assert_eq!(made.len(), 3, "{}", done.stdout);
    assert_eq!(site.everything()["topics"].as_array().unwrap().len(), 1);
    site.cloud.rotate(&[&site.secret]);
    assert!(site.is_current());
}

#[test]
fn what_somebody_else_made_under_the_same_name_stops_setup() {
    let site = Site::new();
    site.setup(&[]).expect(0);
    let before = site.everything();
    // the same job name in another project: the profile is the other one's
    let done = site
        .setup(&["--job-project", &site.world.project_name])
        .expect(1);
    assert!(
        done.stderr.contains("Choose another --name"),
        "{}",
        done.stderr
    );
    assert_same(&before, &site.everything());
    // the same name for another TLS secret: the configmap is the first one's
    let done = site.setup(&["--tls-secret", "other-tls"]).expect(1);
    assert!(done.stderr.contains("TLS_SECRET_NAME"), "{}", done.stderr);
}

#[test]
fn two_installations_stand_side_by_side() {
    let site = Site::new();
    site.setup(&[]).expect(0);
    site.setup(&["--name", "blog", "--tls-secret", "blog-tls"])
        .expect(0);
    site.cloud.rotate(&[&site.secret]);
    assert_eq!(site.runs(Trigger::EventNotifications).len(), 2);
    site.teardown(&["--name", "blog", "--yes"]).expect(0);
    site.cloud.rotate(&[&site.secret]);
    assert!(site.is_current());
    assert_eq!(
        site.runs(Trigger::EventNotifications).len(),
        2,
        "blog's run went with its job"
    );
}

/// Whatever the list of policies looks like: the conflict says that it is there.
#[test]
fn a_policy_that_is_there_already_is_no_failure() {
    let site = Site::with(Freedom {
        policies_opaque: true,
        ..Freedom::default()
    });
    site.setup(&[]).expect(0);
    let before = site.everything();
    let done = site.setup(&[]).expect(0);
    assert_eq!(done.steps("already there").len(), 15, "{}", done.stdout);
    assert_same(&before, &site.everything());
}

#[test]
fn a_link_of_another_job_does_not_count() {
    let site = Site::new();
    site.setup(&[]).expect(0);
    let mut state = site.state();
    state.profiles[0].links[0]["link"]["component_name"] = "other".into();
    state.save(site.home.path());
    let done = site.setup(&[]).expect(0);
    let made: Vec<_> = done
        .steps("done")
        .into_iter()
        .filter(|step| !step.contains(" run "))
        .collect();
    assert!(made.len() == 1 && made[0].contains("link"), "{made:?}");
    let (links, _) = site.profile();
    assert_eq!(links[1].component_name, JOB);
}

#[test]
fn without_an_image_the_job_is_built_from_this_directory() {
    let site = Site::new();
    let inputs = site.inputs();
    let end = inputs.iter().position(|word| *word == "--image").unwrap();
    let arguments = [&inputs[..end], &["--yes"]].concat();
    let done = site
        .script(&crate::harness::root().join("scripts/setup.sh"), &arguments)
        .expect(0);
    assert!(
        done.stdout.contains("from this directory"),
        "{}",
        done.stdout
    );
    let image = site.everything()["job/jobs"][0]["image_reference"].clone();
    assert!(image.as_str().unwrap().ends_with(":built"), "{image}");
    assert!(site.is_current());
}

/// A build takes minutes and ends with words like "permission": no reason to repeat it.
#[test]
fn a_failed_build_is_not_repeated_and_its_log_is_shown() {
    for (log, advice) in [
        ("error[E0433]: cannot find crate", None),
        (
            "toomanyrequests: You have reached your pull rate limit",
            Some("use --image"),
        ),
    ] {
        let site = Site::new();
        site.account(|account| account.build_fails = Some(log.to_owned()));
        let inputs = site.inputs();
        let end = inputs.iter().position(|word| *word == "--image").unwrap();
        let arguments = [&inputs[..end], &["--yes"]].concat();
        let script = crate::harness::root().join("scripts/setup.sh");
        let done = site.script(&script, &arguments).expect(1);
        assert_eq!(site.calls().matches(r#"["ce","job","create""#).count(), 1);
        let whole = "ibmcloud ce buildrun logs --buildrun sm-tls-sync-run-261124-101112131";
        for line in [log, whole] {
            assert!(done.stderr.contains(line), "{line}:\n{}", done.stderr);
        }
        assert_eq!(
            done.stderr.contains("use --image"),
            advice.is_some(),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn a_failed_dry_run_is_shown_and_nothing_is_called_installed() {
    for (failed_run_exits_zero, logs, shown) in [
        (false, Logs::AtOnce, r#""status":6"#),
        (true, Logs::Never, "Its log did not arrive"),
    ] {
        let site = Site::with(Freedom {
            failed_run_exits_zero,
            logs,
            ..Freedom::default()
        });
        site.cloud.set_state(&site.secret, 5);
        let done = site.setup(&[]).expect(1);
        assert!(done.stdout.contains(shown), "{}", done.stdout);
        assert_eq!(done.steps("failed: ").len(), 1, "{}", done.stdout);
        let exit = u8::from(!failed_run_exits_zero);
        let point = format!("jobrun submit --wait ends with status {exit} if the run failed");
        assert!(done.stdout.contains(&point), "{}", done.stdout);
        assert!(!done.stdout.contains("Installed."), "{}", done.stdout);
        assert!(!done.stdout.contains("real run"), "{}", done.stdout);
    }
}

/// A policy takes a while to be known everywhere.
#[test]
fn a_right_that_is_not_known_yet_is_waited_for() {
    let site = Site::but(|freedom| freedom.logs = Logs::AtOnce);
    // a run has three attempts
    let _guard = site
        .cloud
        .fault(Fault::on("GET /api/v2/secrets/{id}", FaultKind::Status(403)).times(3));
    let done = site.setup(&[]).expect(0);
    assert_eq!(done.steps("not yet").len(), 1, "{}", done.stdout);
    assert!(site.is_current());
}
