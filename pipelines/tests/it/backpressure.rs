//! A sink that stalls: the sources stop reading after so many ticks or bytes, nothing deadlocks, and a stop or an error ends
//! the job.
//!
//! ```text
//!   Numbers (a SplitReader) ─▶ source ─▶ Stalling (holds ticks back until it gets permits) ─▶ gate
//!        │  counts what was read                │  counts what was taken                       │
//!        └── never more than taken + allowed ◀──┘           wakes the source ◀────────────────┘
//! ```

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use thalweg::run::{RunError, RunOptions, prepare};
use thalweg_engine::checkpoint::{Cuts, StagedFile};
use thalweg_engine::cluster::{self, Cluster};
use thalweg_engine::control::Control;
use thalweg_engine::gate::Gate;
use thalweg_engine::tick::{TickClock, TickLimits};
use thalweg_engine::{BatchStream, Batches, Out};
use thalweg_operators::sink::{Sink, SinkError, SinkJob, sink};
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_operators::source::{
    EventTimeConfig, ReadProgress, ReadRequest, Record, SourceConfig, SourceCounters, SourceError, SourceJob,
    SplitInfo, SplitReader, WaitsFor, source,
};
use thalweg_schemas::{Format, Schema};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::patience::{PATIENCE, Running, in_time, wait_until};
use crate::support::{job, plan, published, rows};

/// Rows of a tick, each of eight bytes.
const TICK_ROWS: u64 = 50;
const ROW_BYTES: u64 = 8;
/// Ticks, or as many bytes, that a source may be ahead.
const AHEAD: u64 = 3;
/// Ticks that each worker's source has.
const TICKS: u64 = 60;

/// How a stall is made: the first worker's sink takes a tick for each permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    /// It holds back ticks, and lets its worker go on: as a sink does that writes elsewhere.
    Holds,
    /// It blocks its worker.
    Blocks,
}

/// What the workers and the test share.
struct Shared {
    control: Control,
    cuts: Cuts,
    limits: TickLimits,
    stall: Stall,
    permits: Permits,
    /// Rows read and rows taken by sinks, of each worker.
    read: Vec<AtomicU64>,
    taken: Vec<AtomicU64>,
    /// A reader was called that should have waited.
    overran: AtomicBool,
    /// Of each source, once they are built.
    counters: Mutex<Vec<Arc<SourceCounters>>>,
}

impl Shared {
    fn new(workers: usize, stall: Stall, limits: TickLimits) -> Arc<Shared> {
        let counts = || (0..workers).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Shared {
            control: Control::new(),
            cuts: Cuts::new(0, workers, TickClock::default()),
            limits,
            stall,
            permits: Permits::default(),
            read: counts(),
            taken: counts(),
            overran: AtomicBool::new(false),
            counters: Mutex::default(),
        })
    }

    fn workers(&self) -> usize {
        self.read.len()
    }

    /// What the first source waits for, and how long its workers have waited for sinks.
    fn waits(&self) -> (Option<WaitsFor>, Duration) {
        let counters = self.counters.lock().expect("no panic");
        (counters[0].waiting().map(|(what, _)| what), counters[0].waited(WaitsFor::Sinks))
    }

    /// Rows that a worker may have read by now. The ticks of the others lie between those of the first: a tick of the first that
    /// is not taken yet leaves room for as many of theirs as may be ahead, and one that is open.
    fn rows_allowed(&self, worker: usize) -> u64 {
        let ticks = self.permits.given() + AHEAD;
        if worker == 0 { ticks * TICK_ROWS } else { (self.permits.given() + 1) * (AHEAD + 1) * TICK_ROWS }
    }
}

/// Ticks that the stalling sink may take.
#[derive(Default)]
struct Permits {
    given: Mutex<(u64, u64)>,
    more: Condvar,
}

impl Permits {
    fn give(&self, ticks: u64) {
        self.given.lock().expect("no panic").0 += ticks;
        self.more.notify_all();
    }

    fn given(&self) -> u64 {
        self.given.lock().expect("no panic").0
    }

    fn take_now(&self) -> bool {
        let mut given = self.given.lock().expect("no panic");
        let there = given.1 < given.0;
        given.1 += u64::from(there);
        there
    }

