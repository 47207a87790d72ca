//! Networks that models of series ask: which one it is, and whether it fits the step.

use std::sync::Arc;

use thalweg_series::stream::WindowerConfig;

use super::check::Checker;
use super::model::{ModelFile, PlannedNetwork, Retrain};
use crate::spec::{DetectSpec, RetrainSpec, Span, Spanned, StepSpec};

/// When the values of a row were, beside the rows that a network is trained on.
pub(crate) const AT: &str = "__at";

/// Rows of a window that a model yet to be trained is planned with; whoever trains it says how many it has.
pub(super) const ROWS: usize = 2;

/// What should have been there is not, which has been said.
pub(super) struct Missing;

/// A model of windows that was found.
struct Found {
    file: ModelFile,
    /// The method that it is of.
    method: &'static str,
    /// Rows of a window.
    rows: usize,
    /// Values of a row.
    inputs: usize,
    /// Whether windows come in units of the stream.
    in_stream_units: bool,
}

impl Checker<'_> {
    /// The network of a step that looks for anomalies, where its method has one.
    pub(super) fn network(
        &mut self,
        spec: &DetectSpec,
        every_us: Option<i64>,
        at: Span,
        step: &StepSpec,
    ) -> Result<Option<Arc<PlannedNetwork>>, Missing> {
        let path = format!("steps.{}.detect", step.name.value);
        let Some(method) = spec.method.as_ref().filter(|method| method.value.is_network()) else {
            return self.none_is_asked(spec, &path);
        };
        let method = method.value.name();
        let time_limit_us = spec.time_limit.as_ref().map(|limit| limit.us);
        let interval_us = spec.series.every.as_ref().map(|every| every.us).or(every_us);
        let train = format!("thalweg train {} --step {}", self.spec.source.file.display(), step.name.value);
        let untrained = self.untrained == Some(step.name.value.as_str());
        let Some(model) = &spec.model else {
            if !step.incomplete {
                let hint = format!(
                    "say which: model: models/{}; {train} makes one, once it has its name",
                    step.name.value
                );
                self.problem(at, &path, format!("the method {method} asks a model"), Some(hint));
            }
            return Err(Missing);
        };
        let inputs = spec.on.len();
        if untrained {
            let file = ModelFile { version: model.value.clone(), is_onnx: false, bytes: Vec::new() };
            let windows = WindowerConfig { inputs, rows: ROWS, interval_us };
            return Ok(Some(Arc::new(PlannedNetwork {
                file,
                shadow: None,
                windows,
                time_limit_us,
                model: model.value.clone(),
                retrain: None,
            })));
        }
        let found = self.fitting(model, &format!("{path}.model"), spec, method, &train);
        let shadow = match &spec.shadow {
            Some(shadow) => {
                let path = format!("{path}.shadow");
                let beside = self.fitting(shadow, &path, spec, method, &train)?;
                if let Ok(found) = &found
                    && found.rows != beside.rows
                {
                    let message =
                        format!("it sees windows of {} rows, and the model of {}", beside.rows, found.rows);
                    let hint = format!("{train} --window {} makes one that fits", found.rows);
                    self.problem(shadow.at, &path, message, Some(hint));
                    return Err(Missing);
                }
                Some(beside.file)
            }
            None => None,
        };
        let Found { file, rows, .. } = found?;
        let windows = WindowerConfig { inputs, rows, interval_us };
        let retrain =
            spec.retrain.as_ref().map(|retrain| self.retrain(retrain, model, &format!("{path}.retrain")));
        let retrain = retrain.transpose()?;
        let model = model.value.clone();
        Ok(Some(Arc::new(PlannedNetwork { file, shadow, windows, time_limit_us, model, retrain })))
    }

    fn retrain(
        &mut self,
        spec: &Spanned<RetrainSpec>,
        model: &Spanned<String>,
        path: &str,
    ) -> Result<Retrain, Missing> {
        let is_file = [".safetensors", ".onnx"].iter().any(|end| model.value.ends_with(end));
        if is_file {
            let message = "new versions of a file have no place".to_owned();
            let hint = "name a model of a registry: model: models/watched".to_owned();
            self.problem(spec.at, path, message, Some(hint));
            return Err(Missing);
        }
        let every_us = spec.every.as_ref().ok_or(Missing)?.us;
        let over_us = spec.over.as_ref().map_or(every_us.saturating_mul(7), |over| over.us);
        Ok(Retrain { every_us, over_us })
    }

    /// A model that fits the step.
    fn fitting(
        &mut self,
        model: &Spanned<String>,
        path: &str,
        spec: &DetectSpec,
        method: &str,
        train: &str,
    ) -> Result<Found, Missing> {
        let inputs = spec.on.len();
        let found = match find(model) {
            Ok(found) => found,
            Err(message) => {
                self.problem(model.at, path, message, Some(format!("{train} makes one")));
                return Err(Missing);
            }
        };
        let wrong = if found.method != method {
            let is = format!("it is of the kind {}, and the method is {method}", found.method);
            let hint = match path.ends_with(".shadow") {
                true => format!("name a version of the kind {method}"),
                false => format!("write method: {}, or name another model", found.method),
            };
            Some((is, hint))
        } else if !found.in_stream_units {
            let is = "it sees windows in units of their own, and was not trained for a step".to_owned();
            Some((is, format!("{train} makes one for this step")))
        } else if found.inputs != inputs && !spec.on.is_empty() {
            let is = format!("it sees {} columns, and the step watches {inputs}", found.inputs);
            Some((is, format!("{train} makes one for these columns")))
        } else {
            None
        };
        match wrong {
            Some((message, hint)) => {
                self.problem(model.at, path, message, Some(hint));
                Err(Missing)
            }
            None => Ok(found),
        }
    }

    fn none_is_asked(
        &mut self,
        spec: &DetectSpec,
        path: &str,
    ) -> Result<Option<Arc<PlannedNetwork>>, Missing> {
        let method = spec.method.as_ref().map_or("auto", |method| method.value.name());
        let asked = [
            ("model", spec.model.as_ref().map(|model| model.at)),
            ("shadow", spec.shadow.as_ref().map(|shadow| shadow.at)),
            ("retrain", spec.retrain.as_ref().map(|retrain| retrain.at)),
            ("time_limit", spec.time_limit.as_ref().map(|limit| limit.at)),
        ];
        let mut result = Ok(None);
        for (field, at) in asked {
            let Some(at) = at else { continue };
            let hint = "leave it out, or say method: autoencoder, tcn or patch".to_owned();
            let message = format!("the method {method} asks no trained model, so it has no {field}");
            self.problem(at, &format!("{path}.{field}"), message, Some(hint));
            result = Err(Missing);
        }
        result
    }
}

/// The column of a key, where a network's rows are handed on.
pub(crate) fn key_column(at: usize) -> String {
    format!("__key_{at}")
}

#[cfg(not(feature = "models"))]
fn find(_model: &str) -> Result<Found, String> {
    Err(super::score::ABSENT.to_owned())
}

#[cfg(feature = "models")]
fn find(model: &str) -> Result<Found, String> {
    use thalweg_models::architecture::Units;
    use thalweg_models::device::Device;
    use thalweg_models::model::Model;
    use thalweg_models::registry::FileKind;

    let (version, kind, bytes) = super::score::read(model)?;
    if kind == FileKind::Onnx {
        return Err(format!(
            "{model} is an ONNX model; score asks such, with windows that a step before makes"
        ));
    }
    let opened = Model::from_bytes(&bytes, Device::Cpu).map_err(|error| format!("{model}: {error}"))?;
    let architecture = &opened.manifest().architecture;
    Ok(Found {
        method: architecture.name(),
        rows: architecture.window(),
        inputs: architecture.channels(),
        in_stream_units: architecture.units() == Units::Stream,
        file: ModelFile { version, is_onnx: false, bytes },
    })
}
