//! What a sink has done, readable while it runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one sink, over all workers of a process.
#[derive(Debug, Default)]
pub struct SinkCounters {
    rows: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
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

    /// Files completed.
    pub fn files(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// Bytes completed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}
