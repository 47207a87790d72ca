//! The volume under the surface of precision and recall, over all thresholds and over all tolerances around an incident.
//!
//! Telemetry is labelled by hand, and a detector that fires a little before or after a label is not wrong. So the label of an incident is
//! extended to both sides, with weights that fall with the distance, and the area under precision and recall is averaged over all lengths of
//! that extension: from none to the period of the series.
//!
//! Source: Paparrizos, Boniol, Palpanas, Tsay, Elmore and Franklin, "Volume Under the Surface: A New Accuracy Evaluation Measure for
//! Time-Series Anomaly Detection", PVLDB 15(11), 2022; in the variant that the TSB-AD benchmark reports (Liu and Paparrizos, NeurIPS 2024),
//! `generate_curve(…, version='opt', thre=250)`, to its last quirk, so that figures can stand beside its table.

use super::labelled::{incidents, known};

/// Thresholds of the surface, at equal distances of rank.
const THRESHOLDS: usize = 250;
/// The longest lag at which a period is looked for.
const LAGS_MAX: usize = 400;
/// The period where none is found.
const PERIOD_DEFAULT: usize = 125;

/// VUS-PR of a score per row against the labels of the rows, for tolerances of 0 to `window` rows (half of it before an incident, half
/// after): 0 to 1, of which a score that tells nothing gets about the share of anomalous rows. Higher scores mean stranger rows; NaN counts
/// as 0. Only the order of scores matters.
///
/// NaN where nothing can be told apart: without rows, without a normal or without an anomalous one, and where `scores` and `labels` differ
/// in length.
///
/// Time: a sort of the rows, and for each tolerance the rows within it of an incident.
pub fn vus_pr(scores: &[f64], labels: &[bool], window: usize) -> f64 {
    let incidents = incidents(labels);
    let anomalous: usize = incidents.iter().map(|&(start, end)| end + 1 - start).sum();
    if scores.len() != labels.len() || anomalous == 0 || anomalous == labels.len() {
        return f64::NAN;
    }
    let ranks = Ranks::new(scores);
    // No tolerance reaches further than the series.
    let reach_max = (window / 2).min(labels.len());
    let near = rows_near(labels, &incidents, reach_max);

    let mut found_inside = vec![0.0; THRESHOLDS];
    for (_, &rank) in labels.iter().zip(&ranks.first).filter(|(label, _)| **label) {
        found_inside[rank] += 1.0;
    }
    accumulate(&mut found_inside);

    // The lowest threshold number at which something of each incident, and of its tolerance, is found.
    let mut first_found: Vec<usize> =
        incidents.iter().map(|&(start, end)| lowest(&ranks.first[start..=end])).collect();
    let mut weights = vec![0.0; labels.len()];
    let mut sum = 0.0;
    for tolerance in 0..=window {
        let reach = (tolerance / 2).min(labels.len());
        if tolerance % 2 == 0 && tolerance > 0 {
            for (&(start, end), first) in incidents.iter().zip(&mut first_found) {
                let before = start.checked_sub(reach).map(|row| ranks.first[row]);
                let after = ranks.first.get(end + reach).copied();
                *first = before.into_iter().chain(after).fold(*first, usize::min);
            }
        }
        let found_near = weigh_near(&incidents, &near, tolerance, &mut weights, &ranks);
        let existence = existence(&incidents, &first_found, reach);
        sum += area(anomalous as f64, &found_inside, &found_near, &existence, &ranks.predicted);
    }
    sum / (window as f64 + 1.0)
}

/// The area under precision and recall of one tolerance, by thresholds.
fn area(
    anomalous: f64,
    found_inside: &[f64],
    found_near: &[f64],
    existence: &[f64],
    predicted: &[f64],
) -> f64 {
    let mut area = 0.0;
    let mut recall_before = 0.0;
    for threshold in 0..THRESHOLDS {
        let found = found_inside[threshold] + found_near[threshold];
        // Halfway between the labelled rows and those that count as anomalous at this threshold.
        let positive = anomalous + found_near[threshold] / 2.0;
        let recall = (found / positive).min(1.0) * existence[threshold];
        area += (recall - recall_before) * (found / predicted[threshold]);
        recall_before = recall;
    }
    area
}

