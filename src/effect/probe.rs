//! Which certificate does a TLS client see at each domain?
//!
//! The client accepts any certificate, also an expired or untrusted one, if the server proves that it
//! holds its key. It sends nothing but a handshake, and nothing is rolled back because of what it sees.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::cert::certificate::{Certificate, algorithms, rfc3339};
use crate::config::HTTPS;
use crate::ibm::code_engine::DomainMapping;
use crate::report::{Served, State};
use crate::sync::replace::UpToDate;
use crate::text::sanitized;
use crate::workers;

/// For one connection and its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Failed handshakes in a row before a domain counts as unreachable.
const MOST_FAILURES: u32 = 2;
/// Handshakes at a time: they wait more than they work, and must not queue behind a dead host.
const SIDE_BY_SIDE: usize = 32;

/// A domain, what should be seen there, and what was seen last.
pub(crate) struct Domain<'a> {
    /// The domain mapping; may begin with `*.`.
    pub(crate) name: &'a str,
    /// Host and port to connect to; `None`: the mapping does not say.
    pub(crate) address: Option<(&'a str, u16)>,
    /// What should be seen.
    pub(crate) expected: &'a UpToDate<'a>,
    pub(crate) state: State,
    /// Serial number and end of another certificate, or why there is none.
    pub(crate) text: String,
    /// When it was seen.
    pub(crate) at: Instant,
    failures: u32,
}

/// A handshake with each of the domains, side by side.
pub(crate) fn probe(domains: Vec<&mut Domain<'_>>) {
    workers::each_of(SIDE_BY_SIDE, domains, |domain| {
        domain.look();
        Ok(())
    });
}

impl<'a> Domain<'a> {
    /// Not probed yet. `instead`: the address to use instead of the mapping's.
    pub(crate) fn new(
        mapping: &'a DomainMapping,
        instead: Option<&'a (String, u16)>,
        expected: &'a UpToDate<'a>,
    ) -> Self {
        let own = mapping.cname_target.as_deref();
        let own = own.filter(|host| !host.is_empty());
        let instead = instead.map(|(host, port)| (host.as_str(), *port));
        Self {
            name: &mapping.name,
            address: instead.or_else(|| Some((own?, HTTPS))),
            expected,
            state: State::Unreachable,
            text: "not probed".to_owned(),
            at: Instant::now(),
            failures: 0,
        }
    }

    /// The line of the report.
    pub(crate) fn served(&self) -> Served {
        let replaced = self.expected.replaced.as_ref();
        let after = replaced.map(|replaced| self.at.saturating_duration_since(replaced.at));
        Served {
            domain: sanitized(self.name),
            state: self.state,
            after_ms: after.and_then(|after| u64::try_from(after.as_millis()).ok()),
        }
    }

    /// Whether it must be looked at again.
    pub(crate) fn goes_on(&self) -> bool {
        match self.state {
            State::New => false,
            State::Unreachable => self.failures < MOST_FAILURES,
            State::Old | State::Other => self.expected.replaced.is_some(),
        }
    }

    fn look(&mut self) {
        // also if this panics
        self.failures += 1;
        let shown = self.handshake();
        self.at = Instant::now();
        (self.state, self.text) = match shown {
            Ok(leaf) => {
                self.failures = 0;
                self.judge(leaf)
            }
            Err(e) => (State::Unreachable, sanitized(&e.to_string())),
        };
    }

    fn judge(&self, leaf: CertificateDer<'static>) -> (State, String) {
        let is_new = leaf == self.expected.leaf.der;
        let Ok(leaf) = Certificate::from_der(&leaf) else {
            return (State::Other, "an unreadable certificate".to_owned());
        };
        let state = match is_new {
            true => State::New,
            false if self.is_previous(&leaf) => State::Old,
            false => State::Other,
        };
        let end = rfc3339(leaf.not_after);
        (state, format!("serial {}, valid until {end}", leaf.serial))
    }

    /// After a write: exactly the replaced certificate. Without one nothing says what was deployed
    /// before: an earlier certificate for these names.
    fn is_previous(&self, leaf: &Certificate) -> bool {
        let new = &self.expected.leaf;
        match &self.expected.replaced {
            Some(replaced) => replaced.leaf == Some(leaf.sha256()),
            None => {
                leaf.not_before <= new.not_before && leaf.names.iter().any(|name| new.covers(name))
            }
        }
    }

