//! The card of a version: what is known of a model beside its numbers, as JSON that people read too.
//!
//! ```text
//!   Draft: bytes, training, metrics ─▶ Contents: what the bytes say themselves ─▶ Card, with the name, the version and a hash of the bytes
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::RegistryError;
use super::reference::{Reference, Version};
use super::time::Time;
use crate::ModelError;
use crate::architecture::Architecture;
use crate::device::Device;
use crate::infer::{Infer, Port};
use crate::model::{Model, ScoreQuantile};
use crate::onnx::OnnxModel;
use crate::training::Metrics;

/// The newest format of cards and promotions that this version reads, and the one it writes.
pub const FORMAT: u64 = 1;

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// A person, or the job that did it.
    pub by: String,
    /// When.
    pub at: Time,
}

/// What a model's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A shipped architecture.
    Safetensors,
    /// A model of another tool's.
    Onnx,
}

impl FileKind {
    /// By the end of a file's name: `.safetensors` or `.onnx`.
    pub fn of(file: &str) -> Option<FileKind> {
        let (_, extension) = file.rsplit_once('.')?;
        [FileKind::Safetensors, FileKind::Onnx].into_iter().find(|kind| kind.extension() == extension)
    }

    /// The end of such a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            FileKind::Safetensors => "safetensors",
            FileKind::Onnx => "onnx",
        }
    }

    pub(super) fn file_name(self) -> String {
        format!("model.{}", self.extension())
    }

    /// Reads a model, onto a device; an ONNX model runs on the CPU whatever the device.
    pub(super) fn open(self, bytes: &[u8], device: Device) -> Result<Box<dyn Infer>, ModelError> {
        Ok(match self {
            FileKind::Safetensors => Box::new(Model::from_bytes(bytes, device)?),
            FileKind::Onnx => Box::new(OnnxModel::from_bytes(bytes)?),
        })
    }
}

/// The file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCard {
    /// What it is.
    pub kind: FileKind,
    /// How large it is.
    pub bytes: u64,
    /// XXH3 of its bytes, 128 bits, as hexadecimal digits.
    pub xxh3: String,
}

impl FileCard {
    pub(super) fn of(kind: FileKind, bytes: &[u8]) -> FileCard {
        FileCard { kind, bytes: bytes.len() as u64, xxh3: format!("{:032x}", xxh3_128(bytes)) }
    }
}

/// What a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedOn {
    /// The pipeline's name.
    pub pipeline: String,
    /// The step's.
    pub step: String,
    /// Event time of the first row.
    pub from: Time,
    /// Up to which event time the rows went, that excluded.
    pub to: Time,
    /// How many rows.
    pub rows: u64,
    /// The seed of first weights, shuffles and samples.
    pub seed: u64,
}

/// A version of a model, as registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Of the card.
    pub format: u64,
    /// The model's name.
    pub name: String,
    /// The version's number.
    pub version: Version,
    /// When it was registered.
    pub created_at: Time,
    /// Who registered it.
    pub created_by: String,
    /// Its file.
    pub file: FileCard,
    /// The architecture and its configuration; none of an ONNX model.
    pub architecture: Option<Architecture>,
    /// What it sees of a row.
    pub inputs: Vec<Port>,
    /// What it says of a row.
    pub outputs: Vec<Port>,
    /// What it was trained on, where that is known.
    pub trained_on: Option<TrainedOn>,
    /// The version that it was trained from or is to replace.
    pub parent: Option<Version>,
    /// How good it is, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Scores of validation rows at a few quantiles, rising: where to begin with thresholds.
    pub quantiles: Vec<ScoreQuantile>,
    /// What people should know.
    pub notes: String,
}

impl Card {
    /// `name@version`.
    pub fn reference(&self) -> Reference {
        Reference::to(&self.name, self.version)
    }
}

/// A model to be registered.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What its bytes are.
    pub kind: FileKind,
    /// Its file.
    pub bytes: Vec<u8>,
    /// What it was trained on.
    pub trained_on: Option<TrainedOn>,
    /// The version that it was trained from or is to replace.
    pub parent: Option<Version>,
    /// How good it is, by name; finite numbers.
    pub metrics: BTreeMap<String, f64>,
    /// What people should know.
    pub notes: String,
}

