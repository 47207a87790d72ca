//! Distance from an exponentially weighted mean, in standard deviations that are weighted likewise (Roberts, Control chart tests based on
//! geometric moving averages, Technometrics 1959). Deviations beyond four standard deviations teach as if they were there.

use super::each::{Each, Model, Seen, When};
use crate::bytes::StateError;
use crate::detect::fields::Fields;
use crate::detect::numbers::{gain, in_deviations, rounding};

/// A mean for each input.
pub(crate) type Ewma = Each<Mean>;

/// Rows that are remembered, and the least to judge.
const MEMORY: f64 = 200.0;
const ROWS_MIN: f64 = 16.0;
const CUT: f64 = 4.0;

/// An exponentially weighted mean and variance.
#[derive(Debug, Clone)]
pub(crate) struct Mean {
    rows: f64,
    mean: f64,
    variance: f64,
}

impl Model for Mean {
    fn begin() -> Self {
        Mean { rows: 0.0, mean: 0.0, variance: 0.0 }
    }

    fn judge(&mut self, value: f64, _: When) -> Seen {
        if self.rows < ROWS_MIN {
            return Seen::NOTHING;
        }
        let floor = rounding(value, self.mean);
        let z = in_deviations(value - self.mean, self.variance, floor);
        Seen { strangeness: z.abs(), expected: self.mean, scale: self.variance.sqrt().max(floor) }
    }

    fn learn(&mut self, value: f64, _: When, weight: f64) {
        let step = weight * gain(self.rows, MEMORY);
        let mut difference = value - self.mean;
        let limit = CUT * self.variance.sqrt();
        if self.rows >= ROWS_MIN && limit > 0.0 {
            difference = difference.clamp(-limit, limit);
        }
        self.mean += step * difference;
        self.variance = (1.0 - step) * (self.variance + step * difference * difference);
        self.rows = (self.rows + weight).min(1e9);
    }

    fn skip(&mut self, _: u32) {}

    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.rows)?;
        fields.f64(&mut self.mean)?;
        fields.f64(&mut self.variance)
    }
}
