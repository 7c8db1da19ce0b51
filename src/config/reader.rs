//! Takes values out of the environment and collects everything that is wrong with them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use anyhow::ensure;
use ureq::ProxyProtocol;

use crate::config::targets::{Entry, Places};
use crate::config::values::{base_url, boolean, injected, restart_apps};
use crate::config::variables::VARIABLES;
use crate::config::{Share, Target};
use crate::ibm::iam::Credentials;
use crate::ibm::ids::{Crn, Region, TlsSecretName, Uuid};
use crate::ibm::proxy::{NoProxy, Proxy};
use crate::secret::Secret;

/// Where the compute resource token is: Code Engine's path first, then what IBM's SDKs try.
const TOKEN_FILES: [&str; 3] = [
    "/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token",
    "/var/run/secrets/tokens/vault-token",
    "/var/run/secrets/tokens/sa-token",
];

/// Takes values out of the environment and collects what is wrong with them. The parsers do not
/// name the variable: that is done here, once.
pub(super) struct Reader<'a> {
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// The value under its name or an older one; an empty one counts as absent.
    pub(super) fn raw(&mut self, name: &str) -> Option<(&'static str, &'a str)> {
        let variable = VARIABLES.iter().find(|variable| variable.name == name)?;
        let environment = self.environment;
        let mut given = std::iter::once(&variable.name)
            .chain(variable.aliases)
            .filter_map(|name| {
                let value = environment.get(*name)?;
                (!value.is_empty()).then_some((*name, value.as_str()))
            });
        let (used, value) = given.next()?;
        if let Some((other, _)) = given.next() {
            self.problem(
                other,
                "is the older name of another variable that is given too",
            );
        }
        if used != variable.name {
            self.warnings.push(format!(
                "{used} works, but its name is now {}",
                variable.name
            ));
        }
        Some((used, value))
    }

    pub(super) fn value<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&'a str) -> anyhow::Result<T>,
    ) -> Option<T> {
        let (used, text) = self.raw(name)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(e) => {
                self.problem(used, e);
                None
            }
        }
    }

    pub(super) fn required<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&'a str) -> anyhow::Result<T>,
    ) -> Option<T> {
        if self.raw(name).is_none() {
            self.problem(name, "is missing");
        }
        self.value(name, parse)
    }

    pub(super) fn problem(&mut self, name: &str, what: impl Display) {
        let problem = format!("{name}: {what:#}");
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn instance(&mut self, secrets_manager: Option<&str>) -> Option<Uuid> {
        let given = self.value("SECRETS_MANAGER_INSTANCE_ID", |text| {
            if text.starts_with("crn:") {
                return Uuid::parse(&Crn::parse(text)?.instance);
            }
            Uuid::parse(text)
        });
        let host = secrets_manager
            .and_then(|base| Some(base.split_once("://")?.1))
            .and_then(|host| Uuid::parse(host.split('.').next()?).ok());
        if let (Some(given), Some(host)) = (&given, &host)
            && given != host
        {
            self.problem(
                "SECRETS_MANAGER_INSTANCE_ID",
                format!("{given} is not the instance of SECRETS_MANAGER_URL, {host}"),
            );
        }
        given.or(host)
    }

    pub(super) fn credentials(&mut self) -> Option<Credentials> {
        let printable_text = |text: &'a str| {
            ensure!(
                !text.chars().any(char::is_control),
                "expected one line without control characters"
            );
            Ok(text.to_owned())
        };
        let profiles: Vec<(&'static str, &'static str, String)> = [
            ("IAM_PROFILE_ID", "profile_id"),
            ("IAM_PROFILE_NAME", "profile_name"),
            ("IAM_PROFILE_CRN", "profile_crn"),
        ]
        .into_iter()
        .filter_map(|(name, field)| Some((name, field, self.value(name, printable_text)?)))
        .collect();
        let api_key = self.value("IBMCLOUD_API_KEY", |text| {
            ensure!(
                text.bytes().all(|b| b.is_ascii_graphic()),
                "expected printable characters without spaces"
            );
            Ok(Secret::from(text.to_owned()))
        });
        let token_files = self
            .value("CR_TOKEN_FILENAME", |text| Ok(vec![PathBuf::from(text)]))
            .unwrap_or_else(|| TOKEN_FILES.map(PathBuf::from).to_vec());

        let in_code_engine = self.environment.contains_key("CE_JOBRUN");
        match (profiles.as_slice(), api_key) {
            ([(_, field, profile)], None) => Some(Credentials::Profile {
                field,
                profile: profile.clone(),
                token_files,
            }),
            ([], Some(key)) if !in_code_engine => Some(Credentials::ApiKey(key)),
            ([], Some(_)) => {
                self.problem(
                    "IBMCLOUD_API_KEY",
                    "is for runs outside Code Engine; a job assumes a trusted profile: give IAM_PROFILE_ID",
                );
                None
            }
            ([], None) => {
                self.problem(
                    "IAM_PROFILE_ID",
                    "is missing (or IAM_PROFILE_NAME, IAM_PROFILE_CRN; outside Code Engine IBMCLOUD_API_KEY)",
                );
                None
            }
            (several, key) => {
                let mut names: Vec<&str> = several.iter().map(|(name, ..)| *name).collect();
                names.extend(key.map(|_| "IBMCLOUD_API_KEY"));
                self.problem(&names.join(", "), "give one of them, not several");
                None
            }
        }
    }

    /// The targets, and the secret that narrows the run among `TARGETS`.
    pub(super) fn targets(
        &mut self,
        secret: Option<Uuid>,
        instance: Option<&Uuid>,
    ) -> (Vec<Target>, Option<Uuid>) {
        let places = Places {
            given: self.value("CODE_ENGINE_URL", base_url),
            own: injected(self.environment, "CE_API_BASE_URL").and_then(|text| {
                let base = base_url(text).ok()?;
                Some(base.strip_suffix("/v2").unwrap_or(&base).to_owned())
            }),
            own_region: injected(self.environment, "CE_REGION")
                .and_then(|text| Region::parse(text).ok()),
            project: self.value("PROJECT_ID", Uuid::parse).or_else(|| {
                injected(self.environment, "CE_PROJECT_ID").and_then(|text| Uuid::parse(text).ok())
            }),
        };
        let single = self.value("TLS_SECRET_NAME", |text| {
            places.place(TlsSecretName::parse(text)?, None, None)
        });
        let has_single = self.raw("TLS_SECRET_NAME").is_some();
        let many = self.raw("TARGETS").map(|(_, text)| text);
        let hold = self.value("HOLD", boolean).unwrap_or(false);
        let restart_apps = self.value("RESTART_APPS", restart_apps).unwrap_or_default();
        if many.is_some() {
            for (name, field) in [("HOLD", "hold"), ("RESTART_APPS", "restart_apps")] {
                if self.raw(name).is_some() {
                    self.problem(
                        name,
                        format!("goes with TLS_SECRET_NAME; in TARGETS give {field} to the target"),
                    );
                }
            }
        }
        match (single, many) {
            (_, Some(_)) if has_single => {
                self.problem("TLS_SECRET_NAME, TARGETS", "give one of them, not both");
                (Vec::new(), None)
            }
            (Some(place), None) => {
                let target = Target {
                    secret,
                    tls_secret: place,
                    restart_apps,
                    hold,
                };
                (vec![target], None)
            }
            (None, None) => {
                if !has_single {
                    self.problem("TLS_SECRET_NAME", "is missing (or TARGETS)");
                }
                (Vec::new(), None)
            }
            (_, Some(text)) => {
                let targets = self.many(text, instance, &places);
                if let Some(secret) = &secret
                    && !targets.is_empty()
                    && !targets.iter().any(|t| t.secret.as_ref() == Some(secret))
                {
                    self.problem("SECRET_ID", format!("no target names {secret}"));
                }
                (targets, secret)
            }
        }
    }

    pub(super) fn many(
        &mut self,
        text: &str,
        instance: Option<&Uuid>,
        places: &Places,
    ) -> Vec<Target> {
        let entries: Vec<Entry> = match serde_json::from_str(text) {
            Ok(entries) => entries,
            Err(e) => {
                self.problem("TARGETS", format!("expected a JSON array of targets: {e}"));
                return Vec::new();
            }
        };
        if entries.is_empty() {
            self.problem("TARGETS", "the array is empty");
        }
        let mut targets: Vec<Target> = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            match entry.target(instance, places) {
                Ok(target)
                    if targets
                        .iter()
                        .any(|other| other.tls_secret == target.tls_secret) =>
                {
                    self.problem(
                        &format!("TARGETS[{position}]"),
                        format!(
                            "the TLS secret {} has a target already",
                            target.tls_secret.name
                        ),
                    );
                }
                Ok(target) => {
                    if let Some(other) = targets.iter().find(|other| other.same_variable(&target)) {
                        self.problem(
                            &format!("TARGETS[{position}]"),
                            format!(
                                "{} and {} give their apps the same variable {}: restart_apps works with one of them only",
                                other.tls_secret.name,
                                target.tls_secret.name,
                                target.tls_secret.name.fingerprint_variable()
                            ),
                        );
                    }
                    targets.push(target);
                }
                Err(e) => self.problem(&format!("TARGETS[{position}]"), e),
            }
        }
        targets
    }

    /// The convention of curl and others: both spellings count, an entry covers its subdomains.
    pub(super) fn proxy(&mut self) -> Option<Proxy> {
        let environment = self.environment;
        let given = |upper: &str, lower: &str| {
            let value = environment.get(upper).or_else(|| environment.get(lower))?;
            (!value.is_empty()).then_some(value)
        };
        let url = given("HTTPS_PROXY", "https_proxy")?;
        // its text can hold a password: never shown
        let Ok(proxy) = ureq::Proxy::new(url) else {
            self.problem("HTTPS_PROXY", "expected http://host:port");
            return None;
        };
        if !matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) {
            self.problem("HTTPS_PROXY", "expected an HTTP proxy, http://host:port");
            return None;
        }
        let except = given("NO_PROXY", "no_proxy").map_or("", String::as_str);
        match NoProxy::parse(except) {
            Ok(except) => Some(Proxy {
                server: proxy,
                except,
            }),
            Err(e) => {
                self.problem("NO_PROXY", e);
                None
            }
        }
    }

    /// Code Engine injects both variables; without them the run is the whole array.
    pub(super) fn share(&mut self) -> Share {
        let number = |name: &str| injected(self.environment, name).map(str::parse::<usize>);
        let size = number("JOB_ARRAY_SIZE").and_then(Result::ok).unwrap_or(1);
        if size <= 1 {
            return Share { index: 0, size: 1 };
        }
        match number("JOB_INDEX") {
            Some(Ok(index)) if index < size => Share { index, size },
            _ => {
                self.problem(
                    "JOB_INDEX",
                    format!("expected an index below JOB_ARRAY_SIZE ({size}): give the job a gapless array such as 0-{}", size - 1),
                );
                Share { index: 0, size }
            }
        }
    }
}
