//! Series of known kinds with planted incidents, for tests and benchmarks: what a detector or a forecaster says about them can be checked
//! against what is known to be in them.
//!
//! ```text
//!   Recipe { kind, rows, interval, seed } ─▶ generate ─▶ Series { values, pattern, sigma } ─▶ plant(Incident) ─▶ labels, rows
//! ```
//!
//! The same recipe gives the same bits on every machine. Levels, amplitudes and phases are drawn from the seed, so two seeds are two different
//! keys of the same kind.

mod curve;
mod incident;
mod kind;
mod random;

pub use curve::{Curve, CurveRecipe, CurveShape};
pub use incident::{Incident, IncidentKind, spread};
pub use kind::{Kind, Noise};
pub use random::Random;

/// A day, microseconds.
pub const DAY_US: i64 = 86_400_000_000;

/// Where series begin: Monday 2024-01-01, midnight UTC, microseconds since the epoch.
pub const START_US: i64 = 1_704_067_200_000_000;

/// Which series to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// What it looks like.
    pub kind: Kind,
    /// How many rows it has.
    pub rows: usize,
    /// How far apart they are, microseconds; above 0.
    pub interval_us: i64,
    /// Which of all series of the kind.
    pub seed: u64,
}

/// A series, with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Time of the first row, microseconds since the epoch.
    pub start_us: i64,
    /// How far apart rows are, microseconds.
    pub interval_us: i64,
    /// One value a row; NaN where the row is missing.
    pub values: Vec<f64>,
    /// What each value would be without noise and incidents; of a random walk, the value itself.
    pub pattern: Vec<f64>,
    /// The mean of the pattern without trend and season.
    pub level: f64,
    /// The standard deviation of the noise, or of the steps of a random walk: the unit of incidents.
    pub sigma: f64,
    /// Whether values are counts: whole and not below 0.
    pub counts: bool,
    /// What was planted, in the order of planting.
    pub incidents: Vec<Incident>,
}

impl Recipe {
    /// The series, without incidents.
    pub fn generate(&self) -> Series {
        kind::generate(self)
    }
}

impl Series {
    /// The time of a row, microseconds since the epoch.
    pub fn time_us(&self, row: usize) -> i64 {
        self.start_us + row as i64 * self.interval_us
    }

    /// Time (microseconds since the epoch) and value of each row that is not missing.
    pub fn rows(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        let present = self.values.iter().enumerate().filter(|(_, value)| !value.is_nan());
        present.map(|(row, value)| (self.time_us(row), *value))
    }

    /// For each row, missing ones too, whether an incident is on.
    pub fn labels(&self) -> Vec<bool> {
        let mut labels = vec![false; self.values.len()];
        for incident in &self.incidents {
            let to = incident.to.min(labels.len());
            labels[incident.from.min(to)..to].fill(true);
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(kind: Kind, seed: u64) -> Recipe {
        Recipe { kind, rows: 14 * 288, interval_us: DAY_US / 288, seed }
    }

    #[test]
    fn a_recipe_gives_the_same_bits_and_another_seed_others() {
        for kind in Kind::all() {
            let bits = |seed| {
                let values = recipe(kind, seed).generate().values;
                values.into_iter().map(f64::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(7), bits(7), "{kind:?}");
            assert_ne!(bits(7), bits(8), "{kind:?}");
        }
    }

    #[test]
    fn noise_around_the_pattern_has_the_standard_deviation_that_is_told() {
        for noise in Noise::ALL {
            let series = recipe(Kind::Season { noise, weekly: true }, 3).generate();
            let count = series.values.len() as f64;
            let residuals = || series.values.iter().zip(&series.pattern).map(|(value, mean)| value - mean);
            let mean = residuals().sum::<f64>() / count;
            let deviation = (residuals().map(|r| r * r).sum::<f64>() / count).sqrt();
            assert!(mean.abs() < 0.2 * series.sigma, "{noise:?}: {mean}");
            assert!((0.8..1.25).contains(&(deviation / series.sigma)), "{noise:?}: {deviation}");
        }
    }

    #[test]
    fn values_are_finite_and_counts_are_whole() {
        for kind in Kind::all() {
            let series = recipe(kind, 11).generate();
            assert!(series.values.iter().all(|value| value.is_finite()), "{kind:?}");
            assert!(series.sigma > 0.0, "{kind:?}");
            if series.counts {
                assert!(series.values.iter().all(|value| *value >= 0.0 && value.fract() == 0.0), "{kind:?}");
            }
        }
    }

    #[test]
    fn seasons_repeat_by_the_day_and_weekends_differ() {
        let series = recipe(Kind::Season { noise: Noise::Gaussian, weekly: true }, 5).generate();
        assert_eq!(series.pattern[100], series.pattern[100 + 288]);
        assert_eq!(series.pattern[100], series.pattern[100 + 7 * 288]);
        assert_ne!(series.pattern[100], series.pattern[100 + 5 * 288]);
    }

    #[test]
    fn rows_leave_out_what_is_missing() {
        let mut series = recipe(Kind::Constant, 1).generate();
        series.plant(Incident { kind: IncidentKind::Gap, size: 0.0, from: 10, to: 20 });
        let rows: Vec<_> = series.rows().collect();
        assert_eq!(rows.len(), 14 * 288 - 10);
        assert_eq!(rows[10].0, START_US + 20 * DAY_US / 288);
    }
}
