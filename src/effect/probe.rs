//! Afterwards: which certificate does a TLS client see at each domain mapping?
//!
//! Belongs here: the handshakes, and how long to wait for the new certificate. Does not: which
//! domains are looked at, nor what it means (`effect.rs`).
//!
//! The client takes whatever is served, also an expired or untrusted certificate, if the server proves
//! that it has the key, and sends nothing but a handshake: nothing is decided by what it sees, and nothing is undone for it.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::cert::certificate::Certificate;
use crate::cert::handshake::Possession;
use crate::error::Error;
use crate::report::{Replaced, State};
use crate::stop::Stop;
use crate::workers;

/// For one connection and its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// After a write: how long to wait for the new certificate.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first wait between two rounds; it doubles.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between two rounds.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// Handshakes without success before a domain counts as unreachable.
const MOST_FAILURES: u32 = 2;
/// Handshakes at a time: they wait more than they work, and must not queue behind a dead host.
const SIDE_BY_SIDE: usize = 32;

/// A domain to look at.
pub struct Look<'a> {
    /// The domain mapping; may begin with `*.`.
    pub domain: &'a str,
    /// Host and port to connect to; none: the mapping does not say.
    pub address: Option<(String, u16)>,
    /// The leaf that should be seen.
    pub new: &'a Certificate,
    /// The write of this run; none: it was in line before.
    pub replaced: Option<&'a Replaced>,
}

/// What was seen.
pub struct Seen {
    /// Which certificate.
    pub state: State,
    /// When.
    pub at: Instant,
    /// Serial number and end of another certificate, or why there is none.
    pub text: String,
}

/// Looks at all domains side by side, again and again where something was replaced and is not
/// served yet. The second value is why it ended early, if it did.
pub fn probe(looks: &[Look<'_>], stop: &Stop) -> (Vec<Seen>, Option<Error>) {
    let begin = Instant::now();
    let mut seen: Vec<Seen> = looks.iter().map(|_| Seen::nothing("")).collect();
    let client = client();
    let mut failures = vec![0; looks.len()];
    let mut open: Vec<usize> = (0..looks.len()).collect();
    let mut wait = SHORTEST_WAIT;
    loop {
        let round = workers::each_of(SIDE_BY_SIDE, open.clone(), |position| {
            Ok(looks.get(position).map(|look| match &client {
                Ok(client) => look.shake_hands(client, stop.left(HANDSHAKE)),
                Err(e) => Seen::nothing(&e.to_string()),
            }))
        });
        let mut still_open = Vec::new();
        for (position, result) in open.into_iter().zip(round) {
            let (Some(look), Some(entry), Some(failures)) = (
                looks.get(position),
                seen.get_mut(position),
                failures.get_mut(position),
            ) else {
                continue;
            };
            let is = match result {
                Ok(Some(is)) => is,
                Ok(None) => continue,
                Err(error) => Seen::nothing(&error.to_string()),
            };
            let go_on = match is.state {
                State::New => false,
                State::Unreachable => {
                    *failures += 1;
                    *failures < MOST_FAILURES
                }
                State::Old | State::Other => look.replaced.is_some(),
            };
            *entry = is;
            if go_on {
                still_open.push(position);
            }
        }
        open = still_open;
        if open.is_empty() || begin.elapsed() + wait > PATIENCE {
            return (seen, None);
        }
        if let Err(error) = stop.wait(wait) {
            return (seen, Some(error));
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

impl Seen {
    fn nothing(why: &str) -> Self {
        Self {
            state: State::Unreachable,
            at: Instant::now(),
            text: why.to_owned(),
        }
    }
}

impl Look<'_> {
    fn shake_hands(&self, client: &Arc<ClientConfig>, time: Duration) -> Seen {
        match self.served(client, time) {
            Err(e) => Seen::nothing(&e.to_string()),
            Ok(leaf) => self.judge(leaf),
        }
    }

    fn judge(&self, leaf: CertificateDer<'static>) -> Seen {
        let at = Instant::now();
        let is_new = leaf == self.new.der;
        let read = Certificate::from_der(leaf);
        let text = read.as_ref().map_or_else(
            |_| "an unreadable certificate".to_owned(),
            |leaf| {
                let end = crate::cert::certificate::rfc3339(leaf.not_after);
                format!("serial {}, valid until {end}", leaf.serial)
            },
        );
        let state = match read {
            _ if is_new => State::New,
            Ok(leaf) if self.is_replaced(&leaf) => State::Old,
            // without a write nobody knows what stood there before: an earlier one for these names
            Ok(leaf) if self.replaced.is_none() && self.is_earlier(&leaf) => State::Old,
            _ => State::Other,
        };
        Seen { state, at, text }
    }

    fn is_replaced(&self, leaf: &Certificate) -> bool {
        self.replaced
            .is_some_and(|replaced| replaced.leaf == Some(leaf.sha256()))
    }

    fn is_earlier(&self, leaf: &Certificate) -> bool {
        leaf.not_before <= self.new.not_before
            && leaf.names.iter().any(|name| self.new.covers(name))
    }

    /// One TCP connection and TLS handshake, within `time`; the leaf that the server shows.
    fn served(
        &self,
        client: &Arc<ClientConfig>,
        time: Duration,
    ) -> io::Result<CertificateDer<'static>> {
        let end = Instant::now() + time;
        let left = || {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            Ok(left)
        };
        let (host, port) = self
            .address
            .as_ref()
            .ok_or_else(|| io::Error::other("the domain mapping shows no cname_target"))?;
        // any label stands for the star of a wildcard
        let name = match self.domain.strip_prefix("*.") {
            Some(parent) => format!("any.{parent}"),
            None => self.domain.to_owned(),
        };
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
        let mut result = Err(io::Error::other(format!("{host} has no address")));
        for address in (host.as_str(), *port).to_socket_addrs()? {
            result = TcpStream::connect_timeout(&address, left()?);
            if result.is_ok() {
                break;
            }
        }
        let mut stream = result?;
        while connection.is_handshaking() {
            let left = left()?;
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))?;
            connection.complete_io(&mut stream)?;
        }
        let leaf = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| io::Error::other("the server shows no certificate"))?;
        let leaf = leaf.clone().into_owned();
        connection.send_close_notify();
        // the certificate is known: how the connection ends does not matter
        let _ended = connection.write_tls(&mut stream);
        Ok(leaf)
    }
}

fn client() -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Possession::of(None)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}
