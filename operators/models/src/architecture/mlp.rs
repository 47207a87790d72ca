//! Features of a row to what a user wants to know of it: a risk, a class, a quantity.
//!
//! Dense layers with `max(x, 0)` between them. Features are centred by their median in training and divided by their robust standard
//! deviation there; a missing feature is its median. Regression gives numbers in the units of its targets, classification
//! probabilities: the logistic function for one output, softmax for several.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::check_size;
use crate::ModelError;
use crate::layers::{ParameterSpec, Parameters, linear_specs};

/// What an MLP's outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Numbers.
    Regression,
    /// The probability of yes (one output), or of each class.
    Classification,
}

/// Configuration of a multilayer perceptron.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mlp {
    /// Features of a row.
    pub features: usize,
    /// Units of the hidden layers, from the input on.
    pub hidden: Vec<usize>,
    /// Numbers or classes that come out.
    pub outputs: usize,
    /// What they are.
    pub head: Head,
}

impl Default for Mlp {
    fn default() -> Mlp {
        Mlp { features: 1, hidden: vec![64, 32], outputs: 1, head: Head::Regression }
    }
}

/// Hidden layers at most.
const LAYERS_MAX: usize = 16;

impl Mlp {
    pub(crate) const NAME: &'static str = "mlp";

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        check_size(Self::NAME, "features", self.features, 1, "it is the number of input columns: 1 to 4096")?;
        check_size(
            Self::NAME,
            "outputs",
            self.outputs,
            1,
            "1 for a number or a yes, else the number of classes",
        )?;
        if self.hidden.len() > LAYERS_MAX {
            let value = format!("{} layers", self.hidden.len());
            return Err(ModelError::Config {
                architecture: Self::NAME,
                field: "hidden",
                value,
                hint: "one or two are usual",
            });
        }
        self.hidden.iter().try_for_each(|units| {
            check_size(Self::NAME, "hidden", *units, 1, "layers of 8 to 256 units are usual")
        })
    }

    /// Inputs and outputs of its layers.
    fn layers(&self) -> Vec<(usize, usize)> {
        let inputs = [&[self.features], self.hidden.as_slice()].concat();
        let outputs = [self.hidden.as_slice(), &[self.outputs]].concat();
        inputs.into_iter().zip(outputs).collect()
    }

    pub(crate) fn parameters(&self) -> Vec<ParameterSpec> {
        let layers = self.layers().into_iter().enumerate();
        layers
            .flat_map(|(layer, (inputs, outputs))| linear_specs(&format!("layer.{layer}"), inputs, outputs))
            .collect()
    }

    pub(crate) fn forward(&self, parameters: &Parameters, x: &Tensor) -> Result<Tensor, ModelError> {
        let last = self.hidden.len();
        let mut x = parameters.linear("layer.0", x)?;
        for layer in 1..=last {
            x = parameters.linear(&format!("layer.{layer}"), &x.relu()?)?;
        }
        Ok(x)
    }
}
