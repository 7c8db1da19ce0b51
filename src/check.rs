//! `--check`: every permission is tried separately, nothing is changed.
//!
//! The permission to replace is tried without replacing: a conditional PUT of the very bytes that are
//! deployed, under an entity tag that cannot match. Only Secrets Manager's "last read" changes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

use crate::cert::names::ServerName;
use crate::config::Target;
use crate::error::{Error, ExitStatus, Reason, error};
use crate::ibm::client::Fate;
use crate::ibm::code_engine::{EntityTag, TlsSecret, TlsSecretRef};
use crate::ibm::secrets_manager::Version;
use crate::report::{Check, CheckState};
use crate::sync::Run;
use crate::sync::assemble::Bundle;
use crate::sync::deployed::suitable;
use crate::sync::replace::fetch_and_assemble;
use crate::sync::validate::selected;
use crate::text::sanitized;
use crate::workers;

/// What is tried for a target.
const OF_TARGET: [&str; 5] = [
    "tls-secret",
    "replace",
    "domain-mappings",
    "covered",
    "apps",
];
/// What is tried for a secret.
const OF_SECRET: [&str; 2] = ["secret", "certificate"];

/// Tries every permission.
pub(crate) fn check(run: &Run<'_>) -> Vec<Check> {
    let targets: Vec<&Target> = selected(run.config).collect();
    let secrets: BTreeSet<_> = targets.iter().filter_map(|t| t.secret.as_ref()).collect();
    let mut checks = token(run);
    if checks.iter().any(|check| check.state == CheckState::Red) {
        let untried = |names, subject: String| not_tested(names, &subject, "there is no token");
        checks.extend(
            secrets
                .iter()
                .flat_map(|id| untried(&OF_SECRET, id.to_string())),
        );
        let names = targets
            .iter()
            .map(|target| target.tls_secret.name.to_string());
        checks.extend(names.flat_map(|name| untried(&OF_TARGET, name)));
        return checks;
    }
    if secrets.is_empty() {
        let why = "SECRET_ID is unset, so only an event says which secret it is";
        checks.push(Check::not_tested("secret", "", why));
    }
    let secrets: Vec<_> = secrets.into_iter().collect();
    let read = workers::each(secrets.clone(), |id| {
        fetch_and_assemble(run, id, Version::Current, run.now)
    });
    let mut bundles = BTreeMap::new();
    for (id, read) in secrets.into_iter().zip(read) {
        let (secret, certificate) = match read {
            // the secret could not be read at all
            Err(error) if error.exit_status() != ExitStatus::Certificate => {
                let why = "the secret could not be read";
                (Err(error), Check::not_tested("certificate", id, why))
            }
            read => {
                let fit = read.map(|current| {
                    let Bundle { name, leaf, .. } = &current.bundle;
                    let message = format!("{name} is fit to serve (serial {})", leaf.serial);
                    bundles.insert(id, current.bundle);
                    message
                });
                (
                    Ok("readable".to_owned()),
                    Check::line("certificate", id, fit),
                )
            }
        };
        checks.extend([Check::line("secret", id, secret), certificate]);
    }
    let lines = workers::each(targets.clone(), |target| {
        let bundle = target.secret.as_ref().and_then(|id| bundles.get(id));
        Ok(tls_secret(run, target, bundle))
    });
    for (target, lines) in targets.into_iter().zip(lines) {
        let defect = |error| {
            vec![Check::line(
                "tls-secret",
                &target.tls_secret.name,
                Err(error),
            )]
        };
        checks.extend(lines.unwrap_or_else(defect));
    }
    checks
}

