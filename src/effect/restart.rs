//! Afterwards: apps that keep a copy of the TLS secret from their start take the new certificate.
//!
//! Belongs here: when an app is in line, and how it gets there. Does not: how the request looks
//! (`ibm/code_engine.rs`).
//!
//! A restart is a state, not an act. An app notes in a variable, per TLS secret, the digest of the
//! chain that it was started for. In line means: the variable is equal, and the newest revision
//! serves. So what one run did not finish, the next one does, and two runs at once restart an app
//! once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::RestartApps;
use crate::error::{Error, ExitStatus, Reason, error};
use crate::ibm::client::{ApiError, Fate};
use crate::ibm::code_engine::{App, CodeEngine, TlsSecretRef};
use crate::ibm::ids::{AppName, Uuid};
use crate::stop::Stop;
use crate::sync::refusals::{self, Grantee};

/// How often an app is read and changed, if others change it meanwhile.
const MOST_ATTEMPTS: u32 = 5;
/// The wait after a change whose fate is unknown.
const AFTER_DOUBT: Duration = Duration::from_secs(1);
/// The first wait between two looks at a revision that deploys; it doubles.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// How often a revision that failed is followed by another one for the same certificate: a project
/// keeps 120 revisions (Code Engine limits).
const MOST_REVISIONS: u32 = 9;

/// A TLS secret that is in line, and the apps that must have taken it.
pub struct Wish<'a> {
    /// The TLS secret.
    pub place: &'a TlsSecretRef,
    /// The digest of its chain.
    pub chain_sha256: &'a str,
    /// The apps.
    pub apps: &'a RestartApps,
}

/// What became of the apps of one wish.
#[derive(Default)]
pub struct Restarted {
    /// The apps that were restarted by this run and serve again.
    pub apps: Vec<String>,
    /// Why the rest is not in line.
    pub failure: Option<Error>,
}

/// Brings the apps of all wishes in line, one app after another; what one wish gets stands at its
/// position. In a project the first failure stops the rest.
pub fn restart(
    code_engine: &CodeEngine<'_>,
    grantee: &Grantee,
    stop: &Stop,
    wishes: &[Wish<'_>],
) -> Vec<Restarted> {
    let mut results: Vec<Restarted> = wishes.iter().map(|_| Restarted::default()).collect();
    let mut projects: Vec<(&TlsSecretRef, Vec<usize>)> = Vec::new();
    for (position, wish) in wishes.iter().enumerate() {
        match projects
            .iter_mut()
            .find(|(place, _)| place.project == wish.place.project)
        {
            Some((_, positions)) => positions.push(position),
            None => projects.push((wish.place, vec![position])),
        }
    }
    let door = Door {
        code_engine,
        grantee,
        stop,
    };
    for (place, positions) in projects {
        let plan = match door.plan(place, wishes, &positions) {
            Ok(plan) => plan,
            Err(error) => {
                fail(&mut results, &positions, &error, "");
                continue;
            }
        };
        door.follow(place, plan, &mut results);
    }
    results
}

/// What one app must note, and for which wishes.
#[derive(Default)]
struct Task {
    /// Variable and digest.
    notes: BTreeMap<String, String>,
    wishes: Vec<usize>,
}

/// Apps in the order in which they are handled.
type Plan = Vec<(AppName, Task)>;

struct Door<'a> {
    code_engine: &'a CodeEngine<'a>,
    grantee: &'a Grantee,
    stop: &'a Stop,
}

