//! From the text of one value to what it means. These parsers do not name the variable: their caller
//! does.

use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use log::LevelFilter;
use rustls_pki_types::CertificateDer;
use ureq::http::Uri;
use ureq::http::uri::Authority;
use ureq::{Proxy, ProxyProtocol};
use zeroize::Zeroizing;

use crate::config::{Format, HTTPS, Probe, RestartApps};
use crate::error::Reason;
use crate::ibm::client::read_roots;
use crate::ibm::ids::{AppName, Crn, SecretId, Uuid};
use crate::ibm::secrets_manager::Version;
use crate::secret::{Secret, read_file};
use crate::text::sanitized;

/// The largest file of roots: the usual bundle of all public roots has 220 KB.
const LARGEST_ROOTS: usize = 2 * 1024 * 1024;
/// Code Engine's longest run (Code Engine limits).
const LONGEST_DEADLINE: u64 = 86_400;

/// An absolute URL without query, fragment, user and closing slash. Plain HTTP is for loopback only.
pub(super) fn base_url(text: &str) -> anyhow::Result<String> {
    let text = text.trim_end_matches('/');
    // `{region}` is no part of a URL until it is replaced
    let uri: Uri = text.replace("{region}", "region").parse().map_err(|_| {
        anyhow!(
            "expected a URL such as https://host, found {}",
            sanitized(text)
        )
    })?;
    let host = uri.host().unwrap_or_default();
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if loopback => {}
        Some("http") => bail!("http:// is refused except to loopback: use https://"),
        _ => bail!(
            "expected a URL that begins with https://, found {}",
            sanitized(text)
        ),
    }
    ensure!(
        uri.query().is_none()
            && !text.contains(['#', '?'])
            && !uri.authority().is_some_and(|a| a.as_str().contains('@')),
        "expected a URL without user, query and fragment"
    );
    Ok(text.to_owned())
}

/// The base URL of an instance; the documented path may follow.
pub(super) fn secrets_manager_url(text: &str) -> anyhow::Result<String> {
    let base = base_url(text)?;
    let base = base.strip_suffix("/v2").unwrap_or(&base);
    without_path(base.strip_suffix("/api").unwrap_or(base))
}

/// The base URL of IAM; the documented path may follow.
pub(super) fn iam_url(text: &str) -> anyhow::Result<String> {
    let base = base_url(text)?;
    without_path(base.strip_suffix("/identity/token").unwrap_or(&base))
}

fn without_path(base: &str) -> anyhow::Result<String> {
    let base = base.trim_end_matches('/');
    let path = base
        .split_once("://")
        .is_none_or(|(_, rest)| rest.contains('/'));
    ensure!(
        !path,
        "expected no path beyond the documented one, found {}",
        sanitized(base)
    );
    Ok(base.to_owned())
}

/// The ID of an instance, or its CRN.
pub(super) fn instance(text: &str) -> anyhow::Result<Uuid> {
    if text.starts_with("crn:") {
        return Uuid::parse(&Crn::parse(text)?.instance);
    }
    Uuid::parse(text)
}

/// The ID alone; a CRN must be of our instance.
pub(super) fn secret_id(secret: SecretId, instance: Option<&Uuid>) -> anyhow::Result<Uuid> {
    if let (Some(crn), Some(instance)) = (&secret.crn, instance) {
        ensure!(
            crn.instance == instance.to_string(),
            "the secret belongs to {crn}, not to instance {instance}"
        );
    }
    Ok(secret.id)
}

pub(super) fn one_line(text: &str) -> anyhow::Result<String> {
    ensure!(
        !text.chars().any(char::is_control),
        "expected one line without control characters"
    );
    Ok(text.to_owned())
}

/// Its text is never shown.
pub(super) fn api_key(text: &str) -> anyhow::Result<Secret> {
    ensure!(
        text.bytes().all(|b| b.is_ascii_graphic()),
        "expected printable characters without spaces"
    );
    Ok(Secret::from(text.to_owned()))
}

