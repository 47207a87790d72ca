//! What checkpoints have cost, readable while a job runs: by whoever shows numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What checkpoints have cost, readable while a job runs.
#[derive(Debug, Default)]
pub struct CheckpointCounters {
    /// The newest checkpoint's number.
    pub newest: AtomicU64,
    /// When it was made, milliseconds since the epoch.
    pub made_at_ms: AtomicI64,
    /// Checkpoints made by this run.
    pub made: AtomicU64,
    /// Milliseconds from the request to the manifest, of the newest.
    pub took_ms: AtomicU64,
    /// Bytes of state written for the newest.
    pub bytes_written: AtomicU64,
    /// Bytes of state written by this run.
    pub bytes_written_in_all: AtomicU64,
    /// Bytes of state that a restart would read.
    pub bytes_held: AtomicU64,
    // A mutex: locked twice a checkpoint and sink.
    publications: Mutex<Publications>,
}

/// What the sinks have published, in the process that leads the job.
#[derive(Debug, Default, Clone)]
pub struct Publications {
    /// By sink: how many checkpoints.
    pub commits: BTreeMap<String, u64>,
    /// By sink: how long that took.
    pub time: BTreeMap<String, Duration>,
    /// What is going on: the sink, the checkpoint, and since when.
    pub now: Option<(String, u64, Instant)>,
}

impl CheckpointCounters {
    /// What the sinks have published by now.
    pub fn publications(&self) -> Publications {
        self.publishing().clone()
    }

    fn publishing(&self) -> MutexGuard<'_, Publications> {
        self.publications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, sink: &str, checkpoint: u64) {
        self.publishing().now = Some((sink.to_owned(), checkpoint, Instant::now()));
    }

    pub(super) fn done(&self, sink: &str) {
        let mut all = self.publishing();
        let took = all.now.take().map_or(Duration::ZERO, |(_, _, since)| since.elapsed());
        *all.commits.entry(sink.to_owned()).or_default() += 1;
        *all.time.entry(sink.to_owned()).or_default() += took;
    }
}
