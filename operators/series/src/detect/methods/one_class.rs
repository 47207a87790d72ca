//! Rows unlike the rows before them, by a kernel: a one-class machine in random features.
//!
//! A one-class machine (Schölkopf, Platt, Shawe-Taylor, Smola & Williamson 2001, "Estimating the support of a high-dimensional
//! distribution") holds the mean, in the feature space of a kernel, of what is ordinary; with ν = 1 it is Parzen's estimate of density, and every row
//! counts. Random features (Rahimi & Recht 2007, "Random features for large-scale kernel machines") make that space one of a few
//! hundred coordinates, so that the mean is a vector, learnt row by row and forgotten exponentially:
//!
//! ```text
//!   features x ─▶ zⱼ = √(2/D) cos(ωⱼ·x + bⱼ) ─▶ density: z times the mean of those before ─▶ −ln density
//! ```
//!
//! The kernel is a mean of Gaussians of several widths: narrow ones tell neighbours apart, wide ones tell far from farther.

use std::f64::consts::TAU;

use super::features::{EACH, Features, Standards};
use super::windows::{Shape, Usual, damaged, floats};
use super::{Raw, Row, Scorer, Settings};
use crate::bytes::{Reader, StateError, Writer};
use crate::synthetic::Random;

/// Random features.
const COSINES: usize = 256;

/// Widths of the Gaussians, in standard deviations times the root of the number of features.
const WIDTHS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// Smaller densities can't be told from 0: so large is the error of random features, 1/√D.
const DENSITY_MIN: f64 = 1.0 / 16.0;

/// Rows that are remembered.
const MEMORY: f64 = 2000.0;

/// Rows before the first score, after those that features need.
const WARMING: f64 = 8.0;

const SEED: u64 = 0x7468_616c_7765_6702;

/// What strangeness is of ordinary rows of most series, before it is divided by it.
const USUAL: f64 = 0.6;

/// What all keys share.
#[derive(Debug)]
pub(crate) struct Shared {
    shape: Shape,
    /// The frequencies ω of all cosines in the first feature, then in the next: turns for a standard deviation.
    frequencies: Vec<f64>,
    /// The phase b of each cosine, turns.
    phases: [f64; COSINES],
}

/// The mean of a key's rows: about 1.6 KiB for one input, at most 6.5 KiB.
#[derive(Debug, Clone)]
pub(crate) struct OneClass {
    standards: Standards,
    /// Rows learnt, by their weights.
    seen: f64,
    mean: Vec<f32>,
    usual: Usual,
}

impl Shared {
    /// The random features of a row, without their common factor √(2/D).
    fn cosines(&self, features: &Features) -> [f64; COSINES] {
        let mut turns = self.phases;
        for (feature, frequencies) in features.iter().zip(self.frequencies.chunks_exact(COSINES)) {
            for (turns, frequency) in turns.iter_mut().zip(frequencies) {
                *turns += frequency * feature;
            }
        }
        turns.map(cosine)
    }
}

/// The cosine of an angle in turns, to 6 × 10⁻⁸: Taylor's polynomial of the sine about the nearest zero. Unlike a library's it
/// compiles to plain arithmetic for several angles at once.
fn cosine(turns: f64) -> f64 {
    // Adding and taking away 1.5 × 2⁵² rounds to a whole number.
    const ROUNDING: f64 = 6_755_399_441_055_744.0;
    let rest = turns - ((turns + ROUNDING) - ROUNDING);
    let angle = TAU * (0.25 - rest.abs());
    let square = angle * angle;
    let series = -1.0 / 5040.0 + square * (1.0 / 362_880.0 - square / 39_916_800.0);
    angle * (1.0 + square * (-1.0 / 6.0 + square * (1.0 / 120.0 + square * series)))
}