    fn take(&self) {
        let given = self.given.lock().expect("no panic");
        let wait = self.more.wait_timeout_while(given, PATIENCE, |given| given.1 == given.0);
        let (mut given, timeout) = wait.expect("no panic");
        assert!(!timeout.timed_out(), "no permit for {PATIENCE:?}");
        given.1 += 1;
    }
}

/// A split of numbers. `ticks`: how many ticks of them; `None`: none for now, and no end.
struct Numbers {
    shared: Arc<Shared>,
    worker: usize,
    infos: Vec<SplitInfo>,
    next: u64,
    ticks: Option<u64>,
}

impl SplitReader for Numbers {
    fn splits(&self) -> &[SplitInfo] {
        &self.infos
    }

    fn at_hand(&mut self, _split: usize) -> bool {
        self.ticks.is_some()
    }

    fn read(
        &mut self,
        request: ReadRequest<'_>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReadProgress, SourceError> {
        let Some(ticks) = self.ticks else { return Ok(ReadProgress::default()) };
        let rows = (ticks * TICK_ROWS - self.next).min(request.records_max as u64);
        for at in self.next..self.next + rows {
            let (offset, value) = (at as i64, at.to_le_bytes());
            let value = Some(value.as_slice());
            each(Record { split: 0, offset, timestamp_us: Some(offset), key: None, value, headers: &[] });
        }
        self.next += rows;
        let read = self.shared.read[self.worker].fetch_add(rows, SeqCst) + rows;
        if read > self.shared.rows_allowed(self.worker) {
            self.shared.overran.store(true, SeqCst);
        }
        let ended = if self.next == ticks * TICK_ROWS { vec![0] } else { Vec::new() };
        Ok(ReadProgress { records: rows as usize, bytes: (rows * ROW_BYTES) as usize, ended })
    }
}

/// Takes rows, and on the first worker waits for a permit before.
struct Blocking {
    shared: Arc<Shared>,
    worker: usize,
}

impl Sink for Blocking {
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError> {
        if self.worker == 0 && self.shared.stall == Stall::Blocks {
            self.shared.permits.take();
        }
        self.shared.taken[self.worker].fetch_add(batch.num_rows() as u64, SeqCst);
        Ok(())
    }

    fn stage(&mut self, _checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        Ok(Vec::new())
    }
}

/// Keeps what comes until there is a permit for it; the frontier waits meanwhile.
fn stalling<'scope>(rows: BatchStream<'scope>, shared: &Arc<Shared>) -> BatchStream<'scope> {
    let (shared, scope) = (Arc::clone(shared), rows.scope());
    let holds = scope.index() == 0 && shared.stall == Stall::Holds;
    rows.unary_frontier::<Out, _, _, _>(Pipeline, "stalling", move |cap, info| {
        drop(cap);
        let activator = scope.activator_for(info.address);
        let mut held = VecDeque::new();
        move |(input, _), output| {
            input.for_each(|at, container: &mut Batches| {
                let at = at.retain_least(0).expect("invariant: a message has a tick");
                held.extend(container.take().into_iter().map(|batch| (at.clone(), batch)));
            });
            while !held.is_empty() && (!holds || shared.permits.take_now()) {
                if let Some((at, batch)) = held.pop_front() {
                    output.session(&at).give_container(&mut Batches::one(batch));
                }
            }
            if !held.is_empty() {
                activator.activate_after(Duration::from_millis(1));
            }
        }
    })
}

fn source_config(name: &str, number: u32, limits: TickLimits) -> SourceConfig {
    SourceConfig {
        name: name.to_owned(),
        number,
        format: Format::Raw,
        schema: Arc::new(Schema { name: "raw".to_owned(), description: None, fields: Vec::new() }),
        fields: Vec::new(),
        metadata: Vec::new(),
        event_time: EventTimeConfig { field: None, lateness_us: 0, max_ahead_us: 0, idle_after: None },
        order: false,
        limits,
    }
}

