//! The method `auto`: nine views of one input, each of which knows how rare what it sees is.
//!
//! ```text
//!                 ┌ value, step                        ┐
//!   value ─season─┤ autoregressive residual            ├─▶ z ─▶ rarity −ln p ─▶ strangeness: the sum of squares
//!                 │ changes of level over 8, 32, 128   │
//!                 └ spread over 8, 32, 128 rows        ┘
//!                 ┌ autoregressive residual            ┐   (SPIKE)
//!                 ┤ excursions of the level over 8 rows├─▶ rarity −ln p ─▶ alarms: DRIFT where it came at once, TREND where slowly
//!                 └ the same over 64, or a creep       ┘
//! ```
//!
//! A sum of −ln p is how Fisher combined tests (Statistical methods for research workers, 1925); squared, one view that is sure weighs more than
//! many that wonder. Alarms see the level through deviations cut at three standard deviations, so that one spike moves no level.

mod creep;
mod learn;
mod level;

use self::creep::Creep;
use self::level::{Level, LevelReading};
use super::Class;
use super::calibration::WAYS;
use super::early::{self, Early};
use super::fields::Fields;
use super::numbers::{from_quarter_octaves, gain, in_deviations, ln, quarter_octaves, rounding};
use super::rls::{LAGS, Rls};
use super::season::{Phase, Season};
use super::siblings::{Scatter, Width};
use super::tail::Tail;
use super::week::Week;
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
const MEMORY_RESIDUALS: f64 = 240.0;

const ALARM_SPANS: [f64; 2] = [8.0, 64.0];

/// A level came slowly where the long mean has gone this part of the way of the short one.
const GRADUAL: f64 = 0.4;

/// Seasons that the level is remembered over, where there is a season.
const LEVEL_SEASONS: f64 = 4.0;

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
    /// −ln p of each way to raise an alarm; `None`: it can't tell.
    pub alarms: [Option<f64>; WAYS],
    /// What was expected, and the standard deviation of what is ordinary around it.
    pub expected: f64,
    pub scale: f64,
    /// The residual in standard deviations, with its sign.
    pub z: f64,
    /// The largest deviation, of residual or level, in standard deviations.
    pub size: f64,
    /// How far the value is off the level, in standard deviations.
    pub off: f64,
    /// −ln p by how far the value lies from the level of a short past; `None`: it is too short, or short no more.
    pub early: Option<f64>,
    /// Whether that is all there is to go by.
    pub alone: bool,
    value: f64,
    features: [f64; VIEWS],
    places: [f64; VIEWS],
    place: f64,
    levels: [LevelReading; 2],
    residual: f64,
    error: f64,
    usual: Option<f64>,
    /// By how much the day of the week is above what is usual.
    factor: f64,
    /// Whether the series lies where it would without its season.
    unseasonal: bool,
    /// Whether the level came where it is slowly.
    gradual: bool,
}

impl Reading {
    /// What kind of anomaly one way to raise an alarm tells.
    pub fn class(&self, alarm: usize) -> Class {
        match alarm {
            0 => Class::Spike,
            _ if self.unseasonal => Class::Seasonal,
            _ if self.gradual => Class::Trend,
            _ => Class::Drift,
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
    /// What alarms are measured from, which learns nothing of events: the level, the variance around it, and the mean squared residual over a
    /// short and a long time.
    level: f64,
    /// Rows that the level comes from, after it was settled as well: few follow what comes fast.
    level_rows: f64,
    level_variance: f64,
    residuals: [f64; 2],
    levels: [Level; 2],
    creep: Creep,
    /// Mean squared errors of what the season foretold and of the level alone, and how many rows and tests there were.
    season_errors: [f64; 2],
    season_rows: f64,
    season_tests: f64,
    in_season: bool,
    /// Whether the row before belonged to an event.
    in_event: bool,
    /// Where on the tail of residuals the event that is on is to teach, once it is over; below 0: nowhere.
    lesson: f64,
    /// The largest deviation from the level yet.
    largest: f64,
    /// Rows until the latest values are known again after a gap.
    blind: u32,
    model: Rls,
    tails: [Tail<40>; VIEWS],
    residual_tail: Tail<40>,
    season: Season,
    week: Week,
    /// How siblings scatter, for as long as the past is short.
    siblings: Scatter,
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
            level: 0.0,
            level_rows: 0.0,
            level_variance: 0.0,
            residuals: [0.0; 2],
            levels: std::array::from_fn(|_| Level::new()),
            creep: Creep::new(),
            season_errors: [0.0; 2],
            season_rows: 0.0,
            season_tests: 0.0,
            in_season: false,
            in_event: false,
            lesson: -1.0,
            largest: 0.0,
            blind: 0,
            model: Rls::new(),
            tails: std::array::from_fn(|_| Tail::new()),
            residual_tail: Tail::new(),
            season: Season::new(0.0),
            week: Week::new(),
            siblings: Scatter::default(),
        }
    }

