//! One job over several processes: the rows are those of one worker, an idle process holds up no other, and a job that loses a
//! process ends.
//!
//! ```text
//!   test ─┬─▶ this binary again, as process 0 ─┐ connections  ┌─▶ sinks in one folder ─▶ rows
//!         └─▶ this binary again, as process 1 ─┘ of timely   ─┘
//! ```

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thalweg::plan::Plan;
use thalweg::run::{RunOptions, Status, prepare};
use thalweg_engine::cluster::{Cluster, ProcessCluster};
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::kafka::{broker, new_topic};
use crate::models;
use crate::patience::{PATIENCE, holds_within, wait_until};
use crate::support::{Random, assert_same_rows, job, plan, published, rows};

/// What tells this binary that it is a process of a job.
const VARIABLE: &str = "THALWEG_TEST_PROCESS";
/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

/// What a process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Assignment {
    pipeline: String,
    archives: PathBuf,
    output: PathBuf,
    /// Where it leaves what it has to say: `<process>.json`, its account, and `<process>.read`, once the source `busy` is read.
    notes: PathBuf,
    rows_max: usize,
    workers: usize,
    process: usize,
    addresses: Vec<String>,
    /// Rows that the source `busy` has, where the job is to be stopped from outside.
    busy_rows: Option<u64>,
    /// Whether it ends without warning when it has read a row.
    dies: bool,
}

impl Assignment {
    /// Of each process that runs a pipeline over the archives in this folder, with one worker.
    fn new(pipeline: &str, folder: &Path) -> Assignment {
        Assignment {
            pipeline: pipeline.to_owned(),
            archives: folder.to_owned(),
            output: folder.join("output"),
            notes: folder.join("notes"),
            rows_max: 1_000,
            workers: 1,
            process: 0,
            addresses: Vec::new(),
            busy_rows: None,
            dies: false,
        }
    }
}

// No test by itself: what the tests below run, as processes of their own.
#[test]
fn one_process_of_a_job() {
    let Ok(text) = env::var(VARIABLE) else { return };
    let mine: Assignment = serde_json::from_str(&text).expect("an assignment");
    let cluster = Cluster::Processes(ProcessCluster::new(mine.workers, mine.process, mine.addresses.clone()));
    let limits = TickLimits { rows_max: mine.rows_max, ..TickLimits::default() };
    let options = RunOptions { cluster, limits, ..RunOptions::new(mine.workers, &mine.output) };
    let control = Control::new();
    let job =
        prepare(&plan(&mine.pipeline, &mine.archives), &options, &control).expect("sources and folders");
    watch(&mine, job.status(), control);
    let summary = job.run().unwrap_or_else(|error| panic!("process {}: {error}", mine.process));
    let account = serde_json::to_string(&summary).expect("JSON");
    fs::write(mine.notes.join(format!("{}.json", mine.process)), account).expect("a note");
}

fn watch(mine: &Assignment, status: Status, control: Control) {
    let read = |name: &'static str| {
        let source = status.sources.iter().find(|source| source.name == name).cloned();
        move || source.as_ref().map_or(0, |source| source.read())
    };
    if mine.dies {
        let read = read("events");
        thread::spawn(move || {
            wait_until("a row is read", || read() > 0);
            std::process::exit(1);
        });
    }
    if let Some(rows) = mine.busy_rows {
        let (read, note) = (read("busy"), mine.notes.join(format!("{}.read", mine.process)));
        thread::spawn(move || {
            if holds_within(PATIENCE, || read() == rows) {
                fs::write(note, "").expect("a note");
            }
        });
        thread::spawn(move || {
            // The test says when to stop, by closing the pipe.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            control.stop();
        });
    }
}

/// The processes of a job.
struct Processes {
    children: Vec<Child>,
    notes: PathBuf,
}

impl Processes {
    fn start(each: &Assignment, processes: usize, dies: Option<usize>) -> Processes {
        // Free while all of them are held; whoever starts first takes them at once.
        let held: Vec<TcpListener> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
        let addresses: Vec<String> = held.iter().map(address).collect();
        drop(held);
        fs::create_dir_all(&each.notes).expect("a folder for notes");
        let start = |process: usize| {
            let addresses = addresses.clone();
            let mine = Assignment { process, addresses, dies: dies == Some(process), ..each.clone() };
            let log = File::create(each.notes.join(format!("{process}.log"))).expect("a log");
            Command::new(env::current_exe().expect("this binary"))
                .args(["--exact", "processes::one_process_of_a_job", "--nocapture"])
                .env(VARIABLE, serde_json::to_string(&mine).expect("JSON"))
                .stdin(Stdio::piped())
                .stdout(log.try_clone().expect("a log"))
                .stderr(log)
                .spawn()
                .expect("this binary starts")
        };
        Processes { children: (0..processes).map(start).collect(), notes: each.notes.clone() }
    }

