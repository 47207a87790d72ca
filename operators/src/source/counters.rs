//! What a source has done, readable while it runs.
//!
//! Atomics, written once a batch: workers write, whoever shows progress reads. Nothing in the data path waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use thalweg_engine::watermark::{BEGINNING, END, EventTime};

use super::SplitInfo;
use super::split::SplitState;
use crate::stopwatch::{Stopwatch, Stopwatches};

/// Counts of one source, over all workers of a process.
#[derive(Debug)]
pub struct SourceCounters {
    /// The source's name.
    pub name: String,
    bytes: AtomicU64,
    file_bytes: AtomicU64,
    /// The size of the archives' files, whatever part of them is read.
    archive_bytes: u64,
    accepted: AtomicU64,
    late: AtomicU64,
    rejected: AtomicU64,
    splits: Vec<SplitGauge>,
    waits_for_sinks: Stopwatches,
    waits_for_checkpoint: Stopwatches,
    waits_for_others: Stopwatches,
}

/// How far one split has come.
#[derive(Debug)]
pub struct SplitGauge {
    /// The split.
    pub split: SplitInfo,
    watermark: AtomicI64,
    highest: AtomicI64,
    /// −1: no worker of this process reads the split.
    next: AtomicI64,
    read: AtomicU64,
    idle: AtomicBool,
    /// −1: nobody has said.
    end: AtomicI64,
}

impl SplitGauge {
    fn new(split: SplitInfo) -> Self {
        SplitGauge {
            split,
            watermark: AtomicI64::new(BEGINNING),
            highest: AtomicI64::new(BEGINNING),
            next: AtomicI64::new(-1),
            read: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            end: AtomicI64::new(-1),
        }
    }

    /// Notes how far the split is.
    pub(super) fn note(&self, split: &SplitState, lateness_us: i64) {
        self.watermark.store(split.watermark(lateness_us), Relaxed);
        self.highest.store(split.highest.unwrap_or(BEGINNING), Relaxed);
        self.read.store(split.read, Relaxed);
        self.idle.store(split.idle, Relaxed);
        self.next.store(split.next.max(0), Relaxed);
    }

    /// The split's watermark, µs since the epoch; `thalweg_engine::watermark::BEGINNING` before its first row, `END` after its last.
    pub fn watermark(&self) -> EventTime {
        self.watermark.load(Relaxed)
    }

    /// The newest event time of its accepted rows; `None` before the first.
    pub fn highest(&self) -> Option<EventTime> {
        Some(self.highest.load(Relaxed)).filter(|highest| *highest != BEGINNING)
    }

    /// The offset after the last record read; `None` where no worker of this process reads the split.
    pub fn next(&self) -> Option<i64> {
        Some(self.next.load(Relaxed)).filter(|next| *next >= 0)
    }

    /// Rows read by this run.
    pub fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Whether the split holds back the watermark no more, because nothing has come of it for so long.
    pub fn idle(&self) -> bool {
        self.idle.load(Relaxed)
    }

    /// Notes the offset after the split's last record, where somebody has asked its broker.
    pub fn set_end(&self, end: i64) {
        self.end.store(end, Relaxed);
    }

    /// Rows that lie ahead, where that is known; an upper bound where offsets have gaps.
    pub fn lag_rows(&self) -> Option<u64> {
        let next = self.next()?;
        if self.watermark() == END {
            return Some(0);
        }
        let asked = Some(self.end.load(Relaxed)).filter(|end| *end >= 0);
        match (self.split.end.or(asked), self.split.records_ahead) {
            (Some(end), _) => Some(end.saturating_sub(next).max(0).unsigned_abs()),
            (None, Some(ahead)) => Some(ahead.saturating_sub(self.read())),
            (None, None) => None,
        }
    }
}

impl SourceCounters {
    /// Nothing read yet. `splits`: all splits of the source, in the order of their numbers.
    pub fn new(name: impl Into<String>, splits: Vec<SplitInfo>) -> Self {
        SourceCounters {
            name: name.into(),
            bytes: AtomicU64::new(0),
            file_bytes: AtomicU64::new(0),
            archive_bytes: 0,
            accepted: AtomicU64::new(0),
            late: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            splits: splits.into_iter().map(SplitGauge::new).collect(),
            waits_for_sinks: Stopwatches::default(),
            waits_for_checkpoint: Stopwatches::default(),
            waits_for_others: Stopwatches::default(),
        }
    }

