//! How a model is named: `churn@3`, `churn@champion`, `churn@latest`, `churn`; with its registry before it, `models/churn@3`.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::RegistryError;

/// Letters, digits and _ of a name at most.
const NAME_MAX: usize = 64;

/// The number of a version, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(NonZeroU64);

impl Version {
    /// The first.
    pub const FIRST: Version = Version(NonZeroU64::MIN);

    /// The number; `None` of 0.
    pub fn new(number: u64) -> Option<Version> {
        NonZeroU64::new(number).map(Version)
    }

    /// As a number.
    pub fn number(self) -> u64 {
        self.0.get()
    }

    pub(super) fn next(self) -> Version {
        Version(self.0.saturating_add(1))
    }

    /// Digits without leading zeros.
    pub(super) fn read(text: &str) -> Option<Version> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        is_plain.then(|| text.parse().ok().and_then(Version::new))?
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which version is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// This one.
    Number(Version),
    /// The one that was promoted last.
    Champion,
    /// The newest that exists.
    Latest,
}

/// A model of a registry, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The model's name.
    pub name: String,
    /// The version.
    pub which: Which,
}

impl Reference {
    /// A version of a model.
    pub fn to(name: &str, version: Version) -> Reference {
        Reference { name: name.to_owned(), which: Which::Number(version) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.which {
            Which::Number(version) => write!(f, "{name}@{version}"),
            Which::Champion => write!(f, "{name}@champion"),
            Which::Latest => write!(f, "{name}@latest"),
        }
    }
}

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Reference, RegistryError> {
        let (name, which) = match text.split_once('@') {
            None => (text, "champion"),
            Some(parts) => parts,
        };
        check_name(name)?;
        let which = match which {
            "champion" => Which::Champion,
            "latest" => Which::Latest,
            number => Which::Number(Version::read(number).ok_or_else(|| RegistryError::Reference {
                text: text.to_owned(),
                hint: format!(
                    "write {name}@3, {name}@champion or {name}@latest; versions are numbers from 1"
                ),
            })?),
        };
        Ok(Reference { name: name.to_owned(), which })
    }
}

/// A model as a spec names it: its registry's folder or URL, a slash, and the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Located {
    /// The registry's folder or URL.
    pub registry: String,
    /// The model in it.
    pub model: Reference,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.model)
    }
}

impl FromStr for Located {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Located, RegistryError> {
        let (registry, model) = text.rsplit_once('/').ok_or_else(|| RegistryError::Reference {
            text: text.to_owned(),
            hint: format!("say which registry it is in: models/{text}, or s3://bucket/models/{text}"),
        })?;
        if registry.is_empty() || registry.ends_with('/') {
            let hint =
                "write the registry's folder or URL, a slash, and the model: models/churn@3".to_owned();
            return Err(RegistryError::Reference { text: text.to_owned(), hint });
        }
        Ok(Located { registry: registry.to_owned(), model: model.parse()? })
    }
}

/// Whether a model may be called that: a lower-case letter, then letters, digits and _, as pipelines are called.
pub fn check_name(name: &str) -> Result<(), RegistryError> {
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let goes_on = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if starts && goes_on && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(RegistryError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Located, Reference, Version, Which};

    #[test]
    fn references_are_read() {
        let read = |text: &str| text.parse::<Reference>().unwrap();
        let version = Version::new(3).unwrap();
        assert_eq!(read("churn@3"), Reference::to("churn", version));
        assert_eq!(read("churn").which, Which::Champion);
        assert_eq!(read("churn@champion"), read("churn"));
        assert_eq!(read("p95_ms@latest").which, Which::Latest);
        let located: Located = "s3://bucket/some/models/churn@3".parse().unwrap();
        assert_eq!(
            (located.registry.as_str(), located.model),
            ("s3://bucket/some/models", Reference::to("churn", version))
        );
        let located: Located = "models/churn".parse().unwrap();
        assert_eq!((located.registry.as_str(), located.model), ("models", read("churn")));
    }

    #[test]
    fn what_is_none_is_told_with_what_to_write() {
        let told = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
        for text in [
            "churn@",
            "churn@v3",
            "churn@0",
            "churn@03",
            "churn@+3",
            "churn@1@2",
            "churn@99999999999999999999",
        ] {
            let said = told(text);
            assert!(
                said.contains(text) && said.contains("churn@3, churn@champion or churn@latest"),
                "{said}"
            );
        }
        for text in ["", "@3", "Churn", "chu-rn", "cHurn", "3churn", "../churn", "é", &"n".repeat(65)] {
            let said = told(text);
            assert!(said.contains("a lower-case letter, then letters, digits and _"), "{text}: {said}");
        }
        let told = |text: &str| text.parse::<Located>().unwrap_err().to_string();
        assert!(told("churn@3").contains("models/churn@3"), "{}", told("churn@3"));
        for text in ["/churn@3", "s3://churn@3", "models//churn"] {
            assert!(told(text).contains("a slash"), "{}", told(text));
        }
        assert!(told("models/").contains("lower-case letter"));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(name in "[a-z][a-z0-9_]{0,63}", number: u64, which in 0..3) {
            let which = match (which, Version::new(number)) {
                (0, Some(version)) => Which::Number(version),
                (1, _) => Which::Champion,
                _ => Which::Latest,
            };
            let reference = Reference { name, which };
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            let located = Located { registry: "s3://b/c".to_owned(), model: reference };
            prop_assert_eq!(&located.to_string().parse::<Located>().unwrap(), &located);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Located>();
            let _ = text.parse::<Reference>();
        }
    }
}
