//! Tumbling and hopping windows.
//!
//! Event time is cut into panes: a tumbling window is one pane, a hopping one several, which it shares with its neighbours.
//!
//! ```text
//!   hopping 5m every 2m: panes of 1m (the greatest common divisor)
//!   │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │
//!   [──── window 0 ─────)
//!           [──── window 2 ─────)
//! ```
//!
//! Each (key, pane) is a group of the accumulators. When a hopping window fires, its panes' groups are merged, a key at a time,
//! into groups of its own; a pane is dropped when the last window that it belongs to has fired.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, TimestampMicrosecondType, UInt64Type};
use thalweg_engine::control::JobError;
use thalweg_engine::watermark::EventTime;

use super::fired::{Accumulators, FIRED_ROWS_MAX, Fired, FiredBatch};
use super::partial::PANE;
use super::snapshot;
use super::{Grid, Window, WindowConfig};
use crate::keyed::groups::Groups;
use crate::keyed::keys::{KEY_AT, Key, TIME_AT};
use crate::keyed::snapshot::{Chain, RestoredState, wanted};

/// The pane of a time; remembers the last one, which most rows share with their neighbours.
pub(super) struct PaneOf {
    grid: Grid,
    last: (EventTime, EventTime),
}

impl PaneOf {
    pub(super) fn new(window: &Window) -> Self {
        let grid = match window {
            Window::Tumbling(grid) => grid.clone(),
            Window::Hopping { size_us, every_us, offset_us } => {
                Grid::Fixed { size_us: greatest_common_divisor(*size_us, *every_us), offset_us: *offset_us }
            }
            Window::Session { .. } => unreachable!("sessions have no panes"),
        };
        PaneOf { grid, last: (0, 0) }
    }