    /// One TCP connection and TLS handshake; the leaf that the server proves to hold the key of.
    fn handshake(&self) -> anyhow::Result<CertificateDer<'static>> {
        let address = self.address;
        let address = address.context("the domain mapping has no cname_target")?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Possession))
            .with_no_client_auth();
        // any label can replace the star of a wildcard
        let name = ServerName::try_from(self.name.replacen('*', "any", 1))?;
        let mut connection = ClientConnection::new(Arc::new(config), name)?;
        let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        let end = Instant::now() + HANDSHAKE;
        let mut stream = connect(&addresses, end)?;
        while connection.is_handshaking() {
            if connection.wants_write() {
                stream.set_write_timeout(Some(left(end)?))?;
                connection.write_tls(&mut stream)?;
            } else {
                stream.set_read_timeout(Some(left(end)?))?;
                if connection.read_tls(&mut stream)? == 0 {
                    bail!(io::ErrorKind::UnexpectedEof);
                }
                connection.process_new_packets()?;
            }
        }
        let chain = connection.peer_certificates();
        let leaf = chain.and_then(|chain| chain.first());
        let leaf = leaf.context("the server shows no certificate")?;
        let leaf = leaf.clone().into_owned();
        connection.send_close_notify();
        // the certificate is known: how the connection ends does not matter
        while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
        Ok(leaf)
    }
}

/// Connects to one of the addresses of a host; each gets its share of the time.
fn connect(addresses: &[SocketAddr], end: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("the host name has no address");
    for (address, rest) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = left(end)? / u32::try_from(rest).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

/// The time that is left, never zero: that would mean no limit.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left.max(Duration::from_millis(1))),
    }
}

/// Makes the server prove that it has the key of the leaf that it shows. Nothing else is verified.
#[derive(Debug)]
struct Possession;

impl ServerCertVerifier for Possession {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // the library's own function reads the leaf with its strict reader first
        let leaf = Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding)?;
        match leaf.proves(dss.scheme, message, dss.signature()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::samples::maker;
    use crate::sync::replace::Replaced;
    use crate::sync::samples::task;

    fn issued(line: &str) -> Arc<Certificate> {
        Arc::new(maker().make(line).read())
    }

    fn mapping(cname_target: Option<&str>) -> DomainMapping {
        DomainMapping {
            name: "shop.example.com".to_owned(),
            cname_target: cname_target.map(str::to_owned),
            ..DomainMapping::default()
        }
    }

    #[test]
    fn a_certificate_is_new_or_old_or_another_one() {
        let task = task();
        let lines = ["shop < CA older", "shop < CA", "shop < CA since:-1d", "blog < CA older"];
        let [older, new, newer, foreign] = lines.map(issued);
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
            let synced = UpToDate {
                task: &task,
                leaf: Arc::clone(&new),
                chain_sha256: String::new(),
                replaced,
            };
            let mapping = mapping(None);
            let mut domain = Domain::new(&mapping, None, &synced);
            let (state, text) = domain.judge(seen.der.clone());
            assert_eq!(state, expected, "{:?}", synced.replaced);
            let told = format!("serial {}, valid until ", seen.serial);
            assert!(text.starts_with(&told), "{text}");
            let damaged = domain.judge(CertificateDer::from(new.der[1..].to_vec()));
            assert_eq!(damaged, (State::Other, "an unreadable certificate".to_owned()));

            // a second look: never after the new one, after another one only if something was written
            let written = synced.replaced.is_some();
            for (state, failures, again) in [
                (State::New, 0, false),
                (State::Old, 0, written),
                (State::Other, 0, written),
                (State::Unreachable, 1, true),
                (State::Unreachable, 2, false),
            ] {
                (domain.state, domain.failures) = (state, failures);
                assert_eq!(domain.goes_on(), again, "{state:?} {failures} {written}");
            }
            // the time since the write
            domain.at += Duration::from_secs(100);
            let after = domain.served().after_ms;
            assert_eq!(after.map(|ms| ms / 1_000), written.then_some(100));
        }
    }

    #[test]
    fn where_to_connect() {
        let task = task();
        let synced = UpToDate {
            task: &task,
            leaf: issued("shop < CA"),
            chain_sha256: String::new(),
            replaced: None,
        };
        let elsewhere = ("127.0.0.1".to_owned(), 8443);
        for (cname_target, instead, expected) in [
            (Some("ingress.example"), None, Some(("ingress.example", 443))),
            (Some("ingress.example"), Some(&elsewhere), Some(("127.0.0.1", 8443))),
            (None, Some(&elsewhere), Some(("127.0.0.1", 8443))),
            (Some(""), None, None),
            (None, None, None),
        ] {
            let mapping = mapping(cname_target);
            assert_eq!(Domain::new(&mapping, instead, &synced).address, expected);
        }
    }
}
