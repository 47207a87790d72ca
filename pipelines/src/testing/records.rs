//! Records that are given, and not read from anywhere: a test's input, as a source of the real engine.
//!
//! ```text
//!   GivenRecords (a part of the plan) ──▶ reader(worker, workers) ──▶ SplitReader::read ──▶ decode, lateness … as ever
//!        │ floor: no split's watermark is below                └─▶ all handed over: the job is told to stop, or its splits end
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thalweg_engine::checkpoint::SplitPosition;
use thalweg_engine::control::Control;
use thalweg_engine::watermark::EventTime;
use thalweg_operators::source::{
    Header, ReadProgress, ReadRequest, Record, SourceError, SplitInfo, SplitReader, record_bytes,
};

/// A record that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenRecord {
    /// Its offset: ascending within its split.
    pub offset: i64,
    /// Its timestamp, microseconds since the epoch.
    pub timestamp_us: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A split that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenSplit {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its records, by offset.
    pub records: Vec<GivenRecord>,
}

/// What comes after the last record.
#[derive(Debug, Clone)]
pub enum Afterwards {
    /// The splits end: nothing will ever come.
    End,
    /// The job stops, once the records of all its sources have been read. Of each source, how many are left.
    Stop(Arc<Vec<AtomicU64>>),
}

/// The records of a source. Cheap to clone; equal to its clones alone.
#[derive(Clone)]
pub struct GivenRecords(Arc<Given>);

struct Given {
    number: usize,
    splits: Vec<GivenSplit>,
    floor: Option<EventTime>,
    afterwards: Afterwards,
}

impl GivenRecords {
    /// The records of source `number`, of whose splits no watermark is below `floor`.
    pub fn new(
        number: usize,
        splits: Vec<GivenSplit>,
        floor: Option<EventTime>,
        afterwards: Afterwards,
    ) -> Self {
        GivenRecords(Arc::new(Given { number, splits, floor, afterwards }))
    }

    /// Its splits.
    pub fn given(&self) -> &[GivenSplit] {
        &self.0.splits
    }

    /// Whether its splits end.
    pub fn ends(&self) -> bool {
        matches!(self.0.afterwards, Afterwards::End)
    }

    /// Its splits, and where reading begins: where a checkpoint left them, or at their first record.
    pub(crate) fn splits(&self, from: &[SplitPosition]) -> Vec<SplitInfo> {
        let infos: Vec<SplitInfo> = (0..)
            .zip(&self.0.splits)
            .map(|(number, split)| {
                let known =
                    from.iter().find(|at| *at.topic == *split.topic && at.partition == split.partition);
                let start = known.map_or(0, |at| at.next);
                let ahead = split.records.iter().filter(|record| record.offset >= start).count() as u64;
                SplitInfo {
                    topic: Arc::clone(&split.topic),
                    partition: split.partition,
                    number,
                    start,
                    end: None,
                    records_ahead: matches!(self.0.afterwards, Afterwards::End).then_some(ahead),
                }
            })
            .collect();
        if let Afterwards::Stop(left) = &self.0.afterwards {
            left[self.0.number].store(self.ahead(&infos), Ordering::Release);
        }
        infos
    }

    fn ahead(&self, infos: &[SplitInfo]) -> u64 {
        let of = |(split, info): (&GivenSplit, &SplitInfo)| {
            split.records.iter().filter(|record| record.offset >= info.start).count() as u64
        };
        self.0.splits.iter().zip(infos).map(of).sum()
    }

    /// Raises the splits' floors.
    pub(crate) fn raise(&self, positions: &mut [SplitPosition]) {
        positions.iter_mut().for_each(|position| position.floor = position.floor.max(self.0.floor));
    }

    /// One worker's splits, those whose number leaves `worker` when divided by `workers`.
    pub(crate) fn reader(
        &self,
        infos: &[SplitInfo],
        worker: usize,
        workers: usize,
        control: &Control,
    ) -> GivenReader {
        let splits: Vec<SplitInfo> =
            infos.iter().filter(|split| split.number as usize % workers == worker).cloned().collect();
        let next = splits
            .iter()
            .map(|info| {
                let records = &self.0.splits[info.number as usize].records;
                records.partition_point(|record| record.offset < info.start)
            })
            .collect();
        GivenReader { given: self.clone(), splits, next, control: control.clone() }
    }
}

impl fmt::Debug for GivenRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GivenRecords({} splits)", self.0.splits.len())
    }
}

impl PartialEq for GivenRecords {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for GivenRecords {}

/// A worker's splits of given records.
pub(crate) struct GivenReader {
    given: GivenRecords,
    splits: Vec<SplitInfo>,
    /// Of each split, the index of the record to hand over next.
    next: Vec<usize>,
    control: Control,
}

impl GivenReader {
    fn records(&self, split: usize) -> &[GivenRecord] {
        &self.given.0.splits[self.splits[split].number as usize].records
    }
}

impl SplitReader for GivenReader {
    fn splits(&self) -> &[SplitInfo] {
        &self.splits
    }

    fn at_hand(&mut self, split: usize) -> bool {
        self.next[split] < self.records(split).len()
    }

    fn read(
        &mut self,
        request: ReadRequest<'_>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReadProgress, SourceError> {
        let mut progress = ReadProgress::default();
        for &split in request.order {
            while progress.records < request.records_max && progress.bytes < request.bytes_max {
                let Some(record) = self.records(split).get(self.next[split]) else { break };
                let headers: Vec<Header<'_>> =
                    record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                each(Record {
                    split,
                    offset: record.offset,
                    timestamp_us: record.timestamp_us,
                    key,
                    value,
                    headers: &headers,
                });
                progress.records += 1;
                progress.bytes += record_bytes(key, value, &headers);
                self.next[split] += 1;
            }
        }
        match &self.given.0.afterwards {
            Afterwards::End => {
                let ended =
                    request.order.iter().filter(|split| self.next[**split] == self.records(**split).len());
                progress.ended = ended.copied().collect();
            }
            Afterwards::Stop(left) => {
                left[self.given.0.number].fetch_sub(progress.records as u64, Ordering::AcqRel);
                if left.iter().all(|left| left.load(Ordering::Acquire) == 0) {
                    self.control.stop();
                }
            }
        }
        Ok(progress)
    }
}
