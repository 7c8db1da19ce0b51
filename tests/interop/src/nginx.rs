//! nginx: as the server of the TLS secret, and as a TLS terminator in front of the cloud.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::{bounded, free_port, succeed, write};

/// Stops when dropped.
pub(crate) struct Nginx {
    folder: PathBuf,
    pub(crate) ports: Vec<u16>,
}

impl Nginx {
    /// Serves one page under this certificate and key.
    pub(crate) fn serving(folder: &Path, files: &[PathBuf; 2]) -> anyhow::Result<Self> {
        let page = "location / { return 200 'served'; }";
        Self::start(folder, files, &[page.to_owned()])
    }

    /// One server per backend, in their order.
    pub(crate) fn in_front_of(
        folder: &Path,
        backends: &[String],
        protocol: &str,
        files: &[PathBuf; 2],
    ) -> anyhow::Result<Self> {
        let server = |backend: &String| {
            let location = format!("{{ proxy_pass {backend}; proxy_http_version 1.1; }}");
            format!("ssl_protocols {protocol};\nlocation / {location}")
        };
        let servers: Vec<_> = backends.iter().map(server).collect();
        Self::start(folder, files, &servers)
    }

    /// nginx's first process ends when its sockets listen and the rest runs in the background.
    fn start(folder: &Path, files: &[PathBuf; 2], servers: &[String]) -> anyhow::Result<Self> {
        let [certificate, key] = files.each_ref().map(|file| file.display());
        let place = folder.display();
        let mut http = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            http += &format!("{kind}_temp_path {place}/{kind};\n");
        }
        let mut ports = Vec::new();
        for server in servers {
            let port = free_port()?;
            http += &format!(
                "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate};\n\
                 ssl_certificate_key {key}; {server} }}\n"
            );
            ports.push(port);
        }
        let configuration = format!(
            "worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;\n\
             events {{ }}\n\
             http {{\nlog_format spoken '$ssl_protocol $request';\n\
             access_log {place}/access.log spoken;\n{http}}}\n"
        );
        write(folder, "nginx.conf", &configuration)?;
        let folder = folder.to_owned();
        let nginx = Self { folder, ports };
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

    /// Reads the certificate again; returns when no worker with the old one is left.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let old = self.workers()?;
        succeed(self.command().args(["-s", "reload"]))?;
        // the signal has no answer, and old workers accept until the new ones stand
        let end = Instant::now() + Duration::from_secs(10);
        while self.workers()?.iter().any(|worker| old.contains(worker)) {
            ensure!(Instant::now() < end, "old workers run after 10 s");
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
