//! A fresh installation, and what it is good for.

use std::time::Duration;

use local_cloud::Trigger;

use crate::harness::{JOB, Site, TLS_SECRET};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_fresh_installation_replaces_the_placeholder_and_follows_each_rotation() {
    let site = Site::new();
    let done = site.setup(&[]).expect(0);
    eprintln!("{}", done.stdout);
    assert!(done.steps("already there").is_empty(), "{}", done.stdout);
    let deployed = |cloud: &local_cloud::CloudHandle| {
        cloud
            .tls_secret(&site.world.project_id, TLS_SECRET)
            .unwrap()
    };
    let first = deployed(&site.cloud);
    assert!(
        first.tls_cert.starts_with(
            site.cloud
                .material(&site.secret)
                .certificate
                .unwrap()
                .trim_end()
        )
    );

    site.cloud.rotate(&[&site.secret]);
    let runs = site
        .cloud
        .wait_job_runs(&site.job_project, PATIENCE)
        .unwrap();
    let by_event: Vec<_> = runs
        .iter()
        .filter(|run| run.trigger == Trigger::EventNotifications)
        .collect();
    assert_eq!(by_event.len(), 1, "{runs:#?}");
    assert_eq!(
        (by_event[0].job_name.as_str(), by_event[0].status.as_str()),
        (JOB, "completed")
    );
    let second = deployed(&site.cloud);
    assert_ne!(first.tls_cert, second.tls_cert);
    assert!(
        second.tls_cert.starts_with(
            site.cloud
                .material(&site.secret)
                .certificate
                .unwrap()
                .trim_end()
        )
    );
}
