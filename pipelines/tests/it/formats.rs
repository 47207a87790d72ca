//! Checkpoints that an earlier build has written: this one goes on from them to the right rows, or refuses them clearly.
//!
//! ```text
//!   fixtures/checkpoint-1 ── the output folder of a job that was broken off ──▶ job ─▶ its end ─▶ the rows of an undisturbed one
//! ```
//!
//! The number is that of the format, `manifest::FORMAT`. As long as a format has been in no release it may change: then
//! `THALWEG_WRITE_CHECKPOINT=1 cargo test … --test it formats` writes the fixture anew. From then on it stays as it is, and a new
//! format gets a fixture of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use thalweg::plan::Plan;
use thalweg::run::{RunOptions, prepare, run};
use thalweg_engine::control::Control;
use thalweg_engine::shard::hash_key;
use thalweg_engine::tick::TickLimits;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::support::{Random, assert_same_rows, broken_off_after, files, job, newest_checkpoint, plan, rows};

/// Has the fixture written anew.
const VARIABLE: &str = "THALWEG_WRITE_CHECKPOINT";
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/checkpoint-1");

/// Panes, sessions with and without a limit, rows without state; keys and aggregates of several types.
const PIPELINE: &str = r#"
pipeline: old
checkpoint: { keep: 1 }
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: user, type: string }
      - { name: cost, type: float64 }
sources:
  events:
    kafka: { topic: events, brokers: "nowhere:1" }
    schema: event
    event_time: { field: at, lateness: 5s }
steps:
  sliding:
    from: events
    window: { hopping: 10m, every: 5m }
    by: [user]
    select: { events: count(*), cost: sum(cost), p95: "quantile(cost, 0.95)", first: first_value(cost) }
  sessions: { from: events, window: { session: 2m }, by: [user], select: { events: count(*), costs: count(distinct cost) } }
  limited: { from: events, window: { session: 2m, max: 10m }, by: [user], select: { dearest: max(cost) } }
  dear: { from: events, where: cost > 0.9 }
sinks:
  sliding: { from: sliding, parquet: { partition_by: [window_date] } }
  sessions: { from: sessions, jsonl: {} }
  limited: { from: limited, parquet: {} }
  dear: { from: dear, parquet: {} }
"#;

const SINKS: [&str; 6] = ["sliding", "sessions", "limited", "dear", "_late", "_rejected"];
const EVENTS: i64 = 1_500;
/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

