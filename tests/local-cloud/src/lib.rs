//! A small, faithful IBM Cloud on loopback: IAM's token service, Secrets Manager v2, Event
//! Notifications v1 and Code Engine v2 in one process, for black-box tests, the demo and
//! benchmarks of a program that only knows their addresses.
//!
//! ```no_run
//! use local_cloud::{CertificateSpec, LocalCloud, Options};
//!
//! # fn main() -> anyhow::Result<()> {
//! let cloud = LocalCloud::start(Options::default())?;
//! let secret = cloud.issue(CertificateSpec::default());
//! cloud.rotate(&[&secret]);
//! println!("{:?}", cloud.environment());
//! # Ok(())
//! # }
//! ```
//!
//! Where things are: each service's paths, headers and field names in the file of its name;
//! its refusals in `problems`; state in `store`; harm in `faults`. Nothing here knows the program
//! under test, and no type is shared with it: else a typo would agree with itself.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a stand-in for tests: a broken invariant should stop the test, loudly"
)]
#![allow(
    clippy::result_large_err,
    reason = "the error of a handler is the response it sends"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

// facts and state
mod authority;
mod clock;
mod store;
// the front of every service
mod faults;
mod http;
mod journal;
mod problems;
// the services
mod code_engine;
mod delivery;
mod domains;
mod event_notifications;
mod events;
mod filters;
mod iam;
mod job_runs;
mod secrets_manager;
// edge
mod control;
mod library;
pub mod route;
mod world;

pub use authority::{Authority, CertificateSpec, KeyKind, Material, SecretType};
pub use code_engine::apps::AppFate;
pub use domains::Serving;
pub use faults::{Fault, FaultGuard, FaultKind, Quoted};
pub use job_runs::{Attempt, JobRun, Trigger};
pub use journal::{Entry, Service};
pub use library::{CronSubscription, JobSettings, Served, TimerEvent, TlsSecret};
pub use store::{Action, Delivery, DeliveryOutcome, Link, Policy, Role};
pub use world::World;

/// How a cloud behaves. Each knob's default is the likelier behaviour of IBM.
#[derive(Clone, Debug)]
pub struct Options {
    /// HTTPS with an own CA; `false`: HTTP.
    pub https: bool,
    /// The program that job runs execute; without it they fail with `ExecutableNotFound`.
    pub job_program: Option<PathBuf>,
    /// Events name secrets by CRN; `false`: by bare UUID.
    pub secret_id_as_crn: bool,
    /// Home region: of the ready world, and of paths without a region in front.
    pub region: String,
    /// Entity tags are digits only, as in every sample of IBM; `false`: also letters and dashes,
    /// which the documented pattern allows.
    pub digit_tags: bool,
    /// Where Code Engine shows entity tags, and in which form.
    pub entity_tags: EntityTags,
    /// Code Engine's status for a stale entity tag: 412 or 409.
    pub conflict_status: u16,
    /// Code Engine's status for a missing `If-Match`: 428 or 400.
    pub missing_if_match_status: u16,
    /// A PATCH of an app that changes nothing makes a revision, too.
    pub noop_patch_makes_revision: bool,
    /// An app's answer to PATCH, and the next read, show the status of before.
    pub revisions_lag: bool,
    /// The entity tag of an app is another one when its status moves.
    pub status_moves_tag: bool,
    /// `status` of an app whose latest revision failed while an earlier one serves: `failed` or
    /// `warning`.
    pub failed_app_status: String,
    /// Pause before Event Notifications' first retry; doubles with each.
    pub delivery_retry_delay: Duration,
    /// Pause before a job run's process is started again.
    pub job_retry_delay: Duration,
    /// From SIGTERM to SIGKILL.
    pub job_termination_grace: Duration,
    /// Job runs per project, finished ones included; `None`: no limit.
    pub job_run_limit: Option<usize>,
    /// What domain mappings say in `cname_target`.
    pub cname_target: String,
    /// Secrets Manager sends the fields that its SDK marks optional and that carry no payload.
    pub optional_fields: bool,
    /// Code Engine's lists of secrets show their `data`.
    pub data_in_lists: bool,
    /// Every answer comes in pieces with pauses.
    pub slow_bodies: bool,
    /// What a job gets from the Periodic Timer.
    pub timer_event: TimerEvent,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            https: true,
            job_program: None,
            secret_id_as_crn: true,
            region: "eu-de".into(),
            digit_tags: true,
            entity_tags: EntityTags::Quoted,
            conflict_status: 412,
            missing_if_match_status: 428,
            noop_patch_makes_revision: false,
            revisions_lag: false,
            status_moves_tag: false,
            failed_app_status: "failed".into(),
            delivery_retry_delay: Duration::from_millis(10),
            job_retry_delay: Duration::ZERO,
            job_termination_grace: Duration::from_secs(30),
            job_run_limit: Some(100),
            cname_target: "127.0.0.1".into(),
            optional_fields: true,
            data_in_lists: true,
            slow_bodies: false,
            timer_event: TimerEvent::CloudEvent,
        }
    }
}

