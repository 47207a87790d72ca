//! How a job is told to stop, and where its first error is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Shared by a job's workers and whoever supervises them.
///
/// A stop is asked for, never forced: sources stop reading and drop their capabilities, what was read flows to the sinks, and
/// the dataflow ends.
#[derive(Clone, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    // A mutex: an error is set once in a job's life, by whichever worker fails first.
    error: Arc<Mutex<Option<JobError>>>,
}

/// What made a job fail: the operator's own error, kept whole.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

impl Control {
    /// Nothing asked, nothing failed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the sources to stop reading.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for, or the job failed.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Records what failed and stops the job. The first error is kept: later ones are mostly its consequences.
    pub fn fail(&self, error: impl Into<JobError>) {
        let mut slot = self.error.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        slot.get_or_insert_with(|| error.into());
        self.stop();
    }

    /// Whether the job failed. Its sinks then publish nothing more.
    pub fn failed(&self) -> bool {
        self.error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some()
    }

    /// Takes the error out, at the end of a job.
    pub fn take_error(&self) -> Option<JobError> {
        self.error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}
