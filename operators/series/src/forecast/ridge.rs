//! Ridge regression, exact, from sums that are kept row by row.
//!
//! The sums are those of weighted least squares with forgetting: A = Σ wᵢ λ^(n−i) xᵢxᵢᵀ and b = Σ wᵢ λ^(n−i) xᵢyᵢ. The coefficients are
//! β = β₀ + (A + D)⁻¹(b − Aβ₀), where the diagonal D penalises the distance of each from β₀ as if [`PRIOR`] more rows had been seen in which
//! its feature had its usual size and β₀ was right (Hoerl & Kennard 1970, on standardised features; here without standardising, so that nothing
//! has to be known beforehand). β₀ is the best of a few plain forecasts: the latest value, means, the season. Their squared errors over the
//! past follow from the same sums, without another pass: Σ wᵢ λ^(n−i) (yᵢ − β₀ᵀxᵢ)² = Σ wᵢ λ^(n−i) yᵢ² − 2β₀ᵀb + β₀ᵀAβ₀.

use crate::bytes::{Reader, StateError, Writer};

use super::lags::{FEATURES, Features, MEANS_AT, SEASON_AT};
use super::{VALUE_MAX, damaged};

/// Entries of a symmetric matrix.
const ENTRIES: usize = FEATURES * (FEATURES + 1) / 2;

/// Independent rows without effect that a coefficient is penalised by.
const PRIOR: f64 = 4.0;

/// No value lies farther from another.
const AHEAD_MAX: f64 = 2.0 * VALUE_MAX;

/// By how much squared errors of one of two plain forecasts are lower by chance, times independent rows.
const PLAIN_MARGIN: f64 = 2.0;

/// Rows after which the coefficients are found anew, once there are many.
const SOLVE_EVERY: u32 = 4;

/// Up to so many rows the coefficients are found anew after each.
const SOLVE_EACH: u32 = 64;

/// Plain forecasts, by the features that they add to the latest value.
const PLAIN: [&[usize]; 9] = [
    &[],
    &[MEANS_AT],
    &[MEANS_AT + 1],
    &[MEANS_AT + 2],
    &[MEANS_AT + 3],
    &[SEASON_AT],
    &[SEASON_AT, SEASON_AT + 1],
    &[SEASON_AT, SEASON_AT + 1, SEASON_AT + 2],
    &[SEASON_AT, SEASON_AT + 1, SEASON_AT + 3],
];

/// Sums of a regression, and its coefficients.
#[derive(Debug, Clone)]
pub(super) struct Ridge {
    /// A, row by row up to the diagonal.
    squares: [f64; ENTRIES],
    /// b.
    products: [f64; FEATURES],
    /// Σ wᵢ λ^(n−i) yᵢ².
    outcomes: f64,
    /// Σ wᵢ λ^(n−i).
    weight: f64,
    rows: u32,
    coefficients: Features,
    /// Which plain forecast was best.
    plain: u8,
}

/// What is expected, by the regression and by the plain forecast that it starts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub ridge: f64,
    pub plain: f64,
}

impl Ridge {
    pub fn new() -> Self {
        Ridge {
            squares: [0.0; ENTRIES],
            products: [0.0; FEATURES],
            outcomes: 0.0,
            weight: 0.0,
            rows: 0,
            coefficients: [0.0; FEATURES],
            plain: 0,
        }
    }

    /// What is expected with these features.
    pub fn predict(&self, x: &Features) -> Expected {
        // Values that leap by powers of ten can make coefficients that lead beyond all numbers.
        let sound = |ahead: f64| if ahead.is_finite() { ahead.clamp(-AHEAD_MAX, AHEAD_MAX) } else { 0.0 };
        Expected {
            ridge: sound(self.coefficients.iter().zip(x).map(|(c, x)| c * x).sum()),
            plain: sound(PLAIN[usize::from(self.plain)].iter().map(|feature| x[*feature]).sum()),
        }
    }

