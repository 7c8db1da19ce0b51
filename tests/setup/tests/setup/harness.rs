//! A site: an account with a certificate, two projects and the `ibmcloud` command; runs of the
//! scripts there, and what exists there afterwards.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use ibmcloud_stand_in::rest::{Door, Rest};
use ibmcloud_stand_in::{Account, Freedom, Instance, State};
use local_cloud::{CertificateSpec, LocalCloud, Options, World};
use serde_json::{Value, json};

use crate::network::Network;

pub(crate) const JOB: &str = "sm-tls-sync";
pub(crate) const TLS_SECRET: &str = "shop-tls";
pub(crate) const CERTIFICATE: &str = "shop-example-com";

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The job, built as the tests of the whole workspace build it.
fn job_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args([
                "test",
                "--workspace",
                "--locked",
                "--no-run",
                "--test",
                "job",
            ])
            .arg("--message-format=json")
            .current_dir(root())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let built = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut programs = built.filter(|artifact| {
            artifact["target"]["name"] == JOB
                && artifact["target"]["kind"] == json!(["bin"])
                && artifact["executable"].is_string()
        });
        let program = programs.next().unwrap_or_else(|| {
            panic!(
                "no job was built:\n{}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        program["executable"].as_str().unwrap().into()
    })
}

/// How the stand-in answers in this site, where IBM's documents leave it open. Each site of each test
/// has another way; the seed for all of them is printed with every failure, and can be set.
fn freedom() -> Freedom {
    const VARIABLE: &str = "SETUP_FREEDOM_SEED";
    static SEED: OnceLock<u64> = OnceLock::new();
    thread_local!(static SITES: Cell<u32> = const { Cell::new(0) });
    let seed = *SEED.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(seed) => seed.parse().expect("SETUP_FREEDOM_SEED: a number"),
        Err(_) => RandomState::new().hash_one(0) >> 40,
    });
    let mut hasher = DefaultHasher::new();
    let thread = std::thread::current();
    (seed, thread.name(), SITES.replace(SITES.get() + 1)).hash(&mut hasher);
    let freedom = Freedom::of_seed(hasher.finish());
    // shown with the failure of a test
    println!("{VARIABLE}={seed}: {freedom:?}");
    freedom
}

