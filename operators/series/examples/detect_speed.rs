//! How many rows a second one core judges over many keys, and how large a key's state is.
//!
//! `cargo run --release -p thalweg-series --example detect_speed [METHOD] [KEYS] [INPUTS]`

#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::time::Instant;

use thalweg_series::Observation;
use thalweg_series::detect::{Detector, DetectorConfig, Method, Verdict};
use thalweg_series::synthetic::{DAY_US, Random};

const MINUTE_US: i64 = 60_000_000;
const ROWS_A_KEY: i64 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = arguments.first().map_or("auto", String::as_str);
    let method = Method::ALL.into_iter().find(|method| method.name() == named).ok_or("no such method")?;
    let keys: usize = arguments.get(1).map_or(Ok(10_000), |text| text.parse())?;
    let inputs: usize = arguments.get(2).map_or(Ok(1), |text| text.parse())?;
    let mut detector = Detector::new(DetectorConfig {
        method,
        inputs,
        interval_us: Some(MINUTE_US),
        season_us: Some(DAY_US),
        false_alarms: 1.0,
        false_alarms_per_us: DAY_US,
        settle_us: 60 * MINUTE_US,
    })?;
    let mut random = Random::new(1);
    let noise: Vec<f64> = (0..65_536 + inputs).map(|_| 100.0 + random.normal()).collect();
    let mut states: Vec<_> = (0..keys).map(|_| detector.begin()).collect();
    let mut verdict = Verdict::default();
    let mut anomalies = 0u64;
    let mut best = f64::MAX;
    for row in 0..ROWS_A_KEY {
        let time_us = row * MINUTE_US;
        let began = Instant::now();
        for (key, state) in states.iter_mut().enumerate() {
            let place = (key * 31 + row as usize * 1009) % 65_536;
            let values = &noise[place..place + inputs];
            detector.observe(state, Observation { time_us, local_us: time_us, values }, &mut verdict);
            anomalies += u64::from(verdict.is_anomaly);
        }
        if row > ROWS_A_KEY / 2 {
            best = best.min(began.elapsed().as_secs_f64());
        }
    }
    let mut bytes = Vec::new();
    detector.encode(&states[0], &mut bytes);
    println!(
        "{named}, {keys} keys, {inputs} inputs: {:.0} rows/s, {:.2} µs a row, {} bytes of state a key, {anomalies} anomalies",
        keys as f64 / best,
        best / keys as f64 * 1e6,
        bytes.len(),
    );
    Ok(())
}