impl Door<'_> {
    /// The apps of one project, each once, with all that it must note: two secrets of one app are
    /// one change.
    fn plan(
        &self,
        place: &TlsSecretRef,
        wishes: &[Wish<'_>],
        positions: &[usize],
    ) -> Result<Plan, Error> {
        let mut plan: Plan = Vec::new();
        let mut listed: Option<Vec<App>> = None;
        for &position in positions {
            let Some(wish) = wishes.get(position) else {
                continue;
            };
            let mut names = wish.apps.names.clone();
            if wish.apps.auto {
                if listed.is_none() {
                    let apps = self.code_engine.apps(&place.project).map_err(|failure| {
                        let what =
                            format!("the apps of project {} cannot be listed", place.project.id);
                        self.explain(&what, failure, &place.project.id)
                    })?;
                    listed = Some(apps);
                }
                let copies = listed
                    .iter()
                    .flatten()
                    .filter(|app| app.copies(&wish.place.name));
                // a name that cannot go into a URL is none that Code Engine gives
                names.extend(copies.filter_map(|app| AppName::parse(&app.name).ok()));
            }
            for name in names {
                let at = plan.iter().position(|(other, _)| *other == name);
                let at = at.unwrap_or_else(|| {
                    plan.push((name, Task::default()));
                    plan.len() - 1
                });
                if let Some((_, task)) = plan.get_mut(at) {
                    let variable = wish.place.name.fingerprint_variable();
                    task.notes.insert(variable, wish.chain_sha256.to_owned());
                    if !task.wishes.contains(&position) {
                        task.wishes.push(position);
                    }
                }
            }
        }
        Ok(plan)
    }

    fn follow(&self, place: &TlsSecretRef, plan: Plan, results: &mut [Restarted]) {
        let mut plan = plan.into_iter();
        while let Some((name, task)) = plan.next() {
            match self.bring_in_line(place, &name, &task.notes) {
                Ok(restarted) => {
                    if !restarted {
                        continue;
                    }
                    for &wish in &task.wishes {
                        if let Some(result) = results.get_mut(wish) {
                            result.apps.push(name.to_string());
                        }
                    }
                }
                Err(error) => {
                    let rest: Vec<(AppName, Task)> = plan.collect();
                    let names: Vec<String> =
                        rest.iter().map(|(name, _)| name.to_string()).collect();
                    let left = if names.is_empty() {
                        String::new()
                    } else {
                        format!("; not restarted either: {}", names.join(", "))
                    };
                    for (_, task) in rest.iter().chain([&(name, task)]) {
                        fail(results, &task.wishes, &error, &left);
                    }
                    return;
                }
            }
        }
    }

    /// Whether the app was restarted; it serves with the notes then.
    fn bring_in_line(
        &self,
        place: &TlsSecretRef,
        name: &AppName,
        notes: &BTreeMap<String, String>,
    ) -> Result<bool, Error> {
        let read = || {
            self.code_engine
                .app(&place.project, name)
                .map_err(|failure| {
                    let what = format!("the app {name} cannot be read");
                    self.explain(&what, failure, &place.project.id)
                })
        };
        let mut app = read()?;
        // the newest revision before our change
        let mut before = None;
        let mut changed = false;
        for attempt in 1.. {
            let values = to_change(&app, notes, !changed);
            if values.is_empty() {
                break;
            }
            self.stop
                .check()
                .map_err(|error| unfinished(name, &error))?;
            before.clone_from(&app.status_details.latest_created_revision);
            match self
                .code_engine
                .set_variables(&place.project, name, &app, &values)
            {
                Ok(answer) => {
                    log::info!("app {name} is restarted to take a new certificate");
                    app = answer;
                    changed = true;
                    break;
                }
                Err(failure) => {
                    let wait = doubt(&failure);
                    if wait.is_none() || attempt == MOST_ATTEMPTS {
                        let what = format!("the app {name} cannot be restarted");
                        return Err(self.explain(&what, failure, &place.project.id));
                    }
                    let wait = wait.unwrap_or_default();
                    self.stop
                        .wait(wait)
                        .map_err(|error| unfinished(name, &error))?;
                    app = read()?;
                    // a lost answer: then the change is seen now
                    changed = !wait.is_zero() && to_change(&app, notes, false).is_empty();
                }
            }
        }
        let before = before.filter(|_| changed);
        let mut wait = SHORTEST_WAIT;
        loop {
            let created = app.status_details.latest_created_revision.as_deref();
            // the list of revisions may lag behind the change
            let begun = before.is_none() || created != before.as_deref();
            if begun && app.serves() {
                return Ok(changed);
            }
            if begun && app.failed() {
                return Err(error!(
                    Reason::AppNotReady,
                    "the app {name} did not become ready with the new certificate (revision {}): the one before serves on",
                    created.unwrap_or("unknown")
                )
                .hint(format!(
                    "look at ibmcloud ce application events --name {name}; the next run tries again"
                )));
            }
            self.stop
                .wait(wait)
                .map_err(|error| unfinished(name, &error))?;
            wait = (wait * 2).min(LONGEST_WAIT);
            app = read()?;
        }
    }

    fn explain(&self, what: &str, failure: ApiError, project: &Uuid) -> Error {
        let status = failure.status();
        match refusals::code_engine(what, failure, project, self.grantee) {
            error
                if status.is_none()
                    && error.reason.exit_status() != Some(ExitStatus::CodeEngine) =>
            {
                error!(Reason::EffectUnknown, "{what}: {error}")
            }
            error => {
                let error = Error {
                    reason: Reason::AppNotRestarted,
                    ..error
                };
                match status {
                    Some(404) => error.hint("check the names in RESTART_APPS or restart_apps"),
                    _ => error,
                }
            }
        }
    }
}

/// The first failure counts.
fn fail(results: &mut [Restarted], wishes: &[usize], error: &Error, left: &str) {
    for &wish in wishes {
        if let Some(result) = results.get_mut(wish)
            && result.failure.is_none()
        {
            result.failure = Some(error!(error.reason, "{error}{left}"));
        }
    }
}

/// The variables that are not as they should be. With `after_failure` also those of an app whose
/// newest revision failed: the digest gets a number, since a change to the same value makes no new
/// revision.
fn to_change<'a>(
    app: &App,
    notes: &'a BTreeMap<String, String>,
    after_failure: bool,
) -> Vec<(&'a str, String)> {
    let failed = after_failure && app.failed();
    notes
        .iter()
        .filter_map(|(variable, digest)| {
            let noted = app
                .variable(variable)
                .and_then(|value| value.strip_prefix(digest.as_str()));
            match noted {
                Some(number) if failed => next(number).map(|n| format!("{digest}.{n}")),
                Some(_) => None,
                None => Some(digest.clone()),
            }
            .map(|value| (variable.as_str(), value))
        })
        .collect()
}

/// After the digest stands nothing, or a point and the number of the revision.
fn next(number: &str) -> Option<u32> {
    let number: u32 = match number.strip_prefix('.') {
        Some(number) => number.parse().ok()?,
        None => 1,
    };
    (number < MOST_REVISIONS).then_some(number + 1)
}

/// How long to wait before another look, if the app may have been changed by us or by others.
fn doubt(failure: &ApiError) -> Option<Duration> {
    match failure.fate() {
        Fate::Conflict => Some(Duration::ZERO),
        Fate::Unknown(_) => Some(AFTER_DOUBT),
        Fate::Rejected => None,
    }
}

fn unfinished(name: &AppName, error: &Error) -> Error {
    error!(
        Reason::EffectUnknown,
        "the app {name} was not seen to be ready: {error}"
    )
}
