//! What can go wrong with a registry.

use thiserror::Error;

use super::reference::Version;
use crate::ModelError;

/// Why a model can't be registered, found, read or promoted.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The folder isn't there, the URL means nothing here, or the storage lets nobody in.
    #[error("no models can be kept at {location}: {detail}; {hint}")]
    Location {
        /// The folder or URL.
        location: String,
        /// What is wrong with it.
        detail: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// Storage fails.
    #[error("can't {action} {path} of the registry: {source}")]
    Storage {
        /// `read`, `write` or `list`.
        action: &'static str,
        /// The object.
        path: String,
        /// What the storage said.
        source: object_store::Error,
    },
    /// What no model may be called.
    #[error(
        "\"{0}\" is not a model's name: a name is a lower-case letter, then letters, digits and _, 64 at most"
    )]
    Name(String),
    /// What names no version of a model.
    #[error("\"{text}\" names no version of a model: {hint}")]
    Reference {
        /// As written.
        text: String,
        /// What to write.
        hint: String,
    },
    /// A model that isn't there.
    #[error("{location} holds no model {name}; {hint}")]
    NoModel {
        /// The registry.
        location: String,
        /// The name.
        name: String,
        /// What it holds.
        hint: String,
    },
    /// A version that isn't there.
    #[error("there is no {name}@{version} in {location}; {hint}")]
    NoVersion {
        /// The registry.
        location: String,
        /// The model.
        name: String,
        /// The version.
        version: Version,
        /// Those that are there.
        hint: String,
    },
    /// A number whose writer stopped before the card.
    #[error(
        "{name}@{version} in {location} was never finished: its number is taken, but it has no card; {hint}"
    )]
    Unfinished {
        /// The registry.
        location: String,
        /// The model.
        name: String,
        /// The version.
        version: Version,
        /// Those that are there.
        hint: String,
    },
    /// A model of which nothing was promoted yet.
    #[error("{name} in {location} has no champion yet; {hint}")]
    NoChampion {
        /// The registry.
        location: String,
        /// The model.
        name: String,
        /// What to promote.
        hint: String,
    },
    /// A rollback of the first promotion.
    #[error(
        "{name}@{champion} was the first champion of {name}: there is none to go back to; promote another version"
    )]
    NothingBefore {
        /// The model.
        name: String,
        /// Its champion.
        champion: Version,
    },
    /// An object that is not what was written, or is missing.
    #[error("{path} is damaged: {detail}; {hint}")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        detail: String,
        /// How to go on.
        hint: String,
    },
    /// A later version of the program wrote it.
    #[error(
        "{path} has format {found}, and this program reads format {known}; use the version that wrote it, or a newer one"
    )]
    Format {
        /// The object.
        path: String,
        /// Its format.
        found: u64,
        /// The newest that is known.
        known: u64,
    },
    /// An object under a number that was claimed, by another than who claimed it.
    #[error("{0} was written by somebody else, although its number was claimed; register the model again")]
    Taken(String),
    /// A card that would say nothing.
    #[error("`{field}` of the card can't be {value}: {hint}")]
    Card {
        /// The field.
        field: String,
        /// What it was to be.
        value: String,
        /// What it must be.
        hint: &'static str,
    },
    /// Bytes that are no model that can be run.
    #[error("{path} can't be used: {source}")]
    Model {
        /// The file.
        path: String,
        /// Why.
        source: ModelError,
    },
}
