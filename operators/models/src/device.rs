//! Where a model runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// A device as in `--device`: `cpu`, or a GPU of NVIDIA's by its number, `cuda:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Device {
    /// The CPU, on the calling thread.
    #[default]
    Cpu,
    /// A GPU, by its ordinal. Needs a build with the feature `cuda`.
    Cuda(usize),
}

impl Device {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// If the build has no support for it, or there is no such GPU.
    pub(crate) fn open(self) -> Result<candle_core::Device, ModelError> {
        match self {
            Device::Cpu => Ok(candle_core::Device::Cpu),
            Device::Cuda(_) if !cfg!(feature = "cuda") => Err(ModelError::Device {
                device: self.to_string(),
                hint: "this binary was built without the feature `cuda`; use `cpu`, or build it with that feature"
                    .to_owned(),
            }),
            Device::Cuda(ordinal) => candle_core::Device::new_cuda(ordinal).map_err(|error| {
                ModelError::Device { device: self.to_string(), hint: ModelError::from(error).to_string() }
            }),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for Device {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Device, ModelError> {
        let unknown = || ModelError::Device {
            device: text.to_owned(),
            hint: "write `cpu`, or `cuda:` and the number of a GPU, as in `cuda:0`".to_owned(),
        };
        match text.split_once(':') {
            None if text == "cpu" => Ok(Device::Cpu),
            None if text == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", ordinal)) => ordinal.parse().map(Device::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> String {
        device.to_string()
    }
}

impl TryFrom<String> for Device {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Device, ModelError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::Device;

    #[test]
    fn devices_are_read_and_written() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda:0", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))]
        {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for text in ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", ""] {
            let message = text.parse::<Device>().unwrap_err().to_string();
            assert!(message.contains("`cuda:0`"), "{message}");
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_build_without_cuda_says_so() {
        let message = Device::Cuda(0).open().unwrap_err().to_string();
        assert!(message.contains("without the feature `cuda`"), "{message}");
    }
}
