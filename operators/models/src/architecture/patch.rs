//! Windows as points: a small convolutional network lays windows that are alike side by side, and a memory keeps those of normal times.
//!
//! After PaAno (Park et al., 2026): strided convolutions, a mean over positions and a projection to the unit sphere, trained with
//! triplets (a window, one a few rows later, one from elsewhere); the memory is a few hundred windows that stand for all of training.
//!
//! ```text
//!   window ─▶ convolution (kernel 4, stride 2) × 3 ─▶ mean over positions ─▶ projection ─▶ unit length ─▶ cosine to each in memory
//! ```
//!
//! The score of a row is the sum of two parts, each in units of its own 95 % quantile in the validation rows: the mean cosine distance from
//! the nearest [`Patch::neighbours`] in memory (shape), and the size of the newest row in robust standard deviations of its window
//! (amplitude), which the shape of a window says little about.

use candle_core::{D, DType, Tensor};
use serde::{Deserialize, Serialize};

use super::{Units, check_size, check_window};
use crate::ModelError;
use crate::layers::{ParameterSpec, Parameters, im2col_4_2, linear_specs};

/// Configuration of a patch model. The default has 312,256 parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patch {
    /// Rows of a window.
    pub window: usize,
    /// Values of a row.
    pub channels: usize,
    /// Channels after each of the three convolutions.
    pub widths: [usize; 3],
    /// Coordinates of an embedded window.
    pub embedding: usize,
    /// Windows in memory at most.
    pub memory: usize,
    /// Nearest windows in memory whose distances are averaged.
    pub neighbours: usize,
    /// In which units windows come.
    pub units: Units,
}

impl Default for Patch {
    fn default() -> Patch {
        Patch {
            window: 64,
            channels: 1,
            widths: [64, 160, 352],
            embedding: 128,
            memory: 512,
            neighbours: 3,
            units: Units::Own,
        }
    }
}

/// Convolutions of a patch model; each halves the positions.
const CONVOLUTIONS: usize = 3;

impl Patch {
    pub(crate) const NAME: &'static str = "patch";

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        check_window(Self::NAME, self.window, self.channels, 8)?;
        for width in self.widths {
            check_size(Self::NAME, "widths", width, 1, "64, 160, 352 do for most series")?;
        }
        check_size(Self::NAME, "embedding", self.embedding, 2, "64 to 256 coordinates are usual")?;
        check_size(Self::NAME, "memory", self.memory, 1, "512 windows do for most series")?;
        check_size(Self::NAME, "neighbours", self.neighbours, 1, "3 are usual")
    }

    pub(crate) fn parameters(&self) -> Vec<ParameterSpec> {
        let mut specs = Vec::new();
        let mut inputs = self.channels;
        for (layer, width) in self.widths.into_iter().enumerate() {
            specs.extend(linear_specs(&format!("conv.{layer}"), 4 * inputs, width));
            inputs = width;
        }
        specs.extend(linear_specs("project", inputs, self.embedding));
        specs
    }

    pub(crate) fn forward(&self, parameters: &Parameters, x: &Tensor) -> Result<Tensor, ModelError> {
        let rows = x.dim(0)?;
        let mut length = self.window.next_multiple_of(1 << CONVOLUTIONS);
        let mut x = x.reshape((rows, self.window, self.channels))?;
        if length > self.window {
            let padding = (rows, length - self.window, self.channels);
            x = Tensor::cat(&[&Tensor::zeros(padding, DType::F32, x.device())?, &x], 1)?;
        }
        for (layer, width) in self.widths.into_iter().enumerate() {
            length /= 2;
            let columns = im2col_4_2(&x)?;
            x = parameters
                .linear(&format!("conv.{layer}"), &columns)?
                .relu()?
                .reshape((rows, length, width))?;
        }
        let embedded = parameters.linear("project", &x.mean(1)?)?;
        // The small term keeps a window of nothing but zeros from being divided by zero.
        let length = (embedded.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
        Ok(embedded.broadcast_div(&length)?)
    }
}
