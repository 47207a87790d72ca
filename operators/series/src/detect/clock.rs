//! How far apart the rows of a key are, and how many are missing between two of them.

use super::fields::Fields;
use crate::bytes::StateError;

/// A gap of so many configured intervals, or learnt ones, misses rows.
const GAP_CONFIGURED: f64 = 1.5;
const GAP_LEARNT: f64 = 3.5;

/// The times of one key's rows.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    last_us: i64,
    rows: u32,
    /// The interval learnt from the rows, microseconds; 0: none yet.
    learnt_us: i64,
}

impl Clock {
    /// Before the first row.
    pub fn new() -> Self {
        Clock { last_us: 0, rows: 0, learnt_us: 0 }
    }

    /// Goes on to a row: how many rows are missing before it, and the interval (0: not known yet).
    pub fn tick(&mut self, time_us: i64, configured_us: Option<i64>) -> (u32, i64) {
        let gap = if self.rows == 0 { 0 } else { time_us.saturating_sub(self.last_us).max(0) };
        self.last_us = time_us;
        self.rows = self.rows.saturating_add(1);
        let (interval, least) = match configured_us {
            Some(configured) => (configured, GAP_CONFIGURED),
            None => (self.learnt_us, GAP_LEARNT),
        };
        let mut missed = 0;
        if interval > 0 && gap as f64 >= least * interval as f64 {
            missed = (libm::round(gap as f64 / interval as f64) - 1.0).clamp(0.0, 1e9) as u32;
        }
        self.learn(gap);
        (missed, configured_us.unwrap_or(self.learnt_us))
    }

    /// Follows the median of gaps, down faster than up: gaps that miss rows are too long, none is too short.
    fn learn(&mut self, gap: i64) {
        if gap == 0 {
            return;
        }
        if self.learnt_us == 0 {
            self.learnt_us = gap;
        } else if gap < self.learnt_us {
            self.learnt_us -= (self.learnt_us - gap + 3) / 4;
        } else {
            let up = (gap - self.learnt_us).min(self.learnt_us);
            self.learnt_us += (up + 15) / 16;
        }
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.i64(&mut self.last_us)?;
        fields.u32(&mut self.rows)?;
        fields.i64(&mut self.learnt_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rows_are_counted() {
        let mut clock = Clock::new();
        assert_eq!(clock.tick(0, Some(60)).0, 0);
        assert_eq!(clock.tick(60, Some(60)).0, 0);
        assert_eq!(clock.tick(240, Some(60)).0, 2);
        assert_eq!(clock.tick(240, Some(60)).0, 0);
        assert_eq!(clock.tick(100, Some(60)).0, 0);
        assert_eq!(clock.tick(i64::MAX, Some(60)).0, 1_000_000_000);
    }

    #[test]
    fn an_interval_is_learnt_in_spite_of_gaps() {
        let mut clock = Clock::new();
        let mut time = 0;
        for row in 0..200 {
            time += if row % 20 == 19 { 600 } else { 60 };
            clock.tick(time, None);
        }
        let (missed, interval) = clock.tick(time + 600, None);
        assert!((55..=75).contains(&interval), "{interval}");
        assert!((7..=10).contains(&missed), "{missed}");
    }
}
