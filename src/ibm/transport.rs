//! How the HTTP library reaches a host: by our connections and our names (`net.rs`), under its own
//! TLS and proxy code.
//!
//! Belongs here: the library's traits. Does not: anything that knows a service.

use std::io;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use crate::net::{Network, Stream};

/// Addresses that the library takes of one host.
const MOST_ADDRESSES: usize = 16;

/// A connection without TLS.
#[derive(Debug)]
pub(crate) struct Plain {
    stream: Stream,
    buffers: LazyBuffers,
}

impl Resolver for Network {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (host, port) = host_and_port(uri)?;
        let found = self.look_up(host, port, *timeout.after);
        let found = found.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::HostNotFound,
            _ => timed_out(e, timeout.reason),
        })?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(MOST_ADDRESSES) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

impl<In: Transport> Connector<In> for Network {
    type Out = Either<In, Plain>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        // the tunnel of a proxy
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let (host, _) = host_and_port(details.uri)?;
        let limit = details.timeout;
        let stream = self.reach(&details.addrs, *limit.after).map_err(|e| {
            self.forget(host);
            timed_out(e, limit.reason)
        })?;
        let (input, output) = (
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        let buffers = LazyBuffers::new(input, output);
        Ok(Some(Either::B(Plain { stream, buffers })))
    }
}

impl Plain {
    fn within(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        if timeout.after.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        self.stream.ends_in(*timeout.after);
        Ok(())
    }
}

impl Transport for Plain {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.within(timeout)?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        io::Write::write_all(&mut self.stream, output).map_err(|e| timed_out(e, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.within(timeout)?;
        let amount = io::Read::read(&mut self.stream, self.buffers.input_append_buf())
            .map_err(|e| timed_out(e, timeout.reason))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.is_idle()
    }
}

fn host_and_port(uri: &Uri) -> Result<(&str, u16), Error> {
    let port = match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    let host = uri.host().ok_or(Error::HostNotFound)?;
    Ok((host, uri.port_u16().unwrap_or(port)))
}

fn timed_out(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::stop::Stop;

    #[test]
    fn a_name_is_unknown_or_not_looked_up_in_time() {
        let terminated = Arc::new(AtomicBool::new(false));
        let stop = Stop::new(Instant::now(), 60, terminated);
        let network = Network::new(Arc::new(stop));
        let resolve = |host: &str, after: Duration| {
            let timeout = NextTimeout {
                after: after.into(),
                reason: Timeout::Resolve,
                ..NextTimeout::default()
            };
            let url = format!("https://{host}/identity/token").parse().unwrap();
            network.resolve(&url, &Config::default(), timeout)
        };
        let patience = Duration::from_secs(30);
        // 63 characters is the longest label: no name server is asked
        let unknown = resolve(&format!("{}.example", "x".repeat(64)), patience);
        assert!(matches!(unknown, Err(Error::HostNotFound)), "{unknown:?}");
        let late = resolve("shop.invalid", Duration::ZERO);
        let is_late = matches!(late, Err(Error::Timeout(Timeout::Resolve)));
        assert!(is_late, "{late:?}");
        let found = resolve("127.0.0.1:8443", patience).unwrap();
        assert_eq!(found[..], ["127.0.0.1:8443".parse().unwrap()]);
    }
}
