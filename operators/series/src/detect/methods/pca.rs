//! Windows that a few directions explain are ordinary: the principal subspace, learnt window by window.
//!
//! Directions are learnt by candid covariance-free incremental PCA (Weng, Zhang & Hwang 2003, "Candid covariance-free incremental principal
//! component analysis"), whose vectors' norms are the variances they explain. Strangeness is what they leave of the window, and how
//! unusually far it lies along them: Q (Jackson & Mudholkar 1979, "Control procedures for residuals associated with principal component
//! analysis") and Hotelling's T² (1947), each over its mean, in equal parts, like the combined index of Yue & Qin (2001, "Reconstruction-based
//! fault identification using a combined index").
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

/// Windows before the first score, after the rows that levels need.
const WARMING: f64 = 8.0;

/// What directions leave of ordinary windows of most series, and what lies along them, standardised: norms.
const USUAL_LEFT: f64 = 3.0;
const USUAL_ALONG: f64 = 2.8;

/// What all keys share.
#[derive(Debug)]
pub(crate) struct Shared {
    shape: Shape,
    directions: usize,
}

/// The principal subspace of a key's windows: about 1.6 KiB for one input, at most 7 KiB.
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
    usual_left: Usual,
    usual_along: Usual,
}

type Window = [f64; VALUES_MAX];

/// What the directions make of a window.
struct Fit {
    /// What they leave of it.
    left: Window,
    /// What lies along them, as it would be were its variances 1.
    along: Window,
    /// Each input's latest value, in standard deviations from its level.
    latest: [f64; 32],
    /// How far that is from the one of which the directions would leave least, all other values as they are: r / (1 − h), as in the prediction
    /// sum of squares (Allen 1974, "The relationship between variable selection and data augmentation and a method for prediction").
    errors: [f64; 32],
}

impl Pca {
    /// Fits a window of standard values.
    fn fit(&self, shape: Shape, window: &Window) -> Fit {
        let last = |input: usize| (input + 1) * shape.rows - 1;
        let mut fit = Fit { left: *window, along: [0.0; VALUES_MAX], latest: [0.0; 32], errors: [0.0; 32] };
        for (value, mean) in fit.left.iter_mut().zip(&self.mean) {
            *value -= f64::from(*mean);
        }
        let mut own = [1.0; 32];
        for direction in self.directions.chunks_exact(shape.values()) {
            let square = square(direction);
            if square == 0.0 {
                break;
            }
            let along = dot(direction, &fit.left) / square;
            // A direction's norm is the variance along it.
            let white = along / square.sqrt().sqrt();
            for ((left, fitted), place) in fit.left.iter_mut().zip(&mut fit.along).zip(direction) {
                *left -= along * f64::from(*place);
                *fitted += white * f64::from(*place);
            }
            for (own, places) in own.iter_mut().zip(direction.chunks_exact(shape.rows)) {
                let latest = f64::from(places[shape.rows - 1]);
                *own -= latest * latest / square;
            }
        }
        for (input, own) in own.iter().enumerate().take(shape.inputs) {
            fit.latest[input] = window[last(input)];
            fit.errors[input] = fit.left[last(input)] / f64::max(*own, OWN_MIN);
        }
        fit
    }
}

fn dot(direction: &[f32], window: &Window) -> f64 {
    direction.iter().zip(window).map(|(x, y)| f64::from(*x) * y).sum()
}

fn square(direction: &[f32]) -> f64 {
    direction.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

fn squares(window: &[f64]) -> f64 {
    window.iter().map(|x| x * x).sum()
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
            usual_left: Usual::new(USUAL_LEFT),
            usual_along: Usual::new(USUAL_ALONG),
        }
    }

    fn score(&mut self, shared: &Shared, row: Row<'_>, raw: &mut Raw) {
        if self.seen < WARMING {
            return;
        }
        let mut window = [0.0; VALUES_MAX];
        self.windows.standard_with(row, &mut window);
        let fit = self.fit(shared.shape, &window);
        let (left, along) = (squares(&fit.left), squares(&fit.along));
        let multiples = [self.usual_left.multiple(left.sqrt()), self.usual_along.multiple(along.sqrt())];
        let [q, t] = multiples.map(|multiple| multiple * multiple / 2.0);
        raw.strangeness = (q + t).sqrt();
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        for input in 0..shared.shape.inputs {
            let places = input * shared.shape.rows..(input + 1) * shared.shape.rows;
            raw.parts[input] = q * share(squares(&fit.left[places.clone()]), left)
                + t * share(squares(&fit.along[places]), along);
            let level = self.windows.level(input);
            raw.expected[input] = level.value(fit.latest[input] - fit.errors[input]);
            raw.scale[input] = (self.errors[input].deviation() * level.deviation()).min(f64::MAX);
        }
    }

    fn learn(&mut self, shared: &Shared, row: Row<'_>, weight: f64) {
        let mut window = [0.0; VALUES_MAX];
        self.windows.standard_with(row, &mut window);
        let is_begun = self.windows.is_begun();
        self.windows.push(row, weight);
        if weight <= 0.0 || !is_begun {
            return;
        }
        if self.seen >= WARMING / 2.0 {
            let fit = self.fit(shared.shape, &window);
            self.usual_left.learn(squares(&fit.left).sqrt(), weight);
            self.usual_along.learn(squares(&fit.along).sqrt(), weight);
            for ((errors, error), value) in self.errors.iter_mut().zip(fit.errors).zip(row.values) {
                errors.learn(if value.is_nan() { f64::NAN } else { error }, weight);
            }
        }
        self.seen = (self.seen + weight).min(MEMORY);
        let rate = (weight / self.seen).min(1.0);
        for (mean, value) in self.mean.iter_mut().zip(&mut window) {
            *mean = (f64::from(*mean) + rate * (*value - f64::from(*mean))) as f32;
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
        self.usual_left.encode(writer);
        self.usual_along.encode(writer);
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
            usual_left: Usual::decode(reader)?,
            usual_along: Usual::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::trials::{
        hold, names_the_input_that_leaves_the_others, tells_spikes_shifts_and_lost_seasons,
    };
    use super::*;

    #[test]
    fn it_is_held_to_what_all_methods_are() {
        hold::<Pca>([2_000, 7_000]);
    }

    #[test]
    fn spikes_shifts_and_lost_seasons_are_stranger_than_all_that_was_ordinary() {
        tells_spikes_shifts_and_lost_seasons::<Pca>(1.3);
    }

    #[test]
    fn an_input_that_leaves_the_others_has_the_largest_part() {
        names_the_input_that_leaves_the_others::<Pca>();
    }
}
