//! Whether a curve has stopped to improve: how long ago its last improvement was, and how likely so long a pause would be by chance.
//!
//! Two tests, and the smaller of their p-values, doubled (Bonferroni):
//!
//! - *Records*: of rows that get no worse on average, the best is as likely to be any of them or more likely to be a late one. So the
//!   chance that it is among the first `k` of `n` is at most `k / n` (Rényi, 1962). It needs no fit, and a long curve to say something.
//! - *Continuation*: if the curve went on as fitted at its last improvement, with the noise of that fit, each row since would be no better
//!   than the best with probability Φ((foretold − best) / noise); the pause has the product of these.

use super::fit::{Clock, Path, SHAPES};
use super::spread::normal_at_most;
use crate::bytes::{Reader, StateError, Writer};

/// A better value is an improvement if it is better by this share of the curve's range.
const IMPROVEMENT: f64 = 1e-3;

/// The last improvement of a curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Improvement {
    value: f64,
    /// Where it was.
    pub step: f64,
    row: u64,
    /// How the curve went on from there by the fit of then, or by the first one after it; `None` before there is one.
    before: Option<(Clock, Path)>,
    /// Logarithm of the probability of the pause since then, by that fit.
    log_p: f64,
}

impl Improvement {
    pub fn new(value: f64, step: f64) -> Self {
        Improvement { value, step, row: 1, before: None, log_p: 0.0 }
    }

    /// Takes in a row; `range` is that of all values up to it, and `fit` the one that it is in.
    pub fn take(
        &mut self,
        row: u64,
        step: f64,
        value: f64,
        range: f64,
        falling: bool,
        fit: Option<(Clock, Path)>,
    ) {
        let better = if falling { self.value - value } else { value - self.value };
        if better > IMPROVEMENT * range {
            *self = Improvement { value, step, row, before: fit, log_p: 0.0 };
            return;
        }
        let Some((clock, path)) = &self.before else {
            // The improvement was before the first fit, which then has to do.
            self.before = fit;
            return;
        };
        let foretold = path.level + path.change(clock.share(step));
        let worse = if falling { foretold - self.value } else { self.value - foretold };
        // A curve without noise that stays where it is, 0 / 0, may as well be better as worse in its next row.
        let z = if worse == 0.0 { 0.0 } else { worse / path.noise };
        let p = if z.is_nan() { 1.0 } else { normal_at_most(z) };
        self.log_p = (self.log_p + libm::log(p.max(f64::MIN_POSITIVE))).max(-1e6);
    }

    /// How likely so long a pause would be, of a curve of so many rows that still improves.
    pub fn p_value(&self, rows: u64) -> f64 {
        let records = self.row as f64 / rows.max(1) as f64;
        let continuation = if self.before.is_some() { libm::exp(self.log_p) } else { 1.0 };
        (2.0 * records.min(continuation)).min(1.0)
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.f64(self.value);
        writer.f64(self.step);
        writer.u64(self.row);
        writer.f64(self.log_p);
        writer.u8(u8::from(self.before.is_some()));
        if let Some((clock, path)) = &self.before {
            [clock.first, clock.pace, clock.rows, path.level, path.noise].iter().for_each(|x| writer.f64(*x));
            path.coefficients.iter().for_each(|x| writer.f64(*x));
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let (value, step, row, log_p) = (reader.f64()?, reader.f64()?, reader.u64()?, reader.f64()?);
        let before = match reader.u8()? {
            0 => None,
            1 => {
                let clock = Clock { first: reader.f64()?, pace: reader.f64()?, rows: reader.f64()? };
                let (level, noise) = (reader.f64()?, reader.f64()?);
                let mut coefficients = [0.0; SHAPES];
                for coefficient in &mut coefficients {
                    *coefficient = reader.f64()?;
                }
                Some((clock, Path::from_parts(level, coefficients, noise)))
            }
            other => {
                let what = format!("{other} says whether there is a fit, and 0 or 1 would");
                return Err(StateError::Damaged { what });
            }
        };
        Ok(Improvement { value, step, row, before, log_p })
    }
}
