//! A crash at any step of checkpoints and publishing loses no row, and repeats none.
//!
//! ```text
//!   failpoint!("…") in the sources ◀── the same names ──▶ POINTS
//!   each: run ─▶ dies at its first hit ─▶ run ─▶ dies at its second ─▶ run ─▶ the rows of a job that nobody touched
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::binary::{Run, account, committed_records, sink_rows};
use crate::kafka::{broker, new_topic};
use crate::support::{Random, assert_same_rows, files};

/// A place where the sources let a test crash the process.
struct Point {
    name: &'static str,
    /// Whether a job comes by that makes no checkpoint but its last.
    at_the_end: bool,
}

const fn point(name: &'static str) -> Point {
    Point { name, at_the_end: true }
}

const POINTS: [Point; 17] = [
    Point { name: "checkpoint::asked", at_the_end: false },
    point("checkpoint::before_state"),
    point("checkpoint::between_state_files"),
    point("checkpoint::prepared"),
    point("checkpoint::before_manifest"),
    point("checkpoint::after_manifest"),
    point("checkpoint::before_publishing_a_sink"),
    point("sink::published_a_file"),
    point("checkpoint::published"),
    point("checkpoint::forgetting"),
    point("delta::before_commit"),
    point("delta::committed"),
    point("kafka::begun"),
    point("kafka::written"),
    point("kafka::before_commit"),
    point("kafka::committed"),
    point("kafka::noted"),
];

const PIPELINE: &str = r#"
pipeline: crashes
checkpoint: CHECKPOINT
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: name, type: string }
      - { name: region, type: string }
      - { name: number, type: int64 }
      - { name: float, type: float64 }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
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
    window: { session: 700ms }
    by: [name]
    select: { events: count(*), total: sum(float), last: last_value(float) }
  short_sessions:
    from: events
    window: { session: 900ms, max: 20s }
    by: [name]
    select: { events: count(*), highest: max(float) }
  trend:
    from: tumbling
    window: { tumbling: 1m }
    select: { rows: count(*), events: sum(events) }
  plain:
    from: events
    where: number < 20
    select: [at, name, region, float]
sinks:
  tumbling: { from: tumbling, parquet: {} }
  hopping: { from: hopping, jsonl: {} }
  sessions: { from: sessions, delta: {} }
  short_sessions: { from: short_sessions, parquet: { partition_by: [window_date] } }
  trend: { from: trend, jsonl: {} }
  plain: { from: plain, parquet: { partition_by: [region] } }
  sent: { from: tumbling, kafka: { topic: "${TOPIC}", brokers: "${BROKERS}", key: [name] } }
"#;

/// Those that write into folders.
const SINKS: [&str; 8] =
    ["tumbling", "hopping", "sessions", "short_sessions", "trend", "plain", "_late", "_rejected"];
const MANY: &str = "{ interval: 100ms, every_rows: 3_000, keep: 3 }";
const ONE: &str = "{ interval: 1h }";
const PARTITIONS: i32 = 4;
const EVENTS: i64 = 60_000;
/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

/// Events out of order, some late and some broken.
fn write_archive(folder: &Path) {
    let mut random = Random(11);
    let mut writer =
        ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("the archive's folder");
    for row in 0..EVENTS / i64::from(PARTITIONS) {
        for partition in 0..PARTITIONS {
            let at = NOON_MS + row * 20 - random.below(2200) as i64;
            let (name, number) = (random.below(60), random.below(100));
            let region = ["\"eu-west\"", "\"us/east\"", "null"][random.below(3) as usize];
            let float = (random.unit() - 0.5) * 10f64.powi(random.below(20) as i32);
            let value = match random.below(300) {
                0 => "{\"at\": ".to_owned(),
                _ => format!(
                    "{{\"at\":{at},\"name\":\"n{name}\",\"region\":{region},\"number\":{number},\"float\":{float}}}"
                ),
            };
            writer.push(partition, row, at, None, Some(value.as_bytes()), &[]).expect("a record");
        }
    }
    writer.finish().expect("the archive");
}

/// What a job wrote.
struct Outcome {
    rows: BTreeMap<&'static str, Vec<String>>,
    account: [u64; 4],
}

fn outcome(run: &Run) -> Outcome {
    let mut rows = BTreeMap::from(SINKS.map(|sink| (sink, sink_rows(&run.output, sink))));
    let topic =
        run.environment.iter().find(|(name, _)| *name == "TOPIC").and_then(|(_, topic)| topic.to_str());
    rows.insert("sent", committed_records(broker().brokers(), topic.expect("a topic")));
    Outcome { rows, account: account(&run.output) }
}

/// The jobs of this test.
struct Jobs {
    folder: PathBuf,
}

impl Jobs {
    /// What a job writes that nobody touches.
    fn undisturbed(&self) -> Outcome {
        let run = self.run("undisturbed", ONE);
        run.to_the_end();
        outcome(&run)
    }

    /// With as many checkpoints as `checkpoint` asks for.
    fn run(&self, name: &str, checkpoint: &str) -> Run {
        let pipeline = self.folder.join(format!("{name}.yaml"));
        fs::write(&pipeline, PIPELINE.replace("CHECKPOINT", checkpoint)).expect("a pipeline");
        let output = self.folder.join(name);
        let brokers = broker().brokers();
        let environment = vec![
            ("ARCHIVES", self.folder.clone().into()),
            ("BROKERS", brokers.into()),
            ("TOPIC", new_topic(brokers, name, 2).into()),
        ];
        Run { environment, ..Run::new(&pipeline, &output) }
    }

