//! The command. See the library.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a command-line program with an environment"
)]

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(home) = std::env::var_os("IBMCLOUD_HOME") else {
        eprintln!("FAILED\nthe stand-in needs IBMCLOUD_HOME");
        return ExitCode::from(70);
    };
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let answer = ibmcloud_stand_in::run(&PathBuf::from(home), &variables, &arguments);
    print!("{}", answer.stdout);
    eprint!("{}", answer.stderr);
    ExitCode::from(answer.status)
}
