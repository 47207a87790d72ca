//! `thalweg preview`: rows of any step from archives, nothing written, Ctrl-C.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;
use tempfile::TempDir;
use thalweg_kafka::{KafkaWriter, WriteRecord};
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::kafka::{broker, new_topic};
use crate::patience::{PATIENCE, in_time};

const PIPELINE: &str = r#"
pipeline: clicks
schemas:
  click: { fields: [{ name: at, type: timestamp, encoding: ms, required: true }, { name: who, type: string }] }
sources:
  clicks:
    archive: { path: archive }
    schema: click
    event_time: { field: at }
steps:
  per_minute: { from: clicks, window: { tumbling: 1m }, by: [who], select: { count: count(*) } }
sinks:
  out: { from: per_minute, parquet: {} }
"#;

// A thousand minutes of a row each, and one row that is none.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("clicks.yaml"), PIPELINE).expect("a file");
    let mut writer =
        ArchiveWriter::new(folder.path().join("archive"), ArchiveOptions::default()).expect("an archive");
    for minute in 0..1000 {
        let at = 1_772_452_800_000 + minute * 60_000;
        let value = format!(r#"{{"at": {at}, "who": "w{}"}}"#, minute % 3);
        writer.push(0, minute, at, None, Some(value.as_bytes()), &[]).expect("a record");
    }
    writer.push(0, 1000, 0, None, Some(b"{"), &[]).expect("a record");
    writer.finish().expect("an archive");
    folder
}

fn preview(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(["preview", "clicks.yaml"]).args(arguments).current_dir(folder).output().expect("thalweg")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn rows_of_a_source_and_of_a_window_as_they_come() {
    let folder = folder();
    let files = || {
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let out = preview(folder.path(), &["--step", "clicks", "--rows", "3"]);
    let expected = "at                    who\n2026-03-02T12:00:00Z  w0\n2026-03-02T12:01:00Z  w1\n2026-03-02T12:02:00Z  w2\n";
    assert_eq!(text(&out.stdout), expected, "{}", text(&out.stderr));
    assert!(text(&out.stderr).starts_with("3 rows; there may be more; "), "{}", text(&out.stderr));
    let out = preview(folder.path(), &["--step", "per_minute", "--rows", "5", "--format", "json"]);
    let rows: Vec<Json> =
        text(&out.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 5, "{}", text(&out.stderr));
    assert!(rows.iter().all(|row| row["count"] == 1 && row["window_start"].is_string()), "{rows:?}");
    assert_eq!(files(), before, "nothing is written");
}

#[test]
fn all_rows_where_there_are_fewer_and_the_account() {
    let folder = folder();
    let out = preview(folder.path(), &["--rows", "5000", "--workers", "3", "--format", "json"]);
    assert_eq!(text(&out.stdout).lines().count(), 1000);
    let said = "1,000 rows; the sources have ended; 1,001 rows were read, 0 of them late and 1 rejected\n";
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), said));
}

#[test]
fn what_is_not_there_is_said() {
    let folder = folder();
    let out = preview(folder.path(), &["--step", "per_minite"]);
    let said =
        "error: the pipeline has no source, step or sink \"per_minite\"; did you mean \"per_minute\"?\n";
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(2), said));
    fs::remove_dir_all(folder.path().join("archive")).expect("the archive");
    let out = preview(folder.path(), &[]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("archive"), "{}", text(&out.stderr));
}

