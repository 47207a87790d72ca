//! Topics become archives and archives topics, row for row, whatever happens in between.
//!
//! ```text
//!   topic ──record: killed, gone on with──▶ archive ──run──▶ the rows of a job over the topic
//!                                              │ to-kafka: killed, gone on with
//!                                              ▼
//!                                            topic ──record──▶ archive: the same records
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thalweg_kafka::{KafkaConfig, KafkaPlan, KafkaWriter, Position, WriteRecord};
use thalweg_operators::source::archive::ArchiveConfig;
use thalweg_operators::source::{Header, ReadRequest, Record, SplitReader};

use crate::binary::LIMIT;
use crate::patience::{PATIENCE, holds_within, wait_until};

mod commands;
mod play;
mod record;
mod verify;

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

/// A record, whole: its partition and offset first.
type Row = (i32, i64, String);

fn row(partition: i32, record: &Record<'_>) -> Row {
    let bytes = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.escape_ascii().to_string());
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| (*name, bytes(*value))).collect();
    let content =
        format!("{:?} {:?} {:?} {headers:?}", record.timestamp_us, bytes(record.key), bytes(record.value));
    (partition, record.offset, content)
}

fn rows_of(mut reader: impl SplitReader, what: &str) -> Vec<Row> {
    let partitions: Vec<i32> = reader.splits().iter().map(|split| split.partition).collect();
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    let mut rows = Vec::new();
    let ended = holds_within(PATIENCE, || {
        let wait = Duration::from_millis(100);
        let request = ReadRequest { bytes_max: usize::MAX, records_max: 10_000, wait, order: &order };
        let progress = reader.read(request, &mut |record| rows.push(row(partitions[record.split], &record)));
        let progress = progress.unwrap_or_else(|error| panic!("{what}: {error}"));
        order.retain(|split| !progress.ended.contains(split));
        order.is_empty()
    });
    assert!(ended, "{what} has no end");
    rows.sort();
    rows
}

/// All records of an archive.
fn archived(folder: &Path) -> Vec<Row> {
    let config = ArchiveConfig {
        source_name: "test".into(),
        path: folder.into(),
        topic: None,
        headers: true,
        decoded: None,
    };
    let plan = config.resolve().unwrap_or_else(|error| panic!("{error}"));
    rows_of(plan.reader(0, 1).expect("an archive"), &folder.display().to_string())
}

fn topic_plan(brokers: &str, topic: &str, isolation: &str) -> KafkaPlan {
    let mut config = KafkaConfig::new("test", brokers, [topic]);
    (config.end, config.headers) = (Some(Position::Latest), true);
    config.properties.insert("isolation.level".to_owned(), isolation.to_owned());
    config.resolve(PATIENCE).unwrap_or_else(|error| panic!("{error}"))
}

/// All committed records of a topic.
fn in_topic(brokers: &str, topic: &str) -> Vec<Row> {
    rows_of(topic_plan(brokers, topic, "read_committed").reader(0, 1).expect("a reader"), topic)
}

/// The same, once all transactions are decided: after a commit is promised, the partitions learn of it one by one.
fn settled(brokers: &str, topic: &str) -> Vec<Row> {
    let ends = |isolation| -> Vec<_> {
        topic_plan(brokers, topic, isolation).splits().iter().map(|split| split.end).collect()
    };
    wait_until("no transaction is open", || ends("read_committed") == ends("read_uncommitted"));
    in_topic(brokers, topic)
}

/// Writes records of all kinds: with and without keys, values, headers; times that go to and fro.
fn fill(brokers: &str, topic: &str, partitions: i32, numbers: std::ops::Range<i64>) {
    let mut writer = KafkaWriter::new(brokers, &Default::default()).expect("a writer");
    for number in numbers {
        let key = format!("key {}", number % 40).into_bytes();
        let value = format!("{{\"number\":{number},\"pad\":\"{}\"}}", "x".repeat((number % 90) as usize));
        let trace = number.to_le_bytes();
        let headers: &[Header<'_>] = match number % 5 {
            0 => &[("trace", Some(trace.as_slice())), ("none", None), ("trace", Some(b""))],
            _ => &[],
        };
        let record = WriteRecord {
            topic,
            partition: (number % i64::from(partitions)) as i32,
            timestamp_ms: Some(NOON_MS + number * 10 - (number % 7) * 3),
            key: (number % 3 > 0).then_some(key.as_slice()),
            value: (number % 11 > 0).then_some(value.as_bytes()),
            headers,
        };
        writer.write(record).expect("a record is taken");
    }
    writer.flush(PATIENCE).expect("the records are acknowledged");
}

/// Fails with the first rows that differ.
fn assert_same(what: &str, left: &[Row], right: &[Row]) {
    let differing = left.iter().zip(right).find(|(left, right)| left != right);
    assert!(differing.is_none(), "{what}: {differing:?}");
    assert_eq!(left.len(), right.len(), "{what}: rows");
}

/// The same without offsets, which a topic gives by itself.
fn without_offsets(rows: &[Row]) -> Vec<(i32, &str)> {
    rows.iter().map(|(partition, _, content)| (*partition, content.as_str())).collect()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.arg("archive").args(arguments).env_remove("RUST_LOG").env_remove("KAFKA_BROKERS");
    command.env("FAILPOINTS", "").stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
fn ran(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs the binary to an end that has to be a good one.
fn done(arguments: &[&str]) -> String {
    let output = ran(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs the binary to an error, which has to say all of this.
fn refused(arguments: &[&str], hints: &[&str]) {
    let output = ran(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
    for hint in hints {
        assert!(said(&output).contains(hint), "{arguments:?} does not say {hint}: {}", said(&output));
    }
}

/// The binary beside the test; killed with it.
struct Beside {
    child: Child,
}

impl Beside {
    fn start(arguments: &[&str]) -> Beside {
        let mut command = command(arguments);
        Beside { child: command.stdout(Stdio::null()).spawn().expect("the binary starts") }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().expect("a process's number"));
        kill(id, signal).expect("a process that was not waited for");
    }

    fn end(&mut self) -> ExitStatus {
        assert!(holds_within(LIMIT, || self.ended().is_some()), "it does not end");
        self.ended().expect("an end")
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The files of an archive that readers see, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    if folder.exists() {
        thalweg_operators::source::archive::list(folder).expect("a folder")
    } else {
        Vec::new()
    }
}

/// Files that a killed recorder has left.
fn left_overs(folder: &Path) -> usize {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".tmp")).count()
}
