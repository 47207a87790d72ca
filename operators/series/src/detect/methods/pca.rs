//! Windows that a few directions explain are ordinary: the principal subspace, learnt window by window.
//!
//! Directions are learnt by candid covariance-free incremental PCA (Weng, Zhang & Hwang 2003, "Candid covariance-free incremental principal
//! component analysis"), whose vectors' norms are the variances they explain. Strangeness is what they leave of the window
//! (the Q statistic of Jackson & Mudholkar 1979, "Control procedures for residuals associated with principal component analysis").
//! Several inputs are one long window, so that what one of them does is explained by the others too.

use super::windows::{Level, Shape, Usual, VALUES_MAX, Windows, damaged, floats};
use super::{Raw, Row, Scorer, Settings};
use crate::bytes::{Reader, StateError, Writer};

/// Values of all directions together, about: 4 KiB.
const BUDGET: usize = 1024;

/// Directions at most.
const DIRECTIONS_MAX: usize = 8;

/// Windows that are remembered.
const MEMORY: f64 = 2000.0;

/// How much more recent windows count than old ones, the amnesic parameter of Weng, Zhang & Hwang.
const AMNESIA: f64 = 2.0;

/// The least share of a latest value that is taken to be its own: where directions explain it wholly, others can't foretell it.
const OWN_MIN: f64 = 0.05;

/// Windows before the first score, for each direction.
const WARMING: f64 = 8.0;

/// What all keys share.
#[derive(Debug)]
pub(crate) struct Shared {
    shape: Shape,
    directions: usize,
}

/// The principal subspace of a key's windows: about 1.5 KiB for one input, at most 6.5 KiB.
#[derive(Debug, Clone)]
pub(crate) struct Pca {
    windows: Windows,
    /// Windows learnt, by their weights.
    seen: f64,
    mean: Vec<f32>,
    /// One direction after the other, the one that explains most first; of zeros: not begun.
    directions: Vec<f32>,
    /// How far each input was from what its own past and the other inputs let one expect.
    errors: Vec<Level>,
    usual: Usual,
}

type Window = [f64; VALUES_MAX];

impl Pca {
    /// What the directions leave of the window that ends with a row.
    fn residual(&self, shared: &Shared, row: Row<'_>) -> Residual {
        let (inputs, rows) = (shared.shape.inputs, shared.shape.rows);
        let mut values = [0.0; VALUES_MAX];
        self.windows.standard_with(row, &mut values);
        let latest: [f64; 32] =
            std::array::from_fn(|input| if input < inputs { values[(input + 1) * rows - 1] } else { 0.0 });
        for (value, mean) in values.iter_mut().zip(&self.mean) {
            *value -= f64::from(*mean);
        }
        let mut own = [1.0; 32];
        for direction in self.directions.chunks_exact(shared.shape.values()) {
            let square = square(direction);
            if square == 0.0 {
                break;
            }
            let along = dot(direction, &values) / square;
            for (value, place) in values.iter_mut().zip(direction) {
                *value -= along * f64::from(*place);
            }
            for (own, places) in own.iter_mut().zip(direction.chunks_exact(rows)) {
                let latest = f64::from(places[rows - 1]);
                *own -= latest * latest / square;
            }
        }
        let errors = std::array::from_fn(|input| match input < inputs {
            true => values[(input + 1) * rows - 1] / f64::max(own[input], OWN_MIN),
            false => 0.0,
        });
        Residual { values, latest, errors }
    }
}

/// A window less what the directions explain of it.
struct Residual {
    values: Window,
    /// Each input's latest value, in standard deviations from its level.
    latest: [f64; 32],
    /// How far that is from the one that would leave the least residual, all others as they are: r / (1 − h), as in the prediction sum
    /// of squares (Allen 1974, "The relationship between variable selection and data augmentation and a method for prediction").
    errors: [f64; 32],
}

