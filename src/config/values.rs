//! From the text of one setting to its value. An error says which form was expected and how long the
//! text is, never the text: it could be a secret in the wrong place.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use ureq::http::uri::{Authority, Uri};
use ureq::{Proxy, ProxyProtocol};
use zeroize::Zeroizing;

use crate::config::{HTTPS, RestartApps};
use crate::ibm::ids::{AppName, TlsSecretName, Uuid, crn};
use crate::secret::{Secret, read_file};
use crate::text::sanitized;

/// The largest file: a bundle of all public roots has 220 KB, a configmap at most 1 MiB.
const LARGEST_FILE: usize = 2 * 1024 * 1024;
/// Code Engine's longest run (Code Engine limits).
const LONGEST_DEADLINE: u64 = 86_400;
/// The fields of a target.
const FIELDS: &str = "secret_id, tls_secret, project_id, region, restart_apps, hold";

/// The name of a variable or a field.
pub(super) type Name = &'static str;
/// Makes a value of a text.
pub(super) type Parser<T> = fn(&str) -> Result<T>;

fn expected(form: &str, text: &str) -> Error {
    anyhow!("expected {form}, found {} characters", text.chars().count())
}

pub(super) fn any(text: &str) -> Result<String> {
    Ok(text.to_owned())
}

/// The value of one of these words.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T> {
    let (known, values): (Vec<&str>, Vec<T>) = words.iter().copied().unzip();
    let position = known.iter().position(|word| *word == text);
    let value = position.and_then(|position| values.get(position).copied());
    value.ok_or_else(|| expected(&format!("one of {}", known.join(", ")), text))
}

pub(super) fn boolean(text: &str) -> Result<bool> {
    let words = [("true", true), ("false", false), ("1", true), ("0", false)];
    choice(text, &words)
}

/// The words of a list with commas.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(',').map(str::trim);
    words.filter(|word| !word.is_empty())
}

/// A base URL without slash at the end.
pub(super) fn base_url(text: &str) -> Result<String> {
    let base = text.trim_end_matches('/');
    // `{region}` is no part of a URL until it is replaced
    let uri = base.replace("{region}", "region").parse::<Uri>();
    let uri = uri.unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let scheme = uri.scheme_str().unwrap_or_default();
    let secure = scheme == "https" || scheme == "http" && loopback;
    let plain = !host.is_empty() && !base.contains(['@', '?', '#']);
    let form = "https://HOST without user, query and fragment (http:// only to loopback)";
    ensure!(secure && plain, expected(form, text));
    Ok(base.to_owned())
}

/// The base URL of a service; one of these paths may follow, as its documents show it.
pub(super) fn service_url(text: &str, documented: &[&str]) -> Result<String> {
    let url = base_url(text)?;
    let mut bases = documented.iter().filter_map(|path| url.strip_suffix(path));
    let base = bases.next().unwrap_or(&url).trim_end_matches('/');
    let bare = base.matches('/').count() == 2;
    ensure!(bare, expected("https://HOST without a path", text));
    Ok(base.to_owned())
}

/// The ID of an instance, or its CRN.
pub(super) fn instance(text: &str) -> Result<Uuid> {
    if !text.starts_with("crn:") {
        return Uuid::parse(text);
    }
    let [_, instance, ..] = crn(text)?;
    Uuid::parse(instance)
}

/// Names of apps and `auto`, comma-separated.
pub(super) fn restart_apps(text: &str) -> Result<RestartApps> {
    let mut seen = HashSet::new();
    let words = words(text).filter(|word| seen.insert(*word));
    let (auto, names): (Vec<_>, Vec<_>) = words.partition(|word| *word == "auto");
    let names: Result<_> = names.into_iter().map(AppName::parse).collect();
    let (auto, names) = (!auto.is_empty(), names?);
    Ok(RestartApps { auto, names })
}

pub(super) fn one_line(text: &str) -> Result<String> {
    let form = "one line without control characters";
    ensure!(!text.contains(char::is_control), expected(form, text));
    Ok(text.to_owned())
}

pub(super) fn api_key(text: &str) -> Result<Secret> {
    let form = "printable characters without spaces";
    let fits = text.bytes().all(|b| b.is_ascii_graphic());
    ensure!(fits, expected(form, text));
    Ok(Secret::new(text.to_owned()))
}