    /// How far it goes by the season's shape, 0 to 1.
    pub fn by_season(&self) -> f64 {
        self.coefficients[SEASON_AT].clamp(0.0, 1.0)
    }

    /// An entry of A.
    fn square(&self, i: usize, j: usize) -> f64 {
        let (low, high) = if i < j { (i, j) } else { (j, i) };
        self.squares[high * (high + 1) / 2 + low]
    }

    /// The plain forecast with the least squared error; another than the latest value must be better by what chance can make of so few
    /// independent rows.
    fn best_plain(&self, overlap: f64) -> usize {
        let loss = |features: &[usize]| -> f64 {
            let squares = features.iter().flat_map(|i| features.iter().map(|j| self.square(*i, *j)));
            let products = features.iter().map(|i| self.products[*i]).sum::<f64>();
            self.outcomes + squares.sum::<f64>() - 2.0 * products
        };
        let chance = 1.0 + PLAIN_MARGIN * overlap / self.weight;
        let mut best = (0, self.outcomes);
        for (plain, features) in PLAIN.iter().enumerate().skip(1) {
            let loss = loss(features) * chance;
            if loss < best.1 {
                best = (plain, loss);
            }
        }
        best.0
    }

    /// How much of its weight a row with these features deserves: less if one is far beyond its usual size, as leverage of a single row
    /// outweighs many (Mallows 1975).
    pub fn trust(&self, x: &Features) -> f64 {
        const USUAL: f64 = 8.0;
        if self.rows < 32 {
            return 1.0;
        }
        let mut beyond = 1.0_f64;
        let mut diagonal = 0;
        for (i, x) in x.iter().enumerate() {
            let usual = USUAL * USUAL * self.squares[diagonal];
            let square = x * x * self.weight;
            if square > beyond * usual && usual > 0.0 {
                beyond = square / usual;
            }
            diagonal += i + 2;
        }
        1.0 / beyond
    }

    /// Learns a row; `keep`: λ; `overlap`: how many rows make an independent one.
    pub fn learn(&mut self, x: &Features, y: f64, weight: f64, keep: f64, overlap: f64) {
        let mut at = 0;
        for i in 0..FEATURES {
            let weighted = weight * x[i];
            for (square, x) in self.squares[at..=at + i].iter_mut().zip(x) {
                *square = *square * keep + weighted * x;
            }
            at += i + 1;
            self.products[i] = self.products[i] * keep + weighted * y;
        }
        self.outcomes = self.outcomes * keep + weight * y * y;
        self.weight = self.weight * keep + weight;
        self.rows = self.rows.saturating_add(1);
        if self.rows <= SOLVE_EACH || self.rows.is_multiple_of(SOLVE_EVERY) {
            self.solve(overlap);
        }
    }