    #[inline]
    pub(super) fn start(&mut self, time: EventTime) -> EventTime {
        if time < self.last.0 || time >= self.last.1 {
            self.last = self.grid.cell(time);
        }
        self.last.0
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The open panes of the keys that a worker owns.
pub(super) struct Panes {
    window: Window,
    pane_of: PaneOf,
    groups: Groups,
    accumulators: Accumulators,
    fired: FiredBatch,
    /// The groups of each open pane.
    open: BTreeMap<EventTime, Vec<u32>>,
    /// Hopping: windows that start at or before this have fired.
    fired_start: EventTime,
    row_groups: Vec<u32>,
    /// Groups marked as changed since the cut before; some may be gone.
    changed: Vec<u32>,
    chain: Chain,
}

impl Panes {
    pub(super) fn new(config: &WindowConfig) -> Self {
        Panes {
            window: config.window.clone(),
            pane_of: PaneOf::new(&config.window),
            groups: Groups::default(),
            accumulators: Accumulators::new(config),
            fired: FiredBatch::new(config),
            open: BTreeMap::new(),
            fired_start: EventTime::MIN,
            row_groups: Vec::new(),
            changed: Vec::new(),
            chain: Chain::default(),
        }
    }

    /// Groups that wait for their window's end.
    pub(super) fn open(&self) -> usize {
        self.groups.len()
    }

    /// Takes in a keyed batch of rows, or one of partial states.
    pub(super) fn absorb(&mut self, batch: &RecordBatch) -> Result<(), JobError> {
        let hashes = batch.column(0).as_primitive::<UInt64Type>().values();
        let keys: &BinaryArray = batch.column(KEY_AT).as_binary();
        let states = batch.schema_ref().field(TIME_AT).name() == PANE;
        let times = if states {
            batch.column(TIME_AT).as_primitive::<Int64Type>().values()
        } else {
            batch.column(TIME_AT).as_primitive::<TimestampMicrosecondType>().values()
        };
        self.row_groups.clear();
        for (row, (time, hash)) in times.iter().zip(hashes).enumerate() {
            // A pane's start lies in its own pane, so states and rows take the same way.
            let pane = self.pane_of.start(*time);
            let (group, new) = self.groups.find_or_insert(*hash, keys.value(row), pane);
            if new {
                self.open.entry(pane).or_default().push(group);
            }
            if self.groups.mark_changed(group) {
                self.changed.push(group);
            }
            self.row_groups.push(group);
        }
        self.accumulators.resize(self.groups.capacity());
        if states {
            self.accumulators.merge_states(&batch.columns()[TIME_AT + 1..], &self.row_groups)
        } else {
            self.accumulators.update(batch, &self.row_groups);
            Ok(())
        }
    }

    /// What has changed since the cut before, or everything; whether it is everything. No batch: nothing has changed.
    pub(super) fn snapshot(&mut self) -> Result<(bool, Vec<RecordBatch>), JobError> {
        let groups = &mut self.groups;
        let mut rows: Vec<u32> = self.changed.drain(..).filter(|group| groups.take_changed(*group)).collect();
        let full = self.chain.grow(rows.len(), groups.len());
        if full {
            rows = self.open.values().flatten().copied().collect();
        } else if rows.is_empty() {
            return Ok((false, Vec::new()));
        }
        let schema = snapshot::schema(vec![Field::new(PANE, DataType::Int64, false)], &self.accumulators);
        let groups = &self.groups;
        let batches = snapshot::batches(&rows, &schema, &self.accumulators, |part| {
            vec![
                Arc::new(UInt64Array::from_iter_values(part.iter().map(|g| groups.key_hash(*g)))),
                Arc::new(BinaryArray::from_iter_values(part.iter().map(|g| groups.key(*g)))),
                Arc::new(Int64Array::from_iter_values(part.iter().map(|g| groups.pane(*g)))),
            ]
        })?;
        Ok((full, batches))
    }

    /// Takes back what a checkpoint held, for worker `worker` of `workers`.
    pub(super) fn restore(
        &mut self,
        state: &RestoredState,
        worker: usize,
        workers: usize,
    ) -> Result<(), JobError> {
        let watermark = state.watermark;
        let last_window = match self.window.clone() {
            Window::Tumbling(grid) => grid,
            Window::Hopping { size_us, every_us, offset_us } => {
                let starts = Grid::Fixed { size_us: every_us, offset_us };
                if watermark != EventTime::MIN {
                    self.fired_start = starts.cell(watermark.saturating_sub(size_us)).0;
                }
                starts
            }
            Window::Session { .. } => unreachable!("sessions have no panes"),
        };
        let fired_start = self.fired_start;
        let hopping = matches!(self.window, Window::Hopping { .. });
        let has_fired = |pane: EventTime| {
            let (start, end) = last_window.cell(pane);
            if hopping { start <= fired_start } else { end <= watermark }
        };
        let mut rows = 0;
        for batch in state.files.iter().rev().flatten() {
            rows += batch.num_rows();
            let panes = batch.column(TIME_AT).as_primitive::<Int64Type>();
            let groups = &self.groups;
            let wanted = wanted(batch, worker, workers, |row, hash, key| {
                let pane = panes.value(row);
                !has_fired(pane) && !groups.contains(hash, key, pane)
            })?;
            self.take_back(&wanted)?;
        }
        self.chain = Chain::restored(state.files.len(), rows);
        Ok(())
    }

    fn take_back(&mut self, batch: &RecordBatch) -> Result<(), JobError> {
        let hashes = batch.column(0).as_primitive::<UInt64Type>().values();
        let keys: &BinaryArray = batch.column(KEY_AT).as_binary();
        let panes = batch.column(TIME_AT).as_primitive::<Int64Type>().values();
        let mut groups = Vec::with_capacity(batch.num_rows());
        for (row, (pane, hash)) in panes.iter().zip(hashes).enumerate() {
            let (group, _) = self.groups.find_or_insert(*hash, keys.value(row), *pane);
            self.open.entry(*pane).or_default().push(group);
            groups.push(group);
        }
        self.accumulators.resize(self.groups.capacity());
        self.accumulators.restore(batch, &groups)
    }

    /// Gives out every window that ends at or before `watermark`.
    pub(super) fn fire(
        &mut self,
        watermark: EventTime,
        emit: &mut dyn FnMut(RecordBatch),
    ) -> Result<(), JobError> {
        match self.window.clone() {
            Window::Tumbling(grid) => self.fire_tumbling(&grid, watermark, emit),
            Window::Hopping { size_us, every_us, offset_us } => {
                self.fire_hopping(size_us, every_us, offset_us, watermark, emit)
            }
            Window::Session { .. } => unreachable!("sessions have no panes"),
        }
    }

    fn fire_tumbling(
        &mut self,
        grid: &Grid,
        watermark: EventTime,
        emit: &mut dyn FnMut(RecordBatch),
    ) -> Result<(), JobError> {
        while let Some((&start, _)) = self.open.first_key_value() {
            let end = grid.cell(start).1;
            if end > watermark {
                break;
            }
            let groups = self.open.remove(&start).unwrap_or_default();
            self.give_out(start, end, &groups, emit)?;
            self.forget(&groups);
        }
        Ok(())
    }

    fn fire_hopping(
        &mut self,
        size: i64,
        every: i64,
        offset: i64,
        watermark: EventTime,
        emit: &mut dyn FnMut(RecordBatch),
    ) -> Result<(), JobError> {
        let starts = Grid::Fixed { size_us: every, offset_us: offset };
        while let Some((&pane, _)) = self.open.first_key_value() {
            // The first window that holds the pane starts after pane − size, on the grid; those up to fired_start are gone.
            let first = starts.cell(pane.saturating_sub(size)).0.saturating_add(every);
            let start = first.max(self.fired_start.saturating_add(every));
            let end = start.saturating_add(size);
            if end > watermark {
                break;
            }
            self.fire_hop(start, end, emit)?;
            self.fired_start = start;
            while let Some((&pane, _)) = self.open.first_key_value() {
                let last_start = starts.cell(pane).0;
                if last_start > start {
                    break;
                }
                let groups = self.open.remove(&pane).unwrap_or_default();
                self.forget(&groups);
            }
        }
        Ok(())
    }

    // Merges the panes of one hopping window, key by key, into groups of its own in the pane "window". Such a pane's start can't
    // be a real pane's: it is taken from beyond the end of time.
    fn fire_hop(
        &mut self,
        start: EventTime,
        end: EventTime,
        emit: &mut dyn FnMut(RecordBatch),
    ) -> Result<(), JobError> {
        const MERGED: EventTime = EventTime::MAX;
        let parts: Vec<u32> =
            self.open.range(start..end).flat_map(|(_, groups)| groups.iter().copied()).collect();
        let mut merged = Vec::new();
        for part in parts {
            let (hash, key) = (self.groups.key_hash(part), Key::from(self.groups.key(part)));
            let (into, new) = self.groups.find_or_insert(hash, &key, MERGED);
            if new {
                merged.push(into);
                self.accumulators.resize(self.groups.capacity());
            }
            self.accumulators.merge_within(into, part);
        }
        self.give_out(start, end, &merged, emit)?;
        self.forget(&merged);
        Ok(())
    }

    fn give_out(
        &self,
        start: EventTime,
        end: EventTime,
        groups: &[u32],
        emit: &mut dyn FnMut(RecordBatch),
    ) -> Result<(), JobError> {
        for part in groups.chunks(FIRED_ROWS_MAX) {
            let windows: Vec<Fired<'_>> = part
                .iter()
                .map(|group| Fired { group: *group, start, end, key: self.groups.key(*group) })
                .collect();
            emit(self.fired.build(&windows, &self.accumulators)?);
        }
        Ok(())
    }

    fn forget(&mut self, groups: &[u32]) {
        self.accumulators.reset(groups);
        groups.iter().for_each(|group| self.groups.remove(*group));
    }
}
