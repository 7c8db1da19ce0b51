//! Restarts apps that cached the old certificate.
//!
//! Belongs here: when an app is in line, and how it gets there. Does not: how the request looks
//! (`ibm/code_engine.rs`).
//!
//! Restarts are idempotent: an app records, per TLS secret, the digest of the chain that it was
//! started for in a variable. It is in line if that is equal and its newest revision serves. So the
//! next run finishes what this one did not, and two runs at once restart an app once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, ExitStatus, Reason, error};
use crate::ibm::client::{ApiError, Fate};
use crate::ibm::code_engine::{App, Project};
use crate::ibm::ids::AppName;
use crate::ibm::secrets_manager::Version;
use crate::stop::longer;
use crate::sync::replace::Target;
use crate::sync::{Run, refusals};
use crate::text::sanitized;

/// How often an app is read and changed, if others change it meanwhile.
const MOST_ATTEMPTS: u32 = 5;
/// The wait after a change of unknown fate.
const AFTER_DOUBT: Duration = Duration::from_secs(1);
/// The first wait before a deploying revision is read again; it grows.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);
/// How often a revision that failed is followed by another one for the same certificate: a project
/// keeps 120 revisions (Code Engine limits).
const MOST_REVISIONS: u32 = 9;

/// What happened to the apps of one target.
#[derive(Default)]
pub(crate) struct Restarted {
    /// The apps that this run restarted, and that serve again.
    pub(crate) apps: Vec<String>,
    /// Why the rest is not in line.
    pub(crate) failure: Option<Error>,
}

/// An app to bring in line.
struct AppRestart {
    name: AppName,
    /// Variable and digest of each TLS secret that it reads: two secrets are one change.
    digests: BTreeMap<String, String>,
    /// The positions of the targets that want it.
    targets: Vec<usize>,
}

/// Brings the apps of all targets in line, one app after another. The results are in the order of the
/// targets. In a project the first failure stops the rest.
pub(crate) fn restart_apps(run: &Run<'_>, targets: &[&Target<'_>]) -> Vec<Restarted> {
    let mut results: Vec<Restarted> = targets.iter().map(|_| Restarted::default()).collect();
    let mut projects: Vec<(&Project, Vec<usize>)> = Vec::new();
    for (position, target) in targets.iter().enumerate() {
        // an undo ignores a hold, and its apps must take it
        let held = target.task.hold && run.config.version == Version::Current;
        if target.task.restart_apps.is_empty() || held {
            continue;
        }
        let project = &target.task.tls_secret.project;
        match projects.iter_mut().find(|(other, _)| *other == project) {
            Some((_, positions)) => positions.push(position),
            None => projects.push((project, vec![position])),
        }
    }
    for (project, positions) in projects {
        let restarter = Restarter { run, project };
        match restarter.plan(targets, &positions) {
            Ok(plan) => restarter.follow(plan, &mut results),
            Err(error) => fail(&mut results, &positions, &error, ""),
        }
    }
    results
}

/// Restarts apps of one project.
struct Restarter<'a> {
    run: &'a Run<'a>,
    project: &'a Project,
}

