//! Semantics as data: each folder of `tests/cases` holds a pipeline, its input, and the rows that have to come out.
//!
//! ```text
//!   pipeline.yaml  input.jsonl ──▶ archives ──▶ job, five ways ──▶ rows = expected.jsonl
//!                                                              ──▶ late rows = late.jsonl, rejected rows = rejected.jsonl (or none)
//! ```
//!
//! The five ways: one worker; three; ticks of one row; partitions numbered in another order, so that they go to other workers; and
//! broken off after each few checkpoints, to go on with another number of workers.
//! Where the numbers themselves show in the rows (`_partition`, or ties that they settle), the pipeline says so in a comment,
//! `# Partition numbers matter`, and they stay as they are.
//!
//! A new case is a folder, and its name in the list below.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};
use thalweg::plan::{self, Plan};
use thalweg::run::{RunOptions, Summary, run};
use thalweg_engine::checkpoint::{Manifest, SourceCounts};
use thalweg_engine::cluster::Cluster;
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;

mod input;
mod rows;

use input::{Input, Numbering};
use rows::{Row, Value, Written, show};

use crate::support::{broken_off_after, newest_checkpoint};

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        mod each {
            $(#[test] fn $name() { super::Case::read(stringify!($name)).check(); })*
        }
    };
}

cases! {
    arg_min_and_arg_max, bool_and_bits, count_distinct, days_berlin_autumn, days_berlin_from_six,
    days_berlin_spring, days_cairo_no_midnight, days_havana_two_midnights, empty_partition,
    expressions_over_aggregates, filter_and_compute, filters, first_and_last, float_sums_are_exact,
    floats_special, groups_of_nulls, guarded_division, having_leaves_nothing, hopping_far_apart, hopping_offset,
    hopping_out_of_order, hopping_over_sessions, hopping_overlap, hopping_uneven, hours_when_clocks_change,
    keys_computed, keys_nan_and_zeros, keys_null, keys_of_many_types, keys_unicode, keys_without_aggregates,
    late_and_rejected_of_two_sources, late_per_split, late_with_lateness, late_with_more_lateness,
    late_without_lateness, max_ahead, max_ahead_by_default, min_max_of_anything, money, nested_and_lists,
    no_keys, nothing_at_all, offset_gaps, partition_ends_early, quantiles, raw_payloads, record_metadata,
    record_time, regression, rejected_reasons, session_across_partitions, session_bridged, session_gap,
    session_keys_apart, session_max, session_max_out_of_order, session_max_ties, several_sinks, shuffled,
    sum_beyond_int64, timestamp_encodings, top_and_collect, tumbling_before_epoch, tumbling_borders,
    tumbling_milliseconds, tumbling_offset, uint64_beyond_2_53, union_of_steps, variance, weeks_new_york,
    windows_over_windows, year_1_and_9999,
}

