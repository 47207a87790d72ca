//! What an operator gets: which incidents raise an alarm, how soon, and how often an alarm is false.
//!
//! ```text
//!   incidents  ......████████..........................███......
//!   alarms     ..x......xxxxxxx.........xxxxxxxxxxxxxxx.........
//!                │      │     └─ grace: neither found nor false  └─ missed
//!                false  found, 3 rows late  └─ false: one event for each stretch of `event_rows` it takes to cover them
//! ```
//!
//! False alarms are counted as events, because ten rows of one alarm disturb once; but an alarm that never ends is not one event: it would
//! find everything and cost nothing. So alarms count by how many stretches of [`AlarmRule::event_rows`] it takes to cover them, which also
//! makes the count fall as the threshold rises.

use super::labelled::{Labelled, incidents, median};

/// How alarms are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlarmRule {
    /// Rows that an alarm silences: false alarms in so many rows, with the first, are one. 0 is as 1.
    pub event_rows: usize,
    /// Rows after an incident whose alarms are not false, since scores are smoothed and series take time to recover.
    pub grace_rows: usize,
}

/// How alarms went with incidents, over a set of series.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmReport {
    /// For each incident in order: how many rows after its first there was an alarm in it; `None`: never.
    pub delays_rows: Vec<Option<usize>>,
    /// Events of false alarms.
    pub false_alarms: usize,
    /// Rows in which an alarm is false.
    pub normal_rows: usize,
}

impl AlarmReport {
    /// Incidents with an alarm in them.
    pub fn found(&self) -> usize {
        self.delays_rows.iter().flatten().count()
    }

    /// The share of incidents with an alarm in them; NaN without incidents.
    pub fn recall(&self) -> f64 {
        self.found() as f64 / self.delays_rows.len() as f64
    }

    /// The median delay of those that were found, in rows; NaN where none was.
    pub fn delay_rows_median(&self) -> f64 {
        median(self.delays_rows.iter().flatten().map(|&rows| rows as f64).collect())
    }

    /// False alarms per normal row; NaN without normal rows.
    pub fn false_alarm_rate(&self) -> f64 {
        self.false_alarms as f64 / self.normal_rows as f64
    }
}

/// How alarms went: rows whose score is at least `threshold` are alarms. For alarms that a detector decided on by itself, scores of 1 and 0
/// and a threshold of 1.
pub fn alarms_at(series: &[Labelled<'_>], threshold: f64, rule: AlarmRule) -> AlarmReport {
    let mut report = AlarmReport { delays_rows: Vec::new(), false_alarms: 0, normal_rows: 0 };
    for labelled in series {
        let alarms: Vec<bool> = labelled.known_scores().map(|score| score >= threshold).collect();
        let mut normal_from = 0;
        for (start, end) in incidents(labelled.labels) {
            report.delays_rows.push(alarms[start..=end].iter().position(|&alarm| alarm));
            count_false(&alarms[normal_from.min(start)..start], rule, &mut report);
            normal_from = end.saturating_add(1).saturating_add(rule.grace_rows);
        }
        count_false(&alarms[normal_from.min(alarms.len())..], rule, &mut report);
    }
    report
}

/// Counts the alarms of normal rows without a gap.
fn count_false(alarms: &[bool], rule: AlarmRule, report: &mut AlarmReport) {
    report.normal_rows += alarms.len();
    let mut silent_until = 0;
    for (row, _) in alarms.iter().enumerate().filter(|(_, alarm)| **alarm) {
        if row >= silent_until {
            report.false_alarms += 1;
            silent_until = row.saturating_add(rule.event_rows.max(1));
        }
    }
}

/// The lowest threshold, of the scores there are, at which there are at most `rate` false alarms per normal row over all series together,
/// and how alarms go with it; `None`: there are more at every score.
///
/// One false alarm a day of a series of minutes is a rate of 1/1440.
pub fn alarms_at_rate(series: &[Labelled<'_>], rate: f64, rule: AlarmRule) -> Option<(f64, AlarmReport)> {
    let mut thresholds: Vec<f64> = series.iter().flat_map(Labelled::known_scores).collect();
    thresholds.sort_unstable_by(f64::total_cmp);
    thresholds.dedup();
    let allowed = |report: &AlarmReport| report.false_alarms as f64 <= rate * report.normal_rows as f64;
    // The count of false alarms never rises with the threshold.
    let lowest = thresholds.partition_point(|&threshold| !allowed(&alarms_at(series, threshold, rule)));
    thresholds.get(lowest).map(|&threshold| (threshold, alarms_at(series, threshold, rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: AlarmRule = AlarmRule { event_rows: 5, grace_rows: 3 };

    fn digits(text: &str) -> Vec<f64> {
        text.bytes().map(|byte| f64::from(byte - b'0')).collect()
    }

    fn report(scores: &str, labels: &str, threshold: f64, rule: AlarmRule) -> AlarmReport {
        let labels: Vec<bool> = labels.bytes().map(|byte| byte == b'1').collect();
        let scores = digits(scores);
        alarms_at(&[Labelled::new(&scores, &labels).unwrap()], threshold, rule)
    }

    #[test]
    fn finds_misses_and_false_alarms_are_told_apart() {
        let labels = "000000111111110000000000000000000000000000001110000";
        let alarms = "001000000111111100000000011111111111111100000000000";
        let report = report(alarms, labels, 1.0, RULE);
        assert_eq!(report.delays_rows, [Some(3), None]);
        // One alone, and three for 15 rows; the two after the first incident are in its grace.
        assert_eq!(report.false_alarms, 4);
        assert_eq!(report.normal_rows, labels.matches('0').count() - 2 * RULE.grace_rows);
        assert_eq!((report.found(), report.recall(), report.delay_rows_median()), (1, 0.5, 3.0));
    }

    #[test]
    fn a_grace_ends_with_the_next_incident() {
        let report = report("11111111", "10010000", 1.0, AlarmRule { event_rows: 1, grace_rows: 3 });
        assert_eq!((report.normal_rows, report.false_alarms), (1, 1));
        assert_eq!(report.delays_rows, [Some(0), Some(0)]);
    }

    #[test]
    fn an_alarm_without_end_is_not_for_free() {
        let report = report(&"1".repeat(100), &"0".repeat(100), 1.0, RULE);
        assert_eq!(report.false_alarms, 20);
        assert!(report.recall().is_nan());
        assert!(report.delay_rows_median().is_nan());
    }

    #[test]
    fn the_threshold_is_the_lowest_that_meets_the_rate() {
        let scores = digits("0300000000020000000000100000000000000050");
        let labels: Vec<bool> = (0..40).map(|row| row >= 36).collect();
        let series = [Labelled::new(&scores, &labels).unwrap()];
        for (alarms, threshold) in
            [(0.0, Some(5.0)), (1.0, Some(3.0)), (2.0, Some(2.0)), (3.0, Some(1.0)), (8.0, Some(0.0))]
        {
            let found = alarms_at_rate(&series, alarms / 36.0, RULE);
            assert_eq!(found.as_ref().map(|(threshold, _)| *threshold), threshold, "{alarms} false alarms");
            let (_, report) = found.unwrap();
            assert_eq!((report.normal_rows, report.found()), (36, 1));
        }
        let highest_is_false = [Labelled::new(&[2.0, 1.0], &[false, true]).unwrap()];
        assert_eq!(alarms_at_rate(&highest_is_false, 0.0, RULE), None);
        assert_eq!(alarms_at_rate(&[], 1.0, RULE), None);
    }
}
