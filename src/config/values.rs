//! From the text of one value to what it means. These parsers do not name the variable: their caller
//! does.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, ensure};
use log::LevelFilter;
use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::config::{HTTPS, Probe, RestartApps};
use crate::error::Reason;
use crate::ibm::ids::{AppName, SecretId, Uuid};
use crate::ibm::secrets_manager::Version;
use crate::text::sanitized;

/// The reasons that `FORCE` overrules.
const OVERRULABLE: [Reason; 4] = [
    Reason::NamesLost,
    Reason::LessTrusted,
    Reason::ChainShorter,
    Reason::Older,
];
/// Code Engine's longest run (Code Engine limits).
const LONGEST_DEADLINE: u64 = 86_400;

/// A variable that Code Engine sets; we do not judge it, but do without where it makes no sense.
pub(super) fn injected<'a>(
    environment: &'a BTreeMap<String, String>,
    name: &str,
) -> Option<&'a str> {
    environment.get(name).map(String::as_str)
}

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
        Some("http") => bail!("http:// is refused except to loopback: give https://"),
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

pub(super) fn without_path(base: &str) -> anyhow::Result<String> {
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

pub(super) fn secret_id(text: &str, instance: Option<&Uuid>) -> anyhow::Result<Uuid> {
    let secret = SecretId::parse(text)?;
    if let (Some(crn), Some(instance)) = (&secret.crn, instance) {
        ensure!(
            crn.instance == instance.to_string(),
            "the secret belongs to {crn}, not to instance {instance}"
        );
    }
    Ok(secret.id)
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

/// `host[:port]`; an IPv6 address stands in brackets.
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
    restart_list(
        text.split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty()),
    )
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

/// Only what compares with the deployed certificate can be overruled, never what is unfit.
pub(super) fn force(text: &str) -> anyhow::Result<Vec<Reason>> {
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words
        .map(|word| {
            OVERRULABLE
                .into_iter()
                .find(|reason| reason.word() == word)
                .ok_or_else(|| {
                    let known = OVERRULABLE.map(Reason::word).join(", ");
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

pub(super) fn log_format(text: &str) -> anyhow::Result<bool> {
    match text {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => bail!("expected json or text, found {}", sanitized(text)),
    }
}
