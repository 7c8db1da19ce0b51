//! `--check`: every permission tested separately, nothing changed.
//!
//! Belongs here: what is tested, what depends on what, and what an answer proves. Does not: the
//! wording of refusals, which `sync/refusals.rs` has.
//!
//! The permission to replace is tested without replacing: a conditional PUT of the very bytes that
//! are deployed, under an entity tag that cannot match. Only the last-read metadata in Secrets
//! Manager changes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use rustls_pki_types::UnixTime;

use crate::cert::names::ServerName;
use crate::config::Target;
use crate::error::{Reason, error};
use crate::ibm::client::Fate;
use crate::ibm::code_engine::{EntityTag, TlsSecret, TlsSecretRef};
use crate::ibm::ids::Uuid;
use crate::ibm::secrets_manager::Version;
use crate::report::{Check, CheckState};
use crate::sync::assemble::Bundle;
use crate::sync::deployed::suitable;
use crate::sync::replace::fetch_and_assemble;
use crate::sync::validate::selected;
use crate::sync::{Run, refusals};
use crate::text::sanitized;
use crate::workers;

const NO_TOKEN: &str = "there is no token";
/// What is tested for a target.
const TARGET: [&str; 5] = [
    "tls-secret",
    "replace",
    "domain-mappings",
    "covered",
    "apps",
];
/// Failures that mean that the secret could not be read; any other is about its certificate.
const UNREAD: [Reason; 6] = [
    Reason::SecretMissing,
    Reason::SecretForbidden,
    Reason::SecretsManagerRefused,
    Reason::SecretsManagerUnavailable,
    Reason::Interrupted,
    Reason::Interrupted,
];

/// Tests every permission.
pub(crate) fn check(run: &Run<'_>) -> Vec<Check> {
    let targets: Vec<&Target> = selected(run.config).collect();
    let mut checks = vec![token_file(run), profile(run)];
    let have_token = checks.iter().all(|check| check.state != CheckState::Red);
    let (lines, bundles) = secrets(run, &targets, have_token, run.now);
    checks.extend(lines);
    let lines = workers::each(targets.clone(), |target| {
        let bundle = target.secret.as_ref().and_then(|id| bundles.get(id));
        Ok(if have_token {
            tls_secret(run, target, bundle)
        } else {
            untested(&TARGET, &target.tls_secret.name, NO_TOKEN)
        })
    });
    for (target, lines) in targets.iter().zip(lines) {
        match lines {
            Ok(lines) => checks.extend(lines),
            Err(error) => checks.push(Check::red("tls-secret", &target.tls_secret.name, &error)),
        }
    }
    checks
}

