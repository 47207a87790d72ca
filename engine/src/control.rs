//! How a job is told to stop, and where its first error is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Shared by a job's workers and whoever supervises them.
///
/// ```text
///   stop ─▶ a last checkpoint is made and published ─▶ end ─▶ sources let go, the dataflow ends
///   fail ─────────────────────────────────────────────▶ end    nothing more is published
/// ```
#[derive(Clone, Default)]
pub struct Control(Arc<State>);

#[derive(Default)]
struct State {
    stop: AtomicBool,
    end: AtomicBool,
    // A mutex: an error is set once in a job's life, by whichever worker fails first.
    error: Mutex<Option<JobError>>,
    failed: AtomicBool,
    changed: Condvar,
}

/// What made a job fail: the operator's own error, kept whole.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

impl Control {
    /// Nothing asked, nothing failed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to make a last checkpoint and end.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
        self.tell();
    }

    /// Whether it was asked to stop.
    pub fn stop_asked(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Lets the sources go: they read nothing more.
    pub fn end(&self) {
        self.0.end.store(true, Ordering::Relaxed);
        self.tell();
    }

    /// Whether the sources are to let go: the job is at its end, or failed.
    pub fn ending(&self) -> bool {
        self.0.end.load(Ordering::Relaxed)
    }

    // Whoever looks and then waits must not miss it in between.
    fn tell(&self) {
        let _waiting = self.error();
        self.0.changed.notify_all();
    }

    /// Waits until the job is asked to stop, or ends, for so long at most; whether it is.
    pub fn wait(&self, patience: Duration) -> bool {
        let going_on = |_: &mut Option<JobError>| !self.stop_asked() && !self.ending();
        drop(self.0.changed.wait_timeout_while(self.error(), patience, going_on));
        self.stop_asked() || self.ending()
    }

    fn error(&self) -> MutexGuard<'_, Option<JobError>> {
        self.0.error.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Records what failed and ends the job. The first error is kept: later ones are mostly its consequences.
    pub fn fail(&self, error: impl Into<JobError>) {
        self.error().get_or_insert_with(|| error.into());
        self.0.failed.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Records what was behind the first error, in its place.
    pub fn fail_because_of(&self, cause: impl Into<JobError>) {
        *self.error() = Some(cause.into());
        self.0.failed.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Whether the job failed. Its sinks then write nothing more.
    pub fn failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Why it failed, in words, as long as nobody took the error.
    pub fn reason(&self) -> Option<String> {
        self.error().as_ref().map(|error| error.to_string())
    }

    /// Takes the error out, at the end of a job.
    pub fn take_error(&self) -> Option<JobError> {
        self.error().take()
    }
}
