//! All measures of detection over a set of series: a table's rows, and the line below it.

use super::events::{AlarmReport, AlarmRule, alarms_at_rate};
use super::labelled::Labelled;
use super::nab::{NabProfile, NabScore, nab};
use super::precision::average_precision;
use super::vus::{find_length_rank, vus_pr};

/// How the scores of one series compare with its labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesReport {
    /// The tolerance of `vus_pr` at most, in rows: the period of the series.
    pub window: usize,
    /// See [`vus_pr`]; NaN without incidents.
    pub vus_pr: f64,
    /// See [`average_precision`]; NaN without incidents.
    pub average_precision: f64,
    /// The share of anomalous rows: what a score that tells nothing gets, about; NaN without rows.
    pub prevalence: f64,
}

/// How the scores of a set of series compare with their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectionReport {
    /// Each series, in order.
    pub series: Vec<SeriesReport>,
    /// The mean over the series that have a VUS-PR; NaN where none has.
    pub vus_pr_mean: f64,
    /// The mean over the series that have an average precision; NaN where none has.
    pub average_precision_mean: f64,
    /// The score in each of [`NabProfile::ALL`].
    pub nab: [NabScore; 3],
    /// The threshold over all series that meets the rate of false alarms, and how alarms go with it.
    pub alarms: Option<(f64, AlarmReport)>,
}

/// Judges the scores of a set of series, each with its values, from which its period is found. `rate`: false alarms per normal row.
///
/// NAB's score and the alarms have one threshold for all: the scores of different series must mean the same.
pub fn detection_report(series: &[(&[f64], Labelled<'_>)], rate: f64, rule: AlarmRule) -> DetectionReport {
    let each: Vec<SeriesReport> =
        series.iter().map(|&(values, labelled)| series_report(values, labelled)).collect();
    let labelled: Vec<Labelled<'_>> = series.iter().map(|&(_, labelled)| labelled).collect();
    DetectionReport {
        vus_pr_mean: mean_known(each.iter().map(|one| one.vus_pr)),
        average_precision_mean: mean_known(each.iter().map(|one| one.average_precision)),
        nab: NabProfile::ALL.map(|profile| nab(&labelled, profile)),
        alarms: alarms_at_rate(&labelled, rate, rule),
        series: each,
    }
}

fn series_report(values: &[f64], labelled: Labelled<'_>) -> SeriesReport {
    let Labelled { scores, labels } = labelled;
    let window = find_length_rank(values);
    let anomalous = labels.iter().filter(|label| **label).count();
    SeriesReport {
        window,
        vus_pr: vus_pr(scores, labels, window),
        average_precision: average_precision(scores, labels),
        prevalence: anomalous as f64 / labels.len() as f64,
    }
}

fn mean_known(values: impl Iterator<Item = f64>) -> f64 {
    let known = values.filter(|value| !value.is_nan());
    let (sum, count) = known.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_without_incidents_counts_for_false_alarms_only() {
        let values: Vec<f64> = (0..100).map(|row| f64::from(row % 10)).collect();
        let labels: Vec<bool> = (0..100).map(|row| (50..60).contains(&row)).collect();
        let scores: Vec<f64> = labels.iter().map(|&label| if label { 3.0 } else { 0.0 }).collect();
        let mut calm = vec![0.0; 100];
        calm[40] = 2.0;
        let series = [
            (values.as_slice(), Labelled::new(&scores, &labels).unwrap()),
            (values.as_slice(), Labelled::new(&calm, &[false; 100]).unwrap()),
        ];
        let report = detection_report(&series, 0.0, AlarmRule { event_rows: 10, grace_rows: 0 });
        assert_eq!((report.vus_pr_mean, report.average_precision_mean), (1.0, 1.0));
        assert!(report.series[1].vus_pr.is_nan());
        assert_eq!(report.series[0].window, 10);
        assert_eq!(report.series[0].prevalence, 0.1);
        assert!(report.nab.iter().all(|score| score.normalised == 100.0));
        let (threshold, alarms) = report.alarms.unwrap();
        assert_eq!((threshold, alarms.recall(), alarms.normal_rows), (3.0, 1.0, 190));
        let report = detection_report(&series, 1.0 / 190.0, AlarmRule { event_rows: 10, grace_rows: 0 });
        assert_eq!(report.alarms.unwrap().0, 2.0);
    }
}
