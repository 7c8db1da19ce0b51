//! What several variables mean together, and which of them contradict each other.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{bail, ensure};

use crate::config::targets::Defaults;
use crate::config::values::{base_url, secret_id};
use crate::config::variables::{Given, Notes, Value};
use crate::config::{Grantee, Mode, Share, Target, Trigger};
use crate::ibm::code_engine::{Project, TlsSecretRef};
use crate::ibm::iam::Credentials;
use crate::ibm::ids::{Region, SecretId, TlsSecretName, Uuid};
use crate::ibm::proxy::Proxy;
use crate::ibm::secrets_manager::Version;

/// Where the compute resource token is: Code Engine's path first, then the defaults of IBM's SDKs.
const TOKEN_FILES: [&str; 3] = [
    "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token",
    "/var/run/secrets/tokens/vault-token",
    "/var/run/secrets/tokens/sa-token",
];

/// The targets, and what follows from them.
pub(super) struct Targets {
    pub(super) targets: Vec<Target>,
    /// The projects of the targets, and the default one, each once, with the region that a target
    /// names for it.
    pub(super) projects: Vec<(Project, Option<Region>)>,
    /// The secret to which `SECRET_ID` limits the run.
    pub(super) only_secret: Option<Uuid>,
}

impl Notes {
    /// The ID of a secret; a CRN must be of our instance.
    pub(super) fn own_secret(
        &mut self,
        secret: &mut Value<SecretId>,
        instance: Option<&Uuid>,
    ) -> Option<Uuid> {
        let id = secret_id(secret.value.take()?, instance);
        id.map_err(|e| self.problem(secret.name, e)).ok()
    }
}

