//! Windows near one of a few centres are ordinary: k-means, learnt window by window.
//!
//! ```text
//!   window ─▶ shape (z-normalised) and amplitude (mean, deviation) of each input ─▶ distance to the nearest of k centres
//! ```
//!
//! Centres move by MacQueen's rule (1967, "Some methods for classification and analysis of multivariate observations"), a step of
//! 1/n for the n-th window of a centre (as in Sculley 2010, "Web-scale k-means clustering"), with n bounded to follow what changes. The
//! first windows, a few rows apart, are the first centres. Windows of telemetry overlap, and clusters of overlapping windows tend to sines
//! (Keogh & Lin 2005, "Clustering of time-series subsequences is meaningless"): that is no harm here, where only the distance counts.

use super::windows::{Shape, Usual, VALUES_MAX, Windows, damaged, floats};
use super::{Raw, Row, Scorer, Settings};
use crate::bytes::{Reader, StateError, Writer};

/// Amplitudes of an input beside its shape: mean and deviation.
const AMPLITUDES: usize = 2;

/// Coordinates of a window at most, of 32 inputs.
const COORDINATES_MAX: usize = VALUES_MAX + AMPLITUDES * 32;

/// Coordinates of all centres together, about: 4 KiB.
const BUDGET: usize = 1024;

/// Windows that deviate by less than this, in standard deviations of their input, have shapes that count for less: they are noise.
const FLAT: f64 = 1.0;

/// What a deviation of amplitude counts beside shapes, whose distances are at most 2.
const AMPLITUDE: f64 = 0.5;

/// Rows between the windows that become the first centres.
const SEED_ROWS: u8 = 4;

/// Centres before the first score.
const CENTRES_MIN: usize = 4;

/// Windows that a centre remembers.
const MEMORY: f32 = 256.0;

/// What strangeness is of ordinary rows of most series, before it is divided by it.
const USUAL: f64 = 0.5;

/// What all keys share.
#[derive(Debug)]
pub(crate) struct Shared {
    shape: Shape,
    coordinates: usize,
    centres: usize,
}

/// Online k-means over the windows of a key: about 2.5 KiB for one input, at most 6 KiB.
#[derive(Debug, Clone)]
pub(crate) struct Kmeans {
    windows: Windows,
    /// Rows until a window becomes a centre, while there are too few.
    until_seed: u8,
    /// Windows of each centre.
    counts: Vec<f32>,
    /// The coordinates of each centre, one centre after the other.
    centres: Vec<f32>,
    usual: Usual,
}

type Coordinates = [f64; COORDINATES_MAX];

impl Kmeans {
    /// Where the window that ends with a row lies: for each input the shape, of norm at most 1, then its mean and deviation.
    fn coordinates(&self, shared: &Shared, row: Row<'_>) -> Coordinates {
        let mut window = [0.0; VALUES_MAX];
        self.windows.standard_with(row, &mut window);
        let mut coordinates = [0.0; COORDINATES_MAX];
        let rows = shared.shape.rows;
        let norm = 1.0 / (rows as f64).sqrt();
        let places = coordinates.chunks_exact_mut(rows + AMPLITUDES);
        for (values, places) in window.chunks_exact(rows).zip(places).take(shared.shape.inputs) {
            let mean = values.iter().sum::<f64>() / rows as f64;
            let variance =
                values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / rows as f64;
            let scale = norm / (variance + FLAT * FLAT).sqrt();
            for (place, value) in places.iter_mut().zip(values) {
                *place = (value - mean) * scale;
            }
            places[rows] = AMPLITUDE * mean;
            places[rows + 1] = AMPLITUDE * variance.sqrt();
        }
        coordinates
    }

