//! What an autoregressive model of the latest values, fitted by recursive least squares, does not foretell.

use super::each::{Each, Model, Seen, When};
use super::ewma::Mean;
use crate::bytes::StateError;
use crate::detect::fields::Fields;
use crate::detect::numbers::{gain, in_deviations, rounding};
use crate::detect::rls::{LAGS, Rls};

/// A model for each input.
pub(crate) type Ar = Each<Residual>;

/// Rows that the size of residuals is remembered over, and where larger ones are cut.
const MEMORY: f64 = 400.0;
const CUT: f64 = 4.0;

/// The model of one input, over values in standard deviations from their mean.
#[derive(Debug, Clone)]
pub(crate) struct Residual {
    rows: f64,
    mean: Mean,
    model: Rls,
    variance: f64,
    error: f64,
}

impl Model for Residual {
    fn begin() -> Self {
        Residual { rows: 0.0, mean: Mean::begin(), model: Rls::new(), variance: 0.0, error: 0.0 }
    }

    fn judge(&mut self, value: f64, when: When) -> Seen {
        let seen = self.mean.judge(value, when);
        if seen.strangeness.is_nan() {
            return seen;
        }
        let expected = seen.expected + seen.scale * f64::from(self.model.expected()).clamp(-10.0, 10.0);
        let floor = rounding(value, seen.expected);
        self.error = in_deviations(value - expected, seen.scale * seen.scale, floor);
        if self.rows < 2.0 * LAGS as f64 {
            return Seen::NOTHING;
        }
        let scale = (seen.scale * self.variance.sqrt()).max(floor);
        let z = in_deviations(value - expected, scale * scale, floor);
        Seen { strangeness: z.abs(), expected, scale }
    }

    fn learn(&mut self, value: f64, when: When, weight: f64) {
        let size = self.variance.sqrt();
        let limit = if self.rows > 3.0 * LAGS as f64 { CUT * size } else { 20.0 };
        let error = self.error.clamp(-limit, limit).clamp(-20.0, 20.0);
        let seen = if weight > 0.0 { self.error } else { error };
        let next = f64::from(self.model.expected()).clamp(-10.0, 10.0) + seen;
        if weight > 0.0 {
            self.variance += weight * gain(self.rows, MEMORY) * (error * error - self.variance);
            self.model.learn((error * weight) as f32);
            self.rows = (self.rows + 1.0).min(1e9);
        }
        self.model.push(next.clamp(-10.0, 10.0) as f32);
        self.mean.learn(value, when, weight);
    }

    fn skip(&mut self, missed: u32) {
        if missed as usize > LAGS / 2 {
            self.model.forget_latest();
            return;
        }
        for _ in 0..missed {
            let expected = self.model.expected().clamp(-10.0, 10.0);
            self.model.push(expected);
        }
    }

    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.rows)?;
        self.mean.fields(fields)?;
        self.model.fields(fields)?;
        fields.f64(&mut self.variance)?;
        fields.f64(&mut self.error)
    }
}
