//! How many rows a second one core forecasts from, and how many bytes the state of a key takes when encoded.
//! Processor time of the one thread.
//!
//! Keys take turns row by row, as they do behind a window of a minute, so a key's state is out of the caches when its turn comes again.
//!
//! ```text
//! cargo run --release -p thalweg-series --example forecast_speed [keys] [rows]
//! ```
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::hint::black_box;
use std::time::Instant;

use thalweg_series::Observation;
use thalweg_series::forecast::{Forecast, Forecaster, ForecasterConfig, ForecasterState};
use thalweg_series::synthetic::{DAY_US, Kind, Noise, Recipe};

const MINUTE_US: i64 = 60_000_000;

/// Rows before the measurement: two days and a bit.
const WARM: usize = 3000;

/// Series made; keys share them, shifted by some rows.
const SERIES: usize = 64;

/// Nanoseconds that this thread has spent on a processor, where the system tells it: others share the machine.
fn processor_nanoseconds() -> Option<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split_whitespace().next()?.parse().ok()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a whole number"));
    let keys: usize = arguments.next().unwrap_or(10_000);
    let rows: usize = arguments.next().unwrap_or(200);
    let series: Vec<Vec<f64>> = (0..SERIES as u64)
        .map(|seed| {
            let kind = Kind::Season { noise: Noise::Gaussian, weekly: false };
            Recipe { kind, rows: 4 * 1440 + WARM + rows, interval_us: MINUTE_US, seed }.generate().values
        })
        .collect();
    println!("{:>22} {:>12} {:>12} {:>12} {:>12}", "horizons", "threshold", "rows/s", "ns/row", "bytes/key");
    for (horizons, threshold) in [
        (&[1][..], None),
        (&[60][..], None),
        (&[60][..], Some(150.0)),
        (&[1, 15, 60][..], None),
        (&[1, 15, 60][..], Some(150.0)),
    ] {
        let config = ForecasterConfig {
            interval_us: Some(MINUTE_US),
            horizons_us: horizons.iter().map(|horizon| horizon * MINUTE_US).collect(),
            quantiles: vec![0.05, 0.5, 0.95],
            season_us: Some(DAY_US),
            threshold,
        };
        let mut forecaster = Forecaster::new(config).expect("a sound configuration");
        let mut forecast = Forecast::default();
        let mut step = |forecaster: &mut Forecaster, state: &mut ForecasterState, key: usize, row: usize| {
            let time_us = row as i64 * MINUTE_US;
            let values = &series[key % SERIES];
            let value = values[(row + key / SERIES) % values.len()];
            forecaster.observe(
                state,
                Observation { time_us, local_us: time_us, values: &[value] },
                &mut forecast,
            );
            black_box(&forecast);
        };
        // Two days of each series; keys of a series begin as copies of one state.
        let mut begun: Vec<ForecasterState> = (0..SERIES).map(|_| forecaster.begin()).collect();
        for (key, state) in begun.iter_mut().enumerate() {
            (0..WARM).for_each(|row| step(&mut forecaster, state, key, row));
        }
        let mut states: Vec<ForecasterState> = (0..keys).map(|key| begun[key % SERIES].clone()).collect();
        let (start, start_nanoseconds) = (Instant::now(), processor_nanoseconds());
        for row in WARM..WARM + rows {
            for (key, state) in states.iter_mut().enumerate() {
                step(&mut forecaster, state, key, row);
            }
        }
        let spent = start_nanoseconds.zip(processor_nanoseconds()).map(|(from, to)| (to - from) as f64 / 1e9);
        let seconds = spent.unwrap_or_else(|| start.elapsed().as_secs_f64());
        let total = (keys * rows) as f64;
        let mut bytes = Vec::new();
        states.iter().take(SERIES).for_each(|state| forecaster.encode(state, &mut bytes));
        println!(
            "{:>22} {:>12} {:>12.0} {:>12.0} {:>12}",
            format!("{horizons:?}"),
            threshold.map_or_else(|| "none".to_owned(), |threshold| threshold.to_string()),
            total / seconds,
            seconds / total * 1e9,
            bytes.len() / SERIES.min(keys)
        );
    }
}
