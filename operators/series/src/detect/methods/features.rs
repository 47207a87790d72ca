//! A few features of each input's latest values, each in its own standard deviations: what the methods that partition or project a small
//! space look at.
//!
//! | feature | what stands out in it |
//! |---|---|
//! | the value | spikes, levels |
//! | its step from the value before | jumps, flat lines that were none |
//! | its distance from the window's mean | spikes of a series that wanders |
//! | the window's mean | levels |
//! | the mean of its newer half less that of its older | slopes, shifts |
//! | the mean size of its steps | noise that grows or dies |

use super::windows::{Level, Shape, VALUES_MAX, Windows};
use super::{Raw, Row};
use crate::bytes::{Reader, StateError, Writer};

/// Features of an input.
pub(super) const EACH: usize = 6;

/// Features at most.
pub(super) const FEATURES_MAX: usize = EACH * 32;

/// The features of a row.
pub(super) type Features = [f64; FEATURES_MAX];

/// What is known of a key's features: 0.5 KiB for one input, at most 5.5 KiB.
#[derive(Debug, Clone)]
pub(super) struct Standards {
    shape: Shape,
    windows: Windows,
    levels: Vec<Level>,
}

impl Standards {
    /// Nothing is known.
    pub fn new(shape: Shape) -> Self {
        let levels = vec![Level::UNKNOWN; EACH * shape.inputs];
        Standards { shape, windows: Windows::new(shape), levels }
    }

    /// Whether there are rows enough to speak of standard deviations.
    pub fn is_begun(&self) -> bool {
        self.levels.iter().any(Level::is_known)
    }

    /// The features of a row, in standard deviations from their means.
    pub fn of(&self, row: Row<'_>) -> Features {
        let mut features = self.raw(row);
        for (feature, level) in features.iter_mut().zip(&self.levels) {
            *feature = level.standard(*feature);
        }
        features
    }

    /// Takes a row in.
    pub fn push(&mut self, row: Row<'_>, weight: f64) {
        let features = self.raw(row);
        for (level, feature) in self.levels.iter_mut().zip(features) {
            level.learn(feature, weight);
        }
        self.windows.push(row, weight);
    }

    /// What is ordinary of each input by itself.
    pub fn expect(&self, raw: &mut Raw) {
        for (input, (expected, scale)) in raw.expected.iter_mut().zip(&mut raw.scale).enumerate() {
            *expected = self.windows.level(input).mean();
            *scale = self.windows.level(input).deviation();
        }
    }

    /// The features in the inputs' units; NaN for an input without values.
    fn raw(&self, row: Row<'_>) -> Features {
        let mut window = [0.0; VALUES_MAX];
        self.windows.raw_with(row, &mut window);
        let mut features = [0.0; FEATURES_MAX];
        let rows = self.shape.rows;
        let windows = window.chunks_exact(rows).take(self.shape.inputs);
        for (values, places) in windows.zip(features.chunks_exact_mut(EACH)) {
            let (value, before) = (values[rows - 1], values[rows - 2]);
            let (older, newer) = values.split_at(rows / 2);
            let (older, newer) = (mean(older.iter().copied()), mean(newer.iter().copied()));
            let middle = older / 2.0 + newer / 2.0;
            let steps = mean(values.windows(2).map(|pair| (pair[1] / 2.0 - pair[0] / 2.0).abs()));
            // Halves, so that no difference of finite values overflows.
            let half = |a: f64, b: f64| a / 2.0 - b / 2.0;
            places.copy_from_slice(&[
                value,
                half(value, before),
                half(value, middle),
                middle,
                half(newer, older),
                steps,
            ]);
        }
        features
    }

    /// Appends the state's bytes.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.windows.encode(writer);
        self.levels.iter().for_each(|level| level.encode(writer));
    }

    /// What [`Standards::encode`] wrote for the same shape.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(shape: Shape, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let windows = Windows::decode(shape, reader)?;
        let levels = (0..EACH * shape.inputs).map(|_| Level::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Standards { shape, windows, levels })
    }
}

/// The mean, of terms so small that their sum does not overflow.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let share = 1.0 / values.len() as f64;
    values.map(|value| value * share).sum()
}