impl Options {
    /// The freedom that IBM's documents leave, used: the same seed gives the same choices. What no
    /// document allows needs a [`Fault`].
    pub fn hostile(seed: u64) -> Self {
        let bit = |n: u32| (seed >> n) & 1 == 1;
        let tags = [
            EntityTags::Bare,
            EntityTags::Quoted,
            EntityTags::Weak,
            EntityTags::BodyOnly,
            EntityTags::Weakened,
            EntityTags::EmptyHeader,
        ];
        let pick = |n: u32, among: usize| usize::try_from(seed >> n).unwrap_or_default() % among;
        Self {
            digit_tags: bit(12),
            entity_tags: tags[pick(13, tags.len())],
            data_in_lists: bit(9),
            timer_event: TimerEvent::ALL[pick(16, TimerEvent::ALL.len())],
            conflict_status: if bit(0) { 409 } else { 412 },
            missing_if_match_status: if bit(1) { 400 } else { 428 },
            secret_id_as_crn: bit(2),
            optional_fields: bit(3),
            slow_bodies: bit(4),
            noop_patch_makes_revision: bit(5),
            revisions_lag: bit(6),
            status_moves_tag: bit(7),
            failed_app_status: if bit(11) { "warning" } else { "failed" }.into(),
            ..Self::default()
        }
    }
}

/// Where Code Engine shows the entity tag of a resource, and in which form. `If-Match` takes the
/// tag of the header and that of the body, each as it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntityTags {
    /// Header `1000007926`, the same in the body.
    Bare,
    /// No header, only `entity_tag` in the body.
    BodyOnly,
    /// An empty header, `1000007926` in the body.
    EmptyHeader,
    /// A quoted header, no `entity_tag` in the body: IBM's SDKs refuse that, so no hostile cloud.
    HeaderOnly,
    /// Header `"1000007926"`, bare in the body.
    Quoted,
    /// Header `W/"1000007926"`, bare in the body.
    Weak,
    /// As `Weak`, but a weak tag in `If-Match` never matches (RFC 9110, 13.1.1): a gateway in front
    /// weakened the header, and Code Engine compares strongly.
    Weakened,
}

impl EntityTags {
    /// The text of the header; `None`: there is none.
    fn in_header(self, tag: &str) -> Option<String> {
        match self {
            Self::BodyOnly => None,
            Self::EmptyHeader => Some(String::new()),
            Self::Bare => Some(tag.to_owned()),
            Self::HeaderOnly | Self::Quoted => Some(format!("\"{tag}\"")),
            Self::Weak | Self::Weakened => Some(format!("W/\"{tag}\"")),
        }
    }

    /// May `If-Match` hold this tag?
    fn takes(self, given: &str, tag: &str) -> bool {
        given == tag
            || match self {
                Self::Weakened => given == format!("\"{tag}\""),
                _ => self.in_header(tag).is_some_and(|header| header == given),
            }
    }
}

/// Where everything listens.
struct Addresses {
    scheme: &'static str,
    iam: SocketAddr,
    secrets_manager: SocketAddr,
    event_notifications: SocketAddr,
    code_engine: SocketAddr,
    control: SocketAddr,
    edge: SocketAddr,
}

impl Addresses {
    fn iam(&self) -> String {
        format!("{}://{}", self.scheme, self.iam)
    }

    fn secrets_manager(&self) -> String {
        format!("{}://{}", self.scheme, self.secrets_manager)
    }

    fn event_notifications(&self) -> String {
        format!(
            "{}://{}/event-notifications",
            self.scheme, self.event_notifications
        )
    }

    fn code_engine(&self) -> String {
        format!("{}://{}", self.scheme, self.code_engine)
    }

    fn control(&self) -> String {
        format!("http://{}", self.control)
    }
}

/// What all rooms of the cloud share.
struct Cloud {
    options: Options,
    authority: Authority,
    addresses: Addresses,
    store: Mutex<store::Store>,
    /// Something in the store changed.
    changed: Condvar,
    journal: journal::Journal,
    faults: Arc<faults::Faults>,
    /// Token files and the CA file; removed at the end.
    directory: tempfile::TempDir,
    runtime: Handle,
    /// The processes of job runs.
    tasks: Mutex<JoinSet<()>>,
    shutdown: watch::Sender<bool>,
    default_group: String,
    en_token: String,
    /// For Event Notifications' calls inside of the cloud; taken out at the end, since it holds us.
    code_engine: Mutex<Option<axum::Router>>,
    client_tls: Arc<rustls::ClientConfig>,
}

impl Cloud {
    /// Does something with the state, and wakes whoever waits for a change.
    fn update<R>(&self, change: impl FnOnce(&mut store::Store) -> R) -> R {
        let result = change(&mut store::lock(&self.store));
        self.changed.notify_all();
        result
    }

