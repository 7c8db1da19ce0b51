//! Runs of the binary, and what must hold after each of them: one report line that has only known
//! fields, no secret in any output, and after a failure every TLS secret as it was.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use local_cloud::{
    Attempt, CertificateSpec, Entry, Environment, Fault, FaultGuard, FaultKind, JobRun,
    JobSettings, LocalCloud, Options, Policy, Role, TlsSecret, World, route,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::leaks;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sm-tls-sync");
/// The job that the ready world's trusted profile is linked to.
pub(crate) const JOB: &str = "sm-tls-sync";
/// The TLS secret of a scene.
pub(crate) const TLS_SECRET: &str = "shop-tls";
/// Longer than any run may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The report line. Unknown fields are refused: the format cannot change unseen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) level: String,
    pub(crate) message: String,
    pub(crate) version: String,
    pub(crate) status: i32,
    pub(crate) retryable: bool,
    pub(crate) trigger: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) duration_ms: u64,
    pub(crate) targets: Vec<Target>,
    #[serde(default)]
    pub(crate) checks: Vec<Check>,
    pub(crate) discovered: Option<Vec<Discovered>>,
    pub(crate) proposed_targets: Option<Vec<Value>>,
    pub(crate) unused_certificates: Option<Vec<CertificateRef>>,
    pub(crate) error: Option<Finding>,
    #[serde(default)]
    pub(crate) targets_omitted: usize,
    #[serde(default, rename = "checks_omitted")]
    _checks_omitted: usize,
    #[serde(default)]
    pub(crate) discovered_omitted: usize,
    #[serde(default)]
    pub(crate) proposed_targets_omitted: usize,
    #[serde(default)]
    pub(crate) unused_certificates_omitted: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) secret_id: Option<String>,
    pub(crate) secret_name: Option<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) tls_secret: Option<String>,
    pub(crate) action: String,
    pub(crate) reason: Option<String>,
    pub(crate) message: String,
    pub(crate) command: Option<String>,
    pub(crate) from: Option<Leaf>,
    pub(crate) to: Option<Leaf>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) attempts: Option<u32>,
    pub(crate) served: Vec<Served>,
    pub(crate) restarted: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Served {
    pub(crate) domain: String,
    pub(crate) state: String,
    pub(crate) after_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the table is compared by its messages")]
pub(crate) struct Check {
    pub(crate) check: String,
    pub(crate) subject: Option<String>,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) message: String,
    pub(crate) command: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discovered {
    pub(crate) project_id: String,
    pub(crate) tls_secret: String,
    pub(crate) not_after: Option<String>,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    pub(crate) domains: Option<Vec<String>>,
    #[serde(rename = "match")]
    pub(crate) matches: Option<String>,
    #[serde(default)]
    pub(crate) candidates: Vec<CertificateRef>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateRef {
    pub(crate) secret_id: String,
    pub(crate) secret_name: Option<String>,
    pub(crate) secret_type: String,
    pub(crate) not_after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leaf {
    pub(crate) serial: String,
    pub(crate) not_after: String,
    pub(crate) sha256: String,
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) command: Option<String>,
}

impl Report {
    /// Only a long report leaves something out; a command is one line.
    fn read(line: &str) -> serde_json::Result<Self> {
        let fields: Map<String, Value> = serde_json::from_str(line)?;
        let is_long = line.len() > 8 * 1024;
        let read = |(name, value): (String, Value)| {
            assert!(is_long || !name.ends_with("_omitted"), "{line}");
            (name, without_counts(value, is_long))
        };
        let fields: Value = fields.into_iter().map(read).collect();
        serde_json::from_value(fields)
    }
}

/// What is below a field of the report, without the counts of what is left out there.
fn without_counts(value: Value, is_long: bool) -> Value {
    let all = |(name, value)| (name, without_counts(value, is_long));
    match value {
        Value::Object(mut fields) => {
            let command = fields.get("command").map_or_else(String::new, Value::to_string);
            assert!(!command.contains(r"\n") && !command.contains(r"\r"), "{command}");
            let count = fields.len();
            fields.retain(|name, _| !name.ends_with("_omitted"));
            assert!(is_long || fields.len() == count, "{fields:?}");
            fields.into_iter().map(all).collect()
        }
        Value::Array(items) => {
            let items = items.into_iter();
            items.map(|item| without_counts(item, is_long)).collect()
        }
        value => value,
    }
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) report: Report,
    pub(crate) log: String,
}

impl Run {
    /// Checks what holds for every run, whatever it was.
    pub(crate) fn checked(
        status: Option<i32>,
        stdout: &str,
        stderr: &str,
        secrets: &[String],
    ) -> Self {
        let shown = format!("status {status:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        if let Some(leak) = leaks::find(&format!("{stdout}\n{stderr}"), secrets) {
            panic!("a secret in the output, {leak}:\n{shown}");
        }
        let status = status.unwrap_or_else(|| panic!("ended by a signal: {shown}"));
        let lines: Vec<&str> = stdout.lines().collect();
        let [line] = lines.as_slice() else {
            panic!("standard output is not exactly one line: {shown}")
        };
        assert!(line.starts_with(r#"{"level":""#), "{shown}");
        assert!(line.len() <= 15 * 1024, "{} bytes: {shown}", line.len());
        let report = Report::read(line).unwrap_or_else(|e| panic!("the report: {e}: {shown}"));
        assert_eq!(report.status, status, "{shown}");
        assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
        let findings = report.targets.iter().any(|t| !t.findings.is_empty());
        let level = match (status, findings) {
            (0, false) => "info",
            (0, true) => "warn",
            _ => "error",
        };
        assert_eq!(report.level, level, "{shown}");
        Self { status, report, log: stderr.to_owned() }
    }

    /// The only target.
    #[track_caller]
    pub(crate) fn target(&self) -> &Target {
        let [target] = self.report.targets.as_slice() else {
            panic!("not exactly one target: {self:#?}")
        };
        target
    }

    /// Status and action of a run with one target.
    #[track_caller]
    pub(crate) fn expect(&self, status: i32, action: &str) -> &Target {
        let target = self.target();
        let is = (self.status, &*target.action);
        assert_eq!(is, (status, action), "{self:#?}");
        target
    }

    /// Status and reason of a run that failed for its one target.
    #[track_caller]
    pub(crate) fn refused(&self, status: i32, reason: &str) -> &Target {
        let target = self.target();
        let is = (self.status, target.reason.as_deref());
        assert_eq!(is, (status, Some(reason)), "{self:#?}");
        target
    }

    /// Status and message of a run.
    #[track_caller]
    pub(crate) fn says(&self, status: i32, message: &str) {
        let is = (self.status, &*self.report.message);
        assert_eq!(is, (status, message), "{self:#?}");
    }

    /// What became of each target.
    pub(crate) fn actions(&self) -> Vec<&str> {
        let targets = self.report.targets.iter();
        targets.map(|target| &*target.action).collect()
    }

    /// Status and code of a run that failed before any target was looked at.
    #[track_caller]
    pub(crate) fn rejected(&self, status: i32, code: &str) -> &Finding {
        let error = self.report.error.as_ref();
        let is = (self.status, error.map(|e| e.code.as_str()));
        assert_eq!(is, (status, Some(code)), "{self:#?}");
        error.unwrap()
    }
}

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
    pub(crate) fn finished(self) -> Run {
        let output = self.child.wait_with_output().unwrap();
        ended(output, &self.scene.secrets())
    }
}

/// Sends SIGTERM.
pub(crate) fn terminate(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
}

/// Checks what holds for every run.
pub(crate) fn ended(output: Output, secrets: &[String]) -> Run {
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Run::checked(output.status.code(), &stdout, &stderr, secrets)
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
        self.cloud.submit_job_run(project, JOB, &variables, &[])
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
