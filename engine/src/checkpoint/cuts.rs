//! Where the operators of a process hand over their parts of a cut.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use arrow::array::RecordBatch;

use super::manifest::{SourceCounts, SplitPosition, StagedFile};
use crate::Tick;
use crate::tick::{TickClock, epoch_of, first_tick};
use crate::watermark::{BEGINNING, EventTime};

/// What one operator on one worker contributes to a cut.
#[derive(Debug, Clone)]
pub enum Part {
    /// How far a source's splits on this worker are.
    Source {
        /// The source's number.
        source: u32,
        /// The worker's splits.
        splits: Vec<SplitPosition>,
        /// Rows since the cut before.
        since: SourceCounts,
        /// The job's watermark at the cut.
        watermark: EventTime,
    },
    /// State of a step.
    State(StatePart),
    /// Files of a sink.
    Sink {
        /// The sink's name.
        sink: String,
        /// Those that were completed since the cut before.
        files: Vec<StagedFile>,
    },
}

/// State of a step's operator on one worker.
#[derive(Debug, Clone)]
pub struct StatePart {
    /// The step.
    pub step: String,
    /// The worker.
    pub worker: usize,
    /// Workers of the job.
    pub workers: usize,
    /// Whether this is all that the operator holds; otherwise what has changed since the cut before. One batch at least, even if it
    /// has no rows.
    pub full: bool,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// Shared by all operators of a process, and the thread that makes checkpoints. Cheap to clone.
#[derive(Clone)]
pub struct Cuts {
    clock: TickClock,
    shared: Arc<Shared>,
}

struct Shared {
    first: u64,
    published: AtomicU64,
    /// The cut after which the job ends, once it is told to.
    last: AtomicU64,
    watermark: AtomicI64,
    // A mutex: parts come once a cut from each operator, never a batch.
    parts: Mutex<Parts>,
    changed: Condvar,
}

#[derive(Default)]
struct Parts {
    operators: usize,
    workers_building: usize,
    /// Of each cut the parts given so far, by operator.
    given: BTreeMap<u64, BTreeMap<usize, Part>>,
    /// Last words of operators that have ended, which hold for all later cuts.
    ended: BTreeMap<usize, Part>,
    closed: bool,
}

impl Parts {
    fn complete(&self, cut: u64) -> bool {
        let given = self.given.get(&cut);
        let has = |operator: &usize| given.is_some_and(|given| given.contains_key(operator));
        self.workers_building == 0
            && (0..self.operators).all(|operator| has(&operator) || self.ended.contains_key(&operator))
    }
}

/// What [`Cuts::take`] finds.
#[derive(Debug)]
pub enum Taken {
    /// All parts of the cut.
    Parts(Vec<Part>),
    /// Some are missing.
    NotYet,
    /// Some are missing, and nobody will hand them over any more.
    Never,
}

/// An operator's number among those of its process that take part in cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant(usize);

impl Cuts {
    /// For a job that goes on after cut `from` (0: at its beginning), on `workers` workers of this process.
    pub fn new(from: u64, workers: usize, clock: TickClock) -> Self {
        clock.reach(first_tick(from + 1));
        Cuts {
            clock,
            shared: Arc::new(Shared {
                first: from,
                published: AtomicU64::new(from),
                last: AtomicU64::new(u64::MAX),
                watermark: AtomicI64::new(BEGINNING),
                parts: Mutex::new(Parts { workers_building: workers, ..Parts::default() }),
                changed: Condvar::new(),
            }),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.shared.parts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The ticks of the job.
    pub fn clock(&self) -> &TickClock {
        &self.clock
    }

    /// The cut from which the job goes on; 0: its beginning.
    pub fn first(&self) -> u64 {
        self.shared.first
    }

    /// Announces an operator that will hand over a part of every cut.
    pub fn join(&self) -> Participant {
        let mut parts = self.parts();
        parts.operators += 1;
        Participant(parts.operators - 1)
    }

    /// Says that a worker has announced all its operators.
    pub fn built(&self) {
        self.parts().workers_building -= 1;
        self.shared.changed.notify_all();
    }

    /// Hands over a part of a cut.
    pub fn give(&self, cut: u64, by: Participant, part: Part) {
        self.parts().given.entry(cut).or_default().insert(by.0, part);
        self.shared.changed.notify_all();
    }

    /// Hands over a source's part of a cut that is its last: where it is then it will be at all later ones.
    pub fn give_last(&self, cut: u64, by: Participant, part: Part) {
        let mut parts = self.parts();
        let mut later = part.clone();
        if let Part::Source { since, .. } = &mut later {
            *since = SourceCounts::default();
        }
        parts.ended.insert(by.0, later);
        parts.given.entry(cut).or_default().insert(by.0, part);
        self.shared.changed.notify_all();
    }

    /// Says that no operator will hand over anything any more.
    pub fn close(&self) {
        self.parts().closed = true;
        self.shared.changed.notify_all();
    }

    /// Whether [`Cuts::close`] was called.
    pub fn closed(&self) -> bool {
        self.parts().closed
    }

    /// The parts of `cut`, once all operators of this process have handed over theirs. Waits for so long at most.
    pub fn take(&self, cut: u64, patience: Duration) -> Taken {
        let mut parts = self.parts();
        if !parts.complete(cut) && !parts.closed {
            let waited = self.shared.changed.wait_timeout(parts, patience);
            parts = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        if !parts.complete(cut) {
            return if parts.closed { Taken::Never } else { Taken::NotYet };
        }
        let mut taken = parts.given.remove(&cut).unwrap_or_default();
        for (operator, part) in &parts.ended {
            taken.entry(*operator).or_insert_with(|| part.clone());
        }
        Taken::Parts(taken.into_values().collect())
    }

    /// Notes that the sinks have published `cut`, and so all before it.
    pub fn set_published(&self, cut: u64) {
        let _waiting = self.parts();
        self.shared.published.fetch_max(cut, Ordering::Release);
        self.shared.changed.notify_all();
    }

    /// Whether the sinks have published `cut`; waits for it so long at most.
    pub fn wait_published(&self, cut: u64, patience: Duration) -> bool {
        let waiting = |_: &mut Parts| self.published() < cut;
        drop(self.shared.changed.wait_timeout_while(self.parts(), patience, waiting));
        self.published() >= cut
    }

    /// The newest cut that the sinks have published.
    pub fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Acquire)
    }

    /// Whether sources may read on after they took part in `cut`: not while the cut before is still being published, or what is staged
    /// would grow without end when publishing is slow; and not when the job ends with it.
    pub fn may_resume(&self, cut: u64) -> bool {
        cut < self.shared.last.load(Ordering::Acquire) && self.published() + 1 >= cut
    }

    /// Says that the job ends with `cut`: sources read nothing after it.
    pub fn end_with(&self, cut: u64) {
        self.shared.last.store(cut, Ordering::Release);
    }

    /// The job's watermark as of the newest complete tick, as far as this process knows.
    pub fn watermark(&self) -> EventTime {
        self.shared.watermark.load(Ordering::Relaxed)
    }

    /// Notes the job's watermark.
    pub fn set_watermark(&self, watermark: EventTime) {
        // Workers of a process come to know it one after the other.
        self.shared.watermark.fetch_max(watermark, Ordering::Relaxed);
    }
}

/// Tells an operator when it must hand over its part.
#[derive(Debug)]
pub struct CutTracker {
    last: u64,
}

impl CutTracker {
    /// For an operator of a job that goes on after cut `from`.
    pub fn new(from: u64) -> Self {
        CutTracker { last: from }
    }

