//! `--check`: every permission is tried separately, nothing is changed.
//!
//! The permission to replace is tried without replacing: a conditional PUT of the very bytes that are
//! deployed, under an entity tag that cannot match. Only Secrets Manager's "last read" changes.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::cert::certificate::Certificate;
use crate::cert::names::ServerName;
use crate::config::Target;
use crate::error::{Error, ExitStatus, Reason};
use crate::ibm::api_error::Fate;
use crate::ibm::code_engine::{TlsData, TlsSecret, TlsSecretRef};
use crate::ibm::ids::Uuid;
use crate::report::{Check, CheckState, Report, Tried};
use crate::sync::Run;
use crate::sync::assemble::Bundle;
use crate::sync::deployed::suitable;
use crate::sync::validate::selected;
use crate::text::sanitized;
use crate::workers;

/// The lines of a certificate, and of a TLS secret.
const OF_SECRET: &str = "secret certificate";
const OF_TARGET: &str = "tls-secret replace domain-mappings covered apps";

/// Tries every permission.
pub(crate) fn check(run: &Run<'_>) -> Report {
    let targets: Vec<&Target> = selected(run.config).collect();
    let secrets: BTreeSet<_> = targets.iter().filter_map(|t| t.secret.as_ref()).collect();
    let mut report = Report::default();
    let checks = &mut report.checks;
    checks.extend(token(run));
    if checks.iter().any(|check| check.state == CheckState::Red) {
        let why = "there is no token";
        let names = targets.iter().map(|target| &target.tls_secret.name);
        checks.extend(secrets.iter().flat_map(|id| untested(OF_SECRET, id, why)));
        checks.extend(names.flat_map(|name| untested(OF_TARGET, name, why)));
        return report;
    }
    if secrets.is_empty() {
        let why = "SECRET_ID is unset, so only an event says which secret it is";
        checks.extend(untested("secret", "", why));
    }
    run.progress.begin("reading certificates", secrets.len());
    let read = workers::once(secrets.into_iter(), |id| run.fetch_and_assemble(id));
    checks.extend(read.iter().flat_map(|(id, read)| secret(id, read)));
    let lines = run.each("checking TLS secrets", targets.clone(), |target| {
        let read = target.secret.as_ref().and_then(|id| read.get(id));
        Ok(tls_secret(run, target, read))
    });
    for (target, lines) in targets.into_iter().zip(lines) {
        let name = &target.tls_secret.name;
        let defect = |error| vec![Check::line("tls-secret", name, Ok(Err(error)))];
        checks.extend(lines.unwrap_or_else(defect));
    }
    report
}

fn untested(checks: &'static str, subject: impl Display, why: &'static str) -> Vec<Check> {
    let line = |check| Check::line(check, &subject, Err(why.into()));
    checks.split(' ').map(line).collect()
}

fn token(run: &Run<'_>) -> [Check; 2] {
    let file = run.iam.token_file();
    let issued = |()| format!("IAM issued a token ({})", run.iam.address());
    let profile = match file {
        Ok(_) => Ok(run.iam.assume().map(issued)),
        Err(_) => Err("the compute resource token cannot be read".into()),
    };
    let readable = Ok("readable".to_owned());
    let (subject, file) = match file {
        Ok(Some(path)) => (sanitized(&path.display().to_string()), Ok(readable)),
        Ok(None) => (String::new(), Err("an API key is used instead".into())),
        Err(error) => (String::new(), Ok(Err(error))),
    };
    let file = Check::line("token-file", subject, file);
    [file, Check::line("profile", "", profile)]
}

fn secret(id: &Uuid, read: &Result<Bundle, Error>) -> [Check; 2] {
    let fit = |new: &Bundle| format!("{} is fit to serve (serial {})", new.name, new.leaf.serial);
    let (secret, certificate) = match read.as_ref().map(fit).map_err(Error::clone) {
        Err(error) if error.exit_status() != ExitStatus::Certificate => {
            (Err(error), Err("the secret could not be read".into()))
        }
        judged => (Ok("readable".to_owned()), Ok(judged)),
    };
    let secret = Check::line("secret", id, Ok(secret));
    [secret, Check::line("certificate", id, certificate)]
}

