//! Foreign judges for what the catalogue says is served: OpenSSL verifies it as a client does, and trusts
//! only whoever signed the top of the chain; OpenSSL, nginx and Envoy load it as servers do. (The TLS
//! library's client is asked by the rehearsal, so by each case.)

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::envoy::Envoy;
use super::orders::served;
use super::{CASES, Text, Verdict, none};

/// What these cases begin with: not every server and client knows it, and a finding says so.
const UNKNOWN: &str = "ML-DSA ";

/// What is written in a case. What is not served at all fails in `orders`.
struct Written {
    name: &'static str,
    chain: &'static [Text],
    findings: &'static [String],
    certificate: String,
    key: String,
}

fn written() -> impl Iterator<Item = Written> {
    CASES.iter().filter_map(|case| {
        let (Verdict::Serves(chain, findings), Ok(bundle)) = (&case.verdict, served(case)) else {
            return None;
        };
        Some(Written {
            name: &case.name,
            chain,
            findings,
            certificate: bundle.certificate_pem(),
            key: bundle.key_pem.expose().to_owned(),
        })
    })
}

/// A difference that is gone fails, too. Whoever does not know the issuer cannot trust the server.
#[test]
fn openssl_validates_the_path() {
    let folder = Folder::new();
    let known = written().filter(|one| !one.findings.iter().any(|code| code == "chain-gap"));
    let wrong = known.filter_map(|one| {
        let (leaf, above) = one.certificate.split_at(one.chain[0].pem.len());
        let result = folder.verify(leaf, above, &one.chain.last().unwrap().anchors);
        let as_expected = result.is_err() == one.name.starts_with(UNKNOWN);
        (!as_expected).then(|| format!("- {}: {result:?}", one.name))
    });
    none(&wrong.collect::<Vec<_>>());
}

/// The job writes keys as OpenSSL itself would write them, and each server loads what it writes.
#[test]
fn servers_load_what_is_written() {
    let known = written().filter(|one| !one.name.starts_with(UNKNOWN));
    let written: Vec<Written> = known.collect();
    let folder = Folder::new();
    let mut wrong: Vec<String> = Vec::new();
    for Written { name, key, .. } in &written {
        let found = folder.openssl_writes(key);
        if found.as_ref() != Ok(key) {
            wrong.push(format!("- {name}: OpenSSL writes the key differently: {found:?}"));
        }
    }
    // Debian puts it where only an administrator's PATH looks
    let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    match places.map(Path::new).into_iter().find(|path| path.is_file()) {
        Some(nginx) => wrong.extend(folder.nginx_refuses(nginx, &written)),
        None => println!("skipped: nginx is not installed"),
    }
    let envoys = Envoy::installed().unwrap();
    if envoys.is_empty() {
        println!("skipped: Envoy is not installed (tests/interop/envoy does that)");
    }
    let pairs: Vec<(&str, &str)> =
        written.iter().map(|one| (one.certificate.as_str(), one.key.as_str())).collect();
    for envoy in envoys {
        for (one, result) in written.iter().zip(envoy.loads(&pairs).unwrap()) {
            if let Err(why) = result {
                wrong.push(format!("- {}: Envoy {}: {why}", one.name, envoy.version));
            }
        }
    }
    none(&wrong);
}

/// A folder for the judges' files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The key as OpenSSL writes it.
    fn openssl_writes(&self, key: &str) -> Result<String, String> {
        let mut command = openssl("pkey");
        said(command.arg("-in").arg(self.file("key.pem", key)))
    }

    /// One server for each case, in one configuration: nginx names the first file that it refuses.
    fn nginx_refuses(&self, nginx: &Path, written: &[Written]) -> Option<String> {
        let mut servers = String::new();
        for (number, one) in written.iter().enumerate() {
            self.file(&format!("{number}.crt"), &one.certificate);
            self.file(&format!("{number}.key"), &one.key);
            servers += &format!(
                "server {{ listen unix:tls ssl; server_name {number}.example.com; ssl_certificate {number}.crt; ssl_certificate_key {number}.key; }}\n"
            );
        }
        let configuration = self.file("nginx.conf", &format!(
            "pid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off; server_names_hash_max_size 4096;\n{servers}}}\n"
        ));
        let mut command = Command::new(nginx);
        command.env("OPENSSL_CONF", "/dev/null").args(["-t", "-p"]);
        command.arg(self.0.path()).arg("-c").arg(configuration);
        let names: Vec<_> = written.iter().map(|one| one.name).enumerate().collect();
        let refusal = said(&mut command).err()?;
        Some(format!("- nginx: {refusal}; the cases: {names:?}"))
    }

    fn verify(&self, leaf: &str, above: &str, anchors: &str) -> Result<String, String> {
        let mut command = openssl("verify");
        command.args(["-purpose", "sslserver", "-auth_level", "1", "-no-CApath"]);
        command.arg("-CAfile").arg(self.file("anchors.pem", anchors));
        if !above.is_empty() {
            command.arg("-untrusted").arg(self.file("above.pem", above));
        }
        said(command.arg(self.file("leaf.pem", leaf)))
    }
}

fn openssl(task: &str) -> Command {
    let mut command = Command::new("openssl");
    // neither the language nor the distribution's policy of the day
    command.env("LC_ALL", "C").env("OPENSSL_CONF", "/dev/null");
    command.arg(task);
    command
}

/// What the command prints, or its error.
fn said(command: &mut Command) -> Result<String, String> {
    let output: Output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = |bytes| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(said(output.stdout)),
        false => Err(said(output.stderr).replace('\n', " ")),
    }
}
