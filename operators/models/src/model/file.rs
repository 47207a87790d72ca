//! A model as bytes: safetensors, with the manifest as JSON in the metadata.
//!
//! The same model always gives the same bytes, so a hash of them names it. Reading checks all that the code later leans on: names,
//! shapes and types of tensors, and that all numbers are finite.

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::Tensor;
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::score::{Extras, Memory, Standard};
use super::{Manifest, Model};
use crate::ModelError;
use crate::architecture::{Architecture, Mlp, Patch};
use crate::device::Device;
use crate::layers::Parameters;

/// The newest format of files that this version reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// The one entry of the metadata: several would be written in any order.
const ENTRY: &str = "thalweg";

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    #[serde(flatten)]
    manifest: serde_json::Value,
}

/// Numbers with a shape, on the host.
struct Array {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    fn new(shape: &[usize], values: &[f32]) -> Array {
        Array { shape: shape.to_vec(), bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

impl View for Array {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn unreadable(error: impl std::fmt::Display) -> ModelError {
    ModelError::File(error.to_string())
}

impl Model {
    /// The model as bytes of a safetensors file.
    ///
    /// # Errors
    ///
    /// If its device fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let host = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let mut arrays = Vec::new();
        for (name, tensor) in self.parameters.iter() {
            arrays.push((name.to_owned(), Array::new(tensor.dims(), &host(tensor)?)));
        }
        let mut add = |name: &str, shape: &[usize], values: &[f32]| {
            arrays.push((name.to_owned(), Array::new(shape, values)));
        };
        match &self.extras {
            Extras::None => {}
            Extras::Memory(memory) => {
                let width = memory.windows.len() / memory.count;
                add("memory.embeddings", memory.embeddings.dims(), &host(&memory.embeddings.contiguous()?)?);
                add("memory.windows", &[memory.count, width], &memory.windows);
                add("memory.units", &[2], &[memory.distance_unit, memory.amplitude_unit]);
            }
            Extras::Standard(standard) => {
                for (name, values) in standard.arrays() {
                    add(name, &[values.len()], values);
                }
            }
        }
        let manifest = serde_json::to_value(&self.manifest).map_err(unreadable)?;
        let header = serde_json::to_string(&Header { format: FORMAT, manifest }).map_err(unreadable)?;
        let metadata = HashMap::from([(ENTRY.to_owned(), header)]);
        safetensors::serialize(arrays, Some(metadata)).map_err(unreadable)
    }

    /// Reads a model, onto a device.
    ///
    /// # Errors
    ///
    /// If the bytes are no model, or of a later format; if the device isn't there.
    pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Model, ModelError> {
        let manifest = Manifest::from_bytes(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let opened = device.open()?;
        let mut parameters = Parameters::default();
        let architecture = &manifest.architecture;
        for spec in architecture.parameters() {
            let values = read(&file, &spec.name, &spec.shape)?;
            parameters.insert(spec.name, Tensor::from_vec(values, spec.shape, &opened)?);
        }
        let extras = match architecture {
            Architecture::Autoencoder(_) | Architecture::Tcn(_) => Extras::None,
            Architecture::Patch(config) => Extras::Memory(Memory::read(&file, config, &opened)?),
            Architecture::Mlp(config) => Extras::Standard(Standard::read(&file, config)?),
        };
        Ok(Model::new(manifest, parameters, extras, device, opened))
    }
}

impl Manifest {
    /// Reads what is known of a model without its numbers: names, shapes and versions can be checked without a device.
    ///
    /// # Errors
    ///
    /// If the bytes are no model, or of a later format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest, ModelError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let header = metadata.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
        let header = header.ok_or_else(|| {
            ModelError::File(format!("its metadata has no `{ENTRY}`, so the architecture is unknown"))
        })?;
        let header: Header = serde_json::from_str(header).map_err(unreadable)?;
        if header.format > FORMAT {
            return Err(ModelError::Format { found: header.format, known: FORMAT });
        }
        let manifest: Manifest = serde_json::from_value(header.manifest).map_err(unreadable)?;
        manifest.architecture.check()?;
        Ok(manifest)
    }
}

/// The values of a tensor that must have that shape.
fn read(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
    let view = file.tensor(name).map_err(unreadable)?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let (found, dtype) = (view.shape(), view.dtype());
        return Err(ModelError::File(format!(
            "tensor `{name}` is {dtype:?} {found:?} and should be F32 {shape:?}"
        )));
    }
    let values: Vec<f32> = view
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(ModelError::File(format!("tensor `{name}` has numbers that aren't finite")));
    }
    Ok(values)
}

impl Memory {
    fn read(
        file: &SafeTensors<'_>,
        config: &Patch,
        device: &candle_core::Device,
    ) -> Result<Memory, ModelError> {
        let count = file.tensor("memory.windows").map_err(unreadable)?.shape().first().copied().unwrap_or(0);
        if !(1..=config.memory).contains(&count) {
            return Err(ModelError::File(format!(
                "its memory has {count} windows, of 1 to {}",
                config.memory
            )));
        }
        let windows = read(file, "memory.windows", &[count, config.window * config.channels])?;
        let embeddings = read(file, "memory.embeddings", &[config.embedding, count])?;
        let units = read(file, "memory.units", &[2])?;
        if units.iter().any(|unit| *unit <= 0.0) {
            return Err(ModelError::File("tensor `memory.units` has numbers that aren't above 0".to_owned()));
        }
        let embeddings = Tensor::from_vec(embeddings, (config.embedding, count), device)?;
        Ok(Memory { embeddings, windows, count, distance_unit: units[0], amplitude_unit: units[1] })
    }
}

impl Standard {
    fn arrays(&self) -> [(&'static str, &[f32]); 4] {
        [
            ("features.centre", &self.feature_centres),
            ("features.scale", &self.feature_scales),
            ("targets.centre", &self.target_centres),
            ("targets.scale", &self.target_scales),
        ]
    }

    fn read(file: &SafeTensors<'_>, config: &Mlp) -> Result<Standard, ModelError> {
        let standard = Standard {
            feature_centres: read(file, "features.centre", &[config.features])?,
            feature_scales: read(file, "features.scale", &[config.features])?,
            target_centres: read(file, "targets.centre", &[config.outputs])?,
            target_scales: read(file, "targets.scale", &[config.outputs])?,
        };
        if standard.feature_scales.iter().chain(&standard.target_scales).any(|scale| *scale <= 0.0) {
            return Err(ModelError::File("it has scales that aren't above 0".to_owned()));
        }
        Ok(standard)
    }
}
