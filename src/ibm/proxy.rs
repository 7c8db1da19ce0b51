//! Which requests go through the proxy: `NO_PROXY`, as other programs read it.
//!
//! Belongs here: the patterns of hosts. Does not: where the variables come from.

use std::net::IpAddr;

use anyhow::{anyhow, ensure};

use crate::text::sanitized;

/// A proxy, and the hosts that are reached without it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it is.
    pub server: ureq::Proxy,
    /// The hosts that are reached without it.
    pub except: NoProxy,
}

/// The hosts that are reached without the proxy.
#[derive(Clone, Debug, Default)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    hosts: Hosts,
    /// Only this port.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    All,
    /// The host and all below it.
    Domain(String),
    /// The addresses that begin with these bits.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Reads a comma-separated list of hosts, domains (`example.com`, `.example.com` and
    /// `*.example.com` mean the domain and all below it), addresses, networks (`10.0.0.0/8`), each
    /// also with a port (`host:8443`), or `*` for all.
    ///
    /// # Errors
    /// Names the first entry that is nothing of this.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let entries = text.split([',', ' ']).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| {
                Entry::parse(entry).map_err(|_| {
                    anyhow!(
                        "expected hosts, domains, addresses or networks such as 10.0.0.0/8, comma-separated, found {}",
                        sanitized(entry)
                    )
                })
            })
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// Whether this host is reached without the proxy. A name is not looked up for it: it is in no
    /// network.
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|only| only == port)
                && match &entry.hosts {
                    Hosts::All => true,
                    Hosts::Domain(domain) => host
                        .strip_suffix(domain.as_str())
                        .is_some_and(|above| above.is_empty() || above.ends_with('.')),
                    Hosts::Network(network, bits) => {
                        address.is_some_and(|address| same_network(address, *network, *bits))
                    }
                }
        })
    }
}

impl Entry {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let whole = bare(text);
        if whole.parse::<IpAddr>().is_ok() {
            return Self::new(whole, None);
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                Self::new(bare(host), Some(port.parse()?))
            }
            _ => Self::new(text, None),
        }
    }

    fn new(text: &str, port: Option<u16>) -> anyhow::Result<Self> {
        let hosts = if text == "*" {
            Hosts::All
        } else if let Ok(address) = text.parse::<IpAddr>() {
            Hosts::Network(address, width(address))
        } else if let Some((address, bits)) = text.split_once('/') {
            let (address, bits) = (bare(address).parse()?, bits.parse()?);
            ensure!(bits <= width(address), "too many bits");
            Hosts::Network(address, bits)
        } else {
            let domain = text.strip_prefix('*').unwrap_or(text);
            let domain = domain.strip_prefix('.').unwrap_or(domain);
            let domain = domain.trim_end_matches('.').to_ascii_lowercase();
            let label = |label: &str| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            };
            ensure!(domain.split('.').all(label), "not a host name");
            Hosts::Domain(domain)
        };
        Ok(Self { hosts, port })
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

const fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    // the bits that differ, from the top
    let differ = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    differ >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_domains_ports_and_networks_are_covered() {
        for (list, covered, others) in [
            ("", &[][..], &["a.example:443"][..]),
            ("*", &["a.example:443", "10.1.2.3:443", "[::1]:443"], &[]),
            (
                "Example.com , other.example",
                &[
                    "example.com:443",
                    "a.b.EXAMPLE.com:8443",
                    "other.example:1",
                    "example.com.:443",
                ],
                &["notexample.com:443", "example.com.evil.org:443"],
            ),
            (
                "example.com.",
                &["example.com:443", "a.example.com.:443"],
                &["com:443", "com.:443", "xexample.com:443"],
            ),
            ("shop", &["shop:443", "a.shop:443"], &["workshop:443"]),
            (
                ".example.com",
                &["example.com:443", "a.example.com:443"],
                &["aexample.com:443"],
            ),
            (
                "*.example.com",
                &["a.example.com:443"],
                &["aexample.com:443"],
            ),
            (
                "example.com:8443",
                &["a.example.com:8443"],
                &["a.example.com:443", "aexample.com:8443"],
            ),
            (
                "*.example.com:8443,example.com:443",
                &["a.example.com:8443", "a.example.com:443"],
                &["a.example.com:80"],
            ),
            (
                "*:8443",
                &["a.example:8443", "[::1]:8443"],
                &["a.example:443"],
            ),
            (
                "127.0.0.1",
                &["127.0.0.1:443"],
                &["127.0.0.2:443", "a127.0.0.1:443"],
            ),
            (
                "10.0.0.0/8,192.168.1.128/25",
                &["10.255.0.1:443", "192.168.1.200:443"],
                &["11.0.0.1:443", "192.168.1.5:443", "ten.example:443"],
            ),
            ("0.0.0.0/0", &["8.8.8.8:443"], &["[::1]:443"]),
            ("10.0.0.1:8443", &["10.0.0.1:8443"], &["10.0.0.1:443"]),
            ("::1", &["[::1]:443"], &["[::2]:443"]),
            ("[::1]:8443", &["[::1]:8443"], &["[::1]:443"]),
            ("fd00::/8", &["[fd12::1]:443"], &["[fe80::1]:443"]),
            ("[fd00::]/8", &["[fd12::1]:443"], &["[fe80::1]:443"]),
            (
                "[fd00::/8]:8443",
                &["[fd12::1]:8443"],
                &["[fd12::1]:443", "[fe80::1]:8443"],
            ),
            // the bits up to the length of the prefix, and none behind it
            (
                "10.1.2.2/31",
                &["10.1.2.2:443", "10.1.2.3:443"],
                &["10.1.2.1:443", "10.1.2.4:443"],
            ),
            ("10.1.2.2/32", &["10.1.2.2:443"], &["10.1.2.3:443"]),
            (
                "128.0.0.0/1",
                &["128.0.0.1:443", "255.255.255.255:443"],
                &["127.255.255.255:443", "[8000::1]:443"],
            ),
            (
                "10.1.16.0/20",
                &["10.1.16.0:443", "10.1.31.255:443"],
                &["10.1.15.255:443", "10.1.32.0:443"],
            ),
            (
                "2001:db8::/33",
                &["[2001:db8::1]:443", "[2001:db8:7fff::1]:443"],
                &["[2001:db8:8000::1]:443", "[2001:db9::1]:443"],
            ),
            ("fd00::2/127", &["[fd00::3]:443"], &["[fd00::1]:443"]),
            ("fd00::2/128", &["[fd00::2]:443"], &["[fd00::3]:443"]),
            (
                "::/0",
                &["[fd00::2]:443"],
                &["8.8.8.8:443", "a.example:443"],
            ),
            // one address, whichever way it is written
            ("FD00:0::0:2", &["[fd00::2]:443"], &["[fd00::20]:443"]),
        ] {
            let no_proxy = NoProxy::parse(list).unwrap();
            let covers = |target: &&str| {
                let (host, port) = target.rsplit_once(':').unwrap();
                no_proxy.covers(host, port.parse().unwrap())
            };
            assert!(covered.iter().all(covers), "{list}");
            assert!(!others.iter().any(covers), "{list}");
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        for (list, bad) in [
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("fd00::/129", "fd00::/129"),
            ("10.0.0.0/-1", "10.0.0.0/-1"),
            ("10.0.0.0/", "10.0.0.0/"),
            ("host:http", "host:http"),
            ("host:65536", "host:65536"),
            ("host:", "host:"),
            ("a b,ex*mple.com", "ex*mple.com"),
            ("a,..,", ".."),
            ("https://a.example", "https://a.example"),
            ("a/8", "a/8"),
            ("[fd00::1", "[fd00::1"),
        ] {
            let error = NoProxy::parse(list).unwrap_err().to_string();
            assert!(error.starts_with("expected hosts"), "{list}: {error}");
            let found = format!("comma-separated, found {bad}");
            assert!(error.ends_with(&found), "{list}: {error}");
        }
    }
}