    /// The nearest centre and the square of the distance to it.
    fn nearest(&self, shared: &Shared, coordinates: &Coordinates) -> Option<(usize, f64)> {
        let distances =
            self.centres.chunks_exact(shared.coordinates).map(|centre| square(centre, coordinates));
        distances.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// The square of the distance between a centre and coordinates.
fn square(centre: &[f32], coordinates: &Coordinates) -> f64 {
    centre.iter().zip(coordinates).map(|(x, y)| (y - f64::from(*x)) * (y - f64::from(*x))).sum()
}

impl Scorer for Kmeans {
    type Shared = Shared;

    fn shared(settings: &Settings) -> Shared {
        let shape = Shape::new(settings);
        let coordinates = shape.inputs * (shape.rows + AMPLITUDES);
        Shared { shape, coordinates, centres: (BUDGET / coordinates).clamp(4, 16) }
    }

    fn begin(shared: &Shared) -> Self {
        Kmeans {
            windows: Windows::new(shared.shape),
            until_seed: 0,
            counts: Vec::new(),
            centres: Vec::new(),
            usual: Usual::new(USUAL),
        }
    }

    fn score(&mut self, shared: &Shared, row: Row<'_>, raw: &mut Raw) {
        for input in 0..shared.shape.inputs {
            raw.expected[input] = self.windows.level(input).mean();
            raw.scale[input] = self.windows.level(input).deviation();
        }
        if self.counts.len() < CENTRES_MIN {
            return;
        }
        let coordinates = self.coordinates(shared, row);
        let Some((nearest, square)) = self.nearest(shared, &coordinates) else { return };
        raw.strangeness = self.usual.multiple(square.sqrt());
        let each = shared.shape.rows + AMPLITUDES;
        let centre = &self.centres[nearest * shared.coordinates..];
        for (input, part) in raw.parts.iter_mut().enumerate() {
            let places = input * each..(input + 1) * each;
            let differences = centre[places.clone()].iter().zip(&coordinates[places]);
            *part = differences.map(|(x, y)| (y - f64::from(*x)) * (y - f64::from(*x))).sum();
        }
    }

    fn learn(&mut self, shared: &Shared, row: Row<'_>, weight: f64) {
        let coordinates = self.windows.is_begun().then(|| self.coordinates(shared, row));
        self.windows.push(row, weight);
        let Some(coordinates) = coordinates.filter(|_| weight > 0.0) else { return };
        let nearest = self.nearest(shared, &coordinates);
        if let Some((_, square)) = nearest.filter(|_| self.counts.len() >= CENTRES_MIN / 2) {
            self.usual.learn(square.sqrt(), weight);
        }
        if self.counts.len() < shared.centres {
            self.until_seed = if self.until_seed == 0 { SEED_ROWS } else { self.until_seed } - 1;
            if self.until_seed + 1 == SEED_ROWS {
                self.centres.extend(coordinates[..shared.coordinates].iter().map(|place| *place as f32));
                self.counts.push(weight as f32);
                return;
            }
        }
        let Some((nearest, _)) = nearest else { return };
        let count = (self.counts[nearest] + weight as f32).min(MEMORY);
        self.counts[nearest] = count;
        let rate = (weight / f64::from(count)).min(1.0);
        let from = nearest * shared.coordinates;
        for (place, value) in self.centres[from..from + shared.coordinates].iter_mut().zip(&coordinates) {
            *place = (f64::from(*place) + rate * (value - f64::from(*place))) as f32;
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        self.windows.encode(writer);
        writer.u8(self.until_seed);
        writer.f32s(&self.counts);
        self.centres.iter().for_each(|place| writer.f32(*place));
        self.usual.encode(writer);
    }

    fn decode(shared: &Shared, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let windows = Windows::decode(shared.shape, reader)?;
        let until_seed = reader.u8()?;
        let counts = reader.f32s(shared.centres)?;
        if let Some(count) = counts.iter().find(|count| !(0.0..=MEMORY).contains(*count)) {
            return Err(damaged("windows of a centre", count));
        }
        let centres = floats(counts.len() * shared.coordinates, reader)?;
        Ok(Kmeans { windows, until_seed, counts, centres, usual: Usual::decode(reader)? })
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
        hold::<Kmeans>([3_000, 6_500]);
    }

    #[test]
    fn spikes_shifts_and_lost_seasons_are_stranger_than_all_that_was_ordinary() {
        tells_spikes_shifts_and_lost_seasons::<Kmeans>(1.3);
    }

    #[test]
    fn an_input_that_leaves_the_others_has_the_largest_part() {
        names_the_input_that_leaves_the_others::<Kmeans>();
    }
}
