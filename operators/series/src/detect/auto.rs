//! The method `auto`: nine views of one input, each of which knows how rare what it sees is.
//!
//! ```text
//!                 ┌ value, step                        ┐
//!   value ─season─┤ autoregressive residual            ├─▶ z ─▶ rarity −ln p ─▶ strangeness: the sum of squares
//!                 │ changes of level over 8, 32, 128   │
//!                 └ spread over 8, 32, 128 rows        ┘
//!                 ┌ autoregressive residual  (SPIKE)   ┐
//!                 ┤ level over 8 rows        (DRIFT)   ├─▶ rarity −ln p ─▶ alarms
//!                 └ level over 64 rows       (TREND)   ┘
//! ```
//!
//! A sum of −ln p is how Fisher combined tests (Statistical methods for research workers, 1925); squared, one view that is sure weighs more than
//! many that wonder. Alarms see the level through deviations cut at three standard deviations, so that one spike moves no level.

use super::Class;
use super::fields::Fields;
use super::numbers::{from_quarter_octaves, gain, in_deviations, ln, quarter_octaves, rounding};
use super::rls::{LAGS, Rls};
use super::season::{Phase, Season};
use super::tail::Tail;
use crate::bytes::StateError;

/// Views of an input that make up its strangeness.
const VIEWS: usize = 9;
const VALUE: usize = 0;
const RESIDUAL: usize = 1;
const STEP: usize = 2;
const LEVELS: usize = 3;
const SPREADS: usize = 6;

/// Rows over which short means go, and the longest that they are compared with.
const SPANS: [f64; 4] = [8.0, 32.0, 128.0, 512.0];

/// Rows that a view needs before it says anything.
const WARM: [f64; VIEWS] = [20.0, 24.0, 22.0, 28.0, 52.0, 148.0, 28.0, 52.0, 148.0];

/// Rarities that a view needs to have seen before it tells one.
const RARITIES_MIN: f64 = 30.0;

/// Rows that what is ordinary is remembered over.
const MEMORY: f64 = 2000.0;

/// Rows that the size of residuals is remembered over: it may follow the hour of the day.
const MEMORY_RESIDUALS: f64 = 400.0;

/// Ways to raise an alarm: residual, short level, long level.
pub(crate) const ALARMS: usize = 3;
const ALARM_SPANS: [f64; 2] = [8.0, 64.0];

/// Deviations beyond so many standard deviations teach as if they were there.
const CUT: f64 = 6.0;
const CUT_RESIDUAL: f64 = 4.0;
const CUT_ALARM: f64 = 3.0;

/// How often the season foretells a row before it is believed, and how many such tests are remembered.
const SEASON_TESTS_MIN: f64 = 40.0;
const SEASON_TESTS: f64 = 300.0;

/// A spread below this share of the long one, squared, counts as this.
const SPREAD_MIN: f64 = 1e-6;

/// The scale of z for tails begins here: 2^-2.
const LOWEST: i64 = -2;

/// What an input's model makes of a row, kept until it is known what may be learnt of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// Sum of squared rarities.
    pub strangeness: f64,
    /// −ln p of each way to raise an alarm.
    pub alarms: [f64; ALARMS],
    /// What was expected, and the standard deviation of what is ordinary around it.
    pub expected: f64,
    pub scale: f64,
    /// The residual in standard deviations, with its sign.
    pub z: f64,
    /// The largest deviation, of residual or level, in standard deviations.
    pub size: f64,
    value: f64,
    features: [f64; VIEWS],
    places: [f64; VIEWS],
    alarm_places: [f64; 2],
    error: f64,
    usual: Option<f64>,
}

impl Reading {
    /// What kind of anomaly one way to raise an alarm tells.
    pub fn class(&self, alarm: usize) -> Class {
        match alarm {
            0 => Class::Spike,
            1 => Class::Drift,
            _ => Class::Trend,
        }
    }
}

