//! Removal: all of it, nothing else, twice.

use ibmcloud_stand_in::TLS_SECRET;

use crate::harness::Here;

#[test]
fn all_of_it_goes_and_nothing_else_and_a_second_time_there_is_nothing() {
    let here = Here::new();
    here.setup(&["--alert-email", "ops@example.com"]).expect(0);
    let tls_secret = || here.cloud.tls_secret(&here.world.project_id, TLS_SECRET);
    let before = tls_secret();
    let done = here.teardown(&["--yes"]).expect(0);
    assert_eq!(done.steps("removed ").len(), 10, "{done}");
    here.assert_gone();
    assert!(tls_secret() == before, "the TLS secret was touched");
    assert!(here.cloud.material(&here.secret).certificate.is_some());
    assert_eq!(
        here.account().everything()["sources"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let authorization = here.account().authorizations[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let delete = format!("authorization-policy-delete {authorization}");
    done.says(&[
        "notifications-registration-delete --service-url https://",
        &delete,
        "custom role SmTlsSecretUpdater",
    ]);

    let before = here.state();
    let again = here
        .teardown(&["--yes"])
        .expect(0)
        .says(&["Nothing of sm-tls-sync is left"]);
    assert!(again.steps("removed ").is_empty(), "{again}");
    assert_eq!(before, here.state());
    // and it can be installed again
    here.setup(&[]).expect(0);
}

/// Without a yes nothing is removed (a yes that comes by a pipe was meant for somebody else), and a name alone
/// proves nothing: what does not carry setup's description stays.
#[test]
fn what_stays() {
    let here = Here::installed();
    let before = here.account().everything();
    let mut command = here.command("bash");
    command.arg(ibmcloud_stand_in::root().join("scripts/teardown.sh"));
    command.args([
        "--region",
        "eu-de",
        "--event-notifications",
        "cert-events",
        "--job-project",
        "cert-sync",
    ]);
    here.run(&mut command, "y\n")
        .expect(2)
        .says(&["job sm-tls-sync with its runs"]);
    assert_eq!(before, here.account().everything());
    here.account().profiles[0]["description"] = "somebody else's".into();
    here.teardown(&["--yes"]).expect(0);
    assert_eq!(here.account().profiles.len(), 1);
}
