//! New keys: judged from about the twentieth row on, with care.

use super::*;
use crate::detect::Status;
use crate::synthetic::Random;

/// Three inputs `times` as large as usual, with noise in proportion.
fn values(random: &mut Random, noise: f64, times: f64) -> [f64; 3] {
    [4900.0, 0.02, 300.0].map(|usual| usual * times * libm::exp(noise * random.normal()))
}

fn watch(inputs: usize, interval_us: i64) -> Watch {
    Watch::new(DetectorConfig { interval_us: Some(interval_us), ..config(inputs) })
}

#[test]
fn a_plain_outage_of_a_new_key_is_found_within_two_rows() {
    for begins in [25, 40, 60, 90, 130] {
        for (inputs, interval_us) in [(1, MINUTE_US), (3, MINUTE_US), (3, MINUTE_US / 6)] {
            let mut missed = Vec::new();
            for seed in 0..40 {
                let mut random = Random::new(seed);
                let noise = if seed % 2 == 0 { 0.1 } else { 0.15 };
                let mut watch = watch(inputs, interval_us);
                let mut found = false;
                for row in 0..begins + 2 {
                    let times = if row < begins { 1.0 } else { 3.0 + random.uniform() };
                    let row_values = values(&mut random, noise, times);
                    let verdict = watch.at(row * interval_us, row * interval_us, &row_values[..inputs]);
                    found |= row >= begins && verdict.is_anomaly;
                    assert_eq!(verdict.status == Status::Warming, row < 18);
                }
                if !found {
                    missed.push(seed);
                }
            }
            assert!(
                missed.len() <= 2,
                "from row {begins}, {inputs} inputs, {interval_us} µs: missed {missed:?}"
            );
        }
    }
}

#[test]
fn clean_noise_of_new_keys_raises_hardly_an_alarm() {
    for (inputs, interval_us) in [(1, MINUTE_US), (3, MINUTE_US), (3, MINUTE_US / 6)] {
        for noise in [0.02, 0.2] {
            let alarmed = |seed: &u64| {
                let mut random = Random::new(*seed);
                let mut watch = watch(inputs, interval_us);
                let rows = 0..100;
                rows.into_iter().any(|row| {
                    let row_values = values(&mut random, noise, 1.0);
                    watch.at(row * interval_us, row * interval_us, &row_values[..inputs]).is_anomaly
                })
            };
            let alarmed = (0..300).filter(alarmed).count();
            assert!(
                alarmed < 300 / 20,
                "{inputs} inputs, {interval_us} µs, noise {noise}: {alarmed} keys of 300"
            );
        }
    }
}
