//! Levels that alarms watch: how far the mean of a while lies off the level of a long time, and how rare that is.
//!
//! ```text
//!   mean of a while  ──╮   ╭─╮        ╭────────────    an excursion teaches its peak once it is over,
//!   level of long  ────┴───╯─┴──╯╰────╯────────────    so a slope that goes on teaches nothing of itself
//!                      excursions     one that goes on
//! ```
//!
//! Rows of one excursion have most of their past in common: they count once, by their peak (Leadbetter, Extremes and local dependence in stationary
//! sequences, 1983). A series that wanders makes few excursions, and so is judged late; one that scatters makes one in a few rows.

use super::super::fields::Fields;
use super::super::numbers::{gain, in_deviations, ln, quarter_octaves};
use super::super::tail::Tail;
use super::{CUT_RESIDUAL, LOWEST, MEMORY};
use crate::bytes::StateError;

/// Excursions before any is judged, and how many their mean length is remembered over.
const EXCURSIONS_MIN: f64 = 24.0;
const EXCURSIONS: f64 = 200.0;

/// Excursions after which the largest ones are known well enough.
const EXCURSIONS_KNOWN: f64 = 64.0;

/// Rows before means are cut at some standard deviations where these are learnt.
const ROWS_CUT: f64 = 200.0;

/// The mean of a while.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// The mean of deviations from the level of a long time, and the mean of its square.
    mean: f64,
    variance: f64,
    /// Rows of the excursion that is on, whether it goes up, its peak on the tail's scale (below 0: it teaches nothing), and what its rows that
    /// teach will teach: the sum of the mean's squares by their gains, and that of the gains.
    rows: f64,
    up: bool,
    peak: f64,
    squares: f64,
    gains: f64,
    /// How many there were, and their mean length in rows.
    excursions: f64,
    length: f64,
    /// Where the event that is on is to teach, once it is over; below 0: nowhere.
    lesson: f64,
    tail: Tail<40>,
}

/// What a level makes of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LevelReading {
    /// How far off it is, in its own standard deviations.
    pub z: f64,
    /// −ln of how many excursions a row begin that go so far; `None`: too few are known.
    pub rarity: Option<f64>,
    place: f64,
}

impl Level {
    /// Of nothing.
    pub fn new() -> Self {
        Level {
            mean: 0.0,
            variance: 0.0,
            rows: 0.0,
            up: false,
            peak: -1.0,
            squares: 0.0,
            gains: 0.0,
            excursions: 0.0,
            length: 0.0,
            lesson: -1.0,
            tail: Tail::new(),
        }
    }

    /// Takes in how far a row is off the level of a long time; `step` is its weight in the mean.
    pub fn judge(&mut self, off: f64, step: f64) -> LevelReading {
        self.mean += step * (off - self.mean);
        let z = in_deviations(self.mean, self.variance, 0.0);
        let place = quarter_octaves(z.abs(), LOWEST).max(0.0);
        if self.excursions < EXCURSIONS_MIN {
            return LevelReading { z: 0.0, rarity: None, place };
        }
        LevelReading { z, rarity: Some(self.tail.rarity_of_mean(place) + ln(self.length)), place }
    }

    /// Learns from the row that was just judged, which belongs to no event where `ordinary`; `rows` came before it.
    pub fn learn(&mut self, reading: LevelReading, rows: f64, ordinary: bool, teaches: bool) {
        if ordinary && self.lesson >= 0.0 {
            self.tail.add(std::mem::replace(&mut self.lesson, -1.0));
        }
        if !ordinary && teaches {
            self.lesson = reading.place;
        }
        self.follow(reading.place, ordinary && teaches);
        if ordinary && teaches {
            if rows <= ROWS_CUT {
                self.variance += gain(rows, MEMORY) * (self.mean * self.mean - self.variance);
            } else {
                let gain = gain(rows, MEMORY);
                self.squares += gain * self.mean * self.mean;
                self.gains += gain;
            }
        }
    }

    /// Goes on with the excursion, or begins another.
    fn follow(&mut self, place: f64, teaches: bool) {
        let up = self.mean > 0.0;
        if up != self.up {
            if self.peak >= 0.0 {
                self.tail.add(self.peak);
                self.length += gain(self.excursions, EXCURSIONS) * (self.rows - self.length);
                self.excursions = (self.excursions + 1.0).min(1e9);
            }
            self.learn_variance();
            (self.up, self.rows, self.peak) = (up, 0.0, 0.0);
        }
        self.rows = (self.rows + 1.0).min(1e9);
        self.peak = if teaches && self.peak >= 0.0 { self.peak.max(place) } else { -1.0 };
    }

    /// An excursion teaches how far the mean scatters once it is over: before, one that goes on would make itself ordinary.
    fn learn_variance(&mut self) {
        if self.gains > 0.0 {
            let limit = CUT_RESIDUAL * CUT_RESIDUAL * self.variance;
            let square = self.squares / self.gains;
            let square = if limit > 0.0 { square.min(limit) } else { square };
            let weight = 1.0 - libm::exp(-self.gains);
            self.variance += weight * (square - self.variance);
        }
        (self.squares, self.gains) = (0.0, 0.0);
    }

    /// Whether it knows how rare excursions are without guessing.
    pub fn is_known(&self) -> bool {
        self.excursions >= EXCURSIONS_KNOWN
    }

    /// How far off it is.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Comes back to the level of a long time: what was is over.
    pub fn reset(&mut self) {
        self.mean = 0.0;
        self.peak = -1.0;
        (self.squares, self.gains) = (0.0, 0.0);
    }

    /// Draws the mean near the level, so that what an event left in it does not linger.
    pub fn calm(&mut self) {
        let deviation = self.variance.sqrt();
        self.mean = self.mean.clamp(-deviation, deviation);
    }

    /// Forgets how rare excursions are.
    pub fn forget(&mut self) {
        *self = Level { mean: self.mean, variance: self.variance, ..Level::new() };
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.mean)?;
        fields.f64(&mut self.variance)?;
        fields.f64(&mut self.rows)?;
        fields.bool(&mut self.up)?;
        fields.f64(&mut self.peak)?;
        fields.f64(&mut self.squares)?;
        fields.f64(&mut self.gains)?;
        fields.f64(&mut self.excursions)?;
        fields.f64(&mut self.length)?;
        fields.f64(&mut self.lesson)?;
        self.tail.fields(fields)
    }
}
