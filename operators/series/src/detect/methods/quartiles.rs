//! Distances from the middle of the latest values: from the median in median absolute deviations (Hampel, The influence curve and its role in
//! robust estimation, 1974), or from the middle half in its widths (Tukey, Exploratory data analysis, 1977).

use super::each::{Each, Model, Seen, When};
use crate::bytes::StateError;
use crate::detect::fields::Fields;
use crate::detect::numbers::{in_deviations, rounding};

/// Distance from the median, for each input.
pub(crate) type Mad = Each<Window<false>>;

/// Distance from the middle half, for each input.
pub(crate) type Iqr = Each<Window<true>>;

/// Values in the window, and the least to judge.
const VALUES: usize = 128;
const VALUES_MIN: usize = 16;

/// Standard deviations of a normal distribution per median absolute deviation, and per width of the middle half.
const DEVIATIONS_PER_MAD: f64 = 1.4826;
const DEVIATIONS_PER_WIDTH: f64 = 0.7413;

/// The latest values, in the order in which they came and sorted.
#[derive(Debug, Clone)]
pub(crate) struct Window<const HALF: bool> {
    /// The oldest is replaced next.
    next: u32,
    values: Vec<f64>,
    sorted: Vec<f64>,
}

impl<const HALF: bool> Window<HALF> {
    /// The median of absolute deviations from `middle`: as many values as half of all lie within it.
    fn median_deviation(&self, middle: f64) -> f64 {
        let (mut low, mut high) = (0, self.sorted.len() - 1);
        // The half of the values nearest to the middle: the others are taken off at the ends.
        for _ in 0..self.sorted.len() / 2 {
            if middle - self.sorted[low] >= self.sorted[high] - middle {
                low += 1;
            } else {
                high -= 1;
            }
        }
        (middle - self.sorted[low]).abs().max((self.sorted[high] - middle).abs())
    }
}

impl<const HALF: bool> Model for Window<HALF> {
    fn begin() -> Self {
        Window { next: 0, values: Vec::new(), sorted: Vec::new() }
    }

    fn judge(&mut self, value: f64, _: When) -> Seen {
        if self.sorted.len() < VALUES_MIN {
            return Seen::NOTHING;
        }
        let last = self.sorted.len() - 1;
        let middle = 0.5 * (self.sorted[last / 2] + self.sorted[last - last / 2]);
        let floor = rounding(value, middle);
        let (distance, scale) = if HALF {
            let (low, high) = (self.sorted[last / 4], self.sorted[last - last / 4]);
            let outside = (low - value).max(value - high).max(0.0);
            (outside, DEVIATIONS_PER_WIDTH * (high - low))
        } else {
            ((value - middle).abs(), DEVIATIONS_PER_MAD * self.median_deviation(middle))
        };
        let strangeness = in_deviations(distance, scale * scale, floor);
        Seen { strangeness, expected: middle, scale: scale.max(floor) }
    }

    fn learn(&mut self, value: f64, _: When, weight: f64) {
        if weight <= 0.0 {
            return;
        }
        let place = |sorted: &[f64], value: f64| sorted.partition_point(|other| *other < value);
        if self.values.len() < VALUES {
            self.values.push(value);
        } else {
            let oldest = std::mem::replace(&mut self.values[self.next as usize], value);
            self.next = (self.next + 1) % VALUES as u32;
            self.sorted.remove(place(&self.sorted, oldest));
        }
        self.sorted.insert(place(&self.sorted, value), value);
    }

    fn skip(&mut self, _: u32) {}

    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.u32(&mut self.next)?;
        let mut count = self.values.len() as u32;
        fields.u32(&mut count)?;
        if count as usize > VALUES || self.next as usize >= VALUES {
            let what = format!("{count} values in a window, next {}, where {VALUES} fit", self.next);
            return Err(StateError::Damaged { what });
        }
        self.values.resize(count as usize, 0.0);
        fields.f64s(&mut self.values)?;
        if self.values.iter().any(|value| value.is_nan()) {
            return Err(StateError::Damaged { what: "a window with a value that is no number".into() });
        }
        self.sorted.clone_from(&self.values);
        // By numbers alone, as they were inserted: 0 and −0 in the order in which they came.
        self.sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        Ok(())
    }
}
