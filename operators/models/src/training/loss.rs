//! Losses: what a batch of rows has to get better at.

use candle_core::{D, Device, Tensor};
use candle_nn::ops::log_softmax;

use super::TrainingConfig;
use super::data::{Place, Rows};
use crate::ModelError;
use crate::architecture::{Architecture, Head, Mlp, Patch};
use crate::layers::Parameters;
use crate::seed::Random;

/// A training's model and data.
pub(super) struct Task<'a> {
    pub(super) architecture: &'a Architecture,
    pub(super) rows: &'a Rows<'a>,
    pub(super) device: &'a Device,
    pub(super) trimmed_share: f64,
}

/// By how much a window must be nearer to one shortly after it than to one from elsewhere, in 1 − cosine.
const MARGIN: f64 = 0.5;

impl Task<'_> {
    /// The mean loss of the rows that count.
    pub(super) fn loss(
        &self,
        parameters: &Parameters,
        places: &[Place],
        random: &mut Random,
    ) -> Result<Tensor, ModelError> {
        let of_rows = match self.architecture {
            Architecture::Autoencoder(_) | Architecture::Tcn(_) => self.residuals(parameters, places)?,
            Architecture::Patch(config) => self.triplets(config, parameters, places, random)?,
            Architecture::Mlp(config) => self.targets(config, parameters, places)?,
        };
        let all_count =
            matches!(self.architecture, Architecture::Mlp(mlp) if mlp.head == Head::Classification);
        let left_out = if all_count { 0 } else { (places.len() as f64 * self.trimmed_share) as usize };
        if left_out == 0 {
            return Ok(of_rows.mean_all()?);
        }
        let sizes = of_rows.detach().to_vec1::<f32>()?;
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        // The sort is stable: among equals the first count.
        order.sort_by(|a, b| sizes[*a].total_cmp(&sizes[*b]));
        let mut counts = vec![0.0_f32; sizes.len()];
        let kept = sizes.len() - left_out;
        order[..kept].iter().for_each(|at| counts[*at] = 1.0 / kept as f32);
        let counts = Tensor::from_vec(counts, sizes.len(), self.device)?;
        Ok((of_rows * counts)?.sum_all()?)
    }

    /// The mean loss of the held-out rows.
    pub(super) fn validation_loss(
        &self,
        parameters: &Parameters,
        config: &TrainingConfig,
    ) -> Result<f64, ModelError> {
        let parameters = parameters.frozen()?;
        let mut random = Random::new(config.seed, "validation");
        let (mut sum, mut rows) = (0.0, 0);
        for batch in self.rows.validation().chunks(config.batch_rows) {
            let loss = self.loss(&parameters, batch, &mut random)?.to_scalar::<f32>()?;
            sum += f64::from(loss) * batch.len() as f64;
            rows += batch.len();
        }
        Ok(sum / rows as f64)
    }

    /// Reconstruction or prediction: pseudo-Huber, √(1 + r²) − 1 (Charbonnier et al., 1997), over the values that are there.
    fn residuals(&self, parameters: &Parameters, places: &[Place]) -> Result<Tensor, ModelError> {
        let (window, channels) = (self.architecture.window(), self.architecture.channels());
        let (rows, width) = (places.len(), window * channels);
        let normalised = self.rows.windows(places);
        let x = Tensor::from_vec(normalised.values, (rows, width), self.device)?;
        let present = Tensor::from_vec(normalised.present, (rows, width), self.device)?;
        let said = self.architecture.forward(parameters, &x)?;
        let wanted = said.dim(1)?;
        let (x, present) = (x.narrow(1, width - wanted, wanted)?, present.narrow(1, width - wanted, wanted)?);
        let losses = (pseudo_huber(&(said - x)?)? * &present)?.sum(1)?;
        let counts = present.sum(1)?.clamp(1.0, f64::from(f32::MAX))?;
        Ok((losses / counts)?)
    }

    /// Triplets (Schroff et al., 2015): the window, one up to an eighth of a window later, and one from elsewhere in the batch.
    fn triplets(
        &self,
        config: &Patch,
        parameters: &Parameters,
        places: &[Place],
        random: &mut Random,
    ) -> Result<Tensor, ModelError> {
        let later_max = (config.window / 8).max(1);
        let later: Vec<Place> =
            places.iter().map(|place| self.rows.later(*place, 1 + random.below(later_max))).collect();
        let shape = (places.len(), config.window * config.channels);
        let embed = |places: &[Place]| {
            let x = Tensor::from_vec(self.rows.windows(places).values, shape, self.device)?;
            self.architecture.forward(parameters, &x)
        };
        let (anchor, later) = (embed(places)?, embed(&later)?);
        let half = places.len() / 2;
        let elsewhere =
            Tensor::cat(&[&anchor.narrow(0, half, places.len() - half)?, &anchor.narrow(0, 0, half)?], 0)?;
        let near = (&anchor * later)?.sum(D::Minus1)?;
        let far = (&anchor * elsewhere)?.sum(D::Minus1)?;
        Ok(((far - near)? + MARGIN)?.relu()?)
    }

    /// Targets of a table: pseudo-Huber, or cross-entropy.
    fn targets(&self, config: &Mlp, parameters: &Parameters, places: &[Place]) -> Result<Tensor, ModelError> {
        let (features, targets) = self.rows.table(places);
        let rows = places.len();
        let x = Tensor::from_vec(features, (rows, config.features), self.device)?;
        let said = self.architecture.forward(parameters, &x)?;
        match config.head {
            Head::Regression => {
                let wanted = Tensor::from_vec(targets, (rows, config.outputs), self.device)?;
                Ok(pseudo_huber(&(said - wanted)?)?.mean(1)?)
            }
            Head::Classification if config.outputs == 1 => {
                // −ln p of the logistic function, in a form that doesn't overflow: max(z, 0) − z·y + ln(1 + e^−|z|).
                let wanted = Tensor::from_vec(targets, (rows, 1), self.device)?;
                let rest = ((said.abs()?.neg()?.exp()? + 1.0)?).log()?;
                Ok(((said.relu()? - (&said * wanted)?)? + rest)?.sum(1)?)
            }
            Head::Classification => {
                let mut wanted = vec![0.0_f32; rows * config.outputs];
                for (row, class) in targets.iter().enumerate() {
                    wanted[row * config.outputs + *class as usize] = 1.0;
                }
                let wanted = Tensor::from_vec(wanted, (rows, config.outputs), self.device)?;
                Ok((log_softmax(&said, D::Minus1)? * wanted)?.sum(1)?.neg()?)
            }
        }
    }
}

fn pseudo_huber(residual: &Tensor) -> Result<Tensor, ModelError> {
    Ok(((residual.sqr()? + 1.0)?.sqrt()? - 1.0)?)
}