    /// Whether a process ended well, once it has ended.
    fn ended_well(&mut self, process: usize) -> bool {
        let child = &mut self.children[process];
        let ended = holds_within(PATIENCE, || child.try_wait().expect("a child").is_some());
        assert!(ended, "process {process} did not end within {PATIENCE:?}; it said\n{}", self.log(process));
        self.children[process].wait().expect("a child").success()
    }

    fn log(&self, process: usize) -> String {
        fs::read_to_string(self.notes.join(format!("{process}.log"))).unwrap_or_default()
    }

    /// The accounts of all processes, which all have to end well.
    fn summaries(mut self) -> Vec<Json> {
        let processes = self.children.len();
        let summary = |process: usize| {
            assert!(self.ended_well(process), "process {process} failed:\n{}", self.log(process));
            let account = fs::read_to_string(self.notes.join(format!("{process}.json"))).expect("an account");
            serde_json::from_str(&account).expect("JSON")
        };
        (0..processes).map(summary).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Those that have ended are none to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Every kind of window, a union, ties that need the order of rows, and plain rows.
const WINDOWS: &str = r#"
pipeline: windows
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: name, type: string }
      - { name: number, type: int64 }
      - { name: float, type: float64 }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
    schema: event
    event_time: { field: at, lateness: 2s }
  others:
    archive: { path: "${ARCHIVES}/others" }
    schema: event
    event_time: { field: at, lateness: 2s }
steps:
  tumbling:
    from: events
    window: { tumbling: 10s }
    by: [name]
    select:
      events: count(*)
      total: sum(float)
      p90: quantile(float, 0.9)
      first: first_value(number)
      numbers: count(distinct number)
  hopping:
    from: events
    window: { hopping: 1m, every: 15s }
    by: [name]
    select: { events: count(*), mean: avg(float), worst: "arg_max(number, float)" }
  sessions:
    from: events
    window: { session: 700ms, max: 30s }
    by: [name]
    select: { events: count(*), total: sum(float), last: last_value(float) }
  both:
    from: [events, others]
    window: { tumbling: 1m }
    by: [number]
    select: { events: count(*), total: sum(float), names: "top_k(name, 3)" }
  trend:
    from: tumbling
    window: { tumbling: 1m }
    select: { rows: count(*), events: sum(events) }
  plain:
    from: [events, others]
    where: number = 7
    select: [at, name, float]
sinks:
  tumbling: { from: tumbling, parquet: {} }
  hopping: { from: hopping, parquet: {} }
  sessions: { from: sessions, parquet: {} }
  both: { from: both, parquet: {} }
  trend: { from: trend, parquet: {} }
  plain: { from: plain, parquet: {} }
"#;

/// Writes an archive of some partitions, out of order, with late rows and broken ones.
fn write_archive(folder: &Path, topic: &str, partitions: i32, rows: i64) {
    let mut random = Random(rows as u64);
    let mut writer =
        ArchiveWriter::new(folder.join(topic), ArchiveOptions::default()).expect("the archive's folder");
    for row in 0..rows {
        for partition in 0..partitions {
            let at = NOON_MS + row * 50 - random.below(3000) as i64;
            let (name, number) = (random.below(40), random.below(100));
            let float = (random.unit() - 0.5) * 10f64.powi(random.below(20) as i32);
            let value = match random.below(200) {
                0 => "{\"at\": ".to_owned(),
                _ => format!(
                    "{{\"at\": {at}, \"name\": \"n{name}\", \"number\": {number}, \"float\": {float}}}"
                ),
            };
            writer.push(partition, row, at, None, Some(value.as_bytes()), &[]).expect("a record");
        }
    }
    writer.finish().expect("the archive");
}

#[test]
fn two_processes_write_the_rows_that_one_worker_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_archive(folder.path(), "events", 5, 6_000);
    write_archive(folder.path(), "others", 3, 2_000);
    let alone = folder.path().join("alone");
    let plan: Plan = plan(WINDOWS, folder.path());
    let expected = job(&plan, &RunOptions::new(1, &alone));
    assert!(expected.sources.iter().all(|source| source.late > 0 && source.rejected > 0), "{expected:?}");