impl Residual {
    fn norm(&self) -> f64 {
        self.values.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

fn dot(direction: &[f32], window: &Window) -> f64 {
    direction.iter().zip(window).map(|(x, y)| f64::from(*x) * y).sum()
}

fn square(direction: &[f32]) -> f64 {
    direction.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

impl Scorer for Pca {
    type Shared = Shared;

    fn shared(settings: &Settings) -> Shared {
        let shape = Shape::new(settings);
        Shared { shape, directions: (BUDGET / shape.values()).clamp(1, DIRECTIONS_MAX) }
    }

    fn begin(shared: &Shared) -> Self {
        let values = shared.shape.values();
        Pca {
            windows: Windows::new(shared.shape),
            seen: 0.0,
            mean: vec![0.0; values],
            directions: vec![0.0; values * shared.directions],
            errors: vec![Level::UNKNOWN; shared.shape.inputs],
            usual: Usual::UNKNOWN,
        }
    }

    fn score(&mut self, shared: &Shared, row: Row<'_>, raw: &mut Raw) {
        if self.seen < WARMING * shared.directions as f64 {
            return;
        }
        let residual = self.residual(shared, row);
        raw.strangeness = self.usual.multiple(residual.norm());
        let windows = residual.values.chunks_exact(shared.shape.rows);
        for (input, values) in windows.take(shared.shape.inputs).enumerate() {
            raw.parts[input] = values.iter().map(|value| value * value).sum();
            let level = self.windows.level(input);
            raw.expected[input] = level.value(residual.latest[input] - residual.errors[input]);
            raw.scale[input] = (self.errors[input].deviation() * level.deviation()).min(f64::MAX);
        }
    }

    fn learn(&mut self, shared: &Shared, row: Row<'_>, weight: f64) {
        let is_full = self.windows.is_full_with_next();
        if weight <= 0.0 || !is_full {
            self.windows.push(row, weight);
            return;
        }
        let residual = self.residual(shared, row);
        let mut window = [0.0; VALUES_MAX];
        self.windows.standard_with(row, &mut window);
        self.windows.push(row, weight);
        if self.seen > shared.directions as f64 {
            self.usual.learn(residual.norm(), weight);
            let present = row.values.iter().map(|value| !value.is_nan());
            for ((errors, error), _) in
                self.errors.iter_mut().zip(residual.errors).zip(present).filter(|(_, there)| *there)
            {
                errors.learn(error, weight);
            }
        }
        self.seen = (self.seen + weight).min(MEMORY);
        for (mean, value) in self.mean.iter_mut().zip(&mut window) {
            *mean = (f64::from(*mean) + (weight / self.seen).min(1.0) * (*value - f64::from(*mean))) as f32;
            *value -= f64::from(*mean);
        }
        let rate = (weight * (1.0 + AMNESIA) / (self.seen + AMNESIA)).min(1.0);
        for direction in self.directions.chunks_exact_mut(shared.shape.values()) {
            let before = square(direction);
            if before == 0.0 {
                direction.iter_mut().zip(&window).for_each(|(place, value)| *place = *value as f32);
                break;
            }
            let along = dot(direction, &window) / before.sqrt();
            for (place, value) in direction.iter_mut().zip(&window) {
                *place = ((1.0 - rate) * f64::from(*place) + rate * along * value) as f32;
            }
            let after = square(direction);
            if after == 0.0 {
                break;
            }
            let along = dot(direction, &window) / after;
            for (value, place) in window.iter_mut().zip(direction.iter()) {
                *value -= along * f64::from(*place);
            }
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        self.windows.encode(writer);
        writer.f64(self.seen);
        self.mean.iter().chain(&self.directions).for_each(|value| writer.f32(*value));
        self.errors.iter().for_each(|level| level.encode(writer));
        self.usual.encode(writer);
    }

    fn decode(shared: &Shared, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let windows = Windows::decode(shared.shape, reader)?;
        let seen = reader.f64()?;
        if !(0.0..=MEMORY).contains(&seen) {
            return Err(damaged("windows learnt", seen));
        }
        let values = shared.shape.values();
        Ok(Pca {
            windows,
            seen,
            mean: floats(values, reader)?,
            directions: floats(values * shared.directions, reader)?,
            errors: (0..shared.shape.inputs).map(|_| Level::decode(reader)).collect::<Result<_, _>>()?,
            usual: Usual::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::trials::{Trial, hold, ordinary};
    use super::*;

    #[test]
    fn it_is_held_to_what_all_methods_are() {
        hold::<Pca>([2_000, 7_000]);
    }

    #[test]
    fn spikes_shifts_and_lost_seasons_are_stranger_than_all_that_was_ordinary() {
        let rows = ordinary(1, 1400);
        let after = |change: fn(usize, f64) -> f64| {
            let mut trial = Trial::<Pca>::new(1);
            let before = trial.rows(&rows[..1300]).split_off(400).into_iter().fold(0.0, f64::max);
            let changed = rows[1300..].iter().enumerate().map(|(number, row)| vec![change(number, row[0])]);
            let after = trial.rows(&changed.collect::<Vec<_>>()).into_iter().fold(0.0, f64::max);
            after / before
        };
        let ordinary = after(|_, value| value);
        assert!(ordinary < 1.2, "{ordinary}");
        let spike = after(|number, value| if number == 50 { value + 40.0 } else { value });
        let shift = after(|number, value| if number >= 50 { value + 30.0 } else { value });
        let lost = after(|_, _| 100.0);
        assert!(spike > 1.3 && shift > 1.3 && lost > 1.3, "{spike} {shift} {lost}");
    }

    #[test]
    fn an_input_that_leaves_the_others_has_the_largest_part() {
        let rows = ordinary(3, 1300);
        let mut trial = Trial::<Pca>::new(3);
        trial.rows(&rows[..1290]);
        let mut strange = rows[1290].clone();
        strange[1] += 60.0;
        let parts = &trial.row(&strange, 0, 0.0).parts;
        assert!(parts[1] > parts[0].max(parts[2]), "{parts:?}");
    }
}
