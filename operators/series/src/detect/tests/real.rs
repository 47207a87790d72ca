//! Real, labelled series, which lie beside the repository, in `shared/data` (or where `THALWEG_DATA` says), and are no part of it. Where
//! they are not, this tests nothing.

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::*;
use crate::measure::{find_length_rank, vus_pr};

fn folder() -> Option<PathBuf> {
    let named = env::var_os("THALWEG_DATA").map(PathBuf::from);
    let beside = || {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        folders.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir())
    };
    named.or_else(beside).map(|folder| folder.join("tsad/dev")).filter(|folder| folder.is_dir())
}

#[test]
fn scores_rank_labelled_anomalies() {
    let Some(folder) = folder() else {
        eprintln!("skipped: tsad/dev is not here; set THALWEG_DATA to the folder of the data");
        return;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let mut sum = 0.0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let row = |line: &str| {
            let (value, label) = line.split_once(',').unwrap();
            (value.parse::<f64>().unwrap(), label.parse::<f64>().unwrap() > 0.5)
        };
        let (values, labels): (Vec<f64>, Vec<bool>) = text.lines().skip(1).map(row).unzip();
        let mut watch = Watch::new(DetectorConfig { interval_us: None, season_us: None, ..config(1) });
        let scores: Vec<f64> = values
            .iter()
            .enumerate()
            .map(|(row, value)| watch.row(row as i64, &[*value]).score)
            .map(|score| if score.is_nan() { 0.0 } else { score })
            .collect();
        sum += vus_pr(&scores, &labels, find_length_rank(&values));
    }
    let mean = sum / files.len() as f64;
    assert!(mean >= 0.5, "{mean}");
}
