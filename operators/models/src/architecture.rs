//! The shipped architectures: a closed set, each with a typed configuration.
//!
//! | architecture | sees | says | learns |
//! |---|---|---|---|
//! | [`autoencoder`] | a window | how badly it can be told from a few numbers | to repeat windows through a bottleneck |
//! | [`tcn`] | a window | how far its newest row is from the predicted one | to predict the next row |
//! | [`patch`] | a window | how far it is from all normal windows in memory, and its newest row from the middle | which windows are alike |
//! | [`mlp`] | the features of a row | numbers or probabilities | a user's targets |
//!
//! A window is the last rows of a key, the newest last: `[window, channels]`, values of one row side by side. All forward passes are
//! matrix products, sums and `max(x, 0)`: nothing whose last bit depends on a library.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::infer::Port;
use crate::layers::{ParameterSpec, Parameters};
use crate::normalise::{Normalised, normalise, normalised_before};

pub mod autoencoder;
pub mod mlp;
pub mod patch;
pub mod tcn;

pub use autoencoder::Autoencoder;
pub use mlp::{Head, Mlp};
pub use patch::Patch;
pub use tcn::Tcn;

/// In which units the values of windows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// Their own: each window is brought into robust units of itself.
    #[default]
    Own,
    /// Those of the long run of their key, as `thalweg_series::stream` makes them: a level that moved can be seen.
    Stream,
}

/// An architecture and its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Architecture {
    /// Reconstruction of a window.
    Autoencoder(Autoencoder),
    /// Prediction of the newest row by causal dilated convolutions.
    Tcn(Tcn),
    /// Distance from a memory of normal windows.
    Patch(Patch),
    /// Regression or classification of the features of a row.
    Mlp(Mlp),
}

impl Architecture {
    /// Its name in a spec and in a model's file.
    pub fn name(&self) -> &'static str {
        match self {
            Architecture::Autoencoder(_) => Autoencoder::NAME,
            Architecture::Tcn(_) => Tcn::NAME,
            Architecture::Patch(_) => Patch::NAME,
            Architecture::Mlp(_) => Mlp::NAME,
        }
    }

    /// The one of this name for windows in units of the stream, with so many values of a row, and so many rows where they are given; `None`:
    /// it is none, or none of windows.
    pub fn of_stream(name: &str, channels: usize, window: Option<usize>) -> Option<Architecture> {
        let units = Units::Stream;
        Some(match name {
            Autoencoder::NAME => {
                let default = Autoencoder::default();
                let window = window.unwrap_or(default.window);
                // A bottleneck: through one as wide as the window everything passes, anomalies too.
                let code = (window * channels / 4).max(2);
                Architecture::Autoencoder(Autoencoder { window, channels, code, units, ..default })
            }
            Tcn::NAME => {
                let default = Tcn::default();
                Architecture::Tcn(Tcn {
                    window: window.unwrap_or(default.window),
                    channels,
                    units,
                    ..default
                })
            }
            Patch::NAME => {
                let default = Patch::default();
                Architecture::Patch(Patch {
                    window: window.unwrap_or(default.window),
                    channels,
                    units,
                    ..default
                })
            }
            _ => return None,
        })
    }

    /// Whether its configuration makes a model.
    ///
    /// # Errors
    ///
    /// The field that doesn't, and what to write.
    pub fn check(&self) -> Result<(), ModelError> {
        match self {
            Architecture::Autoencoder(config) => config.check(),
            Architecture::Tcn(config) => config.check(),
            Architecture::Patch(config) => config.check(),
            Architecture::Mlp(config) => config.check(),
        }
    }

    /// Trained parameters, the memory of a patch model not counted.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(ParameterSpec::count).sum()
    }

    /// What it sees of a row: one port, `window` or `features`.
    pub fn inputs(&self) -> Vec<Port> {
        match self {
            Architecture::Mlp(config) => vec![Port::new("features", &[config.features])],
            _ => vec![Port::new("window", &[self.window(), self.channels()])],
        }
    }

    /// What it says of a row. Of a window: `score`, the `expected` newest row in the units in which windows come, and the `attribution` of the score,
    /// a share of each channel. Of features: `y`.
    pub fn outputs(&self) -> Vec<Port> {
        match self {
            Architecture::Mlp(config) => vec![Port::new("y", &[config.outputs])],
            _ => vec![
                Port::new("score", &[]),
                Port::new("expected", &[self.channels()]),
                Port::new("attribution", &[self.channels()]),
            ],
        }
    }

    /// In which units its windows come; those of features are the training's.
    pub fn units(&self) -> Units {
        match self {
            Architecture::Autoencoder(config) => config.units,
            Architecture::Tcn(config) => config.units,
            Architecture::Patch(config) => config.units,
            Architecture::Mlp(_) => Units::Own,
        }
    }

    /// Windows as the network sees them.
    pub(crate) fn normalised(&self, windows: &[f32]) -> Normalised {
        match self.units() {
            Units::Own => normalise(windows, self.window(), self.channels(), self.context()),
            Units::Stream => normalised_before(windows, self.window(), self.channels()),
        }
    }

    /// Rows of its windows; 1 for features.
    pub fn window(&self) -> usize {
        match self {
            Architecture::Autoencoder(config) => config.window,
            Architecture::Tcn(config) => config.window,
            Architecture::Patch(config) => config.window,
            Architecture::Mlp(_) => 1,
        }
    }

    /// Values of a row.
    pub fn channels(&self) -> usize {
        match self {
            Architecture::Autoencoder(config) => config.channels,
            Architecture::Tcn(config) => config.channels,
            Architecture::Patch(config) => config.channels,
            Architecture::Mlp(config) => config.features,
        }
    }

    /// Rows of a batch on the CPU: a small multiple of what its registers hold, few enough that a tick with one row is cheap.
    pub(crate) fn batch_rows(&self) -> usize {
        match self {
            Architecture::Autoencoder(_) | Architecture::Mlp(_) => 256,
            Architecture::Tcn(_) => 64,
            Architecture::Patch(_) => 32,
        }
    }

    pub(crate) fn parameters(&self) -> Vec<ParameterSpec> {
        match self {
            Architecture::Autoencoder(config) => config.parameters(),
            Architecture::Tcn(config) => config.parameters(),
            Architecture::Patch(config) => config.parameters(),
            Architecture::Mlp(config) => config.parameters(),
        }
    }

    /// The rows of a window that centre and scale are taken from.
    fn context(&self) -> usize {
        match self {
            Architecture::Tcn(config) => config.window - 1,
            _ => self.window(),
        }
    }

    /// Rows × (window · channels), normalised, to rows × outputs: a reconstruction, a prediction, an embedding, or logits.
    pub(crate) fn forward(&self, parameters: &Parameters, x: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Architecture::Autoencoder(config) => config.forward(parameters, x),
            Architecture::Tcn(config) => config.forward(parameters, x),
            Architecture::Patch(config) => config.forward(parameters, x),
            Architecture::Mlp(config) => config.forward(parameters, x),
        }
    }
}

