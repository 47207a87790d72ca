//! VUS-PR of the shipped models on labelled series: trained on each series' own training rows, one configuration for all of them.
//!
//! ```text
//!   RAYON_NUM_THREADS=1 cargo run --release -p thalweg-models --example tsad -- ../shared/data/tsad/dev [autoencoder] [tcn] [patch]
//! ```
//!
//! Without names all three run; the patch model takes most of the time. The folder holds files of `value,label`, and `index.json` with the rows of each that may be trained on. Scores are causal: a row's window
//! ends with it. Beside the raw score stands its exponential mean over the rows of a period, as the period is found for the measure.

#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use thalweg_models::architecture::{Architecture, Autoencoder, Patch, Tcn};
use thalweg_models::device::Device;
use thalweg_models::infer::Infer;
use thalweg_models::training::{TrainingConfig, TrainingData, train};
use thalweg_series::measure::{find_length_rank, vus_pr};

#[derive(Deserialize)]
struct Entry {
    file: String,
    train_rows: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("give the folder of the series")?;
    let index = fs::read_to_string(Path::new(&folder).join("index.json"))?;
    let entries: Vec<Entry> = serde_json::from_str(&index)?;
    let named: Vec<String> = std::env::args().skip(2).collect();
    let mut architectures = vec![
        Architecture::Autoencoder(Autoencoder::default()),
        Architecture::Tcn(Tcn::default()),
        Architecture::Patch(Patch::default()),
    ];
    architectures
        .retain(|architecture| named.is_empty() || named.iter().any(|name| name == architecture.name()));
    let mut sums = vec![[0.0; 2]; architectures.len()];
    let started = Instant::now();
    for entry in &entries {
        let (values, labels) = read(&Path::new(&folder).join(&entry.file))?;
        let period = find_length_rank(&values);
        print!("{:<48} {period:>4}", entry.file);
        for (architecture, sum) in architectures.iter().zip(&mut sums) {
            let raw = scores(architecture, &values, entry.train_rows)?;
            let smooth = exponential_mean(&raw, period);
            let measured = [vus_pr(&raw, &labels, period), vus_pr(&smooth, &labels, period)];
            sum.iter_mut().zip(measured).for_each(|(sum, value)| *sum += value);
            print!("   {} {:.3} {:.3}", architecture.name(), measured[0], measured[1]);
        }
        println!();
    }
    println!(
        "means of {} series, raw and smoothed ({:.0} s):",
        entries.len(),
        started.elapsed().as_secs_f64()
    );
    for (architecture, sum) in architectures.iter().zip(sums) {
        let count = entries.len() as f64;
        println!("{:<12} {:.3} {:.3}", architecture.name(), sum[0] / count, sum[1] / count);
    }
    Ok(())
}

/// A score for each row; 0 where there is none.
fn scores(
    architecture: &Architecture,
    values: &[f64],
    train_rows: usize,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let series: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let data = TrainingData::Series(&[&series[..train_rows]]);
    let config = TrainingConfig { epochs_max: 30, batch_rows: 64, ..TrainingConfig::default() };
    let model =
        train(architecture, "tsad", data, &config, Device::Cpu, &mut |_| ControlFlow::Continue(()))?.model;
    let window = architecture.window();
    let padded = [vec![f32::NAN; window - 1], series].concat();
    let windows: Vec<f32> = padded.windows(window).flatten().copied().collect();
    let scores = model.infer(values.len(), &[&windows])?.columns.swap_remove(0);
    Ok(scores.into_iter().map(|score| if score.is_nan() { 0.0 } else { f64::from(score) }).collect())
}

fn exponential_mean(scores: &[f64], rows: usize) -> Vec<f64> {
    let weight = 2.0 / (rows as f64 + 1.0);
    let mut mean = 0.0;
    scores
        .iter()
        .map(|score| {
            mean += weight * (score - mean);
            mean
        })
        .collect()
}

fn read(path: &Path) -> Result<(Vec<f64>, Vec<bool>), Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let mut rows = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let (value, label) = line.split_once(',').ok_or("a line without two columns")?;
        rows.0.push(value.trim().parse()?);
        rows.1.push(label.trim().parse::<f64>()? > 0.0);
    }
    Ok(rows)
}
