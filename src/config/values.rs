//! From the text of one setting to its value. An error says which form was expected and how long the
//! text is, never the text: it could be a secret in the wrong place.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use rustls_pki_types::CertificateDer;
use ureq::http::Uri;
use ureq::http::uri::Authority;
use ureq::{Proxy, ProxyProtocol};
use zeroize::Zeroizing;

use crate::config::{HTTPS, RestartApps};
use crate::ibm::client::read_roots;
use crate::ibm::ids::{AppName, Crn, Uuid};
use crate::secret::{Secret, read_file};

/// The largest file of roots: the usual bundle of all public roots has 220 KB.
const LARGEST_ROOTS: usize = 2 * 1024 * 1024;
/// Code Engine's longest run (Code Engine limits).
const LONGEST_DEADLINE: u64 = 86_400;

fn expected(form: &str, text: &str) -> anyhow::Error {
    anyhow!("expected {form}, found {} characters", text.chars().count())
}

/// The value of one of these words.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> anyhow::Result<T> {
    let known = words.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        expected(&format!("one of {}", words.join(", ")), text)
    })
}

pub(super) fn boolean(text: &str) -> anyhow::Result<bool> {
    let words = [("true", true), ("false", false), ("1", true), ("0", false)];
    choice(text, &words)
}

/// The words of a list with commas.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(',').map(str::trim);
    words.filter(|word| !word.is_empty())
}

/// A base URL without slash at the end.
pub(super) fn base_url(text: &str) -> anyhow::Result<String> {
    let base = text.trim_end_matches('/');
    // `{region}` is no part of a URL until it is replaced
    let uri = base.replace("{region}", "region").parse::<Uri>();
    let fits = uri.is_ok_and(|uri| {
        let host = uri.host().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        let scheme = uri.scheme_str().unwrap_or_default();
        !host.is_empty() && (scheme == "https" || scheme == "http" && loopback)
    });
    let form = "https://HOST without user, query and fragment (http:// only to loopback)";
    ensure!(
        fits && !base.contains(['@', '?', '#']),
        expected(form, text)
    );
    Ok(base.to_owned())
}

/// The base URL of a service; one of these paths may follow, as its documents show it.
pub(super) fn service_url(text: &str, documented: &[&str]) -> anyhow::Result<String> {
    let url = base_url(text)?;
    let mut bases = documented.iter().filter_map(|path| url.strip_suffix(path));
    let base = bases.next().unwrap_or(&url).trim_end_matches('/');
    ensure!(
        base.matches('/').count() == 2,
        expected("https://HOST without a path", text)
    );
    Ok(base.to_owned())
}

/// The ID of an instance, or its CRN.
pub(super) fn instance(text: &str) -> anyhow::Result<Uuid> {
    match text.starts_with("crn:") {
        true => Uuid::parse(&Crn::parse(text)?.instance),
        false => Uuid::parse(text),
    }
}

/// Names of apps and `auto`, comma-separated.
pub(super) fn restart_apps(text: &str) -> anyhow::Result<RestartApps> {
    let mut apps = RestartApps::default();
    for word in words(text) {
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

pub(super) fn one_line(text: &str) -> anyhow::Result<String> {
    let form = "one line without control characters";
    ensure!(!text.contains(char::is_control), expected(form, text));
    Ok(text.to_owned())
}

pub(super) fn api_key(text: &str) -> anyhow::Result<Secret> {
    let form = "printable characters without spaces";
    ensure!(
        text.bytes().all(|b| b.is_ascii_graphic()),
        expected(form, text)
    );
    Ok(Secret::from(text.to_owned()))
}

/// What is reached without the proxy, as the HTTP library matches it, and how many entries it cannot
/// match: those with a port, and CIDR blocks.
pub(super) type DirectHosts = (Vec<String>, usize);

pub(super) fn direct_hosts(text: &str) -> anyhow::Result<DirectHosts> {
    let mut patterns = Vec::new();
    let mut ignored = 0;
    for entry in text.split([',', ' ']).filter(|entry| !entry.is_empty()) {
        let domain = entry.strip_prefix('*').unwrap_or(entry);
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let label = |label: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            !label.is_empty() && label.bytes().all(allowed)
        };
        if entry == "*" {
            patterns.push(entry.to_owned());
        } else if let Ok(address) = domain.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
            patterns.push(format!("[{address}]"));
        } else if domain.split('.').all(label) {
            // the domain, and all below it
            patterns.extend([domain.to_owned(), format!(".{domain}")]);
        } else {
            ignored += 1;
        }
    }
    Ok((patterns, ignored))
}

pub(super) fn proxy(text: &str) -> anyhow::Result<Proxy> {
    Proxy::new(text)
        .ok()
        .filter(|proxy| matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https))
        .ok_or_else(|| expected("an HTTP proxy, http://host:port", text))
}

/// `host[:port]`; an IPv6 address is in brackets.
pub(super) fn probe_address(text: &str) -> anyhow::Result<(String, u16)> {
    let fits = |address: &Authority| {
        let host = address.host();
        !host.is_empty() && !text.contains('@') && (host == text || address.port_u16().is_some())
    };
    let address = text.parse().ok().filter(fits);
    let address = address.ok_or_else(|| expected("host or host:port", text))?;
    let host = address.host().trim_matches(['[', ']']);
    Ok((host.to_owned(), address.port_u16().unwrap_or(HTTPS)))
}

pub(super) fn deadline(text: &str) -> anyhow::Result<u64> {
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (1..=LONGEST_DEADLINE).contains(seconds))
        .ok_or_else(|| expected(&format!("seconds from 1 to {LONGEST_DEADLINE}"), text))
}

/// Additional roots, PEM.
pub(super) fn roots(path: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    read_roots(&text_of_file(path, LARGEST_ROOTS)?)
}

/// The text of a regular file of bounded size. The error does not name it: it could be the content
/// instead of a path.
pub(super) fn text_of_file(path: &str, largest: usize) -> anyhow::Result<Zeroizing<String>> {
    let text = read_file(Path::new(path), largest);
    text.with_context(|| expected("the path of a readable file", path).to_string())
}
