use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local_cloud::{CertificateSpec, Fault, FaultKind, JobSettings, route};
use serde_json::{Value, json};

use crate::harness::{JOB, PATIENCE, Run, Scene, writer};

/// A scene with more certificates: (secret id, TLS secret), all rotated since they were deployed.
pub(crate) fn scene(count: usize) -> (Scene, Vec<(String, String)>) {
    let mut scene = Scene::new();
    let project = scene.world.project_id.clone();
    let mut pairs = vec![(scene.secret.clone(), "shop-tls".to_owned())];
    for n in 1..count {
        let names = vec![format!("n{n}.example.com")];
        let secret = scene.cloud.issue(CertificateSpec {
            names,
            ..CertificateSpec::default()
        });
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

#[test]
fn a_reconcile_brings_every_target_in_line() {
    let (scene, pairs) = scene(20);
    let run = scene.start().targets(targets(&pairs)).run();
    assert_eq!(run.status, 0, "{run:#?}");
    let order: Vec<_> = run
        .report
        .targets
        .iter()
        .map(|t| t.tls_secret.clone().unwrap())
        .collect();
    assert_eq!(
        order,
        pairs.iter().map(|(_, tls)| tls.clone()).collect::<Vec<_>>()
    );
    assert!(run.report.targets.iter().all(|t| t.action == "replaced"));
    assert_eq!(run.report.message, "20 replaced");
    assert_eq!(scene.times_asked(route::TOKEN), 1);
    // three waves over the same few connections
    let connections: BTreeSet<_> = scene.cloud.journal().iter().map(|e| e.connection).collect();
    assert!(
        connections.len() <= 1 + 8 + 8,
        "{} connections",
        connections.len()
    );
    assert_eq!(scene.writes().len(), 20);
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
    assert_eq!(run.status, 6, "{run:#?}");
    let actions: Vec<_> = run
        .report
        .targets
        .iter()
        .map(|t| t.action.as_str())
        .collect();
    assert_eq!(actions, ["replaced", "refused", "replaced", "failed"]);
    assert_eq!(run.report.message, "2 replaced, 1 refused, 1 failed");
}

#[test]
fn secret_id_narrows_a_run_by_hand_to_one_secret() {
    let (scene, pairs) = scene(3);
    let run = scene
        .start()
        .targets(targets(&pairs))
        .env("SECRET_ID", &pairs[2].0)
        .run();
    assert_eq!(
        run.expect(0, "replaced").tls_secret.as_deref(),
        Some("tls-2")
    );
}

#[test]
fn projects_of_other_regions_are_reached_through_the_pattern() {
    let mut scene = Scene::new();
    let other = scene.cloud.create_project("far away", "us-south");
    scene.cloud.grant(writer(&other));
    scene.cloud.deploy(&scene.secret, &other, "shop-tls");
    scene.watch(&other, "shop-tls");
    scene.cloud.rotate_quietly(&[&scene.secret]);
    let targets = json!([
        { "secret_id": scene.secret, "tls_secret": "shop-tls", "region": "eu-de" },
        { "secret_id": scene.secret, "tls_secret": "shop-tls", "region": "us-south", "project_id": other },
    ]);
    let url = format!("{}/{{region}}", scene.cloud.code_engine_url());
    let run = scene
        .start()
        .targets(&targets)
        .env("CODE_ENGINE_URL", url)
        .run();
    assert_eq!(
        (run.status, run.report.message.as_str()),
        (0, "2 replaced"),
        "{run:#?}"
    );
}

#[test]
fn a_job_array_shares_the_targets_of_a_reconcile() {
    let (scene, pairs) = scene(7);
    let project = &scene.world.project_id;
    let mut environment = scene.job_environment();
    environment.remove("TLS_SECRET_NAME");
    environment.remove("SECRET_ID");
    environment.insert("TARGETS".to_owned(), targets(&pairs));
    let settings = JobSettings {
        array_spec: "0-2".to_owned(),
        ..JobSettings::default()
    };
    scene
        .cloud
        .create_job(project, JOB, &environment, &settings);

    let name = scene
        .cloud
        .submit_job_run(project, JOB, &BTreeMap::new(), &[]);

    let (run, processes) = scene.finished(&name);
    assert_eq!(
        (run.status.as_str(), processes.len()),
        ("completed", 3),
        "{run:#?}"
    );
    let mut replaced: Vec<_> = processes
        .iter()
        .flat_map(|process| &process.report.targets)
        .map(|target| target.tls_secret.clone().unwrap())
        .collect();
    replaced.sort();
    let mut expected: Vec<_> = pairs.into_iter().map(|(_, tls)| tls).collect();
    expected.sort();
    assert_eq!(replaced, expected);
    assert_eq!(scene.writes().len(), 7);
}

/// Each instance of the array sees the whole event.
#[test]
fn a_job_array_shares_the_targets_of_an_event() {
    let (scene, pairs) = scene(5);
    let mut event: Value = serde_json::from_str(&scene.payload("rotated-public.json")).unwrap();
    let stranger = "00000000-1111-4222-8333-444444444444";
    let secrets = pairs.iter().map(|(secret, _)| secret.as_str());
    let secrets: Vec<Value> = secrets
        .chain([stranger])
        .map(|secret| json!({ "secret_id": secret }))
        .collect();
    event["data"]["secrets"] = json!(secrets);
    let run = |index: &str| {
        scene
            .start()
            .targets(targets(&pairs))
            .env("ibmendata", event.to_string())
            .env("JOB_ARRAY_SIZE", "2")
            .env("JOB_INDEX", index)
            .run()
    };
    let (first, second) = (run("0"), run("1"));
    let actions = |run: &Run| {
        let targets = run.report.targets.iter();
        targets.map(|t| t.action.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        actions(&first),
        ["replaced", "replaced", "replaced", "ignored"]
    );
    // one instance reports what is not for this job
    assert_eq!(actions(&second), ["replaced", "replaced"]);
    assert_eq!(scene.writes().len(), 5);
    assert_eq!(scene.times_asked(route::READ_SECRET), 5);
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
    let _reads = scene
        .cloud
        .fault(Fault::on(route::READ_TLS_SECRET, delay()));
    let _writes = scene
        .cloud
        .fault(Fault::on(route::REPLACE_TLS_SECRET, delay()));
    let (mut seconds, mut cut, mut runs) = (2, 0, 0);
    while scene.writes().len() < COUNT {
        let before = scene.writes().len();
        let start = scene.start().targets(&targets);
        let run = start
            .env("DEADLINE", seconds.to_string())
            .run_beside_others();
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
    std::fs::write(&file, &targets).unwrap();
    let run = scene
        .start()
        .bare()
        .env("TARGETS_FILE", file.to_str().unwrap())
        .env("DEADLINE", "600")
        .run_beside_others();
    assert_eq!(
        (run.status, run.report.message.as_str()),
        (0, "1200 replaced"),
        "{run:#?}"
    );
    let shown = run.report.targets.len();
    assert_eq!(shown + run.report.targets_omitted, 1200);
}

/// Fewer targets than instances: who has no share says so and is content. An index that is no
/// instance's is refused.
#[test]
fn an_instance_without_a_share_has_nothing_to_do() {
    let (scene, pairs) = scene(1);
    let run = |index: &str| {
        let start = scene.start().targets(targets(&pairs));
        start
            .env("JOB_ARRAY_SIZE", "2")
            .env("JOB_INDEX", index)
            .run()
    };
    let idle = run("1");
    assert_eq!(
        (idle.status, idle.report.targets.len()),
        (0, 0),
        "{idle:#?}"
    );
    let told = "no targets assigned";
    assert!(idle.report.message.contains(told), "{idle:#?}");
    run("7").rejected(2, "configuration");
    assert_eq!(scene.asked(), Vec::<String>::new());
}

/// Kind to the services, and small in memory: the ninth waits for one of the first eight.
#[test]
fn at_most_eight_targets_are_handled_at_a_time() {
    let (scene, pairs) = scene(12);
    let parked = scene
        .cloud
        .fault(Fault::on(route::READ_TLS_SECRET, FaultKind::Hold));
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| scene.start().targets(targets(&pairs)).run_beside_others());
        parked.wait_parked(8, PATIENCE).unwrap();
        // all threads are parked: nobody is left who could ask for more
        assert_eq!(parked.struck(), 8);
        parked.release();
        run.join().unwrap()
    });
    assert_eq!(
        (run.status, run.report.message.as_str()),
        (0, "12 replaced"),
        "{run:#?}"
    );
}

/// Many secrets to many TLS secrets of two projects, each secret read once.
#[test]
fn many_to_many() {
    let (scene, pairs) = scene(3);
    let other = scene.cloud.create_project("second", "eu-de");
    scene.cloud.grant(writer(&other));
    let entries: Vec<_> = pairs
        .iter()
        .flat_map(|(secret, tls)| {
            scene.cloud.deploy(secret, &other, tls);
            [
                json!({ "secret_id": secret, "tls_secret": tls }),
                json!({ "secret_id": secret, "tls_secret": tls, "project_id": other }),
            ]
        })
        .collect();
    for (secret, _) in &pairs {
        scene.cloud.rotate_quietly(&[secret]);
    }
    scene.cloud.clear_journal();
    let run = scene.start().targets(json!(entries)).run();
    assert_eq!(
        (run.status, run.report.message.as_str()),
        (0, "6 replaced"),
        "{run:#?}"
    );
    let fetched = scene.times_asked(route::READ_SECRET);
    assert_eq!(fetched, 3);
}
