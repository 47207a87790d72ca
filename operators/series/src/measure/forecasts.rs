//! How far forecasts were off, and whether their intervals kept what they promise.
//!
//! Forecasts come beside what happened, one by one. Where either is not finite nothing is compared: such rows are counted, so that a model
//! can't gain by saying nothing.

/// A value that was foretold, and the one that came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Foretold {
    /// What was expected.
    pub expected: f64,
    /// What came.
    pub actual: f64,
}

/// Errors of expected values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointErrors {
    /// Rows that were compared.
    pub compared: usize,
    /// Rows where there was nothing to compare.
    pub missing: usize,
    /// Mean squared error, in squared units of the series; NaN where nothing was compared, as all of these.
    pub mse: f64,
    /// Mean absolute error, in units of the series.
    pub mae: f64,
    /// Symmetric mean absolute percentage error, as a share: 0 to 2 (Makridakis, "Accuracy Measures", International Journal of Forecasting
    /// 9, 1993; as in the M4 competition). Two zeros have no error.
    pub smape: f64,
}

/// Errors of expected values.
pub fn point_errors(rows: impl IntoIterator<Item = Foretold>) -> PointErrors {
    let (mut compared, mut missing) = (0, 0);
    let (mut squares, mut absolutes, mut shares) = (0.0, 0.0, 0.0);
    for Foretold { expected, actual } in rows {
        let error = expected - actual;
        if !error.is_finite() {
            missing += 1;
            continue;
        }
        compared += 1;
        squares += error * error;
        absolutes += error.abs();
        let size = expected.abs() + actual.abs();
        shares += if size > 0.0 { 2.0 * error.abs() / size } else { 0.0 };
    }
    let rows = compared as f64;
    PointErrors { compared, missing, mse: squares / rows, mae: absolutes / rows, smape: shares / rows }
}

/// The mean absolute error of the seasonal naive forecast on a history: what a mean absolute error is divided by to become MASE, which is
/// below 1 for forecasts that beat it. NaN values and their partners are left out; NaN where no pair is left.
///
/// Source: Hyndman and Koehler, "Another Look at Measures of Forecast Accuracy", International Journal of Forecasting 22, 2006.
pub fn naive_error(history: &[f64], season_rows: usize) -> f64 {
    let later = history.get(season_rows.max(1)..).unwrap_or_default();
    point_errors(later.iter().zip(history).map(|(&actual, &expected)| Foretold { expected, actual })).mae
}

/// The mean pinball loss of a quantile in (0, 1), in units of the series: least, on average, for the true quantile. NaN where nothing can
/// be compared.
///
/// Source: Koenker and Bassett, "Regression Quantiles", Econometrica 46, 1978.
pub fn pinball_loss(rows: impl IntoIterator<Item = Foretold>, quantile: f64) -> f64 {
    let (mut sum, mut compared) = (0.0, 0.0);
    for Foretold { expected, actual } in rows {
        let above = actual - expected;
        if above.is_finite() {
            sum += (quantile * above).max((quantile - 1.0) * above);
            compared += 1.0;
        }
    }
    sum / compared
}

/// An interval that was foretold, and the value that came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    /// The lower end, which belongs to it.
    pub lower: f64,
    /// The upper one, too.
    pub upper: f64,
    /// What came.
    pub actual: f64,
}

/// How intervals kept their promise. Ends and values may be infinite: what never comes lies in an interval that is open to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coverage {
    /// Rows that were compared.
    pub compared: usize,
    /// Rows with an end or a value that is NaN.
    pub missing: usize,
    /// The share of values in their interval; NaN where nothing was compared, as all of these.
    pub coverage: f64,
    /// The share below.
    pub below: f64,
    /// The share above.
    pub above: f64,
    /// Mean width, in units of the series: of two models with the same coverage the narrower is better.
    pub width_mean: f64,
    /// Mean interval score, in units of the series, lower is better: the width, and 2/(1 − nominal) times what a value lies outside by. It
    /// can't be gained by wide intervals (Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 102, 2007).
    pub score_mean: f64,
}

