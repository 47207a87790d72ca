//! From what a forward pass gives to scores, expected values and shares.

use candle_core::{D, Tensor};
use thalweg_series::stream::restore;

use crate::ModelError;
use crate::architecture::{Architecture, Head, Mlp, Patch, Units};
use crate::normalise::Normalised;

/// What a model has beside its trained parameters.
#[derive(Debug, Clone)]
pub(crate) enum Extras {
    /// Nothing.
    None,
    /// Of a patch model.
    Memory(Memory),
    /// Of an MLP.
    Standard(Standard),
}

/// The windows that stand for normal times.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// Coordinates × windows, on the model's device.
    pub(crate) embeddings: Tensor,
    /// Windows × (window · channels), normalised.
    pub(crate) windows: Vec<f32>,
    /// How many windows.
    pub(crate) count: usize,
    /// The distance that counts 1.
    pub(crate) distance_unit: f32,
    /// The amplitude that counts 1.
    pub(crate) amplitude_unit: f32,
}

/// Middle and size of features and targets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standard {
    pub(crate) feature_centres: Vec<f32>,
    pub(crate) feature_scales: Vec<f32>,
    pub(crate) target_centres: Vec<f32>,
    pub(crate) target_scales: Vec<f32>,
}

/// Features beyond this many scales are taken as this far: what training never saw should not blow up what comes out.
const FEATURE_MAX: f32 = 10.0;

impl Extras {
    /// What is left to do on the device: an embedding's cosines to the windows in memory.
    pub(crate) fn on_device(&self, y: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Extras::Memory(memory) if y.dim(D::Minus1)? == memory.embeddings.dim(0)? => {
                Ok(y.matmul(&memory.embeddings)?)
            }
            _ => Ok(y.clone()),
        }
    }

    /// Features in units of the training's.
    pub(crate) fn standardise(&self, features: &[f32], width: usize) -> Vec<f32> {
        let Extras::Standard(standard) = self else { return features.to_vec() };
        let unit = |(at, value): (usize, &f32)| {
            let (centre, scale) = (standard.feature_centres[at % width], standard.feature_scales[at % width]);
            let z = (value - centre) / scale;
            if z.is_nan() { 0.0 } else { z.clamp(-FEATURE_MAX, FEATURE_MAX) }
        };
        features.iter().enumerate().map(unit).collect()
    }

    /// Numbers or probabilities from what comes out of an MLP.
    pub(crate) fn head(&self, config: &Mlp, logits: &[f32], y: &mut Vec<f32>) {
        for row in logits.chunks(config.outputs) {
            match (config.head, self) {
                (Head::Regression, Extras::Standard(standard)) => {
                    let sizes = standard.target_scales.iter().zip(&standard.target_centres);
                    y.extend(row.iter().zip(sizes).map(|(z, (scale, centre))| z * scale + centre));
                }
                (Head::Regression, _) => y.extend_from_slice(row),
                (Head::Classification, _) if row.len() == 1 => {
                    y.push((1.0 / (1.0 + libm::exp(-f64::from(row[0])))) as f32);
                }
                (Head::Classification, _) => {
                    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let powers: Vec<f64> = row.iter().map(|z| libm::exp(f64::from(z - most))).collect();
                    let sum: f64 = powers.iter().sum();
                    y.extend(powers.iter().map(|power| (power / sum) as f32));
                }
            }
        }
    }

    /// Adds `score`, `expected` and `attribution` of each row to `columns`.
    pub(crate) fn score(
        &self,
        architecture: &Architecture,
        normalised: &Normalised,
        forward: &[f32],
        columns: &mut [Vec<f32>],
    ) {
        let (window, channels) = (architecture.window(), architecture.channels());
        let width = window * channels;
        let rows = normalised.values.len() / width;
        for row in 0..rows {
            let one = Row {
                values: &normalised.values[row * width..(row + 1) * width],
                present: &normalised.present[row * width..(row + 1) * width],
                channels,
            };
            let per_row = forward.len() / rows;
            let said = &forward[row * per_row..(row + 1) * per_row];
            let (score, expected, shares) = match (architecture, self) {
                (Architecture::Autoencoder(config), _) => {
                    let from = width - config.scored * channels;
                    one.residual(&said[from..], from, &said[width - channels..])
                }
                (Architecture::Patch(config), Extras::Memory(memory)) => one.distance(config, memory, said),
                _ => one.residual(said, width - channels, said),
            };
            columns[0].push(score);
            let of_row = row * channels..(row + 1) * channels;
            let units = normalised.centres[of_row.clone()].iter().zip(&normalised.scales[of_row]);
            let in_units = |(z, (centre, scale)): (&f32, (&f32, &f32))| match architecture.units() {
                Units::Own => restore(*z, f64::from(*centre), f64::from(*scale)) as f32,
                Units::Stream => *z,
            };
            columns[1].extend(expected.iter().zip(units).map(in_units));
            columns[2].extend(attribution(&shares));
        }
    }
}

