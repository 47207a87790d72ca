//! Tests of pipelines: rows in, rows out, by the real engine.
//!
//! ```text
//!   my.test.yaml ─▶ spec::test_file ─┐                        ┌─▶ for each moment: prepare ─▶ run ─▶ checkpoint, rows published
//!                   as written       ├─▶ check ─▶ Test ─▶ run ┤      (GivenRecords: a source of given records)   │
//!   pipeline.yaml ─▶ spec ─▶ plan ───┘   typed, or Problems   └─▶ compare ◀─── Written: what sinks published ◀───┘
//! ```
//!
//! # The format
//!
//! ```yaml
//! pipeline: provider_health.yaml        # beside this file, or a name of the catalogue
//! env: { KAFKA_BROKERS: none }          # what ${NAME} in the pipeline stands for: nothing else does
//! tests:
//!   - name: errors are counted
//!     input:
//!       calls:                          # a source: rows of partition 0, or { 0: [rows], 1: [rows] }
//!         - { started_at: 2026-03-02T12:00:00Z, provider: a, status: error }    # JSON, written as YAML
//!         - record: { text: "{broken", key: k, timestamp: 2026-03-02T12:00:01Z }
//!     expect:                           # when the input has ended
//!       provider_health: [{ provider: a, errors: 1 }]
//!       _rejected: [{ offset: 1, reason: invalid_json }]
//!   - name: a minute is over when the watermark says so
//!     timeline:
//!       - input: { calls: [ … ] }
//!       - advance watermark to: 2026-03-02T12:01:00Z
//!       - expect: { provider_health: [ … ] }
//! ```
//!
//! A row is the payload's JSON. Points in time may be written as in RFC 3339, whatever the schema's encoding: a number is taken as it is.
//! A field that the schema does not have is a warning, once for each source: payloads may hold more than is read, and most such fields are
//! misspelt.
//!
//! A `record` has one of `value` (JSON), `text` (as it is), `base64` or `tombstone: true`, and besides `key`, `headers`, `timestamp`
//! (by default the row's own event time, in whole milliseconds as Kafka has them, rounded up; of a row without one that of the record
//! before; `none`: it has none), `offset` (by default the next one), `topic` (by default the source's first), `times: n`, which repeats the payload.
//!
//! **Expected rows** are named by sink, step or source (its accepted rows); `_late` and `_rejected` are the standing outputs. Rows
//! come in any order, each as often as it is written. Columns that are not named are not compared, unless `exact: true` (of the
//! file, the test or the sink; not for the standing outputs) demands that all are. Numbers are compared to the last bit, unless
//! `tolerance` (of the file, the test or the sink; one, or one by column) says how far they may be off: `0.01`, or `1%` of the
//! expected number. A sink that is not named is not looked at; late and rejected rows that nobody expects fail a test, unless
//! it says `_late: any`.
//!
//! **Each `expect` takes the rows that have come since the one before**, so every row is expected once, where it comes. One in the
//! timeline is about that moment: all rows given so far have been read, and the watermark is where it is. The one beside the
//! timeline is about the end, when all splits have ended and every window has fired; without it the input does not end.
//!
//! # Time
//!
//! A test's clock is event time; nothing waits. The watermark of a split rises with its rows, by the source's lateness, as it ever does
//! (it is the real one). `advance watermark to: T` says that time goes by without rows: **from there on no split has a watermark
//! below T**. That is what happens live when each split goes on to a row of event time T + lateness that the pipeline has
//! no use for; so
//!
//! - the job's watermark, the minimum over all splits of all sources, becomes T, unless it is higher already: windows that end at T or before
//!   fire;
//! - rows that come after it are late below T, in every split, whatever the lateness: it has been taken off already;
//! - a split that is further on stays where it is.
//!
//! No split is ever idle in a test: `idle_after` is measured by a wall clock, and there is none. A partition that is given no rows (`{ 1: [] }`; also the
//! one partition of a source that is given nothing) holds back the job's watermark until it is advanced or the input ends, as it does live until it is idle.
//! To test what idleness does, advance the watermark: rows of a split that comes back below it are late, just as live.
//!
//! # What runs
//!
//! The real engine, with the real windows, checkpoints and sinks: each moment at which something is expected, or the watermark is advanced,
//! is a run that reads the given rows, makes a checkpoint and publishes; the next one goes on from it.
//! Sinks write Parquet into a temporary folder, whatever their kind; nothing is connected to.

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::check::{Loaded, Test, TestFile, load, load_text};
pub use self::compare::{
    Differences, DifferingColumn, DifferingRow, ExpectedColumn, ExpectedRow, MissingRow,
};
pub use self::diff::{Painter, write_report};
pub use self::records::{Afterwards, GivenRecord, GivenRecords, GivenSplit};
pub use self::run::{Partitions, TestOptions, run, run_with};
pub use self::values::{Row, Value, show, shown};
use crate::run::RunError;

mod check;
mod compare;
mod diff;
pub mod junit;
mod records;
mod run;
mod values;
mod written;

/// What a test has found.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    /// The test.
    pub name: String,
    /// Its line in its file.
    pub line: usize,
    /// How long it took.
    pub seconds: f64,
    /// What is not as expected.
    pub failures: Vec<Failure>,
    /// Why it could not be run to its end.
    pub error: Option<String>,
}

impl TestReport {
    /// Whether all is as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.error.is_none()
    }
}

/// Rows of a stream that are not as expected.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// At which point of the test.
    pub when: String,
    /// Its line in the test file.
    pub line: usize,
    /// The stream: `sink provider_health`.
    pub stream: String,
    /// The rows.
    pub differences: Differences,
}

/// Why a test can't be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The job failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no temporary folder.
    #[error("can't make a temporary folder: {0}; set TMPDIR to a folder that can be written to")]
    Folder(std::io::Error),
    /// A published file can't be read.
    #[error("can't read {path}: {detail}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The engine lost or changed something.
    #[error("{0}; this is a bug in Thalweg")]
    Bug(String),
}

/// The ending of test files' names.
pub const ENDING: &str = ".test.yaml";

/// The test files that a path means: itself, or all in and below a folder, in order.
///
/// # Errors
/// A folder that can't be read.
pub fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut entries =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(files(&entry)?);
        } else if name.ends_with(ENDING) || name.ends_with(".test.yml") {
            found.push(entry);
        }
    }
    Ok(found)
}
