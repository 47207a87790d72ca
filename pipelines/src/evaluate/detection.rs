//! Labelled series through the detector, and how its scores and alarms compare with the labels.

use serde::Serialize;
use thalweg_series::Observation;
use thalweg_series::detect::{Class, Detector, DetectorConfig, Severity, Status, Verdict};
use thalweg_series::measure::{
    self, AlarmReport, AlarmRule, Labelled, NabProfile, NabScore, alarms_at, alarms_at_rate, nab, nab_at,
};

use super::files::SeriesFile;
use super::{AlarmCount, AlarmSummary, DAY_US, EvaluateError, SECOND_US, mean_known};

/// How alarms are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counting {
    /// False alarms within so long, microseconds, are one.
    pub event_us: i64,
    /// Alarms so long after an incident, microseconds, are not false.
    pub grace_us: i64,
}

impl Counting {
    fn rule(self, interval_us: i64) -> AlarmRule {
        let rows = |time_us: i64| usize::try_from(time_us / interval_us.max(1)).unwrap_or(0);
        AlarmRule { event_rows: rows(self.event_us), grace_rows: rows(self.grace_us) }
    }
}

/// What the detector said of a series, row by row.
#[derive(Debug, Clone, Default)]
pub struct Scored {
    /// How strange; NaN while nothing can be said.
    pub scores: Vec<f64>,
    /// How rare; NaN as above.
    pub p_values: Vec<f64>,
    /// Whether it gave an alarm.
    pub alarms: Vec<bool>,
    /// Of what kind, and how bad; of alarms only.
    pub classes: Vec<Option<(Class, Severity)>>,
    /// What it could make of the row.
    pub statuses: Vec<Status>,
    /// What was expected of each column, and from where to where; one after the other of each row.
    pub expected: Vec<[f64; 3]>,
}

/// Runs a series through a detector; `config.inputs` is taken from the series. `advance` is told of rows as they are done.
/// The detector's name and version comes with the result.
///
/// # Errors
/// A configuration that makes no detector.
pub fn score(
    series: &SeriesFile,
    config: &DetectorConfig,
    advance: &dyn Fn(u64),
) -> Result<(Scored, String), EvaluateError> {
    const ROWS_AT_ONCE: usize = 1000;
    if series.columns.len() > DetectorConfig::INPUTS_MAX {
        return Err(EvaluateError::File {
            path: series.path.clone(),
            line: Some(1),
            message: format!("{} columns of values", series.columns.len()),
            hint: format!("a detector takes {} at most: leave some out", DetectorConfig::INPUTS_MAX),
        });
    }
    let mut detector = Detector::new(DetectorConfig { inputs: series.columns.len(), ..config.clone() })?;
    let mut state = detector.begin();
    let mut verdict = Verdict::default();
    let mut scored = Scored::default();
    for (row, &time_us) in series.times_us.iter().enumerate() {
        let observation = Observation { time_us, local_us: time_us, values: series.row(row) };
        detector.observe(&mut state, observation, &mut verdict);
        scored.scores.push(verdict.score);
        scored.p_values.push(verdict.p_value);
        scored.alarms.push(verdict.is_anomaly);
        scored.classes.push(verdict.class.zip(verdict.severity));
        scored.statuses.push(verdict.status);
        let ends = verdict.lower.iter().zip(&verdict.upper);
        let expected = verdict.expected.iter().zip(ends);
        scored.expected.extend(expected.map(|(&expected, (&lower, &upper))| [expected, lower, upper]));
        if (row + 1) % ROWS_AT_ONCE == 0 {
            advance(ROWS_AT_ONCE as u64);
        }
    }
    advance((series.rows() % ROWS_AT_ONCE) as u64);
    Ok((scored, detector.version()))
}

