//! A site with the scripts: runs of them, searched for secrets, and what is there afterwards.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ibmcloud_stand_in::{Answer, Door, Site, TLS_SECRET, root};
use local_cloud::{JobRun, Trigger};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that is optional.
pub(crate) const OPTIONS: [&str; 4] = [
    "--schedule",
    "17 3 * * *",
    "--alert-email",
    "ops@example.com",
];

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
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// It ended with this status, and said these texts, with bars between them.
    #[track_caller]
    pub(crate) fn ends(self, status: i32, texts: &str) -> Self {
        self.expect(status)
            .says(&texts.split(" | ").collect::<Vec<_>>())
    }

    /// Both outputs hold these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.to_string().contains(text), "{text}:\n{self}");
        }
        self
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

/// The entries of a list.
pub(crate) fn entries(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

impl Here {
    pub(crate) fn new() -> Self {
        Self(Site::new(Path::new(env!("CARGO_BIN_EXE_ibmcloud"))))
    }

    /// What IBM's documents leave open is answered in these ways.
    pub(crate) fn odd(odd: &'static str) -> Self {
        let here = Self::new();
        here.account().odd = odd;
        here
    }

    /// An installation by the usual inputs.
    pub(crate) fn installed() -> Self {
        let here = Self::new();
        here.setup(&[]).expect(0);
        here
    }

    pub(crate) fn everything(&self) -> Value {
        self.account().everything()
    }

    pub(crate) fn call(&self, door: Door, request: &str, body: Value) -> Answer {
        self.account().call(door, request, body)
    }

    /// Connects Secrets Manager with Event Notifications, as somebody on its network does.
    pub(crate) fn register(&self) {
        let body = json!({ "event_notifications_instance_crn": self.world.event_notifications_instance_crn });
        self.call(
            Door::SecretsManager,
            "POST notifications/registration",
            body,
        )
        .unwrap();
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
        let lines = secrets
            .iter()
            .flat_map(|secret| secret.lines())
            .filter(|line| line.len() > 16);
        for line in lines.chain(["PRIVATE KEY", "BEGIN CERTIFICATE"]) {
            assert!(
                !shown.contains(line),
                "a secret in output or arguments:\n{shown}"
            );
        }
        let mut left: Vec<_> = self
            .home
            .path()
            .read_dir()
            .unwrap()
            .map(Result::unwrap)
            .collect();
        left.retain(|entry| entry.file_name().to_string_lossy().starts_with("tmp."));
        assert!(left.is_empty(), "files were left behind: {left:?}");
        done
    }

    /// A line of bash, as people type it.
    pub(crate) fn shell(&self, line: &str) -> Done {
        self.run(self.command("bash").args(["-euc", line]), "")
    }

    pub(crate) fn script(&self, script: &str, arguments: &[&str]) -> Done {
        self.run(
            self.command("bash")
                .arg(root().join(script))
                .args(arguments),
            "",
        )
    }

    /// `scripts/setup.sh --yes` with the usual inputs and more.
    pub(crate) fn setup(&self, more: &[&str]) -> Done {
        self.setup_without(&[], more)
    }

    /// The same without some inputs.
    pub(crate) fn setup_without(&self, flags: &[&str], more: &[&str]) -> Done {
        let inputs = self.inputs();
        let kept = inputs.chunks(2).filter(|pair| !flags.contains(&pair[0]));
        let kept = kept.flatten().copied();
        let all: Vec<_> = kept.chain(["--yes"]).chain(more.iter().copied()).collect();
        self.script("scripts/setup.sh", &all)
    }

    /// `scripts/teardown.sh` with the usual inputs and more.
    pub(crate) fn teardown(&self, more: &[&str]) -> Done {
        let inputs = "--region eu-de --event-notifications cert-events --job-project cert-sync";
        let all: Vec<_> = inputs.split(' ').chain(more.iter().copied()).collect();
        self.script("scripts/teardown.sh", &all)
    }

    /// Does this TLS secret hold what Secrets Manager holds now?
    pub(crate) fn holds(&self, project: &str, name: &str, secret: &str) -> bool {
        self.cloud
            .wait_job_runs(&self.job_project, PATIENCE)
            .unwrap();
        let current = self.cloud.material(secret).certificate.unwrap();
        self.cloud
            .tls_secret(project, name)
            .unwrap()
            .tls_cert
            .starts_with(current.trim_end())
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
        let mut runs = self
            .cloud
            .wait_job_runs(&self.job_project, PATIENCE)
            .unwrap();
        runs.retain(|run| run.trigger == trigger);
        runs
    }

    /// Nothing of setup's is left but what others may share.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        let all = self.everything();
        let projects = "/cert-sync/jobs /cert-sync/config_maps /cert-sync/crons";
        for list in "/topics /subscriptions /profiles"
            .split(' ')
            .chain(projects.split(' '))
        {
            assert_eq!(all.pointer(list), Some(&json!([])), "{list}");
        }
        assert!(
            entries(&all["destinations"])
                .iter()
                .all(|one| one["type"] == "smtp_ibm")
        );
        let authorizations = entries(&all["authorizations"]).iter();
        let to: Vec<_> = authorizations.map(|one| &one["target_service"]).collect();
        assert_eq!(to, ["event-notifications"]);
    }
}
