use std::collections::BTreeSet;
use std::time::Duration;

use local_cloud::{Fault, FaultKind, JobSettings, route};
use serde_json::{Value, json};

use crate::harness::{JOB, PATIENCE, Scene, spec_for, writer};

/// A scene with more certificates: (secret id, TLS secret), all rotated since they were deployed.
pub(crate) fn scene(count: usize) -> (Scene, Vec<(String, String)>) {
    let mut scene = Scene::new();
    let project = scene.world.project_id.clone();
    let mut pairs = vec![(scene.secret.clone(), "shop-tls".to_owned())];
    for n in 1..count {
        let name = format!("n{n}.example.com");
        let secret = scene.cloud.issue(spec_for(&[name]));
        let tls_secret = format!("tls-{n}");
        scene.cloud.deploy(&secret, &project, &tls_secret);
        scene.cloud.rotate_quietly(&[&secret]);
        scene.watch(&project, &tls_secret);
        pairs.push((secret, tls_secret));
    }
    scene.cloud.clear_journal();
    (scene, pairs)
}

pub(crate) fn targets(pairs: &[(String, String)]) -> String {
    let entries: Vec<_> = pairs
        .iter()
        .map(|(secret, tls)| json!({ "secret_id": secret, "tls_secret": tls }))
        .collect();
    json!(entries).to_string()
}

/// Many secrets to TLS secrets of two projects: one token, few connections, each secret read once.
#[test]
fn a_reconcile_brings_every_target_up_to_date() {
    let (scene, pairs) = scene(10);
    let other = scene.cloud.create_project("second", "eu-de");
    scene.cloud.grant(writer(&other));
    let both = pairs.iter().flat_map(|(secret, tls)| {
        scene.cloud.deploy(secret, &other, tls);
        scene.cloud.rotate_quietly(&[secret]);
        [None, Some(&other)]
            .map(|project| json!({ "secret_id": secret, "tls_secret": tls, "project_id": project }))
    });
    let targets: Vec<Value> = both.collect();
    scene.cloud.clear_journal();
    let run = scene.start().targets(json!(targets)).run();
    run.says(0, "20 replaced");
    let order = run.report.targets.iter().map(|t| t.tls_secret.as_ref());
    let expected = pairs.iter().flat_map(|(_, tls)| [Some(tls); 2]);
    assert!(order.eq(expected), "{run:#?}");
    assert_eq!(scene.times_asked(route::TOKEN), 1);
    assert_eq!(scene.times_asked(route::READ_SECRET), 10);
    assert_eq!(scene.writes().len(), 20);
    // three waves over the same few connections
    let connections: BTreeSet<_> = scene.cloud.journal().iter().map(|e| e.connection).collect();
    assert!(connections.len() <= 1 + 8 + 8, "{connections:?}");
}

#[test]
fn the_failure_of_one_leaves_the_others_to_finish_and_gives_the_status() {
    let (scene, pairs) = scene(4);
    scene.cloud.set_state(&pairs[1].0, 3);
    let _down = scene
        .cloud
        .fault(Fault::on(route::READ_TLS_SECRET, FaultKind::Status(403)).path_contains("tls-3"));
    let run = scene.start().targets(targets(&pairs)).run();
    // the first failure in the order of the targets, whoever failed first
    run.says(6, "2 replaced, 1 refused, 1 failed");
    assert_eq!(run.actions(), ["replaced", "refused", "replaced", "failed"]);
}

#[test]
fn iam_is_not_asked_again_for_what_it_refused() {
    let (scene, pairs) = scene(12);
    scene.cloud.set_links(Vec::new());
    let run = scene.start().targets(targets(&pairs)).run();
    run.says(4, "12 failed");
    let reasons = run.report.targets.iter().map(|target| target.reason.as_deref());
    assert!(reasons.eq([Some("profile-refused"); 12]), "{run:#?}");
    assert_eq!(scene.times_asked(route::TOKEN), 1);
}

#[test]
fn a_job_array_shares_the_targets_of_a_reconcile() {
    let (scene, pairs) = scene(7);
    let project = &scene.world.project_id;
    let mut environment = scene.job_environment();
    for name in ["TLS_SECRET_NAME", "SECRET_ID"] {
        environment.remove(name);
    }
    environment.insert("TARGETS".to_owned(), targets(&pairs));
    let settings = JobSettings { array_spec: "0-2".to_owned(), ..JobSettings::default() };
    let cloud = &scene.cloud;
    cloud.create_job(project, JOB, &environment, &settings);
    let (run, processes) = scene.finished(&scene.submit(&[]));
    let ended = (&*run.status, processes.len());
    assert_eq!(ended, ("completed", 3), "{run:#?}");
    let targets = processes.iter().flat_map(|run| &run.report.targets);
    let replaced: BTreeSet<_> = targets.map(|t| t.tls_secret.as_ref().unwrap()).collect();
    assert_eq!(replaced, pairs.iter().map(|(_, tls)| tls).collect());
    assert_eq!(scene.writes().len(), 7);
}

