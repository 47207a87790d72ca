//! Counters: series that only ever grow, and begin again near 0 when what counts is restarted. They are judged by their increments.

use super::fields::Fields;
use crate::bytes::StateError;

/// Rows in a row that don't fall before a series is taken for a counter; four times as many each time it is none after all.
const ROWS_MIN: u32 = 64;

/// A counter that falls below this share of what it was has been reset.
const RESET_SHARE: f64 = 0.1;

/// What is known of one input as a counter.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    last: f64,
    /// Rows since the series last fell otherwise than a counter does, and those of them that grew.
    rows: u32,
    grown: u32,
    /// Rows in a row that would show a counter.
    rows_min: u32,
    /// Rows without a value since the last one with one.
    skipped: u32,
    counts: bool,
}

/// What to judge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Judged {
    /// The value.
    Value,
    /// The increment a row, and over how many rows it was.
    Increment(f64, f64),
    /// Nothing: the counter was reset, or is new.
    Nothing,
}

impl Counter {
    /// Before the first row.
    pub fn new() -> Self {
        Counter { last: f64::NAN, rows: 0, grown: 0, rows_min: ROWS_MIN, skipped: 0, counts: false }
    }

    /// The value before the latest one, where increments are judged: what increments are added to.
    pub fn last(&self) -> f64 {
        self.last
    }

    /// Goes over a row without a value, after so many missing ones.
    pub fn skip(&mut self, missed: u32) {
        self.skipped = self.skipped.saturating_add(missed).saturating_add(1);
    }

    /// Takes in a value, which is no NaN, after so many missing rows: what to judge of it, and whether that means something else than before.
    pub fn take(&mut self, value: f64, missed: u32) -> (Judged, bool) {
        let last = std::mem::replace(&mut self.last, value);
        let counted = self.counts;
        let rows = f64::from(missed) + f64::from(std::mem::take(&mut self.skipped)) + 1.0;
        if last.is_nan() {
            return (Judged::Value, false);
        }
        let falls = value < last;
        let reset = falls && value >= 0.0 && value <= RESET_SHARE * last && (counted || self.grown >= 8);
        if value < 0.0 || falls && !reset {
            self.rows_min = self.rows_min.saturating_mul(4);
            (self.rows, self.grown, self.counts) = (0, 0, false);
            return (Judged::Value, counted);
        }
        self.rows = self.rows.saturating_add(1);
        self.grown = self.grown.saturating_add(u32::from(value > last));
        self.counts = counted || self.rows >= self.rows_min && self.grown >= self.rows / 2;
        let judged = match (self.counts, reset) {
            (false, _) => Judged::Value,
            (true, true) => Judged::Nothing,
            (true, false) => Judged::Increment((value - last) / rows, rows),
        };
        (judged, self.counts != counted)
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.last)?;
        fields.u32(&mut self.rows)?;
        fields.u32(&mut self.grown)?;
        fields.u32(&mut self.rows_min)?;
        fields.u32(&mut self.skipped)?;
        fields.bool(&mut self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_grows_is_judged_by_increments_and_through_resets() {
        let mut counter = Counter::new();
        let mut value = 5.0;
        let mut changes = 0;
        for _ in 0..100 {
            value += 3.0;
            changes += u32::from(counter.take(value, 0).1);
        }
        assert_eq!(changes, 1);
        assert_eq!(counter.take(value + 4.0, 0), (Judged::Increment(4.0, 1.0), false));
        counter.skip(0);
        assert_eq!(counter.take(value + 13.0, 1), (Judged::Increment(3.0, 3.0), false));
        assert_eq!(counter.take(2.0, 0), (Judged::Nothing, false));
        assert_eq!(counter.take(5.0, 0), (Judged::Increment(3.0, 1.0), false));
        assert_eq!(counter.take(4.0, 0), (Judged::Value, true));
        let more = (0..100).map(|row| counter.take(5.0 + f64::from(row), 0));
        assert!(more.into_iter().all(|taken| taken == (Judged::Value, false)));
    }

    #[test]
    fn noise_and_constants_are_no_counters() {
        let mut counter = Counter::new();
        for row in 0..1000 {
            assert_eq!(counter.take(f64::from(row % 3), 0), (Judged::Value, false));
        }
        let mut counter = Counter::new();
        (0..1000).for_each(|_| assert_eq!(counter.take(7.0, 0), (Judged::Value, false)));
    }
}
