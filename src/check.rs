//! `--check`: every right tried by itself, nothing changed.
//!
//! Belongs here: what is tried, what depends on what, and what an answer proves. Does not: the
//! wording of refusals, which the steps have.
//!
//! The right to replace is proved without replacing: a write of the very bytes that are deployed,
//! under a tag that cannot match. Only Secrets Manager's own marks of reading change.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use crate::cert::names::ServerName;
use crate::config::Target;
use crate::error::{Error, Reason, error};
use crate::ibm::client::ApiError;
use crate::ibm::code_engine::{TlsSecret, TlsSecretRef};
use crate::ibm::iam::Iam;
use crate::ibm::ids::Uuid;
use crate::report::{Check, CheckState};
use crate::sync::assemble::Bundle;
use crate::sync::refusals;
use crate::sync::replace::World;
use crate::text::sanitized;
use crate::workers;

/// No service makes up a tag like this.
const NEVER_A_TAG: &str = "sm-tls-sync-check";

/// Tries every right.
pub fn check(
    world: &World<'_>,
    iam: &Iam<'_>,
    targets: &[Target],
    foreign: Option<&Uuid>,
) -> Vec<Check> {
    let mut checks = vec![token_file(iam), profile(iam)];
    let have_token = checks.iter().all(|check| check.state != CheckState::Red);

    let mut secrets: Vec<&Uuid> = Vec::new();
    for secret in targets.iter().filter_map(|target| target.secret.as_ref()) {
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    if secrets.is_empty() {
        checks.push(Check::not_tested(
            "secret",
            "",
            "SECRET_ID is not given: only an event names it",
        ));
    }
    let mut bundles = BTreeMap::new();
    let read = workers::each(secrets.clone(), |id| {
        Ok(have_token.then(|| secret(world, id)))
    });
    for (id, read) in secrets.into_iter().zip(read) {
        let (lines, bundle) = match read {
            Ok(Some(read)) => read,
            Ok(None) => (untried(&["secret", "certificate"], id, NO_TOKEN), None),
            Err(error) => (vec![Check::red("secret", id, &error)], None),
        };
        checks.extend(lines);
        bundles.extend(bundle.map(|bundle| (id.clone(), bundle)));
    }
    checks.push(match foreign {
        Some(id) if have_token => foreign_secret(world, id),
        Some(id) => Check::not_tested("foreign-secret", id, NO_TOKEN),
        None => Check::not_tested("foreign-secret", "", "CHECK_FOREIGN_SECRET_ID is not given"),
    });
    let lines = workers::each(targets.iter().collect(), |target: &Target| {
        let bundle = target.secret.as_ref().and_then(|id| bundles.get(id));
        Ok(if have_token {
            place(world, target, bundle)
        } else {
            untried(&PLACE, &target.place.name, NO_TOKEN)
        })
    });
    for (target, lines) in targets.iter().zip(lines) {
        match lines {
            Ok(lines) => checks.extend(lines),
            Err(error) => checks.push(Check::red("tls-secret", &target.place.name, &error)),
        }
    }
    checks
}

const NO_TOKEN: &str = "there is no token";
/// What is tried of a target.
const PLACE: [&str; 5] = [
    "tls-secret",
    "replace",
    "domain-mappings",
    "covered",
    "apps",
];

fn untried(names: &[&'static str], subject: &impl ToString, why: &str) -> Vec<Check> {
    let line = |name: &&'static str| Check::not_tested(name, subject, why);
    names.iter().map(line).collect()
}

fn token_file(iam: &Iam<'_>) -> Check {
    match iam.token_file() {
        None => Check::not_tested("token-file", "", "an API key is used instead"),
        Some(Err(error)) => Check::red("token-file", "", &error),
        Some(Ok(file)) => {
            let owner = |path: &str| std::fs::metadata(path).map(|of| (of.uid(), of.mode()));
            let (uid, _) = owner("/proc/self").unwrap_or_default();
            let path = file.display().to_string();
            let (file_uid, mode) = owner(&path).unwrap_or_default();
            let told = format!(
                "readable for user id {uid} (owner {file_uid}, mode {:04o})",
                mode & 0o7777
            );
            Check::green("token-file", &path, told)
        }
    }
}

fn profile(iam: &Iam<'_>) -> Check {
    match iam.token_file() {
        Some(Err(_)) => Check::not_tested("profile", "", "there is no token file"),
        _ => match iam.assume() {
            Ok(()) => Check::green(
                "profile",
                "",
                format!("IAM gives a token, at {}", iam.address()),
            ),
            Err(error) => Check::red("profile", "", &error),
        },
    }
}

/// Reads the secret; whether its certificate is fit to serve is a line of its own.
fn secret(world: &World<'_>, id: &Uuid) -> (Vec<Check>, Option<Bundle>) {
    const UNREAD: [Reason; 4] = [
        Reason::SecretMissing,
        Reason::SecretForbidden,
        Reason::SecretsManagerRefused,
        Reason::SecretsManagerUnavailable,
    ];
    let readable = Check::green("secret", id, "may be read".to_owned());
    match world.current(id) {
        Ok(current) => {
            let bundle = current.bundle;
            let told = format!(
                "{} is fit to serve (serial {})",
                bundle.name, bundle.leaf.serial
            );
            (
                vec![readable, Check::green("certificate", id, told)],
                Some(bundle),
            )
        }
        Err(error) if UNREAD.contains(&error.reason) => {
            let rest = Check::not_tested("certificate", id, "the secret may not be read");
            (vec![Check::red("secret", id, &error), rest], None)
        }
        Err(error) => (vec![readable, Check::red("certificate", id, &error)], None),
    }
}

/// A secret of another group, by its metadata only: nobody needs its payload for this.
fn foreign_secret(world: &World<'_>, id: &Uuid) -> Check {
    const NAME: &str = "foreign-secret";
    match world.secrets_manager.metadata(id) {
        Ok(()) => {
            let error = error!(
                Reason::ForeignSecretReadable,
                "the secret {id} of another group may be read: the rights are wider than one group"
            )
            .hint("see which policies the profile has: ibmcloud iam trusted-profile-policies PROFILE --output JSON");
            Check::red(NAME, id, &error)
        }
        Err(failure) if matches!(failure.status(), Some(403 | 404)) => {
            Check::green(NAME, id, format!("is hidden ({failure})"))
        }
        Err(failure) => Check::not_tested(NAME, id, &format!("it could not be asked: {failure}")),
    }
}

fn place(world: &World<'_>, target: &Target, bundle: Option<&Bundle>) -> Vec<Check> {
    let place = &target.place;
    let name = &place.name;
    let mut checks = Vec::new();
    match world.code_engine.tls_secret(place) {
        Ok(secret) => {
            let told = format!("may be read (format {})", sanitized(&secret.format));
            checks.push(Check::green("tls-secret", name, told));
            checks.push(replaceable(world, place, &secret));
        }
        Err(failure) => {
            let error = refusals::tls_secret("read", failure, place, world.grantee);
            let forbidden = error.reason == Reason::CodeEngineForbidden;
            checks.push(Check::red("tls-secret", name, &error));
            checks.push(Check::not_tested(
                "replace",
                name,
                "the TLS secret may not be read",
            ));
            if forbidden {
                let rest = ["domain-mappings", "covered", "apps"];
                checks.extend(untried(&rest, name, "it needs the same right to read"));
                return checks;
            }
        }
    }
    checks.extend(mappings(world, place, bundle));
    checks.push(apps(world, target));
    checks
}

fn replaceable(world: &World<'_>, place: &TlsSecretRef, secret: &TlsSecret) -> Check {
    const NAME: &str = "replace";
    let subject = &place.name;
    let Some(tag) = &secret.entity_tag else {
        return Check::not_tested(NAME, subject, "the TLS secret shows no entity tag");
    };
    if secret.format != "tls" || secret.generated_by.as_deref() == Some("system") {
        let error = error!(
            Reason::TlsSecretUnsuitable,
            "the secret {subject} is not of format tls, or is generated by the system"
        );
        return Check::red(NAME, subject, &error);
    }
    let stale = never(tag);
    let answer = world
        .code_engine
        .replace(place, &stale, &secret.certificate, &secret.key);
    let proved = match answer {
        Err(failure) if matches!(failure.status(), Some(409 | 412)) => {
            let status = failure.status().unwrap_or_default();
            Ok(format!(
                "may be replaced; a stale entity tag is answered with {status}"
            ))
        }
        Err(failure) => Err(refusals::tls_secret(
            "replace",
            failure,
            place,
            world.grantee,
        )),
        Ok(_) => Err(error!(
            Reason::CodeEngineRefused,
            "a write of what is deployed was taken in spite of a tag that cannot match: entity tags do not protect {subject}"
        )),
    };
    let unchanged = |now: &TlsSecret| {
        now.certificate == secret.certificate
            && now.key.expose() == secret.key.expose()
            && now.entity_tag == secret.entity_tag
    };
    match (proved, world.code_engine.tls_secret(place)) {
        (Ok(told), Ok(now)) if unchanged(&now) => Check::green(NAME, subject, told),
        (Ok(_), Ok(_)) => Check::red(
            NAME,
            subject,
            &error!(
                Reason::WriteConflict,
                "{subject} is not what it was before the check: somebody else wrote meanwhile"
            ),
        ),
        (Err(error), _) => Check::red(NAME, subject, &error),
        (Ok(_), Err(failure)) => Check::red(
            NAME,
            subject,
            &refusals::tls_secret("read", failure, place, world.grantee),
        ),
    }
}

/// A tag of the same form, quoted or weak, that no service makes.
fn never(tag: &str) -> String {
    match (tag.find('"'), tag.rfind('"')) {
        (Some(begin), Some(end)) if begin < end => {
            let form = |range: Option<&str>| range.unwrap_or_default().to_owned();
            form(tag.get(..=begin)) + NEVER_A_TAG + &form(tag.get(end..))
        }
        _ => NEVER_A_TAG.to_owned(),
    }
}

fn mappings(world: &World<'_>, place: &TlsSecretRef, bundle: Option<&Bundle>) -> [Check; 2] {
    const NAME: &str = "domain-mappings";
    const COVERED: &str = "covered";
    let subject = &place.name;
    let mappings = match world.code_engine.domain_mappings(&place.project) {
        Ok(mappings) => mappings,
        Err(failure) => {
            let error = unlisted("domain mappings", failure, place, world);
            return [
                Check::red(NAME, subject, &error),
                Check::not_tested(COVERED, subject, "the domain mappings are not known"),
            ];
        }
    };
    let domains: Vec<String> = mappings
        .iter()
        .filter(|mapping| mapping.uses(subject))
        .map(|mapping| sanitized(&mapping.name))
        .collect();
    let told = match domains.as_slice() {
        [] => "none uses this TLS secret".to_owned(),
        some => format!("{} use this TLS secret", some.join(", ")),
    };
    let uncovered: Vec<&str> = domains
        .iter()
        .filter(|domain| {
            let name = ServerName::Dns(domain.to_ascii_lowercase());
            bundle.is_some_and(|bundle| !bundle.leaf.covers(&name))
        })
        .map(String::as_str)
        .collect();
    let covered = match (bundle, uncovered.as_slice()) {
        (None, _) => Check::not_tested(COVERED, subject, "the certificate is not known"),
        (_, []) => Check::green(COVERED, subject, "the certificate covers them".to_owned()),
        (_, some) => {
            let some = some.join(", ");
            let error = error!(
                Reason::DomainNotCovered,
                "the certificate does not cover {some}"
            )
            .hint("issue it with these names");
            Check::red(COVERED, subject, &error)
        }
    };
    [Check::green(NAME, subject, told), covered]
}

fn apps(world: &World<'_>, target: &Target) -> Check {
    const NAME: &str = "apps";
    let subject = &target.place.name;
    let apps = match world.code_engine.apps(&target.place.project) {
        Ok(apps) => apps,
        Err(failure) => {
            return Check::red(
                NAME,
                subject,
                &unlisted("apps", failure, &target.place, world),
            );
        }
    };
    let copies: Vec<String> = apps
        .iter()
        .filter(|app| app.copies(subject))
        .map(|app| sanitized(&app.name))
        .collect();
    let told = match copies.as_slice() {
        [] => "none reads this TLS secret as environment or by sub_path".to_owned(),
        some if target.restart_apps.is_empty() => format!(
            "{} read this TLS secret as environment or by sub_path and keep the old one until they restart: give RESTART_APPS=auto (in TARGETS: restart_apps)",
            some.join(", ")
        ),
        some => format!(
            "{} read this TLS secret as environment or by sub_path",
            some.join(", ")
        ),
    };
    Check::green(NAME, subject, told)
}

fn unlisted(what: &str, failure: ApiError, place: &TlsSecretRef, world: &World<'_>) -> Error {
    let project = &place.project.id;
    let what = format!("cannot list the {what} of project {project}");
    refusals::code_engine(&what, failure, project, world.grantee)
}
