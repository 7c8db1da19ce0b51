//! Removal: all of it, nothing else, twice.

use ibmcloud_stand_in::{TLS_SECRET, root, text};
use serde_json::Value;

use crate::harness::{Here, OPTIONS};

#[test]
fn all_of_it_goes_and_nothing_else_and_a_second_time_there_is_nothing() {
    let here = Here::new();
    here.setup(&OPTIONS[2..]).well();
    let tls_secret = || here.cloud.tls_secret(&here.world.project_id, TLS_SECRET);
    let before = tls_secret();
    let done = here.teardown(&["--yes"]).counts(&[("removed ", 10)]);
    here.assert_gone();
    assert!(tls_secret() == before, "the TLS secret was touched");
    assert!(here.cloud.material(&here.secret).certificate.is_some());
    let all = here.everything();
    assert_ne!(all["sources"][0], Value::Null);
    let stays = format!(
        "notifications-registration-delete --service-url https:// | authorization-policy-delete {} | \
         custom role SmTlsSecretUpdater",
        text(&all["authorizations"][0], "id"),
    );
    done.ends(0, &stays);
    let changes = here.account().changes;
    let again = here.teardown(&["--yes"]).counts(&[("removed ", 0)]);
    again.ends(0, "Nothing of sm-tls-sync is left");
    assert_eq!((all, changes), (here.everything(), here.account().changes));
    // and it can be installed again
    here.setup(&[]).well();
}

/// Without a yes nothing is removed (a yes that comes by a pipe was meant for somebody else), and a name alone
/// proves nothing: what does not carry setup's description stays.
#[test]
fn what_stays() {
    let here = Here::installed();
    let before = here.everything();
    let line = "echo y | bash scripts/teardown.sh --region eu-de --event-notifications cert-events --job-project cert-sync";
    let line = format!("cd {}; {line}", root().display());
    here.shell(&line).ends(2, "job sm-tls-sync with its runs");
    assert_eq!(before, here.everything());
    here.account().profiles[0]["description"] = "somebody else's".into();
    here.teardown(&["--yes"]).well();
    assert_eq!(here.account().profiles.len(), 1);
}
