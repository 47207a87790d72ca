//! The same rows, the same bits: through a restart, and whatever the unit.

use proptest::prelude::*;

use super::*;
use crate::synthetic::Random;

/// Noise with a spike, a shift and missing values.
fn rows(seed: u64, count: usize, inputs: usize) -> Vec<Vec<f64>> {
    let mut random = Random::new(seed);
    let value = |row: usize, random: &mut Random| {
        let level = if row > count / 2 { 120.0 } else { 100.0 };
        let spike = if row % 97 == 96 { 40.0 } else { 0.0 };
        if random.uniform() < 0.01 { f64::NAN } else { level + spike + 3.0 * random.normal() }
    };
    (0..count).map(|row| (0..inputs).map(|_| value(row, &mut random)).collect()).collect()
}

fn bits(verdict: &Verdict) -> String {
    let lists = [&verdict.expected, &verdict.lower, &verdict.upper, &verdict.attribution];
    let bits = |list: &Vec<f64>| list.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    format!(
        "{} {} {:?} {:?} {:?} {:?}",
        verdict.score.to_bits(),
        verdict.p_value.to_bits(),
        lists.map(bits),
        verdict.class,
        verdict.severity,
        (verdict.is_anomaly, verdict.n_seen, verdict.status),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_restart_at_any_row_changes_nothing(seed in 0u64..1000, at in 0usize..600, inputs in 1usize..4) {
        let mut through = Watch::new(config(inputs));
        let mut restarted = Watch::new(config(inputs));
        for (row, values) in rows(seed, 600, inputs).iter().enumerate() {
            if row == at {
                restarted.restart();
            }
            let expected = bits(through.row(row as i64, values));
            prop_assert_eq!(bits(restarted.row(row as i64, values)), expected);
        }
    }

    #[test]
    fn another_unit_changes_no_verdict(seed in 0u64..1000, power in -40i32..40) {
        let unit = libm::exp2(f64::from(power));
        let mut plain = Watch::new(config(2));
        let mut scaled = Watch::new(config(2));
        for (row, values) in rows(seed, 600, 2).iter().enumerate() {
            let plain = plain.row(row as i64, values);
            let values: Vec<f64> = values.iter().map(|value| value * unit).collect();
            let scaled = scaled.row(row as i64, &values);
            prop_assert_eq!(scaled.score.to_bits(), plain.score.to_bits(), "row {}", row);
            prop_assert_eq!(scaled.p_value.to_bits(), plain.p_value.to_bits());
            prop_assert_eq!((scaled.class, scaled.severity), (plain.class, plain.severity));
            prop_assert_eq!(scaled.lower[0].to_bits(), (plain.lower[0] * unit).to_bits());
        }
    }

    #[test]
    fn nothing_that_comes_makes_it_panic_or_say_what_is_no_verdict(
        values in prop::collection::vec(
            prop_oneof![
                Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX), Just(f64::MIN),
                Just(f64::MIN_POSITIVE), Just(5e-324), Just(7.0), any::<f64>(), -1.0..1.0,
            ],
            200..400,
        ),
        calm in 0usize..200,
    ) {
        let mut watch = Watch::new(config(2));
        let calm_rows = std::iter::repeat_n(7.0, calm);
        for (row, value) in calm_rows.chain(values).enumerate() {
            let verdict = watch.row(row as i64, &[value, 1.0]);
            let sum: f64 = verdict.attribution.iter().sum();
            prop_assert!(verdict.attribution[0].is_nan() || (sum - 1.0).abs() < 1e-9);
            prop_assert!(verdict.score.is_nan() || verdict.score >= 0.0 && verdict.score.is_finite());
            prop_assert!(verdict.p_value.is_nan() || verdict.p_value > 0.0 && verdict.p_value <= 1.0);
            prop_assert_eq!(verdict.is_anomaly, verdict.class.is_some());
        }
        watch.restart();
    }
}

#[test]
fn p_values_of_noise_are_about_uniform() {
    let mut random = Random::new(12);
    let mut watch = Watch::new(config(1));
    let mut said = Vec::new();
    for row in 0..30_000 {
        let verdict = watch.row(row, &[random.normal()]);
        if row > 3000 {
            said.push(verdict.p_value);
        }
    }
    for share in [0.5, 0.1, 0.01] {
        let below = said.iter().filter(|p| **p <= share).count() as f64 / said.len() as f64;
        assert!((0.7..1.4).contains(&(below / share)), "{share}: {below}");
    }
}

#[test]
fn one_input_takes_at_most_four_kibibytes() {
    let mut bytes = Vec::new();
    let watch = Watch::new(config(1));
    watch.detector.encode(&watch.state, &mut bytes);
    assert!(bytes.len() <= 4096, "{}", bytes.len());
}

#[test]
fn damaged_and_foreign_states_are_refused() {
    let mut watch = Watch::new(config(1));
    for row in 0..100 {
        watch.row(row, &[1.0]);
    }
    let mut bytes = Vec::new();
    watch.detector.encode(&watch.state, &mut bytes);
    assert!((0..bytes.len()).all(|length| watch.detector.decode(&bytes[..length]).is_err()));
    let other = Detector::new(DetectorConfig { method: Method::Ewma, ..config(1) }).unwrap();
    assert!(other.decode(&bytes).is_err());
}
