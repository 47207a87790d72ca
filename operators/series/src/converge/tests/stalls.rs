//! Stalls and intervals of curves whose truth is known.

use super::*;
use crate::synthetic::{CurveRecipe, CurveShape, Random};

/// A falling curve that improves by a power of the step until `stop`, and then no more.
fn stopping(stop: usize, steps: usize, noise: f64, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let power = random.between(0.4, 1.0);
    let curve = (0..steps).map(|step| libm::pow(1.0 + step.min(stop) as f64 / 10.0, -power));
    curve.map(|value| value + noise * random.normal()).collect()
}

#[test]
fn stalls_are_found_and_progress_is_none() {
    let is_stalled = |values: &[f64]| watch(falling(None), values).iter().any(|said| said.is_stalled);
    let (mut found, mut false_alarms, all) = (0, 0, 100);
    for seed in 0..all {
        found += u32::from(is_stalled(&stopping(60, 140, 0.01, seed)));
        false_alarms += u32::from(is_stalled(&stopping(200, 140, 0.01, seed)));
    }
    let (recall, precision) =
        (found as f64 / all as f64, found as f64 / (found + false_alarms).max(1) as f64);
    eprintln!("stalls: recall {recall:.2}, precision {precision:.2}");
    assert!(recall >= 0.9, "{recall}");
    assert!(precision >= 0.9, "{precision}");
}

#[test]
fn a_constant_curve_stalls_after_as_many_steps_as_are_configured() {
    let said = watch(falling(None), &[1.0; 200]);
    let first = said.iter().position(|said| said.is_stalled).unwrap();
    assert!((20..=60).contains(&first), "{first}");
    assert_eq!(said[first].steps_without_improvement, first as f64);
}

/// Curves that go on as they went: neither a plateau nor a bottom lies ahead, which nothing in them announces.
#[test]
fn intervals_cover_curves_of_known_shape() {
    for shape in [CurveShape::Power, CurveShape::Exponential, CurveShape::Flat] {
        let (mut of_80, mut of_95, mut all) = (0, 0, 0);
        for seed in 0..100 {
            for noise in [0.003, 0.02] {
                let curve = CurveRecipe { shape, steps: 100, noise, seed }.generate().values;
                let said = watch(falling(Some(99.0)), &curve);
                for seen in [10, 20, 40, 80] {
                    let value = &said[seen - 1].final_value;
                    of_80 += u32::from((value.lower_80..=value.upper_80).contains(&curve[99]));
                    of_95 += u32::from((value.lower_95..=value.upper_95).contains(&curve[99]));
                    all += 1;
                }
            }
        }
        let (of_80, of_95) =
            (100.0 * f64::from(of_80) / f64::from(all), 100.0 * f64::from(of_95) / f64::from(all));
        eprintln!("{shape:?}: 80 % cover {of_80:.1}, 95 % cover {of_95:.1}");
        assert!(of_80 > 70.0 && of_95 > 88.0, "{shape:?}: {of_80} {of_95}");
    }
}