    /// The cut whose part is due, now that all ticks before `frontier` are complete (`None`: all ticks are). It is due before the
    /// operator lets go of its capability. Sources open an epoch only when everybody has taken part in the cut before, so none is
    /// ever missed.
    pub fn due(&mut self, frontier: Option<Tick>) -> Option<u64> {
        let complete = match frontier {
            Some(tick) => epoch_of(tick).saturating_sub(1),
            None => self.last + 1,
        };
        (complete > self.last).then(|| {
            debug_assert_eq!(complete, self.last + 1, "a cut was missed");
            self.last = complete;
            complete
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(rows: u64) -> Part {
        let since = SourceCounts { read: rows, ..SourceCounts::default() };
        Part::Source { source: 0, splits: Vec::new(), since, watermark: 0 }
    }

    fn rows(parts: &[Part]) -> u64 {
        let of = |part: &Part| match part {
            Part::Source { since, .. } => since.read,
            _ => 0,
        };
        parts.iter().map(of).sum()
    }

    /// How many parts, and their rows; `None`: some are missing.
    fn taken(cuts: &Cuts, cut: u64) -> Option<(usize, u64)> {
        match cuts.take(cut, Duration::ZERO) {
            Taken::Parts(parts) => Some((parts.len(), rows(&parts))),
            Taken::NotYet | Taken::Never => None,
        }
    }

    #[test]
    fn a_cut_is_complete_when_all_have_given_or_ended() {
        let cuts = Cuts::new(4, 1, TickClock::default());
        let (a, b) = (cuts.join(), cuts.join());
        cuts.give(5, a, part(1));
        cuts.give(5, b, part(2));
        assert_eq!(taken(&cuts, 5), None, "another operator may still be announced");
        cuts.built();
        assert_eq!(taken(&cuts, 5), Some((2, 3)));
        cuts.give_last(6, b, part(4));
        assert_eq!(taken(&cuts, 6), None);
        cuts.give(6, a, part(1));
        assert_eq!(taken(&cuts, 6), Some((2, 5)));
        cuts.give(7, a, part(1));
        assert_eq!(taken(&cuts, 7), Some((2, 1)), "an ended source stays where it was, and counts once");
    }

    #[test]
    fn parts_that_were_handed_over_before_all_was_closed_are_there() {
        let cuts = Cuts::new(0, 1, TickClock::default());
        let (a, b) = (cuts.join(), cuts.join());
        cuts.built();
        cuts.give_last(1, a, part(1));
        assert!(matches!(cuts.take(1, Duration::ZERO), Taken::NotYet));
        cuts.give_last(1, b, part(2));
        cuts.close();
        assert_eq!(taken(&cuts, 1), Some((2, 3)));
        let others = Cuts::new(0, 1, TickClock::default());
        others.join();
        others.built();
        others.close();
        assert!(matches!(others.take(1, Duration::ZERO), Taken::Never));
    }

    #[test]
    fn the_cut_before_must_be_published_before_sources_go_on() {
        let cuts = Cuts::new(0, 1, TickClock::default());
        assert!(cuts.may_resume(1));
        assert!(!cuts.may_resume(2));
        cuts.set_published(1);
        assert!(cuts.may_resume(2));
        cuts.end_with(2);
        assert!(!cuts.may_resume(2));
    }

    #[test]
    fn a_part_is_due_once_an_epoch_and_at_the_end() {
        let mut tracker = CutTracker::new(3);
        assert_eq!(tracker.due(Some(0)), None);
        assert_eq!(tracker.due(Some(first_tick(4))), None);
        assert_eq!(tracker.due(Some(first_tick(4) + 7)), None);
        assert_eq!(tracker.due(Some(first_tick(5))), Some(4));
        assert_eq!(tracker.due(Some(first_tick(5))), None);
        assert_eq!(tracker.due(None), Some(5));
    }
}
