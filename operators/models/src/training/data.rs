//! The rows of a training: which are learnt from, which are held out, and how they become numbers of a batch.

use super::{TrainingConfig, TrainingData};
use crate::ModelError;
use crate::architecture::{Architecture, Head, Mlp};
use crate::device::Device;
use crate::layers::Parameters;
use crate::model::{Extras, Manifest, Model, Standard};
use crate::normalise::{Normalised, centre_and_scale};

/// A row: of which series, and how many rows of it there are up to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) series: usize,
    pub(super) end: usize,
}

/// The rows of a training.
pub(super) struct Rows<'a> {
    data: TrainingData<'a>,
    window: usize,
    channels: usize,
    architecture: Architecture,
    /// Targets of a row in a table.
    targets: usize,
    extras: Extras,
    training: Vec<Place>,
    validation: Vec<Place>,
    /// Rows of each series that training may see.
    splits: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// # Errors
    ///
    /// If the data is of another kind than the architecture's, or too little.
    pub(super) fn new(
        architecture: &Architecture,
        data: TrainingData<'a>,
        config: &TrainingConfig,
    ) -> Result<Rows<'a>, ModelError> {
        let (window, channels) = (architecture.window(), architecture.channels());
        let mut rows = Rows {
            data,
            window,
            channels,
            architecture: architecture.clone(),
            targets: 0,
            extras: Extras::None,
            training: Vec::new(),
            validation: Vec::new(),
            splits: Vec::new(),
        };
        let lengths = match (data, architecture) {
            (TrainingData::Table { features, targets }, Architecture::Mlp(mlp)) => {
                rows.targets = if mlp.head == Head::Classification { 1 } else { mlp.outputs };
                vec![table_rows(mlp, features, targets, rows.targets)?]
            }
            (
                TrainingData::Series(series),
                Architecture::Autoencoder(_) | Architecture::Tcn(_) | Architecture::Patch(_),
            ) => {
                if let Some(odd) = series.iter().position(|values| values.len() % channels != 0) {
                    return Err(ModelError::Training(format!(
                        "series {odd} doesn't fill rows of {channels} channels"
                    )));
                }
                series.iter().map(|values| values.len() / channels).collect()
            }
            _ => {
                let wanted = if matches!(data, TrainingData::Table { .. }) { "series" } else { "a table" };
                return Err(ModelError::Training(format!(
                    "the {} learns from {wanted}",
                    architecture.name()
                )));
            }
        };
        rows.split(&lengths, config);
        if rows.training.len() < 2 || rows.validation.is_empty() {
            let longest = lengths.iter().max().copied().unwrap_or(0);
            return Err(ModelError::Training(format!(
                "{} rows to learn from and {} held out are too few; the longest series has {longest} rows and a window {window}: \
                 take a longer time, or a shorter window",
                rows.training.len(),
                rows.validation.len()
            )));
        }
        if let TrainingData::Table { features, targets } = data {
            rows.extras = Extras::Standard(rows.standard(architecture, features, targets));
        }
        Ok(rows)
    }

    /// Deals the windows: the newest of each series are held out, and share no row with those learnt from where the series is long enough.
    fn split(&mut self, lengths: &[usize], config: &TrainingConfig) {
        let stride = lengths.iter().sum::<usize>().div_ceil(config.rows_max).max(1);
        for (series, rows) in lengths.iter().copied().enumerate() {
            let held_out = ((rows as f64 * config.validation_share) as usize).max(usize::from(rows > 1));
            let split = rows - held_out;
            let gap = if held_out >= 2 * self.window { self.window - 1 } else { 0 };
            let usable = |ends: std::ops::RangeInclusive<usize>| -> Vec<Place> {
                let places = ends.step_by(stride).map(|end| Place { series, end });
                places.filter(|place| self.has_newest(*place)).collect()
            };
            let training = usable(self.window..=split);
            let validation = usable((split + gap + 1).max(self.window)..=rows);
            self.training.extend(training);
            self.validation.extend(validation);
            self.splits.push(split);
        }
    }

    /// Whether the newest row of a window has a value.
    fn has_newest(&self, place: Place) -> bool {
        let TrainingData::Series(series) = self.data else { return true };
        let newest = (place.end - 1) * self.channels..place.end * self.channels;
        series[place.series][newest].iter().any(|value| value.is_finite())
    }

    pub(super) fn training(&self) -> &[Place] {
        &self.training
    }

    pub(super) fn validation(&self) -> &[Place] {
        &self.validation
    }

    /// The place some rows later, if training may see it; else the same.
    pub(super) fn later(&self, place: Place, by: usize) -> Place {
        let end = place.end + by;
        if end <= self.splits[place.series].max(place.end) { Place { end, ..place } } else { place }
    }

    /// What the model is given of these rows, as it comes in.
    pub(super) fn inputs(&self, places: &[Place]) -> Vec<f32> {
        let mut values = Vec::with_capacity(places.len() * self.window * self.channels);
        for place in places {
            let from = (place.end - self.window) * self.channels..place.end * self.channels;
            values.extend_from_slice(match self.data {
                TrainingData::Series(series) => &series[place.series][from],
                TrainingData::Table { features, .. } => &features[from],
            });
        }
        values
    }

    /// Windows of these rows as the network sees them.
    pub(super) fn windows(&self, places: &[Place]) -> Normalised {
        self.architecture.normalised(&self.inputs(places))
    }

    /// Features of these rows in units of the training's, and targets likewise.
    pub(super) fn table(&self, places: &[Place]) -> (Vec<f32>, Vec<f32>) {
        let TrainingData::Table { targets, .. } = self.data else { return (Vec::new(), Vec::new()) };
        let features = self.extras.standardise(&self.inputs(places), self.channels);
        let mut values = Vec::with_capacity(places.len() * self.targets);
        for place in places {
            values.extend_from_slice(&targets[(place.end - 1) * self.targets..place.end * self.targets]);
        }
        if let Extras::Standard(standard) = &self.extras {
            for (at, value) in values.iter_mut().enumerate() {
                let at = at % self.targets;
                *value = (*value - standard.target_centres[at]) / standard.target_scales[at];
            }
        }
        (features, values)
    }

    /// Middles and sizes of features, and of the targets of a regression, over the rows learnt from.
    fn standard(&self, architecture: &Architecture, features: &[f32], targets: &[f32]) -> Standard {
        let last = self.splits[0];
        let (feature_centres, feature_scales) = units(&features[..last * self.channels], self.channels);
        let (target_centres, target_scales) = match architecture {
            Architecture::Mlp(mlp) if mlp.head == Head::Classification => {
                (vec![0.0; mlp.outputs], vec![1.0; mlp.outputs])
            }
            _ => units(&targets[..last * self.targets], self.targets),
        };
        Standard { feature_centres, feature_scales, target_centres, target_scales }
    }

    /// The model of these parameters.
    pub(super) fn finish(
        &self,
        manifest: Manifest,
        parameters: Parameters,
        config: &TrainingConfig,
        device: Device,
        opened: candle_core::Device,
    ) -> Result<Model, ModelError> {
        let patch = match &manifest.architecture {
            Architecture::Patch(patch) => Some(patch.clone()),
            _ => None,
        };
        let mut model = Model::new(manifest, parameters, self.extras.clone(), device, opened);
        if let Some(patch) = patch {
            let memory = super::memory::build(&model, self, &patch, config)?;
            model.set_extras(Extras::Memory(memory));
        }
        Ok(model)
    }
}

