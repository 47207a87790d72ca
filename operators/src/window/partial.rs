//! Aggregation before the exchange: rows of a tick that share key and pane cross as one state.
//!
//! Every aggregate is a commutative monoid, so this changes what crosses and never what comes out. Where hardly any rows share
//! a group, gathering them costs more than it saves: then rows pass as they are, and gathering is tried again from time to time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType, UInt64Type};
use thalweg_engine::control::JobError;
use thalweg_engine::exchange::HASH;

use super::WindowConfig;
use super::fired::Accumulators;
use super::panes::PaneOf;
use crate::keyed::groups::Groups;
use crate::keyed::keys::{KEY, KEY_AT, TIME_AT};

/// The column that tells a batch of states from a batch of rows, in the place of event time: the pane's start.
pub(super) const PANE: &str = "__pane";

/// A group must stand for at least this many rows on average, or gathering does not pay.
const ROWS_PER_GROUP_MIN: usize = 4;
/// Ticks for which rows pass as they are before gathering is tried again.
const TICKS_PASSED_ON: u32 = 64;

pub(super) struct Partial {
    pane_of: PaneOf,
    groups: Groups,
    accumulators: Accumulators,
    live: Vec<u32>,
    schema: SchemaRef,
    rows: usize,
    row_groups: Vec<u32>,
    pass_on: u32,
}

impl Partial {
    pub(super) fn new(config: &WindowConfig) -> Self {
        let accumulators = Accumulators::new(config);
        let mut fields = vec![
            Field::new(HASH, DataType::UInt64, false),
            Field::new(KEY, DataType::Binary, false),
            Field::new(PANE, DataType::Int64, false),
        ];
        let states = accumulators.state_types();
        fields
            .extend(states.into_iter().enumerate().map(|(i, t)| Field::new(format!("__state_{i}"), t, true)));
        Partial {
            pane_of: PaneOf::new(&config.window),
            groups: Groups::default(),
            accumulators,
            live: Vec::new(),
            schema: Arc::new(Schema::new(fields)),
            rows: 0,
            row_groups: Vec::new(),
            pass_on: 0,
        }
    }

    /// Takes in a keyed batch, or gives it back when gathering does not pay.
    pub(super) fn absorb(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>, JobError> {
        if self.pass_on > 0 {
            return Ok(Some(batch));
        }
        let hashes = batch.column(0).as_primitive::<UInt64Type>();
        let keys: &BinaryArray = batch.column(KEY_AT).as_binary();
        let times = batch.column(TIME_AT).as_primitive::<TimestampMicrosecondType>();
        self.row_groups.clear();
        for (row, time) in times.values().iter().enumerate() {
            let pane = self.pane_of.start(*time);
            let (group, new) = self.groups.find_or_insert(hashes.value(row), keys.value(row), pane);
            if new {
                self.live.push(group);
            }
            self.row_groups.push(group);
        }
        self.accumulators.resize(self.groups.capacity());
        self.accumulators.update(&batch, &self.row_groups);
        self.rows += batch.num_rows();
        Ok(None)
    }

    /// The states gathered since the last call, at the end of a tick.
    pub(super) fn flush(&mut self) -> Result<Option<RecordBatch>, JobError> {
        if self.live.is_empty() {
            self.pass_on = self.pass_on.saturating_sub(1);
            return Ok(None);
        }
        if self.live.len() > 1024 && self.rows < ROWS_PER_GROUP_MIN * self.live.len() {
            self.pass_on = TICKS_PASSED_ON;
        }
        self.rows = 0;
        let live = std::mem::take(&mut self.live);
        let groups = &self.groups;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(live.iter().map(|g| groups.key_hash(*g)))),
            Arc::new(BinaryArray::from_iter_values(live.iter().map(|g| groups.key(*g)))),
            Arc::new(Int64Array::from_iter_values(live.iter().map(|g| groups.pane(*g)))),
        ];
        columns.extend(self.accumulators.states(&live));
        self.accumulators.reset(&live);
        live.iter().for_each(|group| self.groups.remove(*group));
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