/// TLS secrets for the same certificate, in as many projects as it takes, all to be replaced; and
/// their `TARGETS`.
pub(crate) fn copies(count: usize) -> (Scene, String) {
    /// A project holds 100 secrets (Code Engine limits).
    const IN_ONE_PROJECT: usize = 90;
    let scene = Scene::new();
    let mut project = String::new();
    let mut targets = Vec::new();
    for n in 0..count {
        if n % IN_ONE_PROJECT == 0 {
            project = scene.cloud.create_project(&format!("copies-{n}"), "eu-de");
            scene.cloud.grant(writer(&project));
        }
        let tls_secret = format!("copy-{n}");
        scene.cloud.deploy(&scene.secret, &project, &tls_secret);
        targets.push(json!({
            "secret_id": scene.secret, "project_id": project, "tls_secret": tls_secret
        }));
    }
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.cloud.clear_journal();
    (scene, json!(targets).to_string())
}

/// What a run finished stays finished, and runs begin at different targets, so that those at the end
/// get their turn, too.
#[test]
fn runs_that_the_deadline_cuts_are_done_within_eight() {
    const COUNT: usize = 99;
    let (scene, targets) = copies(COUNT);
    let delay = || FaultKind::Delay(Duration::from_millis(150));
    let _reads = scene.fault(route::READ_TLS_SECRET, delay());
    let _writes = scene.fault(route::REPLACE_TLS_SECRET, delay());
    let (mut seconds, mut cut, mut runs) = (2, 0, 0);
    while scene.writes().len() < COUNT {
        let before = scene.writes().len();
        let start = scene.start().targets(&targets);
        let run = start.env("DEADLINE", seconds.to_string()).run_beside_others();
        assert!([0, 9].contains(&run.status), "{run:#?}");
        let counted = run.report.message.split_once(" replaced");
        let told: usize = counted.map_or(0, |(count, _)| count.parse().unwrap());
        let written = scene.writes().len() - before;
        assert_eq!(told, written, "{run:#?}");
        cut += usize::from(run.status == 9);
        match written {
            // a busy machine needs longer for a chunk
            0..24 => seconds += 1,
            _ => runs += 1,
        }
    }
    assert!(cut > 0 && runs <= 8, "{cut} cut, {runs} runs");
}

/// The kernel takes no variable beyond 128 KiB.
#[test]
fn more_targets_than_a_variable_can_hold_come_from_a_file() {
    let (scene, targets) = copies(1200);
    assert!(targets.len() > 131_072, "{} bytes", targets.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets.json");
    // some editors begin it with a byte order mark
    std::fs::write(&file, format!("\u{feff}{targets}")).unwrap();
    let start = scene.start().bare().env("DEADLINE", "600");
    let start = start.env("TARGETS_FILE", file.to_str().unwrap());
    let run = start.run_beside_others();
    run.says(0, "1200 replaced");
    let shown = run.report.targets.len();
    assert_eq!(shown + run.report.targets_omitted, 1200);
}

/// Fewer targets than instances: who has no share says so and is content.
#[test]
fn an_instance_without_a_share_has_nothing_to_do() {
    let (scene, pairs) = scene(1);
    let start = scene.start().targets(targets(&pairs));
    let run = start.env("JOB_ARRAY_SIZE", "2").env("JOB_INDEX", "1").run();
    assert_eq!((run.status, run.report.targets.len()), (0, 0), "{run:#?}");
    let told = &run.report.message;
    assert!(told.contains("no targets assigned"), "{told}");
    assert!(scene.asked().is_empty());
}

/// Kind to the services, and small in memory: the ninth waits for one of the first eight.
#[test]
fn at_most_eight_targets_are_handled_at_a_time() {
    let (scene, pairs) = scene(12);
    let parked = scene.fault(route::READ_TLS_SECRET, FaultKind::Hold);
    let running = scene.start().targets(targets(&pairs)).spawn();
    parked.wait_parked(8, PATIENCE).unwrap();
    // all threads are parked: nobody is left who could ask for more
    assert_eq!(parked.struck(), 8);
    parked.release();
    let run = running.finished();
    run.says(0, "12 replaced");
}
