//! A site with the scripts: runs of them, searched for secrets, and what is there afterwards.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ibmcloud_stand_in::{Site, TLS_SECRET, root};
use local_cloud::{JobRun, Trigger};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that is optional.
pub(crate) const OPTIONS: [&str; 4] =
    ["--schedule", "17 3 * * *", "--alert-email", "ops@example.com"];

/// A site; whatever a script prints or passes on is searched for secrets.
pub(crate) struct Here(Site);

impl std::ops::Deref for Here {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0
    }
}

/// What a script did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// It ended with this status, and said these texts, with bars between them.
    #[track_caller]
    pub(crate) fn ends(self, status: i32, texts: &str) -> Self {
        assert_eq!(self.status, status, "{self}");
        for text in texts.split(" | ") {
            assert!(self.to_string().contains(text), "{text}:\n{self}");
        }
        self
    }

    /// It ended well.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        self.ends(0, "")
    }

    /// The steps: what each line of this kind says.
    pub(crate) fn steps(&self, kind: &str) -> Vec<&str> {
        let lines = self.stdout.lines();
        lines.filter_map(|line| line.strip_prefix(kind)).collect()
    }

    /// There are so many lines of each kind.
    #[track_caller]
    pub(crate) fn counts(self, kinds: &[(&str, usize)]) -> Self {
        for (kind, number) in kinds {
            assert_eq!(self.steps(kind).len(), *number, "{kind}:\n{self}");
        }
        self
    }

    /// What setup made, without the runs.
    pub(crate) fn made(&self) -> usize {
        let steps = self.steps("done ").into_iter();
        steps.filter(|step| !step.contains(" run ")).count()
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        write!(f, "--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl Here {
    /// A site; what IBM's documents leave open is answered in these ways.
    pub(crate) fn odd(odd: &'static str) -> Self {
        let here = Self(Site::new(Path::new(env!("CARGO_BIN_EXE_ibmcloud"))));
        here.account().odd = odd;
        here
    }

    pub(crate) fn new() -> Self {
        Self::odd("")
    }

    /// An installation by the usual inputs.
    pub(crate) fn installed() -> Self {
        let here = Self::new();
        here.setup(&[]).well();
        here
    }

    pub(crate) fn everything(&self) -> Value {
        self.account().everything()
    }

    /// Connects Secrets Manager with Event Notifications, as somebody on its network does.
    pub(crate) fn register(&self) {
        let crn = &self.world.event_notifications_instance_crn;
        let body = json!({ "event_notifications_instance_crn": crn });
        let done = self.account().sm("POST notifications/registration", body);
        done.unwrap();
    }

    /// Runs it to its end with this on standard input; searches output and all arguments for secrets.
    pub(crate) fn run(&self, command: &mut Command, input: &str) -> Done {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // who reads nothing closes it
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let done = Done {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        let shown = format!("{done}{:?}", self.account().calls);
        let secrets = self.cloud.secrets_in_use();
        // of a PEM block any line is one too many
        let lines = secrets.iter().flat_map(|secret| secret.lines());
        let lines = lines.filter(|line| line.len() > 16);
        let mut lines = lines.chain(["PRIVATE KEY", "BEGIN CERTIFICATE"]);
        let secret = lines.find(|line| shown.contains(line));
        assert_eq!(secret, None, "shown or passed on:\n{shown}");
        let home = self.home.path().read_dir().unwrap();
        let mut paths = home.map(|entry| entry.unwrap().path().display().to_string());
        assert_eq!(paths.find(|path| path.contains("/tmp.")), None, "left behind");
        done
    }

    /// A line of bash, as people type it.
    pub(crate) fn shell(&self, line: &str) -> Done {
        self.run(self.command("bash").args(["-euc", line]), "")
    }

    pub(crate) fn script(&self, script: &str, arguments: &[&str]) -> Done {
        let script = root().join(script);
        self.run(self.command("bash").arg(script).args(arguments), "")
    }

    /// `scripts/setup.sh --yes` with the usual inputs and more.
    pub(crate) fn setup(&self, more: &[&str]) -> Done {
        self.setup_without(&[], more)
    }

    /// The same without some inputs.
    pub(crate) fn setup_without(&self, flags: &[&str], more: &[&str]) -> Done {
        let inputs = self.inputs();
        let kept = inputs.chunks(2).filter(|pair| !flags.contains(&pair[0]));
        let kept: Vec<_> = kept.flatten().copied().collect();
        self.script("scripts/setup.sh", &[&kept[..], &["--yes"], more].concat())
    }

    /// `scripts/teardown.sh` with the usual inputs and more.
    pub(crate) fn teardown(&self, more: &[&str]) -> Done {
        let inputs = "--region eu-de --event-notifications cert-events --job-project cert-sync";
        let inputs: Vec<_> = inputs.split(' ').collect();
        self.script("scripts/teardown.sh", &[&inputs[..], more].concat())
    }

    /// Does this TLS secret hold what Secrets Manager holds now?
    pub(crate) fn holds(&self, project: &str, name: &str, secret: &str) -> bool {
        let ended = self.cloud.wait_job_runs(&self.job_project, PATIENCE);
        ended.unwrap();
        let current = self.cloud.material(secret).certificate.unwrap();
        let held = self.cloud.tls_secret(project, name).unwrap();
        held.tls_cert.starts_with(current.trim_end())
    }

    pub(crate) fn is_current(&self) -> bool {
        self.holds(&self.world.project_id, TLS_SECRET, &self.secret)
    }

    /// A rotation reaches the TLS secret.
    #[track_caller]
    pub(crate) fn assert_follows(&self) {
        self.cloud.rotate(&[&self.secret]);
        assert!(self.is_current());
    }

    pub(crate) fn runs(&self, trigger: Trigger) -> Vec<JobRun> {
        let runs = self.cloud.wait_job_runs(&self.job_project, PATIENCE);
        let mut runs = runs.unwrap();
        runs.retain(|run| run.trigger == trigger);
        runs
    }

    /// Nothing of setup's is left but what others may share.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        let all = self.everything();
        let own = ["jobs", "config_maps", "crons"].map(|list| &all["cert-sync"][list]);
        let shared = ["topics", "subscriptions", "profiles"].map(|list| &all[list]);
        assert_eq!([own, shared], [[&json!([]); 3]; 2]);
        let (destinations, authorizations) = (&all["destinations"], &all["authorizations"]);
        let source = &authorizations[0]["source_service_name"];
        assert_eq!([&destinations[0]["type"], source], ["smtp_ibm", "secrets-manager"]);
        assert_eq!([&destinations[1], &authorizations[1]], [&Value::Null; 2]);
    }
}
