//! A network between a client and servers on the same machine: `relay RTT-MILLISECONDS ADDRESS...`
//! listens once per address on ports that the system chooses and prints them in one line. For each
//! line on standard input it prints connections and bytes (both ways) since the last; at the end of
//! standard input it ends.
//!
//! Every byte arrives half a round trip after it was sent. A connection on loopback stands at
//! once, where TCP needs a round trip first; so the client's first bytes are held back as if they
//! had been sent one round trip after the connect. Bandwidth and loss are not imitated.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]
#![allow(clippy::disallowed_methods, reason = "waiting is its work")]

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let rtt = words.next();
    let rtt = rtt.context("usage: relay RTT-MILLISECONDS ADDRESS...")?;
    let rtt = Duration::from_millis(rtt.parse().context("RTT-MILLISECONDS")?);
    let mut ports = Vec::new();
    for address in words {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        ports.push(listener.local_addr()?.port().to_string());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // a server that is not there: the client sees a closed connection
                let _ = connect(client, &address, rtt);
            }
        });
    }
    println!("{}", ports.join(" "));
    for line in io::stdin().lock().lines() {
        line?;
        let [connections, bytes] = [&CONNECTIONS, &BYTES].map(|n| n.swap(0, Ordering::Relaxed));
        println!(r#"{{"connections": {connections}, "bytes": {bytes}}}"#);
    }
    Ok(())
}

fn connect(client: TcpStream, address: &str, rtt: Duration) -> io::Result<()> {
    let established = Instant::now() + rtt;
    let server = TcpStream::connect(address)?;
    CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    one_way(from, to, established, rtt / 2);
    one_way(server, client, established, rtt / 2);
    Ok(())
}

/// Carries bytes one way. What is read before `established` counts as sent then.
fn one_way(mut from: TcpStream, mut to: TcpStream, established: Instant, delay: Duration) {
    let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            BYTES.fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::Relaxed);
            let due = Instant::now().max(established) + delay;
            let piece = buffer.get(..length).unwrap_or_default().to_vec();
            if send.send((due, piece)).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in receive {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