impl Restarter<'_> {
    /// The apps of the project, each once, in the order in which they are restarted.
    fn plan(&self, targets: &[&Target<'_>], positions: &[usize]) -> Result<Vec<AppRestart>, Error> {
        let mut plan: Vec<AppRestart> = Vec::new();
        let mut listed: Option<Vec<App>> = None;
        let in_line = positions.iter().filter_map(|&position| {
            let target = targets.get(position)?;
            Some((position, target.task, target.synced.as_ref()?))
        });
        for (position, task, synced) in in_line {
            let secret = &task.tls_secret.name;
            let mut names = task.restart_apps.names.clone();
            if task.restart_apps.auto {
                if listed.is_none() {
                    listed = Some(self.list()?);
                }
                let copies = listed.iter().flatten().filter(|app| app.copies(secret));
                // a name that does not fit into a URL is not one of Code Engine's
                names.extend(copies.filter_map(|app| AppName::parse(&app.name).ok()));
            }
            for name in names {
                if !plan.iter().any(|app| app.name == name) {
                    plan.push(AppRestart {
                        name: name.clone(),
                        digests: BTreeMap::new(),
                        targets: Vec::new(),
                    });
                }
                for app in plan.iter_mut().filter(|app| app.name == name) {
                    app.digests
                        .insert(secret.fingerprint_variable(), synced.chain_sha256.clone());
                    if !app.targets.contains(&position) {
                        app.targets.push(position);
                    }
                }
            }
        }
        Ok(plan)
    }

    fn follow(&self, plan: Vec<AppRestart>, results: &mut [Restarted]) {
        let mut plan = plan.into_iter();
        while let Some(app) = plan.next() {
            match self.bring_in_line(&app.name, &app.digests) {
                Ok(false) => {}
                Ok(true) => {
                    for &target in &app.targets {
                        if let Some(result) = results.get_mut(target) {
                            result.apps.push(app.name.to_string());
                        }
                    }
                }
                Err(error) => {
                    let rest: Vec<AppRestart> = plan.collect();
                    let names: Vec<String> = rest.iter().map(|app| app.name.to_string()).collect();
                    let skipped = match names.as_slice() {
                        [] => String::new(),
                        names => format!("; not restarted either: {}", names.join(", ")),
                    };
                    for app in rest.iter().chain([&app]) {
                        fail(results, &app.targets, &error, &skipped);
                    }
                    return;
                }
            }
        }
    }

    /// Returns whether the app was restarted; it serves with the digests then.
    fn bring_in_line(
        &self,
        name: &AppName,
        digests: &BTreeMap<String, String>,
    ) -> Result<bool, Error> {
        let app = self.read(name)?;
        let (app, changed, before) = self.change(name, app, digests)?;
        self.wait_until_ready(name, app, before.filter(|_| changed).as_deref())?;
        Ok(changed)
    }

    /// Sets the variables that differ. Returns the app, whether it was changed, and its newest
    /// revision before that.
    fn change(
        &self,
        name: &AppName,
        mut app: App,
        digests: &BTreeMap<String, String>,
    ) -> Result<(App, bool, Option<String>), Error> {
        let mut before = None;
        let mut changed = false;
        for attempt in 1.. {
            let values = to_change(&app, digests, !changed);
            if values.is_empty() {
                break;
            }
            self.run
                .stop
                .check()
                .map_err(|error| unfinished(name, &error))?;
            before.clone_from(&app.status_details.latest_created_revision);
            let code_engine = &self.run.code_engine;
            let failure = match code_engine.set_variables(self.project, name, &app, &values) {
                Ok(answer) => {
                    log::info!("restarting app {name} to load the new certificate");
                    return Ok((answer, true, before));
                }
                Err(failure) => failure,
            };
            let wait = match failure.fate() {
                Fate::Conflict => Duration::ZERO,
                // if the run was stopped, this wait ends it
                Fate::Unknown(_) => AFTER_DOUBT,
                Fate::Rejected => {
                    return Err(self.explain(&format!("cannot restart app {name}"), failure));
                }
            };
            if attempt == MOST_ATTEMPTS {
                return Err(self.explain(&format!("cannot restart app {name}"), failure));
            }
            self.run
                .stop
                .wait(wait)
                .map_err(|error| unfinished(name, &error))?;
            app = self.read(name)?;
            // after a lost answer the change may be visible now
            changed = !wait.is_zero() && to_change(&app, digests, false).is_empty();
        }
        Ok((app, changed, before))
    }

    /// `before`: the newest revision before our change, which the list of revisions may still show.
    fn wait_until_ready(
        &self,
        name: &AppName,
        mut app: App,
        before: Option<&str>,
    ) -> Result<(), Error> {
        let mut wait = SHORTEST_WAIT;
        loop {
            let created = app.status_details.latest_created_revision.as_deref();
            let begun = before.is_none() || created != before;
            if begun && app.serves() {
                return Ok(());
            }
            if begun && app.failed() {
                return Err(error!(
                    Reason::AppNotRestarted,
                    "app {name} did not become ready with the new certificate (revision {}); the previous revision keeps serving the old one",
                    created.map_or_else(|| "unknown".to_owned(), sanitized)
                )
                .hint("the next run tries again; see why")
                .command(format!("ibmcloud ce application events --name {name}")));
            }
            log::info!("waiting for app {name} to become ready");
            self.run
                .stop
                .wait(wait)
                .map_err(|error| unfinished(name, &error))?;
            wait = longer(wait);
            app = self.read(name)?;
        }
    }

    fn list(&self) -> Result<Vec<App>, Error> {
        self.run.code_engine.apps(self.project).map_err(|failure| {
            let what = format!("cannot list the apps of project {}", self.project.id);
            self.explain(&what, failure)
        })
    }

    fn read(&self, name: &AppName) -> Result<App, Error> {
        let app = self.run.code_engine.app(self.project, name);
        app.map_err(|failure| self.explain(&format!("cannot read app {name}"), failure))
    }

    /// The run is over: unknown. Anything else: not restarted.
    fn explain(&self, what: &str, failure: ApiError) -> Error {
        let missing = failure.status() == Some(404);
        let error =
            refusals::code_engine(what, failure, &self.project.id, &self.run.config.grantee);
        match error.exit_status() {
            ExitStatus::Interrupted => error!(Reason::Interrupted, "{what}: {error}"),
            _ => {
                let error = Error {
                    reason: Reason::AppNotRestarted,
                    ..error
                };
                match missing {
                    true => error.hint("check the names in RESTART_APPS or restart_apps"),
                    false => error,
                }
            }
        }
    }
}

/// The first failure counts.
fn fail(results: &mut [Restarted], targets: &[usize], error: &Error, skipped: &str) {
    for &target in targets {
        if let Some(result) = results.get_mut(target)
            && result.failure.is_none()
        {
            let failure = error!(error.reason, "{error}{skipped}");
            result.failure = Some(match &error.command {
                Some(command) => failure.command(command),
                None => failure,
            });
        }
    }
}

/// The variables that differ from what they should be. With `after_failure` also those of an app whose
/// newest revision failed: the digest gets a number, since a change to the same value makes no new
/// revision.
fn to_change<'a>(
    app: &App,
    digests: &'a BTreeMap<String, String>,
    after_failure: bool,
) -> Vec<(&'a str, String)> {
    let failed = after_failure && app.failed();
    digests
        .iter()
        .filter_map(|(variable, digest)| {
            let recorded = app
                .variable(variable)
                .and_then(|value| value.strip_prefix(digest.as_str()));
            match recorded {
                Some(number) if failed => next(number).map(|n| format!("{digest}.{n}")),
                Some(_) => None,
                None => Some(digest.clone()),
            }
            .map(|value| (variable.as_str(), value))
        })
        .collect()
}

/// The value is `DIGEST` or `DIGEST.N`, N = the number of the retry.
fn next(number: &str) -> Option<u32> {
    let number: u32 = match number.strip_prefix('.') {
        Some(number) => number.parse().ok()?,
        None => 1,
    };
    (number < MOST_REVISIONS).then_some(number + 1)
}

fn unfinished(name: &AppName, error: &Error) -> Error {
    error!(
        Reason::Interrupted,
        "the run ended before app {name} was ready: {error}"
    )
}
