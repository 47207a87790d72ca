//! Inputs that go together: how far a row's residuals lie from what they usually are jointly, even where each is normal by itself.
//!
//! The squared Mahalanobis distance of standardised residuals (Mahalanobis, On the generalised distance in statistics, 1936), with the
//! correlation matrix drawn a little towards the identity (Ledoit, Wolf, 2004), so that it can be inverted.

use super::fields::Fields;
use super::numbers::{gain, quarter_octaves};
use super::tail::Tail;
use crate::bytes::StateError;

/// How much of the identity is mixed in.
const SHRINKAGE: f64 = 0.1;
/// Residuals beyond count as this.
const Z_MAX: f64 = 8.0;
/// Rows that correlations are remembered over, and the least to know any.
const MEMORY: f64 = 2000.0;
const ROWS_MIN: f64 = 64.0;
/// The scale of distances for the tail begins here: 2^-2.
const LOWEST: i64 = -2;

/// What is known of how the inputs of a key go together.
#[derive(Debug, Clone)]
pub(crate) struct Joint {
    rows: f64,
    /// The lower triangle of the second moments, by rows.
    moments: Vec<f32>,
    tail: Tail<40>,
    /// Where on its scale the event that is on is to teach it, once it is over; below 0: nowhere.
    lesson: f64,
}

/// Room to judge in, and what came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Distance {
    /// −ln p of the distance.
    pub rarity: f64,
    /// How much each input adds to it, 0 and up.
    pub parts: Vec<f64>,
    residuals: Vec<f64>,
    factor: Vec<f64>,
    place: f64,
}

impl Joint {
    /// Of nothing, for so many inputs.
    pub fn new(inputs: usize) -> Self {
        Joint { rows: 0.0, moments: vec![0.0; inputs * (inputs + 1) / 2], tail: Tail::new(), lesson: -1.0 }
    }

    /// Judges a row's standardised residuals; 0 for one that is missing.
    pub fn judge(&mut self, residuals: impl Iterator<Item = f64>, distance: &mut Distance) {
        let Distance { rarity, parts, residuals: z, factor, place } = distance;
        z.clear();
        z.extend(residuals.map(|z| z.clamp(-Z_MAX, Z_MAX)));
        let inputs = z.len();
        parts.clear();
        parts.resize(inputs, 0.0);
        (*rarity, *place) = (0.0, -1.0);
        if self.rows < ROWS_MIN {
            return;
        }
        factor.clear();
        factor.extend(self.moments.iter().map(|moment| f64::from(*moment) * (1.0 - SHRINKAGE)));
        (0..inputs).for_each(|row| factor[at(row, row)] += SHRINKAGE);
        if !cholesky(factor, inputs) {
            return;
        }
        parts.copy_from_slice(z);
        solve(factor, parts);
        let mut square = 0.0;
        for (part, z) in parts.iter_mut().zip(z.iter()) {
            *part *= z;
            square += *part;
            *part = part.max(0.0);
        }
        *place = quarter_octaves((square / inputs as f64).max(0.0), LOWEST);
        *rarity = if self.rows >= 2.0 * ROWS_MIN { self.tail.rarity_continued(*place) } else { 0.0 };
    }

    /// Learns from the row that was just judged.
    pub fn learn(&mut self, distance: &Distance, weight: f64, teaches: bool) {
        let z = &distance.residuals;
        let step = weight * gain(self.rows, MEMORY);
        for row in 0..z.len() {
            for column in 0..=row {
                let moment = &mut self.moments[at(row, column)];
                let cut = |z: f64| z.clamp(-4.0, 4.0);
                *moment += (step * (cut(z[row]) * cut(z[column]) - f64::from(*moment))) as f32;
            }
        }
        if weight > 0.0 && self.lesson >= 0.0 {
            self.tail.add(std::mem::replace(&mut self.lesson, -1.0));
        }
        if teaches && self.rows >= ROWS_MIN {
            if weight > 0.0 {
                self.tail.add(distance.place);
            } else {
                self.lesson = distance.place.max(0.0);
            }
        }
        self.rows = (self.rows + weight).min(1e9);
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.rows)?;
        fields.f32s(&mut self.moments)?;
        self.tail.fields(fields)?;
        fields.f64(&mut self.lesson)
    }
}

/// Where row and column (not beyond the row) of a lower triangle lie.
fn at(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// Makes of a symmetric matrix, given by its lower triangle, its Cholesky factor; false where it is not positive definite.
fn cholesky(matrix: &mut [f64], size: usize) -> bool {
    for row in 0..size {
        for column in 0..=row {
            let mut sum = matrix[at(row, column)];
            for k in 0..column {
                sum -= matrix[at(row, k)] * matrix[at(column, k)];
            }
            if row != column {
                matrix[at(row, column)] = sum / matrix[at(column, column)];
            } else if sum > 1e-9 {
                matrix[at(row, row)] = sum.sqrt();
            } else {
                return false;
            }
        }
    }
    true
}

/// Solves for the vector, in place, with a Cholesky factor.
fn solve(factor: &[f64], vector: &mut [f64]) {
    let size = vector.len();
    for row in 0..size {
        let sum: f64 = (0..row).map(|k| factor[at(row, k)] * vector[k]).sum();
        vector[row] = (vector[row] - sum) / factor[at(row, row)];
    }
    for row in (0..size).rev() {
        let sum: f64 = (row + 1..size).map(|k| factor[at(k, row)] * vector[k]).sum();
        vector[row] = (vector[row] - sum) / factor[at(row, row)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn what_does_not_go_together_is_rare_though_each_is_normal() {
        let mut random = Random::new(6);
        let mut joint = Joint::new(2);
        let mut distance = Distance::default();
        for _ in 0..3000 {
            let common = random.normal();
            let row = [common + 0.2 * random.normal(), common + 0.2 * random.normal()];
            joint.judge(row.into_iter(), &mut distance);
            joint.learn(&distance, 1.0, true);
        }
        joint.judge([1.5, 1.5].into_iter(), &mut distance);
        assert!(distance.rarity < 3.0, "{}", distance.rarity);
        joint.judge([1.5, -1.5].into_iter(), &mut distance);
        assert!(distance.rarity > 6.0, "{}", distance.rarity);
        assert!((distance.parts[0] - distance.parts[1]).abs() < 0.2 * distance.parts[0]);
    }
}
