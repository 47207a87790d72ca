//! What all methods have in common: they score a row against the key's past, then are told how much of it to learn.
//!
//! A method knows nothing of p-values, alarms or classes: it says how strange a row is on a scale of its own, and calibration makes
//! probabilities of that. It need not be robust beyond what its mathematics gives it, since rows that stand out come back
//! with a small weight, or not at all.

pub(crate) mod ar;
pub(crate) mod cusum;
pub(crate) mod each;
pub(crate) mod ewma;
mod features;
pub(crate) mod forest;
pub(crate) mod kmeans;
pub(crate) mod network;
pub(crate) mod one_class;
pub(crate) mod pca;
pub(crate) mod quartiles;
pub(crate) mod seasonal;
#[cfg(test)]
mod trials;
mod windows;

use crate::bytes::{Reader, StateError, Writer};

/// What all keys of a detector share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Values of a row, at least one.
    pub inputs: usize,
    /// Microseconds between rows, where that is configured.
    pub interval_us: Option<i64>,
    /// Microseconds of the season, where that is configured.
    pub season_us: Option<i64>,
}

/// A row as methods see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// One value an input, as it came (increments where the input is a counter), of any size but finite; NaN: missing. Never all missing.
    pub values: &'a [f64],
    /// What a network says of it; nothing where none is asked.
    pub said: &'a [f64],
    /// How many rows are missing before this one; 0 in the ordinary case.
    pub missed: u32,
    /// Event time by the clock of the season, microseconds since the epoch.
    pub local_us: i64,
}

/// How strange a row is, before calibration. Made once and filled again for each row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    /// 0 and up, growing with strangeness, about the same for ordinary rows early and late; NaN: too little has been seen.
    /// Of no unit: a series times a constant scores the same.
    pub strangeness: f64,
    /// What each input was expected to be, in its unit; NaN: nothing is expected.
    pub expected: Vec<f64>,
    /// The standard deviation of what is ordinary about it, robustly estimated, in its unit; NaN as above.
    pub scale: Vec<f64>,
    /// How much each input adds to the strangeness, 0 and up, in any common unit (0 for a missing one).
    pub parts: Vec<f64>,
}

impl Raw {
    /// Empties it, for so many inputs.
    pub fn clear(&mut self, inputs: usize) {
        self.strangeness = f64::NAN;
        for (list, nothing) in
            [(&mut self.expected, f64::NAN), (&mut self.scale, f64::NAN), (&mut self.parts, 0.0)]
        {
            list.clear();
            list.resize(inputs, nothing);
        }
    }
}

/// A way to measure strangeness: the state of one key.
///
/// What is configured once, or large and the same for all keys (random projections), is [`Scorer::Shared`].
pub(crate) trait Scorer: Sized + Clone + std::fmt::Debug {
    /// Whether strangeness is a mean of many things, of which large values are as rare as those of a mean; else their rarity is taken to
    /// go on as a power, as that of single things does.
    const IS_MEAN: bool = false;

    /// What all keys share; derived from the settings alone, with fixed seeds.
    type Shared: std::fmt::Debug;

    /// What all keys are to share.
    fn shared(settings: &Settings) -> Self::Shared;

    /// What is known before the first row.
    fn begin(shared: &Self::Shared) -> Self;

    /// Scores a row against the rows before it, into `raw`, which comes cleared. Changes nothing that a later score
    /// depends on (`&mut` is for scratch space).
    fn score(&mut self, shared: &Self::Shared, row: Row<'_>, raw: &mut Raw);

    /// Learns from the row that was just scored: `weight` in 0 ..= 1, where 1 is an ordinary row, and 0 one that is to change
    /// nothing but what must follow the series (the window of latest values). Called after each `score`, once.
    fn learn(&mut self, shared: &Self::Shared, row: Row<'_>, weight: f64);

    /// Appends the state's bytes, all that `score` and `learn` depend on.
    fn encode(&self, writer: &mut Writer<'_>);

    /// The state that [`Scorer::encode`] wrote.
    ///
    /// # Errors
    /// Bytes that are none.
    fn decode(shared: &Self::Shared, reader: &mut Reader<'_>) -> Result<Self, StateError>;
}