/// Runs sources of so many ticks (`None`: idle) into the stalling sink, on every worker.
fn run_sources(shared: &Arc<Shared>, sources: &[Option<u64>]) {
    let (shared, sources) = (Arc::clone(shared), sources.to_vec());
    let workers = shared.workers();
    let split = |number: u32| SplitInfo {
        topic: "numbers".into(),
        partition: number as i32,
        number,
        start: 0,
        end: None,
        records_ahead: None,
    };
    let counters: Vec<Arc<SourceCounters>> = (0..sources.len())
        .map(|number| {
            Arc::new(SourceCounters::new(number.to_string(), (0..workers as u32).map(split).collect()))
        })
        .collect();
    shared.counters.lock().expect("no panic").clone_from(&counters);
    cluster::run(&Cluster::Threads { workers }, move |worker| {
        let (index, gate) = (worker.index(), Gate::new());
        worker.dataflow(|scope| {
            for (number, ticks) in sources.iter().enumerate() {
                let reader = Numbers {
                    shared: Arc::clone(&shared),
                    worker: index,
                    infos: vec![split(index as u32)],
                    next: 0,
                    ticks: *ticks,
                };
                let job = SourceJob {
                    control: shared.control.clone(),
                    gate: gate.clone(),
                    cuts: shared.cuts.clone(),
                    positions: Arc::default(),
                    counters: Arc::clone(&counters[number]),
                };
                let config = source_config(&number.to_string(), number as u32, shared.limits);
                let streams = source(scope, config, Box::new(reader), job);
                let out = Blocking { shared: Arc::clone(&shared), worker: index };
                let rows = stalling(streams.rows, &shared);
                let job = SinkJob {
                    control: shared.control.clone(),
                    gate: gate.clone(),
                    cuts: shared.cuts.clone(),
                };
                sink(rows, "numbers", Box::new(out), job);
                gate.watch(streams.late);
                gate.watch(streams.rejected);
            }
        });
    })
    .expect("workers that end");
}

/// Ahead by ticks, and ahead by as many bytes.
fn limits() -> [TickLimits; 2] {
    let common = TickLimits {
        rows_max: TICK_ROWS as usize,
        age_max: Duration::from_secs(3600),
        ..TickLimits::default()
    };
    [
        TickLimits { ahead_ticks_max: AHEAD as usize, ..common },
        TickLimits {
            ahead_ticks_max: 1000,
            ahead_bytes_max: (AHEAD * TICK_ROWS * ROW_BYTES) as usize,
            ..common
        },
    ]
}

#[test]
fn a_stalled_sink_stops_the_reading_and_loses_nothing() {
    for limits in limits() {
        for (workers, stall) in [(1, Stall::Holds), (3, Stall::Holds), (3, Stall::Blocks)] {
            let what = format!("{workers} workers, {stall:?}, {limits:?}");
            let shared = Shared::new(workers, stall, limits);
            let running = {
                let shared = Arc::clone(&shared);
                Running::start(move || run_sources(&shared, &[Some(TICKS)]))
            };
            // Nothing is taken by the first worker: every source reads as far as it may, and waits. One whose own worker is
            // blocked waits with it.
            let first = usize::from(stall == Stall::Blocks);
            for worker in first..workers {
                let ahead = || shared.read[worker].load(SeqCst) == AHEAD * TICK_ROWS;
                wait_until(&format!("{what}: worker {worker} reads as far as it may"), ahead);
            }
            for taken in 1..=5 {
                shared.permits.give(1);
                if stall == Stall::Holds {
                    let reads_on = || shared.read[0].load(SeqCst) == (taken + AHEAD) * TICK_ROWS;
                    wait_until(&format!("{what}: one tick taken is one tick read"), reads_on);
                } else {
                    let takes = || shared.taken[0].load(SeqCst) == taken * TICK_ROWS;
                    wait_until(&format!("{what}: a tick is taken"), takes);
                }
            }
            shared.permits.give(TICKS);
            running.end();
            assert!(!shared.overran.load(SeqCst), "{what}: a source read on though the sink had stalled");
            for worker in 0..workers {
                let rows = [&shared.read, &shared.taken].map(|counts| counts[worker].load(SeqCst));
                assert_eq!(rows, [TICKS * TICK_ROWS; 2], "{what}: rows read and taken by worker {worker}");
            }
            assert!(shared.control.take_error().is_none());
        }
    }
}