    /// The coefficients by the LDLᵀ decomposition (Golub & Van Loan, section 4.1). Features that were always 0 get 0.
    fn solve(&mut self, overlap: f64) {
        let prior = PRIOR * overlap / self.weight;
        if !prior.is_finite() {
            return;
        }
        let plain = self.best_plain(overlap);
        let mut lower = [[0.0; FEATURES]; FEATURES];
        let mut diagonal = [0.0; FEATURES];
        let mut z = [0.0; FEATURES];
        let mut at = 0;
        for i in 0..FEATURES {
            let row = &self.squares[at..=at + i];
            at += i + 1;
            // `scaled[j]` is L[i][j] · D[j].
            let mut scaled = [0.0; FEATURES];
            for j in 0..i {
                let known: f64 = (0..j).map(|k| scaled[k] * lower[j][k]).sum();
                scaled[j] = row[j] - known;
            }
            let mut rest = row[i] * (1.0 + prior);
            let explained: f64 = PLAIN[plain].iter().map(|j| self.square(i, *j)).sum();
            let mut right = self.products[i] - explained;
            for j in 0..i {
                let factor = scaled[j] * diagonal[j];
                lower[i][j] = factor;
                rest -= factor * scaled[j];
                right -= factor * z[j];
            }
            z[i] = right;
            diagonal[i] = if rest > 0.0 { 1.0 / rest } else { 0.0 };
        }
        let mut solution = [0.0; FEATURES];
        for i in (0..FEATURES).rev() {
            let known: f64 = (i + 1..FEATURES).map(|k| lower[k][i] * solution[k]).sum();
            solution[i] = z[i] * diagonal[i] - known;
        }
        PLAIN[plain].iter().for_each(|feature| solution[*feature] += 1.0);
        if solution.iter().all(|c| c.is_finite()) {
            self.coefficients = solution;
            self.plain = plain as u8;
        }
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        for value in self.squares.iter().chain(&self.products).chain(&self.coefficients) {
            writer.f64(*value);
        }
        writer.f64(self.outcomes);
        writer.f64(self.weight);
        writer.u32(self.rows);
        writer.u8(self.plain);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut ridge = Ridge::new();
        let Ridge { squares, products, coefficients, .. } = &mut ridge;
        for value in squares.iter_mut().chain(products).chain(coefficients) {
            *value = reader.f64()?;
        }
        (ridge.outcomes, ridge.weight) = (reader.f64()?, reader.f64()?);
        (ridge.rows, ridge.plain) = (reader.u32()?, reader.u8()?);
        if usize::from(ridge.plain) >= PLAIN.len() {
            return Err(damaged("a plain forecast that there is not"));
        }
        Ok(ridge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn the_coefficients_solve_the_equations_of_all_rows_at_once() {
        let mut random = Random::new(2);
        let (keep, overlap) = (0.995, 3.0);
        let mut ridge = Ridge::new();
        let mut rows: Vec<(Features, f64, f64)> = Vec::new();
        for row in 0..160 {
            let mut x: Features = std::array::from_fn(|_| random.normal());
            x[0] = 1.0;
            x[5] = x[4] + 1e-3 * random.normal();
            let y = 3.0 * x[2] - x[7] + 0.2 * random.normal();
            let weight = if row % 9 == 0 { 0.3 } else { 1.0 };
            ridge.learn(&x, y, weight, keep, overlap);
            rows.push((x, y, weight));
        }
        // (A + D) β = b + D β₀, from the rows themselves.
        let mut start = [0.0; FEATURES];
        PLAIN[usize::from(ridge.plain)].iter().for_each(|feature| start[*feature] = 1.0);
        let sum = |of: &dyn Fn(&Features, f64) -> f64| {
            let mut sum = 0.0;
            for (x, y, weight) in &rows {
                sum = sum * keep + weight * of(x, *y);
            }
            sum
        };
        let weight = sum(&|_, _| 1.0);
        for i in 0..FEATURES {
            let penalty = PRIOR * overlap / weight * sum(&|x, _| x[i] * x[i]);
            let fitted: f64 = (0..FEATURES).map(|j| ridge.coefficients[j] * sum(&|x, _| x[i] * x[j])).sum();
            let left = sum(&|x, y| x[i] * y) - fitted - penalty * (ridge.coefficients[i] - start[i]);
            assert!(left.abs() < 1e-7 * weight, "equation {i} is off by {left}");
        }
    }

    #[test]
    fn it_starts_from_the_plain_forecast_that_errs_least() {
        let mut random = Random::new(3);
        let mut ridge = Ridge::new();
        for _ in 0..40 {
            let mut x: Features = std::array::from_fn(|_| random.normal());
            x[0] = 1.0;
            let y = x[SEASON_AT] + x[SEASON_AT + 1] + 0.1 * random.normal();
            ridge.learn(&x, y, 1.0, 1.0, 1.0);
        }
        assert_eq!(PLAIN[usize::from(ridge.plain)], [SEASON_AT, SEASON_AT + 1]);
        let expected = ridge.predict(&[1.0; FEATURES]);
        assert!((expected.plain - 2.0).abs() < 1e-12 && (expected.ridge - 2.0).abs() < 0.2);
    }
}
