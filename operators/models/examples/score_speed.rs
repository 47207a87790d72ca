//! How many rows a second the shipped models score on one CPU core.
//!
//! ```text
//!   RAYON_NUM_THREADS=1 cargo run --release -p thalweg-models --example score_speed
//! ```
//!
//! Counted is the time that the thread spends on a core, where the system tells it (Linux), so that other work on the machine doesn't matter.
//! Untrained models do the same work as trained ones; the patch model is trained for an epoch, as its memory comes from training.

#![allow(clippy::print_stdout, reason = "an example")]

use std::ops::ControlFlow;
use std::time::Instant;

use thalweg_models::ModelError;
use thalweg_models::architecture::{Architecture, Autoencoder, Patch, Tcn};
use thalweg_models::device::Device;
use thalweg_models::infer::Infer;
use thalweg_models::training::{TrainingConfig, TrainingData, train};

fn main() -> Result<(), ModelError> {
    println!(
        "{:<14} {:>10} {:>8} {:>6} {:>12} {:>9}",
        "model", "parameters", "window", "batch", "rows/s", "us/row"
    );
    for (architecture, rows) in [
        (Architecture::Autoencoder(Autoencoder::default()), 200_000),
        (Architecture::Tcn(Tcn::default()), 20_000),
        (Architecture::Patch(Patch::default()), 4_000),
    ] {
        let series: Vec<f32> =
            (0..600).map(|row| (row as f32 * 0.37).sin() + (row as f32 * 0.11).cos()).collect();
        let config = TrainingConfig { epochs_max: 1, ..TrainingConfig::default() };
        let data = TrainingData::Series(&[&series]);
        let model =
            train(&architecture, "speed", data, &config, Device::Cpu, &mut |_| ControlFlow::Continue(()))?
                .model;
        let window = architecture.window();
        let values: Vec<f32> = series.windows(window).cycle().take(rows).flatten().copied().collect();
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let (started, on_core) = (Instant::now(), seconds_on_core());
            model.infer(rows, &[&values])?;
            let seconds = match (on_core, seconds_on_core()) {
                (Some(before), Some(after)) => after - before,
                _ => started.elapsed().as_secs_f64(),
            };
            best = best.min(seconds);
        }
        let (name, parameters) = (architecture.name(), architecture.parameter_count());
        let (per_s, us) = (rows as f64 / best, best / rows as f64 * 1e6);
        println!("{name:<14} {parameters:>10} {window:>8} {:>6} {per_s:>12.0} {us:>9.2}", model.batch_rows());
    }
    Ok(())
}

/// What this thread has had of a core.
fn seconds_on_core() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|ns| ns * 1e-9)
}
