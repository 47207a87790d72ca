//! What forecasts promise, checked on series whose future is known.

mod accuracy;
mod crossing;
mod real;
mod states;

use crate::Observation;
use crate::forecast::{Forecast, Forecaster, ForecasterConfig};

/// Five minutes.
const INTERVAL_US: i64 = 300_000_000;

/// Rows of a day.
const DAY: usize = 288;

fn config(horizons: &[usize], interval_us: i64) -> ForecasterConfig {
    ForecasterConfig {
        interval_us: None,
        horizons_us: horizons.iter().map(|horizon| *horizon as i64 * interval_us).collect(),
        quantiles: vec![0.05, 0.5, 0.95],
        season_us: None,
        threshold: None,
    }
}

/// What is said after each row of a series that begins at `start_us`.
fn forecasts(config: ForecasterConfig, start_us: i64, interval_us: i64, values: &[f64]) -> Vec<Forecast> {
    let mut forecaster = Forecaster::new(config).expect("a sound configuration");
    let mut state = forecaster.begin();
    let mut forecast = Forecast::default();
    let mut said = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let time_us = start_us + row as i64 * interval_us;
        let row = Observation { time_us, local_us: time_us, values: &[*value] };
        forecaster.observe(&mut state, row, &mut forecast);
        said.push(forecast.clone());
    }
    said
}

/// How forecasts at one horizon compare with what came.
#[derive(Debug, Default, Clone, Copy)]
struct Score {
    count: f64,
    covered: f64,
    error: f64,
    naive: f64,
    seasonal: f64,
}

impl Score {
    /// Adds forecasts from row `from` on, where something was said.
    fn add(&mut self, said: &[Forecast], values: &[f64], outlook: usize, steps: usize, from: usize) {
        for row in from..values.len().saturating_sub(steps) {
            let outlook = &said[row].outlooks[outlook];
            let came = values[row + steps];
            if outlook.expected.is_nan() || came.is_nan() {
                continue;
            }
            let inside = outlook.quantiles[0] <= came && came <= outlook.quantiles[2];
            self.count += 1.0;
            self.covered += f64::from(u8::from(inside));
            self.error += (came - outlook.expected).abs();
            self.naive += (came - values[row]).abs();
            self.seasonal +=
                (row + steps).checked_sub(DAY).map_or(0.0, |before| (came - values[before]).abs());
        }
    }

    fn coverage(&self) -> f64 {
        self.covered / self.count
    }
}
