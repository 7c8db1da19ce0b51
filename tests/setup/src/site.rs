//! A site: a small account with a certificate and two projects, the `ibmcloud` command, and runs of the
//! scripts there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use local_cloud::{CertificateSpec, LocalCloud, Options, World};
use serde_json::{Value, json};

use crate::account::Account;

/// The name of the job.
pub const JOB: &str = "sm-tls-sync";
/// The TLS secret of the usual installation.
pub const TLS_SECRET: &str = "shop-tls";

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The job, built as the tests of the whole workspace build it.
static JOB_PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let build = "test --workspace --locked --no-run --test job --message-format=json";
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo
        .args(build.split(' '))
        .current_dir(root())
        .output()
        .unwrap();
    let built = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut built = built
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is = |one: &Value| {
        let target = &one["target"];
        target["name"] == JOB && target["kind"] == json!(["bin"]) && one["executable"].is_string()
    };
    let program = built
        .find(is)
        .unwrap_or_else(|| panic!("no job was built: {output:?}"));
    program["executable"].as_str().unwrap().to_owned()
});

/// An account, a local cloud behind it, and a folder with the `ibmcloud` command.
pub struct Site {
    /// What is behind the account.
    pub cloud: LocalCloud,
    /// Its ids.
    pub world: World,
    /// The certificate in Secrets Manager.
    pub secret: String,
    /// The project for the job alone.
    pub job_project: String,
    /// HOME of the commands.
    pub home: tempfile::TempDir,
    account: Arc<Mutex<Account>>,
    address: String,
}

impl Site {
    /// A new account. `program` is the stand-in.
    pub fn new(program: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().display();
        std::fs::create_dir(home.path().join("bin")).unwrap();
        symlink(program, home.path().join("bin/ibmcloud")).unwrap();
        let wrapper = home.path().join("job");
        let job_program = Some(wrapper.clone());
        let cloud = LocalCloud::start(Options {
            https: false,
            job_program,
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
        std::fs::write(
            home.path().join("roots.pem"),
            cloud.authority().public_root(),
        )
        .unwrap();
        // The addresses of IBM's network lead to the local cloud; all else of the job's environment is what
        // setup and Code Engine gave it.
        let (id, region, sm) = (
            &world.instance_id,
            &world.region,
            cloud.secrets_manager_url(),
        );
        let (iam, job) = (cloud.iam_url(), &*JOB_PROGRAM);
        let script = format!(
            "#!/bin/sh\n\
             [ \"$SECRETS_MANAGER_URL\" = https://{id}.private.{region}.secrets-manager.appdomain.cloud ] || exit 97\n\
             [ -z \"$TARGETS_FILE\" ] || export TARGETS_FILE={folder}/mounted$TARGETS_FILE\n\
             exec env SECRETS_MANAGER_INSTANCE_ID={id} SECRETS_MANAGER_URL={sm} IAM_URL={iam} \
             SSL_CERT_FILE={folder}/roots.pem {job} \"$@\"\n"
        );
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let instance = |service: &str, name: &str, guid: &str, crn: &str| json!({ "service": service, "name": name, "guid": guid, "crn": crn, "region": world.region });
        let (en, en_crn) = (
            &world.event_notifications_instance_id,
            &world.event_notifications_instance_crn,
        );
        let instances = vec![
            instance("secrets-manager", "my-secrets", id, &world.instance_crn),
            instance("event-notifications", "cert-events", en, en_crn),
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
        ];
        let account = Account::new((*cloud).clone(), home.path().to_owned(), instances);
        let account = Arc::new(Mutex::new(account));
        let address = serve(account.clone());
        Self {
            cloud,
            world,
            secret,
            job_project,
            home,
            account,
            address,
        }
    }

    /// What there is, and what commands have done.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program with the environment of this site.
    pub fn command(&self, program: &str) -> Command {
        let home = self.home.path();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                format!("{}/bin:/usr/local/bin:/usr/bin:/bin", home.display()),
            )
            .env("IBMCLOUD_STAND_IN", &self.address)
            .env("SETUP_PAUSE", "0")
            .env("HOME", home)
            .env("TMPDIR", home);
        command
    }

    /// The inputs of a usual installation.
    pub fn inputs(&self) -> Vec<&str> {
        let inputs = "--region eu-de --secrets-manager my-secrets --certificate shop-example-com \
                      --event-notifications cert-events --job-project cert-sync --tls-secret shop-tls \
                      --image icr.io/tools/sm-tls-sync:1.0.0 --project";
        inputs
            .split_whitespace()
            .chain([&*self.world.project_name])
            .collect()
    }
}

/// Answers the commands of this account, one at a time.
fn serve(account: Arc<Mutex<Account>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut line) = (stream.unwrap(), String::new());
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let (arguments, environment): (Vec<String>, Value) =
                serde_json::from_str(&line).unwrap();
            let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = account.answer(&arguments, &environment);
            // a caller that was killed reads nothing
            let _ = writeln!(stream, "{}", json!(answer));
        }
    });
    address
}
