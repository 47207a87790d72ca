//! Whether a threshold is reached on the way to a horizon, and when.
//!
//! The event is about the highest (or lowest) value of the whole path, so errors of single steps do not answer it: they depend on one
//! another. What is kept is the joint error of the path where it matters: how far the highest value of each past path lay above the highest
//! value of the path that was expected, in units of the horizon's usual error. The share of these that would carry the path expected now
//! over the threshold is the probability: a conformal predictive distribution of the extreme (Vovk, Shen, Manokhin & Xie 2017). What was
//! said of past paths is then compared with what came, and probabilities near the same are corrected by the difference.

use crate::bytes::{Reader, StateError, Writer};

use super::errors::Errors;
use super::horizon::in_units;

/// Points of a path at most.
pub(super) const POINTS: usize = 16;

/// How far a path went, and was expected to go, both above its base.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    highest: f32,
    lowest: f32,
    expected_highest: f32,
    expected_lowest: f32,
    /// The same over the first quarter.
    quarter_highest: f32,
    quarter_lowest: f32,
    /// How far the threshold lies above the base.
    threshold: f32,
    /// The probability of reaching it, before correction; NaN: nothing was said.
    chance: f32,
    /// Whether no row on it was missing.
    is_whole: bool,
}

impl Default for Reach {
    fn default() -> Self {
        Reach {
            highest: f32::NEG_INFINITY,
            lowest: f32::INFINITY,
            expected_highest: 0.0,
            expected_lowest: 0.0,
            quarter_highest: 0.0,
            quarter_lowest: 0.0,
            threshold: 0.0,
            chance: f32::NAN,
            is_whole: true,
        }
    }
}

impl Reach {
    /// What is expected of a path.
    pub fn expected(path: &Path, base: f64, threshold: f64, chance: f64) -> Self {
        let extremes = |count: usize| {
            let values = path.points[..count].iter().map(|(_, value)| value - base);
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (lowest, highest) = extremes(path.count);
        let (quarter_lowest, quarter_highest) = extremes((path.count / 4).max(1));
        Reach {
            expected_highest: highest as f32,
            expected_lowest: lowest as f32,
            quarter_highest: quarter_highest as f32,
            quarter_lowest: quarter_lowest as f32,
            threshold: (threshold - base) as f32,
            chance: chance as f32,
            ..Reach::default()
        }
    }

    /// Whether the threshold was reached.
    fn is_reached(&self) -> bool {
        if self.threshold >= 0.0 { self.highest >= self.threshold } else { self.lowest <= self.threshold }
    }

    /// A row on the path, above its base; `None`: it is missing.
    pub fn pass(&mut self, value: Option<f64>) {
        match value {
            Some(value) => {
                self.highest = self.highest.max(value as f32);
                self.lowest = self.lowest.min(value as f32);
            }
            None => self.is_whole = false,
        }
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        let Reach { highest, lowest, expected_highest, expected_lowest, is_whole, .. } = *self;
        let Reach { quarter_highest, quarter_lowest, threshold, chance, .. } = *self;
        for value in [highest, lowest, expected_highest, expected_lowest] {
            writer.f32(value);
        }
        for value in [quarter_highest, quarter_lowest, threshold, chance] {
            writer.f32(value);
        }
        writer.u8(u8::from(is_whole));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Reach {
            highest: reader.f32()?,
            lowest: reader.f32()?,
            expected_highest: reader.f32()?,
            expected_lowest: reader.f32()?,
            quarter_highest: reader.f32()?,
            quarter_lowest: reader.f32()?,
            threshold: reader.f32()?,
            chance: reader.f32()?,
            is_whole: reader.u8()? != 0,
        })
    }
}

/// The path that is expected: points (rows ahead, value), the last at the horizon.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    points: [(f64, f64); POINTS],
    count: usize,
}

impl Path {
    /// A path of `steps` rows from `base` to `end`. What now differs from the season fades as `persistence` says, a row (0: at once; 1:
    /// evenly until the end); `season`: its shape so many rows ahead, as far as the forecast goes by it.
    pub fn new(
        steps: u64,
        base: f64,
        end: f64,
        persistence: f64,
        season: impl Fn(u64) -> Option<f64>,
    ) -> Self {
        let count = steps.min(POINTS as u64);
        let (now, then) = season(0).zip(season(steps)).unwrap_or((0.0, 0.0));
        let (from, to) = (base - now, end - then);
        let persistence = persistence.clamp(0.0, 0.9999);
        let last = libm::pow(persistence, steps as f64);
        let mut path = Path { points: [(0.0, 0.0); POINTS], count: count as usize };
        for (place, point) in path.points[..count as usize].iter_mut().zip(1..) {
            let ahead = (point * steps).div_ceil(count);
            let left = (libm::pow(persistence, ahead as f64) - last) / (1.0 - last);
            *place = (ahead as f64, season(ahead).unwrap_or(then) + to + (from - to) * left);
        }
        path
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points[..self.count].iter().map(|(_, value)| *value)
    }
}

/// How likely a threshold is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance {
    /// As past errors have it.
    pub raw: f64,
    /// As it is said.
    pub corrected: f64,
    /// After how many rows, if it is as likely as not.
    pub after: Option<f64>,
}

/// Past errors of the highest and the lowest values of paths.
#[derive(Debug, Clone)]
pub(super) struct Crossing {
    highest: Errors,
    /// Turned around: positive is lower than expected.
    lowest: Errors,
    /// By probability, in steps of a tenth: Σ of (1 if reached, else 0) − probability, and how many, with forgetting.
    record: [(f32, f32); BINS],
    /// Σ of the sizes of errors over a quarter of the way and over all of it, with forgetting: how spread grows.
    growth: (f64, f64),
}

