//! nginx: as the server of the TLS secret, and as a TLS terminator in front of the cloud.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::{bounded, free_port, succeed, write};

/// Stops when dropped.
pub(crate) struct Nginx {
    folder: PathBuf,
    ports: Vec<u16>,
}

impl Nginx {
    /// Serves one page under this certificate.
    pub(crate) fn serving(folder: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let server = format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {}; \
             location / {{ return 200 'served'; }} }}",
            certificate.display(),
            key.display()
        );
        Self::start(folder, &server, vec![port])
    }

    /// One server per backend, in their order.
    pub(crate) fn in_front_of(
        folder: &Path,
        backends: &[String],
        protocol: &str,
        certificate: &Path,
        key: &Path,
    ) -> anyhow::Result<Self> {
        let mut servers = String::new();
        let mut ports = Vec::new();
        for backend in backends {
            let port = free_port()?;
            writeln!(
                servers,
                "server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {protocol}; \
                 ssl_certificate {}; ssl_certificate_key {}; \
                 location / {{ proxy_pass {backend}; proxy_http_version 1.1; }} }}",
                certificate.display(),
                key.display()
            )?;
            ports.push(port);
        }
        Self::start(folder, &servers, ports)
    }

    /// nginx's first process ends when its sockets listen and the rest runs in the background.
    fn start(folder: &Path, servers: &str, ports: Vec<u16>) -> anyhow::Result<Self> {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .collect();
        let configuration = format!(
            "worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;\n\
             events {{ }}\n\
             http {{\n{temporary}log_format spoken '$ssl_protocol $request';\n\
             access_log {folder}/access.log spoken;\n{servers}\n}}\n",
            folder = folder.display(),
        );
        write(folder, "nginx.conf", &configuration)?;
        let nginx = Self {
            folder: folder.to_owned(),
            ports,
        };
        succeed(&mut nginx.command())?;
        Ok(nginx)
    }

    fn command(&self) -> Command {
        let mut command = bounded("nginx");
        command.args(["-e", "stderr", "-p"]).arg(&self.folder);
        command.arg("-c").arg(self.folder.join("nginx.conf"));
        command
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or_default()
    }

    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Reads the certificate again; returns when no worker with the old one is left.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let old = self.workers()?;
        succeed(self.command().args(["-s", "reload"]))?;
        // the signal has no answer, and old workers accept until the new ones stand
        let end = Instant::now() + Duration::from_secs(10);
        while self.workers()?.iter().any(|worker| old.contains(worker)) {
            ensure!(
                Instant::now() < end,
                "nginx still runs its old workers after 10 s"
            );
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Process ids.
    fn workers(&self) -> anyhow::Result<Vec<String>> {
        let main = fs::read_to_string(self.folder.join("nginx.pid"))?;
        let main = main.trim();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children"))?;
        Ok(children.split_whitespace().map(str::to_owned).collect())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = succeed(self.command().args(["-s", "quit"]));
        // it removes the file as its last act
        let end = Instant::now() + Duration::from_secs(10);
        while self.folder.join("nginx.pid").exists() && Instant::now() < end {
            std::thread::yield_now();
        }
    }
}
