//! `--discover`: which certificate belongs to which TLS secret. Changes nothing.
//!
//! Belongs here: what is read, all of it with GET. Does not: what matches (`matching.rs`: pure), nor
//! how the result is shown (`report/discovery.rs`).

mod matching;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::discover::matching::{Held, Known, is_same, matching, may_be_renewed};
use crate::error::Error;
use crate::ibm::code_engine::{DomainMappings, Project, TlsSecret, TlsSecretRef};
use crate::ibm::ids::{Region, TlsSecretName, Uuid};
use crate::ibm::secrets_manager::Version;
use crate::report::{Discovered, Discovery, Match, ProposedTarget, Results, shown_names};
use crate::sync::{Run, refusals};
use crate::text::sanitized;
use crate::workers;

/// Reads both sides and matches them.
///
/// # Errors
/// If there is no token. Other failures are part of the results, next to what could be read.
pub(crate) fn discover(run: &Run<'_>) -> Result<Results, Error> {
    let grantee = &run.config.grantee;
    run.iam
        .assume()
        .map_err(|failure| refusals::token(failure, grantee))?;
    let mut failures = Vec::new();
    let listed = run.secrets_manager.certificates();
    let certificates = listed
        .map(|mut listed| {
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            listed.into_iter().map(Known::from).collect::<Vec<_>>()
        })
        .map_err(|failure| failures.push(refusals::certificates(failure, grantee)))
        .ok();
    if certificates.as_ref().is_some_and(Vec::is_empty) {
        log::warn!(
            "Secrets Manager lists no certificate: if there are any, the job needs the role Reader or SecretsReader on their secret group"
        );
    }
    let before = failures.len();
    let secrets = tls_secrets(run, run.config, &mut failures);
    let all_read = failures.len() == before;
    let previous = previous_serials(run, &secrets, certificates.as_deref(), &mut failures);

    let mut used = BTreeSet::new();
    let mut discovered = Vec::new();
    let mut proposed_targets = Vec::new();
    for secret in &secrets {
        let (matches, found) = match (&secret.held, &certificates) {
            (None, _) => (Some(Match::Unreadable), Vec::new()),
            (Some(_), None) => (None, Vec::new()),
            (Some(held), Some(known)) => {
                let (matches, found) = matching(held, known, &previous, run.now);
                (Some(matches), found)
            }
        };
        used.extend(found.iter().map(|known| &known.listed.id));
        let found = secret.discovered(matches, &found);
        proposed_targets.extend(secret.proposed(&found));
        discovered.push(found);
    }
    let unused = certificates.as_deref().filter(|_| all_read).map(|known| {
        let unused = |known: &&Known| known.active() && !used.contains(&known.listed.id);
        known.iter().filter(unused).map(Known::reference).collect()
    });
    // the first one is the report's
    for failure in failures.iter().skip(1) {
        log::error!("{failure}");
    }
    Ok(Results {
        discovery: Some(Discovery {
            discovered,
            proposed_targets,
            unused_certificates: unused,
        }),
        failure: failures.into_iter().next(),
        ..Results::default()
    })
}

/// A TLS secret, as far as it could be read.
struct Seen<'a> {
    project: &'a Project,
    region: Option<&'a Region>,
    name: String,
    held: Option<Held>,
    domains: Option<Vec<String>>,
}

impl Seen<'_> {
    fn discovered(&self, matches: Option<Match>, found: &[&Known]) -> Discovered {
        let certain = matches!(matches, Some(Match::Same | Match::Renewed)) && found.len() == 1;
        let only = match found {
            [only] => Some(only.reference()),
            _ => None,
        };
        let (secret_id, secret_name) = only.map(|only| (only.secret_id, only.secret_name)).unzip();
        Discovered {
            project_id: self.project.id.to_string(),
            tls_secret: sanitized(&self.name),
            not_after: self.held.as_ref().map(|held| held.not_after),
            names: self
                .held
                .as_ref()
                .map(|held| shown_names(&held.names))
                .unwrap_or_default(),
            domains: self.domains.clone(),
            matches,
            secret_id,
            secret_name: secret_name.flatten(),
            candidates: match certain {
                true => Vec::new(),
                false => found.iter().map(|known| known.reference()).collect(),
            },
        }
    }

    /// Only of what `TARGETS` takes: a person pastes it into a shell.
    fn proposed(&self, found: &Discovered) -> Option<ProposedTarget> {
        let secret_id = found.secret_id.as_deref().filter(|_| found.is_certain())?;
        Some(ProposedTarget {
            secret_id: Uuid::parse(secret_id).ok()?.to_string(),
            tls_secret: TlsSecretName::parse(&self.name).ok()?.to_string(),
            project_id: found.project_id.clone(),
            region: self.region.map(ToString::to_string),
        })
    }
}

