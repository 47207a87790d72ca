//! A window through a bottleneck and back: windows of a kind that training saw come out as they went in, others don't.
//!
//! ```text
//!   window · channels ─▶ hidden ─▶ code ─▶ hidden ─▶ window · channels
//! ```
//!
//! Four dense layers with `max(x, 0)` between them (Sakurada and Yairi, 2014). The score of a row is the root mean square of what the
//! reconstruction leaves over in the newest [`Autoencoder::scored`] rows of its window, in robust standard deviations of that window.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Units, check_size, check_window};
use crate::ModelError;
use crate::layers::{ParameterSpec, Parameters, last_specs, linear_specs};

/// Configuration of an autoencoder. The default has 16,704 parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autoencoder {
    /// Rows of a window.
    pub window: usize,
    /// Values of a row.
    pub channels: usize,
    /// Units of the layers beside the code.
    pub hidden: usize,
    /// Numbers that a window is told in.
    pub code: usize,
    /// Newest rows of a window that count in its score.
    pub scored: usize,
    /// In which units windows come.
    pub units: Units,
}

impl Default for Autoencoder {
    fn default() -> Autoencoder {
        Autoencoder { window: 32, channels: 1, hidden: 128, code: 32, scored: 8, units: Units::Own }
    }
}

impl Autoencoder {
    pub(crate) const NAME: &'static str = "autoencoder";

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        check_window(Self::NAME, self.window, self.channels, 4)?;
        check_size(Self::NAME, "hidden", self.hidden, 1, "128 units do for most series")?;
        check_size(Self::NAME, "code", self.code, 1, "a quarter to all of the window's rows are usual")?;
        if !(1..=self.window).contains(&self.scored) {
            return Err(ModelError::Config {
                architecture: Self::NAME,
                field: "scored",
                value: self.scored.to_string(),
                hint: "it counts rows of the window: from 1 to all of them",
            });
        }
        Ok(())
    }

    pub(crate) fn parameters(&self) -> Vec<ParameterSpec> {
        let width = self.window * self.channels;
        [
            linear_specs("encoder.0", width, self.hidden),
            linear_specs("encoder.1", self.hidden, self.code),
            linear_specs("decoder.0", self.code, self.hidden),
            last_specs("decoder.1", self.hidden, width),
        ]
        .concat()
    }

    pub(crate) fn forward(&self, parameters: &Parameters, x: &Tensor) -> Result<Tensor, ModelError> {
        let hidden = parameters.linear("encoder.0", x)?.relu()?;
        let code = parameters.linear("encoder.1", &hidden)?.relu()?;
        let hidden = parameters.linear("decoder.0", &code)?.relu()?;
        parameters.linear("decoder.1", &hidden)
    }
}
