//! State by key, as rows of a checkpoint, and back: what all operators that have some share.
//!
//! ```text
//!   files of a checkpoint, newest first ─▶ rows of own shards, not over, not seen in a newer file ─▶ state
//! ```

use arrow::array::{AsArray, BinaryArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use thalweg_engine::checkpoint::StatePart;
use thalweg_engine::control::JobError;
use thalweg_engine::shard::{shard_of, worker_of};
use thalweg_engine::watermark::{BEGINNING, EventTime};

/// Rows of a batch of state, at most.
pub(crate) const STATE_ROWS_MAX: usize = 16_384;
/// Below so many rows in files nobody minds that most of them are out of date.
const CHAIN_ROWS_MIN: usize = 10_000;
/// Files of a chain, at most: manifests name them all, and a restart reads them one after the other.
const CHAIN_FILES_MAX: usize = 16;

/// What an operator starts with after a restart.
#[derive(Debug, Clone)]
pub struct RestoredState {
    /// The batches of each file that holds shards of this worker, oldest first.
    pub files: Vec<Vec<RecordBatch>>,
    /// The job's watermark at the cut.
    pub watermark: EventTime,
}

impl RestoredState {
    /// That of a job at its beginning.
    pub fn nothing() -> Self {
        RestoredState { files: Vec::new(), watermark: BEGINNING }
    }
}

/// How long a worker's chain of files has become, and so when the next one must hold everything.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    rows: usize,
    files: usize,
}

impl Chain {
    /// After a restart from so many files of so many rows.
    pub(crate) fn restored(files: usize, rows: usize) -> Self {
        Chain { rows, files }
    }

    /// Whether the next file is to hold all `live` groups rather than the `changed` ones, of which it takes note.
    pub(crate) fn grow(&mut self, changed: usize, live: usize) -> bool {
        let full = self.files == 0
            || self.files >= CHAIN_FILES_MAX
            || self.rows + changed > 2 * live + CHAIN_ROWS_MIN;
        if full {
            *self = Chain { rows: live, files: 1 };
        } else if changed > 0 {
            *self = Chain { rows: self.rows + changed, files: self.files + 1 };
        }
        full
    }
}

/// The rows of a batch that belong to worker `worker` of `workers` and are wanted (`keep`: row, hash, key).
pub(crate) fn wanted(
    batch: &RecordBatch,
    worker: usize,
    workers: usize,
    mut keep: impl FnMut(usize, u64, &[u8]) -> bool,
) -> Result<RecordBatch, JobError> {
    let hashes = batch.column(0).as_primitive::<UInt64Type>();
    let keys: &BinaryArray = batch.column(1).as_binary();
    let mask: BooleanArray = (0..batch.num_rows())
        .map(|row| {
            let hash = hashes.value(row);
            Some(worker_of(shard_of(hash), workers) == worker && keep(row, hash, keys.value(row)))
        })
        .collect();
    Ok(filter_record_batch(batch, &mask)?)
}

/// A part of a cut; `None` where nothing has changed.
pub(crate) fn part(
    step: &str,
    worker: usize,
    workers: usize,
    full: bool,
    batches: Vec<RecordBatch>,
) -> StatePart {
    StatePart { step: step.to_owned(), worker, workers, full, batches }
}
