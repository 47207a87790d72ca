//! What the regression sees of the past of a key.
//!
//! All but the constant are differences from the latest value: the forecast of no coefficients is that value, and a series shifted or
//! scaled is forecast the same, shifted or scaled. Long memory comes from exponentially weighted means of growing length, a bounded stand-in
//! for hundreds of lags.

use crate::bytes::{Reader, StateError, Writer};

/// Features of a row.
pub(super) const FEATURES: usize = 12;

/// Where the means are among them: of the last 4, 16, 64 and 256 rows.
pub(super) const MEANS_AT: usize = 1 + LAGS;

/// Where the season is among them: how much the shape rises until the horizon, how far it is now above the latest value, and the level of
/// residuals over 16 and over 64 rows.
pub(super) const SEASON_AT: usize = MEANS_AT + MEANS.len();

/// What the regression sees.
pub(super) type Features = [f64; FEATURES];

/// Lags beside the latest value.
const LAGS: usize = 3;

/// Lengths of the weighted means of values, rows.
const MEANS: [f64; 4] = [4.0, 16.0, 64.0, 256.0];

/// Lengths of the weighted means of residuals of the season, rows.
const LEVELS: [f64; 2] = [16.0, 64.0];

/// The latest values of a series, and its means.
#[derive(Debug, Clone, Default)]
pub(super) struct Lags {
    /// The latest value, then those before it.
    values: [f64; LAGS + 1],
    /// The latest residual of the season, where its shape is known.
    residual: Option<f64>,
    means: [f64; MEANS.len()],
    levels: [f64; LEVELS.len()],
    count: u32,
    residuals: u32,
}

impl Lags {
    /// The latest value.
    pub fn latest(&self) -> f64 {
        self.values[0]
    }

    /// The latest residual of the season.
    pub fn residual(&self) -> Option<f64> {
        self.residual
    }

    /// The level of the residuals, in the long run.
    pub fn level(&self) -> f64 {
        self.levels[LEVELS.len() - 1]
    }

    /// The mean of values, in the long run.
    pub fn mean(&self) -> f64 {
        self.means[2]
    }

    /// A row with a value; `residual`: what the season does not explain of it.
    pub fn push(&mut self, value: f64, residual: Option<f64>) {
        if self.count == 0 {
            self.values = [value; LAGS + 1];
        }
        self.shift(value, residual);
        let learn = |means: &mut [f64], lengths: &[f64], value: f64, count: u32| {
            let first = 1.0 / (f64::from(count) + 1.0);
            for (mean, length) in means.iter_mut().zip(lengths) {
                *mean += (value - *mean) * first.max(1.0 / length);
            }
        };
        learn(&mut self.means, &MEANS, value, self.count);
        self.count = self.count.saturating_add(1);
        if let Some(residual) = residual {
            learn(&mut self.levels, &LEVELS, residual, self.residuals);
            self.residuals = self.residuals.saturating_add(1);
        }
    }

    /// A row without one; `value` stands in for it among the lags, and the means learn nothing.
    pub fn shift(&mut self, value: f64, residual: Option<f64>) {
        self.values.copy_within(0..LAGS, 1);
        self.values[0] = value;
        self.residual = residual;
    }

    /// The features of the latest row; `now`, `then`: the shape of the season now and at the horizon.
    pub fn features(&self, now: Option<f64>, then: Option<f64>) -> Features {
        let mut x = [0.0; FEATURES];
        let latest = self.values[0];
        x[0] = 1.0;
        for lag in 0..LAGS {
            x[1 + lag] = self.values[1 + lag] - latest;
        }
        for (mean, x) in self.means.iter().zip(&mut x[MEANS_AT..]) {
            *x = mean - latest;
        }
        if let (Some(now), Some(then)) = (now, then) {
            let season = &mut x[SEASON_AT..];
            season[0] = then - now;
            season[1] = now - latest;
            season[2] = self.levels[0];
            season[3] = self.levels[1];
        }
        x
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        for value in self.values.iter().chain(&self.means).chain(&self.levels) {
            writer.f64(*value);
        }
        writer.u8(u8::from(self.residual.is_some()));
        writer.f64(self.residual.unwrap_or(0.0));
        writer.u32(self.count);
        writer.u32(self.residuals);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut lags = Lags::default();
        for value in lags.values.iter_mut().chain(&mut lags.means).chain(&mut lags.levels) {
            *value = reader.f64()?;
        }
        let has_residual = reader.u8()? != 0;
        let residual = reader.f64()?;
        lags.residual = has_residual.then_some(residual);
        (lags.count, lags.residuals) = (reader.u32()?, reader.u32()?);
        Ok(lags)
    }
}
