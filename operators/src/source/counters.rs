//! What a source has done, readable while it runs.
//!
//! Atomics, added to once a batch: workers write, whoever shows progress reads. Nothing in the data path waits for them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use thalweg_engine::watermark::{BEGINNING, EventTime};

use super::SplitInfo;

/// Counts of one source, over all workers of a process.
#[derive(Debug)]
pub struct SourceCounters {
    /// The source's name.
    pub name: String,
    bytes: AtomicU64,
    accepted: AtomicU64,
    late: AtomicU64,
    rejected: AtomicU64,
    splits: Vec<SplitGauge>,
}

/// How far one split has come.
#[derive(Debug)]
pub struct SplitGauge {
    /// The split.
    pub split: SplitInfo,
    watermark: AtomicI64,
}

impl SplitGauge {
    pub(super) fn set(&self, watermark: EventTime) {
        self.watermark.store(watermark, Relaxed);
    }

    /// The split's watermark, µs since the epoch; `thalweg_engine::watermark::BEGINNING` before its first row, `END` after its last.
    pub fn watermark(&self) -> EventTime {
        self.watermark.load(Relaxed)
    }
}

impl SourceCounters {
    /// Nothing read yet. `splits`: all splits of the source, in the order of their numbers.
    pub fn new(name: impl Into<String>, splits: Vec<SplitInfo>) -> Self {
        let splits = splits
            .into_iter()
            .map(|split| SplitGauge { split, watermark: AtomicI64::new(BEGINNING) })
            .collect();
        SourceCounters {
            name: name.into(),
            bytes: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            late: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            splits,
        }
    }

    pub(super) fn add(&self, bytes: u64, accepted: u64, late: u64, rejected: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.accepted.fetch_add(accepted, Relaxed);
        self.late.fetch_add(late, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
    }

    pub(super) fn split(&self, number: u32) -> &SplitGauge {
        &self.splits[number as usize]
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
}
