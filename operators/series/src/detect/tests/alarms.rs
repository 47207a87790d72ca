//! How many false alarms there are, and how many incidents are found and how soon.

use super::*;
use crate::synthetic::{IncidentKind, Kind, Noise, Recipe, Series, spread};

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
fn incidents_are_found_soon() {
    // A spike of six standard deviations is no rarer among heavy tails than an alarm a day: those series have others.
    let (mut all, mut found) = (0, 0);
    for noise in [Noise::Gaussian, Noise::Heteroscedastic, Noise::Autoregressive, Noise::Counts] {
        for (kind, delay_max) in [
            (IncidentKind::Spike, 2),
            (IncidentKind::LevelShift, 10),
            (IncidentKind::SlopeChange, 720),
            (IncidentKind::MissingSeason, 60),
        ] {
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
            assert!(2 * delays.len() >= planted, "{noise:?} {kind:?}: {} of {planted}", delays.len());
            assert!(delays[delays.len() / 2] <= delay_max, "{noise:?} {kind:?}: {delays:?}");
        }
    }
    assert!(f64::from(found as u32) >= 0.85 * f64::from(all as u32), "{found} of {all}");
}