/// Its text can hold a password: never shown.
pub(super) fn proxy(text: &str) -> anyhow::Result<Proxy> {
    Proxy::new(text)
        .ok()
        .filter(|proxy| matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https))
        .ok_or_else(|| anyhow!("expected an HTTP proxy, http://host:port"))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// Additional roots, PEM.
pub(super) fn roots(path: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    read_roots(&read_text(Path::new(path), LARGEST_ROOTS)?)
}

/// The text of a regular file of bounded size.
pub(super) fn read_text(path: &Path, largest: usize) -> anyhow::Result<Zeroizing<String>> {
    let text = read_file(path, largest);
    text.with_context(|| format!("cannot read {}", sanitized(&path.display().to_string())))
}

/// Set to anything.
pub(super) fn flag(_text: &str) -> anyhow::Result<bool> {
    Ok(true)
}

pub(super) fn boolean(text: &str) -> anyhow::Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => bail!("expected true or false, found {}", sanitized(text)),
    }
}

pub(super) fn version(text: &str) -> anyhow::Result<Version> {
    match text {
        "current" => Ok(Version::Current),
        "previous" => Ok(Version::Previous),
        _ => bail!("expected current or previous, found {}", sanitized(text)),
    }
}

pub(super) fn probe(text: &str) -> anyhow::Result<Probe> {
    match text {
        "warn" => Ok(Probe::Warn),
        "require" => Ok(Probe::Require),
        "off" => Ok(Probe::Off),
        _ => bail!("expected warn, require or off, found {}", sanitized(text)),
    }
}

/// `host[:port]`; an IPv6 address is in brackets.
pub(super) fn probe_address(text: &str) -> anyhow::Result<(String, u16)> {
    let address: Authority = text
        .parse()
        .ok()
        .filter(|address: &Authority| !address.host().is_empty() && !text.contains('@'))
        .ok_or_else(|| anyhow!("expected host or host:port, found {}", sanitized(text)))?;
    let host = address.host().trim_matches(['[', ']']);
    Ok((host.to_owned(), address.port_u16().unwrap_or(HTTPS)))
}

/// App names and `auto`, comma-separated.
pub(super) fn restart_apps(text: &str) -> anyhow::Result<RestartApps> {
    restart_list(words(text))
}

/// App names and `auto`.
pub(super) fn restart_list<'a>(
    words: impl Iterator<Item = &'a str>,
) -> anyhow::Result<RestartApps> {
    let mut apps = RestartApps::default();
    for word in words {
        match word {
            "auto" => apps.auto = true,
            name => {
                let name = AppName::parse(name)?;
                if !apps.names.contains(&name) {
                    apps.names.push(name);
                }
            }
        }
    }
    Ok(apps)
}

/// Only the comparison with the deployed certificate can be overridden, never fitness to serve.
pub(super) fn force(text: &str) -> anyhow::Result<Vec<Reason>> {
    words(text)
        .map(|word| {
            Reason::FORCEABLE
                .into_iter()
                .find(|reason| reason.word() == word)
                .ok_or_else(|| {
                    let known = Reason::FORCEABLE.map(Reason::word).join(", ");
                    anyhow!("expected some of {known}, found {}", sanitized(word))
                })
        })
        .collect()
}

pub(super) fn deadline(text: &str) -> anyhow::Result<u64> {
    text.parse()
        .ok()
        .filter(|seconds| (1..=LONGEST_DEADLINE).contains(seconds))
        .ok_or_else(|| {
            anyhow!(
                "expected seconds from 1 to {LONGEST_DEADLINE}, found {}",
                sanitized(text)
            )
        })
}

pub(super) fn log_level(text: &str) -> anyhow::Result<LevelFilter> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        _ => bail!(
            "expected error, warn, info or debug, found {}",
            sanitized(text)
        ),
    }
}

pub(super) fn format(text: &str) -> anyhow::Result<Format> {
    match text {
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => bail!("expected json or text, found {}", sanitized(text)),
    }
}