/// The TLS secrets of all projects. A list need not show what they hold: then each is read.
fn tls_secrets<'a>(run: &Run<'_>, config: &'a Config, failures: &mut Vec<Error>) -> Vec<Seen<'a>> {
    let lists = workers::each(config.projects.iter().collect(), |(project, _)| {
        let failed = |what: &str, failure| {
            let what = format!("cannot list the {what} of project {}", project.id);
            refusals::code_engine(&what, failure, &project.id, &run.config.grantee)
        };
        let secrets = run
            .code_engine
            .tls_secrets(project)
            .map_err(|failure| failed("TLS secrets", failure))?;
        let held = |secret: TlsSecret| Some((secret.name.clone()?, Held::of(&secret)));
        let user = |secret: &TlsSecret| secret.generated_by.as_deref() != Some("system");
        let secrets: Vec<_> = secrets.into_iter().filter(user).filter_map(held).collect();
        let mappings = run
            .code_engine
            .domain_mappings(project)
            .map_err(|failure| failed("domain mappings", failure));
        Ok((secrets, mappings))
    });
    let mut seen = Vec::new();
    for ((project, region), list) in config.projects.iter().zip(lists) {
        let (secrets, mappings) = match list {
            Ok(list) => list,
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        let mappings = mappings.map_err(|error| failures.push(error)).ok();
        seen.extend(secrets.into_iter().map(|(name, held)| Seen {
            project,
            region: region.as_ref(),
            domains: mappings.as_ref().map(|mappings| domains(mappings, &name)),
            name,
            held,
        }));
    }
    let unread: Vec<&mut Seen<'_>> = seen.iter_mut().filter(|seen| seen.held.is_none()).collect();
    let read = workers::each(unread, |seen| {
        let Ok(name) = TlsSecretName::parse(&seen.name) else {
            return Ok(());
        };
        let reference = TlsSecretRef {
            project: seen.project.clone(),
            name,
        };
        let secret = run.code_engine.tls_secret(&reference).map_err(|failure| {
            refusals::tls_secret("read", failure, &reference, &run.config.grantee)
        })?;
        seen.held = Held::of(&secret);
        Ok(())
    });
    failures.extend(read.into_iter().filter_map(Result::err));
    seen
}

fn domains(mappings: &DomainMappings, tls_secret: &str) -> Vec<String> {
    let used = mappings.of(tls_secret).iter();
    used.map(|mapping| sanitized(&mapping.name)).collect()
}

/// The serial numbers of previous versions, by the ID of the secret, where they can decide anything.
fn previous_serials(
    run: &Run<'_>,
    secrets: &[Seen<'_>],
    certificates: Option<&[Known]>,
    failures: &mut Vec<Error>,
) -> BTreeMap<String, String> {
    let certificates = certificates.unwrap_or_default();
    let open: Vec<&Held> = secrets
        .iter()
        .filter_map(|secret| secret.held.as_ref())
        .filter(|held| !certificates.iter().any(|known| is_same(held, known)))
        .collect();
    let asked: Vec<Uuid> = certificates
        .iter()
        .filter(|known| open.iter().any(|held| may_be_renewed(held, known)))
        .filter_map(|known| Uuid::parse(&known.listed.id).ok())
        .collect();
    let read = workers::each(asked, |id| {
        let version = run.secrets_manager.version(&id, Version::Previous);
        match version {
            Ok(version) => Ok(version.serial_number.map(|serial| (id.to_string(), serial))),
            // never rotated
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(refusals::secret(
                failure,
                &id,
                Version::Previous,
                &run.config.grantee,
            )),
        }
    });
    let mut serials = BTreeMap::new();
    for read in read {
        match read {
            Ok(serial) => serials.extend(serial),
            Err(error) => failures.push(error),
        }
    }
    serials
}
