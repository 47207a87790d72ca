//! States, units, and input of every sort.

use proptest::prelude::*;

use super::{DAY, INTERVAL_US, Score, config, forecasts};
use crate::Observation;
use crate::bytes::StateError;
use crate::forecast::{Forecast, Forecaster, ForecasterConfig, Status};
use crate::synthetic::{Kind, Noise, Random, Recipe, START_US};

fn season(rows: usize, seed: u64) -> Vec<f64> {
    let kind = Kind::Season { noise: Noise::Gaussian, weekly: false };
    Recipe { kind, rows, interval_us: INTERVAL_US, seed }.generate().values
}

fn warned(horizons: &[usize], threshold: f64) -> ForecasterConfig {
    ForecasterConfig { threshold: Some(threshold), ..config(horizons, INTERVAL_US) }
}

/// All numbers of a forecast, by their bits.
fn bits(forecast: &Forecast) -> Vec<u64> {
    let outlooks = forecast.outlooks.iter().flat_map(|outlook| {
        let numbers = [outlook.expected, outlook.p_crossing].into_iter().chain(outlook.quantiles.clone());
        numbers.map(f64::to_bits).chain([outlook.crossing_us.unwrap_or(-1) as u64])
    });
    outlooks.chain([forecast.n_seen, forecast.status as u64]).collect()
}

#[test]
fn a_state_that_was_written_and_read_goes_on_to_the_bit() {
    let mut forecaster = Forecaster::new(warned(&[1, 40], 60.0)).unwrap();
    let mut random = Random::new(9);
    let (mut kept, mut written) = (forecaster.begin(), forecaster.begin());
    let (mut one, mut other) = (Forecast::default(), Forecast::default());
    let mut time_us = START_US;
    for (row, value) in season(3 * DAY, 4).into_iter().enumerate() {
        time_us += INTERVAL_US * if random.below(50) == 0 { 3 } else { 1 };
        let value = if random.below(40) == 0 { f64::NAN } else { value };
        let values = [value];
        let seen = Observation { time_us, local_us: time_us, values: &values };
        if row % 7 == 0 || row < 30 {
            let mut bytes = Vec::new();
            forecaster.encode(&written, &mut bytes);
            written = forecaster.decode(&bytes).unwrap();
            let mut again = Vec::new();
            forecaster.encode(&written, &mut again);
            assert_eq!(bytes, again, "row {row}");
        }
        forecaster.observe(&mut kept, seen, &mut one);
        forecaster.observe(&mut written, seen, &mut other);
        assert_eq!(bits(&one), bits(&other), "row {row}");
    }
    assert!(one.outlooks[1].expected.is_finite());
}

#[test]
fn damaged_bytes_and_those_of_another_configuration_are_refused() {
    let mut forecaster = Forecaster::new(warned(&[1, 5], 60.0)).unwrap();
    let mut state = forecaster.begin();
    for (row, value) in season(DAY + 50, 4).into_iter().enumerate() {
        let time_us = START_US + row as i64 * INTERVAL_US;
        let seen = Observation { time_us, local_us: time_us, values: &[value] };
        forecaster.observe(&mut state, seen, &mut Forecast::default());
    }
    let mut bytes = Vec::new();
    forecaster.encode(&state, &mut bytes);
    for cut in [0, 1, 10, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(forecaster.decode(&bytes[..cut]), Err(StateError::Short { .. })), "{cut}");
    }
    bytes.push(0);
    assert_eq!(forecaster.decode(&bytes).err(), Some(StateError::Long { left: 1 }));
    bytes.pop();
    for other in [warned(&[1, 6], 60.0), config(&[1, 5], INTERVAL_US)] {
        let error = Forecaster::new(other).unwrap().decode(&bytes).err();
        assert!(matches!(error, Some(StateError::Other { .. })), "{error:?}");
    }
}

