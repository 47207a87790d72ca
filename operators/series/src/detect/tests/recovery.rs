//! After an event: what was ordinary before it is ordinary at once, and what is known is what was known.

use super::*;
use crate::detect::Status;
use crate::synthetic::Random;

const WINDOW_US: i64 = 10_000_000;
const OUTAGE_ROWS: i64 = 72;

/// A service as three inputs see it: latency, share of errors, tokens; all of them `times` as large as usual.
fn service(random: &mut Random, noise: f64, times: f64) -> [f64; 3] {
    [4900.0, 0.02, 300.0].map(|usual| usual * times * libm::exp(noise * random.normal()))
}

fn watch() -> Watch {
    Watch::new(DetectorConfig { interval_us: Some(WINDOW_US), ..config(3) })
}

#[test]
fn an_outage_teaches_nothing_and_is_over_soon_after_it() {
    for seed in 0..10 {
        for (noise, before) in [(0.1, 150), (0.2, 150), (0.15, 400), (0.15, 2000)] {
            let mut random = Random::new(seed);
            let mut watch = watch();
            let end = before + OUTAGE_ROWS;
            let (mut found, mut late) = (0, 0);
            for row in 0..end + 200 {
                let outage = (before..end).contains(&row);
                let times = if outage { 4.0 + 2.0 * random.uniform() } else { 1.0 };
                let values = service(&mut random, noise, times);
                let verdict = watch.at(row * WINDOW_US, row * WINDOW_US, &values);
                found += i32::from(outage && verdict.is_anomaly);
                late += i32::from(row >= end + 10 && verdict.is_anomaly);
                if row >= before {
                    let expected = verdict.expected[0];
                    assert!(
                        (2500.0..9000.0).contains(&expected),
                        "{seed} {noise} {before} {row}: {expected}"
                    );
                }
                if row >= end + 10 && !verdict.is_anomaly {
                    assert_eq!(verdict.status, Status::Ok);
                    assert!(verdict.upper[0] < 18_000.0, "{seed} {noise} {row}: {verdict:?}");
                }
            }
            assert!(found >= 70, "{seed} {noise} {before}: {found} rows of the outage");
            assert!(late <= 3, "{seed} {noise} {before}: {late} rows after the outage");
        }
    }
}

#[test]
fn a_level_slightly_off_stays_one_event() {
    let mut alarms = 0;
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let mut watch = Watch::new(config(1));
        let mut on = false;
        for row in 0..3050 {
            let level = if row < 3000 { 100.0 } else { 106.0 };
            let anomaly = watch.row(row, &[level + 2.0 * random.normal()]).is_anomaly;
            alarms += i32::from(row >= 3000 && anomaly && !on);
            on = anomaly;
        }
    }
    assert!((10..=15).contains(&alarms), "{alarms} alarms of 10 shifts");
}
