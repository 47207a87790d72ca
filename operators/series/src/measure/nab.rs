//! The score of the Numenta Anomaly Benchmark: alarms count by when they come, and false ones cost.
//!
//! ```text
//!   +1 ┐ first alarm of a window: the earlier the better       each alarm outside: the farther past a window the worse
//!      │▔▔▔▔▔╲
//!    0 ┤      ╲┊                                                a window without an alarm: − the weight of a miss
//!      │       ┊╲_______
//!   −1 ┘  window ┊ after it      (times the weight of a false alarm)
//! ```
//!
//! Source: Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms – the Numenta Anomaly Benchmark", ICMLA 2015; details as in
//! the benchmark's own scoring (numenta/NAB, `nab/sweeper.py`), to stand beside its table. Its windows are the incidents of the labels: runs of
//! anomalous rows.

use super::labelled::{Labelled, incidents};

/// The share of a series' first rows that is not judged …
const PROBATION: f64 = 0.15;
/// … and how many rows it is at most: the share of 5,000.
const PROBATION_ROWS_MAX: usize = 750;

/// What a user fears more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NabProfile {
    /// Neither.
    Standard,
    /// False alarms, which cost twice as much.
    RewardLowFp,
    /// Missed incidents, which cost twice as much.
    RewardLowFn,
}

impl NabProfile {
    /// All of them, in the benchmark's order.
    pub const ALL: [NabProfile; 3] = [NabProfile::Standard, NabProfile::RewardLowFp, NabProfile::RewardLowFn];

    /// Its name in the benchmark.
    pub fn name(self) -> &'static str {
        match self {
            NabProfile::Standard => "standard",
            NabProfile::RewardLowFp => "reward_low_FP_rate",
            NabProfile::RewardLowFn => "reward_low_FN_rate",
        }
    }

    fn weights(self) -> Weights {
        let (false_alarm, miss) = match self {
            NabProfile::Standard => (0.11, 1.0),
            NabProfile::RewardLowFp => (0.22, 1.0),
            NabProfile::RewardLowFn => (0.11, 2.0),
        };
        Weights { find: 1.0, false_alarm, miss }
    }
}

/// What a find is worth, and what mistakes cost.
#[derive(Debug, Clone, Copy)]
struct Weights {
    find: f64,
    false_alarm: f64,
    miss: f64,
}

/// How a detector did over a set of series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NabScore {
    /// Scores from here on count as alarms; `None`: no score does.
    pub threshold: Option<f64>,
    /// The sum of what finds are worth, and of what misses and false alarms cost.
    pub score: f64,
    /// The same on a scale where a detector without alarms has 0 and a perfect one 100; NaN where no window is judged.
    pub normalised: f64,
    /// Windows with an alarm in them.
    pub found: usize,
    /// Windows that are judged. The benchmark has none in the probationary rows; here such a window does not count.
    pub windows: usize,
    /// Alarms outside of windows, by rows.
    pub false_alarm_rows: usize,
}

