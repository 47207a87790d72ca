//! How good detection and forecasts are, by measures that can't be flattered.
//!
//! ```text
//!   labelled CSV ───────────▶ files ─▶ detection: the detector, row by row ──▶ VUS-PR, alarms, NAB ─┬─▶ picture: SVG
//!   CSV ────────────────────▶ files ─▶ forecasts: the forecaster, row by row ─▶ errors, coverage   ─┤
//!   outputs of a job ──▶ outputs ───▶ judged by known incidents ─────────────▶ found, delay, false ─┘
//!   incidents.yaml ────▶ known
//! ```
//!
//! A series is run through as it would be live: what is said of a row depends on it and those before it, and all series of an evaluation have one
//! configuration. The measures themselves are those of [`thalweg_series::measure`].

use std::path::PathBuf;

use serde::Serialize;

pub mod detection;
pub mod files;
pub mod forecasts;
pub mod known;
pub mod outputs;
pub mod picture;
#[cfg(feature = "models")]
pub mod shadow;
mod table;

pub use table::open;

/// Microseconds of a second, as a float.
const SECOND_US: f64 = 1e6;
/// Microseconds of a day, as a float.
const DAY_US: f64 = 86_400.0 * SECOND_US;

/// Why nothing can be judged.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file, or a row of it, is not as it has to be.
    #[error("{}{}: {message}; {hint}", path.display(), line.map_or_else(String::new, |line| format!(":{line}")))]
    File {
        /// The file.
        path: PathBuf,
        /// Its line, from 1; `None`: the whole file.
        line: Option<u64>,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// A file or folder can't be read or written.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried: read, write.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model can't be configured so.
    #[error(transparent)]
    Config(#[from] thalweg_series::detect::ConfigError),
    /// The table of outputs is not as it has to be.
    #[error("{message}; {hint}")]
    Table {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The outputs can't be read.
    #[error(transparent)]
    Query(#[from] thalweg_query::QueryError),
}

/// How alarms went with incidents, over one or several series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlarmSummary {
    /// Incidents there are.
    pub incidents: usize,
    /// Incidents with an alarm in them.
    pub found: usize,
    /// The share of incidents with an alarm in them; NaN (in JSON null) without incidents.
    pub recall: f64,
    /// The median delay of the first alarm after an incident's begin, seconds; NaN where none was found.
    pub delay_s_median: f64,
    /// Events of false alarms.
    pub false_alarms: usize,
    /// The same for each day of each series; NaN without normal rows.
    pub false_alarms_per_day: f64,
}

/// Sums up what was counted in one or several series.
#[derive(Debug, Clone, Default)]
pub(crate) struct AlarmCount {
    pub incidents: usize,
    pub delays_s: Vec<f64>,
    pub false_alarms: usize,
    pub normal_us: f64,
}

impl AlarmCount {
    pub(crate) fn add(&mut self, other: &AlarmCount) {
        self.incidents += other.incidents;
        self.delays_s.extend(&other.delays_s);
        self.false_alarms += other.false_alarms;
        self.normal_us += other.normal_us;
    }

    pub(crate) fn summary(&self) -> AlarmSummary {
        AlarmSummary {
            incidents: self.incidents,
            found: self.delays_s.len(),
            recall: self.delays_s.len() as f64 / self.incidents as f64,
            delay_s_median: median(self.delays_s.clone()),
            false_alarms: self.false_alarms,
            false_alarms_per_day: self.false_alarms as f64 / (self.normal_us / DAY_US),
        }
    }
}

/// The middle of values, or the mean of the two in the middle; NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The mean of the values that are numbers; NaN where none is.
pub(crate) fn mean_known(values: impl IntoIterator<Item = f64>) -> f64 {
    let known = values.into_iter().filter(|value| !value.is_nan());
    let (sum, count) = known.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_series_add_up() {
        let mut all = AlarmCount::default();
        all.add(&AlarmCount { incidents: 2, delays_s: vec![60.0], false_alarms: 1, normal_us: DAY_US });
        all.add(&AlarmCount { incidents: 1, delays_s: vec![120.0], false_alarms: 2, normal_us: DAY_US });
        let summary = all.summary();
        assert_eq!((summary.incidents, summary.found, summary.delay_s_median), (3, 2, 90.0));
        assert_eq!(summary.false_alarms_per_day, 1.5);
        assert!(AlarmCount::default().summary().recall.is_nan());
    }

    #[test]
    fn means_are_of_what_is_known() {
        assert_eq!(mean_known([1.0, f64::NAN, 3.0]), 2.0);
        assert!(mean_known([]).is_nan());
    }
}
