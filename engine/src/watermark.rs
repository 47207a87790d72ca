//! How far event time is.
//!
//! ```text
//!   source on worker 0 ─ report(tick, min over its splits) ─┐ broadcast      ┌─▶ JobWatermark in each windowed operator
//!   source on worker 1 ─ report(tick, min over its splits) ─┴───────────────▶┴─▶ … : the minimum, once the frontier passes
//! ```
//!
//! A report says the lowest watermark among a source's splits on one worker, as of the end of a tick. The job's watermark at a
//! tick is the minimum over all sources and workers of their newest report up to that tick; it is known when the timely
//! frontier has passed the tick. Every operator sees the same sequence of reports, so all agree on which windows fire, whatever
//! the ticks were.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Exchange, Inspect};

use crate::checkpoint::Cuts;
use crate::tick::TickClock;
use crate::{BatchStream, Out, Scope, Tick};

/// Event time, microseconds since the epoch.
pub type EventTime = i64;

/// Before any row: no window may fire.
pub const BEGINNING: EventTime = i64::MIN;

/// After the last row: every window fires.
pub const END: EventTime = i64::MAX;

/// In a report: no split of the worker holds the watermark back, but some may come back from idleness. No event time is that high.
pub const IDLE: EventTime = i64::MAX - 1;

/// What a source on one worker says at the end of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkReport {
    /// The source's number.
    pub source: u32,
    /// The worker.
    pub worker: u32,
    /// The minimum over the worker's splits of the source that are not idle; [`END`] when all have ended or it has none, [`IDLE`]
    /// when those that have not ended are idle.
    pub watermark: EventTime,
    /// The maximum over those that are idle; [`BEGINNING`] when none is.
    pub idle: EventTime,
}

/// A stream of reports.
pub type Reports<'scope> = StreamVec<'scope, Tick, WatermarkReport>;

/// Gives every worker every report.
pub fn broadcast<'scope>(scope: Scope<'scope>, reports: Reports<'scope>) -> Reports<'scope> {
    let peers = scope.peers() as u64;
    reports
        .flat_map(move |report| (0..peers).map(move |worker| (worker, report)))
        .exchange(|(worker, _)| *worker)
        .map(|(_, report)| report)
}

/// Raises this process's clock by the reports of all: a report made at a tick says that the next one is open. Without it an
/// idle source would hold back the busy ones of other processes for as long as it is idle.
pub fn keep_abreast(reports: Reports<'_>, clock: TickClock) -> Reports<'_> {
    reports.inspect_core(move |event| {
        if let Ok((at, _)) = event
            && let Some(tick) = at.least()
        {
            clock.reach(tick + 1);
        }
    })
}

/// Keeps this process's knowledge of the job's watermark up to date: sources need it at a cut, and people who look on. Its end belongs
/// to the gate, so that what is known when the gate has passed a tick is what was reported up to it.
pub fn follow<'scope>(reports: Reports<'scope>, sources: usize, cuts: Cuts) -> BatchStream<'scope> {
    let mut watermark = JobWatermark::new(sources, reports.scope().peers());
    reports.unary_frontier::<Out, _, _, _>(Pipeline, "watermark", move |cap, _| {
        let mut cap = Some(cap);
        move |(input, frontier), _output| {
            input.for_each(|at, reports: &mut Vec<WatermarkReport>| {
                let tick = *at.least().expect("invariant: a message has a tick");
                reports.drain(..).for_each(|report| watermark.report(tick, report));
            });
            let next = frontier.frontier().first().copied();
            cuts.set_watermark(watermark.advance(next));
            match (&mut cap, next) {
                (Some(cap), Some(next)) => cap.downgrade(&next),
                _ => cap = None,
            }
        }
    })
}

/// The job's watermark, as an operator comes to know it.
#[derive(Debug)]
pub struct JobWatermark {
    /// Newest applied report of each source on each worker; `None` until the first.
    newest: Vec<Option<WatermarkReport>>,
    workers: usize,
    pending: BTreeMap<Tick, Vec<WatermarkReport>>,
    current: EventTime,
}

impl JobWatermark {
    /// For a job of `sources` sources on `workers` workers. Nothing has been reported: [`BEGINNING`].
    pub fn new(sources: usize, workers: usize) -> Self {
        JobWatermark {
            newest: vec![None; sources * workers],
            workers,
            pending: BTreeMap::new(),
            current: BEGINNING,
        }
    }

    /// Takes in a report made at `tick`.
    pub fn report(&mut self, tick: Tick, report: WatermarkReport) {
        self.pending.entry(tick).or_default().push(report);
    }

    /// The job's watermark when all ticks before `frontier` are complete (`None`: all ticks are).
    pub fn advance(&mut self, frontier: Option<Tick>) -> EventTime {
        let complete = match frontier {
            Some(tick) => {
                let later = self.pending.split_off(&tick);
                std::mem::replace(&mut self.pending, later)
            }
            None => std::mem::take(&mut self.pending),
        };
        if !complete.is_empty() {
            for report in complete.into_values().flatten() {
                self.newest[report.source as usize * self.workers + report.worker as usize] = Some(report);
            }
            let of = |report: &Option<WatermarkReport>| report.map_or(BEGINNING, |report| report.watermark);
            let mut lowest = self.newest.iter().map(of).min().unwrap_or(BEGINNING);
            if lowest == IDLE {
                // All that has not ended is idle: none holds back another, whichever was the last to fall silent.
                lowest = self.newest.iter().flatten().map(|report| report.idle).max().unwrap_or(BEGINNING);
            }
            self.current = self.current.max(lowest);
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(source: u32, worker: u32, watermark: EventTime) -> WatermarkReport {
        WatermarkReport { source, worker, watermark, idle: BEGINNING }
    }

    #[test]
    fn idle_splits_hold_nothing_back() {
        let idle = |worker, idle| WatermarkReport { idle, ..report(0, worker, IDLE) };
        let mut job = JobWatermark::new(1, 2);
        job.report(0, report(0, 0, 10));
        job.report(0, report(0, 1, BEGINNING));
        assert_eq!(job.advance(Some(1)), BEGINNING);
        job.report(1, idle(0, 10));
        job.report(1, idle(1, BEGINNING));
        assert_eq!(job.advance(Some(2)), 10, "all fell silent at once");
        job.report(2, report(0, 0, 12));
        assert_eq!(job.advance(Some(3)), 12);
        job.report(3, report(0, 0, END));
        assert_eq!(job.advance(Some(4)), 12, "the other may come back");
        job.report(4, report(0, 1, 15));
        assert_eq!(job.advance(Some(5)), 15);
    }

    #[test]
    fn is_the_minimum_over_sources_and_workers_of_complete_ticks() {
        let mut job = JobWatermark::new(2, 2);
        job.report(0, report(0, 0, 10));
        job.report(0, report(0, 1, 20));
        job.report(0, report(1, 0, END));
        assert_eq!(job.advance(Some(0)), BEGINNING, "tick 0 is not complete");
        assert_eq!(job.advance(Some(1)), BEGINNING, "source 1 on worker 1 has not reported");
        job.report(1, report(1, 1, 15));
        job.report(2, report(0, 0, 30));
        assert_eq!(job.advance(Some(2)), 10);
        assert_eq!(job.advance(Some(3)), 15);
        job.report(3, report(1, 1, END));
        assert_eq!(job.advance(None), 20);
    }
}
