//! What grows row by row too little to notice.

use super::*;
use crate::detect::Class;
use crate::synthetic::{Kind, Noise, Random, Recipe};

const WINDOW_US: i64 = 10_000_000;
const ROWS: i64 = 270;

/// What is said of a latency that climbs, after so many ordinary rows, to two and a half times the usual in 45 minutes: the classes of all rows, by
/// row; with noise of 15 %, beside `inputs` less one that stay as they are.
fn creep(seed: u64, before: i64, inputs: usize) -> Vec<Option<Class>> {
    let mut random = Random::new(seed);
    let mut watch =
        Watch::new(DetectorConfig { interval_us: Some(WINDOW_US), season_us: None, ..config(inputs) });
    let mut said = |row: i64| {
        let height = 1.0 + 1.5 * (row - before).max(0) as f64 / ROWS as f64;
        let values = [4900.0 * height, 0.02, 300.0].map(|usual| usual * libm::exp(0.15 * random.normal()));
        watch.at(row * WINDOW_US, row * WINDOW_US, &values[..inputs]).class
    };
    (0..before + ROWS).map(&mut said).collect()
}

#[test]
fn a_creep_is_found_before_it_has_doubled_and_is_called_a_trend() {
    for (before, inputs) in [(60, 1), (60, 3), (150, 3), (400, 1), (2000, 1), (2000, 3)] {
        let (mut found, mut trends) = (0, 0);
        for seed in 0..10 {
            let classes = creep(seed, before, inputs);
            let doubled = before + ROWS * 2 / 3;
            let rows = &classes[before as usize..doubled as usize];
            found += usize::from(rows.iter().any(Option::is_some));
            trends += usize::from(rows.contains(&Some(Class::Trend)));
        }
        assert!(found >= 9, "{before} rows before, {inputs} inputs: {found} of 10 found");
        assert!(trends >= 5, "{before} rows before, {inputs} inputs: {trends} of 10 called TREND");
    }
}

#[test]
fn a_level_that_jumps_while_the_past_is_short_is_mostly_a_drift() {
    let (mut drifts, mut trends) = (0, 0);
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut watch = watch();
        let mut classes = Vec::new();
        for row in 0..220 {
            let level = if row < 120 { 100.0 } else { 130.0 };
            let value = level + 10.0 * random.normal();
            classes.push(watch.at(row * WINDOW_US, row * WINDOW_US, &[value]).class);
        }
        let last = classes[120..].iter().rev().find_map(|class| *class);
        drifts += usize::from(last == Some(Class::Drift));
        trends += usize::from(last == Some(Class::Trend));
    }
    assert!(drifts >= 10 && drifts >= 3 * trends, "of 20 shifts {drifts} called DRIFT and {trends} TREND");
}

fn watch() -> Watch {
    Watch::new(DetectorConfig { interval_us: Some(WINDOW_US), season_us: None, ..config(1) })
}

/// Alarms of a key's first day, rows `interval_us` apart, that are called trends.
fn trends(values: &[f64], interval_us: i64) -> usize {
    let mut watch = Watch::new(DetectorConfig { interval_us: Some(interval_us), ..config(1) });
    let mut on = false;
    let mut trends = 0;
    for (row, value) in values.iter().enumerate() {
        let time_us = row as i64 * interval_us;
        let class = watch.at(time_us, time_us, &[*value]).class;
        trends += usize::from(class == Some(Class::Trend) && !on);
        on = class.is_some();
    }
    trends
}

#[test]
fn slopes_of_a_season_that_is_still_being_learnt_are_none() {
    for interval_us in [WINDOW_US, MINUTE_US] {
        let mut alarms = 0;
        for noise in [Noise::Gaussian, Noise::Heteroscedastic, Noise::Counts] {
            for seed in 0..4 {
                let kind = Kind::Season { noise, weekly: false };
                let rows = (DAY_US / interval_us) as usize;
                let series = Recipe { kind, rows, interval_us, seed }.generate();
                alarms += trends(&series.values, interval_us);
            }
        }
        assert!(alarms <= 3, "{alarms} in 12 first days of rows of {interval_us} µs");
    }
}

#[test]
fn what_wanders_does_not_creep() {
    let mut alarms = 0;
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let carried = if seed % 2 == 0 { 1.0 } else { 0.98 };
        let mut now = 0.0;
        let mut next = || {
            now = carried * now + random.normal();
            1000.0 + now
        };
        let values: Vec<f64> = (0..2000).map(|_| next()).collect();
        alarms += trends(&values, WINDOW_US);
    }
    assert!(alarms <= 2, "{alarms} in 20 series");
}
