//! Which certificate does a TLS client see at each domain?
//!
//! Belongs here: the handshakes, and how long to wait for the new certificate. Does not: which
//! domains are probed, nor what it means (`effect.rs`).
//!
//! The client accepts any certificate, also an expired or untrusted one, if the server proves that it
//! holds its key. It sends nothing but a handshake, and nothing is undone because of what it sees.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::cert::certificate::{Certificate, rfc3339};
use crate::cert::handshake::Possession;
use crate::error::Error;
use crate::net::Network;
use crate::report::State;
use crate::stop::{Stop, longer};
use crate::sync::replace::Synced;
use crate::text::sanitized;
use crate::workers;

/// For one connection and its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// After a write: how long to wait for the new certificate.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first wait between two rounds; it grows.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
/// Handshakes without success before a domain counts as unreachable.
const MOST_FAILURES: u32 = 2;
/// Handshakes at a time: they wait more than they work, and must not queue behind a dead host.
const SIDE_BY_SIDE: usize = 32;

/// A domain to probe, and what was seen there last.
pub(crate) struct Domain {
    /// The domain mapping; may begin with `*.`.
    pub(crate) name: String,
    /// Host and port to connect to; `None`: the mapping does not say.
    pub(crate) address: Option<(String, u16)>,
    /// What should be seen.
    pub(crate) synced: Arc<Synced>,
    pub(crate) seen: Observation,
    failures: u32,
}

/// What was seen at a domain.
pub(crate) struct Observation {
    pub(crate) state: State,
    pub(crate) at: Instant,
    /// Serial number and end of another certificate, or why there is none.
    pub(crate) text: String,
}

impl Observation {
    fn unreachable(why: &str) -> Self {
        Self {
            state: State::Unreachable,
            at: Instant::now(),
            text: sanitized(why),
        }
    }
}

/// Probes all domains side by side, again and again where something was replaced and is not served
/// yet. Returns why it ended early, if it did.
pub(crate) fn probe(mut open: Vec<&mut Domain>, stop: &Arc<Stop>) -> Option<Error> {
    if open.is_empty() {
        return None;
    }
    let begin = Instant::now();
    let client = client();
    let network = Network::new(Arc::clone(stop));
    let mut wait = SHORTEST_WAIT;
    loop {
        // a domain whose handshake panicked keeps what was seen before
        let round = workers::each_of(SIDE_BY_SIDE, open, |domain| {
            domain.observe(&client, &network);
            Ok(domain)
        });
        open = round
            .into_iter()
            .flatten()
            .filter(|domain| domain.goes_on())
            .collect();
        if open.is_empty() || is_too_long(begin.elapsed(), wait) {
            return None;
        }
        log::info!(
            "waiting for {} to serve the new certificate",
            match open.as_slice() {
                [only] => sanitized(&only.name),
                several => format!("{} domains", several.len()),
            }
        );
        if let Err(error) = stop.wait(wait) {
            return Some(error);
        }
        wait = longer(wait);
    }
}

/// Whether one more wait, so long after the first round, is longer than anybody waits.
fn is_too_long(elapsed: Duration, wait: Duration) -> bool {
    elapsed + wait > PATIENCE
}

