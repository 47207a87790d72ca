//! Registries of models by folder or URL. Buckets are reached as those of checkpoints are, and by the same variables (`AWS_…`).

use thalweg_engine::checkpoint::{CheckpointError, Store};
use thalweg_models::registry::{Registry, RegistryError};

/// Opens a registry: a folder that is there, or a bucket by its URL.
///
/// # Errors
/// [`RegistryError::Location`].
pub fn open(location: &str) -> Result<Registry, RegistryError> {
    if is_bucket(location) { bucket(location) } else { Registry::open(location) }
}

/// Opens a registry; a folder is made when it isn't there.
///
/// # Errors
/// [`RegistryError::Location`].
pub fn create(location: &str) -> Result<Registry, RegistryError> {
    if is_bucket(location) { bucket(location) } else { Registry::create(location) }
}

fn is_bucket(location: &str) -> bool {
    location.contains("://") && !location.starts_with("file://")
}

fn bucket(location: &str) -> Result<Registry, RegistryError> {
    let bad = |detail, hint| RegistryError::Location { location: location.to_owned(), detail, hint };
    let hint = "give a folder, or a URL such as s3://bucket/models";
    let store = Store::open(location).map_err(|error| match error {
        CheckpointError::Location { detail, .. } => bad(detail, hint),
        CheckpointError::Unreachable { detail, hint, .. } => bad(detail, hint),
        other => bad(other.to_string(), hint),
    })?;
    let (objects, root) = store.objects();
    Registry::over(objects, root, location)
}
