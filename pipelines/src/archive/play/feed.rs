//! The splits of an archive, merged by time: a few records of each wait for their turn.

use std::collections::VecDeque;
use std::time::Duration;

use thalweg_operators::source::archive::{ArchivePlan, ArchiveReader};
use thalweg_operators::source::{ReadRequest, Record, SplitReader};

use crate::archive::ArchiveError;

/// Records and bytes of a split that wait for their turn.
const QUEUE_RECORDS: usize = 512;
const QUEUE_BYTES: usize = 1 << 20;

/// When a record is due before which there is no timestamp in its split.
pub(super) const DUE_NOW: i64 = i64::MIN;

/// A record that waits for its turn.
pub(super) struct Owned {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since the epoch; brokers have none that is not above 0.
    pub(super) timestamp_ms: Option<i64>,
    /// The latest timestamp of its split so far, in microseconds: within a split the offset decides.
    due_us: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Owned {
    fn of(partition: i32, record: &Record<'_>, due_us: i64) -> Owned {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Owned {
            partition,
            offset: record.offset,
            timestamp_ms: timestamp_ms(record),
            due_us,
            key: owned(record.key),
            value: owned(record.value),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), owned(*value))).collect(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}

fn timestamp_ms(record: &Record<'_>) -> Option<i64> {
    record.timestamp_us.map(|us| us.div_euclid(1000)).filter(|ms| *ms > 0)
}

/// The splits of an archive, merged by time.
pub(super) struct Feed {
    reader: ArchiveReader,
    queues: Vec<Queue>,
}

struct Queue {
    partition: i32,
    records: VecDeque<Owned>,
    latest_us: i64,
    ended: bool,
}

impl Feed {
    pub(super) fn new(plan: &ArchivePlan) -> Result<Feed, ArchiveError> {
        let reader = plan.reader(0, 1)?;
        let queue =
            |partition| Queue { partition, records: VecDeque::new(), latest_us: DUE_NOW, ended: false };
        let queues = reader.splits().iter().map(|split| queue(split.partition)).collect();
        Ok(Feed { reader, queues })
    }

    /// When the next record is due, which may be [`DUE_NOW`]; `None`: there is none.
    pub(super) fn next_due(&mut self) -> Result<Option<i64>, ArchiveError> {
        for (split, queue) in self.queues.iter_mut().enumerate() {
            while queue.records.is_empty() && !queue.ended {
                let order = [split];
                let request = ReadRequest {
                    bytes_max: QUEUE_BYTES,
                    records_max: QUEUE_RECORDS,
                    wait: Duration::ZERO,
                    order: &order,
                };
                let Queue { partition, records, latest_us, .. } = &mut *queue;
                let progress = self.reader.read(request, &mut |record| {
                    let own = timestamp_ms(&record).and(record.timestamp_us);
                    *latest_us = (*latest_us).max(own.unwrap_or(DUE_NOW));
                    records.push_back(Owned::of(*partition, &record, *latest_us));
                })?;
                queue.ended = progress.ended.contains(&split);
            }
        }
        Ok(self.queues.iter().filter_map(|queue| queue.records.front()).map(|record| record.due_us).min())
    }

    /// The record that is due next, of those at hand.
    pub(super) fn take(&mut self) -> Option<Owned> {
        let due = |queue: &&mut Queue| queue.records.front().map_or(i64::MAX, |record| record.due_us);
        let with_records = self.queues.iter_mut().filter(|queue| !queue.records.is_empty());
        with_records.min_by_key(due)?.records.pop_front()
    }
}
