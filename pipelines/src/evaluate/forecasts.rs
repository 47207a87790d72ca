//! Series through the forecaster, and how what it foretold compares with what came, beside the simplest things that could be foretold.
//!
//! ```text
//!   row i ─▶ forecaster ─▶ for i + horizon: expected, quantiles ┐
//!        ├─▶ naive: the value of row i                          ├─▶ against the row that is nearest to i + horizon
//!        └─▶ seasonal naive: that of the latest row that is     ┘
//!            whole seasons before i + horizon
//! ```

use serde::Serialize;
use thalweg_series::Observation;
use thalweg_series::forecast::{Forecast, Forecaster, ForecasterConfig};
use thalweg_series::measure::{
    Between, Foretold, PointErrors, coverage, find_length_rank, pinball_loss, point_errors,
};

use super::files::SeriesFile;
use super::{EvaluateError, SECOND_US, mean_known};

/// What was foretold of one column of a series at one horizon, by the row it is foretold of.
#[derive(Debug, Clone)]
pub struct Foretelling {
    /// How far ahead, microseconds.
    pub horizon_us: i64,
    /// The expected value; NaN: none.
    pub expected: Vec<f64>,
    /// The configured quantiles; NaN: none.
    pub quantiles: Vec<Vec<f64>>,
    /// What the naive forecast says of the row; NaN: nothing.
    naive: Vec<f64>,
    /// What the seasonal one does.
    seasonal: Vec<f64>,
    /// Whether a forecast of the row was asked for: a row lies a horizon before it.
    asked: Vec<bool>,
}

/// How forecasts of a set of series did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForecastReport {
    /// What was judged: "forecast".
    pub kind: &'static str,
    /// The model and its version.
    pub model: String,
    /// The quantiles that were foretold.
    pub quantiles: Vec<f64>,
    /// The share of values that the interval from the lowest to the highest of them is to hold.
    pub nominal_coverage: f64,
    /// Each column of each series, at each horizon.
    pub series: Vec<ForecastSeries>,
    /// Means over these, of each horizon.
    pub mean: Vec<ForecastMeasures>,
}

/// How the forecasts of one column did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForecastSeries {
    /// The series, with the column where there are several.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its rows.
    pub rows: usize,
    /// The season of the seasonal naive forecast, seconds: as given, or the period of the whole series.
    pub season_s: f64,
    /// Rows that were foretold and came.
    pub compared: usize,
    /// Rows that came and of which nothing was said.
    pub silent: usize,
    /// How the forecasts did.
    #[serde(flatten)]
    pub measures: ForecastMeasures,
}

/// How forecasts did. NaN (in JSON null) where nothing could be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForecastMeasures {
    /// How far ahead, seconds.
    pub horizon_s: f64,
    /// Mean squared error, squared units of the series.
    pub mse: f64,
    /// Mean absolute error, units of the series.
    pub mae: f64,
    /// The mean absolute error over that of the naive forecast of the same rows: below 1 is better than it.
    pub mase_naive: f64,
    /// The same over the seasonal naive forecast.
    pub mase_seasonal: f64,
    /// Mean pinball loss of the quantiles, units of the series.
    pub pinball: f64,
    /// The share of values in the interval.
    pub coverage: f64,
    /// The share below it.
    pub below: f64,
    /// The share above it.
    pub above: f64,
    /// The interval's mean width, units of the series.
    pub width_mean: f64,
    /// Its mean score, units of the series: the width and what misses cost.
    pub interval_score: f64,
}

