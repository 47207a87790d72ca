//! Sessions as rows of a checkpoint, and back.
//!
//! The unit is a key: when one of its sessions has changed, all its open ones are written, since a session that grew may have taken in
//! others, under another start. A time that waits for its turn is a unit of its own.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, UInt64Type};
use thalweg_engine::control::JobError;

use super::super::snapshot;
use super::{NONE, Sessions, waiting_hash};
use crate::keyed::snapshot::{Chain, RestoredState, wanted};

const START: &str = "__start";
const LAST: &str = "__last";
const WAITING: &str = "__waiting";
const START_AT: usize = 2;
const LAST_AT: usize = 3;
const WAITING_AT: usize = 4;

impl Sessions {
    /// What has changed since the cut before, or everything; whether it is everything. No batch: nothing has changed.
    pub(in crate::window) fn snapshot(&mut self) -> Result<(bool, Vec<RecordBatch>), JobError> {
        let mut rows = self.take_changed();
        let full = self.chain.grow(rows.len(), self.open);
        if full {
            rows = self.all();
        } else if rows.is_empty() {
            return Ok((false, Vec::new()));
        }
        let fields = vec![
            Field::new(START, DataType::Int64, false),
            Field::new(LAST, DataType::Int64, false),
            Field::new(WAITING, DataType::Boolean, false),
        ];
        let schema = snapshot::schema(fields, &self.accumulators);
        let sessions = &self.sessions;
        let batches = snapshot::batches(&rows, &schema, &self.accumulators, |part| {
            let of = || part.iter().map(|at| &sessions[*at as usize]);
            vec![
                Arc::new(UInt64Array::from_iter_values(of().map(|session| session.hash))),
                Arc::new(BinaryArray::from_iter_values(of().map(|session| &*session.key))),
                Arc::new(Int64Array::from_iter_values(of().map(|session| session.start))),
                Arc::new(Int64Array::from_iter_values(of().map(|session| session.last))),
                Arc::new(of().map(|session| Some(session.waiting)).collect::<BooleanArray>()),
            ]
        })?;
        Ok((full, batches))
    }

    // The slots of all keys with a session that has changed, and of all waiting times that have.
    fn take_changed(&mut self) -> Vec<u32> {
        let mut rows = Vec::new();
        for at in std::mem::take(&mut self.changed) {
            // A slot that was released is not marked any more; of a key's sessions the first that is met stands for all.
            if !std::mem::take(&mut self.sessions[at as usize].changed) {
                continue;
            }
            let session = &self.sessions[at as usize];
            if session.waiting {
                rows.push(at);
                continue;
            }
            let mut other = self.head(session.hash, &session.key);
            while other != NONE {
                self.sessions[other as usize].changed = false;
                rows.push(other);
                other = self.sessions[other as usize].next;
            }
        }
        rows
    }

    fn all(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = self.waiting.values().flatten().copied().collect();
        for head in &self.heads {
            let mut at = *head;
            while at != NONE {
                rows.push(at);
                at = self.sessions[at as usize].next;
            }
        }
        rows
    }

    /// Takes back what a checkpoint held, for worker `worker` of `workers`.
    pub(in crate::window) fn restore(
        &mut self,
        state: &RestoredState,
        worker: usize,
        workers: usize,
    ) -> Result<(), JobError> {
        let (watermark, gap, max) = (state.watermark, self.gap, self.max);
        let end = |start: i64, last: i64| {
            let end = last.saturating_add(gap);
            max.map_or(end, |max| end.min(start.saturating_add(max)))
        };
        // Keys whose sessions a newer file held.
        let mut seen: HashSet<(u64, Vec<u8>)> = HashSet::new();
        let mut rows = 0;
        for file in state.files.iter().rev() {
            let mut of_file: HashSet<(u64, Vec<u8>)> = HashSet::new();
            for batch in file {
                rows += batch.num_rows();
                let starts = batch.column(START_AT).as_primitive::<Int64Type>();
                let lasts = batch.column(LAST_AT).as_primitive::<Int64Type>();
                let waiting = batch.column(WAITING_AT).as_boolean();
                let several_files = state.files.len() > 1;
                let wanted = wanted(batch, worker, workers, |row, hash, key| {
                    let (start, last) = (starts.value(row), lasts.value(row));
                    if waiting.value(row) {
                        return start >= watermark && !self.waits(hash, key, start);
                    }
                    if several_files {
                        let unit = (hash, key.to_vec());
                        if seen.contains(&unit) {
                            return false;
                        }
                        of_file.insert(unit);
                    }
                    end(start, last) > watermark
                })?;
                self.take_back(&wanted)?;
            }
            seen.extend(of_file);
        }
        self.chain = Chain::restored(state.files.len(), rows);
        Ok(())
    }

    fn waits(&self, hash: u64, key: &[u8], time: i64) -> bool {
        let is = |at: &u32| {
            let session = &self.sessions[*at as usize];
            session.start == time && session.hash == hash && *session.key == *key
        };
        self.waiting_at.find(waiting_hash(hash, time), is).is_some()
    }

    fn take_back(&mut self, batch: &RecordBatch) -> Result<(), JobError> {
        let hashes = batch.column(0).as_primitive::<UInt64Type>();
        let keys: &BinaryArray = batch.column(1).as_binary();
        let starts = batch.column(START_AT).as_primitive::<Int64Type>();
        let lasts = batch.column(LAST_AT).as_primitive::<Int64Type>();
        let waiting = batch.column(WAITING_AT).as_boolean();
        let mut slots = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (hash, key, start) = (hashes.value(row), keys.value(row), starts.value(row));
            let slot = if waiting.value(row) {
                self.wait(hash, key, start)
            } else {
                let head = self.head(hash, key);
                let slot = self.open_slot(hash, key, start);
                self.sessions[slot as usize].last = lasts.value(row);
                self.link(slot, head);
                self.add_due(slot);
                slot
            };
            slots.push(slot);
        }
        self.accumulators.resize(self.sessions.len());
        self.accumulators.restore(batch, &slots)
    }
}
