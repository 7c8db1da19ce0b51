//! Failures in the middle, and continuing from there.

use ibmcloud_stand_in::account::Failure;

use crate::harness::{Done, Site, assert_same};

/// Runs until it succeeds, each time stopped after one change more; returns how often it was stopped.
fn step_by_step(site: &Site, run: impl Fn() -> Done, done: bool) -> u64 {
    for stops in 0..60 {
        let changes = site.state().changes;
        // one change gets through: answered, or with its answer lost
        let at = changes + if done { 1 } else { 2 };
        site.account(|account| account.failure = Some(Failure { at, done }));
        let ended = run();
        if ended.status == 0 {
            return stops;
        }
        let ended = ended.expect(1);
        assert!(
            ended.stderr.contains("it continues from there"),
            "{}",
            ended.stderr
        );
        let [failed] = ended.steps("failed")[..] else {
            panic!("not one failed step:\n{}", ended.stdout)
        };
        assert!(
            failed.contains("[ibmcloud "),
            "no command to look further: {failed}"
        );
    }
    panic!("never ready")
}

const FIXED: [&str; 4] = [
    "--schedule",
    "17 3 * * *",
    "--alert-email",
    "ops@example.com",
];

#[test]
fn an_installation_that_fails_at_any_step_continues_from_there() {
    let fresh = Site::new();
    fresh.setup(&FIXED).expect(0);
    let expected = fresh.essence();
    for done in [false, true] {
        // opaque policies are created again each time, which would be the one change of each run
        let site = Site::but(|freedom| freedom.policies_opaque = false);
        // the last two changes are the runs; of those the stand-in may not lose the answer for ever
        let setup = || site.setup(&FIXED);
        let until_runs = || {
            let ended = setup();
            if ended.stdout.contains("dry run sm-tls-sync-") {
                site.account(|account| account.failure = None);
                return setup();
            }
            ended
        };
        let stops = step_by_step(&site, until_runs, done);
        assert!(stops >= 16, "only {stops} steps failed");
        assert_same(&expected, &site.essence());
    }
}

#[test]
fn a_removal_that_fails_at_any_step_continues_from_there() {
    for done in [false, true] {
        let site = Site::new();
        site.setup(&FIXED).expect(0);
        let stops = step_by_step(&site, || site.teardown(&["--yes"]), done);
        assert!(stops >= 8, "only {stops} steps failed");
        crate::remove::assert_gone(&site);
    }
}
