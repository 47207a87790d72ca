//! What a sink has done, readable while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::RecordBatch;
use thalweg_engine::checkpoint::StagedFile;

use super::{Sink, SinkError};
use crate::stopwatch::{Stopwatch, Stopwatches};

/// Counts of one sink, over all workers of a process.
#[derive(Debug, Default)]
pub struct SinkCounters {
    rows: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    /// Taking rows, and completing files.
    pub busy: Stopwatches,
}

impl SinkCounters {
    /// Adds what a worker has completed.
    pub fn add(&self, rows: u64, files: u64, bytes: u64) {
        self.rows.fetch_add(rows, Relaxed);
        self.files.fetch_add(files, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Rows completed.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Counts the time that a worker's part of the sink takes.
    pub fn timed(&self, sink: Box<dyn Sink>) -> Box<dyn Sink> {
        Box::new(Timed { sink, busy: self.busy.add() })
    }

    /// Files completed.
    pub fn files(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// Bytes completed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

struct Timed {
    sink: Box<dyn Sink>,
    busy: Arc<Stopwatch>,
}

impl Sink for Timed {
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError> {
        self.busy.time(|| self.sink.write(batch))
    }

    fn stage(&mut self, checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        self.busy.time(|| self.sink.stage(checkpoint))
    }
}
