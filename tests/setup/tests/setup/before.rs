//! Installations into an account that is not empty, and what fails on the way.

use ibmcloud_stand_in::{Failure, JOB, entries};
use local_cloud::{Fault, FaultKind, Trigger};
use serde_json::json;

use crate::harness::{Done, Here, OPTIONS};
use crate::table::assert_as_in_the_table;

#[test]
fn a_registration_at_another_instance_is_left_alone() {
    let here = Here::new();
    let other = "crn:v1:bluemix:public:event-notifications:eu-de:a/1:2::";
    let answer = FaultKind::Answer {
        status: 200,
        content_type: "application/json".into(),
        body: json!({ "event_notifications_instance_crn": other }).to_string(),
    };
    let fault = Fault::on("GET /api/v2/notifications/registration", answer);
    let _guard = here.cloud.fault(fault);
    here.setup(&[]).ends(1, "registered at another instance");
    assert_eq!(here.everything()["sources"], json!([]));
}

/// An authorization with half the roles, the link of another job, a topic without its rules (disconnecting
/// Secrets Manager takes them along): each is made whole, and nothing else.
#[test]
fn what_is_there_in_part_is_made_whole() {
    let here = Here::installed();
    here.account().authorizations[1]["roles"] = json!(["Viewer"]);
    here.account().profiles[0]["links"][0]["component_name"] = "other".into();
    assert_eq!(here.setup(&[]).well().made(), 2);
    let roles = here.account().authorizations[1]["roles"].clone();
    assert_eq!(roles, json!(["Viewer", "Writer"]));
    let links = here.account().profiles[0]["links"].clone();
    assert_eq!(links[1]["component_name"], JOB);
    let gone = here.account().sm("DELETE notifications/registration", ());
    gone.unwrap();
    assert_eq!(here.setup(&[]).well().made(), 3);
    assert_eq!(entries(&here.everything()["topics"]).len(), 1);
    here.assert_follows();
}

#[test]
fn what_somebody_else_made_under_the_same_name_stops_setup() {
    let here = Here::installed();
    let before = here.everything();
    // the same job name in another project: the profile is the other one's
    let elsewhere = here.setup(&["--job-project", &here.world.project_name]);
    elsewhere.ends(1, "Choose another --name");
    assert_eq!(before, here.everything());
    // the same name for another TLS secret: the configmap is the first one's
    let other = here.setup(&["--tls-secret", "other-tls"]);
    other.ends(1, "TLS_SECRET_NAME | --targets");
}

#[test]
fn two_installations_side_by_side() {
    let here = Here::installed();
    let second = here.setup(&["--name", "blog", "--tls-secret", "blog-tls"]);
    second.well();
    here.assert_follows();
    assert_eq!(here.runs(Trigger::EventNotifications).len(), 2);
    // its run goes with its job
    here.teardown(&["--name", "blog", "--yes"]).well();
    here.assert_follows();
    assert_eq!(here.runs(Trigger::EventNotifications).len(), 2);
}

/// Runs until it succeeds, each time stopped after one change more; says how often it was stopped.
fn step_by_step(here: &Here, run: impl Fn() -> Done, done: bool) -> u64 {
    for stops in 0..60 {
        // one change gets through: answered, or with its answer lost
        let at = here.account().changes + if done { 1 } else { 2 };
        here.account().failure = Some(Failure { at, done });
        let ended = run();
        if ended.status == 0 {
            return stops;
        }
        // with a command to look further
        let ended = ended.ends(1, "it continues from there | \n  [ibmcloud ");
        ended.counts(&[("failed ", 1)]);
    }
    panic!("never ready")
}

#[test]
fn an_installation_that_fails_at_any_step_continues_from_there() {
    for done in [false, true] {
        let here = Here::new();
        // the last two changes are the runs; of those the stand-in may not lose the answer for ever
        let until_runs = || {
            let ended = here.setup(&OPTIONS);
            if !ended.stdout.contains("dry run sm-tls-sync-") {
                return ended;
            }
            here.account().failure = None;
            here.setup(&OPTIONS)
        };
        let stops = step_by_step(&here, until_runs, done);
        assert!(stops >= 16, "only {stops} steps failed");
        let (group, project) = (&here.world.secret_group_id, &here.world.project_id);
        assert_as_in_the_table(&here, "one_certificate", &[group], &[project], "");
        let all = here.everything();
        let lists = "topics subscriptions destinations profiles roles".split(' ');
        let numbers: Vec<_> = lists.map(|list| entries(&all[list]).len()).collect();
        assert_eq!(numbers, [2, 2, 2, 1, 1]);
    }
}

#[test]
fn a_removal_that_fails_at_any_step_continues_from_there() {
    for done in [false, true] {
        let here = Here::new();
        here.setup(&OPTIONS).well();
        let stops = step_by_step(&here, || here.teardown(&["--yes"]), done);
        assert!(stops >= 8, "only {stops} steps failed");
        here.assert_gone();
    }
}

/// A build takes minutes and ends with words like "permission": no reason to repeat it.
#[test]
fn without_an_image_the_job_is_built_and_a_failed_build_is_shown() {
    let setup = |here: &Here| here.setup_without(&["--image"], &[]);
    let here = Here::new();
    setup(&here).ends(0, "from this directory");
    let image = here.everything()["cert-sync"]["jobs"][0]["image_reference"].to_string();
    assert!(image.ends_with(":built\"") && here.is_current(), "{image}");
    let limit = "toomanyrequests: reached your limit";
    for log in ["error[E0433]: cannot find crate", limit] {
        let here = Here::new();
        here.account().build_fails = Some(log);
        let whole = "ibmcloud ce buildrun logs --buildrun sm-tls-sync-run-261124-101112131";
        let done = setup(&here).ends(1, &format!("{log} | {whole}"));
        assert_eq!(done.stderr.contains("use --image"), log == limit, "{done}");
        let calls = here.account().calls.clone();
        let is_build =
            |(words, _): &&(Vec<String>, u8)| words.join(" ").starts_with("ce job create");
        assert_eq!(calls.iter().filter(is_build).count(), 1);
    }
}

#[test]
fn a_failed_dry_run_is_shown_and_nothing_is_called_installed() {
    let lost = ("failed-run-exits-0 no-logs", "0", "Its log did not arrive");
    for (odd, exit, shown) in [("", "1", r#""status":6"#), lost] {
        let here = Here::odd(odd);
        here.cloud.set_state(&here.secret, 5);
        let shown = format!("{shown} | jobrun submit --wait ends with status {exit}");
        let done = here.setup(&[]).ends(1, &shown).counts(&[("failed: ", 1)]);
        let claims = ["Installed.", "real run"].map(|text| done.stdout.contains(text));
        assert_eq!(claims, [false; 2], "{done}");
    }
}

/// A policy takes time to propagate.
#[test]
fn a_right_that_is_not_known_yet_is_waited_for() {
    let here = Here::new();
    // a run has three attempts
    let fault = Fault::on("GET /api/v2/secrets/{id}", FaultKind::Status(403)).times(3);
    let _guard = here.cloud.fault(fault);
    here.setup(&[]).well().counts(&[("not yet", 1)]);
    assert!(here.is_current());
}