/// Largest number for sizes of a configuration: keeps the memory of a model that someone mistyped within bounds.
const SIZE_MAX: usize = 4096;
/// Values of an input at most.
const INPUT_MAX: usize = 65_536;

/// A size within bounds.
fn check_size(
    architecture: &'static str,
    field: &'static str,
    value: usize,
    min: usize,
    hint: &'static str,
) -> Result<(), ModelError> {
    if (min..=SIZE_MAX).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Config { architecture, field, value: value.to_string(), hint })
}

/// A window within bounds.
fn check_window(
    architecture: &'static str,
    window: usize,
    channels: usize,
    min: usize,
) -> Result<(), ModelError> {
    check_size(architecture, "window", window, min, "take the rows of a season or less: 8 to 256 are usual")?;
    check_size(architecture, "channels", channels, 1, "it is the number of input columns: 1 to 4096")?;
    if window * channels > INPUT_MAX {
        let value = format!("{window} rows of {channels} channels");
        return Err(ModelError::Config {
            architecture,
            field: "window",
            value,
            hint: "65536 values are the most; take a shorter window",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::{Architecture, Autoencoder, Mlp, Patch, Tcn};
    use crate::layers::Parameters;

    fn all() -> [Architecture; 4] {
        [
            Architecture::Autoencoder(Autoencoder { channels: 2, ..Autoencoder::default() }),
            Architecture::Tcn(Tcn { channels: 2, ..Tcn::default() }),
            Architecture::Patch(Patch { channels: 2, ..Patch::default() }),
            Architecture::Mlp(Mlp { features: 5, outputs: 3, ..Mlp::default() }),
        ]
    }

    #[test]
    fn forward_gives_the_shapes_that_are_named() {
        for architecture in all() {
            architecture.check().unwrap();
            let (parameters, _) = Parameters::initial(&architecture.parameters(), 1, &Device::Cpu).unwrap();
            let width = architecture.inputs()[0].width();
            let x = Tensor::ones((4, width), candle_core::DType::F32, &Device::Cpu).unwrap();
            let (rows, outputs) = architecture.forward(&parameters, &x).unwrap().dims2().unwrap();
            let wanted = match &architecture {
                Architecture::Autoencoder(config) => config.window * config.channels,
                Architecture::Tcn(config) => config.channels,
                Architecture::Patch(config) => config.embedding,
                Architecture::Mlp(config) => config.outputs,
            };
            assert_eq!((rows, outputs), (4, wanted), "{}", architecture.name());
        }
    }

    #[test]
    fn sizes_are_what_the_documentation_says() {
        let count = |architecture: Architecture| architecture.parameter_count();
        assert_eq!(count(Architecture::Autoencoder(Autoencoder::default())), 16_704);
        assert_eq!(count(Architecture::Tcn(Tcn::default())), 49_453);
        assert_eq!(count(Architecture::Patch(Patch::default())), 312_256);
    }

    #[test]
    fn configurations_are_read_by_name_and_refused_with_a_hint() {
        let text = r#"{"autoencoder": {"window": 16}}"#;
        let architecture: Architecture = serde_json::from_str(text).unwrap();
        assert_eq!(
            architecture,
            Architecture::Autoencoder(Autoencoder { window: 16, ..Autoencoder::default() })
        );
        let error = serde_json::from_str::<Architecture>(r#"{"tcn": {"windw": 16}}"#).unwrap_err();
        assert!(error.to_string().contains("windw"), "{error}");
        let error = Architecture::Tcn(Tcn { window: 1, ..Tcn::default() }).check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`window` of the tcn can't be 1: take the rows of a season or less: 8 to 256 are usual"
        );
        assert!(Architecture::Patch(Patch { channels: 0, ..Patch::default() }).check().is_err());
        let wide = Autoencoder { window: 4096, channels: 4096, ..Autoencoder::default() };
        assert!(Architecture::Autoencoder(wide).check().is_err());
    }
}
