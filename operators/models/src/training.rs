//! Training: mini-batches of windows (or rows of features), early stopping, and what the result is like.
//!
//! ```text
//!   series ─▶ windows: training ┬─▶ shuffled batches ─▶ trimmed loss ─▶ AdamW ─┐ per epoch, until the held-out tail
//!             │                 └────────────────────◀────────────────────────┘ gets no better
//!             └────── held-out tail ─▶ validation loss; quantiles of scores ─▶ Model
//! ```
//!
//! The newest part of each series is held out, so that validation asks what live scoring asks: how the model does on what comes later.
//! Training data has incidents in it that nobody labelled: the loss of a row grows linearly where its residual is large (pseudo-Huber), and in
//! each batch the worst rows don't count. On a CPU the same data and seed give the same model, to the bit.

use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::Var;
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::architecture::Architecture;
use crate::device::Device;
use crate::layers::Parameters;
use crate::model::{Manifest, Model};
use crate::seed::Random;

mod data;
mod loss;
mod memory;
mod quantiles;

use data::Rows;
use loss::Task;

/// What a model is trained on.
#[derive(Debug, Clone, Copy)]
pub enum TrainingData<'a> {
    /// For models of windows: a slice for each key, rows × channels in event-time order. NaN: there is no value.
    Series(&'a [&'a [f32]]),
    /// For an MLP: rows in event-time order.
    Table {
        /// Rows × features.
        features: &'a [f32],
        /// Rows × outputs of a regression; of a classification, one number a row: 0 or 1, or that of the class.
        targets: &'a [f32],
    },
}

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Of first weights, shuffles and samples.
    pub seed: u64,
    /// Epochs at most.
    pub epochs_max: usize,
    /// Epochs without a better validation loss before training ends.
    pub patience: usize,
    /// Rows of a mini-batch.
    pub batch_rows: usize,
    /// AdamW's step (Loshchilov and Hutter, 2019).
    pub learning_rate: f64,
    /// AdamW's decay of weights.
    pub weight_decay: f64,
    /// The newest share of each series that is held out: above 0, below 1.
    pub validation_share: f64,
    /// The share of the rows of a batch, those of the largest loss, that doesn't count. Classifications count all: the rare class is not an outlier.
    pub trimmed_share: f64,
    /// Rows at most; of more, every n-th is taken.
    pub rows_max: usize,
}

impl Default for TrainingConfig {
    fn default() -> TrainingConfig {
        TrainingConfig {
            seed: 1,
            epochs_max: 50,
            patience: 5,
            batch_rows: 128,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            validation_share: 0.2,
            trimmed_share: 0.02,
            rows_max: 500_000,
        }
    }
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch that has ended, from 1.
    pub epoch: usize,
    /// Epochs at most.
    pub epochs_max: usize,
    /// Mean loss of its batches.
    pub training_loss: f64,
    /// Loss of the held-out rows after it.
    pub validation_loss: f64,
    /// Whether it is the best so far.
    pub best: bool,
}

/// What a training gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss of the batches of the epoch that was kept.
    pub training_loss: f64,
    /// Loss of the held-out rows after it.
    pub validation_loss: f64,
    /// Loss of the held-out rows before training.
    pub untrained_loss: f64,
    /// Epochs that ran.
    pub epochs: usize,
    /// The epoch that was kept, from 1; 0: none was better than no training.
    pub best_epoch: usize,
    /// Rows trained on in each epoch.
    pub training_rows: usize,
    /// Rows held out.
    pub validation_rows: usize,
    /// Time it took, seconds. The one figure that differs from run to run.
    pub seconds: f64,
}

/// A model, and how well it learnt.
#[derive(Debug)]
pub struct Trained {
    /// The model, on the device it was trained on.
    pub model: Model,
    /// How well it learnt.
    pub metrics: Metrics,
}