#[test]
fn a_series_shifted_and_scaled_is_forecast_shifted_and_scaled() {
    let values = season(3 * DAY, 8);
    let told = forecasts(config(&[1, 30], INTERVAL_US), START_US, INTERVAL_US, &values);
    for (factor, shift) in [(1e-12, 0.0), (1e9, 0.0), (1.0, 1e6), (-250.0, 3.0), (0.001, -20.0)] {
        let moved: Vec<f64> = values.iter().map(|value| value * factor + shift).collect();
        let said = forecasts(config(&[1, 30], INTERVAL_US), START_US, INTERVAL_US, &moved);
        for (said, told) in said.iter().zip(&told).flat_map(|(s, t)| s.outlooks.iter().zip(&t.outlooks)) {
            let expected = told.expected * factor + shift;
            let near = (said.expected - expected).abs() <= 1e-4 * factor.abs() * 100.0;
            assert!(near || (said.expected.is_nan() && told.expected.is_nan()), "{said:?} {expected}");
        }
    }
}

#[test]
fn a_constant_series_is_foretold_without_doubt_and_a_new_level_is_learnt() {
    let mut values = vec![7.5; 200];
    values.extend(vec![9.0; 200]);
    let said = forecasts(config(&[1, 20], INTERVAL_US), START_US, INTERVAL_US, &values);
    for outlook in &said[150].outlooks {
        assert_eq!((outlook.expected, outlook.quantiles.as_slice()), (7.5, [7.5; 3].as_slice()));
    }
    assert!((said[399].outlooks[0].expected - 9.0).abs() < 0.01, "{:?}", said[399]);
    assert!((said[399].outlooks[1].expected - 9.0).abs() < 0.1, "{:?}", said[399]);
}

#[test]
fn a_shift_of_level_is_followed_at_once() {
    let mut values = season(6 * DAY, 12);
    values[5 * DAY..].iter_mut().for_each(|value| *value += 500.0);
    let said = forecasts(config(&[1], INTERVAL_US), START_US, INTERVAL_US, &values);
    let mut score = Score::default();
    score.add(&said, &values, 0, 1, 5 * DAY + 20);
    assert!(score.error < 1.3 * score.naive, "{score:?}");
}

#[test]
fn rows_that_are_missing_are_told_and_bridged() {
    let values = season(6 * DAY, 6);
    let mut forecaster = Forecaster::new(config(&[12], INTERVAL_US)).unwrap();
    let mut state = forecaster.begin();
    let mut forecast = Forecast::default();
    let (mut error, mut whole, mut count) = (0.0, 0.0, 0.0);
    let told = forecasts(config(&[12], INTERVAL_US), START_US, INTERVAL_US, &values);
    let mut random = Random::new(1);
    let mut gap = false;
    for (row, value) in values.iter().enumerate() {
        let time_us = START_US + row as i64 * INTERVAL_US;
        if row > 20 && random.below(10) == 0 || (4 * DAY..4 * DAY + 100).contains(&row) {
            gap = true;
            continue;
        }
        let seen = Observation { time_us, local_us: time_us, values: &[*value] };
        forecaster.observe(&mut state, seen, &mut forecast);
        if row > DAY {
            assert_eq!(forecast.status, if gap { Status::Gap } else { Status::Ok }, "row {row}");
        }
        gap = false;
        if (3 * DAY..6 * DAY - 12).contains(&row) {
            error += (values[row + 12] - forecast.outlooks[0].expected).abs();
            whole += (values[row + 12] - told[row].outlooks[0].expected).abs();
            count += 1.0;
        }
    }
    assert!(error < 1.1 * whole, "{} with gaps, {} without", error / count, whole / count);
}

#[test]
fn a_value_that_is_missing_widens_intervals() {
    let mut values = season(3 * DAY, 6);
    values[800..820].fill(f64::NAN);
    let said = forecasts(config(&[1], INTERVAL_US), START_US, INTERVAL_US, &values);
    let width = |row: usize| said[row].outlooks[0].quantiles[2] - said[row].outlooks[0].quantiles[0];
    assert_eq!(said[810].status, Status::Gap);
    assert!(width(819) > 2.0 * width(799) && width(840) < 1.5 * width(799));
}

