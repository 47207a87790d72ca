use proptest::prelude::*;

use super::{WindowState, Windowed, Windower, WindowerConfig, compress, restore};
use crate::Observation;
use crate::synthetic::Random;

const MINUTE_US: i64 = 60_000_000;

fn windower(inputs: usize, rows: usize) -> Windower {
    Windower::new(WindowerConfig { inputs, rows, interval_us: Some(MINUTE_US) })
}

fn observe(windower: &Windower, state: &mut WindowState, row: i64, values: &[f64]) -> Windowed {
    let mut windowed = Windowed::default();
    let time_us = row * MINUTE_US;
    windower.observe(state, Observation { time_us, local_us: time_us, values }, &mut windowed);
    windowed
}

/// Noise of this level and size.
fn noise(seed: u64, rows: usize, level: f64, size: f64) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..rows).map(|_| level + size * random.normal()).collect()
}

#[test]
fn units_are_those_of_the_key_whatever_its_level_and_size() {
    for (level, size) in [(0.0, 1.0), (3e6, 40.0), (-2e-3, 1e-4)] {
        let (windower, mut state) = (windower(1, 8), windower(1, 8).begin());
        let values = noise(5, 6000, level, size);
        let rows: Vec<f32> =
            (0..).zip(&values).map(|(row, v)| observe(&windower, &mut state, row, &[*v]).row[0]).collect();
        let late = &rows[4000..];
        let mean = late.iter().sum::<f32>() / late.len() as f32;
        let deviation =
            (late.iter().map(|z| (z - mean) * (z - mean)).sum::<f32>() / late.len() as f32).sqrt();
        assert!(mean.abs() < 0.15 && (0.85..1.15).contains(&deviation), "{level} {size}: {mean} {deviation}");
    }
}

#[test]
fn a_level_that_moves_stays_visible_for_long() {
    let (windower, mut state) = (windower(1, 8), windower(1, 8).begin());
    let mut values = noise(7, 3000, 100.0, 2.0);
    values.extend(noise(8, 300, 120.0, 2.0));
    let mut last = Windowed::default();
    for (row, value) in (0..).zip(values) {
        last = observe(&windower, &mut state, row, &[value]);
    }
    let mean = last.window.iter().sum::<f32>() / 8.0;
    assert!(mean > 4.0, "{mean}: ten scales above the old level");
}

#[test]
fn windows_begin_when_there_are_rows_enough_and_have_gaps_where_rows_are_missing() {
    let (windower, mut state) = (windower(2, 4), windower(2, 4).begin());
    for row in 0..36 {
        let windowed = observe(&windower, &mut state, row, &[row as f64 % 7.0, 5.0]);
        assert_eq!(windowed.window.is_empty(), row < 33, "{row}");
        assert_eq!(windowed.row.iter().all(|z| z.is_nan()), row < 32, "{row}");
    }
    let after_gap = observe(&windower, &mut state, 37, &[3.0, f64::NAN]);
    let present: Vec<bool> = after_gap.window.iter().map(|z| !z.is_nan()).collect();
    assert_eq!(present, [true, true, true, true, false, false, true, false]);
    let nothing = observe(&windower, &mut state, 38, &[f64::NAN, f64::INFINITY]);
    assert!(nothing.window.is_empty());
}

#[test]
fn counters_are_seen_by_their_increments() {
    let (windower, mut state) = (windower(1, 4), windower(1, 4).begin());
    let mut counter = 0.0;
    let mut last = Windowed::default();
    for (row, increment) in (0..).zip(noise(3, 400, 50.0, 3.0)) {
        counter += increment;
        last = observe(&windower, &mut state, row, &[counter]);
    }
    assert!((last.centres[0] - 50.0).abs() < 3.0, "{:?}", last.centres);
    let stalled = observe(&windower, &mut state, 400, &[counter]);
    assert!(stalled.row[0] < -8.0, "{:?}", stalled.row);
}

proptest! {
    #[test]
    fn state_survives_as_bytes(values in prop::collection::vec(prop::num::f64::ANY, 120), gap in 0_i64..9) {
        let windower = windower(2, 6);
        let (mut state, mut copy) = (windower.begin(), windower.begin());
        for (row, values) in (0..).zip(values.chunks(2)) {
            let at = row + if row > 50 { gap } else { 0 };
            let whole = observe(&windower, &mut state, at, values);
            let mut bytes = Vec::new();
            windower.encode(&copy, &mut bytes);
            copy = windower.decode(&bytes).unwrap();
            let again = observe(&windower, &mut copy, at, values);
            prop_assert_eq!(format!("{whole:?}"), format!("{again:?}"));
            prop_assert!(whole.window.iter().all(|z| !z.is_infinite()));
            prop_assert!(windower.decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn what_is_compressed_is_restored(value in -1e9_f64..1e9, centre in -1e3_f64..1e3, scale in 1e-3_f64..1e3) {
        let back = restore(compress(value, centre, scale), centre, scale);
        prop_assert!((back - value).abs() <= 2e-5 * (value - centre).abs() + 1e-6 * scale, "{} {}", back, value);
    }
}

#[test]
fn other_inputs_take_no_state_and_another_length_takes_the_units() {
    let (short, mut state) = (windower(1, 8), windower(1, 8).begin());
    for (row, value) in (0..).zip(noise(4, 200, 70.0, 2.0)) {
        observe(&short, &mut state, row, &[value]);
    }
    let mut bytes = Vec::new();
    short.encode(&state, &mut bytes);
    let error = windower(2, 8).decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("1 inputs"), "{error}");
    bytes[0] += 1;
    assert!(short.decode(&bytes).is_err(), "a later version");
    bytes[0] -= 1;
    let long = windower(1, 12);
    let mut of_long = long.decode(&bytes).unwrap();
    let (kept, short) =
        (observe(&long, &mut of_long, 200, &[75.0]), observe(&short, &mut state, 200, &[75.0]));
    assert_eq!((kept.row, kept.centres, kept.window.len()), (short.row, short.centres, 0));
}
