//! Keeps the workers of a bounded source abreast in event time: what one reads far ahead of the others fills windows that can't fire yet,
//! and over a day of a replay a worker that is a little faster gets hours ahead.
//!
//! ```text
//!   job's watermark ──────────────┐
//!   ticks of this worker   ▒▒▒▒▒▒▒│████████████      rows of ticks that were opened above it: not more than so many
//! ```
//!
//! Ticks alone don't do it: all workers open the same ones, and the slower worker's hold fewer rows. Splits without an end are never held
//! back: nobody knows whether the one that is behind has more to say. (A bounded source beside one without an end that only creeps on in
//! event time is held back to its pace, as its windows would be.)

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use thalweg_engine::tick::TickLimits;
use thalweg_engine::watermark::{BEGINNING, EventTime};

/// How long the watermark may stand still before who is ahead reads on: something else holds it back, then.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far a worker is ahead.
pub(super) struct Abreast {
    rows_ahead_max: u64,
    /// This worker's watermark when a tick was opened, and the rows read until then.
    ticks: VecDeque<(EventTime, u64)>,
    /// The job's watermark, and since when it is there.
    watermark: (EventTime, Instant),
}

impl Abreast {
    /// At the beginning. Twice as many rows may lie ahead as are in flight between a source and its sinks anyway.
    pub(super) fn new(limits: &TickLimits) -> Self {
        let in_flight = limits.rows_max.saturating_mul(limits.ahead_ticks_max + 1);
        Abreast {
            rows_ahead_max: (in_flight as u64).saturating_mul(2),
            ticks: VecDeque::new(),
            watermark: (BEGINNING, Instant::now()),
        }
    }

    /// Notes a tick that is opened when this worker has come to `own`, with `rows` rows.
    pub(super) fn open_tick(&mut self, own: EventTime, rows: u64) {
        // One that holds no row says nothing new.
        if self.ticks.back().is_none_or(|(_, before)| *before < rows) {
            self.ticks.push_back((own, rows));
        }
    }

    /// Whether this worker, after `rows` rows, has to wait for others, the job being at `watermark`.
    pub(super) fn is_ahead(&mut self, watermark: EventTime, rows: u64, now: Instant) -> bool {
        if watermark != self.watermark.0 {
            self.watermark = (watermark, now);
        }
        while self.ticks.front().is_some_and(|(own, _)| *own <= watermark) {
            self.ticks.pop_front();
        }
        let ahead = self.ticks.front().map_or(0, |(_, before)| rows - before);
        ahead > self.rows_ahead_max && now.saturating_duration_since(self.watermark.1) < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ahead_waits_until_the_watermark_comes_up_or_stands_still() {
        let limits = TickLimits { rows_max: 100, ahead_ticks_max: 4, ..TickLimits::default() };
        let mut abreast = Abreast::new(&limits);
        let now = Instant::now();
        // A second a row; the job is where this worker was five ticks ago, as far as it is from source to sink.
        for tick in 0..50 {
            abreast.open_tick(tick * 100, tick as u64 * 100);
            assert!(!abreast.is_ahead((tick - 5).max(0) * 100, (tick as u64 + 1) * 100, now), "tick {tick}");
        }
        // The job stays at 4400: rows of ticks above that, 1000 of them may come.
        assert!(!abreast.is_ahead(4400, 5500, now));
        assert!(abreast.is_ahead(4400, 5501, now));
        assert!(abreast.is_ahead(4400, 5501, now + PATIENCE / 2));
        assert!(!abreast.is_ahead(4400, 5501, now + PATIENCE), "something else holds the watermark back");
        assert!(!abreast.is_ahead(4500, 5501, now + PATIENCE));
        assert!(abreast.is_ahead(4500, 5601, now + PATIENCE));
        assert!(!abreast.is_ahead(i64::MAX, 9999, now + PATIENCE), "all others have ended");
    }

    #[test]
    fn ticks_without_rows_are_not_kept() {
        let mut abreast = Abreast::new(&TickLimits::default());
        (0..1000).for_each(|_| abreast.open_tick(7, 3));
        assert_eq!(abreast.ticks.len(), 1);
    }
}
