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

use crate::account::{Account, instance};

/// The name of the job.
pub const JOB: &str = "sm-tls-sync";
/// The TLS secret of the usual installation.
pub const TLS_SECRET: &str = "shop-tls";

/// The repository.
pub fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.join("../..").canonicalize().unwrap()
}

/// The job, built as the tests of the whole workspace build it.
static JOB_PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let build = "test --workspace --locked --no-run --test job --message-format=json";
    let mut cargo = Command::new(env!("CARGO"));
    let cargo = cargo.args(build.split(' ')).current_dir(root());
    let output = cargo.output().unwrap();
    let built = String::from_utf8_lossy(&output.stdout);
    let program = built.split('"').find(|text| text.ends_with("/sm-tls-sync"));
    program.unwrap_or_else(|| panic!("no job was built: {output:?}")).to_owned()
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
        let job = home.path().join("job");
        let cloud = LocalCloud::start(Options {
            https: false,
            job_program: Some(job.clone()),
            ..Options::default()
        });
        let cloud = cloud.unwrap();
        let world = cloud.world();
        // the profile is setup's work
        cloud.set_links(Vec::new());
        cloud.set_policies(Vec::new());
        cloud.authorize_event_notifications(false);
        let secret = cloud.issue(CertificateSpec::default());
        let job_project = cloud.create_project("cert-sync", &world.region);

        let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
        std::fs::create_dir(home.path().join("bin")).unwrap();
        symlink(program, home.path().join("bin/ibmcloud")).unwrap();
        write("roots.pem", cloud.authority().public_root());
        // The addresses of IBM's network lead to the local cloud; all else of the job's environment is what
        // setup and Code Engine gave it.
        let (folder, id, region) = (home.path().display(), &world.instance_id, &world.region);
        let (sm, iam, program) = (cloud.secrets_manager_url(), cloud.iam_url(), &*JOB_PROGRAM);
        let script = format!(
            "#!/bin/sh\n\
             [ \"$SECRETS_MANAGER_URL\" = https://{id}.private.{region}.secrets-manager.appdomain.cloud ] || exit 97\n\
             [ -z \"$TARGETS_FILE\" ] || export TARGETS_FILE={folder}/mounted$TARGETS_FILE\n\
             exec env SECRETS_MANAGER_INSTANCE_ID={id} SECRETS_MANAGER_URL={sm} IAM_URL={iam} \
             SSL_CERT_FILE={folder}/roots.pem {program} \"$@\"\n"
        );
        write("job", &script);
        std::fs::set_permissions(&job, std::fs::Permissions::from_mode(0o755)).unwrap();

        let instances = vec![
            instance("my-secrets", &world.instance_crn),
            instance("cert-events", &world.event_notifications_instance_crn),
            instance(&world.project_name, &world.project_crn),
            instance("cert-sync", &cloud.project_crn(&job_project)),
        ];
        let account = Account::new((*cloud).clone(), home.path().to_owned(), instances);
        let account = Arc::new(Mutex::new(account));
        let address = serve(account.clone());
        Self { cloud, world, secret, job_project, home, account, address }
    }

    /// What there is, and what commands have done.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program with the environment of this site.
    pub fn command(&self, program: &str) -> Command {
        let home = self.home.path();
        let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", home.display());
        let mut command = Command::new(program);
        command.env_clear().envs([("PATH", &*path), ("SETUP_PAUSE", "0")]);
        command.env("HOME", home).env("TMPDIR", home);
        command.env("IBMCLOUD_STAND_IN", &self.address);
        command
    }

    /// The inputs of a usual installation.
    pub fn inputs(&self) -> Vec<&str> {
        let inputs = "--region eu-de --secrets-manager my-secrets --certificate shop-example-com \
                      --event-notifications cert-events --job-project cert-sync --tls-secret shop-tls \
                      --image icr.io/tools/sm-tls-sync:1.0.0 --project";
        let inputs = inputs.split_whitespace();
        inputs.chain([&*self.world.project_name]).collect()
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
            let (words, variables): (Vec<String>, Value) = serde_json::from_str(&line).unwrap();
            let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = account.answer(&words, &variables);
            // a caller that was killed reads nothing
            let _ = writeln!(stream, "{}", json!(answer));
        }
    });
    address
}
