//! What the keys of a step have shown, while after while: for those that begin.
//!
//! ```text
//!   rows ─▶ by key and while: count, mean, least, greatest (window) ─▶ every worker ─▶ Whiles: one Siblings for each while that is over
//!                                                                                       └── a key that begins goes by the one before its first row
//! ```
//!
//! A while is a tumbling window, and so is told once the job's watermark has passed it, and before any row behind it is judged: what a key begins with
//! depends on event time alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use thalweg_engine::BatchStream;
use thalweg_engine::control::JobError;
use thalweg_engine::exchange::HASH;
use thalweg_engine::shard::{hash_key, shard_of, worker_of};
use thalweg_engine::watermark::{EventTime, Reports};
use thalweg_series::bytes::StateError;
use thalweg_series::detect::{Sibling, Siblings};

use crate::aggregate::{Aggregate, Function};
use crate::keyed::{KeyedRows, RestoredState};
use crate::rows::map_batches;
use crate::window::{AggregateCall, Grid, Window, WindowConfig, WindowJob, window};

/// What is told of each input.
const SHOWN: [Function; 4] = [Function::Count, Function::Avg, Function::Min, Function::Max];

/// Where the end of a while stands among the columns of a window, then come the keys; and where it stands among what is told, behind the hash.
const END_AT: usize = 1;
const TOLD_END_AT: usize = 1;

/// How siblings are looked at.
#[derive(Debug, Clone)]
pub struct SiblingsConfig {
    /// The stage's name, for operator names and its state.
    pub name: String,
    /// The key columns: names and types.
    pub keys: Vec<Field>,
    /// Values of a row.
    pub inputs: usize,
    /// How long a while is. Microseconds.
    pub while_us: i64,
}

/// What each key has shown in each while, once for each worker: a hash that this worker owns, the while's end, then of each input what [`Sibling`]
/// holds. `rows_of` gives the inputs as `Float64`, null where there is no finite value.
///
/// # Errors
/// None that is not a bug.
pub fn siblings<'scope>(
    rows: BatchStream<'scope>,
    reports: Reports<'scope>,
    config: SiblingsConfig,
    job: WindowJob,
    rows_of: impl FnMut(&RecordBatch) -> Result<Option<KeyedRows>, JobError> + 'static,
) -> Result<BatchStream<'scope>, JobError> {
    let mut aggregates = Vec::with_capacity(config.inputs * SHOWN.len());
    for input in 0..config.inputs {
        for function in SHOWN {
            aggregates.push(AggregateCall {
                aggregate: Aggregate::new(function, &[DataType::Float64])?,
                arguments: vec![input],
                filter: None,
                label: format!("{} of {input}", function.name()),
                since: None,
            });
        }
    }
    let shown = config.keys.len() + 2..config.keys.len() + 2 + aggregates.len();
    let columns: Vec<usize> = std::iter::once(END_AT).chain(shown).collect();
    let windows = WindowConfig {
        name: config.name.clone(),
        window: Window::Tumbling(Grid::Fixed { size_us: config.while_us, offset_us: 0 }),
        keys: config.keys,
        inputs: vec![DataType::Float64; config.inputs],
        aggregates,
    };
    let control = job.control.clone();
    // timely counts rows before an exchange and behind it, so what is for all is multiplied before.
    let hashes = hash_of_each(rows.scope().peers());
    let told = window(rows, reports, windows, job, rows_of);
    Ok(map_batches(told, &format!("{}: tell", config.name), control, move |batch| {
        for_each_worker(&batch.project(&columns)?, &hashes).map(Some)
    }))
}

/// For each worker a hash of a shard that it owns.
fn hash_of_each(workers: usize) -> Vec<u64> {
    let owned = |worker: usize| {
        let hashes = (0_u64..).map(|number| hash_key(&number.to_le_bytes()));
        let mut owned = hashes.filter(move |hash| worker_of(shard_of(*hash), workers) == worker);
        owned.next().expect("invariant: every worker owns shards")
    };
    (0..workers).map(owned).collect()
}

