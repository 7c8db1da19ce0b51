//! Envoy as the ingress: it serves a TLS secret that Kubernetes would mount, and takes another one
//! without a restart.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use local_cloud::TlsSecret;
use serde_json::{Value, json};

use crate::clients::words;
use crate::envoy::{Envoy, TLS_CONTEXT};
use crate::{Process, await_line, bounded, succeed, write};

/// Ends when dropped.
pub(crate) struct Ingress {
    volume: PathBuf,
    pub(crate) port: u16,
    _process: Process,
}

impl Ingress {
    /// Serves one page under this TLS secret, over one version of TLS: `TLSv1.2` or `TLSv1.3`.
    pub(crate) fn start(
        envoy: &Envoy,
        folder: &Path,
        secret: &TlsSecret,
        protocol: &str,
    ) -> anyhow::Result<Self> {
        let volume = folder.join("tls");
        fs::create_dir(&volume)?;
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), volume.join(name))?;
        }
        mount(&volume, secret)?;
        let secrets = json!({ "resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": "tls-secret",
            "tls_certificate": {
                "certificate_chain": { "filename": volume.join("tls.crt") },
                "private_key": { "filename": volume.join("tls.key") },
                "watched_directory": { "path": volume },
            },
        }] });
        let secrets = write(folder, "secrets.json", &secrets.to_string())?;
        let configuration = bootstrap(&secrets, protocol).to_string();
        let configuration = write(folder, "envoy.json", &configuration)?;

        let mut command = Command::new(&envoy.binary);
        // hot restarts share memory, also between Envoys that do not belong together
        let arguments = "--disable-hot-restart --concurrency 1 --log-level warning \
                         --component-log-level config:info --log-format %v --config-path";
        command.args(words(arguments)).arg(configuration);
        command.arg("--admin-address-path").arg(folder.join("admin"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().context("start Envoy")?);
        let log = process.0.stderr.take().context("Envoy's log")?;
        await_line(log, "starting workers").context("Envoy does not start")?;

        let admin = fs::read_to_string(folder.join("admin"))?;
        let mut curl = bounded("curl");
        curl.args(words("--silent --show-error --fail"))
            .arg(format!("http://{}/listeners?format=json", admin.trim()));
        let listeners: Value = serde_json::from_str(&succeed(&mut curl)?)?;
        let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        let port = address["port_value"].as_u64().context("Envoy's port")?;
        let port = port.try_into()?;
        Ok(Self { volume, port, _process: process })
    }

    /// Replaces the files that Envoy watches; it takes them a moment later.
    pub(crate) fn mount(&self, secret: &TlsSecret) -> anyhow::Result<()> {
        mount(&self.volume, secret)
    }
}

/// Replaces `tls.crt` and `tls.key` of a folder together, as Kubernetes does it: both point into `..data`,
/// a link that is renamed over the earlier one.
fn mount(volume: &Path, secret: &TlsSecret) -> anyhow::Result<()> {
    let data = tempfile::Builder::new().prefix("..").tempdir_in(volume)?.keep();
    write(&data, "tls.crt", &secret.tls_cert)?;
    write(&data, "tls.key", &secret.tls_key)?;
    let link = volume.join("..data_tmp");
    symlink(&data, &link)?;
    fs::rename(&link, volume.join("..data"))?;
    Ok(())
}

fn bootstrap(secrets: &Path, protocol: &str) -> Value {
    let any_port = json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } });
    let page = json!({ "name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": { "virtual_hosts": [{ "name": "any", "domains": ["*"], "routes": [{
            "match": { "prefix": "/" },
            "direct_response": { "status": 200, "body": { "inline_string": "served" } },
        }] }] },
        "http_filters": [{ "name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        } }],
    } });
    let tls = json!({ "name": "tls", "typed_config": {
        "@type": TLS_CONTEXT,
        "common_tls_context": {
            "tls_params": {
                "tls_minimum_protocol_version": protocol.replace('.', "_"),
                "tls_maximum_protocol_version": protocol.replace('.', "_"),
            },
            "tls_certificate_sds_secret_configs": [{
                "name": "tls-secret",
                "sds_config": { "path_config_source": { "path": secrets } },
            }],
        },
    } });
    json!({
        "node": { "id": "ingress", "cluster": "ingress" },
        "admin": { "address": any_port },
        "static_resources": { "listeners": [{
            "name": "https",
            "address": any_port,
            "filter_chains": [{ "filters": [page], "transport_socket": tls }],
        }] },
    })
}