/// How many rows a quarter of the way is; `None` for ways of less than four.
pub(super) fn quarter(steps: u64) -> Option<u64> {
    let count = steps.min(POINTS as u64);
    (count >= 4).then(|| (count / 4 * steps).div_ceil(count))
}

/// Probabilities that are corrected together.
const BINS: usize = 10;

/// Independent paths of a bin that weigh in.
const MEMORY: f64 = 64.0;

/// Independent paths that weigh against what past ones show.
const PRIOR: f64 = 2.0;

impl Crossing {
    pub fn new() -> Self {
        Crossing {
            highest: Errors::new(),
            lowest: Errors::new(),
            record: [(0.0, 0.0); BINS],
            growth: (0.0, 0.0),
        }
    }

    /// Learns what came of a path; `scale`: the usual error, `keep`: how much older ones count from now on, `overlap`: how many paths make
    /// an independent one.
    pub fn learn(&mut self, reach: &Reach, scale: f64, keep: f64, overlap: f64) {
        if reach.is_whole {
            let above = f64::from(reach.highest) - f64::from(reach.expected_highest);
            let below = f64::from(reach.expected_lowest) - f64::from(reach.lowest);
            self.highest.learn(in_units(above, scale), keep);
            self.lowest.learn(in_units(below, scale), keep);
            self.score(reach, overlap);
            if scale > 0.0 {
                self.growth.0 *= keep;
                self.growth.1 = self.growth.1 * keep + (above.abs() + below.abs()) / scale;
            }
        }
    }

    /// Learns how far a path went on a quarter of its way.
    pub fn learn_quarter(&mut self, reach: &Reach, scale: f64) {
        if reach.is_whole && scale > 0.0 {
            let above = f64::from(reach.highest) - f64::from(reach.quarter_highest);
            let below = f64::from(reach.quarter_lowest) - f64::from(reach.lowest);
            self.growth.0 += (above.abs() + below.abs()) / scale;
        }
    }

    /// The power of the way done that spread grows with: 1/2, as of sums of errors, until past paths show another.
    fn power(&self, overlap: f64) -> f64 {
        let prior = PRIOR * overlap;
        let quarter = (self.growth.0 + prior / 2.0) / (self.growth.1 + prior);
        (-libm::log2(quarter) / 2.0).clamp(0.0, 1.0)
    }

    /// Compares what was said of a path with what came.
    fn score(&mut self, reach: &Reach, overlap: f64) {
        if reach.chance.is_nan() {
            return;
        }
        let keep = (1.0 - 1.0 / (MEMORY * overlap)) as f32;
        let bin = (reach.chance * BINS as f32) as usize;
        let (differs, count) = &mut self.record[bin.min(BINS - 1)];
        *differs = *differs * keep + f32::from(u8::from(reach.is_reached())) - reach.chance;
        *count = *count * keep + 1.0;
    }

    /// A probability, corrected by what came of paths with one near it.
    fn corrected(&self, chance: f64, overlap: f64) -> f64 {
        let place = (chance * BINS as f64 - 0.5).clamp(0.0, (BINS - 1) as f64);
        let low = (place as usize).min(BINS - 2);
        let differs = |bin: usize| {
            let (differs, count) = self.record[bin];
            f64::from(differs) / (f64::from(count) + PRIOR * overlap)
        };
        let share = place - low as f64;
        (chance + differs(low) * (1.0 - share) + differs(low + 1) * share).clamp(0.0, 1.0)
    }

    /// The probability that the path reaches the threshold from the side of `base`, as it is said and before correction, and after how many
    /// rows it most likely does, where that is as likely as not.
    pub fn chance(&self, path: &Path, base: f64, scale: f64, threshold: f64, overlap: f64) -> Chance {
        let rises = base <= threshold;
        let (errors, side) = if rises { (&self.highest, 1.0) } else { (&self.lowest, -1.0) };
        let mut extreme = f64::NEG_INFINITY;
        for value in path.values() {
            extreme = extreme.max(side * value);
        }
        let lacking = side * threshold - extreme;
        let raw = errors.share_from(in_units(lacking, scale));
        let mut chance = Chance { raw, corrected: self.corrected(raw, overlap), after: None };
        if chance.corrected < 0.5 {
            return chance;
        }
        let middle = scale * errors.quantile(0.5);
        let power = self.power(overlap);
        let steps = path.points[path.count - 1].0;
        let mut before = (0.0, side * (base - threshold));
        let mut extreme = f64::NEG_INFINITY;
        for (ahead, value) in &path.points[..path.count] {
            extreme = extreme.max(side * value);
            let beyond = extreme + middle * libm::pow(ahead / steps, power) - side * threshold;
            if beyond >= 0.0 {
                let share = if beyond > before.1 { -before.1 / (beyond - before.1) } else { 1.0 };
                let after = before.0 + (ahead - before.0) * share.clamp(0.0, 1.0);
                chance.after = Some(after.ceil().max(1.0));
                return chance;
            }
            before = (*ahead, beyond);
        }
        chance.after = Some(steps);
        chance
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.highest.encode(writer);
        self.lowest.encode(writer);
        for (differs, count) in self.record {
            writer.f32(differs);
            writer.f32(count);
        }
        writer.f64(self.growth.0);
        writer.f64(self.growth.1);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let (highest, lowest) = (Errors::decode(reader)?, Errors::decode(reader)?);
        let mut crossing = Crossing { highest, lowest, record: [(0.0, 0.0); BINS], growth: (0.0, 0.0) };
        for (differs, count) in &mut crossing.record {
            (*differs, *count) = (reader.f32()?, reader.f32()?);
        }
        crossing.growth = (reader.f64()?, reader.f64()?);
        Ok(crossing)
    }
}
