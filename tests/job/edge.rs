use local_cloud::{Fault, FaultKind, route};
use serde_json::json;

use crate::harness::{PATIENCE, Scene, answer};
use crate::many;

/// 2 MiB is more than five times what Secrets Manager can send.
#[test]
fn the_largest_answer_passes_and_the_first_larger_one_does_not() {
    let scene = Scene::new();
    let frame = json!({ "id": "other", "padding": "" }).to_string().len();
    let limit = 2 * 1024 * 1024;
    for (length, told) in [(limit, "returned secret …"), (limit + 1, "larger than 2097152 bytes")]
    {
        // the id is wrong on purpose: it shows that the whole document was read
        let body = json!({ "id": "other", "padding": "x".repeat(length - frame) });
        let _fault = scene.fault(route::READ_SECRET, answer(200, body));
        let run = scene.run();
        let target = run.refused(5, "secrets-manager-refused");
        assert!(target.message.contains(told), "{}", target.message);
    }
}

/// A clock that is behind: the token is new, but not valid yet for the service.
#[test]
fn a_token_that_is_not_valid_yet_is_tried_once_more_after_a_while() {
    let scene = Scene::new();
    let refused = Fault::on(route::READ_TLS_SECRET, FaultKind::Status(401));
    let refused = scene.cloud.fault(refused.times(2));
    let run = scene.run();
    run.expect(0, "replaced");
    assert_eq!(refused.struck(), 2);
    assert!(run.report.duration_ms >= 5000, "{run:#?}");
    assert_eq!(scene.times_asked(route::TOKEN), 2);
}

/// After a 401 nothing was done. After any other answer a write is not sent again before a look.
#[test]
fn a_write_is_sent_with_a_new_token_once() {
    let scene = Scene::new();
    let write = |kind| Fault::on(route::REPLACE_TLS_SECRET, kind);
    let _refused = scene.cloud.fault(write(FaultKind::Status(401)).times(1));
    let _unclear = scene.cloud.fault(write(FaultKind::StatusAfter(503)).times(1));
    assert_eq!(scene.run().expect(0, "replaced").attempts, Some(2));
    assert_eq!((scene.served(), scene.writes().len()), (scene.serial(), 2));
}

/// A token that ends soon is replaced before it is used again.
#[test]
fn a_token_near_its_end_is_renewed_before_it_is_used() {
    let scene = Scene::new();
    scene.cloud.set_token_lifetime(120);
    scene.run().expect(0, "replaced");
    let tokens = || scene.times_asked(route::TOKEN);
    assert_eq!(tokens(), 1);
    scene.cloud.set_token_lifetime(59);
    scene.cloud.rotate_quietly(&[&scene.secret]);
    scene.cloud.clear_journal();
    scene.run().expect(0, "replaced");
    assert_eq!(tokens(), 3);
}

/// The most memory that a run with these targets used until its last write, in KiB, as the kernel counted
/// it. All certificates are renewed before.
fn peak_memory(scene: &Scene, pairs: &[(String, String)]) -> u64 {
    let secrets: Vec<&str> = pairs.iter().map(|(secret, _)| secret.as_str()).collect();
    scene.cloud.rotate_quietly(&secrets);
    let others = u32::try_from(pairs.len() - 1).unwrap();
    let last = Fault::on(route::REPLACE_TLS_SECRET, FaultKind::Hold).skip(others);
    let parked = scene.cloud.fault(last);
    // what threads keep for themselves is not counted
    let start = scene.start().targets(many::targets(pairs)).env("MALLOC_ARENA_MAX", "1");
    let running = start.spawn();
    parked.wait_parked(1, PATIENCE).unwrap();
    let status = format!("/proc/{}/status", running.child.id());
    let status = std::fs::read_to_string(status).unwrap();
    parked.release();
    let run = running.finished();
    assert_eq!(run.status, 0, "{run:#?}");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The bars hold for this build, which is neither small nor fast; the release is smaller. The certificates
/// are so large that the second one breaks if a run keeps those of all its targets.
#[test]
#[cfg(target_os = "linux")]
fn memory_stays_within_its_bars() {
    let (scene, pairs) = many::scene(100);
    let one = peak_memory(&scene, &pairs[..1]);
    let label = "x".repeat(60);
    for (number, (secret, _)) in pairs.iter().enumerate() {
        let name = |n| format!("{n}.{label}.{label}.{label}.n{number}.example.com");
        scene.cloud.change_spec(secret, |spec| spec.names.extend((0..300).map(name)));
    }
    let hundred = peak_memory(&scene, &pairs);
    assert!(one < 16 * 1024, "{one} kB for one target");
    assert!(hundred < 30 * 1024, "{hundred} kB for 100 targets");
}