    for workers in [1, 2] {
        let output = folder.path().join(format!("output-{workers}"));
        let processes = Processes::start(
            &Assignment {
                output: output.clone(),
                notes: folder.path().join(format!("notes-{workers}")),
                workers,
                ..Assignment::new(WINDOWS, folder.path())
            },
            2,
            None,
        );
        let summaries = processes.summaries();
        // The first has the account of both, the other one its own part.
        let number = |process: usize, part: &str, at: usize, field: &str| {
            summaries[process][part][at][field].as_u64().expect("a number")
        };
        for (at, source) in expected.sources.iter().enumerate() {
            let found = ["read", "accepted", "late", "rejected"].map(|field| number(0, "sources", at, field));
            assert_eq!(
                found,
                [source.read, source.accepted, source.late, source.rejected],
                "{}",
                source.name
            );
            assert!((1..source.read).contains(&number(1, "sources", at, "read")), "{summaries:?}");
        }
        for (at, sink) in expected.sinks.iter().enumerate() {
            let name = format!("{workers} workers a process: {}", sink.name);
            assert!(sink.rows > 0, "{name}: nothing to compare");
            assert_same_rows(&name, &rows(&output, &sink.name), &rows(&alone, &sink.name));
            assert_eq!(number(0, "sinks", at, "rows"), sink.rows, "{name}");
            let of_other = number(1, "sinks", at, "rows");
            assert!((1..sink.rows).contains(&of_other) || sink.name == "trend", "{name}: {of_other}");
        }
    }
}

#[test]
fn two_processes_judge_keys_by_their_siblings_as_one_worker_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    models::write_calls_and_newcomers(folder.path(), 6);
    let alone = folder.path().join("alone");
    job(&plan(models::PIPELINE, folder.path()), &models::options(&alone, 1, 65_536));
    let each = Assignment { workers: 2, ..Assignment::new(models::PIPELINE, folder.path()) };
    assert_eq!(Processes::start(&each, 2, None).summaries().len(), 2);
    models::assert_same_outputs("two processes", &alone, &each.output);
}

const BUSY_AND_IDLE: &str = r#"
pipeline: busy_and_idle
sources:
  busy:
    archive: { path: "${ARCHIVES}/busy" }
    format: raw
  idle:
    kafka: { topic: IDLE, brokers: "BROKERS" }
    format: raw
steps:
  all: { from: [busy, idle], select: [_topic, _offset] }
sinks:
  all: { from: all, parquet: {} }
"#;

#[test]
fn an_idle_process_does_not_hold_up_a_busy_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let brokers = broker().brokers();
    let idle = new_topic(brokers, "idle", 2);
    // One partition: all of it is the first process's, the other one has nothing to read.
    let mut writer = ArchiveWriter::new(folder.path().join("busy"), ArchiveOptions::default())
        .expect("the archive's folder");
    let records = 5_000;
    for offset in 0..records {
        // The same timestamp: the watermark stands still, and ticks go on all the same.
        writer.push(0, offset, NOON_MS, None, Some(b"x"), &[]).expect("a record");
    }
    writer.finish().expect("the archive");
    let mut processes = Processes::start(
        &Assignment {
            rows_max: 100,
            busy_rows: Some(records.unsigned_abs()),
            ..Assignment::new(
                &BUSY_AND_IDLE.replace("IDLE", &idle).replace("BROKERS", brokers),
                folder.path(),
            )
        },
        2,
        None,
    );
    let all_read = folder.path().join("notes/0.read");
    wait_until("the busy process reads on while the other has nothing to read", || all_read.exists());
    processes.children.iter_mut().for_each(|child| drop(child.stdin.take()));
    let summaries = processes.summaries();
    assert!(summaries.iter().all(|summary| summary["stopped"] == true), "{summaries:?}");
    assert_eq!(rows(&folder.path().join("output"), "all").len() as i64, records);
}

#[test]
fn a_job_that_loses_a_process_ends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_archive(folder.path(), "events", 4, 5_000);
    write_archive(folder.path(), "others", 4, 5_000);
    let output = folder.path().join("output");
    let mut processes = Processes::start(
        &Assignment { rows_max: 1, workers: 2, ..Assignment::new(WINDOWS, folder.path()) },
        2,
        Some(1),
    );
    assert!(!processes.ended_well(1));
    assert!(!processes.ended_well(0), "a process went on without the other");
    let log = processes.log(0);
    assert!(log.contains("process 1 (") && log.contains("is gone"), "{log}");
    assert_eq!(published(&output), Vec::<PathBuf>::new(), "something incomplete was published");
}
