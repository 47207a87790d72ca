//! Rows in, named columns out: what every model can do, wherever it comes from.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The type of a port's elements as the model has it. Rows are `f32` on this side; whole numbers above 2²⁴ lose their last bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// `0` or `1`.
    Bool,
}

/// An input or an output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub element: Element,
    /// The shape of one row's part: `[window, channels]` of a window, `[]` of a single value.
    pub shape: Vec<usize>,
}

impl Port {
    pub(crate) fn new(name: &str, shape: &[usize]) -> Port {
        Port { name: name.to_owned(), element: Element::F32, shape: shape.to_vec() }
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What a model says of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// How many rows.
    pub rows: usize,
    /// A column for each of the model's outputs, in their order: rows × [`Port::width`] values.
    pub columns: Vec<Vec<f32>>,
}

/// A model that can be run.
pub trait Infer: Send {
    /// Its inputs.
    fn inputs(&self) -> &[Port];

    /// Its outputs.
    fn outputs(&self) -> &[Port];

    /// Runs it on rows: `inputs` has a slice for each of [`Infer::inputs`], rows × [`Port::width`] values. A row's outputs depend on its
    /// own values alone.
    ///
    /// # Errors
    ///
    /// If the values don't fill the rows, or the model or its device fails.
    fn infer(&self, rows: usize, inputs: &[&[f32]]) -> Result<Outputs, ModelError>;
}

/// Whether values fill their rows.
pub(crate) fn check_inputs(ports: &[Port], rows: usize, inputs: &[&[f32]]) -> Result<(), ModelError> {
    if ports.len() != inputs.len() {
        return Err(ModelError::Inputs { wanted: ports.len(), got: inputs.len() });
    }
    for (port, values) in ports.iter().zip(inputs) {
        let (width, got) = (port.width(), values.len());
        let wanted = rows.saturating_mul(width);
        if wanted != got {
            return Err(ModelError::Shape { input: port.name.clone(), rows, width, wanted, got });
        }
    }
    Ok(())
}
