//! How what was said of learning curves compares with how they went on, beside the simplest thing that could be said: that they stay at
//! their last value.

use super::forecasts::{Between, Coverage, Foretold, PointErrors, coverage, point_errors};
use crate::converge::{Convergence, ConvergerConfig};

/// How a curve went on after a part of it was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurveTruth {
    /// Its last value that was seen.
    pub last_value: f64,
    /// Its last value of all.
    pub final_value: f64,
    /// Steps until the target was reached: 0 if it was by then, +∞ if it never was, NaN without a target.
    pub steps_left: f64,
    /// Whether a better value came than the best that was seen.
    pub improves: bool,
}

impl CurveTruth {
    /// How `curve` (steps and values) went on after its first `seen` points. A value that is better than the best by less than
    /// `least_improvement`, in units of the curve, is no improvement. `None` where nothing was seen, or nothing was left.
    pub fn of(
        curve: &[(f64, f64)],
        seen: usize,
        config: &ConvergerConfig,
        least_improvement: f64,
    ) -> Option<CurveTruth> {
        let (past, rest) = curve.split_at_checked(seen)?;
        let &(step_now, last_value) = past.last()?;
        let &(_, final_value) = rest.last()?;
        // Of rising curves, less is better with the sign turned; comparisons are false for NaN, which is never better.
        let sign = if config.falling { 1.0 } else { -1.0 };
        let best = |points: &[(f64, f64)]| {
            points.iter().fold(f64::INFINITY, |best, &(_, value)| best.min(sign * value))
        };
        let steps_left = match config.target {
            None => f64::NAN,
            Some(target) if best(past) <= sign * target => 0.0,
            Some(target) => rest
                .iter()
                .find(|&&(_, value)| sign * value <= sign * target)
                .map_or(f64::INFINITY, |&(step, _)| step - step_now),
        };
        let improves = best(rest) < best(past) && best(past) - best(rest) >= least_improvement;
        Some(CurveTruth { last_value, final_value, steps_left, improves })
    }

    fn reaches(&self) -> bool {
        self.steps_left.is_finite()
    }
}

/// How often something was said, and was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Confusion {
    /// Said, and so.
    pub right: usize,
    /// Said, and not so.
    pub wrong: usize,
    /// Not said, but so.
    pub missed: usize,
    /// Not said, and not so.
    pub rejected: usize,
}

impl Confusion {
    fn add(&mut self, said: bool, so: bool) {
        let count = match (said, so) {
            (true, true) => &mut self.right,
            (true, false) => &mut self.wrong,
            (false, true) => &mut self.missed,
            (false, false) => &mut self.rejected,
        };
        *count += 1;
    }

    /// The share of what was said that was so; NaN where nothing was said.
    pub fn precision(&self) -> f64 {
        self.right as f64 / (self.right + self.wrong) as f64
    }

    /// The share of what was so that was said; NaN where nothing was so.
    pub fn recall(&self) -> f64 {
        self.right as f64 / (self.right + self.missed) as f64
    }

    /// The share of what was so: the precision of saying it always, with a recall of 1. NaN of nothing.
    pub fn prevalence(&self) -> f64 {
        let all = self.right + self.wrong + self.missed + self.rejected;
        (self.right + self.missed) as f64 / all as f64
    }
}

/// How what was said of curves compares with how they went on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvergenceReport {
    /// Errors of the final value.
    pub final_value: PointErrors,
    /// Errors of the last value as the final one, on the same curves.
    pub final_value_of_last: PointErrors,
    /// The 80 % intervals of the final value.
    pub final_value_80: Coverage,
    /// The 95 % intervals of it.
    pub final_value_95: Coverage,
    /// Errors of the steps left, where the target was foretold to be reached and was: the others count as missing here, and in `reached`.
    pub steps_left: PointErrors,
    /// The 80 % intervals of the steps left.
    pub steps_left_80: Coverage,
    /// The 95 % intervals of them.
    pub steps_left_95: Coverage,
    /// Whether the target is ever reached, by the expected steps left; of curves that have not reached it yet. To stay at the last value is
    /// to say never: right in 1 − [`Confusion::prevalence`] of them.
    pub reached: Confusion,
    /// Mean squared error of the probability that the target is reached (Brier, "Verification of Forecasts Expressed in Terms of Probability",
    /// Monthly Weather Review 78, 1950); NaN where none was said.
    pub target_brier: f64,
    /// The same for certainty by the last value, on the same curves.
    pub target_brier_of_last: f64,
    /// Whether a curve is stalled: so where it never improves again. To stay at the last value is to say it always: a precision of
    /// [`Confusion::prevalence`].
    pub stalled: Confusion,
}