/// Runs a column of a series through the forecaster: what it says at each horizon. Its name and version comes with the result.
///
/// # Errors
/// A configuration that makes no forecaster.
pub fn foretell(
    series: &SeriesFile,
    values: &[f64],
    config: &ForecasterConfig,
    season_us: i64,
) -> Result<(Vec<Foretelling>, String), EvaluateError> {
    let mut forecaster = Forecaster::new(config.clone())?;
    let mut state = forecaster.begin();
    let mut forecast = Forecast::default();
    let rows = values.len();
    let nothing = || vec![f64::NAN; rows];
    let mut all: Vec<Foretelling> = config
        .horizons_us
        .iter()
        .map(|&horizon_us| Foretelling {
            horizon_us,
            expected: nothing(),
            quantiles: config.quantiles.iter().map(|_| nothing()).collect(),
            naive: nothing(),
            seasonal: nothing(),
            asked: vec![false; rows],
        })
        .collect();
    let grid = Grid { times_us: &series.times_us, reach_us: series.interval_us() / 2 };
    let mut last = f64::NAN;
    for (row, (&time_us, &value)) in series.times_us.iter().zip(values).enumerate() {
        if !value.is_nan() {
            last = value;
        }
        forecaster.observe(
            &mut state,
            Observation { time_us, local_us: time_us, values: &[value] },
            &mut forecast,
        );
        for (foretelling, outlook) in all.iter_mut().zip(&forecast.outlooks) {
            let target_us = time_us.saturating_add(foretelling.horizon_us);
            let Some(target) = grid.nearest(target_us).filter(|target| *target > row) else { continue };
            foretelling.asked[target] = true;
            foretelling.expected[target] = outlook.expected;
            for (quantile, value) in foretelling.quantiles.iter_mut().zip(&outlook.quantiles) {
                quantile[target] = *value;
            }
            foretelling.naive[target] = last;
            // The fewest whole seasons that lead back to what is known.
            let seasons = (foretelling.horizon_us + season_us - 1) / season_us;
            let before = grid.nearest(target_us.saturating_sub(seasons.saturating_mul(season_us)));
            foretelling.seasonal[target] =
                before.filter(|before| *before <= row).map_or(f64::NAN, |before| values[before]);
        }
    }
    Ok((all, forecaster.version()))
}

/// The rows of a series by their times.
struct Grid<'a> {
    times_us: &'a [i64],
    /// How far from a time a row may be, microseconds.
    reach_us: i64,
}

impl Grid<'_> {
    fn nearest(&self, time_us: i64) -> Option<usize> {
        let after = self.times_us.partition_point(|time| *time < time_us);
        let distance = |row: &usize| self.times_us[*row].abs_diff(time_us);
        let near = after.checked_sub(1).into_iter().chain((after < self.times_us.len()).then_some(after));
        near.min_by_key(distance).filter(|row| distance(row) <= self.reach_us.unsigned_abs())
    }
}

/// The season of the seasonal naive forecast, microseconds: as configured, or the period of the values.
pub fn season_us(series: &SeriesFile, values: &[f64], config: &ForecasterConfig) -> i64 {
    let known: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let found = || (find_length_rank(&known) as i64).saturating_mul(series.interval_us());
    config.season_us.unwrap_or_else(found).max(1)
}

/// How a column was foretold at one horizon.
pub fn judge(
    foretelling: &Foretelling,
    values: &[f64],
    quantiles: &[f64],
) -> (ForecastMeasures, PointErrors) {
    let rows: Vec<usize> = (0..values.len()).filter(|row| foretelling.asked[*row]).collect();
    let came = || rows.iter().copied().filter(|row| values[*row].is_finite());
    let foretold = |of: &[f64], row: usize| Foretold { expected: of[row], actual: values[row] };
    let errors = point_errors(came().map(|row| foretold(&foretelling.expected, row)));
    // On the rows of which both say something: neither gains by its silence.
    let against = |simple: &[f64]| {
        let both = || came().filter(|row| simple[*row].is_finite() && foretelling.expected[*row].is_finite());
        let mae = |of: &[f64]| point_errors(both().map(|row| foretold(of, row))).mae;
        mae(&foretelling.expected) / mae(simple)
    };
    let losses = foretelling
        .quantiles
        .iter()
        .zip(quantiles)
        .map(|(of, quantile)| pinball_loss(came().map(|row| foretold(of, row)), *quantile));
    let pinball = mean_known(losses);
    let nominal = nominal_coverage(quantiles);
    let ends = foretelling.quantiles.first().zip(foretelling.quantiles.last());
    let between = ends.into_iter().flat_map(|(lower, upper)| {
        came().map(|row| Between { lower: lower[row], upper: upper[row], actual: values[row] })
    });
    let covered = coverage(between, nominal);
    let measures = ForecastMeasures {
        horizon_s: foretelling.horizon_us as f64 / SECOND_US,
        mse: errors.mse,
        mae: errors.mae,
        mase_naive: against(&foretelling.naive),
        mase_seasonal: against(&foretelling.seasonal),
        pinball,
        coverage: covered.coverage,
        below: covered.below,
        above: covered.above,
        width_mean: covered.width_mean,
        interval_score: covered.score_mean,
    };
    (measures, errors)
}

