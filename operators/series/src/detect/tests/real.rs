//! Real, labelled series, which lie beside the repository, in `shared/data` (or where `THALWEG_DATA` says), and are no part of it. Where
//! they are not, this tests nothing.

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::*;
use crate::measure::{AlarmRule, Labelled, alarms_at, find_length_rank, vus_pr};

fn folder() -> Option<PathBuf> {
    let named = env::var_os("THALWEG_DATA").map(PathBuf::from);
    let beside = || {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        folders.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir())
    };
    named.or_else(beside).map(|folder| folder.join("tsad/dev")).filter(|folder| folder.is_dir())
}

#[test]
fn scores_and_alarms_find_labelled_anomalies() {
    let Some(folder) = folder() else {
        eprintln!("skipped: tsad/dev is not here; set THALWEG_DATA to the folder of the data");
        return;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let rule = AlarmRule { event_rows: 60, grace_rows: 120 };
    let (mut sum, mut found, mut incidents, mut wrong, mut normal) = (0.0, 0, 0, 0, 0);
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let row = |line: &str| {
            let (value, label) = line.split_once(',').unwrap();
            (value.parse::<f64>().unwrap(), label.parse::<f64>().unwrap() > 0.5)
        };
        let (values, labels): (Vec<f64>, Vec<bool>) = text.lines().skip(1).map(row).unzip();
        let mut watch = Watch::new(DetectorConfig { interval_us: None, season_us: None, ..config(1) });
        let (mut scores, mut alarms) = (Vec::new(), Vec::new());
        for (row, value) in values.iter().enumerate() {
            let verdict = watch.row(row as i64, &[*value]);
            scores.push(if verdict.score.is_nan() { 0.0 } else { verdict.score });
            alarms.push(f64::from(u8::from(verdict.is_anomaly)));
        }
        let report = alarms_at(&[Labelled::new(&alarms, &labels).unwrap()], 1.0, rule);
        found += report.found();
        incidents += report.delays_rows.len();
        wrong += report.false_alarms;
        normal += report.normal_rows;
        sum += vus_pr(&scores, &labels, find_length_rank(&values));
    }
    let mean = sum / files.len() as f64;
    assert!(mean >= 0.55, "{mean}");
    let a_day = wrong as f64 * 1440.0 / normal as f64;
    assert!(found >= 20 && a_day <= 2.0, "{found} of {incidents} found, {a_day} false alarms a day");
}
