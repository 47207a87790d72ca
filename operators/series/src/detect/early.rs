//! How rare a value is while the past is short: a few dozen rows can't show what happens once in a thousand, so the tail beyond the largest
//! deviation seen is taken to go on as a power of it (Hill, A simple general approach to inference about the tail of a distribution, 1975).
//!
//! The power is a guess on the safe side, since Hill's estimate needs more of the past than there is: the farther the largest deviation lies
//! beyond where that of as many normal values would, √(2 ln n) standard deviations, the heavier the tail seems, and the less an even larger
//! one means.
//!
//! That holds of rows that scatter around a level, in any order. Where each row lies near the one before it, a short past shows but a piece of
//! what is ordinary, and a deviation from its level is no sign of anything: that is told by the ratio of the mean squared successive difference to
//! the variance, 2 where rows are independent and less the more they follow each other (von Neumann, Distribution of the ratio of the mean
//! square successive difference to the variance, 1941).

use super::numbers::{RARITY_MAX, ln};
use super::siblings::Width;

/// Rows before anything is judged.
pub(crate) const ROWS_MIN: f64 = 18.0;

/// The same where siblings tell how far values scatter; and how many rows of its own what they tell weighs as much as.
pub(crate) const ROWS_MIN_AMONG_SIBLINGS: f64 = 4.0;
const SIBLINGS_WEIGH: f64 = 16.0;

/// Rows after which a past is short no more.
pub(crate) const ROWS_MAX: f64 = 400.0;

/// The power of the tail where the largest deviation is that of normal values; it falls with its square, within bounds.
const POWER: f64 = 4.5;
const POWER_MIN: f64 = 1.0;
const POWER_MAX: f64 = 5.0;

/// Rows that follow each other more than this, by von Neumann's ratio, are not judged by a short past.
const RATIO_MIN: f64 = 1.0;

/// What is known of a short past.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Early {
    /// Rows seen.
    pub rows: f64,
    /// The largest deviation from the level among them.
    pub largest: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// The mean squared difference of a row from the one before it.
    pub step_square: f64,
}

impl Early {
    /// −ln p of so large a deviation. Where nothing ever deviated, that something does is as rare as the past is long.
    pub fn rarity(&self, deviation: f64) -> f64 {
        if deviation <= 0.0 || !self.scatters() {
            return 0.0;
        }
        let never = ln(self.rows + 1.0);
        if self.largest <= 0.0 {
            return never;
        }
        let times = deviation / self.largest;
        let rarity =
            if times <= 1.0 { never * times * times } else { never + self.power() * ln(times.min(1e100)) };
        rarity.min(RARITY_MAX)
    }

    /// The deviation beyond which rows are as rare as e^−`rarity`.
    pub fn width(&self, rarity: f64) -> f64 {
        let never = ln(self.rows + 1.0);
        if rarity <= never {
            self.largest * (rarity.max(0.0) / never).sqrt()
        } else {
            self.largest * libm::exp((rarity - never) / self.power())
        }
    }

    /// The same beside what siblings tell.
    #[must_use]
    pub fn among_siblings(self, width: Width) -> Self {
        let rows = width.rows;
        // Where the largest of so many normal values lies.
        let square = width.largest * width.largest / (2.0 * ln(rows.max(2.0)));
        let both = |own: f64, theirs: f64| {
            (self.rows * own + SIBLINGS_WEIGH * theirs) / (self.rows + SIBLINGS_WEIGH)
        };
        Early {
            rows: self.rows + rows,
            largest: self.largest.max(width.largest),
            deviation: both(self.deviation * self.deviation, square).sqrt(),
            step_square: both(self.step_square, 2.0 * square),
        }
    }

    fn scatters(&self) -> bool {
        self.step_square >= RATIO_MIN * self.deviation * self.deviation
    }

    fn power(&self) -> f64 {
        let share = self.deviation / self.largest;
        (POWER * 2.0 * ln(self.rows.max(2.0)) * share * share).clamp(POWER_MIN, POWER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_where_rarities_say() {
        let early = Early { rows: 25.0, largest: 2.0, deviation: 0.9, step_square: 1.5 };
        for rarity in [0.5, 3.0, 7.0, 9.0] {
            assert!((early.rarity(early.width(rarity)) - rarity).abs() < 1e-6, "{rarity}");
        }
    }

    #[test]
    fn siblings_make_a_shorter_past_tell_as_much() {
        let own = Early { rows: 4.0, largest: 0.8, deviation: 0.6, step_square: 0.7 };
        let among = own.among_siblings(Width { largest: 2.4, rows: 60.0 });
        assert!(among.rarity(8.0) > 9.1 && own.rarity(8.0) > among.rarity(8.0) - 3.0);
        assert!(among.rarity(4.0) < 7.2);
        let noisier = Early { largest: 12.0, deviation: 9.0, step_square: 160.0, ..own };
        assert!(noisier.among_siblings(Width { largest: 2.4, rows: 60.0 }).rarity(14.0) < 6.0);
        let climbs = Early { rows: 8.0, largest: 12.0, deviation: 9.0, step_square: 10.0 };
        assert_eq!(climbs.among_siblings(Width { largest: 2.4, rows: 60.0 }).rarity(100.0), 0.0);
    }

    #[test]
    fn a_short_past_is_trusted_little_and_one_with_a_heavy_tail_less() {
        let light = Early { rows: 25.0, largest: 2.2, deviation: 1.0, step_square: 2.0 };
        let heavy = Early { deviation: 0.45, ..light };
        assert!(light.rarity(4.0) < 6.5 && light.rarity(10.0) > 9.1);
        assert!(heavy.rarity(10.0) < 7.5);
        assert!(Early { rows: 25.0, ..Early::default() }.rarity(1e6) < 3.3);
        assert!(Early { largest: 5e-324, ..light }.rarity(1e150) <= RARITY_MAX);
    }
}
