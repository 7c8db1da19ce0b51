//! Foreign judges for what the catalogue says is served: OpenSSL verifies it as a client does, and trusts
//! only whoever signed the top of the chain; OpenSSL, nginx and Envoy load it as servers do. (The TLS
//! library's client is asked by the rehearsal, so by each case.)

use std::path::{Path, PathBuf};
use std::process::Command;

use super::envoy::Envoy;
use super::orders::served;
use super::{CASES, Verdict, none};

/// What these cases begin with: not every server and client knows it, and a finding says so.
const UNKNOWN: &str = "ML-DSA ";

/// A difference that is gone fails, too. Whoever does not know the issuer cannot trust the server.
#[test]
fn openssl_validates_the_path() {
    let folder = Folder::new();
    let mut wrong: Vec<String> = Vec::new();
    for case in CASES.iter() {
        // what is not served at all fails in `orders`
        let (Verdict::Serves(chain, findings), Ok(bundle)) = (&case.verdict, served(case)) else {
            continue;
        };
        if findings.contains(&"chain-gap") {
            continue;
        }
        let text = bundle.certificate_pem();
        let (leaf, above) = text.split_at(chain[0].pem.len());
        let result = folder.verify(leaf, above, &chain.last().unwrap().anchor);
        if result.is_err() != case.name.starts_with(UNKNOWN) {
            wrong.push(format!("- {}: {result:?}", case.name));
        }
    }
    none(&wrong);
}

/// The job writes keys as OpenSSL itself would write them, and each server loads what it writes.
#[test]
fn servers_load_what_is_written() {
    let written: Vec<(&str, String, String)> = CASES
        .iter()
        .filter(|case| matches!(case.verdict, Verdict::Serves(..)))
        .filter(|case| !case.name.starts_with(UNKNOWN))
        .filter_map(|case| {
            let bundle = served(case).ok()?;
            let key = bundle.key_pem.expose().to_owned();
            Some((case.name.as_str(), bundle.certificate_pem(), key))
        })
        .collect();
    let folder = Folder::new();
    let mut wrong: Vec<String> = Vec::new();
    for (name, _, key) in &written {
        let found = folder.openssl_writes(key);
        if found.as_ref() != Ok(key) {
            wrong.push(format!(
                "- {name}: OpenSSL writes the key differently: {found:?}"
            ));
        }
    }
    match nginx() {
        Some(nginx) => wrong.extend(folder.nginx_refuses(&nginx, &written)),
        None => println!("skipped: nginx is not installed"),
    }
    let envoys = Envoy::installed().unwrap();
    if envoys.is_empty() {
        println!("skipped: Envoy is not installed (tests/interop/envoy does that)");
    }
    let pairs: Vec<(&str, &str)> = written
        .iter()
        .map(|(_, certificate, key)| (certificate.as_str(), key.as_str()))
        .collect();
    for envoy in envoys {
        for ((name, ..), result) in written.iter().zip(envoy.loads(&pairs).unwrap()) {
            if let Err(why) = result {
                wrong.push(format!("- {name}: Envoy {}: {why}", envoy.version));
            }
        }
    }
    none(&wrong);
}

/// Debian puts it where only an administrator's PATH looks.
fn nginx() -> Option<PathBuf> {
    let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    places
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
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

    fn openssl() -> Command {
        let mut command = Command::new("openssl");
        command
            // neither the language nor the distribution's policy of the day
            .env("LC_ALL", "C")
            .env("OPENSSL_CONF", "/dev/null");
        command
    }

    /// The key as OpenSSL writes it.
    fn openssl_writes(&self, key: &str) -> Result<String, String> {
        let output = Self::openssl()
            .args(["pkey", "-in"])
            .arg(self.file("key.pem", key))
            .output()
            .expect("openssl is installed");
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One server for each case, in one configuration: nginx names the first file that it refuses.
    fn nginx_refuses(&self, nginx: &Path, written: &[(&str, String, String)]) -> Option<String> {
        let mut servers = String::new();
        for (number, (_, certificate, key)) in written.iter().enumerate() {
            self.file(&format!("{number}.crt"), certificate);
            self.file(&format!("{number}.key"), key);
            servers += &format!(
                "server {{ listen unix:tls ssl; server_name {number}.example.com; ssl_certificate {number}.crt; ssl_certificate_key {number}.key; }}\n"
            );
        }
        let configuration = self.file("nginx.conf", &format!(
            "pid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off; server_names_hash_max_size 4096;\n{servers}}}\n"
        ));
        let output = Command::new(nginx)
            .env("OPENSSL_CONF", "/dev/null")
            .arg("-t")
            .arg("-p")
            .arg(self.0.path())
            .arg("-c")
            .arg(configuration)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let cases: Vec<_> = written
            .iter()
            .enumerate()
            .map(|(n, (name, ..))| (n, *name))
            .collect();
        (!output.status.success()).then(|| format!("- nginx: {said}; the cases: {cases:?}"))
    }

    fn verify(&self, leaf: &str, above: &str, anchor: &str) -> Result<(), String> {
        let mut command = Self::openssl();
        let options = "verify -purpose sslserver -auth_level 1 -no-CApath";
        command
            .args(options.split(' '))
            .arg("-CAfile")
            .arg(self.file("anchor.pem", anchor));
        if !above.is_empty() {
            command.arg("-untrusted").arg(self.file("above.pem", above));
        }
        let output = command
            .arg(self.file("leaf.pem", leaf))
            .output()
            .expect("openssl is installed");
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).replace('\n', " "))
    }
}