/// A batch once for each hash, which stands in the first column.
fn for_each_worker(batch: &RecordBatch, hashes: &[u64]) -> Result<RecordBatch, JobError> {
    let rows = batch.num_rows();
    let of_row = hashes.iter().flat_map(|hash| std::iter::repeat_n(*hash, rows));
    let again = concat_batches(&batch.schema(), std::iter::repeat_n(batch, hashes.len()))?;
    let mut fields = vec![Arc::new(Field::new(HASH, DataType::UInt64, false))];
    fields.extend(batch.schema().fields().iter().cloned());
    let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from_iter_values(of_row))];
    columns.extend(again.columns().iter().cloned());
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// What siblings have shown in the whiles that new keys may go by: by their end.
pub(super) struct Whiles {
    inputs: usize,
    /// Those that the watermark has not passed yet, and so may be told in part.
    gathering: BTreeMap<EventTime, Vec<Vec<Sibling>>>,
    over: BTreeMap<EventTime, Siblings>,
}

impl Whiles {
    /// None yet.
    pub(super) fn new(inputs: usize) -> Self {
        Whiles { inputs, gathering: BTreeMap::new(), over: BTreeMap::new() }
    }

    /// Takes in what [`siblings`] tells.
    pub(super) fn push(&mut self, batch: &RecordBatch) {
        let ends = batch.column(TOLD_END_AT).as_primitive::<TimestampMicrosecondType>().values();
        for input in 0..self.inputs {
            let at = TOLD_END_AT + 1 + input * SHOWN.len();
            let counts = batch.column(at).as_primitive::<Int64Type>();
            let [means, least, greatest] =
                [1, 2, 3].map(|column| batch.column(at + column).as_primitive::<Float64Type>());
            for (row, end) in ends.iter().enumerate().filter(|(row, _)| means.is_valid(*row)) {
                let lists = self.gathering.entry(*end).or_insert_with(|| vec![Vec::new(); self.inputs]);
                lists[input].push(Sibling {
                    rows: counts.value(row) as f64,
                    mean: means.value(row),
                    least: least.value(row),
                    greatest: greatest.value(row),
                });
            }
        }
    }

    /// The watermark is about to pass `watermark`: whiles before it are over, and have been told.
    pub(super) fn end_before(&mut self, watermark: EventTime) {
        while let Some(first) = self.gathering.first_entry()
            && *first.key() <= watermark
        {
            let (end, lists) = first.remove_entry();
            self.over.insert(end, Siblings::new(lists));
        }
    }

    /// Rows before `watermark` have been judged: of the whiles before it only the last one counts from now on.
    pub(super) fn forget_before(&mut self, watermark: EventTime) {
        if let Some(last) = self.over.range(..=watermark).next_back().map(|(end, _)| *end) {
            self.over = self.over.split_off(&last);
        }
    }

    /// What a key goes by whose first row is of this time.
    pub(super) fn at(&self, time: EventTime) -> Option<&Siblings> {
        self.over.range(..=time).next_back().map(|(_, siblings)| siblings)
    }

    /// The same on every worker.
    pub(super) fn snapshot(&self) -> RecordBatch {
        debug_assert!(self.gathering.is_empty(), "at a cut all that is told is of before the watermark");
        let bytes = |siblings: &Siblings| {
            let mut bytes = Vec::new();
            siblings.encode(&mut bytes);
            bytes
        };
        let schema = Schema::new(vec![
            Field::new("__end", DataType::Int64, false),
            Field::new("__siblings", DataType::Binary, false),
        ]);
        let ends = Int64Array::from_iter_values(self.over.keys().copied());
        let siblings = BinaryArray::from_iter_values(self.over.values().map(bytes));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ends), Arc::new(siblings)])
            .expect("invariant: two columns of one length")
    }

    /// Takes back what a checkpoint held.
    pub(super) fn restore(&mut self, restored: &RestoredState) -> Result<(), StateError> {
        for batch in restored.files.iter().flatten() {
            let ends = batch.column(0).as_primitive::<Int64Type>();
            let siblings: &BinaryArray = batch.column(1).as_binary();
            for row in 0..batch.num_rows() {
                let known = Siblings::decode(siblings.value(row), self.inputs)?;
                self.over.insert(ends.value(row), known);
            }
        }
        Ok(())
    }
}
