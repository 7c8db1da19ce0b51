//! Restarts the apps that cached the old certificate.
//!
//! Restarts are idempotent: an app records, per TLS secret, the digest of the chain that it was
//! started for in a variable. It is up to date if that is equal and its newest revision is ready. So
//! the next run finishes what this one did not, and two runs at once restart an app once.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::effect::{UpToDate, pause};
use crate::error::{Error, Reason, error};
use crate::ibm::client::Fate;
use crate::ibm::code_engine::{App, Project};
use crate::ibm::ids::{AppName, Id, TlsSecretName};
use crate::sync::Run;

/// How often an app is read and changed, if others change it meanwhile.
const MOST_ATTEMPTS: u32 = 5;
/// How often a revision that failed is followed by another one for the same certificate: a project
/// keeps 120 revisions (Code Engine limits).
const MOST_REVISIONS: u32 = 9;

/// Brings the apps of all targets up to date, one app after another. In a project the first failure
/// stops the rest.
pub(crate) fn restart_apps(run: &Run<'_>, targets: &[UpToDate<'_>]) {
    let mut projects: HashMap<&Project, Restarter<'_, '_>> = HashMap::new();
    for target in targets.iter().filter(|target| target.restarts) {
        let project = target.project();
        let restarter = projects.entry(project).or_insert_with(|| Restarter {
            run,
            project,
            targets,
            apps: None,
            done: BTreeMap::new(),
            failed: None,
        });
        if let Err(error) = restarter.restart(target) {
            target.not_served(run, &error);
        }
        run.progress
            .step(target.position, "waiting for its domains");
        target.done(run);
    }
}

/// Restarts apps of one project.
struct Restarter<'r, 'a> {
    run: &'r Run<'r>,
    project: &'r Project,
    /// Those of all projects.
    targets: &'r [UpToDate<'a>],
    /// All apps of the project, once a target asked for them.
    apps: Option<Result<Vec<App>, Error>>,
    /// The apps that are up to date, and whether this run restarted them.
    done: BTreeMap<AppName, bool>,
    /// The first app that failed, and why.
    failed: Option<(AppName, Error)>,
}

impl Restarter<'_, '_> {
    /// The apps of one target.
    fn restart(&mut self, target: &UpToDate<'_>) -> Result<(), Error> {
        let names = self.names(target)?;
        for name in &names {
            if self.failed.is_none() && !self.done.contains_key(name) {
                let step = format!("restarting app {name}");
                self.run.progress.step(target.position, step);
                match self.bring_up_to_date(name) {
                    Ok(restarted) => _ = self.done.insert(name.clone(), restarted),
                    Err(error) => self.failed = Some((name.clone(), error)),
                }
            }
            if self.done.get(name) == Some(&true) {
                self.run.progress.know(target.position, |outcome| {
                    outcome.restarted.push(name.to_string());
                });
            }
        }
        let mut open: Vec<&AppName> = names
            .iter()
            .filter(|name| !self.done.contains_key(name))
            .collect();
        match &self.failed {
            Some((failed, error)) if !open.is_empty() => {
                open.retain(|name| *name != failed);
                let open: Vec<String> = open.iter().map(ToString::to_string).collect();
                Err(match open.as_slice() {
                    [] => error.clone(),
                    open => error
                        .clone()
                        .hint(format!("not restarted either: {}", open.join(", "))),
                })
            }
            _ => Ok(()),
        }
    }

    fn names(&mut self, target: &UpToDate<'_>) -> Result<Vec<AppName>, Error> {
        let mut names = target.task.restart_apps.names.clone();
        if target.task.restart_apps.auto {
            let (run, project) = (self.run, self.project);
            let apps = self
                .apps
                .get_or_insert_with(|| run.code_engine.apps(project).map_err(explained));
            let secret = &target.task.tls_secret.name;
            let copies = apps
                .as_ref()
                .map_err(Clone::clone)?
                .iter()
                .filter(|app| app.copies(secret));
            // a name that does not fit into a URL is not one of Code Engine's
            names.extend(copies.filter_map(|app| AppName::parse(&app.name).ok()));
        }
        Ok(names)
    }

    /// The variables that this app should have: of each TLS secret for which it is restarted, since
    /// two secrets are one change.
    fn digests(&self, name: &AppName, app: &App) -> BTreeMap<String, &str> {
        let concerned = self.targets.iter().filter(|target| {
            let (wanted, secret) = (&target.task.restart_apps, &target.task.tls_secret);
            let wants = wanted.names.contains(name) || wanted.auto && app.copies(&secret.name);
            target.restarts && secret.project == *self.project && wants
        });
        concerned
            .map(|target| {
                let variable = target.task.tls_secret.name.fingerprint_variable();
                (variable, target.synced.chain_sha256.as_str())
            })
            .collect()
    }