fn untested(names: &[&'static str], subject: &impl ToString, why: &str) -> Vec<Check> {
    let line = |name: &&'static str| Check::not_tested(name, subject, why);
    names.iter().map(line).collect()
}

fn token_file(run: &Run<'_>) -> Check {
    match run.iam.token_file() {
        None => Check::not_tested("token-file", "", "an API key is used instead"),
        Some(Err(failure)) => {
            let error = refusals::no_token(failure, &run.config.grantee);
            Check::red("token-file", "", &error)
        }
        Some(Ok(file)) => {
            let owner = |path: &str| std::fs::metadata(path).map(|of| (of.uid(), of.mode()));
            let (uid, _) = owner("/proc/self").unwrap_or_default();
            let path = file.display().to_string();
            let (file_uid, mode) = owner(&path).unwrap_or_default();
            let message = format!(
                "readable by uid {uid} (owner {file_uid}, mode {:04o})",
                mode & 0o7777
            );
            Check::green("token-file", &sanitized(&path), message)
        }
    }
}

fn profile(run: &Run<'_>) -> Check {
    if let Some(Err(_)) = run.iam.token_file() {
        return Check::not_tested("profile", "", "there is no token file");
    }
    match run.iam.assume() {
        Ok(()) => Check::green(
            "profile",
            "",
            format!("IAM issued a token ({})", run.iam.address()),
        ),
        Err(failure) => {
            let error = refusals::token(failure, &run.config.grantee);
            Check::red("profile", "", &error)
        }
    }
}

/// Reads each secret once; whether its certificate is fit to serve is a line of its own.
fn secrets<'a>(
    run: &Run<'_>,
    targets: &[&'a Target],
    have_token: bool,
    now: UnixTime,
) -> (Vec<Check>, BTreeMap<&'a Uuid, Bundle>) {
    const NAMES: [&str; 2] = ["secret", "certificate"];
    let mut secrets: Vec<&Uuid> = Vec::new();
    for secret in targets.iter().filter_map(|target| target.secret.as_ref()) {
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    let mut bundles = BTreeMap::new();
    if secrets.is_empty() {
        let line = Check::not_tested("secret", "", "SECRET_ID is not set: only an event names it");
        return (vec![line], bundles);
    }
    if !have_token {
        let lines = secrets
            .into_iter()
            .flat_map(|id| untested(&NAMES, id, NO_TOKEN));
        return (lines.collect(), bundles);
    }
    let mut checks = Vec::new();
    let read = workers::each(secrets.clone(), |id| {
        fetch_and_assemble(run, id, Version::Current, now)
    });
    for (id, read) in secrets.into_iter().zip(read) {
        let readable = Check::green("secret", id, "readable".to_owned());
        match read {
            Ok(current) => {
                let bundle = current.bundle;
                let message = format!(
                    "{} is fit to serve (serial {})",
                    bundle.name, bundle.leaf.serial
                );
                checks.extend([readable, Check::green("certificate", id, message)]);
                bundles.insert(id, bundle);
            }
            Err(error) if UNREAD.contains(&error.reason) => checks.extend([
                Check::red("secret", id, &error),
                Check::not_tested("certificate", id, "the secret could not be read"),
            ]),
            Err(error) => checks.extend([readable, Check::red("certificate", id, &error)]),
        }
    }
    (checks, bundles)
}

fn tls_secret(run: &Run<'_>, target: &Target, bundle: Option<&Bundle>) -> Vec<Check> {
    let reference = &target.tls_secret;
    let name = &reference.name;
    let mut checks = Vec::new();
    match run.code_engine.tls_secret(reference) {
        Ok(secret) => {
            let message = format!("readable (format {})", sanitized(&secret.format));
            checks.push(Check::green("tls-secret", name, message));
            checks.push(replaceable(run, reference, &secret));
        }
        Err(failure) => {
            let error = refusals::tls_secret("read", failure, reference, &run.config.grantee);
            let forbidden = error.reason == Reason::CodeEngineForbidden;
            checks.push(Check::red("tls-secret", name, &error));
            checks.push(Check::not_tested(
                "replace",
                name,
                "the TLS secret could not be read",
            ));
            if forbidden {
                let rest = ["domain-mappings", "covered", "apps"];
                checks.extend(untested(
                    &rest,
                    name,
                    "it needs the same permission to read",
                ));
                return checks;
            }
        }
    }
    checks.extend(mappings(run, reference, bundle));
    checks.push(apps(run, target));
    checks
}

/// Only 409 or 412 proves the permission, only 403 disproves it.
fn replaceable(run: &Run<'_>, reference: &TlsSecretRef, secret: &TlsSecret) -> Check {
    const NAME: &str = "replace";
    let subject = &reference.name;
    if let Err(error) = suitable(secret, reference) {
        return Check::red(NAME, subject, &error);
    }
    let Some(stale) = secret.entity_tag.as_ref().and_then(EntityTag::stale) else {
        return Check::not_tested(NAME, subject, "the TLS secret has no usable entity tag");
    };
    let answer = run
        .code_engine
        .replace(reference, &stale, &secret.certificate, &secret.key);
    let now = run.code_engine.tls_secret(reference);
    let unchanged = now.as_ref().is_ok_and(|now| {
        now.certificate == secret.certificate
            && now.key.expose() == secret.key.expose()
            && now.entity_tag == secret.entity_tag
    });
    match answer {
        Err(failure) if failure.fate() == Fate::Conflict && unchanged => {
            let status = failure.status().unwrap_or_default();
            let message = format!("replaceable (a stale entity tag is answered with {status})");
            Check::green(NAME, subject, message)
        }
        Err(failure) if failure.status() == Some(403) => {
            let error = refusals::tls_secret("replace", failure, reference, &run.config.grantee);
            Check::red(NAME, subject, &error)
        }
        Ok(_) => {
            let error = error!(
                Reason::CodeEngineRefused,
                "Code Engine accepted a write under an entity tag that cannot match: entity tags do not protect {subject}"
            );
            Check::red(NAME, subject, &error)
        }
        Err(_) if now.is_ok() && !unchanged => {
            let why = "somebody else changed the TLS secret at the same time: run the check again";
            Check::not_tested(NAME, subject, why)
        }
        Err(failure) => Check::not_tested(
            NAME,
            subject,
            &format!("the answer proves nothing: {failure}"),
        ),
    }
}

fn mappings(run: &Run<'_>, reference: &TlsSecretRef, bundle: Option<&Bundle>) -> [Check; 2] {
    const NAME: &str = "domain-mappings";
    const COVERED: &str = "covered";
    let subject = &reference.name;
    let project = &reference.project;
    let mappings = match run.code_engine.domain_mappings(project) {
        Ok(mappings) => mappings,
        Err(failure) => {
            let what = format!("cannot list the domain mappings of project {}", project.id);
            let error = refusals::code_engine(&what, failure, &project.id, &run.config.grantee);
            return [
                Check::red(NAME, subject, &error),
                Check::not_tested(COVERED, subject, "the domain mappings are not known"),
            ];
        }
    };
    let domains: Vec<String> = mappings
        .of(subject)
        .iter()
        .map(|mapping| sanitized(&mapping.name))
        .collect();
    let message = match domains.as_slice() {
        [] => "no domain mapping uses this TLS secret".to_owned(),
        some => format!("used by: {}", some.join(", ")),
    };
    let covered = match bundle {
        None => Check::not_tested(COVERED, subject, "the certificate is not known"),
        Some(bundle) => covered(subject, &domains, bundle),
    };
    [Check::green(NAME, subject, message), covered]
}

fn covered(subject: &impl ToString, domains: &[String], bundle: &Bundle) -> Check {
    const NAME: &str = "covered";
    let uncovered: Vec<&str> = domains
        .iter()
        .filter(|domain| {
            let name = ServerName::Dns(domain.to_ascii_lowercase());
            !bundle.leaf.covers(&name)
        })
        .map(String::as_str)
        .collect();
    if uncovered.is_empty() {
        let message = "the certificate covers all mapped domains".to_owned();
        return Check::green(NAME, subject, message);
    }
    let error = error!(
        Reason::DomainNotCovered,
        "the certificate does not cover {}",
        uncovered.join(", ")
    )
    .hint("issue it with these names");
    Check::red(NAME, subject, &error)
}

fn apps(run: &Run<'_>, target: &Target) -> Check {
    const NAME: &str = "apps";
    let subject = &target.tls_secret.name;
    let project = &target.tls_secret.project;
    let apps = match run.code_engine.apps(project) {
        Ok(apps) => apps,
        Err(failure) => {
            let what = format!("cannot list the apps of project {}", project.id);
            let error = refusals::code_engine(&what, failure, &project.id, &run.config.grantee);
            return Check::red(NAME, subject, &error);
        }
    };
    let copies: Vec<String> = apps
        .iter()
        .filter(|app| app.copies(subject))
        .map(|app| sanitized(&app.name))
        .collect();
    let message = match copies.as_slice() {
        [] => "no app reads this TLS secret as environment or by sub_path".to_owned(),
        some if target.restart_apps.is_empty() => format!(
            "these apps read the TLS secret only at start-up and keep the old certificate until they restart: {}; set RESTART_APPS=auto (in TARGETS: restart_apps)",
            some.join(", ")
        ),
        some => format!("restarted when it changes: {}", some.join(", ")),
    };
    Check::green(NAME, subject, message)
}