pub(crate) struct Site {
    pub(crate) cloud: LocalCloud,
    pub(crate) world: World,
    /// The certificate in Secrets Manager.
    pub(crate) secret: String,
    /// The project for the job alone.
    pub(crate) job_project: String,
    pub(crate) home: tempfile::TempDir,
    _network: Network,
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
        assert_eq!(
            self.status, status,
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// The steps: what each line of this kind says.
    pub(crate) fn steps(&self, kind: &str) -> Vec<&str> {
        self.stdout
            .lines()
            .filter_map(|line| line.strip_prefix(kind))
            .collect()
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(freedom())
    }

    /// A site in which some gaps are filled as the test needs it.
    pub(crate) fn but(change: impl FnOnce(&mut Freedom)) -> Self {
        let mut freedom = freedom();
        change(&mut freedom);
        Self::with(freedom)
    }

    pub(crate) fn with(freedom: Freedom) -> Self {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_ibmcloud"), bin.join("ibmcloud")).unwrap();
        let wrapper = home.path().join("job");
        let cloud = LocalCloud::start(Options {
            https: false,
            job_program: Some(wrapper.clone()),
            ..Options::default()
        })
        .unwrap();
        let world = cloud.world();
        // the profile is setup's work
        cloud.set_links(Vec::new());
        cloud.set_policies(Vec::new());
        cloud.authorize_event_notifications(false);
        let secret = cloud.issue(CertificateSpec::default());
        let job_project = cloud.create_project("cert-sync", &world.region);

        let address =
            |url: String| -> SocketAddr { url.trim_start_matches("http://").parse().unwrap() };
        let network = Network::start(BTreeMap::from([
            (
                "private.iam.cloud.ibm.com".to_owned(),
                address(cloud.iam_url()),
            ),
            (
                format!(
                    "{}.private.{}.secrets-manager.appdomain.cloud",
                    world.instance_id, world.region
                ),
                address(cloud.secrets_manager_url()),
            ),
        ]));
        let roots = home.path().join("roots.pem");
        let public = cloud.authority().public_root();
        std::fs::write(&roots, format!("{}{public}", network.ca)).unwrap();
        // IBM's network and roots around the job; its environment is what setup and the cloud gave
        let script = format!(
            "#!/bin/sh\n[ -z \"$TARGETS_FILE\" ] || export TARGETS_FILE={}/mounted$TARGETS_FILE\n\
             exec env HTTPS_PROXY={} SSL_CERT_FILE={} {} \"$@\"\n",
            home.path().display(),
            network.url(),
            roots.display(),
            job_program().display()
        );
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();

        let instance = |service: &str, name: &str, guid: &str, crn: &str| Instance {
            service: service.to_owned(),
            name: name.to_owned(),
            guid: guid.to_owned(),
            crn: crn.to_owned(),
            region: world.region.clone(),
        };
        let account = Account {
            control_url: cloud.control_url(),
            api_key: world.api_key.clone(),
            instances: vec![
                instance(
                    "secrets-manager",
                    "my-secrets",
                    &world.instance_id,
                    &world.instance_crn,
                ),
                instance(
                    "event-notifications",
                    "cert-events",
                    &world.event_notifications_instance_id,
                    &world.event_notifications_instance_crn,
                ),
                instance(
                    "codeengine",
                    &world.project_name,
                    &world.project_id,
                    &world.project_crn,
                ),
                instance(
                    "codeengine",
                    "cert-sync",
                    &job_project,
                    &cloud.project_crn(&job_project),
                ),
            ],
            plugins: [
                ("code-engine", "1.62.6"),
                ("event-notifications", "1.21.3"),
                ("secrets-manager", "2.0.16"),
            ]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .to_vec(),
            logged_in: true,
            secrets_manager_public: true,
            private_network: false,
            build_fails: None,
            freedom,
            failure: None,
        };
        account.save(home.path());
        Self {
            cloud,
            world,
            secret,
            job_project,
            home,
            _network: network,
        }
    }

    pub(crate) fn account(&self, change: impl FnOnce(&mut Account)) {
        let mut account = Account::load(self.home.path());
        change(&mut account);
        account.save(self.home.path());
    }

    pub(crate) fn state(&self) -> State {
        State::load(self.home.path())
    }

    /// A script as people run it.
    pub(crate) fn script(&self, script: &Path, arguments: &[&str]) -> Done {
        let mut command = self.command("bash");
        command.arg(script).args(arguments);
        self.run(command, "")
    }

    /// A program with the environment of this site.
    pub(crate) fn command(&self, program: &str) -> Command {
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            self.home.path().join("bin").display()
        );
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env("IBMCLOUD_HOME", self.home.path())
            .env("SETUP_PAUSE", "0");
        command
    }

