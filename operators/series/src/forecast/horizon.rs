//! One horizon of one key: its regression, its past errors, and the forecasts whose outcome is still open.
//!
//! ```text
//!   origin t ──▶ forecast of t + h ──▶ open until row t + h ──▶ its error teaches: regression, trust in it, errors, levels of quantiles
//! ```
//!
//! A long horizon would have many open forecasts, nearly the same ones from row to row. So at most [`OPEN_MAX`] are open, evenly spaced:
//! every row is forecast from, some are learnt from.

use crate::bytes::{Reader, StateError, Writer};

use super::crossing::{Chance, Crossing, Path, Reach, quarter};
use super::errors::Errors;
use super::lags::{FEATURES, Features};
use super::ridge::{Expected, Ridge};

/// Open forecasts of a horizon at most.
const OPEN_MAX: u64 = 16;

/// Forecasts with known outcome that weigh in, in the regression.
const MEMORY_RIDGE: f64 = 2048.0;

/// The same of the distribution of errors, in units of their usual size.
const MEMORY_ERRORS: f64 = 1024.0;

/// The same of that size.
const MEMORY_SIZE: f64 = 256.0;

/// Errors beyond so many times the usual one weigh less in the regression (Huber 1964).
const OUTLIER: f64 = 6.0;

/// The weight of the belief that volatility foretells nothing, in squares of its swings.
const SWING_PRIOR: f64 = 2.0;

/// Errors that must be known before anything is said, beside those of one whole horizon.
const ERRORS_MIN: f64 = 10.0;

/// How fast levels of quantiles adapt, a known error.
const ADAPT: f64 = 0.01;

/// A forecast whose outcome is open.
#[derive(Debug, Clone, Copy, Default)]
struct Origin {
    is_open: bool,
    /// The value that it starts from.
    base: f64,
    /// What was forecast, above the base.
    forecast: f32,
    /// What the plain forecast and the regression said, above the base.
    plain: f32,
    ridge: f32,
    /// The size of errors that was expected; 0 if nothing was known of it.
    scale: f32,
    /// How volatile the series was.
    volatility: f32,
    x: [f32; FEATURES],
    reach: Reach,
}

/// One horizon of one key.
#[derive(Debug, Clone)]
pub(super) struct Horizon {
    /// How far ahead, rows.
    pub steps: u64,
    /// Every how many rows a forecast is learnt from.
    stride: u64,
    ridge: Ridge,
    /// Of what the regression differs by from the plain forecast: Σ of its products with what the outcome differs by, and of its squares,
    /// with forgetting. They say how far it is to be trusted.
    trust: (f64, f64),
    /// Σ of absolute errors relative to the volatility, and how many, with forgetting.
    size: (f64, f64),
    /// Σ of (relative error − 1) × (volatility − 1) and of (volatility − 1)², with forgetting: how far volatility foretells errors.
    swing: (f64, f64),
    /// Σ of products of neighbouring errors and of their squares, with forgetting, and the latest: how far errors repeat each other.
    repeat: (f64, f64, f64),
    /// How many errors are known.
    known: u64,
    errors: Errors,
    /// At which levels quantiles are taken.
    levels: Vec<f64>,
    open: Vec<Origin>,
    /// Quantiles of open forecasts, above what was forecast.
    open_quantiles: Vec<f32>,
    crossing: Option<Crossing>,
}

/// What is forecast from.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    /// Rows of the key before it, missing ones too.
    pub step: u64,
    /// The latest value.
    pub base: f64,
    /// How volatile the series is now, relative to the long run.
    pub volatility: f64,
    /// Rows since one had a value; 0: this one has.
    pub missing: u64,
}

/// What is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// What is expected, above the latest value.
    pub ahead: f64,
    /// What the plain forecast and the regression alone expect, above it.
    plain: f64,
    ridge: f64,
    /// The usual size of errors.
    pub scale: f64,
}