/// How detection did over a set of series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DetectionReport {
    /// What was judged: "detection".
    pub kind: &'static str,
    /// The model and its version.
    pub model: String,
    /// The rate of false alarms that was asked for, for each day of each series.
    pub false_alarms_per_day_wanted: f64,
    /// False alarms within so long are one, seconds.
    pub event_s: f64,
    /// Alarms so long after an incident are not false, seconds.
    pub grace_s: f64,
    /// Each series.
    pub series: Vec<SeriesReport>,
    /// Means over the series that have the measure.
    pub mean: Means,
    /// The detector's own alarms (`is_anomaly`), over all series.
    pub own_alarms: AlarmSummary,
    /// Alarms by a threshold of each series' scores, the lowest that meets the wanted rate: it knows the labels.
    pub at_rate: AlarmSummary,
    /// NAB's score in each of its profiles.
    pub nab: Vec<NabReport>,
}

/// How detection did in one series. NaN (in JSON null) without incidents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesReport {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its rows.
    pub rows: usize,
    /// Its columns of values.
    pub columns: usize,
    /// How far apart rows are, seconds.
    pub interval_s: f64,
    /// The greatest tolerance of VUS-PR: the period of the first column, rows.
    pub window_rows: usize,
    /// Volume under the surface of precision and recall.
    pub vus_pr: f64,
    /// Area under precision and recall: average precision.
    pub auc_pr: f64,
    /// The share of labelled rows: about what scores that tell nothing get as VUS-PR and AUC-PR.
    pub labelled_share: f64,
    /// The detector's own alarms.
    #[serde(flatten)]
    pub own_alarms: AlarmSummary,
    /// Alarms by a threshold of its scores, the lowest that meets the wanted rate: it knows the labels.
    pub at_rate: AtRate,
}

/// Means over series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Means {
    /// Series that have incidents.
    pub series: usize,
    /// Of VUS-PR.
    pub vus_pr: f64,
    /// Of AUC-PR.
    pub auc_pr: f64,
    /// Of the share of labelled rows.
    pub labelled_share: f64,
}

/// How alarms by a threshold went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtRate {
    /// Scores from here on are alarms; `None`: none is, since more would be false at any threshold.
    pub threshold: Option<f64>,
    /// How they went.
    #[serde(flatten)]
    pub alarms: AlarmSummary,
}

/// NAB's score in one profile: 100 of a perfect detector, 0 of one without alarms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NabReport {
    /// Its name in the benchmark: standard, reward_low_FP_rate, reward_low_FN_rate.
    pub profile: &'static str,
    /// Of the detector's own alarms, of which each silences those that follow within [`DetectionReport::event_s`].
    pub own_alarms: f64,
    /// With the threshold of p-values that makes it highest, as the benchmark takes it: it knows the labels.
    pub best: f64,
    /// That threshold; `None`: without an alarm it is highest.
    pub best_p_value: Option<f64>,
}