#[test]
fn late_and_rejected_rows_can_be_looked_at() {
    let folder = folder();
    let mut writer =
        ArchiveWriter::new(folder.path().join("archive"), ArchiveOptions::default()).expect("an archive");
    let late = r#"{"at": 1772452800000, "who": "late"}"#;
    for (offset, value) in (1001..).zip([late, "[1]", late, r#"{"who": "w"}"#]) {
        writer.push(0, offset, 1_772_452_800_000, None, Some(value.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("an archive");
    let looked = |arguments: &[&str]| -> (Vec<(i64, String)>, String) {
        let out = preview(folder.path(), &[arguments, &["--format", "json"]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let row = |line: &str| {
            let row: Json = serde_json::from_str(line).expect("JSON");
            (row["offset"].as_i64().expect("an offset"), row["reason"].as_str().expect("a text").to_owned())
        };
        (text(&out.stdout).lines().map(row).collect(), text(&out.stderr).to_owned())
    };
    let expected =
        |rows: &[(i64, &str)]| rows.iter().map(|(at, why)| (*at, (*why).to_owned())).collect::<Vec<_>>();
    let rejected = expected(&[(1000, "invalid_json"), (1002, "not_an_object"), (1004, "missing_field")]);
    let (rows, said) = looked(&["--step", "_rejected"]);
    assert_eq!(rows, rejected);
    assert!(
        said.starts_with("3 rows; the sources have ended; 1,005 rows were read, 2 of them late"),
        "{said}"
    );
    let (rows, said) = looked(&["--step", "_late", "--workers", "2"]);
    assert_eq!(
        (rows, said.starts_with("2 rows; ")),
        (expected(&[(1001, "late"), (1003, "late")]), true),
        "{said}"
    );
    let (rows, said) = looked(&["--step", "_rejected", "--rows", "2"]);
    assert_eq!((rows.as_slice(), said.starts_with("2 rows; ")), (&rejected[..2], true), "{said}");
    let out = preview(folder.path(), &["--step", "_rejected", "--rows", "1"]);
    assert!(text(&out.stdout).starts_with("source  topic") && text(&out.stdout).lines().count() == 2);
    let out = preview(folder.path(), &["--step", "rejected"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("did you mean \"_rejected\"?"), "{}", text(&out.stderr));
}

#[test]
fn rejected_rows_of_a_topic_without_end_come_as_they_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "refused", 1);
    let kafka = format!("kafka: {{ topic: {topic}, brokers: \"{brokers}\" }}");
    let pipeline = PIPELINE.replace("archive: { path: archive }", &kafka);
    fs::write(folder.path().join("clicks.yaml"), pipeline).expect("a file");
    let mut writer = KafkaWriter::new(brokers, &BTreeMap::new()).expect("a writer");
    for value in ["{", "no", r#"{"at": 1}"#] {
        let (topic, value) = (topic.as_str(), Some(value.as_bytes()));
        let record =
            WriteRecord { topic, partition: 0, timestamp_ms: Some(1), key: None, value, headers: &[] };
        writer.write(record).expect("a record");
    }
    writer.flush(PATIENCE).expect("records that are there");
    let path = folder.path().to_owned();
    let out = in_time(move || preview(&path, &["--step", "_rejected", "--rows", "2"]));
    assert_eq!(text(&out.stdout).matches("invalid_json").count(), 2, "{}", text(&out.stderr));
    assert!(text(&out.stderr).starts_with("2 rows; there may be more; "), "{}", text(&out.stderr));
}

#[test]
fn whoever_closes_standard_output_ends_it() {
    let folder = folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(["preview", "clicks.yaml", "--rows", "1000000"]).current_dir(folder.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("thalweg");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("its end").code(), Some(0));
}

#[test]
fn a_topic_without_end_until_ctrl_c() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "preview", 2);
    let archive = "archive: { path: archive }";
    let kafka = format!("kafka: {{ topic: {topic}, brokers: \"{brokers}\" }}");
    fs::write(folder.path().join("clicks.yaml"), PIPELINE.replace(archive, &kafka)).expect("a file");
    let mut writer = KafkaWriter::new(brokers, &BTreeMap::new()).expect("a writer");
    for minute in 0..10_i64 {
        let at = 1_772_452_800_000 + minute * 60_000;
        let value = format!(r#"{{"at": {at}, "who": "w"}}"#);
        let (partition, value) = ((minute % 2) as i32, Some(value.as_bytes()));
        let record =
            WriteRecord { topic: &topic, partition, timestamp_ms: Some(at), key: None, value, headers: &[] };
        writer.write(record).expect("a record");
    }
    writer.flush(PATIENCE).expect("records that are there");
    let out = preview(folder.path(), &["--step", "clicks", "--rows", "7", "--format", "json"]);
    assert_eq!((out.status.code(), text(&out.stdout).lines().count()), (Some(0), 7), "{}", text(&out.stderr));

    // Eight windows are over, and the other two never are.
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(["preview", "clicks.yaml", "--rows", "100", "--format", "json"]).current_dir(folder.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("thalweg");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let first: Vec<String> =
        in_time(move || lines.by_ref().take(8).collect::<Result<_, _>>()).expect("eight lines");
    assert_eq!(first.len(), 8);
    kill(Pid::from_raw(child.id().try_into().expect("a number")), Signal::SIGINT).expect("it runs");
    let out = in_time(move || child.wait_with_output()).expect("its end");
    let said = text(&out.stderr).to_owned();
    assert!(out.status.success() && said.contains("there may be more; 10 rows were read"), "{said}");
}
