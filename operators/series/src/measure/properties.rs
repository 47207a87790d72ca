//! What holds of the measures whatever is measured.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Scores of a few values, so that there are ties, and labels of a few incidents.
fn series() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
    let runs = vec((any::<bool>(), 1_usize..30), 2..12);
    runs.prop_flat_map(|runs| {
        let labels: Vec<bool> = runs.iter().flat_map(|&(label, rows)| vec![label; rows]).collect();
        let scores = vec((-8_i32..40).prop_map(|score| f64::from(score) / 8.0), labels.len());
        (scores, Just(labels))
    })
}

fn both_kinds(labels: &[bool]) -> bool {
    labels.contains(&true) && labels.contains(&false)
}

/// The score by its definition: for one threshold, window by window and row by row.
fn nab_naively(scores: &[f64], labels: &[bool], threshold: f64, false_alarm: f64, miss: f64) -> f64 {
    let sigmoid = |position: f64| 2.0 / (1.0 + libm::exp(5.0 * position)) - 1.0;
    let judged_from = (0.15 * labels.len() as f64) as usize;
    let windows = labelled::incidents(labels);
    let mut sum = 0.0;
    for &(start, end) in windows.iter().filter(|&&(_, end)| end >= judged_from) {
        let width = (end + 1 - start) as f64;
        sum += match (start.max(judged_from)..=end).find(|&row| scores[row] >= threshold) {
            None => -miss,
            Some(row) => sigmoid(-((end + 1 - row) as f64) / width) / sigmoid(-1.0),
        };
    }
    for row in (judged_from..labels.len()).filter(|&row| !labels[row] && scores[row] >= threshold) {
        let before = windows.iter().rfind(|&&(_, end)| end < row);
        let position =
            before.map_or(f64::INFINITY, |&(start, end)| (row - end) as f64 / (end - start) as f64);
        sum += false_alarm * if position >= 3.0 { -1.0 } else { sigmoid(position) };
    }
    sum
}