/// How intervals kept their promise to hold a share of `nominal`, in (0, 1), of the values.
pub fn coverage(rows: impl IntoIterator<Item = Between>, nominal: f64) -> Coverage {
    let (mut compared, mut missing, mut below, mut above) = (0_usize, 0, 0_usize, 0_usize);
    let (mut widths, mut scores) = (0.0, 0.0);
    for Between { lower, upper, actual } in rows {
        if lower.is_nan() || upper.is_nan() || actual.is_nan() {
            missing += 1;
            continue;
        }
        compared += 1;
        below += usize::from(actual < lower);
        above += usize::from(actual > upper);
        // Equal ends have no width, also where both are infinite.
        let width = if upper == lower { 0.0 } else { upper - lower };
        let outside = if actual < lower {
            lower - actual
        } else if actual > upper {
            actual - upper
        } else {
            0.0
        };
        widths += width;
        scores += width + 2.0 / (1.0 - nominal) * outside;
    }
    let share = |count: usize| count as f64 / compared as f64;
    Coverage {
        compared,
        missing,
        coverage: share(compared - (below + above).min(compared)),
        below: share(below),
        above: share(above),
        width_mean: widths / compared as f64,
        score_mean: scores / compared as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foretold(rows: &[(f64, f64)]) -> impl Iterator<Item = Foretold> {
        rows.iter().map(|&(expected, actual)| Foretold { expected, actual })
    }

    #[test]
    fn errors_are_means_of_what_can_be_compared() {
        let errors = point_errors(foretold(&[
            (1.0, 3.0),
            (f64::NAN, 1.0),
            (4.0, 4.0),
            (1.0, f64::INFINITY),
            (0.0, 0.0),
            (-1.0, 1.0),
        ]));
        assert_eq!((errors.compared, errors.missing), (4, 2));
        assert_eq!((errors.mse, errors.mae, errors.smape), (2.0, 1.0, 0.75));
        assert!(point_errors(foretold(&[])).mse.is_nan());
    }

    #[test]
    fn the_naive_forecast_repeats_the_season() {
        assert_eq!(naive_error(&[1.0, 5.0, 2.0, 7.0], 2), 1.5);
        assert_eq!(naive_error(&[1.0, f64::NAN, 2.0, 7.0], 1), 5.0);
        assert_eq!(naive_error(&[1.0, 2.0], 0), 1.0);
        assert!(naive_error(&[1.0, 2.0], 2).is_nan());
        assert!(naive_error(&[1.0, 2.0], usize::MAX).is_nan());
    }

    /// Of the values 1 to 100 the quantile 0.9 has the least loss anywhere from 90 to 91.
    #[test]
    fn pinball_loss_is_least_at_the_quantile() {
        let loss = |expected: f64| {
            pinball_loss((1..=100).map(|actual| Foretold { expected, actual: f64::from(actual) }), 0.9)
        };
        assert!((loss(90.0) - loss(91.0)).abs() < 1e-12);
        for other in (1..=100).filter(|other| ![90, 91].contains(other)) {
            assert!(loss(f64::from(other)) > loss(90.0) + 0.001, "{other}");
        }
        assert!((pinball_loss(foretold(&[(2.0, 6.0), (2.0, 0.0)]), 0.75) - 1.75).abs() < 1e-12);
        assert!((pinball_loss(foretold(&[(2.0, 6.0)]), 0.5) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn coverage_counts_both_sides_and_the_cost_of_a_miss() {
        let rows =
            [(0.0, 1.0, 0.5), (0.0, 1.0, 1.0), (0.0, 1.0, -1.0), (0.0, 3.0, 4.0), (f64::NAN, 1.0, 1.0)];
        let covered =
            coverage(rows.into_iter().map(|(lower, upper, actual)| Between { lower, upper, actual }), 0.5);
        assert_eq!((covered.compared, covered.missing), (4, 1));
        assert_eq!((covered.coverage, covered.below, covered.above), (0.5, 0.25, 0.25));
        assert_eq!((covered.width_mean, covered.score_mean), (1.5, 1.5 + 2.0 / 0.5 * 2.0 / 4.0));
    }

    #[test]
    fn what_never_comes_lies_in_an_open_interval() {
        let never = f64::INFINITY;
        let rows = [
            Between { lower: 3.0, upper: never, actual: never },
            Between { lower: never, upper: never, actual: never },
            Between { lower: 3.0, upper: 5.0, actual: never },
        ];
        let covered = coverage(rows, 0.8);
        assert_eq!((covered.compared, covered.above), (3, 1.0 / 3.0));
    }
}