impl OneClass {
    /// −ln of the density where these cosines lie, which is 1 where all rows are the same.
    fn rarity(&self, cosines: &[f64; COSINES]) -> f64 {
        let mut lanes = [0.0; 4];
        for (cosines, means) in cosines.chunks_exact(lanes.len()).zip(self.mean.chunks_exact(lanes.len())) {
            for ((lane, cosine), mean) in lanes.iter_mut().zip(cosines).zip(means) {
                *lane += cosine * f64::from(*mean);
            }
        }
        let density = 2.0 / COSINES as f64 * lanes.iter().sum::<f64>();
        -libm::log(density.clamp(DENSITY_MIN, 1.0))
    }
}

impl Scorer for OneClass {
    type Shared = Shared;

    fn shared(settings: &Settings) -> Shared {
        let shape = Shape::new(settings);
        let count = EACH * shape.inputs;
        let mut random = Random::new(SEED);
        let mut frequencies = vec![0.0; COSINES * count];
        let mut phases = [0.0; COSINES];
        for (cosine, phase) in phases.iter_mut().enumerate() {
            let width = WIDTHS[cosine % WIDTHS.len()] * (count as f64).sqrt();
            for place in frequencies.iter_mut().skip(cosine).step_by(COSINES) {
                *place = random.normal() / (TAU * width);
            }
            *phase = random.uniform();
        }
        Shared { shape, frequencies, phases }
    }

    fn begin(shared: &Shared) -> Self {
        OneClass {
            standards: Standards::new(shared.shape),
            seen: 0.0,
            mean: vec![0.0; COSINES],
            usual: Usual::new(USUAL),
        }
    }

    fn score(&mut self, shared: &Shared, row: Row<'_>, raw: &mut Raw) {
        self.standards.expect(raw);
        if self.seen < WARMING {
            return;
        }
        let features = self.standards.of(row);
        raw.strangeness = self.usual.multiple(self.rarity(&shared.cosines(&features)));
        // The features' own distances: the machine's are of no single input.
        for (part, features) in raw.parts.iter_mut().zip(features.chunks_exact(EACH)) {
            *part = features.iter().map(|feature| feature * feature).sum();
        }
    }

    fn learn(&mut self, shared: &Shared, row: Row<'_>, weight: f64) {
        if weight > 0.0 && self.standards.is_begun() {
            let cosines = shared.cosines(&self.standards.of(row));
            if self.seen >= WARMING / 2.0 {
                self.usual.learn(self.rarity(&cosines), weight);
            }
            self.seen = (self.seen + weight).min(MEMORY);
            let rate = (weight / self.seen).min(1.0);
            for (mean, cosine) in self.mean.iter_mut().zip(cosines) {
                *mean = (f64::from(*mean) + rate * (cosine - f64::from(*mean))) as f32;
            }
        }
        self.standards.push(row, weight);
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        self.standards.encode(writer);
        writer.f64(self.seen);
        self.mean.iter().for_each(|value| writer.f32(*value));
        self.usual.encode(writer);
    }

    fn decode(shared: &Shared, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let standards = Standards::decode(shared.shape, reader)?;
        let seen = reader.f64()?;
        if !(0.0..=MEMORY).contains(&seen) {
            return Err(damaged("rows learnt", seen));
        }
        let mean = floats(COSINES, reader)?;
        Ok(OneClass { standards, seen, mean, usual: Usual::decode(reader)? })
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
        hold::<OneClass>([2_500, 7_500]);
    }

    #[test]
    fn spikes_shifts_and_lost_seasons_are_stranger_than_all_that_was_ordinary() {
        tells_spikes_shifts_and_lost_seasons::<OneClass>(1.3);
    }

    #[test]
    fn an_input_that_leaves_the_others_has_the_largest_part() {
        names_the_input_that_leaves_the_others::<OneClass>();
    }

    #[test]
    fn cosines_are_near_those_of_libm() {
        for number in -2000..2000 {
            let turns = f64::from(number) * 0.173;
            assert!((cosine(turns) - libm::cos(TAU * turns)).abs() < 1e-7, "{turns}");
        }
    }
}