/// The score with the threshold that makes it highest over all series together, as the benchmark takes it. Such a threshold knows the
/// labels: what a detector would have got with one of its own, [`nab_at`] says.
pub fn nab(series: &[Labelled<'_>], profile: NabProfile) -> NabScore {
    let mut steps = sweep(series, profile.weights(), PROBATION).into_iter();
    // Without an alarm at all: there always is this step.
    let first = steps.next().unwrap_or(NOTHING);
    steps.fold(first, |best, step| if step.score > best.score { step } else { best })
}

/// The score where scores from `threshold` on are alarms.
pub fn nab_at(series: &[Labelled<'_>], profile: NabProfile, threshold: f64) -> NabScore {
    let steps = sweep(series, profile.weights(), PROBATION);
    let last =
        steps.into_iter().take_while(|step| step.threshold.is_none_or(|score| score >= threshold)).last();
    NabScore { threshold: Some(threshold), ..last.unwrap_or(NOTHING) }
}

const NOTHING: NabScore =
    NabScore { threshold: None, score: 0.0, normalised: f64::NAN, found: 0, windows: 0, false_alarm_rows: 0 };

/// A row as an alarm.
struct Alarm {
    score: f64,
    /// The number of its window among all; `None` outside of windows.
    window: Option<usize>,
    /// What it adds, or what its window is worth with it.
    worth: f64,
}

/// The score at each threshold, from none at all to the lowest score.
fn sweep(series: &[Labelled<'_>], weights: Weights, probation: f64) -> Vec<NabScore> {
    let mut alarms = Vec::new();
    let mut windows = 0;
    for labelled in series {
        windows += collect(labelled, weights, probation, windows, &mut alarms);
    }
    alarms.sort_by(|left, right| right.score.total_cmp(&left.score));

    let lowest = -weights.miss * windows as f64;
    let highest = weights.find * windows as f64;
    let normalise = |score: f64| 100.0 * (score - lowest) / (highest - lowest);
    let mut step =
        NabScore { threshold: None, score: lowest, normalised: normalise(lowest), windows, ..NOTHING };
    let mut steps = vec![step];
    let mut worth = vec![-weights.miss; windows];
    let mut found = vec![false; windows];
    for equal in alarms.chunk_by(|left, right| left.score == right.score) {
        for alarm in equal {
            let Some(window) = alarm.window else {
                step.score += alarm.worth;
                step.false_alarm_rows += 1;
                continue;
            };
            step.found += usize::from(!found[window]);
            found[window] = true;
            if alarm.worth > worth[window] {
                step.score += alarm.worth - worth[window];
                worth[window] = alarm.worth;
            }
        }
        step.threshold = Some(equal[0].score);
        step.normalised = normalise(step.score);
        steps.push(step);
    }
    steps
}

/// Appends the rows of a series that are judged; its windows are numbered from `first` on. How many of them are judged.
fn collect(
    series: &Labelled<'_>,
    weights: Weights,
    probation: f64,
    first: usize,
    alarms: &mut Vec<Alarm>,
) -> usize {
    let rows = series.labels.len();
    let judged_from = ((probation * rows as f64) as usize).min(PROBATION_ROWS_MAX);
    let mut windows = incidents(series.labels).into_iter().peekable();
    let mut before: Option<(usize, usize)> = None;
    let mut judged = 0;
    for (row, score) in series.known_scores().enumerate() {
        if let Some(past) = windows.next_if(|&(_, end)| end < row) {
            before = Some(past);
            judged += usize::from(past.1 >= judged_from);
        }
        if row < judged_from {
            continue;
        }
        let inside = windows.peek().filter(|&&(start, _)| start <= row);
        let (window, worth) = match (inside, before) {
            (Some(&(start, end)), _) => {
                let position = -((end - row + 1) as f64) / (end - start + 1) as f64;
                (Some(first + judged), weights.find * scaled_sigmoid(position) / scaled_sigmoid(-1.0))
            }
            // The distance is in windows; one of a single row has no width to measure with (0/0, where the benchmark fails): all is far.
            (None, Some((start, end))) if end > start => {
                let position = (row - end) as f64 / (end - start) as f64;
                (None, weights.false_alarm * scaled_sigmoid(position))
            }
            (None, _) => (None, -weights.false_alarm),
        };
        alarms.push(Alarm { score, window, worth });
    }
    judged + windows.filter(|&(_, end)| end >= judged_from).count()
}

/// What an alarm is worth by its place: −1 at the beginning of a window, 0 at its end, 1 a window's width past it. 0.98661 at −1, 0 at 0,
/// −1 from 3 on.
fn scaled_sigmoid(position: f64) -> f64 {
    if position >= 3.0 { -1.0 } else { 2.0 / (1.0 + libm::exp(5.0 * position)) - 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: Weights = Weights { find: 1.1, false_alarm: 0.11, miss: 1.2 };

    fn bools(text: &str) -> Vec<bool> {
        text.bytes().map(|byte| byte == b'1').collect()
    }

    /// The score where the rows of `alarms` are alarms.
    fn score(alarms: &str, labels: &str, weights: Weights, probation: f64) -> NabScore {
        let scores: Vec<f64> = bools(alarms).iter().map(|&alarm| f64::from(u8::from(alarm))).collect();
        let labels = bools(labels);
        let series = Labelled::new(&scores, &labels).unwrap();
        let steps = sweep(&[series], weights, probation);
        *steps.iter().take_while(|step| step.threshold.is_none_or(|score| score >= 0.5)).last().unwrap()
    }

    /// The values in the documentation of the benchmark's `scaledSigmoid`, and in its unit tests.
    #[test]
    fn the_sigmoid_is_the_benchmarks() {
        assert_eq!(scaled_sigmoid(-1.0), 0.9866142981514305);
        assert_eq!(scaled_sigmoid(-0.5), 0.8482836399575131);
        assert_eq!(scaled_sigmoid(0.0), 0.0);
        assert!((scaled_sigmoid(1.0) + 0.98661).abs() < 1e-5);
        assert_eq!(scaled_sigmoid(3.0), -1.0);
    }

    /// The cases of the benchmark's `tests/unit/scorer_test.py`.
    #[test]
    fn agrees_with_the_benchmarks_unit_tests() {
        let late = 0.8482836399575131 * 1.1 / 0.9866142981514305;
        for (alarms, labels, probation, expected) in [
            ("00000", "00000", 0.0, 0.0),
            ("01010", "00000", 0.0, -2.0 * 0.11),
            ("0000000", "0110110", 0.0, -2.0 * 1.2),
            ("01010", "00000", 0.8, 0.0),
            ("01010", "00000", 0.6, -0.11),
            ("0010000", "0110000", 0.0, late),
            ("0010000", "0110110", 0.0, late - 1.2),
            ("0000100", "0000110", 0.0, 1.1),
            ("0000110", "0000110", 0.0, 1.1),
            ("0010100", "0110110", 0.0, late + 1.1),
        ] {
            let score = score(alarms, labels, TEST, probation).score;
            assert!((score - expected).abs() < 1e-12, "{alarms} {labels}: {score}, not {expected}");
        }
    }

    /// `testScoringAllMetrics` of the benchmark's `tests/integration/scorer_test.py`: two windows of 5 rows, two alarms at the beginning of
    /// the first and one 3 rows after it.
    #[test]
    fn agrees_with_the_benchmarks_integration_test() {
        let weights = Weights { find: 1.0, false_alarm: 1.0, miss: 1.0 };
        let score = score("1100000100000000", "1111100000111110", weights, 0.0);
        assert!((score.score + 0.9540).abs() < 1e-4, "{}", score.score);
        assert_eq!((score.found, score.windows, score.false_alarm_rows), (1, 2, 1));
    }

    /// `testScoreNormalization` of the benchmark's `tests/unit/normalize_test.py`: of 5 windows, 2 points where 5 are perfect and −5 is none.
    #[test]
    fn a_perfect_detector_has_100_and_one_without_alarms_0() {
        let labels = bools("0000000000110001110");
        let scores: Vec<f64> = labels.iter().map(|&label| if label { 0.9 } else { 0.1 }).collect();
        let series = [Labelled::new(&scores, &labels).unwrap()];
        for profile in NabProfile::ALL {
            let best = nab(&series, profile);
            assert_eq!((best.normalised, best.threshold, best.found, best.windows), (100.0, Some(0.9), 2, 2));
            assert_eq!(nab_at(&series, profile, 0.95).normalised, 0.0);
            assert_eq!(nab_at(&series, profile, 0.5), NabScore { threshold: Some(0.5), ..best });
            assert!(nab_at(&series, profile, 0.0).normalised < 100.0);
        }
    }

    #[test]
    fn of_equal_scores_the_higher_threshold_is_taken() {
        // The window's second row adds nothing to its first.
        let labels = bools("0000011110");
        let scores = [0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.5, 0.0, 0.0, 0.0];
        let best = nab(&[Labelled::new(&scores, &labels).unwrap()], NabProfile::Standard);
        assert_eq!(best.threshold, Some(0.9));
    }

    #[test]
    fn probation_has_its_limit_and_its_windows_do_not_count() {
        let mut labels = vec![false; 10_000];
        labels[700..740].fill(true);
        labels[745..760].fill(true);
        labels[5_000..5_100].fill(true);
        let mut scores = vec![0.0; 10_000];
        scores[..750].fill(1.0);
        let series = [Labelled::new(&scores, &labels).unwrap()];
        let score = nab_at(&series, NabProfile::Standard, 0.5);
        assert_eq!((score.windows, score.found, score.false_alarm_rows), (2, 0, 0));
        scores[750] = 1.0;
        let series = [Labelled::new(&scores, &labels).unwrap()];
        assert_eq!(nab_at(&series, NabProfile::Standard, 0.5).found, 1);
    }

    #[test]
    fn without_windows_there_is_nothing_to_normalise() {
        assert!(nab(&[], NabProfile::Standard).normalised.is_nan());
        let series = [Labelled::new(&[0.5; 9], &[false; 9]).unwrap()];
        let best = nab(&series, NabProfile::Standard);
        assert_eq!((best.threshold, best.score), (None, 0.0));
    }
}