/// The share of values between the lowest and the highest quantile.
pub fn nominal_coverage(quantiles: &[f64]) -> f64 {
    quantiles.last().zip(quantiles.first()).map_or(f64::NAN, |(last, first)| last - first)
}

/// The means of each horizon.
pub fn means(series: &[ForecastSeries], horizons_us: &[i64]) -> Vec<ForecastMeasures> {
    let mean_at = |horizon_us: &i64| {
        let horizon_s = *horizon_us as f64 / SECOND_US;
        let mean = |of: fn(&ForecastMeasures) -> f64| {
            let here = series.iter().filter(|one| one.measures.horizon_s == horizon_s);
            mean_known(here.map(|one| of(&one.measures)))
        };
        ForecastMeasures {
            horizon_s,
            mse: mean(|of| of.mse),
            mae: mean(|of| of.mae),
            mase_naive: mean(|of| of.mase_naive),
            mase_seasonal: mean(|of| of.mase_seasonal),
            pinball: mean(|of| of.pinball),
            coverage: mean(|of| of.coverage),
            below: mean(|of| of.below),
            above: mean(|of| of.above),
            width_mean: mean(|of| of.width_mean),
            interval_score: mean(|of| of.interval_score),
        }
    };
    horizons_us.iter().map(mean_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::files;

    const MINUTE_US: i64 = 60_000_000;

    fn config() -> ForecasterConfig {
        ForecasterConfig {
            interval_us: Some(MINUTE_US),
            horizons_us: vec![3 * MINUTE_US],
            quantiles: vec![0.05, 0.5, 0.95],
            season_us: Some(10 * MINUTE_US),
            threshold: None,
        }
    }

    fn series(rows: usize) -> SeriesFile {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        let text: String = (0..rows).map(|row| format!("{}\n", row % 10)).collect();
        std::fs::write(&path, format!("value\n{text}")).expect("a file");
        files::read("a", &path, MINUTE_US, false).expect("a series")
    }

    #[test]
    fn simple_forecasts_say_what_they_should() {
        let file = series(100);
        let values = file.column(0);
        let (all, version) = foretell(&file, &values, &config(), 10 * MINUTE_US).expect("forecasts");
        assert!(!version.is_empty());
        let of = &all[0];
        assert_eq!(of.asked.iter().filter(|asked| **asked).count(), 97);
        assert_eq!((of.naive[50], of.naive[3]), (7.0, 0.0));
        assert_eq!((of.seasonal[57], of.seasonal[13]), (7.0, 3.0));
        assert!(of.seasonal[12 - 3].is_nan() && of.naive[2].is_nan());
    }

    #[test]
    fn what_is_foretold_is_compared_with_what_comes_a_horizon_later() {
        let values: Vec<f64> = (0..6).map(f64::from).collect();
        let foretelling = Foretelling {
            horizon_us: MINUTE_US,
            expected: vec![f64::NAN, f64::NAN, 1.0, 4.0, 4.0, 4.0],
            quantiles: vec![vec![0.0; 6], vec![3.0; 6]],
            naive: vec![f64::NAN, 0.0, 1.0, 2.0, 3.0, 4.0],
            seasonal: vec![f64::NAN; 6],
            asked: vec![false, true, true, true, true, true],
        };
        let (measures, errors) = judge(&foretelling, &values, &[0.1, 0.9]);
        assert_eq!((errors.compared, errors.missing), (4, 1));
        assert_eq!((measures.mse, measures.mae, measures.mase_naive), (0.75, 0.75, 0.75));
        assert!(measures.mase_seasonal.is_nan());
        assert_eq!((measures.coverage, measures.above, measures.width_mean), (0.6, 0.4, 3.0));
    }

    #[test]
    fn rows_are_found_by_their_times() {
        let grid = Grid { times_us: &[0, 10, 30], reach_us: 5 };
        assert_eq!(
            [0, 4, 6, 14, 20, 26, 40].map(|time| grid.nearest(time)),
            [Some(0), Some(0), Some(1), Some(1), None, Some(2), None]
        );
    }
}
