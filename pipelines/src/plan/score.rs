//! Steps that ask a trained model of each row: which model it is, and whether inputs and outputs fit it by name and shape.

use std::sync::Arc;

use arrow::datatypes::Field;

use super::check::{CheckedExpr, CheckedKind, CheckedScore, Checker, Columns, Scope};
use super::expression::Place;
use super::model::ModelFile;
use crate::spec::{PortSpec, ScoreSpec, Span, Spanned, StepSpec, suggest};

/// An input or output of a model: its name, and how many values of a row it has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    name: String,
    width: usize,
}

/// A model that was found.
struct Found {
    file: ModelFile,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Checker<'_> {
    /// Checks a step that asks a trained model; `None` where something is wrong with it. Its columns are known where they are named.
    pub(super) fn score(
        &mut self,
        step: &StepSpec,
        spec: Spanned<&ScoreSpec>,
        columns: Columns,
        path: &str,
    ) -> (Option<CheckedKind>, Columns) {
        let visible = columns.visible();
        let path = format!("{path}.score");
        let found = spec.model.as_ref().and_then(|model| match find(model) {
            Ok(found) => Some(found),
            Err(message) => {
                self.problem(model.at, &format!("{path}.model"), message, None);
                None
            }
        });
        let before = self.problems.len();
        let read: Vec<(&PortSpec<_>, Vec<Option<CheckedExpr>>)> = spec
            .inputs
            .iter()
            .map(|port| (port, port.columns.iter().map(|column| self.number(column, &visible)).collect()))
            .collect();
        if let Some(found) = &found {
            let inputs: Vec<_> =
                spec.inputs.iter().map(|port| (&port.name, &port.path, port.columns.len())).collect();
            let outputs: Vec<_> =
                spec.outputs.iter().map(|port| (&port.name, &port.path, port.columns.len())).collect();
            self.fits("input", &found.inputs, &inputs, Some((spec.at, &format!("{path}.inputs"))));
            self.fits("output", &found.outputs, &outputs, None);
        }
        let outputs: Vec<Vec<String>> = match &found {
            Some(found) => found
                .outputs
                .iter()
                .map(|port| {
                    let named = spec.outputs.iter().find(|named| named.name.value == port.name);
                    named.map_or_else(Vec::new, |named| {
                        named.columns.iter().map(|name| name.value.clone()).collect()
                    })
                })
                .collect(),
            None => vec![
                spec.outputs.iter().flat_map(|port| &port.columns).map(|name| name.value.clone()).collect(),
            ],
        };
        let added = added(&outputs);
        self.twice(spec.value);
        let clashes = self.clashes(&added, &columns.own, spec.at, &path);
        let own: Vec<Field> = columns.own.iter().chain(&added).cloned().collect();
        let is_open = columns.is_open || step.columns_unknown;
        let scope = Scope { columns: own.clone(), is_open };
        let having = step.having.as_ref().map(|sql| {
            self.condition(sql, &scope, Place::Having, &format!("steps.{}.having", step.name.value))
        });
        let is_right = self.problems.len() == before && !clashes;
        let checked = found.filter(|_| is_right).and_then(|found| {
            let mut inputs = Vec::new();
            for port in &found.inputs {
                let (_, columns) = read.iter().find(|(named, _)| named.name.value == port.name)?;
                inputs.extend(columns.iter().cloned().collect::<Option<Vec<_>>>()?);
            }
            Some(CheckedKind::Score(Box::new(CheckedScore {
                widths: found.inputs.iter().map(|port| port.width).collect(),
                file: Arc::new(found.file),
                inputs,
                outputs,
                time_limit_us: spec.time_limit.as_ref().map(|limit| limit.us),
                added,
                having: match having {
                    Some(having) => Some(having?),
                    None => None,
                },
            })))
        });
        (checked, Columns { own, metadata: columns.metadata, is_open })
    }