#[test]
fn an_interval_that_changes_is_learnt_anew() {
    let mut forecaster = Forecaster::new(config(&[4], INTERVAL_US)).unwrap();
    let mut state = forecaster.begin();
    let mut forecast = Forecast::default();
    let mut time_us = START_US;
    let mut warming_again = false;
    for row in 0..600 {
        time_us += if row < 300 { INTERVAL_US } else { INTERVAL_US / 5 };
        let value = [f64::from(row % 5)];
        forecaster.observe(
            &mut state,
            Observation { time_us, local_us: time_us, values: &value },
            &mut forecast,
        );
        warming_again |= row > 300 && forecast.status == Status::Warming;
    }
    assert!(warming_again);
    assert_eq!(forecast.status, Status::Ok);
}

#[test]
fn configurations_out_of_range_are_refused() {
    let sound = config(&[1], INTERVAL_US);
    let field = |config| Forecaster::new(config).err().map(|error| error.field);
    assert_eq!(field(sound.clone()), None);
    assert_eq!(field(ForecasterConfig { interval_us: Some(0), ..sound.clone() }), Some("interval_us"));
    assert_eq!(field(ForecasterConfig { season_us: Some(-1), ..sound.clone() }), Some("season_us"));
    assert_eq!(field(ForecasterConfig { horizons_us: vec![], ..sound.clone() }), Some("horizons_us"));
    assert_eq!(field(ForecasterConfig { horizons_us: vec![2, 2], ..sound.clone() }), Some("horizons_us"));
    assert_eq!(field(ForecasterConfig { quantiles: vec![0.5, 0.1], ..sound.clone() }), Some("quantiles"));
    assert_eq!(field(ForecasterConfig { quantiles: vec![1.0], ..sound.clone() }), Some("quantiles"));
    assert_eq!(field(ForecasterConfig { threshold: Some(f64::NAN), ..sound }), Some("threshold"));
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -100.0..100.0,
        1 => any::<f64>(),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(1e30), Just(-1e30), Just(1e-300), Just(0.0)],
    ]
}

fn any_step() -> impl Strategy<Value = i64> {
    prop_oneof![12 => Just(INTERVAL_US), 2 => 0..10 * INTERVAL_US, 1 => 0..i64::MAX / 300]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_panics_and_quantiles_ascend(
        rows in prop::collection::vec((any_value(), any_step()), 1..250),
        interval in prop_oneof![Just(None), Just(Some(INTERVAL_US)), Just(Some(1))],
        season in prop_oneof![Just(None), Just(Some(20 * INTERVAL_US)), Just(Some(1))],
    ) {
        let config = ForecasterConfig { interval_us: interval, season_us: season, ..warned(&[1, 20], 3.0) };
        let mut forecaster = Forecaster::new(config).unwrap();
        let mut state = forecaster.begin();
        let mut forecast = Forecast::default();
        let mut time_us = 0;
        for (value, step) in rows {
            time_us += step;
            forecaster.observe(
                &mut state,
                Observation { time_us, local_us: time_us, values: &[value] },
                &mut forecast,
            );
            for outlook in forecast.outlooks.iter().filter(|outlook| !outlook.expected.is_nan()) {
                prop_assert!(outlook.quantiles.is_sorted(), "{:?}", outlook);
                prop_assert!(outlook.expected.is_finite() && outlook.quantiles.iter().all(|q| q.is_finite()));
                prop_assert!((0.0..=1.0).contains(&outlook.p_crossing), "{:?}", outlook);
            }
            let mut bytes = Vec::new();
            forecaster.encode(&state, &mut bytes);
            prop_assert!(forecaster.decode(&bytes).is_ok());
        }
    }
}
