//! Names, connections and bytes on the wire, each of which ends when the run does.
//!
//! Belongs here: everything that may block in the network. The operating system's own calls block
//! until a peer moves; here they return several times per second to check [`Stop`], so that a silent
//! peer, or one that sends a byte now and then, cannot hold the run. Does not: TLS, HTTP, and what is
//! said over a connection.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::stop::Stop;

/// How long a read or a write blocks before the end of the run is checked.
const SLICE: Duration = Duration::from_millis(200);
/// How long one attempt to connect blocks. A second packet is sent after it, as the kernel would do
/// (RFC 6298 section 2.1: after one second), so short attempts lose nothing.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long the answer to a write is still awaited after the run should have ended: knowing it is
/// worth more than these seconds.
const GRACE: Duration = Duration::from_secs(5);

thread_local! {
    static WRITE_IN_FLIGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `request`, which changes something at a service, on this thread: while it is in flight, the
/// end of the run is [`GRACE`] later. The HTTP library hands nothing of a request down to its
/// connection, but uses it on the thread of the request.
pub(crate) fn as_write<R>(request: impl FnOnce() -> R) -> R {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            WRITE_IN_FLIGHT.set(false);
        }
    }
    let _over = Over;
    WRITE_IN_FLIGHT.set(true);
    request()
}

/// The instant `limit` from now.
fn after(limit: Duration) -> Instant {
    // far enough for everything, and no overflow
    const EVER: Duration = Duration::from_secs(24 * 60 * 60);
    Instant::now() + limit.min(EVER)
}

/// Fails when the run is over.
fn check(stop: &Stop) -> io::Result<()> {
    match stop.over_for() {
        None => Ok(()),
        Some(over) if WRITE_IN_FLIGHT.get() && over < GRACE => Ok(()),
        Some(_) => Err(io::Error::other("the run is over")),
    }
}

