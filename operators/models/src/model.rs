//! A trained model of a shipped architecture: what it says of rows, and its file.
//!
//! ```text
//!   rows ─▶ batches of one shape, ─▶ normalise ─▶ forward pass on the device ─▶ score: residuals, ─▶ named columns
//!           padded with zeros                                                   distances, heads
//! ```
//!
//! What is done beside the forward pass is done row by row in one order, in `f64`.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::architecture::Architecture;
use crate::device::Device;
use crate::infer::{Infer, Outputs, Port, check_inputs};
use crate::layers::Parameters;

mod file;
mod score;

pub use file::FORMAT;
pub(crate) use score::{Extras, Memory, Standard, amplitude, mean_distance};

/// What is known of a model beside its numbers; part of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its architecture and configuration.
    pub architecture: Architecture,
    /// The name of this version, as in the column `model_version`.
    pub version: String,
    /// The seed of its first weights, shuffles and samples.
    pub seed: u64,
    /// Scores of validation rows at a few quantiles, rising; empty for an MLP. Thresholds to begin with, until a stream has a past of its own.
    pub quantiles: Vec<ScoreQuantile>,
}

/// A quantile of scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreQuantile {
    /// The share of rows at or below it.
    pub quantile: f64,
    /// The score.
    pub score: f32,
}

/// A trained model on a device.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    device: Device,
    opened: candle_core::Device,
    parameters: Parameters,
    extras: Extras,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    batch_rows: usize,
}

impl Model {
    pub(crate) fn new(
        manifest: Manifest,
        parameters: Parameters,
        extras: Extras,
        device: Device,
        opened: candle_core::Device,
    ) -> Model {
        let architecture = &manifest.architecture;
        // A GPU is as fast for thousands of rows as for one.
        let batch_rows = match device {
            Device::Cpu => architecture.batch_rows(),
            Device::Cuda(_) => 4096,
        };
        let (inputs, outputs) = (architecture.inputs(), architecture.outputs());
        Model { manifest, device, opened, parameters, extras, inputs, outputs, batch_rows }
    }

    /// What is known of it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Names it: it may be trained before it is known which version it will be.
    pub fn set_version(&mut self, version: &str) {
        version.clone_into(&mut self.manifest.version);
    }

    /// Rows of a batch: what comes as fewer is padded. Rows in multiples of it cost the least.
    pub fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    pub(crate) fn opened(&self) -> &candle_core::Device {
        &self.opened
    }

    pub(crate) fn set_extras(&mut self, extras: Extras) {
        self.extras = extras;
    }

    pub(crate) fn set_quantiles(&mut self, quantiles: Vec<ScoreQuantile>) {
        self.manifest.quantiles = quantiles;
    }

    /// The forward pass over rows of `width` values, batch by batch, each of the same shape.
    pub(crate) fn forward(&self, values: &[f32], width: usize) -> Result<Vec<f32>, ModelError> {
        let batch = self.batch_rows * width;
        let mut all = Vec::new();
        for chunk in values.chunks(batch) {
            let mut padded = chunk.to_vec();
            padded.resize(batch, 0.0);
            let x = Tensor::from_vec(padded, (self.batch_rows, width), &self.opened)?;
            let y = self.manifest.architecture.forward(&self.parameters, &x)?;
            let y = self.extras.on_device(&y)?.flatten_all()?.to_vec1::<f32>()?;
            let per_row = y.len() / self.batch_rows;
            all.extend_from_slice(&y[..chunk.len() / width * per_row]);
        }
        Ok(all)
    }
}

impl Infer for Model {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn infer(&self, rows: usize, inputs: &[&[f32]]) -> Result<Outputs, ModelError> {
        check_inputs(&self.inputs, rows, inputs)?;
        let width = self.inputs[0].width();
        let mut outputs = Outputs { rows, columns: vec![Vec::new(); self.outputs.len()] };
        let architecture = &self.manifest.architecture;
        for chunk in inputs[0].chunks(self.batch_rows * width) {
            if let Architecture::Mlp(config) = architecture {
                let values = self.extras.standardise(chunk, config.features);
                let logits = self.forward(&values, width)?;
                self.extras.head(config, &logits, &mut outputs.columns[0]);
                continue;
            }
            let normalised = architecture.normalised(chunk);
            let forward = self.forward(&normalised.values, width)?;
            self.extras.score(architecture, &normalised, &forward, &mut outputs.columns);
        }
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests;
