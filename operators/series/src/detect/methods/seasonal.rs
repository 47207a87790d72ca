//! What the profile of the season, with the level of the day, does not explain.

use super::each::{Each, Model, Seen, When};
use super::ewma::Mean;
use crate::bytes::StateError;
use crate::detect::fields::Fields;
use crate::detect::season::Season;

/// A profile for each input.
pub(crate) type Seasonal = Each<Profile>;

/// The profile of one input, and the mean of what it leaves.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    rows: f64,
    season: Season,
    rest: Mean,
}

impl Profile {
    /// What is usual now, once a whole season has been seen.
    fn usual(&self, when: When) -> Option<f64> {
        if self.rows < when.rows_a_season { None } else { self.season.usual(when.phase) }
    }
}

impl Model for Profile {
    fn begin() -> Self {
        Profile { rows: 0.0, season: Season::new(0.0), rest: Mean::begin() }
    }

    fn judge(&mut self, value: f64, when: When) -> Seen {
        let Some(usual) = self.usual(when) else { return Seen::NOTHING };
        let seen = self.rest.judge(value - usual, when);
        Seen { expected: usual + seen.expected, ..seen }
    }

    fn learn(&mut self, value: f64, when: When, weight: f64) {
        if self.rows == 0.0 {
            self.season = Season::new(value);
        }
        let mut trusted = f64::MAX;
        if let Some(usual) = self.usual(when) {
            let seen = self.rest.judge(value - usual, when);
            if !seen.scale.is_nan() {
                trusted = 4.0 * seen.scale;
            }
            self.rest.learn(value - usual, when, weight);
        }
        self.season.learn(when.phase, value, trusted, weight);
        self.rows = (self.rows + 1.0).min(1e9);
    }

    fn skip(&mut self, _: u32) {}

    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.rows)?;
        self.season.fields(fields)?;
        self.rest.fields(fields)
    }
}
