//! Runs a test: its job from moment to moment, and what came out against what is expected.
//!
//! ```text
//!   moment 0: rows, floor ─▶ a run to a checkpoint ─▶ compare     the watermark of every split is at the moment's floor at least
//!   moment 1:    └───────── goes on from it ─▶ …   ─▶ compare     from the run's beginning, so rows that are read in it are late
//!   the end:  splits end, every window fires       ─▶ compare     below it
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use thalweg_engine::checkpoint::{History, Manifest};
use thalweg_engine::cluster::Cluster;
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;

use super::check::{Expectation, Moment, Test};
use super::compare::compare;
use super::records::{Afterwards, GivenRecord, GivenRecords, GivenSplit};
use super::values::{Row, Value, show};
use super::written::Written;
use super::{Failure, TestError, TestReport};
use crate::lower::sinks::{LATE, REJECTED};
use crate::plan::{Connector, Plan};
use crate::run::{self as job, RunError, RunOptions};

/// How partitions are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitions {
    /// As the test says.
    AsGiven,
    /// In the opposite order, so that most of them go to other workers; where nothing is looked at before the end, behind an empty
    /// partition 0. What comes out is the same, unless the pipeline looks at the numbers.
    Dealt,
}

/// How to run a test. None of it changes what comes out.
#[derive(Debug, Clone, Copy)]
pub struct TestOptions {
    /// Workers.
    pub workers: usize,
    /// How much goes into a tick.
    pub limits: TickLimits,
    /// How partitions are numbered.
    pub partitions: Partitions,
}

impl Default for TestOptions {
    fn default() -> Self {
        TestOptions { workers: 1, limits: TickLimits::default(), partitions: Partitions::AsGiven }
    }
}

/// Runs a test.
pub fn run(test: &Test, options: &TestOptions) -> TestReport {
    run_with(test, options, &mut |plan, options| {
        let summary = job::run(plan, options, &Control::new())?;
        tracing::debug!(pipeline = plan.name, ?summary, "a moment of a test");
        Ok(())
    })
}

/// As [`run`], by another way to get a job from one moment to the next: it has to go on until the job has stopped, or its input ended.
pub fn run_with(
    test: &Test,
    options: &TestOptions,
    run_job: &mut dyn FnMut(&Plan, &RunOptions) -> Result<(), RunError>,
) -> TestReport {
    let started = Instant::now();
    let mut failures = Vec::new();
    let ran = Running::new(test, options).and_then(|mut running| {
        for (number, moment) in test.moments.iter().enumerate() {
            run_job(&running.plan(number, moment), &running.options)?;
            running.account(number, moment)?;
            if let Some(expect) = &moment.expect {
                failures.extend(running.compare(expect)?);
            }
        }
        Ok(())
    });
    TestReport {
        name: test.name.clone(),
        line: test.line,
        seconds: started.elapsed().as_secs_f64(),
        failures,
        error: ran.err().map(|error| error.to_string()),
    }
}

struct Running<'a> {
    test: &'a Test,
    partitions: Partitions,
    options: RunOptions,
    written: BTreeMap<String, Written>,
    /// Rows that were published and not looked at yet.
    waiting: BTreeMap<String, Vec<Row>>,
    folder: tempfile::TempDir,
}

impl<'a> Running<'a> {
    fn new(test: &'a Test, options: &TestOptions) -> Result<Self, TestError> {
        let folder = tempfile::tempdir().map_err(TestError::Folder)?;
        Ok(Running {
            test,
            partitions: options.partitions,
            options: RunOptions {
                cluster: Cluster::Threads { workers: options.workers },
                limits: options.limits,
                ..RunOptions::new(options.workers, folder.path())
            },
            written: BTreeMap::new(),
            waiting: BTreeMap::new(),
            folder,
        })
    }

