//! A scene, and how a run is started in it. After a failure every TLS secret is as it was; [`run`] has
//! what else must hold.

/// What a run printed.
mod run;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use local_cloud::{
    Attempt, CertificateSpec, Entry, Environment, Fault, FaultGuard, FaultKind, JobRun,
    JobSettings, LocalCloud, Options, Policy, Role, TlsSecret, World, route,
};
use serde_json::Value;

pub(crate) use self::run::{Check, Discovered, Run, ended};
use crate::leaks;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sm-tls-sync");
/// The job that the ready world's trusted profile is linked to.
pub(crate) const JOB: &str = "sm-tls-sync";
/// The TLS secret of a scene.
pub(crate) const TLS_SECRET: &str = "shop-tls";
/// Longer than any run may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A run of the binary from outside of Code Engine, with nothing in its environment but what is said.
pub(crate) struct Start<'a> {
    scene: &'a Scene,
    pub(crate) environment: BTreeMap<String, String>,
    arguments: Vec<String>,
}

impl<'a> Start<'a> {
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Without the one target of `Scene::start`.
    pub(crate) fn bare(self) -> Self {
        self.without("TLS_SECRET_NAME").without("SECRET_ID")
    }

    /// With these targets instead of the one of `Scene::start`: a JSON value or a text.
    pub(crate) fn targets(self, targets: impl Display) -> Self {
        self.bare().env("TARGETS", targets.to_string())
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs to the end and checks what holds for every run.
    pub(crate) fn run(self) -> Run {
        let scene = self.scene;
        let before = scene.deployed();
        let run = self.run_beside_others();
        scene.untouched_by(&run, &before);
        run
    }

    /// The exit status, and what is on standard output.
    pub(crate) fn printed(self) -> (i32, String) {
        let output = self.command(PROGRAM).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        let leak = leaks::find(&format!("{text}\n{log}"), &self.scene.secrets());
        assert!(leak.is_none(), "{leak:?}: {text}\n{log}");
        (output.status.code().unwrap(), text)
    }

    /// The same with a terminal as standard output.
    pub(crate) fn on_a_terminal(mut self) -> String {
        const PTY: &str = "import pty, sys; pty.spawn(sys.argv[1:])";
        let program = ["-c", PTY, PROGRAM].map(str::to_owned);
        self.arguments.splice(0..0, program);
        let output = self.command("python3").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.environment).args(&self.arguments).stdin(Stdio::null());
        command
    }

    /// The same where others may write meanwhile.
    pub(crate) fn run_beside_others(self) -> Run {
        self.spawn().finished()
    }

    /// The same; no output may contain any of these texts either.
    pub(crate) fn run_that_hides(self, texts: &[String]) -> Run {
        let secrets = [self.scene.secrets().as_slice(), texts].concat();
        ended(self.command(PROGRAM).output().unwrap(), &secrets)
    }

    pub(crate) fn spawn(self) -> Running<'a> {
        let mut command = self.command(PROGRAM);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { scene: self.scene, child: command.spawn().unwrap() }
    }
}

/// A run that is still going on.
pub(crate) struct Running<'a> {
    scene: &'a Scene,
    pub(crate) child: Child,
}

impl Running<'_> {
    /// Waits for the end.
    pub(crate) fn finished(mut self) -> Run {
        let log = self.child.stderr.take().unwrap();
        let log = std::thread::spawn(|| std::io::read_to_string(log).unwrap());
        let text = std::io::read_to_string(self.child.stdout.take().unwrap()).unwrap();
        let status = self.child.wait().unwrap();
        Run::checked(status.code(), &text, &log.join().unwrap(), &self.scene.secrets())
    }
}

impl Drop for Running<'_> {
    /// A test that failed leaves no process behind. One that has ended is not touched.
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Sends SIGTERM.
pub(crate) fn terminate(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
}