#[test]
fn every_folder_is_a_case() {
    let mut folders: Vec<String> = fs::read_dir(root())
        .expect("tests/cases")
        .map(|entry| entry.expect("a case").file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    assert_eq!(folders, CASES, "the list in {} names every folder of tests/cases, in order", file!());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// A way to run a case.
struct Way {
    name: &'static str,
    workers: usize,
    limits: TickLimits,
    numbering: Numbering,
    broken_off: bool,
}

fn ways() -> [Way; 5] {
    let limits = TickLimits::default();
    let numbering = Numbering::AsGiven;
    let one_row = TickLimits { rows_max: 1, ..limits };
    [
        Way { name: "1 worker", workers: 1, limits, numbering, broken_off: false },
        Way { name: "3 workers", workers: 3, limits, numbering, broken_off: false },
        Way {
            name: "2 workers, ticks of one row",
            workers: 2,
            limits: one_row,
            numbering,
            broken_off: false,
        },
        Way {
            name: "2 workers, partitions dealt otherwise",
            workers: 2,
            limits,
            numbering: Numbering::Dealt,
            broken_off: false,
        },
        Way { name: "broken off again and again", workers: 1, limits: one_row, numbering, broken_off: true },
    ]
}

/// A case as it lies in its folder.
struct Case {
    pipeline: String,
    origin: PathBuf,
    input: Input,
    expected: Vec<Map<String, Json>>,
    late: Vec<Map<String, Json>>,
    rejected: Vec<Map<String, Json>>,
}

impl Case {
    fn read(name: &str) -> Case {
        let folder = root().join(name);
        let text = |file: &str| fs::read_to_string(folder.join(file));
        let lines = |file: &str| -> Vec<Map<String, Json>> {
            let object =
                |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{file}: {e}: {line}"));
            text(file).unwrap_or_default().lines().map(object).collect()
        };
        assert!(folder.join("expected.jsonl").exists(), "{name} has no expected.jsonl");
        Case {
            pipeline: text("pipeline.yaml").expect("pipeline.yaml"),
            origin: folder.join("pipeline.yaml"),
            input: Input::read(&text("input.jsonl").expect("input.jsonl")),
            expected: lines("expected.jsonl"),
            late: lines("late.jsonl"),
            rejected: lines("rejected.jsonl"),
        }
    }

    fn check(&self) {
        let mut faults = Vec::new();
        for mut way in ways() {
            if self.pipeline.contains("# Partition numbers matter") {
                way.numbering = Numbering::AsGiven;
            }
            let found = self.run(&way);
            faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", way.name)));
        }
        assert!(faults.is_empty(), "{}\n{}", self.origin.display(), faults.join("\n"));
    }

    fn plan(&self, archives: &Path) -> Plan {
        let env = |name: &str| (name == "ARCHIVES").then(|| archives.display().to_string());
        plan::load(&self.pipeline, &self.origin, &env).unwrap_or_else(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}", problems.join("\n"))
        })
    }

    /// Runs the case and says what is wrong.
    fn run(&self, way: &Way) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (archives, output) = (folder.path().join("archives"), folder.path().join("output"));
        // The plan does not look at the archives: it says what the only source is called, which the archive's folder needs.
        let plan = self.plan(&archives);
        let only = plan.sources[0].name.clone();
        let numbers = self.input.write(&archives, &only, way.numbering);
        let options = RunOptions { limits: way.limits, ..RunOptions::new(way.workers, &output) };
        let account = if way.broken_off {
            Account::of_manifest(&broken_off(&plan, &options))
        } else {
            let summary = run(&plan, &options, &Control::new());
            Account::of_summary(&summary.unwrap_or_else(|error| panic!("{}: {error}", way.name)))
        };

        let mut faults = Vec::new();
        let mut expected: BTreeMap<String, Vec<Map<String, Json>>> = BTreeMap::new();
        for row in &self.expected {
            let mut row = row.clone();
            let sink = row
                .remove("sink")
                .map_or_else(|| plan.sinks[0].name.clone(), |sink| sink.as_str().expect("a sink").into());
            expected.entry(sink).or_default().push(row);
        }
        for sink in &plan.sinks {
            let written = Written::read(&output.join(&sink.name));
            let expected = expected.remove(&sink.name).unwrap_or_default();
            faults.extend(compare(&sink.name, &written, &expected));
            faults.extend(account.count(&sink.name, written.rows.len()));
        }
        faults.extend(expected.into_keys().map(|sink| format!("there is no sink {sink}")));
        for (name, expected) in [("_late", &self.late), ("_rejected", &self.rejected)] {
            let written = Written::read(&output.join(name));
            faults.extend(self.compare_refused(name, &written, expected, &only, &numbers));
            faults.extend(account.count(name, written.rows.len()));
        }
        faults.extend(self.account(&account, &only));
        faults
    }

    /// Late or rejected rows: those expected, each with its record's own bytes, key and timestamp.
    fn compare_refused(
        &self,
        name: &str,
        written: &Written,
        expected: &[Map<String, Json>],
        only: &str,
        numbers: &BTreeMap<(String, i32), i32>,
    ) -> Vec<String> {
        let source_of = |source: Option<&str>| source.unwrap_or(only).to_owned();
        let records = |row: &Map<String, Json>| {
            let source = source_of(row.get("source").and_then(Json::as_str));
            self.input.records.iter().find(move |record| {
                source_of(record.source.as_deref()) == source
                    && row["partition"] == record.partition
                    && row["offset"] == record.offset
            })
        };
        let mut rows = Vec::new();
        for row in expected {
            let Some(record) = records(row) else { return vec![format!("{name}: no record is {row:?}")] };
            let source = source_of(record.source.as_deref());
            let text = |name: &str| {
                row.get(name).and_then(Json::as_str).map_or(Value::Null, |text| Value::Text(text.to_owned()))
            };
            let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().map_or(Value::Null, Value::Bytes);
            let partition = numbers[&(source.clone(), record.partition)];
            let columns = [
                ("source", Value::Text(source.clone())),
                ("topic", Value::Text(source)),
                ("partition", Value::Int(partition.into())),
                ("offset", Value::Int(record.offset.into())),
                ("timestamp", Value::Time(record.timestamp_ms * 1000)),
                ("key", bytes(&record.key)),
                ("value", bytes(&record.payload)),
                ("reason", text("reason")),
                ("field", text("field")),
            ];
            rows.push(columns.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
        }
        // The detail is a sentence for people: it is there, and its words are tested where it is made.
        let mut written = written.rows.clone();
        let details: Vec<Option<Value>> = written.iter_mut().map(|row| row.remove("detail")).collect();
        let mut faults = differences(name, &written, rows);
        if !details.iter().all(|detail| matches!(detail, Some(Value::Text(text)) if !text.is_empty())) {
            faults.push(format!("{name}: a row without a detail"));
        }
        faults
    }

    /// read = accepted + late + rejected, for each source.
    fn account(&self, account: &Account, only: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let of_source = |name: &str, rows: &[Map<String, Json>]| {
            rows.iter().filter(|row| row.get("source").and_then(Json::as_str).unwrap_or(only) == name).count()
                as u64
        };
        for (name, found) in &account.sources {
            let records = self.input.records.iter();
            let read =
                records.filter(|record| record.source.as_deref().unwrap_or(only) == name).count() as u64;
            let (late, rejected) = (of_source(name, &self.late), of_source(name, &self.rejected));
            let expected = [read, read - late - rejected, late, rejected];
            if *found != expected {
                faults
                    .push(format!("{name}: [read, accepted, late, rejected] is {found:?}, not {expected:?}"));
            }
        }
        if account.open != 0 {
            faults.push(format!("the job ended with {} open windows", account.open));
        }
        faults
    }
}

