//! A linear model of the next value from the latest ones, fitted exactly to all that was seen, with slow forgetting: recursive least squares
//! (Haykin, Adaptive filter theory, 1996, chapter 13).
//!
//! Short floats and a fixed size, which the compiler turns into vector instructions; values come normalised, so they need no more.

use super::fields::Fields;
use crate::bytes::StateError;

/// Latest values that the model sees.
pub(crate) const LAGS: usize = 11;
const SIZE: usize = LAGS + 1;

/// How much an error weighs less with each row that follows.
const FORGETTING: f32 = 0.9995;

/// The inverse covariance at the start, and at most: how little is known of a coefficient.
const IGNORANCE: f32 = 100.0;
const IGNORANCE_MAX: f32 = 10_000.0;

/// The model and the values that it sees.
#[derive(Debug, Clone)]
pub(crate) struct Rls {
    inverse: [[f32; SIZE]; SIZE],
    weights: [f32; SIZE],
    /// The latest values, newest first, then 1 for the intercept.
    inputs: [f32; SIZE],
}

impl Rls {
    /// A model that knows nothing and expects 0.
    pub fn new() -> Self {
        let mut inputs = [0.0; SIZE];
        inputs[LAGS] = 1.0;
        Rls { inverse: unknown(), weights: [0.0; SIZE], inputs }
    }

    /// The next value, by the model.
    pub fn expected(&self) -> f32 {
        let mut sums = [0.0f32; 4];
        for (weights, inputs) in self.weights.chunks_exact(4).zip(self.inputs.chunks_exact(4)) {
            for lane in 0..4 {
                sums[lane] += weights[lane] * inputs[lane];
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }

    /// Fits the model to a value that was off by `error` from what it expected.
    pub fn learn(&mut self, error: f32) {
        let mut seen = [0.0f32; SIZE];
        for (row, input) in self.inverse.iter().zip(self.inputs) {
            seen.iter_mut().zip(row).for_each(|(seen, entry)| *seen += entry * input);
        }
        let spread: f32 = seen.iter().zip(self.inputs).map(|(seen, input)| seen * input).sum();
        let divisor = FORGETTING + spread;
        // In exact arithmetic the spread is never negative. Where rounding broke that, the model starts anew from its weights.
        if !(divisor > 0.5 * FORGETTING && divisor < 1e12) {
            self.inverse = unknown();
            return;
        }
        let step = error / divisor;
        self.weights.iter_mut().zip(seen).for_each(|(weight, seen)| *weight += seen * step);
        let largest = (0..SIZE).map(|place| self.inverse[place][place]).fold(0.0, f32::max);
        let grown = if largest < IGNORANCE_MAX { 1.0 / FORGETTING } else { 1.0 };
        let root = (1.0 / divisor).sqrt();
        let scaled = seen.map(|value| value * root);
        for (row, left) in self.inverse.iter_mut().zip(scaled) {
            row.iter_mut().zip(scaled).for_each(|(entry, right)| *entry = (*entry - left * right) * grown);
        }
    }

    /// Goes on by a row with this value.
    pub fn push(&mut self, value: f32) {
        self.inputs.copy_within(0..LAGS - 1, 1);
        self.inputs[0] = value;
    }

    /// Takes all latest values for 0: nothing is known of them.
    pub fn forget_latest(&mut self) {
        self.inputs[..LAGS].fill(0.0);
    }

    /// Walks over its fields; of the inverse, which is symmetric, over one half.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        for row in 0..SIZE {
            fields.f32s(&mut self.inverse[row][..=row])?;
            for column in 0..row {
                self.inverse[column][row] = self.inverse[row][column];
            }
        }
        fields.f32s(&mut self.weights)?;
        fields.f32s(&mut self.inputs[..LAGS])
    }
}

fn unknown() -> [[f32; SIZE]; SIZE] {
    let mut inverse = [[0.0; SIZE]; SIZE];
    (0..SIZE).for_each(|place| inverse[place][place] = IGNORANCE);
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    fn run(rls: &mut Rls, rows: usize, mut next: impl FnMut(usize) -> f32) -> f32 {
        let mut squares = 0.0;
        for row in 0..rows {
            let value = next(row);
            let error = value - rls.expected();
            if row >= rows / 2 {
                squares += error * error;
            }
            rls.learn(error);
            rls.push(value);
        }
        squares / (rows - rows / 2) as f32
    }

    #[test]
    fn an_autoregressive_series_is_foretold_up_to_its_noise() {
        let mut random = Random::new(8);
        let (mut last, mut before) = (0.0, 0.0);
        let mut rls = Rls::new();
        let error = run(&mut rls, 4000, |_| {
            let value = 1.2 * last - 0.5 * before + 0.3 + 0.1 * random.normal() as f32;
            (before, last) = (last, value);
            value
        });
        assert!(error < 0.01 * 1.1, "{error}");
        assert!((rls.weights[0] - 1.2).abs() < 0.1 && (rls.weights[1] + 0.5).abs() < 0.15);
    }

    #[test]
    fn constants_and_lines_do_no_harm_in_a_long_time() {
        let mut rls = Rls::new();
        assert!(run(&mut rls, 200_000, |_| 1.0) < 1e-6);
        assert!(run(&mut rls, 50_000, |row| (row % 7) as f32) < 0.1);
        assert!(rls.weights.iter().all(|weight| weight.is_finite()));
    }

    #[test]
    fn the_inverse_stays_symmetric_to_the_bit() {
        let mut random = Random::new(5);
        let mut rls = Rls::new();
        run(&mut rls, 3000, |_| random.normal() as f32);
        for row in 0..SIZE {
            for column in 0..row {
                assert_eq!(rls.inverse[row][column].to_bits(), rls.inverse[column][row].to_bits());
            }
        }
    }
}