/// What is known of one input of a key.
#[derive(Debug, Clone)]
pub(crate) struct AutoInput {
    /// Rows since it began, or began anew.
    rows: f64,
    rarities: f64,
    last: f64,
    means: [f64; 4],
    spreads: [f64; 3],
    ordinary: [f64; VIEWS],
    variance: [f64; VIEWS],
    alarm_means: [f64; 2],
    alarm_variance: [f64; 2],
    /// Mean squared errors of what the season foretold and of the level alone, and how many rows and tests there were.
    season_errors: [f64; 2],
    season_rows: f64,
    season_tests: f64,
    in_season: bool,
    /// Rows until the latest values are known again after a gap.
    blind: u32,
    model: Rls,
    tails: [Tail<40>; VIEWS],
    alarm_tails: [Tail<40>; 2],
    season: Season,
}

impl AutoInput {
    /// Of nothing.
    pub fn new() -> Self {
        AutoInput {
            rows: 0.0,
            rarities: 0.0,
            last: 0.0,
            means: [0.0; 4],
            spreads: [0.0; 3],
            ordinary: [0.0; VIEWS],
            variance: [0.0; VIEWS],
            alarm_means: [0.0; 2],
            alarm_variance: [0.0; 2],
            season_errors: [0.0; 2],
            season_rows: 0.0,
            season_tests: 0.0,
            in_season: false,
            blind: 0,
            model: Rls::new(),
            tails: std::array::from_fn(|_| Tail::new()),
            alarm_tails: std::array::from_fn(|_| Tail::new()),
            season: Season::new(0.0),
        }
    }

    /// Whether it can judge.
    pub fn ready(&self) -> bool {
        self.rarities >= RARITIES_MIN
    }

    /// Begins anew, but for the season: values mean something else from now on.
    fn begin_anew(&mut self, value: f64) {
        self.rows = 0.0;
        self.last = value;
        self.means = [value; 4];
        self.spreads = [0.0; 3];
        self.ordinary = [0.0; VIEWS];
        self.ordinary[VALUE] = value;
        self.variance = [0.0; VIEWS];
        self.alarm_means = [0.0; 2];
        self.alarm_variance = [0.0; 2];
        self.model = Rls::new();
    }

    /// Goes over rows that are missing: short gaps by what was expected in them, after long ones the latest values are unknown.
    pub fn bridge(&mut self, missed: u32) {
        if missed as usize <= LAGS / 2 {
            for _ in 0..missed {
                let expected = self.model.expected().clamp(-10.0, 10.0);
                self.model.push(expected);
            }
        } else {
            self.model.forget_latest();
            self.alarm_means = [0.0; 2];
            self.blind = LAGS as u32;
        }
    }