/// Rows of a table that fills them and has targets that can be learnt.
fn table_rows(mlp: &Mlp, features: &[f32], targets: &[f32], width: usize) -> Result<usize, ModelError> {
    let rows = targets.len() / width;
    if features.len() != rows * mlp.features || targets.len() != rows * width {
        return Err(ModelError::Training(format!(
            "{} features and {} targets don't make rows of {} and {width}",
            features.len(),
            targets.len(),
            mlp.features
        )));
    }
    let classes = mlp.outputs.max(2);
    let is_class = |target: f32| target.fract() == 0.0 && target >= 0.0 && target < classes as f32;
    let fits = |target: &f32| target.is_finite() && (mlp.head == Head::Regression || is_class(*target));
    match targets.iter().position(|target| !fits(target)) {
        None => Ok(rows),
        Some(at) => Err(ModelError::Training(format!(
            "the target of row {} is {}; it must be {}",
            at / width,
            targets[at],
            match mlp.head {
                Head::Regression => "a number: leave rows without one out".to_owned(),
                Head::Classification => format!("the number of a class, 0 to {}", classes - 1),
            }
        ))),
    }
}

/// Centre and scale of each column; 1 where all values are the same.
fn units(values: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let unit = |column: usize| {
        let finite = values.iter().skip(column).step_by(width).filter(|value| value.is_finite());
        let mut column: Vec<f64> = finite.map(|value| f64::from(*value)).collect();
        if column.is_empty() {
            return (0.0, 1.0);
        }
        let (centre, scale) = centre_and_scale(&mut column);
        let scale = scale as f32;
        (centre as f32, if scale.is_normal() { scale } else { 1.0 })
    };
    (0..width).map(unit).unzip()
}
