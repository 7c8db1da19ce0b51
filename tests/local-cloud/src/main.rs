//! The local cloud as a program: `serve` until a signal, `demo` shows one rotation.
//!
//! Standard output: the variables, or the steps of the demo. Standard error: what went wrong.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]
#![allow(clippy::indexing_slicing, reason = "an absent field of a JSON value is null, no panic")]

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use local_cloud::{CertificateSpec, Environment, JobSettings, LocalCloud, Options};

mod demo;

const HELP: &str = "\
A small IBM Cloud on 127.0.0.1 for tests and demonstrations.

  local-cloud serve [--job PATH] [--hostile SEED]
                               print the variables to export, then run until a signal
  local-cloud demo --job PATH [--hostile SEED]
                               rotate a certificate and watch the job deploy it

  --job PATH       the program that job runs execute
  --hostile SEED   unusual behaviour that IBM's documents allow, chosen by this number";

/// Names in the seeded world.
const DOMAIN: &str = "shop.example.com";
const JOB: &str = "sm-tls-sync";
const TLS_SECRET: &str = "shop-tls";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local-cloud: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let mut words = arguments.into_iter();
    let mode = words.next().unwrap_or_default();
    let mut options = Options::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--hostile" => {
                let seed = words.next().context("--hostile needs a number")?;
                let seed = seed.parse().with_context(|| format!("--hostile {seed}"))?;
                options = Options {
                    https: options.https,
                    job_program: options.job_program,
                    ..Options::hostile(seed)
                };
            }
            "--job" => {
                let path = PathBuf::from(words.next().context("--job needs a path")?);
                let absolute = path.canonicalize();
                let absolute = absolute.with_context(|| format!("job {}", path.display()))?;
                options.job_program = Some(absolute);
            }
            other => bail!("unknown argument {other:?}\n\n{HELP}"),
        }
    }
    match mode.as_str() {
        "serve" => serve(options),
        "demo" => demo::run(options),
        "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => bail!("unknown command {other:?}\n\n{HELP}"),
    }
}

fn serve(options: Options) -> anyhow::Result<()> {
    let cloud = LocalCloud::start(options)?;
    let variables = seed(&cloud);
    for (name, value) in &variables {
        println!("export {name}='{value}'");
    }
    println!("export LOCAL_CLOUD_CONTROL_URL='{}'", cloud.control_url());
    if std::io::stdout().is_terminal() {
        eprintln!("# The cloud runs until Ctrl-C. Paste these lines into another shell.");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

/// One certificate, deployed, mapped, with a job that waits for its rotation; returns the
/// variables of a run from outside.
fn seed(cloud: &LocalCloud) -> Environment {
    let project = cloud.world().project_id;
    let secret = cloud.issue(CertificateSpec::default());
    cloud.deploy(&secret, &project, TLS_SECRET);
    cloud.map_domain(&project, DOMAIN, TLS_SECRET);
    let with_target = |mut variables: Environment| {
        variables.insert("SECRET_ID".into(), secret.clone());
        variables.insert("TLS_SECRET_NAME".into(), TLS_SECRET.into());
        variables
    };
    let inside = with_target(cloud.job_environment());
    cloud.create_job(&project, JOB, &inside, &JobSettings::default());
    cloud.subscribe_job(&project, JOB);
    with_target(cloud.environment())
}