    /// Judges a value, which is no NaN, at a phase of the season.
    pub fn judge(&mut self, value: f64, phase: Phase, reading: &mut Reading) {
        let usual = self.season.usual(phase);
        reading.usual = usual;
        reading.value = value;
        let season = if self.in_season { usual.unwrap_or(self.season.level()) } else { 0.0 };
        let y = value - season;
        if self.rows == 0.0 {
            self.begin_anew(y);
        }
        let level = self.ordinary[VALUE];
        let floor = rounding(value, level);
        let deviation = self.variance[VALUE].sqrt();
        let expected = level + deviation * f64::from(self.model.expected()).clamp(-10.0, 10.0);
        let size = if self.blind > 0 { self.variance[RESIDUAL].max(1.0) } else { self.variance[RESIDUAL] };
        let scale = deviation * size.sqrt();
        reading.expected = season + expected;
        reading.scale = scale.max(floor);
        reading.error = in_deviations(y - expected, self.variance[VALUE], floor);

        for (mean, span) in self.means.iter_mut().zip(SPANS) {
            let step = gain(self.rows, span);
            let difference = y - *mean;
            *mean += step * difference;
            if let Some(number) = SPANS[..3].iter().position(|other| *other == span) {
                let spread = &mut self.spreads[number];
                *spread = (1.0 - step) * (*spread + step * difference * difference);
            }
        }
        let features = &mut reading.features;
        features[VALUE] = y;
        features[RESIDUAL] = reading.error;
        features[STEP] = if self.blind > 0 { self.ordinary[STEP] } else { y - self.last };
        for number in 0..3 {
            features[LEVELS + number] = self.means[number] - self.means[number + 1];
            let long = self.variance[VALUE];
            let share = if long > 0.0 { self.spreads[number] / long } else { 1.0 };
            features[SPREADS + number] = ln((share + SPREAD_MIN).min(1e12));
        }
        self.last = y;

        let told = self.rarities >= RARITIES_MIN;
        reading.strangeness = 0.0;
        let mut residual_rarity = 0.0;
        for view in 0..VIEWS {
            let floor = if view >= SPREADS {
                1e-9
            } else if view == RESIDUAL {
                0.0
            } else {
                floor
            };
            let z = if self.rows < WARM[view] {
                0.0
            } else if view == RESIDUAL {
                in_deviations(y - expected, scale * scale, floor)
            } else {
                in_deviations(features[view] - self.ordinary[view], self.variance[view], floor)
            };
            let place = quarter_octaves(z.abs(), LOWEST);
            reading.places[view] = place;
            let rarity = if told { self.tails[view].rarity(place) } else { 0.0 };
            reading.strangeness += rarity * rarity;
            if view == RESIDUAL {
                reading.z = z;
                residual_rarity = rarity;
            }
        }
        reading.alarms[0] = residual_rarity;
        reading.size = reading.z.abs();
        let cut = (y - level).clamp(-CUT_ALARM * deviation, CUT_ALARM * deviation);
        for number in 0..2 {
            let step = gain(self.rows, ALARM_SPANS[number]);
            self.alarm_means[number] += step * (cut - self.alarm_means[number]);
            let warm = self.rows >= WARM[LEVELS + number];
            let z = if warm {
                in_deviations(self.alarm_means[number], self.alarm_variance[number], floor)
            } else {
                0.0
            };
            let place = quarter_octaves(z.abs(), LOWEST);
            reading.alarm_places[number] = place;
            reading.size = reading.size.max(z.abs());
            reading.alarms[1 + number] = if told { self.alarm_tails[number].rarity(place) } else { 0.0 };
        }
    }

    /// Learns from the value that was just judged: with `weight` what is ordinary, and how rare it was where `teaches`.
    pub fn learn(&mut self, reading: &Reading, phase: Phase, rows_a_season: f64, weight: f64, teaches: bool) {
        let size = self.variance[RESIDUAL].sqrt();
        let cut = if self.rows > 3.0 * LAGS as f64 { CUT_RESIDUAL * size } else { 20.0 };
        let error = reading.error.clamp(-cut, cut).clamp(-20.0, 20.0);
        let model_expected = f64::from(self.model.expected()).clamp(-10.0, 10.0);
        if weight > 0.0 {
            for view in 0..VIEWS {
                let step = weight * gain(self.rows, if view == RESIDUAL { MEMORY_RESIDUALS } else { MEMORY });
                if view == RESIDUAL {
                    self.variance[view] += step * (error * error - self.variance[view]);
                    continue;
                }
                let mut difference = reading.features[view] - self.ordinary[view];
                if self.rows > 50.0 {
                    let limit = CUT * self.variance[view].sqrt();
                    if limit > 0.0 {
                        difference = difference.clamp(-limit, limit);
                    }
                }
                self.ordinary[view] += step * difference;
                self.variance[view] += step * (difference * difference * (1.0 - step) - self.variance[view]);
            }
            for number in 0..2 {
                let step = weight * gain(self.rows, MEMORY);
                let mean = self.alarm_means[number];
                self.alarm_variance[number] += step * (mean * mean - self.alarm_variance[number]);
            }
            if self.rows > 2.0 {
                self.model.learn((error * weight) as f32);
            }
        }
        // The model goes on from what it could make of the value, so that one that stands out does not show again in what follows.
        let seen = if weight > 0.0 { reading.error } else { reading.error.clamp(-3.0 * size, 3.0 * size) };
        self.model.push((model_expected + seen).clamp(-10.0, 10.0) as f32);
        self.blind = self.blind.saturating_sub(1);
        if teaches {
            for ((tail, place), warm) in self.tails.iter_mut().zip(reading.places).zip(WARM) {
                if self.rows >= warm {
                    tail.add(place);
                }
            }
            for number in 0..2 {
                if self.rows >= WARM[LEVELS + number] {
                    self.alarm_tails[number].add(reading.alarm_places[number]);
                }
            }
            if self.rows >= WARM[RESIDUAL] {
                self.rarities = (self.rarities + 1.0).min(1e6);
            }
        }
        self.rows = (self.rows + 1.0).min(1e9);
        if rows_a_season >= 8.0 {
            self.learn_season(reading, phase, rows_a_season, weight);
        }
    }

