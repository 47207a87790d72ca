//! What a source knows of one of its splits.

use std::time::Duration;

use thalweg_engine::checkpoint::SplitPosition;
use thalweg_engine::watermark::{BEGINNING, END, EventTime};

use super::SplitInfo;

/// How far a split is.
pub(super) struct SplitState {
    pub(super) number: u32,
    /// The offset after the last record read.
    pub(super) next: i64,
    /// Records read by this run.
    pub(super) read: u64,
    /// The highest event time accepted.
    pub(super) highest: Option<EventTime>,
    /// Rows below are late whatever `highest` says: the job's watermark when the split came back from idleness.
    pub(super) floor: Option<EventTime>,
    /// Left out of the job's watermark, and not read until the next cut.
    pub(super) idle: bool,
    pub(super) ended: bool,
    /// Whether it has no end of its own: only such a split can be idle.
    pub(super) unbounded: bool,
    /// How long it was looked at since its last record, and nothing was there.
    pub(super) silent: Duration,
}

impl SplitState {
    /// Where a checkpoint left the split, or at its start.
    pub(super) fn new(info: &SplitInfo, positions: &[SplitPosition]) -> Self {
        let position = positions.iter().find(|at| at.topic == *info.topic && at.partition == info.partition);
        SplitState {
            number: info.number,
            next: position.map_or(info.start, |at| at.next),
            read: 0,
            highest: position.and_then(|at| at.highest),
            floor: position.and_then(|at| at.floor),
            idle: position.is_some_and(|at| at.idle),
            ended: position.is_some_and(|at| at.ended),
            unbounded: info.records_ahead.is_none(),
            silent: Duration::ZERO,
        }
    }

    /// Whether records are taken from it.
    pub(super) fn is_read(&self) -> bool {
        !self.ended && !self.idle
    }

    /// No accepted row will have an event time below.
    pub(super) fn watermark(&self, lateness_us: i64) -> EventTime {
        if self.ended {
            return END;
        }
        let of_rows = self.highest.map_or(BEGINNING, |highest| highest.saturating_sub(lateness_us));
        of_rows.max(self.floor.unwrap_or(BEGINNING))
    }

    /// For a checkpoint.
    pub(super) fn position(&self, info: &SplitInfo) -> SplitPosition {
        SplitPosition {
            topic: info.topic.to_string(),
            partition: info.partition,
            number: self.number,
            next: self.next,
            end: info.end,
            highest: self.highest,
            floor: self.floor,
            idle: self.idle,
            ended: self.ended,
        }
    }
}