    /// Runs it on so many workers to its crash. It may end well before it comes by so often, but not where it `must` come by.
    fn crash(&self, run: &Run, workers: usize, point: &str, action: &str, must: bool) {
        let mut running = Run { workers, failpoints: format!("{point}={action}"), ..run.clone() }.start();
        let status = running.end();
        let aborted = status.signal() == Some(Signal::SIGABRT as i32);
        println!("{point}={action}: {status}");
        assert!(aborted || status.success() && !must, "{point}={action}: {status}: {}", running.log());
    }

    /// Runs it in two processes to the crash of the one that does not lead; the other one has to end then.
    fn crash_follower(&self, run: &Run, point: &str, action: &str) {
        let hosts = run.pipeline.with_extension("hosts");
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let lines = ports.map(|port| format!("{}\n", port.local_addr().expect("its address")));
        fs::write(&hosts, lines.concat()).expect("the list of processes");
        let start = |process: usize, failpoints: String| {
            Run { workers: 2, member: Some((process, hosts.clone())), failpoints, ..run.clone() }.start()
        };
        let (mut leader, mut follower) = (start(0, String::new()), start(1, format!("{point}={action}")));
        let status = follower.end();
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{point}: {status}: {}", follower.log());
        let status = leader.end();
        let said = leader.log();
        assert!(
            !status.success() && said.contains("process 1 (") && said.contains("is gone"),
            "{point}: {said}"
        );
    }

    /// Runs it to its end, and compares.
    fn end(&self, run: &Run, processes: usize, what: &str, undisturbed: &Outcome) {
        let said = Run { processes, ..run.clone() }.to_the_end();
        let found = outcome(run);
        assert_eq!(found.account, undisturbed.account, "{what}: read, accepted, late, rejected; {said}");
        for (sink, rows) in &found.rows {
            assert_same_rows(&format!("{what}: {sink}"), rows, &undisturbed.rows[sink]);
        }
    }

    fn crash_and_compare(&self, point: &Point, undisturbed: &Outcome) {
        let file_name = point.name.replace("::", "-");
        let run = self.run(&format!("many-{file_name}"), MANY);
        self.crash(&run, 2, point.name, "return", true);
        self.crash(&run, 3, point.name, "1*off->return", false);
        self.end(&run, 1, point.name, undisturbed);
        // Where the last checkpoint is there, and perhaps not all of it is published: nothing is left to read.
        let run = self.run(&format!("one-{file_name}"), ONE);
        self.crash(&run, 2, point.name, "return", point.at_the_end);
        self.end(&run, 2, &format!("{} at the last checkpoint", point.name), undisturbed);
    }
}

#[test]
fn a_crash_at_any_failpoint_changes_no_row() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_archive(folder.path());
    let jobs = Jobs { folder: folder.path().to_owned() };
    let undisturbed = jobs.undisturbed();
    let [read, accepted, late, rejected] = undisturbed.account;
    assert_eq!(read, EVENTS.unsigned_abs());
    assert!(accepted > late && late > 100 && rejected > 100, "{:?}", undisturbed.account);
    assert!(undisturbed.rows.values().all(|rows| !rows.is_empty()), "nothing to compare");

    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(point) = POINTS.get(next.fetch_add(1, Ordering::Relaxed)) {
            jobs.crash_and_compare(point, &undisturbed);
        }
    };
    thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(work)).map(|thread| thread.join().expect("all points"))
    });
}

#[test]
fn a_crash_of_a_process_that_does_not_lead_changes_no_row() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_archive(folder.path());
    let jobs = Jobs { folder: folder.path().to_owned() };
    let undisturbed = jobs.undisturbed();
    for point in ["checkpoint::before_state", "checkpoint::between_state_files", "checkpoint::prepared"] {
        let run = jobs.run(&format!("follower-{}", point.replace("::", "-")), MANY);
        jobs.crash_follower(&run, point, "return");
        jobs.crash_follower(&run, point, "1*off->return");
        jobs.end(&run, 2, point, &undisturbed);
    }
}

/// The names in `failpoint!("…")` of all sources in a folder.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let sources = files(folder).into_iter().filter(|path| path.extension().is_some_and(|of| of == "rs"));
    let mut names = BTreeSet::new();
    for path in sources {
        let text = fs::read_to_string(&path).expect("a source");
        for call in text.split("failpoint!(").skip(1) {
            let name = call.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
            let (name, _) = name.unwrap_or_else(|| panic!("{}: a failpoint without a name", path.display()));
            assert!(names.insert(name.to_owned()), "{}: there are two failpoints {name}", path.display());
        }
    }
    names
}

#[test]
fn no_failpoint_is_forgotten() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders =
        ["engine/src", "operators/src", "operators/kafka/src", "operators/delta/src", "pipelines/src"];
    let found: BTreeSet<String> =
        folders.iter().flat_map(|folder| names_in(&workspace.join(folder))).collect();
    let crashed = POINTS.iter().map(|point| point.name).chain(crate::reinject::POINTS);
    let crashed: BTreeSet<String> = crashed.map(str::to_owned).collect();
    assert_eq!(crashed, found, "left: those that the test crashes at, right: those in the sources");
}