    pub(super) fn add(&self, bytes: u64, accepted: u64, late: u64, rejected: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.accepted.fetch_add(accepted, Relaxed);
        self.late.fetch_add(late, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
    }

    /// The counters of a source that reads archives of this size, `looked_bytes` of which were read to find out where to begin.
    pub fn of_archives(mut self, archive_bytes: u64, looked_bytes: u64) -> Self {
        self.archive_bytes = archive_bytes;
        self.add_file_bytes(looked_bytes);
        self
    }

    pub(super) fn add_file_bytes(&self, bytes: u64) {
        self.file_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn split(&self, number: u32) -> &SplitGauge {
        &self.splits[number as usize]
    }

    /// For one worker's part of the source: says what it waits for.
    pub fn waits(&self) -> Waits {
        Waits {
            sinks: self.waits_for_sinks.add(),
            checkpoint: self.waits_for_checkpoint.add(),
            others: self.waits_for_others.add(),
        }
    }

    /// The splits, in the order of their numbers.
    pub fn splits(&self) -> &[SplitGauge] {
        &self.splits
    }

    /// Rows read: accepted, late and rejected ones.
    pub fn read(&self) -> u64 {
        self.accepted() + self.late() + self.rejected()
    }

    /// Bytes read: keys, values and headers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Bytes of an archive's files that were read, as they lie there; footers don't count. 0 of a topic.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Relaxed)
    }

    /// The size of all files of the archives that it reads from, decoded columns not among them; 0 of a topic.
    pub fn archive_bytes(&self) -> u64 {
        self.archive_bytes
    }

    /// Rows accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Rows behind their split's watermark.
    pub fn late(&self) -> u64 {
        self.late.load(Relaxed)
    }

    /// Rows that can't be decoded, or whose event time is impossible.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Records that lay ahead when reading began; `None` if a split has no end.
    pub fn records_ahead(&self) -> Option<u64> {
        self.splits.iter().map(|gauge| gauge.split.records_ahead).sum()
    }

    /// For how long a worker has not been let read by now, and what for; `None`: all may read.
    pub fn waiting(&self) -> Option<(WaitsFor, Duration)> {
        let of = |what, times: &Stopwatches| times.running().map(|time| (what, time));
        let sinks = of(WaitsFor::Sinks, &self.waits_for_sinks);
        let checkpoint = of(WaitsFor::Checkpoint, &self.waits_for_checkpoint);
        let others = of(WaitsFor::Others, &self.waits_for_others);
        sinks.into_iter().chain(checkpoint).chain(others).max_by_key(|(_, time)| *time)
    }

    /// For how long its workers have waited, in all.
    pub fn waited(&self, what: WaitsFor) -> Duration {
        match what {
            WaitsFor::Sinks => self.waits_for_sinks.total(),
            WaitsFor::Checkpoint => self.waits_for_checkpoint.total(),
            WaitsFor::Others => self.waits_for_others.total(),
        }
    }
}

/// What a source that may not read waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// That what it has read arrives at the sinks and is taken by them.
    Sinks,
    /// That the checkpoint before the one that it has taken part in is published.
    Checkpoint,
    /// That other workers, or other sources, come as far in event time as this one.
    Others,
}

/// How long a source on one worker waits.
pub struct Waits {
    sinks: Arc<Stopwatch>,
    checkpoint: Arc<Stopwatch>,
    others: Arc<Stopwatch>,
}

impl Waits {
    /// Notes that it may not read.
    pub fn wait(&self, what: WaitsFor) {
        let (on, off) = match what {
            WaitsFor::Sinks => (&self.sinks, [&self.checkpoint, &self.others]),
            WaitsFor::Checkpoint => (&self.checkpoint, [&self.sinks, &self.others]),
            WaitsFor::Others => (&self.others, [&self.sinks, &self.checkpoint]),
        };
        off.into_iter().for_each(|off| off.stop());
        on.start();
    }

    /// Notes that it reads on, or has ended.
    pub fn over(&self) {
        self.sinks.stop();
        self.checkpoint.stop();
        self.others.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(end: Option<i64>, records_ahead: Option<u64>) -> (SplitGauge, SplitState) {
        let split =
            SplitInfo { topic: "calls".into(), partition: 0, number: 0, start: 100, end, records_ahead };
        let state = SplitState::new(&split, &[]);
        (SplitGauge::new(split), state)
    }

    #[test]
    fn the_lag_is_known_where_the_end_is() {
        let (unbounded, mut state) = gauge(None, None);
        unbounded.set_end(150);
        assert_eq!(unbounded.lag_rows(), None, "another process reads it");
        unbounded.note(&state, 0);
        assert_eq!((unbounded.next(), unbounded.lag_rows()), (Some(100), Some(50)));
        (state.next, state.read, state.highest) = (160, 55, Some(7));
        unbounded.note(&state, 0);
        assert_eq!(unbounded.lag_rows(), Some(0), "read since the end was asked for");
        assert_eq!((unbounded.read(), unbounded.highest(), unbounded.watermark()), (55, Some(7), 7));

        let (bounded, mut state) = gauge(Some(180), Some(80));
        (state.next, state.read) = (160, 20);
        bounded.note(&state, 0);
        assert_eq!(bounded.lag_rows(), Some(20), "offsets have gaps");
        state.ended = true;
        bounded.note(&state, 0);
        assert_eq!(bounded.lag_rows(), Some(0));

        let (archive, mut state) = gauge(None, Some(80));
        (state.next, state.read) = (160, 20);
        archive.note(&state, 0);
        assert_eq!(archive.lag_rows(), Some(60));
        let (unknown, state) = gauge(None, None);
        unknown.note(&state, 0);
        assert_eq!(unknown.lag_rows(), None, "nobody has said");
    }

    #[test]
    fn a_source_waits_for_one_thing_at_a_time() {
        let counters = SourceCounters::new("calls", Vec::new());
        let (one, other) = (counters.waits(), counters.waits());
        assert_eq!(counters.waiting(), None);
        let what = |counters: &SourceCounters| counters.waiting().map(|(what, _)| what);
        one.wait(WaitsFor::Sinks);
        assert_eq!(what(&counters), Some(WaitsFor::Sinks));
        one.wait(WaitsFor::Checkpoint);
        assert_eq!(what(&counters), Some(WaitsFor::Checkpoint));
        let waited = counters.waited(WaitsFor::Sinks);
        other.wait(WaitsFor::Sinks);
        one.over();
        assert_eq!(what(&counters), Some(WaitsFor::Sinks));
        other.over();
        assert_eq!(counters.waiting(), None);
        assert!(counters.waited(WaitsFor::Sinks) >= waited);
    }
}
