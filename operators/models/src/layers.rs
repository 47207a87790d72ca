//! Parameters by name, and the layers that use them.
//!
//! Convolutions are an im2col and a matrix product: candle's own forks a thread pool for each tap of its kernel.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::ModelError;
use crate::seed::Random;

/// A parameter that an architecture has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParameterSpec {
    /// Its name in the file.
    pub(crate) name: String,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// Inputs that are added up for each output: sets the size of first weights. 0: starts as zeros (a bias, a last layer).
    pub(crate) fan_in: usize,
}

impl ParameterSpec {
    /// Values of it.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The weights and the bias of a linear layer.
pub(crate) fn linear_specs(name: &str, inputs: usize, outputs: usize) -> [ParameterSpec; 2] {
    [
        ParameterSpec { name: format!("{name}.weight"), shape: vec![inputs, outputs], fan_in: inputs },
        ParameterSpec { name: format!("{name}.bias"), shape: vec![1, outputs], fan_in: 0 },
    ]
}

/// Those of a last layer, which says nothing at first (as in Zhang, Dauphin and Ma, 2019): what is predicted is the centre then, and training
/// begins with an error of one unit and not with that of random weights.
pub(crate) fn last_specs(name: &str, inputs: usize, outputs: usize) -> [ParameterSpec; 2] {
    linear_specs(name, inputs, outputs).map(|spec| ParameterSpec { fan_in: 0, ..spec })
}

/// Tensors by name, in the order of their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(BTreeMap<String, Tensor>);

impl Parameters {
    /// First weights, uniform with He's variance 2 / fan-in (He et al., 2015), and biases of zero: as variables that can be trained.
    pub(crate) fn initial(
        specs: &[ParameterSpec],
        seed: u64,
        device: &Device,
    ) -> Result<(Parameters, Vec<Var>), ModelError> {
        let mut parameters = Parameters::default();
        let mut variables = Vec::with_capacity(specs.len());
        for spec in specs {
            let mut random = Random::new(seed, &spec.name);
            let limit = if spec.fan_in == 0 { 0.0 } else { (6.0 / spec.fan_in as f32).sqrt() };
            let values: Vec<f32> = (0..spec.count()).map(|_| (random.unit() * 2.0 - 1.0) * limit).collect();
            let variable = Var::from_tensor(&Tensor::from_vec(values, spec.shape.as_slice(), device)?)?;
            parameters.0.insert(spec.name.clone(), variable.as_tensor().clone());
            variables.push(variable);
        }
        Ok((parameters, variables))
    }

    /// A copy that stays as it is when the variables are trained on.
    pub(crate) fn frozen(&self) -> Result<Parameters, ModelError> {
        let copies = self.0.iter().map(|(name, tensor)| Ok((name.clone(), tensor.copy()?.detach())));
        Ok(Parameters(copies.collect::<Result<_, candle_core::Error>>()?))
    }

    pub(crate) fn insert(&mut self, name: String, tensor: Tensor) {
        self.0.insert(name, tensor);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor of that name. Files are checked for all of them as they are read.
    pub(crate) fn get(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.0.get(name).ok_or_else(|| ModelError::File(format!("it has no tensor `{name}`")))
    }

    /// x·W + b, for x of rows × inputs.
    pub(crate) fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor, ModelError> {
        let product = x.matmul(self.get(&format!("{name}.weight"))?)?;
        Ok(product.broadcast_add(self.get(&format!("{name}.bias"))?)?)
    }
}

/// The columns of a convolution with kernel 4, stride 2 and one zero of padding at each end: rows × length × channels become
/// rows · length/2 × 4 · channels. `length` is even.
pub(crate) fn im2col_4_2(x: &Tensor) -> Result<Tensor, ModelError> {
    let (rows, length, channels) = x.dims3()?;
    let edge = Tensor::zeros((rows, 1, channels), DType::F32, x.device())?;
    let padded = Tensor::cat(&[&edge, x, &edge], 1)?;
    // Pairs of neighbours; an output sees two pairs.
    let pairs = padded.reshape((rows, length / 2 + 1, 2 * channels))?;
    let left = pairs.narrow(1, 0, length / 2)?;
    let right = pairs.narrow(1, 1, length / 2)?;
    Ok(Tensor::cat(&[&left, &right], 2)?.reshape((rows * length / 2, 4 * channels))?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::{Parameters, im2col_4_2, linear_specs};

    /// Against the sum as it is written in textbooks.
    #[test]
    fn a_convolution_is_its_columns_times_weights() {
        let (rows, length, channels, outputs) = (2, 6, 3, 2);
        let values: Vec<f32> = (0..rows * length * channels).map(|i| (i as f32 * 0.37).sin()).collect();
        let (parameters, _) =
            Parameters::initial(&linear_specs("conv", 4 * channels, outputs), 3, &Device::Cpu).unwrap();
        let x = Tensor::from_slice(&values, (rows, length, channels), &Device::Cpu).unwrap();
        let columns = im2col_4_2(&x).unwrap();
        let got = parameters.linear("conv", &columns).unwrap().to_vec2::<f32>().unwrap();
        let weight = parameters.get("conv.weight").unwrap().to_vec2::<f32>().unwrap();
        for row in 0..rows {
            for position in 0..length / 2 {
                for output in 0..outputs {
                    let mut wanted = 0.0;
                    for tap in 0..4 {
                        let Some(at) = (2 * position + tap).checked_sub(1).filter(|at| *at < length) else {
                            continue;
                        };
                        for channel in 0..channels {
                            wanted += values[(row * length + at) * channels + channel]
                                * weight[tap * channels + channel][output];
                        }
                    }
                    let value = got[row * length / 2 + position][output];
                    assert!((value - wanted).abs() < 1e-5, "{value} {wanted}");
                }
            }
        }
    }

    #[test]
    fn first_weights_follow_the_seed() {
        let weights = |seed| {
            let (parameters, _) = Parameters::initial(&linear_specs("a", 8, 4), seed, &Device::Cpu).unwrap();
            parameters.get("a.weight").unwrap().to_vec2::<f32>().unwrap()
        };
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
        assert!(weights(1).iter().flatten().all(|w| w.abs() <= (6.0_f32 / 8.0).sqrt()));
    }
}
