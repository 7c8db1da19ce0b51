//! `--check`: every permission is tried separately, nothing is changed.
//!
//! The permission to replace is tried without replacing: a conditional PUT of the very bytes that are
//! deployed, under an entity tag that cannot match. Only Secrets Manager's "last read" changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::cert::names::ServerName;
use crate::config::Target;
use crate::error::{Error, ExitStatus, Reason, error};
use crate::ibm::client::Fate;
use crate::ibm::code_engine::{TlsData, TlsSecret, TlsSecretRef};
use crate::report::{Check, CheckState, Results, Tried};
use crate::sync::Run;
use crate::sync::assemble::Bundle;
use crate::sync::deployed::suitable;
use crate::sync::validate::selected;
use crate::text::sanitized;
use crate::workers;

/// What else is tried for a target, once its TLS secret was read.
const REST: [&str; 4] = ["replace", "domain-mappings", "covered", "apps"];

/// Tries every permission.
pub(crate) fn check(run: &Run<'_>) -> Results {
    Results {
        checks: checks(run),
        ..Results::default()
    }
}

fn checks(run: &Run<'_>) -> Vec<Check> {
    let targets: Vec<&Target> = selected(run.config).collect();
    let secrets: BTreeSet<_> = targets.iter().filter_map(|t| t.secret.as_ref()).collect();
    let secrets: Vec<_> = secrets.into_iter().collect();
    let mut checks = token(run);
    if checks.iter().any(|check| check.state == CheckState::Red) {
        let of = |name: &'static str, subject: &str| untested(name, subject, "there is no token");
        for id in secrets.iter().map(ToString::to_string) {
            checks.extend(["secret", "certificate"].map(|name| of(name, &id)));
        }
        for name in targets.iter().map(|t| t.tls_secret.name.to_string()) {
            checks.push(of("tls-secret", &name));
            checks.extend(REST.map(|check| of(check, &name)));
        }
        return checks;
    }
    if secrets.is_empty() {
        let why = "SECRET_ID is unset, so only an event says which secret it is";
        checks.push(untested("secret", "", why));
    }
    let read = workers::each(secrets.clone(), |id| run.fetch_and_assemble(id));
    let mut bundles = BTreeMap::new();
    for (id, read) in secrets.into_iter().zip(read) {
        let (secret, certificate) = match read {
            // the secret itself could not be read
            Err(error) if error.exit_status() != ExitStatus::Certificate => {
                (Err(error), Err("the secret could not be read".to_owned()))
            }
            Err(error) => (Ok("readable".to_owned()), Ok(Err(error))),
            Ok(current) => {
                let Bundle { name, leaf, .. } = &current;
                let fit = format!("{name} is fit to serve (serial {})", leaf.serial);
                bundles.insert(id, current);
                (Ok("readable".to_owned()), Ok(Ok(fit)))
            }
        };
        checks.push(Check::line("secret", id, Ok(secret)));
        checks.push(Check::line("certificate", id, certificate));
    }
    let lines = workers::each(targets.clone(), |target| {
        let bundle = target.secret.as_ref().and_then(|id| bundles.get(id));
        Ok(tls_secret(run, target, bundle))
    });
    for (target, lines) in targets.into_iter().zip(lines) {
        let name = &target.tls_secret.name;
        let defect = |error| vec![Check::line("tls-secret", name, Ok(Err(error)))];
        checks.extend(lines.unwrap_or_else(defect));
    }
    checks
}

fn untested(check: &'static str, subject: &str, why: &str) -> Check {
    Check::line(check, subject, Err(why.to_owned()))
}

fn token(run: &Run<'_>) -> Vec<Check> {
    let profile = || {
        let message = |()| format!("IAM issued a token ({})", run.iam.address());
        Check::line("profile", "", Ok(run.iam.assume().map(message)))
    };
    match run.iam.token_file() {
        Ok(None) => {
            let why = "an API key is used instead";
            vec![untested("token-file", "", why), profile()]
        }
        Ok(Some(path)) => {
            let path = sanitized(&path.display().to_string());
            let readable = Ok(Ok("readable".to_owned()));
            vec![Check::line("token-file", path, readable), profile()]
        }
        Err(error) => {
            let profile = untested("profile", "", "there is no token file");
            vec![Check::line("token-file", "", Ok(Err(error))), profile]
        }
    }
}

