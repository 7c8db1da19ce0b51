//! SIGTERM and DEADLINE end a run within seconds wherever it is: services and peers that are silent,
//! or that send a byte now and then.
//!
//! The report says who ended the run, so these tests need no stop-watch: without our own slices each
//! of them would end as a failure of the service, after its 30 s or never.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use local_cloud::{Fault, FaultKind, route};

use crate::harness::{PATIENCE, PROGRAM, Run, Scene, Start};

/// Far above the promised 2 s (8 s while a write is in flight), far below the 30 s of a call.
const BOUND_MS: u64 = 20_000;
const NOW_AND_THEN: Duration = Duration::from_millis(50);

/// A run that is still going on.
struct Running {
    child: Child,
    secrets: Vec<String>,
}

impl Running {
    fn start(scene: &Scene, start: &Start<'_>) -> Self {
        let child = Command::new(PROGRAM)
            .env_clear()
            .envs(&start.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let secrets = scene.cloud.secrets_in_use();
        Self { child, secrets }
    }

    /// Sends SIGTERM and waits for the end.
    fn terminated(self) -> Run {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        self.finished()
    }

    fn finished(self) -> Run {
        let output = self.child.wait_with_output().unwrap();
        let run = Run::checked(
            output.status.code(),
            &String::from_utf8(output.stdout).unwrap(),
            &String::from_utf8(output.stderr).unwrap(),
            &self.secrets,
        );
        assert!(run.report.duration_ms < BOUND_MS, "{run:#?}");
        run
    }
}

fn stuck() -> [FaultKind; 3] {
    [
        FaultKind::Silent,
        FaultKind::DripHead(NOW_AND_THEN),
        FaultKind::DripBody(NOW_AND_THEN),
    ]
}

const READS: [&str; 3] = [route::TOKEN, route::READ_TLS_SECRET, route::READ_SECRET];

#[test]
fn sigterm_ends_a_run_whose_service_is_stuck() {
    for route in READS {
        for kind in stuck() {
            let scene = Scene::new();
            let before = scene.tls_secret();
            let fault = scene.cloud.fault(Fault::on(route, kind.clone()));
            let running = Running::start(&scene, &scene.start());
            fault.wait_struck(1, PATIENCE).unwrap();
            let run = running.terminated();
            let target = run.refused(9, "interrupted");
            assert!(
                target.message.contains("interrupted by SIGTERM"),
                "{route} {kind:?}: {run:#?}"
            );
            assert!(run.report.retryable);
            assert!(scene.tls_secret() == before && scene.writes().is_empty());
        }
    }
}

#[test]
fn the_deadline_ends_a_run_whose_service_is_stuck() {
    for route in READS {
        for kind in stuck() {
            let scene = Scene::new();
            let _fault = scene.cloud.fault(Fault::on(route, kind.clone()));
            let run = scene.start().env("DEADLINE", "2").run();
            let target = run.refused(9, "interrupted");
            assert!(
                target.message.contains("DEADLINE (2 s) exceeded"),
                "{route} {kind:?}: {run:#?}"
            );
            assert!(run.report.duration_ms < BOUND_MS, "{run:#?}");
        }
    }
}

/// The answer to a write is worth a few seconds more; without it nothing can be said about the write.
#[test]
fn a_write_in_flight_ends_as_unknown() {
    for kind in stuck() {
        let scene = Scene::new();
        let fault = Fault::on(route::REPLACE_TLS_SECRET, kind.clone());
        let fault = scene.cloud.fault(fault);
        let running = Running::start(&scene, &scene.start());
        fault.wait_struck(1, PATIENCE).unwrap();
        let run = running.terminated();
        let target = run.refused(9, "interrupted");
        assert!(
            target.message.contains("outcome is unknown"),
            "{kind:?}: {run:#?}"
        );
        assert_eq!(scene.writes().len(), 1, "{kind:?}");
    }
}

/// SIGTERM comes first, the answer second: the write is reported as what it is.
#[test]
fn a_write_that_is_answered_after_sigterm_is_reported() {
    let scene = Scene::new();
    let fault = Fault::on(route::REPLACE_TLS_SECRET, FaultKind::HoldAnswer);
    let parked = scene.cloud.fault(fault);
    let running = Running::start(&scene, &scene.start());
    parked.wait_parked(1, PATIENCE).unwrap();
    let pid = running.child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    parked.release();
    let run = running.finished();
    let target = run.target();
    assert_eq!(target.action, "replaced", "{run:#?}");
    assert_eq!(scene.served(), scene.serial());
}

/// What a peer does that should begin a TLS handshake.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Silent,
    /// A record that never ends, byte by byte.
    Drips,
}

/// Accepts connections; the receiver hears of each. The thread ends with the process of the tests.
fn peer(kind: Peer) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _gone = sender.send(());
            std::thread::spawn(move || serve(kind, client));
        }
    });
    (url, receiver)
}

fn serve(kind: Peer, mut client: TcpStream) {
    // the head of a TLS record of 16 KiB with a handshake message
    let mut bytes = vec![22, 3, 3, 0x40, 0];
    bytes.resize(16 * 1024, 2);
    if let Peer::Drips = kind {
        client.set_read_timeout(Some(NOW_AND_THEN)).unwrap();
        for byte in bytes {
            // the pause between two bytes; an error means that nothing came
            let _hello = client.read(&mut [0; 1024]);
            if client.write_all(&[byte]).is_err() {
                return;
            }
        }
    }
    // until the client goes
    let _ended = std::io::copy(&mut client, &mut std::io::sink());
}

#[test]
fn a_handshake_that_never_ends_is_cut() {
    for kind in [Peer::Silent, Peer::Drips] {
        let scene = Scene::new();
        let (url, connected) = peer(kind);
        let running = Running::start(&scene, &scene.start().env("IAM_URL", &url));
        connected.recv_timeout(PATIENCE).unwrap();
        let run = running.terminated();
        run.refused(9, "interrupted");
        // and without a signal the limit of a connection holds: the run lives to say so
        let run = scene
            .start()
            .env("IAM_URL", &url)
            .env("DEADLINE", "8")
            .run();
        assert!(run.log.contains("cannot be reached within 5 s"), "{run:#?}");
        assert!(run.report.duration_ms < BOUND_MS, "{run:#?}");
    }
}

/// No address answers at all: a full backlog drops what comes.
#[test]
fn a_connection_that_is_never_made_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // nobody accepts: at some point the next one is not answered any more
    let mut waiting = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(client);
    }
    let scene = Scene::new();
    let run = scene
        .start()
        .env("IAM_URL", format!("https://{address}"))
        .env("DEADLINE", "2")
        .run();
    run.refused(9, "interrupted");
    assert!(run.report.duration_ms < BOUND_MS, "{run:#?}");
}

#[test]
fn files_that_block_or_never_end_are_refused() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let large = folder.path().join("large");
    std::fs::File::create(&large)
        .unwrap()
        .set_len(50 * 1024 * 1024)
        .unwrap();
    for (path, why) in [
        (pipe.as_path(), "not a regular file"),
        (folder.path(), "not a regular file"),
        (std::path::Path::new("/dev/zero"), "not a regular file"),
        (large.as_path(), "larger than"),
    ] {
        let path = path.display().to_string();
        let run = scene.start().env("CR_TOKEN_FILENAME", &path).run();
        let target = run.refused(4, "token-missing");
        assert!(target.message.contains(why), "{run:#?}");
        let run = scene.start().env("SSL_CERT_FILE", &path).run();
        let error = run.rejected(2, "configuration");
        assert!(error.message.contains(why), "{run:#?}");
    }
}
