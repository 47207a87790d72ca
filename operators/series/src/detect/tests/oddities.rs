//! Series that are not as one would like them.

use super::*;
use crate::detect::{Class, Status};
use crate::synthetic::Random;

fn wave(minute: i64) -> f64 {
    100.0 + 40.0 * libm::sin(minute as f64 / 1440.0 * std::f64::consts::TAU)
}

/// Alarms, as rows of the first row of each event.
fn alarms(watch: &mut Watch, rows: impl Iterator<Item = (i64, i64, f64)>) -> Vec<i64> {
    let mut on = false;
    let mut alarms = Vec::new();
    for (time, local, value) in rows {
        let verdict = watch.at(time * MINUTE_US, local * MINUTE_US, &[value]);
        if verdict.is_anomaly && !on {
            alarms.push(time);
        }
        on = verdict.is_anomaly;
    }
    alarms
}

#[test]
fn a_constant_that_changes_is_an_anomaly_until_it_has_settled() {
    let mut watch = Watch::new(config(1));
    let rows = (0..6000).map(|row| (row, row, if row < 3000 { 5.0 } else { 6.0 }));
    assert_eq!(alarms(&mut watch, rows), [3000]);
    assert!(!watch.verdict.is_anomaly);
    assert!((watch.verdict.expected[0] - 6.0).abs() < 1e-6, "{:?}", watch.verdict);
}

#[test]
fn a_level_that_stays_becomes_normal_after_the_time_set() {
    let mut random = Random::new(3);
    let mut watch = Watch::new(config(1));
    let mut anomalous = Vec::new();
    for row in 0..8000 {
        let level = if row < 6000 { 100.0 } else { 130.0 };
        let verdict = watch.row(row, &[level + 2.0 * random.normal()]);
        if row >= 6000 && verdict.is_anomaly {
            anomalous.push(row);
            assert_eq!(verdict.status, Status::Frozen);
        }
    }
    assert!(anomalous[0] <= 6001);
    let lasted = anomalous.iter().filter(|row| **row < 6100).count();
    assert!((50..=75).contains(&lasted), "{lasted}");
    assert!(anomalous.iter().filter(|row| **row >= 6100).count() <= 20, "{anomalous:?}");
    assert!((watch.verdict.expected[0] - 130.0).abs() < 3.0);
}

#[test]
fn classes_tell_spikes_from_shifts_and_from_a_season_that_is_gone() {
    let mut random = Random::new(5);
    let mut watch = Watch::new(config(1));
    let mut classes = Vec::new();
    for row in 0..8 * 1440 {
        let value = match row {
            8700 => wave(row) + 30.0,
            9500..9540 => wave(row) + 15.0,
            10_600..10_800 => 100.0,
            _ => wave(row),
        };
        let verdict = watch.row(row, &[value + 2.0 * random.normal()]);
        classes.push(verdict.class);
    }
    assert_eq!(classes[8700], Some(Class::Spike));
    assert_eq!(classes[9520], Some(Class::Drift));
    assert!(classes[10_600..10_660].contains(&Some(Class::Seasonal)), "{:?}", &classes[10_600..10_660]);
}

#[test]
fn values_that_are_each_normal_and_do_not_go_together_are_outliers() {
    let mut random = Random::new(4);
    let mut watch = Watch::new(config(2));
    for row in 0..5000 {
        let common = random.normal();
        let values = [common + 0.1 * random.normal(), 50.0 + 4.0 * (common + 0.1 * random.normal())];
        watch.row(row, &values);
    }
    let verdict = watch.row(5000, &[1.5, 50.0 - 4.0 * 1.5]);
    assert_eq!(verdict.class, Some(Class::Outlier));
    assert!(verdict.attribution.iter().all(|share| (0.2..0.8).contains(share)), "{verdict:?}");
}

#[test]
fn gaps_and_missing_values_raise_no_alarm() {
    let mut random = Random::new(9);
    let mut watch = Watch::new(config(1));
    let mut gaps = 0;
    let mut early = 0;
    for row in (0..10_000).filter(|row| !(7000..7300).contains(row) && row % 50 != 7) {
        let value = if row % 40 == 11 { f64::NAN } else { wave(row) + 2.0 * random.normal() };
        let verdict = watch.row(row, &[value]);
        gaps += u32::from(verdict.status == Status::Gap);
        early += u32::from((7300..7320).contains(&row) && verdict.is_anomaly);
    }
    assert!(gaps > 200, "{gaps}");
    assert_eq!(early, 0);
}

#[test]
fn counters_are_judged_by_increments_and_their_resets_are_no_anomaly() {
    let mut random = Random::new(2);
    let mut watch = Watch::new(config(1));
    let mut total = 1e6;
    for row in 0..6000 {
        if row == 4000 {
            total = 0.0;
        }
        total += if row == 5000 { 400.0 } else { 100.0 + 5.0 * random.normal() };
        let verdict = watch.row(row, &[total]);
        assert!(!(4000..4005).contains(&row) || !verdict.is_anomaly, "{row}: {verdict:?}");
        if row == 5000 {
            assert!(verdict.is_anomaly && verdict.lower[0] > 9e4, "{verdict:?}");
        }
    }
}

#[test]
fn days_of_23_and_25_hours_are_days_like_others() {
    let mut random = Random::new(8);
    let mut watch = Watch::new(config(1));
    let local = |row: i64| match row {
        ..7320 => row,
        7320..10_200 => row + 60,
        _ => row,
    };
    let rows = (0..12_000).map(|row| (row, local(row), wave(local(row)) + random.normal()));
    let alarms = alarms(&mut watch, rows);
    let near = |row: i64| alarms.iter().filter(|alarm| (row..row + 120).contains(*alarm)).count();
    assert!(near(7320) <= 1 && near(10_200) <= 1, "{alarms:?}");
}

#[test]
fn a_new_key_is_judged_soon_and_carefully() {
    let mut random = Random::new(1);
    let mut watch = Watch::new(config(1));
    let mut wide = 0;
    for row in 0..100 {
        let verdict = watch.row(row, &[10.0 + random.normal()]);
        assert_eq!(verdict.score.is_nan(), verdict.status == Status::Warming);
        assert!(!verdict.is_anomaly);
        wide += u32::from(verdict.lower[0] < 7.5 && verdict.upper[0] > 12.5);
    }
    assert!(wide > 30, "{wide}");
    assert!(watch.row(100, &[100.0]).is_anomaly);
}
