//! What a registry holds of a model: found by listing its objects, without a look into them.

use std::collections::BTreeMap;

use super::card::FileKind;
use super::reference::{Version, check_name};
use super::{CARD, Registry, RegistryError};

/// Versions that are named at most where one is missing.
const NAMED_MAX: usize = 8;

/// A version's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The version's number.
    pub version: Version,
    /// Bytes of all its objects.
    pub bytes: u64,
    /// Whether it exists: it has a card. If not, its writer is still at it, or was stopped.
    pub is_finished: bool,
}

/// What there is of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// All numbers that are taken, rising.
    pub versions: Vec<Listed>,
}

impl Listing {
    /// The versions that exist, rising.
    pub fn finished(&self) -> impl DoubleEndedIterator<Item = Version> {
        self.versions.iter().filter(|listed| listed.is_finished).map(|listed| listed.version)
    }

    /// The newest version that exists.
    pub fn latest(&self) -> Option<Version> {
        self.finished().next_back()
    }

    /// The first number above all that are taken.
    pub(super) fn next(&self) -> Version {
        self.versions.last().map_or(Version::FIRST, |listed| listed.version.next())
    }

    /// In words: which versions exist.
    pub(super) fn told(&self) -> String {
        let finished: Vec<String> = self.finished().map(|version| version.to_string()).collect();
        let newest = finished.len().saturating_sub(NAMED_MAX);
        let earlier = if newest > 0 { "…, " } else { "" };
        match finished.as_slice() {
            [] => "no version of it was finished: register one with `thalweg models add`".to_owned(),
            [only] => format!("its only version is {only}"),
            _ => format!("its versions are {earlier}{}", finished[newest..].join(", ")),
        }
    }
}

impl Registry {
    /// The names of all models, ascending.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn names(&self) -> Result<Vec<String>, RegistryError> {
        let objects = self.objects().list("")?;
        // Of what lies about beside models, names alone are no models.
        let name = |object: &str| {
            let (name, rest) = object.split_once('/')?;
            let (version, _) = rest.split_once('/')?;
            (check_name(name).is_ok() && Version::read(version).is_some()).then(|| name.to_owned())
        };
        let mut names: Vec<String> = objects.iter().filter_map(|(object, _)| name(object)).collect();
        names.dedup();
        Ok(names)
    }

    /// What there is of a model; nothing where it isn't there.
    ///
    /// # Errors
    /// If it is no name; if the storage fails.
    pub fn listing(&self, name: &str) -> Result<Listing, RegistryError> {
        check_name(name)?;
        let mut found: BTreeMap<Version, Listed> = BTreeMap::new();
        for (object, bytes) in self.objects().list(name)? {
            let Some((folder, file)) = object.split_once('/') else { continue };
            let Some(version) = Version::read(folder) else { continue };
            let listed = found.entry(version).or_insert(Listed { version, bytes: 0, is_finished: false });
            listed.bytes += bytes;
            listed.is_finished |= file == CARD;
        }
        Ok(Listing { versions: found.into_values().collect() })
    }

    /// Why a version isn't there.
    pub(super) fn missing(
        &self,
        name: &str,
        version: Option<Version>,
    ) -> Result<RegistryError, RegistryError> {
        let (location, listing) = (self.location().to_owned(), self.listing(name)?);
        let is_taken = |listed: &Listed| Some(listed.version) == version;
        let (name, hint) = (name.to_owned(), listing.told());
        Ok(match version {
            _ if listing.versions.is_empty() => {
                let names = self.names()?;
                let holds = if names.is_empty() { "nothing yet".to_owned() } else { names.join(", ") };
                RegistryError::NoModel { location, name, hint: format!("it holds {holds}") }
            }
            None => RegistryError::NoModel { location, name, hint },
            Some(version) if listing.versions.iter().any(is_taken) => {
                RegistryError::Unfinished { location, name, version, hint }
            }
            Some(version) => RegistryError::NoVersion { location, name, version, hint },
        })
    }
}

/// Where the file of a version lies, below the registry.
pub(super) fn file_of(name: &str, version: Version, kind: FileKind) -> String {
    format!("{name}/{version}/{}", kind.file_name())
}
