//! Checkpoints in S3, as a server from elsewhere speaks it: a job goes on from them, and a zombie writes nothing more.
//!
//! ```text
//!   moto (Python), on a free port ◀── AWS_ENDPOINT ── thalweg run ─▶ killed ─▶ run again ─▶ the rows of a job that nobody touched
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::binary::{Run, sink_rows};
use crate::patience::{holds_within, wait_until};
use crate::support::{Random, assert_same_rows, files};

const PIPELINE: &str = r#"
pipeline: stored
checkpoint: { interval: 100ms, every_rows: 2_000, keep: 3, STORAGE }
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: name, type: string }
      - { name: number, type: float64 }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
    schema: event
    event_time: { field: at, lateness: 2s }
steps:
  tumbling: { from: events, window: { tumbling: 10s }, by: [name], select: { events: count(*), total: sum(number) } }
  sessions: { from: events, window: { session: 700ms }, by: [name], select: { events: count(*), last: last_value(number) } }
sinks:
  tumbling: { from: tumbling, parquet: {} }
  sessions: { from: sessions, parquet: {} }
"#;
const SINKS: [&str; 4] = ["tumbling", "sessions", "_late", "_rejected"];
const STORAGE: &str = ", storage: \"${STORAGE}\"";
/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;
/// So many that they are not all read when the second checkpoint is made.
const EVENTS: i64 = 400_000;
/// The exit status of a run that a newer one has replaced.
const FENCED: i32 = 4;

