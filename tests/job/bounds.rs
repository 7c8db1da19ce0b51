//! SIGTERM and DEADLINE end a run within seconds wherever it is, and the report is true: services and
//! peers that are silent or drip, pipes that nobody reads, threads that cannot be started.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use local_cloud::{FaultKind, route};
use serde_json::json;

use crate::harness::{PATIENCE, PROGRAM, Run, Scene, Start, TLS_SECRET, ended, terminate};
use crate::many::copies;

/// Above the promised 2 s, for a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// Above the promised 8 s while a write is in flight.
const WITH_A_WRITE: Duration = Duration::from_secs(12);
const NOW_AND_THEN: Duration = Duration::from_millis(50);

fn stuck() -> [FaultKind; 3] {
    [FaultKind::Silent, FaultKind::DripHead(NOW_AND_THEN), FaultKind::DripBody(NOW_AND_THEN)]
}

/// The run gets SIGTERM once `ready` says so, and ends in this time.
fn terminated(start: Start<'_>, bound: Duration, ready: impl FnOnce()) -> Run {
    let running = start.spawn();
    ready();
    let begin = Instant::now();
    terminate(&running.child);
    // a second one changes nothing
    terminate(&running.child);
    let run = running.finished();
    let took = begin.elapsed();
    assert!(took < bound, "{took:?}: {run:#?}");
    run
}

/// The run ends soon after its deadline.
fn limited(start: Start<'_>, deadline: u64) -> Run {
    let run = start.env("DEADLINE", deadline.to_string()).run();
    let duration = Duration::from_millis(run.report.duration_ms);
    assert!(duration < Duration::from_secs(deadline) + SOON, "{run:#?}");
    run
}

#[test]
fn a_run_whose_service_is_stuck_ends_and_says_where_it_was() {
    for (route, step) in [
        (route::TOKEN, "reading what is deployed"),
        (route::READ_TLS_SECRET, "reading what is deployed"),
        (route::READ_SECRET, "reading its certificate"),
    ] {
        for kind in stuck() {
            let scene = Scene::new();
            let before = scene.tls_secret();
            let fault = scene.fault(route, kind.clone());
            let struck = || fault.wait_struck(1, PATIENCE).unwrap();
            let by_signal = terminated(scene.start(), SOON, struck);
            let by_time = limited(scene.start(), 2);
            for (run, why) in
                [(by_signal, "interrupted by SIGTERM"), (by_time, "DEADLINE (2 s) exceeded")]
            {
                let target = run.refused(9, "interrupted");
                let told = format!("{why} while {step}; nothing was written");
                assert!(target.message.contains(&told), "{route} {kind:?}: {run:#?}");
                let from_is_known = route == route::READ_SECRET;
                assert_eq!(target.from.is_some(), from_is_known, "{run:#?}");
                assert!(run.report.retryable);
            }
            assert!(scene.tls_secret() == before && scene.writes().is_empty());
        }
    }
}

/// The answer to a write is worth a few seconds more; without it nothing can be said about the write.
#[test]
fn a_write_in_flight_ends_as_unknown() {
    for kind in stuck() {
        let scene = Scene::new();
        let fault = scene.fault(route::REPLACE_TLS_SECRET, kind.clone());
        let struck = || fault.wait_struck(1, PATIENCE).unwrap();
        let run = terminated(scene.start(), WITH_A_WRITE, struck);
        let target = run.refused(9, "interrupted");
        let told = "while a write was in flight: its outcome is unknown";
        assert!(target.message.contains(told), "{kind:?}: {run:#?}");
        assert!(target.from.is_some() && target.to.is_some(), "{run:#?}");
        assert_eq!(scene.writes().len(), 1, "{kind:?}");
    }
}

