//! VUS-PR of the shipped models on labelled series: trained on each series' own training rows, one configuration for all of them.
//!
//! ```text
//!   RAYON_NUM_THREADS=1 cargo run --release -p thalweg-models --example tsad -- ../shared/data/tsad/dev [autoencoder] [tcn] [patch]
//! ```
//!
//! Without names all three run; the patch model takes most of the time. The folder holds files of `value,label`, and `index.json` with the rows of each that may be trained on. Scores are causal: a row's window
//! ends with it, in units of the rows before it. Beside the raw score stands its exponential mean over the rows of a period, as the period is found for the measure.

#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use thalweg_models::architecture::Architecture;
use thalweg_models::device::Device;
use thalweg_models::infer::Infer;
use thalweg_models::training::{TrainingConfig, TrainingData, train};
use thalweg_series::Observation;
use thalweg_series::measure::{find_length_rank, vus_pr};
use thalweg_series::stream::{Windowed, Windower, WindowerConfig};

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
    let mut architectures: Vec<Architecture> = ["autoencoder", "tcn", "patch"]
        .iter()
        .filter_map(|name| Architecture::of_stream(name, 1, None))
        .collect();
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

/// A score for each row, as `detect` asks for it; 0 where there is none.
fn scores(
    architecture: &Architecture,
    values: &[f64],
    train_rows: usize,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let rows = architecture.window();
    let windower = Windower::new(WindowerConfig { inputs: 1, rows, interval_us: Some(1) });
    let (mut state, mut windowed) = (windower.begin(), Windowed::default());
    let (mut series, mut windows, mut at) = (Vec::new(), Vec::new(), Vec::new());
    for (row, value) in values.iter().enumerate() {
        let observation = Observation { time_us: row as i64, local_us: row as i64, values: &[*value] };
        windower.observe(&mut state, observation, &mut windowed);
        series.extend(&windowed.row);
        if !windowed.window.is_empty() {
            windows.extend(&windowed.window);
            at.push(row);
        }
    }
    let data = TrainingData::Series(&[&series[..train_rows]]);
    let config = TrainingConfig { epochs_max: 30, batch_rows: 64, ..TrainingConfig::default() };
    let model =
        train(architecture, "tsad", data, &config, Device::Cpu, &mut |_| ControlFlow::Continue(()))?.model;
    let said = model.infer(at.len(), &[&windows])?.columns.swap_remove(0);
    let mut scores = vec![0.0; values.len()];
    for (row, score) in at.into_iter().zip(said) {
        scores[row] = if score.is_nan() { 0.0 } else { f64::from(score) };
    }
    Ok(scores)
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