    /// Begins among siblings that scatter so.
    pub fn among(&mut self, siblings: Scatter) {
        self.siblings = siblings;
    }

    /// Whether it can judge, if only by a short past.
    pub fn ready(&self) -> bool {
        self.begun() || self.told()
    }

    /// Whether the past is long enough to be judged by.
    fn begun(&self) -> bool {
        self.rows >= early::ROWS_MIN
            || self.rows >= early::ROWS_MIN_AMONG_SIBLINGS && self.width_by_siblings().is_some()
    }

    /// How far values scatter around the level, by what siblings tell: until the key's own rows tell it.
    fn width_by_siblings(&self) -> Option<Width> {
        if self.rows < early::ROWS_MIN { self.siblings.at(self.level) } else { None }
    }

    /// Whether it can tell how rare its views are.
    pub fn told(&self) -> bool {
        self.rarities >= RARITIES_MIN
    }

    /// Forgets all but the season: it begins anew with the next value.
    pub fn forget(&mut self) {
        self.rows = 0.0;
        self.rarities = 0.0;
        self.tails = std::array::from_fn(|_| Tail::new());
        self.residual_tail = Tail::new();
        self.levels.iter_mut().for_each(Level::forget);
        self.creep = Creep::new();
        self.lesson = -1.0;
        self.siblings = Scatter::default();
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
        self.level = value;
        self.level_rows = 0.0;
        self.level_variance = 0.0;
        self.residuals = [0.0; 2];
        self.levels = std::array::from_fn(|_| Level::new());
        self.creep = Creep::new();
        self.largest = 0.0;
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
            self.levels.iter_mut().for_each(Level::reset);
            self.creep.reset();
            self.blind = LAGS as u32;
        }
    }

    /// Judges a value, which is no NaN, at a phase of the season; `early`: by its short past.
    pub fn judge(&mut self, value: f64, phase: Phase, early: bool, reading: &mut Reading) {
        let usual = self.season.usual(phase);
        let factor = self.week.factor(phase);
        reading.usual = usual;
        reading.factor = factor;
        reading.value = value;
        // A day has its part of the level that these weeks add, too.
        let added = if self.rows == 0.0 { 0.0 } else { self.level };
        let of_day = move |profile: f64| factor * profile + (factor - 1.0) * added;
        let season = if self.in_season { of_day(usual.unwrap_or(self.season.level())) } else { 0.0 };
        let y = value - season;
        if self.rows == 0.0 {
            self.begin_anew(y);
        }
        // The model sees values by the level and deviation that learn nothing of events, so that what it expects does not follow them.
        let level = self.level;
        let floor = rounding(value, level);
        let deviation = self.level_variance.sqrt();
        let expected = level + deviation * f64::from(self.model.expected()).clamp(-10.0, 10.0);
        let blind = if self.blind > 0 { 1.0 } else { 0.0 };
        let scale = deviation * self.variance[RESIDUAL].max(blind).sqrt();
        let residual_variance = self.residuals[0].max(blind * self.level_variance);
        reading.expected = season + if early { level } else { expected };
        reading.scale = residual_variance.sqrt().max(floor);
        reading.residual = y - expected;
        reading.error = in_deviations(y - expected, self.level_variance, floor);

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
        reading.unseasonal = false;
        if self.in_season
            && let Some(usual) = usual
        {
            let off = self.means[0] - self.level;
            let lies_at = |other: f64| (off + season - other).abs() < 0.5 * off.abs();
            reading.unseasonal = lies_at(of_day(self.season.level())) || factor != 1.0 && lies_at(usual);
        }

        let told = self.told();
        reading.strangeness = 0.0;
        reading.early = None;
        let begun = self.begun();
        reading.alone = early && begun;
        if begun && self.rows < early::ROWS_MAX {
            let rarity = self.early().rarity((y - self.level).abs());
            reading.early = Some(rarity);
            reading.strangeness = if told { 0.0 } else { rarity * rarity };
        }
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
        }
        reading.z = if self.rows < WARM[RESIDUAL] {
            0.0
        } else {
            in_deviations(reading.residual, residual_variance, floor)
        };
        reading.size = reading.z.abs();
        reading.place = quarter_octaves(reading.z.abs(), LOWEST);
        reading.alarms[0] = told.then(|| self.residual_tail.rarity_continued(reading.place));
        // Noise may follow the hour of the day: levels are measured in the deviation of the hour.
        let hour = (self.residuals[0] / self.residuals[1]).clamp(0.01, 100.0);
        let hour = if hour.is_nan() { 1.0 } else { hour };
        reading.off = in_deviations(y - self.level, self.level_variance * hour, floor);
        if early {
            reading.size = reading.size.max(reading.off.abs());
        }
        let off = reading.off.clamp(-CUT_ALARM, CUT_ALARM);
        for (number, level) in self.levels.iter_mut().enumerate() {
            let level = level.judge(off, gain(self.rows, ALARM_SPANS[number]));
            reading.levels[number] = level;
            reading.size = reading.size.max(level.z.abs());
            reading.alarms[1 + number] = level.rarity.filter(|_| told);
        }
        let [short, long] = &self.levels;
        reading.gradual = short.mean() * long.mean() > GRADUAL * short.mean() * short.mean();
        if self.short_past() {
            let creep = self.creep.rarity();
            if creep > reading.alarms[2].unwrap_or(0.0) {
                (reading.alarms[2], reading.gradual) = (Some(creep), !self.creep.at_once());
            }
        }
    }

    /// Whether what grows slowly is judged by a short past: the season is not known, nor how far levels ordinarily go.
    fn short_past(&self) -> bool {
        !self.in_season && !self.levels[1].is_known()
    }

    /// The variance of single rows, by the differences of neighbours.
    fn row_variance(&self) -> f64 {
        let step = self.ordinary[STEP];
        0.5 * (self.variance[STEP] + step * step)
    }

    /// What is known of a short past.
    fn early(&self) -> Early {
        let own = Early {
            rows: self.rows,
            largest: self.largest,
            deviation: self.level_variance.sqrt(),
            step_square: 2.0 * self.row_variance(),
        };
        // The level itself is the mean of few rows.
        let uncertain = |width: Width| Width {
            largest: width.largest * (1.0 + 1.0 / self.rows.max(1.0)).sqrt(),
            ..width
        };
        self.width_by_siblings().map_or(own, |width| own.among_siblings(uncertain(width)))
    }

    /// Takes the level of the latest rows for the ordinary one.
    pub fn settle(&mut self) {
        self.level = if self.level_variance > 0.0 { self.means[1] } else { self.last };
        self.level_rows = SPANS[1];
        self.ordinary[VALUE] = self.level;
        self.levels.iter_mut().for_each(Level::reset);
        self.creep = Creep::new();
    }

    /// Takes the event that was on for over: nothing of it lingers in the levels.
    pub fn recover(&mut self) {
        self.levels.iter_mut().for_each(Level::reset);
        self.creep.reset();
    }

    /// Half the width of what is ordinary around what is expected, where a row in e^`rarity` lies outside.
    pub fn width(&self, reading: &Reading, rarity: f64) -> f64 {
        if reading.alone {
            return self.early().width(rarity);
        }
        let z = match self.residual_tail.place(libm::exp(-rarity)) {
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
        fields.f64(&mut self.level)?;
        fields.f64(&mut self.level_rows)?;
        fields.f64(&mut self.level_variance)?;
        fields.f64s(&mut self.residuals)?;
        self.levels.iter_mut().try_for_each(|level| level.fields(fields))?;
        self.creep.fields(fields)?;
        fields.f64s(&mut self.season_errors)?;
        fields.f64(&mut self.season_rows)?;
        fields.f64(&mut self.season_tests)?;
        fields.bool(&mut self.in_season)?;
        fields.bool(&mut self.in_event)?;
        fields.f64(&mut self.lesson)?;
        fields.f64(&mut self.largest)?;
        fields.u32(&mut self.blind)?;
        self.model.fields(fields)?;
        self.tails.iter_mut().try_for_each(|tail| tail.fields(fields))?;
        self.residual_tail.fields(fields)?;
        self.season.fields(fields)?;
        self.week.fields(fields)?;
        self.siblings.fields(fields)
    }
}
