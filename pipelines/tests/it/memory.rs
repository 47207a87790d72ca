//! Memory stays bounded where a sink takes next to nothing, and where nearly all rows belong to one key; and the job says what it
//! waits for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::patience::{PATIENCE, holds_within};
use crate::support::Random;

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;
const ROWS: i64 = 200_000;
const ROW_BYTES: usize = 2_000;
const MIB: u64 = 1 << 20;
/// What the binary takes before it has read a row, and what nobody counts, at most.
const BESIDE: u64 = 150 * MIB;

/// Four hundred megabytes of events in four partitions, nine of ten of one user.
fn write_events(folder: &Path) {
    let mut random = Random(3);
    let mut writer = ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("a folder");
    for i in 0..ROWS {
        let user = if random.below(10) > 0 { "hot".to_owned() } else { format!("u{}", random.below(50_000)) };
        let at = NOON_MS + i * 20;
        let text: String = (0..ROW_BYTES / 16).map(|_| format!("{:016x}", random.next())).collect();
        let value = format!("{{\"at\": {at}, \"user\": \"{user}\", \"text\": \"{text}\"}}");
        writer.push((i % 4) as i32, i / 4, at, None, Some(value.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("the archive");
}

fn write_pipeline(folder: &Path, rest: &str) -> PathBuf {
    let text = format!(
        r#"
pipeline: memory
schemas:
  event:
    fields:
      - {{ name: at, type: timestamp, encoding: ms, required: true }}
      - {{ name: user, type: string, required: true }}
      - {{ name: text, type: string, required: true }}
sources:
  events:
    archive: {{ path: "{}" }}
    schema: event
    event_time: {{ field: at }}
memory: 128MiB
{rest}"#,
        folder.join("events").display()
    );
    let path = folder.join("pipeline.yaml");
    fs::write(&path, text).expect("a pipeline");
    path
}

fn start(pipeline: &Path, workers: usize) -> Child {
    Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .arg("run")
        .arg(pipeline)
        .args(["--output", &pipeline.with_extension("output").display().to_string()])
        .args(["--workers", &workers.to_string(), "--format", "json"])
        .env_remove("RUST_LOG")
        // What the job holds is meant, and not what the allocator has been given back and keeps for a moment: that comes and goes by chance.
        .env("MIMALLOC_PURGE_DELAY", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// The most memory that a process has held, bytes.
fn peak(process: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024
}

#[test]
fn a_sink_that_takes_next_to_nothing_holds_back_the_reading_and_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path());
    let pipeline = write_pipeline(
        folder.path(),
        "sinks:\n  slow: { from: events, stdout: {} }\n  files: { from: events, parquet: {} }\n",
    );
    let mut process = start(&pipeline, 2);
    let mut rows = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let said = BufReader::new(process.stderr.take().expect("a pipe")).lines();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || said.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    // A row for every line that the job says: one in some seconds.
    let mut waits = false;
    let named = holds_within(PATIENCE, || {
        if let Ok(line) = told.try_recv() {
            let _ = rows.next();
            waits |= line.contains("waits for sink slow");
        }
        waits
    });
    let peak = peak(&process);
    let _ = process.kill();
    let _ = process.wait();
    assert!(named, "nothing was said of the sink that holds back the job");
    assert!(peak < 128 * MIB + BESIDE, "{} MiB for a job that may take 128", peak / MIB);
}

#[test]
fn a_key_that_holds_nearly_all_rows_takes_no_more_memory_than_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path());
    let pipeline = write_pipeline(
        folder.path(),
        "steps:
  users: { from: events, window: { session: 1m }, by: [user], select: { events: count(*), longest: max(length(text)), few: \"array_agg(text, 3)\" } }
sinks:
  users: { from: users, parquet: {} }
  events: { from: events, parquet: {} }
",
    );
    let process = start(&pipeline, 4);
    let output = process.wait_with_output().expect("a job that ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Json = serde_json::from_slice(&output.stdout).expect("a summary");
    assert_eq!(summary["sources"][0]["accepted"], ROWS);
    let peak = summary["peak_memory_bytes"].as_u64().expect("a peak");
    // Of 20,000 users some are open at a time, with three texts each.
    assert!(peak < 128 * MIB + BESIDE + 50 * MIB, "{} MiB for a job that may take 128", peak / MIB);
}