/// Judges what was said of labelled series. So many false alarms of a series are wanted in so many microseconds.
///
/// # Errors
/// A series without a label for each row.
pub fn report(
    series: &[(SeriesFile, Scored)],
    model: String,
    (false_alarms, per_us): (f64, i64),
    counting: Counting,
    advance: &dyn Fn(u64),
) -> Result<DetectionReport, EvaluateError> {
    let scores = of_each(series, |scored, row| scored.scores[row]);
    let alarms = of_each(series, |scored, row| f64::from(u8::from(scored.alarms[row])));
    let rarities = of_each(series, |scored, row| rarity(scored.p_values[row]));
    let notices =
        series.iter().map(|(file, scored)| notices(&scored.alarms, counting.rule(file.interval_us())));
    let notices: Vec<Vec<f64>> = notices.collect();
    let (by_score, by_alarm) = (labelled(series, &scores)?, labelled(series, &alarms)?);
    let (by_rarity, by_notice) = (labelled(series, &rarities)?, labelled(series, &notices)?);

    let mut all_own = AlarmCount::default();
    let mut all_at_rate = AlarmCount::default();
    let mut reports = Vec::new();
    for (number, (file, scored)) in series.iter().enumerate() {
        let rule = counting.rule(file.interval_us());
        let own = counted(&alarms_at(&[by_alarm[number]], 1.0, rule), file);
        all_own.add(&own);
        let rate = false_alarms * file.interval_us() as f64 / per_us as f64;
        let found = alarms_at_rate(&[by_score[number]], rate, rule);
        let threshold = found.as_ref().map(|(threshold, _)| *threshold);
        // Where even the highest score is a false alarm too many, there are none at all.
        let none = || alarms_at(&[by_score[number]], f64::INFINITY, rule);
        let at_rate = counted(&found.map_or_else(none, |(_, report)| report), file);
        all_at_rate.add(&at_rate);
        let window_rows = measure::find_length_rank(&file.column(0));
        let labelled_rows = file.labels.iter().filter(|label| **label).count();
        reports.push(SeriesReport {
            name: file.name.clone(),
            file: file.path.display().to_string(),
            rows: file.rows(),
            columns: file.columns.len(),
            interval_s: file.interval_us() as f64 / SECOND_US,
            window_rows,
            vus_pr: measure::vus_pr(&scored.scores, &file.labels, window_rows),
            auc_pr: measure::average_precision(&scored.scores, &file.labels),
            labelled_share: labelled_rows as f64 / file.rows() as f64,
            own_alarms: own.summary(),
            at_rate: AtRate { threshold, alarms: at_rate.summary() },
        });
        advance(file.rows() as u64);
    }
    let with_incidents = || reports.iter().filter(|one| !one.vus_pr.is_nan());
    let mean = Means {
        series: with_incidents().count(),
        vus_pr: mean_known(with_incidents().map(|one| one.vus_pr)),
        auc_pr: mean_known(with_incidents().map(|one| one.auc_pr)),
        labelled_share: mean_known(with_incidents().map(|one| one.labelled_share)),
    };
    let nab = NabProfile::ALL.map(|profile| {
        let NabScore { threshold, normalised, .. } = nab(&by_rarity, profile);
        NabReport {
            profile: profile.name(),
            own_alarms: nab_at(&by_notice, profile, 1.0).normalised,
            best: normalised,
            best_p_value: threshold.map(rarity),
        }
    });
    Ok(DetectionReport {
        kind: "detection",
        model,
        false_alarms_per_day_wanted: false_alarms * DAY_US / per_us as f64,
        event_s: counting.event_us as f64 / SECOND_US,
        grace_s: counting.grace_us as f64 / SECOND_US,
        mean,
        own_alarms: all_own.summary(),
        at_rate: all_at_rate.summary(),
        nab: nab.to_vec(),
        series: reports,
    })
}

/// How rare a row is, for NAB's one threshold for all series: scores of different series are of different sizes, p-values mean the same in
/// all. The inverse, for the greatest to be the rarest; also the way back. NaN stays NaN.
fn rarity(p_value: f64) -> f64 {
    1.0 / p_value
}

/// Alarms as they reach somebody: 1 in a row with an alarm, unless one came shortly before. NAB's score counts every row of an alarm, as
/// if somebody were told anew each time.
fn notices(alarms: &[bool], rule: AlarmRule) -> Vec<f64> {
    let mut silent_until = 0;
    let notice = |(row, &alarm): (usize, &bool)| {
        let is_new = alarm && row >= silent_until;
        if is_new {
            silent_until = row + rule.event_rows.max(1);
        }
        f64::from(u8::from(is_new))
    };
    alarms.iter().enumerate().map(notice).collect()
}

fn of_each(series: &[(SeriesFile, Scored)], of: impl Fn(&Scored, usize) -> f64) -> Vec<Vec<f64>> {
    series.iter().map(|(file, scored)| (0..file.rows()).map(|row| of(scored, row)).collect()).collect()
}

