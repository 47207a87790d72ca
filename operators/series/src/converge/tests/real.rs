//! Real learning curves, recorded by others: 3 tasks of TaskSet, 1000 configurations each, losses at 51 steps.
//!
//! The data lie beside the repository, in `shared/data/curves` (or where `THALWEG_DATA` says), and are no part of it. Where they are not,
//! these tests say so and test nothing. With `--nocapture` they print their figures:
//!
//! ```text
//! cargo test -p thalweg-series --release converge::tests::real -- --nocapture
//! ```
//!
//! Curves that are judged: finite, never above 1 (a loss of guessing is 0.69: what is far above has blown up), and not constant (standard
//! deviation above 0.001). Their values are scaled so that the lowest and highest of all are 0 and 1; seen are the first row and 10, 20, 40
//! and 80 % of the 50 steps after it.

use std::path::{Path, PathBuf};

use super::*;

const FILES: [&str; 3] = [
    "FixedTextRNNClassification_imdb_patch128_LSTM128_avg_bs64.json",
    "FixedTextRNNClassification_imdb_patch32_GRU64_avg_bs128.json",
    "FixedTextRNNClassification_imdb_patch32_LSTM128_bs128.json",
];
const SEEN: [usize; 4] = [6, 11, 21, 41];
/// Mean squared errors that are allowed of the test losses, after each part.
const MOST: [f64; 4] = [0.0037, 0.0019, 0.00066, 0.00014];

/// The curves of a file, or `None` where there is none.
fn curves(file: &str, loss: &str) -> Option<Vec<Vec<f64>>> {
    let named = std::env::var_os("THALWEG_DATA").map(PathBuf::from);
    let beside = || {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        folders.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir())
    };
    let Some(path) = named.or_else(beside).map(|folder| folder.join("curves").join(file)) else {
        eprintln!("skipped: {file} is not here; set THALWEG_DATA to the folder of the data");
        return None;
    };
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    };
    // Each record says `"valid": {"loss": [numbers]}`.
    let marker = format!("\"{loss}\":");
    let lists = text.split(&marker).skip(1).filter_map(|rest| rest.split(['[', ']']).nth(1));
    let number = |text: &str| text.trim().parse().unwrap_or(f64::NAN);
    Some(lists.map(|list| list.split(',').map(number).collect()).collect())
}

fn is_finite(curve: &[f64]) -> bool {
    curve.iter().all(|value| value.is_finite())
}

fn deviation(curve: &[f64]) -> f64 {
    let mean = curve.iter().sum::<f64>() / curve.len() as f64;
    (curve.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / curve.len() as f64).sqrt()
}

fn is_judged(curve: &[f64]) -> bool {
    is_finite(curve) && curve.iter().all(|value| *value <= 1.0) && deviation(curve) > 1e-3
}

/// Mean squared errors of the last value and of the final value that is foretold, after each part of the curves.
fn errors(curves: &[Vec<f64>]) -> [(f64, f64); SEEN.len()] {
    let mut sums = [(0.0, 0.0); SEEN.len()];
    for curve in curves {
        let said = watch(falling(Some(curve.len() as f64 - 1.0)), &curve[..SEEN[3]]);
        let end = curve[curve.len() - 1];
        for (sum, seen) in sums.iter_mut().zip(SEEN) {
            sum.0 += (curve[seen - 1] - end).powi(2) / curves.len() as f64;
            sum.1 += (said[seen - 1].final_value.expected - end).powi(2) / curves.len() as f64;
        }
    }
    sums
}

/// Whether the end of a curve is within the intervals of 80 and 95 %, after each part of it.
type Covered = [(bool, bool); SEEN.len()];

fn covered(curve: &[f64]) -> Covered {
    let said = watch(falling(Some(curve.len() as f64 - 1.0)), &curve[..SEEN[3]]);
    let end = curve[curve.len() - 1];
    SEEN.map(|seen| {
        let value = &said[seen - 1].final_value;
        ((value.lower_80..=value.upper_80).contains(&end), (value.lower_95..=value.upper_95).contains(&end))
    })
}

