//! New keys among others: judged from the fifth row on, by how far the others scatter.

use super::*;
use crate::detect::{Sibling, Siblings};
use crate::synthetic::Random;

/// Siblings of levels from 100 to 10,000 whose values scatter by a tenth of that, more or less: one input.
fn siblings() -> Siblings {
    let mut random = Random::new(99);
    let sibling = |_| {
        let level = 100.0 * libm::exp(random.between(0.0, libm::log(100.0)));
        let noise = 0.1 * libm::exp(0.2 * random.normal());
        let values: Vec<f64> = (0..60).map(|_| level * libm::exp(noise * random.normal())).collect();
        Sibling {
            rows: 60.0,
            mean: values.iter().sum::<f64>() / 60.0,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: values.iter().copied().fold(0.0, f64::max),
        }
    };
    Siblings::new([(0..40).map(sibling).collect()])
}

/// The first row that is an anomaly of a key that begins among siblings.
fn first_alarm(
    siblings: Option<&Siblings>,
    rows: usize,
    value: &mut dyn FnMut(usize) -> f64,
) -> Option<usize> {
    let mut detector = Detector::new(config(1)).unwrap();
    let mut state = siblings.map_or_else(|| detector.begin(), |siblings| detector.begin_among(siblings));
    let mut verdict = Verdict::default();
    (0..rows).find(|row| {
        let time_us = *row as i64 * MINUTE_US;
        let values = [value(*row)];
        detector.observe(
            &mut state,
            Observation { time_us, local_us: time_us, values: &values },
            &mut verdict,
        );
        verdict.is_anomaly
    })
}

#[test]
fn an_outage_of_a_key_some_rows_old_is_found_at_once_among_siblings_and_not_alone() {
    let siblings = siblings();
    for begins in [5, 8, 14] {
        let mut found = [0, 0];
        for seed in 0..100 {
            for (count, siblings) in found.iter_mut().zip([Some(&siblings), None]) {
                let mut random = Random::new(seed);
                let level = random.between(200.0, 5000.0);
                let mut value = |row: usize| {
                    let times = if row < begins { 1.0 } else { 3.0 };
                    level * times * libm::exp(0.1 * random.normal())
                };
                *count += usize::from(first_alarm(siblings, begins + 2, &mut value) >= Some(begins));
            }
        }
        assert!(found[0] >= 95, "from row {begins}: {found:?}");
        assert_eq!(found[1], 0, "nobody can tell");
    }
}

#[test]
fn new_keys_among_siblings_raise_hardly_an_alarm() {
    let siblings = siblings();
    let alarms = |noise: f64, climb: f64| {
        let alarmed = |seed: &u64| {
            let mut random = Random::new(*seed);
            let level = random.between(200.0, 5000.0);
            let mut value =
                |row: usize| level * (1.0 + climb * row as f64).min(3.0) * libm::exp(noise * random.normal());
            first_alarm(Some(&siblings), 100, &mut value).is_some()
        };
        (0..300).filter(alarmed).count()
    };
    assert!(alarms(0.1, 0.0) < 300 / 20, "as noisy as its siblings: {}", alarms(0.1, 0.0));
    assert!(alarms(0.03, 0.0) < 300 / 20, "calmer: {}", alarms(0.03, 0.0));
    assert!(alarms(0.2, 0.0) < 300 / 8, "twice as noisy: {}", alarms(0.2, 0.0));
    assert!(alarms(0.1, 0.1) < 300 / 10, "one that is only starting: {}", alarms(0.1, 0.1));
}

#[test]
fn what_siblings_told_is_in_the_state() {
    let siblings = siblings();
    let mut detector = Detector::new(config(1)).unwrap();
    let (mut whole, mut again) = (detector.begin_among(&siblings), detector.begin_among(&siblings));
    let mut random = Random::new(5);
    let (mut one, mut other) = (Verdict::default(), Verdict::default());
    for row in 0..40 {
        let values = [1000.0 * libm::exp(0.1 * random.normal()) * if row == 9 { 3.0 } else { 1.0 }];
        let row = Observation { time_us: row * MINUTE_US, local_us: row * MINUTE_US, values: &values };
        detector.observe(&mut whole, row, &mut one);
        let mut bytes = Vec::new();
        detector.encode(&again, &mut bytes);
        again = detector.decode(&bytes).unwrap();
        detector.observe(&mut again, row, &mut other);
        assert_eq!((one.p_value.to_bits(), one.is_anomaly), (other.p_value.to_bits(), other.is_anomaly));
    }
}
