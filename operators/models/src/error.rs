//! What can go wrong with a model.

use thiserror::Error;

/// Why a model can't be configured, read, trained or run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A configuration that makes no model.
    #[error("`{field}` of the {architecture} can't be {value}: {hint}")]
    Config {
        /// The architecture's name.
        architecture: &'static str,
        /// The field.
        field: &'static str,
        /// What was written.
        value: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// A device that isn't there.
    #[error("there is no device `{device}`: {hint}")]
    Device {
        /// As written.
        device: String,
        /// Why, and what to write instead.
        hint: String,
    },
    /// Values that don't fill the rows they are said to be.
    #[error("input `{input}`: {rows} rows of {width} values are {wanted} values, not {got}")]
    Shape {
        /// The port's name.
        input: String,
        /// Rows of the batch.
        rows: usize,
        /// Values of a row.
        width: usize,
        /// Values there should be.
        wanted: usize,
        /// Values there are.
        got: usize,
    },
    /// Another number of inputs than the model has.
    #[error("the model has {wanted} inputs, not {got}: give one slice for each of them, in their order")]
    Inputs {
        /// Inputs of the model.
        wanted: usize,
        /// Inputs given.
        got: usize,
    },
    /// Bytes that are no model of ours.
    #[error(
        "not a model's file: {0}; give a .safetensors file that a training wrote, or export the model as ONNX"
    )]
    File(String),
    /// A model's file of a later format.
    #[error("the model's file has format {found}, and this binary reads up to {known}: use a newer one")]
    Format {
        /// Of the file.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Bytes that are no ONNX model that can be run.
    #[error("not an ONNX model: {0}")]
    OnnxFile(String),
    /// An operator that can't be run.
    #[error("the ONNX model uses {operators}, which can't be run here: export it with other operators")]
    OnnxOperator {
        /// Their names, with domains where they aren't ONNX's own.
        operators: String,
    },
    /// An input or output that rows can't be laid into.
    #[error("{port} of the ONNX model: {reason}")]
    OnnxPort {
        /// "input `x`" or "output `y`".
        port: String,
        /// Why, and what to export instead.
        reason: String,
    },
    /// An ONNX model that failed as it ran.
    #[error("the ONNX model failed: {0}")]
    OnnxRun(String),
    /// Data that no model can be trained on.
    #[error("can't train: {0}")]
    Training(String),
    /// The training was stopped from outside.
    #[error("the training was stopped in epoch {epoch}")]
    Stopped {
        /// The epoch, from 1.
        epoch: usize,
    },
    /// The system refuses a thread.
    #[error("no thread for a model: {0}; look at the limits of processes (`ulimit -u`)")]
    Thread(String),
    /// candle refused an operation, or a device failed.
    #[error("the model failed: {0}")]
    Tensor(String),
}

impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> ModelError {
        // The first line says what happened; the rest are frames of candle.
        let message = error.to_string();
        ModelError::Tensor(message.lines().next().unwrap_or_default().to_owned())
    }
}