fn tls_secret(run: &Run<'_>, target: &Target, read: Option<&Result<Bundle, Error>>) -> Vec<Check> {
    let place = &target.tls_secret;
    let line = |check, tried| Check::line(check, &place.name, tried);
    let unread = "the TLS secret could not be read";
    let secret = run.code_engine.tls_secret(place);
    let replace = match &secret {
        Ok(secret) => replaceable(run, place, secret),
        Err(_) => Err(unread.into()),
    };
    let readable = secret.map(|secret| format!("readable (format {})", secret.format));
    let secret = line("tls-secret", Ok(readable));
    let is_forbidden = secret.reason == Some(Reason::CodeEngineForbidden);
    let mut checks = vec![secret, line("replace", replace)];
    if is_forbidden {
        let rest = untested("domain-mappings covered apps", &place.name, unread);
        checks.extend(rest);
        return checks;
    }
    let domains = run.domains(place);
    let covered = match (&domains, read) {
        (Err(_), _) => Err("the domain mappings are not known".into()),
        (Ok(domains), Some(Ok(bundle))) => Ok(covered(domains, &bundle.leaf)),
        (Ok(_), _) => Err("the certificate is not known".into()),
    };
    let used = domains.map(|domains| match listed(&domains).as_str() {
        "" => "no domain mapping uses this TLS secret".to_owned(),
        some => format!("used by: {some}"),
    });
    checks.push(line("domain-mappings", Ok(used)));
    checks.push(line("covered", covered));
    checks.push(line("apps", Ok(apps(run, target))));
    checks
}

/// Only 409 or 412 proves the permission, only 403 disproves it.
fn replaceable(run: &Run<'_>, place: &TlsSecretRef, secret: &TlsSecret) -> Tried {
    if let Err(error) = suitable(secret, place) {
        return Ok(Err(error));
    }
    let stale = secret.tag().and_then(|tag| tag.stale());
    let stale = stale.ok_or("the TLS secret has no usable entity tag")?;
    let TlsData { tls_cert, tls_key } = &secret.data;
    if !tls_key.expose().contains("-----BEGIN") {
        // should the tag not protect it, the key would be lost
        return Err("Code Engine does not show its key".into());
    }
    let write = || run.code_engine.replace(place, &stale, tls_cert, tls_key);
    match run.progress.change(write) {
        Err(failure) if failure.fate() == Fate::Conflict => {
            let status = failure.status.unwrap_or_default();
            let told = "can be replaced (a stale write is rejected with";
            Ok(Ok(format!("{told} {status}, as it should be)")))
        }
        Err(failure) if failure.status == Some(403) => {
            Ok(Err(run.code_engine.refused("replace", failure, place)))
        }
        Err(failure) => Err(format!("the answer proves nothing: {failure}")),
        Ok(_) => Ok(Err(Reason::CodeEngineRefused.error(format!(
            "Code Engine accepted a write under an entity tag that cannot match: entity tags do not protect {}", place.name
        )))),
    }
}

fn covered(domains: &[ServerName], leaf: &Certificate) -> Result<String, Error> {
    match listed(domains.iter().filter(|domain| !leaf.covers(domain))).as_str() {
        "" => Ok("the certificate covers all mapped domains".to_owned()),
        some => Err(Reason::DomainNotCovered
            .error(format!("the certificate does not cover {some}; issue it with these names"))),
    }
}

fn apps(run: &Run<'_>, target: &Target) -> Result<String, Error> {
    let TlsSecretRef { project, name } = &target.tls_secret;
    let apps = run.code_engine.apps(project)?;
    let copies = apps.iter().filter(|app| app.copies(name));
    Ok(match listed(copies.map(|app| &app.name)).as_str() {
        "" => "no app needs a restart to see a new certificate".to_owned(),
        some if target.restart_apps.is_empty() => format!(
            "these apps read the TLS secret only at start and keep the old certificate until they restart: {some}; set RESTART_APPS=auto (in TARGETS: restart_apps)"
        ),
        some => format!("restarted when it changes: {some}"),
    })
}

fn listed(names: impl IntoIterator<Item = impl ToString>) -> String {
    let names = names.into_iter().map(|name| name.to_string());
    Vec::from_iter(names).join(", ")
}