impl Horizon {
    pub fn new(steps: u64, quantiles: &[f64], has_threshold: bool) -> Self {
        let stride = steps.div_ceil(OPEN_MAX);
        let open = steps.div_ceil(stride) as usize;
        Horizon {
            steps,
            stride,
            ridge: Ridge::new(),
            trust: (0.0, 0.0),
            size: (0.0, 0.0),
            swing: (0.0, 0.0),
            repeat: (0.0, 0.0, 0.0),
            known: 0,
            errors: Errors::new(),
            levels: quantiles.to_vec(),
            open: vec![Origin::default(); open],
            open_quantiles: vec![0.0; open * quantiles.len()],
            crossing: has_threshold.then(Crossing::new),
        }
    }

    /// How many forecasts that are learnt from overlap, so that only one of them is independent.
    fn overlap(&self) -> f64 {
        self.open.len() as f64
    }

    fn slot(&self, step: u64) -> Option<usize> {
        step.is_multiple_of(self.stride).then(|| (step / self.stride) as usize % self.open.len())
    }

    /// Takes the row at `step`: it is the outcome of a forecast, and on the way to others. `None`: it is missing.
    pub fn settle(&mut self, step: u64, value: Option<f64>, quantiles: &[f64]) {
        let back = |rows: u64| step.checked_sub(rows).and_then(|from| self.slot(from));
        let (quarter, due) = (quarter(self.steps).and_then(back), back(self.steps));
        if let Some(crossing) = &mut self.crossing {
            for origin in self.open.iter_mut().filter(|origin| origin.is_open) {
                origin.reach.pass(value.map(|value| value - origin.base));
            }
            if let Some(origin) = quarter.map(|slot| self.open[slot]).filter(|origin| origin.is_open) {
                crossing.learn_quarter(&origin.reach, f64::from(origin.scale));
            }
        }
        let Some(slot) = due else { return };
        let origin = self.open[slot];
        self.open[slot].is_open = false;
        let Some(value) = value.filter(|_| origin.is_open) else { return };
        self.learn(slot, &origin, value - origin.base, quantiles);
    }

    /// Learns from a forecast and its outcome, above its base.
    fn learn(&mut self, slot: usize, origin: &Origin, outcome: f64, quantiles: &[f64]) {
        let error = outcome - f64::from(origin.forecast);
        let scale = match self.usual() {
            Some(usual) if origin.scale == 0.0 => usual * self.swell(f64::from(origin.volatility)),
            Some(_) => f64::from(origin.scale),
            None => error.abs(),
        };
        self.learn_outcome(origin, outcome, if scale > 0.0 { OUTLIER * scale } else { f64::INFINITY });
        self.learn_size(f64::from(origin.volatility), error);
        self.known += 1;
        let keep = 1.0 - 1.0 / MEMORY_ERRORS;
        self.errors.learn(in_units(error, scale), keep);
        let overlap = self.overlap();
        if let Some(crossing) = &mut self.crossing {
            crossing.learn(&origin.reach, scale, keep, overlap);
        }
        if self.has_errors() && origin.scale > 0.0 {
            self.adapt(slot, error, quantiles);
        }
    }

    /// The regression, and how far it is to be trusted; errors beyond `outlier` weigh less.
    fn learn_outcome(&mut self, origin: &Origin, outcome: f64, outlier: f64) {
        let keep = 1.0 - 1.0 / MEMORY_RIDGE;
        let x = origin.x.map(f64::from);
        let error = (outcome - f64::from(origin.forecast)).abs();
        let weight = if error > outlier { outlier / error } else { 1.0 } * self.ridge.trust(&x);
        self.ridge.learn(&x, outcome, weight, keep, self.overlap());
        let plain = f64::from(origin.plain);
        let differs = f64::from(origin.ridge) - plain;
        self.trust.0 = self.trust.0 * keep + weight * (outcome - plain) * differs;
        self.trust.1 = self.trust.1 * keep + weight * differs * differs;
    }

    /// The usual size of errors, how it goes with the volatility, and how far errors repeat each other.
    fn learn_size(&mut self, volatility: f64, error: f64) {
        let (keep, keep_swing) = (1.0 - 1.0 / MEMORY_SIZE, 1.0 - 1.0 / MEMORY_RIDGE);
        let swell = self.swell(volatility);
        if let Some(usual) = self.usual().filter(|usual| *usual > 0.0) {
            let (size, volatility) = ((error.abs() / usual).min(OUTLIER) - 1.0, volatility - 1.0);
            self.swing.0 = self.swing.0 * keep_swing + size * volatility;
            self.swing.1 = self.swing.1 * keep_swing + volatility * volatility;
        }
        self.size.0 = self.size.0 * keep + error.abs() / swell;
        self.size.1 = self.size.1 * keep + 1.0;
        let before = self.repeat.2;
        self.repeat.0 = self.repeat.0 * keep + error * before;
        self.repeat.1 = self.repeat.1 * keep + error * error;
        self.repeat.2 = error;
    }

