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
//! Each service's routes and field names are in the file of its name, as a table of routes and
//! handlers; state is in `store`, harm in `faults`. Nothing here knows the program under test, and no
//! type is shared with it: else a typo would agree with itself.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a stand-in for tests: a broken invariant should stop the test, loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

mod authority;
mod clock;
mod code_engine;
mod control;
mod domains;
mod event_notifications;
mod events;
mod faults;
mod filters;
mod http;
mod iam;
mod job_runs;
mod journal;
mod library;
mod problems;
pub mod route;
mod secrets_manager;
mod store;
mod world;

pub use authority::{Authority, CertificateSpec, KeyKind, Material, SecretType};
pub use code_engine::apps::AppFate;
pub use domains::Serving;
pub use event_notifications::TimerEvent;
pub use faults::{Fault, FaultGuard, FaultKind, Quoted};
pub use job_runs::{Attempt, JobRun, Trigger};
pub use journal::{Entry, Service};
pub use library::{CronSubscription, JobSettings, Served, TlsSecret};
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
            digit_tags: true,
            entity_tags: EntityTags::Quoted,
            conflict_status: 412,
            missing_if_match_status: 428,
            noop_patch_makes_revision: false,
            revisions_lag: false,
            status_moves_tag: false,
            failed_app_status: "failed".into(),
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
        use EntityTags::{Bare, BodyOnly, EmptyHeader, Quoted, Weak, Weakened};
        let bit = |n: u32| (seed >> n) & 1 == 1;
        let tags = [Bare, Quoted, Weak, BodyOnly, Weakened, EmptyHeader];
        let pick = |n: u32, among: usize| usize::try_from(seed >> n).unwrap_or_default() % among;
        Self {
            digit_tags: bit(12),
            entity_tags: tags[pick(13, tags.len())],
            data_in_lists: bit(9),
            timer_event: TimerEvent::ALL[pick(16, 2)],
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
            Self::Quoted => Some(format!("\"{tag}\"")),
            Self::Weak | Self::Weakened => Some(format!("W/\"{tag}\"")),
        }
    }

    /// May `If-Match` hold this tag?
    fn takes(self, given: &str, tag: &str) -> bool {
        let strong = if self == Self::Weakened { Self::Quoted } else { self };
        given == "*" || given == tag || strong.in_header(tag).as_deref() == Some(given)
    }
}

/// Where everything listens; the base URLs have no `/` at their ends.
struct Addresses {
    iam: String,
    secrets_manager: String,
    event_notifications: String,
    code_engine: String,
    control: String,
    edge: SocketAddr,
}

/// What all rooms of the cloud share.
struct Cloud {
    options: Options,
    authority: Authority,
    addresses: Addresses,
    world: World,
    store: Mutex<store::Store>,
    /// Something in the store changed.
    changed: Condvar,
    last_tag: AtomicU64,
    /// Every key, token and API key that was ever in use.
    in_use: Mutex<BTreeSet<String>>,
    journal: journal::Journal,
    faults: Arc<faults::Faults>,
    /// Token files and the CA file; removed at the end.
    directory: tempfile::TempDir,
    runtime: Handle,
    /// The processes of job runs.
    tasks: Mutex<JoinSet<()>>,
    shutdown: watch::Sender<bool>,
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
        let deadline = Instant::now() + timeout;
        let mut store = store::lock(&self.store);
        loop {
            if let Some(found) = look(&store) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            store = match self.changed.wait_timeout(store, left) {
                Ok((store, _)) => store,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Opaque: not a digest, and not counting in a way that somebody could guess.
    fn next_tag(&self) -> String {
        let count = self.last_tag.fetch_add(1, Ordering::Relaxed) + 1;
        let number = 1_000_000_007 + count * 7919 + u64::from(rand::random::<u16>() % 7919);
        if self.options.digit_tags {
            number.to_string()
        } else {
            format!("{number}-{:x}", rand::random::<u16>())
        }
    }

    /// A secret goes onto the list for leak searches.
    fn remember(&self, secret: &str) {
        store::lock(&self.in_use).insert(secret.to_owned());
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
        Ok(Self { handle, runtime: Some(runtime) })
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
    let tls = options.https.then(|| server_tls(&authority)).transpose()?;
    let scheme = if options.https { "https" } else { "http" };

    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    for _ in 0..6 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("listen on 127.0.0.1")?;
        bound.push(listener.local_addr()?);
        listeners.push(listener);
    }
    let addresses = Addresses {
        iam: format!("{scheme}://{}", bound[0]),
        secrets_manager: format!("{scheme}://{}", bound[1]),
        event_notifications: format!("{scheme}://{}/event-notifications", bound[2]),
        code_engine: format!("{scheme}://{}", bound[3]),
        control: format!("http://{}", bound[4]),
        edge: bound[5],
    };
    let cloud = Arc::new(Cloud {
        options,
        authority,
        addresses,
        world: World::new(directory.path()),
        store: Mutex::default(),
        changed: Condvar::new(),
        last_tag: AtomicU64::new(0),
        in_use: Mutex::default(),
        journal: journal::Journal::default(),
        faults: Arc::default(),
        directory,
        runtime,
        tasks: Mutex::default(),
        shutdown: watch::Sender::new(false),
    });
    cloud.update(|store| world::fill(&cloud, store))?;

    let mut listeners = listeners.into_iter();
    let services =
        [Service::Iam, Service::SecretsManager, Service::EventNotifications, Service::CodeEngine];
    for (service, listener) in services.into_iter().zip(listeners.by_ref()) {
        let cloud = cloud.clone();
        let answer = move |request| {
            let cloud = cloud.clone();
            async move { http::front(&cloud, service, request).await }
        };
        tokio::spawn(http::serve(listener, tls.clone(), answer));
    }
    let handle = CloudHandle { cloud: cloud.clone() };
    let [control, edge] = [listeners.next(), listeners.next()].map(|one| one.expect("six"));
    tokio::spawn(http::serve(control, None, control::answers(handle.clone())));
    tokio::spawn(domains::serve(cloud, edge));
    Ok(handle)
}

fn server_tls(authority: &Authority) -> anyhow::Result<TlsAcceptor> {
    let (chain, key) = authority.transport_identity()?;
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Variables by name.
pub type Environment = BTreeMap<String, String>;
