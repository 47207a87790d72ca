//! Coverage of intervals and size of errors, by kinds of series.

use super::{DAY, INTERVAL_US, Score, config, forecasts};
use crate::forecast::Status;
use crate::synthetic::{Kind, Noise, Random, Recipe, START_US};

const HORIZONS: [usize; 3] = [1, 12, 60];

fn scores(kind: Kind, seeds: std::ops::Range<u64>, days: usize) -> [Score; 3] {
    let mut scores = [Score::default(); 3];
    for seed in seeds {
        let series = Recipe { kind, rows: days * DAY, interval_us: INTERVAL_US, seed }.generate();
        let said = forecasts(config(&HORIZONS, INTERVAL_US), START_US, INTERVAL_US, &series.values);
        for (outlook, (score, steps)) in scores.iter_mut().zip(HORIZONS).enumerate() {
            score.add(&said, &series.values, outlook, steps, 2 * DAY);
        }
    }
    scores
}

#[test]
fn intervals_of_90_per_cent_cover_87_to_93_of_every_kind_at_every_horizon() {
    for kind in Kind::all() {
        for (score, steps) in scores(kind, 100..105, 14).iter().zip(HORIZONS) {
            let coverage = score.coverage();
            assert!((0.87..=0.93).contains(&coverage), "{} {steps} ahead: {coverage}", kind.name());
        }
    }
}

#[test]
fn forecasts_are_as_good_as_the_better_of_naive_and_seasonal_naive() {
    for kind in Kind::all() {
        // Nothing beats the latest value of a random walk, or a step that nothing foretells; what is learnt of their past costs a little.
        let allowed = if matches!(kind, Kind::RandomWalk | Kind::Steps) { 1.04 } else { 1.0 };
        for (score, steps) in scores(kind, 200..203, 14).iter().zip(HORIZONS) {
            let ratio = score.error / score.naive.min(score.seasonal);
            assert!(ratio <= allowed, "{} {steps} ahead: {ratio}", kind.name());
        }
    }
}

#[test]
fn a_season_with_correlated_noise_is_foretold_clearly_better_than_by_either() {
    let kind = Kind::Season { noise: Noise::Autoregressive, weekly: false };
    let [next, hour, later] = scores(kind, 300..303, 14);
    assert!(next.error < 0.95 * next.naive && next.error < 0.6 * next.seasonal, "{next:?}");
    assert!(hour.error < 0.6 * hour.naive && hour.error < 0.85 * hour.seasonal, "{hour:?}");
    assert!(later.error < 0.25 * later.naive && later.error < 0.85 * later.seasonal, "{later:?}");
}

/// An AR(2) series around 50, with complex roots.
fn swings(rows: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let (mut before, mut now) = (0.0, 0.0);
    let mut values = Vec::with_capacity(rows);
    for _ in 0..rows {
        let next = 1.4 * now - 0.7 * before + random.normal();
        (before, now) = (now, next);
        values.push(50.0 + now);
    }
    values
}

/// Solves A x = b by Gaussian elimination with pivots.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let count = b.len();
    for i in 0..count {
        let pivot = (i..count).max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs())).unwrap();
        a.swap(i, pivot);
        b.swap(i, pivot);
        let (above, below) = a.split_at_mut(i + 1);
        for (row, left) in below.iter_mut().enumerate() {
            let factor = left[i] / above[i][i];
            left.iter_mut().zip(&above[i]).for_each(|(left, pivot)| *left -= factor * pivot);
            b[i + 1 + row] -= factor * b[i];
        }
    }
    for i in (0..count).rev() {
        let known: f64 = (i + 1..count).map(|j| a[i][j] * b[j]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

#[test]
fn it_is_near_a_ridge_regression_on_many_lags_fitted_offline() {
    const LAGS: usize = 24;
    let values = swings(6000, 5);
    let (train, steps) = (3000, 4);
    let lags = |row: usize| {
        let mut x = vec![1.0];
        x.extend((0..LAGS).map(|lag| values[row - lag] - 50.0));
        x
    };
    let (mut a, mut b) = (vec![vec![0.0; LAGS + 1]; LAGS + 1], vec![0.0; LAGS + 1]);
    for row in LAGS..train - steps {
        let x = lags(row);
        for i in 0..=LAGS {
            (0..=LAGS).for_each(|j| a[i][j] += x[i] * x[j]);
            b[i] += x[i] * (values[row + steps] - 50.0);
        }
    }
    (0..=LAGS).for_each(|i| a[i][i] += 1.0);
    let coefficients = solve(a, b);
    let mut offline = 0.0;
    for row in train..values.len() - steps {
        let expected: f64 = lags(row).iter().zip(&coefficients).map(|(x, c)| x * c).sum();
        offline += (values[row + steps] - 50.0 - expected).abs();
    }
    let said = forecasts(config(&[steps], INTERVAL_US), START_US, INTERVAL_US, &values);
    let mut score = Score::default();
    score.add(&said, &values, 0, steps, train);
    assert!(score.error < 1.02 * offline, "{} against {offline}", score.error);
    assert!(score.error < 0.8 * score.naive);
}

#[test]
fn in_the_first_rows_it_is_no_worse_than_the_latest_value() {
    for kind in Kind::all() {
        let mut score = Score::default();
        for seed in 0..20 {
            let series = Recipe { kind, rows: 100, interval_us: INTERVAL_US, seed }.generate();
            let said = forecasts(config(&[1], INTERVAL_US), START_US, INTERVAL_US, &series.values);
            assert_eq!(said[5].status, Status::Warming);
            assert!(said[5].outlooks[0].expected.is_nan());
            assert_eq!(said[25].status, Status::Ok, "{}", kind.name());
            score.add(&said, &series.values, 0, 1, 0);
        }
        assert!(score.error <= 1.02 * score.naive, "{}: {score:?}", kind.name());
        assert!((0.85..=0.95).contains(&score.coverage()), "{}: {score:?}", kind.name());
    }
}

#[test]
fn an_hour_of_daylight_saving_does_not_shift_the_season() {
    let kind = Kind::Season { noise: Noise::Gaussian, weekly: false };
    let series = Recipe { kind, rows: 12 * DAY, interval_us: INTERVAL_US, seed: 3 }.generate();
    // Clocks go forward at midnight of day 8: by local time, the hour after it is missing.
    let (change, hour) = (8 * DAY, 12);
    let rows = (0..series.values.len()).filter(|row| !(change..change + hour).contains(row));
    let mut forecaster = crate::forecast::Forecaster::new(config(&[36], INTERVAL_US)).unwrap();
    let mut state = forecaster.begin();
    let mut forecast = crate::forecast::Forecast::default();
    let (mut before, mut after) = (0.0, 0.0);
    for (passed, row) in rows.enumerate() {
        let row_of = |slots: usize| START_US + slots as i64 * INTERVAL_US;
        let values = [series.values[row]];
        let seen = crate::Observation { time_us: row_of(passed), local_us: row_of(row), values: &values };
        forecaster.observe(&mut state, seen, &mut forecast);
        let error =
            series.values.get(row + 36).map_or(0.0, |came| (came - forecast.outlooks[0].expected).abs());
        if (4 * DAY..change - DAY).contains(&row) {
            before += error / (4.0 - 1.0);
        } else if (change + DAY / 4..12 * DAY - 36).contains(&row) {
            after += error / (4.0 - 0.25 - 0.125);
        }
    }
    assert!(after < 1.15 * before, "{after} after, {before} before");
}