/// What is reached without the proxy, as the HTTP library matches it, and how many entries it cannot
/// match: those with a port, and CIDR blocks.
pub(super) fn direct_hosts(text: &str) -> Result<(Vec<String>, usize)> {
    let (mut patterns, mut ignored) = (Vec::new(), 0);
    for entry in text.split([',', ' ']).filter(|entry| !entry.is_empty()) {
        let domain = entry.trim_start_matches(['*', '.']).trim_end_matches('.');
        let address = domain.trim_matches(['[', ']']);
        if entry == "*" {
            patterns.push(entry.to_owned());
        } else if address.parse::<Ipv6Addr>().is_ok() {
            patterns.push(format!("[{address}]"));
        } else if domain.is_empty() || domain.contains(['/', ':', '*']) {
            ignored += 1;
        } else {
            // the domain, and all below it
            patterns.extend([domain.to_owned(), format!(".{domain}")]);
        }
    }
    Ok((patterns, ignored))
}

pub(super) fn proxy(text: &str) -> Result<Proxy> {
    let is_http =
        |proxy: &Proxy| matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https);
    let proxy = Proxy::new(text).ok().filter(is_http);
    proxy.ok_or_else(|| expected("an HTTP proxy, http://host:port", text))
}

/// `host[:port]`; an IPv6 address is in brackets.
pub(super) fn probe_address(text: &str) -> Result<(String, u16)> {
    let plain = !text.contains('@') && !text.starts_with(':');
    let fits = |address: &Authority| address.host() == text || address.port_u16().is_some();
    let address = text.parse().ok().filter(fits).filter(|_| plain);
    let address = address.ok_or_else(|| expected("host or host:port", text))?;
    let host = address.host().trim_matches(['[', ']']);
    Ok((host.to_owned(), address.port_u16().unwrap_or(HTTPS)))
}

pub(super) fn deadline(text: &str) -> Result<u64> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1..=LONGEST_DEADLINE).contains(seconds));
    seconds.ok_or_else(|| expected(&format!("seconds from 1 to {LONGEST_DEADLINE}"), text))
}

/// The text of a regular file of bounded size. The error does not name it: it could be the content
/// instead of a path.
pub(super) fn text_of_file(path: &str) -> Result<Zeroizing<String>> {
    let text = read_file(Path::new(path), LARGEST_FILE);
    text.with_context(|| expected("the path of a readable file", path).to_string())
}

/// The entries of a variable, understood or not.
pub(super) type Entries = Vec<Result<Entry>>;

/// One target as the environment describes it. The texts are parsed one by one, to name the field in our
/// own words: serde's would quote them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub(super) secret_id: Option<Value>,
    pub(super) tls_secret: Option<Value>,
    pub(super) project_id: Option<Value>,
    pub(super) region: Option<Value>,
    pub(super) restart_apps: Option<Value>,
    pub(super) hold: Option<Value>,
}

/// `TLS_SECRET_NAME`.
pub(super) fn single(text: &str) -> Result<Entries> {
    TlsSecretName::parse(text)?;
    let entry = serde_json::from_value(json!({ "tls_secret": text }))?;
    Ok(vec![Ok(entry)])
}

/// `TARGETS`.
pub(super) fn array(text: &str) -> Result<Entries> {
    let array: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let some = !array.is_empty();
    ensure!(some, "expected a JSON array of at least one target");
    Ok(array.into_iter().map(Entry::read).collect())
}

/// `TARGETS_FILE`.
pub(super) fn file(path: &str) -> Result<Entries> {
    let text = text_of_file(path)?;
    // editors on Windows begin a file with a byte order mark
    array(text.strip_prefix('\u{feff}').unwrap_or(&text))
}

impl Entry {
    /// An entry of a list, which must say what to copy.
    fn read(json: &RawValue) -> Result<Self> {
        let object: Map<String, Value> = serde_json::from_str(json.get()).unwrap_or_default();
        let known = |name: &str| FIELDS.split(", ").any(|field| field == name);
        if let Some(name) = object.keys().find(|name| !known(name)) {
            bail!("unknown field {}", sanitized(name));
        }
        let Ok(entry) = serde_json::from_str::<Self>(json.get()) else {
            bail!("expected an object with {FIELDS}, each at most once");
        };
        ensure!(entry.secret_id.is_some(), "secret_id: is required");
        Ok(entry)
    }
}

/// A field that is a string, or an array of strings, which counts as one with commas.
pub(super) fn field<T>(name: Name, value: Option<Value>, parse: Parser<T>) -> Result<Option<T>> {
    let words = match value {
        None => return Ok(None),
        Some(Value::Array(words)) => words,
        Some(word) => vec![word],
    };
    let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
    let words = words.context("expected a string");
    let value = words.and_then(|words| parse(&words.join(",")));
    value.map(Some).context(name)
}
