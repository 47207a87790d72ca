//! A series with a score per row, beside what is known of its incidents.

/// Why something can't be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// There is not one score to a label.
    #[error("{scores} scores and {labels} labels: a series has one of each for a row")]
    Lengths {
        /// How many scores there are.
        scores: usize,
        /// How many labels.
        labels: usize,
    },
}

/// Scores and labels of the rows of one series.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    pub(super) scores: &'a [f64],
    pub(super) labels: &'a [bool],
}

impl<'a> Labelled<'a> {
    /// `scores`: higher ones mean stranger rows, NaN counts as 0. `labels`: whether the row belongs to an incident; neighbouring rows that
    /// do belong to the same.
    ///
    /// # Errors
    /// Where they differ in length.
    pub fn new(scores: &'a [f64], labels: &'a [bool]) -> Result<Self, MeasureError> {
        if scores.len() == labels.len() {
            Ok(Labelled { scores, labels })
        } else {
            Err(MeasureError::Lengths { scores: scores.len(), labels: labels.len() })
        }
    }

    /// The score of each row, without NaN.
    pub(super) fn known_scores(&self) -> impl Iterator<Item = f64> + 'a {
        self.scores.iter().map(|&score| known(score))
    }
}

/// A score, of which a missing one is 0.
pub(super) fn known(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// First and last row of each incident: of each run of anomalous rows.
pub(super) fn incidents(labels: &[bool]) -> Vec<(usize, usize)> {
    let mut incidents: Vec<(usize, usize)> = Vec::new();
    for (row, _) in labels.iter().enumerate().filter(|(_, label)| **label) {
        match incidents.last_mut() {
            Some((_, end)) if *end + 1 == row => *end = row,
            _ => incidents.push((row, row)),
        }
    }
    incidents
}

/// The middle of values, or the mean of the two in the middle; NaN of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        // Without this, infinities on both sides of the middle would make NaN of themselves.
        _ if values.len() % 2 == 1 || values[middle - 1] == values[middle] => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_runs_of_anomalous_rows() {
        assert_eq!(incidents(&[]), []);
        assert_eq!(incidents(&[true, false, true, true, false, true]), [(0, 0), (2, 3), (5, 5)]);
        assert_eq!(incidents(&[true, true]), [(0, 1)]);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(vec![4.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![f64::INFINITY, f64::INFINITY]), f64::INFINITY);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn scores_without_labels_are_refused() {
        let error = Labelled::new(&[1.0], &[]).unwrap_err();
        assert_eq!(error.to_string(), "1 scores and 0 labels: a series has one of each for a row");
    }
}
