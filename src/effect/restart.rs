//! Restarts the apps that cached the old certificate.
//!
//! Restarts are idempotent: an app records, per TLS secret, the digest of the chain that it was
//! started for in a variable. It is up to date if that is equal and its newest revision is ready. So
//! the next run finishes what this one did not, and two runs at once restart an app once.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Target;
use crate::effect::pause;
use crate::error::{Error, Reason};
use crate::ibm::api_error::Fate;
use crate::ibm::code_engine::{App, Project};
use crate::ibm::ids::{AppName, TlsSecretName};
use crate::report::Outcome;
use crate::sync::Run;
use crate::sync::replace::UpToDate;

/// How often an app is read and changed, if others change it meanwhile.
const MOST_ATTEMPTS: u32 = 5;
/// How often a revision that failed is followed by another one for the same certificate: a project
/// keeps 120 revisions (Code Engine limits).
const MOST_REVISIONS: u32 = 9;

/// The variables that an app should have, with the digests of certificates.
type Digests<'a> = BTreeMap<String, &'a str>;
/// A target and the apps to restart for it.
type Wanted<'a> = (&'a UpToDate<'a>, Vec<AppName>);

/// Brings the apps of all targets up to date, project by project.
pub(crate) fn restart_apps(run: &Run<'_>, targets: &[UpToDate<'_>]) {
    let mut projects: BTreeMap<&Project, Vec<&UpToDate<'_>>> = BTreeMap::new();
    for target in targets.iter().filter(|target| run.restarts(target.task)) {
        let project = &target.task.target.tls_secret.project;
        projects.entry(project).or_default().push(target);
    }
    for (project, targets) in projects {
        restart_in(run, project, targets);
    }
}

/// One app after another; the first failure stops the rest.
fn restart_in(run: &Run<'_>, project: &Project, targets: Vec<&UpToDate<'_>>) {
    // only if a target asks for it
    let all = LazyCell::new(|| run.code_engine.apps(project).map_err(explained));
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for target in targets {
        match names(&target.task.target, || all.as_ref()) {
            Ok(names) => wanted.push((target, names)),
            Err(error) => finish(run, target, Some(error)),
        }
    }
    // which app is up to date, and whether this run restarted it
    let mut done: BTreeMap<&AppName, bool> = BTreeMap::new();
    let mut failed: Option<(&AppName, Error)> = None;
    for (target, names) in &wanted {
        let position = target.task.position;
        for name in names {
            if failed.is_none() && !done.contains_key(name) {
                let step = format!("restarting app {name}");
                run.progress.step(position, &step);
                match bring_up_to_date(run, project, name, &digests(name, &wanted)) {
                    Ok(restarted) => _ = done.insert(name, restarted),
                    Err(error) => failed = Some((name, error)),
                }
            }
            if done.get(name) == Some(&true) {
                let restarted = name.to_string();
                let learn = |outcome: &mut Outcome| outcome.restarted.push(restarted);
                run.progress.know(position, learn);
            }
        }
        let mut open: Vec<&AppName> = names.iter().collect();
        open.retain(|name| !done.contains_key(name));
        let failed = failed.as_ref().filter(|_| !open.is_empty());
        let error = failed.map(|(failed, error)| {
            open.retain(|name| name != failed);
            let others: Vec<String> = open.iter().map(ToString::to_string).collect();
            match others.join(", ") {
                none if none.is_empty() => error.clone(),
                others => error.clone().hint(format!("not restarted either: {others}")),
            }
        });
        finish(run, target, error);
    }
}

/// The restarts of a target are done, or failed.
fn finish(run: &Run<'_>, target: &UpToDate<'_>, error: Option<Error>) {
    let position = target.task.position;
    if let Some(error) = error {
        run.progress.know(position, |outcome| {
            outcome.not_in_effect(error.reason, &error.message);
            outcome.command = outcome.command.take().or(error.command);
        });
    }
    run.progress.step(position, "waiting for its domains");
    run.progress.seen(position);
}

/// The apps to restart for a target, among `all` of its project.
fn names<'a>(
    target: &Target,
    all: impl FnOnce() -> Result<&'a Vec<App>, &'a Error>,
) -> Result<Vec<AppName>, Error> {
    let mut names = target.restart_apps.names.clone();
    if target.restart_apps.auto {
        let apps = all().map_err(Error::clone)?.iter();
        let copies = apps.filter(|app| app.copies(&target.tls_secret.name));
        // a name that does not fit into a URL is not one of Code Engine's
        let copies = copies.filter_map(|app| AppName::parse(&app.name).ok());
        let named = &target.restart_apps.names;
        names.extend(copies.filter(|name| !named.contains(name)));
    }
    Ok(names)
}

/// The variables that this app should have: of each TLS secret for which it is restarted, since two
/// secrets are one change.
fn digests<'a>(name: &AppName, wanted: &[Wanted<'a>]) -> Digests<'a> {
    let targets = wanted.iter().filter(|(_, names)| names.contains(name));
    let digests = targets.map(|(target, _)| {
        let secret = &target.task.target.tls_secret.name;
        (secret.fingerprint_variable(), target.chain_sha256.as_str())
    });
    digests.collect()
}

/// Returns whether the app was restarted; it is ready with the digests then.
fn bring_up_to_date(
    run: &Run<'_>,
    project: &Project,
    name: &AppName,
    digests: &Digests<'_>,
) -> Result<bool, Error> {
    let read = || run.code_engine.app(project, name).map_err(explained);
    let mut app = read()?;
    let mut changed = false;
    let mut before = None;
    for attempt in 1.. {
        let values = outdated(&app, digests, !changed);
        if values.is_empty() {
            break;
        }
        before = app.newest().cloned();
        let change = || run.code_engine.set_variables(project, name, &app, &values);
        let failure = match run.progress.change(change) {
            Ok(answer) => {
                log::info!("restarting app {name} to load the new certificate");
                (app, changed) = (answer, true);
                break;
            }
            Err(failure) => failure,
        };
        let fate = failure.fate();
        if attempt == MOST_ATTEMPTS || fate == Fate::Rejected {
            let what = format!("cannot restart app {name}");
            return Err(explained(run.code_engine.failed(&what, failure, project)));
        }
        let in_doubt = matches!(fate, Fate::Unknown(_));
        if in_doubt {
            pause(&mut Duration::from_secs(1));
        }
        app = read()?;
        // after a lost answer the change may be visible now
        changed = in_doubt && outdated(&app, digests, false).is_empty();
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
            let revision = created.map_or("unknown", |created| TlsSecretName::shown(created));
            return Err(Reason::AppNotRestarted.error(format!(
                "app {name} did not become ready with the new certificate (revision {revision}); the previous revision keeps serving the old one"
            ))
            .hint("the next run tries again, at most nine times in all; see why")
            .command(format!("ibmcloud ce application events --name {name}")));
        }
        log::info!("waiting for app {name} to become ready");
        pause(&mut wait);
        app = read()?;
    }
}

/// Whatever the cause: the app is not restarted.
fn explained(error: Error) -> Error {
    Error { reason: Reason::AppNotRestarted, ..error }
}

/// The variables that are not as they should be.
fn outdated<'a>(
    app: &App,
    digests: &'a Digests<'_>,
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
