//! Real data, which lie beside the repository, in `shared/data` (or where `THALWEG_DATA` says), and are no part of it. Where they are not,
//! tests that need them say so and test nothing.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// A file of the data; `None` where it is not here.
fn path(file: &str) -> Option<PathBuf> {
    let named = env::var_os("THALWEG_DATA").map(PathBuf::from);
    let beside = || {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        folders.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir())
    };
    let path = named.or_else(beside).map(|folder| folder.join(file)).filter(|path| path.exists());
    if path.is_none() {
        eprintln!("skipped: {file} is not here; set THALWEG_DATA to the folder of the data");
    }
    path
}

/// Values and labels of a series for anomaly detection.
pub fn labelled_series(name: &str) -> Option<(Vec<f64>, Vec<bool>)> {
    let path = path(&format!("tsad/dev/{name}"))?;
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let row = |line: &str| -> Option<(f64, bool)> {
        let (value, label) = line.split_once(',')?;
        Some((value.trim().parse().ok()?, label.trim().parse::<f64>().ok()? > 0.5))
    };
    let rows = text.lines().skip(1).filter(|line| !line.is_empty());
    Some(rows.map(|line| row(line).unwrap_or_else(|| panic!("{}: {line}", path.display()))).unzip())
}