    /// Returns whether the app was restarted; it is ready with the digests then.
    fn bring_up_to_date(&self, name: &AppName) -> Result<bool, Error> {
        let mut app = self.read(name)?;
        let digests = self.digests(name, &app);
        let mut changed = false;
        let mut before = None;
        for attempt in 1.. {
            let values = outdated(&app, &digests, !changed);
            if values.is_empty() {
                break;
            }
            before = app.newest().cloned();
            let code_engine = &self.run.code_engine;
            let change = || code_engine.set_variables(self.project, name, &app, &values);
            let failure = match self.run.progress.change(change) {
                Ok(answer) => {
                    log::info!("restarting app {name} to load the new certificate");
                    (app, changed) = (answer, true);
                    break;
                }
                Err(failure) => failure,
            };
            let fate = failure.fate();
            if attempt == MOST_ATTEMPTS || matches!(fate, Fate::Rejected) {
                let what = format!("cannot restart app {name}");
                let error = code_engine.failed(&what, failure, self.project);
                return Err(explained(error));
            }
            let in_doubt = matches!(fate, Fate::Unknown(_));
            if in_doubt {
                pause(&mut Duration::from_secs(1));
            }
            app = self.read(name)?;
            // after a lost answer the change may be visible now
            changed = in_doubt && outdated(&app, &digests, false).is_empty();
        }
        let mut wait = Duration::from_millis(250);
        loop {
            let created = app.newest();
            // right after our change the status may still be that of the revision before
            let begun = !changed || before.is_none() || created != before.as_ref();
            if begun && app.serves() {
                return Ok(changed);
            }
            if begun && app.failed() {
                return Err(error!(
                    Reason::AppNotRestarted,
                    "app {name} did not become ready with the new certificate (revision {}); the previous revision keeps serving the old one",
                    created.map_or("unknown", |created| TlsSecretName::shown(created))
                )
                .hint("the next run tries again; see why")
                .command(format!("ibmcloud ce application events --name {name}")));
            }
            log::info!("waiting for app {name} to become ready");
            pause(&mut wait);
            app = self.read(name)?;
        }
    }

    fn read(&self, name: &AppName) -> Result<App, Error> {
        let app = self.run.code_engine.app(self.project, name);
        app.map_err(explained)
    }
}

/// Whatever the cause: the app is not restarted.
fn explained(error: Error) -> Error {
    Error {
        reason: Reason::AppNotRestarted,
        ..error
    }
}

/// The variables that are not as they should be.
fn outdated<'a>(
    app: &App,
    digests: &'a BTreeMap<String, &str>,
    after_failure: bool,
) -> Vec<(&'a str, String)> {
    let failed = after_failure && app.failed();
    let values = digests.iter().filter_map(|(variable, digest)| {
        let value = next_value(app.variable(variable), digest, failed)?;
        Some((variable.as_str(), value))
    });
    values.collect()
}

/// What a variable must become; `None`: it may stay. The value is `DIGEST`, or `DIGEST.N` for the Nth
/// revision: after one that `failed`, a change to the same value would make no new revision.
fn next_value(recorded: Option<&str>, digest: &str, failed: bool) -> Option<String> {
    let Some(number) = recorded.and_then(|value| value.strip_prefix(digest)) else {
        return Some(digest.to_owned());
    };
    let number: u32 = match number.strip_prefix('.') {
        Some(number) => number.parse().ok()?,
        None => 1,
    };
    (failed && number < MOST_REVISIONS).then(|| format!("{digest}.{}", number + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_and_the_number_behind_it() {
        for (recorded, failed, expected) in [
            (None, false, Some("new")),
            (None, true, Some("new")),
            (Some("old"), false, Some("new")),
            (Some("old.3"), true, Some("new")),
            (Some("new"), false, None),
            (Some("new.2"), false, None),
            // after a failure: at most nine revisions
            (Some("new"), true, Some("new.2")),
            (Some("new.2"), true, Some("new.3")),
            (Some("new.8"), true, Some("new.9")),
            (Some("new.9"), true, None),
            (Some("new.x"), true, None),
        ] {
            let next = next_value(recorded, "new", failed);
            assert_eq!(next.as_deref(), expected, "{recorded:?} {failed}");
        }
    }
}