impl Draft {
    /// Of a file, with nothing known beside it.
    pub fn new(kind: FileKind, bytes: Vec<u8>) -> Draft {
        let (metrics, notes) = (BTreeMap::new(), String::new());
        Draft { kind, bytes, trained_on: None, parent: None, metrics, notes }
    }

    /// Whether a card can be made of it: what a registry holds can be run.
    pub(super) fn check(&self) -> Result<Contents, RegistryError> {
        for (name, value) in &self.metrics {
            if !value.is_finite() {
                return Err(RegistryError::Card {
                    field: format!("metrics.{name}"),
                    value: value.to_string(),
                    hint: "give a finite number, or leave it out",
                });
            }
        }
        if let Some(trained) = self.trained_on.as_ref().filter(|trained| trained.to < trained.from) {
            return Err(RegistryError::Card {
                field: "trained_on.to".to_owned(),
                value: trained.to.to_string(),
                hint: "it must not be before trained_on.from",
            });
        }
        Contents::read(self.kind, &self.bytes).map_err(|source| RegistryError::Model {
            path: format!("the {} file", self.kind.extension()),
            source,
        })
    }
}

/// What a file says of itself.
pub(super) struct Contents {
    architecture: Option<Architecture>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    quantiles: Vec<ScoreQuantile>,
}

impl Contents {
    fn read(kind: FileKind, bytes: &[u8]) -> Result<Contents, ModelError> {
        let ports = |model: &dyn Infer| (model.inputs().to_vec(), model.outputs().to_vec());
        match kind {
            FileKind::Safetensors => {
                let model = Model::from_bytes(bytes, Device::Cpu)?;
                let (inputs, outputs) = ports(&model);
                let manifest = model.manifest().clone();
                let (architecture, quantiles) = (Some(manifest.architecture), manifest.quantiles);
                Ok(Contents { architecture, inputs, outputs, quantiles })
            }
            FileKind::Onnx => {
                let (inputs, outputs) = ports(&OnnxModel::from_bytes(bytes)?);
                Ok(Contents { architecture: None, inputs, outputs, quantiles: Vec::new() })
            }
        }
    }

    pub(super) fn card(self, name: &str, version: Version, draft: &Draft, author: &Author) -> Card {
        Card {
            format: FORMAT,
            name: name.to_owned(),
            version,
            created_at: author.at,
            created_by: author.by.clone(),
            file: FileCard::of(draft.kind, &draft.bytes),
            architecture: self.architecture,
            inputs: self.inputs,
            outputs: self.outputs,
            trained_on: draft.trained_on.clone(),
            parent: draft.parent,
            metrics: draft.metrics.clone(),
            quantiles: self.quantiles,
            notes: draft.notes.clone(),
        }
    }
}

/// What a training measured, for a card; what is not finite is left out.
pub fn metrics_of(training: &Metrics) -> BTreeMap<String, f64> {
    let named = [
        ("training_loss", training.training_loss),
        ("validation_loss", training.validation_loss),
        ("untrained_loss", training.untrained_loss),
        ("epochs", training.epochs as f64),
        ("best_epoch", training.best_epoch as f64),
        ("training_rows", training.training_rows as f64),
        ("validation_rows", training.validation_rows as f64),
        ("training_s", training.seconds),
    ];
    let finite = named.into_iter().filter(|(_, value)| value.is_finite());
    finite.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// JSON as it is written into a registry: for people too.
pub(super) fn to_json<T: Serialize>(value: &T, path: &str) -> Result<Vec<u8>, RegistryError> {
    let refused = |error: serde_json::Error| RegistryError::Card {
        field: path.to_owned(),
        value: error.to_string(),
        hint: "give numbers that are finite",
    };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(refused)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads what [`to_json`] wrote. The format comes first: what is newer may look like damage.
pub(super) fn from_json<T: for<'a> Deserialize<'a>>(
    bytes: &[u8],
    path: &str,
    hint: impl Fn() -> String,
) -> Result<T, RegistryError> {
    let damaged = |detail: String| RegistryError::Damaged { path: path.to_owned(), detail, hint: hint() };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    match value.get("format").and_then(Value::as_u64) {
        None => Err(damaged("it names no format".to_owned())),
        Some(found) if found > FORMAT => {
            Err(RegistryError::Format { path: path.to_owned(), found, known: FORMAT })
        }
        Some(_) => serde_json::from_value(value).map_err(|error| damaged(error.to_string())),
    }
}
