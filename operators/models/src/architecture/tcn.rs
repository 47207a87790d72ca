//! The newest row predicted from those before it by causal dilated convolutions (Bai, Kolter and Koltun, 2018).
//!
//! Block i has kernel 2 and dilation 2ⁱ, and adds its own input (a residual network). Only the last position is wanted, and of a block's
//! outputs that position needs every 2ⁱ⁺¹-th: where kernel and dilation fit like this, the columns of the convolution are the
//! block's input with neighbours side by side, and a block is one matrix product over half the positions of the block before.
//!
//! ```text
//!   rows of the context   x0  x1  x2  x3  x4  x5  x6  x7
//!   block 0, dilation 1    └─a0┘   └─a1┘   └─a2┘   └─a3┘
//!   block 1, dilation 2       └──b0──┘        └──b1──┘
//!   block 2, dilation 4           └──────c0──────┘ ─▶ x8
//! ```
//!
//! The score of a row is the root mean square over its channels of newest − predicted, in robust standard deviations of the context.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::{Units, check_size, check_window};
use crate::ModelError;
use crate::layers::{ParameterSpec, Parameters, last_specs, linear_specs};

/// Configuration of a temporal convolutional network. The default has 49,453 parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tcn {
    /// Rows of a window: the newest, and those it is predicted from.
    pub window: usize,
    /// Values of a row.
    pub channels: usize,
    /// Channels inside of the network.
    pub width: usize,
    /// In which units windows come.
    pub units: Units,
}

impl Default for Tcn {
    fn default() -> Tcn {
        Tcn { window: 65, channels: 1, width: 52, units: Units::Own }
    }
}

impl Tcn {
    pub(crate) const NAME: &'static str = "tcn";

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        check_window(Self::NAME, self.window, self.channels, 3)?;
        check_size(Self::NAME, "width", self.width, 1, "52 channels do for most series")
    }

    /// Blocks that see all of the context.
    fn blocks(&self) -> usize {
        (self.window - 1).next_power_of_two().trailing_zeros() as usize
    }

    pub(crate) fn parameters(&self) -> Vec<ParameterSpec> {
        let mut specs = linear_specs("embed", self.channels, self.width).to_vec();
        for block in 0..self.blocks() {
            specs.extend(linear_specs(&format!("block.{block}.conv"), 2 * self.width, self.width));
            specs.extend(linear_specs(&format!("block.{block}.mix"), self.width, self.width));
        }
        specs.extend(last_specs("head", self.width, self.channels));
        specs
    }

    /// The last row of `x` is not looked at.
    pub(crate) fn forward(&self, parameters: &Parameters, x: &Tensor) -> Result<Tensor, ModelError> {
        let rows = x.dim(0)?;
        let (context, width) = (self.window - 1, self.width);
        let mut positions = context.next_power_of_two();
        let mut x = x.narrow(1, 0, context * self.channels)?;
        if positions > context {
            // Before the context lies its median.
            let padding = (rows, (positions - context) * self.channels);
            x = Tensor::cat(&[&Tensor::zeros(padding, DType::F32, x.device())?, &x], 1)?;
        }
        let x = x.reshape((rows * positions, self.channels))?;
        let mut x = parameters.linear("embed", &x)?;
        for block in 0..self.blocks() {
            positions /= 2;
            let pairs = x.reshape((rows * positions, 2 * width))?;
            let hidden = parameters.linear(&format!("block.{block}.conv"), &pairs)?.relu()?;
            let mixed = parameters.linear(&format!("block.{block}.mix"), &hidden)?;
            x = (mixed + pairs.narrow(1, width, width)?)?;
        }
        parameters.linear("head", &x)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::Tcn;
    use crate::layers::{ParameterSpec, Parameters};

    /// Parameters of which the head's are not zero at first, as those of a trained one.
    fn with_a_head(tcn: &Tcn) -> Vec<ParameterSpec> {
        let of_head = |spec: ParameterSpec| match spec.name == "head.weight" {
            true => ParameterSpec { fan_in: tcn.width, ..spec },
            false => spec,
        };
        tcn.parameters().into_iter().map(of_head).collect()
    }

    /// Against dilated causal convolutions at every position, as they are written in the paper.
    #[test]
    fn pairs_of_neighbours_are_dilated_convolutions() {
        let tcn = Tcn { window: 9, channels: 1, width: 3, ..Tcn::default() };
        let specs = with_a_head(&tcn);
        let (parameters, _) = Parameters::initial(&specs, 5, &Device::Cpu).unwrap();
        let values: Vec<f32> = (0..9).map(|i| (i as f32 * 1.3).cos()).collect();
        let x = Tensor::from_slice(&values, (1, 9), &Device::Cpu).unwrap();
        let got = tcn.forward(&parameters, &x).unwrap().to_vec2::<f32>().unwrap()[0][0];

        let matrix =
            |name: &str| parameters.get(&format!("{name}.weight")).unwrap().to_vec2::<f32>().unwrap();
        let apply = |name: &str, inputs: &[f32]| -> Vec<f32> {
            let weight = matrix(name);
            let outputs = weight[0].len();
            (0..outputs).map(|o| inputs.iter().zip(&weight).map(|(v, row)| v * row[o]).sum()).collect()
        };
        let mut series: Vec<Vec<f32>> = values[..8].iter().map(|v| apply("embed", &[*v])).collect();
        for block in 0..3 {
            let dilation = 1 << block;
            series = (0..8)
                .map(|t: usize| {
                    let before = t.checked_sub(dilation).map_or(vec![0.0; 3], |at| series[at].clone());
                    let taps = [before, series[t].clone()].concat();
                    let hidden: Vec<f32> =
                        apply(&format!("block.{block}.conv"), &taps).iter().map(|v| v.max(0.0)).collect();
                    let mixed = apply(&format!("block.{block}.mix"), &hidden);
                    mixed.iter().zip(&series[t]).map(|(a, b)| a + b).collect()
                })
                .collect();
        }
        let wanted = apply("head", &series[7])[0];
        assert!((got - wanted).abs() < 1e-4, "{got} {wanted}");
    }

    #[test]
    fn the_newest_row_is_not_seen() {
        let tcn = Tcn { window: 7, channels: 2, width: 4, ..Tcn::default() };
        let (parameters, _) = Parameters::initial(&with_a_head(&tcn), 5, &Device::Cpu).unwrap();
        let predict = |newest: f32| {
            let mut values = vec![0.5_f32; 14];
            values[12..].fill(newest);
            let x = Tensor::from_slice(&values, (1, 14), &Device::Cpu).unwrap();
            tcn.forward(&parameters, &x).unwrap().to_vec2::<f32>().unwrap()
        };
        assert_eq!(predict(0.0), predict(100.0));
    }
}