/// Applied, but answered with an error: the run ends before it could look.
#[test]
fn a_write_without_a_clear_answer_ends_as_unknown() {
    let scene = Scene::new();
    let write = scene.fault_once(route::REPLACE_TLS_SECRET, FaultKind::StatusAfter(503));
    // what keeps the next read from an answer
    let mut silent = None;
    let run = terminated(scene.start(), SOON, || {
        write.wait_struck(1, PATIENCE).unwrap();
        let fault = silent.insert(scene.fault(route::READ_TLS_SECRET, FaultKind::Silent));
        fault.wait_struck(1, PATIENCE).unwrap();
    });
    let target = run.refused(9, "interrupted");
    let told = "after a write without a clear answer: its outcome is unknown";
    assert!(target.message.contains(told), "{run:#?}");
    assert_eq!(scene.served(), scene.serial());
}

/// SIGTERM comes first, the answer second: the write is reported as what it is.
#[test]
fn a_write_that_is_answered_after_sigterm_is_reported() {
    let scene = Scene::new();
    let parked = scene.fault(route::REPLACE_TLS_SECRET, FaultKind::HoldAnswer);
    let running = scene.start().spawn();
    parked.wait_parked(1, PATIENCE).unwrap();
    let begin = Instant::now();
    terminate(&running.child);
    parked.release();
    let run = running.finished();
    assert!(begin.elapsed() < SOON, "{run:#?}");
    assert_eq!(run.target().action, "replaced", "{run:#?}");
    assert_eq!(scene.served(), scene.serial());
}

#[test]
fn a_restart_in_flight_ends_as_written_but_not_confirmed() {
    let scene = Scene::new();
    let environment = json!({ "run_env_variables": [
        { "type": "secret_full_reference", "reference": TLS_SECRET }
    ] });
    let project = &scene.world.project_id;
    scene.cloud.create_app(project, "shop", environment);
    let fault = scene.fault(route::PATCH_APP, FaultKind::Silent);
    let struck = || fault.wait_struck(1, PATIENCE).unwrap();
    let run = terminated(scene.start().env("RESTART_APPS", "shop"), WITH_A_WRITE, struck);
    let target = run.refused(10, "interrupted");
    assert_eq!(target.action, "replaced");
    for told in ["interrupted by SIGTERM", "shop"] {
        assert!(target.message.contains(told), "{run:#?}");
    }
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
        let start = || scene.start().env("IAM_URL", &url);
        let ready = || connected.recv_timeout(PATIENCE).unwrap();
        terminated(start(), SOON, ready).refused(9, "interrupted");
        // and without a signal the limit of a connection holds: the run lives to say so
        let run = limited(start(), 8);
        assert!(run.log.contains("cannot be reached within 5 s"), "{run:#?}");
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
    let start = scene.start().env("IAM_URL", format!("https://{address}"));
    limited(start, 2).refused(9, "interrupted");
}

/// A pipe that holds as much as it can.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'.'; 64 * 1024]).unwrap();
    (reader, writer)
}