    /// Blocks until `look` finds something.
    fn wait<R>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&store::Store) -> Option<R>,
    ) -> Option<R> {
        let deadline = std::time::Instant::now() + timeout;
        let mut store = store::lock(&self.store);
        loop {
            if let Some(found) = look(&store) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(std::time::Instant::now())?;
            store = match self.changed.wait_timeout(store, left) {
                Ok((store, _)) => store,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// A running cloud; ends when dropped, with its connections, job runs and files.
pub struct LocalCloud {
    handle: CloudHandle,
    runtime: Option<Runtime>,
}

/// Everything that can be done with a running cloud; [`LocalCloud`] derefs to it, threads clone it.
#[derive(Clone)]
pub struct CloudHandle {
    cloud: Arc<Cloud>,
    world: World,
}

impl std::ops::Deref for LocalCloud {
    type Target = CloudHandle;

    fn deref(&self) -> &CloudHandle {
        &self.handle
    }
}

impl LocalCloud {
    /// Starts all services on ports of 127.0.0.1 that the system chooses.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("local-cloud")
            .enable_all()
            .build()
            .context("runtime")?;
        let handle = runtime.block_on(listen(options, runtime.handle().clone()))?;
        Ok(Self {
            handle,
            runtime: Some(runtime),
        })
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        self.cloud.shutdown.send_replace(true);
        let mut tasks = std::mem::take(&mut *store::lock(&self.cloud.tasks));
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(async { while tasks.join_next().await.is_some() {} });
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        *store::lock(&self.cloud.code_engine) = None;
        // Not left to the last clone of the handle: tokens lie there.
        let _ = std::fs::remove_dir_all(self.cloud.directory.path());
    }
}

async fn listen(options: Options, runtime: Handle) -> anyhow::Result<CloudHandle> {
    let authority = Authority::new()?;
    let directory = tempfile::Builder::new().prefix("local-cloud-").tempdir()?;
    // the public-like root too: to a client of this cloud it is one of the roots of the world
    let roots = format!("{}{}", authority.transport(), authority.public_root());
    std::fs::write(directory.path().join("ca.pem"), roots)?;
    let tls = if options.https {
        Some(TlsAcceptor::from(server_tls(&authority)?))
    } else {
        None
    };
    let client_tls = client_tls(&authority)?;

    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listeners = Vec::new();
    for _ in 0..6 {
        listeners.push(
            TcpListener::bind(loopback)
                .await
                .context("listen on 127.0.0.1")?,
        );
    }
    let addresses = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<Vec<_>, _>>()?;
    let addresses = Addresses {
        scheme: if options.https { "https" } else { "http" },
        iam: addresses[0],
        secrets_manager: addresses[1],
        event_notifications: addresses[2],
        code_engine: addresses[3],
        control: addresses[4],
        edge: addresses[5],
    };

    let mut store = store::Store::default();
    let (world, en_token) = world::found(&mut store, &options, directory.path())?;
    let cloud = Arc::new(Cloud {
        options,
        authority,
        addresses,
        store: Mutex::new(store),
        changed: Condvar::new(),
        journal: journal::Journal::default(),
        faults: Arc::default(),
        directory,
        runtime,
        tasks: Mutex::default(),
        shutdown: watch::Sender::new(false),
        default_group: world.secret_group_id.clone(),
        en_token,
        code_engine: Mutex::default(),
        client_tls,
    });

    let handle = CloudHandle {
        cloud: cloud.clone(),
        world,
    };
    let fronted = |service, routes| http::fronted(&cloud, service, routes);
    let code_engine = fronted(Service::CodeEngine, code_engine::routes(cloud.clone()));
    *store::lock(&cloud.code_engine) = Some(code_engine.clone());
    let services = [
        (
            fronted(Service::Iam, iam::routes(cloud.clone())),
            tls.clone(),
        ),
        (
            fronted(
                Service::SecretsManager,
                secrets_manager::routes(cloud.clone()),
            ),
            tls.clone(),
        ),
        (
            fronted(
                Service::EventNotifications,
                event_notifications::routes(cloud.clone()),
            ),
            tls.clone(),
        ),
        (code_engine, tls),
        (control::routes(handle.clone()), None),
    ];
    let mut listeners = listeners.into_iter();
    for ((routes, tls), listener) in services.into_iter().zip(listeners.by_ref()) {
        tokio::spawn(http::serve(listener, tls, routes));
    }
    let edge = listeners.next().context("six listeners")?;
    tokio::spawn(domains::serve(cloud, edge));
    Ok(handle)
}

fn server_tls(authority: &Authority) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let (chain, key) = authority.transport_identity()?;
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn client_tls(authority: &Authority) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        authority.transport().as_bytes(),
    )?)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Variables by name.
pub type Environment = BTreeMap<String, String>;
