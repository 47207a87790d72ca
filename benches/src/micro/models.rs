//! Models of series: what a row costs where ten thousand series take turns, so that none of their states stays in the cache.

use thalweg_series::Observation;
use thalweg_series::converge::{Convergence, Converger, ConvergerConfig};
use thalweg_series::detect::{Detector, DetectorConfig, Method, Verdict};
use thalweg_series::forecast::{Forecast, Forecaster, ForecasterConfig};

use super::{Part, mean_of_runs, nanoseconds_each};

const SERIES: usize = 10_000;
/// Rows of a series in a run, after those by which the models have come to know it.
const ROWS: usize = 20;
const ROWS_BEFORE: usize = 300;
const MINUTE_US: i64 = 60_000_000;
/// Half a million rows a second.
const DETECT_NS_MAX: f64 = 2_000.0;

/// A minute's value of a series: a daily season, its own level, noise.
fn value(series: usize, minute: i64) -> f64 {
    let random = (series as u64 ^ (minute as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let noise = (random >> 40) as f64 / (1_u64 << 24) as f64;
    let day = (minute % 1440) as f64 / 1440.0 * std::f64::consts::TAU;
    100.0 + series as f64 / 100.0 + 20.0 * day.sin() + 8.0 * noise
}

/// A run of a model over all series, minute by minute. The states go on from run to run, as in a job.
fn cost<S>(
    mut states: Vec<S>,
    values_of: impl Fn(usize, i64) -> Vec<f64>,
    mut observe: impl FnMut(&mut S, Observation<'_>),
) -> anyhow::Result<f64> {
    let mut minute = 0;
    let mut rows = |states: &mut Vec<S>, count: usize| {
        for _ in 0..count {
            let time_us = minute * MINUTE_US;
            for (series, state) in states.iter_mut().enumerate() {
                let values = values_of(series, minute);
                observe(state, Observation { time_us, local_us: time_us, values: &values });
            }
            minute += 1;
        }
    };
    rows(&mut states, ROWS_BEFORE);
    let time = mean_of_runs(|| rows(&mut states, ROWS))?;
    Ok(nanoseconds_each(time, states.len() * ROWS))
}

/// Detection, forecasts and convergence.
pub(crate) fn models() -> anyhow::Result<Vec<Part>> {
    let mut parts = Vec::new();
    let config = DetectorConfig {
        method: Method::Auto,
        inputs: 1,
        interval_us: Some(MINUTE_US),
        season_us: None,
        false_alarms: 1.0,
        false_alarms_per_us: 1440 * MINUTE_US,
        settle_us: 60 * MINUTE_US,
    };
    let mut detector = Detector::new(config)?;
    let mut verdict = Verdict::default();
    let states = (0..SERIES).map(|_| detector.begin()).collect();
    let one = |series, minute| vec![value(series, minute)];
    let nanoseconds = cost(states, one, |state, row| detector.observe(state, row, &mut verdict))?;
    parts.push(Part::new("model: detect, auto, 10,000 series", nanoseconds).held_to(DETECT_NS_MAX));
    let config = ForecasterConfig {
        interval_us: Some(MINUTE_US),
        horizons_us: vec![60 * MINUTE_US],
        quantiles: vec![0.05, 0.5, 0.95],
        season_us: None,
        threshold: None,
    };
    let mut forecaster = Forecaster::new(config)?;
    let mut forecast = Forecast::default();
    let states = (0..SERIES).map(|_| forecaster.begin()).collect();
    let nanoseconds = cost(states, one, |state, row| forecaster.observe(state, row, &mut forecast))?;
    parts.push(Part::new("model: forecast, one horizon", nanoseconds));

    let config = ConvergerConfig { target: Some(130.0), falling: false, end: None, stall_after: 20 };
    let mut converger = Converger::new(config)?;
    let mut said = Convergence::default();
    let states = (0..SERIES / 100).map(|_| converger.begin()).collect();
    let curve = |series, minute| {
        vec![minute as f64, 100.0 - 1e3 / (minute + 10) as f64 + value(series, minute) / 100.0]
    };
    let nanoseconds = cost(states, curve, |state, row| converger.observe(state, row, &mut said))?;
    parts.push(Part::new("model: converge", nanoseconds));
    Ok(parts)
}
