//! Warnings: how often what was said to be likely came, and when.

use super::{DAY, INTERVAL_US, config, forecasts};
use crate::forecast::ForecasterConfig;
use crate::synthetic::{Kind, Noise, Recipe, START_US};

/// Probabilities said, and whether the threshold was reached; with the time said, where one was.
struct Warnings {
    said: Vec<(f64, bool)>,
    /// Of warnings with a time: whether it was reached by then.
    by_then: Vec<bool>,
}

/// Warnings of a threshold that a tenth of values lie above.
fn warnings(kind: Kind, seeds: std::ops::Range<u64>, steps: usize) -> Warnings {
    let mut warnings = Warnings { said: Vec::new(), by_then: Vec::new() };
    for seed in seeds {
        let series = Recipe { kind, rows: 12 * DAY, interval_us: INTERVAL_US, seed }.generate();
        let mut sorted = series.values.clone();
        sorted.sort_by(f64::total_cmp);
        let threshold = sorted[sorted.len() * 9 / 10] + if series.counts { 0.5 } else { 1e-9 };
        let config = ForecasterConfig { threshold: Some(threshold), ..config(&[steps], INTERVAL_US) };
        let said = forecasts(config, START_US, INTERVAL_US, &series.values);
        let whole = series.values.len() - steps;
        for (row, said) in said.iter().enumerate().take(whole).skip(2 * DAY) {
            let outlook = &said.outlooks[0];
            let is_below = series.values[row] <= threshold;
            let after = series.values[row + 1..=row + steps]
                .iter()
                .position(|value| if is_below { *value >= threshold } else { *value <= threshold });
            warnings.said.push((outlook.p_crossing, after.is_some()));
            if let Some(crossing_us) = outlook.crossing_us {
                let limit = (crossing_us - series.time_us(row)) / INTERVAL_US;
                assert!((1..=steps as i64).contains(&limit), "{limit} rows ahead");
                warnings.by_then.push(after.is_some_and(|after| (after as i64) < limit));
            }
        }
    }
    warnings
}

/// The mean distance between what was said and how often it came, over tenths of probability (expected calibration error).
fn calibration_error(said: &[(f64, bool)]) -> f64 {
    let mut bins = [(0.0, 0.0); 10];
    for (chance, came) in said {
        let bin = &mut bins[((chance * 10.0) as usize).min(9)];
        bin.0 += chance;
        bin.1 += f64::from(u8::from(*came));
    }
    bins.iter().map(|(chance, came)| (chance - came).abs()).sum::<f64>() / said.len() as f64
}

#[test]
fn what_is_said_to_be_likely_comes_as_often() {
    for kind in Kind::all() {
        for steps in [12, 60] {
            let said = warnings(kind, 0..4, steps).said;
            let error = calibration_error(&said);
            assert!(error < 0.07, "{} {steps} ahead: {error}", kind.name());
        }
    }
}

#[test]
fn warnings_of_a_season_know_more_than_how_often_it_happens() {
    let kind = Kind::Season { noise: Noise::Gaussian, weekly: false };
    let said = warnings(kind, 10..14, 12).said;
    let often = said.iter().filter(|(_, came)| *came).count() as f64 / said.len() as f64;
    let brier = |chance: &dyn Fn(f64) -> f64| {
        let squares = said.iter().map(|(said, came)| chance(*said) - f64::from(u8::from(*came)));
        squares.map(|difference| difference * difference).sum::<f64>() / said.len() as f64
    };
    let (told, constant) = (brier(&|said| said), brier(&|_| often));
    assert!(told < 0.3 * constant, "{told} against {constant}");
}

#[test]
fn by_the_time_that_is_told_it_has_come_about_as_often_as_not() {
    let kinds = [Kind::RandomWalk, Kind::Constant, Kind::Season { noise: Noise::Gaussian, weekly: false }];
    for kind in kinds {
        let by_then = warnings(kind, 20..24, 12).by_then;
        let share = by_then.iter().filter(|is| **is).count() as f64 / by_then.len() as f64;
        assert!(by_then.len() > 100 && (0.3..0.7).contains(&share), "{}: {share}", kind.name());
    }
}
