//! Trained networks: what scoring a row costs. An untrained network would do the same work, but the patch model has its memory from training.

use std::ops::ControlFlow;

use thalweg_models::architecture::{Architecture, Autoencoder, Patch, Tcn};
use thalweg_models::device::Device;
use thalweg_models::infer::Infer;
use thalweg_models::training::{TrainingConfig, TrainingData, train};

use super::{Part, mean_of_runs, nanoseconds_each};

/// A hundred thousand rows a second.
const AUTOENCODER_NS_MAX: f64 = 10_000.0;

/// Each shipped architecture, and how many rows it scores in a run.
pub(crate) fn networks() -> anyhow::Result<Vec<Part>> {
    let autoencoder = cost(Architecture::Autoencoder(Autoencoder::default()), 50_000)?;
    Ok(vec![
        autoencoder.held_to(AUTOENCODER_NS_MAX),
        cost(Architecture::Tcn(Tcn::default()), 10_000)?,
        cost(Architecture::Patch(Patch::default()), 2_000)?,
    ])
}

fn cost(architecture: Architecture, rows: usize) -> anyhow::Result<Part> {
    let series: Vec<f32> =
        (0..600).map(|row| (row as f32 * 0.37).sin() + (row as f32 * 0.11).cos()).collect();
    let config = TrainingConfig { epochs_max: 1, ..TrainingConfig::default() };
    let data = TrainingData::Series(&[&series]);
    let on_with_it = &mut |_: &_| ControlFlow::Continue(());
    let model = train(&architecture, "speed", data, &config, Device::Cpu, on_with_it)?.model;
    let window = architecture.window();
    let values: Vec<f32> = series.windows(window).cycle().take(rows).flatten().copied().collect();
    model.infer(rows, &[&values])?;
    let time = mean_of_runs(|| {
        std::hint::black_box(model.infer(rows, &[&values]).expect("invariant: it scored these before"));
    })?;
    Ok(Part::new(format!("network: {}", architecture.name()), nanoseconds_each(time, rows)))
}
