//! How much faster a GPU scores and trains the largest shipped model than the CPU of the same machine.
//!
//! `scripts/cuda.sh` has what a build for a GPU needs, and fetches it where it is not there:
//!
//! ```text
//!   scripts/cuda.sh cargo build --release -p thalweg-models --features cuda --example gpu_speed
//! ```
//!
//! The binary starts only where the driver and CUDA's libraries (cublas, curand, cudart) are, and runs from anywhere:
//!
//! ```text
//!   target/release/examples/gpu_speed            # a table; all cores of the CPU against cuda:0
//!   target/release/examples/gpu_speed cuda:1
//! ```
//!
//! Both columns include all that a row costs: normalisation on the host, the way to the device and back, and the search of the memory.

#![allow(clippy::print_stdout, reason = "an example")]

use std::ops::ControlFlow;
use std::time::Instant;

use thalweg_models::ModelError;
use thalweg_models::architecture::{Architecture, Patch};
use thalweg_models::device::Device;
use thalweg_models::infer::Infer;
use thalweg_models::model::Model;
use thalweg_models::training::{TrainingConfig, TrainingData, train};

/// Rows of the series that is trained on.
const SERIES_ROWS: usize = 60_000;
const EPOCHS: usize = 2;
const SCORED_ROWS: usize = 100_000;

fn main() -> Result<(), ModelError> {
    let gpu: Device = std::env::args().nth(1).as_deref().unwrap_or("cuda:0").parse()?;
    if !cfg!(feature = "cuda") {
        println!("built without the feature `cuda`: see the head of this file for how to build");
        return Ok(());
    }
    let architecture = Architecture::Patch(Patch::default());
    let parameters = architecture.parameter_count();
    println!("{} of {parameters} parameters, window {}", architecture.name(), architecture.window());
    println!("{:<8} {:>16} {:>16}", "device", "scored rows/s", "trained rows/s");
    let (cpu_scores, cpu_trains) = measure(&architecture, Device::Cpu)?;
    println!("{:<8} {cpu_scores:>16.0} {cpu_trains:>16.0}", "cpu");
    let (gpu_scores, gpu_trains) = measure(&architecture, gpu)?;
    println!("{gpu:<8} {gpu_scores:>16.0} {gpu_trains:>16.0}");
    println!("{:<8} {:>15.1}x {:>15.1}x", "ratio", gpu_scores / cpu_scores, gpu_trains / cpu_trains);
    Ok(())
}

/// Rows a second: scored, and trained on.
fn measure(architecture: &Architecture, device: Device) -> Result<(f64, f64), ModelError> {
    let wave = |row: usize| (row as f32 * 0.37).sin() + (row as f32 * 0.011).cos();
    let series: Vec<f32> = (0..SERIES_ROWS).map(wave).collect();
    let config = |epochs_max| TrainingConfig {
        epochs_max,
        patience: EPOCHS,
        batch_rows: 4096,
        ..TrainingConfig::default()
    };
    // What an epoch costs, without start-up and the search for a memory: the difference of two trainings.
    let mut trained = None;
    let mut seconds = Vec::new();
    for epochs in [1, 1 + EPOCHS] {
        let started = Instant::now();
        let data = TrainingData::Series(&[&series]);
        let step = &mut |_: &_| ControlFlow::Continue(());
        trained = Some(train(architecture, "speed", data, &config(epochs), device, step)?);
        seconds.push(started.elapsed().as_secs_f64());
    }
    let trained = trained.ok_or_else(|| ModelError::Training("nothing was trained".to_owned()))?;
    let trained_rows = (trained.metrics.training_rows * EPOCHS) as f64 / (seconds[1] - seconds[0]);
    Ok((scored(&trained.model, &series)?, trained_rows))
}

fn scored(model: &Model, series: &[f32]) -> Result<f64, ModelError> {
    let window = model.inputs()[0].width();
    let values: Vec<f32> = series.windows(window).cycle().take(SCORED_ROWS).flatten().copied().collect();
    let started = Instant::now();
    model.infer(SCORED_ROWS, &[&values])?;
    Ok(SCORED_ROWS as f64 / started.elapsed().as_secs_f64())
}