/// Weight of the rows around incidents that are found at each threshold.
fn weigh_near(
    incidents: &[(usize, usize)],
    near: &[usize],
    tolerance: usize,
    weights: &mut [f64],
    ranks: &Ranks,
) -> Vec<f64> {
    for distance in 1..=(tolerance / 2).min(weights.len()) {
        let weight = (1.0 - distance as f64 / tolerance as f64).sqrt();
        for &(start, end) in incidents {
            if let Some(row) = start.checked_sub(distance) {
                weights[row] += weight;
            }
            if let Some(sum) = weights.get_mut(end + distance) {
                *sum += weight;
            }
        }
    }
    let mut found = vec![0.0; THRESHOLDS];
    for &row in near {
        found[ranks.first[row]] += weights[row].min(1.0);
    }
    weights.fill(0.0);
    accumulate(&mut found);
    found
}

/// The share of incidents of which something is found at each threshold. Incidents whose tolerances touch are one.
fn existence(incidents: &[(usize, usize)], first_found: &[usize], reach: usize) -> Vec<f64> {
    let mut found = vec![0.0; THRESHOLDS];
    let mut count = 0.0;
    let mut first = THRESHOLDS;
    for (number, &(_, end)) in incidents.iter().enumerate() {
        first = first.min(first_found[number]);
        let joined = incidents.get(number + 1).is_some_and(|&(next, _)| end + reach + reach >= next);
        if !joined {
            found[first] += 1.0;
            count += 1.0;
            first = THRESHOLDS;
        }
    }
    accumulate(&mut found);
    found.iter_mut().for_each(|share| *share /= count);
    found
}

/// What thresholds make of the scores.
struct Ranks {
    /// For each row the first threshold, from the highest, that its score reaches.
    first: Vec<usize>,
    /// For each threshold how many rows reach it.
    predicted: Vec<f64>,
}

impl Ranks {
    fn new(scores: &[f64]) -> Ranks {
        let scores: Vec<f64> = scores.iter().copied().map(known).collect();
        let mut sorted = scores.clone();
        sorted.sort_unstable_by(|left, right| right.total_cmp(left));
        // As numpy's linspace(0, n − 1, 250).astype(int) rounds.
        let step = (sorted.len() - 1) as f64 / (THRESHOLDS - 1) as f64;
        let thresholds: Vec<f64> = (0..THRESHOLDS)
            .map(|number| {
                let last = number == THRESHOLDS - 1;
                sorted[if last { sorted.len() - 1 } else { (number as f64 * step) as usize }]
            })
            .collect();
        let first: Vec<usize> =
            scores.iter().map(|&score| thresholds.partition_point(|&threshold| score < threshold)).collect();
        let mut predicted = vec![0.0; THRESHOLDS];
        first.iter().for_each(|&number| predicted[number] += 1.0);
        accumulate(&mut predicted);
        Ranks { first, predicted }
    }
}

/// Normal rows at most `reach` rows from an incident, ascending.
fn rows_near(labels: &[bool], incidents: &[(usize, usize)], reach: usize) -> Vec<usize> {
    let mut near: Vec<usize> = Vec::new();
    for &(start, end) in incidents {
        let from = near.last().map_or(0, |&row| row + 1).max(start.saturating_sub(reach));
        let to = (end + reach + 1).min(labels.len());
        near.extend((from..to).filter(|&row| !labels[row]));
    }
    near
}

fn lowest(ranks: &[usize]) -> usize {
    ranks.iter().copied().fold(THRESHOLDS - 1, usize::min)
}

/// Turns counts per threshold into counts up to each threshold.
fn accumulate(counts: &mut [f64]) {
    let mut sum = 0.0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}

