//! What the tests of whole jobs share: plans of YAML, jobs, the rows that they wrote, and numbers that look random.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value as Json};
use thalweg::plan::{self, Plan};
use thalweg::run::{RunError, RunOptions, Summary, open_store, prepare, run};
use thalweg_engine::checkpoint::{History, Manifest};
use thalweg_engine::control::Control;
use thalweg_query::{Format, Session};

use crate::patience::wait_until;

/// The plan of a spec, in which `${ARCHIVES}` is a folder.
pub(crate) fn plan(text: &str, archives: &Path) -> Plan {
    let env = |name: &str| (name == "ARCHIVES").then(|| archives.display().to_string());
    plan::load(text, Path::new("pipeline.yaml"), &env).unwrap_or_else(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", problems.join("\n"))
    })
}

/// Runs a job to the end of its input.
pub(crate) fn job(plan: &Plan, options: &RunOptions) -> Summary {
    let summary =
        run(plan, options, &Control::new()).unwrap_or_else(|error| panic!("{}: {error}", plan.name));
    assert!(!summary.stopped && summary.windows_open == 0, "{}: {summary:?}", plan.name);
    summary
}

/// Runs a job with one checkpoint after the other, and breaks it off as a crash would after so many of them. Whether its input was
/// read to the end before.
pub(crate) fn broken_off_after(checkpoints: u64, plan: &Plan, options: &RunOptions) -> bool {
    let mut plan = plan.clone();
    plan.checkpoint.interval_us = 0;
    let control = Control::new();
    let job = match prepare(&plan, options, &control) {
        Ok(job) => job,
        Err(RunError::Finished { .. }) => return true,
        Err(error) => panic!("{}: {error}", plan.name),
    };
    let status = job.status();
    let breaker = std::thread::spawn(move || {
        wait_until("a checkpoint", || {
            let enough = status.checkpoints.made.load(Relaxed) >= checkpoints;
            if enough {
                control.fail("broken off");
            }
            enough || status.cuts.closed()
        });
    });
    let ran = job.run();
    breaker.join().expect("no panic");
    match ran {
        Ok(_) => true,
        Err(RunError::Failed(error)) if error.to_string() == "broken off" => false,
        Err(error) => panic!("{}: {error}", plan.name),
    }
}

/// The checkpoint that a job would go on from.
pub(crate) fn newest_checkpoint(plan: &Plan, output: &Path) -> Manifest {
    let store = open_store(plan, output).expect("checkpoints");
    let history = History::read(&store).expect("a log");
    history.newest().expect("a sound checkpoint").expect("a checkpoint").clone()
}

/// What SQL says of a folder, a map a row.
pub(crate) fn query(folder: &Path, sql: &str) -> Vec<Map<String, Json>> {
    let lines = json_lines(folder, sql);
    lines.iter().map(|line| serde_json::from_str(line).expect("a row of JSON")).collect()
}

/// All rows of a table, as sorted lines that are equal only if every value is.
pub(crate) fn rows(folder: &Path, table: &str) -> Vec<String> {
    let mut lines = json_lines(folder, &format!("select * from {table}"));
    lines.sort();
    lines
}

fn json_lines(folder: &Path, sql: &str) -> Vec<String> {
    let session = Session::open(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let result = session.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut text = Vec::new();
    thalweg_query::write(&result, Format::Json, None, &mut text).expect("rows as JSON");
    String::from_utf8(text).expect("JSON is text").lines().map(str::to_owned).collect()
}

/// Fails with the first rows that only one side has.
pub(crate) fn assert_same_rows(what: &str, left: &[String], right: &[String]) {
    let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
    left.iter().for_each(|row| *balance.entry(row).or_default() += 1);
    right.iter().for_each(|row| *balance.entry(row).or_default() -= 1);
    let differing: Vec<String> = balance
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|(row, count)| format!("{} {row}", if count > 0 { "left " } else { "right" }))
        .collect();
    let shown = differing.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(differing.is_empty(), "{what}: {} rows differ, among them\n{shown}", differing.len());
}

/// The files of a job's sinks that readers see.
pub(crate) fn published(output: &Path) -> Vec<PathBuf> {
    let hidden = |file: &PathBuf| file.iter().any(|part| part == "_checkpoints" || part == ".staging");
    files(output).into_iter().filter(|file| !hidden(file)).collect()
}

/// All files in and below a folder, hidden ones too.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder's entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Numbers that look random and are the same each time: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, and without, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 up to, and without, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
