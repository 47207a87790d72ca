//! Waiting for what has to happen, with a limit: a job that hangs is a test that fails.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should take a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until a condition holds.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, condition), "{what}: not within {PATIENCE:?}");
}

/// Whether a condition comes to hold in time.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::park_timeout(LOOK_AGAIN);
    }
    true
}

/// Something that runs beside the test.
pub(crate) struct Running<T> {
    done: std::sync::mpsc::Receiver<T>,
    thread: thread::JoinHandle<()>,
}

impl<T: Send + 'static> Running<T> {
    pub(crate) fn start(work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        let (send, done) = channel();
        let thread = thread::spawn(move || {
            // Nobody listens any more where the test has failed.
            let _ = send.send(work());
        });
        Running { done, thread }
    }

    /// Waits for its end and gives what came out; panics as it did.
    pub(crate) fn end(self) -> T {
        match self.done.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => panic!("did not end within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => match self.thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => unreachable!("it ended without a result"),
            },
        }
    }
}

/// Runs something that has to end in time.
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    Running::start(work).end()
}