/// What a sink wrote against the lines of `expected.jsonl`.
fn compare(sink: &str, written: &Written, expected: &[Map<String, Json>]) -> Vec<String> {
    if written.rows.is_empty() && !expected.is_empty() {
        return vec![format!("{sink}: no rows instead of {}", expected.len())];
    }
    let expected: Result<Vec<Row>, String> = expected.iter().map(|row| written.expected(row)).collect();
    match expected {
        Ok(expected) => differences(sink, &written.rows, expected),
        Err(fault) => {
            let types: Vec<String> = written.types.iter().map(|(name, of)| format!("{name}: {of}")).collect();
            vec![format!("{sink}: {fault} (columns: {})", types.join(", "))]
        }
    }
}

/// The rows that only one of two multisets holds.
fn differences(name: &str, written: &[Row], expected: Vec<Row>) -> Vec<String> {
    let mut balance: BTreeMap<&Row, i64> = BTreeMap::new();
    written.iter().for_each(|row| *balance.entry(row).or_default() += 1);
    expected.iter().for_each(|row| *balance.entry(row).or_default() -= 1);
    let side = |count: i64| if count > 0 { "unexpected" } else { "missing" };
    let differing = balance.into_iter().filter(|(_, count)| *count != 0);
    differing.map(|(row, count)| format!("{name}: {} {} × {}", side(count), count.abs(), show(row))).collect()
}

/// What a job says of itself.
struct Account {
    /// Of each source: read, accepted, late, rejected.
    sources: Vec<(String, [u64; 4])>,
    /// Rows of each sink.
    sinks: Vec<(String, u64)>,
    open: u64,
}

impl Account {
    fn of_summary(summary: &Summary) -> Account {
        assert!(!summary.stopped);
        let sources = summary.sources.iter();
        Account {
            sources: sources.map(|s| (s.name.clone(), [s.read, s.accepted, s.late, s.rejected])).collect(),
            sinks: summary.sinks.iter().map(|sink| (sink.name.clone(), sink.rows)).collect(),
            open: summary.windows_open,
        }
    }

    /// Over all runs: what the last checkpoint says.
    fn of_manifest(manifest: &Manifest) -> Account {
        assert!(manifest.finished);
        let counts = |s: &SourceCounts| [s.read, s.accepted, s.late, s.rejected];
        Account {
            sources: manifest.sources.iter().map(|s| (s.name.clone(), counts(&s.total))).collect(),
            sinks: manifest.sinks.iter().map(|sink| (sink.name.clone(), sink.rows_total)).collect(),
            open: 0,
        }
    }

    /// Its count of a sink's rows against the rows that are there.
    fn count(&self, sink: &str, rows: usize) -> Option<String> {
        let counted = self.sinks.iter().find(|(name, _)| name == sink).map(|(_, rows)| *rows);
        (counted != Some(rows as u64))
            .then(|| format!("{sink}: {rows} rows were written, and {counted:?} counted"))
    }
}

/// Runs a job that is broken off after every few checkpoints, and is run again with another number of workers until it is done. Its
/// last checkpoint.
fn broken_off(plan: &Plan, options: &RunOptions) -> Manifest {
    for attempt in 0..200 {
        let cluster = Cluster::Threads { workers: [1, 3, 2, 5][attempt % 4] };
        let options = RunOptions { cluster, ..options.clone() };
        if broken_off_after(1 + attempt as u64 % 3, plan, &options) {
            return newest_checkpoint(plan, &options.output);
        }
    }
    panic!("the job does not come to an end")
}