    /// Runs it to its end with this on standard input; searches output and all arguments for secrets.
    pub(crate) fn run(&self, mut command: Command, input: &str) -> Done {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // who reads nothing closes it
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let done = Done {
            status: output.status.code().expect("ended by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        self.assert_no_leak(&done);
        done
    }

    /// The command lines so far, one JSON object a line.
    pub(crate) fn calls(&self) -> String {
        std::fs::read_to_string(self.home.path().join("calls.jsonl")).unwrap_or_default()
    }

    fn assert_no_leak(&self, done: &Done) {
        let calls = self.calls();
        let shown = format!("{}{}{calls}", done.stdout, done.stderr);
        for secret in self.cloud.secrets_in_use() {
            // of a PEM block any line is one too many
            for line in secret.lines().filter(|line| line.len() > 16) {
                assert!(
                    !shown.contains(line),
                    "a secret in output or arguments:\n{shown}"
                );
            }
        }
        for word in ["PRIVATE KEY", "BEGIN CERTIFICATE"] {
            assert!(
                !shown.contains(word),
                "{word} in output or arguments:\n{shown}"
            );
        }
        let left = std::fs::read_dir(self.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left
            .filter(|name| name.to_string_lossy().starts_with("tmp."))
            .collect();
        assert!(left.is_empty(), "files were left behind: {left:?}");
    }

    /// The inputs of a usual installation.
    pub(crate) fn inputs(&self) -> Vec<&str> {
        vec![
            "--region",
            &self.world.region,
            "--secrets-manager",
            "my-secrets",
            "--certificate",
            CERTIFICATE,
            "--event-notifications",
            "cert-events",
            "--project",
            &self.world.project_name,
            "--job-project",
            "cert-sync",
            "--tls-secret",
            TLS_SECRET,
            "--image",
            "icr.io/tools/sm-tls-sync:1.0.0",
        ]
    }

    /// `scripts/setup.sh --yes` with the usual inputs and more.
    pub(crate) fn setup(&self, more: &[&str]) -> Done {
        let arguments = [self.inputs().as_slice(), &["--yes"], more].concat();
        self.script(&root().join("scripts/setup.sh"), &arguments)
    }

    /// The inputs of a removal.
    pub(crate) fn removal(&self) -> Vec<&str> {
        vec![
            "--region",
            &self.world.region,
            "--event-notifications",
            "cert-events",
            "--job-project",
            "cert-sync",
        ]
    }

    /// `scripts/teardown.sh` with the usual inputs and more.
    pub(crate) fn teardown(&self, more: &[&str]) -> Done {
        let arguments = [self.removal().as_slice(), more].concat();
        self.script(&root().join("scripts/teardown.sh"), &arguments)
    }

    /// Everything that exists in the account.
    pub(crate) fn everything(&self) -> Value {
        let rest = Rest::new(&Account::load(self.home.path()));
        let mut state = self.state();
        state.changes = 0;
        (state.region, state.resource_group, state.project) = (None, None, None);
        (state.unknown, state.logs_asked) = Default::default();
        let mut all = json!({ "iam": state });
        let en = format!(
            "/v1/instances/{}",
            self.world.event_notifications_instance_id
        );
        for name in ["sources", "topics", "destinations", "subscriptions"] {
            let found = rest.call(
                Door::EventNotifications,
                "GET",
                &format!("{en}/{name}"),
                None,
            );
            all[name] = found.unwrap()[name].take();
        }
        for (label, project) in [("apps", &self.world.project_id), ("job", &self.job_project)] {
            for name in ["config_maps", "jobs", "secrets"] {
                let mut found = rest.all(&format!("/v2/projects/{project}/{name}"), name);
                for one in &mut found {
                    // holds the time of the answer
                    one.as_object_mut()
                        .map(|one| one.remove("x_not_in_the_documents"));
                }
                all[format!("{label}/{name}")] = Value::Array(found);
            }
            let path = format!("/projects/{project}/cron_subscriptions");
            all[format!("{label}/crons")] = rest.call(Door::Control, "GET", &path, None).unwrap();
        }
        all
    }

    /// The same without what differs from one installation to the next: ids, times, tags.
    pub(crate) fn essence(&self) -> Value {
        let all = self.everything();
        let mut names: Vec<(String, String)> = vec![
            (self.world.instance_id.clone(), "SECRETS-MANAGER".into()),
            (
                self.world.event_notifications_instance_id.clone(),
                "EVENTS".into(),
            ),
            (self.world.project_id.clone(), "APPS".into()),
            (self.job_project.clone(), "JOB".into()),
            (self.world.account_id.clone(), "ACCOUNT".into()),
            (self.world.secret_group_id.clone(), "GROUP".into()),
            (self.secret.clone(), "SECRET".into()),
        ];
        for list in ["topics", "destinations"] {
            for thing in all[list].as_array().into_iter().flatten() {
                let text = |field: &str| thing[field].as_str().unwrap().to_owned();
                names.push((text("id"), format!("{list}/{}", text("name"))));
            }
        }
        for profile in &self.state().profiles {
            names.push((profile.id.clone(), "PROFILE".into()));
        }
        let mut text = all.to_string();
        for (id, name) in names {
            text = text.replace(&id, &name);
        }
        let mut all = serde_json::from_str(&text).unwrap();
        strip(&mut all);
        all
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Array(all) => {
            all.iter_mut().for_each(strip);
            all.sort_by_key(Value::to_string);
        }
        Value::Object(fields) => {
            // every site has its own certificate
            for own in [
                "id",
                "created_at",
                "updated_at",
                "entity_tag",
                "href",
                "data",
                "computed_env_variables",
            ] {
                if own != "data" || fields.get("format").is_some() {
                    fields.remove(own);
                }
            }
            fields.values_mut().for_each(strip);
        }
        _ => {}
    }
}

/// Both are the same, or a list of what differs.
#[track_caller]
pub(crate) fn assert_same(before: &Value, after: &Value) {
    let mut differing = Vec::new();
    differ("", before, after, &mut differing);
    assert!(differing.is_empty(), "{differing:#?}");
}

fn differ(path: &str, before: &Value, after: &Value, into: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let of = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or_default()
                };
                differ(&format!("{path}/{key}"), &of(a), &of(b), into);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}/{index}"), a, b, into);
            }
        }
        _ if before != after => into.push(format!("{path}: {before} -> {after}")),
        _ => {}
    }
}