/// Compares what was said of curves with how they went on.
pub fn convergence_report(curves: &[(Convergence, CurveTruth)]) -> ConvergenceReport {
    let expected = |said: &Convergence, truth: &CurveTruth, last: bool| Foretold {
        // Where nothing was said of the curve, the last value says nothing either: both are judged on the same.
        expected: if last && said.final_value.expected.is_finite() {
            truth.last_value
        } else {
            said.final_value.expected
        },
        actual: truth.final_value,
    };
    let mut reached = Confusion::default();
    let mut stalled = Confusion::default();
    for (said, truth) in curves {
        stalled.add(said.is_stalled, !truth.improves);
        if truth.steps_left > 0.0 && !said.steps_left.expected.is_nan() {
            reached.add(said.steps_left.expected.is_finite(), truth.reaches());
        }
    }
    let brier = |last: bool| {
        mean(curves.iter().filter(|(said, truth)| !said.p_target.is_nan() && !truth.steps_left.is_nan()).map(
            |(said, truth)| {
                let probability =
                    if last { f64::from(u8::from(truth.steps_left == 0.0)) } else { said.p_target };
                let error = probability - f64::from(u8::from(truth.reaches()));
                error * error
            },
        ))
    };
    ConvergenceReport {
        final_value: point_errors(curves.iter().map(|(said, truth)| expected(said, truth, false))),
        final_value_of_last: point_errors(curves.iter().map(|(said, truth)| expected(said, truth, true))),
        final_value_80: final_coverage(
            curves,
            |said| (said.final_value.lower_80, said.final_value.upper_80),
            0.8,
        ),
        final_value_95: final_coverage(
            curves,
            |said| (said.final_value.lower_95, said.final_value.upper_95),
            0.95,
        ),
        steps_left: point_errors(
            curves.iter().map(|(said, truth)| Foretold {
                expected: said.steps_left.expected,
                actual: truth.steps_left,
            }),
        ),
        steps_left_80: steps_coverage(
            curves,
            |said| (said.steps_left.lower_80, said.steps_left.upper_80),
            0.8,
        ),
        steps_left_95: steps_coverage(
            curves,
            |said| (said.steps_left.lower_95, said.steps_left.upper_95),
            0.95,
        ),
        reached,
        target_brier: brier(false),
        target_brier_of_last: brier(true),
        stalled,
    }
}

type Ends = fn(&Convergence) -> (f64, f64);

fn final_coverage(curves: &[(Convergence, CurveTruth)], ends: Ends, nominal: f64) -> Coverage {
    intervals(curves, ends, |truth| truth.final_value, nominal)
}

fn steps_coverage(curves: &[(Convergence, CurveTruth)], ends: Ends, nominal: f64) -> Coverage {
    intervals(curves, ends, |truth| truth.steps_left, nominal)
}

