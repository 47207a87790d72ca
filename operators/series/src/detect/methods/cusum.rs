//! Cumulated sums of deviations, upwards and downwards, that grow while the level is off by more than half a standard deviation (Page, Continuous
//! inspection schemes, Biometrika 1954).

use super::each::{Each, Model, Seen, When};
use super::ewma::Mean;
use crate::bytes::StateError;
use crate::detect::fields::Fields;

/// Sums for each input.
pub(crate) type Cusum = Each<Sums>;

/// Deviations that are forgiven, in standard deviations; and what one row adds at most, so that a spike is no shift.
const ALLOWANCE: f64 = 0.5;
const ROW_MAX: f64 = 3.0;

/// Where sums end, so that they come back after a long shift.
const SUM_MAX: f64 = 60.0;

/// The sums of one input, and the mean that it deviates from.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    mean: Mean,
    up: f64,
    down: f64,
}

impl Model for Sums {
    fn begin() -> Self {
        Sums { mean: Mean::begin(), up: 0.0, down: 0.0 }
    }

    fn judge(&mut self, value: f64, when: When) -> Seen {
        let seen = self.mean.judge(value, when);
        if seen.strangeness.is_nan() {
            return seen;
        }
        let z = seen.strangeness.min(ROW_MAX).copysign(value - seen.expected);
        self.up = (self.up + z - ALLOWANCE).clamp(0.0, SUM_MAX);
        self.down = (self.down - z - ALLOWANCE).clamp(0.0, SUM_MAX);
        Seen { strangeness: self.up.max(self.down), ..seen }
    }

    fn learn(&mut self, value: f64, when: When, weight: f64) {
        self.mean.learn(value, when, weight);
    }

    fn skip(&mut self, _: u32) {}

    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        self.mean.fields(fields)?;
        fields.f64(&mut self.up)?;
        fields.f64(&mut self.down)
    }
}
