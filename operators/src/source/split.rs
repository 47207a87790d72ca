//! What a source knows of one of its splits.

use std::time::Duration;

use thalweg_engine::checkpoint::{SplitFloor, SplitPosition};
use thalweg_engine::watermark::{BEGINNING, END, EventTime};

use super::SplitInfo;

/// How many floors of a split are remembered. One that comes and goes all the time would fill the checkpoints with them.
const FLOORS_MAX: usize = 10_000;

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
    begin: Option<i64>,
    floors: Vec<SplitFloor>,
    /// The first of them that no record has reached.
    next_floor: usize,
}

impl SplitState {
    /// Where a checkpoint left the split, or at its start.
    pub(super) fn new(info: &SplitInfo, positions: &[SplitPosition]) -> Self {
        let position = positions.iter().find(|at| at.topic == *info.topic && at.partition == info.partition);
        let next = position.map_or(info.start, |at| at.next);
        let floors = position.map(|at| at.floors.clone()).unwrap_or_default();
        SplitState {
            number: info.number,
            next,
            read: 0,
            highest: position.and_then(|at| at.highest),
            floor: position.and_then(|at| at.floor),
            // Where there is an end nothing is waited for.
            idle: position.is_some_and(|at| at.idle) && info.records_ahead.is_none(),
            ended: position.is_some_and(|at| at.ended),
            unbounded: info.records_ahead.is_none(),
            silent: Duration::ZERO,
            begin: position.map_or(Some(info.start), |at| at.begin),
            next_floor: floors.partition_point(|floor| floor.offset < next),
            floors,
        }
    }

    /// Called with each record before it is judged: a replay comes to the floors of the job that it replays.
    pub(super) fn reach(&mut self, offset: i64) {
        while let Some(floor) = self.floors.get(self.next_floor)
            && offset >= floor.offset
        {
            self.floor = self.floor.max(Some(floor.time));
            self.next_floor += 1;
        }
    }

    /// It comes back from idleness into a job whose watermark is `watermark`.
    pub(super) fn come_back(&mut self, watermark: EventTime) {
        self.idle = false;
        self.silent = Duration::ZERO;
        if watermark == BEGINNING {
            return;
        }
        self.floor = self.floor.max(Some(watermark));
        if self.floors.len() == FLOORS_MAX {
            self.floors.remove(0);
        }
        self.floors.push(SplitFloor { offset: self.next, time: watermark });
        self.next_floor = self.floors.len();
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
            begin: self.begin,
            floors: self.floors.clone(),
        }
    }
}