/// A normalised window.
struct Row<'a> {
    values: &'a [f32],
    present: &'a [f32],
    channels: usize,
}

impl Row<'_> {
    /// Whether the newest row has a value.
    fn has_newest(&self) -> bool {
        self.present[self.present.len() - self.channels..].contains(&1.0)
    }

    /// The root mean square of what `said` leaves over from the value at `from` on; what is expected; the squares of each channel.
    fn residual<'a>(&self, said: &[f32], from: usize, expected: &'a [f32]) -> (f32, &'a [f32], Vec<f64>) {
        let mut squares = vec![0.0_f64; self.channels];
        let mut count = 0.0;
        for (at, z) in said.iter().enumerate() {
            let present = f64::from(self.present[from + at]);
            let left = f64::from(self.values[from + at] - z) * present;
            squares[at % self.channels] += left * left;
            count += present;
        }
        let score =
            if self.has_newest() { (squares.iter().sum::<f64>() / count).sqrt() as f32 } else { f32::NAN };
        (score, expected, squares)
    }

    /// Distance from the memory, given the cosines to each window in it, and amplitude.
    fn distance<'a>(
        &self,
        config: &Patch,
        memory: &'a Memory,
        cosines: &[f32],
    ) -> (f32, &'a [f32], Vec<f64>) {
        let (distance, nearest) = mean_distance(cosines, config.neighbours);
        let amplitude = self.amplitude();
        let score = distance / f64::from(memory.distance_unit) + amplitude / f64::from(memory.amplitude_unit);
        let width = self.values.len();
        let like = &memory.windows[nearest * width..(nearest + 1) * width];
        let mut squares = vec![0.0_f64; self.channels];
        for (at, z) in like.iter().enumerate() {
            let left = f64::from((self.values[at] - z) * self.present[at]);
            squares[at % self.channels] += left * left;
        }
        (if self.has_newest() { score as f32 } else { f32::NAN }, &like[width - self.channels..], squares)
    }

    fn amplitude(&self) -> f64 {
        amplitude(self.values, self.channels)
    }
}

/// The size of a normalised window's newest row: of its largest channel.
pub(crate) fn amplitude(values: &[f32], channels: usize) -> f64 {
    let newest = &values[values.len() - channels..];
    newest.iter().map(|z| f64::from(z.abs())).fold(0.0, f64::max)
}

/// The mean of 1 − cosine over the nearest few, and which is the nearest: among equals the first.
pub(crate) fn mean_distance(cosines: &[f32], neighbours: usize) -> (f64, usize) {
    let mut nearest: Vec<(usize, f32)> = Vec::with_capacity(neighbours + 1);
    for (at, cosine) in cosines.iter().enumerate() {
        if nearest.len() < neighbours || nearest.last().is_some_and(|last| *cosine > last.1) {
            let place = nearest.partition_point(|other| other.1 >= *cosine);
            nearest.insert(place, (at, *cosine));
            nearest.truncate(neighbours);
        }
    }
    let sum: f64 = nearest.iter().map(|(_, cosine)| 1.0 - f64::from(*cosine)).sum();
    (sum / nearest.len().max(1) as f64, nearest.first().map_or(0, |first| first.0))
}

/// Shares that add up to 1; where nothing is left over, the same for all.
fn attribution(squares: &[f64]) -> impl Iterator<Item = f32> {
    let sum: f64 = squares.iter().sum();
    let even = 1.0 / squares.len() as f64;
    squares.iter().map(move |square| if sum > 0.0 { square / sum } else { even } as f32)
}

#[cfg(test)]
mod tests {
    use super::{attribution, mean_distance};

    #[test]
    fn the_nearest_few_are_averaged() {
        let cosines = [0.1, 0.9, 0.5, 0.9, -1.0];
        let (distance, nearest) = mean_distance(&cosines, 3);
        assert!((distance - (0.1 + 0.1 + 0.5) / 3.0).abs() < 1e-6);
        assert_eq!(nearest, 1);
        let (all, _) = mean_distance(&cosines, 10);
        assert!((all - (0.9 + 0.1 + 0.5 + 0.1 + 2.0) / 5.0).abs() < 1e-6);
    }

    #[test]
    fn shares_add_up_to_one() {
        assert_eq!(attribution(&[3.0, 1.0]).collect::<Vec<_>>(), [0.75, 0.25]);
        assert_eq!(attribution(&[0.0, 0.0]).collect::<Vec<_>>(), [0.5, 0.5]);
    }
}
