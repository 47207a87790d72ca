//! What a model knows of each key: in memory, and as rows of a checkpoint.
//!
//! A key is forgotten when there was no row of it for so long. That is decided by event time alone: the row that comes after the silence
//! finds nothing of what was known, whether the watermark has swept it away by then or not.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, BinaryBuilder, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use thalweg_engine::control::JobError;
use thalweg_engine::exchange::HASH;
use thalweg_engine::watermark::EventTime;
use thalweg_series::bytes::StateError;

use crate::keyed::RestoredState;
use crate::keyed::groups::Groups;
use crate::keyed::keys::KEY;
use crate::keyed::snapshot::{Chain, wanted};

const LAST: &str = "__last";
const STATE: &str = "__state";
const LAST_AT: usize = 2;
const STATE_AT: usize = 3;
/// Keys of a batch of state, at most: a state may be some kilobytes.
const ROWS_MAX: usize = 2_048;
/// The group table knows panes of keys; a series has one.
const PANE: EventTime = 0;

/// The states of all keys of a worker.
pub(super) struct States<S> {
    groups: Groups,
    known: Vec<Option<Known<S>>>,
    changed: Vec<u32>,
    chain: Chain,
    swept: EventTime,
}

struct Known<S> {
    state: S,
    last: EventTime,
}

impl<S> Default for States<S> {
    fn default() -> Self {
        States {
            groups: Groups::default(),
            known: Vec::new(),
            changed: Vec::new(),
            chain: Chain::default(),
            swept: EventTime::MIN,
        }
    }
}

impl<S> States<S> {
    /// Keys of which something is known.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The state of a key that has a row at `time`; marks it as changed.
    pub(super) fn of(
        &mut self,
        (hash, key): (u64, &[u8]),
        time: EventTime,
        forget_after_us: i64,
        begin: impl FnOnce() -> S,
    ) -> &mut S {
        let (at, _) = self.groups.find_or_insert(hash, key, PANE);
        if self.groups.mark_changed(at) {
            self.changed.push(at);
        }
        if self.known.len() < self.groups.capacity() {
            self.known.resize_with(self.groups.capacity(), || None);
        }
        let slot = &mut self.known[at as usize];
        if slot.as_ref().is_some_and(|known| time.saturating_sub(known.last) > forget_after_us) {
            *slot = None;
        }
        let known = slot.get_or_insert_with(|| Known { state: begin(), last: time });
        known.last = time;
        &mut known.state
    }

    /// Lets go of keys whose next row would find nothing known. Looks at all of them, so not at every step of the watermark.
    pub(super) fn forget(&mut self, watermark: EventTime, forget_after_us: i64) {
        if watermark.saturating_sub(self.swept) <= forget_after_us / 8 {
            return;
        }
        self.swept = watermark;
        for at in 0..self.known.len() {
            let is_over = |known: &Known<S>| watermark.saturating_sub(known.last) > forget_after_us;
            if self.known[at].as_ref().is_some_and(is_over) {
                self.known[at] = None;
                self.groups.remove(at as u32);
            }
        }
    }

    /// What has changed since the cut before, or everything; whether it is everything. No batch: nothing has changed.
    pub(super) fn snapshot(
        &mut self,
        encode: impl Fn(&S, &mut Vec<u8>),
    ) -> Result<(bool, Vec<RecordBatch>), JobError> {
        let changed = std::mem::take(&mut self.changed);
        let mut rows: Vec<u32> = changed.into_iter().filter(|at| self.groups.take_changed(*at)).collect();
        let full = self.chain.grow(rows.len(), self.groups.len());
        if full {
            rows = (0..self.known.len() as u32).filter(|at| self.known[*at as usize].is_some()).collect();
        } else if rows.is_empty() {
            return Ok((false, Vec::new()));
        }
        let schema = schema();
        if rows.is_empty() {
            return Ok((true, vec![RecordBatch::new_empty(schema)]));
        }
        let mut bytes = Vec::new();
        let mut batch = |rows: &[u32]| -> Result<RecordBatch, JobError> {
            let mut states = BinaryBuilder::with_capacity(rows.len(), 0);
            let mut lasts = Vec::with_capacity(rows.len());
            for at in rows {
                let known = self.known[*at as usize].as_ref();
                let known = known.expect("invariant: a group that is marked as changed is known");
                bytes.clear();
                encode(&known.state, &mut bytes);
                states.append_value(&bytes);
                lasts.push(known.last);
            }
            let hashes = UInt64Array::from_iter_values(rows.iter().map(|at| self.groups.key_hash(*at)));
            let keys = BinaryArray::from_iter_values(rows.iter().map(|at| self.groups.key(*at)));
            Ok(RecordBatch::try_new(
                Arc::clone(&schema),
                vec![
                    Arc::new(hashes),
                    Arc::new(keys),
                    Arc::new(Int64Array::from(lasts)),
                    Arc::new(states.finish()),
                ],
            )?)
        };
        Ok((full, rows.chunks(ROWS_MAX).map(&mut batch).collect::<Result<_, _>>()?))
    }

    /// Takes back what a checkpoint held, for worker `worker` of `workers`.
    pub(super) fn restore(
        &mut self,
        restored: &RestoredState,
        worker: usize,
        workers: usize,
        decode: impl Fn(&[u8]) -> Result<S, StateError>,
    ) -> Result<(), JobError> {
        // Keys that a newer file held.
        let mut seen: HashSet<(u64, Vec<u8>)> = HashSet::new();
        let mut rows = 0;
        for batch in restored.files.iter().rev().flatten() {
            rows += batch.num_rows();
            let own = wanted(batch, worker, workers, |_, hash, key| seen.insert((hash, key.to_vec())))?;
            let hashes = own.column(0).as_primitive::<UInt64Type>();
            let keys: &BinaryArray = own.column(1).as_binary();
            let lasts = own.column(LAST_AT).as_primitive::<Int64Type>();
            let states: &BinaryArray = own.column(STATE_AT).as_binary();
            for row in 0..own.num_rows() {
                let (at, _) = self.groups.find_or_insert(hashes.value(row), keys.value(row), PANE);
                self.known.resize_with(self.groups.capacity(), || None);
                let state = decode(states.value(row))?;
                self.known[at as usize] = Some(Known { state, last: lasts.value(row) });
            }
        }
        self.chain = Chain::restored(restored.files.len(), rows);
        Ok(())
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(HASH, DataType::UInt64, false),
        Field::new(KEY, DataType::Binary, false),
        Field::new(LAST, DataType::Int64, false),
        Field::new(STATE, DataType::Binary, false),
    ]))
}