fn tls_secret(run: &Run<'_>, target: &Target, bundle: Option<&Bundle>) -> Vec<Check> {
    let place = &target.tls_secret;
    let line = |check, tried| Check::line(check, &place.name, tried);
    let mut checks = match run.code_engine.tls_secret(place) {
        Ok(secret) => {
            let readable = format!("readable (format {})", sanitized(&secret.format));
            let replace = line("replace", replaceable(run, place, &secret));
            vec![line("tls-secret", Ok(Ok(readable))), replace]
        }
        Err(error) => {
            let why = Err("the TLS secret could not be read".to_owned());
            let forbidden = error.reason == Reason::CodeEngineForbidden;
            let read = line("tls-secret", Ok(Err(error)));
            if forbidden {
                let rest = REST.map(|check| line(check, why.clone()));
                return [read].into_iter().chain(rest).collect();
            }
            vec![read, line("replace", why)]
        }
    };
    let (used, covered) = mappings(run, place, bundle);
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
    let answer = run.code_engine.replace(place, &stale, tls_cert, tls_key);
    let now = run.code_engine.tls_secret(place);
    let unchanged = now.as_ref().is_ok_and(|now| {
        now.data.tls_cert == *tls_cert
            && now.data.tls_key.expose() == tls_key.expose()
            && now.entity_tag == secret.entity_tag
    });
    match answer {
        Err(failure) if failure.fate() == Fate::Conflict && unchanged => {
            let status = failure.status.unwrap_or_default();
            Ok(Ok(format!(
                "can be replaced (a stale write is rejected with {status}, as it should be)"
            )))
        }
        Err(failure) if failure.status == Some(403) => {
            Ok(Err(run.code_engine.refused("replace", failure, place)))
        }
        Ok(_) => Ok(Err(error!(
            Reason::CodeEngineRefused,
            "Code Engine accepted a write under an entity tag that cannot match: entity tags do not protect {}",
            place.name
        ))),
        Err(_) if now.is_ok() && !unchanged => {
            let why = "somebody else changed the TLS secret at the same time: run the check again";
            Err(why.to_owned())
        }
        Err(failure) => Err(format!("the answer proves nothing: {failure}")),
    }
}

/// Which domains use the TLS secret, and whether the certificate covers them.
fn mappings(
    run: &Run<'_>,
    place: &TlsSecretRef,
    bundle: Option<&Bundle>,
) -> (Result<String, Error>, Tried) {
    let mappings = match run.code_engine.domain_mappings(&place.project) {
        Ok(mappings) => mappings,
        Err(error) => {
            return (
                Err(error),
                Err("the domain mappings are not known".to_owned()),
            );
        }
    };
    let domains: Vec<String> = mappings
        .of(&place.name)
        .map(|mapping| sanitized(&mapping.name))
        .collect();
    let used = match domains.join(", ") {
        none if none.is_empty() => "no domain mapping uses this TLS secret".to_owned(),
        some => format!("used by: {some}"),
    };
    let Some(bundle) = bundle else {
        return (Ok(used), Err("the certificate is not known".to_owned()));
    };
    let name = |domain: &String| ServerName::Dns(domain.to_ascii_lowercase());
    let uncovered = domains
        .iter()
        .filter(|domain| !bundle.leaf.covers(&name(domain)));
    let covered = match uncovered.cloned().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => Ok("the certificate covers all mapped domains".to_owned()),
        some => Err(error!(
            Reason::DomainNotCovered,
            "the certificate does not cover {some}; issue it with these names"
        )),
    };
    (Ok(used), Ok(covered))
}

fn apps(run: &Run<'_>, target: &Target) -> Result<String, Error> {
    let TlsSecretRef { project, name } = &target.tls_secret;
    let apps = run.code_engine.apps(project)?;
    let copies = apps.iter().filter(|app| app.copies(name));
    let copies: Vec<String> = copies.map(|app| sanitized(&app.name)).collect();
    Ok(match copies.join(", ") {
        none if none.is_empty() => "no app needs a restart to see a new certificate".to_owned(),
        some if target.restart_apps.is_empty() => format!(
            "these apps read the TLS secret only at start and keep the old certificate until they restart: {some}; set RESTART_APPS=auto (in TARGETS: restart_apps)"
        ),
        some => format!("restarted when it changes: {some}"),
    })
}