    /// Raises the level of each quantile that was passed too often, and lowers those of others (Gibbs & Candès 2021, equation 2), by what was
    /// said at the time.
    fn adapt(&mut self, slot: usize, error: f64, quantiles: &[f64]) {
        let count = quantiles.len();
        let said = &self.open_quantiles[slot * count..][..count];
        for ((level, quantile), said) in self.levels.iter_mut().zip(quantiles).zip(said) {
            let said = f64::from(*said);
            let is_below = if *quantile < 0.5 { error < said } else { error <= said };
            *level += ADAPT * (quantile - f64::from(u8::from(is_below)));
            *level = level.clamp(-0.5, 1.5);
        }
    }

    /// How errors grow with the volatility, as far as it has foretold them: 1 for that of the long run.
    fn swell(&self, volatility: f64) -> f64 {
        let (both, square) = self.swing;
        let share = both / (square + SWING_PRIOR);
        (1.0 + share.clamp(0.0, 1.0) * (volatility - 1.0)).max(0.1)
    }

    /// How many known errors make an independent one, as far as they show.
    fn repeats(&self) -> f64 {
        let (both, square, _) = self.repeat;
        let overlap = self.overlap();
        let mean = square / (self.known as f64).clamp(1.0, MEMORY_SIZE);
        let prior = overlap * mean;
        let alike = (both + prior * (1.0 - 1.0 / overlap)) / (square + prior);
        if alike.is_finite() { ((1.0 + alike) / (1.0 - alike)).clamp(1.0, overlap) } else { overlap }
    }

    /// The usual size of errors at the volatility of the long run.
    fn usual(&self) -> Option<f64> {
        (self.size.1 > 0.0).then(|| self.size.0 / self.size.1)
    }

    /// Whether enough errors are known to say something.
    pub fn has_errors(&self) -> bool {
        self.known as f64 >= ERRORS_MIN + self.overlap() - 1.0
    }

    /// Forecasts from a row.
    pub fn look(&self, from: From, x: &Features) -> Said {
        let Expected { ridge, plain } = self.ridge.predict(x);
        let late = 1.0 + from.missing as f64 / self.steps as f64;
        let scale = self.usual().unwrap_or(0.0) * self.swell(from.volatility) * late.sqrt();
        Said { ahead: plain + (ridge - plain) * self.trusted(), plain, ridge, scale }
    }

    /// Keeps a forecast in mind until its outcome is known, if it is one to learn from; `reach`: what is expected of its path.
    pub fn remember(&mut self, from: From, x: &Features, said: Said, reach: Option<Reach>) {
        let Some(slot) = self.slot(from.step).filter(|_| from.missing == 0) else { return };
        self.open[slot] = Origin {
            is_open: true,
            base: from.base,
            forecast: said.ahead as f32,
            plain: said.plain as f32,
            ridge: said.ridge as f32,
            scale: said.scale as f32,
            volatility: from.volatility as f32,
            x: x.map(|x| x as f32),
            reach: reach.unwrap_or_default(),
        };
        let spread = said.scale * self.caution();
        let count = self.levels.len();
        let quantiles = &mut self.open_quantiles[slot * count..][..count];
        for (quantile, level) in quantiles.iter_mut().zip(&self.levels) {
            *quantile = (spread * self.errors.quantile(*level)) as f32;
        }
    }