fn not_tested(names: &[&'static str], subject: &impl ToString, why: &str) -> Vec<Check> {
    let line = |name: &&'static str| Check::not_tested(name, subject.to_string(), why);
    names.iter().map(line).collect()
}

fn token(run: &Run<'_>) -> Vec<Check> {
    let (path, file) = match run.iam.token_file() {
        None => (None, None),
        Some(Err(error)) => (None, Some(Err(error))),
        Some(Ok(file)) => {
            let path = file.display().to_string();
            let owner = |path: &str| std::fs::metadata(path).map(|of| (of.uid(), of.mode()));
            let (uid, _) = owner("/proc/self").unwrap_or_default();
            let (file_uid, mode) = owner(&path).unwrap_or_default();
            let mode = mode & 0o7777;
            let message = format!("readable by uid {uid} (owner {file_uid}, mode {mode:04o})");
            (Some(sanitized(&path)), Some(Ok(message)))
        }
    };
    let profile = match file {
        Some(Err(_)) => Check::not_tested("profile", "", "there is no token file"),
        _ => {
            let assumed = run.iam.assume();
            let message = assumed.map(|()| format!("IAM issued a token ({})", run.iam.address()));
            Check::line("profile", "", message)
        }
    };
    let file = match file {
        None => Check::not_tested("token-file", "", "an API key is used instead"),
        Some(file) => Check::line("token-file", path.unwrap_or_default(), file),
    };
    vec![file, profile]
}

fn tls_secret(run: &Run<'_>, target: &Target, bundle: Option<&Bundle>) -> Vec<Check> {
    let reference = &target.tls_secret;
    let name = &reference.name;
    let [this, replace, rest @ ..] = OF_TARGET;
    let mut checks = match run.code_engine.tls_secret(reference) {
        Ok(secret) => {
            let message = format!("readable (format {})", sanitized(&secret.format));
            let replaceable = replaceable(run, reference, &secret);
            vec![Check::line(this, name, Ok(message)), replaceable]
        }
        Err(error) => {
            let forbidden = error.reason == Reason::CodeEngineForbidden;
            let unread = "the TLS secret could not be read";
            let mut checks = vec![Check::line(this, name, Err(error))];
            checks.push(Check::not_tested(replace, name, unread));
            if forbidden {
                checks.extend(not_tested(
                    &rest,
                    name,
                    "it needs the same permission to read",
                ));
                return checks;
            }
            checks
        }
    };
    checks.extend(mappings(run, reference, bundle));
    checks.push(Check::line("apps", name, apps(run, target)));
    checks
}

/// Only 409 or 412 proves the permission, only 403 disproves it.
fn replaceable(run: &Run<'_>, reference: &TlsSecretRef, secret: &TlsSecret) -> Check {
    let line = |result| Check::line("replace", &reference.name, result);
    let open = |why: &str| Check::not_tested("replace", &reference.name, why);
    if let Err(error) = suitable(secret, reference) {
        return line(Err(error));
    }
    let Some(stale) = secret.entity_tag.as_ref().and_then(EntityTag::stale) else {
        return open("the TLS secret has no usable entity tag");
    };
    let TlsSecret {
        certificate, key, ..
    } = secret;
    let answer = run.code_engine.replace(reference, &stale, certificate, key);
    let now = run.code_engine.tls_secret(reference);
    let unchanged = now.as_ref().is_ok_and(|now| {
        now.certificate == *certificate
            && now.key.expose() == key.expose()
            && now.entity_tag == secret.entity_tag
    });
    match answer {
        Err(failure) if failure.fate() == Fate::Conflict && unchanged => {
            let status = failure.status().unwrap_or_default();
            line(Ok(format!(
                "can be replaced (a stale write is rejected with {status}, as it should be)"
            )))
        }
        Err(failure) if failure.status() == Some(403) => {
            line(Err(run.code_engine.refused("replace", failure, reference)))
        }
        Ok(_) => line(Err(error!(
            Reason::CodeEngineRefused,
            "Code Engine accepted a write under an entity tag that cannot match: entity tags do not protect {}",
            reference.name
        ))),
        Err(_) if now.is_ok() && !unchanged => {
            open("somebody else changed the TLS secret at the same time: run the check again")
        }
        Err(failure) => open(&format!("the answer proves nothing: {failure}")),
    }
}

fn mappings(run: &Run<'_>, reference: &TlsSecretRef, bundle: Option<&Bundle>) -> [Check; 2] {
    let subject = &reference.name;
    let listed = run.code_engine.domain_mappings(&reference.project);
    let domains = listed.map(|mappings| {
        let using = mappings.of(subject).iter();
        using
            .map(|mapping| sanitized(&mapping.name))
            .collect::<Vec<String>>()
    });
    let covered = match (&domains, bundle) {
        (Err(_), _) => Err("the domain mappings are not known"),
        (_, None) => Err("the certificate is not known"),
        (Ok(domains), Some(bundle)) => Ok(covered(domains, bundle)),
    };
    let used = domains.map(|domains| match domains.as_slice() {
        [] => "no domain mapping uses this TLS secret".to_owned(),
        some => format!("used by: {}", some.join(", ")),
    });
    [
        Check::line("domain-mappings", subject, used),
        covered.map_or_else(
            |why| Check::not_tested("covered", subject, why),
            |covered| Check::line("covered", subject, covered),
        ),
    ]
}

fn covered(domains: &[String], bundle: &Bundle) -> Result<String, Error> {
    let uncovered: Vec<&str> = domains
        .iter()
        .filter(|domain| {
            !bundle
                .leaf
                .covers(&ServerName::Dns(domain.to_ascii_lowercase()))
        })
        .map(String::as_str)
        .collect();
    match uncovered.as_slice() {
        [] => Ok("the certificate covers all mapped domains".to_owned()),
        some => Err(error!(
            Reason::DomainNotCovered,
            "the certificate does not cover {}; issue it with these names",
            some.join(", ")
        )),
    }
}

fn apps(run: &Run<'_>, target: &Target) -> Result<String, Error> {
    let reference = &target.tls_secret;
    let apps = run.code_engine.apps(&reference.project)?;
    let copies = apps.iter().filter(|app| app.copies(&reference.name));
    let copies: Vec<String> = copies.map(|app| sanitized(&app.name)).collect();
    Ok(match copies.as_slice() {
        [] => "no app needs a restart to see a new certificate".to_owned(),
        some if target.restart_apps.is_empty() => format!(
            "these apps read the TLS secret only at start and keep the old certificate until they restart: {}; set RESTART_APPS=auto (in TARGETS: restart_apps)",
            some.join(", ")
        ),
        some => format!("restarted when it changes: {}", some.join(", ")),
    })
}