/// The period of a series in rows, by its autocorrelation: the lag of the highest local maximum in lags 3 to 400 of the first 20,000
/// rows. 125 where there is none, where it is not at 6 to 303, and where a value is not finite.
///
/// Source: TSB-AD's `find_length_rank(data, rank=1)`, which gives the window of its VUS-PR.
pub fn find_length_rank(series: &[f64]) -> usize {
    const BASE: usize = 3;
    let series = &series[..series.len().min(20_000)];
    let mean = series.iter().sum::<f64>() / series.len() as f64;
    let centred: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let covariance = |lag: usize| -> f64 {
        centred.iter().zip(&centred[lag..]).map(|(earlier, later)| earlier * later).sum()
    };
    let variance = covariance(0);
    let lags = series.len().min(LAGS_MAX + 1);
    let correlations: Vec<f64> = (BASE.min(lags)..lags).map(|lag| covariance(lag) / variance).collect();
    let highest = correlations
        .windows(3)
        .enumerate()
        .filter(|(_, around)| around[1] > around[0] && around[1] > around[2])
        .max_by(|(_, left), (_, right)| left[1].total_cmp(&right[1]));
    match highest {
        Some((before, _)) if (3..=300).contains(&(before + 1)) => before + 1 + BASE,
        _ => PERIOD_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores without a pattern, the same in Python.
    fn scores(rows: u64, modulus: u64) -> Vec<f64> {
        (0..rows).map(|row| ((row * row * 7919 + 13 * row) % modulus) as f64).collect()
    }

    fn labels(rows: usize, incidents: &[(usize, usize)]) -> Vec<bool> {
        (0..rows).map(|row| incidents.iter().any(|&(from, to)| (from..to).contains(&row))).collect()
    }

    /// Expected values: `generate_curve(labels, scores, window, 'opt', 250)[-1]` of TSB-AD 1.5 under numpy 2.4.6; for the second, with 500
    /// added to the scores of anomalous rows.
    #[test]
    fn agrees_with_tsb_ad() {
        let three: &[(usize, usize)] = &[(60, 75), (90, 91), (300, 340)];
        let ends: &[(usize, usize)] = &[(0, 7), (113, 120)];
        for (rows, incidents, modulus, window, random, raised) in [
            (400, three, 1009, 0, 0.15666594578323692, 0.6943055608188652),
            (400, three, 1009, 1, 0.15666594578323692, 0.6943055608188652),
            (400, three, 1009, 40, 0.2518523714799006, 0.7451392036147563),
            (400, three, 5, 40, 0.25082321728305257, 1.0),
            (120, ends, 1009, 30, 0.17679328601548067, 0.6237452343204843),
            (1000, &[(500, 501)], 1009, 125, 0.0464472984905365, 1.0),
        ] {
            let labels = labels(rows, incidents);
            let scores = scores(rows as u64, modulus);
            assert!((vus_pr(&scores, &labels, window) - random).abs() < 1e-12);
            let helped: Vec<f64> = scores
                .iter()
                .zip(&labels)
                .map(|(score, label)| score + if *label { 500.0 } else { 0.0 })
                .collect();
            assert!((vus_pr(&helped, &labels, window) - raised).abs() < 1e-12);
        }
    }

    #[test]
    fn a_missing_score_counts_as_zero() {
        let labels = labels(400, &[(60, 75)]);
        let mut scores = scores(400, 1009);
        scores[70] = 0.0;
        let with_zero = vus_pr(&scores, &labels, 20);
        scores[70] = f64::NAN;
        assert_eq!(vus_pr(&scores, &labels, 20), with_zero);
    }

    #[test]
    fn nothing_to_tell_apart_is_no_number() {
        assert!(vus_pr(&[], &[], 10).is_nan());
        assert!(vus_pr(&[1.0, 2.0], &[false, false], 10).is_nan());
        assert!(vus_pr(&[1.0, 2.0], &[true, true], 10).is_nan());
        assert!(vus_pr(&[1.0, 2.0], &[true], 10).is_nan());
        assert_eq!(vus_pr(&[f64::INFINITY, f64::NEG_INFINITY], &[true, false], 10), 1.0);
    }

    /// Expected values: `find_length_rank(series, rank=1)` of TSB-AD 1.5 under statsmodels 0.15.0 and scipy 1.17.1.
    #[test]
    fn finds_the_period_that_tsb_ad_finds() {
        for (rows, period, noise, expected) in [
            (600, 24, 3.0, 24),
            (600, 24, 40.0, 101),
            (3000, 300, 0.0, 298),
            (3000, 290, 1.0, 289),
            (200, 4, 1.0, 125),
            (30, 9, 1.0, 9),
            (5, 2, 0.0, 125),
        ] {
            let triangle = |row: usize| ((row % period) as f64 - period as f64 / 2.0).abs();
            let series: Vec<f64> = scores(rows as u64, 101)
                .iter()
                .enumerate()
                .map(|(row, value)| triangle(row) + value / 101.0 * noise)
                .collect();
            assert_eq!(find_length_rank(&series), expected, "{rows} rows of period {period}");
        }
        assert_eq!(find_length_rank(&scores(500, 1009)), 122);
        for nothing in [&[][..], &[1.0; 50], &[1.0, f64::NAN, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0]] {
            assert_eq!(find_length_rank(nothing), 125);
        }
    }
}