/// Fails when the run is over, and when `end` has passed.
fn check_both(stop: &Stop, end: Instant) -> io::Result<()> {
    check(stop)?;
    if Instant::now() < end {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
}

/// The network as one run uses it. The name service is asked once per host and run, on one thread of
/// its own, since the system's call can neither be interrupted nor bounded.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    names: Arc<Names>,
    stop: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Names {
    hosts: Mutex<HashMap<String, Found>>,
    changed: Condvar,
}

#[derive(Clone, Debug)]
enum Found {
    Pending,
    Addresses(Arc<[IpAddr]>),
    Failed,
}

impl Network {
    pub(crate) fn new(stop: Arc<Stop>) -> Self {
        Self {
            names: Arc::default(),
            stop,
        }
    }

    /// The addresses of `host` (a name, or an address, an IPv6 one with or without brackets), with
    /// this port.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the name has no address, [`io::ErrorKind::TimedOut`] after
    /// `limit`; and when the run is over.
    pub(crate) fn look_up(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        let bare = host.trim_matches(['[', ']']);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let end = after(limit);
        let mut hosts = lock(&self.names.hosts);
        // a failed look-up is repeated by the next caller
        if matches!(hosts.get(bare), None | Some(Found::Failed)) {
            self.ask(bare.to_owned())?;
            hosts.insert(bare.to_owned(), Found::Pending);
        }
        loop {
            match hosts.get(bare) {
                Some(Found::Addresses(addresses)) => {
                    let with_port = |address: &IpAddr| SocketAddr::new(*address, port);
                    return Ok(addresses.iter().map(with_port).collect());
                }
                Some(Found::Pending) => {}
                Some(Found::Failed) | None => {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
                }
            }
            check_both(&self.stop, end)?;
            hosts = self
                .names
                .changed
                .wait_timeout(hosts, SLICE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Connects to one of the addresses, trying one after another, again and again, for `limit`; what
    /// is sent and received then must also fit into it, until [`Stream::ends_in`] says otherwise.
    ///
    /// # Errors
    /// The last one.
    pub(crate) fn reach(&self, addresses: &[SocketAddr], limit: Duration) -> io::Result<Stream> {
        let end = after(limit);
        let mut open: Vec<SocketAddr> = addresses.to_vec();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        while !open.is_empty() {
            let mut silent = Vec::new();
            for address in open {
                check_both(&self.stop, end)?;
                let left = end.saturating_duration_since(Instant::now());
                let time = left.min(ATTEMPT).max(Duration::from_millis(1));
                match TcpStream::connect_timeout(&address, time) {
                    Ok(tcp) => return Stream::new(tcp, end, &self.stop),
                    Err(e) => {
                        // an address that refuses will not change its mind within seconds
                        if e.kind() == io::ErrorKind::TimedOut {
                            silent.push(address);
                        }
                        last = e;
                    }
                }
            }
            open = silent;
        }
        Err(last)
    }

    /// Asks the name service again next time: the host may have moved, as in a fail-over.
    pub(crate) fn forget(&self, host: &str) {
        let mut hosts = lock(&self.names.hosts);
        let bare = host.trim_matches(['[', ']']);
        if matches!(hosts.get(bare), Some(Found::Addresses(_))) {
            hosts.remove(bare);
        }
    }

    fn ask(&self, host: String) -> io::Result<()> {
        let known = Arc::clone(&self.names);
        // not joined: it may hang in the name service beyond the end of the run
        thread::Builder::new().spawn(move || {
            let found = match (host.as_str(), 0).to_socket_addrs() {
                Ok(addresses) => {
                    let mut unique: Vec<IpAddr> = Vec::new();
                    for address in addresses.map(|address| address.ip()) {
                        if !unique.contains(&address) {
                            unique.push(address);
                        }
                    }
                    Found::Addresses(unique.into())
                }
                Err(_) => Found::Failed,
            };
            lock(&known.hosts).insert(host, found);
            known.changed.notify_all();
        })?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A TCP connection. Reading and writing fail when the run is over, and after the time that
/// [`Stream::ends_in`] set.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    stop: Arc<Stop>,
    end: Instant,
}

impl Stream {
    fn new(tcp: TcpStream, end: Instant, stop: &Arc<Stop>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(SLICE))?;
        tcp.set_write_timeout(Some(SLICE))?;
        let stop = Arc::clone(stop);
        Ok(Self { tcp, stop, end })
    }

    /// Sets the time that is left for what is sent and received from now on.
    pub(crate) fn ends_in(&mut self, limit: Duration) {
        self.end = after(limit);
    }

    /// Whether the peer has neither closed an idle connection nor sent anything.
    pub(crate) fn is_idle(&self) -> bool {
        let waits = |tcp: &TcpStream| {
            tcp.set_nonblocking(true)?;
            let waits =
                matches!(tcp.peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            tcp.set_nonblocking(false)?;
            io::Result::Ok(waits)
        };
        waits(&self.tcp).unwrap_or(false)
    }

    /// Repeats an operation that blocks for one slice, until it moves or the time is over.
    fn in_slices(
        &self,
        mut operation: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            check_both(&self.stop, self.end)?;
            match operation(&self.tcp) {
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) => {}
                result => return result,
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_slices(|mut tcp| tcp.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_slices(|mut tcp| tcp.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn network() -> (Network, Arc<AtomicBool>) {
        let terminated = Arc::new(AtomicBool::new(false));
        let stop = Stop::new(Instant::now(), 3600, Arc::clone(&terminated));
        (Network::new(Arc::new(stop)), terminated)
    }

    fn known(network: &Network, host: &str, found: Found) {
        lock(&network.names.hosts).insert(host.to_owned(), found);
    }

    #[test]
    fn the_name_service_is_asked_once() {
        let (network, _) = network();
        let addresses: [IpAddr; 1] = ["192.0.2.7".parse().unwrap()];
        // a name that no name service knows (RFC 6761 section 6.4)
        known(&network, "shop.invalid", Found::Addresses(addresses.into()));
        let found = network.look_up("shop.invalid", 443, LONG).unwrap();
        assert_eq!(found, ["192.0.2.7:443".parse().unwrap()]);
        network.forget("shop.invalid");
        assert!(network.look_up("shop.invalid", 443, LONG).is_err());
        let literal = network.look_up("[::1]", 8443, LONG).unwrap();
        assert_eq!(literal, ["[::1]:8443".parse().unwrap()]);
    }

    #[test]
    fn a_name_service_that_hangs_is_not_awaited() {
        let (network, terminated) = network();
        known(&network, "hangs.invalid", Found::Pending);
        let look_up = |limit| network.look_up("hangs.invalid", 443, limit).unwrap_err();
        let error = look_up(Duration::from_millis(300));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        terminated.store(true, Ordering::Relaxed);
        assert_eq!(look_up(LONG).to_string(), "the run is over");
        // a write in flight has a little more time
        let error = as_write(|| look_up(Duration::from_millis(300)));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn bytes_that_drip_do_not_extend_the_limit() {
        let (network, terminated) = network();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let (mut client, _) = listener.accept().unwrap();
                client.set_read_timeout(Some(SLICE / 4)).unwrap();
                while client.write_all(b".").is_ok() {
                    // the pause between two bytes; it ends when the client goes
                    if matches!(client.read(&mut [0]), Ok(0)) {
                        break;
                    }
                }
            });
            let mut stream = network.reach(&[address], LONG).unwrap();
            let mut buffer = [0; 1000];
            stream.ends_in(SLICE * 3);
            let error = stream.read_exact(&mut buffer).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            stream.ends_in(LONG);
            terminated.store(true, Ordering::Relaxed);
            let error = stream.read_exact(&mut buffer).unwrap_err();
            assert_eq!(error.to_string(), "the run is over");
        });
    }
}