impl Domain {
    pub(crate) fn new(name: &str, address: Option<(String, u16)>, synced: Arc<Synced>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            synced,
            seen: Observation::unreachable("not probed"),
            failures: 0,
        }
    }

    fn goes_on(&self) -> bool {
        match self.seen.state {
            State::New => false,
            State::Unreachable => self.failures < MOST_FAILURES,
            State::Old | State::Other => self.synced.replaced.is_some(),
        }
    }

    fn observe(&mut self, client: &Client, network: &Network) {
        self.seen = match self.served(client, network) {
            Ok(leaf) => self.judge(leaf),
            Err(e) => {
                self.failures += 1;
                Observation::unreachable(&e.to_string())
            }
        };
    }

    fn judge(&self, leaf: CertificateDer<'static>) -> Observation {
        let at = Instant::now();
        let is_new = leaf == self.synced.leaf.der;
        let read = Certificate::from_der(leaf);
        let text = read.as_ref().map_or_else(
            |_| "an unreadable certificate".to_owned(),
            |leaf| {
                format!(
                    "serial {}, valid until {}",
                    leaf.serial,
                    rfc3339(leaf.not_after)
                )
            },
        );
        let state = match read {
            _ if is_new => State::New,
            Ok(leaf) if self.is_previous(&leaf) => State::Old,
            _ => State::Other,
        };
        Observation { state, at, text }
    }

    /// After a write: exactly the replaced certificate. Without one nothing says what was deployed
    /// before: an earlier certificate for these names.
    fn is_previous(&self, leaf: &Certificate) -> bool {
        let new = &self.synced.leaf;
        match &self.synced.replaced {
            Some(replaced) => replaced.leaf == Some(leaf.sha256()),
            None => {
                leaf.not_before <= new.not_before && leaf.names.iter().any(|name| new.covers(name))
            }
        }
    }

    /// One TCP connection and TLS handshake; the leaf that the server proves to hold the key of.
    fn served(&self, client: &Client, network: &Network) -> io::Result<CertificateDer<'static>> {
        let client = client.as_ref().map_err(|e| io::Error::other(e.clone()))?;
        let (host, port) = self
            .address
            .clone()
            .ok_or_else(|| io::Error::other("the domain mapping has no cname_target"))?;
        // any label can replace the star of a wildcard
        let name = match self.name.strip_prefix("*.") {
            Some(parent) => format!("any.{parent}"),
            None => self.name.clone(),
        };
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
        let addresses = network.look_up(&host, port, HANDSHAKE)?;
        let mut stream = network.reach(&addresses, HANDSHAKE)?;
        // reads and writes until the handshake is done; the stream fails in time, whatever the peer sends
        connection.complete_io(&mut stream)?;
        let leaf = connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .ok_or_else(|| io::Error::other("the server shows no certificate"))?;
        let leaf = leaf.clone().into_owned();
        connection.send_close_notify();
        // the certificate is known: how the connection ends does not matter
        let _ended = connection.write_tls(&mut stream);
        Ok(leaf)
    }
}

type Client = Result<Arc<ClientConfig>, rustls::Error>;

fn client() -> Client {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Possession::of(None)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::sync::replace::Replaced;

    /// Valid from this year on.
    fn issued(name: &str, year: i32) -> Arc<Certificate> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Arc::new(Certificate::from_der(der).unwrap())
    }

    #[test]
    fn a_certificate_is_new_or_old_or_another_one() {
        let [older, new, newer] = [2025, 2026, 2027].map(|year| issued("shop.example.com", year));
        let foreign = issued("blog.example.com", 2025);
        let damaged = CertificateDer::from(new.der[1..].to_vec());
        let replaced = |leaf: Option<&Arc<Certificate>>| {
            let leaf = leaf.map(|leaf| leaf.sha256());
            let at = Instant::now();
            Some(Replaced { leaf, at })
        };
        for (replaced, seen, expected) in [
            (None, &new, State::New),
            // nothing says what was there before: an earlier one for these names
            (None, &older, State::Old),
            (None, &newer, State::Other),
            (None, &foreign, State::Other),
            // exactly what was replaced
            (replaced(Some(&older)), &new, State::New),
            (replaced(Some(&older)), &older, State::Old),
            (replaced(Some(&foreign)), &foreign, State::Old),
            (replaced(Some(&foreign)), &older, State::Other),
            (replaced(None), &older, State::Other),
        ] {
            let synced = Arc::new(Synced {
                leaf: Arc::clone(&new),
                chain_sha256: String::new(),
                replaced,
            });
            let domain = Domain::new("shop.example.com", None, synced);
            let observed = domain.judge(seen.der.clone());
            assert_eq!(observed.state, expected, "{:?}", domain.synced.replaced);
            let text = format!("serial {}, valid until ", seen.serial);
            assert!(observed.text.starts_with(&text), "{}", observed.text);
            let observed = domain.judge(damaged.clone());
            let observed = (observed.state, observed.text.as_str());
            assert_eq!(observed, (State::Other, "an unreadable certificate"));
        }
    }
    #[test]
    fn a_minute_is_waited_and_no_longer() {
        for (elapsed, wait, too_long) in [
            (0, 500, false),
            (56_000, 4_000, false),
            (56_001, 4_000, true),
            (59_999, 4_000, true),
        ] {
            let (elapsed, wait) = (Duration::from_millis(elapsed), Duration::from_millis(wait));
            assert_eq!(is_too_long(elapsed, wait), too_long, "{elapsed:?} {wait:?}");
        }
    }
}