/// A local cloud with one certificate that was rotated after it was deployed.
pub(crate) struct Scene {
    pub(crate) cloud: LocalCloud,
    pub(crate) world: World,
    /// The secret in Secrets Manager.
    pub(crate) secret: String,
    /// The TLS secrets that must not change in a failing run.
    watched: Vec<(String, String)>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::of(CertificateSpec::default())
    }

    /// With `SM_TLS_SYNC_HOSTILE` the cloud uses the freedom that IBM's documents leave it; the
    /// number says how. Tests that choose a behaviour themselves use [`Scene::with`].
    pub(crate) fn of(spec: CertificateSpec) -> Self {
        #[expect(clippy::disallowed_methods, reason = "scripts/test chooses for the whole suite")]
        let seed = std::env::var("SM_TLS_SYNC_HOSTILE");
        let options = match seed {
            Ok(seed) => Options::hostile(seed.parse().expect("SM_TLS_SYNC_HOSTILE: a number")),
            Err(_) => Options::default(),
        };
        Self::made(options, spec)
    }

    /// The cloud behaves as it does by default, but for these choices.
    pub(crate) fn with(choose: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        choose(&mut options);
        Self::made(options, CertificateSpec::default())
    }

    fn made(options: Options, spec: CertificateSpec) -> Self {
        let options = Options { job_program: Some(PROGRAM.into()), ..options };
        let cloud = LocalCloud::start(options).unwrap();
        let world = cloud.world();
        let secret = cloud.issue(spec);
        cloud.deploy(&secret, &world.project_id, TLS_SECRET);
        cloud.map_domain(&world.project_id, "shop.example.com", TLS_SECRET);
        cloud.rotate_quietly(&[&secret]);
        cloud.clear_journal();
        let watched = vec![(world.project_id.clone(), TLS_SECRET.to_owned())];
        Self { cloud, world, secret, watched }
    }

    /// Watches one more TLS secret.
    pub(crate) fn watch(&mut self, project_id: &str, name: &str) {
        self.watched.push((project_id.to_owned(), name.to_owned()));
    }

    /// From now on, while the guard lives, this happens on this route.
    pub(crate) fn fault(&self, route: &str, kind: FaultKind) -> FaultGuard {
        self.cloud.fault(Fault::on(route, kind))
    }

    /// The same, once.
    pub(crate) fn fault_once(&self, route: &str, kind: FaultKind) -> FaultGuard {
        self.cloud.fault(Fault::on(route, kind).times(1))
    }

    /// A run from outside with one target: the reconcile by hand.
    pub(crate) fn start(&self) -> Start<'_> {
        let mut environment = self.cloud.environment();
        // also of checks and discoveries
        environment.insert("OUTPUT".to_owned(), "json".to_owned());
        // only for what never ends: a busy machine takes long
        environment.insert("DEADLINE".to_owned(), "100".to_owned());
        Start { scene: self, environment: self.with_target(environment), arguments: Vec::new() }
    }

    pub(crate) fn run(&self) -> Run {
        self.start().run()
    }

    /// A run that Event Notifications starts with this text.
    pub(crate) fn run_event(&self, text: &str) -> Run {
        self.start().env("ibmendata", text).run()
    }

    /// The environment of a job with one target.
    pub(crate) fn job_environment(&self) -> Environment {
        self.with_target(self.cloud.job_environment())
    }

    fn with_target(&self, mut environment: Environment) -> Environment {
        for (name, value) in [
            // a probe is no part of every test
            ("PROBE", "off"),
            ("TLS_SECRET_NAME", TLS_SECRET),
            ("SECRET_ID", &self.secret),
            ("LOG_LEVEL", "debug"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        environment
    }

    /// The job as it would be installed.
    pub(crate) fn create_job(&self, settings: &JobSettings) {
        let (project, environment) = (&self.world.project_id, self.job_environment());
        self.cloud.create_job(project, JOB, &environment, settings);
    }

    /// The job, which the events of rotations start.
    pub(crate) fn install(&self) {
        self.create_job(&JobSettings::default());
        self.cloud.subscribe_job(&self.world.project_id, JOB);
    }

    /// Starts the job by hand with these variables.
    pub(crate) fn submit(&self, variables: &[(&str, &str)]) -> String {
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (project, variables) = (&self.world.project_id, variables.collect());
        self.cloud.submit_job_run(project, JOB, &variables)
    }

    /// Starts the job as its schedule does.
    pub(crate) fn cron(&self, data: &str) -> String {
        self.cloud.fire_cron(&self.world.project_id, JOB, data)
    }

    /// Waits for a job run, and checks each of its processes.
    pub(crate) fn finished(&self, name: &str) -> (JobRun, Vec<Run>) {
        let project = &self.world.project_id;
        let run = self.cloud.wait_job_run(project, name, PATIENCE).unwrap();
        let checked = |attempt: &Attempt| {
            let (code, secrets) = (attempt.exit_code, self.secrets());
            Run::checked(code, &attempt.stdout, &attempt.stderr, &secrets)
        };
        let attempts = run.attempts.iter().map(checked).collect();
        (run, attempts)
    }

    pub(crate) fn tls_secret(&self) -> TlsSecret {
        self.cloud.tls_secret(&self.world.project_id, TLS_SECRET).unwrap()
    }

    /// The serial number of the leaf that Secrets Manager holds now.
    pub(crate) fn serial(&self) -> String {
        self.cloud.serial(&self.secret).unwrap()
    }

    /// The serial number that a TLS client sees.
    pub(crate) fn served(&self) -> String {
        self.cloud.served("shop.example.com").unwrap().serial
    }

    fn deployed(&self) -> Vec<Option<TlsSecret>> {
        let read = |(project, name): &(String, String)| self.cloud.tls_secret(project, name);
        self.watched.iter().map(read).collect()
    }

    /// After a failure with one target every TLS secret is byte for byte what it was; with several,
    /// those of failed targets are.
    fn untouched_by(&self, run: &Run, before: &[Option<TlsSecret>]) {
        let watched = self.watched.iter().zip(before).zip(self.deployed());
        for (((project, name), was), is) in watched {
            let replaced = run.report.targets.iter().any(|target| {
                target.action == "replaced"
                    && target.tls_secret.as_ref() == Some(name)
                    && target.project_id.as_ref() == Some(project)
            });
            if !replaced {
                assert!(*was == is, "{name} was touched: {run:#?}");
            }
        }
    }

    fn secrets(&self) -> Vec<String> {
        self.cloud.secrets_in_use()
    }

    /// The journal as "METHOD /path" lines of the routes, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        let entries = self.cloud.journal().into_iter();
        let asked = entries.map(|entry| entry.route.unwrap_or(entry.path));
        asked.collect()
    }

    /// How often a route was asked.
    pub(crate) fn times_asked(&self, route: &str) -> usize {
        let asked = self.asked();
        asked.iter().filter(|asked| *asked == route).count()
    }

    /// The writes that were asked for.
    pub(crate) fn writes(&self) -> Vec<Entry> {
        let replaces = |entry: &Entry| entry.route.as_deref() == Some(route::REPLACE_TLS_SECRET);
        self.cloud.journal().into_iter().filter(replaces).collect()
    }

    /// A payload file of `tests/payloads` as our cloud would send it: its ids in place of the
    /// file's.
    pub(crate) fn payload(&self, file: &str) -> String {
        self.localized(&payload(file))
    }

    /// Puts our ids in place of those of the payload files.
    pub(crate) fn localized(&self, text: &str) -> String {
        let (world, instance) = (&self.world, "7c4e1d52-90ab-4f37-8e16-2b5d0c9a6f31");
        text.replace("4a1f7c0de2b84935a6c07d51b9e83f24", &world.account_id)
            .replace(instance, &world.instance_id)
            .replace("2f6c8e90-4b1d-4d7a-9e35-c0a71b64d852", &self.secret)
    }
}