/// Whatever is stuck, the run ends in time, and what it could still say is true.
#[test]
fn a_pipe_that_nobody_reads_does_not_hold_the_run() {
    const COUNT: usize = 80;
    for (unread, full, status, written) in [
        ("stdout", false, 0, COUNT),
        ("stdout", true, 0, COUNT),
        ("stderr", false, 0, COUNT),
        // not even the first line of the log can be written: nothing is begun
        ("stderr", true, 9, 0),
    ] {
        let (scene, targets) = copies(COUNT);
        let (deadline, bound) = match written {
            0 => ("2", Duration::from_secs(2) + SOON),
            _ => ("60", Duration::from_secs(60)),
        };
        let start = scene.start().targets(targets).env("DEADLINE", deadline);
        // one line of JSON for each target: more than a pipe holds
        let mut command = start.env("CE_JOBRUN", "run-1").command(PROGRAM);
        let (reader, writer) = match full {
            true => full_pipe(),
            false => std::io::pipe().unwrap(),
        };
        match unread {
            "stdout" => command.stdout(writer).stderr(Stdio::piped()),
            _ => command.stdout(Stdio::piped()).stderr(writer),
        };
        let begin = Instant::now();
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let row = format!("{unread}, full: {full}: {output:?}");
        assert!(begin.elapsed() < bound, "{row}");
        drop(reader);
        assert_eq!(output.status.code(), Some(status), "{row}");
        assert_eq!(scene.writes().len(), written, "{row}");
        if unread == "stderr" {
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let told = match written {
                0 => "DEADLINE (2 s) exceeded; the next run continues; ",
                _ => "80 replaced",
            };
            let message = report["message"].as_str().unwrap();
            assert!(message.starts_with(told), "{row}");
        } else {
            let log = String::from_utf8(output.stderr).unwrap();
            let replaced = |line: &&str| line.contains(r#""action":"replaced""#);
            assert_eq!(log.lines().filter(replaced).count(), COUNT, "{log}");
        }
    }
}

#[test]
fn sigterm_ends_a_run_whose_log_is_stuck() {
    let scene = Scene::new();
    let (reader, writer) = full_pipe();
    let mut command = scene.start().command(PROGRAM);
    let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
    // it waits in the kernel once it has begun to write
    let wchan = format!("/proc/{}/wchan", child.id());
    let waits = || std::fs::read_to_string(&wchan).unwrap().contains("pipe");
    let begin = Instant::now();
    while !waits() {
        let is_running = child.try_wait().unwrap().is_none();
        assert!(is_running && begin.elapsed() < PATIENCE, "it is not stuck");
        std::thread::yield_now();
    }
    let begin = Instant::now();
    terminate(&child);
    let status = child.wait().unwrap();
    assert!(begin.elapsed() < SOON);
    assert_eq!(status.code(), Some(9));
    drop(reader);
    assert!(scene.writes().is_empty());
}

/// Who read the log is gone: what the run does and reports stays the same.
#[test]
fn a_closed_log_changes_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let scene = Scene::new();
    let mut command = scene.start().command(PROGRAM);
    command.stdout(Stdio::piped()).stderr(writer);
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    ended(output, &[]).expect(0, "replaced");
}

/// Slower than the run, but not asleep.
#[test]
fn a_slow_reader_gets_the_whole_report() {
    let (scene, targets) = copies(40);
    let (mut reader, writer) = full_pipe();
    // only counts the writes
    let written = scene.fault(route::REPLACE_TLS_SECRET, FaultKind::Delay(Duration::ZERO));
    let start = scene.start().targets(targets).env("OUTPUT", "text");
    let mut command = start.command(PROGRAM);
    let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    let (_never, pause) = mpsc::channel::<()>();
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    written.wait_struck(40, PATIENCE).unwrap();
    while let Ok(bytes @ 1..) = reader.read(&mut piece) {
        text.extend_from_slice(&piece[..bytes]);
        let _time = pause.recv_timeout(NOW_AND_THEN);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let text = String::from_utf8(text).unwrap();
    let text = text.trim_start_matches('.');
    for n in 0..40 {
        assert!(text.contains(&format!("copy-{n}")), "{text}");
    }
}

/// A thread needs memory for its stack: with little left, only some can be started.
#[test]
fn work_is_done_by_the_threads_that_there_are() {
    let (scene, targets) = copies(12);
    let start = |limit: &str| {
        let start = scene.start().targets(&targets);
        let start = start.env("RUST_MIN_STACK", "268435456");
        let mut command = start.command("prlimit");
        command.args([&format!("--as={limit}"), PROGRAM]);
        ended(command.output().unwrap(), &[])
    };
    // not even the one that watches over the time: no request is made
    let run = start("200000000");
    let told = &run.rejected(1, "defect").message;
    assert!(told.contains("cannot watch for SIGTERM"), "{told}");
    assert!(scene.asked().is_empty());
    let run = start("1000000000");
    assert!(run.log.contains("cannot start one more thread"), "{run:#?}");
    run.says(0, "12 replaced");
    assert_eq!(run.report.targets.len(), 12);
}

#[test]
fn files_that_block_or_never_end_are_refused() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let large = folder.path().join("large");
    let file = std::fs::File::create(&large).unwrap();
    file.set_len(50 * 1024 * 1024).unwrap();
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