/// An hour of events of a few users: always the same.
fn write_events(archives: &Path) {
    let mut random = Random(23);
    let mut writer =
        ArchiveWriter::new(archives.join("events"), ArchiveOptions::default()).expect("a folder");
    for i in 0..EVENTS {
        let at_ms = NOON_MS + i * 3_600_000 / EVENTS;
        let at = at_ms - random.below(15_000) as i64;
        let (user, cost) = (random.below(12), random.unit());
        let value = match (random.below(100), user) {
            (0, _) => "{\"at\": ".to_owned(),
            (_, 0) => format!("{{\"at\": {at}, \"cost\": {cost}}}"),
            _ => format!("{{\"at\": {at}, \"user\": \"u{user}\", \"cost\": {cost}}}"),
        };
        writer.push((i % 3) as i32, i / 3, at_ms, None, Some(value.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("the archive");
}

/// The events, and a copy of the fixture as the output folder of a job over them.
struct Old {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl Old {
    fn new() -> Old {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let old = Old { plan: plan(PIPELINE, folder.path()), folder };
        write_events(&old.folder.path().join("archives"));
        old
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn options(&self, output: &Path, workers: usize) -> RunOptions {
        let archives = Some(self.folder.path().join("archives"));
        let limits = TickLimits { rows_max: 10, ..TickLimits::default() };
        RunOptions { archives, limits, ..RunOptions::new(workers, output) }
    }

    fn copy_fixture(&self) {
        static WRITTEN: Once = Once::new();
        if std::env::var_os(VARIABLE).is_some() {
            WRITTEN.call_once(|| self.write_fixture());
        }
        copy(Path::new(FIXTURE), &self.output());
    }

    fn write_fixture(&self) {
        let output = self.folder.path().join("fixture");
        assert!(!broken_off_after(2, &self.plan, &self.options(&output, 2)), "the job is too short");
        nameless(&output);
        if Path::new(FIXTURE).exists() {
            fs::remove_dir_all(FIXTURE).expect("the fixture can be replaced");
        }
        copy(&output, Path::new(FIXTURE));
    }
}

/// A record of the log with the checksum that belongs to its text.
fn sealed(text: &str) -> String {
    format!("{text}\nxxh3 {:016x}\n", hash_key(text.as_bytes()))
}

/// The text of a record, without its checksum.
fn opened(record: &Path) -> String {
    let text = fs::read_to_string(record).expect("a record");
    text.rsplit_once("\nxxh3 ").expect("a checksum").0.to_owned()
}

/// Takes out which machine has written the log.
fn nameless(output: &Path) {
    for record in files(&output.join("_checkpoints/log")) {
        let text = opened(&record);
        let lines: Vec<&str> = text
            .lines()
            .map(|line| {
                if line.trim_start().starts_with("\"by\": \"process ") {
                    "    \"by\": \"process 1 on somewhere\","
                } else {
                    line
                }
            })
            .collect();
        fs::write(&record, sealed(&lines.join("\n"))).expect("a record");
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("a file below"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(&file, &target).expect("a copy");
    }
}

#[test]
fn a_job_goes_on_from_the_checkpoint_of_an_earlier_build() {
    let old = Old::new();
    old.copy_fixture();
    let base = newest_checkpoint(&old.plan, &old.output());
    assert!(!base.finished && base.number >= 2, "{base:?}");
    for step in ["sliding", "sessions", "limited"] {
        assert!(
            base.state.iter().filter(|file| file.step == step && file.rows > 0).count() >= 2,
            "{step}: {base:?}"
        );
    }
    assert!(base.state.iter().any(|file| !file.full), "no file holds changes alone");
    let read = base.sources[0].total.read as i64;
    assert!(read > 0 && read < EVENTS, "{read} of {EVENTS} rows");

    let ready =
        prepare(&old.plan, &old.options(&old.output(), 3), &Control::new()).expect("a sound checkpoint");
    assert_eq!(ready.goes_on_from().map(|from| from.number), Some(base.number));
    let summary = ready.run().expect("a job that ends");
    assert_eq!(summary.sources[0].read as i64, EVENTS - read, "rows that are left");

    let whole = old.folder.path().join("whole");
    job(&old.plan, &old.options(&whole, 1));
    for sink in SINKS {
        let expected = rows(&whole, sink);
        assert!(!expected.is_empty(), "{sink}: nothing to compare");
        assert_same_rows(sink, &rows(&old.output(), sink), &expected);
    }
}

#[test]
fn a_checkpoint_of_a_later_format_is_refused() {
    let old = Old::new();
    old.copy_fixture();
    let newest = files(&old.output().join("_checkpoints/log")).pop().expect("a record");
    let text = opened(&newest);
    let later = text.replace("\"format\": 1,", "\"format\": 2,");
    assert_ne!(later, text);
    fs::write(&newest, sealed(&later)).expect("a record");
    let before = files(&old.output());
    let error = run(&old.plan, &old.options(&old.output(), 1), &Control::new()).expect_err("another format");
    let error = error.to_string();
    assert!(error.contains(newest.file_name().and_then(|name| name.to_str()).expect("a name")), "{error}");
    assert!(error.contains("has format 2, and this program reads format 1"), "{error}");
    assert!(error.contains("run the version that wrote it, or start over with --fresh"), "{error}");
    assert_eq!(files(&old.output()), before, "something was changed");
}
