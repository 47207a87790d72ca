//! Semantics as data: each folder of `tests/cases` holds a pipeline and a test file, rows in and rows out.
//!
//! ```text
//!   pipeline.yaml  rows.test.yaml ──▶ thalweg::testing, seven ways ──▶ rows, late and rejected rows as expected; read = accepted + late + rejected
//! ```
//!
//! The seven ways: one worker; three; ticks of one row; partitions numbered in another order, so that they go to other workers;
//! broken off after each few checkpoints, to go on with another number of workers; and from archives of the same records (where a test
//! looks at nothing before the end: archives have one), once as they were recorded, once with decoded columns beside them.
//! Where the numbers themselves show in the rows (`_partition`, or ties that they settle), the pipeline says so in a comment,
//! `# Partition numbers matter`, and they stay as they are.
//!
//! A new case is a folder, and its name in the list below. `thalweg test pipelines/tests/cases` runs them, too, the first way.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg::plan::Plan;
use thalweg::run::{RunError, RunOptions, run};
use thalweg::testing::{self, Loaded, Painter, Partitions, Test, TestOptions, TestReport, write_report};
use thalweg_engine::cluster::Cluster;
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;

use crate::support::broken_off_after;

mod archives;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        mod each {
            $(#[test] fn $name() { super::check(stringify!($name)); })*
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

/// A way to run a test.
struct Way {
    name: &'static str,
    options: TestOptions,
    by: By,
}

/// How a job gets from one moment to the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// It runs.
    Running,
    /// It is broken off again and again.
    Breaking,
    /// It runs, from archives.
    Archives,
    /// It runs, from archives that were decoded beforehand.
    DecodedArchives,
}

fn ways() -> [Way; 7] {
    let plain = TestOptions::default();
    let one_row = TickLimits { rows_max: 1, ..plain.limits };
    let way = |name, options| Way { name, options, by: By::Running };
    [
        way("1 worker", plain),
        way("3 workers", TestOptions { workers: 3, ..plain }),
        way("2 workers, ticks of one row", TestOptions { workers: 2, limits: one_row, ..plain }),
        way(
            "2 workers, partitions dealt otherwise",
            TestOptions { workers: 2, partitions: Partitions::Dealt, ..plain },
        ),
        Way {
            name: "broken off again and again",
            options: TestOptions { limits: one_row, ..plain },
            by: By::Breaking,
        },
        Way {
            name: "3 workers, from archives",
            options: TestOptions { workers: 3, ..plain },
            by: By::Archives,
        },
        Way {
            name: "2 workers, from archives that were decoded beforehand",
            options: TestOptions { workers: 2, ..plain },
            by: By::DecodedArchives,
        },
    ]
}

fn check(name: &str) {
    let folder = root().join(name);
    let pipeline = fs::read_to_string(folder.join("pipeline.yaml")).expect("pipeline.yaml");
    let loaded = testing::load(&folder.join("rows.test.yaml")).expect("rows.test.yaml");
    check_in_all_ways(&loaded, pipeline.contains("# Partition numbers matter"));
}

/// Runs the tests of a file all ways. `numbers_matter`: partitions keep their numbers.
pub(crate) fn check_in_all_ways(loaded: &Loaded, numbers_matter: bool) {
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let file = loaded.tests.as_ref().unwrap_or_else(|| panic!("{}", problems.join("\n")));
    assert!(!file.tests.is_empty(), "{} has no tests", file.file.display());
    let mut faults = String::new();
    for mut way in ways() {
        if numbers_matter {
            way.options.partitions = Partitions::AsGiven;
        }
        for test in &file.tests {
            let report = way.run(test);
            if !report.passed() {
                let report = write_report(&report, &file.file, Painter { colour: false });
                faults.push_str(&format!("{}: {report}", way.name));
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

impl Way {
    fn run(&self, test: &Test) -> TestReport {
        let only_end = test.moments() == 1;
        let archives = tempfile::tempdir().expect("a temporary folder");
        testing::run_with(test, &self.options, &mut |plan, options| {
            let archived = match self.by {
                By::Running => None,
                By::Breaking => return broken_off(plan, options),
                By::Archives | By::DecodedArchives if !only_end => None,
                By::Archives => archives::archived(plan, archives.path()),
                By::DecodedArchives => archives::decoded(plan, archives.path()),
            };
            let summary = run(archived.as_ref().unwrap_or(plan), options, &Control::new())?;
            // What is stopped keeps its open windows; what has ended has none.
            assert!(summary.stopped || summary.windows_open == 0, "{summary:?}");
            Ok(())
        })
    }
}

/// Runs a job that is broken off after every few checkpoints, and is run again with another number of workers until it is done.
fn broken_off(plan: &Plan, options: &RunOptions) -> Result<(), RunError> {
    for attempt in 0..200 {
        let cluster = Cluster::Threads { workers: [1, 3, 2, 5][attempt % 4] };
        let options = RunOptions { cluster, ..options.clone() };
        if broken_off_after(1 + attempt as u64 % 3, plan, &options) {
            return Ok(());
        }
    }
    panic!("the job does not come to an end")
}
