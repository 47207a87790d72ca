//! Time that goes by with something: a sink that writes, a step at work, reading that is held back. Readable while it runs.
//!
//! ```text
//!   worker 0: start ─ stop ──── start ─ …    a stopwatch a worker; written by it alone, once or twice a batch
//!   worker 1: ───── start ─ stop ─ …         whoever shows numbers adds them up, what is going on now included
//! ```

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The stopwatches of one thing, over all workers of a process.
#[derive(Debug, Default)]
pub struct Stopwatches {
    // A mutex: workers lock it when they are built, whoever shows numbers when they are shown.
    all: Mutex<Vec<Arc<Stopwatch>>>,
}

impl Stopwatches {
    /// One more: for one worker.
    pub fn add(&self) -> Arc<Stopwatch> {
        let one = Arc::new(Stopwatch::default());
        self.lock().push(Arc::clone(&one));
        one
    }

    /// The time in all, summed over the workers. It never falls.
    pub fn total(&self) -> Duration {
        self.lock().iter().map(|one| one.total()).sum()
    }

    /// For how long it has been going on by now, on the worker where it began first; `None`: on none.
    pub fn running(&self) -> Option<Duration> {
        self.lock().iter().filter_map(|one| one.running()).max()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Stopwatch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stopwatch of one worker.
#[derive(Debug, Default)]
pub struct Stopwatch {
    /// Nanoseconds, twice. Stopped: the total. Running: the time since which it would have run for the total, and 1. One number, so
    /// that nobody reads the half of a change.
    state: AtomicU64,
    /// When it was started last.
    started_ns: AtomicU64,
    /// The highest total that was told: who tells it may look at the clock later than who stops.
    told_ns: AtomicU64,
}

impl Stopwatch {
    /// Starts it; it goes on where it runs already.
    pub fn start(&self) {
        let state = self.state.load(Relaxed);
        if state & 1 == 0 {
            let now = now_ns();
            self.started_ns.store(now, Relaxed);
            self.state.store((now - (state >> 1)) << 1 | 1, Relaxed);
        }
    }

    /// Stops it, if it runs.
    pub fn stop(&self) {
        let state = self.state.load(Relaxed);
        if state & 1 == 1 {
            self.state.store((now_ns() - (state >> 1)) << 1, Relaxed);
        }
    }

    /// Takes the time of some work.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        self.start();
        let done = work();
        self.stop();
        done
    }

    fn total(&self) -> Duration {
        let state = self.state.load(Relaxed);
        let time = state >> 1;
        let total = if state & 1 == 1 { now_ns().saturating_sub(time) } else { time };
        Duration::from_nanos(self.told_ns.fetch_max(total, Relaxed).max(total))
    }

    fn running(&self) -> Option<Duration> {
        let running = self.state.load(Relaxed) & 1 == 1;
        running.then(|| Duration::from_nanos(now_ns().saturating_sub(self.started_ns.load(Relaxed))))
    }
}

// Of the process's own clock, which no one sets back. In half a u64 there is room for three hundred years.
fn now_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Lets time go by, without an assumption on how much.
    fn a_moment() {
        let before = now_ns();
        while now_ns() == before {}
    }

    #[test]
    fn what_goes_on_counts_and_pauses_do_not() {
        let all = Stopwatches::default();
        let (one, other) = (all.add(), all.add());
        assert_eq!((all.total(), all.running()), (Duration::ZERO, None));
        one.start();
        a_moment();
        let first = all.total();
        assert!(first > Duration::ZERO && all.running() > Some(Duration::ZERO));
        one.start();
        assert!(all.running() >= Some(first), "a second start is none");
        one.stop();
        let stopped = all.total();
        a_moment();
        one.stop();
        assert_eq!((all.total(), all.running()), (stopped, None));
        assert!(other.time(|| all.running().is_some()));
        let both = all.total();
        assert!(both >= stopped);
        one.start();
        assert!(all.running().is_some_and(|now| now < stopped + both), "it runs anew");
        assert!(all.total() >= both);
    }

    #[test]
    fn the_total_never_falls_whoever_reads_it_when() {
        let all = Stopwatches::default();
        let one = all.add();
        let reader = std::thread::spawn({
            let (one, until) = (Arc::clone(&one), Instant::now() + Duration::from_millis(50));
            move || {
                let mut last = Duration::ZERO;
                while Instant::now() < until {
                    let total = one.total();
                    assert!(total >= last, "{total:?} after {last:?}");
                    last = total;
                }
            }
        });
        while !reader.is_finished() {
            one.time(a_moment);
        }
        reader.join().expect("no panic");
    }
}
