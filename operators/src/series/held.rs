//! Rows that wait for the watermark, and the order in which they go on.
//!
//! ```text
//!   batches ─▶ kept as they come ─▶ watermark W: rows before W, by (key's hash, time, split, offset, values) ─▶ batches
//! ```
//!
//! A key's rows come one after the other, so that a replay, whose watermark takes large steps, works on one key's state at a time.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, PrimitiveArray, RecordBatch, new_null_array};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};
use thalweg_engine::control::JobError;
use thalweg_engine::watermark::EventTime;

use super::{AT_AT, SPLIT_AT};
use crate::keyed::RestoredState;
use crate::keyed::keys::TIME_AT;
use crate::keyed::snapshot::wanted;

/// Rows of a batch that goes on, at most; about so many bytes, where rows are large.
const ROWS_MAX: usize = 16_384;
const BYTES_MAX: usize = 64 << 20;

/// Keyed batches whose rows wait.
pub(super) struct Held {
    schema: SchemaRef,
    batches: Vec<Waiting>,
    rows: usize,
}

struct Waiting {
    batch: RecordBatch,
    first: EventTime,
    last: EventTime,
}

impl Held {
    /// Nothing waits yet; keyed batches have these columns.
    pub(super) fn new(schema: SchemaRef) -> Self {
        Held { schema, batches: Vec::new(), rows: 0 }
    }

    /// Rows that wait.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a keyed batch.
    pub(super) fn push(&mut self, batch: RecordBatch) {
        let times = times(&batch);
        if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) {
            self.rows += batch.num_rows();
            self.batches.push(Waiting { first: *first, last: *last, batch });
        }
    }

    /// Takes out all rows before the watermark.
    /// Each becomes `rows_each` rows.
    pub(super) fn release(&mut self, watermark: EventTime, rows_each: usize) -> Result<Released, JobError> {
        let mut released = Vec::new();
        let mut kept = Vec::with_capacity(self.batches.len());
        for waiting in std::mem::take(&mut self.batches) {
            if waiting.last < watermark {
                released.push(waiting.batch);
            } else if waiting.first >= watermark {
                kept.push(waiting);
            } else {
                let before: BooleanArray =
                    times(&waiting.batch).iter().map(|t| Some(*t < watermark)).collect();
                released.push(filter_record_batch(&waiting.batch, &before)?);
                let rest = filter_record_batch(&waiting.batch, &arrow::compute::not(&before)?)?;
                let first = times(&rest).iter().min().copied().unwrap_or(waiting.last);
                kept.push(Waiting { first, last: waiting.last, batch: rest });
            }
        }
        self.batches = kept;
        self.rows = self.batches.iter().map(|waiting| waiting.batch.num_rows()).sum();
        Released::new(released, rows_each)
    }

    /// All that waits; one batch at least.
    pub(super) fn snapshot(&self) -> Vec<RecordBatch> {
        match self.batches.as_slice() {
            [] => vec![RecordBatch::new_empty(Arc::clone(&self.schema))],
            batches => batches.iter().map(|waiting| waiting.batch.clone()).collect(),
        }
    }

    /// Takes back what a checkpoint held, for worker `worker` of `workers`.
    pub(super) fn restore(
        &mut self,
        restored: &RestoredState,
        worker: usize,
        workers: usize,
    ) -> Result<(), JobError> {
        for batch in restored.files.iter().flatten() {
            let own = wanted(batch, worker, workers, |_, _, _| true)?;
            self.push(self.under_own_columns(&own)?);
        }
        Ok(())
    }
}

impl Held {
    // The pipeline may let other columns pass since then. One that was not kept is null.
    fn under_own_columns(&self, batch: &RecordBatch) -> Result<RecordBatch, JobError> {
        let mut fields = Vec::with_capacity(self.schema.fields().len());
        let mut columns = Vec::with_capacity(fields.capacity());
        for field in self.schema.fields() {
            let kept =
                batch.column_by_name(field.name()).filter(|kept| kept.data_type() == field.data_type());
            columns
                .push(kept.map_or_else(|| new_null_array(field.data_type(), batch.num_rows()), Arc::clone));
            fields.push(Field::clone(field).with_nullable(field.is_nullable() || kept.is_none()));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

fn times(batch: &RecordBatch) -> &[EventTime] {
    batch.column(TIME_AT).as_primitive::<TimestampMicrosecondType>().values()
}

/// Rows on their way out, in their order.
pub(super) struct Released {
    batches: Vec<RecordBatch>,
    order: Vec<Place>,
    next: usize,
    rows_max: usize,
}

/// A row's place in the order, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hash: u64,
    time: EventTime,
    split: i64,
    offset: i64,
    batch: u32,
    row: u32,
}

impl Place {
    fn ties_with(&self, other: &Place) -> bool {
        (self.hash, self.time, self.split, self.offset) == (other.hash, other.time, other.split, other.offset)
    }
}

impl Released {
    fn new(batches: Vec<RecordBatch>, rows_each: usize) -> Result<Self, JobError> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let fit = BYTES_MAX / (bytes / rows.max(1)).max(1);
        let rows_max = (ROWS_MAX.min(fit) / rows_each.max(1)).max(1);
        let mut order = Vec::with_capacity(rows);
        for (number, batch) in batches.iter().enumerate() {
            let hashes: &PrimitiveArray<UInt64Type> = batch.column(0).as_primitive();
            let times = times(batch);
            let splits: &Int64Array = batch.column(SPLIT_AT).as_primitive::<Int64Type>();
            let offsets: &Int64Array = batch.column(SPLIT_AT + 1).as_primitive::<Int64Type>();
            order.extend((0..batch.num_rows()).map(|row| Place {
                hash: hashes.value(row),
                time: times[row],
                split: splits.value(row),
                offset: offsets.value(row),
                batch: number as u32,
                row: row as u32,
            }));
        }
        order.sort_unstable();
        let mut released = Released { batches, order, next: 0, rows_max };
        released.break_ties()?;
        Ok(released)
    }

    // Rows of equal time that came out of a window have no place of their own: their values decide. Where those are equal too, it
    // does not matter which is first.
    fn break_ties(&mut self) -> Result<(), JobError> {
        let mut values: Option<Vec<Rows>> = None;
        let mut from = 0;
        while from < self.order.len() {
            let first = self.order[from];
            let length = self.order[from..].iter().take_while(|place| place.ties_with(&first)).count();
            if length > 1 {
                let values = match &values {
                    Some(values) => values,
                    None => values.insert(rows_of(&self.batches)?),
                };
                let bytes = |place: &Place| values[place.batch as usize].row(place.row as usize);
                self.order[from..from + length].sort_by(|a, b| bytes(a).cmp(&bytes(b)));
            }
            from += length;
        }
        Ok(())
    }

    /// The next rows; `None`: these were all.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>, JobError> {
        if self.next == self.order.len() {
            return Ok(None);
        }
        let to = (self.next + self.rows_max).min(self.order.len());
        let places: Vec<(usize, usize)> = self.order[self.next..to]
            .iter()
            .map(|place| (place.batch as usize, place.row as usize))
            .collect();
        self.next = to;
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, &places)?))
    }
}

fn rows_of(batches: &[RecordBatch]) -> Result<Vec<Rows>, JobError> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let fields = first.columns()[AT_AT..].iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    batches.iter().map(|batch| Ok(converter.convert_columns(&batch.columns()[AT_AT..])?)).collect()
}