    // The plan of a moment: each source has the records up to it.
    fn plan(&self, number: usize, moment: &Moment) -> Plan {
        let mut plan = Plan::clone(&self.test.plan);
        let left = Arc::new(plan.sources.iter().map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        for (at, source) in plan.sources.iter_mut().enumerate() {
            let mut splits: Vec<GivenSplit> = Vec::new();
            for ((topic, partition), records) in &self.test.input[at].splits {
                let records = records.iter().filter(|(from, _)| *from <= number);
                splits.push(GivenSplit {
                    topic: Arc::clone(topic),
                    partition: self.numbered(at, topic, *partition),
                    records: records.map(|(_, record)| record.clone()).collect(),
                });
            }
            // Before the end it would hold the watermark back.
            if self.partitions == Partitions::Dealt && moment.ends && number == 0 {
                let mut topics: Vec<Arc<str>> = splits.iter().map(|split| Arc::clone(&split.topic)).collect();
                topics.dedup();
                splits.extend(topics.into_iter().map(|topic| GivenSplit {
                    topic,
                    partition: 0,
                    records: Vec::new(),
                }));
            }
            splits.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            let afterwards = if moment.ends { Afterwards::End } else { Afterwards::Stop(Arc::clone(&left)) };
            source.connector = Connector::Given(GivenRecords::new(at, splits, moment.floor, afterwards));
        }
        plan
    }

    // What a partition is called in the job.
    fn numbered(&self, source: usize, topic: &str, partition: i32) -> i32 {
        if self.partitions == Partitions::AsGiven {
            return partition;
        }
        let of_topic = self.test.input[source].splits.keys().filter(|(name, _)| **name == *topic);
        let partitions: Vec<i32> = of_topic.map(|(_, partition)| *partition).collect();
        let count = partitions.len() as i32;
        match partitions.iter().position(|other| *other == partition) {
            Some(index) => count - index as i32,
            None => partition,
        }
    }

    // What the test calls it.
    fn given_as(&self, source: usize, topic: &str, number: i32) -> i32 {
        let of_topic = self.test.input[source].splits.keys().filter(|(name, _)| **name == *topic);
        let mut given = of_topic.map(|(_, partition)| *partition);
        given.find(|partition| self.numbered(source, topic, *partition) == number).unwrap_or(number)
    }

    // Reads what was published, and sees that every record is accounted for.
    fn account(&mut self, number: usize, moment: &Moment) -> Result<(), TestError> {
        let plan = Arc::clone(&self.test.plan);
        let refused = thalweg_operators::source::refused::schema();
        let sinks = plan.sinks.iter().map(|sink| (sink.name.as_str(), &sink.columns));
        for (sink, columns) in sinks.chain([(LATE, &refused), (REJECTED, &refused)]) {
            let written = self.written.entry(sink.to_owned()).or_default();
            let mut rows = written.new_rows(&self.folder.path().join(sink), columns)?;
            if [LATE, REJECTED].contains(&sink) {
                rows.iter_mut().try_for_each(|row| self.check_refused(row))?;
            }
            self.waiting.entry(sink.to_owned()).or_default().append(&mut rows);
        }
        let manifest = newest(&plan, self.folder.path())?;
        if manifest.finished != moment.ends {
            let ended = if manifest.finished { "ended" } else { "did not end" };
            return Err(TestError::Bug(format!("the input {ended}")));
        }
        for (source, input) in manifest.sources.iter().zip(&self.test.input) {
            let (name, total) = (&source.name, &source.total);
            let records = input.splits.values().flatten();
            let given = records.filter(|(from, _)| *from <= number).count() as u64;
            if total.read != given || total.read != total.accepted + total.late + total.rejected {
                return Err(TestError::Bug(format!(
                    "source {name} was given {given} records, and counts {total:?}"
                )));
            }
        }
        for sink in &manifest.sinks {
            let found = self.written.get(&sink.name).map_or(0, |written| written.rows_total);
            if sink.rows_total != found {
                let (name, counted) = (&sink.name, sink.rows_total);
                return Err(TestError::Bug(format!("{name} holds {found} rows, and counts {counted}")));
            }
        }
        Ok(())
    }

    // A late or rejected row is its record, byte for byte, with a sentence for people; its partition is called as the test calls it.
    fn check_refused(&self, row: &mut Row) -> Result<(), TestError> {
        let text = |name: &str| match row.get(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let (source, topic) = (text("source"), text("topic"));
        let at = self.test.plan.sources.iter().position(|planned| planned.name == source);
        let (Some(at), Some(Value::Int(partition)), Some(Value::Int(offset))) =
            (at, row.get("partition"), row.get("offset"))
        else {
            return Err(TestError::Bug(format!("a refused row comes from nowhere: {}", show(row))));
        };
        let partition = self.given_as(at, &topic, *partition as i32);
        let split = self.test.input[at].splits.get(&(topic.as_str().into(), partition));
        let record =
            split.and_then(|split| split.iter().find(|(_, record)| i128::from(record.offset) == *offset));
        if !record.is_some_and(|(_, record)| is_whole(row, record)) || text("detail").is_empty() {
            return Err(TestError::Bug(format!("a refused row is not its record: {}", show(row))));
        }
        row.insert("partition".to_owned(), Value::Int(partition.into()));
        Ok(())
    }

    fn compare(&mut self, expect: &Expectation) -> Result<Vec<Failure>, TestError> {
        let mut failures = Vec::new();
        for stream in &expect.streams {
            let found = self.waiting.get_mut(&stream.sink).map(std::mem::take).unwrap_or_default();
            let Some(rows) = &stream.rows else { continue };
            let differences = compare(rows, &found, &stream.shown);
            if !differences.is_empty() {
                failures.push(Failure {
                    when: expect.when.clone(),
                    line: expect.line,
                    stream: stream.label.clone(),
                    differences,
                });
            }
        }
        Ok(failures)
    }
}

fn is_whole(row: &Row, record: &GivenRecord) -> bool {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().map_or(Value::Null, Value::Bytes);
    row.get("timestamp") == Some(&record.timestamp_us.map_or(Value::Null, Value::Time))
        && row.get("key") == Some(&bytes(&record.key))
        && row.get("value") == Some(&bytes(&record.value))
}

fn newest(plan: &Plan, output: &Path) -> Result<Manifest, TestError> {
    let store = job::open_store(plan, output).map_err(RunError::from)?;
    let history = History::read(&store).map_err(RunError::from)?;
    let newest = history.newest().map_err(RunError::from)?;
    newest.cloned().ok_or_else(|| TestError::Bug("the job made no checkpoint".to_owned()))
}