#[test]
fn a_stop_while_the_sink_stalls_ends_the_job_with_what_was_read() {
    for workers in [1, 3] {
        let shared = Shared::new(workers, Stall::Holds, limits()[0]);
        let running = {
            let shared = Arc::clone(&shared);
            Running::start(move || run_sources(&shared, &[Some(TICKS)]))
        };
        for read in &shared.read {
            wait_until("every source waits", || read.load(SeqCst) == AHEAD * TICK_ROWS);
        }
        wait_until("it is known what they wait for", || shared.waits().0 == Some(WaitsFor::Sinks));
        shared.control.end();
        shared.permits.give(AHEAD);
        running.end();
        let (waits, waited) = shared.waits();
        assert!(waits.is_none() && waited > Duration::ZERO, "{waits:?} after {waited:?}");
        for worker in 0..workers {
            let rows = [&shared.read, &shared.taken].map(|counts| counts[worker].load(SeqCst));
            assert_eq!(rows, [AHEAD * TICK_ROWS; 2], "rows read and taken by worker {worker} of {workers}");
        }
    }
}

#[test]
fn an_idle_source_beside_a_busy_one_does_not_hold_it_up() {
    for workers in [1, 3] {
        for sources in [[Some(TICKS), None], [None, Some(TICKS)]] {
            let shared = Shared::new(workers, Stall::Holds, limits()[0]);
            shared.permits.give(2 * TICKS);
            let running = {
                let shared = Arc::clone(&shared);
                Running::start(move || run_sources(&shared, &sources))
            };
            for taken in &shared.taken {
                wait_until("the busy source is read to its end", || taken.load(SeqCst) == TICKS * TICK_ROWS);
            }
            // The idle one has no end.
            shared.control.end();
            running.end();
        }
    }
}

/// Fails at its first row on the second worker.
struct Failing {
    worker: usize,
    staged: Arc<AtomicBool>,
}

impl Sink for Failing {
    fn write(&mut self, _batch: RecordBatch) -> Result<(), SinkError> {
        if self.worker == 1 {
            let (sink, format) = ("numbers".to_owned(), "numbers");
            return Err(SinkError::Format { sink, format, detail: "the disk is full".to_owned() });
        }
        Ok(())
    }

    fn stage(&mut self, _checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        self.staged.store(true, SeqCst);
        Ok(Vec::new())
    }
}

#[test]
fn a_sink_that_fails_on_one_worker_ends_the_job_on_all_and_none_completes() {
    let workers = 3;
    let shared = Shared::new(workers, Stall::Holds, limits()[0]);
    let staged = Arc::new(AtomicBool::new(false));
    let (job_shared, job_staged) = (Arc::clone(&shared), Arc::clone(&staged));
    in_time(move || {
        cluster::run(&Cluster::Threads { workers }, move |worker| {
            let (index, gate, shared) = (worker.index(), Gate::new(), &job_shared);
            worker.dataflow(|scope| {
                let info = SplitInfo {
                    topic: "numbers".into(),
                    partition: 0,
                    number: 0,
                    start: 0,
                    end: None,
                    records_ahead: None,
                };
                let counters = Arc::new(SourceCounters::new("numbers", vec![info.clone()]));
                let job = SourceJob {
                    control: shared.control.clone(),
                    gate: gate.clone(),
                    cuts: shared.cuts.clone(),
                    positions: Arc::default(),
                    counters,
                };
                // Far more than can be read before the failure is known: the gate sees to that.
                let reader = Numbers {
                    shared: Arc::clone(shared),
                    worker: index,
                    infos: vec![info],
                    next: 0,
                    ticks: Some(1_000_000),
                };
                let config = source_config("numbers", 0, shared.limits);
                let streams = source(scope, config, Box::new(reader), job);
                let out = Failing { worker: index, staged: Arc::clone(&job_staged) };
                let job = SinkJob {
                    control: shared.control.clone(),
                    gate: gate.clone(),
                    cuts: shared.cuts.clone(),
                };
                sink(streams.rows, "numbers", Box::new(out), job);
            });
        })
    })
    .expect("workers that end");
    let error = shared.control.take_error().expect("the sink's error").to_string();
    assert!(error.contains("the disk is full"), "{error}");
    assert!(!staged.load(SeqCst), "a sink staged what is incomplete");
    for read in &shared.read {
        assert!(read.load(SeqCst) < 1_000_000 * TICK_ROWS, "a source read on to its end");
    }
}