fn write_events(folder: &Path) {
    let mut random = Random(3);
    let mut writer = ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("a folder");
    for offset in 0..EVENTS {
        let at = NOON_MS + offset * 5 - random.below(2100) as i64;
        let value = match random.below(300) {
            0 => "{".to_owned(),
            _ => format!("{{\"at\":{at},\"name\":\"n{}\",\"number\":{}}}", random.below(50), random.unit()),
        };
        writer.push(0, offset, at, None, Some(value.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("the archive");
}

/// A server that speaks S3, and has one bucket.
struct Server {
    child: Child,
    tls: bool,
    port: u16,
}

impl Server {
    fn start(folder: &Path, tls: bool) -> Server {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let python = root.join(target).join("python/bin/python");
        // Who else asks for a free port may get the same one: then the server ends, and tries another.
        for attempt in 0..5 {
            let free =
                TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr()).expect("a free port");
            let log_path = folder.join(format!("server-{attempt}.log"));
            let log = File::create(&log_path).expect("a log");
            let mut command = Command::new(&python);
            command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &free.port().to_string()]);
            command.args(tls.then_some("--ssl")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            let child = command.spawn().unwrap_or_else(|error| {
                panic!("{} does not start ({error}); run scripts/setup.sh test", python.display())
            });
            let mut server = Server { child, tls, port: free.port() };
            let mut ended = false;
            let ready = holds_within(Duration::from_secs(60), || {
                ended = server.child.try_wait().expect("a child").is_some();
                ended || TcpStream::connect(("127.0.0.1", server.port)).is_ok()
            });
            let said = || fs::read_to_string(&log_path).unwrap_or_default();
            assert!(
                ready && !said().contains("No module"),
                "run scripts/setup.sh test; the server said: {}",
                said()
            );
            if !ended {
                return server;
            }
        }
        panic!("the server finds no free port")
    }

    /// Makes the bucket, which needs no signature there.
    fn with_bucket(self) -> Server {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server");
        stream
            .write_all(
                b"PUT /bucket HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            )
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        self
    }

    fn environment(&self, path: &str) -> Vec<(&'static str, OsString)> {
        let scheme = if self.tls { "https" } else { "http" };
        let mut environment = vec![
            ("AWS_ENDPOINT", format!("{scheme}://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", "somebody".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("STORAGE", path.to_owned()),
        ];
        environment.push(match self.tls {
            true => ("AWS_ALLOW_INVALID_CERTIFICATES", "true".to_owned()),
            false => ("AWS_ALLOW_HTTP", "true".to_owned()),
        });
        environment.into_iter().map(|(name, value)| (name, value.into())).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run over the events, with checkpoints in a bucket, or in a folder.
fn run(folder: &Path, name: &str, server: Option<&Server>) -> Run {
    let pipeline = folder.join(format!("{name}.yaml"));
    let storage = if server.is_some() { STORAGE } else { "" };
    fs::write(&pipeline, PIPELINE.replace(", STORAGE", storage)).expect("a pipeline");
    let mut environment =
        server.map_or_else(Vec::new, |server| server.environment(&format!("s3://bucket/jobs/{name}")));
    environment.push(("ARCHIVES", folder.into()));
    Run { environment, workers: 2, ..Run::new(&pipeline, &folder.join(name)) }
}

fn assert_same_outputs(what: &str, found: &Path, undisturbed: &Path) {
    for sink in SINKS {
        let expected = sink_rows(undisturbed, sink);
        assert!(!expected.is_empty(), "{sink}: nothing to compare");
        assert_same_rows(&format!("{what}: {sink}"), &sink_rows(found, sink), &expected);
    }
}

/// What `thalweg checkpoints` lists of a run's job.
fn checkpoints(run: &Run) -> Vec<Json> {
    let output = Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .args(["checkpoints", "--format", "json"])
        .arg(&run.pipeline)
        .arg("--output")
        .arg(&run.output)
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_job_that_was_killed_goes_on_from_a_bucket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path());
    let undisturbed = run(folder.path(), "undisturbed", None);
    undisturbed.to_the_end();
    let server = Server::start(folder.path(), false).with_bucket();
    let stored = run(folder.path(), "stored", Some(&server));

    // With two checkpoints there, it waits before it makes the third.
    let mut killed =
        Run { failpoints: "checkpoint::before_manifest=2*off->pause".to_owned(), ..stored.clone() }.start();
    wait_until("two checkpoints", || killed.log().matches("checkpoint made").count() == 2);
    killed.kill();
    let numbers: Vec<u64> =
        checkpoints(&stored).iter().filter_map(|manifest| manifest["number"].as_u64()).collect();
    assert_eq!(numbers, [1, 2]);
    // Another one dies with a manifest that nobody has published.
    let mut crashed =
        Run { failpoints: "checkpoint::after_manifest=return".to_owned(), workers: 3, ..stored.clone() }
            .start();
    let status = crashed.end();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{}", crashed.log());
    assert!(crashed.log().contains("goes on from checkpoint 2"), "{}", crashed.log());

    let said = stored.to_the_end();
    assert!(said.contains("goes on from checkpoint 3"), "{said}");
    assert_same_outputs("killed", &stored.output, &undisturbed.output);
    // But for the lock of a run that begins.
    let here = files(&stored.output.join("_checkpoints"));
    assert_eq!(
        here,
        [stored.output.join("_checkpoints/.starting")],
        "there are checkpoints in the folder too"
    );
    let left = checkpoints(&stored);
    assert_eq!(left.len(), 3, "those that are kept: {left:?}");
    assert_eq!(left[2]["finished"], Json::Bool(true));
}

#[test]
fn a_zombie_finds_its_place_in_the_bucket_taken() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path());
    let undisturbed = run(folder.path(), "undisturbed", None);
    undisturbed.to_the_end();
    let server = Server::start(folder.path(), false).with_bucket();
    let stored = run(folder.path(), "stored", Some(&server));
    // From its second checkpoint on it takes its time, so that it is stopped in the midst of one.
    let slow =
        Run { failpoints: "checkpoint::before_manifest=1*off->sleep(3000)".to_owned(), ..stored.clone() };
    let mut zombie = slow.start();
    wait_until("a checkpoint", || zombie.log().contains("checkpoint made"));
    zombie.signal(Signal::SIGSTOP);
    stored.to_the_end();
    let before = checkpoints(&stored);
    zombie.signal(Signal::SIGCONT);
    let status = zombie.end();
    assert_eq!(status.code(), Some(FENCED), "{}", zombie.log());
    assert!(zombie.log().contains("a newer run has taken over"), "{}", zombie.log());
    assert_eq!(checkpoints(&stored), before, "the zombie has left something");
    assert_same_outputs("beside a zombie", &stored.output, &undisturbed.output);
}

#[test]
fn buckets_are_reached_by_tls_and_missing_ones_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path());
    let server = Server::start(folder.path(), true);
    let stored = run(folder.path(), "stored", Some(&server));
    let mut running = stored.start();
    assert_eq!(running.end().code(), Some(1), "{}", running.log());
    let log = running.log();
    assert!(log.contains("s3://bucket/jobs/stored: there is no bucket bucket; make it first"), "{log}");

    // Whose certificate nobody has signed is nobody to talk to.
    let mut distrusting = stored.clone();
    distrusting.environment.retain(|(name, _)| *name != "AWS_ALLOW_INVALID_CERTIFICATES");
    let mut running = distrusting.start();
    assert_eq!(running.end().code(), Some(1), "{}", running.log());
    assert!(running.log().contains("certificate"), "{}", running.log());
}