fn intervals(
    curves: &[(Convergence, CurveTruth)],
    ends: Ends,
    actual: fn(&CurveTruth) -> f64,
    nominal: f64,
) -> Coverage {
    let rows = curves.iter().map(|(said, truth)| {
        let (lower, upper) = ends(said);
        Between { lower, upper, actual: actual(truth) }
    });
    coverage(rows, nominal)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::converge::Interval;

    const FALLING: ConvergerConfig =
        ConvergerConfig { target: Some(0.5), falling: true, end: None, stall_after: 3 };

    fn curve(values: &[f64]) -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(number, &value)| (number as f64 * 10.0, value)).collect()
    }

    fn said(final_value: f64, steps_left: f64, p_target: f64, is_stalled: bool) -> Convergence {
        let around = |expected: f64| Interval {
            expected,
            lower_80: expected - 0.15,
            upper_80: expected + 0.15,
            lower_95: expected - 10.0,
            upper_95: expected + 10.0,
        };
        let (final_value, steps_left) = (around(final_value), around(steps_left));
        Convergence { final_value, steps_left, p_target, is_stalled, ..Convergence::default() }
    }

    #[test]
    fn the_truth_is_what_came_after_what_was_seen() {
        let curve = curve(&[1.0, 0.8, 0.9, 0.7, 0.4, 0.6]);
        let truth = CurveTruth::of(&curve, 3, &FALLING, 0.0).unwrap();
        let expected = CurveTruth { last_value: 0.9, final_value: 0.6, steps_left: 20.0, improves: true };
        assert_eq!(truth, expected);
        assert!(!CurveTruth::of(&curve, 5, &FALLING, 0.0).unwrap().improves);
        assert_eq!(CurveTruth::of(&curve, 5, &FALLING, 0.0).unwrap().steps_left, 0.0);
        assert!(!CurveTruth::of(&curve, 3, &FALLING, 0.5).unwrap().improves);
        for seen in [0, 6, 7] {
            assert_eq!(CurveTruth::of(&curve, seen, &FALLING, 0.0), None);
        }

        let rising = ConvergerConfig { target: Some(2.0), falling: false, ..FALLING };
        let truth = CurveTruth::of(&curve, 1, &rising, 0.0).unwrap();
        assert_eq!((truth.steps_left, truth.improves), (f64::INFINITY, false));
        let without = ConvergerConfig { target: None, ..FALLING };
        assert!(CurveTruth::of(&curve, 1, &without, 0.0).unwrap().steps_left.is_nan());
    }

    #[test]
    fn what_was_said_stands_beside_the_last_value() {
        let reaching = CurveTruth::of(&curve(&[1.0, 0.8, 0.6, 0.4]), 2, &FALLING, 0.0).unwrap();
        let stuck = CurveTruth::of(&curve(&[1.0, 0.8, 0.8, 0.8]), 2, &FALLING, 0.0).unwrap();
        let never = f64::INFINITY;
        let report = convergence_report(&[
            (said(0.5, 30.0, 0.9, false), reaching),
            (said(0.6, 30.0, 0.5, false), stuck),
            (said(0.8, never, 0.0, true), stuck),
            (said(0.8, never, 0.0, true), reaching),
            (Convergence { p_target: f64::NAN, ..Convergence::default() }, stuck),
        ]);
        assert_eq!((report.final_value.compared, report.final_value.missing), (4, 1));
        assert!((report.final_value.mse - (0.01 + 0.04 + 0.0 + 0.16) / 4.0).abs() < 1e-12);
        assert_eq!(report.final_value_of_last.compared, 4);
        assert!((report.final_value_of_last.mse - 2.0 * 0.16 / 4.0).abs() < 1e-12);
        assert_eq!((report.final_value_80.coverage, report.final_value_95.coverage), (0.5, 1.0));

        // The only one that was said to come and came, 10 steps early.
        assert_eq!((report.steps_left.compared, report.steps_left.mae), (1, 10.0));
        assert_eq!(report.reached, Confusion { right: 1, wrong: 1, missed: 1, rejected: 1 });
        assert_eq!((report.steps_left_80.compared, report.steps_left_80.coverage), (4, 0.25));

        assert!((report.target_brier - (0.01 + 0.25 + 0.0 + 1.0) / 4.0).abs() < 1e-12);
        assert_eq!(report.target_brier_of_last, 0.5);
        assert_eq!(report.stalled, Confusion { right: 1, wrong: 1, missed: 2, rejected: 1 });
        assert_eq!((report.stalled.precision(), report.stalled.recall()), (0.5, 1.0 / 3.0));
        assert_eq!(report.stalled.prevalence(), 0.6);
    }
}
