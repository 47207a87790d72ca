//! Precision and recall row by row, over all thresholds.

use super::labelled::known;

/// Average precision of a score per row: the area under precision and recall, row by row, without tolerance (AUC-PR). 0 to 1, of which a
/// score that tells nothing gets about the share of anomalous rows. NaN counts as 0; only the order of scores matters.
///
/// The sum over thresholds of precision times what recall rises by: no interpolation, which would flatter (Davis and Goadrich, "The
/// Relationship Between Precision-Recall and ROC Curves", ICML 2006). As scikit-learn's `average_precision_score`.
///
/// NaN without anomalous rows, and where `scores` and `labels` differ in length.
pub fn average_precision(scores: &[f64], labels: &[bool]) -> f64 {
    let anomalous = labels.iter().filter(|label| **label).count();
    if scores.len() != labels.len() || anomalous == 0 {
        return f64::NAN;
    }
    let mut rows: Vec<(f64, bool)> =
        scores.iter().zip(labels).map(|(&score, &label)| (known(score), label)).collect();
    rows.sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
    let (mut predicted, mut found, mut area) = (0, 0, 0.0);
    for equal in rows.chunk_by(|left, right| left.0 == right.0) {
        let found_here = equal.iter().filter(|(_, label)| *label).count();
        predicted += equal.len();
        found += found_here;
        area += found_here as f64 / anomalous as f64 * (found as f64 / predicted as f64);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: `sklearn.metrics.average_precision_score` of scikit-learn 1.9.1.
    #[test]
    fn agrees_with_scikit_learn() {
        let labels: Vec<bool> =
            (0..200).map(|row| (60..75).contains(&row) || (120..160).contains(&row)).collect();
        for (modulus, expected) in [(1009, 0.3335420207133928), (5, 0.275), (2, 0.275)] {
            let scores: Vec<f64> =
                (0..200_u64).map(|row| ((row * row * 7919 + 13 * row) % modulus) as f64).collect();
            assert!((average_precision(&scores, &labels) - expected).abs() < 1e-12, "{modulus}");
        }
    }

    #[test]
    fn without_anomalous_rows_there_is_no_number() {
        assert!(average_precision(&[1.0, 2.0], &[false, false]).is_nan());
        assert!(average_precision(&[], &[]).is_nan());
        assert!(average_precision(&[1.0], &[true, false]).is_nan());
        assert_eq!(average_precision(&[f64::NAN, 1.0], &[false, true]), 1.0);
    }
}
