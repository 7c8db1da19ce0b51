//! The `ibmcloud` of a site: it hands its arguments to the site and shows the answer. Started without a site,
//! it opens one to try scripts/setup.sh by hand.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a command-line program with an environment"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;

use ibmcloud_stand_in::{Site, root};
use serde_json::json;

fn main() -> ExitCode {
    let Ok(address) = std::env::var("IBMCLOUD_STAND_IN") else {
        return by_hand();
    };
    let variable = |name| std::env::var(name).ok();
    let environment = json!({
        "IBMCLOUD_EN_ENDPOINT": variable("IBMCLOUD_EN_ENDPOINT"),
        "SECRETS_MANAGER_URL": variable("SECRETS_MANAGER_URL"),
    });
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut stream = TcpStream::connect(address).unwrap();
    writeln!(stream, "{}", json!([arguments, environment])).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    let (stdout, stderr, status): (String, String, u8) = serde_json::from_str(&answer).unwrap();
    print!("{stdout}");
    eprint!("{stderr}");
    ExitCode::from(status)
}

/// A shell in which `ibmcloud` is the stand-in, on a small account.
fn by_hand() -> ExitCode {
    let site = Site::new(&std::env::current_exe().unwrap());
    println!(
        "A shell with an account of its own; it ends with the shell. Try:\n\n  scripts/setup.sh --plan {}\n\n\
         and then without --plan; scripts/teardown.sh --help; ibmcloud ce project select --name cert-sync",
        site.inputs().join(" ")
    );
    let status = site.command("bash").arg("-i").current_dir(root()).status();
    ExitCode::from(u8::from(!status.is_ok_and(|status| status.success())))
}