/// The shares of curves that are, percent.
fn coverage<'a>(curves: impl Iterator<Item = &'a Covered> + Clone) -> [(f64, f64); SEEN.len()] {
    let all = curves.clone().count() as f64;
    let share =
        |is: &dyn Fn(&Covered) -> bool| 100.0 * curves.clone().filter(|curve| is(curve)).count() as f64 / all;
    std::array::from_fn(|seen| (share(&|curve| curve[seen].0), share(&|curve| curve[seen].1)))
}

#[test]
fn final_values_are_nearer_than_last_values() {
    for loss in ["valid", "test", "train"] {
        let mut judged = Vec::new();
        for file in FILES {
            let Some(curves) = curves(file, loss) else { return };
            judged.extend(curves.into_iter().filter(|curve| is_judged(curve)));
        }
        let all = || judged.iter().flatten();
        let (low, high) = (all().copied().fold(1.0, f64::min), all().copied().fold(0.0, f64::max));
        for value in judged.iter_mut().flatten() {
            *value = (*value - low) / (high - low);
        }
        let errors = errors(&judged);
        eprintln!("{loss}: {} curves", judged.len());
        for ((last, foretold), seen) in errors.into_iter().zip(SEEN) {
            eprintln!(
                "  {seen:2} rows: last value {last:.5}, foretold {foretold:.5}, ratio {:.2}",
                foretold / last
            );
            assert!(foretold < 0.8 * last, "{loss} after {seen} rows");
        }
        if loss == "test" {
            for ((_, foretold), most) in errors.into_iter().zip(MOST) {
                assert!(foretold <= most, "{foretold} is above {most}");
            }
        }
    }
}

#[test]
fn final_values_are_nearer_than_last_values_of_curves_that_blow_up_too() {
    for loss in ["valid", "test", "train"] {
        let mut judged = Vec::new();
        for file in FILES {
            let Some(curves) = curves(file, loss) else { return };
            judged.extend(
                curves.into_iter().filter(|curve| is_finite(curve) && curve.iter().all(|x| *x <= 2.0)),
            );
        }
        let errors = errors(&judged);
        eprintln!("{loss}, up to 2: {} curves", judged.len());
        for ((last, foretold), seen) in errors.into_iter().zip(SEEN) {
            eprintln!(
                "  {seen:2} rows: last value {last:.5}, foretold {foretold:.5}, ratio {:.2}",
                foretold / last
            );
            assert!(foretold < 0.75 * last, "{loss} after {seen} rows");
        }
    }
}

#[test]
fn intervals_cover_what_they_say() {
    for loss in ["valid", "test", "train"] {
        let (mut all, mut moving) = (Vec::new(), Vec::new());
        for file in FILES {
            let Some(curves) = curves(file, loss) else { return };
            let finite: Vec<_> = curves.into_iter().filter(|curve| is_finite(curve)).collect();
            let of_file: Vec<Covered> = finite.iter().map(|curve| covered(curve)).collect();
            let most_off = if loss == "valid" { 3.0 } else { 4.0 };
            assert_near_nominal(&of_file, most_off, &format!("{loss} {file}"));
            let judged = finite.iter().zip(&of_file).filter(|(curve, _)| is_judged(curve));
            moving.extend(judged.map(|(_, covered)| *covered));
            all.extend(of_file);
        }
        assert_near_nominal(&all, 3.0, loss);
        // Picked because they move, of which some show nothing yet: so less of them is covered.
        eprintln!("{loss}: {} that are judged, {}", moving.len(), cells(&coverage(moving.iter())));
    }
}

fn cells(coverage: &[(f64, f64)]) -> String {
    let cells: Vec<_> = coverage.iter().map(|(of_80, of_95)| format!("{of_80:.1}/{of_95:.1}")).collect();
    cells.join("  ")
}

fn assert_near_nominal(curves: &[Covered], most_off: f64, name: &str) {
    let coverage = coverage(curves.iter());
    eprintln!("{name}: {} curves, {}", curves.len(), cells(&coverage));
    for (of_80, of_95) in coverage {
        assert!((of_80 - 80.0).abs() <= most_off, "{name}: {of_80}");
        assert!((of_95 - 95.0).abs() <= most_off, "{name}: {of_95}");
    }
}
