//! Names of hosts, looked up once per host and run: the HTTP library would ask for each request.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Addresses that the library takes of one host.
const MOST_ADDRESSES: usize = 16;

/// By host and port, if ever found: the addresses, none if they are to be looked up again.
type Known = HashMap<String, Vec<SocketAddr>>;

/// The names that were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<Known>>);

impl Names {
    /// After a failed connection: the hosts may have moved, as in a fail-over.
    pub(super) fn forget(&self) {
        self.known().values_mut().for_each(Vec::clear);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let place = uri.scheme().zip(uri.authority());
        let place = place.and_then(|(scheme, host)| DefaultResolver::host_and_port(scheme, host));
        let place = place.ok_or(Error::HostNotFound)?;
        // held meanwhile: whoever asks waits, and finds the answer
        let mut known = self.known();
        if known.get(&place).is_none_or(Vec::is_empty) {
            match look_up(&place, timeout).filter(|addresses| !addresses.is_empty()) {
                Some(addresses) => _ = known.insert(place.clone(), addresses),
                None if known.contains_key(&place) => return Err(Error::ConnectionFailed),
                None => return Err(Error::HostNotFound),
            }
        }
        let mut addresses = self.empty();
        let found = known.get(&place).into_iter().flatten();
        for address in found.take(MOST_ADDRESSES) {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}

/// Asks the name service, in a thread of its own: the system's call cannot be bounded.
fn look_up(place: &str, timeout: NextTimeout) -> Option<Vec<SocketAddr>> {
    let ask = |place: &str| Some(place.to_socket_addrs().ok()?.collect());
    let (sender, answer) = mpsc::channel();
    let asked = place.to_owned();
    match thread::Builder::new().spawn(move || sender.send(ask(&asked))) {
        Ok(_) => answer.recv_timeout(*timeout.after).ok()?,
        Err(_) => ask(place),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_is_asked_for_until_it_is_found_and_again_after_a_failed_connection() {
        let names = Names::default();
        let resolve = |url: &str| {
            let timeout =
                NextTimeout { after: Duration::from_secs(30).into(), ..NextTimeout::default() };
            names.resolve(&url.parse().unwrap(), &Config::default(), timeout)
        };
        let found = resolve("https://127.0.0.1:8443/identity/token").unwrap();
        assert_eq!(found[..], ["127.0.0.1:8443".parse().unwrap()]);
        let found = resolve("https://[::1]/identity/token").unwrap();
        assert_eq!(found[..], ["[::1]:443".parse().unwrap()]);
        // 63 characters is the longest label: no name server is asked
        let url = format!("https://{}.example/v2", "x".repeat(64));
        assert!(matches!(resolve(&url), Err(Error::HostNotFound)));
        let place = format!("{}.example:443", "x".repeat(64));
        let address = "192.0.2.7:443".parse().unwrap();
        names.known().insert(place, vec![address]);
        assert_eq!(resolve(&url).unwrap()[..], [address]);
        names.forget();
        // it had addresses once: this may pass, so it is tried for longer
        assert!(matches!(resolve(&url), Err(Error::ConnectionFailed)));
    }
}
