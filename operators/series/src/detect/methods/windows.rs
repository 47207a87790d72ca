//! The latest values of a key's inputs, and the levels and spreads that make them comparable: what the methods that look at whole
//! windows begin with.
//!
//! ```text
//!   row ─▶ window of raw values, an input after the other ─▶ (value − level) / spread ─▶ k-means, principal components
//!          (gaps bridged, missing values held)          └─▶ a few features an input  ─▶ forest, one class (features.rs)
//! ```
//!
//! Raw values are kept, and made comparable anew for each row, so that early rows don't stay in the units of a spread that was
//! not known yet. All arithmetic before that division is linear: values times a power of two give the same bits after it.

use super::{Row, Settings};
use crate::bytes::{Reader, StateError, Writer};

/// Values of a window at most, over all inputs.
pub(super) const VALUES_MAX: usize = 128;

/// Standard deviations up to which values count as they are; beyond, by their logarithm, so that one row in a million stands out and still
/// does not drown the window that it is in, nor what is learnt of it.
const LINEAR: f64 = 8.0;

/// Standard deviations at most, before that: those of values unlike a constant.
const FAR: f64 = 1e9;

/// Rows that levels and spreads need before they are used.
const BEGINNING_ROWS: f32 = 8.0;

/// Rows that the prior of what is usual counts for.
const PRIOR_ROWS: f32 = 64.0;

/// Multiples of what is usual at most.
const MULTIPLES_MAX: f64 = 1e6;

/// Rows over which levels and spreads are remembered.
const MEMORY_ROWS: f64 = 2000.0;

/// The standard deviation of a normal variable, in mean absolute deviations: √(π/2).
const DEVIATIONS: f64 = 1.253_314_137_315_500_3;

/// A window's shape: so many values of so many inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Inputs of a row.
    pub inputs: usize,
    /// Rows of a window.
    pub rows: usize,
}

impl Shape {
    /// Up to 32 rows, and fewer of many inputs.
    pub fn new(settings: &Settings) -> Self {
        let inputs = settings.inputs.clamp(1, 32);
        Shape { inputs, rows: (VALUES_MAX / inputs).clamp(4, 32) }
    }

    /// Values of a window.
    pub fn values(self) -> usize {
        self.inputs * self.rows
    }
}

/// Where values lie and how far they reach: exponentially weighted over [`MEMORY_ROWS`], evenly before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Values learnt, by their weights.
    seen: f32,
    mean: f64,
    /// The mean absolute deviation: unlike a standard deviation it squares nothing, and one outlier does less to it.
    spread: f64,
}

impl Level {
    /// Nothing is known.
    pub const UNKNOWN: Level = Level { seen: 0.0, mean: f64::NAN, spread: 0.0 };

    /// Learns a value; NaN teaches nothing.
    pub fn learn(&mut self, value: f64, weight: f64) {
        if value.is_nan() || weight <= 0.0 {
            return;
        }
        self.seen = (f64::from(self.seen) + weight).min(MEMORY_ROWS) as f32;
        if self.mean.is_nan() {
            self.mean = value;
            return;
        }
        let rate = (weight / f64::from(self.seen)).min(1.0);
        let half = f64::MAX / 4.0;
        let deviation = (value - self.mean).clamp(-half, half);
        self.mean += rate * deviation;
        self.spread += rate * (deviation.abs() - self.spread);
    }

    /// Whether it is of some use.
    pub fn is_known(&self) -> bool {
        self.seen >= BEGINNING_ROWS
    }

    /// The value in standard deviations from the mean, those beyond [`LINEAR`] by their logarithm. 0 while nothing is known, and for NaN.
    pub fn standard(&self, value: f64) -> f64 {
        let deviation = value - self.mean;
        if deviation == 0.0 || deviation.is_nan() {
            return 0.0;
        }
        let standard = (deviation / self.deviation()).clamp(-FAR, FAR);
        if standard.abs() <= LINEAR {
            return standard;
        }
        (LINEAR * (1.0 + libm::log(standard.abs() / LINEAR))).copysign(standard)
    }

    /// The value that is so many standard deviations from the mean.
    pub fn value(&self, standard: f64) -> f64 {
        (self.mean + standard * self.deviation()).clamp(-f64::MAX, f64::MAX)
    }

    /// The mean; NaN while nothing is known.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation.
    pub fn deviation(&self) -> f64 {
        DEVIATIONS * self.spread
    }

    /// Appends the state's bytes.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.f32(self.seen);
        writer.f64(self.mean);
        writer.f64(self.spread);
    }

    /// What [`Level::encode`] wrote.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let level = Level { seen: reader.f32()?, mean: reader.f64()?, spread: reader.f64()? };
        let sound = (0.0..=MEMORY_ROWS as f32).contains(&level.seen)
            && !level.mean.is_infinite()
            && (0.0..=f64::MAX / 2.0).contains(&level.spread);
        if sound { Ok(level) } else { Err(damaged("a level", level)) }
    }
}