fn labelled<'a>(
    series: &'a [(SeriesFile, Scored)],
    scores: &'a [Vec<f64>],
) -> Result<Vec<Labelled<'a>>, EvaluateError> {
    let one = |((file, _), scores): (&'a (SeriesFile, Scored), &'a Vec<f64>)| {
        Labelled::new(scores, &file.labels).map_err(|error| EvaluateError::File {
            path: file.path.clone(),
            line: None,
            message: error.to_string(),
            hint: "give it a column label".to_owned(),
        })
    };
    series.iter().zip(scores).map(one).collect()
}

/// Alarms of a series, counted in time.
fn counted(report: &AlarmReport, file: &SeriesFile) -> AlarmCount {
    let interval_us = file.interval_us() as f64;
    AlarmCount {
        incidents: report.delays_rows.len(),
        delays_s: report
            .delays_rows
            .iter()
            .flatten()
            .map(|rows| *rows as f64 * interval_us / SECOND_US)
            .collect(),
        false_alarms: report.false_alarms,
        normal_us: report.normal_rows as f64 * interval_us,
    }
}

/// The rows of a series with all that was said of them, as CSV: time, values, label, then the columns that a step `detect` adds
/// (what was expected of a column under the names `expected_<column>` and so on, where there are several).
///
/// # Errors
/// Where it can't be written.
pub fn write_rows(file: &SeriesFile, scored: &Scored, out: impl std::io::Write) -> std::io::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    let mut names = vec!["time".to_owned()];
    names.extend(file.columns.iter().cloned());
    names.extend(
        ["label", "score", "p_value", "is_anomaly", "class", "severity", "status"].map(str::to_owned),
    );
    for column in &file.columns {
        let suffix = if file.columns.len() == 1 { String::new() } else { format!("_{column}") };
        names.extend(["expected", "lower", "upper"].map(|name| format!("{name}{suffix}")));
    }
    out.write_record(&names)?;
    let number = |number: &f64| if number.is_nan() { String::new() } else { number.to_string() };
    let flag = |flag: bool| if flag { "1" } else { "0" }.to_owned();
    for row in 0..file.rows() {
        let (class, severity) = match scored.classes[row] {
            Some((class, severity)) => (class.name(), severity.name()),
            None => ("", ""),
        };
        let mut fields = vec![thalweg_schemas::time::format_rfc3339(file.times_us[row])];
        fields.extend(file.row(row).iter().map(number));
        fields.push(file.labels.get(row).map_or_else(String::new, |label| flag(*label)));
        fields.extend([&scored.scores[row], &scored.p_values[row]].map(number));
        fields.push(flag(scored.alarms[row]));
        fields.extend([class, severity, scored.statuses[row].name()].map(str::to_owned));
        let columns = file.columns.len();
        fields.extend(scored.expected[row * columns..][..columns].iter().flatten().map(number));
        out.write_record(&fields)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use thalweg_series::detect::Method;

    use super::*;
    use crate::evaluate::files;

    const CONFIG: DetectorConfig = DetectorConfig {
        method: Method::Mad,
        inputs: 1,
        interval_us: Some(60_000_000),
        season_us: None,
        false_alarms: 1.0,
        false_alarms_per_us: 86_400_000_000,
        settle_us: 3_600_000_000,
    };
    const COUNTING: Counting = Counting { event_us: 3_600_000_000, grace_us: 0 };

    fn series(rows: usize, incident: std::ops::Range<usize>) -> SeriesFile {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        let row = |row: usize| format!("{},{}\n", row % 7, u8::from(incident.contains(&row)));
        std::fs::write(&path, format!("value,label\n{}", (0..rows).map(row).collect::<String>()))
            .expect("a file");
        files::read("a", &path, 60_000_000, true).expect("a series")
    }

    /// What a detector would say that knows the labels.
    fn perfect(file: &SeriesFile) -> Scored {
        let by_label =
            |yes: f64, no: f64| file.labels.iter().map(|label| if *label { yes } else { no }).collect();
        let rows = file.rows();
        Scored {
            scores: by_label(5.0, 0.5),
            p_values: by_label(0.001, 0.5),
            alarms: file.labels.clone(),
            classes: vec![None; rows],
            statuses: vec![Status::Ok; rows],
            expected: vec![[1.0, 0.0, f64::NAN]; rows],
        }
    }

    fn judged(series: &[(SeriesFile, Scored)]) -> DetectionReport {
        report(series, "perfect/1".to_owned(), (1.0, 86_400_000_000), COUNTING, &|_| {}).expect("a report")
    }

    #[test]
    fn who_knows_the_labels_gets_all_there_is_to_get() {
        let (first, second) = (series(1000, 500..520), series(1000, 900..903));
        let scored = [&first, &second].map(perfect);
        let [one, two] = scored;
        let report = judged(&[(first, one), (second, two)]);
        assert_eq!((report.mean.vus_pr, report.mean.auc_pr, report.mean.series), (1.0, 1.0, 2));
        let own = &report.own_alarms;
        assert_eq!((own.incidents, own.recall, own.delay_s_median, own.false_alarms), (2, 1.0, 0.0, 0));
        assert_eq!((report.at_rate.recall, report.at_rate.false_alarms), (1.0, 0));
        assert_eq!(report.series[0].at_rate.threshold, Some(5.0));
        assert!(report.nab.iter().all(|nab| nab.best > 99.0 && nab.own_alarms == nab.best));
        assert_eq!(report.series[0].window_rows, 7);
        assert_eq!(report.series[1].labelled_share, 0.003);
    }

    #[test]
    fn alarms_in_the_wrong_place_are_late_or_false() {
        let file = series(1000, 500..520);
        let mut scored = perfect(&file);
        scored.alarms.fill(false);
        // Half an hour apart: one event; and one more, far away; and five rows late.
        for row in [100, 130, 300, 505] {
            scored.alarms[row] = true;
        }
        let report = judged(&[(file, scored)]);
        let own = &report.series[0].own_alarms;
        assert_eq!((own.found, own.delay_s_median, own.false_alarms), (1, 300.0, 2));
        let days = 980.0 / 1440.0;
        assert!((own.false_alarms_per_day - 2.0 / days).abs() < 1e-9);
    }

    #[test]
    fn an_alarm_silences_those_that_follow_at_once() {
        let rule = AlarmRule { event_rows: 3, grace_rows: 0 };
        let alarms = "..!!!!.!".chars().map(|mark| mark == '!').collect::<Vec<_>>();
        assert_eq!(notices(&alarms, rule), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_series_whose_highest_scores_are_false_has_no_alarm_at_the_rate() {
        let file = series(1000, 500..520);
        let mut scored = perfect(&file);
        scored.scores = scored.scores.iter().map(|score| -score).collect();
        let report = judged(&[(file, scored)]);
        assert_eq!((report.at_rate.recall, report.at_rate.false_alarms), (0.0, 0));
        assert_eq!(report.series[0].at_rate.threshold, None);
    }

    #[test]
    fn the_detector_is_run_row_by_row() {
        let file = series(300, 200..210);
        let (scored, version) = score(&file, &CONFIG, &|_| {}).expect("scores");
        assert_eq!((scored.scores.len(), scored.expected.len()), (300, 300));
        assert!(version.starts_with("mad/"), "{version}");
        let mut begun = file.clone();
        begun.times_us.truncate(150);
        let (early, _) = score(&begun, &CONFIG, &|_| {}).expect("scores");
        let bits = |scores: &[f64]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&early.scores), bits(&scored.scores[..150]));
    }

    #[test]
    fn rows_are_written_with_what_was_said_of_them() {
        let file = series(3, 1..2);
        let mut out = Vec::new();
        write_rows(&file, &perfect(&file), &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "time,value,label,score,p_value,is_anomaly,class,severity,status,expected,lower,upper"
        );
        assert_eq!(lines[2], "2024-01-01T00:01:00Z,1,1,5,0.001,1,,,ok,1,0,");
    }
}