    /// Learns the season's profile, and whether it explains more than it costs.
    fn learn_season(&mut self, reading: &Reading, phase: Phase, rows_a_season: f64, weight: f64) {
        if self.season_rows == 0.0 {
            self.season = Season::new(reading.value);
        }
        if let Some(foretold) = self.season.foretold(phase, rows_a_season)
            && self.season_rows >= rows_a_season
            && weight > 0.0
        {
            let (seasonal, plain) = (reading.value - foretold, reading.value - self.season.level());
            let step = gain(self.season_tests, SEASON_TESTS);
            self.season_errors[0] += step * (seasonal * seasonal - self.season_errors[0]);
            self.season_errors[1] += step * (plain * plain - self.season_errors[1]);
            self.season_tests = (self.season_tests + 1.0).min(1e6);
        }
        let trusted = if self.in_season { 4.0 * self.variance[VALUE].sqrt() } else { f64::MAX };
        self.season.learn(phase, reading.value, rows_a_season, trusted, weight);
        self.season_rows += 1.0;
        let known = self.season_tests >= SEASON_TESTS_MIN;
        let [seasonal, plain] = self.season_errors;
        let explains = if self.in_season { seasonal < 0.9 * plain } else { seasonal < 0.6 * plain };
        let in_season = known && explains;
        if in_season != self.in_season {
            self.in_season = in_season;
            self.rows = 0.0;
        }
    }

    /// Takes the level of the latest rows for the ordinary one.
    pub fn settle(&mut self) {
        let moved = self.means[1] - self.ordinary[VALUE];
        let deviation = self.variance[VALUE].sqrt();
        if deviation > 0.0 {
            self.model.shift((-moved / deviation).clamp(-20.0, 20.0) as f32);
        }
        self.ordinary[VALUE] += moved;
        self.alarm_means = [0.0; 2];
        self.rows = self.rows.min(150.0);
    }

    /// Half the width of what is ordinary around what is expected, where a row in e^`rarity` lies outside.
    pub fn width(&self, reading: &Reading, rarity: f64) -> f64 {
        let z = match self.tails[RESIDUAL].place(rarity) {
            Some(place) => from_quarter_octaves(place, LOWEST).clamp(2.0, 64.0),
            None => 5.0,
        };
        z * reading.scale
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.rows)?;
        fields.f64(&mut self.rarities)?;
        fields.f64(&mut self.last)?;
        fields.f64s(&mut self.means)?;
        fields.f64s(&mut self.spreads)?;
        fields.f64s(&mut self.ordinary)?;
        fields.f64s(&mut self.variance)?;
        fields.f64s(&mut self.alarm_means)?;
        fields.f64s(&mut self.alarm_variance)?;
        fields.f64s(&mut self.season_errors)?;
        fields.f64(&mut self.season_rows)?;
        fields.f64(&mut self.season_tests)?;
        fields.bool(&mut self.in_season)?;
        fields.u32(&mut self.blind)?;
        self.model.fields(fields)?;
        self.tails.iter_mut().try_for_each(|tail| tail.fields(fields))?;
        self.alarm_tails.iter_mut().try_for_each(|tail| tail.fields(fields))?;
        self.season.fields(fields)
    }
}
