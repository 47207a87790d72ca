//! What a network says of a key's latest rows, as strangeness: it was trained elsewhere and runs elsewhere, one for all keys.
//!
//! Its score is in deviations of the key's long run, so it needs no scale of the key's own; what it says otherwise goes through.

use super::{Raw, Row, Scorer, Settings};
use crate::bytes::{Reader, StateError, Writer};
use crate::stream::{LINEAR_MAX, restore};

/// An autoencoder, whose score is what it could not repeat.
pub(crate) type Autoencoder = Network;
/// A temporal convolutional network, whose score is how far it predicted from the row.
pub(crate) type Tcn = Network;
/// A memory of windows, whose score is the distance from the nearest.
pub(crate) type Patch = Network;

/// The state of one key: none.
#[derive(Debug, Clone)]
pub(crate) struct Network;

/// What was said of a row with so many inputs: score, whether the network failed, then of each input what was expected, its share of the
/// score, and the centre and scale of its units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    values: &'a [f64],
    inputs: usize,
}

impl<'a> Said<'a> {
    /// Numbers beside a row.
    pub fn width(inputs: usize) -> usize {
        2 + 4 * inputs
    }

    /// `None` of anything else.
    pub fn new(values: &'a [f64], inputs: usize) -> Option<Self> {
        (values.len() == Self::width(inputs)).then_some(Said { values, inputs })
    }

    /// Whether there was an answer to expect that did not come.
    pub fn failed(self) -> bool {
        self.values[1] == 1.0
    }

    fn of(self, what: usize, input: usize) -> f64 {
        self.values[2 + what * self.inputs + input]
    }
}

impl Scorer for Network {
    const IS_MEAN: bool = true;

    type Shared = ();

    fn shared(_: &Settings) {}

    fn begin((): &()) -> Self {
        Network
    }

    fn score(&mut self, (): &(), row: Row<'_>, raw: &mut Raw) {
        let inputs = row.values.len();
        let Some(said) = Said::new(row.said, inputs) else { return };
        let score = said.values[0];
        if !score.is_finite() {
            return;
        }
        raw.strangeness = score.max(0.0);
        for input in 0..inputs {
            let (expected, share, centre, scale) =
                (said.of(0, input), said.of(1, input), said.of(2, input), said.of(3, input));
            // Far from all that it was trained on a network may expect anything.
            let expected = expected.clamp(-LINEAR_MAX, LINEAR_MAX);
            raw.expected[input] = restore(expected as f32, centre, scale);
            raw.scale[input] = scale;
            raw.parts[input] = if share.is_finite() { share.max(0.0) } else { 0.0 };
        }
    }

    fn learn(&mut self, (): &(), _: Row<'_>, _: f64) {}

    fn encode(&self, _: &mut Writer<'_>) {}

    fn decode((): &(), _: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Network)
    }
}