    // Names and widths, against those of the model. `all`: every one of the model's must be named; where else that is said.
    fn fits(
        &mut self,
        what: &str,
        ports: &[Port],
        named: &[(&Spanned<String>, &String, usize)],
        all: Option<(Span, &str)>,
    ) {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        for (name, path, width) in named {
            let Some(port) = ports.iter().find(|port| port.name == name.value) else {
                let hint = suggest::hint(name, &names, &format!("{what}s of the model"));
                self.problem(name.at, path, format!("the model has no {what} \"{}\"", name.value), hint);
                continue;
            };
            if port.width != *width {
                let message = format!(
                    "{width} columns, where the model's {what} \"{}\" has {} values",
                    port.name, port.width
                );
                let hint = format!("name {} columns", port.width);
                self.problem(name.at, path, message, Some(hint));
            }
        }
        let Some((at, path)) = all else { return };
        for port in ports.iter().filter(|port| named.iter().all(|(name, ..)| name.value != port.name)) {
            let message = format!("the model's {what} \"{}\" is missing", port.name);
            let columns: Vec<&str> = (0..port.width.min(3)).map(|at| ["a", "b", "…"][at]).collect();
            let hint =
                format!("say which {} columns make it: {}: [{}]", port.width, port.name, columns.join(", "));
            self.problem(at, path, message, Some(hint));
        }
    }

    // A column's name given to two outputs.
    fn twice(&mut self, spec: &ScoreSpec) {
        // The model's own columns.
        let mut seen: Vec<&str> = vec!["status", "model_version"];
        for port in &spec.outputs {
            for name in &port.columns {
                if seen.contains(&name.value.as_str()) {
                    let hint =
                        "give it another name; status and model_version are there by themselves".to_owned();
                    self.problem(
                        name.at,
                        &port.path,
                        format!("the name \"{}\" is given twice", name.value),
                        Some(hint),
                    );
                }
                seen.push(&name.value);
            }
        }
    }
}

#[cfg(feature = "models")]
fn added(outputs: &[Vec<String>]) -> Vec<Field> {
    thalweg_models::step::ScoreConfig::added(outputs)
}

#[cfg(not(feature = "models"))]
fn added(_outputs: &[Vec<String>]) -> Vec<Field> {
    Vec::new()
}

#[cfg(not(feature = "models"))]
fn find(_model: &str) -> Result<Found, String> {
    Err(ABSENT.to_owned())
}

/// Said where a model is asked for.
#[cfg(not(feature = "models"))]
pub(super) const ABSENT: &str =
    "this program was built without trained models; build it with them: make models";

/// Version, kind and file of the model of a reference such as `models/churn@3`, or of a file.
#[cfg(feature = "models")]
pub(super) fn read(model: &str) -> Result<(String, thalweg_models::registry::FileKind, Vec<u8>), String> {
    use thalweg_models::registry::{FileKind, Located, RegistryError};

    if let Some(kind) = FileKind::of(model) {
        let bytes = std::fs::read(model).map_err(|error| format!("can't read {model}: {error}"))?;
        // Another file under the same name is another model.
        let version = format!("{model}#{:016x}", thalweg_engine::shard::hash_key(&bytes));
        return Ok((version, kind, bytes));
    }
    let located: Located = model.parse().map_err(|error: RegistryError| error.to_string())?;
    let registry = crate::registry::open(&located.registry).map_err(|error| error.to_string())?;
    let loaded = registry.load(&located.model).map_err(|error| error.to_string())?;
    Ok((loaded.card.reference().to_string(), loaded.card.file.kind, loaded.bytes))
}

#[cfg(feature = "models")]
fn find(model: &str) -> Result<Found, String> {
    use thalweg_models::device::Device;
    use thalweg_models::infer::{Infer, Port as ModelPort};
    use thalweg_models::model::Model;
    use thalweg_models::onnx::OnnxModel;
    use thalweg_models::registry::FileKind;

    let (version, kind, bytes) = read(model)?;
    let opened: Box<dyn Infer> = match kind {
        FileKind::Onnx => {
            Box::new(OnnxModel::from_bytes(&bytes).map_err(|error| format!("{model}: {error}"))?)
        }
        FileKind::Safetensors => {
            Box::new(Model::from_bytes(&bytes, Device::Cpu).map_err(|error| format!("{model}: {error}"))?)
        }
    };
    let ports = |ports: &[ModelPort]| {
        ports.iter().map(|port| Port { name: port.name.clone(), width: port.width() }).collect()
    };
    Ok(Found {
        inputs: ports(opened.inputs()),
        outputs: ports(opened.outputs()),
        file: ModelFile { version, is_onnx: kind == FileKind::Onnx, bytes },
    })
}
