//! Envoy as a judge: does it load a certificate and its key?
//!
//! Uses nothing else of this package, so that the job's tests can include this file, too.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// Type of the TLS settings of a listener.
pub(crate) const TLS_CONTEXT: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";

/// An installed Envoy.
pub(crate) struct Envoy {
    pub(crate) binary: PathBuf,
    pub(crate) version: String,
}

impl Envoy {
    /// What `tests/interop/envoy` installed, oldest first. Empty where it could not.
    pub(crate) fn installed() -> anyhow::Result<Vec<Self>> {
        #[expect(clippy::disallowed_methods, reason = "a setting of the tests")]
        let given = std::env::var_os("SM_TLS_SYNC_ENVOY").filter(|list| !list.is_empty());
        let binaries = match given {
            Some(list) => std::env::split_paths(&list).collect(),
            None => below_target(),
        };
        let installed = binaries.into_iter().map(Self::at);
        let mut installed: Vec<_> = installed.collect::<Result<_, _>>()?;
        installed.sort_by_key(|envoy| numbers(&envoy.version));
        Ok(installed)
    }

    fn at(binary: PathBuf) -> anyhow::Result<Self> {
        let output = bounded(&binary).arg("--version").output()?;
        // "PATH  version: COMMIT/1.36.2/Clean/RELEASE/BoringSSL"
        let text = String::from_utf8_lossy(&output.stdout);
        let build = text.split_once("version: ");
        let version = build.and_then(|(_, build)| build.split('/').nth(1));
        let version = version.with_context(|| format!("{} is not Envoy", binary.display()))?;
        let version = version.to_owned();
        Ok(Self { binary, version })
    }

    /// Whether Envoy loads each pair of certificate chain and key, as PEM; if not, Envoy's words.
    ///
    /// One start of Envoy checks hundreds of pairs, but it ends at the first that does not load:
    /// then each half is checked on its own.
    pub(crate) fn loads(&self, pairs: &[(&str, &str)]) -> anyhow::Result<Vec<Result<(), String>>> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        Ok(match (self.validate(pairs)?, pairs) {
            (Ok(()), _) => vec![Ok(()); pairs.len()],
            (Err(words), [_]) => vec![Err(words)],
            _ => {
                let (left, right) = pairs.split_at(pairs.len() / 2);
                [self.loads(left)?, self.loads(right)?].concat()
            }
        })
    }

    /// One run of Envoy over a listener that has all these pairs.
    fn validate(&self, pairs: &[(&str, &str)]) -> anyhow::Result<Result<(), String>> {
        let chain = |(number, (certificate, key)): (usize, &(&str, &str))| {
            let name = format!("{number}.example.com");
            json!({
                "filter_chain_match": { "server_names": [name] },
                "transport_socket": { "name": "tls", "typed_config": {
                    "@type": TLS_CONTEXT,
                    "common_tls_context": { "tls_certificates": [{
                        "certificate_chain": { "inline_string": certificate },
                        "private_key": { "inline_string": key },
                    }] },
                } },
            })
        };
        let chains: Vec<Value> = pairs.iter().enumerate().map(chain).collect();
        let configuration = json!({ "static_resources": { "listeners": [{
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
            "filter_chains": chains,
        }] } });
        let mut file = tempfile::Builder::new().suffix(".json").tempfile()?;
        file.write_all(configuration.to_string().as_bytes())?;
        let arguments = "--mode validate --log-level critical --config-path";
        let mut command = bounded(&self.binary);
        command.args(arguments.split(' ')).arg(file.path());
        let output = command.output()?;
        if output.status.success() {
            return Ok(Ok(()));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let Some((_, refusal)) = text.split_once("error initializing configuration") else {
            bail!("Envoy {}, {}: {text}", self.version, output.status);
        };
        let refusal = refusal.split_once("': ").map_or(refusal, |(_, why)| why);
        Ok(Err(refusal.trim().to_owned()))
    }
}

/// `target/envoy/VERSION/envoy`; a test runs from somewhere below target.
fn below_target() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let mut folders = program.ancestors().skip(1).take(4);
    folders
        .find_map(|folder| std::fs::read_dir(folder.join("envoy")).ok())
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("envoy")))
        .filter(|binary| binary.is_file())
        .collect()
}

/// A program that is ended after a minute.
fn bounded(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60"]).arg(program);
    command
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').filter_map(|n| n.parse().ok()).collect()
}