    /// The share of the regression's forecast that has proved right, as far as past outcomes show: their regression on it, penalised.
    fn trusted(&self) -> f64 {
        let (both, square) = self.trust;
        let rows = (self.known as f64).clamp(1.0, MEMORY_ERRORS);
        let share = both / (square * (1.0 + 2.0 * self.overlap() / rows));
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// How much wider intervals are than past errors, as few of these are independent: near the ratio of an interval for one more of n
    /// normal values with unknown mean and variance, t₍ₙ₋₁₎ √(1 + 1/n), to one with known ones.
    fn caution(&self) -> f64 {
        let inverse = self.repeats() / (self.known as f64).clamp(1.0, MEMORY_ERRORS);
        1.0 + 1.5 * inverse + 5.0 * inverse * inverse
    }

    /// Puts quantiles of the error in, ascending.
    pub fn quantiles(&self, said: Said, quantiles: &mut Vec<f64>) {
        let spread = said.scale * self.caution();
        quantiles.clear();
        quantiles.extend(self.levels.iter().map(|level| spread * self.errors.quantile(*level)));
        quantiles.sort_unstable_by(f64::total_cmp);
    }

    /// How far the forecast goes by the season's shape, 0 to 1.
    pub fn by_season(&self) -> f64 {
        self.ridge.by_season()
    }

    /// How likely the expected path reaches the threshold, and what to keep in mind of it; `None` where no threshold is.
    pub fn chance(&self, path: &Path, from: From, said: Said, threshold: f64) -> Option<(Chance, Reach)> {
        let crossing = self.crossing.as_ref()?;
        let chance = crossing.chance(path, from.base, said.scale, threshold, self.overlap());
        let raw = if self.has_errors() { chance.raw } else { f64::NAN };
        Some((chance, Reach::expected(path, from.base, threshold, raw)))
    }

    /// Forgets forecasts whose outcome is open.
    pub fn close(&mut self) {
        self.open.iter_mut().for_each(|origin| origin.is_open = false);
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.ridge.encode(writer);
        let pairs = [self.trust, self.size, self.swing, (self.repeat.0, self.repeat.1)];
        for (first, second) in pairs {
            writer.f64(first);
            writer.f64(second);
        }
        writer.f64(self.repeat.2);
        writer.u64(self.known);
        self.errors.encode(writer);
        self.levels.iter().for_each(|level| writer.f64(*level));
        for origin in &self.open {
            writer.u8(u8::from(origin.is_open));
            writer.f64(origin.base);
            let values = [origin.forecast, origin.plain, origin.ridge, origin.scale, origin.volatility];
            for value in values.iter().chain(&origin.x) {
                writer.f32(*value);
            }
            origin.reach.encode(writer);
        }
        self.open_quantiles.iter().for_each(|value| writer.f32(*value));
        if let Some(crossing) = &self.crossing {
            crossing.encode(writer);
        }
    }

    pub fn decode(
        reader: &mut Reader<'_>,
        steps: u64,
        quantiles: &[f64],
        has_threshold: bool,
    ) -> Result<Self, StateError> {
        let mut horizon = Horizon::new(steps, quantiles, has_threshold);
        horizon.ridge = Ridge::decode(reader)?;
        horizon.trust = (reader.f64()?, reader.f64()?);
        horizon.size = (reader.f64()?, reader.f64()?);
        horizon.swing = (reader.f64()?, reader.f64()?);
        horizon.repeat = (reader.f64()?, reader.f64()?, reader.f64()?);
        horizon.known = reader.u64()?;
        horizon.errors = Errors::decode(reader)?;
        for level in &mut horizon.levels {
            *level = reader.f64()?;
        }
        for origin in &mut horizon.open {
            origin.is_open = reader.u8()? != 0;
            origin.base = reader.f64()?;
            let Origin { forecast, plain, ridge, scale, volatility, x, .. } = origin;
            for value in [forecast, plain, ridge, scale, volatility].into_iter().chain(x) {
                *value = reader.f32()?;
            }
            origin.reach = Reach::decode(reader)?;
        }
        for value in &mut horizon.open_quantiles {
            *value = reader.f32()?;
        }
        if has_threshold {
            horizon.crossing = Some(Crossing::decode(reader)?);
        }
        Ok(horizon)
    }
}

/// An error in units of the usual one; far out if that is 0.
pub(super) fn in_units(error: f64, scale: f64) -> f64 {
    if error == 0.0 {
        0.0
    } else if scale > 0.0 {
        error / scale
    } else {
        f64::INFINITY.copysign(error)
    }
}
