//! What holds of every method of detection, seen from outside.

use thalweg_series::Observation;
use thalweg_series::detect::{Detector, DetectorConfig, DetectorState, Method, Verdict};
use thalweg_series::synthetic::{DAY_US, Random, START_US};

const INTERVAL_US: i64 = DAY_US / 96;

fn detector(method: Method, inputs: usize) -> Detector {
    let config = DetectorConfig {
        method,
        inputs,
        interval_us: Some(INTERVAL_US),
        season_us: Some(DAY_US),
        false_alarms: 1.0,
        false_alarms_per_us: DAY_US,
        settle_us: DAY_US,
    };
    Detector::new(config).expect("a configuration within range")
}

fn observe(detector: &mut Detector, state: &mut DetectorState, row: usize, values: &[f64]) -> Verdict {
    let mut verdict = Verdict::default();
    let time_us = START_US + row as i64 * INTERVAL_US;
    let mut values = values.to_vec();
    values.extend(said(detector, &values));
    detector.observe(state, Observation { time_us, local_us: time_us, values: &values }, &mut verdict);
    verdict
}

/// What a network that knows the level of [`ordinary`] rows would say, where one is asked.
fn said(detector: &Detector, values: &[f64]) -> Vec<f64> {
    if !detector.config().method.is_network() {
        return Vec::new();
    }
    let inputs = values.len();
    let score = values.iter().map(|value| (value - 100.0).abs() / 10.0).fold(f64::NAN, f64::max);
    let each = |number: f64| std::iter::repeat_n(number, inputs);
    let units = each(0.0).chain(each(1.0 / inputs as f64)).chain(each(100.0)).chain(each(10.0));
    [score, 0.0].into_iter().chain(units).collect()
}

/// A day's wave of a tenth around 100 in each input, with noise of 1.
fn ordinary(inputs: usize, row: usize, random: &mut Random) -> Vec<f64> {
    let wave = 10.0 * libm::sin(row as f64 / 96.0 * std::f64::consts::TAU);
    (0..inputs).map(|_| 100.0 + wave + random.normal()).collect()
}

/// A verdict by its bits: NaN is NaN.
fn bits(verdict: &Verdict) -> (Vec<u64>, String) {
    let numbers = [verdict.score, verdict.p_value];
    let lists = [&verdict.expected, &verdict.lower, &verdict.upper, &verdict.attribution];
    let bits = numbers.iter().chain(lists.into_iter().flatten()).map(|value| value.to_bits()).collect();
    let rest = (verdict.is_anomaly, verdict.class, verdict.severity, verdict.n_seen, verdict.status);
    (bits, format!("{rest:?}"))
}

#[test]
fn a_restored_state_says_the_same_to_the_bit() {
    for method in Method::ALL {
        for inputs in [1, 3] {
            let mut detector = detector(method, inputs);
            let mut random = Random::new(1);
            let mut state = detector.begin();
            for row in 0..700 {
                if row % 97 == 0 {
                    let mut bytes = Vec::new();
                    detector.encode(&state, &mut bytes);
                    let restored = detector.decode(&bytes).expect("what was encoded");
                    let values = ordinary(inputs, row, &mut random);
                    let expected = observe(&mut detector, &mut state.clone(), row, &values);
                    state = restored;
                    let found = observe(&mut detector, &mut state, row, &values);
                    assert_eq!(bits(&found), bits(&expected), "{method:?}, row {row}");
                    continue;
                }
                let mut values = ordinary(inputs, row, &mut random);
                if row % 50 == 49 {
                    values[row % inputs] = f64::NAN;
                }
                observe(&mut detector, &mut state, row, &values);
            }
        }
    }
}

#[test]
fn an_outage_is_an_anomaly_and_few_ordinary_rows_are_one() {
    for method in Method::ALL {
        let mut detector = detector(method, 1);
        let mut random = Random::new(2);
        let mut state = detector.begin();
        let (mut events, mut on) = (0, false);
        for row in 0..96 * 12 {
            let values = [100.0 + 10.0 * random.normal()];
            let was_on =
                std::mem::replace(&mut on, observe(&mut detector, &mut state, row, &values).is_anomaly);
            events += u32::from(on && !was_on);
        }
        // Twelve are wanted, one a day; the first days know little, and none of the methods may be far from that.
        assert!(events <= 48, "{method:?}: {events}");
        let found = (0..12).any(|row| observe(&mut detector, &mut state, 96 * 12 + row, &[400.0]).is_anomaly);
        assert!(found, "{method:?}");
    }
}

#[test]
fn nothing_that_comes_makes_a_method_panic() {
    let strange = [f64::MAX, f64::MIN, 0.0, -0.0, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300];
    for method in Method::ALL {
        for inputs in [1, 32] {
            let mut detector = detector(method, inputs);
            let mut random = Random::new(3);
            let mut state = detector.begin();
            for row in 0..400 {
                let mut values = ordinary(inputs, row, &mut random);
                if row % 200 >= 100 {
                    values.iter_mut().for_each(|value| *value = strange[random.below(strange.len())]);
                }
                let verdict = observe(&mut detector, &mut state, row, &values);
                assert!(!(verdict.score < 0.0 || verdict.score.is_infinite()), "{method:?}: {verdict:?}");
                assert!(!(verdict.p_value <= 0.0 || verdict.p_value > 1.0), "{method:?}: {verdict:?}");
            }
        }
    }
}