proptest! {
    #[test]
    fn only_the_order_of_scores_matters((scores, labels) in series(), window in 0_usize..60) {
        let raised: Vec<f64> = scores.iter().map(|score| score * score * score + 7.0 * score - 3.0).collect();
        prop_assert_eq!(
            vus_pr(&scores, &labels, window).to_bits(),
            vus_pr(&raised, &labels, window).to_bits()
        );
        prop_assert_eq!(
            average_precision(&scores, &labels).to_bits(),
            average_precision(&raised, &labels).to_bits()
        );
        let (kept, turned) = (Labelled::new(&scores, &labels).unwrap(), Labelled::new(&raised, &labels).unwrap());
        for profile in NabProfile::ALL {
            let (kept, turned) = (nab(&[kept], profile), nab(&[turned], profile));
            prop_assert_eq!(NabScore { threshold: None, ..kept }.score, NabScore { threshold: None, ..turned }.score);
        }
    }

    #[test]
    fn areas_lie_between_0_and_1_and_a_perfect_score_has_1((scores, labels) in series(), window in 0_usize..60) {
        prop_assume!(both_kinds(&labels));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&vus_pr(&scores, &labels, window)));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&average_precision(&scores, &labels)));
        let perfect: Vec<f64> = labels.iter().map(|&label| f64::from(u8::from(label))).collect();
        prop_assert!((vus_pr(&perfect, &labels, window) - 1.0).abs() < 1e-12);
        prop_assert!((average_precision(&perfect, &labels) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_score_that_tells_nothing_has_the_prevalence((_, labels) in series()) {
        prop_assume!(both_kinds(&labels));
        let constant = vec![1.0; labels.len()];
        let prevalence = labels.iter().filter(|label| **label).count() as f64 / labels.len() as f64;
        prop_assert!((average_precision(&constant, &labels) - prevalence).abs() < 1e-12);
        prop_assert!((vus_pr(&constant, &labels, 0) - prevalence).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_rows_does_not_matter_to_average_precision((scores, labels) in series(), turn in 0_usize..300) {
        let turn = turn % labels.len();
        let (mut other_scores, mut other_labels) = (scores.clone(), labels.clone());
        other_scores.rotate_left(turn);
        other_labels.rotate_left(turn);
        prop_assert_eq!(
            average_precision(&scores, &labels).to_bits(),
            average_precision(&other_scores, &other_labels).to_bits()
        );
    }

    #[test]
    fn nabs_score_is_that_of_its_definition((scores, labels) in series()) {
        let series = [Labelled::new(&scores, &labels).unwrap()];
        for (profile, false_alarm, miss) in [
            (NabProfile::Standard, 0.11, 1.0),
            (NabProfile::RewardLowFp, 0.22, 1.0),
            (NabProfile::RewardLowFn, 0.11, 2.0),
        ] {
            let none = nab_naively(&scores, &labels, f64::INFINITY, false_alarm, miss);
            let mut best = none;
            for (number, &threshold) in scores.iter().enumerate() {
                let naive = nab_naively(&scores, &labels, threshold, false_alarm, miss);
                best = best.max(naive);
                if number % 16 == 0 {
                    prop_assert!((nab_at(&series, profile, threshold).score - naive).abs() < 1e-9);
                }
            }
            prop_assert!((nab(&series, profile).score - best).abs() < 1e-9);
        }
    }

    #[test]
    fn series_are_judged_each_by_itself_in_any_order((scores, labels) in series(), (more, others) in series()) {
        let one = Labelled::new(&scores, &labels).unwrap();
        let other = Labelled::new(&more, &others).unwrap();
        let rule = AlarmRule { event_rows: 4, grace_rows: 2 };
        let (together, turned) = (alarms_at(&[one, other], 2.0, rule), alarms_at(&[other, one], 2.0, rule));
        let (first, second) = (alarms_at(&[one], 2.0, rule), alarms_at(&[other], 2.0, rule));
        prop_assert_eq!(together.false_alarms, first.false_alarms + second.false_alarms);
        prop_assert_eq!(together.found(), first.found() + second.found());
        prop_assert_eq!(turned.false_alarms, together.false_alarms);
        let apart = nab_at(&[one], NabProfile::Standard, 2.0).score + nab_at(&[other], NabProfile::Standard, 2.0).score;
        prop_assert!((nab_at(&[one, other], NabProfile::Standard, 2.0).score - apart).abs() < 1e-9);
    }

    #[test]
    fn a_higher_threshold_has_no_more_false_alarms_and_no_earlier_finds((scores, labels) in series(), event in 0_usize..9) {
        let series = [Labelled::new(&scores, &labels).unwrap()];
        let rule = AlarmRule { event_rows: event, grace_rows: 2 };
        let reports: Vec<AlarmReport> =
            (-9..42).map(|eighths| alarms_at(&series, f64::from(eighths) / 8.0, rule)).collect();
        for pair in reports.windows(2) {
            prop_assert!(pair[1].false_alarms <= pair[0].false_alarms);
            for (lower, higher) in pair[0].delays_rows.iter().zip(&pair[1].delays_rows) {
                prop_assert!(higher.is_none() || lower <= higher);
            }
        }
    }

    #[test]
    fn the_threshold_for_a_rate_is_the_lowest_that_meets_it((scores, labels) in series(), rate in 0.0_f64..0.3) {
        let series = [Labelled::new(&scores, &labels).unwrap()];
        let rule = AlarmRule { event_rows: 3, grace_rows: 1 };
        let meets = |threshold: f64| {
            let report = alarms_at(&series, threshold, rule);
            report.false_alarms as f64 <= rate * report.normal_rows as f64
        };
        let lowest = scores.iter().copied().filter(|&score| meets(score)).min_by(f64::total_cmp);
        prop_assert_eq!(alarms_at_rate(&series, rate, rule).map(|(threshold, _)| threshold), lowest);
    }

    #[test]
    fn nothing_panics_on_any_number(
        scores in vec(any::<f64>(), 0..60),
        labels in vec(any::<bool>(), 60),
        window in 0_usize..100,
    ) {
        let labels = &labels[..scores.len()];
        let _ = vus_pr(&scores, labels, window);
        let _ = average_precision(&scores, labels);
        let _ = find_length_rank(&scores);
        let series = [Labelled::new(&scores, labels).unwrap()];
        let _ = nab(&series, NabProfile::Standard);
        let _ = alarms_at_rate(&series, 0.1, AlarmRule { event_rows: usize::MAX, grace_rows: usize::MAX });
        let rows = scores.windows(3).map(|ends| Between { lower: ends[0], upper: ends[1], actual: ends[2] });
        let _ = coverage(rows, 0.9);
        let _ = naive_error(&scores, window);
    }
}

/// 20,000 rows of a seeded generator with a tenth of them in incidents: the expectation of a random score is the prevalence, and with
/// tolerances that of the widened incidents.
#[test]
fn a_random_score_has_about_the_prevalence() {
    let mut state = 7_u64;
    let scores: Vec<f64> = (0..20_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64
        })
        .collect();
    let labels: Vec<bool> = (0..20_000).map(|row| row % 1_000 >= 900).collect();
    assert!((average_precision(&scores, &labels) - 0.1).abs() < 0.01);
    assert!((vus_pr(&scores, &labels, 0) - 0.1).abs() < 0.01);
    assert!((0.1..0.13).contains(&vus_pr(&scores, &labels, 50)));
}
