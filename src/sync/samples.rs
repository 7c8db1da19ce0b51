//! What the tests of the rules need: certificates, targets, and a run that calls nobody.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::cert::samples::{NOW, maker};
use crate::config::{Config, RestartApps, Settings, Target};
use crate::ibm::client::Http;
use crate::ibm::code_engine::{CodeEngine, Project, TlsData, TlsSecret, TlsSecretRef};
use crate::ibm::iam::Iam;
use crate::ibm::ids::{TlsSecretName, Uuid};
use crate::ibm::secrets_manager::SecretsManager;
use crate::progress::Progress;
use crate::secret::Secret;
use crate::sync::Run;
use crate::sync::assemble::{Bundle, assemble};
use crate::sync::deployed::Deployed;
use crate::sync::fetch::Material;
use crate::sync::validate::Task;

/// A certificate to be issued.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) names: &'static [&'static str],
    /// Days before and after today.
    pub(crate) valid: (i64, i64),
    /// The same in hours, if that is too coarse.
    pub(crate) hours: Option<(i64, i64)>,
    pub(crate) public: bool,
    /// As the maker writes it.
    pub(crate) issuer: &'static str,
    pub(crate) serial: u8,
}

pub(crate) const SHOP: Spec = Spec {
    names: &["shop.example.com", "www.shop.example.com"],
    valid: (-10, 80),
    hours: None,
    public: false,
    issuer: "Issuing_CA",
    serial: 1,
};

pub(crate) struct Issued {
    pub(crate) leaf: String,
    pub(crate) issuer: String,
    pub(crate) key: String,
}

/// A leaf with its issuer, both in PEM. The root is not part of the material.
pub(crate) fn issue(spec: &Spec) -> Issued {
    let Spec { issuer, serial, .. } = spec;
    let (begin, end) = spec.valid;
    let (begin, end) = spec.hours.unwrap_or((24 * begin, 24 * end));
    let names = spec.names.join(",");
    let stamps = if spec.public { " stamps" } else { "" };
    let mut maker = maker();
    let words = format!("names:{names} since:{begin}h until:{end}h serial:{serial}{stamps}");
    let leaf = maker.make(&format!("shop < {issuer} {words}"));
    Issued { leaf: leaf.pem, issuer: maker.make(&format!("{issuer} < Root")).pem, key: leaf.key }
}

pub(crate) fn bundle(issued: &Issued, with_issuer: bool) -> Bundle {
    let mut certificates = vec![("certificate".to_owned(), issued.leaf.clone())];
    if with_issuer {
        certificates.push(("intermediate".to_owned(), issued.issuer.clone()));
    }
    let material = Material {
        name: "shop".to_owned(),
        certificates,
        key: Secret::new(issued.key.clone()),
        updated_at: None,
    };
    assemble(&material, NOW).unwrap()
}

pub(crate) fn tls_secret(certificate: String, key: &str) -> TlsSecret {
    TlsSecret {
        format: "tls".to_owned(),
        data: TlsData { tls_cert: certificate, tls_key: Secret::new(key.to_owned()) },
        ..TlsSecret::default()
    }
}

pub(crate) fn deployed(certificate: String, key: &str) -> Deployed {
    Deployed::of(tls_secret(certificate, key))
}

/// The certificate after [`SHOP`].
pub(crate) const RENEWED: Spec = Spec { valid: (-1, 89), serial: 2, ..SHOP };

/// The target `shop-tls`.
pub(crate) fn task() -> Task {
    let id = |id| Uuid::parse(id).unwrap();
    Task {
        secret: id("2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852"),
        target: Target {
            secret: Some(id("2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852")),
            tls_secret: TlsSecretRef {
                project: Project {
                    base: "https://ce.example".to_owned(),
                    id: id("5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"),
                },
                name: TlsSecretName::parse("shop-tls").unwrap(),
            },
            region: None,
            restart_apps: RestartApps::default(),
            hold: false,
        },
        position: 0,
        just_created: false,
        scheduled: false,
    }
}

/// What every configuration needs, and these variables.
pub(crate) fn config<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Config {
    let environment: BTreeMap<String, String> = [
        ("SECRETS_MANAGER_URL", "https://sm.example"),
        ("IBMCLOUD_API_KEY", "no-such-api-key"),
        ("CODE_ENGINE_URL", "https://ce.example"),
        ("PROJECT_ID", "5f2a8c61-47de-4b90-a3f8-19c6e07d25b4"),
    ]
    .into_iter()
    .chain(variables)
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let (settings, notes) = Settings::read(&environment);
    Config::new(settings, notes).unwrap()
}

/// The services of a run that gets no token: every call ends before anything is sent.
pub(crate) fn without_calls<R>(
    change: impl FnOnce(&mut Config),
    work: impl FnOnce(&Run<'_>) -> R,
) -> R {
    let mut config = config([("TLS_SECRET_NAME", "shop-tls"), ("CE_JOB", "sync")]);
    change(&mut config);
    // nobody listens there, and no time is left to try again
    let url = Some("http://127.0.0.1:1");
    let end = Instant::now();
    let http = Http::new(&[], None, end);
    let iam = Iam::new(&http, url, &config.grantee);
    work(&Run {
        config: &config,
        iam: &iam,
        secrets_manager: SecretsManager::new(&iam, &config.settings.secrets_manager),
        code_engine: CodeEngine { iam: &iam },
        progress: &Progress::default(),
        now: NOW,
    })
}
