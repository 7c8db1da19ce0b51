//! A site with the scripts: runs of them, searched for secrets, and what is there afterwards.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ibmcloud_stand_in::{Site, TLS_SECRET, root};
use local_cloud::{JobRun, Trigger};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

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

    /// Both outputs hold these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stdout.contains(text) || self.stderr.contains(text),
                "{text}:\n{self}"
            );
        }
        self
    }

    /// The steps: what each line of this kind says.
    pub(crate) fn steps(&self, kind: &str) -> Vec<&str> {
        let lines = self.stdout.lines();
        lines.filter_map(|line| line.strip_prefix(kind)).collect()
    }

    /// What setup made, without the runs.
    pub(crate) fn made(&self) -> Vec<&str> {
        let mut steps = self.steps("done ");
        steps.retain(|step| !step.contains(" run "));
        steps
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        )
    }
}

impl Here {
    pub(crate) fn new() -> Self {
        Self(Site::new(Path::new(env!("CARGO_BIN_EXE_ibmcloud"))))
    }

    /// What IBM's documents leave open is answered in these ways.
    pub(crate) fn odd(odd: &'static [&'static str]) -> Self {
        let here = Self::new();
        here.account().odd = odd;
        here
    }

    /// All that exists, and how many commands tried to change something.
    pub(crate) fn state(&self) -> (Value, u64) {
        let account = self.account();
        (account.everything(), account.changes)
    }

    /// An installation by the usual inputs.
    pub(crate) fn installed() -> Self {
        let here = Self::new();
        here.setup(&[]).expect(0);
        here
    }

    /// Runs it to its end with this on standard input; searches output and all arguments for secrets.
    pub(crate) fn run(&self, command: &mut Command, input: &str) -> Done {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // who reads nothing closes it
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code().expect("ended by itself");
        let done = Done {
            status,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        let shown = format!("{done}{:?}", self.account().calls);
        let secrets = self.cloud.secrets_in_use();
        // of a PEM block any line is one too many
        let lines = secrets.iter().flat_map(|secret| secret.lines());
        for line in lines
            .filter(|line| line.len() > 16)
            .chain(["PRIVATE KEY", "BEGIN CERTIFICATE"])
        {
            assert!(
                !shown.contains(line),
                "a secret in output or arguments:\n{shown}"
            );
        }
        let left = std::fs::read_dir(self.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left
            .filter(|name| name.to_string_lossy().starts_with("tmp."))
            .collect();
        assert!(left.is_empty(), "files were left behind: {left:?}");
        done
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
        self.script(
            "scripts/setup.sh",
            &[self.inputs().as_slice(), &["--yes"], more].concat(),
        )
    }

    /// The same without some inputs.
    pub(crate) fn setup_without(&self, flags: &[&str], more: &[&str]) -> Done {
        let inputs = self.inputs();
        let kept = inputs.chunks(2).filter(|pair| !flags.contains(&pair[0]));
        self.script(
            "scripts/setup.sh",
            &[
                kept.collect::<Vec<_>>().concat().as_slice(),
                &["--yes"],
                more,
            ]
            .concat(),
        )
    }

    /// `scripts/teardown.sh` with the usual inputs and more.
    pub(crate) fn teardown(&self, more: &[&str]) -> Done {
        let inputs = [
            "--region",
            "eu-de",
            "--event-notifications",
            "cert-events",
            "--job-project",
            "cert-sync",
        ];
        self.script("scripts/teardown.sh", &[&inputs, more].concat())
    }

    /// Does this TLS secret hold what Secrets Manager holds now?
    pub(crate) fn holds(&self, project: &str, name: &str, secret: &str) -> bool {
        self.cloud
            .wait_job_runs(&self.job_project, PATIENCE)
            .unwrap();
        let deployed = self.cloud.tls_secret(project, name).unwrap();
        deployed
            .tls_cert
            .starts_with(self.cloud.material(secret).certificate.unwrap().trim_end())
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
        let runs = self
            .cloud
            .wait_job_runs(&self.job_project, PATIENCE)
            .unwrap();
        runs.into_iter()
            .filter(|run| run.trigger == trigger)
            .collect()
    }

    /// The jobs, configmaps and the like of a project.
    pub(crate) fn of(&self, project: &str, list: &str) -> Vec<Value> {
        self.account().everything()[project][list]
            .as_array()
            .unwrap()
            .clone()
    }

    /// Nothing of setup's is left but what others may share.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        let all = self.account().everything();
        for list in [
            "/topics",
            "/subscriptions",
            "/profiles",
            "/cert-sync/jobs",
            "/cert-sync/config_maps",
            "/cert-sync/crons",
        ] {
            assert_eq!(
                all.pointer(list).unwrap().as_array().unwrap().len(),
                0,
                "{list}"
            );
        }
        let built_in = |one: &Value| one["type"] == "smtp_ibm";
        assert!(all["destinations"].as_array().unwrap().iter().all(built_in));
        assert_eq!(all["authorizations"].as_array().unwrap().len(), 1);
        assert_eq!(
            all["authorizations"][0]["target_service"],
            "event-notifications"
        );
    }
}
