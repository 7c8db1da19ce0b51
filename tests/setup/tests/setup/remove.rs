//! Removal: all of it, nothing else, twice.

use serde_json::Value;

use crate::harness::{Site, TLS_SECRET, assert_same, root};

/// Nothing of setup's is left but what others may share.
pub(crate) fn assert_gone(site: &Site) {
    let all = site.everything();
    for list in [
        "topics",
        "subscriptions",
        "job/jobs",
        "job/config_maps",
        "job/crons",
    ] {
        assert_eq!(all[list], Value::Array(Vec::new()), "{list}");
    }
    let destinations = all["destinations"].as_array().unwrap();
    assert!(
        destinations.iter().all(|one| one["type"] == "smtp_ibm"),
        "{destinations:?}"
    );
    let state = site.state();
    assert!(state.profiles.is_empty());
    let left: Vec<_> = state
        .authorizations
        .iter()
        .map(|a| a.target.0.as_str())
        .collect();
    assert_eq!(left, ["event-notifications"]);
}

#[test]
fn all_of_it_goes_and_nothing_else_and_a_second_time_there_is_nothing() {
    let site = Site::new();
    site.setup(&["--alert-email", "ops@example.com"]).expect(0);
    let tls_secret = site
        .cloud
        .tls_secret(&site.world.project_id, TLS_SECRET)
        .unwrap();
    let done = site.teardown(&["--yes"]).expect(0);
    assert_eq!(done.steps("removed").len(), 10, "{}", done.stdout);
    assert_gone(&site);
    let kept = site
        .cloud
        .tls_secret(&site.world.project_id, TLS_SECRET)
        .unwrap();
    assert!(kept == tls_secret, "the TLS secret was touched");
    assert!(site.cloud.material(&site.secret).certificate.is_some());
    assert_eq!(site.everything()["sources"].as_array().unwrap().len(), 1);

    for named in [
        "notifications-registration-delete --service-url https://",
        &format!(
            "authorization-policy-delete {}",
            site.state().authorizations[0].id
        ),
        "custom role SmTlsSecretUpdater",
    ] {
        assert!(done.stdout.contains(named), "{named}:\n{}", done.stdout);
    }

    let (before, changes) = (site.everything(), site.state().changes);
    let again = site.teardown(&["--yes"]).expect(0);
    assert!(
        again.stdout.contains("Nothing of sm-tls-sync is left"),
        "{}",
        again.stdout
    );
    assert!(again.steps("removed").is_empty(), "{}", again.stdout);
    assert_same(&before, &site.everything());
    assert_eq!(site.state().changes, changes);
    // and it can be installed again
    site.setup(&[]).expect(0);
}

#[test]
fn without_a_yes_nothing_is_removed() {
    let site = Site::new();
    site.setup(&[]).expect(0);
    let before = site.everything();
    // a yes that comes by a pipe was meant for somebody else
    let mut command = site.command("bash");
    command
        .arg(root().join("scripts/teardown.sh"))
        .args(site.removal());
    let done = site.run(command, "y\n").expect(2);
    assert!(
        done.stdout.contains("job sm-tls-sync with its runs"),
        "{}",
        done.stdout
    );
    assert_same(&before, &site.everything());
}

/// A name alone proves nothing: what does not carry setup's description, or use its configmap, stays.
#[test]
fn what_only_has_the_same_name_stays() {
    let site = Site::new();
    site.setup(&[]).expect(0);
    let mut state = site.state();
    state.profiles[0].description = "somebody else's".into();
    state.save(site.home.path());
    site.teardown(&["--yes"]).expect(0);
    assert_eq!(site.state().profiles.len(), 1);
}