/// The latest rows of a key.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    shape: Shape,
    /// The rows of an input, oldest first, then those of the next; before the first they are like it, and NaN before that is known.
    values: Vec<f64>,
    levels: Vec<Level>,
}

impl Windows {
    /// No rows yet.
    pub fn new(shape: Shape) -> Self {
        Windows { shape, values: vec![f64::NAN; shape.values()], levels: vec![Level::UNKNOWN; shape.inputs] }
    }

    /// Whether there are rows enough to speak of levels.
    pub fn is_begun(&self) -> bool {
        self.levels.iter().any(Level::is_known)
    }

    /// The level of an input.
    pub fn level(&self, input: usize) -> &Level {
        &self.levels[input]
    }

    /// The window that ends with a row, in raw values, into the first places of `out`. A short gap is bridged by a straight line (a long
    /// one is no part of the series: its ends are taken as neighbours), and a value that is missing is the one before it.
    pub fn raw_with(&self, row: Row<'_>, out: &mut [f64; VALUES_MAX]) {
        let rows = self.shape.rows;
        let bridged = if row.missed as usize > rows / 4 { 0 } else { row.missed as usize };
        let steps = bridged + 1;
        for input in 0..self.shape.inputs {
            let from = input * rows;
            let (old, new) = (&self.values[from..from + rows], &mut out[from..from + rows]);
            let before = old[rows - 1];
            let value = row.values.get(input).copied().unwrap_or(f64::NAN);
            let now = if value.is_nan() { before } else { value };
            if before.is_nan() {
                new.fill(now);
                continue;
            }
            new[..rows - steps].copy_from_slice(&old[steps..]);
            for (step, place) in new[rows - steps..rows - 1].iter_mut().enumerate() {
                let share = (step + 1) as f64 / steps as f64;
                *place = before * (1.0 - share) + now * share;
            }
            new[rows - 1] = now;
        }
    }

    /// The window that ends with a row, in standard deviations from its inputs' levels, into the first places of `out`.
    pub fn standard_with(&self, row: Row<'_>, out: &mut [f64; VALUES_MAX]) {
        self.raw_with(row, out);
        for (input, level) in self.levels.iter().enumerate() {
            let from = input * self.shape.rows;
            out[from..from + self.shape.rows].iter_mut().for_each(|value| *value = level.standard(*value));
        }
    }

    /// Takes a row in, and learns the levels.
    pub fn push(&mut self, row: Row<'_>, weight: f64) {
        let mut next = [0.0; VALUES_MAX];
        self.raw_with(row, &mut next);
        self.values.copy_from_slice(&next[..self.shape.values()]);
        for (level, value) in self.levels.iter_mut().zip(row.values) {
            level.learn(*value, weight);
        }
    }

    /// Appends the state's bytes.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.values.iter().for_each(|value| writer.f64(*value));
        self.levels.iter().for_each(|level| level.encode(writer));
    }

    /// What [`Windows::encode`] wrote for the same shape.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(shape: Shape, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let values = (0..shape.values()).map(|_| reader.f64()).collect::<Result<Vec<_>, _>>()?;
        if let Some(value) = values.iter().find(|value| value.is_infinite()) {
            return Err(damaged("a value", value));
        }
        let levels = (0..shape.inputs).map(|_| Level::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Windows { shape, values, levels })
    }
}

/// A measure in multiples of what is usual of it, so that early and late rows compare. It begins with what is usual of most series: the first
/// change of a series that has been constant for an hour is not as strange as one after a month.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual(Level);

impl Usual {
    /// What is usual of most series counts for so many rows.
    pub const fn new(prior: f64) -> Self {
        Usual(Level { seen: PRIOR_ROWS, mean: prior, spread: 0.0 })
    }

    /// The measure, 0 and up, over its mean.
    pub fn multiple(&self, measure: f64) -> f64 {
        if measure > 0.0 { (measure / self.0.mean).min(MULTIPLES_MAX) } else { 0.0 }
    }

    /// Learns a measure.
    pub fn learn(&mut self, measure: f64, weight: f64) {
        self.0.learn(measure, weight);
    }

    /// Appends the state's bytes.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.0.encode(writer);
    }

    /// What [`Usual::encode`] wrote.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        match Level::decode(reader)? {
            level if level.mean.is_nan() || level.mean < 0.0 => Err(damaged("what is usual", level)),
            level => Ok(Usual(level)),
        }
    }
}

/// So many floats of 4 bytes.
///
/// # Errors
/// Too few bytes; a value that is not finite.
pub(super) fn floats(count: usize, reader: &mut Reader<'_>) -> Result<Vec<f32>, StateError> {
    let values = (0..count).map(|_| reader.f32()).collect::<Result<Vec<_>, _>>()?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(damaged("a value", value)),
        None => Ok(values),
    }
}

/// The error of a value that no state has.
pub(super) fn damaged(what: &str, value: impl std::fmt::Debug) -> StateError {
    StateError::Damaged { what: format!("{what} of {value:?}") }
}