/// The right to write in a project.
pub(crate) fn writer(project_id: &str) -> Policy {
    Policy::CodeEngine { role: Role::Writer, project_id: project_id.to_owned() }
}

/// The right to read the secrets of a group.
pub(crate) fn secrets_reader(group_id: &str) -> Policy {
    Policy::SecretsManager { role: Role::SecretsReader, secret_group_id: Some(group_id.to_owned()) }
}

/// A certificate for these names.
pub(crate) fn spec_for<T: ToString>(names: &[T]) -> CertificateSpec {
    CertificateSpec {
        names: names.iter().map(T::to_string).collect(),
        ..CertificateSpec::default()
    }
}

/// This JSON instead of the service's own answer.
pub(crate) fn answer(status: u16, body: impl Display) -> FaultKind {
    FaultKind::Answer {
        status,
        content_type: "application/json".to_owned(),
        body: body.to_string(),
    }
}

/// The service's own answer with these fields.
pub(crate) fn fields(fields: Value) -> FaultKind {
    FaultKind::Override(serde_json::from_value(fields).unwrap())
}

/// A file of `tests/payloads`.
pub(crate) fn payload(file: &str) -> String {
    let path = format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Runs the binary with this environment alone, in no cloud.
pub(crate) fn run_alone(environment: &[(&str, &str)]) -> Run {
    let mut command = Command::new(PROGRAM);
    let environment = environment.iter().copied();
    command.env_clear().envs(environment).stdin(Stdio::null());
    ended(command.output().unwrap(), &[])
}

/// Eight cases at a time: most of the time they wait.
pub(crate) fn side_by_side<T: Send>(cases: Vec<T>, check: impl Fn(T) + Sync) {
    let cases = std::sync::Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let case = cases.lock().unwrap().next();
                    let Some(case) = case else { break };
                    check(case);
                }
            });
        }
    });
}