impl Given<'_> {
    pub(super) fn mode(&mut self) -> Mode {
        match (self.check.value, self.discover.value) {
            (Some(true), Some(true)) => {
                self.notes
                    .problem("CHECK, DISCOVER", "set only one of these");
                Mode::Check
            }
            (Some(true), _) => Mode::Check,
            (_, Some(true)) => Mode::Discover,
            _ => Mode::Run,
        }
    }

    /// The instance that is set, or the one that the URL shows.
    pub(super) fn instance(&mut self) -> Option<Uuid> {
        let url = self.secrets_manager_url.value.as_deref();
        let host = url
            .and_then(|base| Some(base.split_once("://")?.1))
            .and_then(|host| Uuid::parse(host.split('.').next()?).ok());
        let set = self.instance.value.clone();
        if let (Some(set), Some(host)) = (&set, &host)
            && set != host
        {
            let what = format!("{set} is not the instance of SECRETS_MANAGER_URL, {host}");
            self.notes.problem(self.instance.name, what);
        }
        set.or(host)
    }

    pub(super) fn version(&mut self, trigger: &Trigger) -> Version {
        let version = self.version.value.unwrap_or_default();
        let manual = matches!(trigger, Trigger::Manual) && self.secret.given;
        if version == Version::Previous && !manual {
            let what = "previous is only valid in a manual run with SECRET_ID";
            self.notes.problem(self.version.name, what);
        }
        version
    }

    pub(super) fn credentials(&mut self) -> Option<Credentials> {
        let token_files = match self.token_file.value.take() {
            Some(file) => vec![file],
            None => TOKEN_FILES.map(PathBuf::from).to_vec(),
        };
        let mut profiles = Vec::new();
        let mut names = Vec::new();
        for (field, value) in [
            ("profile_id", &mut self.profile_id),
            ("profile_name", &mut self.profile_name),
            ("profile_crn", &mut self.profile_crn),
        ] {
            names.extend(value.given.then_some(value.name));
            profiles.extend(value.value.take().map(|profile| (field, profile)));
        }
        names.extend(self.api_key.given.then_some(self.api_key.name));
        match names.as_slice() {
            [] => self.notes.problem(
                self.profile_id.name,
                "set one of IAM_PROFILE_ID, IAM_PROFILE_NAME, IAM_PROFILE_CRN (outside Code Engine: IBMCLOUD_API_KEY)",
            ),
            [_] if self.api_key.given && self.in_code_engine() => self.notes.problem(
                self.api_key.name,
                "is only valid outside Code Engine: set IAM_PROFILE_ID to the trusted profile of the job",
            ),
            [_] => {}
            several => self
                .notes
                .problem(several.join(", "), "set only one of these"),
        }
        match (profiles.pop(), self.api_key.value.take()) {
            (Some((field, profile)), None) => Some(Credentials::Profile {
                field,
                profile,
                token_files,
            }),
            (None, Some(key)) => Some(Credentials::ApiKey(key)),
            _ => None,
        }
    }

    /// Whom to grant a missing permission.
    pub(super) fn grantee(
        &self,
        credentials: Option<&Credentials>,
        instance: Option<Uuid>,
    ) -> Grantee {
        let url = self.secrets_manager_url.value.as_deref();
        Grantee {
            profile: match credentials {
                Some(Credentials::Profile { profile, .. }) => Some(profile.clone()),
                _ => None,
            },
            instance,
            // people are not in IBM's network
            secrets_manager: url.unwrap_or_default().replace(".private.", "."),
            region: self.injected("CE_REGION", Region::parse),
            job: self.injected("CE_JOB", |name| Ok(name.to_owned())),
        }
    }

    pub(super) fn targets(
        &mut self,
        mode: Mode,
        secret: Option<Uuid>,
        instance: Option<&Uuid>,
    ) -> Targets {
        let defaults = self.defaults();
        let sources: Vec<&'static str> = [
            (self.tls_secret.given, self.tls_secret.name),
            (self.targets.given, self.targets.name),
            (self.targets_file.given, self.targets_file.name),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect();
        let mut only_secret = None;
        let targets = match sources.as_slice() {
            [] => {
                if mode != Mode::Discover {
                    self.notes.problem(
                        self.tls_secret.name,
                        "is required, unless TARGETS or TARGETS_FILE is set",
                    );
                }
                Vec::new()
            }
            [_] if self.tls_secret.given => self.one(secret, &defaults).into_iter().collect(),
            [name] => {
                only_secret = secret;
                self.many(name, only_secret.as_ref(), instance, &defaults)
            }
            several => {
                let names = several.join(", ");
                self.notes.problem(names, "set only one of these");
                Vec::new()
            }
        };
        let default_project = defaults.project(None, None);
        // a value that was not understood is a problem already
        let missing = !self.project.given || self.project.value.is_some();
        if mode == Mode::Discover
            && sources.is_empty()
            && missing
            && let Err(e) = &default_project
        {
            self.notes.problem(self.project.name, e);
        }
        let mut projects: Vec<(Project, Option<Region>)> =
            default_project.into_iter().map(|p| (p, None)).collect();
        for target in &targets {
            let project = &target.tls_secret.project;
            if !projects.iter().any(|(known, _)| known == project) {
                projects.push((project.clone(), target.region.clone()));
            }
        }
        Targets {
            targets,
            projects,
            only_secret,
        }
    }

    fn defaults(&mut self) -> Defaults {
        Defaults {
            url: self.code_engine_url.value.take(),
            own_url: self.injected("CE_API_BASE_URL", |text| {
                let base = base_url(text)?;
                Ok(base.strip_suffix("/v2").unwrap_or(&base).to_owned())
            }),
            own_region: self.injected("CE_REGION", Region::parse),
            project: (self.project.value.clone())
                .or_else(|| self.injected("CE_PROJECT_ID", Uuid::parse)),
        }
    }

    /// The target of `TLS_SECRET_NAME`.
    fn one(&mut self, secret: Option<Uuid>, defaults: &Defaults) -> Option<Target> {
        let name = self.tls_secret.value.take()?;
        match defaults.project(None, None) {
            Ok(project) => Some(Target {
                secret,
                tls_secret: TlsSecretRef { project, name },
                region: None,
                restart_apps: self.restart_apps.value.take().unwrap_or_default(),
                hold: self.hold.value.unwrap_or(false),
            }),
            Err(e) => {
                self.notes.problem(self.tls_secret.name, e);
                None
            }
        }
    }

    /// The targets of `TARGETS` or `TARGETS_FILE`.
    fn many(
        &mut self,
        name: &str,
        only_secret: Option<&Uuid>,
        instance: Option<&Uuid>,
        defaults: &Defaults,
    ) -> Vec<Target> {
        for (variable, given, field) in [
            (self.hold.name, self.hold.given, "hold"),
            (
                self.restart_apps.name,
                self.restart_apps.given,
                "restart_apps",
            ),
        ] {
            if given {
                let what = format!(
                    "is only valid with TLS_SECRET_NAME; with {name} set \"{field}\" in the target"
                );
                self.notes.problem(variable, what);
            }
        }
        let entries = (self.targets.value.take()).or_else(|| self.targets_file.value.take());
        let mut targets: Vec<Target> = Vec::new();
        let mut places = HashSet::new();
        let mut variables = HashMap::new();
        for (position, entry) in entries.into_iter().flatten().enumerate() {
            let target = match entry.and_then(|entry| entry.target(instance, defaults)) {
                Ok(target) => target,
                Err(e) => {
                    self.notes.problem(format!("{name}[{position}]"), e);
                    continue;
                }
            };
            if let Err(e) = distinct(&target, &mut places, &mut variables) {
                self.notes.problem(format!("{name}[{position}]"), e);
            }
            targets.push(target);
        }
        if let Some(secret) = only_secret
            && !targets.is_empty()
            && !targets.iter().any(|t| t.secret.as_ref() == Some(secret))
        {
            let what = format!("no target has the secret_id {secret}");
            self.notes.problem(self.secret.name, what);
        }
        targets
    }

    pub(super) fn proxy(&mut self) -> Option<Proxy> {
        Some(Proxy {
            server: self.proxy.value.take()?,
            except: self.no_proxy.value.take().unwrap_or_default(),
        })
    }

    /// Code Engine injects both variables; without them the run is the whole array.
    pub(super) fn share(&mut self) -> Share {
        let number = |name| self.environment.get(name).map(|text| text.parse::<usize>());
        let Some(Ok(size @ 1..)) = number("JOB_ARRAY_SIZE") else {
            return Share { index: 0, size: 1 };
        };
        let index = match number("JOB_INDEX") {
            Some(Ok(index)) if index < size => index,
            None if size == 1 => 0,
            _ => {
                let what = format!(
                    "expected an index below JOB_ARRAY_SIZE ({size}): submit the job run with --array-indices 0-{}",
                    size - 1
                );
                self.notes.problem("JOB_INDEX", what);
                0
            }
        };
        Share { index, size }
    }
}

/// Whether no target before has the same TLS secret, or records the digest of its certificate in the
/// same variable of an app.
fn distinct(
    target: &Target,
    places: &mut HashSet<TlsSecretRef>,
    variables: &mut HashMap<(Project, String), TlsSecretName>,
) -> anyhow::Result<()> {
    let TlsSecretRef { project, name } = &target.tls_secret;
    ensure!(
        places.insert(target.tls_secret.clone()),
        "TLS secret {name} is listed twice"
    );
    if target.restart_apps.is_empty() {
        return Ok(());
    }
    let variable = name.fingerprint_variable();
    match variables.insert((project.clone(), variable.clone()), name.clone()) {
        Some(other) => bail!(
            "{other} and {name} map to the same variable {variable}; use restart_apps on only one of them"
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
