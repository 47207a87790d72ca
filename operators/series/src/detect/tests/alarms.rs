//! How many false alarms there are, and how many incidents are found and how soon.

use super::*;
use crate::synthetic::{IncidentKind, Kind, Noise, Random, Recipe, Series, spread};

const DAYS: usize = 20;
const WARM: usize = 4 * 1440;

fn series(noise: Noise, seed: u64) -> Series {
    let kind = Kind::Season { noise, weekly: false };
    Recipe { kind, rows: DAYS * 1440, interval_us: MINUTE_US, seed }.generate()
}

fn anomalies(series: &Series) -> Vec<bool> {
    let mut watch = Watch::new(config(1));
    let rows = series.values.iter().enumerate();
    rows.map(|(row, value)| watch.at(series.time_us(row), series.time_us(row), &[*value]).is_anomaly)
        .collect()
}

#[test]
fn false_alarms_are_as_many_as_were_asked_for() {
    for noise in Noise::ALL {
        let mut alarms = 0;
        for seed in 0..3 {
            let anomalies = anomalies(&series(noise, seed));
            let events = anomalies.windows(2).skip(WARM).filter(|pair| !pair[0] && pair[1]);
            alarms += events.count();
        }
        let a_day = alarms as f64 / (3.0 * (DAYS as f64 - 4.0));
        assert!((0.5..2.0).contains(&a_day), "{noise:?}: {a_day} a day");
    }
}

#[test]
fn weekends_raise_no_alarms_once_there_were_two() {
    const WEEK: usize = 7 * 1440;
    for noise in Noise::ALL {
        let mut alarms = 0;
        for seed in 0..3 {
            let kind = Kind::Season { noise, weekly: true };
            let series = Recipe { kind, rows: 4 * WEEK, interval_us: MINUTE_US, seed }.generate();
            let events = anomalies(&series);
            alarms += events.windows(2).skip(2 * WEEK).filter(|pair| !pair[0] && pair[1]).count();
        }
        let a_day = alarms as f64 / (3.0 * 14.0);
        assert!((0.4..2.0).contains(&a_day), "{noise:?}: {a_day} a day");
    }
}

#[test]
fn weekends_stay_known_where_traffic_doubles() {
    const WEEK: usize = 7 * 1440;
    let mut alarms = 0;
    for seed in 0..3 {
        let kind = Kind::Season { noise: Noise::Gaussian, weekly: true };
        let mut series = Recipe { kind, rows: 6 * WEEK, interval_us: MINUTE_US, seed }.generate();
        series.values[3 * WEEK + 2 * 1440..].iter_mut().for_each(|value| *value *= 2.0);
        let events = anomalies(&series);
        alarms += events.windows(2).skip(4 * WEEK).filter(|pair| !pair[0] && pair[1]).count();
    }
    let a_day = alarms as f64 / (3.0 * 14.0);
    assert!(a_day < 2.0, "{a_day} a day");
}

#[test]
fn incidents_are_found_soon() {
    let (mut all, mut found) = (0, 0);
    for noise in Noise::ALL {
        for (kind, delay_max) in [
            (IncidentKind::Spike, 2),
            (IncidentKind::LevelShift, 10),
            (IncidentKind::SlopeChange, 720),
            (IncidentKind::MissingSeason, 60),
        ] {
            if (noise, kind) == (Noise::HeavyTails, IncidentKind::Spike) {
                // A spike of six standard deviations is no rarer among heavy tails than an alarm a day: those series have others.
                continue;
            }
            let (mut delays, mut planted) = (Vec::new(), 0);
            for seed in 0..2 {
                let mut series = series(noise, 100 + seed);
                let incidents = spread(&[kind], 5, 6 * 1440..DAYS * 1440, MINUTE_US, (6.0, 3.0), seed);
                incidents.iter().for_each(|incident| series.plant(*incident));
                let anomalies = anomalies(&series);
                planted += incidents.len();
                for incident in incidents {
                    let mut rows = incident.from..(incident.to + 2).min(anomalies.len());
                    delays.extend(rows.find(|row| anomalies[*row]).map(|row| row - incident.from));
                }
            }
            delays.sort_unstable();
            all += planted;
            found += delays.len();
            assert!(5 * delays.len() >= 4 * planted, "{noise:?} {kind:?}: {} of {planted}", delays.len());
            assert!(delays[delays.len() / 2] <= delay_max, "{noise:?} {kind:?}: {delays:?}");
        }
    }
    assert!(f64::from(found as u32) >= 0.95 * f64::from(all as u32), "{found} of {all}");
}

/// Alarms a day of a key of minutes, from day `from` on.
fn a_day(values: impl Iterator<Item = f64>, from: usize) -> f64 {
    let mut watch = Watch::new(config(1));
    let (mut on, mut alarms, mut rows) = (false, 0u32, 0usize);
    for (row, value) in values.enumerate() {
        let anomaly = watch.row(row as i64, &[value]).is_anomaly;
        alarms += u32::from(anomaly && !on && row >= from * 1440);
        (on, rows) = (anomaly, row);
    }
    f64::from(alarms) * 1440.0 / (rows + 1 - from * 1440) as f64
}

#[test]
fn values_on_a_few_steps_and_tails_of_all_kinds_keep_about_the_rate() {
    type Draw = fn(&mut Random) -> f64;
    let draws: [(&str, Draw); 4] = [
        ("rounded", |random| libm::round(0.6 * random.normal())),
        ("seldom not 0", |random| f64::from(u8::from(random.uniform() < 0.01))),
        ("log-normal", |random| libm::exp(random.normal())),
        ("t3", |random| random.student_t(3)),
    ];
    for (name, draw) in draws {
        let rate = |seed: u64| {
            let mut random = Random::new(seed);
            a_day((0..10 * 1440).map(|_| 10.0 + draw(&mut random)), 6)
        };
        let rate = (0..5).map(rate).sum::<f64>() / 5.0;
        assert!(rate < 6.0, "{name}: {rate} a day");
    }
}

#[test]
fn smooth_curves_with_jumps_are_not_judged_by_a_short_past() {
    // Valves that open and close: each row lies near the one before, but for a jump now and then.
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let (mut level, mut slope) = (0.0, 0.002);
        let mut next = || {
            if random.uniform() < 0.02 {
                (level, slope) = (random.between(-1.0, 1.0), random.between(-0.005, 0.005));
            }
            level += slope;
            level
        };
        let values: Vec<f64> = (0..95).map(|_| next()).collect();
        assert_eq!(a_day(values.into_iter(), 0), 0.0, "seed {seed}");
    }
}

#[test]
fn an_event_that_does_not_end_is_settled_and_what_comes_after_it_is_ordinary() {
    let mut random = Random::new(7);
    let mut watch = Watch::new(config(1));
    let mut anomalous = 0;
    for row in 0..12_000 {
        // What was still becomes a line that rises for ever.
        let value = if row < 4000 { 5.0 } else { 5.0 + 0.01 * f64::from(row - 4000) };
        anomalous += u32::from(watch.row(i64::from(row), &[value + 1e-3 * random.normal()]).is_anomaly);
    }
    assert!((30..800).contains(&anomalous), "{anomalous} rows of 8,000");
}
