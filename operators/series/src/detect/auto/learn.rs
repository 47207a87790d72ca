//! What an input's model learns of a row, and what it leaves alone where the row is part of an event.

use super::super::numbers::gain;
use super::super::rls::LAGS;
use super::super::season::{Phase, Season};
use super::level::Level;
use super::{
    AutoInput, CUT, CUT_RESIDUAL, LEVEL_SEASONS, MEMORY, MEMORY_RESIDUALS, RESIDUAL, Reading, SEASON_TESTS,
    SEASON_TESTS_MIN, VALUE, VIEWS, WARM,
};

/// Days with a smaller part of the profile don't show it.
const FACTOR_MIN: f64 = 0.05;

impl AutoInput {
    /// Learns from the value that was just judged: with `weight` what is ordinary, and where it `teaches` how far
    /// ordinary values scatter and how rare it was. True where rarities
    /// mean something else from now on, since the season was found or lost.
    pub fn learn(
        &mut self,
        reading: &Reading,
        phase: Phase,
        rows_a_season: f64,
        weight: f64,
        teaches: bool,
    ) -> bool {
        let size = self.variance[RESIDUAL].sqrt();
        let cut = if self.rows > 3.0 * LAGS as f64 { CUT_RESIDUAL * size } else { 20.0 };
        let error = reading.error.clamp(-cut, cut).clamp(-20.0, 20.0);
        let model_expected = f64::from(self.model.expected()).clamp(-10.0, 10.0);
        for view in 0..VIEWS {
            let step = gain(self.rows, if view == RESIDUAL { MEMORY_RESIDUALS } else { MEMORY });
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
        if teaches && weight > 0.0 {
            self.largest = self.largest.max((reading.features[VALUE] - self.level).abs());
        }
        if weight > 0.0 {
            self.learn_alarms(reading, rows_a_season, teaches);
            if self.short_past() {
                self.creep.learn(reading.features[VALUE], self.row_variance(), rows_a_season);
            }
            if self.rows > 2.0 {
                self.model.learn(error as f32);
            }
        }
        // The model goes on from what it could make of the value, so that one that stands out does not show again in what follows; and
        // where an event lasts, from what it expected.
        let was_in_event = std::mem::replace(&mut self.in_event, weight <= 0.0);
        let seen = match (self.in_event, was_in_event) {
            (false, _) => reading.error,
            (true, false) => reading.error.clamp(-1.0, 1.0),
            (true, true) => 0.0,
        };
        self.model.push((model_expected + seen).clamp(-10.0, 10.0) as f32);
        self.blind = self.blind.saturating_sub(1);
        for ((tail, place), warm) in self.tails.iter_mut().zip(reading.places).zip(WARM) {
            if self.rows >= warm {
                tail.add(place);
            }
        }
        let ordinary = weight > 0.0;
        if ordinary && self.lesson >= 0.0 {
            self.residual_tail.add(std::mem::replace(&mut self.lesson, -1.0));
        }
        if teaches && self.rows >= WARM[RESIDUAL] {
            if ordinary {
                self.residual_tail.add(reading.place);
            } else {
                self.lesson = reading.place.max(0.0);
            }
        }
        for (level, reading) in self.levels.iter_mut().zip(reading.levels) {
            level.learn(reading, self.rows, ordinary, teaches);
        }
        if self.rows >= WARM[RESIDUAL] {
            self.rarities = (self.rarities + 1.0).min(1e6);
        }
        self.rows = (self.rows + 1.0).min(1e9);
        let weight = if teaches { weight } else { 0.0 };
        rows_a_season >= 8.0 && self.learn_season(reading, phase, rows_a_season, weight)
    }

    /// Learns what alarms are measured from: the level, and where the row `teaches` how far values scatter.
    fn learn_alarms(&mut self, reading: &Reading, rows_a_season: f64, teaches: bool) {
        if self.in_event {
            // What is over is not to linger in the means, and in what they teach.
            self.levels.iter_mut().for_each(Level::calm);
        }
        let cut = |value: f64, variance: f64, deviations: f64, known: bool| {
            let limit = deviations * variance.sqrt();
            if known && limit > 0.0 { value.clamp(-limit, limit) } else { value }
        };
        let step = gain(self.rows, MEMORY);
        let off =
            cut(reading.features[VALUE] - self.level, self.level_variance, CUT_RESIDUAL, self.rows > 50.0);
        let memory = if self.in_season { MEMORY.max(LEVEL_SEASONS * rows_a_season) } else { MEMORY };
        self.level += gain(self.level_rows, memory) * off;
        self.level_rows = (self.level_rows + 1.0).min(1e9);
        for (residuals, memory) in self.residuals.iter_mut().zip([MEMORY_RESIDUALS, MEMORY]) {
            let residual = cut(reading.residual, *residuals, CUT_RESIDUAL, self.rows > 3.0 * LAGS as f64);
            *residuals += gain(self.rows, memory) * (residual * residual - *residuals);
        }
        if !teaches {
            return;
        }
        self.level_variance += step * (off * off * (1.0 - step) - self.level_variance);
    }

    /// Learns the season's profile, and whether it explains more than it costs. True where that changes.
    fn learn_season(&mut self, reading: &Reading, phase: Phase, rows_a_season: f64, weight: f64) -> bool {
        if self.season_rows == 0.0 {
            self.season = Season::new(reading.value);
        }
        if let Some(usual) = reading.usual
            && self.season.enters(phase)
            && weight > 0.0
        {
            let (seasonal, plain) =
                (reading.value - reading.factor * usual, reading.value - self.season.level());
            let step = gain(self.season_tests, SEASON_TESTS);
            self.season_errors[0] += step * (seasonal * seasonal - self.season_errors[0]);
            self.season_errors[1] += step * (plain * plain - self.season_errors[1]);
            self.season_tests = (self.season_tests + 1.0).min(1e6);
        }
        let trusted = if self.in_season { 4.0 * self.level_variance.sqrt() } else { f64::MAX };
        // The level of these days is not the season's: what it adds is taken off first.
        let level = if self.in_season { self.level } else { 0.0 };
        // The profile is of all days. One of which nothing is left teaches nothing.
        let factor = reading.factor;
        if factor > FACTOR_MIN {
            let (value, trusted) = (reading.value / factor - level, trusted / factor);
            self.season.learn(phase, value, trusted, weight * (factor * factor).min(1.0));
        }
        self.season_rows += 1.0;
        let known = self.season_tests >= SEASON_TESTS_MIN;
        let [seasonal, plain] = self.season_errors;
        let explains = if self.in_season { seasonal < plain } else { seasonal < 0.6 * plain };
        let in_season = known && explains;
        let mut changes = in_season != self.in_season;
        self.in_season = in_season;
        if let Some(usual) = reading.usual
            && in_season
        {
            changes |= self.week.learn(phase, reading.value, usual, rows_a_season);
        }
        if changes {
            self.forget();
        }
        changes
    }
}