const EVENTS: &str = r#"
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: number, type: int64, required: true }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
    schema: event
    event_time: { field: at }
"#;

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

/// An archive of some partitions; rows a second apart.
fn write_events(folder: &Path, partitions: i32, rows: i64) {
    let mut writer =
        ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("the archive's folder");
    for offset in 0..rows {
        for partition in 0..partitions {
            let at = NOON_MS + offset * 1000;
            let value = format!("{{\"at\": {at}, \"number\": {offset}}}");
            writer.push(partition, offset, at, None, Some(value.as_bytes()), &[]).expect("a record");
        }
    }
    writer.finish().expect("the archive");
}

#[test]
fn windows_over_many_more_ticks_than_a_source_may_be_ahead_do_not_block_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path(), 3, 400);
    let text = format!(
        "pipeline: long{EVENTS}
steps:
  days: {{ from: events, window: {{ tumbling: 1d }}, select: {{ events: count(*) }} }}
  hopping: {{ from: events, window: {{ hopping: 1h, every: 1h }}, select: {{ events: count(*) }} }}
  sessions: {{ from: events, window: {{ session: 1h }}, by: [{{ odd: number % 2 }}], select: {{ events: count(*) }} }}
  over: {{ from: sessions, window: {{ tumbling: 1d }}, select: {{ events: sum(events) }} }}
sinks:
  days: {{ from: days, parquet: {{}} }}
  hopping: {{ from: hopping, parquet: {{}} }}
  sessions: {{ from: sessions, parquet: {{}} }}
  over: {{ from: over, parquet: {{}} }}
"
    );
    let plan = plan(&text, folder.path());
    for workers in [1, 3] {
        let output = folder.path().join(format!("output-{workers}"));
        let limits = TickLimits { rows_max: 1, ahead_ticks_max: 1, ..TickLimits::default() };
        let options = RunOptions { limits, ..RunOptions::new(workers, &output) };
        let plan = plan.clone();
        in_time(move || job(&plan, &options));
        let events = |sink: &str| -> Vec<i64> {
            let rows = crate::support::query(&output, &format!("select events from {sink}"));
            rows.iter().map(|row| row["events"].as_i64().expect("a count")).collect()
        };
        assert_eq!(events("days"), [1200]);
        assert_eq!(events("hopping"), [1200]);
        assert_eq!(events("sessions"), [600, 600]);
        assert_eq!(events("over"), [1200]);
        assert_eq!(rows(&output, "sessions").len(), 2);
    }
}

#[test]
fn an_expression_that_fails_ends_the_job_on_all_workers_and_nothing_is_published() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = 20_000;
    write_events(folder.path(), 3, rows);
    let text = format!(
        "pipeline: fails{EVENTS}
steps:
  inverse: {{ from: events, select: [at, number, {{ inverse: 1 / (number - 20) }}] }}
  per_minute: {{ from: inverse, window: {{ tumbling: 1m }}, select: {{ events: count(*), total: sum(inverse) }} }}
sinks:
  inverse: {{ from: inverse, parquet: {{}} }}
  per_minute: {{ from: per_minute, parquet: {{}} }}
  events: {{ from: events, parquet: {{}} }}
"
    );
    let plan = plan(&text, folder.path());
    for workers in [1, 3] {
        let output = folder.path().join(format!("output-{workers}"));
        let limits = TickLimits { rows_max: 10, ..TickLimits::default() };
        let options = RunOptions { limits, ..RunOptions::new(workers, &output) };
        let control = Control::new();
        let job = prepare(&plan, &options, &control).expect("a source and folders");
        let status = job.status();
        let error = match in_time(move || job.run()) {
            Err(RunError::Failed(error)) => error.to_string(),
            other => panic!("{workers} workers: {other:?}"),
        };
        assert!(
            error.starts_with("step inverse: 1 / (number - 20): ") && error.contains("nullif(…, 0)"),
            "{error}"
        );
        assert_eq!(published(&output), Vec::<std::path::PathBuf>::new(), "{workers} workers");
        let (read, all) = (status.sources[0].read(), 3 * rows.unsigned_abs());
        assert!(read < all / 2, "{workers} workers read {read} of {all} rows of a job that had failed");
    }
}