/// Trains a model. `progress` is called after each epoch, and may stop the training.
///
/// # Errors
///
/// If the configuration or the data make no model, the device fails, or `progress` stops it.
pub fn train(
    architecture: &Architecture,
    version: &str,
    data: TrainingData<'_>,
    config: &TrainingConfig,
    device: Device,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Trained, ModelError> {
    let started = Instant::now();
    architecture.check()?;
    config.check()?;
    let rows = Rows::new(architecture, data, config)?;
    let opened = device.open()?;
    let (parameters, variables) = Parameters::initial(&architecture.parameters(), config.seed, &opened)?;
    let task = Task { architecture, rows: &rows, device: &opened, trimmed_share: config.trimmed_share };
    let (parameters, mut metrics) = descend(&task, config, parameters, variables, progress)?;
    let manifest = Manifest {
        architecture: architecture.clone(),
        version: version.to_owned(),
        seed: config.seed,
        quantiles: Vec::new(),
    };
    let mut model = rows.finish(manifest, parameters, config, device, opened)?;
    let quantiles = quantiles::of_scores(&model, &rows)?;
    model.set_quantiles(quantiles);
    metrics.seconds = started.elapsed().as_secs_f64();
    Ok(Trained { model, metrics })
}

/// Mini-batch descent; gives the parameters of the best epoch.
fn descend(
    task: &Task<'_>,
    config: &TrainingConfig,
    parameters: Parameters,
    variables: Vec<Var>,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<(Parameters, Metrics), ModelError> {
    let steps =
        ParamsAdamW { lr: config.learning_rate, weight_decay: config.weight_decay, ..ParamsAdamW::default() };
    let mut optimiser = AdamW::new(variables, steps)?;
    let training = task.rows.training();
    let untrained_loss = task.validation_loss(&parameters, config)?;
    let mut best = parameters.frozen()?;
    let mut metrics = Metrics {
        training_loss: f64::NAN,
        validation_loss: untrained_loss,
        untrained_loss,
        epochs: 0,
        best_epoch: 0,
        training_rows: training.len(),
        validation_rows: task.rows.validation().len(),
        seconds: 0.0,
    };
    for epoch in 1..=config.epochs_max {
        let mut random = Random::new(config.seed, &format!("epoch {epoch}"));
        let mut order = training.to_vec();
        random.shuffle(&mut order);
        // The rest that fills no batch has its turn in another epoch's order.
        let batch_rows = config.batch_rows.min(order.len());
        let (mut sum, mut batches) = (0.0, 0);
        for batch in order.chunks_exact(batch_rows) {
            let loss = task.loss(&parameters, batch, &mut random)?;
            optimiser.backward_step(&loss)?;
            sum += f64::from(loss.to_scalar::<f32>()?);
            batches += 1;
        }
        let validation_loss = task.validation_loss(&parameters, config)?;
        let training_loss = sum / f64::from(batches);
        if !training_loss.is_finite() || !validation_loss.is_finite() {
            return Err(ModelError::Training(format!(
                "the loss of epoch {epoch} is not finite; take a smaller `learning_rate` than {}",
                config.learning_rate
            )));
        }
        metrics.epochs = epoch;
        let is_best = validation_loss < metrics.validation_loss;
        if is_best {
            best = parameters.frozen()?;
            metrics = Metrics { training_loss, validation_loss, best_epoch: epoch, ..metrics };
        }
        let so_far =
            Progress { epoch, epochs_max: config.epochs_max, training_loss, validation_loss, best: is_best };
        tracing::debug!(epoch, training_loss, validation_loss, "trained an epoch");
        if progress(&so_far).is_break() {
            return Err(ModelError::Stopped { epoch });
        }
        if epoch - metrics.best_epoch >= config.patience {
            break;
        }
    }
    Ok((best, metrics))
}

impl TrainingConfig {
    fn check(&self) -> Result<(), ModelError> {
        let within = |name: &str, fits: bool, hint: &str| {
            if fits { Ok(()) } else { Err(ModelError::Training(format!("`{name}` must be {hint}"))) }
        };
        let share = |value: f64| value > 0.0 && value < 1.0;
        within("epochs_max", self.epochs_max >= 1, "1 or more")?;
        within("patience", self.patience >= 1, "1 or more")?;
        within("batch_rows", (2..=65_536).contains(&self.batch_rows), "from 2 to 65536")?;
        within("learning_rate", share(self.learning_rate), "above 0 and below 1; 0.001 is usual")?;
        within("weight_decay", (0.0..1.0).contains(&self.weight_decay), "from 0 to below 1; 0.01 is usual")?;
        within("validation_share", share(self.validation_share), "above 0 and below 1; 0.2 is usual")?;
        within(
            "trimmed_share",
            (0.0..0.5).contains(&self.trimmed_share),
            "from 0 to below 0.5; 0.02 is usual",
        )?;
        within("rows_max", self.rows_max >= 2, "2 or more")
    }
}

#[cfg(test)]
mod tests;
