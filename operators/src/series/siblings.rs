//! What the keys of a step have shown, while after while: for those that begin.
//!
//! ```text
//!   rows ─▶ by key and while: count, mean, least, greatest (window) ─▶ every worker ─▶ Whiles: one Siblings for each while that is over
//!                                                                                       └── a key that begins goes by the one before its first row
//! ```
//!
//! A while is a tumbling window, and so is told once the job's watermark has passed it, and before any row behind it is judged: what a key begins with
//! depends on event time alone. Of very many keys a sample is kept, by their hashes: the same one on every worker.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, UInt64Array,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType, UInt64Type,
};
use thalweg_engine::BatchStream;
use thalweg_engine::control::JobError;
use thalweg_engine::exchange::HASH;
use thalweg_engine::shard::{hash_key, shard_of, worker_of};
use thalweg_engine::watermark::{EventTime, Reports};
use thalweg_series::bytes::StateError;
use thalweg_series::detect::{Sibling, Siblings};

use crate::aggregate::{Aggregate, Function};
use crate::keyed::keys::KeyEncoder;
use crate::keyed::{KeyedRows, RestoredState};
use crate::rows::map_batches;
use crate::window::{AggregateCall, Grid, Window, WindowConfig, WindowJob, window};

/// What is told of each input.
const SHOWN: [Function; 4] = [Function::Count, Function::Avg, Function::Min, Function::Max];

/// Where the columns of a window stand: its start, its end, its keys, its aggregates.
const END_AT: usize = 1;
const KEYS_AT: usize = 2;

/// Where what is told stands: a hash that says who is told, the hash of the key, the end of the while, what was shown.
const TOLD_KEY_AT: usize = 1;
const TOLD_END_AT: usize = 2;
const TOLD_SHOWN_AT: usize = 3;

/// Keys of which what they have shown is kept, in a while. A few hundred would tell as well how the others scatter.
const SAMPLE: usize = 4096;

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

/// What each key with rows enough has shown in each while, once for each worker: a hash that this worker owns, the key's hash, the while's end, then of
/// each input what [`Sibling`] holds. `rows_of` gives the inputs as `Float64`, null where there is no finite value.
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
    let keys = KEYS_AT..KEYS_AT + config.keys.len();
    let shown = keys.end..keys.end + aggregates.len();
    let mut encoder = KeyEncoder::new(&config.keys, [], false);
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
        let told = telling(&batch, keys.clone(), shown.clone(), &mut encoder)?;
        if told.num_rows() == 0 { Ok(None) } else { for_each_worker(&told, &hashes).map(Some) }
    }))
}

/// Of the rows of a window those that tell something, as they are told.
fn telling(
    batch: &RecordBatch,
    keys: Range<usize>,
    shown: Range<usize>,
    encoder: &mut KeyEncoder,
) -> Result<RecordBatch, JobError> {
    let counts: Vec<_> = batch.columns()[shown.clone()]
        .iter()
        .step_by(SHOWN.len())
        .map(|counts| counts.as_primitive::<Int64Type>().values())
        .collect();
    let tells = |row: usize| counts.iter().any(|counts| counts[row] as f64 >= Sibling::ROWS_MIN);
    let batch = filter_record_batch(
        batch,
        &(0..batch.num_rows()).map(|row| Some(tells(row))).collect::<BooleanArray>(),
    )?;
    let end = batch.column(END_AT);
    let keyed = encoder.encode(KeyedRows {
        keys: batch.columns()[keys].to_vec(),
        inputs: Vec::new(),
        time: Arc::clone(end),
        order: None,
    })?;
    let mut fields =
        vec![Field::new("key_hash", DataType::UInt64, false), batch.schema().field(END_AT).clone()];
    let mut columns = vec![Arc::clone(keyed.column(0)), Arc::clone(end)];
    for column in shown {
        fields.push(batch.schema().field(column).clone());
        columns.push(Arc::clone(batch.column(column)));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
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

/// What the keys with the least hashes have shown: the same ones in whatever order they are told.
#[derive(Debug, Clone, Default)]
struct Sample(BTreeSet<(u64, [u64; SHOWN.len()])>);

impl Sample {
    fn push(&mut self, hash: u64, sibling: Sibling) {
        if self.0.len() == SAMPLE && self.0.last().is_some_and(|(last, _)| *last < hash) {
            return;
        }
        let Sibling { rows, mean, least, greatest } = sibling;
        self.0.insert((hash, [rows, mean, least, greatest].map(f64::to_bits)));
        if self.0.len() > SAMPLE {
            self.0.pop_last();
        }
    }

    fn siblings(&self) -> Vec<Sibling> {
        let sibling = |shown: &[u64; SHOWN.len()]| {
            let [rows, mean, least, greatest] = shown.map(f64::from_bits);
            Sibling { rows, mean, least, greatest }
        };
        self.0.iter().map(|(_, shown)| sibling(shown)).collect()
    }
}

/// What siblings have shown in the whiles that new keys may go by: by their end.
pub(super) struct Whiles {
    inputs: usize,
    /// Those that the watermark has not passed yet, and so may be told in part.
    gathering: BTreeMap<EventTime, Vec<Sample>>,
    over: BTreeMap<EventTime, Siblings>,
}

impl Whiles {
    /// None yet.
    pub(super) fn new(inputs: usize) -> Self {
        Whiles { inputs, gathering: BTreeMap::new(), over: BTreeMap::new() }
    }

    /// Takes in what [`siblings`] tells.
    pub(super) fn push(&mut self, batch: &RecordBatch) {
        let hashes = batch.column(TOLD_KEY_AT).as_primitive::<UInt64Type>().values();
        let ends = batch.column(TOLD_END_AT).as_primitive::<TimestampMicrosecondType>().values();
        for input in 0..self.inputs {
            let at = TOLD_SHOWN_AT + input * SHOWN.len();
            let counts = batch.column(at).as_primitive::<Int64Type>();
            let [means, least, greatest] =
                [1, 2, 3].map(|column| batch.column(at + column).as_primitive::<Float64Type>());
            for (row, end) in ends.iter().enumerate().filter(|(row, _)| means.is_valid(*row)) {
                let samples =
                    self.gathering.entry(*end).or_insert_with(|| vec![Sample::default(); self.inputs]);
                let shown = Sibling {
                    rows: counts.value(row) as f64,
                    mean: means.value(row),
                    least: least.value(row),
                    greatest: greatest.value(row),
                };
                samples[input].push(hashes[row], shown);
            }
        }
    }

    /// The watermark is about to pass `watermark`: whiles before it are over, and have been told.
    pub(super) fn end_before(&mut self, watermark: EventTime) {
        while let Some(first) = self.gathering.first_entry()
            && *first.key() <= watermark
        {
            let (end, samples) = first.remove_entry();
            self.over.insert(end, Siblings::new(samples.iter().map(Sample::siblings)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_keys_the_same_ones_are_kept_in_any_order() {
        let sibling = |hash: u64| Sibling { rows: 60.0, mean: hash as f64, least: 0.0, greatest: 1e9 };
        let sampled = |hashes: &mut dyn Iterator<Item = u64>| {
            let mut sample = Sample::default();
            hashes.for_each(|hash| sample.push(hash, sibling(hash)));
            sample.siblings()
        };
        let all = 3 * SAMPLE as u64;
        let rising = sampled(&mut (0..all));
        assert_eq!(rising.len(), SAMPLE);
        assert_eq!(rising, sampled(&mut (0..all).rev()));
        assert_eq!(rising, sampled(&mut (0..all).map(|number| number * 7919 % all)));
    }
}
